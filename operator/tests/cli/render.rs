//! `clarion render`

use std::{path::Path, process::Output};

use crate::*;

fn render(directory: &Path) -> Output {
    run(&["render", "-f", directory.to_str().unwrap()])
}

fn quickstart() -> [String; 3] {
    ["docs/examples/quickstart/clarion.yaml", "docs/examples/quickstart/services.yaml", "test/demo/cluster.yaml"]
        .map(|file| std::fs::read_to_string(repository().join(file)).unwrap())
}

#[test]
fn the_quickstart() {
    let [clarion, services, cluster] = quickstart();
    let files = directory(&[("a.yaml", &clarion), ("b.yaml", &services), ("c.yaml", &cluster)]);
    insta::assert_snapshot!(text(&render(files.path())));
}

#[test]
fn the_same_manifests_give_the_same_bytes_however_they_are_laid_out() {
    let [clarion, services, cluster] = quickstart();
    let one = directory(&[("a.yaml", &clarion), ("b.yaml", &services), ("c.yaml", &cluster)]);
    let other =
        directory(&[("x/1.yml", &cluster), ("x/y/2.yaml", &clarion), ("0.yaml", &services), ("notes.txt", "{")]);
    let documents: Vec<&str> = services.split("---\n").collect();
    let reversed = documents.iter().rev().copied().collect::<Vec<_>>().join("\n---\n");
    let third = directory(&[("a.yaml", &clarion), ("b.yaml", &reversed), ("c.yaml", &cluster)]);
    let expected = text(&render(one.path()));
    assert_eq!(text(&render(other.path())), expected);
    assert_eq!(text(&render(third.path())), expected);
    assert_eq!(text(&render(one.path())), expected);
}

#[test]
fn what_it_shows_is_settled_rendering_it_again_changes_nothing() {
    let [clarion, services, cluster] = quickstart();
    let files = directory(&[("a.yaml", &clarion), ("b.yaml", &services), ("c.yaml", &cluster)]);
    let first = text(&render(files.path()));
    let again = directory(&[("all.yaml", &first), ("c.yaml", &cluster)]);
    assert_eq!(text(&render(again.path())), first);
}

#[test]
fn bad_objects_have_conditions_and_good_ones_are_served() {
    let [clarion, services, cluster] = quickstart();
    let bad = r"
apiVersion: clarionlb.io/v1beta1
kind: LoadBalancerPool
metadata: {name: broken}
spec: {addresses: [10.0.0.9-10.0.0.1, 10.0.0.0/33]}
---
apiVersion: clarionlb.io/v1beta1
kind: LoadBalancerPool
metadata: {name: unreadable}
spec: {addresses: 7}
---
apiVersion: clarionlb.io/v1beta1
kind: RouterPeer
metadata: {name: later}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.9, nodeOverrides: [{nodeSelector: {}}]}
---
apiVersion: clarionlb.io/v1beta1
kind: LoadBalancerAdvertisement
metadata: {name: unknown}
spec: {pools: [nowhere], peers: [nobody], communities: [no-such-alias]}
---
apiVersion: clarionlb.io/v1beta1
kind: AddressReservation
metadata: {name: mine}
spec: {poolName: nowhere, serviceName: web}
---
apiVersion: v1
kind: Service
metadata: {name: wants-an-address}
spec: {type: LoadBalancer, loadBalancerClass: clarionlb.io/bgp, loadBalancerIP: 198.18.0.9}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: of-no-interest}
";
    let files = directory(&[("a.yaml", &clarion), ("b.yaml", &services), ("c.yaml", &cluster), ("d.yaml", bad)]);
    let output = render(files.path());
    assert!(String::from_utf8_lossy(&output.stderr).contains("ConfigMap of v1 is of no interest"));
    insta::assert_snapshot!(text(&output));
}

#[test]
fn what_cant_be_read_is_told_with_its_file() {
    let cases = [
        (vec![("a.yaml", "a: [")], "a.yaml is not valid YAML"),
        (vec![("a.yaml", "- just a list")], "a.yaml is not valid YAML"),
        (vec![("notes.txt", "")], "no .yaml or .yml file in"),
        (
            vec![("a.yaml", "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {ports: 7}}")],
            "Service \"x\" can't be read",
        ),
        (
            vec![
                ("a.yaml", "{apiVersion: v1, kind: Node, metadata: {name: x}}"),
                ("b.yaml", "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Node, metadata: {name: x}}]}"),
            ],
            "b.yaml: Node \"x\" is defined twice",
        ),
    ];
    for (files, wanted) in cases {
        let output = render(directory(&files).path());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{files:?}");
        assert!(error.contains(wanted), "{wanted:?} is not in {error:?}");
        assert!(output.stdout.is_empty());
    }
    let nowhere = run(&["render", "-f", "/nowhere"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("/nowhere can't be read"));
}

#[test]
fn a_wrong_call_exits_with_2_before_anything_is_done() {
    for arguments in
        [&["run", "--lease-duration", "1s"][..], &["run", "--class-less", "perhaps"], &["render"], &["fly"]]
    {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let garbage =
        Command::new(env!("CARGO_BIN_EXE_clarion")).arg("run").env("CLARION_MAX_IN_FLIGHT", "many").output().unwrap();
    assert_eq!(garbage.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&garbage.stderr).contains("many"));
}

#[test]
fn class_less_services_are_served_on_demand() {
    let [clarion, services, cluster] = quickstart();
    let class_less = services.replace("  loadBalancerClass: clarionlb.io/bgp\n", "");
    let files = directory(&[("a.yaml", &clarion), ("b.yaml", &class_less), ("c.yaml", &cluster)]);
    assert!(!text(&render(files.path())).contains("203.0.113.0/32"));
    let adopted = run(&["render", "-f", files.path().to_str().unwrap(), "--class-less=adopt"]);
    assert!(text(&adopted).contains("203.0.113.0/32"));
}
