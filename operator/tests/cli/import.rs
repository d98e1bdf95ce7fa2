//! `clarion import`

use std::process::Output;

use rstest::rstest;

use crate::*;

fn import(text: &str) -> Output {
    let files = directory(&[("metallb.yaml", text)]);
    run(&["import", "-f", files.path().join("metallb.yaml").to_str().unwrap()])
}

/// What is printed on both, as a user sees it who does not redirect anything.
fn shown(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stderr), text(output))
}

fn fixture() -> String {
    repository().join("test/fixtures/metallb.yaml").to_str().unwrap().to_owned()
}

fn object(kind: &str, spec: &str) -> String {
    let version = if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" };
    format!("{{apiVersion: metallb.io/{version}, kind: {kind}, metadata: {{name: x, namespace: m}}, spec: {{{spec}}}}}")
}

const PEER: &str = "myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1";

/// The objects of a List.
fn items(output: &Output) -> Vec<serde_json::Value> {
    let list: serde_json::Value = serde_json::from_str(&text(output)).unwrap();
    list.pointer("/items").and_then(serde_json::Value::as_array).unwrap().clone()
}

/// The spec of the only object of a kind that an import prints.
fn spec(kind: &str, manifests: &str) -> (serde_json::Value, String) {
    let files = directory(&[("metallb.yaml", manifests)]);
    let output = run(&["import", "-o", "json", "-f", files.path().to_str().unwrap()]);
    let items = items(&output);
    let mut specs = items.iter().filter(|item| item.pointer("/kind").is_some_and(|found| found == kind));
    let spec = specs.next().and_then(|item| item.pointer("/spec").cloned()).unwrap_or_default();
    assert!(specs.next().is_none());
    (spec, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn everything() {
    insta::assert_snapshot!(shown(&run(&["import", "-f", &fixture()])));
}

#[test]
fn where_frr_k8s_runs_beside_metallb_passwords_stay_where_they_are() {
    let arguments = ["import", "-f", &fixture(), "--frr-k8s-namespace", "metallb-system"];
    let output = run(&arguments);
    let secrets = text(&output).matches("kind: Secret").count();
    assert_eq!(secrets, 1, "only the one that was plain text");
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(!report.contains("tor-a: spec.passwordSecret"), "{report}");
    assert!(report.contains("set passwordSecret.name: clarion-peer-tor-b in the BGPPeer instead"), "{report}");
}

#[rstest]
#[case::fine("", "", 0)]
#[case::no_yaml("kind: Secret", "kind: [Secret", 1)]
#[case::no_text("in-the-clear", "900913", 1)]
#[case::no_secret("{password: from-the-secret}", "from-the-secret", 1)]
fn no_password_is_in_the_report(#[case] from: &str, #[case] to: &str, #[case] status: i32) {
    let output = import(&std::fs::read_to_string(fixture()).unwrap().replace(from, to));
    let report = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{report}");
    for password in ["in-the-clear", "from-the-secret", "900913"] {
        assert!(!report.contains(password), "{report}");
    }
}

#[test]
fn old_address_pools() {
    insta::assert_snapshot!(shown(&import(
        r"
apiVersion: metallb.io/v1beta1
kind: AddressPool
metadata: {name: routed, namespace: metallb-system}
spec:
  protocol: bgp
  addresses: [198.51.100.0/24]
  autoAssign: false
  bgpAdvertisements:
    - {aggregationLength: 32, localPref: 100, communities: [no-advertise]}
    - {aggregationLength: 24}
---
apiVersion: metallb.io/v1alpha1
kind: AddressPool
metadata: {name: plain, namespace: metallb-system}
spec: {protocol: bgp, addresses: [192.0.2.0/25]}
---
apiVersion: metallb.io/v1beta1
kind: AddressPool
metadata: {name: local, namespace: metallb-system}
spec: {protocol: layer2, addresses: [192.0.2.128/25]}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: plain, namespace: metallb-system}
spec: {ipAddressPools: [elsewhere], peers: [nobody], communities: [nothing]}
"
    )));
}

#[test]
fn the_same_objects_give_the_same_bytes_however_they_are_laid_out() {
    let whole = std::fs::read_to_string(fixture()).unwrap();
    let mut parts: Vec<&str> = whole.split("---\n").collect();
    parts.reverse();
    let (first, second) = parts.split_at(7);
    let files = directory(&[("b.yaml", &first.join("---\n")), ("a/c.yml", &second.join("---\n"))]);
    let expected = run(&["import", "-f", &fixture()]);
    let root = files.path().to_str().unwrap();
    let (one, two) = (format!("{root}/b.yaml"), format!("{root}/a"));
    for arguments in
        [vec!["import", "-f", root], vec!["import", "-f", &one, &two], vec!["import", "-f", &two, "-f", &one]]
    {
        let output = run(&arguments);
        assert_eq!(text(&output), text(&expected));
        assert_eq!(output.stderr, expected.stderr);
    }
}

#[test]
fn standard_input_is_read() {
    use std::{io::Write as _, process::Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_clarion"))
        .args(["import", "-f", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(object("BGPPeer", PEER).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(items(&output)[0]["spec"]["peerAddress"], "192.0.2.1");
}

#[rstest]
#[case("holdTime: 90s", "holdTime", "90s")]
#[case("holdTime: 90s", "keepaliveTime", "30s")]
#[case("holdTime: 100s", "keepaliveTime", "33s")]
#[case("keepaliveTime: 5s", "holdTime", "15s")]
#[case("holdTime: 0s", "keepaliveTime", "0s")]
#[case("holdTime: 10500ms, keepaliveTime: 3s", "holdTime", "10s")]
#[case("connectTime: 1m", "connectTime", "60s")]
#[case("peerPort: 179", "peerPort", "null")]
#[case("peerPort: 1179", "peerPort", "1179")]
#[case("routerID: 10.0.0.1", "routerID", "10.0.0.1")]
#[case("vrf: red", "vrf", "red")]
#[case("vrf: ''", "vrf", "null")]
#[case("ebgpMultiHop: true", "ebgpMultiHop", "true")]
#[case("ebgpMultiHop: false", "ebgpMultiHop", "null")]
#[case("enableGracefulRestart: true", "enableGracefulRestart", "true")]
#[case("dualStackAddressFamily: true", "dualStackAddressFamily", "true")]
#[case("sourceAddress: 192.0.2.9", "sourceAddress", "null")]
#[case("localASN: 64999", "localASN", "null")]
#[case("nodeSelectors: [{}]", "nodeSelectors", "[{}]")]
#[case("password: secret", "passwordSecret", r#"{"name":"clarion-peer-x"}"#)]
#[case("passwordSecret: {name: bgp}", "passwordSecret", r#"{"name":"bgp"}"#)]
#[case("passwordSecret: {name: '', namespace: m}", "passwordSecret", "null")]
#[case("holdTime: null", "holdTime", "null")]
fn a_field_of_a_peer(#[case] fields: &str, #[case] field: &str, #[case] expected: &str) {
    let (spec, _) = spec("RouterPeer", &object("BGPPeer", &format!("{PEER}, {fields}")));
    let value = &spec[field];
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    assert_eq!(value, expected);
}

#[rstest]
#[case("sourceAddress: 192.0.2.9", "left out: BGPPeer m/x: spec.sourceAddress: MetalLB does not apply 192.0.2.9")]
#[case("localASN: 64999", "left out: BGPPeer m/x: spec.localASN: MetalLB does not apply 64999")]
#[case("disableMP: true", "left out: BGPPeer m/x: spec.disableMP: ")]
#[case("bfdProfile: nowhere", "left out: BGPPeer m/x: spec.bfdProfile: there is no BFDProfile \"nowhere\"")]
#[case("passwordSecret: {name: bgp}", "copy the Secret: kubectl -n frr-k8s-system create secret generic bgp")]
#[case("password: secret", "cut-over: BGPPeer m/x: spec.password: MetalLB hands the password to FRR-K8s as text")]
#[case("color: blue", "left out: BGPPeer m/x: spec.color: MetalLB v0.16 has no such field")]
fn a_note_on_a_peer(#[case] fields: &str, #[case] expected: &str) {
    let (spec, report) = spec("RouterPeer", &object("BGPPeer", &format!("{PEER}, {fields}")));
    assert_eq!(spec["myASN"], 64512);
    assert!(report.contains(expected), "{report}");
}

#[rstest]
#[case("interface: an-interface-of-a-long-name")]
#[case("vrf: a b")]
#[case("routerID: 2001:db8::1")]
fn a_peer_that_is_left_out(#[case] fields: &str) {
    let peer = if fields.starts_with("interface") { "myASN: 64512, peerASN: 64513" } else { PEER };
    let (spec, report) = spec("RouterPeer", &object("BGPPeer", &format!("{peer}, {fields}")));
    assert!(spec.is_null());
    assert!(report.starts_with("left out: BGPPeer m/x: ") && report.contains("the object is left out"), "{report}");
}

#[rstest]
#[case("aggregationLength: 24", "aggregationLength", "24")]
#[case("aggregationLengthV6: 64", "aggregationLengthV6", "64")]
#[case("aggregationLength: 32", "aggregationLength", "null")]
#[case("localPref: 7", "localPref", "7")]
#[case("localPref: 0", "localPref", "null")]
#[case("communities: ['1:2']", "communities", r#"["1:2"]"#)]
#[case("communities: [an-alias]", "communities", r#"["an-alias"]"#)]
#[case("ipAddressPools: [a, b]", "pools", r#"["a","b"]"#)]
#[case("ipAddressPoolSelectors: [{matchLabels: {a: b}}]", "poolSelectors", r#"[{"matchLabels":{"a":"b"}}]"#)]
#[case("nodeSelectors: [{matchLabels: {a: b}}]", "nodeSelectors", r#"[{"matchLabels":{"a":"b"}}]"#)]
#[case("serviceSelectors: [{matchLabels: {a: b}}]", "serviceSelectors", r#"[{"matchLabels":{"a":"b"}}]"#)]
#[case("peers: [a]", "peers", r#"["a"]"#)]
fn a_field_of_an_advertisement(#[case] fields: &str, #[case] field: &str, #[case] expected: &str) {
    let (spec, _) = spec("LoadBalancerAdvertisement", &object("BGPAdvertisement", fields));
    assert_eq!(spec[field].to_string(), expected);
}

#[rstest]
#[case("addresses: [10.0.0.5/24]", "addresses", r#"["10.0.0.0/24"]"#)]
#[case("addresses: [10.0.0.0/24, 0.0.0.0/0]", "addresses", r#"["10.0.0.0/24"]"#)]
#[case("addresses: [10.0.0.0/24], autoAssign: false", "autoAssign", "false")]
#[case("addresses: [10.0.0.0/24], autoAssign: true", "autoAssign", "null")]
#[case("addresses: [10.0.0.0/24], avoidBuggyIPs: true", "avoidBuggyIPs", "true")]
#[case(
    "addresses: [10.0.0.0/24], serviceAllocation: {}",
    "serviceAllocation",
    r#"{"priority":0,"serviceSelectors":[{}]}"#
)]
#[case(
    "addresses: [10.0.0.0/24], serviceAllocation: {priority: 3, namespaces: [a]}",
    "serviceAllocation",
    r#"{"namespaces":["a"],"priority":3}"#
)]
#[case("addresses: [10.0.0.0/24]", "announce", "null")]
fn a_field_of_a_pool(#[case] fields: &str, #[case] field: &str, #[case] expected: &str) {
    let (spec, _) = spec("LoadBalancerPool", &object("IPAddressPool", fields));
    assert_eq!(spec[field].to_string(), expected);
}

#[rstest]
#[case("BGPAdvertisement", "ipAddressPools: [another]", "false")]
#[case("BGPAdvertisement", "ipAddressPools: [x]", "null")]
#[case("BGPAdvertisement", "", "null")]
#[case("L2Advertisement", "", "null")]
fn a_pool_that_nobody_announces_is_not_to_be_announced(
    #[case] kind: &str,
    #[case] fields: &str,
    #[case] announce: &str,
) {
    let manifests = [object("IPAddressPool", "addresses: [10.0.0.0/24]"), object(kind, fields)].join("\n---\n");
    let (spec, _) = spec("LoadBalancerPool", &manifests);
    assert_eq!(spec["announce"].to_string(), announce);
}

#[test]
fn an_alias_whose_name_can_not_be_one_is_replaced_by_its_value() {
    let manifests = [
        object("Community", "communities: [{name: 'vpn:only', value: '1:2'}, {name: fine, value: '1:3'}]"),
        object("BGPAdvertisement", "communities: ['vpn:only', fine]"),
    ];
    let (aliases, report) = spec("CommunityAlias", &manifests.join("\n---\n"));
    assert_eq!(aliases["aliases"].to_string(), r#"[{"name":"fine","value":"1:3"}]"#);
    assert!(report.contains("changed: Community m/x: spec.communities: \"vpn:only\" can't be a name here"), "{report}");
    let (advertisement, _) = spec("LoadBalancerAdvertisement", &manifests.join("\n---\n"));
    assert_eq!(advertisement["communities"].to_string(), r#"["1:2","fine"]"#);
}

#[rstest]
#[case::same("other", "frr", "b3RoZXI=", 0, "bgp")]
#[case::another("other", "frr", "c29tZQ==", 1, "clarion-peer-x")]
#[case::elsewhere("other", "nowhere", "b3RoZXI=", 1, "bgp")]
fn a_secret_is_copied_and_none_is_overwritten(
    #[case] password: &str,
    #[case] namespace: &str,
    #[case] existing: &str,
    #[case] copies: usize,
    #[case] name: &str,
) {
    let secret = |namespace: &str, data: &str| {
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: bgp, namespace: {namespace}}}, type: kubernetes.io/basic-auth, {data}}}"
        )
    };
    let manifests = [
        object("BGPPeer", &format!("{PEER}, passwordSecret: {{name: bgp}}")),
        secret("m", &format!("stringData: {{password: {password}}}")),
        secret(namespace, &format!("data: {{password: {existing}}}")),
    ];
    let files = directory(&[("metallb.yaml", &manifests.join("\n---\n"))]);
    let output = run(&["import", "-o", "json", "--frr-k8s-namespace", "frr", "-f", files.path().to_str().unwrap()]);
    let items = items(&output);
    let secrets: Vec<_> = items.iter().filter(|item| item["kind"] == "Secret").collect();
    assert_eq!(secrets.len(), copies);
    for secret in secrets {
        assert_eq!(secret["metadata"].to_string(), format!(r#"{{"name":"{name}","namespace":"frr"}}"#));
        assert_eq!(secret["data"]["password"], "b3RoZXI=");
        assert_eq!(secret["type"], "kubernetes.io/basic-auth");
    }
    assert_eq!(items.last().unwrap()["spec"]["passwordSecret"]["name"], name);
}

#[rstest]
#[case::no_yaml("{", "is not valid YAML")]
#[case::no_object("- just a list", "is not valid YAML")]
#[case::empty("", "there is no object of MetalLB in the namespace metallb-system")]
#[case::only_foreign(
    "{apiVersion: v1, kind: Service, metadata: {name: x}}",
    "Service of v1 is nothing that is imported"
)]
#[case::old_configuration(
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: config}, data: {config: ''}}",
    "turn it into objects with MetalLB's own configmaptocrs first"
)]
#[case::nameless("{apiVersion: metallb.io/v1beta2, kind: BGPPeer}", "error: a BGPPeer: it has no metadata.name")]
#[case::bad_name(
    "{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: A_b}}",
    "metadata.name: \"A_b\" is not the name of an object"
)]
#[case::no_text(
    "{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: no}}",
    "metadata.name: false is not a text; quote it"
)]
#[case::no_mapping(
    "{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: x}, spec: 7}",
    "error: BGPPeer x: spec is no mapping"
)]
#[case::bad_labels(
    "{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: x, labels: 7}}",
    "error: BGPPeer x: metadata.labels: invalid type"
)]
#[case::bad_secret(
    "{apiVersion: v1, kind: Secret, metadata: {name: x}, data: hidden}",
    "error: Secret x: it is no valid Secret"
)]
#[case::type_of_a_field(&object("BGPPeer", "myASN: many"), "error: BGPPeer m/x: spec.myASN: invalid type")]
#[case::twice(
    &[object("BGPPeer", PEER), object("BGPPeer", PEER)].join("\n---\n"),
    "error: BGPPeer m/x: it is defined twice"
)]
#[case::two_namespaces(
    &[object("BGPPeer", PEER), object("BGPPeer", PEER).replace("namespace: m", "namespace: other")].join("\n---\n"),
    "choose with --namespace among m, other"
)]
#[case::no_asn(&object("BGPPeer", "peerASN: 1, peerAddress: 192.0.2.1"), "error: BGPPeer m/x: spec.myASN: it is needed")]
#[case::no_peer_asn(&object("BGPPeer", "myASN: 1, peerAddress: 192.0.2.1"), "spec.peerASN: neither it nor dynamicASN is set")]
#[case::two_asns(&object("BGPPeer", &format!("{PEER}, dynamicASN: external")), "both it and dynamicASN are set")]
#[case::bad_mode(&object("BGPPeer", "myASN: 1, dynamicASN: maybe, interface: e"), "\"maybe\" is neither internal nor external")]
#[case::big_asn(&object("BGPPeer", "myASN: 4294967296, peerASN: 1, peerAddress: 192.0.2.1"), "is not between 1 and 4294967295")]
#[case::negative_asn(&object("BGPPeer", "myASN: 1, peerASN: -1, peerAddress: 192.0.2.1"), "is not between 1 and 4294967295")]
#[case::no_address(&object("BGPPeer", "myASN: 1, peerASN: 2"), "exactly one of it and interface is needed")]
#[case::two_addresses(&object("BGPPeer", &format!("{PEER}, interface: eth0")), "exactly one of it and interface is needed")]
#[case::bad_address(&object("BGPPeer", "myASN: 1, peerASN: 2, peerAddress: router"), "\"router\" is not an IP address")]
#[case::bad_port(&object("BGPPeer", &format!("{PEER}, peerPort: 16385")), "16385 is not between 1 and 16384")]
#[case::bad_time(&object("BGPPeer", &format!("{PEER}, holdTime: long")), "spec.holdTime: \"long\" is not a duration")]
#[case::short_time(&object("BGPPeer", &format!("{PEER}, holdTime: 2s")), "spec.holdTime: it must be 0s, or between 3s")]
#[case::long_keepalive(&object("BGPPeer", &format!("{PEER}, holdTime: 9s, keepaliveTime: 10s")), "not shorter than keepaliveTime")]
#[case::bad_connect(&object("BGPPeer", &format!("{PEER}, connectTime: 500ms")), "is not a duration between 1s and 65535s")]
#[case::bad_router_id(&object("BGPPeer", &format!("{PEER}, routerID: seven")), "spec.routerID: \"seven\" is not an IP address")]
#[case::two_passwords(
    &object("BGPPeer", &format!("{PEER}, password: a, passwordSecret: {{name: b}}")),
    "both it and passwordSecret are set"
)]
#[case::bad_password(&object("BGPPeer", &format!("{PEER}, password: \"a\\nb\"")), "spec.password: it has characters that FRR can't read")]
#[case::bad_selector(
    &object("BGPPeer", &format!("{PEER}, nodeSelectors: [{{matchExpressions: [{{key: a, operator: In}}]}}]")),
    "spec.nodeSelectors: a In: In and NotIn need values"
)]
#[case::bad_bfd(
    &[object("BGPPeer", &format!("{PEER}, bfdProfile: x")), object("BFDProfile", "detectMultiplier: 1")].join("\n---\n"),
    "detectMultiplier of BFDProfile x is not between 2 and 255"
)]
#[case::no_addresses(&object("IPAddressPool", ""), "spec.addresses: there are none")]
#[case::bad_addresses(&object("IPAddressPool", "addresses: [10.0.0.1]"), "is neither a CIDR nor a range")]
#[case::bad_protocol(&object("AddressPool", "protocol: rip, addresses: [10.0.0.0/8]"), "\"rip\" is neither bgp nor layer2")]
#[case::two_pools(
    &[object("AddressPool", "protocol: bgp, addresses: [10.0.0.0/8]"), object("IPAddressPool", "addresses: [11.0.0.0/8]")].join("\n---\n"),
    "there is an IPAddressPool of the same name"
)]
#[case::bad_length(&object("BGPAdvertisement", "aggregationLength: 33"), "spec.aggregationLength: it is not between 1 and 32")]
#[case::aggregated_services(
    &object("BGPAdvertisement", "aggregationLength: 24, serviceSelectors: [{}]"),
    "they can't be used together with aggregation"
)]
#[case::bad_preference(&object("BGPAdvertisement", "localPref: -1"), "-1 is no local preference")]
#[case::bad_community(&object("BGPAdvertisement", "communities: ['65536:1']"), "\"65536:1\" is no community")]
#[case::bad_alias(&object("Community", "communities: [{name: a, value: b}]"), "\"a\": \"b\" is no community")]
#[case::double_alias(
    &object("Community", "communities: [{name: a, value: '1:1'}, {name: a, value: '1:2'}]"),
    "\"a\" is defined twice"
)]
fn bad_input_prints_nothing(#[case] manifests: &str, #[case] expected: &str) {
    let output = import(manifests);
    let report = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains(expected), "{expected:?} is not in {report:?}");
    assert!(output.stdout.is_empty());
}

#[test]
fn what_can_not_be_had_is_left_out_and_nothing_becomes_wider() {
    let many = (0..600).map(|n| format!("10.{}.{}.0/24", n / 256, n % 256)).collect::<Vec<_>>().join(", ");
    for (kind, fields) in [
        ("IPAddressPool", "addresses: ['::/0']".to_owned()),
        ("IPAddressPool", format!("addresses: [{many}]")),
        ("IPAddressPool", "addresses: [10.0.0.0/8], serviceAllocation: {namespaces: [Not_One]}".to_owned()),
        ("BGPAdvertisement", "localPref: 4294967295".to_owned()),
        ("BGPAdvertisement", "peers: [Not_One]".to_owned()),
        ("BGPAdvertisement", format!("nodeSelectors: [{}]", vec!["{matchLabels: {a: b, c: d}}"; 33].join(", "))),
    ] {
        let output = import(&object(kind, &fields));
        let report = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(text(&output), "", "{fields}");
        assert!(report.contains("; the object is left out"), "{report}");
    }
}

#[test]
fn one_namespace_can_be_chosen() {
    let other = object("BGPPeer", PEER).replace("namespace: m", "namespace: other").replace("192.0.2.1", "192.0.2.2");
    let files = directory(&[("a.yaml", &object("BGPPeer", PEER)), ("b.yaml", &other)]);
    let output = run(&["import", "-n", "other", "-f", files.path().to_str().unwrap()]);
    assert!(text(&output).contains("192.0.2.2") && !text(&output).contains("192.0.2.1\n"));
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(report.contains("left out: BGPPeer m/x: it is not in the namespace of MetalLB"), "{report}");
}

#[test]
fn a_wrong_call_exits_with_2() {
    for arguments in [&["import"][..], &["import", "-f", "x", "--from-cluster"], &["import", "-f", "x", "-o", "table"]]
    {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
