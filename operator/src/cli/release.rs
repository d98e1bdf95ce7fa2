//! `clarion release`

use std::{collections::BTreeSet, net::IpAddr};

use clap::Args;
use clarion_api::names;
use clarion_core::{
    allocate::{Allocation, asks_for},
    config::Config,
    world::{Family, Object, ObjectName, Service},
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde::Serialize;
use serde_json::json;

use super::{
    cluster,
    explain::object_name,
    output::table,
    view::{self, View, look},
};

/// Let Services give up addresses: those of a pool that is succeeded by another, once they have one of that
///
/// The addresses are named in the annotation `clarionlb.io/release` of the Service. The operator withdraws them, and then
/// takes them from the status.
#[derive(Debug, Args)]
pub struct Release {
    /// A Service, as NAMESPACE/NAME; without a namespace, `default`
    #[arg(value_name = "NAMESPACE/NAME", required_unless_present = "pool")]
    service: Option<String>,
    /// The addresses to give up; those of succeeded pools if none is given
    #[arg(value_name = "ADDRESS", conflicts_with = "pool")]
    addresses: Vec<IpAddr>,
    /// The succeeded pool whose addresses all Services give up that have one of its successor
    #[arg(long, value_name = "POOL", conflicts_with = "service")]
    pool: Option<String>,
    /// Give up the last address of a family too
    #[arg(long)]
    force: bool,
    /// Write nothing; print what would be given up
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
    #[error("there is no Service {0} that Clarion serves")]
    NoService(ObjectName),
    #[error("there is no valid LoadBalancerPool {0:?} that is succeeded by another")]
    NoPool(String),
    #[error("Service {0} does not have {1}")]
    NotHeld(ObjectName, IpAddr),
    #[error("{1} is the last {2} address of Service {0}; with --force it is given up all the same")]
    Last(ObjectName, IpAddr, &'static str),
    #[error("Service {0} asks for {1}, in an annotation or in spec.loadBalancerIP; change that instead")]
    AskedFor(ObjectName, IpAddr),
    #[error("nothing is to be released: no Service has an address of a succeeded pool and one of its successor")]
    Nothing,
    #[error("Service {0} can't be annotated: {1}")]
    Write(ObjectName, kube::Error),
}

/// The field manager under which Services are annotated.
const FIELD_MANAGER: &str = "clarion-release";

/// What a Service gives up.
#[derive(Serialize)]
struct Row {
    service: String,
    releases: Vec<IpAddr>,
    keeps: Vec<IpAddr>,
    #[serde(skip)]
    name: ObjectName,
    #[serde(skip)]
    resource_version: String,
    #[serde(skip)]
    annotation: String,
}

impl Release {
    pub fn execute(self) -> Result<(), Error> {
        if !self.dry_run {
            self.view.must_be_a_cluster()?;
        }
        let world = self.view.world()?;
        let rows = look(&world, |config, allocation| self.rows(config, allocation))?;
        if !self.dry_run {
            cluster::block_on(annotate(&rows))??;
        }
        Ok(self.view.print(&rows, |rows| {
            let list = |addresses: &[IpAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let cells = rows.iter().map(|row| [row.service.clone(), list(&row.releases), list(&row.keeps)]);
            table(["SERVICE", "RELEASES", "KEEPS"], cells)
        })?)
    }

    fn rows(&self, config: &Config, allocation: &Allocation) -> Result<Vec<Row>, Error> {
        let only = self.service.as_deref().map(object_name);
        if let Some(pool) =
            self.pool.as_ref().filter(|pool| config.pools.named(pool).is_none_or(|p| config.pools.heir(p).is_none()))
        {
            return Err(Error::NoPool(pool.clone()));
        }
        let mut rows = Vec::new();
        for seated in allocation.seats().filter(|seated| seated.served) {
            let (service, kept) = (seated.service, seated.kept());
            if only.as_ref().is_none_or(|only| *only == service.meta.name) {
                let releases = self.releases(config, service, kept)?;
                rows.extend((!releases.is_empty()).then(|| row(service, kept, releases)));
            }
        }
        match only {
            Some(name) if allocation.seat(&name).is_none_or(|seated| !seated.served) => Err(Error::NoService(name)),
            _ if rows.is_empty() => Err(Error::Nothing),
            _ => Ok(rows),
        }
    }

    /// The addresses that a Service gives up.
    fn releases(&self, config: &Config, service: &Object<Service>, kept: &[IpAddr]) -> Result<Vec<IpAddr>, Error> {
        let name = || service.meta.name.clone();
        let in_status = |address: &&IpAddr| service.value.addresses.contains(address);
        if self.addresses.is_empty() {
            let is_replaced = |address: &&IpAddr| {
                let pool = config.pools.index_of(**address);
                let heir = pool.and_then(|pool| config.pools.heir(pool));
                let of_pool = self.pool.as_ref().is_none_or(|only| pool == config.pools.named(only));
                let has_next = |other: &&IpAddr| {
                    Family::of(**other) == Family::of(**address) && config.pools.index_of(**other) == heir
                };
                of_pool && heir.is_some() && kept.iter().filter(in_status).any(|other| has_next(&other))
            };
            let (asked, replaced): (Vec<IpAddr>, Vec<IpAddr>) =
                kept.iter().filter(is_replaced).partition(|address| asks_for(service, &config.pools, **address));
            for address in asked {
                eprintln!("clarion: {}", Error::AskedFor(name(), address));
            }
            return Ok(replaced);
        }
        for address in &self.addresses {
            let family = Family::of(*address);
            if !kept.contains(address) {
                return Err(Error::NotHeld(name(), *address));
            }
            let stays = |other: &&IpAddr| Family::of(**other) == family && !self.addresses.contains(other);
            if !self.force && !kept.iter().filter(in_status).any(|other| stays(&other)) {
                return Err(Error::Last(name(), *address, family.name()));
            }
            if asks_for(service, &config.pools, *address) {
                return Err(Error::AskedFor(name(), *address));
            }
        }
        Ok(self.addresses.clone())
    }
}

fn row(service: &Object<Service>, kept: &[IpAddr], releases: Vec<IpAddr>) -> Row {
    // What was given up before and is gone needs no mention any more.
    let before = service.value.annotations.get(names::RELEASE_ANNOTATION);
    let before = before.iter().flat_map(|text| text.split(',')).filter_map(|text| text.trim().parse::<IpAddr>().ok());
    let still = before.filter(|address| service.value.addresses.contains(address));
    let all: BTreeSet<IpAddr> = still.chain(releases.iter().copied()).collect();
    Row {
        service: service.meta.name.to_string(),
        keeps: kept.iter().filter(|address| !releases.contains(address)).copied().collect(),
        releases,
        name: service.meta.name.clone(),
        resource_version: service.meta.resource_version.clone(),
        annotation: all.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    }
}

async fn annotate(rows: &[Row]) -> Result<(), Error> {
    let client = cluster::client().await?;
    for row in rows {
        let api: Api<k8s_openapi::api::core::v1::Service> = Api::namespaced(client.clone(), &row.name.namespace);
        let patch = json!({"metadata": {
            "resourceVersion": row.resource_version,
            "annotations": {names::RELEASE_ANNOTATION: row.annotation},
        }});
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patched = api.patch(&row.name.name, &parameters, &Patch::Merge(patch)).await;
        patched.map_err(|error| Error::Write(row.name.clone(), error))?;
    }
    Ok(())
}
