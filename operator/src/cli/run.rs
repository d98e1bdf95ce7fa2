//! `clarion run`

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use http::Uri;
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use super::{cluster, duration, serving::Serving, version::BUILD};
use crate::{
    clock::Clock,
    lead::{Lost, Terms},
    process::Process,
    telemetry::{self, Endpoints, Export, Files, Health, LogFormat, Metrics},
};

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    serving: Serving,
    /// The namespace of the Lease; that of the Pod, or else `default`
    #[arg(long, env = "CLARION_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    lease_namespace: Option<String>,
    /// The name of the Lease
    #[arg(long, env = "CLARION_LEASE_NAME", value_name = "NAME", default_value = "clarion")]
    lease_name: String,
    /// How long others keep off after a renewal of the Lease, in seconds (`15s`); every write times out before that
    #[arg(long, env = "CLARION_LEASE_DURATION", value_name = "DURATION", default_value = "15s", value_parser = lease_duration)]
    lease_duration: Duration,
    /// Where metrics are served; may be given several times. On a loopback address in plain HTTP; on any other over TLS, to
    /// who shows a token with the right to get `/metrics`
    #[arg(
        long,
        env = "CLARION_METRICS_ADDR",
        value_name = "ADDRESS",
        value_delimiter = ',',
        default_value = "127.0.0.1:9090"
    )]
    metrics_addr: Vec<SocketAddr>,
    /// The certificate for metrics over TLS, in PEM, read anew when it changes; made at the start if not given
    #[arg(long, env = "CLARION_METRICS_CERTIFICATE", value_name = "FILE", requires = "metrics_key")]
    metrics_certificate: Option<PathBuf>,
    /// The private key of that certificate, in PEM
    #[arg(long, env = "CLARION_METRICS_KEY", value_name = "FILE", requires = "metrics_certificate")]
    metrics_key: Option<PathBuf>,
    /// Where probes are answered
    #[arg(long, env = "CLARION_HEALTH_ADDR", value_name = "ADDRESS", default_value = "[::]:8080")]
    health_addr: SocketAddr,
    /// Where to send traces and logs, as OTLP over HTTP: `http://collector:4318`; nowhere if not given
    #[arg(long, env = "CLARION_OTLP_ENDPOINT", value_name = "URL", value_parser = telemetry::endpoint)]
    otlp_endpoint: Option<Uri>,
    /// How log lines look
    #[arg(long, env = "CLARION_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Writes to the API server in flight at most
    #[arg(long, env = "CLARION_MAX_IN_FLIGHT", value_name = "NUMBER", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_in_flight: u16,
}

/// Longer than the server lets a watch without events go on, which is about five minutes.
const WATCH_SILENCE: Duration = Duration::from_secs(310);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    #[error("the client for the API server can't be set up: {0}")]
    Client(#[from] kube::Error),
    #[error(transparent)]
    Endpoints(#[from] telemetry::Error),
    #[error(transparent)]
    Export(#[from] telemetry::ExportError),
    #[error("the process can't be set up: {0}")]
    Process(#[from] std::io::Error),
    #[error(transparent)]
    Lost(#[from] Lost),
}

/// Whole seconds, at least 2: `15s` or `1m`. The Lease's own field counts seconds.
fn lease_duration(text: &str) -> Result<Duration, String> {
    match duration::whole_seconds(text) {
        Some(seconds @ 2..=3600) => Ok(Duration::from_secs(seconds)),
        _ => Err("whole seconds between 2s and 3600s, or minutes, are needed".to_owned()),
    }
}

impl Run {
    pub fn execute(self) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (identity, metrics) = (identity(), Metrics::new());
        let endpoint = self.otlp_endpoint.as_ref();
        let export = endpoint.map(|to| Export::new(to, &identity, &metrics, runtime.handle().clone())).transpose()?;
        telemetry::log(self.log_format, export.as_ref());
        let result = runtime.block_on(async {
            let result = self.operate(identity, metrics).await;
            if let Some(export) = export {
                export.stop().await;
            }
            result
        });
        // Threads that look up host names may be waited for no longer than requests.
        runtime.shutdown_background();
        result
    }

    async fn operate(self, identity: String, metrics: Metrics) -> Result<(), Error> {
        let mut config = cluster::config().await?;
        // Requests that write must not be repeated behind our back, and the Lease must not wait for a slow one.
        config.default_retry = false;
        // A connection that dies in silence must not keep a watch or a write waiting for ever. Idle time does not count.
        config.reset_reader_on_write = true;
        config.read_timeout = Some(WATCH_SILENCE);
        let reader = Client::try_from(config.clone())?;
        config.read_timeout = Some(self.lease_duration);
        let writer = Client::try_from(config.clone())?;

        let terms = Terms {
            namespace: self.lease_namespace.clone().unwrap_or_else(|| config.default_namespace.clone()),
            name: self.lease_name.clone(),
            identity,
            duration: self.lease_duration,
        };
        let health = Health::new();
        self.endpoints().serve(health.clone(), metrics.clone(), writer.clone()).await?;
        info!(version = BUILD.version, commit = BUILD.commit, api = %config.cluster_url, identity = terms.identity, "starting");

        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let stop = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        let process = Process {
            settings: self.serving.settings(),
            reader,
            writer,
            terms,
            max_in_flight: usize::from(self.max_in_flight),
            clock: Clock::system(),
            health,
            metrics,
        };
        Ok(process.run(Box::pin(stop)).await?)
    }

    fn endpoints(&self) -> Endpoints {
        let files = self.metrics_certificate.clone().zip(self.metrics_key.clone());
        Endpoints {
            probes: self.health_addr,
            metrics: self.metrics_addr.clone(),
            certificate: files.map(|(certificate, key)| Files { certificate, key }),
        }
    }
}

/// The Pod's name where there is one, and something that no other process has.
fn identity() -> String {
    let name =
        std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).unwrap_or_else(|_| "clarion".to_owned());
    let started = clarion_api::Timestamp::now().as_nanosecond();
    format!("{name}_{}_{started:x}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lease_durations() {
        assert_eq!(lease_duration("15s"), Ok(Duration::from_secs(15)));
        assert_eq!(lease_duration("1m"), Ok(Duration::from_secs(60)));
        for bad in ["", "15", "1s", "0s", "2h", "-3s", "61m", "1.5s", "99999999999999999999s"] {
            assert!(lease_duration(bad).is_err(), "{bad}");
        }
    }
}
