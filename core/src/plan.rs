//! The stages in their order, and what comes out.

use std::collections::{BTreeMap, BTreeSet};

use clarion_api::names;

use crate::{
    allocate, announce,
    compose::{self, Layout},
    config,
    finding::Findings,
    layer::Layer,
    report, session, transition,
    world::{Configuration, Kind, Meta, Object, ObjectName, World},
    write::{ConfigurationWrite, Write},
};

/// The writes that are safe now, and what is to be told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Writes that can land in any order, each alone.
    pub writes: Vec<Write>,
    /// What was found on the way.
    pub findings: Findings,
}

/// Decides what to write now. Called again on a world in which the writes have landed, it converges.
#[must_use]
pub fn plan(world: &World) -> Plan {
    let mut findings = Findings::default();
    let config = config::check(world, &mut findings);
    let allocation = allocate::seat(world, &config.pools, &world.announced());
    let announcement = announce::announce(world, &config, &allocation.seats);
    let sessions = session::sessions(world, &config, &mut findings);
    let layout = compose::compose(world, &config, &sessions.classes, &announcement.routes, &mut findings);
    let announced = compose::announced(&layout);
    let configurations = if world.frr_k8s_installed { configurations(world, &layout) } else { Vec::new() };

    let mut writes = report::services(world, &allocation, &announcement, &announced);
    writes.extend(configurations.into_iter().map(Write::Configuration));
    writes.extend(report::objects(world, &config, &allocation, &sessions, &findings));
    writes.retain(|write| !world.unsettled.contains_key(&write.object()));
    Plan { writes, findings }
}

/// The FRRConfigurations to write, in the namespace of FRR-K8s.
fn configurations(world: &World, target: &Layout) -> Vec<ConfigurationWrite> {
    let namespace = world.frr_k8s_namespace();
    let ours = || world.configurations.iter().filter(|c| c.value.ours && c.meta.name.namespace == namespace);
    let current: Layout = ours().map(|c| (c.meta.name.name.clone(), c.value.layer.clone())).collect();
    let mut next = transition::next_writes(&current, target, world.add_only);
    // What others changed in our objects, labels included, is put back, where nothing else is to be done.
    for (name, layer) in target.iter().filter(|(name, layer)| current.get(*name) == Some(layer)) {
        next.insert(name.clone(), Some(layer.clone()));
    }
    let unsettled: BTreeSet<&String> = world
        .unsettled
        .keys()
        .filter(|object| object.kind == Kind::FRRConfiguration)
        .flat_map(|object| [current.get(&object.name.name), target.get(&object.name.name)])
        .flatten()
        .flat_map(|layer| &layer.hosts)
        .collect();
    let mut writes = Vec::new();
    for (name, layer) in next {
        // While an object is in two states at once, nothing else that its nodes see may change.
        let hosts = current.get(&name).into_iter().chain(&layer).flat_map(|layer| &layer.hosts);
        if !unsettled.is_empty() && hosts.into_iter().any(|host| unsettled.contains(host)) {
            continue;
        }
        let known = world.configurations.get(&ObjectName::new(namespace, &name));
        writes.extend(write(ObjectName::new(namespace, name), known, layer));
    }
    if current == *target && !world.add_only {
        // FRR-K8s reads one namespace: what is left in another is of no use once everything is in that one.
        let elsewhere = world.configurations.iter().filter(|c| c.value.ours && c.meta.name.namespace != namespace);
        writes.extend(elsewhere.filter_map(|c| write(c.meta.name.clone(), Some(c), None)));
    }
    writes
}

fn write(name: ObjectName, known: Option<&Object<Configuration>>, layer: Option<Layer>) -> Option<ConfigurationWrite> {
    let of = |meta: &Meta| (meta.uid.clone(), meta.resource_version.clone());
    let Some(layer) = layer.filter(|layer| !layer.hosts.is_empty()) else {
        let (uid, resource_version) = of(&known?.meta);
        return Some(ConfigurationWrite::Delete { name, uid, resource_version });
    };
    let kind = name.name.split('-').nth(1).unwrap_or_default().to_owned();
    let mut labels = BTreeMap::from([
        (names::MANAGED_BY_LABEL.to_owned(), names::FIELD_MANAGER.to_owned()),
        (names::LAYER_LABEL.to_owned(), kind),
    ]);
    let mut annotations = BTreeMap::from([(names::SUMMARY_ANNOTATION.to_owned(), layer.summary())]);
    let spec = layer.spec();
    let Some(known) = known else {
        return Some(ConfigurationWrite::Create { name, labels, annotations, spec });
    };
    // Labels and annotations of others stay.
    for (ours, there) in [(&mut labels, &known.meta.labels), (&mut annotations, &known.value.annotations)] {
        for (key, value) in there {
            ours.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    let mut defaulted = spec.clone();
    defaulted.set_defaults();
    let equal = defaulted == known.value.spec && labels == known.meta.labels && annotations == known.value.annotations;
    let (uid, resource_version) = of(&known.meta);
    (!equal).then_some(ConfigurationWrite::Update { name, uid, resource_version, labels, annotations, spec })
}
