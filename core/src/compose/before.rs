//! What our objects say now, by the hosts that they select.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use clarion_api::names;
use ipnet::IpNet;

use crate::{
    layer::{Attributes, Layer},
    world::World,
};

/// The layers that exist, in the namespace of FRR-K8s, by the names of their objects.
pub struct Before<'w> {
    by_host: HashMap<&'w str, Vec<(&'w str, &'w Layer)>>,
    /// Those that are no overlays.
    shared: Vec<(&'w str, &'w Layer)>,
}

impl<'w> Before<'w> {
    pub fn new(world: &'w World) -> Self {
        let mut before = Self { by_host: HashMap::new(), shared: Vec::new() };
        for configuration in world.our_configurations() {
            let named = (configuration.meta.name.name.as_str(), &configuration.value.layer);
            for host in &named.1.hosts {
                before.by_host.entry(host).or_default().push(named);
            }
            if !is_overlay(named.0) {
                before.shared.push(named);
            }
        }
        before
    }

    /// The layers that select one of these hosts: that of this name first, then others for several hosts, then those for one.
    pub fn of_class(&self, name: &str, hosts: &BTreeSet<String>) -> Vec<&'w Layer> {
        let mut layers = self.shared.clone();
        layers.retain(|(_, layer)| !layer.hosts.is_disjoint(hosts));
        layers.sort_by_key(|(other, _)| *other != name);
        let shared = layers.into_iter().map(|(_, layer)| layer);
        let own = hosts.iter().flat_map(|host| self.of_host(host)).filter(|layer| layer.hosts.len() == 1);
        shared.chain(own).collect()
    }

    /// The layers that select a host and are no overlays, by name.
    pub fn shared_of(&self, host: &str) -> Vec<(&'w str, &'w Layer)> {
        self.by_host.get(host).into_iter().flatten().copied().filter(|(name, _)| !is_overlay(name)).collect()
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

    /// All layers, those that select a host first.
    pub fn of_host_first(&self, host: &str) -> Vec<&'w Layer> {
        let shared = self.shared.iter().map(|(_, layer)| *layer);
        let own = self.by_host.values().flatten().map(|(_, layer)| *layer).filter(|layer| layer.hosts.len() == 1);
        self.of_host(host).into_iter().chain(shared).chain(own).collect()
    }
}

fn is_overlay(name: &str) -> bool {
    name.starts_with(names::OVERLAY_PREFIX)
}

/// The routes of one session, as several layers have them.
pub struct Routes<'w>(Vec<&'w BTreeMap<IpNet, Attributes>>);

impl<'w> Routes<'w> {
    /// Those of the session with this key, the first layer's first.
    pub fn of(layers: &[&'w Layer], vrf: &str, key: &str) -> Self {
        let routes = layers.iter().filter_map(|layer| Some(&layer.content.session(vrf, key)?.routes));
        Self(routes.filter(|routes| !routes.is_empty()).collect())
    }

    /// The attributes of a route.
    pub fn get(&self, prefix: &IpNet) -> Option<&'w Attributes> {
        self.0.iter().find_map(|routes| routes.get(prefix))
    }

    /// All of them; one that several layers have comes several times.
    pub fn iter(&self) -> impl Iterator<Item = (&'w IpNet, &'w Attributes)> {
        self.0.iter().copied().flatten()
    }

    /// Those that cover a prefix, or that it covers. The prefix itself does not count.
    pub fn relatives(&self, prefix: IpNet) -> impl Iterator<Item = (&'w IpNet, &'w Attributes)> {
        self.0.iter().copied().flat_map(move |routes| relatives(prefix, routes))
    }

    /// The route that announces a prefix: the prefix itself, or the longest aggregate of it. Without what a drain, that may be
    /// over, has put on it.
    pub fn retained(&self, prefix: &IpNet) -> Option<(IpNet, Attributes)> {
        if self.0.is_empty() {
            return None;
        }
        let wider = std::iter::successors(Some(*prefix), IpNet::supernet);
        let mut found = wider.filter_map(|prefix| Some((prefix, self.get(&prefix)?)));
        found.next().map(|(prefix, attributes)| (prefix, attributes.clone().lasting()))
    }
}

/// What is there for prefixes that cover this one, or that it covers. The prefix itself does not count.
pub fn relatives<V>(prefix: IpNet, among: &BTreeMap<IpNet, V>) -> impl Iterator<Item = (&IpNet, &V)> {
    // Prefixes of a family are sorted by their first address: those that this one covers are side by side.
    let (first, last) = (IpNet::new(prefix.network(), 0).unwrap_or(prefix), IpNet::from(prefix.broadcast()));
    let covered = among.range(first..=last).filter(move |(other, _)| **other != prefix && prefix.contains(*other));
    let wider = std::iter::successors(prefix.supernet(), IpNet::supernet);
    covered.chain(wider.filter_map(|prefix| among.get_key_value(&prefix)))
}
