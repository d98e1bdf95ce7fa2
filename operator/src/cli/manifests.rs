//! Manifests in files, as a world.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use clarion_api::{Condition, Timestamp, frr::CRD};
use clarion_core::{
    World,
    world::{
        Configuration, EndpointSlice, FrrSchema, Meta, Namespace, Node, NodeState, Object, ObjectName, Pod, Service,
        ServiceCidr, Session,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::program;
use crate::watch::{Advertisement, Aliases, Peer, Pool, Reservation, Watched};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0} can't be read: {1}")]
    Read(PathBuf, io::Error),
    #[error("{0} is not valid YAML: {1}")]
    Yaml(PathBuf, String),
    #[error("{0}: {1} can't be read: {2}")]
    Object(PathBuf, String, serde_json::Error),
    #[error("{0}: {1} is defined twice")]
    Twice(PathBuf, String),
    #[error("no .yaml or .yml file in {0}")]
    Nothing(PathBuf),
}

/// The YAML files of a directory and those below it, in the order of their names.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let error = |error| Error::Read(path.to_owned(), error);
    if !path.metadata().map_err(error)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries: Result<Vec<_>, _> = path.read_dir().map_err(error)?.map(|entry| entry.map(|e| e.path())).collect();
    let mut entries = entries.map_err(error)?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        let is_yaml = entry.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if entry.is_dir() {
            match files(&entry) {
                Err(Error::Nothing(_)) => {}
                files => found.extend(files?),
            }
        } else if is_yaml {
            found.push(entry);
        }
    }
    if found.is_empty() { Err(Error::Nothing(path.to_owned())) } else { Ok(found) }
}

#[derive(Default)]
pub struct Manifests {
    pub world: World,
    /// Services and Clarion's objects as they were written, by kind and name.
    pub objects: BTreeMap<(String, ObjectName), Manifest>,
    /// Objects that no plan looks at.
    pub others: Vec<Other>,
}

/// An object that no plan looks at, and the file that it is in.
pub struct Other {
    pub file: PathBuf,
    pub manifest: Manifest,
}

impl Other {
    /// Tells that it has no effect.
    pub fn pass_over(&self) {
        let Manifest { api_version, kind, .. } = &self.manifest;
        let group = group(api_version);
        program::tell(format!("{}: {kind} of {group} is of no interest and passed over", self.file.display()));
    }
}

/// The API group, or the version of the objects that have none.
fn group(api_version: &str) -> &str {
    api_version.split('/').next().unwrap_or_default()
}

/// Any object, as far as it has to be looked at here.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Manifest {
    pub api_version: String,
    pub kind: String,
    pub metadata: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<Value>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Manifest {
    pub fn name(&self) -> &str {
        self.metadata.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    /// Sets what the API server would set.
    fn serve(mut self, namespaced: bool) -> Self {
        let uid = format!("{} {}", self.kind, self.name());
        self.metadata.insert("uid".to_owned(), json!(uid));
        self.metadata.insert("resourceVersion".to_owned(), json!("1"));
        self.metadata.insert("generation".to_owned(), json!(1));
        if namespaced {
            self.metadata.entry("namespace").or_insert(json!("default"));
        }
        // What was rendered before has no times, and can be rendered again.
        for condition in self.rest.get_mut("status").into_iter().flat_map(conditions) {
            condition.entry("lastTransitionTime").or_insert(json!(Timestamp::UNIX_EPOCH));
        }
        self
    }

    /// Takes that away again, and puts the status in.
    pub fn show(mut self, status: Option<&Value>) -> Self {
        for field in ["resourceVersion", "generation", "uid"] {
            self.metadata.remove(field);
        }
        if let Some(status) = status {
            self.rest.insert("status".to_owned(), status.clone());
        }
        self
    }
}

/// What even an empty file needs.
const LEAST_BUDGET: usize = 100;

/// The objects of a text, those of Lists among them; the file is only named.
pub fn documents(file: &Path, text: &str) -> Result<Vec<Manifest>, Error> {
    // Users' own files may be as large as their clusters: what bounds them is the memory that the text has already.
    let size = text.len().max(LEAST_BUDGET);
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: size,
            max_nodes: size,
            max_events: size.saturating_mul(2),
            max_total_scalar_bytes: size.saturating_mul(2),
        }
    };
    let documents: Vec<Option<Manifest>> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| Error::Yaml(file.to_owned(), error.to_string()))?;
    let mut objects = Vec::new();
    for document in documents.into_iter().flatten() {
        if document.kind != "List" {
            objects.push(document);
            continue;
        }
        for item in document.items {
            let item = serde_json::from_value(item)
                .map_err(|error| Error::Object(file.to_owned(), "an item of a List".to_owned(), error))?;
            objects.push(item);
        }
    }
    Ok(objects)
}

impl Manifests {
    /// Reads the files of a directory and those below it, or one file. Tells what has no effect.
    pub fn of(path: &Path) -> Result<Self, Error> {
        let manifests = Self::with_others(path)?;
        manifests.others.iter().for_each(Other::pass_over);
        Ok(manifests)
    }

    /// The same, for who has a use for the others.
    pub fn with_others(path: &Path) -> Result<Self, Error> {
        let mut manifests = Self::default();
        manifests.world.frr_k8s_installed = true;
        for file in files(path)? {
            manifests.read(&file)?;
        }
        manifests.imply_namespaces();
        Ok(manifests)
    }

    fn read(&mut self, file: &Path) -> Result<(), Error> {
        let text = std::fs::read_to_string(file).map_err(|error| Error::Read(file.to_owned(), error))?;
        documents(file, &text)?.into_iter().try_for_each(|document| self.object(file, document))
    }

    fn object(&mut self, file: &Path, object: Manifest) -> Result<(), Error> {
        match (group(&object.api_version), object.kind.as_str()) {
            ("v1", "Service") => self.take::<Service>(file, object, true, true),
            ("discovery.k8s.io", "EndpointSlice") => self.take::<EndpointSlice>(file, object, true, false),
            ("networking.k8s.io", "ServiceCIDR") => self.take::<ServiceCidr>(file, object, false, false),
            ("v1", "Node") => self.take::<Node>(file, object, false, false),
            ("v1", "Pod") => self.take::<Pod>(file, object, true, false),
            ("v1", "Namespace") => self.take::<Namespace>(file, object, false, false),
            ("clarionlb.io", "LoadBalancerPool") => self.take::<Pool>(file, object, false, true),
            ("clarionlb.io", "AddressReservation") => self.take::<Reservation>(file, object, true, true),
            ("clarionlb.io", "LoadBalancerAdvertisement") => self.take::<Advertisement>(file, object, false, true),
            ("clarionlb.io", "RouterPeer") => self.take::<Peer>(file, object, false, true),
            ("clarionlb.io", "CommunityAlias") => self.take::<Aliases>(file, object, false, true),
            ("apiextensions.k8s.io", "CustomResourceDefinition") if object.name() == CRD => {
                self.take::<FrrSchema>(file, object, false, false)
            }
            ("frrk8s.metallb.io", "FRRConfiguration") => self.take::<Configuration>(file, object, true, false),
            ("frrk8s.metallb.io", "BGPSessionState") => self.take::<Session>(file, object, true, false),
            ("frrk8s.metallb.io", "FRRNodeState") => self.take::<NodeState>(file, object, false, false),
            _ => {
                self.others.push(Other { file: file.to_owned(), manifest: object });
                Ok(())
            }
        }
    }

    fn take<T: Watched>(&mut self, file: &Path, object: Manifest, namespaced: bool, shown: bool) -> Result<(), Error> {
        let what = format!("{} {:?}", object.kind, object.name());
        let object = object.serve(namespaced);
        let source: T::Source = serde_json::to_value(&object)
            .and_then(serde_json::from_value)
            .map_err(|error| Error::Object(file.to_owned(), what.clone(), error))?;
        let projected: Object<T> = T::project(source);
        let name = projected.meta.name.clone();
        if !T::collection(&mut self.world).take(projected) {
            return Err(Error::Twice(file.to_owned(), what));
        }
        if shown {
            self.objects.insert((object.kind.clone(), name), object);
        }
        Ok(())
    }

    /// Namespaces that nobody wrote down exist all the same, without labels.
    fn imply_namespaces(&mut self) {
        let services = self.world.services.iter().map(|service| &service.meta);
        let reservations = self.world.reservations.iter().map(|reservation| &reservation.meta);
        let names: BTreeSet<String> =
            services.chain(reservations).map(|meta| meta.name.namespace.to_string()).collect();
        for name in names.into_iter().map(ObjectName::cluster) {
            if self.world.namespaces.get(&name).is_none() {
                let meta = Meta { name, resource_version: "1".into(), ..Meta::default() };
                self.world.namespaces.take(Object { meta, value: Namespace });
            }
        }
    }
}

/// The conditions of a status.
pub fn conditions(status: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
    conditions.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// There is no time where nothing happens: the same manifests give the same text.
pub fn timeless(mut status: Value) -> Value {
    for condition in conditions(&mut status) {
        condition.remove("lastTransitionTime");
    }
    status
}

/// An FRRConfiguration as it is written.
pub fn configuration(object: &Object<Configuration>) -> Value {
    json!({
        "apiVersion": "frrk8s.metallb.io/v1beta1",
        "kind": "FRRConfiguration",
        "metadata": {
            "name": object.meta.name.name,
            "namespace": object.meta.name.namespace,
            "labels": object.meta.labels,
            "annotations": object.value.annotations,
        },
        "spec": object.value.spec(),
    })
}

/// What Clarion writes of a Service's status.
pub fn service_status(service: &Object<Service>) -> Value {
    let ingress: Vec<Value> = service.value.addresses.iter().map(|ip| json!({"ip": ip, "ipMode": "VIP"})).collect();
    let conditions: Vec<Condition> = service.value.conditions.iter().map(Condition::from).collect();
    timeless(json!({"loadBalancer": {"ingress": ingress}, "conditions": conditions}))
}
