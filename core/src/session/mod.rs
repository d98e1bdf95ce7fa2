//! Peers and hosts to sessions: classes of hosts that have the same sessions and announce the same things.

mod adopt;
mod agree;
mod carried;
mod negotiate;
mod secret;

use std::collections::{BTreeMap, BTreeSet};

pub use agree::{Agreed, Yielded};
use negotiate::Negotiation;
pub use secret::{Secrets, is_unusable};

use crate::{
    brake::Held,
    config::{Config, Peer, Terms, selected},
    finding::{Findings, Reason},
    hosts::Hosts,
    others::Others,
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
    /// What is held of what the hosts have ([`Held::of`]).
    pub held: Option<usize>,
    /// What sets this class apart from others: the peers and advertisements that pick nodes, and the objects of others that
    /// have a say in its sessions. It stays the same while nodes come and go, and while peers and advertisements for all
    /// nodes do.
    pub identity: String,
}

/// A session with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighborship {
    /// The peer, by index.
    pub peer: usize,
    /// The override of the peer that is for these hosts, by index.
    overridden: Option<usize>,
    /// The terms, by index into [`Sessions::agreed`].
    agreed: usize,
}

impl Neighborship {
    /// The peer, and the terms of the session.
    #[must_use]
    pub fn of<'a>(self, config: &'a Config, sessions: &'a Sessions) -> Option<(&'a Peer, &'a Agreed)> {
        Some((config.peers.get(self.peer)?, sessions.agreed.get(self.agreed)?))
    }
}

/// The classes, and what is known of each peer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sessions {
    /// The classes that have a session, or have one held.
    pub classes: Vec<Class>,
    /// Nodes by peer, in the order of the peers.
    pub nodes: Vec<usize>,
    /// Peers that some host has no session with because of what others have written.
    pub kept_out: BTreeSet<usize>,
    /// What is done about Secrets with passwords.
    pub secrets: Secrets,
    /// The terms of sessions.
    agreed: Vec<Agreed>,
}

/// What the hosts of a class have in common.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Signature {
    announces: bool,
    draining: bool,
    sessions: Vec<Neighborship>,
    /// Peers that select the hosts, and that they can have no session with.
    absent: Vec<usize>,
    /// The same, because of what others have written.
    kept_out: Vec<usize>,
    advertisements: Vec<usize>,
    /// What is held of what the hosts have.
    held: Option<usize>,
}

/// Sorts hosts into classes.
pub fn sessions(
    world: &World,
    config: &Config,
    hosts: &Hosts,
    others: &Others,
    held: &Held,
    findings: &mut Findings,
) -> Sessions {
    let nodes = config.peers.iter().map(|peer| {
        let selected = world.nodes.iter().filter(|node| selected(&peer.nodes, &node.meta.labels)).count();
        if selected == 0 {
            let message =
                if world.nodes.is_empty() { "there are no Nodes" } else { "no node is selected: check nodeSelectors" };
            findings.warning(id(peer), Reason::SelectsNothing, message);
        }
        selected
    });
    let mut sessions = Sessions { nodes: nodes.collect(), ..Sessions::default() };
    let mut negotiation = Negotiation::new(world, config, hosts, others);
    let mut members: BTreeMap<Signature, BTreeSet<usize>> = BTreeMap::new();
    for (index, host) in hosts.list.iter().enumerate() {
        let signature = negotiation.signature(index, host, held, findings);
        members.entry(signature).or_default().insert(index);
    }
    sessions.kept_out = negotiation.tell(&sessions.nodes, findings);
    (sessions.agreed, sessions.secrets) = negotiation.outcome();
    for (signature, hosts, identity) in name(config, &sessions, members) {
        let accepted = compatible(config, &sessions, &signature.sessions, findings);
        let Signature { announces, draining, advertisements, held, .. } = signature;
        if !accepted.is_empty() || held.is_some() {
            let class = Class { hosts, sessions: accepted, advertisements, announces, draining, held, identity };
            sessions.classes.push(class);
        }
    }
    sessions
}

fn id(peer: &Peer) -> ObjectRef {
    ObjectRef::new(Kind::RouterPeer, ObjectName::cluster(&peer.name))
}

/// Gives each class its identity. Objects of others are part of it only where they set hosts apart that would be one class
/// without them: what they change for all hosts of a class changes in the objects that there are.
fn name(
    config: &Config,
    sessions: &Sessions,
    members: BTreeMap<Signature, BTreeSet<usize>>,
) -> Vec<(Signature, BTreeSet<usize>, String)> {
    let mut by_identity: BTreeMap<String, Vec<(String, Signature, BTreeSet<usize>)>> = BTreeMap::new();
    for (signature, hosts) in members {
        let variants = by_identity.entry(identity(config, &signature)).or_default();
        variants.push((variant(config, sessions, &signature), signature, hosts));
    }
    let mut named = Vec::new();
    for (identity, mut variants) in by_identity {
        // What others have no say in goes first, and then what most hosts have.
        variants.sort_by_key(|(variant, _, hosts)| (!variant.is_empty(), std::cmp::Reverse(hosts.len())));
        let mut taken = BTreeSet::new();
        for (number, (variant, signature, hosts)) in variants.into_iter().enumerate() {
            let mut identity = if number == 0 { identity.clone() } else { format!("{identity}{variant}") };
            // The same objects can have different things to say to different hosts.
            while !taken.insert(identity.clone()) {
                identity.push_str("another\n");
            }
            named.push((signature, hosts, identity));
        }
    }
    named
}

/// What sets a class apart by what its hosts and peers are.
fn identity(config: &Config, signature: &Signature) -> String {
    let sessions = signature.sessions.iter().map(|session| (session.peer, session.overridden));
    let sessions = sessions.chain(signature.kept_out.iter().map(|peer| (*peer, None)));
    let sessions = sessions.filter_map(|(peer, overridden)| {
        let peer = config.peers.get(peer)?;
        let selector = overridden.and_then(|index| peer.overrides.get(index)).map(|(selector, _)| selector);
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

/// What sets a class apart by what others have written for its hosts.
fn variant(config: &Config, sessions: &Sessions, signature: &Signature) -> String {
    let known = signature.sessions.iter().filter_map(|session| session.of(config, sessions));
    let beside = known
        .flat_map(|(peer, agreed)| agreed.beside.iter().map(|object| format!("peer {} beside {object}\n", peer.name)));
    let kept_out = signature.kept_out.iter().filter_map(|index| config.peers.get(*index));
    let kept_out = kept_out.map(|peer| format!("peer {} kept out\n", peer.name));
    beside.chain(kept_out).collect()
}

/// The sessions that can be together on one node: one AS number and router ID for each VRF, each neighbor once. The older
/// peer wins.
fn compatible(
    config: &Config,
    all: &Sessions,
    sessions: &[Neighborship],
    findings: &mut Findings,
) -> Vec<Neighborship> {
    let mut accepted: Vec<Neighborship> = Vec::new();
    for session in sessions {
        let Some((peer, Agreed { terms, .. })) = session.of(config, all) else { continue };
        let accepted_terms = || accepted.iter().filter_map(|session| session.of(config, all));
        let older = || accepted_terms().map(|(p, a)| (p, &a.terms)).filter(|(_, older)| older.vrf == terms.vrf);
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
