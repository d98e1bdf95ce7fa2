//! `clarion status`

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use clarion_api::{Condition, names};
use clarion_core::{
    Reason, World,
    world::{self, Configuration, Custom, Kind, NOT_READY, Object, ObjectRef, Service},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Outcome,
    findings::{self, Level, Row},
    frr,
    neighbor::{self, Neighbor, Sessions, State},
    output::{SHOWN_ROWS, count, few, painted, paragraph, table},
    program,
    view::{Error, Prospect, View},
};

/// Show on one screen whether all is well: pools, peers, Services, findings, nodes
///
/// Services are told of that lack an address or are not announced, with the reason. The exit status is 0 if all is well. It is
/// 1 if something is in error: an object or what it asks for is not in effect, a session is down, a daemon of FRR-K8s could
/// not take its configuration, a Pod of FRR-K8s is not ready, so that what it reported may be old, or a Service has no address or
/// is not announced for another reason than that it has no ready endpoint. It is 2 if that can't be found out.
#[derive(Debug, Args)]
pub struct Status {
    /// Show every Service and finding that there is something to tell of
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    view: View,
}

/// Whether all is well.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pools: Vec<PoolRow>,
    peers: Vec<PeerRow>,
    services: Services,
    /// What is wrong, or worth knowing, of objects that are not Services; errors first.
    findings: Vec<Row>,
    /// Fields that have no effect, because the installed FRR-K8s is older than what they are for.
    without_effect: Vec<&'static str>,
    /// Nodes whose daemon can't take its configuration, or does not run as it should.
    nodes: Vec<NodeRow>,
    /// How many things are in error.
    errors: usize,
}

/// A LoadBalancerPool.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct PoolRow {
    pool: String,
    /// The status of its condition `Ready`.
    ready: String,
    /// The reason of that.
    reason: String,
    /// How many of its addresses are in use, as in its status.
    usage: String,
}

/// A RouterPeer, and the sessions with it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct PeerRow {
    peer: String,
    /// The status of its condition `Ready`.
    ready: String,
    /// The reason of that.
    reason: String,
    /// How many nodes it selects.
    nodes: usize,
    /// How many of its sessions are established.
    established: usize,
    /// The nodes whose session is down.
    down: Vec<String>,
    /// The nodes whose session FRR-K8s does not report.
    not_reported: Vec<String>,
}

/// The Services that are served.
#[derive(Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Services {
    /// How many there are.
    served: usize,
    /// How many are announced.
    announced: usize,
    /// It is not known of them whether they are announced.
    unknown: usize,
    /// Those that lack something.
    lacking: Vec<ServiceRow>,
    /// Those of type LoadBalancer without a class that have no address, because nobody serves them.
    left_alone: Vec<ServiceRow>,
}

/// What a Service lacks.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct ServiceRow {
    pub severity: Level,
    /// `NAMESPACE/NAME`.
    service: String,
    pub reason: String,
    pub message: String,
}

/// What failed on some nodes.
#[derive(Serialize, JsonSchema)]
pub struct NodeRow {
    pub nodes: BTreeSet<String>,
    /// What failed: `conversion`, `reload`, `merge` or `Pod of FRR-K8s`.
    pub failed: &'static str,
    pub message: String,
}

impl Status {
    pub fn execute(self) -> Result<Outcome, Error> {
        let prospect = self.view.prospect()?;
        let report = Report::of(&prospect);
        let rows = if self.all { usize::MAX } else { SHOWN_ROWS };
        self.view.print(&report, |report| painted(&report.text(rows)))?;
        Ok(if report.errors == 0 { Outcome::Fine } else { Outcome::Amiss })
    }
}

impl Report {
    fn of(prospect: &Prospect) -> Self {
        let Prospect { next, findings, .. } = prospect;
        let pools = next.pools.iter().map(|object| {
            let status = object.value.status.clone().unwrap_or_default();
            let (ready, reason) = ready(&status.conditions);
            PoolRow { pool: object.meta.name.name.to_string(), ready, reason, usage: status.usage.unwrap_or_default() }
        });
        let mut findings = findings::rows(findings);
        findings.extend(unready(prospect));
        let mut report = Self {
            pools: pools.collect(),
            peers: peers(prospect),
            services: Services::of(next),
            findings: findings.into_iter().collect(),
            without_effect: next.frr_k8s_cannot().collect(),
            nodes: nodes(prospect),
            errors: 0,
        };
        let down: usize = report.peers.iter().map(|peer| peer.down.len()).sum();
        let services = report.services.lacking.iter().filter(|row| row.severity == Level::Error).count();
        let findings = report.findings.iter().filter(|row| row.is_error()).count();
        report.errors = down + services + findings + report.nodes.len();
        report
    }

    fn text(&self, rows: usize) -> String {
        let mut parts = Vec::new();
        if !self.pools.is_empty() {
            let cells = self.pools.iter().map(|row| {
                let PoolRow { pool, ready, reason, usage } = row;
                [pool, ready, reason, usage].map(Clone::clone)
            });
            parts.push(table(["POOL", "READY", "REASON", "USAGE"], cells));
        }
        if !self.peers.is_empty() {
            let cells = self.peers.iter().map(|row| {
                let PeerRow { peer, ready, reason, nodes, established, down, not_reported } = row;
                let down = if down.is_empty() { String::new() } else { format!("{}: {}", down.len(), few(down)) };
                let [nodes, up, unknown] = [nodes, established, &not_reported.len()].map(ToString::to_string);
                [peer.clone(), ready.clone(), reason.clone(), nodes, up, unknown, down]
            });
            parts.push(table(["PEER", "READY", "REASON", "NODES", "ESTABLISHED", "NOT REPORTED", "DOWN"], cells));
        }
        parts.push(self.services.text(rows));
        if !self.findings.is_empty() {
            parts.push(findings::text(self.findings.iter().take(rows)) + &more(self.findings.len(), rows));
        }
        if !self.nodes.is_empty() {
            let texts = self.nodes.iter().take(rows).map(|row| {
                let NodeRow { nodes, failed, message } = row;
                let number = count(nodes.len(), "Node", "Nodes");
                format!("error: {number} ({}): the {failed} fails\n{}", few(nodes), paragraph(message, 2))
            });
            parts.push(texts.collect::<String>() + &more(self.nodes.len(), rows));
        }
        if !self.without_effect.is_empty() {
            let text = format!("The installed FRR-K8s is too old for: {}", self.without_effect.join(", "));
            parts.push(paragraph(&text, 0));
        }
        let verdict = match self.errors {
            0 => "Nothing is in error.\n".to_owned(),
            errors => format!("{} in error.\n", count(errors, "thing is", "things are")),
        };
        parts.push(verdict);
        parts.join("\n")
    }
}

/// How many rows were left out, and how to see them.
fn more(all: usize, shown: usize) -> String {
    match all.saturating_sub(shown) {
        0 => String::new(),
        more => format!("and {more} more; {} status --all\n", program::name()),
    }
}

fn ready(conditions: &[Condition]) -> (String, String) {
    let ready = conditions.iter().find(|condition| condition.type_ == names::READY);
    ready.map(|condition| (condition.status.clone(), condition.reason.clone())).unwrap_or_default()
}

/// What conditions of RouterPeers tell that is no finding about them: that FRR-K8s is not there, and, in those of the cluster,
/// that the API server refused a write, which only the operator knows.
fn unready(prospect: &Prospect) -> impl Iterator<Item = Row> {
    let reasons = [
        (&prospect.next, Reason::FRRK8sNotInstalled),
        (&prospect.next, Reason::FRRK8sVersion),
        (&prospect.world, Reason::WriteRefused),
    ];
    reasons.into_iter().flat_map(|(world, reason)| {
        let is_it = move |condition: &&Condition| condition.type_ == names::READY && condition.reason == reason.name();
        world.peers.iter().filter_map(move |object| {
            let condition = object.value.status.as_ref()?.conditions.iter().find(is_it)?;
            let object = ObjectRef::new(Kind::RouterPeer, object.meta.name.clone());
            let (reason, message) = (condition.reason.clone(), condition.message.clone());
            Some(Row { severity: Level::Error, object, reason, message })
        })
    })
}

/// The sessions that FRRConfigurations of Clarion bring about, by node.
fn carried(world: &World) -> BTreeSet<(&str, Neighbor)> {
    let ours = frr::read_by_daemons(world).filter(|object| object.value.ours);
    let of = |object: &'_ Object<Configuration>| {
        let neighbors = frr::neighbors(object);
        let nodes = frr::nodes(world, object).into_iter();
        nodes.flat_map(move |node| neighbors.clone().into_iter().map(move |(neighbor, _)| (node, neighbor)))
    };
    ours.flat_map(of).collect()
}

fn peers(prospect: &Prospect) -> Vec<PeerRow> {
    let Prospect { world, next, .. } = prospect;
    let (sessions, carried) = (Sessions::of(world), carried(prospect.in_effect()));
    let row = |object: &Object<Custom<_, clarion_api::peer::RouterPeerStatus>>| {
        let (ready, reason) = ready(object.value.status.as_ref().map_or(&[], |status| &status.conditions));
        let nodes = object.value.spec.as_ref().map_or_else(|_| Vec::new(), |spec| neighbor::of_peer(world, spec));
        let mut row = PeerRow {
            peer: object.meta.name.name.to_string(),
            nodes: nodes.len(),
            established: 0,
            down: Vec::new(),
            not_reported: Vec::new(),
            ready,
            reason,
        };
        for (node, neighbor) in nodes {
            let node = node.meta.name.name.to_string();
            // Where it is not in effect, others may have a session all the same.
            if !carried.contains(&(node.as_str(), neighbor.clone())) {
                continue;
            }
            match neighbor.state(&sessions, &node) {
                State::Established => row.established += 1,
                State::Down => row.down.push(node),
                State::NotReported => row.not_reported.push(node),
            }
        }
        row
    };
    next.peers.iter().map(row).collect()
}

/// What daemons said that failed, what would fail if they merged what there is, and where they don't run as they should.
pub fn nodes(prospect: &Prospect) -> Vec<NodeRow> {
    let mut found: BTreeMap<(&'static str, String), BTreeSet<String>> = BTreeMap::new();
    for object in prospect.world.node_states.iter() {
        let (state, node) = (&object.value, &object.meta.name.name);
        for (failed, outcome) in [("conversion", &state.conversion), ("reload", &state.reload)] {
            if let Some(message) = outcome.failure() {
                found.entry((failed, message.to_owned())).or_default().insert(node.to_string());
            }
        }
    }
    for session in prospect.world.sessions.iter().filter(|session| !prospect.world.is_kept_up(session)) {
        let message = format!("{NOT_READY}: what it reported last of sessions may be old, and does not count");
        found.entry(("Pod of FRR-K8s", message)).or_default().insert(session.value.node.clone());
    }
    for (message, nodes) in frr::refusals(prospect.in_effect()) {
        found.entry(("merge", message)).or_default().extend(nodes.into_iter().map(str::to_owned));
    }
    found.into_iter().map(|((failed, message), nodes)| NodeRow { nodes, failed, message }).collect()
}

impl Services {
    fn of(next: &World) -> Self {
        let mut services = Self::default();
        for service in next.services.iter() {
            if !next.serves(service) {
                services.left_alone.extend(left_alone(next, service));
                continue;
            }
            services.served += 1;
            let announced = service.value.conditions.iter().find(|condition| condition.type_ == names::ANNOUNCED);
            match announced.map(|condition| condition.status.as_str()) {
                Some("True") => services.announced += 1,
                Some("Unknown") => services.unknown += 1,
                _ => {}
            }
            services.lacking.extend(lacks(service));
        }
        services.lacking.sort();
        services
    }

    fn text(&self, rows: usize) -> String {
        let Self { served, announced, unknown, lacking, left_alone } = self;
        let mut text = format!("{}: {announced} announced", count(*served, "Service", "Services"));
        if *unknown > 0 {
            text.push_str(&format!(", {unknown} in FRRConfigurations without confirmation"));
        }
        match lacking.len() {
            0 => text.push('\n'),
            number => text.push_str(&format!(", {number} not\n")),
        }
        text.push_str(&listed(lacking, rows));
        if !left_alone.is_empty() {
            let number = count(left_alone.len(), "Service without a class has", "Services without a class have");
            text.push_str(&format!("{number} no address\n{}", listed(left_alone, rows)));
        }
        text
    }
}

/// Services with what there is to tell of them.
fn listed(services: &[ServiceRow], rows: usize) -> String {
    let of = |ServiceRow { service, reason, message, .. }: &ServiceRow| {
        format!("  {service}: {reason}\n{}", paragraph(message, 4))
    };
    services.iter().take(rows).map(of).collect::<String>() + &more(services.len(), rows)
}

/// Why nobody serves a Service, if that may be what its owner has overlooked.
fn left_alone(next: &World, service: &Object<Service>) -> Option<ServiceRow> {
    let Service { class, addresses, other_ingress, is_load_balancer, .. } = &service.value;
    if !is_load_balancer || class.is_some() || !addresses.is_empty() || *other_ingress > 0 {
        return None;
    }
    let (reason, message) = next.not_served(service)?;
    let (service, reason) = (service.meta.name.to_string(), reason.name().to_owned());
    Some(ServiceRow { severity: Level::Warning, service, reason, message })
}

/// What a Service lacks that it is to have.
pub fn lacks(service: &Object<Service>) -> Option<ServiceRow> {
    let not = |type_: &str| {
        service.value.conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "False")
    };
    let is_meant = |condition: &&world::Condition| condition.reason != Reason::NotToBeAnnounced.name();
    let condition = not(names::ADDRESS_ALLOCATED).or_else(|| not(names::ANNOUNCED).filter(is_meant))?;
    let idle = condition.reason == Reason::NoReadyEndpoints.name();
    Some(ServiceRow {
        severity: if idle { Level::Warning } else { Level::Error },
        service: service.meta.name.to_string(),
        reason: condition.reason.to_string(),
        message: condition.message.to_string(),
    })
}
