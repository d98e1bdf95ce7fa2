//! Addresses, advertisements and endpoints to routes: which prefix is announced by which advertisements, and from where.

mod limit;
mod reach;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use clarion_api::{Timestamp, names};
use ipnet::IpNet;
use itertools::Itertools as _;

use self::reach::Reach;
use crate::{
    address_set::{AddressRange, Family},
    allocate::Seated,
    annotation::{Refusal, annotation, quote},
    config::{Config, community},
    endpoints::{Endpoints, Skews, skew},
    finding::{ALL_DRAINED, Findings, Reason},
    hosts::Hosts,
    session::Sessions,
    world::{Kind, Object, ObjectName, ObjectRef, Service, World},
};

/// What is to be announced, and what is not and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Announcement {
    /// The routes in the order of their prefixes.
    pub routes: BTreeMap<IpNet, Route>,
    /// By Service: why it is not announced.
    pub silent: BTreeMap<ObjectName, (Reason, String)>,
    /// By Service: what else is to be told of how it is announced.
    pub remarks: BTreeMap<ObjectName, (Reason, String)>,
    /// The addresses that are to be announced, ascending.
    pub addresses: Vec<IpAddr>,
    /// The prefixes that are to announce an address, where that is not its own /32 or /128 alone.
    pub aggregates: BTreeMap<IpAddr, BTreeSet<IpNet>>,
    /// How uneven the load of endpoints is.
    pub skews: Skews,
}

impl Announcement {
    /// Tells something of how a Service is announced. What is told first gives the reason.
    fn remark(&mut self, service: &ObjectName, reason: Reason, message: &str) {
        let (_, text) = self.remarks.entry(service.clone()).or_insert((reason, String::new()));
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(message);
    }
}

/// A prefix to announce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Who wants it announced, the oldest advertisement first.
    pub requests: Vec<Request>,
    /// From these hosts only, by index; from all if `None`.
    pub hosts: Option<BTreeSet<usize>>,
    /// No pool holds the address any more: whatever announced it goes on.
    pub retained: bool,
}

/// What an advertisement wants of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// The advertisement, by index.
    pub advertisement: usize,
    /// Communities that Services ask for and the advertisement permits.
    pub communities: BTreeSet<String>,
}

impl Route {
    fn unite(&mut self, request: Request) {
        match self.requests.binary_search_by_key(&request.advertisement, |known| known.advertisement) {
            Ok(known) => {
                if let Some(known) = self.requests.get_mut(known) {
                    known.communities.extend(request.communities);
                }
            }
            Err(place) => self.requests.insert(place, request),
        }
    }
}

/// What one Service says of one of its addresses.
struct Claim<'w> {
    address: IpAddr,
    service: &'w Object<Service>,
    spread: Spread,
    requests: Vec<Request>,
    retained: bool,
}

/// From where a Service can be reached.
#[derive(Clone, Debug)]
enum Spread {
    /// From every node: kube-proxy forwards to wherever an endpoint is.
    Everywhere,
    /// From the hosts that have an endpoint (`externalTrafficPolicy: Local`), each with the number of these.
    On(BTreeMap<usize, usize>),
}

/// Finds the routes of these Services: of the addresses that they have in their status.
pub fn announce<'a, 'w: 'a>(
    world: &'w World,
    config: &'a Config,
    services: impl Iterator<Item = Seated<'a, 'w>>,
    hosts: &Hosts,
    sessions: &Sessions,
    findings: &mut Findings,
) -> Announcement {
    let mut stage = Stage {
        config,
        hosts,
        is_drained: world.drain_all.is_some(),
        endpoints: Endpoints::new(world),
        reach: Reach::new(world.now, config, hosts, sessions),
        of_pools: HashMap::new(),
        aggregates: BTreeMap::new(),
        announcement: Announcement::default(),
        findings,
    };
    let mut claims = Vec::new();
    for seated in services.filter(|seated| seated.served) {
        let service = seated.service;
        if let Err(why) = stage.claims(service, seated.kept(), &mut claims) {
            stage.announcement.silent.insert(service.meta.name.clone(), why);
        }
    }
    claims.sort_by_key(|claim| claim.address);
    for sharers in claims.chunk_by_mut(|a, b| a.address == b.address) {
        stage.address(sharers);
    }
    stage.limit();
    stage.measure_skews(&claims);
    stage.tell_of_families();
    stage.announcement
}

struct Stage<'w, 'a> {
    config: &'w Config,
    hosts: &'w Hosts<'w>,
    /// Nothing is to be announced.
    is_drained: bool,
    endpoints: Endpoints<'w>,
    reach: Reach<'w>,
    /// By pool: the advertisements of its addresses, by index.
    of_pools: HashMap<Option<usize>, Vec<usize>>,
    /// Whether the aggregate of a pool is wholly of the pool.
    aggregates: BTreeMap<(usize, IpNet), bool>,
    announcement: Announcement,
    findings: &'a mut Findings,
}

impl<'w> Stage<'w, '_> {
    /// What one Service wants announced.
    ///
    /// # Errors
    /// Why nothing, or not all of it, is announced.
    fn claims(
        &mut self,
        service: &'w Object<Service>,
        addresses: &[IpAddr],
        claims: &mut Vec<Claim<'w>>,
    ) -> Result<(), (Reason, String)> {
        if addresses.is_empty() {
            return Err((Reason::NoAddress, "the Service has no address yet".to_owned()));
        }
        if self.is_drained {
            return Err((Reason::AllDrained, ALL_DRAINED.to_owned()));
        }
        let pool_of = |address: &IpAddr| self.config.pools.of(*address);
        if addresses.iter().all(|address| pool_of(address).is_some_and(|pool| !pool.announce)) {
            return Err((Reason::NotToBeAnnounced, "its pools have announce: false".to_owned()));
        }
        let (asked, mut refused) = communities(self.config, service);
        let (mut permitted, mut outcome) = (BTreeSet::new(), Ok(()));
        for address in addresses.iter().copied() {
            let index = self.config.pools.index_of(address);
            let pool = index.and_then(|index| self.config.pools.get(index));
            let requests = self.requests(index, service, &asked, &mut permitted);
            if !service.value.addresses.contains(&address) {
                continue;
            }
            if requests.is_empty() && pool.is_some_and(|pool| pool.announce) {
                let message =
                    format!("no valid LoadBalancerAdvertisement fits the pool of {address} and the Service's labels");
                outcome = outcome.and(Err((Reason::NoAdvertisement, message)));
            }
            // Without requests it is a claim all the same: others that have the address must not bring it traffic where it
            // has no endpoint.
            match self.spread(service, Family::of(address)) {
                Ok(spread) => claims.push(Claim { address, service, spread, requests, retained: pool.is_none() }),
                Err(why) => outcome = outcome.and(Err(why)),
            }
        }
        refused.extend(asked.iter().filter(|value| !permitted.contains(*value)).map(|value| {
            format!("no LoadBalancerAdvertisement of it has the community {value} in allowedCommunities")
        }));
        if !refused.is_empty() {
            let id = ObjectRef::new(Kind::Service, service.meta.name.clone());
            self.findings.warning(id, Reason::NotPermitted, refused.join("; "));
            self.announcement.remark(&service.meta.name, Reason::NotPermitted, &refused.join("; "));
        }
        outcome
    }

    fn spread(&self, service: &Object<Service>, family: Family) -> Result<Spread, (Reason, String)> {
        let slices = self.endpoints.of(&service.meta.name);
        if !slices.any(family) {
            let message =
                format!("no {} endpoint of the Service is ready, nor serving while it terminates", family.name());
            return Err((Reason::NoReadyEndpoints, message));
        }
        if !service.value.is_local {
            return Ok(Spread::Everywhere);
        }
        let (hosts, others) = slices.hosts(family, self.hosts);
        if !hosts.is_empty() {
            return Ok(Spread::On(hosts));
        }
        let message = if others.is_empty() {
            "externalTrafficPolicy is Local, and none of its endpoints is on a node".to_owned()
        } else {
            let others = some(others.iter().copied());
            format!(
                "externalTrafficPolicy is Local, and its endpoints are on {others}: no Node of that name has a label {} of its own",
                names::HOSTNAME_LABEL
            )
        };
        Err((Reason::NoNode, message))
    }

    /// The advertisements that fit, each with the communities that it permits.
    fn requests(
        &mut self,
        pool: Option<usize>,
        service: &Object<Service>,
        asked: &BTreeSet<String>,
        permitted: &mut BTreeSet<String>,
    ) -> Vec<Request> {
        let Self { config, of_pools, .. } = self;
        let of_pool = of_pools.entry(pool).or_insert_with(|| {
            let pool = pool.and_then(|index| config.pools.get(index));
            let all = config.advertisements.iter().enumerate();
            all.filter(|(_, advertisement)| advertisement.fits_pool(pool)).map(|(index, _)| index).collect()
        });
        let of_pool = of_pool.iter().filter_map(|index| Some((*index, config.advertisements.get(*index)?)));
        let fitting = of_pool.filter(|(_, advertisement)| advertisement.fits_labels(&service.meta.labels));
        let request = |(index, advertisement): (usize, &crate::config::Advertisement)| {
            let communities: BTreeSet<String> =
                asked.intersection(&advertisement.allowed_communities).cloned().collect();
            permitted.extend(communities.iter().cloned());
            Request { advertisement: index, communities }
        };
        fitting.map(request).collect()
    }

    /// Unites what those say that have an address together.
    fn address(&mut self, sharers: &mut [Claim<'w>]) {
        if sharers.iter().all(|claim| claim.requests.is_empty() && !claim.retained) {
            return;
        }
        sharers.sort_by_key(|claim| claim.service.meta.seniority());
        let hosts = self.common_hosts(sharers);
        let Some(address) = sharers.first().map(|claim| claim.address) else { return };
        self.announcement.addresses.push(address);
        let retained = sharers.iter().any(|claim| claim.retained);
        let own = IpNet::from(address);
        let (mut aggregated, mut advertisements) = (false, Vec::new());
        let mut prefixes: Vec<IpNet> = Vec::new();
        for request in sharers.iter_mut().flat_map(|claim| std::mem::take(&mut claim.requests)) {
            let prefix = match hosts {
                None => self.prefix(request.advertisement, address),
                // An aggregate would bring traffic for addresses that have no endpoint here.
                Some(_) => own,
            };
            aggregated |= prefix != own;
            advertisements.push(request.advertisement);
            prefixes.push(prefix);
            let route = self.announcement.routes.entry(prefix).or_default();
            route.hosts.clone_from(&hosts);
            route.unite(request);
        }
        if retained {
            let route = self.announcement.routes.entry(own).or_default();
            (route.retained, route.hosts) = (true, hosts.clone());
            prefixes.push(own);
        }
        self.tell_of_reach(address, &advertisements, hosts.as_ref(), sharers);
        if aggregated {
            self.announcement.aggregates.insert(address, prefixes.into_iter().collect());
        }
    }

    /// Where those who share an address want it announced: everywhere, if `None`.
    ///
    /// A sharer with `externalTrafficPolicy: Local` bounds the others to the hosts that have an endpoint of it. Where no host
    /// that announces has one of each, the oldest such sharer's hosts count.
    fn common_hosts(&mut self, sharers: &[Claim<'w>]) -> Option<BTreeSet<usize>> {
        let local = || {
            sharers.iter().filter_map(|claim| match &claim.spread {
                Spread::On(hosts) => Some((claim, hosts)),
                Spread::Everywhere => None,
            })
        };
        let set = |hosts: &BTreeMap<usize, usize>| hosts.keys().copied().collect::<BTreeSet<_>>();
        let common = local().map(|(_, hosts)| set(hosts)).reduce(|all, hosts| &all & &hosts)?;
        let announces = |host: &usize| self.hosts.get(*host).is_some_and(|host| host.standing.announces());
        let (oldest, hosts) = local().next().map(|(oldest, hosts)| (oldest, set(hosts)))?;
        if common.iter().any(announces) {
            return Some(common);
        }
        for (claim, own) in local().map(|(claim, own)| (claim, set(own))).filter(|(_, own)| !own.is_superset(&hosts)) {
            let which = if own.is_disjoint(&hosts) { "none of them has" } else { "not all of them have" };
            let message = format!(
                "{} is announced from the nodes with endpoints of {}, which shares it and is older, and {which} an endpoint of this Service (externalTrafficPolicy: Local)",
                claim.address, oldest.service.meta.name
            );
            let name = &claim.service.meta.name;
            if own.is_disjoint(&hosts) {
                self.announcement.silent.insert(name.clone(), (Reason::NoNode, message));
            } else {
                self.announcement.remark(name, Reason::NotEverywhere, &message);
            }
        }
        Some(hosts)
    }

    /// Finds out how uneven the load of the endpoints of each Local Service is: by its most uneven address.
    fn measure_skews(&mut self, claims: &[Claim]) {
        let mut of_services: BTreeMap<&ObjectName, f64> = BTreeMap::new();
        for claim in claims {
            let Spread::On(endpoints) = &claim.spread else { continue };
            let Some(route) = self.announcement.routes.get(&IpNet::from(claim.address)) else { continue };
            let announcing = endpoints.iter().filter(|(host, _)| {
                route.hosts.as_ref().is_none_or(|hosts| hosts.contains(host))
                    && self.reach.includes(&route.requests, Family::of(claim.address), **host)
            });
            if let Some(skew) = skew(announcing.map(|(_, endpoints)| *endpoints), endpoints.values().sum()) {
                let greatest = of_services.entry(&claim.service.meta.name).or_default();
                *greatest = greatest.max(skew);
            }
        }
        of_services.into_values().for_each(|skew| self.announcement.skews.add(skew));
    }

    /// Tells those who have an address if nobody can announce it, or not for long.
    fn tell_of_reach(
        &mut self,
        address: IpAddr,
        advertisements: &[usize],
        hosts: Option<&BTreeSet<usize>>,
        sharers: &[Claim],
    ) {
        // Of an address that nothing asks for, nobody knows who announces it; only that some nodes don't announce at all.
        let until = match advertisements {
            [] if self.reach.all_silent(hosts).is_none() => return,
            [] => reach::Until::Never,
            advertisements => self.reach.until(advertisements, Family::of(address), hosts),
        };
        match until {
            reach::Until::Ever => {}
            reach::Until::Time(at) => {
                for claim in sharers {
                    let message = last_advertiser(address, at);
                    self.announcement.remark(&claim.service.meta.name, Reason::Draining, &message);
                }
            }
            reach::Until::Never => {
                let message = format!(
                    "no node can announce {address}: {}",
                    self.reach.why_not(advertisements, Family::of(address), hosts)
                );
                for claim in sharers {
                    let name = claim.service.meta.name.clone();
                    self.announcement.silent.entry(name).or_insert((Reason::NoNode, message.clone()));
                }
            }
        }
    }

    /// The prefix by which an advertisement announces an address: an aggregate, if all of it is of the pool.
    fn prefix(&mut self, advertisement: usize, address: IpAddr) -> IpNet {
        let own = IpNet::from(address);
        let Some(advertisement) = self.config.advertisements.get(advertisement) else { return own };
        let prefix = advertisement.prefix(address);
        if prefix == own {
            return own;
        }
        let Some((index, pool)) =
            self.config.pools.index_of(address).and_then(|index| Some((index, self.config.pools.get(index)?)))
        else {
            return own;
        };
        let whole = *self.aggregates.entry((index, prefix)).or_insert_with(|| {
            let range = AddressRange::from(prefix);
            pool.ranges.size_within(range) == range.span().saturating_add(1)
        });
        if whole {
            return prefix;
        }
        let id = ObjectRef::new(Kind::LoadBalancerAdvertisement, ObjectName::cluster(&advertisement.name));
        let message = format!(
            "{prefix} is not wholly in the ranges of LoadBalancerPool {}: its addresses are announced by themselves",
            pool.name
        );
        self.findings.warning(id, Reason::NotAggregated, message);
        own
    }

    /// Tells of hosts where no session carries the family of what is announced there.
    fn tell_of_families(&mut self) {
        // From all hosts, or from these.
        let mut used: BTreeMap<(usize, Family), Option<BTreeSet<usize>>> = BTreeMap::new();
        for (prefix, route) in &self.announcement.routes {
            let family = Family::of(prefix.addr());
            for request in &route.requests {
                let hosts = used.entry((request.advertisement, family)).or_insert_with(|| Some(BTreeSet::new()));
                match (&mut *hosts, &route.hosts) {
                    (Some(known), Some(more)) => known.extend(more),
                    _ => *hosts = None,
                }
            }
        }
        for ((index, family), hosts) in used {
            let Some(advertisement) = self.config.advertisements.get(index) else { continue };
            let mut without = self.reach.without(index, family);
            without.retain(|host| hosts.as_ref().is_none_or(|hosts| hosts.contains(host)));
            let names = some(without.iter().filter_map(|host| self.hosts.get(*host)).map(|host| host.name));
            if !without.is_empty() {
                let id = ObjectRef::new(Kind::LoadBalancerAdvertisement, ObjectName::cluster(&advertisement.name));
                let message = format!(
                    "{} prefixes are not announced on {names}: no session with its peers carries {} there; dualStackAddressFamily or another RouterPeer would",
                    family.name(),
                    family.name()
                );
                self.findings.warning(id, Reason::NotCarried, message);
            }
        }
    }
}

/// The communities that a Service asks for, and what is wrong with the others.
fn communities(config: &Config, service: &Object<Service>) -> (BTreeSet<String>, Vec<String>) {
    let (mut asked, mut refused) = (BTreeSet::new(), Vec::new());
    let list = annotation(&service.value, names::COMMUNITIES)
        .and_then(|found| found.map(|found| Ok::<_, Refusal>((found, found.entries()?))).transpose());
    let (found, entries) = match list {
        Ok(Some(found)) => found,
        Ok(None) => return (asked, refused),
        Err(refusal) => return (asked, vec![refusal.message]),
    };
    for text in entries {
        match community(text).or_else(|| config.aliases.get(text).cloned()) {
            Some(value) => drop(asked.insert(value)),
            None => refused.push(format!(
                "{}: {} is neither a community nor an alias of a CommunityAlias",
                found.key,
                quote(text)
            )),
        }
    }
    (asked, refused)
}

fn last_advertiser(address: IpAddr, at: Timestamp) -> String {
    format!("all that announce {address} are being drained: from {at} on nobody announces it")
}

/// The first few of some names.
fn some<'n>(names: impl Iterator<Item = &'n str>) -> String {
    const NAMED: usize = 3;
    let names: Vec<&str> = names.collect();
    let more = names.len().saturating_sub(NAMED);
    let shown = names.iter().take(NAMED).join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
