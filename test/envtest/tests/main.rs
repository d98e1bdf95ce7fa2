//! Tests against real components: a control plane for each test, the operator as a process, FRR-K8s's own daemon.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod admit;
mod allocation;
mod bad_inputs;
mod beside;
mod brake;
mod cells;
mod closed_loop;
mod cluster;
mod commands;
mod crds;
mod cutover;
mod deployment;
mod documents;
mod drain_all;
mod faults;
mod feedback;
mod first_address;
mod frr_types;
mod frr_versions;
mod golden;
mod handover;
mod import;
mod kubernetes_versions;
mod otlp;
mod overload;
mod packages;
mod removal;
mod rights;
mod rivals;
mod scrapes;
mod storms;
mod threats;
mod transition;
mod upgrade;
