//! The rules that hold at every moment, whatever happens to a cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use clarion_api::{LoadBalancerAdvertisementSpec, LoadBalancerPoolSpec, RouterPeerSpec, Timestamp};
use clarion_core::{
    World, Write, plan, plan_first_addresses, replay,
    world::{Family, ObjectName},
};
use proptest::prelude::*;
use serde_json::json;

use crate::cluster::*;

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
                world.services.forget(&name, &uid);
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
                world.nodes.forget(&name, &uid);
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
        Event::AddOnly(add_only) => (world.add_only, world.give_nothing) = (*add_only, *add_only),
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
            let other = holders.insert(*address, service.meta.uid.to_string());
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
            let announced_before = announced_addresses(&world);
            let clock = i64::try_from(clock).unwrap();
            world.now = Timestamp::from_second(clock).unwrap();
            happen(&mut world, event, clock);
            let whole = plan(&world);
            prop_assert_eq!(&whole, &plan(&world), "the same world gives the same plan");
            prop_assert_eq!(plan_first_addresses(&world, &mut |_| {}), first_addresses(&world, &whole));
            let (after, announced_after) = (holders(&world)?, announced_addresses(&world));
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
        (world.add_only, world.give_nothing) = (false, false);
        settle(&mut world);
        let held = holders(&world)?;
        let announced = announced_addresses(&world);
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
