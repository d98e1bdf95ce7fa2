//! Announced means announced: what the conditions say of what FRR-K8s reports.

use std::sync::Arc;

use clarion_api::RouterPeerSpec;
use clarion_core::{
    Plan, World, Write, plan, replay,
    world::{Collection, Family, NodeState, ObjectName, Outcome, Pod, Session},
};
use serde_json::json;

use crate::cluster::*;

fn session(world: &mut World, node: &str, established: bool) {
    let (peer, pods) = ("192.0.2.1".to_owned(), vec![format!("frr-k8s-{node}")]);
    let session = Session { node: node.to_owned(), peer, vrf: String::new(), established, pods };
    put(&mut world.sessions, object(ObjectName::new("frr-k8s-system", format!("session-{node}")), 0, session));
}

fn state(world: &mut World, node: &str, failure: Option<&str>, running: &[&str]) {
    let conversion = failure.map_or(Outcome::Success, |text| Outcome::Failure(text.to_owned()));
    let running: Vec<_> = running.iter().map(|prefix| prefix.parse().unwrap()).collect();
    let state = NodeState { conversion, reload: Outcome::Success, running: Some(Arc::from(running)) };
    put(&mut world.node_states, object(ObjectName::cluster(node), 0, state));
}

fn with_service() -> World {
    let mut world = world();
    service(&mut world, "web", 1, &[Family::V4]);
    settle(&mut world);
    world
}

fn announced(world: &World) -> (String, String) {
    let (status, reason, _) = condition(world, "web", "Announced");
    (status, reason)
}

fn peer_condition(world: &World, type_: &str) -> (String, String, String) {
    let peer = world.peers.get(&ObjectName::cluster("tor")).unwrap();
    let condition = peer.value.status.as_ref().unwrap().conditions.iter().find(|c| c.type_ == type_).unwrap();
    (condition.status.clone(), condition.reason.clone(), condition.message.clone())
}

fn is(found: (String, String), status: &str, reason: &str) {
    assert_eq!((found.0.as_str(), found.1.as_str()), (status, reason));
}

/// Lands everything that a plan has now, and returns it.
fn step(world: &mut World) -> Plan {
    let plan = plan(world);
    plan.writes.iter().for_each(|write| replay::land(world, write));
    plan
}

#[test]
fn from_unknown_to_announced_and_back() {
    let mut world = with_service();
    is(announced(&world), "Unknown", "Unconfirmed");
    assert!(plan(&world).look_at.is_empty(), "no session carries it");

    session(&mut world, "a", true);
    session(&mut world, "b", true);
    let plan = step(&mut world);
    assert_eq!(plan.look_at, ["a"], "one node of an object is enough");
    is(announced(&world), "Unknown", "Unconfirmed");
    state(&mut world, "a", None, &["10.0.0.9/32"]);
    step(&mut world);
    is(announced(&world), "Unknown", "Unconfirmed");

    state(&mut world, "a", None, &["10.0.0.0/32"]);
    let plan = step(&mut world);
    is(announced(&world), "True", "Announced");
    assert_eq!(condition(&world, "web", "Announced").2, "announced: 10.0.0.0");
    assert!(plan.writes.iter().all(|write| !matches!(write, Write::ServiceStatus(write) if write.event.is_some())));
    assert!(clarion_core::plan(&world).look_at.is_empty(), "nothing is left to be found out");

    // The node's FRRNodeState was forgotten, or speaks of something else.
    remove(&mut world.node_states, &ObjectName::cluster("a"));
    assert_eq!(statuses(&step(&mut world).writes).len(), 0);

    // A node goes: nobody's business.
    session(&mut world, "a", false);
    assert_eq!(statuses(&step(&mut world).writes).len(), 0);
    let (status, reason, message) = peer_condition(&world, "SessionsEstablished");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "NoSession"));
    assert_eq!(message, "1 of 2 sessions not established: node a");

    session(&mut world, "b", false);
    let plan = step(&mut world);
    is(announced(&world), "False", "NoSession");
    let event = statuses(&plan.writes)[0].event.clone().unwrap();
    assert!(event.warning && event.message.contains("no BGP session that carries 10.0.0.0 is established"));

    session(&mut world, "b", true);
    state(&mut world, "b", None, &["10.0.0.0/32"]);
    let plan = step(&mut world);
    is(announced(&world), "True", "Announced");
    assert!(!statuses(&plan.writes)[0].event.clone().unwrap().warning);
    session(&mut world, "a", true);
    step(&mut world);
    assert_eq!(peer_condition(&world, "SessionsEstablished").1, "Established");
}

#[test]
fn what_was_announced_is_not_said_of_another_address() {
    let mut world = with_service();
    session(&mut world, "a", true);
    state(&mut world, "a", None, &["10.0.0.0/32"]);
    settle(&mut world);
    is(announced(&world), "True", "Announced");
    annotate(&mut world, "web", &[("clarionlb.io/loadBalancerIPs", "10.0.0.5")]);
    settle(&mut world);
    assert_eq!(addresses(&world, "web"), ["10.0.0.5"]);
    is(announced(&world), "Unknown", "Unconfirmed");
}

#[test]
fn what_a_daemon_refuses_is_told_in_its_words_and_not_written_again() {
    let mut world = with_service();
    session(&mut world, "a", true);
    session(&mut world, "b", true);
    state(&mut world, "b", None, &["10.0.0.0/32"]);
    settle(&mut world);
    state(&mut world, "a", Some("failed: something that nobody foresaw"), &[]);
    let plan = step(&mut world);
    assert!(configurations(&plan.writes).is_empty());
    is(announced(&world), "True", "Announced");
    let (status, reason, message) = peer_condition(&world, "Ready");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "NodeRefuses"));
    assert_eq!(message, "FRR-K8s on node a says: failed: something that nobody foresaw");
    let event = plan.writes.iter().find_map(|write| match write {
        Write::ObjectStatus(write) => write.event.clone(),
        _ => None,
    });
    assert!(event.unwrap().message.contains("nobody foresaw"));
    assert!(step(&mut world).writes.is_empty());

    state(&mut world, "b", Some("failed: this too"), &[]);
    step(&mut world);
    is(announced(&world), "False", "NodeRefuses");
    let pool = world.pools.get(&ObjectName::cluster("main")).unwrap();
    let conditions = &pool.value.status.as_ref().unwrap().conditions;
    let condition = conditions.iter().find(|c| c.type_ == "Announced").unwrap();
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "NotAnnounced"));
    assert_eq!(condition.message, "1 of 1 prefixes not announced: 10.0.0.0/32; see the Services");
}

#[test]
fn sessions_over_ipv6_are_known_in_any_spelling() {
    let mut world = with_service();
    let spec = json!({"myASN": 1, "peerASN": 2, "peerAddress": "2001:db8::1", "dualStackAddressFamily": true});
    put(&mut world.peers, custom::<RouterPeerSpec, _>("tor", spec));
    for node in ["a", "b"] {
        let peer = "2001-0db8-0000-0000-0000-0000-0000-0001".to_owned();
        let session = Session { node: node.to_owned(), peer, established: true, ..Session::default() };
        put(&mut world.sessions, object(ObjectName::new("frr-k8s-system", node), 0, session));
    }
    settle(&mut world);
    assert_eq!(peer_condition(&world, "SessionsEstablished").1, "Established");
}

#[test]
fn what_a_pod_reported_counts_as_long_as_it_is_ready() {
    let mut world = with_service();
    for node in ["a", "b"] {
        session(&mut world, node, true);
        state(&mut world, node, None, &["10.0.0.0/32"]);
    }
    settle(&mut world);
    is(announced(&world), "True", "Announced");
    let established = |world: &World| {
        let peer = world.peers.get(&ObjectName::cluster("tor")).unwrap();
        peer.value.status.as_ref().unwrap().established.unwrap()
    };
    let ready = |world: &mut World, node: &str, ready: bool| {
        let name = ObjectName::new("frr-k8s-system", format!("frr-k8s-{node}"));
        put(world.pods.get_or_insert_default(), object(name, 0, Pod { ready }));
    };
    ready(&mut world, "a", false);
    ready(&mut world, "b", true);
    settle(&mut world);
    is(announced(&world), "True", "Announced");
    assert_eq!(established(&world), 1);
    let (status, reason, message) = peer_condition(&world, "SessionsEstablished");
    is((status, reason), "Unknown", "Unconfirmed");
    assert_eq!(message, "FRR-K8s's Pod is gone or not ready on node a, so what it reported of sessions may be old");

    world.pods = Some(Collection::default());
    ready(&mut world, "a", false);
    settle(&mut world);
    is(announced(&world), "Unknown", "Unconfirmed");
    let message = condition(&world, "web", "Announced").2;
    assert!(message.contains("Pods are gone or not ready"), "{message}");
    assert_eq!(established(&world), 0);

    ready(&mut world, "a", true);
    settle(&mut world);
    is(announced(&world), "True", "Announced");
    world.pods = None;
    settle(&mut world);
    assert_eq!(established(&world), 2, "where nothing is known of Pods, reports count");
}

#[test]
fn a_session_that_is_down_is_told_before_one_of_which_nothing_new_is_heard() {
    let mut world = with_service();
    session(&mut world, "a", true);
    session(&mut world, "b", false);
    let name = ObjectName::new("frr-k8s-system", "frr-k8s-b");
    put(world.pods.get_or_insert_default(), object(name, 0, Pod { ready: true }));
    settle(&mut world);
    assert_eq!(peer_condition(&world, "SessionsEstablished").2, "1 of 2 sessions not established: node b");
}
