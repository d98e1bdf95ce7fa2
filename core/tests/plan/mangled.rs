//! Users can't break it: objects with every field set, in which some values are replaced by whatever somebody may write there.
//! However mangled they are, a plan comes to an end, its messages fit into conditions, and who has an address keeps it.

use std::collections::BTreeMap;

use clarion_api::frr::FrrConfigurationSpec;
use clarion_core::{
    World,
    world::{Configuration, Custom, Family, ObjectName},
};
use proptest::{prelude::*, sample::Index};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cluster::*;

/// The longest message of a condition (`metav1.Condition`).
const MESSAGE_MAX: usize = 32_768;

/// What is mangled.
const KINDS: [&str; 8] =
    ["pool", "advertisement", "peer", "unnumbered peer", "aliases", "reservation", "service", "configuration"];

fn selector() -> Value {
    json!({"matchLabels": {}, "matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["b", "c"]}]})
}

/// A spec, or annotations, with every field.
fn whole(kind: &str) -> Value {
    match kind {
        "pool" => json!({
            "addresses": ["10.9.0.0/24", "2001:db8:9::1-2001:db8:9::9"], "excludeAddresses": ["10.9.0.7/32"],
            "autoAssign": true, "disabled": false, "avoidBuggyIPs": true, "strategy": "Hashed", "onRemoval": "Release",
            "announce": true, "succeededBy": "main", "defaultQuota": 5,
            "quotas": [{"namespace": "ns", "maxAddresses": 3}],
            "serviceAllocation": {
                "priority": 3, "namespaces": ["ns"], "namespaceSelectors": [selector()], "serviceSelectors": [selector()],
            },
        }),
        "advertisement" => json!({
            "pools": ["main"], "poolSelectors": [selector()], "serviceSelectors": [selector()], "aggregationLength": 32,
            "aggregationLengthV6": 128, "localPref": 100, "asPathPrepend": 2, "communities": ["64512:1", "blue"],
            "allowedCommunities": ["large:1:2:3"], "nodeSelectors": [selector()], "peers": ["tor"],
            "nodeLimit": {"max": 1, "topologyKey": "zone"},
        }),
        "peer" => json!({
            "myASN": 1, "peerASN": 3, "peerAddress": "192.0.2.9", "peerPort": 179, "sourceAddress": "192.0.2.7",
            "localASN": 9, "holdTime": "90s", "keepaliveTime": "30s", "connectTime": "10s", "routerID": "192.0.2.7",
            "nodeSelectors": [selector()], "passwordSecret": {"name": "password"},
            "bfd": {
                "receiveInterval": 300, "transmitInterval": 300, "detectMultiplier": 3, "echoInterval": 50,
                "echoMode": false, "passiveMode": false, "minimumTTL": 254,
            },
            "enableGracefulRestart": true, "ebgpMultiHop": true, "dualStackAddressFamily": true,
            "nextHop": {"ipv4": "192.0.2.8", "ipv6": "2001:db8::8"}, "maxPrefixes": 5, "suspend": false,
            "drain": {"withdrawAt": "2026-01-01T00:00:00Z"},
            "nodeOverrides": [{"nodeSelector": selector(), "myASN": 4, "peerAddress": "192.0.2.10", "routerID": "1.1.1.1"}],
        }),
        "unnumbered peer" => json!({
            "myASN": 1, "dynamicASN": "External", "interface": "eth0", "vrf": "red", "nodeSelectors": [],
            "adoptSession": {"selector": selector()},
        }),
        "aliases" => {
            json!({"aliases": [{"name": "blue", "value": "64512:2"}, {"name": "red", "value": "large:1:2:3"}]})
        }
        "reservation" => json!({"poolName": "main", "addresses": ["10.0.0.3", "2001:db8::3"], "serviceName": "kept"}),
        "service" => json!({
            "clarionlb.io/loadBalancerIPs": "10.0.0.2", "metallb.io/address-pool": "main",
            "clarionlb.io/allow-shared-ip": "key", "clarionlb.io/share-with-namespaces": "other",
            "clarionlb.io/communities": "64512:1, blue", "clarionlb.io/release": "10.0.0.4",
        }),
        _ => json!({
            "nodeSelector": selector(), "raw": {"priority": 5, "rawConfig": "router bgp 1"},
            "bgp": {
                "bfdProfiles": [{"name": "fast", "receiveInterval": 100, "detectMultiplier": 3}],
                "routers": [{
                    "asn": 1, "id": "192.0.2.7", "vrf": "", "prefixes": ["10.0.0.0/32", "172.16.0.0/24"],
                    "imports": [{"vrf": "red"}],
                    "neighbors": [{
                        "address": "192.0.2.1", "asn": 2, "port": 179, "holdTime": "90s", "keepaliveTime": "30s",
                        "ebgpMultiHop": true, "passwordSecret": {"name": "password"}, "bfdProfile": "fast",
                        "enableGracefulRestart": true, "dualStackAddressFamily": true,
                        "toAdvertise": {
                            "allowed": {"mode": "filtered", "prefixes": ["10.0.0.0/32"]},
                            "withLocalPref": [{"localPref": 100, "prefixes": ["10.0.0.0/32"]}],
                            "withCommunity": [{"community": "64512:1", "prefixes": ["10.0.0.0/32"]}],
                        },
                        "toReceive": {"allowed": {"mode": "filtered", "prefixes": [{"prefix": "0.0.0.0/0", "ge": 8, "le": 24}]}},
                    }],
                }],
            },
        }),
    }
}

/// Whatever somebody may write in the place of a value.
fn anything() -> impl Strategy<Value = Value> {
    const TEXTS: [&str; 28] = [
        "",
        " ",
        "0",
        "-1",
        "10.0.0.0",
        "10.0.0.0/0",
        "10.0.0.0/33",
        "10.0.0.5/24",
        "10.0.0.9-10.0.0.1",
        "::",
        "::/0",
        "::ffff:10.0.0.1",
        "2001:db8::/128",
        "192.0.2.1",
        "fe80::1%eth0",
        "main",
        "tor",
        "blue",
        "64512:1",
        "65536:1",
        "large:1:2:3",
        "no-export",
        "9999999999999999999999s",
        "1h1h",
        "a b",
        "-",
        "x\nrouter bgp 1\n!",
        "\u{202e}\u{0}é",
    ];
    let leaf = prop_oneof![
        4 => prop::sample::select(TEXTS.to_vec()).prop_map(Value::from),
        1 => ".{0,30}".prop_map(Value::from),
        1 => Just("64512:1,".repeat(9_000).into()),
        2 => prop_oneof![Just(0), Just(-1), Just(i64::MAX), Just(i64::MIN), any::<i64>()].prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!({})),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Value::from))
}

/// Puts something else in the place of one of all values.
fn mangle(value: &mut Value, place: &Index, by: &Value) {
    fn walk(value: &Value, path: &str, paths: &mut Vec<String>) {
        let mut on = |key: String, inner: &Value| walk(inner, &format!("{path}/{key}"), paths);
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(key, inner)| on(key.replace('~', "~0").replace('/', "~1"), inner));
            }
            Value::Array(items) => items.iter().enumerate().for_each(|(n, inner)| on(n.to_string(), inner)),
            _ => {}
        }
        paths.push(path.to_owned());
    }
    let mut paths = Vec::new();
    walk(value, "", &mut paths);
    *value.pointer_mut(place.get::<String>(&paths)).unwrap() = by.clone();
}

/// As the watch reads it: what has not the form of its kind is told as such.
fn read<Spec: DeserializeOwned, Status>(spec: Value) -> Custom<Spec, Status> {
    Custom { spec: serde_json::from_value(spec).map_err(|error| error.to_string()), status: None }
}

fn add(world: &mut World, kind: &str, name: &str, value: Value) {
    let cluster = ObjectName::cluster(name);
    match kind {
        "pool" => put(&mut world.pools, object(cluster, 9, read(value))),
        "advertisement" => put(&mut world.advertisements, object(cluster, 9, read(value))),
        "peer" | "unnumbered peer" => put(&mut world.peers, object(cluster, 9, read(value))),
        "aliases" => put(&mut world.communities, object(cluster, 9, read(value))),
        "reservation" => put(&mut world.reservations, object(ObjectName::new("ns", name), 9, read(value))),
        "service" => {
            service(world, name, 9, &[Family::V4]);
            // The API server takes texts only.
            let annotations: BTreeMap<String, String> = match value {
                Value::Object(all) => all
                    .into_iter()
                    .map(|(key, value)| (key, value.as_str().map_or(value.to_string(), str::to_owned)))
                    .collect(),
                _ => BTreeMap::new(),
            };
            let ip = annotations.values().next().cloned();
            edit(&mut world.services, &ObjectName::new("ns", name), |service| {
                (service.value.annotations, service.value.load_balancer_ip) = (annotations, ip);
            });
        }
        _ => {
            // FRR-K8s's CRD keeps what has another form out.
            let Ok(spec) = serde_json::from_value::<FrrConfigurationSpec>(value) else { return };
            let name = ObjectName::new("frr-k8s-system", name);
            let value = Configuration::new(&name, &BTreeMap::new(), BTreeMap::new(), spec);
            put(&mut world.configurations, object(name, 9, value));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_that_is_mangled_breaks_anything(
        objects in prop::collection::vec(
            (0..KINDS.len(), prop::collection::vec((any::<Index>(), anything()), 0..4)),
            1..5,
        ),
    ) {
        let mut world = world();
        service(&mut world, "good", 1, &[Family::V4]);
        settle(&mut world);
        let before = addresses(&world, "good");
        for (n, (kind, changes)) in objects.iter().enumerate() {
            let kind = KINDS[*kind];
            let mut value = whole(kind);
            changes.iter().for_each(|(place, by)| mangle(&mut value, place, by));
            add(&mut world, kind, &format!("x{n}"), value);
        }
        settle(&mut world);
        prop_assert_eq!(&addresses(&world, "good"), &before);
        // What others write for FRR-K8s goes before.
        if objects.iter().all(|(kind, _)| KINDS[*kind] != "configuration") {
            prop_assert!(announced(&world).contains(&before[0]), "{:?}", announced(&world));
        }
        let conditions = world.services.iter().flat_map(|service| &service.value.conditions);
        let of_peers = world.peers.iter().filter_map(|peer| peer.value.status.as_ref()).flat_map(|status| &status.conditions);
        let messages = conditions.map(|c| c.message.len()).chain(of_peers.map(|c| c.message.len()));
        prop_assert!(messages.max() <= Some(MESSAGE_MAX));
    }
}
