//! From the version before to this one, and back again.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clarion_envtest::{ControlPlane, Operator, manifests, repository, tools, wait};
use kube::api::{DynamicObject, ListParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, basics, endpoints, endpoints_v6, kubernetes_is, object, service};

/// What `config/` of a version installs.
fn configuration(control_plane: &ControlPlane, of: &Path) -> Vec<DynamicObject> {
    let rendered = control_plane.kubectl(&["kustomize", of.join("config").to_str().unwrap()]).unwrap();
    let path = control_plane.directory().join("rendered.yaml");
    std::fs::write(&path, rendered).unwrap();
    manifests(&path).unwrap()
}

/// 36 Services: with endpoints anywhere, on a node that announces alone, of both families, and sharing an address.
fn services() -> (Vec<String>, Vec<DynamicObject>) {
    let (mut names, mut objects) = (Vec::new(), Vec::new());
    for n in 0..9 {
        let [cluster, local, dual, shared] = ["cluster", "local", "dual", "shared"].map(|kind| format!("{kind}-{n}"));
        objects.extend([endpoints(&cluster), service(&cluster, &["IPv4"])]);

        let (mut slice, mut service_) = (endpoints(&local), service(&local, &["IPv4"]));
        slice.data["endpoints"][0]["nodeName"] = json!(if n % 2 == 0 { "node-a" } else { "node-b" });
        service_.data["spec"]["externalTrafficPolicy"] = json!("Local");
        objects.extend([slice, service_]);

        objects.extend([endpoints(&dual), endpoints_v6(&dual), service(&dual, &["IPv6", "IPv4"])]);

        let mut service_ = service(&shared, &["IPv4"]);
        service_.metadata.annotations =
            Some(BTreeMap::from([("clarionlb.io/allow-shared-ip".to_owned(), format!("key-{}", n / 3))]));
        service_.data["spec"]["ports"] = json!([{"port": 8000 + n}]);
        objects.extend([endpoints(&shared), service_]);
        names.extend([cluster, local, dual, shared]);
    }
    (names, objects)
}

/// All that nodes go by, and how often it was written: Clarion's FRRConfigurations with their metadata.
async fn configurations(cluster: &Cluster) -> BTreeMap<String, Value> {
    let list = cluster.configurations().list(&ListParams::default()).await.unwrap();
    list.items.iter().map(|item| (kube::ResourceExt::name_any(item), serde_json::to_value(item).unwrap())).collect()
}

/// Runs a build until it has nothing left to do; `mark` is a Service by which that is seen.
async fn run(cluster: &Cluster, binary: &Path, mark: &str) {
    let kubeconfig = cluster.0.operator_kubeconfig();
    let mut operator = Operator::start_binary(binary, &cluster.0, &kubeconfig, &[]).unwrap();
    operator.leading().await.unwrap();
    // Without endpoints it is not announced, so no FRRConfiguration changes.
    cluster.0.apply(&[service(mark, &["IPv4"])]).await.unwrap();
    cluster.becomes("service", mark, "clarionlb.io/AddressAllocated", "True", "Allocated").await;
    // While writes are under way there are plans without any too: it is done when a second has gone by after the last.
    let (mut known, mut since) = (0, Instant::now());
    wait::until("a plan without a write, and then nothing", async || {
        let log = operator.process.log();
        let lines: Vec<&str> =
            log.lines().filter(|line| line.contains("planned") || line.contains("written")).collect();
        if lines.len() != known {
            (known, since) = (lines.len(), Instant::now());
        }
        let last = lines.iter().rfind(|line| line.contains("planned")).copied().unwrap_or_default();
        let is_done = last.contains("writes=0") && since.elapsed() > Duration::from_secs(1);
        if is_done { Ok(()) } else { Err(last.to_owned()) }
    })
    .await
    .unwrap();
    operator.process.signal("TERM").unwrap();
    assert_eq!(operator.ended().await.unwrap(), 0, "{}", operator.process.log());
}

#[tokio::test]
async fn an_upgrade_and_the_way_back_change_no_address_and_no_frrconfiguration() {
    let previous: PathBuf = tools("previous").unwrap();
    let now = Operator::binary().unwrap();
    let cluster = Cluster(ControlPlane::start().await.unwrap());
    cluster.0.install_frr_k8s().await.unwrap();
    let installed = cluster.0.apply(&configuration(&cluster.0, &previous)).await;
    if kubernetes_is("1.31") {
        // What was before could not be installed there.
        assert!(installed.unwrap_err().to_string().contains("estimated rule cost"));
        return;
    }
    installed.unwrap();
    cluster.0.apply(&basics()).await.unwrap();
    // What others have written for the same session stands beside it.
    let underlay = json!({
        "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration",
        "metadata": {"name": "underlay", "namespace": "frr-k8s-system"},
        "spec": {"bgp": {"routers": [{"asn": 64512, "neighbors": [{
            "asn": 64513, "address": "192.0.2.1", "dualStackAddressFamily": true,
            "toReceive": {"allowed": {"mode": "all"}},
        }]}]}},
    });
    cluster.0.apply(&[object(underlay)]).await.unwrap();
    let (names, objects) = services();
    cluster.0.apply(&objects).await.unwrap();
    run(&cluster, &previous.join("clarion"), "mark-0").await;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let addresses = cluster.all_announced(&names).await;
    let before = configurations(&cluster).await;
    assert_eq!(before.len(), 4, "what others wrote, a base, and an overlay for each node: {:?}", before.keys());

    let unchanged = async |what: &str| {
        let found = cluster.addresses().await.unwrap();
        for (name, held) in &addresses {
            assert_eq!(found.get(name), Some(held), "{what}: {name}");
        }
        assert_eq!(configurations(&cluster).await, before, "{what}");
    };
    cluster.0.apply(&configuration(&cluster.0, &repository())).await.unwrap();
    run(&cluster, &now, "mark-1").await;
    unchanged("after the upgrade").await;
    // Back again: the CRDs and rights stay those of the newer version.
    run(&cluster, &previous.join("clarion"), "mark-2").await;
    unchanged("after the way back").await;
    run(&cluster, &now, "mark-3").await;
    unchanged("after the second upgrade").await;
}

#[test]
fn without_history_it_is_told_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let copy = |from: &str| {
        let target = directory.path().join(from);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(repository().join(from), target).unwrap();
    };
    copy("test/tools/build");
    copy("test/tools/previous");
    let build = || {
        let output = std::process::Command::new(directory.path().join("test/tools/build"))
            .arg("previous")
            .env("CLARION_TOOLS", directory.path().join("cache"))
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let told =
        "test/tools: the history of Clarion is needed, for a build of what was before: git fetch --unshallow --tags\n";
    assert_eq!(build(), told);
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(["-c", "user.name=test", "-c", "user.email=test@localhost"]).args(arguments);
        assert!(command.current_dir(directory.path()).status().unwrap().success());
    };
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "All"]);
    assert_eq!(build(), told);
}
