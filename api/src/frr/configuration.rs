use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Unknown;

/// `allowed.mode`: only the prefixes listed.
pub const MODE_FILTERED: &str = "filtered";
/// `allowed.mode`: every prefix of the router, in the same object.
pub const MODE_ALL: &str = "all";

/// A part of the FRR configuration of the nodes that it selects. FRR-K8s merges all parts that select a node.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "frrk8s.metallb.io",
    version = "v1beta1",
    kind = "FRRConfiguration",
    plural = "frrconfigurations",
    namespaced,
    status = "FrrConfigurationStatus",
    derive = "PartialEq",
    derive = "Default"
)]
#[serde(rename_all = "camelCase", default)]
pub struct FrrConfigurationSpec {
    /// BGP: routers and BFD profiles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bgp: Option<Bgp>,
    /// FRR configuration appended as it is. Unsupported upstream; Clarion never writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<Raw>,
    /// The nodes; all if unset or empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Empty upstream; whatever stands in it is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FrrConfigurationStatus {
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// FRR configuration in FRR's own language.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Raw {
    /// Higher ones are appended later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// The text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_config: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The BGP part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Bgp {
    /// One router for each VRF; at most 50.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routers: Vec<Router>,
    /// BFD profiles that neighbors of this object refer to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bfd_profiles: Vec<BfdProfile>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A BGP router of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Router {
    /// The local AS number.
    pub asn: i64,
    /// The BGP identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The VRF; the default one if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// The sessions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbors: Vec<Neighbor>,
    /// The prefixes that can be announced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// VRFs whose routes are imported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<Import>,
    /// EVPN. Clarion never writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evpn: Option<Evpn>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A VRF to import routes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Import {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A BGP session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Neighbor {
    /// The AS number of the other end; this or `dynamic_asn`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<i64>,
    /// `internal` or `external`.
    #[serde(rename = "dynamicASN", skip_serializing_if = "Option::is_none")]
    pub dynamic_asn: Option<String>,
    /// The address or interface to dial from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sourceaddress: Option<String>,
    /// The address of the other end; this or `interface`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The interface of an unnumbered session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The TCP port; unset is the same as 179.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// The password itself; this or `password_secret`. Clarion never writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The Secret with the password, in the daemon's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretReference>,
    /// A Go duration; unset is the same as 180 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<String>,
    /// A Go duration; unset is the same as 60 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<String>,
    /// A Go duration; unset is the same as 60 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_time: Option<String>,
    /// The other end is several hops away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ebgp_multi_hop: Option<bool>,
    /// A BFD profile of this object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bfd_profile: Option<String>,
    /// Graceful restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_graceful_restart: Option<bool>,
    /// What is announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_advertise: Option<Advertise>,
    /// What is accepted. Clarion never writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_receive: Option<Receive>,
    /// Without effect; the server sets it to false.
    #[serde(rename = "disableMP", skip_serializing_if = "Option::is_none")]
    pub disable_mp: Option<bool>,
    /// Both families on one session; the server sets it to false if unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dual_stack_address_family: Option<bool>,
    /// The AS number shown to the other end.
    #[serde(rename = "localASN", skip_serializing_if = "Option::is_none")]
    pub local_asn: Option<i64>,
    /// Whether routes with our own AS number in their path are accepted. Clarion never writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_as_in: Option<String>,
    /// `unicast`, `evpn`; the server sets it to `[unicast]` if unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_families: Option<Vec<String>>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SecretReference {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Ignored upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What is announced on a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Advertise {
    /// The prefixes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<AllowedOut>,
    /// Next hops by family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<NextHop>,
    /// Prefixes with a local preference.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub with_local_pref: Vec<LocalPrefPrefixes>,
    /// Prefixes with a community.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub with_community: Vec<CommunityPrefixes>,
    /// Prefixes with a longer AS path; v0.0.27.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub with_as_path_prepend: Vec<AsPathPrependPrefixes>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The prefixes that may be announced.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AllowedOut {
    /// Which ones, with mode `filtered`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// [`MODE_FILTERED`], which the server sets if unset, or [`MODE_ALL`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Next hops by family.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NextHop {
    /// For IPv4 prefixes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<String>,
    /// For IPv6 prefixes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Prefixes with one local preference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalPrefPrefixes {
    /// The prefixes, at least one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// The local preference; its format in the CRD is int32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_pref: Option<i64>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Prefixes with one community.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CommunityPrefixes {
    /// The prefixes, at least one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// `65000:100` or `large:65000:1:2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub community: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Prefixes with a longer AS path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AsPathPrependPrefixes {
    /// How often, 1 to 10.
    pub as_path_prepend: i32,
    /// The prefixes, at least one.
    pub prefixes: Vec<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What is accepted on a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Receive {
    /// The prefixes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<AllowedIn>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The prefixes that may be accepted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AllowedIn {
    /// Which ones, with mode `filtered`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<PrefixSelector>,
    /// [`MODE_FILTERED`], which the server sets if unset, or [`MODE_ALL`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A prefix and the lengths that match it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PrefixSelector {
    /// The prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The greatest length that matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub le: Option<i32>,
    /// The least length that matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ge: Option<i32>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A BFD profile. The same name in two objects must mean the same for a node that both select.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BfdProfile {
    /// Its name.
    pub name: String,
    /// Milliseconds, 10 to 60000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive_interval: Option<i32>,
    /// Milliseconds, 10 to 60000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transmit_interval: Option<i32>,
    /// 2 to 255.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detect_multiplier: Option<i32>,
    /// Milliseconds, 10 to 60000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo_interval: Option<i32>,
    /// Unset is the same as false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub echo_mode: Option<bool>,
    /// Unset is the same as false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passive_mode: Option<bool>,
    /// 1 to 254.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_ttl: Option<i32>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// EVPN of a router.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Evpn {
    /// `Disabled` or `All`.
    #[serde(rename = "advertiseVNIs", skip_serializing_if = "Option::is_none")]
    pub advertise_vnis: Option<String>,
    /// Announce the switched virtual interfaces.
    #[serde(rename = "advertiseSVI", skip_serializing_if = "Option::is_none")]
    pub advertise_svi: Option<bool>,
    /// Layer 2 VNIs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub l2vnis: Vec<L2Vni>,
    /// The layer 3 VNI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3vni: Option<L3Vni>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A layer 2 VNI.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct L2Vni {
    /// The VNI, 1 to 16777215.
    pub vni: i32,
    /// The route distinguisher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rd: Option<String>,
    /// Import route targets.
    #[serde(default, rename = "importRTs", skip_serializing_if = "Vec::is_empty")]
    pub import_rts: Vec<String>,
    /// Export route targets.
    #[serde(default, rename = "exportRTs", skip_serializing_if = "Vec::is_empty")]
    pub export_rts: Vec<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A layer 3 VNI.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct L3Vni {
    /// The VNI, 1 to 16777215.
    pub vni: i32,
    /// The route distinguisher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rd: Option<String>,
    /// Import route targets.
    #[serde(default, rename = "importRTs", skip_serializing_if = "Vec::is_empty")]
    pub import_rts: Vec<String>,
    /// Export route targets.
    #[serde(default, rename = "exportRTs", skip_serializing_if = "Vec::is_empty")]
    pub export_rts: Vec<String>,
    /// Which prefixes are announced: `unicast`.
    pub advertise_prefixes: Vec<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl FrrConfigurationSpec {
    /// Fills in what the API server fills in, after the `default`s of the CRD, so that two specs can be compared.
    pub fn set_defaults(&mut self) {
        let neighbors = self.bgp.iter_mut().flat_map(|bgp| &mut bgp.routers).flat_map(|router| &mut router.neighbors);
        for neighbor in neighbors {
            neighbor.disable_mp.get_or_insert(false);
            neighbor.dual_stack_address_family.get_or_insert(false);
            neighbor.address_families.get_or_insert_with(|| vec!["unicast".to_owned()]);
            if let Some(allowed) = neighbor.to_advertise.as_mut().and_then(|a| a.allowed.as_mut()) {
                allowed.mode.get_or_insert_with(|| MODE_FILTERED.to_owned());
            }
            if let Some(allowed) = neighbor.to_receive.as_mut().and_then(|r| r.allowed.as_mut()) {
                allowed.mode.get_or_insert_with(|| MODE_FILTERED.to_owned());
            }
        }
    }

    /// Drops the fields that this version does not know from the parts that Clarion writes. A newer CRD may add defaults
    /// to our objects; they are no difference.
    pub fn forget_unknown(&mut self) {
        self.unknown.clear();
        let Some(bgp) = &mut self.bgp else { return };
        bgp.unknown.clear();
        bgp.bfd_profiles.iter_mut().for_each(|profile| profile.unknown.clear());
        for router in &mut bgp.routers {
            router.unknown.clear();
            for neighbor in &mut router.neighbors {
                neighbor.unknown.clear();
                neighbor.password_secret.iter_mut().for_each(|secret| secret.unknown.clear());
                if let Some(advertise) = &mut neighbor.to_advertise {
                    advertise.unknown.clear();
                    advertise.allowed.iter_mut().for_each(|allowed| allowed.unknown.clear());
                    advertise.next_hop.iter_mut().for_each(|next_hop| next_hop.unknown.clear());
                    advertise.with_local_pref.iter_mut().for_each(|entry| entry.unknown.clear());
                    advertise.with_community.iter_mut().for_each(|entry| entry.unknown.clear());
                    advertise.with_as_path_prepend.iter_mut().for_each(|entry| entry.unknown.clear());
                }
            }
        }
    }
}
