//! The rules that hold at every moment, on worlds made by hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use clarion_api::{LoadBalancerAdvertisementSpec, LoadBalancerPoolSpec, RouterPeerSpec, Timestamp};
use clarion_core::{
    ConfigurationWrite, Plan, Reason, Urgency, World, Write, plan, replay,
    world::{Family, Intent, Kind, Namespace, ObjectName, ObjectRef, Session},
};
use rstest::rstest;
use serde_json::json;

use crate::cluster::*;

#[test]
fn who_holds_an_address_keeps_it_even_if_an_older_service_waits() {
    let mut world = world();
    service(&mut world, "old", 1, &[Family::V4]);
    service(&mut world, "young", 2, &[Family::V4]);
    hold(&mut world, "young", &["10.0.0.0"]);
    settle(&mut world);
    assert_eq!(
        (addresses(&world, "young"), addresses(&world, "old")),
        (vec!["10.0.0.0".into()], vec!["10.0.0.1".into()])
    );
}

#[test]
fn an_address_is_announced_only_once_it_stands_in_the_status() {
    let mut world = world();
    service(&mut world, "a", 1, &[Family::V4]);
    let first = plan(&world).writes;
    assert_eq!(statuses(&first)[0].addresses, Some(vec!["10.0.0.0".parse().unwrap()]));
    for write in configurations(&first) {
        let ConfigurationWrite::Create { layer, .. } = write else { panic!("{write:?}") };
        assert_eq!(layer.content.prefixes().count(), 0, "not in the same round");
    }
    first.iter().for_each(|write| replay::land(&mut world, write));
    settle(&mut world);
    assert_eq!(announced(&world), ["10.0.0.0"]);
}

#[test]
fn an_address_that_is_still_announced_goes_to_nobody_else() {
    let mut world = world();
    service(&mut world, "a", 1, &[Family::V4]);
    settle(&mut world);
    let uid = world.services.get(&ObjectName::new("ns", "a")).unwrap().meta.uid.clone();
    world.services.forget(&ObjectName::new("ns", "a"), &uid);
    service(&mut world, "b", 2, &[Family::V4]);
    let writes = plan(&world).writes;
    assert_eq!(statuses(&writes)[0].addresses, Some(vec!["10.0.0.1".parse().unwrap()]));
    settle(&mut world);
    assert_eq!(announced(&world), ["10.0.0.1"]);
}

#[test]
fn a_family_that_goes_is_withdrawn_first_and_then_cleared() {
    let mut world = world();
    service(&mut world, "a", 1, &[Family::V4, Family::V6]);
    settle(&mut world);
    assert_eq!(addresses(&world, "a"), ["10.0.0.0", "2001:db8::"]);
    edit(&mut world.services, &ObjectName::new("ns", "a"), |service| {
        service.value.families = vec![Family::V6];
        service.value.requires_dual_stack = false;
    });
    let writes = plan(&world).writes;
    assert!(statuses(&writes).iter().all(|write| write.addresses.is_none()), "{writes:?}");
    assert_eq!(configurations(&writes).len(), 1);
    writes.iter().for_each(|write| replay::land(&mut world, write));
    assert_eq!(announced(&world), ["2001:db8::"]);
    settle(&mut world);
    assert_eq!(addresses(&world, "a"), ["2001:db8::"]);
}

#[test]
fn a_write_that_is_not_settled_blocks_its_object_and_its_addresses() {
    let mut world = world();
    service(&mut world, "a", 1, &[Family::V4]);
    service(&mut world, "b", 2, &[Family::V4]);
    let a = ObjectRef::new(Kind::Service, ObjectName::new("ns", "a"));
    world.unsettled.insert(a, Intent { addresses: vec!["10.0.0.0".parse().unwrap()], ..Intent::default() });
    let writes = plan(&world).writes;
    let written: Vec<_> =
        statuses(&writes).iter().map(|write| (write.name.name.clone(), write.addresses.clone())).collect();
    assert_eq!(written, [("b".into(), Some(vec!["10.0.0.1".parse().unwrap()]))]);
}

#[test]
fn while_an_object_is_unsettled_no_object_for_its_nodes_is_written() {
    let mut world = world();
    service(&mut world, "a", 1, &[Family::V4]);
    settle(&mut world);
    service(&mut world, "b", 2, &[Family::V4]);
    hold(&mut world, "b", &["10.0.0.1"]);
    assert_eq!(configurations(&plan(&world).writes).len(), 1);
    let name = world.configurations.iter().next().unwrap().meta.name.clone();
    let object = ObjectRef::new(Kind::FRRConfiguration, name);
    world.unsettled.insert(object.clone(), Intent::default());
    let Plan { writes, deferred, .. } = plan(&world);
    assert!(configurations(&writes).is_empty());
    let [deferred] = deferred.as_slice() else { panic!("{deferred:?}") };
    assert_eq!((&deferred.object, deferred.urgency), (&object, Urgency::Announcement));
    let hosts: BTreeSet<&String> = deferred.hosts.iter().flat_map(|hosts| hosts.iter()).collect();
    assert_eq!(hosts.into_iter().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_new_leader_only_adds_at_first() {
    let mut world = world();
    service(&mut world, "a", 1, &[Family::V4]);
    service(&mut world, "b", 2, &[Family::V4, Family::V6]);
    settle(&mut world);
    let uid = world.services.get(&ObjectName::new("ns", "a")).unwrap().meta.uid.clone();
    world.services.forget(&ObjectName::new("ns", "a"), &uid);
    edit(&mut world.services, &ObjectName::new("ns", "b"), |service| {
        service.value.families = vec![Family::V4];
        service.value.requires_dual_stack = false;
    });
    service(&mut world, "c", 3, &[Family::V4]);
    (world.add_only, world.give_nothing) = (true, true);
    settle(&mut world);
    assert_eq!(announced(&world), ["10.0.0.0", "10.0.0.1", "2001:db8::"]);
    // A write of the old leader may still give the same address to another.
    assert!(addresses(&world, "c").is_empty());
    assert_eq!(condition(&world, "c", "AddressAllocated").1, "Pending");
    assert_eq!(addresses(&world, "b"), ["10.0.0.1", "2001:db8::"]);
    (world.add_only, world.give_nothing) = (false, false);
    settle(&mut world);
    assert_eq!(announced(&world), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(addresses(&world, "b"), ["10.0.0.1"]);
}

#[test]
fn a_service_that_is_being_deleted_is_given_nothing_and_keeps_what_it_has() {
    let mut world = world();
    for name in ["a", "b"] {
        service(&mut world, name, 1, &[Family::V4]);
        edit(&mut world.services, &ObjectName::new("ns", name), |service| service.meta.deleting = true);
    }
    hold(&mut world, "b", &["10.0.0.5"]);
    settle(&mut world);
    assert!(addresses(&world, "a").is_empty());
    assert_eq!(addresses(&world, "b"), ["10.0.0.5"]);
    assert_eq!(announced(&world), ["10.0.0.5"]);
}

/// What is new is announced on the sessions that there are, as they are.
#[test]
fn a_new_leader_adds_routes_while_the_number_of_a_router_is_to_change() {
    let mut world = world();
    service(&mut world, "s0", 0, &[Family::V4]);
    settle(&mut world);
    let peer = json!({"myASN": 3, "peerASN": 2, "peerAddress": "192.0.2.1", "dualStackAddressFamily": true});
    edit_spec(&mut world.peers, custom::<RouterPeerSpec, _>("tor", peer));
    service(&mut world, "s1", 1, &[Family::V4]);
    world.add_only = true;
    settle(&mut world);
    assert_eq!(announced(&world).len(), 2);
    let contents = world.configurations.iter().map(|object| &object.value.layer.content);
    assert!(contents.flat_map(|content| content.routers.values()).all(|router| router.asn == 1));
}

#[test]
fn a_foreign_service_is_not_touched_and_its_address_not_given() {
    let mut world = world();
    service(&mut world, "theirs", 1, &[Family::V4]);
    edit(&mut world.services, &ObjectName::new("ns", "theirs"), |s| {
        s.value.class = Some("example.com/other".to_owned())
    });
    hold(&mut world, "theirs", &["10.0.0.0"]);
    service(&mut world, "ours", 2, &[Family::V4]);
    settle(&mut world);
    assert_eq!(addresses(&world, "ours"), ["10.0.0.1"]);
    let theirs = world.services.get(&ObjectName::new("ns", "theirs")).unwrap();
    assert!(theirs.value.conditions.is_empty());
    assert_eq!(announced(&world), ["10.0.0.1"]);
}

#[test]
fn of_two_holders_of_one_address_the_older_keeps_it_and_the_younger_moves() {
    let mut world = world();
    for (name, created) in [("young", 2), ("old", 1)] {
        service(&mut world, name, created, &[Family::V4]);
        hold(&mut world, name, &["10.0.0.3"]);
    }
    world.add_only = true;
    settle(&mut world);
    assert_eq!(addresses(&world, "young"), ["10.0.0.3", "10.0.0.0"], "a new leader takes nothing away");
    world.add_only = false;
    settle(&mut world);
    assert_eq!(
        (addresses(&world, "old"), addresses(&world, "young")),
        (vec!["10.0.0.3".into()], vec!["10.0.0.0".into()])
    );
}

#[test]
fn without_its_pool_a_service_keeps_its_address_and_what_announces_it_stays() {
    let mut world = world();
    let mut named =
        custom::<LoadBalancerAdvertisementSpec, _>("all", json!({"pools": ["main"], "communities": ["1:1"]}));
    named.meta.resource_version = "2".into();
    put(&mut world.advertisements, named);
    service(&mut world, "a", 1, &[Family::V4]);
    settle(&mut world);
    let before = world.configurations.clone();
    let uid = world.pools.get(&ObjectName::cluster("main")).unwrap().meta.uid.clone();
    world.pools.forget(&ObjectName::cluster("main"), &uid);
    settle(&mut world);
    assert_eq!(addresses(&world, "a"), ["10.0.0.0"]);
    assert_eq!(condition(&world, "a", "AddressAllocated").1, "Retained");
    assert_eq!(world.configurations, before, "not a byte of what announces it has changed");
}

#[test]
fn a_service_that_is_no_longer_ours_is_withdrawn_then_cleared_then_forgotten() {
    let mut world = world();
    service(&mut world, "a", 1, &[Family::V4]);
    edit(&mut world.services, &ObjectName::new("ns", "a"), |service| service.value.class = None);
    put(&mut world.namespaces, object(ObjectName::cluster("ns"), 0, Namespace));
    world.settings.adopt_class_less = true;
    settle(&mut world);
    assert_eq!(announced(&world), ["10.0.0.0"]);
    world.settings.adopt_class_less = false;
    let first = plan(&world).writes;
    assert!(statuses(&first).is_empty(), "withdrawn first: {first:?}");
    settle(&mut world);
    let service = world.services.get(&ObjectName::new("ns", "a")).unwrap();
    assert!(service.value.addresses.is_empty() && service.value.conditions.is_empty());
    assert!(announced(&world).is_empty());
}

#[rstest]
#[case(json!({"disabled": true}), "disabled")]
#[case(json!({"autoAssign": false}), "autoAssign is false")]
#[case(json!({"serviceAllocation": {"namespaces": ["other"]}}), "namespace not allowed")]
#[case(json!({"serviceAllocation": {"serviceSelectors": [{"matchLabels": {"a": "b"}}]}}), "labels not selected")]
#[case(json!({"quotas": [{"namespace": "ns", "maxAddresses": 0}]}), "quota 0/0 used")]
#[case(json!({"addresses": ["2001:db8::/125"]}), "no address of this family")]
fn a_service_that_waits_says_why(#[case] spec: serde_json::Value, #[case] why: &str) {
    let mut world = world();
    let mut all = json!({"addresses": ["10.0.0.0/29"]});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    put(&mut world.pools, custom::<LoadBalancerPoolSpec, _>("main", all));
    service(&mut world, "a", 1, &[Family::V4]);
    settle(&mut world);
    let (status, reason, message) = condition(&world, "a", "AddressAllocated");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "NoPool"));
    assert!(message.starts_with("no IPv4 address: main: ") && message.contains(why), "{message}");
    assert_eq!(condition(&world, "a", "Announced").1, "NoAddress");
}

#[test]
fn communities_that_a_service_asks_for_are_sent_if_an_advertisement_permits_them() {
    let mut world = world();
    put(
        &mut world.advertisements,
        custom::<LoadBalancerAdvertisementSpec, _>("all", json!({"allowedCommunities": ["1:1", "1:2"]})),
    );
    service(&mut world, "a", 1, &[Family::V4]);
    annotate(&mut world, "a", &[("communities", "1:1, 1:3")]);
    settle(&mut world);
    assert_eq!(announced(&world), ["10.0.0.0"]);
    let layer = &world.configurations.iter().next().unwrap().value.layer;
    let session = layer.content.session("", "192.0.2.1").unwrap();
    let communities: Vec<_> = session.routes.values().flat_map(|route| &route.communities).collect();
    assert_eq!(communities, ["1:1"]);
    let (_, reason, message) = condition(&world, "a", "Announced");
    assert!(reason == "NotPermitted" && message.contains("has the community 1:3 in allowedCommunities"), "{message}");
    let findings = plan(&world).findings;
    let of_it = findings.of(&ObjectRef::new(Kind::Service, ObjectName::new("ns", "a")));
    assert_eq!(of_it[0].reason, Reason::NotPermitted);
}

#[test]
fn a_full_pool_serves_the_oldest_and_the_rest_when_there_is_room() {
    let mut world = world();
    pool(&mut world, "main", &["10.0.0.0/32"]);
    service(&mut world, "young", 2, &[Family::V4]);
    service(&mut world, "old", 1, &[Family::V4]);
    settle(&mut world);
    assert!(addresses(&world, "young").is_empty());
    assert_eq!(condition(&world, "young", "AddressAllocated").2, "no IPv4 address: main: full");
    let old = ObjectName::new("ns", "old");
    let uid = world.services.get(&old).unwrap().meta.uid.clone();
    world.services.forget(&old, &uid);
    settle(&mut world);
    assert_eq!(addresses(&world, "young"), ["10.0.0.0"]);
}

#[test]
fn dual_stack_that_is_required_waits_for_both_and_preferred_takes_one() {
    let mut world = world();
    pool(&mut world, "main", &["10.0.0.0/29"]);
    service(&mut world, "requires", 1, &[Family::V4, Family::V6]);
    service(&mut world, "prefers", 2, &[Family::V4, Family::V6]);
    edit(&mut world.services, &ObjectName::new("ns", "prefers"), |service| service.value.requires_dual_stack = false);
    settle(&mut world);
    assert!(addresses(&world, "requires").is_empty());
    assert_eq!(addresses(&world, "prefers"), ["10.0.0.0"]);
    assert_eq!(condition(&world, "prefers", "AddressAllocated").1, "PartlyAllocated");
    pool(&mut world, "six", &["2001:db8::/125"]);
    settle(&mut world);
    assert_eq!(addresses(&world, "requires"), ["10.0.0.1", "2001:db8::"]);
    assert_eq!(addresses(&world, "prefers"), ["10.0.0.0", "2001:db8::1"], "filled in, from another pool");
}

#[test]
fn the_younger_of_two_peers_that_exclude_each_other_is_left_out_and_told() {
    let mut world = world();
    let mut other = custom::<RouterPeerSpec, _>("late", json!({"myASN": 9, "peerASN": 2, "peerAddress": "192.0.2.2"}));
    other.meta.created = Some(Timestamp::from_second(5).unwrap());
    put(&mut world.peers, other);
    service(&mut world, "a", 1, &[Family::V4]);
    settle(&mut world);
    assert_eq!(announced(&world), ["10.0.0.0"]);
    let findings = plan(&world).findings;
    let late = findings.of(&ObjectRef::new(Kind::RouterPeer, ObjectName::cluster("late")))[0];
    assert_eq!(late.reason, Reason::SessionConflict);
    assert!(late.message.contains("myASN is 9, but 1 for the older RouterPeer tor"), "{}", late.message);
}

#[test]
fn the_prefixes_of_a_session_are_those_of_its_family() {
    let mut world = world();
    let peer = json!({"myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1"});
    put(&mut world.peers, custom::<RouterPeerSpec, _>("tor", peer));
    service(&mut world, "four", 1, &[Family::V4]);
    service(&mut world, "six", 2, &[Family::V6]);
    settle(&mut world);
    assert_eq!(announced(&world), ["10.0.0.0"]);
    let (_, reason, message) = condition(&world, "six", "Announced");
    assert_eq!(reason, "NoNode");
    assert!(message.contains("carries IPv6"), "{message}");
}

#[test]
fn what_others_report_elsewhere_moves_nothing_and_is_told() {
    let mut world = world();
    service(&mut world, "a", 1, &[Family::V4]);
    settle(&mut world);
    let before = world.configurations.clone();
    let session =
        Session { node: "a".to_owned(), peer: "192.0.2.1".to_owned(), established: true, ..Session::default() };
    put(&mut world.sessions, object(ObjectName::new("a-second-frr-k8s", "x"), 1, session.clone()));
    settle(&mut world);
    assert_eq!(world.configurations, before);
    let told = |world: &World| {
        let findings = plan(world).findings;
        let of_peer = findings.of(&ObjectRef::new(Kind::RouterPeer, ObjectName::cluster("tor")));
        of_peer.iter().map(|finding| finding.reason).collect::<Vec<_>>()
    };
    assert_eq!(told(&world), [Reason::OtherNamespace]);
    put(&mut world.sessions, object(ObjectName::new("frr-k8s-system", "y"), 1, session));
    assert_eq!(told(&world), []);
    // Told to go there, it goes there, and tells of what it leaves behind.
    world.settings.frr_k8s_namespace = Some("a-second-frr-k8s".to_owned());
    settle(&mut world);
    assert_eq!(world.configurations.len(), 2);
    assert_eq!(told(&world), [Reason::OtherNamespace]);
}

#[test]
fn of_two_families_the_one_that_is_not_announced_does_not_take_our_conditions_with_it() {
    let mut world = world();
    put(
        &mut world.peers,
        custom::<RouterPeerSpec, _>("tor", json!({"myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1"})),
    );
    service(&mut world, "a", 1, &[Family::V4, Family::V6]);
    edit(&mut world.services, &ObjectName::new("ns", "a"), |service| service.value.class = None);
    put(&mut world.namespaces, object(ObjectName::cluster("ns"), 0, Namespace));
    world.settings.adopt_class_less = true;
    settle(&mut world);
    assert_eq!((addresses(&world, "a").len(), announced(&world)), (2, vec!["10.0.0.0".to_owned()]));
    world.settings.adopt_class_less = false;
    settle(&mut world);
    let service = world.services.get(&ObjectName::new("ns", "a")).unwrap();
    assert!(service.value.addresses.is_empty() && service.value.conditions.is_empty(), "{service:?}");
}

#[test]
fn a_prefix_whose_announcement_is_under_way_goes_to_nobody_else() {
    let mut world = world();
    service(&mut world, "a", 1, &[Family::V4]);
    settle(&mut world);
    service(&mut world, "b", 2, &[Family::V4]);
    hold(&mut world, "b", &["10.0.0.1"]);
    let update = plan(&world).writes.into_iter().find(|write| matches!(write, Write::Configuration(_))).unwrap();
    let intent = Intent::of(&update);
    assert_eq!(intent.addresses, ["10.0.0.0", "10.0.0.1"].map(|address| address.parse::<IpAddr>().unwrap()));
    assert_eq!(intent.hosts.iter().collect::<Vec<_>>(), ["a", "b"]);
    world.unsettled.insert(update.object(), intent);
    let b = ObjectName::new("ns", "b");
    let uid = world.services.get(&b).unwrap().meta.uid.clone();
    world.services.forget(&b, &uid);
    service(&mut world, "c", 3, &[Family::V4]);
    let writes = plan(&world).writes;
    assert_eq!(statuses(&writes)[0].addresses, Some(vec!["10.0.0.2".parse().unwrap()]));
}

#[test]
fn a_retained_route_outlives_a_new_layout() {
    let mut world = world();
    put(&mut world.advertisements, custom::<LoadBalancerAdvertisementSpec, _>("all", json!({"pools": ["main"]})));
    service(&mut world, "a", 1, &[Family::V4]);
    settle(&mut world);
    let uid = world.pools.get(&ObjectName::cluster("main")).unwrap().meta.uid.clone();
    world.pools.forget(&ObjectName::cluster("main"), &uid);
    let picky = json!({"nodeSelectors": [{"matchLabels": {"kubernetes.io/hostname": "a"}}]});
    put(&mut world.advertisements, custom::<LoadBalancerAdvertisementSpec, _>("picky", picky));
    for _ in 0..20 {
        let writes = plan(&world).writes;
        writes.iter().for_each(|write| replay::land(&mut world, write));
        assert_eq!(announced(&world), ["10.0.0.0"]);
    }
    assert_eq!(world.configurations.len(), 2);
}

#[test]
fn an_object_that_a_finalizer_holds_is_left_alone_until_it_is_gone() {
    let mut world = world();
    service(&mut world, "a", 1, &[Family::V4]);
    settle(&mut world);
    let name = world.configurations.iter().next().unwrap().meta.name.clone();
    edit(&mut world.configurations, &name, |configuration| configuration.meta.deleting = true);
    service(&mut world, "b", 2, &[Family::V4]);
    settle(&mut world);
    assert_eq!(announced(&world), ["10.0.0.0"]);
    let uid = world.configurations.get(&name).unwrap().meta.uid.clone();
    world.configurations.forget(&name, &uid);
    settle(&mut world);
    assert_eq!(announced(&world), ["10.0.0.0", "10.0.0.1"]);
}

#[test]
fn a_class_less_service_whose_namespace_is_not_known_yet_is_not_served() {
    let mut world = world();
    world.settings.adopt_class_less = true;
    service(&mut world, "a", 1, &[Family::V4]);
    edit(&mut world.services, &ObjectName::new("ns", "a"), |service| service.value.class = None);
    settle(&mut world);
    assert!(addresses(&world, "a").is_empty());
    let mut namespace = object(ObjectName::cluster("ns"), 0, Namespace);
    namespace.meta.labels = BTreeMap::from([("clarionlb.io/class-less".to_owned(), "ignore".to_owned())]);
    put(&mut world.namespaces, namespace);
    settle(&mut world);
    assert!(addresses(&world, "a").is_empty());
    edit(&mut world.namespaces, &ObjectName::cluster("ns"), |namespace| namespace.meta.labels.clear());
    settle(&mut world);
    assert_eq!(addresses(&world, "a"), ["10.0.0.0"]);
}

#[test]
fn avoiding_buggy_addresses_in_a_huge_pool_is_refused_and_not_tried() {
    let mut world = world();
    let huge = json!({"addresses": ["0.0.0.0/1"], "avoidBuggyIPs": true});
    put(&mut world.pools, custom::<LoadBalancerPoolSpec, _>("main", huge));
    let findings = plan(&world).findings;
    let of_pool = findings.of(&ObjectRef::new(Kind::LoadBalancerPool, ObjectName::cluster("main")));
    assert_eq!(of_pool[0].reason, Reason::InvalidValue);
}

/// Of two held Services, "a" and "b", with an endpoint each.
#[rstest]
#[case::a_new_service(|world: &mut World| add(world, "c", 3), &[Urgency::Address])]
#[case::its_address(
    |world: &mut World| { add(world, "c", 3); hold(world, "c", &["10.0.0.2"]) },
    &[Urgency::Announcement, Urgency::Report]
)]
#[case::a_dead_endpoint(
    |world: &mut World| edit(&mut world.endpoint_slices, &name("a"), |slice| slice.value.endpoints.clear()),
    &[Urgency::Withdrawal, Urgency::Report]
)]
#[case::one_dies_and_one_comes(
    |world: &mut World| {
        edit(&mut world.endpoint_slices, &name("a"), |slice| slice.value.endpoints.clear());
        add(world, "c", 3);
        hold(world, "c", &["10.0.0.2"]);
    },
    &[Urgency::Withdrawal, Urgency::Report]
)]
#[case::a_node_comes(|world: &mut World| node(world, "c"), &[Urgency::Announcement])]
#[case::a_node_goes(|world: &mut World| remove(&mut world.nodes, &ObjectName::cluster("a")), &[Urgency::Withdrawal])]
fn writes_tell_how_urgent_they_are(#[case] change: fn(&mut World), #[case] expected: &[Urgency]) {
    let mut world = world();
    service(&mut world, "a", 1, &[Family::V4]);
    service(&mut world, "b", 2, &[Family::V4]);
    settle(&mut world);
    change(&mut world);
    // Statuses of peers and pools, which follow the number of nodes and of addresses, are none of these cases' business.
    let of_interest = |write: &&Write| !matches!(write, Write::ObjectStatus(_));
    let urgencies: BTreeSet<Urgency> = plan(&world).writes.iter().filter(of_interest).map(Write::urgency).collect();
    assert_eq!(urgencies.into_iter().collect::<Vec<_>>(), expected);
}
