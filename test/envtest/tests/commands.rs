//! The commands that look at a cluster, and `clarion yield`, on a real API server.

use std::{path::PathBuf, process::Output};

use clarion_envtest::{Operator, Webhook, wait};
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::cluster::{Cluster, object, pool};

pub fn run(cluster: &Cluster, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = std::process::Command::new(Operator::binary().unwrap())
        .args(arguments)
        .env("KUBECONFIG", cluster.0.kubeconfig())
        .output()
        .unwrap();
    let [out, error] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (status.code().unwrap(), out, error)
}

/// A directory with these objects.
fn manifests(cluster: &Cluster, name: &str, objects: &[DynamicObject]) -> String {
    let directory: PathBuf = cluster.0.directory().join(name);
    std::fs::create_dir_all(&directory).unwrap();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    std::fs::write(directory.join("objects.yaml"), list.to_string()).unwrap();
    directory.to_str().unwrap().to_owned()
}

fn peer_with(hold_time: &str) -> DynamicObject {
    object(json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "RouterPeer", "metadata": {"name": "tor"},
        "spec": {
            "myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1", "dualStackAddressFamily": true,
            "holdTime": hold_time, "keepaliveTime": "3s",
        },
    }))
}

/// An FRRConfiguration of a user that has the same neighbor on node-a.
fn underlay(neighbor: Value) -> DynamicObject {
    let mut whole = json!({"address": "192.0.2.1", "asn": 64513, "dualStackAddressFamily": true});
    whole.as_object_mut().unwrap().extend(neighbor.as_object().unwrap().clone());
    object(json!({
        "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration",
        "metadata": {"name": "underlay", "namespace": "frr-k8s-system"},
        "spec": {
            "nodeSelector": {"matchLabels": {"kubernetes.io/hostname": "node-a"}},
            "bgp": {"routers": [{"asn": 64512, "neighbors": [whole]}]},
        },
    }))
}

/// Two announced Services, and nothing left to write.
pub async fn settled() -> (Cluster, Operator) {
    let cluster = Cluster::start().await;
    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    cluster.add_services(&["a", "b"]).await;
    cluster.all_announced(&["a", "b"]).await;
    nothing_to_write(&cluster).await;
    (cluster, operator)
}

async fn nothing_to_write(cluster: &Cluster) {
    wait::until("a diff that is empty", async || match run(cluster, &["diff"]) {
        (0, out, _) if out.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
}

pub async fn stop(operator: &mut Operator) {
    operator.process.signal("TERM").unwrap();
    operator.ended().await.unwrap();
}

/// The specs of Clarion's FRRConfigurations, by name.
async fn specs(cluster: &Cluster) -> Vec<(String, Value)> {
    let list = cluster.configurations().list(&kube::api::ListParams::default()).await.unwrap();
    let ours = list.items.into_iter().filter(|item| item.name_any().starts_with("clarion-"));
    ours.map(|item| (item.name_any(), serde_json::to_value(&item.spec).unwrap())).collect()
}

#[tokio::test]
async fn status_and_explain_tell_of_a_cluster() {
    let (cluster, _operator) = settled().await;
    let (status, out, error) = run(&cluster, &["status"]);
    assert_eq!(status, 0, "{out}{error}");
    assert!(out.contains("2 Services:") && out.contains("Nothing is in error."), "{out}");

    let states: Api<clarion_api::frr::FRRConfiguration> = Api::namespaced(cluster.0.client(), "frr-k8s-system");
    let base = states.list(&kube::api::ListParams::default()).await.unwrap().items.remove(0).name_any();
    let address = cluster.addresses().await.unwrap()["a"][0].to_string();
    for (arguments, told) in [
        (["explain", "service", "default/a"], [address.as_str(), &base, "announced from 2 nodes: node-a, node-b"]),
        (["explain", "address", &address], ["default/a", &base, "(tor) from 2 nodes"]),
        (["explain", "node", "node-a"], ["announcing", &base, "neighbor 192.0.2.1"]),
        (["explain", "peer", "tor"], ["64513", &base, "not reported"]),
    ] {
        let (status, out, error) = run(&cluster, &arguments);
        assert_eq!(status, 0, "{error}");
        for words in told {
            assert!(out.contains(words), "{words:?} is not in {out}");
        }
        assert!(!out.contains("not written yet"), "{out}");
    }

    let broken = pool("broken", &["10.0.0.9-10.0.0.1"]);
    cluster.0.apply(&[broken]).await.unwrap();
    cluster.becomes("lbpool", "broken", "Ready", "False", "InvalidAddresses").await;
    let (status, out, _) = run(&cluster, &["status"]);
    assert_eq!(status, 1);
    assert!(out.contains("error: LoadBalancerPool broken: InvalidAddresses"), "{out}");
}

#[tokio::test]
async fn what_diff_foretells_comes_to_be() {
    let (cluster, mut operator) = settled().await;
    stop(&mut operator).await;
    let directory = manifests(&cluster, "change", &[peer_with("9s"), pool("more", &["203.0.113.0/30"])]);
    let before = specs(&cluster).await;

    let (status, out, error) = run(&cluster, &["diff", "-f", &directory, "--against", "cluster"]);
    assert_eq!(status, 1, "{error}");
    assert!(out.contains("+        holdTime: 9s") && out.contains("planned/LoadBalancerPool more"), "{out}");
    let (_, json, _) = run(&cluster, &["diff", "-f", &directory, "--against", "cluster", "-o", "json"]);
    let foretold: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(specs(&cluster).await, before, "a diff writes nothing");
    assert_eq!(run(&cluster, &["diff"]).0, 0, "and nothing is applied");

    cluster.0.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &directory]).unwrap();
    let _operator = Operator::start(&cluster.0).unwrap();
    cluster.becomes("lbpool", "more", "Ready", "True", "Valid").await;
    nothing_to_write(&cluster).await;
    let after = specs(&cluster).await;
    assert_ne!(after, before);
    let foretold: Vec<(String, Value)> = foretold
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| change["kind"] == "FRRConfiguration")
        .map(|change| (change["name"].as_str().unwrap().to_owned(), change["after"]["spec"].clone()))
        .collect();
    assert_eq!(foretold, after);
}

#[tokio::test]
async fn check_tells_what_manifests_bring_about() {
    let (cluster, _operator) = settled().await;
    let check = |name: &str, objects: &[DynamicObject]| {
        run(&cluster, &["check", "-f", &manifests(&cluster, name, objects), "--against", "cluster"])
    };
    let (status, out, error) = check("good", &[peer_with("9s"), pool("more", &["203.0.113.0/30"])]);
    assert_eq!((status, out.as_str()), (0, "0 errors, 0 warnings\n"), "{error}");

    let (status, out, _) = check("overlap", &[pool("more", &["198.51.100.8/29"])]);
    assert_eq!(status, 0, "the rest of it is in effect");
    assert!(out.contains("warning: LoadBalancerPool more: Overlap"), "{out}");

    // The pool that is there is the older one, whatever it is called.
    let (_, out, _) = check("older", &[pool("a", &["198.51.100.8/29"])]);
    assert!(out.contains("LoadBalancerPool a: Overlap"), "{out}");

    let (status, out, _) = check("frr", &[underlay(json!({"ebgpMultiHop": true}))]);
    assert_eq!(status, 1);
    assert!(out.contains("refused on node node-a"), "{out}");
    let (_, json, _) = run(
        &cluster,
        &["check", "-f", cluster.0.directory().join("frr").to_str().unwrap(), "--against", "cluster", "-o", "json"],
    );
    let json: Value = serde_json::from_str(&json).unwrap();
    let conflict = &json["conflicts"][0];
    assert_eq!(conflict["refused"], "frr-k8s-system/underlay");
    assert_eq!(conflict["whose"], "Clarion");
    assert_eq!((&conflict["field"], &conflict["value"]), (&json!("ebgpMultiHop"), &json!("true")));
    assert_eq!(check("frr-good", &[underlay(json!({}))]).0, 0);
}

#[tokio::test]
async fn yield_lets_users_change_what_the_webhook_refused() {
    let (cluster, mut operator) = settled().await;
    let _webhook = Webhook::start(&cluster.0).await.unwrap();
    cluster.0.apply(&[underlay(json!({}))]).await.unwrap();
    let changed = underlay(json!({"holdTime": "9s", "keepaliveTime": "3s"}));
    let refusal = cluster.0.apply(std::slice::from_ref(&changed)).await.unwrap_err().to_string();
    assert!(refusal.contains("hold"), "{refusal}");

    let (status, out, _) = run(&cluster, &["yield", "tor", "--dry-run"]);
    assert!(status == 0 && out.contains("192.0.2.1") && !specs(&cluster).await.is_empty(), "{out}");
    let (status, out, error) = run(&cluster, &["yield", "tor"]);
    assert_eq!(status, 0, "{out}{error}");
    assert!(out.contains("clarion yield tor --resume"), "{out}");
    assert!(specs(&cluster).await.is_empty());
    cluster.0.apply(&[changed]).await.unwrap();

    let hold = json!({"spec": {"holdTime": "9s", "keepaliveTime": "3s"}});
    let peers: Api<clarion_api::RouterPeer> = Api::all(cluster.0.client());
    peers.patch("tor", &PatchParams::default(), &Patch::Merge(hold)).await.unwrap();
    let (status, out, error) = run(&cluster, &["yield", "tor", "--resume"]);
    assert_eq!(status, 0, "{out}{error}");
    assert!(!peers.get("tor").await.unwrap().spec.suspend);
    cluster.all_announced(&["a", "b"]).await;

    // Nobody lets go while the operator is away.
    stop(&mut operator).await;
    let (status, _, error) = run(&cluster, &["yield", "tor", "--timeout", "1s"]);
    assert_eq!(status, 1);
    assert!(error.contains("has its neighbor still") && error.contains("Does the operator run?"), "{error}");
}

#[tokio::test]
async fn a_support_bundle_has_everything_but_secrets() {
    let (cluster, _operator) = settled().await;
    let theirs = object(json!({
        "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration",
        "metadata": {"name": "theirs", "namespace": "frr-k8s-system"},
        "spec": {
            "bgp": {"routers": [{"asn": 64512, "neighbors": [
                {"asn": 64999, "address": "192.0.2.99", "password": "hunter2"},
            ]}]},
            "raw": {"rawConfig": "router bgp 64512\n neighbor 192.0.2.98 password hunter2\n"},
        },
    }));
    let secret = object(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tor", "namespace": "frr-k8s-system"},
        "type": "kubernetes.io/basic-auth", "stringData": {"username": "", "password": "hunter2"},
    }));
    // It never runs here, so there is no log.
    let pod = object(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "clarion-1", "labels": {"app.kubernetes.io/name": "clarion"}},
        "spec": {"containers": [
            {"name": "clarion", "image": "clarion", "ports": [{"name": "metrics-local", "containerPort": 9091}]},
        ]},
    }));
    cluster.0.apply(&[theirs, secret, pod]).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bundle.tar.gz");
    let (status, out, error) = run(&cluster, &["support-bundle", "--output", file.to_str().unwrap()]);
    assert_eq!(status, 0, "{error}");
    assert!(out.contains("Secrets were not read"), "{out}");
    let tar = |arguments: &[&str]| {
        let output = std::process::Command::new("tar").args(arguments).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let all = tar(&["-xzOf", file.to_str().unwrap()]);
    assert!(!all.contains("hunter2") && all.contains("(removed)"));
    let names = tar(&["-tzf", file.to_str().unwrap()]);
    for kind in ["loadbalancerpool", "routerpeer", "frrconfiguration", "service", "node", "lease"] {
        assert!(names.contains(&format!("clarion-support/objects/{kind}.yaml")), "{kind}: {names}");
    }
    assert!(all.contains("name: theirs") && all.contains("clarionlb.io/AddressAllocated"));
    assert!(!names.contains("secret"), "{names}");
    let errors = tar(&["-xzOf", file.to_str().unwrap(), "clarion-support/errors.txt"]);
    let metrics = errors.lines().find(|line| line.starts_with("pods/default/clarion-1/metrics.txt: ")).unwrap();
    for command in ["kubectl --namespace default port-forward pod/clarion-1 9091", "curl http://localhost:9091/metrics"]
    {
        assert!(metrics.contains(command), "{metrics}");
    }

    let (status, _, error) = run(&cluster, &["support-bundle", "--output", "/nowhere/bundle.tar.gz"]);
    assert_eq!(status, 1);
    assert!(error.contains("/nowhere/bundle.tar.gz can't be written"), "{error}");
}
