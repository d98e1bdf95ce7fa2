//! What a write of Clarion's costs FRR-K8s's webhook, the real one: for each node that the object selects, it merges all that the
//! node has. Cells are cut so that this stays bounded (`clarion_core::world::Bounds`), and the writes of all take turns in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use clarion_api::frr::FRRConfiguration;
use clarion_bench::{Bound, Figure, Latencies, Result, milliseconds, rounded, size, worlds};
use clarion_core::World;
use clarion_envtest::{ControlPlane, Webhook, crowd};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::Instant;

const SIZES: [(usize, usize); 4] = [(500, 1_000), (5_000, 100), (5_000, 1_000), (10_000, 1_000)];
/// Writes one after the other, and writes of which so many are in flight, as many as Clarion's.
const ALONE: usize = 20;
const TOGETHER: usize = 40;
const IN_FLIGHT: usize = 8;
/// A fifth of what the API server gives the webhook.
const ALONE_MS: f64 = 2_000.0;

#[tokio::main]
async fn main() -> Result<()> {
    for (services, nodes) in SIZES {
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
    let _webhook = Webhook::start(&control_plane).await?;

    // Neighbours in the list are shards of one cell: all cells take their turn.
    let step = names.len() / ALONE + 1;
    let turn = || names.iter().copied().cycle().step_by(step).enumerate();
    touch(&api, names.first().copied().unwrap_or_default(), 0).await?;
    let mut alone = Vec::with_capacity(ALONE);
    for (n, name) in turn().skip(1).take(ALONE) {
        alone.push(touch(&api, name, n).await?);
    }
    let alone = Latencies::of(alone.into_iter().flatten())?;
    println!("  one after the other, {alone}");
    let begin = Instant::now();
    let writes = stream::iter(turn().skip(1).take(TOGETHER));
    // Of an object there is never more than one.
    let in_flight = IN_FLIGHT.min(names.len());
    let writes = writes.map(|(n, name)| touch(&api, name, ALONE + n)).buffer_unordered(in_flight);
    let together: Vec<Option<Duration>> = writes.try_collect().await?;
    let elapsed = begin.elapsed().as_secs_f64();
    let landed = Latencies::of(together.into_iter().flatten())?;
    let (rate, refused) = (landed.count() as f64 / elapsed, TOGETHER as u64 - landed.count());
    println!("  {in_flight} at a time, {}/s, {refused} not in time, {landed}", rounded(rate));
    let median = milliseconds(alone.percentile(50.0));
    Figure::record(&format!("webhook: a write alone, {size}"), "ms", Bound::AtMost(ALONE_MS), median)?;
    Figure::record(
        &format!("webhook: not in time, {in_flight} at once, {size}"),
        "",
        Bound::AtMost(0.0),
        refused as f64,
    )
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

/// Writes an object anew, and tells how long that took; nothing if the webhook had no time for it.
async fn touch(api: &Api<FRRConfiguration>, name: &str, n: usize) -> Result<Option<Duration>> {
    let begin = Instant::now();
    let patch = json!({"metadata": {"annotations": {"example.com/touched": n.to_string()}}});
    match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => Ok(Some(begin.elapsed())),
        Err(kube::Error::Api(status)) if [500, 504].contains(&status.code) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
