//! One pool: which addresses it has, and who may get one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use clarion_api::{
    LoadBalancerPoolSpec,
    pool::{self, LoadBalancerPoolStatus},
};

use super::{Selector, addresses, selected, selector::SelectorError};
use crate::{
    address_set::{AddressRange, AddressSet, COUNT_MAX, Family},
    finding::{Findings, Reason},
    world::{Custom, Kind, Object, ObjectName, ObjectRef, Service, World},
};

pub use clarion_api::pool::{OnRemoval, Strategy};

/// A valid pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its addresses, less the excluded ones and those of older pools.
    pub addresses: AddressSet,
    /// The ranges that it lists, with what is left out of them.
    pub ranges: AddressSet,
    /// Nothing new is given from it.
    pub disabled: bool,
    /// Given to Services that ask for no pool.
    pub auto_assign: bool,
    /// Meant to be announced.
    pub announce: bool,
    /// Who may get an address.
    pub allocation: Allocation,
    /// How many addresses a namespace may hold.
    pub quotas: Quotas,
    /// Which of the free addresses is given.
    pub strategy: Strategy,
    /// What becomes of those who hold an address that leaves.
    pub on_removal: OnRemoval,
    /// The pool that takes over, by name.
    pub succeeded_by: Option<String>,
}

/// Which Services a pool is for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allocation {
    /// Lower ones come first, `u32::MAX` where nothing was said.
    pub priority: u32,
    /// Namespaces by name. A namespace fits if it is named or selected, or if there is neither.
    pub namespaces: BTreeSet<String>,
    /// Namespaces by label.
    pub namespace_selectors: Vec<Selector>,
    /// Services by label.
    pub service_selectors: Vec<Selector>,
}

/// Why a pool is not for a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFor {
    /// Its namespace is neither named nor selected.
    Namespace,
    /// Its labels are not selected.
    Labels,
}

impl fmt::Display for NotFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespace => "namespace not allowed",
            Self::Labels => "labels not selected",
        })
    }
}

impl Allocation {
    /// Whether the pool is for particular namespaces or Services.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        !self.any_namespace() || !self.service_selectors.is_empty()
    }

    /// Whether it is for all namespaces.
    #[must_use]
    pub fn any_namespace(&self) -> bool {
        self.namespaces.is_empty() && self.namespace_selectors.is_empty()
    }

    /// Whether it is for this namespace.
    #[must_use]
    pub fn fits_namespace(&self, world: &World, namespace: &str) -> bool {
        let labels = || world.namespaces.get(&ObjectName::cluster(namespace)).map(|n| &n.meta.labels);
        self.any_namespace()
            || self.namespaces.contains(namespace)
            || !self.namespace_selectors.is_empty()
                && labels().is_some_and(|labels| self.namespace_selectors.iter().any(|s| s.matches(labels)))
    }

    /// Whether the labels of this namespace decide.
    #[must_use]
    pub fn asks_for_labels_of(&self, namespace: &str) -> bool {
        !self.namespace_selectors.is_empty() && !self.namespaces.contains(namespace)
    }

    /// Whether it is for this Service.
    ///
    /// # Errors
    /// Why it is not.
    pub fn fits(&self, world: &World, service: &Object<Service>) -> Result<(), NotFor> {
        if !self.fits_namespace(world, &service.meta.name.namespace) {
            return Err(NotFor::Namespace);
        }
        if selected(&self.service_selectors, &service.meta.labels) { Ok(()) } else { Err(NotFor::Labels) }
    }
}

/// How many addresses of each family a namespace may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// By namespace.
    pub by_namespace: BTreeMap<String, u64>,
    /// For all others.
    pub default: Option<u64>,
}

impl Quotas {
    /// The most that this namespace may hold.
    #[must_use]
    pub fn of(&self, namespace: &str) -> Option<u64> {
        self.by_namespace.get(namespace).copied().or(self.default)
    }

    /// Whether there is any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_namespace.is_empty() && self.default.is_none()
    }
}

/// The most IPv4 addresses, those of a /12, that can be looked through for ones that end in .0 and .255: every 256 of them
/// make two holes, and each hole costs at every plan.
const BUGGY_MAX: u64 = 1 << 20;

/// Checks one pool by itself.
pub fn check(
    object: &Object<Custom<LoadBalancerPoolSpec, LoadBalancerPoolStatus>>,
    spec: &LoadBalancerPoolSpec,
    findings: &mut Findings,
) -> Option<Pool> {
    let id = ObjectRef::new(Kind::LoadBalancerPool, object.meta.name.clone());
    // Destructured so that a new field can't be forgotten.
    let LoadBalancerPoolSpec {
        addresses: _,
        exclude_addresses: _,
        auto_assign,
        disabled,
        avoid_buggy_ips: _,
        service_allocation,
        quotas: _,
        default_quota: _,
        strategy,
        on_removal,
        announce,
        succeeded_by,
    } = spec;
    let (addresses, ranges) = addresses(spec, &id, findings)?;
    let quotas = quotas(spec, &id, findings)?;
    let allocation = match service_allocation.as_ref().map(allocation).transpose() {
        Ok(allocation) => allocation.unwrap_or(Allocation { priority: u32::MAX, ..Allocation::default() }),
        Err(error) => {
            findings.error(id, Reason::InvalidSelector, format!("serviceAllocation: {error}"));
            return None;
        }
    };
    Some(Pool {
        name: object.meta.name.name.to_string(),
        labels: object.meta.labels.clone(),
        addresses,
        ranges,
        disabled: *disabled,
        auto_assign: *auto_assign,
        announce: *announce,
        allocation,
        quotas,
        strategy: *strategy,
        on_removal: *on_removal,
        succeeded_by: succeeded_by.clone(),
    })
}

/// What the pool gives, and all of the ranges that it lists.
fn addresses(spec: &LoadBalancerPoolSpec, id: &ObjectRef, findings: &mut Findings) -> Option<(AddressSet, AddressSet)> {
    let mut set = AddressSet::default();
    let mut valid = true;
    let mut each = |field: &str, texts: &[String], apply: &mut dyn FnMut(AddressRange)| {
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
    let ranges = set.clone();
    each("excludeAddresses", &spec.exclude_addresses, &mut |range| {
        set.remove(range);
    });
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
    Some((set, ranges))
}

fn quotas(spec: &LoadBalancerPoolSpec, id: &ObjectRef, findings: &mut Findings) -> Option<Quotas> {
    let mut quotas = Quotas::default();
    let mut valid = true;
    let mut number = |field: String, value: i64| {
        let number = u64::try_from(value).ok();
        if number.is_none() {
            valid = false;
            findings.error(id.clone(), Reason::InvalidValue, format!("{field}: {value} is less than 0"));
        }
        number
    };
    quotas.default = spec.default_quota.and_then(|value| number("defaultQuota".to_owned(), value));
    for quota in &spec.quotas {
        let most = number(format!("quotas: namespace {}", quota.namespace), quota.max_addresses);
        quotas.by_namespace.extend(most.map(|most| (quota.namespace.clone(), most)));
    }
    valid.then_some(quotas)
}

fn allocation(spec: &pool::ServiceAllocation) -> Result<Allocation, SelectorError> {
    let pool::ServiceAllocation { priority, namespaces, namespace_selectors, service_selectors } = spec;
    Ok(Allocation {
        priority: u32::try_from(*priority).ok().filter(|priority| *priority != 0).unwrap_or(u32::MAX),
        namespaces: namespaces.iter().cloned().collect(),
        namespace_selectors: Selector::all(namespace_selectors)?,
        service_selectors: Selector::all(service_selectors)?,
    })
}

impl Pool {
    /// How many addresses of the family are free when so many are not. A count that ends at [`COUNT_MAX`] says that there are
    /// more than enough.
    #[must_use]
    pub fn available(&self, family: Family, taken: u64) -> u64 {
        let total = self.addresses.count(family);
        if total == COUNT_MAX { total } else { total.saturating_sub(taken) }
    }

    /// Whether it has any address of the family.
    #[must_use]
    pub fn has(&self, family: Family) -> bool {
        self.addresses.first(family).is_some()
    }
}
