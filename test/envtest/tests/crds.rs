//! Every rule and bound of Clarion's CRDs, tried on a real API server: it refuses the bad value, for that reason, and
//! accepts its neighbour. The list of what to try comes from the CRDs themselves, so that nothing is forgotten.

use std::collections::BTreeMap;

use clarion_envtest::ControlPlane;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, PostParams},
};
use serde_json::{Value, json};

use crate::cluster::object;

/// One constraint of a schema: where, which keyword, and its value.
#[derive(Debug)]
struct Constraint {
    path: String,
    keyword: String,
    value: Value,
    schema: Value,
}

#[tokio::test]
async fn every_rule_and_bound_refuses_the_bad_value_and_accepts_its_neighbour() {
    let control_plane = ControlPlane::with_clarion().await.unwrap();
    let mut tried = 0;
    let mut complaints = Vec::new();
    for crd in clarion_api::crds() {
        let kind = crd.spec.names.kind.clone();
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        let mut constraints = Vec::new();
        walk(&schema["openAPIV3Schema"], "", &mut constraints);
        let api = api(control_plane.client(), &crd);
        let base = base(&kind);
        api.create(&PostParams::default(), &object(base.clone())).await.unwrap();
        for constraint in constraints {
            tried += 1;
            let cases = cases(&kind, &constraint);
            if cases.is_empty() {
                complaints.push(format!("{kind}: no case for {constraint:?}"));
            }
            for (bad, good, wanted) in cases {
                let status = constraint.path.starts_with(".status");
                match send(&api, &bad, status).await {
                    Ok(()) => {
                        complaints.push(format!("{kind} {} {}: accepted {bad}", constraint.path, constraint.keyword))
                    }
                    Err(message) if !message.contains(&wanted) => complaints.push(format!(
                        "{kind} {} {}: refused, but not for {wanted:?}: {message}",
                        constraint.path, constraint.keyword
                    )),
                    Err(_) => {}
                }
                if let Err(message) = send(&api, &good, status).await {
                    complaints.push(format!(
                        "{kind} {} {}: refused the neighbour: {message}",
                        constraint.path, constraint.keyword
                    ));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "{} of {tried}:\n{}", complaints.len(), complaints.join("\n"));
    assert!(tried > 300, "only {tried} constraints were found");
}

fn api(client: Client, crd: &clarion_api::CustomResourceDefinition) -> Api<DynamicObject> {
    let names = &crd.spec.names;
    let resource = ApiResource {
        group: crd.spec.group.clone(),
        version: "v1beta1".to_owned(),
        api_version: format!("{}/v1beta1", crd.spec.group),
        kind: names.kind.clone(),
        plural: names.plural.clone(),
    };
    if crd.spec.scope == "Namespaced" {
        Api::namespaced_with(client, "default", &resource)
    } else {
        Api::all_with(client, &resource)
    }
}

/// Creates the object, or sets its status, without effect.
async fn send(api: &Api<DynamicObject>, value: &Value, status: bool) -> Result<(), String> {
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    let result = if status {
        let mut there = api.get("base").await.unwrap();
        there.data["status"] = value["status"].clone();
        api.replace_status("base", &parameters, &there).await
    } else {
        let mut value = value.clone();
        value["metadata"]["name"] = json!("tried");
        api.create(&parameters, &object(value)).await
    };
    result.map(|_| ()).map_err(|error| match error {
        kube::Error::Api(status) => status.message,
        other => other.to_string(),
    })
}

/// Everything in a schema that refuses a value.
fn walk(schema: &Value, path: &str, found: &mut Vec<Constraint>) {
    let add = |found: &mut Vec<Constraint>, keyword: &str, value: &Value| {
        found.push(Constraint {
            path: path.to_owned(),
            keyword: keyword.to_owned(),
            value: value.clone(),
            schema: schema.clone(),
        });
    };
    let map = schema.as_object().unwrap();
    for (keyword, value) in map {
        match keyword.as_str() {
            "minimum" | "maximum" | "minLength" | "maxLength" | "minItems" | "maxItems" | "maxProperties"
            | "pattern" | "enum" => add(found, keyword, value),
            "required" => value.as_array().unwrap().iter().for_each(|field| add(found, keyword, field)),
            "x-kubernetes-validations" => value.as_array().unwrap().iter().for_each(|rule| add(found, keyword, rule)),
            "x-kubernetes-list-type" if value != "atomic" => add(found, keyword, value),
            "format" if value == "date-time" => add(found, keyword, value),
            // Neither bounds nor rules: types, texts, defaults, and how the lists merge.
            "format"
            | "type"
            | "description"
            | "title"
            | "default"
            | "nullable"
            | "x-kubernetes-list-type"
            | "x-kubernetes-list-map-keys" => {}
            "properties" => {
                for (name, property) in value.as_object().unwrap() {
                    walk(property, &format!("{path}.{name}"), found);
                }
            }
            "items" => walk(value, &format!("{path}[]"), found),
            "additionalProperties" => walk(value, &format!("{path}{{}}"), found),
            other => panic!("{path}: what is {other}?"),
        }
    }
    // Lists and strings without bounds would make rules too expensive.
    match schema["type"].as_str() {
        Some("array") => assert!(map.contains_key("maxItems"), "{path} has no maxItems"),
        Some("string") => {
            let bounded = map.contains_key("maxLength") || map.contains_key("enum") || schema["format"] == "date-time";
            assert!(bounded || [".apiVersion", ".kind"].contains(&path), "{path} has no maxLength");
        }
        _ => {}
    }
}

/// Bad value, its good neighbour, and what the refusal must name.
type Case = (Value, Value, String);

fn cases(kind: &str, constraint: &Constraint) -> Vec<Case> {
    let Constraint { path, keyword, value, schema } = constraint;
    let base = arranged(kind, path);
    let place = path.trim_start_matches('.').replace("[]", "[0]");
    let at = |value: Value| set(&base, path, value);
    let both = |bad: Value, good: Value| vec![(at(bad), at(good), place.clone())];
    // Bounds of numbers are floating-point numbers in a schema.
    let number = || value.as_f64().unwrap() as i64;
    match keyword.as_str() {
        "minimum" => both(json!(number() - 1), json!(number())),
        "maximum" => both(json!(number() + 1), json!(number())),
        "minItems" => both(json!([]), json!([item(path, &schema["items"], 0)])),
        "maxItems" => {
            let list = |n: i64| Value::from_iter((0..n).map(|i| item(path, &schema["items"], i)));
            both(list(number() + 1), list(number()))
        }
        "maxProperties" => {
            let map = |n: i64| (0..n).map(|i| (format!("k{i}"), json!("v"))).collect::<BTreeMap<_, _>>();
            both(json!(map(number() + 1)), json!(map(number())))
        }
        "minLength" => vec![(at(json!("")), base.clone(), key_place(&place))],
        "maxLength" => {
            let long = longest(path, schema, number());
            assert_eq!(long.len() as i64, number(), "{path}");
            vec![(at(json!(format!("{long}0"))), at(json!(long)), key_place(&place))]
        }
        "pattern" => vec![(at(json!("not\tvalid")), base.clone(), key_place(&place))],
        "enum" => {
            let neighbour = |good: &Value| {
                let mut object = at(good.clone());
                if good == "Exists" || good == "DoesNotExist" {
                    let parent = path.rsplit_once('.').unwrap().0;
                    pointer(&mut object, parent).as_object_mut().unwrap().remove("values");
                }
                object
            };
            let values = value.as_array().unwrap().iter();
            values.map(|good| (at(json!("Bogus")), neighbour(good), place.clone())).collect()
        }
        "format" => both(json!("yesterday"), json!("2026-01-01T00:00:00Z")),
        "required" => {
            let field = value.as_str().unwrap();
            let mut bad = base.clone();
            pointer(&mut bad, path).as_object_mut().unwrap().remove(field).unwrap_or_else(|| panic!("{path}.{field}"));
            vec![(bad, base, field.to_owned())]
        }
        "x-kubernetes-list-type" => {
            let one = item(path, &schema["items"], 0);
            both(json!([one, one]), json!([one, item(path, &schema["items"], 1)]))
        }
        "x-kubernetes-validations" => {
            let message = value["message"].as_str().unwrap();
            let merged = |patch: &Value| {
                let mut object = base.clone();
                merge(pointer(&mut object, path), patch);
                object
            };
            rule(kind, path, message).into_iter().map(|(b, g)| (merged(&b), merged(&g), message.to_owned())).collect()
        }
        other => panic!("{other}"),
    }
}

/// Values of maps are reported by the map's path.
fn key_place(place: &str) -> String {
    place.trim_end_matches("{}").to_owned()
}

/// For each rule, by its message: bad values and a good neighbour of each. For rules on objects these are patches.
fn rule(kind: &str, path: &str, message: &str) -> Vec<(Value, Value)> {
    let v6 = path.ends_with("ipv6");
    let texts = |bad: &[&str], good: &str| bad.iter().map(|bad| (json!(bad), json!(good))).collect();
    match message {
        "must be a CIDR such as 192.0.2.0/24 or a range such as 192.0.2.10-192.0.2.20" => texts(
            &[
                "10.0.0.0/33",
                "10.0.0.1",
                "10.0.0.1-",
                "10.0.0.1-10.0.0.2-10.0.0.3",
                "010.0.0.0/24",
                "::ffff:10.0.0.0/120",
            ],
            "10.0.0.0/32",
        ),
        "both ends of a range must be of one IP family" => {
            texts(&["::1-10.0.0.1", "10.0.0.1-::1"], "10.0.0.1-10.0.0.1")
        }
        "a prefix of length 0 is the whole address space" => texts(&["2001:db8::/0", "0.0.0.0/0"], "0.0.0.0/1"),
        "a CIDR must not have bits set beyond its prefix length" => {
            texts(&["10.0.0.1/31", "2001:db8::1/127"], "10.0.0.2/31")
        }
        "must be an IPv4 or IPv6 address" => {
            texts(&["10.0.0.256", "::ffff:10.0.0.1", "router", "10.0.0.1/32"], "2001:db8::1")
        }
        "must be an IPv4 address" => texts(&["2001:db8::1", "10.0.0"], "10.0.0.1"),
        "must be an IPv6 address" if v6 => texts(&["10.0.0.1", "2001:db8:::1"], "2001:db8::1"),
        "must be an IP address or the name of an interface" => {
            texts(&["two words", "eth0\nrouter bgp 1", "a-name-of-16-let", "10.0.0.256 "], "a-name-of-15-le")
        }
        "must be a duration of whole seconds such as 90s or 1m30s" => {
            texts(&["90", "1.5s", "-3s", "90s1m", "500ms"], "90s")
        }
        "must be 0s, or between 3s and 65535s" => {
            let mut cases: Vec<_> = texts(&["1s", "2s"], "0s");
            cases.push((json!("65536s"), json!("65535s")));
            cases.push((json!("2s"), json!("3s")));
            // keepaliveTime must not be longer.
            cases
        }
        "must be between 0s and 65535s" => vec![(json!("65536s"), json!("65535s"))],
        "must be between 1s and 65535s" => vec![(json!("0s"), json!("1s")), (json!("65536s"), json!("65535s"))],
        "must be a community such as 65000:100 or large:65000:1:2" => {
            texts(&["65536:1", "1:65536", "1:2:3", "large:1:2", "no-export", "1:", "+1:2"], "65535:65535")
        }
        "must be a community such as 65000:100 or large:65000:1:2, or the name of an alias" => {
            texts(&["65536:1", "large:4294967296:1:1", "large:1:2", "1alias", "an alias"], "large:4294967295:1:1")
        }
        "In and NotIn need values, Exists and DoesNotExist take none" => vec![
            (json!({"operator": "In", "values": null}), json!({"operator": "In", "values": ["a"]})),
            (json!({"operator": "NotIn", "values": []}), json!({"operator": "NotIn", "values": ["a"]})),
            (json!({"operator": "Exists", "values": ["a"]}), json!({"operator": "Exists", "values": []})),
            (json!({"operator": "DoesNotExist", "values": ["a"]}), json!({"operator": "DoesNotExist", "values": null})),
        ],
        "a pool can't succeed itself" => {
            vec![(json!({"spec": {"succeededBy": "tried"}}), json!({"spec": {"succeededBy": "other"}}))]
        }
        "serviceSelectors can't be used together with aggregation: an aggregate covers other Services too" => vec![
            (
                json!({"serviceSelectors": [{}], "aggregationLength": 24}),
                json!({"serviceSelectors": [], "aggregationLength": 24}),
            ),
            (
                json!({"serviceSelectors": [{}], "aggregationLengthV6": 64}),
                json!({"serviceSelectors": [{}], "aggregationLengthV6": 128}),
            ),
        ],
        "exactly one of peerAddress and interface is needed" => vec![
            (
                json!({"interface": "eth0", "peerPort": null}),
                json!({"interface": "eth0", "peerPort": null, "peerAddress": null}),
            ),
            (json!({"peerAddress": null}), json!({})),
        ],
        "peerASN and dynamicASN exclude each other" => {
            vec![(json!({"dynamicASN": "External"}), json!({"dynamicASN": "External", "peerASN": null}))]
        }
        "myASN, and peerASN or dynamicASN, are needed unless adoptSession is set" => vec![
            (json!({"myASN": null}), json!({"myASN": null, "adoptSession": {}})),
            (json!({"peerASN": null}), json!({"peerASN": null, "dynamicASN": "Internal", "localASN": null})),
        ],
        "localASN must differ from myASN" if kind == "RouterPeer" => {
            vec![(json!({"localASN": 64512, "myASN": 64512}), json!({"localASN": 64511, "myASN": 64512}))]
        }
        "localASN is for eBGP sessions: peerASN must differ from myASN" => {
            vec![(json!({"localASN": 64511, "peerASN": 64512}), json!({"localASN": 64511, "peerASN": 64513}))]
        }
        "localASN is for eBGP sessions: dynamicASN must be External" => {
            let peer = |mode: &str| json!({"localASN": 64511, "peerASN": null, "dynamicASN": mode});
            vec![(peer("Internal"), peer("External"))]
        }
        "holdTime and keepaliveTime go together" => vec![
            (json!({"holdTime": null}), json!({"holdTime": null, "keepaliveTime": null})),
            (json!({"keepaliveTime": null}), json!({})),
        ],
        "keepaliveTime must not be longer than holdTime" => {
            vec![(
                json!({"holdTime": "1m30s", "keepaliveTime": "91s"}),
                json!({"holdTime": "1m30s", "keepaliveTime": "90s"}),
            )]
        }
        "a session over an interface has no port" => vec![(
            json!({"interface": "eth0", "peerAddress": null}),
            json!({"interface": "eth0", "peerAddress": null, "peerPort": null}),
        )],
        "nextHop is for the families that the session carries: that of peerAddress, or both with dualStackAddressFamily" =>
        {
            let peer = |address: &str, next_hop: Value| json!({"dualStackAddressFamily": null, "peerAddress": address, "nextHop": next_hop});
            let (v4, v6) = (json!({"ipv4": "10.0.0.4", "ipv6": null}), json!({"ipv4": null, "ipv6": "2001:db8::4"}));
            vec![
                (peer("10.0.0.1", v6.clone()), peer("10.0.0.1", v4.clone())),
                (peer("2001:db8::1", v4), peer("2001:db8::1", v6)),
            ]
        }
        "drain.withdrawAt must be before the year 9000" => vec![(
            json!({"drain": {"withdrawAt": "9000-01-01T00:00:00Z"}}),
            json!({"drain": {"withdrawAt": "8999-12-31T23:59:59Z"}}),
        )],
        "BFD's echo mode doesn't work over several hops" => vec![(
            json!({"bfd": {"echoMode": true}, "ebgpMultiHop": true}),
            json!({"bfd": {"echoMode": true}, "ebgpMultiHop": false}),
        )],
        "peerAddress and interface exclude each other" => {
            vec![(json!({"interface": "eth0"}), json!({"interface": "eth0", "peerAddress": null}))]
        }
        _ => Vec::new(),
    }
}

/// A valid object with something in every field that others don't exclude.
fn base(kind: &str) -> Value {
    let selector = json!({
        "matchLabels": {"a": "b"},
        "matchExpressions": [{"key": "c", "operator": "In", "values": ["d"]}],
    });
    let conditions = json!([{
        "type": "Ready", "status": "True", "reason": "Valid", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 1,
    }]);
    let (spec, status) = match kind {
        "LoadBalancerPool" => (
            json!({
                "addresses": ["10.0.0.0/24"], "excludeAddresses": ["10.0.0.0/32"],
                "serviceAllocation": {
                    "priority": 1, "namespaces": ["a"], "namespaceSelectors": [selector], "serviceSelectors": [selector],
                },
                "quotas": [{"namespace": "a", "maxAddresses": 1}], "defaultQuota": 1, "succeededBy": "other",
            }),
            json!({"ipv4": {"total": 1, "assigned": 1, "available": 1}, "ipv6": {"total": 1, "assigned": 1, "available": 1}, "usage": "a"}),
        ),
        "AddressReservation" => (
            json!({"poolName": "a", "addresses": ["10.0.0.1"], "serviceName": "a"}),
            json!({"addresses": ["10.0.0.1"]}),
        ),
        "LoadBalancerAdvertisement" => (
            json!({
                "pools": ["a"], "poolSelectors": [selector], "serviceSelectors": [selector], "localPref": 1, "asPathPrepend": 1,
                "communities": ["1:1"], "allowedCommunities": ["1:1"], "nodeSelectors": [selector], "peers": ["a"],
                "nodeLimit": {"max": 1, "topologyKey": "a"},
            }),
            json!({"communities": ["1:1"]}),
        ),
        "CommunityAlias" => (json!({"aliases": [{"name": "a", "value": "1:1"}]}), json!({})),
        "RouterPeer" => (
            json!({
                "myASN": 64512, "peerASN": 64513, "peerAddress": "10.0.0.1", "peerPort": 179, "sourceAddress": "10.0.0.2",
                "localASN": 64511, "holdTime": "90s", "keepaliveTime": "0s", "connectTime": "1s", "routerID": "10.0.0.3",
                "nodeSelectors": [selector], "passwordSecret": {"name": "a"},
                "bfd": {
                    "receiveInterval": 10, "transmitInterval": 10, "detectMultiplier": 2, "echoInterval": 10, "minimumTTL": 1,
                },
                "vrf": "red", "nextHop": {"ipv4": "10.0.0.4", "ipv6": "2001:db8::4"}, "maxPrefixes": 1,
                "dualStackAddressFamily": true,
                "drain": {"withdrawAt": "2026-01-01T00:00:00Z"},
                "nodeOverrides": [{
                    "nodeSelector": selector, "myASN": 64512, "peerASN": 64513, "peerAddress": "10.0.0.1",
                    "sourceAddress": "10.0.0.2", "localASN": 64511, "nextHop": {"ipv4": "10.0.0.4", "ipv6": "2001:db8::4"},
                    "routerID": "10.0.0.3",
                }],
            }),
            json!({"nodes": 1, "established": 1, "passwordSecret": {"name": "a", "state": "Trial", "since": "2030-01-01T00:00:00Z", "version": "1", "message": "a"}}),
        ),
        other => panic!("{other}"),
    };
    let mut status = status;
    merge(&mut status, &json!({"observedGeneration": 1, "conditions": conditions}));
    json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": kind, "metadata": {"name": "base"}, "spec": spec, "status": status,
    })
}

/// The base without what excludes the field that is looked at.
fn arranged(kind: &str, path: &str) -> Value {
    let mut object = base(kind);
    let without = |object: &mut Value, path: &str, field: &str| {
        pointer(object, path).as_object_mut().unwrap().remove(field);
    };
    match path {
        ".spec.interface" => {
            without(&mut object, ".spec", "peerAddress");
            without(&mut object, ".spec", "peerPort");
            object = set(&object, path, json!("eth0"));
        }
        ".spec.nodeOverrides[].interface" => without(&mut object, ".spec.nodeOverrides[]", "peerAddress"),
        ".spec.aggregationLength" | ".spec.aggregationLengthV6" => without(&mut object, ".spec", "serviceSelectors"),
        ".spec.dynamicASN" => {
            without(&mut object, ".spec", "peerASN");
            without(&mut object, ".spec", "localASN");
        }
        ".spec.keepaliveTime" => object = set(&object, ".spec.holdTime", json!("65535s")),
        path if path.starts_with(".spec.adoptSession") => {
            let selector = object["spec"]["nodeSelectors"][0].clone();
            object = set(&object, ".spec.adoptSession", json!({ "selector": selector }));
        }
        _ => {}
    }
    object
}

/// The i-th of many valid items, all different.
fn item(path: &str, schema: &Value, i: i64) -> Value {
    match path.rsplit('.').next().unwrap() {
        "addresses" if schema["x-kubernetes-validations"][0]["message"] == "must be an IPv4 or IPv6 address" => {
            json!(format!("10.0.{}.{}", i / 256, i % 256))
        }
        "addresses" | "excludeAddresses" => json!(format!("10.0.{}.{}/32", i / 256, i % 256)),
        "quotas" => json!({"namespace": format!("n{i}"), "maxAddresses": i}),
        "aliases" => json!({"name": format!("n{i}"), "value": "1:1"}),
        "communities" | "allowedCommunities" => json!(format!("1:{i}")),
        "matchExpressions" => json!({"key": format!("k{i}"), "operator": "Exists"}),
        "conditions" => json!({
            "type": format!("T{i}"), "status": "True", "reason": "R", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }),
        "nodeOverrides" => json!({"nodeSelector": {}}),
        name if name.ends_with("Selectors") => json!({}),
        _ => json!(format!("n{i}")),
    }
}

/// A valid text of just this length.
fn longest(path: &str, schema: &Value, length: i64) -> String {
    let v6 = "2001:0db8:0000:0000:0000:0000:0000:0001";
    let message = schema["x-kubernetes-validations"][0]["message"].as_str().unwrap_or_default();
    match message {
        m if m.starts_with("must be a CIDR") => format!("{v6}-{v6}"),
        "must be an IPv4 address" => "255.255.255.255".to_owned(),
        m if m.starts_with("must be an IP") => v6.to_owned(),
        m if m.starts_with("must be a duration") => {
            format!("{:0>15}s", if path.ends_with("connectTime") { 1 } else { 90 })
        }
        "must be a community such as 65000:100 or large:65000:1:2" => {
            "large:4294967295:4294967295:4294967295".to_owned()
        }
        _ if length == 317 => format!("{}/{}", "a".repeat(253), "b".repeat(63)),
        _ => "a".repeat(usize::try_from(length).unwrap()),
    }
}

/// The value at a path such as `.spec.addresses[]`, where `[]` is the first item and `{}` the value of the key `a`.
fn pointer<'v>(value: &'v mut Value, path: &str) -> &'v mut Value {
    let pointer = path.replace("[]", "/0").replace("{}", "/a").replace('.', "/");
    value.pointer_mut(&pointer).unwrap_or_else(|| panic!("nothing at {path}"))
}

fn set(value: &Value, path: &str, to: Value) -> Value {
    let mut value = value.clone();
    match path.rsplit_once('.') {
        Some((parent, name)) if !name.ends_with(']') && !name.ends_with('}') => {
            pointer(&mut value, parent)[name] = to;
        }
        _ => *pointer(&mut value, path) = to,
    }
    value
}

/// A JSON merge patch (RFC 7396).
fn merge(value: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    for (name, patch) in patch {
        if patch.is_null() {
            value.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut value[name], patch);
        }
    }
}

#[tokio::test]
async fn defaults_are_those_of_the_documentation() {
    let control_plane = ControlPlane::with_clarion().await.unwrap();
    let bare = [
        ("LoadBalancerPool", json!({"addresses": ["10.0.0.0/24"]})),
        ("LoadBalancerAdvertisement", json!({})),
        ("RouterPeer", json!({"myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1"})),
    ];
    let mut defaulted = BTreeMap::new();
    for crd in clarion_api::crds() {
        if let Some((kind, spec)) = bare.iter().find(|(kind, _)| *kind == crd.spec.names.kind) {
            let object = object(json!({
                "apiVersion": "clarionlb.io/v1beta1", "kind": kind, "metadata": {"name": "bare"}, "spec": spec,
            }));
            let there = api(control_plane.client(), &crd).create(&PostParams::default(), &object).await.unwrap();
            defaulted.insert(*kind, there.data["spec"].clone());
        }
    }
    assert_eq!(
        json!(defaulted),
        json!({
            "LoadBalancerPool": {
                "addresses": ["10.0.0.0/24"], "autoAssign": true, "disabled": false, "avoidBuggyIPs": false,
                "strategy": "Sequential", "onRemoval": "Retain", "announce": true,
            },
            "LoadBalancerAdvertisement": {"aggregationLength": 32, "aggregationLengthV6": 128},
            "RouterPeer": {"myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "suspend": false},
        })
    );
}
