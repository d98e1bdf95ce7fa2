//! Writes as HTTP requests: method, path, body and preconditions.

use std::time::Duration;

use clarion_api::{
    self as api, Timestamp,
    frr::{FRRConfiguration, FrrConfigurationSpec},
    names,
};
use clarion_core::{
    ConfigurationWrite, Event, ObjectStatus, ObjectStatusWrite, ServiceStatusWrite,
    world::{Kind, ObjectName, ObjectRef},
};
use http::{Method, Request};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Resource;
use serde_json::{Value, json};

/// A request that can't be built.
#[derive(Debug, thiserror::Error)]
#[error("the request can't be built: {0}; this is a fault of Clarion, please report it")]
pub struct BadRequest(#[from] http::Error);

/// What is needed to build requests.
#[derive(Clone, Copy, Debug)]
pub struct Builder {
    /// The API server gives a write up after that.
    pub timeout: Duration,
}

const STRATEGIC_MERGE_PATCH: &str = "application/strategic-merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const JSON: &str = "application/json";
/// The longest name of an object.
const NAME_MAX: usize = 253;

impl Builder {
    /// Only `conditions` are merged by their type; `ingress` is replaced as a whole. With `resourceVersion`, the server
    /// refuses the patch if the Service has changed; with `uid`, if it is another one.
    pub fn service_status(&self, write: &ServiceStatusWrite) -> Result<Request<Vec<u8>>, BadRequest> {
        let mut conditions: Vec<Value> =
            write.conditions.iter().map(|condition| json!(api::Condition::from(condition))).collect();
        conditions.extend(write.remove_conditions.iter().map(|type_| json!({"$patch": "delete", "type": type_})));
        let mut status = serde_json::Map::from_iter([("conditions".to_owned(), json!(conditions))]);
        if let Some(addresses) = &write.addresses {
            let ingress: Vec<Value> = addresses.iter().map(|address| json!({ "ip": address })).collect();
            status.insert("loadBalancer".to_owned(), json!({ "ingress": ingress }));
        }
        let body = json!({
            "metadata": {"uid": write.precondition.uid, "resourceVersion": write.precondition.resource_version},
            "status": status,
        });
        let path = path::<k8s_openapi::api::core::v1::Service>(&write.name, "/status");
        self.build(Method::PATCH, &path, STRATEGIC_MERGE_PATCH, &body)
    }

    pub fn configuration(&self, write: &ConfigurationWrite) -> Result<Request<Vec<u8>>, BadRequest> {
        match write {
            ConfigurationWrite::Create { name, labels, annotations, layer } => {
                let meta = json!({
                    "name": name.name, "namespace": name.namespace, "labels": labels, "annotations": annotations,
                });
                let path = FRRConfiguration::url_path(&(), Some(&name.namespace));
                self.build(Method::POST, &path, JSON, &configuration(&meta, &layer.spec()))
            }
            ConfigurationWrite::Update { name, precondition, labels, annotations, layer, .. } => {
                let meta = json!({
                    "name": name.name, "namespace": name.namespace, "labels": labels, "annotations": annotations,
                    "uid": precondition.uid, "resourceVersion": precondition.resource_version,
                });
                self.build(Method::PUT, &path::<FRRConfiguration>(name, ""), JSON, &configuration(&meta, &layer.spec()))
            }
            ConfigurationWrite::Delete { name, precondition } => {
                let body = json!({
                    "apiVersion": "v1", "kind": "DeleteOptions",
                    "preconditions": {"uid": precondition.uid, "resourceVersion": precondition.resource_version},
                });
                self.build(Method::DELETE, &path::<FRRConfiguration>(name, ""), JSON, &body)
            }
        }
    }

    /// The status is replaced as a whole. The server refuses the patch if the object has changed.
    pub fn object_status(&self, write: &ObjectStatusWrite) -> Result<Request<Vec<u8>>, BadRequest> {
        let name = &write.object.name;
        let (path, status) = match &write.status {
            ObjectStatus::LoadBalancerPool(status) => (path::<api::LoadBalancerPool>(name, "/status"), json!(status)),
            ObjectStatus::AddressReservation(status) => {
                (path::<api::AddressReservation>(name, "/status"), json!(status))
            }
            ObjectStatus::LoadBalancerAdvertisement(status) => {
                (path::<api::LoadBalancerAdvertisement>(name, "/status"), json!(status))
            }
            ObjectStatus::RouterPeer(status) => (path::<api::RouterPeer>(name, "/status"), json!(status)),
            ObjectStatus::CommunityAlias(status) => (path::<api::CommunityAlias>(name, "/status"), json!(status)),
        };
        let body = json!([
            {"op": "replace", "path": "/metadata/uid", "value": write.precondition.uid},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": write.precondition.resource_version},
            {"op": "add", "path": "/status", "value": status},
        ]);
        self.build(Method::PATCH, &path, JSON_PATCH, &body)
    }

    /// An Event about the object of this UID.
    pub fn event(
        &self,
        object: &ObjectRef,
        uid: &str,
        event: &Event,
        now: Timestamp,
    ) -> Result<Request<Vec<u8>>, BadRequest> {
        let ObjectName { namespace, name } = &object.name;
        // Where the API server wants Events about objects without a namespace.
        let events = if namespace.is_empty() { "default" } else { namespace };
        let unique = format!(".{:x}", now.as_nanosecond());
        let stem = name.get(..NAME_MAX - unique.len()).unwrap_or(name).trim_end_matches(['.', '-']);
        let body = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"name": format!("{stem}{unique}"), "namespace": events},
            "eventTime": MicroTime(now),
            "reportingController": names::GROUP,
            "reportingInstance": names::FIELD_MANAGER,
            "action": "Reconcile",
            "type": if event.warning { "Warning" } else { "Normal" },
            "reason": event.reason.name(),
            "note": event.message,
            "regarding": {
                "apiVersion": api_version(object.kind), "kind": object.kind.to_string(),
                "namespace": namespace, "name": name, "uid": uid,
            },
        });
        let path = k8s_openapi::api::events::v1::Event::url_path(&(), Some(events));
        self.build(Method::POST, &path, JSON, &body)
    }

    /// Reads an object afresh.
    pub fn read<K: Resource<DynamicType = ()>>(&self, name: &ObjectName) -> Result<Request<Vec<u8>>, BadRequest> {
        Ok(Request::get(path::<K>(name, "")).body(Vec::new())?)
    }

    fn build(&self, method: Method, path: &str, content: &str, body: &Value) -> Result<Request<Vec<u8>>, BadRequest> {
        let timeout = self.timeout.as_millis();
        let uri = format!("{path}?fieldManager={}&timeout={timeout}ms", names::FIELD_MANAGER);
        let request = Request::builder().method(method).uri(uri).header(http::header::CONTENT_TYPE, content);
        Ok(request.body(body.to_string().into_bytes())?)
    }
}

/// The version of a kind whose status is written.
fn api_version(kind: Kind) -> String {
    match kind {
        Kind::Service => "v1".to_owned(),
        _ => format!("{}/{}", names::GROUP, names::VERSION),
    }
}

fn path<K: Resource<DynamicType = ()>>(name: &ObjectName, subresource: &str) -> String {
    let namespace = Some(name.namespace.as_str()).filter(|namespace| !namespace.is_empty());
    format!("{}/{}{subresource}", K::url_path(&(), namespace), name.name)
}

fn configuration(meta: &Value, spec: &FrrConfigurationSpec) -> Value {
    json!({
        "apiVersion": FRRConfiguration::api_version(&()),
        "kind": FRRConfiguration::kind(&()),
        "metadata": meta,
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use clarion_core::Reason;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::of_a_namespace(Kind::Service, ObjectName::new("shop", "web"), true, "shop", "v1")]
    #[case::of_none(Kind::RouterPeer, ObjectName::cluster("tor"), false, "default", "clarionlb.io/v1beta1")]
    #[case::of_a_long_name(Kind::RouterPeer, ObjectName::cluster("a-".repeat(126) + "b"), true, "default", "clarionlb.io/v1beta1")]
    fn an_event_is_where_the_api_server_wants_it(
        #[case] kind: Kind,
        #[case] name: ObjectName,
        #[case] warning: bool,
        #[case] namespace: &str,
        #[case] api_version: &str,
    ) {
        let builder = Builder { timeout: Duration::from_secs(1) };
        let event = Event { warning, reason: Reason::Released, message: "gone".to_owned() };
        let object = ObjectRef::new(kind, name.clone());
        let request = builder.event(&object, "u", &event, Timestamp::now()).unwrap();
        assert_eq!(request.uri().path(), format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events"));
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(body["type"], if warning { "Warning" } else { "Normal" });
        assert_eq!(body["metadata"]["namespace"], namespace);
        assert_eq!(body["regarding"]["apiVersion"], api_version);
        assert_eq!(body["regarding"]["name"], name.name.as_str());
        assert_eq!(body["regarding"]["namespace"], name.namespace.as_str());
        let name = body["metadata"]["name"].as_str().unwrap();
        assert!(name.len() <= NAME_MAX && !name.contains("-."), "{name}");
    }
}
