//! `clarion shadow`

mod compare;

use std::collections::BTreeMap;

use clap::Args;
use clarion_core::{
    World,
    admit::{self, Named, NodeConfig},
    replay,
    world::{Configuration, Custom, Meta, Object, ObjectName},
};
use serde::Serialize;

use self::compare::{Difference, differences};
use super::{
    cluster::{self, Source},
    import,
    output::{self, Output, table},
};

/// Compare what MetalLB has FRR-K8s announce with what Clarion would, and write nothing
///
/// Looks at the cluster as it would be with Clarion in the place of MetalLB: with Clarion's objects, if there are any, else with
/// those that `clarion import --from-cluster` makes of MetalLB's. Tells for each node and peer which prefixes and which
/// parameters of the session would change, which node could not merge both while both are there, and which Services would
/// get other addresses.
///
/// Services without a class are taken to be Clarion's, unless --class-less=ignore is given. The exit status is 0 if nothing
/// would change, else 1.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Shadow {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    #[error(transparent)]
    Import(#[from] import::Error),
    #[error(transparent)]
    Unsettled(#[from] replay::Unsettled),
    #[error(transparent)]
    Output(#[from] output::Error),
    #[error(
        "there is no FRRConfiguration of MetalLB (metallb-NODE) in the namespace {0}: is MetalLB in its FRR-K8s mode, and is --frr-k8s-namespace right?"
    )]
    NoMetalLb(String),
}

/// Whether a cut-over would change anything.
pub enum Outcome {
    Same,
    Different,
}

/// How the names of MetalLB's FRRConfigurations begin; the node's name follows.
const METALLB: &str = "metallb-";

/// What is found.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// Clarion's objects are those of the cluster, not imported ones.
    applied: bool,
    /// Nodes with Clarion or MetalLB.
    nodes: usize,
    /// Those of them where nothing would change.
    unchanged_nodes: usize,
    /// Prefixes that would come, go, or have other attributes, by node and peer.
    prefixes: usize,
    differences: Vec<Row>,
    services: Vec<ServiceRow>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    node: String,
    peer: String,
    what: String,
    now: String,
    then: String,
}

/// A Service that would have other addresses, or would not be announced.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceRow {
    service: String,
    now: String,
    then: String,
    why: String,
}

impl Shadow {
    pub fn execute(self) -> Result<Outcome, Error> {
        let source = self.source.or_adopting();
        let mut world = source.world()?;
        let applied = !(world.pools.is_empty() && world.peers.is_empty() && world.advertisements.is_empty());
        if !applied && !source.is_offline() {
            let imported = import::of_cluster(world.settings.frr_k8s_namespace.clone())?;
            take(&mut world, imported);
        }
        let report = report(world, applied)?;
        self.output.print(&report, text)?;
        let same = report.differences.is_empty() && report.services.is_empty();
        Ok(if same { Outcome::Same } else { Outcome::Different })
    }
}

/// Puts imported objects into the world, as if they were applied.
fn take(world: &mut World, imported: import::Imported) {
    fn object<Spec, Status>(
        name: Option<String>,
        labels: Option<BTreeMap<String, String>>,
        spec: Spec,
    ) -> Object<Custom<Spec, Status>> {
        let name = ObjectName::cluster(name.unwrap_or_default());
        let meta = Meta {
            uid: name.to_string(),
            name,
            resource_version: "1".to_owned(),
            labels: labels.unwrap_or_default(),
            ..Meta::default()
        };
        Object { meta, value: Custom { spec: Ok(spec), status: None } }
    }
    for alias in imported.aliases {
        world.communities.watched(object(alias.metadata.name, alias.metadata.labels, alias.spec));
    }
    for pool in imported.pools {
        world.pools.watched(object(pool.metadata.name, pool.metadata.labels, pool.spec));
    }
    for peer in imported.peers {
        world.peers.watched(object(peer.metadata.name, peer.metadata.labels, peer.spec));
    }
    for advertisement in imported.advertisements {
        let meta = advertisement.metadata;
        world.advertisements.watched(object(meta.name, meta.labels, advertisement.spec));
    }
}

fn report(world: World, applied: bool) -> Result<Report, Error> {
    let namespace = world.frr_k8s_namespace().to_owned();
    let is_metallb = |object: &Object<Configuration>| {
        object.meta.name.namespace == namespace && object.meta.name.name.starts_with(METALLB)
    };
    let theirs: Vec<ObjectName> = world
        .configurations
        .iter()
        .filter(|object| is_metallb(object))
        .map(|object| object.meta.name.clone())
        .collect();
    if theirs.is_empty() {
        return Err(Error::NoMetalLb(namespace));
    }
    let mut then = world.clone();
    for name in &theirs {
        if let Some(uid) = then.configurations.get(name).map(|object| object.meta.uid.clone()) {
            then.configurations.removed(name, &uid);
        }
    }
    replay::settle(&mut then)?;
    let mut together = world.clone();
    let ours = then.configurations.iter().filter(|object| object.value.ours);
    for object in ours.filter(|object| object.meta.name.namespace == namespace).cloned() {
        let name = object.meta.name.clone();
        if let Some(uid) = together.configurations.get(&name).map(|known| known.meta.uid.clone()) {
            together.configurations.removed(&name, &uid);
            together.configurations.forget_deleted();
        }
        together.configurations.watched(object);
    }

    let mut report = Report { applied, services: services(&world, &then), ..Report::default() };
    for node in world.nodes.iter() {
        let labels = &node.meta.labels;
        let merge = |world: &World| merge(world, &namespace, labels);
        let name = &node.meta.name.name;
        let found = match (merge(&world), merge(&then), merge(&together)) {
            (Ok(now), Ok(then), Ok(_)) if now.routers.is_empty() && then.routers.is_empty() => continue,
            (Ok(now), Ok(then), together) => {
                let mut found = differences(&now, &then);
                found.extend(
                    together.err().map(|refusal| Difference::node("FRR-K8s refuses both together", "", refusal)),
                );
                found
            }
            (Err(refusal), ..) => vec![Difference::node("FRR-K8s refuses what there is", refusal, "")],
            (_, Err(refusal), _) => vec![Difference::node("FRR-K8s would refuse what there is", "", refusal)],
        };
        report.nodes += 1;
        report.unchanged_nodes += usize::from(found.is_empty());
        report.prefixes += found.iter().filter(|difference| difference.is_prefix).count();
        report.differences.extend(found.into_iter().map(|Difference { peer, what, now, then, .. }| Row {
            node: name.clone(),
            peer,
            what,
            now,
            then,
        }));
    }
    Ok(report)
}

/// What the daemon of a node with these labels makes of all FRRConfigurations.
fn merge(world: &World, namespace: &str, labels: &BTreeMap<String, String>) -> Result<NodeConfig, String> {
    let mut selected = Vec::new();
    for object in world.configurations.iter().filter(|object| object.meta.name.namespace == namespace) {
        match admit::selects(&object.value.spec, labels) {
            Ok(false) => {}
            Ok(true) => selected.push(Named { name: &object.meta.name, spec: &object.value.spec }),
            Err(error) => return Err(format!("{}: {error}", object.meta.name)),
        }
    }
    admit::merge(selected).map_err(|refusal| refusal.to_string())
}

/// The Services that would have other addresses than now, or would not be announced although they have some.
fn services(now: &World, then: &World) -> Vec<ServiceRow> {
    let mut rows = Vec::new();
    for service in then.services.iter().filter(|service| then.serves(service)) {
        let list = |service: &Object<clarion_core::world::Service>| {
            service.value.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        let before = now.services.get(&service.meta.name).map(list).unwrap_or_default();
        let after = list(service);
        let complaint = service.value.conditions.iter().find(|condition| condition.status == "False");
        if before != after || (!after.is_empty() && complaint.is_some()) {
            let why = complaint.map(|c| format!("{}: {}", c.reason, c.message)).unwrap_or_default();
            rows.push(ServiceRow { service: service.meta.name.to_string(), now: before, then: after, why });
        }
    }
    rows
}

fn text(report: &Report) -> String {
    let Report { applied, nodes, unchanged_nodes, prefixes, differences, services } = report;
    let mut text = String::new();
    if !applied {
        text.push_str(
            "Clarion's objects are not in the cluster: compared with what clarion import makes of MetalLB's.\n\n",
        );
    }
    if !differences.is_empty() {
        let rows = differences
            .iter()
            .map(|Row { node, peer, what, now, then }| [node, peer, what, now, then].map(Clone::clone));
        text.push_str(&table(["NODE", "PEER", "WHAT", "NOW", "THEN"], rows));
        text.push('\n');
    }
    if !services.is_empty() {
        let rows =
            services.iter().map(|ServiceRow { service, now, then, why }| [service, now, then, why].map(Clone::clone));
        text.push_str(&table(["SERVICE", "NOW", "THEN", "WHY"], rows));
        text.push('\n');
    }
    let on = if unchanged_nodes == nodes { "change on" } else { "change; nothing changes on" };
    text.push_str(&format!("{prefixes} prefixes {on} {unchanged_nodes}/{nodes} nodes\n"));
    text.push_str(&format!("{} Services have other addresses or are not announced\n", services.len()));
    text
}
