//! MetalLB beside Clarion, and one after the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    net::IpAddr,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use clarion_api::{
    frr::{FRRConfiguration, FRRNodeState},
    names,
};
use clarion_core::{
    admit::{self, Attributes, Named},
    world::ObjectName,
};
use clarion_envtest::{ControlPlane, Daemon, MetalLb, Operator, crowd::addresses, manifests, wait};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ipnet::IpNet;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DynamicObject, PostParams, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, advertisement, endpoints, host_prefix, node, object, peer, pool, prefixes, service};

const NODES: [&str; 2] = ["node-a", "node-b"];

fn metallb(kind: &str, name: &str, spec: Value) -> DynamicObject {
    let version = if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" };
    object(json!({
        "apiVersion": format!("metallb.io/{version}"), "kind": kind,
        "metadata": {"name": name, "namespace": MetalLb::NAMESPACE}, "spec": spec,
    }))
}

/// One pool, announced to two peers by all nodes.
fn configuration() -> Vec<DynamicObject> {
    let peer = |name: &str, address: &str| {
        metallb("BGPPeer", name, json!({"myASN": 64512, "peerASN": 64513, "peerAddress": address, "holdTime": "90s"}))
    };
    vec![
        metallb("IPAddressPool", "main", json!({"addresses": ["198.51.100.0/24"]})),
        metallb("BGPAdvertisement", "main", json!({"ipAddressPools": ["main"], "communities": ["65000:100"]})),
        peer("tor-a", "192.0.2.1"),
        peer("tor-b", "192.0.2.2"),
    ]
}

/// A Service of no class.
fn class_less(name: &str) -> DynamicObject {
    let mut service = service(name, &["IPv4"]);
    service.data["spec"].as_object_mut().unwrap().remove("loadBalancerClass");
    service
}

/// The prefixes that MetalLB has each node announce.
async fn announced(cluster: &Cluster) -> Result<BTreeMap<String, BTreeSet<String>>, String> {
    let mut announced = BTreeMap::new();
    for configuration in cluster.configurations().list(&Default::default()).await.map_err(|e| e.to_string())? {
        let node = NODES.iter().find(|node| configuration.metadata.name == Some(MetalLb::configuration(node)));
        let prefixes = prefixes(&configuration).into_iter().collect();
        announced.insert((*node.ok_or("an FRRConfiguration of somebody else")?).to_owned(), prefixes);
    }
    Ok(announced)
}

#[tokio::test]
async fn metallb_gives_addresses_and_has_the_daemons_announce_them() {
    let cluster = Cluster(ControlPlane::with_frr_k8s().await.unwrap());
    let _daemons = NODES.map(|name| Daemon::start(&cluster.0, name).unwrap());
    cluster.0.apply(&NODES.map(node)).await.unwrap();
    let mut metallb = MetalLb::start(&cluster.0, &NODES).await.unwrap();
    cluster.0.apply(&configuration()).await.unwrap();
    let names: Vec<String> = (0..20).map(|n| format!("service-{n}")).collect();
    for name in &names {
        cluster.0.apply(&[endpoints(name), class_less(name)]).await.unwrap();
    }

    let announces_all = async || {
        let addresses = cluster.addresses().await.map_err(|error| error.to_string())?;
        let expected: BTreeSet<String> = addresses.values().flatten().map(|address| host_prefix(*address)).collect();
        let announced = announced(&cluster).await?;
        let complete = NODES.iter().all(|node| announced.get(*node) == Some(&expected));
        if complete && expected.len() == names.len() { Ok(announced) } else { Err(format!("{announced:?}")) }
    };
    let before = wait::until("20 prefixes on each node", announces_all).await.unwrap();
    for node in NODES {
        cluster.converted(node).await;
    }

    // What a speaker wrote stays when it ends. One that has no peers any more has nothing to announce to.
    metallb.stop_controller().await.unwrap();
    metallb.stop_speaker("node-a").await.unwrap();
    cluster.0.kubectl(&["-n", MetalLb::NAMESPACE, "delete", "bgppeers", "--all"]).unwrap();
    wait::until("an end of the prefixes on node-b", async || {
        let announced = announced(&cluster).await?;
        let kept = announced.get("node-a") == before.get("node-a");
        if kept && announced["node-b"].is_empty() { Ok(()) } else { Err(format!("{announced:?}")) }
    })
    .await
    .unwrap();
    metallb.stop_speakers().await.unwrap();
}

/// MetalLB and Clarion both serve Services without a class, from pools that have nothing in common.
#[tokio::test]
async fn a_service_that_metallb_serves_too_is_not_fought_over() {
    let cluster = Cluster(ControlPlane::with_frr_k8s().await.unwrap());
    cluster.0.apply(&NODES.map(node)).await.unwrap();
    let _metallb = MetalLb::start(&cluster.0, &[]).await.unwrap();
    cluster.0.apply(&configuration()).await.unwrap();
    cluster.0.apply(&[pool("clarion", &["10.77.0.0/24"]), advertisement(), peer()]).await.unwrap();
    cluster.0.apply(&[class_less("before")]).await.unwrap();
    let first = wait::until("an address of MetalLB's", async || {
        let addresses = cluster.addresses().await.map_err(|error| error.to_string())?;
        addresses.get("before").and_then(|list| list.first().copied()).ok_or_else(|| "none".to_owned())
    })
    .await
    .unwrap();
    let version = cluster.services().list(&Default::default()).await.unwrap().metadata.resource_version.unwrap();
    let history = Arc::new(Mutex::new(BTreeMap::<String, Vec<Vec<IpAddr>>>::new()));
    let seen = history.clone();
    let witness = witness(cluster.services(), version, move |service: &Service, _| {
        let (name, now) = (service.name_any(), addresses(service));
        let mut seen = seen.lock().unwrap();
        let states = seen.entry(name).or_default();
        if states.last() != Some(&now) {
            states.push(now);
        }
        Ok(())
    });
    let _operator =
        Operator::start_with(&cluster.0, &cluster.0.operator_kubeconfig(), &["--class-less=adopt"]).unwrap();
    let message = cluster.becomes("service", "before", "clarionlb.io/AddressAllocated", "True", "Retained").await;
    assert!(message.contains("the field manager controller wrote it"), "{message}");

    // MetalLB takes away what Clarion gives, and has nothing to give itself.
    let closed = json!({"addresses": ["198.51.100.0/24"], "autoAssign": false});
    cluster.0.apply(&[metallb("IPAddressPool", "main", closed)]).await.unwrap();
    cluster.0.apply(&[class_less("after")]).await.unwrap();
    let message =
        cluster.becomes("service", "after", "clarionlb.io/AddressAllocated", "False", "OtherController").await;
    assert!(message.contains("somebody else took away at once what Clarion gave"), "{message}");
    tokio::time::sleep(Duration::from_secs(5)).await;
    witness.abort();
    let history = history.lock().unwrap();
    println!("{first}: {history:#?}");
    assert!(history["before"].len() <= 2, "what MetalLB gave is not touched: {history:?}");
    assert!(history["after"].len() <= 4, "what MetalLB takes away is not given again at once: {history:?}");
}

/// What an import makes of a peer must be what MetalLB makes of it, or FRR-K8s refuses both on one session.
#[tokio::test]
async fn imported_sessions_merge_with_those_of_metallb() {
    let cluster = Cluster(ControlPlane::with_frr_k8s().await.unwrap());
    let daemons = NODES.map(|name| Daemon::start(&cluster.0, name).unwrap());
    cluster.0.apply(&NODES.map(node)).await.unwrap();
    let peer = |name: &str, fields: Value| {
        let mut spec = json!({"myASN": 64512, "peerASN": 64513});
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        metallb("BGPPeer", name, spec)
    };
    let peers = [
        peer("plain", json!({"peerAddress": "192.0.2.1"})),
        peer(
            "hold",
            json!({"peerAddress": "192.0.2.2", "holdTime": "100s", "peerPort": 179, "sourceAddress": "192.0.2.9"}),
        ),
        peer(
            "keepalive",
            json!({"peerAddress": "192.0.2.3", "keepaliveTime": "5s", "connectTime": "10s", "localASN": 64999}),
        ),
        peer(
            "ports",
            json!({"peerAddress": "2001:DB8:0::1", "peerPort": 1179, "ebgpMultiHop": true, "dualStackAddressFamily": true}),
        ),
        peer(
            "defaults",
            json!({"peerAddress": "192.0.2.4", "holdTime": "180s", "connectTime": "60s", "disableMP": true}),
        ),
        peer("unnumbered", json!({"interface": "eth1", "enableGracefulRestart": true})),
        peer("fast", json!({"peerAddress": "192.0.2.5", "bfdProfile": "fast"})),
        metallb("BFDProfile", "fast", json!({"receiveInterval": 100, "echoMode": false})),
    ];
    let mut metallb = MetalLb::start(&cluster.0, &NODES).await.unwrap();
    cluster.0.apply(&configuration()[..2]).await.unwrap();
    cluster.0.apply(&peers).await.unwrap();
    let names = ["one", "two", "three"];
    for name in names {
        cluster.0.apply(&[endpoints(name), class_less(name)]).await.unwrap();
    }
    let before = wait::until("prefixes on each node", async || {
        let announced = announced(&cluster).await?;
        let complete = NODES.iter().all(|node| announced.get(*node).is_some_and(|p| p.len() == names.len()));
        if complete { Ok(announced) } else { Err(format!("{announced:?}")) }
    })
    .await
    .unwrap();
    let addresses = cluster.addresses().await.unwrap();

    // The cut-over, in the order that docs/migration.md has.
    let path = cluster.0.directory().join("clarion.yaml");
    std::fs::write(&path, cluster.clarion(&["import", "--from-cluster"]).unwrap()).unwrap();
    cluster
        .0
        .kubectl(&[
            "-n",
            MetalLb::NAMESPACE,
            "patch",
            "bgppeer",
            "fast",
            "--type=merge",
            "-p",
            r#"{"spec":{"bfdProfile":""}}"#,
        ])
        .unwrap();
    wait::until("MetalLB without BFD", async || {
        let all = cluster.configurations().list(&Default::default()).await.map_err(|error| error.to_string())?;
        let text = serde_json::to_string(&all.items).unwrap();
        if text.contains("bfdProfile\":") { Err(text) } else { Ok(()) }
    })
    .await
    .unwrap();
    cluster.0.apply(&manifests(&path).unwrap()).await.unwrap();
    metallb.stop_controller().await.unwrap();
    let mut operator =
        Operator::start_with(&cluster.0, &cluster.0.operator_kubeconfig(), &["--class-less=adopt"]).unwrap();
    operator.leading().await.unwrap();
    let expected: BTreeSet<String> = before.values().flatten().cloned().collect();
    let settled = async |what: &str| {
        wait::until(what, async || {
            let all = cluster.configurations().list(&Default::default()).await.map_err(|error| error.to_string())?;
            let ours = all.items.iter().filter(|object| object.name_any().starts_with("clarion-"));
            let ours: BTreeSet<String> = ours.flat_map(prefixes).collect();
            if ours != expected {
                return Err(format!("{ours:?}"));
            }
            for daemon in &daemons {
                let networks: BTreeSet<String> = daemon.networks().into_iter().collect();
                if networks != expected || !daemon.configuration().contains("profile clarion-") {
                    return Err(format!("{networks:?}\n{}", daemon.configuration()));
                }
            }
            Ok(())
        })
        .await
        .unwrap();
        for node in NODES {
            cluster.converted(node).await;
        }
    };
    settled("the prefixes from both").await;
    metallb.stop_speakers().await.unwrap();
    let of_metallb: Api<FRRConfiguration> = Api::namespaced(cluster.0.client(), "frr-k8s-system");
    for node in NODES {
        of_metallb.delete(&MetalLb::configuration(node), &Default::default()).await.unwrap();
    }
    settled("the prefixes from Clarion alone").await;
    assert_eq!(cluster.addresses().await.unwrap(), addresses);
}

/// As many Services as are cut over.
const SERVICES: usize = 500;

/// A Service that MetalLB serves, and its EndpointSlice. One in ten has traffic only where its endpoint is, on node-a; the
/// last two share an address.
fn workload(index: usize) -> (Service, EndpointSlice) {
    let name = format!("service-{index}");
    let policy = if index.is_multiple_of(10) { "Local" } else { "Cluster" };
    let mut service = json!({
        "metadata": {"name": name},
        "spec": {
            "type": "LoadBalancer", "externalTrafficPolicy": policy, "allocateLoadBalancerNodePorts": false,
            "ports": [{"port": 80}],
        },
    });
    if index >= SERVICES - 2 {
        let annotations = json!({"metallb.io/allow-shared-ip": "x", "metallb.io/loadBalancerIPs": "10.100.3.200"});
        service["metadata"]["annotations"] = annotations;
        service["spec"]["ports"] = json!([{"port": 8000 + index}]);
    }
    let node = if index.is_multiple_of(10) { "node-a" } else { NODES[index % 2] };
    let mut slice = endpoints(&name);
    slice.data["endpoints"][0]["nodeName"] = json!(node);
    (serde_json::from_value(service).unwrap(), serde_json::from_value(serde_json::to_value(slice).unwrap()).unwrap())
}

async fn create_workloads(cluster: &Cluster) {
    let slices: Api<EndpointSlice> = Api::namespaced(cluster.0.client(), "default");
    let services = cluster.services();
    let created = stream::iter((0..SERVICES).map(workload)).map(async |(service, slice)| {
        slices.create(&PostParams::default(), &slice).await?;
        services.create(&PostParams::default(), &service).await
    });
    created.buffer_unordered(16).try_collect::<Vec<_>>().await.unwrap();
}

/// What each session of each node announces: by node, VRF and peer.
type Sessions = BTreeMap<(String, String, String), BTreeMap<IpNet, Attributes>>;

/// What the daemons make of FRRConfigurations.
fn merged<'a>(configurations: impl Iterator<Item = &'a FRRConfiguration>) -> Result<Sessions, String> {
    let named: Vec<_> = configurations.map(|c| (ObjectName::new("frr-k8s-system", c.name_any()), &c.spec)).collect();
    let mut sessions = Sessions::new();
    for node in NODES {
        let labels = BTreeMap::from([(names::HOSTNAME_LABEL.to_owned(), node.to_owned())]);
        let selected = named.iter().filter(|(_, spec)| admit::selects(spec, &labels).unwrap());
        let config = admit::merge(selected.map(|(name, spec)| Named { name, spec }));
        for (vrf, router) in config.map_err(|refusal| format!("{node}: {refusal}"))?.routers {
            for (peer, neighbor) in router.neighbors {
                let routes = neighbor.announced().map(|(net, attributes)| (*net, attributes.clone())).collect();
                sessions.insert((node.to_owned(), vrf.clone(), peer), routes);
            }
        }
    }
    Ok(sessions)
}

/// Fails if anything of `least` is missing or different.
fn has_all(sessions: &Sessions, least: &Sessions) -> Result<(), String> {
    for (key, routes) in least {
        let found = sessions.get(key).ok_or_else(|| format!("{key:?} is not there"))?;
        for (net, attributes) in routes {
            if found.get(net) != Some(attributes) {
                return Err(format!("{net} of {key:?} is {:?}, not {attributes:?}", found.get(net)));
            }
        }
    }
    Ok(())
}

/// The name of the object that ends a watch.
const END: &str = "end-of-watch";

/// Looks at every event of a watch until an object named [`END`] is created; returns how many there were, and what was wrong.
fn witness<K, See>(api: Api<K>, mut version: String, mut see: See) -> JoinHandle<(usize, Vec<String>)>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    See: FnMut(&K, bool) -> Result<(), String> + Send + 'static,
{
    tokio::spawn(async move {
        let (mut count, mut faults) = (0, Vec::new());
        loop {
            let mut events = pin!(api.watch(&WatchParams::default(), &version).await.unwrap());
            while let Some(event) =
                events.try_next().await.unwrap_or_else(|error| panic!("{}: {error:?}", K::kind(&())))
            {
                let (object, is_there) = match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, true),
                    WatchEvent::Deleted(object) => (object, false),
                    WatchEvent::Bookmark(_) => continue,
                    WatchEvent::Error(error) => panic!("{error:?}"),
                };
                if object.name_any() == END {
                    return (count, faults);
                }
                version = object.resource_version().unwrap();
                count += 1;
                faults.extend(see(&object, is_there).err());
            }
        }
    })
}

/// What must not change from now on: watches that look at every change there is.
struct Witnesses {
    configurations: JoinHandle<(usize, Vec<String>)>,
    services: JoinHandle<(usize, Vec<String>)>,
    nodes: JoinHandle<(usize, Vec<String>)>,
}

impl Witnesses {
    /// Of each node, all FRRConfigurations together have at least what they have now; no daemon refuses them; and all Services
    /// keep their addresses.
    async fn call(cluster: &Cluster) -> (Self, Sessions, BTreeMap<String, Vec<IpAddr>>) {
        let list = cluster.configurations().list(&Default::default()).await.unwrap();
        let mut all: BTreeMap<String, FRRConfiguration> = list.items.into_iter().map(|c| (c.name_any(), c)).collect();
        let sessions = merged(all.values()).unwrap();
        let least = sessions.clone();
        let version = list.metadata.resource_version.unwrap();
        let configurations = witness(cluster.configurations(), version, move |configuration, is_there| {
            let name = configuration.name_any();
            if is_there {
                all.insert(name.clone(), configuration.clone());
            } else {
                all.remove(&name);
            }
            let checked = merged(all.values()).and_then(|sessions| has_all(&sessions, &least));
            checked.map_err(|fault| format!("after {name}: {fault}"))
        });

        let list = cluster.services().list(&Default::default()).await.unwrap();
        let held: BTreeMap<_, _> = list.items.iter().map(|s| (s.name_any(), addresses(s))).collect();
        let expected = held.clone();
        let services =
            witness(cluster.services(), list.metadata.resource_version.unwrap(), move |service, is_there| {
                let (name, found) = (service.name_any(), addresses(service));
                let same = is_there && expected.get(&name) == Some(&found);
                if same { Ok(()) } else { Err(format!("{name} has {found:?}")) }
            });

        let states: Api<FRRNodeState> = Api::all(cluster.0.client());
        let version = states.list(&Default::default()).await.unwrap().metadata.resource_version.unwrap();
        let nodes = witness(states, version, |state, _| {
            let result = state.status.clone().unwrap_or_default().last_conversion_result.unwrap_or_default();
            if result == "success" { Ok(()) } else { Err(format!("{}: {result}", state.name_any())) }
        });
        (Self { configurations, services, nodes }, sessions, held)
    }

    /// Lets them look at all that there was until now, and asks for what was wrong.
    async fn testify(self, cluster: &Cluster) {
        let frr = |kind: &str| json!({"apiVersion": "frrk8s.metallb.io/v1beta1", "kind": kind, "metadata": {"name": END}, "spec": {}});
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": END}, "spec": {"ports": [{"port": 80}]},
        });
        // FRR-K8s looks at another namespace.
        let ends = [frr("FRRConfiguration"), frr("FRRNodeState"), service].map(object);
        cluster.0.apply(&ends).await.unwrap();
        // Clarion's come and MetalLB's go; each Service gets conditions. Daemons that refuse nothing have nothing to tell.
        let expected = [
            ("FRRConfigurations", self.configurations, 4),
            ("Services", self.services, SERVICES),
            ("FRRNodeStates", self.nodes, 0),
        ];
        for (what, watch, least) in expected {
            let (count, faults) = watch.await.unwrap();
            assert_eq!(faults, Vec::<String>::new(), "{what}");
            assert!(count >= least, "{count} events of {what}");
        }
    }
}

/// The versions of everything that `clarion shadow` could have written to.
async fn versions(cluster: &Cluster) -> BTreeMap<String, String> {
    let kinds = "frrconfigurations,services,lbpool,lbpeer,lbadv,communityaliases,secrets";
    let json = cluster.0.kubectl(&["get", kinds, "-A", "-o", "json"]).unwrap();
    let list: Value = serde_json::from_str(&json).unwrap();
    let text = |object: &Value, field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    let objects = list["items"].as_array().unwrap().iter();
    let name = |object: &Value| format!("{} {}/{}", object["kind"], text(object, "namespace"), text(object, "name"));
    objects.map(|object| (name(object), text(object, "resourceVersion"))).collect()
}

const NOTHING_CHANGES: &str = "\
0 prefixes change on 2/2 nodes
0 session parameters change on 2/2 nodes
FRR-K8s takes both together on 2/2 nodes
0 Services get other addresses
";

/// A whole cut-over, in which no prefix is ever missing from any session, and no attribute ever changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_over_loses_nothing_at_any_time() {
    let cluster = Cluster(ControlPlane::with_frr_k8s().await.unwrap());
    let daemons = NODES.map(|name| Daemon::start(&cluster.0, name).unwrap());
    cluster.0.apply(&NODES.map(node)).await.unwrap();
    let peer = |name: &str, address: &str| {
        let spec = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": address, "holdTime": "90s"});
        metallb("BGPPeer", name, spec)
    };
    let communities = json!(["65000:100", "blue", "large:64512:1:2"]);
    let objects = [
        metallb("IPAddressPool", "main", json!({"addresses": ["10.100.0.0/22"]})),
        metallb("Community", "colours", json!({"communities": [{"name": "blue", "value": "65000:200"}]})),
        metallb("BGPAdvertisement", "main", json!({"communities": communities, "localPref": 150})),
        peer("tor-a", "192.0.2.1"),
        peer("tor-b", "192.0.2.2"),
    ];
    let mut metallb = MetalLb::start(&cluster.0, &NODES).await.unwrap();
    cluster.0.apply(&objects).await.unwrap();
    create_workloads(&cluster).await;
    let networks = |node: &str, addresses: &BTreeMap<String, Vec<IpAddr>>| -> BTreeSet<String> {
        let is_local = |name: &str| name.ends_with('0');
        let here = addresses.iter().filter(|(name, _)| node == "node-a" || !is_local(name));
        here.flat_map(|(_, addresses)| addresses).map(|address| host_prefix(*address)).collect()
    };
    wait::until("MetalLB's prefixes", async || {
        let addresses = cluster.addresses().await.map_err(|error| error.to_string())?;
        if addresses.len() < SERVICES {
            return Err(format!("{} Services have addresses", addresses.len()));
        }
        let announced = announced(&cluster).await?;
        for (node, daemon) in NODES.iter().zip(&daemons) {
            let expected = networks(node, &addresses);
            let found: BTreeSet<String> = daemon.networks().into_iter().collect();
            if announced.get(*node) != Some(&expected) || found != expected {
                return Err(format!("{} prefixes on {node}, not {}", found.len(), expected.len()));
            }
        }
        Ok(())
    })
    .await
    .unwrap();
    for node in NODES {
        cluster.converted(node).await;
    }

    let before = versions(&cluster).await;
    let told = cluster.clarion(&["shadow"]).unwrap();
    assert!(told.contains("what clarion import makes of its objects") && told.ends_with(NOTHING_CHANGES), "{told}");
    assert_eq!(versions(&cluster).await, before);

    let (witnesses, sessions, held) = Witnesses::call(&cluster).await;
    assert_eq!(held.len() - 1, SERVICES, "with that of the API server");
    let path = cluster.0.directory().join("clarion.yaml");
    std::fs::write(&path, cluster.clarion(&["import", "--from-cluster"]).unwrap()).unwrap();
    cluster.0.apply(&manifests(&path).unwrap()).await.unwrap();
    metallb.stop_controller().await.unwrap();
    // A machine that is busy with all of this may not renew a short Lease in time.
    let arguments = ["--class-less=adopt", "--lease-duration", "15s"];
    let mut operator = Operator::start_with(&cluster.0, &cluster.0.operator_kubeconfig(), &arguments).unwrap();
    operator.leading().await.unwrap();
    wait::until("the same from Clarion alone", async || {
        let all = cluster.configurations().list(&Default::default()).await.map_err(|error| error.to_string())?;
        let ours = merged(all.items.iter().filter(|object| object.name_any().starts_with("clarion-")))?;
        if ours == sessions { Ok(()) } else { has_all(&ours, &sessions).and(Err("there is more".to_owned())) }
    })
    .await
    .unwrap();
    let told = cluster.clarion(&["shadow"]).unwrap();
    assert!(told.starts_with("MetalLB compared with Clarion's objects:") && told.ends_with(NOTHING_CHANGES), "{told}");

    metallb.stop_speakers().await.unwrap();
    let of_metallb: Api<FRRConfiguration> = Api::namespaced(cluster.0.client(), "frr-k8s-system");
    for node in NODES {
        of_metallb.delete(&MetalLb::configuration(node), &Default::default()).await.unwrap();
    }
    wait::until("the last word on each Service", async || {
        let services = cluster.services().list(&Default::default()).await.map_err(|error| error.to_string())?;
        let is_told = |service: &&Service| {
            let conditions = service.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.into_iter().any(|c| c.type_ == names::ADDRESS_ALLOCATED && c.reason == "Allocated")
        };
        let told = services.items.iter().filter(is_told).count();
        if told == SERVICES { Ok(()) } else { Err(format!("{told} Services have it")) }
    })
    .await
    .unwrap();
    witnesses.testify(&cluster).await;
    for (node, daemon) in NODES.iter().zip(&daemons) {
        cluster.converted(node).await;
        assert_eq!(daemon.networks().into_iter().collect::<BTreeSet<_>>(), networks(node, &held));
    }
}
