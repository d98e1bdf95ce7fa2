//! What our objects say now, by the hosts that they select.

use std::collections::{BTreeSet, HashMap};

use clarion_api::names;
use ipnet::IpNet;

use crate::{
    layer::{Attributes, Layer},
    world::World,
};

/// The layers that exist, in the namespace of FRR-K8s.
pub struct Before<'w> {
    by_host: HashMap<&'w str, Vec<&'w Layer>>,
    /// Those that are no overlays.
    shared: Vec<&'w Layer>,
}

impl<'w> Before<'w> {
    pub fn new(world: &'w World) -> Self {
        let namespace = world.frr_k8s_namespace();
        let ours = world.configurations.iter().filter(|c| c.value.ours && c.meta.name.namespace == namespace);
        let mut before = Self { by_host: HashMap::new(), shared: Vec::new() };
        for configuration in ours {
            let layer = &configuration.value.layer;
            for host in &layer.hosts {
                before.by_host.entry(host).or_default().push(layer);
            }
            if !configuration.meta.name.name.starts_with(names::OVERLAY_PREFIX) {
                before.shared.push(layer);
            }
        }
        before
    }

    /// The layers that select several of these hosts at once, or might.
    pub fn of_class(&self, hosts: &BTreeSet<String>) -> Vec<&'w Layer> {
        self.shared.iter().copied().filter(|layer| !layer.hosts.is_disjoint(hosts)).collect()
    }

    /// The layers that select this host alone.
    pub fn of_overlay(&self, host: &str) -> Vec<&'w Layer> {
        self.of_host(host).into_iter().filter(|layer| layer.hosts.len() == 1).collect()
    }

    /// The layers that select a host.
    pub fn of_host(&self, host: &str) -> Vec<&'w Layer> {
        self.by_host.get(host).cloned().unwrap_or_default()
    }
}

/// The attributes of a route on a session.
pub fn route<'w>(layers: &[&'w Layer], vrf: &str, key: &str, prefix: &IpNet) -> Option<&'w Attributes> {
    layers.iter().find_map(|layer| layer.content.session(vrf, key)?.routes.get(prefix))
}

/// All routes of a session.
pub fn routes<'w>(layers: &[&'w Layer], vrf: &str, key: &str) -> impl Iterator<Item = (&'w IpNet, &'w Attributes)> {
    layers.iter().filter_map(move |layer| layer.content.session(vrf, key)).flat_map(|session| &session.routes)
}
