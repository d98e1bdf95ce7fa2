//! What the daemon of one node ends up with, as text.

use std::collections::{BTreeMap, BTreeSet};

use clarion_api::frr::{BfdProfile, Evpn};
use clarion_core::{
    World,
    admit::{Attributes, Filter, Neighbor, NodeConfig, Parameters, Password, Received, Refusal, Router, merge},
    world::ObjectName,
};
use ipnet::IpNet;
use serde::Serialize;
use serde_json::{Map, Value};

use super::frr::{self, BadSelector};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no Node {0:?}; there are {1}")]
    NoNode(String, String),
    #[error(transparent)]
    Selector(#[from] BadSelector),
    #[error("the daemon of node {0:?} refuses what it is given: {1}")]
    Refused(String, Box<Refusal>),
    #[error("an object can't be written as YAML: {0}; this is a fault of Clarion, please report it")]
    Serialize(#[from] serde_saphyr::SerializeError),
}

/// Merges what selects a node, as its daemon does, and shows what comes of it.
pub fn show(world: &World, name: &str) -> Result<String, Error> {
    let node = world.nodes.get(&ObjectName::cluster(name)).ok_or_else(|| {
        let names: Vec<_> = world.nodes.iter().map(|node| node.meta.name.name.as_str()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Error::NoNode(name.to_owned(), names)
    })?;
    let selected = frr::selecting(world, node)?;
    let merged =
        merge(selected.iter().copied().map(frr::named)).map_err(|refusal| Error::Refused(name.to_owned(), refusal))?;
    let objects = selected.iter().map(|object| object.meta.name.name.to_string()).collect();
    Ok(serde_saphyr::to_string(&Shown::new(name, objects, merged))?)
}

/// What a router has that is not at its default, without neighbors and prefixes.
pub fn router_fields(vrf: &str, router: &Router) -> Map<String, Value> {
    let bare = Router { neighbors: BTreeMap::new(), prefixes: BTreeSet::new(), ..router.clone() };
    fields(&ShownRouter::new(vrf.to_owned(), bare), &["vrf", "neighbors"])
}

/// What a neighbor has that is not at its default, without what is announced and accepted.
pub fn neighbor_fields(key: &str, neighbor: &Neighbor) -> Map<String, Value> {
    let received = Received::Filtered(BTreeSet::new());
    let bare = Neighbor { routes: BTreeMap::new(), received, ..neighbor.clone() };
    fields(&ShownNeighbor::new(key.to_owned(), bare), &["address", "interface"])
}

/// What is accepted from a neighbor, each in words.
pub fn accepted(neighbor: &Neighbor) -> Vec<String> {
    match &neighbor.received {
        Received::All => vec!["all".to_owned()],
        Received::Filtered(filters) => filters.iter().map(filter_text).collect(),
    }
}

fn fields(shown: &impl Serialize, except: &[&str]) -> Map<String, Value> {
    // Plain structures, whose keys are texts.
    let Ok(Value::Object(mut fields)) = serde_json::to_value(shown) else { return Map::new() };
    fields.retain(|field, _| !except.contains(&field.as_str()));
    fields
}

/// Everything that is not at its default.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    node: String,
    frr_configurations: BTreeSet<String>,
    routers: Vec<ShownRouter>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bfd_profiles: Vec<BfdProfile>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    raw: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownRouter {
    #[serde(skip_serializing_if = "String::is_empty")]
    vrf: String,
    asn: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    imports: BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evpn: Option<Evpn>,
    neighbors: Vec<ShownNeighbor>,
    /// Those that go to no neighbor.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unannounced: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownNeighbor {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    asn: Value,
    #[serde(rename = "localASN", skip_serializing_if = "Option::is_none")]
    local_asn: Option<u32>,
    families: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address_families: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ebgp_multi_hop: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timers: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bfd_profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    graceful_restart: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allow_as_in: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    next_hop: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    announces: Vec<ShownRoutes>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    accepts: Vec<String>,
}

/// Routes with the same attributes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownRoutes {
    #[serde(skip_serializing_if = "Option::is_none")]
    local_pref: Option<i64>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    communities: BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_path_prepend: Option<i32>,
    prefixes: Vec<String>,
}

impl Shown {
    fn new(node: &str, frr_configurations: BTreeSet<String>, merged: NodeConfig) -> Self {
        Self {
            node: node.to_owned(),
            frr_configurations,
            routers: merged.routers.into_iter().map(|(vrf, router)| ShownRouter::new(vrf, router)).collect(),
            bfd_profiles: merged.bfd_profiles.into_values().collect(),
            raw: merged.raw,
        }
    }
}

impl ShownRouter {
    fn new(vrf: String, router: Router) -> Self {
        let announced: BTreeSet<IpNet> =
            router.neighbors.values().flat_map(|neighbor| neighbor.announced().map(|(prefix, _)| *prefix)).collect();
        Self {
            vrf,
            asn: router.asn,
            id: router.id,
            imports: router.imports,
            evpn: router.evpn,
            unannounced: router.prefixes.difference(&announced).map(ToString::to_string).collect(),
            neighbors: router.neighbors.into_iter().map(|(key, neighbor)| ShownNeighbor::new(key, neighbor)).collect(),
        }
    }
}

impl ShownNeighbor {
    fn new(key: String, neighbor: Neighbor) -> Self {
        let (announces, accepts) = (announces(&neighbor), accepted(&neighbor));
        let Parameters {
            asn,
            unnumbered,
            families,
            port,
            source_address,
            password,
            ebgp_multi_hop,
            hold_time,
            keepalive_time,
            connect_time,
            local_asn,
        } = neighbor.parameters;
        let (address, interface) = if unnumbered { (None, Some(key)) } else { (Some(key), None) };
        let next_hop = [("ipv4", neighbor.next_hop.ipv4), ("ipv6", neighbor.next_hop.ipv6)];
        let is_default_family = |families: &BTreeSet<String>| families.len() == 1 && families.contains("unicast");
        Self {
            address,
            interface,
            asn: asn.parse().map_or(Value::String(asn), |number: u32| number.into()),
            local_asn,
            families: families.to_string(),
            address_families: Some(neighbor.address_families).filter(|families| !is_default_family(families)),
            port: Some(port).filter(|port| *port != 179),
            source_address,
            password: Some(password)
                .filter(|password| *password != Password::None)
                .map(|password| password.to_string()),
            ebgp_multi_hop: Some(ebgp_multi_hop).filter(|on| *on),
            timers: Some((keepalive_time, hold_time))
                .filter(|timers| *timers != (60, 180))
                .map(|(keepalive, hold)| format!("keepalive {keepalive}s, hold {hold}s")),
            connect_time: Some(connect_time).filter(|time| *time != 60).map(|time| format!("{time}s")),
            bfd_profile: neighbor.bfd_profile,
            graceful_restart: match neighbor.graceful_restart {
                Some(true) => Some("enabled"),
                Some(false) => None,
                None => Some("undefined: FRRConfigurations differ, and whichever FRR-K8s reads first holds"),
            },
            allow_as_in: neighbor.allow_as_in,
            next_hop: next_hop.into_iter().filter_map(|(family, hop)| Some((family, hop?))).collect(),
            announces,
            accepts,
        }
    }
}

fn announces(neighbor: &Neighbor) -> Vec<ShownRoutes> {
    let mut by_attributes: BTreeMap<&Attributes, Vec<String>> = BTreeMap::new();
    for (prefix, attributes) in neighbor.announced() {
        by_attributes.entry(attributes).or_default().push(prefix.to_string());
    }
    let routes = by_attributes.into_iter().map(|(attributes, prefixes)| {
        let Attributes { local_pref, communities, as_path_prepend } = attributes.clone();
        ShownRoutes { local_pref, communities, as_path_prepend, prefixes }
    });
    routes.collect()
}

fn filter_text(filter: &Filter) -> String {
    let length = |name: &str, length: Option<u32>| length.map(|length| format!(" {name} {length}")).unwrap_or_default();
    format!("{}{}{}", filter.prefix, length("ge", filter.ge), length("le", filter.le))
}
