use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::Response,
};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use http::{Method, StatusCode, Uri};
use kube::Client;
use tokio::{
    net::TcpListener,
    runtime::{self, Runtime},
    time::{Instant, sleep, sleep_until},
};

use crate::{
    ControlPlane, Error,
    control_plane::{client, kubeconfig},
};

/// What the proxy does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Passes it on.
    Pass,
    /// Passes it on after this time.
    Late(Duration),
    /// Closes the connection instead of passing it on.
    Drop,
    /// Passes it on, and closes the connection without an answer.
    HangUp,
    /// Passes it on, and closes the connection in the middle of the answer.
    Cut,
    /// Passes it on twice, as somebody between does who has missed the first answer, and answers what came back then.
    Repeat,
    /// Passes it on, and holds back each part of the answer. For watches.
    Delay(Duration),
    /// Passes it on, and ends the answer after this time with 410 Gone, as when etcd has been compacted. For watches.
    Expire(Duration),
    /// Passes it on, and after this time holds everything back for this pause. For watches.
    Stall(Duration, Duration),
    /// Passes it on, and asks for what was so at this revision. For lists.
    Stale(u64),
    /// Passes it on, and answers with 504 whatever came back.
    LoseAnswer,
    /// Answers with this status instead of passing it on.
    Refuse(u16),
    /// Answers with 429 and so many seconds in `Retry-After`, as the API server's priority and fairness does.
    Reject(u64),
}

type Decide = dyn Fn(&Method, &Uri) -> Action + Send + Sync;

/// A proxy between the operator and the API server, over plain HTTP, that does what a test tells it.
///
/// It runs on a thread of its own: whatever keeps the test's thread busy, the operator can renew its Lease.
#[derive(Debug)]
pub struct Proxy {
    kubeconfig: PathBuf,
    /// There until it is dropped.
    runtime: Option<Runtime>,
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
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let path = control_plane.directory().join(format!("kubeconfig-proxy-{port}"));
        std::fs::write(&path, kubeconfig(&format!("http://127.0.0.1:{port}"), None, "ignored"))?;
        let decide: Arc<Decide> = Arc::new(decide);
        let admin = control_plane.kubeconfig();
        let ready =
            runtime.spawn(async move { Ok::<_, Error>((TcpListener::from_std(listener)?, client(&admin).await?)) });
        let (listener, client) = ready.await.map_err(std::io::Error::from)??;
        let router = Router::new().fallback(forward).with_state((client, decide));
        runtime.spawn(async move {
            // Ends with the proxy.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { kubeconfig: path, runtime: Some(runtime) })
    }

    /// A kubeconfig that leads through the proxy, with the rights of an administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
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
        Action::Drop => return closed(),
        Action::Late(pause) => sleep(pause).await,
        _ => {}
    }
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(http::header::AUTHORIZATION);
    parts.headers.remove(http::header::HOST);
    if let Action::Stale(revision) = action {
        parts.uri = at(&parts.uri, revision);
    }
    let body = match axum::body::to_bytes(body, usize::MAX).await {
        Ok(body) => body,
        Err(error) => return plain(400, &error.to_string()),
    };
    let send = async || client.send(http::Request::from_parts(parts.clone(), body.to_vec().into())).await;
    let mut answer = send().await;
    if action == Action::Repeat {
        answer = send().await;
    }
    match answer {
        Err(error) => plain(502, &error.to_string()),
        Ok(answer) => pass_back(action, answer.map(Body::new)),
    }
}

/// What becomes of an answer.
fn pass_back(action: Action, answer: Response) -> Response {
    match action {
        Action::LoseAnswer => plain(504, "the answer was lost"),
        Action::HangUp => closed(),
        Action::Cut => answer.map(|body| {
            let half = body.into_data_stream().take(1).map_ok(|part| part.slice(..part.len() / 2));
            // What was sent before an error goes out only if there is a moment between.
            Body::from_stream(half.chain(stream::once(sleep(MOMENT).map(|()| Err(axum::Error::new(Closed))))))
        }),
        Action::Delay(delay) => {
            answer.map(|body| Body::from_stream(body.into_data_stream().then(move |part| sleep(delay).map(|()| part))))
        }
        Action::Stall(after, pause) => answer.map(|body| {
            let (from, until) = (Instant::now() + after, Instant::now() + after + pause);
            Body::from_stream(body.into_data_stream().then(move |part| async move {
                if Instant::now() >= from {
                    sleep_until(until).await;
                }
                part
            }))
        }),
        Action::Expire(after) => answer.map(|body| {
            let gone = stream::once(async { Ok(Bytes::from_static(GONE.as_bytes())) });
            Body::from_stream(body.into_data_stream().take_until(sleep(after)).chain(gone))
        }),
        _ => answer,
    }
}

/// The connection was closed on purpose.
#[derive(Debug, thiserror::Error)]
#[error("closed by the proxy")]
struct Closed;

/// Enough for what is written to go out.
const MOMENT: Duration = Duration::from_millis(20);

/// An answer that can't be begun: the server closes the connection instead.
fn closed() -> Response {
    Response::new(Body::from_stream(stream::once(async { Err::<Bytes, _>(Closed) })))
}

/// The same list, as it was at this revision.
fn at(uri: &Uri, revision: u64) -> Uri {
    let parameters = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|parameter| !parameter.is_empty() && !parameter.starts_with("resourceVersion"));
    let exact = [format!("resourceVersion={revision}"), "resourceVersionMatch=Exact".to_owned()];
    let query: Vec<String> = parameters.map(str::to_owned).chain(exact).collect();
    format!("{}?{}", uri.path(), query.join("&")).parse().unwrap_or_else(|_| uri.clone())
}

/// The last event of a watch that can't go on. A line of its own, wherever the answer was cut.
const GONE: &str = "\n{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"too old resource version\",\"reason\":\"Expired\",\"code\":410}}\n";

fn plain(status: u16, text: &str) -> Response {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = code;
    response
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;

    /// What comes over the wire of an answer that becomes this.
    async fn on_the_wire(action: Action) -> String {
        let answer = move || async move {
            let parts = [Ok::<_, Closed>(Bytes::from_static(b"0123456789")), Ok(Bytes::from_static(b"abc"))];
            pass_back(action, Response::new(Body::from_stream(stream::iter(parts))))
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut told = String::new();
        // A reset is an end too.
        let _ = connection.read_to_string(&mut told).await;
        server.abort();
        told
    }

    #[tokio::test]
    async fn who_hangs_up_says_nothing() {
        assert_eq!(on_the_wire(Action::HangUp).await, "");
    }

    #[tokio::test]
    async fn what_is_cut_ends_in_the_middle() {
        let whole = on_the_wire(Action::Pass).await;
        assert!(whole.contains("0123456789") && whole.contains("abc") && whole.ends_with("0\r\n\r\n"), "{whole}");
        let cut = on_the_wire(Action::Cut).await;
        assert!(cut.contains("01234") && !cut.contains("012345") && !cut.ends_with("0\r\n\r\n"), "{cut}");
    }

    #[test]
    fn a_stale_list_is_one_of_a_revision() {
        let uri: Uri = "/api/v1/services?limit=500&resourceVersion=0".parse().unwrap();
        let stale = "/api/v1/services?limit=500&resourceVersion=7&resourceVersionMatch=Exact";
        assert_eq!(at(&uri, 7).to_string(), stale);
    }
}
