//! `clarion shadow`, on manifests.

use crate::{schemas::assert_as_its_schema_says, *};

/// MetalLB's objects.
const METALLB: &str = r"
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: main, namespace: metallb-system}
spec: {addresses: [198.51.100.0/28]}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: main, namespace: metallb-system}
spec: {ipAddressPools: [main], communities: ['65000:100'], localPref: 150}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor-a, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1, holdTime: 90s}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor-b, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.2, vrf: red}
";

/// What `clarion import` makes of them.
const CLARION: &str = r"
apiVersion: clarionlb.io/v1beta1
kind: LoadBalancerPool
metadata: {name: main}
spec: {addresses: [198.51.100.0/28]}
---
apiVersion: clarionlb.io/v1beta1
kind: RouterPeer
metadata: {name: tor-a}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1, holdTime: 90s, keepaliveTime: 30s}
---
apiVersion: clarionlb.io/v1beta1
kind: RouterPeer
metadata: {name: tor-b}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.2, vrf: red}
---
apiVersion: clarionlb.io/v1beta1
kind: LoadBalancerAdvertisement
metadata: {name: main}
spec: {pools: [main], communities: ['65000:100'], localPref: 150}
";

/// Two nodes, a Service for all of them, one whose traffic stays on node-a, and one without endpoints, which nobody announces.
const CLUSTER: &str = r"
{apiVersion: v1, kind: Node, metadata: {name: node-a, labels: {kubernetes.io/hostname: node-a}}}
---
{apiVersion: v1, kind: Node, metadata: {name: node-b, labels: {kubernetes.io/hostname: node-b}}}
---
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: LoadBalancer}, status: {loadBalancer: {ingress: [{ip: 198.51.100.1}]}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
endpoints: [{addresses: [10.244.0.1], nodeName: node-b}]
---
apiVersion: v1
kind: Service
metadata: {name: local}
spec: {type: LoadBalancer, externalTrafficPolicy: Local}
status: {loadBalancer: {ingress: [{ip: 198.51.100.2}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: local-1, labels: {kubernetes.io/service-name: local}}
endpoints: [{addresses: [10.244.0.2], nodeName: node-a}]
---
{apiVersion: v1, kind: Service, metadata: {name: idle}, spec: {type: LoadBalancer}, status: {loadBalancer: {ingress: [{ip: 198.51.100.3}]}}}
";

const A: [&str; 2] = ["198.51.100.1/32", "198.51.100.2/32"];
const B: [&str; 1] = ["198.51.100.1/32"];

/// What the speaker of a node writes, with these prefixes.
fn speaker(node: &str, prefixes: &[&str]) -> String {
    let prefixes = prefixes.join(", ");
    let neighbor = |address: &str, times: &str| {
        format!(
            "{{asn: 64513, address: {address}, port: 179, {times}
      toAdvertise: {{allowed: {{prefixes: [{prefixes}]}},
        withLocalPref: [{{localPref: 150, prefixes: [{prefixes}]}}],
        withCommunity: [{{community: '65000:100', prefixes: [{prefixes}]}}]}}}}"
        )
    };
    let (one, other) = (neighbor("192.0.2.1", "holdTime: 1m30s, keepaliveTime: 30s,"), neighbor("192.0.2.2", ""));
    format!(
        "
apiVersion: frrk8s.metallb.io/v1beta1
kind: FRRConfiguration
metadata: {{name: metallb-{node}, namespace: frr-k8s-system}}
spec:
  nodeSelector: {{matchLabels: {{kubernetes.io/hostname: {node}}}}}
  bgp:
    routers:
    - {{asn: 64512, prefixes: [{prefixes}], neighbors: [{one}]}}
    - {{asn: 64512, vrf: red, prefixes: [{prefixes}], neighbors: [{other}]}}
"
    )
}

fn both_speakers() -> String {
    [speaker("node-a", &A), speaker("node-b", &B)].join("---")
}

fn shadow(files: &[&str], arguments: &[&str]) -> Output {
    let names: Vec<String> = (0..files.len()).map(|n| format!("{n}.yaml")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(files.iter().copied()).collect();
    let directory = directory(&files);
    run(&[&["shadow", "-f", directory.path().to_str().unwrap()], arguments].concat())
}

/// What is printed by a comparison that finds something.
fn different(files: &[&str], arguments: &[&str]) -> String {
    let output = shadow(files, arguments);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

/// What is printed by a comparison that finds nothing.
fn unchanged(files: &[&str], arguments: &[&str]) -> String {
    let output = shadow(files, arguments);
    let told = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    told
}

fn error(files: &[&str]) -> String {
    let output = shadow(files, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn nothing_changes() {
    insta::assert_snapshot!(unchanged(&[CLUSTER, METALLB, &both_speakers()], &[]));
}

#[test]
fn objects_that_are_there_come_before_those_of_an_import() {
    let metallb = METALLB.replace("198.51.100.0/28", "203.0.113.0/28");
    insta::assert_snapshot!(unchanged(&[CLUSTER, CLARION, &metallb, &both_speakers()], &[]));
}

#[test]
fn what_is_applied_in_part_is_counted() {
    let peers = CLARION.split("---").filter(|object| object.contains("RouterPeer")).collect::<Vec<_>>().join("---");
    insta::assert_snapshot!(different(&[CLUSTER, &peers, &both_speakers()], &[]));
}

#[test]
fn clarion_beside_metallb_is_compared_with_metallb_alone() {
    let files = directory(&[("a.yaml", CLUSTER), ("b.yaml", CLARION)]);
    let beside = text(&run(&["render", "-f", files.path().to_str().unwrap(), "--class-less=adopt"]));
    let nodes =
        CLUSTER.split("---").filter(|object| !object.contains("kind: Service,")).collect::<Vec<_>>().join("---");
    let nodes = nodes.split("---").filter(|object| !object.contains("kind: Service\n")).collect::<Vec<_>>().join("---");
    assert!(beside.contains("name: clarion-base-"));
    // MetalLB has one prefix less: that Clarion announces it already does not hide that it comes from Clarion.
    let speakers = [speaker("node-a", &B), speaker("node-b", &B)].join("---");
    insta::assert_snapshot!(different(&[&nodes, &beside, &speakers], &[]));
}

#[test]
fn prefixes_that_go_and_come_are_told_with_the_services() {
    let services = "
{apiVersion: v1, kind: Service, metadata: {name: theirs}, spec: {type: LoadBalancer, loadBalancerClass: example.com/other}, status: {loadBalancer: {ingress: [{ip: 198.51.100.9}]}}}
---
{apiVersion: v1, kind: Service, metadata: {name: moves}, spec: {type: LoadBalancer, loadBalancerIP: 198.51.100.4}, status: {loadBalancer: {ingress: [{ip: 198.51.100.5}]}}}
---
{apiVersion: v1, kind: Service, metadata: {name: waits, creationTimestamp: '2026-01-01T00:00:00Z'}, spec: {type: LoadBalancer}}
";
    let speakers =
        [speaker("node-a", &["198.51.100.1/32", "198.51.100.2/32", "198.51.100.9/32"]), speaker("node-b", &[])];
    insta::assert_snapshot!(different(&[CLUSTER, METALLB, services, &speakers.join("---")], &[]));
}

#[test]
fn attributes_and_parameters_that_change_are_told_side_by_side() {
    let clarion = CLARION
        .replace("'65000:100'], localPref: 150", "'65000:200']")
        .replace(
            "holdTime: 90s, keepaliveTime: 30s",
            "holdTime: 9s, keepaliveTime: 3s, routerID: 10.0.0.1, localASN: 64999",
        )
        .replace("vrf: red}", "vrf: red, enableGracefulRestart: true, bfd: {receiveInterval: 100}}");
    insta::assert_snapshot!(different(&[CLUSTER, &clarion, &both_speakers()], &[]));
}

#[test]
fn a_session_that_is_missing_and_one_that_is_new() {
    let clarion = CLARION.replace("peerAddress: 192.0.2.2", "peerAddress: 192.0.2.3");
    insta::assert_snapshot!(different(&[CLUSTER, &clarion, &both_speakers()], &[]));
}

/// BFD of tor-a as MetalLB has it, beside a Clarion of the same parameters. FRR's defaults are the same as what is unset.
fn with_bfd(clarion: &str) -> (String, String) {
    let speakers = both_speakers().replace("keepaliveTime: 30s,", "keepaliveTime: 30s, bfdProfile: fast,").replace(
        "    routers:",
        "    bfdProfiles: [{name: fast, receiveInterval: 100, transmitInterval: 300, echoMode: false}]\n    routers:",
    );
    let clarion = CLARION.replace("keepaliveTime: 30s}", &format!("keepaliveTime: 30s, bfd: {{{clarion}}}}}"));
    (speakers, clarion)
}

#[test]
fn bfd_profiles_are_compared_by_what_they_say_and_refused_by_their_names() {
    let (speakers, clarion) = with_bfd("receiveInterval: 100, detectMultiplier: 3");
    insta::assert_snapshot!(different(&[CLUSTER, &clarion, &speakers], &[]));
}

#[test]
fn bfd_profiles_that_say_something_else() {
    let (speakers, clarion) = with_bfd("receiveInterval: 100, detectMultiplier: 5, passiveMode: true");
    let told = different(&[CLUSTER, &clarion, &speakers], &[]);
    for line in ["192.0.2.1   bfd.detectMultiplier   3         5", "192.0.2.1   bfd.passiveMode        false     true"]
    {
        assert!(told.contains(line), "{told}");
    }
    assert!(told.contains("\n2 session parameters change on 2/2 nodes\n"), "{told}");
}

#[test]
fn passwords_are_compared_by_what_they_are_and_never_shown() {
    let speakers = both_speakers().replace("keepaliveTime: 30s,", "keepaliveTime: 30s, password: hidden,");
    let clarion = CLARION.replace("keepaliveTime: 30s}", "keepaliveTime: 30s, passwordSecret: {name: tor-a}}");
    let secret = |password: &str| {
        format!(
            "{{apiVersion: v1, kind: Secret, type: kubernetes.io/basic-auth, \
             metadata: {{name: tor-a, namespace: frr-k8s-system}}, stringData: {{password: {password}}}}}"
        )
    };
    let same = different(&[CLUSTER, &clarion, &speakers, &secret("hidden")], &[]);
    let other = different(&[CLUSTER, &clarion, &speakers, &secret("secret")], &[]);
    let unknown = different(&[CLUSTER, &clarion, &speakers], &[]);
    assert!(same.contains("\n0 session parameters change on 2/2 nodes\n"), "{same}");
    assert!(same.contains("one in clear text and that of Secret tor-a"), "both together are refused: {same}");
    for told in [&other, &unknown] {
        assert!(told.contains("192.0.2.1   password   one in clear text   that of Secret tor-a"), "{told}");
    }
    // An import has the same password in a Secret of its own.
    let metallb = METALLB.replace("holdTime: 90s", "holdTime: 90s, password: hidden");
    let imported = shadow(&[CLUSTER, &metallb, &speakers], &[]);
    let told = String::from_utf8_lossy(&imported.stdout).into_owned();
    assert!(told.contains("\n0 session parameters change on 2/2 nodes\n"), "{told}");
    assert!(![same, other, unknown, told].concat().contains("hidden"));
}

#[test]
fn what_frr_k8s_refuses_by_itself_is_told_and_is_not_compared() {
    let users = r"
apiVersion: frrk8s.metallb.io/v1beta1
kind: FRRConfiguration
metadata: {name: metallb-underlay, namespace: frr-k8s-system}
spec:
  nodeSelector: {matchLabels: {kubernetes.io/hostname: node-b}}
  bgp: {routers: [{asn: 64999, neighbors: [{asn: 65000, address: 192.0.2.9}]}]}
";
    insta::assert_snapshot!(different(&[CLUSTER, METALLB, &both_speakers(), users], &[]));
}

#[test]
fn users_objects_stay_and_those_of_nodes_that_are_gone_do_not_matter() {
    let users = r"
apiVersion: frrk8s.metallb.io/v1beta1
kind: FRRConfiguration
metadata: {name: metallb-underlay, namespace: frr-k8s-system}
spec:
  bgp:
    routers:
    - asn: 64512
      prefixes: [10.244.0.0/16]
      neighbors:
      - {asn: 64513, address: 192.0.2.1, holdTime: 90s, keepaliveTime: 30s, toAdvertise: {allowed: {prefixes: [10.244.0.0/16]}}, toReceive: {allowed: {mode: all}}}
      - {asn: 64514, address: 192.0.2.7}
";
    let excluded = "{apiVersion: v1, kind: Node, metadata: {name: node-c, labels: {kubernetes.io/hostname: node-c, \
                   node.kubernetes.io/exclude-from-external-load-balancers: ''}}}";
    let gone = speaker("node-z", &["198.51.100.1/32", "198.51.100.7/32"]);
    let told = unchanged(&[CLUSTER, excluded, METALLB, &both_speakers(), &speaker("node-c", &[]), users, &gone], &[]);
    assert!(told.contains("0 prefixes change on 3/3 nodes\n0 session parameters change on 3/3 nodes\n"), "{told}");
}

#[test]
fn frr_k8s_in_another_namespace_is_found_and_stays_there() {
    let speakers = both_speakers().replace("frr-k8s-system", "metallb-system");
    let metallb = METALLB.replace("metallb-system", "load-balancing");
    let told = unchanged(&[CLUSTER, &metallb, &speakers], &[]);
    assert!(told.contains("0 prefixes change on 2/2 nodes"), "{told}");
    assert_eq!(unchanged(&[CLUSTER, &metallb, &speakers], &["-n", "load-balancing"]), told);
}

#[test]
fn sharing_across_namespaces_is_metallb_s_if_it_is_asked_for() {
    let service = |name: &str, port: u16| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: {name}, annotations: \
             {{metallb.io/allow-shared-ip: x}}, creationTimestamp: '2026-01-01T00:00:00Z'}}, spec: {{type: LoadBalancer, \
             ports: [{{port: {port}}}]}}, status: {{loadBalancer: {{ingress: [{{ip: 198.51.100.1}}]}}}}}}"
        )
    };
    let cluster = CLUSTER.replace("198.51.100.1}", "198.51.100.8}");
    let services = [service("first", 80), service("second", 443)].join("\n---\n");
    let speakers =
        [speaker("node-a", &["198.51.100.2/32", "198.51.100.8/32"]), speaker("node-b", &["198.51.100.8/32"])];
    let files = [&cluster, METALLB, &services, &speakers.join("---")];
    let told = unchanged(&files, &["--metallb-sharing-across-namespaces"]);
    assert!(told.contains("\n0 Services get other addresses\n"), "{told}");
    insta::assert_snapshot!(different(&files, &[]));
}

#[test]
fn json_has_every_node_and_yaml_the_same() {
    let files = [CLUSTER, &CLARION.replace("'65000:100'", ""), &both_speakers()];
    let json = different(&files, &["-o", "json"]);
    let yaml: serde_json::Value = serde_saphyr::from_str(&different(&files, &["-o", "yaml"])).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), yaml);
    assert_as_its_schema_says("shadow", &yaml);
    insta::assert_snapshot!(json);
}

#[test]
fn services_without_a_class_can_be_left_out() {
    let told = different(&[CLUSTER, METALLB, &both_speakers()], &["--class-less=ignore"]);
    assert!(told.contains("default/web     198.51.100.1   198.51.100.1   it has no class, and neither"), "{told}");
}

#[test]
fn without_metallb_it_says_so() {
    assert_eq!(
        error(&[CLUSTER, METALLB]),
        "clarion: there is no FRRConfiguration of MetalLB (metallb-NODE) in the namespace frr-k8s-system: is MetalLB in its \
         FRR-K8s mode, and do its speakers run?\n"
    );
    assert_eq!(
        error(&[CLUSTER, &both_speakers()]),
        "clarion: there is no object of MetalLB in the namespace metallb-system; is --namespace right?\n"
    );
    let output = shadow(&[CLUSTER, METALLB, &both_speakers()], &["--frr-k8s-namespace", "other"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("give it, and this command, --frr-k8s-namespace=frr-k8s-system\n"), "{told}");
}

#[test]
fn what_an_import_leaves_out_is_told_beside() {
    let metallb = METALLB.replace("holdTime: 90s", "holdTime: 90s, sourceAddress: 192.0.2.8");
    let output = shadow(&[CLUSTER, &metallb, &both_speakers()], &[]);
    assert!(text(&output).contains("0 session parameters change on 2/2 nodes"));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with("left out: BGPPeer metallb-system/tor-a: spec.sourceAddress: "), "{told}");
}
