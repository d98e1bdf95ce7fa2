//! Our types of FRR-K8s's kinds against the CRDs that FRR-K8s ships.

use std::collections::BTreeMap;

use clarion_api::frr::{BGPSessionState, FRRConfiguration, FRRNodeState};
use clarion_envtest::{manifests, tools};
use kube::{CustomResourceExt as _, ResourceExt as _};
use rstest::rstest;
use serde_json::{Value, json};

/// Every property of a schema with its type, by its path.
fn walk(schema: &Value, path: &str, found: &mut BTreeMap<String, String>) {
    let mut type_ = schema["type"].as_str().unwrap_or_default().to_owned();
    if type_ == "array" {
        walk(&schema["items"], &format!("{path}[]"), found);
    }
    // A map with values of one type, unlike an object of which newer versions may know more.
    if schema["additionalProperties"]["type"].is_string() {
        type_ = format!("map of {}", schema["additionalProperties"]["type"].as_str().unwrap());
    }
    found.insert(path.to_owned(), type_);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{path}.{name}"), found);
    }
}

fn properties(crd: &Value) -> BTreeMap<String, String> {
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let mut found = BTreeMap::new();
    for part in ["spec", "status"] {
        walk(&schema[part], part, &mut found);
    }
    found
}

fn upstream(component: &str, name: &str) -> BTreeMap<String, String> {
    let objects = manifests(&tools(component).unwrap().join("crds")).unwrap();
    let crd = objects.iter().find(|object| object.name_any() == name).unwrap();
    properties(&serde_json::to_value(crd).unwrap())
}

fn ours(name: &str) -> BTreeMap<String, String> {
    let crds = [FRRConfiguration::crd(), FRRNodeState::crd(), BGPSessionState::crd()];
    let crd = crds.iter().find(|crd| crd.name_any() == name).unwrap();
    properties(&serde_json::to_value(crd).unwrap())
}

#[rstest]
#[case("frrconfigurations.frrk8s.metallb.io")]
#[case("frrnodestates.frrk8s.metallb.io")]
#[case("bgpsessionstates.frrk8s.metallb.io")]
fn every_field_of_v0_0_27_is_ours_with_its_type_and_no_other(#[case] name: &str) {
    let (ours, upstream) = (ours(name), upstream("frr-k8s-next", name));
    assert_eq!(ours, upstream);
    assert!(upstream.len() > 1);
}

#[rstest]
#[case("frrconfigurations.frrk8s.metallb.io", &["spec.bgp.routers[].neighbors[].toAdvertise.withAsPathPrepend"])]
#[case("frrnodestates.frrk8s.metallb.io", &[])]
#[case("bgpsessionstates.frrk8s.metallb.io", &[])]
fn v0_0_26_lacks_only_what_is_known_to_be_new(#[case] name: &str, #[case] new: &[&str]) {
    let (ours, upstream) = (ours(name), upstream("frr-k8s", name));
    for (path, type_) in &upstream {
        assert_eq!(ours.get(path), Some(type_), "{path}");
    }
    let lacking = ours.keys().filter(|path| !upstream.contains_key(*path));
    let unexpected: Vec<_> = lacking.filter(|path| !new.iter().any(|new| path.starts_with(new))).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}

/// Puts a field that nobody knows into every object.
fn sprinkle(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(sprinkle);
            fields.insert("fromTheFuture".to_owned(), json!({"a": [1, "b"]}));
        }
        Value::Array(items) => items.iter_mut().for_each(sprinkle),
        _ => {}
    }
}

#[test]
fn unknown_fields_of_newer_versions_survive_a_read() {
    let mut bgp = json!({
        "routers": [{
            "asn": 1, "id": "10.0.0.1", "vrf": "red", "prefixes": ["10.0.0.0/32"], "imports": [{"vrf": "blue"}],
            "evpn": {
                "advertiseVNIs": "All",
                "l2vnis": [{"vni": 1, "rd": "1:1", "importRTs": ["1:1"], "exportRTs": ["1:1"]}],
                "l3vni": {"vni": 2, "advertisePrefixes": ["unicast"]},
            },
            "neighbors": [{
                "address": "10.0.0.2", "asn": 2, "passwordSecret": {"name": "s"},
                "toAdvertise": {
                    "allowed": {"mode": "filtered", "prefixes": ["10.0.0.0/32"]}, "nextHop": {"ipv4": "10.0.0.3"},
                    "withLocalPref": [{"localPref": 1, "prefixes": ["10.0.0.0/32"]}],
                    "withCommunity": [{"community": "1:1", "prefixes": ["10.0.0.0/32"]}],
                    "withAsPathPrepend": [{"asPathPrepend": 1, "prefixes": ["10.0.0.0/32"]}],
                },
                "toReceive": {"allowed": {"mode": "all", "prefixes": [{"prefix": "10.0.0.0/8", "le": 32}]}},
            }],
        }],
        "bfdProfiles": [{"name": "b", "receiveInterval": 10}],
    });
    let mut raw = json!({"rawConfig": "!", "priority": 1});
    sprinkle(&mut bgp);
    sprinkle(&mut raw);
    let object = json!({
        "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration", "metadata": {"name": "a"},
        "spec": {"bgp": bgp, "raw": raw, "nodeSelector": {"matchLabels": {"a": "b"}}, "fromTheFuture": 1},
        "status": {"fromTheFuture": true},
    });
    let read: FRRConfiguration = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), object);
}
