//! What an edit of the configuration would take from a router waits until somebody agrees; what nodes, endpoints and Services
//! take away goes at once.

use clarion_api::{LoadBalancerAdvertisementSpec, RouterPeerSpec, names};
use clarion_core::{
    Brake, ConfigurationWrite, World, Write, admit, plan, replay,
    world::{Collection, DrainAll, Family, Kind, Layer, ObjectName, Secret},
};
use rstest::rstest;
use serde_json::{Value, json};

use crate::{beside::theirs, cluster::*};

/// Two nodes, two peers, twenty Services, of which ten have the label `tier: gold`.
fn announcing() -> World {
    let mut world = world();
    pool(&mut world, "main", &["10.0.0.0/26"]);
    let second = json!({"myASN": 1, "peerASN": 3, "peerAddress": "192.0.2.2"});
    put(&mut world.peers, custom::<RouterPeerSpec, _>("second", second));
    for n in 0..20 {
        let name = format!("s{n:02}");
        service(&mut world, &name, n, &[Family::V4]);
        edit(&mut world.services, &ObjectName::new("ns", name), |service| {
            let tier = if n < 10 { "gold" } else { "silver" };
            service.meta.labels.insert("tier".into(), tier.into());
        });
    }
    settle(&mut world);
    assert_eq!(announced(&world).len(), 20);
    world
}

fn advertise(world: &mut World, spec: Value) {
    edit_spec(&mut world.advertisements, custom::<LoadBalancerAdvertisementSpec, _>("all", spec));
}

fn peer(world: &mut World, spec: Value) {
    edit_spec(&mut world.peers, custom::<RouterPeerSpec, _>("tor", spec));
}

/// How many prefixes the nodes announce to each router.
fn told(world: &World) -> [usize; 2] {
    ["192.0.2.1", "192.0.2.2"].map(|router| {
        let layers = world.configurations.iter().map(|c| &c.value.layer);
        let sessions = layers.filter_map(|layer| layer.content.session("", router));
        sessions.flat_map(|session| session.routes.keys()).collect::<std::collections::BTreeSet<_>>().len()
    })
}

const TOR: &str = "192.0.2.1";

fn tor() -> Value {
    json!({"myASN": 1, "peerASN": 2, "peerAddress": TOR, "dualStackAddressFamily": true})
}

fn with(mut spec: Value, field: &str, value: Value) -> Value {
    spec[field] = value;
    spec
}

type Edit = fn(&mut World);

/// Edits by which a router would lose all that it has, and how many prefixes each router still has while they wait.
#[rstest]
#[case::no_advertisement(|w: &mut World| remove(&mut w.advertisements, &ObjectName::cluster("all")))]
#[case::another_pool(|w: &mut World| advertise(w, json!({"pools": ["other"]})))]
#[case::other_services(|w: &mut World| advertise(w, json!({"serviceSelectors": [{"matchLabels": {"tier": "bronze"}}]})))]
#[case::no_node_of_the_advertisement(|w: &mut World| advertise(w, json!({"nodeSelectors": [{"matchLabels": {"rack": "nine"}}]})))]
#[case::an_invalid_advertisement(|w: &mut World| advertise(w, json!({"communities": ["nonsense"]})))]
#[case::another_peer(|w: &mut World| advertise(w, json!({"peers": ["second"]})))]
#[case::no_peer(|w: &mut World| remove(&mut w.peers, &ObjectName::cluster("tor")))]
#[case::no_peer_at_all(|w: &mut World| {
    remove(&mut w.peers, &ObjectName::cluster("tor"));
    remove(&mut w.peers, &ObjectName::cluster("second"));
})]
#[case::no_node_of_the_peer(|w: &mut World| peer(w, with(tor(), "nodeSelectors", json!([{"matchLabels": {"rack": "nine"}}]))))]
#[case::another_router(|w: &mut World| peer(w, with(tor(), "peerAddress", json!("192.0.2.9"))))]
#[case::another_vrf(|w: &mut World| peer(w, with(tor(), "vrf", json!("red"))))]
#[case::an_invalid_peer(|w: &mut World| peer(w, with(tor(), "holdTime", json!("soon"))))]
#[case::a_pool_without_announcements(|w: &mut World| {
    edit_spec(&mut w.pools, custom::<clarion_api::LoadBalancerPoolSpec, _>("main", json!({"addresses": ["10.0.0.0/26"], "announce": false})));
})]
#[case::everything(|w: &mut World| {
    remove(&mut w.advertisements, &ObjectName::cluster("all"));
    remove(&mut w.peers, &ObjectName::cluster("tor"));
    remove(&mut w.peers, &ObjectName::cluster("second"));
    remove(&mut w.pools, &ObjectName::cluster("main"));
})]
fn what_an_edit_would_take_away_waits(#[case] edit: Edit) {
    let mut world = announcing();
    let before = world.clone();
    edit(&mut world);
    let waiting = plan(&world).held.unwrap();
    assert!(waiting.withdrawals.iter().any(|w| w.router == TOR && w.prefixes.len() == 20 && w.announced == 20));
    settle_watching(&mut world, |world| assert_eq!(told(world), [20, 20]));
    assert_eq!(plan(&world).held.as_ref(), Some(&waiting), "it goes on to wait");
    let held = world.configurations.iter().filter(|c| c.value.annotations.contains_key(names::HELD_ANNOTATION)).count();
    assert!(held > 0);

    // What is put back takes nothing away, and then nothing waits.
    let mut restored = world.clone();
    restored.advertisements = before.advertisements.clone();
    restored.peers = before.peers.clone();
    restored.pools = before.pools.clone();
    settle_watching(&mut restored, |world| assert_eq!(told(world), [20, 20]));
    assert_eq!(plan(&restored).held, None);
    assert!(restored.configurations.iter().all(|c| !c.value.annotations.contains_key(names::HELD_ANNOTATION)));
    let layout = |world: &World| -> Vec<_> {
        world.configurations.iter().map(|c| (c.meta.name.clone(), c.value.layer.clone())).collect()
    };
    assert_eq!(layout(&restored), layout(&before));

    // What is agreed to goes, whatever of it has landed already.
    world.approved = Some(waiting.plan);
    settle_watching(&mut world, |world| assert_eq!(plan(world).held, None));
    let lost = waiting.withdrawals.iter().map(|w| w.router.as_str());
    for (router, count) in ["192.0.2.1", "192.0.2.2"].iter().zip(told(&world)) {
        assert_eq!(count, if lost.clone().any(|lost| lost == *router) { 0 } else { 20 }, "{router}");
    }
}

fn event(write: &Write) -> Option<clarion_core::Event> {
    match write {
        Write::ServiceStatus(_) => None,
        Write::Configuration(ConfigurationWrite::Update { event, .. }) => event.clone(),
        Write::Configuration(_) => None,
        Write::ObjectStatus(write) => write.event.clone(),
    }
}

#[test]
fn what_waits_is_told_on_the_peer_and_in_an_event() {
    let mut world = announcing();
    advertise(&mut world, json!({"peers": ["second"]}));
    let waiting = plan(&world).held.unwrap();
    let events: Vec<_> = plan(&world).writes.iter().filter_map(event).collect();
    let event = events.iter().find(|event| event.reason.name() == "WithdrawalHeld").unwrap();
    assert!(event.message.contains("10.0.0.0/32, 10.0.0.1/32") && event.message.contains("10.0.0.19/32"), "{event:?}");
    settle(&mut world);
    let told = "the configuration has changed so that 20 of the 20 prefixes that 192.0.2.1 is told of would be withdrawn, and that \
                waits: undo the change, or agree to it: clarion approve PLAN. What would go: 10.0.0.0/32, 10.0.0.1/32, ";
    assert!(ready(&world, "tor").1.replace(&waiting.plan, "PLAN").starts_with(told), "{:?}", ready(&world, "tor"));
    assert_eq!(ready(&world, "tor").0, "WithdrawalHeld");
    assert_eq!(ready(&world, "second").0, "Valid");
}

#[rstest]
// Ten of twenty are not more than half.
#[case::half("gold", 50, 10, [10, 10])]
#[case::a_lower_share("gold", 49, 10, [20, 20])]
#[case::a_higher_least("gold", 49, 11, [10, 10])]
#[case::all("bronze", 50, 20, [20, 20])]
#[case::fewer_than_the_least("bronze", 50, 21, [0, 0])]
#[case::off("bronze", 100, 1, [0, 0])]
fn the_share_and_the_least_are_settable(
    #[case] tier: &str,
    #[case] share: u8,
    #[case] least: usize,
    #[case] after: [usize; 2],
) {
    let mut world = announcing();
    world.settings.brake = Brake { share, least };
    advertise(&mut world, json!({"serviceSelectors": [{"matchLabels": {"tier": tier}}]}));
    settle(&mut world);
    assert_eq!(told(&world), after);
}

/// Gives all peers some fields more.
fn all_peers(world: &mut World, fields: Value) {
    for name in ["tor", "second"] {
        let spec = world.peers.get(&ObjectName::cluster(name)).unwrap().value.spec.clone().unwrap();
        let mut spec = serde_json::to_value(spec).unwrap();
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        edit_spec(&mut world.peers, custom::<RouterPeerSpec, _>(name, spec));
    }
}

/// What takes routes away and is no edit of the configuration, or says that they are to go.
#[rstest]
#[case::nodes_go(|w: &mut World| ["a", "b"].iter().for_each(|node| remove(&mut w.nodes, &ObjectName::cluster(*node))))]
#[case::endpoints_go(|w: &mut World| (0..20).for_each(|n| remove(&mut w.endpoint_slices, &ObjectName::new("ns", format!("s{n:02}")))))]
#[case::services_go(|w: &mut World| (0..20).for_each(|n| remove(&mut w.services, &ObjectName::new("ns", format!("s{n:02}")))))]
#[case::services_of_another_class(|w: &mut World| (0..20).for_each(|n| {
    edit(&mut w.services, &ObjectName::new("ns", format!("s{n:02}")), |s| s.value.class = Some("other".into()));
}))]
#[case::drain_all(|w: &mut World| w.drain_all = Some(DrainAll::Routes))]
#[case::suspended(|w: &mut World| all_peers(w, json!({"suspend": true})))]
#[case::drained_peers(|w: &mut World| all_peers(w, json!({"drain": {"withdrawAt": "1970-01-01T00:00:00Z"}})))]
fn what_is_to_go_goes_at_once(#[case] change: Edit) {
    let mut world = announcing();
    change(&mut world);
    assert_eq!(plan(&world).held, None);
    settle(&mut world);
    assert_eq!(told(&world), [0, 0]);
}

#[test]
fn of_what_waits_the_dead_goes() {
    let mut world = announcing();
    remove(&mut world.advertisements, &ObjectName::cluster("all"));
    settle(&mut world);
    for n in 0..5 {
        remove(&mut world.services, &ObjectName::new("ns", format!("s{n:02}")));
        remove(&mut world.endpoint_slices, &ObjectName::new("ns", format!("s{:02}", n + 5)));
    }
    settle(&mut world);
    assert_eq!(told(&world), [10, 10]);
    assert!(plan(&world).held.is_some());
}

#[test]
fn new_nodes_and_new_services_come_while_something_waits() {
    let mut world = announcing();
    advertise(&mut world, json!({"peers": ["second"]}));
    settle(&mut world);
    node(&mut world, "c");
    service(&mut world, "new", 99, &[Family::V4]);
    settle_watching(&mut world, |world| assert_eq!(told(world)[0], 20));
    assert_eq!(told(&world), [20, 21]);
    assert_eq!(addresses(&world, "new").len(), 1);
}

#[test]
fn an_address_that_its_pool_takes_back_waits_too() {
    let mut world = announcing();
    let revocable = json!({"addresses": ["10.0.0.0/26"], "onRemoval": "Release"});
    edit_spec(&mut world.pools, custom::<clarion_api::LoadBalancerPoolSpec, _>("main", revocable));
    settle(&mut world);
    // Where there are others instead, the new ones come first, and are then half of what is announced.
    let smaller = json!({"addresses": ["10.9.0.0/31"], "onRemoval": "Release"});
    edit_spec(&mut world.pools, custom::<clarion_api::LoadBalancerPoolSpec, _>("main", smaller));
    settle(&mut world);
    assert_eq!(addresses(&world, "s05"), ["10.0.0.5"], "what is announced stays in the status");
    world.approved = Some(plan(&world).held.unwrap().plan);
    settle(&mut world);
    assert!(addresses(&world, "s05").is_empty());
    assert_eq!(told(&world), [2, 2]);
}

/// Makes the Service of this number Local, with its endpoints on the node `a`.
fn local_on_a(world: &mut World, n: usize) {
    let name = ObjectName::new("ns", format!("s{n:02}"));
    edit(&mut world.services, &name, |service| service.value.is_local = true);
    edit(&mut world.endpoint_slices, &name, |slice| {
        slice.value.endpoints.iter_mut().for_each(|endpoint| endpoint.node = Some("a".into()));
    });
}

#[test]
fn local_services_keep_their_nodes() {
    let mut world = announcing();
    (0..20).for_each(|n| local_on_a(&mut world, n));
    settle(&mut world);
    remove(&mut world.advertisements, &ObjectName::cluster("all"));
    settle_watching(&mut world, |world| assert_eq!(told(world), [20, 20]));
    // Where its endpoint is no more, it is not held.
    for n in 0..20 {
        edit(&mut world.endpoint_slices, &ObjectName::new("ns", format!("s{n:02}")), |slice| {
            slice.value.endpoints.iter_mut().for_each(|endpoint| endpoint.node = Some("b".into()));
        });
    }
    settle(&mut world);
    assert_eq!(told(&world), [0, 0]);
}

#[test]
fn what_waits_keeps_a_router_id_that_stands_in_an_object_for_one_node_alone() {
    let mut world = announcing();
    peer(&mut world, with(tor(), "routerID", json!("192.0.2.77")));
    (0..19).for_each(|n| local_on_a(&mut world, n));
    settle(&mut world);
    // As while the others let go of the session.
    let ours: Vec<_> = world.configurations.iter().map(|c| (c.meta.name.clone(), c.value.layer.clone())).collect();
    for (name, layer) in ours {
        let mut content = (*layer.content).clone();
        let id = name.name.starts_with(names::OVERLAY_PREFIX).then(|| "192.0.2.77".to_owned());
        content.routers.values_mut().for_each(|router| router.id.clone_from(&id));
        edit(&mut world.configurations, &name, |c| c.value.layer = Layer::new((*layer.hosts).clone(), content));
    }
    for name in ["tor", "second"] {
        remove(&mut world.peers, &ObjectName::cluster(name));
    }
    settle(&mut world);
    assert_eq!(told(&world), [20, 20]);
    let of_a = world.configurations.iter().map(|c| &c.value.layer).filter(|layer| layer.hosts.contains("a"));
    let ids: Vec<_> = of_a.flat_map(|layer| layer.content.routers.values()).filter_map(|r| r.id.as_deref()).collect();
    assert_eq!(ids, ["192.0.2.77"]);
}

#[test]
fn who_takes_a_session_over_does_not_meet_the_one_that_waits() {
    let mut world = announcing();
    remove(&mut world.peers, &ObjectName::cluster("tor"));
    settle(&mut world);
    assert_eq!(told(&world), [20, 20]);
    let spec = json!({"bgp": {"routers": [{"asn": 1, "neighbors": [{"asn": 77, "address": TOR}]}]}});
    theirs(&mut world, "frr-k8s-system", "theirs", spec);
    settle(&mut world);
    assert_eq!(told(&world), [0, 20], "what others have written goes before");
    let specs: Vec<_> = world.configurations.iter().map(|c| (&c.meta.name, c.value.spec())).collect();
    admit::merge(specs.iter().map(|(name, spec)| admit::Named { name, spec })).unwrap();
}

/// FRR-K8s tells sessions apart by the text of the address, FRR by the address.
#[test]
fn a_router_is_the_same_however_its_address_is_spelled() {
    let mut world = announcing();
    let spelled = |address: &str| with(tor(), "peerAddress", json!(address));
    peer(&mut world, spelled("2001:DB8::99"));
    world.approved = plan(&world).held.map(|waiting| waiting.plan);
    settle(&mut world);
    remove(&mut world.advertisements, &ObjectName::cluster("all"));
    peer(&mut world, spelled("2001:db8:0::99"));
    let waiting = plan(&world).held.unwrap();
    assert!(waiting.withdrawals.iter().any(|w| w.router == "2001:db8::99" && w.prefixes.len() == 20), "{waiting:?}");
    let prefixes = |world: &World| {
        let sessions = world.configurations.iter().flat_map(|c| {
            let sessions = c.value.layer.content.sessions();
            sessions
                .filter(|(_, key, _)| key.parse() == "2001:db8::99".parse::<std::net::IpAddr>())
                .map(|(_, _, s)| s.routes.len())
        });
        sessions.collect::<Vec<_>>()
    };
    settle_watching(&mut world, |world| assert!(prefixes(world).contains(&20), "{:?}", prefixes(world)));
    assert_eq!(prefixes(&world), [20], "one session, as it is spelled now");
}

/// A Secret that is missing fails everything on a node.
#[test]
fn a_session_whose_secret_went_with_its_peer_does_not_wait() {
    let mut world = announcing();
    let secret = ObjectName::new("frr-k8s-system", "tor");
    let mut secrets = Collection::default();
    put(&mut secrets, object(secret.clone(), 0, Secret));
    world.secrets = Some(secrets);
    peer(&mut world, with(tor(), "passwordSecret", json!({"name": "tor"})));
    settle(&mut world);
    remove(&mut world.peers, &ObjectName::cluster("tor"));
    settle(&mut world);
    assert_eq!(told(&world), [20, 20]);
    remove(world.secrets.as_mut().unwrap(), &secret);
    settle(&mut world);
    assert_eq!(told(&world), [0, 20]);
}

#[test]
fn writes_of_what_waits_are_few() {
    let mut world = announcing();
    remove(&mut world.advertisements, &ObjectName::cluster("all"));
    let writes = plan(&world).writes;
    let configurations: Vec<_> = configurations(&writes);
    let [ConfigurationWrite::Update { layer, annotations, withdraws: false, .. }] = configurations.as_slice() else {
        panic!("{configurations:?}")
    };
    assert!(annotations[names::HELD_ANNOTATION].contains("clarion approve"), "{annotations:?}");
    assert_eq!(*layer, world.configurations.iter().next().unwrap().value.layer);
    for write in &writes {
        if let Write::Configuration(_) = write {
            replay::land(&mut world, write);
        }
    }
    assert!(plan(&world).writes.iter().all(|write| write.object().kind != Kind::FRRConfiguration));
}
