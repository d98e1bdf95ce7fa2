//! FRRConfigurations as the daemons of FRR-K8s see them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use clarion_core::{
    World,
    admit::{self, Attributes, Named, NodeConfig, SelectorError},
    config::Selector,
    world::{Configuration, Node, Object, ObjectName},
};
use ipnet::IpNet;

use super::neighbor::Neighbor;

/// A selector that the daemons can't parse.
#[derive(Debug, thiserror::Error)]
#[error("FRRConfiguration {0}: nodeSelector: {1}; the daemons of all nodes refuse everything for it")]
pub struct BadSelector(pub ObjectName, pub SelectorError);

/// Whose the FRRConfigurations are that Clarion writes.
pub const CLARION: &str = "Clarion";

/// Whose an FRRConfiguration is.
pub fn whose(object: &Object<Configuration>) -> &'static str {
    if object.value.ours { CLARION } else { "others" }
}

/// The FRRConfigurations that the daemons read: those of their own namespace.
pub fn read_by_daemons(world: &World) -> impl Iterator<Item = &Object<Configuration>> + Clone {
    let namespace = world.frr_k8s_namespace();
    world.configurations.iter().filter(move |object| object.meta.name.namespace == namespace)
}

/// An FRRConfiguration with its selector, which is parsed once for all nodes.
pub struct Selecting<'w> {
    pub object: &'w Object<Configuration>,
    /// All nodes, if there is none.
    selector: Option<Selector>,
}

impl<'w> Selecting<'w> {
    /// # Errors
    /// If the selector can't be parsed.
    pub fn of(object: &'w Object<Configuration>) -> Result<Self, SelectorError> {
        let selector = object.value.spec().node_selector.as_ref();
        Ok(Self { object, selector: selector.map(admit::parse).transpose()? })
    }

    pub fn selects(&self, node: &Object<Node>) -> bool {
        self.selector.as_ref().is_none_or(|selector| selector.matches(&node.meta.labels))
    }
}

/// The FRRConfigurations that the daemons read. Users' come first: where one of ours is at odds with them, ours is at fault.
///
/// # Errors
/// If the selector of any of them, whichever nodes it is for, can't be parsed.
fn all_selecting(world: &World) -> Result<Vec<Selecting<'_>>, BadSelector> {
    let of = |object| Selecting::of(object).map_err(|error| BadSelector(object.meta.name.clone(), error));
    let mut all: Vec<_> = read_by_daemons(world).map(of).collect::<Result<_, _>>()?;
    all.sort_by_key(|selecting| selecting.object.value.ours);
    Ok(all)
}

/// The FRRConfigurations that select a node, users' first.
///
/// # Errors
/// If the selector of any of them, whichever nodes it is for, can't be parsed.
pub fn selecting<'w>(world: &'w World, node: &Object<Node>) -> Result<Vec<&'w Object<Configuration>>, BadSelector> {
    let all = all_selecting(world)?.into_iter();
    Ok(all.filter(|selecting| selecting.selects(node)).map(|selecting| selecting.object).collect())
}

/// What [`admit::merge`] takes.
pub fn named(object: &Object<Configuration>) -> Named<'_> {
    Named { name: &object.meta.name, spec: object.value.spec() }
}

/// What a daemon would make of this object alone, if it can make anything of it.
pub fn alone(object: &Object<Configuration>) -> Option<NodeConfig> {
    admit::merge([named(object)]).ok()
}

/// Why daemons can't merge what selects their nodes, and which nodes.
pub fn refusals(world: &World) -> BTreeMap<String, BTreeSet<&str>> {
    let all = all_selecting(world);
    // Nodes that the same objects select have the same outcome.
    let mut alike: BTreeMap<Vec<&ObjectName>, BTreeSet<&str>> = BTreeMap::new();
    let mut refusals = BTreeMap::new();
    for node in world.nodes.iter() {
        let name = node.meta.name.name.as_str();
        match &all {
            Ok(all) => {
                let selected = all.iter().filter(|selecting| selecting.selects(node));
                let names = selected.map(|selecting| &selecting.object.meta.name).collect();
                alike.entry(names).or_default().insert(name);
            }
            Err(error) => drop(refusals.entry(error.to_string()).or_insert_with(BTreeSet::new).insert(name)),
        }
    }
    for (names, nodes) in alike {
        let objects = names.into_iter().filter_map(|name| world.configurations.get(name));
        if let Err(refusal) = admit::merge(objects.map(named)) {
            refusals.entry(refusal.to_string()).or_insert_with(BTreeSet::new).extend(nodes);
        }
    }
    refusals
}

/// The names of the nodes that an FRRConfiguration selects.
pub fn nodes<'w>(world: &'w World, object: &Object<Configuration>) -> BTreeSet<&'w str> {
    let selecting = Selecting::of(object).ok();
    let selected = world.nodes.iter().filter(|node| selecting.as_ref().is_some_and(|s| s.selects(node)));
    selected.map(|node| node.meta.name.name.as_str()).collect()
}

/// A route of an FRRConfiguration to a neighbor.
pub struct Route {
    pub neighbor: Neighbor,
    pub prefix: IpNet,
    pub attributes: Attributes,
}

/// The routes by which an FRRConfiguration announces an address.
pub fn routes_to(object: &Object<Configuration>, address: IpAddr) -> Vec<Route> {
    let mut routes = Vec::new();
    let mut add = |vrf: &str, key: &str, prefix: &IpNet, attributes: &Attributes| {
        if prefix.contains(&address) {
            let (neighbor, attributes) = (Neighbor::named(vrf, key), attributes.clone());
            routes.push(Route { neighbor, prefix: *prefix, attributes });
        }
    };
    // What ours say was read when they came.
    for (vrf, router) in object.value.ours.then_some(&object.value.layer.content.routers).into_iter().flatten() {
        for (key, session) in &router.sessions {
            session.routes.iter().for_each(|(prefix, attributes)| add(vrf, key, prefix, attributes));
        }
    }
    let others = if object.value.ours { None } else { alone(object) };
    for (vrf, router) in others.iter().flat_map(|config| &config.routers) {
        for (key, neighbor) in &router.neighbors {
            neighbor.announced().for_each(|(prefix, attributes)| add(vrf, key, prefix, attributes));
        }
    }
    routes
}

/// The prefixes that an FRRConfiguration announces to anybody.
pub fn prefixes(object: &Object<Configuration>) -> BTreeSet<IpNet> {
    if object.value.ours {
        return object.value.layer.content.prefixes().collect();
    }
    let config = alone(object).unwrap_or_default();
    let neighbors = config.routers.values().flat_map(|router| router.neighbors.values());
    neighbors.flat_map(|neighbor| neighbor.announced().map(|(prefix, _)| *prefix)).collect()
}

/// The neighbors of an FRRConfiguration, each with the number of routes that are offered to it.
pub fn neighbors(object: &Object<Configuration>) -> Vec<(Neighbor, usize)> {
    if object.value.ours {
        let routers = object.value.layer.content.routers.iter();
        let sessions = routers.flat_map(|(vrf, router)| router.sessions.iter().map(move |session| (vrf, session)));
        return sessions.map(|(vrf, (key, session))| (Neighbor::named(vrf, key), session.routes.len())).collect();
    }
    let config = alone(object);
    let offered = |neighbor: &Neighbor, vrf: &str, key: &str| {
        let router = config.as_ref().and_then(|config| config.routers.get(vrf));
        let known = router.and_then(|router| router.neighbors.get(key)).map(|known| known.announced().count());
        (neighbor.clone(), known.unwrap_or(0))
    };
    let mut found = Vec::new();
    for router in object.value.spec().bgp.iter().flat_map(|bgp| &bgp.routers) {
        let vrf = router.vrf.as_deref().unwrap_or_default();
        for neighbor in &router.neighbors {
            if let Some(key) = neighbor.address.as_deref().or(neighbor.interface.as_deref()) {
                found.push(offered(&Neighbor::named(vrf, key), vrf, key));
            }
        }
    }
    found
}
