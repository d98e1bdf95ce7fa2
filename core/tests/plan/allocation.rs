//! Who gets which address: each test is one thing that a user may count on.

use clarion_api::Timestamp;
use clarion_core::{
    Reason, World, plan, replay,
    world::{Family, Kind, Namespace, ObjectName, ObjectRef, ServiceCidr},
};
use rstest::rstest;
use serde_json::json;

use crate::cluster::*;

// Requests.

#[rstest]
#[case(&[("loadBalancerIPs", "10.0.0.5")])]
#[case(&[("metallb.io/loadBalancerIPs", "10.0.0.5")])]
#[case(&[("metallb.universe.tf/loadBalancerIPs", " 10.0.0.5 ")])]
#[case(&[("loadBalancerIPs", "10.0.0.5"), ("metallb.io/loadBalancerIPs", "10.0.0.5")])]
#[case(&[("address-pool", "other"), ("loadBalancerIPs", "10.0.0.5")])]
fn an_address_that_is_asked_for_is_given(#[case] annotations: &[(&str, &str)]) {
    let mut world = world();
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/30"]}));
    set_pool(&mut world, "other", json!({"addresses": ["10.0.0.4/30"], "autoAssign": false}));
    add(&mut world, "a", 1);
    annotate(&mut world, "a", annotations);
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.0.0.5"]);
    assert_eq!(allocated(&world, "a").2, "10.0.0.5 from pool other");
}

#[test]
fn the_field_of_the_spec_is_a_request_too() {
    let mut world = world();
    add(&mut world, "a", 1);
    edit(&mut world.services, &name("a"), |a| a.value.load_balancer_ip = Some("10.0.0.6".to_owned()));
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.0.0.6"]);
}

#[test]
fn several_addresses_and_pools_may_be_asked_for() {
    let mut world = world();
    set_pool(&mut world, "second", json!({"addresses": ["10.0.1.0/30"]}));
    service(&mut world, "a", 1, &[Family::V4, Family::V6]);
    annotate(&mut world, "a", &[("loadBalancerIPs", "10.0.0.3,10.0.0.2")]);
    add(&mut world, "b", 2);
    annotate(&mut world, "b", &[("address-pool", "main,second")]);
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.0.0.3", "10.0.0.2", "2001:db8::"], "the other family from any pool");
    assert_eq!(held(&world, "b"), ["10.0.0.0", "10.0.1.0"]);
    assert_eq!(allocated(&world, "b").0, "True");
}

#[rstest]
#[case::not_an_address(&[("loadBalancerIPs", "10.0.0.300")], "InvalidRequest", "\"10.0.0.300\": it is not an IP address")]
#[case::mapped(&[("loadBalancerIPs", "::ffff:10.0.0.1")], "InvalidRequest", "without the prefix ::ffff:")]
#[case::not_a_namespace(&[("allow-shared-ip", "k"), ("share-with-namespaces", "B,c")], "InvalidRequest", "\"B\" is not the name of a namespace")]
#[case::no_such_pool(&[("address-pool", "máin")], "UnknownName", "there is no valid LoadBalancerPool \"máin\"")]
#[case::two_annotations(
    &[("loadBalancerIPs", "10.0.0.1"), ("metallb.io/loadBalancerIPs", "10.0.0.2")], "ConflictingRequest",
    "clarionlb.io/loadBalancerIPs is \"10.0.0.1\", but metallb.io/loadBalancerIPs is \"10.0.0.2\""
)]
#[case::two_keys(
    &[("allow-shared-ip", "x"), ("metallb.io/allow-shared-ip", "y")], "ConflictingRequest", "but metallb.io/allow-shared-ip is \"y\""
)]
#[case::other_pool(
    &[("loadBalancerIPs", "10.0.0.1"), ("address-pool", "other")], "ConflictingRequest",
    "10.0.0.1 is in pool main, but clarionlb.io/address-pool names other"
)]
#[case::other_family(&[("loadBalancerIPs", "2001:db8::1")], "ConflictingRequest", "2001:db8::1 is asked for, but spec.ipFamilies is IPv4")]
#[case::pool_of_other_family(&[("address-pool", "six")], "ConflictingRequest", "pool six, which has no address of the families")]
#[case::given_up(&[("loadBalancerIPs", "10.0.0.1"), ("release", "10.0.0.1")], "ConflictingRequest", "gives it up")]
#[case::in_no_pool(&[("loadBalancerIPs", "192.0.2.77")], "AddressNotAvailable", "192.0.2.77 is in no LoadBalancerPool")]
#[case::excluded(&[("loadBalancerIPs", "10.0.0.7")], "AddressNotAvailable", "10.0.0.7 is in no LoadBalancerPool, or excluded there")]
#[case::held(&[("loadBalancerIPs", "10.0.0.0")], "AddressNotAvailable", "10.0.0.0 is held by Service ns/holder")]
#[case::not_for_it(&[("loadBalancerIPs", "10.0.1.0")], "AddressNotAvailable", "10.0.1.0 is in pool other: namespace not allowed")]
#[case::not_for_it_by_pool(&[("address-pool", "other")], "NoPool", "no IPv4 address: other: namespace not allowed")]
#[case::disabled(&[("address-pool", "off")], "NoPool", "no IPv4 address: off: disabled")]
fn a_request_that_can_not_be_met_says_why_and_harms_nobody(
    #[case] annotations: &[(&str, &str)],
    #[case] reason: &str,
    #[case] words: &str,
) {
    let mut world = world();
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/29"], "excludeAddresses": ["10.0.0.7/32"]}));
    set_pool(
        &mut world,
        "other",
        json!({"addresses": ["10.0.1.0/29"], "serviceAllocation": {"namespaces": ["theirs"]}}),
    );
    set_pool(&mut world, "six", json!({"addresses": ["2001:db8::/125"]}));
    set_pool(&mut world, "off", json!({"addresses": ["10.0.2.0/29"], "disabled": true}));
    add(&mut world, "holder", 1);
    settle(&mut world);
    add(&mut world, "a", 2);
    annotate(&mut world, "a", annotations);
    add(&mut world, "good", 3);
    settle(&mut world);
    let (status, found, message) = allocated(&world, "a");
    assert_eq!((status.as_str(), found.as_str()), ("False", reason), "{message}");
    assert!(message.contains(words), "{message}");
    assert!(held(&world, "a").is_empty());
    assert_eq!((held(&world, "holder"), held(&world, "good")), (vec!["10.0.0.0".into()], vec!["10.0.0.1".into()]));

    // Who holds something keeps it, whatever nonsense is written.
    annotate(&mut world, "good", annotations);
    settle(&mut world);
    assert_eq!(held(&world, "good"), ["10.0.0.1"]);
    assert!(announced(&world).contains(&"10.0.0.1".to_owned()));
    assert_eq!(allocated(&world, "good").0, "False");
    assert!(allocated(&world, "good").2.contains("it keeps 10.0.0.1"), "{}", allocated(&world, "good").2);
}

#[test]
fn a_changed_request_moves_its_holder_when_the_new_address_can_be_had_and_never_without_one() {
    let mut world = world();
    add(&mut world, "a", 1);
    add(&mut world, "b", 2);
    settle(&mut world);
    annotate(&mut world, "b", &[("loadBalancerIPs", "10.0.0.0")]);
    settle(&mut world);
    assert_eq!(held(&world, "b"), ["10.0.0.1"]);
    let (status, reason, message) = allocated(&world, "b");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "AddressNotAvailable"));
    assert_eq!(message, "10.0.0.0 is held by Service ns/a; it keeps 10.0.0.1");
    remove(&mut world.services, &name("a"));
    settle_watching(&mut world, |world| {
        let announced = announced(world);
        assert!(held(world, "b").iter().any(|address| announced.contains(address)), "{announced:?}");
    });
    assert_eq!((held(&world, "b"), announced(&world)), (vec!["10.0.0.0".into()], vec!["10.0.0.0".into()]));
}

#[test]
fn a_changed_pool_moves_its_holder_and_a_request_that_goes_leaves_it_where_it_is() {
    let mut world = world();
    set_pool(&mut world, "other", json!({"addresses": ["10.0.1.0/29"], "autoAssign": false}));
    add(&mut world, "a", 1);
    settle(&mut world);
    annotate(&mut world, "a", &[("address-pool", "other")]);
    settle(&mut world);
    assert_eq!((held(&world, "a"), announced(&world)), (vec!["10.0.1.0".into()], vec!["10.0.1.0".into()]));
    annotate(&mut world, "a", &[("address-pool", "")]);
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.0.1.0"]);
    annotate(&mut world, "a", &[("loadBalancerIPs", "10.0.1.0,10.0.1.1")]);
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.0.1.0", "10.0.1.1"]);
    annotate(&mut world, "a", &[("loadBalancerIPs", "")]);
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.0.1.0", "10.0.1.1"], "to ask for less is not to give up");
    assert_eq!(
        allocated(&world, "a").2,
        "10.0.1.0 from pool other; it also has 10.0.1.1 from pool other, until clarion release gives it up"
    );
    annotate(&mut world, "a", &[("loadBalancerIPs", "10.0.1.1")]);
    settle(&mut world);
    assert_eq!((held(&world, "a"), announced(&world)), (vec!["10.0.1.1".into()], vec!["10.0.1.1".into()]));
}

#[test]
fn who_asks_for_an_address_comes_before_older_ones_that_take_any() {
    let mut world = world();
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/31"]}));
    add(&mut world, "any", 1);
    add(&mut world, "this", 2);
    annotate(&mut world, "this", &[("loadBalancerIPs", "10.0.0.0")]);
    settle(&mut world);
    assert_eq!((held(&world, "any"), held(&world, "this")), (vec!["10.0.0.1".into()], vec!["10.0.0.0".into()]));
}

// Pools.

#[test]
fn pinned_pools_come_first_by_priority_then_the_others() {
    let mut world = world();
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/32"]}));
    set_pool(
        &mut world,
        "z-priority-only",
        json!({"addresses": ["10.0.4.0/32"], "serviceAllocation": {"priority": 9}}),
    );
    let pinned = |priority: i32| json!({"priority": priority, "namespaceSelectors": [{"matchLabels": {"team": "a"}}], "namespaces": ["ns"]});
    set_pool(&mut world, "a-unset", json!({"addresses": ["10.0.1.0/32"], "serviceAllocation": pinned(0)}));
    set_pool(&mut world, "b-twenty", json!({"addresses": ["10.0.2.0/32"], "serviceAllocation": pinned(20)}));
    set_pool(&mut world, "c-ten", json!({"addresses": ["10.0.3.0/32"], "serviceAllocation": pinned(10)}));
    let labelled = json!({"priority": 5, "serviceSelectors": [{"matchLabels": {"gold": "yes"}}]});
    set_pool(&mut world, "d-gold", json!({"addresses": ["10.0.5.0/32"], "serviceAllocation": labelled}));
    for n in 1..=6 {
        add(&mut world, &format!("s{n}"), n);
    }
    edit(&mut world.services, &name("s6"), |s| drop(s.meta.labels.insert("gold".to_owned(), "yes".to_owned())));
    settle(&mut world);
    let all: Vec<_> = (1..=6).flat_map(|n| held(&world, &format!("s{n}"))).collect();
    assert_eq!(all, ["10.0.3.0", "10.0.2.0", "10.0.1.0", "10.0.4.0", "10.0.0.0", "10.0.5.0"]);
}

#[test]
fn a_quota_counts_each_family_and_a_shared_address_once_and_takes_nothing_away() {
    let mut world = world();
    let quotas = json!([{"namespace": "ns", "maxAddresses": 2}]);
    set_pool(
        &mut world,
        "main",
        json!({"addresses": ["10.0.0.0/29", "2001:db8::/125"], "quotas": quotas, "defaultQuota": 1}),
    );
    for (n, port) in [(1, 80), (2, 81)] {
        let name = format!("shared{n}");
        add(&mut world, &name, n);
        annotate(&mut world, &name, &[("allow-shared-ip", "k")]);
        ports(&mut world, &name, &[port]);
    }
    add(&mut world, "second", 3);
    add(&mut world, "third", 4);
    add(&mut world, "other/a", 5);
    add(&mut world, "other/b", 6);
    settle(&mut world);
    assert_eq!((held(&world, "shared1"), held(&world, "shared2")), (vec!["10.0.0.0".into()], vec!["10.0.0.0".into()]));
    assert_eq!(held(&world, "second"), ["10.0.0.1"]);
    assert_eq!(allocated(&world, "third").2, "no IPv4 address: main: quota 2/2 used");
    assert_eq!(held(&world, "other/a"), ["10.0.0.2"]);
    assert_eq!(allocated(&world, "other/b").2, "no IPv4 address: main: quota 1/1 used");
    assert_eq!(usage(&world, "main"), (3, 5));
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/29"], "defaultQuota": 0}));
    settle(&mut world);
    assert_eq!(held(&world, "second"), ["10.0.0.1"], "a smaller quota takes nothing away");
}

#[test]
fn a_request_that_is_met_in_part_gives_nothing_beyond_the_quota() {
    let mut world = world();
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/28"], "defaultQuota": 1}));
    add(&mut world, "a", 1);
    settle(&mut world);
    for addresses in ["10.0.0.1,10.0.0.2", "10.0.0.3,10.0.0.4", "10.0.0.5,10.0.0.0"] {
        annotate(&mut world, "a", &[("loadBalancerIPs", addresses)]);
        settle(&mut world);
        assert_eq!(held(&world, "a"), ["10.0.0.0"], "{addresses}");
        let message = allocated(&world, "a").2;
        assert!(message.contains("quota 1/1 used"), "{message}");
    }
    annotate(&mut world, "a", &[("loadBalancerIPs", "10.0.0.5")]);
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.0.0.5"], "one for one");
}

#[test]
fn nobody_gets_an_address_before_its_namespace_is_known_where_pools_select_namespaces() {
    let mut world = world();
    let selected = json!({"namespaceSelectors": [{"matchLabels": {"team": "a"}}], "priority": 1});
    set_pool(&mut world, "team", json!({"addresses": ["10.1.0.0/29"], "serviceAllocation": selected}));
    add(&mut world, "a", 1);
    settle(&mut world);
    assert_eq!(allocated(&world, "a").1, "Pending");
    let mut namespace = object(ObjectName::cluster("ns"), 0, Namespace);
    namespace.meta.labels.insert("team".to_owned(), "a".to_owned());
    put(&mut world.namespaces, namespace);
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.1.0.0"]);
}

#[rstest]
fn who_has_both_families_can_do_without_more_that_is_reserved(#[values(false, true)] requires_both: bool) {
    let mut world = world();
    sharer(&mut world, "other", 1, 80);
    settle(&mut world);
    service(&mut world, "a", 2, &[Family::V4, Family::V6]);
    edit(&mut world.services, &name("a"), |service| service.value.requires_dual_stack = requires_both);
    annotate(&mut world, "a", &[("allow-shared-ip", "key")]);
    ports(&mut world, "a", &[81]);
    for (reserved, address) in [("r0", "10.0.0.0"), ("r1", "10.0.0.1")] {
        let spec = json!({"poolName": "main", "addresses": [address], "serviceName": "a"});
        reservation(&mut world, reserved, spec);
    }
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.0.0.0", "10.0.0.1", "2001:db8::"]);
    ports(&mut world, "a", &[80]);
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.0.0.1", "2001:db8::"]);
    assert_eq!(allocated(&world, "a").0, "True", "{}", allocated(&world, "a").2);
}

#[test]
fn a_hashed_pool_gives_a_recreated_service_its_address_again() {
    let mut world = world();
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/24", "2001:db8::/64"], "strategy": "Hashed"}));
    for n in 0..20 {
        service(&mut world, &format!("s{n}"), n, &[Family::V4, Family::V6]);
    }
    settle(&mut world);
    let before = held(&world, "s7");
    remove(&mut world.services, &name("s7"));
    settle(&mut world);
    service(&mut world, "s7", 99, &[Family::V4, Family::V6]);
    settle(&mut world);
    assert_eq!(held(&world, "s7"), before);
}

#[test]
fn pools_that_overlap_each_other_or_the_cluster_say_so() {
    let mut world = world();
    let mut young = custom("young", json!({"addresses": ["10.0.0.0/28"]}));
    young.meta.created = Some(Timestamp::from_second(9).unwrap());
    put(&mut world.pools, young);
    edit(&mut world.nodes, &ObjectName::cluster("a"), |node| {
        node.value.addresses = vec!["10.0.0.3".parse().unwrap()];
        node.value.pod_cidrs = vec!["10.0.0.12/30".parse().unwrap()];
    });
    put(
        &mut world.service_cidrs,
        object(ObjectName::cluster("kubernetes"), 0, ServiceCidr(vec!["2001:db8::/126".parse().unwrap()])),
    );
    set_pool(&mut world, "router", json!({"addresses": ["192.0.2.0/24"]}));
    let plan = plan(&world);
    let of = |name: &str| {
        let found = plan.findings.of(&ObjectRef::new(Kind::LoadBalancerPool, ObjectName::cluster(name)));
        found.iter().map(|finding| (finding.reason, finding.message.clone())).collect::<Vec<_>>()
    };
    assert_eq!(
        of("young"),
        [
            (Reason::Overlap, "it shares addresses with older pools, which serve them: main".to_owned()),
            (
                Reason::OverlapsCluster,
                "the pool has addresses of the cluster: 10.0.0.12/30 of the Pods of Node a".to_owned()
            ),
        ]
    );
    assert_eq!(of("main"), [(
        Reason::OverlapsCluster,
        "the pool has addresses of the cluster: 10.0.0.3 of Node a, 2001:db8::/126 of cluster IPs (ServiceCIDR kubernetes)".to_owned(),
    )]);
    assert_eq!(of("router")[0].1, "the pool has addresses of the cluster: 192.0.2.1 of RouterPeer tor");
}

// Families.

#[test]
fn each_family_comes_from_the_pool_that_has_it_in_the_order_of_the_spec() {
    let mut world = world();
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/29"]}));
    service(&mut world, "six-first", 1, &[Family::V6, Family::V4]);
    edit(&mut world.services, &name("six-first"), |service| service.value.requires_dual_stack = false);
    settle(&mut world);
    assert_eq!(held(&world, "six-first"), ["10.0.0.0"]);
    let (status, reason, message) = allocated(&world, "six-first");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "PartlyAllocated"));
    assert_eq!(message, "10.0.0.0 from pool main; no IPv6 address: main: no address of this family");
    set_pool(&mut world, "six", json!({"addresses": ["2001:db8::/125"]}));
    settle(&mut world);
    assert_eq!(held(&world, "six-first"), ["2001:db8::", "10.0.0.0"]);
    assert_eq!(allocated(&world, "six-first").1, "Allocated");
    edit(&mut world.services, &name("six-first"), |service| service.value.families = vec![Family::V6]);
    settle(&mut world);
    assert_eq!((held(&world, "six-first"), announced(&world)), (vec!["2001:db8::".into()], vec!["2001:db8::".into()]));
}

// Life.

#[test]
fn a_pool_of_another_name_with_the_same_range_changes_nothing() {
    let mut world = world();
    add(&mut world, "a", 1);
    settle(&mut world);
    let before = world.configurations.clone();
    remove(&mut world.pools, &ObjectName::cluster("main"));
    set_pool(&mut world, "renamed", json!({"addresses": ["10.0.0.0/29"]}));
    settle(&mut world);
    assert_eq!(
        (held(&world, "a"), allocated(&world, "a").2),
        (vec!["10.0.0.0".into()], "10.0.0.0 from pool renamed".into())
    );
    assert_eq!(world.configurations, before);
}

#[rstest]
#[case::shrunk(false)]
#[case::deleted(true)]
fn what_leaves_a_pool_with_on_removal_release_is_withdrawn_then_cleared_then_replaced(#[case] deleted: bool) {
    let mut world = world();
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/29"], "onRemoval": "Release"}));
    set_pool(&mut world, "next", json!({"addresses": ["10.0.9.0/29"]}));
    add(&mut world, "a", 1);
    settle(&mut world);
    assert_eq!(condition(&world, "a", "ReleaseOnRemoval").2, "10.0.0.0");
    if deleted {
        remove(&mut world.pools, &ObjectName::cluster("main"));
    } else {
        set_pool(
            &mut world,
            "main",
            json!({"addresses": ["10.0.0.4/30"], "onRemoval": "Release", "autoAssign": false}),
        );
    }
    settle_watching(&mut world, |world| {
        let (held, announced) = (held(world, "a"), announced(world));
        assert!(
            !announced.contains(&"10.0.0.0".to_owned()) || held.contains(&"10.0.0.0".to_owned()),
            "withdrawn first"
        );
        assert!(!held.is_empty());
    });
    assert_eq!((held(&world, "a"), announced(&world)), (vec!["10.0.9.0".into()], vec!["10.0.9.0".into()]));
    assert!(
        !world.services.get(&name("a")).unwrap().value.conditions.iter().any(|c| c.type_.ends_with("ReleaseOnRemoval"))
    );
}

#[test]
fn a_typo_in_a_pool_releases_nothing() {
    let mut world = world();
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/29"], "onRemoval": "Release"}));
    add(&mut world, "a", 1);
    settle(&mut world);
    let before = world.configurations.clone();
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/29", "10.0.1.0/99"], "onRemoval": "Release"}));
    settle(&mut world);
    assert_eq!((held(&world, "a"), &world.configurations), (vec!["10.0.0.0".into()], &before));
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/29"], "onRemoval": "Release"}));
    settle(&mut world);
    assert_eq!(allocated(&world, "a").1, "Allocated");
}

#[test]
fn renumbering_holds_and_announces_both_until_the_old_one_is_released() {
    let mut world = world();
    service(&mut world, "a", 1, &[Family::V4, Family::V6]);
    sharer(&mut world, "s1", 2, 80);
    sharer(&mut world, "s2", 3, 81);
    settle(&mut world);
    set_pool(&mut world, "next", json!({"addresses": ["10.0.9.0/29"], "autoAssign": false}));
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/29", "2001:db8::/125"], "succeededBy": "next"}));
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.0.0.0", "10.0.9.0", "2001:db8::"]);
    let (status, reason, message) = allocated(&world, "a");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Succession"));
    assert!(
        message.contains("pool main is succeeded by next; no IPv6 address: next: no address of this family"),
        "{message}"
    );
    assert_eq!(
        (held(&world, "s1"), held(&world, "s2")),
        (vec!["10.0.0.1".into(), "10.0.9.1".into()], vec!["10.0.0.1".into(), "10.0.9.1".into()])
    );
    for address in ["10.0.0.0", "10.0.9.0", "10.0.0.1", "10.0.9.1", "2001:db8::"] {
        assert!(announced(&world).contains(&address.to_owned()));
    }
    // New ones get the successor's.
    add(&mut world, "new", 5);
    settle(&mut world);
    assert_eq!(allocated(&world, "new").2, "no IPv4 address: main: succeeded by next, next: autoAssign is false");
    annotate(&mut world, "new", &[("address-pool", "main")]);
    settle(&mut world);
    assert_eq!(held(&world, "new"), ["10.0.9.2"]);

    annotate(&mut world, "a", &[("release", "10.0.0.0")]);
    settle_watching(&mut world, |world| {
        let gone = !held(world, "a").contains(&"10.0.0.0".to_owned());
        assert!(!gone || !announced(world).contains(&"10.0.0.0".to_owned()), "withdrawn before it is cleared");
    });
    assert_eq!(held(&world, "a"), ["10.0.9.0", "2001:db8::"]);
    // A sharer may go first.
    annotate(&mut world, "s1", &[("release", "10.0.0.1")]);
    settle(&mut world);
    assert_eq!(
        (held(&world, "s1"), held(&world, "s2")),
        (vec!["10.0.9.1".into()], vec!["10.0.0.1".into(), "10.0.9.1".into()])
    );
    assert!(announced(&world).contains(&"10.0.0.1".to_owned()));
}

#[test]
fn when_the_old_pool_is_deleted_before_the_release_both_addresses_stay() {
    let mut world = world();
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/29"], "succeededBy": "next"}));
    set_pool(&mut world, "next", json!({"addresses": ["10.0.9.0/29"]}));
    add(&mut world, "a", 1);
    hold(&mut world, "a", &["10.0.0.0"]);
    settle(&mut world);
    remove(&mut world.pools, &ObjectName::cluster("main"));
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.0.0.0", "10.0.9.0"]);
    assert_eq!(allocated(&world, "a").1, "Retained");
    annotate(&mut world, "a", &[("release", "10.0.0.0")]);
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["10.0.9.0"]);
}

#[rstest]
#[case(json!({"addresses": ["10.0.0.0/29"], "succeededBy": "gone"}), Reason::UnknownName)]
#[case(json!({"addresses": ["10.0.0.0/29"], "succeededBy": "other"}), Reason::InvalidValue)]
#[case(json!({"addresses": ["10.0.0.0/29"], "defaultQuota": -1}), Reason::InvalidValue)]
fn a_pool_that_is_wrong_in_this_way_says_so(#[case] spec: serde_json::Value, #[case] reason: Reason) {
    let mut world = world();
    set_pool(&mut world, "other", json!({"addresses": ["10.0.7.0/29"], "succeededBy": "main"}));
    set_pool(&mut world, "main", spec);
    let plan = plan(&world);
    let found = plan.findings.of(&ObjectRef::new(Kind::LoadBalancerPool, ObjectName::cluster("main")));
    assert_eq!(found[0].reason, reason, "{found:?}");
}

#[test]
fn who_leaves_with_an_address_that_no_pool_has_takes_it_from_nobody_else() {
    let mut world = world();
    sharer(&mut world, "leaves", 1, 80);
    sharer(&mut world, "stays", 2, 81);
    settle(&mut world);
    remove(&mut world.pools, &ObjectName::cluster("main"));
    edit(&mut world.services, &name("leaves"), |service| service.value.class = Some("example.com/other".to_owned()));
    settle(&mut world);
    assert_eq!((held(&world, "leaves"), held(&world, "stays")), (vec![], vec!["10.0.0.0".to_owned()]));
    assert_eq!(announced(&world), ["10.0.0.0"]);
}

#[test]
fn an_address_that_another_controller_wrote_meanwhile_is_not_touched() {
    let mut world = world();
    add(&mut world, "a", 1);
    settle(&mut world);
    edit(&mut world.services, &name("a"), |service| service.value.class = Some("example.com/other".to_owned()));
    hold(&mut world, "a", &["198.51.100.9"]);
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["198.51.100.9"]);
    assert!(world.services.get(&name("a")).unwrap().value.conditions.is_empty() && announced(&world).is_empty());
}

#[test]
fn what_another_controller_takes_away_is_not_given_again_at_once() {
    let mut world = world();
    let at = |second| Timestamp::from_second(second).unwrap();
    world.now = at(1000);
    add(&mut world, "a", 1);
    settle(&mut world);
    let become_ = |world: &mut World, addresses: &[&str], written: i64, by: Option<&str>| {
        hold(world, "a", addresses);
        edit(&mut world.services, &name("a"), |service| {
            service.value.written_at = Some(at(written));
            service.value.ingress_by = by.map(Box::from);
        });
    };
    // Long after it was given: that was no controller.
    become_(&mut world, &[], 900, None);
    settle(&mut world);
    assert_eq!(held(&world, "a").len(), 1);

    become_(&mut world, &[], 999, None);
    settle(&mut world);
    let (status, reason, message) = allocated(&world, "a");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "OtherController"));
    assert_eq!(
        message,
        "somebody else took away at once what Clarion gave: does another controller serve this Service? Give the Service \
         a loadBalancerClass or stop that controller; it is tried again at 1970-01-01T00:26:39Z"
    );
    assert!(held(&world, "a").is_empty() && announced(&world).is_empty());
    assert_eq!(plan(&world).wake, Some(at(1599)));

    world.now = at(1599);
    settle(&mut world);
    assert_eq!(held(&world, "a").len(), 1);
    become_(&mut world, &["198.51.100.1"], 1599, Some("controller"));
    settle(&mut world);
    assert_eq!(held(&world, "a"), ["198.51.100.1"], "what it has now is left alone");
    let (_, reason, message) = allocated(&world, "a");
    assert_eq!(reason, "Retained");
    assert!(message.contains("the field manager controller wrote it"), "{message}");
}

#[test]
fn the_same_name_with_another_uid_is_another_service() {
    let mut world = world();
    add(&mut world, "a", 1);
    settle(&mut world);
    remove(&mut world.services, &name("a"));
    add(&mut world, "a", 2);
    // Its address is still announced for its predecessor, and goes to nobody before it is withdrawn.
    let writes = plan(&world).writes;
    writes.iter().for_each(|write| replay::land(&mut world, write));
    assert_eq!(held(&world, "a"), ["10.0.0.1"]);
    settle(&mut world);
    assert_eq!(announced(&world), ["10.0.0.1"]);
}

#[test]
fn nonsense_of_any_size_is_told_briefly() {
    let mut world = world();
    let long = "x".repeat(256 * 1024);
    for (n, key) in ["loadBalancerIPs", "address-pool", "share-with-namespaces", "release"].into_iter().enumerate() {
        let named = format!("s{n}");
        add(&mut world, &named, 1);
        annotate(&mut world, &named, &[(key, &long)]);
    }
    add(&mut world, "commas", 1);
    annotate(&mut world, "commas", &[("loadBalancerIPs", &"1,".repeat(128 * 1024)), ("allow-shared-ip", &long)]);
    settle(&mut world);
    for named in ["s0", "s1", "s2", "s3", "commas"] {
        let (status, _, message) = allocated(&world, named);
        assert_eq!(status, "False");
        assert!(message.len() < 300, "{}", message.len());
    }
    assert_eq!(allocated(&world, "commas").2, "clarionlb.io/loadBalancerIPs has more than 64 entries");
}

#[test]
fn what_waits_gets_its_address_as_soon_as_anything_helps() {
    let mut world = world();
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/32"], "defaultQuota": 1}));
    add(&mut world, "a", 1);
    add(&mut world, "b", 2);
    settle(&mut world);
    assert!(plan(&world).writes.is_empty(), "waiting writes nothing");
    assert_eq!(allocated(&world, "b").2, "no IPv4 address: main: quota 1/1 used");
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/32"]}));
    settle(&mut world);
    assert_eq!(allocated(&world, "b").2, "no IPv4 address: main: full");
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/31"], "disabled": true}));
    settle(&mut world);
    assert_eq!(allocated(&world, "b").2, "no IPv4 address: main: disabled");
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/31"]}));
    settle(&mut world);
    assert_eq!(held(&world, "b"), ["10.0.0.1"]);
}

#[test]
fn a_refusal_names_ten_pools_and_counts_the_rest() {
    let mut world = world();
    for n in 0..30 {
        set_pool(&mut world, &format!("p{n:02}"), json!({"addresses": [format!("10.1.{n}.0/32")], "disabled": true}));
    }
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/32"], "serviceAllocation": {"namespaces": ["x"]}}));
    add(&mut world, "a", 1);
    settle(&mut world);
    let message = allocated(&world, "a").2;
    assert!(message.starts_with("no IPv4 address: p00: disabled, p01: disabled"), "{message}");
    assert!(message.ends_with("p09: disabled, and 21 more"), "{message}");
}

#[test]
fn who_has_an_address_gets_the_one_that_waits_for_its_sharer_too_when_that_comes() {
    let mut world = world();
    add(&mut world, "first", 1);
    annotate(&mut world, "first", &[("allow-shared-ip", "k")]);
    reservation(&mut world, "ns/any", json!({"poolName": "main", "serviceName": "first"}));
    settle(&mut world);
    assert_eq!(addresses(&world, "first"), ["10.0.0.0"]);
    for (name, service) in [("second", "second"), ("third", "first")] {
        let spec = json!({"poolName": "main", "serviceName": service, "addresses": ["10.0.0.2"]});
        reservation(&mut world, &format!("ns/{name}"), spec);
    }
    settle(&mut world);
    assert_eq!(addresses(&world, "first"), ["10.0.0.0"], "whether the two agree is not known yet");
    add(&mut world, "second", 2);
    annotate(&mut world, "second", &[("allow-shared-ip", "k")]);
    settle(&mut world);
    assert_eq!(addresses(&world, "first"), ["10.0.0.0", "10.0.0.2"]);
}
