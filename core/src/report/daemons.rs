//! What FRR-K8s reports of its daemons, and what of our prefixes is known by that.
//!
//! A BGPSessionState tells whether a session is up. An FRRNodeState tells whether the daemon took what it was given, and what
//! FRR runs, which it reads every 30 s. Neither says which version of an FRRConfiguration it speaks of: a prefix is known to
//! be announced where FRR runs it, on a node with an established session that carries it. A BGPSessionState whose Pod is not
//! ready says nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use clarion_api::names;
use ipnet::IpNet;

use super::verdict::Verdict;
use crate::{
    compose::Layout,
    config::Config,
    finding::{Findings, Reason, list_of_nodes as list},
    hosts::Hosts,
    layer::Layer,
    others::Others,
    session::Sessions,
    world::{Kind, NOT_READY, ObjectName, ObjectRef, World},
};

/// How far a prefix has come, the best of all nodes that are to announce it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// No FRRConfiguration announces it.
    #[default]
    Absent,
    /// The daemons refuse what they are given.
    Refused,
    /// No session that is to carry it is established.
    Down,
    /// FRR-K8s said something, and may not be able to take it back.
    Stale,
    /// FRR-K8s does not say.
    Unknown,
    /// A session that is to carry it is established.
    Up,
    /// And FRR announces it.
    Seen,
}

/// How far the prefixes of a layout have come.
#[derive(Default)]
pub struct Prefixes(Vec<(IpNet, Progress)>);

impl Prefixes {
    fn new(mut prefixes: Vec<(IpNet, Progress)>) -> Self {
        // Quick, as it is sorted in long stretches. Of each prefix the best is the first.
        prefixes.sort_by(|(a, of_a), (b, of_b)| a.cmp(b).then(of_b.cmp(of_a)));
        prefixes.dedup_by_key(|(prefix, _)| *prefix);
        Self(prefixes)
    }

    /// How far each of many prefixes has come, which ascend.
    pub fn of_all<'p>(&'p self, prefixes: impl Iterator<Item = &'p IpNet>) -> impl Iterator<Item = Progress> {
        let mut rest = self.0.iter().peekable();
        prefixes.map(move |prefix| {
            while rest.next_if(|(known, _)| known < prefix).is_some() {}
            rest.peek().filter(|(known, _)| known == prefix).map(|(_, progress)| *progress).unwrap_or_default()
        })
    }

    /// How far a prefix has come.
    pub fn get(&self, prefix: &IpNet) -> Progress {
        let place = self.0.binary_search_by(|(known, _)| known.cmp(prefix)).ok();
        place.and_then(|place| self.0.get(place)).map(|(_, progress)| *progress).unwrap_or_default()
    }
}

/// What the nodes of an object report of a session.
#[derive(Default)]
struct Audience<'w> {
    /// The best of them.
    best: Progress,
    /// What FRR runs on those where it is established.
    running: Vec<&'w [IpNet]>,
}

/// The objects of a layout, those that say the same together.
pub(super) fn alike(layout: &Layout) -> impl Iterator<Item = Vec<&Layer>> {
    let mut alike: Vec<Vec<&Layer>> = Vec::new();
    let mut known = HashMap::new();
    for layer in layout.values() {
        let number = *known.entry(Arc::as_ptr(&layer.content)).or_insert(alike.len());
        match alike.get_mut(number) {
            Some(layers) => layers.push(layer),
            None => alike.push(vec![layer]),
        }
    }
    alike.into_iter()
}

/// What is known of the sessions and prefixes of all hosts.
pub struct Daemons<'w> {
    nodes: HashMap<&'w str, Daemon<'w>>,
    /// The nodes of each host, by the host's name.
    by_host: HashMap<&'w str, Vec<&'w str>>,
}

/// The daemon of a node.
#[derive(Default)]
struct Daemon<'w> {
    /// Why it did not do what it was told, if it did not.
    failure: Option<&'w str>,
    /// FRR's prefixes.
    running: Option<&'w [IpNet]>,
    /// The sessions that are reported, and whether they are established.
    sessions: HashMap<(&'w str, End<'w>), bool>,
    /// Sessions are reported, but nobody keeps that up.
    stale: bool,
}

/// The other end of a session.
#[derive(PartialEq, Eq, Hash)]
enum End<'w> {
    Address(IpAddr),
    Interface(&'w str),
}

impl<'w> End<'w> {
    /// FRR-K8s writes IPv6 addresses with `-` for `:` where they are labels.
    fn of(text: &'w str) -> Self {
        let address = text.parse().ok().or_else(|| text.replace('-', ":").parse().ok());
        address.map_or(Self::Interface(text), Self::Address)
    }
}

/// In so many lists of what FRR runs each prefix is looked for by itself,
const FEW_LISTS: usize = 4;
/// and if it is so few prefixes in however many.
const MANY_ROUTES: usize = 100;

impl<'w> Daemons<'w> {
    /// Gathers what is reported.
    pub fn new(world: &'w World, hosts: &Hosts<'w>) -> Self {
        let mut nodes: HashMap<&str, Daemon> = HashMap::new();
        for state in world.node_states.iter() {
            let daemon = nodes.entry(&state.meta.name.name).or_default();
            daemon.failure = state.value.conversion.failure().or(state.value.reload.failure());
            daemon.running = state.value.running.as_deref();
        }
        for object in world.sessions.iter() {
            let session = &object.value;
            let daemon = nodes.entry(&session.node).or_default();
            if !world.is_kept_up(object) {
                daemon.stale = true;
                continue;
            }
            let known = daemon.sessions.entry((&session.vrf, End::of(&session.peer))).or_default();
            *known |= session.established;
        }
        let names = |nodes: &[&'w crate::world::Object<crate::world::Node>]| {
            nodes.iter().map(|node| node.meta.name.name.as_str()).collect()
        };
        Self { nodes, by_host: hosts.list.iter().map(|host| (host.name, names(&host.nodes))).collect() }
    }

    /// Why the daemon of a node did not do what it was told, if it did not.
    fn failure(&self, node: &str) -> Option<&'w str> {
        self.nodes.get(node)?.failure
    }

    /// Whether a session of a node is established; `None` if FRR-K8s does not say.
    fn established(&self, node: &str, vrf: &str, end: &str) -> Option<bool> {
        self.nodes.get(node)?.sessions.get(&(vrf, End::of(end))).copied()
    }

    /// Whether a node has reports of sessions that nobody keeps up.
    fn is_stale(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|daemon| daemon.stale)
    }

    /// How far each prefix of a layout has come.
    pub fn progress(&self, layout: &'w Layout) -> Prefixes {
        // Objects that say the same are looked at together, and hosts that several objects select once for each session.
        let mut audiences: HashMap<_, Audience<'w>> = HashMap::new();
        // What FRR runs on some nodes together: of most objects the same nodes were looked at.
        let mut shown: HashMap<Vec<*const IpNet>, foldhash::HashSet<IpNet>> = HashMap::new();
        let mut prefixes = Vec::new();
        for layers in alike(layout) {
            let Some(content) = layers.first().map(|layer| &layer.content) else { continue };
            for (vrf, key, session) in content.sessions() {
                let (mut best, mut running) = (Progress::default(), Vec::new());
                for layer in &layers {
                    let audience = audiences.entry((Arc::as_ptr(&layer.hosts), vrf, key));
                    let audience = audience.or_insert_with(|| self.audience(layer, vrf, key));
                    best = best.max(audience.best);
                    running.extend(audience.running.iter().copied());
                }
                let lists: BTreeMap<_, &[IpNet]> =
                    running.iter().map(|list: &&[IpNet]| (list.as_ptr(), *list)).collect();
                // It costs as much as some searches in all of them.
                let shown = (lists.len() > FEW_LISTS && session.routes.len() > MANY_ROUTES).then(|| {
                    let shown = shown.entry(lists.keys().copied().collect::<Vec<_>>());
                    &*shown.or_insert_with(|| lists.values().flat_map(|list| list.iter().copied()).collect())
                });
                let is_seen = |prefix: &IpNet| match shown {
                    Some(shown) => shown.contains(prefix),
                    None => lists.values().any(|list| list.binary_search(prefix).is_ok()),
                };
                let of = |prefix: &IpNet| if is_seen(prefix) { Progress::Seen } else { best };
                prefixes.extend(session.routes.keys().map(|prefix| (*prefix, of(prefix))));
            }
        }
        Prefixes::new(prefixes)
    }

    /// Nodes whose FRRNodeState may show prefixes that are not known to be announced, one for each object that has any.
    pub fn worth_a_look(&self, layout: &'w Layout, unknown: &BTreeSet<IpNet>) -> Vec<String> {
        let mut nodes = Vec::new();
        for layers in alike(layout) {
            let Some(content) = layers.first().map(|layer| &layer.content) else { continue };
            for (vrf, key, session) in content.sessions() {
                if session.routes.keys().any(|prefix| unknown.contains(prefix)) {
                    let is_up = |node: &&str| self.of_session(node, vrf, key) == Progress::Up;
                    nodes.extend(layers.iter().filter_map(|layer| self.nodes_of(layer).find(is_up)));
                }
            }
        }
        let mut seen = BTreeSet::new();
        nodes.retain(|node| seen.insert(*node));
        nodes.into_iter().map(str::to_owned).collect()
    }

    /// The nodes that an object is for.
    fn nodes_of(&self, layer: &'w Layer) -> impl Iterator<Item = &'w str> {
        layer.hosts.iter().filter_map(|host| self.by_host.get(host.as_str())).flatten().copied()
    }

    fn audience(&self, layer: &'w Layer, vrf: &str, key: &str) -> Audience<'w> {
        let mut audience = Audience::default();
        for node in self.nodes_of(layer) {
            let progress = self.of_session(node, vrf, key);
            audience.best = audience.best.max(progress);
            if progress == Progress::Up {
                audience.running.extend(self.nodes.get(node).and_then(|daemon| daemon.running));
            }
        }
        audience
    }

    fn of_session(&self, node: &str, vrf: &str, key: &str) -> Progress {
        if self.failure(node).is_some() {
            return Progress::Refused;
        }
        match self.established(node, vrf, key) {
            Some(true) => Progress::Up,
            Some(false) => Progress::Down,
            None if self.is_stale(node) => Progress::Stale,
            None => Progress::Unknown,
        }
    }
}

/// The sessions with a peer.
#[derive(Default)]
pub struct PeerSessions<'w> {
    /// Established.
    pub up: usize,
    /// Not reported.
    pub unknown: usize,
    /// The nodes of which a report is left that nobody keeps up.
    pub stale: Vec<&'w str>,
    /// The nodes with a session that is not established.
    pub down: Vec<&'w str>,
}

impl<'w> PeerSessions<'w> {
    /// The condition of the peer; none if it has no session.
    pub fn verdict(&self) -> Option<Verdict> {
        let Self { up, unknown, stale, down } = self;
        let unknown = unknown + stale.len();
        let count = up + unknown + down.len();
        let (status, reason, message) = match (down.len(), unknown) {
            _ if count == 0 => return None,
            (0, 0) => ("True", Reason::Established, "every session is established".to_owned()),
            (0, _) if !stale.is_empty() => {
                let message = format!("{NOT_READY} on {}, so what it reported of sessions may be old", list(stale));
                ("Unknown", Reason::Unconfirmed, message)
            }
            (0, _) => ("Unknown", Reason::Unconfirmed, "FRR-K8s has not reported every session yet".to_owned()),
            (number, _) => {
                let message = format!("{number} of {count} sessions not established: {}", list(down));
                ("False", Reason::NoSession, message)
            }
        };
        Some(Verdict::new(names::SESSIONS_ESTABLISHED, status, reason, message))
    }
}

impl<'w> Daemons<'w> {
    /// The sessions with each peer.
    pub fn of_peers(
        &self,
        config: &Config,
        hosts: &Hosts<'w>,
        sessions: &Sessions,
    ) -> BTreeMap<usize, PeerSessions<'w>> {
        let mut peers: BTreeMap<usize, PeerSessions> = BTreeMap::new();
        for class in &sessions.classes {
            for session in &class.sessions {
                let Some((_, agreed)) = session.of(config, sessions) else { continue };
                let (vrf, key) = (agreed.terms.vrf.as_str(), agreed.terms.key());
                let counts = peers.entry(session.peer).or_default();
                for node in class.hosts.iter().filter_map(|host| hosts.get(*host)).flat_map(|host| &host.nodes) {
                    match self.established(&node.meta.name.name, vrf, &key) {
                        Some(true) => counts.up += 1,
                        Some(false) => counts.down.push(&node.meta.name.name),
                        None if self.is_stale(&node.meta.name.name) => counts.stale.push(&node.meta.name.name),
                        None => counts.unknown += 1,
                    }
                }
            }
        }
        peers
    }

    /// Tells the peers of nodes whose daemons do not take what they are given, where others are not to blame.
    pub fn tell(
        &self,
        config: &Config,
        hosts: &Hosts<'w>,
        others: &Others,
        sessions: &Sessions,
        findings: &mut Findings,
    ) {
        let mut refusing: BTreeMap<(usize, &str), Vec<&str>> = BTreeMap::new();
        for class in &sessions.classes {
            for index in class.hosts.iter().filter(|index| others.fault(**index).is_none()) {
                for node in hosts.get(*index).into_iter().flat_map(|host| &host.nodes) {
                    let Some(failure) = self.failure(&node.meta.name.name) else { continue };
                    for session in &class.sessions {
                        refusing.entry((session.peer, failure)).or_default().push(&node.meta.name.name);
                    }
                }
            }
        }
        for ((peer, failure), nodes) in refusing {
            let Some(peer) = config.peers.get(peer) else { continue };
            let id = ObjectRef::new(Kind::RouterPeer, ObjectName::cluster(&peer.name));
            findings.warning(id, Reason::NodeRefuses, format!("FRR-K8s on {} says: {failure}", list(&nodes)));
        }
    }
}
