//! What is announced, from where and how, where several things come together.

use std::collections::{BTreeMap, BTreeSet};

use clarion_api::{CommunityAliasSpec, LoadBalancerAdvertisementSpec, RouterPeerSpec, Timestamp, names::ANNOUNCED};
use clarion_core::{
    World, plan, plan_first_addresses,
    world::{Endpoint, EndpointSlice, Family, Kind, ObjectName, ObjectRef, Taint},
};
use serde_json::{Value, json};

use crate::cluster::*;

fn peer(world: &mut World, name: &str, more: Value) {
    let mut spec = json!({"myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1", "dualStackAddressFamily": true});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    put(&mut world.peers, custom::<RouterPeerSpec, _>(name, spec));
}

/// Changes an advertisement as a user does: its status stays.
fn advertise(world: &mut World, name: &str, spec: Value) {
    let spec: LoadBalancerAdvertisementSpec = serde_json::from_value(spec).unwrap();
    let named = ObjectName::cluster(name);
    if world.advertisements.get(&named).is_some() {
        edit(&mut world.advertisements, &named, |object| object.value.spec = Ok(spec));
    } else {
        put(&mut world.advertisements, custom(name, serde_json::to_value(spec).unwrap()));
    }
}

fn alias(world: &mut World, name: &str, value: &str) {
    let spec = json!({"aliases": [{"name": name, "value": value}]});
    put(&mut world.communities, custom::<CommunityAliasSpec, _>(name, spec));
}

fn racks(world: &mut World, racks: &[(&str, &str)]) {
    for (name, rack) in racks {
        node(world, name);
        edit(&mut world.nodes, &ObjectName::cluster(*name), |node| {
            node.meta.labels.insert("rack".to_owned(), (*rack).to_owned());
        });
    }
}

fn endpoints_on(world: &mut World, service: &str, nodes: &[&str]) {
    edit(&mut world.endpoint_slices, &name(service), |slice| {
        let endpoint = |node: &&str| Endpoint { node: Some((*node).into()), ready: true, ..Endpoint::default() };
        slice.value.endpoints = nodes.iter().map(endpoint).collect();
    });
}

fn local(world: &mut World, service: &str, nodes: &[&str]) {
    edit(&mut world.services, &name(service), |service| service.value.is_local = true);
    endpoints_on(world, service, nodes);
}

/// What each host announces to a neighbor: prefixes with their communities and local preferences.
fn on(world: &World, host: &str, neighbor: &str) -> Option<BTreeMap<String, String>> {
    let layers = world.configurations.iter().map(|c| &c.value.layer).filter(|layer| layer.hosts.contains(host));
    let mut sessions = layers.filter_map(|layer| layer.content.session("", neighbor)).peekable();
    sessions.peek()?;
    let routes = sessions.flat_map(|session| &session.routes).map(|(prefix, attributes)| {
        let communities = attributes.communities.iter().cloned().collect::<Vec<_>>().join(" ");
        let local_pref = attributes.local_pref.map(|value| format!(" lp{value}")).unwrap_or_default();
        (prefix.to_string(), format!("{communities}{local_pref}"))
    });
    Some(routes.collect())
}

fn prefixes(world: &World, host: &str) -> BTreeSet<String> {
    on(world, host, "192.0.2.1").unwrap_or_default().into_keys().collect()
}

fn set<const N: usize>(prefixes: [&str; N]) -> BTreeSet<String> {
    prefixes.map(str::to_owned).into()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn an_invalid_override_takes_nothing_from_other_nodes_or_peers() {
    let mut world = world();
    racks(&mut world, &[("a", "r1"), ("b", "r2")]);
    let bad = json!({"nodeOverrides": [{"nodeSelector": {"matchLabels": {"rack": "r2"}}, "localASN": 1}]});
    peer(&mut world, "tor", bad);
    peer(&mut world, "spine", json!({"peerAddress": "192.0.2.2"}));
    service(&mut world, "s", 1, &[Family::V4]);
    settle(&mut world);
    assert_eq!(prefixes(&world, "a"), set(["10.0.0.0/32"]));
    assert!(on(&world, "a", "192.0.2.2").is_some());
    assert!(on(&world, "b", "192.0.2.1").is_none());
    assert_eq!(on(&world, "b", "192.0.2.2").unwrap().len(), 1);
}

#[test]
fn a_node_that_has_the_peers_address_itself_gets_no_session() {
    let mut world = world();
    edit(&mut world.nodes, &ObjectName::cluster("a"), |node| node.value.addresses = vec!["192.0.2.1".parse().unwrap()]);
    service(&mut world, "s", 1, &[Family::V4]);
    settle(&mut world);
    assert!(on(&world, "a", "192.0.2.1").is_none());
    assert_eq!(prefixes(&world, "b"), set(["10.0.0.0/32"]));
}

#[test]
fn what_is_told_of_a_first_address_is_what_a_plan_of_everything_tells() {
    let mut world = world();
    racks(&mut world, &[("a", "r1"), ("b", "r2")]);
    set_pool(&mut world, "quiet", json!({"addresses": ["10.0.9.0/29"], "announce": false}));
    advertise(&mut world, "all", json!({"allowedCommunities": ["65000:1"]}));
    sharer(&mut world, "ns/old", 1, 80);
    local(&mut world, "ns/old", &["a"]);
    settle(&mut world);
    sharer(&mut world, "ns/elsewhere", 2, 81);
    local(&mut world, "ns/elsewhere", &["b"]);
    sharer(&mut world, "ns/nowhere", 3, 82);
    local(&mut world, "ns/nowhere", &["c"]);
    for (named, annotation) in [
        ("ns/not-ready", ("communities", "")),
        ("ns/permitted", ("communities", "65000:1")),
        ("ns/not-permitted", ("communities", "65000:2,rubbish")),
        ("ns/not-announced", ("address-pool", "quiet")),
    ] {
        add(&mut world, named, 4);
        annotate(&mut world, named, &[annotation]);
    }
    edit(&mut world.endpoint_slices, &name("ns/not-ready"), |slice| slice.value.endpoints.clear());
    let first = plan_first_addresses(&world, &mut |_| {});
    assert_eq!(first, first_addresses(&world, &plan(&world)));
    let told = statuses(&first).into_iter().map(|write| {
        let announced = write.conditions.iter().find(|condition| condition.type_ == ANNOUNCED).unwrap();
        (write.name.name.as_str(), announced.reason.as_str())
    });
    assert_eq!(
        told.collect::<BTreeMap<_, _>>(),
        BTreeMap::from([
            ("elsewhere", "Unconfirmed"),
            ("nowhere", "Unconfirmed"),
            ("not-announced", "NotToBeAnnounced"),
            ("not-permitted", "NotPermitted"),
            ("not-ready", "Unconfirmed"),
            ("permitted", "Unconfirmed"),
        ])
    );
}

#[test]
fn an_alias_that_goes_takes_no_community_and_no_route() {
    let mut world = world();
    alias(&mut world, "quiet", "65535:65281");
    advertise(&mut world, "all", json!({"communities": ["quiet"], "localPref": 300}));
    service(&mut world, "s", 1, &[Family::V4]);
    settle(&mut world);
    remove(&mut world.communities, &ObjectName::cluster("quiet"));
    advertise(&mut world, "plain", json!({}));
    service(&mut world, "t", 2, &[Family::V4]);
    settle(&mut world);
    let routes = on(&world, "a", "192.0.2.1").unwrap();
    assert_eq!(routes.values().map(String::as_str).collect::<Vec<_>>(), ["65535:65281 lp300"; 2]);
    // One that was never known lets nothing out without it.
    advertise(&mut world, "new", json!({"communities": ["other"]}));
    for name in ["all", "plain"] {
        remove(&mut world.advertisements, &ObjectName::cluster(name));
    }
    settle(&mut world);
    assert!(prefixes(&world, "a").is_empty());
    assert_eq!(condition(&world, "s", "Announced").1, "NoAdvertisement");
    alias(&mut world, "other", "1:1");
    settle(&mut world);
    assert_eq!(on(&world, "a", "192.0.2.1").unwrap()["10.0.0.0/32"], "1:1");
}

#[test]
fn a_retained_address_leaves_nodes_that_must_not_announce_and_forgets_drains() {
    let mut world = world();
    advertise(&mut world, "all", json!({"pools": ["main"], "localPref": 300}));
    service(&mut world, "s", 1, &[Family::V4]);
    settle(&mut world);
    remove(&mut world.pools, &ObjectName::cluster("main"));
    settle(&mut world);
    assert_eq!(on(&world, "a", "192.0.2.1").unwrap()["10.0.0.0/32"], " lp300");
    edit(&mut world.nodes, &ObjectName::cluster("a"), |node| {
        node.value.withdraw_at = Some("2000-01-01T00:00:00Z".into())
    });
    settle(&mut world);
    assert_eq!(on(&world, "a", "192.0.2.1").unwrap()["10.0.0.0/32"], "65535:0 lp0");
    assert_eq!(on(&world, "b", "192.0.2.1").unwrap()["10.0.0.0/32"], " lp300");
    edit(&mut world.nodes, &ObjectName::cluster("a"), |node| node.value.withdraw_at = None);
    settle(&mut world);
    assert_eq!(on(&world, "a", "192.0.2.1").unwrap()["10.0.0.0/32"], " lp300");
    for node in ["a", "b"] {
        edit(&mut world.nodes, &ObjectName::cluster(node), |node| node.value.network_unavailable = true);
    }
    settle(&mut world);
    assert!(prefixes(&world, "a").is_empty() && prefixes(&world, "b").is_empty());
    let (_, reason, message) = condition(&world, "s", "Announced");
    assert_eq!(reason, "NoNode");
    assert!(message.contains("all 2 nodes are without network"), "{message}");
}

#[test]
fn a_retained_address_follows_its_endpoints_and_keeps_its_aggregate() {
    let mut world = world();
    advertise(&mut world, "all", json!({"pools": ["main"], "aggregationLength": 30}));
    service(&mut world, "cluster", 1, &[Family::V4]);
    service(&mut world, "local", 2, &[Family::V4]);
    local(&mut world, "local", &["a"]);
    settle(&mut world);
    remove(&mut world.pools, &ObjectName::cluster("main"));
    endpoints_on(&mut world, "local", &["b"]);
    settle(&mut world);
    assert_eq!(prefixes(&world, "a"), set(["10.0.0.0/30"]));
    assert_eq!(prefixes(&world, "b"), set(["10.0.0.0/30", "10.0.0.1/32"]));
}

#[test]
fn the_deadline_of_a_taint_is_neither_another_nor_lost() {
    let mut world = world();
    world.settings.drain_taints = vec!["going".to_owned()];
    service(&mut world, "s", 1, &[Family::V4]);
    let taint = |world: &mut World, tainted: bool| {
        edit(&mut world.nodes, &ObjectName::cluster("a"), |node| {
            let taint = Taint { key: "going".to_owned(), ..Taint::default() };
            node.value.taints = if tainted { vec![taint] } else { Vec::new() };
        });
    };
    world.now = at(1000);
    edit(&mut world.nodes, &ObjectName::cluster("a"), |node| node.value.withdraw_at = Some(at(9000).to_string()));
    settle(&mut world);
    // The time that somebody wrote on the node is not that of the taint.
    taint(&mut world, true);
    settle(&mut world);
    assert_eq!(plan(&world).wake, Some(at(1030)));
    // Whatever else happens meanwhile.
    edit(&mut world.nodes, &ObjectName::cluster("a"), |node| node.value.network_unavailable = true);
    world.now = at(1010);
    settle(&mut world);
    edit(&mut world.nodes, &ObjectName::cluster("a"), |node| {
        node.value.network_unavailable = false;
        node.value.withdraw_at = None;
    });
    settle(&mut world);
    assert_eq!(plan(&world).wake, Some(at(1030)));
    world.now = at(1030);
    settle(&mut world);
    assert!(prefixes(&world, "a").is_empty() && !prefixes(&world, "b").is_empty());
    taint(&mut world, false);
    settle(&mut world);
    taint(&mut world, true);
    settle(&mut world);
    assert_eq!(plan(&world).wake, Some(at(1060)), "a new taint, a new grace");
}

#[test]
fn while_the_router_of_a_chosen_node_is_drained_another_node_announces_too() {
    let mut world = world();
    advertise(&mut world, "all", json!({"nodeLimit": {"max": 1}}));
    racks(&mut world, &[("a", "r1"), ("b", "r2")]);
    peer(&mut world, "tor", json!({"nodeSelectors": [{"matchLabels": {"rack": "r1"}}]}));
    let rack2 = json!({"peerAddress": "192.0.2.2", "nodeSelectors": [{"matchLabels": {"rack": "r2"}}]});
    peer(&mut world, "tor-2", rack2.clone());
    service(&mut world, "s", 1, &[Family::V4]);
    settle(&mut world);
    let announcing = |world: &World| {
        let has = |host, neighbor| on(world, host, neighbor).is_some_and(|routes| !routes.is_empty());
        (has("a", "192.0.2.1"), has("b", "192.0.2.2"))
    };
    let drain = json!({"drain": {"withdrawAt": "1970-01-01T01:00:00Z"}});
    if announcing(&world).0 {
        let mut rack1 = json!({"nodeSelectors": [{"matchLabels": {"rack": "r1"}}]});
        rack1["drain"] = drain["drain"].clone();
        peer(&mut world, "tor", rack1);
    } else {
        let mut rack2 = rack2;
        rack2["drain"] = drain["drain"].clone();
        peer(&mut world, "tor-2", rack2);
    }
    settle(&mut world);
    assert_eq!(announcing(&world), (true, true));
}

#[test]
fn a_router_is_never_offered_more_than_its_fuse_lets_pass() {
    let mut world = world();
    racks(&mut world, &[("a", "r1"), ("b", "r2")]);
    peer(&mut world, "tor", json!({"maxPrefixes": 3}));
    for (rack, names) in [("r1", ["s1", "s2", "s3"]), ("r2", ["t1", "t2", "t3"])] {
        let rack = json!([{"matchLabels": {"rack": rack}}]);
        let tier = &names[0][..1];
        advertise(
            &mut world,
            tier,
            json!({"nodeSelectors": rack, "serviceSelectors": [{"matchLabels": {"tier": tier}}]}),
        );
        for (number, each) in names.iter().enumerate() {
            service(&mut world, each, i64::try_from(number).unwrap(), &[Family::V4]);
            edit(&mut world.services, &name(each), |s| drop(s.meta.labels.insert("tier".to_owned(), tier.to_owned())));
        }
    }
    remove(&mut world.advertisements, &ObjectName::cluster("all"));
    let within = |world: &World| {
        for host in ["a", "b", "c"] {
            assert!(prefixes(world, host).len() <= 3, "{host}: {:?}", prefixes(world, host));
        }
    };
    settle_watching(&mut world, within);
    let before = [prefixes(&world, "a"), prefixes(&world, "b")];
    assert_eq!(before.each_ref().map(BTreeSet::len), [3, 3]);
    // All of them everywhere would be six.
    advertise(&mut world, "all", json!({}));
    settle_watching(&mut world, within);
    assert_eq!([prefixes(&world, "a"), prefixes(&world, "b")], before, "what is there stays");
    node(&mut world, "c");
    settle_watching(&mut world, within);
    assert_eq!(prefixes(&world, "c").len(), 3);
    // An aggregate takes the place of many, and what is deleted goes.
    advertise(&mut world, "all", json!({"aggregationLength": 29}));
    remove(&mut world.advertisements, &ObjectName::cluster("s"));
    remove(&mut world.advertisements, &ObjectName::cluster("t"));
    remove(&mut world.services, &name("s1"));
    settle_watching(&mut world, within);
    for host in ["a", "b", "c"] {
        assert_eq!(prefixes(&world, host), set(["10.0.0.0/29"]), "{host}");
    }
}

#[test]
fn a_lowered_fuse_takes_nothing_even_if_a_service_changes_its_policy() {
    let mut world = world();
    for (number, each) in ["s1", "s2", "s3"].iter().enumerate() {
        service(&mut world, each, i64::try_from(number).unwrap(), &[Family::V4]);
    }
    local(&mut world, "s3", &["a"]);
    settle(&mut world);
    peer(&mut world, "tor", json!({"maxPrefixes": 2}));
    edit(&mut world.services, &name("s3"), |service| service.value.is_local = false);
    settle(&mut world);
    assert_eq!(prefixes(&world, "a").len(), 3);
    assert_eq!(prefixes(&world, "b").len(), 2);
    let findings = plan(&world).findings;
    let of_peer = findings.of(&ObjectRef::new(Kind::RouterPeer, ObjectName::cluster("tor")));
    assert!(of_peer.iter().any(|finding| finding.message.contains("maxPrefixes is 2: 1 more")), "{of_peer:?}");
}

#[test]
fn each_family_is_announced_from_where_its_own_endpoints_are() {
    let mut world = world();
    service(&mut world, "s", 1, &[Family::V4, Family::V6]);
    local(&mut world, "s", &["a"]);
    edit(&mut world.endpoint_slices, &name("s"), |slice| slice.value.family = Some(Family::V4));
    let endpoint = Endpoint { node: Some("b".into()), ready: true, ..Endpoint::default() };
    let slice = EndpointSlice { service: "s".into(), family: Some(Family::V6), endpoints: vec![endpoint] };
    put(&mut world.endpoint_slices, object(name("s-6"), 0, slice));
    settle(&mut world);
    assert_eq!(prefixes(&world, "a"), set(["10.0.0.0/32"]));
    assert_eq!(prefixes(&world, "b"), set(["2001:db8::/128"]));
    edit(&mut world.endpoint_slices, &name("s-6"), |slice| slice.value.endpoints[0].ready = false);
    settle(&mut world);
    assert_eq!((prefixes(&world, "a"), prefixes(&world, "b")), (set(["10.0.0.0/32"]), set([])));
    let (_, reason, message) = condition(&world, "s", "Announced");
    assert!(reason == "NoReadyEndpoints" && message.contains("IPv6"), "{reason}: {message}");
}

#[test]
fn a_family_that_is_not_to_be_announced_is_no_complaint() {
    let mut world = world();
    set_pool(&mut world, "main", json!({"addresses": ["10.0.0.0/29"]}));
    set_pool(&mut world, "quiet", json!({"addresses": ["2001:db8::/125"], "announce": false}));
    advertise(&mut world, "all", json!({"pools": ["main"]}));
    service(&mut world, "s", 1, &[Family::V4, Family::V6]);
    settle(&mut world);
    assert_eq!(condition(&world, "s", "Announced").1, "Unconfirmed");
    set_pool(&mut world, "quiet", json!({"addresses": ["2001:db8::/125"]}));
    settle(&mut world);
    assert_eq!(condition(&world, "s", "Announced").1, "NoAdvertisement");
    assert_eq!(prefixes(&world, "a"), set(["10.0.0.0/32"]));
}

#[test]
fn a_local_sharer_bounds_the_others_even_if_no_advertisement_fits_it() {
    let mut world = world();
    sharer(&mut world, "web", 1, 80);
    sharer(&mut world, "dns", 2, 53);
    local(&mut world, "dns", &["b"]);
    edit(&mut world.services, &name("web"), |s| drop(s.meta.labels.insert("tier".to_owned(), "edge".to_owned())));
    advertise(&mut world, "all", json!({"serviceSelectors": [{"matchLabels": {"tier": "edge"}}]}));
    settle(&mut world);
    assert_eq!((prefixes(&world, "a"), prefixes(&world, "b")), (set([]), set(["10.0.0.0/32"])));
    assert_eq!(condition(&world, "dns", "Announced").1, "NoAdvertisement");
}

#[test]
fn a_shared_address_falls_to_the_oldest_if_the_common_nodes_do_not_announce() {
    let mut world = world();
    node(&mut world, "c");
    sharer(&mut world, "web", 1, 80);
    sharer(&mut world, "dns", 2, 53);
    local(&mut world, "web", &["a", "b"]);
    local(&mut world, "dns", &["a", "c"]);
    settle(&mut world);
    assert_eq!((prefixes(&world, "a"), prefixes(&world, "b")), (set(["10.0.0.0/32"]), set([])));
    edit(&mut world.nodes, &ObjectName::cluster("a"), |node| node.value.network_unavailable = true);
    settle(&mut world);
    assert_eq!((prefixes(&world, "b"), prefixes(&world, "c")), (set(["10.0.0.0/32"]), set([])));
    assert_eq!(condition(&world, "web", "Announced").1, "Unconfirmed");
    assert_eq!(condition(&world, "dns", "Announced").1, "NotEverywhere");
}

#[test]
fn what_was_written_is_what_a_new_leader_would_write() {
    let mut world = world();
    racks(&mut world, &[("a", "r1"), ("b", "r2")]);
    service(&mut world, "s", 1, &[Family::V4, Family::V6]);
    service(&mut world, "t", 2, &[Family::V4]);
    local(&mut world, "t", &["b"]);
    settle(&mut world);
    let mut fresh = world.clone();
    for configuration in world.configurations.iter() {
        fresh.configurations.forget(&configuration.meta.name, &configuration.meta.uid);
    }
    settle(&mut fresh);
    let specs = |world: &World| {
        world.configurations.iter().map(|c| (c.meta.name.clone(), c.value.spec().clone())).collect::<Vec<_>>()
    };
    assert_eq!(specs(&fresh), specs(&world));
}

#[test]
fn how_uneven_the_load_of_local_services_is() {
    let mut world = world();
    node(&mut world, "c");
    let skews = |world: &World| {
        let skews = plan(world).skews;
        (skews.services, skews.greatest)
    };
    service(&mut world, "cluster", 1, &[Family::V4]);
    settle(&mut world);
    assert_eq!(skews(&world), ([0; 4], 0.0), "any node passes its connections on to any endpoint");

    for (service_name, nodes) in [("even", &["a", "b"][..]), ("lonely", &["a", "b", "b", "b"]), ("none", &[])] {
        service(&mut world, service_name, 2, &[Family::V4]);
        local(&mut world, service_name, nodes);
    }
    settle(&mut world);
    // The endpoint on a gets half of the connections, and would evenly get a quarter.
    assert_eq!(skews(&world), ([1, 0, 1, 0], 2.0));

    // Nothing reaches the seven endpoints on nodes that don't announce.
    advertise(&mut world, "all", json!({"nodeSelectors": [{"matchLabels": {"kubernetes.io/hostname": "c"}}]}));
    local(&mut world, "lonely", &["a", "a", "a", "b", "b", "b", "b", "c"]);
    settle(&mut world);
    assert_eq!(skews(&world), ([0, 0, 0, 1], 8.0));
}

#[test]
fn a_service_counts_by_the_family_with_the_more_uneven_load() {
    let mut world = world();
    service(&mut world, "dual", 1, &[Family::V4, Family::V6]);
    local(&mut world, "dual", &["a", "b"]);
    edit(&mut world.endpoint_slices, &name("dual"), |slice| slice.value.family = Some(Family::V4));
    let endpoint = |node: &str| Endpoint { node: Some(node.into()), ready: true, ..Endpoint::default() };
    let endpoints = ["a", "b", "b"].map(endpoint).to_vec();
    let slice = EndpointSlice { service: "dual".into(), family: Some(Family::V6), endpoints };
    put(&mut world.endpoint_slices, object(name("dual-v6"), 0, slice));
    settle(&mut world);
    assert_eq!((plan(&world).skews.services, plan(&world).skews.greatest), ([0, 1, 0, 0], 1.5));
}
