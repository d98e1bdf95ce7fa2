//! `make confirmable`: how many prefixes a node can announce before FRR-K8s no longer tells what its FRR has, because the status of
//! the FRRNodeState would be larger than the API server takes. Without Clarion's doing: one FRRConfiguration has them all.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clarion_api::frr::FRRNodeState;
use clarion_e2e::{Error, Pace, Topology};
use kube::Api;
use serde_json::{Value, json};
use tokio::time::sleep;

const STEP: usize = 2_000;
const MOST: usize = 16_000;
/// As long as FRR takes for so many lines, and longer.
const PATIENCE: Duration = Duration::from_secs(240);
/// How long the FRRNodeState may lag behind the router: FRR-K8s looks at FRR every 30 s.
const TOLD_WITHIN: Duration = Duration::from_secs(100);
const POLL: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let result = clarion_e2e::enter().and_then(|()| clarion_e2e::runtime()?.block_on(measure()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("confirmable: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> Result<(), Error> {
    let mut lab = Topology::new()
        .nodes(&["node-a"])
        .router("tor", 64513)
        .subnet("192.0.2.0/24", "2001:db8:1::/64", &["tor", "node-a"])
        .pace(Pace::SHIPPED)
        .start()
        .await?;
    lab.reset().await?;
    let peer = lab.peer("tor", &json!({}))?;
    let states: Api<FRRNodeState> = Api::all(lab.control_plane.client());
    for count in (STEP..=MOST).step_by(STEP) {
        let prefixes: Vec<String> = (0..count).map(prefix).collect();
        let last = prefix(count - 1);
        let begin = Instant::now();
        lab.apply(&[announcing(&peer, &prefixes)]).await?;
        let tor = lab.router("tor")?;
        while tor.routes(&last)?.is_empty() {
            if begin.elapsed() > PATIENCE {
                return Err(Error::Never(format!("the route to {last}")));
            }
            sleep(POLL).await;
        }
        let (announced, there) = (begin.elapsed(), Instant::now());
        let told = loop {
            let state = states.get("node-a").await?;
            let config = state.status.and_then(|status| status.running_config).unwrap_or_default();
            if config.contains(&last) {
                break Some(config.len());
            }
            if there.elapsed() > TOLD_WITHIN {
                break None;
            }
            sleep(POLL).await;
        };
        let announced = announced.as_secs_f64();
        match told {
            Some(bytes) => println!(
                "{count} prefixes: announced after {announced:.1} s, told of {:.1} s later in {bytes} bytes, {} for each",
                there.elapsed().as_secs_f64(),
                bytes / count
            ),
            None => {
                println!("{count} prefixes: announced after {announced:.1} s, and not told of within {TOLD_WITHIN:?}");
                break;
            }
        }
    }
    Ok(())
}

fn prefix(n: usize) -> String {
    format!("10.{}.{}.{}/32", 100 + n / 65_536, n / 256 % 256, n % 256)
}

/// A user's FRRConfiguration for the session of a RouterPeer.
fn announcing(peer: &Value, prefixes: &[String]) -> Value {
    let field = |name: &str| peer.pointer(&format!("/spec/{name}")).cloned().unwrap_or_default();
    let neighbor = json!({
        "asn": field("peerASN"), "address": field("peerAddress"), "dualStackAddressFamily": true,
        "connectTime": field("connectTime"), "toAdvertise": {"allowed": {"mode": "all"}},
    });
    json!({
        "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration",
        "metadata": {"name": "many", "namespace": "frr-k8s-system"},
        "spec": {"bgp": {"routers": [{"asn": field("myASN"), "prefixes": prefixes, "neighbors": [neighbor]}]}},
    })
}
