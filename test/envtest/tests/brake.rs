//! An edit of the configuration that would take most of what a router is told of waits until somebody agrees.

use clarion_envtest::{Operator, wait};
use k8s_openapi::api::core::v1::Event;
use kube::{Api, api::ListParams};

use crate::{
    cluster::{Cluster, advertisement, peer},
    commands::{run, stop},
};

const SERVICES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

/// The plan that `clarion approve` names.
fn plan_of(out: &str) -> String {
    out.trim_end().rsplit_once("approve ").unwrap().1.to_owned()
}

async fn announced(cluster: &Cluster) -> usize {
    cluster.announced().await.unwrap().len()
}

async fn all_withdrawn(cluster: &Cluster) {
    wait::until("the withdrawal", async || match announced(cluster).await {
        0 => Ok(()),
        left => Err(format!("{left} prefixes")),
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn it_waits_until_it_is_undone_or_agreed_to_whoever_leads() {
    let cluster = Cluster::start().await;
    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    cluster.add_services(&SERVICES).await;
    cluster.all_announced(&SERVICES).await;
    let (status, _, error) = run(&cluster, &["approve"]);
    assert!(status == 1 && error.contains("nothing waits"), "{error}");

    cluster.0.kubectl(&["delete", "loadbalanceradvertisement", "all"]).unwrap();
    let message = cluster.becomes("lbpeer", "tor", "Ready", "False", "WithdrawalHeld").await;
    assert!(message.contains("12 of the 12 prefixes") && message.contains("198.51.100.0/32, "), "{message}");
    let (status, out, _) = run(&cluster, &["approve"]);
    assert!(status == 0 && out.starts_with("12 prefixes of 12 would be withdrawn from 192.0.2.1:\n"), "{out}");
    let plan = plan_of(&out);
    assert!(message.contains(&format!("clarion approve {plan}")), "{message}");
    let (status, out, _) = run(&cluster, &["status"]);
    assert!(status == 1 && out.contains("WithdrawalHeld"), "{out}");
    let events: Api<Event> = Api::all(cluster.0.client());
    wait::until("Events on the peer and the FRRConfiguration", async || {
        let events = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let held = events.items.iter().filter(|event| event.reason.as_deref() == Some("WithdrawalHeld"));
        let of: Vec<_> = held.filter_map(|event| event.involved_object.kind.as_deref()).collect();
        if of.contains(&"RouterPeer") && of.contains(&"FRRConfiguration") { Ok(()) } else { Err(format!("{of:?}")) }
    })
    .await
    .unwrap();

    // The next leader waits too, although it knows nothing of how it was.
    stop(&mut operator).await;
    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    cluster.add_services(&["new"]).await;
    cluster.has("new", &["198.51.100.12"]).await;
    assert_eq!(announced(&cluster).await, 12);

    cluster.0.apply(&[advertisement()]).await.unwrap();
    cluster.becomes("lbpeer", "tor", "Ready", "True", "Valid").await;
    cluster.all_announced(&SERVICES).await;
    wait::until("no trace of it", async || {
        let configurations = cluster.configurations().list(&ListParams::default()).await.map_err(|e| e.to_string())?;
        let mut annotations = configurations.items.into_iter().filter_map(|object| object.metadata.annotations);
        match annotations.any(|annotations| annotations.contains_key("clarionlb.io/held")) {
            true => Err("the annotation is still there".to_owned()),
            false => Ok(()),
        }
    })
    .await
    .unwrap();

    cluster.0.kubectl(&["delete", "lbpeer", "tor"]).unwrap();
    let waits = wait::until("a plan that waits", async || match run(&cluster, &["approve"]) {
        (0, out, _) => Ok(plan_of(&out)),
        (_, _, error) => Err(error),
    });
    let next = waits.await.unwrap();
    assert_ne!(next, plan);
    let (status, _, error) = run(&cluster, &["approve", &plan]);
    assert!(status == 1 && error.contains(&next), "{error}");
    assert_eq!(announced(&cluster).await, 13);
    let (status, out, error) = run(&cluster, &["approve", &next]);
    assert!(status == 0 && out.starts_with("Agreed"), "{out}{error}");
    all_withdrawn(&cluster).await;
    // What was agreed to is no licence for the next edit.
    cluster.0.apply(&[peer()]).await.unwrap();
    cluster.all_announced(&SERVICES).await;
    cluster.0.kubectl(&["delete", "loadbalanceradvertisement", "all"]).unwrap();
    cluster.becomes("lbpeer", "tor", "Ready", "False", "WithdrawalHeld").await;
    assert_eq!(announced(&cluster).await, 13);
}

#[tokio::test]
async fn where_it_is_off_nothing_waits() {
    let cluster = Cluster::start().await;
    let off = ["--brake-share", "100"];
    let operator = Operator::start_with(&cluster.0, &cluster.0.operator_kubeconfig(), &off).unwrap();
    cluster.add_services(&SERVICES).await;
    cluster.all_announced(&SERVICES).await;
    cluster.0.kubectl(&["delete", "loadbalanceradvertisement", "all"]).unwrap();
    all_withdrawn(&cluster).await;
    drop(operator);
}
