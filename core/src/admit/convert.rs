//! One FRRConfiguration by itself: what `api_to_config.go` checks and makes of it.

use std::collections::{BTreeMap, BTreeSet};

use clarion_api::frr::{self, Advertise, BfdProfile, MODE_ALL, PrefixSelector};
use ipnet::IpNet;

use super::{
    Families, Fault, Filter, Named, Parameters, Password, Received, Refusal,
    go::{self, Cidr},
};
use crate::{address_set::Family, world::ObjectName};

/// What goes wrong is boxed: it is large, and rare.
pub type Result<T> = std::result::Result<T, Box<Refusal>>;

/// A value and the object that it is from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim<'a, T> {
    pub value: T,
    pub by: &'a ObjectName,
}

/// A router of one object, or of those merged so far.
#[derive(Clone, Debug)]
pub struct Router<'a> {
    pub asn: Claim<'a, u32>,
    pub id: Option<Claim<'a, &'a str>>,
    pub prefixes: BTreeSet<IpNet>,
    pub imports: BTreeSet<&'a str>,
    pub neighbors: Vec<(&'a str, Neighbor<'a>)>,
    pub evpn: Option<Evpn<'a>>,
}

#[derive(Clone, Debug)]
pub struct Neighbor<'a> {
    pub parameters: Claim<'a, Parameters>,
    pub bfd_profile: Option<Claim<'a, &'a str>>,
    pub graceful_restart: Option<bool>,
    pub ipv4_next_hop: Option<Claim<'a, &'a str>>,
    pub ipv6_next_hop: Option<Claim<'a, &'a str>>,
    pub allow_as_in: Option<Claim<'a, &'a str>>,
    pub address_families: BTreeSet<&'a str>,
    /// By prefix as it is written, which is how the daemon tells prefixes apart.
    pub routes: BTreeMap<&'a str, Route<'a>>,
    pub received: Received,
}

#[derive(Clone, Debug)]
pub struct Route<'a> {
    pub net: IpNet,
    pub local_pref: Option<Claim<'a, u32>>,
    pub communities: BTreeSet<String>,
    pub as_path_prepend: Option<Claim<'a, u32>>,
}

#[derive(Clone, Debug)]
pub struct Evpn<'a> {
    pub by: &'a ObjectName,
    pub advertise_vnis: &'a str,
    pub advertise_svi: bool,
    pub l2: BTreeMap<u32, Vni<'a>>,
    pub l3: Option<(u32, Vni<'a>)>,
    pub advertise_prefixes: BTreeSet<&'a str>,
}

#[derive(Clone, Debug)]
pub struct Vni<'a> {
    pub by: &'a ObjectName,
    pub rd: Option<Claim<'a, &'a str>>,
    pub import_rts: BTreeSet<&'a str>,
    pub export_rts: BTreeSet<&'a str>,
}

/// Where something stands.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub object: &'a ObjectName,
    pub vrf: Option<&'a str>,
    pub neighbor: Option<&'a str>,
}

impl<'a> Place<'a> {
    pub fn refuse(self, field: &'static str, fault: Fault) -> Box<Refusal> {
        Box::new(Refusal {
            object: self.object.clone(),
            other: None,
            vrf: self.vrf.map(str::to_owned),
            neighbor: self.neighbor.map(str::to_owned),
            field,
            fault,
        })
    }

    pub fn conflict(
        self,
        other: &ObjectName,
        field: &'static str,
        of: Option<String>,
        values: (String, String),
    ) -> Box<Refusal> {
        Box::new(Refusal { other: Some(other.clone()), ..*self.refuse(field, Fault::Conflict { of, values }) })
    }

    fn claim<T>(self, value: T) -> Claim<'a, T> {
        Claim { value, by: self.object }
    }

    /// Go decodes into unsigned integers of 32 bits.
    fn unsigned(self, field: &'static str, number: i64) -> Result<u32> {
        u32::try_from(number).map_err(|_| self.refuse(field, Fault::Undecodable(number.to_string())))
    }
}

/// An unset text and an empty one are the same to Go.
fn set(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

/// The name that imports have for the default VRF (`importedPrefixes`).
const DEFAULT_VRF: &str = "default";

/// The BFD profiles of an object, as the daemon compares them (`bfdProfileToFRR`): no echo is the same as echo off.
pub fn bfd_profiles<'a>(object: Named<'a>) -> Result<BTreeMap<&'a str, BfdProfile>> {
    let mut found = BTreeMap::new();
    for profile in object.spec.bgp.iter().flat_map(|bgp| &bgp.bfd_profiles) {
        let compared = BfdProfile {
            echo_mode: profile.echo_mode.filter(|on| *on),
            passive_mode: profile.passive_mode.filter(|on| *on),
            unknown: BTreeMap::new(),
            ..profile.clone()
        };
        if found.insert(profile.name.as_str(), compared).is_some() {
            let place = Place { object: object.name, vrf: None, neighbor: None };
            return Err(place.refuse("bfdProfiles", Fault::Twice(profile.name.clone())));
        }
    }
    Ok(found)
}

/// The routers of an object with their VRFs, of which one may occur several times.
pub fn routers<'a>(object: Named<'a>, profiles: &BTreeMap<&str, BfdProfile>) -> Result<Vec<(&'a str, Router<'a>)>> {
    let routers = || object.spec.bgp.iter().flat_map(|bgp| &bgp.routers);
    // Of several routers of one VRF, what others import is the last one's (`prefixesForVRFs`).
    let by_vrf = routers().map(|router| (vrf_of(router), router.prefixes.as_slice())).collect();
    let surroundings = Surroundings { object: object.name, by_vrf, profiles };
    routers().map(|router| Ok((vrf_of(router), surroundings.router(router)?))).collect()
}

fn vrf_of(router: &frr::Router) -> &str {
    router.vrf.as_deref().unwrap_or_default()
}

/// What routers of an object can refer to.
struct Surroundings<'a, 'p> {
    object: &'a ObjectName,
    by_vrf: BTreeMap<&'a str, &'a [String]>,
    profiles: &'p BTreeMap<&'p str, BfdProfile>,
}

impl<'a> Surroundings<'a, '_> {
    fn router(&self, router: &'a frr::Router) -> Result<Router<'a>> {
        let place = Place { object: self.object, vrf: Some(vrf_of(router)), neighbor: None };
        let own = router.prefixes.iter().map(|text| match go::cidr(text) {
            Some(cidr) => Ok((text.as_str(), cidr)),
            None => Err(place.refuse("prefixes", Fault::NotAPrefix(text.clone()))),
        });
        let mut prefixes = own.collect::<Result<BTreeMap<&str, Cidr>>>()?;
        let originated = prefixes.values().map(|cidr| cidr.net).collect();
        for import in &router.imports {
            let name = import.vrf.as_deref().unwrap_or_default();
            let vrf = if name == DEFAULT_VRF { "" } else { name };
            let imported = self.by_vrf.get(vrf).ok_or_else(|| place.refuse("imports", Fault::Unknown(name.to_owned())));
            // What is no prefix there is found there.
            prefixes.extend(imported?.iter().filter_map(|text| Some((text.as_str(), go::cidr(text)?))));
        }
        let asn = place.unsigned("asn", router.asn)?;
        let neighbors = router.neighbors.iter().map(|neighbor| self.neighbor(neighbor, place, asn, &prefixes));
        Ok(Router {
            asn: place.claim(asn),
            id: set(router.id.as_ref()).map(|id| place.claim(id)),
            prefixes: originated,
            imports: router.imports.iter().map(|import| import.vrf.as_deref().unwrap_or_default()).collect(),
            neighbors: neighbors.collect::<Result<_>>()?,
            evpn: router.evpn.as_ref().map(|e| evpn(e, place)).transpose()?,
        })
    }

    /// `neighborToFRR`
    fn neighbor(
        &self,
        neighbor: &'a frr::Neighbor,
        router: Place<'a>,
        router_asn: u32,
        prefixes: &BTreeMap<&'a str, Cidr>,
    ) -> Result<(&'a str, Neighbor<'a>)> {
        let (address, interface) = (set(neighbor.address.as_ref()), set(neighbor.interface.as_ref()));
        let key = address.or(interface).unwrap_or_default();
        let place = Place { neighbor: Some(key), ..router };
        let parameters = parameters(neighbor, place, router_asn)?;
        let bfd_profile = set(neighbor.bfd_profile.as_ref());
        if let Some(name) = bfd_profile.filter(|name| !self.profiles.contains_key(name)) {
            return Err(place.refuse("bfdProfile", Fault::Unknown(name.to_owned())));
        }
        let advertised = Advertised { place, families: parameters.families, prefixes };
        let next_hop = neighbor.to_advertise.as_ref().and_then(|advertise| advertise.next_hop.as_ref());
        let next_hop = |family| {
            let text =
                next_hop.and_then(|hop| if family == Family::V4 { hop.ipv4.as_ref() } else { hop.ipv6.as_ref() });
            advertised.next_hop(set(text), family)
        };
        let families = neighbor.address_families.as_ref();
        let converted = Neighbor {
            bfd_profile: bfd_profile.map(|name| place.claim(name)),
            graceful_restart: Some(neighbor.enable_graceful_restart.unwrap_or_default()),
            ipv4_next_hop: next_hop(Family::V4)?,
            ipv6_next_hop: next_hop(Family::V6)?,
            allow_as_in: set(neighbor.allow_as_in.as_ref()).map(|text| place.claim(text)),
            // What the server sets if nothing is.
            address_families: families
                .map_or_else(|| BTreeSet::from(["unicast"]), |families| families.iter().map(String::as_str).collect()),
            routes: neighbor.to_advertise.as_ref().map(|a| advertised.routes(a)).transpose()?.unwrap_or_default(),
            received: received(neighbor, place)?,
            parameters: place.claim(parameters),
        };
        Ok((key, converted))
    }
}

fn parameters(neighbor: &frr::Neighbor, place: Place<'_>, router_asn: u32) -> Result<Parameters> {
    let (hold_time, keepalive_time) = timers(neighbor, place)?;
    let connect_time = neighbor.connect_time.as_deref().map(|text| duration(text, "connectTime", place)).transpose()?;
    let port = neighbor
        .port
        .map(|port| u16::try_from(port).map_err(|_| place.refuse("port", Fault::Undecodable(port.to_string()))));
    let asn = place.unsigned("asn", neighbor.asn.unwrap_or_default())?;
    let local_asn = place.unsigned("localASN", neighbor.local_asn.unwrap_or_default())?;
    if local_asn != 0 && asn != 0 && asn == router_asn {
        return Err(place.refuse("localASN", Fault::LocalAsn));
    }
    Ok(Parameters {
        families: families(neighbor, place)?,
        unnumbered: set(neighbor.interface.as_ref()).is_some(),
        asn: asn_of(neighbor, asn, place)?,
        port: port.transpose()?.unwrap_or(179),
        source_address: set(neighbor.sourceaddress.as_ref()).map(str::to_owned),
        password: password(neighbor, place)?,
        ebgp_multi_hop: neighbor.ebgp_multi_hop.unwrap_or_default(),
        hold_time,
        keepalive_time,
        connect_time: connect_time.map_or(60, |time| time / SECOND),
        local_asn: Some(local_asn).filter(|asn| *asn != 0),
    })
}

/// `addressFamilyForNeighbor`, and that there is one end of the session (`neighborToFRR`).
fn families(neighbor: &frr::Neighbor, place: Place<'_>) -> Result<Families> {
    let dual = neighbor.dual_stack_address_family.unwrap_or_default();
    match (set(neighbor.address.as_ref()), set(neighbor.interface.as_ref())) {
        (None, None) => Err(place.refuse("address", Fault::Missing("interface"))),
        (Some(_), Some(_)) => Err(place.refuse("address", Fault::Excluded("interface"))),
        (None, Some(_)) => Ok(Families::Dual),
        (Some(text), None) => match go::address(text) {
            None => Err(place.refuse("address", Fault::NotAnAddress(text.to_owned()))),
            Some(_) if dual => Ok(Families::Dual),
            Some(family) => Ok(Families::One(family)),
        },
    }
}

/// `neighborToFRR`, `asnFor`
fn asn_of(neighbor: &frr::Neighbor, asn: u32, place: Place<'_>) -> Result<String> {
    match (asn, set(neighbor.dynamic_asn.as_ref())) {
        (0, None) => Err(place.refuse("asn", Fault::Missing("dynamicASN"))),
        (0, Some(text @ ("internal" | "external"))) => Ok(text.to_owned()),
        (0, Some(text)) => Err(place.refuse("dynamicASN", Fault::Value(text.to_owned()))),
        (asn, None) => Ok(asn.to_string()),
        (_, Some(_)) => Err(place.refuse("asn", Fault::Excluded("dynamicASN"))),
    }
}

/// `passwordForNeighbor`, as far as it goes without Secrets.
fn password(neighbor: &frr::Neighbor, place: Place<'_>) -> Result<Password> {
    let secret = neighbor.password_secret.as_ref().and_then(|secret| set(secret.name.as_ref()));
    match (set(neighbor.password.as_ref()), secret) {
        (None, None) => Ok(Password::None),
        (Some(text), None) => Ok(Password::Clear(text.to_owned())),
        (None, Some(name)) => Ok(Password::Secret(name.to_owned())),
        (Some(_), Some(_)) => Err(place.refuse("password", Fault::Excluded("passwordSecret"))),
    }
}

/// A second, in nanoseconds.
const SECOND: i64 = 1_000_000_000;

fn duration(text: &str, field: &'static str, place: Place<'_>) -> Result<i64> {
    go::duration(text).ok_or_else(|| place.refuse(field, Fault::Undecodable(text.to_owned())))
}

/// Hold and keepalive time in seconds, rounded down (`parseTimers`).
fn timers(neighbor: &frr::Neighbor, place: Place<'_>) -> Result<(i64, i64)> {
    let (hold, keepalive) = match (&neighbor.hold_time, &neighbor.keepalive_time) {
        (None, None) => return Ok((180, 60)),
        (Some(hold), Some(keepalive)) => (hold, keepalive),
        (Some(hold), None) => {
            duration(hold, "holdTime", place)?;
            return Err(place.refuse("holdTime", Fault::Alone("keepaliveTime")));
        }
        (None, Some(keepalive)) => {
            duration(keepalive, "keepaliveTime", place)?;
            return Err(place.refuse("keepaliveTime", Fault::Alone("holdTime")));
        }
    };
    let hold_time = duration(hold, "holdTime", place)?;
    let keepalive_time = duration(keepalive, "keepaliveTime", place)?;
    let seconds = hold_time / SECOND;
    if seconds != 0 && seconds < 3 {
        return Err(place.refuse("holdTime", Fault::HoldTime(hold.clone())));
    }
    if keepalive_time > hold_time {
        return Err(place.refuse("keepaliveTime", Fault::Keepalive(keepalive.clone(), hold.clone())));
    }
    Ok((seconds, keepalive_time / SECOND))
}

/// What a neighbor's `toAdvertise` can refer to.
struct Advertised<'a, 'p> {
    place: Place<'a>,
    families: Families,
    /// The router's own and those that it imports.
    prefixes: &'p BTreeMap<&'a str, Cidr>,
}

impl<'a> Advertised<'a, '_> {
    /// `toAdvertiseToFRR`
    fn routes(&self, advertise: &'a Advertise) -> Result<BTreeMap<&'a str, Route<'a>>> {
        let mut routes = self.allowed(advertise)?;
        self.add(
            "toAdvertise.withLocalPref",
            advertise.with_local_pref.iter().map(|entry| (entry.local_pref.unwrap_or_default(), &entry.prefixes)),
            |number| self.place.unsigned("toAdvertise.withLocalPref", number),
            |route, value| one(&mut route.local_pref, self.place.claim(value)),
            &mut routes,
        )?;
        self.add(
            "toAdvertise.withCommunity",
            advertise.with_community.iter().map(|entry| (set(entry.community.as_ref()), &entry.prefixes)),
            |text| {
                let text = text.unwrap_or_default();
                let fault = || self.place.refuse("toAdvertise.withCommunity", Fault::Value(text.to_owned()));
                community(text).ok_or_else(fault)
            },
            |route, value| {
                route.communities.insert(value);
                None
            },
            &mut routes,
        )?;
        // v0.0.27, whose source is not to be had: taken to be as strict as with local preferences.
        self.add(
            "toAdvertise.withAsPathPrepend",
            advertise.with_as_path_prepend.iter().map(|entry| (entry.as_path_prepend, &entry.prefixes)),
            |number| self.place.unsigned("toAdvertise.withAsPathPrepend", number.into()),
            |route, value| one(&mut route.as_path_prepend, self.place.claim(value)),
            &mut routes,
        )?;
        Ok(routes)
    }

    /// `prefixesToAdvertiseForFamily`, `validateOutgoingPrefixes`
    fn allowed(&self, advertise: &'a Advertise) -> Result<BTreeMap<&'a str, Route<'a>>> {
        let route = |cidr: &Cidr| Route {
            net: cidr.net,
            local_pref: None,
            communities: BTreeSet::new(),
            as_path_prepend: None,
        };
        let Some(allowed) = &advertise.allowed else { return Ok(BTreeMap::new()) };
        if allowed.mode.as_deref() == Some(MODE_ALL) {
            let carried = self.prefixes.iter().filter(|(_, cidr)| self.families.carry(cidr.family));
            return Ok(carried.map(|(text, cidr)| (*text, route(cidr))).collect());
        }
        let field = "toAdvertise.allowed.prefixes";
        let listed = allowed.prefixes.iter().map(|text| match self.prefixes.get(text.as_str()) {
            Some(cidr) if self.families.carry(cidr.family) => Ok((text.as_str(), route(cidr))),
            _ => Err(self.unlisted(field, text, Fault::NotInRouter)),
        });
        listed.collect()
    }

    /// Why a prefix is not in a list: it is none that the session could carry (`validatePrefixesForNeighborFamily`), or it is
    /// just not there.
    fn unlisted(&self, field: &'static str, text: &str, absent: fn(String) -> Fault) -> Box<Refusal> {
        let fault = match go::cidr(text) {
            None => Fault::NotAPrefix,
            Some(cidr) if !self.families.carry(cidr.family) => Fault::Family,
            Some(_) => absent,
        };
        self.place.refuse(field, fault(text.to_owned()))
    }

    /// Adds a path attribute (`prefixesWithLocalPrefToFRR`, `prefixesWithCommunityToFRR`). Entries without prefixes count
    /// for nothing, not even as a first one of two.
    fn add<T, V: Clone + Ord + ToString>(
        &self,
        field: &'static str,
        entries: impl Iterator<Item = (T, &'a Vec<String>)>,
        value: impl Fn(T) -> Result<V>,
        set: impl Fn(&mut Route<'a>, V) -> Option<Claim<'a, V>>,
        routes: &mut BTreeMap<&'a str, Route<'a>>,
    ) -> Result<()> {
        let mut seen = BTreeSet::new();
        for (text, prefixes) in entries {
            let value = value(text)?;
            if seen.contains(&value) {
                return Err(self.place.refuse(field, Fault::Twice(value.to_string())));
            }
            let mut listed = BTreeSet::new();
            for prefix in prefixes {
                let Some(route) = routes.get_mut(prefix.as_str()) else {
                    return Err(self.unlisted(field, prefix, Fault::NotAllowed));
                };
                if !listed.insert(prefix) {
                    return Err(self.place.refuse(field, Fault::Twice(prefix.clone())));
                }
                if let Some(other) = set(route, value.clone()) {
                    let values = (other.value.to_string(), value.to_string());
                    return Err(self.place.conflict(other.by, field, Some(prefix.clone()), values));
                }
            }
            if !prefixes.is_empty() {
                seen.insert(value);
            }
        }
        Ok(())
    }

    /// `nextHopToFRR`
    fn next_hop(&self, text: Option<&'a str>, family: Family) -> Result<Option<Claim<'a, &'a str>>> {
        let Some(text) = text else { return Ok(None) };
        let field = next_hop_field(family);
        if go::address(text) != Some(family) {
            return Err(self.place.refuse(field, Fault::NotAnAddress(text.to_owned())));
        }
        if !self.families.carry(family) {
            return Err(self.place.refuse(field, Fault::Family(text.to_owned())));
        }
        Ok(Some(self.place.claim(text)))
    }
}

/// The field of the next hop of a family.
pub fn next_hop_field(family: Family) -> &'static str {
    if family == Family::V4 { "toAdvertise.nextHop.ipv4" } else { "toAdvertise.nextHop.ipv6" }
}

/// Sets what there can be one of; returns what was there, if that is another.
fn one<'a>(old: &mut Option<Claim<'a, u32>>, new: Claim<'a, u32>) -> Option<Claim<'a, u32>> {
    match *old {
        Some(old) if old.value != new.value => Some(old),
        _ => {
            *old = Some(new);
            None
        }
    }
}

/// A community as FRR-K8s writes it (`community.New` of `internal/community`): without leading zeros.
fn community(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [upper, lower] => Some(format!("{}:{}", go::number::<u16>(upper)?, go::number::<u16>(lower)?)),
        ["large", parts @ ..] if parts.len() == 3 => {
            let numbers = parts.iter().map(|part| go::number::<u32>(part).map(|n| n.to_string()));
            Some(format!("large:{}", numbers.collect::<Option<Vec<_>>>()?.join(":")))
        }
        _ => None,
    }
}

/// `toReceiveToFRR`, `filterForSelector`
fn received(neighbor: &frr::Neighbor, place: Place<'_>) -> Result<Received> {
    let allowed = neighbor.to_receive.as_ref().and_then(|receive| receive.allowed.as_ref());
    if allowed.is_some_and(|allowed| allowed.mode.as_deref() == Some(MODE_ALL)) {
        return Ok(Received::All);
    }
    let filters = allowed.iter().flat_map(|allowed| &allowed.prefixes).map(|selector| filter(selector, place));
    Ok(Received::Filtered(filters.collect::<Result<_>>()?))
}

fn filter(selector: &PrefixSelector, place: Place<'_>) -> Result<Filter> {
    let field = "toReceive.allowed.prefixes";
    let text = selector.prefix.as_deref().unwrap_or_default();
    let cidr = go::cidr(text).ok_or_else(|| place.refuse(field, Fault::NotAPrefix(text.to_owned())))?;
    let le = place.unsigned(field, selector.le.unwrap_or_default().into())?;
    let ge = place.unsigned(field, selector.ge.unwrap_or_default().into())?;
    let length = u32::from(cidr.net.prefix_len());
    // `validateSelectorLengths`: its own length <= ge <= le, as far as they are there.
    if (le > 0 && (ge > le || length > le)) || (ge > 0 && length > ge) {
        return Err(place.refuse(field, Fault::Lengths(text.to_owned())));
    }
    Ok(Filter { prefix: cidr.net, le: Some(le).filter(|le| *le > 0), ge: Some(ge).filter(|ge| *ge > 0) })
}

/// `evpnToFRR`
fn evpn<'a>(evpn: &'a frr::Evpn, place: Place<'a>) -> Result<Evpn<'a>> {
    let vni = |rd: Option<&'a String>, import_rts: &'a [String], export_rts: &'a [String]| Vni {
        by: place.object,
        rd: set(rd).map(|rd| place.claim(rd)),
        import_rts: import_rts.iter().map(String::as_str).collect(),
        export_rts: export_rts.iter().map(String::as_str).collect(),
    };
    let mut l2 = BTreeMap::new();
    for each in &evpn.l2vnis {
        let number = place.unsigned("evpn.l2vnis", each.vni.into())?;
        let mut found = vni(each.rd.as_ref(), &each.import_rts, &each.export_rts);
        if let Some(earlier) = l2.remove(&number) {
            found = super::merge::vni(earlier, found, "evpn.l2vnis", number, place)?;
        }
        l2.insert(number, found);
    }
    let l3 = match &evpn.l3vni {
        Some(each) => {
            let number = place.unsigned("evpn.l3vni", each.vni.into())?;
            Some((number, vni(each.rd.as_ref(), &each.import_rts, &each.export_rts)))
        }
        None => None,
    };
    Ok(Evpn {
        by: place.object,
        advertise_vnis: evpn.advertise_vnis.as_deref().unwrap_or("Disabled"),
        advertise_svi: evpn.advertise_svi.unwrap_or_default(),
        l2,
        l3,
        advertise_prefixes: evpn.l3vni.iter().flat_map(|l3| &l3.advertise_prefixes).map(String::as_str).collect(),
    })
}
