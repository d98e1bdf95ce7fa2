//! Peers: the parameters of sessions.

use std::net::IpAddr;

use clarion_api::{
    RouterPeerSpec,
    frr::{BfdProfile, Neighbor, NextHop, SecretReference},
    peer::{Bfd, DynamicAsn, RouterPeerStatus},
};

use super::{Selector, addresses::is_mapped, unsupported};
use crate::{
    address_set::Family,
    finding::{Findings, Reason},
    layer::carries,
    world::{Custom, Kind, Object, ObjectRef},
};

/// A valid peer that is not suspended.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// The nodes; all if empty.
    pub nodes: Vec<Selector>,
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

impl Peer {
    /// The families that the session carries: that of its address, or both.
    #[must_use]
    pub fn carries(&self, family: Family) -> bool {
        carries(&self.neighbor, family)
    }
}

/// Checks one peer.
pub fn check(
    object: &Object<Custom<RouterPeerSpec, RouterPeerStatus>>,
    spec: &RouterPeerSpec,
    findings: &mut Findings,
) -> Option<Peer> {
    let id = ObjectRef::new(Kind::RouterPeer, object.meta.name.clone());
    match peer(&object.meta.name.name, spec) {
        Ok(peer) if spec.suspend => {
            let message = format!("spec.suspend is true: nothing is announced to {}", peer.name);
            findings.error(id, Reason::Suspended, message);
            None
        }
        Ok(peer) => Some(peer),
        Err((reason, message)) => {
            findings.error(id, reason, message);
            None
        }
    }
}

fn peer(name: &str, spec: &RouterPeerSpec) -> Result<Peer, (Reason, String)> {
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
        node_selectors,
        password_secret,
        bfd,
        enable_graceful_restart,
        ebgp_multi_hop,
        vrf,
        dual_stack_address_family,
        next_hop,
        max_prefixes,
        suspend: _,
        drain,
        adopt_session,
        node_overrides,
    } = spec;
    let fields = [
        ("maxPrefixes", max_prefixes.is_some()),
        ("drain", drain.is_some()),
        ("adoptSession", adopt_session.is_some()),
        ("nodeOverrides", !node_overrides.is_empty()),
    ];
    if let Some(message) = unsupported(&fields, "the peer has no sessions") {
        return Err((Reason::NotSupported, message));
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
    if peer_address.is_some() == interface.is_some() {
        return Err(invalid("exactly one of peerAddress and interface is needed".to_owned()));
    }
    // FRR-K8s keys neighbors by the text of the address: its shortest form is the one that others write too.
    let address = peer_address.as_deref().map(|text| ip("peerAddress", text)).transpose()?;
    for (field, name) in [("interface", interface), ("vrf", vrf)] {
        if let Some(name) = name.as_ref().filter(|name| !is_interface(name)) {
            return Err(invalid(format!("{field}: {name:?} is not the name of an interface")));
        }
    }
    if let Some(source) = source_address.as_ref().filter(|s| s.parse::<IpAddr>().is_err() && !is_interface(s)) {
        return Err(invalid(format!("sourceAddress: {source:?} is neither an address nor the name of an interface")));
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
    }
    Ok(Peer {
        name: name.to_owned(),
        nodes: Selector::all(node_selectors)
            .map_err(|error| (Reason::InvalidSelector, format!("nodeSelectors: {error}")))?,
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
    })
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

/// What the CRD allows: nothing that FRR's parser could take for more than a name.
fn is_interface(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
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
    BfdProfile {
        name: format!("clarion-{}", crate::hash::hash(&format!("{bfd:?}"))),
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
    #[case("routerID", "2001:db8::1".into(), "routerID")]
    #[case("peerAddress", "::ffff:192.0.2.1".into(), "peerAddress")]
    #[case("holdTime", "90s".into(), "holdTime")]
    #[case("connectTime", "0s".into(), "connectTime")]
    #[case("maxPrefixes", serde_json::json!(5), "maxPrefixes")]
    fn one_bad_field(#[case] field: &str, #[case] mut value: serde_json::Value, #[case] named: &str) {
        if value == "0" {
            value = serde_json::json!(0);
        }
        let mut spec = valid();
        spec[field] = value;
        let result = peer("tor", &serde_json::from_value(spec).unwrap());
        if named.is_empty() {
            assert!(result.is_ok());
        } else {
            assert!(result.unwrap_err().1.contains(named));
        }
    }

    #[test]
    fn a_plain_peer_sets_nothing_that_was_not_asked_for() {
        let peer = peer("tor", &serde_json::from_value(valid()).unwrap()).unwrap();
        let expected = serde_json::json!({"asn": 64513, "address": "192.0.2.1"});
        assert_eq!(serde_json::to_value(&peer.neighbor).unwrap(), expected);
        assert!(peer.carries(Family::V4) && !peer.carries(Family::V6));
    }
}
