//! A cluster as it would be if manifests were applied to it.

use std::collections::BTreeSet;

use clarion_api::Timestamp;
use clarion_core::{
    World,
    world::{
        Collection, Configuration, Custom, EndpointSlice, FrrSchema, Namespace, Node, Object, ObjectRef, Service,
        ServiceCidr,
    },
};

use crate::watch::{Advertisement, Aliases, Peer, Pool, Reservation, Watched};

/// What of an object no manifest sets.
trait Applied: Watched {
    /// Keeps what the object in the cluster has, and an applied manifest leaves.
    fn keep(&mut self, _live: &Self) {}
    /// Leaves out what a new object does not have yet.
    fn begin(&mut self) {}
}

impl Applied for Service {
    fn keep(&mut self, live: &Self) {
        if self.families.is_empty() {
            self.families.clone_from(&live.families);
        }
        for (key, value) in &live.annotations {
            self.annotations.entry(key.clone()).or_insert_with(|| value.clone());
        }
        self.addresses.clone_from(&live.addresses);
        self.other_ingress = live.other_ingress;
        self.conditions.clone_from(&live.conditions);
    }

    fn begin(&mut self) {
        (self.addresses, self.other_ingress, self.conditions) = (Vec::new(), 0, Vec::new());
    }
}

impl Applied for Node {
    fn keep(&mut self, live: &Self) {
        if self.pod_cidrs.is_empty() {
            self.pod_cidrs.clone_from(&live.pod_cidrs);
        }
        self.addresses.clone_from(&live.addresses);
        self.network_unavailable = live.network_unavailable;
    }
}

impl<Spec: Clone, Status: Clone> Applied for Custom<Spec, Status>
where
    Self: Watched,
{
    fn keep(&mut self, live: &Self) {
        self.status.clone_from(&live.status);
    }

    fn begin(&mut self) {
        self.status = None;
    }
}

impl Applied for EndpointSlice {}
impl Applied for Namespace {}
impl Applied for ServiceCidr {}
impl Applied for FrrSchema {}
impl Applied for Configuration {}

/// Puts objects in the place of those of the same kind and name, or beside the others. Returns what was put.
pub fn put(world: &mut World, mut given: World) -> BTreeSet<ObjectRef> {
    let mut objects = BTreeSet::new();
    let (given, now) = (&mut given, world.now);
    put_kind::<Service>(world, given, now, &mut objects);
    put_kind::<EndpointSlice>(world, given, now, &mut objects);
    put_kind::<Node>(world, given, now, &mut objects);
    put_kind::<Namespace>(world, given, now, &mut objects);
    put_kind::<ServiceCidr>(world, given, now, &mut objects);
    put_kind::<Pool>(world, given, now, &mut objects);
    put_kind::<Reservation>(world, given, now, &mut objects);
    put_kind::<Advertisement>(world, given, now, &mut objects);
    put_kind::<Peer>(world, given, now, &mut objects);
    put_kind::<Aliases>(world, given, now, &mut objects);
    put_kind::<Configuration>(world, given, now, &mut objects);
    put_kind::<FrrSchema>(world, given, now, &mut objects);
    objects
}

fn put_kind<T: Applied>(world: &mut World, given: &mut World, now: Timestamp, objects: &mut BTreeSet<ObjectRef>) {
    let live: &mut Collection<T> = T::collection(world);
    let applied = T::collection(given).iter().map(|object| {
        objects.insert(ObjectRef::new(T::KIND, object.meta.name.clone()));
        apply(live.get(&object.meta.name), object.clone(), now)
    });
    let applied: Vec<_> = applied.collect();
    *live = live.iter().cloned().chain(applied).collect();
}

fn apply<T: Applied>(live: Option<&Object<T>>, mut object: Object<T>, now: Timestamp) -> Object<T> {
    let Some(live) = live else {
        object.value.begin();
        // What is created now is younger than all that is there.
        object.meta.created = Some(now);
        return object;
    };
    object.value.keep(&live.value);
    let changes = object.value != live.value;
    let mut labels = live.meta.labels.clone();
    labels.append(&mut object.meta.labels);
    object.meta = live.meta.clone();
    object.meta.labels = labels;
    object.meta.generation = live.meta.generation.map(|generation| generation + i64::from(changes));
    object
}
