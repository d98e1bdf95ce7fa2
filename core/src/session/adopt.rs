//! `adoptSession`: the parameters of a session from what somebody else has written for the same router.

use clarion_api::frr::Neighbor;

use super::agree::Note;
use crate::{
    config::{Selector, Terms},
    finding::Reason,
    layer::key,
    others::Set,
    world::ObjectName,
};

/// The terms with everything that FRR-K8s compares between objects taken from the session of others with the same router, and
/// the object that has it. BFD, which FRR-K8s lets one object leave out, is left to that object.
pub fn adopt(terms: &Terms, selector: &Selector, set: &Set) -> Result<(Terms, ObjectName), Note> {
    let with = key(&terms.neighbor);
    let none = |message: String| Note { reason: Reason::NothingToAdopt, message };
    let mut eligible = set.objects.iter().filter(|object| selector.matches(&object.meta.labels));
    let found = eligible.find_map(|object| {
        let routers = object.value.spec().bgp.iter().flat_map(|bgp| &bgp.routers);
        let mut of_vrf = routers.filter(|router| router.vrf.as_deref().unwrap_or_default() == terms.vrf);
        let found = of_vrf.find_map(|router| {
            let neighbor = router.neighbors.iter().find(|neighbor| is_same(neighbor, &terms.neighbor))?;
            Some((router.asn, neighbor))
        });
        Some((&object.meta.name, found?))
    });
    let Some((name, (my_asn, neighbor))) = found else {
        let vrf = if terms.vrf.is_empty() { String::new() } else { format!(" in VRF {}", terms.vrf) };
        return Err(none(format!("no FRRConfiguration of others that counts has a session with {with}{vrf} to adopt")));
    };
    if neighbor.password.as_ref().is_some_and(|password| !password.is_empty()) {
        return Err(none(format!(
            "FRRConfiguration {name} has the password of the session with {with} in clear text, which Clarion copies nowhere: put it into a Secret and use passwordSecret"
        )));
    }
    Ok((Terms { my_asn, neighbor: compared(neighbor), bfd: None, ..terms.clone() }, name.clone()))
}

/// The same address, however it is spelled, or the same interface.
fn is_same(one: &Neighbor, other: &Neighbor) -> bool {
    let address =
        |neighbor: &Neighbor| neighbor.address.as_deref().and_then(|text| text.parse::<std::net::IpAddr>().ok());
    match (address(one), address(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one.interface.is_some() && one.interface == other.interface,
        _ => false,
    }
}

/// What FRR-K8s compares, and graceful restart, of which it takes anybody's.
fn compared(neighbor: &Neighbor) -> Neighbor {
    let neighbor = neighbor.clone();
    Neighbor {
        asn: neighbor.asn,
        dynamic_asn: neighbor.dynamic_asn,
        sourceaddress: neighbor.sourceaddress,
        address: neighbor.address,
        interface: neighbor.interface,
        port: neighbor.port,
        password_secret: neighbor.password_secret,
        hold_time: neighbor.hold_time,
        keepalive_time: neighbor.keepalive_time,
        connect_time: neighbor.connect_time,
        ebgp_multi_hop: neighbor.ebgp_multi_hop,
        enable_graceful_restart: neighbor.enable_graceful_restart,
        dual_stack_address_family: neighbor.dual_stack_address_family.filter(|dual| *dual),
        local_asn: neighbor.local_asn,
        ..Neighbor::default()
    }
}
