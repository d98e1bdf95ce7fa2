//! A network on one machine: nodes with FRR-K8s and FRR, routers with FRR, clients, and Clarion on a real API server.
//!
//! Everything runs in network, mount and PID namespaces of its own. The kernel ends all of it with the process that began
//! it, however that ends, and nothing has a name or an address that another such network could meet.

mod enter;
mod frr;
mod lab;
mod node;
mod router;
mod space;
mod topology;
mod traffic;

pub use enter::{enter, runtime, way_in};
pub use frr::{Frr, Log, Mark};
pub use lab::{Lab, NODES_ASN, service_with};
pub use node::{Node, Pace};
pub use router::{Route, Router, Session};
pub use space::Space;
pub use topology::Topology;
pub use traffic::{Client, Traffic};

/// Why something of the network could not be started or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine lacks something.
    #[error("{0}")]
    Missing(String),
    /// A command that ended with a failure.
    #[error("{0} failed: {1}")]
    Command(String, String),
    /// The topology names something that it does not have, or can't have.
    #[error("the topology is wrong: {0}")]
    Topology(String),
    /// What was waited for did not come.
    #[error("{0}")]
    Never(String),
    /// A component of the control plane.
    #[error(transparent)]
    Component(#[from] clarion_envtest::Error),
    /// Something on this machine.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Something that the API server said.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// Something that FRR printed.
    #[error("what FRR printed can't be read: {0}")]
    Json(#[from] serde_json::Error),
}
