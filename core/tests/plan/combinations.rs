//! Who gets which address where reservations, sharing, quotas, requests and successions meet.

use clarion_core::{
    World, plan, replay,
    world::{Family, ObjectName},
};
use rstest::rstest;
use serde_json::json;

use crate::cluster::*;

fn reserve_for(world: &mut World, named: &str, address: &str, service: &str) {
    reservation(world, named, json!({"poolName": "main", "addresses": [address], "serviceName": service}));
}

fn reserve_any(world: &mut World, named: &str, pool: &str, service: &str) {
    reservation(world, named, json!({"poolName": pool, "serviceName": service}));
}

#[test]
fn a_second_reservation_takes_nothing_from_the_first() {
    let mut world = world();
    reserve_for(&mut world, "first", "10.0.0.3", "db");
    settle(&mut world);
    add(&mut world, "web", 1);
    reserve_for(&mut world, "second", "10.0.0.3", "web");
    settle(&mut world);
    assert_eq!(reserved(&world, "first").0, ["10.0.0.3"]);
    assert_eq!(reserved(&world, "second").2, "10.0.0.3 is reserved for Service ns/db");
    assert_eq!(held(&world, "web"), ["10.0.0.0"]);
}

#[test]
fn who_can_not_have_what_is_reserved_for_it_gets_another() {
    let mut world = world();
    for (n, port) in [(1, 80), (2, 81)] {
        sharer(&mut world, &format!("s{n}"), n, port);
    }
    settle(&mut world);
    reserve_for(&mut world, "s1", "10.0.0.0", "s1");
    reserve_for(&mut world, "s2", "10.0.0.0", "s2");
    settle(&mut world);
    ports(&mut world, "s1", &[80, 81]);
    settle(&mut world);
    assert_eq!((held(&world, "s1"), held(&world, "s2")), (vec!["10.0.0.0".into()], vec!["10.0.0.1".into()]));

    reserve_for(&mut world, "gone", "10.0.0.7", "late");
    settle(&mut world);
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/29"], "excludeAddresses": ["10.0.0.7/32"]}));
    add(&mut world, "late", 9);
    settle(&mut world);
    assert_eq!(reserved(&world, "gone").2, "10.0.0.7 is not in pool main, or excluded there");
    assert_eq!(held(&world, "late"), ["10.0.0.2"]);
}

#[test]
fn a_service_gets_all_that_is_reserved_for_it_also_later() {
    let mut world = world();
    reservation(
        &mut world,
        "r",
        json!({"poolName": "main", "addresses": ["10.0.0.2", "10.0.0.5"], "serviceName": "db"}),
    );
    add(&mut world, "db", 1);
    hold(&mut world, "db", &["10.0.0.2"]);
    settle(&mut world);
    assert_eq!(held(&world, "db"), ["10.0.0.2", "10.0.0.5"]);
}

#[test]
fn a_reservation_that_changes_its_pool_lets_the_old_address_go() {
    let mut world = world();
    set_pool(&mut world, "other", json!({"addresses": ["10.0.9.0/30"]}));
    reserve_any(&mut world, "r", "main", "db");
    settle(&mut world);
    assert_eq!(reserved(&world, "r").0, ["10.0.0.0", "2001:db8::"]);
    reserve_any(&mut world, "r", "other", "db");
    settle(&mut world);
    assert_eq!(reserved(&world, "r").0, ["10.0.9.0"]);
    // While its pool can't be read, it lets nothing go.
    set_pool(&mut world, "other", json!({"addresses": ["10.0.9.0/99"]}));
    settle(&mut world);
    assert_eq!(reserved(&world, "r").0, ["10.0.9.0"]);
}

#[test]
fn who_moves_or_is_renumbered_gets_what_is_reserved_for_it_there() {
    for asks in [false, true] {
        let mut world = world();
        set_pool(&mut world, "next", json!({"addresses": ["10.0.9.0/29"]}));
        add(&mut world, "a", 1);
        hold(&mut world, "a", &["10.0.0.0"]);
        reservation(&mut world, "r", json!({"poolName": "next", "addresses": ["10.0.9.5"], "serviceName": "a"}));
        settle(&mut world);
        assert_eq!(held(&world, "a"), ["10.0.0.0"], "who holds an address keeps it");
        if asks {
            annotate(&mut world, "a", &[("address-pool", "next")]);
        } else {
            set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/29"], "succeededBy": "next"}));
        }
        settle(&mut world);
        assert!(held(&world, "a").contains(&"10.0.9.5".to_owned()), "{:?}", held(&world, "a"));
    }
}

#[test]
fn a_reserved_address_is_left_when_another_is_asked_for() {
    let mut world = world();
    reserve_for(&mut world, "r", "10.0.0.2", "a");
    add(&mut world, "a", 1);
    settle(&mut world);
    annotate(&mut world, "a", &[("loadBalancerIPs", "10.0.0.6")]);
    settle(&mut world);
    assert_eq!((held(&world, "a"), reserved(&world, "r").0), (vec!["10.0.0.6".into()], vec!["10.0.0.2".into()]));
}

#[test]
fn shared_and_reserved_addresses_are_restored_in_whatever_order_services_come() {
    for first in ["a", "other/b"] {
        let mut world = world();
        reserve_for(&mut world, "r", "10.0.0.4", "a");
        reserve_for(&mut world, "other/r", "10.0.0.4", "b");
        settle(&mut world);
        let order = if first == "a" { ["a", "other/b"] } else { ["other/b", "a"] };
        for (named, created) in order.into_iter().zip(1..) {
            sharer(&mut world, named, created, if named == "a" { 80 } else { 81 });
            let with = if named == "a" { "other" } else { "ns" };
            annotate(&mut world, named, &[("share-with-namespaces", with)]);
            settle(&mut world);
            if named == "other/b" && first == named {
                let (status, reason, message) = allocated(&world, "other/b");
                assert_eq!((status.as_str(), reason.as_str()), ("False", "Pending"));
                assert_eq!(message, "10.0.0.4 is reserved for it and for Service ns/a, which is not there yet");
            }
        }
        assert_eq!((held(&world, "a"), held(&world, "other/b")), (vec!["10.0.0.4".into()], vec!["10.0.0.4".into()]));
    }
}

#[test]
fn a_quota_that_is_used_up_still_lets_its_namespace_share_and_move() {
    let mut world = world();
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/29"], "defaultQuota": 1}));
    for (named, created, port) in [("a", 1, 80), ("b", 2, 81), ("other/c", 3, 82)] {
        sharer(&mut world, named, created, port);
        annotate(&mut world, named, &[("share-with-namespaces", if named == "other/c" { "ns" } else { "other" })]);
    }
    settle(&mut world);
    for named in ["a", "b", "other/c"] {
        assert_eq!(held(&world, named), ["10.0.0.0"], "{named}");
    }
    for named in ["a", "b"] {
        reserve_for(&mut world, named, "10.0.0.0", named);
    }
    settle(&mut world);
    assert_eq!((reserved(&world, "a").1, reserved(&world, "b").1), ("Reserved".into(), "Reserved".into()));
    add(&mut world, "third/alone", 4);
    settle(&mut world);
    annotate(&mut world, "third/alone", &[("loadBalancerIPs", "10.0.0.6")]);
    settle(&mut world);
    assert_eq!(held(&world, "third/alone"), ["10.0.0.6"]);
}

#[test]
fn whatever_becomes_of_the_pools_a_renumbered_service_loses_nothing() {
    let line = |world: &mut World, p: serde_json::Value, q: serde_json::Value| {
        set_pool(world, "p", p);
        set_pool(world, "q", q);
        settle(world);
    };
    let (p, q) = (json!({"addresses": ["10.1.0.0/29"], "succeededBy": "q"}), json!({"addresses": ["10.2.0.0/29"]}));
    let start = || {
        let mut world = world();
        remove(&mut world.pools, &ObjectName::cluster("main"));
        set_pool(&mut world, "r", json!({"addresses": ["10.3.0.0/29"], "autoAssign": false}));
        add(&mut world, "a", 1);
        hold(&mut world, "a", &["10.1.0.0"]);
        line(&mut world, p.clone(), q.clone());
        assert_eq!(held(&world, "a"), ["10.1.0.0", "10.2.0.0"]);
        world
    };
    let both = ["10.1.0.0", "10.2.0.0"];
    // The successor is succeeded too.
    let mut world = start();
    line(&mut world, p.clone(), json!({"addresses": ["10.2.0.0/29"], "succeededBy": "r"}));
    assert_eq!(held(&world, "a"), ["10.1.0.0", "10.2.0.0", "10.3.0.0"]);
    // And that one is mistyped: nobody succeeds, and nothing is taken.
    line(&mut world, p.clone(), json!({"addresses": ["10.2.0.0/29"], "succeededBy": "rr"}));
    assert_eq!(held(&world, "a"), ["10.1.0.0", "10.2.0.0", "10.3.0.0"]);
    for changed in [
        json!({"addresses": ["10.1.0.0/99"], "succeededBy": "q"}),
        json!({"addresses": ["10.1.0.0/29"], "succeededBy": "qq"}),
        json!({"addresses": ["10.1.0.0/29"]}),
    ] {
        for asks in [false, true] {
            let mut world = start();
            if asks {
                annotate(&mut world, "a", &[("loadBalancerIPs", "10.1.0.0")]);
                settle(&mut world);
                assert_eq!(held(&world, "a"), both);
            }
            let typo = changed["addresses"][0] == "10.1.0.0/99";
            line(&mut world, changed.clone(), q.clone());
            if typo || !asks {
                assert_eq!(held(&world, "a"), both, "{changed}");
            }
        }
    }
    // The old pool gets another name.
    let mut world = start();
    remove(&mut world.pools, &ObjectName::cluster("p"));
    set_pool(&mut world, "pp", json!({"addresses": ["10.1.0.0/29"]}));
    settle(&mut world);
    assert_eq!(held(&world, "a"), both);
}

#[test]
fn who_moves_is_announced_at_the_old_address_until_it_is_at_the_new_one() {
    let mut world = world();
    set_pool(&mut world, "other", json!({"addresses": ["10.0.1.0/29"], "autoAssign": false}));
    let only_main = custom::<clarion_api::LoadBalancerAdvertisementSpec, _>("all", json!({"pools": ["main"]}));
    put(&mut world.advertisements, only_main);
    add(&mut world, "a", 1);
    settle(&mut world);
    annotate(&mut world, "a", &[("address-pool", "other")]);
    settle(&mut world);
    assert_eq!(
        (held(&world, "a"), announced(&world)),
        (vec!["10.0.0.0".into(), "10.0.1.0".into()], vec!["10.0.0.0".into()])
    );
    assert_eq!(allocated(&world, "a").2, "10.0.1.0 from pool other; it gives up 10.0.0.0 when the rest is announced");
    put(&mut world.advertisements, custom::<clarion_api::LoadBalancerAdvertisementSpec, _>("all", json!({})));
    let mut together = false;
    settle_watching(&mut world, |world| {
        together |= announced(world) == ["10.0.0.0", "10.0.1.0"];
        assert!(!announced(world).is_empty());
    });
    assert!(together);
    assert_eq!((held(&world, "a"), announced(&world)), (vec!["10.0.1.0".into()], vec!["10.0.1.0".into()]));
}

#[test]
fn sharers_that_leave_an_address_together_are_cleared_after_it_is_withdrawn() {
    let mut world = world();
    set_pool(&mut world, "next", json!({"addresses": ["10.0.9.0/29"]}));
    sharer(&mut world, "a", 1, 80);
    sharer(&mut world, "b", 2, 81);
    settle(&mut world);
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/29"], "succeededBy": "next"}));
    settle(&mut world);
    for named in ["a", "b"] {
        annotate(&mut world, named, &[("release", "10.0.0.0")]);
    }
    settle_watching(&mut world, |world| {
        let old = "10.0.0.0".to_owned();
        let has = ["a", "b"].into_iter().any(|named| held(world, named).contains(&old));
        assert!(has || !announced(world).contains(&old), "announced, and nobody's");
    });
    assert_eq!((held(&world, "a"), held(&world, "b")), (vec!["10.0.9.0".into()], vec!["10.0.9.0".into()]));
}

#[test]
fn two_pools_with_one_successor_give_two_addresses_of_it() {
    let mut world = world();
    for name in ["p", "q"] {
        set_pool(
            &mut world,
            name,
            json!({"addresses": [if name == "p" { "10.1.0.0/29" } else { "10.2.0.0/29" }], "succeededBy": "main"}),
        );
    }
    add(&mut world, "a", 1);
    annotate(&mut world, "a", &[("address-pool", "p,q")]);
    let first = plan(&world).writes;
    assert_eq!(statuses(&first)[0].addresses.as_ref().unwrap().len(), 2, "at once");
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.0.0.0", "10.0.0.1"]);
}

#[test]
fn what_others_write_drives_nobody_out_and_is_not_touched() {
    let mut world = world();
    add(&mut world, "theirs", 1);
    edit(&mut world.services, &name("theirs"), |service| service.value.class = Some("example.com/other".to_owned()));
    add(&mut world, "ours", 2);
    settle(&mut world);
    hold(&mut world, "theirs", &["10.0.0.0"]);
    settle(&mut world);
    assert_eq!((held(&world, "ours"), held(&world, "theirs")), (vec!["10.0.0.0".into()], vec!["10.0.0.0".into()]));

    // Nor what another controller wrote into our pool's range before our conditions were gone.
    edit(&mut world.services, &name("ours"), |service| service.value.class = Some("example.com/other".to_owned()));
    hold(&mut world, "ours", &["10.0.0.6"]);
    settle(&mut world);
    assert_eq!(held(&world, "ours"), ["10.0.0.6"]);
    assert!(world.services.get(&name("ours")).unwrap().value.conditions.is_empty());
}

#[rstest]
#[case(&[("loadBalancerIPs", "10.0.0.1, 10.0.0.2"), ("metallb.io/loadBalancerIPs", "10.0.0.2,10.0.0.1")], None)]
#[case(&[("loadBalancerIPs", "10.0.0.2,10.0.0.1")], Some("10.0.0.1"))]
fn equal_requests_are_no_contradiction(#[case] annotations: &[(&str, &str)], #[case] spec: Option<&str>) {
    let mut world = world();
    add(&mut world, "a", 1);
    annotate(&mut world, "a", annotations);
    edit(&mut world.services, &name("a"), |service| service.value.load_balancer_ip = spec.map(str::to_owned));
    settle(&mut world);
    let mut both = held(&world, "a");
    both.sort();
    assert_eq!(both, ["10.0.0.1", "10.0.0.2"]);
}

#[test]
fn an_event_names_who_has_the_port_and_is_told_once() {
    let mut world = world();
    for (named, created, port) in [("a", 1, 80), ("b", 2, 81), ("c", 3, 82)] {
        sharer(&mut world, named, created, port);
    }
    settle(&mut world);
    ports(&mut world, "b", &[81, 82]);
    let events = |world: &mut World| {
        let mut events = Vec::new();
        for _ in 0..20 {
            let writes = plan(world).writes;
            events.extend(statuses(&writes).iter().filter_map(|write| write.event.clone()));
            writes.iter().for_each(|write| replay::land(world, write));
        }
        events.into_iter().map(|event| event.message).collect::<Vec<_>>()
    };
    assert_eq!(
        events(&mut world),
        ["10.0.0.0 is shared with the older Service ns/b, which has the port 82/TCP too; it has 10.0.0.1 now"]
    );
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/29"], "onRemoval": "Release"}));
    set_pool(&mut world, "next", json!({"addresses": ["10.0.9.0/29"]}));
    settle(&mut world);
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/32"], "onRemoval": "Release"}));
    assert_eq!(events(&mut world), ["10.0.0.1 has left its pool, which has onRemoval: Release; it has 10.0.9.0 now"]);
}

#[test]
fn a_pool_that_is_asked_for_and_shrinks_takes_nothing() {
    let mut world = world();
    set_pool(&mut world, "p", json!({"addresses": ["10.1.0.0/29"]}));
    add(&mut world, "a", 1);
    annotate(&mut world, "a", &[("address-pool", "p")]);
    settle(&mut world);
    set_pool(&mut world, "p", json!({"addresses": ["10.1.0.4/30"]}));
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.1.0.0", "10.1.0.4"]);
    let (status, reason, message) = allocated(&world, "a");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Retained"));
    assert!(message.contains("it also has 10.1.0.0, kept although no valid pool holds it any more"), "{message}");
}

#[test]
fn a_line_of_successors_stands_for_the_pool_that_is_asked_for() {
    let mut world = world();
    set_pool(&mut world, "p", json!({"addresses": ["10.1.0.0/29"], "succeededBy": "q"}));
    set_pool(&mut world, "q", json!({"addresses": ["10.2.0.0/29"]}));
    set_pool(&mut world, "r", json!({"addresses": ["10.3.0.0/29"]}));
    add(&mut world, "a", 1);
    hold(&mut world, "a", &["10.1.0.0"]);
    annotate(&mut world, "a", &[("address-pool", "p")]);
    settle(&mut world);
    set_pool(&mut world, "q", json!({"addresses": ["10.2.0.0/29"], "succeededBy": "r"}));
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.1.0.0", "10.2.0.0", "10.3.0.0"]);
    annotate(&mut world, "a", &[("release", "10.1.0.0")]);
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.2.0.0", "10.3.0.0"]);
    annotate(&mut world, "a", &[("loadBalancerIPs", "10.2.0.0")]);
    settle(&mut world);
    assert_eq!(allocated(&world, "a").1, "Succession", "no contradiction: {}", allocated(&world, "a").2);
}

#[rstest]
#[case::by_pools(&[("address-pool", "p,q")])]
#[case::by_addresses(&[("loadBalancerIPs", "10.1.0.0,10.2.0.0")])]
#[case::by_reservations(&[])]
fn who_has_an_address_of_the_successor_needs_no_other(#[case] annotations: &[(&str, &str)]) {
    let mut world = world();
    set_pool(&mut world, "p", json!({"addresses": ["10.1.0.0/29"], "succeededBy": "q"}));
    set_pool(&mut world, "q", json!({"addresses": ["10.2.0.0/29"]}));
    for (pool, address) in [("p", "10.1.0.0"), ("q", "10.2.0.0")] {
        if annotations.is_empty() {
            reservation(&mut world, pool, json!({"poolName": pool, "serviceName": "a", "addresses": [address]}));
        }
    }
    set_pool(&mut world, "p", json!({"addresses": ["10.1.0.0/29"]}));
    add(&mut world, "a", 1);
    annotate(&mut world, "a", annotations);
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.1.0.0", "10.2.0.0"]);
    set_pool(&mut world, "p", json!({"addresses": ["10.1.0.0/29"], "succeededBy": "q"}));
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.1.0.0", "10.2.0.0"]);
}

#[test]
fn nobody_waits_for_a_service_that_it_could_not_share_with() {
    let mut world = world();
    reserve_for(&mut world, "other/r", "10.0.0.4", "missing");
    settle(&mut world);
    sharer(&mut world, "b", 1, 80);
    reserve_for(&mut world, "r", "10.0.0.4", "b");
    settle(&mut world);
    assert_eq!(held(&world, "b"), ["10.0.0.0"]);
}

#[test]
fn one_family_does_not_wait_for_what_the_other_waits_for() {
    let mut world = world();
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/29", "2001:db8::/125"]}));
    sharer(&mut world, "s1", 1, 80);
    sharer(&mut world, "s2", 2, 81);
    settle(&mut world);
    reserve_for(&mut world, "s1", "10.0.0.0", "s1");
    reserve_for(&mut world, "s2", "10.0.0.0", "s2");
    settle(&mut world);
    edit(&mut world.services, &name("s2"), |service| service.value.families = vec![Family::V4, Family::V6]);
    annotate(&mut world, "s2", &[("loadBalancerIPs", "2001:db8::99")]);
    ports(&mut world, "s1", &[80, 81]);
    settle(&mut world);
    assert_eq!(held(&world, "s2"), ["10.0.0.1"]);
    assert!(allocated(&world, "s2").2.contains("2001:db8::99 is in no LoadBalancerPool"));
}

#[test]
fn what_is_reserved_in_a_pool_that_can_not_be_read_now_is_waited_for() {
    let mut world = world();
    set_pool(&mut world, "other", json!({"addresses": ["10.0.9.0/30"]}));
    reserve_for(&mut world, "r", "10.0.0.4", "db");
    settle(&mut world);
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/99"]}));
    add(&mut world, "db", 1);
    settle(&mut world);
    assert_eq!(allocated(&world, "db").2, "10.0.0.4 is reserved for it, but its pool is not valid now");
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/29"]}));
    settle(&mut world);
    assert_eq!(held(&world, "db"), ["10.0.0.4"]);
}

#[test]
fn who_moves_from_an_address_that_its_namespace_goes_on_having_needs_quota() {
    let mut world = world();
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/29"], "defaultQuota": 1}));
    sharer(&mut world, "a", 1, 80);
    sharer(&mut world, "b", 2, 81);
    settle(&mut world);
    annotate(&mut world, "a", &[("loadBalancerIPs", "10.0.0.5")]);
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.0.0.0"]);
    assert!(allocated(&world, "a").2.starts_with("10.0.0.5 is in pool main: quota 1/1 used"));
}

#[test]
fn all_that_replaces_an_address_must_be_announced() {
    let mut world = world();
    set_pool(&mut world, "dark", json!({"addresses": ["10.0.1.0/29"], "autoAssign": false}));
    set_pool(&mut world, "quiet", json!({"addresses": ["10.0.2.0/29"], "autoAssign": false, "announce": false}));
    let only_main = custom::<clarion_api::LoadBalancerAdvertisementSpec, _>("all", json!({"pools": ["main"]}));
    put(&mut world.advertisements, only_main);
    add(&mut world, "a", 1);
    annotate(&mut world, "a", &[("loadBalancerIPs", "10.0.0.0,10.0.0.1")]);
    settle(&mut world);
    annotate(&mut world, "a", &[("loadBalancerIPs", "10.0.0.0,10.0.1.1")]);
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.0.0.0", "10.0.0.1", "10.0.1.1"]);
    assert_eq!(announced(&world), ["10.0.0.0", "10.0.0.1"]);
    // What is not meant to be announced is not waited for.
    annotate(&mut world, "a", &[("loadBalancerIPs", "10.0.2.1")]);
    settle(&mut world);
    assert_eq!((held(&world, "a"), announced(&world)), (vec!["10.0.2.1".into()], vec![]));
}

#[test]
fn a_reservation_does_not_count_on_the_consent_of_others_services() {
    let mut world = world();
    sharer(&mut world, "theirs", 1, 80);
    edit(&mut world.services, &name("theirs"), |service| service.value.class = Some("example.com/other".to_owned()));
    hold(&mut world, "theirs", &["10.0.0.4"]);
    sharer(&mut world, "ours", 2, 81);
    reserve_for(&mut world, "r", "10.0.0.4", "ours");
    settle(&mut world);
    assert_eq!(reserved(&world, "r").2, "10.0.0.4 is held by Service ns/theirs");
    assert_eq!(held(&world, "ours"), ["10.0.0.0"]);
}
