//! The operator's Lease, by which commands ask something of whichever replica leads.

use clap::Args;
use itertools::Itertools as _;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::explain::object_name;
use crate::lead::lease::{all, name};

/// Which Lease is meant.
#[derive(Debug, Args)]
pub struct OperatorLease {
    /// The operator's Lease, if there are several
    #[arg(long, value_name = "NAMESPACE/NAME")]
    lease: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("Leases can't be listed: {0}")]
    List(kube::Error),
    #[error(
        "there is no Lease of Clarion in this cluster: it was never installed, its namespace is gone, or somebody \
         deleted the Lease a moment ago, upon which it comes back"
    )]
    None,
    #[error("there is no Lease {0} of Clarion: there are {1}")]
    Other(String, String),
    #[error("there are several Leases of Clarion: {0}; say which one is meant with --lease")]
    Several(String),
    #[error("the Lease {0} can't be changed: {1}")]
    Write(String, kube::Error),
}

impl OperatorLease {
    /// Finds it.
    pub async fn find(&self, client: &Client) -> Result<Lease, Error> {
        let leases = all(client).await.map_err(Error::List)?;
        let found = leases.iter().map(name).join(", ");
        let wanted = self.lease.as_deref().map(|name| object_name(name).to_string());
        let mut fitting =
            leases.into_iter().filter(|lease| wanted.as_ref().is_none_or(|wanted| *wanted == name(lease)));
        match (fitting.next(), fitting.next(), wanted) {
            (Some(lease), None, _) => Ok(lease),
            (Some(_), Some(_), _) => Err(Error::Several(found)),
            (None, _, Some(wanted)) if !found.is_empty() => Err(Error::Other(wanted, found)),
            (None, ..) => Err(Error::None),
        }
    }
}

/// Annotates the Lease, or takes the annotation away.
pub async fn ask(
    client: &Client,
    lease: &Lease,
    annotation: &str,
    value: Option<&str>,
    field_manager: &str,
) -> Result<(), Error> {
    let metadata = &lease.metadata;
    let api: Api<Lease> = Api::namespaced(client.clone(), metadata.namespace.as_deref().unwrap_or_default());
    let patch = Patch::Merge(json!({"metadata": {"annotations": {annotation: value}}}));
    let parameters = PatchParams { field_manager: Some(field_manager.to_owned()), ..PatchParams::default() };
    let patched = api.patch(metadata.name.as_deref().unwrap_or_default(), &parameters, &patch).await;
    patched.map(drop).map_err(|error| Error::Write(name(lease), error))
}
