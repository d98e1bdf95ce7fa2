//! Parking takes turns. Where hosts have objects of their own, each is parked by itself with everything that it has, so that all of
//! them at once would be as many objects as hosts, each with every prefix: more than etcd, the daemons or a plan should hold.

use std::collections::{BTreeMap, BTreeSet};

use super::{State, different, view::View};

/// Groups that can only be parked together: an object is free once all hosts that it selects are.
pub struct Components {
    /// By group: another one of the same component, or itself.
    parents: Vec<usize>,
}

impl Components {
    /// Of so many groups, by the objects that change.
    pub fn new(groups: usize, state: &State, target: &State) -> Self {
        let mut components = Self { parents: (0..groups).collect() };
        for (_, sides) in different(state, target) {
            let mut selected = sides.into_iter().flatten().flat_map(|object| &object.groups);
            let Some(first) = selected.next() else { continue };
            selected.for_each(|group| components.join(*first, *group));
        }
        components
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.of(one), self.of(other));
        if let Some(parent) = self.parents.get_mut(one.max(other)) {
            *parent = one.min(other);
        }
    }

    /// The component of a group, told by the first of its groups.
    fn of(&mut self, group: usize) -> usize {
        let mut group = group;
        while let Some(parent) = self.parents.get(group).copied().filter(|parent| *parent != group) {
            let grandparent = self.parents.get(parent).copied().unwrap_or(parent);
            self.parents.get_mut(group).into_iter().for_each(|parent| *parent = grandparent);
            group = grandparent;
        }
        group
    }

    /// Of groups that are to be parked those whose turn it is: of components in which some are parked already (told by a group of each
    /// parking object, and what that holds) all, and then one component after the other, as long as all parking objects together
    /// hold no more than there is room for; one component at least.
    pub fn in_turn(
        &mut self,
        stuck: &BTreeSet<usize>,
        parked: &[(usize, usize)],
        view: &View,
        room: usize,
    ) -> BTreeSet<usize> {
        let under_way: BTreeSet<usize> = parked.iter().map(|(group, _)| self.of(*group)).collect();
        let mut by_component: BTreeMap<(bool, usize), Vec<usize>> = BTreeMap::new();
        for group in stuck {
            let component = self.of(*group);
            by_component.entry((!under_way.contains(&component), component)).or_default().push(*group);
        }
        let mut taken: usize = parked.iter().map(|(_, load)| load).sum();
        let mut chosen = BTreeSet::new();
        for ((is_new, _), groups) in by_component {
            taken += groups.iter().map(|group| view.load(*group)).sum::<usize>();
            if is_new && taken > room && !(chosen.is_empty() && parked.is_empty()) {
                break;
            }
            chosen.extend(groups);
        }
        chosen
    }
}
