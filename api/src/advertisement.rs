//! LoadBalancerAdvertisement: which addresses are announced, how, from where and to whom.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Announces the addresses of pools over BGP. An empty list of names or selectors means all.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "clarionlb.io",
    version = "v1beta1",
    kind = "LoadBalancerAdvertisement",
    plural = "loadbalanceradvertisements",
    shortname = "lbadv",
    category = "clarion",
    status = "LoadBalancerAdvertisementStatus",
    derive = "PartialEq",
    doc = "Announces the addresses of pools over BGP.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Pools", type_ = "string", json_path = ".spec.pools"),
    printcolumn(name = "Peers", type_ = "string", json_path = ".spec.peers"),
    printcolumn(name = "Communities", type_ = "string", json_path = ".spec.communities", priority = "1"),
    printcolumn(name = "LocalPref", type_ = "integer", json_path = ".spec.localPref", priority = "1"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("!has(self.serviceSelectors) || size(self.serviceSelectors) == 0 || (self.aggregationLength == 32 && self.aggregationLengthV6 == 128)").message("serviceSelectors can't be used together with aggregation: an aggregate covers other Services too"))]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerAdvertisementSpec {
    /// Names of pools. With selectors given too, a pool fits if it is named here or selected there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::ObjectName>", length(max = 256))]
    pub pools: Vec<String>,
    /// Pools by label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Selector>", length(max = 32))]
    pub pool_selectors: Vec<LabelSelector>,
    /// Services by label; all Services of the pools if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Selector>", length(max = 32))]
    pub service_selectors: Vec<LabelSelector>,
    /// The prefix length that IPv4 addresses are aggregated to. 32 announces each address by itself.
    #[serde(default = "host_v4")]
    #[schemars(range(min = 1, max = 32))]
    pub aggregation_length: i32,
    /// The prefix length that IPv6 addresses are aggregated to. 128 announces each address by itself.
    #[serde(default = "host_v6", rename = "aggregationLengthV6")]
    #[schemars(range(min = 1, max = 128))]
    pub aggregation_length_v6: i32,
    /// LOCAL_PREF, sent on iBGP sessions only (RFC 4271 §5.1.5). FRR-K8s carries no more than 2^31-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub local_pref: Option<i64>,
    /// How often the node's own AS number is put in front of the AS path, once more than usual each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub as_path_prepend: Option<i32>,
    /// Communities: values, or names of aliases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Community>", length(max = 64))]
    pub communities: Vec<String>,
    /// The communities that Services may ask for by annotation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Community>", length(max = 64))]
    pub allowed_communities: Vec<String>,
    /// The nodes that announce; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Selector>", length(max = 32))]
    pub node_selectors: Vec<LabelSelector>,
    /// Names of the RouterPeers that are told; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::ObjectName>", length(max = 256))]
    pub peers: Vec<String>,
    /// At most so many nodes announce an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_limit: Option<NodeLimit>,
}

fn host_v4() -> i32 {
    32
}

fn host_v6() -> i32 {
    128
}

/// How many nodes announce one address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeLimit {
    /// The most nodes in each topology domain.
    #[schemars(range(min = 1, max = 10_000))]
    pub max: i32,
    /// The node label whose values are the domains; the whole cluster is one domain if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 317),
        regex(pattern = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")
    )]
    pub topology_key: Option<String>,
}

/// What Clarion knows of an advertisement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerAdvertisementStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// The values of its communities when all of them were last known. While one is not, these count.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<schema::Community>>", length(max = 64))]
    pub communities: Option<Vec<String>>,
    /// What is known of the advertisement.
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
