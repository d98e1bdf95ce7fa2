//! `make bundle`: writes the generated files, or with `--check` tells how they differ from what is there.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use clarion_package::{Error, Source, Tools, generate};

/// Write the OLM bundle and catalog, and what the Helm chart has of config/ and crds/
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Only compare, and fail if a file differs
    #[arg(long)]
    check: bool,
    /// The root of the repository
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    /// Where kustomize is
    #[arg(long, env = "KUSTOMIZE", value_name = "FILE", default_value = "kustomize")]
    kustomize: PathBuf,
    /// Where opm is
    #[arg(long, env = "OPM", value_name = "FILE", default_value = "opm")]
    opm: PathBuf,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(differences) if differences.is_empty() => ExitCode::SUCCESS,
        Ok(differences) => {
            eprint!("{differences}");
            eprintln!("Packaging files differ from what is generated: run 'make bundle' and commit.");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What differs; nothing if the files were written.
fn run(arguments: Arguments) -> Result<String, Error> {
    let tools = Tools { kustomize: arguments.kustomize, opm: arguments.opm };
    let source = Source::read(&arguments.root, &tools)?;
    let files = generate(&source, &tools)?;
    if arguments.check {
        return files.differences(&arguments.root);
    }
    files.write(&arguments.root)?;
    Ok(String::new())
}
