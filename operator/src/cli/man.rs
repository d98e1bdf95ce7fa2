//! `clarion man`

use std::{io, path::PathBuf};

use clap::{Args, CommandFactory as _};

/// Write manual pages, one for each command
#[derive(Debug, Args)]
pub struct Man {
    /// The directory to write them into
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
#[error("manual pages can't be written to {dir}: {why}", dir = .dir.display())]
pub struct Error {
    dir: PathBuf,
    why: io::Error,
}

impl Man {
    pub fn execute(self) -> Result<(), Error> {
        let written = std::fs::create_dir_all(&self.dir);
        let written = written.and_then(|()| clap_mangen::generate_to(super::Cli::command(), &self.dir));
        written.map_err(|why| Error { dir: self.dir, why })
    }
}
