//! The commands that tell how things are: `status`, `check`, `diff`, `explain`, `yield`, on manifests.

use std::process::{Command, Output};

use rstest::rstest;

use crate::{
    schemas::{assert_as_its_schema_says, name},
    *,
};

/// What is there when all is well: three nodes in two racks, users' own FRRConfiguration on one of them.
pub(crate) const WELL: &str = r#"
{apiVersion: v1, kind: Node, metadata: {name: node-a, labels: {kubernetes.io/hostname: node-a, rack: r1}}}
---
{apiVersion: v1, kind: Node, metadata: {name: node-b, labels: {kubernetes.io/hostname: node-b, rack: r1}}}
---
{apiVersion: v1, kind: Node, metadata: {name: node-c, labels: {kubernetes.io/hostname: node-c, rack: r2}}}
---
apiVersion: clarionlb.io/v1beta1
kind: LoadBalancerPool
metadata: {name: main, labels: {tier: public}}
spec: {addresses: [198.51.100.0/24], excludeAddresses: [198.51.100.9/32]}
---
apiVersion: clarionlb.io/v1beta1
kind: RouterPeer
metadata: {name: tor}
spec:
  myASN: 64512
  peerASN: 64513
  peerAddress: 192.0.2.1
  bfd: {receiveInterval: 300}
  nodeOverrides: [{nodeSelector: {matchLabels: {rack: r2}}, peerAddress: 192.0.2.2}]
---
apiVersion: clarionlb.io/v1beta1
kind: LoadBalancerAdvertisement
metadata: {name: all}
spec: {communities: ["64512:100"]}
---
apiVersion: clarionlb.io/v1beta1
kind: LoadBalancerAdvertisement
metadata: {name: gold}
spec: {serviceSelectors: [{matchLabels: {tier: gold}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {type: LoadBalancer, loadBalancerClass: clarionlb.io/bgp, ipFamilies: [IPv4], ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 80}]
endpoints: [{addresses: [10.244.0.1], nodeName: node-a}]
---
apiVersion: frrk8s.metallb.io/v1beta1
kind: FRRConfiguration
metadata: {name: underlay, namespace: frr-k8s-system}
spec:
  nodeSelector: {matchLabels: {kubernetes.io/hostname: node-a}}
  bgp:
    routers:
    - asn: 64512
      id: 10.0.0.1
      prefixes: [10.244.1.0/24]
      neighbors:
      - address: 192.0.2.1
        asn: 64513
        toAdvertise:
          allowed: {prefixes: [10.244.1.0/24]}
          withLocalPref: [{localPref: 200, prefixes: [10.244.1.0/24]}]
        toReceive: {allowed: {prefixes: [{prefix: 0.0.0.0/0}]}}
"#;

/// Much that is not.
pub(crate) const ILL: &str = r#"
---
apiVersion: clarionlb.io/v1beta1
kind: LoadBalancerPool
metadata: {name: broken}
spec: {addresses: [10.0.0.9-10.0.0.1]}
---
apiVersion: clarionlb.io/v1beta1
kind: RouterPeer
metadata: {name: spine}
spec: {myASN: 64599, peerASN: 64513, peerAddress: 192.0.2.9, nodeSelectors: [{matchLabels: {rack: r1}}]}
---
apiVersion: clarionlb.io/v1beta1
kind: LoadBalancerAdvertisement
metadata: {name: nobodys}
spec: {peers: [nobody], communities: [no-such-alias]}
---
apiVersion: v1
kind: Service
metadata: {name: idle, namespace: shop}
spec: {type: LoadBalancer, loadBalancerClass: clarionlb.io/bgp, ipFamilies: [IPv4], ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: waits, namespace: shop}
spec: {type: LoadBalancer, loadBalancerClass: clarionlb.io/bgp, loadBalancerIP: 203.0.113.9, ports: [{port: 80}]}
---
{apiVersion: frrk8s.metallb.io/v1beta1, kind: BGPSessionState, metadata: {name: a, namespace: frr-k8s-system},
 status: {bgpStatus: Established, node: node-a, peer: 192.0.2.1}}
---
{apiVersion: frrk8s.metallb.io/v1beta1, kind: BGPSessionState, metadata: {name: c, namespace: frr-k8s-system},
 status: {bgpStatus: Active, node: node-c, peer: 192.0.2.2}}
---
{apiVersion: frrk8s.metallb.io/v1beta1, kind: FRRNodeState, metadata: {name: node-b},
 status: {lastConversionResult: "failed: conflicting password", lastReloadResult: success}}
"#;

fn on(manifests: &[&str], arguments: &[&str]) -> Output {
    let files = directory(&[("cluster.yaml", &manifests.concat())]);
    run(&[arguments, &["-f", files.path().to_str().unwrap()]].concat())
}

/// What is printed, and the exit status.
fn outcome(manifests: &[&str], arguments: &[&str]) -> String {
    let output = on(manifests, arguments);
    let [out, error] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    for line in out.lines() {
        assert!(line.chars().count() <= 100 || arguments[0] == "diff", "too long: {line}");
    }
    format!("{out}{error}exit status: {}\n", output.status.code().unwrap())
}

/// What Clarion has made of these manifests, as manifests.
fn rendered(manifests: &[&str]) -> String {
    let files = directory(&[("cluster.yaml", &manifests.concat())]);
    let rendered = text(&run(&["render", "-f", files.path().to_str().unwrap()]));
    let others: String =
        manifests.concat().split("---\n").filter(|document| !of_rendered(document)).map(document).collect();
    format!("{others}{rendered}")
}

fn of_rendered(document: &str) -> bool {
    document.contains("clarionlb.io/v1beta1") || document.contains("kind: Service\n")
}

fn document(text: &str) -> String {
    format!("---\n{text}")
}

#[test]
fn status_when_all_is_well() {
    insta::assert_snapshot!(outcome(&[WELL], &["status"]));
}

#[test]
fn status_when_it_is_not() {
    insta::assert_snapshot!(outcome(&[WELL, ILL], &["status"]));
}

#[test]
fn status_names_services_that_nobody_serves() {
    let forgotten = "{apiVersion: v1, kind: Service, metadata: {name: forgotten, namespace: shop}, \
         spec: {type: LoadBalancer, ipFamilies: [IPv4], ports: [{port: 80}]}}\n";
    let cloud = forgotten.replace("forgotten", "cloud").replace(
        "ports: [{port: 80}]}",
        "ports: [{port: 80}]}, status: \
         {loadBalancer: {ingress: [{hostname: lb.example.com}]}}",
    );
    let other = forgotten.replace("forgotten", "other").replace("type:", "loadBalancerClass: example.com/other, type:");
    let manifests = [WELL, "---\n", forgotten, "---\n", &cloud, "---\n", &other];
    insta::assert_snapshot!(outcome(&manifests, &["status"]));
}

#[test]
fn status_where_pods_of_frr_k8s_are_not_ready() {
    let pod = |node: &str, ready: &str| {
        format!(
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: frr-k8s-{node}, namespace: frr-k8s-system}},\n \
             status: {{conditions: [{{type: Ready, status: \"{ready}\"}}]}}}}\n\
             ---\n{{apiVersion: frrk8s.metallb.io/v1beta1, kind: BGPSessionState, metadata: {{name: {node}, \
             namespace: frr-k8s-system, ownerReferences: [{{apiVersion: v1, kind: Pod, name: frr-k8s-{node}, uid: u}}]}},\n \
             status: {{bgpStatus: Established, node: {node}, peer: 192.0.2.1}}}}\n"
        )
    };
    let pods = pod("node-a", "False") + &pod("node-b", "True");
    let made = rendered(&[WELL]);
    insta::assert_snapshot!(outcome(&[&made, &pods], &["status"]));
}

#[test]
fn status_shows_few_services_of_many() {
    let service = |n: usize| {
        format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: s{n:02}}}, spec: {{type: LoadBalancer, \
             loadBalancerClass: clarionlb.io/bgp, loadBalancerIP: 203.0.113.{n}}}}}\n"
        )
    };
    let services: String = (0..40).map(service).collect();
    let shown = outcome(&[WELL, &services], &["status"]);
    assert!(shown.contains("and 30 more; clarion status --all"), "{shown}");
    assert!(shown.contains("default/s09") && !shown.contains("default/s10"), "{shown}");
    let all = outcome(&[WELL, &services], &["status", "--all"]);
    assert!(all.contains("default/s39") && !all.contains("more"), "{all}");
}

#[test]
fn check_good_manifests() {
    insta::assert_snapshot!(outcome(&[WELL], &["check"]));
}

#[test]
fn check_bad_manifests() {
    insta::assert_snapshot!(outcome(&[WELL, ILL], &["check"]));
}

#[test]
fn check_needs_no_nodes() {
    let objects = r"
{apiVersion: clarionlb.io/v1beta1, kind: RouterPeer, metadata: {name: tor}, spec: {myASN: 1, peerASN: 2, peerAddress: 192.0.2.1}}
---
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: LoadBalancer, loadBalancerClass: clarionlb.io/bgp}}
---
{apiVersion: clarionlb.io/v1beta1, kind: LoadBalancerPool, metadata: {name: main}, spec: {addresses: [198.51.100.0/24]}}
";
    assert_eq!(outcome(&[objects], &["check"]), "0 errors, 0 warnings\nexit status: 0\n");
}

#[test]
fn check_users_frr_configurations() {
    let users = r"
---
apiVersion: frrk8s.metallb.io/v1beta1
kind: FRRConfiguration
metadata: {name: wrong-asn, namespace: frr-k8s-system}
spec:
  nodeSelector: {matchLabels: {rack: r1}}
  bgp: {routers: [{asn: 64512, neighbors: [{address: 192.0.2.1, asn: 64999}]}]}
---
apiVersion: frrk8s.metallb.io/v1beta1
kind: FRRConfiguration
metadata: {name: no-label, namespace: frr-k8s-system}
spec: {nodeSelector: {matchLabels: {rack: -1-}}}
---
apiVersion: frrk8s.metallb.io/v1beta1
kind: FRRConfiguration
metadata: {name: not-in-router, namespace: frr-k8s-system}
spec:
  nodeSelector: {matchLabels: {rack: nowhere}}
  bgp: {routers: [{asn: 64512, neighbors: [
    {address: 192.0.2.7, asn: 64999, toAdvertise: {allowed: {prefixes: [10.0.0.0/8]}}}]}]}
---
{apiVersion: frrk8s.metallb.io/v1beta1, kind: FRRConfiguration, metadata: {name: unread, namespace: tenant}, spec: {}}
";
    insta::assert_snapshot!(outcome(&[WELL, users], &["check"]));
}

#[test]
fn what_can_not_be_found_out_exits_with_2() {
    for arguments in [&["status"][..], &["check"], &["diff"]] {
        let output = run(&[arguments, &["-f", "/nowhere"]].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("clarion: /nowhere can't be read"));
        let no_cluster = run(arguments);
        assert_eq!(no_cluster.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&no_cluster.stderr).contains("no cluster to talk to"));
    }
    for arguments in [&["check", "--against", "cluster"][..], &["diff", "--against", "moon", "-f", "x"], &["yield"]] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn diff_shows_what_is_to_be_written() {
    insta::assert_snapshot!(outcome(&[WELL], &["diff"]));
}

#[test]
fn diff_of_what_is_settled_is_nothing() {
    let settled = rendered(&[WELL]);
    assert_eq!(outcome(&[&settled], &["diff"]), "exit status: 0\n");
}

#[test]
fn diff_shows_an_object_that_changes_and_one_that_goes() {
    let settled = rendered(&[WELL]);
    let changed = settled.split("---\n").map(|text| match text.contains("kind: LoadBalancerAdvertisement") {
        true => document(&text.replace("64512:100", "64512:200")),
        false => document(text),
    });
    insta::assert_snapshot!(outcome(&[&changed.collect::<String>()], &["diff"]));
    let withdrawn: String = settled.split("---\n").filter(|d| !d.contains("kind: RouterPeer")).map(document).collect();
    assert!(outcome(&[&withdrawn], &["diff"]).contains("+++ planned/FRRConfiguration frr-k8s-system/clarion-"));
}

#[test]
fn explain_a_service() {
    insta::assert_snapshot!(outcome(&[WELL], &["explain", "service", "shop/web"]));
}

#[test]
fn explain_how_the_load_of_a_local_service_is_spread() {
    let local = r#"
---
apiVersion: v1
kind: Service
metadata: {name: near, namespace: shop}
spec:
  type: LoadBalancer
  loadBalancerClass: clarionlb.io/bgp
  externalTrafficPolicy: Local
  ipFamilies: [IPv4]
  ports: [{port: 80}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: near-1, namespace: shop, labels: {kubernetes.io/service-name: near}}
addressType: IPv4
ports: [{port: 80}]
endpoints:
- {addresses: [10.244.0.2], nodeName: node-a}
- {addresses: [10.244.1.2], nodeName: node-b}
- {addresses: [10.244.1.3], nodeName: node-b}
- {addresses: [10.244.1.4], nodeName: node-b}
- {addresses: [10.244.1.5], nodeName: node-b, conditions: {ready: false}}
- {addresses: [10.244.2.2], nodeName: node-c}
---
apiVersion: v1
kind: Node
metadata:
  name: node-c
  labels: {kubernetes.io/hostname: node-c, rack: r2, node.kubernetes.io/exclude-from-external-load-balancers: ""}
"#;
    let well: String = WELL
        .split_inclusive("---\n")
        .filter(|document| !document.contains("kind: Node, metadata: {name: node-c"))
        .collect();
    insta::assert_snapshot!(outcome(&[&well, local], &["explain", "service", "shop/near"]));
    let printed = on(&[&well, local], &["explain", "service", "shop/near", "-o", "json"]);
    let printed: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
    let share = |node: usize| printed["spread"][node]["percentOfEachEndpoint"].as_f64().unwrap();
    assert_eq!([0, 1, 2].map(share), [50.0, 16.7, 0.0]);
}

#[test]
fn explain_a_service_without_endpoints() {
    insta::assert_snapshot!(outcome(&[WELL, ILL], &["explain", "service", "shop/idle"]));
}

#[test]
fn explain_an_address() {
    insta::assert_snapshot!(outcome(&[WELL], &["explain", "address", "198.51.100.0"]));
}

#[test]
fn explain_addresses_that_nobody_has() {
    let users = r"
---
apiVersion: clarionlb.io/v1beta1
kind: AddressReservation
metadata: {name: later, namespace: shop}
spec: {poolName: main, addresses: [198.51.100.7], serviceName: later}
";
    insta::assert_snapshot!(outcome(&[WELL, users], &["explain", "address", "198.51.100.7"]));
    insta::assert_snapshot!(outcome(&[WELL], &["explain", "address", "198.51.100.9"]));
    assert!(outcome(&[WELL], &["explain", "address", "10.244.1.7"]).contains("10.244.1.0/24 to 192.0.2.1"));
}

#[test]
fn explain_a_node() {
    insta::assert_snapshot!(outcome(&[WELL], &["explain", "node", "node-a"]));
}

#[test]
fn explain_a_node_that_is_refused() {
    let users = WELL.replace("asn: 64513\n        toAdvertise", "asn: 64999\n        toAdvertise");
    insta::assert_snapshot!(outcome(&[&users, ILL], &["explain", "node", "node-a"]));
}

#[test]
fn explain_a_node_by_itself() {
    let excluded =
        WELL.replace("rack: r2}}", "rack: r2, node.kubernetes.io/exclude-from-external-load-balancers: \"\"}}");
    insta::assert_snapshot!(outcome(&[&excluded, ILL], &["explain", "node", "node-c"]));
    let bad = WELL.replace("{matchLabels: {kubernetes.io/hostname: node-a}}", "{matchLabels: {rack: -1-}}");
    assert!(outcome(&[&bad], &["explain", "node", "node-b"]).contains("the daemons of all nodes refuse everything"));
}

#[test]
fn explain_a_peer() {
    insta::assert_snapshot!(outcome(&[WELL, ILL], &["explain", "peer", "tor"]));
    insta::assert_snapshot!(outcome(&[WELL, ILL], &["explain", "peer", "spine"]));
}

#[test]
fn what_is_not_there_is_an_error() {
    for (arguments, told) in [
        (["explain", "service", "shop/none"], "clarion: there is no Service shop/none\n"),
        (["explain", "address", "192.0.2.99"], "192.0.2.99 is in no LoadBalancerPool, and nobody has or announces it"),
        (["explain", "node", "node-z"], "there is no Node \"node-z\""),
        (["explain", "peer", "none"], "there is no RouterPeer \"none\""),
        (["yield", "none", "--dry-run"], "there is no RouterPeer \"none\""),
        (["yield", "tor", "--resume"], "manifests can't be written to: add --dry-run"),
    ] {
        let output = on(&[WELL], &arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(error.contains(told) && output.stdout.is_empty(), "{error}");
    }
}

#[test]
fn yield_tells_what_it_lets_go() {
    insta::assert_snapshot!(outcome(&[WELL], &["yield", "tor", "--dry-run"]));
}

#[test]
fn yield_does_not_begin_what_another_peer_ends() {
    let heir = r"
---
apiVersion: clarionlb.io/v1beta1
kind: RouterPeer
metadata: {name: zweit}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1}
";
    let elsewhere =
        format!("{}, nodeSelectors: [{{matchLabels: {{rack: r2}}}}]}}\n", heir.trim_end().trim_end_matches('}'));
    assert!(outcome(&[WELL, &elsewhere], &["yield", "tor", "--dry-run"]).ends_with("exit status: 0\n"));
    let told = outcome(&[WELL, heir], &["yield", "tor", "--dry-run"]);
    assert!(told.contains("RouterPeer zweit has the same neighbor and would take the session over from tor"), "{told}");
}

#[test]
fn json_and_yaml_say_the_same() {
    for command in [
        &["status"][..],
        &["check"],
        &["diff"],
        &["explain", "service", "shop/web"],
        &["explain", "address", "198.51.100.0"],
        &["explain", "node", "node-a"],
        &["explain", "peer", "tor"],
        &["yield", "tor", "--dry-run"],
    ] {
        let printed = |format: &str| {
            let output = on(&[WELL, ILL], &[command, &["-o", format]].concat());
            String::from_utf8(output.stdout).unwrap()
        };
        let json: serde_json::Value = serde_json::from_str(&printed("json")).unwrap();
        let yaml: serde_json::Value = serde_saphyr::from_str(&printed("yaml")).unwrap();
        assert_eq!(json, yaml, "{command:?}");
        assert!(!json.is_null());
        assert_as_its_schema_says(&name(command), &json);
    }
}

#[test]
fn json_of_a_node_names_who_says_what() {
    let output = on(&[WELL], &["explain", "node", "node-a", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&text(&output)).unwrap();
    let lines = json["lines"].as_array().unwrap();
    assert!(!lines.is_empty());
    for line in lines {
        assert!(!line["from"].as_array().unwrap().is_empty(), "{line}");
    }
    let of = |value: &str| lines.iter().find(|line| line["values"][0] == value).unwrap()["from"].clone();
    assert_eq!(of("local preference 200"), serde_json::json!(["frr-k8s-system/underlay"]));
    assert_eq!(of("10.0.0.1"), serde_json::json!(["frr-k8s-system/underlay"]));
    assert_eq!(of("communities 64512:100"), serde_json::json!(["frr-k8s-system/clarion-base-cbf29ce484222325"]));
}

#[test]
fn as_a_plugin_of_kubectl() {
    let directory = tempfile::tempdir().unwrap();
    for file in ["kubectl-clarion", "kubectl_clarion"] {
        let plugin = directory.path().join(file);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_clarion"), &plugin).unwrap();
        let run = |arguments: &[&str]| Command::new(&plugin).args(arguments).env_clear().output().unwrap();
        let told = |output: Output| String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(
            told(run(&["explain", "node", "--help"])).contains("Usage: kubectl clarion explain node [OPTIONS] <NODE>")
        );
        let wrong = run(&["explain", "node"]);
        assert_eq!(wrong.status.code(), Some(2));
        assert!(told(wrong).contains("Usage: kubectl clarion explain node"));
        assert!(told(run(&["status", "-f", "/nowhere"])).starts_with("kubectl clarion: /nowhere can't be read"));
    }
}

#[rstest]
#[case("CLARION_LEASE_DURATION", "soon", "'soon'")]
#[case("CLARION_LEASE_DURATION", "1s", "between 2s and 3600s")]
#[case("CLARION_METRICS_ADDR", "nowhere", "nowhere")]
#[case("CLARION_HEALTH_ADDR", ":8080", ":8080")]
#[case("CLARION_CLASS_LESS", "maybe", "possible values: adopt, ignore")]
#[case("CLARION_MAX_IN_FLIGHT", "0", "1..=1024")]
#[case("CLARION_DRAIN_GRACE", "-1s", "between 0s and 86400s")]
#[case("CLARION_LOG_FORMAT", "xml", "possible values: text, json")]
#[case("CLARION_IGNORE_EXCLUDE_LB", "perhaps", "perhaps")]
fn garbage_in_the_environment_ends_run_before_anything_is_done(
    #[case] name: &str,
    #[case] value: &str,
    #[case] told: &str,
) {
    let output = Command::new(env!("CARGO_BIN_EXE_clarion"))
        .arg("run")
        .env(name, value)
        .env("KUBECONFIG", "/nowhere")
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains(told), "{told:?} is not in {error}");
    let flag = format!("--{}", name.trim_start_matches("CLARION_").to_lowercase().replace('_', "-"));
    assert!(error.contains(&flag), "{flag} is not in {error}");
}
