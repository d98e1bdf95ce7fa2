//! `clarion schema`

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use schemars::{JsonSchema, generate::SchemaSettings};

use super::{addresses, check, diff, explain, pools, release, shadow, status, version, yielding};

/// Print the JSON Schema of what a command prints with -o json or -o yaml
///
/// Without a command, those of all are printed, one after the other. What import, render and reserve print are manifests,
/// which have the schemas of their kinds.
#[derive(Debug, Args)]
pub struct Schema {
    /// The command, its words joined by a hyphen
    #[arg(value_enum)]
    command: Option<Command>,
    /// Write a file for each command into this directory instead of printing them
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// The commands that print JSON and YAML, each with a form of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Command {
    Addresses,
    Check,
    Diff,
    ExplainAddress,
    ExplainNode,
    ExplainPeer,
    ExplainService,
    Pools,
    Release,
    Shadow,
    Status,
    Version,
    Yield,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a schema can't be written as JSON: {0}; this is a fault of Clarion, please report it")]
    Json(#[from] serde_json::Error),
    #[error("the schemas can't be written: {0}")]
    Io(#[from] io::Error),
}

impl Schema {
    pub fn execute(self) -> Result<(), Error> {
        let commands = self.command.as_ref().map_or(Command::value_variants(), std::slice::from_ref);
        for command in commands {
            let text = serde_json::to_string_pretty(&command.schema())? + "\n";
            match &self.dir {
                Some(dir) => std::fs::write(dir.join(format!("{}.json", command.name())), text)?,
                None => io::stdout().write_all(text.as_bytes())?,
            }
        }
        Ok(())
    }
}

impl Command {
    fn schema(self) -> schemars::Schema {
        let mut schema = match self {
            Self::Addresses => of::<Vec<addresses::Row>>(),
            Self::Check => of::<check::Report>(),
            Self::Diff => of::<Vec<diff::Change>>(),
            Self::ExplainAddress => of::<explain::address::Explanation>(),
            Self::ExplainNode => of::<explain::node::Explanation>(),
            Self::ExplainPeer => of::<explain::peer::Explanation>(),
            Self::ExplainService => of::<explain::service::Explanation>(),
            Self::Pools => of::<Vec<pools::Row>>(),
            Self::Release => of::<Vec<release::Row>>(),
            Self::Shadow => of::<shadow::Report>(),
            Self::Status => of::<status::Report>(),
            Self::Version => of::<version::Build>(),
            Self::Yield => of::<Vec<yielding::Row>>(),
        };
        schema.insert("title".to_owned(), format!("clarion {} -o json", self.name().replace('-', " ")).into());
        schema
    }

    /// As it is given to `clarion schema`.
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// The schema of a type as it is printed.
fn of<T: JsonSchema>() -> schemars::Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
}
