//! Findings and outcomes to conditions and figures in the status of objects. Equal means no write.

mod announced;
mod daemons;
mod figures;
mod next_hops;
mod verdict;

use std::{collections::BTreeMap, net::IpAddr};

pub use announced::{Announced, Tally, tallies};
use clarion_api::{
    self as api, Timestamp,
    advertisement::LoadBalancerAdvertisementStatus,
    names,
    peer::RouterPeerStatus,
    pool::{AddressCounts, LoadBalancerPoolStatus},
    reservation::AddressReservationStatus,
    status::Status,
};
pub use daemons::{Daemons, PeerSessions, Prefixes};
pub use figures::{Figures, PeerFigures, PoolFigures};
use itertools::Itertools as _;
pub use next_hops::NextHops;
use smol_str::SmolStr;
use verdict::{EVENT_MAX, Verdict};

use crate::{
    address_set::{COUNT_MAX, Family, count_text},
    allocate::{self, Allocation, Seated},
    config::{Advertisement, Config, Pool},
    finding::{Findings, Reason, Severity},
    session::Sessions,
    text::bounded,
    world::{Condition, Kind, Meta, ObjectName, ObjectRef, Service, World},
    write::{Event, ObjectStatus, ObjectStatusWrite, Precondition, ServiceStatusWrite, Write},
};

/// The status of Services.
pub fn services<'a, 'w: 'a>(
    world: &World,
    services: impl Iterator<Item = Seated<'a, 'w>>,
    announced: &mut Announced,
    writes: &mut Vec<Write>,
) {
    for seated in services {
        let verdicts = if seated.served {
            let mut verdicts = vec![allocated(&seated), announced.verdict(&seated)];
            verdicts.extend(list(names::ADDRESS_SHARED, Reason::Shared, seated.shared()));
            verdicts.extend(list(names::RELEASE_ON_REMOVAL, Reason::ReleaseOnRemoval, &seated.revocable()));
            verdicts
        } else {
            Vec::new()
        };
        writes.extend(service_status(world.now, &seated, verdicts).map(Write::ServiceStatus));
    }
}

fn allocated(seated: &Seated) -> Verdict {
    let allocate::Verdict { complete, reason, message } = seated.verdict();
    Verdict::new(names::ADDRESS_ALLOCATED, if complete { "True" } else { "False" }, reason, message)
}

/// A condition whose message is a list of addresses; none without any.
fn list(type_: &'static str, reason: Reason, addresses: &[IpAddr]) -> Option<Verdict> {
    let list = addresses.iter().join(", ");
    (!list.is_empty()).then(|| Verdict::new(type_, "True", reason, list))
}

fn service_status(now: Timestamp, seated: &Seated, verdicts: Vec<Verdict>) -> Option<ServiceStatusWrite> {
    let service = seated.service;
    let Service { addresses, other_ingress, conditions: known, .. } = &service.value;
    // Entries without address are nobody else's: a load balancer class has one controller.
    let same = seated.addresses() == addresses.as_slice() && (*other_ingress == 0 || !seated.served);
    let is_outdated = |condition: &&Condition| match seated.served {
        true => !verdicts.iter().any(|verdict| verdict.type_ == condition.type_),
        false => seated.is_forgotten(),
    };
    let ours = known.iter().filter(|condition| names::SERVICE_CONDITIONS.contains(&condition.type_.as_str()));
    let remove_conditions: Vec<SmolStr> = ours.filter(is_outdated).map(|c| c.type_.clone()).collect();
    let mut conditions: Vec<Condition> = verdicts
        .iter()
        .filter_map(|verdict| verdict.changed(now, None, known.iter().find(|c| c.type_ == verdict.type_)))
        .collect();
    // There may be as many writes that wait as there are Services.
    conditions.shrink_to_fit();
    if same && conditions.is_empty() && remove_conditions.is_empty() {
        return None;
    }
    let lost = seated.lost().filter(|_| !same).map(|(reason, message)| Event {
        warning: true,
        reason,
        message: bounded(message, EVENT_MAX),
    });
    Some(ServiceStatusWrite {
        name: service.meta.name.clone(),
        precondition: Precondition::of(&service.meta),
        addresses: (!same).then(|| seated.addresses().to_vec()),
        conditions,
        remove_conditions,
        event: lost.or_else(|| verdicts.iter().find_map(|v| v.event(known.iter().find(|c| c.type_ == v.type_)))),
    })
}

/// What is known of announcing, for those whose objects it is about.
pub struct Known<'a> {
    /// By pool, in the order of [`Config`].
    pub pools: BTreeMap<usize, Tally>,
    /// By advertisement, in the order of [`Config`].
    pub advertisements: BTreeMap<usize, Tally>,
    /// By peer, in the order of [`Config`].
    pub peers: BTreeMap<usize, PeerSessions<'a>>,
}

/// The status of Clarion's own objects.
pub fn objects(
    world: &World,
    config: &Config,
    allocation: &Allocation,
    sessions: &Sessions,
    announced: &Known,
    findings: &Findings,
    writes: &mut Vec<Write>,
) {
    let mut push = |kind,
                    meta: &Meta,
                    known: &[api::Condition],
                    more: Option<Verdict>,
                    differs: &dyn Fn(&[api::Condition]) -> Option<ObjectStatus>| {
        let object = ObjectRef::new(kind, meta.name.clone());
        let verdicts: Vec<Verdict> = [ready(world, findings, &object)].into_iter().chain(more).collect();
        let known: Vec<Condition> = known.iter().map(Condition::from).collect();
        let before = |verdict: &Verdict| known.iter().find(|condition| condition.type_ == verdict.type_);
        let conditions = verdicts.iter().filter_map(|verdict| {
            let before = before(verdict);
            verdict.changed(world.now, meta.generation, before).or_else(|| before.cloned())
        });
        let conditions: Vec<api::Condition> = conditions.map(|condition| (&condition).into()).collect();
        if let Some(status) = differs(&conditions) {
            let precondition = Precondition::of(meta);
            let event = verdicts.iter().find_map(|verdict| verdict.event(before(verdict)));
            writes.push(Write::ObjectStatus(ObjectStatusWrite { object, precondition, status, event }));
        }
    };
    for object in world.pools.iter() {
        let index = config.pools.named(&object.meta.name.name);
        let known = object.value.status.as_ref();
        let more = index.and_then(|index| announced.pools.get(&index)?.verdict());
        push(Kind::LoadBalancerPool, &object.meta, known.map_or(&[], |s| &s.conditions), more, &|conditions| {
            let counts = index.and_then(|index| Some(counts(config.pools.get(index)?, allocation.taken(index))));
            let status = pool_status(object.meta.generation, conditions.to_vec(), counts);
            (known != Some(&status)).then_some(ObjectStatus::LoadBalancerPool(status))
        });
    }
    let held: BTreeMap<&ObjectName, &Vec<IpAddr>> =
        config.reservations.iter().map(|reservation| &reservation.name).zip(&allocation.reservations).collect();
    for object in world.reservations.iter() {
        let held = held.get(&object.meta.name).map_or(&[][..], |held| held);
        let known = object.value.status.as_ref();
        push(Kind::AddressReservation, &object.meta, known.map_or(&[], |s| &s.conditions), None, &|conditions| {
            let status = AddressReservationStatus {
                observed_generation: object.meta.generation,
                addresses: held.iter().map(ToString::to_string).collect(),
                conditions: conditions.to_vec(),
            };
            (known != Some(&status)).then_some(ObjectStatus::AddressReservation(status))
        });
    }
    let indices = config.advertisements.iter().enumerate();
    let advertisements: BTreeMap<&str, (usize, &Advertisement)> =
        indices.map(|(index, advertisement)| (advertisement.name.as_str(), (index, advertisement))).collect();
    for object in world.advertisements.iter() {
        let known = object.value.status.as_ref();
        let in_effect = advertisements.get(object.meta.name.name.as_str());
        let more = in_effect.and_then(|(index, _)| announced.advertisements.get(index)?.verdict());
        push(
            Kind::LoadBalancerAdvertisement,
            &object.meta,
            known.map_or(&[], |s| &s.conditions),
            more,
            &|conditions| {
                let status = LoadBalancerAdvertisementStatus {
                    observed_generation: object.meta.generation,
                    communities: in_effect
                        .map(|(_, advertisement)| advertisement.communities.iter().cloned().collect())
                        .or_else(|| known.and_then(|known| known.communities.clone())),
                    conditions: conditions.to_vec(),
                };
                (known != Some(&status)).then_some(ObjectStatus::LoadBalancerAdvertisement(status))
            },
        );
    }
    for object in world.communities.iter() {
        let known = object.value.status.as_ref();
        push(Kind::CommunityAlias, &object.meta, known.map_or(&[], |s| &s.conditions), None, &|conditions| {
            let status = Status { observed_generation: object.meta.generation, conditions: conditions.to_vec() };
            (known != Some(&status)).then_some(ObjectStatus::CommunityAlias(status))
        });
    }
    let peers: BTreeMap<&str, _> =
        config.peers.iter().map(|peer| peer.name.as_str()).zip(sessions.nodes.iter().enumerate()).collect();
    for object in world.peers.iter() {
        let peer = peers.get(object.meta.name.name.as_str());
        let known = object.value.status.as_ref();
        let of_peer = peer.and_then(|(index, _)| announced.peers.get(index));
        let more = of_peer.and_then(PeerSessions::verdict);
        push(Kind::RouterPeer, &object.meta, known.map_or(&[], |s| &s.conditions), more, &|conditions| {
            let status = RouterPeerStatus {
                observed_generation: object.meta.generation,
                nodes: peer.map(|(_, nodes)| i64::try_from(**nodes).unwrap_or(i64::MAX)),
                established: peer.map(|_| of_peer.map_or(0, |sessions| i64::try_from(sessions.up).unwrap_or(i64::MAX))),
                password_secret: match (peer, known) {
                    (Some((index, _)), _) => sessions.secrets.status(*index).cloned(),
                    // Of a peer that is suspended or invalid nothing new is known.
                    (None, known) => known.and_then(|known| known.password_secret.clone()),
                },
                conditions: conditions.to_vec(),
            };
            (known != Some(&status)).then_some(ObjectStatus::RouterPeer(status))
        });
    }
}

fn counts(pool: &Pool, [v4, v6]: [u64; 2]) -> [Option<AddressCounts>; 2] {
    [(Family::V4, v4), (Family::V6, v6)].map(|(family, assigned)| {
        let total = pool.addresses.count(family);
        let number = |count: u64| i64::try_from(count.min(COUNT_MAX)).unwrap_or(i64::MAX);
        (total > 0).then(|| AddressCounts {
            total: number(total),
            assigned: number(assigned),
            available: number(pool.available(family, assigned)),
        })
    })
}

fn pool_status(
    generation: Option<i64>,
    conditions: Vec<api::Condition>,
    counts: Option<[Option<AddressCounts>; 2]>,
) -> LoadBalancerPoolStatus {
    let [ipv4, ipv6] = counts.unwrap_or_default();
    let usage = |name: &str, counts: Option<AddressCounts>| {
        let counts = counts?;
        Some(format!("{name} {}/{}", counts.assigned, count_text(counts.total.unsigned_abs())))
    };
    let usage: Vec<String> = [usage("IPv4", ipv4), usage("IPv6", ipv6)].into_iter().flatten().collect();
    LoadBalancerPoolStatus {
        observed_generation: generation,
        ipv4,
        ipv6,
        usage: Some(usage.join(", ")).filter(|usage| !usage.is_empty()),
        conditions,
    }
}

const INSTALL: &str = "FRR-K8s is not installed: its CRD FRRConfiguration is missing. Install it, and Clarion goes on";
const ENABLE_ON_OPENSHIFT: &str = "FRR-K8s is not enabled: its CRD FRRConfiguration is missing. Clarion goes on after: oc patch networks.operator.openshift.io cluster --type=merge -p '{\"spec\":{\"additionalRoutingCapabilities\":{\"providers\":[\"FRR\"]}}}'";

fn ready(world: &World, findings: &Findings, object: &ObjectRef) -> Verdict {
    let found = findings.of(object);
    if let Some(worst) = found.first() {
        let status = if worst.severity == Severity::Error { "False" } else { "True" };
        let message = found.iter().map(|finding| finding.message.as_str()).join("; ");
        return Verdict::new(names::READY, status, worst.reason, message);
    }
    if object.kind == Kind::RouterPeer {
        if let Some(versions) = world.frr_k8s_serves_only() {
            let message = format!(
                "FRR-K8s serves FRRConfigurations as {}, and this version of Clarion writes them as v1beta1: another version of one of the two is needed",
                versions.join(", ")
            );
            return Verdict::new(names::READY, "False", Reason::FRRK8sVersion, message);
        }
        if !world.frr_k8s_installed {
            let message = if world.is_openshift { ENABLE_ON_OPENSHIFT } else { INSTALL };
            return Verdict::new(names::READY, "False", Reason::FRRK8sNotInstalled, message);
        }
        if let Some((refused, why)) = world.refused.iter().find(|(object, _)| object.kind == Kind::FRRConfiguration) {
            let message = format!("{refused} could not be written: {why}");
            return Verdict::new(names::READY, "False", Reason::WriteRefused, message);
        }
        let message =
            format!("in effect; FRRConfigurations are written to the namespace {}", world.frr_k8s_namespace());
        return Verdict::new(names::READY, "True", Reason::Valid, message);
    }
    let (reason, message) = match object.kind {
        Kind::AddressReservation => (Reason::Reserved, "its addresses are held for the Service"),
        _ => (Reason::Valid, "valid and in effect"),
    };
    Verdict::new(names::READY, "True", reason, message.to_owned())
}
