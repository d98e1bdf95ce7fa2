//! How things are with pools and peers, in numbers: what metrics show.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::Known;
use crate::{
    address_set::Family, allocate::Allocation, compose::Layout, config::Config, hosts::Hosts, session::Sessions,
};

/// Of each pool and peer in effect, one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// By pool and family, of those families that the pool has.
    pub pools: Vec<PoolFigures>,
    /// By peer.
    pub peers: Vec<PeerFigures>,
}

/// How many addresses of a family a pool has.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolFigures {
    /// The pool.
    pub name: String,
    /// The family.
    pub family: Family,
    /// All of them: IPv6 has more than a whole number could count.
    pub total: f64,
    /// Those that are not free.
    pub assigned: f64,
}

/// How many sessions a peer has, and what they carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerFigures {
    /// The peer.
    pub name: String,
    /// Sessions that are established.
    pub established: usize,
    /// Sessions that are not.
    pub down: usize,
    /// Sessions of which nothing is known, or nothing that counts.
    pub unknown: usize,
    /// The most prefixes that a node is to announce to it.
    pub prefixes: usize,
}

impl Figures {
    /// Gathers what the stages have found.
    pub fn new(
        config: &Config,
        allocation: &Allocation,
        sessions: &Sessions,
        hosts: &Hosts,
        layout: &Layout,
        known: &Known,
    ) -> Self {
        let pools = config.pools.iter().enumerate().flat_map(|(index, pool)| {
            let taken = Family::ALL.into_iter().zip(allocation.taken(index));
            taken.filter(|(family, _)| pool.has(*family)).map(|(family, taken)| PoolFigures {
                name: pool.name.clone(),
                family,
                total: float(pool.addresses.size(family)),
                assigned: float(taken.into()),
            })
        });
        let prefixes = prefixes(config, sessions, hosts, layout);
        let peers = config.peers.iter().enumerate().map(|(index, peer)| {
            let known = known.peers.get(&index);
            PeerFigures {
                name: peer.name.clone(),
                established: known.map_or(0, |sessions| sessions.up),
                down: known.map_or(0, |sessions| sessions.down.len()),
                unknown: known.map_or(0, |sessions| sessions.unknown + sessions.stale.len()),
                prefixes: prefixes.get(&index).copied().unwrap_or_default(),
            }
        });
        Self { pools: pools.collect(), peers: peers.collect() }
    }
}

impl PoolFigures {
    /// Those that are free.
    #[must_use]
    pub fn available(&self) -> f64 {
        (self.total - self.assigned).max(0.0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts more than 2^53 addresses one by one")]
fn float(count: u128) -> f64 {
    count as f64
}

/// How many prefixes objects announce, by VRF and the session's key.
type Sums<'l> = HashMap<(&'l str, &'l str), usize>;

/// The most prefixes that a node is to announce to each peer. Objects for the same hosts are added up once for all of these.
fn prefixes(config: &Config, sessions: &Sessions, hosts: &Hosts, layout: &Layout) -> HashMap<usize, usize> {
    let mut audiences: HashMap<_, (&BTreeSet<String>, Sums)> = HashMap::new();
    for layer in layout.values() {
        let (_, sums) = audiences.entry(Arc::as_ptr(&layer.hosts)).or_insert_with(|| (&layer.hosts, HashMap::new()));
        for (vrf, key, session) in layer.content.sessions() {
            *sums.entry((vrf, key)).or_default() += session.routes.len();
        }
    }
    let mut of_hosts: HashMap<&str, Vec<&Sums>> = HashMap::new();
    for (names, sums) in audiences.values() {
        names.iter().for_each(|name| of_hosts.entry(name).or_default().push(sums));
    }
    let mut most = HashMap::new();
    for class in &sessions.classes {
        for session in &class.sessions {
            let Some((_, agreed)) = session.of(config, sessions) else { continue };
            let key = agreed.terms.key();
            let end = (agreed.terms.vrf.as_str(), key.as_str());
            let names = class.hosts.iter().filter_map(|host| hosts.get(*host)).map(|host| host.name);
            let counts =
                names.map(|name| of_hosts.get(name).into_iter().flatten().filter_map(|sums| sums.get(&end)).sum());
            let known: &mut usize = most.entry(session.peer).or_default();
            *known = counts.fold(*known, usize::max);
        }
    }
    most
}
