//! Logs, metrics and health.

mod endpoints;
mod findings;
mod health;
mod metrics;
mod scrape;
mod stages;

use std::io::IsTerminal as _;

pub use endpoints::{Endpoints, Error};
pub use findings::FindingsLog;
pub use health::{Health, Phase};
pub use metrics::Metrics;
pub use scrape::Files;
pub use stages::plan;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Failed requests are told by those who sent them, not once more by the client.
const DEFAULT: &str = "info,kube_client=off";

/// Starts to log to standard error. `RUST_LOG` sets what; everything from `info` on if unset.
pub fn log(format: LogFormat) {
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).with_ansi(colours);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
