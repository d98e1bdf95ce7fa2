//! Reservations to held addresses. What is recorded goes first, then what is new, the oldest reservation first.

use std::net::IpAddr;

use super::ledger::{Ledger, Terms};
use crate::{
    address_set::Family,
    annotation::Refusal,
    config::{Config, Pool, Reservation},
    finding::{Findings, Reason},
    world::{Kind, ObjectName, ObjectRef, World},
};

/// The addresses that each reservation holds, in the order of the reservations.
pub fn reserve<'w>(
    world: &World,
    config: &'w Config,
    ledger: &mut Ledger<'w>,
    findings: &mut Findings,
) -> Vec<Vec<IpAddr>> {
    let mut held: Vec<Vec<IpAddr>> = Vec::new();
    for reservation in &config.reservations {
        let pool = config.pools.named(&reservation.pool);
        let is_in_pool = |address: &IpAddr| {
            let index = config.pools.index_of(*address);
            // What can't be read now may be right again later.
            !config.pools.is_complete() || (index.is_some() && (index == pool || pool.is_none()))
        };
        let lists =
            |address: &&IpAddr| is_in_pool(address) && (reservation.any || reservation.addresses.contains(address));
        let mut addresses = Vec::new();
        for address in reservation.recorded.iter().filter(lists) {
            if keeps(world, ledger, reservation, *address) {
                ledger.reserve(*address, &reservation.service);
                addresses.push(*address);
            }
        }
        held.push(addresses);
    }
    for (reservation, addresses) in config.reservations.iter().zip(&mut held) {
        for refusal in complete(world, config, ledger, reservation, addresses) {
            let id = ObjectRef::new(Kind::AddressReservation, reservation.name.clone());
            findings.error(id, refusal.reason, refusal.message);
        }
        addresses.sort_unstable();
    }
    held
}

/// Reserves what is not held yet; returns what can't be.
fn complete<'w>(
    world: &World,
    config: &'w Config,
    ledger: &mut Ledger<'w>,
    reservation: &'w Reservation,
    held: &mut Vec<IpAddr>,
) -> Vec<Refusal> {
    let name = &reservation.pool;
    let Some((index, pool)) = config.pools.named(name).and_then(|index| Some((index, config.pools.get(index)?))) else {
        return vec![Refusal::new(
            Reason::UnknownName,
            format!("poolName: there is no valid LoadBalancerPool {name:?}"),
        )];
    };
    let mut refusals = Vec::new();
    let wanted = reservation.addresses.iter().filter(|address| !held.contains(address)).copied();
    for address in wanted.collect::<Vec<_>>() {
        if let Some(other) = expected(world, ledger, reservation, address) {
            ledger.await_sharer(&reservation.service, address, other);
        }
        let outcome = if config.pools.index_of(address) == Some(index) {
            admit(ledger, reservation, address)
                .and_then(|()| open(world, ledger, reservation, index, pool, address))
                .map_err(|why| Refusal::new(Reason::AddressNotAvailable, format!("{address} {why}")))
        } else {
            Err(Refusal::new(
                Reason::AddressNotAvailable,
                format!("{address} is not in pool {name}, or excluded there"),
            ))
        };
        match outcome {
            Ok(()) => {
                ledger.reserve(address, &reservation.service);
                held.push(address);
            }
            Err(refusal) => refusals.push(refusal),
        }
    }
    let missing = |family: &Family| pool.has(*family) && !held.iter().any(|address| Family::of(*address) == *family);
    for family in Family::ALL.into_iter().filter(|_| reservation.any).filter(missing).collect::<Vec<_>>() {
        match any(world, config, ledger, reservation, index, pool, family) {
            Ok(address) => {
                ledger.reserve(address, &reservation.service);
                held.push(address);
            }
            Err(why) => {
                refusals.push(Refusal::new(Reason::NoPool, format!("no {} address: {name}: {why}", family.name())));
            }
        }
    }
    refusals
}

/// Any address of the pool: the one that the Service has, else a free one.
fn any(
    world: &World,
    config: &Config,
    ledger: &Ledger,
    reservation: &Reservation,
    index: usize,
    pool: &Pool,
    family: Family,
) -> Result<IpAddr, String> {
    let service = world.services.get(&reservation.service);
    let held = service.into_iter().flat_map(|service| &service.value.addresses);
    let suits = |address: &&IpAddr| Family::of(**address) == family && config.pools.index_of(**address) == Some(index);
    let is_own = |address: &&IpAddr| {
        is_with_own(ledger, reservation, **address) && admit(ledger, reservation, **address).is_ok()
    };
    let mut own = held.filter(suits).filter(is_own);
    if let Some(address) = own.next() {
        return Ok(*address);
    }
    allowed(world, reservation, pool)?;
    let namespace = &reservation.service.namespace;
    match ledger.beyond_quota(namespace, index, pool, family, Terms::default()) {
        Some(why) => Err(why.to_string()),
        None => ledger.free(index, pool, family, &reservation.service, &[]).ok_or_else(|| "full".to_owned()),
    }
}

/// The Services that have an address, by name.
fn holders<'w>(ledger: &Ledger<'w>, address: IpAddr) -> impl Iterator<Item = &'w ObjectName> {
    ledger.holders(address).filter_map(|holder| ledger.service(holder)).map(|holder| &holder.meta.name)
}

/// Whether the reservation's own Service has the address.
fn is_with_own(ledger: &Ledger, reservation: &Reservation, address: IpAddr) -> bool {
    holders(ledger, address).any(|name| *name == reservation.service)
}

/// Whether a reservation goes on having a recorded address: whoever is there of those who have it, or for whom it is reserved, would
/// share it with the others.
fn keeps(world: &World, ledger: &Ledger, reservation: &Reservation, address: IpAddr) -> bool {
    let service = &reservation.service;
    let is_there = |name: &ObjectName| world.services.get(name).is_some_and(|service| world.serves(service));
    let shares = |other: &ObjectName| match is_there(service) {
        true => ledger.consent(other, service),
        false => ledger.would_share(other, service),
    };
    let reserved = ledger.reserved_by(address).into_iter().flatten().copied();
    let is_agreed = |other: &ObjectName| match is_there(other) {
        true => shares(other),
        false => !is_there(service) || ledger.would_share(service, other),
    };
    reserved.filter(|other| *other != service).all(is_agreed)
        && (is_with_own(ledger, reservation, address) || holders(ledger, address).all(shares))
}

/// Whether nobody else has the address, in words that follow it.
fn admit(ledger: &Ledger, reservation: &Reservation, address: IpAddr) -> Result<(), String> {
    let service = &reservation.service;
    let mut others = ledger.reserved_by(address).into_iter().flatten();
    if let Some(other) = others.find(|other| **other != service && !ledger.consent(other, service)) {
        return Err(format!("is reserved for Service {other}"));
    }
    let agrees = |name: &ObjectName| name == service || ledger.consent(name, service);
    match holders(ledger, address).find(|name| !agrees(name)) {
        Some(other) if !is_with_own(ledger, reservation, address) => Err(format!("is held by Service {other}")),
        _ => Ok(()),
    }
}

/// The Service that is not there yet and for which the address is reserved too, if this one may share it.
fn expected<'w>(
    world: &World,
    ledger: &Ledger<'w>,
    reservation: &Reservation,
    address: IpAddr,
) -> Option<&'w ObjectName> {
    let service = &reservation.service;
    let others = || ledger.reserved_by(address).into_iter().flatten().copied().filter(|other| *other != service);
    let is_missing = |other: &ObjectName| world.services.get(other).is_none() && ledger.would_share(service, other);
    let missing = others().find(|other| is_missing(other))?;
    others().all(|other| is_missing(other) || ledger.consent(other, service)).then_some(missing)
}

/// Whether the pool gives the address, in words that follow it.
fn open(
    world: &World,
    ledger: &Ledger,
    reservation: &Reservation,
    index: usize,
    pool: &Pool,
    address: IpAddr,
) -> Result<(), String> {
    // What the Service has is only written down.
    if is_with_own(ledger, reservation, address) {
        return Ok(());
    }
    let namespace = &reservation.service.namespace;
    let in_pool = |why: String| format!("is in pool {}: {why}", pool.name);
    allowed(world, reservation, pool).map_err(in_pool)?;
    let family = Family::of(address);
    let beyond = ledger.beyond_quota(namespace, index, pool, family, Terms::default());
    // Who shares an address in its own namespace needs no more of the quota.
    beyond.filter(|_| !ledger.has(address, namespace)).map_or(Ok(()), |why| Err(in_pool(why.to_string())))
}

fn allowed(world: &World, reservation: &Reservation, pool: &Pool) -> Result<(), String> {
    if pool.disabled {
        return Err("disabled".to_owned());
    }
    // The labels of a Service that does not exist are not known.
    if let Some(service) = world.services.get(&reservation.service) {
        return pool.allocation.fits(world, service).map_err(|why| why.to_string());
    }
    let fits = pool.allocation.fits_namespace(world, &reservation.service.namespace);
    if fits { Ok(()) } else { Err("namespace not allowed".to_owned()) }
}
