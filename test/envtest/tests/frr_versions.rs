//! FRR-K8s at both ends of what is supported, and beyond.

use std::time::Duration;

use clarion_envtest::{ControlPlane, Daemon, Operator, wait};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use rstest::rstest;
use serde_json::json;

use crate::{
    cluster::{Cluster, basics, kubernetes_is, object},
    commands::run,
};

async fn with(component: &str) -> Cluster {
    let cluster = Cluster(ControlPlane::with_clarion().await.unwrap());
    cluster.0.install_frr_k8s_of(component).await.unwrap();
    cluster.0.apply(&basics()).await.unwrap();
    cluster
}

#[tokio::test]
async fn the_oldest_takes_what_is_written_and_what_it_has_no_field_for_is_told() {
    // With newer API servers FRR-K8s needs v0.0.25 (docs/installation.md).
    if kubernetes_is("1.37") {
        return;
    }
    let cluster = with("frr-k8s-oldest").await;
    let daemon = Daemon::start_of(&cluster.0, "node-a", "frr-k8s-oldest").unwrap();
    let spine = object(json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "RouterPeer", "metadata": {"name": "spine"},
        "spec": {
            "myASN": 64512, "peerASN": 64514, "peerAddress": "2001:db8:9::1", "dualStackAddressFamily": true,
            "localASN": 64999, "bfd": {"receiveInterval": 300}, "holdTime": "9s", "keepaliveTime": "3s", "ebgpMultiHop": true,
        },
    }));
    let modest = object(json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "LoadBalancerAdvertisement", "metadata": {"name": "modest"},
        "spec": {"asPathPrepend": 2, "communities": ["64512:1"], "peers": ["spine"]},
    }));
    cluster.0.apply(&[spine, modest]).await.unwrap();
    let operator = Operator::start(&cluster.0).unwrap();
    cluster.add_services(&["a"]).await;
    cluster.all_announced(&["a"]).await;
    wait::until("the prefix in FRR", async || {
        let text = daemon.configuration();
        let has = |line: &str| text.contains(line);
        let whole = has("network 198.51.100.0/32") && has("neighbor 2001:db8:9::1 bfd") && has("64512:1");
        if whole { Ok(()) } else { Err(text) }
    })
    .await
    .unwrap();
    assert_eq!(daemon.failed_conversions(), 0, "{}", daemon.process.log());
    let message = cluster.becomes("lbpeer", "spine", "Ready", "False", "NotInFRRK8s").await;
    assert!(message.contains("localASN"), "{message}");
    let message = cluster.becomes("lbadv", "modest", "Ready", "False", "NotInFRRK8s").await;
    assert!(message.contains("asPathPrepend"), "{message}");
    let (_, out, _) = run(&cluster, &["status"]);
    let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("FRR-K8s is too old for: RouterPeer localASN,"), "{out}");
    // Nothing is written again and again for what the API server drops.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let written = operator.process.log().matches("PUT").count();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(operator.process.log().matches("PUT").count(), written);
}

#[rstest]
#[case::newest("frr-k8s-next")]
#[case::tested("frr-k8s")]
#[tokio::test]
async fn the_newest_lack_little(#[case] component: &str) {
    let cluster = with(component).await;
    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    cluster.add_services(&["a"]).await;
    cluster.all_announced(&["a"]).await;
    let (_, out, error) = run(&cluster, &["status", "-o", "json"]);
    let status: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{error}"));
    let lacking = match component {
        "frr-k8s" => json!(["LoadBalancerAdvertisement asPathPrepend"]),
        _ => json!([]),
    };
    assert_eq!(status["withoutEffect"], lacking);
}

#[tokio::test]
async fn one_that_serves_only_another_version_is_told_of() {
    let cluster = with("frr-k8s").await;
    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    cluster.becomes("lbpeer", "tor", "Ready", "True", "Valid").await;
    let crds: Api<CustomResourceDefinition> = Api::all(cluster.0.client());
    let name = "frrconfigurations.frrk8s.metallb.io";
    let mut crd = crds.get(name).await.unwrap();
    let mut next = crd.spec.versions[0].clone();
    next.name = "v1".to_owned();
    crd.spec.versions[0].served = false;
    crd.spec.versions[0].storage = false;
    crd.spec.versions.push(next);
    crds.replace(name, &Default::default(), &crd).await.unwrap();
    let message = cluster.becomes("lbpeer", "tor", "Ready", "False", "FRRK8sVersion").await;
    assert!(message.contains("as v1, and this version of Clarion writes them as v1beta1"), "{message}");
    cluster.add_services(&["a"]).await;
    cluster.becomes("service", "a", "clarionlb.io/Announced", "False", "FRRK8sVersion").await;
}
