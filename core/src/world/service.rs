//! Services and their endpoints, and what their status records.

use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc};

use clarion_api::{Timestamp, names};
use smol_str::SmolStr;

use super::{Condition, Family};
use crate::finding::Reason;

/// A Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    /// `spec.type` is LoadBalancer.
    pub is_load_balancer: bool,
    /// `spec.loadBalancerClass`.
    pub class: Option<String>,
    /// `spec.loadBalancerIP`.
    pub load_balancer_ip: Option<String>,
    /// `spec.ipFamilies`, in order.
    pub families: Vec<Family>,
    /// Ports and their protocols.
    pub ports: Vec<Port>,
    /// `spec.ipFamilyPolicy` is RequireDualStack.
    pub requires_dual_stack: bool,
    /// `spec.externalTrafficPolicy` is Local.
    pub is_local: bool,
    /// Annotations under one of [`names::ANNOTATION_PREFIXES`].
    pub annotations: BTreeMap<String, String>,
    /// `status.loadBalancer.ingress`, addresses only, in order.
    pub addresses: Vec<IpAddr>,
    /// The entries of `status.loadBalancer.ingress` without an address.
    pub other_ingress: usize,
    /// The field manager of another controller, if that wrote `status.loadBalancer` last.
    pub ingress_by: Option<Box<str>>,
    /// When Clarion wrote its status last, to the second.
    pub written_at: Option<Timestamp>,
    /// Our conditions in `status.conditions`.
    pub conditions: Vec<Condition>,
}

/// A port of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its number.
    pub number: u16,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol.name())
    }
}

/// The protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the protocol of its name")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// The name as Kubernetes writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

/// An EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSlice {
    /// The Service that it belongs to, in its own namespace.
    pub service: SmolStr,
    /// The family of its addresses; both if it is not known.
    pub family: Option<Family>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint. Unset conditions are read as EndpointSlice's documentation says: ready, serving, not terminating.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// The node that it runs on.
    pub node: Option<Arc<str>>,
    /// It takes traffic.
    pub ready: bool,
    /// It would take traffic, but is terminating.
    pub serving_while_terminating: bool,
}

/// In the message of [`names::ADDRESS_ALLOCATED`], before addresses that a Service has although it waits for others.
pub const KEEPS: &str = "it keeps ";
/// In the message of [`names::ADDRESS_ALLOCATED`], before addresses that a Service has and will lose.
pub const GIVES_UP: &str = "it gives up ";

/// How soon another controller takes away what it does not want a Service to have, in seconds: MetalLB in milliseconds.
const AT_ONCE: u64 = 10;
/// How long a Service is left alone then, in seconds.
const TRUCE: i64 = 600;

/// The addresses in a text.
fn addresses_in(text: &str) -> impl Iterator<Item = IpAddr> {
    let is_part = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
    text.split(move |c| !is_part(c)).filter_map(|part| part.parse().ok())
}

/// Whether an address stands somewhere in a text.
fn lists(text: &str, address: IpAddr) -> bool {
    addresses_in(text).any(|listed| listed == address)
}

impl Service {
    /// The families that it wants an address of, in order.
    #[must_use]
    pub fn wanted_families(&self) -> &[Family] {
        if self.families.is_empty() { &[Family::V4] } else { &self.families }
    }

    /// Whether our condition says that this address is, or was until now, the Service's.
    #[must_use]
    pub fn speaks_of(&self, address: IpAddr) -> bool {
        self.is_on_record(address) || lists(self.parts_of_record().1, address)
    }

    /// Whether our condition says that this address is the Service's and stays so.
    #[must_use]
    pub fn is_on_record(&self, address: IpAddr) -> bool {
        lists(self.parts_of_record().0, address)
    }

    /// What our condition about its addresses says of those that it has and of those that it gives up.
    fn parts_of_record(&self) -> (&str, &str) {
        let Some(known) = self.conditions.iter().find(|known| known.type_ == names::ADDRESS_ALLOCATED) else {
            return ("", "");
        };
        let (rest, goes) = known.message.split_once(GIVES_UP).unwrap_or((&known.message, ""));
        // Without all that it asks for, the beginning speaks of what it does not have.
        let has = if known.status == "True" { rest } else { rest.split_once(KEEPS).map_or("", |(_, has)| has) };
        (has, goes)
    }

    /// Up to when the Service is left alone because another controller took away what we gave: our condition says so, or
    /// lists addresses, and all went as soon as they were there.
    #[must_use]
    pub fn truce(&self, now: Timestamp) -> Option<Timestamp> {
        let known = self.conditions.iter().find(|known| known.type_ == names::ADDRESS_ALLOCATED)?;
        let written = self.written_at?.as_second();
        let is_told = known.reason == Reason::OtherController.name();
        let is_gone = self.addresses.is_empty() && addresses_in(self.parts_of_record().0).next().is_some();
        let at_once = now.as_second().abs_diff(written) <= AT_ONCE;
        let until = Timestamp::from_second(written.saturating_add(TRUCE)).ok()?;
        Some(until).filter(|until| (is_told || (is_gone && at_once)) && *until > now)
    }

    /// Whether a condition of ours lists this address.
    #[must_use]
    pub fn is_marked(&self, condition: &str, address: IpAddr) -> bool {
        let marks = self.conditions.iter().find(|known| known.type_ == condition && known.status == "True");
        marks.is_some_and(|marks| marks.message.split(", ").any(|text| text.parse() == Ok(address)))
    }
}
