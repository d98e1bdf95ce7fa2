//! What a Service asks for, in its spec and its annotations.

use std::net::IpAddr;

use clarion_api::names;

use super::sharing;
use crate::{
    address_set::Family,
    config::{Pools, address},
    finding::Reason,
    world::{Object, Service},
};

/// What a Service asks for beyond an address of each family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// These addresses.
    pub addresses: Vec<IpAddr>,
    /// An address from each of these pools, by index.
    pub pools: Vec<usize>,
    /// Not these addresses.
    pub released: Vec<IpAddr>,
}

/// Why something is not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason from the catalogue.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

impl Refusal {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(Reason::InvalidRequest, message)
    }

    fn conflicting(message: impl Into<String>) -> Self {
        Self::new(Reason::ConflictingRequest, message)
    }
}

/// One thing that a Service is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// This address.
    Address(IpAddr),
    /// An address of the family from this pool or the one that succeeds it.
    Pool(usize, Family),
    /// An address of the family from any pool that is for the Service.
    Family(Family),
}

impl Want {
    /// The family of the address.
    pub fn family(self) -> Family {
        match self {
            Self::Address(address) => Family::of(address),
            Self::Pool(_, family) | Self::Family(family) => family,
        }
    }
}

/// The most entries that a list in an annotation may have.
const ENTRIES_MAX: usize = 64;
/// The most characters of a text that a message quotes.
const QUOTED_MAX: usize = 64;

/// An annotation under one of the prefixes.
#[derive(Clone, Copy, Debug)]
pub struct Annotation<'w> {
    /// The key, with the prefix.
    pub key: &'w str,
    /// The value.
    pub value: &'w str,
}

/// Finds the annotation of this name. With several prefixes, the values must be the same but for white space.
pub fn annotation<'w>(service: &'w Service, name: &str) -> Result<Option<Annotation<'w>>, Refusal> {
    let is_it = |key: &str| names::ANNOTATION_PREFIXES.iter().any(|prefix| key.strip_prefix(prefix) == Some(name));
    let mut found = service.annotations.iter().filter(|(key, _)| is_it(key));
    let Some((key, value)) = found.next() else { return Ok(None) };
    let bare = |value: &'w str| value.chars().filter(|c| !c.is_whitespace());
    match found.find(|(_, other)| !bare(value).eq(bare(other))) {
        Some((other_key, other)) => {
            Err(Refusal::conflicting(format!("{key} is {}, but {other_key} is {}", quote(value), quote(other))))
        }
        None => Ok(Some(Annotation { key, value })),
    }
}

impl<'w> Annotation<'w> {
    /// The entries between commas. Empty ones are not counted.
    pub fn entries(self) -> Result<Vec<&'w str>, Refusal> {
        let entries = self.value.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let entries: Vec<_> = entries.take(ENTRIES_MAX + 1).collect();
        if entries.len() > ENTRIES_MAX {
            return Err(Refusal::invalid(format!("{} has more than {ENTRIES_MAX} entries", self.key)));
        }
        Ok(entries)
    }

    fn addresses(self) -> Result<Vec<IpAddr>, Refusal> {
        let mut addresses = Vec::new();
        for entry in self.entries()? {
            let address = read(self.key, entry)?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }
}

fn read(field: &str, text: &str) -> Result<IpAddr, Refusal> {
    address(text).map_err(|error| Refusal::invalid(format!("{field}: {}: {error}", quote(text))))
}

/// A text as a message quotes it: escaped, and not longer than a reader wants.
pub fn quote(text: &str) -> String {
    match text.char_indices().nth(QUOTED_MAX) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

impl Request {
    /// Reads what a Service asks for.
    pub fn of(service: &Object<Service>, pools: &Pools) -> Result<Self, Refusal> {
        let value = &service.value;
        if value.annotations.is_empty() && value.load_balancer_ip.is_none() {
            return Ok(Self::default());
        }
        sharing::check(value)?;
        let named = annotation(value, names::ADDRESS_POOL)?;
        let request = Self {
            addresses: addresses(value)?,
            pools: named.map(|annotation| named_pools(annotation, pools)).transpose()?.unwrap_or_default(),
            released: released(value)?,
        };
        request.check(service, pools, named.map_or("", |named| named.key))?;
        Ok(request)
    }

    /// Looks for contradictions, and names both sides.
    fn check(&self, service: &Object<Service>, pools: &Pools, named: &str) -> Result<(), Refusal> {
        let wanted = service.value.wanted_families();
        let families = || wanted.iter().map(|family| family.name()).collect::<Vec<_>>().join(", ");
        let name = |index: usize| pools.get(index).map_or("", |pool| pool.name.as_str());
        for address in &self.addresses {
            if !wanted.contains(&Family::of(*address)) {
                let message = format!("{address} is asked for, but spec.ipFamilies is {}", families());
                return Err(Refusal::conflicting(message));
            }
            let Some(pool) = pools.index_of(*address).filter(|_| !self.pools.is_empty()) else { continue };
            if !self.pools.iter().any(|index| *index == pool || pools.heir(*index) == Some(pool)) {
                let message = format!("{address} is in pool {}, but {named} names {}", name(pool), {
                    self.pools.iter().map(|index| name(*index)).collect::<Vec<_>>().join(", ")
                });
                return Err(Refusal::conflicting(message));
            }
        }
        for index in &self.pools {
            if !pools.get(*index).is_some_and(|pool| wanted.iter().any(|family| pool.has(*family))) {
                let message = format!(
                    "{named} names pool {}, which has no address of the families in spec.ipFamilies: {}",
                    name(*index),
                    families()
                );
                return Err(Refusal::conflicting(message));
            }
        }
        match self.addresses.iter().find(|address| self.released.contains(address)) {
            Some(address) => Err(Refusal::conflicting(format!(
                "{address} is asked for, but {} gives it up",
                names::RELEASE_ANNOTATION
            ))),
            None => Ok(()),
        }
    }

    /// What the Service is to have, in the order of its families. `reserved` are addresses that are held for it.
    pub fn wants(&self, families: &[Family], pools: &Pools, reserved: &[IpAddr]) -> Vec<Want> {
        let mut wants = Vec::new();
        for family in families {
            let of_family = |address: &&IpAddr| Family::of(**address) == *family;
            let before = wants.len();
            wants.extend(self.addresses.iter().filter(of_family).map(|address| Want::Address(*address)));
            for index in self.pools.iter().filter(|index| pools.get(**index).is_some_and(|pool| pool.has(*family))) {
                let from_it = |address: &IpAddr| {
                    pools.index_of(*address).is_some_and(|pool| pool == *index || pools.heir(*index) == Some(pool))
                };
                let asked = self.addresses.iter().filter(of_family).any(from_it);
                let reserved = reserved.iter().filter(of_family).filter(|address| from_it(address));
                let held: Vec<_> = reserved.map(|address| Want::Address(*address)).collect();
                match (asked, held.is_empty()) {
                    (true, _) => {}
                    (false, true) => wants.push(Want::Pool(*index, *family)),
                    (false, false) => wants.extend(held),
                }
            }
            if wants.len() == before {
                wants.extend(reserved.iter().filter(of_family).map(|address| Want::Address(*address)));
            }
            if wants.len() == before {
                wants.push(Want::Family(*family));
            }
        }
        wants
    }

    /// Whether addresses of this family, or pools that have some, are asked for.
    pub fn is_explicit_for(&self, family: Family, pools: &Pools) -> bool {
        self.addresses.iter().any(|address| Family::of(*address) == family)
            || self.pools.iter().any(|index| pools.get(*index).is_some_and(|pool| pool.has(family)))
    }
}

/// Whether a Service asks for this address.
#[must_use]
pub fn asks_for(service: &Object<Service>, pools: &Pools, address: IpAddr) -> bool {
    Request::of(service, pools).is_ok_and(|request| request.addresses.contains(&address))
}

/// The addresses of `spec.loadBalancerIP` and the annotation, which must not differ.
fn addresses(service: &Service) -> Result<Vec<IpAddr>, Refusal> {
    let listed = annotation(service, names::LOAD_BALANCER_IPS)?;
    let addresses = listed.map(Annotation::addresses).transpose()?;
    let Some(text) = &service.load_balancer_ip else { return Ok(addresses.unwrap_or_default()) };
    let single = vec![read("spec.loadBalancerIP", text)?];
    match (listed, addresses) {
        (Some(listed), Some(addresses)) if addresses != single => Err(Refusal::conflicting(format!(
            "spec.loadBalancerIP is {}, but {} is {}",
            quote(text),
            listed.key,
            quote(listed.value)
        ))),
        _ => Ok(single),
    }
}

fn named_pools(annotation: Annotation, pools: &Pools) -> Result<Vec<usize>, Refusal> {
    let mut found = Vec::new();
    for name in annotation.entries()? {
        let Some(index) = pools.named(name) else {
            let message = format!("{}: there is no valid LoadBalancerPool {}", annotation.key, quote(name));
            return Err(Refusal::new(Reason::UnknownName, message));
        };
        if !found.contains(&index) {
            found.push(index);
        }
    }
    Ok(found)
}

fn released(service: &Service) -> Result<Vec<IpAddr>, Refusal> {
    let (key, value) = (names::RELEASE_ANNOTATION, service.annotations.get(names::RELEASE_ANNOTATION));
    value.map_or(Ok(Vec::new()), |value| Annotation { key, value }.addresses())
}
