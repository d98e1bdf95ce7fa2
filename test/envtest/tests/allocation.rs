//! Who gets which address, on a real API server, with the commands that users have.

use std::collections::BTreeMap;

use clarion_api::{AddressReservation, LoadBalancerPool};
use clarion_envtest::{Operator, crowd, wait};
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::cluster::{Cluster, endpoints, kubernetes_is, object, pool_with, service};

/// A Service with annotations and a port, and its endpoints.
fn annotated(name: &str, port: u16, annotations: Value) -> [kube::api::DynamicObject; 2] {
    let mut service = service(name, &["IPv4"]);
    service.metadata.annotations = serde_json::from_value(annotations).unwrap();
    service.data["spec"]["ports"] = json!([{"port": port, "name": "main"}]);
    [endpoints(name), service]
}

fn reservation(name: &str, spec: Value) -> kube::api::DynamicObject {
    object(json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "AddressReservation", "metadata": {"name": name}, "spec": spec,
    }))
}

async fn delete(cluster: &Cluster, service: &str) {
    cluster.services().delete(service, &DeleteParams::default()).await.unwrap();
}

#[tokio::test]
async fn requests_are_met_refused_and_changed() {
    let cluster = Cluster::start().await;
    let _operator = Operator::start(&cluster.0).unwrap();
    cluster.0.apply(&annotated("a", 80, json!({"metallb.io/loadBalancerIPs": "198.51.100.7"}))).await.unwrap();
    cluster.0.apply(&annotated("b", 80, json!({"clarionlb.io/loadBalancerIPs": "198.51.100.7"}))).await.unwrap();
    cluster.has("a", &["198.51.100.7"]).await;
    let message =
        cluster.becomes("service", "b", "clarionlb.io/AddressAllocated", "False", "AddressNotAvailable").await;
    assert_eq!(message, "198.51.100.7 is held by Service default/a");
    let explained = cluster.clarion(&["explain", "service", "default/b"]).unwrap();
    assert!(explained.contains("198.51.100.7 is held by Service default/a (AddressNotAvailable)"), "{explained}");

    // Two annotations that differ; then another address; then the one that it could not have.
    cluster.annotate("a", json!({"clarionlb.io/loadBalancerIPs": "198.51.100.8"})).await;
    let message = cluster.becomes("service", "a", "clarionlb.io/AddressAllocated", "False", "ConflictingRequest").await;
    assert!(message.contains("but metallb.io/loadBalancerIPs is \"198.51.100.7\"; it keeps 198.51.100.7"), "{message}");
    cluster.annotate("a", json!({"metallb.io/loadBalancerIPs": null})).await;
    cluster.has("a", &["198.51.100.8"]).await;
    cluster.has("b", &["198.51.100.7"]).await;
    cluster.all_announced(&["a", "b"]).await;
    let table = cluster.clarion(&["addresses"]).unwrap();
    assert!(table.contains("198.51.100.8   main   default/a   held"), "{table}");
}

#[tokio::test]
async fn shared_addresses_survive_their_first_holder() {
    let cluster = Cluster::start().await;
    let _operator = Operator::start(&cluster.0).unwrap();
    for (name, port) in [("tcp", 53), ("web", 80), ("clash", 80)] {
        cluster.0.apply(&annotated(name, port, json!({"clarionlb.io/allow-shared-ip": "key"}))).await.unwrap();
        wait::until("its address", async || {
            let all = cluster.addresses().await.map_err(|error| error.to_string())?;
            all.contains_key(name).then_some(()).ok_or("none".to_owned())
        })
        .await
        .unwrap();
    }
    cluster.has("tcp", &["198.51.100.0"]).await;
    cluster.has("web", &["198.51.100.0"]).await;
    cluster.has("clash", &["198.51.100.1"]).await;
    cluster.all_announced(&["tcp", "web", "clash"]).await;
    let message = cluster.becomes("service", "tcp", "clarionlb.io/AddressShared", "True", "Shared").await;
    assert_eq!(message, "198.51.100.0");
    let pools: Api<LoadBalancerPool> = Api::all(cluster.0.client());
    let counts = pools.get("main").await.unwrap().status.unwrap().ipv4.unwrap();
    assert_eq!((counts.total, counts.assigned, counts.available), (256, 2, 254));

    delete(&cluster, "tcp").await;
    wait::until("the mark to go", async || {
        match cluster.condition("service", "web", "clarionlb.io/AddressShared").await {
            Err(_) => Ok(()),
            Ok(found) => Err(format!("{found:?}")),
        }
    })
    .await
    .unwrap();
    assert!(cluster.announced().await.unwrap().contains(&"198.51.100.0/32".to_owned()));
    cluster.has("web", &["198.51.100.0"]).await;
}

#[tokio::test]
async fn reservations_are_the_backup_that_apply_restores() {
    let cluster = Cluster::start().await;
    let mut operator = Operator::start(&cluster.0).unwrap();
    cluster.add_services(&["gone", "a", "b"]).await;
    let before = cluster.all_announced(&["gone", "a", "b"]).await;
    delete(&cluster, "gone").await;
    let backup = cluster.clarion(&["reserve", "-A", "--dry-run", "-o", "yaml"]).unwrap();
    let printed = cluster.clarion(&["reserve", "-n", "default"]).unwrap();
    assert!(printed.contains("addressreservation.clarionlb.io/default/a.main reserves"), "{printed}");
    let reservations: Api<AddressReservation> = Api::namespaced(cluster.0.client(), "default");
    cluster.becomes("lbres", "a.main", "Ready", "True", "Reserved").await;
    cluster.becomes("lbres", "b.main", "Ready", "True", "Reserved").await;
    let listed = reservations.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(listed.len(), 2);
    assert!(
        listed.iter().all(|reservation| reservation.status.as_ref().unwrap().addresses == reservation.spec.addresses)
    );

    // The cluster is lost: Services and reservations come back from files, in whatever order.
    for name in ["a", "b"] {
        delete(&cluster, name).await;
        reservations.delete(&format!("{name}.main"), &DeleteParams::default()).await.unwrap();
    }
    operator.process.signal("TERM").unwrap();
    operator.ended().await.unwrap();
    cluster.add_services(&["thief", "b", "a"]).await;
    let file = cluster.0.directory().join("backup.yaml");
    std::fs::write(&file, backup).unwrap();
    cluster.0.kubectl(&["apply", "-f", file.to_str().unwrap()]).unwrap();
    let _operator = Operator::start(&cluster.0).unwrap();
    let after = cluster.all_announced(&["thief", "a", "b"]).await;
    assert_eq!((&after["a"], &after["b"]), (&before["a"], &before["b"]));
    assert!(after["thief"] != before["a"] && after["thief"] != before["b"]);
}

#[tokio::test]
async fn renumbering_ends_with_clarion_release() {
    let cluster = Cluster::start().await;
    let _operator = Operator::start(&cluster.0).unwrap();
    cluster.add_services(&["a", "b"]).await;
    cluster.all_announced(&["a", "b"]).await;
    let next = pool_with("next", json!({"addresses": ["203.0.113.0/28"]}));
    let main = pool_with("main", json!({"addresses": ["198.51.100.0/24"], "succeededBy": "next"}));
    cluster.0.apply(&[next, main]).await.unwrap();
    cluster.has("a", &["198.51.100.0", "203.0.113.0"]).await;
    cluster.has("b", &["198.51.100.1", "203.0.113.1"]).await;
    cluster.all_announced(&["a", "b"]).await;
    cluster.becomes("service", "a", "clarionlb.io/AddressAllocated", "True", "Succession").await;
    let told = cluster.clarion(&["release", "default/a", "203.0.113.0", "198.51.100.0"]).unwrap_err();
    assert!(told.contains("is the last IPv4 address of Service default/a"), "{told}");

    let printed = cluster.clarion(&["release", "--pool", "main", "--dry-run"]).unwrap();
    assert!(printed.contains("default/a   198.51.100.0   203.0.113.0"), "{printed}");
    cluster.clarion(&["release", "default/a"]).unwrap();
    cluster.has("a", &["203.0.113.0"]).await;
    cluster.has("b", &["198.51.100.1", "203.0.113.1"]).await;
    cluster.clarion(&["release", "--pool", "main"]).unwrap();
    cluster.has("b", &["203.0.113.1"]).await;
    wait::until("only the new addresses", async || {
        let announced = cluster.announced().await.map_err(|error| error.to_string())?;
        if announced == ["203.0.113.0/32", "203.0.113.1/32"] { Ok(()) } else { Err(format!("{announced:?}")) }
    })
    .await
    .unwrap();
    let table = cluster.clarion(&["pools"]).unwrap();
    assert!(table.contains("main   IPv4     198.51.100.0/24   0"), "{table}");
}

#[tokio::test]
async fn what_leaves_a_pool_is_kept_or_released_as_the_pool_says() {
    let cluster = Cluster::start().await;
    let _operator = Operator::start(&cluster.0).unwrap();
    let release =
        pool_with("release", json!({"addresses": ["203.0.113.0/28"], "onRemoval": "Release", "autoAssign": false}));
    cluster.0.apply(&[release]).await.unwrap();
    cluster.add_services(&["keeps"]).await;
    cluster.0.apply(&annotated("loses", 80, json!({"clarionlb.io/address-pool": "release"}))).await.unwrap();
    cluster.has("keeps", &["198.51.100.0"]).await;
    cluster.has("loses", &["203.0.113.0"]).await;
    cluster.all_announced(&["keeps", "loses"]).await;
    cluster.becomes("service", "loses", "clarionlb.io/ReleaseOnRemoval", "True", "ReleaseOnRemoval").await;
    let pools: Api<LoadBalancerPool> = Api::all(cluster.0.client());
    pools.delete("main", &DeleteParams::default()).await.unwrap();
    cluster.becomes("service", "keeps", "clarionlb.io/AddressAllocated", "True", "Retained").await;
    pools.delete("release", &DeleteParams::default()).await.unwrap();
    cluster.has("loses", &[]).await;
    cluster.becomes("service", "loses", "clarionlb.io/AddressAllocated", "False", "UnknownName").await;
    cluster.has("keeps", &["198.51.100.0"]).await;
    assert_eq!(cluster.announced().await.unwrap(), ["198.51.100.0/32"]);
    event(&cluster, "loses", "Released", "203.0.113.0 has left its pool").await;
}

/// Waits for an Event about a Service.
async fn event(cluster: &Cluster, service: &str, reason: &str, words: &str) {
    let events: Api<Event> = Api::namespaced(cluster.0.client(), "default");
    wait::until("the Event", async || {
        let found = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?.items;
        let is_it = |event: &&Event| {
            let about = event.regarding.as_ref().and_then(|regarding| regarding.name.as_deref()) == Some(service);
            about
                && event.reason.as_deref() == Some(reason)
                && event.note.as_deref().unwrap_or_default().contains(words)
        };
        let count = found.iter().filter(is_it).count();
        if count == 1 { Ok(()) } else { Err(format!("{count} of {found:?}")) }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn duplicates_written_by_others_are_resolved_once_and_told() {
    let cluster = Cluster::start().await;
    cluster.add_services(&["old"]).await;
    // Creation times have whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    cluster.add_services(&["young", "foreign"]).await;
    let status = Patch::Merge(json!({"status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.3"}]}}}));
    for name in ["old", "young"] {
        cluster.services().patch_status(name, &PatchParams::default(), &status).await.unwrap();
    }
    let mut foreign = service("theirs", &["IPv4"]);
    foreign.data["spec"]["loadBalancerClass"] = json!("example.com/other");
    cluster.0.apply(&[foreign]).await.unwrap();
    let theirs = Patch::Merge(json!({"status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.0"}]}}}));
    cluster.services().patch_status("theirs", &PatchParams::default(), &theirs).await.unwrap();

    let _operator = Operator::start(&cluster.0).unwrap();
    cluster.all_announced(&["old", "young", "foreign"]).await;
    cluster.has("old", &["198.51.100.3"]).await;
    let all = cluster.addresses().await.unwrap();
    assert_ne!(all["young"], all["old"]);
    assert_eq!(all["theirs"], ["198.51.100.0".parse::<std::net::IpAddr>().unwrap()]);
    assert!(!all.iter().any(|(name, held)| name != "theirs" && held.contains(&all["theirs"][0])));
    event(&cluster, "young", "AddressConflict", "198.51.100.3 belongs to the older Service default/old; it has").await;
    let theirs = cluster.services().get("theirs").await.unwrap();
    assert!(theirs.status.unwrap().conditions.unwrap_or_default().is_empty());
}

#[tokio::test]
async fn a_service_of_another_type_gives_everything_back() {
    let cluster = Cluster::start().await;
    let _operator = Operator::start(&cluster.0).unwrap();
    cluster.add_services(&["a"]).await;
    cluster.all_announced(&["a"]).await;
    let patch = json!({"spec": {"type": "ClusterIP", "loadBalancerClass": null}});
    cluster.services().patch("a", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    wait::until("nothing of ours", async || {
        let (addresses, announced) = cluster.state().await?;
        let status = cluster.services().get("a").await.unwrap().status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        if addresses.is_empty() && announced.is_empty() && conditions.is_empty() {
            Ok(())
        } else {
            Err(format!("{addresses:?} {announced:?} {conditions:?}"))
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_pool_that_has_addresses_of_the_cluster_says_so() {
    let cluster = Cluster::start().await;
    let _operator = Operator::start(&cluster.0).unwrap();
    // The API server makes the ServiceCIDR "kubernetes" of its own flag.
    cluster.0.apply(&[pool_with("inside", json!({"addresses": ["10.96.5.0/24"]}))]).await.unwrap();
    if kubernetes_is("1.31") {
        // That of 1.31 makes none, and serves none: nobody can tell.
        assert!(cluster.0.kubectl(&["get", "servicecidrs"]).is_err());
        cluster.becomes("lbpool", "inside", "Ready", "True", "Valid").await;
        return;
    }
    let message = cluster.becomes("lbpool", "inside", "Ready", "True", "OverlapsCluster").await;
    assert!(message.contains("10.96.5.0/24 of cluster IPs (ServiceCIDR kubernetes)"), "{message}");
}

#[tokio::test]
async fn quotas_hold_and_reservations_wait_and_say_for_whom() {
    let cluster = Cluster::start().await;
    let quotas = pool_with(
        "main",
        json!({"addresses": ["198.51.100.0/24"], "quotas": [{"namespace": "default", "maxAddresses": 2}]}),
    );
    cluster.0.apply(&[quotas]).await.unwrap();
    let _operator = Operator::start(&cluster.0).unwrap();
    cluster.add_services(&["a"]).await;
    cluster.has("a", &["198.51.100.0"]).await;
    let spec = |address: &str| json!({"poolName": "main", "serviceName": "db", "addresses": [address]});
    cluster
        .0
        .apply(&[reservation("waits", spec("198.51.100.0")), reservation("holds", spec("198.51.100.9"))])
        .await
        .unwrap();
    let message = cluster.becomes("lbres", "waits", "Ready", "False", "AddressNotAvailable").await;
    assert_eq!(message, "198.51.100.0 is held by Service default/a");
    cluster.becomes("lbres", "holds", "Ready", "True", "Reserved").await;
    cluster.add_services(&["b"]).await;
    let message = cluster.becomes("service", "b", "clarionlb.io/AddressAllocated", "False", "NoPool").await;
    assert_eq!(message, "no IPv4 address: main: quota 2/2 used");
    let table: BTreeMap<String, String> = cluster
        .clarion(&["pools"])
        .unwrap()
        .lines()
        .filter_map(|line| {
            Some((
                line.split_whitespace().next()?.to_owned(),
                line.split_whitespace().skip(3).collect::<Vec<_>>().join(" "),
            ))
        })
        .collect();
    assert_eq!(table["main"], "2 254 default 2/2");
    delete(&cluster, "a").await;
    cluster.becomes("lbres", "waits", "Ready", "True", "Reserved").await;
    let service = cluster.services().get("b").await.unwrap();
    assert!(service.name_any() == "b" && crowd::addresses(&service).is_empty(), "the reservation was first");
}
