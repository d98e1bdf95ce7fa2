//! An API server that has too much to do.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use clarion_envtest::{Action, Operator, Proxy, Webhook, crowd, wait};
use http::Method;
use kube::api::ListParams;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use crate::cluster::{Cluster, endpoints, node};

const SERVICES: usize = 300;
/// What is asked for.
const WAIT: Duration = Duration::from_secs(2);

/// What the API server's priority and fairness has no place for is answered at once, with 429 and `Retry-After`.
#[tokio::test]
async fn an_api_server_that_asks_to_wait_is_left_alone_until_then() {
    let cluster = Cluster::start().await;
    crowd::configure(&cluster.0).await.unwrap();
    crowd::create(&cluster.services(), (0..SERVICES).map(crowd::service)).await.unwrap();
    let patches = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&patches);
    let proxy = Proxy::start(&cluster.0, move |method, uri| {
        if *method != Method::PATCH || !uri.path().contains("/services/") {
            return Action::Pass;
        }
        let mut seen = seen.lock().unwrap();
        let now = Instant::now();
        seen.push(now);
        if now < seen[0] + WAIT { Action::Reject(WAIT.as_secs()) } else { Action::Pass }
    })
    .await
    .unwrap();
    let _operator = Operator::start_with(&cluster.0, proxy.kubeconfig(), &["--lease-duration", "15s"]).unwrap();
    let names: Vec<String> = (0..SERVICES).map(crowd::service_name).collect();
    wait::until("all addresses", async || {
        let count = cluster.addresses().await.map_err(|error| error.to_string())?.len();
        if count == names.len() { Ok(()) } else { Err(format!("{count} of {}", names.len())) }
    })
    .await
    .unwrap();
    let patches = patches.lock().unwrap().clone();
    // Those that were under way when the first answer came are rejected too.
    let early = patches.iter().filter(|at| **at < patches[0] + WAIT).count();
    assert!(early <= crowd::IN_FLIGHT, "{early} writes were sent while the API server asked to wait");
}

/// In a large cluster FRR-K8s's webhook takes seconds for a write, and it has ten.
#[tokio::test]
async fn a_slow_webhook_is_waited_for() {
    let cluster = Cluster::start().await;
    crowd::configure(&cluster.0).await.unwrap();
    cluster.0.apply(&[node("n0"), endpoints(&crowd::service_name(0))]).await.unwrap();
    crowd::create(&cluster.services(), (0..1).map(crowd::service)).await.unwrap();
    let webhook = Webhook::start(&cluster.0).await.unwrap();
    webhook.process.signal("STOP").unwrap();
    let (first, creates) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (seen, count) = (Arc::clone(&first), Arc::clone(&creates));
    let proxy = Proxy::start(&cluster.0, move |method, uri| {
        if *method == Method::POST && uri.path().ends_with("/frrconfigurations") {
            count.fetch_add(1, Ordering::SeqCst);
            seen.notify_one();
        }
        Action::Pass
    })
    .await
    .unwrap();
    let _operator = Operator::start_with(&cluster.0, proxy.kubeconfig(), &["--lease-duration", "15s"]).unwrap();
    first.notified().await;
    sleep(Duration::from_secs(6)).await;
    webhook.process.signal("CONT").unwrap();
    wait::until("an FRRConfiguration", async || {
        let count = cluster.configurations().list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        if count.items.len() == 1 { Ok(()) } else { Err(format!("{} of them", count.items.len())) }
    })
    .await
    .unwrap();
    assert_eq!(creates.load(Ordering::SeqCst), 1, "it was not given up and tried again");
}
