//! Requests to who takes traces and logs, by the client that the API server is asked with: nothing else here speaks HTTP and TLS.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Limited};
use kube::{Client, Config, client::Body};
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use tokio::{runtime::Handle, time::timeout};

use crate::apply::with_causes;

/// How long a request may take, with finding the address, connecting and the answer.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer, which says no more than how much was refused.
const ANSWER: usize = 64 << 10;

/// Why the last request got no answer: exporters only tell that there was none.
#[derive(Clone, Debug, Default)]
pub struct Cause(Arc<Mutex<Option<String>>>);

impl Cause {
    /// Takes it, if there is one.
    pub fn take(&self) -> Option<String> {
        self.replace(None)
    }

    fn replace(&self, cause: Option<String>) -> Option<String> {
        mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), cause)
    }
}

/// Sends requests, from whichever thread.
#[derive(Clone)]
pub struct Transport {
    client: Client,
    /// Exporters have threads of their own, which no timer or socket works in.
    runtime: Handle,
    cause: Cause,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

impl Transport {
    /// To this scheme and host, of whatever path.
    pub fn new(endpoint: &Uri, runtime: Handle) -> Result<Self, kube::Error> {
        let origin = Uri::builder()
            .scheme(endpoint.scheme_str().unwrap_or_default())
            .authority(endpoint.authority().map_or("", |authority| authority.as_str()))
            .path_and_query("/");
        let mut config = Config::new(origin.build().map_err(kube::Error::HttpError)?);
        config.default_retry = false;
        config.connect_timeout = Some(TIMEOUT);
        let _guard = runtime.enter();
        Ok(Self { client: Client::try_from(config)?, runtime, cause: Cause::default() })
    }

    /// The same, which tells there why a request got no answer.
    pub fn telling(&self, cause: &Cause) -> Self {
        Self { cause: cause.clone(), ..self.clone() }
    }
}

impl HttpClient for Transport {
    fn send_bytes<'t, 'f>(&'t self, request: Request<Bytes>) -> BoxFuture<'f, Result<Response<Bytes>, HttpError>>
    where
        't: 'f,
        Self: 'f,
    {
        let (client, cause) = (self.client.clone(), self.cause.clone());
        let answer = self.runtime.spawn(async move {
            let answer = timeout(TIMEOUT, answer(client, request)).await;
            answer.unwrap_or_else(|_| Err(format!("no answer within {TIMEOUT:?}").into()))
        });
        Box::pin(async move {
            let answer = answer.await?;
            cause.replace(answer.as_ref().err().map(|error| with_causes(error.as_ref())));
            answer
        })
    }
}

async fn answer(client: Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (head, body) = client.send(request.map(Body::from)).await?.into_parts();
    let body = Limited::new(body, ANSWER).collect().await?.to_bytes();
    Ok(Response::from_parts(head, body))
}
