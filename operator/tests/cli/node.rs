//! `clarion render --node`

use std::process::Output;

use crate::*;

/// The quickstart, whose session some of the users' own objects have too.
fn with(users: &str) -> tempfile::TempDir {
    let [clarion, services, cluster] =
        ["docs/examples/quickstart/clarion.yaml", "docs/examples/quickstart/services.yaml", "test/demo/cluster.yaml"]
            .map(|file| std::fs::read_to_string(repository().join(file)).unwrap());
    directory(&[("a.yaml", &clarion), ("b.yaml", &services), ("c.yaml", &cluster), ("d.yaml", users)])
}

fn render(directory: &tempfile::TempDir, node: &str) -> Output {
    run(&["render", "-f", directory.path().to_str().unwrap(), "--node", node])
}

fn error(directory: &tempfile::TempDir, node: &str) -> String {
    let output = render(directory, node);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

const USERS: &str = r"
apiVersion: frrk8s.metallb.io/v1beta1
kind: FRRConfiguration
metadata: {name: underlay, namespace: frr-k8s-system}
spec:
  nodeSelector: {matchLabels: {kubernetes.io/hostname: node-a}}
  bgp:
    bfdProfiles: [{name: fast, receiveInterval: 100, transmitInterval: 100}]
    routers:
    - asn: 64512
      id: 10.0.0.1
      prefixes: [10.244.1.0/24, 10.245.0.0/16]
      neighbors:
      - address: 192.0.2.1
        asn: 64513
        dualStackAddressFamily: true
        bfdProfile: fast
        enableGracefulRestart: true
        toAdvertise:
          allowed: {prefixes: [10.244.1.0/24]}
          withLocalPref: [{localPref: 200, prefixes: [10.244.1.0/24]}]
        toReceive: {allowed: {prefixes: [{prefix: 0.0.0.0/0}, {prefix: 10.0.0.0/8, ge: 16, le: 24}]}}
    - asn: 64512
      vrf: red
      imports: [{vrf: default}]
      prefixes: [10.246.0.0/16]
      neighbors:
      - interface: eth1
        dynamicASN: external
        passwordSecret: {name: tor}
        holdTime: 90s
        keepaliveTime: 30s
        toAdvertise:
          allowed: {mode: all}
          nextHop: {ipv4: 192.0.2.9}
        toReceive: {allowed: {mode: all}}
---
apiVersion: frrk8s.metallb.io/v1beta1
kind: FRRConfiguration
metadata: {name: not-of-frr-k8s, namespace: tenant}
spec: {bgp: {routers: [{asn: 1, vrf: blue}]}}
";

#[test]
fn a_node_with_users_objects() {
    insta::assert_snapshot!(text(&render(&with(USERS), "node-a")));
}

#[test]
fn a_node_without_them() {
    insta::assert_snapshot!(text(&render(&with(USERS), "node-b")));
}

#[test]
fn what_is_at_odds_with_ours_is_kept() {
    let users = USERS.replace("asn: 64513", "asn: 64999");
    insta::assert_snapshot!(text(&render(&with(&users), "node-a")));
}

#[test]
fn what_the_daemon_refuses_is_told_in_words() {
    let other =
        USERS.replace("name: underlay", "name: other").replace("asn: 64513", "asn: 64999").replace("not-of", "nor-of");
    let users = format!("{USERS}---{other}");
    insta::assert_snapshot!(error(&with(&users), "node-a"));
}

#[test]
fn a_node_that_is_not_selected_is_not_concerned() {
    let users = USERS.replace("asn: 64513", "asn: 64999");
    assert!(text(&render(&with(&users), "node-b")).contains("64513"));
}

#[test]
fn a_selector_that_can_t_be_parsed_fails_every_node() {
    let users = USERS.replace("{matchLabels: {kubernetes.io/hostname: node-a}}", "{matchLabels: {rack: -1-}}");
    insta::assert_snapshot!(error(&with(&users), "node-b"));
}

#[test]
fn an_unknown_node_is_told_with_those_that_there_are() {
    assert_eq!(error(&with(USERS), "node-c"), "clarion: there is no Node \"node-c\"; there are node-a, node-b\n");
    let nothing = directory(&[("a.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: x}}")]);
    assert_eq!(error(&nothing, "node-c"), "clarion: there is no Node \"node-c\"; there are none\n");
}
