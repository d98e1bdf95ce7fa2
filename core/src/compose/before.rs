//! What our objects say now, by the hosts that they select.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use clarion_api::names;
use ipnet::IpNet;

use super::part_of;
use crate::{
    layer::{AdjRibOut, Attributes, Content, Layer},
    world::World,
};

/// The layers that exist, in the namespace of FRR-K8s, by the names of their objects.
pub struct Before<'w> {
    by_host: HashMap<&'w str, Vec<(&'w str, &'w Layer)>>,
    /// Everything that is said, once: by objects for several hosts, and then by those for one.
    all: Vec<&'w Layer>,
}

impl<'w> Before<'w> {
    pub fn new(world: &'w World) -> Self {
        let mut by_host: HashMap<_, Vec<_>> = HashMap::new();
        let (mut shared, mut own) = (Vec::new(), Vec::new());
        for configuration in world.our_configurations() {
            let named = (configuration.meta.name.name.as_str(), &configuration.value.layer);
            for host in named.1.hosts.iter() {
                by_host.entry(host.as_str()).or_default().push(named);
            }
            if !is_overlay(named.0) {
                shared.push(named.1);
            } else if named.1.hosts.len() == 1 {
                own.push(named.1);
            }
        }
        Self { by_host, all: Layer::distinct(shared.into_iter().chain(own)).collect() }
    }

    /// What is said to one of these hosts: by objects of this name first, then by others for several hosts, then by those for one.
    pub fn of_class<'h>(&self, name: &str, hosts: impl Iterator<Item = &'h str>) -> Vec<&'w Layer> {
        let mut layers: Vec<_> = hosts.flat_map(|host| self.by_host.get(host).into_iter().flatten()).collect();
        layers.sort_by_key(|(other, _)| (part_of(other).whole != name, is_overlay(other), *other));
        Layer::distinct(layers.into_iter().map(|(_, layer)| *layer)).collect()
    }

    /// The layers that select a host and are no overlays, by name.
    pub fn shared_of(&self, host: &str) -> Vec<&'w Layer> {
        let layers = self.by_host.get(host).into_iter().flatten();
        layers.filter(|(name, _)| !is_overlay(name)).map(|(_, layer)| *layer).collect()
    }

    /// The overlays of a host.
    pub fn of_overlay(&self, host: &str) -> Vec<&'w Layer> {
        let layers = self.by_host.get(host).into_iter().flatten();
        layers.filter(|(name, _)| is_overlay(name)).map(|(_, layer)| *layer).collect()
    }

    /// The layers that select a host.
    pub fn of_host(&self, host: &str) -> Vec<&'w Layer> {
        self.by_host.get(host).into_iter().flatten().map(|(_, layer)| *layer).collect()
    }

    /// What is said to one of these hosts.
    pub fn of_hosts<'h>(&self, hosts: impl Iterator<Item = &'h str>) -> Vec<&'w Layer> {
        Layer::distinct(hosts.flat_map(|host| self.of_host(host))).collect()
    }

    /// Everything that is said, these layers first.
    pub fn all_after(&self, first: &[&'w Layer]) -> Vec<&'w Layer> {
        Layer::distinct(first.iter().chain(&self.all).copied()).collect()
    }

    /// The hosts, told by name and index, by what objects for several hosts tell them.
    pub fn alike<'h>(&self, hosts: impl Iterator<Item = (&'h str, usize)>) -> Vec<Alike<'w>> {
        let mut groups: Vec<Alike> = Vec::new();
        let mut known = HashMap::new();
        for (name, index) in hosts {
            let layers = self.shared_of(name);
            let number = *known.entry(contents(&layers)).or_insert(groups.len());
            match groups.get_mut(number) {
                Some(group) => group.hosts.push(index),
                None => groups.push(Alike { layers, hosts: vec![index] }),
            }
        }
        groups
    }
}

/// Hosts that objects for several hosts tell the same.
pub struct Alike<'w> {
    pub layers: Vec<&'w Layer>,
    pub hosts: Vec<usize>,
}

/// What layers say, by where it stands: layers that say the same have it in common.
pub fn contents(layers: &[&Layer]) -> Vec<*const Content> {
    layers.iter().map(|layer| Arc::as_ptr(&layer.content)).collect()
}

fn is_overlay(name: &str) -> bool {
    name.starts_with(names::OVERLAY_PREFIX)
}

/// The routes of one session, as several layers have them.
pub struct Routes<'w> {
    parts: Vec<&'w AdjRibOut>,
    /// All of them together, once somebody asks for one and there are many parts.
    together: OnceCell<foldhash::HashMap<&'w IpNet, &'w Arc<Attributes>>>,
}

/// A route is looked for in so many parts one by one.
const FEW_PARTS: usize = 4;

impl<'w> Routes<'w> {
    /// Those of the session with this key, the first layer's first.
    pub fn of(layers: &[&'w Layer], vrf: &str, key: &str) -> Self {
        let routes = layers.iter().filter_map(|layer| Some(&layer.content.session(vrf, key)?.routes));
        Self { parts: routes.filter(|routes| !routes.is_empty()).collect(), together: OnceCell::new() }
    }

    /// The attributes of a route.
    pub fn get(&self, prefix: &IpNet) -> Option<&'w Arc<Attributes>> {
        if self.parts.len() <= FEW_PARTS {
            return self.parts.iter().find_map(|routes| routes.get(prefix));
        }
        // Of those that several have, the first one's stays.
        let together = || self.parts.iter().rev().copied().flatten().collect();
        self.together.get_or_init(together).get(prefix).copied()
    }

    /// All of them; one that several layers have comes several times.
    pub fn iter(&self) -> impl Iterator<Item = (&'w IpNet, &'w Arc<Attributes>)> {
        self.parts.iter().copied().flatten()
    }

    /// Those that cover a prefix, or that it covers. The prefix itself does not count.
    pub fn relatives(&self, prefix: IpNet) -> impl Iterator<Item = (&'w IpNet, &'w Arc<Attributes>)> {
        self.parts.iter().copied().flat_map(move |routes| relatives(prefix, routes))
    }
}

/// The route that announced a prefix, as the first of several has it: the prefix itself, or the longest aggregate of it. Without
/// what a drain, that may be over, has put on it.
pub fn retained(prefix: IpNet, before: &[&Routes]) -> Option<(IpNet, Attributes)> {
    let before: Vec<_> = before.iter().filter(|routes| !routes.parts.is_empty()).collect();
    let wider = std::iter::successors(Some(prefix).filter(|_| !before.is_empty()), IpNet::supernet);
    let mut found = wider.filter_map(|prefix| Some((prefix, before.iter().find_map(|routes| routes.get(&prefix))?)));
    found.next().map(|(prefix, attributes)| (prefix, Attributes::clone(attributes).lasting()))
}

/// What is there for prefixes that cover this one, or that it covers. The prefix itself does not count.
pub fn relatives<V>(prefix: IpNet, among: &BTreeMap<IpNet, V>) -> impl Iterator<Item = (&IpNet, &V)> {
    // Prefixes of a family are sorted by their first address: those that this one covers are side by side.
    let (first, last) = (IpNet::new(prefix.network(), 0).unwrap_or(prefix), IpNet::from(prefix.broadcast()));
    let covered = among.range(first..=last).filter(move |(other, _)| **other != prefix && prefix.contains(*other));
    let wider = std::iter::successors(prefix.supernet(), IpNet::supernet);
    covered.chain(wider.filter_map(|prefix| among.get_key_value(&prefix)))
}
