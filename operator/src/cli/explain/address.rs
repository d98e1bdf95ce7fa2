//! Which pool has an address, who holds it, and which FRRConfigurations announce it.

use std::net::IpAddr;

use clap::Args;
use clarion_core::{
    World,
    admit::Attributes,
    allocate::Allocation,
    config::{Config, Pool},
};
use itertools::Itertools as _;
use schemars::JsonSchema;
use serde::Serialize;

use super::Error;
use crate::cli::{
    frr,
    neighbor::{self, Neighbor},
    output::{SHOWN_ROWS, count, more, table},
    view::{View, look},
};

#[derive(Debug, Args)]
pub struct ExplainAddress {
    /// The address
    #[arg(value_name = "ADDRESS")]
    address: IpAddr,
    #[command(flatten)]
    view: View,
}

/// What is known of an address.
#[derive(Serialize, JsonSchema)]
pub struct Explanation {
    address: IpAddr,
    /// What each pool has to do with it.
    pools: Vec<PoolRow>,
    holders: Vec<HolderRow>,
    routes: Vec<RouteRow>,
}

/// What a pool has to do with the address.
#[derive(Serialize, JsonSchema)]
struct PoolRow {
    pool: String,
    /// In words.
    verdict: String,
}

/// Who has the address, or for whom it is held.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct HolderRow {
    /// `NAMESPACE/NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// How it is held, in a word.
    state: &'static str,
    /// The AddressReservations that hold it.
    reservations: Vec<String>,
}

/// A route of an FRRConfiguration that announces the address.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RouteRow {
    prefix: String,
    /// The RouterPeers that have the neighbor.
    peers: Vec<String>,
    neighbor: String,
    /// Communities and the like, in words.
    attributes: String,
    /// The FRRConfiguration.
    configuration: String,
    /// Whose that is: `Clarion`, or others.
    whose: &'static str,
    /// How many nodes it selects.
    nodes: usize,
}

impl ExplainAddress {
    pub fn execute(self) -> Result<(), Error> {
        let prospect = self.view.prospect()?;
        let explanation = look(&prospect.world, |config, allocation| Explanation {
            address: self.address,
            pools: config.pools.iter().filter_map(|pool| pool_row(config, pool, self.address)).collect(),
            holders: holders(config, allocation, self.address),
            routes: routes(prospect.in_effect(), self.address),
        });
        if explanation.pools.is_empty() && explanation.holders.is_empty() && explanation.routes.is_empty() {
            return Err(Error::NoAddress(self.address));
        }
        Ok(self.view.print(&explanation, Explanation::text)?)
    }
}

impl Explanation {
    fn text(&self) -> String {
        let Self { address, pools, holders, routes } = self;
        let mut parts = vec![format!("Address {address}\n")];
        match pools.is_empty() {
            true => parts.push("No valid LoadBalancerPool has it.\n".to_owned()),
            false => {
                let cells = pools.iter().map(|row| [row.pool.clone(), row.verdict.clone()]);
                parts.push(table(["POOL", "THE ADDRESS"], cells));
            }
        }
        match holders.is_empty() {
            true => parts.push("Nobody has it, and it is reserved for nobody.\n".to_owned()),
            false => {
                let cells = holders.iter().map(|row| {
                    let service = row.service.clone().unwrap_or_default();
                    [service, row.state.to_owned(), row.reservations.join(",")]
                });
                parts.push(table(["SERVICE", "STATE", "RESERVATION"], cells));
            }
        }
        if routes.is_empty() {
            parts.push("No FRRConfiguration announces it.\n".to_owned());
        }
        for row in routes.iter().take(SHOWN_ROWS) {
            let RouteRow { prefix, peers, neighbor, attributes, configuration, whose, nodes } = row;
            let peers = if peers.is_empty() { String::new() } else { format!(" ({})", peers.join(", ")) };
            let nodes = count(*nodes, "node", "nodes");
            let attributes = if attributes.is_empty() { "no attributes" } else { attributes };
            parts.push(format!(
                "{prefix} to {neighbor}{peers} from {nodes}, {attributes}\n  FRRConfiguration {configuration}, of {whose}\n"
            ));
        }
        parts.extend(Some(more(routes.len())).filter(|text| !text.is_empty()));
        parts.join("\n")
    }
}

/// What a pool has to do with the address, if anything.
fn pool_row(config: &Config, pool: &Pool, address: IpAddr) -> Option<PoolRow> {
    if !pool.ranges.contains(address) {
        return None;
    }
    let verdict = match config.pools.of(address) {
        Some(serving) if serving.name == pool.name => "is one of its addresses".to_owned(),
        Some(serving) => format!("is listed, but the older pool {} has it", serving.name),
        None => "is listed, but excluded".to_owned(),
    };
    Some(PoolRow { pool: pool.name.clone(), verdict })
}

fn holders(config: &Config, allocation: &Allocation, address: IpAddr) -> Vec<HolderRow> {
    let held = allocation.held().into_iter().filter(|held| held.address == address);
    let rows = held.map(|held| {
        let reserved = config.reservations.iter().zip(&allocation.reservations);
        let reserved = reserved.filter(|(reservation, addresses)| {
            addresses.contains(&address) && Some(&reservation.service) == held.service
        });
        HolderRow {
            service: held.service.map(ToString::to_string),
            state: held.how.word(),
            reservations: reserved.map(|(reservation, _)| reservation.name.to_string()).collect(),
        }
    });
    rows.collect()
}

fn routes(world: &World, address: IpAddr) -> Vec<RouteRow> {
    let peers = peers(world);
    let mut rows = Vec::new();
    for object in frr::read_by_daemons(world) {
        let routes = frr::routes_to(object, address);
        if routes.is_empty() {
            continue;
        }
        let nodes = frr::nodes(world, object);
        rows.extend(routes.into_iter().map(|route| {
            let is_with =
                |(_, node, neighbor): &&(&str, &str, Neighbor)| nodes.contains(node) && *neighbor == route.neighbor;
            let mut peers: Vec<String> = peers.iter().filter(is_with).map(|(peer, ..)| (*peer).to_owned()).collect();
            peers.dedup();
            RouteRow {
                prefix: route.prefix.to_string(),
                peers,
                neighbor: route.neighbor.to_string(),
                attributes: attributes(&route.attributes),
                configuration: object.meta.name.to_string(),
                whose: frr::whose(object),
                nodes: nodes.len(),
            }
        }));
    }
    rows
}

/// The peers, and the neighbor that each is on each of its nodes.
fn peers(world: &World) -> Vec<(&str, &str, Neighbor)> {
    let mut peers = Vec::new();
    for object in world.peers.iter() {
        let Ok(spec) = &object.value.spec else { continue };
        let nodes = neighbor::of_peer(world, spec).into_iter();
        let name = object.meta.name.name.as_str();
        peers.extend(nodes.map(|(node, neighbor)| (name, node.meta.name.name.as_str(), neighbor)));
    }
    peers
}

/// Path attributes in words.
pub fn attributes(attributes: &Attributes) -> String {
    let Attributes { local_pref, as_path_prepend, communities } = attributes;
    let communities: Vec<&str> = communities.iter().map(String::as_str).collect();
    let parts = [
        local_pref.map(|value| format!("local preference {value}")),
        as_path_prepend.map(|times| format!("AS path prepended {times} times")),
        (!communities.is_empty()).then(|| format!("communities {}", communities.join(" "))),
    ];
    parts.into_iter().flatten().join(", ")
}
