//! Tells what the configuration takes from a router from what is gone for other reasons.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
};

use ipnet::IpNet;
use itertools::Itertools as _;

use super::{Router, Stages};
use crate::{
    address_set::Family,
    compose::Layout,
    config::{self, Peer, selected},
    endpoints::Endpoints,
    hosts::Standing,
    layer::{AdjRibOut, Content, Layer},
    world::World,
};

/// A content of ours and what becomes of it, with the objects that have it.
pub struct Change<'a> {
    before: &'a Content,
    after: Option<&'a Content>,
    layers: Vec<&'a Layer>,
}

/// What is not to stay as it is.
pub fn changes<'a>(world: &'a World, layout: &'a Layout) -> Vec<Change<'a>> {
    let mut changes: Vec<Change> = Vec::new();
    let mut known = HashMap::new();
    for configuration in world.our_configurations() {
        let layer = &configuration.value.layer;
        let after = layout.get(configuration.meta.name.name.as_str()).map(|layer| &layer.content);
        if after.is_some_and(|after| Arc::ptr_eq(after, &layer.content)) {
            continue;
        }
        let pair = (Arc::as_ptr(&layer.content), after.map(Arc::as_ptr));
        let index = *known.entry(pair).or_insert(changes.len());
        match changes.get_mut(index) {
            Some(change) => change.layers.push(layer),
            None => changes.push(Change { before: &layer.content, after: after.map(Arc::as_ref), layers: vec![layer] }),
        }
    }
    changes
}

/// By router and prefix: the changes by which it is not announced any more where it was. Another object may announce it.
pub type Missing = BTreeMap<Router, BTreeMap<IpNet, Vec<usize>>>;

pub fn missing(changes: &[Change]) -> Missing {
    let mut missing = Missing::new();
    for (index, change) in changes.iter().enumerate() {
        for (vrf, key, session) in change.before.sessions() {
            let after = change.after.and_then(|content| content.session(vrf, key));
            let after = after.into_iter().flat_map(|after| after.routes.keys());
            let both = session.routes.keys().merge_join_by(after, Ord::cmp);
            let mut gone = both.filter_map(|prefix| prefix.just_left()).peekable();
            if gone.peek().is_some() {
                let prefixes = missing.entry(Router::new(vrf, key)).or_default();
                gone.for_each(|prefix| prefixes.entry(*prefix).or_default().push(index));
            }
        }
    }
    missing
}

/// What some layers announce, by router.
pub struct Announced<'l>(HashMap<Router, Vec<&'l AdjRibOut>>);

impl<'l> Announced<'l> {
    pub fn new(layers: impl Iterator<Item = &'l Layer>) -> Self {
        let mut by_router: HashMap<Router, Vec<_>> = HashMap::new();
        for (vrf, key, session) in Layer::distinct(layers).flat_map(|layer| layer.content.sessions()) {
            by_router.entry(Router::new(vrf, key)).or_default().push(&session.routes);
        }
        Self(by_router)
    }

    pub fn to(&self, router: &Router) -> BTreeSet<IpNet> {
        self.0.get(router).into_iter().flatten().flat_map(|routes| routes.keys().copied()).collect()
    }
}

/// From where an address can be reached.
enum From {
    Everywhere,
    Hosts(BTreeSet<usize>),
}

/// Tells what the configuration takes away from what is gone for other reasons.
pub struct Taken<'s, 'w> {
    pub stages: &'s Stages<'s, 'w>,
    /// The hosts that go on to announce, by name.
    pub hosts: HashMap<&'w str, usize>,
    /// The addresses of Services that can be reached, ascending.
    live: Vec<(IpAddr, From)>,
    suspended: Vec<Peer>,
    /// By router: the peers that are it for some nodes.
    peers: HashMap<Router, Vec<&'s Peer>>,
    /// By host: the routers that it has a session with.
    routers: HashMap<usize, Rc<HashSet<Router>>>,
}

impl<'s, 'w> Taken<'s, 'w> {
    pub fn new(stages: &'s Stages<'s, 'w>) -> Self {
        let hosts = stages.hosts.list.iter().enumerate();
        let hosts = hosts.filter(|(_, host)| host.standing == Standing::Announces);
        let mut peers: HashMap<Router, Vec<&Peer>> = HashMap::new();
        for peer in &stages.config.peers {
            let routers: HashSet<Router> = peer.all_terms().map(Router::of).collect();
            routers.into_iter().for_each(|router| peers.entry(router).or_default().push(peer));
        }
        let mut routers = HashMap::new();
        for class in &stages.sessions.classes {
            let agreed = class.sessions.iter().filter_map(|session| session.of(stages.config, stages.sessions));
            let of_class = Rc::new(agreed.map(|(_, agreed)| Router::of(&agreed.terms)).collect());
            routers.extend(class.hosts.iter().map(|host| (*host, Rc::clone(&of_class))));
        }
        Self {
            stages,
            hosts: hosts.map(|(index, host)| (host.name, index)).collect(),
            live: live(stages),
            suspended: config::suspended(stages.world),
            peers,
            routers,
        }
    }

    /// Of the prefixes that are gone where they were, those that the configuration takes from the router.
    pub fn lost(
        &self,
        router: &Router,
        changes: &[Change],
        missing: &BTreeMap<IpNet, Vec<usize>>,
        remaining: &BTreeSet<IpNet>,
    ) -> BTreeSet<IpNet> {
        let is_to_go = |peer: &Peer| peer.withdraw_at.is_some_and(|at| at <= self.stages.world.now);
        let mut peers = self.stages.config.peers.iter().filter(|peer| is_to_go(peer)).chain(&self.suspended);
        if peers.any(|peer| router.is_of(peer)) {
            return BTreeSet::new();
        }
        let concerned: BTreeSet<usize> = missing.values().flatten().copied().collect();
        let mut may_have: HashMap<usize, bool> = HashMap::new();
        let mut hosts_of = |index: usize| {
            let layers = changes.get(index).into_iter().flat_map(|change| &change.layers);
            let names = layers.flat_map(|layer| layer.hosts.iter());
            let known = names.filter_map(|name| self.hosts.get(name.as_str()).copied());
            known.filter(|host| *may_have.entry(*host).or_insert_with(|| self.may_have(*host, router))).collect()
        };
        let hosts: HashMap<usize, BTreeSet<usize>> =
            concerned.into_iter().map(|index| (index, hosts_of(index))).collect();
        let is_lost = |prefix: &IpNet, changes: &[usize]| {
            let mut hosts = changes.iter().filter_map(|index| hosts.get(index));
            !remaining.contains(prefix) && hosts.any(|hosts| self.is_live(prefix, hosts, remaining))
        };
        missing.iter().filter(|(prefix, changes)| is_lost(prefix, changes)).map(|(prefix, _)| *prefix).collect()
    }

    /// Whether nothing but the configuration keeps a host from a session with a router: no object of others, and no Secret.
    pub fn may_have(&self, host: usize, router: &Router) -> bool {
        let Some(known) = self.stages.hosts.get(host) else { return false };
        if self.routers.get(&host).is_some_and(|routers| routers.contains(router)) {
            return true;
        }
        let mut peers = self.peers.get(router).into_iter().flatten();
        !peers.any(|peer| known.all(|labels| selected(&peer.nodes, labels)))
    }

    /// Whether a prefix has an address that can be reached from one of the hosts and that nothing else announces.
    pub fn is_live(&self, prefix: &IpNet, hosts: &BTreeSet<usize>, remaining: &BTreeSet<IpNet>) -> bool {
        let first = self.live.partition_point(|(address, _)| *address < prefix.network());
        let within = self.live.get(first..).unwrap_or_default().iter();
        let mut within = within.take_while(|(address, _)| prefix.contains(address));
        !hosts.is_empty()
            && within.any(|(address, from)| {
                let mut covering = std::iter::successors(Some(IpNet::from(*address)), IpNet::supernet);
                let reachable = match from {
                    From::Everywhere => true,
                    From::Hosts(from) => !from.is_disjoint(hosts),
                };
                reachable && !covering.any(|prefix| remaining.contains(&prefix))
            })
    }
}

/// The addresses of Services that are served and have an endpoint, ascending.
fn live(stages: &Stages) -> Vec<(IpAddr, From)> {
    let endpoints = Endpoints::new(stages.world);
    let mut live = Vec::new();
    for seated in stages.allocation.seats().filter(|seated| seated.served) {
        let slices = endpoints.of(&seated.service.meta.name);
        for address in seated.claimed() {
            let family = Family::of(address);
            if !seated.service.value.is_local {
                live.extend(slices.any(family).then_some((address, From::Everywhere)));
                continue;
            }
            let (hosts, _) = slices.hosts(family, stages.hosts);
            live.push((address, From::Hosts(hosts.into_keys().collect())));
        }
    }
    live.sort_by_key(|(address, _)| *address);
    live
}
