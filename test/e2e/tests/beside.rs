//! Two routers that are told different things, and sessions that users share.

use clarion_e2e::{Lab, Topology};
use serde_json::json;

use crate::{
    objects::{advertisement, labelled, node, peer, users, v4},
    themes::{Theme, cases},
};

pub fn theme() -> Theme {
    Theme {
        name: "beside",
        topology: Topology::new().nodes(&["a", "b"]).router("tor", 64513).router("spine", 64512).subnet(
            "192.0.2.0/24",
            "2001:db8:1::/64",
            &["tor", "spine", "a", "b"],
        ),
        cases: cases![
            core two_routers_are_told_different_things,
            core communities_everywhere_and_local_preference_inside,
            full prepends_where_the_daemon_can,
            core users_receive_routes_on_the_session,
            core a_users_conflict_takes_one_session_and_nothing_else,
            full a_session_is_adopted,
            core another_hold_time_of_one_peer_leaves_the_others_alone,
        ],
    }
}

async fn two_routers_are_told_different_things(lab: &mut Lab) {
    lab.apply(&[
        advertisement("all", json!({"serviceSelectors": [{"matchLabels": {"name": "out"}}], "peers": ["tor"]})),
        advertisement("inner", json!({"serviceSelectors": [{"matchLabels": {"name": "in"}}], "peers": ["spine"]})),
    ])
    .await
    .unwrap();
    let (outer, inner) = (labelled(lab, "out").await, labelled(lab, "in").await);
    for (router, prefix) in [("tor", outer), ("spine", inner)] {
        let router = lab.router(router).unwrap();
        router.uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
        assert_eq!(router.prefixes().unwrap(), [prefix].into());
    }
}

async fn communities_everywhere_and_local_preference_inside(lab: &mut Lab) {
    let aliases = json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "CommunityAlias", "metadata": {"name": "names"},
        "spec": {"aliases": [{"name": "blue", "value": "64512:100"}]},
    });
    let communities = json!({"communities": ["blue", "large:64512:1:2"], "localPref": 200});
    lab.apply(&[aliases, advertisement("all", communities)]).await.unwrap();
    let prefix = labelled(lab, "web").await;
    let expected = ["64512:100".to_owned(), "large:64512:1:2".to_owned()].into();
    for (router, local_pref, as_path) in [("tor", None, "64512"), ("spine", Some(200), "Local")] {
        let router = lab.router(router).unwrap();
        let routes = router.uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
        for route in &routes {
            assert_eq!(route.communities, expected, "{routes:#?}");
            // Inside an AS the path is empty, which FRR calls Local.
            assert_eq!((route.local_pref, route.as_path.as_str()), (local_pref, as_path), "{routes:#?}");
        }
    }
}

async fn prepends_where_the_daemon_can(lab: &mut Lab) {
    let crd = ["get", "crd", "frrconfigurations.frrk8s.metallb.io", "-o", "json"];
    let knows = lab.control_plane.kubectl(&crd).unwrap().contains("withAsPathPrepend");
    lab.apply(&[advertisement("all", json!({"asPathPrepend": 2}))]).await.unwrap();
    let prefix = labelled(lab, "web").await;
    let routes = lab.router("tor").unwrap().uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
    let expected = if knows { "64512 64512 64512" } else { "64512" };
    assert!(routes.iter().all(|route| route.as_path == expected), "{routes:#?}");
    if !knows {
        lab.becomes("lbadv", "all", "Ready", "False", "NotInFRRK8s").await.unwrap();
    }
}

async fn users_receive_routes_on_the_session(lab: &mut Lab) {
    let prefix = labelled(lab, "web").await;
    let tor = lab.router("tor").unwrap();
    tor.uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
    let mark = tor.mark();
    let (address, _) = lab.addresses("tor", 0).unwrap();
    let neighbor = json!({"address": address, "toReceive": {"allowed": {"mode": "all"}}});
    lab.apply(&[users("theirs", json!({}), neighbor)]).await.unwrap();
    let network = |no: &'static str| {
        [
            "router bgp 64513".to_owned(),
            "no bgp network import-check".to_owned(),
            "address-family ipv4 unicast".to_owned(),
            format!("{no}network 10.99.0.0/16"),
        ]
    };
    tor.configure(&network("").each_ref().map(String::as_str)).unwrap();
    let has = async |expected: bool| {
        clarion_envtest::wait::until("10.99.0.0/16 on node a", async || {
            let found =
                lab.node("a").unwrap().vtysh("show bgp ipv4 unicast 10.99.0.0/16").map_err(|e| e.to_string())?;
            if found.contains("64513") == expected { Ok(()) } else { Err(found) }
        })
        .await
        .unwrap();
    };
    has(true).await;
    lab.delete(&["frrconfiguration", "-n", "frr-k8s-system", "theirs"]).unwrap();
    has(false).await;
    tor.configure(&network("no ").each_ref().map(String::as_str)).unwrap();
    tor.uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
    let log = tor.since(mark);
    assert_eq!((log.withdrawn(), log.went_down()), (vec![], vec![]));
}

async fn a_users_conflict_takes_one_session_and_nothing_else(lab: &mut Lab) {
    let prefix = labelled(lab, "web").await;
    let (tor, spine) = (lab.router("tor").unwrap(), lab.router("spine").unwrap());
    for router in [tor, spine] {
        router.uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
    }
    let marks = (tor.mark(), spine.mark());
    let (address, _) = lab.addresses("tor", 0).unwrap();
    let neighbor = json!({"address": address, "holdTime": "30s", "keepaliveTime": "10s"});
    let selector = json!({"matchLabels": {"odd": "yes"}});
    // The webhook asks only for nodes that are selected, and of a label it is not asked.
    lab.apply(&[users("theirs", selector, neighbor), node("a", json!({"odd": "yes"}), json!({}))]).await.unwrap();
    let message = lab.becomes("lbpeer", "tor", "Ready", "True", "ForeignConflict").await.unwrap();
    assert!(message.contains("node a") && message.contains("holdTime is 30s"), "{message}");
    tor.uses(&prefix, &v4(lab, &["b"])).await.unwrap();
    let session = tor.session(&v4(lab, &["a"])[0].to_string()).unwrap();
    assert!(session.established(), "it is the user's now: {session}");
    let (at_tor, at_spine) = (tor.since(marks.0), spine.since(marks.1));
    assert_eq!((at_tor.withdrawn().len(), at_tor.went_down()), (1, vec![]));
    assert_eq!((at_spine.withdrawn(), at_spine.went_down()), (vec![], vec![]));
    spine.uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();

    lab.apply(&[node("a", json!({}), json!({}))]).await.unwrap();
    tor.uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
    assert_eq!(tor.since(marks.0).went_down(), [""; 0]);
}

async fn a_session_is_adopted(lab: &mut Lab) {
    lab.delete(&["lbpeer", "tor"]).unwrap();
    let tor = lab.router("tor").unwrap();
    let (address, _) = lab.addresses("tor", 0).unwrap();
    // As long as an object of Clarion's says something else, the webhook refuses theirs.
    clarion_envtest::wait::until("that theirs is accepted", async || {
        let theirs = json!({"address": address, "holdTime": "30s", "keepaliveTime": "10s"});
        lab.apply(&[users("theirs", json!({}), theirs)]).await
    })
    .await
    .unwrap();
    lab.apply(&[peer("tor", json!({"peerAddress": address, "adoptSession": {}}))]).await.unwrap();
    let prefix = labelled(lab, "web").await;
    tor.uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
}

async fn another_hold_time_of_one_peer_leaves_the_others_alone(lab: &mut Lab) {
    let prefix = labelled(lab, "web").await;
    let (tor, spine) = (lab.router("tor").unwrap(), lab.router("spine").unwrap());
    for router in [tor, spine] {
        router.uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
    }
    let mark = spine.mark();
    let timers = lab.peer("tor", &json!({"holdTime": "42s", "keepaliveTime": "14s"})).unwrap();
    lab.apply(&[timers]).await.unwrap();
    for node in ["a", "b"] {
        let daemon = async || {
            let running = lab.node(node).unwrap().vtysh("show running-config").map_err(|error| error.to_string())?;
            if running.contains("timers 14 42") { Ok(()) } else { Err(running) }
        };
        clarion_envtest::wait::until("the new timers", daemon).await.unwrap();
    }
    // The two speakers agree on a hold time when a session begins.
    tor.space.run(&["vtysh", "-c", "clear bgp *"]).unwrap();
    for address in v4(lab, &["a", "b"]) {
        let agreed = |session: &clarion_e2e::Session| session.established() && session.hold_time() == 42;
        tor.session_is("42 s", &address.to_string(), agreed).await.unwrap();
    }
    let log = spine.since(mark);
    assert_eq!((log.withdrawn(), log.went_down()), (vec![], vec![]));
    spine.uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
}
