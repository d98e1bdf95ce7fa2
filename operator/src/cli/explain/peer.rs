//! Which nodes have a session with a peer, on which terms, and what is offered to it.

use std::collections::{BTreeMap, HashMap, HashSet};

use clap::Args;
use clarion_api::RouterPeerSpec;
use clarion_core::{
    World,
    config::Selector,
    world::{AdjRibOut, Kind, ObjectName, ObjectRef},
};
use itertools::Itertools as _;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Error;
use crate::cli::{
    findings::{self, Row as FindingRow},
    frr,
    neighbor::{self, Neighbor, Sessions, State},
    output::{SHOWN_ROWS, count, few, more, paragraph, table},
    view::{Prospect, View},
};

#[derive(Debug, Args)]
pub struct ExplainPeer {
    /// The RouterPeer
    #[arg(value_name = "PEER")]
    peer: String,
    #[command(flatten)]
    view: View,
}

/// What is known of a RouterPeer.
#[derive(Serialize, JsonSchema)]
pub struct Explanation {
    peer: String,
    /// What its spec says, but for the nodes.
    terms: Map<String, Value>,
    overrides: Vec<OverrideRow>,
    sessions: Vec<SessionRow>,
    configurations: Vec<ConfigurationRow>,
    findings: Vec<FindingRow>,
}

/// Other terms for some nodes.
#[derive(Serialize, JsonSchema)]
struct OverrideRow {
    /// The selector of the nodes.
    nodes: String,
    terms: Map<String, Value>,
}

/// The session of one node.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
struct SessionRow {
    state: State,
    node: String,
    neighbor: String,
    /// How many prefixes Clarion offers to it.
    routes: usize,
}

/// An FRRConfiguration that has the neighbor on some of the nodes.
#[derive(Serialize, JsonSchema)]
struct ConfigurationRow {
    name: String,
    /// Whose it is: `Clarion`, or others.
    whose: &'static str,
    /// How many prefixes it offers.
    routes: usize,
    /// On how many of the nodes.
    nodes: usize,
}

impl ExplainPeer {
    pub fn execute(self) -> Result<(), Error> {
        let prospect = self.view.prospect()?;
        let explanation = explain(&prospect, &self.peer)?;
        Ok(self.view.print(&explanation, Explanation::text)?)
    }
}

fn explain(prospect: &Prospect, name: &str) -> Result<Explanation, Error> {
    let world = prospect.in_effect();
    let no_peer = || Error::NoPeer(name.to_owned());
    let object = world.peers.get(&ObjectName::cluster(name)).ok_or_else(no_peer)?;
    // What can't be read has a finding, and nothing else to tell of.
    let spec = object.value.spec.as_ref().ok();
    let nodes = spec.map_or_else(Vec::new, |spec| neighbor::of_peer(world, spec));
    let nodes: BTreeMap<&str, Neighbor> =
        nodes.into_iter().map(|(node, neighbor)| (node.meta.name.name.as_str(), neighbor)).collect();
    let (configurations, offered) = configurations(world, &nodes);
    let sessions = Sessions::of(world);
    // Most nodes are offered the same, which stands in one place for all of them.
    let mut counts = HashMap::new();
    let mut count_of = |offered: &Offered| {
        let places: Vec<_> = offered.iter().map(|routes| std::ptr::from_ref(*routes)).collect();
        *counts.entry(places).or_insert_with(|| distinct(offered))
    };
    let mut sessions: Vec<_> = nodes
        .iter()
        .map(|(node, neighbor)| SessionRow {
            state: neighbor.state(&sessions, node),
            node: (*node).to_owned(),
            neighbor: neighbor.to_string(),
            routes: offered.get(node).map_or(0, &mut count_of),
        })
        .collect();
    sessions.sort();
    let id = ObjectRef::new(Kind::RouterPeer, object.meta.name.clone());
    Ok(Explanation {
        peer: name.to_owned(),
        terms: spec.map(|spec| terms(spec, &["nodeSelectors", "nodeOverrides"])).unwrap_or_default(),
        overrides: spec.map(overrides).unwrap_or_default(),
        sessions,
        configurations,
        findings: findings::rows(&prospect.findings).into_iter().filter(|row| row.object == id).collect(),
    })
}

/// The fields of a specification that are set.
fn terms(spec: &impl Serialize, except: &[&str]) -> Map<String, Value> {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(spec) else { return Map::new() };
    fields.retain(|field, value| !except.contains(&field.as_str()) && *value != Value::Bool(false));
    fields
}

fn overrides(spec: &RouterPeerSpec) -> Vec<OverrideRow> {
    let rows = spec.node_overrides.iter().map(|overriding| OverrideRow {
        nodes: Selector::new(&overriding.node_selector).map_or_else(|error| error.to_string(), |s| s.to_string()),
        terms: terms(overriding, &["nodeSelector"]),
    });
    rows.collect()
}

/// What Clarion's FRRConfigurations offer on a node, each of them.
type Offered<'w> = Vec<&'w AdjRibOut>;

/// How many prefixes are offered, by however many objects.
fn distinct(offered: &[&AdjRibOut]) -> usize {
    offered.iter().flat_map(|routes| routes.keys()).collect::<HashSet<_>>().len()
}

/// The FRRConfigurations that have the neighbor of these nodes, and what Clarion's offer to it on each.
fn configurations<'w>(
    world: &'w World,
    neighbors: &BTreeMap<&'w str, Neighbor>,
) -> (Vec<ConfigurationRow>, BTreeMap<&'w str, Offered<'w>>) {
    let (mut rows, mut offered) = (Vec::new(), BTreeMap::<_, Offered>::new());
    for object in frr::read_by_daemons(world) {
        let there: BTreeMap<Neighbor, usize> = frr::neighbors(object).into_iter().collect();
        let nodes = frr::nodes(world, object);
        let concerned: Vec<(&str, &Neighbor)> = nodes
            .into_iter()
            .filter_map(|node| Some((node, neighbors.get(node)?)))
            .filter(|(_, neighbor)| there.contains_key(neighbor))
            .collect();
        let Some((_, first)) = concerned.first() else { continue };
        rows.push(ConfigurationRow {
            name: object.meta.name.to_string(),
            whose: frr::whose(object),
            routes: there.get(first).copied().unwrap_or(0),
            nodes: concerned.len(),
        });
        let routers = object.value.layer.content.routers.iter();
        for (vrf, key, session) in routers.flat_map(|(vrf, r)| r.sessions.iter().map(move |(key, s)| (vrf, key, s))) {
            let neighbor = Neighbor::named(vrf, key);
            for (node, _) in concerned.iter().filter(|(_, wanted)| **wanted == neighbor) {
                offered.entry(*node).or_default().push(&session.routes);
            }
        }
    }
    (rows, offered)
}

impl Explanation {
    fn text(&self) -> String {
        let Self { peer, terms, overrides, sessions, configurations, findings } = self;
        let up = sessions.iter().filter(|row| row.state == State::Established).count();
        let nodes = count(sessions.len(), "node is", "nodes are");
        let mut parts = vec![format!("RouterPeer {peer}: {nodes} selected, {up} of their sessions established\n")];
        if !terms.is_empty() {
            parts.push(table(["TERM", "VALUE"], terms.iter().map(|(term, value)| [term.clone(), text(value)])));
        }
        if !overrides.is_empty() {
            let texts = overrides.iter().map(|row| {
                let mut terms = row.terms.iter().map(|(term, value)| format!("{term} {}", text(value)));
                format!("on nodes with {}:\n{}", row.nodes, paragraph(&terms.join(", "), 2))
            });
            parts.push(texts.collect());
        }
        if !sessions.is_empty() {
            let cells = sessions.iter().take(SHOWN_ROWS).map(|row| {
                let SessionRow { state, node, neighbor, routes } = row;
                [node.clone(), neighbor.clone(), state.word().to_owned(), routes.to_string()]
            });
            let rest = sessions.get(SHOWN_ROWS..).unwrap_or_default();
            let more = match rest.len() {
                0 => String::new(),
                hidden => {
                    let names = few(rest.iter().map(|row| row.node.as_str()));
                    format!("and {} ({names}); -o json has all\n", count(hidden, "more node", "more nodes"))
                }
            };
            parts.push(table(["NODE", "NEIGHBOR", "SESSION", "ROUTES OFFERED"], cells) + &more);
        }
        match configurations.is_empty() {
            true => parts.push("No FRRConfiguration has its neighbor.\n".to_owned()),
            false => {
                let cells = configurations.iter().take(SHOWN_ROWS).map(|row| {
                    let [routes, nodes] = [row.routes, row.nodes].map(|number| number.to_string());
                    [row.name.clone(), row.whose.to_owned(), routes, nodes]
                });
                let table = table(["FRRCONFIGURATION", "OF", "ROUTES", "NODES"], cells);
                parts.push(table + &more(configurations.len()));
            }
        }
        parts.extend((!findings.is_empty()).then(|| findings::text(findings)));
        parts.join("\n")
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&[], 0)]
    #[case(&["1"], 1)]
    #[case(&["1", "1 2", "3 1"], 3)]
    #[case(&["", "1", "1"], 1)]
    fn a_prefix_that_several_offer_counts_once(#[case] offered: &[&str], #[case] expected: usize) {
        let prefix = |last: &str| format!("10.0.0.{last}/32").parse().unwrap();
        let routes = |lasts: &&str| lasts.split_whitespace().map(|last| (prefix(last), Arc::default())).collect();
        let offered: Vec<AdjRibOut> = offered.iter().map(routes).collect();
        assert_eq!(distinct(&offered.iter().collect::<Vec<_>>()), expected);
    }
}
