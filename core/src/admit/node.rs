//! What a node's daemon ends up with.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use clarion_api::frr::{BfdProfile, Evpn};
use ipnet::IpNet;

use crate::address_set::Family;
pub use crate::layer::Attributes;

/// The configuration of one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeConfig {
    /// By VRF; the empty name is the default one.
    pub routers: BTreeMap<String, Router>,
    /// By name, used or not.
    pub bfd_profiles: BTreeMap<String, BfdProfile>,
    /// Texts that are appended, in this order (`joinRawConfigs`).
    pub raw: Vec<String>,
}

/// The BGP router of a VRF.
#[derive(Clone, Debug, PartialEq)]
pub struct Router {
    /// The AS number.
    pub asn: u32,
    /// The BGP identifier.
    pub id: Option<String>,
    /// The prefixes that it originates.
    pub prefixes: BTreeSet<IpNet>,
    /// The VRFs that it imports from, as FRR names them.
    pub imports: BTreeSet<String>,
    /// By address or interface, as it is written.
    pub neighbors: BTreeMap<String, Neighbor>,
    /// EVPN.
    pub evpn: Option<Evpn>,
}

/// A session.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbor {
    /// What all objects with this neighbor agree on.
    pub parameters: Parameters,
    /// The BFD profile.
    pub bfd_profile: Option<String>,
    /// Graceful restart; none if objects say different things: then the first one's value holds, and which one is first is
    /// not defined.
    pub graceful_restart: Option<bool>,
    /// Next hops.
    pub next_hop: NextHops,
    /// Whether routes with our own AS number are accepted.
    pub allow_as_in: Option<String>,
    /// `unicast`, `evpn`; none at all means unicast.
    pub address_families: BTreeSet<String>,
    /// What may be announced.
    pub routes: BTreeMap<IpNet, Attributes>,
    /// What is accepted.
    pub received: Received,
}

impl Neighbor {
    /// What is announced: nothing on a session that carries EVPN alone (`activateNeighborFor` of `internal/frr/config.go`).
    pub fn announced(&self) -> impl Iterator<Item = (&IpNet, &Attributes)> {
        let is_unicast = self.address_families.is_empty() || self.address_families.contains("unicast");
        self.routes.iter().filter(move |_| is_unicast)
    }
}

/// The fields of a neighbor that must be the same in all objects, with what stands for unset ones (`neighborsAreCompatible`,
/// `ptrsEqual`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// The AS number of the other end, `internal` or `external`.
    pub asn: String,
    /// The session is over an interface, without an address.
    pub unnumbered: bool,
    /// The families that the session carries.
    pub families: Families,
    /// The TCP port.
    pub port: u16,
    /// The address or interface to dial from.
    pub source_address: Option<String>,
    /// The password.
    pub password: Password,
    /// The other end is several hops away.
    pub ebgp_multi_hop: bool,
    /// Seconds.
    pub hold_time: i64,
    /// Seconds.
    pub keepalive_time: i64,
    /// Seconds. FRR-K8s leaves out 60 as its default, upon which FRR takes its own, 120.
    pub connect_time: i64,
    /// The AS number shown to the other end.
    pub local_asn: Option<u32>,
}

/// The families of a session (`addressFamilyForNeighbor`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// That of its address.
    One(Family),
    /// Both.
    Dual,
}

impl Families {
    /// Whether the session carries prefixes of this family.
    #[must_use]
    pub fn carry(self, family: Family) -> bool {
        self == Self::Dual || self == Self::One(family)
    }
}

impl fmt::Display for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(family) => f.write_str(family.name()),
            Self::Dual => f.write_str("dual stack"),
        }
    }
}

/// Where the password of a session comes from. It can be shown: a password itself is never told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    /// There is none.
    None,
    /// It is in the object.
    Clear(String),
    /// It is in the Secret of this name.
    Secret(String),
}

impl fmt::Display for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Clear(_) => f.write_str("one in clear text"),
            Self::Secret(name) => write!(f, "that of Secret {name}"),
        }
    }
}

/// Next hops by family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NextHops {
    /// For IPv4 prefixes.
    pub ipv4: Option<String>,
    /// For IPv6 prefixes.
    pub ipv6: Option<String>,
}

/// What is accepted on a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Everything.
    All,
    /// What one of these lets pass.
    Filtered(BTreeSet<Filter>),
}

/// Prefixes that are accepted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Filter {
    /// The prefix.
    pub prefix: IpNet,
    /// The greatest length that matches.
    pub le: Option<u32>,
    /// The least length that matches.
    pub ge: Option<u32>,
}
