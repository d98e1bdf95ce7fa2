//! What happens to Clarion, and what must not happen to traffic.

use std::time::Duration;

use clarion_e2e::{Lab, Mark, Traffic};
use clarion_envtest::Operator;
use serde_json::json;

use crate::{
    objects::{advertisement, v4},
    themes::{Theme, cases, rack},
};

pub fn theme() -> Theme {
    Theme {
        name: "continuity",
        topology: rack(),
        cases: cases![
            core clarion_is_stopped_and_started,
            core clarion_is_killed,
            full clarion_is_exchanged_for_another_build,
            core the_api_server_is_away_for_a_while,
            core a_pool_is_renamed,
            core advertisements_are_cut_anew,
        ],
    }
}

/// Traffic to two Services while something is done, and what the router had logged when it began.
struct Watched {
    prefixes: Vec<String>,
    traffic: Vec<Traffic>,
    mark: Mark,
}

impl Watched {
    async fn begin(lab: &Lab) -> Self {
        lab.service("everywhere", "Cluster", &["a"]).await.unwrap();
        lab.service("here", "Local", &["b"]).await.unwrap();
        let (tor, user) = (lab.router("tor").unwrap(), lab.client("user").unwrap());
        let (mut prefixes, mut traffic) = (Vec::new(), Vec::new());
        for (service, nodes) in [("everywhere", &["a", "b", "c"][..]), ("here", &["b"])] {
            let (address, prefix) = lab.address_of(service).await.unwrap();
            tor.forwards_to(&prefix, &v4(lab, nodes)).await.unwrap();
            prefixes.push(prefix);
            traffic.push(user.traffic(address).unwrap());
        }
        Self { prefixes, traffic, mark: tor.mark() }
    }

    /// A new Service shows that everything that was to follow from what was done has been done. Then nothing may have been
    /// withdrawn, no session may have gone down, and every connection must have been answered.
    async fn end(self, lab: &Lab) {
        lab.service("afterwards", "Cluster", &["c"]).await.unwrap();
        let tor = lab.router("tor").unwrap();
        let (_, prefix) = lab.address_of("afterwards").await.unwrap();
        tor.uses(&prefix, &v4(lab, &["a", "b", "c"])).await.unwrap();
        tor.uses(&self.prefixes[0], &v4(lab, &["a", "b", "c"])).await.unwrap();
        tor.uses(&self.prefixes[1], &v4(lab, &["b"])).await.unwrap();
        let log = tor.since(self.mark);
        assert_eq!((log.withdrawn(), log.went_down()), (vec![], vec![]));
        for traffic in &self.traffic {
            assert_eq!(traffic.lost(), [""; 0]);
            assert!(traffic.answers().len() > 20, "{}", traffic.answers().len());
        }
        let answered: usize = self.traffic.iter().map(|traffic| traffic.answers().len()).sum();
        eprintln!("0 prefixes withdrawn, 0 sessions down, 0 of {answered} connections lost");
    }
}

async fn clarion_is_stopped_and_started(lab: &mut Lab) {
    let watched = Watched::begin(lab).await;
    let mut operator = lab.operator.take().unwrap();
    operator.process.signal("TERM").unwrap();
    assert_eq!(operator.ended().await.unwrap(), 0);
    lab.start_clarion().await.unwrap();
    watched.end(lab).await;
}

async fn clarion_is_killed(lab: &mut Lab) {
    let watched = Watched::begin(lab).await;
    for _ in 0..2 {
        let mut operator = lab.operator.take().unwrap();
        operator.process.signal("KILL").unwrap();
        operator.ended().await.unwrap();
        lab.start_clarion().await.unwrap();
    }
    watched.end(lab).await;
}

/// From `$CLARION_PREVIOUS`, another build, to this one; without it, from a copy of this one, which tries the exchange alone.
async fn clarion_is_exchanged_for_another_build(lab: &mut Lab) {
    let copy = lab.control_plane.directory().join("clarion-previous");
    let previous = std::env::var_os("CLARION_PREVIOUS").map_or_else(
        || {
            eprintln!("CLARION_PREVIOUS names no previous build: this build is exchanged for itself");
            Operator::binary().unwrap()
        },
        Into::into,
    );
    std::fs::copy(&previous, &copy).unwrap();
    drop(lab.operator.take());
    let mut old = lab.clarion_of(&copy).unwrap();
    old.leading().await.unwrap();
    let watched = Watched::begin(lab).await;
    // The new one waits beside it, as in a rolling update, and takes over when the old one goes.
    let mut new = lab.clarion_of(&Operator::binary().unwrap()).unwrap();
    old.process.signal("TERM").unwrap();
    old.ended().await.unwrap();
    new.leading().await.unwrap();
    lab.operator = Some(new);
    watched.end(lab).await;
}

async fn the_api_server_is_away_for_a_while(lab: &mut Lab) {
    let watched = Watched::begin(lab).await;
    lab.control_plane.stop_api_server();
    // Long enough for Clarion to lose its Lease, which ends the process.
    let mut operator = lab.operator.take().unwrap();
    assert_ne!(operator.ended().await.unwrap(), 0);
    tokio::time::sleep(Duration::from_secs(5)).await;
    lab.control_plane.start_api_server().await.unwrap();
    lab.start_clarion().await.unwrap();
    watched.end(lab).await;
}

async fn a_pool_is_renamed(lab: &mut Lab) {
    let watched = Watched::begin(lab).await;
    let renamed = json!({
        "apiVersion": "clarionlb.io/v1beta1", "kind": "LoadBalancerPool", "metadata": {"name": "renamed"},
        "spec": {"addresses": ["198.51.100.0/24", "2001:db8:5::/120"]},
    });
    lab.delete(&["lbpool", "main"]).unwrap();
    lab.apply(&[renamed]).await.unwrap();
    lab.becomes("lbpool", "renamed", "Ready", "True", "Valid").await.unwrap();
    watched.end(lab).await;
}

async fn advertisements_are_cut_anew(lab: &mut Lab) {
    let watched = Watched::begin(lab).await;
    // One to the router instead of one of everything, then one from each node.
    lab.apply(&[advertisement("to-tor", json!({"pools": ["main"], "peers": ["tor"]}))]).await.unwrap();
    lab.delete(&["lbadv", "all"]).unwrap();
    let half =
        |name: &str| json!({"pools": ["main"], "nodeSelectors": [{"matchLabels": {"kubernetes.io/hostname": name}}]});
    for node in ["a", "b", "c"] {
        lab.apply(&[advertisement(&format!("from-{node}"), half(node))]).await.unwrap();
    }
    lab.becomes("lbadv", "from-c", "Ready", "True", "Valid").await.unwrap();
    lab.delete(&["lbadv", "to-tor"]).unwrap();
    watched.end(lab).await;
}
