//! `clarion addresses`

use clap::Args;
use clarion_api::{Timestamp, names};
use clarion_core::{
    World,
    allocate::{Allocation, Held},
    config::Config,
    world::ObjectName,
};
use schemars::JsonSchema;
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

/// An address that somebody has, or that is held for somebody.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    address: String,
    /// The pool that it is of, if a valid one has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<String>,
    /// Who has it, as `NAMESPACE/NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// How it is held, in a word.
    state: &'static str,
    /// Since when the Service has all that it asks for (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
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
