//! How long commands take on a cluster of 5,000 announced Services and 100 nodes, from their start as a process to their end.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use clarion_envtest::{ControlPlane, Operator};
use futures::{StreamExt as _, stream};
use kube::core::DynamicObject;
use serde_json::json;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const SERVICES: usize = 5_000;
const NODES: usize = 100;
const IN_FLIGHT: usize = 32;
const ROUNDS: usize = 15;
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<()> {
    let control_plane = ControlPlane::with_frr_k8s().await?;
    let objects: Vec<DynamicObject> = serde_json::from_value(json!([
        {"apiVersion": "clarionlb.io/v1beta1", "kind": "LoadBalancerPool", "metadata": {"name": "bench"},
         "spec": {"addresses": ["10.200.0.0/16"]}},
        {"apiVersion": "clarionlb.io/v1beta1", "kind": "RouterPeer", "metadata": {"name": "tor"},
         "spec": {"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"}},
        {"apiVersion": "clarionlb.io/v1beta1", "kind": "LoadBalancerAdvertisement", "metadata": {"name": "all"}, "spec": {}},
    ]))?;
    control_plane.apply(&objects).await?;
    println!("creating {NODES} Nodes, {SERVICES} Services and their EndpointSlices");
    let objects = (0..NODES).map(node).chain((0..SERVICES).flat_map(|n| [service(n), endpoints(n)]));
    let mut outcomes = stream::iter(objects.map(|object| {
        let control_plane = &control_plane;
        async move { Result::Ok(control_plane.apply(&[serde_json::from_value(object)?]).await?) }
    }))
    .buffer_unordered(IN_FLIGHT);
    while let Some(outcome) = outcomes.next().await {
        outcome?;
    }
    let mut operator =
        Operator::start_with(&control_plane, &control_plane.operator_kubeconfig(), &["--lease-duration", "15s"])?;
    let end = Instant::now() + PATIENCE;
    while clarion(&control_plane.kubeconfig(), &["diff"])?.0 != 0 {
        if Instant::now() > end {
            return Err("the operator does not come to an end".into());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    operator.process.signal("TERM")?;
    operator.ended().await?;
    for arguments in [
        &["explain", "service", "default/bench-7"][..],
        &["explain", "address", "10.200.0.7"],
        &["explain", "node", "node-7"],
        &["explain", "peer", "tor"],
        &["status"],
        &["diff"],
    ] {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let (status, took) = clarion(&control_plane.kubeconfig(), arguments)?;
            if status != 0 {
                return Err(format!("{arguments:?} exits with {status}").into());
            }
            times.push(took);
        }
        times.sort();
        let [median, max] = [times.get(ROUNDS / 2), times.last()].map(|time| time.copied().unwrap_or_default());
        println!("{:<34} median {median:>8.1?}  max {max:>8.1?}", arguments.join(" "));
    }
    println!("to reach: 300 ms for explain");
    Ok(())
}

/// Runs a command; its exit status, and how long it took.
fn clarion(kubeconfig: &Path, arguments: &[&str]) -> Result<(i32, Duration)> {
    let mut command = Command::new(Operator::binary()?);
    command.args(arguments).env("KUBECONFIG", kubeconfig).stdout(Stdio::null());
    let started = Instant::now();
    let status = command.status()?;
    Ok((status.code().unwrap_or(-1), started.elapsed()))
}

fn node(n: usize) -> serde_json::Value {
    let name = format!("node-{n}");
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})
}

fn service(n: usize) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("bench-{n}")},
        "spec": {
            "type": "LoadBalancer", "loadBalancerClass": "clarionlb.io/bgp", "ports": [{"port": 80}],
            "allocateLoadBalancerNodePorts": false,
        },
    })
}

fn endpoints(n: usize) -> serde_json::Value {
    let name = format!("bench-{n}");
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{name}-1"), "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "ports": [{"port": 80}],
        "endpoints": [
            {"addresses": ["10.244.0.1"], "nodeName": format!("node-{}", n % NODES)},
            {"addresses": ["10.244.0.2"], "nodeName": format!("node-{}", (n + 1) % NODES)},
        ],
    })
}
