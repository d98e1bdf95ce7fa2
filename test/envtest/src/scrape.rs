use std::net::{Ipv4Addr, SocketAddr};

use http::Request;
use kube::{Client, Config, client::Body};

use crate::{Error, control_plane::free_port};

/// Metrics over TLS, as Prometheus asks for them.
#[derive(Clone, Debug)]
pub struct Scrape {
    port: u16,
    issuer: Option<Vec<u8>>,
}

impl Scrape {
    /// Of an operator that is started with [`Scrape::address`].
    ///
    /// # Errors
    /// If there is no free port.
    pub fn new() -> Result<Self, Error> {
        Ok(Self { port: free_port()?, issuer: None })
    }

    /// The same, but only of a server with a certificate of this issuer, in DER. Otherwise any will do.
    #[must_use]
    pub fn of_issuer(&self, issuer: &[u8]) -> Self {
        Self { issuer: Some(issuer.to_owned()), ..self.clone() }
    }

    /// Where the operator is to serve metrics: an address that others than this machine reach.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::UNSPECIFIED, self.port).into()
    }

    /// Where it is reached from here.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// What a scrape with this token is answered: the status and the text.
    ///
    /// # Errors
    /// If nobody answers, or not with a certificate that will do.
    pub async fn get(&self, token: Option<&str>) -> Result<(u16, String), Error> {
        let url =
            format!("https://{}", self.local()).parse().map_err(http::Error::from).map_err(kube::Error::HttpError)?;
        let mut config = Config::new(url);
        config.default_retry = false;
        config.auth_info.token = token.map(Into::into);
        config.accept_invalid_certs = self.issuer.is_none();
        config.root_cert = self.issuer.clone().map(|issuer| vec![issuer]);
        let request = Request::get("/metrics").body(Body::empty()).map_err(kube::Error::HttpError)?;
        let answer = Client::try_from(config)?.send(request).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect_bytes().await?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}
