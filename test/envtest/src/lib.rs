//! Real components for tests: etcd, kube-apiserver, FRR-K8s, MetalLB, the operator, and a proxy that misbehaves.
//!
//! Everything listens on free loopback ports and lives in temporary directories. What is started here ends with the
//! process that started it, even if that panics or is killed.

mod collector;
mod control_plane;
mod conversions;
mod converter;
pub mod crowd;
mod daemon;
pub mod etcd;
mod frr_conf;
mod helm;
pub mod history;
mod metallb;
mod operator;
mod page;
mod process;
mod proxy;
mod scrape;
mod tools;
mod transcript;
pub mod wait;
mod webhook;

pub use collector::{Collector, Manner, Span, Taken};
pub use control_plane::{ControlPlane, free_port, manifests};
pub use conversions::{Conversions, Failure};
pub use converter::{Conversion, Converter, Load};
pub use daemon::Daemon;
pub use etcd::Etcd;
pub use frr_conf::{Announced, FrrConf, FrrNeighbor, FrrRouter};
pub use helm::Helm;
pub use history::History;
pub use metallb::MetalLb;
pub use operator::Operator;
pub use page::{Block, Page};
pub use process::{Memory, Process};
pub use proxy::{Action, Proxy};
pub use scrape::Scrape;
pub use tools::{relative, repository, target, tools};
pub use transcript::{Step, Transcript, page_shows, words};
pub use webhook::Webhook;

/// Why a component could not be started or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A command that ended with a failure.
    #[error("{0} failed: {1}")]
    Command(String, String),
    /// A component that did not come up; with the end of its log.
    #[error("{name} did not come up: {why}\n--- the end of its log\n{log}")]
    NotUp {
        /// The component.
        name: String,
        /// What was waited for.
        why: String,
        /// The last lines that it logged.
        log: String,
    },
    /// Something on this machine.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Something that the API server said.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// Something with a certificate.
    #[error(transparent)]
    Certificate(#[from] rcgen::Error),
    /// Something with a manifest.
    #[error("{0} can't be read: {1}")]
    Manifest(String, String),
}
