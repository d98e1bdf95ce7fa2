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

/// The objects of one kind by name. Of each UID the newest version wins, whether the watch or an answer brought it,
/// and a deleted UID never comes back.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection<T> {
    /// Each in a place of its own: a tree of large values is half empty.
    objects: BTreeMap<ObjectName, Box<Object<T>>>,
    /// UIDs that the watch has shown deleted since the last [`Collection::forget_deleted`].
    deleted: BTreeSet<SmolStr>,
    /// UIDs that an answer has shown deleted, and the watch not yet.
    deleted_by_answer: BTreeSet<SmolStr>,
    /// Created by ourselves and not yet seen by the watch.
    unechoed: BTreeSet<ObjectName>,
    /// A list that is under way.
    listing: Option<Listing>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Listing {
    /// What it has shown so far.
    names: BTreeSet<ObjectName>,
    /// What answers had shown deleted when it began.
    deleted_before: BTreeSet<SmolStr>,
}

impl<T> Default for Collection<T> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            deleted: BTreeSet::new(),
            deleted_by_answer: BTreeSet::new(),
            unechoed: BTreeSet::new(),
            listing: None,
        }
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

    /// Takes an object that the watch brought; tells whether anything changed.
    pub fn watched(&mut self, object: Object<T>) -> bool {
        self.unechoed.remove(&object.meta.name);
        if let Some(listing) = &mut self.listing {
            listing.names.insert(object.meta.name.clone());
        }
        self.take(object)
    }

    /// Takes the answer to a write or a read of our own; tells whether anything changed.
    pub fn answered(&mut self, object: Object<T>) -> bool {
        let name = object.meta.name.clone();
        let is_new = !self.objects.contains_key(&name);
        let changed = self.take(object);
        if is_new && changed {
            self.unechoed.insert(name);
        }
        changed
    }

    fn take(&mut self, object: Object<T>) -> bool {
        if self.deleted.contains(&object.meta.uid) || self.deleted_by_answer.contains(&object.meta.uid) {
            return false;
        }
        let known = self.objects.get(&object.meta.name);
        if known.is_some_and(|known| known.meta.version() >= object.meta.version()) {
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

    /// Takes a deletion that the watch brought; tells whether anything changed.
    pub fn removed(&mut self, name: &ObjectName, uid: &str) -> bool {
        self.deleted_by_answer.remove(uid);
        self.deleted.insert(uid.into());
        self.drop(name, uid)
    }

    /// Takes a deletion that the answer to a write or a read of our own brought; tells whether anything changed. Events
    /// from before it may still come.
    pub fn answered_gone(&mut self, name: &ObjectName, uid: &str) -> bool {
        if !self.deleted.contains(uid) {
            self.deleted_by_answer.insert(uid.into());
        }
        self.drop(name, uid)
    }

    fn drop(&mut self, name: &ObjectName, uid: &str) -> bool {
        if self.objects.get(name).is_none_or(|known| known.meta.uid != uid) {
            return false;
        }
        self.unechoed.remove(name);
        self.objects.remove(name);
        true
    }

    /// A list begins; the objects that it holds come in by [`Collection::watched`].
    pub fn list_begins(&mut self) {
        self.listing = Some(Listing { names: BTreeSet::new(), deleted_before: self.deleted_by_answer.clone() });
    }

    /// A list has ended: what it did not hold is gone. Objects that we created and that no watch has shown yet may be
    /// younger than the list, or deleted before it: they are kept, and returned to be looked up.
    pub fn list_ended(&mut self) -> Vec<ObjectName> {
        let Some(Listing { names: listed, deleted_before }) = self.listing.take() else { return Vec::new() };
        self.deleted_by_answer.retain(|uid| !deleted_before.contains(uid));
        let missing: Vec<_> = self.objects.keys().filter(|name| !listed.contains(name)).cloned().collect();
        let (unknown, gone): (Vec<_>, Vec<_>) = missing.into_iter().partition(|name| self.unechoed.contains(name));
        for name in gone {
            if let Some(object) = self.objects.remove(&name) {
                self.deleted.insert(object.meta.uid);
            }
        }
        unknown
    }

    /// Forgets what the watch has shown deleted. To be called when no answer is outstanding that could bring it back.
    pub fn forget_deleted(&mut self) {
        self.deleted.clear();
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

    fn value(collection: &Collection<u64>) -> Option<u64> {
        collection.get(&ObjectName::new("ns", "a")).map(|o| o.value)
    }

    #[test]
    fn an_old_watch_event_never_replaces_the_answer_to_our_own_write() {
        let mut all = Collection::default();
        assert!(all.watched(object("u", 5)));
        assert!(all.answered(object("u", 8)));
        assert!(!all.watched(object("u", 7)));
        assert_eq!(value(&all), Some(8));
    }

    #[test]
    fn a_late_answer_never_brings_back_a_deleted_object() {
        let mut all = Collection::default();
        all.watched(object("u", 5));
        assert!(all.removed(&ObjectName::new("ns", "a"), "u"));
        assert!(!all.answered(object("u", 6)));
        assert_eq!(value(&all), None);
        assert!(all.answered(object("v", 9)), "its successor of the same name is another object");
    }

    #[test]
    fn a_late_watch_event_never_brings_back_what_an_answer_has_shown_deleted() {
        let mut all = Collection::default();
        let name = ObjectName::new("ns", "a");
        all.watched(object("u", 5));
        assert!(all.answered_gone(&name, "u"));
        all.forget_deleted();
        assert!(!all.watched(object("u", 6)));
        assert!(!all.removed(&name, "u"));
        all.forget_deleted();
        assert!(all.deleted.is_empty() && all.deleted_by_answer.is_empty(), "nothing is remembered for ever");

        all.watched(object("v", 7));
        all.answered_gone(&name, "v");
        all.list_begins();
        assert!(all.list_ended().is_empty());
        assert!(all.deleted_by_answer.is_empty(), "a list that began later knows as much");
    }

    #[test]
    fn a_late_deletion_leaves_the_successor_of_the_same_name() {
        let mut all = Collection::default();
        all.watched(object("v", 9));
        assert!(!all.removed(&ObjectName::new("ns", "a"), "u"));
        assert_eq!(value(&all), Some(9));
    }

    #[test]
    fn a_list_takes_away_what_it_does_not_hold() {
        let mut all = Collection::default();
        all.watched(object("u", 5));
        all.list_begins();
        assert_eq!(value(&all), Some(5), "a list that is under way takes nothing away");
        assert!(all.list_ended().is_empty());
        assert_eq!(value(&all), None);
    }

    #[test]
    fn a_list_that_misses_our_own_fresh_object_asks_for_a_look() {
        let mut all = Collection::default();
        all.list_begins();
        all.answered(object("u", 5));
        assert_eq!(all.list_ended(), [ObjectName::new("ns", "a")]);
        assert_eq!(value(&all), Some(5));
        all.watched(object("u", 5));
        all.list_begins();
        assert!(all.list_ended().is_empty());
        assert_eq!(value(&all), None, "once the watch has shown it, a list that misses it means that it is gone");
    }
}
