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
        let usual = ["Valid", "Allocated", "Unconfirmed", "Reserved"].contains(&text("reason").as_str());
        let plain = text("message").ends_with("not known to this version") || text("reason") != "Unconfirmed";
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
