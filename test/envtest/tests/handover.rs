//! MetalLB's chart goes, and the FRR-K8s that it brought stays: the steps of `docs/migration.md`.

use std::{collections::BTreeMap, path::PathBuf};

use clarion_envtest::{ControlPlane, Helm, Operator, tools};
use kube::ResourceExt as _;

use crate::cluster::{Cluster, basics};

const CRDS: [&str; 4] = ["frrconfigurations", "frrnodestates", "bgpsessionstates", "frrk8sconfigurations"];

/// UID and version of each FRRConfiguration, and the UIDs of FRR-K8s's CRDs.
async fn objects(cluster: &Cluster) -> BTreeMap<String, String> {
    let configurations = cluster.configurations().list(&Default::default()).await.unwrap();
    let ours = configurations
        .items
        .iter()
        .map(|object| (object.name_any(), format!("{} {}", object.uid().unwrap(), object.resource_version().unwrap())));
    let crds = CRDS.iter().map(|plural| {
        let name = format!("{plural}.frrk8s.metallb.io");
        let uid = cluster.0.kubectl(&["get", "crd", &name, "-o", "jsonpath={.metadata.uid}"]).unwrap();
        (name, uid)
    });
    ours.chain(crds).collect()
}

#[tokio::test]
async fn the_steps_out_of_metallbs_chart_leave_frr_k8s_and_every_route() {
    let cluster = Cluster(ControlPlane::with_clarion().await.unwrap());
    let helm = Helm::new(&cluster.0, "metallb-system").unwrap();
    let chart: PathBuf = tools("metallb").unwrap().join("chart");
    let (chart, of_frr_k8s) = (chart.to_str().unwrap(), chart.join("charts/frr-k8s-0.0.25.tgz"));
    // No Pod runs here that would answer for FRR-K8s's webhook.
    let ignore = "frr-k8s.crds.validationFailurePolicy=Ignore";
    helm.run(&["install", "metallb", chart, "--create-namespace", "--set", ignore]).unwrap();
    cluster.0.apply(&basics()).await.unwrap();
    let arguments = ["--frr-k8s-namespace", "metallb-system"];
    let _operator = Operator::start_with(&cluster.0, &cluster.0.operator_kubeconfig(), &arguments).unwrap();
    cluster.add_services(&["a", "b"]).await;
    cluster.all_announced(&["a", "b"]).await;
    let daemons = || {
        let output = "jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.metadata.generation}{\"\\n\"}{end}";
        cluster.0.kubectl(&["get", "daemonsets", "-n", "metallb-system", "-o", output]).unwrap()
    };
    let (before, frr_k8s) = (objects(&cluster).await, daemons());
    let frr_k8s = frr_k8s.lines().find(|line| line.starts_with("metallb-frr-k8s ")).unwrap().to_owned();

    let off = ["--set", "controller.enabled=false,speaker.enabled=false"];
    helm.run(&[["upgrade", "metallb", chart, "--reuse-values"].as_slice(), &off].concat()).unwrap();
    assert_eq!(daemons().trim(), frr_k8s, "of the two DaemonSets FRR-K8s's is left as it was");
    assert_eq!(objects(&cluster).await, before);

    for plural in CRDS {
        let name = format!("{plural}.frrk8s.metallb.io");
        cluster.0.kubectl(&["annotate", "crd", &name, "helm.sh/resource-policy=keep"]).unwrap();
    }
    helm.run(&["upgrade", "metallb", chart, "--reuse-values", "--set", "frr-k8s.crds.enabled=false"]).unwrap();
    helm.run(&["uninstall", "metallb"]).unwrap();
    assert_eq!(daemons(), "");
    assert_eq!(objects(&cluster).await, before);

    let of_frr_k8s = of_frr_k8s.to_str().unwrap();
    let ignore = "crds.validationFailurePolicy=Ignore";
    helm.run(&["install", "frr-k8s", of_frr_k8s, "--take-ownership", "--set", ignore]).unwrap();
    assert!(daemons().contains("frr-k8s"), "{}", daemons());
    assert_eq!(objects(&cluster).await, before);
    cluster.add_services(&["c"]).await;
    cluster.all_announced(&["a", "b", "c"]).await;
}
