//! What is left when Clarion is taken away in whatever order, and how it goes on when it comes back.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use clarion_envtest::{ControlPlane, Operator, wait};
use kube::{ResourceExt as _, api::DynamicObject};
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, advertisement, basics, endpoints, endpoints_v6, object, peer, pool, service},
    commands::run,
};

/// What is taken away.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Crds,
    Namespace,
    Operator,
}

const CRDS: &str = "loadbalancerpools.clarionlb.io,addressreservations.clarionlb.io,routerpeers.clarionlb.io,\
                    loadbalanceradvertisements.clarionlb.io,communityaliases.clarionlb.io";

fn items(cluster: &Cluster, kinds: &str) -> Vec<Value> {
    let list = cluster.0.kubectl(&["get", kinds, "-A", "-o", "json"]).unwrap();
    let list: Value = serde_json::from_str(&list).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// Objects that are to go and can't, or that something could keep from going.
fn stuck(cluster: &Cluster) -> Vec<String> {
    let kinds = "customresourcedefinitions,namespaces,services,endpointslices,frrconfigurations,deployments,leases,\
                 serviceaccounts,poddisruptionbudgets,clusterroles,clusterrolebindings,roles,rolebindings,configmaps";
    let stuck = |item: &&Value| {
        let metadata = &item["metadata"];
        // The API server itself gives one to every CRD.
        let finalizers = item["kind"] != "CustomResourceDefinition" && !metadata["finalizers"].is_null();
        !metadata["deletionTimestamp"].is_null() || finalizers
    };
    items(cluster, kinds).iter().filter(stuck).map(|item| format!("{} {}", item["kind"], item["metadata"])).collect()
}

/// Nothing in this control plane deletes what is in a namespace, or the namespace then: kube-controller-manager does, so
/// this does what it does.
async fn delete_namespace(cluster: &Cluster, name: &str) {
    let kinds = "deployments.apps,leases.coordination.k8s.io,serviceaccounts,services,poddisruptionbudgets.policy,\
                 roles.rbac.authorization.k8s.io,rolebindings.rbac.authorization.k8s.io,configmaps";
    cluster.0.kubectl(&["delete", "namespace", name, "--wait=false"]).unwrap();
    cluster.0.kubectl(&["delete", kinds, "--all", "-n", name, "--wait=false"]).unwrap();
    let left = items_in(cluster, kinds, name);
    assert_eq!(left, Vec::<String>::new(), "something keeps the namespace");
    let raw = cluster.0.kubectl(&["get", "namespace", name, "-o", "json"]).unwrap();
    let mut namespace: Value = serde_json::from_str(&raw).unwrap();
    namespace["spec"]["finalizers"] = json!([]);
    let path = cluster.0.directory().join("namespace.json");
    std::fs::write(&path, namespace.to_string()).unwrap();
    let finalize = format!("/api/v1/namespaces/{name}/finalize");
    cluster.0.kubectl(&["replace", "--raw", &finalize, "-f", path.to_str().unwrap()]).unwrap();
}

fn items_in(cluster: &Cluster, kinds: &str, namespace: &str) -> Vec<String> {
    let names = cluster.0.kubectl(&["get", kinds, "-n", namespace, "-o", "name"]).unwrap();
    names.lines().map(str::to_owned).collect()
}

fn ours() -> Vec<DynamicObject> {
    let reservation = json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "AddressReservation",
        "metadata": {"name": "kept", "namespace": "default"},
        "spec": {"poolName": "main", "addresses": ["198.51.100.200"], "serviceName": "later"},
    });
    vec![pool("main", &["198.51.100.0/24", "2001:db8:5::/120"]), peer(), advertisement(), object(reservation)]
}

#[rstest]
#[case(Part::Crds, Part::Namespace, Part::Operator)]
#[case(Part::Crds, Part::Operator, Part::Namespace)]
#[case(Part::Namespace, Part::Crds, Part::Operator)]
#[case(Part::Namespace, Part::Operator, Part::Crds)]
#[case(Part::Operator, Part::Crds, Part::Namespace)]
#[case(Part::Operator, Part::Namespace, Part::Crds)]
#[tokio::test]
async fn nothing_gets_stuck_and_it_goes_on_with_the_same_addresses(
    #[case] first: Part,
    #[case] second: Part,
    #[case] third: Part,
) {
    let cluster = Cluster::start().await;
    cluster.0.apply(&ours()).await.unwrap();
    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    // Not in the order in which they would get their addresses anew.
    for name in ["c", "a", "b"] {
        cluster.add_services(&[name]).await;
        cluster.all_announced(&[name]).await;
    }
    let before = cluster.all_announced(&["a", "b", "c"]).await;
    assert_eq!(before["c"], ["198.51.100.0".parse::<IpAddr>().unwrap()]);

    let order = [first, second, third];
    for part in order {
        match part {
            Part::Crds => {
                let crds: Vec<_> = CRDS.split(',').collect();
                let mut command = vec!["delete", "crd", "--timeout=60s"];
                command.extend(crds);
                cluster.0.kubectl(&command).unwrap();
                // An operator that still runs sees its peers go.
                if first == Part::Crds {
                    wait::until("nothing announced", async || match cluster.announced().await {
                        Ok(announced) if announced.is_empty() => Ok(()),
                        other => Err(format!("{other:?}")),
                    })
                    .await
                    .unwrap();
                }
            }
            Part::Namespace => delete_namespace(&cluster, "clarion-system").await,
            // A process that has lost its Lease or rights may have ended by itself.
            Part::Operator => {
                if operator.process.exited().unwrap().is_none() {
                    operator.process.signal("TERM").unwrap();
                    operator.ended().await.unwrap();
                }
            }
        }
    }
    wait::until("nothing that is stuck", async || {
        let stuck = stuck(&cluster);
        if stuck.is_empty() { Ok(()) } else { Err(format!("{stuck:?}")) }
    })
    .await
    .unwrap();
    let namespaces = cluster.0.kubectl(&["get", "namespaces", "-o", "name"]).unwrap();
    assert!(!namespaces.contains("clarion-system"), "{namespaces}");
    assert!(!cluster.0.kubectl(&["get", "crd", "-o", "name"]).unwrap().contains("clarionlb.io"));
    assert_eq!(cluster.addresses().await.unwrap(), before, "Services keep what they have");
    if order.iter().position(|part| *part == Part::Operator) < order.iter().position(|part| *part == Part::Crds) {
        assert_eq!(cluster.announced().await.unwrap().len(), 3, "without an operator nobody withdraws anything");
    }

    // Back again, with another Service that would like an address.
    let config = cluster.0.kubectl(&["kustomize", "config/"]).unwrap();
    let path = cluster.0.directory().join("config.yaml");
    std::fs::write(&path, config).unwrap();
    cluster.0.apply(&clarion_envtest::manifests(&path).unwrap()).await.unwrap();
    cluster.0.apply(&ours()).await.unwrap();
    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    cluster.add_services(&["d", "later"]).await;
    let after = cluster.all_announced(&["a", "b", "c", "d", "later"]).await;
    for (name, held) in &before {
        assert_eq!(after[name], *held, "{name}");
    }
    assert_eq!(after["later"], ["198.51.100.200".parse::<IpAddr>().unwrap()]);
    let distinct: BTreeSet<&IpAddr> = after.values().flatten().collect();
    assert_eq!(distinct.len(), 5, "{after:?}");
}

/// What an export holds, without what belongs to the cluster that it is from.
fn exported(cluster: &Cluster, kinds: &str) -> Vec<DynamicObject> {
    let mut objects = Vec::new();
    for mut item in items(cluster, kinds) {
        let metadata = item["metadata"].as_object_mut().unwrap();
        for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
            metadata.remove(field);
        }
        item.as_object_mut().unwrap().remove("status");
        if let Some(spec) = item.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("clusterIP");
            spec.remove("clusterIPs");
        }
        objects.push(object(item));
    }
    objects
}

#[tokio::test]
async fn what_was_exported_comes_back_on_a_new_cluster_with_the_same_addresses() {
    let old = Cluster::start().await;
    let mut operator = Operator::start(&old.0).unwrap();
    operator.leading().await.unwrap();
    // Later ones come first in the alphabet, and one in the middle is gone: nobody would get the same again by chance.
    for name in ["f", "e", "d", "c", "b", "a"] {
        old.0.apply(&[endpoints(name), endpoints_v6(name), service(name, &["IPv4", "IPv6"])]).await.unwrap();
        old.all_announced(&[name]).await;
    }
    old.services().delete("d", &Default::default()).await.unwrap();
    let mut shared = ["s", "t"].map(|name| service(name, &["IPv4"]));
    for (n, service) in shared.iter_mut().enumerate() {
        service.metadata.annotations =
            Some(BTreeMap::from([("clarionlb.io/allow-shared-ip".to_owned(), "key".to_owned())]));
        service.data["spec"]["ports"] = json!([{"port": 80 + n}]);
    }
    old.0.apply(&["s", "t"].map(endpoints)).await.unwrap();
    old.0.apply(&shared).await.unwrap();
    let names = ["a", "b", "c", "e", "f", "s", "t"];
    let before = old.all_announced(&names).await;
    assert_eq!(before["s"], before["t"]);

    let (status, reservations, error) = run(&old, &["reserve", "--all", "--dry-run", "-o", "yaml"]);
    assert_eq!(status, 0, "{error}");
    let path = old.0.directory().join("reservations.yaml");
    std::fs::write(&path, reservations).unwrap();
    let reservations = clarion_envtest::manifests(&path).unwrap();
    let clarions = exported(&old, "clarion");
    let services: Vec<_> = exported(&old, "services,endpointslices")
        .into_iter()
        .filter(|object| {
            object.namespace().as_deref() == Some("default") && !object.name_any().starts_with("kubernetes")
        })
        .collect();
    drop(operator);

    let new = Cluster(ControlPlane::with_frr_k8s().await.unwrap());
    new.0.apply(&basics()[..2]).await.unwrap();
    new.0.apply(&clarions).await.unwrap();
    new.0.apply(&reservations).await.unwrap();
    let mut operator = Operator::start(&new.0).unwrap();
    operator.leading().await.unwrap();
    // Somebody who is faster than those who come back.
    new.add_services(&["newcomer"]).await;
    new.all_announced(&["newcomer"]).await;
    new.0.apply(&services).await.unwrap();
    let after = new.all_announced(&names).await;
    for name in names {
        assert_eq!(after[name], before[name], "{name}");
    }
}
