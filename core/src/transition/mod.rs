//! From the objects that exist to those that are wanted, in steps none of which takes away what is still wanted.
//!
//! [`next_writes`] returns writes that are safe in any order, all of them or some. Called again after they have landed,
//! it goes on, and ends at the goal. Each object goes to its goal as soon as that is safe beside the others. Where two
//! objects hold each other fast (both carry a session whose parameters change, and FRR-K8s wants them equal at every
//! moment), the nodes concerned are *parked*: one extra object holds what they have, the others let go, the extra object
//! is changed, the others take over, and it is deleted.
//!
//! All hosts that are selected by the same objects now and at the end are one *group*; nothing here looks at single
//! hosts.

mod facts;

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use clarion_api::names;
use facts::{Facts, Key, content_of, facts_of};

use crate::{compose::Layout, hash::hash, layer::Layer};

/// What an object is to become; `None`: it is to be deleted.
pub type Writes = BTreeMap<String, Option<Layer>>;

/// The writes that are safe now. With `add_only`, nothing is taken away: neither a fact nor a host from any object, nor
/// an object.
pub fn next_writes(current: &Layout, target: &Layout, add_only: bool) -> Writes {
    if current == target {
        return Writes::new();
    }
    let groups = Groups::new(current, target);
    let state = groups.state(current);
    let planner = Planner { target: groups.state(target), groups: &groups };
    let mut writes = planner.next_writes(&state);
    if add_only {
        writes = planner.additions(&state, writes);
    }
    let layer = |object: Object| Layer { hosts: groups.hosts(&object.groups), content: content_of(&object.facts) };
    writes
        .into_iter()
        .map(|(name, object)| (name, Some(object).filter(|object| !object.groups.is_empty()).map(layer)))
        .collect()
}

/// Hosts that the same objects select, now and at the end.
struct Groups(Vec<BTreeSet<String>>);

impl Groups {
    fn new(current: &Layout, target: &Layout) -> Self {
        let mut signatures: BTreeMap<&String, Vec<(bool, &String)>> = BTreeMap::new();
        for (is_target, layout) in [(false, current), (true, target)] {
            for (name, layer) in layout {
                for host in &layer.hosts {
                    signatures.entry(host).or_default().push((is_target, name));
                }
            }
        }
        let mut groups: BTreeMap<Vec<(bool, &String)>, BTreeSet<String>> = BTreeMap::new();
        for (host, signature) in signatures {
            groups.entry(signature).or_default().insert(host.clone());
        }
        Self(groups.into_values().collect())
    }

    fn state<'a>(&self, layout: &'a Layout) -> State<'a> {
        let within = |hosts: &BTreeSet<String>| {
            let groups = self.0.iter().enumerate();
            groups.filter(|(_, g)| g.first().is_some_and(|host| hosts.contains(host))).map(|(i, _)| i).collect()
        };
        let object =
            |layer: &'a Layer| Object { groups: within(&layer.hosts), facts: Rc::new(facts_of(&layer.content)) };
        layout.iter().map(|(name, layer)| (name.clone(), object(layer))).collect()
    }

    fn hosts(&self, groups: &BTreeSet<usize>) -> BTreeSet<String> {
        groups.iter().filter_map(|group| self.0.get(*group)).flatten().cloned().collect()
    }
}

/// An object: the groups of hosts that it selects, and what it says to them. Without groups it does not exist.
#[derive(Clone, Debug, Default, PartialEq)]
struct Object<'a> {
    groups: BTreeSet<usize>,
    facts: Rc<Facts<'a>>,
}

type State<'a> = BTreeMap<String, Object<'a>>;

/// What the groups have now.
struct View<'a> {
    /// The objects that select a group.
    carriers: BTreeMap<usize, BTreeSet<String>>,
    /// What they say together.
    meaning: BTreeMap<usize, Facts<'a>>,
    /// Groups whose objects contradict each other. FRR-K8s refuses to merge them, so nothing can be lost there.
    broken: BTreeSet<usize>,
}

/// Parking objects in use, with the groups that they hold: these agree on what they keep and on what they are to have.
type Homes<'a> = BTreeMap<String, (Facts<'a>, Facts<'a>)>;

struct Planner<'a, 'g> {
    target: State<'a>,
    groups: &'g Groups,
}

impl<'a> Planner<'a, '_> {
    fn wanted(&self, group: usize) -> Facts<'a> {
        let objects = self.target.values().filter(|object| object.groups.contains(&group));
        objects.flat_map(|object| object.facts.iter().map(|(key, value)| (*key, *value))).collect()
    }

    fn view(&self, state: &State<'a>) -> View<'a> {
        let mut view = View { carriers: BTreeMap::new(), meaning: BTreeMap::new(), broken: BTreeSet::new() };
        for (name, object) in state {
            for group in &object.groups {
                view.carriers.entry(*group).or_default().insert(name.clone());
                let meaning = view.meaning.entry(*group).or_default();
                for (key, value) in object.facts.iter() {
                    if meaning.insert(*key, *value).is_some_and(|before| before != *value) {
                        view.broken.insert(*group);
                    }
                }
            }
        }
        view
    }

    /// Whether the writes are safe for a group in any order, and after every part of them.
    fn safe_for(&self, state: &State<'a>, view: &View<'a>, writes: &State<'a>, group: usize) -> bool {
        let wanted = self.wanted(group);
        let nothing = Facts::new();
        let meaning = view.meaning.get(&group).unwrap_or(&nothing);
        let broken = view.broken.contains(&group);
        let carried =
            |object: Option<&Object<'a>>| object.filter(|o| o.groups.contains(&group)).map(|o| Rc::clone(&o.facts));
        let mut names: BTreeSet<&String> = view.carriers.get(&group).into_iter().flatten().collect();
        names.extend(writes.iter().filter(|(_, object)| object.groups.contains(&group)).map(|(name, _)| name));
        let rows: Vec<(Rc<Facts>, Rc<Facts>)> = names
            .into_iter()
            .map(|name| {
                let old = carried(state.get(name)).unwrap_or_default();
                let new = if writes.contains_key(name) {
                    carried(writes.get(name)).unwrap_or_default()
                } else {
                    Rc::clone(&old)
                };
                (old, new)
            })
            .collect();
        // Nothing is said that is neither wanted nor there already.
        let honest = |(old, new): &(Rc<Facts>, Rc<Facts>)| {
            new.iter().all(|(key, value)| {
                old.get(key) == Some(value)
                    || wanted.get(key).is_some_and(|wanted| wanted == value || meaning.get(key) == Some(value))
            })
        };
        // No two objects could differ, whichever of the writes have landed.
        let agreed = || {
            let mut seen: BTreeMap<Key, Vec<(usize, facts::Value)>> = BTreeMap::new();
            for (row, (old, new)) in rows.iter().enumerate() {
                for (key, value) in old.iter().chain(new.iter()) {
                    let others = seen.entry(*key).or_default();
                    if others.iter().any(|(other, there)| *other != row && there != value) {
                        return false;
                    }
                    others.push((row, *value));
                }
            }
            true
        };
        // What is there and wanted stays with one object throughout.
        let kept = || {
            let held = |key: &Key| rows.iter().any(|(old, new)| old.contains_key(key) && new.contains_key(key));
            meaning.keys().filter(|key| wanted.contains_key(key)).all(held)
        };
        rows.iter().all(honest) && (broken || (agreed() && kept()))
    }

    fn safe(&self, state: &State<'a>, view: &View<'a>, writes: &State<'a>, name: &str) -> bool {
        let groups = |objects: &State<'a>| objects.get(name).map(|o| o.groups.clone()).unwrap_or_default();
        groups(state).union(&groups(writes)).all(|group| self.safe_for(state, view, writes, *group))
    }

    /// What a group has and is still to have, with today's values.
    fn keep(&self, view: &View<'a>, group: usize) -> Facts<'a> {
        let wanted = self.wanted(group);
        let meaning = view.meaning.get(&group).into_iter().flatten();
        meaning.filter(|(key, _)| wanted.contains_key(key)).map(|(key, value)| (*key, *value)).collect()
    }

    fn homes(&self, state: &State<'a>, view: &View<'a>) -> (Homes<'a>, BTreeSet<usize>) {
        let mut parks: Vec<_> = state.iter().filter(|(name, _)| name.starts_with(names::PARK_PREFIX)).collect();
        parks.sort_by_key(|(name, object)| (object.groups.len(), *name));
        let (mut homes, mut taken) = (Homes::new(), BTreeSet::new());
        for (name, object) in parks {
            let Some(first) = object.groups.first() else { continue };
            let (wanted, keep) = (self.wanted(*first), self.keep(view, *first));
            let agree = |group: &usize| self.wanted(*group) == wanted && self.keep(view, *group) == keep;
            let free = object.groups.is_disjoint(&taken) && object.groups.is_disjoint(&view.broken);
            if !wanted.is_empty() && free && object.groups.iter().all(agree) {
                taken.extend(&object.groups);
                homes.insert(name.clone(), (wanted, keep));
            }
        }
        (homes, taken)
    }

    /// Where each object is to go now, and the groups that parking objects hold.
    fn goals(&self, state: &State<'a>, view: &View<'a>) -> (State<'a>, BTreeSet<usize>) {
        let (homes, taken) = self.homes(state, view);
        let unfinished =
            homes.iter().filter(|(name, (wanted, _))| state.get(*name).is_some_and(|o| *o.facts != *wanted));
        let mut held = view.broken.clone();
        held.extend(unfinished.filter_map(|(name, _)| state.get(name)).flat_map(|o| o.groups.iter().copied()));
        let mut goals = State::new();
        for (name, object) in &self.target {
            let goal = if state.get(name) == Some(object) {
                object.clone()
            } else {
                Object { groups: object.groups.difference(&held).copied().collect(), facts: Rc::clone(&object.facts) }
            };
            if !goal.groups.is_empty() {
                goals.insert(name.clone(), goal);
            }
        }
        let names: BTreeSet<&String> = state.keys().chain(goals.keys()).collect();
        let moving =
            names.into_iter().filter(|name| !homes.contains_key(*name) && state.get(*name) != goals.get(*name));
        let busy: BTreeSet<usize> = moving
            .flat_map(|name| [state.get(name), goals.get(name)])
            .flatten()
            .flat_map(|object| object.groups.iter().copied())
            .collect();
        for (name, (wanted, keep)) in homes {
            let Some(park) = state.get(&name) else { continue };
            if *park.facts != wanted {
                let changed = Object { groups: park.groups.clone(), facts: Rc::new(wanted) };
                let alone = State::from([(name.clone(), changed.clone())]);
                let kept = Object { groups: park.groups.clone(), facts: Rc::new(keep) };
                let goal = if self.safe(state, view, &alone, &name) { changed } else { kept };
                goals.insert(name, goal);
            } else if !park.groups.is_disjoint(&busy) {
                goals.insert(name.clone(), park.clone());
            }
        }
        (goals, taken)
    }

    /// Each object's goal, if that is safe beside what was chosen already; and the goals that are not.
    fn round(&self, state: &State<'a>) -> Round<'a> {
        let view = self.view(state);
        let (goals, parked) = self.goals(state, &view);
        let (mut writes, mut left) = (State::new(), Vec::new());
        let names: BTreeSet<&String> = state.keys().chain(goals.keys()).collect();
        for name in names {
            let goal = goals.get(name).cloned().unwrap_or_default();
            if state.get(name) == Some(&goal) {
                continue;
            }
            writes.insert(name.clone(), goal.clone());
            if !self.safe(state, &view, &writes, name) {
                writes.remove(name);
                left.push((name.clone(), goal));
            }
        }
        Round { view, writes, left, parked }
    }

    /// The groups that still stop something when everything that can be written has been. Looking ahead keeps steady
    /// changes elsewhere from putting parking off for ever.
    fn stuck(&self, state: &State<'a>) -> BTreeSet<usize> {
        let mut state = state.clone();
        // Each round brings objects closer to their goal, and no goal needs more rounds than there are objects; the
        // bound only makes the end plain to see.
        for _ in 0..1000 {
            let round = self.round(&state);
            if round.writes.is_empty() {
                let unsafe_groups = |(name, goal): &(String, Object<'a>)| {
                    let alone = State::from([(name.clone(), goal.clone())]);
                    let touched = state.get(name).map(|o| o.groups.clone()).unwrap_or_default();
                    let touched: BTreeSet<usize> = touched.union(&goal.groups).copied().collect();
                    touched.into_iter().filter(|g| !self.safe_for(&state, &round.view, &alone, *g)).collect::<Vec<_>>()
                };
                let stuck: BTreeSet<usize> = round.left.iter().flat_map(unsafe_groups).collect();
                return stuck
                    .into_iter()
                    .filter(|g| !round.view.broken.contains(g) && !round.parked.contains(g))
                    .collect();
            }
            for (name, object) in round.writes {
                if object.groups.is_empty() {
                    state.remove(&name)
                } else {
                    state.insert(name, object)
                };
            }
        }
        BTreeSet::new()
    }

    fn next_writes(&self, state: &State<'a>) -> State<'a> {
        let stuck = self.stuck(state);
        let Round { view, mut writes, .. } = self.round(state);
        let mut parks: Vec<(Facts<'a>, Facts<'a>, BTreeSet<usize>)> = Vec::new();
        for group in stuck {
            let (keep, wanted) = (self.keep(&view, group), self.wanted(group));
            match parks.iter_mut().find(|(k, w, _)| *k == keep && *w == wanted) {
                Some((_, _, groups)) => {
                    groups.insert(group);
                }
                None => parks.push((keep, wanted, BTreeSet::from([group]))),
            }
        }
        for (keep, _, groups) in parks {
            let hosts: Vec<String> = self.groups.hosts(&groups).into_iter().collect();
            let name = format!("{}{}", names::PARK_PREFIX, hash(&hosts.join("\n")));
            if keep.is_empty() || state.contains_key(&name) || writes.contains_key(&name) {
                continue;
            }
            writes.insert(name.clone(), Object { groups, facts: Rc::new(keep) });
            if !self.safe(state, &view, &writes, &name) {
                writes.remove(&name);
            }
        }
        writes
    }

    /// The same writes, less what they would take away.
    fn additions(&self, state: &State<'a>, writes: State<'a>) -> State<'a> {
        let view = self.view(state);
        let mut chosen = State::new();
        for (name, goal) in writes {
            let old = state.get(&name).cloned().unwrap_or_default();
            let mut facts = (*goal.facts).clone();
            facts.extend(old.facts.iter().map(|(key, value)| (*key, *value)));
            let facts = Rc::new(facts);
            let more_groups = old.groups.union(&goal.groups).copied().collect();
            for groups in [more_groups, old.groups.clone()] {
                let candidate = Object { groups, facts: Rc::clone(&facts) };
                if candidate == old || candidate.groups.is_empty() || goal.groups.is_empty() {
                    continue;
                }
                chosen.insert(name.clone(), candidate);
                if self.safe(state, &view, &chosen, &name) {
                    break;
                }
                chosen.remove(&name);
            }
        }
        chosen
    }
}

struct Round<'a> {
    view: View<'a>,
    writes: State<'a>,
    left: Vec<(String, Object<'a>)>,
    parked: BTreeSet<usize>,
}

#[cfg(test)]
mod tests;
