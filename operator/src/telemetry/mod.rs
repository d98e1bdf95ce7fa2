//! Logs, traces, metrics and health.

mod endpoints;
mod findings;
mod health;
mod metrics;
mod otlp;
mod scrape;
mod stages;

use std::io::IsTerminal as _;

pub use endpoints::{Endpoints, Error};
pub use findings::FindingsLog;
pub use health::{Health, Phase};
pub use metrics::Metrics;
pub use otlp::{Error as ExportError, Export, endpoint};
pub use scrape::Files;
pub use stages::{first_addresses, plan};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{FilterExt as _, filter_fn},
    fmt,
    layer::SubscriberExt as _,
    registry,
    util::SubscriberInitExt as _,
};

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

/// Starts to log to standard error, and to export. `RUST_LOG` sets what is logged; everything from `info` on if unset. Spans are for
/// the export alone.
pub fn log(format: LogFormat, export: Option<&Export>) {
    let filter = || EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(colours);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let lines = lines.with_filter(filter().and(filter_fn(|metadata| metadata.is_event())));
    registry().with(lines).with(export.map(|export| export.layer(filter()))).init();
}
