//! Whether an object can change what it says beside what others say: found out once for all groups alike.

use std::{collections::HashMap, rc::Rc};

use super::{
    list::{Change, Id, List},
    topics::Topics,
};

/// A change of what one object says of sessions, or of routes.
pub struct Step<'a> {
    pair: [Id<'a>; 2],
    changes: Vec<Change<'a>>,
    /// What changes.
    topics: Topics,
}

impl<'a> Step<'a> {
    /// Whether one of the lists may speak of something that changes.
    pub fn concerns(&self, lists: [&List<'a>; 3]) -> bool {
        lists.iter().any(|list| list.concerns(&self.topics))
    }
}

/// What an object says now, after the writes that were chosen, and in the end; and whether it is the one that changes.
pub type Beside<'a, 'l> = (bool, [&'l List<'a>; 3]);

/// What the verdict on a change depends on: what the object says before and after, whether the group is broken, and what its
/// objects say.
type Case<'a> = ([Id<'a>; 2], bool, Vec<(bool, [Id<'a>; 3])>);

/// What was found out about lists.
#[derive(Default)]
pub struct Verdicts<'a> {
    steps: HashMap<[Id<'a>; 2], Rc<Step<'a>>>,
    safe: HashMap<Case<'a>, bool>,
    /// Of two lists, whether one says something else of anything than the other.
    contradictory: HashMap<[Id<'a>; 2], bool>,
    /// All of these lists: none may go away, and another have its [`Id`].
    lists: HashMap<Id<'a>, List<'a>>,
}

impl<'a> Verdicts<'a> {
    fn keep(&mut self, lists: &[&List<'a>]) {
        for list in lists {
            self.lists.entry(list.id()).or_insert_with(|| (*list).clone());
        }
    }

    /// The change from one list to another.
    pub fn step(&mut self, old: &List<'a>, new: &List<'a>) -> Rc<Step<'a>> {
        let pair = [old.id(), new.id()];
        if let Some(step) = self.steps.get(&pair) {
            return Rc::clone(step);
        }
        let changes = old.changes(new);
        let topics = changes.iter().map(|change| &change.key).collect();
        let step = Rc::new(Step { pair, changes, topics });
        self.steps.insert(pair, Rc::clone(&step));
        self.keep(&[old, new]);
        step
    }

    /// Whether one of the lists says something else of anything than another.
    pub fn contradict<'l>(&mut self, lists: impl Iterator<Item = &'l List<'a>>) -> bool
    where
        'a: 'l,
    {
        let mut lists: Vec<(&List, &Topics)> = lists.filter_map(|list| Some((list, list.topics()?))).collect();
        lists.sort_unstable_by_key(|(list, _)| list.id());
        lists.dedup_by_key(|(list, _)| list.id());
        let mut before = Topics::default();
        lists.iter().enumerate().any(|(number, (list, topics))| {
            let may_be = topics.meet(&before);
            before.add(topics);
            let related = lists.iter().take(number).filter(|(_, others)| may_be && topics.meet(others));
            related.map(|(other, _)| *other).any(|other| self.are_contradictory(other, list))
        })
    }

    fn are_contradictory(&mut self, one: &List<'a>, other: &List<'a>) -> bool {
        let pair = [one.id(), other.id()];
        if let Some(known) = self.contradictory.get(&pair) {
            return *known;
        }
        let found = one.contradicts(other);
        self.contradictory.insert(pair, found);
        self.keep(&[one, other]);
        found
    }

    /// Whether everything can change at once beside what the objects of a group say.
    pub fn is_safe(&mut self, step: &Step<'a>, mut beside: Vec<Beside<'a, '_>>, broken: bool) -> bool {
        // What several others say alike counts as if one said it.
        beside.sort_unstable_by_key(|(own, lists)| (*own, lists.map(List::id)));
        beside.dedup_by_key(|(own, lists)| (*own, lists.map(List::id)));
        let ids = beside.iter().map(|(own, lists)| (*own, lists.map(List::id)));
        let case = (step.pair, broken, ids.collect());
        if let Some(verdict) = self.safe.get(&case) {
            return *verdict;
        }
        let verdict = are_safe(&step.changes, beside.iter().copied(), broken);
        beside.iter().for_each(|(_, lists)| self.keep(lists));
        self.safe.insert(case, verdict);
        verdict
    }
}

/// What all objects of a group say about what a change is about. It does not depend on their order.
#[derive(Clone, Default)]
struct Found {
    /// Something of it is wanted in the end.
    is_wanted: bool,
    /// What is to be said is wanted in the end, or said by some object now.
    is_honest: bool,
    /// The last object that says anything of it now.
    says_now: Option<usize>,
    /// Another object says something of it throughout.
    is_held: bool,
    /// Another object says, or is about to say, something else.
    differs: bool,
}

impl Found {
    /// Whether the statement can change.
    fn permits(&self, change: &Change, broken: bool) -> bool {
        match change.new {
            // What is there and wanted stays with one object throughout.
            None => broken || !self.is_wanted || self.is_held,
            // Nothing is said that is neither wanted nor there already; and no two objects could differ, whichever of the writes
            // have landed.
            Some(_) => self.is_honest && (broken || !self.differs),
        }
    }
}

/// Whether all changes of one object are safe beside what the objects of a group say, itself included.
fn are_safe<'a: 'l, 'l>(
    changes: &[Change<'a>],
    objects: impl Iterator<Item = (bool, [&'l List<'a>; 3])>,
    broken: bool,
) -> bool {
    let mut found = vec![Found::default(); changes.len()];
    for (number, (own, [old, new, wanted])) in objects.enumerate() {
        let differs = |change: &Change<'a>, value| !own && change.new.is_some_and(|new| new != value);
        old.of_changes(changes, &mut found, |found, change, value| {
            found.says_now = Some(number);
            found.is_honest |= change.new == Some(value);
            found.differs |= differs(change, value);
        });
        new.of_changes(changes, &mut found, |found, change, value| {
            found.is_held |= !own && found.says_now == Some(number);
            found.differs |= differs(change, value);
        });
        wanted.of_changes(changes, &mut found, |found, change, value| {
            found.is_wanted = true;
            found.is_honest |= change.new == Some(value);
        });
    }
    changes.iter().zip(found).all(|(change, found)| found.permits(change, broken))
}
