//! Findings and outcomes to conditions and figures in the status of objects. Equal means no write.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use clarion_api::{
    Condition, Time, Timestamp,
    advertisement::LoadBalancerAdvertisementStatus,
    names,
    peer::RouterPeerStatus,
    pool::{AddressCounts, LoadBalancerPoolStatus},
    reservation::AddressReservationStatus,
    status::Status,
};
use ipnet::IpNet;

use crate::{
    address_set::{COUNT_MAX, Family, count_text},
    allocate::{self, Allocation, Seated},
    announce::Announcement,
    compose,
    config::{Config, Peer, Pool, Terms, selected},
    finding::{Findings, Reason, Severity},
    session::Sessions,
    world::{Kind, Meta, ObjectName, ObjectRef, Service, Session, World},
    write::{Event, ObjectStatus, ObjectStatusWrite, Precondition, ServiceStatusWrite, Write},
};

/// The longest message that a condition may hold (`metav1.Condition`).
const MESSAGE_MAX: usize = 32_768;
/// The longest note of an Event (`events.k8s.io/v1`).
const EVENT_MAX: usize = 1024;

/// The status of Services.
pub fn services(
    world: &World,
    config: &Config,
    allocation: &Allocation,
    announcement: &Announcement,
    announced: &BTreeSet<IpNet>,
    writes: &mut Vec<Write>,
) {
    for seated in allocation.seats() {
        let verdicts = if seated.served {
            let mut verdicts =
                vec![allocated(&seated), announced_condition(world, config, &seated, announcement, announced)];
            verdicts.extend(list(names::ADDRESS_SHARED, Reason::Shared, seated.shared()));
            verdicts.extend(list(names::RELEASE_ON_REMOVAL, Reason::ReleaseOnRemoval, &seated.revocable()));
            verdicts
        } else {
            Vec::new()
        };
        writes.extend(service_status(world.now, &seated, verdicts).map(Write::ServiceStatus));
    }
}

fn allocated<'a>(seated: &Seated) -> Verdict<'a> {
    let allocate::Verdict { complete, reason, message } = seated.verdict();
    Verdict::new(names::ADDRESS_ALLOCATED, if complete { "True" } else { "False" }, reason, message)
}

/// A condition whose message is a list of addresses; none without any.
fn list(type_: &'static str, reason: Reason, addresses: &[IpAddr]) -> Option<Verdict<'static>> {
    let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    (!list.is_empty()).then(|| Verdict::new(type_, "True", reason, list))
}

/// True only where it is known. Which nodes and how many sessions is not part of it, so that a node's coming or going
/// writes no Service.
fn announced_condition<'a>(
    world: &World,
    config: &Config,
    seated: &Seated,
    announcement: &Announcement,
    announced: &BTreeSet<IpNet>,
) -> Verdict<'a> {
    let no = |reason, message: &str| Verdict::new(names::ANNOUNCED, "False", reason, message.to_owned());
    let service = seated.service;
    if let Some((reason, message)) = announcement.silent.get(&service.meta.name) {
        return no(*reason, message);
    }
    if !world.frr_k8s_installed {
        return no(Reason::FRRK8sNotInstalled, "FRR-K8s is not installed: its CRD FRRConfiguration is missing");
    }
    let is_meant = |address: &&IpAddr| {
        service.value.addresses.contains(address) && config.pools.of(**address).is_none_or(|pool| pool.announce)
    };
    let is_stranded = |address: &&IpAddr| !compose::announces(announced, announcement, **address);
    if let Some(address) = seated.kept().iter().filter(is_meant).find(is_stranded) {
        let route = announcement.routes.get(&IpNet::from(*address));
        if route.is_some_and(|route| route.requests.is_empty()) {
            let message =
                format!("no valid LoadBalancerPool has {address}, and no LoadBalancerAdvertisement is for all pools");
            return no(Reason::NoAdvertisement, &message);
        }
        let message = format!(
            "{address} is held back: its RouterPeers have as many prefixes as maxPrefixes lets them, or nodes can't be told apart; see their conditions"
        );
        return no(Reason::HeldBack, &message);
    }
    const MESSAGE: &str =
        "FRRConfigurations announce it; whether the routers have taken it is not known to this version";
    match announcement.remarks.get(&service.meta.name) {
        Some((reason, remark)) => Verdict::new(names::ANNOUNCED, "Unknown", *reason, format!("{MESSAGE}; {remark}")),
        None => Verdict::new(names::ANNOUNCED, "Unknown", Reason::Unconfirmed, MESSAGE),
    }
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
    let remove_conditions: Vec<String> = ours.filter(is_outdated).map(|c| c.type_.clone()).collect();
    let conditions: Vec<Condition> = verdicts
        .iter()
        .filter_map(|verdict| verdict.changed(now, None, known.iter().find(|c| c.type_ == verdict.type_)))
        .collect();
    if same && conditions.is_empty() && remove_conditions.is_empty() {
        return None;
    }
    Some(ServiceStatusWrite {
        name: service.meta.name.clone(),
        precondition: Precondition::of(&service.meta),
        addresses: (!same).then(|| seated.addresses().to_vec()),
        conditions,
        remove_conditions,
        event: seated.lost().filter(|_| !same).map(|(reason, message)| Event {
            warning: true,
            reason,
            message: bounded(message, EVENT_MAX),
        }),
    })
}

/// The status of Clarion's own objects.
pub fn objects(
    world: &World,
    config: &Config,
    allocation: &Allocation,
    sessions: &Sessions,
    findings: &Findings,
    writes: &mut Vec<Write>,
) {
    let mut push = |kind, meta: &Meta, known: &[Condition], differs: &dyn Fn(&[Condition]) -> Option<ObjectStatus>| {
        let object = ObjectRef::new(kind, meta.name.clone());
        let ready = ready(world, findings, &object);
        let before = known.iter().find(|condition| condition.type_ == names::READY);
        let condition = ready.changed(world.now, meta.generation, before).or_else(|| before.cloned());
        let conditions: Vec<Condition> = condition.into_iter().collect();
        if let Some(status) = differs(&conditions) {
            let precondition = Precondition::of(meta);
            writes.push(Write::ObjectStatus(ObjectStatusWrite { object, precondition, status, event: None }));
        }
    };
    for object in world.pools.iter() {
        let index = config.pools.named(&object.meta.name.name);
        let known = object.value.status.as_ref();
        push(Kind::LoadBalancerPool, &object.meta, known.map_or(&[], |s| &s.conditions), &|conditions| {
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
        push(Kind::AddressReservation, &object.meta, known.map_or(&[], |s| &s.conditions), &|conditions| {
            let status = AddressReservationStatus {
                observed_generation: object.meta.generation,
                addresses: held.iter().map(ToString::to_string).collect(),
                conditions: conditions.to_vec(),
            };
            (known != Some(&status)).then_some(ObjectStatus::AddressReservation(status))
        });
    }
    let advertisements: BTreeMap<&str, _> =
        config.advertisements.iter().map(|advertisement| (advertisement.name.as_str(), advertisement)).collect();
    for object in world.advertisements.iter() {
        let known = object.value.status.as_ref();
        push(Kind::LoadBalancerAdvertisement, &object.meta, known.map_or(&[], |s| &s.conditions), &|conditions| {
            let in_effect = advertisements.get(object.meta.name.name.as_str());
            let status = LoadBalancerAdvertisementStatus {
                observed_generation: object.meta.generation,
                communities: in_effect
                    .map(|advertisement| advertisement.communities.iter().cloned().collect())
                    .or_else(|| known.and_then(|known| known.communities.clone())),
                conditions: conditions.to_vec(),
            };
            (known != Some(&status)).then_some(ObjectStatus::LoadBalancerAdvertisement(status))
        });
    }
    for object in world.communities.iter() {
        let known = object.value.status.as_ref();
        push(Kind::CommunityAlias, &object.meta, known.map_or(&[], |s| &s.conditions), &|conditions| {
            let status = Status { observed_generation: object.meta.generation, conditions: conditions.to_vec() };
            (known != Some(&status)).then_some(ObjectStatus::CommunityAlias(status))
        });
    }
    let peers: BTreeMap<&str, _> =
        config.peers.iter().map(|peer| peer.name.as_str()).zip(config.peers.iter().zip(&sessions.nodes)).collect();
    for object in world.peers.iter() {
        let peer = peers.get(object.meta.name.name.as_str());
        let known = object.value.status.as_ref();
        push(Kind::RouterPeer, &object.meta, known.map_or(&[], |s| &s.conditions), &|conditions| {
            let status = RouterPeerStatus {
                observed_generation: object.meta.generation,
                nodes: peer.map(|(_, nodes)| i64::try_from(**nodes).unwrap_or(i64::MAX)),
                established: peer.map(|(peer, _)| established(world, peer)),
                conditions: conditions.to_vec(),
            };
            (known != Some(&status)).then_some(ObjectStatus::RouterPeer(status))
        });
    }
}

/// Sessions of the peer's nodes that FRR-K8s reports as established. It writes IPv6 addresses with `-` for `:`.
fn established(world: &World, peer: &Peer) -> i64 {
    let is_with = |terms: &Terms, reported: &str| match terms.neighbor.address.as_deref() {
        Some(text) => {
            let address = text.parse::<IpAddr>().ok();
            [reported.parse().ok(), reported.replace('-', ":").parse().ok()].contains(&address)
        }
        None => terms.neighbor.interface.as_deref() == Some(reported),
    };
    let is_of_peer = |session: &&Session| {
        let node = world.nodes.get(&ObjectName::cluster(&session.node));
        let labels = node.map(|node| &node.meta.labels).filter(|labels| selected(&peer.nodes, labels));
        let terms = labels.and_then(|labels| peer.terms(peer.override_for(labels)));
        terms.is_some_and(|terms| session.vrf == terms.vrf && is_with(terms, &session.peer))
    };
    let sessions = world.sessions.iter().map(|session| &session.value).filter(|session| session.established);
    i64::try_from(sessions.filter(is_of_peer).count()).unwrap_or(i64::MAX)
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
    conditions: Vec<Condition>,
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

fn ready<'a>(world: &World, findings: &Findings, object: &ObjectRef) -> Verdict<'a> {
    let found = findings.of(object);
    if let Some(worst) = found.first() {
        let status = if worst.severity == Severity::Error { "False" } else { "True" };
        let message = found.iter().map(|finding| finding.message.as_str()).collect::<Vec<_>>().join("; ");
        return Verdict::new(names::READY, status, worst.reason, message);
    }
    if object.kind == Kind::RouterPeer {
        if !world.frr_k8s_installed {
            let message =
                "FRR-K8s is not installed: its CRD FRRConfiguration is missing. Install it, and Clarion goes on";
            return Verdict::new(names::READY, "False", Reason::FRRK8sNotInstalled, message.to_owned());
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

/// The beginning of a text, where it is too long.
fn bounded(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        let ellipsis = '…';
        let end = (0..=bytes - ellipsis.len_utf8()).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push(ellipsis);
    }
    text
}

/// A condition before it is compared with what is there.
struct Verdict<'a> {
    type_: &'a str,
    status: &'static str,
    reason: Reason,
    message: Cow<'static, str>,
}

impl<'a> Verdict<'a> {
    fn new(type_: &'a str, status: &'static str, reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_MAX {
            message = bounded(message.into_owned(), MESSAGE_MAX).into();
        }
        Self { type_, status, reason, message }
    }

    /// The condition, if it differs from the one that is there. The time is that of the last change of status.
    fn changed(&self, now: Timestamp, generation: Option<i64>, before: Option<&Condition>) -> Option<Condition> {
        // A Service's conditions have none of ours; one that somebody else left there is no difference.
        let generation = generation.or(before.and_then(|before| before.observed_generation));
        if before.is_some_and(|before| self.is_said_by(before) && before.observed_generation == generation) {
            return None;
        }
        let since =
            before.filter(|before| before.status == self.status).map(|before| before.last_transition_time.clone());
        Some(Condition {
            type_: self.type_.to_owned(),
            status: self.status.to_owned(),
            reason: self.reason.name().to_owned(),
            message: self.message.clone().into_owned(),
            last_transition_time: since.unwrap_or(Time(now)),
            observed_generation: generation,
        })
    }

    fn is_said_by(&self, condition: &Condition) -> bool {
        (condition.type_.as_str(), condition.status.as_str()) == (self.type_, self.status)
            && condition.reason == self.reason.name()
            && condition.message == self.message
    }
}
