//! The kinds of FRR-K8s (`frrk8s.metallb.io/v1beta1`), with every field up to v0.0.27.
//!
//! Written from the upstream CRDs and checked against them. Fields that a newer version adds are kept in `unknown` on
//! reading, so that reading and writing an object loses nothing.

mod configuration;
mod state;

pub use configuration::*;
pub use state::*;

/// Fields of an FRRConfiguration that Clarion writes where a user asks for what they do, and that some version of FRR-K8s
/// does not have, by their path in its CRD.
pub mod field {
    /// v0.0.15.
    pub const DYNAMIC_ASN: &str = "spec.bgp.routers.neighbors.dynamicASN";
    /// v0.0.17.
    pub const INTERFACE: &str = "spec.bgp.routers.neighbors.interface";
    /// v0.0.12.
    pub const SOURCE_ADDRESS: &str = "spec.bgp.routers.neighbors.sourceaddress";
    /// v0.0.24.
    pub const LOCAL_ASN: &str = "spec.bgp.routers.neighbors.localASN";
    /// Not in the first versions.
    pub const CONNECT_TIME: &str = "spec.bgp.routers.neighbors.connectTime";
    /// Not in the first versions.
    pub const GRACEFUL_RESTART: &str = "spec.bgp.routers.neighbors.enableGracefulRestart";
    /// v0.0.19.
    pub const DUAL_STACK: &str = "spec.bgp.routers.neighbors.dualStackAddressFamily";
    /// v0.0.26.
    pub const NEXT_HOP: &str = "spec.bgp.routers.neighbors.toAdvertise.nextHop";
    /// v0.0.27.
    pub const AS_PATH_PREPEND: &str = "spec.bgp.routers.neighbors.toAdvertise.withAsPathPrepend";
    /// All of them, with the fields of Clarion's objects that need them.
    pub const ALL: [(&str, &str); 9] = [
        (DYNAMIC_ASN, "RouterPeer dynamicASN"),
        (INTERFACE, "RouterPeer interface"),
        (SOURCE_ADDRESS, "RouterPeer sourceAddress"),
        (LOCAL_ASN, "RouterPeer localASN"),
        (CONNECT_TIME, "RouterPeer connectTime"),
        (GRACEFUL_RESTART, "RouterPeer enableGracefulRestart"),
        (DUAL_STACK, "RouterPeer dualStackAddressFamily"),
        (NEXT_HOP, "RouterPeer nextHop"),
        (AS_PATH_PREPEND, "LoadBalancerAdvertisement asPathPrepend"),
    ];
}

/// The name of the CRD of FRRConfigurations.
pub const CRD: &str = "frrconfigurations.frrk8s.metallb.io";

/// Fields that this version does not know, by name.
pub type Unknown = std::collections::BTreeMap<String, serde_json::Value>;
