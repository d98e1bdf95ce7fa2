//! What there is to draw in a world.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use clarion_api::names;
use clarion_core::{
    Findings, World,
    config::Config,
    hosts::{self, Hosts, Standing},
    world::{Configuration, Object, ObjectName, Service},
};
use ipnet::IpNet;
use itertools::Itertools as _;

use super::{
    group::Groups,
    model::{Column, Edge, Graph, Item, Line, State},
};
use crate::cli::{
    findings::Level,
    frr,
    neighbor::{self, Neighbor, Sessions},
    output::{count, few},
    status,
    view::{Prospect, look},
};

/// Nodes of which a picture has every name.
const ALL_NAMED: usize = 50;
/// Names that a group tells of many.
const SHOWN: usize = 3;
/// RouterPeers and troubles that an item tells of.
const TOLD: usize = 2;
/// Routers of the same RouterPeers that are drawn one by one, however many others there are.
const TOGETHER: usize = 4;
/// Names that an item tells of Services in trouble.
const TROUBLED: usize = 8;

/// The picture of a world, with a title that tells where and when it is.
pub fn graph(prospect: &Prospect, place: String) -> Graph {
    look(&prospect.world, |config, _| {
        let world = prospect.in_effect();
        let hosts = hosts::hosts(&prospect.world, config, &mut Findings::default());
        let configurations = Configurations::of(world);
        let routers = Routers::of(world, &configurations);
        let nodes = Nodes::of(prospect, &hosts, &configurations, &routers);
        let services = Services::of(prospect, config, &configurations);
        let summary = [nodes.summary(routers.ends.len()), services.summary()];
        let edges = [services.edges(&configurations), configurations.edges(&nodes), nodes.edges(&routers)];
        let namespace = world.frr_k8s_namespace();
        Graph {
            title: place,
            summary: summary.into_iter().collect(),
            columns: [
                Column { heading: "Services, by pool".to_owned(), items: services.items() },
                Column { heading: format!("FRRConfigurations in {namespace}"), items: configurations.items() },
                Column { heading: "Nodes".to_owned(), items: nodes.items() },
                Column { heading: "Routers".to_owned(), items: routers.items(world, &nodes) },
            ],
            edges,
        }
    })
}

/// How many sessions there are in each state.
type Tally = BTreeMap<State, usize>;

fn tally(states: impl IntoIterator<Item = State>) -> Tally {
    let mut tally = Tally::new();
    for state in states {
        *tally.entry(state).or_default() += 1;
    }
    tally
}

fn told(tally: &Tally) -> String {
    let mut parts = tally.iter().map(|(state, number)| format!("{number} {}", state.session()));
    parts.join(", ")
}

/// A space at which no line ends.
const NO_BREAK: &str = "\u{a0}";

/// How sessions are; what is wrong with any of them is trouble.
fn sessions_line(tally: &Tally) -> Line {
    // A number stays with its word.
    let text = format!("sessions: {}", told(tally).replace(' ', NO_BREAK).replace(&format!(",{NO_BREAK}"), ", "));
    match tally.keys().next() {
        None => Line::new("no session", 1),
        Some(worst) if *worst < State::Unknown => Line::trouble(text, 3),
        Some(_) => Line::new(text, 3),
    }
}

/// The first few names, one in a line.
fn listed<S: AsRef<str>>(names: &[S], most: usize) -> impl Iterator<Item = Line> {
    let more = names.len().saturating_sub(most);
    let more = (more > 0).then(|| Line::new(format!("and {more} more"), 1));
    names.iter().take(most).map(|name| Line::new(name.as_ref(), 1)).chain(more)
}

/// The FRRConfigurations that the daemons read.
struct Configurations<'w> {
    objects: Vec<Read<'w>>,
    groups: Groups,
    /// The groups that announce a prefix for Clarion.
    announcing: BTreeMap<IpNet, BTreeSet<usize>>,
    /// The lengths that these prefixes have.
    lengths: BTreeSet<u8>,
}

/// An FRRConfiguration, and what it comes to.
struct Read<'w> {
    object: &'w Object<Configuration>,
    /// What it is, in words.
    kind: String,
    nodes: BTreeSet<&'w str>,
    neighbors: Vec<Neighbor>,
    prefixes: BTreeSet<IpNet>,
}

impl<'w> Configurations<'w> {
    fn of(world: &'w World) -> Self {
        let read = |object: &'w Object<Configuration>| Read {
            object,
            kind: match object.meta.labels.get(names::LAYER_LABEL).filter(|_| object.value.ours) {
                Some(layer) => format!("Clarion's, layer {layer}"),
                None if object.value.ours => "Clarion's".to_owned(),
                None => "of others".to_owned(),
            },
            nodes: frr::nodes(world, object),
            neighbors: frr::neighbors(object).into_iter().map(|(neighbor, _)| neighbor).collect(),
            prefixes: frr::prefixes(object),
        };
        let mut objects: Vec<Read> = frr::read_by_daemons(world).map(read).collect();
        objects.sort_by_key(|read| (!read.object.value.ours, &read.object.meta.name));
        // What is for one node alone is alike, but for the node.
        let key = |read: &Read<'w>| {
            let name = (read.nodes.len() != 1).then_some(&read.object.meta.name);
            ((!read.object.value.ours, read.kind.clone(), name), State::Plain)
        };
        let groups = Groups::of(objects.iter().map(key).collect());
        let mut announcing: BTreeMap<IpNet, BTreeSet<usize>> = BTreeMap::new();
        for (index, read) in objects.iter().enumerate().filter(|(_, read)| read.object.value.ours) {
            for prefix in &read.prefixes {
                announcing.entry(*prefix).or_default().insert(groups.group(index));
            }
        }
        let lengths = announcing.keys().map(IpNet::prefix_len).collect();
        Self { objects, groups, announcing, lengths }
    }

    /// The groups that announce an address, by itself or in an aggregate.
    fn announcing(&self, address: IpAddr) -> impl Iterator<Item = usize> {
        let prefixes = self.lengths.iter().filter_map(move |length| IpNet::new(address, *length).ok());
        prefixes.filter_map(|prefix| self.announcing.get(&prefix.trunc())).flatten().copied()
    }

    fn members(&self, group: &[usize]) -> Vec<&Read<'w>> {
        group.iter().filter_map(|index| self.objects.get(*index)).collect()
    }

    fn items(&self) -> Vec<Item> {
        let item = |(index, group): (usize, &Vec<usize>)| {
            let members = self.members(group);
            let nodes: BTreeSet<&str> = members.iter().flat_map(|read| &read.nodes).copied().collect();
            let neighbors: BTreeSet<&Neighbor> = members.iter().flat_map(|read| &read.neighbors).collect();
            let prefixes: BTreeSet<&IpNet> = members.iter().flat_map(|read| &read.prefixes).collect();
            let kinds: BTreeSet<&str> = members.iter().map(|read| read.kind.as_str()).collect();
            let names = members.iter().map(|read| read.object.meta.name.name.as_str());
            let kind = kinds.into_iter().join(", ");
            let mut lines = vec![Line::new(kind, 1)];
            lines.push(Line::new(
                format!(
                    "{} to {}",
                    count(prefixes.len(), "prefix", "prefixes"),
                    count(neighbors.len(), "router", "routers")
                ),
                1,
            ));
            match (nodes.len(), members.len()) {
                (0, _) => lines.push(Line::trouble("selects no node", 1)),
                (nodes, 1) => lines.push(Line::new(format!("on {}", count(nodes, "node", "nodes")), 1)),
                (..) if self.groups.is_rest(index) => lines.push(Line::new(format!("on {} nodes", nodes.len()), 1)),
                _ => lines.push(Line::new("each on a node of its own", 1)),
            }
            if members.len() > 1 {
                lines.extend(listed(&names.clone().collect::<Vec<_>>(), SHOWN));
            }
            Item {
                under: String::new(),
                title: title(names, self.groups.is_rest(index), "FRRConfigurations"),
                lines,
                state: State::Plain,
                foreign: members.iter().all(|read| !read.object.value.ours),
            }
        };
        self.groups.members.iter().enumerate().map(item).collect()
    }

    fn edges(&self, nodes: &Nodes) -> Vec<Edge> {
        let mut edges: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for (index, read) in self.objects.iter().enumerate() {
            for node in read.nodes.iter().filter_map(|name| nodes.by_name.get(name)) {
                *edges.entry((self.groups.group(index), nodes.groups.group(*node))).or_default() += 1;
            }
        }
        let edge = |((from, to), _): (&(usize, usize), &usize)| {
            let (left, right) = (self.group_name(*from), nodes.group_name(*to));
            Edge { from: *from, to: *to, state: State::Plain, text: format!("{left} selects {right}") }
        };
        edges.iter().map(edge).collect()
    }

    fn group_name(&self, group: usize) -> String {
        let members = self.groups.members.get(group).map(|group| self.members(group)).unwrap_or_default();
        title(members.iter().map(|read| read.object.meta.name.name.as_str()), false, "FRRConfigurations")
    }
}

/// The name of a thing, or how many there are.
fn title<'n>(names: impl Iterator<Item = &'n str> + Clone, is_rest: bool, many: &str) -> String {
    match (names.clone().count(), is_rest, names.clone().next()) {
        (1, _, Some(name)) => name.to_owned(),
        (number, true, _) => format!("{number} other {many}"),
        (number, false, _) => format!("{number} {many}"),
    }
}

/// The other end of sessions; or a RouterPeer that has no node, and so no session.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Neighbor(Neighbor),
    Peer(String),
}

/// What sessions lead to.
struct Routers {
    ends: Vec<(End, BTreeSet<String>)>,
    groups: Groups,
    by_neighbor: BTreeMap<Neighbor, usize>,
    /// The sessions that RouterPeers ask for: node, router.
    wanted: BTreeSet<(String, usize)>,
}

impl Routers {
    fn of(world: &World, configurations: &Configurations) -> Self {
        let mut found: BTreeMap<End, BTreeSet<String>> = BTreeMap::new();
        let mut asked = Vec::new();
        for object in world.peers.iter() {
            let nodes = object.value.spec.as_ref().map_or_else(|_| Vec::new(), |spec| neighbor::of_peer(world, spec));
            let name = &object.meta.name.name;
            if nodes.is_empty() {
                found.entry(End::Peer(name.to_string())).or_default().insert(name.to_string());
            }
            for (node, neighbor) in nodes {
                found.entry(End::Neighbor(neighbor.clone())).or_default().insert(name.to_string());
                asked.push((node.meta.name.name.to_string(), neighbor));
            }
        }
        let on_nodes = configurations.objects.iter().filter(|read| !read.nodes.is_empty());
        for neighbor in on_nodes.flat_map(|read| &read.neighbors) {
            found.entry(End::Neighbor(neighbor.clone())).or_default();
        }
        let ends: Vec<_> = found.into_iter().collect();
        let mut alike: BTreeMap<&BTreeSet<String>, usize> = BTreeMap::new();
        for (_, peers) in &ends {
            *alike.entry(peers).or_default() += 1;
        }
        let key = |(end, peers)| {
            let one_by_one = alike.get(peers).is_none_or(|number| *number <= TOGETHER);
            ((peers, one_by_one.then_some(end)), State::Plain)
        };
        let groups = Groups::of(ends.iter().map(|(end, peers)| key((end, peers))).collect());
        let neighbors = ends.iter().enumerate().filter_map(|(index, (end, _))| match end {
            End::Neighbor(neighbor) => Some((neighbor.clone(), index)),
            End::Peer(_) => None,
        });
        let by_neighbor: BTreeMap<Neighbor, usize> = neighbors.collect();
        let wanted =
            asked.into_iter().filter_map(|(node, neighbor)| Some((node, *by_neighbor.get(&neighbor)?))).collect();
        Self { ends, groups, by_neighbor, wanted }
    }

    fn group_name(&self, group: usize) -> String {
        let members = self.groups.members.get(group).map_or(&[][..], Vec::as_slice);
        let names = self.names(members);
        title(names.iter().map(String::as_str), false, "routers")
    }

    fn names(&self, members: &[usize]) -> Vec<String> {
        let name = |(end, _): &(End, _)| match end {
            End::Neighbor(neighbor) => neighbor.to_string(),
            End::Peer(peer) => peer.clone(),
        };
        members.iter().filter_map(|index| self.ends.get(*index)).map(name).collect()
    }

    fn items(&self, world: &World, nodes: &Nodes) -> Vec<Item> {
        let mut tallies: BTreeMap<usize, Tally> = BTreeMap::new();
        for (router, session) in nodes.list.iter().flat_map(|node| &node.sessions) {
            *tallies.entry(self.groups.group(*router)).or_default().entry(session.state).or_default() += 1;
        }
        let item = |(index, members): (usize, &Vec<usize>)| {
            let peers: BTreeSet<&String> =
                members.iter().filter_map(|member| self.ends.get(*member)).flat_map(|(_, peers)| peers).collect();
            let mut lines = Vec::new();
            for peer in peers.iter().take(TOLD) {
                let spec =
                    world.peers.get(&ObjectName::cluster(peer.as_str())).and_then(|o| o.value.spec.as_ref().ok());
                let number = spec.and_then(|spec| spec.peer_asn).map(|asn| format!(", AS {asn}")).unwrap_or_default();
                let suspended = if spec.is_some_and(|spec| spec.suspend) { ", suspended" } else { "" };
                lines.push(Line::new(format!("RouterPeer {peer}{number}{suspended}"), 2));
            }
            match peers.len().saturating_sub(TOLD) {
                _ if peers.is_empty() => lines.push(Line::new("of no RouterPeer", 1)),
                0 => {}
                more => lines.push(Line::new(format!("and {more} more"), 1)),
            }
            let tally = tallies.get(&index);
            let state = tally.and_then(|tally| tally.keys().next().copied()).unwrap_or(State::Plain);
            lines.push(tally.map_or_else(|| Line::trouble("no node has a session with it", 1), sessions_line));
            let names = self.names(members);
            if names.len() > 1 {
                lines.extend(listed(&names, SHOWN));
            }
            Item {
                under: String::new(),
                title: title(names.iter().map(String::as_str), self.groups.is_rest(index), "routers"),
                lines,
                state,
                foreign: peers.is_empty(),
            }
        };
        self.groups.members.iter().enumerate().map(item).collect()
    }
}

/// The session of a node with a router.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Session {
    state: State,
    /// What FRR-K8s reports of it, where others have it and Clarion does not.
    of_others: Option<State>,
}

impl Session {
    fn words(self) -> String {
        match self.of_others {
            Some(state) => format!("left out by Clarion; others have it, {}", state.session()),
            None if self.state == State::LeftOut => "left out: no FRRConfiguration has it".to_owned(),
            None => self.state.session().to_owned(),
        }
    }
}

struct Node<'w> {
    name: &'w str,
    state: State,
    /// What is wrong.
    trouble: Option<String>,
    /// By router.
    sessions: BTreeMap<usize, Session>,
}

struct Nodes<'w> {
    list: Vec<Node<'w>>,
    groups: Groups,
    by_name: BTreeMap<&'w str, usize>,
}

impl<'w> Nodes<'w> {
    fn of(prospect: &'w Prospect, hosts: &Hosts, configurations: &Configurations, routers: &Routers) -> Self {
        let world = prospect.in_effect();
        // What the daemon of each node is to have, and whether Clarion says so.
        let mut carried: BTreeMap<(&str, usize), bool> = BTreeMap::new();
        let mut selecting: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        for (index, read) in configurations.objects.iter().enumerate() {
            let known = read.neighbors.iter().filter_map(|neighbor| routers.by_neighbor.get(neighbor));
            let known: Vec<usize> = known.copied().collect();
            for node in &read.nodes {
                selecting.entry(node).or_default().insert(configurations.groups.group(index));
                for router in &known {
                    *carried.entry((node, *router)).or_default() |= read.object.value.ours;
                }
            }
        }
        let reported = Sessions::of(&prospect.world);
        let mut sessions: BTreeMap<&str, BTreeMap<usize, Session>> = BTreeMap::new();
        for ((node, router), ours) in carried {
            let Some((End::Neighbor(neighbor), _)) = routers.ends.get(router) else { continue };
            let state = match neighbor.state(&reported, node) {
                neighbor::State::Down => State::Bad,
                neighbor::State::NotReported => State::Unknown,
                neighbor::State::Established => State::Good,
            };
            let left_out = !ours && routers.wanted.contains(&(node.to_owned(), router));
            let session = match left_out {
                true => Session { state: State::LeftOut, of_others: Some(state) },
                false => Session { state, of_others: None },
            };
            sessions.entry(node).or_default().insert(router, session);
        }
        for (node, router) in &routers.wanted {
            let left_out = Session { state: State::LeftOut, of_others: None };
            sessions.entry(node).or_default().entry(*router).or_insert(left_out);
        }
        let mut failing: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let rows = status::nodes(prospect);
        for row in &rows {
            for node in &row.nodes {
                failing.entry(node).or_default().push(format!("the {} fails: {}", row.failed, row.message));
            }
        }
        let node = |name: &'w str| {
            let failure = failing.get(name).map(|texts| texts.join("; "));
            let host = hosts.of_node(name).and_then(|index| hosts.get(index));
            let standing = match host.map(|host| host.standing) {
                None => Some(format!("no label {}", names::HOSTNAME_LABEL)),
                Some(Standing::Announces) => None,
                Some(Standing::Drains(at)) => Some(format!("{} until {at}", Standing::Drains(at).about())),
                Some(other) => Some(other.about().to_owned()),
            };
            let state = match (&failure, &standing) {
                (Some(_), _) => State::Bad,
                (None, Some(_)) => State::LeftOut,
                (None, None) => State::Plain,
            };
            Node { name, state, trouble: failure.or(standing), sessions: sessions.remove(name).unwrap_or_default() }
        };
        let list: Vec<Node> = world.nodes.iter().map(|object| object.meta.name.name.as_str()).map(node).collect();
        let key = |node: &Node| {
            let sessions = node.sessions.iter().map(|(router, session)| (routers.groups.group(*router), *session));
            let worst = node.sessions.values().map(|session| session.state).chain([node.state]).min();
            let sessions: BTreeSet<_> = sessions.collect();
            let selected = selecting.get(node.name).cloned().unwrap_or_default();
            ((node.state, node.trouble.clone(), selected, sessions), worst.unwrap_or(State::Plain))
        };
        let groups = Groups::of(list.iter().map(key).collect());
        let by_name = list.iter().enumerate().map(|(index, node)| (node.name, index)).collect();
        Self { list, groups, by_name }
    }

    fn members(&self, group: &[usize]) -> Vec<&Node<'w>> {
        group.iter().filter_map(|index| self.list.get(*index)).collect()
    }

    fn group_name(&self, group: usize) -> String {
        let members = self.groups.members.get(group).map(|group| self.members(group)).unwrap_or_default();
        title(members.iter().map(|node| node.name), false, "nodes")
    }

    fn summary(&self, routers: usize) -> String {
        let sessions = tally(self.list.iter().flat_map(|node| node.sessions.values()).map(|session| session.state));
        let all: usize = sessions.values().sum();
        let states = if all == 0 { String::new() } else { format!(": {}", told(&sessions)) };
        let [nodes, routers] = [count(self.list.len(), "node", "nodes"), count(routers, "router", "routers")];
        format!("{nodes}, {routers}, {}{states}", count(all, "session", "sessions"))
    }

    fn items(&self) -> Vec<Item> {
        let item = |(index, group): (usize, &Vec<usize>)| {
            let members = self.members(group);
            let sessions = tally(members.iter().flat_map(|node| node.sessions.values()).map(|session| session.state));
            let mut lines = Vec::new();
            let troubles: BTreeSet<&String> = members.iter().filter_map(|node| node.trouble.as_ref()).collect();
            lines.extend(troubles.into_iter().take(TOLD).map(|text| Line::trouble(text, 4)));
            lines.push(sessions_line(&sessions));
            let names = members.iter().map(|node| node.name);
            if members.len() > 1 && self.list.len() <= ALL_NAMED {
                lines.push(Line::new(names.clone().join(", "), ALL_NAMED));
            } else if members.len() > 1 {
                lines.extend(listed(&names.clone().collect::<Vec<_>>(), SHOWN));
            }
            Item {
                under: String::new(),
                title: title(names, self.groups.is_rest(index), "nodes"),
                lines,
                state: members.iter().map(|node| node.state).min().unwrap_or(State::Plain),
                foreign: false,
            }
        };
        self.groups.members.iter().enumerate().map(item).collect()
    }

    fn edges(&self, routers: &Routers) -> Vec<Edge> {
        let mut edges: BTreeMap<(usize, usize), Vec<Session>> = BTreeMap::new();
        for (index, node) in self.list.iter().enumerate() {
            for (router, session) in &node.sessions {
                edges.entry((self.groups.group(index), routers.groups.group(*router))).or_default().push(*session);
            }
        }
        let edge = |((from, to), sessions): ((usize, usize), Vec<Session>)| {
            let tally = tally(sessions.iter().map(|session| session.state));
            let words = match sessions.as_slice() {
                [session] => session.words(),
                _ => told(&tally),
            };
            let text = format!("{} to {}: {words}", self.group_name(from), routers.group_name(to));
            Edge { from, to, state: tally.keys().next().copied().unwrap_or(State::Plain), text }
        };
        edges.into_iter().map(edge).collect()
    }
}

/// What a Service has in common with those that it is drawn with.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Sort {
    /// Its pools; those that have none come first.
    pools: Vec<String>,
    state: State,
    reason: Option<String>,
    advertisements: Vec<String>,
    configurations: BTreeSet<usize>,
}

struct Served<'w> {
    service: &'w Object<Service>,
    sort: Sort,
    /// What it lacks.
    message: Option<String>,
}

struct Services<'w> {
    list: Vec<Served<'w>>,
    groups: Groups,
    usage: BTreeMap<&'w str, &'w str>,
}

impl<'w> Services<'w> {
    fn of(prospect: &'w Prospect, config: &Config, configurations: &Configurations) -> Self {
        let next = &prospect.next;
        let serve = |service: &'w Object<Service>| {
            let lacking = status::lacks(service);
            let addresses = &service.value.addresses;
            let pools: BTreeSet<&str> = addresses
                .iter()
                .filter_map(|address| config.pools.of(*address))
                .map(|pool| pool.name.as_str())
                .collect();
            let fitting = config.advertisements.iter().filter(|advertisement| {
                let fits =
                    |address: &IpAddr| advertisement.misfit(config.pools.of(*address), &service.meta.labels).is_none();
                addresses.iter().any(fits)
            });
            let announced = service.value.conditions.iter().find(|condition| condition.type_ == names::ANNOUNCED);
            let state = match (&lacking, announced.map(|condition| condition.status.as_str())) {
                (Some(row), _) if row.severity == Level::Error => State::Bad,
                (Some(_), _) => State::LeftOut,
                (None, Some("True")) => State::Good,
                (None, Some("Unknown")) => State::Unknown,
                (None, _) => State::Plain,
            };
            let (reason, message) = lacking.map(|row| (row.reason, row.message)).unzip();
            let mut advertisements: Vec<String> = fitting.map(|advertisement| advertisement.name.clone()).collect();
            advertisements.sort();
            let sort = Sort {
                pools: pools.into_iter().map(str::to_owned).collect(),
                state,
                reason,
                advertisements,
                configurations: addresses.iter().flat_map(|address| configurations.announcing(*address)).collect(),
            };
            Served { service, sort, message }
        };
        let mut list: Vec<Served> = next.services.iter().filter(|service| next.serves(service)).map(serve).collect();
        list.sort_by(|a, b| (&a.sort, &a.service.meta.name).cmp(&(&b.sort, &b.service.meta.name)));
        let groups = Groups::of(list.iter().map(|served| (served.sort.clone(), served.sort.state)).collect());
        let usage = next.pools.iter().filter_map(|object| {
            Some((object.meta.name.name.as_str(), object.value.status.as_ref()?.usage.as_deref()?))
        });
        Self { list, groups, usage: usage.collect() }
    }

    fn summary(&self) -> String {
        let of = |state| self.list.iter().filter(|served| served.sort.state == state).count();
        let words = [
            (State::Good, "announced"),
            (State::Unknown, "in FRRConfigurations without confirmation"),
            (State::Bad, "in error"),
            (State::LeftOut, "without ready endpoint"),
            (State::Plain, "not to be announced"),
        ];
        let parts = words.into_iter().map(|(state, words)| (of(state), words)).filter(|(number, _)| *number > 0);
        let parts = parts.map(|(number, words)| format!("{number} {words}")).join(", ");
        let all = count(self.list.len(), "Service", "Services");
        if parts.is_empty() { all } else { format!("{all}: {parts}") }
    }

    fn items(&self) -> Vec<Item> {
        let item = |(index, group): (usize, &Vec<usize>)| {
            let members: Vec<&Served> = group.iter().filter_map(|member| self.list.get(*member)).collect();
            let (is_rest, sort) = (self.groups.is_rest(index), members.first().map(|served| &served.sort));
            let names: Vec<String> = members.iter().map(|served| served.service.meta.name.to_string()).collect();
            let state = members.iter().map(|served| served.sort.state).min().unwrap_or(State::Plain);
            let mut lines = Vec::new();
            if let Some(sort) = sort.filter(|_| !is_rest) {
                lines.extend(sort.reason.as_ref().map(|reason| Line::trouble(reason, 1)));
                if let [served] = members.as_slice() {
                    let mut addresses = served.service.value.addresses.iter().map(ToString::to_string);
                    let addresses = addresses.join(", ");
                    lines.extend((!addresses.is_empty()).then(|| Line::new(addresses, 2)));
                    lines.extend(served.message.as_ref().map(|message| Line::new(message, 3)));
                }
                if !sort.advertisements.is_empty() {
                    lines.push(Line::new(format!("by {}", few(&sort.advertisements)), 2));
                }
            }
            if members.len() > 1 {
                lines.extend(listed(&names, if state < State::Unknown { TROUBLED } else { SHOWN }));
            }
            Item {
                under: if is_rest { "others".to_owned() } else { self.under(sort) },
                title: title(names.iter().map(String::as_str), is_rest, "Services"),
                lines,
                state,
                foreign: false,
            }
        };
        self.groups.members.iter().enumerate().map(item).collect()
    }

    fn under(&self, sort: Option<&Sort>) -> String {
        match sort.map_or(&[][..], |sort| &sort.pools) {
            [] => "without an address".to_owned(),
            [pool] => {
                let usage = self.usage.get(pool.as_str()).map(|usage| format!(": {usage}")).unwrap_or_default();
                format!("pool {pool}{usage}")
            }
            pools => format!("pools {}", pools.join(", ")),
        }
    }

    fn edges(&self, configurations: &Configurations) -> Vec<Edge> {
        let mut edges: BTreeMap<(usize, usize), (State, usize)> = BTreeMap::new();
        for (index, served) in self.list.iter().enumerate() {
            for configuration in &served.sort.configurations {
                let edge = edges.entry((self.groups.group(index), *configuration)).or_insert((served.sort.state, 0));
                *edge = (edge.0.min(served.sort.state), edge.1 + 1);
            }
        }
        let edge = |((from, to), (state, number)): ((usize, usize), (State, usize))| {
            let members = self.groups.members.get(from).map_or(&[][..], Vec::as_slice);
            let served = members.iter().filter_map(|member| self.list.get(*member));
            let name = served.map(|served| served.service.meta.name.to_string()).next().filter(|_| members.len() == 1);
            let what = name.unwrap_or_else(|| count(number, "Service", "Services"));
            let text = format!("{what} in {}", configurations.group_name(to));
            Edge { from, to, state, text }
        };
        edges.into_iter().map(edge).collect()
    }
}
