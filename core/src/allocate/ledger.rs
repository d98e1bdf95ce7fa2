//! Who holds which address, what is free, and what a Service can be given.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    net::IpAddr,
};

use clarion_api::names;

use super::{
    candidates::Candidates,
    hashed,
    request::{Refusal, Want},
    sharing::{Clash, Sharers, Sharing},
};
use crate::{
    address_set::{AddressSet, Family},
    config::{NotFor, Pool, Pools, Strategy},
    finding::Reason,
    world::{Announced, Kind, Object, ObjectName, ObjectRef, Port, Service, World},
};

/// An address in the status of a Service, or on its way there.
#[derive(Clone, Copy, Debug)]
struct Claim {
    address: IpAddr,
    /// The Service, by index.
    service: u32,
    /// The Service keeps it. Else it is on its way out, or an older Service's.
    live: bool,
}

/// What a Service is to Clarion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is served.
    Served,
    /// It was served, and is cleaned up after.
    Left,
    /// It is somebody else's.
    Foreign,
}

/// An address that a Service loses because an older one holds it too.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// The Service that loses it, by index.
    pub service: usize,
    /// The address.
    pub address: IpAddr,
    /// The Service that keeps it, by index.
    pub to: usize,
    /// Both have this port, although they may share.
    pub port: Option<Port>,
}

/// Who holds what.
pub struct Ledger<'w> {
    world: &'w World,
    pools: &'w Pools,
    /// The Services that hold an address or may get one, in the order of their names.
    services: Vec<&'w Object<Service>>,
    standings: Vec<Standing>,
    /// By address, then by Service.
    claims: Vec<Claim>,
    /// Claims that were granted in this plan.
    given: BTreeMap<IpAddr, Vec<u32>>,
    /// The Services for which an address is reserved.
    reserved: BTreeMap<IpAddr, BTreeSet<&'w ObjectName>>,
    /// Addresses that a Service is to share with one that is not there yet.
    awaited: HashMap<&'w ObjectName, Vec<(IpAddr, &'w ObjectName)>>,
    /// The addresses that are reserved for a Service.
    reserved_for: HashMap<&'w ObjectName, BTreeSet<IpAddr>>,
    /// By pool.
    free: Vec<AddressSet>,
    /// By pool and family: how many addresses are not free.
    taken: Vec<[u64; 2]>,
    /// For pools with quotas: how many addresses a namespace holds.
    used: HashMap<(usize, Family, &'w str), u64>,
    /// Addresses of pools that nobody holds, but that are still announced, or on their way to somebody who is gone.
    leaving: BTreeSet<IpAddr>,
    /// What those say who have an address, found so far.
    sharers: HashMap<IpAddr, Sharers<'w>>,
    /// Addresses by the key, the namespace and the family of those who share them; built when first asked for.
    shared: Option<Shared<'w>>,
}

type Shared<'w> = HashMap<(&'w str, &'w str, Family), Group>;

/// Addresses that Services of one key and namespace have.
#[derive(Clone, Debug, Default)]
struct Group {
    addresses: Vec<IpAddr>,
    /// By port: at so many addresses from the first on it is taken.
    taken: HashMap<Port, usize>,
}

/// The namespace under which addresses are found whose holders share with all.
const EVERYWHERE: &str = "";

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

impl<'w> Ledger<'w> {
    /// Enters what stands in the status of all Services, and what is on its way there. Of holders that do not share an
    /// address the oldest keeps it; the others are returned.
    pub fn new(world: &'w World, pools: &'w Pools, announced: &Announced) -> (Self, Vec<Loss>) {
        let mut services = Vec::with_capacity(world.services.len());
        let mut standings = Vec::with_capacity(world.services.len());
        for service in world.services.iter() {
            let standing = if world.serves(service) {
                Standing::Served
            } else if service.value.conditions.iter().any(|condition| condition.type_ == names::ADDRESS_ALLOCATED) {
                Standing::Left
            } else if service.value.is_load_balancer && !service.value.addresses.is_empty() {
                Standing::Foreign
            } else {
                continue;
            };
            services.push(service);
            standings.push(standing);
        }
        let claims = claims(world, &services, &standings);
        let (free, taken) = pools.iter().map(|pool| pool.addresses.without(&claims, |claim| claim.address)).unzip();
        let mut ledger = Self {
            world,
            pools,
            services,
            standings,
            claims,
            given: BTreeMap::new(),
            reserved: BTreeMap::new(),
            reserved_for: HashMap::new(),
            awaited: HashMap::new(),
            free,
            taken,
            used: HashMap::new(),
            leaving: BTreeSet::new(),
            sharers: HashMap::new(),
            shared: None,
        };
        let losses = ledger.resolve();
        ledger.count_for_quotas();
        let services = world.unsettled.iter().filter(|(object, _)| object.kind == Kind::Service);
        let under_way = services.flat_map(|(_, intent)| &intent.addresses);
        for address in announced.as_slice().iter().chain(under_way) {
            if ledger.occupy(*address) {
                ledger.leaving.insert(*address);
            }
        }
        (ledger, losses)
    }

    /// Finds the claims that exclude each other. Who shares an address now goes on sharing it, whatever was edited; only a
    /// port that both have parts them.
    fn resolve(&mut self) -> Vec<Loss> {
        let mut losses = Vec::new();
        for group in self.claims.chunk_by_mut(|a, b| a.address == b.address).filter(|group| group.len() > 1) {
            let service_of = |claim: &Claim| self.services.get(index_of(claim.service)).copied();
            let mut members: Vec<(&Object<Service>, &mut Claim)> =
                group.iter_mut().filter(|c| c.live).filter_map(|c| Some((service_of(c)?, c))).collect();
            // Who has it by our own record is not driven out by what others write later.
            let is_ours = |service: &Object<Service>, claim: &Claim| {
                self.standings.get(index_of(claim.service)) == Some(&Standing::Served)
                    && service.value.speaks_of(claim.address)
            };
            let ours_first = members.iter().any(|(service, claim)| is_ours(service, claim));
            members.sort_by_key(|(service, claim)| {
                let is_foreign = self.standings.get(index_of(claim.service)) == Some(&Standing::Foreign);
                (ours_first && is_foreign, service.meta.seniority())
            });
            let mut seated = Sharers::default();
            // Those of whom it is not known that they share.
            let mut strangers = Sharers::default();
            let mut keeper: Option<u32> = None;
            for (service, claim) in members {
                let is_served = self.standings.get(index_of(claim.service)) == Some(&Standing::Served);
                let sharing = Sharing::of(service, &self.world.settings).filter(|_| is_served);
                let is_marked = is_served && service.value.is_marked(names::ADDRESS_SHARED, claim.address);
                let others = if is_marked { &strangers } else { &seated };
                let agreed = others.admit(&service.value, sharing.as_ref()) != Err(Clash::Consent);
                let clash = seated.clash(&service.value).filter(|_| agreed);
                let to = clash.map(|(_, holder)| holder).or(keeper.filter(|_| !agreed));
                // What is somebody else's is not taken away.
                if let Some(to) = to.filter(|_| is_served) {
                    claim.live = false;
                    let port = clash.map(|(port, _)| port);
                    losses.push(Loss {
                        service: index_of(claim.service),
                        address: claim.address,
                        to: index_of(to),
                        port,
                    });
                    continue;
                }
                keeper.get_or_insert(claim.service);
                if !is_marked {
                    strangers.add(claim.service, &service.value, sharing.clone());
                }
                seated.add(claim.service, &service.value, sharing);
            }
        }
        losses.sort_by_key(|loss| loss.service);
        losses
    }

    fn count_for_quotas(&mut self) {
        if self.pools.iter().all(|pool| pool.quotas.is_empty()) {
            return;
        }
        for group in self.claims.chunk_by(|a, b| a.address == b.address) {
            let Some(address) = group.first().map(|claim| claim.address) else { continue };
            let served =
                |claim: &&Claim| claim.live && self.standings.get(index_of(claim.service)) == Some(&Standing::Served);
            let services = group.iter().filter(served).filter_map(|claim| self.services.get(index_of(claim.service)));
            let namespaces: BTreeSet<&str> = services.map(|service| service.meta.name.namespace.as_str()).collect();
            let Some(pool) = self.pools.index_of(address) else { continue };
            for namespace in namespaces {
                *self.used.entry((pool, Family::of(address), namespace)).or_default() += 1;
            }
        }
    }

    /// The Services that hold an address or may get one, with what they are to Clarion, in the order of their names.
    pub fn services(&self) -> impl ExactSizeIterator<Item = (&'w Object<Service>, Standing)> {
        self.services.iter().copied().zip(self.standings.iter().copied())
    }

    /// The Service of this index, and what it is to Clarion.
    pub fn entry(&self, service: usize) -> Option<(&'w Object<Service>, Standing)> {
        self.services.get(service).copied().zip(self.standings.get(service).copied())
    }

    /// The Service of this index.
    pub fn service(&self, service: usize) -> Option<&'w Object<Service>> {
        self.services.get(service).copied()
    }

    /// The index of the Service of this name.
    pub fn index_of(&self, name: &ObjectName) -> Option<usize> {
        self.services.binary_search_by_key(&name, |service| &service.meta.name).ok()
    }

    /// Whether a Service is served.
    pub fn is_served(&self, service: usize) -> bool {
        self.standings.get(service) == Some(&Standing::Served)
    }

    fn claims_of(&self, address: IpAddr) -> &[Claim] {
        let begin = self.claims.partition_point(|claim| claim.address < address);
        let end = self.claims.partition_point(|claim| claim.address <= address);
        self.claims.get(begin..end).unwrap_or_default()
    }

    /// Those who hold the address and keep it, by index.
    pub fn holders(&self, address: IpAddr) -> impl Iterator<Item = usize> {
        let present = self.claims_of(address).iter().filter(|claim| claim.live).map(|claim| index_of(claim.service));
        present.chain(self.given.get(&address).into_iter().flatten().map(|service| index_of(*service)))
    }

    /// The addresses that several Services hold, each with those Services.
    pub fn shared_addresses(&self) -> Vec<(IpAddr, Vec<usize>)> {
        let groups = self.claims.chunk_by(|a, b| a.address == b.address).filter(|group| group.len() > 1);
        let several = groups.filter_map(|group| Some(group.first()?.address));
        let addresses: BTreeSet<IpAddr> = several.chain(self.given.keys().copied()).collect();
        let with_holders = addresses.into_iter().map(|address| (address, self.holders(address).collect::<Vec<_>>()));
        with_holders.filter(|(_, holders)| holders.len() > 1).collect()
    }

    /// Takes an address out of what is free; tells whether it was.
    fn occupy(&mut self, address: IpAddr) -> bool {
        let Some(pool) = self.pools.index_of(address) else { return false };
        let was_free = self.free.get_mut(pool).is_some_and(|free| free.remove(address.into()));
        if was_free && let Some([v4, v6]) = self.taken.get_mut(pool) {
            *(if address.is_ipv4() { v4 } else { v6 }) += 1;
        }
        was_free
    }

    /// How many addresses of a pool are not free: IPv4, IPv6.
    pub fn taken(&self, pool: usize) -> [u64; 2] {
        self.taken.get(pool).copied().unwrap_or_default()
    }

    /// How many addresses of the pool a namespace holds or has reserved. Only counted where the pool has quotas.
    pub fn used(&self, pool: usize, family: Family, namespace: &'w str) -> u64 {
        self.used.get(&(pool, family, namespace)).copied().unwrap_or(0)
    }

    // Reservations.

    /// Reserved addresses, each with the Services that it is reserved for.
    pub fn reservations(&self) -> impl Iterator<Item = (IpAddr, &'w ObjectName)> {
        self.reserved.iter().flat_map(|(address, services)| services.iter().map(|service| (*address, *service)))
    }

    /// Addresses that nobody holds and that are still announced, or on their way to somebody who is gone.
    pub fn leaving(&self) -> impl Iterator<Item = IpAddr> {
        self.leaving.iter().copied()
    }

    /// Services of others that have addresses.
    pub fn foreign(&self) -> impl Iterator<Item = &'w Object<Service>> {
        self.services().filter(|(_, standing)| *standing == Standing::Foreign).map(|(service, _)| service)
    }

    /// The addresses that are reserved for a Service.
    pub fn reserved_for(&self, service: &ObjectName) -> Vec<IpAddr> {
        self.reserved_for.get(service).into_iter().flatten().copied().collect()
    }

    /// Whether addresses are reserved for a Service that it does not hold.
    pub fn has_more_reserved(&self, service: &Object<Service>) -> bool {
        let reserved = self.reserved_for.get(&service.meta.name);
        reserved.is_some_and(|reserved| reserved.iter().any(|address| !service.value.addresses.contains(address)))
    }

    /// The Services for which the address is reserved.
    pub fn reserved_by(&self, address: IpAddr) -> Option<&BTreeSet<&'w ObjectName>> {
        self.reserved.get(&address)
    }

    /// Reserves an address for a Service.
    pub fn reserve(&mut self, address: IpAddr, service: &'w ObjectName) {
        self.count(address, &service.namespace);
        self.reserved.entry(address).or_default().insert(service);
        self.reserved_for.entry(service).or_default().insert(address);
        self.occupy(address);
    }

    /// Notes that an address is reserved for a Service and for another that is not there yet. Whether they share it is not
    /// known before.
    pub fn await_sharer(&mut self, service: &'w ObjectName, address: IpAddr, other: &'w ObjectName) {
        self.awaited.entry(service).or_default().push((address, other));
    }

    /// The address that a Service is to share with one that is not there yet.
    fn awaited(&self, service: &ObjectName, family: Family) -> Option<(IpAddr, &'w ObjectName)> {
        let awaited = self.awaited.get(service).into_iter().flatten();
        awaited.copied().find(|(address, _)| Family::of(*address) == family)
    }

    /// Whether a Service is there and may share an address.
    pub fn may_share(&self, name: &ObjectName) -> bool {
        let service = self.world.services.get(name);
        service.is_some_and(|service| Sharing::of(service, &self.world.settings).is_some())
    }

    /// Whether two Services, if they exist, agree to have one address.
    pub fn consent(&self, one: &ObjectName, other: &ObjectName) -> bool {
        let sharing = |name| Sharing::of(self.world.services.get(name)?, &self.world.settings);
        sharing(one).zip(sharing(other)).is_some_and(|(one, other)| one.consents(&other))
    }

    /// Counts an address for the quota of a namespace, unless it has the address already.
    fn count(&mut self, address: IpAddr, namespace: &'w str) {
        let Some(pool) = self.pools.index_of(address) else { return };
        if self.pools.get(pool).is_some_and(|pool| !pool.quotas.is_empty()) && !self.has(address, namespace) {
            *self.used.entry((pool, Family::of(address), namespace)).or_default() += 1;
        }
    }

    /// Whether a Service or a reservation of the namespace has the address.
    pub fn has(&self, address: IpAddr, namespace: &str) -> bool {
        let reserved = self.reserved.get(&address).into_iter().flatten();
        let held = self.holders(address).filter(|service| self.is_served(*service));
        let held = held.filter_map(|service| self.service(service)).map(|service| &service.meta.name);
        reserved.copied().chain(held).any(|name| name.namespace == namespace)
    }

    // What can be given.

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
                for address in own {
                    if self.obtain(object, address, terms).is_ok() {
                        return Ok(address);
                    }
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
        let sharing = Sharing::of(service, &self.world.settings);
        let joined = sharing.and_then(|sharing| self.join(service, &sharing, want, None, terms));
        if joined.is_some() {
            return joined;
        }
        let open = Some((want.family(), self.free.as_slice()));
        candidates.find(service, open, |index| self.lowest(service, index, want, terms).ok())
    }

    /// An address of one pool: one that others of the same key have, else a free one.
    fn pick(&mut self, service: &'w Object<Service>, index: usize, want: Want, terms: Terms) -> Result<IpAddr, Why> {
        let sharing = Sharing::of(service, &self.world.settings);
        let joined = sharing.and_then(|sharing| self.join(service, &sharing, want, Some(index), terms));
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
    fn join(
        &mut self,
        service: &'w Object<Service>,
        sharing: &Sharing<'w>,
        want: Want,
        pool: Option<usize>,
        terms: Terms,
    ) -> Option<IpAddr> {
        let everywhere = sharing.everywhere.then_some(EVERYWHERE);
        let namespaces = std::iter::once(sharing.namespace).chain(sharing.with.iter().copied()).chain(everywhere);
        for namespace in namespaces {
            let mut shared = self.shared.take().unwrap_or_else(|| self.groups());
            let group = shared.get_mut(&(sharing.key, namespace, want.family()));
            let found = group.and_then(|group| self.join_group(group, service, sharing, want, pool, terms));
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
        let Group { addresses, taken } = group;
        // Ports are only taken while addresses are given: what was taken stays so.
        let taken_up_to = |port: &Port| taken.get(port).copied().unwrap_or(0);
        let begin = service.value.ports.iter().map(taken_up_to).max().unwrap_or(0);
        for (place, address) in addresses.iter().enumerate().skip(begin) {
            match self.admit(&service.value, Some(sharing), *address) {
                Err(Clash::Port(port, _)) => {
                    let taken = taken.entry(port).or_default();
                    *taken += usize::from(*taken == place);
                }
                Err(Clash::Consent) => {}
                Ok(()) => {
                    if !terms.not.contains(address) && self.may_join(service, *address, want, pool, terms) {
                        return Some(*address);
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
        let name = &service.meta.name;
        let open = self.pools.get(index).is_some_and(|pool| match self.closed(service, index, pool, want, terms) {
            None => true,
            Some(Why::Quota(..)) => self.has(address, &name.namespace),
            Some(_) => false,
        });
        open && self.reserved.get(&address).is_none_or(|services| services.contains(name))
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
            return Err(unavailable("is in no LoadBalancerPool, or excluded there".to_owned()));
        };
        if let Some(pool) = self.pools.get(index).filter(|_| !is_reserved) {
            let closed = self.closed(service, index, pool, Want::Address(address), terms);
            // Who shares an address in its own namespace needs no more of the quota.
            let closed = closed.filter(|why| !matches!(why, Why::Quota(..)) || !self.has(address, &name.namespace));
            if let Some(why) = closed {
                return Err(unavailable(format!("is in pool {}: {why}", pool.name)));
            }
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
            Ok(()) => Ok(()),
            Err(Clash::Consent) => {
                let hint = if sharing.is_some() { ", which does not share it with this Service" } else { "" };
                Err(unavailable(format!("is held by Service {}{hint}", holder.meta.name)))
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

    /// Gives an address to a Service.
    pub fn give(&mut self, service: usize, address: IpAddr) {
        let Some(object) = self.service(service) else { return };
        self.count(address, &object.meta.name.namespace);
        let sharing = Sharing::of(object, &self.world.settings);
        if let Some(shared) = &mut self.shared {
            enter(shared, address, sharing.as_ref());
        }
        if let Some(sharers) = self.sharers.get_mut(&address) {
            sharers.add(number(service), &object.value, sharing);
        }
        let given = self.given.entry(address).or_default();
        if !given.contains(&number(service)) {
            given.push(number(service));
        }
        self.occupy(address);
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

fn index_of(service: u32) -> usize {
    usize::try_from(service).unwrap_or(usize::MAX)
}

fn number(service: usize) -> u32 {
    u32::try_from(service).unwrap_or(u32::MAX)
}

fn enter<'w>(shared: &mut Shared<'w>, address: IpAddr, sharing: Option<&Sharing<'w>>) {
    let Some(sharing) = sharing else { return };
    for namespace in std::iter::once(sharing.namespace).chain(sharing.everywhere.then_some(EVERYWHERE)) {
        let group = shared.entry((sharing.key, namespace, Family::of(address))).or_default();
        if group.addresses.last() != Some(&address) {
            group.addresses.push(address);
        }
    }
}

/// What stands in the status of Services or is on its way there, by address and Service.
fn claims(world: &World, services: &[&Object<Service>], standings: &[Standing]) -> Vec<Claim> {
    let mut claims = Vec::with_capacity(services.iter().map(|service| service.value.addresses.len()).sum());
    for ((service, standing), index) in services.iter().zip(standings).zip(0_u32..) {
        let claim = |address: &IpAddr| Claim { address: *address, service: index, live: *standing != Standing::Left };
        claims.extend(service.value.addresses.iter().map(claim));
        if !world.unsettled.is_empty()
            && let Some(intent) = world.unsettled.get(&ObjectRef::new(Kind::Service, service.meta.name.clone()))
        {
            let new = intent.addresses.iter().filter(|address| !service.value.addresses.contains(address));
            claims.extend(new.map(claim));
        }
    }
    claims.sort_unstable_by_key(|claim| (claim.address, claim.service));
    claims.dedup_by_key(|claim| (claim.address, claim.service));
    claims
}
