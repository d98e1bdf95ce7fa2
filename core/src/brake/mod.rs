//! The brake: what an edit of the configuration would take from a router stays until somebody agrees, if it is much of what the
//! router has. What nodes, endpoints and Services take away goes at once.
//!
//! Nothing remembers how the configuration was. A prefix is taken away by the configuration if an FRRConfiguration of ours has a
//! node announce it that goes on to announce, a Service that is served and can be reached from there has an address of it, and
//! yet no node is to announce it to that router: then only pools, advertisements, peers, or labels that these select by, can be why.
//!
//! An agreement names the configuration, not the prefixes: these become fewer while they are withdrawn, and Services come and go.

mod keep;
mod taken;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;
use itertools::Itertools as _;

use self::{
    keep::keep,
    taken::{Announced, Taken, changes, missing},
};
use crate::{
    address_set::Family,
    allocate::Allocation,
    compose::Layout,
    config::{Config, Peer, Terms},
    finding::{Findings, Reason},
    hash::hash,
    hosts::Hosts,
    layer::{Content, Router as LayerRouter, Session, carries},
    others::Others,
    session::Sessions,
    world::{Custom, Kind, Meta, Object, ObjectName, ObjectRef, World},
};

/// When the brake holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brake {
    /// More than this share of the prefixes that are announced to a router would go, in percent. With 100 nothing is held.
    pub share: u8,
    /// At least so many prefixes would go.
    pub least: usize,
}

impl Default for Brake {
    fn default() -> Self {
        Self { share: 50, least: 10 }
    }
}

/// What waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The name by which it is agreed to: it stands for the configuration as it is.
    pub plan: String,
    /// By router, what would be withdrawn.
    pub withdrawals: Vec<Withdrawal>,
}

/// What would be withdrawn from a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// The router's address or interface, and its VRF if that is not the default one.
    pub router: String,
    /// The prefixes, ascending.
    pub prefixes: Vec<IpNet>,
    /// How many prefixes are announced to it.
    pub announced: usize,
}

impl Waiting {
    /// What is to be done, in words.
    #[must_use]
    pub fn remedy(&self) -> String {
        format!("undo the change, or agree to it: clarion approve {}", self.plan)
    }
}

impl Withdrawal {
    /// Whether an object that says this has a session with the router.
    fn concerns(&self, content: &Content) -> bool {
        content.sessions().any(|(vrf, key, _)| Router::new(vrf, key).words() == self.router)
    }

    /// The withdrawal in words, with as many prefixes as fit into an Event.
    #[must_use]
    pub fn message(&self, waiting: &Waiting) -> String {
        const LISTED: usize = 30;
        let more = self.prefixes.len().saturating_sub(LISTED);
        let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!(
            "the configuration has changed so that {} of the {} prefixes that {} is told of would be withdrawn, and that waits: {}. What would go: {}{and_more}",
            self.prefixes.len(),
            self.announced,
            self.router,
            waiting.remedy(),
            self.prefixes.iter().take(LISTED).join(", ")
        )
    }
}

/// A router as nodes see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Router {
    /// Empty for the default one.
    vrf: String,
    /// Its address in one spelling, or an interface.
    end: String,
}

impl Router {
    fn new(vrf: &str, key: &str) -> Self {
        let end = key.parse().map_or_else(|_| key.to_owned(), |address: IpAddr| address.to_string());
        Self { vrf: vrf.to_owned(), end }
    }

    fn of(terms: &Terms) -> Self {
        Self::new(&terms.vrf, &terms.key())
    }

    fn is_of(&self, peer: &Peer) -> bool {
        peer.all_terms().any(|terms| Self::of(terms) == *self)
    }

    fn words(&self) -> String {
        if self.vrf.is_empty() { self.end.clone() } else { format!("{} in VRF {}", self.end, self.vrf) }
    }
}

/// What stays although nothing asks for it any more.
#[derive(Debug, Default)]
pub struct Held {
    waiting: Waiting,
    /// What hosts have from objects for several hosts, each once.
    shared: Vec<Content>,
    /// By host: which of these it has.
    of_host: Vec<Option<usize>>,
    /// By host: what it has from objects for it alone.
    own: BTreeMap<usize, Content>,
    /// The routers that nodes have sessions with.
    routers: BTreeSet<Router>,
}

impl Held {
    /// What a host keeps of what several hosts have, by index.
    #[must_use]
    pub fn of(&self, host: usize) -> Option<usize> {
        self.of_host.get(host).copied().flatten()
    }

    /// The index of a content of what several hosts have.
    fn place_of(&mut self, content: Content) -> usize {
        self.shared.iter().position(|known| *known == content).unwrap_or_else(|| {
            self.shared.push(content);
            self.shared.len() - 1
        })
    }

    /// Whether a session may be there. None begins with another router while something waits: if the change is undone, all is
    /// as it was.
    #[must_use]
    pub fn admits(&self, terms: &Terms) -> bool {
        self.waiting().is_none() || self.routers.contains(&Router::of(terms))
    }

    /// What waits, if anything does.
    #[must_use]
    pub fn waiting(&self) -> Option<&Waiting> {
        (!self.waiting.withdrawals.is_empty()).then_some(&self.waiting)
    }

    /// Whether an object that says this has something that waits.
    #[must_use]
    pub fn concerns(&self, content: &Content) -> bool {
        self.waiting.withdrawals.iter().any(|withdrawal| withdrawal.concerns(content))
    }

    /// Puts what hosts keep back into what they are to be told: what several have, by its index, and what these hosts have
    /// alone.
    pub fn put_back<'o>(
        &self,
        shared: Option<usize>,
        hosts: impl Iterator<Item = &'o usize>,
        base: &mut Content,
        overlays: &mut BTreeMap<usize, Content>,
    ) {
        let shared = shared.and_then(|index| self.shared.get(index));
        for (vrf, router) in shared.into_iter().flat_map(|content| &content.routers) {
            let there = base.routers.entry(vrf.clone()).or_insert_with(|| LayerRouter {
                asn: router.asn,
                id: router.id.clone(),
                sessions: BTreeMap::new(),
            });
            for (key, session) in &router.sessions {
                if let Some(known) = same_router(there, vrf, key) {
                    add_missing(known, session);
                } else {
                    there.sessions.insert(key.clone(), session.clone());
                }
            }
        }
        for (name, profile) in shared.into_iter().flat_map(|content| &content.bfd_profiles) {
            base.bfd_profiles.entry(name.clone()).or_insert_with(|| profile.clone());
        }
        for host in hosts {
            for (vrf, key, session) in self.own.get(host).into_iter().flat_map(Content::sessions) {
                let Some(there) = base.routers.get_mut(vrf) else { continue };
                let asn = there.asn;
                let Some(known) = same_router(there, vrf, key) else { continue };
                let overlay = overlays.entry(*host).or_default();
                overlay.add(vrf, asn, &known.neighbor, BTreeMap::new());
                if let Some(own) = overlay.session_mut(vrf, &known.key()) {
                    add_missing(own, session);
                }
            }
        }
    }
}

/// The session with the same router.
fn same_router<'c>(router: &'c mut LayerRouter, vrf: &str, key: &str) -> Option<&'c mut Session> {
    let end = Router::new(vrf, key);
    router.sessions.values_mut().find(|session| Router::new(vrf, &session.key()) == end)
}

/// Adds the routes that a session has not, of the families that it carries.
fn add_missing(session: &mut Session, held: &Session) {
    for (prefix, attributes) in &held.routes {
        if carries(&session.neighbor, Family::of(prefix.addr())) {
            session.routes.entry(*prefix).or_insert_with(|| Arc::clone(attributes));
        }
    }
}

/// The stages that what is held depends on.
pub struct Stages<'s, 'w> {
    /// What there is.
    pub world: &'w World,
    /// The configuration.
    pub config: &'s Config,
    /// Who has which address.
    pub allocation: &'s Allocation<'w>,
    /// The hosts.
    pub hosts: &'s Hosts<'w>,
    /// What others have written.
    pub others: &'s Others<'w>,
    /// The sessions without anything held.
    pub sessions: &'s Sessions,
}

/// What is to stay of what a layout would take away.
#[must_use]
pub fn held(stages: &Stages, layout: &Layout) -> Option<Held> {
    let world = stages.world;
    let Brake { share, least } = world.settings.brake;
    if share >= 100 || world.drain_all.is_some() {
        return None;
    }
    let changes = changes(world, layout);
    let mut missing = missing(&changes);
    missing.retain(|_, prefixes| prefixes.len() >= least);
    if missing.is_empty() {
        return None;
    }
    let plan = name(world);
    if world.approved.as_ref() == Some(&plan) {
        return None;
    }
    let taken = Taken::new(stages);
    let (later, now) =
        (Announced::new(layout.values()), Announced::new(world.our_configurations().map(|c| &c.value.layer)));
    let mut lost: BTreeMap<Router, BTreeSet<IpNet>> = BTreeMap::new();
    let mut waiting = Waiting { plan, withdrawals: Vec::new() };
    for (router, prefixes) in missing {
        let remaining = later.to(&router);
        let prefixes = taken.lost(&router, &changes, &prefixes, &remaining);
        if prefixes.len() < least {
            continue;
        }
        // What goes for other reasons is not there to be counted.
        let announced = prefixes.len() + now.to(&router).intersection(&remaining).count();
        if prefixes.len() * 100 > announced * usize::from(share) {
            let (router_words, listed) = (router.words(), prefixes.iter().copied().collect());
            waiting.withdrawals.push(Withdrawal { router: router_words, prefixes: listed, announced });
            lost.insert(router, prefixes);
        }
    }
    (!lost.is_empty()).then(|| keep(&taken, &lost, waiting))
}

/// The name of a configuration: it is another one once somebody has created, edited or deleted part of it.
fn name(world: &World) -> String {
    fn part<Spec: PartialEq, Status: PartialEq>(object: &Object<Custom<Spec, Status>>) -> String {
        let Meta { name, uid, generation, .. } = &object.meta;
        format!("{name} {uid} {}\n", generation.unwrap_or_default())
    }
    let pools = world.pools.iter().map(part);
    let advertisements = world.advertisements.iter().map(part);
    let text: String = pools.chain(advertisements).chain(world.peers.iter().map(part)).sorted().collect();
    hash(&text).chars().take(8).collect()
}

/// Tells of what waits: on the peers with the router, or else on an object that has the session, and on the peers that wait with
/// it.
pub fn tell(world: &World, config: &Config, held: &Held, findings: &mut Findings) {
    let Some(waiting) = held.waiting() else { return };
    let id = |peer: &Peer| ObjectRef::new(Kind::RouterPeer, ObjectName::cluster(&peer.name));
    for withdrawal in &waiting.withdrawals {
        let is_its = |terms: &Terms| Router::of(terms).words() == withdrawal.router;
        let mut objects: Vec<_> = config.peers.iter().filter(|peer| peer.all_terms().any(is_its)).map(id).collect();
        if objects.is_empty() {
            let concerned = world.our_configurations().find(|c| withdrawal.concerns(&c.value.layer.content));
            objects.extend(concerned.map(|c| ObjectRef::new(Kind::FRRConfiguration, c.meta.name.clone())));
        }
        let message = withdrawal.message(waiting);
        objects.into_iter().for_each(|object| findings.error(object, Reason::WithdrawalHeld, message.as_str()));
    }
    for peer in config.peers.iter().filter(|peer| !peer.all_terms().all(|terms| held.admits(terms))) {
        let from = waiting.withdrawals.iter().map(|withdrawal| &withdrawal.router).join(", ");
        let message = format!(
            "the session begins once it is decided about what would be withdrawn from {from}: {}",
            waiting.remedy()
        );
        findings.error(id(peer), Reason::WithdrawalHeld, message);
    }
}
