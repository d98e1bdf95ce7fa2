//! Make before break, for whole plans: whatever changes, and in whatever order the writes land, every state in between merges
//! on every host, and no address and no session goes that was there and stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use clarion_api::{LoadBalancerAdvertisementSpec, RouterPeerSpec, Timestamp};
use clarion_core::{
    Brake, World,
    admit::{self, Named, NodeConfig},
    plan, replay,
    world::{Bounds, Endpoint, Family, Object, ObjectName, Service, Taint},
};
use ipnet::IpNet;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use crate::{
    beside::{theirs, with_session},
    cluster::*,
};

const NODES: u8 = 4;
const SERVICES: u8 = 4;

/// Something that a user, a scheduler or time changes.
#[derive(Clone, Debug)]
enum Change {
    Service(u8, bool),
    Local(u8, bool),
    Endpoints(u8, u8, u8),
    Shared(u8, bool),
    Communities(u8, bool),
    Excluded(u8, bool),
    Rack(u8, bool),
    NodeGone(u8, bool),
    Hostname(u8, bool),
    DrainNode(u8, Option<u8>),
    Tainted(u8, bool),
    Advertisement(u8, Option<u8>),
    Peer(u8, Option<u8>),
    Theirs(u8, Option<u8>),
    Time(u8),
    Approved,
}

fn change() -> impl Strategy<Value = Change> {
    let service = || 0..SERVICES;
    let node = || 0..NODES;
    prop_oneof![
        2 => (service(), any::<bool>()).prop_map(|(s, there)| Change::Service(s, there)),
        2 => (service(), any::<bool>()).prop_map(|(s, local)| Change::Local(s, local)),
        4 => (service(), any::<u8>(), any::<u8>()).prop_map(|(s, r, t)| Change::Endpoints(s, r, t)),
        1 => (service(), any::<bool>()).prop_map(|(s, shared)| Change::Shared(s, shared)),
        1 => (service(), any::<bool>()).prop_map(|(s, asks)| Change::Communities(s, asks)),
        1 => (node(), any::<bool>()).prop_map(|(n, excluded)| Change::Excluded(n, excluded)),
        1 => (node(), any::<bool>()).prop_map(|(n, rack)| Change::Rack(n, rack)),
        1 => (node(), any::<bool>()).prop_map(|(n, gone)| Change::NodeGone(n, gone)),
        1 => (node(), any::<bool>()).prop_map(|(n, own)| Change::Hostname(n, own)),
        1 => (node(), prop::option::of(0..20_u8)).prop_map(|(n, at)| Change::DrainNode(n, at)),
        1 => (node(), any::<bool>()).prop_map(|(n, tainted)| Change::Tainted(n, tainted)),
        4 => (0..2_u8, prop::option::of(0..9_u8)).prop_map(|(a, spec)| Change::Advertisement(a, spec)),
        4 => (0..2_u8, prop::option::of(0..10_u8)).prop_map(|(p, spec)| Change::Peer(p, spec)),
        3 => (0..2_u8, prop::option::of(0..5_u8)).prop_map(|(n, spec)| Change::Theirs(n, spec)),
        1 => (1..10_u8).prop_map(Change::Time),
        2 => Just(Change::Approved),
    ]
}

fn set<T: PartialEq + Clone>(
    collection: &mut clarion_core::world::Collection<T>,
    name: &ObjectName,
    change: impl FnOnce(&mut Object<T>),
) {
    if collection.get(name).is_some() {
        edit(collection, name, change);
    }
}

fn happen(world: &mut World, change: &Change) {
    let service_name = |s: &u8| ObjectName::new("ns", format!("s{s}"));
    let node_name = |n: &u8| ObjectName::cluster(format!("n{n}"));
    match change {
        Change::Service(s, true) => {
            if world.services.get(&service_name(s)).is_none() {
                service(world, &format!("s{s}"), i64::from(*s), &[Family::V4, Family::V6]);
                ports(world, &format!("s{s}"), &[u16::from(*s) + 1]);
            }
        }
        Change::Service(s, false) => remove(&mut world.services, &service_name(s)),
        Change::Local(s, local) => set(&mut world.services, &service_name(s), |o| o.value.is_local = *local),
        Change::Endpoints(s, ready, terminating) => set(&mut world.endpoint_slices, &service_name(s), |slice| {
            let endpoint = |n: u8| {
                let (ready, terminating) = (ready >> n & 1 == 1, terminating >> n & 1 == 1);
                let node = Some(format!("n{n}").into());
                (ready || terminating).then_some(Endpoint { node, ready, serving_while_terminating: terminating })
            };
            slice.value.endpoints = (0..NODES).filter_map(endpoint).collect();
        }),
        Change::Shared(s, shared) => {
            if world.services.get(&service_name(s)).is_some() {
                annotate(world, &format!("s{s}"), &[("allow-shared-ip", if *shared { "key" } else { "" })]);
            }
        }
        Change::Communities(s, asks) => {
            if world.services.get(&service_name(s)).is_some() {
                annotate(world, &format!("s{s}"), &[("communities", if *asks { "7:7" } else { "" })]);
            }
        }
        Change::Excluded(n, excluded) => set(&mut world.nodes, &node_name(n), |node| {
            let label = "node.kubernetes.io/exclude-from-external-load-balancers".to_owned();
            match excluded {
                true => drop(node.meta.labels.insert(label, String::new())),
                false => drop(node.meta.labels.remove(&label)),
            }
        }),
        Change::Rack(n, rack) => set(&mut world.nodes, &node_name(n), |node| {
            node.meta.labels.insert("rack".to_owned(), format!("r{}", u8::from(*rack)));
        }),
        Change::NodeGone(n, true) => remove(&mut world.nodes, &node_name(n)),
        Change::NodeGone(n, false) => node(world, &format!("n{n}")),
        Change::Hostname(n, own) => set(&mut world.nodes, &node_name(n), |node| {
            let host = if *own { format!("n{n}") } else { "n0".to_owned() };
            node.meta.labels.insert("kubernetes.io/hostname".to_owned(), host);
        }),
        Change::DrainNode(n, at) => set(&mut world.nodes, &node_name(n), |node| {
            node.value.withdraw_at = at.map(|at| Timestamp::from_second(i64::from(at)).unwrap().to_string());
        }),
        Change::Tainted(n, tainted) => set(&mut world.nodes, &node_name(n), |node| {
            let taint = Taint { key: "out".to_owned(), ..Taint::default() };
            node.value.taints = if *tainted { vec![taint] } else { Vec::new() };
        }),
        Change::Advertisement(a, None) => remove(&mut world.advertisements, &ObjectName::cluster(format!("a{a}"))),
        Change::Advertisement(a, Some(spec)) => {
            let rack = json!([{"matchLabels": {"rack": "r0"}}]);
            let specs = [
                json!({}),
                json!({"localPref": 5}),
                json!({"localPref": 6, "communities": ["1:1"], "asPathPrepend": 2}),
                json!({"aggregationLength": 30, "aggregationLengthV6": 126}),
                json!({"aggregationLength": 29, "allowedCommunities": ["7:7"]}),
                json!({"nodeSelectors": rack}),
                json!({"nodeLimit": {"max": 1}}),
                json!({"nodeLimit": {"max": 1, "topologyKey": "rack"}, "allowedCommunities": ["7:7"]}),
                json!({"peers": ["p0"], "communities": ["unknown"]}),
            ];
            let spec = specs[usize::from(*spec)].clone();
            edit_spec(&mut world.advertisements, custom::<LoadBalancerAdvertisementSpec, _>(&format!("a{a}"), spec));
        }
        Change::Peer(p, None) => remove(&mut world.peers, &ObjectName::cluster(format!("p{p}"))),
        Change::Peer(p, Some(choice)) => {
            let mut spec = json!({
                "myASN": 1, "peerASN": 2, "peerAddress": format!("192.0.2.{p}"), "dualStackAddressFamily": true,
            });
            let rack = json!({"matchLabels": {"rack": "r0"}});
            let more = [
                json!({}),
                json!({"holdTime": "90s", "keepaliveTime": "30s"}),
                json!({"bfd": {"detectMultiplier": 5}, "routerID": "192.0.2.99", "nextHop": {"ipv4": "192.0.2.98"}}),
                json!({"nodeSelectors": [rack]}),
                json!({"nodeOverrides": [{"nodeSelector": rack, "myASN": 9}]}),
                json!({"nodeOverrides": [{"nodeSelector": rack, "peerAddress": "192.0.2.77"}]}),
                json!({"maxPrefixes": 1000}),
                json!({"drain": {"withdrawAt": "1970-01-01T00:00:10Z"}}),
                json!({"dualStackAddressFamily": false}),
                json!({"nodeOverrides": [{"nodeSelector": rack, "localASN": 1}]}),
            ];
            let more = more[usize::from(*choice)].clone();
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            edit_spec(&mut world.peers, custom::<RouterPeerSpec, _>(&format!("p{p}"), spec));
        }
        Change::Theirs(n, spec) => {
            let name = ObjectName::new("frr-k8s-system", format!("user-{n}"));
            if world.configurations.get(&name).is_some() {
                remove(&mut world.configurations, &name);
            }
            let Some(spec) = spec else { return };
            let neighbor = [
                json!({"address": "198.51.100.1"}),
                json!({"address": "192.0.2.0"}),
                json!({"address": "192.0.2.0", "holdTime": "90s", "keepaliveTime": "30s"}),
                json!({"address": "192.0.2.0", "toAdvertise": {"allowed": {"prefixes": ["10.9.0.0/24"]}}}),
                json!({"address": "192.0.2.1", "toAdvertise": {
                    "allowed": {"prefixes": ["10.0.0.0/32"]},
                    "withLocalPref": [{"prefixes": ["10.0.0.0/32"], "localPref": 5}],
                }}),
            ][usize::from(*spec)]
            .clone();
            let mut with = with_session(json!({}), json!({}), neighbor);
            with["bgp"]["routers"][0]["prefixes"] = json!(["10.9.0.0/24", "10.0.0.0/32"]);
            theirs(world, "frr-k8s-system", &name.name, with);
            // What could not be merged, FRR-K8s's webhook would refuse.
            if merged(world).is_err() {
                remove(&mut world.configurations, &name);
            }
        }
        Change::Time(seconds) => {
            let now = world.now.as_second() + i64::from(*seconds);
            world.now = Timestamp::from_second(now).unwrap();
        }
        Change::Approved => world.approved = plan(world).held.map(|waiting| waiting.plan).or(world.approved.take()),
    }
}

/// What the daemon of every node makes of all objects.
fn merged(world: &World) -> Result<BTreeMap<String, NodeConfig>, String> {
    let mut nodes = BTreeMap::new();
    for node in world.nodes.iter() {
        let selected = world
            .configurations
            .iter()
            .filter(|configuration| admit::selects(configuration.value.spec(), &node.meta.labels).unwrap());
        let objects = selected.map(|object| Named { name: &object.meta.name, spec: object.value.spec() });
        let name = node.meta.name.name.to_string();
        let config = admit::merge(objects).map_err(|refusal| format!("{name}: {refusal}"))?;
        nodes.insert(name, config);
    }
    Ok(nodes)
}

/// The sessions of a node, with their prefixes.
type Sessions = BTreeMap<String, BTreeSet<IpNet>>;

fn sessions(config: &NodeConfig) -> Sessions {
    let routers = config.routers.iter();
    let neighbors = routers.flat_map(|(vrf, router)| router.neighbors.iter().map(move |(key, n)| (vrf, key, n)));
    neighbors
        .map(|(vrf, key, n)| (format!("{vrf} {key}"), n.announced().map(|(prefix, _)| *prefix).collect()))
        .collect()
}

fn covers(prefixes: &BTreeSet<IpNet>, address: &IpAddr) -> bool {
    prefixes.iter().any(|prefix| prefix.contains(address))
}

/// The addresses that Services have and that are announced for them throughout, from all hosts, and those that Services are yet
/// to get. What an aggregate of others covers of a Service that is Local, or that has no endpoint, was not announced for that.
struct Addresses {
    held: BTreeSet<IpAddr>,
    to_come: BTreeSet<IpAddr>,
}

impl Addresses {
    fn new(before: &World, start: &World, end: &World) -> Self {
        let (held, at_the_end) = (addresses(start, |_| true), addresses(end, |_| true));
        let to_come = &at_the_end - &held;
        let local = addresses(end, |service| service.value.is_local);
        let alive = &alive(before) & &alive(end);
        Self { to_come, held: &(&held & &alive) - &local }
    }
}

fn addresses(world: &World, which: impl Fn(&Object<Service>) -> bool) -> BTreeSet<IpAddr> {
    world.services.iter().filter(|service| which(service)).flat_map(|s| s.value.addresses.clone()).collect()
}

/// The addresses of Services that have endpoints.
fn alive(world: &World) -> BTreeSet<IpAddr> {
    let endpoints = |service: &Object<Service>| world.endpoint_slices.get(&service.meta.name);
    addresses(world, |service| endpoints(service).is_some_and(|slice| !slice.value.endpoints.is_empty()))
}

/// Fails if a session that is there at the start and at the end is not there now, or does not carry an address that it
/// carries at the start and at the end.
fn unbroken(start: &Sessions, now: &Sessions, end: &Sessions, addresses: &Addresses) -> Result<(), String> {
    for (session, before) in start {
        let Some(after) = end.get(session) else { continue };
        let Some(present) = now.get(session) else { return Err(format!("the session {session} is gone")) };
        // An aggregate that one Service gives up may come back for another, which has no address yet.
        let is_for_all = |prefix: &&IpNet| !addresses.to_come.iter().any(|address| prefix.contains(address));
        let mut stay = before.intersection(after).filter(is_for_all);
        if let Some(prefix) = stay.find(|prefix| !present.contains(prefix)) {
            return Err(format!("{session} lost {prefix}"));
        }
        let mut held = addresses.held.iter().filter(|address| covers(before, address) && covers(after, address));
        if let Some(address) = held.find(|address| !covers(present, address)) {
            return Err(format!("{session} lost {address}"));
        }
    }
    Ok(())
}

fn start() -> World {
    let mut world = World { frr_k8s_installed: true, ..World::default() };
    world.settings.drain_taints = vec!["out".to_owned()];
    world.settings.drain_grace = 7;
    for n in 0..NODES {
        happen(&mut world, &Change::NodeGone(n, false));
        happen(&mut world, &Change::Rack(n, n % 2 == 1));
    }
    pool(&mut world, "main", &["10.0.0.0/29", "2001:db8::/125"]);
    happen(&mut world, &Change::Peer(0, Some(0)));
    happen(&mut world, &Change::Advertisement(0, Some(0)));
    for s in 0..SERVICES / 2 {
        happen(&mut world, &Change::Service(s, true));
        happen(&mut world, &Change::Endpoints(s, 0b0101, 0));
    }
    world
}

/// Changes, the order in which the writes that they make land, and how many land at once.
type Round = (Vec<Change>, u64, usize);

/// Lets changes happen one after the other, looking after each write whether anything is missing.
fn go_through(rounds: impl IntoIterator<Item = Round>) -> Result<(), String> {
    go_on(start(), rounds)
}

/// The same where a few prefixes and nodes are more than one object holds.
fn go_through_in_parts(rounds: impl IntoIterator<Item = Round>) -> Result<(), String> {
    let mut world = start();
    world.settings.bounds = Bounds { cell_load: 8, shard_prefixes: 2, shard_bytes: 20 * 21, ..Bounds::default() };
    go_on(world, rounds)
}

/// The same where every prefix that the configuration takes away waits.
fn go_through_braked(rounds: impl IntoIterator<Item = Round>) -> Result<(), String> {
    let mut world = start();
    world.settings.brake = Brake { share: 0, least: 1 };
    go_on(world, rounds)
}

fn go_on(mut world: World, rounds: impl IntoIterator<Item = Round>) -> Result<(), String> {
    settle(&mut world);
    for (changes, order, at_once) in rounds {
        let before = world.clone();
        changes.iter().for_each(|change| happen(&mut world, change));
        let mut end = world.clone();
        settle(&mut end);
        let addresses = Addresses::new(&before, &world, &end);
        let (start, end) = (merged(&world)?, merged(&end)?);
        for round in 0_u64.. {
            let mut writes = plan(&world).writes;
            if writes.is_empty() {
                break;
            }
            if round == 200 {
                return Err(format!("it does not settle: {writes:?}"));
            }
            // In an order of the tester's choice, some at a time; then everything is looked at anew.
            let key = |text: String| text.bytes().fold(order ^ round, |h, b| h.rotate_left(5) ^ u64::from(b));
            writes.sort_by_key(|write| key(format!("{:?}", write.object())));
            for write in writes.iter().take(at_once) {
                replay::land(&mut world, write);
                for (node, config) in &merged(&world)? {
                    let of = |all: &BTreeMap<String, NodeConfig>| all.get(node).map(sessions).unwrap_or_default();
                    unbroken(&of(&start), &sessions(config), &of(&end), &addresses)
                        .map_err(|lost| format!("{node}: {lost} after {:?}", write.object()))?;
                }
            }
        }
    }
    Ok(())
}

/// Only some hosts announce a prefix, and another takes its place on all, or on some.
#[rstest]
#[case::one_keeps_what_others_give_up([
    (vec![Change::Advertisement(0, Some(1))], 0, 1),
    (vec![Change::Advertisement(1, Some(6)), Change::Advertisement(0, Some(3))], 0, 1),
])]
#[case::some_are_being_drained_already([
    (vec![Change::Tainted(2, true), Change::Service(3, true)], 0, 1),
    (
        vec![Change::Local(3, true), Change::DrainNode(0, Some(1)), Change::Advertisement(0, Some(3))],
        1_125_383_562_320_478_208,
        1,
    ),
])]
#[case::one_has_its_own_object_already([
    (vec![Change::Advertisement(1, Some(6)), Change::Advertisement(0, None), Change::DrainNode(2, Some(1))], 0, 1),
    (vec![Change::Communities(1, true), Change::Advertisement(1, Some(4))], 3_719_973_660_964_777_984, 1),
])]
fn what_takes_the_place_of_another_comes_first(#[case] rounds: [Round; 2]) {
    assert_eq!(go_through(rounds), Ok(()));
}

/// An address of which the endpoints are gone goes at once, though an aggregate will cover it in the end.
#[test]
fn an_aggregate_is_no_reason_to_wait_with_what_is_dead() {
    let rounds = [(vec![Change::Advertisement(0, Some(3)), Change::Endpoints(0, 0, 0)], 4_221_160_814_260_224, 1)];
    assert_eq!(go_through_in_parts(rounds), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn nothing_that_stays_is_ever_missing(
        rounds in prop::collection::vec((prop::collection::vec(change(), 1..4), any::<u64>(), 1..4_usize), 1..6),
    ) {
        go_through(rounds).map_err(TestCaseError::fail)?;
    }

    /// The numbers of cells and shards change with nearly every change.
    #[test]
    fn nothing_is_missing_while_objects_are_cut_and_joined(
        rounds in prop::collection::vec((prop::collection::vec(change(), 1..4), any::<u64>(), 1..4_usize), 1..6),
    ) {
        go_through_in_parts(rounds).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn nothing_is_missing_while_something_waits(
        rounds in prop::collection::vec((prop::collection::vec(change(), 1..4), any::<u64>(), 1..4_usize), 1..6),
    ) {
        go_through_braked(rounds).map_err(TestCaseError::fail)?;
    }
}
