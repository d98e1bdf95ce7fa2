//! What Helm, kustomize and OLM install, on a real API server, and the operator with just the rights that it brings.

use std::{collections::BTreeSet, path::PathBuf};

use clarion_envtest::{ControlPlane, Helm, Operator, repository, tools, wait};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject},
};
use rstest::rstest;
use serde_json::{Value, json};

use crate::cluster::{Cluster, basics, endpoints, object, pool, service};

/// Whom `config/`, the chart and the bundle make the operator.
const OPERATOR: &str = "system:serviceaccount:clarion-system:clarion";

fn render(tool: &str, arguments: &[&str]) -> Vec<DynamicObject> {
    let output = std::process::Command::new(tools("packaging").unwrap().join(tool))
        .args(arguments)
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    parse(&String::from_utf8(output.stdout).unwrap())
}

fn parse(text: &str) -> Vec<DynamicObject> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents.into_iter().filter(|document| !document.is_null()).map(object).collect()
}

fn namespace() -> DynamicObject {
    object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "clarion-system"}}))
}

/// The chart with everything on that needs no CRD of others, so that the API server sees all of it.
fn of_helm() -> Vec<DynamicObject> {
    let arguments = ["template", "clarion", "charts/clarion", "--namespace", "clarion-system"];
    let options = "networkPolicy.enabled=true,deletionPolicy.enabled=true,passwordSecrets.enabled=true,\
                   frrK8sPods.enabled=true";
    let arguments: Vec<_> = arguments.into_iter().chain(["--set", options]).collect();
    let mut objects = vec![namespace()];
    objects.extend(render("helm", &arguments));
    objects
}

fn of_kustomize() -> Vec<DynamicObject> {
    render("kustomize", &["build", "config"])
}

/// The bundle, with what OLM makes of the CSV.
fn of_bundle() -> Vec<DynamicObject> {
    let directory = repository().join("bundle/manifests");
    let mut paths: Vec<PathBuf> = directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let all: Vec<_> = paths.iter().flat_map(|path| parse(&std::fs::read_to_string(path).unwrap())).collect();
    let (csvs, mut beside): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|object| object.types.as_ref().unwrap().kind == "ClusterServiceVersion");
    for object in &mut beside {
        if ["Service", "PodDisruptionBudget"].contains(&object.types.as_ref().unwrap().kind.as_str()) {
            object.metadata.namespace = Some("clarion-system".to_owned());
        }
    }
    let install = &csvs[0].data["spec"]["install"]["spec"];
    // In all namespaces at once, OLM gives what the operator asks for in its own as well to the whole cluster.
    let mut rules = install["clusterPermissions"][0]["rules"].as_array().unwrap().clone();
    rules.extend(install["permissions"][0]["rules"].as_array().unwrap().clone());
    let rbac = "rbac.authorization.k8s.io";
    let mut objects = vec![
        namespace(),
        object(json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "clarion", "namespace": "clarion-system"},
        })),
        object(json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole", "metadata": {"name": "clarion.v0-abc"}, "rules": rules,
        })),
        object(json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": "clarion.v0-abc"},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "clarion.v0-abc"},
            "subjects": [{"kind": "ServiceAccount", "name": "clarion", "namespace": "clarion-system"}],
        })),
        object(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "clarion", "namespace": "clarion-system"},
            "spec": install["deployments"][0]["spec"],
        })),
    ];
    beside.append(&mut objects);
    beside.sort_by_key(|object| object.types.as_ref().unwrap().kind != "Namespace");
    beside
}

#[rstest]
#[case::helm(of_helm)]
#[case::kustomize(of_kustomize)]
#[case::bundle(of_bundle)]
#[tokio::test]
async fn the_operator_does_its_work_with_the_rights_that_it_is_given(#[case] objects: fn() -> Vec<DynamicObject>) {
    let cluster = Cluster(ControlPlane::start().await.unwrap());
    cluster.0.install_frr_k8s().await.unwrap();
    cluster.0.apply(&objects()).await.unwrap();
    cluster.0.apply(&basics()).await.unwrap();
    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    cluster.0.apply(&[endpoints("a"), service("a", &["IPv4"])]).await.unwrap();
    cluster.all_announced(&["a"]).await;
    for (kind, name) in [("lbpool", "main"), ("lbpeer", "tor"), ("lbadv", "all")] {
        cluster.becomes(kind, name, "Ready", "True", "Valid").await;
    }
    cluster.services().delete("a", &DeleteParams::default()).await.unwrap();
    wait::until("the withdrawal", async || match cluster.announced().await {
        Ok(announced) if announced.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
    let log = operator.process.log();
    // The names of Secrets and the readiness of Pods are extras that have to be asked for.
    let is_extra = |line: &&str| ["secrets", "pods"].iter().any(|kind| line.contains(&format!("{kind} is forbidden")));
    let missing: Vec<_> = log.lines().filter(|line| line.contains("forbidden") && !is_extra(line)).collect();
    assert_eq!(missing, Vec::<&str>::new(), "a right is missing");
    // It may not do everything: the rights are those of the package.
    let secrets = cluster.0.kubectl(&["auth", "can-i", "list", "secrets", "-n", "default", "--as", OPERATOR]);
    assert!(secrets.is_err(), "{secrets:?}");
}

#[tokio::test]
async fn whoever_installs_for_olm_v1_may_do_so_and_no_more() {
    let control_plane = ControlPlane::start().await.unwrap();
    let text = std::fs::read_to_string(repository().join("olm/v1/clusterextension.yaml")).unwrap();
    let (extension, rights): (Vec<_>, Vec<_>) =
        parse(&text).into_iter().partition(|object| object.types.as_ref().unwrap().kind == "ClusterExtension");
    let account = extension[0].data["spec"]["serviceAccount"]["name"].as_str().unwrap().to_owned();
    control_plane.apply(&rights).await.unwrap();
    let installer = format!("system:serviceaccount:clarion-system:{account}");
    let path = control_plane.directory().join("bundle.yaml");
    let objects: Vec<_> = of_bundle()
        .into_iter()
        .filter(|object| object.types.as_ref().unwrap().kind != "Namespace")
        .map(|object| serde_json::to_value(object).unwrap())
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    std::fs::write(&path, list.to_string()).unwrap();
    let path = path.to_str().unwrap();
    for command in [
        vec!["apply", "--server-side", "-f", path, "--as", &installer],
        // Again, as for an upgrade.
        vec!["apply", "--server-side", "-f", path, "--as", &installer],
        vec!["delete", "--wait=false", "-f", path, "--as", &installer],
    ] {
        control_plane.kubectl(&command).unwrap();
    }
    for (verb, what) in [("list", "secrets"), ("create", "pods"), ("delete", "nodes"), ("delete", "services")] {
        let allowed = control_plane.kubectl(&["auth", "can-i", verb, what, "-A", "--as", &installer]);
        assert!(allowed.is_err(), "{verb} {what}: {allowed:?}");
    }
}

#[tokio::test]
async fn a_pool_in_use_is_not_deleted_where_the_policy_is_installed() {
    let cluster = Cluster::start().await;
    let policy = repository().join("config/components/deletion-policy/policy.yaml");
    let pools: Api<clarion_api::LoadBalancerPool> = Api::all(cluster.0.client());
    cluster.0.apply(&[pool("spare", &["203.0.113.0/29"])]).await.unwrap();
    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    cluster.0.apply(&[endpoints("a"), service("a", &["IPv4"])]).await.unwrap();
    cluster.all_announced(&["a"]).await;
    wait::until("the count of addresses", async || {
        let table = cluster.0.kubectl(&["get", "lbpool", "main"]).unwrap();
        if table.contains("IPv4 1/256") { Ok(()) } else { Err(table) }
    })
    .await
    .unwrap();
    cluster.becomes("lbpool", "spare", "Ready", "True", "Valid").await;

    cluster.0.apply(&parse(&std::fs::read_to_string(policy).unwrap())).await.unwrap();
    // The API server takes a moment to act on a new policy: until then, a dry run is let through.
    let dry_run = DeleteParams { dry_run: true, ..DeleteParams::default() };
    let refused = wait::until("the refusal", async || match pools.delete("main", &dry_run).await {
        Ok(_) => Err("accepted".to_owned()),
        Err(error) => Ok(error.to_string()),
    })
    .await
    .unwrap();
    for words in ["hold 1 addresses of this pool", "clarion addresses", "spec.succeededBy"] {
        assert!(refused.contains(words), "{refused}");
    }
    assert!(pools.delete("main", &DeleteParams::default()).await.is_err());
    pools.delete("spare", &DeleteParams::default()).await.unwrap();
    let named = pools.list(&Default::default()).await.unwrap().items;
    assert_eq!(named.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["main"]);

    // Where no address is held any more, it goes.
    cluster.services().delete("a", &DeleteParams::default()).await.unwrap();
    wait::until("the deletion", async || {
        pools.delete("main", &DeleteParams::default()).await.map(|_| ()).map_err(|error| error.to_string())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn every_metric_of_alerts_and_dashboards_exists() {
    let cluster = Cluster::start().await;
    let mut operator = Operator::start(&cluster.0).unwrap();
    operator.leading().await.unwrap();
    cluster.add_services(&["a"]).await;
    cluster.all_announced(&["a"]).await;
    let (_, metrics) = operator.get("/metrics").await.unwrap();
    let component = |path: &str| {
        let path = repository().join("config/components").join(path);
        parse(&std::fs::read_to_string(path).unwrap()).remove(0).data
    };
    let rules = component("prometheus-rule/prometheusrule.yaml");
    let rules = rules["spec"]["groups"][0]["rules"].as_array().unwrap().iter().map(|rule| rule["expr"].clone());
    let dashboards = component("dashboards/configmap.yaml");
    let dashboard: Value = serde_json::from_str(dashboards["data"]["clarion.json"].as_str().unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap()).map(|target| target["expr"].clone());
    // A metric with labels has no samples before there is something to count, but its type is told.
    let types: Vec<(&str, &str)> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let of = |name: &str| {
        types.iter().find(|(metric, kind)| {
            let suffixes: &[&str] = match *kind {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            suffixes.iter().any(|suffix| name.strip_suffix(suffix) == Some(metric))
        })
    };
    let mut used = BTreeSet::new();
    for expression in rules.chain(targets) {
        let expression = expression.as_str().unwrap();
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in words.filter(|word| word.starts_with("clarion_")) {
            let (metric, _) = of(name).unwrap_or_else(|| panic!("{name} of {expression} is not in:\n{metrics}"));
            used.insert(*metric);
        }
    }
    // A dashboard that leaves out what there is shows less than it could.
    let all: BTreeSet<&str> = types.iter().map(|(metric, _)| *metric).collect();
    assert_eq!(used, all);
}

#[tokio::test]
async fn the_examples_of_the_bundle_are_accepted() {
    let control_plane = ControlPlane::with_clarion().await.unwrap();
    let csv =
        std::fs::read_to_string(repository().join("bundle/manifests/clarion.clusterserviceversion.yaml")).unwrap();
    let csv = parse(&csv).remove(0);
    let examples = &csv.metadata.annotations.unwrap()["alm-examples"];
    let examples: Vec<Value> = serde_json::from_str(examples).unwrap();
    assert_eq!(examples.len(), 5);
    for example in examples {
        let example = object(example);
        if let Some(name) = example.namespace() {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            control_plane.apply(&[object(namespace)]).await.unwrap();
        }
        control_plane.apply(std::slice::from_ref(&example)).await.unwrap();
        // The status is another request; it must fit the schema as well.
        let types = example.types.as_ref().unwrap();
        let kind = types.kind.to_lowercase();
        let patch = json!({"status": example.data["status"]}).to_string();
        let namespace = example.namespace().unwrap_or_else(|| "default".to_owned());
        let arguments = [
            "patch",
            &kind,
            &example.name_any(),
            "-n",
            &namespace,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        control_plane.kubectl(&arguments).unwrap();
        let stored =
            control_plane.kubectl(&["get", &kind, &example.name_any(), "-n", &namespace, "-o", "json"]).unwrap();
        let stored: Value = serde_json::from_str(&stored).unwrap();
        assert_eq!(stored["status"], example.data["status"], "nothing of it is unknown");
    }
}

#[tokio::test]
async fn helm_installs_upgrades_and_leaves_crds_and_pools_when_it_uninstalls() {
    let control_plane = ControlPlane::start().await.unwrap();
    let helm = Helm::new(&control_plane, "clarion-system").unwrap();
    let helm = |arguments: &[&str]| helm.run(arguments).unwrap();
    // A chart of an earlier version, whose CRD says less.
    let old = control_plane.directory().join("chart");
    let copied = std::process::Command::new("cp").arg("-r").arg(repository().join("charts/clarion")).arg(&old).status();
    assert!(copied.unwrap().success());
    let crd = old.join("files/crds/clarionlb.io_loadbalancerpools.yaml");
    let text = std::fs::read_to_string(&crd).unwrap();
    let words = "Which of the free addresses a Service gets.";
    assert!(text.contains(words));
    std::fs::write(&crd, text.replace(words, "Which address.")).unwrap();
    let described = || {
        let path = "{.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.strategy.description}";
        let output = format!("jsonpath={path}");
        control_plane.kubectl(&["get", "crd", "loadbalancerpools.clarionlb.io", "-o", &output]).unwrap()
    };

    let notes = helm(&["install", "clarion", old.to_str().unwrap(), "--create-namespace"]);
    assert!(notes.contains("rollout status deployment/clarion"), "{notes}");
    assert_eq!(described(), "Which address.");
    control_plane.apply(&[pool("main", &["198.51.100.0/24"])]).await.unwrap();
    helm(&["upgrade", "clarion", "charts/clarion", "--set", "replicas=3", "--set", "deletionPolicy.enabled=true"]);
    assert_eq!(described(), words, "the upgrade brings CRDs up to date");
    let replicas = ["get", "deployment", "clarion", "-n", "clarion-system", "-o", "jsonpath={.spec.replicas}"];
    assert_eq!(control_plane.kubectl(&replicas).unwrap(), "3");

    helm(&["uninstall", "clarion"]);
    let left =
        control_plane.kubectl(&["get", "deployments,clusterroles,validatingadmissionpolicies", "-A", "-o", "name"]);
    assert!(!left.unwrap().contains("clarion"));
    assert!(control_plane.kubectl(&["get", "lbpool", "-o", "name"]).unwrap().contains("/main"), "pools stay");
    // And back again: the CRDs that stayed are taken over.
    helm(&["install", "clarion", "charts/clarion"]);
    assert_eq!(control_plane.kubectl(&replicas).unwrap(), "2");
    assert!(control_plane.kubectl(&["get", "lbpool", "-o", "name"]).unwrap().contains("/main"));
}
