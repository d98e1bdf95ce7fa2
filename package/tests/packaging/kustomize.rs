//! `config/` with each of its components, by the real kustomize.

use clarion_envtest::repository;
use rstest::rstest;

use crate::tools::{kustomize_with, parse, succeeds, validate};

#[test]
fn the_base_is_without_fault() {
    validate(&succeeds("kustomize", &["build", "config"]));
}

#[rstest]
#[case::service_monitor("service-monitor", &["ServiceMonitor"])]
#[case::pod_monitor("pod-monitor", &["PodMonitor"])]
#[case::prometheus_rule("prometheus-rule", &["PrometheusRule"])]
#[case::network_policy("network-policy", &["NetworkPolicy"])]
#[case::deletion_policy("deletion-policy", &["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"])]
#[case::password_secrets("password-secrets", &["Role", "RoleBinding"])]
#[case::frr_k8s_pods("frr-k8s-pods", &["Role", "RoleBinding"])]
fn a_component_is_without_fault(#[case] component: &str, #[case] kinds: &[&str]) {
    let rendered = kustomize_with(&[component]);
    validate(&rendered);
    let (with, without) = (parse(&rendered), parse(&kustomize_with(&[])));
    let added: Vec<_> =
        with.iter().filter(|object| !without.contains(object)).map(|o| o["kind"].as_str().unwrap()).collect();
    let mut added_kinds = added.clone();
    added_kinds.sort_unstable();
    assert_eq!(added_kinds, kinds);
}

#[test]
fn each_alert_says_what_to_do_and_where_to_read_on() {
    let overview = std::fs::read_to_string(repository().join("docs/alerts.md")).unwrap();
    let rules = crate::tools::file("config/components/prometheus-rule/prometheusrule.yaml");
    let rules = rules[0]["spec"]["groups"][0]["rules"].as_array().unwrap();
    assert!(!rules.is_empty());
    for rule in rules {
        let alert = rule["alert"].as_str().unwrap();
        let page = format!("runbooks/{alert}.md");
        assert!(overview.contains(&format!("| [{alert}]({page}) |")), "docs/alerts.md has nothing about {alert}");
        let runbook = rule["annotations"]["runbook_url"].as_str().unwrap();
        assert!(runbook.ends_with(&format!("/docs/{page}")), "{runbook}");
        let text = std::fs::read_to_string(repository().join("docs").join(&page)).unwrap();
        for part in ["## What it means for users\n", "## Where to look\n", "## What to do\n"] {
            assert!(text.starts_with(&format!("# {alert}\n")) && text.contains(part), "{page} lacks {part}");
        }
    }
    let pages = std::fs::read_dir(repository().join("docs/runbooks")).unwrap().count();
    assert_eq!(pages, rules.len(), "a page of docs/runbooks is of no alert");
}
