use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Unknown;

/// What FRR-K8s says of a conversion or a reload that went well.
pub const SUCCESS: &str = "success";

/// Empty upstream; whatever stands in it is kept.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "frrk8s.metallb.io",
    version = "v1beta1",
    kind = "FRRNodeState",
    plural = "frrnodestates",
    status = "FrrNodeStateStatus",
    derive = "PartialEq",
    derive = "Default"
)]
#[serde(default)]
pub struct FrrNodeStateSpec {
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What the daemon of one node, the one the object is named after, did last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FrrNodeStateStatus {
    /// FRR's running configuration, read every 30 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_config: Option<String>,
    /// [`SUCCESS`], or why the node's FRRConfigurations could not be merged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_conversion_result: Option<String>,
    /// [`SUCCESS`], or why FRR did not take the configuration; absent before the first reload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_reload_result: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Empty upstream; whatever stands in it is kept.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "frrk8s.metallb.io",
    version = "v1beta1",
    kind = "BGPSessionState",
    plural = "bgpsessionstates",
    namespaced,
    status = "BgpSessionStateStatus",
    derive = "PartialEq",
    derive = "Default"
)]
#[serde(default)]
pub struct BgpSessionStateSpec {
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The state of one session of one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BgpSessionStateStatus {
    /// The state of BGP, `Established` when routes flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bgp_status: Option<String>,
    /// The state of BFD, `N/A` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bfd_status: Option<String>,
    /// The node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The address or interface of the other end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The VRF; empty for the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// Fields of newer versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}
