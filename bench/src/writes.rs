use std::{
    collections::{BTreeMap, HashMap},
    pin::pin,
    time::Duration,
};

use clarion_api::{
    frr::{FRRConfiguration, MODE_ALL, Neighbor, Router},
    names,
};
use clarion_core::admit;
use futures::StreamExt as _;
use kube::{
    Api, ResourceExt as _,
    runtime::watcher::{self, Event, watcher},
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::Result;

/// Every write of an FRRConfiguration, as a daemon's watch shows it.
#[derive(Debug)]
pub struct Writes {
    receiver: mpsc::UnboundedReceiver<Write>,
    state: State,
}

/// One version of an object, or its deletion.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    /// When it was seen.
    pub at: Instant,
    /// The size of the object as JSON: what each daemon receives.
    pub bytes: usize,
    /// How things are from then on.
    pub after: State,
}

/// What there is, and what nodes are to announce by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The number of objects.
    pub objects: usize,
    /// The size of all of them as JSON.
    pub bytes: usize,
    /// The prefixes that every node announces.
    pub everywhere: usize,
    /// The prefixes that at least one node announces.
    pub anywhere: usize,
}

impl State {
    /// Whether each node announces so many prefixes, and all nodes the same ones.
    #[must_use]
    pub fn is_complete(&self, prefixes: usize) -> bool {
        self.everywhere == prefixes && self.anywhere == prefixes
    }
}

impl Writes {
    /// Begins to watch; the names of the nodes are their hostname labels too.
    #[must_use]
    pub fn of(api: Api<FRRConfiguration>, nodes: impl IntoIterator<Item = String>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(watch(api, Cluster::of(nodes), sender));
        Self { receiver, state: State::default() }
    }

    /// How things are after what was returned last.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// What is written until all nodes announce exactly so many prefixes, with the write that does it.
    ///
    /// # Errors
    /// If that takes longer than the patience.
    pub async fn until(&mut self, prefixes: usize, patience: Duration) -> Result<Vec<Write>> {
        let end = Instant::now() + patience;
        let mut writes = Vec::new();
        while !self.state.is_complete(prefixes) {
            let left = end.saturating_duration_since(Instant::now());
            let next = timeout(left, self.next()).await;
            writes.push(next.map_err(|_| self.unfinished(prefixes, patience))??);
        }
        Ok(writes)
    }

    /// What is written until all nodes announce exactly so many prefixes and nothing was written for so long.
    ///
    /// # Errors
    /// If that takes longer than the patience.
    pub async fn settled(&mut self, prefixes: usize, quiet: Duration, patience: Duration) -> Result<Vec<Write>> {
        let end = Instant::now() + patience;
        let mut writes = Vec::new();
        while Instant::now() < end {
            match timeout(quiet, self.next()).await {
                Ok(write) => writes.push(write?),
                Err(_) if self.state.is_complete(prefixes) => return Ok(writes),
                Err(_) => {}
            }
        }
        Err(self.unfinished(prefixes, patience).into())
    }

    async fn next(&mut self) -> Result<Write> {
        let write = self.receiver.recv().await;
        // A new list would hide what was written in between.
        let write = write.ok_or("the watch of FRRConfigurations broke, so writes can't be counted")?;
        self.state = write.after;
        Ok(write)
    }

    fn unfinished(&self, prefixes: usize, patience: Duration) -> String {
        let State { everywhere, anywhere, .. } = self.state;
        format!("after {patience:?}, {everywhere} prefixes are on all nodes and {anywhere} on any, not {prefixes}")
    }
}

async fn watch(api: Api<FRRConfiguration>, mut cluster: Cluster, sender: mpsc::UnboundedSender<Write>) {
    let mut events = pin!(watcher(api, watcher::Config::default()));
    let mut has_begun = false;
    while let Some(event) = events.next().await {
        let at = Instant::now();
        let bytes = match event {
            // It is tried again by itself, from where it was if that is possible.
            Err(_) => continue,
            Ok(Event::Init) if has_begun => return,
            Ok(Event::Init) => continue,
            Ok(Event::InitApply(object)) => {
                cluster.apply(&object);
                continue;
            }
            Ok(Event::InitDone) => {
                has_begun = true;
                continue;
            }
            Ok(Event::Apply(object)) => cluster.apply(&object),
            Ok(Event::Delete(object)) => cluster.delete(&object),
        };
        if sender.send(Write { at, bytes, after: cluster.state() }).is_err() {
            return;
        }
    }
}

/// What is known of all FRRConfigurations.
struct Cluster {
    /// The labels of each node.
    nodes: Vec<BTreeMap<String, String>>,
    objects: BTreeMap<String, Known>,
    /// How many objects have each node announce a prefix. Kept from write to write: who measures is not to be busy.
    carriers: HashMap<String, Vec<usize>>,
}

/// What is known of an FRRConfiguration.
struct Known {
    bytes: usize,
    /// Whether it is for each of [`Cluster::nodes`].
    selects: Vec<bool>,
    prefixes: Vec<String>,
}

impl Cluster {
    fn of(nodes: impl IntoIterator<Item = String>) -> Self {
        let labels = nodes.into_iter().map(|node| BTreeMap::from([(names::HOSTNAME_LABEL.to_owned(), node)]));
        Self { nodes: labels.collect(), objects: BTreeMap::new(), carriers: HashMap::new() }
    }

    fn apply(&mut self, object: &FRRConfiguration) -> usize {
        self.forget(object);
        let bytes = size(object);
        let selects = |labels| admit::selects(&object.spec, labels).is_ok_and(|selects| selects);
        let known = Known { bytes, selects: self.nodes.iter().map(selects).collect(), prefixes: announced(object) };
        for prefix in &known.prefixes {
            let counts = self.carriers.entry(prefix.clone()).or_insert_with(|| vec![0; self.nodes.len()]);
            for (count, selects) in counts.iter_mut().zip(&known.selects) {
                *count += usize::from(*selects);
            }
        }
        self.objects.insert(object.name_any(), known);
        bytes
    }

    fn delete(&mut self, object: &FRRConfiguration) -> usize {
        self.forget(object);
        size(object)
    }

    fn forget(&mut self, object: &FRRConfiguration) {
        let Some(known) = self.objects.remove(&object.name_any()) else { return };
        for prefix in &known.prefixes {
            let counts = self.carriers.get_mut(prefix).into_iter().flatten();
            for (count, selects) in counts.zip(&known.selects) {
                *count -= usize::from(*selects);
            }
        }
    }

    fn state(&self) -> State {
        let everywhere = self.carriers.values().filter(|counts| counts.iter().all(|count| *count > 0));
        let anywhere = self.carriers.values().filter(|counts| counts.iter().any(|count| *count > 0));
        State {
            objects: self.objects.len(),
            bytes: self.objects.values().map(|object| object.bytes).sum(),
            everywhere: everywhere.count(),
            anywhere: anywhere.count(),
        }
    }
}

fn size(object: &FRRConfiguration) -> usize {
    serde_json::to_string(object).map_or(0, |text| text.len())
}

/// What an object has its nodes tell any of their neighbors.
fn announced(object: &FRRConfiguration) -> Vec<String> {
    let routers = object.spec.bgp.iter().flat_map(|bgp| &bgp.routers);
    routers.flat_map(|router| router.neighbors.iter().flat_map(|neighbor| told(router, neighbor))).cloned().collect()
}

fn told<'a>(router: &'a Router, neighbor: &'a Neighbor) -> &'a [String] {
    match neighbor.to_advertise.as_ref().and_then(|advertise| advertise.allowed.as_ref()) {
        Some(allowed) if allowed.mode.as_deref() == Some(MODE_ALL) => &router.prefixes,
        Some(allowed) => &allowed.prefixes,
        None => &[],
    }
}

#[cfg(test)]
mod tests {
    use clarion_api::frr::MODE_FILTERED;
    use serde_json::json;

    use super::*;

    /// One that announces these prefixes, each named for the neighbor or all that the router has.
    fn object(name: &str, node: &str, mode: &str, prefixes: &[&str]) -> FRRConfiguration {
        let allowed = if mode == MODE_ALL { json!({"mode": mode}) } else { json!({"prefixes": prefixes}) };
        let neighbor = json!({"address": "192.0.2.1", "asn": 64513, "toAdvertise": {"allowed": allowed}});
        serde_json::from_value(json!({
            "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration", "metadata": {"name": name},
            "spec": {
                "nodeSelector": {"matchLabels": {names::HOSTNAME_LABEL: node}},
                "bgp": {"routers": [{"asn": 64512, "prefixes": prefixes, "neighbors": [neighbor]}]},
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_prefix_counts_as_everywhere_once_every_node_has_it() {
        let mut cluster = Cluster::of(["a", "b"].map(str::to_owned));
        let (one, two) = ("10.0.0.1/32", "10.0.0.2/32");
        let mut counts = |object: FRRConfiguration, stays: bool| {
            if stays {
                cluster.apply(&object)
            } else {
                cluster.delete(&object)
            };
            let State { objects, everywhere, anywhere, .. } = cluster.state();
            (objects, everywhere, anywhere)
        };
        assert_eq!(counts(object("a", "a", MODE_ALL, &[one, two]), true), (1, 0, 2));
        assert_eq!(counts(object("b", "b", MODE_FILTERED, &[one]), true), (2, 1, 2));
        assert_eq!(counts(object("b-2", "b", MODE_FILTERED, &[one, two]), true), (3, 2, 2));
        assert_eq!(counts(object("a", "a", MODE_ALL, &[]), false), (2, 0, 2));
    }
}
