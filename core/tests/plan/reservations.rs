//! Addresses that are kept for a Service, whether or not it is there.

use clarion_core::{World, world::Family};
use rstest::rstest;
use serde_json::json;

use crate::cluster::*;

#[test]
fn a_reserved_address_is_nobody_elses_whether_or_not_its_service_is_there() {
    let mut world = world();
    let spec = json!({"poolName": "main", "addresses": ["10.0.0.0", "2001:db8::5"], "serviceName": "db"});
    reservation(&mut world, "r", spec);
    add(&mut world, "any", 1);
    add(&mut world, "thief", 2);
    annotate(&mut world, "thief", &[("loadBalancerIPs", "10.0.0.0")]);
    settle(&mut world);
    assert_eq!(reserved(&world, "r").0, ["10.0.0.0", "2001:db8::5"]);
    assert_eq!(reserved(&world, "r").1, "Reserved");
    assert_eq!(held(&world, "any"), ["10.0.0.1"]);
    assert_eq!(allocated(&world, "thief").2, "10.0.0.0 is reserved for Service ns/db");
    assert_eq!(usage(&world, "main"), (2, 6));
    for created in [3, 4] {
        service(&mut world, "db", created, &[Family::V4, Family::V6]);
        settle(&mut world);
        assert_eq!(held(&world, "db"), ["10.0.0.0", "2001:db8::5"]);
        remove(&mut world.services, &name("db"));
        settle(&mut world);
    }
    remove(&mut world.reservations, &name("r"));
    settle(&mut world);
    assert_eq!(held(&world, "thief"), ["10.0.0.0"]);
}

#[test]
fn a_reservation_for_what_another_holds_waits_and_says_for_whom() {
    let mut world = world();
    add(&mut world, "holder", 1);
    settle(&mut world);
    reservation(&mut world, "r", json!({"poolName": "main", "addresses": ["10.0.0.0"], "serviceName": "db"}));
    settle(&mut world);
    let (addresses, reason, message) = reserved(&world, "r");
    assert!(addresses.is_empty());
    assert_eq!((reason.as_str(), message.as_str()), ("AddressNotAvailable", "10.0.0.0 is held by Service ns/holder"));
    add(&mut world, "db", 2);
    settle(&mut world);
    assert_eq!(held(&world, "db"), ["10.0.0.1"], "meanwhile its Service gets another");
    remove(&mut world.services, &name("holder"));
    settle(&mut world);
    assert_eq!(reserved(&world, "r").0, ["10.0.0.0"]);
    assert_eq!(held(&world, "db"), ["10.0.0.1"], "who holds an address keeps it");
}

#[test]
fn a_reservation_without_addresses_takes_what_its_service_has_else_a_free_one_of_each_family() {
    let mut world = world();
    add(&mut world, "first", 1);
    add(&mut world, "db", 2);
    settle(&mut world);
    reservation(&mut world, "r", json!({"poolName": "main", "serviceName": "db"}));
    reservation(&mut world, "later", json!({"poolName": "main", "serviceName": "later"}));
    settle(&mut world);
    assert_eq!(reserved(&world, "r").0, ["10.0.0.1", "2001:db8::1"]);
    assert_eq!(reserved(&world, "later").0, ["10.0.0.2", "2001:db8::"]);
    remove(&mut world.services, &name("first"));
    settle(&mut world);
    assert_eq!(reserved(&world, "later").0, ["10.0.0.2", "2001:db8::"], "it stays where it is");
    add(&mut world, "later", 3);
    settle(&mut world);
    assert_eq!(held(&world, "later"), ["10.0.0.2"]);
}

#[rstest]
#[case(json!({"poolName": "none", "serviceName": "db"}), "UnknownName", "poolName: there is no valid LoadBalancerPool \"none\"")]
#[case(json!({"poolName": "main", "addresses": ["10.0.0.x"], "serviceName": "db"}), "InvalidAddresses", "\"10.0.0.x\": it is not an IP address")]
#[case(json!({"poolName": "main", "addresses": ["10.9.0.1"], "serviceName": "db"}), "AddressNotAvailable", "10.9.0.1 is not in pool main")]
#[case(json!({"poolName": "small", "serviceName": "db"}), "NoPool", "no IPv4 address: small: quota 1/1 used")]
#[case(json!({"poolName": "theirs", "serviceName": "db"}), "NoPool", "no IPv4 address: theirs: namespace not allowed")]
#[case(json!({"poolName": "off", "addresses": ["10.4.0.0"], "serviceName": "db"}), "AddressNotAvailable", "10.4.0.0 is in pool off: disabled")]
fn a_reservation_that_can_not_be_met_says_why(
    #[case] spec: serde_json::Value,
    #[case] reason: &str,
    #[case] words: &str,
) {
    let mut world = world();
    set_pool(&mut world, "small", json!({"addresses": ["10.2.0.0/30"], "defaultQuota": 1}));
    set_pool(
        &mut world,
        "theirs",
        json!({"addresses": ["10.3.0.0/30"], "serviceAllocation": {"namespaces": ["theirs"]}}),
    );
    set_pool(&mut world, "off", json!({"addresses": ["10.4.0.0/30"], "disabled": true}));
    reservation(&mut world, "first", json!({"poolName": "small", "serviceName": "first"}));
    settle(&mut world);
    reservation(&mut world, "r", spec);
    settle(&mut world);
    let (addresses, found, message) = reserved(&world, "r");
    assert!(addresses.is_empty(), "{addresses:?}");
    assert_eq!(found, reason, "{message}");
    assert!(message.contains(words), "{message}");
    assert_eq!(reserved(&world, "first").0, ["10.2.0.0"]);
}

#[test]
fn reservations_of_services_that_share_an_address_restore_it_for_both() {
    let mut world = world();
    for (n, port) in [(1, 80), (2, 81)] {
        let service = format!("s{n}");
        sharer(&mut world, &service, n, port);
        reservation(
            &mut world,
            &service,
            json!({"poolName": "main", "addresses": ["10.0.0.4"], "serviceName": service}),
        );
    }
    settle(&mut world);
    for service in ["s1", "s2"] {
        assert_eq!(held(&world, service), ["10.0.0.4"]);
        assert_eq!(reserved(&world, service).0, ["10.0.0.4"]);
    }
    // Not those of another namespace that does not share.
    reservation(&mut world, "other/r", json!({"poolName": "main", "addresses": ["10.0.0.4"], "serviceName": "s1"}));
    settle(&mut world);
    assert_eq!(reserved(&world, "other/r").2, "10.0.0.4 is reserved for Service ns/s1");
}

#[rstest]
#[case::a_certain_one(json!({"poolName": "main", "addresses": ["10.0.0.0"], "serviceName": "s1"}))]
#[case::any(json!({"poolName": "main", "serviceName": "s1"}))]
fn a_reservation_keeps_a_shared_address_while_its_service_is_gone(
    #[case] spec: serde_json::Value,
    #[values(true, false)] both: bool,
) {
    let mut world = world();
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/29"]}));
    for (n, port) in [(1, 80), (2, 81), (3, 80)] {
        sharer(&mut world, &format!("s{n}"), n, port);
        if n == 3 {
            annotate(&mut world, "s3", &[("loadBalancerIPs", "10.0.0.0")]);
        }
        settle(&mut world);
    }
    if both {
        reservation(&mut world, "first", json!({"poolName": "main", "addresses": ["10.0.0.0"], "serviceName": "s2"}));
        settle(&mut world);
    }
    reservation(&mut world, "r", spec);
    settle(&mut world);
    assert_eq!(reserved(&world, "r").0, ["10.0.0.0"]);
    remove(&mut world.services, &name("s1"));
    settle_watching(&mut world, |world| {
        assert_eq!(reserved(world, "r").0, ["10.0.0.0"]);
        assert!(held(world, "s3").is_empty());
    });
    assert_eq!(allocated(&world, "s3").2, "10.0.0.0 is reserved for Service ns/s1");
    sharer(&mut world, "s1", 4, 80);
    settle(&mut world);
    assert_eq!(held(&world, "s1"), ["10.0.0.0"]);
    // Of one that does not share any more nothing is left to be kept.
    remove(&mut world.services, &name("s1"));
    add(&mut world, "s1", 5);
    settle(&mut world);
    assert_ne!(held(&world, "s1"), ["10.0.0.0"]);
    assert_ne!(reserved(&world, "r").0, ["10.0.0.0"]);
}

#[test]
fn of_two_for_whom_an_address_is_reserved_none_comes_first_who_does_not_share_it() {
    let mut world = world();
    for (n, port) in [(1, 80), (2, 81)] {
        let service = format!("s{n}");
        sharer(&mut world, &service, n, port);
        let spec = json!({"poolName": "main", "addresses": ["10.0.0.0"], "serviceName": service});
        settle(&mut world);
        reservation(&mut world, &format!("r{n}"), spec);
    }
    settle(&mut world);
    for n in [1, 2] {
        remove(&mut world.services, &name(&format!("s{n}")));
    }
    settle(&mut world);
    let both = |world: &World| ["r1", "r2"].map(|name| reserved(world, name).0.len());
    assert_eq!(both(&world), [1, 1]);
    add(&mut world, "s2", 3);
    settle(&mut world);
    assert_eq!(both(&world), [1, 0]);
    assert_ne!(held(&world, "s2"), ["10.0.0.0"]);
    sharer(&mut world, "s1", 4, 80);
    settle(&mut world);
    assert_eq!(held(&world, "s1"), ["10.0.0.0"]);
}

#[test]
fn a_reservation_for_another_service_keeps_nothing_that_somebody_has() {
    let mut world = world();
    add(&mut world, "a", 1);
    settle(&mut world);
    reservation(&mut world, "r", json!({"poolName": "main", "serviceName": "a"}));
    settle(&mut world);
    assert_eq!(reserved(&world, "r").0[0], "10.0.0.0");
    edit(&mut world.reservations, &name("r"), |r| r.value.spec.as_mut().unwrap().service_name = "b".to_owned());
    settle(&mut world);
    assert_eq!(reserved(&world, "r").0[0], "10.0.0.1");
    assert_eq!(held(&world, "a"), ["10.0.0.0"]);
}

#[test]
fn who_asks_for_a_pool_waits_for_the_address_there_that_is_reserved_for_it() {
    let mut world = world();
    sharer(&mut world, "old", 1, 80);
    sharer(&mut world, "leaving", 2, 81);
    settle(&mut world);
    reservation(&mut world, "r", json!({"poolName": "main", "addresses": ["10.0.0.0"], "serviceName": "new"}));
    settle(&mut world);
    edit(&mut world.services, &name("leaving"), |service| service.value.class = Some("example.com/other".to_owned()));
    sharer(&mut world, "new", 3, 81);
    annotate(&mut world, "new", &[("address-pool", "main")]);
    settle_watching(&mut world, |world| assert!(["", "10.0.0.0"].contains(&held(world, "new").join(" ").as_str())));
    assert_eq!(held(&world, "new"), ["10.0.0.0"]);
}
