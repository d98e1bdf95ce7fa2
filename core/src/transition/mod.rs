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
mod memo;
mod slices;
mod too_large;
mod topics;
mod turns;
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
use itertools::Itertools as _;
use list::Id;
use memo::Memo;
use slices::Slice;
use too_large::Kept;
pub use too_large::TooLarge;
use turns::Components;
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
    /// What can't be made without taking something away, and is held back.
    pub too_large: Vec<TooLarge>,
    /// The objects that are as they are to be as long as that is so.
    pub at_rest: BTreeSet<String>,
}

/// The writes that are safe now. With `add_only`, nothing is taken away: neither a fact nor a host from any object, nor
/// an object. No parking object has more for its hosts together than [`Bounds::cell_load`].
pub fn next_writes(current: &Layout, target: &Layout, add_only: bool, bounds: Bounds) -> Next {
    let pairs = pairs(current, target);
    if pairs.values().all(Pair::is_done) {
        return Next::default();
    }
    let (mut planner, state) = Planner::new(&pairs, bounds);
    let (mut contents, mut hosts) = (planner.contents(&pairs), HashMap::new());
    let (mut writes, too_large) = planner.next_writes(&state);
    if add_only {
        writes = planner.additions(&state, writes);
    }
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
    Next { writes: layers, too_large, at_rest: planner.at_rest(&state) }
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

/// The objects that differ, on both sides.
fn different<'s, 'a>(
    one: &'s State<'a>,
    other: &'s State<'a>,
) -> impl Iterator<Item = (&'s Name, [Option<&'s Object<'a>>; 2])> {
    let pairs = one.iter().merge_join_by(other, |(one, _), (other, _)| one.cmp(other)).filter_map(|pair| {
        let (one, other) = pair.left_and_right();
        let (name, _) = one.or(other)?;
        Some((name, [one, other].map(|object| object.map(|(_, object)| object))))
    });
    pairs.filter(|(_, [one, other])| one != other)
}

/// The parking objects.
fn parks<'s, 'a>(state: &'s State<'a>) -> impl Iterator<Item = (&'s Name, &'s Object<'a>)> {
    state.iter().filter(|(name, _)| name.starts_with(names::PARK_PREFIX))
}

/// Parking objects in use, each with its slice, and what the groups that they hold are to have of that: these agree on it and on
/// what they keep.
type Homes<'a> = BTreeMap<Name, (Slice, Facts<'a>)>;

/// What an object tells a group, now and in the end, as long as that lives.
type Told<'a> = [[Id<'a>; 2]; 2];

/// The slices of what groups have that parking objects hold.
type Parked = BTreeMap<usize, Vec<Slice>>;

struct Planner<'a> {
    /// Hosts that the same objects select, now and at the end.
    groups: Vec<BTreeSet<&'a str>>,
    /// What is wanted.
    wanted: State<'a>,
    /// The same, less what is held back.
    target: State<'a>,
    common: Common<'a>,
    bounds: Bounds,
    verdicts: Rc<RefCell<Verdicts<'a>>>,
    memo: Rc<Memo<'a>>,
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
        let (wanted, common) = (target.clone(), said.common);
        (Self { groups, wanted, target, common, bounds, verdicts: Rc::default(), memo: Rc::default() }, state)
    }

    /// The contents that are wanted, by what they say.
    fn contents(&self, pairs: &BTreeMap<&'a str, Pair<'a>>) -> HashMap<[Id<'a>; 2], Arc<Content>> {
        let wanted = self.wanted.iter().filter_map(|(name, object)| Some((object, pairs.get(&**name)?.new?)));
        wanted.map(|(object, layer)| (object.facts.id(), Arc::clone(&layer.content))).collect()
    }

    fn hosts(&self, groups: &BTreeSet<usize>) -> BTreeSet<String> {
        groups.iter().filter_map(|group| self.groups.get(*group)).flatten().map(|host| (*host).to_owned()).collect()
    }

    /// What there is. Only the suspects among the groups can be broken.
    fn view(&self, state: &State<'a>, suspects: impl Iterator<Item = usize>) -> View<'a> {
        let (verdicts, memo) = (Rc::clone(&self.verdicts), Rc::clone(&self.memo));
        View::new(self.groups.len(), state, &self.target, suspects, verdicts, memo)
    }

    fn first_view(&self, state: &State<'a>) -> View<'a> {
        self.view(state, 0..self.groups.len())
    }

    fn homes(&self, state: &State<'a>, view: &View<'a>) -> (Homes<'a>, Parked) {
        let mut parks: Vec<_> = parks(state).collect();
        parks.sort_by_key(|(name, object)| (object.groups.len(), *name));
        let (mut homes, mut parked) = (Homes::new(), Parked::new());
        for (name, object) in parks {
            let slice = Slice::of_name(name);
            let mut groups = object.groups.iter().copied();
            let Some(first) = groups.next() else { continue };
            let is_parked =
                |group| parked.get(group).is_some_and(|slices| slices.iter().any(|other| slice.meets(*other)));
            if object.groups.iter().any(is_parked) || !object.groups.is_disjoint(&view.broken) {
                continue;
            }
            let (keep, all) = (view.keep(first), view.wanted(first));
            let mut agree = groups.map(|group| view.wanted(group) == all && view.keep(group) == keep);
            let [keep_of_slice, wanted] = [&keep, &all].map(|facts| self.memo.slice(facts, slice));
            // What has outgrown an object can't become what is wanted.
            let fits = |facts| self.fits(facts, self.bounds.object_bytes);
            let can_end = object.facts == wanted || fits(&wanted) && fits(&keep_of_slice);
            if !all.is_empty() && agree.all(|agrees| agrees) && can_end {
                for group in &object.groups {
                    parked.entry(*group).or_default().push(slice);
                }
                homes.insert(Name::clone(name), (slice, wanted));
            }
        }
        (homes, parked)
    }

    /// Where each object is to go now, and what is parked.
    fn goals(&self, state: &State<'a>, view: &View<'a>) -> (State<'a>, Parked) {
        let (homes, parked) = self.homes(state, view);
        let unfinished = homes.iter().filter_map(|(name, (_, wanted))| Some((state.get(name)?, wanted)));
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
        let moving = different(state, &goals).filter(|(name, _)| !homes.contains_key(*name));
        let moving = moving.flat_map(|(_, sides)| sides.into_iter().flatten());
        let busy: BTreeSet<usize> = moving.flat_map(|object| object.groups.iter().copied()).collect();
        for (name, (slice, wanted)) in homes {
            let Some(park) = state.get(&name) else { continue };
            if park.facts != wanted {
                let changed = Object { groups: park.groups.clone(), facts: wanted };
                let goal = if view.safe(&name, park, &changed) {
                    changed
                } else {
                    let keep = park.groups.first().map(|group| self.memo.slice(&view.keep(*group), slice));
                    Object { groups: changed.groups, facts: keep.unwrap_or_default() }
                };
                goals.insert(name, goal);
            } else if !park.groups.is_disjoint(&busy) {
                goals.insert(name, park.clone());
            }
        }
        (goals, parked)
    }

    /// Each object's goal, if that is safe beside what was chosen already; and the goals that are not.
    fn round(&self, state: &State<'a>, mut view: View<'a>) -> Round<'a> {
        let (goals, parked) = self.goals(state, &view);
        let (mut writes, mut left) = (State::new(), State::new());
        let nothing = Object::default();
        for (name, sides) in different(state, &goals) {
            let [old, goal] = sides.map(|object| object.unwrap_or(&nothing));
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

    fn next_writes(&mut self, state: &State<'a>) -> (State<'a>, Vec<TooLarge>) {
        let mut kept = Kept::default();
        loop {
            let round = self.round(state, self.first_view(state));
            let stuck = self.stuck(state, &round);
            if !self.keep_what_is_too_large(&mut kept, &round, &stuck) {
                let parks = self.parks(state, &round, &stuck);
                let mut writes = round.writes;
                writes.extend(parks);
                return (writes, self.told(&kept));
            }
            self.hold_back(&kept);
        }
    }

    /// The objects that go no further than they are, because of what is held back.
    fn at_rest(&self, state: &State<'a>) -> BTreeSet<String> {
        let held_back = self.target.iter().filter(|(name, object)| self.wanted.get(*name) != Some(*object));
        let at_rest = held_back.filter(|(name, object)| state.get(*name) == Some(*object));
        at_rest.map(|(name, _)| name.to_string()).collect()
    }

    /// Whether one object can't say all that a group keeps, or all that it is to have.
    fn is_too_large(&self, group: usize, view: &View<'a>, known: &mut HashMap<Vec<Told<'a>>, bool>) -> bool {
        let is_too_large = |bytes| bytes > self.bounds.object_bytes;
        // Most groups are told the same by objects that they share, and it is little.
        let at_most = |facts| self.memo.bytes_at_most(facts);
        let bytes = view.said(group).map(|both| both.map(at_most));
        let [now, then] = bytes.fold([0, 0], |[now, then], [old, wanted]| [now + old, then + wanted]);
        let ids = || view.said(group).map(|both| both.map(Facts::id)).collect();
        // Where hosts have objects of their own, what each has together is too much to be remembered.
        let can_not_be_said = || {
            let [now, wanted] = view.together(group);
            let bytes = |facts: &Facts<'a>| facts.bytes(&self.common);
            is_too_large(bytes(&wanted)) || is_too_large(bytes(&now.about(&wanted)))
        };
        is_too_large(now.max(then)) && *known.entry(ids()).or_insert_with(can_not_be_said)
    }

    fn bytes(&self, facts: &Facts<'a>) -> usize {
        self.memo.bytes(facts, &self.common)
    }

    /// Whether an object with room for so many bytes can say this, or cutting would not help.
    fn fits(&self, facts: &Facts<'a>, room: usize) -> bool {
        self.bytes(facts) <= room || facts.is_about_one_prefix()
    }

    /// Of groups that are to be parked those whose turn it is.
    fn in_turn(&self, state: &State<'a>, view: &View<'a>, stuck: &BTreeSet<usize>) -> BTreeSet<usize> {
        if stuck.is_empty() {
            return BTreeSet::new();
        }
        let parked = parks(state).filter_map(|(_, park)| Some((*park.groups.first()?, park.facts.load())));
        let mut components = Components::new(self.groups.len(), state, &self.target);
        components.in_turn(stuck, &parked.collect::<Vec<_>>(), view, self.bounds.cell_load)
    }

    /// New parking objects for groups that are to be parked.
    fn parks(&self, state: &State<'a>, round: &Round<'a>, stuck: &BTreeSet<usize>) -> State<'a> {
        let Round { view, writes, parked, .. } = round;
        // Groups that agree on what they keep and on what they are to have share a parking object, or one for each slice.
        let mut alike: HashMap<(Facts<'a>, Facts<'a>, &[Slice]), BTreeSet<usize>> = HashMap::new();
        for group in self.in_turn(state, view, stuck) {
            let slices = parked.get(&group).map_or(&[][..], Vec::as_slice);
            alike.entry((view.keep(group), view.wanted(group), slices)).or_default().insert(group);
        }
        let mut parks = State::new();
        // No two of them say anything else of the same, so their order does not matter.
        for ((keep, wanted, there), groups) in alike {
            // A slice has room for twice what it has.
            let room = |slice: Slice| self.bounds.object_bytes / if slice.is_whole() { 1 } else { 2 };
            let fits =
                |slice| [&keep, &wanted].iter().all(|facts| self.fits(&self.memo.slice(facts, slice), room(slice)));
            let slices = Slice::WHOLE.cut(there, &fits);
            let load = keep.load().max(wanted.load()) / (there.len() + slices.len()).max(1);
            let portions = self.portions(groups, load);
            for slice in slices {
                for groups in &portions {
                    let hosts: Vec<String> = self.hosts(groups).into_iter().collect();
                    let name = format!("{}{}{}", names::PARK_PREFIX, hash(&hosts.join("\n")), slice.suffix());
                    let facts = self.memo.slice(&keep, slice);
                    let park = Object { groups: groups.clone(), facts };
                    let is_new = !state.contains_key(name.as_str()) && !writes.contains_key(name.as_str());
                    if is_new && !park.facts.is_empty() && view.safe(&name, &Object::default(), &park) {
                        parks.insert(name.into(), park);
                    }
                }
            }
        }
        parks
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
    fn additions(&mut self, state: &State<'a>, writes: State<'a>) -> State<'a> {
        let mut view = self.first_view(state);
        let mut chosen = State::new();
        let nothing = Object::default();
        for (name, goal) in writes {
            let old = state.get(&name).unwrap_or(&nothing);
            let (now, wanted) = (&old.facts.sessions, &goal.facts.sessions);
            let kept = self.kept(now, wanted, now.different(wanted).collect());
            let more = goal.facts.with_kept(&kept, &mut self.common);
            let facts = self.memo.together(&[&more, &old.facts]);
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
    /// The slices that are parked.
    parked: Parked,
}

impl<'a> Round<'a> {
    /// The groups that hinder each single goal when nothing can be written.
    fn stuck(&self, state: &State<'a>) -> BTreeSet<usize> {
        let nothing = Object::default();
        let left = self.left.iter();
        let hindered =
            left.flat_map(|(name, goal)| self.view.hindered(name, state.get(name).unwrap_or(&nothing), goal));
        let is_parked = |group: &usize| self.parked.get(group).is_some_and(|slices| Slice::are_all(slices));
        hindered.filter(|group| !self.view.broken.contains(group) && !is_parked(group)).collect()
    }
}

#[cfg(test)]
mod tests;
