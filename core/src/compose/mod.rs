//! Routes and sessions to FRRConfigurations: a base for each class of hosts, with what all of them announce, and an overlay for
//! each host that announces something of its own. Of a small cluster each is one object; what would be too large for one write
//! is cut into several (see [`cut`]).
//!
//! The base carries the sessions of its hosts even if it announces nothing. What FRR-K8s lets one of several objects leave
//! out (router ID, BFD profile, next hop) stands in its first object only, so that it can be changed there by one write.

mod before;
mod cut;
mod fuse;
mod linger;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use clarion_api::Timestamp;
use ipnet::IpNet;

pub use self::before::{Before, contents};
pub use self::cut::{Bounds, HELD_BACK, Part, SHARDS_MAX, part, part_of};
use self::{
    before::{Routes, retained},
    cut::Cut,
};
use crate::{
    address_set::Family,
    announce::{Announcement, Request, Route},
    brake::Held,
    config::{Advertisement, Config, Peer},
    finding::{Findings, Reason},
    hosts::Hosts,
    layer::{AdjRibOut, Attributes, Content, Layer, Router, Session},
    session::{Agreed, Class, Sessions, Yielded},
    world::{Kind, ObjectName, ObjectRef, World},
};

/// What is to be, by the name of the FRRConfiguration.
pub type Layout = BTreeMap<String, Layer>;

/// Builds the objects for all classes.
pub fn compose(
    world: &World,
    config: &Config,
    hosts: &Hosts,
    sessions: &Sessions,
    announcement: &Announcement,
    held: &Held,
    findings: &mut Findings,
) -> Layout {
    let mut own: BTreeMap<usize, Vec<(&IpNet, &Route)>> = BTreeMap::new();
    for (prefix, route) in &announcement.routes {
        for host in route.hosts.iter().flatten() {
            own.entry(*host).or_default().push((prefix, route));
        }
    }
    let mut composer = Composer { now: world.now, config, sessions, hosts, before: Before::new(world), findings };
    let mut cut = Cut::new(world);
    for class in &sessions.classes {
        let name = cut::base_name(&class.identity);
        let mut draft = composer.draft(&name, class, announcement, &own);
        held.put_back(class.held, class.hosts.iter(), &mut draft.base, &mut draft.overlays);
        composer.fuse(class, &mut draft);
        composer.linger(class, &announcement.addresses, &mut draft);
        cut.class(name, class, hosts, draft);
    }
    composer.tell_of_drains();
    cut.layout()
}

/// What the hosts of a class are told.
struct Draft {
    base: Content,
    /// By host.
    overlays: BTreeMap<usize, Content>,
}

struct Composer<'w, 'f> {
    now: Timestamp,
    config: &'w Config,
    sessions: &'w Sessions,
    hosts: &'w Hosts<'w>,
    before: Before<'w>,
    findings: &'f mut Findings,
}

impl<'w> Composer<'w, '_> {
    /// The names of a class's hosts, with their indices.
    fn names(&self, class: &Class) -> impl Iterator<Item = (&'w str, usize)> {
        class.hosts.iter().filter_map(|index| Some((self.hosts.get(*index)?.name, *index)))
    }

    fn draft(
        &mut self,
        name: &str,
        class: &Class,
        announcement: &Announcement,
        own: &BTreeMap<usize, Vec<(&IpNet, &Route)>>,
    ) -> Draft {
        let mut base = Content::default();
        let shared: Vec<_> = announcement.routes.iter().filter(|(_, route)| route.hosts.is_none()).collect();
        let before = match has_retained(&shared) {
            true => self.before.of_class(name, self.names(class).map(|(name, _)| name)),
            false => Vec::new(),
        };
        for session in &class.sessions {
            let Some((peer, agreed)) = session.of(self.config, self.sessions) else { continue };
            let terms = &agreed.terms;
            let router = base.routers.entry(terms.vrf.clone()).or_insert_with(|| Router::new(terms.my_asn));
            if router.id.is_none() {
                router.id.clone_from(&terms.router_id);
            }
            let mut session = Session::new(terms.neighbor.clone());
            if let Some(bfd) = &terms.bfd {
                session.bfd_profile = Some(bfd.name.clone());
                base.bfd_profiles.insert(bfd.name.clone(), bfd.clone());
            }
            session.next_hop.clone_from(&terms.next_hop);
            let before = Routes::of(&before, &terms.vrf, &terms.key());
            session.routes = self.offers(class, peer, agreed, &shared, &[&before]);
            router.sessions.insert(session.key(), session);
        }
        let mut overlays = BTreeMap::new();
        let mut before_of_all = HashMap::new();
        for index in &class.hosts {
            let (Some(host), Some(routes)) = (self.hosts.get(*index), own.get(index)) else { continue };
            // Where its endpoints go, the route goes.
            let before = has_retained(routes);
            let before = before.then(|| (self.before.of_overlay(host.name), self.before.shared_of(host.name)));
            let mut overlay = Content::default();
            for (number, session) in class.sessions.iter().enumerate() {
                let Some((peer, agreed)) = session.of(self.config, self.sessions) else { continue };
                let terms = &agreed.terms;
                let routes_of = |layers: &[&'w Layer]| Routes::of(layers, &terms.vrf, &terms.key());
                let own_before = before.as_ref().map(|(overlay, _)| routes_of(overlay));
                let all_before = before.as_ref().map(|(_, shared)| {
                    let known = before_of_all.entry((number, contents(shared)));
                    &*known.or_insert_with(|| routes_of(&self.before.all_after(shared)))
                });
                let before: Vec<&Routes> = own_before.iter().chain(all_before).collect();
                let offers = self.offers(class, peer, agreed, routes, &before);
                if !offers.is_empty() {
                    overlay.add(&terms.vrf, terms.my_asn, &terms.neighbor, offers);
                }
            }
            if !overlay.routers.is_empty() {
                overlays.insert(*index, overlay);
            }
        }
        Draft { base, overlays }
    }

    /// What hosts of a class offer to a peer. A route that nothing asks for although nobody took it away stays as it is.
    fn offers(
        &mut self,
        class: &Class,
        peer: &Peer,
        agreed: &Agreed,
        routes: &[(&IpNet, &Route)],
        before: &[&Routes],
    ) -> AdjRibOut {
        if !class.announces || peer.withdraw_at.is_some_and(|at| at <= self.now) {
            return BTreeMap::new();
        }
        let terms = &agreed.terms;
        let draining = class.draining || peer.withdraw_at.is_some();
        let offered = |attributes: Attributes| Arc::new(if draining { attributes.draining() } else { attributes });
        let mut offers = Vec::with_capacity(routes.len());
        // Most routes are asked for by the same advertisements.
        let mut last: Option<(&[Request], Option<Arc<Attributes>>)> = None;
        for (prefix, route) in routes.iter().filter(|(prefix, _)| terms.carries(Family::of(prefix.addr()))) {
            let asked = match last.take().filter(|(requests, _)| *requests == route.requests.as_slice()) {
                Some((_, asked)) => asked,
                None => self.asked(class, peer, &route.requests).map(offered),
            };
            offers.extend(match &asked {
                Some(attributes) => Some((**prefix, Arc::clone(attributes))),
                None if route.retained => {
                    retained(**prefix, before).map(|(prefix, attributes)| (prefix, offered(attributes)))
                }
                None => None,
            });
            last = Some((&route.requests, asked));
        }
        let mut offers: AdjRibOut = offers.into_iter().collect();
        self.yield_attributes(peer, agreed, &mut offers);
        offers
    }

    /// Leaves out what FRRConfigurations of others give another value, and tells of it.
    fn yield_attributes(&mut self, peer: &Peer, agreed: &Agreed, offers: &mut AdjRibOut) {
        for prefix in agreed.given.keys() {
            let Some(attributes) = offers.get_mut(prefix) else { continue };
            for Yielded { field, ours, theirs, by } in agreed.yield_attributes(prefix, Arc::make_mut(attributes)) {
                let message = format!(
                    "{field} of {prefix} towards {} is {theirs} in FRRConfiguration {by}, which counts, and {ours} here",
                    peer.name
                );
                let asking =
                    self.config.advertisements.iter().filter(|a| a.tells(&peer.name) && a.asks_for(field, ours));
                for advertisement in asking {
                    let name = ObjectName::cluster(&advertisement.name);
                    let id = ObjectRef::new(Kind::LoadBalancerAdvertisement, name);
                    self.findings.warning(id, Reason::ForeignConflict, message.as_str());
                }
            }
        }
    }

    /// What is asked for of a route, if anything is.
    fn asked(&mut self, class: &Class, peer: &Peer, requests: &[Request]) -> Option<Attributes> {
        let telling = requests.iter().filter(|request| class.advertisements.contains(&request.advertisement));
        let telling =
            telling.filter_map(|request| Some((request, self.config.advertisements.get(request.advertisement)?)));
        let telling: Vec<_> = telling.filter(|(_, advertisement)| advertisement.tells(&peer.name)).collect();
        (!telling.is_empty()).then(|| self.attributes(&telling, peer))
    }

    /// What several advertisements say together: all communities, and the local preference and the prepend of the oldest that
    /// has one.
    fn attributes(&mut self, telling: &[(&Request, &Advertisement)], peer: &Peer) -> Attributes {
        let mut attributes = Attributes::default();
        for (request, advertisement) in telling {
            attributes.communities.extend(advertisement.communities.iter().cloned());
            attributes.communities.extend(request.communities.iter().cloned());
        }
        let advertisements = || telling.iter().map(|(_, advertisement)| *advertisement);
        attributes.local_pref =
            self.oldest("localPref", advertisements().map(|a| (a.name.as_str(), a.local_pref)), peer);
        attributes.as_path_prepend =
            self.oldest("asPathPrepend", advertisements().map(|a| (a.name.as_str(), a.as_path_prepend)), peer);
        attributes
    }

    /// The value of the oldest advertisement that has one. Tells of others that have another.
    fn oldest<'n, T: Copy + PartialEq + std::fmt::Display>(
        &mut self,
        field: &str,
        values: impl Iterator<Item = (&'n str, Option<T>)>,
        peer: &Peer,
    ) -> Option<T> {
        let mut values = values.filter_map(|(name, value)| Some((name, value?)));
        let (older, chosen) = values.next()?;
        for (name, value) in values.filter(|(_, value)| *value != chosen) {
            let id = ObjectRef::new(Kind::LoadBalancerAdvertisement, ObjectName::cluster(name));
            let message = format!(
                "{field} is {value}, but the older LoadBalancerAdvertisement {older} gives the same prefixes {chosen} towards {}",
                peer.name
            );
            self.findings.error(id, Reason::AttributeConflict, message);
        }
        Some(chosen)
    }

    /// Tells of peers that are taken off the network.
    fn tell_of_drains(&mut self) {
        for peer in &self.config.peers {
            let Some(at) = peer.withdraw_at else { continue };
            let id = ObjectRef::new(Kind::RouterPeer, ObjectName::cluster(&peer.name));
            let message = if at <= self.now {
                format!("drained: since {at} nothing is announced to it")
            } else {
                format!("being drained: announced with GRACEFUL_SHUTDOWN (RFC 8326) until {at}, then withdrawn")
            };
            self.findings.warning(id, Reason::Draining, message);
        }
    }
}

/// Whether it matters what there was before.
fn has_retained(routes: &[(&IpNet, &Route)]) -> bool {
    routes.iter().any(|(_, route)| route.retained)
}
