use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::Response,
};
use futures::{StreamExt as _, stream};
use http::{Method, StatusCode, Uri};
use kube::Client;
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

use crate::{ControlPlane, Error, control_plane::kubeconfig};

/// What the proxy does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Passes it on.
    Pass,
    /// Passes it on, and holds back each part of the answer. For watches.
    Delay(Duration),
    /// Passes it on, and ends the answer after this time with 410 Gone, as when etcd has been compacted. For watches.
    Expire(Duration),
    /// Passes it on, and answers with 504 whatever came back.
    LoseAnswer,
    /// Answers with this status instead of passing it on.
    Refuse(u16),
    /// Answers with 429 and so many seconds in `Retry-After`, as the API server's priority and fairness does.
    Reject(u64),
}

type Decide = dyn Fn(&Method, &Uri) -> Action + Send + Sync;

/// A proxy between the operator and the API server, over plain HTTP, that does what a test tells it.
#[derive(Debug)]
pub struct Proxy {
    kubeconfig: PathBuf,
    server: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy that asks `decide` about each request.
    ///
    /// # Errors
    /// If it can't listen.
    pub async fn start(
        control_plane: &ControlPlane,
        decide: impl Fn(&Method, &Uri) -> Action + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let path = control_plane.directory().join(format!("kubeconfig-proxy-{port}"));
        std::fs::write(&path, kubeconfig(&format!("http://127.0.0.1:{port}"), None, "ignored"))?;
        let decide: Arc<Decide> = Arc::new(decide);
        let router = Router::new().fallback(forward).with_state((control_plane.client(), decide));
        let server = tokio::spawn(async move {
            // Ends with the test.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { kubeconfig: path, server })
    }

    /// A kubeconfig that leads through the proxy, with the rights of an administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn forward(State((client, decide)): State<(Client, Arc<Decide>)>, request: Request) -> Response {
    let action = decide(request.method(), request.uri());
    match action {
        Action::Refuse(status) => return plain(status, "refused by the proxy"),
        Action::Reject(seconds) => {
            let mut response = plain(429, "Too many requests, please try again later.");
            response.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
            return response;
        }
        Action::Pass | Action::Delay(_) | Action::Expire(_) | Action::LoseAnswer => {}
    }
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(http::header::AUTHORIZATION);
    parts.headers.remove(http::header::HOST);
    let body = match axum::body::to_bytes(body, usize::MAX).await {
        Ok(body) => body,
        Err(error) => return plain(400, &error.to_string()),
    };
    let answer = client.send(http::Request::from_parts(parts, body.to_vec().into())).await;
    match (answer, action) {
        (Err(error), _) => plain(502, &error.to_string()),
        (Ok(_), Action::LoseAnswer) => plain(504, "the answer was lost"),
        (Ok(answer), Action::Delay(delay)) => {
            let (parts, body) = answer.into_parts();
            let stream = Body::new(body).into_data_stream().then(move |part| async move {
                sleep(delay).await;
                part
            });
            Response::from_parts(parts, Body::from_stream(stream))
        }
        (Ok(answer), Action::Expire(after)) => {
            let (parts, body) = answer.into_parts();
            let stream = Body::new(body).into_data_stream().take_until(sleep(after));
            let gone = stream::once(async { Ok(Bytes::from_static(GONE.as_bytes())) });
            Response::from_parts(parts, Body::from_stream(stream.chain(gone)))
        }
        (Ok(answer), _) => answer.map(Body::new),
    }
}

/// The last event of a watch that can't go on. A line of its own, wherever the answer was cut.
const GONE: &str = "\n{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"too old resource version\",\"reason\":\"Expired\",\"code\":410}}\n";

fn plain(status: u16, text: &str) -> Response {
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}
