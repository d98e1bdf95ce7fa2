//! `clarion diff`

use std::collections::BTreeSet;

use clap::Args;
use clarion_core::{
    World,
    world::{Collection, Configuration, Custom, Kind, Object, ObjectName, ObjectRef},
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use similar::TextDiff;

use super::{
    Outcome,
    manifests::{self, timeless},
    view::{self, Against, Prospect, View},
};

/// Show what the operator would write now, as a diff
///
/// FRRConfigurations, then the status of Services, then that of Clarion's objects. With --against cluster and -f: what it
/// would write if the manifests were applied to the cluster. With -f alone: what it would write if there were nothing else.
///
/// The exit status is 0 if it would write nothing, 1 if it would write something, 2 if that can't be found out.
#[derive(Debug, Args)]
pub struct Diff {
    #[command(flatten)]
    against: Against,
    #[command(flatten)]
    view: View,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    View(#[from] view::Error),
    #[error("an object can't be written as YAML: {0}; this is a fault of Clarion, please report it")]
    Yaml(#[from] serde_saphyr::SerializeError),
}

/// An object before and after.
#[derive(Serialize, JsonSchema)]
pub struct Change {
    kind: String,
    /// The namespace of an object that has one.
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    name: String,
    /// `created`, `updated` or `deleted`.
    action: &'static str,
    /// The object before, as far as Clarion writes it; missing if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Value>,
    /// The object after.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Value>,
    #[serde(skip)]
    text: String,
}

impl Diff {
    pub fn execute(self) -> Result<Outcome, Error> {
        let changes = match self.against.against {
            Some(view::What::Cluster) => changes(&self.view.overlaid()?.applied)?,
            None => changes(&self.view.prospect()?)?,
        };
        let text = |changes: &Vec<Change>| changes.iter().map(|change| change.text.as_str()).collect();
        self.view.print(&changes, text)?;
        Ok(if changes.is_empty() { Outcome::Fine } else { Outcome::Amiss })
    }
}

fn changes(prospect: &Prospect) -> Result<Vec<Change>, Error> {
    let Prospect { world, next, .. } = prospect;
    let mut changes = Vec::new();
    let configurations = |world: &World, name: &ObjectName| {
        world.configurations.get(name).filter(|object| object.value.ours).map(manifests::configuration)
    };
    for name in names(&world.configurations, &next.configurations) {
        let (before, after) = (configurations(world, name), configurations(next, name));
        changes.extend(change(ObjectRef::new(Kind::FRRConfiguration, name.clone()), before, after)?);
    }
    let services = |world: &World, name: &ObjectName| {
        world.services.get(name).map(|service| json!({"status": manifests::service_status(service)}))
    };
    for name in differing(&world.services, &next.services) {
        let (before, after) = (services(world, name), services(next, name));
        changes.extend(change(ObjectRef::new(Kind::Service, name.clone()), before, after)?);
    }
    changes.extend(statuses(Kind::LoadBalancerPool, &world.pools, &next.pools)?);
    changes.extend(statuses(Kind::AddressReservation, &world.reservations, &next.reservations)?);
    changes.extend(statuses(Kind::LoadBalancerAdvertisement, &world.advertisements, &next.advertisements)?);
    changes.extend(statuses(Kind::RouterPeer, &world.peers, &next.peers)?);
    changes.extend(statuses(Kind::CommunityAlias, &world.communities, &next.communities)?);
    Ok(changes)
}

fn statuses<Spec: PartialEq, Status: PartialEq + Serialize>(
    kind: Kind,
    before: &Collection<Custom<Spec, Status>>,
    after: &Collection<Custom<Spec, Status>>,
) -> Result<Vec<Change>, Error> {
    let status = |collection: &Collection<Custom<Spec, Status>>, name: &ObjectName| {
        let object = collection.get(name)?;
        Some(json!({"status": timeless(json!(object.value.status.as_ref()?))}))
    };
    let mut changes = Vec::new();
    for name in differing(before, after) {
        let object = ObjectRef::new(kind, name.clone());
        changes.extend(change(object, status(before, name), status(after, name))?.map(|change| {
            // The object is there; only its status may not be.
            Change { action: "updated", ..change }
        }));
    }
    Ok(changes)
}

/// The names of both, each once.
fn names<'c>(before: &'c Collection<Configuration>, after: &'c Collection<Configuration>) -> BTreeSet<&'c ObjectName> {
    let differs = |name: &&ObjectName| before.get(name).map(|o| &o.value) != after.get(name).map(|o| &o.value);
    let labels =
        |name: &&ObjectName| before.get(name).map(|o| &o.meta.labels) != after.get(name).map(|o| &o.meta.labels);
    let both = before.iter().chain(after.iter()).map(|object| &object.meta.name);
    both.filter(|name| differs(name) || labels(name)).collect()
}

/// The objects that are not what they were.
fn differing<'c, T: PartialEq>(
    before: &'c Collection<T>,
    after: &'c Collection<T>,
) -> impl Iterator<Item = &'c ObjectName> {
    let differs = |object: &&Object<T>| before.get(&object.meta.name).is_none_or(|known| known.value != object.value);
    after.iter().filter(differs).map(|object| &object.meta.name)
}

fn change(object: ObjectRef, before: Option<Value>, after: Option<Value>) -> Result<Option<Change>, Error> {
    if before == after {
        return Ok(None);
    }
    let yaml = |value: &Option<Value>| value.as_ref().map_or(Ok(String::new()), serde_saphyr::to_string);
    let (old, new) = (yaml(&before)?, yaml(&after)?);
    let action = match (&before, &after) {
        (None, _) => "created",
        (_, None) => "deleted",
        (Some(_), Some(_)) => "updated",
    };
    let text = TextDiff::from_lines(&old, &new)
        .unified_diff()
        .header(&format!("live/{object}"), &format!("planned/{object}"))
        .to_string();
    let ObjectRef { kind, name } = object;
    let (kind, namespace, name) = (kind.to_string(), name.namespace.into(), name.name.into());
    Ok(Some(Change { kind, namespace, name, action, before, after, text }))
}
