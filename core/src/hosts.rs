//! Nodes to hosts: what FRR-K8s can tell apart, and which of them may announce.
//!
//! FRRConfigurations select nodes by the label `kubernetes.io/hostname`: nodes of one value are one host, which has what
//! all of them are to have.

use std::collections::{BTreeMap, HashMap};

use clarion_api::{Timestamp, names};
use itertools::Itertools as _;

use crate::{
    config::{Config, selected},
    finding::{Findings, Reason},
    world::{Kind, Meta, Node, Object, ObjectName, ObjectRef, World},
};

/// All hosts, and what comes of the passing of time.
#[derive(Debug, Default)]
pub struct Hosts<'w> {
    /// In the order of their names.
    pub list: Vec<Host<'w>>,
    /// The host of a Node, by the Node's name.
    by_node: HashMap<&'w str, usize>,
}

/// Nodes that FRR-K8s can't tell apart; nearly always one.
#[derive(Debug)]
pub struct Host<'w> {
    /// The value of the label.
    pub name: &'w str,
    /// The Nodes that have it.
    pub nodes: Vec<&'w Object<Node>>,
    /// Whether it announces.
    pub standing: Standing,
    /// When it stops to announce for a taint, whatever else keeps it from announcing.
    taint_deadline: Option<Timestamp>,
}

/// Whether a host announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It does.
    Announces,
    /// It does until then, with GRACEFUL_SHUTDOWN (RFC 8326).
    Drains(Timestamp),
    /// It did until then.
    Drained(Timestamp),
    /// It has the label `node.kubernetes.io/exclude-from-external-load-balancers`.
    Excluded,
    /// Its condition NetworkUnavailable is true.
    NetworkUnavailable,
}

impl Standing {
    /// Whether anything is announced from there.
    #[must_use]
    pub fn announces(self) -> bool {
        matches!(self, Self::Announces | Self::Drains(_))
    }

    /// What is said of nodes that don't announce.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Announces => "announcing",
            Self::Drains(_) => "being drained",
            Self::Drained(_) => "drained",
            Self::Excluded => "excluded by the label node.kubernetes.io/exclude-from-external-load-balancers",
            Self::NetworkUnavailable => "without network (condition NetworkUnavailable)",
        }
    }

    /// When it stops to announce.
    #[must_use]
    pub fn deadline(self) -> Option<Timestamp> {
        match self {
            Self::Drains(at) | Self::Drained(at) => Some(at),
            Self::Announces | Self::Excluded | Self::NetworkUnavailable => None,
        }
    }
}

impl<'w> Host<'w> {
    /// Whether it is one Node, so that it can have something of its own.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.nodes.len() == 1
    }

    /// Whether all of its Nodes fit.
    pub fn all(&self, fits: impl Fn(&BTreeMap<String, String>) -> bool) -> bool {
        self.nodes.iter().all(|node| fits(&node.meta.labels))
    }

    /// The value of a label of its first Node.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&'w str> {
        self.nodes.first().and_then(|node| node.meta.labels.get(key)).map(String::as_str)
    }
}

impl<'w> Hosts<'w> {
    /// The host at an index.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Host<'w>> {
        self.list.get(index)
    }

    /// The host of the Node of this name.
    #[must_use]
    pub fn of_node(&self, node: &str) -> Option<usize> {
        self.by_node.get(node).copied()
    }

    /// Until when the hosts announce that have a taint by which they are drained. Nothing else says so.
    #[must_use]
    pub fn taint_deadlines(&self) -> BTreeMap<&'w str, Timestamp> {
        self.list.iter().filter_map(|host| Some((host.name, host.taint_deadline?))).collect()
    }

    /// When each host stops to announce that is to stop.
    pub fn deadlines(&self) -> impl Iterator<Item = Timestamp> {
        self.list.iter().filter_map(|host| host.standing.deadline())
    }
}

/// Sorts Nodes into hosts.
pub fn hosts<'w>(world: &'w World, config: &Config, findings: &mut Findings) -> Hosts<'w> {
    let mut tell = Tell { config, findings };
    let recorded = recorded(world);
    let mut by_name: BTreeMap<&str, Vec<&Object<Node>>> = BTreeMap::new();
    for node in world.nodes.iter() {
        match node.meta.labels.get(names::HOSTNAME_LABEL).filter(|host| !host.is_empty()) {
            Some(host) => by_name.entry(host).or_default().push(node),
            None => {
                let name = &node.meta.name;
                let message = format!("Node {name} has no label {}: it gets no session", names::HOSTNAME_LABEL);
                tell.peers_of(&node.meta, Reason::HostnameLabel, &message);
            }
        }
    }
    let mut hosts = Hosts::default();
    for (name, nodes) in by_name {
        if nodes.len() > 1 {
            let list = nodes.iter().map(|node| node.meta.name.name.as_str()).join(", ");
            let message = format!(
                "Nodes {list} have the same label {}={name}: they only get what all of them are to have",
                names::HOSTNAME_LABEL
            );
            nodes.iter().for_each(|node| tell.peers_of(&node.meta, Reason::HostnameLabel, &message));
        }
        let tainted = nodes.iter().any(|node| is_tainted(world, &node.value));
        // Seen before, the deadline stays what it was.
        let taint_deadline = tainted
            .then(|| recorded.get(name).copied().unwrap_or_else(|| after(world.now, world.settings.drain_grace)));
        let standings = nodes.iter().map(|node| standing(world, node, taint_deadline, &mut tell));
        // The gravest counts; of two drains, the one that ends first.
        let standing = standings.max_by_key(|standing| (rank(*standing), standing.deadline().map(std::cmp::Reverse)));
        let index = hosts.list.len();
        hosts.by_node.extend(nodes.iter().map(|node| (node.meta.name.name.as_str(), index)));
        hosts.list.push(Host { name, nodes, standing: standing.unwrap_or(Standing::Announces), taint_deadline });
    }
    hosts
}

fn rank(standing: Standing) -> u8 {
    match standing {
        Standing::Announces => 0,
        Standing::Drains(_) => 1,
        Standing::Drained(_) => 2,
        Standing::Excluded => 3,
        Standing::NetworkUnavailable => 4,
    }
}

fn is_tainted(world: &World, node: &Node) -> bool {
    let patterns = &world.settings.drain_taints;
    node.taints.iter().any(|taint| patterns.iter().any(|pattern| taint.fits(pattern)))
}

fn standing(world: &World, node: &Object<Node>, taint_deadline: Option<Timestamp>, tell: &mut Tell) -> Standing {
    if node.value.network_unavailable {
        return Standing::NetworkUnavailable;
    }
    if !world.settings.ignore_exclude_label && node.meta.labels.contains_key(names::EXCLUDE_LABEL) {
        return Standing::Excluded;
    }
    let asked = node.value.withdraw_at.as_ref().and_then(|text| match text.parse::<Timestamp>() {
        Ok(at) => Some(at),
        Err(_) => {
            let message = format!(
                "Node {}: the annotation {}: {text:?} is no time such as 2006-01-02T15:04:05Z, so the node is not drained",
                node.meta.name,
                names::WITHDRAW_AT_ANNOTATION
            );
            tell.peers_of(&node.meta, Reason::InvalidValue, &message);
            None
        }
    });
    match asked.into_iter().chain(taint_deadline).min() {
        Some(at) if world.now < at => Standing::Drains(at),
        Some(at) => Standing::Drained(at),
        None => Standing::Announces,
    }
}

fn after(now: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_second(now.as_second().saturating_add(seconds)).unwrap_or(Timestamp::MAX)
}

/// The deadlines that our FRRConfigurations record, the earliest of each host.
fn recorded(world: &World) -> BTreeMap<&str, Timestamp> {
    let mut deadlines = BTreeMap::new();
    let ours = world.our_configurations();
    for text in ours.filter_map(|c| c.value.annotations.get(names::DEADLINES_ANNOTATION)) {
        for (host, at) in text.split(',').filter_map(|pair| pair.split_once('=')) {
            if let Ok(at) = at.parse::<Timestamp>() {
                deadlines.entry(host.trim()).and_modify(|known: &mut Timestamp| *known = at.min(*known)).or_insert(at);
            }
        }
    }
    deadlines
}

/// Writes down the deadlines of some hosts, so that [`recorded`] finds them again.
#[must_use]
pub fn record<'h>(hosts: impl Iterator<Item = &'h str>, deadlines: &BTreeMap<&str, Timestamp>) -> Option<String> {
    let pairs: Vec<String> = hosts.filter_map(|host| Some(format!("{host}={}", deadlines.get(host)?))).collect();
    (!pairs.is_empty()).then(|| pairs.join(","))
}

/// Tells of Nodes to the peers that select them: a Node is not ours to write to.
struct Tell<'a> {
    config: &'a Config,
    findings: &'a mut Findings,
}

impl Tell<'_> {
    fn peers_of(&mut self, node: &Meta, reason: Reason, message: &str) {
        for peer in self.config.peers.iter().filter(|peer| selected(&peer.nodes, &node.labels)) {
            let id = ObjectRef::new(Kind::RouterPeer, ObjectName::cluster(&peer.name));
            self.findings.warning(id, reason, message);
        }
    }
}
