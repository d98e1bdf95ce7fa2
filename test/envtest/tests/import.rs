//! `clarion import`: what it prints is what the API server takes and the operator acts on.

use std::{path::Path, process::Output};

use clarion_envtest::{ControlPlane, MetalLb, Operator, manifests, repository, wait};
use kube::ResourceExt as _;
use serde_json::json;

use crate::cluster::{Cluster, object};

fn fixture() -> String {
    repository().join("test/fixtures/metallb.yaml").to_str().unwrap().to_owned()
}

fn import(kubeconfig: &Path, arguments: &[&str]) -> Output {
    std::process::Command::new(Operator::binary().unwrap())
        .arg("import")
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .output()
        .unwrap()
}

/// Applies everything that an import of a file prints; returns the objects by kind and name.
async fn apply(control_plane: &ControlPlane, file: &str) -> Vec<(String, String)> {
    let output = import(&control_plane.kubeconfig(), &["-f", file]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = control_plane.directory().join("imported.yaml");
    std::fs::write(&path, output.stdout).unwrap();
    let objects = manifests(&path).unwrap();
    control_plane.apply(&objects).await.unwrap();
    objects.iter().map(|object| (object.types.clone().unwrap().kind, object.name_any())).collect()
}

#[tokio::test]
async fn everything_imported_is_accepted_and_becomes_ready() {
    let cluster = Cluster(ControlPlane::with_frr_k8s().await.unwrap());
    for (name, rack) in [("node-a", "a"), ("node-b", "b")] {
        let labels = json!({"kubernetes.io/hostname": name, "rack": rack, "edge": "true"});
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
        cluster.0.apply(&[object(node)]).await.unwrap();
    }
    let objects = apply(&cluster.0, &fixture()).await;
    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    let own: Vec<_> = objects.iter().filter(|(kind, _)| kind != "Secret").collect();
    assert_eq!(own.len(), 12);
    for (kind, name) in own {
        wait::until(&format!("{kind} {name} that is ready"), async || {
            let condition = cluster.condition(kind, name, "Ready").await?;
            if condition.0 == "True" { Ok(()) } else { Err(format!("{condition:?}")) }
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn what_needs_another_form_is_accepted_too() {
    let control_plane = ControlPlane::with_frr_k8s().await.unwrap();
    let nodes = (0..80).map(|n| json!({"matchLabels": {"kubernetes.io/hostname": format!("node-{n}")}}));
    let nodes: Vec<_> = nodes.collect();
    let communities: Vec<_> = (0..63).map(|n| format!("65000:{n}")).collect();
    let named = |kind: &str, name: &str, spec: serde_json::Value| {
        let version = if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" };
        json!({"apiVersion": format!("metallb.io/{version}"), "kind": kind, "metadata": {"name": name}, "spec": spec})
    };
    let pools = |name: &str, from: &str| named("IPAddressPool", name, json!({"addresses": [from]}));
    let objects = [
        named(
            "AddressPool",
            "old",
            json!({"protocol": "bgp", "addresses": ["10.0.0.1/8"], "bgpAdvertisements": [
                {"aggregationLength": 24, "aggregationLengthV6": 64, "localPref": 2_147_483_647_u32}, {},
            ]}),
        ),
        pools("mapped", "::ffff:192.0.2.1-::ffff:192.0.2.9"),
        pools("upper", "2001:DB8:0:0::1/64"),
        named(
            "IPAddressPool",
            "pinned",
            json!({"addresses": ["192.0.2.128/25"], "serviceAllocation": {
                "priority": 2_147_483_647, "namespaceSelectors": [{}], "serviceSelectors": [{"matchLabels": {"a/b": ""}}],
            }}),
        ),
        named(
            "IPAddressPool",
            "negative",
            json!({"addresses": ["198.51.100.0/25"], "serviceAllocation": {"priority": -1}}),
        ),
        named("BGPAdvertisement", "many", json!({"nodeSelectors": nodes, "communities": communities})),
        named(
            "BGPPeer",
            "slow",
            json!({
                "myASN": 4_294_967_295_u32, "peerASN": 1, "peerAddress": "::ffff:192.0.2.1", "holdTime": "18h12m15.9s",
                "connectTime": "65535s", "password": "a b \u{e9}", "nodeSelectors": nodes,
            }),
        ),
        named(
            "BGPPeer",
            "silent",
            json!({"myASN": 1, "dynamicASN": "internal", "interface": "eth0.100", "holdTime": "0s"}),
        ),
        named(
            "Community",
            "odd",
            json!({"communities": [
                {"name": "a:b", "value": "1:1"}, {"name": "x", "value": "large:4294967295:00:1"}, {"name": "y", "value": "00001:0000002"},
            ]}),
        ),
    ];
    let file = control_plane.directory().join("metallb.json");
    std::fs::write(&file, json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()).unwrap();
    assert_eq!(apply(&control_plane, file.to_str().unwrap()).await.len(), 12);
}

#[tokio::test]
async fn a_cluster_gives_what_its_manifests_give() {
    let control_plane = ControlPlane::with_frr_k8s().await.unwrap();
    let (admin, operator) = (control_plane.kubeconfig(), control_plane.operator_kubeconfig());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let output = import(&admin, &["--from-cluster"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("MetalLB is not installed"), "{}", text(&output.stderr));

    MetalLb::install(&control_plane, &[]).await.unwrap();
    let output = import(&admin, &["--from-cluster"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("no object of MetalLB in the namespace metallb-system"),
        "{}",
        text(&output.stderr)
    );

    control_plane.apply(&manifests(Path::new(&fixture())).unwrap()).await.unwrap();
    let (live, files) = (import(&admin, &["--from-cluster"]), import(&admin, &["-f", &fixture()]));
    assert!(live.status.success());
    assert_eq!(text(&live.stdout), text(&files.stdout));
    assert_eq!(text(&live.stderr), text(&files.stderr));

    // Who may not read Secrets is told how to copy them.
    control_plane
        .apply(&[
            object(json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "metallb"},
                "rules": [{"apiGroups": ["metallb.io"], "resources": ["*"], "verbs": ["list"]}],
            })),
            object(json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "metallb"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "metallb"},
                "subjects": [{"kind": "ServiceAccount", "name": "clarion", "namespace": "clarion-system"}],
            })),
        ])
        .await
        .unwrap();
    // The authorizer learns of it by watching.
    wait::until("an import without Secrets", async || {
        let output = import(&operator, &["--from-cluster"]);
        if output.status.success() { Ok(output) } else { Err(text(&output.stderr)) }
    })
    .await
    .map(|output| {
        assert!(text(&output.stderr).contains("kubectl -n frr-k8s-system create secret generic tor-a"));
        assert!(!text(&output.stdout).contains("ZnJvbS10aGUtc2VjcmV0"));
    })
    .unwrap();
}
