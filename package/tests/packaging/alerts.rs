//! The alerts, by the real promtool: `alerts.yaml` says when each fires.

use std::{collections::BTreeSet, process::Command};

use clarion_envtest::{repository, tools};
use serde_json::{Value, json};

use crate::tools::{all, file};

fn groups() -> Value {
    file("config/components/prometheus-rule/prometheusrule.yaml")[0]["spec"]["groups"].clone()
}

fn rules() -> Vec<Value> {
    groups()[0]["rules"].as_array().unwrap().clone()
}

/// Runs promtool on `alerts.yaml`, with these rules.
fn promtool(rules: &Value) -> (bool, String) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("rules.yaml"), json!({"groups": rules}).to_string()).unwrap();
    let tests = directory.path().join("alerts.yaml");
    std::fs::copy(repository().join("package/tests/packaging/alerts.yaml"), &tests).unwrap();
    let promtool = tools("prometheus").unwrap().join("promtool");
    let output = Command::new(promtool).args(["test", "rules"]).arg(tests).output().unwrap();
    (output.status.success(), all(&output))
}

/// The rules with the one annotation that the tests look at.
fn summarized() -> Value {
    let mut groups = groups();
    for rule in groups[0]["rules"].as_array_mut().unwrap() {
        rule["annotations"].as_object_mut().unwrap().retain(|name, _| name == "summary");
    }
    groups
}

#[test]
fn each_alert_fires_in_its_case_alone() {
    let (passed, told) = promtool(&summarized());
    assert!(passed, "{told}");
}

#[test]
fn an_alert_that_is_not_what_it_was_is_seen() {
    // Each as it would be with another duration, and without its condition.
    for (index, rule) in rules().iter().enumerate() {
        let changed = |field: &str, value: &str| {
            let mut groups = summarized();
            groups[0]["rules"][index][field] = json!(value);
            promtool(&groups)
        };
        for (field, value) in [("for", "0s"), ("for", "1h"), ("expr", "vector(0) > 1")] {
            assert!(!changed(field, value).0, "{} with {field}: {value} passes", rule["alert"]);
        }
    }
}

#[test]
fn each_alert_is_tested_firing_and_silent() {
    let tests = file("package/tests/packaging/alerts.yaml").remove(0);
    let tests = tests["tests"].as_array().unwrap().iter().flat_map(|test| test["alert_rule_test"].as_array().unwrap());
    let (firing, silent): (Vec<_>, Vec<_>) = tests.partition(|test| test["exp_alerts"].is_array());
    let names = |tests: Vec<&Value>| -> BTreeSet<String> {
        tests.into_iter().map(|test| test["alertname"].as_str().unwrap().to_owned()).collect()
    };
    let alerts: BTreeSet<String> = rules().iter().map(|rule| rule["alert"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names(firing), alerts);
    assert_eq!(names(silent), alerts);
}
