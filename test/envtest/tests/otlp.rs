//! Traces and logs over OTLP: what arrives, and that nothing waits for a collector that takes none.

use std::collections::BTreeSet;

use clarion_core::Stage;
use clarion_envtest::{Collector, Manner, Operator, Process, free_port, tools, wait, words};
use rstest::rstest;
use serde_json::json;

use crate::cluster::Cluster;

/// An operator that leads and sends to this endpoint.
async fn start(cluster: &Cluster, endpoint: &str) -> Operator {
    let kubeconfig = cluster.0.operator_kubeconfig();
    let mut operator = Operator::start_with(&cluster.0, &kubeconfig, &["--otlp-endpoint", endpoint]).unwrap();
    operator.leading().await.unwrap();
    operator
}

/// Asks the operator to stop, and waits until it has.
async fn stop(operator: &mut Operator) {
    operator.process.signal("TERM").unwrap();
    assert_eq!(operator.ended().await.unwrap(), 0, "{}", operator.process.log());
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
        cluster.add_services(&[name]).await;
        cluster.all_announced(&[name]).await;
    }
    let log = wait::until("the log to tell of it", async || {
        let log = operator.process.log();
        if log.contains("does not take what it is sent") { Ok(log) } else { Err(log) }
    })
    .await
    .unwrap();
    let lines = log.lines().filter(|line| line.contains("the OTLP endpoint")).count();
    assert!(lines <= 2, "one of traces, one of logs:\n{log}");
    let records = |metrics: &str, outcome: &str| {
        let prefix = format!(r#"clarion_otlp_records_total{{signal="traces",outcome="{outcome}"}} "#);
        metrics.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap().parse::<u32>().unwrap()
    };
    // What the log told of may have been logs, which are sent apart.
    let (after, metrics) = wait::until("traces to be counted as failed", async || {
        let (tasks, metrics) = tasks().await;
        if records(&metrics, "failed") > 0 { Ok((tasks, metrics)) } else { Err(metrics) }
    })
    .await
    .unwrap();
    assert!(after <= before + 10, "{before} tasks have become {after}");
    assert_eq!(records(&metrics, "sent"), 0, "all has an address and is announced, and nothing has arrived");
    stop(&mut operator).await;
}

#[tokio::test]
async fn a_collector_of_open_telemetry_takes_them() {
    let cluster = Cluster::start().await;
    let endpoint = format!("127.0.0.1:{}", free_port().unwrap());
    let pipeline = json!({"receivers": ["otlp"], "exporters": ["debug"]});
    let configuration = json!({
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": endpoint}}}},
        "exporters": {"debug": {"verbosity": "detailed", "sampling_initial": 1_000_000}},
        "service": {
            "pipelines": {"traces": pipeline, "logs": pipeline},
            "telemetry": {"metrics": {"level": "none"}},
        },
    });
    let file = cluster.0.directory().join("collector.yaml");
    std::fs::write(&file, configuration.to_string()).unwrap();
    let program = tools("collector").unwrap().join("collector");
    let arguments = ["--config".to_owned(), format!("file:{}", file.display())];
    let log = cluster.0.directory().join("collector.log");
    let no_environment: [(&str, &str); 0] = [];
    let collector = Process::start("collector", &log, program, arguments, no_environment).unwrap();
    wait::until("the collector to listen", async || {
        tokio::net::TcpStream::connect(&endpoint)
            .await
            .map(drop)
            .map_err(|error| format!("{error}: {}", collector.log()))
    })
    .await
    .unwrap();

    let mut operator = start(&cluster, &format!("http://{endpoint}")).await;
    cluster.add_services(&["a"]).await;
    cluster.all_announced(&["a"]).await;
    stop(&mut operator).await;
    wait::until("what the operator has sent", async || {
        let text = words(&collector.log());
        let expected =
            ["service.name: Str(clarion)", "Name : plan", "Name : transition", "Name : write", "Body: Str(leading)"];
        match expected.iter().find(|expected| !text.contains(*expected)) {
            Some(missing) => Err(format!("{missing} is not in: {text}")),
            None => Ok(()),
        }
    })
    .await
    .unwrap();
}
