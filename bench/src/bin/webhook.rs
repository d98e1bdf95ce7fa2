//! What a write costs FRR-K8s's webhook, the real one: for each node that the object selects, it merges all that the node has.
//! Clarion's cells are cut so that this stays bounded (`clarion_core::world::Bounds`); an object of a user's own that selects
//! all nodes has no such bound.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use clarion_api::{frr::FRRConfiguration, names};
use clarion_bench::{Bound, Figure, Latencies, Result, milliseconds, size, worlds};
use clarion_core::World;
use clarion_envtest::{ControlPlane, Webhook, crowd};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::Instant;

const SIZES: [(usize, usize); 6] =
    [(500, 1_000), (2_000, 1_000), (5_000, 100), (5_000, 1_000), (10_000, 1_000), (30_000, 1_000)];
/// Writes of Clarion's objects, one after the other; fewer where they take so long together.
const WRITES: usize = 20;
const WRITES_WITHIN: Duration = Duration::from_secs(60);
/// Objects for one node each, how often one of them is written, and how many writes are in flight.
const SMALL_OBJECTS: usize = 16;
const SMALL_WRITES: usize = 100;
const AT_ONCE: usize = 8;
/// What Clarion sends a second at most.
const CLARIONS_RATE: f64 = 10.0;
/// As long as the API server can be made to wait for a webhook, in seconds, so that what takes longer than usual is seen too.
const TIMEOUT: u8 = 30;

/// A fifth of what the API server usually gives the webhook, up to so many Services; with more, all of it.
const FAST_MS: f64 = 2_000.0;
const SERVICES: usize = 10_000;
const ANY_MS: f64 = 10_000.0;

#[tokio::main]
async fn main() -> Result<()> {
    // Other sizes are numbers of Services, on 1,000 nodes.
    let asked = std::env::args().skip(1).map(|services| Ok((services.parse::<usize>()?, 1_000)));
    let asked = asked.collect::<Result<Vec<_>>>()?;
    for (services, nodes) in if asked.is_empty() { SIZES.to_vec() } else { asked } {
        measure(services, nodes).await?;
    }
    Ok(())
}

async fn measure(services: usize, nodes: usize) -> Result<()> {
    let world = worlds::settled(worlds::world(services, nodes));
    let size = size(services, nodes);
    let names: Vec<&str> = world.configurations.iter().map(|object| object.meta.name.name.as_str()).collect();
    println!("{size}: {} FRRConfigurations, a write costs {} merged prefixes at most", names.len(), heaviest(&world));
    let control_plane = ControlPlane::with_frr_k8s().await?;
    crowd::create(&Api::all(control_plane.client()), world.nodes.iter().map(|node| Ok(node_of(&node.meta.labels))))
        .await?;
    let api = Api::<FRRConfiguration>::namespaced(control_plane.client(), "frr-k8s-system");
    let objects = world.configurations.iter().map(|object| {
        let mut made = FRRConfiguration::new(&object.meta.name.name, object.value.spec().clone());
        made.metadata.labels = Some(object.meta.labels.clone());
        Ok(made)
    });
    crowd::create(&api, objects).await?;
    let webhook = Webhook::start(&control_plane).await?;
    webhook.set_timeout(&control_plane, TIMEOUT)?;

    // Neighbours in the list are shards of one cell: all cells take their turn.
    let turn = names.iter().copied().cycle().step_by(names.len() / WRITES + 1).enumerate();
    let mut took = Vec::with_capacity(WRITES);
    // The first finds nothing in the webhook's cache.
    let begin = Instant::now();
    for (n, name) in turn.take(WRITES + 1) {
        took.push(touch(&api, name, n).await?);
        if begin.elapsed() > WRITES_WITHIN {
            break;
        }
    }
    let took = Latencies::of(took.into_iter().skip(1))?;
    println!("  an object of Clarion's, {took}");
    Figure::record(
        &format!("webhook: a write, {size}"),
        "ms",
        Bound::AtMost(if services <= SERVICES { FAST_MS } else { ANY_MS }),
        milliseconds(took.percentile(50.0)),
    )?;
    let hosts = world.nodes.iter().filter_map(|node| node.meta.labels.get(names::HOSTNAME_LABEL));
    let rate = rate(&api, &hosts.take(SMALL_OBJECTS).collect::<Vec<_>>()).await?;
    Figure::record(&format!("webhook: writes for one node a second, {size}"), "", Bound::AtLeast(CLARIONS_RATE), rate)?;
    let begin = Instant::now();
    let outcome = api.create(&PostParams::default(), &of_a_user("of-a-user", json!({}))?).await;
    println!(
        "  a user's object for all nodes: {:.1?}, {}",
        begin.elapsed(),
        if outcome.is_ok() { "taken" } else { "refused" }
    );
    Ok(())
}

/// An object with a session of a user's own, on the nodes with these labels.
fn of_a_user(name: &str, labels: Value) -> Result<FRRConfiguration> {
    let neighbors = json!([{"asn": 64_999, "address": "198.51.100.1"}]);
    let selector = json!({"matchLabels": labels});
    let spec = json!({"nodeSelector": selector, "bgp": {"routers": [{"asn": 64_512, "neighbors": neighbors}]}});
    Ok(FRRConfiguration::new(name, serde_json::from_value(spec)?))
}

/// How many writes a second the webhook lets through that are as small as they can be: each for one of these hosts, as many at
/// a time as Clarion sends at most. It asks the API server for all nodes and objects each time.
async fn rate(api: &Api<FRRConfiguration>, hosts: &[&String]) -> Result<f64> {
    let name = |n: usize| format!("of-node-{}", n % hosts.len());
    let objects = hosts.iter().enumerate().map(|(n, host)| of_a_user(&name(n), json!({names::HOSTNAME_LABEL: host})));
    crowd::create(api, objects.collect::<Result<Vec<_>>>()?.into_iter().map(Ok)).await?;
    let begin = Instant::now();
    let writes = futures::stream::iter(0..SMALL_WRITES).map(|n| async move { touch(api, &name(n), n).await });
    let mut writes = writes.buffer_unordered(AT_ONCE);
    while let Some(outcome) = writes.next().await {
        outcome?;
    }
    Ok(SMALL_WRITES as f64 / begin.elapsed().as_secs_f64())
}

/// The most that one write makes the webhook merge: of the object's hosts, the prefixes that they announce.
fn heaviest(world: &World) -> usize {
    let prefixes: BTreeSet<_> =
        world.configurations.iter().flat_map(|object| object.value.layer.content.prefixes()).collect();
    let hosts = world.configurations.iter().map(|object| object.value.layer.hosts.len()).max().unwrap_or(0);
    prefixes.len() * hosts
}

fn node_of(labels: &BTreeMap<String, String>) -> Node {
    let name = labels.get("kubernetes.io/hostname").cloned();
    Node {
        metadata: kube::api::ObjectMeta { name, labels: Some(labels.clone()), ..Default::default() },
        ..Node::default()
    }
}

/// Writes an object anew, and tells how long that took.
async fn touch(api: &Api<FRRConfiguration>, name: &str, n: usize) -> Result<Duration> {
    let begin = Instant::now();
    let patch = json!({"metadata": {"annotations": {"example.com/touched": n.to_string()}}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(begin.elapsed())
}
