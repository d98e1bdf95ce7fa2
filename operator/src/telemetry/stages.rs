//! How long a plan takes, and each of its stages.

use std::time::Duration;

use clarion_core::{Plan, Stage, World, Write, plan_first_addresses, plan_in_stages};
use tokio::time::Instant;
use tracing::{info_span, span::EnteredSpan};

use super::Metrics;

/// Makes a plan; returns with it how long that took.
pub fn plan(world: &World, metrics: &Metrics) -> (Plan, Duration) {
    let span = info_span!("plan", services = world.services.len(), writes = tracing::field::Empty).entered();
    let started = Instant::now();
    let mut stages = Stages { metrics, current: None };
    let plan = plan_in_stages(world, &mut |stage| stages.begin(stage));
    stages.end();
    let took = started.elapsed();
    metrics.planned(took);
    span.record("writes", plan.writes.len());
    (plan, took)
}

/// Plans first addresses alone; returns with the writes how long that took.
pub fn first_addresses(world: &World, metrics: &Metrics) -> (Vec<Write>, Duration) {
    let span = info_span!("first addresses", services = world.services.len(), writes = tracing::field::Empty).entered();
    let started = Instant::now();
    let mut stages = Stages { metrics, current: None };
    let writes = plan_first_addresses(world, &mut |stage| stages.begin(stage));
    stages.end();
    span.record("writes", writes.len());
    (writes, started.elapsed())
}

struct Stages<'m> {
    metrics: &'m Metrics,
    current: Option<(Stage, Instant, EnteredSpan)>,
}

impl Stages<'_> {
    fn begin(&mut self, stage: Stage) {
        self.end();
        self.current = Some((stage, Instant::now(), info_span!("stage", otel.name = stage.name()).entered()));
    }

    fn end(&mut self) {
        if let Some((stage, since, _span)) = self.current.take() {
            self.metrics.stage(stage, since.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_in_the_midst_of_a_plan_is_answered() {
        let metrics = Metrics::new();
        let mut stages = Stages { metrics: &metrics, current: None };
        let mut scrapes = Vec::new();
        drop(plan_in_stages(&World::default(), &mut |stage| {
            stages.begin(stage);
            scrapes.push(metrics.text());
        }));
        assert_eq!(scrapes.len(), Stage::ALL.len());
        assert!(scrapes.iter().all(|text| text.contains("clarion_plan_stage_seconds_total{stage=\"report\"} 0")));
        stages.end();
        assert!(!metrics.text().contains("clarion_plan_stage_seconds_total{stage=\"report\"} 0.0\n"));
    }
}
