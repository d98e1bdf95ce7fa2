//! What the daemons do and report decides what is written and what is said.

use clarion_api::frr::{BGPSessionState, FRRConfiguration, FRRNodeState};
use clarion_envtest::{Daemon, Operator, wait};
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::cluster::{Cluster, object};

async fn patch_peer(cluster: &Cluster, spec: Value) {
    let peers: Api<clarion_api::RouterPeer> = Api::all(cluster.0.client());
    peers.patch("tor", &PatchParams::default(), &Patch::Merge(json!({ "spec": spec }))).await.unwrap();
}

/// The nodes that our objects give the session to, with the Secret of its password.
async fn secrets(cluster: &Cluster) -> Result<Vec<(String, Option<String>)>, String> {
    let objects = cluster.configurations().list(&ListParams::default()).await.map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for object in objects {
        let hosts = object.spec.node_selector.unwrap().match_expressions.unwrap()[0].values.clone().unwrap();
        let neighbor = object.spec.bgp.unwrap().routers[0].neighbors[0].clone();
        let secret = neighbor.password_secret.and_then(|secret| secret.name);
        found.extend(hosts.into_iter().map(|host| (host, secret.clone())));
    }
    found.sort();
    Ok(found)
}

#[tokio::test]
async fn a_missing_secret_stops_one_daemon_for_a_moment_and_no_other() {
    let cluster = Cluster::start().await;
    let daemons = ["node-a", "node-b"].map(|node| Daemon::start(&cluster.0, node).unwrap());
    cluster.converted("node-a").await;
    cluster.converted("node-b").await;
    let _operator = Operator::start(&cluster.0).unwrap();
    cluster.add_services(&["web"]).await;
    cluster.all_announced(&["web"]).await;

    patch_peer(&cluster, json!({"passwordSecret": {"name": "tor-password"}})).await;
    let message = cluster.becomes("lbpeer", "tor", "Ready", "True", "PasswordSecret").await;
    assert!(message.contains("secret tor-password not found"), "{message}");
    // The one that tried it has given the session up; the other has it as it was.
    wait::until("the session taken back", async || {
        let found = secrets(&cluster).await?;
        if found == [("node-b".to_owned(), None)] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();
    cluster.converted("node-a").await;
    assert_eq!(daemons[1].failed_conversions(), 0, "{}", daemons[1].configuration());

    let secret = object(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
        "metadata": {"name": "tor-password", "namespace": "frr-k8s-system"},
        "stringData": {"username": "", "password": "secret"},
    }));
    cluster.0.apply(&[secret]).await.unwrap();
    patch_peer(&cluster, json!({"holdTime": "90s", "keepaliveTime": "30s"})).await;
    cluster.becomes("lbpeer", "tor", "Ready", "True", "Valid").await;
    let both = ["node-a", "node-b"].map(|node| (node.to_owned(), Some("tor-password".to_owned())));
    wait::until("the Secret on both nodes", async || {
        let found = secrets(&cluster).await?;
        if found == both { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();
    assert_eq!(daemons[1].failed_conversions(), 0);
}

/// Reports a session, as FRR-K8s's status daemon would.
async fn session(cluster: &Cluster, node: &str, status: &str) {
    let states: Api<BGPSessionState> = Api::namespaced(cluster.0.client(), "frr-k8s-system");
    let name = format!("session-{node}");
    if states.get_opt(&name).await.unwrap().is_none() {
        let state = json!({
            "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "BGPSessionState",
            "metadata": {"name": name, "namespace": "frr-k8s-system"}, "spec": {},
        });
        cluster.0.apply(&[object(state)]).await.unwrap();
    }
    let status =
        json!({"status": {"bgpStatus": status, "bfdStatus": "N/A", "node": node, "peer": "192.0.2.1", "vrf": ""}});
    states.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

/// Reports what a daemon did, and what FRR runs.
async fn report(cluster: &Cluster, node: &str, conversion: &str, networks: &[&str]) {
    let states: Api<FRRNodeState> = Api::all(cluster.0.client());
    if states.get_opt(node).await.unwrap().is_none() {
        let state = json!({
            "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRNodeState", "metadata": {"name": node}, "spec": {},
        });
        cluster.0.apply(&[object(state)]).await.unwrap();
    }
    let networks: String = networks.iter().map(|network| format!("  network {network}\n")).collect();
    let running = format!("router bgp 64512\n address-family ipv4 unicast\n{networks} exit-address-family\n");
    let status = json!({"status": {
        "lastConversionResult": conversion, "lastReloadResult": "success", "runningConfig": running,
    }});
    states.patch_status(node, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

async fn events(cluster: &Cluster, reason: &str) -> Vec<String> {
    let events: Api<Event> = Api::all(cluster.0.client());
    let all = events.list(&ListParams::default()).await.unwrap().items;
    let ours = all.into_iter().filter(|event| event.reason.as_deref() == Some(reason));
    ours.map(|event| event.note.unwrap_or_default()).collect()
}

#[tokio::test]
async fn announced_means_announced() {
    let cluster = Cluster::start().await;
    let _operator = Operator::start(&cluster.0).unwrap();
    cluster.add_services(&["web"]).await;
    let address = cluster.all_announced(&["web"]).await["web"][0];
    cluster.becomes("service", "web", "clarionlb.io/Announced", "Unknown", "Unconfirmed").await;

    for node in ["node-a", "node-b"] {
        session(&cluster, node, "Established").await;
    }
    cluster.becomes("lbpeer", "tor", "SessionsEstablished", "True", "Established").await;
    report(&cluster, "node-a", "success", &[&format!("{address}/32")]).await;
    let message = cluster.becomes("service", "web", "clarionlb.io/Announced", "True", "Announced").await;
    assert_eq!(message, format!("announced: {address}"));
    cluster.becomes("lbpool", "main", "Announced", "True", "Announced").await;
    cluster.becomes("lbadv", "all", "Announced", "True", "Announced").await;

    // Of two nodes one goes down, and its daemon refuses what it is given: no Service is written.
    let before = cluster.services().get("web").await.unwrap().metadata.resource_version;
    session(&cluster, "node-a", "Active").await;
    let message = cluster.becomes("lbpeer", "tor", "SessionsEstablished", "False", "NoSession").await;
    assert_eq!(message, "1 of 2 sessions not established: node node-a");
    report(&cluster, "node-a", "failed: nobody foresaw this", &[]).await;
    let message = cluster.becomes("lbpeer", "tor", "Ready", "True", "NodeRefuses").await;
    assert!(message.contains("FRR-K8s on node node-a says: failed: nobody foresaw this"), "{message}");
    wait::until("an Event", async || {
        let told = events(&cluster, "NodeRefuses").await;
        if told.iter().any(|note| note.contains("nobody foresaw this")) { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await
    .unwrap();
    assert_eq!(cluster.services().get("web").await.unwrap().metadata.resource_version, before);

    session(&cluster, "node-b", "Idle").await;
    cluster.becomes("service", "web", "clarionlb.io/Announced", "False", "NoSession").await;
    cluster.becomes("lbpool", "main", "Announced", "False", "NotAnnounced").await;
}

#[tokio::test]
async fn a_flapping_node_gives_few_events() {
    let cluster = Cluster::start().await;
    let _operator = Operator::start(&cluster.0).unwrap();
    cluster.add_services(&["web"]).await;
    let address = cluster.all_announced(&["web"]).await["web"][0];
    session(&cluster, "node-a", "Established").await;
    session(&cluster, "node-b", "Idle").await;
    report(&cluster, "node-a", "success", &[&format!("{address}/32")]).await;
    cluster.becomes("service", "web", "clarionlb.io/Announced", "True", "Announced").await;
    for _ in 0..30 {
        session(&cluster, "node-a", "Idle").await;
        cluster.becomes("service", "web", "clarionlb.io/Announced", "False", "NoSession").await;
        session(&cluster, "node-a", "Established").await;
        cluster.becomes("service", "web", "clarionlb.io/Announced", "True", "Announced").await;
    }
    let told = events(&cluster, "NoSession").await.len() + events(&cluster, "Announced").await.len();
    // At most five for an object in ten minutes; there are four that have one.
    assert!((1..=20).contains(&told), "{told}");
}

#[tokio::test]
async fn an_edit_of_ours_is_undone_and_told() {
    let cluster = Cluster::start().await;
    let _operator = Operator::start(&cluster.0).unwrap();
    cluster.add_services(&["web"]).await;
    cluster.all_announced(&["web"]).await;
    let before = cluster.configurations().list(&ListParams::default()).await.unwrap().items.remove(0);
    let name = before.metadata.name.clone().unwrap();
    let edit = Patch::Merge(json!({"spec": {"raw": {"rawConfig": "! mine"}}}));
    let somebody = PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
    let ours: Api<FRRConfiguration> = Api::namespaced(cluster.0.client(), "frr-k8s-system");
    ours.patch(&name, &somebody, &edit).await.unwrap();
    wait::until("the object as it was", async || {
        let now = ours.get(&name).await.map_err(|error| error.to_string())?;
        if now.spec == before.spec { Ok(()) } else { Err(format!("{:?}", now.spec)) }
    })
    .await
    .unwrap();
    wait::until("an Event", async || {
        let told = events(&cluster, "Undone").await;
        if told.iter().any(|note| note.contains("kubectl-edit changed this object")) {
            Ok(())
        } else {
            Err(format!("{told:?}"))
        }
    })
    .await
    .unwrap();
}
