//! Writes as HTTP requests: method, path, body and preconditions.

use std::time::Duration;

use clarion_api::{
    self as api, Timestamp,
    frr::{FRRConfiguration, FrrConfigurationSpec},
    names,
};
use clarion_core::{ConfigurationWrite, Event, ObjectStatus, ObjectStatusWrite, ServiceStatusWrite, world::ObjectName};
use http::{Method, Request};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Resource;
use serde_json::{Value, json};

/// How long writes may take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The API server gives a request up after that.
    pub server: Duration,
    /// We give a request up after that: later than the server does.
    pub client: Duration,
}

/// A request that can't be built.
#[derive(Debug, thiserror::Error)]
#[error("the request can't be built: {0}; this is a fault of Clarion, please report it")]
pub struct BadRequest(#[from] http::Error);

/// What is needed to build requests.
#[derive(Clone, Copy, Debug)]
pub struct Builder {
    timing: Timing,
}

const STRATEGIC_MERGE_PATCH: &str = "application/strategic-merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const JSON: &str = "application/json";

impl Builder {
    pub fn new(timing: Timing) -> Self {
        Self { timing }
    }

    /// Only `conditions` are merged by their type; `ingress` is replaced as a whole. With `resourceVersion`, the server
    /// refuses the patch if the Service has changed; with `uid`, if it is another one.
    pub fn service_status(&self, write: &ServiceStatusWrite) -> Result<Request<Vec<u8>>, BadRequest> {
        let mut conditions: Vec<Value> = write.conditions.iter().map(|condition| json!(condition)).collect();
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
            ConfigurationWrite::Create { name, labels, annotations, spec } => {
                let meta = json!({
                    "name": name.name, "namespace": name.namespace, "labels": labels, "annotations": annotations,
                });
                let path = FRRConfiguration::url_path(&(), Some(&name.namespace));
                self.build(Method::POST, &path, JSON, &configuration(&meta, spec))
            }
            ConfigurationWrite::Update { name, precondition, labels, annotations, spec } => {
                let meta = json!({
                    "name": name.name, "namespace": name.namespace, "labels": labels, "annotations": annotations,
                    "uid": precondition.uid, "resourceVersion": precondition.resource_version,
                });
                self.build(Method::PUT, &path::<FRRConfiguration>(name, ""), JSON, &configuration(&meta, spec))
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

    /// An Event about a Service.
    pub fn event(
        &self,
        write: &ServiceStatusWrite,
        event: &Event,
        now: Timestamp,
    ) -> Result<Request<Vec<u8>>, BadRequest> {
        let ObjectName { namespace, name } = &write.name;
        let body = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"name": format!("{name}.{:x}", now.as_nanosecond()), "namespace": namespace},
            "eventTime": MicroTime(now),
            "reportingController": names::GROUP,
            "reportingInstance": names::FIELD_MANAGER,
            "action": "Allocate",
            "type": "Warning",
            "reason": event.reason.name(),
            "note": event.message,
            "regarding": {
                "apiVersion": "v1", "kind": "Service",
                "namespace": namespace, "name": name, "uid": write.precondition.uid,
            },
        });
        let path = k8s_openapi::api::events::v1::Event::url_path(&(), Some(namespace));
        self.build(Method::POST, &path, JSON, &body)
    }

    /// Reads an object afresh.
    pub fn read<K: Resource<DynamicType = ()>>(&self, name: &ObjectName) -> Result<Request<Vec<u8>>, BadRequest> {
        Ok(Request::get(path::<K>(name, "")).body(Vec::new())?)
    }

    fn build(&self, method: Method, path: &str, content: &str, body: &Value) -> Result<Request<Vec<u8>>, BadRequest> {
        let timeout = self.timing.server.as_millis();
        let uri = format!("{path}?fieldManager={}&timeout={timeout}ms", names::FIELD_MANAGER);
        let request = Request::builder().method(method).uri(uri).header(http::header::CONTENT_TYPE, content);
        Ok(request.body(body.to_string().into_bytes())?)
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
