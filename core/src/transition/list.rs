//! Statements in their order, in lists that objects share.

use std::{
    cmp::Ordering,
    collections::BTreeSet,
    hash::{Hash, Hasher},
    iter,
    rc::Rc,
};

use super::{
    facts::{Fact, Key, Value},
    slices::Slice,
    topics::Topics,
};

/// Statements about different things, in their order. A copy is the same list.
#[derive(Clone, Debug, Default)]
pub struct List<'a>(Option<Rc<Statements<'a>>>);

/// What a list holds.
#[derive(Debug)]
pub struct Statements<'a> {
    facts: Vec<Fact<'a>>,
    topics: Topics,
}

/// What tells lists from each other without reading them, as long as they live.
pub type Id<'a> = Option<*const Statements<'a>>;

/// A statement that is made, changed or left out.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What it is about.
    pub key: Key,
    /// What is to be said.
    pub new: Option<Value<'a>>,
}

impl<'a> List<'a> {
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

    /// What is said here of what is to stay as it is. What else is said of a session may be right for its old parameters, or for new
    /// ones, and wrong for the others: it stays where these do.
    pub fn keeping(&self, stays: &BTreeSet<Key>) -> Self {
        let is_of_one = |key: &Key| key.session().is_some_and(|session| stays.contains(&Key::Neighbor(session)));
        let facts = self.iter().filter(|(key, _)| stays.contains(key) || is_of_one(key));
        Self::from(facts.copied().collect::<Vec<_>>())
    }

    /// What is said otherwise there.
    pub fn different(&self, there: &Self) -> impl Iterator<Item = Key> {
        self.aligned(there).filter_map(|(key, here, there)| (here? != there?).then_some(key))
    }

    /// What is said here of the routes of a slice.
    pub fn slice(&self, slice: Slice) -> Self {
        let is_there = |(key, _): &&Fact| matches!(key, Key::Route(_, prefix) if slice.has(prefix));
        Self::from(self.iter().filter(is_there).copied().collect::<Vec<_>>())
    }

    /// All that differs in the other list.
    pub fn changes(&self, other: &Self) -> Vec<Change<'a>> {
        if self.id() == other.id() {
            return Vec::new();
        }
        let different = self.aligned(other).filter(|(_, old, new)| old != new);
        different.map(|(key, _, new)| Change { key, new }).collect()
    }

    /// Both lists side by side.
    fn aligned(&self, other: &Self) -> impl Iterator<Item = (Key, Option<Value<'a>>, Option<Value<'a>>)> {
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

    /// Whether something is said of anything that is spoken of there too, and it is something else.
    pub fn contradicts(&self, other: &Self) -> bool {
        if self.id() == other.id() {
            return false;
        }
        let (few, many) = if self.len() < other.len() { (self, other) } else { (other, self) };
        if many.is_searched_for(few.len()) {
            return few.iter().any(|(key, here)| many.get(key).is_some_and(|there| there != *here));
        }
        few.different(many).next().is_some()
    }

    /// Whether anything may be said here of these topics.
    pub fn concerns(&self, topics: &Topics) -> bool {
        self.topics().is_some_and(|own| own.meet(topics))
    }

    /// What the statements are about; `None` if there are none.
    pub fn topics(&self) -> Option<&Topics> {
        self.0.as_ref().map(|statements| &statements.topics)
    }

    /// Hands on what is said here about each of the changes, which are in their order, and what there is beside it.
    pub fn of_changes<T>(
        &self,
        changes: &[Change<'a>],
        beside: &mut [T],
        mut hand_on: impl FnMut(&mut T, &Change<'a>, Value<'a>),
    ) {
        let mut both = changes.iter().zip(beside);
        if self.is_searched_for(changes.len()) {
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

    /// Whether so many keys are looked for one by one: reading a list costs about as much as looking for a sixteenth of its keys.
    fn is_searched_for(&self, keys: usize) -> bool {
        keys < self.len() / 16
    }

    /// What is said about this.
    pub fn get(&self, key: &Key) -> Option<Value<'a>> {
        let facts = self.as_slice();
        let (_, value) = facts.get(facts.binary_search_by(|(there, _)| there.cmp(key)).ok()?)?;
        Some(*value)
    }

    /// All statements.
    pub fn iter(&self) -> std::slice::Iter<'_, Fact<'a>> {
        self.as_slice().iter()
    }

    /// The same.
    pub fn as_slice(&self) -> &[Fact<'a>] {
        self.0.as_ref().map_or(&[], |statements| &statements.facts)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same for copies of the same list.
    pub fn id(&self) -> Id<'a> {
        self.0.as_ref().map(Rc::as_ptr)
    }
}

impl<'a> From<Vec<Fact<'a>>> for List<'a> {
    /// From statements in their order.
    fn from(facts: Vec<Fact<'a>>) -> Self {
        let statements = |facts: Vec<Fact<'a>>| {
            let topics = facts.iter().map(|(key, _)| key).collect();
            Rc::new(Statements { facts, topics })
        };
        Self(Some(facts).filter(|facts| !facts.is_empty()).map(statements))
    }
}

impl PartialEq for List<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id() || self.iter().eq(other.iter())
    }
}

// Whatever is said is equal to itself.
impl Eq for List<'_> {}

impl Hash for List<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.iter().for_each(|(key, _)| key.hash(state));
    }
}
