//! Peers: the parameters of sessions.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use clarion_api::{
    RouterPeerSpec, Timestamp,
    frr::{BfdProfile, Neighbor, NextHop, SecretReference, field},
    peer::{Bfd, DynamicAsn, NodeOverride, RouterPeerStatus},
};

use super::{Selector, addresses::is_mapped, not_in_frr_k8s};
use crate::{
    address_set::Family,
    finding::{ALL_DRAINED, Findings, Reason},
    layer::{carries, key},
    world::{Custom, Kind, Object, ObjectRef, World},
};

/// A valid peer that is in effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// The nodes; all if empty.
    pub nodes: Vec<Selector>,
    /// The most prefixes that are offered on a session.
    pub max_prefixes: Option<usize>,
    /// From then on nothing is announced to it, and until then with GRACEFUL_SHUTDOWN (RFC 8326).
    pub withdraw_at: Option<Timestamp>,
    /// The FRRConfigurations whose session with this router is adopted, by their labels: the terms have no more than the
    /// router and what FRR-K8s does not compare.
    pub adopt: Option<Selector>,
    /// The terms for nodes that no override picks.
    pub terms: Terms,
    /// Other terms by node, the first that fits; `None` where they are invalid, and such nodes have no session.
    pub overrides: Vec<(Selector, Option<Terms>)>,
}

/// The terms of a session between a node and a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// The AS number of the router in the nodes.
    pub my_asn: i64,
    /// The BGP identifier of the router in the nodes.
    pub router_id: Option<String>,
    /// The VRF of the router in the nodes; empty for the default one.
    pub vrf: String,
    /// The session, without profile and prefixes.
    pub neighbor: Neighbor,
    /// BFD, under a name made from its content.
    pub bfd: Option<BfdProfile>,
    /// Next hops to announce instead of the node's.
    pub next_hop: Option<NextHop>,
}

impl Terms {
    /// The key by which FRR-K8s merges sessions of the VRF.
    #[must_use]
    pub fn key(&self) -> String {
        key(&self.neighbor)
    }

    /// The families that the session carries: that of its address, or both.
    #[must_use]
    pub fn carries(&self, family: Family) -> bool {
        carries(&self.neighbor, family)
    }
}

impl Peer {
    /// The override that is for a node with these labels; `None` if none is.
    #[must_use]
    pub fn override_for(&self, labels: &BTreeMap<String, String>) -> Option<usize> {
        self.overrides.iter().position(|(selector, _)| selector.matches(labels))
    }

    /// The terms by an override, or without one; `None` if the override is invalid.
    #[must_use]
    pub fn terms(&self, overridden: Option<usize>) -> Option<&Terms> {
        match overridden {
            None => Some(&self.terms),
            Some(index) => self.overrides.get(index)?.1.as_ref(),
        }
    }

    /// Its terms for any node.
    pub fn all_terms(&self) -> impl Iterator<Item = &Terms> {
        std::iter::once(&self.terms).chain(self.overrides.iter().filter_map(|(_, terms)| terms.as_ref()))
    }
}

/// A field that can't be used, and why.
type Refused = (Reason, String);

/// Checks one peer.
pub fn check(
    world: &World,
    object: &Object<Custom<RouterPeerSpec, RouterPeerStatus>>,
    spec: &RouterPeerSpec,
    findings: &mut Findings,
) -> Option<Peer> {
    let id = ObjectRef::new(Kind::RouterPeer, object.meta.name.clone());
    let mut spec = spec.clone();
    for message in leave_out(&mut spec, |path| !world.frr_k8s_has(path)) {
        findings.error(id.clone(), Reason::NotInFRRK8s, message);
    }
    let refused = |(reason, message): Refused, findings: &mut Findings| findings.error(id.clone(), reason, message);
    let peer = match peer(world, &object.meta.name.name, &spec) {
        Ok(peer) => peer,
        Err(why) => {
            refused(why, findings);
            return None;
        }
    };
    let mut overrides = Vec::with_capacity(spec.node_overrides.len());
    for (number, overriding) in spec.node_overrides.iter().enumerate() {
        let field = |message: String| format!("nodeOverrides[{number}]: {message}");
        let selector = match Selector::new(&overriding.node_selector) {
            Ok(selector) => selector,
            Err(error) => {
                refused((Reason::InvalidSelector, field(error.to_string())), findings);
                continue;
            }
        };
        let terms = match terms(world, &overridden(&spec, overriding)) {
            Ok(terms) => Some(terms),
            Err((reason, message)) => {
                refused((reason, field(format!("{message}; the nodes that it picks have no session"))), findings);
                None
            }
        };
        overrides.push((selector, terms));
    }
    if let Some(message) = peer.adopt.as_ref().and_then(|_| not_adopted(&spec)) {
        findings.warning(id.clone(), Reason::InvalidValue, message);
    }
    for message in ignored_timers(&peer.terms.neighbor) {
        findings.warning(id.clone(), Reason::TimersIgnored, message);
    }
    if world.drain_all.is_some() {
        findings.error(id, Reason::AllDrained, ALL_DRAINED);
        return None;
    }
    if spec.suspend {
        let message = format!("spec.suspend is true: nothing is announced to {}", peer.name);
        findings.error(id, Reason::Suspended, message);
        return None;
    }
    Some(Peer { overrides, ..peer })
}

/// Leaves out what FRR-K8s has no field for, where a session is possible without, and tells of each.
fn leave_out(spec: &mut RouterPeerSpec, lacks: impl Fn(&str) -> bool) -> Vec<String> {
    let mut messages = Vec::new();
    let mut note = |name: &str, path: &str, used: bool| {
        let gone = used && lacks(path);
        if gone {
            messages.push(not_in_frr_k8s(name, path));
        }
        gone
    };
    let overrides = &mut spec.node_overrides;
    let source = spec.source_address.is_some() || overrides.iter().any(|o| o.source_address.is_some());
    if note("sourceAddress", field::SOURCE_ADDRESS, source) {
        spec.source_address = None;
        overrides.iter_mut().for_each(|o| o.source_address = None);
    }
    let local = spec.local_asn.is_some() || overrides.iter().any(|o| o.local_asn.is_some());
    if note("localASN", field::LOCAL_ASN, local) {
        spec.local_asn = None;
        overrides.iter_mut().for_each(|o| o.local_asn = None);
    }
    let next_hop = spec.next_hop.is_some() || overrides.iter().any(|o| o.next_hop.is_some());
    if note("nextHop", field::NEXT_HOP, next_hop) {
        spec.next_hop = None;
        overrides.iter_mut().for_each(|o| o.next_hop = None);
    }
    if note("connectTime", field::CONNECT_TIME, spec.connect_time.is_some()) {
        spec.connect_time = None;
    }
    if note("enableGracefulRestart", field::GRACEFUL_RESTART, spec.enable_graceful_restart.is_some()) {
        spec.enable_graceful_restart = None;
    }
    if note("dualStackAddressFamily", field::DUAL_STACK, spec.dual_stack_address_family == Some(true)) {
        spec.dual_stack_address_family = None;
    }
    messages
}

/// The spec as it is for the nodes of an override.
fn overridden(spec: &RouterPeerSpec, overriding: &NodeOverride) -> RouterPeerSpec {
    // Destructured so that a new field can't be forgotten.
    let NodeOverride {
        node_selector: _,
        my_asn,
        peer_asn,
        peer_address,
        source_address,
        local_asn,
        interface,
        next_hop,
        router_id,
    } = overriding.clone();
    let mut spec = spec.clone();
    if peer_asn.is_some() {
        spec.dynamic_asn = None;
    }
    if peer_address.is_some() || interface.is_some() {
        (spec.peer_address, spec.interface) = (peer_address, interface);
    }
    spec.my_asn = my_asn.or(spec.my_asn);
    spec.peer_asn = peer_asn.or(spec.peer_asn);
    spec.source_address = source_address.or(spec.source_address);
    spec.local_asn = local_asn.or(spec.local_asn);
    spec.next_hop = next_hop.or(spec.next_hop);
    spec.router_id = router_id.or(spec.router_id);
    spec
}

/// Timers that FRR-K8s takes for its defaults and does not write, although FRR then has others: the connect time of 60s, for
/// which FRR takes 120s, and a hold time of 180s or a keepalive time of 60s where the other is no default (frr-k8s
/// `neighborToFRR` and the template `neighborsession`).
fn ignored_timers(neighbor: &Neighbor) -> Vec<String> {
    let mut messages = Vec::new();
    let of = |text: &Option<String>| seconds("", text).ok().flatten();
    if of(&neighbor.connect_time) == Some(60) {
        messages.push("connectTime: FRR-K8s takes 60s for the default and leaves it out, so FRR uses its own, 120s; 59s or 61s is passed on".to_owned());
    }
    if let (Some(hold), Some(keepalive)) = (of(&neighbor.hold_time), of(&neighbor.keepalive_time))
        && (hold == 180) != (keepalive == 60)
    {
        messages.push(format!(
            "holdTime {hold}s with keepaliveTime {keepalive}s: FRR-K8s passes on neither where one of them is its default (180s, 60s); choose both otherwise"
        ));
    }
    messages
}

/// Tells of fields that say what the adopted session says already.
fn not_adopted(spec: &RouterPeerSpec) -> Option<String> {
    let overrides = &spec.node_overrides;
    let fields = [
        ("myASN", spec.my_asn.is_some() || overrides.iter().any(|o| o.my_asn.is_some())),
        ("peerASN", spec.peer_asn.is_some() || overrides.iter().any(|o| o.peer_asn.is_some())),
        ("dynamicASN", spec.dynamic_asn.is_some()),
        ("peerPort", spec.peer_port.is_some()),
        ("sourceAddress", spec.source_address.is_some() || overrides.iter().any(|o| o.source_address.is_some())),
        ("localASN", spec.local_asn.is_some() || overrides.iter().any(|o| o.local_asn.is_some())),
        ("holdTime", spec.hold_time.is_some()),
        ("keepaliveTime", spec.keepalive_time.is_some()),
        ("connectTime", spec.connect_time.is_some()),
        ("passwordSecret", spec.password_secret.is_some()),
        ("bfd", spec.bfd.is_some()),
        ("enableGracefulRestart", spec.enable_graceful_restart.is_some()),
        ("ebgpMultiHop", spec.ebgp_multi_hop.is_some()),
        ("dualStackAddressFamily", spec.dual_stack_address_family.is_some()),
    ];
    let set: Vec<&str> = fields.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect();
    let one = if set.len() == 1 { "is" } else { "are" };
    let list = set.join(", ");
    (!set.is_empty())
        .then(|| format!("{list} {one} not looked at: the adopted session has its own; leave out what it says"))
}

/// What is left of a spec when everything that an adopted session has is taken from that.
fn without_adopted(spec: &RouterPeerSpec) -> RouterPeerSpec {
    RouterPeerSpec {
        peer_address: spec.peer_address.clone(),
        interface: spec.interface.clone(),
        vrf: spec.vrf.clone(),
        router_id: spec.router_id.clone(),
        next_hop: spec.next_hop.clone(),
        // Stands in for those of the session to come, and is never written.
        my_asn: Some(1),
        peer_asn: Some(1),
        // Which families it carries is not known yet either.
        dual_stack_address_family: Some(true),
        ..RouterPeerSpec::default()
    }
}

fn peer(world: &World, name: &str, spec: &RouterPeerSpec) -> Result<Peer, Refused> {
    let terms = terms(world, spec)?;
    let adopt = spec.adopt_session.as_ref().map(|adopt| Selector::new(&adopt.selector.clone().unwrap_or_default()));
    let adopt =
        adopt.transpose().map_err(|error| (Reason::InvalidSelector, format!("adoptSession.selector: {error}")))?;
    let nodes = Selector::all(&spec.node_selectors)
        .map_err(|error| (Reason::InvalidSelector, format!("nodeSelectors: {error}")))?;
    let max_prefixes = spec
        .max_prefixes
        .map(|max| usize::try_from(max).ok().filter(|max| *max > 0).ok_or(max))
        .transpose()
        .map_err(|max| (Reason::InvalidValue, format!("maxPrefixes: {max} is less than 1")))?;
    let withdraw_at = spec.drain.as_ref().map(|drain| drain.withdraw_at.0);
    Ok(Peer { name: name.to_owned(), nodes, max_prefixes, withdraw_at, adopt, terms, overrides: Vec::new() })
}

fn terms(world: &World, spec: &RouterPeerSpec) -> Result<Terms, Refused> {
    if spec.adopt_session.is_some() {
        return terms(world, &without_adopted(spec));
    }
    // Destructured so that a new field can't be forgotten.
    let RouterPeerSpec {
        my_asn,
        peer_asn,
        dynamic_asn,
        peer_address,
        interface,
        peer_port,
        source_address,
        local_asn,
        hold_time,
        keepalive_time,
        connect_time,
        router_id,
        node_selectors: _,
        password_secret,
        bfd,
        enable_graceful_restart,
        ebgp_multi_hop,
        vrf,
        dual_stack_address_family,
        next_hop,
        max_prefixes: _,
        suspend: _,
        drain: _,
        adopt_session: _,
        node_overrides: _,
    } = spec;
    for (name, path, used) in [
        ("dynamicASN", field::DYNAMIC_ASN, dynamic_asn.is_some()),
        ("interface", field::INTERFACE, interface.is_some()),
    ] {
        if used && !world.frr_k8s_has(path) {
            let message =
                format!("{name}: the installed FRR-K8s has no field {path}, and without it there is no session");
            return Err((Reason::NotInFRRK8s, message));
        }
    }
    let invalid = |message: String| (Reason::InvalidValue, message);
    let my_asn = asn("myASN", *my_asn)?.ok_or_else(|| invalid("myASN is needed".to_owned()))?;
    let peer_asn = asn("peerASN", *peer_asn)?;
    if peer_asn.is_some() == dynamic_asn.is_some() {
        return Err(invalid("exactly one of peerASN and dynamicASN is needed".to_owned()));
    }
    let local_asn = asn("localASN", *local_asn)?;
    if local_asn == Some(my_asn) || (local_asn.is_some() && peer_asn == Some(my_asn)) {
        return Err(invalid(format!("localASN: {my_asn} is myASN or peerASN: it is for eBGP sessions, and differs")));
    }
    if local_asn.is_some() && *dynamic_asn == Some(DynamicAsn::Internal) {
        return Err(invalid("localASN is for eBGP sessions: dynamicASN must be External".to_owned()));
    }
    if peer_address.is_some() == interface.is_some() {
        return Err(invalid("exactly one of peerAddress and interface is needed".to_owned()));
    }
    // FRR-K8s keys neighbors by the text of the address: its shortest form is the one that others write too.
    let address = peer_address.as_deref().map(|text| ip("peerAddress", text)).transpose()?;
    if let Some(address) = address.filter(|address| !is_of_one_machine(*address) || address.is_loopback()) {
        return Err(invalid(format!(
            "peerAddress: {address} is not the address of a router; for an address of a link, use interface"
        )));
    }
    if interface.is_some() && peer_port.is_some() {
        return Err(invalid("peerPort: FRR has no port for a session over an interface".to_owned()));
    }
    if vrf.as_deref() == Some("default") {
        return Err(invalid("vrf: default is what FRR calls the VRF of peers that name none: leave it out".to_owned()));
    }
    for (field, name) in [("interface", interface), ("vrf", vrf)] {
        if let Some(name) = name.as_ref().filter(|name| !is_interface(name)) {
            return Err(invalid(format!("{field}: {name:?} is not the name of an interface")));
        }
    }
    if let Some(source) = source_address {
        match (source.parse::<IpAddr>(), address) {
            (Err(_), _) if !is_interface(source) => {
                let message = format!("sourceAddress: {source:?} is neither an address nor the name of an interface");
                return Err(invalid(message));
            }
            (Ok(source), Some(address)) if Family::of(source) != Family::of(address) => {
                let family = Family::of(address).name();
                return Err(invalid(format!("sourceAddress: {source} is no {family} address, as peerAddress is")));
            }
            _ => {}
        }
    }
    if let Some(port) = peer_port.filter(|port| !(1..=16_384).contains(port)) {
        return Err(invalid(format!("peerPort: {port} is not between 1 and 16384")));
    }
    let timers = (seconds("holdTime", hold_time)?, seconds("keepaliveTime", keepalive_time)?);
    match timers {
        (None, None) => {}
        (Some(hold), Some(keepalive)) if keepalive <= hold && (hold == 0 || (3..=65_535).contains(&hold)) => {}
        _ => {
            let message = "holdTime and keepaliveTime go together; holdTime is 0s or between 3s and 65535s, keepaliveTime not longer";
            return Err(invalid(message.to_owned()));
        }
    }
    if let Some(connect) = seconds("connectTime", connect_time)?.filter(|s| !(1..=65_535).contains(s)) {
        return Err(invalid(format!("connectTime: {connect}s is not between 1s and 65535s")));
    }
    let router_id = match router_id.as_deref().map(|text| (text, ip("routerID", text))) {
        None => None,
        // RFC 6286.
        Some((_, Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))) => {
            return Err(invalid("routerID: it must not be zero".to_owned()));
        }
        Some((_, Ok(IpAddr::V4(id)))) => Some(id.to_string()),
        Some((text, _)) => return Err(invalid(format!("routerID: {text:?} is not of the form 192.0.2.1"))),
    };
    let next_hop = next_hop.as_ref().map(|next_hop| NextHop {
        ipv4: next_hop.ipv4.clone(),
        ipv6: next_hop.ipv6.clone(),
        ..NextHop::default()
    });
    for (text, family) in next_hop.iter().flat_map(|n| [(&n.ipv4, Family::V4), (&n.ipv6, Family::V6)]) {
        if let Some(text) = text
            && ip("nextHop", text).map(Family::of) != Ok(family)
        {
            return Err(invalid(format!("nextHop: {text:?} is not an {} address", family.name())));
        }
        if let Some(text) = text.as_ref().filter(|text| !text.parse().is_ok_and(is_of_one_machine)) {
            return Err(invalid(format!("nextHop: {text} is not the address of a router")));
        }
    }
    let terms = Terms {
        my_asn,
        router_id,
        vrf: vrf.clone().unwrap_or_default(),
        neighbor: Neighbor {
            asn: peer_asn,
            dynamic_asn: dynamic_asn.map(|mode| match mode {
                DynamicAsn::Internal => "internal".to_owned(),
                DynamicAsn::External => "external".to_owned(),
            }),
            sourceaddress: source_address.clone(),
            address: address.map(|address| address.to_string()),
            interface: interface.clone(),
            port: *peer_port,
            password_secret: password_secret
                .as_ref()
                .map(|secret| SecretReference { name: Some(secret.name.clone()), ..SecretReference::default() }),
            hold_time: hold_time.clone(),
            keepalive_time: keepalive_time.clone(),
            connect_time: connect_time.clone(),
            ebgp_multi_hop: *ebgp_multi_hop,
            enable_graceful_restart: *enable_graceful_restart,
            dual_stack_address_family: dual_stack_address_family.filter(|dual| *dual),
            local_asn,
            ..Neighbor::default()
        },
        bfd: bfd.as_ref().map(bfd_profile),
        next_hop,
    };
    // FRR-K8s would refuse everything for the node (`nextHopToFRR` of `api_to_config.go`).
    if let Some(next_hop) = &terms.next_hop {
        for (family, text) in [(Family::V4, &next_hop.ipv4), (Family::V6, &next_hop.ipv6)] {
            if text.is_some() && !terms.carries(family) {
                return Err(invalid(format!("nextHop: the session does not carry {}", family.name())));
            }
        }
    }
    Ok(terms)
}

fn asn(field: &str, value: Option<i64>) -> Result<Option<i64>, (Reason, String)> {
    match value {
        Some(asn) if !(1..=i64::from(u32::MAX)).contains(&asn) => {
            Err((Reason::InvalidValue, format!("{field}: {asn} is not between 1 and 4294967295")))
        }
        asn => Ok(asn),
    }
}

fn ip(field: &str, text: &str) -> Result<IpAddr, (Reason, String)> {
    text.parse()
        .ok()
        .filter(|address| !is_mapped(*address))
        .ok_or_else(|| (Reason::InvalidValue, format!("{field}: {text:?} is not an IP address")))
}

/// An address that one machine can have, and that means the same everywhere.
fn is_of_one_machine(address: IpAddr) -> bool {
    let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || broadcast || link_local)
}

/// What the CRD allows: nothing that FRR's parser could take for more than a name.
fn is_interface(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
        // FRR-K8s could not tell it from an address, and who writes 192.0.2.300 means one.
        && !(name.matches('.').count() == 3 && name.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

/// A duration of whole seconds such as `90s`, `1m30s` or `1h`, in seconds.
fn seconds(field: &str, text: &Option<String>) -> Result<Option<u64>, (Reason, String)> {
    let Some(text) = text else { return Ok(None) };
    let parse = || {
        let (mut rest, mut sum) = (text.as_str(), 0_u64);
        for (unit, factor) in [('h', 3600), ('m', 60), ('s', 1)] {
            if let Some((number, after)) = rest.split_once(unit) {
                let digits = number.bytes().all(|b| b.is_ascii_digit());
                sum = number.parse::<u64>().ok().filter(|_| digits)?.checked_mul(factor)?.checked_add(sum)?;
                rest = after;
            }
        }
        (rest.is_empty() && !text.is_empty()).then_some(sum)
    };
    parse().map(Some).ok_or_else(|| {
        (Reason::InvalidValue, format!("{field}: {text:?} is not a duration of whole seconds such as 90s or 1m30s"))
    })
}

fn bfd_profile(bfd: &Bfd) -> BfdProfile {
    let Bfd {
        receive_interval,
        transmit_interval,
        detect_multiplier,
        echo_interval,
        echo_mode,
        passive_mode,
        minimum_ttl,
    } = bfd.clone();
    // Only what is set counts, so that the name stays the same when there are more fields one day.
    let numbers = [
        ("receiveInterval", receive_interval),
        ("transmitInterval", transmit_interval),
        ("detectMultiplier", detect_multiplier),
        ("echoInterval", echo_interval),
        ("echoMode", echo_mode.map(i32::from)),
        ("passiveMode", passive_mode.map(i32::from)),
        ("minimumTTL", minimum_ttl),
    ];
    let content: String = numbers.iter().filter_map(|(name, value)| Some(format!("{name} {}\n", (*value)?))).collect();
    BfdProfile {
        name: format!("clarion-{}", crate::hash::hash(&content)),
        receive_interval,
        transmit_interval,
        detect_multiplier,
        echo_interval,
        echo_mode,
        passive_mode,
        minimum_ttl,
        ..BfdProfile::default()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("90s", Ok(90))]
    #[case("1m30s", Ok(90))]
    #[case("1h", Ok(3600))]
    #[case("0s", Ok(0))]
    #[case("", Err(()))]
    #[case("90", Err(()))]
    #[case("1.5s", Err(()))]
    #[case("500ms", Err(()))]
    #[case("30s1m", Err(()))]
    #[case("99999999999999999999s", Err(()))]
    fn durations(#[case] text: &str, #[case] expected: Result<u64, ()>) {
        assert_eq!(seconds("f", &Some(text.to_owned())).map(Option::unwrap).map_err(|_| ()), expected);
    }

    fn valid() -> serde_json::Value {
        serde_json::json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"})
    }

    #[rstest]
    #[case("myASN", "0".into(), "myASN")]
    #[case("localASN", serde_json::json!(64512), "localASN")]
    #[case("localASN", serde_json::json!(64513), "")]
    #[case("peerPort", serde_json::json!(16385), "peerPort")]
    #[case("vrf", "a b".into(), "vrf")]
    #[case("vrf", "red\nrouter bgp 1".into(), "vrf")]
    #[case("sourceAddress", "lo!".into(), "sourceAddress")]
    #[case("sourceAddress", "192.0.2.300".into(), "sourceAddress")]
    #[case("sourceAddress", "2001:db8::1".into(), "sourceAddress")]
    #[case("sourceAddress", "192.0.2.7".into(), "")]
    #[case("sourceAddress", "eth0.100".into(), "")]
    #[case("routerID", "2001:db8::1".into(), "routerID")]
    #[case("routerID", "0.0.0.0".into(), "routerID")]
    #[case("peerAddress", "::ffff:192.0.2.1".into(), "peerAddress")]
    #[case("holdTime", "90s".into(), "holdTime")]
    #[case("connectTime", "0s".into(), "connectTime")]
    #[case("maxPrefixes", serde_json::json!(0), "maxPrefixes")]
    #[case("adoptSession", serde_json::json!({"selector": {"matchExpressions": [{"key": "a", "operator": "Gt"}]}}), "adoptSession.selector")]
    fn one_bad_field(#[case] field: &str, #[case] mut value: serde_json::Value, #[case] named: &str) {
        if value == "0" {
            value = serde_json::json!(0);
        }
        let mut spec = valid();
        spec[field] = value;
        let result = peer(&World::default(), "tor", &serde_json::from_value(spec).unwrap());
        if named.is_empty() {
            assert!(result.is_ok());
        } else {
            assert!(result.unwrap_err().1.contains(named));
        }
    }

    #[test]
    fn a_plain_peer_sets_nothing_that_was_not_asked_for() {
        let peer = terms(&World::default(), &serde_json::from_value(valid()).unwrap()).unwrap();
        let expected = serde_json::json!({"asn": 64513, "address": "192.0.2.1"});
        assert_eq!(serde_json::to_value(&peer.neighbor).unwrap(), expected);
        assert!(peer.carries(Family::V4) && !peer.carries(Family::V6));
    }
}
