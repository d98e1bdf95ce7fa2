//! `make release`.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use clarion_envtest::{Operator, repository};

use crate::tools::all;

fn release(directory: &Path, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(directory.join("scripts/release"));
    for name in ["VERSION", "IMAGE", "DRY_RUN"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap()
}

/// The version after that of the workspace.
fn next() -> String {
    let (head, patch) = env!("CARGO_PKG_VERSION").split('-').next().unwrap().rsplit_once('.').unwrap();
    format!("{head}.{}", patch.parse::<u64>().unwrap() + 1)
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=test", "-c", "user.email=test@localhost"])
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", all(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_dry_run_sets_the_version_everywhere_and_changes_nothing_here() {
    let before = git(&repository(), &["status", "--porcelain"]);
    let version = next();
    let image = format!("registry.example/clarion@sha256:{}", "0123456789abcdef".repeat(4));
    let binary = Operator::binary().unwrap();
    let variables =
        [("VERSION", &*version), ("DRY_RUN", "1"), ("IMAGE", &image), ("CLARION_BIN", binary.to_str().unwrap())];
    let output = release(&repository(), &variables);
    let text = all(&output);
    assert!(output.status.success(), "{text}");
    assert_eq!(git(&repository(), &["status", "--porcelain"]), before);
    for part in [
        format!("+version = \"{version}\""),
        format!("+## {version} - "),
        format!("+appVersion: \"{version}\""),
        "+    newName: registry.example/clarion".to_owned(),
        format!("clarion-{version}.cdx.json"),
        format!("clarion-{version}.tgz"),
        format!("clarion-{version}-linux-amd64.tar.gz"),
        format!("clarion-{version}-linux-arm64.tar.gz"),
        "  clarion.yaml".to_owned(),
        format!("git tag --annotate v{version}"),
        "package/released/crds/clarionlb.io_routerpeers.yaml".to_owned(),
        "package/released/catalog.yaml".to_owned(),
        format!("clarion-catalog:{version}"),
    ] {
        assert!(text.contains(&part), "{part} is not in:\n{text}");
    }

    // What it prepared is one thing: the same image and version in all ways to install.
    let tree = target().join("dry-run/tree");
    let read = |path: &str| std::fs::read_to_string(tree.join(path)).unwrap();
    for path in ["bundle/manifests/clarion.clusterserviceversion.yaml", "dist/install.yaml"] {
        assert!(read(path).contains(&image), "{path}");
    }
    let values = read("charts/clarion/values.yaml");
    assert!(
        values.contains("  repository: registry.example/clarion\n") && values.contains("  digest: sha256:0123"),
        "{values}"
    );
    let bill: serde_json::Value = serde_json::from_str(&read(&format!("dist/clarion-{version}.cdx.json"))).unwrap();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    assert_eq!(bill["metadata"]["component"]["name"], "clarion");
    let components = bill["components"].as_array().unwrap();
    for name in ["kube", "rustls", "clarion-core"] {
        assert!(components.iter().any(|component| component["name"] == name), "{name} is not in the bill");
    }
    let sums =
        Command::new("sha256sum").args(["--check", "SHA256SUMS"]).current_dir(tree.join("dist")).output().unwrap();
    assert!(sums.status.success(), "{}", all(&sums));

    let plugin = &crate::tools::parse(&read("dist/clarion.yaml"))[0];
    assert_eq!(plugin["spec"]["version"], format!("v{version}"));
    let platforms = plugin["spec"]["platforms"].as_array().unwrap();
    assert_eq!(platforms.len(), 2);
    for platform in platforms {
        let file = platform["uri"].as_str().unwrap().rsplit('/').next().unwrap();
        let line = format!("{}  {file}\n", platform["sha256"].as_str().unwrap());
        assert!(read("dist/SHA256SUMS").contains(&line), "{line}");
    }

    // The release after it follows it, and is compared with it.
    git(&tree, &["add", "--all"]);
    git(&tree, &["commit", "--quiet", "--message", "Release"]);
    let output = release(&tree, &[("VERSION", &version)]);
    assert!(!output.status.success() && all(&output).contains("is not newer than"), "{}", all(&output));
    let released = crate::tools::parse(&read("package/released/catalog.yaml"));
    assert_eq!(released.len(), 1);
    assert_eq!(released[0]["name"], format!("clarion.v{version}"));
}

/// Where cargo builds, which is where this test lies.
fn target() -> std::path::PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(3).unwrap().to_owned()
}

#[test]
fn what_can_not_be_a_release_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for path in ["scripts/release", "Cargo.toml", "CHANGELOG.md"] {
        let target = directory.path().join(path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(repository().join(path), target).unwrap();
    }
    git(directory.path(), &["init", "--quiet"]);
    git(directory.path(), &["add", "--all"]);
    git(directory.path(), &["commit", "--quiet", "--message", "All"]);
    let refused = |variables: &[(&str, &str)], why: &str| {
        let output = release(directory.path(), variables);
        assert!(!output.status.success(), "{variables:?} is accepted");
        assert!(all(&output).contains(why), "{}", all(&output));
        assert_eq!(git(directory.path(), &["diff", "--name-only", "HEAD", "--", "Cargo.toml"]), "");
    };
    refused(&[], "which version?");
    for bad in ["1.2", "v1.2.3", "1.2.3.4", "01.2.3", "1.2.3-", "1.2.x", "latest"] {
        refused(&[("VERSION", bad)], "is not a semantic version");
    }
    refused(&[("VERSION", "0.0.1")], "older than");
    refused(&[("VERSION", &next()), ("IMAGE", "registry.example/clarion:latest")], "is not an image with its digest");

    let change = |text: &str, message: &str| {
        std::fs::write(directory.path().join("CHANGELOG.md"), text).unwrap();
        git(directory.path(), &["add", "--all"]);
        git(directory.path(), &["commit", "--quiet", "--message", message]);
    };
    change("# Changelog\n\n## Unreleased\n\n## 99.0.0-rc.1 - 2026-01-01\n\n- Something\n", "Released");
    refused(&[("VERSION", "98.9.9")], "98.9.9 is not newer than 99.0.0-rc.1");
    refused(&[("VERSION", "99.0.0-rc.1")], "is not newer");
    refused(&[("VERSION", "99.0.0")], "nothing under Unreleased");

    std::fs::write(directory.path().join("left"), "").unwrap();
    refused(&[("VERSION", "99.0.0")], "the tree has changes");
}
