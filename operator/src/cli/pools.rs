//! `clarion pools`

use clap::Args;
use clarion_core::{
    World,
    address_set::count_text,
    allocate::Allocation,
    config::{Config, Pool},
    world::Family,
};
use itertools::Itertools as _;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    output::table,
    view::{Error, View, look},
};

/// Show what pools have, and how much of it is in use
#[derive(Debug, Args)]
pub struct Pools {
    #[command(flatten)]
    view: View,
}

/// The addresses of one family in a pool.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pool: String,
    /// `IPv4` or `IPv6`.
    family: &'static str,
    /// Addresses, prefixes, and ranges `FIRST-LAST`.
    ranges: Vec<String>,
    /// Addresses that are in use.
    used: u64,
    /// Addresses that are not; 9007199254740991 stands for that many or more.
    free: u64,
    /// How many addresses namespaces may have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    quotas: Vec<Quota>,
}

/// How many addresses a namespace may have.
#[derive(Serialize, JsonSchema)]
struct Quota {
    /// The namespace; none for all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    /// How many it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<u64>,
    /// How many it may have.
    most: u64,
}

impl Pools {
    pub fn execute(self) -> Result<(), Error> {
        let world = self.view.world()?;
        let rows = look(&world, |config, allocation| rows(&world, config, allocation));
        self.view.print(&rows, |rows| {
            let cells = rows.iter().map(|row| {
                let free = count_text(row.free);
                [row.pool.clone(), row.family.to_owned(), ranges(&row.ranges), row.used.to_string(), free, quotas(row)]
            });
            table(["POOL", "FAMILY", "RANGE", "USED", "FREE", "QUOTA"], cells)
        })
    }
}

/// How many ranges a table shows.
const SHOWN: usize = 2;

fn ranges(all: &[String]) -> String {
    let shown = all.iter().take(SHOWN).join(",");
    if all.len() > SHOWN { format!("{shown},+{}", all.len() - SHOWN) } else { shown }
}

fn quotas(row: &Row) -> String {
    let text = |quota: &Quota| {
        let used = quota.used.map(|used| format!("{used}/")).unwrap_or_default();
        format!("{} {used}{}", quota.namespace.as_deref().unwrap_or("others"), quota.most)
    };
    row.quotas.iter().map(text).join(", ")
}

fn rows(world: &World, config: &Config, allocation: &Allocation) -> Vec<Row> {
    let mut rows = Vec::new();
    for (index, pool) in config.pools.iter().enumerate() {
        for (family, used) in Family::ALL.into_iter().zip(allocation.taken(index)) {
            if pool.has(family) {
                rows.push(Row {
                    pool: pool.name.clone(),
                    family: family.name(),
                    ranges: pool.addresses.ranges(family).map(|range| range.to_string()).collect(),
                    used,
                    free: pool.available(family, used),
                    quotas: quotas_of(world, allocation, index, pool, family),
                });
            }
        }
    }
    rows.sort_by(|a, b| (&a.pool, a.family).cmp(&(&b.pool, b.family)));
    rows
}

/// The quotas of a pool: those of namespaces by name, and of all that have any of its addresses.
fn quotas_of(world: &World, allocation: &Allocation, index: usize, pool: &Pool, family: Family) -> Vec<Quota> {
    let mut quotas = Vec::new();
    if pool.quotas.is_empty() {
        return quotas;
    }
    for namespace in world.namespaces.iter().map(|namespace| namespace.meta.name.name.as_str()) {
        let used = allocation.used(index, family, namespace);
        let Some(most) = pool.quotas.of(namespace) else { continue };
        if used > 0 || pool.quotas.by_namespace.contains_key(namespace) {
            quotas.push(Quota { namespace: Some(namespace.to_owned()), used: Some(used), most });
        }
    }
    quotas.extend(pool.quotas.default.map(|most| Quota { namespace: None, used: None, most }));
    quotas
}
