//! From "Service created" to "its address is in an FRRConfiguration", seen from outside by watching.
//!
//! Beside it, in the same run, the least that any program needs for this on this machine: the same two writes, one after
//! the other, by a client that knows in advance what to write.

use std::{
    collections::BTreeMap,
    pin::pin,
    time::{Duration, Instant},
};

use clarion_api::frr::FRRConfiguration;
use clarion_envtest::{ControlPlane, Operator, manifests, repository, wait};
use futures::StreamExt as _;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;
use tokio::{sync::mpsc, time::sleep};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const SERVICES: usize = 200;
const PERIOD: Duration = Duration::from_millis(100);
const P50: Duration = Duration::from_millis(25);
const P99: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> Result<()> {
    let control_plane = ControlPlane::with_frr_k8s().await?;
    control_plane.apply(&manifests(&repository().join("test/demo/cluster.yaml"))?).await?;
    let pool = json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "LoadBalancerPool", "metadata": {"name": "bench"},
        "spec": {"addresses": ["10.200.0.0/16"]},
    });
    let mut objects = manifests(&repository().join("docs/examples/quickstart/clarion.yaml"))?;
    objects.retain(|object| object.types.as_ref().is_none_or(|types| types.kind != "LoadBalancerPool"));
    objects.push(serde_json::from_value(pool)?);
    for object in &mut objects {
        if let Some(spec) = object.data.pointer_mut("/spec").and_then(|spec| spec.as_object_mut()) {
            spec.remove("pools");
        }
    }
    control_plane.apply(&objects).await?;
    let services: Api<Service> = Api::namespaced(control_plane.client(), "default");
    let slices: Api<EndpointSlice> = Api::namespaced(control_plane.client(), "default");
    for n in 0..SERVICES {
        slices.create(&PostParams::default(), &slice(n)?).await?;
    }
    let mut seen = watch(&control_plane);

    let bare = bare(&control_plane, &services, &mut seen).await?;
    report("bare writes", &bare);

    let mut operator =
        Operator::start_with(&control_plane, &control_plane.operator_kubeconfig(), &["--lease-duration", "15s"])?;
    operator.leading().await?;
    sleep(Duration::from_secs(1)).await;
    let mut sent = BTreeMap::new();
    let mut next = Instant::now();
    for n in 0..SERVICES {
        sleep(next.saturating_duration_since(Instant::now())).await;
        next += PERIOD;
        sent.insert(n, Instant::now());
        services.create(&PostParams::default(), &service(n)?).await?;
    }
    // Which address is whose stands in the status.
    let mut arrived: BTreeMap<String, Instant> = BTreeMap::new();
    wait::until("all prefixes", async || {
        while let Ok((prefix, at)) = seen.try_recv() {
            arrived.entry(prefix).or_insert(at);
        }
        if arrived.len() >= SERVICES { Ok(()) } else { Err(format!("{} of {SERVICES}", arrived.len())) }
    })
    .await?;
    let mut latencies = Vec::new();
    for service in services.list(&ListParams::default()).await? {
        let number =
            service.metadata.name.as_deref().and_then(|name| name.strip_prefix("bench-")?.parse::<usize>().ok());
        let status = service.status.and_then(|status| status.load_balancer).and_then(|status| status.ingress);
        let address = status.into_iter().flatten().find_map(|ingress| ingress.ip);
        let at = address.and_then(|address| arrived.get(&format!("{address}/32")));
        if let (Some(sent), Some(at)) = (number.and_then(|number| sent.get(&number)), at) {
            latencies.push(at.saturating_duration_since(*sent));
        }
    }
    report("clarion", &latencies);

    let (ours, least) = (percentiles(&latencies), percentiles(&bare));
    println!("\n{:24} {:>10} {:>10} {:>8}", "figure", "to reach", "reached", "of it");
    for (name, bound, reached) in [("p50", P50, ours.p50), ("p99", P99, ours.p99)] {
        let share = 100.0 * reached.as_secs_f64() / bound.as_secs_f64();
        println!("{name:24} {:>10} {:>10} {share:>7.0}%", format!("{bound:.1?}"), format!("{reached:.1?}"));
    }
    println!(
        "\np50 is {:.2} times that of the bare writes in this run.",
        ours.p50.as_secs_f64() / least.p50.as_secs_f64()
    );
    Ok(())
}

/// Tells each prefix that a watch shows for the first time.
fn watch(control_plane: &ControlPlane) -> mpsc::UnboundedReceiver<(String, Instant)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let configurations: Api<FRRConfiguration> = Api::all(control_plane.client());
    tokio::spawn(async move {
        let mut events = pin!(watcher(configurations, watcher::Config::default()).applied_objects());
        let mut known = std::collections::BTreeSet::new();
        while let Some(event) = events.next().await {
            let now = Instant::now();
            let Ok(object) = event else { continue };
            for prefix in object.spec.bgp.into_iter().flat_map(|bgp| bgp.routers).flat_map(|router| router.prefixes) {
                if known.insert(prefix.clone()) && sender.send((prefix, now)).is_err() {
                    return;
                }
            }
        }
    });
    receiver
}

/// Create, set the status, replace the object with the prefixes: 200 times, by a client that waits for each answer.
async fn bare(
    control_plane: &ControlPlane,
    services: &Api<Service>,
    seen: &mut mpsc::UnboundedReceiver<(String, Instant)>,
) -> Result<Vec<Duration>> {
    let configurations: Api<FRRConfiguration> = Api::namespaced(control_plane.client(), "frr-k8s-system");
    let mut object: FRRConfiguration = serde_json::from_value(json!({
        "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration", "metadata": {"name": "bare"},
        "spec": {"bgp": {"routers": [{"asn": 1}]}},
    }))?;
    object = configurations.create(&PostParams::default(), &object).await?;
    let mut latencies = Vec::new();
    let mut next = Instant::now();
    for n in 0..SERVICES {
        sleep(next.saturating_duration_since(Instant::now())).await;
        next += PERIOD;
        let sent = Instant::now();
        services.create(&PostParams::default(), &service(n)?).await?;
        let address = format!("10.201.{}.{}", n / 256, n % 256);
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}});
        services.patch_status(&format!("bench-{n}"), &PatchParams::default(), &Patch::Strategic(status)).await?;
        for router in object.spec.bgp.iter_mut().flat_map(|bgp| &mut bgp.routers) {
            router.prefixes.push(format!("{address}/32"));
        }
        object = configurations.replace("bare", &PostParams::default(), &object).await?;
        if let Some((_, at)) = seen.recv().await {
            latencies.push(at.saturating_duration_since(sent));
        }
    }
    configurations.delete("bare", &DeleteParams::default()).await?;
    for n in 0..SERVICES {
        services.delete(&format!("bench-{n}"), &DeleteParams::default()).await?;
    }
    Ok(latencies)
}

fn service(n: usize) -> Result<Service> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("bench-{n}")},
        "spec": {
            "type": "LoadBalancer", "loadBalancerClass": "clarionlb.io/bgp", "ports": [{"port": 80}],
            "allocateLoadBalancerNodePorts": false,
        },
    }))?)
}

fn slice(n: usize) -> Result<EndpointSlice> {
    let name = format!("bench-{n}");
    Ok(serde_json::from_value(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "endpoints": [{"addresses": ["10.244.0.1"]}], "ports": [{"port": 80}],
    }))?)
}

struct Percentiles {
    p50: Duration,
    p90: Duration,
    p99: Duration,
    max: Duration,
}

fn percentiles(latencies: &[Duration]) -> Percentiles {
    let mut sorted = latencies.to_vec();
    sorted.sort();
    let at = |share: usize| sorted.get((sorted.len() * share / 100).min(sorted.len().saturating_sub(1)));
    let at = |share| at(share).copied().unwrap_or_default();
    Percentiles { p50: at(50), p90: at(90), p99: at(99), max: at(100) }
}

fn report(name: &str, latencies: &[Duration]) {
    let Percentiles { p50, p90, p99, max } = percentiles(latencies);
    println!("{name:12} {} Services: p50 {p50:.1?}, p90 {p90:.1?}, p99 {p99:.1?}, max {max:.1?}", latencies.len());
}
