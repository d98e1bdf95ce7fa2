//! What goes wrong on nodes and routers: it is told as what it is, and heals.

use clarion_e2e::{Lab, Session, Topology};
use clarion_envtest::wait;
use serde_json::json;

use crate::{
    objects::v4,
    themes::{Theme, cases},
};

pub fn theme() -> Theme {
    Theme {
        name: "trouble",
        topology: Topology::new().nodes(&["a", "b"]).router("tor", 64513).subnet(
            "192.0.2.0/24",
            "2001:db8:1::/64",
            &["tor", "a", "b"],
        ),
        cases: cases![
            core the_link_of_one_node_is_cut,
            full frr_of_one_node_is_stopped,
            full the_router_goes_while_nodes_reload,
            full a_reload_fails,
            full reports_of_a_node_lag,
        ],
    }
}

/// Waits for words in what `clarion status` prints.
async fn status_says(lab: &Lab, what: &str, right: impl Fn(&str) -> bool) -> String {
    wait::until(&format!("clarion status: {what}"), async || {
        let text = lab.clarion(&["status"]).map_err(|error| error.to_string())?;
        if right(&text) { Ok(text) } else { Err(text) }
    })
    .await
    .unwrap()
}

/// The line of the peer `tor`, as columns: name, ready, reason, nodes, established, not reported, down.
fn tor(status: &str) -> Vec<String> {
    let line = status.lines().find(|line| line.starts_with("tor "));
    line.into_iter().flat_map(str::split_whitespace).map(str::to_owned).collect()
}

async fn announced(lab: &Lab) -> String {
    lab.service("web", "Cluster", &["a"]).await.unwrap();
    let (_, prefix) = lab.address_of("web").await.unwrap();
    lab.router("tor").unwrap().uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
    lab.becomes("service", "web", "clarionlb.io/Announced", "True", "Announced").await.unwrap();
    status_says(lab, "two sessions established", |text| tor(text).get(4).is_some_and(|n| n == "2")).await;
    prefix
}

async fn the_link_of_one_node_is_cut(lab: &mut Lab) {
    lab.apply(&[lab.peer("tor", &json!({"holdTime": "9s", "keepaliveTime": "3s"})).unwrap()]).await.unwrap();
    let prefix = announced(lab).await;
    let tor_sees = lab.router("tor").unwrap();
    // Both ends count by what they agreed on when the session began.
    tor_sees.space.run(&["vtysh", "-c", "clear bgp *"]).unwrap();
    for address in v4(lab, &["a", "b"]) {
        let agreed = |session: &Session| session.established() && session.hold_time() == 9;
        tor_sees.session_is("9 s", &address.to_string(), agreed).await.unwrap();
    }
    tor_sees.uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
    lab.cut("a", 0, true).unwrap();
    tor_sees.uses(&prefix, &v4(lab, &["b"])).await.unwrap();
    let status = status_says(lab, "one session down", |text| tor(text).get(4).is_some_and(|n| n == "1")).await;
    assert!(status.contains("1: a"), "it names the node: {status}");
    // One node is left, and that is enough.
    assert_eq!(lab.condition("service", "web", "clarionlb.io/Announced").unwrap().0, "True");
    lab.cut("a", 0, false).unwrap();
    tor_sees.uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
    status_says(lab, "two sessions established", |text| tor(text).get(4).is_some_and(|n| n == "2")).await;
}

/// FRR-K8s's `status` reports nothing while FRR does not answer, so what it reported before stays. What tells is that its Pod is
/// not ready any more.
async fn frr_of_one_node_is_stopped(lab: &mut Lab) {
    let prefix = announced(lab).await;
    lab.node_mut("a").unwrap().frr.stop_daemon("bgpd", "KILL").await.unwrap();
    lab.router("tor").unwrap().uses(&prefix, &v4(lab, &["b"])).await.unwrap();
    lab.report_pod("a", false).unwrap();
    let status = status_says(lab, "one session established, one not reported", |text| {
        tor(text).get(4..6).is_some_and(|counts| counts == ["1", "1"])
    })
    .await;
    assert!(status.contains("(a): the Pod of FRR-K8s fails"), "it names the node: {status}");
    let message = lab.becomes("lbpeer", "tor", "SessionsEstablished", "Unknown", "Unconfirmed").await.unwrap();
    assert!(message.contains("not ready on node a"), "{message}");
    assert_eq!(lab.condition("service", "web", "clarionlb.io/Announced").unwrap().0, "True", "node b announces it");
    // The node goes on to get what changes as soon as FRR is back.
    lab.service("next", "Local", &["a"]).await.unwrap();
    let (_, next) = lab.address_of("next").await.unwrap();
    let message = lab.becomes("service", "next", "clarionlb.io/Announced", "Unknown", "Unconfirmed").await.unwrap();
    assert!(message.contains("not ready"), "{message}");
    let node = lab.node_mut("a").unwrap();
    node.frr.start_daemon(&node.space, "bgpd").await.unwrap();
    lab.report_pod("a", true).unwrap();
    lab.router("tor").unwrap().uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
    lab.router("tor").unwrap().uses(&next, &v4(lab, &["a"])).await.unwrap();
    lab.becomes("lbpeer", "tor", "SessionsEstablished", "True", "Established").await.unwrap();
    lab.becomes("service", "next", "clarionlb.io/Announced", "True", "Announced").await.unwrap();
    let status = lab.clarion(&["status"]).unwrap();
    assert!(!status.contains("Pod of FRR-K8s"), "{status}");
}

async fn the_router_goes_while_nodes_reload(lab: &mut Lab) {
    let prefix = announced(lab).await;
    lab.service("next", "Cluster", &["b"]).await.unwrap();
    let reloads = |node: &str| lab.node(node).unwrap().reloader_log().matches("Reloading FRR").count();
    let before = reloads("a");
    wait::until("the beginning of a reload", async || if reloads("a") > before { Ok(()) } else { Err(before) })
        .await
        .unwrap();
    lab.router_mut("tor").unwrap().frr.stop_daemon("bgpd", "KILL").await.unwrap();
    lab.becomes("service", "next", "clarionlb.io/Announced", "False", "NoSession").await.unwrap();
    lab.becomes("service", "web", "clarionlb.io/Announced", "False", "NoSession").await.unwrap();
    let status = status_says(lab, "two sessions down", |text| tor(text).get(4).is_some_and(|n| n == "0")).await;
    assert!(status.contains("2: a, b"), "it names the nodes: {status}");
    let router = lab.router_mut("tor").unwrap();
    router.frr.start_daemon(&router.space, "bgpd").await.unwrap();
    let (_, next) = lab.address_of("next").await.unwrap();
    for prefix in [prefix, next] {
        lab.router("tor").unwrap().uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
    }
    for service in ["web", "next"] {
        lab.becomes("service", service, "clarionlb.io/Announced", "True", "Announced").await.unwrap();
    }
}

async fn a_reload_fails(lab: &mut Lab) {
    let prefix = announced(lab).await;
    // FRR-K8s hands on what users write here as it is.
    let broken = json!({
        "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration",
        "metadata": {"name": "broken", "namespace": "frr-k8s-system"},
        "spec": {
            "nodeSelector": {"matchLabels": {"kubernetes.io/hostname": "a"}},
            "raw": {"rawConfig": "route-map broken permit 1\n match nothing of the kind\n"},
        },
    });
    lab.apply(&[broken]).await.unwrap();
    let message = lab.becomes("lbpeer", "tor", "Ready", "True", "NodeRefuses").await.unwrap();
    assert!(message.contains("node a") || message.contains("on a"), "{message}");
    let status = status_says(lab, "what node a refuses", |text| text.contains("NodeRefuses")).await;
    assert!(status.contains("in error"), "{status}");
    // What it has, it keeps.
    lab.router("tor").unwrap().uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
    lab.delete(&["frrconfiguration", "-n", "frr-k8s-system", "broken"]).unwrap();
    lab.service("next", "Cluster", &["b"]).await.unwrap();
    let (_, next) = lab.address_of("next").await.unwrap();
    lab.router("tor").unwrap().uses(&next, &v4(lab, &["a", "b"])).await.unwrap();
    status_says(lab, "that nobody refuses anything", |text| !text.contains("NodeRefuses")).await;
}

async fn reports_of_a_node_lag(lab: &mut Lab) {
    let prefix = announced(lab).await;
    let router = lab.router("tor").unwrap();
    let address = v4(lab, &["a"])[0].to_string();
    lab.node("a").unwrap().status.signal("STOP").unwrap();
    router.configure(&["router bgp 64513", &format!("neighbor {address} shutdown")]).unwrap();
    router.uses(&prefix, &v4(lab, &["b"])).await.unwrap();
    // The last that was heard of it counts: nothing in a report says how old it is.
    assert_eq!(tor(&lab.clarion(&["status"]).unwrap()).get(4).unwrap(), "2");
    lab.node("a").unwrap().status.signal("CONT").unwrap();
    status_says(lab, "one session established", |text| tor(text).get(4).is_some_and(|n| n == "1")).await;
    router.configure(&["router bgp 64513", &format!("no neighbor {address} shutdown")]).unwrap();
    status_says(lab, "two sessions established", |text| tor(text).get(4).is_some_and(|n| n == "2")).await;
    router.uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
}
