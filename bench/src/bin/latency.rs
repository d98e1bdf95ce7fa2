//! From "Service created" to "its address is in an FRRConfiguration", seen from outside by watching.
//!
//! Beside it, in the same run, the least that any program needs for this on this machine: the same two writes, one after
//! the other, by a client that knows in advance what to write.

use std::{collections::BTreeMap, time::Duration};

use clarion_api::frr::FRRConfiguration;
use clarion_bench::{Bound, Figure, Latencies, Result, Seen, first, milliseconds, prefixes};
use clarion_envtest::{ControlPlane, Operator, crowd};
use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

const SERVICES: usize = 200;
const NODES: usize = 2;
const PERIOD: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let control_plane = ControlPlane::with_frr_k8s().await?;
    let client = control_plane.client();
    crowd::configure(&control_plane).await?;
    crowd::create(&Api::<Node>::all(client.clone()), (0..NODES).map(crowd::node)).await?;
    let slices: Api<EndpointSlice> = Api::default_namespaced(client.clone());
    crowd::create(&slices, (0..SERVICES).map(|n| crowd::slice(n, NODES))).await?;
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let configurations: Api<FRRConfiguration> = Api::namespaced(client, "frr-k8s-system");
    let mut seen = first(configurations.clone(), |object| prefixes(object).iter().map(ToString::to_string).collect());

    let bare = bare(&configurations, &services, &mut seen).await?;
    println!("bare writes: {bare}");
    let mut operator = Operator::start_as_shipped(&control_plane)?;
    operator.leading().await?;
    sleep(Duration::from_secs(1)).await;
    let clarion = clarion(&services, &mut seen).await?;
    println!("Clarion:     {clarion}");
    let ratio = |percent| clarion.percentile(percent).as_secs_f64() / bare.percentile(percent).as_secs_f64();
    println!("Clarion's median is {:.2} times that of the bare writes", ratio(50.0));
    for (percent, bound) in [(50.0, 25.0), (99.0, 100.0)] {
        let name = format!("one Service created -> in an FRRConfiguration, p{percent}");
        let reached = milliseconds(clarion.percentile(percent));
        Figure::record(&name, "ms", Bound::AtMost(bound), reached)?;
    }
    Ok(())
}

/// Create, set the status, replace the object with the prefixes, by a client that waits for each answer.
async fn bare(configurations: &Api<FRRConfiguration>, services: &Api<Service>, seen: &mut Seen) -> Result<Latencies> {
    let mut object: FRRConfiguration = serde_json::from_value(json!({
        "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration", "metadata": {"name": "bare"},
        "spec": {"bgp": {"routers": [{"asn": 1}]}},
    }))?;
    object = configurations.create(&PostParams::default(), &object).await?;
    let mut latencies = Vec::new();
    let mut next = Instant::now();
    for n in 0..SERVICES {
        sleep_until(next).await;
        next += PERIOD;
        let sent = Instant::now();
        services.create(&PostParams::default(), &crowd::service(n)?).await?;
        let address = format!("10.204.{}.{}", n / 256, n % 256);
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}});
        services.patch_status(&crowd::service_name(n), &PatchParams::default(), &Patch::Strategic(status)).await?;
        for router in object.spec.bgp.iter_mut().flat_map(|bgp| &mut bgp.routers) {
            router.prefixes.push(format!("{address}/32"));
        }
        object = configurations.replace("bare", &PostParams::default(), &object).await?;
        latencies.push(seen.next(PATIENCE).await?.1.duration_since(sent));
    }
    configurations.delete("bare", &DeleteParams::default()).await?;
    crowd::each(0..SERVICES, async |n| {
        services.delete(&crowd::service_name(n), &DeleteParams::default()).await.map(drop)
    })
    .await?;
    Latencies::of(latencies)
}

/// Create one Service after the other, and let the operator do the rest.
async fn clarion(services: &Api<Service>, seen: &mut Seen) -> Result<Latencies> {
    let mut sent = BTreeMap::new();
    let mut next = Instant::now();
    for n in 0..SERVICES {
        sleep_until(next).await;
        next += PERIOD;
        sent.insert(crowd::service_name(n), Instant::now());
        services.create(&PostParams::default(), &crowd::service(n)?).await?;
    }
    let arrived: BTreeMap<String, Instant> = seen.take(SERVICES, PATIENCE).await?.into_iter().collect();
    let mut latencies = Vec::new();
    for service in services.list(&ListParams::default()).await? {
        // That of the API server itself is in the namespace too.
        let Some(sent) = sent.get(&service.name_any()) else { continue };
        // Which address is whose stands in the status.
        let prefix = crowd::addresses(&service).first().map(|address| format!("{address}/32"));
        let at = prefix.as_ref().and_then(|prefix| arrived.get(prefix));
        let at = at.ok_or_else(|| format!("{} has {prefix:?}, which no FRRConfiguration has", service.name_any()))?;
        latencies.push(at.duration_since(*sent));
    }
    Latencies::of(latencies)
}
