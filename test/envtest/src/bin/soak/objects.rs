//! What the judge reads of objects as etcd stores them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use clarion_api::names;
use ipnet::IpNet;
use serde_json::Value;

/// How the names of users' FRRConfigurations begin that are at odds with Clarion's.
pub const AT_ODDS: &str = "at-odds";

/// The kinds that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Service,
    EndpointSlice,
    Node,
    Lease,
    Configuration,
    Pool,
    Peer,
    Advertisement,
}

/// Where each kind is stored.
const PREFIXES: [(&str, Kind); 8] = [
    ("/registry/services/specs/default/", Kind::Service),
    ("/registry/endpointslices/default/", Kind::EndpointSlice),
    ("/registry/minions/", Kind::Node),
    ("/registry/leases/clarion-system/", Kind::Lease),
    ("/registry/frrk8s.metallb.io/frrconfigurations/frr-k8s-system/", Kind::Configuration),
    ("/registry/clarionlb.io/loadbalancerpools/", Kind::Pool),
    ("/registry/clarionlb.io/routerpeers/", Kind::Peer),
    ("/registry/clarionlb.io/loadbalanceradvertisements/", Kind::Advertisement),
];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Node => "Node",
            Self::Lease => "Lease",
            Self::Configuration => "FRRConfiguration",
            Self::Pool => "LoadBalancerPool",
            Self::Peer => "RouterPeer",
            Self::Advertisement => "LoadBalancerAdvertisement",
        }
    }
}

/// A key of etcd's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    pub kind: Kind,
    pub name: &'a str,
}

impl<'a> Key<'a> {
    /// That of an object that matters.
    pub fn parse(key: &'a str) -> Option<Self> {
        PREFIXES.iter().find_map(|(prefix, kind)| Some(Self { kind: *kind, name: key.strip_prefix(prefix)? }))
    }

    /// The object in a line, for the timeline.
    pub fn told(&self, object: Option<&Value>) -> String {
        let Some(object) = object else { return format!("{} is deleted", self.name) };
        let text = |pointer: &str| object.pointer(pointer).unwrap_or(&Value::Null).to_string();
        let told = match self.kind {
            Kind::Service => {
                let Service { uid, is_load_balancer, addresses, key, requests, is_local } = Service::read(object);
                let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
                let reasons = conditions.into_iter().flatten().filter_map(|c| c.get("reason")?.as_str());
                let reasons: Vec<_> = reasons.collect();
                let uid = uid.get(..8).unwrap_or_default().to_owned();
                format!(
                    "{uid} load balancer {is_load_balancer} {addresses:?} key {key:?} asks for {requests:?} local \
                     {is_local} {reasons:?}"
                )
            }
            Kind::EndpointSlice => format!("{:?}", Endpoints::read(object).ready),
            Kind::Node => text("/metadata/labels"),
            Kind::Configuration => {
                let routers = object.pointer("/spec/bgp/routers").and_then(Value::as_array).into_iter().flatten();
                let neighbors = routers.clone().filter_map(|router| router.get("neighbors")?.as_array()).flatten();
                let neighbors: Vec<_> = neighbors.filter_map(|neighbor| neighbor.get("address")).collect();
                let prefixes: Vec<_> = routers.filter_map(|router| router.get("prefixes")).collect();
                format!("{} {neighbors:?} {prefixes:?}", text("/spec/nodeSelector"))
            }
            _ => text("/spec"),
        };
        format!("{} {told}", self.name)
    }
}

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    pub uid: String,
    /// It is of type LoadBalancer.
    pub is_load_balancer: bool,
    /// Those in its status.
    pub addresses: Vec<IpAddr>,
    /// Its sharing key.
    pub key: Option<String>,
    /// Those that it asks for.
    pub requests: Vec<IpAddr>,
    /// Its traffic policy is Local.
    pub is_local: bool,
}

impl Service {
    pub fn read(object: &Value) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let annotation = |name: &str| {
            let annotations = object.pointer("/metadata/annotations")?;
            annotations.get(format!("{}/{name}", names::GROUP))?.as_str()
        };
        let ingress = object.pointer("/status/loadBalancer/ingress").and_then(Value::as_array).into_iter().flatten();
        let requests = annotation(names::LOAD_BALANCER_IPS).unwrap_or_default().split(',');
        Self {
            uid: text("/metadata/uid").unwrap_or_default().to_owned(),
            is_load_balancer: text("/spec/type") == Some("LoadBalancer"),
            addresses: ingress.filter_map(|ingress| ingress.get("ip")?.as_str()?.parse().ok()).collect(),
            key: annotation(names::ALLOW_SHARED_IP).map(str::to_owned),
            requests: requests.filter_map(|address| address.trim().parse().ok()).collect(),
            is_local: text("/spec/externalTrafficPolicy") == Some("Local"),
        }
    }

    /// Whether it asks for other addresses than this one, which goes when they can be had.
    pub fn leaves(&self, address: IpAddr) -> bool {
        !self.requests.is_empty() && !self.requests.contains(&address)
    }
}

/// The endpoints of the Service of the same name.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// Nodes with a ready one.
    pub ready: BTreeSet<String>,
}

impl Endpoints {
    pub fn read(object: &Value) -> Self {
        let endpoints = object.get("endpoints").and_then(Value::as_array).into_iter().flatten();
        let ready = endpoints.filter(|endpoint| endpoint.pointer("/conditions/ready") == Some(&Value::Bool(true)));
        Self { ready: ready.filter_map(|endpoint| Some(endpoint.get("nodeName")?.as_str()?.to_owned())).collect() }
    }
}

/// A Node.
#[derive(Clone, Debug, Default)]
pub struct Node {
    pub labels: BTreeMap<String, String>,
    /// It takes traffic from load balancers.
    pub announces: bool,
}

impl Node {
    pub fn read(object: &Value) -> Self {
        let labels = labels(object.pointer("/metadata/labels"));
        Self { announces: !labels.contains_key(names::EXCLUDE_LABEL), labels }
    }
}

fn labels(value: Option<&Value>) -> BTreeMap<String, String> {
    value.and_then(|labels| serde_json::from_value(labels.clone()).ok()).unwrap_or_default()
}

/// A RouterPeer.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: IpAddr,
    /// It is of nodes that have the labels of one of these; of all if there is none.
    selectors: Vec<BTreeMap<String, String>>,
}

impl Peer {
    pub fn read(object: &Value) -> Self {
        let address = object.pointer("/spec/peerAddress").and_then(|address| address.as_str()?.parse().ok());
        let selectors = object.pointer("/spec/nodeSelectors").and_then(Value::as_array).into_iter().flatten();
        Self {
            address: address.unwrap_or(IpAddr::from([0, 0, 0, 0])),
            selectors: selectors.map(|selector| labels(selector.get("matchLabels"))).collect(),
        }
    }

    pub fn selects(&self, node: &BTreeMap<String, String>) -> bool {
        let has_all =
            |selector: &BTreeMap<String, String>| selector.iter().all(|(key, value)| node.get(key) == Some(value));
        self.selectors.is_empty() || self.selectors.iter().any(has_all)
    }
}

/// A LoadBalancerPool.
#[derive(Clone, Debug, Default)]
pub struct Pool(Vec<IpNet>);

impl Pool {
    pub fn read(object: &Value) -> Self {
        let ranges = object.pointer("/spec/addresses").and_then(Value::as_array).into_iter().flatten();
        Self(ranges.filter_map(|range| range.as_str()?.parse().ok()).collect())
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.contains(&address))
    }
}
