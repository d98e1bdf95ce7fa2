//! MetalLB's objects to Clarion's. Nothing here reads or writes anything.
//!
//! What narrows an object down (a selector, a list of names) and can't be carried over leaves the whole object out: without it
//! the object would be for more than it was.

pub mod peer;
pub mod values;

use std::collections::{BTreeMap, BTreeSet};

use clarion_api::{
    CommunityAlias, CommunityAliasSpec, LabelSelector, LoadBalancerAdvertisement, LoadBalancerAdvertisementSpec,
    LoadBalancerPool, LoadBalancerPoolSpec, RouterPeer,
    community::Alias,
    pool::{OnRemoval, ServiceAllocation, Strategy},
};
use clarion_core::config::{Selector, community, selected};
use k8s_openapi::api::core::v1::Secret;

use self::values::{addresses, is_alias, is_name, selectors};
use super::{
    metallb::{self, BgpAdvertisement, Id, Object, Objects, Unknown},
    report::{Effect, Note, Refusal},
};

/// What is known beside the objects.
#[derive(Debug)]
pub struct Settings {
    /// The namespace of MetalLB.
    pub metallb_namespace: String,
    /// The namespace of FRR-K8s.
    pub frr_k8s_namespace: String,
}

/// Clarion's objects, each kind in the order of the names, and what there is to say.
#[derive(Debug, Default)]
pub struct Imported {
    pub secrets: Vec<Secret>,
    pub aliases: Vec<CommunityAlias>,
    pub pools: Vec<LoadBalancerPool>,
    pub peers: Vec<RouterPeer>,
    pub advertisements: Vec<LoadBalancerAdvertisement>,
    pub notes: Vec<Note>,
}

/// Turns objects into Clarion's.
pub fn convert(objects: &Objects, settings: &Settings) -> Imported {
    let mut converter = Converter { objects, settings, values: BTreeMap::new(), imported: Imported::default() };
    converter.communities();
    converter.pools();
    converter.peers();
    converter.advertisements();
    let mut imported = converter.imported;
    imported.notes.sort();
    imported
}

struct Converter<'a> {
    objects: &'a Objects,
    settings: &'a Settings,
    /// Community values by alias.
    values: BTreeMap<&'a str, String>,
    imported: Imported,
}

/// The most items that Clarion takes in a list of names.
const NAMES: usize = 256;

impl<'a> Converter<'a> {
    fn note(&mut self, effect: Effect, object: &Id, field: &str, message: impl Into<String>) {
        let note = Note { effect, object: object.clone(), field: field.to_owned(), message: message.into() };
        self.imported.notes.push(note);
    }

    /// Notes why an object is not carried over.
    fn accept<T>(&mut self, object: &Id, result: Result<T, Refusal>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(Refusal { effect, field, message }) => {
                self.note(effect, object, &field, message);
                None
            }
        }
    }

    fn unknown(&mut self, object: &Id, prefix: &str, fields: &Unknown) {
        for field in fields.keys() {
            self.note(Effect::LeftOut, object, &format!("{prefix}{field}"), "MetalLB v0.16 has no such field");
        }
    }

    fn communities(&mut self) {
        for object in self.objects.communities.values() {
            self.unknown(&object.id, "", &object.spec.unknown);
            let mut aliases = Vec::new();
            for alias in &object.spec.communities {
                let result = self.alias(alias);
                aliases.extend(self.accept(&object.id, result).flatten());
                if !is_alias(&alias.name) && self.values.contains_key(alias.name.as_str()) {
                    let message = format!("{:?} can't be a name here: its value is put where it is used", alias.name);
                    self.note(Effect::Changed, &object.id, "communities", message);
                }
            }
            if aliases.is_empty() {
                self.note(Effect::LeftOut, &object.id, "communities", "there is nothing left in it");
            } else {
                self.imported.aliases.push(CommunityAlias::new(&object.id.name, CommunityAliasSpec { aliases }));
            }
        }
    }

    /// An alias, unless Clarion does not allow its name.
    fn alias(&mut self, alias: &'a metallb::Alias) -> Result<Option<Alias>, Refusal> {
        let metallb::Alias { name, value } = alias;
        let value = community(value)
            .ok_or_else(|| Refusal::error("communities", format!("{name:?}: {value:?} is no community")))?;
        if self.values.insert(name, value.clone()).is_some() {
            return Err(Refusal::error("communities", format!("{name:?} is defined twice")));
        }
        Ok(is_alias(name).then(|| Alias { name: name.clone(), value }))
    }

    fn pools(&mut self) {
        for object in self.objects.pools.values() {
            let result = self.pool(object);
            let pool = self.accept(&object.id, result);
            self.imported.pools.extend(pool);
        }
        for object in self.objects.address_pools.values() {
            let result = self.address_pool(object);
            let pool = self.accept(&object.id, result);
            self.imported.pools.extend(pool);
        }
        self.imported.pools.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        for object in self.objects.l2_advertisements.values() {
            let alone = self.objects.pools.values().filter(|pool| {
                l2_fits(object, pool) && !self.objects.bgp_advertisements.values().any(|bgp| bgp_fits(bgp, pool))
            });
            let alone: Vec<&str> = alone.map(|pool| pool.id.name.as_str()).collect();
            let what = "Clarion announces over BGP only";
            let message = if alone.is_empty() {
                what.to_owned()
            } else {
                let names = alone.join(", ");
                format!("{what}: without MetalLB's speakers nobody announces the addresses of {names}")
            };
            self.note(Effect::LeftOut, &object.id, "", message);
        }
    }

    fn pool(&mut self, object: &Object<metallb::IpAddressPool>) -> Result<LoadBalancerPool, Refusal> {
        // Destructured so that no field can be forgotten; the same goes for all that follow.
        let metallb::IpAddressPool { addresses, auto_assign, avoid_buggy_ips, service_allocation, unknown } =
            &object.spec;
        self.unknown(&object.id, "", unknown);
        let allocation =
            service_allocation.as_ref().map(|allocation| self.allocation(&object.id, allocation)).transpose()?;
        let objects = self.objects;
        let by_bgp = objects.bgp_advertisements.values().any(|advertisement| bgp_fits(advertisement, object));
        let by_l2 = objects.l2_advertisements.values().any(|advertisement| l2_fits(advertisement, object));
        // Without any advertisement, those are in files that were not given.
        let is_silent =
            !(by_bgp || by_l2 || objects.bgp_advertisements.is_empty() && objects.l2_advertisements.is_empty());
        if is_silent {
            let message = "MetalLB does not announce this pool: announce is false, so that Clarion does not ask for it";
            self.note(Effect::Changed, &object.id, "", message);
        }
        let spec = LoadBalancerPoolSpec {
            addresses: self.addresses(&object.id, addresses)?,
            auto_assign: auto_assign.unwrap_or(true),
            avoid_buggy_ips: *avoid_buggy_ips,
            service_allocation: allocation,
            announce: !is_silent,
            ..plain_pool()
        };
        let mut pool = LoadBalancerPool::new(&object.id.name, spec);
        pool.metadata.labels = self.labels(object);
        Ok(pool)
    }

    fn address_pool(&mut self, object: &Object<metallb::AddressPool>) -> Result<LoadBalancerPool, Refusal> {
        // Its advertisements come with the others.
        let metallb::AddressPool { protocol, addresses, auto_assign, bgp_advertisements: _, unknown } = &object.spec;
        let id = &object.id;
        self.unknown(id, "", unknown);
        if self.objects.pools.contains_key(&id.name) {
            return Err(Refusal::error("", "there is an IPAddressPool of the same name"));
        }
        match protocol.as_str() {
            "bgp" => {}
            "layer2" => {
                let message =
                    "Clarion announces over BGP only: without MetalLB's speakers nobody announces its addresses";
                self.note(Effect::LeftOut, id, "protocol", message);
            }
            other => return Err(Refusal::error("protocol", format!("{other:?} is neither bgp nor layer2"))),
        }
        let spec = LoadBalancerPoolSpec {
            addresses: self.addresses(id, addresses)?,
            auto_assign: auto_assign.unwrap_or(true),
            ..plain_pool()
        };
        Ok(LoadBalancerPool::new(&id.name, spec))
    }

    fn addresses(&mut self, id: &Id, list: &[String]) -> Result<Vec<String>, Refusal> {
        const MOST: usize = 512;
        let mut kept = Vec::new();
        for text in list {
            match addresses(text) {
                Ok(normal) => {
                    // That blanks go and letters become small needs no mention.
                    let is_same = normal.to_lowercase() == text.replace(' ', "").to_lowercase();
                    if !is_same && text.contains('/') {
                        self.note(Effect::Changed, id, "addresses", format!("{text} is written as {normal}"));
                    }
                    kept.push(normal);
                }
                Err(values::BadValue::Beyond(message)) => self.note(Effect::LeftOut, id, "addresses", message),
                Err(error) => return Err(error.at("addresses")),
            }
        }
        match kept.len() {
            0 if list.is_empty() => Err(Refusal::error("addresses", "there are none")),
            0 => Err(Refusal::left_out("addresses", "there are none left")),
            1..=MOST => Ok(kept),
            _ => Err(Refusal::left_out("addresses", format!("there are more than {MOST}; split the pool"))),
        }
    }

    fn allocation(&mut self, id: &Id, allocation: &metallb::ServiceAllocation) -> Result<ServiceAllocation, Refusal> {
        const MOST: usize = 512;
        let metallb::ServiceAllocation { priority, namespaces, namespace_selectors, service_selectors, unknown } =
            allocation;
        self.unknown(id, "serviceAllocation.", unknown);
        let at = |field: &str| format!("serviceAllocation.{field}");
        if let Some(bad) = namespaces.iter().find(|name| !is_name(name, 63, false)) {
            return Err(Refusal::left_out(&at("namespaces"), format!("{bad:?} is not the name of a Namespace")));
        }
        if namespaces.len() > MOST {
            return Err(Refusal::left_out(&at("namespaces"), format!("there are more than {MOST}; select by label")));
        }
        let allowed = i32::try_from(*priority).ok().filter(|priority| *priority >= 0);
        if allowed.is_none() {
            let message = format!("{priority} is not between 0 and {}; the pool comes last", i32::MAX);
            self.note(Effect::LeftOut, id, &at("priority"), message);
        }
        let mut service_selectors = selectors(service_selectors).map_err(|e| e.at(&at("serviceSelectors")))?;
        if namespaces.is_empty() && namespace_selectors.is_empty() && service_selectors.is_empty() {
            // For MetalLB such a pool is for every Service, and before the pools that say nothing.
            service_selectors.push(LabelSelector::default());
        }
        Ok(ServiceAllocation {
            priority: allowed.unwrap_or_default(),
            namespaces: namespaces.clone(),
            namespace_selectors: selectors(namespace_selectors).map_err(|e| e.at(&at("namespaceSelectors")))?,
            service_selectors,
        })
    }

    /// A pool's labels, by which advertisements select it, less those by which tools know what is theirs: with these, the tool
    /// would take the new object for one of its own, and delete it. What a selector asks for is kept all the same.
    fn labels(&self, object: &Object<metallb::IpAddressPool>) -> Option<BTreeMap<String, String>> {
        let advertisements = self.objects.bgp_advertisements.values();
        let of_interest: BTreeSet<&str> =
            advertisements.flat_map(|object| keys(&object.spec.ip_address_pool_selectors)).collect();
        let labels = object.labels.iter().filter(|(key, _)| of_interest.contains(key.as_str()) || !is_of_a_tool(key));
        let labels: BTreeMap<_, _> = labels.map(|(key, value)| (key.clone(), value.clone())).collect();
        (!labels.is_empty()).then_some(labels)
    }

    fn advertisements(&mut self) {
        let objects = self.objects;
        for object in objects.bgp_advertisements.values() {
            self.add_advertisement(&object.id, &object.id.name, "", &object.spec);
        }
        for object in objects.address_pools.values().filter(|object| object.spec.protocol == "bgp") {
            let none = [metallb::LegacyAdvertisement::default()];
            let own = &object.spec.bgp_advertisements;
            for legacy in if own.is_empty() { &none } else { own.as_slice() } {
                let metallb::LegacyAdvertisement {
                    aggregation_length,
                    aggregation_length_v6,
                    local_pref,
                    communities,
                    unknown,
                } = legacy;
                self.unknown(&object.id, "bgpAdvertisements.", unknown);
                let spec = BgpAdvertisement {
                    aggregation_length: *aggregation_length,
                    aggregation_length_v6: *aggregation_length_v6,
                    local_pref: *local_pref,
                    communities: communities.clone(),
                    ip_address_pools: vec![object.id.name.clone()],
                    ..BgpAdvertisement::default()
                };
                let name = self.free_name(&object.id.name);
                self.add_advertisement(&object.id, &name, "bgpAdvertisements.", &spec);
            }
        }
        self.imported.advertisements.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    }

    /// A name that no advertisement has yet: the pool's, or with a number.
    fn free_name(&self, pool: &str) -> String {
        let is_free = |name: &String| {
            let mut taken = self.imported.advertisements.iter().map(|a| a.metadata.name.as_ref());
            !self.objects.bgp_advertisements.contains_key(name) && taken.all(|taken| taken != Some(name))
        };
        let numbered = (2_usize..).map(|number| format!("{pool}-{number}"));
        std::iter::once(pool.to_owned()).chain(numbered).find(is_free).unwrap_or_default()
    }

    fn add_advertisement(&mut self, id: &Id, name: &str, at: &str, spec: &BgpAdvertisement) {
        let result = self.advertisement(id, at, spec);
        if let Some(spec) = self.accept(id, result) {
            self.imported.advertisements.push(LoadBalancerAdvertisement::new(name, spec));
        }
    }

    fn advertisement(
        &mut self,
        id: &Id,
        prefix: &str,
        spec: &BgpAdvertisement,
    ) -> Result<LoadBalancerAdvertisementSpec, Refusal> {
        let BgpAdvertisement {
            aggregation_length,
            aggregation_length_v6,
            local_pref,
            communities,
            ip_address_pools,
            ip_address_pool_selectors,
            node_selectors,
            peers,
            service_selectors,
            unknown,
        } = spec;
        let at = |field: &str| format!("{prefix}{field}");
        self.unknown(id, "", unknown);
        let length = |field: &str, value: Option<i64>, most: i32| {
            let length = i32::try_from(value.unwrap_or(most.into())).ok().filter(|length| (1..=most).contains(length));
            length.ok_or_else(|| Refusal::error(&at(field), format!("it is not between 1 and {most}")))
        };
        let aggregation_length = length("aggregationLength", *aggregation_length, 32)?;
        let aggregation_length_v6 = length("aggregationLengthV6", *aggregation_length_v6, 128)?;
        if aggregation_length != 32 || aggregation_length_v6 != 128 {
            if !service_selectors.is_empty() {
                return Err(Refusal::error(&at("serviceSelectors"), "they can't be used together with aggregation"));
            }
            let message = "Services with externalTrafficPolicy Local are announced by their own /32 or /128";
            self.note(Effect::Changed, id, &at("aggregationLength"), message);
        }
        let local_pref = match *local_pref {
            0 => None,
            value if (1..=i64::from(i32::MAX)).contains(&value) => Some(value),
            value if (0..=i64::from(u32::MAX)).contains(&value) => {
                let message = format!("{value} is more than {}, which FRR-K8s takes at most", i32::MAX);
                return Err(Refusal::left_out(&at("localPref"), message));
            }
            value => return Err(Refusal::error(&at("localPref"), format!("{value} is no local preference"))),
        };
        let known =
            |pool: &String| self.objects.pools.contains_key(pool) || self.objects.address_pools.contains_key(pool);
        let no_pools: Vec<_> = ip_address_pools.iter().filter(|pool| !known(pool)).collect();
        let no_peers: Vec<_> = peers.iter().filter(|peer| !self.objects.peers.contains_key(*peer)).collect();
        for (field, kind, names) in [("ipAddressPools", "pool", no_pools), ("peers", "BGPPeer", no_peers)] {
            for name in names {
                self.note(Effect::Kept, id, &at(field), format!("there is no {kind} {name:?} among the objects"));
            }
        }
        Ok(LoadBalancerAdvertisementSpec {
            pools: names(&at("ipAddressPools"), ip_address_pools)?,
            pool_selectors: selectors(ip_address_pool_selectors).map_err(|e| e.at(&at("ipAddressPoolSelectors")))?,
            service_selectors: selectors(service_selectors).map_err(|e| e.at(&at("serviceSelectors")))?,
            aggregation_length,
            aggregation_length_v6,
            local_pref,
            as_path_prepend: None,
            communities: self.named_communities(id, &at("communities"), communities)?,
            allowed_communities: Vec::new(),
            node_selectors: selectors(node_selectors).map_err(|e| e.at(&at("nodeSelectors")))?,
            peers: names(&at("peers"), peers)?,
            node_limit: None,
        })
    }

    /// Values, and names of aliases.
    fn named_communities(&mut self, id: &Id, field: &str, list: &[String]) -> Result<Vec<String>, Refusal> {
        // MetalLB takes no more than that, and neither does Clarion.
        const MOST: usize = 63;
        if list.len() > MOST {
            return Err(Refusal::error(field, format!("there are more than {MOST}")));
        }
        let mut communities = Vec::new();
        for text in list {
            communities.push(match (self.values.get(text.as_str()).cloned(), community(text)) {
                (Some(_), _) if is_alias(text) => text.clone(),
                (Some(value), _) | (None, Some(value)) => value,
                (None, None) if is_alias(text) => {
                    let message = format!("there is no Community that defines {text:?} among the objects");
                    self.note(Effect::Kept, id, field, message);
                    text.clone()
                }
                (None, None) => return Err(Refusal::error(field, format!("{text:?} is no community"))),
            });
        }
        Ok(communities)
    }
}

/// Names of objects, of which an empty list means all.
fn names(field: &str, list: &[String]) -> Result<Vec<String>, Refusal> {
    if let Some(bad) = list.iter().find(|name| !is_name(name, 253, true)) {
        return Err(Refusal::left_out(field, format!("{bad:?} is not the name of an object")));
    }
    if list.len() > NAMES {
        return Err(Refusal::left_out(field, format!("there are more than {NAMES}; select by label")));
    }
    Ok(list.to_vec())
}

fn plain_pool() -> LoadBalancerPoolSpec {
    LoadBalancerPoolSpec {
        addresses: Vec::new(),
        exclude_addresses: Vec::new(),
        auto_assign: true,
        disabled: false,
        avoid_buggy_ips: false,
        service_allocation: None,
        quotas: Vec::new(),
        default_quota: None,
        strategy: Strategy::Sequential,
        on_removal: OnRemoval::Retain,
        announce: true,
        succeeded_by: None,
    }
}

fn bgp_fits(advertisement: &Object<BgpAdvertisement>, pool: &Object<metallb::IpAddressPool>) -> bool {
    let spec = &advertisement.spec;
    fits(&spec.ip_address_pools, &spec.ip_address_pool_selectors, pool)
}

fn l2_fits(advertisement: &Object<metallb::L2Advertisement>, pool: &Object<metallb::IpAddressPool>) -> bool {
    let spec = &advertisement.spec;
    fits(&spec.ip_address_pools, &spec.ip_address_pool_selectors, pool)
}

/// Whether an advertisement is for a pool: it is named or selected, or nothing is.
fn fits(names: &[String], selectors: &[LabelSelector], pool: &Object<metallb::IpAddressPool>) -> bool {
    let selects = || Selector::all(selectors).is_ok_and(|all| !all.is_empty() && selected(&all, &pool.labels));
    names.is_empty() && selectors.is_empty() || names.contains(&pool.id.name) || selects()
}

fn keys(selectors: &[LabelSelector]) -> impl Iterator<Item = &str> {
    selectors.iter().flat_map(|selector| {
        let labels = selector.match_labels.iter().flatten().map(|(key, _)| key.as_str());
        labels.chain(selector.match_expressions.iter().flatten().map(|expression| expression.key.as_str()))
    })
}

fn is_of_a_tool(label: &str) -> bool {
    let prefix = label.split_once('/').map_or("", |(prefix, _)| prefix);
    matches!(prefix, "app.kubernetes.io" | "helm.sh" | "argocd.argoproj.io")
        || prefix.ends_with(".toolkit.fluxcd.io")
        || prefix.ends_with(".cattle.io")
}
