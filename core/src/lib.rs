//! The decisions of Clarion, pure: [`plan`] takes a snapshot of the cluster and returns the writes that are safe now.
//!
//! Called again after these writes, it converges. Nothing here does I/O, reads a clock or logs; time comes in as
//! [`World::now`]. The stages, each a function from plain values to plain values:
//!
//! ```text
//! World -> config -> allocate -> hosts -> others -> session -> announce -> compose (brake) -> transition (beside others) -> report -> Plan
//! ```

pub mod address_set;
pub mod admit;
pub mod allocate;
mod annotation;
mod announce;
mod beside;
mod brake;
mod compose;
pub mod config;
pub mod endpoints;
mod finding;
mod hash;
pub mod hosts;
mod layer;
mod others;
mod plan;
pub mod replay;
mod report;
mod session;
mod stage;
pub mod text;
mod transition;
pub mod world;
mod write;

pub use brake::{Brake, Waiting, Withdrawal};
pub use finding::{Finding, Findings, Reason, Severity};
pub use hash::hash;
pub use plan::{Plan, plan, plan_first_addresses, plan_in_stages};
pub use report::{Figures, NextHops, PeerFigures, PoolFigures};
pub use stage::Stage;
pub use world::World;
pub use write::{
    ConfigurationWrite, Deferred, Event, ObjectStatus, ObjectStatusWrite, Precondition, ServiceStatusWrite, Urgency,
    Write,
};
