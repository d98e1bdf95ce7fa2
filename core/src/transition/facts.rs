//! What an object says, in single statements that objects can share.

use std::{
    cmp::Ordering,
    collections::HashSet,
    hash::{Hash, Hasher},
    iter,
    rc::Rc,
};

use clarion_api::frr::{BfdProfile, Neighbor, NextHop};
use ipnet::IpNet;

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

/// A VRF, or the address or interface of a session. All routes of a session have the same, and [`Texts`] sees to it that so do
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

/// Equal texts, in one place.
#[derive(Default)]
pub struct Texts<'a>(HashSet<&'a str>);

impl<'a> Texts<'a> {
    fn get(&mut self, text: &'a str) -> Text<'a> {
        let known = self.0.get(text).copied();
        Text(known.unwrap_or_else(|| {
            self.0.insert(text);
            text
        }))
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
type Fact<'a> = (Key<'a>, Value<'a>);

/// Statements about different things, in their order. A copy is the same list.
#[derive(Clone, Debug, Default)]
pub struct Facts<'a>(Option<Rc<Vec<Fact<'a>>>>);

/// What tells lists from each other without reading them, as long as they live.
pub type Id<'a> = Option<*const Vec<Fact<'a>>>;

/// A statement that is made, changed or left out.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What it is about.
    pub key: Key<'a>,
    /// What is to be said.
    pub new: Option<Value<'a>>,
}

impl<'a> Facts<'a> {
    /// Takes a content apart.
    pub fn of(content: &'a Content, texts: &mut Texts<'a>) -> Self {
        let routers: Vec<(Text, &Router)> =
            content.routers.iter().map(|(vrf, router)| (texts.get(vrf), router)).collect();
        let mut sessions: Vec<(Text, Text, &Session)> = Vec::new();
        for (vrf, router) in &routers {
            sessions.extend(router.sessions.iter().map(|(key, session)| (*vrf, texts.get(key), session)));
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
        for (vrf, key, session) in sessions() {
            let routes = session.routes.iter();
            facts.extend(routes.map(|(prefix, a)| (Key::Route(vrf, key, *prefix), Value::Attributes(a))));
        }
        Self::from(facts)
    }

    /// What several lists say together; where they contradict each other, the last one counts.
    pub fn together<'f>(lists: impl Iterator<Item = &'f Self>) -> Self
    where
        'a: 'f,
    {
        let lists: Vec<&Self> = lists.filter(|list| !list.is_empty()).collect();
        if let [alone] = lists.as_slice() {
            return (*alone).clone();
        }
        let mut facts = lists.into_iter().flat_map(Self::iter).copied().collect::<Vec<Fact>>();
        // Stable, and quick where sorted lists follow each other.
        facts.sort_by_key(|(key, _)| *key);
        facts.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                *earlier = *later;
            }
            same
        });
        Self::from(facts)
    }

    /// What is said here of all that is spoken of there.
    pub fn about(&self, there: &Self) -> Self {
        let facts: Vec<Fact> = self
            .aligned(there)
            .filter_map(|(key, here, there)| here.filter(|_| there.is_some()).map(|v| (key, v)))
            .collect();
        Self::from(facts)
    }

    /// All that differs in the other list.
    pub fn changes(&self, other: &Self) -> Vec<Change<'a>> {
        if self.id() == other.id() {
            return Vec::new();
        }
        let different = self.aligned(other).filter(|(_, old, new)| old != new);
        different.map(|(key, _, new)| Change { key, new }).collect()
    }

    /// Whether the two say different things about the same.
    pub fn contradicts(&self, other: &Self) -> bool {
        if self.id() == other.id() {
            return false;
        }
        let (small, large) = if self.len() < other.len() { (self, other) } else { (other, self) };
        // Reading a list costs about as much as looking for a sixteenth of its keys.
        if small.len() < large.len() / 16 {
            small.iter().any(|(key, value)| large.get(key).is_some_and(|there| there != *value))
        } else {
            small.aligned(large).any(|(_, here, there)| here.is_some() && there.is_some() && here != there)
        }
    }

    /// Both lists side by side.
    fn aligned(&self, other: &Self) -> impl Iterator<Item = (Key<'a>, Option<Value<'a>>, Option<Value<'a>>)> {
        let (mut left, mut right) = (self.iter().peekable(), other.iter().peekable());
        iter::from_fn(move || {
            let order = match (left.peek(), right.peek()) {
                (Some((left, _)), Some((right, _))) => left.cmp(right),
                (Some(_), None) => Ordering::Less,
                (None, _) => Ordering::Greater,
            };
            let left = if order.is_le() { left.next() } else { None };
            let right = if order.is_ge() { right.next() } else { None };
            let (key, _) = left.or(right)?;
            Some((*key, left.map(|(_, value)| *value), right.map(|(_, value)| *value)))
        })
    }

    /// Hands on what is said here about each of the changes, which are in their order, and what there is beside it.
    pub fn of_changes<T>(
        &self,
        changes: &[Change<'a>],
        beside: &mut [T],
        mut hand_on: impl FnMut(&mut T, &Change<'a>, Value<'a>),
    ) {
        let mut both = changes.iter().zip(beside);
        // Reading a list costs about as much as looking for a sixteenth of its keys.
        if changes.len() < self.len() / 16 {
            both.for_each(|(change, beside)| {
                if let Some(value) = self.get(&change.key) {
                    hand_on(beside, change, value);
                }
            });
            return;
        }
        let mut facts = self.iter().peekable();
        both.all(|(change, beside)| {
            while facts.next_if(|(key, _)| *key < change.key).is_some() {}
            if let Some((_, value)) = facts.next_if(|(key, _)| *key == change.key) {
                hand_on(beside, change, *value);
            }
            facts.peek().is_some()
        });
    }

    /// What is said about this.
    pub fn get(&self, key: &Key<'a>) -> Option<Value<'a>> {
        let facts = self.0.as_ref()?;
        let (_, value) = facts.get(facts.binary_search_by(|(there, _)| there.cmp(key)).ok()?)?;
        Some(*value)
    }

    /// All statements.
    pub fn iter(&self) -> std::slice::Iter<'_, Fact<'a>> {
        self.0.as_ref().map_or(&[] as &[Fact], |facts| facts).iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().len()
    }

    /// What they cost FRR-K8s's webhook for one host, as [`crate::compose::Bounds::cell_load`] counts.
    pub fn load(&self) -> usize {
        let cost = |value: &Value| if let Value::Attributes(attributes) = value { 1 + attributes.count() } else { 0 };
        self.iter().map(|(_, value)| cost(value)).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same for copies of the same list.
    pub fn id(&self) -> Id<'a> {
        self.0.as_ref().map(Rc::as_ptr)
    }

    /// Puts a content together. A statement about a session that has no [`Key::Neighbor`] is dropped: it can't be written.
    pub fn content(&self) -> Content {
        let mut content = Content::default();
        let facts = self.0.as_ref().map_or(&[] as &[Fact], |facts| facts);
        let (first, routes) = facts.split_at(facts.partition_point(|(key, _)| key.route_of().is_none()));
        // The keys' order brings routers before their sessions, and sessions before what belongs to them.
        for (key, value) in first {
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
        for routes in routes.chunk_by(|(a, _), (b, _)| a.route_of() == b.route_of()) {
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

impl<'a> From<Vec<Fact<'a>>> for Facts<'a> {
    /// From statements in their order.
    fn from(facts: Vec<Fact<'a>>) -> Self {
        Self(Some(facts).filter(|facts| !facts.is_empty()).map(Rc::new))
    }
}

impl PartialEq for Facts<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id() || self.iter().eq(other.iter())
    }
}

// Whatever is said is equal to itself.
impl Eq for Facts<'_> {}

impl Hash for Facts<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.iter().for_each(|(key, _)| key.hash(state));
    }
}
