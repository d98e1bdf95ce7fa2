//! Changes that need several writes, on a real API server with FRR-K8s's own webhook, which merges every node at every write.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use clarion_api::frr::FRRConfiguration;
use clarion_envtest::{
    ControlPlane, History, Operator, Webhook,
    history::{self, Moment},
    wait,
};
use kube::{Api, ResourceExt as _, api::DynamicObject};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::cluster::{Cluster, advertisement, endpoints, object, peer, pool, service};

const NODES: [(&str, &str); 3] = [("node-a", "r1"), ("node-b", "r1"), ("node-c", "r2")];

fn labels(name: &str, rack: &str) -> BTreeMap<String, String> {
    [("kubernetes.io/hostname", name), ("rack", rack)].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn node(name: &str, rack: &str) -> DynamicObject {
    object(json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels(name, rack)},
    }))
}

/// A Service with `externalTrafficPolicy: Local`, and where its endpoints are.
fn local(name: &str, nodes: &[&str]) -> [DynamicObject; 2] {
    let mut service = service(name, &["IPv4"]);
    service.data["spec"]["externalTrafficPolicy"] = json!("Local");
    [service, endpoints_on(name, nodes)]
}

fn endpoints_on(service: &str, nodes: &[&str]) -> DynamicObject {
    let endpoint = |(n, node): (usize, &&str)| json!({"addresses": [format!("10.244.0.{}", n + 1)], "nodeName": node});
    let mut slice = endpoints(service);
    slice.data["endpoints"] = nodes.iter().enumerate().map(endpoint).collect();
    slice
}

fn peer_with(more: Value) -> DynamicObject {
    let mut peer = peer();
    peer.data["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    peer
}

fn advertisement_with(spec: Value) -> DynamicObject {
    let mut advertisement = advertisement();
    advertisement.data["spec"] = spec;
    advertisement
}

/// Three nodes, four Services announced by all of them, two announced by two nodes each.
async fn start() -> (Cluster, Vec<IpAddr>) {
    let cluster = Cluster(ControlPlane::with_frr_k8s().await.unwrap());
    cluster.0.apply(&NODES.map(|(name, rack)| node(name, rack))).await.unwrap();
    cluster.0.apply(&[pool("main", &["198.51.100.0/24"]), peer(), advertisement()]).await.unwrap();
    cluster.add_services(&["c1", "c2", "c3", "c4"]).await;
    cluster.0.apply(&local("l1", &["node-a", "node-b"])).await.unwrap();
    cluster.0.apply(&local("l2", &["node-b", "node-c"])).await.unwrap();
    let _operator = Operator::start(&cluster.0).unwrap();
    let addresses = cluster.all_announced(&["c1", "c2", "c3", "c4", "l1", "l2"]).await;
    (cluster, addresses.into_values().flatten().collect())
}

/// All neighbors in a moment, with the names of their objects.
fn neighbors(moment: &Moment) -> Vec<(&String, Value)> {
    let routers = moment.iter().flat_map(|(name, object)| {
        object.spec.bgp.iter().flat_map(|bgp| &bgp.routers).map(move |router| (name, router))
    });
    let neighbors = routers.flat_map(|(name, router)| router.neighbors.iter().map(move |neighbor| (name, neighbor)));
    neighbors.map(|(name, neighbor)| (name, serde_json::to_value(neighbor).unwrap())).collect()
}

fn is_settled(moment: &Moment, done: impl Fn(&Moment) -> bool) -> Result<(), String> {
    let parked = moment.keys().any(|name| name.starts_with("clarion-park-"));
    if !parked && done(moment) { Ok(()) } else { Err(serde_json::to_string(moment).unwrap()) }
}

/// Waits until nothing has been written for a while.
async fn quiet(history: &History) {
    let mut seen = 0;
    while std::mem::replace(&mut seen, history.count()) != history.count() {
        sleep(Duration::from_millis(700)).await;
    }
}

#[tokio::test]
async fn every_change_is_made_without_a_gap_and_without_a_refusal() {
    let (cluster, addresses) = start().await;
    let _webhook = Webhook::start(&cluster.0).await.unwrap();
    let mut history = History::of(&cluster.0).await.unwrap();
    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    let mut racks: BTreeMap<&str, &str> = NODES.into();

    let with = |field: &'static str, value: Value| {
        move |moment: &Moment| neighbors(moment).iter().all(|(_, neighbor)| neighbor[field] == value)
    };
    let base_has = |field: &'static str, there: bool| {
        move |moment: &Moment| {
            let mut bases = neighbors(moment).into_iter().filter(|(name, _)| name.starts_with("clarion-base-"));
            bases.all(|(_, neighbor)| neighbor.get(field).is_some() == there)
        }
    };
    let announces = |prefix: &'static str, there: bool| {
        move |moment: &Moment| moment.values().flat_map(crate::cluster::prefixes).any(|p| p == prefix) == there
    };
    let said = |text: &'static str, there: bool| {
        move |moment: &Moment| serde_json::to_string(moment).unwrap().contains(text) == there
    };
    type Done<'d> = Box<dyn Fn(&Moment) -> bool + 'd>;
    let steps: Vec<(&str, DynamicObject, Done)> = vec![
        // Base and overlays carry the session: they can't change one after the other.
        (
            "timers",
            peer_with(json!({"holdTime": "9s", "keepaliveTime": "3s"})),
            Box::new(with("holdTime", json!("9s"))),
        ),
        (
            "BFD",
            peer_with(json!({"holdTime": "9s", "keepaliveTime": "3s", "bfd": {}})),
            Box::new(base_has("bfdProfile", true)),
        ),
        ("no BFD, a port", peer_with(json!({"peerPort": 1179})), Box::new(with("port", json!(1179)))),
        ("local preference", advertisement_with(json!({"localPref": 7})), Box::new(said("\"localPref\":7", true))),
        (
            "an aggregate",
            advertisement_with(json!({"aggregationLength": 24})),
            Box::new(announces("198.51.100.0/24", true)),
        ),
        (
            "no aggregate",
            advertisement_with(json!({"communities": ["64512:1"]})),
            Box::new(announces("198.51.100.0/24", false)),
        ),
        (
            "another AS number for a rack",
            peer_with(json!({"nodeOverrides": [{"nodeSelector": {"matchLabels": {"rack": "r2"}}, "myASN": 64999}]})),
            Box::new(said("\"asn\":64999", true)),
        ),
        ("a node in another rack", node("node-b", "r2"), Box::new(said("\"node-b\",\"node-c\"", true))),
        ("one peer for all again", peer_with(json!({})), Box::new(said("\"asn\":64999", false))),
        (
            "a limit",
            advertisement_with(json!({"nodeLimit": {"max": 2}})),
            Box::new(|moment: &Moment| {
                let bases = moment.iter().filter(|(name, _)| name.starts_with("clarion-base-"));
                bases.map(|(_, object)| crate::cluster::prefixes(object).len()).sum::<usize>() == 0
            }),
        ),
        (
            "no limit",
            advertisement_with(json!({})),
            Box::new(|moment: &Moment| {
                let bases = moment.iter().filter(|(name, _)| name.starts_with("clarion-base-"));
                bases.map(|(_, object)| crate::cluster::prefixes(object).len()).sum::<usize>() == 4
            }),
        ),
        (
            "endpoints elsewhere",
            endpoints_on("l1", &["node-b", "node-c"]),
            Box::new(|moment: &Moment| moment.keys().filter(|name| name.starts_with("clarion-node-")).count() == 2),
        ),
    ];
    for (what, change, done) in steps {
        drop(history.take());
        cluster.0.apply(std::slice::from_ref(&change)).await.unwrap();
        if change.types.as_ref().unwrap().kind == "Node" {
            racks.insert("node-b", "r2");
        }
        let settled = wait::until(what, async || is_settled(&history.latest(), &done)).await;
        if let Err(why) = settled {
            panic!("{what}: {why}\n{}", operator.process.log());
        }
        quiet(&history).await;
        let nodes: Vec<_> = racks.iter().map(|(name, rack)| labels(name, rack)).collect();
        let moments = history.take();
        println!("{what}: {} writes", moments.len() - 1);
        history::unbroken(&moments, &nodes, &addresses).unwrap_or_else(|broken| panic!("{what}: {broken}"));
        if what == "BFD" {
            // A leader that goes in the middle of something else is no reason to do anything.
            operator.process.signal("KILL").unwrap();
            operator.ended().await.unwrap();
            operator = Operator::start(&cluster.0).unwrap();
            operator.leading().await.unwrap();
            history = History::of(&cluster.0).await.unwrap();
        }
    }
    let log = operator.process.log();
    assert!(!log.contains("denied the request"), "{log}");
}

#[tokio::test]
async fn an_endpoint_of_a_local_service_rewrites_the_objects_of_its_nodes_and_nothing_else() {
    let (cluster, _) = start().await;
    let operator = Operator::start(&cluster.0).unwrap();
    let history = History::of(&cluster.0).await.unwrap();
    let versions = |moment: &Moment| -> BTreeMap<String, String> {
        moment.iter().map(|(name, object)| (name.clone(), object.resource_version().unwrap())).collect()
    };
    let before = history.latest();
    // From node-a and node-b to node-b and node-c: one of three objects stays as it is.
    cluster.0.apply(&[endpoints_on("l1", &["node-b", "node-c"])]).await.unwrap();
    let l1 = crate::cluster::host_prefix(cluster.addresses().await.unwrap()["l1"][0]);
    let on = |moment: &Moment, host: &str| -> Option<(String, Vec<String>)> {
        let selects = |object: &&FRRConfiguration| {
            let spec = serde_json::to_value(&object.spec).unwrap();
            spec["nodeSelector"]["matchExpressions"][0]["values"] == json!([host])
        };
        let object = moment.values().find(selects)?;
        Some((object.name_any(), crate::cluster::prefixes(object)))
    };
    wait::until("l1 on node-c and not on node-a", async || {
        let moment = history.latest();
        let there = |host: &str| on(&moment, host).is_some_and(|(_, prefixes)| prefixes.contains(&l1));
        if there("node-c") && !there("node-a") { Ok(()) } else { Err(format!("{:?}", moment.keys())) }
    })
    .await
    .unwrap();
    let after = history.latest();
    let (before, after) = (versions(&before), versions(&after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let touched: BTreeSet<&String> = names.into_iter().filter(|name| before.get(*name) != after.get(*name)).collect();
    let moments = history.take();
    let [of_a, of_c] = [on(&moments[0], "node-a"), on(moments.last().unwrap(), "node-c")].map(|found| found.unwrap().0);
    assert_eq!(touched, BTreeSet::from([&of_a, &of_c]), "{}", operator.process.log());
}

#[tokio::test]
async fn a_drain_is_announced_then_made_and_no_new_leader_moves_its_end() {
    let (cluster, addresses) = start().await;
    let flags = ["--drain-taints", "example.com/going", "--drain-grace", "20s"];
    let kubeconfig = cluster.0.operator_kubeconfig();
    let history = History::of(&cluster.0).await.unwrap();
    let mut operator = Operator::start_with(&cluster.0, &kubeconfig, &flags).unwrap();
    operator.leading().await.unwrap();
    cluster.0.kubectl(&["taint", "node", "node-c", "example.com/going:NoSchedule"]).unwrap();
    let deadline = |moment: &Moment| -> Option<String> {
        let annotations = moment.values().filter_map(|object| object.annotations().get("clarionlb.io/drained-hosts"));
        annotations.into_iter().find(|text| text.starts_with("node-c=")).cloned()
    };
    let shutdown = |moment: &Moment| {
        let merged = history::merged(moment, &labels("node-c", "r2")).unwrap();
        let routes: Vec<_> = merged.routers[""].neighbors["192.0.2.1"].announced().map(|(_, a)| a.clone()).collect();
        let marked = routes.iter().filter(|a| a.communities.contains("65535:0") && a.local_pref == Some(0)).count();
        (routes.len(), marked)
    };
    wait::until("GRACEFUL_SHUTDOWN on all of node-c", async || match shutdown(&history.latest()) {
        (5, 5) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
    let first = deadline(&history.latest()).unwrap();
    let nodes = NODES.map(|(name, rack)| labels(name, rack));
    history::unbroken(&history.take(), &nodes, &addresses).unwrap();
    for _ in 0..2 {
        operator.process.signal("KILL").unwrap();
        operator.ended().await.unwrap();
        sleep(Duration::from_secs(1)).await;
        operator = Operator::start_with(&cluster.0, &kubeconfig, &flags).unwrap();
        operator.leading().await.unwrap();
        assert_eq!(deadline(&history.latest()).unwrap(), first);
    }
    wait::until("the withdrawal on node-c", async || match shutdown(&history.latest()) {
        (0, 0) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
    assert_eq!(deadline(&history.latest()).unwrap(), first);
    let nodes: Vec<_> = NODES[..2].iter().map(|(name, rack)| labels(name, rack)).collect();
    history::unbroken(&history.take(), &nodes, &addresses).unwrap();

    cluster.0.kubectl(&["taint", "node", "node-c", "example.com/going-"]).unwrap();
    wait::until("node-c as before", async || match (shutdown(&history.latest()), deadline(&history.latest())) {
        ((5, 0), None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_field_that_the_crd_does_not_have_is_told_and_not_written() {
    let (cluster, _) = start().await;
    let _operator = Operator::start(&cluster.0).unwrap();
    let crd = "frrconfigurations.frrk8s.metallb.io";
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/bgp/properties/routers/items/properties/neighbors/items";
    let patch = json!([{"op": "remove", "path": format!("{path}/properties/localASN")}]);
    cluster.0.kubectl(&["patch", "crd", crd, "--type=json", "-p", &patch.to_string()]).unwrap();
    cluster.0.apply(&[peer_with(json!({"localASN": 64999, "peerPort": 1179}))]).await.unwrap();
    let ready = async || {
        let api: Api<clarion_api::RouterPeer> = Api::all(cluster.0.client());
        let status = api.get("tor").await.map_err(|error| error.to_string())?.status.unwrap_or_default();
        let ready = status.conditions.into_iter().find(|condition| condition.type_ == "Ready");
        ready.map(|ready| (ready.reason, ready.message)).ok_or_else(|| "no condition".to_owned())
    };
    wait::until("a condition about localASN", async || {
        let (reason, message) = ready().await?;
        let told = reason == "NotInFRRK8s" && message.contains("localASN");
        if told { Ok(()) } else { Err(format!("{reason}: {message}")) }
    })
    .await
    .unwrap();
    wait::until("the rest in effect", async || {
        let configurations = cluster.configurations().list(&Default::default()).await.map_err(|e| e.to_string())?;
        let moment = configurations.items.into_iter().map(|object| (object.name_any(), object)).collect();
        is_settled(&moment, |moment| neighbors(moment).iter().all(|(_, neighbor)| neighbor["port"] == 1179))
    })
    .await
    .unwrap();
}
