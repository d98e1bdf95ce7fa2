//! `clarion explain`

use clap::{Args, Subcommand};
use clarion_core::{
    World,
    address_set::count_text,
    allocate::Allocation,
    config::Config,
    world::{Family, Object, ObjectName, Service},
};
use serde::Serialize;

use super::{
    output::table,
    view::{self, View, look},
};

/// Tell why something is as it is
#[derive(Debug, Args)]
pub struct Explain {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Why a Service has its addresses, or none: every pool in the order in which it is tried, and what it has for it
    Service(ExplainService),
}

#[derive(Debug, Args)]
struct ExplainService {
    /// NAMESPACE/NAME; without a namespace, `default`
    #[arg(value_name = "NAMESPACE/NAME")]
    service: String,
    #[command(flatten)]
    view: View,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    View(#[from] view::Error),
    #[error("there is no Service {0}")]
    NoService(ObjectName),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    service: String,
    served: bool,
    /// Whether it has what it asks for, `False` where it can do without part of it too.
    #[serde(skip_serializing_if = "Option::is_none")]
    complete: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    message: String,
    pools: Vec<Row>,
}

/// What a pool has for the Service, by family.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    pool: String,
    family: &'static str,
    free: u64,
    addresses: Vec<String>,
    verdict: String,
}

impl Explain {
    pub fn execute(self) -> Result<(), Error> {
        let What::Service(explain) = self.what;
        let name = object_name(&explain.service);
        let world = explain.view.world()?;
        let service = world.services.get(&name).ok_or_else(|| Error::NoService(name.clone()))?;
        let explanation = look(&world, |config, allocation| explanation(&world, service, config, allocation));
        Ok(explain.view.print(&explanation, |explanation| {
            let Explanation { service, reason, message, pools, .. } = explanation;
            let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            let text = format!("Service {service}: {message}{reason}\n");
            if pools.is_empty() {
                return text;
            }
            let cells = pools.iter().map(|row| {
                let free = count_text(row.free);
                [row.pool.clone(), row.family.to_owned(), free, row.addresses.join(","), row.verdict.clone()]
            });
            format!("{text}\n{}", table(["POOL", "FAMILY", "FREE", "HAS", "FOR ANOTHER ADDRESS"], cells))
        })?)
    }
}

/// `NAMESPACE/NAME`, or a name in the namespace `default`.
pub fn object_name(text: &str) -> ObjectName {
    let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
    ObjectName::new(namespace, name)
}

fn explanation(world: &World, service: &Object<Service>, config: &Config, allocation: &Allocation) -> Explanation {
    let name = &service.meta.name;
    let seated = allocation.seat(name).filter(|seated| seated.served);
    let Some(seated) = seated else {
        let message = world.not_served(service).unwrap_or_else(|| "it is being looked at".to_owned());
        let service = name.to_string();
        return Explanation { service, served: false, complete: None, reason: None, message, pools: Vec::new() };
    };
    let verdict = seated.verdict();
    let rows = allocation.weigh(world, config, name).into_iter().filter_map(|weighed| {
        let pool = config.pools.get(weighed.pool)?;
        let [v4, v6] = allocation.taken(weighed.pool);
        let taken = if weighed.family == Family::V4 { v4 } else { v6 };
        Some(Row {
            pool: pool.name.clone(),
            family: weighed.family.name(),
            free: pool.available(weighed.family, taken),
            addresses: weighed.has.iter().map(ToString::to_string).collect(),
            verdict: weighed.why.map_or_else(|| "would give one".to_owned(), |why| why.to_string()),
        })
    });
    Explanation {
        service: name.to_string(),
        served: true,
        complete: Some(verdict.complete),
        reason: Some(verdict.reason.name()),
        message: verdict.message,
        pools: rows.collect(),
    }
}
