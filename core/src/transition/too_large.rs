//! Changes of sessions that no object can hold: they are held back, and all else goes on.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Name, Object, Planner, Round, State,
    facts::{Facts, Key, VrfNumber},
    list::{Id, List},
    view::View,
};
use crate::{compose::HELD_BACK, hash::hash};

/// A change of sessions that hosts can't be parked for, because what one of them has does not fit into one object
/// ([`Bounds::object_bytes`](crate::compose::Bounds::object_bytes)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// The sessions, each by VRF, and address or interface.
    pub sessions: BTreeSet<(String, String)>,
    /// Those that wait.
    pub hosts: BTreeSet<String>,
}

/// By group, what stays as it is said now.
pub type Kept<'a> = BTreeMap<usize, List<'a>>;

impl<'a> Planner<'a> {
    /// Keeps what stands in the way of those groups that are to be parked, or are, and have more than an object can hold. Tells whether
    /// that is anything new.
    pub fn keep_what_is_too_large(&mut self, kept: &mut Kept<'a>, round: &Round<'a>, stuck: &BTreeSet<usize>) -> bool {
        let Round { view, parked, .. } = round;
        let is_in_slices =
            |group: &usize| parked.get(group).is_some_and(|slices| slices.iter().any(|slice| !slice.is_whole()));
        let groups: BTreeSet<usize> = stuck.iter().chain(parked.keys()).copied().collect();
        let (mut is_new, mut known) = (false, HashMap::new());
        for group in groups {
            let keep = if is_in_slices(&group) {
                self.to_be_kept(view, group, true)
            } else if stuck.contains(&group) && self.is_too_large(group, view, &mut known) {
                self.to_be_kept(view, group, false)
            } else {
                continue;
            };
            if !keep.is_empty() {
                let before = kept.entry(group).or_default();
                *before = self.common.list(List::together([&*before, &keep].into_iter()));
                is_new = true;
            }
        }
        is_new
    }

    /// The same in terms that users know: the sessions that wait, all that hosts are to have in a VRF if its router waits.
    pub fn told(&self, kept: &Kept<'a>) -> Vec<TooLarge> {
        let mut wanted: BTreeMap<usize, Vec<&List>> = kept.keys().map(|group| (*group, Vec::new())).collect();
        for object in self.wanted.values() {
            for group in &object.groups {
                let lists = wanted.get_mut(group);
                let lists = lists.filter(|lists| lists.iter().all(|list| list.id() != object.facts.sessions.id()));
                lists.into_iter().for_each(|lists| lists.push(&object.facts.sessions));
            }
        }
        let mut by_sessions: BTreeMap<BTreeSet<(String, String)>, BTreeSet<usize>> = BTreeMap::new();
        for (group, facts) in kept {
            let of_routers = facts.iter().filter(|(key, _)| key.session().is_none());
            let vrfs: BTreeSet<_> = of_routers.map(|(key, _)| self.common.vrf_of(key)).collect();
            let all = wanted.get(group).into_iter().flatten().flat_map(|list| list.iter());
            let all = all.filter(|(key, _)| vrfs.contains(&self.common.vrf_of(key)));
            let sessions = facts.iter().chain(all).filter_map(|(key, _)| self.common.session(key.session()?));
            let sessions = sessions.map(|(vrf, key)| (vrf.to_owned(), key.to_owned())).collect();
            by_sessions.entry(sessions).or_default().insert(*group);
        }
        let changes = by_sessions.into_iter();
        changes.map(|(sessions, groups)| TooLarge { sessions, hosts: self.hosts(&groups) }).collect()
    }

    /// Makes the target of what is wanted and of what is kept. Where an object would have to say something else to some of its hosts
    /// than to the others, these get one of their own.
    pub fn hold_back(&mut self, kept: &Kept<'a>) {
        let mut known: HashMap<([Id; 2], Id), Facts> = HashMap::new();
        self.target = State::new();
        for (name, object) in &self.wanted {
            let mut alike: Vec<(Facts, BTreeSet<usize>)> = Vec::new();
            for group in &object.groups {
                let said = kept.get(group).map_or_else(
                    || object.facts.clone(),
                    |kept| {
                        let said = known.entry((object.facts.id(), kept.id()));
                        said.or_insert_with(|| object.facts.with_kept(kept, &mut self.common)).clone()
                    },
                );
                match alike.iter_mut().find(|(there, _)| *there == said) {
                    Some((_, groups)) => drop(groups.insert(*group)),
                    None => alike.push((said, BTreeSet::from([*group]))),
                }
            }
            let is_divided = alike.len() > 1;
            for (facts, groups) in alike {
                let first = groups.iter().filter_map(|group| self.groups.get(*group)?.first()).min();
                let apart = first.filter(|_| is_divided && facts != object.facts);
                let name =
                    apart.map_or_else(|| Name::clone(name), |host| format!("{name}{HELD_BACK}{}", hash(host)).into());
                self.target.insert(name, Object { groups, facts });
            }
        }
    }

    /// What is said now of what changes of a group's sessions: of everything, or of all that can't change in one object alone.
    fn to_be_kept(&self, view: &View<'a>, group: usize, everything: bool) -> List<'a> {
        let [now, wanted] = [view.now(group), view.wanted(group)].map(|facts| facts.sessions);
        let mut changing: BTreeSet<Key> = now.different(&wanted).collect();
        let routers = self.routers_of_another_number(&changing);
        let stays = |key: &Key| routers.contains(&self.common.vrf_of(key));
        // A router ID stays with its sessions: whether something else could change it alone is another matter at each step, and
        // what is kept must not be.
        let in_many = |key: &Key| key.session().is_none() || view.is_for_many(group, key);
        if !everything && changing.iter().any(in_many) {
            changing.retain(|key| stays(key) || in_many(key));
        }
        self.kept(&now, &wanted, changing)
    }

    /// What is said now of what is to stay as it is. What a session is depends on both AS numbers: where a router keeps its own, all
    /// of its sessions stay as they are.
    pub fn kept(&self, now: &List<'a>, wanted: &List<'a>, mut stays: BTreeSet<Key>) -> List<'a> {
        let routers = self.routers_of_another_number(&stays);
        let there = now.iter().map(|(key, _)| *key).filter(|key| routers.contains(&self.common.vrf_of(key)));
        stays.extend(there.filter(|key| wanted.get(key).is_some()));
        now.keeping(&stays)
    }

    /// The VRFs of which the routers change their AS numbers.
    fn routers_of_another_number(&self, changing: &BTreeSet<Key>) -> BTreeSet<Option<VrfNumber>> {
        let numbers = changing.iter().filter(|key| matches!(key, Key::Asn(_)));
        numbers.map(|key| self.common.vrf_of(key)).collect()
    }
}
