//! Kubernetes at both ends of what is supported.

use clarion_envtest::{ControlPlane, Daemon, Operator};
use rstest::rstest;
use serde_json::json;

use crate::cluster::{Cluster, basics, pool_with};

#[rstest]
#[case::oldest("kubernetes 1.31")]
#[case::newest("kubernetes 1.37")]
#[tokio::test]
async fn it_is_installed_judges_and_announces(#[case] component: &str) {
    let cluster = Cluster(ControlPlane::start_of(component).await.unwrap());
    cluster.0.install_clarion().await.unwrap();
    cluster.0.install_frr_k8s().await.unwrap();
    cluster.0.apply(&basics()).await.unwrap();
    let daemon = Daemon::start(&cluster.0, "node-a").unwrap();
    let _operator = Operator::start(&cluster.0).unwrap();
    cluster.add_services(&["a"]).await;
    cluster.all_announced(&["a"]).await;
    cluster.converted("node-a").await;
    assert_eq!(daemon.failed_conversions(), 0, "{}", daemon.process.log());
    // The rules of the CRDs are the same everywhere.
    for (addresses, good) in [
        ("192.0.2.0/24", true),
        ("192.0.2.1/24", false),
        ("2001:DB8:0::/48", true),
        ("2001:db8::1/64", false),
        ("2001:db8::1/128", true),
        ("192.0.2.9-2001:db8::", false),
    ] {
        let outcome = cluster.0.apply(&[pool_with("other", json!({"addresses": [addresses]}))]).await;
        assert_eq!(outcome.is_ok(), good, "{addresses}: {outcome:?}");
    }
}
