//! Plans to the API server: newest state per object, the most urgent first, bounded in flight, each write settled before the
//! next of its object.

mod client;
mod events;
mod lane;
mod request;
mod window;

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
    time::Duration,
};

use clarion_core::{
    Deferred, Event, ServiceStatusWrite, Write,
    world::{Intent, Kind, Layer, ObjectRef, World},
};
pub use client::{Writer, with_causes};
use events::Teller;
use lane::{Answer, Lane};
use smol_str::SmolStr;
use tokio::{task::JoinSet, time::Instant};
use tracing::{Instrument as _, Span, debug, field, info, info_span, warn};

use crate::{backoff::pause, bucket::Bucket, telemetry::Metrics};

/// FRRConfiguration writes a second. FRR-K8s's webhook serves about 20 for all writers of a cluster together.
const CONFIGURATIONS_PER_SECOND: u32 = 10;
/// FRRConfiguration writes that may follow each other at once.
const CONFIGURATIONS_BURST: u32 = 10;
/// FRRConfiguration writes in flight at most, where the webhook answers soon ([`window`]).
const CONFIGURATIONS_IN_FLIGHT: usize = 8;
/// How long the API server may take for a write of an FRRConfiguration: longer than the ten seconds that it gives the webhook, so
/// that it can still say that the webhook was the reason.
const CONFIGURATION_TIMEOUT: Duration = Duration::from_secs(12);
/// How long it may take for any other write. One of which the answer is lost is uncertain for so long, and
/// an [`OVERTIME`](crate::lead::OVERTIME).
const STATUS_TIMEOUT: Duration = Duration::from_secs(4);
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
    pub event: Option<(SmolStr, Event)>,
    /// When it was sent.
    pub started: Instant,
    /// When the outcome was known.
    pub ended: Instant,
}

impl Outcome {
    /// Its name in metrics and traces.
    pub fn name(&self) -> &'static str {
        match &self.error {
            None => "ok",
            Some(failure) if failure.cause == Cause::Conflict => "conflict",
            Some(_) => "failed",
        }
    }
}

/// Why a write failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What the API server, or the connection, said.
    pub message: String,
    /// What follows from it.
    pub cause: Cause,
    /// How long the API server asks to wait.
    pub retry_after: Option<Duration>,
}

/// What a failed write means for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The API server has decided, and will decide the same way again.
    Refused,
    /// Somebody else was faster; the next plan sees what they wrote.
    Conflict,
    /// The API server, or a webhook that it has to ask, has too much to do, or can't be reached.
    Busy,
}

/// Writes that wait and writes that are under way.
pub struct Queue {
    writer: Writer,
    metrics: Metrics,
    teller: Teller,
    running: JoinSet<Outcome>,
    /// They go through a webhook that is soon busy.
    configurations: Lane,
    /// All other writes: they need not wait for FRRConfigurations, nor those for them.
    statuses: Lane,
    pauses: BTreeMap<ObjectRef, Pause>,
}

struct Pause {
    failures: u32,
    until: Instant,
}

impl Queue {
    /// An empty queue with so many statuses in flight at most.
    pub fn new(writer: Writer, metrics: Metrics, max_in_flight: usize) -> Self {
        let tokens = Bucket::full(CONFIGURATIONS_PER_SECOND, CONFIGURATIONS_BURST, Instant::now());
        Self {
            teller: Teller::new(writer.clone(), metrics.clone()),
            writer,
            metrics,
            running: JoinSet::new(),
            configurations: Lane::new(CONFIGURATIONS_IN_FLIGHT, Some(tokens)),
            statuses: Lane::new(max_in_flight, None),
            pauses: BTreeMap::new(),
        }
    }

    /// Drops what waits, because a newer plan is about to replace it: the writes of both together would take twice the memory.
    pub fn outdate(&mut self) {
        self.configurations.outdate();
        self.statuses.outdate();
    }

    /// Replaces what waits: a newer plan knows better.
    pub fn replace(&mut self, writes: Vec<Write>, mut deferred: Vec<Deferred>) {
        let now = Instant::now();
        // No node is kept free for what could not start anyway.
        for write in &mut deferred {
            if self.pauses.get(&write.object).is_some_and(|pause| pause.until > now) {
                write.hosts.clear();
            }
        }
        let (configurations, statuses) = writes.into_iter().partition(|write| matches!(write, Write::Configuration(_)));
        let is_configuration = |write: &Deferred| write.object.kind == Kind::FRRConfiguration;
        let (later_configurations, later_statuses): (Vec<_>, Vec<_>) = deferred.into_iter().partition(is_configuration);
        self.configurations.replace(configurations, &later_configurations, now);
        self.statuses.replace(statuses, &later_statuses, now);
        // Who has nothing to be written any more begins anew.
        let (configurations, statuses) = (&self.configurations, &self.statuses);
        self.pauses.retain(|object, pause| pause.until > now || configurations.holds(object) || statuses.holds(object));
    }

    /// Takes what gives Services their first addresses, if nothing waits that says who has which ([`Queue::has_addresses`]): this is
    /// no plan, which knows better than what waits, and may give the same address to somebody else.
    pub fn give(&mut self, writes: Vec<Write>) {
        if writes.is_empty() {
            return;
        }
        let taken = about_to_be_announced(&self.configurations);
        let writes = writes.into_iter().filter(|write| is_clear_of(write, &taken)).collect();
        self.statuses.add(writes, Instant::now());
    }

    /// Whether a status waits that says who has which address.
    pub fn has_addresses(&self) -> bool {
        self.statuses.iter().any(|write| match write {
            Write::ServiceStatus(write) => write.addresses.is_some(),
            Write::ObjectStatus(write) => write.object.kind == Kind::AddressReservation,
            Write::Configuration(_) => false,
        })
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Whether statuses are being written: as fast as the API server takes them, so that planning takes time from it.
    pub fn is_pressed(&self) -> bool {
        !self.statuses.is_idle()
    }

    /// Whether nothing waits either, but for a pause or a token to come.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty() && self.configurations.is_empty() && self.statuses.is_empty()
    }

    /// Starts whatever may start now and end within a time, and marks it as unsettled in the world. Returns when more may start
    /// by the passing of time alone.
    pub fn start(&mut self, world: &mut World, within: Duration) -> Option<Instant> {
        let now = Instant::now();
        let pauses = &self.pauses;
        let mut wake: Option<Instant> = None;
        let lanes = [
            ("configurations", &mut self.configurations, CONFIGURATION_TIMEOUT),
            ("statuses", &mut self.statuses, STATUS_TIMEOUT),
        ];
        for (name, lane, timeout) in lanes {
            let later = loop {
                match lane.next(now, |object| pauses.get(object).map(|pause| pause.until)) {
                    Ok(write) => {
                        let object = write.object();
                        let (kind, urgency) = (object.kind, write.urgency());
                        let span = info_span!("write", %kind, object = %object.name, ?urgency, outcome = field::Empty);
                        world.unsettled.insert(object, Intent::of(&write));
                        let writer = self.writer.within(timeout.min(within));
                        let perform = async move {
                            let outcome = writer.perform(write).await;
                            Span::current().record("outcome", outcome.name());
                            outcome
                        };
                        self.running.spawn(perform.instrument(span));
                    }
                    Err(later) => break later,
                }
            };
            self.metrics.waiting(name, lane.backlog());
            wake = [wake, later].into_iter().flatten().min();
        }
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
        let name = outcome.name();
        let Outcome { object, apply, error, event, started, ended } = outcome;
        let now = Instant::now();
        let took = ended.saturating_duration_since(started);
        let lane = match object.kind {
            Kind::FRRConfiguration => &mut self.configurations,
            _ => &mut self.statuses,
        };
        let asked = error.as_ref().and_then(|failure| failure.retry_after).map(|wait| now + jittered(wait));
        let answer = match &error {
            Some(failure) if failure.cause == Cause::Busy => Answer::Overloaded { until: asked },
            _ => Answer::Decided,
        };
        lane.settled(answer, started, ended);
        world.unsettled.remove(&object);
        apply(world);
        self.metrics.written(object.kind, name, took);
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
                info!(%object, error = failure.message, cause = ?failure.cause, "not written");
                let pause = self.pauses.entry(object.clone()).or_insert(Pause { failures: 0, until: now });
                pause.until = asked.unwrap_or_else(|| now + backoff(failure.cause, pause.failures));
                pause.failures += 1;
                // A single lost answer is nothing to tell users of.
                let tell = match failure.cause {
                    Cause::Refused => true,
                    Cause::Conflict => false,
                    Cause::Busy => pause.failures >= TELL_AFTER,
                };
                if tell {
                    world.refused.insert(object, failure.message);
                }
            }
        }
    }
}

/// The addresses that something which waits would announce.
fn about_to_be_announced(waiting: &Lane) -> HashSet<IpAddr> {
    // In a large cluster many say the same.
    let layers = Layer::distinct(waiting.iter().filter_map(Write::layer));
    layers.flat_map(|layer| layer.content.addresses()).collect()
}

/// Whether a write gives none of these addresses: they are announced for somebody who had them, and is gone.
fn is_clear_of(write: &Write, taken: &HashSet<IpAddr>) -> bool {
    let Write::ServiceStatus(ServiceStatusWrite { addresses, .. }) = write else { return true };
    !addresses.iter().flatten().any(|address| taken.contains(address))
}

/// How long to wait after a failure with so many before it in a row: twice as long each time, and never all at the same time.
fn backoff(cause: Cause, failures: u32) -> Duration {
    // The first conflict is the ordinary course of things, and the plan that follows has seen it.
    if cause == Cause::Conflict && failures == 0 {
        return Duration::ZERO;
    }
    jittered(pause(RETRY, failures) / 2)
}

/// Between once and twice as long.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(1.0 + fastrand::f64())
}

#[cfg(test)]
mod tests {
    use clarion_api::names;
    use clarion_core::{
        ConfigurationWrite, Precondition,
        world::{Configuration, ObjectName},
    };
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn announcement(prefix: &str) -> Write {
        let neighbor =
            json!({"address": "192.0.2.1", "asn": 64513, "toAdvertise": {"allowed": {"prefixes": [prefix]}}});
        let router = json!({"asn": 64512, "prefixes": [prefix], "neighbors": [neighbor]});
        let spec = serde_json::from_value(json!({"bgp": {"routers": [router]}})).unwrap();
        let name = ObjectName::new("frr-k8s-system", "clarion-base-1");
        let labels = BTreeMap::from([(names::MANAGED_BY_LABEL.to_owned(), names::FIELD_MANAGER.to_owned())]);
        let layer = Configuration::new(&name, &labels, BTreeMap::new(), spec).layer;
        Write::Configuration(ConfigurationWrite::Create { name, labels, annotations: BTreeMap::new(), layer })
    }

    #[rstest]
    #[case::of_somebody_before(&["10.0.0.1/32"], false)]
    #[case::of_others(&["10.0.0.2/32", "10.0.0.0/24"], true)]
    #[case::nothing_waits(&[], true)]
    fn no_address_is_given_that_is_about_to_be_announced(#[case] waiting: &[&str], #[case] expected: bool) {
        let mut lane = Lane::new(1, None);
        lane.replace(waiting.iter().map(|prefix| announcement(prefix)).collect(), &[], Instant::now());
        let gift = Write::ServiceStatus(ServiceStatusWrite {
            name: ObjectName::new("shop", "a"),
            precondition: Precondition { uid: "u".into(), resource_version: "1".into() },
            addresses: Some(vec!["10.0.0.1".parse().unwrap()]),
            conditions: Vec::new(),
            remove_conditions: Vec::new(),
            event: None,
        });
        assert_eq!(is_clear_of(&gift, &about_to_be_announced(&lane)), expected);
    }

    #[rstest]
    #[case::first(Cause::Busy, 0, 25, 50)]
    #[case::second(Cause::Busy, 1, 50, 100)]
    #[case::tenth(Cause::Refused, 9, 12_800, 25_600)]
    #[case::hundredth(Cause::Busy, 99, 15_000, 30_000)]
    #[case::second_conflict(Cause::Conflict, 1, 50, 100)]
    fn failures_wait_twice_as_long_each_time_and_not_all_as_long(
        #[case] cause: Cause,
        #[case] failures: u32,
        #[case] shortest: u64,
        #[case] longest: u64,
    ) {
        let waits: Vec<Duration> = (0..100).map(|_| backoff(cause, failures)).collect();
        let between = Duration::from_millis(shortest)..=Duration::from_millis(longest);
        assert!(waits.iter().all(|wait| between.contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }

    #[test]
    fn the_first_conflict_waits_for_nothing() {
        assert_eq!(backoff(Cause::Conflict, 0), Duration::ZERO);
    }

    #[test]
    fn nothing_is_sent_earlier_than_the_api_server_asks() {
        let asked = Duration::from_secs(2);
        assert!((0..100).map(|_| jittered(asked)).all(|wait| wait >= asked && wait <= 2 * asked));
    }
}
