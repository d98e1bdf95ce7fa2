//! Advertisements and community aliases.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use clarion_api::{
    CommunityAliasSpec, LoadBalancerAdvertisementSpec,
    advertisement::{LoadBalancerAdvertisementStatus, NodeLimit},
    frr::field,
};
use ipnet::IpNet;

use super::{Selector, not_in_frr_k8s, read, selected};
use crate::{
    address_set::Family,
    config::Pool,
    finding::{Findings, Reason},
    world::{Custom, Kind, Object, ObjectName, ObjectRef, World},
};

/// A valid advertisement.
#[derive(Clone, Debug, PartialEq)]
pub struct Advertisement {
    /// Its name.
    pub name: String,
    /// LOCAL_PREF for iBGP sessions.
    pub local_pref: Option<i64>,
    /// How often the AS path is prepended.
    pub as_path_prepend: Option<i32>,
    /// Communities, as FRR-K8s writes them.
    pub communities: BTreeSet<String>,
    /// The communities that Services may ask for.
    pub allowed_communities: BTreeSet<String>,
    /// The nodes; all if empty.
    pub nodes: Vec<Selector>,
    /// At most so many of them announce an address.
    pub node_limit: Option<NodeLimit>,
    /// The length of IPv4 and of IPv6 prefixes.
    lengths: [u8; 2],
    pools: BTreeSet<String>,
    pool_selectors: Vec<Selector>,
    services: Vec<Selector>,
    peers: BTreeSet<String>,
}

/// Why an advertisement is not for a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// The pool of its address is neither named nor selected.
    Pool,
    /// Its labels are not selected.
    Labels,
}

impl Advertisement {
    /// Whether it announces addresses of this pool. One that no pool holds any more is announced by what is for all pools.
    #[must_use]
    pub fn fits_pool(&self, pool: Option<&Pool>) -> bool {
        let all_pools = self.pools.is_empty() && self.pool_selectors.is_empty();
        all_pools
            || pool.is_some_and(|pool| {
                self.pools.contains(&pool.name) || self.pool_selectors.iter().any(|s| s.matches(&pool.labels))
            })
    }

    /// Whether it announces Services with these labels.
    #[must_use]
    pub fn fits_labels(&self, service_labels: &BTreeMap<String, String>) -> bool {
        selected(&self.services, service_labels)
    }

    /// Why it does not announce Services with these labels that have an address of this pool, if so.
    #[must_use]
    pub fn misfit(&self, pool: Option<&Pool>, service_labels: &BTreeMap<String, String>) -> Option<Misfit> {
        if !self.fits_pool(pool) {
            return Some(Misfit::Pool);
        }
        (!self.fits_labels(service_labels)).then_some(Misfit::Labels)
    }

    /// Whether it asks for this value of `localPref` or `asPathPrepend`.
    #[must_use]
    pub fn asks_for(&self, field: &str, value: i64) -> bool {
        let asked = match field {
            "localPref" => self.local_pref,
            _ => self.as_path_prepend.map(i64::from),
        };
        asked == Some(value)
    }

    /// Whether the peer of this name is told.
    #[must_use]
    pub fn tells(&self, peer: &str) -> bool {
        self.peers.is_empty() || self.peers.contains(peer)
    }

    /// The prefix that announces an address: the aggregate, if there is one.
    #[must_use]
    pub fn prefix(&self, address: IpAddr) -> IpNet {
        let [v4, v6] = self.lengths;
        let length = if Family::of(address) == Family::V4 { v4 } else { v6 };
        IpNet::new(address, length).map_or_else(|_| IpNet::from(address), |prefix| prefix.trunc())
    }
}

/// Community values by alias. Of two aliases of one name, the older object's counts.
pub fn aliases(world: &World, findings: &mut Findings) -> BTreeMap<String, String> {
    let mut aliases: BTreeMap<String, (String, ObjectName)> = BTreeMap::new();
    let objects = read(&world.communities, Kind::CommunityAlias, findings, |object, spec: &CommunityAliasSpec, _| {
        Some((object.meta.name.clone(), spec.aliases.clone()))
    });
    for (name, list) in objects {
        let id = ObjectRef::new(Kind::CommunityAlias, name.clone());
        for alias in list {
            let Some(value) = community(&alias.value) else {
                let message = format!("alias {:?}: {:?} is no community", alias.name, alias.value);
                findings.error(id.clone(), Reason::InvalidValue, message);
                continue;
            };
            if let Some((_, older)) = aliases.get(&alias.name) {
                let message = format!("alias {:?} is already defined by the older CommunityAlias {older}", alias.name);
                findings.error(id.clone(), Reason::Overlap, message);
            } else {
                aliases.insert(alias.name, (value, name.clone()));
            }
        }
    }
    aliases.into_iter().map(|(alias, (value, _))| (alias, value)).collect()
}

/// A community value without leading zeros, so that equal ones are equal texts; `None` if it is none.
pub fn community(text: &str) -> Option<String> {
    let numbers = |text: &str, count: usize, max: u32| -> Option<String> {
        let parts: Option<Vec<String>> = text
            .split(':')
            .map(|part| {
                let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
                part.parse::<u32>().ok().filter(|n| digits && *n <= max).map(|n| n.to_string())
            })
            .collect();
        parts.filter(|parts| parts.len() == count).map(|parts| parts.join(":"))
    };
    match text.strip_prefix("large:") {
        Some(rest) => numbers(rest, 3, u32::MAX).map(|value| format!("large:{value}")),
        None => numbers(text, 2, u32::from(u16::MAX)),
    }
}

/// Checks one advertisement.
pub fn check(
    world: &World,
    aliases: &BTreeMap<String, String>,
    object: &Object<Custom<LoadBalancerAdvertisementSpec, LoadBalancerAdvertisementStatus>>,
    spec: &LoadBalancerAdvertisementSpec,
    findings: &mut Findings,
) -> Option<Advertisement> {
    let id = ObjectRef::new(Kind::LoadBalancerAdvertisement, object.meta.name.clone());
    // Destructured so that a new field can't be forgotten.
    let LoadBalancerAdvertisementSpec {
        pools,
        pool_selectors,
        service_selectors,
        aggregation_length,
        aggregation_length_v6,
        local_pref,
        as_path_prepend,
        communities,
        allowed_communities,
        node_selectors,
        peers,
        node_limit,
    } = spec;
    let invalid = |message: String, findings: &mut Findings| {
        findings.error(id.clone(), Reason::InvalidValue, message);
    };
    let length = |length: i32, max: u8| u8::try_from(length).ok().filter(|length| (1..=max).contains(length));
    let Some((v4, v6)) = length(*aggregation_length, 32).zip(length(*aggregation_length_v6, 128)) else {
        let message = format!(
            "aggregationLength is {aggregation_length} and aggregationLengthV6 {aggregation_length_v6}; they go from 1 to 32 and 128"
        );
        invalid(message, findings);
        return None;
    };
    if (v4, v6) != (32, 128) && !service_selectors.is_empty() {
        let message =
            "serviceSelectors can't be used together with aggregation: an aggregate covers other Services too";
        invalid(message.to_owned(), findings);
        return None;
    }
    if let Some(value) = local_pref.filter(|value| !(0..=i64::from(i32::MAX)).contains(value)) {
        invalid(format!("localPref: {value} is not between 0 and 2147483647"), findings);
        return None;
    }
    if let Some(value) = as_path_prepend.filter(|value| !(1..=10).contains(value)) {
        invalid(format!("asPathPrepend: {value} is not between 1 and 10"), findings);
        return None;
    }
    if let Some(limit) = node_limit.as_ref().filter(|limit| limit.max < 1) {
        invalid(format!("nodeLimit: {} nodes are none; to announce from nowhere, remove it", limit.max), findings);
        return None;
    }
    let mut as_path_prepend = *as_path_prepend;
    if as_path_prepend.is_some() && !world.frr_k8s_has(field::AS_PATH_PREPEND) {
        findings.error(id.clone(), Reason::NotInFRRK8s, not_in_frr_k8s("asPathPrepend", field::AS_PATH_PREPEND));
        as_path_prepend = None;
    }
    let mut values = |list: &[String], name: &str, consequence: &str| {
        let mut values = BTreeSet::new();
        let mut complete = true;
        for text in list {
            match community(text).or_else(|| aliases.get(text).cloned()) {
                Some(value) => drop(values.insert(value)),
                None => {
                    complete = false;
                    let message = format!(
                        "{name}: {text:?} is neither a community nor an alias of a CommunityAlias; {consequence}"
                    );
                    findings.error(id.clone(), Reason::UnknownName, message);
                }
            }
        }
        (values, complete)
    };
    // Without a community such as no-export, a route would go where it must not.
    let before = object.value.status.as_ref().and_then(|status| status.communities.as_ref());
    let consequence = match before {
        Some(before) => format!("until it is known the communities stay [{}]", before.join(", ")),
        None => "until it is known nothing is announced".to_owned(),
    };
    let communities = match (values(communities, "communities", &consequence), before) {
        ((values, true), _) => Some(values),
        ((_, false), before) => before.map(|before| before.iter().filter_map(|text| community(text)).collect()),
    };
    let (allowed_communities, _) = values(allowed_communities, "allowedCommunities", "it is left out");
    let selectors = (|| {
        Ok::<_, super::selector::SelectorError>((
            Selector::all(pool_selectors)?,
            Selector::all(service_selectors)?,
            Selector::all(node_selectors)?,
        ))
    })();
    let (pool_selectors, services, nodes) = match selectors {
        Ok(selectors) => selectors,
        Err(error) => {
            findings.error(id, Reason::InvalidSelector, error.to_string());
            return None;
        }
    };
    let named = |names: &[String], exists: &dyn Fn(&ObjectName) -> bool| {
        names.iter().filter(|name| !exists(&ObjectName::cluster(*name))).cloned().collect::<Vec<_>>()
    };
    let unknown = [
        ("pools", named(pools, &|name| world.pools.get(name).is_some())),
        ("peers", named(peers, &|name| world.peers.get(name).is_some())),
    ];
    for (field, name) in unknown.iter().flat_map(|(field, names)| names.iter().map(move |name| (field, name))) {
        findings.warning(id.clone(), Reason::UnknownName, format!("{field}: there is no {name:?}"));
    }
    if !pool_selectors.is_empty() && !world.pools.iter().any(|pool| selected(&pool_selectors, &pool.meta.labels)) {
        findings.warning(id.clone(), Reason::SelectsNothing, "poolSelectors: no LoadBalancerPool fits");
    }
    if !nodes.is_empty() && !world.nodes.iter().any(|node| selected(&nodes, &node.meta.labels)) {
        findings.warning(id, Reason::SelectsNothing, "nodeSelectors: no node fits");
    }
    Some(Advertisement {
        name: object.meta.name.name.to_string(),
        local_pref: *local_pref,
        as_path_prepend,
        communities: communities?,
        allowed_communities,
        nodes,
        node_limit: node_limit.clone(),
        lengths: [v4, v6],
        pools: pools.iter().cloned().collect(),
        pool_selectors,
        services,
        peers: peers.iter().cloned().collect(),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("65000:100", Some("65000:100"))]
    #[case("065000:0100", Some("65000:100"))]
    #[case("65536:1", None)]
    #[case("1:2:3", None)]
    #[case("1:", None)]
    #[case("+1:2", None)]
    #[case("large:4294967295:0:1", Some("large:4294967295:0:1"))]
    #[case("large:4294967296:0:1", None)]
    #[case("large:1:2", None)]
    #[case("no-export", None)]
    fn communities(#[case] text: &str, #[case] value: Option<&str>) {
        assert_eq!(community(text).as_deref(), value);
    }
}
