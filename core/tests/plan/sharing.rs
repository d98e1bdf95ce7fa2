//! Who shares an address with whom, and who may not.

use clarion_core::{Reason, World, Write, plan};
use rstest::rstest;

use crate::cluster::*;

fn is_told_of_sharing(world: &World, service: &str) -> bool {
    let conditions = &world.services.get(&name(service)).unwrap().value.conditions;
    conditions.iter().any(|condition| condition.type_.ends_with("AddressShared"))
}

#[test]
fn services_of_one_key_share_an_address_as_long_as_their_ports_differ() {
    let mut world = world();
    for (n, port) in [(1, 80), (2, 81), (3, 80)] {
        sharer(&mut world, &format!("s{n}"), n, port);
    }
    edit(&mut world.services, &name("s2"), |s| s.value.is_local = true);
    add(&mut world, "alone", 4);
    settle(&mut world);
    assert_eq!(held(&world, "s1"), ["10.0.0.0"]);
    assert_eq!(held(&world, "s2"), ["10.0.0.0"], "of another traffic policy");
    assert_eq!(held(&world, "s3"), ["10.0.0.1"], "its port is taken there");
    assert_eq!(held(&world, "alone"), ["10.0.0.2"]);
    assert_eq!(usage(&world, "main"), (3, 5), "a shared address counts once");
    assert_eq!(condition(&world, "s1", "AddressShared").2, "10.0.0.0");
    assert!(!is_told_of_sharing(&world, "s3"));
}

#[test]
fn a_sharer_that_leaves_withdraws_nothing_from_the_rest() {
    let mut world = world();
    sharer(&mut world, "a", 1, 80);
    sharer(&mut world, "b", 2, 81);
    sharer(&mut world, "c", 3, 82);
    settle(&mut world);
    remove(&mut world.services, &name("a"));
    edit(&mut world.services, &name("b"), |b| b.value.class = Some("example.com/other".to_owned()));
    settle_watching(&mut world, |world| assert_eq!(announced(world), ["10.0.0.0"]));
    assert!(held(&world, "b").is_empty(), "it is cleared, although the address goes on being announced");
    assert!(world.services.get(&name("b")).unwrap().value.conditions.is_empty());
    assert_eq!(held(&world, "c"), ["10.0.0.0"]);
    assert!(!is_told_of_sharing(&world, "c"));
}

#[test]
fn present_sharers_stay_whatever_is_edited_but_for_a_port_clash_that_moves_the_younger() {
    let mut world = world();
    sharer(&mut world, "old", 1, 80);
    sharer(&mut world, "young", 2, 81);
    settle(&mut world);
    annotate(&mut world, "old", &[("allow-shared-ip", "")]);
    annotate(&mut world, "young", &[("allow-shared-ip", "another")]);
    settle(&mut world);
    assert_eq!((held(&world, "old"), held(&world, "young")), (vec!["10.0.0.0".into()], vec!["10.0.0.0".into()]));
    sharer(&mut world, "new", 3, 83);
    annotate(&mut world, "new", &[("loadBalancerIPs", "10.0.0.0")]);
    settle(&mut world);
    assert_eq!(
        allocated(&world, "new").2,
        "10.0.0.0 is held by Service ns/old, which does not share it with this Service"
    );
    ports(&mut world, "old", &[80, 81]);
    let event = plan(&world).writes.into_iter().find_map(|write| match write {
        Write::ServiceStatus(write) => write.event,
        _ => None,
    });
    assert_eq!(
        event.unwrap().message,
        "10.0.0.0 is shared with the older Service ns/old, which has the port 81/TCP too; it has 10.0.0.1 now"
    );
    settle(&mut world);
    assert_eq!((held(&world, "old"), held(&world, "young")), (vec!["10.0.0.0".into()], vec!["10.0.0.1".into()]));
}

#[rstest]
fn nobody_takes_the_place_of_a_sharer_before_its_status_is_cleared(
    #[values(true, false)] foreign: bool,
    #[values(true, false)] asked: bool,
) {
    let mut world = world();
    sharer(&mut world, "old", 1, 80);
    sharer(&mut world, "leaving", 2, 81);
    ports(&mut world, "leaving", &[81, 82]);
    settle(&mut world);
    if asked {
        sharer(&mut world, "new", 3, 82);
        annotate(&mut world, "new", &[("loadBalancerIPs", "10.0.0.0")]);
        settle(&mut world);
    } else {
        sharer(&mut world, "new", 3, 82);
    }
    let shared = "10.0.0.0".to_owned();
    if foreign {
        edit(&mut world.services, &name("leaving"), |s| s.value.class = Some("example.com/other".to_owned()));
    } else {
        ports(&mut world, "old", &[80, 81]);
    }
    settle_watching(&mut world, |world| {
        let has = |named: &str| held(world, named).contains(&shared);
        assert!(!has("new") || !has("leaving"), "both have port 82");
    });
    assert!(!held(&world, "leaving").contains(&shared));
    assert_eq!(held(&world, "new").contains(&shared), asked, "{:?}", held(&world, "new"));
}

#[test]
fn who_waits_for_a_sharer_to_leave_is_not_overtaken() {
    let mut world = world();
    for (named, created, numbers) in [("old", 1, [80, 83]), ("leaving", 2, [81, 82])] {
        sharer(&mut world, named, created, 80);
        ports(&mut world, named, &numbers);
    }
    settle(&mut world);
    edit(&mut world.services, &name("leaving"), |s| s.value.class = Some("example.com/other".to_owned()));
    for (named, created, numbers) in [("new", 3, [82, 90]), ("newer", 4, [90, 91])] {
        sharer(&mut world, named, created, 80);
        ports(&mut world, named, &numbers);
        annotate(&mut world, named, &[("loadBalancerIPs", "10.0.0.0")]);
    }
    settle_watching(&mut world, |_| ());
    assert_eq!((held(&world, "new"), held(&world, "newer")), (vec!["10.0.0.0".into()], vec![]));
    assert_eq!(allocated(&world, "newer").2, "10.0.0.0 is shared with Service ns/new, which has the port 90/TCP too");
}

#[test]
fn who_is_refused_is_told_who_does_not_share() {
    let mut world = world();
    for (named, created, port) in [("a", 1, 80), ("b", 2, 81)] {
        sharer(&mut world, named, created, port);
    }
    settle(&mut world);
    annotate(&mut world, "b", &[("allow-shared-ip", "")]);
    sharer(&mut world, "new", 3, 82);
    annotate(&mut world, "new", &[("loadBalancerIPs", "10.0.0.0")]);
    settle(&mut world);
    assert_eq!(
        allocated(&world, "new").2,
        "10.0.0.0 is held by Service ns/b, which does not share it with this Service"
    );
}

#[rstest]
#[case(&[], &[], false)]
#[case(&[("share-with-namespaces", "other")], &[], false)]
#[case(&[], &[("share-with-namespaces", "ns")], false)]
#[case(&[("share-with-namespaces", "x, other")], &[("share-with-namespaces", "ns")], true)]
fn namespaces_share_only_if_both_say_so(
    #[case] here: &[(&str, &str)],
    #[case] there: &[(&str, &str)],
    #[case] shared: bool,
) {
    for asked in [false, true] {
        let mut world = world();
        sharer(&mut world, "a", 1, 80);
        annotate(&mut world, "a", here);
        settle(&mut world);
        sharer(&mut world, "other/b", 2, 81);
        annotate(&mut world, "other/b", there);
        if asked {
            annotate(&mut world, "other/b", &[("loadBalancerIPs", "10.0.0.0")]);
        }
        settle(&mut world);
        assert_eq!(held(&world, "a"), ["10.0.0.0"]);
        let expected: &[&str] = if shared {
            &["10.0.0.0"]
        } else if asked {
            &[]
        } else {
            &["10.0.0.1"]
        };
        assert_eq!(held(&world, "other/b"), expected);
    }
}

#[test]
fn metallbs_keys_reach_across_namespaces_by_a_setting() {
    for everywhere in [false, true] {
        let mut world = world();
        world.settings.metallb_shares_across_namespaces = everywhere;
        for (named, created, port, key) in [
            ("a", 1, 80, "metallb.io/allow-shared-ip"),
            ("other/b", 2, 81, "metallb.universe.tf/allow-shared-ip"),
            ("third/c", 3, 82, "allow-shared-ip"),
        ] {
            add(&mut world, named, created);
            ports(&mut world, named, &[port]);
            annotate(&mut world, named, &[(key, "key")]);
        }
        settle(&mut world);
        assert_eq!(held(&world, "other/b") == held(&world, "a"), everywhere);
        assert_ne!(held(&world, "third/c"), held(&world, "a"), "our own annotation is not MetalLB's");
    }
}

#[test]
fn duplicates_that_somebody_else_wrote_are_resolved_for_good() {
    let mut world = world();
    for (named, created) in [("old", 1), ("young", 2)] {
        add(&mut world, named, created);
        hold(&mut world, named, &["10.0.0.3"]);
    }
    let event = plan(&world).writes.into_iter().find_map(|write| match write {
        Write::ServiceStatus(write) => write.event.map(|event| (write.name.name, event)),
        _ => None,
    });
    let (who, event) = event.unwrap();
    assert_eq!((who.as_str(), event.reason), ("young", Reason::AddressConflict));
    assert_eq!(event.message, "10.0.0.3 belongs to the older Service ns/old; it has 10.0.0.0 now");
    settle(&mut world);
    assert_eq!((held(&world, "old"), held(&world, "young")), (vec!["10.0.0.3".into()], vec!["10.0.0.0".into()]));
}
