//! Many things to few groups.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::model::State;

/// Things of a kind that are drawn one by one; more than these are grouped.
pub const FEW: usize = 12;
/// The most groups of a kind that are drawn.
const MOST: usize = 20;

/// Things, by index, in groups.
#[derive(Debug, Default)]
pub struct Groups {
    pub members: Vec<Vec<usize>>,
    /// The last group holds what has nothing in common.
    pub has_rest: bool,
    of: Vec<usize>,
}

impl Groups {
    /// Puts together what has the same key, in the order of the keys; where there are few, each thing by itself. The smallest of
    /// too many groups are put together last, those in trouble after others.
    pub fn of<K: Ord>(keys: Vec<(K, State)>) -> Self {
        let each = keys.len() <= FEW;
        let count = keys.len();
        let mut by_key: BTreeMap<(K, Option<usize>), (State, Vec<usize>)> = BTreeMap::new();
        for (index, (key, state)) in keys.into_iter().enumerate() {
            let (worst, members) = by_key.entry((key, each.then_some(index))).or_insert((state, Vec::new()));
            *worst = state.min(*worst);
            members.push(index);
        }
        let found: Vec<_> = by_key.into_values().collect();
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_by_key(|index| found.get(*index).map(|(state, members)| (*state, Reverse(members.len()))));
        let has_rest = found.len() > MOST;
        let kept = if has_rest { MOST - 1 } else { MOST };
        let kept: BTreeSet<usize> = order.into_iter().take(kept).collect();
        let (mut members, mut rest) = (Vec::new(), Vec::new());
        for (index, (_, group)) in found.into_iter().enumerate() {
            if kept.contains(&index) { members.push(group) } else { rest.extend(group) }
        }
        rest.sort_unstable();
        members.extend(has_rest.then_some(rest));
        let mut of = vec![0; count];
        for (group, member) in members.iter().enumerate().flat_map(|(group, list)| list.iter().map(move |m| (group, m)))
        {
            if let Some(slot) = of.get_mut(*member) {
                *slot = group;
            }
        }
        Self { members, has_rest, of }
    }

    /// The group of a thing.
    pub fn group(&self, thing: usize) -> usize {
        self.of.get(thing).copied().unwrap_or_default()
    }

    /// Whether a group holds what has nothing in common.
    pub fn is_rest(&self, group: usize) -> bool {
        self.has_rest && group + 1 == self.members.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(keys: impl Iterator<Item = (usize, State)>) -> Vec<usize> {
        Groups::of(keys.collect()).members.iter().map(Vec::len).collect()
    }

    #[test]
    fn few_are_by_themselves_and_many_by_their_keys() {
        assert_eq!(sizes((0..FEW).map(|_| (7, State::Good))), [1; FEW]);
        assert_eq!(sizes((0..20).map(|n| (n % 2, State::Good))), [10, 10]);
    }

    #[test]
    fn of_too_many_groups_those_in_trouble_and_the_largest_stay() {
        let keys = |n: usize| (n / 2, if n == 98 { State::Bad } else { State::Good });
        let groups = Groups::of((0..100).map(keys).chain([(3, State::Good)]).collect());
        assert_eq!(groups.members.len(), MOST);
        assert!(groups.is_rest(MOST - 1) && !groups.is_rest(0));
        assert!(
            !groups.is_rest(groups.group(98)) && !groups.is_rest(groups.group(6)) && groups.is_rest(groups.group(90))
        );
        assert_eq!(groups.members.iter().map(Vec::len).sum::<usize>(), 101);
    }
}
