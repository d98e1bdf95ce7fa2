//! How long a plan takes, by Services and nodes, with nothing to be done and with everything to be done.

use std::{collections::BTreeMap, hint::black_box};

use clarion_api::{LoadBalancerAdvertisementSpec, LoadBalancerPoolSpec, RouterPeerSpec};
use clarion_core::{
    World, plan, replay,
    world::{Custom, Endpoint, EndpointSlice, Family, Meta, Node, Object, ObjectName, Service},
};
use serde::de::DeserializeOwned;
use serde_json::json;

fn main() {
    divan::main();
}

const SIZES: [(usize, usize); 3] = [(1_000, 10), (10_000, 100), (100_000, 1_000)];

/// Everything is new: each Service waits for an address.
#[divan::bench(args = SIZES, sample_count = 10)]
fn all_new(bencher: divan::Bencher, (services, nodes): (usize, usize)) {
    let world = world(services, nodes);
    bencher.bench_local(|| black_box(plan(black_box(&world))));
}

/// Everything is done: each Service has an address, which is announced.
#[divan::bench(args = SIZES, sample_count = 10)]
fn nothing_new(bencher: divan::Bencher, (services, nodes): (usize, usize)) {
    let mut world = world(services, nodes);
    loop {
        let writes = plan(&world).writes;
        if writes.is_empty() {
            break;
        }
        writes.iter().for_each(|write| replay::land(&mut world, write));
    }
    bencher.bench_local(|| black_box(plan(black_box(&world))));
}

fn object<T>(name: ObjectName, value: T) -> Object<T> {
    let meta =
        Meta { uid: name.to_string(), name, resource_version: "1".to_owned(), generation: Some(1), ..Meta::default() };
    Object { meta, value }
}

fn custom<Spec, Status>(name: &str, spec: Spec) -> Object<Custom<Spec, Status>> {
    object(ObjectName::cluster(name), Custom { spec: Ok(spec), status: None })
}

fn world(services: usize, nodes: usize) -> World {
    let pool: LoadBalancerPoolSpec = from(json!({"addresses": ["10.0.0.0/8"]}));
    let peer: RouterPeerSpec = from(json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"}));
    let advertisement: LoadBalancerAdvertisementSpec = from(json!({}));
    let name = |n: usize| ObjectName::new(format!("ns{}", n % 100), format!("s{n}"));
    let service = || Service {
        is_load_balancer: true,
        families: vec![Family::V4],
        class: Some("clarionlb.io/bgp".to_owned()),
        ..Service::default()
    };
    let endpoint = || Endpoint { ready: true, ..Endpoint::default() };
    World {
        frr_k8s_installed: true,
        services: (0..services).map(|n| object(name(n), service())).collect(),
        endpoint_slices: (0..services)
            .map(|n| object(name(n), EndpointSlice { service: name(n).name, endpoints: vec![endpoint(), endpoint()] }))
            .collect(),
        nodes: (0..nodes)
            .map(|n| {
                let mut node = object(ObjectName::cluster(format!("n{n}")), Node);
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

fn from<T: DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap_or_else(|error| unreachable!("the text is a constant: {error}"))
}
