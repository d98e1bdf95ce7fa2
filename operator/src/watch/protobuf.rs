//! Lists in protobuf, in which the API server gives the kinds that are its own for a fraction of what JSON costs both sides.
//!
//! The messages have the fields that are looked at; the numbers are those of `generated.proto` in k8s.io/api and
//! k8s.io/apimachinery, which never change.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Debug,
};

use clarion_api::{ObjectMeta, Time, Timestamp};
use http::{HeaderValue, StatusCode, header::ACCEPT};
use http_body_util::BodyExt as _;
use k8s_openapi::{
    api::{core::v1 as core, discovery::v1 as discovery},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Client, Resource,
    api::{ListParams, Request},
    client::Body,
    core::{ObjectList, Status},
};
use prost::Message;
use serde::de::DeserializeOwned;

use super::{
    Page,
    partial::{Entry, Partial, Typed},
    project::{Endpoints, Place},
};

/// What is asked for. The API server has it for all kinds that are its own; whoever answers in its place may have JSON alone.
const ACCEPTED: HeaderValue = HeaderValue::from_static("application/vnd.kubernetes.protobuf, application/json");
/// What every answer in protobuf begins with (k8s.io/apimachinery, `pkg/runtime/serializer/protobuf`).
const MAGIC: &[u8] = b"k8s\0";

/// An answer that can't be read.
#[derive(Debug, thiserror::Error)]
enum Malformed {
    #[error("the answer is no protobuf of Kubernetes")]
    Magic,
    #[error("the answer can't be read: {0}")]
    Message(#[from] prost::DecodeError),
}

#[derive(Message)]
struct Unknown {
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Message)]
struct Failure {
    #[prost(string, tag = "3")]
    message: String,
    #[prost(string, tag = "4")]
    reason: String,
}

#[derive(Message)]
struct List<K: Message + Default + Debug> {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ListMeta>,
    #[prost(message, repeated, tag = "2")]
    items: Vec<K>,
}

#[derive(Message)]
struct ListMeta {
    #[prost(string, tag = "2")]
    version: String,
    #[prost(string, tag = "3")]
    next: String,
}

#[derive(Message)]
struct Metadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(string, tag = "5")]
    uid: String,
    #[prost(string, tag = "6")]
    resource_version: String,
    #[prost(int64, tag = "7")]
    generation: i64,
    #[prost(message, optional, tag = "8")]
    created: Option<Moment>,
    #[prost(message, optional, tag = "9")]
    deleted: Option<Moment>,
    #[prost(map = "string, string", tag = "11")]
    labels: HashMap<String, String>,
    #[prost(map = "string, string", tag = "12")]
    annotations: HashMap<String, String>,
    #[prost(message, repeated, tag = "17")]
    managed_fields: Vec<ManagedFields>,
}

#[derive(Message)]
struct ManagedFields {
    #[prost(string, optional, tag = "1")]
    manager: Option<String>,
    #[prost(message, optional, tag = "4")]
    time: Option<Moment>,
    #[prost(message, optional, tag = "7")]
    fields: Option<FieldsV1>,
}

#[derive(Message)]
struct FieldsV1 {
    /// JSON.
    #[prost(bytes = "vec", tag = "1")]
    raw: Vec<u8>,
}

#[derive(Message)]
struct Moment {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// A Service.
#[derive(Message)]
pub struct Service {
    #[prost(message, optional, tag = "1")]
    metadata: Option<Metadata>,
    #[prost(message, optional, tag = "2")]
    spec: Option<ServiceSpec>,
    #[prost(message, optional, tag = "3")]
    status: Option<ServiceStatus>,
}

#[derive(Message)]
struct ServiceSpec {
    #[prost(message, repeated, tag = "1")]
    ports: Vec<Port>,
    #[prost(string, optional, tag = "4")]
    kind: Option<String>,
    #[prost(string, optional, tag = "8")]
    load_balancer_ip: Option<String>,
    #[prost(string, optional, tag = "11")]
    external_traffic_policy: Option<String>,
    #[prost(string, optional, tag = "17")]
    ip_family_policy: Option<String>,
    #[prost(string, repeated, tag = "19")]
    ip_families: Vec<String>,
    #[prost(string, optional, tag = "21")]
    load_balancer_class: Option<String>,
}

#[derive(Message)]
struct Port {
    #[prost(string, optional, tag = "2")]
    protocol: Option<String>,
    #[prost(int32, tag = "3")]
    port: i32,
}

#[derive(Message)]
struct ServiceStatus {
    #[prost(message, optional, tag = "1")]
    load_balancer: Option<LoadBalancerStatus>,
    #[prost(message, repeated, tag = "2")]
    conditions: Vec<ServiceCondition>,
}

#[derive(Message)]
struct LoadBalancerStatus {
    #[prost(message, repeated, tag = "1")]
    ingress: Vec<Ingress>,
}

#[derive(Message)]
struct Ingress {
    #[prost(string, optional, tag = "1")]
    ip: Option<String>,
    #[prost(string, optional, tag = "2")]
    hostname: Option<String>,
}

#[derive(Message)]
struct ServiceCondition {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    status: String,
    #[prost(int64, optional, tag = "3")]
    observed_generation: Option<i64>,
    #[prost(message, optional, tag = "4")]
    last_transition_time: Option<Moment>,
    #[prost(string, tag = "5")]
    reason: String,
    #[prost(string, tag = "6")]
    message: String,
}

/// An EndpointSlice.
#[derive(Message)]
pub struct EndpointSlice {
    #[prost(message, optional, tag = "1")]
    metadata: Option<Metadata>,
    #[prost(message, repeated, tag = "2")]
    endpoints: Vec<Endpoint>,
    #[prost(string, tag = "4")]
    address_type: String,
}

#[derive(Message)]
struct Endpoint {
    #[prost(message, optional, tag = "2")]
    conditions: Option<EndpointConditions>,
    #[prost(string, optional, tag = "6")]
    node_name: Option<String>,
}

#[derive(Message)]
struct EndpointConditions {
    #[prost(bool, optional, tag = "1")]
    ready: Option<bool>,
    #[prost(bool, optional, tag = "2")]
    serving: Option<bool>,
    #[prost(bool, optional, tag = "3")]
    terminating: Option<bool>,
}

/// Lists a kind whose objects have the form of `M`.
pub async fn page<M, K>(client: &Client, parameters: &ListParams) -> Result<Page<K>, kube::Error>
where
    M: Message + Default + Debug + Into<K>,
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned,
{
    let mut request = Request::new(K::url_path(&(), None)).list(parameters).map_err(kube::Error::BuildRequest)?;
    request.headers_mut().insert(ACCEPT, ACCEPTED);
    let answer = client.send(request.map(Body::from)).await?;
    let status = answer.status();
    let bytes = answer.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        return Err(kube::Error::Api(Box::new(failure(status, &bytes))));
    }
    if !bytes.starts_with(MAGIC) {
        let list: ObjectList<K> = serde_json::from_slice(&bytes).map_err(kube::Error::SerdeError)?;
        return Ok(list.into());
    }
    let List { metadata, items } = decode::<List<M>>(&bytes).map_err(|error| kube::Error::Service(Box::new(error)))?;
    let ListMeta { version, next } = metadata.unwrap_or_default();
    let next = Some(next).filter(|next| !next.is_empty());
    Ok(Page { items: items.into_iter().map(Into::into).collect(), next, version })
}

/// What the API server says of a request that failed, in whichever form.
fn failure(status: StatusCode, bytes: &[u8]) -> Status {
    if let Ok(status) = serde_json::from_slice(bytes) {
        return status;
    }
    let failure = decode::<Failure>(bytes).unwrap_or_else(|error| Failure {
        message: format!("{status}: {error}"),
        reason: status.canonical_reason().unwrap_or_default().to_owned(),
    });
    Status::failure(&failure.message, &failure.reason).with_code(status.as_u16())
}

fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, Malformed> {
    let envelope = bytes.strip_prefix(MAGIC).ok_or(Malformed::Magic)?;
    Ok(M::decode(Unknown::decode(envelope)?.raw.as_slice())?)
}

impl From<Service> for Partial<core::Service, Typed<core::ServiceSpec, core::ServiceStatus>> {
    fn from(service: Service) -> Self {
        let (spec, status) = (service.spec.unwrap_or_default(), service.status.unwrap_or_default());
        let spec = core::ServiceSpec {
            ports: Some(spec.ports.into_iter().map(port).collect()),
            type_: spec.kind,
            load_balancer_ip: spec.load_balancer_ip,
            external_traffic_policy: spec.external_traffic_policy,
            ip_family_policy: spec.ip_family_policy,
            ip_families: Some(spec.ip_families),
            load_balancer_class: spec.load_balancer_class,
            ..core::ServiceSpec::default()
        };
        let ingress = status.load_balancer.map(|status| status.ingress.into_iter().map(ingress).collect());
        let status = core::ServiceStatus {
            load_balancer: Some(core::LoadBalancerStatus { ingress }),
            conditions: Some(status.conditions.into_iter().map(condition).collect()),
        };
        let (metadata, managers) = metadata(service.metadata.unwrap_or_default());
        Self::new(metadata, managers, Typed { spec, status })
    }
}

fn port(port: Port) -> core::ServicePort {
    core::ServicePort { protocol: port.protocol, port: port.port, ..core::ServicePort::default() }
}

fn ingress(ingress: Ingress) -> core::LoadBalancerIngress {
    core::LoadBalancerIngress { ip: ingress.ip, hostname: ingress.hostname, ..core::LoadBalancerIngress::default() }
}

fn condition(condition: ServiceCondition) -> Condition {
    Condition {
        type_: condition.kind,
        status: condition.status,
        observed_generation: condition.observed_generation,
        last_transition_time: Time(condition.last_transition_time.and_then(timestamp).unwrap_or_default()),
        reason: condition.reason,
        message: condition.message,
    }
}

impl From<EndpointSlice> for Partial<discovery::EndpointSlice, Endpoints> {
    fn from(slice: EndpointSlice) -> Self {
        let endpoints = slice.endpoints.into_iter().map(|endpoint| Place {
            node_name: endpoint.node_name,
            conditions: endpoint.conditions.map(|conditions| discovery::EndpointConditions {
                ready: conditions.ready,
                serving: conditions.serving,
                terminating: conditions.terminating,
            }),
        });
        let body = Endpoints { address_type: slice.address_type, endpoints: endpoints.collect() };
        let (metadata, managers) = metadata(slice.metadata.unwrap_or_default());
        Self::new(metadata, managers, body)
    }
}

fn metadata(metadata: Metadata) -> (ObjectMeta, Vec<Entry>) {
    let map =
        |map: HashMap<String, String>| Some(map.into_iter().collect::<BTreeMap<_, _>>()).filter(|m| !m.is_empty());
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let managers = metadata.managed_fields.into_iter().map(|entry| {
        let fields = entry.fields.map(|fields| fields.raw).unwrap_or_default();
        Entry::new(entry.manager, entry.time.and_then(timestamp).map(Time), &fields)
    });
    let managers = managers.collect();
    let metadata = ObjectMeta {
        name: text(metadata.name),
        namespace: text(metadata.namespace),
        uid: text(metadata.uid),
        resource_version: text(metadata.resource_version),
        generation: Some(metadata.generation).filter(|generation| *generation != 0),
        creation_timestamp: metadata.created.and_then(timestamp).map(Time),
        deletion_timestamp: metadata.deleted.and_then(timestamp).map(Time),
        labels: map(metadata.labels),
        annotations: map(metadata.annotations),
        ..ObjectMeta::default()
    };
    (metadata, managers)
}

fn timestamp(moment: Moment) -> Option<Timestamp> {
    Timestamp::new(moment.seconds, moment.nanos).ok()
}

#[cfg(test)]
mod tests {
    use clarion_core::world;
    use serde_json::json;

    use super::*;
    use crate::watch::Watched;

    fn moment(seconds: i64) -> Option<Moment> {
        Some(Moment { seconds, nanos: 0 })
    }

    #[test]
    fn a_service_is_the_same_as_in_json() {
        let fields = json!({"f:status": {"f:loadBalancer": {"f:ingress": {}}}}).to_string().into_bytes();
        let message = Service {
            metadata: Some(Metadata {
                name: "web".to_owned(),
                namespace: "shop".to_owned(),
                uid: "u".to_owned(),
                resource_version: "7".to_owned(),
                created: moment(1_700_000_000),
                deleted: moment(1_700_000_100),
                labels: HashMap::from([("tier".to_owned(), "gold".to_owned())]),
                annotations: HashMap::from([("clarionlb.io/address-pool".to_owned(), "main".to_owned())]),
                managed_fields: vec![ManagedFields {
                    manager: Some("controller".to_owned()),
                    time: moment(1_700_000_050),
                    fields: Some(FieldsV1 { raw: fields }),
                }],
                ..Metadata::default()
            }),
            spec: Some(ServiceSpec {
                ports: vec![Port { protocol: Some("UDP".to_owned()), port: 53 }],
                kind: Some("LoadBalancer".to_owned()),
                external_traffic_policy: Some("Local".to_owned()),
                ip_family_policy: Some("RequireDualStack".to_owned()),
                ip_families: vec!["IPv6".to_owned(), "IPv4".to_owned()],
                load_balancer_class: Some("clarionlb.io/bgp".to_owned()),
                load_balancer_ip: None,
            }),
            status: Some(ServiceStatus {
                load_balancer: Some(LoadBalancerStatus {
                    ingress: vec![
                        Ingress { ip: Some("192.0.2.1".to_owned()), hostname: None },
                        Ingress { ip: None, hostname: Some("lb.example".to_owned()) },
                    ],
                }),
                conditions: vec![ServiceCondition {
                    kind: "clarionlb.io/Announced".to_owned(),
                    status: "True".to_owned(),
                    observed_generation: None,
                    last_transition_time: moment(1_700_000_060),
                    reason: "Announced".to_owned(),
                    message: "announced".to_owned(),
                }],
            }),
        };
        let json = json!({
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7",
                "creationTimestamp": "2023-11-14T22:13:20Z", "deletionTimestamp": "2023-11-14T22:15:00Z",
                "labels": {"tier": "gold"}, "annotations": {"clarionlb.io/address-pool": "main"},
                "managedFields": [{
                    "manager": "controller", "time": "2023-11-14T22:14:10Z",
                    "fieldsV1": {"f:status": {"f:loadBalancer": {"f:ingress": {}}}},
                }],
            },
            "spec": {
                "type": "LoadBalancer", "loadBalancerClass": "clarionlb.io/bgp", "externalTrafficPolicy": "Local",
                "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"], "ports": [{"protocol": "UDP", "port": 53}],
            },
            "status": {
                "loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example"}]},
                "conditions": [{
                    "type": "clarionlb.io/Announced", "status": "True", "reason": "Announced", "message": "announced",
                    "lastTransitionTime": "2023-11-14T22:14:20Z",
                }],
            },
        });
        let read = world::Service::project(message.into());
        assert_eq!(read, world::Service::project(serde_json::from_value(json).unwrap()));
        assert_eq!(read.value.ingress_by.as_deref(), Some("controller"));
    }

    #[test]
    fn an_endpoint_slice_is_the_same_as_in_json() {
        let message = EndpointSlice {
            metadata: Some(Metadata {
                name: "web-1".to_owned(),
                labels: HashMap::from([("kubernetes.io/service-name".to_owned(), "web".to_owned())]),
                ..Metadata::default()
            }),
            endpoints: vec![
                Endpoint { conditions: None, node_name: Some("node-a".to_owned()) },
                Endpoint {
                    conditions: Some(EndpointConditions { ready: Some(false), serving: None, terminating: Some(true) }),
                    node_name: None,
                },
            ],
            address_type: "IPv6".to_owned(),
        };
        let json = json!({
            "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv6",
            "endpoints": [{"nodeName": "node-a"}, {"conditions": {"ready": false, "terminating": true}}],
        });
        let read = world::EndpointSlice::project(message.into());
        assert_eq!(read, world::EndpointSlice::project(serde_json::from_value(json).unwrap()));
    }

    #[test]
    fn what_is_no_protobuf_of_kubernetes_is_an_error() {
        for bytes in [&b""[..], b"{}", b"k8s", b"k8s\0\xff\xff", b"k8s\0\x12\x05ab"] {
            assert!(decode::<List<Service>>(bytes).is_err(), "{bytes:?}");
        }
        assert!(decode::<List<Service>>(b"k8s\0").unwrap().items.is_empty());
    }
}
