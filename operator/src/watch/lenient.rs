//! Objects whose parts are read one by one, so that a part that can't be read is a value that says so, not a broken watch.

use std::{borrow::Cow, marker::PhantomData};

use clarion_api::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// An object of kind `K` with its spec and status as they came.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound = "")]
pub struct Lenient<K> {
    /// What all objects have.
    #[serde(default)]
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
    #[serde(skip)]
    kind: PhantomData<K>,
}

impl<K> Lenient<K> {
    /// Takes the object apart: a missing spec is read as an empty one, a missing or unreadable status as none.
    pub fn parts<Spec: DeserializeOwned, Status: DeserializeOwned>(
        self,
    ) -> (ObjectMeta, Result<Spec, String>, Option<Status>) {
        let spec = if self.spec.is_null() { Value::Object(serde_json::Map::new()) } else { self.spec };
        let spec = serde_json::from_value(spec).map_err(|error| error.to_string());
        (self.metadata, spec, serde_json::from_value(self.status).ok())
    }
}

impl<K: Resource<DynamicType = ()>> Resource for Lenient<K> {
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
