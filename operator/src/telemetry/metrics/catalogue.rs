//! What metrics there are: each is registered with all that docs/metrics.md says of it.

use prometheus_client::{
    metrics::MetricType,
    registry::{Metric, Registry, Unit},
};

/// What all names begin with.
const PREFIX: &str = "clarion";

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its name, without what all begin with, and without its unit.
    pub name: &'static str,
    /// In seconds, rather than a number of something.
    pub in_seconds: bool,
    /// Its labels, and what values they have.
    pub labels: &'static [(&'static str, &'static str)],
    /// How many series it has at most.
    pub series: &'static str,
    /// What it tells.
    pub help: &'static str,
}

impl About {
    /// Its unit, if it has one.
    pub fn unit(&self) -> Option<Unit> {
        self.in_seconds.then_some(Unit::Seconds)
    }

    /// The name that is asked for.
    fn full_name(&self, kind: MetricType) -> String {
        let unit = if self.in_seconds { "_seconds" } else { "" };
        let total = if matches!(kind, MetricType::Counter) { "_total" } else { "" };
        format!("{PREFIX}_{}{unit}{total}", self.name)
    }

    /// A line of a table.
    fn row(&self, kind: MetricType) -> String {
        let labels = self.labels.iter().map(|(name, values)| format!("`{name}`: {values}")).collect::<Vec<_>>();
        let (labels, unit) = (labels.join("; "), if self.in_seconds { "seconds" } else { "" });
        let (name, kind) = (self.full_name(kind), kind.as_str());
        format!("| `{name}` | {kind} | {unit} | {labels} | {} | {} |\n", self.series, self.help)
    }
}

/// The registry, and what is registered.
#[derive(Debug)]
pub struct Catalogue {
    registry: Registry,
    rows: Vec<String>,
}

impl Catalogue {
    /// An empty one.
    pub fn new() -> Self {
        Self { registry: Registry::with_prefix(PREFIX), rows: Vec::new() }
    }

    /// Registers a metric; returns it.
    pub fn add<M: Metric + Clone>(&mut self, about: &About, metric: M) -> M {
        self.tell(about, metric.metric_type());
        match about.unit() {
            Some(unit) => self.registry.register_with_unit(about.name, about.help, unit, metric.clone()),
            None => self.registry.register(about.name, about.help, metric.clone()),
        }
        metric
    }

    /// Registers gauges that are collected when somebody asks.
    pub fn collect(&mut self, gauges: &[About], collector: impl prometheus_client::collector::Collector) {
        gauges.iter().for_each(|about| self.tell(about, MetricType::Gauge));
        self.registry.register_collector(Box::new(collector));
    }

    fn tell(&mut self, about: &About, kind: MetricType) {
        self.rows.push(about.row(kind));
    }

    /// For who encodes it.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// All metrics as a table in Markdown, by name.
    pub fn table(&self) -> String {
        let mut rows = self.rows.clone();
        rows.sort();
        format!(
            "| Metric | Type | Unit | Labels | Series at most | Meaning |\n|---|---|---|---|---|---|\n{}",
            rows.concat()
        )
    }
}
