//! FRRConfigurations that FRR-K8s can't merge with others on the nodes that both select.

use std::collections::{BTreeMap, BTreeSet};

use clarion_core::{
    World,
    admit::{self, Fault, Refusal},
    world::{Configuration, Object, ObjectName},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    frr::{self, Selecting},
    output::{few, paragraph},
    program,
};

/// Why FRR-K8s refuses an FRRConfiguration, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Conflict {
    /// The FRRConfiguration that is refused.
    pub refused: String,
    /// The one that it is at odds with, if it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// Whose that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whose: Option<&'static str>,
    /// The VRF, unless it is the default one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub vrf: String,
    /// The neighbor, if the field is one of a neighbor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neighbor: Option<String>,
    /// The field that can't be merged.
    pub field: String,
    /// What the refused one says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What the other one says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_value: Option<String>,
    /// All of that, in words.
    pub message: String,
    /// The nodes; all if none is named.
    pub nodes: BTreeSet<String>,
}

impl Conflict {
    fn of(world: &World, refusal: &Refusal) -> Self {
        let other = refusal.other.as_ref().filter(|other| **other != refusal.object);
        let values = match &refusal.fault {
            Fault::Conflict { values, .. } => Some(values.clone()),
            _ => None,
        };
        let (other_value, value) = values.unzip();
        Self {
            refused: refusal.object.to_string(),
            with: other.map(ToString::to_string),
            whose: other.and_then(|other| world.configurations.get(other)).map(frr::whose),
            vrf: refusal.vrf.clone().unwrap_or_default(),
            neighbor: refusal.neighbor.clone(),
            field: refusal.field.to_owned(),
            value,
            other_value,
            message: refusal.to_string(),
            nodes: BTreeSet::new(),
        }
    }

    fn of_selector(object: &ObjectName, error: &admit::SelectorError) -> Self {
        Self {
            refused: object.to_string(),
            with: None,
            whose: None,
            vrf: String::new(),
            neighbor: None,
            field: "nodeSelector".to_owned(),
            value: None,
            other_value: None,
            message: format!("nodeSelector: {error}; the daemons of all nodes would refuse everything for it"),
            nodes: BTreeSet::new(),
        }
    }

    pub fn text(&self) -> String {
        let nodes = match self.nodes.len() {
            0 => String::new(),
            1 => format!(" on node {}", few(&self.nodes)),
            number => format!(" on {number} nodes ({})", few(&self.nodes)),
        };
        let mut message = self.message.clone();
        if self.whose == Some(frr::CLARION) {
            message.push_str(&format!(". The other one is Clarion's: {} yield lets go of a session", program::name()));
        }
        format!("error: FRRConfiguration {}: refused{nodes}\n{}", self.refused, paragraph(&message, 2))
    }
}

/// What FRR-K8s's webhook, or else the daemons, would refuse of these FRRConfigurations beside the others.
pub fn find(world: &World, given: &BTreeSet<ObjectName>) -> Vec<Conflict> {
    let is_given = |object: &&Object<Configuration>| given.contains(&object.meta.name);
    let (mut conflicts, mut sound) = (Vec::new(), BTreeSet::new());
    for object in frr::read_by_daemons(world).filter(is_given) {
        let selector = Selecting::of(object);
        let merged = admit::merge([frr::named(object)]);
        match (selector, merged) {
            (Err(error), _) => conflicts.push(Conflict::of_selector(&object.meta.name, &error)),
            (_, Err(refusal)) => conflicts.push(Conflict::of(world, &refusal)),
            (Ok(_), Ok(_)) => drop(sound.insert(object.meta.name.clone())),
        }
    }
    if sound.is_empty() {
        return conflicts;
    }
    let candidates = candidates(world, given, &sound);
    // Nodes that the same objects select have the same outcome.
    let mut alike: BTreeMap<Vec<&ObjectName>, BTreeSet<String>> = BTreeMap::new();
    for node in world.nodes.iter() {
        let selected = candidates.iter().filter(|selecting| selecting.selects(node));
        let names: Vec<_> = selected.map(|selecting| &selecting.object.meta.name).collect();
        if names.iter().any(|name| sound.contains(*name)) {
            alike.entry(names).or_default().insert(node.meta.name.name.to_string());
        }
    }
    for (names, nodes) in alike {
        let objects: Vec<_> = names.iter().filter_map(|name| world.configurations.get(name)).collect();
        for refusal in refusals(&objects, &sound) {
            let conflict = Conflict::of(world, &refusal);
            let same = |known: &&mut Conflict| {
                let nodes = BTreeSet::new();
                Conflict { nodes, ..(*known).clone() } == conflict
            };
            match conflicts.iter_mut().find(same) {
                Some(known) => known.nodes.extend(nodes.iter().cloned()),
                None => conflicts.push(Conflict { nodes: nodes.clone(), ..conflict }),
            }
        }
    }
    conflicts
}

/// The FRRConfigurations that may select a node: users', then ours, then those that are given.
fn candidates<'w>(world: &'w World, given: &BTreeSet<ObjectName>, sound: &BTreeSet<ObjectName>) -> Vec<Selecting<'w>> {
    let is_sound = |name: &ObjectName| !given.contains(name) || sound.contains(name);
    let objects = frr::read_by_daemons(world).filter(|object| is_sound(&object.meta.name));
    let mut candidates: Vec<_> = objects.filter_map(|object| Selecting::of(object).ok()).collect();
    candidates.sort_by_key(|Selecting { object, .. }| (given.contains(&object.meta.name), object.value.ours));
    candidates
}

/// What is refused of the given ones, one after the other, beside what can be merged of the others.
fn refusals(objects: &[&Object<Configuration>], given: &BTreeSet<ObjectName>) -> Vec<Refusal> {
    let mut accepted: Vec<&Object<Configuration>> = Vec::new();
    let mut refusals = Vec::new();
    for object in objects {
        match admit::merge(accepted.iter().chain([object]).map(|object| frr::named(object))) {
            Ok(_) => accepted.push(object),
            Err(refusal) if given.contains(&object.meta.name) => refusals.push(*refusal),
            // That was so before.
            Err(_) => {}
        }
    }
    refusals
}
