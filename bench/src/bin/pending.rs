//! 5,000 Services that wait when the operator starts, until the last has its address.
//!
//! Beside it, in the same run, the rate of bare status patches: the same patches by a client that knows in advance what to
//! write and keeps as many in flight. And how long it takes until the operator is ready once it knows everything, as it logs
//! itself.

use std::{
    collections::BTreeSet,
    pin::pin,
    time::{Duration, Instant},
};

use clarion_envtest::{ControlPlane, Operator, manifests, repository};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const SERVICES: usize = 5_000;
const IN_FLIGHT: usize = 32;
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<()> {
    let control_plane = ControlPlane::with_frr_k8s().await?;
    control_plane.apply(&manifests(&repository().join("test/demo/cluster.yaml"))?).await?;
    let pool = json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "LoadBalancerPool", "metadata": {"name": "bench"},
        "spec": {"addresses": ["10.200.0.0/16"]},
    });
    let services: Api<Service> = Api::namespaced(control_plane.client(), "default");
    println!("creating {SERVICES} Services");
    each(|n| {
        let services = services.clone();
        async move { services.create(&PostParams::default(), &service(n)?).await.map(|_| ()).map_err(Into::into) }
    })
    .await?;

    for round in 1..=3 {
        let mut seen = watch(&services);
        let started = Instant::now();
        each(|n| {
            let services = services.clone();
            async move {
                let patch = Patch::Strategic(status(n));
                services.patch_status(&name(n), &PatchParams::default(), &patch).await.map(|_| ()).map_err(Into::into)
            }
        })
        .await?;
        let bare = all(&mut seen).await?.duration_since(started);
        drop(seen);
        clear(&services).await?;

        if round == 1 {
            control_plane.apply(&[serde_json::from_value(pool.clone())?]).await?;
        }
        let mut seen = watch(&services);
        let started = Instant::now();
        let mut operator =
            Operator::start_with(&control_plane, &control_plane.operator_kubeconfig(), &["--lease-duration", "15s"])?;
        let first = timeout(PATIENCE, seen.recv()).await?.ok_or("the watch has ended")?;
        let last = all_but(&mut seen, first.0).await?;
        let (from_start, from_first) = (last.duration_since(started), last.duration_since(first.1));
        operator.process.signal("TERM")?;
        operator.ended().await?;
        println!("round {round}: {}", ready(&operator)?);
        drop(seen);
        clear(&services).await?;
        let rate = |took: Duration| 5_000.0 / took.as_secs_f64();
        println!(
            "round {round}: bare patches {:.0}/s; Clarion {:.0}/s from its start as a process ({:.0} %), {:.0}/s from the first address ({:.0} %)",
            rate(bare),
            rate(from_start),
            100.0 * rate(from_start) / rate(bare),
            rate(from_first),
            100.0 * rate(from_first) / rate(bare),
        );
    }
    println!("to reach: 80 %; 300 ms");
    Ok(())
}

/// What the operator says of its start.
fn ready(operator: &Operator) -> Result<String> {
    let log = operator.process.log();
    let line = log.lines().find(|line| line.contains("ready: ")).ok_or("it never said that it is ready")?;
    Ok(line.split_once("ready: ").map(|(_, rest)| rest.to_owned()).unwrap_or_default())
}

/// Does something for each Service, with as many in flight as the operator has.
async fn each<F: Future<Output = Result<()>>>(action: impl Fn(usize) -> F) -> Result<()> {
    let mut outcomes = stream::iter((0..SERVICES).map(action)).buffer_unordered(IN_FLIGHT);
    while let Some(outcome) = outcomes.next().await {
        outcome?;
    }
    Ok(())
}

async fn clear(services: &Api<Service>) -> Result<()> {
    each(|n| {
        let services = services.clone();
        async move {
            let types = ["AddressAllocated", "Announced"]
                .map(|t| json!({"$patch": "delete", "type": format!("clarionlb.io/{t}")}));
            let patch = Patch::Strategic(json!({"status": {"loadBalancer": {"ingress": []}, "conditions": types}}));
            services.patch_status(&name(n), &PatchParams::default(), &patch).await.map(|_| ()).map_err(Into::into)
        }
    })
    .await
}

/// Tells each Service that a watch shows with an address for the first time, and when.
fn watch(services: &Api<Service>) -> mpsc::UnboundedReceiver<(String, Instant)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let services = services.clone();
    tokio::spawn(async move {
        let mut events = pin!(watcher(services, watcher::Config::default()).applied_objects());
        let mut known = BTreeSet::new();
        while let Some(event) = events.next().await {
            let now = Instant::now();
            let Ok(service) = event else { continue };
            let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
            let has = status.and_then(|status| status.ingress.as_ref()).is_some_and(|ingress| !ingress.is_empty());
            let name = service.name_any();
            if has && known.insert(name.clone()) && sender.send((name, now)).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Waits for all Services; returns when the last was seen.
async fn all(seen: &mut mpsc::UnboundedReceiver<(String, Instant)>) -> Result<Instant> {
    let first = timeout(PATIENCE, seen.recv()).await?.ok_or("the watch has ended")?;
    all_but(seen, first.0).await
}

async fn all_but(seen: &mut mpsc::UnboundedReceiver<(String, Instant)>, first: String) -> Result<Instant> {
    let mut names = BTreeSet::from([first]);
    let mut last = Instant::now();
    while names.len() < SERVICES {
        let (name, at) = timeout(PATIENCE, seen.recv()).await?.ok_or("the watch has ended")?;
        names.insert(name);
        last = at;
    }
    Ok(last)
}

fn name(n: usize) -> String {
    format!("pending-{n}")
}

fn service(n: usize) -> Result<Service> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name(n)},
        "spec": {
            "type": "LoadBalancer", "loadBalancerClass": "clarionlb.io/bgp", "ports": [{"port": 80}],
            "allocateLoadBalancerNodePorts": false,
        },
    }))?)
}

/// What the operator writes.
fn status(n: usize) -> Value {
    let condition = |type_: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": format!("clarionlb.io/{type_}"), "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    let address = format!("10.200.{}.{}", n / 256, n % 256);
    json!({"status": {
        "loadBalancer": {"ingress": [{"ip": address}]},
        "conditions": [
            condition("AddressAllocated", "True", "Allocated", &format!("{address} from pool bench")),
            condition("Announced", "False", "NoReadyEndpoints", "no endpoint of the Service is ready, nor serving while it terminates"),
        ],
    }})
}
