//! AddressReservation: addresses held for a Service, whether or not it exists.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Holds addresses of a pool for one Service of its namespace, as a PersistentVolumeClaim holds a volume.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "clarionlb.io",
    version = "v1beta1",
    kind = "AddressReservation",
    plural = "addressreservations",
    shortname = "lbres",
    category = "clarion",
    namespaced,
    status = "AddressReservationStatus",
    derive = "PartialEq",
    doc = "Holds addresses of a pool for one Service of its namespace, whether or not that exists.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Pool", type_ = "string", json_path = ".spec.poolName"),
    printcolumn(name = "Service", type_ = "string", json_path = ".spec.serviceName"),
    printcolumn(name = "Addresses", type_ = "string", json_path = ".status.addresses"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct AddressReservationSpec {
    /// The pool that the addresses come from.
    #[schemars(schema_with = "schema::object_name")]
    pub pool_name: String,
    /// The addresses; without any, one of each family that the pool has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Ip>", length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub addresses: Vec<String>,
    /// The Service, in the reservation's namespace, that gets them.
    #[schemars(schema_with = "schema::label_name")]
    pub service_name: String,
}

/// What Clarion observed of a reservation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AddressReservationStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// The addresses that are held.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Ip>", length(max = 64))]
    pub addresses: Vec<String>,
    /// What is known of the reservation.
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
