//! Objects that cases apply.

use std::net::IpAddr;

use clarion_e2e::{Lab, NODES_ASN};
use serde_json::{Value, json};

/// The IPv4 addresses of nodes.
pub fn v4(lab: &Lab, nodes: &[&str]) -> Vec<IpAddr> {
    nodes.iter().map(|node| lab.node(node).unwrap().v4.into()).collect()
}

/// The IPv6 addresses of nodes.
pub fn v6(lab: &Lab, nodes: &[&str]) -> Vec<IpAddr> {
    nodes.iter().map(|node| lab.node(node).unwrap().v6.into()).collect()
}

pub fn advertisement(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "LoadBalancerAdvertisement", "metadata": {"name": name},
        "spec": spec,
    })
}

pub fn peer(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "clarionlb.io/v1beta1", "kind": "RouterPeer", "metadata": {"name": name}, "spec": spec})
}

pub fn node(name: &str, labels: Value, annotations: Value) -> Value {
    let mut all = labels;
    all["kubernetes.io/hostname"] = json!(name);
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": all, "annotations": annotations}})
}

/// A user's FRRConfiguration with one neighbor. Clarion's RouterPeers say the same of it, unless told otherwise.
pub fn users(name: &str, selector: Value, neighbor: Value) -> Value {
    let mut all = json!({"asn": 64513, "connectTime": "2s", "dualStackAddressFamily": true});
    all.as_object_mut().unwrap().extend(neighbor.as_object().unwrap().clone());
    json!({
        "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration",
        "metadata": {"name": name, "namespace": "frr-k8s-system"},
        "spec": {"nodeSelector": selector, "bgp": {"routers": [{"asn": NODES_ASN, "neighbors": [all]}]}},
    })
}

/// A Service with a label, so that advertisements can tell it from others, and an endpoint on node a.
pub async fn labelled(lab: &Lab, name: &str) -> String {
    let mut service = clarion_e2e::service_with(name, &json!({}));
    service["metadata"]["labels"] = json!({"name": name});
    lab.endpoints(name, &["a"]).await.unwrap();
    lab.apply(&[service]).await.unwrap();
    lab.address_of(name).await.unwrap().1
}
