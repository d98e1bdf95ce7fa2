//! The rules that hold at every moment, asked after each change of what the API server stores. It reads the objects alone and
//! knows nothing of what processes think.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use clarion_api::frr::FRRConfiguration;
use clarion_core::{
    admit::{self, Named, NodeConfig},
    world::ObjectName,
};
use ipnet::IpNet;
use serde_json::Value;
use tokio::time::Instant;

use super::{Epoch, store::Key};

/// How old what a write relies on may be: watches lag, requests are late, and the API server takes its time.
const STALE: Duration = Duration::from_secs(60);
/// Lines of the log that are kept.
const LOG: usize = 400;

/// The user's FRRConfiguration of this name is at odds with Clarion's.
pub const AT_ODDS: &str = "at-odds";

/// A prefix on a session of a node.
type Sessions = BTreeMap<String, BTreeSet<IpNet>>;

/// What is known of a Service.
#[derive(Clone, Debug, Default)]
struct Service {
    uid: String,
    addresses: Vec<String>,
    is_local: bool,
}

/// Sees all that happens.
pub struct Judge {
    epoch: Epoch,
    /// What went wrong.
    violations: Vec<String>,
    log: VecDeque<String>,
    /// Changes of anything but Leases.
    pub changes: u64,
    /// How often somebody came to hold the Lease.
    pub leaders: u64,
    services: BTreeMap<String, Service>,
    /// Nodes with a ready endpoint, by Service.
    endpoints: BTreeMap<String, BTreeSet<String>>,
    /// Since when each node is there, and its labels.
    nodes: BTreeMap<String, (Instant, BTreeMap<String, String>)>,
    /// Since when the peer is there, if it is.
    peer: Option<Instant>,
    configurations: BTreeMap<ObjectName, FRRConfiguration>,
    /// What each node announces.
    announced: BTreeMap<String, Sessions>,
    /// Since when each prefix is to be on a node.
    wanted: BTreeMap<(String, IpNet), Instant>,
    /// Prefixes that were wanted from the first on, and have been since.
    steady: BTreeSet<(String, IpNet)>,
    /// When a user's FRRConfiguration that can't be merged with Clarion's last selected a node.
    at_odds: BTreeMap<String, Instant>,
    /// Who held an address last, and when that was last so.
    held: BTreeMap<String, (String, Instant)>,
}

impl Judge {
    pub fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            violations: Vec::new(),
            log: VecDeque::new(),
            changes: 0,
            leaders: 0,
            services: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            nodes: BTreeMap::new(),
            peer: None,
            configurations: BTreeMap::new(),
            announced: BTreeMap::new(),
            wanted: BTreeMap::new(),
            steady: BTreeSet::new(),
            at_odds: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    /// What went wrong until now.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// What has happened last.
    pub fn log(&self) -> String {
        self.log.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Writes down what somebody does.
    pub fn note(&mut self, text: &str) {
        if self.log.len() == LOG {
            self.log.pop_front();
        }
        self.log.push_back(format!("{:10.3} {text}", self.epoch.elapsed().as_secs_f64()));
    }

    fn breaks(&mut self, text: String) {
        self.note(&format!("!!! {text}"));
        self.violations.push(text);
    }

    /// Something has changed.
    pub fn sees(&mut self, key: &Key, before: Option<&Value>, after: Option<&Value>) {
        if key.plural == "leases" {
            let holder = |lease: Option<&Value>| {
                let holder = lease.and_then(|lease| lease["spec"]["holderIdentity"].as_str());
                holder.unwrap_or_default().to_owned()
            };
            let now = holder(after);
            if holder(before) != now {
                self.leaders += u64::from(!now.is_empty());
                self.note(&format!("the Lease is held by {now:?}"));
            }
            return;
        }
        self.changes += 1;
        self.see_odds();
        match key.plural.as_str() {
            "services" => self.sees_service(&key.name, after),
            "endpointslices" => self.sees_endpoints(before.or(after), after),
            "nodes" => self.sees_node(&key.name, after),
            "frrconfigurations" => self.sees_configuration(key, after),
            plural => {
                self.note(&format!("{plural} {}: {}", key.name, if after.is_some() { "written" } else { "deleted" }));
                if plural == "routerpeers" {
                    self.peer = after.map(|_| self.peer.unwrap_or_else(Instant::now));
                }
            }
        }
        self.want();
    }

    fn sees_service(&mut self, name: &str, after: Option<&Value>) {
        let (before, now) = (self.services.remove(name).unwrap_or_default(), Instant::now());
        self.held.extend(before.addresses.iter().map(|address| (address.clone(), (name.to_owned(), now))));
        let Some(after) = after else {
            self.note(&format!("Service {name} is deleted; it had {:?}", before.addresses));
            return;
        };
        let uid = after["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let ingress = after["status"]["loadBalancer"]["ingress"].as_array().into_iter().flatten();
        let addresses: Vec<String> = ingress.filter_map(|i| i["ip"].as_str().map(str::to_owned)).collect();
        let is_local = after["spec"]["externalTrafficPolicy"] == "Local";
        let conditions = after["status"]["conditions"].as_array().into_iter().flatten();
        let conditions: Vec<String> = conditions.map(|c| format!("{}={}", c["type"], c["reason"])).collect();
        self.note(&format!("Service {name} {uid}: {addresses:?} {conditions:?} local {is_local}"));
        for address in &addresses {
            if let Some((other, _)) = self.services.iter().find(|(_, service)| service.addresses.contains(address)) {
                self.breaks(format!("{address} is {other}'s and {name}'s"));
            }
            let is_new = !before.addresses.contains(address);
            let last = self.held.insert(address.clone(), (name.to_owned(), now));
            let others = last.is_some_and(|(last, _)| last != name);
            if is_new && others && self.announces(address) {
                self.breaks(format!("{name} gets {address}, which is still announced for another"));
            }
        }
        let lost = before.addresses.iter().find(|address| !addresses.contains(address));
        if let Some(lost) = lost.filter(|_| before.uid == uid) {
            self.breaks(format!("{name} loses {lost}"));
        }
        self.services.insert(name.to_owned(), Service { uid, addresses, is_local });
    }

    /// Whether any object of Clarion's has the address by itself.
    fn announces(&self, address: &str) -> bool {
        let prefix = format!("{address}/32");
        self.configurations.values().flat_map(prefixes).any(|there| *there == prefix)
    }

    fn sees_endpoints(&mut self, any: Option<&Value>, after: Option<&Value>) {
        let service = any.and_then(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"].as_str());
        let endpoints = after.and_then(|slice| slice["endpoints"].as_array()).into_iter().flatten();
        let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
        let nodes: BTreeSet<String> = ready.filter_map(|e| e["nodeName"].as_str().map(str::to_owned)).collect();
        let service = service.unwrap_or_default().to_owned();
        self.note(&format!("endpoints of {service}: {nodes:?}"));
        self.endpoints.insert(service, nodes);
    }

    fn sees_node(&mut self, name: &str, after: Option<&Value>) {
        self.note(&format!("Node {name}: {}", after.is_some()));
        match after {
            Some(after) => {
                let labels = serde_json::from_value(after["metadata"]["labels"].clone()).unwrap_or_default();
                let since = self.nodes.get(name).map_or_else(Instant::now, |(since, _)| *since);
                self.nodes.insert(name.to_owned(), (since, labels));
            }
            None => {
                self.nodes.remove(name);
            }
        }
        self.merge();
    }

    fn sees_configuration(&mut self, key: &Key, after: Option<&Value>) {
        let name = ObjectName::new(&key.namespace, &key.name);
        let after = after.map(|after| serde_json::from_value::<FRRConfiguration>(after.clone()).unwrap());
        let text = after.as_ref().map(|after| {
            let prefixes: Vec<&str> = prefixes(after).map(String::as_str).collect();
            let hosts = after.spec.node_selector.as_ref().and_then(|selector| selector.match_expressions.as_ref());
            let hosts: Vec<&String> = hosts.into_iter().flatten().flat_map(|e| e.values.iter().flatten()).collect();
            format!("{hosts:?} {prefixes:?}")
        });
        self.note(&format!("FRRConfiguration {name}: {}", text.unwrap_or_else(|| "deleted".to_owned())));
        let old = match after {
            Some(after) => self.configurations.insert(name.clone(), after),
            None => self.configurations.remove(&name),
        };
        if !name.name.starts_with("clarion-") {
            self.merge();
            return;
        }
        let had: BTreeSet<&String> = old.iter().flat_map(prefixes).collect();
        let now = self.configurations.get(&name).into_iter().flat_map(prefixes);
        let fresh: Vec<String> = now.filter(|prefix| !had.contains(prefix)).cloned().collect();
        for prefix in fresh {
            let address = prefix.trim_end_matches("/32");
            let holds = |service: &Service| service.addresses.iter().any(|held| held == address);
            let lately = self.held.get(address).is_some_and(|(_, at)| at.elapsed() < STALE);
            if !self.services.values().any(holds) && !lately {
                self.breaks(format!("{name} announces {prefix}, which nobody has"));
            }
        }
        let before = self.announced.clone();
        self.merge();
        let mut lost = Vec::new();
        for (node, sessions) in before.iter().filter(|(node, _)| !self.is_at_odds(node)) {
            let Some((since, _)) = self.nodes.get(node) else { continue };
            let (no_sessions, no_prefixes) = (Sessions::new(), BTreeSet::new());
            let now = self.announced.get(node).unwrap_or(&no_sessions);
            for (session, prefixes) in sessions {
                // Without a peer only those stay that carry something.
                let is_asked_for = since.elapsed() > STALE && self.peer.is_some_and(|since| since.elapsed() > STALE);
                if is_asked_for && !now.contains_key(session) {
                    lost.push(format!("{node} loses its session {session}"));
                }
                let still = now.get(session).unwrap_or(&no_prefixes);
                for prefix in prefixes.difference(still) {
                    let place = (node.clone(), *prefix);
                    let is_old = self.wanted.get(&place).is_some_and(|since| since.elapsed() > STALE);
                    if is_old || self.steady.contains(&place) {
                        lost.push(format!("{node} withdraws {prefix} from {session}"));
                    }
                }
            }
        }
        lost.into_iter().for_each(|text| self.breaks(text));
    }

    /// Whether a user's object can't be merged with Clarion's on this node, or could not until lately.
    fn is_at_odds(&self, node: &str) -> bool {
        let was = self.at_odds.get(node).is_some_and(|at| at.elapsed() < STALE);
        was || self.odd_ones().any(|odd| odd == node)
    }

    /// The nodes that a user's object selects that can't be merged with Clarion's.
    fn odd_ones(&self) -> impl Iterator<Item = &String> {
        let odd = self.configurations.iter().filter(|(name, _)| name.name == AT_ODDS);
        odd.flat_map(|(_, object)| {
            let selected = |labels: &BTreeMap<String, String>| admit::selects(&object.spec, labels) == Ok(true);
            self.nodes.iter().filter(move |(_, (_, labels))| selected(labels)).map(|(node, _)| node)
        })
    }

    fn see_odds(&mut self) {
        let now = Instant::now();
        let odd: Vec<String> = self.odd_ones().cloned().collect();
        self.at_odds.extend(odd.into_iter().map(|node| (node, now)));
    }

    fn merge(&mut self) {
        let mut refused = Vec::new();
        self.see_odds();
        let before = std::mem::take(&mut self.announced);
        for (node, (_, labels)) in &self.nodes {
            match merged(&self.configurations, labels) {
                Ok(config) => {
                    self.announced.insert(node.clone(), sessions(&config));
                }
                // It stays as it was until Clarion has left out what is at odds.
                Err(_) if self.is_at_odds(node) => {
                    self.announced.extend(before.get(node).map(|there| (node.clone(), there.clone())));
                }
                Err(refusal) => refused.push(format!("{node} can't be merged: {refusal}")),
            }
        }
        refused.into_iter().for_each(|text| self.breaks(text));
    }

    /// Says since when each prefix is to be on each node.
    fn want(&mut self) {
        let now = Instant::now();
        let mut wanted = BTreeSet::new();
        for (name, service) in &self.services {
            for address in &service.addresses {
                self.held.insert(address.clone(), (name.clone(), now));
            }
            let Some(ready) = self.endpoints.get(name).filter(|ready| !ready.is_empty()) else { continue };
            for address in &service.addresses {
                let Ok(prefix) = format!("{address}/32").parse::<IpNet>() else { continue };
                let nodes = self.nodes.keys().filter(|node| !service.is_local || ready.contains(*node));
                wanted.extend(nodes.map(|node| (node.clone(), prefix)));
            }
        }
        self.steady.retain(|place| wanted.contains(place));
        self.wanted.retain(|place, _| wanted.contains(place));
        for place in wanted {
            self.wanted.entry(place).or_insert(now);
        }
    }

    /// Whether everything is as users want it; if not, what is not.
    pub fn settled(&self) -> Result<(), String> {
        for (name, service) in &self.services {
            if service.addresses.len() != 1 {
                return Err(format!("{name} has {:?}", service.addresses));
            }
        }
        for (node, (_, labels)) in &self.nodes {
            merged(&self.configurations, labels).map_err(|refusal| format!("{node} can't be merged: {refusal}"))?;
            if self.is_at_odds(node) {
                continue;
            }
            let wanted: BTreeSet<IpNet> =
                self.wanted.keys().filter(|(of, _)| of == node).map(|(_, prefix)| *prefix).collect();
            let sessions = self.announced.get(node);
            let announced: BTreeSet<IpNet> =
                sessions.into_iter().flat_map(BTreeMap::values).flatten().copied().collect();
            if announced != wanted {
                return Err(format!("{node} announces {announced:?} instead of {wanted:?}"));
            }
        }
        Ok(())
    }

    /// From now on, what is wanted now is missed as soon as it is gone.
    pub fn is_steady(&mut self) {
        let is_announced = |(node, _): &&(String, IpNet)| !self.is_at_odds(node);
        self.steady = self.wanted.keys().filter(is_announced).cloned().collect();
    }
}

/// The prefixes of an object of Clarion's.
fn prefixes(object: &FRRConfiguration) -> impl Iterator<Item = &String> {
    object.spec.bgp.iter().flat_map(|bgp| &bgp.routers).flat_map(|router| &router.prefixes)
}

/// What the daemon of a node with these labels makes of all objects.
fn merged(
    objects: &BTreeMap<ObjectName, FRRConfiguration>,
    labels: &BTreeMap<String, String>,
) -> Result<NodeConfig, String> {
    let mut selected = Vec::new();
    for (name, object) in objects {
        if admit::selects(&object.spec, labels).map_err(|error| format!("{name}: {error}"))? {
            selected.push(Named { name, spec: &object.spec });
        }
    }
    admit::merge(selected).map_err(|refusal| refusal.to_string())
}

fn sessions(node: &NodeConfig) -> Sessions {
    let neighbors = node.routers.values().flat_map(|router| &router.neighbors);
    neighbors.map(|(key, n)| (key.clone(), n.announced().map(|(prefix, _)| *prefix).collect())).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::{super::store::Store, *};

    fn service(name: &str, address: &str) -> (&'static str, Value) {
        let ingress = if address.is_empty() { json!([]) } else { json!([{"ip": address}]) };
        let status = json!({"loadBalancer": {"ingress": ingress}});
        ("services", json!({"metadata": {"namespace": "default", "name": name}, "spec": {}, "status": status}))
    }

    fn endpoints(name: &str, node: &str) -> (&'static str, Value) {
        let labels = json!({"kubernetes.io/service-name": name});
        let endpoint = json!({"nodeName": node, "conditions": {"ready": true}});
        let meta = json!({"namespace": "default", "name": name, "labels": labels});
        ("endpointslices", json!({"metadata": meta, "endpoints": [endpoint]}))
    }

    fn node(name: &str) -> (&'static str, Value) {
        ("nodes", json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}}))
    }

    fn configuration(name: &str, asn: u32, prefixes: &[&str]) -> (&'static str, Value) {
        let neighbor = json!({"address": "192.0.2.1", "asn": asn, "toAdvertise": {"allowed": {"mode": "filtered", "prefixes": prefixes}}});
        let router = json!({"asn": 64512, "neighbors": [neighbor], "prefixes": prefixes});
        let spec = json!({"nodeSelector": {}, "bgp": {"routers": [router]}});
        ("frrconfigurations", json!({"metadata": {"namespace": "frr-k8s-system", "name": name}, "spec": spec}))
    }

    /// What is there before: a Service that is announced.
    fn before() -> Vec<(&'static str, Value)> {
        vec![
            node("a"),
            service("web", "198.51.100.1"),
            endpoints("web", "a"),
            configuration("clarion-base-1", 64513, &["198.51.100.1/32"]),
        ]
    }

    #[rstest]
    #[case::nothing_wrong(configuration("clarion-base-2", 64513, &[]), "")]
    #[case::another_service(service("db", "198.51.100.2"), "")]
    #[case::two_holders(service("db", "198.51.100.1"), "is web's and db's")]
    #[case::an_address_is_lost(service("web", ""), "web loses 198.51.100.1")]
    #[case::of_nobody(configuration("clarion-base-2", 64513, &["198.51.100.9/32"]), "which nobody has")]
    #[case::withdrawn(configuration("clarion-base-1", 64513, &[]), "a withdraws 198.51.100.1/32")]
    #[case::not_to_be_merged(configuration("clarion-base-2", 64514, &[]), "a can't be merged")]
    fn a_rule_that_is_broken_is_told_of(#[case] (plural, object): (&str, Value), #[case] told: &str) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        let violations = runtime.block_on(async {
            let epoch = Epoch::begin();
            let store = Store::new(epoch, Judge::new(epoch));
            before().into_iter().for_each(|(plural, object)| store.put(plural, object));
            store.judge(Judge::is_steady);
            assert_eq!(store.judge(|judge| judge.settled()), Ok(()));
            store.put(plural, object);
            store.judge(|judge| judge.violations().to_vec())
        });
        assert_eq!(violations.is_empty(), told.is_empty(), "{violations:?}");
        assert!(told.is_empty() || violations.iter().any(|violation| violation.contains(told)), "{violations:?}");
    }
}
