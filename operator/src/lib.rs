//! The operator: watches the cluster, asks [`clarion_core::plan`] what to do, and does it.

mod apply;
mod backoff;
mod bucket;
pub mod cli;
mod clock;
mod lead;
mod limiter;
mod process;
mod reconcile;
#[cfg(test)]
mod simulation;
mod telemetry;
mod watch;
