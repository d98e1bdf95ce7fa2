//! The commands, as users call them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod allocation;
mod commands;
mod completion;
mod golden;
mod graph;
mod import;
mod node;
mod render;
mod schemas;
mod shadow;
mod terminal;
mod width;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_clarion")).args(arguments).env_clear().output().unwrap()
}

pub(crate) fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What `--help` prints of a command.
pub(crate) fn help(command: &[String]) -> String {
    let words = command.iter().map(String::as_str).chain(["--help"]).collect::<Vec<_>>();
    text(&run(&words))
}

/// The commands below a command, and those below them, each by its words.
pub(crate) fn subcommands(of: &[String]) -> Vec<Vec<String>> {
    let help = help(of);
    let Some((_, listed)) = help.split_once("Commands:\n") else { return Vec::new() };
    let names = listed.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
    // What is further to the right goes on with what a command is for.
    let names = names.filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_whitespace().next());
    let mut found = Vec::new();
    for name in names.filter(|name| *name != "help") {
        let command = [of, &[name.to_owned()]].concat();
        let below = subcommands(&command);
        found.extend(if below.is_empty() { vec![command] } else { below });
    }
    found
}

/// A directory with these files.
pub(crate) fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    directory
}
