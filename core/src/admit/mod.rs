//! The merge of FRR-K8s's daemon: what one node makes of all FRRConfigurations that select it.
//!
//! [`selects`] tells which do, [`merge`] what comes of them, or why nothing does: one error, in whichever object, and the
//! daemon leaves the whole node as it was. Every check is one of FRR-K8s v0.0.26, named where it stands by file and
//! function (`api_to_config.go` and `merge.go` of `internal/controller`). What only v0.0.27 has is marked so.
//!
//! What this does not know:
//! - Secrets. The daemon compares passwords; here a `passwordSecret` is its name. Two names are taken to differ, as are a
//!   Secret and a password in clear text; whether the Secret exists, is of the right type and has a password is not asked.
//! - The order of objects, which is not defined: of `enableGracefulRestart` the first object's value holds.
//! - FRR, which is given what comes of this, names and passwords unescaped, and may refuse it.
//! - The daemon's own flags and machine: prefixes that it always refuses, the router ID of a machine without IPv4.
//!
//! What the CRD's schema refuses (more than 50 routers, a BFD interval of 5 ms) can't be in the cluster, and is not asked
//! again; but what passes the schema and can't be decoded by the daemon is refused.

mod convert;
mod digest;
mod go;
mod merge;
mod node;
mod refusal;
mod select;
#[cfg(test)]
mod tests;

use clarion_api::frr::FrrConfigurationSpec;
pub use digest::Digest;
pub use merge::{Seen, SeenRoute};
pub use node::{Attributes, Families, Filter, Neighbor, NextHops, NodeConfig, Parameters, Password, Received, Router};
pub use refusal::{Fault, Refusal};
pub use select::{SelectorError, parse, selects};

use crate::world::ObjectName;

/// An FRRConfiguration.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Its name.
    pub name: &'a ObjectName,
    /// What it says.
    pub spec: &'a FrrConfigurationSpec,
}

/// What the daemon of a node makes of the FRRConfigurations that select it (`apiToFRR`).
///
/// Where two objects are at odds, the later one is the one that is refused: give first what is to stay.
///
/// # Errors
/// With the first fault that is found.
pub fn merge<'a>(objects: impl IntoIterator<Item = Named<'a>>) -> Result<NodeConfig, Box<Refusal>> {
    let mut merging = Merging::default();
    for object in objects {
        merging.add(object)?;
    }
    merging.finish()
}

/// A merge to which objects are added one by one, so that it can be seen what a further one would do.
#[derive(Clone, Default)]
pub struct Merging<'a>(merge::Merged<'a>);

impl<'a> Merging<'a> {
    /// Adds an object.
    ///
    /// # Errors
    /// If it has a fault, or is at odds with what was added before. Parts of it may have been added then.
    pub fn add(&mut self, object: Named<'a>) -> Result<(), Box<Refusal>> {
        self.0.add(object)
    }

    /// The sessions so far.
    pub fn sessions(&self) -> impl Iterator<Item = Seen<'_>> {
        self.0.sessions()
    }

    /// What the node ends up with.
    ///
    /// # Errors
    /// If only the whole shows what is wrong.
    pub fn finish(self) -> Result<NodeConfig, Box<Refusal>> {
        self.0.finish()
    }
}
