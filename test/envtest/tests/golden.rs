//! What `test/golden` has Clarion write, given to the real daemon: it takes all of it, and announces what
//! `clarion render --node` says.

#[path = "../../golden/cases.rs"]
mod cases;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use cases::{Case, documents};
use clarion_envtest::{ControlPlane, Converter, FrrConf, Load};
use serde_json::{Value, json};

use crate::cluster::object;

/// Every daemon looks at all objects of a batch each time.
const BATCH: usize = 100;
/// Each needs a core while it converts.
const DAEMONS: usize = 4;

fn clarion(arguments: &[&str]) -> String {
    let output = Command::new(std::env::var_os("CLARION_BIN").unwrap()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// One node of a case: what Clarion writes for it, and what it says that the daemon makes of that.
struct Expectation {
    name: String,
    load: Load,
    announces: BTreeSet<String>,
}

fn expectations(path: &std::path::Path) -> Vec<Expectation> {
    let case = Case::read(path);
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("case.yaml"), &case.manifests).unwrap();
    let render = case.render(files.path());
    // Ours, and beside them those that others have in the case.
    let objects = documents(&clarion(&render)).into_iter().chain(documents(&case.manifests));
    let objects: Vec<Value> = objects.filter(|object| object["kind"] == "FRRConfiguration").collect();
    let nodes = documents(&case.manifests).into_iter().filter(|object| object["kind"] == "Node");
    let expectation = |node: Value| {
        let name = node["metadata"]["name"].as_str().unwrap();
        let shown = clarion(&[&render[..], &["--node", name]].concat());
        Expectation {
            name: format!("{} on {name}", path.display()),
            load: Load {
                labels: serde_json::from_value(node["metadata"]["labels"].clone()).unwrap(),
                objects: objects.iter().map(|o| serde_json::from_value(o.clone()).unwrap()).collect(),
            },
            announces: announced_by_clarion(&documents(&shown)[0]),
        }
    };
    nodes.map(expectation).collect()
}

/// One line for each route on each session, as `clarion render --node` has them.
fn announced_by_clarion(node: &Value) -> BTreeSet<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut lines = BTreeSet::new();
    for router in list(&node["routers"]) {
        let vrf = router["vrf"].as_str().unwrap_or_default();
        for neighbor in list(&router["neighbors"]) {
            let key = neighbor["address"].as_str().or(neighbor["interface"].as_str()).unwrap();
            lines.insert(format!("{vrf} {key}"));
            for routes in list(&neighbor["announces"]) {
                let local_pref = routes["localPref"].as_i64();
                let communities: BTreeSet<String> =
                    list(&routes["communities"]).iter().map(|c| c.as_str().unwrap().to_owned()).collect();
                for prefix in list(&routes["prefixes"]) {
                    lines.insert(line(vrf, key, prefix.as_str().unwrap(), local_pref, &communities));
                }
            }
        }
    }
    lines
}

/// The same of what the daemon wrote for FRR.
fn announced_by_the_daemon(conf: &FrrConf) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for (vrf, router) in &conf.routers {
        for (key, neighbor) in &router.neighbors {
            lines.insert(format!("{vrf} {key}"));
            for (prefix, route) in &neighbor.announced {
                lines.insert(line(vrf, key, prefix, route.local_pref, &route.communities));
            }
        }
    }
    lines
}

fn line(
    vrf: &str,
    key: &str,
    prefix: impl std::fmt::Display,
    local_pref: Option<i64>,
    communities: &BTreeSet<String>,
) -> String {
    format!("{vrf} {key}: {prefix} {local_pref:?} {communities:?}")
}

#[tokio::test]
async fn the_daemon_announces_what_clarion_says() {
    let mut paths: Vec<_> = std::fs::read_dir(cases::directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .flat_map(|area| std::fs::read_dir(area).unwrap().map(|entry| entry.unwrap().path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 120, "{} cases", paths.len());
    // Many cases come to the same for a node.
    let mut distinct: BTreeMap<String, Expectation> = BTreeMap::new();
    for expectation in paths.iter().flat_map(|path| expectations(path)) {
        let key = json!([expectation.load.labels, expectation.load.objects]).to_string();
        distinct.entry(key).or_insert(expectation);
    }
    let expectations: Vec<Expectation> = distinct.into_values().collect();
    println!("{} cases, {} different nodes", paths.len(), expectations.len());

    let control_plane = ControlPlane::with_frr_k8s().await.unwrap();
    let secret = object(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
        "metadata": {"name": "tor-password", "namespace": "frr-k8s-system"},
        "stringData": {"username": "", "password": "secret"},
    }));
    control_plane.apply(&[secret]).await.unwrap();
    let mut converter = Converter::start(&control_plane, DAEMONS).await.unwrap();
    let mut failures = Vec::new();
    for batch in expectations.chunks(BATCH) {
        let loads: Vec<Load> = batch.iter().map(|expectation| expectation.load.clone()).collect();
        let conversions = converter.convert(&loads).await.unwrap();
        for (Expectation { name, announces, .. }, conversion) in batch.iter().zip(conversions) {
            match conversion {
                Err(refusal) => failures.push(format!("{name}: the daemon says {refusal}")),
                Ok(conf) => {
                    let theirs = announced_by_the_daemon(&conf);
                    if theirs != *announces {
                        failures.push(format!("{name}: Clarion says {announces:#?}, the daemon {theirs:#?}"));
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} differ\n{}", failures.len(), failures.join("\n"));
}
