//! The brake: what an edit of the configuration would take from a router stays until somebody agrees, if it is much of what the
//! router has. What nodes, endpoints and Services take away goes at once.
//!
//! Nothing remembers how the configuration was. A prefix is taken away by the configuration if an FRRConfiguration of ours has a
//! node announce it that goes on to announce, a Service that is served and can be reached from there has an address of it, and
//! yet no node is to announce it to that router: then only pools, advertisements, peers, or labels that these select by, can be why.
//!
//! An agreement names the configuration, not the prefixes: these become fewer while they are withdrawn, and Services come and go.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;
use itertools::Itertools as _;

use crate::{
    address_set::Family,
    admit::Named,
    allocate::Allocation,
    compose::{Before, Layout},
    config::{self, Config, Peer, Terms, selected},
    endpoints::Endpoints,
    finding::{Findings, Reason},
    hash::hash,
    hosts::{Host, Hosts, Standing},
    layer::{Content, Layer, Router as LayerRouter, Session, carries},
    others::Others,
    session::{Sessions, is_unusable},
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
        for (vrf, router) in shared.and_then(|index| self.shared.get(index)).into_iter().flat_map(|c| &c.routers) {
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
        if let Some(content) = shared.and_then(|index| self.shared.get(index)) {
            for (name, profile) in &content.bfd_profiles {
                base.bfd_profiles.entry(name.clone()).or_insert_with(|| profile.clone());
            }
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
            session.routes.entry(*prefix).or_insert_with(|| attributes.clone());
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
    let mut lost: BTreeMap<Router, BTreeSet<IpNet>> = BTreeMap::new();
    let mut waiting = Waiting { plan, withdrawals: Vec::new() };
    for (router, prefixes) in missing {
        let remaining = announced_to(&router, layout.values());
        let prefixes = taken.lost(&router, &changes, &prefixes, &remaining);
        let now = announced_to(&router, world.our_configurations().map(|c| &c.value.layer));
        // What goes for other reasons is not there to be counted.
        let announced = prefixes.len() + now.intersection(&remaining).count();
        if prefixes.len() >= least && prefixes.len() * 100 > announced * usize::from(share) {
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

/// A content of ours and what becomes of it, with the objects that have it.
struct Change<'a> {
    before: &'a Content,
    after: Option<&'a Content>,
    layers: Vec<&'a Layer>,
}

/// What is not to stay as it is.
fn changes<'a>(world: &'a World, layout: &'a Layout) -> Vec<Change<'a>> {
    let mut changes: Vec<Change> = Vec::new();
    let mut known = HashMap::new();
    for configuration in world.our_configurations() {
        let layer = &configuration.value.layer;
        let after = layout.get(configuration.meta.name.name.as_str()).map(|layer| &layer.content);
        if after.is_some_and(|after| Arc::ptr_eq(after, &layer.content)) {
            continue;
        }
        let pair = (Arc::as_ptr(&layer.content), after.map(Arc::as_ptr));
        let index = *known.entry(pair).or_insert(changes.len());
        match changes.get_mut(index) {
            Some(change) => change.layers.push(layer),
            None => changes.push(Change { before: &layer.content, after: after.map(Arc::as_ref), layers: vec![layer] }),
        }
    }
    changes
}

/// By router and prefix: the changes by which it is not announced any more where it was. Another object may announce it.
type Missing = BTreeMap<Router, BTreeMap<IpNet, Vec<usize>>>;

fn missing(changes: &[Change]) -> Missing {
    let mut missing = Missing::new();
    for (index, change) in changes.iter().enumerate() {
        for (vrf, key, session) in change.before.sessions() {
            let after = change.after.and_then(|content| content.session(vrf, key));
            let gone =
                session.routes.keys().filter(|prefix| after.is_none_or(|after| !after.routes.contains_key(*prefix)));
            let mut gone = gone.peekable();
            if gone.peek().is_some() {
                let prefixes = missing.entry(Router::new(vrf, key)).or_default();
                gone.for_each(|prefix| prefixes.entry(*prefix).or_default().push(index));
            }
        }
    }
    missing
}

/// What some layers announce to a router.
fn announced_to<'l>(router: &Router, layers: impl Iterator<Item = &'l Layer>) -> BTreeSet<IpNet> {
    let mut seen = HashSet::new();
    let contents = layers.map(|layer| &layer.content).filter(|content| seen.insert(Arc::as_ptr(content)));
    let sessions = contents.flat_map(|content| content.sessions());
    let sessions = sessions.filter(|(vrf, key, _)| Router::new(vrf, key) == *router);
    sessions.flat_map(|(_, _, session)| session.routes.keys().copied()).collect()
}

/// From where an address can be reached.
enum From {
    Everywhere,
    Hosts(BTreeSet<usize>),
}

/// Tells what the configuration takes away from what is gone for other reasons.
struct Taken<'s, 'w> {
    stages: &'s Stages<'s, 'w>,
    /// The hosts that go on to announce, by name.
    hosts: HashMap<&'w str, usize>,
    /// The addresses of Services that can be reached, ascending.
    live: Vec<(IpAddr, From)>,
    suspended: Vec<Peer>,
    /// By host: its class, by index.
    classes: HashMap<usize, usize>,
}

impl<'s, 'w> Taken<'s, 'w> {
    fn new(stages: &'s Stages<'s, 'w>) -> Self {
        let hosts = stages.hosts.list.iter().enumerate();
        let hosts = hosts.filter(|(_, host)| host.standing == Standing::Announces);
        let classes = stages.sessions.classes.iter().enumerate();
        Self {
            stages,
            hosts: hosts.map(|(index, host)| (host.name, index)).collect(),
            live: live(stages),
            suspended: config::suspended(stages.world),
            classes: classes.flat_map(|(index, class)| class.hosts.iter().map(move |host| (*host, index))).collect(),
        }
    }

    /// Of the prefixes that are gone where they were, those that the configuration takes from the router.
    fn lost(
        &self,
        router: &Router,
        changes: &[Change],
        missing: &BTreeMap<IpNet, Vec<usize>>,
        remaining: &BTreeSet<IpNet>,
    ) -> BTreeSet<IpNet> {
        let is_to_go = |peer: &Peer| peer.withdraw_at.is_some_and(|at| at <= self.stages.world.now);
        let mut peers = self.stages.config.peers.iter().filter(|peer| is_to_go(peer)).chain(&self.suspended);
        if peers.any(|peer| router.is_of(peer)) {
            return BTreeSet::new();
        }
        let hosts = changes.iter().map(|change| {
            let names = change.layers.iter().flat_map(|layer| layer.hosts.iter());
            let known = names.filter_map(|name| self.hosts.get(name.as_str()).copied());
            known.filter(|host| self.may_have(*host, router)).collect()
        });
        let hosts: Vec<BTreeSet<usize>> = hosts.collect();
        let is_lost = |prefix: &IpNet, changes: &[usize]| {
            let mut hosts = changes.iter().filter_map(|index| hosts.get(*index));
            !remaining.contains(prefix) && hosts.any(|hosts| self.is_live(prefix, hosts, remaining))
        };
        missing.iter().filter(|(prefix, changes)| is_lost(prefix, changes)).map(|(prefix, _)| *prefix).collect()
    }

    /// Whether nothing but the configuration keeps a host from a session with a router: no object of others, and no Secret.
    fn may_have(&self, host: usize, router: &Router) -> bool {
        let Some(known) = self.stages.hosts.get(host) else { return false };
        let Stages { config, sessions, .. } = self.stages;
        let mut asking = config.peers.iter().filter(|p| router.is_of(p) && known.all(|l| selected(&p.nodes, l)));
        let class = self.classes.get(&host).and_then(|index| sessions.classes.get(*index));
        let agreed = || class.into_iter().flat_map(|class| &class.sessions).filter_map(|s| s.of(config, sessions));
        asking.next().is_none() || agreed().any(|(_, agreed)| Router::of(&agreed.terms) == *router)
    }

    /// Whether a prefix has an address that can be reached from one of the hosts and that nothing else announces.
    fn is_live(&self, prefix: &IpNet, hosts: &BTreeSet<usize>, remaining: &BTreeSet<IpNet>) -> bool {
        let first = self.live.partition_point(|(address, _)| *address < prefix.network());
        let within = self.live.get(first..).unwrap_or_default().iter();
        let mut within = within.take_while(|(address, _)| prefix.contains(address));
        !hosts.is_empty()
            && within.any(|(address, from)| {
                let mut covering = std::iter::successors(Some(IpNet::from(*address)), IpNet::supernet);
                let reachable = match from {
                    From::Everywhere => true,
                    From::Hosts(from) => !from.is_disjoint(hosts),
                };
                reachable && !covering.any(|prefix| remaining.contains(&prefix))
            })
    }
}

/// The addresses of Services that are served and have an endpoint, ascending.
fn live(stages: &Stages) -> Vec<(IpAddr, From)> {
    let endpoints = Endpoints::new(stages.world);
    let mut live = Vec::new();
    for seated in stages.allocation.seats().filter(|seated| seated.served) {
        let slices = endpoints.of(&seated.service.meta.name);
        for address in seated.claimed() {
            let family = Family::of(address);
            if !seated.service.value.is_local {
                live.extend(slices.any(family).then_some((address, From::Everywhere)));
                continue;
            }
            let (hosts, _) = slices.hosts(family, stages.hosts);
            live.push((address, From::Hosts(hosts.into_keys().collect())));
        }
    }
    live.sort_by_key(|(address, _)| *address);
    live
}

/// Gathers what hosts have now of what is lost.
fn keep(taken: &Taken, lost: &BTreeMap<Router, BTreeSet<IpNet>>, waiting: Waiting) -> Held {
    let Stages { world, hosts, others, .. } = taken.stages;
    let before = Before::new(world);
    let contents = world.our_configurations().map(|configuration| &configuration.value.layer.content);
    let sessions = contents.flat_map(|content| content.sessions());
    let routers = sessions.map(|(vrf, key, _)| Router::new(vrf, key)).collect();
    let mut held = Held { waiting, routers, of_host: vec![None; hosts.list.len()], ..Held::default() };
    // Most hosts have nothing of their own, and the same as others.
    let mut known: HashMap<_, Option<usize>> = HashMap::new();
    for (index, host) in hosts.list.iter().enumerate().filter(|(_, host)| taken.hosts.contains_key(host.name)) {
        let possible: Vec<&Router> = lost.keys().filter(|router| taken.may_have(index, router)).collect();
        let lost = |router: &Router| possible.contains(&router).then(|| lost.get(router)).flatten();
        let mut own = restricted(&before.of_overlay(host.name), lost);
        own.retain_routes(|prefix| taken.is_live(prefix, &BTreeSet::from([index]), &BTreeSet::new()));
        let own = with_routes(own).and_then(|own| mergeable(own, others, index));
        let layers = before.of_host(host.name);
        let said: Vec<_> = layers.iter().map(|layer| Arc::as_ptr(&layer.content)).collect();
        let daemons: Vec<_> = host.nodes.iter().map(|node| failure_of(world, &node.meta.name)).collect();
        let situation = (said, others.of(index).map(|(set, _)| set), possible.clone(), daemons);
        let mut shared = || {
            let shared = restricted(&before.shared_of(host.name), lost);
            let content = mergeable(carrying(restricted(&layers, lost), &shared, own.as_ref()), others, index)?;
            Some(held.place_of(usable(content, world, host)?))
        };
        let shared = match &own {
            Some(_) => shared(),
            None => *known.entry(situation).or_insert_with(shared),
        };
        if let Some(place) = held.of_host.get_mut(index) {
            *place = shared;
        }
        held.own.extend(own.map(|own| (index, own)));
    }
    held
}

/// What is said, if anything is announced in it.
fn with_routes(content: Content) -> Option<Content> {
    let has_routes = content.prefixes().next().is_some();
    has_routes.then_some(content)
}

/// What the daemon of a node could not convert, in its words.
fn failure_of<'w>(world: &'w World, node: &ObjectName) -> Option<&'w str> {
    world.node_states.get(node)?.value.conversion.failure()
}

/// The sessions whose Secret the host's daemon can use: with another it would take nothing at all.
fn usable(mut content: Content, world: &World, host: &Host) -> Option<Content> {
    for router in content.routers.values_mut() {
        router.sessions.retain(|_, session| {
            let secret = session.neighbor.password_secret.as_ref().and_then(|secret| secret.name.as_deref());
            secret.is_none_or(|secret| !is_unusable(world, host, secret))
        });
    }
    content.routers.retain(|_, router| !router.sessions.is_empty());
    (!content.routers.is_empty()).then_some(content)
}

/// Of the sessions of a host those that have something to carry: what it shares with others, or what it has alone. With what it
/// shares.
fn carrying(mut sessions: Content, shared: &Content, own: Option<&Content>) -> Content {
    for (vrf, router) in &mut sessions.routers {
        router.sessions.retain(|key, session| {
            session.routes = shared.session(vrf, key).map(|session| session.routes.clone()).unwrap_or_default();
            !session.routes.is_empty() || own.is_some_and(|own| own.session(vrf, key).is_some())
        });
    }
    sessions
}

/// The sessions with routers that lose something, with just that.
fn restricted<'l>(layers: &[&Layer], lost: impl Fn(&Router) -> Option<&'l BTreeSet<IpNet>>) -> Content {
    let mut kept = Content::default();
    for (content, (vrf, router)) in layers.iter().flat_map(|l| l.content.routers.iter().map(|r| (&l.content, r))) {
        for (key, session) in &router.sessions {
            let Some(lost) = lost(&Router::new(vrf, key)) else { continue };
            let there = kept.routers.entry(vrf.clone()).or_insert_with(|| LayerRouter::new(router.asn));
            if there.id.is_none() {
                there.id.clone_from(&router.id);
            }
            let there = there.sessions.entry(key.clone()).or_insert_with(|| Session::new(session.neighbor.clone()));
            if there.next_hop.is_none() {
                there.next_hop.clone_from(&session.next_hop);
            }
            let profile = session.bfd_profile.as_ref().and_then(|name| content.bfd_profiles.get_key_value(name));
            if let Some((name, profile)) = profile {
                there.bfd_profile = Some(name.clone());
                kept.bfd_profiles.insert(name.clone(), profile.clone());
            }
            let routes = session.routes.iter().filter(|(prefix, _)| lost.contains(*prefix));
            there.routes.extend(routes.map(|(prefix, attributes)| (*prefix, attributes.clone().lasting())));
        }
    }
    kept
}

/// The sessions that can stand beside what others have written for a host.
fn mergeable(mut content: Content, others: &Others, host: usize) -> Option<Content> {
    let name = ObjectName::default();
    let merges = |content: &Content| {
        let Some(mut merging) = others.beside(host, true).cloned() else { return false };
        let spec = Layer::new(BTreeSet::new(), content.clone()).spec();
        merging.add(Named { name: &name, spec: &spec }).is_ok() && merging.finish().is_ok()
    };
    if !merges(&content) {
        let alone = |vrf: &str, key: &str| {
            let mut alone = content.clone();
            alone.routers.retain(|name, _| name == vrf);
            alone.routers.values_mut().for_each(|router| router.sessions.retain(|name, _| name == key));
            merges(&alone)
        };
        let kept = content.sessions().filter(|(vrf, key, _)| alone(vrf, key));
        let kept: BTreeSet<_> = kept.map(|(vrf, key, _)| (vrf.to_owned(), key.to_owned())).collect();
        for (vrf, router) in &mut content.routers {
            router.sessions.retain(|key, _| kept.contains(&(vrf.clone(), key.clone())));
        }
    }
    content.routers.retain(|_, router| !router.sessions.is_empty());
    (!content.routers.is_empty()).then_some(content)
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
