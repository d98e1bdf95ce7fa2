//! Peers and nodes to sessions: classes of nodes that have the same sessions and announce the same things.

use std::collections::{BTreeMap, BTreeSet};

use clarion_api::names;

use crate::{
    config::{Config, selected},
    finding::{Findings, Reason},
    world::{Kind, Meta, ObjectName, ObjectRef, World},
};

/// Nodes that have the same sessions and announce the same things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Values of the label `kubernetes.io/hostname`.
    pub hosts: BTreeSet<String>,
    /// The peers, by index, oldest first.
    pub peers: Vec<usize>,
    /// The advertisements that may announce from here, by index, oldest first.
    pub advertisements: Vec<usize>,
    /// What sets this class apart from others: the peers and advertisements that pick nodes. It stays the same while
    /// nodes come and go, and while peers and advertisements for all nodes do.
    pub identity: String,
}

/// The classes, and how many nodes each peer selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// The classes that have a session.
    pub classes: Vec<Class>,
    /// Nodes by peer, in the order of the peers.
    pub nodes: Vec<usize>,
}

/// Sorts nodes into classes.
pub fn sessions(world: &World, config: &Config, findings: &mut Findings) -> Sessions {
    let mut nodes = vec![0; config.peers.len()];
    for node in world.nodes.iter() {
        for (peer, count) in config.peers.iter().zip(&mut nodes) {
            *count += usize::from(selected(&peer.nodes, &node.meta.labels));
        }
    }
    let mut members: BTreeMap<(Vec<usize>, Vec<usize>), BTreeSet<String>> = BTreeMap::new();
    for (host, nodes) in hosts(world, config, findings) {
        let all = |selectors: &[crate::config::Selector]| nodes.iter().all(|node| selected(selectors, &node.labels));
        let peers: Vec<_> = indices(&config.peers, |peer| all(&peer.nodes));
        let advertisements: Vec<_> = indices(&config.advertisements, |adv| all(&adv.nodes));
        members.entry((peers, advertisements)).or_default().insert(host.to_owned());
    }
    let mut classes = Vec::new();
    for ((selected, advertisements), hosts) in members {
        let identity = identity(config, &selected, &advertisements);
        let peers = compatible(config, &selected, findings);
        if !peers.is_empty() {
            classes.push(Class { hosts, peers, advertisements, identity });
        }
    }
    for (peer, count) in config.peers.iter().zip(&nodes) {
        if *count == 0 {
            let id = ObjectRef::new(Kind::RouterPeer, ObjectName::cluster(&peer.name));
            let message =
                if world.nodes.is_empty() { "there are no Nodes" } else { "no node is selected: check nodeSelectors" };
            findings.warning(id, Reason::SelectsNothing, message);
        }
    }
    Sessions { classes, nodes }
}

fn indices<T>(items: &[T], fits: impl Fn(&T) -> bool) -> Vec<usize> {
    items.iter().enumerate().filter(|(_, item)| fits(item)).map(|(index, _)| index).collect()
}

/// Nodes by host name label. FRR-K8s can only tell nodes apart by labels: nodes of one value are one host, which has
/// what all of them are to have.
fn hosts<'a>(world: &'a World, config: &Config, findings: &mut Findings) -> BTreeMap<&'a str, Vec<&'a Meta>> {
    let mut hosts: BTreeMap<&str, Vec<&Meta>> = BTreeMap::new();
    let mut complain = |node: &Meta, message: String| {
        for peer in config.peers.iter().filter(|peer| selected(&peer.nodes, &node.labels)) {
            let id = ObjectRef::new(Kind::RouterPeer, ObjectName::cluster(&peer.name));
            findings.warning(id, Reason::HostnameLabel, message.clone());
        }
    };
    for node in world.nodes.iter() {
        match node.meta.labels.get(names::HOSTNAME_LABEL).filter(|host| !host.is_empty()) {
            Some(host) => hosts.entry(host).or_default().push(&node.meta),
            None => {
                let name = &node.meta.name;
                let message = format!("Node {name} has no label {}: it gets no session", names::HOSTNAME_LABEL);
                complain(&node.meta, message);
            }
        }
    }
    for (host, nodes) in hosts.iter().filter(|(_, nodes)| nodes.len() > 1) {
        let list = nodes.iter().map(|node| node.name.name.as_str()).collect::<Vec<_>>().join(", ");
        let message = format!(
            "Nodes {list} have the same label {}={host}: they only get what all of them are to have",
            names::HOSTNAME_LABEL
        );
        nodes.iter().for_each(|node| complain(node, message.clone()));
    }
    hosts
}

fn identity(config: &Config, peers: &[usize], advertisements: &[usize]) -> String {
    let peers = peers.iter().filter_map(|index| config.peers.get(*index));
    let peers = peers.filter(|peer| !peer.nodes.is_empty()).map(|peer| format!("peer {}\n", peer.name));
    let advertisements = advertisements.iter().filter_map(|index| config.advertisements.get(*index));
    let advertisements =
        advertisements.filter(|adv| !adv.nodes.is_empty()).map(|adv| format!("advertisement {}\n", adv.name));
    let parts: BTreeSet<String> = peers.chain(advertisements).collect();
    parts.into_iter().collect()
}

/// The peers that can be together on one node: one AS number and router ID for each VRF, each neighbor once. The older
/// peer wins.
fn compatible(config: &Config, selected: &[usize], findings: &mut Findings) -> Vec<usize> {
    let mut accepted: Vec<usize> = Vec::new();
    for index in selected {
        let Some(peer) = config.peers.get(*index) else { continue };
        let older = || accepted.iter().filter_map(|index| config.peers.get(*index)).filter(|o| o.vrf == peer.vrf);
        let asn = older().find(|o| o.my_asn != peer.my_asn);
        let id = older().find(|o| o.router_id.is_some() && peer.router_id.is_some() && o.router_id != peer.router_id);
        let same = older().find(|o| {
            (&o.neighbor.address, &o.neighbor.interface) == (&peer.neighbor.address, &peer.neighbor.interface)
        });
        let conflict = if let Some(other) = asn {
            format!("myASN is {}, but {} for the older RouterPeer {}", peer.my_asn, other.my_asn, other.name)
        } else if let Some(other) = id {
            format!("routerID differs from that of the older RouterPeer {}", other.name)
        } else if let Some(other) = same {
            format!("the older RouterPeer {} has the session with this router", other.name)
        } else {
            accepted.push(*index);
            continue;
        };
        let object = ObjectRef::new(Kind::RouterPeer, ObjectName::cluster(&peer.name));
        findings.error(object, Reason::SessionConflict, format!("{conflict}, on nodes that both select"));
    }
    accepted
}
