//! The API of Clarion (`clarionlb.io/v1beta1`) and the part of FRR-K8s's API that Clarion reads and writes.
//!
//! Data only: types, their OpenAPI schemas with validation rules and defaults, and the well-known names. Nothing
//! here talks to a cluster.

#![allow(clippy::duplicated_attributes, reason = "kube derives one attribute for each printer column")]

pub mod advertisement;
pub mod community;
pub mod frr;
pub mod names;
pub mod peer;
pub mod pool;
pub mod reservation;
mod schema;
pub mod status;

pub use advertisement::{LoadBalancerAdvertisement, LoadBalancerAdvertisementSpec};
pub use community::{CommunityAlias, CommunityAliasSpec};
pub use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::{
        Condition, LabelSelector, LabelSelectorRequirement, ObjectMeta, OwnerReference, Time,
    },
    jiff::Timestamp,
};
pub use peer::{RouterPeer, RouterPeerSpec};
pub use pool::{LoadBalancerPool, LoadBalancerPoolSpec};
pub use reservation::{AddressReservation, AddressReservationSpec};

/// The CustomResourceDefinitions of Clarion, in the order of their names.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    use kube::CustomResourceExt as _;
    vec![
        AddressReservation::crd(),
        CommunityAlias::crd(),
        LoadBalancerAdvertisement::crd(),
        LoadBalancerPool::crd(),
        RouterPeer::crd(),
    ]
}
