//! The operator: watches the cluster, asks [`clarion_core::plan`] what to do, and does it.

mod apply;
mod bucket;
pub mod cli;
mod lead;
mod reconcile;
mod telemetry;
mod watch;
