//! Peers and hosts to sessions: classes of hosts that have the same sessions and announce the same things.

mod adopt;
mod agree;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

pub use agree::{Agreed, Yielded};
use agree::{Note, agree};
use ipnet::IpNet;

use crate::{
    config::{Config, Peer, Terms, selected},
    finding::{Findings, Reason, list_of_nodes},
    hosts::{Host, Hosts, Standing},
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
    /// The classes that have a session.
    pub classes: Vec<Class>,
    /// Nodes by peer, in the order of the peers.
    pub nodes: Vec<usize>,
    /// Peers that some host has no session with because of what others have written.
    pub kept_out: BTreeSet<usize>,
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
}

/// Sorts hosts into classes.
pub fn sessions(world: &World, config: &Config, hosts: &Hosts, others: &Others, findings: &mut Findings) -> Sessions {
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
    let mut negotiation = Negotiation {
        carried: Carried::new(world, hosts, others),
        config,
        others,
        agreed: Vec::new(),
        known: BTreeMap::new(),
        notes: BTreeMap::new(),
    };
    let mut members: BTreeMap<Signature, BTreeSet<usize>> = BTreeMap::new();
    for (index, host) in hosts.list.iter().enumerate() {
        members.entry(negotiation.signature(index, host, findings)).or_default().insert(index);
    }
    sessions.kept_out = negotiation.tell(&sessions.nodes, findings);
    sessions.agreed = negotiation.agreed;
    for (signature, hosts, identity) in name(config, &sessions, members) {
        let accepted = compatible(config, &sessions, &signature.sessions, findings);
        if !accepted.is_empty() {
            let Signature { announces, draining, advertisements, .. } = signature;
            sessions.classes.push(Class { hosts, sessions: accepted, advertisements, announces, draining, identity });
        }
    }
    sessions
}

fn id(peer: &Peer) -> ObjectRef {
    ObjectRef::new(Kind::RouterPeer, ObjectName::cluster(&peer.name))
}

/// The sessions that our objects carry on each host, where that matters.
struct Carried<'a>(BTreeMap<&'a str, BTreeSet<(&'a str, &'a str)>>);

impl<'a> Carried<'a> {
    fn new(world: &'a World, hosts: &Hosts, others: &Others) -> Self {
        let mut carried: BTreeMap<&str, BTreeSet<(&str, &str)>> = BTreeMap::new();
        if !(0..hosts.list.len()).any(|host| others.asks_what_is_there(host)) {
            return Self(carried);
        }
        let here = world.frr_k8s_namespace();
        for object in world.configurations.iter().filter(|c| c.value.ours && c.meta.name.namespace == here) {
            let routers = &object.value.layer.content.routers;
            let sessions: Vec<(&str, &str)> = routers
                .iter()
                .flat_map(|(vrf, router)| router.sessions.keys().map(|key| (vrf.as_str(), key.as_str())))
                .collect();
            for host in &object.value.layer.hosts {
                carried.entry(host).or_default().extend(&sessions);
            }
        }
        Self(carried)
    }

    fn has(&self, host: &Host, terms: &Terms) -> bool {
        self.0.get(host.name).is_some_and(|sessions| sessions.contains(&(terms.vrf.as_str(), terms.key().as_str())))
    }
}

/// The terms, by index, if there are any; and what is to be told of them.
type Outcome = (Option<usize>, Vec<Note>);

/// Finds out what terms each host can have, once for all that are in the same situation.
struct Negotiation<'a, 'w> {
    carried: Carried<'a>,
    config: &'a Config,
    others: &'a Others<'w>,
    agreed: Vec<Agreed>,
    /// The terms, by peer, override and set of objects of others, and whether the session is there already; and what is to be
    /// told of them.
    known: BTreeMap<(usize, Option<usize>, usize, bool), Outcome>,
    /// What is to be told of a peer, and whether it keeps sessions out: the nodes.
    notes: BTreeMap<(usize, bool, Note), Vec<String>>,
}

impl Negotiation<'_, '_> {
    fn signature(&mut self, index: usize, host: &Host, findings: &mut Findings) -> Signature {
        let config = self.config;
        let (mut sessions, mut absent, mut kept_out) = (Vec::new(), Vec::new(), Vec::new());
        for (peer_index, peer) in config.peers.iter().enumerate() {
            if !host.all(|labels| selected(&peer.nodes, labels)) {
                continue;
            }
            let Some((overridden, terms)) = terms_for(peer, host, findings) else {
                absent.push(peer_index);
                continue;
            };
            match self.session(peer_index, peer, overridden, terms, index, host) {
                Some(session) => sessions.push(session),
                None => kept_out.push(peer_index),
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
            kept_out,
            advertisements: advertisements.map(|(index, _)| index).collect(),
        }
    }

    /// The session of a host with a peer, if it can have one.
    fn session(
        &mut self,
        index: usize,
        peer: &Peer,
        overridden: Option<usize>,
        terms: &Terms,
        host_index: usize,
        host: &Host,
    ) -> Option<Neighborship> {
        let names = || host.nodes.iter().map(|node| node.meta.name.name.clone());
        if let Some(fault) = self.others.fault(host_index) {
            let note = Note { reason: Reason::ForeignFault, message: fault.to_owned() };
            self.notes.entry((index, false, note)).or_default().extend(names());
        }
        let (set, _) = self.others.of(host_index)?;
        let is_there = self.others.asks_what_is_there(host_index) && self.carried.has(host, terms);
        let key = (index, overridden, set, is_there);
        if !self.known.contains_key(&key) {
            let found = self.negotiate(peer, terms, host_index, is_there);
            self.known.insert(key, found);
        }
        let (agreed, notes) = self.known.get(&key)?;
        for note in notes {
            self.notes.entry((index, agreed.is_none(), note.clone())).or_default().extend(names());
        }
        Some(Neighborship { peer: index, overridden, agreed: (*agreed)? })
    }

    /// The terms that a host can have, by index, and what is to be told of them.
    fn negotiate(&mut self, peer: &Peer, terms: &Terms, host: usize, is_there: bool) -> Outcome {
        let mut notes = Vec::new();
        let outcome = self.terms_beside(peer, terms, (host, is_there), &mut notes);
        match outcome {
            Ok(agreed) => (Some(self.index_of(agreed)), notes),
            Err(note) => {
                notes.push(note);
                (None, notes)
            }
        }
    }

    fn terms_beside(
        &self,
        peer: &Peer,
        terms: &Terms,
        (host, is_there): (usize, bool),
        notes: &mut Vec<Note>,
    ) -> Result<Agreed, Note> {
        let Some((_, set)) = self.others.of(host) else { return Ok(Agreed::alone(terms.clone())) };
        let adopted = match &peer.adopt {
            Some(selector) => Some(adopt::adopt(terms, selector, set)?),
            None => None,
        };
        let (terms, from) = adopted.map_or((terms.clone(), None), |(terms, from)| (terms, Some(from)));
        let mut agreed = match self.others.beside(host, is_there) {
            Some(others) => agree(&terms, others, notes)?,
            // Nothing is written for this host before its others are mended.
            None => Agreed::alone(terms),
        };
        let may_be_ours = |prefix: &IpNet| self.config.pools.of(prefix.addr()).is_some();
        agreed.given.retain(|prefix, _| may_be_ours(prefix));
        agreed.beside.extend(from);
        agreed.beside.extend(agreed.given.values().flat_map(agree::Given::objects).cloned());
        Ok(agreed)
    }

    fn index_of(&mut self, agreed: Agreed) -> usize {
        self.agreed.iter().position(|known| *known == agreed).unwrap_or_else(|| {
            self.agreed.push(agreed);
            self.agreed.len() - 1
        })
    }

    /// Tells each peer what stands in its way, on which nodes. Returns the peers that have no session somewhere.
    fn tell(&mut self, nodes: &[usize], findings: &mut Findings) -> BTreeSet<usize> {
        let mut kept_out = BTreeSet::new();
        for ((index, is_kept_out, note), names) in std::mem::take(&mut self.notes) {
            let Some(peer) = self.config.peers.get(index) else { continue };
            let message = format!("on {}: {}", list_of_nodes(&names), note.message);
            if is_kept_out {
                kept_out.insert(index);
            }
            if is_kept_out && nodes.get(index) == Some(&names.len()) {
                findings.error(id(peer), note.reason, message);
            } else {
                findings.warning(id(peer), note.reason, message);
            }
        }
        kept_out
    }
}

/// The override and the terms by which a host has a session with the peer, if it can have one.
fn terms_for<'p>(peer: &'p Peer, host: &Host, findings: &mut Findings) -> Option<(Option<usize>, &'p Terms)> {
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
    Some((overridden, terms))
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
