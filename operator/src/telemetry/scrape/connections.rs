//! HTTP over TLS for clients of which nothing is known: whatever they do, a connection ends soon, and there are few.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;

use crate::bucket::Bucket;

/// Connections at the same time; the kernel keeps others waiting.
const AT_ONCE: usize = 32;
/// New ones a second, and at once. A handshake takes less than a millisecond of one core.
const RATE: (u32, u32) = (50, 100);
/// How long one may last, with its handshake, its one request, the review of its token and the answer. By default Prometheus waits
/// as long.
const LASTS: Duration = Duration::from_secs(10);
/// Bytes of a request's head. Tokens have one or two thousand.
const HEAD: usize = 32 << 10;

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, acceptor: TlsAcceptor, routes: Router) {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut pace = Bucket::full(RATE.0, RATE.1, Instant::now());
    // It is never closed.
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        while let Err(at) = pace.take(Instant::now()) {
            sleep_until(at).await;
        }
        let Ok((stream, _)) = listener.accept().await else {
            // The process has too many files open, say.
            sleep(Duration::from_secs(1)).await;
            continue;
        };
        let connection = answer(acceptor.clone(), stream, routes.clone());
        tokio::spawn(async move {
            // Who is too slow, or speaks something else, is told nothing.
            let _ = timeout(LASTS, connection).await;
            drop(slot);
        });
    }
}

/// Answers one request.
async fn answer(acceptor: TlsAcceptor, stream: TcpStream, routes: Router) {
    if let Ok(stream) = acceptor.accept(stream).await {
        let service = TowerToHyperService::new(routes);
        let mut http = http1::Builder::new();
        let connection = http.keep_alive(false).max_buf_size(HEAD).serve_connection(TokioIo::new(stream), service);
        let _ = connection.await;
    }
}
