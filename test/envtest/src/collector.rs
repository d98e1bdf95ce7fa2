use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value},
};
use prost::Message as _;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::Error;

/// What a [`Collector`] does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It takes them.
    Takes,
    /// It never answers.
    Hangs,
    /// It answers that it can't.
    Refuses,
}

/// A span that has arrived.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: Vec<u8>,
    /// The number of the span that it is in.
    pub parent: Vec<u8>,
    /// What it says of itself.
    pub attributes: BTreeMap<String, String>,
}

/// What has arrived.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Spans.
    pub spans: Vec<Span>,
    /// Lines of the log.
    pub lines: Vec<String>,
    /// The names of those that have sent something.
    pub services: BTreeSet<String>,
}

/// A collector of traces and logs over OTLP, in HTTP and protobuf.
#[derive(Debug)]
pub struct Collector {
    endpoint: String,
    taken: Arc<Mutex<Taken>>,
    server: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Collector {
    /// Starts one that behaves so.
    ///
    /// # Errors
    /// If nothing can be listened on.
    pub async fn start(manner: Manner) -> Result<Self, Error> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let taken = Arc::<Mutex<Taken>>::default();
        let routes = Router::new()
            .route("/v1/traces", post(async move |state, body| answer(manner, state, body, traces).await))
            .route("/v1/logs", post(async move |state, body| answer(manner, state, body, logs).await))
            .with_state(Arc::clone(&taken));
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self { endpoint, taken, server })
    }

    /// Where it is.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What has arrived so far.
    #[must_use]
    pub fn taken(&self) -> Taken {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn answer(
    manner: Manner,
    State(taken): State<Arc<Mutex<Taken>>>,
    body: Bytes,
    take: fn(&mut Taken, Bytes) -> Result<(), prost::DecodeError>,
) -> StatusCode {
    match manner {
        Manner::Hangs => std::future::pending().await,
        Manner::Refuses => StatusCode::SERVICE_UNAVAILABLE,
        Manner::Takes => match take(&mut taken.lock().unwrap_or_else(PoisonError::into_inner), body) {
            Ok(()) => StatusCode::OK,
            Err(_) => StatusCode::BAD_REQUEST,
        },
    }
}

fn traces(taken: &mut Taken, body: Bytes) -> Result<(), prost::DecodeError> {
    for resource in ExportTraceServiceRequest::decode(body)?.resource_spans {
        taken.services.extend(service(resource.resource.map(|resource| resource.attributes)));
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        taken.spans.extend(spans.map(|span| Span {
            name: span.name,
            id: span.span_id,
            parent: span.parent_span_id,
            attributes: attributes(span.attributes),
        }));
    }
    Ok(())
}

fn logs(taken: &mut Taken, body: Bytes) -> Result<(), prost::DecodeError> {
    for resource in ExportLogsServiceRequest::decode(body)?.resource_logs {
        taken.services.extend(service(resource.resource.map(|resource| resource.attributes)));
        let records = resource.scope_logs.into_iter().flat_map(|scope| scope.log_records);
        taken.lines.extend(records.map(|record| text(record.body)));
    }
    Ok(())
}

fn service(resource: Option<Vec<KeyValue>>) -> Option<String> {
    attributes(resource?).remove("service.name")
}

fn attributes(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes.into_iter().map(|attribute| (attribute.key, text(attribute.value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}
