//! Everything is withdrawn, for an uninstall.

use clarion_api::{AddressReservationSpec, names};
use clarion_core::{
    ConfigurationWrite, Reason, World, Write, plan, replay,
    world::{DrainAll, Family, ObjectName},
};
use rstest::rstest;
use serde_json::json;

use crate::cluster::*;

fn announcing() -> World {
    let mut world = world();
    service(&mut world, "s", 1, &[Family::V4, Family::V6]);
    service(&mut world, "t", 2, &[Family::V4]);
    edit(&mut world.services, &ObjectName::new("ns", "t"), |service| service.value.is_local = true);
    edit(&mut world.endpoint_slices, &ObjectName::new("ns", "t"), |slice| {
        slice.value.endpoints.iter_mut().for_each(|endpoint| endpoint.node = Some("a".into()));
    });
    settle(&mut world);
    assert_eq!(announced(&world), ["10.0.0.0", "10.0.0.1", "2001:db8::"]);
    world
}

#[test]
fn nothing_is_announced_and_services_keep_their_addresses() {
    let mut world = announcing();
    world.drain_all = Some(DrainAll::Routes);
    settle(&mut world);
    assert_eq!(world.configurations.iter().count(), 0);
    assert_eq!(addresses(&world, "s"), ["10.0.0.0", "2001:db8::"]);
    let (status, reason, message) = condition(&world, "t", "Announced");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "AllDrained"));
    assert!(message.contains("clarion drain-all --undo"), "{message}");
    let peer = world.peers.iter().next().unwrap().value.status.clone().unwrap();
    assert_eq!(peer.conditions.iter().find(|c| c.type_ == names::READY).unwrap().reason, "AllDrained");
    // Who comes now gets an address, as ever.
    service(&mut world, "u", 3, &[Family::V4]);
    settle(&mut world);
    assert_eq!(addresses(&world, "u"), ["10.0.0.2"]);
    assert!(announced(&world).is_empty());

    world.drain_all = None;
    settle(&mut world);
    assert_eq!(announced(&world), ["10.0.0.0", "10.0.0.1", "10.0.0.2", "2001:db8::"]);
    assert_eq!(addresses(&world, "t"), ["10.0.0.1"]);
}

#[test]
fn addresses_are_taken_from_services_once_nothing_announces_them() {
    let mut world = announcing();
    let reserved = json!({"poolName": "main", "addresses": ["10.0.0.7"], "serviceName": "x"});
    let mut reservation = custom::<AddressReservationSpec, _>("r", reserved);
    reservation.meta.name = ObjectName::new("ns", "r");
    put(&mut world.reservations, reservation);
    settle(&mut world);
    world.drain_all = Some(DrainAll::Addresses);
    for _ in 0..20 {
        let writes = plan(&world).writes;
        let before = world.announced();
        for write in &writes {
            if let Write::ServiceStatus(write) = write
                && let Some(after) = &write.addresses
            {
                let service = world.services.get(&write.name).unwrap();
                let taken = service.value.addresses.iter().filter(|address| !after.contains(address));
                assert!(taken.clone().all(|address| !before.contains(address)), "{write:?}");
            }
        }
        writes.iter().for_each(|write| replay::land(&mut world, write));
    }
    assert!(plan(&world).writes.is_empty());
    assert_eq!(world.configurations.iter().count(), 0);
    for service in world.services.iter() {
        assert!(service.value.addresses.is_empty() && service.value.conditions.is_empty(), "{service:?}");
    }
    let status = world.reservations.iter().next().unwrap().value.status.clone().unwrap();
    assert_eq!(status.addresses, ["10.0.0.7"], "reservations are how addresses come back");
    service(&mut world, "u", 3, &[Family::V4]);
    settle(&mut world);
    assert!(addresses(&world, "u").is_empty());
    let u = world.services.get(&ObjectName::new("ns", "u")).unwrap();
    let (reason, why) = world.not_served(u).unwrap();
    assert_eq!(reason, Reason::AllDrained);
    assert!(why.contains("drain-all"), "{why}");
}

#[rstest]
#[case::routes(DrainAll::Routes)]
#[case::addresses(DrainAll::Addresses)]
fn a_new_leader_takes_nothing_away_at_once(#[case] all: DrainAll) {
    let mut world = announcing();
    world.add_only = true;
    world.drain_all = Some(all);
    let taken = plan(&world).writes.into_iter().find(|write| match write {
        Write::Configuration(ConfigurationWrite::Delete { .. }) => true,
        Write::ServiceStatus(write) => write.addresses.is_some(),
        _ => false,
    });
    assert_eq!(taken, None);
}
