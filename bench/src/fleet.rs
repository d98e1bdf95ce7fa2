//! Daemons of FRR-K8s, many of them in one process: what each receives, and what it makes of it.
//!
//! As a real one does, each lists and watches all FRRConfigurations of FRR-K8s's namespace, whatever they select, and merges
//! those that select its node. There is no FRR behind it: what is merged counts as announced.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use clarion_api::frr::FRRConfiguration;
use clarion_core::admit;
use clarion_envtest::history::{self, Moment};
use ipnet::IpNet;
use kube::{Api, Client};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{
    contents::{Contents, prefixes},
    locked,
    wire::{Meter, News, Traffic, Wire},
};

/// The labels of a node.
pub type Labels = BTreeMap<String, String>;

/// Simulated daemons, each of a node of its own.
#[derive(Debug)]
pub struct Fleet {
    daemons: Vec<Daemon>,
    told: mpsc::UnboundedReceiver<Told>,
    /// End with the fleet.
    _tasks: JoinSet<()>,
}

/// What a merge has changed of what a daemon announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The daemon's place in the fleet.
    pub daemon: usize,
    /// When it had merged.
    pub at: Instant,
    /// What is different.
    pub change: Change,
}

/// What is different after a merge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Prefixes that are there now: those that were not, and those that were taken away and given again since the last merge.
    pub appeared: BTreeSet<IpNet>,
    /// Prefixes that are no longer there.
    pub gone: BTreeSet<IpNet>,
}

/// What a daemon has done up to now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What it has received since its list.
    pub traffic: Traffic,
    /// How often it has merged.
    pub merges: u64,
    /// How often the merge was refused, upon which a daemon leaves its node as it was.
    pub refused: u64,
    /// Why, the last time.
    pub refusal: Option<String>,
}

#[derive(Debug)]
struct Daemon {
    meter: Meter,
    merged: Arc<Mutex<Merged>>,
}

impl Daemon {
    fn merged(&self) -> MutexGuard<'_, Merged> {
        locked(&self.merged)
    }

    fn done(&self) -> Done {
        let merged = self.merged();
        let Merged { merges, refused, .. } = *merged;
        Done { traffic: self.meter.traffic(), merges, refused, refusal: merged.refusal.clone() }
    }
}

impl Fleet {
    /// Starts a daemon for each of these nodes, which merges so long after the first of the changes that it merges together
    /// (FRR-K8s gives FRR a new configuration after three seconds).
    #[must_use]
    pub fn start(client: &Client, nodes: impl IntoIterator<Item = Labels>, debounce: Duration) -> Self {
        let (sender, told) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let mut daemons = Vec::new();
        for (number, labels) in nodes.into_iter().enumerate() {
            let wire = Wire::watch(Api::namespaced(client.clone(), "frr-k8s-system"));
            let daemon = Daemon { meter: wire.meter(), merged: Arc::default() };
            let merged = Arc::clone(&daemon.merged);
            let task = Task { number, node: Node::of(labels), wire, debounce, merged, told: sender.clone() };
            tasks.spawn(task.run());
            daemons.push(daemon);
        }
        Self { daemons, told, _tasks: tasks }
    }

    /// What the daemons have told since the last call.
    pub fn told(&mut self) -> Vec<Told> {
        std::iter::from_fn(|| self.told.try_recv().ok()).collect()
    }

    /// The fewest prefixes that a daemon announces.
    #[must_use]
    pub fn fewest(&self) -> usize {
        self.daemons.iter().map(|daemon| daemon.merged().prefixes.len()).min().unwrap_or_default()
    }

    /// How often, on all daemons together, one of these prefixes is missing, and how often another one is there.
    #[must_use]
    pub fn compare(&self, wanted: &BTreeSet<IpNet>) -> (usize, usize) {
        self.daemons.iter().fold((0, 0), |(missing, further), daemon| {
            let there = &daemon.merged().prefixes;
            (missing + wanted.difference(there).count(), further + there.difference(wanted).count())
        })
    }

    /// What each daemon has done.
    #[must_use]
    pub fn done(&self) -> Vec<Done> {
        self.daemons.iter().map(Daemon::done).collect()
    }
}

/// What runs for a daemon.
struct Task {
    number: usize,
    node: Node,
    wire: Wire<FRRConfiguration>,
    debounce: Duration,
    merged: Arc<Mutex<Merged>>,
    told: mpsc::UnboundedSender<Told>,
}

impl Task {
    async fn run(mut self) {
        let mut due = None;
        loop {
            match within(due, self.wire.next()).await {
                Some(Some((news, at))) => {
                    if self.node.take(news) {
                        due.get_or_insert(at + self.debounce);
                    }
                }
                Some(None) => return,
                None => {
                    due = None;
                    self.merge();
                }
            }
        }
    }

    fn merge(&mut self) {
        let outcome = self.node.merge();
        let mut merged = locked(&self.merged);
        if let Some(change) = merged.after(outcome, &mut self.node.withdrawn) {
            // Nobody listens: the fleet is about to end, and this with it.
            let _ = self.told.send(Told { daemon: self.number, at: Instant::now(), change });
        }
    }
}

/// What comes, unless something is due before.
async fn within<T>(due: Option<Instant>, next: impl Future<Output = T>) -> Option<T> {
    match due {
        Some(due) => timeout_at(due, next).await.ok(),
        None => Some(next.await),
    }
}

/// What is known on a node.
#[derive(Debug)]
struct Node {
    labels: Labels,
    /// The objects that select it.
    selected: Moment,
    contents: Contents,
    /// What was in none of these objects for a moment since the last merge.
    withdrawn: BTreeSet<IpNet>,
}

impl Node {
    fn of(labels: Labels) -> Self {
        Self { labels, selected: Moment::new(), contents: Contents::default(), withdrawn: BTreeSet::new() }
    }

    /// Takes what the watch tells; whether anything of it concerns the node.
    fn take(&mut self, news: News<FRRConfiguration>) -> bool {
        let mut concerns = false;
        for (name, object) in news.by_name(self.selected.keys().cloned()) {
            concerns |= self.set(name, object);
        }
        concerns
    }

    fn set(&mut self, name: String, object: Option<FRRConfiguration>) -> bool {
        // A selector that can't be parsed fails every node; the merge says so.
        let selects = |object: &FRRConfiguration| admit::selects(&object.spec, &self.labels).unwrap_or(true);
        let object = object.filter(selects);
        let shift = self.contents.set(&name, object.as_ref().map(prefixes).unwrap_or_default());
        self.withdrawn.extend(shift.gone);
        let did_select = self.selected.remove(&name).is_some();
        let does_select = object.is_some();
        self.selected.extend(object.map(|object| (name, object)));
        did_select || does_select
    }

    /// The prefixes of all sessions together.
    fn merge(&self) -> Result<BTreeSet<IpNet>, String> {
        let config = history::merged(&self.selected, &self.labels)?;
        Ok(history::sessions(&config).into_values().flatten().collect())
    }
}

/// What has come of all merges of a daemon.
#[derive(Debug, Default)]
struct Merged {
    merges: u64,
    refused: u64,
    refusal: Option<String>,
    prefixes: BTreeSet<IpNet>,
}

impl Merged {
    /// Takes what a merge has come to; what that changes, if anything. What was withdrawn before it is forgotten with it.
    fn after(&mut self, outcome: Result<BTreeSet<IpNet>, String>, withdrawn: &mut BTreeSet<IpNet>) -> Option<Change> {
        self.merges += 1;
        let now = match outcome {
            Ok(now) => now,
            Err(refusal) => {
                self.refused += 1;
                self.refusal = Some(refusal);
                return None;
            }
        };
        let withdrawn = std::mem::take(withdrawn);
        let is_new = |prefix: &&IpNet| !self.prefixes.contains(prefix) || withdrawn.contains(prefix);
        let change = Change {
            appeared: now.iter().filter(is_new).copied().collect(),
            gone: self.prefixes.difference(&now).copied().collect(),
        };
        self.prefixes = now;
        (change != Change::default()).then_some(change)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, nodes: &[&str], asn: u32, prefixes: &[&str]) -> FRRConfiguration {
        let neighbor = json!({
            "address": "192.0.2.1", "asn": asn, "toAdvertise": {"allowed": {"mode": "filtered", "prefixes": prefixes}},
        });
        let selector = json!([{"key": "kubernetes.io/hostname", "operator": "In", "values": nodes}]);
        serde_json::from_value(json!({
            "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration", "metadata": {"name": name},
            "spec": {
                "nodeSelector": {"matchExpressions": selector},
                "bgp": {"routers": [{"asn": 64512, "prefixes": prefixes, "neighbors": [neighbor]}]},
            },
        }))
        .unwrap()
    }

    fn set(prefixes: &[&str]) -> BTreeSet<IpNet> {
        prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect()
    }

    /// The daemon of node-a.
    struct Scene(Node, Merged);

    impl Scene {
        fn new() -> Self {
            let labels = Labels::from([("kubernetes.io/hostname".to_owned(), "node-a".to_owned())]);
            Self(Node::of(labels), Merged::default())
        }

        fn take(&mut self, object: FRRConfiguration) -> bool {
            self.0.take(News::Is(object))
        }

        fn merge(&mut self) -> Option<Change> {
            let outcome = self.0.merge();
            self.1.after(outcome, &mut self.0.withdrawn)
        }
    }

    const P: &str = "198.51.100.1/32";
    const Q: &str = "198.51.100.2/32";

    #[test]
    fn only_what_selects_the_node_is_merged() {
        let mut scene = Scene::new();
        assert!(!scene.take(object("b", &["node-b"], 64513, &[Q])));
        assert!(scene.take(object("a", &["node-a", "node-b"], 64513, &[P])));
        assert_eq!(scene.merge(), Some(Change { appeared: set(&[P]), gone: set(&[]) }));
        // It selects another node from now on.
        assert!(scene.take(object("a", &["node-b"], 64513, &[P])));
        assert_eq!(scene.merge(), Some(Change { appeared: set(&[]), gone: set(&[P]) }));
        assert!(!scene.0.take(News::Gone(object("a", &["node-b"], 64513, &[P]))));
    }

    #[test]
    fn a_prefix_that_moves_to_another_object_changes_nothing() {
        let mut scene = Scene::new();
        scene.take(object("a", &["node-a"], 64513, &[P]));
        scene.merge();
        scene.take(object("b", &["node-a"], 64513, &[P]));
        scene.take(object("a", &["node-a"], 64513, &[]));
        assert_eq!(scene.merge(), None);
    }

    #[test]
    fn what_is_withdrawn_and_announced_before_the_next_merge_appears_again() {
        let mut scene = Scene::new();
        scene.take(object("a", &["node-a"], 64513, &[P, Q]));
        scene.merge();
        scene.take(object("a", &["node-a"], 64513, &[Q]));
        scene.take(object("a", &["node-a"], 64513, &[P, Q]));
        assert_eq!(scene.merge(), Some(Change { appeared: set(&[P]), gone: set(&[]) }));
        assert_eq!(scene.merge(), None);
    }

    #[test]
    fn a_refused_merge_leaves_everything_as_it_was() {
        let mut scene = Scene::new();
        scene.take(object("a", &["node-a"], 64513, &[P]));
        scene.merge();
        scene.take(object("b", &["node-a"], 64514, &[Q]));
        assert_eq!(scene.merge(), None);
        assert_eq!((scene.1.merges, scene.1.refused, &scene.1.prefixes), (2, 1, &set(&[P])));
        assert!(scene.1.refusal.is_some());
        scene.0.take(News::Gone(object("a", &["node-a"], 64513, &[P])));
        assert_eq!(scene.merge(), Some(Change { appeared: set(&[Q]), gone: set(&[P]) }));
    }

    #[test]
    fn a_selector_that_cannot_be_parsed_fails_the_node() {
        let mut scene = Scene::new();
        assert!(scene.take(object("nobody", &[], 64513, &[P])));
        assert_eq!(scene.merge(), None);
        assert_eq!(scene.1.refused, 1);
    }
}
