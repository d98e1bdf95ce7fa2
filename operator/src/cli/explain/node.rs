//! Whether a node announces, what its daemon makes of all FRRConfigurations, and which of them each line is from.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use clarion_api::{LabelSelector, frr::BfdProfile, names};
use clarion_core::{
    Findings, World,
    admit::{self, Attributes, Neighbor, NodeConfig, Refusal, Router},
    config,
    hosts::{self, Standing},
    world::{Configuration, Node, Object, ObjectName, Outcome},
};
use ipnet::IpNet;
use itertools::Itertools as _;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Error, address};
use crate::cli::{
    frr,
    node::{accepted, neighbor_fields, router_fields},
    output::{few, paragraph, table, within},
    view::View,
};

#[derive(Debug, Args)]
pub struct ExplainNode {
    /// The Node
    #[arg(value_name = "NODE")]
    node: String,
    #[command(flatten)]
    view: View,
}

/// What is known of a node.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    node: String,
    /// Whether it announces, in words.
    standing: String,
    /// The labels that something selects by.
    labels: BTreeMap<String, String>,
    daemon: Daemon,
    /// Those that select the node, in the order in which the lines refer to them.
    configurations: Vec<ConfigurationRow>,
    /// Why the daemon can't merge them, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    /// What comes of the merge.
    lines: Vec<Line>,
}

/// What the daemon said last.
#[derive(Serialize, JsonSchema)]
struct Daemon {
    conversion: String,
    reload: String,
}

/// An FRRConfiguration that selects the node.
#[derive(Serialize, JsonSchema)]
struct ConfigurationRow {
    name: String,
    /// Whose it is: `Clarion`, or others.
    whose: &'static str,
    /// What it has, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
}

/// A line of what comes of the merge.
#[derive(Serialize, JsonSchema)]
struct Line {
    #[serde(skip)]
    depth: usize,
    /// The VRF, unless it is the default one.
    #[serde(skip_serializing_if = "String::is_empty")]
    vrf: String,
    /// The neighbor, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    neighbor: Option<String>,
    field: String,
    values: Vec<String>,
    /// The FRRConfigurations that say so.
    from: Vec<String>,
    #[serde(skip)]
    numbers: Vec<usize>,
}

impl ExplainNode {
    pub fn execute(self) -> Result<(), Error> {
        let prospect = self.view.prospect()?;
        let explanation = explain(prospect.in_effect(), &self.node)?;
        Ok(self.view.print(&explanation, Explanation::text)?)
    }
}

fn explain(world: &World, name: &str) -> Result<Explanation, Error> {
    let node = world.nodes.get(&ObjectName::cluster(name)).ok_or_else(|| Error::NoNode(name.to_owned()))?;
    let selected = frr::selecting(world, node)?;
    let rows = selected.iter().map(|object| ConfigurationRow {
        name: object.meta.name.to_string(),
        whose: frr::whose(object),
        summary: object.value.annotations.get(names::SUMMARY_ANNOTATION).filter(|_| object.value.ours).cloned(),
    });
    let state = world.node_states.get(&ObjectName::cluster(name)).map(|object| object.value.clone());
    let state = state.unwrap_or_default();
    let (refusal, lines) = match admit::merge(selected.iter().copied().map(frr::named)) {
        Ok(merged) => (None, Sources::of(&selected).lines(&merged)),
        Err(refusal) => (Some(refused(world, &refusal)), Vec::new()),
    };
    Ok(Explanation {
        node: name.to_owned(),
        standing: standing(world, node),
        labels: labels(world, node),
        daemon: Daemon { conversion: words(&state.conversion), reload: words(&state.reload) },
        configurations: rows.collect(),
        refusal,
        lines,
    })
}

impl Explanation {
    fn text(&self) -> String {
        let Self { node, standing, labels, daemon, configurations, refusal, lines } = self;
        let mut parts = vec![format!("Node {node}: {standing}\n")];
        if !labels.is_empty() {
            parts.push(table(["LABEL", "VALUE"], labels.iter().map(|(key, value)| [key.clone(), value.clone()])));
        }
        let daemon = format!("The daemon's last conversion: {}; last reload: {}.", daemon.conversion, daemon.reload);
        parts.push(paragraph(&daemon, 0));
        match configurations.is_empty() {
            true => parts.push("No FRRConfiguration selects it.\n".to_owned()),
            false => {
                let cells = configurations
                    .iter()
                    .zip(1..)
                    .map(|(row, number): (_, usize)| [number.to_string(), row.name.clone(), row.whose.to_owned()]);
                parts.push(table(["#", "FRRCONFIGURATION", "OF"], cells));
            }
        }
        if let Some(refusal) = refusal {
            parts.push(format!("The daemon refuses all of them together:\n{}", paragraph(refusal, 2)));
        }
        if !lines.is_empty() {
            let cells = lines.iter().map(|line| {
                let numbers = line.numbers.iter().join(",");
                [format!("{}{}", "  ".repeat(line.depth), line.field), within(&line.values, VALUE_COLUMNS), numbers]
            });
            parts.push(table(["TOGETHER", "VALUE", "FROM"], cells));
        }
        parts.join("\n")
    }
}

fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Unknown => "not known".to_owned(),
        Outcome::Success => "success".to_owned(),
        Outcome::Failure(text) => text.clone(),
    }
}

/// What a value may take of a line.
const VALUE_COLUMNS: usize = 50;

/// Why the daemon refuses them, and whose they are.
fn refused(world: &World, refusal: &Refusal) -> String {
    let whose = |name| match world.configurations.get(name).is_some_and(|object| object.value.ours) {
        true => format!("{name} is Clarion's"),
        false => format!("{name} is not Clarion's"),
    };
    format!("{refusal}. {}.", refusal.objects().map(whose).join(", and "))
}

fn standing(world: &World, node: &Object<Node>) -> String {
    let config = config::check(world, &mut Findings::default());
    let hosts = hosts::hosts(world, &config, &mut Findings::default());
    let host = hosts.of_node(&node.meta.name.name).and_then(|index| hosts.get(index));
    let Some(host) = host else {
        return format!("it has no label {}, so it gets no session", names::HOSTNAME_LABEL);
    };
    let when = match host.standing {
        Standing::Drains(at) => format!(" until {at}"),
        Standing::Drained(at) => format!(" since {at}"),
        Standing::Announces | Standing::Excluded | Standing::NetworkUnavailable => String::new(),
    };
    let shared = host.nodes.iter().map(|other| other.meta.name.name.as_str());
    let shared: Vec<&str> = shared.filter(|other| *other != node.meta.name.name).collect();
    let shared = match shared.is_empty() {
        true => String::new(),
        false => format!("; {} has the same label {}", few(shared), names::HOSTNAME_LABEL),
    };
    format!("{}{when}{shared}", host.standing.about())
}

/// The labels by which FRRConfigurations or objects of Clarion select nodes.
fn labels(world: &World, node: &Object<Node>) -> BTreeMap<String, String> {
    let mut keys = BTreeSet::from([names::HOSTNAME_LABEL, names::EXCLUDE_LABEL]);
    for spec in world.peers.iter().filter_map(|object| object.value.spec.as_ref().ok()) {
        keys.extend(spec.node_selectors.iter().flat_map(selector_keys));
        keys.extend(spec.node_overrides.iter().flat_map(|overriding| selector_keys(&overriding.node_selector)));
    }
    for spec in world.advertisements.iter().filter_map(|object| object.value.spec.as_ref().ok()) {
        keys.extend(spec.node_selectors.iter().flat_map(selector_keys));
        keys.extend(spec.node_limit.iter().filter_map(|limit| limit.topology_key.as_deref()));
    }
    for object in frr::read_by_daemons(world) {
        keys.extend(object.value.spec().node_selector.iter().flat_map(selector_keys));
    }
    let found = node.meta.labels.iter().filter(|(key, _)| keys.contains(key.as_str()));
    found.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn selector_keys(selector: &LabelSelector) -> impl Iterator<Item = &str> {
    let labels = selector.match_labels.iter().flatten().map(|(key, _)| key.as_str());
    labels.chain(selector.match_expressions.iter().flatten().map(|expression| expression.key.as_str()))
}

/// What each FRRConfiguration says by itself.
struct Sources {
    names: Vec<String>,
    /// None of what only makes sense together with others.
    alone: Vec<NodeConfig>,
}

/// Where a line stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    vrf: &'a str,
    neighbor: Option<&'a str>,
    depth: usize,
}

/// Routes that the same FRRConfigurations announce with the same attributes, each of which the same ones give.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Bundle {
    from: Vec<usize>,
    attributes: Vec<(String, Vec<usize>)>,
}

impl Sources {
    fn of(selected: &[&Object<Configuration>]) -> Self {
        Self {
            names: selected.iter().map(|object| object.meta.name.to_string()).collect(),
            alone: selected.iter().map(|object| frr::alone(object).unwrap_or_default()).collect(),
        }
    }

    /// The FRRConfigurations for which something holds, by number.
    fn whose(&self, holds: impl Fn(&NodeConfig) -> bool) -> Vec<usize> {
        self.alone.iter().zip(1..).filter(|(config, _)| holds(config)).map(|(_, number)| number).collect()
    }

    fn line(&self, place: Place, field: &str, values: Vec<String>, numbers: Vec<usize>) -> Line {
        let from = numbers.iter().filter_map(|number| self.names.get(number.checked_sub(1)?)).cloned().collect();
        let neighbor = place.neighbor.map(str::to_owned);
        Line { depth: place.depth, vrf: place.vrf.to_owned(), neighbor, field: field.to_owned(), values, from, numbers }
    }

    fn lines(&self, merged: &NodeConfig) -> Vec<Line> {
        let mut lines = Vec::new();
        for (vrf, router) in &merged.routers {
            self.router(vrf, router, &mut lines);
        }
        let place = Place { vrf: "", neighbor: None, depth: 0 };
        for (name, profile) in &merged.bfd_profiles {
            let from = self.whose(|config| config.bfd_profiles.contains_key(name));
            lines.push(self.line(place, "bfdProfile", vec![name.clone()], from));
            let fields = |config: &NodeConfig| config.bfd_profiles.get(name).map(profile_fields);
            self.fields(Place { depth: 1, ..place }, &profile_fields(profile), fields, &mut lines);
        }
        for raw in &merged.raw {
            let from = self.whose(|config| config.raw.contains(raw));
            let first = raw.lines().next().unwrap_or_default().to_owned();
            lines.push(self.line(place, "raw", vec![first], from));
        }
        lines
    }

    fn router(&self, vrf: &str, router: &Router, lines: &mut Vec<Line>) {
        let place = Place { vrf, neighbor: None, depth: 0 };
        let has = self.whose(|config| config.routers.contains_key(vrf));
        let name = if vrf.is_empty() { "router".to_owned() } else { format!("router of VRF {vrf}") };
        lines.push(self.line(place, &name, Vec::new(), has));
        let place = Place { depth: 1, ..place };
        let fields = |config: &NodeConfig| config.routers.get(vrf).map(|router| router_fields(vrf, router));
        self.fields(place, &router_fields(vrf, router), fields, lines);
        for (key, neighbor) in &router.neighbors {
            self.neighbor(vrf, key, neighbor, lines);
        }
        let announced: BTreeSet<&IpNet> =
            router.neighbors.values().flat_map(|neighbor| neighbor.announced().map(|(prefix, _)| prefix)).collect();
        let mut unannounced: BTreeMap<Vec<usize>, Vec<String>> = BTreeMap::new();
        for prefix in router.prefixes.iter().filter(|prefix| !announced.contains(prefix)) {
            let has = |config: &NodeConfig| config.routers.get(vrf).is_some_and(|r| r.prefixes.contains(prefix));
            unannounced.entry(self.whose(has)).or_default().push(prefix.to_string());
        }
        for (from, prefixes) in unannounced {
            lines.push(self.line(place, "prefixes that go to no neighbor", prefixes, from));
        }
    }

    fn neighbor(&self, vrf: &str, key: &str, neighbor: &Neighbor, lines: &mut Vec<Line>) {
        fn of<'c>(config: &'c NodeConfig, vrf: &str, key: &str) -> Option<&'c Neighbor> {
            config.routers.get(vrf)?.neighbors.get(key)
        }
        let place = Place { vrf, neighbor: Some(key), depth: 1 };
        let has = self.whose(|config| of(config, vrf, key).is_some());
        lines.push(self.line(place, &format!("neighbor {key}"), Vec::new(), has));
        let place = Place { depth: 2, ..place };
        let fields = |config: &NodeConfig| of(config, vrf, key).map(|neighbor| neighbor_fields(key, neighbor));
        self.fields(place, &neighbor_fields(key, neighbor), fields, lines);

        let mut bundles: BTreeMap<Bundle, Vec<String>> = BTreeMap::new();
        for (prefix, attributes) in neighbor.announced() {
            let route = |config: &NodeConfig| of(config, vrf, key).and_then(|n| n.routes.get(prefix)).cloned();
            let given = parts(attributes).into_iter().map(|part| {
                let from = self.whose(|config| route(config).is_some_and(|route| parts(&route).contains(&part)));
                (address::attributes(&part), from)
            });
            let bundle = Bundle { from: self.whose(|config| route(config).is_some()), attributes: given.collect() };
            bundles.entry(bundle).or_default().push(prefix.to_string());
        }
        for (Bundle { from, attributes }, prefixes) in bundles {
            lines.push(self.line(place, "announces", prefixes, from));
            for (attribute, from) in attributes {
                lines.push(self.line(Place { depth: 3, ..place }, "with", vec![attribute], from));
            }
        }
        for filter in accepted(neighbor) {
            let from = self.whose(|config| of(config, vrf, key).is_some_and(|n| accepted(n).contains(&filter)));
            lines.push(self.line(place, "accepts", vec![filter], from));
        }
    }

    /// Each field, and which FRRConfigurations say the same of it. What only comes of all together is from those that say
    /// anything.
    fn fields(
        &self,
        place: Place,
        merged: &Map<String, Value>,
        alone: impl Fn(&NodeConfig) -> Option<Map<String, Value>>,
        lines: &mut Vec<Line>,
    ) {
        for (field, value) in merged {
            let said = |config: &NodeConfig| alone(config).and_then(|mut fields| fields.remove(field));
            let mut from = self.whose(|config| said(config).as_ref() == Some(value));
            if from.is_empty() {
                from = self.whose(|config| said(config).is_some());
            }
            lines.push(self.line(place, field, vec![text(value)], from));
        }
    }
}

/// The fields of a BFD profile that are set, without its name.
fn profile_fields(profile: &BfdProfile) -> Map<String, Value> {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(profile) else { return Map::new() };
    fields.remove("name");
    fields
}

/// Path attributes one by one.
fn parts(attributes: &Attributes) -> Vec<Attributes> {
    let Attributes { local_pref, as_path_prepend, communities } = attributes;
    let local_pref = local_pref.map(|value| Attributes { local_pref: Some(value), ..Attributes::default() });
    let prepend = as_path_prepend.map(|times| Attributes { as_path_prepend: Some(times), ..Attributes::default() });
    let communities = communities
        .iter()
        .map(|community| Attributes { communities: BTreeSet::from([community.clone()]), ..Attributes::default() });
    local_pref.into_iter().chain(prepend).chain(communities).collect()
}

/// A value on one line.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).join(", "),
        Value::Object(fields) => fields.iter().map(|(field, value)| format!("{field} {}", text(value))).join(", "),
        other => other.to_string(),
    }
}
