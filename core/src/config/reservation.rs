//! Reservations: addresses held for a Service, whether or not it exists.

use std::net::IpAddr;

use clarion_api::{AddressReservationSpec, reservation::AddressReservationStatus};

use super::addresses;
use crate::{
    finding::{Findings, Reason},
    world::{Custom, Kind, Object, ObjectName, ObjectRef},
};

/// A readable reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Its namespace and name.
    pub name: ObjectName,
    /// The Service that it holds addresses for.
    pub service: ObjectName,
    /// The pool that it takes them from.
    pub pool: String,
    /// The addresses, those that can be read; none if any of the pool will do.
    pub addresses: Vec<IpAddr>,
    /// Any address of the pool will do.
    pub any: bool,
    /// The addresses that it was last seen to hold.
    pub recorded: Vec<IpAddr>,
}

/// Checks one reservation.
#[expect(clippy::unnecessary_wraps, reason = "the signature is that of all checks")]
pub fn check(
    object: &Object<Custom<AddressReservationSpec, AddressReservationStatus>>,
    spec: &AddressReservationSpec,
    findings: &mut Findings,
) -> Option<Reservation> {
    // Destructured so that a new field can't be forgotten.
    let AddressReservationSpec { pool_name, addresses: texts, service_name } = spec;
    let mut addresses = Vec::new();
    for text in texts {
        match addresses::one(text) {
            Ok(address) if !addresses.contains(&address) => addresses.push(address),
            Ok(_) => {}
            Err(error) => {
                let id = ObjectRef::new(Kind::AddressReservation, object.meta.name.clone());
                findings.error(id, Reason::InvalidAddresses, format!("addresses: {text:?}: {error}"));
            }
        }
    }
    let recorded = object.value.status.iter().flat_map(|status| &status.addresses);
    Some(Reservation {
        service: ObjectName::new(object.meta.name.namespace.clone(), service_name),
        name: object.meta.name.clone(),
        pool: pool_name.clone(),
        addresses,
        any: texts.is_empty(),
        recorded: recorded.filter_map(|text| addresses::one(text).ok()).collect(),
    })
}
