//! Which endpoints of a Service take traffic, as kube-proxy sees it (KEP-1669): the ready ones or, if none is ready anywhere,
//! those that serve while they terminate.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use crate::{
    address_set::Family,
    hosts::Hosts,
    world::{Endpoint, EndpointSlice, Object, ObjectName, World},
};

/// The endpoints of all Services.
pub struct Endpoints<'w> {
    /// In the order of their Services.
    slices: Vec<&'w Object<EndpointSlice>>,
    /// Where the slices of the last Service that was asked for end. Services are mostly asked for in their order.
    next: Cell<usize>,
}

impl<'w> Endpoints<'w> {
    /// Sorts the EndpointSlices of a world.
    #[must_use]
    pub fn new(world: &'w World) -> Self {
        let mut slices: Vec<_> = world.endpoint_slices.iter().collect();
        slices.sort_unstable_by_key(|slice| key(slice));
        Self { slices, next: Cell::new(0) }
    }

    /// The EndpointSlices of a Service.
    pub fn of(&self, service: &ObjectName) -> Slices<'_, 'w> {
        let name = (service.namespace.as_str(), service.name.as_str());
        let is_next = self.slices.get(self.next.get()).is_some_and(|slice| key(slice) == name);
        let first = if is_next { self.next.get() } else { self.slices.partition_point(|slice| key(slice) < name) };
        let rest = self.slices.get(first..).unwrap_or_default();
        let count = rest.iter().take_while(|slice| key(slice) == name).count();
        self.next.set(first + count);
        Slices(rest.get(..count).unwrap_or_default())
    }
}

/// The EndpointSlices of one Service.
#[derive(Clone, Copy)]
pub struct Slices<'e, 'w>(&'e [&'w Object<EndpointSlice>]);

impl<'w> Slices<'_, 'w> {
    /// The endpoints of a family: kube-proxy forwards the traffic of each to endpoints of the same.
    fn endpoints(self, family: Family) -> impl Iterator<Item = &'w Endpoint> {
        let slices = self.0.iter().filter(move |slice| slice.value.family.is_none_or(|own| own == family));
        slices.flat_map(|slice| &slice.value.endpoints)
    }

    /// Whether any endpoint of the family takes traffic.
    #[must_use]
    pub fn any(self, family: Family) -> bool {
        self.endpoints(family).any(|endpoint| endpoint.ready || endpoint.serving_while_terminating)
    }

    /// How many endpoints take traffic on each node that has one, by the node's name.
    #[must_use]
    pub fn by_node(self, family: Family) -> BTreeMap<&'w str, usize> {
        let endpoints = || self.endpoints(family);
        let any_ready = endpoints().any(|endpoint| endpoint.ready);
        let takes = endpoints().filter(|e| if any_ready { e.ready } else { e.serving_while_terminating });
        let mut nodes = BTreeMap::new();
        for node in takes.filter_map(|endpoint| endpoint.node.as_deref()) {
            *nodes.entry(node).or_default() += 1;
        }
        nodes
    }

    /// How many endpoints take traffic on each host that has one, and the names of other nodes that have one: those that
    /// are not known, or can't be told apart from others.
    pub(crate) fn hosts(self, family: Family, hosts: &Hosts) -> (BTreeMap<usize, usize>, BTreeSet<&'w str>) {
        let (mut found, mut others) = (BTreeMap::new(), BTreeSet::new());
        for (node, endpoints) in self.by_node(family) {
            match hosts.of_node(node).filter(|host| hosts.get(*host).is_some_and(crate::hosts::Host::is_single)) {
                Some(host) => drop(found.insert(host, endpoints)),
                None => drop(others.insert(node)),
            }
        }
        (found, others)
    }
}

fn key(slice: &Object<EndpointSlice>) -> (&str, &str) {
    (&slice.meta.name.namespace, &slice.value.service)
}

/// By which factor the busiest endpoint of a Service gets more than its even share of the connections, if routers spread these
/// evenly over nodes: from how many endpoints each announcing node has, and how many there are in all. `None` without an
/// announcing node.
#[must_use]
pub fn skew(announcing: impl IntoIterator<Item = usize>, all: usize) -> Option<f64> {
    let (mut nodes, mut fewest) = (0_usize, usize::MAX);
    for endpoints in announcing {
        (nodes, fewest) = (nodes + 1, fewest.min(endpoints));
    }
    // That endpoint gets 1 / (nodes * fewest), and an even share is 1 / all.
    (nodes > 0 && fewest > 0).then(|| number(all) / (number(nodes) * number(fewest)))
}

/// A count to calculate with.
#[must_use]
pub fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// How uneven the load of endpoints is, over all Services with `externalTrafficPolicy: Local` that are announced.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Skews {
    /// How many Services have a [`skew`] of each of [`Skews::RANGES`].
    pub services: [usize; 4],
    /// The greatest skew.
    pub greatest: f64,
}

impl Skews {
    /// The names of ranges, and what is below each of them.
    pub const RANGES: [(&str, f64); 4] =
        [("even", 1.25), ("below_2", 2.0), ("below_4", 4.0), ("4_or_more", f64::INFINITY)];

    /// Counts a Service.
    pub(crate) fn add(&mut self, skew: f64) {
        let range = Self::RANGES.iter().position(|(_, below)| skew < *below);
        if let Some(services) = self.services.get_mut(range.unwrap_or(Self::RANGES.len() - 1)) {
            *services += 1;
        }
        self.greatest = self.greatest.max(skew);
    }
}
