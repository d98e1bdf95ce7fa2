//! Writes beside the objects of others: FRR-K8s's webhook refuses an object that selects a node on which anything can't be
//! merged, whoever is at odds with whom.
//!
//! - Where the objects of others are broken by themselves, nothing that selects the node is accepted. It keeps what it has;
//!   only if an object must change for other nodes does it lose that node.
//! - Where what we have written is at odds with what others wrote since (the webhook does not see a node's labels change, and
//!   two writes can pass it at once), the objects concerned let go of the node one by one, until one is left that can become
//!   what it is to be. A node in this state does not lose anything by that: its daemon stands still.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    admit::Named,
    compose::Layout,
    hosts::Hosts,
    layer::{Content, Layer, Router},
    others::Others,
    transition,
    transition::{Next, Writes},
    world::{ObjectName, World},
};

/// The writes that are safe now and that the webhook can accept; and every object that is as it is to be.
pub fn next_writes(world: &World, current: &Layout, target: &Layout, hosts: &Hosts, others: &Others) -> Next {
    let still: BTreeSet<&str> = (0..hosts.list.len())
        .filter(|index| others.fault(*index).is_some())
        .filter_map(|index| hosts.get(index).map(|host| host.name))
        .collect();
    if still.is_empty() {
        return accepted_writes(world, current, target, hosts, others);
    }
    let mut next = accepted_writes(world, &without(current, &still), &without(target, &still), hosts, others);
    // An object that is as it is to be for all other hosts is for these too.
    let is_for_still = |name: &str| {
        current.get(name).is_some_and(|layer| layer.hosts.iter().any(|host| still.contains(host.as_str())))
    };
    next.writes.retain(|name, goal| {
        let moving = current.get(name).map(|layer| remaining(layer, &still));
        !is_for_still(name) || *goal != moving.filter(|layer| !layer.hosts.is_empty())
    });
    next
}

/// The layout for all other hosts.
fn without(layout: &Layout, still: &BTreeSet<&str>) -> Layout {
    let remaining = layout.iter().map(|(name, layer)| (name.clone(), remaining(layer, still)));
    remaining.filter(|(_, layer)| !layer.hosts.is_empty()).collect()
}

fn remaining(layer: &Layer, still: &BTreeSet<&str>) -> Layer {
    let hosts = layer.hosts.iter().filter(|host| !still.contains(host.as_str())).cloned().collect();
    Layer { hosts: Arc::new(hosts), content: Arc::clone(&layer.content) }
}

fn accepted_writes(world: &World, current: &Layout, target: &Layout, hosts: &Hosts, others: &Others) -> Next {
    let mut next = transition::next_writes(current, target, world.add_only, world.settings.bounds);
    let at_odds = at_odds(current, target, hosts, others);
    // What others changed in our objects, labels included, is put back, where nothing else is to be done.
    let is_at_odds = |name: &String| at_odds.values().any(|names| names.contains(name.as_str()));
    let is_at_rest = |name: &String| next.at_rest.contains(name) && !is_at_odds(name);
    let stays = current.iter().filter(|(name, layer)| target.get(*name) == Some(layer) || is_at_rest(name));
    for (name, layer) in stays {
        next.writes.insert(name.clone(), Some(layer.clone()));
    }
    if !at_odds.is_empty() {
        next.writes = let_go(current, target, next.writes, &at_odds);
    }
    next
}

/// The hosts on which what there is now is at odds with what others have written, and the objects of ours that are.
fn at_odds<'c>(
    current: &'c Layout,
    target: &Layout,
    hosts: &Hosts,
    others: &Others,
) -> BTreeMap<&'c str, BTreeSet<&'c str>> {
    let indices: BTreeMap<&str, usize> =
        hosts.list.iter().enumerate().map(|(index, host)| (host.name, index)).collect();
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let ours = ObjectName::default();
    // Most objects say what others say too, to hosts that have the same from others.
    let (mut specs, mut known) = (HashMap::new(), HashMap::new());
    // What is to stay as it is was agreed on.
    for (name, layer) in current.iter().filter(|(name, layer)| target.get(*name) != Some(layer)) {
        let content = Arc::as_ptr(&layer.content);
        for host in layer.hosts.iter() {
            let Some(index) = indices.get(host.as_str()) else { continue };
            let Some(((set, all), others)) = others.of(*index).zip(others.beside(*index, true)) else { continue };
            let differs = known.entry((content, set)).or_insert_with(|| {
                if all.is_empty() {
                    return false;
                }
                let spec = specs.entry(content).or_insert_with(|| layer.disputable().spec());
                let mut merging = others.clone();
                let added = merging.add(Named { name: &ours, spec });
                added.and_then(|()| merging.finish().map(drop)).is_err()
            });
            if *differs {
                found.entry(host).or_default().insert(name);
            }
        }
    }
    found
}

/// Has all but one of the objects that are at odds with others on a host let go of it. That one is written next, and whatever
/// else is for the host after that: an object for this host alone takes everything that the host is to have, until the others
/// are there, because as soon as it is written the daemon goes on.
fn let_go(current: &Layout, target: &Layout, mut writes: Writes, at_odds: &BTreeMap<&str, BTreeSet<&str>>) -> Writes {
    let narrowed = narrowed(current, target, at_odds);
    let stays = |name: &str, host: &str| target.get(name).is_some_and(|layer| layer.hosts.contains(host));
    let mut alone: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (host, names) in at_odds.iter().filter(|(_, names)| names.len() == 1) {
        alone.extend(
            names
                .iter()
                .filter(|name| !narrowed.contains(*name))
                .filter(|name| stays(name, host) || can_hold(current, target, name, host))
                .map(|name| (*name, *host)),
        );
    }
    let is_alone = |name: &str, host: &String| alone.contains(&(name, host.as_str()));
    for (name, host) in &alone {
        if can_hold(current, target, name, host) {
            let everything = Layer::new(BTreeSet::from([(*host).to_owned()]), everything(target, host));
            writes.insert((*name).to_owned(), Some(everything));
            continue;
        }
        // What its other hosts still wait for, it can't have either.
        let goal = target.get(*name).filter(|layer| layer.hosts.iter().all(|host| is_alone(name, host)));
        if let (false, Some(goal)) = (writes.contains_key(*name), goal) {
            writes.insert((*name).to_owned(), Some(goal.clone()));
        }
    }
    writes.retain(|name, goal| {
        // What is to stay waits until the others have let go.
        let mut at_odds_on = at_odds.iter().filter(|(_, names)| names.contains(name.as_str()));
        let mut hosts = goal.iter().flat_map(|layer| layer.hosts.iter());
        at_odds_on.all(|(host, _)| alone.contains(&(name, *host)))
            && hosts.all(|host| !at_odds.contains_key(host.as_str()) || is_alone(name, host))
    });
    for name in narrowed {
        let Some(there) = current.get(name) else { continue };
        let is_free = |host: &&String| !at_odds.get(host.as_str()).is_some_and(|names| names.contains(name));
        let hosts = Arc::new(there.hosts.iter().filter(is_free).cloned().collect());
        let layer = Layer { hosts, content: Arc::clone(&there.content) };
        writes.insert(name.to_owned(), Some(layer).filter(|layer| !layer.hosts.is_empty()));
    }
    writes
}

/// The objects that let go of every host on which they are at odds with others: all but one for each host.
fn narrowed<'c>(
    current: &Layout,
    target: &Layout,
    at_odds: &BTreeMap<&'c str, BTreeSet<&'c str>>,
) -> BTreeSet<&'c str> {
    let mut narrowed = BTreeSet::new();
    loop {
        let before = narrowed.len();
        for (host, names) in at_odds {
            let of_target = |name: &str| target.get(name).filter(|layer| layer.hosts.contains(*host));
            let may_stay = names.iter().filter(|name| {
                !narrowed.contains(*name) && (of_target(name).is_some() || can_hold(current, target, name, host))
            });
            // The one with most routes, so that fewest are away until the others are back.
            let keeper =
                may_stay.max_by_key(|name| of_target(name).map(|layer| layer.content.prefixes().count())).copied();
            narrowed.extend(names.iter().filter(|name| Some(**name) != keeper));
        }
        if narrowed.len() == before {
            return narrowed;
        }
    }
}

/// Whether an object is for one host alone, and that is to have something.
fn can_hold(current: &Layout, target: &Layout, name: &str, host: &str) -> bool {
    let is_for = |layer: &Layer| layer.hosts.contains(host);
    current.get(name).is_some_and(|layer| layer.hosts.len() == 1 && is_for(layer)) && target.values().any(is_for)
}

/// All that a host is to have.
fn everything(target: &Layout, host: &str) -> Content {
    let mut all = Content::default();
    for layer in target.values().filter(|layer| layer.hosts.contains(host)) {
        all.bfd_profiles.extend(layer.content.bfd_profiles.clone());
        for (vrf, router) in &layer.content.routers {
            let united = all.routers.entry(vrf.clone()).or_insert_with(|| Router::new(router.asn));
            united.id = united.id.take().or_else(|| router.id.clone());
            for (key, session) in &router.sessions {
                let united = united.sessions.entry(key.clone()).or_insert_with(|| session.clone());
                united.routes.extend(session.routes.clone());
                united.bfd_profile = united.bfd_profile.take().or_else(|| session.bfd_profile.clone());
                united.next_hop = united.next_hop.take().or_else(|| session.next_hop.clone());
            }
        }
    }
    all
}
