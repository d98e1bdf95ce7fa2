//! `clarion drain-all`, before an uninstall.

use clarion_envtest::Operator;
use serde_json::json;

use crate::{
    cluster::{Cluster, endpoints, service},
    commands::{run, settled, stop},
};

async fn is_nothing_left(cluster: &Cluster) -> bool {
    cluster.configurations().list(&Default::default()).await.unwrap().items.is_empty()
}

#[tokio::test]
async fn everything_goes_and_comes_back_whoever_leads() {
    let (cluster, mut operator) = settled().await;
    let before = cluster.addresses().await.unwrap();
    let (status, out, _) = run(&cluster, &["drain-all", "--dry-run"]);
    assert!(status == 0 && out.contains("1 FRRConfiguration") && !is_nothing_left(&cluster).await, "{out}");

    let (status, out, error) = run(&cluster, &["drain-all"]);
    assert_eq!(status, 0, "{out}{error}");
    assert!(out.contains("clarion drain-all --undo"), "{out}");
    assert!(is_nothing_left(&cluster).await);
    assert_eq!(cluster.addresses().await.unwrap(), before);
    let (status, out, _) = run(&cluster, &["status"]);
    assert!(status == 1 && out.contains("AllDrained") && out.contains("drain-all --undo"), "{out}");
    let (_, out, _) = run(&cluster, &["explain", "service", "a"]);
    assert!(out.contains("drain-all --undo"), "{out}");

    // The next leader keeps to it, from its first plan on.
    stop(&mut operator).await;
    let (status, _, error) = run(&cluster, &["drain-all"]);
    assert!(status == 1 && error.contains("no operator holds the Lease clarion-system/clarion"), "{error}");
    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    cluster.add_services(&["c"]).await;
    let given = clarion_envtest::wait::until("an address for c", async || {
        let addresses = cluster.addresses().await.map_err(|error| error.to_string())?;
        addresses.get("c").cloned().ok_or_else(|| format!("{addresses:?}"))
    });
    given.await.unwrap();
    assert!(is_nothing_left(&cluster).await && !operator.process.log().contains("created"));

    let (status, out, error) = run(&cluster, &["drain-all", "--undo"]);
    assert_eq!(status, 0, "{out}{error}");
    let now = cluster.all_announced(&["a", "b", "c"]).await;
    assert!(before.iter().all(|(name, address)| now[name] == *address));
}

#[tokio::test]
async fn services_lose_their_addresses_if_asked_for_and_what_others_gave_stays() {
    let (cluster, _operator) = settled().await;
    let mut foreign = service("theirs", &["IPv4"]);
    foreign.data["spec"]["loadBalancerClass"] = json!("example.com/other");
    cluster.0.apply(&[endpoints("theirs"), foreign]).await.unwrap();
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}}});
    let patch = kube::api::Patch::Merge(status);
    cluster.services().patch_status("theirs", &Default::default(), &patch).await.unwrap();

    let (status, out, error) = run(&cluster, &["drain-all", "--release-addresses"]);
    assert_eq!(status, 0, "{out}{error}");
    assert!(is_nothing_left(&cluster).await);
    let left = cluster.addresses().await.unwrap();
    assert_eq!(left.keys().collect::<Vec<_>>(), ["theirs"], "{left:?}");
    for service in cluster.services().list(&Default::default()).await.unwrap() {
        let conditions = service.status.and_then(|status| status.conditions).unwrap_or_default();
        assert!(conditions.is_empty(), "{conditions:?}");
    }
    let (status, _, error) = run(&cluster, &["drain-all", "--undo"]);
    assert_eq!(status, 0, "{error}");
    cluster.all_announced(&["a", "b"]).await;
}

#[tokio::test]
async fn where_no_operator_ran_it_says_what_to_do() {
    let cluster = Cluster::start().await;
    let (status, _, error) = run(&cluster, &["drain-all"]);
    assert_eq!(status, 1);
    assert!(error.contains("no Lease of Clarion") && error.contains("kubectl delete frrconfigurations"), "{error}");
    let (status, _, error) = run(&cluster, &["drain-all", "--undo", "--release-addresses"]);
    assert_eq!(status, 2, "{error}");
}
