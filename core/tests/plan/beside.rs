//! Beside FRRConfigurations of others: what can't be merged is left out, and told, and comes back; nothing else changes.

use std::collections::{BTreeMap, BTreeSet};

use clarion_api::{LoadBalancerAdvertisementSpec, RouterPeerSpec, frr::FrrConfigurationSpec};
use clarion_core::{
    ConfigurationWrite, World, Write,
    admit::{self, Named, NodeConfig},
    plan, replay,
    world::{Configuration, Family, Kind, Object, ObjectName, ObjectRef},
};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use crate::cluster::*;

/// Puts an FRRConfiguration of somebody else into the world.
pub fn theirs(world: &mut World, namespace: &str, named: &str, spec: Value) {
    let name = ObjectName::new(namespace, named);
    let spec: FrrConfigurationSpec = serde_json::from_value(spec).unwrap();
    let value = Configuration::new(&name, &BTreeMap::new(), BTreeMap::new(), spec);
    put(&mut world.configurations, object(name, 0, value));
}

/// An FRRConfiguration with one session, for the nodes that a selector picks.
pub fn with_session(selector: Value, router: Value, neighbor: Value) -> Value {
    let mut neighbor_object = json!({"asn": 2, "address": "192.0.2.1", "dualStackAddressFamily": true});
    let mut router_object = json!({"asn": 1});
    for (object, fields) in [(&mut neighbor_object, neighbor), (&mut router_object, router)] {
        object.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    }
    router_object.as_object_mut().unwrap().insert("neighbors".to_owned(), json!([neighbor_object]));
    json!({"nodeSelector": selector, "bgp": {"routers": [router_object]}})
}

/// The FRRConfigurations that select a node.
fn selecting<'w>(world: &'w World, node: &str) -> Vec<Named<'w>> {
    let labels = &world.nodes.get(&ObjectName::cluster(node)).unwrap().meta.labels;
    let selected = |object: &&Object<Configuration>| admit::selects(object.value.spec(), labels).unwrap_or(true);
    let objects = world.configurations.iter().filter(selected);
    objects.map(|object| Named { name: &object.meta.name, spec: object.value.spec() }).collect()
}

fn merged(world: &World, node: &str) -> Result<NodeConfig, String> {
    admit::merge(selecting(world, node)).map_err(|refusal| refusal.to_string())
}

/// Where a node announces what to whom.
fn routes(world: &World, node: &str) -> BTreeMap<String, BTreeSet<String>> {
    let config = merged(world, node).unwrap();
    let neighbors = config.routers.values().flat_map(|router| &router.neighbors);
    neighbors.map(|(key, n)| (key.clone(), n.announced().map(|(prefix, _)| prefix.to_string()).collect())).collect()
}

fn ready(world: &World, peer: &str) -> (String, String, String) {
    let peer = world.peers.get(&ObjectName::cluster(peer)).unwrap();
    let condition = peer.value.status.as_ref().unwrap().conditions.iter().find(|c| c.type_ == "Ready").unwrap();
    (condition.status.clone(), condition.reason.clone(), condition.message.clone())
}

/// Two peers, of which others can be at odds with the first; one Service.
fn two_peers() -> World {
    let mut world = world();
    let spec = json!({"myASN": 1, "peerASN": 3, "peerAddress": "192.0.2.2"});
    put(&mut world.peers, custom::<RouterPeerSpec, _>("spine", spec));
    service(&mut world, "web", 1, &[Family::V4]);
    settle(&mut world);
    world
}

fn peer_with(world: &mut World, fields: Value) {
    let mut spec = json!({"myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1", "dualStackAddressFamily": true});
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    put(&mut world.peers, custom::<RouterPeerSpec, _>("tor", spec));
}

#[rstest]
#[case::asn(json!({"asn": 9}), json!({}), "asn is 9 in FRRConfiguration frr-k8s-system/user, and 2 here")]
#[case::port(json!({"port": 1179}), json!({}), "port is 1179 in FRRConfiguration frr-k8s-system/user, and 179 here")]
#[case::our_port(json!({}), json!({"peerPort": 1179}), "port is 179 in FRRConfiguration frr-k8s-system/user, and 1179 here")]
#[case::source(json!({"sourceaddress": "eth0"}), json!({}), "sourceaddress is eth0 in FRRConfiguration frr-k8s-system/user, and none here")]
#[case::password(json!({"passwordSecret": {"name": "x"}}), json!({}), "password is that of Secret x in FRRConfiguration frr-k8s-system/user, and none here")]
#[case::clear_password(json!({"password": "hidden"}), json!({"passwordSecret": {"name": "x"}}), "password is one in clear text in FRRConfiguration frr-k8s-system/user, and that of Secret x here")]
#[case::multi_hop(json!({"ebgpMultiHop": true}), json!({}), "ebgpMultiHop is true in FRRConfiguration frr-k8s-system/user, and false here")]
#[case::families(json!({"dualStackAddressFamily": false}), json!({}), "dualStackAddressFamily is IPv4 in FRRConfiguration frr-k8s-system/user, and dual stack here")]
#[case::hold(json!({"holdTime": "90s", "keepaliveTime": "30s"}), json!({}), "holdTime is 90s in FRRConfiguration frr-k8s-system/user, and 180s here")]
#[case::connect(json!({"connectTime": "10s"}), json!({}), "connectTime is 10s in FRRConfiguration frr-k8s-system/user, and 60s here")]
#[case::local_asn(json!({"localASN": 7}), json!({}), "localASN is 7 in FRRConfiguration frr-k8s-system/user, and none here")]
#[case::next_hop(json!({"toAdvertise": {"nextHop": {"ipv4": "192.0.2.7"}}}), json!({"nextHop": {"ipv4": "192.0.2.8"}}), "toAdvertise.nextHop.ipv4 is 192.0.2.7 in FRRConfiguration frr-k8s-system/user, and 192.0.2.8 here")]
#[case::evpn(json!({"addressFamilies": ["evpn"]}), json!({}), "carries EVPN alone")]
fn a_session_that_cant_be_is_left_out_alone(#[case] their: Value, #[case] our: Value, #[case] expected: &str) {
    let mut world = two_peers();
    peer_with(&mut world, our);
    settle(&mut world);
    let before = world.clone();
    // Only on one of the two nodes.
    let selector = json!({"matchLabels": {"kubernetes.io/hostname": "a"}});
    theirs(&mut world, "frr-k8s-system", "user", with_session(selector, json!({}), their));
    settle(&mut world);
    let found = routes(&world, "a");
    assert!(found["192.0.2.1"].is_empty(), "{found:?}");
    assert_eq!(found["192.0.2.2"], BTreeSet::from(["10.0.0.0/32".to_owned()]), "the other session is as it was");
    assert_eq!(routes(&world, "b"), routes(&before, "b"), "and so is the other node");
    let (status, reason, message) = ready(&world, "tor");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "ForeignConflict"), "{message}");
    assert!(message.starts_with("on node a: ") && message.contains(expected), "{message}");
    assert!(!message.contains("hidden"), "{message}");
    assert_eq!(ready(&world, "spine").1, "Valid");

    remove(&mut world.configurations, &ObjectName::new("frr-k8s-system", "user"));
    settle(&mut world);
    assert_eq!(routes(&world, "a"), routes(&before, "a"), "it comes back by itself");
    assert_eq!(ready(&world, "tor").1, "Valid");
}

#[rstest]
#[case::nothing(json!({}), json!({}), json!({}))]
#[case::defaults(json!({}), json!({"port": 179, "holdTime": "3m", "keepaliveTime": "60s", "connectTime": "1m"}), json!({}))]
#[case::bfd_of_theirs(json!({}), json!({"bfdProfile": "theirs"}), json!({}))]
#[case::what_they_receive(json!({}), json!({"toReceive": {"allowed": {"mode": "all"}}}), json!({}))]
#[case::same_hold(json!({}), json!({"holdTime": "90s", "keepaliveTime": "30s"}), json!({"holdTime": "1m30s", "keepaliveTime": "30s"}))]
#[case::same_secret(json!({}), json!({"passwordSecret": {"name": "x"}}), json!({"passwordSecret": {"name": "x"}}))]
#[case::id_of_theirs(json!({"id": "192.0.2.9"}), json!({}), json!({}))]
fn what_can_be_merged_is_nobodys_business(#[case] router: Value, #[case] their: Value, #[case] our: Value) {
    let mut world = two_peers();
    peer_with(&mut world, our);
    settle(&mut world);
    let before: Vec<_> = world.configurations.iter().cloned().collect();
    let mut spec = with_session(json!({}), router, their);
    spec["bgp"]["bfdProfiles"] = json!([{"name": "theirs"}]);
    theirs(&mut world, "frr-k8s-system", "user", spec);
    assert!(configurations(&plan(&world).writes).is_empty(), "{:?}", plan(&world).writes);
    settle(&mut world);
    assert_eq!(ready(&world, "tor").1, "Valid");
    assert_eq!(routes(&world, "a")["192.0.2.1"].len(), 1);
    let after: Vec<_> = world.configurations.iter().filter(|c| c.value.ours).cloned().collect();
    assert_eq!(after, before);
}

#[test]
fn a_router_of_another_as_keeps_all_sessions_of_its_vrf_out() {
    let mut world = two_peers();
    theirs(
        &mut world,
        "frr-k8s-system",
        "user",
        with_session(json!({}), json!({"asn": 64_999}), json!({"address": "198.51.100.1"})),
    );
    settle(&mut world);
    for peer in ["tor", "spine"] {
        let (status, reason, message) = ready(&world, peer);
        assert_eq!((status.as_str(), reason.as_str()), ("False", "ForeignConflict"), "on all of its nodes");
        assert!(
            message.contains("on nodes a, b: ") && message.contains("the router's asn is 64999 in FRRConfiguration"),
            "{message}"
        );
    }
    let (status, reason, message) = condition(&world, "web", "Announced");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "NoNode"));
    assert!(message.contains("can have no session there"), "{message}");
    assert_eq!(world.configurations.iter().filter(|c| c.value.ours).count(), 0);
}

#[rstest]
#[case::router_id(json!({"routerID": "192.0.2.8"}), json!({"id": "192.0.2.9"}), json!({}), "routerID is left out: the router's id is 192.0.2.9")]
#[case::bfd(json!({"bfd": {"detectMultiplier": 4}}), json!({}), json!({"bfdProfile": "theirs"}), "bfd is left out: bfdProfile is theirs")]
#[case::graceful_restart(json!({"enableGracefulRestart": true}), json!({}), json!({"enableGracefulRestart": false}), "enableGracefulRestart is false in FRRConfiguration")]
fn what_a_session_can_do_without_is_left_out_alone(
    #[case] our: Value,
    #[case] router: Value,
    #[case] their: Value,
    #[case] expected: &str,
) {
    let mut world = two_peers();
    peer_with(&mut world, our);
    settle(&mut world);
    let mut spec = with_session(json!({}), router, their);
    spec["bgp"]["bfdProfiles"] = json!([{"name": "theirs"}]);
    theirs(&mut world, "frr-k8s-system", "user", spec);
    settle(&mut world);
    assert_eq!(routes(&world, "a")["192.0.2.1"], BTreeSet::from(["10.0.0.0/32".to_owned()]));
    let (status, reason, message) = ready(&world, "tor");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "ForeignConflict"));
    assert!(message.contains(expected), "{message}");
}

#[test]
fn a_local_preference_of_theirs_counts_and_the_advertisement_says_so() {
    let mut world = two_peers();
    put(
        &mut world.advertisements,
        custom::<LoadBalancerAdvertisementSpec, _>("all", json!({"localPref": 200, "communities": ["1:2"]})),
    );
    service(&mut world, "other", 2, &[Family::V4]);
    let advertise = json!({"toAdvertise": {
        "allowed": {"prefixes": ["10.0.0.0/32"]},
        "withLocalPref": [{"prefixes": ["10.0.0.0/32"], "localPref": 77}],
    }});
    let spec = with_session(json!({}), json!({"prefixes": ["10.0.0.0/32"]}), advertise);
    theirs(&mut world, "frr-k8s-system", "user", spec);
    settle(&mut world);
    let config = merged(&world, "a").unwrap();
    let routes = &config.routers[""].neighbors["192.0.2.1"].routes;
    assert_eq!(routes[&"10.0.0.0/32".parse().unwrap()].local_pref, Some(77));
    assert!(routes[&"10.0.0.0/32".parse().unwrap()].communities.contains("1:2"), "the rest is as it was asked for");
    assert_eq!(routes[&"10.0.0.1/32".parse().unwrap()].local_pref, Some(200), "and so are other prefixes");
    let advertisement = world.advertisements.get(&ObjectName::cluster("all")).unwrap();
    let condition = &advertisement.value.status.as_ref().unwrap().conditions[0];
    assert_eq!(condition.reason, "ForeignConflict");
    let expected = "localPref of 10.0.0.0/32 towards tor is 77 in FRRConfiguration frr-k8s-system/user, which counts, and 200 here";
    assert!(condition.message.contains(expected), "{}", condition.message);
}

#[test]
fn their_spelling_of_an_address_is_taken() {
    let mut world = two_peers();
    put(
        &mut world.peers,
        custom::<RouterPeerSpec, _>(
            "tor",
            json!({"myASN": 1, "peerASN": 2, "peerAddress": "2001:db8::1", "dualStackAddressFamily": true}),
        ),
    );
    theirs(
        &mut world,
        "frr-k8s-system",
        "user",
        with_session(json!({}), json!({}), json!({"address": "2001:DB8:0::1"})),
    );
    settle(&mut world);
    let found = routes(&world, "a");
    assert_eq!(found["2001:DB8:0::1"].len(), 1, "{found:?}");
    assert!(!found.contains_key("2001:db8::1"));
}

#[test]
fn an_object_in_another_namespace_keeps_out_what_is_new_and_harms_nothing_else() {
    let mut world = two_peers();
    let before = routes(&world, "a");
    theirs(&mut world, "elsewhere", "user", with_session(json!({}), json!({}), json!({"asn": 9})));
    let elsewhere = json!({"address": "192.0.2.3", "asn": 9, "dualStackAddressFamily": false});
    theirs(&mut world, "elsewhere", "more", with_session(json!({}), json!({}), elsewhere));
    let late = json!({"myASN": 1, "peerASN": 3, "peerAddress": "192.0.2.3"});
    put(&mut world.peers, custom::<RouterPeerSpec, _>("late", late));
    settle(&mut world);
    assert_eq!(ready(&world, "tor").1, "Valid", "the daemons don't read it");
    let ours = world.configurations.iter().find(|c| c.value.ours).unwrap();
    assert_eq!(ours.value.layer.content.prefixes().count(), before.len());
    let (_, reason, message) = ready(&world, "late");
    assert_eq!(reason, "ForeignConflict", "the webhook would refuse everything");
    assert!(message.contains("asn is 9 in FRRConfiguration elsewhere/more, and 3 here"), "{message}");

    // The webhook has refused something all the same.
    let refused = ObjectRef::new(Kind::FRRConfiguration, ours.meta.name.clone());
    world.refused.insert(refused.clone(), "no".to_owned());
    service(&mut world, "more", 2, &[Family::V4]);
    settle(&mut world);
    world.refused.clear();
    settle(&mut world);
    let (_, reason, message) = ready(&world, "tor");
    assert_eq!(reason, "ForeignConflict", "and so it goes on without this one");
    assert!(message.contains("asn is 9 in FRRConfiguration elsewhere/user, and 2 here"), "{message}");
}

#[rstest]
#[case::selector(json!({"nodeSelector": {"matchExpressions": [{"key": "x", "operator": "In", "values": []}]}}), "nodeSelector that can't be parsed")]
#[case::undecodable(with_session(json!({"matchLabels": {"no": "node"}}), json!({}), json!({"holdTime": "soon", "keepaliveTime": "1s"})), "\"soon\" can't be decoded")]
fn what_stops_every_daemon_is_theirs(#[case] spec: Value, #[case] expected: &str) {
    let mut world = two_peers();
    let before = world.clone();
    theirs(&mut world, "frr-k8s-system", "user", spec);
    service(&mut world, "late", 2, &[Family::V4]);
    let plan = plan(&world);
    assert!(configurations(&plan.writes).is_empty(), "the webhook would refuse anything");
    settle(&mut world);
    let (status, reason, message) = ready(&world, "tor");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "ForeignFault"));
    assert!(message.contains(expected) && message.contains("frr-k8s-system/user"), "{message}");
    remove(&mut world.configurations, &ObjectName::new("frr-k8s-system", "user"));
    settle(&mut world);
    assert_eq!(ready(&world, "tor").1, "Valid");
    assert_eq!(routes(&world, "a")["192.0.2.1"].len(), routes(&before, "a")["192.0.2.1"].len() + 1);
}

#[test]
fn a_node_that_others_broke_keeps_what_it_has_while_others_go_on() {
    let mut world = two_peers();
    let here = json!({"matchLabels": {"kubernetes.io/hostname": "a"}});
    theirs(
        &mut world,
        "frr-k8s-system",
        "one",
        with_session(here.clone(), json!({}), json!({"address": "198.51.100.1", "port": 1})),
    );
    theirs(
        &mut world,
        "frr-k8s-system",
        "two",
        with_session(here, json!({}), json!({"address": "198.51.100.1", "port": 2})),
    );
    settle(&mut world);
    let (status, reason, message) = ready(&world, "tor");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "ForeignFault"));
    assert!(
        message
            .contains("on node a: FRRConfigurations frr-k8s-system/one and frr-k8s-system/two are at odds over port"),
        "{message}"
    );
    let selected = |world: &World| selecting(world, "a").iter().filter(|n| n.name.name.starts_with("clarion-")).count();
    assert_eq!(selected(&world), 1, "nothing had to change, so it keeps what it has");

    service(&mut world, "late", 2, &[Family::V4]);
    settle(&mut world);
    assert_eq!(routes(&world, "b")["192.0.2.1"].len(), 2, "the other node goes on");

    remove(&mut world.configurations, &ObjectName::new("frr-k8s-system", "two"));
    settle(&mut world);
    assert_eq!(routes(&world, "a")["192.0.2.1"].len(), 2, "mended, the node has everything");
}

#[rstest]
#[case::at_rest(json!({}))]
#[case::parked(json!({"holdTime": "9s", "keepaliveTime": "3s"}))]
fn what_nobody_is_at_odds_with_stays_while_a_node_yields(#[case] our: Value) {
    let mut world = two_peers();
    service(&mut world, "local", 2, &[Family::V4]);
    let name = ObjectName::new("ns", "local");
    edit(&mut world.services, &name, |service| service.value.is_local = true);
    edit(&mut world.endpoint_slices, &name, |slice| {
        slice.value.endpoints.iter_mut().for_each(|endpoint| endpoint.node = Some("a".into()));
    });
    peer_with(&mut world, json!({}));
    settle(&mut world);
    let before = routes(&world, "a")["192.0.2.2"].clone();
    assert_eq!(before.len(), 2);
    let selector = json!({"matchLabels": {"rack": "1"}});
    theirs(&mut world, "frr-k8s-system", "user", with_session(selector, json!({}), json!({"port": 1179})));
    peer_with(&mut world, our);
    let is_parked = |world: &World| world.configurations.iter().any(|c| c.meta.name.name.starts_with("clarion-park-"));
    let mut labelled = false;
    for round in 0.. {
        assert!(round < 30, "it does not settle");
        let writes = plan(&world).writes;
        // With base and overlay in one parking object, if the change takes that.
        if !labelled && (is_parked(&world) || configurations(&writes).is_empty()) {
            labelled = true;
            edit(&mut world.nodes, &ObjectName::cluster("a"), |node| {
                node.meta.labels.insert("rack".to_owned(), "1".to_owned());
            });
            assert!(merged(&world, "a").is_err());
            continue;
        }
        if writes.is_empty() {
            break;
        }
        for write in &writes {
            if webhook(&world, write).is_err() {
                continue;
            }
            replay::land(&mut world, write);
            if merged(&world, "a").is_ok() {
                assert_eq!(routes(&world, "a").get("192.0.2.2"), Some(&before), "after {write:?}");
            }
        }
    }
    assert!(labelled && routes(&world, "a")["192.0.2.1"].is_empty());
}

mod adoption {
    use super::*;

    fn adopting(world: &mut World, fields: Value) {
        let mut spec = json!({"peerAddress": "192.0.2.1", "adoptSession": {}});
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        put(&mut world.peers, custom::<RouterPeerSpec, _>("tor", spec));
    }

    #[test]
    fn takes_every_parameter_on_each_node_and_follows() {
        let mut world = world();
        service(&mut world, "web", 1, &[Family::V4]);
        adopting(&mut world, json!({}));
        settle(&mut world);
        let (status, reason, message) = ready(&world, "tor");
        assert_eq!((status.as_str(), reason.as_str()), ("False", "NothingToAdopt"));
        assert!(
            message.contains("on nodes a, b: no FRRConfiguration of others that counts has a session with 192.0.2.1"),
            "{message}"
        );

        let on = |host: &str| json!({"matchLabels": {"kubernetes.io/hostname": host}});
        let neighbor = |port: u16| {
            json!({
                "port": port, "sourceaddress": "eth0", "passwordSecret": {"name": "s"}, "holdTime": "9s", "keepaliveTime": "3s",
                "connectTime": "5s", "ebgpMultiHop": true, "bfdProfile": "theirs", "enableGracefulRestart": true, "localASN": 7,
            })
        };
        for (host, asn, port) in [("a", 11, 1001), ("b", 12, 1002)] {
            let mut spec = with_session(on(host), json!({"asn": asn}), neighbor(port));
            spec["bgp"]["bfdProfiles"] = json!([{"name": "theirs"}]);
            theirs(&mut world, "frr-k8s-system", host, spec);
        }
        settle(&mut world);
        assert_eq!(ready(&world, "tor").1, "Valid", "{}", ready(&world, "tor").2);
        for (host, asn, port) in [("a", 11, 1001), ("b", 12, 1002)] {
            let config = merged(&world, host).unwrap();
            assert_eq!(config.routers[""].asn, asn);
            let neighbor = &config.routers[""].neighbors["192.0.2.1"];
            assert_eq!((neighbor.parameters.port, neighbor.parameters.hold_time), (port, 9));
            assert_eq!(neighbor.graceful_restart, Some(true));
            assert_eq!(neighbor.bfd_profile.as_deref(), Some("theirs"));
            assert_eq!(neighbor.announced().count(), 1);
        }
        let names: BTreeSet<String> =
            world.configurations.iter().filter(|c| c.value.ours).map(|c| c.meta.name.name.to_string()).collect();

        // The user suspends Clarion's part, edits, and resumes.
        adopting(&mut world, json!({"suspend": true}));
        settle(&mut world);
        assert_eq!(world.configurations.iter().filter(|c| c.value.ours).count(), 0);
        theirs(&mut world, "frr-k8s-system", "a", with_session(on("a"), json!({"asn": 11}), json!({"port": 2001})));
        adopting(&mut world, json!({}));
        settle(&mut world);
        let config = merged(&world, "a").unwrap();
        assert_eq!(config.routers[""].neighbors["192.0.2.1"].parameters.port, 2001);
        assert_eq!(config.routers[""].neighbors["192.0.2.1"].announced().count(), 1);
        let after: BTreeSet<String> =
            world.configurations.iter().filter(|c| c.value.ours).map(|c| c.meta.name.name.to_string()).collect();
        assert_eq!(after, names, "the objects keep their names");
    }

    #[test]
    fn follows_an_edit_that_no_webhook_refused() {
        let mut world = world();
        service(&mut world, "web", 1, &[Family::V4]);
        theirs(&mut world, "frr-k8s-system", "user", with_session(json!({}), json!({}), json!({})));
        adopting(&mut world, json!({}));
        settle(&mut world);
        theirs(&mut world, "frr-k8s-system", "user", with_session(json!({}), json!({}), json!({"port": 2001})));
        settle(&mut world);
        assert_eq!(routes(&world, "a")["192.0.2.1"].len(), 1);
    }

    #[rstest]
    #[case::clear_password(json!({}), json!({"password": "hidden"}), "in clear text")]
    #[case::labels(json!({"adoptSession": {"selector": {"matchLabels": {"adopt": "me"}}}}), json!({}), "no FRRConfiguration of others that counts")]
    #[case::vrf(json!({"vrf": "red"}), json!({}), "in VRF red")]
    fn tells_what_cant_be_adopted(#[case] our: Value, #[case] their: Value, #[case] expected: &str) {
        let mut world = world();
        theirs(&mut world, "frr-k8s-system", "user", with_session(json!({}), json!({}), their));
        adopting(&mut world, our);
        settle(&mut world);
        let (status, reason, message) = ready(&world, "tor");
        assert_eq!((status.as_str(), reason.as_str()), ("False", "NothingToAdopt"));
        assert!(message.contains(expected) && !message.contains("hidden"), "{message}");
    }

    #[test]
    fn of_another_namespace_nothing_is_adopted() {
        let mut world = world();
        world.settings.frr_k8s_namespace = Some("frr-k8s-system".to_owned());
        theirs(&mut world, "elsewhere", "user", with_session(json!({}), json!({}), json!({})));
        adopting(&mut world, json!({}));
        settle(&mut world);
        assert_eq!(ready(&world, "tor").1, "NothingToAdopt");
    }

    #[test]
    fn fields_that_the_adopted_session_has_are_told_of() {
        let mut world = world();
        theirs(&mut world, "frr-k8s-system", "user", with_session(json!({}), json!({}), json!({})));
        adopting(&mut world, json!({"myASN": 5, "holdTime": "9s", "keepaliveTime": "3s"}));
        settle(&mut world);
        let (status, reason, message) = ready(&world, "tor");
        assert_eq!((status.as_str(), reason.as_str()), ("True", "InvalidValue"));
        assert!(message.contains("myASN, holdTime, keepaliveTime are not looked at"), "{message}");
    }
}

/// What FRR-K8s's webhook says to a write: all that selects a node which the object is for must merge.
fn webhook(world: &World, write: &Write) -> Result<(), String> {
    let Write::Configuration(
        ConfigurationWrite::Create { name, layer, .. } | ConfigurationWrite::Update { name, layer, .. },
    ) = write
    else {
        return Ok(());
    };
    let spec = {
        let mut spec = layer.spec();
        spec.set_defaults();
        spec
    };
    for node in world.nodes.iter().filter(|node| admit::selects(&spec, &node.meta.labels).unwrap()) {
        let mut objects = vec![Named { name, spec: &spec }];
        for other in world.configurations.iter().filter(|other| other.meta.name.name != name.name) {
            match admit::selects(other.value.spec(), &node.meta.labels) {
                Ok(true) => objects.push(Named { name: &other.meta.name, spec: other.value.spec() }),
                Ok(false) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        admit::merge(objects).map_err(|refusal| format!("{}: {refusal}", node.meta.name))?;
    }
    Ok(())
}

/// A user's FRRConfiguration: for all nodes or one, for a session of ours or another, with something that may be at odds.
fn their_spec() -> impl Strategy<Value = Value> {
    let selector = prop_oneof![
        Just(json!({})),
        Just(json!({"matchLabels": {"kubernetes.io/hostname": "a"}})),
        Just(json!({"matchLabels": {"kubernetes.io/hostname": "b"}})),
        Just(json!({"matchLabels": {"rack": "1"}})),
    ];
    let router = prop_oneof![
        4 => Just(json!({})),
        1 => Just(json!({"asn": 9})),
        1 => Just(json!({"id": "192.0.2.9"})),
    ];
    let neighbor = prop_oneof![
        2 => Just(json!({})),
        1 => Just(json!({"asn": 9})),
        1 => Just(json!({"port": 1179})),
        1 => Just(json!({"holdTime": "9s", "keepaliveTime": "3s"})),
        1 => Just(json!({"address": "192.0.2.2", "dualStackAddressFamily": false})),
        1 => Just(json!({"address": "192.0.2.2", "dualStackAddressFamily": false, "asn": 3})),
        1 => Just(json!({"address": "198.51.100.1", "port": 7})),
        1 => Just(json!({"bfdProfile": "theirs"})),
        1 => Just(json!({"toAdvertise": {"allowed": {"prefixes": ["10.0.0.0/32"]}, "withLocalPref": [{"prefixes": ["10.0.0.0/32"], "localPref": 77}]}})),
    ];
    (selector, router, neighbor).prop_map(|(selector, router, neighbor)| {
        let mut spec = with_session(selector, router, neighbor);
        spec["bgp"]["routers"][0]["prefixes"] = json!(["10.0.0.0/32"]);
        spec["bgp"]["bfdProfiles"] = json!([{"name": "theirs"}]);
        spec
    })
}

#[derive(Clone, Debug)]
enum Event {
    Theirs(u8, Option<Value>),
    Rack(bool),
    Service(u8, bool),
    Peer(u8),
    Endpoints(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => (0..3_u8, prop::option::of(their_spec())).prop_map(|(n, spec)| Event::Theirs(n, spec)),
        1 => any::<bool>().prop_map(Event::Rack),
        2 => (0..3_u8, any::<bool>()).prop_map(|(n, there)| Event::Service(n, there)),
        2 => (0..5_u8).prop_map(Event::Peer),
        1 => any::<u8>().prop_map(Event::Endpoints),
    ]
}

fn happen(world: &mut World, event: &Event) {
    match event {
        Event::Theirs(n, spec) => {
            let name = ObjectName::new("frr-k8s-system", format!("user-{n}"));
            match spec {
                Some(spec) => theirs(world, "frr-k8s-system", &name.name, spec.clone()),
                None if world.configurations.get(&name).is_some() => remove(&mut world.configurations, &name),
                None => {}
            }
        }
        Event::Rack(there) => edit(&mut world.nodes, &ObjectName::cluster("b"), |node| {
            match there {
                true => node.meta.labels.insert("rack".to_owned(), "1".to_owned()),
                false => node.meta.labels.remove("rack"),
            };
        }),
        Event::Service(n, there) => {
            let named = format!("s{n}");
            let name = ObjectName::new("ns", &named);
            match (there, world.services.get(&name).is_some()) {
                (true, false) => service(world, &named, i64::from(*n), &[Family::V4]),
                (false, true) => remove(&mut world.services, &name),
                _ => {}
            }
        }
        Event::Peer(0) => peer_with(world, json!({"peerPort": 1179})),
        Event::Peer(1) => peer_with(world, json!({"routerID": "192.0.2.8"})),
        Event::Peer(2) => peer_with(world, json!({"bfd": {"detectMultiplier": 4}})),
        Event::Peer(3) => put(
            &mut world.peers,
            custom::<RouterPeerSpec, _>("tor", json!({"peerAddress": "192.0.2.1", "adoptSession": {}})),
        ),
        Event::Peer(_) => peer_with(world, json!({})),
        Event::Endpoints(nodes) => {
            let Some(service) = world.services.get(&ObjectName::new("ns", "s0")) else { return };
            let name = service.meta.name.clone();
            edit(&mut world.services, &name, |service| service.value.is_local = true);
            edit(&mut world.endpoint_slices, &name, |slice| {
                for (endpoint, node) in slice.value.endpoints.iter_mut().zip(["a", "b"]) {
                    endpoint.node = Some(node.into());
                    endpoint.ready = nodes & 1 == 1;
                }
            });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Whatever others write, past the webhook or not, and whatever changes: the webhook takes our writes in the end, nodes
    /// that others did not break themselves merge, and what can be announced is.
    #[test]
    fn every_node_heals(rounds in prop::collection::vec((prop::collection::vec(event(), 1..4), any::<u64>()), 1..5)) {
        let mut world = two_peers();
        for (events, order) in rounds {
            for event in &events {
                happen(&mut world, event);
            }
            let mut refused_in_a_row = 0;
            for round in 0_u64.. {
                prop_assert!(round < 100, "it does not settle: {:?}", plan(&world).writes);
                let mut writes = plan(&world).writes;
                if writes.is_empty() {
                    break;
                }
                let key = |text: String| text.bytes().fold(order ^ round, |h, b| h.rotate_left(5) ^ u64::from(b));
                writes.sort_by_key(|write| key(format!("{:?}", write.object())));
                let mut landed = 0;
                let mut why = String::new();
                for write in &writes {
                    match webhook(&world, write) {
                        Ok(()) => { replay::land(&mut world, write); landed += 1; }
                        Err(refusal) => why = format!("{refusal}: {write:?}"),
                    }
                }
                refused_in_a_row = if landed == 0 { refused_in_a_row + 1 } else { 0 };
                prop_assert!(refused_in_a_row < 2, "nothing is accepted any more: {why}");
            }
            for node in ["a", "b"] {
                let theirs = selecting(&world, node).into_iter().filter(|named| !named.name.name.starts_with("clarion-"));
                if admit::merge(theirs).is_err() {
                    continue;
                }
                let outcome = merged(&world, node);
                prop_assert!(outcome.is_ok(), "{node}: {}", outcome.unwrap_err());
            }
        }
    }
}
