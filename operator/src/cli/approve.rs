//! `clarion approve`

use clap::Args;
use clarion_api::names;
use clarion_core::{Waiting, plan};
use itertools::Itertools as _;

use super::{
    cluster::{self, Source},
    lease::{self, OperatorLease},
    output::count,
    program,
};

/// Agree to withdraw what an edit of the configuration takes from routers
///
/// Where pools, advertisements or peers are edited or deleted so that more than half of what is announced to a router would be
/// withdrawn (--brake-share, --brake-least), that waits, and conditions, Events and `clarion status` name the plan. Without a
/// plan this prints what waits. It holds as long as nobody edits the configuration again.
#[derive(Debug, Args)]
pub struct Approve {
    /// The plan that waits
    #[arg(value_name = "PLAN")]
    plan: Option<String>,
    #[command(flatten)]
    lease: OperatorLease,
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    #[error(transparent)]
    Lease(#[from] lease::Error),
    #[error("nothing waits to be agreed to; what was to go may be gone, or the change be undone")]
    Nothing,
    #[error(
        "the plan that waits is {0}, not {1}: the configuration was edited again. See what it takes away, without a plan: {2} approve"
    )]
    Other(String, String, &'static str),
    #[error("nobody waits for manifests: leave out -f")]
    Offline,
}

/// The field manager under which the Lease is changed.
const FIELD_MANAGER: &str = "clarion-approve";

impl Approve {
    pub fn execute(self) -> Result<(), Error> {
        if self.source.is_offline() {
            return Err(Error::Offline);
        }
        let world = self.source.world()?;
        let waiting = plan(&world).held.ok_or(Error::Nothing)?;
        let Some(named) = &self.plan else {
            print(&waiting);
            return Ok(());
        };
        if *named != waiting.plan {
            return Err(Error::Other(waiting.plan, named.clone(), program::name()));
        }
        cluster::block_on(async {
            let client = cluster::client().await?;
            let lease = self.lease.find(&client).await?;
            lease::ask(&client, &lease, names::APPROVED_ANNOTATION, Some(named), FIELD_MANAGER).await?;
            Ok::<_, Error>(())
        })??;
        println!("Agreed: Clarion withdraws that within seconds. {} status", program::name());
        Ok(())
    }
}

/// Prints what waits, and how to agree to it.
fn print(waiting: &Waiting) {
    for withdrawal in &waiting.withdrawals {
        let prefixes = count(withdrawal.prefixes.len(), "prefix", "prefixes");
        println!("{prefixes} of {} would be withdrawn from {}:", withdrawal.announced, withdrawal.router);
        println!("  {}", withdrawal.prefixes.iter().join("\n  "));
    }
    println!("Undo the change, or agree to it: {} approve {}", program::name(), waiting.plan);
}
