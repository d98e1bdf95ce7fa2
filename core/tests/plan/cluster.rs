//! Worlds made by hand, and what is looked at in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use clarion_api::{LoadBalancerAdvertisementSpec, LoadBalancerPoolSpec, RouterPeerSpec, Timestamp, names};
use clarion_core::{
    ConfigurationWrite, Plan, ServiceStatusWrite, World, Write, plan, replay,
    world::{
        Collection, Custom, Endpoint, EndpointSlice, Family, Meta, Node, Object, ObjectName, Port, Protocol, Service,
    },
};
use serde_json::json;
use smol_str::{ToSmolStr as _, format_smolstr};

pub fn object<T>(name: ObjectName, created: i64, value: T) -> Object<T> {
    let created = Timestamp::from_second(created).unwrap();
    let uid = format_smolstr!("{name}@{created}");
    let (resource_version, created) = ("1".into(), Some(created));
    Object { meta: Meta { name, uid, resource_version, created, ..Meta::default() }, value }
}

pub fn custom<Spec: serde::de::DeserializeOwned, Status>(
    name: &str,
    spec: serde_json::Value,
) -> Object<Custom<Spec, Status>> {
    object(ObjectName::cluster(name), 0, Custom { spec: Ok(serde_json::from_value(spec).unwrap()), status: None })
}

pub fn pool(world: &mut World, name: &str, addresses: &[&str]) {
    put(&mut world.pools, custom::<LoadBalancerPoolSpec, _>(name, json!({ "addresses": addresses })));
}

pub fn put<T: PartialEq>(collection: &mut Collection<T>, mut object: Object<T>) {
    if let Some(known) = collection.get(&object.meta.name) {
        let version: u64 = known.meta.resource_version.parse().unwrap();
        object.meta.resource_version = (version + 1).to_smolstr();
    }
    collection.take(object);
}

/// Puts an object in the place of another, as an edit of its spec does.
pub fn edit_spec<T: PartialEq>(collection: &mut Collection<T>, mut object: Object<T>) {
    let before = collection.get(&object.meta.name).and_then(|known| known.meta.generation);
    object.meta.generation = Some(before.unwrap_or_default() + 1);
    put(collection, object);
}

pub fn service(world: &mut World, name: &str, created: i64, families: &[Family]) {
    let value = Service {
        is_load_balancer: true,
        class: Some("clarionlb.io/bgp".to_owned()),
        families: families.to_vec(),
        requires_dual_stack: families.len() == 2,
        ..Service::default()
    };
    put(&mut world.services, object(ObjectName::new("ns", name), created, value));
    let ready = Endpoint { ready: true, ..Endpoint::default() };
    let slice = EndpointSlice { service: name.into(), family: None, endpoints: vec![ready] };
    put(&mut world.endpoint_slices, object(ObjectName::new("ns", name), 0, slice));
}

pub fn edit<T: Clone + PartialEq>(
    collection: &mut Collection<T>,
    name: &ObjectName,
    change: impl FnOnce(&mut Object<T>),
) {
    let mut object = collection.get(name).unwrap().clone();
    change(&mut object);
    put(collection, object);
}

pub fn hold(world: &mut World, name: &str, addresses: &[&str]) {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    edit(&mut world.services, &ObjectName::new("ns", name), |service| service.value.addresses = addresses);
}

pub fn node(world: &mut World, name: &str) {
    let mut node = object(ObjectName::cluster(name), 0, Node::default());
    node.meta.labels = BTreeMap::from([("kubernetes.io/hostname".to_owned(), name.to_owned())]);
    put(&mut world.nodes, node);
}

/// Two nodes, a peer that carries both families, an advertisement of everything, a pool of eight addresses of each family.
pub fn world() -> World {
    let mut world = World { frr_k8s_installed: true, ..World::default() };
    node(&mut world, "a");
    node(&mut world, "b");
    pool(&mut world, "main", &["10.0.0.0/29", "2001:db8::/125"]);
    let peer = json!({"myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1", "dualStackAddressFamily": true});
    put(&mut world.peers, custom::<RouterPeerSpec, _>("tor", peer));
    put(&mut world.advertisements, custom::<LoadBalancerAdvertisementSpec, _>("all", json!({})));
    world
}

pub fn settle(world: &mut World) {
    for _ in 0..50 {
        let writes = plan(world).writes;
        if writes.is_empty() {
            return;
        }
        writes.iter().for_each(|write| replay::land(world, write));
    }
    panic!("it does not settle: {:?}", plan(world).writes);
}

pub fn addresses(world: &World, name: &str) -> Vec<String> {
    let service = world.services.get(&ObjectName::new("ns", name)).unwrap();
    service.value.addresses.iter().map(ToString::to_string).collect()
}

pub fn announced(world: &World) -> Vec<String> {
    announced_addresses(world).iter().map(ToString::to_string).collect()
}

pub fn announced_addresses(world: &World) -> BTreeSet<IpAddr> {
    world.announced().as_slice().iter().copied().collect()
}

pub fn condition(world: &World, name: &str, type_: &str) -> (String, String, String) {
    let service = world.services.get(&ObjectName::new("ns", name)).unwrap();
    let condition = service.value.conditions.iter().find(|c| c.type_ == format!("clarionlb.io/{type_}")).unwrap();
    (condition.status.to_string(), condition.reason.to_string(), condition.message.to_string())
}

/// The reason and the message of a peer's condition Ready.
pub fn ready(world: &World, peer: &str) -> (String, String) {
    let status = world.peers.get(&ObjectName::cluster(peer)).unwrap().value.status.clone().unwrap();
    let ready = status.conditions.into_iter().find(|c| c.type_ == names::READY).unwrap();
    (ready.reason, ready.message)
}

pub fn statuses(writes: &[Write]) -> Vec<&ServiceStatusWrite> {
    let mut found = Vec::new();
    for write in writes {
        if let Write::ServiceStatus(write) = write {
            found.push(write);
        }
    }
    found
}

pub fn configurations(writes: &[Write]) -> Vec<&ConfigurationWrite> {
    let mut found = Vec::new();
    for write in writes {
        if let Write::Configuration(write) = write {
            found.push(write);
        }
    }
    found
}

/// What a plan writes to those who have no address yet, and get one.
pub fn first_addresses(world: &World, plan: &Plan) -> Vec<Write> {
    let is_first = |write: &&Write| match write {
        Write::ServiceStatus(write) => {
            let gets = write.addresses.as_ref().is_some_and(|addresses| !addresses.is_empty());
            gets && world.services.get(&write.name).unwrap().value.addresses.is_empty()
        }
        Write::Configuration(_) | Write::ObjectStatus(_) => false,
    };
    plan.writes.iter().filter(is_first).cloned().collect()
}

pub fn name(name: &str) -> ObjectName {
    match name.split_once('/') {
        Some((namespace, name)) => ObjectName::new(namespace, name),
        None => ObjectName::new("ns", name),
    }
}

/// A single-stack Service in any namespace, `ns` if none is given.
pub fn add(world: &mut World, named: &str, created: i64) {
    let name = name(named);
    service(world, &name.name, created, &[Family::V4]);
    if name.namespace != "ns" {
        let own = ObjectName::new("ns", name.name.clone());
        let mut moved = world.services.get(&own).unwrap().clone();
        let mut slice = world.endpoint_slices.get(&own).unwrap().clone();
        remove(&mut world.services, &own);
        (moved.meta.name, moved.meta.uid) = (name.clone(), format_smolstr!("{name}@{created}"));
        (slice.meta.name, slice.meta.uid) = (name.clone(), format_smolstr!("{name} slice"));
        put(&mut world.services, moved);
        put(&mut world.endpoint_slices, slice);
    }
}

pub fn remove<T: PartialEq>(collection: &mut Collection<T>, name: &ObjectName) {
    if let Some(uid) = collection.get(name).map(|object| object.meta.uid.clone()) {
        collection.forget(name, &uid);
    }
}

pub fn annotate(world: &mut World, named: &str, annotations: &[(&str, &str)]) {
    edit(&mut world.services, &name(named), |service| {
        for (key, value) in annotations {
            let key = if key.contains('/') { (*key).to_owned() } else { format!("clarionlb.io/{key}") };
            match *value {
                "" => drop(service.value.annotations.remove(&key)),
                value => drop(service.value.annotations.insert(key, value.to_owned())),
            }
        }
    });
}

pub fn ports(world: &mut World, named: &str, numbers: &[u16]) {
    let ports = numbers.iter().map(|number| Port { protocol: Protocol::Tcp, number: *number }).collect();
    edit(&mut world.services, &name(named), |service| service.value.ports = ports);
}

pub fn set_pool(world: &mut World, name: &str, spec: serde_json::Value) {
    put(&mut world.pools, custom::<LoadBalancerPoolSpec, _>(name, spec));
}

pub fn reservation(world: &mut World, named: &str, spec: serde_json::Value) {
    let spec = Custom { spec: Ok(serde_json::from_value(spec).unwrap()), status: None };
    put(&mut world.reservations, object(name(named), 0, spec));
}

/// The addresses that a reservation holds, and what its condition says.
pub fn reserved(world: &World, named: &str) -> (Vec<String>, String, String) {
    let status = world.reservations.get(&name(named)).unwrap().value.status.clone().unwrap();
    let ready = status.conditions[0].clone();
    (status.addresses, ready.reason, ready.message)
}

pub fn held(world: &World, named: &str) -> Vec<String> {
    let service = world.services.get(&name(named)).unwrap();
    service.value.addresses.iter().map(ToString::to_string).collect()
}

/// Status, reason and message of the condition that tells whether it has its addresses.
pub fn allocated(world: &World, named: &str) -> (String, String, String) {
    let service = world.services.get(&name(named)).unwrap();
    let condition = service.value.conditions.iter().find(|c| c.type_ == "clarionlb.io/AddressAllocated").unwrap();
    (condition.status.to_string(), condition.reason.to_string(), condition.message.to_string())
}

/// Lets every write land, one at a time and the last first, and looks at the world after each.
pub fn settle_watching(world: &mut World, mut look: impl FnMut(&World)) {
    for _ in 0..200 {
        let Some(write) = plan(world).writes.pop() else { return };
        replay::land(world, &write);
        look(world);
    }
    panic!("it does not settle: {:?}", plan(world).writes);
}

/// How many addresses of a pool are assigned and available, by its status.
pub fn usage(world: &World, pool: &str) -> (i64, i64) {
    let status = world.pools.get(&ObjectName::cluster(pool)).unwrap().value.status.clone().unwrap();
    let counts = status.ipv4.unwrap();
    assert_eq!(counts.total, counts.assigned + counts.available);
    (counts.assigned, counts.available)
}

/// A Service that shares its address with those of the same key.
pub fn sharer(world: &mut World, named: &str, created: i64, port: u16) {
    add(world, named, created);
    ports(world, named, &[port]);
    annotate(world, named, &[("allow-shared-ip", "key")]);
}
