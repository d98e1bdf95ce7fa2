//! What lists say together, found out once for all groups alike, and for all rounds.

use std::{cell::RefCell, collections::HashMap};

use super::{
    facts::{Common, Facts},
    list::{Id, List},
    slices::Slice,
};

/// What was made of lists. The same is always the same list.
#[derive(Default)]
pub struct Memo<'a>(RefCell<Known<'a>>);

#[derive(Default)]
struct Known<'a> {
    together: HashMap<Vec<Id<'a>>, List<'a>>,
    about: HashMap<[Id<'a>; 2], List<'a>>,
    slices: HashMap<(Id<'a>, Slice), List<'a>>,
    bytes: HashMap<[Id<'a>; 2], usize>,
    bytes_at_most: HashMap<Id<'a>, usize>,
    /// All that others were made of: none may go away, and another have its [`Id`].
    lists: HashMap<Id<'a>, List<'a>>,
}

impl<'a> Memo<'a> {
    /// What several objects say together; where they contradict each other, the last one counts.
    pub fn together(&self, all: &[&Facts<'a>]) -> Facts<'a> {
        let mut known = self.0.borrow_mut();
        Facts {
            sessions: known.together(all.iter().map(|facts| &facts.sessions).collect()),
            routes: known.together(all.iter().map(|facts| &facts.routes).collect()),
        }
    }

    /// What is said here of all that is spoken of there.
    pub fn about(&self, here: &Facts<'a>, there: &Facts<'a>) -> Facts<'a> {
        let mut known = self.0.borrow_mut();
        Facts {
            sessions: known.about(&here.sessions, &there.sessions),
            routes: known.about(&here.routes, &there.routes),
        }
    }

    /// What is said here, of routes only of those of a slice. Sessions are said in each slice.
    pub fn slice(&self, facts: &Facts<'a>, slice: Slice) -> Facts<'a> {
        if slice.is_whole() {
            return facts.clone();
        }
        let mut known = self.0.borrow_mut();
        known.keep([&facts.routes]);
        let routes = known.slices.entry((facts.routes.id(), slice)).or_insert_with(|| facts.routes.slice(slice));
        Facts { sessions: facts.sessions.clone(), routes: routes.clone() }
    }

    /// [`Facts::bytes`].
    pub fn bytes(&self, facts: &Facts<'a>, common: &Common<'a>) -> usize {
        let mut known = self.0.borrow_mut();
        known.keep(facts.lists());
        *known.bytes.entry(facts.id()).or_insert_with(|| facts.bytes(common))
    }

    /// [`Facts::bytes_at_most`].
    pub fn bytes_at_most(&self, facts: &Facts<'a>) -> usize {
        let mut known = self.0.borrow_mut();
        known.keep([&facts.routes]);
        *known.bytes_at_most.entry(facts.routes.id()).or_insert_with(|| facts.bytes_at_most())
    }
}

impl<'a> Known<'a> {
    fn keep<'l>(&mut self, lists: impl IntoIterator<Item = &'l List<'a>>)
    where
        'a: 'l,
    {
        for list in lists {
            self.lists.entry(list.id()).or_insert_with(|| list.clone());
        }
    }

    fn together(&mut self, lists: Vec<&List<'a>>) -> List<'a> {
        let ids = lists.iter().map(|list| list.id()).collect();
        if let Some(known) = self.together.get(&ids) {
            return known.clone();
        }
        let made = List::together(lists.iter().copied());
        self.keep(lists);
        self.together.insert(ids, made.clone());
        made
    }

    fn about(&mut self, here: &List<'a>, there: &List<'a>) -> List<'a> {
        let ids = [here.id(), there.id()];
        if let Some(known) = self.about.get(&ids) {
            return known.clone();
        }
        let made = here.about(there);
        self.keep([here, there]);
        self.about.insert(ids, made.clone());
        made
    }
}
