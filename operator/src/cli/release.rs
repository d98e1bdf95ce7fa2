//! `clarion release`

use std::{collections::BTreeSet, net::IpAddr};

use clap::Args;
use clarion_api::names;
use clarion_core::{
    allocate::{Allocation, asks_for},
    config::Config,
    world::{Announced, Family, Object, ObjectName, Service},
};
use itertools::Itertools as _;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::{
    cluster,
    explain::object_name,
    output::table,
    program,
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
    #[error("{1} is announced, and no other {2} address of Service {0} is; with --force it is given up all the same")]
    Unannounced(ObjectName, IpAddr, &'static str),
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
#[derive(Serialize, JsonSchema)]
pub struct Row {
    /// `NAMESPACE/NAME`.
    service: String,
    /// The addresses that it gives up.
    releases: Vec<IpAddr>,
    /// Those that it keeps.
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
        let rows =
            look(&world, |config, allocation| self.rows(&Looked { config, announced: world.announced() }, allocation))?;
        if !self.dry_run {
            cluster::block_on(annotate(&rows))??;
        }
        Ok(self.view.print(&rows, |rows| {
            let list = |addresses: &[IpAddr]| addresses.iter().join(",");
            let cells = rows.iter().map(|row| [row.service.clone(), list(&row.releases), list(&row.keeps)]);
            table(["SERVICE", "RELEASES", "KEEPS"], cells)
        })?)
    }

    fn rows(&self, view: &Looked, allocation: &Allocation) -> Result<Vec<Row>, Error> {
        let config = view.config;
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
                let releases = self.releases(view, service, kept)?;
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
    fn releases(&self, view: &Looked, service: &Object<Service>, kept: &[IpAddr]) -> Result<Vec<IpAddr>, Error> {
        let pools = &view.config.pools;
        if !self.addresses.is_empty() {
            for address in &self.addresses {
                if !kept.contains(address) {
                    return Err(Error::NotHeld(service.meta.name.clone(), *address));
                }
                self.check(view, service, kept, &self.addresses, *address)?;
            }
            return Ok(self.addresses.clone());
        }
        let is_replaced = |address: &IpAddr| {
            let pool = pools.index_of(*address);
            let heir = pool.and_then(|pool| pools.heir(pool));
            let of_pool = self.pool.as_ref().is_none_or(|only| pool == pools.named(only));
            let is_next = |other: &IpAddr| Family::of(*other) == Family::of(*address) && pools.index_of(*other) == heir;
            of_pool && heir.is_some() && kept.iter().any(is_next)
        };
        let replaced: Vec<IpAddr> = kept.iter().filter(|address| is_replaced(address)).copied().collect();
        let is_safe = |address: &IpAddr| match self.check(view, service, kept, &replaced, *address) {
            Ok(()) => true,
            Err(error) => {
                program::tell(format!("passed over: {error}"));
                false
            }
        };
        Ok(replaced.iter().filter(|address| is_safe(address)).copied().collect())
    }

    /// Whether a Service can do without an address, as far as its family goes, when these are given up.
    fn check(
        &self,
        view: &Looked,
        service: &Object<Service>,
        kept: &[IpAddr],
        releases: &[IpAddr],
        address: IpAddr,
    ) -> Result<(), Error> {
        let (name, family) = (service.meta.name.clone(), Family::of(address));
        let stays = |other: &&IpAddr| {
            Family::of(**other) == family && !releases.contains(other) && service.value.addresses.contains(other)
        };
        let rest: Vec<&IpAddr> = kept.iter().filter(stays).collect();
        if asks_for(service, &view.config.pools, address) {
            Err(Error::AskedFor(name, address))
        } else if rest.is_empty() && !self.force {
            Err(Error::Last(name, address, family.name()))
        } else if view.announced.contains(&address)
            && !rest.iter().any(|other| view.announced.contains(other))
            && !self.force
        {
            Err(Error::Unannounced(name, address, family.name()))
        } else {
            Ok(())
        }
    }
}

/// What is looked at.
struct Looked<'a> {
    config: &'a Config,
    announced: Announced,
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
        resource_version: service.meta.resource_version.to_string(),
        annotation: all.iter().join(","),
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
