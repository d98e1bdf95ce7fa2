//! The objects of one kind, fed by a watch and by the answers to our own writes in whatever order they arrive.

use std::collections::{BTreeMap, BTreeSet};

use clarion_api::Timestamp;
use smol_str::SmolStr;

use super::ObjectName;

/// What all objects have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Namespace and name.
    pub name: ObjectName,
    /// Tells objects of one name apart.
    pub uid: SmolStr,
    /// The version, as the server gave it. Later ones are greater (KEP-5504).
    pub resource_version: SmolStr,
    /// The version of the spec, where the kind counts it.
    pub generation: Option<i64>,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// It has a `deletionTimestamp`.
    pub deleting: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Meta {
    fn version(&self) -> u64 {
        self.resource_version.parse().unwrap_or(0)
    }

    /// The order in which objects are served: by age, then by name.
    #[must_use]
    pub fn seniority(&self) -> (Option<Timestamp>, &ObjectName) {
        (self.created, &self.name)
    }
}

/// An object: what all have, and what this kind has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<T> {
    /// What all objects have.
    pub meta: Meta,
    /// What this kind has.
    pub value: T,
}

/// The objects of one kind by name. Of each UID the newest version wins, whether the watch or an answer brought it, and a deleted
/// UID never comes back. A list may be older than what is known: it tells of nothing that is younger than itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection<T> {
    /// Each in a place of its own: a tree of large values is half empty.
    objects: BTreeMap<ObjectName, Box<Object<T>>>,
    /// The version up to which lists and the watch have shown everything. What is not known and has an older version is gone.
    horizon: u64,
    /// What an answer has shown deleted, and lists and the watch not yet. What they tell of its name from before it is outdated.
    deleted: BTreeMap<ObjectName, Deleted>,
    /// The UIDs that a list which is under way has shown so far.
    listing: Option<BTreeSet<SmolStr>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Deleted {
    uid: SmolStr,
    /// The last that was known.
    version: u64,
}

impl<T> Default for Collection<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), horizon: 0, deleted: BTreeMap::new(), listing: None }
    }
}

impl<T: PartialEq> Collection<T> {
    /// The object of this name.
    #[must_use]
    pub fn get(&self, name: &ObjectName) -> Option<&Object<T>> {
        self.objects.get(name).map(Box::as_ref)
    }

    /// What is kept of the object of this name, to keep more or less of the version that it is.
    pub fn get_mut(&mut self, name: &ObjectName) -> Option<&mut T> {
        self.objects.get_mut(name).map(|object| &mut object.value)
    }

    /// All objects in the order of their names.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Object<T>> + Clone {
        self.objects.values().map(Box::as_ref)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// All objects from the oldest to the youngest.
    #[must_use]
    pub fn by_seniority(&self) -> Vec<&Object<T>> {
        let mut objects: Vec<_> = self.iter().collect();
        objects.sort_by_key(|object| object.meta.seniority());
        objects
    }

    /// Takes an object that a list or the watch brought; tells whether anything changed.
    pub fn watched(&mut self, object: Object<T>) -> bool {
        let version = object.meta.version();
        let uid = self.listing.is_some().then(|| object.meta.uid.clone());
        let changed = self.take(object);
        match (&mut self.listing, uid) {
            (Some(listing), Some(uid)) => {
                listing.insert(uid);
            }
            _ => self.horizon = self.horizon.max(version),
        }
        changed
    }

    /// Takes an object from anywhere else, as the answer to a write or a read of our own; tells whether anything changed.
    pub fn take(&mut self, object: Object<T>) -> bool {
        let version = object.meta.version();
        let known = self.objects.get(&object.meta.name);
        let is_known = known.is_some_and(|known| known.meta.uid == object.meta.uid);
        let is_old = known.is_some_and(|known| known.meta.version() >= version);
        let is_gone = !is_known && version < self.horizon;
        let deleted = self.deleted.get(&object.meta.name);
        if is_old || is_gone || deleted.is_some_and(|gone| gone.uid == object.meta.uid || gone.version >= version) {
            return false;
        }
        // Nodes are written every few seconds and Services by others too: most versions change nothing that is kept.
        let same = known.is_some_and(|known| {
            let resource_version = object.meta.resource_version.clone();
            known.value == object.value && Meta { resource_version, ..known.meta.clone() } == object.meta
        });
        self.objects.insert(object.meta.name.clone(), Box::new(object));
        !same
    }

    /// Takes a deletion that the watch brought, with the metadata of the event; tells whether anything changed.
    pub fn removed(&mut self, meta: &Meta) -> bool {
        if self.deleted.get(&meta.name).is_some_and(|gone| gone.uid == meta.uid) {
            self.deleted.remove(&meta.name);
        }
        self.horizon = self.horizon.max(meta.version());
        self.drop(&meta.name, &meta.uid).is_some()
    }

    /// Takes a deletion that the answer to a write or a read of our own brought; tells whether anything changed. Events
    /// from before it may still come.
    pub fn answered_gone(&mut self, name: &ObjectName, uid: &str) -> bool {
        let Some(version) = self.drop(name, uid) else { return false };
        self.deleted.insert(name.clone(), Deleted { uid: uid.into(), version });
        true
    }

    /// Forgets the object of this UID, of which it is known otherwise that it is gone; tells whether there was one.
    pub fn forget(&mut self, name: &ObjectName, uid: &str) -> bool {
        self.drop(name, uid).is_some()
    }

    /// Takes out the object of this UID; returns its version.
    fn drop(&mut self, name: &ObjectName, uid: &str) -> Option<u64> {
        self.objects.get(name).filter(|known| known.meta.uid == uid)?;
        self.objects.remove(name).map(|object| object.meta.version())
    }

    /// A list begins; the objects that it holds come in by [`Collection::watched`].
    pub fn list_begins(&mut self) {
        self.listing = Some(BTreeSet::new());
    }

    /// A list of this version has ended. What it did not hold is gone, unless that is younger: the watch, which begins with this
    /// version, tells of it. Returns whether anything changed.
    pub fn list_ended(&mut self, version: u64) -> bool {
        let Some(listed) = self.listing.take() else { return false };
        let is_gone = |uid: &SmolStr, known: u64| known <= version && !listed.contains(uid);
        let before = self.objects.len();
        self.objects.retain(|_, object| !is_gone(&object.meta.uid, object.meta.version()));
        self.deleted.retain(|_, deleted| !is_gone(&deleted.uid, deleted.version));
        self.horizon = self.horizon.max(version);
        self.objects.len() != before
    }
}

impl<T> FromIterator<Object<T>> for Collection<T> {
    fn from_iter<I: IntoIterator<Item = Object<T>>>(objects: I) -> Self {
        let objects = objects.into_iter().map(|object| (object.meta.name.clone(), Box::new(object))).collect();
        Self { objects, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smol_str::ToSmolStr as _;

    use super::*;

    fn object(uid: &str, version: u64) -> Object<u64> {
        let meta = Meta {
            name: ObjectName::new("ns", "a"),
            uid: uid.into(),
            resource_version: version.to_smolstr(),
            ..Meta::default()
        };
        Object { meta, value: version }
    }

    #[test]
    fn a_version_that_changes_nothing_is_no_change_but_is_the_version_to_write_against() {
        let mut all = Collection::default();
        all.watched(object("u", 5));
        let newer = Object { value: 5, ..object("u", 6) };
        assert!(!all.watched(newer));
        assert_eq!(all.get(&ObjectName::new("ns", "a")).unwrap().meta.resource_version, "6");
    }

    fn name() -> ObjectName {
        ObjectName::new("ns", "a")
    }

    fn value(collection: &Collection<u64>) -> Option<u64> {
        collection.get(&name()).map(|o| o.value)
    }

    /// A list of this version.
    fn list(all: &mut Collection<u64>, version: u64, objects: &[(&str, u64)]) -> bool {
        all.list_begins();
        let changed =
            objects.iter().fold(false, |changed, (uid, version)| changed | all.watched(object(uid, *version)));
        all.list_ended(version) || changed
    }

    /// A collection to which the watch has told this.
    fn watched(uid: &str, version: u64) -> Collection<u64> {
        let mut all = Collection::default();
        assert!(all.watched(object(uid, version)));
        all
    }

    #[test]
    fn an_old_watch_event_never_replaces_the_answer_to_our_own_write() {
        let mut all = watched("u", 5);
        assert!(all.take(object("u", 8)));
        assert!(!all.watched(object("u", 7)));
        assert_eq!(value(&all), Some(8));
    }

    #[test]
    fn a_late_answer_never_brings_back_a_deleted_object() {
        let mut all = watched("u", 5);
        assert!(all.removed(&object("u", 7).meta));
        assert!(!all.take(object("u", 6)));
        assert_eq!(value(&all), None);
        assert!(all.take(object("v", 9)), "its successor of the same name is another object");
    }

    #[test]
    fn a_late_watch_event_never_brings_back_what_an_answer_has_shown_deleted() {
        let mut all = watched("u", 5);
        assert!(all.answered_gone(&name(), "u"));
        assert!(!all.watched(object("u", 6)));
        assert!(!all.removed(&object("u", 7).meta));
        assert!(all.deleted.is_empty(), "nothing is remembered for ever");
        assert!(!all.take(object("u", 6)), "and all the same");

        all.watched(object("v", 9));
        all.answered_gone(&name(), "v");
        assert!(!list(&mut all, 8, &[]), "a list from before it");
        assert!(!list(&mut all, 10, &[("v", 9)]), "and one that still holds it");
        assert!(!all.watched(object("v", 11)));
        assert_eq!(all.deleted.len(), 1);
        assert!(!list(&mut all, 12, &[]));
        assert!(all.deleted.is_empty(), "a list that is younger knows as much");
    }

    #[test]
    fn a_late_deletion_leaves_the_successor_of_the_same_name() {
        let mut all = watched("v", 9);
        assert!(!all.removed(&object("u", 8).meta));
        assert_eq!(value(&all), Some(9));
    }

    #[test]
    fn a_list_takes_away_what_it_does_not_hold() {
        let mut all = watched("u", 5);
        all.list_begins();
        assert_eq!(value(&all), Some(5), "a list that is under way takes nothing away");
        assert!(all.list_ended(6));
        assert_eq!(value(&all), None);
        assert!(!all.take(object("u", 5)), "nor does a late answer bring it back");
    }

    #[test]
    fn a_list_leaves_what_is_younger() {
        let mut all = Collection::default();
        assert!(all.take(object("u", 7)), "created by ourselves while the list was made");
        assert!(!list(&mut all, 5, &[]));
        assert_eq!(value(&all), Some(7));
        assert!(!all.watched(object("u", 7)), "the watch tells of it again");
        assert!(list(&mut all, 8, &[]));
        assert_eq!(value(&all), None);
    }

    #[test]
    fn a_list_from_before_a_deletion_does_not_undo_it() {
        let mut all = watched("u", 5);
        all.removed(&object("u", 8).meta);
        assert!(!list(&mut all, 6, &[("u", 5)]));
        assert!(!all.watched(object("u", 7)), "nor does the watch that begins there and tells of it anew");
        assert!(!all.removed(&object("u", 8).meta));
        assert_eq!(value(&all), None);
        assert!(all.watched(object("v", 9)));
    }

    #[test]
    fn a_list_from_before_a_successor_does_not_bring_back_the_one_before_it() {
        let mut all = watched("u", 5);
        all.removed(&object("u", 6).meta);
        all.watched(object("v", 7));
        assert!(!list(&mut all, 5, &[("u", 5)]));
        assert_eq!(value(&all), Some(7));
        assert!(!all.removed(&object("u", 6).meta));
        assert!(!all.watched(object("v", 7)));
        assert_eq!(value(&all), Some(7));
    }

    /// What a server has gone through: at each version (from 1 on, in order), which of a few names has which UID, or none.
    fn histories() -> impl Strategy<Value = Vec<(usize, bool)>> {
        proptest::collection::vec((0_usize..3, any::<bool>()), 1..30)
    }

    /// What is known after any sequence of lists, each of any age, watches that begin with them and break off, and answers to reads
    /// of any age, is never older than what was known before, and is what there is once the watch is through.
    #[derive(Clone, Debug)]
    enum Step {
        /// A list as old as this part of the past, and so many events of the watch after it.
        Watch { age: f64, events: usize },
        /// The answer to a read of a name that was made as long ago as this part of the past.
        Read { name: usize, age: f64 },
        /// The answer that an object is gone which is known of a name.
        Gone { name: usize },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let watch = (0.0..1.0, 0_usize..12).prop_map(|(age, events)| Step::Watch { age, events });
        let read = (0_usize..3, 0.0..1.0).prop_map(|(name, age)| Step::Read { name, age });
        let gone = (0_usize..3).prop_map(|name| Step::Gone { name });
        proptest::collection::vec(prop_oneof![watch, read, gone], 1..20)
    }

    /// The objects after each version: by name, UID and version.
    type State = BTreeMap<usize, (String, u64)>;

    fn states(history: &[(usize, bool)]) -> Vec<State> {
        let mut states = vec![State::new()];
        for (name, deletes) in history {
            let version = states.len() as u64;
            let mut next = states.last().unwrap().clone();
            match next.remove(name) {
                Some(_) if *deletes => {}
                Some((uid, _)) => drop(next.insert(*name, (uid, version))),
                None => drop(next.insert(*name, (format!("u{version}"), version))),
            }
            states.push(next);
        }
        states
    }

    fn of(name: usize, (uid, version): &(String, u64)) -> Object<u64> {
        let mut object = object(uid, *version);
        object.meta.name.name = name.to_smolstr();
        object
    }

    proptest! {
        #[test]
        fn no_list_or_answer_however_old_makes_anything_older(history in histories(), steps in steps()) {
            let states = states(&history);
            let past = |age: f64| ((states.len() - 1) as f64 * age).round() as usize;
            let mut all = Collection::default();
            // How far each name is known, in versions: what there is of it, or was last.
            let known = |all: &Collection<u64>| -> BTreeMap<usize, u64> {
                (0..3).filter_map(|name| Some((name, all.get(&ObjectName::new("ns", name.to_string()))?.value))).collect()
            };
            let watch = |all: &mut Collection<u64>, from: usize, events: usize| {
                for (version, pair) in states.windows(2).enumerate().skip(from).take(events) {
                    let version = version as u64 + 1;
                    for name in 0..3 {
                        match (pair[0].get(&name), pair[1].get(&name)) {
                            (before, Some(after)) if before != Some(after) => drop(all.watched(of(name, after))),
                            (Some((uid, _)), None) => drop(all.removed(&of(name, &(uid.clone(), version)).meta)),
                            _ => {}
                        }
                    }
                }
            };
            let list = |all: &mut Collection<u64>, at: usize| {
                all.list_begins();
                for (name, object) in &states[at] {
                    all.watched(of(*name, object));
                }
                all.list_ended(at as u64);
            };
            let mut horizon = 0;
            let mut seen: BTreeMap<usize, u64> = BTreeMap::new();
            // What answers have shown deleted: name, UID, and the version that was known.
            let mut gone: Vec<(usize, SmolStr, u64)> = Vec::new();
            for step in steps {
                match step {
                    Step::Watch { age, events } => {
                        let at = past(age);
                        list(&mut all, at);
                        watch(&mut all, at, events);
                        horizon = horizon.max((at + events).min(states.len() - 1));
                    }
                    Step::Read { name, age } => {
                        if let Some(object) = states[past(age)].get(&name) {
                            all.take(of(name, object));
                        }
                    }
                    Step::Gone { name } => {
                        let key = ObjectName::new("ns", name.to_string());
                        let known = all.get(&key).map(|object| (object.meta.uid.clone(), object.value));
                        let is_left = |uid: &SmolStr| states.last().unwrap().values().any(|(left, _)| left == uid);
                        if let Some((uid, version)) = known.filter(|(uid, _)| !is_left(uid)) {
                            all.answered_gone(&key, &uid);
                            gone.push((name, uid, version));
                        }
                    }
                }
                for (name, version) in known(&all) {
                    let before = seen.insert(name, version).unwrap_or(0);
                    prop_assert!(version >= before, "{name} was known at {before}, and is at {version}");
                    let is_gone = states[horizon].get(&name).is_none_or(|(_, there)| *there > version);
                    prop_assert!(!is_gone || version > horizon as u64, "{name} at {version} was gone at {horizon}");
                }
                let came_back = all.iter().find(|object| gone.iter().any(|(_, uid, _)| *uid == object.meta.uid));
                prop_assert!(came_back.is_none(), "it came back: {came_back:?}");
                let is_gone = |of: usize, (uid, version): &(String, u64)| {
                    gone.iter().any(|(name, gone, last)| *name == of && (gone == uid || last >= version))
                };
                for (name, (_, version)) in states[horizon].iter().filter(|(name, there)| !is_gone(**name, there)) {
                    let found = all.get(&ObjectName::new("ns", name.to_string())).map(|o| o.value);
                    prop_assert!(found.is_some_and(|found| found >= *version), "{name} is missing at {horizon}");
                }
            }
            list(&mut all, states.len() - 1);
            let last = states.last().unwrap().iter().map(|(name, (_, version))| (*name, *version)).collect();
            prop_assert_eq!(known(&all), last);
        }
    }
}
