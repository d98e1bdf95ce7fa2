//! `clarion __complete`, by which `kubectl_complete-clarion` asks. It is no command of the command line, since completions for
//! shells would offer it to users.

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
};

use clap::CommandFactory as _;
use clap_complete::engine::complete;

#[derive(Debug, thiserror::Error)]
#[error("completions can't be listed: {0}")]
pub struct Error(#[from] io::Error);

/// What cobra, kubectl's library for commands, calls directives: what a shell is to do with the candidates. They add up.
const NO_SPACE: u32 = 2;
const NO_FILES: u32 = 4;

/// The words after `kubectl clarion`, if the process is asked what the last of them may become.
pub fn asked() -> Option<Vec<OsString>> {
    let mut arguments = env::args_os().skip(1);
    let asked = arguments.next().is_some_and(|first| first == "__complete");
    asked.then(|| arguments.collect())
}

/// Prints one candidate a line, with its help after a tab, and then the directive.
pub fn print(words: Vec<OsString>) -> Result<(), Error> {
    let mut line = vec![OsString::from("clarion")];
    line.extend(words);
    if line.len() == 1 {
        line.push(OsString::new());
    }
    let last = line.len() - 1;
    let directory = env::current_dir()?;
    let (mut out, mut directive) = (io::stdout().lock(), NO_FILES);
    for candidate in complete(&mut super::Cli::command(), line, last, Some(&directory))? {
        let value = candidate.get_value().to_string_lossy();
        if value.ends_with(['/', '=']) {
            directive |= NO_SPACE;
        }
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        match help.lines().next() {
            Some(help) => writeln!(out, "{value}\t{help}")?,
            None => writeln!(out, "{value}")?,
        }
    }
    Ok(writeln!(out, ":{directive}")?)
}
