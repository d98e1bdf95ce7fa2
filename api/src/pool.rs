//! LoadBalancerPool: the addresses that Services can get.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// A set of addresses that Services of type LoadBalancer can get, and who may get them.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "clarionlb.io",
    version = "v1beta1",
    kind = "LoadBalancerPool",
    plural = "loadbalancerpools",
    shortname = "lbpool",
    category = "clarion",
    status = "LoadBalancerPoolStatus",
    derive = "PartialEq",
    doc = "A set of addresses that Services of type LoadBalancer can get.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Addresses", type_ = "string", json_path = ".spec.addresses"),
    printcolumn(name = "Usage", type_ = "string", json_path = ".status.usage", description = "Addresses in use, of how many, by family"),
    printcolumn(name = "Auto", type_ = "boolean", json_path = ".spec.autoAssign", description = "Given to Services that ask for no pool"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = "1"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("!has(self.spec.succeededBy) || self.spec.succeededBy != self.metadata.name").message("a pool can't succeed itself")
)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerPoolSpec {
    /// The addresses: CIDRs such as `192.0.2.0/24` and ranges such as `2001:db8::10-2001:db8::20`, in any mix of
    /// families. Every address counts, the first and the last of a CIDR included.
    #[schemars(with = "Vec<schema::Addresses>", length(min = 1, max = 512))]
    pub addresses: Vec<String>,
    /// Addresses that nobody gets, in the same forms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Addresses>", length(max = 512))]
    pub exclude_addresses: Vec<String>,
    /// Whether Services that ask for no pool and no address get one from here.
    #[serde(default = "yes")]
    pub auto_assign: bool,
    /// Nothing new is given from a disabled pool, not even on explicit request. Who holds an address keeps it.
    #[serde(default)]
    pub disabled: bool,
    /// Leave out IPv4 addresses that end in .0 or .255, which some old equipment drops.
    #[serde(default, rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: bool,
    /// Who may get an address, and before which other pools; everybody if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_allocation: Option<ServiceAllocation>,
    /// How many addresses single namespaces may hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["namespace"]))]
    pub quotas: Vec<Quota>,
    /// How many addresses of each family every other namespace may hold; unlimited if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    pub default_quota: Option<i64>,
    /// Which of the free addresses a Service gets.
    #[serde(default)]
    pub strategy: Strategy,
    /// What happens to those who hold an address when it leaves the pool or the pool is deleted.
    #[serde(default)]
    pub on_removal: OnRemoval,
    /// Whether the addresses are meant to be announced. With `false` a Service without advertisement is no fault.
    #[serde(default = "yes")]
    pub announce: bool,
    /// The pool that takes over: each holder gets an address from it beside its own, both announced, until the old
    /// one is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub succeeded_by: Option<String>,
}

fn yes() -> bool {
    true
}

/// Which Services a pool is for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceAllocation {
    /// Pools with a lower number come first; 0 or unset comes last.
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub priority: i32,
    /// Names of namespaces. A Service fits if its namespace is named here or selected below.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::LabelName>", length(max = 512))]
    pub namespaces: Vec<String>,
    /// Namespaces by label.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Selector>", length(max = 32))]
    pub namespace_selectors: Vec<LabelSelector>,
    /// Services by label; with namespaces given, both must fit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Selector>", length(max = 32))]
    pub service_selectors: Vec<LabelSelector>,
}

/// How many addresses one namespace may hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// The namespace.
    #[schemars(schema_with = "schema::label_name")]
    pub namespace: String,
    /// The most addresses of each family. A shared address counts once for each namespace that shares it.
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    pub max_addresses: i64,
}

/// Which of the free addresses a Service gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Strategy {
    /// The lowest free address.
    #[default]
    Sequential,
    /// The address follows from the Service's namespace and name, so that a recreated Service gets it back wherever
    /// it is free.
    Hashed,
}

/// What happens to those who hold an address that leaves its pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnRemoval {
    /// They keep it.
    #[default]
    Retain,
    /// It is withdrawn, then cleared from their status.
    Release,
}

/// What Clarion observed of a pool. The counts end at 2^53-1, the largest integer that every JSON reader keeps exact.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerPoolStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// IPv4 addresses; absent where the pool has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<AddressCounts>,
    /// IPv6 addresses; absent where the pool has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<AddressCounts>,
    /// The counts in words, for the table that kubectl prints.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub usage: Option<String>,
    /// What is known of the pool.
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// How many addresses of one family a pool has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AddressCounts {
    /// All, less the excluded ones.
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    pub total: i64,
    /// Held by Services or reservations.
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    pub assigned: i64,
    /// Free to be given.
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    pub available: i64,
}
