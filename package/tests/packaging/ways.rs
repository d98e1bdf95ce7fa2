//! Helm, kustomize and OLM install the same.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::tools::{file, helm_template, kustomize_with, parse};

/// Labels that Helm's users expect, and that tell one release from another.
const OF_HELM: [&str; 4] =
    ["app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"];

/// Objects by kind and name.
type Objects = BTreeMap<(String, String), Value>;

fn by_name(objects: Vec<Value>) -> Objects {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    objects.into_iter().map(|object| ((text(&object["kind"]), text(&object["metadata"]["name"])), object)).collect()
}

/// Takes what is Helm's away, wherever it stands.
fn without_helm(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| !OF_HELM.contains(&key.as_str()) && key != "helm.sh/resource-policy");
            fields.values_mut().for_each(without_helm);
            if fields.get("annotations") == Some(&json!({})) {
                fields.remove("annotations");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_helm),
        _ => {}
    }
}

fn of_helm(arguments: &[&str]) -> Objects {
    let mut objects = parse(&helm_template(arguments));
    objects.iter_mut().for_each(without_helm);
    by_name(objects)
}

fn of_kustomize(components: &[&str]) -> Objects {
    by_name(parse(&kustomize_with(components)))
}

/// As OLM makes objects of the bundle: what is in the CSV, and what lies beside it.
fn of_bundle() -> (Value, Objects) {
    let directory = clarion_envtest::repository().join("bundle/manifests");
    let mut objects = Vec::new();
    for entry in directory.read_dir().unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        objects.extend(file(&format!("bundle/manifests/{name}")));
    }
    let mut objects = by_name(objects);
    let csv = objects.keys().find(|(kind, _)| kind == "ClusterServiceVersion").unwrap().clone();
    (objects.remove(&csv).unwrap(), objects)
}

fn key(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[test]
fn helm_renders_what_kustomize_renders() {
    let (mut kustomize, helm) = (of_kustomize(&[]), of_helm(&[]));
    // Helm is told by its user which namespace to install into, and makes it if asked to.
    kustomize.remove(&key("Namespace", "clarion-system")).unwrap();
    let names = |objects: &Objects| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&helm), names(&kustomize));
    for (name, object) in &kustomize {
        let mut expected = object.clone();
        if name.0 == "CustomResourceDefinition" {
            // The chart has no labels there, so that CRDs are the same whoever installed them.
            assert_eq!(expected["metadata"]["labels"], Value::Null);
        }
        without_helm(&mut expected);
        assert_eq!(helm[name], expected, "{name:?}");
    }
}

#[test]
fn every_option_of_helm_renders_what_the_component_of_kustomize_renders() {
    let options = [
        ("service-monitor", "serviceMonitor"),
        ("pod-monitor", "podMonitor"),
        ("prometheus-rule", "prometheusRule"),
        ("dashboards", "dashboards"),
        ("network-policy", "networkPolicy"),
        ("deletion-policy", "deletionPolicy"),
        ("password-secrets", "passwordSecrets"),
        ("frr-k8s-pods", "frrK8sPods"),
    ];
    let mut all: Vec<String> = std::fs::read_dir(clarion_envtest::repository().join("config/components"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    all.sort();
    let mut known: Vec<_> = options.iter().map(|(component, _)| *component).collect();
    known.sort_unstable();
    assert_eq!(all, known, "each component is an option of the chart");

    let (plain_kustomize, plain_helm) = (of_kustomize(&[]), of_helm(&[]));
    for (component, option) in options {
        let mut kustomize = of_kustomize(&[component]);
        let mut helm = of_helm(&["--set", &format!("{option}.enabled=true")]);
        kustomize.retain(|name, object| plain_kustomize.get(name) != Some(object));
        helm.retain(|name, object| plain_helm.get(name) != Some(object));
        // The labels of objects matter to nobody but those who list them: the component's Roles have none.
        for object in kustomize.values_mut().chain(helm.values_mut()) {
            object["metadata"].as_object_mut().unwrap().remove("labels");
        }
        assert!(!kustomize.is_empty(), "{component}");
        assert_eq!(helm, kustomize, "{component}");
    }
}

#[test]
fn the_bundle_has_what_kustomize_renders() {
    let ((csv, beside), kustomize) = (of_bundle(), of_kustomize(&[]));
    let install = &csv["spec"]["install"]["spec"];
    let deployment = &kustomize[&key("Deployment", "clarion")];
    assert_eq!(install["deployments"].as_array().unwrap().len(), 1);
    assert_eq!(install["deployments"][0]["spec"], deployment["spec"]);
    assert_eq!(install["deployments"][0]["label"], deployment["metadata"]["labels"]);
    for (field, kind) in [("clusterPermissions", "ClusterRole"), ("permissions", "Role")] {
        let permissions = install[field].as_array().unwrap();
        assert_eq!(permissions.len(), 1);
        assert_eq!(permissions[0]["serviceAccountName"], "clarion");
        assert_eq!(permissions[0]["rules"], kustomize[&key(kind, "clarion")]["rules"], "{kind}");
    }

    // What OLM makes by itself, from the CSV or because it is told to.
    let by_olm = [
        ("Namespace", "clarion-system"),
        ("ServiceAccount", "clarion"),
        ("ClusterRole", "clarion"),
        ("ClusterRoleBinding", "clarion"),
        ("Role", "clarion"),
        ("RoleBinding", "clarion"),
        ("Deployment", "clarion"),
    ];
    let mut expected = kustomize.clone();
    for (kind, name) in by_olm {
        expected.remove(&key(kind, name)).unwrap();
    }
    for object in expected.values_mut() {
        object["metadata"].as_object_mut().unwrap().remove("namespace");
    }
    assert_eq!(beside, expected);
}
