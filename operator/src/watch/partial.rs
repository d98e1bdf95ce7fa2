//! Objects of which no more is read than is looked at. Whole ones, most of all their `managedFields`, cost most of the time of
//! a list.

use std::{borrow::Cow, collections::BTreeMap, fmt, marker::PhantomData};

use clarion_api::{ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;

/// A part of an object of kind `K`.
#[derive(Clone, Debug)]
pub struct Partial<K, B> {
    /// What all objects have, without `managedFields`.
    pub metadata: ObjectMeta,
    /// What is looked at of `managedFields`.
    pub managers: Vec<Entry>,
    /// What is looked at beside.
    pub body: B,
    kind: PhantomData<K>,
}

impl<K, B> Partial<K, B> {
    /// What was read otherwise than from JSON.
    pub fn new(metadata: ObjectMeta, managers: Vec<Entry>, body: B) -> Self {
        Self { metadata, managers, body, kind: PhantomData }
    }
}

/// What is read of an object beside its metadata.
pub trait Body: Default {
    /// Reads a field of the object, or leaves it to be passed over and tells so by `false`.
    fn read<'de, A: MapAccess<'de>>(&mut self, field: &str, map: &mut A) -> Result<bool, A::Error>;
}

/// An entry of `managedFields`.
#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    /// Who.
    pub manager: Option<String>,
    /// When, to the second.
    pub time: Option<Time>,
    #[serde(default, rename = "fieldsV1")]
    fields: Fields,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Fields {
    #[serde(rename = "f:spec")]
    spec: Option<IgnoredAny>,
    #[serde(rename = "f:status")]
    status: Option<StatusFields>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct StatusFields {
    #[serde(rename = "f:loadBalancer")]
    load_balancer: Option<IgnoredAny>,
}

impl Entry {
    /// An entry with fields in JSON. What can't be read says nothing.
    pub fn new(manager: Option<String>, time: Option<Time>, fields: &[u8]) -> Self {
        Self { manager, time, fields: serde_json::from_slice(fields).unwrap_or_default() }
    }

    /// Whether it set something in `spec`.
    pub fn is_in_spec(&self) -> bool {
        self.fields.spec.is_some()
    }

    /// Whether it set something in `status`.
    pub fn is_in_status(&self) -> bool {
        self.fields.status.is_some()
    }

    /// Whether it set `status.loadBalancer` or something in it.
    pub fn is_in_load_balancer(&self) -> bool {
        self.fields.status.as_ref().is_some_and(|status| status.load_balancer.is_some())
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
    managed_fields: Option<Vec<Entry>>,
}

impl<'de, K, B: Body> Deserialize<'de> for Partial<K, B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fieldwise(PhantomData))
    }
}

/// Reads an object field by field.
struct Fieldwise<K, B>(PhantomData<(K, B)>);

impl<'de, K, B: Body> Visitor<'de> for Fieldwise<K, B> {
    type Value = Partial<K, B>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of the API server")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut metadata, mut body) = (Metadata::default(), B::default());
        while let Some(field) = map.next_key::<Cow<'de, str>>()? {
            if field == "metadata" {
                metadata = map.next_value()?;
            } else if !body.read(&field, &mut map)? {
                map.next_value::<IgnoredAny>()?;
            }
        }
        let managers = metadata.managed_fields.unwrap_or_default();
        let metadata = ObjectMeta {
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            generation: metadata.generation,
            creation_timestamp: metadata.creation_timestamp,
            deletion_timestamp: metadata.deletion_timestamp,
            labels: metadata.labels,
            annotations: metadata.annotations,
            owner_references: metadata.owner_references,
            ..ObjectMeta::default()
        };
        Ok(Partial::new(metadata, managers, body))
    }
}

impl<K: Resource<DynamicType = ()>, B> Resource for Partial<K, B> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Spec and status, each of its type.
#[derive(Clone, Debug, Default)]
pub struct Typed<Spec, Status> {
    /// The spec; its default where there is none.
    pub spec: Spec,
    /// The status; its default where there is none.
    pub status: Status,
}

impl<Spec: DeserializeOwned + Default, Status: DeserializeOwned + Default> Body for Typed<Spec, Status> {
    fn read<'de, A: MapAccess<'de>>(&mut self, field: &str, map: &mut A) -> Result<bool, A::Error> {
        match field {
            "spec" => self.spec = map.next_value::<Option<Spec>>()?.unwrap_or_default(),
            "status" => self.status = map.next_value::<Option<Status>>()?.unwrap_or_default(),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// An object with its spec and status as they came, to be read one by one: a part that can't be read is a value that says so,
/// not a broken watch.
pub type Lenient<K> = Partial<K, Typed<Value, Value>>;

impl<K> Lenient<K> {
    /// Reads the parts: a missing spec as an empty one, a missing or unreadable status as none.
    pub fn parts<Spec: DeserializeOwned, Status: DeserializeOwned>(
        self,
    ) -> (ObjectMeta, Result<Spec, String>, Option<Status>) {
        let Typed { spec, status } = self.body;
        let spec = if spec.is_null() { Value::Object(serde_json::Map::new()) } else { spec };
        let spec = serde_json::from_value(spec).map_err(|error| error.to_string());
        (self.metadata, spec, serde_json::from_value(status).ok())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Service, ServiceSpec, ServiceStatus};
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_looked_at_is_read_and_the_rest_is_passed_over() {
        let object = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "web", "namespace": "ns", "uid": "u", "resourceVersion": "7", "generation": 3,
                "creationTimestamp": "2026-01-02T03:04:05Z", "deletionTimestamp": null, "labels": {"a": "b"},
                "ownerReferences": [{"uid": "o"}],
                "managedFields": [
                    {"manager": "kubectl", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:type": {}}}},
                    {"manager": "controller", "time": "2026-01-02T03:04:06Z", "subresource": "status",
                     "fieldsV1": {"f:status": {"f:loadBalancer": {"f:ingress": {}}}}},
                    {"manager": "other", "fieldsV1": {"f:status": {"f:conditions": {}}}},
                    {"manager": "none"},
                ],
            },
            "more": {"spec": 1},
            "spec": {"type": "LoadBalancer"},
        });
        let service: Partial<Service, Typed<ServiceSpec, ServiceStatus>> = serde_json::from_value(object).unwrap();
        assert_eq!(service.metadata.name.as_deref(), Some("web"));
        assert_eq!(service.metadata.generation, Some(3));
        assert!(service.metadata.creation_timestamp.is_some() && service.metadata.deletion_timestamp.is_none());
        assert_eq!(service.body.spec.type_.as_deref(), Some("LoadBalancer"));
        assert_eq!(service.body.status, ServiceStatus::default());
        let managers: Vec<_> = service
            .managers
            .iter()
            .map(|entry| (entry.manager.as_deref().unwrap(), entry.is_in_spec(), entry.is_in_load_balancer()))
            .collect();
        assert_eq!(
            managers,
            [("kubectl", true, false), ("controller", false, true), ("other", false, false), ("none", false, false)]
        );
    }
}
