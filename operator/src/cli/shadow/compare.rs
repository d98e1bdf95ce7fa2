//! Two configurations of one node, and where they differ.

use std::{collections::BTreeSet, fmt::Display};

use clarion_core::admit::{Attributes, Neighbor, NodeConfig, Parameters, Router};
use ipnet::IpNet;

/// Something that is one way now, and would be another.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// The other end of the session, with its VRF if it has one; empty where the node as a whole is meant.
    pub peer: String,
    /// A prefix, or a field.
    pub what: String,
    /// How it is.
    pub now: String,
    /// How it would be.
    pub then: String,
    /// It is about a prefix.
    pub is_prefix: bool,
}

impl Difference {
    /// About a node as a whole.
    pub fn node(what: &str, now: impl Display, then: impl Display) -> Self {
        let (peer, what) = (String::new(), what.to_owned());
        Self { peer, what, now: now.to_string(), then: then.to_string(), is_prefix: false }
    }
}

/// Everything that differs, in the order of VRFs, peers and prefixes.
pub fn differences(now: &NodeConfig, then: &NodeConfig) -> Vec<Difference> {
    let mut found = Vec::new();
    let vrfs: BTreeSet<&String> = now.routers.keys().chain(then.routers.keys()).collect();
    for vrf in vrfs {
        let (before, after) = (now.routers.get(vrf), then.routers.get(vrf));
        let place = |key: &str| if vrf.is_empty() { key.to_owned() } else { format!("{key} (VRF {vrf})") };
        if let (Some(before), Some(after)) = (before, after) {
            let mut node = Collector { peer: place(""), found: &mut found };
            node.field("myASN", &before.asn, &after.asn);
            node.optional("routerID", before.id.as_ref(), after.id.as_ref());
        }
        let neighbors = |router: Option<&Router>| router.map(|r| r.neighbors.clone()).unwrap_or_default();
        let (before, after) = (neighbors(before), neighbors(after));
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for key in keys {
            let mut session = Collector { peer: place(key), found: &mut found };
            match (before.get(key), after.get(key)) {
                (Some(before), Some(after)) => session.session(before, after),
                (before, after) => session.field("session", &presence(before), &presence(after)),
            }
            let empty = Default::default();
            session.routes(before.get(key).map_or(&empty, |n| &n.routes), after.get(key).map_or(&empty, |n| &n.routes));
        }
    }
    found
}

fn presence<T>(value: Option<T>) -> &'static str {
    if value.is_some() { "there" } else { "" }
}

struct Collector<'f> {
    peer: String,
    found: &'f mut Vec<Difference>,
}

impl Collector<'_> {
    fn field<T: PartialEq + Display>(&mut self, what: &str, now: &T, then: &T) {
        if now != then {
            let (peer, what) = (self.peer.clone(), what.to_owned());
            let (now, then) = (now.to_string(), then.to_string());
            self.found.push(Difference { peer, what, now, then, is_prefix: false });
        }
    }

    fn optional<T: PartialEq + Display>(&mut self, what: &str, now: Option<T>, then: Option<T>) {
        let text = |value: Option<T>| value.map(|value| value.to_string()).unwrap_or_default();
        self.field(what, &text(now), &text(then));
    }

    fn session(&mut self, now: &Neighbor, then: &Neighbor) {
        // Destructured so that a new parameter can't be forgotten.
        let Parameters {
            asn,
            unnumbered,
            families,
            port,
            source_address,
            password,
            ebgp_multi_hop,
            hold_time,
            keepalive_time,
            connect_time,
            local_asn,
        } = &now.parameters;
        let other = &then.parameters;
        self.field("peerASN", asn, &other.asn);
        self.field("unnumbered", unnumbered, &other.unnumbered);
        self.field("families", families, &other.families);
        self.field("peerPort", port, &other.port);
        self.optional("sourceAddress", source_address.as_ref(), other.source_address.as_ref());
        self.field("password", password, &other.password);
        self.field("ebgpMultiHop", ebgp_multi_hop, &other.ebgp_multi_hop);
        self.field("holdTime", &format!("{hold_time}s"), &format!("{}s", other.hold_time));
        self.field("keepaliveTime", &format!("{keepalive_time}s"), &format!("{}s", other.keepalive_time));
        self.field("connectTime", &format!("{connect_time}s"), &format!("{}s", other.connect_time));
        self.optional("localASN", *local_asn, other.local_asn);
        self.optional("BFD profile", now.bfd_profile.as_ref(), then.bfd_profile.as_ref());
        self.optional("enableGracefulRestart", now.graceful_restart, then.graceful_restart);
        self.optional("nextHop.ipv4", now.next_hop.ipv4.as_ref(), then.next_hop.ipv4.as_ref());
        self.optional("nextHop.ipv6", now.next_hop.ipv6.as_ref(), then.next_hop.ipv6.as_ref());
    }

    fn routes(
        &mut self,
        now: &std::collections::BTreeMap<IpNet, Attributes>,
        then: &std::collections::BTreeMap<IpNet, Attributes>,
    ) {
        let prefixes: BTreeSet<&IpNet> = now.keys().chain(then.keys()).collect();
        for prefix in prefixes {
            let (before, after) = (now.get(prefix), then.get(prefix));
            if before != after {
                self.found.push(Difference {
                    peer: self.peer.clone(),
                    what: prefix.to_string(),
                    now: before.map(attributes).unwrap_or_default(),
                    then: after.map(attributes).unwrap_or_default(),
                    is_prefix: true,
                });
            }
        }
    }
}

/// Attributes in one cell of a table.
fn attributes(attributes: &Attributes) -> String {
    let local_pref = attributes.local_pref.map(|value| format!("localPref {value}"));
    let prepend = attributes.as_path_prepend.map(|value| format!("asPathPrepend {value}"));
    let communities = attributes.communities.iter().cloned();
    let parts: Vec<String> = local_pref.into_iter().chain(prepend).chain(communities).collect();
    if parts.is_empty() { "announced".to_owned() } else { parts.join(" ") }
}
