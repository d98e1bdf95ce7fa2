//! Prometheus metrics.

mod about;
mod catalogue;
mod figures;

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use clarion_core::{
    Figures, Stage, Waiting, World,
    endpoints::Skews,
    world::{Kind, NodeState},
};
use itertools::Itertools as _;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};
use tokio::runtime::Handle;

use self::{about::*, catalogue::Catalogue, figures::Collected};

type Labels = [(&'static str, String); 2];
type KindLabel = [(&'static str, String); 1];
/// A label of which all values are known.
type Label = [(&'static str, &'static str); 1];

/// The metrics of the process.
#[derive(Clone, Debug)]
pub struct Metrics {
    all: Arc<Mutex<Catalogue>>,
    plans: Histogram,
    stages: Family<Label, Counter<f64, AtomicU64>>,
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
    next_hop_changes: Counter,
    figures: Collected,
    otlp_records: Family<[(&'static str, &'static str); 2], Counter>,
}

/// What is exported over OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Lines of the log.
    Logs,
}

impl Signal {
    const ALL: [Self; 2] = [Self::Traces, Self::Logs];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
        }
    }
}

/// From 100 µs to 13 s, doubling.
fn histogram() -> Histogram {
    Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(0.0001, 2.0, 18))
}

/// A counter that has every value of its label from the start, so that the first of one is an increase.
fn known<C: Default + Clone>(label: &'static str, values: &[&'static str]) -> Family<Label, C> {
    let family = Family::default();
    for value in values {
        drop(family.get_or_create(&[(label, *value)]));
    }
    family
}

impl Metrics {
    /// All zero.
    pub fn new() -> Self {
        let mut all = Catalogue::new();
        let figures = Collected::default();
        let otlp_records = Family::default();
        for (signal, outcome) in Signal::ALL.iter().cartesian_product(["sent", "failed", "dropped"]) {
            drop(otlp_records.get_or_create(&[("signal", signal.name()), ("outcome", outcome)]));
        }
        all.collect(&figures::GAUGES, figures.clone());
        Self {
            plans: all.add(&PLANS, histogram()),
            stages: all.add(&STAGES, known("stage", &Stage::ALL.map(Stage::name))),
            writes: all.add(&WRITES, Family::default()),
            waiting: all.add(&WAITING, Family::default()),
            write_seconds: all.add(&WRITE_SECONDS, Family::new_with_constructor(histogram as fn() -> Histogram)),
            edge_seconds: all.add(&EDGE_SECONDS, histogram()),
            leading: all.add(&LEADING, Gauge::default()),
            tasks: all.add(&TASKS, Gauge::default()),
            conversions_failed: all.add(&CONVERSIONS_FAILED, Gauge::default()),
            reloads_failed: all.add(&RELOADS_FAILED, Gauge::default()),
            fetches: all.add(&FETCHES, known("outcome", &["ok", "gone", "failed"])),
            events: all.add(&EVENTS, known("outcome", &["written", "left_out", "failed"])),
            local_services: all.add(&LOCAL_SERVICES, Family::default()),
            greatest_skew: all.add(&GREATEST_SKEW, Gauge::default()),
            held: all.add(&HELD, Gauge::default()),
            next_hop_changes: all.add(&NEXT_HOP_CHANGES, Counter::default()),
            otlp_records: all.add(&OTLP_RECORDS, otlp_records),
            figures,
            all: Arc::new(Mutex::new(all)),
        }
    }

    /// All metrics, as a table in Markdown.
    pub fn table(&self) -> String {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).table()
    }

    /// A stage of a plan took so long.
    pub fn stage(&self, stage: Stage, took: Duration) {
        self.stages.get_or_create(&[("stage", stage.name())]).inc_by(took.as_secs_f64());
    }

    /// How things are with pools and peers now.
    pub fn figures(&self, figures: Figures) {
        self.figures.set(figures);
    }

    /// So many prefixes are to be announced from other nodes than before.
    pub fn next_hops_changed(&self, prefixes: usize) {
        self.next_hop_changes.inc_by(u64::try_from(prefixes).unwrap_or(u64::MAX));
    }

    /// So many spans or lines were exported, or were not.
    pub fn exported(&self, signal: Signal, outcome: &'static str, count: u64) {
        self.otlp_records.get_or_create(&[("signal", signal.name()), ("outcome", outcome)]).inc_by(count);
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
    pub fn written(&self, kind: Kind, outcome: &'static str, took: Duration) {
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
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String does not fail.
        let _ = encode(&mut text, all.registry());
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use clarion_core::{PeerFigures, PoolFigures, world::Family as IpFamily};

    use super::*;

    /// The labels of each metric that has samples.
    fn labels(text: &str) -> BTreeMap<&str, BTreeSet<&str>> {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let mut found = BTreeMap::<&str, BTreeSet<&str>>::new();
        for sample in samples {
            let (name, rest) = sample.split_once(['{', ' ']).unwrap();
            let name = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            let labels = rest.rsplit_once('}').map_or("", |(labels, _)| labels).split(',');
            let labels = labels.filter_map(|label| label.split_once('=')).map(|(label, _)| label);
            found.entry(name).or_default().extend(labels.filter(|label| *label != "le"));
        }
        found
    }

    fn full() -> Metrics {
        let metrics = Metrics::new();
        metrics.written(Kind::Service, "ok", Duration::from_millis(1));
        metrics.waiting("statuses", 1);
        metrics.spread(&Skews::default());
        let pool = PoolFigures { name: "main".to_owned(), family: IpFamily::V6, total: 2_f64.powi(128), assigned: 1.0 };
        let peer = PeerFigures { name: "tor".to_owned(), established: 2, down: 1, unknown: 0, prefixes: 7 };
        metrics.figures(Figures { pools: vec![pool], peers: vec![peer] });
        metrics
    }

    #[test]
    fn the_table_names_every_metric_with_its_labels() {
        let (metrics, text) = (full(), full().text());
        let found = labels(&text);
        let table = metrics.table();
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(rows.len(), found.len(), "{found:?}\n{table}");
        for (name, labels) in found {
            let row = rows.iter().find(|row| row.starts_with(&format!("| `{name}` |"))).unwrap();
            let told: BTreeSet<&str> = row.split('`').filter(|word| row.contains(&format!("`{word}`: "))).collect();
            assert_eq!(told, labels, "{row}");
        }
        assert!(Stage::ALL.iter().all(|stage| table.contains(&format!("`{}`", stage.name()))), "{table}");
    }

    #[test]
    fn who_is_deleted_has_no_series() {
        let metrics = full();
        let text = metrics.text();
        for line in [
            r#"clarion_pool_addresses{pool="main",family="IPv6"} 3.402823669209385e38"#,
            r#"clarion_peer_sessions{peer="tor",state="down"} 1"#,
            r#"clarion_peer_prefixes{peer="tor"} 7"#,
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
        metrics.figures(Figures::default());
        let text = metrics.text();
        assert!(!text.contains("main") && !text.contains("tor"), "{text}");
    }
}
