//! Which endpoints of a Service take traffic, as kube-proxy sees it (KEP-1669): the ready ones or, if none is ready anywhere,
//! those that serve while they terminate.

use std::{cell::Cell, collections::BTreeSet};

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

    /// The hosts with an endpoint that takes traffic, and the names of other nodes that have one: those that
    /// are not known, or can't be told apart from others.
    #[must_use]
    pub fn hosts(self, family: Family, hosts: &Hosts) -> (BTreeSet<usize>, BTreeSet<&'w str>) {
        let endpoints = || self.endpoints(family);
        let any_ready = endpoints().any(|endpoint| endpoint.ready);
        let takes = endpoints().filter(|e| if any_ready { e.ready } else { e.serving_while_terminating });
        let (mut found, mut others) = (BTreeSet::new(), BTreeSet::new());
        for node in takes.filter_map(|endpoint| endpoint.node.as_deref()) {
            match hosts.of_node(node).filter(|host| hosts.get(*host).is_some_and(crate::hosts::Host::is_single)) {
                Some(host) => drop(found.insert(host)),
                None => drop(others.insert(node)),
            }
        }
        (found, others)
    }
}

fn key(slice: &Object<EndpointSlice>) -> (&str, &str) {
    (&slice.meta.name.namespace, &slice.value.service)
}
