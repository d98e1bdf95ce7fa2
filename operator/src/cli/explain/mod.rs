//! `clarion explain`

pub mod address;
pub mod node;
pub mod peer;
pub mod service;

use std::net::IpAddr;

use clap::{Args, Subcommand};
use clarion_core::world::ObjectName;

use super::{frr::BadSelector, view};

/// Tell why something is as it is, with the object behind each step
#[derive(Debug, Args)]
pub struct Explain {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Why a Service has its addresses, or none, and where they are announced, or why not
    Service(service::ExplainService),
    /// Which pool has an address, who holds it, and which FRRConfigurations announce it
    Address(address::ExplainAddress),
    /// Whether a node announces, what its daemon makes of all FRRConfigurations, and which of them each line is from
    Node(node::ExplainNode),
    /// Which nodes have a session with a peer, on which terms, and what is offered to it
    Peer(peer::ExplainPeer),
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    View(#[from] view::Error),
    #[error(transparent)]
    Selector(#[from] BadSelector),
    #[error("there is no Service {0}")]
    NoService(ObjectName),
    #[error("there is no Node {0:?}")]
    NoNode(String),
    #[error("there is no RouterPeer {0:?}")]
    NoPeer(String),
    #[error("{0} is in no LoadBalancerPool, and nobody has or announces it")]
    NoAddress(IpAddr),
}

impl Explain {
    pub fn execute(self) -> Result<(), Error> {
        match self.what {
            What::Service(explain) => explain.execute(),
            What::Address(explain) => explain.execute(),
            What::Node(explain) => explain.execute(),
            What::Peer(explain) => explain.execute(),
        }
    }
}

/// `NAMESPACE/NAME`, or a name in the namespace `default`.
pub fn object_name(text: &str) -> ObjectName {
    let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
    ObjectName::new(namespace, name)
}
