//! Prometheus metrics.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use clarion_core::{
    Waiting, World,
    endpoints::Skews,
    world::{Kind, NodeState},
};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use tokio::runtime::Handle;

use crate::apply::{Cause, Failure};

type Labels = [(&'static str, String); 2];
type KindLabel = [(&'static str, String); 1];
/// A label of which all values are known.
type Label = [(&'static str, &'static str); 1];

/// The metrics of the process.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    plans: Histogram,
    writes: Family<Labels, Counter>,
    waiting: Family<Label, Gauge>,
    write_seconds: Family<KindLabel, Histogram>,
    edge_seconds: Histogram,
    leading: Gauge,
    tasks: Gauge,
    conversions_failed: Gauge,
    reloads_failed: Gauge,
    fetches: Family<Label, Counter>,
    events: Family<Label, Counter>,
    local_services: Family<Label, Gauge>,
    greatest_skew: Gauge<f64, AtomicU64>,
    held: Gauge,
}

/// From 100 µs to 13 s, doubling.
fn histogram() -> Histogram {
    Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(0.0001, 2.0, 18))
}

/// What came of fetching an FRRNodeState.
const FETCHES: [&str; 3] = ["ok", "gone", "failed"];
/// What came of an Event.
const EVENTS: [&str; 3] = ["written", "left_out", "failed"];

/// A counter that has every outcome from the start, so that the first of one is an increase.
fn outcomes(all: &[&'static str]) -> Family<Label, Counter> {
    let family = Family::<Label, Counter>::default();
    for outcome in all {
        drop(family.get_or_create(&[("outcome", *outcome)]));
    }
    family
}

impl Metrics {
    /// All zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("clarion");
        let (plans, edge_seconds) = (histogram(), histogram());
        let write_seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        let (writes, waiting, leading) = (Family::default(), Family::default(), Gauge::default());
        registry.register_with_unit("plan", "Time to make a plan", Unit::Seconds, plans.clone());
        registry.register("writes", "Writes to the API server by kind and outcome", writes.clone());
        registry.register(
            "writes_waiting",
            "Objects that are to be written as soon as it is their turn, by lane: configurations (FRRConfigurations) or statuses",
            waiting.clone(),
        );
        registry.register_with_unit(
            "write",
            "Time until the outcome of a write was known, by kind",
            Unit::Seconds,
            write_seconds.clone(),
        );
        registry.register_with_unit(
            "edge_to_write",
            "Time from the first change that a plan took up to its first write",
            Unit::Seconds,
            edge_seconds.clone(),
        );
        registry.register("leading", "1 if this process has the Lease", leading.clone());
        let (tasks, conversions_failed, reloads_failed) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register(
            "tasks",
            "Tasks of the process that have not ended: watches, requests under way, and those that it always has",
            tasks.clone(),
        );
        registry.register(
            "nodes_conversion_failed",
            "Nodes where FRR-K8s could not convert the FRRConfigurations, so that none of them is in effect",
            conversions_failed.clone(),
        );
        registry.register(
            "nodes_reload_failed",
            "Nodes where FRR did not take its new configuration",
            reloads_failed.clone(),
        );
        let (fetches, events) = (outcomes(&FETCHES), outcomes(&EVENTS));
        registry.register("node_state_fetches", "FRRNodeStates fetched, by outcome", fetches.clone());
        registry.register(
            "events",
            "Events by outcome: written, failed, or left out to bound their rate",
            events.clone(),
        );
        let (local_services, greatest_skew) = (Family::default(), Gauge::default());
        registry.register(
            "local_services",
            "Announced Services with externalTrafficPolicy Local, by how many times its even share of the connections the \
             busiest endpoint gets",
            local_services.clone(),
        );
        registry.register(
            "local_services_greatest_skew",
            "How many times its even share of the connections the busiest endpoint of any Service gets; 0 without such Services",
            greatest_skew.clone(),
        );
        let held = Gauge::default();
        registry.register(
            "withdrawals_held",
            "Prefixes that would be withdrawn from routers, each counted once a router, and wait for somebody to agree",
            held.clone(),
        );
        Self {
            registry: Arc::new(Mutex::new(registry)),
            plans,
            writes,
            waiting,
            write_seconds,
            edge_seconds,
            leading,
            tasks,
            conversions_failed,
            reloads_failed,
            fetches,
            events,
            local_services,
            greatest_skew,
            held,
        }
    }

    /// A plan was made.
    pub fn planned(&self, took: Duration) {
        self.plans.observe(took.as_secs_f64());
    }

    /// The first write of a plan has started, so long after the first change that led to it.
    pub fn reacted(&self, after: Duration) {
        self.edge_seconds.observe(after.as_secs_f64());
    }

    /// The outcome of a write is known.
    pub fn written(&self, kind: Kind, failure: Option<&Failure>, took: Duration) {
        let outcome = match failure {
            None => "ok",
            Some(failure) if failure.cause == Cause::Conflict => "conflict",
            Some(_) => "failed",
        };
        let kind = ("kind", kind.to_string());
        self.writes.get_or_create(&[kind.clone(), ("outcome", outcome.to_owned())]).inc();
        self.write_seconds.get_or_create(&[kind]).observe(took.as_secs_f64());
    }

    /// So many writes of a lane wait.
    pub fn waiting(&self, lane: &'static str, count: usize) {
        self.waiting.get_or_create(&[("lane", lane)]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// What the daemons report now.
    pub fn reported(&self, world: &World) {
        let count = |failed: fn(&NodeState) -> bool| {
            i64::try_from(world.node_states.iter().filter(|state| failed(&state.value)).count()).unwrap_or(i64::MAX)
        };
        self.conversions_failed.set(count(|state| state.conversion.failure().is_some()));
        self.reloads_failed.set(count(|state| state.reload.failure().is_some()));
    }

    /// How uneven the load of endpoints is now.
    pub fn spread(&self, skews: &Skews) {
        for ((range, _), services) in Skews::RANGES.iter().zip(skews.services) {
            let services = i64::try_from(services).unwrap_or(i64::MAX);
            self.local_services.get_or_create(&[("skew", *range)]).set(services);
        }
        self.greatest_skew.set(skews.greatest);
    }

    /// What waits for somebody to agree now.
    pub fn held(&self, waiting: Option<&Waiting>) {
        let prefixes: usize = waiting.into_iter().flat_map(|w| &w.withdrawals).map(|w| w.prefixes.len()).sum();
        self.held.set(i64::try_from(prefixes).unwrap_or(i64::MAX));
    }

    /// An FRRNodeState was asked for.
    pub fn fetched(&self, outcome: &'static str) {
        self.fetches.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// An Event was written, or was not.
    pub fn told(&self, outcome: &'static str) {
        self.events.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Whether this process has the Lease.
    pub fn leading(&self, leading: bool) {
        self.leading.set(i64::from(leading));
    }

    /// In the text format that Prometheus scrapes.
    pub fn text(&self) -> String {
        if let Ok(runtime) = Handle::try_current() {
            self.tasks.set(i64::try_from(runtime.metrics().num_alive_tasks()).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}
