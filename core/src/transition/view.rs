//! What the groups have at one moment, and whether an object can be changed there.
//!
//! Only what changes is looked at: whatever was safe before an object is changed is safe still, but for the statements in
//! which the object's old and new version differ.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{
    Name, Object, State,
    facts::{Facts, Key},
    list::List,
    memo::Memo,
    verdict::{Step, Verdicts},
};

/// What an object says to a group.
#[derive(Default)]
struct Row<'a> {
    /// Now.
    old: Facts<'a>,
    /// After the writes that were chosen.
    new: Facts<'a>,
    /// In the end.
    wanted: Facts<'a>,
}

impl<'a> Row<'a> {
    /// The same, of sessions and of routes.
    fn lists(&self) -> [[&List<'a>; 3]; 2] {
        let all = [&self.old, &self.new, &self.wanted];
        [all.map(|facts| &facts.sessions), all.map(|facts| &facts.routes)]
    }
}

/// The objects of a group.
type Rows<'a> = BTreeMap<Name, Row<'a>>;

/// What the groups have now, and what was chosen for them.
pub struct View<'a> {
    /// By group.
    rows: Vec<Rows<'a>>,
    /// What was found out about changes. Cells are told the same, so most changes come many times; and in each round again.
    verdicts: Rc<RefCell<Verdicts<'a>>>,
    memo: Rc<Memo<'a>>,
    /// Groups whose objects contradict each other. FRR-K8s refuses to merge them, so nothing can be lost there.
    pub broken: BTreeSet<usize>,
}

impl<'a> View<'a> {
    /// Only the suspects can be broken.
    pub fn new(
        groups: usize,
        state: &State<'a>,
        target: &State<'a>,
        suspects: impl Iterator<Item = usize>,
        verdicts: Rc<RefCell<Verdicts<'a>>>,
        memo: Rc<Memo<'a>>,
    ) -> Self {
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
        let mut view = Self { rows, verdicts, memo, broken: BTreeSet::new() };
        view.broken = view.contradictions(suspects);
        view
    }

    fn contradictions(&self, suspects: impl Iterator<Item = usize>) -> BTreeSet<usize> {
        let mut verdicts = self.verdicts.borrow_mut();
        let mut is_broken = |group: &usize| {
            let facts = || self.rows(*group).map(|(_, row)| &row.old);
            verdicts.contradict(facts().map(|facts| &facts.sessions))
                || verdicts.contradict(facts().map(|facts| &facts.routes))
        };
        suspects.filter(|group| is_broken(group)).collect()
    }

    fn rows(&self, group: usize) -> impl Iterator<Item = (&Name, &Row<'a>)> {
        self.rows.get(group).into_iter().flatten()
    }

    /// What a group has now, and what it is to have in the end. It is not remembered.
    pub fn together(&self, group: usize) -> [Facts<'a>; 2] {
        let (now, then): (Vec<_>, Vec<_>) = self.rows(group).map(|(_, row)| (&row.old, &row.wanted)).unzip();
        [now, then].map(|all: Vec<&Facts>| Facts {
            sessions: List::together(all.iter().map(|facts| &facts.sessions)),
            routes: List::together(all.iter().map(|facts| &facts.routes)),
        })
    }

    /// What a group has now.
    pub fn now(&self, group: usize) -> Facts<'a> {
        let now: Vec<&Facts> = self.rows(group).map(|(_, row)| &row.old).collect();
        self.memo.together(&now)
    }

    /// What a group is to have in the end.
    pub fn wanted(&self, group: usize) -> Facts<'a> {
        let wanted: Vec<&Facts> = self.rows(group).map(|(_, row)| &row.wanted).collect();
        self.memo.together(&wanted)
    }

    /// What a group has and is still to have, with today's values.
    pub fn keep(&self, group: usize) -> Facts<'a> {
        let (now, wanted) = (self.now(group), self.wanted(group));
        self.memo.about(&now, &wanted)
    }

    /// What a group has costs FRR-K8s's webhook for one host, or what it is to have, if that is more.
    pub fn load(&self, group: usize) -> usize {
        let loads = self.rows(group).map(|(_, row)| (row.old.load(), row.wanted.load()));
        let (old, wanted) = loads.fold((0, 0), |(old, wanted), (o, w)| (old + o, wanted + w));
        old.max(wanted)
    }

    /// What each object says to a group, now and in the end.
    pub fn said(&self, group: usize) -> impl Iterator<Item = [&Facts<'a>; 2]> {
        self.rows(group).map(|(_, row)| [&row.old, &row.wanted])
    }

    /// Whether several objects are to say this of a session in the end. What objects say on the way does not count.
    pub fn is_for_many(&self, group: usize, key: &Key) -> bool {
        self.rows(group).filter(|(_, row)| row.wanted.sessions.get(key).is_some()).count() > 1
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
            (&old.groups & &new.groups, &old.facts, &new.facts),
            (&new.groups - &old.groups, &nothing, &new.facts),
            (&old.groups - &new.groups, &old.facts, &nothing),
        ];
        let parts = parts.into_iter().filter(|(groups, ..)| !groups.is_empty()).map(|(groups, old, new)| {
            let steps = [(&old.sessions, &new.sessions), (&old.routes, &new.routes)];
            (groups, steps.map(|(old, new)| self.verdicts.borrow_mut().step(old, new)))
        });
        let parts: Vec<_> = parts.collect();
        parts.into_iter().flat_map(move |(groups, steps)| {
            groups.into_iter().filter(move |group| !self.is_safe_for(*group, name, &steps))
        })
    }

    /// Whether what an object says can change for a group, of sessions and of routes.
    fn is_safe_for(&self, group: usize, name: &str, steps: &[Rc<Step<'a>>; 2]) -> bool {
        let Some(rows) = self.rows.get(group) else { return true };
        let own = rows.get(name);
        let mut beside = [Vec::new(), Vec::new()];
        for row in rows.values() {
            let is_own = own.is_some_and(|own| std::ptr::eq(own, row));
            for ((lists, step), beside) in row.lists().into_iter().zip(steps).zip(&mut beside) {
                if step.concerns(lists) {
                    beside.push((is_own, lists));
                }
            }
        }
        let broken = self.broken.contains(&group);
        let mut verdicts = self.verdicts.borrow_mut();
        steps.iter().zip(beside).all(|(step, beside)| verdicts.is_safe(step, beside, broken))
    }
}
