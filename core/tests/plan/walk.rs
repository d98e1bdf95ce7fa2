//! What holds of allocation whatever users do, and that it does what a naive allocator does.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::IpAddr,
};

use clarion_api::Timestamp;
use clarion_core::{
    World, plan, plan_first_addresses,
    world::{Collection, Family, Namespace, ObjectName, Port, Protocol},
};
use proptest::prelude::*;
use serde_json::json;

use crate::cluster::*;

/// Something that users do.
#[derive(Clone, Debug)]
enum Step {
    Create { service: u8, families: u8, key: u8, port: u8, wish: u8 },
    Delete(u8),
    Wish(u8, u8),
    Key(u8, u8),
    Port(u8, u8),
    Families(u8, u8),
    Foreign(u8, bool),
    Release(u8, u8),
    Pool { pool: u8, addresses: u8, release: bool, quota: bool, hashed: bool, succeeded: bool },
    NoPool(u8),
    Reserve { reservation: u8, service: u8, address: u8 },
    Unreserve(u8),
}

const SERVICES: u8 = 6;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..SERVICES, 0..5_u8, 0..3_u8, 0..3_u8, 0..10_u8)
            .prop_map(|(service, families, key, port, wish)| Step::Create { service, families, key, port, wish }),
        3 => (0..SERVICES).prop_map(Step::Delete),
        2 => (0..SERVICES, 0..10_u8).prop_map(|(s, w)| Step::Wish(s, w)),
        1 => (0..SERVICES, 0..3_u8).prop_map(|(s, k)| Step::Key(s, k)),
        1 => (0..SERVICES, 0..3_u8).prop_map(|(s, p)| Step::Port(s, p)),
        1 => (0..SERVICES, 0..5_u8).prop_map(|(s, f)| Step::Families(s, f)),
        1 => (0..SERVICES, any::<bool>()).prop_map(|(s, f)| Step::Foreign(s, f)),
        1 => (0..SERVICES, 0..8_u8).prop_map(|(s, a)| Step::Release(s, a)),
        2 => (0..2_u8, 0..4_u8, any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(pool, addresses, release, quota, hashed, succeeded)| {
                Step::Pool { pool, addresses, release, quota, hashed, succeeded }
            }
        ),
        1 => (0..2_u8).prop_map(Step::NoPool),
        2 => (0..3_u8, 0..SERVICES, 0..5_u8)
            .prop_map(|(reservation, service, address)| Step::Reserve { reservation, service, address }),
        1 => (0..3_u8).prop_map(Step::Unreserve),
    ]
}

/// Odd ones live in another namespace.
fn service_name(service: u8) -> String {
    if service % 2 == 1 { format!("other/s{service}") } else { format!("ns/s{service}") }
}

fn set_families(world: &mut World, named: &str, choice: u8) {
    let families: &[Family] = match choice {
        0 | 1 => &[Family::V4],
        2 => &[Family::V6],
        3 => &[Family::V4, Family::V6],
        _ => &[Family::V6, Family::V4],
    };
    edit(&mut world.services, &name(named), |service| {
        service.value.families = families.to_vec();
        service.value.requires_dual_stack = choice == 4;
    });
}

fn wish(world: &mut World, named: &str, choice: u8) {
    let wish = match choice {
        0..=3 => ("", ""),
        4 => ("10.0.0.0", ""),
        5 => ("10.0.0.2", ""),
        6 => ("10.0.0.1,2001:db8::1", ""),
        7 => ("", "p1"),
        8 => ("", "p0,p1"),
        _ => ("10.0.0.300", ""),
    };
    annotate(world, named, &[("loadBalancerIPs", wish.0), ("address-pool", wish.1)]);
}

fn key(world: &mut World, named: &str, choice: u8) {
    let with = if named.starts_with("ns/") { "other" } else { "ns" };
    let (key, with) = [("", ""), ("k", ""), ("k", with)][usize::from(choice)];
    annotate(world, named, &[("allow-shared-ip", key), ("share-with-namespaces", with)]);
}

fn set_port(world: &mut World, named: &str, choice: u8) {
    ports(world, named, &[80 + u16::from(choice)]);
}

fn act(world: &mut World, step: &Step, clock: i64) {
    let exists = |world: &World, service: u8| world.services.get(&name(&service_name(service))).is_some();
    match *step {
        Step::Create { service, families, key: shared, port, wish: wished } => {
            if !exists(world, service) {
                let named = service_name(service);
                add(world, &named, clock);
                set_families(world, &named, families);
                key(world, &named, shared);
                set_port(world, &named, port);
                wish(world, &named, wished);
            }
        }
        Step::Delete(service) => remove(&mut world.services, &name(&service_name(service))),
        Step::Wish(service, _)
        | Step::Key(service, _)
        | Step::Port(service, _)
        | Step::Families(service, _)
        | Step::Foreign(service, _)
        | Step::Release(service, _)
            if !exists(world, service) => {}
        Step::Wish(service, choice) => wish(world, &service_name(service), choice),
        Step::Key(service, choice) => key(world, &service_name(service), choice),
        Step::Port(service, choice) => set_port(world, &service_name(service), choice),
        Step::Families(service, choice) => set_families(world, &service_name(service), choice),
        Step::Foreign(service, foreign) => {
            let class = if foreign { "example.com/other" } else { "clarionlb.io/bgp" };
            edit(&mut world.services, &name(&service_name(service)), |s| s.value.class = Some(class.to_owned()));
        }
        Step::Release(service, last) => {
            let address = if last == 0 { String::new() } else { format!("10.0.0.{}", last - 1) };
            annotate(world, &service_name(service), &[("release", &address)]);
        }
        Step::Pool { pool, addresses, release, quota, hashed, succeeded } => {
            let ranges = [
                json!(["10.0.0.0/30", "2001:db8::/126"]),
                json!(["10.0.0.0-10.0.0.5"]),
                json!(["10.0.0.2/31", "10.0.0.7/32", "2001:db8::2/127"]),
                json!(["10.0.0.0/33"]),
            ];
            let mut spec = json!({
                "addresses": ranges[usize::from(addresses)],
                "excludeAddresses": ["10.0.0.3/32"],
                "onRemoval": if release { "Release" } else { "Retain" },
                "strategy": if hashed { "Hashed" } else { "Sequential" },
            });
            if quota {
                spec["defaultQuota"] = json!(2);
            }
            if succeeded {
                spec["succeededBy"] = json!(format!("p{}", 1 - pool));
            }
            set_pool(world, &format!("p{pool}"), spec);
        }
        Step::NoPool(pool) => remove(&mut world.pools, &ObjectName::cluster(format!("p{pool}"))),
        Step::Reserve { reservation: number, service, address } => {
            let named = service_name(service);
            let name = name(&named);
            let mut spec = json!({"poolName": "p0", "serviceName": name.name.as_str()});
            if address > 0 {
                spec["addresses"] = json!([format!("10.0.0.{}", address - 1)]);
            }
            reservation(world, &format!("{}/r{number}", name.namespace), spec);
        }
        Step::Unreserve(number) => {
            for namespace in ["ns", "other"] {
                remove(&mut world.reservations, &ObjectName::new(namespace, format!("r{number}")));
            }
        }
    }
}

fn start() -> World {
    let mut world = world();
    remove(&mut world.pools, &ObjectName::cluster("main"));
    set_pool(
        &mut world,
        "p0",
        json!({"addresses": ["10.0.0.0/30", "2001:db8::/126"], "excludeAddresses": ["10.0.0.3/32"]}),
    );
    for namespace in ["ns", "other"] {
        put(&mut world.namespaces, object(ObjectName::cluster(namespace), 0, Namespace));
    }
    world
}

type Held = BTreeMap<String, Vec<IpAddr>>;

/// What Services of ours hold, by UID.
fn holdings(world: &World) -> Held {
    let ours = world.services.iter().filter(|service| world.serves(service));
    ours.map(|service| (service.meta.uid.to_string(), service.value.addresses.clone())).collect()
}

/// The Service that a step is about.
fn subject(step: &Step) -> Option<String> {
    match step {
        Step::Create { service, .. }
        | Step::Delete(service)
        | Step::Wish(service, _)
        | Step::Key(service, _)
        | Step::Port(service, _)
        | Step::Families(service, _)
        | Step::Foreign(service, _)
        | Step::Release(service, _) => Some(service_name(*service)),
        _ => None,
    }
}

/// Whether two Services agree to share, by what stands in their annotations now.
fn agree(world: &World, one: &str, other: &str) -> bool {
    let of = |named: &str| {
        let service = world.services.get(&name(named)).unwrap();
        let get = |key: &str| service.value.annotations.get(&format!("clarionlb.io/{key}")).cloned();
        (service.meta.name.namespace.to_string(), get("allow-shared-ip"), get("share-with-namespaces"))
    };
    let ((ns_a, key_a, with_a), (ns_b, key_b, with_b)) = (of(one), of(other));
    key_a.is_some() && key_a == key_b && (ns_a == ns_b || (with_a == Some(ns_b) && with_b == Some(ns_a)))
}

fn in_a_pool(world: &World, address: IpAddr) -> bool {
    let mut pools = world.pools.iter().filter_map(|pool| pool.value.spec.as_ref().ok());
    pools.any(|spec| {
        !spec.addresses.contains(&"10.0.0.0/33".to_owned()) && pool_addresses(&spec.addresses).contains(&address)
    })
}

/// The addresses of the ranges that this test writes, less the excluded one.
fn pool_addresses(texts: &[String]) -> BTreeSet<IpAddr> {
    let mut addresses = BTreeSet::new();
    for text in texts {
        match text.split_once('-') {
            Some(_) => addresses.extend((0..=5_u8).map(|n| IpAddr::from([10, 0, 0, n]))),
            None => {
                let net: ipnet::IpNet = text.parse().unwrap();
                let all: Vec<IpAddr> = match net {
                    ipnet::IpNet::V4(net) => {
                        let first = u32::from(net.network());
                        (first..=u32::from(net.broadcast())).map(|n| IpAddr::V4(n.into())).collect()
                    }
                    ipnet::IpNet::V6(net) => {
                        let first = u128::from(net.network());
                        (first..=u128::from(net.broadcast())).map(|n| IpAddr::V6(n.into())).collect()
                    }
                };
                addresses.extend(all);
            }
        }
    }
    addresses.remove(&IpAddr::from([10, 0, 0, 3]));
    addresses
}

/// The counts of all pools are those that looking at every single address gives.
fn check_counts(world: &World) -> Result<(), TestCaseError> {
    let mut seen = BTreeSet::new();
    for pool in world.pools.by_seniority() {
        let (spec, status) = (pool.value.spec.as_ref().unwrap(), pool.value.status.as_ref().unwrap());
        if spec.addresses.contains(&"10.0.0.0/33".to_owned()) {
            prop_assert!(status.ipv4.is_none() && status.ipv6.is_none());
            continue;
        }
        let own: BTreeSet<IpAddr> = pool_addresses(&spec.addresses).difference(&seen).copied().collect();
        seen.extend(&own);
        let held = world.services.iter().flat_map(|service| service.value.addresses.clone());
        let reserved = world.reservations.iter().flat_map(|r| r.value.status.iter().flat_map(|s| &s.addresses));
        let taken: BTreeSet<IpAddr> = held.chain(reserved.map(|text| text.parse().unwrap())).collect();
        for (family, counts) in [(Family::V4, status.ipv4), (Family::V6, status.ipv6)] {
            let count = |used: bool| {
                own.iter().filter(|a| Family::of(**a) == family && taken.contains(*a) == used).count() as i64
            };
            let counts = counts.map_or((0, 0, 0), |counts| (counts.total, counts.assigned, counts.available));
            prop_assert_eq!(counts, (count(true) + count(false), count(true), count(false)), "{}", pool.meta.name);
        }
    }
    Ok(())
}

/// The same objects, entered in the opposite order.
fn reentered(world: &World) -> World {
    fn again<T: Clone + PartialEq>(collection: &Collection<T>) -> Collection<T> {
        collection.iter().rev().cloned().collect()
    }
    World {
        services: again(&world.services),
        pools: again(&world.pools),
        reservations: again(&world.reservations),
        configurations: again(&world.configurations),
        ..world.clone()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn whatever_users_do_allocation_can_be_trusted(steps in prop::collection::vec(step(), 1..14)) {
        let mut world = start();
        settle(&mut world);
        for (clock, step) in (1..).zip(&steps) {
            let before = world.clone();
            world.now = Timestamp::from_second(clock).unwrap();
            act(&mut world, step, clock);
            let whole = plan(&world);
            prop_assert_eq!(&whole, &plan(&reentered(&world)), "independent of the order, and deterministic");
            prop_assert_eq!(plan_first_addresses(&world, &mut |_| {}), first_addresses(&world, &whole));
            let mut joined = Ok(());
            let mut last = world.clone();
            settle_watching(&mut world, |world| {
                let outcome = check_write(&last, world);
                if joined.is_ok() {
                    joined = outcome;
                }
                last = world.clone();
            });
            joined?;
            check_losses(&before, &world, step)?;
            check_counts(&world)?;
            let announced = announced_addresses(&world);
            let held = holdings(&world);
            prop_assert!(announced.iter().all(|address| held.values().flatten().any(|held| held == address)));
        }
    }
}

/// After each single write: who gets an address agrees with those who have it, and what is reserved for others is not given.
fn check_write(before: &World, after: &World) -> Result<(), TestCaseError> {
    for service in after.services.iter() {
        let had = before.services.get(&service.meta.name).map(|s| s.value.addresses.clone()).unwrap_or_default();
        for address in service.value.addresses.iter().filter(|address| !had.contains(address)) {
            for other in after.services.iter().filter(|other| other.meta.name != service.meta.name) {
                if other.value.addresses.contains(address) {
                    let (one, other_name) = (service.meta.name.to_string(), other.meta.name.to_string());
                    prop_assert!(agree(after, &one, &other_name), "{address} of {other_name} given to {one}");
                    let clash = service.value.ports.iter().any(|port| other.value.ports.contains(port));
                    prop_assert!(!clash, "{address}: {one} and {other_name} have the same port");
                }
            }
            let reserved = before.reservations.iter().filter(|reservation| {
                let held = reservation.value.status.iter().flat_map(|status| &status.addresses);
                let listed = reservation.value.spec.as_ref().unwrap().addresses.clone();
                let text = address.to_string();
                held.filter(|a| listed.is_empty() || listed.contains(a)).any(|held| *held == text)
            });
            let owners: Vec<ObjectName> = reserved
                .map(|r| ObjectName::new(r.meta.name.namespace.clone(), &r.value.spec.as_ref().unwrap().service_name))
                .collect();
            prop_assert!(
                owners.is_empty() || owners.contains(&service.meta.name),
                "{address} is reserved for {owners:?} and given to {}",
                service.meta.name
            );
        }
    }
    Ok(())
}

/// Nobody loses an address without a cause in what was done or in what it asks for.
fn check_losses(before: &World, after: &World, step: &Step) -> Result<(), TestCaseError> {
    for service in before.services.iter().filter(|service| before.serves(service)) {
        let named = service.meta.name.to_string();
        let Some(now) = after.services.get(&service.meta.name).filter(|now| now.meta.uid == service.meta.uid) else {
            continue;
        };
        if subject(step) == Some(named.clone()) || !after.serves(now) {
            continue;
        }
        for address in service.value.addresses.iter().filter(|address| !now.value.addresses.contains(address)) {
            let asks = now.value.annotations.keys().any(|key| key.ends_with("IPs") || key.ends_with("pool"));
            let left = matches!(step, Step::Pool { .. } | Step::NoPool(_)) && !in_a_pool(after, *address);
            let revoked = left && service.value.is_marked("clarionlb.io/ReleaseOnRemoval", *address);
            let clash = matches!(step, Step::Port(..));
            prop_assert!(asks || revoked || clash, "{named} lost {address} by {step:?}");
        }
        // But for one that an address is reserved for together with it, which it had to wait for.
        if let (Step::Create { .. }, Some(new)) = (step, subject(step)) {
            let shared: Vec<&IpAddr> =
                now.value.addresses.iter().filter(|a| reserves_both(before, &named, &new, a)).collect();
            let unchanged =
                now.value.addresses.iter().filter(|a| service.value.addresses.contains(a) || !shared.contains(a));
            let awaits = allocated(before, &named).2.contains("which is not there yet");
            prop_assert!(awaits || unchanged.eq(&service.value.addresses), "{named} was changed by a new one");
        }
    }
    Ok(())
}

/// Whether there are reservations of an address, by name, for each of two Services.
fn reserves_both(world: &World, one: &str, other: &str, address: &IpAddr) -> bool {
    let reserves = |named: &str| {
        let name = name(named);
        world.reservations.iter().any(|reservation| {
            let spec = reservation.value.spec.as_ref().unwrap();
            let is_of = reservation.meta.name.namespace == name.namespace && spec.service_name == name.name;
            is_of && spec.addresses.contains(&address.to_string())
        })
    };
    reserves(one) && reserves(other)
}

/// An allocator that looks at every address and every Service, time and again: what is to come out in a pool of single-stack
/// addresses with requests, keys and reservations.
#[derive(Clone, Debug, Default)]
struct Naive {
    services: BTreeMap<String, NaiveService>,
    pool: BTreeSet<IpAddr>,
}

#[derive(Clone, Debug)]
struct NaiveService {
    created: i64,
    key: Option<String>,
    port: u16,
    wish: Option<IpAddr>,
    has: Option<IpAddr>,
    /// What it loses in this round, or gives up for what it has.
    had: Option<IpAddr>,
}

impl NaiveService {
    fn holds(&self, address: IpAddr) -> bool {
        self.has == Some(address) || self.had == Some(address)
    }
}

impl Naive {
    fn can_have(&self, named: &str, address: IpAddr) -> bool {
        let own = &self.services[named];
        let others = self.services.iter().filter(|(other, s)| *other != named && s.holds(address));
        self.pool.contains(&address)
            && others.into_iter().all(|(_, o)| own.key.is_some() && own.key == o.key && own.port != o.port)
    }

    fn is_held(&self, address: IpAddr) -> bool {
        self.services.values().any(|service| service.holds(address))
    }

    fn settle(&mut self) {
        loop {
            let before = self.services.values().map(|service| service.has).collect::<Vec<_>>();
            self.services.values_mut().for_each(|service| service.had = None);
            self.resolve_clashes();
            let mut order: Vec<String> = self.services.keys().cloned().collect();
            order.sort_by_key(|named| {
                let service = &self.services[named];
                (service.wish.is_none(), service.created, named.clone())
            });
            for named in order {
                let service = self.services[&named].clone();
                let found = match service.wish {
                    Some(wish) => Some(wish).filter(|wish| service.has != Some(*wish) && self.can_have(&named, *wish)),
                    None if service.has.is_some() => None,
                    None => {
                        let shared = self.pool.iter().find(|a| self.is_held(**a) && self.can_have(&named, **a));
                        shared.or_else(|| self.pool.iter().find(|a| !self.is_held(**a))).copied()
                    }
                };
                if found.is_some() {
                    let service = self.services.get_mut(&named).unwrap();
                    (service.had, service.has) = (service.has.or(service.had), found);
                }
            }
            if before == self.services.values().map(|service| service.has).collect::<Vec<_>>() {
                return;
            }
        }
    }

    /// Of two that have one address and one port, the younger loses it.
    fn resolve_clashes(&mut self) {
        let mut order: Vec<(i64, String)> = self.services.iter().map(|(n, s)| (s.created, n.clone())).collect();
        order.sort();
        let mut seen = BTreeSet::new();
        for (_, named) in order {
            let service = self.services.get_mut(&named).unwrap();
            if service.has.is_some_and(|address| !seen.insert((address, service.port))) {
                service.had = service.has.take();
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Simple {
    Create { service: u8, key: u8, port: u8, wish: u8 },
    Delete(u8),
    Wish(u8, u8),
    Port(u8, u8),
    Pool(u8),
}

fn simple() -> impl Strategy<Value = Simple> {
    prop_oneof![
        5 => (0..8_u8, 0..3_u8, 0..4_u8, 0..12_u8)
            .prop_map(|(service, key, port, wish)| Simple::Create { service, key, port, wish }),
        3 => (0..8_u8).prop_map(Simple::Delete),
        2 => (0..8_u8, 0..12_u8).prop_map(|(s, w)| Simple::Wish(s, w)),
        1 => (0..8_u8, 0..4_u8).prop_map(|(s, p)| Simple::Port(s, p)),
        1 => (3..7_u8).prop_map(Simple::Pool),
    ]
}

fn wished(choice: u8) -> Option<IpAddr> {
    (choice < 6).then(|| IpAddr::from([10, 0, 0, choice]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn it_does_what_a_naive_allocator_does(steps in prop::collection::vec(simple(), 1..24)) {
        let mut world = start();
        let mut naive = Naive::default();
        let pool = |naive: &mut Naive, world: &mut World, size: u8| {
            naive.pool = (0..size).map(|n| IpAddr::from([10, 0, 0, n])).collect();
            set_pool(world, "p0", json!({"addresses": [format!("10.0.0.0-10.0.0.{}", size - 1)]}));
        };
        pool(&mut naive, &mut world, 4);
        for (clock, step) in (1..).zip(&steps) {
            match *step {
                Simple::Create { service, key, port, wish } => {
                    let named = format!("ns/s{service}");
                    if let Entry::Vacant(place) = naive.services.entry(named.clone()) {
                        let (port, key) = (80 + u16::from(port), ["", "k", "l"][usize::from(key)]);
                        add(&mut world, &named, clock);
                        let value = Port { protocol: Protocol::Tcp, number: port };
                        edit(&mut world.services, &name(&named), |service| service.value.ports = vec![value]);
                        let text = wished(wish).map(|address| address.to_string()).unwrap_or_default();
                        annotate(&mut world, &named, &[("allow-shared-ip", key), ("loadBalancerIPs", &text)]);
                        let key = Some(key.to_owned()).filter(|key| !key.is_empty());
                        place.insert(NaiveService { created: clock, key, port, wish: wished(wish), has: None, had: None });
                    }
                }
                Simple::Delete(service) => {
                    let named = format!("ns/s{service}");
                    remove(&mut world.services, &name(&named));
                    naive.services.remove(&named);
                }
                Simple::Wish(service, wish) => {
                    let named = format!("ns/s{service}");
                    if let Some(service) = naive.services.get_mut(&named) {
                        service.wish = wished(wish);
                        let text = wished(wish).map(|address| address.to_string()).unwrap_or_default();
                        annotate(&mut world, &named, &[("loadBalancerIPs", &text)]);
                    }
                }
                Simple::Port(service, port) => {
                    let named = format!("ns/s{service}");
                    if let Some(service) = naive.services.get_mut(&named) {
                        service.port = 80 + u16::from(port);
                        ports(&mut world, &named, &[service.port]);
                    }
                }
                Simple::Pool(size) => pool(&mut naive, &mut world, size),
            }
            settle(&mut world);
            naive.settle();
            for (named, service) in &naive.services {
                let expected: Vec<String> = service.has.iter().map(ToString::to_string).collect();
                prop_assert_eq!(held(&world, named), expected, "{} after {:?}", named, step);
            }
        }
    }
}
