//! The main job, end to end.

use clarion_envtest::{Daemon, Operator, wait};
use kube::{Api, ResourceExt as _, api::ListParams};
use serde_json::json;

use crate::cluster::{Cluster, endpoints, endpoints_v6, host_prefix, object, service};

#[tokio::test]
async fn a_service_gets_an_address_that_the_real_daemon_announces() {
    let cluster = Cluster::start().await;
    let daemons = [Daemon::start(&cluster.0, "node-a").unwrap(), Daemon::start(&cluster.0, "node-b").unwrap()];
    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();

    let services = [service("v4", &["IPv4"]), service("v6", &["IPv6"]), service("both", &["IPv6", "IPv4"])];
    cluster.0.apply(&services).await.unwrap();
    cluster.becomes("service", "v4", "clarionlb.io/Announced", "False", "NoReadyEndpoints").await;
    cluster.0.apply(&["v4", "both"].map(endpoints)).await.unwrap();
    cluster.0.apply(&["v6", "both"].map(endpoints_v6)).await.unwrap();
    let addresses = cluster.all_announced(&["v4", "v6", "both"]).await;
    assert!(addresses["v4"][0].is_ipv4() && addresses["v6"][0].is_ipv6());
    let families: Vec<bool> = addresses["both"].iter().map(|address| address.is_ipv4()).collect();
    assert_eq!(families, [false, true], "in the order of spec.ipFamilies");

    let mut expected: Vec<_> = addresses.values().flatten().map(|address| host_prefix(*address)).collect();
    expected.sort();
    for (daemon, node) in daemons.iter().zip(["node-a", "node-b"]) {
        cluster.converted(node).await;
        wait::until("the networks in FRR's configuration", async || {
            let mut networks = daemon.networks();
            networks.sort();
            if networks == expected { Ok(()) } else { Err(format!("{networks:?}\n{}", daemon.configuration())) }
        })
        .await
        .unwrap();
    }
    let message = cluster.becomes("service", "both", "clarionlb.io/AddressAllocated", "True", "Allocated").await;
    assert!(message.contains("from pool main"), "{message}");
    cluster.becomes("service", "v4", "clarionlb.io/Announced", "Unknown", "Unconfirmed").await;
    for (kind, name) in [("lbpool", "main"), ("lbpeer", "tor"), ("lbadv", "all")] {
        cluster.becomes(kind, name, "Ready", "True", "Valid").await;
    }
    let table = cluster.0.kubectl(&["get", "clarion"]).unwrap();
    assert!(
        table.contains("loadbalancerpool.clarionlb.io/main") && table.contains("IPv4 2/256, IPv6 2/256"),
        "{table}"
    );

    let (status, metrics) = operator.get("/metrics").await.unwrap();
    assert_eq!(status, 200);
    for line in [
        "clarion_leading 1",
        "clarion_tasks ",
        "clarion_writes_total{kind=\"Service\",outcome=\"ok\"}",
        "clarion_writes_waiting{lane=\"configurations\"} 0",
        "clarion_writes_waiting{lane=\"statuses\"} 0",
        "clarion_write_seconds_count{kind=\"FRRConfiguration\"}",
        "clarion_plan_seconds_count",
        "clarion_local_services{skew=\"even\"} 0",
        "clarion_local_services{skew=\"4_or_more\"} 0",
        "clarion_local_services_greatest_skew 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
    }

    // The last Service goes: its prefixes do, the sessions stay.
    for name in ["v4", "v6", "both"] {
        cluster.services().delete(name, &Default::default()).await.unwrap();
    }
    wait::until("the withdrawal", async || match cluster.announced().await {
        Ok(announced) if announced.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
    let left = cluster.configurations().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].spec.bgp.as_ref().unwrap().routers[0].neighbors.len(), 1, "the session stays");
}

#[tokio::test]
async fn nothing_is_written_at_a_restart_and_nothing_is_withdrawn_at_a_stop() {
    let cluster = Cluster::start().await;
    let mut operator = Operator::start(&cluster.0).unwrap();
    cluster.add_services(&["a", "b", "c"]).await;
    let addresses = cluster.all_announced(&["a", "b", "c"]).await;
    cluster.becomes("lbpeer", "tor", "Ready", "True", "Valid").await;
    wait::until("the counts", async || {
        let table = cluster.0.kubectl(&["get", "lbpool"]).unwrap();
        if table.contains("IPv4 3/256") { Ok(()) } else { Err(table) }
    })
    .await
    .unwrap();
    let versions = async || {
        let mut versions = Vec::new();
        for kind in ["services", "frrconfigurations", "lbpool", "lbpeer", "lbadv"] {
            let list = cluster.0.kubectl(&["get", kind, "-A", "-o", "jsonpath={.items[*].metadata.resourceVersion}"]);
            versions.push(list.unwrap());
        }
        versions
    };
    let before = versions().await;

    operator.process.signal("TERM").unwrap();
    assert_eq!(operator.ended().await.unwrap(), 0, "{}", operator.process.log());
    assert_eq!(versions().await, before, "a stop writes nothing");

    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    // It has made its first plan when it acts on something that is new.
    cluster.add_services(&["d"]).await;
    let with_d = cluster.all_announced(&["a", "b", "c", "d"]).await;
    assert!(addresses.iter().all(|(name, address)| with_d[name] == *address));
    let log = operator.process.log();
    let first = log.lines().find(|line| line.contains("planned")).unwrap();
    assert!(first.contains("writes=0"), "the first plan after a restart has nothing to write: {first}\n{log}");
}

#[tokio::test]
async fn a_bad_pool_has_a_condition_and_the_others_work() {
    let cluster = Cluster::start().await;
    let garbage = [
        ("cidr-33", "10.0.0.0/33", "neither a CIDR"),
        ("backwards", "10.0.0.9-10.0.0.1", "did you mean 10.0.0.1-10.0.0.9?"),
        ("families", "::1-10.0.0.1", "different IP families"),
        ("everything", "2001:db8::/0", "whole address space"),
    ];
    // An API server that does not check: the rules of an older, or an edited, CRD.
    edit_crd(&cluster, "loadbalancerpools.clarionlb.io", |spec| {
        spec["addresses"].as_object_mut().unwrap().remove("minItems");
        spec["addresses"]["items"].as_object_mut().unwrap().remove("x-kubernetes-validations").unwrap();
    })
    .await;
    let pool = |name: &str, addresses: serde_json::Value| {
        object(json!({
            "apiVersion": "clarionlb.io/v1beta1", "kind": "LoadBalancerPool",
            "metadata": {"name": name}, "spec": {"addresses": addresses},
        }))
    };
    wait::until("the edited CRD", async || {
        let objects = garbage.iter().map(|(name, text, _)| pool(name, json!([text])));
        let objects: Vec<_> = objects.chain([pool("empty", json!([]))]).collect();
        cluster.0.apply(&objects).await
    })
    .await
    .unwrap();

    let _operator = Operator::start(&cluster.0).unwrap();
    for (name, text, why) in garbage {
        let message = cluster.becomes("lbpool", name, "Ready", "False", "InvalidAddresses").await;
        assert!(message.contains(text) && message.contains(why), "{message}");
    }
    cluster.becomes("lbpool", "empty", "Ready", "False", "NoAddresses").await;
    cluster.becomes("lbpool", "main", "Ready", "True", "Valid").await;
    cluster.add_services(&["a"]).await;
    cluster.all_announced(&["a"]).await;
}

#[tokio::test]
async fn on_openshift_it_says_how_to_enable_frr_k8s_and_where_that_will_be() {
    let cluster = Cluster(clarion_envtest::ControlPlane::with_clarion().await.unwrap());
    let network = object(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "networks.operator.openshift.io"},
        "spec": {
            "group": "operator.openshift.io", "scope": "Cluster",
            "names": {"kind": "Network", "listKind": "NetworkList", "plural": "networks", "singular": "network"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    }));
    let namespace = object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "openshift-frr-k8s"}}));
    cluster.0.apply(&[network, namespace]).await.unwrap();
    cluster.0.kubectl(&["wait", "--for=condition=Established", "crd/networks.operator.openshift.io"]).unwrap();
    cluster.0.apply(&crate::cluster::basics()).await.unwrap();
    let _operator = Operator::start(&cluster.0).unwrap();
    let message = cluster.becomes("lbpeer", "tor", "Ready", "False", "FRRK8sNotInstalled").await;
    assert!(message.contains("oc patch networks.operator.openshift.io cluster --type=merge -p"), "{message}");

    cluster.0.install_frr_k8s().await.unwrap();
    let message = cluster.becomes("lbpeer", "tor", "Ready", "True", "Valid").await;
    assert!(message.contains("openshift-frr-k8s"), "{message}");
}

#[tokio::test]
async fn without_frr_k8s_it_is_healthy_says_so_and_goes_on_when_that_appears() {
    let cluster = Cluster(clarion_envtest::ControlPlane::with_clarion().await.unwrap());
    cluster.0.apply(&crate::cluster::basics()).await.unwrap();
    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    assert_eq!(operator.get("/livez").await.unwrap().0, 200);
    cluster.add_services(&["a"]).await;
    cluster.becomes("service", "a", "clarionlb.io/Announced", "False", "FRRK8sNotInstalled").await;
    cluster.becomes("lbpeer", "tor", "Ready", "False", "FRRK8sNotInstalled").await;
    assert_eq!(cluster.addresses().await.unwrap().len(), 1, "allocation does not wait");
    assert!(operator.process.log().contains("FRR-K8s is not installed"), "{}", operator.process.log());

    cluster.0.install_frr_k8s().await.unwrap();
    cluster.all_announced(&["a"]).await;
    cluster.becomes("lbpeer", "tor", "Ready", "True", "Valid").await;
    cluster.becomes("service", "a", "clarionlb.io/Announced", "Unknown", "Unconfirmed").await;
}

#[tokio::test]
async fn two_nodes_of_one_hostname_label_are_reported_and_served() {
    let cluster = Cluster::start().await;
    let twin = object(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "twin", "labels": {"kubernetes.io/hostname": "node-a"}},
    }));
    let nameless = object(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "nameless"}}));
    cluster.0.apply(&[twin, nameless]).await.unwrap();
    let _operator = Operator::start(&cluster.0).unwrap();
    cluster.add_services(&["a"]).await;
    cluster.all_announced(&["a"]).await;
    let message = cluster.becomes("lbpeer", "tor", "Ready", "True", "HostnameLabel").await;
    assert!(message.contains("node-a, twin have the same label"), "{message}");
    assert!(message.contains("nameless has no label"), "{message}");
    let objects = cluster.configurations().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(objects.len(), 1);
    assert_eq!(hosts(&objects[0]), ["node-a", "node-b"]);
}

fn hosts(configuration: &clarion_api::frr::FRRConfiguration) -> Vec<String> {
    let selector = configuration.spec.node_selector.clone().unwrap();
    selector.match_expressions.unwrap()[0].values.clone().unwrap()
}

#[tokio::test]
async fn when_the_last_node_of_an_object_goes_the_object_goes() {
    let cluster = Cluster::start().await;
    let _operator = Operator::start(&cluster.0).unwrap();
    cluster.add_services(&["a"]).await;
    cluster.all_announced(&["a"]).await;
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(cluster.0.client());
    nodes.delete("node-a", &Default::default()).await.unwrap();
    wait::until("one host less", async || {
        let objects = cluster.configurations().list(&ListParams::default()).await.map_err(|e| e.to_string())?.items;
        let hosts: Vec<_> = objects.iter().flat_map(hosts).collect();
        if hosts == ["node-b"] { Ok(()) } else { Err(format!("{hosts:?}")) }
    })
    .await
    .unwrap();
    nodes.delete("node-b", &Default::default()).await.unwrap();
    wait::until("no object", async || {
        let objects = cluster.configurations().list(&ListParams::default()).await.map_err(|e| e.to_string())?.items;
        for object in &objects {
            assert!(!hosts(object).is_empty(), "{} selects In []", object.name_any());
        }
        if objects.is_empty() { Ok(()) } else { Err(format!("{} left", objects.len())) }
    })
    .await
    .unwrap();
    cluster.becomes("service", "a", "clarionlb.io/Announced", "False", "NoNode").await;
    cluster.0.apply(&[crate::cluster::node("node-c")]).await.unwrap();
    cluster.all_announced(&["a"]).await;
}

#[tokio::test]
async fn frr_k8s_that_is_removed_and_installed_again_is_noticed_both_times() {
    let cluster = Cluster::start().await;
    let _operator = Operator::start(&cluster.0).unwrap();
    cluster.add_services(&["a"]).await;
    let before = cluster.all_announced(&["a"]).await;
    cluster.0.kubectl(&["delete", "crd", "frrconfigurations.frrk8s.metallb.io"]).unwrap();
    cluster.becomes("lbpeer", "tor", "Ready", "False", "FRRK8sNotInstalled").await;
    cluster.becomes("service", "a", "clarionlb.io/Announced", "False", "FRRK8sNotInstalled").await;
    assert_eq!(cluster.addresses().await.unwrap(), before, "addresses stay");
    cluster.0.install_frr_k8s().await.unwrap();
    assert_eq!(cluster.all_announced(&["a"]).await, before);
}

#[tokio::test]
async fn a_refused_write_is_told_with_what_the_api_server_said_and_tried_again() {
    let cluster = Cluster::start().await;
    // The CRDs are there, the namespace is not: with --frr-k8s-namespace set to the wrong one, say.
    let kubeconfig = cluster.0.operator_kubeconfig();
    let arguments = ["--frr-k8s-namespace", "not-yet"];
    let _operator = Operator::start_with(&cluster.0, &kubeconfig, &arguments).unwrap();
    cluster.tells_of_refusal("namespaces \"not-yet\" not found").await;
    cluster.0.kubectl(&["create", "namespace", "not-yet"]).unwrap();
    let message = cluster.becomes("lbpeer", "tor", "Ready", "True", "Valid").await;
    assert!(message.contains("not-yet"), "{message}");
    cluster.add_services(&["a"]).await;
    cluster.all_announced(&["a"]).await;
}

/// Counts the versions of an object that come within some seconds.
async fn versions(cluster: &Cluster, kind: &str, name: &str) -> usize {
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..30 {
        let path = "jsonpath={.items[*].metadata.resourceVersion}";
        let field = format!("--field-selector=metadata.name={name}");
        seen.insert(cluster.0.kubectl(&["get", kind, "-A", &field, "-o", path]).unwrap());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    seen.len()
}

/// Changes a CRD as an older or newer version of it might be.
async fn edit_crd(cluster: &Cluster, name: &str, edit: impl Fn(&mut serde_json::Value)) {
    let crds: Api<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition> =
        Api::all(cluster.0.client());
    let mut crd = crds.get(name).await.unwrap();
    let mut spec = serde_json::to_value(&crd.spec).unwrap();
    edit(spec.pointer_mut("/versions/0/schema/openAPIV3Schema/properties/spec/properties").unwrap());
    crd.spec = serde_json::from_value(spec).unwrap();
    crds.replace(name, &Default::default(), &crd).await.unwrap();
}

#[tokio::test]
async fn an_object_that_cant_be_read_has_a_condition_and_is_written_once() {
    let cluster = Cluster::start().await;
    edit_crd(&cluster, "loadbalancerpools.clarionlb.io", |spec| {
        spec["strategy"] = json!({"type": "string"});
    })
    .await;
    let future = object(json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "LoadBalancerPool", "metadata": {"name": "future"},
        "spec": {"addresses": ["198.51.200.0/24"], "strategy": "FromTheFuture"},
    }));
    wait::until("the edited CRD", async || cluster.0.apply(std::slice::from_ref(&future)).await).await.unwrap();
    let _operator = Operator::start(&cluster.0).unwrap();
    let message = cluster.becomes("lbpool", "future", "Ready", "False", "Unreadable").await;
    assert!(message.contains("FromTheFuture"), "{message}");
    assert_eq!(versions(&cluster, "lbpool", "future").await, 1, "it is not written again and again");
    cluster.add_services(&["a"]).await;
    cluster.all_announced(&["a"]).await;
}

#[tokio::test]
async fn a_field_that_the_api_server_drops_unexpectedly_is_told_and_not_written_for_ever() {
    let cluster = Cluster::start().await;
    edit_crd(&cluster, "frrconfigurations.frrk8s.metallb.io", |spec| {
        let neighbor = spec.pointer_mut("/bgp/properties/routers/items/properties/neighbors/items/properties").unwrap();
        neighbor.as_object_mut().unwrap().remove("ebgpMultiHop").unwrap();
    })
    .await;
    let mut peer = crate::cluster::peer();
    peer.data["spec"]["ebgpMultiHop"] = json!(true);
    cluster.0.apply(&[peer]).await.unwrap();
    let operator = Operator::start(&cluster.0).unwrap();
    cluster.tells_of_refusal("is FRR-K8s too old?").await;
    let before = operator.process.log().matches("planned").count();
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let plans = operator.process.log().matches("planned").count() - before;
    assert!(plans < 20, "{plans} plans in four quiet seconds");
    cluster.add_services(&["a"]).await;
    cluster.all_announced(&["a"]).await;
}

#[tokio::test]
async fn a_service_that_becomes_another_type_is_withdrawn_and_our_conditions_go() {
    let cluster = Cluster::start().await;
    let _operator = Operator::start(&cluster.0).unwrap();
    cluster.add_services(&["a", "b"]).await;
    cluster.all_announced(&["a", "b"]).await;
    let patch = r#"{"spec":{"type":"ClusterIP","loadBalancerClass":null}}"#;
    cluster.0.kubectl(&["patch", "service", "a", "--type=merge", "-p", patch]).unwrap();
    wait::until("the withdrawal, and a status without our conditions", async || {
        let announced = cluster.announced().await.map_err(|error| error.to_string())?;
        let status = cluster.0.kubectl(&["get", "service", "a", "-o", "jsonpath={.status}"]).unwrap();
        if announced.len() == 1 && !status.contains("clarionlb.io") {
            Ok(())
        } else {
            Err(format!("{announced:?} {status}"))
        }
    })
    .await
    .unwrap();
    cluster.all_announced(&["b"]).await;
}
