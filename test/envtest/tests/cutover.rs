//! MetalLB beside Clarion, and one after the other.

use std::collections::{BTreeMap, BTreeSet};

use clarion_envtest::{ControlPlane, Daemon, MetalLb, Operator, manifests, wait};
use kube::{Api, ResourceExt as _, api::DynamicObject};
use serde_json::{Value, json};

use crate::cluster::{Cluster, endpoints, host_prefix, node, object, prefixes, service};

const NODES: [&str; 2] = ["node-a", "node-b"];

fn metallb(kind: &str, name: &str, spec: Value) -> DynamicObject {
    let version = if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" };
    object(json!({
        "apiVersion": format!("metallb.io/{version}"), "kind": kind,
        "metadata": {"name": name, "namespace": MetalLb::NAMESPACE}, "spec": spec,
    }))
}

/// One pool, announced to two peers by all nodes.
fn configuration() -> Vec<DynamicObject> {
    let peer = |name: &str, address: &str| {
        metallb("BGPPeer", name, json!({"myASN": 64512, "peerASN": 64513, "peerAddress": address, "holdTime": "90s"}))
    };
    vec![
        metallb("IPAddressPool", "main", json!({"addresses": ["198.51.100.0/24"]})),
        metallb("BGPAdvertisement", "main", json!({"ipAddressPools": ["main"], "communities": ["65000:100"]})),
        peer("tor-a", "192.0.2.1"),
        peer("tor-b", "192.0.2.2"),
    ]
}

/// A Service of no class.
fn class_less(name: &str) -> DynamicObject {
    let mut service = service(name, &["IPv4"]);
    service.data["spec"].as_object_mut().unwrap().remove("loadBalancerClass");
    service
}

/// The prefixes that MetalLB has each node announce.
async fn announced(cluster: &Cluster) -> Result<BTreeMap<String, BTreeSet<String>>, String> {
    let mut announced = BTreeMap::new();
    for configuration in cluster.configurations().list(&Default::default()).await.map_err(|e| e.to_string())? {
        let node = NODES.iter().find(|node| configuration.metadata.name == Some(MetalLb::configuration(node)));
        let prefixes = prefixes(&configuration).into_iter().collect();
        announced.insert((*node.ok_or("an FRRConfiguration of somebody else")?).to_owned(), prefixes);
    }
    Ok(announced)
}

#[tokio::test]
async fn metallb_gives_addresses_and_has_the_daemons_announce_them() {
    let cluster = Cluster(ControlPlane::with_frr_k8s().await.unwrap());
    let _daemons = NODES.map(|name| Daemon::start(&cluster.0, name).unwrap());
    cluster.0.apply(&NODES.map(node)).await.unwrap();
    let mut metallb = MetalLb::start(&cluster.0, &NODES).await.unwrap();
    cluster.0.apply(&configuration()).await.unwrap();
    let names: Vec<String> = (0..20).map(|n| format!("service-{n}")).collect();
    for name in &names {
        cluster.0.apply(&[endpoints(name), class_less(name)]).await.unwrap();
    }

    let announces_all = async || {
        let addresses = cluster.addresses().await.map_err(|error| error.to_string())?;
        let expected: BTreeSet<String> = addresses.values().flatten().map(|address| host_prefix(*address)).collect();
        let announced = announced(&cluster).await?;
        let complete = NODES.iter().all(|node| announced.get(*node) == Some(&expected));
        if complete && expected.len() == names.len() { Ok(announced) } else { Err(format!("{announced:?}")) }
    };
    let before = wait::until("20 prefixes on each node", announces_all).await.unwrap();
    for node in NODES {
        cluster.converted(node).await;
    }

    // What a speaker wrote stays when it ends. One that has no peers any more has nothing to announce to.
    metallb.stop_controller().await.unwrap();
    metallb.stop_speaker("node-a").await.unwrap();
    cluster.0.kubectl(&["-n", MetalLb::NAMESPACE, "delete", "bgppeers", "--all"]).unwrap();
    wait::until("an end of the prefixes on node-b", async || {
        let announced = announced(&cluster).await?;
        let kept = announced.get("node-a") == before.get("node-a");
        if kept && announced["node-b"].is_empty() { Ok(()) } else { Err(format!("{announced:?}")) }
    })
    .await
    .unwrap();
    metallb.stop_speakers().await.unwrap();
}

/// What an import makes of a peer must be what MetalLB makes of it, or FRR-K8s refuses both on one session.
#[tokio::test]
async fn imported_sessions_merge_with_those_of_metallb() {
    let cluster = Cluster(ControlPlane::with_frr_k8s().await.unwrap());
    let daemons = NODES.map(|name| Daemon::start(&cluster.0, name).unwrap());
    cluster.0.apply(&NODES.map(node)).await.unwrap();
    let peer = |name: &str, fields: Value| {
        let mut spec = json!({"myASN": 64512, "peerASN": 64513});
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        metallb("BGPPeer", name, spec)
    };
    let peers = [
        peer("plain", json!({"peerAddress": "192.0.2.1"})),
        peer(
            "hold",
            json!({"peerAddress": "192.0.2.2", "holdTime": "100s", "peerPort": 179, "sourceAddress": "192.0.2.9"}),
        ),
        peer(
            "keepalive",
            json!({"peerAddress": "192.0.2.3", "keepaliveTime": "5s", "connectTime": "10s", "localASN": 64999}),
        ),
        peer(
            "ports",
            json!({"peerAddress": "2001:DB8:0::1", "peerPort": 1179, "ebgpMultiHop": true, "dualStackAddressFamily": true}),
        ),
        peer(
            "defaults",
            json!({"peerAddress": "192.0.2.4", "holdTime": "180s", "connectTime": "60s", "disableMP": true}),
        ),
        peer("unnumbered", json!({"interface": "eth1", "enableGracefulRestart": true})),
        peer("fast", json!({"peerAddress": "192.0.2.5", "bfdProfile": "fast"})),
        metallb("BFDProfile", "fast", json!({"receiveInterval": 100, "echoMode": false})),
    ];
    let mut metallb = MetalLb::start(&cluster.0, &NODES).await.unwrap();
    cluster.0.apply(&configuration()[..2]).await.unwrap();
    cluster.0.apply(&peers).await.unwrap();
    let names = ["one", "two", "three"];
    for name in names {
        cluster.0.apply(&[endpoints(name), class_less(name)]).await.unwrap();
    }
    let before = wait::until("prefixes on each node", async || {
        let announced = announced(&cluster).await?;
        let complete = NODES.iter().all(|node| announced.get(*node).is_some_and(|p| p.len() == names.len()));
        if complete { Ok(announced) } else { Err(format!("{announced:?}")) }
    })
    .await
    .unwrap();
    let addresses = cluster.addresses().await.unwrap();

    // The cut-over, in the order that docs/migration.md has.
    let path = cluster.0.directory().join("clarion.yaml");
    std::fs::write(&path, cluster.clarion(&["import", "--from-cluster"]).unwrap()).unwrap();
    cluster
        .0
        .kubectl(&[
            "-n",
            MetalLb::NAMESPACE,
            "patch",
            "bgppeer",
            "fast",
            "--type=merge",
            "-p",
            r#"{"spec":{"bfdProfile":""}}"#,
        ])
        .unwrap();
    wait::until("MetalLB without BFD", async || {
        let all = cluster.configurations().list(&Default::default()).await.map_err(|error| error.to_string())?;
        let text = serde_json::to_string(&all.items).unwrap();
        if text.contains("bfdProfile\":") { Err(text) } else { Ok(()) }
    })
    .await
    .unwrap();
    cluster.0.apply(&manifests(&path).unwrap()).await.unwrap();
    metallb.stop_controller().await.unwrap();
    let mut operator =
        Operator::start_with(&cluster.0, &cluster.0.operator_kubeconfig(), &["--class-less=adopt"]).unwrap();
    operator.leading().await.unwrap();
    let expected: BTreeSet<String> = before.values().flatten().cloned().collect();
    let settled = async |what: &str| {
        wait::until(what, async || {
            let all = cluster.configurations().list(&Default::default()).await.map_err(|error| error.to_string())?;
            let ours = all.items.iter().filter(|object| object.name_any().starts_with("clarion-"));
            let ours: BTreeSet<String> = ours.flat_map(prefixes).collect();
            if ours != expected {
                return Err(format!("{ours:?}"));
            }
            for daemon in &daemons {
                let networks: BTreeSet<String> = daemon.networks().into_iter().collect();
                if networks != expected || !daemon.configuration().contains("profile clarion-") {
                    return Err(format!("{networks:?}\n{}", daemon.configuration()));
                }
            }
            Ok(())
        })
        .await
        .unwrap();
        for node in NODES {
            cluster.converted(node).await;
        }
    };
    settled("the prefixes from both").await;
    metallb.stop_speakers().await.unwrap();
    let of_metallb: Api<clarion_api::frr::FRRConfiguration> = Api::namespaced(cluster.0.client(), "frr-k8s-system");
    for node in NODES {
        of_metallb.delete(&MetalLb::configuration(node), &Default::default()).await.unwrap();
    }
    settled("the prefixes from Clarion alone").await;
    assert_eq!(cluster.addresses().await.unwrap(), addresses);
}
