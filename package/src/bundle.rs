//! `bundle/`: one `registry+v1` bundle, for OLM v0 and v1.

use serde_json::{Map, Value, json};

use crate::{
    Error, Files, Source,
    csv::csv,
    yaml::{self, at, without_metadata},
};

/// What of `config/` goes beside the CSV; the rest is in it, or is made by OLM.
const BESIDE: [(&str, &str); 5] = [
    ("Service", "clarion-metrics"),
    ("ClusterRole", "clarion-viewer"),
    ("ClusterRole", "clarion-editor"),
    ("ClusterRole", "clarion-metrics-reader"),
    ("PodDisruptionBudget", "clarion"),
];

/// The scorecard's tests.
pub const SCORECARD: [(&str, &str); 6] = [
    ("basic", "basic-check-spec"),
    ("olm", "olm-bundle-validation"),
    ("olm", "olm-crds-have-validation"),
    ("olm", "olm-crds-have-resources"),
    ("olm", "olm-spec-descriptors"),
    ("olm", "olm-status-descriptors"),
];

/// The version of the scorecard that `test/tools/packaging` pins.
const SCORECARD_VERSION: &str = "v1.42.3";

/// Adds `bundle/` and `bundle.Dockerfile`.
pub fn add(source: &Source, files: &mut Files) -> Result<(), Error> {
    let name = &source.about.name;
    files.add(format!("bundle/manifests/{name}.clusterserviceversion.yaml"), yaml::text(&csv(source)?)?);
    for crd in &source.crds {
        let path = format!("bundle/manifests/{}_{}.yaml", at(crd, "/spec/group"), at(crd, "/spec/names/plural"));
        files.add(path, yaml::text(crd)?);
    }
    for (kind, object) in BESIDE {
        // OLM puts it where the operator is.
        let manifest = without_metadata(source.object(kind, object)?.clone(), "namespace");
        files.add(format!("bundle/manifests/{object}.{}.yaml", kind.to_lowercase()), yaml::text(&manifest)?);
    }
    files.add("bundle/metadata/annotations.yaml", yaml::text(&json!({"annotations": annotations(source)}))?);
    files.add("bundle/tests/scorecard/config.yaml", yaml::text(&scorecard())?);
    files.add("bundle.Dockerfile", dockerfile(source));
    Ok(())
}

/// What an image of the bundle says of itself, in its labels too.
fn annotations(source: &Source) -> Map<String, Value> {
    let about = &source.about;
    let of_bundle = [
        ("mediatype.v1", "registry+v1"),
        ("manifests.v1", "manifests/"),
        ("metadata.v1", "metadata/"),
        ("package.v1", &about.name),
        ("channels.v1", &about.channel),
        ("channel.default.v1", &about.channel),
    ];
    let bundle = of_bundle.iter().map(|(key, value)| (format!("operators.operatorframework.io.bundle.{key}"), *value));
    let of_test = [("mediatype.v1", "scorecard+v1"), ("config.v1", "tests/scorecard/")];
    let test = of_test.iter().map(|(key, value)| (format!("operators.operatorframework.io.test.{key}"), *value));
    let openshift = ("com.redhat.openshift.versions".to_owned(), about.openshift_versions.as_str());
    bundle.chain(test).chain([openshift]).map(|(key, value)| (key, json!(value))).collect()
}

fn scorecard() -> Value {
    let test = |(suite, test): &(&str, &str)| {
        json!({
            "image": format!("operator-framework/scorecard-test:{SCORECARD_VERSION}"),
            "entrypoint": ["scorecard-test", test],
            "labels": {"suite": suite, "test": format!("{test}-test")},
            "storage": {"spec": {"mountPath": {}}},
        })
    };
    json!({
        "apiVersion": "scorecard.operatorframework.io/v1alpha3",
        "kind": "Configuration",
        "metadata": {"name": "config"},
        "stages": [{"parallel": true, "tests": SCORECARD.iter().map(test).collect::<Vec<_>>()}],
        "storage": {"spec": {"mountPath": {}}},
    })
}

fn dockerfile(source: &Source) -> String {
    let mut out =
        "# Builds the image of the bundle: buildah bud --file bundle.Dockerfile .\nFROM scratch\n\n".to_owned();
    for (key, value) in annotations(source) {
        out.push_str(&format!("LABEL {key}={}\n", value.as_str().unwrap_or_default()));
    }
    out.push_str("\nCOPY bundle/manifests /manifests/\nCOPY bundle/metadata /metadata/\n");
    out.push_str("COPY bundle/tests/scorecard /tests/scorecard/\n");
    out
}
