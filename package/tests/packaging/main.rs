//! What is installed, however it is installed: judged by the real tools, and compared with each other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod alerts;
mod crds;
mod helm;
mod kustomize;
mod olm;
mod plugin;
mod release;
mod tools;
mod ways;
