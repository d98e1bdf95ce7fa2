//! The stages in their order, and what comes out.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use clarion_api::{Timestamp, names};
use itertools::Itertools as _;

use crate::{
    allocate::{self, Seated},
    announce, beside,
    brake::{self, Held, Stages, Waiting},
    compose::{self, Layout, Part, part_of},
    config::{self, Peer},
    endpoints::Skews,
    finding::{Findings, Reason, list_of_nodes},
    hosts,
    layer::{Content, Layer},
    others::Others,
    report::{self, Announced, Daemons, Figures, Known, NextHops, Prefixes},
    session,
    stage::Stage,
    transition::{Next, TooLarge},
    world::{Configuration, Kind, Object, ObjectName, ObjectRef, World},
    write::{ConfigurationWrite, Deferred, Event, Precondition, Write},
};

/// The writes that are safe now, and what is to be told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Writes that can land in any order, each alone; [`Write::urgency`] tells which had better be first.
    pub writes: Vec<Write>,
    /// What can't be written yet.
    pub deferred: Vec<Deferred>,
    /// Objects with a refused write that are as they are to be all the same.
    pub fulfilled: Vec<ObjectRef>,
    /// What was found on the way.
    pub findings: Findings,
    /// When the passing of time alone makes for another plan.
    pub wake: Option<Timestamp>,
    /// Nodes whose FRRNodeState would tell most of what is not known yet, the most telling first.
    pub look_at: Vec<String>,
    /// How uneven the load of the endpoints of Local Services is.
    pub skews: Skews,
    /// What waits for somebody to agree.
    pub held: Option<Waiting>,
    /// How things are with pools and peers, in numbers.
    pub figures: Figures,
    /// From which nodes prefixes are to be announced.
    pub next_hops: NextHops,
}

/// Decides what to write now. Called again on a world in which the writes have landed, it converges.
#[must_use]
pub fn plan(world: &World) -> Plan {
    plan_in_stages(world, &mut |_| {})
}

/// The same, and `begins` is told of each stage as it begins, which ends the one before. A stage may come again.
#[must_use]
pub fn plan_in_stages(world: &World, begins: &mut dyn FnMut(Stage)) -> Plan {
    let mut findings = Findings::default();
    begins(Stage::Config);
    let config = config::check(world, &mut findings);
    begins(Stage::Allocate);
    let allocation = allocate::allocate(world, &config, &world.announced(), &mut findings);
    begins(Stage::Hosts);
    let hosts = hosts::hosts(world, &config, &mut findings);
    let others = Others::new(world, &hosts);
    let compose = |held: &Held, begins: &mut dyn FnMut(Stage)| {
        let mut findings = Findings::default();
        begins(Stage::Session);
        let sessions = session::sessions(world, &config, &hosts, &others, held, &mut findings);
        begins(Stage::Announce);
        let announcement = announce::announce(world, &config, allocation.seats(), &hosts, &sessions, &mut findings);
        begins(Stage::Compose);
        let layout = compose::compose(world, &config, &hosts, &sessions, &announcement, held, &mut findings);
        (sessions, announcement, layout, findings)
    };
    let (mut sessions, mut announcement, mut layout, mut told) = compose(&Held::default(), begins);
    begins(Stage::Brake);
    let held = {
        let (config, allocation, hosts, others) = (&config, &allocation, &hosts, &others);
        brake::held(&Stages { world, config, allocation, hosts, others, sessions: &sessions }, &layout)
    };
    if let Some(held) = &held {
        (sessions, announcement, layout, told) = compose(held, begins);
    }
    let held = held.unwrap_or_default();
    findings.append(told);
    brake::tell(world, &config, &held, &mut findings);
    let deadlines = hosts.taint_deadlines();
    elsewhere(world, &config, &mut findings);

    begins(Stage::Transition);
    let (mut writes, mut deferred) = (Vec::new(), Vec::new());
    if world.frr_k8s_installed {
        let beside = (&hosts, &others);
        let too_large;
        (writes, deferred, too_large) = configurations(world, &layout, beside, &held, &deadlines);
        tell_of_too_large(&config, &too_large, &mut findings);
    }
    begins(Stage::Report);
    let daemons = Daemons::new(world, &hosts);
    daemons.tell(&config, &hosts, &others, &sessions, &mut findings);
    let progress = daemons.progress(&layout);
    let mut announced = Announced::new(world, &config, &announcement, &progress);
    report::services(world, allocation.seats(), &mut announced, &mut writes);
    let unconfirmed = announced.unconfirmed;
    let (pools, advertisements) = report::tallies(&config, &announcement, &progress);
    let known = Known { pools, advertisements, peers: daemons.of_peers(&config, &hosts, &sessions) };
    report::objects(world, &config, &allocation, &sessions, &known, &findings, &mut writes);
    let figures = Figures::new(&config, &allocation, &sessions, &hosts, &layout, &known);
    let fulfilled = fulfilled(world, &writes, &deferred);
    if !world.unsettled.is_empty() {
        let later = writes.extract_if(.., |write| world.unsettled.contains_key(&write.object()));
        deferred.extend(later.map(|write| write.deferred(Vec::new())));
    }
    let due = hosts.deadlines().chain(config.peers.iter().filter_map(|peer| peer.withdraw_at));
    let due = due.chain(sessions.secrets.deadlines()).chain(allocation.deadlines(world.now));
    let wake = due.filter(|at| *at > world.now).min();
    let look_at = daemons.worth_a_look(&layout, &unconfirmed);
    let held = held.waiting().cloned();
    let (skews, next_hops) = (announcement.skews, NextHops::new(&layout));
    Plan { writes, deferred, fulfilled, findings, wake, look_at, skews, held, figures, next_hops }
}

/// Those of the writes of a [`plan`] that give Services their first addresses, in a part of the time: other Services count for who has
/// which address alone, and FRRConfigurations have no say. `begins` is told of each stage as it begins.
#[must_use]
pub fn plan_first_addresses(world: &World, begins: &mut dyn FnMut(Stage)) -> Vec<Write> {
    let mut findings = Findings::default();
    begins(Stage::Config);
    let config = config::check(world, &mut findings);
    begins(Stage::Allocate);
    let allocation = allocate::allocate(world, &config, &world.announced(), &mut findings);
    let newcomers = || allocation.seats().filter(Seated::is_newcomer);
    if newcomers().next().is_none() {
        return Vec::new();
    }
    begins(Stage::Hosts);
    let hosts = hosts::hosts(world, &config, &mut findings);
    let others = Others::new(world, &hosts);
    begins(Stage::Session);
    let sessions = session::sessions(world, &config, &hosts, &others, &Held::default(), &mut findings);
    begins(Stage::Announce);
    let announcement = announce::announce(world, &config, newcomers(), &hosts, &sessions, &mut findings);
    begins(Stage::Report);
    let none_yet = Prefixes::default();
    let mut announced = Announced::new(world, &config, &announcement, &none_yet);
    let mut writes = Vec::new();
    report::services(world, newcomers(), &mut announced, &mut writes);
    writes
}

/// The objects with a refused write that nothing is to be written to any more, now or later.
fn fulfilled(world: &World, writes: &[Write], deferred: &[Deferred]) -> Vec<ObjectRef> {
    if world.refused.is_empty() {
        return Vec::new();
    }
    let deferred = deferred.iter().map(|write| write.object.clone());
    let unfinished: BTreeSet<ObjectRef> = writes.iter().map(Write::object).chain(deferred).collect();
    world.refused.keys().filter(|object| !unfinished.contains(*object)).cloned().collect()
}

/// Tells of signs that FRR-K8s is not where our FRRConfigurations are.
fn elsewhere(world: &World, config: &config::Config, findings: &mut Findings) {
    let here = world.frr_k8s_namespace();
    let ours = world.configurations.iter().filter(|c| c.value.ours).map(|c| c.meta.name.namespace.as_str());
    let stray = ours.filter(|namespace| *namespace != here).map(|namespace| {
        format!(
            "FRRConfigurations of Clarion are in the namespace {namespace} too; if no other Clarion wrote them: kubectl delete frrconfiguration -n {namespace} -l {}",
            names::managed_by_clarion()
        )
    });
    let reports = || world.session_namespaces();
    let silent = !reports().any(|namespace| namespace == here);
    let reported = reports().filter(|_| silent).map(|namespace| {
        format!(
            "FRRConfigurations go to the namespace {here}, but FRR-K8s reports sessions from {namespace}: is --frr-k8s-namespace={namespace} meant?"
        )
    });
    let messages: BTreeSet<String> = stray.chain(reported).collect();
    for (peer, message) in config.peers.iter().flat_map(|peer| messages.iter().map(move |message| (peer, message))) {
        let id = ObjectRef::new(Kind::RouterPeer, ObjectName::cluster(&peer.name));
        findings.warning(id, Reason::OtherNamespace, message.as_str());
    }
}

/// The FRRConfigurations to write, in the namespace of FRR-K8s: those that can be written, those that can't yet, and what can't
/// be made of them.
fn configurations(
    world: &World,
    target: &Layout,
    (hosts, others): (&hosts::Hosts, &Others),
    held: &Held,
    deadlines: &BTreeMap<&str, Timestamp>,
) -> (Vec<Write>, Vec<Deferred>, Vec<TooLarge>) {
    let namespace = world.frr_k8s_namespace();
    let current: Layout =
        world.our_configurations().map(|c| (c.meta.name.name.to_string(), c.value.layer.clone())).collect();
    let Next { writes: next, too_large, .. } = beside::next_writes(world, &current, target, hosts, others);
    let unsettled: BTreeSet<&String> = world
        .unsettled
        .iter()
        .filter(|(object, _)| object.kind == Kind::FRRConfiguration)
        .flat_map(|(object, intent)| {
            let there = current.get(object.name.name.as_str()).into_iter().flat_map(|layer| layer.hosts.iter());
            there.chain(intent.hosts.iter())
        })
        .collect();
    let mut writing = Writing { target, held, deadlines, summaries: HashMap::new(), covers: HashMap::new() };
    let (mut writes, mut deferred) = (Vec::new(), Vec::new());
    for (name, layer) in &next {
        let object = ObjectName::new(namespace, name);
        let known = world.configurations.get(&object);
        let Some(write) = writing.write(object, known, layer.as_ref()) else { continue };
        let write = Write::Configuration(write);
        let hosts = || current.get(name).into_iter().chain(layer).map(|layer| &layer.hosts);
        // While an object is in two states at once, nothing else that its nodes see may change.
        if hosts().flat_map(|hosts| hosts.iter()).any(|host| unsettled.contains(host)) {
            deferred.push(write.deferred(hosts().cloned().collect()));
        } else {
            writes.push(write);
        }
    }
    (writes, deferred, too_large)
}

/// Tells peers that a change of their sessions can't be made.
fn tell_of_too_large(config: &config::Config, too_large: &[TooLarge], findings: &mut Findings) {
    for TooLarge { sessions, hosts } in too_large {
        let message = format!(
            "what changes of the session waits on {}, and all else goes on: FRR-K8s wants it in all FRRConfigurations of a node at once, and what such a node announces does not fit into one; undo the change, or set suspend: true, which withdraws it, until no FRRConfiguration has the session",
            list_of_nodes(&hosts.iter().collect::<Vec<_>>())
        );
        let is_one = |peer: &&Peer| {
            peer.all_terms().any(|terms| sessions.iter().any(|(vrf, key)| *vrf == terms.vrf && *key == terms.key()))
        };
        for peer in config.peers.iter().filter(is_one) {
            let id = ObjectRef::new(Kind::RouterPeer, ObjectName::cluster(&peer.name));
            findings.error(id, Reason::ChangeTooLarge, message.as_str());
        }
    }
}

/// Makes requests of what objects are to be.
struct Writing<'p> {
    target: &'p Layout,
    held: &'p Held,
    deadlines: &'p BTreeMap<&'p str, Timestamp>,
    /// What objects are for, in words, by what they say.
    summaries: HashMap<*const Content, String>,
    /// Whether one content announces all that the other does.
    covers: HashMap<[*const Content; 2], bool>,
}

impl Writing<'_> {
    /// What makes an object what it is to be, if it is not.
    fn write(
        &mut self,
        name: ObjectName,
        known: Option<&Object<Configuration>>,
        layer: Option<&Layer>,
    ) -> Option<ConfigurationWrite> {
        // It is on its way out; somebody's finalizer holds it.
        if known.is_some_and(|known| known.meta.deleting) {
            return None;
        }
        let Some(layer) = layer.filter(|layer| !layer.hosts.is_empty()) else {
            return Some(ConfigurationWrite::Delete { name, precondition: Precondition::of(&known?.meta) });
        };
        let mut labels = self.labels(&name.name);
        let mut annotations = self.annotations(&name.name, layer);
        let Some(known) = known else {
            return Some(ConfigurationWrite::Create { name, labels, annotations, layer: layer.clone() });
        };
        // Labels and annotations of others stay.
        for (ours, there) in [(&mut labels, &known.meta.labels), (&mut annotations, &known.value.annotations)] {
            for (key, value) in there.iter().filter(|(key, _)| !names::OURS_ALONE.contains(&key.as_str())) {
                ours.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        if labels == known.meta.labels && annotations == known.value.annotations && known.value.is_as_written(layer) {
            return None;
        }
        let undone = known.value.edited_by.as_ref().map(|by| Event {
            warning: true,
            reason: Reason::Undone,
            message: format!(
                "{by} changed this object, which is Clarion's; that is undone: write an FRRConfiguration of your own"
            ),
        });
        let begins_to_wait = annotations.contains_key(names::HELD_ANNOTATION)
            && !known.value.annotations.contains_key(names::HELD_ANNOTATION);
        let waits = self.held.waiting().filter(|_| begins_to_wait).map(|waiting| Event {
            warning: true,
            reason: Reason::WithdrawalHeld,
            message: waiting.withdrawals.iter().map(|withdrawal| withdrawal.message(waiting)).join("; "),
        });
        let event = undone.or(waits);
        let precondition = Precondition::of(&known.meta);
        let withdraws = self.withdraws(&known.value.layer, layer);
        Some(ConfigurationWrite::Update {
            name,
            precondition,
            labels,
            annotations,
            layer: layer.clone(),
            withdraws,
            event,
        })
    }

    /// The labels of the object of this name. Which part it is of several is told where there are several.
    fn labels(&self, name: &str) -> BTreeMap<String, String> {
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let kind = name.split('-').nth(1).unwrap_or_default();
        let mut labels =
            BTreeMap::from([label(names::MANAGED_BY_LABEL, names::FIELD_MANAGER), label(names::LAYER_LABEL, kind)]);
        let Part { whole, cell, shard } = part_of(name);
        let more = format!("{whole}-");
        let is_one_of_several =
            whole != name || self.target.range(more.clone()..).next().is_some_and(|(next, _)| next.starts_with(&more));
        if is_one_of_several {
            if name.starts_with(names::BASE_PREFIX) {
                labels.extend([label(names::CELL_LABEL, &cell.to_string())]);
            }
            labels.extend([label(names::SHARD_LABEL, &shard.to_string())]);
        }
        labels
    }

    /// Whether an object that becomes what it is to be stops to announce anything to anybody.
    fn withdraws(&mut self, old: &Layer, new: &Layer) -> bool {
        let pair = [new, old].map(|layer| Arc::as_ptr(&layer.content));
        let is_for_all = Arc::ptr_eq(&new.hosts, &old.hosts) || new.hosts.is_superset(&old.hosts);
        !is_for_all || !*self.covers.entry(pair).or_insert_with(|| new.content.covers(&old.content))
    }

    fn annotations(&mut self, name: &str, layer: &Layer) -> BTreeMap<String, String> {
        let content = self.summaries.entry(Arc::as_ptr(&layer.content)).or_insert_with(|| layer.content.summary());
        let mut annotations = BTreeMap::from([(names::SUMMARY_ANNOTATION.to_owned(), layer.summary(content))]);
        let recorded = hosts::record(layer.hosts.iter().map(String::as_str), self.deadlines);
        annotations.extend(recorded.map(|text| (names::DEADLINES_ANNOTATION.to_owned(), text)));
        // Once for each node: the first object of a class has its sessions.
        let is_first = name.starts_with(names::BASE_PREFIX) && part_of(name).shard == 0;
        let waiting = self.held.waiting().filter(|_| is_first && self.held.concerns(&layer.content));
        annotations.extend(waiting.map(|waiting| (names::HELD_ANNOTATION.to_owned(), waiting.remedy())));
        annotations
    }
}
