//! All pools together: which pool has an address, who succeeds whom, and what else in the cluster has the same addresses.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use itertools::Itertools as _;

use super::{Peer, Pool, pool, read};
use crate::{
    address_set::{AddressRange, AddressSet, Family},
    finding::{Findings, Reason},
    world::{Kind, ObjectName, ObjectRef, World},
};

/// The valid pools, the oldest first. No address is in two of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pools {
    list: Vec<Pool>,
    /// The ranges of all pools, ascending, with the pool's index.
    ranges: Vec<(AddressRange, usize)>,
    by_name: HashMap<String, usize>,
    /// For each pool, the last in its line of successors.
    heirs: Vec<Option<usize>>,
    /// No LoadBalancerPool was left out as unreadable or invalid: an address that is in no pool here is in none at all.
    complete: bool,
}

impl Pools {
    /// All pools, the oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Pool> {
        self.list.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// The pool of this index.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Pool> {
        self.list.get(index)
    }

    /// The index of the pool of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The index of the pool that has this address.
    #[must_use]
    pub fn index_of(&self, address: IpAddr) -> Option<usize> {
        let next = self.ranges.partition_point(|(range, _)| range.first() <= address);
        let (range, index) = self.ranges.get(next.checked_sub(1)?)?;
        (address <= range.last()).then_some(*index)
    }

    /// The pool that has this address.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Option<&Pool> {
        self.get(self.index_of(address)?)
    }

    /// The pool that succeeds this one at last, if any does.
    #[must_use]
    pub fn heir(&self, index: usize) -> Option<usize> {
        self.heirs.get(index).copied().flatten()
    }

    /// Whether a pool comes anywhere after another in its line of successors.
    #[must_use]
    pub fn succeeds(&self, later: usize, earlier: usize) -> bool {
        let next = |index: &usize| self.get(*index)?.succeeded_by.as_deref().and_then(|name| self.named(name));
        // A line without an heir goes in a circle.
        let mut line = std::iter::successors(self.heir(earlier).and_then(|_| next(&earlier)), next);
        line.any(|index| index == later)
    }

    /// Whether an address of one pool will do where one of another is asked for: it is the same, or comes after it.
    #[must_use]
    pub fn will_do(&self, pool: usize, asked: usize) -> bool {
        pool == asked || self.succeeds(pool, asked)
    }

    /// Whether it is certain that an address that is in none of these pools has left its pool.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The pools that have addresses of this range.
    fn meeting(&self, range: AddressRange) -> impl Iterator<Item = (AddressRange, usize)> {
        let begin = self.ranges.partition_point(|(other, _)| other.last() < range.first());
        let candidates = self.ranges.iter().skip(begin).take_while(move |(other, _)| other.first() <= range.last());
        candidates.filter_map(move |(other, index)| Some((other.intersection(&range)?, *index)))
    }
}

/// How many others a message names.
const NAMED: usize = 3;

/// Checks all pools. What two pools share belongs to the older.
pub fn check(world: &World, findings: &mut Findings) -> Pools {
    let mut claims = Claims::default();
    let mut pools = Pools::default();
    for mut pool in read(&world.pools, Kind::LoadBalancerPool, findings, pool::check) {
        let older = claims.claim(&mut pool.addresses, pools.list.len());
        if !older.is_empty() {
            let mut names =
                older.iter().take(NAMED).filter_map(|index| pools.get(*index)).map(|pool| pool.name.as_str());
            let names = names.join(", ");
            let more = if older.len() > NAMED { " and others" } else { "" };
            let message = format!("it shares addresses with older pools, which serve them: {names}{more}");
            findings.warning(id(&pool), Reason::Overlap, message);
        }
        pools.by_name.insert(pool.name.clone(), pools.list.len());
        pools.list.push(pool);
    }
    pools.ranges = claims.by_first.into_values().collect();
    pools.complete = pools.list.len() == world.pools.len();
    pools.heirs = heirs(&pools, findings);
    pools
}

fn id(pool: &Pool) -> ObjectRef {
    ObjectRef::new(Kind::LoadBalancerPool, ObjectName::cluster(&pool.name))
}

fn and_more(names: String, all: usize) -> String {
    if all > NAMED { format!("{names} and {} more", all - NAMED) } else { names }
}

/// Who has which range.
#[derive(Default)]
struct Claims {
    /// By the first address.
    by_first: BTreeMap<IpAddr, (AddressRange, usize)>,
    /// All of them together.
    all: AddressSet,
}

impl Claims {
    /// Claims addresses for a pool, and takes from them those that others have claimed; returns some of those others.
    fn claim(&mut self, addresses: &mut AddressSet, index: usize) -> BTreeSet<usize> {
        let mut others = BTreeSet::new();
        let ranges = |set: &AddressSet| -> Vec<AddressRange> {
            Family::ALL.into_iter().flat_map(|family| set.ranges(family)).collect()
        };
        for range in ranges(addresses) {
            // Claims don't overlap: going down, the first one that ends below the range is the last to look at.
            let below = self.by_first.range(..=range.last()).rev();
            let shared = below.map_while(|(_, (claim, other))| claim.intersection(&range).map(|_| *other));
            if others.len() <= NAMED {
                others.extend(shared.take(NAMED + 1));
            }
            let taken: Vec<AddressRange> = self.all.meeting(range).collect();
            for range in taken {
                addresses.remove(range);
            }
        }
        for range in ranges(addresses) {
            self.by_first.insert(range.first(), (range, index));
            self.all.insert(range);
        }
        others
    }
}

/// Follows `succeededBy` to its end. Where it leads nowhere or in a circle, nobody succeeds.
fn heirs(pools: &Pools, findings: &mut Findings) -> Vec<Option<usize>> {
    let mut ends: Vec<Option<End>> = vec![None; pools.list.len()];
    for index in 0..ends.len() {
        // Down the line, until its end is known.
        let mut line = vec![index];
        let mut seen = BTreeSet::from([index]);
        let end = loop {
            let Some(last) = line.last().copied() else { break End::Nowhere };
            if let Some(Some(end)) = ends.get(last) {
                break *end;
            }
            let Some(successor) = pools.get(last).and_then(|pool| pool.succeeded_by.as_ref()) else {
                break End::Pool(last);
            };
            match pools.named(successor) {
                Some(next) if seen.insert(next) => line.push(next),
                _ => break End::Nowhere,
            }
        };
        for member in line {
            if let Some(known) = ends.get_mut(member) {
                *known = Some(end);
            }
        }
    }
    let mut heirs = Vec::with_capacity(ends.len());
    for (index, (pool, end)) in pools.iter().zip(ends).enumerate() {
        heirs.push(match end {
            Some(End::Pool(heir)) if heir != index => Some(heir),
            _ => None,
        });
        if let (Some(successor), Some(End::Nowhere)) = (&pool.succeeded_by, end) {
            if pools.named(successor).is_none() {
                let message = format!("succeededBy: there is no valid LoadBalancerPool {successor:?}");
                findings.error(id(pool), Reason::UnknownName, message);
            } else {
                let message = format!("succeededBy: from {successor:?} on, the successors end nowhere or in a circle");
                findings.error(id(pool), Reason::InvalidValue, message);
            }
        }
    }
    heirs
}

/// Where a line of successors ends.
#[derive(Clone, Copy)]
enum End {
    /// At this pool.
    Pool(usize),
    /// In a circle, or at a pool that is not there.
    Nowhere,
}

/// Tells of addresses that are in use elsewhere in the cluster.
pub fn warn_of_networks(world: &World, pools: &Pools, peers: &[Peer], findings: &mut Findings) {
    let mut found: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut look = |range: AddressRange, what: &dyn Fn() -> String| {
        for (shared, index) in pools.meeting(range).take(NAMED) {
            found.entry(index).or_default().push(format!("{shared} of {}", what()));
        }
    };
    for node in world.nodes.iter() {
        for address in &node.value.addresses {
            look((*address).into(), &|| format!("Node {}", node.meta.name));
        }
        for cidr in &node.value.pod_cidrs {
            look((*cidr).into(), &|| format!("the Pods of Node {}", node.meta.name));
        }
    }
    for services in world.service_cidrs.iter() {
        for cidr in &services.value.0 {
            look((*cidr).into(), &|| format!("cluster IPs (ServiceCIDR {})", services.meta.name));
        }
    }
    for peer in peers {
        let texts = peer.all_terms().filter_map(|terms| terms.neighbor.address.as_ref());
        let addresses: BTreeSet<IpAddr> = texts.filter_map(|text| text.parse().ok()).collect();
        for address in addresses {
            look(address.into(), &|| format!("RouterPeer {}", peer.name));
        }
    }
    for (index, texts) in found {
        let Some(pool) = pools.get(index) else { continue };
        let names = and_more(texts.iter().take(NAMED).join(", "), texts.len());
        findings.warning(id(pool), Reason::OverlapsCluster, format!("the pool has addresses of the cluster: {names}"));
    }
}
