//! What an object says, in single statements that objects can share.
//!
//! Of a large cluster there are millions at a time: what they are about is told by numbers, and what they say by where it stands.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::{self, Write as _},
    hash::Hash,
    sync::Arc,
};

use clarion_api::frr::{BfdProfile, Neighbor, NextHop};
use ipnet::IpNet;
use itertools::Itertools as _;

use super::list::{Id, List};
use crate::{
    address_set::Family,
    hash::hash_of_prefix,
    layer::{Attributes, Content, Router, Session, carries},
};

/// What a statement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The AS number of a VRF's router.
    Asn(VrfNumber),
    /// The BGP identifier of a VRF's router.
    RouterId(VrfNumber),
    /// The compared fields of a session.
    Neighbor(SessionNumber),
    /// The BFD profile of a session. FRR-K8s wants its content in the same object, so the two are one statement.
    Profile(SessionNumber),
    /// The next hops of a session.
    NextHop(SessionNumber),
    /// A route on a session.
    Route(SessionNumber, IpNet),
}

/// A VRF, as [`Common`] counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VrfNumber(u32);

/// A session of a VRF, in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionNumber(u32);

/// What contents have in common, in one place.
#[derive(Default)]
pub struct Common<'a> {
    vrfs: Numbered<&'a str>,
    /// Each with its VRF.
    sessions: Numbered<(&'a str, &'a str)>,
    /// Shards say the same of their sessions.
    lists: HashSet<List<'a>>,
}

impl<'a> Common<'a> {
    /// The VRF, and the address or interface, of a session.
    pub fn session(&self, number: SessionNumber) -> Option<(&'a str, &'a str)> {
        self.sessions.get(number.0)
    }

    /// The VRF that a statement belongs to.
    pub fn vrf_of(&self, key: &Key) -> Option<VrfNumber> {
        match *key {
            Key::Asn(vrf) | Key::RouterId(vrf) => Some(vrf),
            _ => self.vrfs.numbers.get(self.session(key.session()?)?.0).copied().map(VrfNumber),
        }
    }

    fn session_of<'c>(&self, content: &'c mut Content, number: SessionNumber) -> Option<&'c mut Session> {
        let (vrf, key) = self.session(number)?;
        content.session_mut(vrf, key)
    }

    /// The list that says the same, if there is one already.
    pub fn list(&mut self, list: List<'a>) -> List<'a> {
        let known = self.lists.get(&list).cloned();
        known.unwrap_or_else(|| {
            self.lists.insert(list.clone());
            list
        })
    }
}

/// Things by number, in the order in which they were met.
#[derive(Default)]
struct Numbered<T> {
    all: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T: Copy + Eq + Hash> Numbered<T> {
    fn number(&mut self, thing: T) -> u32 {
        *self.numbers.entry(thing).or_insert_with(|| {
            self.all.push(thing);
            u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX)
        })
    }

    fn get(&self, number: u32) -> Option<T> {
        self.all.get(usize::try_from(number).ok()?).copied()
    }
}

/// What is said about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// An AS number.
    Asn(i64),
    /// An identifier.
    RouterId(&'a String),
    /// Fields of a session.
    Neighbor(&'a Neighbor),
    /// Next hops.
    NextHop(&'a NextHop),
    /// Path attributes.
    Attributes(&'a Arc<Attributes>),
    /// A BFD profile.
    Profile(&'a BfdProfile),
    /// The name of a BFD profile that is not known.
    UnknownProfile(&'a String),
}

/// A statement.
pub type Fact<'a> = (Key, Value<'a>);

/// Everything that an object says. Shards of the same sessions differ in their routes alone, and say of the sessions the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Facts<'a> {
    /// Of routers and their sessions.
    pub sessions: List<'a>,
    /// Of routes.
    pub routes: List<'a>,
}

impl<'a> Facts<'a> {
    /// Takes a content apart.
    pub fn of(content: &'a Content, common: &mut Common<'a>) -> Self {
        let (mut facts, mut sessions) = (Vec::new(), Vec::new());
        for (vrf, router) in &content.routers {
            let number = VrfNumber(common.vrfs.number(vrf));
            facts.push((Key::Asn(number), Value::Asn(router.asn)));
            facts.extend(router.id.as_ref().map(|id| (Key::RouterId(number), Value::RouterId(id))));
            for (key, session) in &router.sessions {
                sessions.push((SessionNumber(common.sessions.number((vrf, key))), session));
            }
        }
        sessions.sort_unstable_by_key(|(number, _)| *number);
        for (number, session) in &sessions {
            facts.push((Key::Neighbor(*number), Value::Neighbor(&session.neighbor)));
            facts.extend(session.bfd_profile.as_ref().map(|name| {
                let profile = content.bfd_profiles.get(name);
                (Key::Profile(*number), profile.map_or(Value::UnknownProfile(name), Value::Profile))
            }));
            facts.extend(session.next_hop.as_ref().map(|hop| (Key::NextHop(*number), Value::NextHop(hop))));
        }
        facts.sort_unstable_by_key(|(key, _)| *key);
        let mut routes = Vec::with_capacity(sessions.iter().map(|(_, session)| session.routes.len()).sum());
        for (number, session) in sessions {
            let all = session.routes.iter();
            routes.extend(all.map(|(prefix, attributes)| (Key::Route(number, *prefix), Value::Attributes(attributes))));
        }
        Self { sessions: common.list(facts.into()), routes: routes.into() }
    }

    /// What is said here of all that is spoken of there.
    pub fn about(&self, there: &Self) -> Self {
        Self { sessions: self.sessions.about(&there.sessions), routes: self.routes.about(&there.routes) }
    }

    /// Both lists.
    pub fn lists(&self) -> [&List<'a>; 2] {
        [&self.sessions, &self.routes]
    }

    /// What they cost FRR-K8s's webhook for one host, as [`crate::compose::Bounds::cell_load`] counts.
    pub fn load(&self) -> usize {
        let cost = |value: &Value| if let Value::Attributes(attributes) = value { 1 + attributes.count() } else { 0 };
        self.routes.iter().map(|(_, value)| cost(value)).sum()
    }

    /// How many bytes prefixes take in an object that says this, wherever [`Layer::spec`](crate::layer::Layer::spec) names them:
    /// for the router, for each session that does not have all that it carries, and with each attribute.
    pub fn bytes(&self, common: &Common<'a>) -> usize {
        let mut routers: BTreeMap<Option<&str>, Vec<&[Fact]>> = BTreeMap::new();
        for routes in self.by_session() {
            let number = routes.first().and_then(|(key, _)| key.session());
            let vrf = number.and_then(|number| common.session(number)).map(|(vrf, _)| vrf);
            routers.entry(vrf).or_default().push(routes);
        }
        let of_router = |sessions: &Vec<&[Fact<'a>]>| {
            let prefixes = sessions.iter().flat_map(|routes| routes.iter()).filter_map(route).map(|(prefix, _)| prefix);
            let mut all: Vec<IpNet> = prefixes.collect();
            all.sort_unstable();
            all.dedup();
            let count = |family| all.iter().filter(|prefix| Family::of(prefix.addr()) == family).count();
            let counts = [Family::V4, Family::V6].map(|family| (family, count(family)));
            let of_sessions = sessions.iter().map(|routes| {
                let neighbor = self.neighbor_of(routes);
                let carried = counts.iter().filter(|(family, _)| neighbor.is_some_and(|n| carries(n, *family)));
                let is_all = carried.map(|(_, count)| count).sum::<usize>() == routes.len();
                let lists = usize::from(!is_all);
                let of_routes =
                    routes.iter().filter_map(route).filter(|(_, attributes)| lists + attributes.count() > 0);
                of_routes.map(|(prefix, attributes)| (lists + attributes.count()) * bytes_of(&prefix)).sum::<usize>()
            });
            all.iter().map(bytes_of).sum::<usize>() + of_sessions.sum::<usize>()
        };
        routers.values().map(of_router).sum()
    }

    /// The most that it can be, whatever else the object says.
    pub fn bytes_at_most(&self) -> usize {
        let routes = self.routes.iter().filter_map(route);
        routes.map(|(prefix, attributes)| (2 + attributes.count()) * bytes_of(&prefix)).sum()
    }

    /// Whether there are no routes to several prefixes.
    pub fn is_about_one_prefix(&self) -> bool {
        self.routes.iter().filter_map(route).map(|(prefix, _)| prefix).all_equal()
    }

    /// The compared fields of the session of these routes.
    fn neighbor_of(&self, routes: &[Fact]) -> Option<&'a Neighbor> {
        let session = routes.first().and_then(|(key, _)| key.session())?;
        match self.sessions.get(&Key::Neighbor(session)) {
            Some(Value::Neighbor(neighbor)) => Some(neighbor),
            _ => None,
        }
    }

    /// The same, with what is kept of sessions. Where that are the compared fields of a session, it has none of what it did not have with
    /// them, and no route that it does not carry. Where it is the AS number of a router, there are no sessions but those that are kept.
    pub fn with_kept(&self, kept: &List<'a>, common: &mut Common<'a>) -> Self {
        let neighbor = |key: &Key| match kept.get(&Key::Neighbor(key.session()?)) {
            Some(Value::Neighbor(neighbor)) => Some(neighbor),
            _ => None,
        };
        let is_in_kept_router = |key: &Key| common.vrf_of(key).is_some_and(|vrf| kept.get(&Key::Asn(vrf)).is_some());
        let is_new_in_it = |key: &Key| key.session().is_some() && neighbor(key).is_none() && is_in_kept_router(key);
        let sessions = self.sessions.iter().filter_map(|(key, value)| match kept.get(key) {
            Some(now) => Some((*key, now)),
            None => (neighbor(key).is_none() && !is_new_in_it(key)).then_some((*key, *value)),
        });
        let sessions = sessions.collect::<Vec<Fact>>();
        let has_route = |key: &Key, prefix: &IpNet| match neighbor(key) {
            Some(neighbor) => carries(neighbor, Family::of(prefix.addr())),
            None => !is_new_in_it(key),
        };
        let is_carried = |(key, _): &&Fact| !matches!(key, Key::Route(_, prefix) if !has_route(key, prefix));
        let routes: Vec<Fact> = self.routes.iter().filter(is_carried).copied().collect();
        let routes = if routes.len() == self.routes.len() { self.routes.clone() } else { routes.into() };
        Self { sessions: common.list(sessions.into()), routes }
    }

    fn by_session(&self) -> impl Iterator<Item = &[Fact<'a>]> {
        self.routes.as_slice().chunk_by(|(a, _), (b, _)| a.session() == b.session())
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.lists().iter().all(|list| list.is_empty())
    }

    /// The same for copies.
    pub fn id(&self) -> [Id<'a>; 2] {
        self.lists().map(List::id)
    }

    /// Puts a content together. A statement about a session that has no [`Key::Neighbor`] is dropped: it can't be written.
    pub fn content(&self, common: &Common<'a>) -> Content {
        let mut content = Content::default();
        // The keys' order brings routers before their sessions, and sessions before what belongs to them.
        for (key, value) in self.sessions.iter() {
            match (*key, *value) {
                (Key::Asn(vrf), Value::Asn(asn)) => {
                    let vrf = common.vrfs.get(vrf.0);
                    content.routers.extend(vrf.map(|vrf| (vrf.to_owned(), Router::new(asn))));
                }
                (Key::RouterId(vrf), Value::RouterId(id)) => {
                    let router = common.vrfs.get(vrf.0).and_then(|vrf| content.routers.get_mut(vrf));
                    router.into_iter().for_each(|router| router.id = Some(id.clone()));
                }
                (Key::Neighbor(session), Value::Neighbor(neighbor)) => {
                    if let Some((vrf, key)) = common.session(session)
                        && let Some(router) = content.routers.get_mut(vrf)
                    {
                        router.sessions.insert(key.to_owned(), Session::new(neighbor.clone()));
                    }
                }
                (Key::Profile(session), Value::Profile(profile)) => {
                    if let Some(session) = common.session_of(&mut content, session) {
                        session.bfd_profile = Some(profile.name.clone());
                        content.bfd_profiles.insert(profile.name.clone(), profile.clone());
                    }
                }
                (Key::Profile(session), Value::UnknownProfile(name)) => {
                    if let Some(session) = common.session_of(&mut content, session) {
                        session.bfd_profile = Some(name.clone());
                    }
                }
                (Key::NextHop(session), Value::NextHop(next_hop)) => {
                    if let Some(session) = common.session_of(&mut content, session) {
                        session.next_hop = Some(next_hop.clone());
                    }
                }
                _ => {}
            }
        }
        for routes in self.by_session() {
            let number = routes.first().and_then(|(key, _)| key.session());
            let session = number.and_then(|number| common.session_of(&mut content, number));
            session.into_iter().for_each(|session| {
                let routes = routes.iter().filter_map(route);
                session.routes = routes.map(|(prefix, attributes)| (prefix, Arc::clone(attributes))).collect();
            });
        }
        content
    }
}

/// With quotation marks and a comma.
fn bytes_of(prefix: &IpNet) -> usize {
    let mut written = Written(3);
    // Counting does not fail.
    let _ = write!(written, "{prefix}");
    written.0
}

/// So many bytes that were written, and not kept.
struct Written(usize);

impl fmt::Write for Written {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

fn route<'a>(fact: &Fact<'a>) -> Option<(IpNet, &'a Arc<Attributes>)> {
    match *fact {
        (Key::Route(_, prefix), Value::Attributes(attributes)) => Some((prefix, attributes)),
        _ => None,
    }
}

impl Key {
    /// A number of which the last bits tell, roughly, what this is about.
    pub fn topic(&self) -> u64 {
        match *self {
            Self::Asn(vrf) | Self::RouterId(vrf) => vrf.0.into(),
            Self::Neighbor(session) | Self::Profile(session) | Self::NextHop(session) => session.0.into(),
            Self::Route(_, prefix) => hash_of_prefix(&prefix),
        }
    }

    /// The session that this is about, if it is not about a router.
    pub fn session(&self) -> Option<SessionNumber> {
        match *self {
            Self::Asn(_) | Self::RouterId(_) => None,
            Self::Neighbor(session) | Self::Profile(session) | Self::NextHop(session) | Self::Route(session, _) => {
                Some(session)
            }
        }
    }
}
