//! The snapshot that a plan is made from: small projections of what the API server has.

mod collection;
mod condition;
mod configuration;
mod service;
mod shared;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
};

pub use collection::{Collection, Meta, Object};
pub use condition::Condition;
pub use configuration::Configuration;
use ipnet::IpNet;
pub use service::{Endpoint, EndpointSlice, GIVES_UP, KEEPS, Port, Protocol, Service};
pub use shared::Shared;
use smol_str::SmolStr;

use clarion_api::{
    AddressReservationSpec, CommunityAliasSpec, LoadBalancerAdvertisementSpec, LoadBalancerPoolSpec, RouterPeerSpec,
    Timestamp,
    advertisement::LoadBalancerAdvertisementStatus,
    frr::{SUCCESS, field},
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
    layer::{AdjRibOut, Attributes, Layer},
};
use crate::{finding::Reason, write::Write};

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
            Write::Configuration(_) | Write::ObjectStatus(_) => {
                let of = |layer: &Layer| Self {
                    addresses: layer.content.addresses().collect(),
                    hosts: Arc::clone(&layer.hosts),
                };
                write.layer().map(of).unwrap_or_default()
            }
        }
    }
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
        let ours = self.configurations.iter().filter(|c| c.value.ours).map(|c| &c.value.layer);
        let under_way = self.unsettled.iter().filter(|(object, _)| object.kind == Kind::FRRConfiguration);
        Layer::distinct(ours)
            .flat_map(|layer| layer.content.addresses())
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
        // Where FRRConfigurations lag behind, many of them have an address.
        let addresses: foldhash::HashSet<_> = addresses.into_iter().collect();
        let mut addresses: Vec<_> = addresses.into_iter().collect();
        addresses.sort_unstable();
        Self(addresses)
    }
}
