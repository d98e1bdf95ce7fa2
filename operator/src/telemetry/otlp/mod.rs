//! Traces and logs over OTLP, for whoever collects them. Nothing waits for the collector: what it does not take is lost.

mod bounded;
mod transport;

use std::time::Duration;

use http::Uri;
use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::{
    Resource,
    logs::{BatchLogProcessor, SdkLoggerProvider},
    trace::{BatchSpanProcessor, SdkTracerProvider},
};
use tokio::{runtime::Handle, task::spawn_blocking};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt as _, filter_fn},
    registry::LookupSpan,
};

use self::{
    bounded::{Account, Bounded, WAITING},
    transport::{Cause, TIMEOUT, Transport},
};
use super::{Metrics, metrics::Signal};

/// Spans or records of one request at most, and how long they are collected.
const BATCH: (usize, Duration) = (512, Duration::from_secs(1));
/// How long the end of the process may wait for what is left.
const LAST: Duration = Duration::from_secs(1);

/// Why nothing can be exported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no client.
    #[error(
        "the client for the OTLP endpoint can't be set up: {0}; for https, SSL_CERT_FILE names the certificates of issuers"
    )]
    Client(#[from] kube::Error),
    /// An environment variable is wrong.
    #[error(
        "what is to be sent to the OTLP endpoint can't be set up: {0}; look at the environment variables OTEL_EXPORTER_OTLP_…"
    )]
    Exporter(#[from] ExporterBuildError),
}

/// An address that traces and logs are sent to: `http` or `https`, and a host.
pub fn endpoint(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}; http://HOST:4318 is what is needed"))?;
    match (uri.scheme_str(), uri.authority(), uri.query()) {
        (Some("http" | "https"), Some(authority), None) if !authority.as_str().contains('@') => Ok(uri),
        _ => Err("http:// or https://, a host and a port are needed, and no user or query".to_owned()),
    }
}

/// What is exported is told by layers of the log.
#[derive(Debug)]
pub struct Export {
    traces: SdkTracerProvider,
    logs: SdkLoggerProvider,
}

impl Export {
    /// Sends to the endpoint, as the process that calls itself so in the Lease.
    pub fn new(endpoint: &Uri, identity: &str, metrics: &Metrics, runtime: Handle) -> Result<Self, Error> {
        let transport = Transport::new(endpoint, runtime)?;
        let url = |path: &str| format!("{}{path}", endpoint.to_string().trim_end_matches('/'));
        let (of_spans, of_records) = (Cause::default(), Cause::default());
        let spans = SpanExporter::builder().with_http().with_http_client(transport.telling(&of_spans));
        let spans = spans.with_endpoint(url("/v1/traces")).with_protocol(Protocol::HttpBinary).with_timeout(TIMEOUT);
        let spans = spans.with_retry_policy(RetryPolicy::disabled()).build()?;
        let records = LogExporter::builder().with_http().with_http_client(transport.telling(&of_records));
        let records = records.with_endpoint(url("/v1/logs")).with_protocol(Protocol::HttpBinary).with_timeout(TIMEOUT);
        let records = records.with_retry_policy(RetryPolicy::disabled()).build()?;

        let resource = Resource::builder().with_service_name("clarion").with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", identity.to_owned()),
        ]);
        let resource = resource.build();
        let (size, delay) = BATCH;
        let account = Account::new(Signal::Traces, metrics.clone(), of_spans);
        let batches = opentelemetry_sdk::trace::BatchConfigBuilder::default()
            .with_max_queue_size(WAITING)
            .with_max_export_batch_size(size)
            .with_scheduled_delay(delay);
        let batches = BatchSpanProcessor::builder(Bounded::new(spans, &account)).with_batch_config(batches.build());
        let traces = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_span_processor(Bounded::new(batches.build(), &account));
        let account = Account::new(Signal::Logs, metrics.clone(), of_records);
        let batches = opentelemetry_sdk::logs::BatchConfigBuilder::default()
            .with_max_queue_size(WAITING)
            .with_max_export_batch_size(size)
            .with_scheduled_delay(delay);
        let batches = BatchLogProcessor::builder(Bounded::new(records, &account)).with_batch_config(batches.build());
        let logs = SdkLoggerProvider::builder()
            .with_resource(resource)
            .with_log_processor(Bounded::new(batches.build(), &account));
        Ok(Self { traces: traces.build(), logs: logs.build() })
    }

    /// Takes in all spans of this crate, and of its lines in the log those that the filter lets through. What others log is left
    /// out: who sends a request logs that, too, and so it would never end.
    pub fn layer<S>(&self, filter: EnvFilter) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'s> LookupSpan<'s> + Send + Sync,
    {
        let spans = tracing_opentelemetry::layer()
            .with_tracer(self.traces.tracer("clarion"))
            .with_location(false)
            .with_threads(false)
            .with_level(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(|metadata| metadata.is_span() && is_ours(metadata)));
        let records = OpenTelemetryTracingBridge::new(&self.logs);
        let lines = filter_fn(|metadata| metadata.is_event() && is_ours(metadata));
        spans.and_then(records.with_filter(filter.and(lines)))
    }

    /// Sends what is left, if that does not take long.
    pub async fn stop(self) {
        let Self { traces, logs } = self;
        // Each waits for its thread. Whether all has arrived, nobody is left to be told.
        let (traces, logs) = (
            spawn_blocking(move || traces.shutdown_with_timeout(LAST)),
            spawn_blocking(move || logs.shutdown_with_timeout(LAST)),
        );
        let _ = tokio::join!(traces, logs);
    }
}

fn is_ours(metadata: &Metadata) -> bool {
    let target = metadata.target();
    target == "clarion" || target.starts_with("clarion::")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rstest::rstest;
    use tracing::{info, info_span};
    use tracing_subscriber::{layer::SubscriberExt as _, registry};

    use super::*;

    #[rstest]
    #[case("http://collector.observability:4318")]
    #[case("https://[2001:db8::1]:4318/some/path/")]
    fn endpoints(#[case] text: &str) {
        assert_eq!(
            endpoint(text).map(|uri| uri.to_string()),
            Ok(text.to_owned() + if text.ends_with('8') { "/" } else { "" })
        );
    }

    #[rstest]
    #[case("")]
    #[case("collector:4318")]
    #[case("/v1/traces")]
    #[case("grpc://collector:4317")]
    #[case("http://user:word@collector:4318")]
    #[case("http://collector:4318/?token=secret")]
    fn what_is_no_endpoint_is_refused(#[case] text: &str) {
        assert!(endpoint(text).is_err());
    }

    /// A collector that the kernel answers for: it takes connections, and nobody ever reads from them.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_hangs_holds_up_neither_who_tells_something_nor_the_end() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = endpoint(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let metrics = Metrics::new();
        let export = Export::new(&to, "me", &metrics, Handle::current()).unwrap();
        let subscriber = registry().with(export.layer(EnvFilter::new("info")));
        let started = Instant::now();
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..20_000 {
                info_span!("write", number).in_scope(|| info!(number, "written"));
            }
        });
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        for signal in ["traces", "logs"] {
            let text = metrics.text();
            let start = format!(r#"clarion_otlp_records_total{{signal="{signal}",outcome="dropped"}} "#);
            let dropped: usize = text.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap();
            assert!(dropped > 10_000, "only {dropped} {signal} were dropped, so more than {WAITING} wait");
        }
        let asked = Instant::now();
        export.stop().await;
        assert!(asked.elapsed() < 2 * LAST, "{:?}", asked.elapsed());
    }
}
