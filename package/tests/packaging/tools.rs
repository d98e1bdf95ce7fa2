//! The real tools, and what they render.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use clarion_envtest::{relative, repository, tools};
use serde_json::Value;

/// A tool that `test/tools/build packaging` builds.
pub fn tool(name: &str) -> PathBuf {
    tools("packaging").unwrap().join(name)
}

/// Runs a tool in the root of the repository.
pub fn run(name: &str, arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(tool(name))
        .args(arguments)
        .current_dir(repository())
        // Helm keeps caches and settings there.
        .env("HOME", home.path())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Everything that a process printed.
pub fn all(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What a tool prints, if it does not complain.
pub fn succeeds(name: &str, arguments: &[&str]) -> String {
    let output = run(name, arguments);
    assert!(output.status.success(), "{name} {arguments:?}: {}", all(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The documents of a YAML text.
pub fn parse(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

/// The documents of a file of the repository.
pub fn file(path: &str) -> Vec<Value> {
    parse(&std::fs::read_to_string(repository().join(path)).unwrap())
}

/// What the chart renders as release `clarion` in namespace `clarion-system`.
pub fn helm_template(arguments: &[&str]) -> String {
    let mut all = vec!["template", "clarion", "charts/clarion", "--namespace", "clarion-system"];
    all.extend(arguments);
    succeeds("helm", &all)
}

/// What kustomize renders of `config/` with these components.
pub fn kustomize_with(components: &[&str]) -> String {
    // Kustomize takes no absolute paths.
    let directory = tempfile::tempdir().unwrap();
    let mut text = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n".to_owned();
    let repository = relative(directory.path(), &repository()).unwrap();
    text.push_str(&format!("  - {repository}/config\ncomponents:\n"));
    for component in components {
        text.push_str(&format!("  - {repository}/config/components/{component}\n"));
    }
    if components.is_empty() {
        text = text.replace("components:\n", "");
    }
    std::fs::write(directory.path().join("kustomization.yaml"), text).unwrap();
    succeeds("kustomize", &["build", directory.path().to_str().unwrap()])
}

/// Judges manifests by the schemas of a version of Kubernetes, offline.
pub fn validate(text: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rendered.yaml");
    std::fs::write(&path, text).unwrap();
    for version in ["1.31", "1.34", "1.37"] {
        let arguments = ["-m", "kubernetes_validate", "--strict", "-k", version, path.to_str().unwrap()];
        let output = succeeds("python/bin/python", &arguments);
        for line in output.lines() {
            // Of kinds that are not Kubernetes' own there is no schema here.
            let judged = line.starts_with("INFO") || line.contains("monitoring.coreos.com");
            assert!(judged, "{line}");
        }
        let count = parse(text).iter().filter(|object| object["apiVersion"] != "monitoring.coreos.com/v1").count();
        assert_eq!(output.lines().filter(|line| line.starts_with("INFO")).count(), count, "{output}");
    }
}
