//! The rules that hold at every moment, asked after each change of what etcd stores. It reads the objects alone, in the order in
//! which they changed, and knows nothing of what processes think or of what is done to them.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

use clarion_api::names;
use clarion_envtest::{
    etcd::Change,
    history::{Moment, merged, sessions},
};
use ipnet::IpNet;
use serde_json::Value;
use tokio::time::Instant;

use crate::objects::{AT_ODDS, Endpoints, Key, Kind, Node, Peer, Pool, Service};

/// How old what a write relies on may be: watches are held back, requests are late, and the machine has little time.
pub const STALE: Duration = Duration::from_secs(20);
/// Lines of the timeline that are kept.
const LINES: usize = 1_000;

/// A prefix that a node is to announce to a peer.
type Place = (String, IpAddr, IpNet);

/// What is announced on the sessions of a node.
type Sessions = BTreeMap<String, BTreeSet<IpNet>>;

/// How much was seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Changes of what users or Clarion write, but for Leases and Events.
    pub changes: u64,
    /// Questions whether a rule holds.
    pub checks: u64,
    /// How often somebody came to hold the Lease.
    pub leaders: u64,
}

/// Values of something that are so or were so lately.
#[derive(Clone, Debug)]
struct Lately<T>(BTreeMap<T, Instant>);

impl<T: Ord> Default for Lately<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Ord> Lately<T> {
    fn is(&mut self, value: T) {
        self.0.retain(|_, at| at.elapsed() < STALE);
        self.0.insert(value, Instant::now());
    }

    fn has<Q: Ord + ?Sized>(&self, value: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.0.get(value).is_some_and(|at| at.elapsed() < STALE)
    }

    fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter(|(_, at)| at.elapsed() < STALE).map(|(value, _)| value)
    }
}

/// What a Service has said lately.
#[derive(Clone, Debug, Default)]
struct Said {
    keys: Lately<Option<String>>,
    requests: Lately<Vec<IpAddr>>,
}

/// Sees all that happens.
pub struct Judge {
    begun: Instant,
    broken: Vec<String>,
    timeline: VecDeque<String>,
    stored: BTreeMap<String, Value>,
    counts: Counts,
    holder: String,
    services: BTreeMap<String, Service>,
    said: BTreeMap<String, Said>,
    /// UIDs of Services that have asked for an address.
    asked: BTreeSet<String>,
    endpoints: BTreeMap<String, Endpoints>,
    nodes: BTreeMap<String, Node>,
    peers: BTreeMap<String, Peer>,
    pools: BTreeMap<String, Pool>,
    configurations: Moment,
    /// What each node announces.
    announced: BTreeMap<String, Sessions>,
    /// Since when each prefix is to be announced by a node to a peer.
    wanted: BTreeMap<Place, Instant>,
    /// What was wanted and announced when everything was as it should be, and has been wanted since.
    steady: BTreeSet<Place>,
    /// Nodes that a user's FRRConfiguration selects, or lately selected, that can't be merged with Clarion's.
    at_odds: Lately<String>,
    /// Who has or lately had an address.
    held: BTreeMap<IpAddr, Lately<String>>,
}

impl Judge {
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            broken: Vec::new(),
            timeline: VecDeque::new(),
            stored: BTreeMap::new(),
            counts: Counts::default(),
            holder: String::new(),
            services: BTreeMap::new(),
            said: BTreeMap::new(),
            asked: BTreeSet::new(),
            endpoints: BTreeMap::new(),
            nodes: BTreeMap::new(),
            peers: BTreeMap::new(),
            pools: BTreeMap::new(),
            configurations: Moment::new(),
            announced: BTreeMap::new(),
            wanted: BTreeMap::new(),
            steady: BTreeSet::new(),
            at_odds: Lately::default(),
            held: BTreeMap::new(),
        }
    }

    /// What went wrong until now.
    pub fn broken(&self) -> &[String] {
        &self.broken
    }

    /// What has happened last.
    pub fn timeline(&self) -> impl DoubleEndedIterator<Item = &String> + ExactSizeIterator {
        self.timeline.iter()
    }

    /// All objects as they are now.
    pub fn stored(&self) -> &BTreeMap<String, Value> {
        &self.stored
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Who holds the Lease.
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// Writes down what somebody does.
    pub fn note(&mut self, text: &str) {
        if self.timeline.len() == LINES {
            self.timeline.pop_front();
        }
        self.timeline.push_back(format!("{:10.3} {text}", self.begun.elapsed().as_secs_f64()));
    }

    /// A rule does not hold.
    pub fn breaks(&mut self, text: String) {
        self.note(&format!("!!! {text}"));
        self.broken.push(text);
    }

    /// A rule has been asked after: it holds, or this is what breaks it.
    fn check(&mut self, broken: Option<String>) {
        self.counts.checks += 1;
        if let Some(text) = broken {
            self.breaks(text);
        }
    }

    /// Something has changed.
    pub fn sees(&mut self, Change { revision, key, after }: &Change) {
        let Some(place) = Key::parse(key) else { return };
        if place.kind == Kind::Lease {
            self.sees_lease(after.as_ref());
            return;
        }
        self.counts.changes += 1;
        self.note(&format!("{revision} {} {}", place.kind.name(), place.told(after.as_ref())));
        match after {
            Some(after) => self.stored.insert(key.clone(), after.clone()),
            None => self.stored.remove(key),
        };
        let name = place.name;
        match place.kind {
            Kind::Service => self.sees_service(name, after.as_ref().map(Service::read)),
            Kind::EndpointSlice => drop(put(&mut self.endpoints, name, after.as_ref().map(Endpoints::read))),
            Kind::Node => {
                put(&mut self.nodes, name, after.as_ref().map(Node::read));
                self.merge();
            }
            Kind::Peer => drop(put(&mut self.peers, name, after.as_ref().map(Peer::read))),
            Kind::Pool => drop(put(&mut self.pools, name, after.as_ref().map(Pool::read))),
            Kind::Configuration => self.sees_configuration(name, after.as_ref()),
            Kind::Advertisement | Kind::Lease => {}
        }
        self.want();
    }

    fn sees_lease(&mut self, after: Option<&Value>) {
        let holder = after.and_then(|lease| lease.pointer("/spec/holderIdentity")?.as_str()).unwrap_or_default();
        if holder != self.holder {
            self.counts.leaders += u64::from(!holder.is_empty());
            self.note(&format!("the Lease is held by {holder:?}"));
            holder.clone_into(&mut self.holder);
        }
    }

    fn sees_service(&mut self, name: &str, after: Option<Service>) {
        let before = self.services.remove(name).unwrap_or_default();
        for address in &before.addresses {
            self.held.entry(*address).or_default().is(name.to_owned());
        }
        let Some(after) = after else { return };
        let said = self.said.entry(name.to_owned()).or_default();
        said.keys.is(after.key.clone());
        said.requests.is(after.requests.clone());
        if !after.requests.is_empty() {
            self.asked.insert(after.uid.clone());
        }
        let is_same = before.uid == after.uid;
        for address in after.addresses.iter().filter(|address| !is_same || !before.addresses.contains(address)) {
            self.check_gain(name, *address);
        }
        for address in before.addresses.iter().filter(|address| is_same && !after.addresses.contains(address)) {
            self.check_loss(name, *address, &after);
        }
        for address in &after.addresses {
            self.held.entry(*address).or_default().is(name.to_owned());
        }
        self.services.insert(name.to_owned(), after);
    }

    /// An address has one holder, or several that agree, and is another's only when it is announced no longer.
    fn check_gain(&mut self, name: &str, address: IpAddr) {
        let others: Vec<String> = self.holders(address).filter(|other| *other != name).cloned().collect();
        for other in &others {
            let broken = (!self.agree(name, other)).then(|| format!("{address} is {other}'s and {name}'s"));
            self.check(broken);
        }
        let had = self.held.get(&address).is_some_and(|held| held.has(name));
        let announced = others.is_empty() && !had && self.announces(address);
        self.check(announced.then(|| format!("{name} gets {address}, which is still announced for another")));
    }

    /// Who has an address keeps it, unless another was asked for and is there; and it is taken away only when it is
    /// announced no longer.
    fn check_loss(&mut self, name: &str, address: IpAddr, after: &Service) {
        // Then the API server clears the status.
        if !after.is_load_balancer {
            return;
        }
        let mut requests = self.said.get(name).into_iter().flat_map(|said| said.requests.values());
        let moves = requests.any(|request| !request.is_empty() && !request.contains(&address));
        let allowed = moves && !after.addresses.is_empty();
        drop(requests);
        self.check((!allowed).then(|| format!("{name} loses {address}")));
        let announced = self.holders(address).next().is_none() && self.announces(address);
        self.check(announced.then(|| format!("{name} loses {address}, which is still announced")));
    }

    fn holders(&self, address: IpAddr) -> impl Iterator<Item = &String> {
        let holders = self.services.iter().filter(move |(_, service)| service.addresses.contains(&address));
        holders.map(|(name, _)| name)
    }

    /// Whether two Services have, or lately had, a sharing key in common.
    fn agree(&self, one: &str, other: &str) -> bool {
        let keys = |name: &str| {
            let now = self.services.get(name).and_then(|service| service.key.as_ref());
            now.into_iter().chain(self.said.get(name).into_iter().flat_map(|said| said.keys.values().flatten()))
        };
        keys(one).any(|key| keys(other).any(|other| other == key))
    }

    /// Whether any object of Clarion's has the address by itself.
    fn announces(&self, address: IpAddr) -> bool {
        let prefix = IpNet::from(address).to_string();
        self.ours().any(|(_, object)| prefixes(object).any(|there| *there == prefix))
    }

    fn ours(&self) -> impl Iterator<Item = (&String, &clarion_api::frr::FRRConfiguration)> {
        self.configurations.iter().filter(|(name, _)| is_ours(name))
    }

    fn sees_configuration(&mut self, name: &str, after: Option<&Value>) {
        let before: BTreeSet<String> = self.ours().flat_map(|(_, object)| prefixes(object)).cloned().collect();
        put(&mut self.configurations, name, after.and_then(|after| serde_json::from_value(after.clone()).ok()));
        if !is_ours(name) {
            self.merge();
            return;
        }
        let now = self.configurations.get(name).into_iter().flat_map(prefixes);
        let fresh: Vec<IpNet> =
            now.filter(|prefix| !before.contains(*prefix)).filter_map(|prefix| prefix.parse().ok()).collect();
        for prefix in fresh {
            let has = self.holders(prefix.addr()).next().is_some();
            let had = self.held.get(&prefix.addr()).is_some_and(|held| held.values().next().is_some());
            self.check((!has && !had).then(|| format!("{name} announces {prefix}, which nobody has")));
        }
        let announced = self.announced.clone();
        self.merge();
        self.check_nothing_lost(&announced);
    }

    /// What was announced and is to be announced is announced.
    fn check_nothing_lost(&mut self, before: &BTreeMap<String, Sessions>) {
        let mut lost = Vec::new();
        for (place, since) in &self.wanted {
            let (node, peer, prefix) = place;
            let has = |all: &BTreeMap<String, Sessions>| {
                let sessions = all.get(node).into_iter().flatten();
                sessions.filter(|(session, _)| is_with(session, *peer)).any(|(_, prefixes)| prefixes.contains(prefix))
            };
            let counts = since.elapsed() > STALE || self.steady.contains(place);
            if counts && !self.is_at_odds(node) && self.nodes.contains_key(node) {
                let is_lost = has(before) && !has(&self.announced);
                lost.push(is_lost.then(|| format!("{node} withdraws {prefix} from {peer}")));
            }
        }
        lost.into_iter().for_each(|lost| self.check(lost));
    }

    /// Whether a user's object can't be merged with Clarion's on this node, or could not until lately.
    fn is_at_odds(&self, node: &str) -> bool {
        self.at_odds.has(node)
    }

    /// The nodes that a user's object selects that can't be merged with Clarion's.
    fn see_odds(&mut self) {
        let odd = self.configurations.iter().filter(|(name, _)| name.starts_with(AT_ODDS));
        let nodes: Vec<String> = odd.flat_map(|(_, object)| self.selected(object)).cloned().collect();
        nodes.into_iter().for_each(|node| self.at_odds.is(node));
    }

    fn selected(&self, object: &clarion_api::frr::FRRConfiguration) -> impl Iterator<Item = &String> {
        let is = |node: &Node| clarion_core::admit::selects(&object.spec, &node.labels) == Ok(true);
        self.nodes.iter().filter(move |(_, node)| is(node)).map(|(name, _)| name)
    }

    /// Every node can merge what selects it.
    fn merge(&mut self) {
        self.see_odds();
        let before = std::mem::take(&mut self.announced);
        let mut refused = Vec::new();
        for (name, node) in &self.nodes {
            let merged = merged(&self.configurations, &node.labels);
            refused.push(match merged {
                Ok(config) => {
                    self.announced.insert(name.clone(), sessions(&config));
                    None
                }
                // It stays as it was until Clarion has left out what is at odds.
                Err(_) if self.is_at_odds(name) => {
                    self.announced.extend(before.get(name).map(|there| (name.clone(), there.clone())));
                    None
                }
                Err(refusal) => Some(format!("{name} can't be merged: {refusal}")),
            });
        }
        refused.into_iter().for_each(|refused| self.check(refused));
    }

    /// The nodes that are to announce an address in any case: those that are to for each of its holders.
    fn nodes_for(&self, address: IpAddr) -> BTreeSet<&String> {
        let mut common: Option<BTreeSet<&String>> = None;
        for holder in self.holders(address) {
            let ready = self.endpoints.get(holder).map(|endpoints| &endpoints.ready).filter(|ready| !ready.is_empty());
            let (Some(ready), Some(service)) = (ready, self.services.get(holder)) else { continue };
            if service.leaves(address) {
                return BTreeSet::new();
            }
            let nodes = self.nodes.iter().filter(|(_, node)| node.announces).map(|(name, _)| name);
            let nodes: BTreeSet<_> = nodes.filter(|node| !service.is_local || ready.contains(*node)).collect();
            common = Some(common.map_or_else(|| nodes.clone(), |common| &common & &nodes));
        }
        common.unwrap_or_default()
    }

    /// All addresses that somebody has.
    fn addresses(&self) -> BTreeSet<IpAddr> {
        let served = self.services.values().filter(|service| service.is_load_balancer);
        served.flat_map(|service| &service.addresses).copied().collect()
    }

    /// Says since when each prefix is to be announced by each node to each peer.
    fn want(&mut self) {
        let now = Instant::now();
        self.see_odds();
        let mut wanted = BTreeSet::new();
        for address in self.addresses() {
            for node in self.nodes_for(address) {
                let Some(labels) = self.nodes.get(node).map(|node| &node.labels) else { continue };
                let peers = self.peers.values().filter(|peer| peer.selects(labels));
                wanted.extend(peers.map(|peer| (node.clone(), peer.address, IpNet::from(address))));
            }
        }
        for (name, service) in &self.services {
            for address in &service.addresses {
                self.held.entry(*address).or_default().is(name.clone());
            }
        }
        self.steady.retain(|place| wanted.contains(place));
        self.wanted.retain(|place, _| wanted.contains(place));
        for place in wanted {
            self.wanted.entry(place).or_insert(now);
        }
    }

    /// Whether everything is as users want it; if not, what is not.
    pub fn settled(&mut self) -> Result<(), String> {
        self.see_odds();
        if let Some((name, _)) = self.configurations.iter().find(|(name, _)| name.starts_with(names::PARK_PREFIX)) {
            return Err(format!("{name} is still there"));
        }
        for (name, service) in self.services.iter().filter(|(_, service)| service.is_load_balancer) {
            self.is_served(name, service)?;
        }
        for (name, node) in &self.nodes {
            let merged = merged(&self.configurations, &node.labels);
            let config = merged.map_err(|refusal| format!("{name} can't be merged: {refusal}"))?;
            if !self.is_at_odds(name) {
                self.announces_what_it_is_to(name, node, &sessions(&config))?;
            }
        }
        Ok(())
    }

    /// Whether a Service has what it asks for, or what it asks for can't be had.
    fn is_served(&self, name: &str, service: &Service) -> Result<(), String> {
        let has = &service.addresses;
        let Some(request) = service.requests.first() else {
            // Who takes a request back keeps what it has, which are several addresses while it moves.
            let fits = has.len() == 1 || (has.len() > 1 && self.asked.contains(&service.uid));
            return if fits { Ok(()) } else { Err(format!("{name} has {has:?}")) };
        };
        let mut others = self.holders(*request).filter(|other| *other != name);
        let taken = others.next().is_some() || !self.in_pool(*request);
        // What it had goes when what it asked for is announced.
        let moves = has.contains(request) && self.nodes_for(*request).is_empty();
        if has == &service.requests || taken || moves {
            return Ok(());
        }
        Err(format!("{name} has {has:?} instead of {request}"))
    }

    /// Whether an address is just one Service's, which does not ask for another.
    fn has_one_holder(&self, address: IpAddr) -> bool {
        let mut holders = self.services.values().filter(|service| service.addresses.contains(&address));
        holders.next().is_some_and(|holder| !holder.leaves(address)) && holders.next().is_none()
    }

    fn in_pool(&self, address: IpAddr) -> bool {
        self.pools.values().any(|pool| pool.contains(address))
    }

    /// Of addresses that are shared, that somebody leaves, or that are in no pool, less is known.
    fn announces_what_it_is_to(&self, name: &str, node: &Node, announced: &Sessions) -> Result<(), String> {
        for peer in self.peers.values().filter(|peer| peer.selects(&node.labels)) {
            let session = announced.iter().find(|(session, _)| is_with(session, peer.address));
            let nothing = BTreeSet::new();
            let there = session.map_or(&nothing, |(_, prefixes)| prefixes);
            let is_wanted = |prefix: IpNet| self.wanted.contains_key(&(name.to_owned(), peer.address, prefix));
            let told = |what: &str, prefix: IpNet| Err(format!("{name} {what} {prefix} to {}", peer.address));
            for prefix in self.addresses().into_iter().map(IpNet::from) {
                let is_plain = self.in_pool(prefix.addr()) && self.has_one_holder(prefix.addr());
                match (is_wanted(prefix), there.contains(&prefix)) {
                    (true, false) if is_plain => return told("does not announce", prefix),
                    (false, true) if is_plain => return told("still announces", prefix),
                    _ => {}
                }
            }
            if let Some(prefix) = there.iter().find(|prefix| self.holders(prefix.addr()).next().is_none()) {
                return told("still announces", *prefix);
            }
        }
        Ok(())
    }

    /// From now on, what is wanted and announced now is missed as soon as it is gone.
    pub fn is_steady(&mut self) {
        let there = |(node, peer, prefix): &&Place| {
            let mut sessions = self.announced.get(node).into_iter().flatten();
            sessions.any(|(session, prefixes)| is_with(session, *peer) && prefixes.contains(prefix))
        };
        self.steady = self.wanted.keys().filter(there).cloned().collect();
    }
}

/// Whether an FRRConfiguration of this name is Clarion's.
fn is_ours(name: &str) -> bool {
    [names::BASE_PREFIX, names::OVERLAY_PREFIX, names::PARK_PREFIX].iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a session, as it is called in a node's configuration, is one with this peer.
fn is_with(session: &str, peer: IpAddr) -> bool {
    session.rsplit(' ').next().and_then(|address| address.parse().ok()) == Some(peer)
}

/// The prefixes of an object.
fn prefixes(object: &clarion_api::frr::FRRConfiguration) -> impl Iterator<Item = &String> {
    object.spec.bgp.iter().flat_map(|bgp| &bgp.routers).flat_map(|router| &router.prefixes)
}

fn put<T>(all: &mut BTreeMap<String, T>, name: &str, value: Option<T>) -> Option<T> {
    match value {
        Some(value) => all.insert(name.to_owned(), value),
        None => all.remove(name),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    const FIRST: &str = "198.51.100.1";

    fn change(key: &str, after: Option<Value>) -> Change {
        Change { revision: 1, key: format!("/registry/{key}"), after }
    }

    struct With<'a> {
        type_: &'a str,
        addresses: &'a [&'a str],
        key: Option<&'a str>,
        request: Option<&'a str>,
        policy: &'a str,
    }

    const PLAIN: With = With { type_: "LoadBalancer", addresses: &[], key: None, request: None, policy: "Cluster" };

    fn service(name: &str, With { type_, addresses, key, request, policy }: With) -> Change {
        let ingress: Vec<_> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
        let annotations =
            json!({"clarionlb.io/allow-shared-ip": key, "clarionlb.io/loadBalancerIPs": request.unwrap_or_default()});
        let object = json!({
            "metadata": {"name": name, "uid": name, "annotations": annotations},
            "spec": {"type": type_, "externalTrafficPolicy": policy},
            "status": {"loadBalancer": {"ingress": ingress}},
        });
        change(&format!("services/specs/default/{name}"), Some(object))
    }

    fn endpoints(name: &str, nodes: &[&str]) -> Change {
        let endpoints: Vec<_> =
            nodes.iter().map(|node| json!({"nodeName": node, "conditions": {"ready": true}})).collect();
        change(&format!("endpointslices/default/{name}"), Some(json!({"endpoints": endpoints})))
    }

    fn node(name: &str) -> Change {
        change(&format!("minions/{name}"), Some(json!({"metadata": {"labels": {"kubernetes.io/hostname": name}}})))
    }

    fn peer() -> Change {
        change("clarionlb.io/routerpeers/tor", Some(json!({"spec": {"peerAddress": "192.0.2.1"}})))
    }

    fn pool() -> Change {
        change("clarionlb.io/loadbalancerpools/main", Some(json!({"spec": {"addresses": ["198.51.100.0/24"]}})))
    }

    fn configuration(name: &str, asn: u32, addresses: &[&str]) -> Change {
        let prefixes: Vec<_> = addresses.iter().map(|address| format!("{address}/32")).collect();
        let allowed = json!({"mode": "filtered", "prefixes": prefixes});
        let neighbor = json!({"address": "192.0.2.1", "asn": asn, "toAdvertise": {"allowed": allowed}});
        let router = json!({"asn": 64512, "neighbors": [neighbor], "prefixes": prefixes});
        let object = json!({
            "metadata": {"namespace": "frr-k8s-system", "name": name},
            "spec": {"nodeSelector": {}, "bgp": {"routers": [router]}},
        });
        change(&format!("frrk8s.metallb.io/frrconfigurations/frr-k8s-system/{name}"), Some(object))
    }

    /// A Service that is announced by two nodes.
    fn settled() -> Judge {
        let mut judge = Judge::new();
        let there = [
            node("a"),
            node("b"),
            peer(),
            pool(),
            endpoints("web", &["a"]),
            service("web", With { addresses: &[FIRST], ..PLAIN }),
            configuration("clarion-base-1", 64513, &[FIRST]),
        ];
        there.iter().for_each(|change| judge.sees(change));
        judge.is_steady();
        assert_eq!(judge.settled(), Ok(()));
        assert!(judge.broken().is_empty(), "{:?}", judge.broken());
        judge
    }

    #[rstest]
    #[case::another_service([service("db", With { addresses: &["198.51.100.2"], ..PLAIN })], "")]
    #[case::two_holders([service("db", With { addresses: &[FIRST], ..PLAIN })], "is web's and db's")]
    #[case::two_that_agree([
        service("web", With { addresses: &[FIRST], key: Some("red"), ..PLAIN }),
        service("db", With { addresses: &[FIRST], key: Some("red"), ..PLAIN }),
    ], "")]
    #[case::two_that_do_not_agree([
        service("web", With { addresses: &[FIRST], key: Some("red"), ..PLAIN }),
        service("db", With { addresses: &[FIRST], key: Some("blue"), ..PLAIN }),
    ], "is web's and db's")]
    #[case::an_address_is_lost([
        configuration("clarion-base-2", 64513, &[]),
        service("web", PLAIN),
    ], "web loses 198.51.100.1")]
    #[case::it_is_no_load_balancer_any_more([service("web", With { type_: "ClusterIP", ..PLAIN })], "")]
    #[case::moved_as_it_asks([
        service("web", With { addresses: &[FIRST, "198.51.100.2"], request: Some("198.51.100.2"), ..PLAIN }),
        configuration("clarion-base-1", 64513, &["198.51.100.2"]),
        service("web", With { addresses: &["198.51.100.2"], request: Some("198.51.100.2"), ..PLAIN }),
    ], "")]
    #[case::asked_for_another_and_left_without([
        service("web", With { request: Some("198.51.100.2"), ..PLAIN }),
    ], "web loses 198.51.100.1")]
    #[case::taken_while_announced([
        service("web", With { addresses: &["198.51.100.2"], request: Some("198.51.100.2"), ..PLAIN }),
    ], "which is still announced")]
    #[case::given_while_announced_for_another([
        change("services/specs/default/web", None),
        service("db", With { addresses: &[FIRST], ..PLAIN }),
    ], "db gets 198.51.100.1, which is still announced for another")]
    #[case::given_again_to_the_same_name([
        change("services/specs/default/web", None),
        service("web", With { addresses: &[FIRST], ..PLAIN }),
    ], "")]
    #[case::of_nobody([configuration("clarion-base-2", 64513, &["198.51.100.9"])], "which nobody has")]
    #[case::withdrawn([configuration("clarion-base-1", 64513, &[])], "a withdraws 198.51.100.1/32")]
    #[case::withdrawn_without_endpoints([
        endpoints("web", &[]),
        configuration("clarion-base-1", 64513, &[]),
    ], "")]
    #[case::not_to_be_merged([configuration("clarion-base-2", 64514, &[])], "a can't be merged")]
    #[case::a_user_at_odds([configuration("at-odds-1", 64514, &[])], "")]
    fn a_rule_that_is_broken_is_told_of<const N: usize>(#[case] changes: [Change; N], #[case] told: &str) {
        let mut judge = settled();
        changes.iter().for_each(|change| judge.sees(change));
        let broken = judge.broken();
        assert_eq!(broken.is_empty(), told.is_empty(), "{broken:?}");
        assert!(told.is_empty() || broken.iter().any(|text| text.contains(told)), "{broken:?}");
    }

    #[test]
    fn who_has_no_endpoints_keeps_what_it_had_beside_what_it_asked_for() {
        let mut judge = settled();
        judge.sees(&service(
            "web",
            With { addresses: &[FIRST, "198.51.100.2"], request: Some("198.51.100.2"), ..PLAIN },
        ));
        assert_eq!(judge.settled(), Err("web has [198.51.100.1, 198.51.100.2] instead of 198.51.100.2".to_owned()));
        judge.sees(&endpoints("web", &[]));
        judge.sees(&configuration("clarion-base-1", 64513, &[]));
        assert_eq!((judge.settled(), judge.broken().len()), (Ok(()), 0));
    }

    #[test]
    fn who_agreed_long_ago_still_agrees() {
        let mut judge = settled();
        judge.sees(&service("web", With { addresses: &[FIRST], key: Some("red"), ..PLAIN }));
        judge.said.clear();
        judge.sees(&service("db", With { addresses: &[FIRST], key: Some("red"), ..PLAIN }));
        assert!(judge.broken().is_empty(), "{:?}", judge.broken());
    }

    #[rstest]
    #[case::without_an_address([service("db", PLAIN)], "db has []")]
    #[case::with_two_and_it_never_asked(
        [service("web", With { addresses: &[FIRST, "198.51.100.2"], ..PLAIN })],
        "web has [198.51.100.1, 198.51.100.2]"
    )]
    #[case::with_one_that_it_did_not_ask_for(
        [service("web", With { addresses: &[FIRST], request: Some("198.51.100.2"), ..PLAIN })],
        "web has [198.51.100.1] instead of 198.51.100.2"
    )]
    #[case::not_announced(
        [service("db", With { addresses: &["198.51.100.2"], ..PLAIN }), endpoints("db", &["b"])],
        "a does not announce 198.51.100.2/32 to 192.0.2.1"
    )]
    #[case::announced_where_it_has_no_endpoint(
        [service("web", With { addresses: &[FIRST], policy: "Local", ..PLAIN })],
        "b still announces 198.51.100.1/32 to 192.0.2.1"
    )]
    #[case::announced_and_of_nobody(
        [change("services/specs/default/web", None)],
        "a still announces 198.51.100.1/32 to 192.0.2.1"
    )]
    #[case::parked([configuration("clarion-park-1", 64513, &[])], "clarion-park-1 is still there")]
    fn what_is_not_as_it_is_to_be_is_told_of<const N: usize>(#[case] changes: [Change; N], #[case] told: &str) {
        let mut judge = settled();
        changes.iter().for_each(|change| judge.sees(change));
        assert_eq!(judge.settled(), Err(told.to_owned()));
    }
}
