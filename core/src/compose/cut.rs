//! What the hosts of a class are told, cut into objects that FRR-K8s and the API server can handle.
//!
//! A class's hosts fall into *cells*, and what they are told into *shards*: each object is one shard for one cell. Both follow
//! from hashes of names and prefixes alone, and their numbers are powers of two, so that whatever comes or goes moves nothing
//! else, and a number that doubles moves half of what each part has. The numbers that there are show in the names of the objects
//! that there are; they change late, so that what comes and goes at a bound does not make objects do so.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use clarion_api::names;
use ipnet::IpNet;

use super::{Draft, Layout};
use crate::{
    hash::{hash, hash_of, hash_of_prefix, mix},
    hosts::Hosts,
    layer::{Content, Layer, Router, Session},
    session::Class,
    world::World,
};

/// With more cells the objects together would be what neither etcd nor the daemons take, which watch all of them: 100,000 prefixes are
/// 133 MB in so many. Where there is more than [`Bounds::cell_load`] for each, writes become slower instead.
const CELLS_MAX: usize = 64;
/// The most shards that a content is cut into.
pub const SHARDS_MAX: usize = 1024;

/// How large objects become before they are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// What FRR-K8s's webhook may have to merge for one write: of each host of a cell, prefixes × sessions × (1 + attributes). It
    /// needs up to 4 µs for each (FRR-K8s v0.0.26, eight to sixteen objects for a host, one core), and the API server gives it
    /// 10 s before it refuses the write: the default, 500,000, is a fifth of that.
    pub cell_load: usize,
    /// Prefixes of a shard, on average. 1,024 take about 20 KB, of which each change of a Service rewrites one for each cell. With
    /// smaller ones the webhook takes longer: it merges the objects of a host one after the other, and sorts all prefixes
    /// so far for each (`internal/controller/merge.go`), 1.1 µs and 0.2 µs more with each object.
    pub shard_prefixes: usize,
    /// Into how many shards a content is cut at most because of [`Bounds::shard_prefixes`]. With twice as many the webhook takes half
    /// as long again for each prefix; with 16 it takes 4 s for 30,000 prefixes on the nodes of one cell, of 64 for 1,000 nodes.
    pub shards: usize,
    /// Bytes of prefixes in a shard, on average, wherever they are named. Hashes spread so many prefixes evenly but for a few percent,
    /// and what they have of attributes less evenly: twice as much is still what etcd takes.
    pub shard_bytes: usize,
    /// Bytes of the prefixes in one object that holds everything that a host has, wherever they are named. etcd takes 1.5 MiB
    /// (`--max-request-bytes`), of which this leaves a tenth for the rest of the object.
    pub object_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { cell_load: 500_000, shard_prefixes: 1024, shards: 16, shard_bytes: 700_000, object_bytes: 1_400_000 }
    }
}

/// After it stands a hash in the names of objects for hosts for which a change of a session is held back.
pub const HELD_BACK: &str = "-w";

/// Where an object belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'n> {
    /// The name of the first object of all that belong together.
    pub whole: &'n str,
    /// Which of the cells it is for.
    pub cell: usize,
    /// Which of the shards it is.
    pub shard: usize,
}

impl Part<'_> {
    fn name(&self) -> String {
        let number = |letter, number| if number == 0 { String::new() } else { format!("-{letter}{number}") };
        format!("{}{}{}", self.whole, number('c', self.cell), number('s', self.shard))
    }
}

/// Where the object of this name belongs.
#[must_use]
pub fn part_of(name: &str) -> Part<'_> {
    // Hosts that differ in a session for a while have objects of their own, which are the same parts.
    let name = name.rsplit_once(HELD_BACK).map_or(name, |(name, _)| name);
    // A hash may look like a number too, but is longer.
    let short = |text: &&str| text.len() < 5;
    let number = |text: &str, letter| text.strip_prefix(letter).filter(short)?.parse::<usize>().ok().filter(|n| *n > 0);
    let last = |name: &'_ str, letter| {
        let (rest, last) = name.rsplit_once('-')?;
        Some((rest.len(), number(last, letter)?))
    };
    let (length, shard) = last(name, 's').unwrap_or((name.len(), 0));
    let rest = name.get(..length).unwrap_or(name);
    let (length, cell) = last(rest, 'c').unwrap_or((rest.len(), 0));
    Part { whole: rest.get(..length).unwrap_or(rest), cell, shard }
}

/// The name of the first object for a class.
pub fn base_name(identity: &str) -> String {
    format!("{}{}", names::BASE_PREFIX, hash(identity))
}

/// Into how many parts something is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    cells: usize,
    shards: usize,
}

impl Default for Extent {
    fn default() -> Self {
        Self { cells: 1, shards: 1 }
    }
}

/// Cuts, and gathers the objects.
pub struct Cut<'w> {
    bounds: Bounds,
    /// What there is.
    there: HashMap<&'w str, &'w Layer>,
    /// The parts of what there is, by the names of first objects.
    extents: HashMap<&'w str, Extent>,
    layout: Layout,
}

impl<'w> Cut<'w> {
    /// Looks at what there is.
    pub fn new(world: &'w World) -> Self {
        let mut extents: HashMap<&str, Extent> = HashMap::new();
        let mut there = HashMap::new();
        for configuration in world.our_configurations() {
            let name = configuration.meta.name.name.as_str();
            let Part { whole, cell, shard } = part_of(name);
            let extent = extents.entry(whole).or_default();
            extent.cells = extent.cells.max((cell + 1).next_power_of_two());
            extent.shards = extent.shards.max((shard + 1).next_power_of_two());
            there.insert(name, &configuration.value.layer);
        }
        Self { bounds: world.settings.bounds, there, extents, layout: Layout::new() }
    }

    /// All objects.
    pub fn layout(self) -> Layout {
        self.layout
    }

    /// Adds the objects of a class, of which the first one has this name.
    pub fn class(&mut self, name: String, class: &Class, hosts: &Hosts, draft: Draft) {
        let Extent { cells, shards } = self.extents.get(name.as_str()).copied().unwrap_or_default();
        let load = load(&draft.base);
        let members: Vec<Member> = class
            .hosts
            .iter()
            .filter_map(|index| {
                let host = hosts.get(*index)?.name;
                let own = draft.overlays.get(index).map_or(0, self::load);
                Some(Member { host, hash: hash_of_host(host), load: load + own })
            })
            .collect();
        let count = cell_count(self.bounds.cell_load, cells, &members);
        let mut cells: Vec<BTreeSet<String>> = vec![BTreeSet::new(); count];
        for member in &members {
            if let Some(cell) = cells.get_mut(part(member.hash, count)) {
                cell.insert(member.host.to_owned());
            }
        }
        let mut shards = Shards::of(&self.bounds, draft.base, shards);
        for (cell, hosts) in cells.into_iter().enumerate().filter(|(_, hosts)| !hosts.is_empty()) {
            self.insert(&name, cell, Arc::new(hosts), &mut shards);
        }
        for (index, overlay) in draft.overlays {
            let Some(host) = hosts.get(index).map(|host| host.name) else { continue };
            let name = format!("{}{}", names::OVERLAY_PREFIX, hash(host));
            let shards = self.extents.get(name.as_str()).map_or(1, |extent| extent.shards);
            self.insert(
                &name,
                0,
                Arc::new(BTreeSet::from([host.to_owned()])),
                &mut Shards::of(&self.bounds, overlay, shards),
            );
        }
    }

    fn insert(&mut self, whole: &str, cell: usize, hosts: Arc<BTreeSet<String>>, shards: &mut Shards) {
        for (shard, content) in &shards.parts {
            let name = Part { whole, cell, shard: *shard }.name();
            let mut layer = Layer { hosts: Arc::clone(&hosts), content: Arc::clone(content) };
            // What is as it was is the same, not only equal: the stages that follow need not compare again.
            if let Some(there) = self.there.get(name.as_str()) {
                if there.hosts == layer.hosts {
                    layer.hosts = Arc::clone(&there.hosts);
                }
                let pair = [&there.content, content].map(Arc::as_ptr);
                if *shards.compared.entry(pair).or_insert_with(|| there.content == *content) {
                    layer.content = Arc::clone(&there.content);
                }
            }
            self.layout.insert(name, layer);
        }
    }
}

/// What a class or a host is told, cut.
struct Shards {
    /// By number.
    parts: Vec<(usize, Arc<Content>)>,
    /// Whether a part is the same as what there is: compared once for all cells.
    compared: HashMap<[*const Content; 2], bool>,
}

impl Shards {
    /// Cuts, where there are so many shards now.
    fn of(bounds: &Bounds, content: Content, now: usize) -> Self {
        Self { parts: shards_of(bounds, content, now), compared: HashMap::new() }
    }
}

/// A host of a class.
struct Member<'h> {
    host: &'h str,
    hash: u64,
    load: usize,
}

/// The last bits of what names are hashed to follow from the last bits of their letters alone: stirred, they do not.
fn hash_of_host(host: &str) -> u64 {
    mix(0, [hash_of(host)])
}

/// Into which of so many parts a hash falls, the number being a power of two.
pub fn part(hash: u64, count: usize) -> usize {
    usize::try_from(hash & (count as u64 - 1)).unwrap_or(0)
}

/// What a host's objects cost the webhook: prefixes × sessions × (1 + attributes).
fn load(content: &Content) -> usize {
    let sessions = content.routers.values().flat_map(|router| router.sessions.values());
    sessions.flat_map(|session| session.routes.values()).map(|attributes| 1 + attributes.count()).sum()
}

/// The number of cells where there are so many now.
fn cell_count(bound: usize, now: usize, members: &[Member]) -> usize {
    let total: usize = members.iter().map(|member| member.load).sum();
    let heaviest = |count: usize| {
        let mut loads = vec![0_usize; count];
        for member in members {
            if let Some(load) = loads.get_mut(part(member.hash, count)) {
                *load += member.load;
            }
        }
        loads.into_iter().max().unwrap_or(0)
    };
    let mut count = now.min(CELLS_MAX);
    while count < CELLS_MAX.min(members.len()) && 2 * total > count * bound && heaviest(count) > bound {
        count *= 2;
    }
    while count > 1 && count <= now && 2 * heaviest(count / 2) <= bound {
        count /= 2;
    }
    count
}

/// The shards of a content, each with its number, where there are so many now.
fn shards_of(bounds: &Bounds, content: Content, now: usize) -> Vec<(usize, Arc<Content>)> {
    let prefixes: usize = {
        let sessions = || content.routers.values().map(|router| router.sessions.values().map(|s| s.routes.len()));
        // Sessions of a router mostly announce the same.
        sessions().map(|lengths| lengths.max().unwrap_or(0)).sum()
    };
    let count = shard_count(bounds, now, prefixes, bytes(&content));
    if count == 1 {
        return vec![(0, Arc::new(content))];
    }
    let mut shards: Vec<Content> = vec![Content::default(); count];
    for (vrf, Router { asn, id, sessions }) in content.routers {
        for (key, session) in sessions {
            let Session { neighbor, bfd_profile, next_hop, routes } = session;
            let mut parts: Vec<Vec<_>> = (0..count).map(|_| Vec::with_capacity(routes.len() / count * 2)).collect();
            for (prefix, attributes) in routes {
                if let Some(part) = parts.get_mut(part(hash_of_prefix(&prefix), count)) {
                    part.push((prefix, attributes));
                }
            }
            let (mut bfd_profile, mut next_hop) = (bfd_profile, next_hop);
            for (number, (shard, routes)) in shards.iter_mut().zip(parts).enumerate() {
                if number > 0 && routes.is_empty() {
                    continue;
                }
                let router = shard.routers.entry(vrf.clone()).or_insert_with(|| Router::new(asn));
                let session = Session {
                    neighbor: neighbor.clone(),
                    bfd_profile: bfd_profile.take(),
                    next_hop: next_hop.take(),
                    routes: routes.into_iter().collect(),
                };
                router.sessions.insert(key.clone(), session);
            }
        }
        if let Some(router) = shards.first_mut().and_then(|shard| shard.routers.get_mut(&vrf)) {
            router.id = id;
        }
    }
    if let Some(first) = shards.first_mut() {
        first.bfd_profiles = content.bfd_profiles;
    }
    let shards = shards.into_iter().enumerate().filter(|(number, shard)| *number == 0 || !shard.routers.is_empty());
    shards.map(|(number, shard)| (number, Arc::new(shard))).collect()
}

/// How many bytes prefixes take at most in an object that says this: in the list of their router, in that of each session,
/// and with each attribute.
fn bytes(content: &Content) -> usize {
    let router = |router: &Router| {
        let named = router.sessions.values().flat_map(|session| &session.routes);
        let named: usize = named.map(|(prefix, attributes)| (1 + attributes.count()) * longest(prefix)).sum();
        let of_session = |session: &Session| session.routes.keys().map(longest).sum();
        named + router.sessions.values().map(of_session).max().unwrap_or(0)
    };
    content.routers.values().map(router).sum()
}

/// The most bytes that a prefix of this family takes in JSON, with quotation marks and a comma.
fn longest(prefix: &IpNet) -> usize {
    match prefix {
        IpNet::V4(_) => r#""255.255.255.255/32","#.len(),
        IpNet::V6(_) => r#""ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128","#.len(),
    }
}

/// The number of shards for so many prefixes that take so many bytes, where there are so many shards now.
fn shard_count(bounds: &Bounds, now: usize, prefixes: usize, bytes: usize) -> usize {
    let fits = |prefixes: usize, bytes: usize, count: usize| {
        (prefixes <= count * bounds.shard_prefixes || count >= bounds.shards) && bytes <= count * bounds.shard_bytes
    };
    let mut count = now.min(SHARDS_MAX);
    while count < SHARDS_MAX && !fits(prefixes, bytes, count) {
        count *= 2;
    }
    while count > 1 && fits(2 * prefixes, 2 * bytes, count / 2) {
        count /= 2;
    }
    count
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::IpAddr};

    use clarion_api::frr::Neighbor;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::layer::Attributes;

    #[rstest]
    #[case("clarion-base-00c1a5f00d00c2d3", "clarion-base-00c1a5f00d00c2d3", 0, 0)]
    #[case("clarion-base-00c1a5f00d00c2d3-c3", "clarion-base-00c1a5f00d00c2d3", 3, 0)]
    #[case("clarion-base-00c1a5f00d00c2d3-s12", "clarion-base-00c1a5f00d00c2d3", 0, 12)]
    #[case("clarion-base-00c1a5f00d00c2d3-c3-s12", "clarion-base-00c1a5f00d00c2d3", 3, 12)]
    #[case("clarion-base-c123456789012345", "clarion-base-c123456789012345", 0, 0)]
    #[case("clarion-base-c0-s0", "clarion-base-c0-s0", 0, 0)]
    #[case("clarion-park-00c1a5f00d00c2d3-p3of4", "clarion-park-00c1a5f00d00c2d3-p3of4", 0, 0)]
    #[case("s1", "s1", 0, 0)]
    #[case("", "", 0, 0)]
    fn names_tell_where_an_object_belongs(
        #[case] name: &str,
        #[case] whole: &str,
        #[case] cell: usize,
        #[case] shard: usize,
    ) {
        let part = part_of(name);
        assert_eq!(part, Part { whole, cell, shard });
        assert_eq!(part.name(), name);
    }

    #[test]
    fn objects_of_hosts_that_wait_belong_where_those_of_others_do() {
        let name = "clarion-base-00c1a5f00d00c2d3-c3-s12";
        assert_eq!(part_of(&format!("{name}{HELD_BACK}00c1a5f00d00c2d3")), part_of(name));
    }

    /// So many prefixes, each with so many communities, to so many sessions.
    fn content(prefixes: u32, communities: u16, sessions: u8) -> Content {
        let mut content = Content::default();
        let communities = (0..communities).map(|n| format!("64512:{n}")).collect();
        let attributes = Arc::new(Attributes { communities, ..Attributes::default() });
        for session in 0..sessions {
            let neighbor = Neighbor { address: Some(format!("192.0.2.{session}")), ..Neighbor::default() };
            let prefix = |n: u32| IpNet::from(IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
            content.add("", 1, &neighbor, (0..prefixes).map(|n| (prefix(n), attributes.clone())).collect());
        }
        content
    }

    fn members(count: usize, load: usize) -> Vec<(String, usize)> {
        (0..count).map(|n| (format!("node-{n}"), load)).collect()
    }

    fn count(now: usize, members: &[(String, usize)]) -> usize {
        let members: Vec<_> =
            members.iter().map(|(host, load)| Member { host, hash: hash_of_host(host), load: *load }).collect();
        cell_count(500_000, now, &members)
    }

    #[rstest]
    #[case::small(100, 5000, 1)]
    #[case::of_the_figures(1000, 5000, 16)]
    #[case::wide(3000, 1000, 8)]
    #[case::one_host_is_not_cut(1, 600_000, 1)]
    #[case::nothing_is_announced(5000, 0, 1)]
    fn cells(#[case] hosts: usize, #[case] load: usize, #[case] expected: usize) {
        assert_eq!(count(1, &members(hosts, load)), expected);
    }

    #[rstest]
    #[case::counted(|n| format!("node-{n}"))]
    #[case::even_numbers(|n| format!("worker-{}", 2 * n))]
    #[case::addresses(|n| format!("ip-10-0-{}-{}.internal", n / 64, 4 * (n % 64)))]
    fn cells_are_even_whatever_hosts_are_called(#[case] name: fn(usize) -> String) {
        let mut cells = [0_usize; 16];
        (0..1000).for_each(|n| cells[part(hash_of_host(&name(n)), 16)] += 1);
        assert!(cells.iter().all(|cell| (35..=95).contains(cell)), "{cells:?}");
    }

    #[test]
    fn the_number_of_cells_changes_late() {
        let all = members(1000, 5000);
        assert_eq!(count(16, &members(700, 5000)), 16, "a third less");
        assert_eq!(count(16, &members(150, 5000)), 4, "a seventh of it");
        assert_eq!(count(32, &all), 32, "with half as many some would be more than half full");
        for now in [1, 2, 4, 8, 16, 32, 64] {
            let next = count(now, &all);
            assert_eq!(count(next, &all), next, "it comes to rest at once, from {now}");
        }
    }

    #[rstest]
    #[case::one(1024, 0, 1, 1)]
    #[case::two(1025, 0, 1, 2)]
    #[case::of_the_figures(5000, 0, 1, 8)]
    #[case::so_many_that_the_webhook_keeps_up(20_000, 0, 1, 16)]
    #[case::of_a_large_cluster(100_000, 0, 1, 16)]
    #[case::attributes_and_sessions_count(500, 9, 10, 2)]
    #[case::etcd_takes_no_larger_ones(20_000, 9, 10, 64)]
    fn shards(#[case] prefixes: u32, #[case] communities: u16, #[case] sessions: u8, #[case] expected: usize) {
        assert_eq!(shards_of(&Bounds::default(), content(prefixes, communities, sessions), 1).len(), expected);
    }

    #[rstest]
    #[case(1025, 1024)]
    #[case(5000, 16)]
    #[case(1, 4)]
    #[case(30_000, 16)]
    #[case(100_000, 128)]
    #[case(1_000_000, 64)]
    fn the_number_of_shards_comes_to_rest_at_once(#[case] prefixes: usize, #[case] now: usize) {
        let shard_count = |now, prefixes, bytes| shard_count(&Bounds::default(), now, prefixes, 21 * bytes);
        let next = shard_count(now, prefixes, prefixes);
        assert_eq!(shard_count(next, prefixes, prefixes), next);
        assert!(shard_count(next, prefixes + 1, prefixes + 1) >= next);
        let less = prefixes * 9 / 10;
        let (with_less, again) = (shard_count(next, less, less), shard_count(next, prefixes, prefixes));
        assert_eq!(
            shard_count(with_less, prefixes, prefixes),
            with_less,
            "a tenth more or less changes nothing for long"
        );
        assert_eq!(again, next);
    }

    #[test]
    fn a_shard_stays_well_under_what_etcd_takes() {
        let prefixes =
            (0..3000_u128).map(|n| IpAddr::from((0x2001_0db8_ffff_ffff_ffff_ffff_0000_0000 + n).to_be_bytes()));
        let communities = (0..10).map(|n| format!("large:4200000000:4200000000:{n}")).collect();
        let attributes = Arc::new(Attributes { communities, local_pref: Some(100), ..Attributes::default() });
        let routes: BTreeMap<_, _> = prefixes.map(|address| (IpNet::from(address), attributes.clone())).collect();
        let mut content = Content::default();
        for session in 0..20 {
            let neighbor = Neighbor { address: Some(format!("2001:db8::{session}")), ..Neighbor::default() };
            content.add("", 1, &neighbor, routes.clone());
        }
        for (_, shard) in shards_of(&Bounds::default(), content, 1) {
            let layer = Layer { hosts: Arc::default(), content: shard };
            let bytes = serde_json::to_string(&layer.spec()).unwrap().len();
            assert!(bytes < 1_000_000, "{bytes}");
        }
    }

    proptest! {
        /// Together the shards say what the content says; what one of several objects may leave out stands in the first.
        #[test]
        fn nothing_is_lost_in_shards(prefixes in 0..3000_u32, sessions in 1..4_u8, now in 0..5_u32) {
            let mut whole = content(prefixes, 1, sessions);
            if let Some(router) = whole.routers.get_mut("") {
                router.id = Some("192.0.2.1".to_owned());
            }
            let mut together = Content::default();
            for (number, shard) in shards_of(&Bounds::default(), whole.clone(), 1 << now) {
                for (vrf, router) in &shard.routers {
                    prop_assert_eq!(router.id.is_some(), number == 0);
                    for session in router.sessions.values() {
                        prop_assert!(number == 0 || !session.routes.is_empty());
                        together.add(vrf, router.asn, &session.neighbor, session.routes.clone());
                    }
                }
            }
            together.routers.entry(String::new()).or_default().id = Some("192.0.2.1".to_owned());
            prop_assert_eq!(together, whole);
        }

        /// One more host or prefix moves no other, unless a number doubles; and then it moves only into what is new.
        #[test]
        fn what_stays_stays_where_it_is(hash in any::<u64>(), count in 0..9_u32) {
            let (before, after) = (part(hash, 1 << count), part(hash, 2 << count));
            prop_assert!(after == before || after == before + (1 << count));
        }
    }
}
