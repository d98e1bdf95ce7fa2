//! What the world looks like after a write has landed: the API server's part, for when there is none.

use smol_str::ToSmolStr as _;

use crate::{
    layer::Layer,
    plan,
    world::{Collection, Condition, Configuration, Custom, Meta, Object, ObjectName, World},
    write::{ConfigurationWrite, ObjectStatus, Write},
};

/// More rounds than any sequence of writes needs.
const ROUNDS: usize = 1000;

/// The plan does not come to an end.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the outcome does not settle; this is a fault of Clarion, please report it with the objects")]
pub struct Unsettled;

/// Lets all writes land until there are none.
///
/// # Errors
/// If there always are some.
pub fn settle(world: &mut World) -> Result<(), Unsettled> {
    for _ in 0..ROUNDS {
        let writes = plan(world).writes;
        if writes.is_empty() {
            return Ok(());
        }
        writes.iter().for_each(|write| land(world, write));
    }
    Err(Unsettled)
}

/// Lands a write in the world, as the API server would if the preconditions hold.
pub fn land(world: &mut World, write: &Write) {
    match write {
        Write::ServiceStatus(write) => change(&mut world.services, &write.name, |service| {
            if let Some(addresses) = &write.addresses {
                service.addresses.clone_from(addresses);
                service.other_ingress = 0;
            }
            let replaced = |known: &Condition| write.conditions.iter().any(|new| new.type_ == known.type_);
            service.conditions.retain(|known| !replaced(known) && !write.remove_conditions.contains(&known.type_));
            service.conditions.extend(write.conditions.iter().cloned());
        }),
        Write::Configuration(ConfigurationWrite::Delete { name, precondition }) => {
            // Not as deleted: its successor has the same UID here.
            world.configurations.forget(name, &precondition.uid);
        }
        Write::Configuration(
            ConfigurationWrite::Create { name, labels, annotations, layer }
            | ConfigurationWrite::Update { name, labels, annotations, layer, .. },
        ) => configuration(world, name, labels, annotations, layer),
        Write::ObjectStatus(write) => {
            let name = &write.object.name;
            match write.status.clone() {
                ObjectStatus::LoadBalancerPool(status) => set(&mut world.pools, name, status),
                ObjectStatus::AddressReservation(status) => set(&mut world.reservations, name, status),
                ObjectStatus::LoadBalancerAdvertisement(status) => set(&mut world.advertisements, name, status),
                ObjectStatus::RouterPeer(status) => set(&mut world.peers, name, status),
                ObjectStatus::CommunityAlias(status) => set(&mut world.communities, name, status),
            }
        }
    }
}

fn configuration(
    world: &mut World,
    name: &ObjectName,
    labels: &std::collections::BTreeMap<String, String>,
    annotations: &std::collections::BTreeMap<String, String>,
    layer: &Layer,
) {
    let known = world.configurations.get(name).map(|known| known.meta.clone());
    let mut meta = known.unwrap_or_else(|| Meta { name: name.clone(), uid: name.to_smolstr(), ..Meta::default() });
    meta.labels.clone_from(labels);
    next_version(&mut meta);
    let value = Configuration::new(name, labels, annotations.clone(), layer.spec());
    let object = world.share(Object { meta, value });
    world.configurations.take(object);
}

fn set<Spec: Clone + PartialEq, Status: Clone + PartialEq>(
    collection: &mut Collection<Custom<Spec, Status>>,
    name: &ObjectName,
    status: Status,
) {
    change(collection, name, |object| object.status = Some(status));
}

fn change<T: Clone + PartialEq>(collection: &mut Collection<T>, name: &ObjectName, change: impl FnOnce(&mut T)) {
    if let Some(mut object) = collection.get(name).cloned() {
        change(&mut object.value);
        next_version(&mut object.meta);
        collection.take(object);
    }
}

fn next_version(meta: &mut Meta) {
    meta.resource_version = (meta.resource_version.parse().unwrap_or(0_u64) + 1).to_smolstr();
}
