//! `clarion drain-all`

use std::time::{Duration, Instant};

use clap::Args;
use clarion_api::{frr::FRRConfiguration, names};
use clarion_core::world::Service;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::ListParams};

use super::{
    cluster, duration,
    lease::{self, OperatorLease},
    output::{count, few},
    program,
};
use crate::{
    lead::lease::{Seen, holder, name},
    watch::Watched,
};

/// Withdraw everything that Clarion announces, as before an uninstall
///
/// The operator deletes all its FRRConfigurations, and with them go the routes and the sessions that nobody else has. Services
/// keep their addresses, so that all is as before when this is undone, or Clarion installed again. With --release-addresses
/// they lose them, too, once these are withdrawn. It goes on until --undo, whichever replica leads.
#[derive(Debug, Args)]
pub struct DrainAll {
    /// Take the addresses from the status of Services, too
    #[arg(long)]
    release_addresses: bool,
    /// Announce everything again
    #[arg(long, conflicts_with = "release_addresses")]
    undo: bool,
    /// Write nothing; print what would be withdrawn
    #[arg(long, conflicts_with = "undo")]
    dry_run: bool,
    #[command(flatten)]
    lease: OperatorLease,
    /// How long to wait at most, in seconds (`30s`) or minutes
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration::timeout)]
    timeout: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    #[error("{0} can't be listed: {1}")]
    List(&'static str, kube::Error),
    #[error(transparent)]
    Lease(#[from] lease::Error),
    #[error("{0}. What is left of its FRRConfigurations: {REMAINS}")]
    NoLease(lease::Error),
    #[error(
        "no operator holds the Lease {0}, so nobody withdraws anything, and nobody announces it again either. Start the operator; or \
         withdraw all with: {REMAINS}"
    )]
    Stopped(String),
    #[error("the operator was told, and goes on; but after {0:?} there are still: {1}")]
    Slow(Duration, String),
}

/// Where no operator runs that would write them again.
const REMAINS: &str = "kubectl delete frrconfigurations -A -l app.kubernetes.io/managed-by=clarion";
/// The field manager under which the Lease is changed.
const FIELD_MANAGER: &str = "clarion-drain-all";
/// The time between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// What is to go and is still there.
#[derive(PartialEq)]
struct Remains {
    configurations: Vec<String>,
    services: Vec<String>,
}

impl DrainAll {
    pub fn execute(self) -> Result<(), Error> {
        cluster::block_on(self.change())?
    }

    async fn change(&self) -> Result<(), Error> {
        let client = cluster::client().await?;
        if self.dry_run {
            let remains = self.remains(&client).await?;
            println!("This would go: {remains}");
            return Ok(());
        }
        let lease = self.lease(&client).await?;
        if !self.undo && holder(&lease).is_empty() {
            return Err(Error::Stopped(name(&lease)));
        }
        let asked = match (self.undo, self.release_addresses) {
            (true, _) => None,
            (false, false) => Some(names::DRAIN_ROUTES),
            (false, true) => Some(names::DRAIN_ADDRESSES),
        };
        lease::ask(&client, &lease, names::DRAIN_ALL_ANNOTATION, asked, FIELD_MANAGER).await?;
        let program = program::name();
        if self.undo {
            println!("Clarion announces everything again in a few seconds. {program} status");
            return Ok(());
        }
        self.wait(&client).await?;
        let addresses = if self.release_addresses { " and Services have lost their addresses" } else { "" };
        println!(
            "All FRRConfigurations of Clarion are gone{addresses}. Uninstall it now; or announce everything again with: {program} \
             drain-all --undo"
        );
        Ok(())
    }

    async fn lease(&self, client: &Client) -> Result<Lease, Error> {
        self.lease.find(client).await.map_err(|error| match error {
            lease::Error::None => Error::NoLease(error),
            other => Error::Lease(other),
        })
    }

    /// Waits until nothing is left.
    async fn wait(&self, client: &Client) -> Result<(), Error> {
        let (end, mut seen, mut told) = (Instant::now() + self.timeout, Seen::default(), None);
        loop {
            let remains = self.remains(client).await?;
            if remains.is_nothing() {
                return Ok(());
            }
            let lease = self.lease(client).await?;
            if !seen.is_held(&lease, Duration::ZERO) {
                return Err(Error::Stopped(name(&lease)));
            }
            let text = remains.to_string();
            if Instant::now() >= end {
                return Err(Error::Slow(self.timeout, text));
            }
            if told.as_ref() != Some(&text) {
                program::tell(format!("still there: {text}"));
                told = Some(text);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn remains(&self, client: &Client) -> Result<Remains, Error> {
        let api: Api<FRRConfiguration> = Api::all(client.clone());
        let configurations = match api.list_metadata(&ListParams::default().labels(&names::managed_by_clarion())).await
        {
            Ok(list) => list.items.into_iter().filter_map(|object| object.metadata.name).collect(),
            Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
            Err(error) => return Err(Error::List("FRRConfigurations", error)),
        };
        let mut remains = Remains { configurations, services: Vec::new() };
        // They are the last to go, and there can be many.
        if self.release_addresses && (remains.configurations.is_empty() || self.dry_run) {
            let api: Api<<Service as Watched>::Source> = Api::all(client.clone());
            let services = api.list(&ListParams::default()).await.map_err(|error| Error::List("Services", error))?;
            let services = services.items.into_iter().map(Service::project);
            let ours = services.filter(|service| {
                service.value.conditions.iter().any(|condition| condition.type_ == names::ADDRESS_ALLOCATED)
            });
            remains.services = ours.map(|service| service.meta.name.to_string()).collect();
        }
        Ok(remains)
    }
}

impl Remains {
    fn is_nothing(&self) -> bool {
        self.configurations.is_empty() && self.services.is_empty()
    }
}

impl std::fmt::Display for Remains {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let part = |names: &[String], one, several| {
            (!names.is_empty()).then(|| format!("{} ({})", count(names.len(), one, several), few(names)))
        };
        let configurations = part(&self.configurations, "FRRConfiguration", "FRRConfigurations");
        let services = part(&self.services, "Service with Clarion's addresses", "Services with Clarion's addresses");
        let parts: Vec<String> = configurations.into_iter().chain(services).collect();
        f.write_str(if parts.is_empty() { "nothing" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}
