//! `clarion graph`

use std::process::Output;

use crate::{
    commands::{ILL, WELL},
    *,
};

fn draw(manifests: &[&str], format: &str) -> String {
    let files = directory(&[("cluster.yaml", &manifests.concat())]);
    let output = run(&["graph", "-f", files.path().to_str().unwrap(), "-o", format]);
    text(&output).replace(files.path().to_str().unwrap(), "DIR")
}

/// A session as FRR-K8s reports it.
fn session(node: &str, peer: &str, state: &str) -> String {
    format!(
        "---\n{{apiVersion: frrk8s.metallb.io/v1beta1, kind: BGPSessionState, metadata: {{name: {node}-{peer}, namespace: \
         frr-k8s-system}}, status: {{bgpStatus: {state}, node: {node}, peer: {peer}}}}}\n"
    )
}

fn node(name: &str, rack: usize) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: Node, metadata: {{name: {name}, labels: {{kubernetes.io/hostname: {name}, rack: r{rack}}}}}}}\n"
    )
}

fn service(name: &str, more: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{type: LoadBalancer, loadBalancerClass: \
         clarionlb.io/bgp, ipFamilies: [IPv4], ports: [{{port: 80}}]{more}}}}}\n---\n{{apiVersion: discovery.k8s.io/v1, kind: \
         EndpointSlice, metadata: {{name: {name}, labels: {{kubernetes.io/service-name: {name}}}}}, addressType: IPv4, ports: \
         [{{port: 80}}], endpoints: [{{addresses: [10.244.0.1], nodeName: node-a}}]}}\n"
    )
}

/// Parses as XML, fetches nothing, and tells of itself.
fn well_formed(text: &str) {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(text, options).unwrap();
    let svg = document.descendants().find(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "svg"))).unwrap();
    assert_eq!(svg.attribute("role"), Some("img"));
    for told in ["title", "desc"] {
        let child = svg.children().find(|node| node.tag_name().name() == told).unwrap();
        assert!(child.text().is_some_and(|text| !text.is_empty()));
    }
    for node in document.descendants() {
        for attribute in node.attributes() {
            let name = attribute.name();
            assert!(!["src", "href", "style"].contains(&name) && !name.starts_with("on"), "{attribute:?}");
        }
    }
    assert!(!text.contains("url(") && !text.contains("@import"));
}

/// Parses as Graphviz's language; returns the number of statements.
fn statements(text: &str) -> usize {
    layout::gv::DotParser::new(text).process().unwrap().list.list.len()
}

#[test]
fn svg_of_three_nodes() {
    let svg = draw(&[WELL], "svg");
    well_formed(&svg);
    insta::assert_snapshot!(svg);
}

/// What the documentation shows. To draw it anew, from the top of the repository:
/// `clarion graph -f test/graph > docs/images/graph.svg`
#[test]
fn the_picture_in_the_documentation_is_what_the_command_draws() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clarion"));
    let drawn = command.args(["graph", "-f", "test/graph"]).current_dir(repository()).env_clear().output().unwrap();
    let shown = std::fs::read_to_string(repository().join("docs/images/graph.svg")).unwrap();
    assert!(text(&drawn) == shown, "clarion graph -f test/graph > docs/images/graph.svg draws another picture");
}

#[test]
fn dot_of_what_is_well() {
    insta::assert_snapshot!(draw(&[WELL], "dot"));
}

#[test]
fn dot_of_what_is_not() {
    insta::assert_snapshot!(draw(&[WELL, ILL], "dot"));
}

#[test]
fn svg_is_the_default_and_every_run_gives_the_same() {
    let files = directory(&[("cluster.yaml", &[WELL, ILL].concat())]);
    let default = text(&run(&["graph", "-f", files.path().to_str().unwrap()]));
    let asked = text(&run(&["graph", "-f", files.path().to_str().unwrap(), "-o", "svg"]));
    assert!(default == asked && default.starts_with("<svg"));
}

#[test]
fn html_can_be_read_without_its_script() {
    let html = draw(&[WELL, ILL], "html");
    well_formed(&html);
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("default-src 'none'"));
    let unscripted = html.split("<script>").next().unwrap();
    for told in ["node-a", "192.0.2.2", "shop/waits", "AddressNotAvailable", "underlay"] {
        assert!(unscripted.split("</svg>").nth(1).unwrap().contains(told), "{told}");
    }
}

#[test]
fn names_are_text_whatever_they_hold() {
    for name in [
        "</title><script>alert(1)</script>",
        "a\\\"]; x -> y",
        "]]>&amp;&lt;",
        "\\",
        "\u{202e}drow\u{1b}[2J",
        "{|}<b>",
        "--> <!--",
    ] {
        let quoted = serde_json::to_string(name).unwrap();
        let more = [
            format!(
                "---\n{{apiVersion: v1, kind: Node, metadata: {{name: {quoted}, labels: {{kubernetes.io/hostname: node-n}}}}}}\n"
            ),
            service(&quoted, ""),
            format!(
                "---\n{{apiVersion: clarionlb.io/v1beta1, kind: LoadBalancerPool, metadata: {{name: {quoted}}}, spec: {{addresses: [10.9.0.0/24]}}}}\n"
            ),
            format!(
                "---\n{{apiVersion: clarionlb.io/v1beta1, kind: RouterPeer, metadata: {{name: {quoted}}}, spec: {{myASN: 64512, peerASN: 1, peerAddress: 192.0.2.77}}}}\n"
            ),
            format!(
                "---\n{{apiVersion: frrk8s.metallb.io/v1beta1, kind: FRRConfiguration, metadata: {{name: {quoted}, namespace: frr-k8s-system}}, spec: {{bgp: {{routers: [{{asn: 64512, neighbors: [{{interface: {quoted}, asn: 5}}]}}]}}}}}}\n"
            ),
        ];
        let manifests = [&[WELL.to_owned()][..], &more].concat();
        let manifests: Vec<&str> = manifests.iter().map(String::as_str).collect();
        for format in ["svg", "html"] {
            let drawn = draw(&manifests, format);
            well_formed(&drawn);
            assert!(
                !drawn.contains("<script>alert") && !drawn.contains('\u{202e}') && !drawn.contains('\u{1b}'),
                "{drawn}"
            );
        }
        assert!(statements(&draw(&manifests, "dot")) > 10);
    }
}

#[test]
fn sessions_are_told_apart_by_state() {
    let suspended = "---\napiVersion: clarionlb.io/v1beta1\nkind: RouterPeer\nmetadata: {name: away}\nspec: {myASN: 64512, \
                     peerASN: 64513, peerAddress: 192.0.2.9, suspend: true}\n";
    let sessions = [session("node-a", "192.0.2.1", "Established"), session("node-b", "192.0.2.1", "Active")].concat();
    let dot = draw(&[WELL, suspended, &sessions], "dot");
    let of = |node: &str, router: &str| {
        let tooltip = format!("{node} to {router}: ");
        let line = dot.lines().find(|line| line.contains(&tooltip)).expect(&tooltip);
        (line.split(&tooltip).nth(1).unwrap().split('"').next().unwrap().to_owned(), line.to_owned())
    };
    for (node, router, state, style) in [
        ("node-a", "192.0.2.1", "established", "style=\"solid\""),
        ("node-b", "192.0.2.1", "down", "style=\"dashed\""),
        ("node-c", "192.0.2.2", "not reported", "style=\"dotted\""),
        ("node-c", "192.0.2.9", "left out", "style=\"dashed\""),
    ] {
        let (told, line) = of(node, router);
        assert!(told.starts_with(state) && line.contains(style), "{line}");
    }
}

#[test]
fn many_nodes_are_drawn_by_what_they_have_in_common() {
    let nodes: String = (0..47).map(|n| node(&format!("worker-{n:02}"), 1 + n % 2)).collect();
    let down = session("worker-07", "192.0.2.2", "Active");
    let up: String = (0..47)
        .filter(|n| *n != 7)
        .map(|n| session(&format!("worker-{n:02}"), ["192.0.2.1", "192.0.2.2"][n % 2], "Established"))
        .collect();
    let svg = draw(&[WELL, &nodes, &down, &up], "svg");
    well_formed(&svg);
    for name in (0..47).map(|n| format!("worker-{n:02}")) {
        assert!(svg.contains(&name), "{name}");
    }
    let dot = draw(&[WELL, &nodes, &down, &up], "dot");
    assert!(
        dot.contains("24 nodes to 192.0.2.1: 24 established") && dot.contains("worker-07 to 192.0.2.2: down"),
        "{dot}"
    );
}

#[test]
fn services_in_trouble_come_first_and_by_name() {
    let services: String = (0..30).map(|n| service(&format!("s{n:02}"), "")).collect();
    let bad = service("zebra", ", loadBalancerIP: 203.0.113.9");
    let svg = draw(&[WELL, &services, &bad], "svg");
    assert!(svg.contains("31 Services") && svg.find(">default/zebra<").unwrap() < svg.find(">31 Services<").unwrap());
}

/// 1,000 nodes, of which each has a router and an FRRConfiguration of its own in the worst case, and 5,000 Services.
#[test]
fn a_picture_of_any_cluster_has_its_bounds() {
    let nodes: String = (0..1000).map(|n| node(&format!("worker-{n:04}"), n % 40)).collect();
    let services: String = (0..5000)
        .map(|n| service(&format!("service-{n:04}"), if n % 7 == 0 { ", loadBalancerIP: 203.0.113.9" } else { "" }))
        .collect();
    let pool = "---\n{apiVersion: clarionlb.io/v1beta1, kind: LoadBalancerPool, metadata: {name: large}, spec: {addresses: [10.0.0.0/16]}}\n";
    let own: String = (0..1000)
        .map(|n| {
            let neighbors: String =
                (0..=n % 5).map(|m| format!("{{address: 172.16.{m}.{}, asn: 64700}},", n % 200)).collect();
            format!(
                "---\n{{apiVersion: frrk8s.metallb.io/v1beta1, kind: FRRConfiguration, metadata: {{name: own-{n:04}, namespace: \
                 frr-k8s-system}}, spec: {{nodeSelector: {{matchLabels: {{kubernetes.io/hostname: worker-{n:04}}}}}, bgp: \
                 {{routers: [{{asn: 64512, neighbors: [{neighbors}]}}]}}}}}}\n"
            )
        })
        .collect();
    // A page holds the picture.
    let many = draw(&[WELL, &nodes, pool, &services], "html");
    assert!(many.len() < 300_000, "{}", many.len());
    let own = draw(&[WELL, &nodes, pool, &own], "html");
    assert!(own.len() < 300_000, "{}", own.len());
}

#[test]
fn what_can_not_be_drawn_is_an_error() {
    let nowhere: Output = run(&["graph", "-f", "/nowhere"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert_eq!(run(&["graph", "-o", "png"]).status.code(), Some(2));
}
