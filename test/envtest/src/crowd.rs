//! Large clusters: many Nodes, Services and EndpointSlices, created as fast as the API server takes them, or at a rate.

use std::{net::IpAddr, time::Duration};

use clarion_api::names;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::{ControlPlane, Error, MetalLb, control_plane::object};

/// Requests that are sent at the same time: as many as the operator has in flight.
pub const IN_FLIGHT: usize = 32;
/// The pool's addresses: room for 131,070 Services.
pub const POOL: &str = "10.200.0.0/15";

/// A pool for all Services, a peer of all nodes, and an advertisement of everything.
///
/// # Errors
/// If the API server refuses one.
pub async fn configure(control_plane: &ControlPlane) -> Result<(), Error> {
    let own = |kind: &str, spec: Value| {
        object(json!({
            "apiVersion": "clarionlb.io/v1beta1", "kind": kind, "metadata": {"name": "crowd"}, "spec": spec,
        }))
    };
    let objects = [
        own("LoadBalancerPool", json!({"addresses": [POOL]}))?,
        own("RouterPeer", peer())?,
        own("LoadBalancerAdvertisement", json!({}))?,
    ];
    control_plane.apply(&objects).await
}

/// The same in MetalLB's objects.
///
/// # Errors
/// If the API server refuses one.
pub async fn configure_metallb(control_plane: &ControlPlane) -> Result<(), Error> {
    let own = |version: &str, kind: &str, spec: Value| {
        object(json!({
            "apiVersion": format!("metallb.io/{version}"), "kind": kind,
            "metadata": {"name": "crowd", "namespace": MetalLb::NAMESPACE}, "spec": spec,
        }))
    };
    let objects = [
        own("v1beta1", "IPAddressPool", json!({"addresses": [POOL]}))?,
        own("v1beta2", "BGPPeer", peer())?,
        own("v1beta1", "BGPAdvertisement", json!({}))?,
    ];
    control_plane.apply(&objects).await
}

/// The fields of the peer, which Clarion and MetalLB call the same.
fn peer() -> Value {
    json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"})
}

/// The Node `node-N`.
///
/// # Errors
/// Never: its text is a constant.
pub fn node(n: usize) -> Result<Node, Error> {
    let name = node_name(n);
    parse(json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}}))
}

/// The name of the Node of this number.
#[must_use]
pub fn node_name(n: usize) -> String {
    format!("node-{n}")
}

/// The Service `crowd-N` of the traffic policy Cluster, for Clarion.
///
/// # Errors
/// Never: its text is a constant.
pub fn service(n: usize) -> Result<Service, Error> {
    service_of(n, Some(names::DEFAULT_CLASS))
}

/// The same Service of another class, or of none.
///
/// # Errors
/// Never: its text is a constant.
pub fn service_of(n: usize, class: Option<&str>) -> Result<Service, Error> {
    parse(json!({
        "metadata": {"name": service_name(n)},
        "spec": {
            "type": "LoadBalancer", "loadBalancerClass": class, "ports": [{"port": 80}],
            "allocateLoadBalancerNodePorts": false,
        },
    }))
}

/// The name of the Service of this number.
#[must_use]
pub fn service_name(n: usize) -> String {
    format!("crowd-{n}")
}

/// The addresses that a Service has.
#[must_use]
pub fn addresses(service: &Service) -> Vec<IpAddr> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|status| status.ingress.as_ref()).into_iter().flatten();
    ingress.filter_map(|ingress| ingress.ip.as_ref()?.parse().ok()).collect()
}

/// The EndpointSlice of the Service of this number, with a ready endpoint on each of two nodes of so many.
///
/// # Errors
/// Never: its text is a constant.
pub fn slice(n: usize, nodes: usize) -> Result<EndpointSlice, Error> {
    parse(json!({
        "metadata": {
            "name": slice_name(n), "labels": {"kubernetes.io/service-name": service_name(n)},
        },
        "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": endpoints(n, nodes, true),
    }))
}

/// The endpoints of that EndpointSlice, all of them ready or none.
#[must_use]
pub fn endpoints(n: usize, nodes: usize, ready: bool) -> Value {
    json!([
        {"addresses": ["10.244.0.1"], "nodeName": node_name(n % nodes), "conditions": {"ready": ready}},
        {"addresses": ["10.244.0.2"], "nodeName": node_name((n + 1) % nodes), "conditions": {"ready": ready}},
    ])
}

/// The name of the EndpointSlice of the Service of this number.
#[must_use]
pub fn slice_name(n: usize) -> String {
    format!("{}-1", service_name(n))
}

fn parse<K: serde::de::DeserializeOwned>(value: Value) -> Result<K, Error> {
    serde_json::from_value(value).map_err(|error| Error::Manifest("an object of a crowd".to_owned(), error.to_string()))
}

/// Creates objects as fast as the API server takes them.
///
/// # Errors
/// If it refuses one.
pub async fn create<K>(api: &Api<K>, objects: impl Iterator<Item = Result<K, Error>>) -> Result<(), Error>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    each(objects, async |object| {
        api.create(&PostParams::default(), &object?).await?;
        Ok(())
    })
    .await
}

/// Does something for each of these, [`IN_FLIGHT`] at the same time.
///
/// # Errors
/// The first error of one.
pub async fn each<T, E>(items: impl Iterator<Item = T>, action: impl AsyncFn(T) -> Result<(), E>) -> Result<(), E> {
    let mut outcomes = stream::iter(items.map(|item| action(item))).buffer_unordered(IN_FLIGHT);
    while let Some(outcome) = outcomes.next().await {
        outcome?;
    }
    Ok(())
}

/// Does something for each of these, so many a second, each at its time however long the ones before take.
///
/// # Errors
/// The first error of one.
pub async fn paced<T, E>(
    per_second: u32,
    items: impl Iterator<Item = T>,
    action: impl AsyncFn(T) -> Result<(), E>,
) -> Result<(), E> {
    let period = Duration::from_secs(1) / per_second.max(1);
    let mut at = Instant::now();
    let times = std::iter::repeat_with(|| {
        let now = at;
        at += period;
        now
    });
    each(items.zip(times), async |(item, at)| {
        sleep_until(at).await;
        action(item).await
    })
    .await
}
