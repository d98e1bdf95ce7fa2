//! What comes back: reports of daemons, names of Secrets, Events.

use std::time::Duration;

use clarion_api::frr::{BGPSessionState, FRRNodeState};
use clarion_envtest::{Action, Daemon, Operator, Proxy, repository, wait};
use k8s_openapi::api::{core::v1::Pod, events::v1::Event};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, object};

/// Waits for a line of the metrics.
async fn shows(operator: &Operator, line: &str) {
    wait::until(line, async || {
        let (_, metrics) = operator.get("/metrics").await.map_err(|error| error.to_string())?;
        let name = line.split([' ', '{']).next().unwrap();
        let found: Vec<_> = metrics.lines().filter(|line| line.starts_with(name)).collect();
        if found.contains(&line) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();
}

/// Sets the status of a node's FRRNodeState, as its daemon would.
pub async fn report(cluster: &Cluster, node: &str, status: Value) {
    let states: Api<FRRNodeState> = Api::all(cluster.0.client());
    if states.get_opt(node).await.unwrap().is_none() {
        let state = json!({
            "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRNodeState", "metadata": {"name": node}, "spec": {},
        });
        cluster.0.apply(&[object(state)]).await.unwrap();
    }
    let status = Patch::Merge(json!({ "status": status }));
    states.patch_status(node, &PatchParams::default(), &status).await.unwrap();
}

#[tokio::test]
async fn a_conversion_of_the_real_daemon_that_fails_is_counted_until_its_report_goes() {
    let cluster = Cluster::start().await;
    let daemon = Daemon::start(&cluster.0, "node-a").unwrap();
    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    shows(&operator, "clarion_nodes_conversion_failed 0").await;
    cluster.converted("node-a").await;

    // No webhook runs here, so nothing keeps a user from naming a Secret that does not exist.
    let broken = object(json!({
        "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration",
        "metadata": {"name": "theirs", "namespace": "frr-k8s-system"},
        "spec": {"bgp": {"routers": [{"asn": 64512, "neighbors": [{
            "address": "192.0.2.9", "asn": 64520, "passwordSecret": {"name": "missing"},
        }]}]}},
    }));
    cluster.0.apply(&[broken]).await.unwrap();
    shows(&operator, "clarion_nodes_conversion_failed 1").await;
    shows(&operator, "clarion_nodes_reload_failed 0").await;

    drop(daemon);
    let states: Api<FRRNodeState> = Api::all(cluster.0.client());
    states.delete("node-a", &DeleteParams::default()).await.unwrap();
    shows(&operator, "clarion_nodes_conversion_failed 0").await;
    let (_, metrics) = operator.get("/metrics").await.unwrap();
    assert!(metrics.contains("clarion_node_state_fetches_total{outcome=\"ok\"}"), "{metrics}");
}

#[tokio::test]
async fn reports_appear_with_their_crd_and_large_ones_are_read() {
    let cluster = Cluster(clarion_envtest::ControlPlane::with_clarion().await.unwrap());
    cluster.0.apply(&crate::cluster::basics()).await.unwrap();
    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    cluster.0.install_frr_k8s().await.unwrap();
    let networks: String =
        (0..30_000).map(|n| format!("  network 10.{}.{}.{}/32\n", n >> 16, (n >> 8) & 255, n & 255)).collect();
    let running = format!("router bgp 64512\n address-family ipv4 unicast\n{networks} exit-address-family\n");
    let failure = format!("failed: {}", "x".repeat(5000));
    report(&cluster, "node-a", json!({"runningConfig": running, "lastReloadResult": failure})).await;
    shows(&operator, "clarion_nodes_reload_failed 1").await;
    shows(&operator, "clarion_nodes_conversion_failed 0").await;
    report(&cluster, "node-a", json!({"lastReloadResult": "success"})).await;
    shows(&operator, "clarion_nodes_reload_failed 0").await;
    cluster.0.kubectl(&["delete", "crd", "frrnodestates.frrk8s.metallb.io"]).unwrap();
    assert_eq!(operator.get("/livez").await.unwrap().0, 200);
    assert_eq!(operator.get("/readyz").await.unwrap().1, "leading\n");
}

#[tokio::test]
async fn commands_read_reports_and_do_without_what_they_may_not_see() {
    let cluster = Cluster::start().await;
    report(&cluster, "node-a", json!({"lastConversionResult": "success", "runningConfig": "router bgp 64512"})).await;
    let proxy = Proxy::start(&cluster.0, |_, uri| match uri.path().rsplit('/').next() {
        Some("frrnodestates" | "secrets" | "pods") => Action::Refuse(403),
        _ => Action::Pass,
    })
    .await
    .unwrap();
    for kubeconfig in [cluster.0.kubeconfig(), cluster.0.operator_kubeconfig(), proxy.kubeconfig().to_owned()] {
        let mut command = tokio::process::Command::new(Operator::binary().unwrap());
        let output = command.arg("pools").env("KUBECONFIG", &kubeconfig).output().await.unwrap();
        assert!(output.status.success(), "{kubeconfig:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    // Nor does the operator need them to start.
    let mut operator = Operator::start_with(&cluster.0, proxy.kubeconfig(), &[]).unwrap();
    operator.leading().await.unwrap();
    cluster.add_services(&["a"]).await;
    cluster.all_announced(&["a"]).await;
}

/// A directory with a kustomization of a component, as a user's would be.
fn with_component(cluster: &Cluster, component: &str) -> String {
    let directory = cluster.0.directory().join("overlay");
    std::fs::create_dir(&directory).unwrap();
    let up = "../".repeat(directory.components().count() - 1);
    let config = format!("{up}{}/config", repository().strip_prefix("/").unwrap().display());
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": [config], "components": [format!("{config}/components/{component}")],
    });
    std::fs::write(directory.join("kustomization.yaml"), kustomization.to_string()).unwrap();
    directory.display().to_string()
}

fn secret(name: &str, type_: &str) -> kube::api::DynamicObject {
    object(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "frr-k8s-system"},
        "type": type_, "stringData": {"password": "hush", "username": ""},
    }))
}

#[tokio::test]
async fn without_the_right_to_list_secrets_it_is_healthy_and_with_it_it_needs_no_restart() {
    const KNOWN: &str = "the names of Secrets with passwords are known";
    let cluster = Cluster::start().await;
    cluster.0.apply(&[secret("tor", "kubernetes.io/basic-auth"), secret("other", "Opaque")]).await.unwrap();
    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    cluster.add_services(&["a"]).await;
    cluster.all_announced(&["a"]).await;
    let refused = || operator.process.log().matches("passwords are checked by their effect only").count();
    wait::until("that it says so", async || if refused() == 1 { Ok(()) } else { Err(operator.process.log()) })
        .await
        .unwrap();

    cluster
        .0
        .kubectl(&["apply", "--server-side", "--force-conflicts", "-k", &with_component(&cluster, "password-secrets")])
        .unwrap();
    // It tries about once a minute.
    let end = Instant::now() + 2 * wait::PATIENCE;
    while !operator.process.log().contains(KNOWN) && Instant::now() < end {
        sleep(Duration::from_millis(100)).await;
    }
    let log = operator.process.log();
    let line = log.lines().find(|line| line.contains(KNOWN)).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("objects=1"), "only those of the type: {line}");
    assert_eq!(refused(), 1, "{log}");
    assert!(!log.contains("hush"));
    assert_eq!(operator.get("/readyz").await.unwrap().1, "leading\n");
}

#[tokio::test]
async fn the_component_permits_to_list_and_watch_secrets_of_one_namespace_and_no_more() {
    let cluster = Cluster::start().await;
    let can = |verb: &str, namespace: &str| {
        let user = "--as=system:serviceaccount:clarion-system:clarion";
        cluster.0.kubectl(&["auth", "can-i", verb, "secrets", "-n", namespace, user]).is_ok()
    };
    assert!(!can("list", "frr-k8s-system"));
    cluster
        .0
        .kubectl(&["apply", "--server-side", "--force-conflicts", "-k", &with_component(&cluster, "password-secrets")])
        .unwrap();
    wait::until("the right", async || if can("list", "frr-k8s-system") { Ok(()) } else { Err("not yet") })
        .await
        .unwrap();
    assert!(can("watch", "frr-k8s-system"));
    assert!(!can("get", "frr-k8s-system") && !can("list", "default") && !can("list", "clarion-system"));
}

#[tokio::test]
async fn with_the_right_to_see_pods_what_one_reported_that_is_not_ready_does_not_count() {
    let cluster = Cluster::start().await;
    let meta = |name: &str| json!({"name": name, "namespace": "frr-k8s-system"});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": meta("frr-k8s-a"),
        "spec": {"nodeName": "node-a", "containers": [{"name": "frr", "image": "none"}]},
    });
    cluster.0.apply(&[object(pod)]).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.0.client(), "frr-k8s-system");
    let uid = pods.get("frr-k8s-a").await.unwrap().metadata.uid;
    let mut session = json!({"apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "BGPSessionState", "metadata": meta("a"), "spec": {}});
    session["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Pod", "name": "frr-k8s-a", "uid": uid}]);
    cluster.0.apply(&[object(session)]).await.unwrap();
    let sessions: Api<BGPSessionState> = Api::namespaced(cluster.0.client(), "frr-k8s-system");
    let status = json!({"status": {"bgpStatus": "Established", "node": "node-a", "peer": "192.0.2.1"}});
    sessions.patch_status("a", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();

    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    let established = async |expected: &str| {
        wait::until("so many established sessions", async || {
            let path = "jsonpath={.status.established}";
            match cluster.0.kubectl(&["get", "lbpeer", "tor", "-o", path]) {
                Ok(found) if found == expected => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .unwrap();
    };
    established("1").await;
    assert!(operator.process.log().contains("add config/components/frr-k8s-pods"));

    let component = with_component(&cluster, "frr-k8s-pods");
    cluster.0.kubectl(&["apply", "--server-side", "--force-conflicts", "-k", &component]).unwrap();
    established("0").await;
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    pods.patch_status("frr-k8s-a", &PatchParams::default(), &Patch::Merge(ready)).await.unwrap();
    established("1").await;
    pods.delete("frr-k8s-a", &DeleteParams::default().grace_period(0)).await.unwrap();
    established("0").await;
}

#[tokio::test]
async fn a_flood_of_events_about_one_service_is_bounded_and_counted() {
    let cluster = Cluster::start().await;
    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    cluster.add_services(&["old"]).await;
    cluster.all_announced(&["old"]).await;
    sleep(Duration::from_millis(1100)).await;
    cluster.add_services(&["young"]).await;
    let taken = cluster.addresses().await.unwrap()["old"][0];
    // Somebody writes the other's address into the status, time and again, and it is taken away each time.
    for _ in 0..4 {
        let status = Patch::Merge(json!({"status": {"loadBalancer": {"ingress": [{"ip": taken}]}}}));
        cluster.services().patch_status("young", &PatchParams::default(), &status).await.unwrap();
        wait::until("another address", async || {
            let addresses = cluster.addresses().await.map_err(|error| error.to_string())?;
            match addresses.get("young").map(Vec::as_slice) {
                Some([address]) if *address != taken => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .unwrap();
    }
    shows(&operator, "clarion_events_total{outcome=\"left_out\"} 3").await;
    // Of another object more may be told on a slow machine: that it could not be written for a while, and then could.
    let events: Api<Event> = Api::all(cluster.0.client());
    let mut ours = Vec::new();
    wait::until("as many Events as are counted", async || {
        let all = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        // The API server writes Events about Services too.
        ours = all.items;
        ours.retain(|event| event.reporting_controller.as_deref() == Some("clarionlb.io"));
        let (_, metrics) = operator.get("/metrics").await.map_err(|error| error.to_string())?;
        let counted = format!("clarion_events_total{{outcome=\"written\"}} {}", ours.len());
        if metrics.lines().any(|line| line == counted) { Ok(()) } else { Err(format!("no {counted}: {ours:?}")) }
    })
    .await
    .unwrap();
    ours.retain(|event| event.regarding.as_ref().unwrap().kind.as_deref() == Some("Service"));
    assert_eq!(ours.len(), 1, "{ours:?}");
    assert_eq!(ours[0].regarding.as_ref().unwrap().name.as_deref(), Some("young"));
}
