//! Manifests and what comes of them, one idea each: `test/golden/*/*.yaml`, each over `test/golden/common.yaml`.

#[path = "../../../test/golden/cases.rs"]
mod cases;

use std::path::PathBuf;

use cases::{Case, documents};
use rstest::rstest;
use serde_json::{Value, json};

use crate::*;

/// What is worth reading of an object: conditions that say something, what a Service has, all of an FRRConfiguration.
fn readable(mut object: Value) -> Option<Value> {
    let name = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{namespace}/{}", object["metadata"]["name"].as_str()?),
        None => object["metadata"]["name"].as_str()?.to_owned(),
    };
    if object["kind"] == "FRRConfiguration" {
        object["metadata"].as_object_mut()?.remove("labels");
        object["metadata"].as_object_mut()?.remove("namespace");
        object.as_object_mut()?.remove("apiVersion");
        for neighbor in object["spec"]["bgp"]["routers"].as_array_mut()?.iter_mut().flat_map(neighbors) {
            // What the API server sets in each.
            for default in ["disableMP", "addressFamilies"] {
                neighbor.as_object_mut()?.remove(default);
            }
            if neighbor["dualStackAddressFamily"] == false {
                neighbor.as_object_mut()?.remove("dualStackAddressFamily");
            }
        }
        return Some(object);
    }
    let mut shown = serde_json::Map::new();
    let addresses = object["status"]["loadBalancer"]["ingress"].as_array().into_iter().flatten();
    let addresses: Vec<Value> = addresses.map(|ingress| ingress["ip"].clone()).collect();
    if object["kind"] == "Service" {
        shown.insert("has".to_owned(), json!(addresses));
    }
    for condition in object["status"]["conditions"].as_array().into_iter().flatten() {
        let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
        let usual =
            ["Valid", "Allocated", "Unconfirmed", "NotAnnounced", "Reserved"].contains(&text("reason").as_str());
        let plain = text("message").ends_with(" yet") || text("reason") != "Unconfirmed";
        if !(usual && plain) {
            let type_ = text("type").trim_start_matches("clarionlb.io/").to_owned();
            shown.insert(type_, json!(format!("{} {}: {}", text("status"), text("reason"), text("message"))));
        }
    }
    let title = format!("{} {name}", object["kind"].as_str()?);
    (!shown.is_empty()).then(|| json!({ title: shown }))
}

fn neighbors(router: &mut Value) -> Vec<&mut Value> {
    router["neighbors"].as_array_mut().into_iter().flatten().collect()
}

#[rstest]
fn golden(#[files("../test/golden/*/*.yaml")] path: PathBuf) {
    let case = Case::read(&path);
    let files = directory(&[("case.yaml", &case.manifests)]);
    let rendered = text(&run(&case.render(files.path())));
    let shown: String = documents(&rendered)
        .into_iter()
        .filter_map(readable)
        .map(|object| format!("---\n{}", serde_saphyr::to_string(&object).unwrap()))
        .collect();
    let [name, area] = [path.file_stem(), path.parent().and_then(|parent| parent.file_name())]
        .map(|part| part.unwrap().to_str().unwrap().to_owned());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(cases::directory().join(area));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, shown));
}

/// The paths of all fields of a schema, without those of labels and selectors, which have many forms.
fn fields(schema: &Value, path: &str, found: &mut Vec<String>) {
    if path.ends_with("elector") || path.ends_with("electors") {
        return;
    }
    let items = &schema["items"];
    if items.is_object() {
        return fields(items, path, found);
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        found.push(path.clone());
        fields(field, &path, found);
    }
}

/// Whether an object has something at a path; of a list, any item counts.
fn has(value: &Value, path: &[&str]) -> bool {
    match (value, path) {
        (Value::Array(items), _) => items.iter().any(|item| has(item, path)),
        (_, []) => !value.is_null(),
        (_, [first, rest @ ..]) => has(&value[first], rest),
    }
}

#[test]
fn every_field_of_every_kind_has_a_case() {
    let pattern = cases::directory().join("*/*.yaml");
    let areas = std::fs::read_dir(cases::directory()).unwrap().map(|entry| entry.unwrap().path());
    let files = areas.filter(|path| path.is_dir()).flat_map(|area| std::fs::read_dir(area).unwrap());
    let files = files.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "yaml"));
    let objects: Vec<Value> = files.flat_map(|path| documents(&std::fs::read_to_string(path).unwrap())).collect();
    let mut missing = Vec::new();
    for crd in documents(&text(&run(&["crds"]))) {
        let kind = &crd["spec"]["names"]["kind"];
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut paths = Vec::new();
        fields(schema, "spec", &mut paths);
        assert!(!paths.is_empty(), "{kind} has no fields");
        let of_kind: Vec<&Value> = objects.iter().filter(|object| object["kind"] == *kind).collect();
        let absent = paths.into_iter().filter(|path| {
            let parts: Vec<&str> = path.split('.').collect();
            !of_kind.iter().any(|object| has(object, &parts))
        });
        missing.extend(absent.map(|path| format!("{kind} {path}")));
    }
    assert!(missing.is_empty(), "not in {}: {missing:#?}", pattern.display());
}
