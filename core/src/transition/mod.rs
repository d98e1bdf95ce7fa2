//! From the objects that exist to those that are wanted, in steps none of which takes away what is still wanted.
//!
//! [`next_writes`] returns writes that are safe in any order, all of them or some. Called again after they have landed,
//! it goes on, and ends at the goal. Each object goes to its goal as soon as that is safe beside the others. Where two
//! objects hold each other fast (both carry a session whose parameters change, and FRR-K8s wants them equal at every
//! moment), the nodes concerned are *parked*: one extra object holds what they have, the others let go, the extra object
//! is changed, the others take over, and it is deleted.
//!
//! All hosts that are selected by the same objects now and at the end are one *group*; nothing here looks at single
//! hosts. Where nothing changes, nothing is looked at.

mod facts;
mod list;
mod topics;
mod turns;
mod unchanged;
mod verdict;
mod view;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    rc::Rc,
    sync::Arc,
};

use clarion_api::names;
use facts::{Common, Facts};
use list::Id;
use turns::Components;
pub use unchanged::unchanged;
use verdict::Verdicts;
use view::View;

use crate::{
    compose::{Bounds, Layout},
    hash::hash,
    layer::{Content, Layer},
};

/// What an object is to become; `None`: it is to be deleted.
pub type Writes = BTreeMap<String, Option<Layer>>;

/// What comes next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Next {
    /// The writes that are safe now.
    pub writes: Writes,
    /// What can't be made without taking something away.
    pub too_large: Vec<TooLarge>,
}

/// A change of sessions that hosts can't be parked for, because what one of them has does not fit into one object
/// ([`Bounds::object_bytes`]). See [`unchanged`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// The sessions, each by VRF, and address or interface.
    pub sessions: BTreeSet<(String, String)>,
    /// Those that wait.
    pub hosts: BTreeSet<String>,
}

/// The writes that are safe now. With `add_only`, nothing is taken away: neither a fact nor a host from any object, nor
/// an object. No parking object has more for its hosts together than [`Bounds::cell_load`].
pub fn next_writes(current: &Layout, target: &Layout, add_only: bool, bounds: Bounds) -> Next {
    let pairs = pairs(current, target);
    if pairs.values().all(Pair::is_done) {
        return Next::default();
    }
    let (planner, state) = Planner::new(&pairs, bounds);
    let (mut writes, too_large) = planner.next_writes(&state);
    if add_only {
        writes = planner.additions(&state, writes);
    }
    let (mut contents, mut hosts) = (planner.contents(&pairs), HashMap::new());
    let mut layers = Writes::new();
    for (name, object) in &writes {
        let layer = (!object.groups.is_empty()).then(|| {
            let content =
                contents.entry(object.facts.id()).or_insert_with(|| Arc::new(object.facts.content(&planner.common)));
            let hosts = hosts.entry(&object.groups).or_insert_with(|| Arc::new(planner.hosts(&object.groups)));
            Layer { hosts: Arc::clone(hosts), content: Arc::clone(content) }
        });
        layers.insert(name.to_string(), layer);
    }
    Next { writes: layers, too_large }
}

/// An object as it is and as it is to be.
struct Pair<'a> {
    old: Option<&'a Layer>,
    new: Option<&'a Layer>,
    says_the_same: bool,
}

fn pairs<'a>(current: &'a Layout, target: &'a Layout) -> BTreeMap<&'a str, Pair<'a>> {
    let names: BTreeSet<&String> = current.keys().chain(target.keys()).collect();
    let pair = |name: &'a String| {
        let (old, new) = (current.get(name), target.get(name));
        let same = |old: &Layer, new: &Layer| Arc::ptr_eq(&old.content, &new.content) || old.content == new.content;
        let says_the_same = old.zip(new).is_some_and(|(old, new)| same(old, new));
        (name.as_str(), Pair { old, new, says_the_same })
    };
    names.into_iter().map(pair).collect()
}

impl<'a> Pair<'a> {
    fn is_done(&self) -> bool {
        self.says_the_same && self.old.zip(self.new).is_some_and(|(old, new)| old.hosts == new.hosts)
    }
}

/// What contents say, taken apart once for all objects that share one.
#[derive(Default)]
struct Said<'a> {
    known: HashMap<*const Content, Facts<'a>>,
    common: Common<'a>,
}

impl<'a> Said<'a> {
    fn of(&mut self, layer: &'a Layer) -> Facts<'a> {
        let Self { known, common } = self;
        known.entry(Arc::as_ptr(&layer.content)).or_insert_with(|| Facts::of(&layer.content, common)).clone()
    }

    /// What is said on both sides.
    fn on_both_sides(&mut self, pair: &Pair<'a>) -> [Option<Facts<'a>>; 2] {
        let old = pair.old.map(|layer| self.of(layer));
        let new = if pair.says_the_same { old.clone() } else { pair.new.map(|layer| self.of(layer)) };
        [old, new]
    }
}

/// The sets of hosts that objects select, each once for all objects that share it.
#[derive(Default)]
struct Selections<'a> {
    numbers: HashMap<*const BTreeSet<String>, usize>,
    sets: Vec<&'a BTreeSet<String>>,
}

impl<'a> Selections<'a> {
    fn number(&mut self, layer: &'a Layer) -> usize {
        *self.numbers.entry(Arc::as_ptr(&layer.hosts)).or_insert_with(|| {
            self.sets.push(&layer.hosts);
            self.sets.len() - 1
        })
    }
}

/// The name of an object.
type Name = Rc<str>;

/// An object: the groups of hosts that it selects, and what it says to them. Without groups it does not exist.
#[derive(Clone, Debug, Default, PartialEq)]
struct Object<'a> {
    groups: BTreeSet<usize>,
    facts: Facts<'a>,
}

type State<'a> = BTreeMap<Name, Object<'a>>;

/// Parking objects in use, and what the groups that they hold are to have: these agree on that and on what they keep.
type Homes<'a> = BTreeMap<Name, Facts<'a>>;

struct Planner<'a> {
    /// Hosts that the same objects select, now and at the end.
    groups: Vec<BTreeSet<&'a str>>,
    target: State<'a>,
    common: Common<'a>,
    bounds: Bounds,
    verdicts: Rc<RefCell<Verdicts<'a>>>,
}

impl<'a> Planner<'a> {
    /// What is to be planned, and what there is now, both without the objects and hosts that nothing changes for.
    fn new(pairs: &BTreeMap<&'a str, Pair<'a>>, bounds: Bounds) -> (Self, State<'a>) {
        let mut selections = Selections::default();
        let mut moving = BTreeSet::new();
        let numbers: Vec<[Option<usize>; 2]> = pairs
            .values()
            .map(|pair| {
                let numbers = [pair.old, pair.new].map(|layer| layer.map(|layer| selections.number(layer)));
                if !pair.is_done() {
                    moving.extend(numbers.into_iter().flatten());
                }
                numbers
            })
            .collect();
        let sets = &selections.sets;
        let touched: HashSet<&str> =
            moving.iter().filter_map(|number| sets.get(*number)).copied().flatten().map(String::as_str).collect();
        // The sets that each host is in, which tell as much as the objects that select it.
        let mut signatures: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (number, hosts) in sets.iter().enumerate() {
            for host in hosts.iter().filter(|host| touched.contains(host.as_str())) {
                signatures.entry(host).or_default().push(number);
            }
        }
        let mut groups: BTreeMap<Vec<usize>, BTreeSet<&str>> = BTreeMap::new();
        for (host, signature) in signatures {
            groups.entry(signature).or_default().insert(host);
        }
        let mut groups_of: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); sets.len()];
        for (group, signature) in groups.keys().enumerate() {
            for number in signature {
                if let Some(groups) = groups_of.get_mut(*number) {
                    groups.insert(group);
                }
            }
        }
        let groups_of = |number: Option<usize>| number.and_then(|number| groups_of.get(number));
        let (mut state, mut target) = (State::new(), State::new());
        let mut said = Said::default();
        for ((name, pair), numbers) in pairs.iter().zip(numbers) {
            let selected = numbers.map(groups_of);
            if pair.is_done() && selected.iter().flatten().all(|groups| groups.is_empty()) {
                continue;
            }
            for ((facts, groups), side) in
                said.on_both_sides(pair).into_iter().zip(selected).zip([&mut state, &mut target])
            {
                let groups = groups.cloned().unwrap_or_default();
                side.extend(facts.map(|facts| (Name::from(*name), Object { groups, facts })));
            }
        }
        let groups = groups.into_values().collect();
        (Self { groups, target, common: said.common, bounds, verdicts: Rc::default() }, state)
    }

    /// The contents that are wanted, by what they say.
    fn contents(&self, pairs: &BTreeMap<&'a str, Pair<'a>>) -> HashMap<[Id<'a>; 2], Arc<Content>> {
        let wanted = self.target.iter().filter_map(|(name, object)| Some((object, pairs.get(&**name)?.new?)));
        wanted.map(|(object, layer)| (object.facts.id(), Arc::clone(&layer.content))).collect()
    }

    fn hosts(&self, groups: &BTreeSet<usize>) -> BTreeSet<String> {
        groups.iter().filter_map(|group| self.groups.get(*group)).flatten().map(|host| (*host).to_owned()).collect()
    }

    /// What there is. Only the suspects among the groups can be broken.
    fn view(&self, state: &State<'a>, suspects: impl Iterator<Item = usize>) -> View<'a> {
        View::new(self.groups.len(), state, &self.target, suspects, Rc::clone(&self.verdicts))
    }

    fn first_view(&self, state: &State<'a>) -> View<'a> {
        self.view(state, 0..self.groups.len())
    }

    fn homes(&self, state: &State<'a>, view: &View<'a>) -> (Homes<'a>, BTreeSet<usize>) {
        let mut parks: Vec<_> = state.iter().filter(|(name, _)| name.starts_with(names::PARK_PREFIX)).collect();
        parks.sort_by_key(|(name, object)| (object.groups.len(), *name));
        let (mut homes, mut taken) = (Homes::new(), BTreeSet::new());
        for (name, object) in parks {
            let mut groups = object.groups.iter().copied();
            let Some(first) = groups.next() else { continue };
            if !object.groups.is_disjoint(&taken) || !object.groups.is_disjoint(&view.broken) {
                continue;
            }
            let wanted = view.wanted(first);
            let mut agree = groups.map(|group| view.wanted(group) == wanted && view.keep(group) == view.keep(first));
            if !wanted.is_empty() && agree.all(|agrees| agrees) {
                taken.extend(&object.groups);
                homes.insert(Name::clone(name), wanted);
            }
        }
        (homes, taken)
    }

    /// Where each object is to go now, and the groups that parking objects hold.
    fn goals(&self, state: &State<'a>, view: &View<'a>) -> (State<'a>, BTreeSet<usize>) {
        let (homes, taken) = self.homes(state, view);
        let unfinished = homes.iter().filter_map(|(name, wanted)| Some((state.get(name)?, wanted)));
        let unfinished = unfinished.filter(|(park, wanted)| park.facts != **wanted).map(|(park, _)| park);
        let mut held = view.broken.clone();
        held.extend(unfinished.flat_map(|park| park.groups.iter().copied()));
        let mut goals = State::new();
        for (name, object) in &self.target {
            let goal = if state.get(name) == Some(object) {
                object.clone()
            } else {
                Object { groups: object.groups.difference(&held).copied().collect(), facts: object.facts.clone() }
            };
            if !goal.groups.is_empty() {
                goals.insert(Name::clone(name), goal);
            }
        }
        let names: BTreeSet<&Name> = state.keys().chain(goals.keys()).collect();
        let moving =
            names.into_iter().filter(|name| !homes.contains_key(*name) && state.get(*name) != goals.get(*name));
        let busy: BTreeSet<usize> = moving
            .flat_map(|name| [state.get(name), goals.get(name)])
            .flatten()
            .flat_map(|object| object.groups.iter().copied())
            .collect();
        for (name, wanted) in homes {
            let Some(park) = state.get(&name) else { continue };
            if park.facts != wanted {
                let changed = Object { groups: park.groups.clone(), facts: wanted };
                let goal = if view.safe(&name, park, &changed) {
                    changed
                } else {
                    let keep = park.groups.first().map(|group| view.keep(*group));
                    Object { groups: changed.groups, facts: keep.unwrap_or_default() }
                };
                goals.insert(name, goal);
            } else if !park.groups.is_disjoint(&busy) {
                goals.insert(name, park.clone());
            }
        }
        (goals, taken)
    }

    /// Each object's goal, if that is safe beside what was chosen already; and the goals that are not.
    fn round(&self, state: &State<'a>, mut view: View<'a>) -> Round<'a> {
        let (goals, parked) = self.goals(state, &view);
        let (mut writes, mut left) = (State::new(), State::new());
        let names: BTreeSet<&Name> = state.keys().chain(goals.keys()).collect();
        let nothing = Object::default();
        for name in names {
            let (old, goal) = (state.get(name).unwrap_or(&nothing), goals.get(name).unwrap_or(&nothing));
            if state.get(name) == Some(goal) {
                continue;
            }
            let able = view.safe(name, old, goal);
            if able {
                view.choose(name, old, goal);
            }
            let list = if able { &mut writes } else { &mut left };
            list.insert(Name::clone(name), goal.clone());
        }
        Round { view, writes, left, parked }
    }

    /// The groups that still stop something when everything that can be written has been. Looking ahead keeps steady
    /// changes elsewhere from putting parking off for ever.
    fn stuck(&self, state: &State<'a>, first: &Round<'a>) -> BTreeSet<usize> {
        let mut state = state.clone();
        let mut later;
        let mut round = first;
        // Each round brings objects closer to their goal, and no goal needs more rounds than there are objects; the
        // bound only makes the end plain to see.
        for _ in 0..1000 {
            if round.writes.is_empty() {
                return round.stuck(&state);
            }
            for (name, object) in &round.writes {
                if object.groups.is_empty() {
                    state.remove(name)
                } else {
                    state.insert(Name::clone(name), object.clone())
                };
            }
            if state == self.target {
                break;
            }
            // Writes that are safe break no group.
            let suspects = round.view.broken.iter().copied();
            let view = self.view(&state, suspects);
            later = self.round(&state, view);
            round = &later;
        }
        BTreeSet::new()
    }

    /// Of groups that are to be parked those whose turn it is, and what can't be parked.
    fn in_turn(
        &self,
        state: &State<'a>,
        view: &View<'a>,
        mut stuck: BTreeSet<usize>,
    ) -> (BTreeSet<usize>, Vec<TooLarge>) {
        if stuck.is_empty() {
            return Default::default();
        }
        let mut components = Components::new(self.groups.len(), state, &self.target);
        let too_large = components.too_large(&stuck, view, self.bounds.object_bytes);
        stuck.retain(|group| !too_large.contains(group));
        let parks = state.iter().filter(|(name, _)| name.starts_with(names::PARK_PREFIX));
        let parked: Vec<_> = parks.filter_map(|(_, park)| Some((*park.groups.first()?, park.facts.load()))).collect();
        let turn = components.in_turn(&stuck, &parked, view, self.bounds.cell_load);
        let mut by_sessions: BTreeMap<BTreeSet<(String, String)>, BTreeSet<usize>> = BTreeMap::new();
        for group in too_large {
            let changed = view.changes(group).into_iter().flat_map(|change| self.common.sessions_of(change.key));
            let sessions = changed.map(|(vrf, key)| (vrf.to_owned(), key.to_owned())).collect();
            by_sessions.entry(sessions).or_default().insert(group);
        }
        let too_large =
            by_sessions.into_iter().map(|(sessions, groups)| TooLarge { sessions, hosts: self.hosts(&groups) });
        (turn, too_large.collect())
    }

    fn next_writes(&self, state: &State<'a>) -> (State<'a>, Vec<TooLarge>) {
        let round = self.round(state, self.first_view(state));
        let (turn, too_large) = self.in_turn(state, &round.view, self.stuck(state, &round));
        let Round { view, mut writes, .. } = round;
        // Groups that agree on what they keep and on what they are to have share a parking object.
        let mut parks: HashMap<(Facts<'a>, Facts<'a>), BTreeSet<usize>> = HashMap::new();
        for group in turn {
            parks.entry((view.keep(group), view.wanted(group))).or_default().insert(group);
        }
        // No two of them concern the same group, so their order does not matter.
        let parks = parks.into_iter().flat_map(|((keep, wanted), groups)| {
            let load = keep.load().max(wanted.load());
            self.portions(groups, load).into_iter().map(move |groups| (keep.clone(), groups))
        });
        for (keep, groups) in parks {
            let hosts: Vec<String> = self.hosts(&groups).into_iter().collect();
            let name: Name = format!("{}{}", names::PARK_PREFIX, hash(&hosts.join("\n"))).into();
            let park = Object { groups, facts: keep };
            let is_new = !state.contains_key(&name) && !writes.contains_key(&name);
            if is_new && !park.facts.is_empty() && view.safe(&name, &Object::default(), &park) {
                writes.insert(name, park);
            }
        }
        (writes, too_large)
    }

    /// Groups in portions of so many hosts as one object may select that costs so much for each.
    fn portions(&self, groups: BTreeSet<usize>, load: usize) -> Vec<BTreeSet<usize>> {
        let mut portions: Vec<BTreeSet<usize>> = Vec::new();
        let mut room = 0_usize;
        for group in groups {
            let needed = self.groups.get(group).map_or(0, BTreeSet::len) * load;
            match portions.last_mut() {
                Some(portion) if needed <= room => drop(portion.insert(group)),
                _ => {
                    portions.push(BTreeSet::from([group]));
                    room = self.bounds.cell_load;
                }
            }
            room = room.saturating_sub(needed);
        }
        portions
    }

    /// The same writes, less what they would take away.
    fn additions(&self, state: &State<'a>, writes: State<'a>) -> State<'a> {
        let mut view = self.first_view(state);
        let mut chosen = State::new();
        let nothing = Object::default();
        for (name, goal) in writes {
            let old = state.get(&name).unwrap_or(&nothing);
            let facts = Facts::together(&[&goal.facts, &old.facts]);
            let more_groups = old.groups.union(&goal.groups).copied().collect();
            for groups in [more_groups, old.groups.clone()] {
                let candidate = Object { groups, facts: facts.clone() };
                if candidate == *old || candidate.groups.is_empty() || goal.groups.is_empty() {
                    continue;
                }
                if view.safe(&name, old, &candidate) {
                    view.choose(&name, old, &candidate);
                    chosen.insert(name, candidate);
                    break;
                }
            }
        }
        chosen
    }
}

/// What can be written at once.
struct Round<'a> {
    /// What there is, and what was chosen.
    view: View<'a>,
    /// The choice.
    writes: State<'a>,
    /// The goals that are out of reach.
    left: State<'a>,
    /// The groups that parking objects hold.
    parked: BTreeSet<usize>,
}

impl<'a> Round<'a> {
    /// The groups that hinder each single goal when nothing can be written.
    fn stuck(&self, state: &State<'a>) -> BTreeSet<usize> {
        let nothing = Object::default();
        let left = self.left.iter();
        let hindered =
            left.flat_map(|(name, goal)| self.view.hindered(name, state.get(name).unwrap_or(&nothing), goal));
        hindered.filter(|group| !self.view.broken.contains(group) && !self.parked.contains(group)).collect()
    }
}

#[cfg(test)]
mod tests;
