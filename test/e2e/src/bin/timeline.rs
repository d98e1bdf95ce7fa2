//! `make timeline`: from a Service that is created to a route in the router's table, 50 times, and whose time that is.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clarion_api::frr::FRRConfiguration;
use clarion_e2e::{Error, Pace, Topology};
use kube::{Api, api::WatchParams};
use tokio::{sync::mpsc, time::sleep};

/// How many Services are made, one after the other.
const SERVICES: usize = 50;

fn main() -> ExitCode {
    let result = clarion_e2e::enter().and_then(|()| clarion_e2e::runtime()?.block_on(measure()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("timeline: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A prefix that an FRRConfiguration has, and when that was seen.
type Written = (String, Instant);

async fn measure() -> Result<(), Error> {
    let mut lab = Topology::new()
        .nodes(&["node-a"])
        .router("tor", 64513)
        .subnet("192.0.2.0/24", "2001:db8:1::/64", &["tor", "node-a"])
        .pace(Pace::SHIPPED)
        .start()
        .await?;
    lab.reset().await?;
    let (sender, mut written) = mpsc::unbounded_channel();
    let client = lab.control_plane.client();
    tokio::spawn(async move {
        // A watch ends now and then; each new one begins with what there is.
        loop {
            let _ = watch(Api::all(client.clone()), &sender).await;
        }
    });
    let (mut ours, mut daemons) = (Vec::new(), Vec::new());
    for number in 0..SERVICES {
        let name = format!("web-{number}");
        lab.endpoints(&name, &["node-a"]).await?;
        let begin = Instant::now();
        let service = clarion_e2e::service_with(&name, &serde_json::json!({}));
        lab.apply(&[service]).await?;
        let (_, prefix) = lab.address_of(&name).await?;
        let seen = loop {
            match written.recv().await {
                Some((found, at)) if found == prefix => break at,
                Some(_) => {}
                None => return Err(Error::Never(format!("{prefix} in an FRRConfiguration"))),
            }
        };
        let tor = lab.router("tor")?;
        while tor.routes(&prefix)?.is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
        ours.push(seen.duration_since(begin));
        daemons.push(seen.elapsed());
        if ours.len().is_multiple_of(10) {
            println!("  {} of {SERVICES} Services", ours.len());
        }
    }
    println!(
        "{SERVICES} Services, one after the other, one node, FRR-K8s as shipped (it waits 3 s for more changes)\n"
    );
    println!("{:<58}{:>10}{:>10}", "", "p50", "p99");
    line("Clarion: Service created to FRRConfiguration written", &mut ours);
    line("FRR-K8s and FRR: from there to the route at the router", &mut daemons);
    Ok(())
}

/// Sends each prefix of each FRRConfiguration when it is seen.
async fn watch(api: Api<FRRConfiguration>, sender: &mpsc::UnboundedSender<Written>) -> Result<(), Error> {
    use kube::api::WatchEvent::{Added, Modified};
    let events = api.watch(&WatchParams::default(), "0").await?;
    let mut events = std::pin::pin!(events);
    while let Some(event) = futures::TryStreamExt::try_next(&mut events).await? {
        let (Added(object) | Modified(object)) = event else { continue };
        let at = Instant::now();
        let routers = object.spec.bgp.iter().flat_map(|bgp| &bgp.routers);
        for prefix in routers.flat_map(|router| &router.prefixes) {
            let _ = sender.send((prefix.clone(), at));
        }
    }
    Ok(())
}

fn line(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |percent: usize| {
        let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(place).copied().unwrap_or_default().as_secs_f64()
    };
    println!("{what:<58}{:>8.3} s{:>8.3} s", at(50), at(99));
}
