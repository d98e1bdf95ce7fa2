//! The chart, by the real Helm.

use rstest::rstest;

use crate::tools::{all, helm_template, parse, run, succeeds, validate};

/// Everything that can be switched on, or set to something else than the default.
const EVERYTHING: &str = r#"
image: {repository: registry.example/clarion, digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", pullPolicy: Always}
imagePullSecrets: [{name: pull}]
replicas: 3
fullnameOverride: bgp
loadBalancerClasses: [example.com/bgp, clarionlb.io/bgp]
classLess: adopt
metallbSharingAcrossNamespaces: true
frrK8sNamespace: metallb-system
ignoreExcludeLabel: true
drainTaints: ["maintenance", "example.com/drain=now:NoExecute"]
drainGrace: 5m
brake: {share: 30, least: 5}
passwordSecrets: {enabled: true}
frrK8sPods: {enabled: true}
lease: {name: bgp, duration: 30s}
maxInFlight: 8
log: {format: text, level: "info,clarion=debug"}
otlp: {endpoint: "http://collector.observability:4318"}
env: [{name: EXTRA, value: "1"}]
serviceAccount: {annotations: {a: b}}
podAnnotations: {c: d}
podLabels: {e: f}
resources: {requests: {cpu: 100m}}
priorityClassName: system-node-critical
topologySpread: {topologyKey: topology.kubernetes.io/zone, maxSkew: 2, whenUnsatisfiable: DoNotSchedule}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}]
affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}
terminationGracePeriodSeconds: 60
podDisruptionBudget: {maxUnavailable: "50%"}
metrics: {tlsSecret: clarion-metrics}
serviceMonitor:
  enabled: true
  interval: 1m
  labels: {release: prometheus}
  tlsConfig: {serverName: clarion-metrics.clarion-system.svc, ca: {secret: {name: clarion-metrics, key: ca.crt}}}
podMonitor: {enabled: true, labels: {release: prometheus}, tokenSecret: {name: scraper, key: token}}
prometheusRule: {enabled: true, labels: {release: prometheus}}
dashboards: {enabled: true, labels: {grafana_dashboard: "yes"}}
networkPolicy: {enabled: true, metricsFrom: [{podSelector: {matchLabels: {app: prometheus}}}], apiServerPorts: [6443]}
deletionPolicy: {enabled: true}
"#;

fn everything() -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("values.yaml");
    std::fs::write(&path, EVERYTHING).unwrap();
    succeeds("helm", &["lint", "--strict", "charts/clarion", "--values", path.to_str().unwrap()]);
    helm_template(&["--values", path.to_str().unwrap()])
}

#[test]
fn it_is_without_fault() {
    let lint = succeeds("helm", &["lint", "--strict", "charts/clarion"]);
    assert!(lint.contains("1 chart(s) linted, 0 chart(s) failed"), "{lint}");
    validate(&helm_template(&[]));
    validate(&everything());
}

#[test]
fn every_setting_arrives() {
    let objects = parse(&everything());
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
    assert_eq!(deployment["metadata"]["name"], "bgp");
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let variables = container["env"].as_array().unwrap();
    let variable = |name: &str| {
        let found = variables.iter().find(|variable| variable["name"] == name);
        found.unwrap_or_else(|| panic!("{name} is not set"))["value"].as_str().unwrap()
    };
    for (name, value) in [
        ("CLARION_LOAD_BALANCER_CLASS", "example.com/bgp,clarionlb.io/bgp"),
        ("CLARION_CLASS_LESS", "adopt"),
        ("CLARION_METALLB_SHARING_ACROSS_NAMESPACES", "true"),
        ("CLARION_FRR_K8S_NAMESPACE", "metallb-system"),
        ("CLARION_IGNORE_EXCLUDE_LB", "true"),
        ("CLARION_DRAIN_TAINTS", "maintenance,example.com/drain=now:NoExecute"),
        ("CLARION_DRAIN_GRACE", "5m"),
        ("CLARION_BRAKE_SHARE", "30"),
        ("CLARION_BRAKE_LEAST", "5"),
        ("CLARION_LEASE_NAME", "bgp"),
        ("CLARION_LEASE_DURATION", "30s"),
        ("CLARION_MAX_IN_FLIGHT", "8"),
        ("CLARION_LOG_FORMAT", "text"),
        ("CLARION_METRICS_CERTIFICATE", "/etc/clarion/metrics/tls.crt"),
        ("CLARION_METRICS_KEY", "/etc/clarion/metrics/tls.key"),
        ("RUST_LOG", "info,clarion=debug,kube_client=off"),
        ("EXTRA", "1"),
    ] {
        assert_eq!(variable(name), value, "{name}");
    }
    assert!(container["image"].as_str().unwrap().starts_with("registry.example/clarion@sha256:0123"));
    assert_eq!(container["resources"]["limits"]["memory"], "512Mi", "what is not set has its default");
    for (pointer, value) in [
        ("/priorityClassName", "system-node-critical"),
        ("/containers/0/volumeMounts/0/mountPath", "/etc/clarion/metrics"),
        ("/volumes/0/secret/secretName", "clarion-metrics"),
        ("/imagePullSecrets/0/name", "pull"),
        ("/topologySpreadConstraints/0/whenUnsatisfiable", "DoNotSchedule"),
        ("/nodeSelector/kubernetes.io~1os", "linux"),
        ("/tolerations/0/operator", "Exists"),
        (
            "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchExpressions/0/key",
            "a",
        ),
    ] {
        assert_eq!(pod.pointer(pointer).unwrap(), value, "{pointer}");
    }
    let lease = objects.iter().find(|object| object["kind"] == "Role" && object["metadata"]["name"] == "bgp").unwrap();
    assert_eq!(lease["rules"][1]["resourceNames"][0], "bgp", "it may use the Lease that it is told to use");
    for name in ["bgp-password-secrets", "bgp-frr-k8s-pods"] {
        let role = objects.iter().find(|object| object["metadata"]["name"] == name).unwrap();
        assert_eq!(role["metadata"]["namespace"], "metallb-system");
    }
    let network = objects.iter().find(|object| object["kind"] == "NetworkPolicy").unwrap();
    let endpoint = |kind: &str, field: &str| {
        let monitor = objects.iter().find(|object| object["kind"] == kind).unwrap();
        let endpoint = monitor["spec"][field][0].clone();
        assert_eq!((&endpoint["scheme"], &endpoint["port"]), (&"https".into(), &"metrics".into()), "{endpoint}");
        endpoint
    };
    let by_service = endpoint("ServiceMonitor", "endpoints");
    assert!(by_service["tlsConfig"]["insecureSkipVerify"].is_null(), "who names an issuer has it checked");
    assert_eq!(by_service["tlsConfig"]["ca"]["secret"]["key"], "ca.crt");
    let by_pod = endpoint("PodMonitor", "podMetricsEndpoints");
    assert_eq!(by_pod["authorization"]["credentials"]["name"], "scraper");
    assert_eq!(by_pod["tlsConfig"]["insecureSkipVerify"], true);
    let ports = network["spec"]["egress"].as_array().unwrap().iter().flat_map(|rule| rule["ports"].as_array().unwrap());
    let ports: Vec<_> = ports.map(|port| port["port"].as_u64().unwrap()).collect();
    assert_eq!(ports, [6443, 4318, 53, 53]);
    assert_eq!(
        network["spec"]["podSelector"]["matchLabels"], deployment["spec"]["selector"]["matchLabels"],
        "it is about our Pods alone"
    );
}

#[test]
fn every_variable_is_one_that_the_operator_reads() {
    let help = std::process::Command::new(clarion_envtest::Operator::binary().unwrap())
        .args(["run", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let template =
        std::fs::read_to_string(clarion_envtest::repository().join("charts/clarion/templates/deployment.yaml"))
            .unwrap();
    let read = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_');
        words.filter(|word| word.starts_with("CLARION_")).map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
    };
    let (read, set) = (read(&help), read(&template));
    assert!(set.is_subset(&read), "the operator does not know {:?}", set.difference(&read).collect::<Vec<_>>());
    // Probes ask at the port that the Deployment names, so moving it would only break them.
    let left_out: Vec<_> = read.difference(&set).map(String::as_str).collect();
    assert_eq!(left_out, ["CLARION_HEALTH_ADDR"], "every other flag has a value in the chart");
}

#[rstest]
#[case("replica=3")]
#[case("replicas=many")]
#[case("image.name=clarion")]
#[case("classLess=perhaps")]
#[case("drainGrace=soon")]
#[case("brake.share=101")]
#[case("log.format=xml")]
#[case("otlp.endpoint=collector:4317")]
#[case("deletionPolicy.enable=true")]
#[case("networkPolicy.apiServerPorts={70000}")]
#[case("metrics.tlsSecret=Not A Name")]
#[case("serviceMonitor.tlsConfig.insecure=true")]
fn unknown_and_wrong_values_are_refused(#[case] setting: &str) {
    let output = run("helm", &["template", "clarion", "charts/clarion", "--set", setting]);
    assert!(!output.status.success(), "{setting} is accepted");
    let name = setting.split(['=', '.']).next().unwrap();
    assert!(all(&output).contains(name), "{}", all(&output));
}

#[test]
fn crds_stay_when_the_release_goes_and_can_be_left_out() {
    let crds =
        |text: &str| parse(text).into_iter().filter(|o| o["kind"] == "CustomResourceDefinition").collect::<Vec<_>>();
    let with = crds(&helm_template(&[]));
    assert_eq!(with.len(), 5);
    for crd in with {
        assert_eq!(crd["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    }
    assert!(crds(&helm_template(&["--set", "crds.install=false"])).is_empty());
}

#[test]
fn two_releases_do_not_get_in_each_others_way() {
    let names = |release: &str| {
        let rendered = succeeds("helm", &["template", release, "charts/clarion", "--set", "crds.install=false"]);
        parse(&rendered)
            .iter()
            .map(|object| format!("{} {}", object["kind"], object["metadata"]["name"]))
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert!(names("one").is_disjoint(&names("two")));
}
