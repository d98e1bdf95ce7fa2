//! What `kubectl apply -k config/` installs.

use clarion_envtest::{ControlPlane, manifests, repository};
use kube::{Api, ResourceExt as _, api::PostParams};
use serde_json::{Value, json};

use crate::cluster::{advertisement, object, peer, pool};

#[tokio::test]
async fn its_pods_are_accepted_where_pod_security_is_restricted() {
    let control_plane = ControlPlane::with_clarion().await.unwrap();
    let deployment: Value = serde_json::from_str(
        &control_plane.kubectl(&["get", "deployment", "clarion", "-n", "clarion-system", "-o", "json"]).unwrap(),
    )
    .unwrap();
    assert_eq!(deployment["spec"]["replicas"], 2);
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(control_plane.client(), "clarion-system");
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let pod = |spec: &Value| serde_json::from_value(json!({"metadata": {"name": "tried"}, "spec": spec})).unwrap();
    let mut spec = deployment["spec"]["template"]["spec"].clone();
    pods.create(&dry_run, &pod(&spec)).await.unwrap();
    spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
    let refused = pods.create(&dry_run, &pod(&spec)).await.unwrap_err().to_string();
    assert!(refused.contains("violates PodSecurity"), "pod security is on: {refused}");

    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    for (probe, path) in [("startupProbe", "/startupz"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"]["path"], path);
    }
}

#[test]
fn its_rights_have_no_wildcard_and_no_secrets_and_of_services_only_the_status_is_written() {
    let objects = manifests(&repository().join("config/base/rbac.yaml")).unwrap();
    let rules = objects.iter().flat_map(|object| object.data["rules"].as_array().cloned().unwrap_or_default());
    let mut service_writes = Vec::new();
    for rule in rules {
        let text = rule.to_string();
        assert!(!text.contains('*') && !text.contains("secret"), "{text}");
        let reads = ["get", "list", "watch"];
        let writes: Vec<_> =
            rule["verbs"].as_array().unwrap().iter().filter(|v| !reads.contains(&v.as_str().unwrap())).collect();
        if text.contains("\"services") && !writes.is_empty() {
            service_writes.push((rule["resources"].clone(), json!(writes)));
        }
    }
    assert_eq!(service_writes, [(json!(["services/status"]), json!(["patch"]))]);
}

#[tokio::test]
async fn one_word_lists_every_kind() {
    let control_plane = ControlPlane::with_clarion().await.unwrap();
    let objects = [
        pool("main", &["198.51.100.0/24"]),
        peer(),
        advertisement(),
        object(json!({
            "apiVersion": "clarionlb.io/v1beta1", "kind": "CommunityAlias", "metadata": {"name": "ours"},
            "spec": {"aliases": [{"name": "blue", "value": "64512:1"}]},
        })),
        object(json!({
            "apiVersion": "clarionlb.io/v1beta1", "kind": "AddressReservation", "metadata": {"name": "kept"},
            "spec": {"poolName": "main", "serviceName": "web"},
        })),
    ];
    control_plane.apply(&objects).await.unwrap();
    let names = control_plane.kubectl(&["get", "clarion", "-A", "-o", "name"]).unwrap();
    for object in objects {
        let kind = object.types.as_ref().unwrap().kind.to_lowercase();
        assert!(names.contains(&format!("{kind}.clarionlb.io/{}", object.name_any())), "{names}");
    }
    for short in ["lbpool", "lbpeer", "lbadv", "lbcomm", "lbres"] {
        control_plane.kubectl(&["get", short]).unwrap();
    }
}
