//! What hosts have now of what the configuration takes away.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ipnet::IpNet;

use super::{Held, Router, Stages, Waiting, taken::Taken};
use crate::{
    admit::Named,
    compose::{Before, contents},
    hosts::Host,
    layer::{Attributes, Content, Layer, Router as LayerRouter, Session},
    others::Others,
    session::is_unusable,
    world::{ObjectName, World},
};

/// Gathers what hosts have now of what is lost.
pub fn keep(taken: &Taken, lost: &BTreeMap<Router, BTreeSet<IpNet>>, waiting: Waiting) -> Held {
    let Stages { world, hosts, others, .. } = taken.stages;
    let before = Before::new(world);
    let sessions = world.our_configurations().flat_map(|configuration| configuration.value.layer.content.sessions());
    let routers = sessions.map(|(vrf, key, _)| Router::new(vrf, key)).collect();
    let mut held = Held { waiting, routers, of_host: vec![None; hosts.list.len()], ..Held::default() };
    // Most hosts have the same as others from objects for several hosts, and no other sessions from those for them alone.
    let mut known: HashMap<_, Vec<([Layer; 2], Option<usize>)>> = HashMap::new();
    for (index, host) in hosts.list.iter().enumerate().filter(|(_, host)| taken.hosts.contains_key(host.name)) {
        let possible: Vec<&Router> = lost.keys().filter(|router| taken.may_have(index, router)).collect();
        let lost = |router: &Router| possible.contains(&router).then(|| lost.get(router)).flatten();
        let mut own = restricted(&before.of_overlay(host.name), lost);
        let sessions = |content: &Content| Layer::new(BTreeSet::new(), content.clone()).without_routes();
        let alone = sessions(&own);
        own.retain_routes(|prefix| taken.is_live(prefix, &BTreeSet::from([index]), &BTreeSet::new()));
        let own = with_routes(own).and_then(|own| mergeable(own, others, index));
        let sessions = [alone, own.as_ref().map(sessions).unwrap_or_default()];
        let layers = before.shared_of(host.name);
        let daemons: Vec<_> = host.nodes.iter().map(|node| failure_of(world, &node.meta.name)).collect();
        let set = others.of(index).map(|(set, _)| set);
        let alike = known.entry((contents(&layers), set, possible.clone(), daemons)).or_default();
        let shared = match alike.iter().find(|(same, _)| *same == sessions) {
            Some((_, shared)) => *shared,
            None => {
                let [alone, own] = &sessions;
                let layers: Vec<&Layer> = layers.into_iter().chain([alone]).collect();
                let content = mergeable(carrying(restricted(&layers, lost), &own.content), others, index);
                let shared =
                    content.and_then(|content| usable(content, world, host)).map(|content| held.place_of(content));
                alike.push((sessions, shared));
                shared
            }
        };
        if let Some(place) = held.of_host.get_mut(index) {
            *place = shared;
        }
        held.own.extend(own.map(|own| (index, own)));
    }
    held
}

/// What is said, if anything is announced in it.
fn with_routes(content: Content) -> Option<Content> {
    let has_routes = content.prefixes().next().is_some();
    has_routes.then_some(content)
}

/// What the daemon of a node could not convert, in its words.
fn failure_of<'w>(world: &'w World, node: &ObjectName) -> Option<&'w str> {
    world.node_states.get(node)?.value.conversion.failure()
}

/// The sessions whose Secret the host's daemon can use: with another it would take nothing at all.
fn usable(mut content: Content, world: &World, host: &Host) -> Option<Content> {
    content.retain_sessions(|_, _, session| {
        let secret = session.neighbor.password_secret.as_ref().and_then(|secret| secret.name.as_deref());
        secret.is_none_or(|secret| !is_unusable(world, host, secret))
    });
    (!content.routers.is_empty()).then_some(content)
}

/// Of the sessions of a host those that have something to carry: what it shares with others, or what it has alone.
fn carrying(mut shared: Content, own: &Content) -> Content {
    shared.retain_sessions(|vrf, key, session| !session.routes.is_empty() || own.session(vrf, key).is_some());
    shared
}

/// The sessions with routers that lose something, with just that.
fn restricted<'l>(layers: &[&Layer], lost: impl Fn(&Router) -> Option<&'l BTreeSet<IpNet>>) -> Content {
    let mut kept = Content::default();
    for (content, (vrf, router)) in layers.iter().flat_map(|l| l.content.routers.iter().map(|r| (&l.content, r))) {
        for (key, session) in &router.sessions {
            let Some(lost) = lost(&Router::new(vrf, key)) else { continue };
            let there = kept.routers.entry(vrf.clone()).or_insert_with(|| LayerRouter::new(router.asn));
            if there.id.is_none() {
                there.id.clone_from(&router.id);
            }
            let there = there.sessions.entry(key.clone()).or_insert_with(|| Session::new(session.neighbor.clone()));
            if there.next_hop.is_none() {
                there.next_hop.clone_from(&session.next_hop);
            }
            let profile = session.bfd_profile.as_ref().and_then(|name| content.bfd_profiles.get_key_value(name));
            if let Some((name, profile)) = profile {
                there.bfd_profile = Some(name.clone());
                kept.bfd_profiles.insert(name.clone(), profile.clone());
            }
            let routes = session.routes.iter().filter(|(prefix, _)| lost.contains(*prefix));
            there
                .routes
                .extend(routes.map(|(prefix, attributes)| (*prefix, Attributes::clone(attributes).lasting().into())));
        }
    }
    kept
}

/// The sessions that can stand beside what others have written for a host.
fn mergeable(mut content: Content, others: &Others, host: usize) -> Option<Content> {
    let name = ObjectName::default();
    let merges = |content: &Content| {
        let Some(mut merging) = others.beside(host, true).cloned() else { return false };
        let spec = Layer::new(BTreeSet::new(), content.clone()).spec();
        merging.add(Named { name: &name, spec: &spec }).is_ok() && merging.finish().is_ok()
    };
    if !merges(&content) {
        let all = content.clone();
        content.retain_sessions(|vrf, key, _| {
            let mut alone = all.clone();
            alone.retain_sessions(|other_vrf, other, _| (other_vrf, other) == (vrf, key));
            merges(&alone)
        });
    }
    (!content.routers.is_empty()).then_some(content)
}
