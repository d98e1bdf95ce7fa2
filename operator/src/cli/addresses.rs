//! `clarion addresses`

use clap::Args;
use clarion_api::{Timestamp, names};
use clarion_core::{
    World,
    allocate::{Allocation, Held},
    config::Config,
    world::ObjectName,
};
use serde::Serialize;

use super::{
    output::table,
    view::{Error, View, look},
};

/// Show who has which address
#[derive(Debug, Args)]
pub struct Addresses {
    #[command(flatten)]
    view: View,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    state: &'static str,
    /// Since when the Service has all that it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
}

impl Addresses {
    pub fn execute(self) -> Result<(), Error> {
        let world = self.view.world()?;
        let rows = look(&world, |config, allocation| rows(&world, config, allocation));
        self.view.print(&rows, |rows| {
            let cells = rows.iter().map(|row| {
                let since = row.since.map(|since| since.to_string()).unwrap_or_default();
                let (pool, service) = (row.pool.clone().unwrap_or_default(), row.service.clone().unwrap_or_default());
                [row.address.clone(), pool, service, row.state.to_owned(), since]
            });
            table(["ADDRESS", "POOL", "SERVICE", "STATE", "SINCE"], cells)
        })
    }
}

fn rows(world: &World, config: &Config, allocation: &Allocation) -> Vec<Row> {
    let row = |held: Held| Row {
        address: held.address.to_string(),
        pool: config.pools.of(held.address).map(|pool| pool.name.clone()),
        service: held.service.map(ToString::to_string),
        state: held.how.word(),
        since: held.service.and_then(|name| since(world, name)),
    };
    allocation.held().into_iter().map(row).collect()
}

fn since(world: &World, name: &ObjectName) -> Option<Timestamp> {
    let conditions = &world.services.get(name)?.value.conditions;
    let allocated = conditions.iter().find(|c| c.type_ == names::ADDRESS_ALLOCATED && c.status == "True")?;
    // Rendered manifests have no times.
    Some(allocated.last_transition_time).filter(|since| *since != Timestamp::UNIX_EPOCH)
}
