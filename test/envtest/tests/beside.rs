//! Beside FRRConfigurations of users, on a real API server with FRR-K8s's webhook and the daemons of two nodes.

mod hostile;
mod odds;
mod scene;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use clarion_api::frr::FRRConfiguration;
use clarion_envtest::{FrrConf, Webhook, history, wait};
use kube::{ResourceExt as _, api::ListParams};
use serde_json::json;
use tokio::time::sleep;

use self::{
    odds::{LeftOut, Odds, all_odds},
    scene::{LEAF, NODES, SPINE, Scene, TOR, advertisement_with, on, peer, spine, their, tor},
};
use crate::{cluster::object, faults::Random};

#[tokio::test]
async fn whoever_comes_first_what_cant_be_merged_is_left_out_alone_and_comes_back() {
    let scene = Scene::start().await;
    let _webhook = Webhook::start(&scene.cluster.0).await.unwrap();
    scene.apply(&[advertisement_with(json!({"localPref": 200}))]).await;
    let users = scene.users();
    // Of Secrets, the webhook sees nothing.
    for Odds { what, router, neighbor, ours, words, left_out } in
        all_odds().into_iter().filter(|o| o.what != "password")
    {
        let suspended = json!({"suspend": true});
        let spec = their(on(NODES[0]), &router, &neighbor);

        // Theirs first.
        scene.apply(&[tor(&suspended)]).await;
        if left_out == LeftOut::Router {
            scene.apply(&[spine(&suspended)]).await;
            scene.has_let_go_of(SPINE).await;
        }
        scene.has_let_go_of(TOR).await;
        scene.watched().await;
        drop(scene.history.take());
        users.writes("user", &spec).await.unwrap_or_else(|refusal| panic!("{what}: {refusal}"));
        let mut objects = vec![tor(&ours)];
        objects.extend((left_out == LeftOut::Router).then(|| spine(&json!({}))));
        scene.apply(&objects).await;
        let teller = if left_out == LeftOut::Attribute { "all" } else { "tor" };
        let told = scene.tells(teller, "ForeignConflict", words).await;
        if left_out == LeftOut::Router {
            scene.tells("spine", "ForeignConflict", words).await;
        } else {
            scene.carries_all(0, SPINE).await;
            assert_eq!(scene.ready("spine").await.unwrap().reason, "Valid");
        }
        match left_out {
            LeftOut::Session | LeftOut::Router => {
                let message = scene.ready("tor").await.unwrap().message;
                assert!(message.starts_with("on node node-a: ") && !message.contains("hidden"), "{message}");
                scene.carries_nothing(0, TOR).await;
            }
            LeftOut::Field | LeftOut::Attribute => scene.carries_all(0, TOR).await,
        }
        scene.carries_all(0, LEAF).await;
        for session in [TOR, SPINE, LEAF] {
            scene.carries_all(1, session).await;
        }
        scene.nothing_was_lost(what).await;

        // They mend theirs: it is what ours says on the other node.
        let (their_router, their_neighbor) = scene.our_session(NODES[1]).await;
        let compatible = their(on(NODES[0]), &their_router, &their_neighbor);
        users.writes("user", &compatible).await.unwrap_or_else(|refusal| panic!("{what}: {refusal}"));
        let healed = scene.is_whole().await;
        scene.tells(teller, "Valid", "").await;
        scene.nothing_was_lost(what).await;

        // Ours first.
        let refusal = users.is_refused("user", &spec).await;
        users.deletes("user").await;
        users.is_refused("user", &spec).await;
        scene.is_whole().await;
        scene.nothing_was_lost(what).await;
        println!(
            "{what}: told after {told:.0?}, healed after {healed:.0?}; to the user: {}",
            refusal.lines().next().unwrap_or_default()
        );
        scene.no_conversion_failed(what);
    }
    let log = scene.operator.process.log();
    assert!(!log.contains("denied the request"), "{log}");
}

#[tokio::test]
async fn a_conflict_that_no_webhook_saw_ends_by_itself() {
    let scene = Scene::start().await;
    let _webhook = Webhook::start(&scene.cluster.0).await.unwrap();
    scene.apply(&[advertisement_with(json!({"localPref": 200}))]).await;
    let users = scene.users();
    let labels = [("kubernetes.io/hostname", NODES[0]), ("theirs", "yes")];
    let labels: BTreeMap<String, String> = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    // These go the same way as others.
    let like_others = ["dynamicASN", "our port", "source", "ebgpMultiHop", "keepaliveTime", "connectTime", "localASN"];
    let odds = all_odds().into_iter().filter(|odds| !like_others.contains(&odds.what));
    for Odds { what, router, neighbor, ours, words, left_out } in odds {
        scene.apply(&[tor(&ours)]).await;
        // For no node yet: base and overlay have the session too.
        users.writes("user", &their(json!({"matchLabels": {"theirs": "yes"}}), &router, &neighbor)).await.unwrap();
        scene.is_whole().await;
        scene.nothing_was_lost(what).await;
        scene.label(json!("yes")).await;
        let told =
            scene.tells(if left_out == LeftOut::Attribute { "all" } else { "tor" }, "ForeignConflict", words).await;
        match left_out {
            LeftOut::Session => scene.carries_nothing(0, TOR).await,
            LeftOut::Router => {
                scene.carries_nothing(0, TOR).await;
                scene.carries_nothing(0, SPINE).await;
            }
            LeftOut::Field | LeftOut::Attribute => scene.carries_all(0, TOR).await,
        }
        if left_out != LeftOut::Router {
            scene.carries_all(0, SPINE).await;
        }
        scene.carries_all(0, LEAF).await;
        for session in [TOR, SPINE, LEAF] {
            scene.carries_all(1, session).await;
        }
        let failures = scene.heals(what).await;
        scene.watched().await;
        let moments = scene.history.take();
        let of_leaf = |moment| {
            let sessions = history::sessions(&history::merged(moment, &labels).ok()?);
            Some(sessions.get("red 192.0.2.3").map_or(0, BTreeSet::len))
        };
        let of_leaf: Vec<Option<usize>> = moments.iter().map(of_leaf).collect();
        // Whenever the daemon went on, it had everything that nobody is at odds with; but where the base alone is at odds, as it
        // is over a next hop, it has to let go of the node before the webhook lets another write for the node pass.
        if what != "next hop" && matches!(left_out, LeftOut::Session | LeftOut::Router) {
            assert!(of_leaf.iter().flatten().all(|count| *count == 2), "{what}: {of_leaf:?}");
        }
        scene.label(json!(null)).await;
        let healed = scene.is_whole().await;
        let lasted: Vec<_> = failures.iter().filter_map(|failure| failure.lasted).collect();
        println!(
            "{what}: told after {told:.0?}, converted after {lasted:.0?}, whole after {healed:.0?}, in {} writes",
            moments.len() - 1
        );
        let failures = scene.heals(what).await;
        assert!(failures.is_empty(), "{what}: {failures:?}");
        scene.nothing_was_lost(what).await;
    }
}

#[tokio::test]
async fn of_two_who_write_at_once_one_yields() {
    let scene = Scene::start().await;
    let _webhook = Webhook::start(&scene.cluster.0).await.unwrap();
    let users = scene.users();
    let mut random = Random::seeded();
    let (mut accepted, mut lasted) = (0, Vec::new());
    for round in 0..20 {
        scene.apply(&[tor(&json!({"suspend": true}))]).await;
        scene.has_let_go_of(TOR).await;
        let selector = if random.below(2) == 0 { json!({}) } else { on(NODES[0]) };
        let spec = their(selector, &json!({}), &json!({"port": 1179}));
        let [our_delay, their_delay] = [15, 60].map(|bound| Duration::from_millis(random.below(bound)));
        let ours = async {
            sleep(our_delay).await;
            scene.apply(&[tor(&json!({}))]).await;
        };
        let theirs = async {
            sleep(their_delay).await;
            users.writes("user", &spec).await
        };
        let ((), written) = tokio::join!(ours, theirs);
        if written.is_ok() {
            accepted += 1;
            let words = "port is 1179 in FRRConfiguration frr-k8s-system/user, and 179 here";
            scene.tells("tor", "ForeignConflict", words).await;
            scene.carries_nothing(0, TOR).await;
            for session in [SPINE, LEAF] {
                scene.carries_all(0, session).await;
                scene.carries_all(1, session).await;
            }
        }
        let failures = scene.heals(&format!("round {round}")).await;
        lasted.extend(failures.into_iter().filter_map(|failure| failure.lasted));
        if written.is_ok() {
            users.deletes("user").await;
        }
        scene.is_whole().await;
    }
    let refused = scene.operator.process.log().matches("denied the request").count();
    println!(
        "of 20, {accepted} of theirs and all but {refused} of our writes were accepted; nodes stood still for {lasted:.0?}"
    );
}

#[tokio::test]
async fn a_session_is_adopted_and_whoever_has_it_can_edit_it() {
    let scene = Scene::start().await;
    let _webhook = Webhook::start(&scene.cluster.0).await.unwrap();
    let users = scene.users();
    let adopting = |suspend: bool| peer("tor", json!({"peerAddress": TOR.1, "adoptSession": {}, "suspend": suspend}));
    let theirs = |node: &str, port: u16, secret: &str| {
        let neighbor = json!({
            "port": port, "holdTime": "90s", "keepaliveTime": "30s", "connectTime": "10s", "ebgpMultiHop": true,
            "sourceaddress": "192.0.2.77", "passwordSecret": {"name": secret}, "bfdProfile": "theirs",
            "enableGracefulRestart": true, "localASN": 64999,
        });
        their(on(node), &json!({}), &neighbor)
    };
    let has_port = async |node: usize, port: u16| {
        wait::until(&format!("port {port} on {}", NODES[node]), async || {
            let conf = FrrConf::parse(&scene.daemons[node].configuration());
            let settings =
                conf.routers.get("").and_then(|router| router.neighbors.get(TOR.1)).map(|n| n.settings.clone());
            let expected = format!("port {port}");
            if settings.as_ref().is_some_and(|s| s.contains(&expected)) { Ok(()) } else { Err(format!("{settings:?}")) }
        })
        .await
        .unwrap();
    };
    let suspended = async || {
        scene.apply(&[adopting(true)]).await;
        scene.tells("tor", "Suspended", "").await;
        scene.has_let_go_of(TOR).await;
        scene.watched().await;
        drop(scene.history.take());
    };
    suspended().await;
    for (node, port) in [(NODES[0], 1001), (NODES[1], 1002)] {
        users.writes(node, &theirs(node, port, "secret")).await.unwrap();
    }
    scene.apply(&[adopting(false)]).await;
    println!("adopted after {:.0?}", scene.carries_everything().await);
    for round in 0..3_u16 {
        has_port(0, 1001 + 1000 * round).await;
        has_port(1, 1002).await;
        let edited = theirs(NODES[0], 2001 + 1000 * round, "secret");
        users.is_refused(NODES[0], &edited).await;
        suspended().await;
        users.writes(NODES[0], &edited).await.unwrap();
        scene.apply(&[adopting(false)]).await;
        println!("adopted anew after {:.0?}", scene.carries_everything().await);
        scene.nothing_was_lost("suspend, edit, resume").await;
    }
    has_port(0, 4001).await;
    scene.no_conversion_failed("suspend, edit, resume");

    // Of Secrets the webhook sees nothing: nobody refuses this, and the node stands still until we have followed.
    let other = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other", "namespace": "frr-k8s-system"},
        "type": "kubernetes.io/basic-auth", "stringData": {"password": "hush-hush", "username": ""},
    });
    scene.apply(&[object(other)]).await;
    for secret in ["other", "secret", "other"] {
        users.writes(NODES[0], &theirs(NODES[0], 4001, secret)).await.unwrap();
        wait::until("the other Secret", async || {
            let there = scene.cluster.configurations().list(&ListParams::default()).await.map_err(|e| e.to_string())?;
            let named = |object: &FRRConfiguration| {
                let spec = serde_json::to_string(&object.spec).unwrap();
                object.name_any().starts_with("clarion-") && spec.contains(&format!("{{\"name\":\"{secret}\"}}"))
            };
            // Base and overlay.
            if there.items.iter().filter(|object| named(object)).count() >= 2 {
                Ok(())
            } else {
                Err("not yet".to_owned())
            }
        })
        .await
        .unwrap();
        scene.carries_everything().await;
        let failures = scene.heals("another Secret").await;
        println!("another Secret: {failures:?}");
    }

    // What was adopted goes.
    users.deletes(NODES[0]).await;
    scene.tells("tor", "NothingToAdopt", "on node node-a: ").await;
    scene.carries_nothing(0, TOR).await;
    scene.carries_all(1, TOR).await;
    scene.carries_all(0, SPINE).await;
    println!("what was adopted went: {:?}", scene.heals("nothing to adopt").await);
}
