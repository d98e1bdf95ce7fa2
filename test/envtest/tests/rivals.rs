//! Clarion installed twice in one cluster.

use clarion_envtest::{Operator, wait};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use crate::{cluster::Cluster, commands::stop};

/// An operator of another installation: it has another Lease.
fn other(cluster: &Cluster, class: &str) -> Operator {
    let arguments = ["--lease-name", "other", "--load-balancer-class", class];
    Operator::start_with(&cluster.0, &cluster.0.kubeconfig(), &arguments).unwrap()
}

async fn barred(operator: &Operator) {
    wait::until("an operator that is not ready and says why", async || match operator.get("/readyz").await {
        Ok((503, text)) if text.contains("another Clarion leads") => Ok(text),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_second_stands_by_whatever_its_classes_and_takes_over_when_the_first_is_removed() {
    let cluster = Cluster::start().await;
    let mut first = Operator::start(&cluster.0).unwrap();
    first.leading().await.unwrap();
    cluster.add_services(&["a"]).await;
    let before = cluster.all_announced(&["a"]).await;
    let mut same = other(&cluster, "clarionlb.io/bgp");
    let mut different = other(&cluster, "example.com/bgp");
    barred(&same).await;
    barred(&different).await;
    let log = same.process.log();
    assert!(log.contains("its Lease is clarion-system/clarion") && log.contains("uninstall one of the two"), "{log}");
    stop(&mut different).await;
    assert_eq!(cluster.all_announced(&["a"]).await, before);
    stop(&mut first).await;
    same.leading().await.unwrap();
    cluster.add_services(&["b"]).await;
    assert_eq!(cluster.all_announced(&["a", "b"]).await["a"], before["a"]);
}

#[tokio::test]
async fn one_that_died_is_waited_for_until_its_lease_expires() {
    let cluster = Cluster::start().await;
    let mut first = Operator::start(&cluster.0).unwrap();
    first.leading().await.unwrap();
    let mut second = other(&cluster, "clarionlb.io/bgp");
    barred(&second).await;
    first.process.signal("KILL").unwrap();
    second.leading().await.unwrap();
    assert!(second.process.log().contains("takeover=Forced"), "{}", second.process.log());
}

#[tokio::test]
async fn of_two_that_start_at_once_one_leads() {
    let cluster = Cluster::start().await;
    let [first, second] = [Operator::start(&cluster.0).unwrap(), other(&cluster, "clarionlb.io/bgp")];
    cluster.add_services(&["a"]).await;
    cluster.all_announced(&["a"]).await;
    let leases: Api<Lease> = Api::namespaced(cluster.0.client(), "clarion-system");
    let held = async || {
        let leases = leases.list(&Default::default()).await.unwrap().items;
        leases.into_iter().filter_map(|lease| lease.spec?.holder_identity).filter(|holder| !holder.is_empty()).count()
    };
    wait::until("one that leads and one that stands by", async || {
        let leading =
            async |operator: &Operator| operator.get("/readyz").await.is_ok_and(|(_, text)| text == "leading\n");
        match [leading(&first).await, leading(&second).await] {
            [true, true] => panic!("both lead"),
            [false, false] => Err("none leads".to_owned()),
            _ if held().await == 1 => Ok(()),
            _ => Err("both hold a Lease".to_owned()),
        }
    })
    .await
    .unwrap();
}
