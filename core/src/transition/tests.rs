//! Random layouts on both sides. The oracle is the daemon's merge: every state in between must merge on every host, and have
//! what the host had and is still to have.

use std::collections::{BTreeMap, BTreeSet};

use clarion_api::frr::{BfdProfile, Neighbor, NextHop};
use ipnet::IpNet;
use itertools::Itertools as _;
use proptest::prelude::*;

use super::*;
use crate::{
    admit::{self, Named},
    layer::{Attributes, Content, Router, Session},
    world::ObjectName,
};

/// So small that hosts that agree are parked in several objects.
const BOUNDS: Bounds =
    Bounds { cell_load: 4, shard_prefixes: 1, shards: usize::MAX, shard_bytes: usize::MAX, object_bytes: 1_000 };

/// Hardly a host has so little that an object could hold it, if nothing but its routes changes.
const SMALL: Bounds = Bounds { object_bytes: 60, ..BOUNDS };

/// Wishes of one class of hosts: the terms of a session, its next hop, a router ID, and the local preference of each prefix, of which
/// the last two are of IPv6; and the hold time of a second session, which has the odd prefixes alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Wish {
    asn: i64,
    hold: u8,
    dual_stack: bool,
    next_hop: Option<u8>,
    id: Option<u8>,
    bfd: Option<u8>,
    routes: BTreeMap<u8, Option<u8>>,
    second: Option<u8>,
}

fn wish() -> impl Strategy<Value = Wish> {
    let routes = prop::collection::btree_map(0..6_u8, prop::option::of(0..2_u8), 0..5);
    let one_of_two = || prop::option::of(0..2_u8);
    let of_session = (0..2_i64, 0..2_u8, any::<bool>(), one_of_two(), one_of_two(), one_of_two());
    (of_session, routes, one_of_two()).prop_map(|((asn, hold, dual_stack, next_hop, id, bfd), routes, second)| Wish {
        asn: 64512 + asn,
        hold,
        dual_stack,
        next_hop,
        id,
        bfd,
        routes,
        second,
    })
}

fn two_routes() -> Wish {
    Wish { asn: 64512, routes: BTreeMap::from([(0, None), (1, None)]), ..Wish::default() }
}

fn neighbor(address: &str, hold: u8, dual_stack: bool) -> Neighbor {
    Neighbor {
        address: Some(address.to_owned()),
        asn: Some(1),
        hold_time: Some(format!("{}s", 90 + hold)),
        keepalive_time: Some("30s".to_owned()),
        dual_stack_address_family: Some(true).filter(|_| dual_stack),
        ..Neighbor::default()
    }
}

fn content(wish: &Wish, part: impl Fn(u8) -> bool) -> Content {
    let session = |neighbor: Neighbor, has: &dyn Fn(u8) -> bool| {
        let mut session = Session::new(neighbor);
        for (n, local_pref) in wish.routes.iter().filter(|(n, _)| part(**n) && has(**n)) {
            let attributes = Attributes { local_pref: local_pref.map(i64::from), ..Attributes::default() };
            let prefix = if *n < 4 { format!("10.0.0.{n}/32") } else { format!("fc00::{n}/128") };
            session.routes.insert(prefix.parse().unwrap(), attributes.into());
        }
        session
    };
    let mut first = session(neighbor("192.0.2.1", wish.hold, wish.dual_stack), &|n| n < 4 || wish.dual_stack);
    let profiles = wish.bfd.map(|bfd| BfdProfile {
        name: format!("p{bfd}"),
        receive_interval: Some(100 + i32::from(bfd)),
        ..BfdProfile::default()
    });
    first.bfd_profile = profiles.as_ref().map(|profile| profile.name.clone());
    let next_hop = wish.next_hop.map(|n| NextHop { ipv6: Some(format!("fd00::{n}")), ..NextHop::default() });
    first.next_hop = next_hop.filter(|_| wish.dual_stack);
    let second = wish.second.map(|hold| session(neighbor("192.0.2.2", hold, false), &|n| n < 4 && n % 2 == 1));
    let id = wish.id.map(|id| format!("10.9.9.{id}"));
    let sessions = [first].into_iter().chain(second).map(|session| (session.key(), session)).collect();
    let router = Router { asn: wish.asn, id, sessions };
    let bfd_profiles = profiles.into_iter().map(|profile| (profile.name.clone(), profile)).collect();
    Content { routers: BTreeMap::from([(String::new(), router)]), bfd_profiles }
}

/// What a host's own object says beside the base of its class: nothing that the base can say for both.
fn overlay(wish: &Wish, part: impl Fn(u8) -> bool) -> Content {
    let mut content = content(wish, part);
    for router in content.routers.values_mut() {
        router.id = None;
        router.sessions.values_mut().for_each(|session| (session.bfd_profile, session.next_hop) = (None, None));
    }
    content.bfd_profiles.clear();
    content
}

/// How many hosts there are at most.
const HOSTS: usize = 6;

/// One class of hosts for each wish, cut into as many objects as asked for: one, shards by prefix, a base and an overlay for
/// each host, or one for each host.
fn layout() -> impl Strategy<Value = Layout> {
    let class = (wish(), 0..4_u8);
    (prop::collection::vec(class, 1..4), prop::collection::vec(any::<prop::sample::Index>(), HOSTS)).prop_map(
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

/// The same, with the same sessions everywhere.
fn with_the_same_sessions(layout: Layout) -> Layout {
    let same = |mut layer: Layer| {
        let content = Arc::make_mut(&mut layer.content);
        content.bfd_profiles.clear();
        for router in content.routers.values_mut() {
            (router.asn, router.id) = (64512, None);
            for session in router.sessions.values_mut() {
                (session.bfd_profile, session.next_hop) = (None, None);
                session.neighbor.hold_time = Some("90s".to_owned());
                session.neighbor.dual_stack_address_family = Some(true);
            }
        }
        layer
    };
    layout.into_iter().map(|(name, layer)| (name, same(layer))).collect()
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
            let next_hop = neighbor.next_hop.ipv6.iter();
            said.extend(next_hop.map(|hop| (format!("next hop {vrf} {key}"), hop.to_string())));
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

/// Host, session, prefix and attributes.
type HostRoute = (String, (String, String), IpNet, Arc<Attributes>);

/// All routes of all hosts, by objects that the daemons can merge.
fn routes(layout: &Layout) -> BTreeSet<HostRoute> {
    merged(layout).expect("it can be merged");
    let mut routes = BTreeSet::new();
    for layer in layout.values() {
        for (vrf, key, session) in layer.content.sessions() {
            let hosts = layer.hosts.iter().cartesian_product(&session.routes);
            routes.extend(hosts.map(|(host, (prefix, route))| {
                (host.clone(), (vrf.to_owned(), key.to_owned()), *prefix, Arc::clone(route))
            }));
        }
    }
    routes
}

/// Whether a host does not have a session yet, and its router has not the AS number with which it is wanted.
fn is_new_beside_another_number(state: &Layout, target: &Layout, host: &str, (vrf, key): &(String, String)) -> bool {
    let number = |layout: &Layout| {
        let mut contents = layout.values().filter(|layer| layer.hosts.contains(host)).map(|layer| &layer.content);
        contents.find_map(|content| content.routers.get(vrf)).map(|router| router.asn)
    };
    let mut objects = state.values().filter(|layer| layer.hosts.contains(host));
    objects.all(|layer| layer.content.session(vrf, key).is_none()) && number(state) != number(target)
}

/// How many routes an object says, on all sessions.
fn routes_of(layer: &Layer) -> usize {
    layer.content.sessions().map(|(_, _, session)| session.routes.len()).sum()
}

/// How many bytes prefixes take where an object's spec names them.
fn bytes(layer: &Layer) -> usize {
    fn of(value: &serde_json::Value) -> usize {
        match value {
            serde_json::Value::String(text) if text.parse::<IpNet>().is_ok() => text.len() + 3,
            serde_json::Value::Array(values) => values.iter().map(of).sum(),
            serde_json::Value::Object(fields) => fields.values().map(of).sum(),
            _ => 0,
        }
    }
    of(&serde_json::to_value(layer.spec()).unwrap())
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
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_bytes_of_an_object_are_known_before_it_is_written(wish in wish(), more in wish()) {
        let mut content = content(&wish, |_| true);
        content.routers.extend(self::content(&more, |_| true).routers.into_values().map(|router| ("red".to_owned(), router)));
        let mut common = Common::default();
        let facts = Facts::of(&content, &mut common);
        let layer = Layer::new(BTreeSet::new(), content.clone());
        prop_assert_eq!(facts.bytes(&common), bytes(&layer));
        prop_assert!(facts.bytes(&common) <= facts.bytes_at_most());
    }
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

    /// A turn of parking takes five rounds, and there are no more turns than hosts. An object is written a few times, whatever the
    /// others do, and has no more than all that there is and is to be for one of its hosts.
    #[test]
    fn rounds_and_bytes_are_bounded(from in layout(), to in layout(), order in any::<u64>()) {
        let (mut state, mut rounds) = (from.clone(), 0);
        let mut written: BTreeMap<String, usize> = BTreeMap::new();
        while state != to {
            rounds += 1;
            prop_assert!(rounds <= 5 * HOSTS, "round {rounds}");
            let writes = next_writes(&state, &to, false, BOUNDS).writes;
            for (name, layer) in &writes {
                *written.entry(name.clone()).or_default() += 1;
                let Some(host) = layer.as_ref().and_then(|layer| layer.hosts.first()) else { continue };
                let objects = from.values().chain(to.values()).filter(|object| object.hosts.contains(host));
                let most: usize = objects.map(routes_of).sum();
                prop_assert!(layer.as_ref().is_none_or(|layer| routes_of(layer) <= most), "{name} is too large");
            }
            land(&mut state, &to, &writes, order.wrapping_add(rounds as u64), usize::MAX)?;
        }
        prop_assert!(written.values().all(|times| *times <= 4), "{written:?}");
        let parks = written.keys().filter(|name| name.starts_with(names::PARK_PREFIX)).count();
        prop_assert!(parks <= HOSTS, "{written:?}");
    }

    #[test]
    fn routes_change_though_no_object_can_hold_what_a_host_has(
        from in layout(),
        to in layout(),
        then in prop::option::of(layout()),
        order in any::<u64>(),
        stops in prop::collection::vec(1..5_usize, 300),
    ) {
        let (mut state, mut target) = (with_the_same_sessions(from), with_the_same_sessions(to));
        let mut then = then.map(with_the_same_sessions);
        for (number, stop) in stops.iter().enumerate() {
            if number == 2 && let Some(changed) = then.take() {
                target = changed;
            }
            let Next { writes, too_large, .. } = next_writes(&state, &target, false, SMALL);
            prop_assert!(too_large.is_empty(), "{too_large:?}");
            if writes.is_empty() {
                break;
            }
            land(&mut state, &target, &writes, order.wrapping_add(number as u64), *stop)?;
            for (name, layer) in state.iter().filter(|(name, _)| name.starts_with(names::PARK_PREFIX)) {
                let prefixes = layer.content.prefixes().collect::<BTreeSet<_>>().len();
                prop_assert!(prefixes == 1 || bytes(layer) <= SMALL.object_bytes, "{name}: {} bytes", bytes(layer));
            }
        }
        prop_assert_eq!(state, target);
    }

    #[test]
    fn what_is_too_large_takes_nothing_away_and_comes_to_rest(
        from in layout(),
        to in layout(),
        then in prop::option::of(layout()),
        order in any::<u64>(),
        stops in prop::collection::vec(1..5_usize, 300),
    ) {
        let (mut state, mut target, mut then) = (from, to, then);
        let mut held = None;
        for (number, stop) in stops.iter().enumerate() {
            if number == 2 && let Some(changed) = then.take() {
                target = changed;
            }
            let Next { writes, too_large, .. } = next_writes(&state, &target, false, SMALL);
            if writes.is_empty() {
                prop_assert_eq!(state == target, too_large.is_empty(), "what is left is told");
                held = Some(too_large);
                break;
            }
            land(&mut state, &target, &writes, order.wrapping_add(number as u64), *stop)?;
        }
        let Some(too_large) = held else { return Err(TestCaseError::fail("it goes on for ever")) };
        let (now, wanted) = (routes(&state), routes(&target));
        let (all, done): (BTreeSet<_>, BTreeSet<_>) = (wanted.iter().collect(), now.iter().collect());
        prop_assert!(done.is_subset(&all), "what is not wanted is gone");
        for (host, session, prefix, _) in all.difference(&done) {
            let waits = |change: &TooLarge| change.hosts.contains(host) && change.sessions.contains(session);
            let is_carried = !prefix.addr().is_ipv6() && !is_new_beside_another_number(&state, &target, host, session);
            prop_assert!(!is_carried && too_large.iter().any(waits), "{host} lacks {prefix} on {session:?}");
        }
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
    let wish = |hold| Wish { hold, bfd: Some(0), ..two_routes() };
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
    let wish = |hold| Wish { hold, ..two_routes() };
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
