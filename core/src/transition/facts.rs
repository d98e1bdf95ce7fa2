//! What an object says, in single statements that objects can share.

use std::{cmp::Ordering, collections::HashSet};

use clarion_api::frr::{BfdProfile, Neighbor, NextHop};
use ipnet::IpNet;

use super::list::{Id, List};
use crate::layer::{Attributes, Content, Router, Session};

/// What a statement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key<'a> {
    /// The AS number of a VRF's router.
    Asn(Text<'a>),
    /// The BGP identifier of a VRF's router.
    RouterId(Text<'a>),
    /// The compared fields of a session.
    Neighbor(Text<'a>, Text<'a>),
    /// The BFD profile of a session. FRR-K8s wants its content in the same object, so the two are one statement.
    Profile(Text<'a>, Text<'a>),
    /// The next hops of a session.
    NextHop(Text<'a>, Text<'a>),
    /// A route on a session.
    Route(Text<'a>, Text<'a>, IpNet),
}

/// A VRF, or the address or interface of a session. All routes of a session have the same, and [`Common`] sees to it that so do
/// those of all contents: nearly always two are told to be equal by where they stand.
#[derive(Clone, Copy, Debug, Eq, Hash)]
pub struct Text<'a>(&'a str);

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0) || self.0 == other.0
    }
}

impl Ord for Text<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        if std::ptr::eq(self.0, other.0) { Ordering::Equal } else { self.0.cmp(other.0) }
    }
}

impl PartialOrd for Text<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What contents have in common, in one place.
#[derive(Default)]
pub struct Common<'a> {
    texts: HashSet<&'a str>,
    /// Shards say the same of their sessions.
    sessions: HashSet<List<'a>>,
}

impl<'a> Common<'a> {
    fn text(&mut self, text: &'a str) -> Text<'a> {
        let known = self.texts.get(text).copied();
        Text(known.unwrap_or_else(|| {
            self.texts.insert(text);
            text
        }))
    }

    fn sessions(&mut self, list: List<'a>) -> List<'a> {
        let known = self.sessions.get(&list).cloned();
        known.unwrap_or_else(|| {
            self.sessions.insert(list.clone());
            list
        })
    }
}

/// What is said about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// An AS number.
    Asn(i64),
    /// An identifier.
    Text(&'a str),
    /// Fields of a session.
    Neighbor(&'a Neighbor),
    /// Next hops.
    NextHop(&'a NextHop),
    /// Path attributes.
    Attributes(&'a Attributes),
    /// A BFD profile: its name, and its content where that is known.
    Profile(&'a str, Option<&'a BfdProfile>),
}

/// A statement.
pub type Fact<'a> = (Key<'a>, Value<'a>);

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
        let routers: Vec<(Text, &Router)> =
            content.routers.iter().map(|(vrf, router)| (common.text(vrf), router)).collect();
        let mut sessions: Vec<(Text, Text, &Session)> = Vec::new();
        for (vrf, router) in &routers {
            sessions.extend(router.sessions.iter().map(|(key, session)| (*vrf, common.text(key), session)));
        }
        let routers = || routers.iter().copied();
        let sessions = || sessions.iter().copied();
        // One kind after the other, as the keys are ordered.
        let mut facts: Vec<Fact> = routers().map(|(vrf, router)| (Key::Asn(vrf), Value::Asn(router.asn))).collect();
        facts
            .extend(routers().filter_map(|(vrf, router)| Some((Key::RouterId(vrf), Value::Text(router.id.as_ref()?)))));
        facts.extend(
            sessions().map(|(vrf, key, session)| (Key::Neighbor(vrf, key), Value::Neighbor(&session.neighbor))),
        );
        facts.extend(sessions().filter_map(|(vrf, key, session)| {
            let profile = session.bfd_profile.as_ref()?;
            Some((Key::Profile(vrf, key), Value::Profile(profile, content.bfd_profiles.get(profile))))
        }));
        facts.extend(sessions().filter_map(|(vrf, key, session)| {
            Some((Key::NextHop(vrf, key), Value::NextHop(session.next_hop.as_ref()?)))
        }));
        let routes: Vec<Fact> = sessions()
            .flat_map(|(vrf, key, session)| {
                let routes = session.routes.iter();
                routes.map(move |(prefix, a)| (Key::Route(vrf, key, *prefix), Value::Attributes(a)))
            })
            .collect();
        Self { sessions: common.sessions(facts.into()), routes: routes.into() }
    }

    /// Both lists.
    pub fn lists(&self) -> [&List<'a>; 2] {
        [&self.sessions, &self.routes]
    }

    /// What several objects say together; where they contradict each other, the last one counts.
    pub fn together(all: &[&Self]) -> Self {
        Self {
            sessions: List::together(all.iter().map(|facts| &facts.sessions)),
            routes: List::together(all.iter().map(|facts| &facts.routes)),
        }
    }

    /// What is said here of all that is spoken of there.
    pub fn about(&self, there: &Self) -> Self {
        Self { sessions: self.sessions.about(&there.sessions), routes: self.routes.about(&there.routes) }
    }

    /// What they cost FRR-K8s's webhook for one host, as [`crate::compose::Bounds::cell_load`] counts.
    pub fn load(&self) -> usize {
        let cost = |value: &Value| if let Value::Attributes(attributes) = value { 1 + attributes.count() } else { 0 };
        self.routes.iter().map(|(_, value)| cost(value)).sum()
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
    pub fn content(&self) -> Content {
        let mut content = Content::default();
        // The keys' order brings routers before their sessions, and sessions before what belongs to them.
        for (key, value) in self.sessions.iter() {
            match (*key, *value) {
                (Key::Asn(vrf), Value::Asn(asn)) => {
                    content.routers.insert(vrf.0.to_owned(), Router::new(asn));
                }
                (Key::RouterId(vrf), Value::Text(id)) => {
                    if let Some(router) = content.routers.get_mut(vrf.0) {
                        router.id = Some(id.to_owned());
                    }
                }
                (Key::Neighbor(vrf, key), Value::Neighbor(neighbor)) => {
                    if let Some(router) = content.routers.get_mut(vrf.0) {
                        router.sessions.insert(key.0.to_owned(), Session::new(neighbor.clone()));
                    }
                }
                (Key::Profile(vrf, key), Value::Profile(name, profile)) => {
                    if let Some(session) = content.session_mut(vrf.0, key.0) {
                        session.bfd_profile = Some(name.to_owned());
                        content.bfd_profiles.extend(profile.map(|profile| (name.to_owned(), profile.clone())));
                    }
                }
                (Key::NextHop(vrf, key), Value::NextHop(next_hop)) => {
                    if let Some(session) = content.session_mut(vrf.0, key.0) {
                        session.next_hop = Some(next_hop.clone());
                    }
                }
                _ => {}
            }
        }
        for routes in self.routes.as_slice().chunk_by(|(a, _), (b, _)| a.route_of() == b.route_of()) {
            let of = routes.first().and_then(|(key, _)| key.route_of());
            let Some(session) = of.and_then(|(vrf, key)| content.session_mut(vrf.0, key.0)) else { continue };
            session.routes = routes.iter().filter_map(route).collect();
        }
        content
    }
}

fn route(fact: &Fact) -> Option<(IpNet, Attributes)> {
    match *fact {
        (Key::Route(_, _, prefix), Value::Attributes(attributes)) => Some((prefix, attributes.clone())),
        _ => None,
    }
}

impl<'a> Key<'a> {
    /// The session, if this is a route.
    fn route_of(&self) -> Option<(Text<'a>, Text<'a>)> {
        match *self {
            Key::Route(vrf, key, _) => Some((vrf, key)),
            _ => None,
        }
    }
}
