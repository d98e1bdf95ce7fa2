//! Clarion as a plugin of kubectl: what `make release` packs, installed by the real krew and used by the real kubectl.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clarion_envtest::{Operator, repository, tools};
use tempfile::TempDir;

use crate::tools::all;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A user's home, with the archives and the manifest of a release in it, and what krew has installed of them.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let binary = Operator::binary().unwrap();
        for architecture in ["amd64", "arm64"] {
            let archive = home.path(&format!("clarion-{VERSION}-linux-{architecture}.tar.gz"));
            home.run(&repository().join("scripts/archive"), &[binary.to_str().unwrap(), archive.to_str().unwrap()]);
        }
        let manifest = home.run(&repository().join("scripts/krew"), &[VERSION, home.0.path().to_str().unwrap()]);
        std::fs::write(home.path("clarion.yaml"), manifest).unwrap();
        home
    }

    fn install(&self) {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let archive = self.path(&format!("clarion-{VERSION}-linux-{architecture}.tar.gz"));
        let (manifest, archive) = (self.manifest(), format!("--archive={}", archive.display()));
        self.run(&krew("krew"), &["install", &format!("--manifest={manifest}"), &archive]);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn manifest(&self) -> String {
        self.path("clarion.yaml").display().to_string()
    }

    /// Runs a program as this user, with what krew installs and kubectl in the PATH.
    fn run(&self, program: &Path, arguments: &[&str]) -> String {
        let paths = [self.path("krew/bin"), tools("kubernetes").unwrap()];
        let path = std::env::join_paths(
            paths.into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
        );
        let output = Command::new(program)
            .args(arguments)
            .current_dir(self.0.path())
            .env("HOME", self.0.path())
            .env("KREW_ROOT", self.path("krew"))
            .env("PATH", path.unwrap())
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{} {arguments:?}: {}", program.display(), all(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        self.run(&tools("kubernetes").unwrap().join("kubectl"), arguments)
    }
}

fn krew(name: &str) -> PathBuf {
    tools("krew").unwrap().join(name)
}

#[test]
fn krew_installs_it_and_kubectl_runs_and_completes_it() {
    let home = Home::new();
    home.run(&krew("validate-krew-manifest"), &["--manifest", &home.manifest(), "--skip-install"]);
    home.install();
    assert!(home.kubectl(&["clarion", "version"]).contains(VERSION));
    let help = home.kubectl(&["clarion", "explain", "--help"]);
    assert!(help.contains("Usage: kubectl clarion explain"), "{help}");

    // As the caveats tell users to.
    let manifest = std::fs::read_to_string(home.path("clarion.yaml")).unwrap();
    let line = manifest.lines().find(|line| line.trim_start().starts_with("ln -s ")).unwrap();
    home.run(Path::new("sh"), &["-c", line]);
    let completed = |words: &[&str]| {
        let words: Vec<&str> = ["__complete", "clarion"].into_iter().chain(words.iter().copied()).collect();
        home.kubectl(&words)
    };
    let commands = completed(&["ex"]);
    assert!(commands.starts_with("explain\t"), "{commands}");
    assert!(commands.ends_with(":4\n"), "no names of files are offered beside it: {commands}");
    let kinds = completed(&["explain", ""]);
    for kind in ["service\t", "address\t", "node\t", "peer\t"] {
        assert!(kinds.contains(kind), "{kinds}");
    }
    let flags = completed(&["status", "--al"]);
    assert!(flags.starts_with("--all\t"), "{flags}");
    let formats = completed(&["graph", "-o", ""]);
    assert!(formats.contains("svg") && formats.contains("dot"), "{formats}");
    std::fs::create_dir(home.path("manifests")).unwrap();
    let directories = completed(&["check", "-f", "mani"]);
    assert!(directories.starts_with("manifests/\n:6\n"), "no space after a directory: {directories}");
    assert!(!completed(&[""]).contains("__complete"), "what nobody is to type is not offered");
}

#[test]
fn an_archive_has_what_belongs_beside_the_binary() {
    let home = Home::new();
    let archive = home.path(&format!("clarion-{VERSION}-linux-amd64.tar.gz"));
    home.run(Path::new("tar"), &["--extract", "--file", archive.to_str().unwrap()]);
    let read = |path: &str| std::fs::read_to_string(home.path(path)).unwrap();
    assert_eq!(read("LICENSE"), std::fs::read_to_string(repository().join("LICENSE")).unwrap());
    assert!(read("man/clarion-explain-service.1").contains(".TH clarion-explain-service 1"));
    for (path, words) in [
        ("completions/_clarion", "#compdef clarion"),
        ("completions/clarion.fish", "complete -c clarion"),
        ("completions/clarion.bash", "complete -F _clarion"),
    ] {
        assert!(read(path).contains(words), "{path}");
    }
    // What bash does when TAB is pressed after `clarion status --al`.
    let tab = "source completions/clarion.bash; COMP_WORDS=(clarion status --al); COMP_CWORD=2; \
               _clarion clarion --al status; echo ${COMPREPLY[@]}";
    assert_eq!(home.run(Path::new("bash"), &["--norc", "-c", tab]), "--all\n");

    let again = Home::new();
    let other = again.path(&format!("clarion-{VERSION}-linux-amd64.tar.gz"));
    assert_eq!(std::fs::read(archive).unwrap(), std::fs::read(other).unwrap(), "the same files, the same archive");
}
