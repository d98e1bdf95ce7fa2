//! 5,000 Services that wait when the operator starts, until the last has its address.
//!
//! Beside it, in the same run, the rate of bare status patches: the same patches by a client that knows in advance what to
//! write and keeps as many in flight. And how long it takes until the operator is ready once it knows everything, as it logs
//! itself.

use std::time::Duration;

use clarion_bench::{Bound, Figure, Result, Seen, first};
use clarion_envtest::{ControlPlane, Operator, crowd};
use k8s_openapi::api::core::v1::{Node, Service};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::time::Instant;

const SERVICES: usize = 5_000;
const ROUNDS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<()> {
    let control_plane = ControlPlane::with_frr_k8s().await?;
    crowd::create(&Api::<Node>::all(control_plane.client()), (0..1).map(crowd::node)).await?;
    let services: Api<Service> = Api::namespaced(control_plane.client(), "default");
    println!("creating {SERVICES} Services");
    crowd::create(&services, (0..SERVICES).map(crowd::service)).await?;

    let (mut ratios_from_start, mut ratios_from_first) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let mut seen = with_address(&services);
        let started = Instant::now();
        crowd::each(0..SERVICES, async |n| patch(&services, n, status(n)).await).await?;
        let bare = last(&mut seen).await?.duration_since(started);
        clear(&services).await?;

        if round == 1 {
            crowd::configure(&control_plane).await?;
        }
        let mut seen = with_address(&services);
        let started = Instant::now();
        let mut operator = Operator::start_as_shipped(&control_plane)?;
        let (_, first) = seen.next(PATIENCE).await?;
        let last = seen.take(SERVICES - 1, PATIENCE).await?.last().map_or(first, |(_, at)| *at);
        operator.process.signal("TERM")?;
        operator.ended().await?;
        println!("round {round}: {}", ready(&operator)?);
        clear(&services).await?;
        let rate = |took: Duration| SERVICES as f64 / took.as_secs_f64();
        let (bare, from_start, from_first) =
            (rate(bare), rate(last.duration_since(started)), rate(last.duration_since(first)));
        println!(
            "round {round}: bare patches {bare:.0}/s; Clarion {from_start:.0}/s from its start as a process ({:.0} %), {from_first:.0}/s from the first address ({:.0} %)",
            100.0 * from_start / bare,
            100.0 * from_first / bare,
        );
        ratios_from_start.push(100.0 * from_start / bare);
        ratios_from_first.push(100.0 * from_first / bare);
    }
    for (since, mut ratios) in [("its start", ratios_from_start), ("the first address", ratios_from_first)] {
        ratios.sort_by(f64::total_cmp);
        let median = ratios.get(ROUNDS / 2).copied().unwrap_or_default();
        let name = format!("5,000 pending, of bare patches' rate, from {since}");
        Figure::record(&name, "%", Bound::AtLeast(80.0), median)?;
    }
    Ok(())
}

/// What the operator says of its start.
fn ready(operator: &Operator) -> Result<String> {
    let log = operator.process.log();
    let line = log.lines().find(|line| line.contains("ready: ")).ok_or("it never said that it is ready")?;
    Ok(line.split_once("ready: ").map(|(_, rest)| rest.to_owned()).unwrap_or_default())
}

async fn patch(services: &Api<Service>, n: usize, status: Value) -> Result<()> {
    services.patch_status(&crowd::service_name(n), &PatchParams::default(), &Patch::Strategic(status)).await?;
    Ok(())
}

async fn clear(services: &Api<Service>) -> Result<()> {
    let types =
        ["AddressAllocated", "Announced"].map(|t| json!({"$patch": "delete", "type": format!("clarionlb.io/{t}")}));
    let status = json!({"status": {"loadBalancer": {"ingress": []}, "conditions": types}});
    crowd::each(0..SERVICES, async |n| patch(services, n, status.clone()).await).await
}

/// Tells each Service that has an address.
fn with_address(services: &Api<Service>) -> Seen {
    first(services.clone(), |service: &Service| {
        let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let has = status.and_then(|status| status.ingress.as_ref()).is_some_and(|ingress| !ingress.is_empty());
        has.then(|| service.name_any()).into_iter().collect()
    })
}

/// When the last Service was seen.
async fn last(seen: &mut Seen) -> Result<Instant> {
    Ok(seen.take(SERVICES, PATIENCE).await?.last().ok_or("no Service")?.1)
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
            condition("AddressAllocated", "True", "Allocated", &format!("{address} from pool crowd")),
            condition("Announced", "False", "NoReadyEndpoints", "no endpoint of the Service is ready, nor serving while it terminates"),
        ],
    }})
}
