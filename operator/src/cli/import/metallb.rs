//! MetalLB's kinds, as far as they say something that Clarion can do too. What is unset is empty, as in Go.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
};

use clarion_api::LabelSelector;
use k8s_openapi::api::core::v1::Secret;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::convert::values::is_name;
use crate::cli::manifests::Manifest;

/// The API group of MetalLB.
pub const GROUP: &str = "metallb.io";
/// The kinds of MetalLB that hold configuration.
pub const KINDS: [&str; 7] =
    ["IPAddressPool", "AddressPool", "BGPAdvertisement", "L2Advertisement", "BGPPeer", "BFDProfile", "Community"];
/// Kinds in which MetalLB only reports.
const STATUS_KINDS: [&str; 3] = ["ConfigurationState", "ServiceBGPStatus", "ServiceL2Status"];

/// Fields that MetalLB v0.16 does not have.
pub type Unknown = BTreeMap<String, Value>;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IpAddressPool {
    pub addresses: Vec<String>,
    pub auto_assign: Option<bool>,
    #[serde(rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: bool,
    pub service_allocation: Option<ServiceAllocation>,
    #[serde(flatten)]
    pub unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceAllocation {
    pub priority: i64,
    pub namespaces: Vec<String>,
    pub namespace_selectors: Vec<LabelSelector>,
    pub service_selectors: Vec<LabelSelector>,
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The kind that IPAddressPool and BGPAdvertisement replaced in v0.13.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AddressPool {
    pub protocol: String,
    pub addresses: Vec<String>,
    #[serde(alias = "auto-assign")]
    pub auto_assign: Option<bool>,
    pub bgp_advertisements: Vec<LegacyAdvertisement>,
    #[serde(flatten)]
    pub unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LegacyAdvertisement {
    pub aggregation_length: Option<i64>,
    #[serde(rename = "aggregationLengthV6")]
    pub aggregation_length_v6: Option<i64>,
    pub local_pref: i64,
    pub communities: Vec<String>,
    #[serde(flatten)]
    pub unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BgpAdvertisement {
    pub aggregation_length: Option<i64>,
    #[serde(rename = "aggregationLengthV6")]
    pub aggregation_length_v6: Option<i64>,
    pub local_pref: i64,
    pub communities: Vec<String>,
    pub ip_address_pools: Vec<String>,
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    pub node_selectors: Vec<LabelSelector>,
    pub peers: Vec<String>,
    pub service_selectors: Vec<LabelSelector>,
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Only which pools it is for is of interest.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct L2Advertisement {
    pub ip_address_pools: Vec<String>,
    pub ip_address_pool_selectors: Vec<LabelSelector>,
}

/// Of both versions: what v1beta1 has, v1beta2 has in the same form.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BgpPeer {
    #[serde(rename = "myASN")]
    pub my_asn: i64,
    #[serde(rename = "peerASN")]
    pub peer_asn: i64,
    #[serde(rename = "localASN")]
    pub local_asn: i64,
    #[serde(rename = "dynamicASN")]
    pub dynamic_asn: String,
    pub peer_address: String,
    pub interface: String,
    pub source_address: String,
    pub peer_port: i64,
    pub hold_time: Option<String>,
    pub keepalive_time: Option<String>,
    pub connect_time: Option<String>,
    #[serde(rename = "routerID")]
    pub router_id: String,
    pub node_selectors: Vec<LabelSelector>,
    pub password: String,
    pub password_secret: SecretReference,
    pub bfd_profile: String,
    pub enable_graceful_restart: bool,
    pub ebgp_multi_hop: bool,
    pub vrf: String,
    #[serde(rename = "disableMP")]
    pub disable_mp: bool,
    pub dual_stack_address_family: bool,
    #[serde(flatten)]
    pub unknown: Unknown,
    /// Whether the object is of v1beta1, where timers that are unset are 0.
    #[serde(skip)]
    pub is_v1beta1: bool,
}

/// MetalLB looks the Secret up in its own namespace, whatever namespace is given.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SecretReference {
    pub name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BfdProfile {
    pub receive_interval: Option<i64>,
    pub transmit_interval: Option<i64>,
    pub detect_multiplier: Option<i64>,
    pub echo_interval: Option<i64>,
    pub echo_mode: Option<bool>,
    pub passive_mode: Option<bool>,
    pub minimum_ttl: Option<i64>,
    #[serde(flatten)]
    pub unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Community {
    pub communities: Vec<Alias>,
    #[serde(flatten)]
    pub unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Alias {
    pub name: String,
    pub value: String,
}

/// Which object it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    pub kind: String,
    /// Empty where none was written.
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        write!(f, "{} {}{slash}{}", self.kind, self.namespace, self.name)
    }
}

/// An object, without what only the API server cares about.
#[derive(Debug, Default)]
pub struct Object<Spec> {
    pub id: Id,
    pub labels: BTreeMap<String, String>,
    pub spec: Spec,
}

/// All objects of one MetalLB, by name.
#[derive(Debug, Default)]
pub struct Objects {
    pub pools: BTreeMap<String, Object<IpAddressPool>>,
    pub address_pools: BTreeMap<String, Object<AddressPool>>,
    pub bgp_advertisements: BTreeMap<String, Object<BgpAdvertisement>>,
    pub l2_advertisements: BTreeMap<String, Object<L2Advertisement>>,
    pub peers: BTreeMap<String, Object<BgpPeer>>,
    pub bfd_profiles: BTreeMap<String, Object<BfdProfile>>,
    pub communities: BTreeMap<String, Object<Community>>,
    /// By namespace and name.
    pub secrets: BTreeMap<(String, String), Secret>,
}

/// What became of an object that was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// It is among the objects now.
    Taken,
    /// MetalLB only reports in it.
    Status,
    /// It is nothing that is imported; with what to say of it.
    Foreign(String),
}

/// Why an object can't be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("it has no metadata.name")]
    Nameless,
    #[error("it is defined twice")]
    Twice,
    #[error("{0}")]
    Malformed(String),
}

impl Objects {
    /// Takes an object in, if it is one of MetalLB's or a Secret.
    pub fn take(&mut self, manifest: Manifest) -> Result<Read, ReadError> {
        let (group, version) = manifest.api_version.split_once('/').unwrap_or(("", &manifest.api_version));
        match (group, manifest.kind.as_str()) {
            ("", "Secret") => return self.take_secret(manifest),
            ("", "ConfigMap") => return Ok(Read::Foreign(config_map(&manifest))),
            (GROUP, kind) if STATUS_KINDS.contains(&kind) => return Ok(Read::Status),
            (GROUP, kind) if KINDS.contains(&kind) => {}
            (group, kind) => {
                let group = if group.is_empty() { version } else { group };
                return Ok(Read::Foreign(format!("{kind} of {group} is nothing that is imported")));
            }
        }
        let is_v1beta1 = version == "v1beta1";
        match manifest.kind.as_str() {
            "IPAddressPool" => put(&mut self.pools, manifest, |_| {}),
            "AddressPool" => put(&mut self.address_pools, manifest, |_| {}),
            "BGPAdvertisement" => put(&mut self.bgp_advertisements, manifest, |_| {}),
            "L2Advertisement" => put(&mut self.l2_advertisements, manifest, |_| {}),
            "BFDProfile" => put(&mut self.bfd_profiles, manifest, |_| {}),
            "Community" => put(&mut self.communities, manifest, |_| {}),
            _ => put(&mut self.peers, manifest, |peer: &mut BgpPeer| peer.is_v1beta1 = is_v1beta1),
        }
    }

    fn take_secret(&mut self, manifest: Manifest) -> Result<Read, ReadError> {
        let id = id(&manifest)?;
        let secret: Secret = serde_json::to_value(&manifest)
            .and_then(serde_json::from_value)
            // The error could quote what is secret.
            .map_err(|_| ReadError::Malformed("it is no valid Secret".to_owned()))?;
        match self.secrets.insert((id.namespace, id.name), secret) {
            None => Ok(Read::Taken),
            Some(_) => Err(ReadError::Twice),
        }
    }

    /// Whether there is nothing of MetalLB.
    pub fn is_empty(&self) -> bool {
        self.pools.is_empty()
            && self.address_pools.is_empty()
            && self.bgp_advertisements.is_empty()
            && self.l2_advertisements.is_empty()
            && self.peers.is_empty()
            && self.bfd_profiles.is_empty()
            && self.communities.is_empty()
    }
}

/// Which object a manifest is of.
pub fn id(manifest: &Manifest) -> Result<Id, ReadError> {
    let text = |field: &str| match manifest.metadata.get(field) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        // `no` and `y` are no texts in YAML.
        Some(other) => Err(ReadError::Malformed(format!("metadata.{field}: {other} is not a text; quote it"))),
    };
    let id = Id { kind: manifest.kind.clone(), namespace: text("namespace")?, name: text("name")? };
    match id.name.as_str() {
        "" => Err(ReadError::Nameless),
        name if is_name(name, 253, true) => Ok(id),
        name => Err(ReadError::Malformed(format!("metadata.name: {name:?} is not the name of an object"))),
    }
}

fn put<Spec: Default + DeserializeOwned>(
    objects: &mut BTreeMap<String, Object<Spec>>,
    mut manifest: Manifest,
    finish: impl FnOnce(&mut Spec),
) -> Result<Read, ReadError> {
    let id = id(&manifest)?;
    let labels = manifest.metadata.remove("labels").map(without_nulls).unwrap_or(Value::Object(Map::new()));
    let labels =
        serde_json::from_value(labels).map_err(|error| ReadError::Malformed(format!("metadata.labels: {error}")))?;
    let mut spec = match manifest.rest.remove("spec").map(without_nulls) {
        None | Some(Value::Null) => Spec::default(),
        Some(Value::Object(fields)) => read(fields)?,
        Some(_) => return Err(ReadError::Malformed("spec is no mapping".to_owned())),
    };
    finish(&mut spec);
    match objects.entry(id.name.clone()) {
        Entry::Vacant(place) => {
            place.insert(Object { id, labels, spec });
            Ok(Read::Taken)
        }
        Entry::Occupied(_) => Err(ReadError::Twice),
    }
}

/// Reads a spec; what can't be read is named by its field, read by itself to find out.
fn read<Spec: DeserializeOwned>(fields: Map<String, Value>) -> Result<Spec, ReadError> {
    let each = fields.clone();
    serde_json::from_value(Value::Object(fields)).map_err(|error| {
        let alone = |(field, value)| {
            let only = Map::from_iter([(String::clone(&field), value)]);
            let error = serde_json::from_value::<Spec>(Value::Object(only)).err()?;
            // The error quotes the value.
            let is_secret = field == "password";
            Some(if is_secret {
                "spec.password is not a text; quote it".to_owned()
            } else {
                format!("spec.{field}: {error}")
            })
        };
        ReadError::Malformed(each.into_iter().find_map(alone).unwrap_or_else(|| format!("spec: {error}")))
    })
}

/// A field that is null is unset, as for the API server.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect()
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

fn config_map(manifest: &Manifest) -> String {
    let has = |key: &str| manifest.rest.get("data").is_some_and(|data| data.get(key).is_some());
    match manifest.name() {
        "config" if has("config") => {
            "ConfigMap config holds no objects: if it is the configuration of a MetalLB before \
             v0.13, turn it into objects with MetalLB's own configmaptocrs first"
                .to_owned()
        }
        "bgpextras" => {
            "ConfigMap bgpextras is passed over: FRR-K8s has raw configuration of its own, in FRRConfigurations"
                .to_owned()
        }
        name => format!("ConfigMap {name} is nothing that is imported"),
    }
}
