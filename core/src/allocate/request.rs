//! What a Service asks for, in its spec and its annotations.

use std::net::IpAddr;

use clarion_api::names;
use itertools::Itertools as _;

use super::sharing;
use crate::{
    address_set::Family,
    annotation::{Annotation, Refusal, annotation, annotations, differ, quote},
    config::Pools,
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

/// One thing that a Service is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// This address.
    Address(IpAddr),
    /// This address, which is reserved for it; if it can't have that, any.
    Reserved(IpAddr),
    /// An address of the family from this pool or the one that succeeds it.
    Pool(usize, Family),
    /// An address of the family from any pool that is for the Service.
    Family(Family),
}

impl Want {
    /// The family of the address.
    pub fn family(self) -> Family {
        match self {
            Self::Address(address) | Self::Reserved(address) => Family::of(address),
            Self::Pool(_, family) | Self::Family(family) => family,
        }
    }

    /// Whether only one address will do.
    pub fn is_precise(self) -> bool {
        matches!(self, Self::Address(_) | Self::Reserved(_))
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
        let families = || wanted.iter().map(|family| family.name()).join(", ");
        let name = |index: usize| pools.get(index).map_or("", |pool| pool.name.as_str());
        for address in &self.addresses {
            if !wanted.contains(&Family::of(*address)) {
                let message = format!("{address} is asked for, but spec.ipFamilies is {}", families());
                return Err(Refusal::conflicting(message));
            }
            let Some(pool) = pools.index_of(*address).filter(|_| !self.pools.is_empty()) else { continue };
            if !self.pools.iter().any(|index| pools.will_do(pool, *index)) {
                let message = format!("{address} is in pool {}, but {named} names {}", name(pool), {
                    self.pools.iter().map(|index| name(*index)).join(", ")
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

    /// What the Service is to have, in the order of its families. `reserved` are addresses that are held for it; who has others
    /// keeps those.
    pub fn wants(&self, families: &[Family], pools: &Pools, reserved: &[IpAddr], held: &[IpAddr]) -> Vec<Want> {
        let mut wants = Vec::new();
        for family in families {
            let of_family = |address: &&IpAddr| Family::of(**address) == *family;
            let before = wants.len();
            wants.extend(self.addresses.iter().filter(of_family).map(|address| Want::Address(*address)));
            for index in self.pools.iter().filter(|index| pools.get(**index).is_some_and(|pool| pool.has(*family))) {
                let from_it = |a: &IpAddr| pools.index_of(*a).is_some_and(|pool| pools.will_do(pool, *index));
                if !self.addresses.iter().filter(of_family).any(from_it) {
                    wants.push(Want::Pool(*index, *family));
                }
            }
            if wants.len() == before && held.iter().filter(of_family).all(|address| reserved.contains(address)) {
                wants.extend(reserved.iter().filter(of_family).map(|address| Want::Reserved(*address)));
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

/// The addresses that are asked for, in the spec and under all prefixes, which must not differ.
fn addresses(service: &Service) -> Result<Vec<IpAddr>, Refusal> {
    let spec = service.load_balancer_ip.as_deref().map(|value| Annotation { key: "spec.loadBalancerIP", value });
    let mut first: Option<(Annotation, Vec<IpAddr>)> = None;
    for annotation in annotations(service, names::LOAD_BALANCER_IPS).chain(spec) {
        let addresses = annotation.addresses()?;
        let Some((other, known)) = &first else {
            first = Some((annotation, addresses));
            continue;
        };
        // The field of the spec has room for one.
        let same = addresses.iter().all(|address| known.contains(address))
            && (annotation.key == "spec.loadBalancerIP" || addresses.len() == known.len());
        if !same {
            return Err(differ(*other, annotation));
        }
    }
    Ok(first.map(|(_, addresses)| addresses).unwrap_or_default())
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
