//! The command line.

mod addresses;
mod approve;
mod check;
mod cluster;
mod complete;
mod completion;
mod conflicts;
mod crds;
mod diff;
mod drain_all;
mod duration;
mod explain;
mod findings;
mod frr;
mod graph;
mod import;
mod lease;
mod man;
mod manifests;
mod metrics;
mod neighbor;
mod node;
mod output;
mod overlay;
mod pools;
mod program;
mod progress;
mod reasons;
mod release;
mod render;
mod reserve;
mod run;
mod schema;
mod serving;
mod shadow;
mod status;
mod support_bundle;
mod version;
mod view;
mod yielding;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

/// Addresses for Services of type LoadBalancer, announced over BGP through FRR-K8s.
#[derive(Debug, Parser)]
#[command(name = "clarion", version, propagate_version = true, max_term_width = output::WIDTH)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator
    Run(run::Run),
    /// Show what the operator would write for manifests in a directory, without a cluster
    Render(render::Render),
    Shadow(shadow::Shadow),
    Status(status::Status),
    Check(check::Check),
    Diff(diff::Diff),
    Explain(explain::Explain),
    Graph(graph::Graph),
    Pools(pools::Pools),
    Addresses(addresses::Addresses),
    Reserve(reserve::Reserve),
    Release(release::Release),
    Yield(yielding::Yield),
    DrainAll(drain_all::DrainAll),
    Approve(approve::Approve),
    Import(import::Import),
    SupportBundle(support_bundle::SupportBundle),
    /// Print the CustomResourceDefinitions
    Crds(crds::Crds),
    /// Print the catalogue of reasons that conditions have
    Reasons(reasons::Reasons),
    /// Print what metrics the operator has
    Metrics(metrics::Metrics),
    Schema(schema::Schema),
    Version(version::Version),
    Completion(completion::Completion),
    Man(man::Man),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Run(#[from] run::Error),
    #[error(transparent)]
    Render(#[from] render::Error),
    #[error(transparent)]
    Shadow(#[from] shadow::Error),
    #[error(transparent)]
    Diff(#[from] diff::Error),
    #[error(transparent)]
    Explain(#[from] explain::Error),
    #[error(transparent)]
    Graph(#[from] graph::Error),
    #[error(transparent)]
    View(#[from] view::Error),
    #[error(transparent)]
    Reserve(#[from] reserve::Error),
    #[error(transparent)]
    Release(#[from] release::Error),
    #[error(transparent)]
    Yield(#[from] yielding::Error),
    #[error(transparent)]
    DrainAll(#[from] drain_all::Error),
    #[error(transparent)]
    Approve(#[from] approve::Error),
    #[error(transparent)]
    Import(#[from] import::Error),
    #[error(transparent)]
    Crds(#[from] crds::Error),
    #[error(transparent)]
    SupportBundle(#[from] support_bundle::Error),
    #[error(transparent)]
    Reasons(#[from] reasons::Error),
    #[error(transparent)]
    Metrics(#[from] metrics::Error),
    #[error(transparent)]
    Schema(#[from] schema::Error),
    #[error(transparent)]
    Version(#[from] output::Error),
    #[error(transparent)]
    Man(#[from] man::Error),
}

/// What a command found that looks for something amiss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Fine,
    /// Something, which it has printed.
    Amiss,
}

/// The exit status of a wrong call and, where 1 tells what was found, of a failure.
const UNABLE: u8 = 2;

/// Runs the command that the process was called with. A wrong call exits with 2, a failure with 1; or with 2 as well, where 1
/// tells that a command has found something.
pub fn main() -> ExitCode {
    if let Some(words) = complete::asked() {
        return complete::print(words).map_or_else(
            |error| {
                program::tell(error);
                ExitCode::FAILURE
            },
            |()| ExitCode::SUCCESS,
        );
    }
    let command = Cli::command().bin_name(program::name());
    let cli = Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    let mut failure = ExitCode::FAILURE;
    let mut finding = |found: Result<Outcome, Error>| {
        failure = ExitCode::from(UNABLE);
        found
    };
    let done = |result: Result<(), Error>| result.map(|()| Outcome::Fine);
    let result = match cli.command {
        Command::Run(run) => done(run.execute().map_err(Error::from)),
        Command::Render(render) => done(render.execute().map_err(Error::from)),
        Command::Shadow(shadow) => match shadow.execute() {
            Ok(shadow::Outcome::Same) => Ok(Outcome::Fine),
            Ok(shadow::Outcome::Different) => Ok(Outcome::Amiss),
            Err(error) => Err(Error::from(error)),
        },
        Command::Status(status) => finding(status.execute().map_err(Error::from)),
        Command::Check(check) => finding(check.execute().map_err(Error::from)),
        Command::Diff(diff) => finding(diff.execute().map_err(Error::from)),
        Command::Explain(explain) => done(explain.execute().map_err(Error::from)),
        Command::Graph(graph) => done(graph.execute().map_err(Error::from)),
        Command::Pools(pools) => done(pools.execute().map_err(Error::from)),
        Command::Addresses(addresses) => done(addresses.execute().map_err(Error::from)),
        Command::Reserve(reserve) => done(reserve.execute().map_err(Error::from)),
        Command::Release(release) => done(release.execute().map_err(Error::from)),
        Command::Yield(yielding) => done(yielding.execute().map_err(Error::from)),
        Command::DrainAll(drain) => done(drain.execute().map_err(Error::from)),
        Command::Approve(approve) => done(approve.execute().map_err(Error::from)),
        Command::Import(import) => done(import.execute().map_err(Error::from)),
        Command::Crds(crds) => done(crds.execute().map_err(Error::from)),
        Command::Reasons(reasons) => done(reasons.execute().map_err(Error::from)),
        Command::Metrics(metrics) => done(metrics.execute().map_err(Error::from)),
        Command::Schema(schema) => done(schema.execute().map_err(Error::from)),
        Command::SupportBundle(bundle) => done(bundle.execute().map_err(Error::from)),
        Command::Version(version) => done(version.execute().map_err(Error::from)),
        Command::Completion(completion) => {
            completion.execute();
            Ok(Outcome::Fine)
        }
        Command::Man(man) => done(man.execute().map_err(Error::from)),
    };
    match result {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Amiss) => ExitCode::FAILURE,
        Err(error) => {
            program::tell(error);
            failure
        }
    }
}
