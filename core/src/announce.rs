//! Addresses, advertisements and endpoints to routes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use crate::{
    allocate::Allocation,
    config::{Config, Pool},
    finding::Reason,
    world::{Object, ObjectName, Service, World},
};

/// What is to be announced, and what is not and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Announcement {
    /// The routes in the order of their prefixes.
    pub routes: BTreeMap<IpNet, Route>,
    /// By Service: why it is not announced.
    pub silent: BTreeMap<ObjectName, (Reason, String)>,
}

/// A prefix to announce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The advertisements that fit it, by index, oldest first.
    pub advertisements: Vec<usize>,
    /// No pool holds the address any more: whatever announced it goes on.
    pub retained: bool,
}

impl Route {
    /// Takes in what another Service with the same address says.
    fn unite(&mut self, other: Self) {
        let new = other.advertisements.into_iter().filter(|index| !self.advertisements.contains(index));
        self.advertisements.extend(new.collect::<Vec<_>>());
        self.advertisements.sort_unstable();
        self.retained |= other.retained;
    }
}

/// The annotation by which a Service asks for communities.
const COMMUNITIES: &str = "clarionlb.io/communities";

/// Finds the routes of all Services that have an address in their status.
pub fn announce(world: &World, config: &Config, allocation: &Allocation) -> Announcement {
    let endpoints = Endpoints::new(world);
    let mut announcement = Announcement::default();
    for seated in allocation.seats().filter(|seated| seated.served) {
        let service = seated.service;
        match routes(config, &endpoints, service, seated.kept()) {
            Ok(routes) => {
                let in_status = |prefix: &IpNet| service.value.addresses.contains(&prefix.addr());
                for (prefix, route) in routes.into_iter().filter(|(prefix, _)| in_status(prefix)) {
                    announcement.routes.entry(prefix).or_default().unite(route);
                }
            }
            Err(why) => {
                announcement.silent.insert(service.meta.name.clone(), why);
            }
        }
    }
    announcement
}

/// The routes of one Service, or why it has none.
fn routes(
    config: &Config,
    endpoints: &Endpoints,
    service: &Object<Service>,
    addresses: &[IpAddr],
) -> Result<Vec<(IpNet, Route)>, (Reason, String)> {
    if addresses.is_empty() {
        return Err((Reason::NoAddress, "the Service has no address yet".to_owned()));
    }
    if service.value.is_local {
        let message = "this version of Clarion does not announce Services with externalTrafficPolicy: Local";
        return Err((Reason::NotSupported, message.to_owned()));
    }
    if service.value.annotations.contains_key(COMMUNITIES) {
        let message = format!("this version of Clarion does not act on the annotation {COMMUNITIES}");
        return Err((Reason::NotSupported, message));
    }
    if !endpoints.any_for(&service.meta.name) {
        let message = "no endpoint of the Service is ready, nor serving while it terminates";
        return Err((Reason::NoReadyEndpoints, message.to_owned()));
    }
    let mut routes = Vec::new();
    let mut quiet = true;
    for address in addresses {
        let pool = config.pools.of(*address);
        quiet &= pool.is_some_and(|pool| !pool.announce);
        let advertisements = fitting(config, pool, service);
        if !advertisements.is_empty() || pool.is_none() {
            routes.push((IpNet::from(*address), Route { advertisements, retained: pool.is_none() }));
        }
    }
    match (routes.is_empty(), quiet) {
        (false, _) => Ok(routes),
        (true, true) => Err((Reason::NotToBeAnnounced, "its pools have announce: false".to_owned())),
        (true, false) => {
            Err((Reason::NoAdvertisement, "no valid LoadBalancerAdvertisement fits its pool and labels".to_owned()))
        }
    }
}

fn fitting(config: &Config, pool: Option<&Pool>, service: &Object<Service>) -> Vec<usize> {
    let fits =
        |(_, advertisement): &(usize, &crate::config::Advertisement)| advertisement.fits(pool, &service.meta.labels);
    config.advertisements.iter().enumerate().filter(fits).map(|(index, _)| index).collect()
}

/// Which Services have an endpoint that takes traffic: a ready one or, if no endpoint of the Service is ready anywhere,
/// one that serves while it terminates. That is how kube-proxy sees it (KEP-1669).
struct Endpoints {
    usable: BTreeSet<(String, String)>,
}

impl Endpoints {
    fn new(world: &World) -> Self {
        let usable = world
            .endpoint_slices
            .iter()
            .filter(|slice| slice.value.endpoints.iter().any(|e| e.ready || e.serving_while_terminating))
            .map(|slice| (slice.meta.name.namespace.clone(), slice.value.service.clone()))
            .collect();
        Self { usable }
    }

    fn any_for(&self, service: &ObjectName) -> bool {
        self.usable.contains(&(service.namespace.clone(), service.name.clone()))
    }
}
