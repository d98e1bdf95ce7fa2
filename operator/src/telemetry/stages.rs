//! How long a plan takes, and each of its stages.

use std::time::Duration;

use clarion_core::{Plan, Stage, World, plan_in_stages};
use tokio::time::Instant;

use super::Metrics;

/// Makes a plan; returns with it how long that took.
pub fn plan(world: &World, metrics: &Metrics) -> (Plan, Duration) {
    let started = Instant::now();
    let mut stages = Stages { metrics, current: None };
    let plan = plan_in_stages(world, &mut |stage| stages.begin(stage));
    stages.end();
    let took = started.elapsed();
    metrics.planned(took);
    (plan, took)
}

struct Stages<'m> {
    metrics: &'m Metrics,
    current: Option<(Stage, Instant)>,
}

impl Stages<'_> {
    fn begin(&mut self, stage: Stage) {
        self.end();
        self.current = Some((stage, Instant::now()));
    }

    fn end(&mut self) {
        if let Some((stage, since)) = self.current.take() {
            self.metrics.stage(stage, since.elapsed());
        }
    }
}
