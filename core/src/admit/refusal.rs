//! Why a daemon would leave its node as it was.

use std::fmt;

use crate::world::ObjectName;

/// What a daemon can't merge: which objects, where in them, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// The object that has the fault; of two that are at odds, the later one.
    pub object: ObjectName,
    /// The object that it is at odds with; itself where it contradicts itself, none where the fault is its own.
    pub other: Option<ObjectName>,
    /// The VRF of the router; empty for the default one. None outside routers.
    pub vrf: Option<String>,
    /// The address or interface of the neighbor. None outside neighbors.
    pub neighbor: Option<String>,
    /// The field, by its path below the router, the neighbor or `bgp`.
    pub field: &'static str,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Two values where there can be one (`merge.go`).
    #[error("{}{} and {}", .of.as_ref().map(|of| format!("for {of}, ")).unwrap_or_default(), .values.0, .values.1)]
    Conflict {
        /// The prefix, VNI or profile that has them, where the neighbor or router has several.
        of: Option<String>,
        /// The value of the other object, and that of this one.
        values: (String, String),
    },
    /// A value that passes the schema of the CRD and can't be decoded. It fails **every** node, selected or not: the
    /// daemons can't list FRRConfigurations any more.
    #[error("{0:?} can't be decoded, which stops the daemons of all nodes")]
    Undecodable(String),
    /// Not a prefix (`validatePrefixes`, `validatePrefixesForNeighborFamily`, `filterForSelector`).
    #[error("{0:?} is not a prefix")]
    NotAPrefix(String),
    /// Not an address (`addressFamilyForNeighbor`), or not of the family that it is to have (`nextHopToFRR`).
    #[error("{0:?} is not an address that fits")]
    NotAnAddress(String),
    /// Neither this field nor another is set (`neighborToFRR`).
    #[error("neither it nor {0} is set")]
    Missing(&'static str),
    /// This field and another are set, which exclude each other (`neighborToFRR`, `passwordForNeighbor`).
    #[error("it and {0} are both set")]
    Excluded(&'static str),
    /// One of holdTime and keepaliveTime without the other (`parseTimers`).
    #[error("it is set without {0}")]
    Alone(&'static str),
    /// A value that there is not: of dynamicASN (`neighborToFRR`) or of a community (`community.New`).
    #[error("{0:?} is none of its values")]
    Value(String),
    /// A prefix of a family that the session does not carry (`validatePrefixesForNeighborFamily`, `nextHopToFRR`).
    #[error("{0} is of a family that the session does not carry")]
    Family(String),
    /// A prefix that is neither one of the router's, in this object, nor imported (`validateOutgoingPrefixes`).
    #[error("{0} is not among the prefixes of the router in this object")]
    NotInRouter(String),
    /// A prefix with an attribute that is not announced by this object (`prefixesWithLocalPrefToFRR`,
    /// `prefixesWithCommunityToFRR`).
    #[error("{0} is not among the prefixes that this object announces to the neighbor")]
    NotAllowed(String),
    /// A value that is listed twice: a local preference, a community, a prefix of one of these (as above), or a BFD
    /// profile (`apiToFRR`).
    #[error("{0} is there twice")]
    Twice(String),
    /// A BFD profile or VRF that this object does not have (`neighborToFRR`, `validateImportVRFs`).
    #[error("this object has no {0:?}")]
    Unknown(String),
    /// localASN on a session within the AS (`routerToFRRConfig`).
    #[error("it is set, and both ends are of the same AS")]
    LocalAsn,
    /// A hold time of one or two seconds, or less than none (`parseTimers`).
    #[error("{0} is neither 0 nor 3s or more")]
    HoldTime(String),
    /// A keepalive time over the hold time (`parseTimers`).
    #[error("{0} is more than the holdTime of {1}")]
    Keepalive(String, String),
    /// Lengths that match nothing (`validateSelectorLengths`).
    #[error("the lengths of {0} are not in order: its own, ge, le")]
    Lengths(String),
    /// EVPN without a session that carries it (`validateEVPNConfig`).
    #[error("no neighbor of the router carries EVPN")]
    NoEvpnNeighbor,
    /// A layer 3 VNI in a VRF with sessions (`validateEVPNConfig`).
    #[error("the router has neighbors")]
    L3VniWithNeighbors,
    /// A VNI in two places (`validateUniqueVNIs`).
    #[error("VNI {0} is in VRF {1:?} too")]
    Vni(u32, String),
}

impl Refusal {
    /// The objects that are concerned, each once.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectName> {
        self.other.iter().filter(|other| **other != self.object).chain([&self.object])
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, other, field, fault, .. } = self;
        let place = self.place();
        match other {
            Some(other) if other == object => write!(f, "FRRConfiguration {object} is at odds with itself")?,
            Some(other) => write!(f, "FRRConfigurations {other} and {object} are at odds")?,
            None => return write!(f, "FRRConfiguration {object}: {field}{place}: {fault}"),
        }
        write!(f, " over {field}{place}: {fault}")
    }
}

impl Refusal {
    fn place(&self) -> String {
        let vrf = self.vrf.as_ref().filter(|vrf| !vrf.is_empty()).map(|vrf| format!(" in VRF {vrf}"));
        let vrf = vrf.unwrap_or_default();
        match (&self.neighbor, &self.vrf) {
            (Some(neighbor), _) => format!(" of neighbor {neighbor}{vrf}"),
            (None, Some(_)) => format!(" of the router{vrf}"),
            (None, None) => String::new(),
        }
    }
}
