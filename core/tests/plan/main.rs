//! Plans of worlds made by hand and at random.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod allocation;
mod announcing;
mod beside;
mod brake;
mod cells;
mod cluster;
mod combinations;
mod confirmed;
mod drain_all;
mod figures;
mod mangled;
mod random;
mod reservations;
mod rules;
mod secrets;
mod sharing;
mod unbroken;
mod walk;
