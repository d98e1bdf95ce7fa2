//! The other end of a session, however RouterPeers, FRRConfigurations and BGPSessionStates write it.

use std::{collections::BTreeMap, net::IpAddr};

use clarion_api::RouterPeerSpec;
use clarion_core::{
    World,
    config::{Selector, selected},
    world::{Node, Object, Session},
};
use schemars::JsonSchema;
use serde::Serialize;

/// The other end of a session, in a VRF of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbor {
    vrf: String,
    end: End,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Address(IpAddr),
    Interface(String),
}

/// What FRR-K8s reports of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Down,
    #[serde(rename = "not reported")]
    NotReported,
    Established,
}

impl State {
    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::NotReported => "not reported",
            Self::Established => "established",
        }
    }
}

impl Neighbor {
    /// What is an address is one, whoever wrote it: FRR-K8s reports IPv6 addresses with `-` for `:`.
    pub fn named(vrf: &str, text: &str) -> Self {
        let address = text.parse().or_else(|_| text.replace('-', ":").parse());
        Self { vrf: vrf.to_owned(), end: address.map_or_else(|_| End::Interface(text.to_owned()), End::Address) }
    }

    /// The neighbor that a RouterPeer means on a node with these labels.
    pub fn of(spec: &RouterPeerSpec, labels: &BTreeMap<String, String>) -> Option<Self> {
        let is_for = |selector| Selector::new(selector).is_ok_and(|selector| selector.matches(labels));
        let overriding = spec.node_overrides.iter().find(|overriding| is_for(&overriding.node_selector));
        let text = overriding
            .and_then(|overriding| overriding.peer_address.as_ref().or(overriding.interface.as_ref()))
            .or(spec.peer_address.as_ref())
            .or(spec.interface.as_ref())?;
        Some(Self::named(spec.vrf.as_deref().unwrap_or_default(), text))
    }

    /// What FRR-K8s reports of the session with it on a node.
    pub fn state(&self, sessions: &Sessions, node: &str) -> State {
        match sessions.0.get(&(node, self.clone())) {
            None => State::NotReported,
            Some(true) => State::Established,
            Some(false) => State::Down,
        }
    }
}

impl std::fmt::Display for Neighbor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.end {
            End::Address(address) => write!(f, "{address}")?,
            End::Interface(interface) => f.write_str(interface)?,
        }
        if self.vrf.is_empty() { Ok(()) } else { write!(f, " in VRF {}", self.vrf) }
    }
}

/// The sessions that FRR-K8s reports and keeps up, and whether they are established.
pub struct Sessions<'w>(BTreeMap<(&'w str, Neighbor), bool>);

impl<'w> Sessions<'w> {
    pub fn of(world: &'w World) -> Self {
        let sessions = world.sessions.iter().filter(|object| world.is_kept_up(object)).map(|object| &object.value);
        let entry = |session: &'w Session| {
            ((session.node.as_str(), Neighbor::named(&session.vrf, &session.peer)), session.established)
        };
        Self(sessions.map(entry).collect())
    }
}

/// The nodes that a RouterPeer selects, each with the neighbor that it means there.
pub fn of_peer<'w>(world: &'w World, spec: &RouterPeerSpec) -> Vec<(&'w Object<Node>, Neighbor)> {
    // Its own finding tells that it can't be read.
    let Ok(selectors) = Selector::all(&spec.node_selectors) else { return Vec::new() };
    let nodes = world.nodes.iter().filter(|node| selected(&selectors, &node.meta.labels));
    nodes.filter_map(|node| Some((node, Neighbor::of(spec, &node.meta.labels)?))).collect()
}
