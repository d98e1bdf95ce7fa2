//! What waits to be exported is bounded: what is too much is dropped, and counted, and the log tells of it once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::{LogBatch, LogExporter, LogProcessor, SdkLogRecord},
    trace::{Span, SpanData, SpanExporter, SpanProcessor},
};
use tracing::{info, warn};

use super::transport::Cause;
use crate::telemetry::{Metrics, metrics::Signal};

/// Spans, or log records, that may wait. Each has about a kilobyte.
pub const WAITING: usize = 2048;

/// Counts what waits, of one signal.
#[derive(Clone, Debug)]
pub struct Account(Arc<State>);

#[derive(Debug)]
struct State {
    signal: Signal,
    metrics: Metrics,
    /// Why the last request got no answer.
    cause: Cause,
    waiting: AtomicUsize,
    /// Since the last export.
    dropped: AtomicU64,
    /// Not everything of the last export has arrived.
    failing: AtomicBool,
}

impl Account {
    /// Nothing waits.
    pub fn new(signal: Signal, metrics: Metrics, cause: Cause) -> Self {
        Self(Arc::new(State {
            signal,
            metrics,
            cause,
            waiting: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            failing: AtomicBool::new(false),
        }))
    }

    /// Whether one more may wait.
    fn admit(&self) -> bool {
        let state = &self.0;
        let more = |waiting: usize| (waiting < WAITING).then_some(waiting + 1);
        let admitted = state.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if !admitted {
            // It is told once the export under way is at an end: this may be in the midst of a line of the log.
            state.dropped.fetch_add(1, Ordering::Relaxed);
            state.metrics.exported(state.signal, "dropped", 1);
        }
        admitted
    }

    /// So many are sent, and wait no longer.
    fn take(&self, count: usize) {
        self.0.waiting.fetch_sub(count, Ordering::Relaxed);
    }

    /// What became of them. The log has a line when that is another thing than before. The thread of the exporter tells it, of
    /// which nothing is exported.
    fn settle(&self, count: usize, result: &OTelSdkResult) {
        let state = &self.0;
        let outcome = if result.is_ok() { "sent" } else { "failed" };
        state.metrics.exported(state.signal, outcome, u64::try_from(count).unwrap_or(u64::MAX));
        let dropped = state.dropped.swap(0, Ordering::Relaxed);
        let failing = result.is_err() || dropped > 0;
        if state.failing.swap(failing, Ordering::Relaxed) == failing {
            return;
        }
        let signal = state.signal.name();
        match result {
            Err(error) => {
                let error = state.cause.take().unwrap_or_else(|| error.to_string());
                warn!(signal, error, "the OTLP endpoint does not take what it is sent, which is lost");
            }
            Ok(()) if failing => warn!(signal, dropped, "the OTLP endpoint is too slow: what is too much is dropped"),
            Ok(()) => info!(signal, "the OTLP endpoint takes what it is sent again"),
        }
    }
}

/// A processor behind which no more than [`WAITING`] wait, or an exporter that counts what it sends.
#[derive(Debug)]
pub struct Bounded<P> {
    inner: P,
    account: Account,
}

impl<P> Bounded<P> {
    /// Both, the exporter and the processor before it, have the same account.
    pub fn new(inner: P, account: &Account) -> Self {
        Self { inner, account: account.clone() }
    }
}

impl<P: SpanProcessor> SpanProcessor for Bounded<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.account.admit() {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<P: LogProcessor> LogProcessor for Bounded<P> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.account.admit() {
            self.inner.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: SpanExporter> SpanExporter for Bounded<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.account.take(count);
        let result = self.inner.export(batch).await;
        self.account.settle(count, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Bounded<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let count = batch.iter().count();
        self.account.take(count);
        let result = self.inner.export(batch).await;
        self.account.settle(count, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;

    #[test]
    fn what_is_too_much_is_counted_and_there_is_room_again_for_what_is_sent() {
        let metrics = Metrics::new();
        let account = Account::new(Signal::Traces, metrics.clone(), Cause::default());
        let admitted = |number: usize| (0..number).filter(|_| account.admit()).count();
        assert_eq!(admitted(WAITING + 5), WAITING);
        account.take(512);
        account.settle(512, &Err(OTelSdkError::InternalFailure("nobody is there".to_owned())));
        assert_eq!(admitted(1000), 512);
        account.take(WAITING);
        account.settle(WAITING, &Ok(()));
        let text = metrics.text();
        for (outcome, count) in [("dropped", 493), ("failed", 512), ("sent", WAITING)] {
            let line = format!(r#"clarion_otlp_records_total{{signal="traces",outcome="{outcome}"}} {count}"#);
            assert!(text.contains(&line), "{line} is not in:\n{text}");
        }
    }
}
