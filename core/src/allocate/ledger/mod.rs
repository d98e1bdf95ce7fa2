//! Who holds which address, what is free, and what a Service can be given.

mod offer;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use clarion_api::names;

use self::offer::{Shared, enter};
pub use self::offer::{Terms, Why};
use super::sharing::{Clash, Sharers, Sharing};
use crate::{
    address_set::{AddressSet, Family},
    config::Pools,
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
    /// Those of the claims that are not live, in the same order.
    ending: Vec<Claim>,
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
            ending: Vec::new(),
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
        ledger.ending = ledger.claims.iter().filter(|claim| !claim.live).copied().collect();
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
            let standing_of = |claim: &Claim| self.standings.get(index_of(claim.service)).copied();
            let mut members: Vec<(&Object<Service>, &mut Claim)> =
                group.iter_mut().filter(|c| c.live).filter_map(|c| Some((service_of(c)?, c))).collect();
            // Who has it by our own record is not driven out by what others write later.
            let is_ours = |service: &Object<Service>, claim: &Claim| {
                standing_of(claim) == Some(Standing::Served) && service.value.is_on_record(claim.address)
            };
            let ours_first = members.iter().any(|(service, claim)| is_ours(service, claim));
            members.sort_by_key(|(service, claim)| {
                let is_foreign = standing_of(claim) == Some(Standing::Foreign);
                (ours_first && is_foreign, service.meta.seniority())
            });
            let mut seated = Sharers::default();
            // Those of whom it is not known that they share.
            let mut strangers = Sharers::default();
            let mut keeper: Option<u32> = None;
            for (service, claim) in members {
                let is_served = standing_of(claim) == Some(Standing::Served);
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
        of_address(&self.claims, address)
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

    /// Whether a Service of ours is there and would share an address with another, if that agrees.
    pub fn would_share(&self, name: &ObjectName, other: &ObjectName) -> bool {
        self.sharing_of(name).is_some_and(|s| s.namespace == other.namespace || s.admits(&other.namespace))
    }

    /// Whether two Services of ours, if they exist, agree to have one address.
    pub fn consent(&self, one: &ObjectName, other: &ObjectName) -> bool {
        self.sharing_of(one).zip(self.sharing_of(other)).is_some_and(|(one, other)| one.consents(&other))
    }

    fn sharing_of(&self, name: &ObjectName) -> Option<Sharing<'w>> {
        let service = self.world.services.get(name).filter(|service| self.world.serves(service));
        Sharing::of(service?, &self.world.settings)
    }

    /// Whether the namespace of a Service goes on having an address without it.
    pub fn has_beside(&self, service: usize, address: IpAddr) -> bool {
        let Some(namespace) = self.service(service).map(|object| &object.meta.name.namespace) else { return false };
        let others = self.holders(address).filter(|other| *other != service).filter_map(|other| self.service(other));
        let reserved = self.reserved.get(&address).into_iter().flatten().copied();
        others.map(|other| &other.meta.name).chain(reserved).any(|name| name.namespace == *namespace)
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
}

fn of_address(claims: &[Claim], address: IpAddr) -> &[Claim] {
    let begin = claims.partition_point(|claim| claim.address < address);
    let end = claims.partition_point(|claim| claim.address <= address);
    claims.get(begin..end).unwrap_or_default()
}

fn index_of(service: u32) -> usize {
    usize::try_from(service).unwrap_or(usize::MAX)
}

fn number(service: usize) -> u32 {
    u32::try_from(service).unwrap_or(u32::MAX)
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
