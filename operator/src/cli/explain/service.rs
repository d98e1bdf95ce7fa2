//! Why a Service has its addresses, or none, and where they are announced, or why not.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use clap::Args;
use clarion_core::{
    World,
    address_set::count_text,
    allocate::Allocation,
    config::{Config, Misfit, selected},
    endpoints::{self, Endpoints, skew},
    world::{Condition, Family, Kind, Object, ObjectRef, Service},
};
use itertools::Itertools as _;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Error, object_name};
use crate::cli::{
    findings::{self, Row as FindingRow},
    frr,
    neighbor::Neighbor,
    output::{SHOWN_ROWS, count, few, more, paragraph, table},
    view::{Prospect, View, look},
};

#[derive(Debug, Args)]
pub struct ExplainService {
    /// NAMESPACE/NAME; without a namespace, `default`
    #[arg(value_name = "NAMESPACE/NAME")]
    service: String,
    #[command(flatten)]
    view: View,
}

/// What is known of a Service.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// `NAMESPACE/NAME`.
    service: String,
    /// Whether it is one that Clarion serves.
    served: bool,
    /// Whether it has what it asks for, `False` where it can do without part of it too.
    #[serde(skip_serializing_if = "Option::is_none")]
    complete: Option<bool>,
    /// The reason of that, of the catalogue that `clarion reasons` prints.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// In words.
    message: String,
    pools: Vec<PoolRow>,
    advertisements: Vec<AdvertisementRow>,
    /// The FRRConfigurations that announce it.
    routes: Vec<RouteRow>,
    /// The nodes that announce it.
    nodes: BTreeSet<String>,
    /// Of a Service with `externalTrafficPolicy: Local`: which endpoints its connections come to.
    spread: Vec<SpreadRow>,
    conditions: Vec<ConditionRow>,
    findings: Vec<FindingRow>,
}

/// What a pool has for the Service, by family.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct PoolRow {
    pool: String,
    /// `IPv4` or `IPv6`.
    family: &'static str,
    /// How many addresses are free; 9007199254740991 stands for that many or more.
    free: u64,
    /// The addresses that the Service has of it.
    addresses: Vec<String>,
    /// Whether it would give another one, in words.
    verdict: String,
}

/// Whether an advertisement is for the Service.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AdvertisementRow {
    advertisement: String,
    /// The addresses that it announces.
    addresses: Vec<IpAddr>,
    /// Why it announces none, or not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// The peers that it tells.
    peers: Vec<String>,
    /// How many nodes it selects.
    nodes: usize,
}

/// A route of an FRRConfiguration of Clarion's.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RouteRow {
    prefix: String,
    neighbor: String,
    /// The FRRConfiguration.
    configuration: String,
    /// How many nodes announce it.
    nodes: usize,
}

/// The endpoints of a family on a node, and which part of all connections comes to them if routers spread these evenly over the
/// nodes that announce.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SpreadRow {
    /// `IPv4` or `IPv6`.
    family: &'static str,
    node: String,
    /// Whether it announces an address of the family.
    announces: bool,
    /// How many endpoints that are ready are on it.
    endpoints: usize,
    /// Of all connections, what comes to the node.
    percent_of_node: f64,
    /// Of all connections, what comes to each of its endpoints.
    percent_of_each_endpoint: f64,
}

/// A condition as it is, or is to be.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ConditionRow {
    r#type: String,
    status: String,
    reason: String,
    message: String,
    /// It stands in the Service's status; of manifests, nobody writes one.
    written: bool,
}

impl ExplainService {
    pub fn execute(self) -> Result<(), Error> {
        let name = object_name(&self.service);
        let prospect = self.view.prospect()?;
        let service = prospect.world.services.get(&name).ok_or(Error::NoService(name))?;
        let explanation =
            look(&prospect.world, |config, allocation| Explanation::of(&prospect, service, config, allocation));
        Ok(self.view.print(&explanation, Explanation::text)?)
    }
}

impl Explanation {
    fn of(prospect: &Prospect, service: &Object<Service>, config: &Config, allocation: &Allocation) -> Self {
        let name = &service.meta.name;
        let mut explanation = Self {
            service: name.to_string(),
            served: false,
            complete: None,
            reason: None,
            message: String::new(),
            pools: Vec::new(),
            advertisements: Vec::new(),
            routes: Vec::new(),
            nodes: BTreeSet::new(),
            spread: Vec::new(),
            conditions: Vec::new(),
            findings: Vec::new(),
        };
        let Some(seated) = allocation.seat(name).filter(|seated| seated.served) else {
            match prospect.world.not_served(service) {
                Some((reason, why)) => (explanation.reason, explanation.message) = (Some(reason.name()), why),
                None => explanation.message = "it is being looked at".to_owned(),
            }
            return explanation;
        };
        let verdict = seated.verdict();
        explanation.served = true;
        explanation.complete = Some(verdict.complete);
        explanation.reason = Some(verdict.reason.name());
        explanation.message = verdict.message;
        explanation.pools = pools(&prospect.world, service, config, allocation);
        let addresses = prospect.next.services.get(name).map_or(&[][..], |service| &service.value.addresses);
        explanation.advertisements = advertisements(&prospect.next, service, addresses, config);
        (explanation.routes, explanation.nodes) = routes(prospect.in_effect(), addresses);
        if service.value.is_local {
            explanation.spread = spread(prospect, service, addresses);
        }
        explanation.conditions = conditions(prospect, service);
        let findings = findings::rows(&prospect.findings);
        let object = ObjectRef::new(Kind::Service, name.clone());
        explanation.findings = findings.into_iter().filter(|row| row.object == object).collect();
        explanation
    }

    fn text(&self) -> String {
        let Self { service, reason, message, pools, advertisements, routes, nodes, spread, conditions, .. } = self;
        let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let mut parts = vec![paragraph(&format!("Service {service}: {message}{reason}"), 0)];
        if !pools.is_empty() {
            let cells = pools.iter().map(|row| {
                let free = count_text(row.free);
                [row.pool.clone(), row.family.to_owned(), free, row.addresses.join(","), row.verdict.clone()]
            });
            parts.push(table(["POOL", "FAMILY", "FREE", "HAS", "FOR ANOTHER ADDRESS"], cells));
        }
        if !advertisements.is_empty() {
            let cells = advertisements.iter().map(|row| {
                let addresses = row.addresses.iter().join(",");
                let (nodes, why) = (row.nodes.to_string(), row.why.clone().unwrap_or_default());
                [row.advertisement.clone(), addresses, few(&row.peers), nodes, why]
            });
            parts.push(table(["ADVERTISEMENT", "ANNOUNCES", "TO PEERS", "NODES", "WHY NOT"], cells));
        }
        if !routes.is_empty() {
            let cells = routes.iter().take(SHOWN_ROWS).map(|row| {
                let RouteRow { prefix, neighbor, configuration, nodes } = row;
                [prefix.clone(), neighbor.clone(), configuration.clone(), nodes.to_string()]
            });
            let from = format!("announced from {}: {}\n", count(nodes.len(), "node", "nodes"), few(nodes));
            parts.push(table(["ROUTE", "NEIGHBOR", "FRRCONFIGURATION", "NODES"], cells) + &more(routes.len()) + &from);
        }
        if !spread.is_empty() {
            parts.push(spread_text(spread));
        }
        if !conditions.is_empty() {
            let texts = conditions.iter().map(|row| {
                let ConditionRow { r#type, status, reason, message, written } = row;
                let yet = if *written { "" } else { ", not written yet" };
                format!("{type}: {status} ({reason}{yet})\n{}", paragraph(message, 2))
            });
            parts.push(texts.collect());
        }
        parts.extend((!self.findings.is_empty()).then(|| findings::text(&self.findings)));
        parts.join("\n")
    }
}

fn pools(world: &World, service: &Object<Service>, config: &Config, allocation: &Allocation) -> Vec<PoolRow> {
    let rows = allocation.weigh(world, config, &service.meta.name).into_iter().filter_map(|weighed| {
        let pool = config.pools.get(weighed.pool)?;
        let [v4, v6] = allocation.taken(weighed.pool);
        let taken = if weighed.family == Family::V4 { v4 } else { v6 };
        Some(PoolRow {
            pool: pool.name.clone(),
            family: weighed.family.name(),
            free: pool.available(weighed.family, taken),
            addresses: weighed.has.iter().map(ToString::to_string).collect(),
            verdict: weighed.why.map_or_else(|| "would give one".to_owned(), |why| why.to_string()),
        })
    });
    rows.collect()
}

/// Every advertisement: the addresses that it announces, or why it announces none.
fn advertisements(
    world: &World,
    service: &Object<Service>,
    addresses: &[IpAddr],
    config: &Config,
) -> Vec<AdvertisementRow> {
    let in_effect: BTreeMap<&str, _> = config.advertisements.iter().map(|found| (found.name.as_str(), found)).collect();
    let row = |name: &str| {
        let mut row = AdvertisementRow {
            advertisement: name.to_owned(),
            addresses: Vec::new(),
            why: None,
            peers: Vec::new(),
            nodes: 0,
        };
        let Some(advertisement) = in_effect.get(name) else {
            row.why = Some("it is not in effect".to_owned());
            return row;
        };
        let told = config.peers.iter().filter(|peer| advertisement.tells(&peer.name));
        row.peers = told.map(|peer| peer.name.clone()).collect();
        row.nodes = world.nodes.iter().filter(|node| selected(&advertisement.nodes, &node.meta.labels)).count();
        for address in addresses {
            let pool = config.pools.of(*address);
            match advertisement.misfit(pool, &service.meta.labels) {
                None => row.addresses.push(*address),
                Some(Misfit::Labels) => row.why = Some("the Service's labels are not selected".to_owned()),
                Some(Misfit::Pool) => {
                    let pool = pool.map_or("no pool", |pool| pool.name.as_str());
                    row.why = Some(format!("not for pool {pool}"));
                }
            }
        }
        if addresses.is_empty() {
            row.why = Some("the Service has no address".to_owned());
        }
        row
    };
    world.advertisements.iter().map(|object| row(&object.meta.name.name)).collect()
}

/// The routes of Clarion's FRRConfigurations to some addresses, and the nodes that announce them.
fn routes(world: &World, addresses: &[IpAddr]) -> (Vec<RouteRow>, BTreeSet<String>) {
    let (mut rows, mut all) = (Vec::new(), BTreeSet::new());
    for object in frr::read_by_daemons(world).filter(|object| object.value.ours) {
        let routes = addresses.iter().flat_map(|address| frr::routes_to(object, *address));
        let routes: BTreeSet<(_, Neighbor)> = routes.map(|route| (route.prefix, route.neighbor)).collect();
        if routes.is_empty() {
            continue;
        }
        let nodes = frr::nodes(world, object);
        rows.extend(routes.into_iter().map(|(prefix, neighbor)| RouteRow {
            prefix: prefix.to_string(),
            neighbor: neighbor.to_string(),
            configuration: object.meta.name.to_string(),
            nodes: nodes.len(),
        }));
        all.extend(nodes.into_iter().map(str::to_owned));
    }
    (rows, all)
}

/// The endpoints that take traffic, by family and node.
fn spread(prospect: &Prospect, service: &Object<Service>, addresses: &[IpAddr]) -> Vec<SpreadRow> {
    let endpoints = Endpoints::new(&prospect.world);
    let slices = endpoints.of(&service.meta.name);
    let mut rows = Vec::new();
    for family in Family::ALL {
        let of_family: Vec<IpAddr> = addresses.iter().copied().filter(|ip| Family::of(*ip) == family).collect();
        if of_family.is_empty() {
            continue;
        }
        let (_, announcing) = routes(prospect.in_effect(), &of_family);
        let by_node = slices.by_node(family);
        let nodes = by_node.keys().filter(|node| announcing.contains(**node)).count();
        let percent = |parts: usize| (1000.0 / endpoints::number(parts)).round() / 10.0;
        rows.extend(by_node.into_iter().map(|(node, endpoints)| {
            let announces = announcing.contains(node);
            SpreadRow {
                family: family.name(),
                node: node.to_owned(),
                announces,
                endpoints,
                percent_of_node: if announces { percent(nodes) } else { 0.0 },
                percent_of_each_endpoint: if announces { percent(nodes * endpoints) } else { 0.0 },
            }
        }));
    }
    rows
}

fn spread_text(rows: &[SpreadRow]) -> String {
    let cells = rows.iter().take(SHOWN_ROWS).map(|row| {
        let SpreadRow { family, node, announces, endpoints, percent_of_node, percent_of_each_endpoint } = row;
        let announces = if *announces { "yes" } else { "no" };
        let percent = |share: &f64| format!("{share} %");
        let [of_node, of_each] = [percent_of_node, percent_of_each_endpoint].map(percent);
        [(*family).to_owned(), node.clone(), announces.to_owned(), endpoints.to_string(), of_node, of_each]
    });
    let headings = ["FAMILY", "NODE", "ANNOUNCES", "ENDPOINTS", "OF ALL CONNECTIONS", "EACH ENDPOINT"];
    let mut text = table(headings, cells) + &more(rows.len());
    for of_family in rows.chunk_by(|a, b| a.family == b.family) {
        let announcing = of_family.iter().filter(|row| row.announces).map(|row| row.endpoints);
        let (Some(first), Some(skew)) =
            (of_family.first(), skew(announcing, of_family.iter().map(|row| row.endpoints).sum()))
        else {
            continue;
        };
        let family = first.family;
        text.push_str(&if skew > 1.0 {
            format!("{family}: the busiest endpoint gets {skew:.1} times its even share\n")
        } else {
            format!("{family}: every endpoint gets its even share\n")
        });
    }
    text
}

/// Its conditions as they are to be.
fn conditions(prospect: &Prospect, service: &Object<Service>) -> Vec<ConditionRow> {
    let next = prospect.next.services.get(&service.meta.name).map_or(&[][..], |next| &next.value.conditions);
    let row = |condition: &Condition| ConditionRow {
        r#type: condition.type_.to_string(),
        status: condition.status.to_string(),
        reason: condition.reason.to_string(),
        message: condition.message.to_string(),
        written: prospect.offline || service.value.conditions.contains(condition),
    };
    next.iter().map(row).collect()
}
