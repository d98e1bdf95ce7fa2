//! A large cluster on a real control plane: 1,000 nodes and as many Services as the argument says (5,000 if there is none), all
//! announced from all nodes to one peer.
//!
//! How many FRRConfigurations there are and how large, what one Service more changes of them, whether a restart writes
//! anything, whether all is calm afterwards, and how much memory the operator has.

use std::{
    collections::BTreeMap,
    pin::pin,
    time::{Duration, Instant},
};

use clarion_api::frr::FRRConfiguration;
use clarion_envtest::{ControlPlane, Operator};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc::{self, error::TryRecvError},
    time::{sleep, timeout},
};

type Error = Box<dyn std::error::Error>;
type Result<T> = std::result::Result<T, Error>;

const NODES: usize = 1_000;
const IN_FLIGHT: usize = 32;
/// Long enough for anything that is still to come.
const QUIET: Duration = Duration::from_secs(5);
const CALM: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let count = std::env::args().nth(1).map_or(Ok(5_000), |text| text.parse::<usize>())?;
    let control_plane = ControlPlane::with_frr_k8s().await?;
    let client = control_plane.client();
    println!("creating {NODES} Nodes and {count} Services, which takes a minute");
    control_plane.apply(&configuration()?).await?;
    create::<Node>(&Api::all(client.clone()), NODES, node).await?;
    let (slices, services) =
        (Api::<EndpointSlice>::default_namespaced(client.clone()), Api::<Service>::default_namespaced(client.clone()));
    create(&slices, count + 1, slice).await?;
    create(&services, count, service).await?;

    let started = Instant::now();
    let mut operator = start(&control_plane).await?;
    let configurations: Api<FRRConfiguration> = Api::namespaced(client.clone(), "frr-k8s-system");
    let expected = NODES * count;
    while announced(&configurations).await? < expected {
        sleep(Duration::from_secs(2)).await;
    }
    println!("announced everywhere after {:.1?}, memory of the operator {}", started.elapsed(), memory(&operator)?);
    let (objects, bytes) = size(&configurations).await?;
    figure("FRRConfigurations, bytes in all", bytes, 2_500_000);
    println!("in {objects} objects");
    // Conditions of Services and statuses of peers are last.
    quiet(&mut changes::<Service>(&client)).await?;

    let mut seen = changes::<FRRConfiguration>(&client);
    quiet(&mut seen).await?;
    services.create(&PostParams::default(), &from(service(count))?).await?;
    let (writes, bytes) = quiet(&mut seen).await?;
    figure("writes for one Service more", writes, 16);
    figure("bytes of these writes", bytes, 250_000);

    operator.process.signal("KILL")?;
    operator.ended().await?;
    operator = start(&control_plane).await?;
    sleep(Duration::from_secs(20)).await;
    let (writes, _) = quiet(&mut seen).await?;
    figure("writes of FRRConfigurations after a restart", writes, 0);

    let mut all = changes::<Service>(&client);
    quiet(&mut all).await?;
    let cpu = processor_time(&operator)?;
    sleep(CALM).await;
    let written = taken(&mut all).0 + taken(&mut seen).0;
    figure("writes in a minute in which nothing changes", written, 0);
    let share = (processor_time(&operator)? - cpu).as_secs_f64() / CALM.as_secs_f64();
    println!("{:46} {:>7.2} % of a core", "the operator in this minute", 100.0 * share);
    println!("memory of the operator {}", memory(&operator)?);
    Ok(())
}

fn figure(name: &str, reached: usize, bound: usize) {
    let verdict = if reached <= bound { "reached" } else { "MISSED" };
    println!("{name:46} {reached:>10}, to reach {bound:>10}: {verdict}");
}

async fn start(control_plane: &ControlPlane) -> Result<Operator> {
    let kubeconfig = control_plane.operator_kubeconfig();
    let mut operator = Operator::start_with(control_plane, &kubeconfig, &["--lease-duration", "15s"])?;
    operator.leading().await?;
    Ok(operator)
}

fn configuration() -> Result<Vec<kube::core::DynamicObject>> {
    let object = |kind: &str, spec: Value| json!({"apiVersion": "clarionlb.io/v1beta1", "kind": kind, "metadata": {"name": "bench"}, "spec": spec});
    let peer = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"});
    let objects = [
        object("LoadBalancerPool", json!({"addresses": ["10.200.0.0/16"]})),
        object("RouterPeer", peer),
        object("LoadBalancerAdvertisement", json!({})),
    ];
    objects.into_iter().map(|object| Ok(serde_json::from_value(object)?)).collect()
}

fn node(n: usize) -> Value {
    let name = format!("node-{n}");
    json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})
}

fn service(n: usize) -> Value {
    json!({
        "metadata": {"name": format!("bench-{n}")},
        "spec": {
            "type": "LoadBalancer", "loadBalancerClass": "clarionlb.io/bgp", "ports": [{"port": 80}],
            "allocateLoadBalancerNodePorts": false,
        },
    })
}

fn slice(n: usize) -> Value {
    json!({
        "metadata": {"name": format!("bench-{n}-1"), "labels": {"kubernetes.io/service-name": format!("bench-{n}")}},
        "addressType": "IPv4", "endpoints": [{"addresses": ["10.244.0.1"]}], "ports": [{"port": 80}],
    })
}

fn from<K: serde::de::DeserializeOwned>(value: Value) -> Result<K> {
    Ok(serde_json::from_value(value)?)
}

/// Creates so many objects.
async fn create<K>(api: &Api<K>, count: usize, object: fn(usize) -> Value) -> Result<()>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let mut outcomes = stream::iter((0..count).map(|n| async move {
        api.create(&PostParams::default(), &from(object(n))?).await.map(drop).map_err(Error::from)
    }))
    .buffer_unordered(IN_FLIGHT);
    while let Some(outcome) = outcomes.next().await {
        outcome?;
    }
    Ok(())
}

/// For how many pairs of a node and a prefix there is an FRRConfiguration.
async fn announced(configurations: &Api<FRRConfiguration>) -> Result<usize> {
    let list = configurations.list(&ListParams::default()).await?;
    let pairs = list.items.iter().map(|object| {
        let selector =
            object.spec.node_selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten());
        let hosts: usize = selector.map(|expression| expression.values.iter().flatten().count()).sum();
        let routers = object.spec.bgp.iter().flat_map(|bgp| &bgp.routers);
        hosts * routers.map(|router| router.prefixes.len()).sum::<usize>()
    });
    Ok(pairs.sum())
}

/// The number of objects, and their size as a daemon's watch has it.
async fn size(configurations: &Api<FRRConfiguration>) -> Result<(usize, usize)> {
    let list = configurations.list(&ListParams::default()).await?;
    let sizes: serde_json::Result<Vec<usize>> =
        list.items.iter().map(|object| Ok(serde_json::to_string(object)?.len())).collect();
    Ok((list.items.len(), sizes?.into_iter().sum()))
}

/// Tells the size of each version of an object that a watch shows after its first list.
fn changes<K>(client: &Client) -> mpsc::UnboundedReceiver<usize>
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned
        + Send
        + 'static,
{
    let (sender, receiver) = mpsc::unbounded_channel();
    let api: Api<K> = Api::all(client.clone());
    tokio::spawn(async move {
        let mut events = pin!(watcher(api, watcher::Config::default()).touched_objects());
        let mut known: BTreeMap<String, Option<String>> = BTreeMap::new();
        while let Some(event) = events.next().await {
            let Ok(object) = event else { continue };
            let version = object.resource_version();
            if known.insert(object.name_any(), version.clone()) == Some(version) {
                continue;
            }
            let bytes = serde_json::to_string(&object).map_or(0, |text| text.len());
            if sender.send(bytes).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Waits until nothing changes any more; how many changes there were until then, and their bytes.
async fn quiet(seen: &mut mpsc::UnboundedReceiver<usize>) -> Result<(usize, usize)> {
    let (mut count, mut bytes) = (0, 0);
    while let Ok(change) = timeout(QUIET, seen.recv()).await {
        bytes += change.ok_or("the watch has ended")?;
        count += 1;
    }
    Ok((count, bytes))
}

/// What has changed up to now.
fn taken(seen: &mut mpsc::UnboundedReceiver<usize>) -> (usize, usize) {
    let (mut count, mut bytes) = (0, 0);
    loop {
        match seen.try_recv() {
            Ok(change) => (count, bytes) = (count + 1, bytes + change),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => return (count, bytes),
        }
    }
}

/// What the kernel says of the operator's memory: now, and at most.
fn memory(operator: &Operator) -> Result<String> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", operator.process.pid()))?;
    let megabytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<f64>().ok());
        kilobytes.map(|kilobytes| kilobytes * 1024.0 / 1e6).ok_or("no such line")
    };
    Ok(format!("{:.0} MB, at most {:.0} MB", megabytes("VmRSS:")?, megabytes("VmHWM:")?))
}

/// The processor time that the operator has taken, in the kernel's ticks of 10 ms.
fn processor_time(operator: &Operator) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", operator.process.pid()))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no such line")?;
    let ticks = fields.split_ascii_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(Duration::from_millis(10 * ticks.sum::<std::result::Result<u64, _>>()?))
}
