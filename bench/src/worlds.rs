//! Worlds of any size.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    ops::Bound,
};

use clarion_api::{LoadBalancerAdvertisementSpec, LoadBalancerPoolSpec, RouterPeerSpec, Timestamp};
use clarion_core::{
    World, Write, plan, replay,
    world::{
        Collection, Configuration, Custom, Endpoint, EndpointSlice, Family, Meta, Namespace, Node, Object, ObjectName,
        Port, Protocol, Service,
    },
};
use serde::de::DeserializeOwned;
use serde_json::json;
use smol_str::ToSmolStr as _;

/// An object at its first version.
#[must_use]
pub fn object<T>(name: ObjectName, value: T) -> Object<T> {
    let meta =
        Meta { uid: name.to_smolstr(), name, resource_version: "1".into(), generation: Some(1), ..Meta::default() };
    Object { meta, value }
}

/// One of Clarion's objects, without status.
#[must_use]
pub fn custom<Spec, Status>(name: &str, spec: Spec) -> Object<Custom<Spec, Status>> {
    object(ObjectName::cluster(name), Custom { spec: Ok(spec), status: None })
}

/// So many Services that wait for an address, with two ready endpoints each, so many nodes, and one pool, peer and advertisement.
#[must_use]
pub fn world(services: usize, nodes: usize) -> World {
    let pool: LoadBalancerPoolSpec = from(json!({"addresses": ["10.0.0.0/8"]}));
    let peer = router("192.0.2.1");
    let advertisement: LoadBalancerAdvertisementSpec = from(json!({}));
    let name = |n: usize| ObjectName::new(format!("ns{}", n % 100), format!("s{n}"));
    let endpoint = || Endpoint { ready: true, ..Endpoint::default() };
    World {
        frr_k8s_installed: true,
        services: (0..services).map(|n| object(name(n), new_service())).collect(),
        endpoint_slices: (0..services)
            .map(|n| {
                object(
                    name(n),
                    EndpointSlice { service: name(n).name, family: None, endpoints: vec![endpoint(), endpoint()] },
                )
            })
            .collect(),
        nodes: (0..nodes)
            .map(|n| {
                let mut node = object(ObjectName::cluster(format!("n{n}")), Node::default());
                node.meta.labels = BTreeMap::from([("kubernetes.io/hostname".to_owned(), format!("n{n}"))]);
                node
            })
            .collect(),
        pools: [custom("pool", pool)].into_iter().collect(),
        peers: [custom("peer", peer)].into_iter().collect(),
        advertisements: [custom("advertisement", advertisement)].into_iter().collect(),
        ..World::default()
    }
}

/// The same with Services of the policy Local beside the others, each with an endpoint on one node: the nodes take turns.
#[must_use]
pub fn world_with_local(nodes: usize, cluster: usize, local: usize) -> World {
    let mut world = world(cluster, nodes);
    (0..local).for_each(|n| add_local(&mut world, &format!("l{n}"), n % nodes.max(1)));
    world
}

/// Adds a Service of the policy Local with an endpoint on a node.
fn add_local(world: &mut World, name: &str, node: usize) {
    let name = ObjectName::new("local", name);
    let mut service = new_service();
    service.is_local = true;
    let endpoint = Endpoint { node: Some(format!("n{node}").into()), ready: true, ..Endpoint::default() };
    let slice = EndpointSlice { service: name.name.clone(), family: None, endpoints: vec![endpoint] };
    world.services.take(object(name.clone(), service));
    world.endpoint_slices.take(object(name, slice));
}

/// Adds a Service of the policy Cluster, which has its address already.
pub fn add_cluster(world: &mut World, name: &str, address: IpAddr) {
    let name = ObjectName::new("late", name);
    let mut service = new_service();
    service.addresses = vec![address];
    let endpoint = Endpoint { ready: true, ..Endpoint::default() };
    let slice = EndpointSlice { service: name.name.clone(), family: None, endpoints: vec![endpoint] };
    world.services.take(object(name.clone(), service));
    world.endpoint_slices.take(object(name, slice));
}

/// So many Services come, and as many go, and of the FRRConfigurations that follow from that only so many are written between one plan
/// and the next, in turn, until each of those that there are has been written about once: then they all are of another time.
#[must_use]
pub fn backlog(mut world: World, changes: u8, written: usize) -> World {
    let mut last = String::new();
    for round in 0..world.configurations.len() / written {
        let every = world.services.len() / (usize::from(changes) + 1);
        for n in 0..changes {
            let address = Ipv4Addr::new(10, 200, u8::try_from(round).unwrap_or(u8::MAX), n);
            add_cluster(&mut world, &format!("late-{round}-{n}"), address.into());
        }
        let some = world
            .services
            .iter()
            .map(|service| service.meta.clone())
            .skip(round * 7)
            .step_by(every)
            .take(changes.into());
        for meta in some.collect::<Vec<_>>() {
            world.services.forget(&meta.name, &meta.uid);
            world.endpoint_slices.forget(&meta.name, &meta.uid);
        }
        let writes = plan(&world).writes;
        let (configurations, others): (Vec<_>, Vec<_>) =
            writes.into_iter().partition(|write| matches!(write, Write::Configuration(_)));
        others.iter().for_each(|write| replay::land(&mut world, write));
        let named: BTreeMap<String, Write> =
            configurations.into_iter().map(|write| (write.object().name.to_string(), write)).collect();
        let turn = named.range::<str, _>((Bound::Excluded(last.as_str()), Bound::Unbounded)).chain(&named);
        let turn: Vec<_> = turn.take(written).collect();
        turn.iter().for_each(|(_, write)| replay::land(&mut world, write));
        last = turn.last().map(|(name, _)| (*name).clone()).unwrap_or_default();
    }
    world
}

/// Gives the peer another hold time.
pub fn change_hold_time(world: &mut World) {
    let peer: RouterPeerSpec = from(json!({
        "myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1", "holdTime": "90s", "keepaliveTime": "30s",
    }));
    let mut peer = custom("peer", peer);
    peer.meta.resource_version = "1000000".into();
    world.peers.take(peer);
}

/// A cluster of racks, each with a router of its own, and FRRConfigurations of users: for each rack the underlay, and others
/// with a session and some prefixes, of which every tenth is at odds with ours.
#[must_use]
pub fn world_of_racks(services: usize, nodes: usize, racks: usize, users: usize) -> World {
    let mut world = world(services, nodes);
    let labelled = world.nodes.iter().cloned().enumerate().map(|(n, mut node)| {
        node.meta.labels.insert("rack".to_owned(), (n % racks).to_string());
        node
    });
    world.nodes = labelled.collect();
    let rack = |n: usize| json!({"matchLabels": {"rack": (n % racks).to_string()}});
    let first = |n: usize| format!("192.0.2.{}", n % racks + 1);
    let peer = |n: usize| {
        custom(&format!("rack-{n}"), RouterPeerSpec { node_selectors: vec![from(rack(n))], ..router(&first(n)) })
    };
    world.peers = (0..racks).map(peer).collect();
    let user = |n: usize| {
        let prefixes: Vec<String> = (0..100).map(|p| format!("172.16.{}.{p}/32", n % 250)).collect();
        let asn = if n % 10 == 9 { 64999 } else { 64513 };
        let session = json!({"address": first(n), "asn": asn, "toAdvertise": {"allowed": {"prefixes": prefixes}}});
        let other = json!({"address": format!("198.51.100.{}", n / racks + 1), "asn": 65000, "port": 1790});
        let neighbors = if n < racks { json!([session, other]) } else { json!([other]) };
        let spec = json!({
            "nodeSelector": rack(n),
            "bgp": {"routers": [{"asn": 64512, "prefixes": prefixes, "neighbors": neighbors}]},
        });
        let name = ObjectName::new("frr-k8s-system", format!("user-{n}"));
        let value = Configuration::new(&name, &BTreeMap::new(), BTreeMap::new(), from(spec));
        object(name, value)
    };
    world.configurations = (0..users).map(user).collect();
    world
}

/// Makes a world of so many Services and nodes.
pub type Make = fn(services: usize, nodes: usize) -> World;

/// Edits of large clusters of which a plan could cost nodes × prefixes: by what they are.
pub const EDITS: [(&str, Make); 8] = [
    ("every node has a Local endpoint, and the peer has maxPrefixes", limited),
    ("the same without maxPrefixes, and the pool is deleted", retained),
    ("the same, and the advertisement is deleted", held),
    ("the peer selects no node any more", unreachable),
    ("half of the Services are deleted, 50 racks of two routers each", half_deleted),
    ("500 advertisements more, of a pool each", many_advertisements),
    ("the hold time changes, and each node has a Local endpoint of its own", hold_time_of_overlays),
    ("nobody has an address, each in a namespace; 1,000 pools select namespaces by label", many_pools),
];

fn limited(services: usize, nodes: usize) -> World {
    let max = services + 100;
    let mut world = world_with_daemon(services, nodes);
    let peer = RouterPeerSpec { max_prefixes: i32::try_from(max).ok(), ..router("192.0.2.1") };
    world.peers = [custom("peer", peer)].into_iter().collect();
    settled(world)
}

fn retained(services: usize, nodes: usize) -> World {
    let mut world = world_with_daemon(services, nodes);
    let spec: LoadBalancerAdvertisementSpec = from(json!({"pools": ["pool"]}));
    world.advertisements = [custom("advertisement", spec)].into_iter().collect();
    let mut world = settled(world);
    world.pools = Collection::default();
    world
}

fn held(services: usize, nodes: usize) -> World {
    let mut world = settled(world_with_daemon(services, nodes));
    world.advertisements = Collection::default();
    world
}

fn unreachable(services: usize, nodes: usize) -> World {
    let mut world = settled(world(services, nodes));
    let selectors = from(json!([{"matchLabels": {"no": "node"}}]));
    world.peers =
        [custom("peer", RouterPeerSpec { node_selectors: selectors, ..router("192.0.2.1") })].into_iter().collect();
    world
}

fn half_deleted(services: usize, nodes: usize) -> World {
    const RACKS: usize = 50;
    let mut world = world_of_racks(services, nodes, RACKS, 0);
    for rack in 0..RACKS {
        let selectors = from(json!([{"matchLabels": {"rack": rack.to_string()}}]));
        let second = RouterPeerSpec { node_selectors: selectors, ..router(&format!("192.0.3.{}", rack + 1)) };
        world.peers.take(custom(&format!("second-{rack}"), second));
    }
    let mut world = settled(world);
    let gone: Vec<Meta> = world.services.iter().step_by(2).map(|service| service.meta.clone()).collect();
    for meta in gone {
        world.services.forget(&meta.name, &meta.uid);
        world.endpoint_slices.forget(&meta.name, &meta.uid);
    }
    world
}

fn many_advertisements(services: usize, nodes: usize) -> World {
    let mut world = world(services, nodes);
    for n in 0..500 {
        let spec: LoadBalancerAdvertisementSpec = from(json!({"pools": [format!("pool-{n}")]}));
        world.advertisements.take(custom(&format!("of-pool-{n}"), spec));
    }
    settled(world)
}

fn hold_time_of_overlays(services: usize, nodes: usize) -> World {
    let mut world = settled(world_with_local(nodes, services, nodes));
    change_hold_time(&mut world);
    world
}

fn many_pools(services: usize, nodes: usize) -> World {
    let mut world = world(services, nodes);
    world.namespaces = (0..services).map(|n| object(ObjectName::cluster(format!("team-{n}")), Namespace)).collect();
    let moved = world.services.iter().enumerate().map(|(n, service)| {
        let mut service = service.clone();
        service.meta.name.namespace = format!("team-{n}").into();
        service
    });
    world.services = moved.collect();
    let pool = |n: usize| -> Object<Custom<LoadBalancerPoolSpec, _>> {
        let selectors = json!([{"matchLabels": {"team": n.to_string()}}]);
        let range = format!("10.{}.{}.0/24", n / 256, n % 256);
        custom(
            &format!("pool-{n}"),
            from(json!({"addresses": [range], "serviceAllocation": {"namespaceSelectors": selectors}})),
        )
    };
    world.pools = (0..1_000).map(pool).collect();
    world
}

/// The same as [`world`], and one Service of the policy Local with an endpoint on every node.
fn world_with_daemon(services: usize, nodes: usize) -> World {
    let mut world = world(services, nodes);
    let name = ObjectName::new("local", "daemon");
    let on = |n| Endpoint { node: Some(format!("n{n}").into()), ready: true, ..Endpoint::default() };
    let slice = EndpointSlice { service: name.name.clone(), family: None, endpoints: (0..nodes).map(on).collect() };
    world.services.take(object(name.clone(), Service { is_local: true, ..new_service() }));
    world.endpoint_slices.take(object(name, slice));
    world
}

/// A RouterPeer with the router of this address.
fn router(address: &str) -> RouterPeerSpec {
    from(json!({"myASN": 64512, "peerASN": 64513, "peerAddress": address}))
}

fn new_service() -> Service {
    Service {
        is_load_balancer: true,
        families: vec![Family::V4],
        class: Some("clarionlb.io/bgp".to_owned()),
        ..Service::default()
    }
}

/// Reads a constant.
#[must_use]
pub fn from<T: DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap_or_else(|error| unreachable!("the text is a constant: {error}"))
}

/// Services that were created in an order that is not that of their names, in one pool of 2^17 addresses.
#[must_use]
pub fn services(count: usize, with_address: impl Fn(usize) -> bool) -> World {
    let pool: LoadBalancerPoolSpec = from(json!({"addresses": ["10.0.0.0/15"]}));
    let services = (0..count).map(|n| {
        let mut service = object(
            ObjectName::new(format!("ns{}", n % 100), format!("s{n}")),
            Service {
                is_load_balancer: true,
                families: vec![Family::V4],
                class: Some("clarionlb.io/bgp".to_owned()),
                ports: vec![Port { protocol: Protocol::Tcp, number: 80 }],
                ..Service::default()
            },
        );
        let age = i64::try_from((n * 7919) % count.max(1)).unwrap_or(0);
        service.meta.created = Timestamp::from_second(age).ok();
        if with_address(n) {
            let number = u32::from_be_bytes([10, 0, 0, 0]) + u32::try_from(n).unwrap_or(0);
            service.value.addresses = vec![IpAddr::V4(number.into())];
        }
        service
    });
    World { services: services.collect(), pools: [custom("pool", pool)].into_iter().collect(), ..World::default() }
}

/// The world in which everything has been written.
#[must_use]
pub fn settled(mut world: World) -> World {
    if let Err(error) = replay::settle(&mut world) {
        unreachable!("{error}");
    }
    world
}
