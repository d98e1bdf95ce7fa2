//! What a Service has, or why it does not, in words.

use std::{collections::BTreeSet, fmt::Display, net::IpAddr};

use itertools::Itertools as _;

use super::{Allocation, Seated, Why};
use crate::{
    address_set::Family,
    config::{Config, Pools},
    finding::Reason,
    text::Clauses,
    world::{GIVES_UP, KEEPS, ObjectName, World},
};

/// Whether a Service has what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// It has everything that it can't do without.
    pub complete: bool,
    /// The reason from the catalogue.
    pub reason: Reason,
    /// In one sentence.
    pub message: String,
}

impl Seated<'_, '_> {
    /// Tells what the Service has and what it waits for.
    pub fn verdict(&self) -> Verdict {
        let chosen = self.change().map_or(self.service.value.addresses.as_slice(), |change| &change.chosen);
        let waits = self.change().map_or(&[][..], |change| &change.waits);
        let unmet = || waits.iter().map(|wait| wait.refusal.message.as_str()).format("; ");
        let mut message = Clauses::default();
        if let Some(first) = waits.iter().find(|wait| !wait.optional) {
            message.add(unmet());
            if !self.kept().is_empty() {
                message.add(format_args!("{KEEPS}{}", list(self.kept())));
            }
            let goes = |address: &&IpAddr| !self.kept().contains(address);
            let going: Vec<IpAddr> = self.addresses().iter().filter(goes).copied().collect();
            if !going.is_empty() {
                message.add(format_args!("{GIVES_UP}{}", list(&going)));
            }
            return Verdict { complete: false, reason: first.refusal.reason, message: message.into_text() };
        }
        let succeeded = chosen.iter().find_map(|address| {
            let pool = self.pools.index_of(*address)?;
            let heir = self.pools.get(self.pools.heir(pool)?)?;
            Some((&self.pools.get(pool)?.name, &heir.name))
        });
        let surplus = self.change().map_or(&[][..], |change| &change.surplus);
        let reason = if succeeded.is_some() {
            Reason::Succession
        } else if !waits.is_empty() {
            Reason::PartlyAllocated
        } else if chosen.iter().chain(surplus).any(|address| self.pools.index_of(*address).is_none()) {
            Reason::Retained
        } else {
            Reason::Allocated
        };
        message.add(sources(self.pools, chosen));
        if let Some(by) = self.service.value.ingress_by.as_deref().filter(|_| reason == Reason::Retained) {
            message.add(format_args!("the field manager {by} wrote it: if that still runs, give the Service a class"));
        }
        if !surplus.is_empty() {
            let sources = sources(self.pools, surplus);
            message.add(format_args!("it also has {sources}, until clarion release gives it up"));
        }
        if let Some((pool, heir)) = succeeded {
            message.add(format_args!("pool {pool} is succeeded by {heir}"));
        }
        let is_going = |address: &&IpAddr| !chosen.contains(address) && !surplus.contains(address);
        let going: Vec<IpAddr> = self.addresses().iter().filter(is_going).copied().collect();
        if !going.is_empty() {
            message.add(format_args!("{GIVES_UP}{} when the rest is announced", list(&going)));
        }
        message.add(unmet());
        Verdict { complete: true, reason, message: message.into_text() }
    }
}

pub(super) fn list(addresses: &[IpAddr]) -> impl Display {
    addresses.iter().format(", ")
}

/// From where it has these addresses.
fn sources(pools: &Pools, addresses: &[IpAddr]) -> impl Display {
    addresses.iter().format_with(", ", |address, write| match pools.of(*address) {
        Some(pool) => write(&format_args!("{address} from pool {}", pool.name)),
        None => write(&format_args!("{address}, kept although no valid pool holds it any more")),
    })
}

/// What a pool has for a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// The pool's index.
    pub pool: usize,
    /// The family.
    pub family: Family,
    /// The addresses that the Service has from it.
    pub has: Vec<IpAddr>,
    /// Why the pool gives it no further address of its own, if so.
    pub why: Option<Why>,
}

/// An address that is not free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held<'w> {
    /// The address.
    pub address: IpAddr,
    /// The Service that has it, or for which it is reserved; `None` while it is being withdrawn.
    pub service: Option<&'w ObjectName>,
    /// How it is held.
    pub how: How,
}

/// How an address is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The Service has it.
    Held,
    /// It has it together with others.
    Shared,
    /// It is about to get it.
    Coming,
    /// It is about to lose it.
    Going,
    /// It has not got it, but nobody else gets it.
    Reserved,
    /// Somebody else than Clarion has given it.
    Foreign,
}

impl How {
    /// In one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Shared => "shared",
            Self::Coming => "coming",
            Self::Going => "going",
            Self::Reserved => "reserved",
            Self::Foreign => "foreign",
        }
    }
}

impl<'w> Allocation<'w> {
    /// Weighs every pool for a Service, in the order in which they are tried.
    #[must_use]
    pub fn weigh(&self, world: &World, config: &Config, name: &ObjectName) -> Vec<Weighed> {
        let Some(seated) = self.seat(name) else { return Vec::new() };
        let mut weighed = Vec::new();
        for pool in super::Candidates::new(world, &config.pools).order() {
            for family in seated.service.value.wanted_families() {
                let from_here = |address: &&IpAddr| {
                    Family::of(**address) == *family && config.pools.index_of(**address) == Some(pool)
                };
                weighed.push(Weighed {
                    pool,
                    family: *family,
                    has: seated.kept().iter().filter(from_here).copied().collect(),
                    why: self.ledger.verdict(seated.service, pool, *family),
                });
            }
        }
        weighed
    }

    /// Every address that is not free, in order, once for each Service that has it.
    #[must_use]
    pub fn held(&self) -> Vec<Held<'w>> {
        let mut held = Vec::new();
        for seated in self.seats() {
            let (service, status) = (&seated.service.meta.name, &seated.service.value.addresses);
            let coming = seated.addresses().iter().filter(|address| !status.contains(address));
            for address in status.iter().chain(coming) {
                let how = match (status.contains(address), seated.kept().contains(address)) {
                    (_, false) => How::Going,
                    (false, true) => How::Coming,
                    (true, true) if seated.shared().contains(address) => How::Shared,
                    (true, true) => How::Held,
                };
                held.push(Held { address: *address, service: Some(service), how });
            }
        }
        for service in self.ledger.foreign() {
            let addresses = service.value.addresses.iter();
            held.extend(addresses.map(|a| Held { address: *a, service: Some(&service.meta.name), how: How::Foreign }));
        }
        let has: BTreeSet<_> = held.iter().map(|held| (held.address, held.service)).collect();
        let reserved =
            self.ledger.reservations().filter(|(address, service)| !has.contains(&(*address, Some(*service))));
        held.extend(reserved.map(|(address, service)| Held { address, service: Some(service), how: How::Reserved }));
        held.extend(self.ledger.leaving().map(|address| Held { address, service: None, how: How::Going }));
        held.sort_by_key(|held| (held.address, held.service));
        held
    }
}
