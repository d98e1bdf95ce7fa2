//! Traces and logs over OTLP: what arrives, and that nothing waits for a collector that takes none.

use std::{collections::BTreeSet, time::Duration};

use clarion_core::Stage;
use clarion_envtest::{Collector, Manner, Operator, wait};
use rstest::rstest;
use tokio::time::Instant;

use crate::cluster::Cluster;

/// An operator that leads and sends to this endpoint.
async fn start(cluster: &Cluster, endpoint: &str) -> Operator {
    let kubeconfig = cluster.0.operator_kubeconfig();
    let mut operator = Operator::start_with(&cluster.0, &kubeconfig, &["--otlp-endpoint", endpoint]).unwrap();
    operator.leading().await.unwrap();
    operator
}

/// Asks the operator to stop; returns how long that took it.
async fn stop(operator: &mut Operator) -> Duration {
    let asked = Instant::now();
    operator.process.signal("TERM").unwrap();
    assert_eq!(operator.ended().await.unwrap(), 0, "{}", operator.process.log());
    asked.elapsed()
}

#[tokio::test]
async fn plans_writes_and_the_log_arrive() {
    let cluster = Cluster::start().await;
    let collector = Collector::start(Manner::Takes).await.unwrap();
    let mut operator = start(&cluster, collector.endpoint()).await;
    cluster.add_services(&["a"]).await;
    cluster.all_announced(&["a"]).await;
    let stages = BTreeSet::from(Stage::ALL.map(Stage::name));
    wait::until("the plan with its stages, and the writes that followed", async || {
        let taken = collector.taken();
        let complete = taken.spans.iter().filter(|span| span.name == "plan").any(|plan| {
            let inside = taken.spans.iter().filter(|span| span.parent == plan.id).map(|span| span.name.as_str());
            plan.attributes.contains_key("writes") && inside.collect::<BTreeSet<_>>() == stages
        });
        let wrote = |kind: &str, object: &str| {
            taken.spans.iter().filter(|span| span.name == "write").any(|span| {
                let is = |name: &str, value: &str| span.attributes.get(name).is_some_and(|found| found.contains(value));
                is("kind", kind) && is("object", object) && is("outcome", "ok")
            })
        };
        let all = complete && wrote("Service", "default/a") && wrote("FRRConfiguration", "clarion-base-");
        if all { Ok(()) } else { Err(format!("{:?}", taken.spans)) }
    })
    .await
    .unwrap();
    let (_, metrics) = operator.get("/metrics").await.unwrap();
    assert!(!metrics.contains(r#"clarion_otlp_records_total{signal="traces",outcome="sent"} 0"#), "{metrics}");

    stop(&mut operator).await;
    let taken = collector.taken();
    let changes: Vec<_> =
        taken.spans.iter().filter(|span| span.name == "lease").map(|span| &span.attributes["change"]).collect();
    assert_eq!(changes, ["acquired", "released"], "what is left at the end arrives too");
    for line in ["leading", "stopping; waiting for writes under way", "released"] {
        assert!(taken.lines.iter().any(|found| found == line), "{line} is not among {:?}", taken.lines);
    }
    assert_eq!(taken.services, BTreeSet::from(["clarion".to_owned()]));
}

#[rstest]
#[case::that_never_answers(Some(Manner::Hangs))]
#[case::that_refuses(Some(Manner::Refuses))]
#[case::that_is_not_there(None)]
#[tokio::test]
async fn nothing_waits_for_a_collector(#[case] manner: Option<Manner>) {
    let cluster = Cluster::start().await;
    let collector = match manner {
        Some(manner) => Some(Collector::start(manner).await.unwrap()),
        None => None,
    };
    // Nobody listens on port 1.
    let endpoint = collector.as_ref().map_or("http://127.0.0.1:1", Collector::endpoint);
    let mut operator = start(&cluster, endpoint).await;
    let names: Vec<String> = (0..20).map(|n| format!("s{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let tasks = async || {
        let (_, metrics) = operator.get("/metrics").await.unwrap();
        let line = metrics.lines().find_map(|line| line.strip_prefix("clarion_tasks ")).unwrap();
        (line.parse::<u32>().unwrap(), metrics)
    };
    let (before, _) = tasks().await;
    for name in &names {
        let since = Instant::now();
        cluster.add_services(&[name]).await;
        cluster.all_announced(&[name]).await;
        assert!(since.elapsed() < Duration::from_secs(10), "{name} waited for {:?}", since.elapsed());
    }
    let log = wait::until("the log to tell of it", async || {
        let log = operator.process.log();
        if log.contains("does not take what it is sent") { Ok(log) } else { Err(log) }
    })
    .await
    .unwrap();
    let lines = log.lines().filter(|line| line.contains("the OTLP endpoint")).count();
    assert!(lines <= 2, "one of traces, one of logs:\n{log}");
    let (after, metrics) = tasks().await;
    assert!(after <= before + 10, "{before} tasks have become {after}");
    let failed = metrics
        .lines()
        .find(|line| line.starts_with(r#"clarion_otlp_records_total{signal="traces",outcome="failed"}"#));
    assert!(failed.is_some_and(|line| !line.ends_with(" 0")), "{metrics}");
    let took = stop(&mut operator).await;
    assert!(took < Duration::from_secs(5), "it ended after {took:?}");
}
