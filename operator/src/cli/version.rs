//! `clarion version`

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::output::{self, Output, table};

/// Show the version, and what it was made from
#[derive(Debug, Args)]
pub struct Version {
    #[command(flatten)]
    output: Output,
}

/// Which build this is.
#[derive(Clone, Copy, Serialize, JsonSchema)]
pub struct Build {
    pub version: &'static str,
    /// The commit; `-dirty` after it if files differed from that, `unknown` if it was not told to the compiler.
    pub commit: &'static str,
}

/// This build.
pub const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    commit: match option_env!("CLARION_COMMIT") {
        Some(commit) => commit,
        None => "unknown",
    },
};

impl Version {
    pub fn execute(self) -> Result<(), output::Error> {
        self.output
            .print(&BUILD, |build| table(["VERSION", "COMMIT"], [[build.version, build.commit].map(str::to_owned)]))
    }
}
