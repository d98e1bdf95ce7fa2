//! What was done, for the table at the end.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
};

use crate::judge::Counts;

/// What was done by users, or to processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub created: u64,
    pub deleted: u64,
    pub kills: u64,
    pub stops: u64,
    pub pauses: u64,
    /// Processes that ended because they had lost their Lease.
    pub given_up: u64,
    pub api_servers: u64,
    pub etcds: u64,
    pub compactions: u64,
    pub clocks: u64,
    pub leases: u64,
}

/// All that is told at the end.
pub struct Table {
    pub tally: Tally,
    pub counts: Counts,
    /// Times that everything came to be as it is to be.
    pub rests: u64,
    /// Requests by the fault that they met with.
    pub requests: BTreeMap<&'static str, u64>,
    pub broken: usize,
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { tally, counts, rests, requests, broken } = self;
        let done = [
            ("the operator killed", tally.kills),
            ("the operator stopped in order", tally.stops),
            ("the operator paused for longer than its Lease", tally.pauses),
            ("processes that ended without their Lease", tally.given_up),
            ("changes of leaders", counts.leaders),
            ("Leases deleted", tally.leases),
            ("restarts of the API server", tally.api_servers),
            ("restarts of etcd", tally.etcds),
            ("compactions", tally.compactions),
            ("jumps of clocks", tally.clocks),
            ("Services created", tally.created),
            ("Services deleted", tally.deleted),
            ("changes seen", counts.changes),
            ("checks made", counts.checks),
            ("times that everything came to rest", *rests),
        ];
        let requests = requests.iter().map(|(fault, count)| (format!("requests {fault}"), *count));
        let rows = done.into_iter().map(|(what, count)| (what.to_owned(), count)).chain(requests);
        for (what, count) in rows.chain([("broken rules".to_owned(), u64::try_from(*broken).unwrap_or(u64::MAX))]) {
            writeln!(f, "{what:<50}{count:>10}")?;
        }
        Ok(())
    }
}

/// How far it is, in a line.
pub struct Progress {
    pub seconds: u64,
    pub tally: Tally,
    pub counts: Counts,
}

impl Display for Progress {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { seconds, tally, counts } = self;
        write!(
            f,
            "{seconds:>6} s: {} kills, {} changes of leaders, {} restarts of the API server, {} of etcd, {} changes, {} checks",
            tally.kills, counts.leaders, tally.api_servers, tally.etcds, counts.changes, counts.checks
        )
    }
}
