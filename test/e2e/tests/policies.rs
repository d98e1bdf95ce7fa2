//! Which nodes a router sends traffic to, and how that changes.

use std::{collections::BTreeSet, net::IpAddr};

use clarion_e2e::{Lab, service_with};
use serde_json::json;

use crate::{
    objects::{advertisement, node, v4, v6},
    themes::{Theme, cases, rack},
};

pub fn theme() -> Theme {
    Theme {
        name: "policies",
        topology: rack(),
        cases: cases![
            core with_policy_cluster_every_node_is_a_next_hop,
            core with_policy_local_next_hops_follow_the_endpoints,
            core next_hops_by_announcing_nodes_and_traffic_policy,
            core both_families_over_one_session,
            core a_session_outlives_its_last_service,
            full an_aggregate_takes_the_place_of_addresses_but_of_local_ones,
            full a_node_limit_is_the_number_of_next_hops,
            core a_node_that_drains_asks_for_other_paths_before_it_withdraws,
            full a_node_leaves_and_returns,
            full a_service_without_a_class_in_a_labelled_namespace,
        ],
    }
}

/// The names of the nodes that answered a client. A connection that came to nothing is no answer.
fn answering(lab: &Lab, address: IpAddr) -> BTreeSet<String> {
    let answers = lab.client("user").unwrap().connect(address, 60).unwrap();
    answers.into_iter().map(|answer| answer.unwrap()).collect()
}

fn names(nodes: &[&str]) -> BTreeSet<String> {
    nodes.iter().map(|name| (*name).to_owned()).collect()
}

async fn with_policy_cluster_every_node_is_a_next_hop(lab: &mut Lab) {
    lab.service("web", "Cluster", &["b"]).await.unwrap();
    let (address, prefix) = lab.address_of("web").await.unwrap();
    let tor = lab.router("tor").unwrap();
    let routes = tor.forwards_to(&prefix, &v4(lab, &["a", "b", "c"])).await.unwrap();
    assert!(routes.iter().all(|route| route.as_path == "64512" && route.communities.is_empty()), "{routes:#?}");
    assert_eq!(answering(lab, address), names(&["a", "b", "c"]));
    lab.becomes("service", "web", "clarionlb.io/Announced", "True", "Announced").await.unwrap();
}

async fn with_policy_local_next_hops_follow_the_endpoints(lab: &mut Lab) {
    lab.service("web", "Local", &["a"]).await.unwrap();
    let (address, prefix) = lab.address_of("web").await.unwrap();
    let tor = lab.router("tor").unwrap();
    for endpoints in [&["a"][..], &["a", "c"], &["c"], &["b"]] {
        lab.endpoints("web", endpoints).await.unwrap();
        tor.forwards_to(&prefix, &v4(lab, endpoints)).await.unwrap();
        assert_eq!(answering(lab, address), names(endpoints));
    }
    lab.endpoints("web", &[]).await.unwrap();
    tor.uses(&prefix, &[]).await.unwrap();
}

/// The table "Which nodes are next hops" of docs/load-balancing.md, but for aggregates.
async fn next_hops_by_announcing_nodes_and_traffic_policy(lab: &mut Lab) {
    let cells = [
        // announced from, externalTrafficPolicy, endpoints on, next hops
        ("all", "Cluster", &["b"][..], &["a", "b", "c"][..]),
        ("all", "Local", &["b", "c"], &["b", "c"]),
        ("a-and-b", "Cluster", &["c"], &["a", "b"]),
        ("a-and-b", "Local", &["b", "c"], &["b"]),
    ];
    let a_and_b = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": ["a", "b"]});
    let services = |from: &str| json!([{"matchLabels": {"from": from}}]);
    lab.apply(&[
        advertisement("all", json!({"serviceSelectors": services("all")})),
        advertisement(
            "a-and-b",
            json!({"serviceSelectors": services("a-and-b"), "nodeSelectors": [{"matchExpressions": [a_and_b]}]}),
        ),
    ])
    .await
    .unwrap();
    let name = |from: &str, policy: &str| format!("{from}-{}", policy.to_lowercase());
    for (from, policy, endpoints, _) in cells {
        let mut service = service_with(&name(from, policy), &json!({"externalTrafficPolicy": policy}));
        service["metadata"]["labels"] = json!({"from": from});
        lab.endpoints(&name(from, policy), endpoints).await.unwrap();
        lab.apply(&[service]).await.unwrap();
    }
    let tor = lab.router("tor").unwrap();
    for (from, policy, endpoints, next_hops) in cells {
        let cell = format!("announced from {from}, policy {policy}, endpoints on {endpoints:?}");
        let (address, prefix) = lab.address_of(&name(from, policy)).await.unwrap();
        tor.forwards_to(&prefix, &v4(lab, next_hops)).await.unwrap();
        assert_eq!(answering(lab, address), names(next_hops), "{cell}");
    }
}

async fn both_families_over_one_session(lab: &mut Lab) {
    lab.endpoints("web", &["a", "b"]).await.unwrap();
    let families = json!({"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"});
    lab.apply(&[service_with("web", &families)]).await.unwrap();
    let addresses = lab.addresses_of("web").await.unwrap();
    let [first, second] = addresses[..] else { panic!("{addresses:?}") };
    let tor = lab.router("tor").unwrap();
    tor.forwards_to(&format!("{first}/32"), &v4(lab, &["a", "b", "c"])).await.unwrap();
    let routes = tor.forwards_to(&format!("{second}/128"), &v6(lab, &["a", "b", "c"])).await.unwrap();
    assert!(routes.iter().all(|route| route.peer.starts_with("192.0.2.")), "by the IPv4 session: {routes:#?}");
    for address in [first, second] {
        assert_eq!(answering(lab, address), names(&["a", "b", "c"]));
    }
}

async fn a_session_outlives_its_last_service(lab: &mut Lab) {
    let tor = lab.router("tor").unwrap();
    let mark = tor.mark();
    for _ in 0..2 {
        lab.service("web", "Cluster", &["a"]).await.unwrap();
        let (_, prefix) = lab.address_of("web").await.unwrap();
        tor.uses(&prefix, &v4(lab, &["a", "b", "c"])).await.unwrap();
        lab.delete(&["service", "web"]).unwrap();
        tor.uses(&prefix, &[]).await.unwrap();
    }
    let log = tor.since(mark);
    assert_eq!(log.withdrawn().len(), 6, "the check itself sees withdrawals");
    assert_eq!(log.went_down(), [""; 0]);
}

async fn an_aggregate_takes_the_place_of_addresses_but_of_local_ones(lab: &mut Lab) {
    lab.apply(&[advertisement("all", json!({"aggregationLength": 28}))]).await.unwrap();
    lab.service("web", "Cluster", &["a"]).await.unwrap();
    let (_, prefix) = lab.address_of("web").await.unwrap();
    lab.service("here", "Local", &["b"]).await.unwrap();
    let (_, local) = lab.address_of("here").await.unwrap();
    let tor = lab.router("tor").unwrap();
    tor.uses("198.51.100.0/28", &v4(lab, &["a", "b", "c"])).await.unwrap();
    tor.uses(&local, &v4(lab, &["b"])).await.unwrap();
    assert_eq!(tor.prefixes().unwrap(), ["198.51.100.0/28".to_owned(), local].into(), "and not {prefix}");
}

async fn a_node_limit_is_the_number_of_next_hops(lab: &mut Lab) {
    lab.apply(&[advertisement("all", json!({"nodeLimit": {"max": 2}}))]).await.unwrap();
    lab.service("web", "Cluster", &["a"]).await.unwrap();
    let (address, prefix) = lab.address_of("web").await.unwrap();
    let tor = lab.router("tor").unwrap();
    tor.sees("two paths", &prefix, |routes| routes.len() == 2).await.unwrap();
    tor.forwards_by(&prefix, 2).await.unwrap();
    assert_eq!(answering(lab, address).len(), 2);
}

async fn a_node_that_drains_asks_for_other_paths_before_it_withdraws(lab: &mut Lab) {
    lab.service("web", "Cluster", &["a"]).await.unwrap();
    let (_, prefix) = lab.address_of("web").await.unwrap();
    let (tor, drained) = (lab.router("tor").unwrap(), v4(lab, &["a"])[0].to_string());
    tor.uses(&prefix, &v4(lab, &["a", "b", "c"])).await.unwrap();
    let mark = tor.mark();
    let deadline = std::process::Command::new("date").args(["-u", "-d", "+25 seconds", "+%FT%TZ"]).output().unwrap();
    let deadline = String::from_utf8(deadline.stdout).unwrap();
    let annotation = json!({"clarionlb.io/withdraw-at": deadline.trim()});
    lab.apply(&[node("a", json!({}), annotation)]).await.unwrap();
    let asks = |community: &String| community == "65535:0" || community.eq_ignore_ascii_case("graceful-shutdown");
    tor.sees("GRACEFUL_SHUTDOWN from a, and from no other", &prefix, |routes| {
        let of_a = |peer: &str| peer == drained;
        routes.len() == 3 && routes.iter().all(|route| of_a(&route.peer) == route.communities.iter().any(asks))
    })
    .await
    .unwrap();
    assert_eq!(tor.since(mark).withdrawn(), [""; 0], "not before the deadline");
    let routes = tor.sees("two paths", &prefix, |routes| routes.len() == 2).await.unwrap();
    assert!(routes.iter().all(|route| route.peer != drained), "{routes:#?}");
    assert_eq!(tor.since(mark).went_down(), [""; 0]);
}

async fn a_node_leaves_and_returns(lab: &mut Lab) {
    lab.service("web", "Cluster", &["a"]).await.unwrap();
    let (address, prefix) = lab.address_of("web").await.unwrap();
    lab.router("tor").unwrap().uses(&prefix, &v4(lab, &["a", "b", "c"])).await.unwrap();
    let c = lab.node_mut("c").unwrap();
    c.frr.stop_daemon("bgpd", "KILL").await.unwrap();
    lab.delete(&["node", "c"]).unwrap();
    lab.router("tor").unwrap().forwards_to(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
    assert_eq!(answering(lab, address), names(&["a", "b"]));
    let c = lab.node_mut("c").unwrap();
    c.frr.start_daemon(&c.space, "bgpd").await.unwrap();
    lab.apply(&[node("c", json!({}), json!({}))]).await.unwrap();
    lab.router("tor").unwrap().uses(&prefix, &v4(lab, &["a", "b", "c"])).await.unwrap();
}

async fn a_service_without_a_class_in_a_labelled_namespace(lab: &mut Lab) {
    // What a Gateway's controller makes: it knows no class.
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "gateways", "labels": {"clarionlb.io/class-less": "adopt"}},
    });
    let mut service = service_with("gateway", &json!({"loadBalancerClass": null}));
    service["metadata"]["namespace"] = json!("gateways");
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "gateway-1", "namespace": "gateways", "labels": {"kubernetes.io/service-name": "gateway"},
        },
        "addressType": "IPv4", "endpoints": [{"addresses": ["10.244.0.1"], "nodeName": "a"}],
        "ports": [{"port": 80}],
    });
    let mut elsewhere = service_with("ignored", &json!({"loadBalancerClass": null}));
    elsewhere["metadata"]["namespace"] = json!("default");
    lab.apply(&[namespace, elsewhere, slice, service]).await.unwrap();
    let tor = lab.router("tor").unwrap();
    tor.uses("198.51.100.0/32", &v4(lab, &["a", "b", "c"])).await.unwrap();
    assert_eq!(tor.prefixes().unwrap().len(), 1, "that of the other namespace is nobody's");
}
