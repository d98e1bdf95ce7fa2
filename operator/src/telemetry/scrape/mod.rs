//! Metrics for others than the process's own machine: over TLS, to who has the right.

mod access;
mod answers;
mod certificate;
mod connections;

use std::sync::Arc;

use axum::{Router, routing::get};
use http::HeaderMap;
use kube::Client;
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{self, ServerConfig, crypto::ring},
};

use self::{access::Access, certificate::Certificate};
pub use self::{
    access::Refusal,
    certificate::{Error, Files},
};
use super::Metrics;

/// Metrics over TLS.
#[derive(Clone)]
pub struct Scrapes {
    acceptor: TlsAcceptor,
    routes: Router,
}

impl Scrapes {
    /// With the certificate in these files, or one that is made now. The client asks the API server who may scrape.
    pub async fn new(metrics: Metrics, client: Client, files: Option<Files>) -> Result<Self, Error> {
        let acceptor = acceptor(Certificate::new(files).await?)?;
        let access = Access::new(client);
        let scrape = async move |headers: HeaderMap| {
            access.admit(&headers).await?;
            Ok::<_, Refusal>(metrics.text())
        };
        Ok(Self { acceptor, routes: Router::new().route("/metrics", get(scrape)) })
    }

    /// Serves them until the process ends.
    pub async fn serve(self, listener: TcpListener) {
        connections::serve(listener, self.acceptor, self.routes).await;
    }
}

fn acceptor(certificate: Arc<Certificate>) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
