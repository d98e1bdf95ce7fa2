use std::collections::BTreeMap;

use clarion_api::frr::{FRRConfiguration, FRRNodeState, Raw, SUCCESS};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{ControlPlane, Daemon, Error, FrrConf, wait};

/// Real daemons that convert one set of FRRConfigurations after the other.
///
/// All sets are in the cluster at once, each under a further label that its objects want of a node. A daemon takes a set up
/// when its Node gets that label, all objects in one moment; a comment at the end of FRR's configuration tells that it has.
/// Between two sets it has an empty one if the first failed, so that one's failure is not taken for another's.
#[derive(Debug)]
pub struct Converter {
    daemons: Vec<(String, Daemon)>,
    nodes: Api<Node>,
    states: Api<FRRNodeState>,
    configurations: Api<FRRConfiguration>,
    batch: usize,
}

/// FRRConfigurations, and a node for them.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// The labels of the node.
    pub labels: BTreeMap<String, String>,
    /// The objects, in the cluster under other names, in the same order of names. None may have a selector that can't be
    /// parsed: it would fail all sets.
    pub objects: Vec<FRRConfiguration>,
}

/// What the daemon makes of a set, or what it says of its failure.
pub type Conversion = Result<FrrConf, String>;

/// Which set a node has.
const SET: &str = "envtest/set";
/// Later than any other raw text.
const LAST: i64 = i32::MAX as i64;
/// Writes in flight.
const WRITES: usize = 8;

impl Converter {
    /// Starts so many daemons, on a control plane with FRR-K8s's CRDs and without other FRRConfigurations.
    ///
    /// # Errors
    /// If one can't be started.
    pub async fn start(control_plane: &ControlPlane, daemons: usize) -> Result<Self, Error> {
        let client = control_plane.client();
        let mut this = Self {
            daemons: Vec::new(),
            nodes: Api::all(client.clone()),
            states: Api::all(client.clone()),
            configurations: Api::namespaced(client, "frr-k8s-system"),
            batch: 0,
        };
        for index in 0..daemons {
            let node = format!("converter-{index}");
            this.take_up(&node, "none", &BTreeMap::new()).await?;
            this.daemons.push((node.clone(), Daemon::start(control_plane, &node)?));
        }
        Ok(this)
    }

    /// Has the daemons convert all these sets, and returns what came of each, in their order. Secrets that they name must be
    /// there; the FRRConfigurations are gone afterwards.
    ///
    /// # Errors
    /// If the API server refuses an object, or a daemon does not come to an end.
    pub async fn convert(&mut self, loads: &[Load]) -> Result<Vec<Conversion>, Error> {
        self.batch += 1;
        let idle = format!("idle-{}", self.batch);
        let set = |index: usize| format!("set-{}-{index}", self.batch);
        let numbered = || loads.iter().enumerate();
        let objects = numbered().flat_map(|(index, load)| load.objects.iter().map(move |o| of_set(o, &set(index))));
        let markers = numbered().map(|(index, _)| marker(&set(index)));
        stream::iter(objects.chain(markers).map(Ok)).try_for_each_concurrent(WRITES, |o| self.create(o)).await?;
        // Written last, so a daemon that has seen it has seen all.
        self.create(marker(&idle)).await?;
        let workers = self.daemons.iter().enumerate().map(|(first, (node, daemon))| {
            let sets =
                numbered().skip(first).step_by(self.daemons.len()).map(|(index, load)| (index, set(index), load));
            self.work(node, daemon, &idle, sets.collect())
        });
        let mut conversions: Vec<_> =
            stream::iter(workers).buffer_unordered(WRITES).try_collect::<Vec<_>>().await?.concat();
        conversions.sort_by_key(|(index, _)| *index);
        self.configurations.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        Ok(conversions.into_iter().map(|(_, conversion)| conversion).collect())
    }

    async fn create(&self, object: FRRConfiguration) -> Result<(), Error> {
        self.configurations.create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// What one daemon makes of its share.
    async fn work(
        &self,
        node: &str,
        daemon: &Daemon,
        idle: &str,
        sets: Vec<(usize, String, &Load)>,
    ) -> Result<Vec<(usize, Conversion)>, Error> {
        self.rest(node, daemon, idle).await?;
        let mut conversions = Vec::new();
        for (index, set, load) in sets {
            self.take_up(node, &set, &load.labels).await?;
            let what = format!("a conversion of {set} by {node}");
            let conversion = until(&what, async || {
                if let Some(text) = converted(daemon, &set) {
                    return Ok(Ok(FrrConf::parse(&text)));
                }
                let result = self.result(node).await?;
                if result == SUCCESS { Err(result) } else { Ok(Err(result)) }
            });
            let conversion = conversion.await?;
            if conversion.is_err() {
                self.rest(node, daemon, idle).await?;
            }
            conversions.push((index, conversion));
        }
        Ok(conversions)
    }

    /// Gives a node the empty set, and waits until its daemon has and has told of it.
    async fn rest(&self, node: &str, daemon: &Daemon, idle: &str) -> Result<(), Error> {
        self.take_up(node, idle, &BTreeMap::new()).await?;
        until(&format!("rest of {node}"), async || {
            let result = self.result(node).await?;
            if result == SUCCESS && converted(daemon, idle).is_some() { Ok(()) } else { Err(result) }
        })
        .await
    }

    /// Sets all labels of a Node.
    async fn take_up(&self, node: &str, set: &str, labels: &BTreeMap<String, String>) -> Result<(), Error> {
        let mut labels = labels.clone();
        labels.insert(SET.to_owned(), set.to_owned());
        let patch = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": labels}});
        self.nodes.patch(node, &PatchParams::apply("converter").force(), &Patch::Apply(patch)).await?;
        Ok(())
    }

    /// What a daemon says of its last conversion.
    async fn result(&self, node: &str) -> Result<String, String> {
        let state = self.states.get(node).await.map_err(|error| error.to_string())?;
        let result = state.status.and_then(|status| status.last_conversion_result);
        result.filter(|result| !result.is_empty()).ok_or_else(|| "no result yet".to_owned())
    }
}

async fn until<T>(what: &str, check: impl AsyncFnMut() -> Result<T, String>) -> Result<T, Error> {
    wait::until(what, check).await.map_err(|why| Error::Command(what.to_owned(), why))
}

/// An object as one of a set.
fn of_set(object: &FRRConfiguration, set: &str) -> FRRConfiguration {
    let mut spec = object.spec.clone();
    let selector = spec.node_selector.get_or_insert_default();
    selector.match_labels.get_or_insert_default().insert(SET.to_owned(), set.to_owned());
    FRRConfiguration::new(&format!("{set}-{}", object.name_any()), spec)
}

fn comment(set: &str) -> String {
    format!("! {set}")
}

/// The object by which a converted set is known.
fn marker(set: &str) -> FRRConfiguration {
    let mut object = FRRConfiguration::new("marker", clarion_api::frr::FrrConfigurationSpec::default());
    object.spec.raw = Some(Raw { priority: Some(LAST), raw_config: Some(comment(set)), ..Raw::default() });
    of_set(&object, set)
}

/// FRR's configuration, if it is that of a set, to its end.
fn converted(daemon: &Daemon, set: &str) -> Option<String> {
    Some(daemon.configuration()).filter(|text| text.trim_end().lines().next_back() == Some(comment(set).as_str()))
}
