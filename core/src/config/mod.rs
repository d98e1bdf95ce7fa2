//! From specs to a checked configuration and findings. A bad object never hides a good one.

mod addresses;
mod advertisement;
mod peer;
mod pool;
mod pools;
mod reservation;
mod selector;

use std::collections::BTreeMap;

use clarion_api::{RouterPeerSpec, peer::RouterPeerStatus};

use crate::{
    finding::{Findings, Reason},
    world::{Custom, Kind, Object, ObjectRef, World},
};

pub use addresses::one as address;
pub use advertisement::{Advertisement, Misfit, community};
pub use peer::{Peer, Terms};
pub use pool::{NotFor, OnRemoval, Pool, Strategy};
pub use pools::Pools;
pub use reservation::Reservation;
pub use selector::Selector;

/// The valid part of what users configured. Lists are in the order of seniority.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The pools.
    pub pools: Pools,
    /// The reservations.
    pub reservations: Vec<Reservation>,
    /// The advertisements.
    pub advertisements: Vec<Advertisement>,
    /// The peers.
    pub peers: Vec<Peer>,
    /// Community values by alias.
    pub aliases: BTreeMap<String, String>,
}

/// Checks all of Clarion's objects.
pub fn check(world: &World, findings: &mut Findings) -> Config {
    let aliases = advertisement::aliases(world, findings);
    let pools = pools::check(world, findings);
    let peers = read(&world.peers, Kind::RouterPeer, findings, |object, spec, f| peer::check(world, object, spec, f));
    pools::warn_of_networks(world, &pools, &peers, findings);
    let advertisements = read(&world.advertisements, Kind::LoadBalancerAdvertisement, findings, |object, spec, f| {
        advertisement::check(world, &aliases, object, spec, f)
    });
    let reservations = read(&world.reservations, Kind::AddressReservation, findings, reservation::check);
    Config { pools, reservations, advertisements, peers, aliases }
}

/// The peers that would be valid if they were not suspended.
pub fn suspended(world: &World) -> Vec<Peer> {
    let suspended = |object: &Object<Custom<RouterPeerSpec, RouterPeerStatus>>| {
        let spec = object.value.spec.as_ref().ok().filter(|spec| spec.suspend)?;
        peer::check(world, object, &RouterPeerSpec { suspend: false, ..spec.clone() }, &mut Findings::default())
    };
    world.peers.iter().filter_map(suspended).collect()
}

/// Reads each object of a kind, from the oldest to the youngest, leaving out the unreadable and the invalid ones.
fn read<Spec: PartialEq, Status: PartialEq, T>(
    collection: &crate::world::Collection<Custom<Spec, Status>>,
    kind: Kind,
    findings: &mut Findings,
    check: impl Fn(&Object<Custom<Spec, Status>>, &Spec, &mut Findings) -> Option<T>,
) -> Vec<T> {
    let mut valid = Vec::new();
    for object in collection.by_seniority() {
        match &object.value.spec {
            Ok(spec) => valid.extend(check(object, spec, findings)),
            Err(why) => {
                findings.error(ObjectRef::new(kind, object.meta.name.clone()), Reason::Unreadable, why.clone());
            }
        }
    }
    valid
}

/// Whether the labels fit one of the selectors. Without any selector, everything fits.
pub fn selected(selectors: &[Selector], labels: &BTreeMap<String, String>) -> bool {
    selectors.is_empty() || selectors.iter().any(|selector| selector.matches(labels))
}

/// Says that FRR-K8s can't do what a field asks for.
fn not_in_frr_k8s(field: &str, path: &str) -> String {
    format!("{field}: the installed FRR-K8s has no field {path}, so it is left out; a newer version has it")
}
