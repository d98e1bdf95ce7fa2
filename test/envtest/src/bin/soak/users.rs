//! What users and machines do: Services, endpoints, pools, peers, advertisements, Nodes, and FRRConfigurations beside Clarion's.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use clarion_api::names;
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{judge::Judge, objects::AT_ODDS, shared::Shared, tally::Tally};

const NODES: usize = 6;
/// Nodes that stay.
const STAY: usize = 2;
const SERVICES: usize = 60;
/// Services that seldom change.
const CALM: usize = 20;
const KEYS: [&str; 3] = ["red", "green", "blue"];
/// The router of all nodes, and that of one rack.
const ROUTER: &str = "192.0.2.1";
const SECOND_ROUTER: &str = "192.0.2.2";
const RACKS: (&str, &str) = ("one", "two");
/// The time between two actions at most.
const PAUSE: Duration = Duration::from_millis(400);
/// How long something is tried while the API server is away.
const PATIENCE: Duration = Duration::from_secs(120);
const RETRY: Duration = Duration::from_millis(200);

/// What a Service is to be.
#[derive(Clone, Debug, Default)]
struct Wish {
    is_load_balancer: bool,
    is_local: bool,
    key: Option<&'static str>,
    request: Option<String>,
}

/// A fault of the harness: what users do can't be done.
#[derive(Debug, thiserror::Error)]
#[error("{what} was not possible: {why}")]
pub struct Impossible {
    what: String,
    why: kube::Error,
}

/// All users together.
pub struct Users {
    client: Client,
    judge: Shared<Judge>,
    tally: Shared<Tally>,
    random: fastrand::Rng,
    services: BTreeMap<usize, Wish>,
    nodes: BTreeMap<usize, Option<&'static str>>,
    excluded: BTreeSet<usize>,
    /// The pool that is always there has this name; it goes under one and comes under the other.
    pool: &'static str,
    /// Parameters of the session change in this round; else users have objects with the session, which must agree on them.
    edits_peer: bool,
}

impl Users {
    pub fn new(client: Client, judge: Shared<Judge>, tally: Shared<Tally>, seed: u64) -> Self {
        Self {
            client,
            judge,
            tally,
            random: fastrand::Rng::with_seed(seed),
            services: BTreeMap::new(),
            nodes: BTreeMap::new(),
            excluded: BTreeSet::new(),
            pool: "first",
            edits_peer: false,
        }
    }

    /// What there is before anything goes wrong.
    pub async fn set_up(&mut self) -> Result<(), Impossible> {
        self.apply(pool(self.pool, "198.51.100.0/25")).await?;
        self.apply(peer(None)).await?;
        self.apply(advertisement(0)).await?;
        for node in 0..NODES {
            self.put_node(node, Some(if node % 2 == 0 { RACKS.0 } else { RACKS.1 })).await?;
        }
        for service in 0..SERVICES / 2 {
            self.add_service(service).await?;
        }
        Ok(())
    }

    /// So many things happen; in the end nothing of users is at odds with Clarion's.
    pub async fn round(&mut self, actions: usize) -> Result<(), Impossible> {
        self.edits_peer = self.random.bool();
        for _ in 0..actions {
            self.happens().await?;
            sleep(PAUSE.mul_f64(self.random.f64())).await;
        }
        for node in 0..NODES {
            self.remove(users(&at_odds(node), &json!({}), &json!({}))).await?;
        }
        self.remove(receiving()).await?;
        self.apply(peer(None)).await
    }

    /// Something happens.
    async fn happens(&mut self) -> Result<(), Impossible> {
        let seldom = self.random.u8(..10) == 0;
        let service = self.random.usize(if seldom { 0..SERVICES } else { CALM..SERVICES });
        let node = self.random.usize(STAY..NODES);
        let there = self.services.contains_key(&service);
        match self.random.u8(..100) {
            0..10 if there => self.remove_service(service).await,
            10..13 if there => {
                self.remove_service(service).await?;
                self.add_service(service).await
            }
            0..30 if !there => self.add_service(service).await,
            13..30 => self.move_endpoints(service).await,
            30..62 if there => self.change_service(service).await,
            62..68 => self.change_pools().await,
            68..76 => self.change_peers().await,
            76..82 => self.change_advertisements().await,
            82..92 => self.change_nodes(node).await,
            92..100 => self.change_users(node).await,
            _ => Ok(()),
        }
    }

    async fn add_service(&mut self, number: usize) -> Result<(), Impossible> {
        self.tally.with(|tally| tally.created += 1);
        let is_local = self.random.u8(..10) < 3;
        let key = if self.random.u8(..10) < 2 { self.random.choice(KEYS) } else { None };
        let wish = Wish { is_load_balancer: true, is_local, key, request: None };
        self.services.insert(number, wish);
        if self.random.bool() {
            self.move_endpoints(number).await?;
            return self.put_service(number).await;
        }
        self.put_service(number).await?;
        self.move_endpoints(number).await
    }

    async fn put_service(&mut self, number: usize) -> Result<(), Impossible> {
        let Some(wish) = self.services.get(&number) else { return Ok(()) };
        self.apply(service(number, wish)).await
    }

    async fn remove_service(&mut self, number: usize) -> Result<(), Impossible> {
        self.tally.with(|tally| tally.deleted += 1);
        self.services.remove(&number);
        self.remove(service(number, &Wish::default())).await?;
        self.remove(endpoints(number, &[])).await
    }

    async fn change_service(&mut self, number: usize) -> Result<(), Impossible> {
        let random = &mut self.random;
        let Some(wish) = self.services.get_mut(&number) else { return Ok(()) };
        match random.u8(..10) {
            0 | 1 => wish.is_load_balancer = !wish.is_load_balancer,
            2 | 3 => wish.is_local = !wish.is_local,
            4 | 5 => wish.key = if random.bool() { random.choice(KEYS) } else { None },
            6 => wish.request = None,
            7..9 => wish.request = Some(format!("198.51.100.{}", random.u8(..128))),
            _ => wish.request = Some(format!("203.0.113.{}", random.u8(..16))),
        }
        self.put_service(number).await
    }

    /// Endpoints of a Service are ready on other nodes, or on none.
    async fn move_endpoints(&mut self, number: usize) -> Result<(), Impossible> {
        if !self.services.contains_key(&number) {
            return Ok(());
        }
        let nodes: Vec<usize> = (0..NODES).filter(|_| self.random.u8(..10) < 4).collect();
        self.apply(endpoints(number, &nodes)).await
    }

    /// A pool comes or goes, or the one with most addresses goes under another name.
    async fn change_pools(&mut self) -> Result<(), Impossible> {
        match self.random.u8(..4) {
            0 => self.remove(pool("extra", "203.0.113.0/28")).await,
            1 => self.apply(pool("extra", "203.0.113.0/28")).await,
            2 => self.apply(pool("extra", "203.0.113.0/29")).await,
            _ => {
                let (old, new) = if self.pool == "first" { ("first", "second") } else { ("second", "first") };
                self.pool = new;
                self.apply(pool(new, "198.51.100.0/25")).await?;
                self.remove(pool(old, "198.51.100.0/25")).await
            }
        }
    }

    async fn change_peers(&mut self) -> Result<(), Impossible> {
        match self.random.u8(..4) {
            0 => self.apply(second_peer()).await,
            1 => self.remove(second_peer()).await,
            _ if self.edits_peer => {
                let hold_time = self.random.bool().then_some("90s");
                self.apply(peer(hold_time)).await
            }
            _ => Ok(()),
        }
    }

    async fn change_advertisements(&mut self) -> Result<(), Impossible> {
        match self.random.u8(..4) {
            0 => self.apply(tagged()).await,
            1 => self.remove(tagged()).await,
            _ => {
                let preference = 100 * self.random.u32(..3);
                self.apply(advertisement(preference)).await
            }
        }
    }

    async fn change_nodes(&mut self, number: usize) -> Result<(), Impossible> {
        let rack = if self.random.bool() { RACKS.0 } else { RACKS.1 };
        match self.random.u8(..10) {
            0..3 if self.nodes.contains_key(&number) => {
                self.nodes.remove(&number);
                self.excluded.remove(&number);
                self.remove(node(number, None, false)).await
            }
            3..6 => {
                if !self.excluded.remove(&number) {
                    self.excluded.insert(number);
                }
                let rack = self.nodes.get(&number).copied().unwrap_or(Some(rack));
                self.put_node(number, rack).await
            }
            _ => {
                let rack = self.random.bool().then_some(rack);
                self.put_node(number, rack).await
            }
        }
    }

    async fn put_node(&mut self, number: usize, rack: Option<&'static str>) -> Result<(), Impossible> {
        self.nodes.insert(number, rack);
        self.apply(node(number, rack, self.excluded.contains(&number))).await
    }

    /// A user's FRRConfiguration comes or goes.
    async fn change_users(&mut self, node: usize) -> Result<(), Impossible> {
        let selector = json!({"matchLabels": {names::HOSTNAME_LABEL: node_name(node)}});
        let odd = users(&at_odds(node), &selector, &json!({"address": ROUTER, "asn": 64514}));
        match self.random.u8(..4) {
            0 if !self.edits_peer => self.apply(receiving()).await,
            1 => self.remove(receiving()).await,
            2 => self.apply(odd).await,
            _ => self.remove(odd).await,
        }
    }

    async fn apply(&self, object: Value) -> Result<(), Impossible> {
        let (api, name) = self.api(&object);
        let what = format!("applying {} {name}", kind(&object));
        self.judge.with(|judge| judge.note(&what));
        let parameters = PatchParams::apply("soak").force();
        lands(&what, async || api.patch(&name, &parameters, &Patch::Apply(&object)).await.map(drop)).await
    }

    async fn remove(&self, object: Value) -> Result<(), Impossible> {
        let (api, name) = self.api(&object);
        let what = format!("deleting {} {name}", kind(&object));
        lands(&what, async || match api.delete(&name, &DeleteParams::default()).await {
            Ok(_) => {
                self.judge.with(|judge| judge.note(&what));
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error),
        })
        .await
    }

    fn api(&self, object: &Value) -> (Api<DynamicObject>, String) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (group, version) = text("/apiVersion").rsplit_once('/').unwrap_or(("", text("/apiVersion")));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("/kind")));
        let api = match text("/metadata/namespace") {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        };
        (api, text("/metadata/name").to_owned())
    }
}

fn kind(object: &Value) -> &str {
    object.get("kind").and_then(Value::as_str).unwrap_or_default()
}

/// Tries until the API server has taken it.
async fn lands(what: &str, action: impl AsyncFn() -> Result<(), kube::Error>) -> Result<(), Impossible> {
    let end = Instant::now() + PATIENCE;
    loop {
        match action().await {
            Ok(()) => return Ok(()),
            Err(why) => {
                let passes = !matches!(&why, kube::Error::Api(status) if status.code < 500 && ![409, 429].contains(&status.code));
                if !passes || Instant::now() >= end {
                    return Err(Impossible { what: what.to_owned(), why });
                }
            }
        }
        sleep(RETRY).await;
    }
}

fn node_name(number: usize) -> String {
    format!("node-{number}")
}

fn service_name(number: usize) -> String {
    format!("web-{number}")
}

fn at_odds(node: usize) -> String {
    format!("{AT_ODDS}-{node}")
}

fn node(number: usize, rack: Option<&str>, is_excluded: bool) -> Value {
    let name = node_name(number);
    let mut labels = BTreeMap::from([(names::HOSTNAME_LABEL, name.as_str())]);
    labels.extend(rack.map(|rack| ("rack", rack)));
    labels.extend(is_excluded.then_some((names::EXCLUDE_LABEL, "")));
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
}

fn service(number: usize, wish: &Wish) -> Value {
    let Wish { is_load_balancer, is_local, key, request } = wish;
    let annotation = |name: &str| format!("{}/{name}", names::GROUP);
    let mut annotations = BTreeMap::new();
    annotations.extend(key.map(|key| (annotation(names::ALLOW_SHARED_IP), key)));
    annotations.extend(request.as_deref().map(|request| (annotation(names::LOAD_BALANCER_IPS), request)));
    // Who shares an address has a port of its own.
    let ports = json!([{"port": 1_000 + number}]);
    let policy = if *is_local { "Local" } else { "Cluster" };
    let spec = if *is_load_balancer {
        json!({
            "type": "LoadBalancer", "loadBalancerClass": names::DEFAULT_CLASS, "ports": ports,
            "allocateLoadBalancerNodePorts": false, "externalTrafficPolicy": policy,
        })
    } else {
        json!({"type": "ClusterIP", "ports": ports})
    };
    let metadata = json!({"namespace": "default", "name": service_name(number), "annotations": annotations});
    json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
}

fn endpoints(service: usize, nodes: &[usize]) -> Value {
    let name = service_name(service);
    let endpoint = |node: &usize| json!({"addresses": [format!("10.0.0.{}", node + 1)], "nodeName": node_name(*node), "conditions": {"ready": true}});
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"namespace": "default", "name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": nodes.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

/// One of Clarion's kinds.
fn own(kind: &str, name: &str, spec: &Value) -> Value {
    let version = format!("{}/{}", names::GROUP, names::VERSION);
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn pool(name: &str, addresses: &str) -> Value {
    own("LoadBalancerPool", name, &json!({"addresses": [addresses]}))
}

fn peer(hold_time: Option<&str>) -> Value {
    let spec = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": ROUTER});
    let timed = |hold_time: &str| {
        json!({
            "myASN": 64512, "peerASN": 64513, "peerAddress": ROUTER, "holdTime": hold_time, "keepaliveTime": "10s",
        })
    };
    own("RouterPeer", "tor", &hold_time.map_or(spec, timed))
}

/// A router that only the nodes of one rack have.
fn second_peer() -> Value {
    let selectors = json!([{"matchLabels": {"rack": RACKS.1}}]);
    let spec = json!({"myASN": 64512, "peerASN": 64515, "peerAddress": SECOND_ROUTER, "nodeSelectors": selectors});
    own("RouterPeer", "second", &spec)
}

/// All addresses are announced to all.
fn advertisement(preference: u32) -> Value {
    let spec = if preference == 0 { json!({}) } else { json!({"localPref": preference}) };
    own("LoadBalancerAdvertisement", "all", &spec)
}

/// They have a community, too, where the router of all nodes gets them.
fn tagged() -> Value {
    own("LoadBalancerAdvertisement", "tagged", &json!({"peers": ["tor"], "communities": ["64512:100"]}))
}

/// What a user has beside: on the same session, all that the router announces is accepted.
fn receiving() -> Value {
    let neighbor = json!({"address": ROUTER, "asn": 64513, "toReceive": {"allowed": {"mode": "all"}}});
    users("receiving", &json!({}), &neighbor)
}

fn users(name: &str, selector: &Value, neighbor: &Value) -> Value {
    json!({
        "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration",
        "metadata": {"namespace": "frr-k8s-system", "name": name},
        "spec": {"nodeSelector": selector, "bgp": {"routers": [{"asn": 64512, "neighbors": [neighbor]}]}},
    })
}
