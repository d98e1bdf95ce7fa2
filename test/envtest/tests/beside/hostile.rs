//! A webhook that does not answer, a thousand writes at once, and whatever users can write.

use std::time::{Duration, Instant};

use clarion_api::frr::FRRConfiguration;
use clarion_envtest::{Operator, Webhook, wait};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::scene::{NODES, Scene, TOR, Users, local, on, their};
use crate::cluster::{Cluster, object};

#[tokio::test]
async fn while_the_webhook_does_not_answer_it_tells_and_goes_on_afterwards() {
    // The API server gives writes of ours 1.5 s.
    let scene = Scene::start_with(&["--lease-duration", "6s"]).await;
    let mut webhook = Webhook::start(&scene.cluster.0).await.unwrap();
    let is_told = async |what: &str, words: &str| {
        let mut told = Duration::ZERO;
        for peer in ["tor", "spine", "leaf"] {
            told += scene.tells(peer, "WriteRefused", words).await;
        }
        let attempts = scene.operator.process.log().matches("not written").count();
        let message = scene.ready("tor").await.unwrap().message;
        println!("{what}: told after {told:.1?}, {attempts} attempts so far: {message}");
    };

    webhook.stop().await.unwrap();
    let given = scene.gives_an_address_to("while-it-is-down").await;
    println!("down: an address after {given:.0?}");
    is_told("down", "failed calling webhook").await;
    webhook.start_again(&scene.cluster.0).await.unwrap();
    println!("up: everything is announced after {:.1?}", scene.is_whole().await);

    webhook.set_timeout(&scene.cluster.0, 1).unwrap();
    webhook.process.signal("STOP").unwrap();
    let given = scene.gives_an_address_to("while-it-hangs").await;
    println!("hanging: an address after {given:.0?}");
    is_told("hanging", "failed calling webhook").await;
    webhook.process.signal("CONT").unwrap();
    println!("going on: everything is announced after {:.1?}", scene.is_whole().await);

    // The API server gives our write up before it gives up the webhook.
    webhook.set_timeout(&scene.cluster.0, 10).unwrap();
    webhook.process.signal("STOP").unwrap();
    scene.gives_an_address_to("while-it-hangs-for-long").await;
    is_told("hanging for long", "").await;
    webhook.process.signal("CONT").unwrap();
    println!("going on: everything is announced after {:.1?}", scene.is_whole().await);

    for round in 0..4 {
        webhook.process.signal("STOP").unwrap();
        scene.gives_an_address_to(&format!("slow-{round}")).await;
        sleep(Duration::from_millis(400)).await;
        webhook.process.signal("CONT").unwrap();
        sleep(Duration::from_millis(100)).await;
    }
    println!("slow: everything is announced after {:.1?}", scene.is_whole().await);
    scene.nothing_was_lost("an absent webhook").await;
    scene.no_conversion_failed("an absent webhook");
}

/// Latencies of a user's writes.
fn summary(mut latencies: Vec<Duration>) -> String {
    latencies.sort();
    let (median, longest) = (latencies[latencies.len() / 2], latencies[latencies.len() - 1]);
    format!("{} writes of a user: p50 {median:.0?}, longest {longest:.0?}", latencies.len())
}

#[tokio::test]
async fn users_can_write_while_there_are_a_thousand_writes_of_ours() {
    const MANY: usize = 1000;
    let cluster = Cluster::start().await;
    let client = cluster.0.client();
    let write = async |path: &'static str, object: Value| {
        let request = http::Request::post(path).header("content-type", "application/json");
        client.request::<Value>(request.body(object.to_string().into_bytes()).unwrap()).await.map(drop)
    };
    let nodes = (0..MANY).map(|n| {
        let labels = json!({"kubernetes.io/hostname": format!("n{n}")});
        write("/api/v1/nodes", json!({"metadata": {"name": format!("n{n}"), "labels": labels}}))
    });
    stream::iter(nodes).buffer_unordered(16).try_collect::<()>().await.unwrap();
    // Each of 300 Services has endpoints on 20 nodes.
    let services = (0..300).map(async |s| {
        let name = format!("local-{s}");
        let [mut slice, mut service] = local(&name);
        let endpoint = |e: usize| {
            json!({"addresses": [format!("10.244.{}.{e}", s % 250)], "nodeName": format!("n{}", (s * 20 + e) % MANY)})
        };
        slice.data["endpoints"] = (0..20).map(endpoint).collect();
        service.data["spec"]["allocateLoadBalancerNodePorts"] = json!(false);
        write("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", json!(slice)).await?;
        write("/api/v1/namespaces/default/services", json!(service)).await
    });
    stream::iter(services).buffer_unordered(16).try_collect::<()>().await.unwrap();
    cluster.0.apply(&[crate::cluster::pool("more", &["203.0.113.0/24"])]).await.unwrap();
    let webhook = Webhook::start(&cluster.0).await.unwrap();
    let kind = ApiResource::erase::<FRRConfiguration>(&());
    let users =
        Users { api: Api::namespaced_with(client.clone(), "frr-k8s-system", &kind), namespace: "frr-k8s-system" };
    let writes = async |count: u16| {
        let mut latencies = Vec::new();
        for n in 0..count {
            let started = Instant::now();
            let neighbor = json!({"address": "192.0.2.99", "port": 1000 + n});
            users.writes("user", &their(on("n7"), &json!({}), &neighbor)).await.unwrap();
            latencies.push(started.elapsed());
            sleep(Duration::from_millis(20)).await;
        }
        summary(latencies)
    };
    println!("alone: {}", writes(20).await);
    let kubeconfig = cluster.0.operator_kubeconfig();
    // As it is by default: a write may take longer than in other tests.
    let mut operator = Operator::start_with(&cluster.0, &kubeconfig, &["--lease-duration", "15s"]).unwrap();
    operator.leading().await.unwrap();
    let ours = async || {
        let metadata = cluster.configurations().list_metadata(&ListParams::default()).await.unwrap();
        metadata.items.iter().filter(|object| object.name_any().starts_with("clarion-")).count()
    };
    wait::until("writes of ours", async || match ours().await {
        0..20 => Err("there are none"),
        _ => Ok(()),
    })
    .await
    .unwrap_or_else(|why| panic!("{why}\n{}", operator.process.log()));
    let (before, started) = (ours().await, Instant::now());
    println!("beside ours: {}", writes(30).await);
    let neighbor = json!({"address": "192.0.2.99", "port": 2000});
    let wide = Instant::now();
    users.writes("user", &their(json!({}), &json!({}), &neighbor)).await.unwrap();
    println!("for all nodes: {:.0?}", wide.elapsed());
    let (after, took) = (ours().await, started.elapsed());
    println!("ours: from {before} to {after} in {took:.1?}");
    assert!(after < MANY, "all were written before the user was done");
    assert_eq!(operator.process.exited().unwrap(), None);
    drop(webhook);
}

#[tokio::test]
async fn whatever_users_write_where_no_webhook_refuses_it_nothing_stalls() {
    let mut scene = Scene::start().await;
    let users = scene.users();
    // Makes a Service while there is something wrong, and then mends that.
    let spoils = async |what: &str, spec: Value, words: &str, stands: &[usize]| {
        users.writes("user", &spec).await.unwrap();
        let told = scene.tells("tor", "ForeignFault", words).await;
        let message = scene.ready("tor").await.unwrap().message;
        assert!(message.contains("frr-k8s-system/user"), "{message}");
        let name = format!("beside-{what}");
        let given = scene.gives_an_address_to(&name).await;
        for node in (0..2).filter(|node| !stands.contains(node)) {
            scene.carries_all(node, TOR).await;
        }
        users.deletes("user").await;
        let healed = scene.is_whole().await;
        println!("{what}: told after {told:.0?}, an address after {given:.0?}, whole after {healed:.0?}: {message}");
    };
    let nobody = json!({"matchExpressions": [{"key": "a", "operator": "In", "values": []}]});
    spoils("selector", json!({"nodeSelector": nobody}), "nodeSelector that can't be parsed", &[0, 1]).await;
    let unknown = json!({"address": "192.0.2.99", "bfdProfile": "missing"});
    spoils("profile", their(on(NODES[1]), &json!({}), &unknown), "bfdProfile", &[1]).await;
    let missing = json!({"address": "192.0.2.99", "passwordSecret": {"name": "missing"}});
    users.writes("user", &their(on(NODES[1]), &json!({}), &missing)).await.unwrap();
    scene.gives_an_address_to("beside-secret").await;
    scene.carries_all(0, TOR).await;
    let told = scene.tells("tor", "NodeRefuses", "secret missing not found").await;
    println!("missing Secret: told after {told:.1?}");
    users.deletes("user").await;
    scene.is_whole().await;

    // What is unusual, and no fault.
    let create = async |name: &str, spec: Value| {
        let theirs = json!({
            "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration",
            "metadata": {"name": name, "labels": {"theirs": "yes"}}, "spec": spec,
        });
        users.api.create(&PostParams::default(), &object(theirs)).await.map(drop)
    };
    let goes_on = async |what: &str| {
        let name = format!("beside-{what}");
        let given = scene.gives_an_address_to(&name).await;
        let whole = scene.is_whole().await;
        println!(
            "{what}: an address after {given:.0?}, announced after {whole:.0?}; longest plan {:.0?}",
            scene.longest_plan()
        );
    };
    create("raw", json!({"raw": {"priority": 5, "rawConfig": "! nothing"}})).await.unwrap();
    goes_on("raw").await;
    create("unknown", json!({"new": {"field": [1]}, "bgp": {"newer": "field"}})).await.unwrap();
    goes_on("unknown").await;
    let prefixes: Vec<_> =
        (0..60_000).map(|n| format!("10.{}.{}.{}/32", 100 + (n >> 16), n >> 8 & 255, n & 255)).collect();
    // The daemons would need seconds for so many.
    let large = json!({"nodeSelector": {"matchLabels": {"no": "node"}}, "bgp": {"routers": [{"asn": 64512, "prefixes": prefixes}]}});
    println!("a large object of {} bytes", large.to_string().len());
    create("large", large).await.unwrap();
    goes_on("large").await;
    create("comments", json!({"raw": {"rawConfig": "! nothing\n".repeat(100_000)}})).await.unwrap();
    goes_on("comments").await;
    for name in ["large", "comments"] {
        users.deletes(name).await;
    }
    scene.users_of("default").writes("user", &their(json!({}), &json!({}), &json!({"port": 1179}))).await.unwrap();
    goes_on("elsewhere").await;
    scene.users_of("default").deletes("user").await;

    // Somebody meddles with ours.
    let ours = users.api.list(&ListParams::default().labels("clarionlb.io/layer=base")).await.unwrap();
    let name = ours.items[0].name_any();
    let untouched = ours.items[0].data["spec"].clone();
    let meddlings = [
        json!({"spec": {"bgp": {"routers": [{"asn": 1}]}}}),
        json!({"spec": {"nodeSelector": null}}),
        json!({"spec": {"raw": {"rawConfig": "! mine"}}}),
        json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}}),
        json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}, "spec": {"bgp": {"routers": [{"asn": 1}]}}}),
    ];
    let is_as_it_was = async |what: &str| {
        let started = Instant::now();
        wait::until(&format!("the object as it was before {what}"), async || {
            let found = users.api.get(&name).await.map_err(|error| error.to_string())?;
            let ours = found.labels().get("app.kubernetes.io/managed-by").is_some_and(|by| by == "clarion");
            if ours && found.data["spec"] == untouched {
                Ok(())
            } else {
                Err(format!("{:?} {}", found.labels(), found.data))
            }
        })
        .await
        .unwrap_or_else(|why| panic!("{why}\n{}", scene.operator.process.log()));
        scene.is_whole().await;
        println!("undone after {:.0?}: {what}", started.elapsed());
    };
    for meddling in meddlings {
        users.api.patch(&name, &PatchParams::default(), &Patch::Merge(&meddling)).await.unwrap();
        is_as_it_was(&meddling.to_string()).await;
    }
    users.deletes(&name).await;
    is_as_it_was("deletion").await;

    // It stops all daemons: they can't even list.
    let undecodable = json!({"address": "192.0.2.99", "holdTime": "soon", "keepaliveTime": "1s"});
    users.writes("user", &their(json!({"matchLabels": {"no": "node"}}), &json!({}), &undecodable)).await.unwrap();
    scene.tells("tor", "ForeignFault", "\"soon\" can't be decoded").await;
    scene.gives_an_address_to("beside-undecodable").await;
    users.deletes("user").await;
    scene.tells("tor", "Valid", "").await;
    println!("undecodable: whole after {:.1?}", scene.is_whole().await);

    // A thousand others, and a new leader that finds them.
    assert_eq!(scene.operator.process.exited().unwrap(), None);
    assert!(!scene.operator.process.log().contains("panicked"), "{}", scene.operator.process.log());
    scene.operator.process.signal("KILL").unwrap();
    for daemon in &scene.daemons {
        daemon.process.signal("STOP").unwrap();
    }
    let started = Instant::now();
    let many = (0..1000).map(async |n| {
        let neighbor = json!({"address": format!("198.18.{}.{}", n / 250, n % 250), "asn": 64513});
        create(&format!("small-{n}"), json!({"bgp": {"routers": [{"asn": 64512, "neighbors": [neighbor]}]}})).await
    });
    stream::iter(many).buffer_unordered(16).try_collect::<()>().await.unwrap();
    println!("1,000 objects in {:.1?}", started.elapsed());
    scene.operator = Operator::start(&scene.cluster.0).unwrap();
    scene.operator.leading().await.unwrap();
    for daemon in &scene.daemons {
        daemon.process.signal("CONT").unwrap();
    }
    let given = scene.gives_an_address_to("beside-many").await;
    let whole = scene.is_whole().await;
    println!(
        "many: an address after {given:.0?}, announced after {whole:.1?}; longest plan {:.0?}",
        scene.longest_plan()
    );
    assert_eq!(scene.operator.process.exited().unwrap(), None);
    assert!(!scene.operator.process.log().contains("panicked"), "{}", scene.operator.process.log());
}
