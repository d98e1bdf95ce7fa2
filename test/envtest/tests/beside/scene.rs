//! A cluster with users, and what is looked at in it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use clarion_api::{Condition, LoadBalancerAdvertisement, RouterPeer, frr::FRRConfiguration};
use clarion_envtest::{Conversions, Daemon, Failure, FrrConf, History, Operator, history, wait};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::cluster::{Cluster, advertisement, endpoints, host_prefix, object, service};

pub const NODES: [&str; 2] = ["node-a", "node-b"];
/// Where the sessions of the peers are: VRF and address.
pub const TOR: (&str, &str) = ("", "192.0.2.1");
pub const SPINE: (&str, &str) = ("", "192.0.2.2");
pub const LEAF: (&str, &str) = ("red", "192.0.2.3");
/// How long a node may be without a conversion until we have yielded: far more than it takes, on a loaded machine.
pub const ROUND: Duration = Duration::from_secs(5);

/// A cluster with three peers, of which users can be at odds with `tor`; a Service that both nodes announce, and one that
/// only the first does.
pub struct Scene {
    pub cluster: Cluster,
    pub daemons: [Daemon; 2],
    pub operator: Operator,
    pub history: History,
    pub conversions: Conversions,
}

pub fn merged(base: Value, more: &Value) -> Value {
    let mut merged = base;
    let more = more.as_object().unwrap().clone();
    merged.as_object_mut().unwrap().extend(more);
    merged
}

pub fn peer(name: &str, spec: Value) -> DynamicObject {
    object(json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "RouterPeer", "metadata": {"name": name}, "spec": spec,
    }))
}

pub fn tor(more: &Value) -> DynamicObject {
    let spec = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": TOR.1, "dualStackAddressFamily": true});
    peer("tor", merged(spec, more))
}

pub fn spine(more: &Value) -> DynamicObject {
    peer("spine", merged(json!({"myASN": 64512, "peerASN": 64514, "peerAddress": SPINE.1}), more))
}

pub fn leaf() -> DynamicObject {
    peer("leaf", json!({"myASN": 64512, "peerASN": 64515, "peerAddress": LEAF.1, "vrf": LEAF.0}))
}

/// A Service with `externalTrafficPolicy: Local` and an endpoint on the first node, which thus has an overlay.
pub fn local(name: &str) -> [DynamicObject; 2] {
    let (mut service, mut slice) = (service(name, &["IPv4"]), endpoints(name));
    service.data["spec"]["externalTrafficPolicy"] = json!("Local");
    slice.data["endpoints"][0]["nodeName"] = json!(NODES[0]);
    [slice, service]
}

/// What keeps FRR-K8s's cleaner from deleting the FRRNodeState of a node: the Pod of a daemon.
pub fn pod(node: &str) -> DynamicObject {
    object(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("frr-k8s-{node}"), "namespace": "frr-k8s-system",
            "labels": {"app.kubernetes.io/component": "frr-k8s"},
        },
        "spec": {"nodeName": node, "containers": [{"name": "frr-k8s", "image": "none"}]},
    }))
}

pub fn on(node: &str) -> Value {
    json!({"matchLabels": {"kubernetes.io/hostname": node}})
}

/// A user's FRRConfiguration with one session: that of `tor`, but for what is given.
pub fn their(selector: Value, router: &Value, neighbor: &Value) -> Value {
    let neighbor = merged(json!({"asn": 64513, "address": TOR.1, "dualStackAddressFamily": true}), neighbor);
    let router = merged(json!({"asn": 64512, "neighbors": [neighbor]}), router);
    json!({
        "nodeSelector": selector,
        "bgp": {"routers": [router], "bfdProfiles": [{"name": "theirs"}]},
    })
}

/// The FRRConfigurations of a namespace, as a user writes them.
pub struct Users {
    pub api: Api<DynamicObject>,
    pub namespace: &'static str,
}

impl Users {
    pub async fn writes(&self, name: &str, spec: &Value) -> Result<(), String> {
        let object = json!({
            "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration",
            "metadata": {"name": name, "namespace": self.namespace}, "spec": spec,
        });
        let parameters = PatchParams::apply("user").force();
        let written = self.api.patch(name, &parameters, &Patch::Apply(object)).await;
        written.map(drop).map_err(|error| error.to_string())
    }

    pub async fn deletes(&self, name: &str) {
        self.api.delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Tries to write what FRR-K8s's webhook refuses.
    pub async fn is_refused(&self, name: &str, spec: &Value) -> String {
        let refusal = self.writes(name, spec).await.unwrap_err();
        assert!(refusal.contains("denied the request"), "{refusal}");
        refusal
    }
}

impl Scene {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(arguments: &[&str]) -> Self {
        let cluster = Cluster::start().await;
        cluster.0.apply(&NODES.map(pod)).await.unwrap();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret", "namespace": "frr-k8s-system"},
            "type": "kubernetes.io/basic-auth", "stringData": {"password": "hush", "username": ""},
        });
        cluster.0.apply(&[object(secret), tor(&json!({})), spine(&json!({})), leaf()]).await.unwrap();
        let daemons = NODES.map(|node| Daemon::start(&cluster.0, node).unwrap());
        let conversions = Conversions::of(&cluster.0);
        cluster.add_services(&["web"]).await;
        cluster.0.apply(&local("local")).await.unwrap();
        let mut operator = Operator::start_with(&cluster.0, &cluster.0.operator_kubeconfig(), arguments).unwrap();
        operator.leading().await.unwrap();
        let history = History::of(&cluster.0).await.unwrap();
        let this = Self { cluster, daemons, operator, history, conversions };
        this.is_whole().await;
        this
    }

    pub fn users(&self) -> Users {
        self.users_of("frr-k8s-system")
    }

    pub fn users_of(&self, namespace: &'static str) -> Users {
        let kind = ApiResource::erase::<FRRConfiguration>(&());
        Users { api: Api::namespaced_with(self.cluster.0.client(), namespace, &kind), namespace }
    }

    pub async fn apply(&self, objects: &[DynamicObject]) {
        self.cluster.0.apply(objects).await.unwrap();
    }

    /// The prefixes that FRR of a node is told to announce on a session; `None` if it has none.
    pub fn announced(&self, node: usize, (vrf, key): (&str, &str)) -> Option<BTreeSet<String>> {
        let conf = FrrConf::parse(&self.daemons[node].configuration());
        let neighbor = conf.routers.get(vrf)?.neighbors.get(key)?;
        Some(neighbor.announced.keys().map(ToString::to_string).collect())
    }

    /// What each session of a node is to carry when nobody is in the way.
    pub async fn prefixes(&self, node: usize) -> BTreeSet<String> {
        let addresses = self.cluster.addresses().await.unwrap();
        let there = addresses.into_iter().filter(|(name, _)| node == 0 || !name.starts_with("local"));
        there.flat_map(|(_, addresses)| addresses.into_iter().map(host_prefix)).collect()
    }

    /// Waits until FRR of a node announces everything on a session.
    pub async fn carries_all(&self, node: usize, session: (&str, &str)) {
        wait::until(&format!("everything towards {session:?} on {}", NODES[node]), async || {
            let (found, expected) = (self.announced(node, session), self.prefixes(node).await);
            if found.as_ref() == Some(&expected) && !expected.is_empty() { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await
        .unwrap_or_else(|why| panic!("{why}\n{}\n{}", self.daemons[node].configuration(), self.operator.process.log()));
    }

    /// Waits until FRR of a node announces nothing on a session.
    pub async fn carries_nothing(&self, node: usize, session: (&str, &str)) {
        wait::until(&format!("nothing towards {session:?} on {}", NODES[node]), async || {
            match self.announced(node, session) {
                Some(prefixes) if !prefixes.is_empty() => Err(format!("{prefixes:?}")),
                _ => Ok(()),
            }
        })
        .await
        .unwrap();
    }

    /// Waits until we have let go of a session, everywhere.
    pub async fn has_let_go_of(&self, session: (&str, &str)) {
        wait::until(&format!("no session of ours with {session:?}"), async || {
            let there = self.cluster.configurations().list(&ListParams::default()).await.map_err(|e| e.to_string())?;
            let ours = there.items.iter().filter(|object| object.name_any().starts_with("clarion-"));
            let specs: Vec<_> = ours.map(|object| serde_json::to_string(&object.spec).unwrap()).collect();
            let has_it = |spec: &&String| spec.contains(&format!("\"{}\"", session.1));
            specs.iter().find(has_it).map_or(Ok(()), |spec| Err(spec.clone()))
        })
        .await
        .unwrap();
        self.carries_nothing(0, session).await;
        self.carries_nothing(1, session).await;
    }

    /// Waits until every session of every node carries everything, and `tor` is said to be as it should be.
    pub async fn carries_everything(&self) -> Duration {
        let started = Instant::now();
        for session in [TOR, SPINE, LEAF] {
            self.carries_all(0, session).await;
            self.carries_all(1, session).await;
        }
        self.tells("tor", "Valid", "").await;
        started.elapsed()
    }

    /// Waits for the same, and that our objects are those of a cluster without users.
    pub async fn is_whole(&self) -> Duration {
        let started = Instant::now();
        self.carries_everything().await;
        // Nothing that sets one node apart is left, nor anything on its way.
        wait::until("one base and one overlay", async || {
            let there = self.cluster.configurations().list_metadata(&ListParams::default()).await;
            let there = there.map_err(|error| error.to_string())?.items;
            let ours: Vec<_> =
                there.iter().map(kube::ResourceExt::name_any).filter(|n| n.starts_with("clarion-")).collect();
            let count = |prefix: &str| ours.iter().filter(|name| name.starts_with(prefix)).count();
            if (ours.len(), count("clarion-base-"), count("clarion-node-")) == (2, 1, 1) {
                Ok(())
            } else {
                Err(format!("{ours:?}"))
            }
        })
        .await
        .unwrap_or_else(|why| panic!("{why}\n{}", self.operator.process.log()));
        started.elapsed()
    }

    /// How long the longest plan took.
    pub fn longest_plan(&self) -> Duration {
        let log = self.operator.process.log();
        let took = log.lines().filter_map(|line| line.split_once("took_us=")?.1.split(' ').next()?.parse().ok());
        Duration::from_micros(took.max().unwrap_or_default())
    }

    /// The condition of a peer or of the advertisement, if it is of the present generation.
    pub async fn ready(&self, name: &str) -> Result<Condition, String> {
        let client = self.cluster.0.client();
        let (generation, conditions) = if name == "all" {
            let object = Api::<LoadBalancerAdvertisement>::all(client).get(name).await.map_err(|e| e.to_string())?;
            (object.metadata.generation, object.status.unwrap_or_default().conditions)
        } else {
            let object = Api::<RouterPeer>::all(client).get(name).await.map_err(|e| e.to_string())?;
            (object.metadata.generation, object.status.unwrap_or_default().conditions)
        };
        let mut ready = conditions.into_iter().filter(|condition| condition.type_ == "Ready");
        ready.find(|condition| condition.observed_generation == generation).ok_or_else(|| "none".to_owned())
    }

    /// Waits for a condition with this reason and these words; returns how long that took.
    pub async fn tells(&self, name: &str, reason: &str, words: &str) -> Duration {
        let started = Instant::now();
        wait::until(&format!("{reason} of {name}, {words:?}"), async || {
            let Condition { status, reason: found, message, .. } = self.ready(name).await?;
            let as_expected = found == reason && message.contains(words);
            if as_expected { Ok(()) } else { Err(format!("{status} {found}: {message}")) }
        })
        .await
        .unwrap_or_else(|why| panic!("{why}\n{}", self.operator.process.log()));
        started.elapsed()
    }

    /// Waits until the watch has seen every FRRConfiguration as it is now.
    pub async fn watched(&self) {
        wait::until("the history to have caught up", async || {
            let there = self.cluster.configurations().list(&ListParams::default()).await.map_err(|e| e.to_string())?;
            let versions: BTreeSet<_> = there.items.iter().map(kube::ResourceExt::resource_version).collect();
            let seen: BTreeSet<_> = self.history.latest().values().map(kube::ResourceExt::resource_version).collect();
            if seen == versions { Ok(()) } else { Err(format!("{seen:?} and not {versions:?}")) }
        })
        .await
        .unwrap();
    }

    /// Since the last call no node was without anything that it had and has.
    pub async fn nothing_was_lost(&self, what: &str) {
        self.watched().await;
        let addresses: Vec<_> = self.cluster.addresses().await.unwrap().into_values().flatten().collect();
        let labels = NODES.map(|node| [("kubernetes.io/hostname".to_owned(), node.to_owned())].into());
        let moments = self.history.take();
        history::unbroken(&moments, &labels, &addresses).unwrap_or_else(|broken| panic!("{what}: {broken}"));
    }

    /// No daemon has failed to convert anything, since it was started.
    pub fn no_conversion_failed(&self, what: &str) {
        let failures = self.conversions.take_failures();
        assert!(failures.is_empty(), "{what}: {failures:?}");
        for daemon in &self.daemons {
            assert_eq!(daemon.failed_conversions(), 0, "{what}: {}", daemon.process.log());
        }
    }

    /// Waits until no daemon fails any more; returns the failures that there were. None may have been long.
    pub async fn heals(&self, what: &str) -> Vec<Failure> {
        let mut failures = Vec::new();
        wait::until(&format!("{what}: nodes that convert everything"), async || {
            let (lasting, over): (Vec<_>, Vec<_>) =
                self.conversions.take_failures().into_iter().partition(|failure| failure.lasted.is_none());
            failures.extend(over);
            if lasting.is_empty() { Ok(()) } else { Err(format!("{lasting:?}")) }
        })
        .await
        .unwrap_or_else(|why| panic!("{why}\n{}", self.operator.process.log()));
        let is_long = |failure: &Failure| failure.lasted.is_none_or(|lasted| lasted > ROUND);
        assert!(!failures.iter().any(is_long), "{what}: {failures:?}\n{}", self.operator.process.log());
        failures
    }

    /// Sets a label of the first node, or takes it away.
    pub async fn label(&self, value: Value) {
        let nodes: Api<Node> = Api::all(self.cluster.0.client());
        let patch = Patch::Merge(json!({"metadata": {"labels": {"theirs": value}}}));
        nodes.patch(NODES[0], &PatchParams::default(), &patch).await.unwrap();
    }

    /// Makes a Service, and waits for its address.
    pub async fn gives_an_address_to(&self, name: &str) -> Duration {
        let started = Instant::now();
        self.cluster.add_services(&[name]).await;
        wait::until(&format!("an address for {name}"), async || {
            let addresses = self.cluster.addresses().await.map_err(|error| error.to_string())?;
            addresses.get(name).map(drop).ok_or_else(|| "none".to_owned())
        })
        .await
        .unwrap();
        started.elapsed()
    }

    /// The session with `tor` on a node as it stands in an object of ours, for a user to copy.
    pub async fn our_session(&self, node: &str) -> (Value, Value) {
        let there = self.cluster.configurations().list(&ListParams::default()).await.unwrap();
        let ours = there.items.into_iter().filter(|object| object.name_any().starts_with("clarion-base-"));
        let mut ours = ours.map(|object| serde_json::to_value(object.spec).unwrap());
        let base = ours.find(|spec| spec["nodeSelector"].to_string().contains(node)).unwrap();
        let routers = base["bgp"]["routers"].as_array().unwrap();
        let router = routers.iter().find(|router| router["vrf"].as_str().unwrap_or_default().is_empty()).unwrap();
        let mut neighbors = router["neighbors"].as_array().unwrap().iter();
        let mut neighbor = neighbors.find(|neighbor| neighbor["address"] == TOR.1).unwrap().clone();
        for field in ["toAdvertise", "bfdProfile"] {
            neighbor.as_object_mut().unwrap().remove(field);
        }
        (json!({"asn": router["asn"]}), neighbor)
    }
}

pub fn advertisement_with(spec: Value) -> DynamicObject {
    let mut advertisement = advertisement();
    advertisement.data["spec"] = spec;
    advertisement
}
