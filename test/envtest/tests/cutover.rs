//! MetalLB beside Clarion, and one after the other.

use std::collections::{BTreeMap, BTreeSet};

use clarion_envtest::{ControlPlane, Daemon, MetalLb, wait};
use kube::api::DynamicObject;
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

    // What it wrote stays when it ends.
    metallb.stop_controller().await.unwrap();
    metallb.stop_speaker("node-a").await.unwrap();
    metallb.stop_speakers().await.unwrap();
    assert_eq!(announced(&cluster).await.unwrap(), before);
}
