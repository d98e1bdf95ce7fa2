//! The bundle and the catalog, by the tools of the Operator Framework.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use clarion_envtest::repository;
use rstest::rstest;
use serde_json::Value;

use crate::tools::{all, file, parse, run, succeeds, tool, validate};

/// The scorecard reads `/bundle`, so it runs where that is the bundle.
#[rstest]
#[case("basic-check-spec")]
#[case("olm-bundle-validation")]
#[case("olm-crds-have-validation")]
#[case("olm-crds-have-resources")]
#[case("olm-spec-descriptors")]
#[case("olm-status-descriptors")]
fn the_scorecard_passes(#[case] test: &str) {
    let root = tempfile::tempdir().unwrap();
    copy(&repository().join("bundle"), &root.path().join("bundle"));
    // By a process of its own: what this one writes can't be executed while another test starts a program, which has the file too
    // for a moment.
    assert!(Command::new("cp").arg(tool("scorecard-test")).arg(root.path()).status().unwrap().success());
    let output = Command::new("unshare")
        .args(["--map-root-user", "--root"])
        .arg(root.path())
        .args(["/scorecard-test", test])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", all(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let results = report["results"].as_array().unwrap();
    assert_eq!(results.len(), 1);
    assert_eq!(results[0]["name"], test);
    assert_eq!(results[0]["state"], "pass", "{}", results[0]);
    for told in ["errors", "suggestions"] {
        assert!(results[0][told].as_array().is_none_or(Vec::is_empty), "{}", results[0][told]);
    }
    let config = file("bundle/tests/scorecard/config.yaml");
    let tests = config[0]["stages"][0]["tests"].as_array().unwrap();
    assert!(tests.iter().any(|declared| declared["entrypoint"][1] == test), "the bundle declares the test");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// It exits with 0 whatever it finds, so only what it prints counts.
fn complaints(bundle: &str) -> Vec<String> {
    let output = run("operator-verify", &["manifests", "--operatorhub_validate", "--object_validate", bundle]);
    assert!(output.status.success(), "{}", all(&output));
    // One line tells of the validator that it is called by its old name: there is no flag for the new one.
    let lines = all(&output);
    lines
        .lines()
        .filter(|line| !line.contains(r#"The \"operatorhub\" validator is deprecated"#))
        .map(str::to_owned)
        .collect()
}

#[test]
fn operator_verify_finds_nothing() {
    assert_eq!(complaints("bundle"), Vec::<String>::new());
}

#[test]
fn operator_verify_would_find_something() {
    // It does not look into hidden directories.
    let directory = tempfile::Builder::new().prefix("bundle-").tempdir().unwrap();
    copy(&repository().join("bundle"), directory.path());
    let path = directory.path().join("manifests/clarion.clusterserviceversion.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("capabilities: Full Lifecycle"));
    std::fs::write(&path, text.replace("capabilities: Full Lifecycle", "capabilities: Everything")).unwrap();
    let found = complaints(directory.path().to_str().unwrap()).join("\n");
    assert!(found.contains("Everything"), "{found}");
}

#[test]
fn opm_accepts_the_catalog_and_renders_what_it_holds() {
    succeeds("opm", &["validate", "olm/catalog"]);
    let version = env!("CARGO_PKG_VERSION");
    let image = format!("clarion-bundle:{version}");
    let rendered =
        succeeds("opm", &["render", "bundle", "--output", "yaml", "--migrate", "--alpha-image-ref-template", &image]);
    let catalog = parse(&succeeds("opm", &["render", "olm/catalog", "--output", "yaml"]));
    let name = format!("clarion.v{version}");
    let bundle = catalog.iter().find(|blob| blob["schema"] == "olm.bundle" && blob["name"] == *name).unwrap();
    assert_eq!(*bundle, parse(&rendered)[0]);

    let types: Vec<_> = bundle["properties"].as_array().unwrap().iter().map(|p| p["type"].as_str().unwrap()).collect();
    let count = |type_: &str| types.iter().filter(|found| **found == type_).count();
    assert_eq!((count("olm.gvk"), count("olm.package"), count("olm.csv.metadata")), (5, 1, 1), "{types:?}");
    assert_eq!(types.len(), 7, "OLM v1 refuses requirements, and needs no objects: {types:?}");
    let channel = catalog.iter().find(|blob| blob["schema"] == "olm.channel").unwrap();
    let head = channel["entries"].as_array().unwrap().last().unwrap();
    assert_eq!(head["name"], *name, "the channel ends with this version");
}

#[test]
fn the_csv_says_what_there_is_to_say() {
    let csv = &file("bundle/manifests/clarion.clusterserviceversion.yaml")[0];
    let annotations = csv["metadata"]["annotations"].as_object().unwrap();
    for (name, value) in annotations {
        assert!(value.as_str().is_some_and(|value| !value.is_empty()), "{name} is empty");
    }
    for name in ["alm-examples", "containerImage", "createdAt", "olm.skipRange", "repository", "support"] {
        assert!(annotations.contains_key(name), "{name}");
    }
    let spec = &csv["spec"];
    assert_eq!(spec["icon"].as_array().unwrap().len(), 1);
    assert!(
        spec["customresourcedefinitions"].get("required").is_none(),
        "OLM would install a rival to get FRR-K8s's CRDs"
    );
    let owned = spec["customresourcedefinitions"]["owned"].as_array().unwrap();
    assert_eq!(owned.len(), 5);
    for kind in owned {
        for descriptors in ["specDescriptors", "statusDescriptors"] {
            for descriptor in kind[descriptors].as_array().unwrap() {
                let words = descriptor["description"].as_str().unwrap();
                assert!(!words.is_empty(), "{} {descriptor} is not described", kind["kind"]);
            }
        }
        let conditions =
            kind["statusDescriptors"].as_array().unwrap().iter().find(|d| d["path"] == "conditions").unwrap();
        assert_eq!(conditions["x-descriptors"][0], "urn:alm:descriptor:io.kubernetes.conditions");
    }
    let image = spec["install"]["spec"]["deployments"][0]["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    assert_eq!(spec["relatedImages"][0]["image"], image);
    assert_eq!(annotations["containerImage"], image);
}

#[test]
fn what_lies_beside_the_csv_is_without_fault() {
    let mut text = String::new();
    for entry in repository().join("bundle/manifests").read_dir().unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with("clarion.clusterserviceversion.yaml") {
            text.push_str(&format!("---\n{}", std::fs::read_to_string(path).unwrap()));
        }
    }
    validate(&text);
    // Of what the manifests for OLM hold, Kubernetes knows all but OLM's own kinds.
    let own = |object: &Value| {
        let version = object["apiVersion"].as_str().unwrap();
        !version.starts_with("olm.") && !version.starts_with("operators.")
    };
    let objects: Vec<_> = file("olm/v1/clusterextension.yaml").into_iter().filter(own).collect();
    assert!(objects.len() > 4);
    validate(&objects.iter().map(|o| format!("---\n{o}\n")).collect::<String>());
}

#[test]
fn the_bundle_fits_into_a_config_map() {
    let directory = repository().join("bundle/manifests");
    let size: u64 = directory.read_dir().unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(size < 1 << 20, "{size} bytes even before they are compressed");
}
