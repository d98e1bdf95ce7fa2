//! The rules that hold at every moment, on worlds made by hand and at random.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use clarion_api::{LoadBalancerAdvertisementSpec, LoadBalancerPoolSpec, RouterPeerSpec, Timestamp};
use clarion_core::{
    ConfigurationWrite, Reason, ServiceStatusWrite, World, Write, plan, replay,
    world::{
        Collection, Custom, Endpoint, EndpointSlice, Family, Intent, Kind, Meta, Namespace, Node, Object, ObjectName,
        ObjectRef, Service, Session,
    },
};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

fn object<T>(name: ObjectName, created: i64, value: T) -> Object<T> {
    let created = Timestamp::from_second(created).unwrap();
    let uid = format!("{name}@{created}");
    let (resource_version, created) = ("1".to_owned(), Some(created));
    Object { meta: Meta { name, uid, resource_version, created, ..Meta::default() }, value }
}

fn custom<Spec: serde::de::DeserializeOwned, Status>(
    name: &str,
    spec: serde_json::Value,
) -> Object<Custom<Spec, Status>> {
    object(ObjectName::cluster(name), 0, Custom { spec: Ok(serde_json::from_value(spec).unwrap()), status: None })
}

fn pool(world: &mut World, name: &str, addresses: &[&str]) {
    put(&mut world.pools, custom::<LoadBalancerPoolSpec, _>(name, json!({ "addresses": addresses })));
}

fn put<T: PartialEq>(collection: &mut Collection<T>, mut object: Object<T>) {
    if let Some(known) = collection.get(&object.meta.name) {
        let version: u64 = known.meta.resource_version.parse().unwrap();
        object.meta.resource_version = (version + 1).to_string();
    }
    collection.watched(object);
}

fn service(world: &mut World, name: &str, created: i64, families: &[Family]) {
    let value = Service {
        is_load_balancer: true,
        class: Some("clarionlb.io/bgp".to_owned()),
        families: families.to_vec(),
        requires_dual_stack: families.len() == 2,
        ..Service::default()
    };
    put(&mut world.services, object(ObjectName::new("ns", name), created, value));
    let ready = Endpoint { ready: true, ..Endpoint::default() };
    let slice = EndpointSlice { service: name.to_owned(), endpoints: vec![ready] };
    put(&mut world.endpoint_slices, object(ObjectName::new("ns", name), 0, slice));
}

fn edit<T: Clone + PartialEq>(collection: &mut Collection<T>, name: &ObjectName, change: impl FnOnce(&mut Object<T>)) {
    let mut object = collection.get(name).unwrap().clone();
    change(&mut object);
    put(collection, object);
}

fn hold(world: &mut World, name: &str, addresses: &[&str]) {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    edit(&mut world.services, &ObjectName::new("ns", name), |service| service.value.addresses = addresses);
}

fn node(world: &mut World, name: &str) {
    let mut node = object(ObjectName::cluster(name), 0, Node);
    node.meta.labels = BTreeMap::from([("kubernetes.io/hostname".to_owned(), name.to_owned())]);
    put(&mut world.nodes, node);
}

/// Two nodes, a peer that carries both families, an advertisement of everything, a pool of eight addresses of each family.
fn world() -> World {
    let mut world = World { frr_k8s_installed: true, ..World::default() };
    node(&mut world, "a");
    node(&mut world, "b");
    pool(&mut world, "main", &["10.0.0.0/29", "2001:db8::/125"]);
    let peer = json!({"myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1", "dualStackAddressFamily": true});
    put(&mut world.peers, custom::<RouterPeerSpec, _>("tor", peer));
    put(&mut world.advertisements, custom::<LoadBalancerAdvertisementSpec, _>("all", json!({})));
    world
}

fn settle(world: &mut World) {
    for _ in 0..50 {
        let writes = plan(world).writes;
        if writes.is_empty() {
            return;
        }
        writes.iter().for_each(|write| replay::land(world, write));
    }
    panic!("it does not settle: {:?}", plan(world).writes);
}

fn addresses(world: &World, name: &str) -> Vec<String> {
    let service = world.services.get(&ObjectName::new("ns", name)).unwrap();
    service.value.addresses.iter().map(ToString::to_string).collect()
}

fn announced(world: &World) -> Vec<String> {
    world.announced().iter().map(ToString::to_string).collect()
}

fn condition(world: &World, name: &str, type_: &str) -> (String, String, String) {
    let service = world.services.get(&ObjectName::new("ns", name)).unwrap();
    let condition = service.value.conditions.iter().find(|c| c.type_ == format!("clarionlb.io/{type_}")).unwrap();
    (condition.status.clone(), condition.reason.clone(), condition.message.clone())
}

fn statuses(writes: &[Write]) -> Vec<&ServiceStatusWrite> {
    let mut found = Vec::new();
    for write in writes {
        if let Write::ServiceStatus(write) = write {
            found.push(write);
        }
    }
    found
}

fn configurations(writes: &[Write]) -> Vec<&ConfigurationWrite> {
    let mut found = Vec::new();
    for write in writes {
        if let Write::Configuration(write) = write {
            found.push(write);
        }
    }
    found
}

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
        let ConfigurationWrite::Create { spec, .. } = write else { panic!("{write:?}") };
        assert!(spec.bgp.as_ref().unwrap().routers[0].prefixes.is_empty(), "not in the same round");
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
    world.services.removed(&ObjectName::new("ns", "a"), &uid);
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
    assert_eq!(written, [("b".to_owned(), Some(vec!["10.0.0.1".parse().unwrap()]))]);
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
    world.unsettled.insert(ObjectRef::new(Kind::FRRConfiguration, name), Intent::default());
    assert!(configurations(&plan(&world).writes).is_empty());
}

#[test]
fn a_new_leader_only_adds_at_first() {
    let mut world = world();
    service(&mut world, "a", 1, &[Family::V4]);
    service(&mut world, "b", 2, &[Family::V4, Family::V6]);
    settle(&mut world);
    let uid = world.services.get(&ObjectName::new("ns", "a")).unwrap().meta.uid.clone();
    world.services.removed(&ObjectName::new("ns", "a"), &uid);
    edit(&mut world.services, &ObjectName::new("ns", "b"), |service| {
        service.value.families = vec![Family::V4];
        service.value.requires_dual_stack = false;
    });
    service(&mut world, "c", 3, &[Family::V4]);
    world.add_only = true;
    settle(&mut world);
    assert_eq!(announced(&world), ["10.0.0.0", "10.0.0.1", "10.0.0.2", "2001:db8::"]);
    assert_eq!(addresses(&world, "b"), ["10.0.0.1", "2001:db8::"]);
    world.add_only = false;
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
    assert_eq!(addresses(&world, "young"), ["10.0.0.3", "10.0.0.0"], "a new leader only adds");
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
    named.meta.resource_version = "2".to_owned();
    put(&mut world.advertisements, named);
    service(&mut world, "a", 1, &[Family::V4]);
    settle(&mut world);
    let before = world.configurations.clone();
    let uid = world.pools.get(&ObjectName::cluster("main")).unwrap().meta.uid.clone();
    world.pools.removed(&ObjectName::cluster("main"), &uid);
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
#[case(json!({"serviceAllocation": {"namespaces": ["other"]}}), "not for this Service")]
#[case(json!({"quotas": [{"namespace": "ns", "maxAddresses": 1}]}), "what this version does not do")]
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
fn communities_that_a_service_asks_for_are_not_passed_over() {
    let mut world = world();
    put(
        &mut world.advertisements,
        custom::<LoadBalancerAdvertisementSpec, _>("all", json!({"allowedCommunities": ["1:1"]})),
    );
    service(&mut world, "a", 1, &[Family::V4]);
    edit(&mut world.services, &ObjectName::new("ns", "a"), |service| {
        service.value.annotations.insert("clarionlb.io/communities".to_owned(), "1:1".to_owned());
    });
    settle(&mut world);
    assert_eq!(condition(&world, "a", "Announced").1, "NotSupported");
    assert!(announced(&world).is_empty());
    let findings = plan(&world).findings;
    let of_it = findings.of(&ObjectRef::new(Kind::LoadBalancerAdvertisement, ObjectName::cluster("all")));
    assert_eq!(of_it[0].reason, Reason::NotSupported);
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
    world.services.removed(&old, &uid);
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
    world.services.removed(&b, &uid);
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
    world.pools.removed(&ObjectName::cluster("main"), &uid);
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
    world.configurations.removed(&name, &uid);
    world.configurations.forget_deleted();
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

/// Something that happens to a cluster.
#[derive(Clone, Debug)]
enum Event {
    Create(u8, u8),
    Delete(u8),
    Families(u8, u8),
    Node(u8, bool),
    Pool(u8),
    Advertisement(u8),
    Peer(u8),
    AddOnly(bool),
    /// A part of the writes lands, in an order of the tester's choice.
    Land(u8, u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..6_u8, 0..3_u8).prop_map(|(s, f)| Event::Create(s, f)),
        2 => (0..6_u8).prop_map(Event::Delete),
        1 => (0..6_u8, 0..3_u8).prop_map(|(s, f)| Event::Families(s, f)),
        2 => (0..3_u8, any::<bool>()).prop_map(|(n, there)| Event::Node(n, there)),
        1 => (0..4_u8).prop_map(Event::Pool),
        1 => (0..4_u8).prop_map(Event::Advertisement),
        1 => (0..3_u8).prop_map(Event::Peer),
        1 => any::<bool>().prop_map(Event::AddOnly),
        8 => (1..4_u8, any::<u64>()).prop_map(|(n, order)| Event::Land(n, order)),
    ]
}

fn families(choice: u8) -> &'static [Family] {
    [&[Family::V4][..], &[Family::V6], &[Family::V4, Family::V6]][usize::from(choice)]
}

fn happen(world: &mut World, event: &Event, clock: i64) {
    match event {
        Event::Create(s, f) => {
            if world.services.get(&ObjectName::new("ns", format!("s{s}"))).is_none() {
                service(world, &format!("s{s}"), clock, families(*f));
            }
        }
        Event::Delete(s) => {
            let name = ObjectName::new("ns", format!("s{s}"));
            if let Some(uid) = world.services.get(&name).map(|service| service.meta.uid.clone()) {
                world.services.removed(&name, &uid);
            }
        }
        Event::Families(s, f) => {
            let name = ObjectName::new("ns", format!("s{s}"));
            if world.services.get(&name).is_some() {
                edit(&mut world.services, &name, |service| {
                    service.value.families = families(*f).to_vec();
                    service.value.requires_dual_stack = *f == 2;
                });
            }
        }
        Event::Node(n, true) => {
            node(world, &format!("n{n}"));
            let rack = format!("r{}", n % 2);
            edit(&mut world.nodes, &ObjectName::cluster(format!("n{n}")), |node| {
                node.meta.labels.insert("rack".to_owned(), rack);
            });
        }
        Event::Node(n, false) => {
            let name = ObjectName::cluster(format!("n{n}"));
            if let Some(uid) = world.nodes.get(&name).map(|node| node.meta.uid.clone()) {
                world.nodes.removed(&name, &uid);
                world.nodes.forget_deleted();
            }
        }
        Event::Pool(choice) => {
            let four = [
                json!(["10.0.0.0/29", "2001:db8::/125"]),
                json!(["10.0.0.0/30"]),
                json!(["10.0.0.4/30", "2001:db8::/125"]),
                json!(["10.0.0.9-10.0.0.1"]),
            ];
            put(
                &mut world.pools,
                custom::<LoadBalancerPoolSpec, _>("main", json!({"addresses": four[usize::from(*choice)]})),
            );
        }
        Event::Advertisement(choice) => {
            let rack = json!([{"matchLabels": {"rack": "r0"}}]);
            let specs = [
                json!({}),
                json!({"nodeSelectors": rack}),
                json!({"localPref": 5}),
                json!({"pools": ["main"], "communities": ["1:1"]}),
            ];
            let spec = specs[usize::from(*choice)].clone();
            put(&mut world.advertisements, custom::<LoadBalancerAdvertisementSpec, _>("all", spec));
        }
        Event::Peer(choice) => {
            let mut spec =
                json!({"myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1", "dualStackAddressFamily": true});
            match choice {
                1 => spec["holdTime"] = json!("90s"),
                2 => spec["nodeSelectors"] = json!([{"matchLabels": {"rack": "r0"}}]),
                _ => {}
            }
            if *choice == 1 {
                spec["keepaliveTime"] = json!("30s");
            }
            put(&mut world.peers, custom::<RouterPeerSpec, _>("tor", spec));
        }
        Event::AddOnly(add_only) => world.add_only = *add_only,
        Event::Land(count, order) => {
            let mut writes = plan(world).writes;
            let key = |write: &Write| {
                format!("{:?}", write.object()).bytes().fold(*order, |h, b| h.rotate_left(5) ^ u64::from(b))
            };
            writes.sort_by_key(key);
            writes.iter().take(usize::from(*count)).for_each(|write| replay::land(world, write));
        }
    }
}

/// Who holds what; fails if two hold the same.
fn holders(world: &World) -> Result<BTreeMap<IpAddr, String>, TestCaseError> {
    let mut holders = BTreeMap::new();
    for service in world.services.iter() {
        for address in &service.value.addresses {
            let other = holders.insert(*address, service.meta.uid.clone());
            prop_assert!(other.is_none(), "{address} is held by {other:?} and {}", service.meta.uid);
        }
    }
    Ok(holders)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn whatever_happens_the_rules_hold(events in prop::collection::vec(event(), 1..40)) {
        let mut world = World { frr_k8s_installed: true, ..world() };
        let mut announced_for: BTreeMap<IpAddr, String> = BTreeMap::new();
        for (clock, event) in events.iter().enumerate() {
            let before = holders(&world)?;
            let announced_before = world.announced();
            let clock = i64::try_from(clock).unwrap();
            world.now = Timestamp::from_second(clock).unwrap();
            happen(&mut world, event, clock);
            prop_assert_eq!(&plan(&world), &plan(&world), "the same world gives the same plan");
            let (after, announced_after) = (holders(&world)?, world.announced());
            // While an address was announced for one Service, no other gets it.
            for address in &announced_before {
                if let Some(holder) = before.get(address) {
                    announced_for.insert(*address, holder.clone());
                }
            }
            announced_for.retain(|address, _| announced_after.contains(address) || announced_before.contains(address));
            for (address, holder) in &after {
                if let Some(first) = announced_for.get(address) && announced_before.contains(address) {
                    prop_assert_eq!(first, holder, "{} changed hands while it was announced", address);
                }
            }
            // Nothing is announced that stood in nobody's status.
            for address in announced_after.difference(&announced_before) {
                prop_assert!(before.contains_key(address), "{address} is announced, and was nobody's");
            }
            if world.add_only && matches!(event, Event::Land(..)) {
                prop_assert!(announced_before.is_subset(&announced_after), "withdrawn by a new leader");
                prop_assert!(before.iter().all(|(address, holder)| after.get(address) == Some(holder)));
            }
            for configuration in world.configurations.iter() {
                prop_assert!(!configuration.value.layer.hosts.is_empty(), "In []");
            }
        }
        world.add_only = false;
        settle(&mut world);
        let held = holders(&world)?;
        let announced = world.announced();
        prop_assert!(announced.iter().all(|address| held.contains_key(address)));
        // With a node in every rack, no selector leaves an address without one.
        let racks: BTreeSet<_> = world.nodes.iter().filter_map(|n| n.meta.labels.get("rack").cloned()).collect();
        if racks.contains("r0") {
            let from_pool = |address: &IpAddr| world.pools.iter().any(|pool| {
                let spec = pool.value.spec.as_ref().unwrap();
                spec.addresses.iter().any(|text| text.parse::<ipnet::IpNet>().is_ok_and(|cidr| cidr.contains(address)))
            });
            for address in held.keys().filter(|address| from_pool(address)) {
                prop_assert!(announced.contains(address), "{address} is not announced");
            }
        }
    }
}
