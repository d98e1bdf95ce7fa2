//! What may go wrong at any moment: kills, lost answers, late watches, an API server or a Lease that goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clarion_envtest::{Action, Operator, Proxy, wait};
use http::Method;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use tokio::time::sleep;

use crate::cluster::Cluster;

type Addresses = BTreeMap<String, Vec<IpAddr>>;

fn assert_nobody_shares(addresses: &Addresses) {
    let all: Vec<_> = addresses.values().flatten().collect();
    let distinct: BTreeSet<_> = all.iter().collect();
    assert_eq!(all.len(), distinct.len(), "two Services have one address: {addresses:?}");
}

/// A small generator of numbers that look random; the seed is printed where it is used.
pub struct Random(u64);

impl Random {
    pub fn seeded() -> Self {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
        println!("seed {seed}");
        Self(u64::from(seed) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[tokio::test]
async fn killed_twenty_times_between_its_writes_it_loses_and_doubles_nothing() {
    let cluster = Cluster::start().await;
    let mut random = Random::seeded();
    let mut names: Vec<String> = Vec::new();
    let mut known = Addresses::new();
    for round in 0..20 {
        let mut operator = Operator::start(&cluster.0).unwrap();
        operator.leading().await.unwrap();
        for n in 0..3 {
            let name = format!("s{round}-{n}");
            cluster.add_services(&[&name]).await;
            names.push(name);
        }
        // Between the first status and the last FRRConfiguration there are some tens of milliseconds.
        sleep(Duration::from_millis(random.below(60))).await;
        // On a machine that has no time for it, the operator may have lost its short Lease before, and ended by itself.
        let _ = operator.process.signal("KILL");
        let status = operator.ended().await.unwrap();
        assert!([128 + 9, 1].contains(&status), "{status}: {}", operator.process.log());
        let now = cluster.addresses().await.unwrap();
        assert_nobody_shares(&now);
        for (name, before) in &known {
            assert_eq!(now.get(name), Some(before), "{name} lost its address in round {round}");
        }
        known = now;
    }
    let _operator = Operator::start_as_shipped(&cluster.0).unwrap();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let now = cluster.all_announced(&names).await;
    assert_nobody_shares(&now);
    assert!(known.iter().all(|(name, before)| now[name] == *before));
    assert_eq!(now.len(), 60);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_found_out_and_nothing_is_done_twice() {
    let cluster = Cluster::start().await;
    // Of every write, the first answer is lost and then every second one.
    let writes = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&writes);
    let proxy = Proxy::start(&cluster.0, move |method, uri| {
        let write = [Method::PATCH, Method::POST, Method::PUT].contains(method) && !uri.path().contains("/leases");
        if write && counted.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            Action::LoseAnswer
        } else {
            Action::Pass
        }
    })
    .await
    .unwrap();
    let operator = Operator::start_with(&cluster.0, proxy.kubeconfig(), &[]).unwrap();
    let names = ["a", "b", "c", "d", "e", "f"];
    cluster.add_services(&names).await;
    let addresses = cluster.all_announced(&names).await;
    assert_nobody_shares(&addresses);
    assert!(writes.load(Ordering::SeqCst) > 8);
    assert!(operator.process.log().contains("the answer was lost"), "{}", operator.process.log());
    // Each Service was given one address, once: had a write been repeated, there would be another version of it.
    let used: BTreeSet<_> = addresses.values().flatten().map(ToString::to_string).collect();
    let lowest: BTreeSet<_> = (0..6).map(|n| format!("198.51.100.{n}")).collect();
    assert_eq!(used, lowest);
}

#[tokio::test]
async fn a_plan_made_before_the_watch_returned_our_own_write_knows_of_it() {
    let cluster = Cluster::start().await;
    let proxy = Proxy::start(&cluster.0, |method, uri| {
        let services =
            uri.path() == "/api/v1/services" && uri.query().is_some_and(|query| query.contains("watch=true"));
        if *method == Method::GET && services { Action::Delay(Duration::from_millis(700)) } else { Action::Pass }
    })
    .await
    .unwrap();
    let mut operator = Operator::start_with(&cluster.0, proxy.kubeconfig(), &[]).unwrap();
    operator.leading().await.unwrap();
    // Each event of the watch comes 700 ms after the one before: "b" arrives before the echo of what was written to "a".
    let names = ["a", "b", "c"];
    for name in names {
        cluster.add_services(&[name]).await;
        sleep(Duration::from_millis(20)).await;
    }
    let addresses = cluster.all_announced(&names).await;
    assert_nobody_shares(&addresses);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(cluster.addresses().await.unwrap(), addresses, "the late echoes change nothing");
}

#[tokio::test]
async fn the_api_server_goes_and_comes_back() {
    let mut cluster = Cluster::start().await;
    let mut operator =
        Operator::start_with(&cluster.0, &cluster.0.operator_kubeconfig(), &["--lease-duration", "30s"]).unwrap();
    operator.leading().await.unwrap();
    cluster.add_services(&["a", "b"]).await;
    let before = cluster.all_announced(&["a", "b"]).await;
    for round in 0..3 {
        cluster.0.stop_api_server();
        sleep(Duration::from_millis(500)).await;
        cluster.0.start_api_server().await.unwrap();
        let name = format!("after-{round}");
        cluster.add_services(&[&name]).await;
        let now = cluster.all_announced(&["a", "b", &name]).await;
        assert!(before.iter().all(|(name, address)| now[name] == *address));
    }
    assert_eq!(operator.process.exited().unwrap(), None, "{}", operator.process.log());
}

#[tokio::test]
async fn the_second_replica_takes_over_when_the_first_loses_its_lease_and_the_first_ends() {
    let cluster = Cluster::start().await;
    let mut first = Operator::start(&cluster.0).unwrap();
    first.leading().await.unwrap();
    cluster.add_services(&["a"]).await;
    let before = cluster.all_announced(&["a"]).await;
    let mut second = Operator::start(&cluster.0).unwrap();
    wait::until("a second replica that stands by", async || match second.get("/readyz").await {
        Ok((200, text)) if text.starts_with("standing by") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();

    first.process.signal("STOP").unwrap();
    cluster.add_services(&["b"]).await;
    second.leading().await.unwrap();
    let now = cluster.all_announced(&["a", "b"]).await;
    assert_eq!(now["a"], before["a"]);
    assert_nobody_shares(&now);

    cluster.services().delete("a", &Default::default()).await.unwrap();
    wait::until("the withdrawal", async || {
        let announced = cluster.announced().await.map_err(|error| error.to_string())?;
        if announced.len() == 1 { Ok(()) } else { Err(format!("{announced:?}")) }
    })
    .await
    .unwrap();
    first.process.signal("CONT").unwrap();
    assert_eq!(first.ended().await.unwrap(), 1);
    assert!(first.process.log().contains("this process ends, so that only one writes"), "{}", first.process.log());
    sleep(Duration::from_millis(500)).await;
    assert_eq!(cluster.announced().await.unwrap().len(), 1, "the old leader wrote nothing");
    assert_eq!(second.process.exited().unwrap(), None);
}

#[tokio::test]
async fn a_leader_that_cant_renew_ends_before_another_may_lead() {
    let cluster = Cluster::start().await;
    let cut = Arc::new(AtomicBool::new(false));
    let is_cut = Arc::clone(&cut);
    let proxy = Proxy::start(&cluster.0, move |_, uri| {
        if is_cut.load(Ordering::SeqCst) && uri.path().contains("/leases") { Action::Refuse(503) } else { Action::Pass }
    })
    .await
    .unwrap();
    let mut operator = Operator::start_with(&cluster.0, proxy.kubeconfig(), &[]).unwrap();
    operator.leading().await.unwrap();
    cut.store(true, Ordering::SeqCst);
    assert_eq!(operator.ended().await.unwrap(), 1);
    assert!(operator.process.log().contains("could not be renewed"), "{}", operator.process.log());
    let leases: Api<Lease> = Api::namespaced(cluster.0.client(), "clarion-system");
    let holder = leases.get("clarion").await.unwrap().spec.unwrap().holder_identity.unwrap();
    assert!(!holder.is_empty(), "it is not released: writes of the old leader may still arrive");
}

#[tokio::test]
async fn a_leader_that_stops_in_order_hands_over_at_once() {
    let cluster = Cluster::start().await;
    let long = ["--lease-duration", "60s"];
    let mut first = Operator::start_with(&cluster.0, &cluster.0.operator_kubeconfig(), &long).unwrap();
    first.leading().await.unwrap();
    first.process.signal("TERM").unwrap();
    assert_eq!(first.ended().await.unwrap(), 0);
    // Far less than the minute that an expiry would take.
    let mut second = Operator::start_with(&cluster.0, &cluster.0.operator_kubeconfig(), &long).unwrap();
    second.leading().await.unwrap();
    assert!(second.process.log().contains("takeover=HandedOver"), "{}", second.process.log());
}

#[tokio::test]
async fn what_others_change_in_our_object_is_put_back_and_their_labels_stay() {
    let cluster = Cluster::start().await;
    let _operator = Operator::start(&cluster.0).unwrap();
    cluster.add_services(&["a"]).await;
    cluster.all_announced(&["a"]).await;
    let api: Api<clarion_api::frr::FRRConfiguration> = Api::namespaced(cluster.0.client(), "frr-k8s-system");
    let name = api.list(&Default::default()).await.unwrap().items[0].metadata.name.clone().unwrap();
    let meddled = serde_json::json!({
        "metadata": {"labels": {"mine": "yes"}},
        "spec": {"raw": {"rawConfig": "! mine"}, "bgp": {"routers": [{"asn": 1}]}},
    });
    api.patch(&name, &PatchParams::default(), &Patch::Merge(meddled)).await.unwrap();
    wait::until("the object as it was", async || {
        let object = api.get(&name).await.map_err(|error| error.to_string())?;
        let asn = object.spec.bgp.as_ref().map(|bgp| bgp.routers[0].asn);
        let labelled =
            object.metadata.labels.as_ref().is_some_and(|labels| labels.get("mine").is_some_and(|l| l == "yes"));
        if asn == Some(64512) && object.spec.raw.is_none() && labelled { Ok(()) } else { Err(format!("{object:?}")) }
    })
    .await
    .unwrap();
    api.delete(&name, &Default::default()).await.unwrap();
    cluster.all_announced(&["a"]).await;
}
