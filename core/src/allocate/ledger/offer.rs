//! What a Service can be given, and why not.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    net::IpAddr,
};

use super::{Ledger, index_of, number, of_address};
use crate::{
    address_set::{AddressSet, Family},
    allocate::{
        candidates::Candidates,
        hashed,
        request::Want,
        sharing::{Clash, Sharers, Sharing},
    },
    annotation::Refusal,
    config::{NotFor, Pool, Strategy},
    finding::Reason,
    world::{Object, ObjectName, Port, Service},
};

/// Why a pool gives a Service nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is disabled.
    Disabled,
    /// It is only for those who ask for it.
    NotAutomatic,
    /// It is succeeded by this pool.
    Succeeded(String),
    /// It is not for the Service.
    NotFor(NotFor),
    /// It has no address of the family.
    NoFamily,
    /// No address of the family is free.
    Full,
    /// The namespace has as many as it may.
    Quota(u64, u64),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("disabled"),
            Self::NotAutomatic => f.write_str("autoAssign is false"),
            Self::Succeeded(name) => write!(f, "succeeded by {name}"),
            Self::NotFor(why) => why.fmt(f),
            Self::NoFamily => f.write_str("no address of this family"),
            Self::Full => f.write_str("full"),
            Self::Quota(used, most) => write!(f, "quota {used}/{most} used"),
        }
    }
}

/// What else counts when an address is looked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms<'a> {
    /// The Service is about to get these.
    pub also: &'a [IpAddr],
    /// It does not want these.
    pub not: &'a [IpAddr],
    /// It gives these up for what is looked for.
    pub leaving: &'a [IpAddr],
}

/// How many pools a message names.
const NAMED: usize = 10;

/// Groups by the key, the namespace and the family.
pub(super) type Shared<'w> = HashMap<(&'w str, &'w str, Family), Group>;

/// Addresses that Services of one key and namespace have.
#[derive(Clone, Debug, Default)]
pub struct Group {
    addresses: Vec<IpAddr>,
    /// By port that was found taken somewhere: the places of the addresses where it may be free.
    open: HashMap<Port, BTreeSet<usize>>,
}

/// The namespace under which addresses are found whose holders share with all.
const EVERYWHERE: &str = "";

impl<'w> Ledger<'w> {
    /// Why a pool has nothing for the Service, whatever is free.
    fn closed(&self, service: &Object<Service>, index: usize, pool: &Pool, want: Want, terms: Terms) -> Option<Why> {
        let family = want.family();
        let asked_for = !matches!(want, Want::Family(_));
        let heir = self.pools.heir(index).filter(|_| !matches!(want, Want::Address(_)));
        if pool.disabled {
            return Some(Why::Disabled);
        }
        if let Some(heir) = heir.and_then(|heir| self.pools.get(heir)) {
            return Some(Why::Succeeded(heir.name.clone()));
        }
        if !pool.auto_assign && !asked_for {
            return Some(Why::NotAutomatic);
        }
        if let Err(why) = pool.allocation.fits(self.world, service) {
            return Some(Why::NotFor(why));
        }
        if !pool.has(family) {
            return Some(Why::NoFamily);
        }
        self.beyond_quota(&service.meta.name.namespace, index, pool, family, terms)
    }

    /// Why a pool does not give the Service this very address, whoever has it. What its namespace has already takes no more of
    /// the quota.
    fn closed_for(
        &self,
        service: &Object<Service>,
        address: IpAddr,
        index: usize,
        pool: &Pool,
        want: Want,
        terms: Terms,
    ) -> Option<Why> {
        let closed = self.closed(service, index, pool, want, terms)?;
        let is_settled = matches!(closed, Why::Quota(..)) && self.has(address, &service.meta.name.namespace);
        (!is_settled).then_some(closed)
    }

    /// Whether a namespace may have no further address of the pool.
    pub fn beyond_quota(
        &self,
        namespace: &str,
        index: usize,
        pool: &Pool,
        family: Family,
        terms: Terms,
    ) -> Option<Why> {
        let most = pool.quotas.of(namespace)?;
        let from_here =
            |address: &&IpAddr| Family::of(**address) == family && self.pools.index_of(**address) == Some(index);
        let coming = terms.also.iter().filter(from_here).filter(|address| !self.has(**address, namespace)).count();
        let going = terms.leaving.iter().filter(from_here).count();
        let used = self.used.get(&(index, family, namespace)).copied().unwrap_or(0);
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let used = used.saturating_add(count(coming)).saturating_sub(count(going));
        (used >= most).then_some(Why::Quota(used, most))
    }

    /// Finds an address for a Service.
    pub fn find(
        &mut self,
        candidates: &mut Candidates<'w>,
        service: usize,
        want: Want,
        terms: Terms,
    ) -> Result<IpAddr, Refusal> {
        let Some(object) = self.service(service) else {
            return Err(Refusal::new(Reason::NoPool, "the Service is not known"));
        };
        match want {
            Want::Address(address) | Want::Reserved(address) => self.obtain(object, address, terms).map(|()| address),
            Want::Pool(index, family) => {
                let index = self.pools.heir(index).unwrap_or(index);
                let own = self.reserved_for(&object.meta.name);
                let suits = |a: &IpAddr| Family::of(*a) == family && self.pools.index_of(*a) == Some(index);
                let own: Vec<IpAddr> = own.into_iter().filter(|a| suits(a) && !terms.not.contains(a)).collect();
                let mut coming = None;
                for address in own {
                    match self.obtain(object, address, terms) {
                        Ok(()) => return Ok(address),
                        Err(refusal) if refusal.reason == Reason::Pending => coming = coming.or(Some(refusal)),
                        Err(_) => {}
                    }
                }
                if let Some(refusal) = coming {
                    return Err(refusal);
                }
                self.pick(object, index, want, terms).map_err(|why| {
                    let name = self.pools.get(index).map_or("", |pool| pool.name.as_str());
                    Refusal::new(Reason::NoPool, format!("no {} address: {name}: {why}", family.name()))
                })
            }
            Want::Family(family) => {
                if let Some((address, other)) = self.awaited(&object.meta.name, family) {
                    let message =
                        format!("{address} is reserved for it and for Service {other}, which is not there yet");
                    return Err(Refusal::new(Reason::Pending, message));
                }
                self.find_anywhere(candidates, object, want, terms).ok_or_else(|| {
                    let reasons = self.reasons(candidates, object, family);
                    Refusal::new(Reason::NoPool, format!("no {} address: {reasons}", family.name()))
                })
            }
        }
    }

    fn find_anywhere(
        &mut self,
        candidates: &mut Candidates<'w>,
        service: &'w Object<Service>,
        want: Want,
        terms: Terms,
    ) -> Option<IpAddr> {
        let joined = self.join(service, want, None, terms);
        if joined.is_some() {
            return joined;
        }
        let open = Some((want.family(), self.free.as_slice()));
        candidates.find(service, open, |index| self.lowest(service, index, want, terms).ok())
    }

    /// An address of one pool: one that others of the same key have, else a free one.
    fn pick(&mut self, service: &'w Object<Service>, index: usize, want: Want, terms: Terms) -> Result<IpAddr, Why> {
        let joined = self.join(service, want, Some(index), terms);
        joined.map_or_else(|| self.lowest(service, index, want, terms), Ok)
    }

    fn lowest(&self, service: &Object<Service>, index: usize, want: Want, terms: Terms) -> Result<IpAddr, Why> {
        let pool = self.pools.get(index).ok_or(Why::NoFamily)?;
        if let Some(why) = self.closed(service, index, pool, want, terms) {
            return Err(why);
        }
        self.free(index, pool, want.family(), &service.meta.name, terms.not).ok_or(Why::Full)
    }

    /// The free address of a pool that its strategy chooses for this name.
    pub fn free(&self, index: usize, pool: &Pool, family: Family, name: &ObjectName, not: &[IpAddr]) -> Option<IpAddr> {
        let free = self.free.get(index)?;
        let choose = |free: &AddressSet| match pool.strategy {
            Strategy::Sequential => free.first(family),
            Strategy::Hashed => hashed::pick(&pool.addresses, free, family, &name.to_string()),
        };
        let chosen = choose(free)?;
        if !not.contains(&chosen) {
            return Some(chosen);
        }
        let mut rest = free.clone();
        for address in not {
            rest.remove((*address).into());
        }
        choose(&rest)
    }

    /// An address that Services of the same key have, and that this one can join.
    fn join(&mut self, service: &'w Object<Service>, want: Want, pool: Option<usize>, terms: Terms) -> Option<IpAddr> {
        let sharing = Sharing::of(service, &self.world.settings)?;
        let everywhere = sharing.everywhere.then_some(EVERYWHERE);
        let namespaces = std::iter::once(sharing.namespace).chain(sharing.with.iter().copied()).chain(everywhere);
        for namespace in namespaces {
            let mut shared = self.shared.take().unwrap_or_else(|| self.groups());
            let group = shared.get_mut(&(sharing.key, namespace, want.family()));
            let found = group.and_then(|group| self.join_group(group, service, &sharing, want, pool, terms));
            self.shared = Some(shared);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// The first address of a group that the Service can join.
    fn join_group(
        &mut self,
        group: &mut Group,
        service: &'w Object<Service>,
        sharing: &Sharing<'w>,
        want: Want,
        pool: Option<usize>,
        terms: Terms,
    ) -> Option<IpAddr> {
        let Group { addresses, open } = group;
        // Ports are only taken while addresses are given: what was taken stays so.
        let narrowest = service.value.ports.iter().filter_map(|port| open.get(port)).min_by_key(|places| places.len());
        let places: Box<dyn Iterator<Item = usize>> = match narrowest {
            Some(places) => Box::new(places.clone().into_iter()),
            None => Box::new(0..addresses.len()),
        };
        for place in places {
            let Some(address) = addresses.get(place).copied() else { continue };
            match self.admit(&service.value, Some(sharing), address) {
                Err(Clash::Port(port, _)) => {
                    open.entry(port).or_insert_with(|| (0..addresses.len()).collect()).remove(&place);
                }
                Err(Clash::Consent) => {}
                Ok(()) => {
                    if !terms.not.contains(&address) && self.may_join(service, address, want, pool, terms) {
                        return Some(address);
                    }
                }
            }
        }
        None
    }

    /// Whether the Service may have the shared address, as far as its pool and reservations go.
    fn may_join(
        &self,
        service: &Object<Service>,
        address: IpAddr,
        want: Want,
        only: Option<usize>,
        terms: Terms,
    ) -> bool {
        let Some(index) = self.pools.index_of(address).filter(|index| only.is_none_or(|only| only == *index)) else {
            return false;
        };
        let open = |pool| self.closed_for(service, address, index, pool, want, terms).is_none();
        self.pools.get(index).is_some_and(open)
            && self.in_the_way(service, address).is_none()
            && self.reserved.get(&address).is_none_or(|services| services.contains(&service.meta.name))
    }

    /// Whether a Service can join those who have the address.
    fn admit(&mut self, service: &Service, sharing: Option<&Sharing>, address: IpAddr) -> Result<(), Clash> {
        if !self.sharers.contains_key(&address) {
            let mut sharers = Sharers::default();
            for holder in self.holders(address) {
                let Some(service) = self.service(holder) else { continue };
                let sharing = Sharing::of(service, &self.world.settings).filter(|_| self.is_served(holder));
                sharers.add(number(holder), &service.value, sharing);
            }
            self.sharers.insert(address, sharers);
        }
        self.sharers.get(&address).map_or(Ok(()), |sharers| sharers.admit(service, sharing))
    }

    /// The Service that is losing the address, has it in its status still, and would not share it with this one: statuses are
    /// written in no certain order, so that for a moment both would have it.
    fn in_the_way(&self, service: &Object<Service>, address: IpAddr) -> Option<&'w ObjectName> {
        let sharing = Sharing::of(service, &self.world.settings);
        of_address(&self.ending, address).iter().find_map(|claim| {
            let other = self.service(index_of(claim.service)).filter(|other| other.meta.name != service.meta.name)?;
            let mut sharers = Sharers::default();
            sharers.add(claim.service, &other.value, Sharing::of(other, &self.world.settings));
            sharers.admit(&service.value, sharing.as_ref()).is_err().then_some(&other.meta.name)
        })
    }

    /// Keeps a place beside those who have an address for a Service that only waits for others to lose it: in this plan nobody
    /// comes between.
    pub fn keep_place(&mut self, service: usize, address: IpAddr) {
        let Some(object) = self.service(service).filter(|object| self.in_the_way(object, address).is_some()) else {
            return;
        };
        let sharing = Sharing::of(object, &self.world.settings);
        if let Some(sharers) = self.sharers.get_mut(&address)
            && sharers.admit(&object.value, sharing.as_ref()).is_ok()
        {
            sharers.add(number(service), &object.value, sharing);
        }
    }

    fn groups(&self) -> Shared<'w> {
        let mut shared = Shared::new();
        let live = self.claims.iter().filter(|claim| claim.live);
        let given =
            self.given.iter().flat_map(|(address, services)| services.iter().map(|service| (*address, *service)));
        for (address, service) in live.map(|claim| (claim.address, claim.service)).chain(given) {
            if let Some(service) = self.services.get(index_of(service)).filter(|_| self.is_served(index_of(service))) {
                enter(&mut shared, address, Sharing::of(service, &self.world.settings).as_ref());
            }
        }
        shared
    }

    /// Whether the Service can have this address.
    fn obtain(&mut self, service: &'w Object<Service>, address: IpAddr, terms: Terms) -> Result<(), Refusal> {
        let unavailable = |why: String| Refusal::new(Reason::AddressNotAvailable, format!("{address} {why}"));
        let name = &service.meta.name;
        let reserved = self.reserved.get(&address);
        let is_reserved = reserved.is_some_and(|services| services.contains(name));
        if let Some(other) = reserved.and_then(|services| services.first()).filter(|_| !is_reserved) {
            return Err(unavailable(format!("is reserved for Service {other}")));
        }
        let Some(index) = self.pools.index_of(address) else {
            if is_reserved && !self.pools.is_complete() {
                let message = format!("{address} is reserved for it, but its pool is not valid now");
                return Err(Refusal::new(Reason::Pending, message));
            }
            return Err(unavailable("is in no LoadBalancerPool, or excluded there".to_owned()));
        };
        if let Some(pool) = self.pools.get(index).filter(|_| !is_reserved)
            && let Some(why) = self.closed_for(service, address, index, pool, Want::Address(address), terms)
        {
            return Err(unavailable(format!("is in pool {}: {why}", pool.name)));
        }
        let Some(holder) = self.holders(address).next().and_then(|holder| self.service(holder)) else {
            let is_free = self.free.get(index).is_some_and(|free| free.contains(address));
            if is_free || (is_reserved && !self.is_leaving(address)) {
                return Ok(());
            }
            return Err(Refusal::new(
                Reason::Pending,
                format!("{address} was somebody else's; it is given as soon as it is withdrawn everywhere"),
            ));
        };
        let sharing = Sharing::of(service, &self.world.settings);
        match self.admit(&service.value, sharing.as_ref(), address) {
            Ok(()) => {
                let Some(other) = self.in_the_way(service, address) else { return Ok(()) };
                let message = format!("{address} is still in the status of Service {other}, which loses it");
                Err(Refusal::new(Reason::Pending, message))
            }
            Err(Clash::Consent) => {
                let hint = if sharing.is_some() { ", which does not share it with this Service" } else { "" };
                let mut holders = self.holders(address).filter_map(|holder| self.service(holder));
                let other = holders.find(|other| !self.consent(&other.meta.name, name)).unwrap_or(holder);
                Err(unavailable(format!("is held by Service {}{hint}", other.meta.name)))
            }
            Err(Clash::Port(port, other)) => {
                let other = self.service(index_of(other)).unwrap_or(holder);
                let name = &other.meta.name;
                Err(unavailable(format!("is shared with Service {name}, which has the port {port} too")))
            }
        }
    }

    /// Whether an address that nobody holds is still announced, or on its way to somebody.
    fn is_leaving(&self, address: IpAddr) -> bool {
        self.leaving.contains(&address) || !self.claims_of(address).is_empty()
    }

    /// Why no pool has an address for the Service: first those that are for it, in their order, then others.
    fn reasons(&self, candidates: &mut Candidates<'w>, service: &'w Object<Service>, family: Family) -> String {
        let mut offered = Vec::new();
        candidates.find(service, None, |index| {
            offered.push(index);
            (offered.len() == NAMED).then_some(())
        });
        let missing = NAMED.saturating_sub(offered.len());
        let others: Vec<usize> = candidates.order().filter(|index| !offered.contains(index)).take(missing).collect();
        let reason = |index: &usize| {
            let pool = self.pools.get(*index)?;
            let why = self.closed(service, *index, pool, Want::Family(family), Terms::default()).unwrap_or(Why::Full);
            Some(format!("{}: {why}", pool.name))
        };
        let mut reasons: Vec<String> = offered.iter().chain(&others).filter_map(reason).collect();
        if self.pools.count() > reasons.len() {
            reasons.push(format!("and {} more", self.pools.count() - reasons.len()));
        }
        if reasons.is_empty() { "there is no valid LoadBalancerPool".to_owned() } else { reasons.join(", ") }
    }

    /// Why a pool gives the Service no address of the family that would be its own, if so.
    pub fn verdict(&self, service: &Object<Service>, index: usize, family: Family) -> Option<Why> {
        self.lowest(service, index, Want::Family(family), Terms::default()).err()
    }
}

/// Enters an address into the groups of its sharer.
pub(super) fn enter<'w>(shared: &mut Shared<'w>, address: IpAddr, sharing: Option<&Sharing<'w>>) {
    let Some(sharing) = sharing else { return };
    for namespace in std::iter::once(sharing.namespace).chain(sharing.everywhere.then_some(EVERYWHERE)) {
        let group = shared.entry((sharing.key, namespace, Family::of(address))).or_default();
        if group.addresses.last() != Some(&address) {
            for places in group.open.values_mut() {
                places.insert(group.addresses.len());
            }
            group.addresses.push(address);
        }
    }
}
