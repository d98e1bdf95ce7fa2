//! Plans to the API server: newest state per object, bounded in flight, each write settled before the next of its object.

mod client;
mod events;
mod request;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use clarion_core::{
    Event, Write,
    world::{Intent, Kind, ObjectRef, World},
};
pub use client::Writer;
use events::Teller;
pub use request::Timing;
use tokio::{task::JoinSet, time::Instant};
use tracing::{debug, info, warn};

use crate::{bucket::Bucket, telemetry::Metrics};

/// FRRConfiguration writes a second. FRR-K8s's webhook serves about 20 for all writers of a cluster together.
const CONFIGURATIONS_PER_SECOND: u32 = 10;
/// FRRConfiguration writes that may follow each other at once.
const CONFIGURATIONS_BURST: u32 = 10;
/// FRRConfiguration writes in flight: each keeps the webhook busy.
const CONFIGURATIONS_IN_FLIGHT: usize = 8;
/// The shortest and the longest pause after a failed write of an object.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(30));

/// Takes what became known of an object into the world.
pub type Apply = Box<dyn FnOnce(&mut World) + Send>;

/// After so many failed writes in a row of one object, whatever the reason, users are told.
const TELL_AFTER: u32 = 3;

/// What became of a write.
pub struct Outcome {
    /// The object.
    pub object: ObjectRef,
    /// Takes what is known of the object now into the world.
    pub apply: Apply,
    /// Why the write failed, if it did.
    pub error: Option<Failure>,
    /// What is to be told of the object of this UID, now that the write has landed.
    pub event: Option<(String, Event)>,
    /// How long it took until the outcome was known.
    pub took: Duration,
}

/// Why a write failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What the API server, or the connection, said.
    pub message: String,
    /// The API server has decided, and will decide the same way again.
    pub refused: bool,
    /// Somebody else was faster; the next plan sees what they wrote.
    pub conflict: bool,
    /// How long the API server asks to wait.
    pub retry_after: Option<Duration>,
}

/// Writes that wait and writes that are under way.
pub struct Queue {
    writer: Writer,
    metrics: Metrics,
    teller: Teller,
    max_in_flight: usize,
    waiting: VecDeque<Write>,
    running: JoinSet<Outcome>,
    running_configurations: usize,
    tokens: Bucket,
    pauses: BTreeMap<ObjectRef, Pause>,
}

struct Pause {
    failures: u32,
    until: Instant,
}

impl Queue {
    /// An empty queue.
    pub fn new(writer: Writer, metrics: Metrics, max_in_flight: usize) -> Self {
        Self {
            teller: Teller::new(writer.clone(), metrics.clone()),
            writer,
            metrics,
            max_in_flight: max_in_flight.max(1),
            waiting: VecDeque::new(),
            running: JoinSet::new(),
            running_configurations: 0,
            tokens: Bucket::full(CONFIGURATIONS_PER_SECOND, CONFIGURATIONS_BURST, Instant::now()),
            pauses: BTreeMap::new(),
        }
    }

    /// Replaces what waits: a newer plan knows better. Plans come in the order of their urgency.
    pub fn replace(&mut self, writes: Vec<Write>) {
        self.waiting = writes.into();
        // Who has nothing to be written any more begins anew.
        let now = Instant::now();
        let waiting: BTreeSet<ObjectRef> = self.waiting.iter().map(Write::object).collect();
        self.pauses.retain(|object, pause| pause.until > now || waiting.contains(object));
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Whether nothing waits either, but for a pause or a token to come.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// Starts whatever may start now, and marks it as unsettled in the world. Returns when more may start by the passing of
    /// time alone.
    pub fn start(&mut self, world: &mut World) -> Option<Instant> {
        let mut wake: Option<Instant> = None;
        let mut later = VecDeque::new();
        let mut earlier = |at: Instant| wake = Some(wake.map_or(at, |wake| wake.min(at)));
        while let Some(write) = self.waiting.pop_front() {
            if self.running.len() >= self.max_in_flight {
                later.push_back(write);
                break;
            }
            let object = write.object();
            let now = Instant::now();
            if let Some(pause) = self.pauses.get(&object).filter(|pause| pause.until > now) {
                earlier(pause.until);
                later.push_back(write);
                continue;
            }
            if object.kind == Kind::FRRConfiguration {
                if self.running_configurations >= CONFIGURATIONS_IN_FLIGHT {
                    later.push_back(write);
                    continue;
                }
                if let Err(at) = self.tokens.take(now) {
                    earlier(at);
                    later.push_back(write);
                    continue;
                }
                self.running_configurations += 1;
            }
            world.unsettled.insert(object, Intent::of(&write));
            let writer = self.writer.clone();
            self.running.spawn(async move { writer.perform(write).await });
        }
        later.append(&mut self.waiting);
        self.waiting = later;
        wake
    }

    /// Waits for a write to be settled. Never returns while none is under way.
    pub async fn settled(&mut self) -> Outcome {
        loop {
            match self.running.join_next().await {
                Some(Ok(outcome)) => return outcome,
                // Tasks are neither aborted nor do they panic; if one did, its object stays unsettled.
                Some(Err(error)) => warn!(%error, "a write ended without an outcome"),
                None => std::future::pending().await,
            }
        }
    }

    /// Waits for Events under way.
    pub async fn finish_telling(&mut self) {
        self.teller.finish().await;
    }

    /// Takes an outcome into the world, and pauses the object if its write failed.
    pub fn take(&mut self, outcome: Outcome, world: &mut World) {
        let Outcome { object, apply, error, event, took } = outcome;
        if object.kind == Kind::FRRConfiguration {
            self.running_configurations = self.running_configurations.saturating_sub(1);
        }
        world.unsettled.remove(&object);
        apply(world);
        self.metrics.written(object.kind, error.as_ref(), took);
        match error {
            None => {
                debug!(%object, took_ms = took.as_millis(), "written");
                world.refused.remove(&object);
                self.pauses.remove(&object);
                if let Some((uid, event)) = event {
                    self.teller.tell(object, uid, event);
                }
            }
            Some(failure) => {
                info!(%object, error = failure.message, conflict = failure.conflict, "not written");
                let pause = self.pauses.entry(object.clone()).or_insert(Pause { failures: 0, until: Instant::now() });
                let wait = RETRY.0.saturating_mul(1 << pause.failures.min(10)).min(RETRY.1);
                // The first conflict is the ordinary course of things, and the plan that follows has seen it.
                let wait = if failure.conflict && pause.failures == 0 { Duration::ZERO } else { wait };
                pause.failures += 1;
                pause.until = Instant::now() + failure.retry_after.unwrap_or(wait);
                // A single lost answer is nothing to tell users of.
                if failure.refused || (!failure.conflict && pause.failures >= TELL_AFTER) {
                    world.refused.insert(object, failure.message);
                }
            }
        }
    }
}
