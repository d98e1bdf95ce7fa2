//! Pools and Services to addresses. Who holds an address keeps it; then those who wait are served, oldest first, each
//! with the lowest free address. The outcome does not depend on the order in which objects were seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use clarion_api::names;

use crate::{
    address_set::{AddressSet, Family},
    config::Pool,
    finding::Reason,
    world::{Kind, Object, ObjectName, ObjectRef, Service, World},
};

/// Who gets which address.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allocation {
    /// By Service: every Service that is served, and those that were and still hold something.
    pub seats: BTreeMap<ObjectName, Seat>,
    /// How many addresses of each pool are held, in the order of the pools: IPv4, IPv6.
    pub assigned: Vec<[u64; 2]>,
}

/// The addresses of one Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seat {
    /// The Service is served, not only cleaned up after.
    pub served: bool,
    /// Nothing of ours is left of it: our conditions go too. They tell that what the status holds was ours, so they go last.
    pub forgotten: bool,
    /// What its status is to hold now, in order.
    pub addresses: Vec<IpAddr>,
    /// Those that it is to have announced, as soon as they stand in the status.
    pub kept: Vec<IpAddr>,
    /// Whether it has every address that it asks for.
    pub complete: bool,
    /// Why.
    pub reason: Option<Reason>,
    /// In words.
    pub message: String,
}

/// Gives addresses to Services. `announced` are the addresses that our objects announce by themselves.
pub fn seat(world: &World, pools: &[Pool], owners: &Owners, announced: &BTreeSet<IpAddr>) -> Allocation {
    let mut free: Vec<AddressSet> = pools.iter().map(|pool| pool.addresses.clone()).collect();
    let mut take = |address: IpAddr| {
        if let Some(free) = owners.of(address).and_then(|pool| free.get_mut(pool)) {
            free.remove(address.into());
        }
    };
    announced.iter().copied().for_each(&mut take);
    for service in world.services.iter().filter(|service| service.value.is_load_balancer) {
        service.value.addresses.iter().copied().for_each(&mut take);
    }
    for intent in world.unsettled.values() {
        intent.addresses.iter().copied().for_each(&mut take);
    }

    let by_seniority = world.services.by_seniority();
    let mut allocation = Allocation { assigned: vec![[0; 2]; pools.len()], ..Allocation::default() };
    let mut holders = BTreeSet::new();
    let mut waiting = Vec::new();
    for service in by_seniority {
        let seat = if world.serves(service) {
            let seat = Seat { served: true, ..hold(world, service, announced, &mut holders) };
            if !missing(&service.value, &seat.kept).is_empty() {
                waiting.push(service);
            }
            seat
        } else if was_served(service) {
            release(world, service, announced, owners)
        } else {
            continue;
        };
        allocation.seats.insert(service.meta.name.clone(), seat);
    }
    for service in waiting {
        let blocked = world.unsettled.contains_key(&ObjectRef::new(Kind::Service, service.meta.name.clone()));
        let Some(seat) = allocation.seats.get_mut(&service.meta.name) else { continue };
        give(world, service, pools, &mut free, seat, blocked);
    }
    for (name, seat) in &mut allocation.seats {
        if let Some(service) = world.services.get(name).filter(|_| seat.served) {
            explain(&service.value, seat, pools, owners);
        }
        // What is about to be theirs counts, or the count would go down and up again.
        let under_way = world.unsettled.get(&ObjectRef::new(Kind::Service, name.clone()));
        let coming = under_way.into_iter().flat_map(|intent| &intent.addresses).filter(|a| !seat.addresses.contains(a));
        for address in seat.addresses.iter().chain(coming) {
            if let Some(assigned) = owners.of(*address).and_then(|pool| allocation.assigned.get_mut(pool)) {
                let [v4, v6] = assigned;
                *(if address.is_ipv4() { v4 } else { v6 }) += 1;
            }
        }
    }
    allocation
}

/// What a Service has and keeps. An address that an older Service holds too is not kept, nor one of a family that the
/// Service no longer wants; the latter stays in the status until it is withdrawn.
fn hold(
    world: &World,
    service: &Object<Service>,
    announced: &BTreeSet<IpAddr>,
    holders: &mut BTreeSet<IpAddr>,
) -> Seat {
    let wanted = wanted(&service.value);
    let mut seat = Seat::default();
    for address in &service.value.addresses {
        if wanted.contains(&Family::of(*address)) {
            if holders.insert(*address) {
                seat.addresses.push(*address);
                seat.kept.push(*address);
            } else {
                seat.reason = Some(Reason::AddressConflict);
                seat.message = format!("{address} belongs to an older Service");
                if world.add_only {
                    seat.addresses.push(*address);
                }
            }
        } else if world.add_only || announced.contains(address) {
            seat.addresses.push(*address);
        }
    }
    seat
}

/// What is left of a Service that was served once: addresses that are still announced. Addresses that come from none of
/// our pools are somebody else's and stay.
fn release(world: &World, service: &Object<Service>, announced: &BTreeSet<IpAddr>, owners: &Owners) -> Seat {
    let is_held = |a: &IpAddr| world.add_only || announced.contains(a);
    let stays = |a: &&IpAddr| is_held(a) || owners.of(**a).is_none();
    let addresses: Vec<IpAddr> = service.value.addresses.iter().filter(stays).copied().collect();
    Seat { forgotten: !addresses.iter().any(is_held), addresses, ..Seat::default() }
}

fn was_served(service: &Object<Service>) -> bool {
    service.value.conditions.iter().any(|condition| condition.type_ == names::ADDRESS_ALLOCATED)
}

fn wanted(service: &Service) -> &[Family] {
    if service.families.is_empty() { &[Family::V4] } else { &service.families }
}

fn missing(service: &Service, kept: &[IpAddr]) -> Vec<Family> {
    let has = |family: &Family| kept.iter().any(|address| Family::of(*address) == *family);
    wanted(service).iter().filter(|family| !has(family)).copied().collect()
}

/// Gives a waiting Service what it lacks, or tells why that can't be.
fn give(
    world: &World,
    service: &Object<Service>,
    pools: &[Pool],
    free: &mut [AddressSet],
    seat: &mut Seat,
    blocked: bool,
) {
    if service.meta.deleting || blocked {
        return;
    }
    if let Some(request) = request(&service.value) {
        seat.reason = Some(Reason::NotSupported);
        seat.message = format!("this version of Clarion does not act on {request}");
        return;
    }
    let pools = candidates(world, service, pools);
    let mut given = Vec::new();
    let mut refusals = Vec::new();
    for family in missing(&service.value, &seat.kept) {
        let found = pools.iter().find_map(|(index, pool)| {
            let usable = why_not(world, service, pool).is_none();
            free.get(*index).filter(|_| usable)?.first(family).map(|address| (*index, address))
        });
        match found {
            Some(found) => given.push(found),
            None => refusals.push(refusal(world, service, family, &pools)),
        }
    }
    if !refusals.is_empty() {
        seat.reason.get_or_insert(Reason::NoPool);
        seat.message = refusals.join("; ");
        if service.value.requires_dual_stack {
            return;
        }
    }
    for (index, address) in given {
        if let Some(free) = free.get_mut(index) {
            free.remove(address.into());
        }
        seat.addresses.push(address);
        seat.kept.push(address);
    }
    let order = |address: &IpAddr| wanted(&service.value).iter().position(|f| *f == Family::of(*address));
    seat.addresses.sort_by_key(order);
    seat.kept.sort_by_key(order);
}

/// What the Service asks for and this version does not do.
fn request(service: &Service) -> Option<String> {
    if let Some(address) = &service.load_balancer_ip {
        return Some(format!("spec.loadBalancerIP: {address}"));
    }
    let asks = |key: &&String| {
        names::ANNOTATION_PREFIXES
            .iter()
            .filter_map(|prefix| key.strip_prefix(prefix))
            .any(|name| matches!(name, "loadBalancerIPs" | "address-pool"))
    };
    service.annotations.keys().find(asks).map(|key| format!("the annotation {key}"))
}

/// The pools in the order in which they are tried: pinned ones first, by priority, then the others; by name among equals.
fn candidates<'a>(world: &World, service: &Object<Service>, pools: &'a [Pool]) -> Vec<(usize, &'a Pool)> {
    let mut candidates: Vec<_> = pools.iter().enumerate().collect();
    candidates.sort_by_key(|(_, pool)| {
        let pinned = pool.allocation.as_ref().is_some_and(|a| a.is_pinned() && a.fits(world, service));
        (!pinned, pool.allocation.as_ref().map_or(u32::MAX, |a| a.priority), &pool.name)
    });
    candidates
}

fn why_not(world: &World, service: &Object<Service>, pool: &Pool) -> Option<&'static str> {
    if let Some(why) = pool.closed {
        Some(why)
    } else if !pool.auto_assign {
        Some("autoAssign is false")
    } else if pool.allocation.as_ref().is_some_and(|allocation| !allocation.fits(world, service)) {
        Some("not for this Service")
    } else {
        None
    }
}

/// How many pools a message names.
const NAMED: usize = 10;

fn refusal(world: &World, service: &Object<Service>, family: Family, pools: &[(usize, &Pool)]) -> String {
    let why = |pool: &Pool| match why_not(world, service, pool) {
        Some(why) => why,
        None if pool.has(family) => "full",
        None => "no address of this family",
    };
    let mut reasons: Vec<_> = pools.iter().take(NAMED).map(|(_, p)| format!("{}: {}", p.name, why(p))).collect();
    if pools.len() > NAMED {
        reasons.push(format!("and {} more", pools.len() - NAMED));
    }
    let reasons = if reasons.is_empty() { "there is no valid LoadBalancerPool".to_owned() } else { reasons.join(", ") };
    format!("no {} address: {reasons}", family.name())
}

/// Tells what a Service got, where nothing else was said of it already.
fn explain(service: &Service, seat: &mut Seat, pools: &[Pool], owners: &Owners) {
    let missing = missing(service, &seat.kept);
    seat.complete = missing.is_empty() || (!seat.kept.is_empty() && !service.requires_dual_stack);
    if !seat.complete {
        return;
    }
    let source = |address: &IpAddr| match owners.of(*address).and_then(|index| pools.get(index)) {
        Some(pool) => format!("{address} from pool {}", pool.name),
        None => format!("{address}, kept although no valid pool holds it any more"),
    };
    let retained = seat.kept.iter().any(|address| owners.of(*address).is_none());
    let sources = seat.kept.iter().map(source).collect::<Vec<_>>().join(", ");
    (seat.reason, seat.message) = if !missing.is_empty() {
        let lacking = if seat.message.is_empty() { "another address is on its way" } else { &seat.message };
        (Some(Reason::PartlyAllocated), format!("{sources}; {lacking}"))
    } else if retained {
        (Some(Reason::Retained), sources)
    } else {
        (Some(Reason::Allocated), sources)
    };
}

/// Finds the pool of an address. Pools don't overlap once they are checked.
pub struct Owners(BTreeMap<IpAddr, (IpAddr, usize)>);

impl Owners {
    /// For these pools.
    pub fn new(pools: &[Pool]) -> Self {
        let ranges = pools.iter().enumerate().flat_map(|(index, pool)| {
            let ranges = Family::ALL.into_iter().flat_map(|family| pool.addresses.ranges(family));
            ranges.map(move |(first, last)| (first, (last, index)))
        });
        Self(ranges.collect())
    }

    /// The index of the pool that has the address.
    pub fn of(&self, address: IpAddr) -> Option<usize> {
        let (_, (last, index)) = self.0.range(..=address).next_back()?;
        (address <= *last).then_some(*index)
    }
}
