//! The kinds of FRR-K8s (`frrk8s.metallb.io/v1beta1`), with every field up to v0.0.27.
//!
//! Written from the upstream CRDs and checked against them. Fields that a newer version adds are kept in `unknown` on
//! reading, so that reading and writing an object loses nothing.

mod configuration;
mod state;

pub use configuration::*;
pub use state::*;

/// Fields that this version does not know, by name.
pub type Unknown = std::collections::BTreeMap<String, serde_json::Value>;
