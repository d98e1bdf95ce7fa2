//! Where the process listens, and what it answers there.

use std::{io, net::SocketAddr};

use axum::{Router, routing::get};
use kube::Client;
use tokio::net::TcpListener;
use tracing::warn;

use super::{
    Health, Metrics,
    scrape::{self, Scrapes},
};

/// Addresses for probes and metrics.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Probes, in plain HTTP: the kubelet shows no token.
    pub probes: SocketAddr,
    /// Metrics: in plain HTTP on a loopback address, which may be that of the probes; on any other over TLS, to who has the right.
    pub metrics: Vec<SocketAddr>,
    /// The certificate for that; one is made if there is none.
    pub certificate: Option<scrape::Files>,
}

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address is not to be had.
    #[error("{address} can't be listened on: {why}; choose another with {flag}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What sets it.
        flag: &'static str,
        /// Why not.
        why: io::Error,
    },
    /// One address can't speak TLS and not.
    #[error(
        "{0} can't be for metrics and probes: metrics are served over TLS there, and probes in plain HTTP; \
         choose another with --metrics-addr"
    )]
    Both(SocketAddr),
    /// There is no certificate.
    #[error(transparent)]
    Certificate(#[from] scrape::Error),
}

impl Endpoints {
    /// Serves until the process ends. The client asks the API server who may scrape.
    pub async fn serve(self, health: Health, metrics: Metrics, client: Client) -> Result<(), Error> {
        let (local, others): (Vec<_>, Vec<_>) = self.metrics.into_iter().partition(is_loopback);
        if others.contains(&self.probes) {
            return Err(Error::Both(self.probes));
        }
        let (text, mut probes) = (metrics.clone(), health.routes());
        let routes = Router::new().route("/metrics", get(async move || text.text()));
        if local.contains(&self.probes) {
            probes = probes.merge(routes.clone());
        }
        serve_plainly(listen(self.probes, "--health-addr").await?, probes);
        for address in local.into_iter().filter(|address| *address != self.probes) {
            serve_plainly(listen(address, METRICS).await?, routes.clone());
        }
        if others.is_empty() {
            if let Some(files) = &self.certificate {
                let file = files.certificate.display();
                warn!(%file, "the certificate is of no use: metrics are served on loopback addresses alone, in plain HTTP");
            }
            return Ok(());
        }
        let scrapes = Scrapes::new(metrics, client, self.certificate).await?;
        for address in others {
            tokio::spawn(scrapes.clone().serve(listen(address, METRICS).await?));
        }
        Ok(())
    }
}

const METRICS: &str = "--metrics-addr";

/// Whether nobody outside of the machine, or of the Pod, gets there.
fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

async fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|why| Error::Listen { address, flag, why })
}

fn serve_plainly(listener: TcpListener, routes: Router) {
    tokio::spawn(async move { axum::serve(listener, routes).await });
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("127.0.0.1:9090", true)]
    #[case("127.1.2.3:9090", true)]
    #[case("[::1]:9090", true)]
    #[case("[::ffff:127.0.0.1]:9090", true)]
    #[case("0.0.0.0:9090", false)]
    #[case("[::]:9090", false)]
    #[case("192.0.2.1:9090", false)]
    #[case("[::ffff:192.0.2.1]:9090", false)]
    fn only_loopback_addresses_are_plain(#[case] address: SocketAddr, #[case] expected: bool) {
        assert_eq!(is_loopback(&address), expected);
    }
}
