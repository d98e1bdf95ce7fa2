//! Two configurations of one node, and where they differ.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use clarion_api::frr::BfdProfile;
use clarion_core::admit::{Attributes, Neighbor, NodeConfig, Parameters, Password, Received, Router};
use ipnet::IpNet;
use itertools::Itertools as _;

use super::passwords::Passwords;

/// Something that is one way with MetalLB, and another way with Clarion.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The VRF, empty for the default one.
    pub vrf: String,
    /// The other end of the session; empty where the router is meant.
    pub peer: String,
    pub what: What,
    /// How it is with MetalLB; empty if it is not.
    pub metallb: String,
    /// How it is with Clarion; empty if it is not.
    pub clarion: String,
}

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A parameter of the session or the router.
    Parameter(String),
    /// A prefix, by its path attributes.
    Prefix(IpNet),
}

/// Everything that differs, in the order of VRFs, peers and prefixes.
pub fn differences(metallb: &NodeConfig, clarion: &NodeConfig, passwords: &Passwords) -> Vec<Difference> {
    let mut found = Vec::new();
    let vrfs: BTreeSet<&String> = metallb.routers.keys().chain(clarion.routers.keys()).collect();
    for vrf in vrfs {
        let (before, after) = (metallb.routers.get(vrf), clarion.routers.get(vrf));
        let at = |peer: &str| Collector { vrf: vrf.clone(), peer: peer.to_owned(), found: Vec::new() };
        if let (Some(before), Some(after)) = (before, after) {
            let mut router = at("");
            router.field("myASN", &before.asn, &after.asn);
            router.optional("routerID", before.id.as_ref(), after.id.as_ref());
            found.extend(router.found);
        }
        let neighbors = |router: Option<&'_ Router>| -> BTreeSet<String> {
            router.into_iter().flat_map(|router| router.neighbors.keys().cloned()).collect()
        };
        for key in neighbors(before).union(&neighbors(after)) {
            let neighbor = |router: Option<&'_ Router>| router.and_then(|router| router.neighbors.get(key)).cloned();
            let (before, after) = (neighbor(before), neighbor(after));
            let mut session = at(key);
            match (&before, &after) {
                (Some(before), Some(after)) => {
                    session.parameters(before, after, passwords);
                    session.bfd(profile(metallb, before), profile(clarion, after));
                }
                (before, after) => session.field("session", &presence(before), &presence(after)),
            }
            session.routes(before.as_ref(), after.as_ref());
            found.extend(session.found);
        }
    }
    found
}

fn presence<T>(value: &Option<T>) -> &'static str {
    if value.is_some() { "there" } else { "" }
}

/// What the BFD profile of a session says, if it has one.
fn profile<'a>(node: &'a NodeConfig, neighbor: &Neighbor) -> Option<&'a BfdProfile> {
    node.bfd_profiles.get(neighbor.bfd_profile.as_ref()?)
}

struct Collector {
    vrf: String,
    peer: String,
    found: Vec<Difference>,
}

impl Collector {
    fn found(&mut self, what: What, metallb: String, clarion: String) {
        let (vrf, peer) = (self.vrf.clone(), self.peer.clone());
        self.found.push(Difference { vrf, peer, what, metallb, clarion });
    }

    fn field<T: PartialEq + Display>(&mut self, what: &str, metallb: &T, clarion: &T) {
        if metallb != clarion {
            self.found(What::Parameter(what.to_owned()), metallb.to_string(), clarion.to_string());
        }
    }

    fn optional<T: PartialEq + Display>(&mut self, what: &str, metallb: Option<T>, clarion: Option<T>) {
        let text = |value: Option<T>| value.map(|value| value.to_string()).unwrap_or_default();
        self.field(what, &text(metallb), &text(clarion));
    }

    // Destructured so that a new field can't be forgotten.
    fn parameters(&mut self, metallb: &Neighbor, clarion: &Neighbor, passwords: &Passwords) {
        let Neighbor {
            parameters,
            bfd_profile: _,
            graceful_restart,
            next_hop,
            allow_as_in,
            address_families,
            routes: _,
            received,
        } = metallb;
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
        } = parameters;
        let other = &clarion.parameters;
        self.field("peerASN", asn, &other.asn);
        self.field("unnumbered", unnumbered, &other.unnumbered);
        self.field("families", families, &other.families);
        self.field("peerPort", port, &other.port);
        self.optional("sourceAddress", source_address.as_ref(), other.source_address.as_ref());
        self.password(password, &other.password, passwords);
        self.field("ebgpMultiHop", ebgp_multi_hop, &other.ebgp_multi_hop);
        self.field("holdTime", &format!("{hold_time}s"), &format!("{}s", other.hold_time));
        self.field("keepaliveTime", &format!("{keepalive_time}s"), &format!("{}s", other.keepalive_time));
        self.field("connectTime", &format!("{connect_time}s"), &format!("{}s", other.connect_time));
        self.optional("localASN", *local_asn, other.local_asn);
        self.optional("enableGracefulRestart", *graceful_restart, clarion.graceful_restart);
        self.optional("nextHop.ipv4", next_hop.ipv4.as_ref(), clarion.next_hop.ipv4.as_ref());
        self.optional("nextHop.ipv6", next_hop.ipv6.as_ref(), clarion.next_hop.ipv6.as_ref());
        self.optional("allowAsIn", allow_as_in.as_ref(), clarion.allow_as_in.as_ref());
        let words = |set: &BTreeSet<String>| set.iter().join(" ");
        self.field("addressFamilies", &words(address_families), &words(&clarion.address_families));
        self.field("accepts", &accepted(received), &accepted(&clarion.received));
    }

    fn password(&mut self, metallb: &Password, clarion: &Password, passwords: &Passwords) {
        if passwords.are_same(metallb, clarion) {
            return;
        }
        let (before, after) = (metallb.to_string(), clarion.to_string());
        let after = if before == after { format!("another {after}") } else { after };
        self.found(What::Parameter("password".to_owned()), before, after);
    }

    /// By what profiles say: their names differ in any case.
    fn bfd(&mut self, metallb: Option<&BfdProfile>, clarion: Option<&BfdProfile>) {
        let (Some(before), Some(after)) = (metallb, clarion) else {
            return self.field("bfd", &presence(&metallb), &presence(&clarion));
        };
        let BfdProfile {
            name: _,
            receive_interval,
            transmit_interval,
            detect_multiplier,
            echo_interval,
            echo_mode,
            passive_mode,
            minimum_ttl,
            unknown: _,
        } = before;
        // What is unset is left to FRR, which has these values.
        let numbers = [
            ("bfd.receiveInterval", receive_interval, after.receive_interval, 300),
            ("bfd.transmitInterval", transmit_interval, after.transmit_interval, 300),
            ("bfd.detectMultiplier", detect_multiplier, after.detect_multiplier, 3),
            ("bfd.echoInterval", echo_interval, after.echo_interval, 50),
            ("bfd.minimumTtl", minimum_ttl, after.minimum_ttl, 254),
        ];
        for (what, before, after, default) in numbers {
            self.field(what, &before.unwrap_or(default), &after.unwrap_or(default));
        }
        let modes =
            [("bfd.echoMode", echo_mode, after.echo_mode), ("bfd.passiveMode", passive_mode, after.passive_mode)];
        for (what, before, after) in modes {
            self.field(what, &before.unwrap_or_default(), &after.unwrap_or_default());
        }
    }

    fn routes(&mut self, metallb: Option<&Neighbor>, clarion: Option<&Neighbor>) {
        let routes = |neighbor: Option<&Neighbor>| -> BTreeMap<IpNet, Attributes> {
            neighbor.into_iter().flat_map(Neighbor::announced).map(|(net, what)| (*net, what.clone())).collect()
        };
        let (before, after) = (routes(metallb), routes(clarion));
        let prefixes: BTreeSet<&IpNet> = before.keys().chain(after.keys()).collect();
        for prefix in prefixes {
            let (before, after) = (before.get(prefix), after.get(prefix));
            if before != after {
                let text = |found: Option<&Attributes>| found.map(attributes).unwrap_or_default();
                self.found(What::Prefix(*prefix), text(before), text(after));
            }
        }
    }
}

fn accepted(received: &Received) -> String {
    match received {
        Received::All => "everything".to_owned(),
        Received::Filtered(filters) => {
            let length = |name: &str, length: Option<u32>| length.map(|l| format!(" {name} {l}")).unwrap_or_default();
            let mut filters =
                filters.iter().map(|f| format!("{}{}{}", f.prefix, length("ge", f.ge), length("le", f.le)));
            filters.join(", ")
        }
    }
}

/// Attributes in one cell of a table.
fn attributes(attributes: &Attributes) -> String {
    let Attributes { local_pref, communities, as_path_prepend } = attributes;
    let local_pref = local_pref.map(|value| format!("localPref {value}"));
    let prepend = as_path_prepend.map(|value| format!("asPathPrepend {value}"));
    let parts: Vec<String> = local_pref.into_iter().chain(prepend).chain(communities.iter().cloned()).collect();
    if parts.is_empty() { "announced".to_owned() } else { parts.join(" ") }
}
