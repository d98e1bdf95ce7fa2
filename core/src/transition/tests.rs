//! Random layouts on both sides. The oracle is the daemon's merge: every state in between must merge on every host, and have
//! what the host had and is still to have.

use std::collections::{BTreeMap, BTreeSet};

use clarion_api::frr::{BfdProfile, Neighbor};
use itertools::Itertools as _;
use proptest::prelude::*;

use super::*;
use crate::{
    admit::{self, Named},
    layer::{Attributes, Content, Router, Session},
    world::ObjectName,
};

/// So small that hosts that agree are parked in several objects.
const BOUNDS: Bounds = Bounds { cell_load: 4, shard_prefixes: 1, shard_entries: 1, object_bytes: 1_000 };

/// Wishes of one class of hosts: the hold time, a router ID, and the local preference of each prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wish {
    asn: i64,
    hold: u8,
    id: Option<u8>,
    bfd: Option<u8>,
    routes: BTreeMap<u8, Option<u8>>,
}

fn wish() -> impl Strategy<Value = Wish> {
    let routes = prop::collection::btree_map(0..4_u8, prop::option::of(0..2_u8), 0..4);
    (0..2_i64, 0..2_u8, prop::option::of(0..2_u8), prop::option::of(0..2_u8), routes)
        .prop_map(|(asn, hold, id, bfd, routes)| Wish { asn: 64512 + asn, hold, id, bfd, routes })
}

fn content(wish: &Wish, part: impl Fn(u8) -> bool) -> Content {
    let neighbor = Neighbor {
        address: Some("192.0.2.1".to_owned()),
        asn: Some(1),
        hold_time: Some(format!("{}s", 90 + wish.hold)),
        keepalive_time: Some("30s".to_owned()),
        ..Neighbor::default()
    };
    let mut session = Session::new(neighbor);
    for (n, local_pref) in wish.routes.iter().filter(|(n, _)| part(**n)) {
        let attributes = Attributes { local_pref: local_pref.map(i64::from), ..Attributes::default() };
        session.routes.insert(format!("10.0.0.{n}/32").parse().unwrap(), attributes.into());
    }
    let profiles = wish.bfd.map(|bfd| BfdProfile {
        name: format!("p{bfd}"),
        receive_interval: Some(100 + i32::from(bfd)),
        ..BfdProfile::default()
    });
    session.bfd_profile = profiles.as_ref().map(|profile| profile.name.clone());
    let id = wish.id.map(|id| format!("10.9.9.{id}"));
    let sessions = BTreeMap::from([(session.key(), session)]);
    let router = Router { asn: wish.asn, id, sessions };
    let bfd_profiles = profiles.into_iter().map(|profile| (profile.name.clone(), profile)).collect();
    Content { routers: BTreeMap::from([(String::new(), router)]), bfd_profiles }
}

/// What a host's own object says beside the base of its class: nothing that the base can say for both.
fn overlay(wish: &Wish, part: impl Fn(u8) -> bool) -> Content {
    let mut content = content(wish, part);
    for router in content.routers.values_mut() {
        router.id = None;
        router.sessions.values_mut().for_each(|session| session.bfd_profile = None);
    }
    content.bfd_profiles.clear();
    content
}

/// One class of hosts for each wish, cut into as many objects as asked for: one, shards by prefix, a base and an overlay for
/// each host, or one for each host.
fn layout() -> impl Strategy<Value = Layout> {
    let class = (wish(), 0..4_u8);
    (prop::collection::vec(class, 1..4), prop::collection::vec(any::<prop::sample::Index>(), 6)).prop_map(
        |(classes, hosts)| {
            let mut layout = Layout::new();
            for (number, (wish, style)) in classes.iter().enumerate() {
                let members = hosts.iter().enumerate().filter(|(_, class)| class.index(classes.len()) == number);
                let members: BTreeSet<String> = members.map(|(host, _)| format!("h{host}")).collect();
                if members.is_empty() {
                    continue;
                }
                match style {
                    0 => {
                        layout.insert(format!("b{number}"), Layer::new(members, content(wish, |_| true)));
                    }
                    1 => {
                        for shard in 0..2_u8 {
                            let content = content(wish, |n| n % 2 == shard);
                            layout.insert(format!("b{number}s{shard}"), Layer::new(members.clone(), content));
                        }
                    }
                    2 => {
                        for host in &members {
                            let hosts = BTreeSet::from([host.clone()]);
                            let content = overlay(wish, |n| n % 2 == 1);
                            layout.insert(format!("n{host}"), Layer::new(hosts, content));
                        }
                        let content = content(wish, |n| n % 2 == 0);
                        layout.insert(format!("b{number}"), Layer::new(members, content));
                    }
                    _ => {
                        for host in members {
                            let hosts = BTreeSet::from([host.clone()]);
                            layout.insert(format!("n{host}"), Layer::new(hosts, content(wish, |_| true)));
                        }
                    }
                }
            }
            layout
        },
    )
}

type Said = BTreeMap<String, String>;

/// What FRR-K8s makes of all objects for each host; an error where two of them contradict each other.
fn merged(layout: &Layout) -> Result<BTreeMap<String, Said>, String> {
    let specs: Vec<_> = layout.iter().map(|(name, layer)| (ObjectName::new("n", name), layer.spec())).collect();
    let mut objects: BTreeMap<String, Vec<Named>> = BTreeMap::new();
    for ((name, spec), layer) in specs.iter().zip(layout.values()) {
        for host in layer.hosts.iter() {
            objects.entry(host.clone()).or_default().push(Named { name, spec });
        }
    }
    let said = |(host, objects)| match admit::merge(objects) {
        Ok(node) => Ok((host, said(&node))),
        Err(refusal) => Err(format!("{host}: {refusal}")),
    };
    objects.into_iter().map(said).collect()
}

/// A node's configuration in single statements.
fn said(node: &admit::NodeConfig) -> Said {
    let mut said = Said::new();
    for (vrf, router) in &node.routers {
        said.insert(format!("asn {vrf}"), router.asn.to_string());
        said.extend(router.id.iter().map(|id| (format!("id {vrf}"), id.clone())));
        for (key, neighbor) in &router.neighbors {
            said.insert(format!("session {vrf} {key}"), format!("{:?}", neighbor.parameters));
            said.extend(neighbor.bfd_profile.iter().map(|name| {
                let profile = node.bfd_profiles.get(name);
                (format!("bfd {vrf} {key}"), format!("{profile:?}"))
            }));
            for (prefix, attributes) in neighbor.announced() {
                said.insert(format!("route {vrf} {key} {prefix}"), format!("{attributes:?}"));
            }
        }
    }
    said
}

fn apply(layout: &mut Layout, name: &str, to: &Option<Layer>) {
    match to {
        Some(layer) => layout.insert(name.to_owned(), layer.clone()),
        None => layout.remove(name),
    };
}

/// Lands the writes one after the other in an order of the tester's choice, stopping where it likes.
fn land(layout: &mut Layout, target: &Layout, writes: &Writes, order: u64, stop: usize) -> Result<(), TestCaseError> {
    let start = merged(layout).expect("the state before is sound");
    let wanted = merged(target).expect("the target is sound");
    let mut names: Vec<&String> = writes.keys().collect();
    names.sort_by_key(|name| hash(&format!("{order}{name}")));
    for name in names.into_iter().take(stop.max(1)) {
        apply(layout, name, &writes[name]);
        let now = match merged(layout) {
            Ok(now) => now,
            Err(conflict) => return Err(TestCaseError::fail(format!("after {name}: {conflict}"))),
        };
        for (host, before) in &start {
            let Some(wanted) = wanted.get(host) else { continue };
            for key in before.keys().filter(|key| wanted.contains_key(*key)) {
                let there = now.get(host).is_some_and(|said| said.contains_key(key));
                prop_assert!(there, "after {name}: {host} lost {key}");
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_wanted_is_ever_missing_and_it_ends(
        from in layout(),
        to in layout(),
        then in prop::option::of(layout()),
        order in any::<u64>(),
        stops in prop::collection::vec(1..5_usize, 60),
    ) {
        let mut state = from;
        let mut target = to;
        let mut then = then;
        for (number, stop) in stops.iter().enumerate() {
            if number == 2 && let Some(changed) = then.take() {
                target = changed;
            }
            let writes = next_writes(&state, &target, false, BOUNDS).writes;
            prop_assert_eq!(writes.is_empty(), state == target, "it stops exactly at the goal");
            if writes.is_empty() {
                break;
            }
            land(&mut state, &target, &writes, order.wrapping_add(number as u64), *stop)?;
        }
        prop_assert_eq!(state, target);
    }

    #[test]
    fn add_only_takes_nothing_away(from in layout(), to in layout(), order in any::<u64>()) {
        let mut state = from;
        for number in 0..20 {
            let writes = next_writes(&state, &to, true, BOUNDS).writes;
            let before = merged(&state).unwrap();
            if writes.is_empty() {
                break;
            }
            prop_assert!(writes.values().all(Option::is_some), "an object was deleted");
            land(&mut state, &to, &writes, order.wrapping_add(number), usize::MAX)?;
            let after = merged(&state).unwrap();
            for (host, said) in before {
                for (key, value) in said {
                    prop_assert_eq!(after[&host].get(&key), Some(&value), "{} changed {}", host, key);
                }
            }
        }
        prop_assert!(next_writes(&state, &to, true, BOUNDS).writes.is_empty(), "it settles");
    }
}

#[test]
fn a_hold_time_that_two_objects_carry_is_changed_by_way_of_a_parking_object() {
    let wish = |hold| Wish { asn: 64512, hold, id: None, bfd: Some(0), routes: BTreeMap::from([(0, None), (1, None)]) };
    let layout = |hold| {
        let shard = |s: u8| Layer::new(BTreeSet::from(["h".to_owned()]), content(&wish(hold), move |n| n % 2 == s));
        Layout::from([("s0".to_owned(), shard(0)), ("s1".to_owned(), shard(1))])
    };
    let (mut state, target) = (layout(0), layout(1));
    let mut steps = Vec::new();
    while state != target {
        let writes = next_writes(&state, &target, false, BOUNDS).writes;
        let mut names =
            writes.iter().map(|(name, to)| format!("{}{}", if to.is_some() { "" } else { "-" }, &name[..2]));
        steps.push(names.join(" "));
        land(&mut state, &target, &writes, 0, usize::MAX).unwrap();
    }
    assert_eq!(steps, ["cl", "-s0 -s1", "cl", "s0 s1", "-cl"]);
}

/// A large cluster has millions of them at a time.
#[test]
fn a_statement_is_small() {
    assert_eq!(size_of::<facts::Fact>(), 40);
}

/// Each of two hosts has an object of its own beside that of its class, so the two are parked apart, and only together. All classes
/// at once would be more than [`BOUNDS`] has room for.
#[test]
fn classes_of_hosts_are_parked_one_after_the_other() {
    let wish = |hold| Wish { asn: 64512, hold, id: None, bfd: None, routes: BTreeMap::from([(0, None), (1, None)]) };
    let layout = |hold| {
        let mut layout = Layout::new();
        for class in ["a", "b", "c"] {
            let hosts = BTreeSet::from([1, 2].map(|n| format!("{class}{n}")));
            for host in &hosts {
                let own = Layer::new(BTreeSet::from([host.clone()]), overlay(&wish(hold), |n| n == 1));
                layout.insert(format!("own-{host}"), own);
            }
            layout.insert(class.to_owned(), Layer::new(hosts, content(&wish(hold), |n| n == 0)));
        }
        layout
    };
    let (mut state, target) = (layout(0), layout(1));
    let mut parked = BTreeSet::new();
    while state != target {
        let writes = next_writes(&state, &target, false, BOUNDS).writes;
        assert!(!writes.is_empty(), "it goes on");
        land(&mut state, &target, &writes, 0, usize::MAX).unwrap();
        let parks = || state.iter().filter(|(name, _)| name.starts_with(names::PARK_PREFIX));
        assert!(parks().count() <= 2, "{:?}", parks().map(|(name, _)| name).collect::<Vec<_>>());
        parked.extend(parks().flat_map(|(_, layer)| layer.hosts.iter().cloned()));
    }
    assert_eq!(parked, ["a1", "a2", "b1", "b2", "c1", "c2"].map(str::to_owned).into());
}
