//! CommunityAlias: names for BGP communities.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{schema, status::Status};

/// Names for BGP communities, to be used wherever a community can stand.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "clarionlb.io",
    version = "v1beta1",
    kind = "CommunityAlias",
    plural = "communityaliases",
    shortname = "lbcomm",
    category = "clarion",
    status = "Status",
    derive = "PartialEq",
    doc = "Names for BGP communities.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Aliases", type_ = "string", json_path = ".spec.aliases[*].name"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct CommunityAliasSpec {
    /// The aliases.
    #[schemars(length(min = 1, max = 512), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub aliases: Vec<Alias>,
}

/// A name for a community.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alias {
    /// The name, unique in the cluster.
    #[schemars(schema_with = "schema::alias_name")]
    pub name: String,
    /// The community: `65000:100` (RFC 1997) or `large:65000:1:2` (RFC 8092).
    #[schemars(schema_with = "schema::community_value")]
    pub value: String,
}
