//! Large clusters: how many objects there are, how large they are, and how much of them a change touches.

use std::collections::BTreeSet;

use clarion_api::{LoadBalancerAdvertisementSpec, RouterPeerSpec};
use clarion_core::{
    ConfigurationWrite, Reason, World, plan, replay,
    world::{Bounds, Configuration, Family, Kind, ObjectName, ObjectRef},
};
use serde_json::json;

use crate::cluster::*;

/// The cluster of the figures: 1,000 nodes, one peer, 5,000 Services with their addresses.
fn large() -> World {
    large_of(1000, 5000)
}

fn large_of(nodes: usize, services: usize) -> World {
    let mut world = world();
    remove(&mut world.nodes, &ObjectName::cluster("a"));
    remove(&mut world.nodes, &ObjectName::cluster("b"));
    pool(&mut world, "main", &["10.0.0.0/16"]);
    for n in 0..nodes {
        node(&mut world, &format!("node-{n}"));
    }
    for n in 0..services {
        service(&mut world, &format!("s{n}"), 0, &[Family::V4]);
        hold(&mut world, &format!("s{n}"), &[&address(n)]);
    }
    settle(&mut world);
    world
}

fn address(n: usize) -> String {
    format!("10.0.{}.{}", n / 250, n % 250)
}

/// The bytes of an object as it goes through the API, without what the API server adds.
fn size(write: &ConfigurationWrite) -> usize {
    match write {
        ConfigurationWrite::Create { name, labels, annotations, layer }
        | ConfigurationWrite::Update { name, labels, annotations, layer, .. } => {
            let metadata = json!({"name": name.name.as_str(), "labels": labels, "annotations": annotations});
            let text = json!({"metadata": metadata, "spec": layer.spec()});
            text.to_string().len()
        }
        ConfigurationWrite::Delete { .. } => 0,
    }
}

fn total_size(world: &World) -> usize {
    let sizes = world.configurations.iter().map(|object| {
        let labels = json!({"labels": object.meta.labels, "annotations": object.value.annotations});
        labels.to_string().len() + json!(object.value.spec()).to_string().len()
    });
    sizes.sum()
}

#[test]
fn a_change_rewrites_one_small_object_of_each_cell() {
    let mut world = large();
    assert_eq!(world.configurations.len(), 16 * 8);
    let bytes = total_size(&world);
    assert!(bytes < 2_500_000, "{bytes}");

    add(&mut world, "late", 1);
    hold(&mut world, "late", &["10.0.200.1"]);
    let writes = plan(&world).writes;
    let changed = configurations(&writes);
    assert_eq!(changed.len(), 16);
    let bytes: usize = changed.iter().map(|write| size(write)).sum();
    assert!(bytes < 250_000, "{bytes}");
}

#[test]
fn objects_tell_which_part_they_are() {
    let world = large_of(1000, 5000);
    let object = world.configurations.iter().find(|object| object.meta.name.name.ends_with("-c7-s5")).unwrap();
    assert_eq!((&*object.meta.labels["clarionlb.io/cell"], &*object.meta.labels["clarionlb.io/shard"]), ("7", "5"));
    let first = world.configurations.iter().next().unwrap();
    assert_eq!((&*first.meta.labels["clarionlb.io/cell"], &*first.meta.labels["clarionlb.io/shard"]), ("0", "0"));

    let small = large_of(3, 5);
    let only = small.configurations.iter().next().unwrap();
    assert_eq!(small.configurations.len(), 1);
    assert!(!only.meta.labels.contains_key("clarionlb.io/cell"), "there is nothing to tell apart");
}

#[test]
fn a_node_that_comes_touches_one_cell() {
    let mut world = large();
    node(&mut world, "late");
    let writes = plan(&world).writes;
    let cells: BTreeSet<_> = configurations(&writes)
        .iter()
        .map(|write| match write {
            ConfigurationWrite::Update { labels, .. } => labels["clarionlb.io/cell"].clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((cells.len(), configurations(&writes).len()), (1, 8));
}

#[test]
fn growth_moves_only_what_must_move() {
    let mut world = large_of(2, 1024);
    assert_eq!(world.configurations.len(), 1);
    add(&mut world, "one-more", 1);
    hold(&mut world, "one-more", &["10.0.200.1"]);
    let writes = plan(&world).writes;
    let first: Vec<_> = configurations(&writes);
    assert!(
        first
            .iter()
            .any(|write| matches!(write, ConfigurationWrite::Create { name, .. } if name.name.ends_with("-s1"))),
        "{first:?}"
    );
    let before: BTreeSet<_> = announced_addresses(&world);
    settle_watching(&mut world, |world| assert!(before.is_subset(&announced_addresses(world))));
    assert_eq!(world.configurations.len(), 2);

    // And back, but late.
    for n in 0..600 {
        remove(&mut world.services, &name(&format!("s{n}")));
    }
    settle(&mut world);
    assert_eq!(world.configurations.len(), 1 + usize::from(425 * 2 > 1024));
}

/// Everything that a session needs is in one object that nothing else needs to agree with, so it is parked while it changes.
#[test]
fn a_hold_time_changes_in_bounded_rounds() {
    let mut world = large_of(200, 6000);
    let objects = world.configurations.len();
    assert!(objects > 16, "{objects}");
    let peer = json!({
        "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1", "dualStackAddressFamily": true,
        "holdTime": "90s", "keepaliveTime": "30s",
    });
    put(&mut world.peers, custom::<RouterPeerSpec, _>("tor", peer));
    let mut rounds = 0;
    let before = announced_addresses(&world);
    settle_watching(&mut world, |world| {
        rounds += 1;
        assert_eq!(before, announced_addresses(world));
    });
    assert!(rounds <= 6 * objects, "{rounds} writes");
    assert_eq!(world.configurations.len(), objects);
}

fn hold_times(world: &World, router: &str) -> BTreeSet<Option<String>> {
    let layers = world.configurations.iter().map(|object| &object.value.layer);
    let sessions = layers.filter_map(|layer| layer.content.session("", router));
    sessions.map(|session| session.neighbor.hold_time.clone()).collect()
}

/// A cluster of two shards, neither of which could have all prefixes.
fn of_small_objects() -> World {
    let mut world = world();
    world.settings.bounds = Bounds { shard_prefixes: 2, object_bytes: 50, ..Bounds::default() };
    for n in 0..4 {
        service(&mut world, &format!("s{n}"), n, &[Family::V4]);
    }
    settle(&mut world);
    assert!(world.configurations.len() > 1, "there are shards");
    world
}

/// Puts in a peer, or changes it.
fn peer(world: &mut World, name: &str, router: &str, more: &serde_json::Value) {
    let mut spec = json!({"myASN": 1, "peerASN": 2, "peerAddress": router, "dualStackAddressFamily": true});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    edit_spec(&mut world.peers, custom::<RouterPeerSpec, _>(name, spec));
}

/// Each of several objects has the session, so a hold time can only be changed where one object has everything that a node has; and
/// here that is more than an object may hold.
#[test]
fn a_change_that_no_object_can_hold_waits_and_says_so() {
    let mut world = of_small_objects();
    let change = |world: &mut World, suspend: bool| {
        let timers = json!({"suspend": suspend, "holdTime": "90s", "keepaliveTime": "30s"});
        peer(world, "tor", "192.0.2.1", &timers);
    };
    change(&mut world, false);
    settle(&mut world);
    let (reason, message) = ready(&world, "tor");
    assert_eq!(reason, "ChangeTooLarge");
    assert!(
        message.starts_with("what changes of the session waits on nodes a, b, and all else goes on: "),
        "{message}"
    );
    assert_eq!(hold_times(&world, "192.0.2.1"), [None].into(), "nothing is taken away");
    service(&mut world, "s4", 4, &[Family::V4]);
    settle(&mut world);
    assert_eq!(announced(&world).len(), 5, "all else goes on");

    change(&mut world, true);
    settle(&mut world);
    change(&mut world, false);
    settle(&mut world);
    assert_eq!(ready(&world, "tor").0, "Valid");
    assert_eq!(hold_times(&world, "192.0.2.1"), [Some("90s".to_owned())].into());
    assert_eq!(announced(&world).len(), 5);
}

/// What others do to an object that a change waits for is undone as anywhere else.
#[test]
fn what_others_edit_is_put_back_while_a_change_waits() {
    let mut world = of_small_objects();
    peer(&mut world, "tor", "192.0.2.1", &json!({"holdTime": "90s", "keepaliveTime": "30s"}));
    settle(&mut world);
    assert_eq!(ready(&world, "tor").0, "ChangeTooLarge");
    let before = world.configurations.clone();
    let edited: Vec<_> = world.configurations.iter().cloned().collect();
    for mut object in edited {
        let mut spec = object.value.spec().clone();
        spec.raw = Some(serde_json::from_value(json!({"rawConfig": "hostname mine"})).unwrap());
        object.meta.labels.insert("clarionlb.io/shard".into(), "7".into());
        let (name, labels) = (&object.meta.name, &object.meta.labels);
        object.value = Configuration::new(name, labels, object.value.annotations.clone(), spec);
        put(&mut world.configurations, object);
    }
    settle(&mut world);
    for object in world.configurations.iter() {
        let was = before.get(&object.meta.name).unwrap();
        assert_eq!((&object.meta.labels, object.value.spec()), (&was.meta.labels, was.value.spec()));
    }
}

/// IPv6 prefixes go with the parameters that they need: none is announced on a session that can't carry it yet.
#[test]
fn a_session_that_can_not_become_dual_stack_goes_on_with_what_it_carries() {
    let mut world = of_small_objects();
    let dual_stack = |world: &mut World, dual_stack: bool| {
        peer(world, "tor", "192.0.2.1", &json!({"dualStackAddressFamily": dual_stack}));
    };
    dual_stack(&mut world, false);
    world.settings.bounds.object_bytes = 1_000;
    settle(&mut world);
    world.settings.bounds.object_bytes = 50;
    for n in 4..7 {
        service(&mut world, &format!("s{n}"), n, &[Family::V4, Family::V6]);
    }
    settle(&mut world);
    assert_eq!(announced(&world).len(), 7, "IPv4 alone");

    dual_stack(&mut world, true);
    settle(&mut world);
    assert_eq!(ready(&world, "tor").0, "ChangeTooLarge");
    assert_eq!(announced(&world).len(), 7, "what it carries");
    service(&mut world, "s7", 7, &[Family::V4, Family::V6]);
    settle(&mut world);
    assert_eq!(announced(&world).len(), 8, "all else goes on");

    world.settings.bounds.object_bytes = 1_000;
    settle(&mut world);
    assert_eq!(ready(&world, "tor").0, "Valid");
    assert_eq!(announced(&world).len(), 12);
}

/// Where nothing is announced on a session, one object has it.
#[test]
fn a_session_that_one_object_has_changes_while_another_waits() {
    let mut world = of_small_objects();
    let tor_alone = json!({"peers": ["tor"]});
    edit_spec(&mut world.advertisements, custom::<LoadBalancerAdvertisementSpec, _>("all", tor_alone));
    peer(&mut world, "spine", "192.0.2.2", &json!({}));
    settle(&mut world);

    let timers = json!({"holdTime": "90s", "keepaliveTime": "30s"});
    peer(&mut world, "tor", "192.0.2.1", &timers);
    peer(&mut world, "spine", "192.0.2.2", &timers);
    peer(&mut world, "new", "192.0.2.3", &timers);
    settle(&mut world);
    let reasons = ["tor", "spine", "new"].map(|name| ready(&world, name).0);
    assert_eq!(reasons, ["ChangeTooLarge", "Valid", "Valid"]);
    assert_eq!(hold_times(&world, "192.0.2.1"), [None].into());
    assert_eq!(hold_times(&world, "192.0.2.2"), [Some("90s".to_owned())].into());
    assert_eq!(announced(&world).len(), 4);
}

/// What is announced from a node that is being drained has other attributes, so that no two objects may have it at a time.
#[test]
fn a_node_is_drained_though_no_object_can_hold_what_it_has() {
    let mut world = of_small_objects();
    world.settings.bounds.object_bytes = 60;
    let before = announced_addresses(&world);
    edit(&mut world.nodes, &ObjectName::cluster("a"), |node| {
        node.value.withdraw_at = Some("1970-01-01T01:00:00Z".into())
    });
    settle_watching(&mut world, |world| assert_eq!(before, announced_addresses(world)));
    let drained = |world: &World| {
        let objects = world.configurations.iter().filter(|object| object.value.layer.hosts.contains("a"));
        let sessions: Vec<_> =
            objects.map(|object| object.value.layer.content.session("", "192.0.2.1").unwrap()).collect();
        let attributes = sessions.iter().flat_map(|session| session.routes.values());
        attributes.map(|attributes| attributes.is_draining()).collect::<BTreeSet<_>>()
    };
    assert_eq!(drained(&world), [true].into());
    assert_eq!(ready(&world, "tor").0, "Valid");
}

/// The nodes of a rack have an AS number of their own; one of them moves to another rack.
#[test]
fn a_node_that_can_not_change_its_session_leaves_those_of_others_alone() {
    let mut world = of_small_objects();
    let racks = json!({"nodeOverrides": [{"nodeSelector": {"matchLabels": {"rack": "2"}}, "myASN": 3}]});
    peer(&mut world, "tor", "192.0.2.1", &racks);
    let rack = |world: &mut World, name: &str, rack: &str| {
        edit(&mut world.nodes, &ObjectName::cluster(name), |node| {
            node.meta.labels.insert("rack".into(), rack.into());
        });
    };
    node(&mut world, "c");
    rack(&mut world, "a", "2");
    world.settings.bounds.object_bytes = 1_000;
    settle(&mut world);
    world.settings.bounds.object_bytes = 50;
    let numbers = |world: &World, host: &str| {
        let layers = world.configurations.iter().map(|object| &object.value.layer);
        let layers = layers.filter(|layer| layer.hosts.contains(host));
        layers.flat_map(|layer| layer.content.routers.values().map(|router| router.asn)).collect::<BTreeSet<_>>()
    };
    assert_eq!(["a", "b", "c"].map(|host| numbers(&world, host)), [3, 1, 1].map(|number| [number].into()));

    rack(&mut world, "a", "1");
    settle_watching(&mut world, |world| {
        assert_eq!(["a", "b", "c"].map(|host| numbers(world, host)), [3, 1, 1].map(|number| [number].into()));
    });
    assert_eq!(ready(&world, "tor").0, "ChangeTooLarge");
    service(&mut world, "s4", 4, &[Family::V4]);
    settle(&mut world);
    assert_eq!(announced(&world).len(), 5, "all else goes on");
}

/// Another AS number is another session: one that is new would come up with the number that its router has to keep.
#[test]
fn a_session_that_is_new_waits_for_the_number_of_its_router() {
    let mut world = of_small_objects();
    peer(&mut world, "tor", "192.0.2.1", &json!({"myASN": 3}));
    peer(&mut world, "new", "192.0.2.2", &json!({"myASN": 3}));
    settle(&mut world);
    let layers = world.configurations.iter().map(|object| &object.value.layer.content);
    let numbers: BTreeSet<_> = layers.flat_map(|content| content.routers.values().map(|router| router.asn)).collect();
    assert_eq!(numbers, [1].into());
    assert_eq!(hold_times(&world, "192.0.2.2"), BTreeSet::new(), "it is not there");
    assert_eq!(["tor", "new"].map(|name| ready(&world, name).0), ["ChangeTooLarge", "ChangeTooLarge"]);

    world.settings.bounds.object_bytes = 1_000;
    settle(&mut world);
    assert_eq!(hold_times(&world, "192.0.2.2"), [None].into());
    assert_eq!(["tor", "new"].map(|name| ready(&world, name).0), ["Valid", "Valid"]);
}

/// Where a router can't change, this concerns the sessions of its node alone, not those that others have in such a VRF.
#[test]
fn sessions_of_other_nodes_do_not_wait_for_a_router() {
    let mut world = of_small_objects();
    let racks =
        json!({"nodeOverrides": [{"nodeSelector": {"matchLabels": {"kubernetes.io/hostname": "a"}}, "myASN": 3}]});
    let only_b = json!({"nodeSelectors": [{"matchLabels": {"kubernetes.io/hostname": "b"}}]});
    peer(&mut world, "spine", "192.0.2.2", &only_b);
    world.settings.bounds.object_bytes = 1_000;
    settle(&mut world);
    world.settings.bounds.object_bytes = 50;
    peer(&mut world, "tor", "192.0.2.1", &racks);
    service(&mut world, "s4", 4, &[Family::V4]);
    let wait = |world: &World| {
        let findings = plan(world).findings;
        let peers = ["spine", "tor"].map(|name| ObjectRef::new(Kind::RouterPeer, ObjectName::cluster(name)));
        peers.map(|peer| findings.of(&peer).iter().any(|finding| finding.reason == Reason::ChangeTooLarge))
    };
    while !wait(&world)[1] {
        let writes = plan(&world).writes;
        assert!(!writes.is_empty());
        writes.iter().for_each(|write| replay::land(&mut world, write));
    }
    assert_eq!(wait(&world), [false, true]);
    settle(&mut world);
    assert_eq!(wait(&world), [false, true]);
}
