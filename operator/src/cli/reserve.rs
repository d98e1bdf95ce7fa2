//! `clarion reserve`

use std::collections::BTreeMap;

use clap::Args;
use clarion_api::{AddressReservation, AddressReservationSpec};
use clarion_core::{
    allocate::{Allocation, How},
    config::Config,
    world::ObjectName,
};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};

use super::{
    cluster,
    explain::object_name,
    output::{Format, table},
    program,
    view::{self, View, look},
};

/// Write AddressReservations for Services that have an address, so that it stays theirs when they are deleted or restored
///
/// The addresses that a Service has stand only in its status, which no `kubectl apply` restores. `clarion reserve -A --dry-run
/// -o yaml` is a backup of them.
#[derive(Debug, Args)]
pub struct Reserve {
    /// Services, as NAMESPACE/NAME; without a namespace, `default`
    #[arg(value_name = "NAMESPACE/NAME", required_unless_present_any = ["namespace", "all_namespaces"])]
    services: Vec<String>,
    /// All Services of this namespace
    #[arg(short = 'n', long, value_name = "NAMESPACE", conflicts_with = "services")]
    namespace: Option<String>,
    /// All Services of all namespaces
    #[arg(short = 'A', long, visible_alias = "all", conflicts_with_all = ["services", "namespace"])]
    all_namespaces: bool,
    /// Write nothing; print what would be written
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    view: View,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    View(#[from] view::Error),
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    #[error("a reservation can't be written as YAML: {0}; this is a fault of Clarion, please report it")]
    Yaml(#[from] serde_saphyr::SerializeError),
    #[error("Service {0} has no address of a pool; nothing was written")]
    Nothing(ObjectName),
    #[error("AddressReservation {0} can't be written: {1}")]
    Write(ObjectName, kube::Error),
}

/// The field manager under which reservations are written.
const FIELD_MANAGER: &str = "clarion-reserve";

impl Reserve {
    pub fn execute(self) -> Result<(), Error> {
        if !self.dry_run {
            self.view.must_be_a_cluster()?;
        }
        let mut reservations = look(&self.view.world()?, reservations);
        let named: Vec<ObjectName> = self.services.iter().map(|text| object_name(text)).collect();
        if let Some(missing) = named.iter().find(|name| !reservations.iter().any(|(service, _)| service == *name)) {
            return Err(Error::Nothing(missing.clone()));
        }
        reservations.retain(|(service, _)| {
            self.all_namespaces
                || self.namespace.as_deref() == Some(service.namespace.as_str())
                || named.contains(service)
        });
        let manifests: Vec<_> = reservations.into_iter().map(|(_, reservation)| reservation).collect();
        if self.dry_run {
            return self.show(&manifests);
        }
        cluster::block_on(async {
            let client = cluster::client().await?;
            for manifest in &manifests {
                let (namespace, name) = (manifest.namespace().unwrap_or_default(), manifest.name_any());
                let api: Api<AddressReservation> = Api::namespaced(client.clone(), &namespace);
                let parameters = PatchParams::apply(FIELD_MANAGER).force();
                let id = ObjectName::new(namespace, &name);
                api.patch(&name, &parameters, &Patch::Apply(manifest))
                    .await
                    .map_err(|error| Error::Write(id.clone(), error))?;
                println!("addressreservation.clarionlb.io/{id} reserves {}", manifest.spec.addresses.join(", "));
            }
            Ok(())
        })?
    }

    /// Prints manifests that `kubectl apply` takes; a table only names them.
    fn show(&self, manifests: &[AddressReservation]) -> Result<(), Error> {
        if self.view.format() == Format::Yaml {
            for manifest in manifests {
                print!("---\n{}", serde_saphyr::to_string(manifest)?);
            }
            return Ok(());
        }
        Ok(self.view.print(&manifests, |manifests| {
            let rows = manifests.iter().map(|manifest| {
                let (namespace, spec) = (manifest.namespace().unwrap_or_default(), &manifest.spec);
                [
                    namespace,
                    manifest.name_any(),
                    spec.pool_name.clone(),
                    spec.service_name.clone(),
                    spec.addresses.join(","),
                ]
            });
            table(["NAMESPACE", "NAME", "POOL", "SERVICE", "ADDRESSES"], rows)
        })?)
    }
}

/// A reservation for each Service and pool from which it has addresses.
fn reservations(config: &Config, allocation: &Allocation) -> Vec<(ObjectName, AddressReservation)> {
    let mut found: BTreeMap<(ObjectName, String), Vec<String>> = BTreeMap::new();
    for held in allocation.held().into_iter().filter(|held| matches!(held.how, How::Held | How::Shared)) {
        let Some(service) = held.service else { continue };
        let Some(pool) = config.pools.of(held.address) else {
            program::tell(format!(
                "{} of Service {service} is in no valid pool, so it can't be reserved",
                held.address
            ));
            continue;
        };
        found.entry((service.clone(), pool.name.clone())).or_default().push(held.address.to_string());
    }
    let manifest = |((service, pool), addresses): ((ObjectName, String), Vec<String>)| {
        let spec =
            AddressReservationSpec { pool_name: pool.clone(), addresses, service_name: service.name.to_string() };
        let mut manifest = AddressReservation::new(&reservation_name(&service.name, &pool), spec);
        manifest.metadata.namespace = Some(service.namespace.to_string());
        (service, manifest)
    };
    found.into_iter().map(manifest).collect()
}

/// The longest name that an object may have.
const NAME_MAX: usize = 253;

/// `SERVICE.POOL`, which no other Service and pool can have; shortened where it is too long.
fn reservation_name(service: &str, pool: &str) -> String {
    let name = format!("{service}.{pool}");
    if name.len() <= NAME_MAX { name } else { format!("{service}.{}", clarion_core::hash(pool)) }
}
