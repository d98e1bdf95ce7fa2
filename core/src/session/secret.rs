//! Secrets with passwords: what can't be seen beforehand is tried on one node first.
//!
//! A Secret that is missing, or that FRR-K8s can't use, fails everything on a node, and its webhook does not look at Secrets.
//! Clarion reads none either. Where it may, it knows which exist; in any case the daemons say when they can't use one. So a
//! Secret that a peer refers to anew goes to one node. If that node's daemon does not complain, it goes to the others;
//! if it does, the session is taken back there at once, and is tried again after a while.

use std::collections::{BTreeMap, BTreeSet};

use clarion_api::{
    Time, Timestamp,
    peer::{PasswordSecretStatus, SecretState},
};

use super::{
    agree::{Note, agree},
    carried::Carried,
};
use crate::{
    config::{Config, Peer, Terms, selected},
    finding::Reason,
    hosts::{Host, Hosts},
    others::Others,
    world::{Object, ObjectName, Outcome, Secret, World},
};

/// How long a daemon is given to complain, in seconds. It converts what it is given within milliseconds.
const TRIAL: i64 = 5;
/// After how long a Secret that was refused is tried again, in seconds.
const AGAIN: i64 = 60;

/// What is done about the Secret of each peer that has one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Secrets(BTreeMap<usize, Handling>);

#[derive(Clone, Debug, PartialEq)]
struct Handling {
    status: PasswordSecretStatus,
    /// The status of the peer speaks of this Secret already: without that, a trial would not be known to have begun.
    recorded: bool,
    /// The host that tries it.
    first: Option<usize>,
    first_name: String,
    /// The hosts whose daemons complain.
    complaining: BTreeSet<usize>,
    missing: bool,
}

impl Handling {
    fn password(&self, index: usize, host: &Host, terms: &Terms, carried: &Carried) -> Password {
        let name = self.status.name.as_str();
        let kept = |secret: Option<&str>| match secret {
            Some(secret) if secret == name => Password::Asked,
            other => Password::Kept(other.map(str::to_owned)),
        };
        match (self.status.state, carried.get(host.name, terms)) {
            (SecretState::Verified, _) => Password::Asked,
            (SecretState::Trial, _) if self.recorded && self.first == Some(index) => Password::Asked,
            (SecretState::Trial, Some(secret)) => kept(secret),
            // What a session has from before the peer referred to this Secret is as good as it was.
            (SecretState::Refused, Some(secret)) if secret != Some(name) || !self.is_bad_for(index) => kept(secret),
            (SecretState::Trial | SecretState::Refused, _) => Password::Out,
        }
    }

    fn note(&self, meanwhile: &str) -> Note {
        let (reason, why) = match &self.status.message {
            Some(message) => (Reason::PasswordSecret, message.clone()),
            None => {
                let why = format!("Secret {} is tried on node {} first", self.status.name, self.first_name);
                (Reason::SecretOnTrial, why)
            }
        };
        Note { reason, message: format!("{meanwhile}{why}") }
    }

    /// Whether a session of the host must not have the Secret.
    fn is_bad_for(&self, host: usize) -> bool {
        self.missing || self.complaining.contains(&host)
    }
}

/// What a host has of a session whose peer has a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    /// The Secret that the peer refers to.
    Asked,
    /// What the session has there now.
    Kept(Option<String>),
    /// The session is left out.
    Out,
}

impl Secrets {
    /// Decides for every peer.
    pub fn new(world: &World, config: &Config, hosts: &Hosts, others: &Others, carried: &Carried) -> Self {
        let peers = config.peers.iter().enumerate().filter(|(_, peer)| peer.adopt.is_none());
        let handled = peers.filter_map(|(index, peer)| {
            let name = secret_of(&peer.terms)?;
            Some((index, handling(world, peer, name, hosts, others, carried)))
        });
        Self(handled.collect())
    }

    /// What becomes of a session of a host, and why that is not what the peer asks for.
    pub fn of(
        &self,
        peer: usize,
        index: usize,
        host: &Host,
        terms: &Terms,
        carried: &Carried,
    ) -> (Password, Option<Note>) {
        let Some(handling) = self.0.get(&peer) else { return (Password::Asked, None) };
        let password = handling.password(index, host, terms, carried);
        let note = match &password {
            Password::Asked => None,
            Password::Kept(_) => Some(handling.note("the session stays as it was: ")),
            Password::Out => Some(handling.note("")),
        };
        (password, note)
    }

    /// What is to be remembered of a peer's Secret.
    pub fn status(&self, peer: usize) -> Option<&PasswordSecretStatus> {
        self.0.get(&peer).map(|handling| &handling.status)
    }

    /// When time alone changes something.
    pub fn deadlines(&self) -> impl Iterator<Item = Timestamp> {
        self.0.values().filter_map(|handling| {
            let seconds = match handling.status.state {
                SecretState::Trial => TRIAL,
                SecretState::Refused => AGAIN,
                SecretState::Verified => return None,
            };
            Some(after(handling.status.since.as_ref()?.0, seconds))
        })
    }
}

fn secret_of(terms: &Terms) -> Option<&str> {
    terms.neighbor.password_secret.as_ref()?.name.as_deref()
}

fn after(time: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_second(time.as_second().saturating_add(seconds)).unwrap_or(Timestamp::MAX)
}

/// The Secret, if it is known which there are: `Some(None)` if it is missing.
fn known<'w>(world: &'w World, name: &str) -> Option<Option<&'w Object<Secret>>> {
    world.secrets.as_ref().map(|secrets| secrets.get(&ObjectName::new(world.frr_k8s_namespace(), name)))
}

/// Whether a Secret is missing, or the daemon of a host can't use it, as far as that is known.
pub fn is_unusable(world: &World, host: &Host, name: &str) -> bool {
    let is_missing = known(world, name).is_some_and(|secret| secret.is_none());
    is_missing || host.nodes.iter().any(|node| complaint(world, &node.meta.name, name).is_some())
}

fn handling(world: &World, peer: &Peer, name: &str, hosts: &Hosts, others: &Others, carried: &Carried) -> Handling {
    let of_peer = |host: &Host| host.all(|labels| selected(&peer.nodes, labels));
    let candidates = || hosts.list.iter().enumerate().filter(|(_, host)| of_peer(host));
    let terms = |host: &Host| host.nodes.first().and_then(|node| peer.terms(peer.override_for(&node.meta.labels)));
    let has = |host: &Host| terms(host).is_some_and(|terms| carried.get(host.name, terms) == Some(Some(name)));
    let complaint = |host: &Host| host.nodes.iter().find_map(|node| complaint(world, &node.meta.name, name));
    let complaining: BTreeMap<usize, String> =
        candidates().filter_map(|(index, host)| Some((index, complaint(host)?))).collect();
    // One that has it already, else one whose daemon is known to be well; but none where others keep the session out.
    let is_well = |host: &Host| {
        let state = |node: &ObjectName| world.node_states.get(node).map(|state| &state.value.conversion);
        host.nodes.iter().all(|node| state(&node.meta.name) == Some(&Outcome::Success))
    };
    let can_try = |index: usize, host: &Host| {
        let beside = terms(host).zip(others.beside(index, has(host)));
        others.fault(index).is_none()
            && beside.is_some_and(|(terms, others)| agree(terms, others, &mut Vec::new()).is_ok())
    };
    let mut order: Vec<(usize, &Host)> = candidates().collect();
    order.sort_by_cached_key(|(index, host)| (!has(host), !is_well(host), *index));
    let first = order.into_iter().find(|(index, host)| can_try(*index, host));
    let secret = known(world, name);
    let version = secret.flatten().map(|secret| secret.meta.resource_version.to_string());
    let missing = secret.is_some_and(|secret| secret.is_none());
    let complaints = match missing {
        true => Some(format!(
            "there is no Secret {name} of type kubernetes.io/basic-auth in the namespace {}",
            world.frr_k8s_namespace()
        )),
        false => complaining.values().next().map(|text| format!("Secret {name} can't be used, FRR-K8s says: {text}")),
    };
    let situation = Situation {
        now: world.now,
        name,
        version,
        complaint: complaints,
        tried: first.is_some_and(|(_, host)| has(host)),
        is_told_of: !world.node_states.is_empty(),
    };
    let known = world.peers.get(&ObjectName::cluster(&peer.name));
    let generation = known.and_then(|object| object.meta.generation);
    let status = known.and_then(|object| object.value.status.as_ref());
    let before = status.and_then(|status| status.password_secret.as_ref()).filter(|before| before.name == name);
    // A peer that was changed is tried anew.
    let is_stale = status.is_some_and(|status| status.observed_generation != generation);
    let before = before.filter(|before| !(is_stale && before.state == SecretState::Refused));
    Handling {
        status: situation.next(before),
        recorded: before.is_some(),
        first: first.map(|(index, _)| index),
        first_name: first.map(|(_, host)| host.name.to_owned()).unwrap_or_default(),
        complaining: complaining.into_keys().collect(),
        missing,
    }
}

/// What a daemon says that can't use this Secret (`passwordForNeighbor` of frr-k8s `api_to_config.go`).
fn complaint(world: &World, node: &ObjectName, secret: &str) -> Option<String> {
    let text = world.node_states.get(node)?.value.conversion.failure()?;
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let names_it = text.split(|c| !is_part(c)).any(|word| word == secret);
    (names_it && text.contains("secret")).then(|| text.to_owned())
}

/// What the next state of a Secret depends on.
struct Situation<'a> {
    now: Timestamp,
    name: &'a str,
    version: Option<String>,
    complaint: Option<String>,
    /// The first host has it.
    tried: bool,
    /// Daemons would complain.
    is_told_of: bool,
}

impl Situation<'_> {
    fn next(self, before: Option<&PasswordSecretStatus>) -> PasswordSecretStatus {
        let Self { now, name, version, complaint, tried, is_told_of } = self;
        let since = before.and_then(|before| before.since.clone());
        let has_lasted = |seconds: i64| since.as_ref().is_some_and(|since| after(since.0, seconds) <= now);
        let message = before.and_then(|before| before.message.clone());
        let status = |state, since, message| PasswordSecretStatus {
            name: name.to_owned(),
            state,
            since,
            version: version.clone(),
            message,
        };
        let on_trial = |message| status(SecretState::Trial, tried.then_some(Time(now)), message);
        let state = before.map(|before| &before.state);
        match (state, complaint) {
            // It goes on for as long as it was refused for the same, counted from then.
            (Some(SecretState::Refused), Some(complaint)) if message.as_ref() == Some(&complaint) => {
                status(SecretState::Refused, since, message)
            }
            (_, Some(complaint)) => status(SecretState::Refused, Some(Time(now)), Some(complaint)),
            (Some(SecretState::Verified), None) => status(SecretState::Verified, None, None),
            (Some(SecretState::Refused), None) => {
                let is_another = before.is_some_and(|before| before.version != version);
                if is_another || has_lasted(AGAIN) {
                    status(SecretState::Trial, None, message)
                } else {
                    status(SecretState::Refused, since, message)
                }
            }
            (Some(SecretState::Trial), None) if since.is_none() => on_trial(message),
            (Some(SecretState::Trial), None) if has_lasted(TRIAL) => status(SecretState::Verified, None, None),
            (Some(SecretState::Trial), None) => status(SecretState::Trial, since, message),
            // Nobody would complain; or it has long been in use.
            (None, None) if !is_told_of || tried => status(SecretState::Verified, None, None),
            (None, None) => on_trial(None),
        }
    }
}
