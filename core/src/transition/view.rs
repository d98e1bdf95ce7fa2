//! What the groups have at one moment, and whether an object can be changed there.
//!
//! Only what changes is looked at: whatever was safe before an object is changed is safe still, but for the statements in
//! which the object's old and new version differ.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    rc::Rc,
};

use super::{
    Name, Object, State,
    facts::{Change, Facts, Id, Key, Value},
};

/// What an object says to a group.
#[derive(Default)]
pub struct Row<'a> {
    /// Now.
    old: Facts<'a>,
    /// After the writes that were chosen.
    new: Facts<'a>,
    /// In the end.
    wanted: Facts<'a>,
}

impl<'a> Row<'a> {
    fn lists(&self) -> [&Facts<'a>; 3] {
        [&self.old, &self.new, &self.wanted]
    }

    /// Each list once.
    fn distinct(&self) -> impl Iterator<Item = &Facts<'a>> {
        let lists = self.lists();
        let first = move |n: usize, list: &Facts<'a>| lists.iter().take(n).all(|earlier| earlier.id() != list.id());
        lists.into_iter().enumerate().filter(move |(n, list)| first(*n, list)).map(|(_, list)| list)
    }

    /// How many statements there are to look at.
    fn size(&self) -> usize {
        self.distinct().map(Facts::len).sum()
    }
}

/// The objects of a group.
type Rows<'a> = BTreeMap<Name, Row<'a>>;

/// What the groups have now, and what was chosen for them.
pub struct View<'a> {
    /// By group.
    rows: Vec<Rows<'a>>,
    /// What was found out about changes. Cells are told the same, so most changes come many times.
    verdicts: RefCell<HashMap<Case<'a>, Verdict<'a>>>,
    /// Groups whose objects contradict each other. FRR-K8s refuses to merge them, so nothing can be lost there.
    pub broken: BTreeSet<usize>,
}

impl<'a> View<'a> {
    /// Only the suspects can be broken.
    pub fn new(groups: usize, state: &State<'a>, target: &State<'a>, suspects: impl Iterator<Item = usize>) -> Self {
        let mut rows: Vec<Rows> = (0..groups).map(|_| Rows::new()).collect();
        let mut row_of = |object: &Object<'a>, name: &Name, set: fn(&mut Row<'a>, &Facts<'a>)| {
            for group in &object.groups {
                if let Some(rows) = rows.get_mut(*group) {
                    set(rows.entry(Rc::clone(name)).or_default(), &object.facts);
                }
            }
        };
        for (name, object) in state {
            row_of(object, name, |row, facts| (row.old, row.new) = (facts.clone(), facts.clone()));
        }
        for (name, object) in target {
            row_of(object, name, |row, facts| row.wanted = facts.clone());
        }
        let mut view = Self { rows, verdicts: RefCell::default(), broken: BTreeSet::new() };
        view.broken = view.contradictions(suspects);
        view
    }

    fn contradictions(&self, suspects: impl Iterator<Item = usize>) -> BTreeSet<usize> {
        let suspects: Vec<usize> = suspects.collect();
        let lists = |group: &usize| self.rows(*group).map(|(_, row)| &row.old);
        let disputed = disputed(suspects.iter().flat_map(lists));
        // Many groups share their larger objects.
        let mut known: HashMap<(Id, Id), bool> = HashMap::new();
        let mut broken = |group: &usize| {
            let lists: Vec<&Facts> = lists(group).filter(|list| disputed.contains(&list.id())).collect();
            let mut pairs =
                lists.iter().enumerate().flat_map(|(n, one)| lists.iter().skip(n + 1).map(move |o| (one, o)));
            pairs.any(|(one, other)| *known.entry((one.id(), other.id())).or_insert_with(|| one.contradicts(other)))
        };
        suspects.into_iter().filter(|group| broken(group)).collect()
    }

    fn rows(&self, group: usize) -> impl Iterator<Item = (&Name, &Row<'a>)> {
        self.rows.get(group).into_iter().flatten()
    }

    /// What a group is to have in the end.
    pub fn wanted(&self, group: usize) -> Facts<'a> {
        Facts::together(self.rows(group).map(|(_, row)| &row.wanted))
    }

    /// What a group has and is still to have, with today's values.
    pub fn keep(&self, group: usize) -> Facts<'a> {
        Facts::together(self.rows(group).map(|(_, row)| &row.old)).about(&self.wanted(group))
    }

    /// Chooses a write that is safe.
    pub fn choose(&mut self, name: &Name, old: &Object<'a>, new: &Object<'a>) {
        for group in old.groups.union(&new.groups) {
            if let Some(rows) = self.rows.get_mut(*group) {
                let stays = new.groups.contains(group);
                rows.entry(Rc::clone(name)).or_default().new = if stays { new.facts.clone() } else { Facts::default() };
            }
        }
    }

    /// Whether an object can be changed beside the writes that were chosen, in any order, and after every part of them.
    pub fn safe(&self, name: &str, old: &Object<'a>, new: &Object<'a>) -> bool {
        self.hindered(name, old, new).next().is_none()
    }

    /// The groups for which that is not so.
    pub fn hindered(&self, name: &str, old: &Object<'a>, new: &Object<'a>) -> impl Iterator<Item = usize> {
        let nothing = Facts::default();
        let parts = [
            (&old.groups & &new.groups, old.facts.clone(), new.facts.clone()),
            (&new.groups - &old.groups, nothing.clone(), new.facts.clone()),
            (&old.groups - &new.groups, old.facts.clone(), nothing),
        ];
        let parts = parts.into_iter().filter(|(groups, ..)| !groups.is_empty());
        parts.flat_map(move |(groups, old, new)| {
            let step = Step { view: self, name, changes: old.changes(&new), old, new };
            groups.into_iter().filter(move |group| !step.is_safe_for(*group))
        })
    }
}

/// Those of the lists that speak of something of which another says something else. Where nothing changes but what there is, as
/// when Services come and go, there are none, however many lists there are.
fn disputed<'f, 'a: 'f>(lists: impl Iterator<Item = &'f Facts<'a>>) -> HashSet<Id<'a>> {
    let lists: HashMap<Id, &Facts> = lists.map(|list| (list.id(), list)).collect();
    let mut said: HashMap<Key, Value> = HashMap::new();
    let facts = || lists.values().flat_map(|list| list.iter());
    let keys: HashSet<Key> = facts()
        .filter(|(key, value)| said.insert(*key, *value).is_some_and(|before| before != *value))
        .map(|(key, _)| *key)
        .collect();
    if keys.is_empty() {
        return HashSet::new();
    }
    let speaks = |list: &&Facts<'a>| list.iter().any(|(key, _)| keys.contains(key));
    lists.values().copied().filter(speaks).map(Facts::id).collect()
}

/// The objects of one group at once, with whether they are the one that changes.
type Beside<'v, 'a> = Vec<(bool, &'v Row<'a>)>;

/// What the verdict on a change depends on: what the object says before and after, whether the group is broken, and what its
/// objects say.
type Case<'a> = ([Id<'a>; 2], bool, Vec<(bool, [Id<'a>; 3])>);

/// The statements that can't change.
struct Verdict<'a> {
    keys: Rc<[Key<'a>]>,
    /// What the case is about. As long as this is there, nothing else has its [`Id`].
    _about: Vec<Facts<'a>>,
}

/// A change of an object that is the same for several groups.
struct Step<'v, 'n, 'a> {
    view: &'v View<'a>,
    name: &'n str,
    old: Facts<'a>,
    new: Facts<'a>,
    changes: Vec<Change<'a>>,
}

impl<'v, 'a> Step<'v, '_, 'a> {
    /// Groups differ in small objects mostly. So what those speak of is looked at for each group, and all the rest once
    /// for all groups that share the large ones.
    fn is_safe_for(&self, group: usize) -> bool {
        let broken = self.view.broken.contains(&group);
        let all: Beside<'v, 'a> = self.view.rows(group).map(|(name, row)| (**name == *self.name, row)).collect();
        let (small, large): (Beside<'v, 'a>, Beside<'v, 'a>) =
            all.iter().partition(|(own, row)| !*own && row.size() < self.changes.len());
        let spoken = small.iter().flat_map(|(_, row)| row.distinct()).flat_map(Facts::iter);
        let apart: BTreeSet<usize> =
            spoken.filter_map(|(key, _)| self.changes.binary_search_by(|change| change.key.cmp(key)).ok()).collect();
        let apart: Vec<Change> = apart.into_iter().filter_map(|number| self.changes.get(number)).copied().collect();
        let is_apart = |key: &Key<'a>| apart.binary_search_by(|change| change.key.cmp(key)).is_ok();
        (apart.is_empty() || unsafe_changes(&apart, &all, broken).is_empty())
            && self.unsafe_beside(large, broken).iter().all(is_apart)
    }

    /// The changes that are not safe beside these objects alone.
    fn unsafe_beside(&self, objects: Beside<'v, 'a>, broken: bool) -> Rc<[Key<'a>]> {
        let lists = objects.iter().map(|(own, row)| (*own, row.lists().map(Facts::id)));
        let case = ([self.old.id(), self.new.id()], broken, lists.collect());
        let mut verdicts = self.view.verdicts.borrow_mut();
        let verdict = verdicts.entry(case).or_insert_with(|| {
            let lists = objects.iter().flat_map(|(_, row)| row.lists()).cloned();
            Verdict {
                keys: unsafe_changes(&self.changes, &objects, broken).into(),
                _about: lists.chain([self.old.clone(), self.new.clone()]).collect(),
            }
        });
        Rc::clone(&verdict.keys)
    }
}

/// What all objects of a group say about what a change is about.
#[derive(Clone, Default)]
struct Found<'a> {
    /// What it is to be in the end.
    wanted: Option<Value<'a>>,
    /// What it is now.
    old: Option<Value<'a>>,
    /// The last object that says anything of it now.
    says_now: Option<usize>,
    /// Another object says something of it throughout.
    is_held: bool,
    /// Another object says, or is about to say, something else.
    differs: bool,
}

impl<'a> Found<'a> {
    /// Whether the statement can change.
    fn permits(&self, new: Option<Value<'a>>, broken: bool) -> bool {
        match new {
            // What is there and wanted stays with one object throughout.
            None => broken || self.wanted.is_none() || self.is_held,
            // Nothing is said that is neither wanted nor there already; and no two objects could differ, whichever of the writes
            // have landed.
            Some(new) => {
                let is_honest = self.wanted.is_some_and(|wanted| wanted == new || self.old == Some(new));
                is_honest && (broken || !self.differs)
            }
        }
    }
}

/// Those of the changes of one object, in their order, that are not safe beside what the objects of a group say.
fn unsafe_changes<'a>(changes: &[Change<'a>], objects: &Beside<'_, 'a>, broken: bool) -> Vec<Key<'a>> {
    let mut found = vec![Found::default(); changes.len()];
    for (number, (own, row)) in objects.iter().enumerate() {
        let differs = |change: &Change<'a>, value| !*own && change.new.is_some_and(|new| new != value);
        row.old.of_changes(changes, &mut found, |found, change, value| {
            (found.old, found.says_now) = (Some(value), Some(number));
            found.differs |= differs(change, value);
        });
        row.new.of_changes(changes, &mut found, |found, change, value| {
            found.is_held |= !*own && found.says_now == Some(number);
            found.differs |= differs(change, value);
        });
        row.wanted.of_changes(changes, &mut found, |found, _, value| found.wanted = Some(value));
    }
    let unsafe_ones = changes.iter().zip(found).filter(|(change, found)| !found.permits(change.new, broken));
    unsafe_ones.map(|(change, _)| change.key).collect()
}
