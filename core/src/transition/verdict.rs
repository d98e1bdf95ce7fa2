//! Whether an object can change what it says beside what others say: found out once for all groups alike.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use super::{
    facts::{Facts, Key, Value},
    list::{Change, Id, List},
};

/// A change of what one object says of sessions, or of routes.
pub struct Step<'a> {
    pair: [Id<'a>; 2],
    changes: Vec<Change<'a>>,
    /// The lists that speak of something that changes.
    related: HashSet<Id<'a>>,
}

impl<'a> Step<'a> {
    /// Whether one of the lists speaks of something that changes.
    pub fn concerns(&self, lists: &[Id<'a>; 3]) -> bool {
        lists.iter().any(|list| self.related.contains(list))
    }
}

/// What an object says now, after the writes that were chosen, and in the end; and whether it is the one that changes.
pub type Beside<'a> = (bool, [Id<'a>; 3]);

/// What the verdict on a change depends on: what the object says before and after, whether the group is broken, and what its
/// objects say.
type Case<'a> = ([Id<'a>; 2], bool, Vec<Beside<'a>>);

/// The lists that speak of something.
struct Speaking<'a> {
    lists: Vec<Id<'a>>,
    /// What the first of them says.
    first: Value<'a>,
    /// Another says something else.
    differ: bool,
}

/// All lists that were looked at, and what was found out about them. None goes away meanwhile, so none has the [`Id`] of another.
#[derive(Default)]
pub struct Verdicts<'a> {
    lists: foldhash::HashMap<Id<'a>, List<'a>>,
    /// Of something that lists speak of: those that do.
    speaking: foldhash::HashMap<Key, Speaking<'a>>,
    steps: HashMap<[Id<'a>; 2], Rc<Step<'a>>>,
    known: HashMap<Case<'a>, bool>,
}

impl<'a> Verdicts<'a> {
    /// Takes into account what an object says.
    pub fn note(&mut self, facts: &Facts<'a>) {
        facts.lists().into_iter().for_each(|list| self.note_list(list));
    }

    fn note_list(&mut self, list: &List<'a>) {
        let id = list.id();
        if id.is_none() || self.lists.contains_key(&id) {
            return;
        }
        self.lists.insert(id, list.clone());
        for (key, value) in list.iter() {
            let alone = || Speaking { lists: Vec::new(), first: *value, differ: false };
            let speaking = self.speaking.entry(*key).or_insert_with(alone);
            speaking.differ |= speaking.first != *value;
            speaking.lists.push(id);
        }
        // It may be related to each of them.
        self.steps.clear();
    }

    /// The change from one list to another.
    pub fn step(&mut self, old: &List<'a>, new: &List<'a>) -> Rc<Step<'a>> {
        self.note_list(old);
        self.note_list(new);
        let Self { steps, speaking, .. } = self;
        let pair = [old.id(), new.id()];
        let step = steps.entry(pair).or_insert_with(|| {
            let changes = old.changes(new);
            let related = changes.iter().filter_map(|change| speaking.get(&change.key));
            let related = related.flat_map(|speaking| &speaking.lists).copied().collect();
            Rc::new(Step { pair, changes, related })
        });
        Rc::clone(step)
    }

    /// Of the lists those that say something else of something than another of them: each with numbers of disputes and of the sides
    /// that it takes in them. Where nothing changes but what there is, as when Services come and go, there are none, however many
    /// lists there are.
    pub fn disputes(&self, among: &HashSet<Id<'a>>) -> HashMap<Id<'a>, Vec<(usize, usize)>> {
        let mut disputes: HashMap<Id, Vec<(usize, usize)>> = HashMap::new();
        // Lists that differ in one thing mostly differ in many, and in the same way.
        let mut seen = HashSet::new();
        for (key, speaking) in self.speaking.iter().filter(|(_, speaking)| speaking.differ) {
            let lists = speaking.lists.iter().filter(|id| among.contains(*id));
            let mut values: Vec<Value> = Vec::new();
            let mut sides: Vec<(Id, usize)> = Vec::new();
            for (id, value) in lists.filter_map(|id| Some((*id, self.lists.get(id)?.get(key)?))) {
                let side = values.iter().position(|known| *known == value).unwrap_or_else(|| {
                    values.push(value);
                    values.len() - 1
                });
                sides.push((id, side));
            }
            if values.len() < 2 || seen.contains(&sides) {
                continue;
            }
            let number = seen.len();
            sides.iter().for_each(|(id, side)| disputes.entry(*id).or_default().push((number, *side)));
            seen.insert(sides);
        }
        disputes
    }

    /// Whether everything can change at once beside what the objects of a group say.
    pub fn is_safe(&mut self, step: &Step<'a>, mut beside: Vec<Beside<'a>>, broken: bool) -> bool {
        // What several others say alike counts as if one said it.
        beside.sort_unstable();
        beside.dedup();
        let Self { lists, known, .. } = self;
        let case = (step.pair, broken, beside);
        if let Some(verdict) = known.get(&case) {
            return *verdict;
        }
        let nothing = List::default();
        let objects = case.2.iter().map(|(own, ids)| (*own, ids.map(|id| lists.get(&id).unwrap_or(&nothing))));
        let verdict = are_safe(&step.changes, objects, broken);
        known.insert(case, verdict);
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
