//! The snapshot that a plan is made from: small projections of what the API server has.

mod collection;
mod condition;
mod shared;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

pub use collection::{Collection, Meta, Object};
pub use condition::Condition;
use ipnet::IpNet;
pub use shared::Shared;
use smol_str::SmolStr;

use clarion_api::{
    AddressReservationSpec, CommunityAliasSpec, LoadBalancerAdvertisementSpec, LoadBalancerPoolSpec, RouterPeerSpec,
    Timestamp,
    advertisement::LoadBalancerAdvertisementStatus,
    frr::{FrrConfigurationSpec, SUCCESS, field},
    names,
    peer::RouterPeerStatus,
    pool::LoadBalancerPoolStatus,
    reservation::AddressReservationStatus,
    status::Status,
};

pub use crate::{
    address_set::Family,
    brake::Brake,
    compose::Bounds,
    layer::{Attributes, Layer},
};
use crate::{
    admit::{Digest, Named},
    finding::Reason,
    write::{ConfigurationWrite, Write},
};

/// Namespace and name; the namespace is empty for cluster-scoped objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// The namespace, or empty.
    pub namespace: SmolStr,
    /// The name.
    pub name: SmolStr,
}

impl ObjectName {
    /// A namespaced name.
    #[must_use]
    pub fn new(namespace: impl Into<SmolStr>, name: impl Into<SmolStr>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The name of a cluster-scoped object.
    #[must_use]
    pub fn cluster(name: impl Into<SmolStr>) -> Self {
        Self::new("", name)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// The kinds that Clarion watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the kind of its name")]
pub enum Kind {
    Service,
    EndpointSlice,
    Node,
    Namespace,
    ServiceCIDR,
    LoadBalancerPool,
    AddressReservation,
    LoadBalancerAdvertisement,
    RouterPeer,
    CommunityAlias,
    FRRConfiguration,
    BGPSessionState,
    FRRNodeState,
    Secret,
    Pod,
    CustomResourceDefinition,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One object of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: ObjectName,
}

impl ObjectRef {
    /// A reference to an object.
    #[must_use]
    pub fn new(kind: Kind, name: ObjectName) -> Self {
        Self { kind, name }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// How long a node that gets a taint of [`Settings::drain_taints`] goes on to announce, in seconds, if nothing else is said.
pub const DRAIN_GRACE: i64 = 30;

/// What the operator was told by its flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The load balancer classes that are served.
    pub load_balancer_classes: Vec<String>,
    /// Whether Services without a class are served, where their namespace does not say.
    pub adopt_class_less: bool,
    /// The namespace of FRR-K8s; found out if `None`.
    pub frr_k8s_namespace: Option<String>,
    /// Whether Services with a sharing key under one of MetalLB's prefixes share addresses with those of other namespaces
    /// that have the same, without naming the namespaces: as MetalLB does.
    pub metallb_shares_across_namespaces: bool,
    /// Nodes with the label [`names::EXCLUDE_LABEL`] announce all the same.
    pub ignore_exclude_label: bool,
    /// Nodes with one of these taints are drained: each is `key`, `key=value`, `key:effect` or `key=value:effect`.
    pub drain_taints: Vec<String>,
    /// How long a node with such a taint goes on to announce, in seconds.
    pub drain_grace: i64,
    /// How large FRRConfigurations become before they are cut.
    pub bounds: Bounds,
    /// How much an edit of the configuration may take from a router.
    pub brake: Brake,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            load_balancer_classes: vec![names::DEFAULT_CLASS.to_owned()],
            adopt_class_less: false,
            frr_k8s_namespace: None,
            metallb_shares_across_namespaces: false,
            ignore_exclude_label: false,
            drain_taints: Vec::new(),
            drain_grace: DRAIN_GRACE,
            bounds: Bounds::default(),
            brake: Brake::default(),
        }
    }
}

/// Why no Service is served while addresses are taken away.
const ALL_RELEASED: &str =
    "`clarion drain-all --release-addresses` was asked for: no Service is served until `clarion drain-all --undo`";

/// What `clarion drain-all` takes away, until it is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainAll {
    /// Every route and session of Clarion's: all its FRRConfigurations go.
    Routes,
    /// The same, and then the addresses of Services.
    Addresses,
}

/// Everything that a plan depends on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// The only time that a plan knows.
    pub now: Timestamp,
    /// What the operator was told.
    pub settings: Settings,
    /// Nothing may be taken away yet: writes of an earlier leader could still arrive.
    pub add_only: bool,
    /// No address may be given yet: a write of an earlier leader may be giving the same one to somebody else.
    pub give_nothing: bool,
    /// Everything is to be withdrawn, and nothing given.
    pub drain_all: Option<DrainAll>,
    /// The configuration that may take away what it does ([`crate::Waiting::plan`]).
    pub approved: Option<String>,
    /// The cluster is OpenShift, of which FRR-K8s is a part that has to be enabled.
    pub is_openshift: bool,
    /// Whether FRR-K8s's CRDs are installed.
    pub frr_k8s_installed: bool,
    /// The CRD of FRRConfigurations, as it is installed.
    pub frr_k8s_schema: Collection<FrrSchema>,
    /// Services of every type.
    pub services: Collection<Service>,
    /// EndpointSlices of Services.
    pub endpoint_slices: Collection<EndpointSlice>,
    /// Nodes.
    pub nodes: Collection<Node>,
    /// Namespaces.
    pub namespaces: Collection<Namespace>,
    /// ServiceCIDRs.
    pub service_cidrs: Collection<ServiceCidr>,
    /// LoadBalancerPools.
    pub pools: Collection<Custom<LoadBalancerPoolSpec, LoadBalancerPoolStatus>>,
    /// AddressReservations.
    pub reservations: Collection<Custom<AddressReservationSpec, AddressReservationStatus>>,
    /// LoadBalancerAdvertisements.
    pub advertisements: Collection<Custom<LoadBalancerAdvertisementSpec, LoadBalancerAdvertisementStatus>>,
    /// RouterPeers.
    pub peers: Collection<Custom<RouterPeerSpec, RouterPeerStatus>>,
    /// CommunityAliases.
    pub communities: Collection<Custom<CommunityAliasSpec, Status>>,
    /// FRRConfigurations of every namespace, ours and others'.
    pub configurations: Collection<Configuration>,
    /// BGPSessionStates of every namespace.
    pub sessions: Collection<Session>,
    /// FRRNodeStates, each with the name of its node.
    pub node_states: Collection<NodeState>,
    /// Secrets that may hold a password, in the namespace of FRR-K8s; their names alone, and only if that is permitted.
    pub secrets: Option<Collection<Secret>>,
    /// Pods in the namespace of FRR-K8s, only if that is permitted.
    pub pods: Option<Collection<Pod>>,
    /// Objects with a write under way or of unknown outcome. They are not written again until that is settled.
    pub unsettled: BTreeMap<ObjectRef, Intent>,
    /// What the API server said when it last refused a write to an object.
    pub refused: BTreeMap<ObjectRef, String>,
    /// What FRRConfigurations of ours have in common, for [`World::share`].
    pub shared: Shared,
}

/// What a write that is not settled would change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intent {
    /// The addresses that it would give to the Service, or announce by the FRRConfiguration.
    pub addresses: Vec<IpAddr>,
    /// The hosts that the FRRConfiguration would select.
    pub hosts: Arc<BTreeSet<String>>,
}

impl Intent {
    /// What this write would change.
    #[must_use]
    pub fn of(write: &Write) -> Self {
        match write {
            Write::ServiceStatus(write) => {
                Self { addresses: write.addresses.clone().unwrap_or_default(), ..Self::default() }
            }
            Write::Configuration(
                ConfigurationWrite::Create { layer, .. } | ConfigurationWrite::Update { layer, .. },
            ) => Self { addresses: host_addresses(layer).collect(), hosts: Arc::clone(&layer.hosts) },
            Write::Configuration(ConfigurationWrite::Delete { .. }) | Write::ObjectStatus(_) => Self::default(),
        }
    }
}

/// The addresses that a layer announces by themselves, as a /32 or /128.
fn host_addresses(layer: &Layer) -> impl Iterator<Item = IpAddr> {
    let hosts = layer.content.prefixes().filter(|prefix| prefix.prefix_len() == prefix.max_prefix_len());
    hosts.map(|prefix| prefix.addr())
}

/// A Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    /// `spec.type` is LoadBalancer.
    pub is_load_balancer: bool,
    /// `spec.loadBalancerClass`.
    pub class: Option<String>,
    /// `spec.loadBalancerIP`.
    pub load_balancer_ip: Option<String>,
    /// `spec.ipFamilies`, in order.
    pub families: Vec<Family>,
    /// Ports and their protocols.
    pub ports: Vec<Port>,
    /// `spec.ipFamilyPolicy` is RequireDualStack.
    pub requires_dual_stack: bool,
    /// `spec.externalTrafficPolicy` is Local.
    pub is_local: bool,
    /// Annotations under one of [`names::ANNOTATION_PREFIXES`].
    pub annotations: BTreeMap<String, String>,
    /// `status.loadBalancer.ingress`, addresses only, in order.
    pub addresses: Vec<IpAddr>,
    /// The entries of `status.loadBalancer.ingress` without an address.
    pub other_ingress: usize,
    /// The field manager of another controller, if that wrote `status.loadBalancer` last.
    pub ingress_by: Option<Box<str>>,
    /// When Clarion wrote its status last, to the second.
    pub written_at: Option<Timestamp>,
    /// Our conditions in `status.conditions`.
    pub conditions: Vec<Condition>,
}

/// A port of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its number.
    pub number: u16,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol.name())
    }
}

/// The protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the protocol of its name")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// The name as Kubernetes writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

/// An EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSlice {
    /// The Service that it belongs to, in its own namespace.
    pub service: SmolStr,
    /// The family of its addresses; both if it is not known.
    pub family: Option<Family>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint. Unset conditions are read as EndpointSlice's documentation says: ready, serving, not terminating.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// The node that it runs on.
    pub node: Option<Arc<str>>,
    /// It takes traffic.
    pub ready: bool,
    /// It would take traffic, but is terminating.
    pub serving_while_terminating: bool,
}

/// A Node. Its labels are in [`Meta`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The addresses in `status.addresses`.
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<IpNet>,
    /// `spec.taints`.
    pub taints: Vec<Taint>,
    /// The condition `NetworkUnavailable` is True: no Pod of the node can be reached.
    pub network_unavailable: bool,
    /// The annotation [`names::WITHDRAW_AT_ANNOTATION`], as it is written.
    pub withdraw_at: Option<String>,
}

/// A taint of a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the field of its name")]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: String,
}

impl Taint {
    /// Whether this is meant by `key`, `key=value`, `key:effect` or `key=value:effect`.
    #[must_use]
    pub fn fits(&self, pattern: &str) -> bool {
        let (rest, effect) = pattern.rsplit_once(':').map_or((pattern, None), |(rest, effect)| (rest, Some(effect)));
        let (key, value) = rest.split_once('=').map_or((rest, None), |(key, value)| (key, Some(value)));
        key == self.key && value.is_none_or(|v| v == self.value) && effect.is_none_or(|e| e == self.effect)
    }
}

/// What the installed CRD of FRRConfigurations can't hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrrSchema {
    /// The fields of [`clarion_api::frr::field`] that it lacks.
    pub lacks: BTreeSet<&'static str>,
    /// The versions that the API server serves, if the one that Clarion writes is not among them.
    pub serves_only: Option<Vec<String>>,
}

/// A ServiceCIDR: `spec.cidrs`, from which the cluster IPs of Services come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceCidr(pub Vec<IpNet>);

/// A Namespace, of which only the labels (in [`Meta`]) matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace;

/// An object of one of Clarion's kinds.
#[derive(Clone, Debug, PartialEq)]
pub struct Custom<Spec, Status> {
    /// The spec, or why it can't be read.
    pub spec: Result<Spec, String>,
    /// The status, where there is one that can be read.
    pub status: Option<Status>,
}

/// An FRRConfiguration.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    /// Written by Clarion.
    pub ours: bool,
    /// All annotations.
    pub annotations: BTreeMap<String, String>,
    spec: Spec,
    /// What the spec means, for our own objects.
    pub layer: Layer,
    /// What of the spec matters beside ours, for the objects of others.
    pub digest: Option<Digest>,
    /// Who else has a hand in the spec of one of ours: the name of a field manager.
    pub edited_by: Option<String>,
}

impl Configuration {
    /// Reads an FRRConfiguration of this name, with these labels and annotations.
    #[must_use]
    pub fn new(
        name: &ObjectName,
        labels: &BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
        mut spec: FrrConfigurationSpec,
    ) -> Self {
        let ours = labels.get(names::MANAGED_BY_LABEL).is_some_and(|by| by == names::FIELD_MANAGER);
        spec.set_defaults();
        if !ours {
            let digest = Some(Digest::new(Named { name, spec: &spec }));
            let spec = Spec::kept(spec);
            return Self { ours, annotations, spec, layer: Layer::default(), digest, edited_by: None };
        }
        spec.forget_unknown();
        let layer = Layer::of(&spec);
        let spec = if defaulted(&layer) == spec { Spec::default() } else { Spec::kept(spec) };
        Self { ours, annotations, spec, layer, digest: None, edited_by: None }
    }

    /// The spec, with the server's defaults.
    #[must_use]
    pub fn spec(&self) -> &FrrConfigurationSpec {
        self.spec.kept.as_deref().unwrap_or_else(|| self.spec.made.get_or_init(|| Box::new(defaulted(&self.layer))))
    }

    /// Whether the spec is what Clarion writes for this layer.
    #[must_use]
    pub fn is_as_written(&self, layer: &Layer) -> bool {
        if let Some(spec) = &self.spec.kept {
            return **spec == defaulted(layer);
        }
        // Specs are large, and routes are most of them. What is left may differ and mean the same, by the server's defaults.
        let bare = |layer: &Layer| defaulted(&layer.without_routes());
        self.layer == *layer
            || (self.layer.hosts == layer.hosts
                && self.layer.content.has_same_routes(&layer.content)
                && bare(&self.layer) == bare(layer))
    }
}

/// A spec with the server's defaults. One that is just what Clarion writes for a layer takes many times the layer's memory: it
/// is made when somebody asks for it.
#[derive(Clone, Debug, Default)]
struct Spec {
    kept: Option<Box<FrrConfigurationSpec>>,
    made: OnceLock<Box<FrrConfigurationSpec>>,
}

impl Spec {
    fn kept(spec: FrrConfigurationSpec) -> Self {
        Self { kept: Some(Box::new(spec)), ..Self::default() }
    }
}

impl PartialEq for Spec {
    fn eq(&self, other: &Self) -> bool {
        self.kept == other.kept
    }
}

/// What Clarion writes for a layer, with the server's defaults.
fn defaulted(layer: &Layer) -> FrrConfigurationSpec {
    let mut spec = layer.spec();
    spec.set_defaults();
    spec
}

/// A BGPSessionState.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The node.
    pub node: String,
    /// The other end: an address, or an interface.
    pub peer: String,
    /// The VRF, empty for the default one.
    pub vrf: String,
    /// The session is up.
    pub established: bool,
    /// The Pod that wrote it, in its namespace; Pods, while one takes the place of another.
    pub pods: Vec<String>,
}

/// An FRRNodeState: what the daemon of a node did last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    /// What became of the node's FRRConfigurations together.
    pub conversion: Outcome,
    /// What became of FRR's new configuration.
    pub reload: Outcome,
    /// The prefixes of `network` statements in FRR's running configuration, ascending, as far as somebody looked.
    pub running: Option<Arc<[IpNet]>>,
}

/// What became of something that a daemon did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It says nothing of it yet.
    #[default]
    Unknown,
    /// It went well.
    Success,
    /// It failed, in the daemon's words.
    Failure(String),
}

impl Outcome {
    /// Reads what a daemon wrote: [`SUCCESS`], nothing, or why it failed.
    #[must_use]
    pub fn new(text: Option<&str>) -> Self {
        match text {
            None | Some("") => Self::Unknown,
            Some(SUCCESS) => Self::Success,
            Some(text) => Self::Failure(text.to_owned()),
        }
    }

    /// Why it failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        match self {
            Self::Failure(text) => Some(text),
            Self::Unknown | Self::Success => None,
        }
    }
}

/// A Secret, of which only the name and the version (in [`Meta`]) matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secret;

/// What is said where nobody keeps up what was reported: see [`World::is_kept_up`].
pub const NOT_READY: &str = "FRR-K8s's Pod is gone or not ready";

/// A Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its condition Ready is true.
    pub ready: bool,
}

/// In the message of [`names::ADDRESS_ALLOCATED`], before addresses that a Service has although it waits for others.
pub const KEEPS: &str = "it keeps ";
/// In the message of [`names::ADDRESS_ALLOCATED`], before addresses that a Service has and will lose.
pub const GIVES_UP: &str = "it gives up ";

/// How soon another controller takes away what it does not want a Service to have, in seconds: MetalLB in milliseconds.
const AT_ONCE: u64 = 10;
/// How long a Service is left alone then, in seconds.
const TRUCE: i64 = 600;

/// The addresses in a text.
fn addresses_in(text: &str) -> impl Iterator<Item = IpAddr> {
    let is_part = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
    text.split(move |c| !is_part(c)).filter_map(|part| part.parse().ok())
}

/// Whether an address stands somewhere in a text.
fn lists(text: &str, address: IpAddr) -> bool {
    addresses_in(text).any(|listed| listed == address)
}

impl Service {
    /// The families that it wants an address of, in order.
    #[must_use]
    pub fn wanted_families(&self) -> &[Family] {
        if self.families.is_empty() { &[Family::V4] } else { &self.families }
    }

    /// Whether our condition says that this address is, or was until now, the Service's.
    #[must_use]
    pub fn speaks_of(&self, address: IpAddr) -> bool {
        self.is_on_record(address) || lists(self.parts_of_record().1, address)
    }

    /// Whether our condition says that this address is the Service's and stays so.
    #[must_use]
    pub fn is_on_record(&self, address: IpAddr) -> bool {
        lists(self.parts_of_record().0, address)
    }

    /// What our condition about its addresses says of those that it has and of those that it gives up.
    fn parts_of_record(&self) -> (&str, &str) {
        let Some(known) = self.conditions.iter().find(|known| known.type_ == names::ADDRESS_ALLOCATED) else {
            return ("", "");
        };
        let (rest, goes) = known.message.split_once(GIVES_UP).unwrap_or((&known.message, ""));
        // Without all that it asks for, the beginning speaks of what it does not have.
        let has = if known.status == "True" { rest } else { rest.split_once(KEEPS).map_or("", |(_, has)| has) };
        (has, goes)
    }

    /// Up to when the Service is left alone because another controller took away what we gave: our condition says so, or
    /// lists addresses, and all went as soon as they were there.
    #[must_use]
    pub fn truce(&self, now: Timestamp) -> Option<Timestamp> {
        let known = self.conditions.iter().find(|known| known.type_ == names::ADDRESS_ALLOCATED)?;
        let written = self.written_at?.as_second();
        let is_told = known.reason == Reason::OtherController.name();
        let is_gone = self.addresses.is_empty() && addresses_in(self.parts_of_record().0).next().is_some();
        let at_once = now.as_second().abs_diff(written) <= AT_ONCE;
        let until = Timestamp::from_second(written.saturating_add(TRUCE)).ok()?;
        Some(until).filter(|until| (is_told || (is_gone && at_once)) && *until > now)
    }

    /// Whether a condition of ours lists this address.
    #[must_use]
    pub fn is_marked(&self, condition: &str, address: IpAddr) -> bool {
        let marks = self.conditions.iter().find(|known| known.type_ == condition && known.status == "True");
        marks.is_some_and(|marks| marks.message.split(", ").any(|text| text.parse() == Ok(address)))
    }
}

impl World {
    /// The same FRRConfiguration, which takes no memory for what others say too.
    #[must_use]
    pub fn share(&mut self, configuration: Object<Configuration>) -> Object<Configuration> {
        let Object { meta, mut value } = configuration;
        if value.ours {
            value.layer = self.shared.share(value.layer);
        }
        Object { meta, value }
    }

    /// Whether a Service of type LoadBalancer is Clarion's to serve: by its class or, without one, by its namespace's
    /// label or the setting. None is while addresses are taken away.
    #[must_use]
    pub fn serves(&self, service: &Object<Service>) -> bool {
        if !service.value.is_load_balancer || self.drain_all == Some(DrainAll::Addresses) {
            return false;
        }
        match &service.value.class {
            Some(class) => self.settings.load_balancer_classes.contains(class),
            None => {
                // Its watch may be behind that of the Services: what it says is not known yet.
                let Some(namespace) = self.namespaces.get(&ObjectName::cluster(service.meta.name.namespace.clone()))
                else {
                    return false;
                };
                match namespace.meta.labels.get(names::CLASS_LESS_LABEL).map(String::as_str) {
                    Some("adopt") => true,
                    Some("ignore") => false,
                    _ => self.settings.adopt_class_less,
                }
            }
        }
    }

    /// Why a Service is not Clarion's to serve, if so: the reason and what there is to say.
    #[must_use]
    pub fn not_served(&self, service: &Object<Service>) -> Option<(Reason, String)> {
        if self.serves(service) {
            return None;
        }
        let message = match &service.value.class {
            _ if !service.value.is_load_balancer => "it is not of type LoadBalancer".to_owned(),
            _ if self.drain_all == Some(DrainAll::Addresses) => {
                return Some((Reason::AllDrained, ALL_RELEASED.to_owned()));
            }
            Some(class) => {
                format!("its class is {class}, and Clarion serves {}", self.settings.load_balancer_classes.join(", "))
            }
            None => format!(
                "it has no class, and neither the label {label} of its namespace nor --class-less has Clarion serve such: \
                 make it anew with a loadBalancerClass, or label the namespace {label}=adopt",
                label = names::CLASS_LESS_LABEL
            ),
        };
        Some((Reason::NotServed, message))
    }

    /// The namespace of FRR-K8s: the one that was set, else the one with configurations of ours (with sessions, if there
    /// are several), else the first with sessions that its daemons report, else the first with configurations of others,
    /// else the default. So it stays where it is, whatever others do.
    #[must_use]
    pub fn frr_k8s_namespace(&self) -> &str {
        if let Some(namespace) = &self.settings.frr_k8s_namespace {
            return namespace;
        }
        let sessions: BTreeSet<&str> = self.session_namespaces().collect();
        let ours = || self.configurations.iter().filter(|c| c.value.ours).map(|c| c.meta.name.namespace.as_str());
        let others = self.configurations.iter().map(|c| c.meta.name.namespace.as_str());
        let with_sessions = ours().find(|namespace| sessions.contains(namespace));
        let mut candidates = with_sessions.into_iter().chain(ours()).chain(sessions.iter().copied()).chain(others);
        let default =
            if self.is_openshift { names::OPENSHIFT_FRR_K8S_NAMESPACE } else { names::DEFAULT_FRR_K8S_NAMESPACE };
        candidates.next().unwrap_or(default)
    }

    /// Clarion's FRRConfigurations in the namespace of FRR-K8s, where it writes them.
    pub fn our_configurations(&self) -> impl Iterator<Item = &Object<Configuration>> {
        let here = self.frr_k8s_namespace();
        self.configurations.iter().filter(move |c| c.value.ours && c.meta.name.namespace == here)
    }

    /// Whether a report of a session is kept up to date: what writes it stops to when FRR does not answer, and leaves it as it
    /// was. By then the Pod is not ready. Where Pods are not to be seen, every report is taken for true.
    #[must_use]
    pub fn is_kept_up(&self, session: &Object<Session>) -> bool {
        let (Some(pods), writers) = (&self.pods, &session.value.pods) else { return true };
        let is_ready = |name: &String| {
            let name = ObjectName::new(session.meta.name.namespace.clone(), name);
            pods.get(&name).is_some_and(|pod| pod.value.ready)
        };
        writers.is_empty() || writers.iter().any(is_ready)
    }

    /// The namespaces in which daemons report sessions.
    pub fn session_namespaces(&self) -> impl Iterator<Item = &str> {
        self.sessions.iter().map(|session| session.meta.name.namespace.as_str())
    }

    /// Whether the installed FRR-K8s has this field of [`clarion_api::frr::field`]. The API server drops a field that it does
    /// not know without a word.
    #[must_use]
    pub fn frr_k8s_has(&self, field: &str) -> bool {
        !self.frr_k8s_schema.iter().any(|schema| schema.value.lacks.contains(field))
    }

    /// What the installed FRR-K8s has no field for, as the fields of Clarion's objects that need one.
    pub fn frr_k8s_cannot(&self) -> impl Iterator<Item = &'static str> {
        field::ALL.into_iter().filter(|(path, _)| !self.frr_k8s_has(path)).map(|(_, feature)| feature)
    }

    /// The versions of FRRConfigurations that the API server serves, if the one that Clarion writes is not among them.
    #[must_use]
    pub fn frr_k8s_serves_only(&self) -> Option<&[String]> {
        self.frr_k8s_schema.iter().find_map(|schema| schema.value.serves_only.as_deref())
    }

    /// Every address that one of our FRRConfigurations announces by itself, as a /32 or /128, or may announce as soon as a
    /// write that is under way has landed.
    #[must_use]
    pub fn announced(&self) -> Announced {
        let mut seen = HashSet::new();
        let ours = self.configurations.iter().filter(|c| c.value.ours);
        let ours = ours.filter(|c| seen.insert(Arc::as_ptr(&c.value.layer.content)));
        let under_way = self.unsettled.iter().filter(|(object, _)| object.kind == Kind::FRRConfiguration);
        ours.flat_map(|c| host_addresses(&c.value.layer))
            .chain(under_way.flat_map(|(_, intent)| intent.addresses.iter().copied()))
            .collect()
    }
}

/// A set of addresses, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced(Vec<IpAddr>);

impl Announced {
    /// Whether the address is one of them.
    #[must_use]
    pub fn contains(&self, address: &IpAddr) -> bool {
        self.0.binary_search(address).is_ok()
    }

    /// All of them, ascending.
    #[must_use]
    pub fn as_slice(&self) -> &[IpAddr] {
        &self.0
    }
}

impl FromIterator<IpAddr> for Announced {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        let mut addresses: Vec<_> = addresses.into_iter().collect();
        addresses.sort_unstable();
        addresses.dedup();
        Self(addresses)
    }
}

#[cfg(test)]
mod tests {
    use clarion_api::frr::Neighbor;
    use proptest::prelude::*;

    use super::*;
    use crate::layer::{Content, Router, Session as BgpSession};

    /// A session over IPv4 or IPv6, which may leave to the server what is its default, and routes of both families.
    fn session() -> impl Strategy<Value = BgpSession> {
        let route = (any::<bool>(), 0..3_u8, prop::option::of(0..2_i64), any::<bool>());
        let fields = (any::<bool>(), prop::option::of(any::<bool>()), prop::option::of(1790..1792));
        (fields, prop::collection::vec(route, 0..4)).prop_map(|((is_v4, dual, port), routes)| {
            let address = if is_v4 { "192.0.2.1" } else { "2001:db8::1" };
            let mut session = BgpSession::new(Neighbor {
                address: Some(address.to_owned()),
                asn: Some(64513),
                dual_stack_address_family: dual,
                port,
                ..Neighbor::default()
            });
            for (is_v4, n, local_pref, has_community) in routes {
                let prefix = if is_v4 { format!("10.0.0.{n}/32") } else { format!("2001:db8:1::{n}/128") };
                let communities = has_community.then(|| "64512:1".to_owned()).into_iter().collect();
                let attributes = Attributes { local_pref, communities, ..Attributes::default() };
                session.routes.insert(prefix.parse().unwrap(), attributes);
            }
            session.routes.retain(|prefix, _| crate::layer::carries(&session.neighbor, Family::of(prefix.addr())));
            session
        })
    }

    fn layer() -> impl Strategy<Value = Layer> {
        (prop::collection::btree_set("[ab]", 1..3), prop::collection::vec(session(), 0..3)).prop_map(
            |(hosts, sessions)| {
                let sessions = sessions.into_iter().map(|session| (session.key(), session)).collect();
                let router = Router { sessions, ..Router::new(64512) };
                let routers = BTreeMap::from([(String::new(), router)]);
                Layer::new(hosts, Content { routers, ..Content::default() })
            },
        )
    }

    fn written(layer: &Layer) -> Configuration {
        let labels = BTreeMap::from([(names::MANAGED_BY_LABEL.to_owned(), names::FIELD_MANAGER.to_owned())]);
        Configuration::new(&ObjectName::new("ns", "c"), &labels, BTreeMap::new(), layer.spec())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        /// Whether an object is as Clarion writes it is told without its spec, and is the same as by its spec.
        #[test]
        fn what_is_as_written_has_the_same_spec(one in layer(), other in layer()) {
            let (there, wanted) = (written(&one), written(&other));
            prop_assert!(there.is_as_written(&one));
            prop_assert_eq!(there.is_as_written(&other), there.spec() == wanted.spec());
        }

        #[test]
        fn what_the_server_adds_is_no_difference(layer in layer()) {
            let mut content = Content::clone(&layer.content);
            for session in content.routers.values_mut().flat_map(|router| router.sessions.values_mut()) {
                session.neighbor.dual_stack_address_family.get_or_insert(false);
            }
            let other = Layer { hosts: Arc::clone(&layer.hosts), content: Arc::new(content) };
            prop_assert!(written(&layer).is_as_written(&other));
        }
    }
}
