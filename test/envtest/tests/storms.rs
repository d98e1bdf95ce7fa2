//! What happens to many objects at once, and calm afterwards: nobody loses an address, no two have the same, and nothing is
//! written any more once everything is as it should be.
//!
//! `CLARION_STORM=1000x5000` for so many nodes and Services, and a whole minute of calm.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use clarion_api::{LoadBalancerAdvertisement, LoadBalancerPool, RouterPeer};
use clarion_envtest::{
    Action, ControlPlane, Operator, Proxy, crowd,
    history::{merged, sessions},
    wait,
};
use futures::StreamExt as _;
use http::Method;
use ipnet::IpNet;
use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde_json::json;
use tokio::time::sleep;

use crate::cluster::{Cluster, object};

/// Watches expire so often.
const EXPIRY: Duration = Duration::from_secs(10);
/// Endpoints that change a second.
const FLAPS_PER_SECOND: u32 = 50;

/// What the manifests give the operator.
const MEMORY_LIMIT: u64 = 512 * 1024 * 1024;

/// Everything is looked at so often at most.
const POLL: Duration = Duration::from_millis(300);

struct Storm {
    cluster: Cluster,
    operator: Operator,
    _proxy: Proxy,
    nodes: usize,
    services: usize,
    calm: Duration,
    wrong: Arc<Mutex<Vec<String>>>,
}

impl Storm {
    /// So many nodes and Services, all announced to one peer; some nodes will have another.
    async fn start() -> Self {
        let size = std::env::var("CLARION_STORM").ok();
        let (nodes, services) = size.as_deref().and_then(|size| size.split_once('x')).unwrap_or(("24", "120"));
        let (nodes, services) = (nodes.parse().unwrap(), services.parse().unwrap());
        let cluster = Cluster(ControlPlane::with_frr_k8s().await.unwrap());
        crowd::configure(&cluster.0).await.unwrap();
        cluster.0.apply(&[second_peer()]).await.unwrap();
        let client = cluster.0.client();
        crowd::create(&Api::<Node>::all(client.clone()), (0..nodes).map(crowd::node)).await.unwrap();
        let slices = Api::<EndpointSlice>::default_namespaced(client);
        crowd::create(&slices, (0..services).map(|n| crowd::slice(n, nodes))).await.unwrap();
        crowd::create(&cluster.services(), (0..services).map(crowd::service)).await.unwrap();
        let proxy = Proxy::start(&cluster.0, |method, uri| {
            let watches = uri.query().is_some_and(|query| query.contains("watch=true"));
            if *method == Method::GET && watches { Action::Expire(EXPIRY) } else { Action::Pass }
        })
        .await
        .unwrap();
        let operator = Operator::start_with(&cluster.0, proxy.kubeconfig(), &["--lease-duration", "60s"]).unwrap();
        let calm = if size.is_some() { Duration::from_secs(60) } else { Duration::from_secs(3) };
        let wrong = watch_addresses(cluster.services());
        Self { cluster, operator, _proxy: proxy, nodes, services, calm, wrong }
    }

    /// Waits until each node announces the addresses of exactly the Services of these numbers on so many sessions, and all is calm.
    async fn settles(&mut self, what: &str, announced: Range<usize>, sessions_of_node: usize) {
        wait::until_within(wait::PATIENCE * 10, what, async || self.is_as_expected(&announced, sessions_of_node).await)
            .await
            .unwrap();
        wait::until_within(wait::PATIENCE * 10, "calm", async || {
            let before = self.versions().await.map_err(|error| error.to_string())?;
            sleep(self.calm).await;
            let after = self.versions().await.map_err(|error| error.to_string())?;
            let changed: Vec<_> = after.iter().filter(|(name, version)| before.get(*name) != Some(version)).collect();
            if changed.is_empty() && after.len() == before.len() {
                Ok(())
            } else {
                Err(format!("written: {changed:?}"))
            }
        })
        .await
        .unwrap();
        assert_eq!(*self.wrong.lock().unwrap(), Vec::<String>::new(), "{what}");
        assert_eq!(self.operator.process.exited().unwrap(), None, "{}", self.operator.process.log());
        let (_, metrics) = self.operator.get("/metrics").await.unwrap();
        for lane in ["configurations", "statuses"] {
            let line = format!("clarion_writes_waiting{{lane=\"{lane}\"}} 0\n");
            assert!(metrics.contains(&line), "{what}: {line} is not in:\n{metrics}");
        }
        let memory = self.operator.process.memory().unwrap();
        assert!(memory.peak < MEMORY_LIMIT, "{what}: {memory:?}");
        println!("{what}: {memory:?}");
    }

    async fn is_as_expected(&self, announced: &Range<usize>, sessions_of_node: usize) -> Result<(), String> {
        sleep(POLL).await;
        let services = self.cluster.services().list(&ListParams::default()).await.map_err(|e| e.to_string())?;
        let names: BTreeSet<String> = announced.clone().map(crowd::service_name).collect();
        let services = services.iter().filter(|service| names.contains(&service.name_any()));
        let addresses: BTreeSet<IpNet> = services.flat_map(crowd::addresses).map(IpNet::from).collect();
        if addresses.len() != announced.len() {
            return Err(format!("{} Services have {} addresses", announced.len(), addresses.len()));
        }
        let configurations =
            self.cluster.configurations().list(&ListParams::default()).await.map_err(|e| e.to_string())?;
        let moment = configurations.items.into_iter().map(|object| (object.name_any(), object)).collect();
        let nodes =
            Api::<Node>::all(self.cluster.0.client()).list(&ListParams::default()).await.map_err(|e| e.to_string())?;
        for node in nodes {
            let sessions = sessions(&merged(&moment, node.labels())?);
            if sessions.len() != sessions_of_node || sessions.values().any(|prefixes| *prefixes != addresses) {
                let counts: Vec<usize> = sessions.values().map(BTreeSet::len).collect();
                return Err(format!("{} announces {counts:?} prefixes, not {}", node.name_any(), addresses.len()));
            }
        }
        Ok(())
    }

    /// The versions of everything that the operator writes.
    async fn versions(&self) -> Result<BTreeMap<String, String>, kube::Error> {
        let all = ListParams::default();
        let services = self.cluster.services().list(&all).await?.items;
        let configurations = self.cluster.configurations().list(&all).await?.items;
        let client = self.cluster.0.client();
        let pools = Api::<LoadBalancerPool>::all(client.clone()).list(&all).await?.items;
        let peers = Api::<RouterPeer>::all(client.clone()).list(&all).await?.items;
        let advertisements = Api::<LoadBalancerAdvertisement>::all(client).list(&all).await?.items;
        let own =
            versions("pool", &pools).chain(versions("peer", &peers)).chain(versions("advertisement", &advertisements));
        let written = versions("Service", &services).chain(versions("FRRConfiguration", &configurations));
        Ok(own.chain(written).collect())
    }

    /// Makes the endpoints of the Services of these numbers ready, or not.
    async fn set_ready(&self, numbers: impl Iterator<Item = (usize, bool)>) {
        let slices = Api::<EndpointSlice>::default_namespaced(self.cluster.0.client());
        crowd::paced(FLAPS_PER_SECOND, numbers, async |(n, ready)| {
            let endpoint = json!({"addresses": ["10.244.0.1"], "conditions": {"ready": ready}});
            let patch = Patch::Merge(json!({"endpoints": [endpoint]}));
            slices.patch(&crowd::slice_name(n), &PatchParams::default(), &patch).await.map(drop)
        })
        .await
        .unwrap();
    }
}

/// A peer of the nodes of one rack.
fn second_peer() -> DynamicObject {
    object(json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "RouterPeer", "metadata": {"name": "second"},
        "spec": {
            "myASN": 64512, "peerASN": 64514, "peerAddress": "192.0.2.2",
            "nodeSelectors": [{"matchLabels": {"rack": "two"}}],
        },
    }))
}

/// Objects of a kind, with their resource versions.
fn versions<K: ResourceExt>(kind: &str, objects: &[K]) -> impl Iterator<Item = (String, String)> {
    let version = |object: &K| object.resource_version().unwrap_or_default();
    objects.iter().map(move |object| (format!("{kind} {}", object.name_any()), version(object)))
}

/// Notes each Service that loses its address without being deleted, and each address that two have at the same time.
fn watch_addresses(services: Api<Service>) -> Arc<Mutex<Vec<String>>> {
    let wrong = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&wrong);
    tokio::spawn(async move {
        let mut events = watcher(services, watcher::Config::default()).default_backoff().boxed();
        let (mut known, mut listed) = (BTreeMap::<String, Vec<IpAddr>>::new(), BTreeSet::new());
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitDone) => known.retain(|name, _| listed.contains(name)),
                Ok(Event::Delete(service)) => drop(known.remove(&service.name_any())),
                Ok(Event::InitApply(service) | Event::Apply(service)) => {
                    let (name, now) = (service.name_any(), crowd::addresses(&service));
                    listed.insert(name.clone());
                    let shared =
                        known.iter().find(|(other, held)| **other != name && held.iter().any(|a| now.contains(a)));
                    let mut noted = noted.lock().unwrap();
                    noted.extend(shared.map(|(other, _)| format!("{name} and {other} both have {now:?}")));
                    let before = known.insert(name.clone(), now.clone()).unwrap_or_default();
                    if !before.is_empty() && before != now {
                        noted.push(format!("{name} had {before:?} and has {now:?}"));
                    }
                }
                // It is begun again by itself.
                Err(_) => {}
            }
        }
    });
    wrong
}

#[tokio::test]
async fn storms_pass_and_calm_follows() {
    let mut storm = Storm::start().await;
    let (nodes, services) = (storm.nodes, storm.services);
    storm.settles("all announced", 0..services, 1).await;

    let relabel = async |rack: &str| {
        let api = Api::<Node>::all(storm.cluster.0.client());
        let patch = Patch::Merge(json!({"metadata": {"labels": {"rack": rack}}}));
        let names = (0..nodes).map(crowd::node_name);
        crowd::each(names, async |name| api.patch(&name, &PatchParams::default(), &patch).await.map(drop))
            .await
            .unwrap();
    };
    relabel("one").await;
    relabel("two").await;
    storm.settles("all nodes relabelled", 0..services, 2).await;

    let flapping = services.min(500);
    // One after the other: two changes of one object at the same time may land in any order.
    storm.set_ready((0..flapping).map(|n| (n, false))).await;
    storm.set_ready((0..flapping).map(|n| (n, true))).await;
    storm.set_ready((0..flapping / 2).map(|n| (n, false))).await;
    storm.settles("endpoints flapped", flapping / 2..services, 2).await;

    // What has just changed is not written yet.
    storm.set_ready((0..flapping / 4).map(|n| (n, true))).await;
    storm.cluster.0.stop_api_server();
    storm.cluster.0.start_api_server().await.unwrap();
    storm.set_ready((flapping / 4..flapping / 2).map(|n| (n, true))).await;
    storm.settles("the API server restarted", 0..services, 2).await;

    let api = storm.cluster.services();
    let kept = services / 10;
    let names = (kept..services).map(crowd::service_name);
    crowd::each(names, async |name| api.delete(&name, &DeleteParams::default()).await.map(drop)).await.unwrap();
    storm.settles("most Services deleted", 0..kept, 2).await;
}
