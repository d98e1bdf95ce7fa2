//! Secrets with passwords: tried on one node, taken back where a daemon complains, tried again.

use clarion_api::{RouterPeerSpec, Timestamp, peer::SecretState};
use clarion_core::{
    Plan, World, plan, replay,
    world::{Collection, Family, NodeState, ObjectName, Outcome, Secret},
};
use serde_json::json;

use crate::{
    beside::{theirs, with_session},
    cluster::*,
};

const BAD: &str = "failed: secret tor-1 not found for neighbor 192.0.2.1";

fn peer(world: &mut World, secret: Option<&str>) {
    let mut spec = json!({"myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1", "dualStackAddressFamily": true});
    if let Some(name) = secret {
        spec["passwordSecret"] = json!({"name": name});
    }
    let mut object = custom::<RouterPeerSpec, _>("tor", spec);
    if let Some(known) = world.peers.get(&object.meta.name) {
        object.value.status.clone_from(&known.value.status);
        object.meta.generation = Some(known.meta.generation.unwrap_or_default() + 1);
    }
    put(&mut world.peers, object);
}

fn says(world: &mut World, node: &str, failure: Option<&str>) {
    let conversion = failure.map_or(Outcome::Success, |text| Outcome::Failure(text.to_owned()));
    let state = NodeState { conversion, ..NodeState::default() };
    put(&mut world.node_states, object(ObjectName::cluster(node), 0, state));
}

/// Three nodes with daemons that are well, a peer, a Service.
fn start(secret: Option<&str>) -> World {
    let mut world = world();
    node(&mut world, "c");
    for node in ["a", "b", "c"] {
        says(&mut world, node, None);
    }
    peer(&mut world, secret);
    service(&mut world, "web", 1, &[Family::V4]);
    world.now = Timestamp::from_second(1000).unwrap();
    settle(&mut world);
    world
}

fn pass(world: &mut World, seconds: i64) {
    world.now = Timestamp::from_second(world.now.as_second() + seconds).unwrap();
    settle(world);
}

/// The Secret of the session on each node; `-` where there is no session.
fn secrets(world: &World) -> String {
    let of = |node: &str| {
        let ours = world.configurations.iter().filter(|c| c.value.layer.hosts.contains(node));
        let sessions = ours.filter_map(|c| c.value.layer.content.session("", "192.0.2.1"));
        let secrets: Vec<_> = sessions
            .map(|session| {
                session.neighbor.password_secret.as_ref().and_then(|s| s.name.clone()).unwrap_or("none".to_owned())
            })
            .collect();
        secrets.first().cloned().unwrap_or("-".to_owned())
    };
    ["a", "b", "c"].map(of).join(" ")
}

fn state(world: &World) -> SecretState {
    let peer = world.peers.get(&ObjectName::cluster("tor")).unwrap();
    peer.value.status.as_ref().unwrap().password_secret.as_ref().unwrap().state
}

fn ready(world: &World) -> (String, String) {
    let peer = world.peers.get(&ObjectName::cluster("tor")).unwrap();
    let condition = &peer.value.status.as_ref().unwrap().conditions[0];
    (condition.reason.clone(), condition.message.clone())
}

#[test]
fn a_new_secret_goes_to_one_node_and_then_to_the_rest() {
    let mut world = start(Some("tor-1"));
    assert_eq!(secrets(&world), "tor-1 - -");
    assert_eq!(ready(&world).0, "SecretOnTrial");
    assert_eq!(plan(&world).wake, Some(Timestamp::from_second(1005).unwrap()));
    pass(&mut world, 4);
    assert_eq!(secrets(&world), "tor-1 - -");
    pass(&mut world, 1);
    assert_eq!((secrets(&world).as_str(), state(&world)), ("tor-1 tor-1 tor-1", SecretState::Verified));
    assert_eq!(ready(&world).0, "Valid");
    assert_eq!(plan(&world).wake, None);
}

#[test]
fn nothing_is_on_trial_before_that_is_on_record() {
    let mut world = world();
    says(&mut world, "a", None);
    peer(&mut world, Some("tor-1"));
    let Plan { writes, .. } = plan(&world);
    assert!(configurations(&writes).is_empty());
    writes.iter().for_each(|write| replay::land(&mut world, write));
    assert_eq!(configurations(&plan(&world).writes).len(), 1);
}

#[test]
fn a_secret_that_cant_be_used_is_taken_back_at_once_and_tried_again_after_a_minute() {
    let mut world = start(Some("tor-1"));
    says(&mut world, "a", Some(BAD));
    settle(&mut world);
    assert_eq!((secrets(&world).as_str(), state(&world)), ("- - -", SecretState::Refused));
    let (reason, message) = ready(&world);
    assert_eq!(reason, "PasswordSecret");
    assert!(
        message.contains("on nodes a, b, c: Secret tor-1 can't be used, FRR-K8s says: failed: secret tor-1 not found"),
        "{message}"
    );

    // Without the session the daemon is well again. That says nothing of the Secret.
    says(&mut world, "a", None);
    pass(&mut world, 30);
    assert_eq!(secrets(&world), "- - -");
    assert_eq!(ready(&world).0, "PasswordSecret");
    pass(&mut world, 30);
    assert_eq!(secrets(&world), "tor-1 - -", "tried again");
    assert_eq!(ready(&world).0, "PasswordSecret", "and still told");
    pass(&mut world, 5);
    assert_eq!(secrets(&world), "tor-1 tor-1 tor-1");
    assert_eq!(ready(&world).0, "Valid");
}

#[test]
fn a_peer_that_is_changed_is_tried_anew() {
    let mut world = start(Some("tor-1"));
    says(&mut world, "a", Some(BAD));
    settle(&mut world);
    says(&mut world, "a", None);
    pass(&mut world, 1);
    peer(&mut world, Some("tor-1"));
    settle(&mut world);
    assert_eq!(secrets(&world), "tor-1 - -");
}

#[test]
fn a_changed_reference_goes_to_one_node_first_and_the_others_keep_what_they_have() {
    let mut world = start(None);
    assert_eq!(secrets(&world), "none none none");
    peer(&mut world, Some("tor-1"));
    settle(&mut world);
    assert_eq!(secrets(&world), "tor-1 none none");
    pass(&mut world, 5);
    assert_eq!(secrets(&world), "tor-1 tor-1 tor-1");
    peer(&mut world, Some("tor-2"));
    settle(&mut world);
    assert_eq!(secrets(&world), "tor-2 tor-1 tor-1");
    says(&mut world, "a", Some("failed: secret type mismatch on \"frr-k8s-system\"/\"tor-2\", type \"x\" is expected"));
    settle(&mut world);
    assert_eq!(secrets(&world), "- tor-1 tor-1", "only the one that tried it has to go without");
    says(&mut world, "a", None);
    peer(&mut world, Some("tor-1"));
    settle(&mut world);
    pass(&mut world, 5);
    assert_eq!(secrets(&world), "tor-1 tor-1 tor-1");
}

#[test]
fn a_secret_that_breaks_later_takes_the_session_off_where_that_is_seen() {
    let mut world = start(Some("tor-1"));
    pass(&mut world, 5);
    says(&mut world, "b", Some(BAD));
    settle(&mut world);
    assert_eq!(secrets(&world), "tor-1 - tor-1");
    says(&mut world, "b", None);
    pass(&mut world, 10);
    assert_eq!(secrets(&world), "tor-1 - tor-1", "not before it is tried again");
    pass(&mut world, 50);
    pass(&mut world, 5);
    assert_eq!(secrets(&world), "tor-1 tor-1 tor-1");
}

#[test]
fn other_failures_of_a_daemon_are_not_taken_for_the_secrets() {
    let mut world = start(Some("tor-1"));
    pass(&mut world, 5);
    for text in ["failed: secret tor-12 not found for neighbor x", "failed: multiple asns", "failed: tor-1"] {
        says(&mut world, "b", Some(text));
        settle(&mut world);
        assert_eq!(secrets(&world), "tor-1 tor-1 tor-1", "{text}");
    }
}

#[test]
fn where_the_names_of_secrets_may_be_known_a_missing_one_is_never_tried() {
    let mut world = start(None);
    world.secrets = Some(Collection::default());
    peer(&mut world, Some("tor-1"));
    settle(&mut world);
    assert_eq!(secrets(&world), "none none none");
    assert!(
        ready(&world)
            .1
            .contains("there is no Secret tor-1 of type kubernetes.io/basic-auth in the namespace frr-k8s-system")
    );
    let name = ObjectName::new("frr-k8s-system", "tor-1");
    put(world.secrets.as_mut().unwrap(), object(name.clone(), 0, Secret));
    settle(&mut world);
    assert_eq!(secrets(&world), "tor-1 none none", "it is there now, and tried at once");
    says(&mut world, "a", Some(BAD));
    settle(&mut world);
    assert_eq!(secrets(&world), "- none none");
    says(&mut world, "a", None);
    pass(&mut world, 1);
    assert_eq!(secrets(&world), "- none none");
    put(world.secrets.as_mut().unwrap(), object(name, 0, Secret));
    settle(&mut world);
    assert_eq!(secrets(&world), "tor-1 none none", "its content was changed");
}

#[test]
fn without_daemons_that_report_nobody_waits() {
    let mut world = world();
    peer(&mut world, Some("tor-1"));
    settle(&mut world);
    assert_eq!(secrets(&world), "tor-1 tor-1 -");
    assert_eq!(state(&world), SecretState::Verified);
}

#[test]
fn it_is_not_tried_where_others_keep_the_session_out() {
    let mut world = start(None);
    let here = json!({"matchLabels": {"kubernetes.io/hostname": "a"}});
    theirs(&mut world, "frr-k8s-system", "user", with_session(here, json!({}), json!({"password": "theirs"})));
    peer(&mut world, Some("tor-1"));
    settle(&mut world);
    assert_eq!(secrets(&world), "- tor-1 none");
    pass(&mut world, 5);
    assert_eq!(secrets(&world), "- tor-1 tor-1");
}
