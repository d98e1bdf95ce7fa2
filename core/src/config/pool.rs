//! Pools: which addresses there are, and who may get one.

use std::collections::BTreeMap;

use clarion_api::{LoadBalancerPoolSpec, pool};

use super::{Selector, addresses, read, selected, unsupported};
use crate::{
    address_set::{AddressSet, Family},
    finding::{Findings, Reason},
    world::{Kind, Object, ObjectName, ObjectRef, Service, World},
};

/// A valid pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its addresses, less the excluded ones and those of older pools.
    pub addresses: AddressSet,
    /// Why nothing new is given from it, if so.
    pub closed: Option<&'static str>,
    /// Given to Services that ask for no pool.
    pub auto_assign: bool,
    /// Meant to be announced.
    pub announce: bool,
    /// Who may get an address.
    pub allocation: Option<Allocation>,
}

/// Which Services a pool is for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allocation {
    /// Lower ones come first, `u32::MAX` where nothing was said.
    pub priority: u32,
    namespaces: Vec<String>,
    namespace_selectors: Vec<Selector>,
    service_selectors: Vec<Selector>,
}

impl Allocation {
    /// Whether the pool is for particular namespaces or Services.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        !(self.namespaces.is_empty() && self.namespace_selectors.is_empty() && self.service_selectors.is_empty())
    }

    /// Whether the Service may get an address.
    #[must_use]
    pub fn fits(&self, world: &World, service: &Object<Service>) -> bool {
        let namespace = &service.meta.name.namespace;
        let any_namespace = self.namespaces.is_empty() && self.namespace_selectors.is_empty();
        let namespace_fits = any_namespace
            || self.namespaces.contains(namespace)
            || world
                .namespaces
                .get(&ObjectName::cluster(namespace))
                .is_some_and(|n| self.namespace_selectors.iter().any(|selector| selector.matches(&n.meta.labels)));
        namespace_fits && selected(&self.service_selectors, &service.meta.labels)
    }
}

/// The most IPv4 addresses, those of a /12, that can be looked through for ones that end in .0 and .255: every 256 of them
/// make two holes, and each hole costs at every plan.
const BUGGY_MAX: u64 = 1 << 20;

/// Checks all pools. What two pools share belongs to the older.
pub fn check(world: &World, findings: &mut Findings) -> Vec<Pool> {
    let mut pools: Vec<Pool> = Vec::new();
    for (pool, mut unclaimed) in read(&world.pools, Kind::LoadBalancerPool, findings, |object, spec, findings| {
        let id = ObjectRef::new(Kind::LoadBalancerPool, object.meta.name.clone());
        let addresses = addresses_of(spec, &id, findings)?;
        Some((one(object.meta.labels.clone(), spec, &id, addresses.clone(), findings)?, addresses))
    }) {
        let id = ObjectRef::new(Kind::LoadBalancerPool, ObjectName::cluster(&pool.name));
        let mut pool = pool;
        for older in &pools {
            if unclaimed.remove_all(&older.addresses) {
                let message = format!("it shares addresses with the older pool {}, which serves them", older.name);
                findings.warning(id.clone(), Reason::Overlap, message);
            }
        }
        pool.addresses = unclaimed;
        pools.push(pool);
    }
    pools
}

fn addresses_of(spec: &LoadBalancerPoolSpec, id: &ObjectRef, findings: &mut Findings) -> Option<AddressSet> {
    let mut set = AddressSet::default();
    let mut valid = true;
    let mut each = |field: &str, texts: &[String], apply: &mut dyn FnMut(crate::address_set::AddressRange)| {
        for text in texts {
            match addresses::parse(text) {
                Ok(range) => apply(range),
                Err(error) => {
                    valid = false;
                    findings.error(id.clone(), Reason::InvalidAddresses, format!("{field}: {text:?}: {error}"));
                }
            }
        }
    };
    each("addresses", &spec.addresses, &mut |range| set.insert(range));
    each("excludeAddresses", &spec.exclude_addresses, &mut |range| set.remove(range));
    if !valid {
        return None;
    }
    if spec.avoid_buggy_ips && set.count(Family::V4) > BUGGY_MAX {
        let message =
            format!("avoidBuggyIPs: the pool has more than {BUGGY_MAX} IPv4 addresses; split it, or leave some out");
        findings.error(id.clone(), Reason::InvalidValue, message);
        return None;
    }
    if spec.avoid_buggy_ips {
        set.remove_v4_network_and_broadcast();
    }
    if set.is_empty() {
        findings.error(id.clone(), Reason::NoAddresses, "no address is left: list some, or exclude fewer");
        return None;
    }
    Some(set)
}

fn one(
    labels: BTreeMap<String, String>,
    spec: &LoadBalancerPoolSpec,
    id: &ObjectRef,
    addresses: AddressSet,
    findings: &mut Findings,
) -> Option<Pool> {
    // Destructured so that a new field can't be forgotten.
    let LoadBalancerPoolSpec {
        addresses: _,
        exclude_addresses: _,
        auto_assign,
        disabled,
        avoid_buggy_ips: _,
        service_allocation,
        quotas,
        default_quota,
        strategy,
        on_removal,
        announce,
        succeeded_by,
    } = spec;
    let fields = [
        ("quotas", !quotas.is_empty()),
        ("defaultQuota", default_quota.is_some()),
        ("strategy: Hashed", *strategy != pool::Strategy::Sequential),
        ("onRemoval: Release", *on_removal != pool::OnRemoval::Retain),
        ("succeededBy", succeeded_by.is_some()),
    ];
    let unsupported = unsupported(&fields, "the pool gives nothing new");
    if let Some(message) = &unsupported {
        findings.error(id.clone(), Reason::NotSupported, message.as_str());
    }
    let allocation = match service_allocation.as_ref().map(allocation).transpose() {
        Ok(allocation) => allocation,
        Err(error) => {
            findings.error(id.clone(), Reason::InvalidSelector, format!("serviceAllocation: {error}"));
            return None;
        }
    };
    let closed = if unsupported.is_some() {
        Some("it asks for what this version does not do")
    } else if *disabled {
        Some("disabled")
    } else {
        None
    };
    Some(Pool {
        name: id.name.name.clone(),
        labels,
        addresses,
        closed,
        auto_assign: *auto_assign,
        announce: *announce,
        allocation,
    })
}

fn allocation(spec: &pool::ServiceAllocation) -> Result<Allocation, super::selector::SelectorError> {
    let pool::ServiceAllocation { priority, namespaces, namespace_selectors, service_selectors } = spec;
    Ok(Allocation {
        priority: u32::try_from(*priority).ok().filter(|priority| *priority != 0).unwrap_or(u32::MAX),
        namespaces: namespaces.clone(),
        namespace_selectors: Selector::all(namespace_selectors)?,
        service_selectors: Selector::all(service_selectors)?,
    })
}

impl Pool {
    /// Whether it has any address of the family.
    #[must_use]
    pub fn has(&self, family: Family) -> bool {
        self.addresses.first(family).is_some()
    }
}
