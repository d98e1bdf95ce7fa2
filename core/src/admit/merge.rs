//! FRRConfigurations together: what `apiToFRR` and `merge.go` make of them.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::IpAddr,
};

use clarion_api::frr::{self, BfdProfile, L2Vni, L3Vni};
use ipnet::IpNet;

use super::{
    Attributes, Fault, Named, NextHops, NodeConfig, Parameters, Received, Refusal,
    convert::{self, Claim, Evpn, Neighbor, Place, Result, Route, Router, Vni},
    node,
};
use crate::{address_set::Family, world::ObjectName};

/// The objects so far.
#[derive(Clone, Default)]
pub struct Merged<'a> {
    routers: BTreeMap<&'a str, MergedRouter<'a>>,
    profiles: BTreeMap<&'a str, Claim<'a, BfdProfile>>,
    /// By priority, then by name.
    raw: BTreeMap<(i64, &'a str), &'a str>,
}

/// A session as several objects together have it.
pub struct Seen<'m> {
    /// The VRF of the router; empty for the default one.
    pub vrf: &'m str,
    /// The address or interface, as it is written.
    pub key: &'m str,
    neighbor: &'m Neighbor<'m>,
}

/// A prefix that objects have an attribute for of which there can be one.
pub struct SeenRoute<'m> {
    /// The prefix.
    pub prefix: IpNet,
    /// Its local preference, and the object that has it.
    pub local_pref: Option<(u32, &'m ObjectName)>,
    /// How often the AS path is prepended, and the object that says so.
    pub as_path_prepend: Option<(u32, &'m ObjectName)>,
}

impl<'m> Seen<'m> {
    /// The first object that has the session.
    #[must_use]
    pub fn by(&self) -> &'m ObjectName {
        self.neighbor.parameters.by
    }

    /// Whether graceful restart is on, if all objects say the same.
    #[must_use]
    pub fn graceful_restart(&self) -> Option<bool> {
        self.neighbor.graceful_restart
    }

    /// Whether it carries unicast routes, and not those of EVPN alone.
    #[must_use]
    pub fn is_unicast(&self) -> bool {
        self.neighbor.address_families.is_empty() || self.neighbor.address_families.contains("unicast")
    }

    /// Whether the other end is that of another text: the same address in another spelling, or the same interface.
    #[must_use]
    pub fn is_with(&self, address_or_interface: &str) -> bool {
        self.key == address_or_interface
            || self.key.parse::<IpAddr>().is_ok_and(|here| address_or_interface.parse() == Ok(here))
    }

    /// Prefixes with a local preference or prepend.
    pub fn routes(&self) -> impl Iterator<Item = SeenRoute<'m>> {
        let of = |claim: Option<Claim<'m, u32>>| claim.map(|claim| (claim.value, claim.by));
        self.neighbor.routes.values().map(move |route| SeenRoute {
            prefix: route.net,
            local_pref: of(route.local_pref),
            as_path_prepend: of(route.as_path_prepend),
        })
    }
}

/// A router whose neighbors are merged by their addresses or interfaces.
#[derive(Clone)]
struct MergedRouter<'a> {
    router: Router<'a>,
    neighbors: BTreeMap<&'a str, Neighbor<'a>>,
}

impl<'a> Merged<'a> {
    /// Merges one more object (`apiToFRR`).
    pub fn add(&mut self, object: Named<'a>) -> Result<()> {
        let profiles = convert::bfd_profiles(object)?;
        let routers = convert::routers(object, &profiles)?;
        for (name, profile) in profiles {
            self.add_profile(name, Claim { value: profile, by: object.name })?;
        }
        for (vrf, router) in routers {
            self.add_router(vrf, router)?;
        }
        if let Some(raw) = &object.spec.raw {
            let text = raw.raw_config.as_deref().filter(|text| !text.is_empty());
            self.raw.extend(text.map(|text| ((raw.priority.unwrap_or_default(), object.name.name.as_str()), text)));
        }
        Ok(())
    }

    /// The same name must mean the same, in every field (`apiToFRR`).
    fn add_profile(&mut self, name: &'a str, profile: Claim<'a, BfdProfile>) -> Result<()> {
        let old = self.profiles.entry(name).or_insert_with(|| profile.clone());
        if old.value == profile.value {
            return Ok(());
        }
        let place = Place { object: profile.by, vrf: None, neighbor: None };
        let values = (profile_text(&old.value), profile_text(&profile.value));
        Err(place.conflict(old.by, "bfdProfiles", Some(name.to_owned()), values))
    }

    fn add_router(&mut self, vrf: &'a str, mut router: Router<'a>) -> Result<()> {
        let neighbors = std::mem::take(&mut router.neighbors);
        let place = Place { object: router.asn.by, vrf: Some(vrf), neighbor: None };
        let merged = match self.routers.entry(vrf) {
            Entry::Vacant(entry) => entry.insert(MergedRouter { router, neighbors: BTreeMap::new() }),
            Entry::Occupied(entry) => {
                let merged = entry.into_mut();
                merge_routers(&mut merged.router, router, place)?;
                merged
            }
        };
        for (key, neighbor) in neighbors {
            match merged.neighbors.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(neighbor);
                }
                Entry::Occupied(mut entry) => {
                    merge_neighbors(entry.get_mut(), neighbor, Place { neighbor: Some(key), ..place })?;
                }
            }
        }
        Ok(())
    }

    /// The sessions so far.
    pub fn sessions(&self) -> impl Iterator<Item = Seen<'_>> {
        self.routers
            .iter()
            .flat_map(|(vrf, merged)| merged.neighbors.iter().map(move |(key, neighbor)| Seen { vrf, key, neighbor }))
    }

    /// What only the whole shows (`validateEVPN`), and what comes of it all.
    pub fn finish(self) -> Result<NodeConfig> {
        for (vrf, merged) in &self.routers {
            check_evpn(vrf, merged)?;
        }
        self.check_vnis()?;
        Ok(NodeConfig {
            routers: self.routers.into_iter().map(|(vrf, merged)| (vrf.to_owned(), merged.finish())).collect(),
            bfd_profiles: self.profiles.into_iter().map(|(name, profile)| (name.to_owned(), profile.value)).collect(),
            raw: self.raw.into_values().map(str::to_owned).collect(),
        })
    }

    /// Of a node, each VNI is in one place (`validateUniqueVNIs`).
    fn check_vnis(&self) -> Result<()> {
        let mut seen: BTreeMap<u32, (&str, &ObjectName)> = BTreeMap::new();
        for (vrf, merged) in &self.routers {
            let Some(evpn) = &merged.router.evpn else { continue };
            let l2 = evpn.l2.iter().map(|(number, vni)| ("evpn.l2vnis", *number, vni.by));
            let l3 = evpn.l3.iter().map(|(number, vni)| ("evpn.l3vni", *number, vni.by));
            for (field, number, by) in l2.chain(l3) {
                let Some((other_vrf, other)) = seen.insert(number, (vrf, by)) else { continue };
                let place = Place { object: by, vrf: Some(vrf), neighbor: None };
                let refusal = place.refuse(field, Fault::Vni(number, other_vrf.to_owned()));
                return Err(Box::new(Refusal { other: Some(other.clone()), ..*refusal }));
            }
        }
        Ok(())
    }
}

/// `routersAreCompatible`, `mergeRouterConfigs`
fn merge_routers<'a>(merged: &mut Router<'a>, router: Router<'a>, place: Place<'a>) -> Result<()> {
    if merged.asn.value != router.asn.value {
        let values = (merged.asn.value.to_string(), router.asn.value.to_string());
        return Err(place.conflict(merged.asn.by, "asn", None, values));
    }
    unite(&mut merged.id, router.id, "id", None, place)?;
    merged.prefixes.extend(router.prefixes);
    merged.imports.extend(router.imports);
    merged.evpn = match (merged.evpn.take(), router.evpn) {
        (Some(one), Some(other)) => Some(merge_evpn(one, other, place)?),
        (one, other) => one.or(other),
    };
    Ok(())
}

/// Equal, or one of them unset.
fn unite<'a, T: Copy + PartialEq + ToString>(
    merged: &mut Option<Claim<'a, T>>,
    claim: Option<Claim<'a, T>>,
    field: &'static str,
    of: Option<&str>,
    place: Place<'a>,
) -> Result<()> {
    match (*merged, claim) {
        (Some(old), Some(new)) if old.value != new.value => {
            let values = (old.value.to_string(), new.value.to_string());
            return Err(place.conflict(old.by, field, of.map(str::to_owned), values));
        }
        (None, claim) => *merged = claim,
        (Some(_), _) => {}
    }
    Ok(())
}

/// `mergeIntoNeighbor`
fn merge_neighbors<'a>(merged: &mut Neighbor<'a>, neighbor: Neighbor<'a>, place: Place<'a>) -> Result<()> {
    if let Some((field, one, other)) = difference(&merged.parameters.value, &neighbor.parameters.value) {
        return Err(place.conflict(merged.parameters.by, field, None, (one, other)));
    }
    unite(&mut merged.bfd_profile, neighbor.bfd_profile, "bfdProfile", None, place)?;
    let field = convert::next_hop_field;
    unite(&mut merged.ipv4_next_hop, neighbor.ipv4_next_hop, field(Family::V4), None, place)?;
    unite(&mut merged.ipv6_next_hop, neighbor.ipv6_next_hop, field(Family::V6), None, place)?;
    merge_routes(&mut merged.routes, neighbor.routes, place)?;
    merged.allow_as_in = merge_allow_as_in(merged.allow_as_in, neighbor.allow_as_in, place)?;
    merged.graceful_restart = merged.graceful_restart.filter(|on| Some(*on) == neighbor.graceful_restart);
    merged.address_families.extend(neighbor.address_families);
    match (&mut merged.received, neighbor.received) {
        (Received::Filtered(merged), Received::Filtered(filters)) => merged.extend(filters),
        (received, _) => *received = Received::All,
    }
    Ok(())
}

/// The first parameter in which two neighbors differ, and how (`neighborsAreCompatible`).
fn difference(one: &Parameters, other: &Parameters) -> Option<(&'static str, String, String)> {
    fn differ<T: PartialEq>(
        field: &'static str,
        one: &T,
        other: &T,
        text: impl Fn(&T) -> String,
    ) -> Option<(&'static str, String, String)> {
        (one != other).then(|| (field, text(one), text(other)))
    }
    let seconds = |time: &i64| format!("{time}s");
    let unset = || "none".to_owned();
    differ("asn", &one.asn, &other.asn, String::clone)
        .or_else(|| differ("port", &one.port, &other.port, ToString::to_string))
        .or_else(|| {
            let text = |source: &Option<String>| source.clone().unwrap_or_else(unset);
            differ("sourceaddress", &one.source_address, &other.source_address, text)
        })
        .or_else(|| differ("password", &one.password, &other.password, ToString::to_string))
        .or_else(|| differ("ebgpMultiHop", &one.ebgp_multi_hop, &other.ebgp_multi_hop, ToString::to_string))
        .or_else(|| differ("dualStackAddressFamily", &one.families, &other.families, ToString::to_string))
        .or_else(|| differ("holdTime", &one.hold_time, &other.hold_time, seconds))
        .or_else(|| differ("keepaliveTime", &one.keepalive_time, &other.keepalive_time, seconds))
        .or_else(|| differ("connectTime", &one.connect_time, &other.connect_time, seconds))
        .or_else(|| {
            let text = |asn: &Option<u32>| asn.map_or_else(unset, |asn| asn.to_string());
            differ("localASN", &one.local_asn, &other.local_asn, text)
        })
}

/// Prefixes and communities are united; of each prefix there can be one local preference (`mergeAllowedOut`).
fn merge_routes<'a>(
    merged: &mut BTreeMap<&'a str, Route<'a>>,
    routes: BTreeMap<&'a str, Route<'a>>,
    place: Place<'a>,
) -> Result<()> {
    for (prefix, route) in routes {
        match merged.entry(prefix) {
            Entry::Vacant(entry) => {
                entry.insert(route);
            }
            Entry::Occupied(entry) => {
                let merged = entry.into_mut();
                let field = "toAdvertise.withLocalPref";
                unite(&mut merged.local_pref, route.local_pref, field, Some(prefix), place)?;
                let field = "toAdvertise.withAsPathPrepend";
                unite(&mut merged.as_path_prepend, route.as_path_prepend, field, Some(prefix), place)?;
                merged.communities.extend(route.communities);
            }
        }
    }
    Ok(())
}

/// `none` excludes everything else; else the least restrictive wins (`mergeAllowAsIn`).
fn merge_allow_as_in<'a>(
    one: Option<Claim<'a, &'a str>>,
    other: Option<Claim<'a, &'a str>>,
    place: Place<'a>,
) -> Result<Option<Claim<'a, &'a str>>> {
    let (Some(one), Some(other)) = (one, other) else { return Ok(one.or(other)) };
    if one.value != other.value && [one.value, other.value].contains(&"none") {
        let values = (one.value.to_owned(), other.value.to_owned());
        return Err(place.conflict(one.by, "allowAsIn", None, values));
    }
    // `origin` is no number, and more restrictive than any.
    let occurrences = |claim: Claim<'a, &'a str>| claim.value.parse::<u32>().ok();
    Ok(Some(if occurrences(other) > occurrences(one) { other } else { one }))
}

/// `mergeEVPNConfigs`
fn merge_evpn<'a>(mut merged: Evpn<'a>, evpn: Evpn<'a>, place: Place<'a>) -> Result<Evpn<'a>> {
    if merged.advertise_vnis != evpn.advertise_vnis {
        let values = (merged.advertise_vnis.to_owned(), evpn.advertise_vnis.to_owned());
        return Err(place.conflict(merged.by, "evpn.advertiseVNIs", None, values));
    }
    if merged.advertise_svi != evpn.advertise_svi {
        let values = (merged.advertise_svi.to_string(), evpn.advertise_svi.to_string());
        return Err(place.conflict(merged.by, "evpn.advertiseSVI", None, values));
    }
    for (number, found) in evpn.l2 {
        let found = match merged.l2.remove(&number) {
            Some(earlier) => vni(earlier, found, "evpn.l2vnis", number, place)?,
            None => found,
        };
        merged.l2.insert(number, found);
    }
    merged.l3 = match (merged.l3.take(), evpn.l3) {
        (Some((one, earlier)), Some((other, _))) if one != other => {
            return Err(place.conflict(earlier.by, "evpn.l3vni", None, (one.to_string(), other.to_string())));
        }
        (Some((number, earlier)), Some((_, later))) => {
            Some((number, vni(earlier, later, "evpn.l3vni", number, place)?))
        }
        (one, other) => one.or(other),
    };
    merged.advertise_prefixes.extend(evpn.advertise_prefixes);
    Ok(merged)
}

/// Equal route distinguishers, or one unset; route targets are united, if both have some or none (`mergeVNIProperties`).
pub fn vni<'a>(
    mut merged: Vni<'a>,
    vni: Vni<'a>,
    field: &'static str,
    number: u32,
    place: Place<'a>,
) -> Result<Vni<'a>> {
    let of = format!("VNI {number}");
    unite(&mut merged.rd, vni.rd, field, Some(&of), place)?;
    let directions =
        [("importRTs", &merged.import_rts, &vni.import_rts), ("exportRTs", &merged.export_rts, &vni.export_rts)];
    for (name, one, other) in directions {
        if one.is_empty() != other.is_empty() {
            let text = |targets: &BTreeSet<&str>| {
                let which = if targets.is_empty() { "no" } else { "explicit" };
                format!("{which} {name}")
            };
            return Err(place.conflict(merged.by, field, Some(of), (text(one), text(other))));
        }
    }
    merged.import_rts.extend(vni.import_rts);
    merged.export_rts.extend(vni.export_rts);
    Ok(merged)
}

/// `validateEVPNConfig`
fn check_evpn(vrf: &str, merged: &MergedRouter<'_>) -> Result<()> {
    let Some(evpn) = &merged.router.evpn else { return Ok(()) };
    let place = |object| Place { object, vrf: Some(vrf), neighbor: None };
    let needs_neighbor = evpn.advertise_vnis == "All" || evpn.advertise_svi || !evpn.l2.is_empty();
    let carries_evpn = |neighbor: &Neighbor<'_>| neighbor.address_families.contains("evpn");
    if needs_neighbor && !merged.neighbors.values().any(carries_evpn) {
        return Err(place(evpn.by).refuse("evpn", Fault::NoEvpnNeighbor));
    }
    if let (Some((_, l3)), Some(neighbor)) = (&evpn.l3, merged.neighbors.values().next()) {
        let refusal = place(l3.by).refuse("evpn.l3vni", Fault::L3VniWithNeighbors);
        return Err(Box::new(Refusal { other: Some(neighbor.parameters.by.clone()), ..*refusal }));
    }
    Ok(())
}

/// The fields of a BFD profile that are set.
fn profile_text(profile: &BfdProfile) -> String {
    let numbers = [
        ("receiveInterval", profile.receive_interval),
        ("transmitInterval", profile.transmit_interval),
        ("detectMultiplier", profile.detect_multiplier),
        ("echoInterval", profile.echo_interval),
        ("minimumTtl", profile.minimum_ttl),
    ];
    let numbers = numbers.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value?)));
    let modes = [("echoMode", profile.echo_mode), ("passiveMode", profile.passive_mode)];
    let modes = modes.into_iter().filter(|(_, on)| on.is_some()).map(|(name, _)| name.to_owned());
    let fields: Vec<String> = numbers.chain(modes).collect();
    if fields.is_empty() { "one with defaults alone".to_owned() } else { format!("one with {}", fields.join(", ")) }
}

impl MergedRouter<'_> {
    fn finish(self) -> node::Router {
        let Self { router, neighbors } = self;
        node::Router {
            asn: router.asn.value,
            id: router.id.map(|id| id.value.to_owned()),
            prefixes: router.prefixes,
            imports: router.imports.into_iter().map(str::to_owned).collect(),
            neighbors: neighbors.into_iter().map(|(key, neighbor)| (key.to_owned(), finish(neighbor))).collect(),
            evpn: router.evpn.map(finish_evpn),
        }
    }
}

fn finish(neighbor: Neighbor<'_>) -> node::Neighbor {
    let text = |claim: Option<Claim<'_, &str>>| claim.map(|claim| claim.value.to_owned());
    node::Neighbor {
        parameters: neighbor.parameters.value,
        bfd_profile: text(neighbor.bfd_profile),
        graceful_restart: neighbor.graceful_restart,
        next_hop: NextHops { ipv4: text(neighbor.ipv4_next_hop), ipv6: text(neighbor.ipv6_next_hop) },
        allow_as_in: text(neighbor.allow_as_in),
        address_families: neighbor.address_families.into_iter().map(str::to_owned).collect(),
        routes: finish_routes(neighbor.routes.into_values()),
        received: neighbor.received,
    }
}

/// Spellings of one prefix are several to the daemon and one to FRR. Of their local preferences the last rule's wins, and the
/// rules are in the order of their names, in which the local preference stands (`PrefixLists` of `internal/frr/config.go`).
fn finish_routes<'a>(routes: impl Iterator<Item = Route<'a>>) -> BTreeMap<IpNet, Attributes> {
    let mut finished: BTreeMap<IpNet, Attributes> = BTreeMap::new();
    for route in routes {
        let number = |claim: Option<Claim<'_, u32>>| claim.map(|claim| i64::from(claim.value));
        let attributes = finished.entry(route.net).or_default();
        let local_prefs = [attributes.local_pref, number(route.local_pref)];
        attributes.local_pref = local_prefs.into_iter().flatten().max_by_key(ToString::to_string);
        // It was an i32 before.
        let prepend = route.as_path_prepend.and_then(|claim| i32::try_from(claim.value).ok());
        attributes.as_path_prepend = attributes.as_path_prepend.max(prepend);
        attributes.communities.extend(route.communities);
    }
    finished
}

fn finish_evpn(evpn: Evpn<'_>) -> frr::Evpn {
    let texts = |set: BTreeSet<&str>| set.into_iter().map(str::to_owned).collect::<Vec<_>>();
    // It was an i32 before.
    let number = |vni: u32| i32::try_from(vni).unwrap_or(i32::MAX);
    let text = |rd: Option<Claim<'_, &str>>| rd.map(|rd| rd.value.to_owned());
    let advertise_prefixes = texts(evpn.advertise_prefixes);
    frr::Evpn {
        advertise_vnis: Some(evpn.advertise_vnis.to_owned()),
        advertise_svi: Some(evpn.advertise_svi),
        l2vnis: evpn
            .l2
            .into_iter()
            .map(|(vni, l2)| L2Vni {
                vni: number(vni),
                rd: text(l2.rd),
                import_rts: texts(l2.import_rts),
                export_rts: texts(l2.export_rts),
                ..L2Vni::default()
            })
            .collect(),
        l3vni: evpn.l3.map(|(vni, l3)| L3Vni {
            vni: number(vni),
            rd: text(l3.rd),
            import_rts: texts(l3.import_rts),
            export_rts: texts(l3.export_rts),
            advertise_prefixes,
            ..L3Vni::default()
        }),
        ..frr::Evpn::default()
    }
}
