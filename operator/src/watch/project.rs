//! From what the API server gives to what a plan needs.

use std::collections::BTreeMap;

use clarion_api::{
    self as api, ObjectMeta, Timestamp,
    frr::{BGPSessionState, BgpSessionStateStatus, CRD, FRRConfiguration, FRRNodeState, FrrNodeStateStatus, field},
    names,
};
use clarion_core::{
    World,
    text::bounded,
    world::{
        Collection, Condition, Configuration, Custom, Endpoint, EndpointSlice, Family, FrrSchema, Kind, Meta,
        Namespace, Node, NodeState, Object, ObjectName, Outcome, Pod, Port, Protocol, Secret, Service, ServiceCidr,
        Session, Taint,
    },
};
use futures::FutureExt as _;
use ipnet::IpNet;
use k8s_openapi::{
    api::{core::v1 as core, discovery::v1 as discovery, networking::v1 as networking},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
    },
};
use kube::{Client, Resource as _, api::ListParams, core::PartialObjectMeta};
use serde::{
    Deserialize,
    de::{IgnoredAny, MapAccess},
};
use serde_json::Value;

use super::{
    Listing, Watched,
    partial::{Body, Entry, Lenient, Partial, Typed},
    protobuf,
};

/// A LoadBalancerPool.
pub type Pool = Custom<api::LoadBalancerPoolSpec, api::pool::LoadBalancerPoolStatus>;
/// An AddressReservation.
pub type Reservation = Custom<api::AddressReservationSpec, api::reservation::AddressReservationStatus>;
/// A LoadBalancerAdvertisement.
pub type Advertisement =
    Custom<api::LoadBalancerAdvertisementSpec, api::advertisement::LoadBalancerAdvertisementStatus>;
/// A RouterPeer.
pub type Peer = Custom<api::RouterPeerSpec, api::peer::RouterPeerStatus>;
/// A CommunityAlias.
pub type Aliases = Custom<api::CommunityAliasSpec, api::status::Status>;

fn meta(meta: ObjectMeta) -> Meta {
    Meta {
        name: ObjectName::new(meta.namespace.unwrap_or_default(), meta.name.unwrap_or_default()),
        uid: meta.uid.unwrap_or_default().into(),
        resource_version: meta.resource_version.unwrap_or_default().into(),
        generation: meta.generation,
        created: meta.creation_timestamp.map(|time| time.0),
        deleting: meta.deletion_timestamp.is_some(),
        labels: meta.labels.unwrap_or_default(),
    }
}

impl Watched for Service {
    type Source = Partial<core::Service, Typed<core::ServiceSpec, core::ServiceStatus>>;

    const KIND: Kind = Kind::Service;

    fn project(mut source: Self::Source) -> Object<Self> {
        let Typed { spec, status } = source.body;
        let annotations = source.metadata.annotations.take().unwrap_or_default();
        let is_ours = |key: &String| names::ANNOTATION_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
        let ingress = status.load_balancer.and_then(|status| status.ingress).unwrap_or_default();
        let addresses: Vec<_> = ingress.iter().filter_map(|ingress| ingress.ip.as_ref()?.parse().ok()).collect();
        let value = Self {
            is_load_balancer: spec.type_.as_deref() == Some("LoadBalancer"),
            class: spec.load_balancer_class,
            load_balancer_ip: spec.load_balancer_ip.filter(|ip| !ip.is_empty()),
            ports: spec.ports.iter().flatten().filter_map(port).collect(),
            families: spec.ip_families.iter().flatten().filter_map(|family| family_named(family)).collect(),
            requires_dual_stack: spec.ip_family_policy.as_deref() == Some("RequireDualStack"),
            is_local: spec.external_traffic_policy.as_deref() == Some("Local"),
            annotations: annotations.into_iter().filter(|(key, _)| is_ours(key)).collect(),
            other_ingress: ingress.len() - addresses.len(),
            addresses,
            ingress_by: ingress_by(&source.managers),
            written_at: written_at(&source.managers),
            conditions: status
                .conditions
                .into_iter()
                .flatten()
                .filter(|c| names::SERVICE_CONDITIONS.contains(&c.type_.as_str()))
                .map(|condition| Condition::from(&condition))
                .collect(),
        };
        Object { meta: meta(source.metadata), value }
    }

    fn collection(world: &mut World) -> &mut Collection<Self> {
        &mut world.services
    }

    fn page<'a>(client: &'a Client, parameters: &'a ListParams) -> Listing<'a, Self> {
        protobuf::page::<protobuf::Service, _>(client, parameters).boxed()
    }
}

/// The controller that wrote `status.loadBalancer` last, if it is another one. A person at the terminal is none. Who leaves
/// nothing there leaves no trace.
fn ingress_by(managers: &[Entry]) -> Option<Box<str>> {
    let writers = managers.iter().filter(|entry| entry.is_in_load_balancer());
    let last = writers.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    let name = last.manager.as_deref().filter(|name| *name != names::FIELD_MANAGER && !name.starts_with("kubectl"));
    name.map(Box::from)
}

/// When Clarion wrote the status last.
fn written_at(managers: &[Entry]) -> Option<Timestamp> {
    let ours = managers.iter().filter(|e| e.is_in_status() && e.manager.as_deref() == Some(names::FIELD_MANAGER));
    ours.filter_map(|entry| entry.time.as_ref()).map(|time| time.0).max()
}

fn port(port: &core::ServicePort) -> Option<Port> {
    let protocol = match port.protocol.as_deref() {
        None | Some("TCP") => Protocol::Tcp,
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        Some(_) => return None,
    };
    Some(Port { protocol, number: u16::try_from(port.port).ok()? })
}

fn family_named(name: &str) -> Option<Family> {
    Family::ALL.into_iter().find(|family| family.name() == name)
}

impl Watched for EndpointSlice {
    type Source = Partial<discovery::EndpointSlice, Endpoints>;

    const KIND: Kind = Kind::EndpointSlice;

    fn project(source: Self::Source) -> Object<Self> {
        let mut meta = meta(source.metadata);
        let service = meta.labels.remove("kubernetes.io/service-name").unwrap_or_default().into();
        meta.labels = BTreeMap::new();
        let Endpoints { address_type, endpoints } = source.body;
        let endpoints = endpoints.into_iter().map(|endpoint| {
            let conditions = endpoint.conditions.unwrap_or_default();
            let (serving, terminating) = (conditions.serving.unwrap_or(true), conditions.terminating.unwrap_or(false));
            Endpoint {
                node: endpoint.node_name.map(Into::into),
                ready: conditions.ready.unwrap_or(true),
                serving_while_terminating: serving && terminating,
            }
        });
        let endpoints = endpoints.collect();
        Object { meta, value: Self { service, family: family_named(&address_type), endpoints } }
    }

    fn collection(world: &mut World) -> &mut Collection<Self> {
        &mut world.endpoint_slices
    }

    fn page<'a>(client: &'a Client, parameters: &'a ListParams) -> Listing<'a, Self> {
        protobuf::page::<protobuf::EndpointSlice, _>(client, parameters).boxed()
    }
}

/// What is read of an EndpointSlice.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// The family of the addresses, by its name.
    pub address_type: String,
    /// Each endpoint.
    pub endpoints: Vec<Place>,
}

/// What is read of an endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The node that it runs on.
    pub node_name: Option<String>,
    /// Whether it takes traffic.
    pub conditions: Option<discovery::EndpointConditions>,
}

impl Body for Endpoints {
    fn read<'de, A: MapAccess<'de>>(&mut self, field: &str, map: &mut A) -> Result<bool, A::Error> {
        match field {
            "addressType" => self.address_type = map.next_value()?,
            "endpoints" => self.endpoints = map.next_value::<Option<_>>()?.unwrap_or_default(),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Watched for Node {
    type Source = core::Node;

    const KIND: Kind = Kind::Node;

    fn project(source: core::Node) -> Object<Self> {
        let spec = source.spec.unwrap_or_default();
        let status = source.status.unwrap_or_default();
        let taints = spec.taints.unwrap_or_default().into_iter();
        let is_unavailable =
            |condition: &core::NodeCondition| condition.type_ == "NetworkUnavailable" && condition.status == "True";
        let annotations = source.metadata.annotations.as_ref();
        let value = Self {
            addresses: status.addresses.iter().flatten().filter_map(|address| address.address.parse().ok()).collect(),
            pod_cidrs: cidrs(spec.pod_cidrs),
            taints: taints
                .map(|taint| Taint { key: taint.key, value: taint.value.unwrap_or_default(), effect: taint.effect })
                .collect(),
            network_unavailable: status.conditions.iter().flatten().any(is_unavailable),
            withdraw_at: annotations.and_then(|annotations| annotations.get(names::WITHDRAW_AT_ANNOTATION)).cloned(),
        };
        Object { meta: meta(source.metadata), value }
    }

    fn collection(world: &mut World) -> &mut Collection<Self> {
        &mut world.nodes
    }
}

impl Watched for ServiceCidr {
    type Source = networking::ServiceCIDR;

    const KIND: Kind = Kind::ServiceCIDR;
    const OPTIONAL: bool = true;

    fn project(source: networking::ServiceCIDR) -> Object<Self> {
        Object { meta: meta(source.metadata), value: Self(cidrs(source.spec.and_then(|spec| spec.cidrs))) }
    }

    fn collection(world: &mut World) -> &mut Collection<Self> {
        &mut world.service_cidrs
    }
}

fn cidrs(texts: Option<Vec<String>>) -> Vec<IpNet> {
    texts.iter().flatten().filter_map(|text| text.parse().ok()).collect()
}

impl Watched for Namespace {
    type Source = core::Namespace;

    const KIND: Kind = Kind::Namespace;

    fn project(source: core::Namespace) -> Object<Self> {
        Object { meta: meta(source.metadata), value: Self }
    }

    fn collection(world: &mut World) -> &mut Collection<Self> {
        &mut world.namespaces
    }
}

/// One of Clarion's own kinds.
macro_rules! custom {
    ($($projected:ident from $source:ident in $field:ident),+ $(,)?) => {
        $(
            impl Watched for $projected {
                type Source = Lenient<api::$source>;

                const KIND: Kind = Kind::$source;

                fn project(source: Self::Source) -> Object<Self> {
                    let (metadata, spec, status) = source.parts();
                    Object { meta: meta(metadata), value: Custom { spec, status } }
                }

                fn collection(world: &mut World) -> &mut Collection<Self> {
                    &mut world.$field
                }
            }
        )+
    };
}

custom! {
    Pool from LoadBalancerPool in pools,
    Reservation from AddressReservation in reservations,
    Advertisement from LoadBalancerAdvertisement in advertisements,
    Peer from RouterPeer in peers,
    Aliases from CommunityAlias in communities,
}

impl Watched for Configuration {
    type Source = Lenient<FRRConfiguration>;

    const KIND: Kind = Kind::FRRConfiguration;
    const OPTIONAL: bool = true;

    fn project(source: Self::Source) -> Object<Self> {
        let edited_by = source.managers.iter().find_map(editor);
        let (mut metadata, spec, _) = source.parts::<_, Value>();
        let annotations = metadata.annotations.take().unwrap_or_default();
        let meta = meta(metadata);
        let mut value = Self::new(&meta.name, &meta.labels, annotations, spec.unwrap_or_default());
        value.edited_by = edited_by.filter(|_| value.ours);
        Object { meta, value }
    }

    fn collection(world: &mut World) -> &mut Collection<Self> {
        &mut world.configurations
    }

    fn settle(world: &mut World, object: Object<Self>) -> Object<Self> {
        world.share(object)
    }
}

/// Somebody else who has set something in a spec.
fn editor(entry: &Entry) -> Option<String> {
    entry.manager.clone().filter(|manager| entry.is_in_spec() && manager != names::FIELD_MANAGER)
}

impl Watched for FrrSchema {
    type Source = CustomResourceDefinition;

    const KIND: Kind = Kind::CustomResourceDefinition;
    const ONLY: Option<&str> = Some(CRD);

    fn project(source: CustomResourceDefinition) -> Object<Self> {
        let served = || source.spec.versions.iter().filter(|version| version.served);
        let ours = served().find(|version| version.name == FRRConfiguration::version(&()));
        let serves_only = ours.is_none().then(|| served().map(|version| version.name.clone()).collect());
        let schema = ours.and_then(|version| version.schema.as_ref()).and_then(|s| s.open_api_v3_schema.as_ref());
        let paths = || field::ALL.into_iter().map(|(path, _)| path);
        let lacks = schema.map(|schema| paths().filter(|path| !has(schema, path)).collect()).unwrap_or_default();
        Object { meta: meta(source.metadata), value: Self { lacks, serves_only } }
    }

    fn collection(world: &mut World) -> &mut Collection<Self> {
        &mut world.frr_k8s_schema
    }
}

/// Whether a schema has a field, by its path. Of a list, the fields of its items count.
fn has(schema: &JSONSchemaProps, path: &str) -> bool {
    let mut schema = Some(schema);
    for name in path.split('.') {
        let known = schema.and_then(|schema| schema.properties.as_ref()).and_then(|properties| properties.get(name));
        schema = match known.and_then(|known| known.items.as_ref()) {
            Some(JSONSchemaPropsOrArray::Schema(items)) => Some(items),
            _ => known,
        };
    }
    schema.is_some()
}

impl Watched for Session {
    type Source = Lenient<BGPSessionState>;

    const KIND: Kind = Kind::BGPSessionState;
    const OPTIONAL: bool = true;

    fn project(source: Self::Source) -> Object<Self> {
        let (mut metadata, _, status) = source.parts::<Value, BgpSessionStateStatus>();
        let owners = metadata.owner_references.take().unwrap_or_default();
        let status = status.unwrap_or_default();
        let value = Self {
            node: status.node.unwrap_or_default(),
            peer: status.peer.unwrap_or_default(),
            vrf: status.vrf.unwrap_or_default(),
            established: status.bgp_status.as_deref() == Some("Established"),
            pods: owners.into_iter().filter(|owner| owner.kind == "Pod").map(|owner| owner.name).collect(),
        };
        Object { meta: meta(metadata), value }
    }

    fn collection(world: &mut World) -> &mut Collection<Self> {
        &mut world.sessions
    }
}

impl Watched for NodeState {
    type Source = Lenient<FRRNodeState>;

    const KIND: Kind = Kind::FRRNodeState;
    const OPTIONAL: bool = true;
    // Each may have 1.5 MB.
    const PAGE: u32 = 10;

    fn project(source: Self::Source) -> Object<Self> {
        let (metadata, _, status) = source.parts::<Value, FrrNodeStateStatus>();
        let status = status.unwrap_or_default();
        let value = Self {
            conversion: outcome(status.last_conversion_result),
            reload: outcome(status.last_reload_result),
            running: status.running_config.filter(|text| !text.is_empty()).map(|text| networks(&text).into()),
        };
        Object { meta: Meta { labels: BTreeMap::new(), ..meta(metadata) }, value }
    }

    fn collection(world: &mut World) -> &mut Collection<Self> {
        &mut world.node_states
    }
}

/// The longest text of a failure that is kept.
const FAILURE_MAX: usize = 1024;

fn outcome(text: Option<String>) -> Outcome {
    Outcome::new(text.map(|text| bounded(text, FAILURE_MAX)).as_deref())
}

/// The prefixes that FRR originates by its configuration, ascending. OSPF has statements of that name too.
fn networks(configuration: &str) -> Vec<IpNet> {
    let mut networks: Vec<IpNet> = configuration.lines().filter_map(network).collect();
    networks.sort_unstable();
    networks.dedup();
    networks
}

fn network(line: &str) -> Option<IpNet> {
    let mut words = line.split_ascii_whitespace();
    let is_network = words.next() == Some("network");
    let prefix = words.next().filter(|_| is_network)?.parse::<IpNet>().ok()?;
    matches!(words.next(), None | Some("route-map" | "label-index")).then(|| prefix.trunc())
}

impl Watched for Secret {
    // Without what is in it.
    type Source = PartialObjectMeta<core::Secret>;

    const KIND: Kind = Kind::Secret;

    fn project(source: Self::Source) -> Object<Self> {
        Object { meta: Meta { labels: BTreeMap::new(), ..meta(source.metadata) }, value: Self }
    }

    fn collection(world: &mut World) -> &mut Collection<Self> {
        world.secrets.get_or_insert_default()
    }
}

impl Watched for Pod {
    type Source = Partial<core::Pod, Typed<IgnoredAny, core::PodStatus>>;

    const KIND: Kind = Kind::Pod;

    fn project(source: Self::Source) -> Object<Self> {
        let conditions = source.body.status.conditions.unwrap_or_default();
        let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        Object { meta: Meta { labels: BTreeMap::new(), ..meta(source.metadata) }, value: Self { ready } }
    }

    fn collection(world: &mut World) -> &mut Collection<Self> {
        world.pods.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node_state(status: &Value) -> NodeState {
        let object = json!({"metadata": {"name": "node-a", "uid": "u", "resourceVersion": "7"}, "status": status});
        NodeState::project(serde_json::from_value(object).unwrap()).value
    }

    #[test]
    fn of_a_node_state_the_outcomes_and_the_networks_are_kept() {
        let running = "Building configuration...\n\nfrr version 10.4\nrouter bgp 64512\n neighbor 192.0.2.1 remote-as 64513\n \
            !\n address-family ipv4 unicast\n  network 198.51.100.9/32\n  network 198.51.100.10/32 route-map x\n\
            \tnetwork 198.51.100.1/32\n exit-address-family\n address-family ipv6 unicast\n    \
            network 2001:db8::1/128\n  exit-address-family\nexit\n!\nrouter bgp 64512 vrf red\n address-family ipv4 unicast\n\
            network 198.51.100.1/32\nrouter ospf\n network 10.0.0.0/8 area 0\n network nonsense\n network\nend\n";
        let state = node_state(&json!({
            "runningConfig": running, "lastConversionResult": "success", "lastReloadResult": "",
        }));
        assert_eq!(state.conversion, Outcome::Success);
        assert_eq!(state.reload, Outcome::Unknown);
        let running: Vec<_> = state.running.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(running, ["198.51.100.1/32", "198.51.100.9/32", "198.51.100.10/32", "2001:db8::1/128"]);
    }

    #[test]
    fn a_daemon_that_has_not_read_a_running_configuration_has_shown_none() {
        assert_eq!(node_state(&json!({"runningConfig": "", "lastConversionResult": "success"})).running, None);
        assert_eq!(node_state(&json!(null)), NodeState::default());
        assert_eq!(node_state(&json!({"runningConfig": 7})), NodeState::default(), "what can't be read says nothing");
    }

    #[test]
    fn failures_are_kept_up_to_a_bound() {
        let state = node_state(&json!({"lastConversionResult": format!("failed: {}", "é".repeat(1000))}));
        let text = state.conversion.failure().unwrap();
        assert!(text.starts_with("failed: é") && text.ends_with('…') && text.len() <= FAILURE_MAX, "{text}");
    }
}
