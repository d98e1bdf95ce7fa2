//! What can be written.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use clarion_api::{
    advertisement::LoadBalancerAdvertisementStatus, peer::RouterPeerStatus, pool::LoadBalancerPoolStatus,
    reservation::AddressReservationStatus, status::Status,
};
use smol_str::SmolStr;

use crate::{
    finding::Reason,
    layer::Layer,
    world::{Condition, Kind, Meta, ObjectName, ObjectRef},
};

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Of a Service's status.
    ServiceStatus(ServiceStatusWrite),
    /// Of an FRRConfiguration.
    Configuration(ConfigurationWrite),
    /// Of the status of one of Clarion's objects.
    ObjectStatus(ObjectStatusWrite),
}

/// How long a write can wait, the shortest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// A Service gets an address, or gives one up.
    Address,
    /// Something is no longer to be announced: it may lead to nowhere.
    Withdrawal,
    /// Something is to be announced.
    Announcement,
    /// Users are told how things are.
    Report,
}

impl Write {
    /// How long it can wait.
    #[must_use]
    pub fn urgency(&self) -> Urgency {
        match self {
            Self::ServiceStatus(write) if write.addresses.is_some() => Urgency::Address,
            Self::Configuration(
                ConfigurationWrite::Update { withdraws: true, .. } | ConfigurationWrite::Delete { .. },
            ) => Urgency::Withdrawal,
            Self::Configuration(_) => Urgency::Announcement,
            Self::ServiceStatus(_) | Self::ObjectStatus(_) => Urgency::Report,
        }
    }

    /// What an FRRConfiguration says, and to whom, once this has landed; `None` of other writes, and of one that deletes.
    #[must_use]
    pub fn layer(&self) -> Option<&Layer> {
        match self {
            Self::Configuration(
                ConfigurationWrite::Create { layer, .. } | ConfigurationWrite::Update { layer, .. },
            ) => Some(layer),
            Self::Configuration(ConfigurationWrite::Delete { .. }) | Self::ServiceStatus(_) | Self::ObjectStatus(_) => {
                None
            }
        }
    }

    /// What is known of it when it has to wait, because of these nodes or of its object.
    pub(crate) fn deferred(&self, hosts: Vec<Arc<BTreeSet<String>>>) -> Deferred {
        Deferred { object: self.object(), urgency: self.urgency(), hosts }
    }

    /// The object that is written.
    #[must_use]
    pub fn object(&self) -> ObjectRef {
        match self {
            Self::ServiceStatus(write) => ObjectRef::new(Kind::Service, write.name.clone()),
            Self::Configuration(write) => ObjectRef::new(Kind::FRRConfiguration, write.name().clone()),
            Self::ObjectStatus(write) => write.object.clone(),
        }
    }
}

/// A write that has to wait until others are settled: one of its object, or of an FRRConfiguration that the same nodes see. Until
/// then it is not known in which of two states that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deferred {
    /// The object.
    pub object: ObjectRef,
    /// How long it can wait.
    pub urgency: Urgency,
    /// Of an FRRConfiguration, the nodes that see it, now or then, by their host names; none of other objects.
    pub hosts: Vec<Arc<BTreeSet<String>>>,
}

/// The version of an object that a write relies on. The API server refuses the write if there is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Precondition {
    /// Tells objects of one name apart.
    pub uid: SmolStr,
    /// The version, as the server gave it.
    pub resource_version: SmolStr,
}

impl Precondition {
    /// That the object is as it was seen.
    #[must_use]
    pub fn of(meta: &Meta) -> Self {
        Self { uid: meta.uid.clone(), resource_version: meta.resource_version.clone() }
    }
}

/// A new status for a Service, as a strategic merge patch.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceStatusWrite {
    /// The Service.
    pub name: ObjectName,
    /// What it must still be.
    pub precondition: Precondition,
    /// The whole of `status.loadBalancer.ingress`; `None` leaves it.
    pub addresses: Option<Vec<IpAddr>>,
    /// Conditions to set.
    pub conditions: Vec<Condition>,
    /// Types of conditions to remove.
    pub remove_conditions: Vec<SmolStr>,
    /// What to tell those who follow the Service's Events, once it is written.
    pub event: Option<Event>,
}

/// What an Event is to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Something is not as it should be.
    pub warning: bool,
    /// The reason from the catalogue.
    pub reason: Reason,
    /// In words, at most 1 KiB.
    pub message: String,
}

/// A write of an FRRConfiguration of ours.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigurationWrite {
    /// POST.
    Create {
        /// Its name.
        name: ObjectName,
        /// Its labels.
        labels: BTreeMap<String, String>,
        /// Its annotations.
        annotations: BTreeMap<String, String>,
        /// What it says, and to whom: its spec is [`Layer::spec`].
        layer: Layer,
    },
    /// PUT.
    Update {
        /// Its name.
        name: ObjectName,
        /// What it must still be.
        precondition: Precondition,
        /// Its labels, those of others included.
        labels: BTreeMap<String, String>,
        /// Its annotations, those of others included.
        annotations: BTreeMap<String, String>,
        /// What it says, and to whom: its spec is [`Layer::spec`].
        layer: Layer,
        /// It no longer says all that it said, or no longer to all.
        withdraws: bool,
        /// What to tell those who follow the object's Events, once it is written.
        event: Option<Event>,
    },
    /// DELETE.
    Delete {
        /// Its name.
        name: ObjectName,
        /// What it must still be.
        precondition: Precondition,
    },
}

impl ConfigurationWrite {
    /// The object's name.
    #[must_use]
    pub fn name(&self) -> &ObjectName {
        match self {
            Self::Create { name, .. } | Self::Update { name, .. } | Self::Delete { name, .. } => name,
        }
    }
}

/// A new status for one of Clarion's objects, as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectStatusWrite {
    /// The object.
    pub object: ObjectRef,
    /// What it must still be.
    pub precondition: Precondition,
    /// The status.
    pub status: ObjectStatus,
    /// What to tell those who follow the object's Events, once it is written.
    pub event: Option<Event>,
}

/// The status of one of Clarion's objects.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each is the status of the kind of its name")]
pub enum ObjectStatus {
    LoadBalancerPool(LoadBalancerPoolStatus),
    AddressReservation(AddressReservationStatus),
    LoadBalancerAdvertisement(LoadBalancerAdvertisementStatus),
    RouterPeer(RouterPeerStatus),
    CommunityAlias(Status),
}
