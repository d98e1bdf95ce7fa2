//! The core is pure: nothing that it depends on does I/O, keeps a runtime or logs; and clippy refuses clocks in it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking, and runs cargo")]

use std::{collections::BTreeSet, process::Command};

fn tree(arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", "clarion-core", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn direct_dependencies_are_the_api_and_libraries_of_values() {
    let direct = tree(&["--depth", "1"]);
    let expected = ["clarion-core", "clarion-api", "foldhash", "ipnet", "itertools", "smol_str", "thiserror"];
    assert_eq!(direct, expected.map(str::to_owned).into());
}

#[test]
fn nothing_below_does_io_or_logs() {
    let all = tree(&[]);
    let banned = [
        "async-std",
        "axum",
        "hyper",
        "hyper-util",
        "kube-client",
        "kube-runtime",
        "libc",
        "log",
        "mio",
        "nix",
        "openssl",
        "rand",
        "reqwest",
        "rustix",
        "rustls",
        "smol",
        "socket2",
        "tokio",
        "tower",
        "tracing",
        "tracing-core",
        "chrono",
        "time",
        "uuid",
        "getrandom",
    ];
    let found: Vec<_> = banned.iter().filter(|name| all.contains(**name)).collect();
    assert!(found.is_empty(), "clarion-core depends on {found:?}");
    assert!(all.contains("kube-core"), "the tree was read: {all:?}");
}

#[test]
fn clocks_files_sockets_and_threads_are_refused_by_lint() {
    let rules = include_str!("../clippy.toml");
    for banned in
        ["SystemTime::now", "Instant::now", "Timestamp::now", "std::fs::read", "TcpStream::connect", "std::env::var"]
    {
        assert!(rules.contains(banned), "{banned}");
    }
}
