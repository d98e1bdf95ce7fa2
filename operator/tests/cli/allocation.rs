//! The commands that look at addresses, on manifests.

use crate::{
    schemas::{assert_as_its_schema_says, name},
    *,
};

/// Pools of every kind, and Services that hold, share, wait and reserve.
const CLUSTER: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: lab}
---
apiVersion: clarionlb.io/v1beta1
kind: LoadBalancerPool
metadata: {name: old}
spec: {addresses: [198.51.100.0/30], succeededBy: new}
---
apiVersion: clarionlb.io/v1beta1
kind: LoadBalancerPool
metadata: {name: new}
spec:
  addresses: [203.0.113.0/28, 203.0.113.32/28, 203.0.113.64/28, 203.0.113.100-203.0.113.101, "2001:db8::/64"]
  quotas: [{namespace: shop, maxAddresses: 5}]
  defaultQuota: 1
---
apiVersion: clarionlb.io/v1beta1
kind: LoadBalancerPool
metadata: {name: gold}
spec: {addresses: [192.0.2.128/30], serviceAllocation: {priority: 1, namespaces: [vault]}}
---
apiVersion: clarionlb.io/v1beta1
kind: AddressReservation
metadata: {name: later, namespace: shop}
spec: {poolName: new, addresses: [203.0.113.9], serviceName: later}
status: {addresses: [203.0.113.9]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z"}
spec: {type: LoadBalancer, loadBalancerClass: clarionlb.io/bgp, ipFamilies: [IPv4], ports: [{port: 80}]}
status:
  loadBalancer: {ingress: [{ip: 198.51.100.1}, {ip: 203.0.113.1}]}
  conditions:
    - {type: clarionlb.io/AddressAllocated, status: "True", reason: Succession, message: "", lastTransitionTime: "2026-01-02T03:04:05Z"}
---
apiVersion: v1
kind: Service
metadata: {name: dns, namespace: shop, annotations: {metallb.io/allow-shared-ip: dns}, creationTimestamp: "2026-01-01T00:00:00Z"}
spec: {type: LoadBalancer, loadBalancerClass: clarionlb.io/bgp, ipFamilies: [IPv4], ports: [{port: 53, protocol: UDP}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.2}]}}
---
apiVersion: v1
kind: Service
metadata: {name: dns-tcp, namespace: shop, annotations: {clarionlb.io/allow-shared-ip: dns}, creationTimestamp: "2026-01-01T00:00:00Z"}
spec: {type: LoadBalancer, loadBalancerClass: clarionlb.io/bgp, ipFamilies: [IPv4], ports: [{port: 53, protocol: TCP}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.2}]}}
---
apiVersion: v1
kind: Service
metadata: {name: first, namespace: lab, creationTimestamp: "2026-01-01T00:00:00Z"}
spec: {type: LoadBalancer, loadBalancerClass: clarionlb.io/bgp, ipFamilies: [IPv4], ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.3}]}}
---
apiVersion: v1
kind: Service
metadata: {name: waits, namespace: lab, creationTimestamp: "2026-01-02T00:00:00Z"}
spec: {type: LoadBalancer, loadBalancerClass: clarionlb.io/bgp, ipFamilies: [IPv4], ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: theirs, namespace: lab}
spec: {type: LoadBalancer, loadBalancerClass: example.com/other, ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.4}]}}
"#;

fn on_cluster(arguments: &[&str]) -> Output {
    let files = directory(&[("cluster.yaml", CLUSTER)]);
    run(&[arguments, &["-f", files.path().to_str().unwrap()]].concat())
}

fn printed(arguments: &[&str]) -> String {
    text(&on_cluster(arguments))
}

#[test]
fn pools() {
    insta::assert_snapshot!(printed(&["pools"]));
}

#[test]
fn addresses() {
    insta::assert_snapshot!(printed(&["addresses"]));
}

#[test]
fn explain_who_waits() {
    insta::assert_snapshot!(printed(&["explain", "service", "lab/waits"]));
}

#[test]
fn explain_who_is_renumbered() {
    insta::assert_snapshot!(printed(&["explain", "service", "shop/web"]));
}

#[test]
fn explain_who_is_not_ours() {
    insta::assert_snapshot!(printed(&["explain", "service", "lab/theirs"]));
}

#[test]
fn reserve_prints_what_kubectl_applies() {
    insta::assert_snapshot!(printed(&["reserve", "-A", "--dry-run", "-o", "yaml"]));
}

#[test]
fn reserve_one_namespace() {
    insta::assert_snapshot!(printed(&["reserve", "-n", "lab", "--dry-run"]));
}

#[test]
fn release_what_is_succeeded() {
    insta::assert_snapshot!(printed(&["release", "--pool", "old", "--dry-run"]));
}

#[test]
fn json_and_yaml_have_the_same_content() {
    for command in
        [&["pools"][..], &["addresses"], &["explain", "service", "lab/waits"], &["release", "shop/web", "--dry-run"]]
    {
        let json: serde_json::Value = serde_json::from_str(&printed(&[command, &["-o", "json"]].concat())).unwrap();
        let yaml: serde_json::Value = serde_saphyr::from_str(&printed(&[command, &["-o", "yaml"]].concat())).unwrap();
        assert_eq!(json, yaml);
        assert_as_its_schema_says(&name(command), &json);
    }
}

#[test]
fn what_can_not_be_done_is_refused_with_a_hint() {
    let cases: [(&[&str], &str); 9] = [
        (&["explain", "service", "lab/nobody"], "there is no Service lab/nobody"),
        (&["reserve", "lab/waits", "--dry-run"], "Service lab/waits has no address of a pool"),
        (&["reserve", "-A"], "manifests can't be written to: add --dry-run"),
        (&["release", "shop/web"], "manifests can't be written to: add --dry-run"),
        (&["release", "lab/theirs", "--dry-run"], "there is no Service lab/theirs that Clarion serves"),
        (&["release", "lab/first", "--dry-run"], "nothing is to be released"),
        (&["release", "lab/first", "203.0.113.9", "--dry-run"], "Service lab/first does not have 203.0.113.9"),
        (
            &["release", "lab/first", "203.0.113.3", "--dry-run"],
            "is the last IPv4 address of Service lab/first; with --force",
        ),
        (&["release", "--pool", "new", "--dry-run"], "no valid LoadBalancerPool \"new\" that is succeeded"),
    ];
    for (arguments, words) in cases {
        let output = on_cluster(arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(words), "{arguments:?}: {told}");
    }
}

#[test]
fn a_backup_of_any_size_is_read_back() {
    let services = (0..1_500).map(|n| {
        format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: s{n}}}, spec: {{type: LoadBalancer, \
             loadBalancerClass: clarionlb.io/bgp}}, status: {{loadBalancer: {{ingress: [{{ip: 10.0.{}.{}}}]}}}}}}\n",
            n / 256,
            n % 256
        )
    });
    let pool = "---\n{apiVersion: clarionlb.io/v1beta1, kind: LoadBalancerPool, metadata: {name: p}, \
                spec: {addresses: [10.0.0.0/16]}}\n";
    let cluster = services.chain([pool.to_owned()]).collect::<String>();
    let files = directory(&[("cluster.yaml", &cluster)]);
    let at = |files: &tempfile::TempDir| files.path().to_str().unwrap().to_owned();
    let backup = text(&run(&["reserve", "-A", "--dry-run", "-o", "yaml", "-f", &at(&files)]));
    let restored = directory(&[("pool.yaml", pool), ("backup.yaml", &backup)]);
    let table = text(&run(&["addresses", "-f", &at(&restored)]));
    assert_eq!(table.lines().filter(|line| line.contains("reserved")).count(), 1_500);
}

#[test]
fn an_address_is_not_released_before_another_is_announced() {
    let announcing = r"
---
apiVersion: frrk8s.metallb.io/v1beta1
kind: FRRConfiguration
metadata: {name: clarion-base-1, namespace: frr-k8s-system, labels: {app.kubernetes.io/managed-by: clarion}}
spec: {bgp: {routers: [{asn: 1, prefixes: [198.51.100.1/32], neighbors: [
  {asn: 2, address: 192.0.2.1, toAdvertise: {allowed: {prefixes: [198.51.100.1/32]}}}]}]}}
";
    let files = directory(&[("cluster.yaml", CLUSTER), ("frr.yaml", announcing)]);
    let release = |more: &[&str]| {
        run(&[&["release", "shop/web", "--dry-run", "-f", files.path().to_str().unwrap()], more].concat())
    };
    let refused = release(&["198.51.100.1"]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("198.51.100.1 is announced, and no other IPv4 address of Service shop/web is"), "{told}");
    let passed_over = release(&[]);
    assert!(String::from_utf8_lossy(&passed_over.stderr).contains("passed over: 198.51.100.1 is announced"));
    assert!(!passed_over.status.success());
    assert!(text(&release(&["198.51.100.1", "--force"])).contains("shop/web   198.51.100.1   203.0.113.1"));
}
