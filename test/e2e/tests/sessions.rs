//! Kinds of sessions.

use std::time::Instant;

use clarion_e2e::{Lab, Router, Topology, service_with};
use serde_json::{Value, json};

use crate::{
    objects::{peer, v4, v6},
    themes::{Theme, cases},
};

pub fn theme() -> Theme {
    Theme {
        name: "sessions",
        topology: Topology::new()
            .nodes(&["a", "b"])
            .router("tor", 64513)
            .router("far", 64520)
            .client("user")
            .subnet("192.0.2.0/24", "2001:db8:1::/64", &["tor", "a", "b"])
            .subnet("203.0.113.0/24", "2001:db8:2::/64", &["tor", "user", "far"])
            // Between the router and one node, with nobody else.
            .subnet("10.1.0.0/24", "2001:db8:3::/64", &["tor", "a"]),
        cases: cases![
            core a_link_is_cut_and_bfd_tells,
            core the_password_is_from_a_secret,
            full ipv6_routes_over_an_ipv6_session,
            full both_families_over_an_ipv6_session,
            full an_interface_instead_of_an_address,
            full a_router_behind_the_router,
            core frr_of_a_node_restarts_gracefully,
        ],
    }
}

/// Makes a Service with an endpoint on node a, and returns the prefixes of its addresses, IPv4 first.
async fn web(lab: &Lab, families: Value) -> Vec<String> {
    lab.endpoints("web", &["a"]).await.unwrap();
    let policy = if families.as_array().unwrap().len() == 2 { "RequireDualStack" } else { "SingleStack" };
    lab.apply(&[service_with("web", &json!({"ipFamilies": families, "ipFamilyPolicy": policy}))]).await.unwrap();
    let addresses = lab.addresses_of("web").await.unwrap();
    addresses.iter().map(|a| format!("{a}/{}", if a.is_ipv4() { 32 } else { 128 })).collect()
}

fn at_bgp(router: &Router, lines: &[&str]) {
    let asn = format!("router bgp {}", router.asn);
    let mut all = vec![asn.as_str()];
    all.extend(lines);
    router.configure(&all).unwrap();
}

async fn a_link_is_cut_and_bfd_tells(lab: &mut Lab) {
    let tor = lab.router("tor").unwrap();
    tor.configure(&["bfd", "profile fast", "transmit-interval 100", "receive-interval 100"]).unwrap();
    at_bgp(tor, &["neighbor nodes bfd", "neighbor nodes bfd profile fast"]);
    let bfd = json!({"receiveInterval": 100, "transmitInterval": 100, "detectMultiplier": 3});
    let timers = json!({"bfd": bfd, "holdTime": "90s", "keepaliveTime": "30s"});
    lab.apply(&[lab.peer("tor", &timers).unwrap()]).await.unwrap();
    let prefix = web(lab, json!(["IPv4"])).await.remove(0);
    for address in v4(lab, &["a", "b"]) {
        tor.session_is("BFD up", &address.to_string(), |session| session.bfd() == "Up").await.unwrap();
    }
    tor.uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();

    let cut = Instant::now();
    lab.cut("a", 0, true).unwrap();
    tor.uses(&prefix, &v4(lab, &["b"])).await.unwrap();
    let gone = cut.elapsed();
    eprintln!("the route by a link that was cut was gone after {} ms", gone.as_millis());
    // Without BFD it would take the hold time: 90 s.
    assert!(gone.as_secs() < 10, "{gone:?}");

    lab.cut("a", 0, false).unwrap();
    tor.uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
    at_bgp(tor, &["no neighbor nodes bfd profile fast", "no neighbor nodes bfd"]);
}

async fn the_password_is_from_a_secret(lab: &mut Lab) {
    let tor = lab.router("tor").unwrap();
    at_bgp(tor, &["neighbor nodes password hush"]);
    tor.space.run(&["vtysh", "-c", "clear bgp *"]).unwrap();
    for address in v4(lab, &["a", "b"]) {
        tor.session_is("down", &address.to_string(), |session| !session.established()).await.unwrap();
    }
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tor", "namespace": "frr-k8s-system"},
        "type": "kubernetes.io/basic-auth", "stringData": {"password": "hush", "username": ""},
    });
    let with = lab.peer("tor", &json!({"passwordSecret": {"name": "tor"}})).unwrap();
    lab.apply(&[secret, with]).await.unwrap();
    let prefix = web(lab, json!(["IPv4"])).await.remove(0);
    tor.uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
    at_bgp(tor, &["no neighbor nodes password hush"]);
    tor.space.run(&["vtysh", "-c", "clear bgp *"]).unwrap();
}

async fn ipv6_routes_over_an_ipv6_session(lab: &mut Lab) {
    let tor = lab.router("tor").unwrap();
    let (_, address) = lab.addresses("tor", 0).unwrap();
    let only_v6 = json!({"peerAddress": address, "dualStackAddressFamily": false});
    lab.apply(&[lab.peer("tor", &only_v6).unwrap()]).await.unwrap();
    let prefixes = web(lab, json!(["IPv4", "IPv6"])).await;
    let routes = tor.uses(&prefixes[1], &v6(lab, &["a", "b"])).await.unwrap();
    assert!(routes.iter().all(|route| route.peer.contains(':')), "by the IPv6 session: {routes:#?}");
    assert_eq!(tor.prefixes().unwrap(), [prefixes[1].clone()].into(), "it carries no IPv4");
    lab.becomes("lbadv", "all", "Ready", "True", "NotCarried").await.unwrap();
}

async fn both_families_over_an_ipv6_session(lab: &mut Lab) {
    let tor = lab.router("tor").unwrap();
    let (_, address) = lab.addresses("tor", 0).unwrap();
    lab.apply(&[lab.peer("tor", &json!({"peerAddress": address})).unwrap()]).await.unwrap();
    let prefixes = web(lab, json!(["IPv4", "IPv6"])).await;
    tor.uses(&prefixes[1], &v6(lab, &["a", "b"])).await.unwrap();
    let routes = tor.sees("two paths", &prefixes[0], |routes| routes.len() == 2).await.unwrap();
    assert!(routes.iter().all(|route| route.used && route.peer.contains(':')), "{routes:#?}");
    let answers = lab.client("user").unwrap();
    for prefix in prefixes {
        tor.forwards_by(&prefix, 2).await.unwrap();
        let address = prefix.split('/').next().unwrap().parse().unwrap();
        assert!(answers.connect(address, 20).unwrap().iter().all(Result::is_ok));
    }
}

async fn an_interface_instead_of_an_address(lab: &mut Lab) {
    let tor = lab.router("tor").unwrap();
    // The third subnet, of which the router has eth2 and the node eth1.
    at_bgp(
        tor,
        &[
            "neighbor eth2 interface remote-as 64512",
            "address-family ipv4 unicast",
            "neighbor eth2 activate",
            "exit-address-family",
            "address-family ipv6 unicast",
            "neighbor eth2 activate",
        ],
    );
    lab.delete(&["lbpeer", "tor"]).unwrap();
    let unnumbered = json!({
        "myASN": 64512, "peerASN": 64513, "interface": "eth1", "connectTime": "2s",
        "nodeSelectors": [{"matchLabels": {"kubernetes.io/hostname": "a"}}],
    });
    lab.apply(&[peer("cable", unnumbered)]).await.unwrap();
    let prefixes = web(lab, json!(["IPv4", "IPv6"])).await;
    for prefix in &prefixes {
        let routes = tor.sees("a path", prefix, |routes| routes.len() == 1 && routes[0].used).await.unwrap();
        assert_eq!(routes[0].as_path, "64512");
    }
    let user = lab.client("user").unwrap();
    for prefix in &prefixes {
        tor.forwards_by(prefix, 1).await.unwrap();
        let answers = user.connect(prefix.split('/').next().unwrap().parse().unwrap(), 5).unwrap();
        assert_eq!(answers, vec![Ok("a".to_owned()); 5]);
    }
    at_bgp(tor, &["no neighbor eth2 interface remote-as 64512"]);
}

async fn a_router_behind_the_router(lab: &mut Lab) {
    let far = lab.router("far").unwrap();
    far.configure(&["ip nht resolve-via-default"]).unwrap();
    for address in v4(lab, &["a", "b"]) {
        let neighbor = format!("neighbor {address}");
        let lines = [
            format!("{neighbor} remote-as 64512"),
            format!("{neighbor} passive"),
            format!("{neighbor} ebgp-multihop"),
            "address-family ipv4 unicast".to_owned(),
            format!("{neighbor} activate"),
        ];
        at_bgp(far, &lines.each_ref().map(String::as_str));
    }
    let (address, _) = lab.addresses("far", 1).unwrap();
    let multihop = json!({
        "myASN": 64512, "peerASN": 64520, "peerAddress": address, "ebgpMultiHop": true, "connectTime": "2s",
    });
    lab.apply(&[peer("far", multihop)]).await.unwrap();
    let prefix = web(lab, json!(["IPv4"])).await.remove(0);
    far.uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
    lab.router("tor").unwrap().uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
    for address in v4(lab, &["a", "b"]) {
        at_bgp(far, &[&format!("no neighbor {address} remote-as 64512")]);
    }
}

async fn frr_of_a_node_restarts_gracefully(lab: &mut Lab) {
    let graceful = lab.peer("tor", &json!({"enableGracefulRestart": true})).unwrap();
    lab.apply(&[graceful]).await.unwrap();
    let prefix = web(lab, json!(["IPv4"])).await.remove(0);
    let a = v4(lab, &["a"])[0].to_string();
    lab.router("tor").unwrap().uses(&prefix, &v4(lab, &["a", "b"])).await.unwrap();
    clarion_envtest::wait::until("graceful restart on node a", async || {
        let running = lab.node("a").unwrap().vtysh("show running-config").map_err(|error| error.to_string())?;
        if running.contains("192.0.2.1 graceful-restart") { Ok(()) } else { Err(running) }
    })
    .await
    .unwrap();
    // What a restart keeps is agreed on when a session begins.
    let tor = lab.router("tor").unwrap();
    let mark = tor.mark();
    tor.space.run(&["vtysh", "-c", "clear bgp *"]).unwrap();
    let again = async || {
        let ups = lab.router("tor").unwrap().since(mark).with(&["ADJCHANGE", " Up"]).len();
        if ups >= 2 { Ok(()) } else { Err(ups) }
    };
    clarion_envtest::wait::until("new sessions", again).await.unwrap();
    tor.forwards_to(&prefix, &v4(lab, &["a", "b"])).await.unwrap();

    let address = prefix.split('/').next().unwrap().parse().unwrap();
    let traffic = lab.client("user").unwrap().traffic(address).unwrap();
    let mark = tor.mark();
    lab.node_mut("a").unwrap().frr.stop_daemon("bgpd", "KILL").await.unwrap();
    let tor = lab.router("tor").unwrap();
    tor.sees("a stale path by a, in use", &prefix, |routes| {
        routes.iter().any(|route| route.peer == a && route.stale && route.used)
    })
    .await
    .unwrap();
    let node = lab.node_mut("a").unwrap();
    node.frr.start_daemon(&node.space, "bgpd").await.unwrap();
    let tor = lab.router("tor").unwrap();
    tor.sees("a fresh path by a", &prefix, |routes| {
        routes.iter().any(|route| route.peer == a && !route.stale && route.used)
    })
    .await
    .unwrap();
    assert_eq!(tor.since(mark).withdrawn(), [""; 0]);
    assert_eq!(traffic.lost(), [""; 0]);
    assert!(traffic.answers().len() > 50);
}
