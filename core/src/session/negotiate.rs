//! What terms each host can have, found out once for all that are in the same situation.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use clarion_api::frr::SecretReference;
use ipnet::IpNet;

use super::{
    Agreed, Neighborship, Signature, adopt,
    agree::{Given, Note, agree},
    carried::Carried,
    id,
    secret::{Password, Secrets},
};
use crate::{
    brake::Held,
    config::{Config, Peer, Terms, selected},
    finding::{Findings, Reason, list_of_nodes},
    hosts::{Host, Hosts, Standing},
    others::Others,
    world::World,
};

/// What the terms of a session depend on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Situation {
    peer: usize,
    overridden: Option<usize>,
    /// The objects of others.
    set: usize,
    /// The session is there already, where that matters.
    is_there: bool,
    secret: Option<String>,
}

/// The terms, by index, if there are any; and what is to be told of them.
type Outcome = (Option<usize>, Vec<Note>);

/// Finds out what terms each host can have.
pub struct Negotiation<'a, 'w> {
    carried: Carried<'a>,
    secrets: Secrets,
    config: &'a Config,
    others: &'a Others<'w>,
    agreed: Vec<Agreed>,
    /// The terms, and what is to be told of them.
    known: BTreeMap<Situation, Outcome>,
    /// What is to be told of a peer, and whether it keeps sessions out: the nodes.
    notes: BTreeMap<(usize, bool, Note), Vec<String>>,
}

impl<'a, 'w> Negotiation<'a, 'w> {
    /// Nothing is agreed on yet.
    pub fn new(world: &'a World, config: &'a Config, hosts: &Hosts, others: &'a Others<'w>) -> Self {
        let has_secret = |peer: &Peer| peer.terms.neighbor.password_secret.is_some();
        let matters =
            (0..hosts.list.len()).any(|host| others.asks_what_is_there(host)) || config.peers.iter().any(has_secret);
        let carried = if matters { Carried::new(world) } else { Carried::nothing() };
        let secrets = Secrets::new(world, config, hosts, others, &carried);
        Self { carried, secrets, config, others, agreed: Vec::new(), known: BTreeMap::new(), notes: BTreeMap::new() }
    }

    /// The terms by their index, and what is done about Secrets.
    pub fn outcome(self) -> (Vec<Agreed>, Secrets) {
        (self.agreed, self.secrets)
    }

    /// What a host has in common with others of its class.
    pub fn signature(&mut self, index: usize, host: &Host, held: &Held, findings: &mut Findings) -> Signature {
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
            if !held.admits(terms) {
                continue;
            }
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
            held: held.of(index),
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
        let names = || host.nodes.iter().map(|node| node.meta.name.name.to_string());
        if let Some(fault) = self.others.fault(host_index) {
            let note = Note { reason: Reason::ForeignFault, message: fault.to_owned() };
            self.notes.entry((index, false, note)).or_default().extend(names());
        }
        let mut terms = Cow::Borrowed(terms);
        let (password, note) = self.secrets.of(index, host_index, host, &terms, &self.carried);
        if let Some(note) = note {
            self.notes.entry((index, password == Password::Out, note)).or_default().extend(names());
        }
        match password {
            Password::Asked => {}
            Password::Kept(name) => {
                terms.to_mut().neighbor.password_secret =
                    name.map(|name| SecretReference { name: Some(name), ..SecretReference::default() });
            }
            Password::Out => return None,
        }
        let (set, _) = self.others.of(host_index)?;
        let is_there = self.others.asks_what_is_there(host_index) && self.carried.get(host.name, &terms).is_some();
        let secret = terms.neighbor.password_secret.as_ref().and_then(|secret| secret.name.clone());
        let situation = Situation { peer: index, overridden, set, is_there, secret };
        if !self.known.contains_key(&situation) {
            let found = self.negotiate(peer, &terms, host_index, is_there);
            self.known.insert(situation.clone(), found);
        }
        let (agreed, notes) = self.known.get(&situation)?;
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
        agreed.beside.extend(agreed.given.values().flat_map(Given::objects).cloned());
        Ok(agreed)
    }

    fn index_of(&mut self, agreed: Agreed) -> usize {
        self.agreed.iter().position(|known| *known == agreed).unwrap_or_else(|| {
            self.agreed.push(agreed);
            self.agreed.len() - 1
        })
    }

    /// Tells each peer what stands in its way, on which nodes. Returns the peers that have no session somewhere.
    pub fn tell(&mut self, nodes: &[usize], findings: &mut Findings) -> BTreeSet<usize> {
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
