//! How long commands take on a cluster of 5,000 announced Services and 100 nodes, from their start as a process to their end.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use clarion_bench::{Bound, Figure, Result, milliseconds};
use clarion_envtest::{ControlPlane, Operator, crowd};
use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use kube::Api;

const SERVICES: usize = 5_000;
const NODES: usize = 100;
const ROUNDS: usize = 15;
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<()> {
    let control_plane = ControlPlane::with_frr_k8s().await?;
    let client = control_plane.client();
    crowd::configure(&control_plane).await?;
    println!("creating {NODES} Nodes, {SERVICES} Services and their EndpointSlices");
    crowd::create(&Api::<Node>::all(client.clone()), (0..NODES).map(crowd::node)).await?;
    let slices = Api::<EndpointSlice>::default_namespaced(client.clone());
    crowd::create(&slices, (0..SERVICES).map(|n| crowd::slice(n, NODES))).await?;
    crowd::create(&Api::<Service>::default_namespaced(client), (0..SERVICES).map(crowd::service)).await?;
    let mut operator = Operator::start_as_shipped(&control_plane)?;
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
        &["explain", "service", "default/crowd-7"][..],
        &["explain", "address", "10.200.0.7"],
        &["explain", "node", "node-7"],
        &["explain", "peer", "crowd"],
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
        let name = arguments.join(" ");
        println!("{name:<34} median {median:>8.1?}  max {max:>8.1?}");
        if arguments.contains(&"explain") {
            let name = format!("clarion {name}, 5,000 Services, median");
            Figure::record(&name, "ms", Bound::AtMost(300.0), milliseconds(median))?;
        }
    }
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
