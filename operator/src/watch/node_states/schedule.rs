//! Which bodies are to be fetched, and when: what has changed, at a bounded rate, and what tells most first.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use clarion_api::{ObjectMeta, frr::FRRNodeState};
use clarion_core::world::{NodeState, Object, ObjectName};
use kube::core::PartialObjectMeta;
use tokio::time::Instant;

use super::super::{Event, Seen, version};
use crate::{backoff::pause, bucket::Bucket};

/// Bodies fetched a second, and at once.
const RATE: (u32, u32) = (20, 50);
/// Bodies fetched at the same time: each is up to 1.5 MB.
pub const IN_FLIGHT: usize = 4;
/// Nodes whose running configuration is kept.
pub const KEPT: usize = 64;
/// The shortest and the longest time between two attempts after an error.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What became of a fetch.
#[derive(Debug)]
pub enum Answer {
    /// The body, or what is kept of it.
    State(Box<Object<NodeState>>),
    /// There is none any more.
    Gone,
    /// Why it could not be had.
    Failed(String),
}

impl Answer {
    /// As metrics name it.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::State(_) => "ok",
            Self::Gone => "gone",
            Self::Failed(_) => "failed",
        }
    }
}

/// What the world is to learn.
#[derive(Debug)]
pub enum News {
    /// An object was fetched.
    Fetched(Box<Object<NodeState>>),
    /// The running configuration of a node is not kept any longer.
    Forgotten(ObjectName),
    /// The object of this UID is gone.
    Gone(ObjectName, String),
    /// There is none of the kind.
    NoneLeft,
}

/// What is to be fetched, and when.
#[derive(Debug)]
pub struct Schedule {
    /// By node, whose name the object has.
    states: BTreeMap<String, State>,
    /// The UIDs that a list that is under way has shown so far.
    listed: BTreeSet<String>,
    /// The nodes that tell most, the most telling first.
    wanted: Vec<String>,
    /// The nodes whose running configuration the world has, the one fetched longest ago first.
    kept: VecDeque<String>,
    /// What is being fetched, each with the newest version known when that began.
    in_flight: BTreeMap<String, u64>,
    tokens: Bucket,
    turns: u64,
}

#[derive(Debug)]
struct State {
    uid: String,
    /// The newest version that the watch has shown.
    version: u64,
    /// The version that was fetched last.
    fetched: u64,
    due: Option<Due>,
    failures: u32,
}

/// When a body is to be fetched.
#[derive(Clone, Copy, Debug)]
struct Due {
    /// First come, first served.
    turn: u64,
    /// Not before.
    at: Instant,
}

/// What to do next.
#[derive(Debug)]
pub enum Next {
    /// Fetch the body of this name now.
    Fetch(String),
    /// Nothing before then, or before something happens.
    Wait(Option<Instant>),
}

impl Schedule {
    /// Nothing is known yet.
    pub fn new(now: Instant) -> Self {
        Self {
            states: BTreeMap::new(),
            listed: BTreeSet::new(),
            wanted: Vec::new(),
            kept: VecDeque::new(),
            in_flight: BTreeMap::new(),
            tokens: Bucket::full(RATE.0, RATE.1, now),
            turns: 0,
        }
    }

    /// Takes what the watch brings.
    pub fn seen(&mut self, seen: Seen<PartialObjectMeta<FRRNodeState>>, now: Instant) -> Vec<News> {
        match seen {
            Seen::Event(Event::ListBegins) => self.listed.clear(),
            Seen::Event(Event::Listed(object)) => {
                self.listed.extend(object.metadata.uid.clone());
                return self.changed(object.metadata, now);
            }
            Seen::Event(Event::Applied(object)) => return self.changed(object.metadata, now),
            Seen::Event(Event::Deleted(object)) => {
                let ObjectMeta { name, uid, .. } = object.metadata;
                let (name, uid) = (name.unwrap_or_default(), uid.unwrap_or_default());
                if self.states.get(&name).is_some_and(|state| state.uid == uid) {
                    return self.forget(&name).into_iter().collect();
                }
            }
            // As of a `Collection`: what is younger than the list is not gone because it is not there.
            Seen::Event(Event::ListEnded { version }) => {
                let listed = std::mem::take(&mut self.listed);
                let is_gone = |state: &State| state.version <= version && !listed.contains(&state.uid);
                let gone = self.states.iter().filter(|(_, state)| is_gone(state)).map(|(name, _)| name.clone());
                return gone.collect::<Vec<_>>().iter().filter_map(|name| self.forget(name)).collect();
            }
            Seen::Missing => {
                self.states.clear();
                self.kept.clear();
                return vec![News::NoneLeft];
            }
        }
        Vec::new()
    }

    fn changed(&mut self, meta: ObjectMeta, now: Instant) -> Vec<News> {
        let (name, uid) = (meta.name.unwrap_or_default(), meta.uid.unwrap_or_default());
        let version = version(meta.resource_version.as_deref());
        let known = self.states.get(&name);
        if known.is_some_and(|state| version < state.version) {
            return Vec::new();
        }
        let replaced = known.is_some_and(|state| state.uid != uid);
        let news = if replaced { self.forget(&name) } else { None };
        let fresh = State { uid, version, fetched: 0, due: None, failures: 0 };
        let state = self.states.entry(name.clone()).or_insert(fresh);
        state.version = version;
        // A fetch that is under way may have come too early; its answer tells.
        if state.fetched < state.version && !self.in_flight.contains_key(&name) {
            self.is_due(&name, now);
        }
        news.into_iter().collect()
    }

    fn is_due(&mut self, name: &str, at: Instant) {
        if let Some(state) = self.states.get_mut(name) {
            self.turns += 1;
            state.due.get_or_insert(Due { turn: self.turns, at });
        }
    }

    fn forget(&mut self, name: &str) -> Option<News> {
        self.kept.retain(|kept| kept != name);
        let state = self.states.remove(name)?;
        Some(News::Gone(ObjectName::cluster(name), state.uid))
    }

    /// Takes the nodes that tell most. More of them than are kept would drive each other out for ever.
    pub fn want(&mut self, mut nodes: Vec<String>, now: Instant) {
        nodes.truncate(KEPT);
        for name in &nodes {
            if !self.kept.contains(name) && !self.in_flight.contains_key(name) {
                self.is_due(name, now);
            }
        }
        self.wanted = nodes;
    }

    /// Says what to do next.
    pub fn next(&mut self, now: Instant) -> Next {
        if self.in_flight.len() >= IN_FLIGHT {
            return Next::Wait(None);
        }
        if let Err(at) = self.tokens.ready(now) {
            return Next::Wait(Some(at));
        }
        let rank = |name: &String| self.wanted.iter().position(|wanted| wanted == name).unwrap_or(usize::MAX);
        let free = self.states.iter_mut().filter(|(name, _)| !self.in_flight.contains_key(*name));
        let (ready, later): (Vec<_>, Vec<_>) = free
            .filter_map(|(name, state)| state.due.map(|due| (name, state, due)))
            .partition(|(_, _, due)| due.at <= now);
        match ready.into_iter().min_by_key(|(name, _, due)| (rank(name), due.turn)) {
            Some((name, state, _)) => {
                self.tokens.spend();
                state.due = None;
                self.in_flight.insert(name.clone(), state.version);
                Next::Fetch(name.clone())
            }
            None => Next::Wait(later.into_iter().map(|(_, _, due)| due.at).min()),
        }
    }

    /// Takes the answer to a fetch.
    pub fn answered(&mut self, name: &str, answer: Answer, now: Instant) -> Vec<News> {
        let began = self.in_flight.remove(name).unwrap_or_default();
        let Some(state) = self.states.get_mut(name) else { return Vec::new() };
        match answer {
            Answer::State(object) if object.meta.uid == state.uid => {
                state.failures = 0;
                state.fetched = version(Some(&object.meta.resource_version));
                if state.fetched < state.version {
                    self.is_due(name, now);
                }
                let forgotten = self.keep(name).map(|name| News::Forgotten(ObjectName::cluster(name)));
                [News::Fetched(object)].into_iter().chain(forgotten).collect()
            }
            // Another object of the same name: the watch has told of it since the fetch began, or will.
            Answer::State(_) | Answer::Gone if state.version != began => {
                self.is_due(name, now);
                Vec::new()
            }
            Answer::State(_) | Answer::Gone => self.forget(name).into_iter().collect(),
            Answer::Failed(_) => {
                let pause = pause(RETRY, state.failures);
                state.failures += 1;
                self.is_due(name, now + pause);
                Vec::new()
            }
        }
    }

    /// Keeps the running configuration of a node; returns the one to be forgotten for it, of those that are not wanted.
    fn keep(&mut self, name: &str) -> Option<String> {
        self.kept.retain(|kept| kept != name);
        self.kept.push_back(name.to_owned());
        if self.kept.len() <= KEPT {
            return None;
        }
        let index = self.kept.iter().position(|kept| !self.wanted.contains(kept))?;
        self.kept.remove(index)
    }
}
