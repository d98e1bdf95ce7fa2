//! Large clusters: how many objects there are, how large they are, and how much of them a change touches.

use std::collections::BTreeSet;

use clarion_api::RouterPeerSpec;
use clarion_core::{
    ConfigurationWrite, World, plan,
    world::{Bounds, Family, ObjectName},
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

/// Each of several objects has the session, so a hold time can only be changed where one object has everything that a node has; and
/// here that is more than an object may hold.
#[test]
fn a_change_that_no_object_can_hold_waits_and_says_so() {
    let mut world = world();
    world.settings.bounds = Bounds { shard_prefixes: 2, object_bytes: 50, ..Bounds::default() };
    for n in 0..4 {
        service(&mut world, &format!("s{n}"), n, &[Family::V4]);
    }
    settle(&mut world);
    assert!(world.configurations.len() > 1, "there are shards");
    let hold_times = |world: &World| -> BTreeSet<Option<String>> {
        let sessions = world.configurations.iter().flat_map(|object| object.value.layer.content.sessions());
        sessions.map(|(_, _, session)| session.neighbor.hold_time.clone()).collect()
    };
    let peer = |world: &mut World, suspend: bool| {
        let spec = json!({
            "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1", "dualStackAddressFamily": true, "suspend": suspend,
            "holdTime": "90s", "keepaliveTime": "30s",
        });
        edit_spec(&mut world.peers, custom::<RouterPeerSpec, _>("tor", spec));
    };
    peer(&mut world, false);
    settle(&mut world);
    let (reason, message) = ready(&world, "tor");
    assert_eq!(reason, "ChangeTooLarge");
    assert!(
        message.starts_with("what changes of the session waits on nodes a, b, and all else goes on: "),
        "{message}"
    );
    assert_eq!(hold_times(&world), [None].into(), "nothing is taken away");
    service(&mut world, "s4", 4, &[Family::V4]);
    settle(&mut world);
    assert_eq!(announced(&world).len(), 5, "all else goes on");

    peer(&mut world, true);
    settle(&mut world);
    peer(&mut world, false);
    settle(&mut world);
    assert_eq!(ready(&world, "tor").0, "Valid");
    assert_eq!(hold_times(&world), [Some("90s".to_owned())].into());
    assert_eq!(announced(&world).len(), 5);
}
