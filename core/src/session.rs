//! Peers and hosts to sessions: classes of hosts that have the same sessions and announce the same things.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    config::{Config, Peer, Terms, selected},
    finding::{Findings, Reason},
    hosts::{Host, Hosts, Standing},
    world::{Kind, ObjectName, ObjectRef, World},
};

/// Hosts that have the same sessions and announce the same things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// The hosts, by index.
    pub hosts: BTreeSet<usize>,
    /// The sessions, those of the oldest peer first.
    pub sessions: Vec<Neighborship>,
    /// The advertisements that may announce from here, by index, oldest first.
    pub advertisements: Vec<usize>,
    /// Anything is announced from here.
    pub announces: bool,
    /// What is announced is about to be withdrawn.
    pub draining: bool,
    /// What sets this class apart from others: the peers and advertisements that pick nodes. It stays the same while
    /// nodes come and go, and while peers and advertisements for all nodes do.
    pub identity: String,
}

/// A session with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighborship {
    /// The peer, by index.
    pub peer: usize,
    /// The override of the peer that is for these hosts, by index.
    pub overridden: Option<usize>,
}

impl Neighborship {
    /// The peer, and the terms of the session.
    #[must_use]
    pub fn of(self, config: &Config) -> Option<(&Peer, &Terms)> {
        let peer = config.peers.get(self.peer)?;
        Some((peer, peer.terms(self.overridden)?))
    }
}

/// The classes, and how many nodes each peer selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// The classes that have a session.
    pub classes: Vec<Class>,
    /// Nodes by peer, in the order of the peers.
    pub nodes: Vec<usize>,
}

/// What the hosts of a class have in common.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Signature {
    announces: bool,
    draining: bool,
    sessions: Vec<Neighborship>,
    /// Peers that select the hosts, and that they can have no session with.
    absent: Vec<usize>,
    advertisements: Vec<usize>,
}

/// Sorts hosts into classes.
pub fn sessions(world: &World, config: &Config, hosts: &Hosts, findings: &mut Findings) -> Sessions {
    let nodes = config.peers.iter().map(|peer| {
        let selected = world.nodes.iter().filter(|node| selected(&peer.nodes, &node.meta.labels)).count();
        if selected == 0 {
            let message =
                if world.nodes.is_empty() { "there are no Nodes" } else { "no node is selected: check nodeSelectors" };
            findings.warning(id(peer), Reason::SelectsNothing, message);
        }
        selected
    });
    let nodes = nodes.collect();
    let mut members: BTreeMap<Signature, BTreeSet<usize>> = BTreeMap::new();
    for (index, host) in hosts.list.iter().enumerate() {
        members.entry(signature(config, host, findings)).or_default().insert(index);
    }
    let mut classes = Vec::new();
    for (signature, hosts) in members {
        let identity = identity(config, &signature);
        let sessions = compatible(config, &signature.sessions, findings);
        if !sessions.is_empty() {
            let Signature { announces, draining, advertisements, .. } = signature;
            classes.push(Class { hosts, sessions, advertisements, announces, draining, identity });
        }
    }
    Sessions { classes, nodes }
}

fn id(peer: &Peer) -> ObjectRef {
    ObjectRef::new(Kind::RouterPeer, ObjectName::cluster(&peer.name))
}

fn signature(config: &Config, host: &Host, findings: &mut Findings) -> Signature {
    let (mut sessions, mut absent) = (Vec::new(), Vec::new());
    for (index, peer) in config.peers.iter().enumerate() {
        if host.all(|labels| selected(&peer.nodes, labels)) {
            match terms_for(peer, host, findings) {
                Some(overridden) => sessions.push(Neighborship { peer: index, overridden }),
                None => absent.push(index),
            }
        }
    }
    let announces = host.standing.announces();
    let advertisements = config
        .advertisements
        .iter()
        .enumerate()
        .filter(|(_, advertisement)| announces && host.all(|labels| selected(&advertisement.nodes, labels)));
    Signature {
        announces,
        draining: matches!(host.standing, Standing::Drains(_)),
        sessions,
        absent,
        advertisements: advertisements.map(|(index, _)| index).collect(),
    }
}

/// The override by which a host has a session with the peer, if it can have one.
fn terms_for(peer: &Peer, host: &Host, findings: &mut Findings) -> Option<Option<usize>> {
    let overridden = peer.override_for(&host.nodes.first()?.meta.labels);
    // Nodes that can't be told apart, and that different overrides are for, have no terms in common.
    let terms = peer.terms(overridden).filter(|_| host.all(|labels| peer.override_for(labels) == overridden))?;
    // FRR refuses itself as a neighbor, and with that the whole configuration of the node.
    let address = terms.neighbor.address.as_ref().and_then(|text| text.parse::<IpAddr>().ok());
    let own = host.nodes.iter().find(|node| address.is_some_and(|address| node.value.addresses.contains(&address)));
    if let Some(node) = own {
        let message = format!("Node {} has the peer's address itself: it gets no session", node.meta.name);
        findings.warning(id(peer), Reason::SessionConflict, message);
        return None;
    }
    Some(overridden)
}

fn identity(config: &Config, signature: &Signature) -> String {
    let sessions = signature.sessions.iter().filter_map(|session| Some((session, config.peers.get(session.peer)?)));
    let sessions = sessions.filter_map(|(session, peer)| {
        let selector = session.overridden.and_then(|index| peer.overrides.get(index)).map(|(selector, _)| selector);
        match selector {
            Some(selector) => Some(format!("peer {} as for {selector}\n", peer.name)),
            None => (!peer.nodes.is_empty()).then(|| format!("peer {}\n", peer.name)),
        }
    });
    let absent = signature.absent.iter().filter_map(|index| config.peers.get(*index));
    let absent = absent.map(|peer| format!("no peer {}\n", peer.name));
    let advertisements = signature.advertisements.iter().filter_map(|index| config.advertisements.get(*index));
    let advertisements =
        advertisements.filter(|adv| !adv.nodes.is_empty()).map(|adv| format!("advertisement {}\n", adv.name));
    let standing = match (signature.announces, signature.draining) {
        (false, _) => Some("silent\n".to_owned()),
        (true, true) => Some("draining\n".to_owned()),
        (true, false) => None,
    };
    let parts: BTreeSet<String> = standing.into_iter().chain(sessions).chain(absent).chain(advertisements).collect();
    parts.into_iter().collect()
}

/// The sessions that can be together on one node: one AS number and router ID for each VRF, each neighbor once. The older
/// peer wins.
fn compatible(config: &Config, sessions: &[Neighborship], findings: &mut Findings) -> Vec<Neighborship> {
    let mut accepted: Vec<Neighborship> = Vec::new();
    for session in sessions {
        let Some((peer, terms)) = session.of(config) else { continue };
        let older =
            || accepted.iter().filter_map(|session| session.of(config)).filter(|(_, older)| older.vrf == terms.vrf);
        let asn = older().find(|(_, older)| older.my_asn != terms.my_asn);
        let id_differs =
            |older: &Terms| older.router_id.as_ref().zip(terms.router_id.as_ref()).is_some_and(|(a, b)| a != b);
        let router_id = older().find(|(_, older)| id_differs(older));
        let same = older().find(|(_, older)| older.key() == terms.key());
        let conflict = if let Some((other, older)) = asn {
            format!("myASN is {}, but {} for the older RouterPeer {}", terms.my_asn, older.my_asn, other.name)
        } else if let Some((other, _)) = router_id {
            format!("routerID differs from that of the older RouterPeer {}", other.name)
        } else if let Some((other, _)) = same {
            format!("the older RouterPeer {} has the session with this router", other.name)
        } else {
            accepted.push(*session);
            continue;
        };
        let message = format!("{conflict}, on nodes that both select; there only the older one is in effect");
        findings.error(id(peer), Reason::SessionConflict, message);
    }
    accepted
}
