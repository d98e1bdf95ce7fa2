//! What is printed fits into 100 columns, for names of an ordinary length.

use crate::*;

const WIDTH: usize = 100;

/// Snapshots of what is not for people to read line by line: pictures, JSON, and YAML, whose texts are those of the objects.
const NO_TEXT: [&str; 5] = ["graph__", "render__", "node__", "commands__diff_", "shadow__json_"];

/// What begins a line that is told on standard error, whole, so that it is found by a search for a part of it.
const TOLD: [&str; 5] = ["clarion: ", "left out: ", "kept: ", "changed: ", "cut-over: "];

#[test]
fn every_output_of_the_tests_fits() {
    let directory = repository().join("operator/tests/cli/snapshots");
    let mut too_long = Vec::new();
    for file in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap().trim_start_matches("cli__").to_owned();
        if NO_TEXT.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let snapshot = std::fs::read_to_string(&file).unwrap();
        // After what insta says of it.
        let (_, printed) = snapshot.trim_start_matches("---\n").split_once("\n---\n").unwrap();
        let lines = printed.lines().filter(|line| !TOLD.iter().any(|start| line.starts_with(start)));
        too_long.extend(lines.filter(|line| line.chars().count() > WIDTH).map(|line| format!("{name}: {line}")));
    }
    assert!(too_long.is_empty(), "{too_long:#?}");
}

#[test]
fn help_of_every_command_fits() {
    let commands = subcommands(&[]);
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands.into_iter().chain([vec![], vec!["explain".to_owned()]]) {
        for line in help(&command).lines() {
            assert!(line.chars().count() <= WIDTH, "{command:?} --help: {line}");
        }
    }
}

#[test]
fn a_table_with_long_names_is_not_narrowed_but_its_last_column_goes_on_below() {
    let long = "n".repeat(63);
    let manifests = format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {long}}}}}\n---\n\
         {{apiVersion: v1, kind: Namespace, metadata: {{name: other}}}}\n---\n\
         apiVersion: clarionlb.io/v1beta1\nkind: LoadBalancerPool\nmetadata: {{name: {long}}}\n\
         spec:\n  addresses: [198.51.100.0/24]\n  \
         quotas: [{{namespace: {long}, maxAddresses: 5}}, {{namespace: other, maxAddresses: 7}}]\n"
    );
    let files = directory(&[("pool.yaml", &manifests)]);
    let printed = text(&run(&["pools", "-f", files.path().to_str().unwrap()]));
    let lines: Vec<&str> = printed.lines().collect();
    let column = lines[0].find("QUOTA").unwrap();
    assert_eq!(&lines[1][column..], long, "{printed}");
    assert_eq!(lines[2], format!("{}0/5, other 0/7", " ".repeat(column)), "{printed}");
}
