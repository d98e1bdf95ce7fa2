//! Well-known names: the API group, labels and annotations. Users see and type these; they never change.

/// The API group of Clarion's own kinds.
pub const GROUP: &str = "clarionlb.io";
/// The API version of Clarion's own kinds.
pub const VERSION: &str = "v1beta1";
/// The field manager under which Clarion writes.
pub const FIELD_MANAGER: &str = "clarion";

/// The load balancer class that Clarion serves when no other is configured.
pub const DEFAULT_CLASS: &str = "clarionlb.io/bgp";
/// Namespace label that overrides whether class-less Services of that namespace are served: `adopt` or `ignore`.
pub const CLASS_LESS_LABEL: &str = "clarionlb.io/class-less";

/// Label that marks objects written by Clarion, with the value [`FIELD_MANAGER`].
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Selects objects written by Clarion, as a label selector.
#[must_use]
pub fn managed_by_clarion() -> String {
    format!("{MANAGED_BY_LABEL}={FIELD_MANAGER}")
}

/// Annotation on the Lease: its holder is to withdraw everything; one of the next two. `clarion drain-all` writes it.
pub const DRAIN_ALL_ANNOTATION: &str = "clarionlb.io/drain-all";
/// Every route and session is to go.
pub const DRAIN_ROUTES: &str = "routes";
/// The same, and then the addresses of Services.
pub const DRAIN_ADDRESSES: &str = "addresses";
/// Annotation on the Lease: the configuration by this name may withdraw what it takes away. `clarion approve` writes it.
pub const APPROVED_ANNOTATION: &str = "clarionlb.io/approved";
/// Label on FRRConfigurations: which layer of the layout the object belongs to (`base`, `node` or `park`).
pub const LAYER_LABEL: &str = "clarionlb.io/layer";
/// Which part of the nodes of a class a base object of ours is for, where there are several.
pub const CELL_LABEL: &str = "clarionlb.io/cell";
/// Which part of the prefixes an object of ours has, where there are several.
pub const SHARD_LABEL: &str = "clarionlb.io/shard";
/// How the names of FRRConfigurations begin that hold what a class of nodes has in common.
pub const BASE_PREFIX: &str = "clarion-base-";
/// How the names of FRRConfigurations begin that hold what only one node announces.
pub const OVERLAY_PREFIX: &str = "clarion-node-";
/// How the names of FRRConfigurations begin that hold what some nodes have while their other objects change.
pub const PARK_PREFIX: &str = "clarion-park-";
/// Annotation on FRRConfigurations: what the object is for, in words.
pub const SUMMARY_ANNOTATION: &str = "clarionlb.io/summary";
/// Annotation on FRRConfigurations: until when nodes announce that are being drained for a taint, as `host=time` pairs. A
/// deadline that is written down here stays what it is, whoever leads.
pub const DEADLINES_ANNOTATION: &str = "clarionlb.io/drained-hosts";
/// Annotation on FRRConfigurations: what the object announces is not all asked for any more, and what is to be done about it.
pub const HELD_ANNOTATION: &str = "clarionlb.io/held";
/// Labels and annotations of FRRConfigurations of ours of which only Clarion decides whether they are there.
pub const OURS_ALONE: [&str; 4] = [CELL_LABEL, SHARD_LABEL, DEADLINES_ANNOTATION, HELD_ANNOTATION];
/// Annotation on a Node: from this time (RFC 3339) on it announces nothing, and until then with GRACEFUL_SHUTDOWN (RFC 8326).
pub const WITHDRAW_AT_ANNOTATION: &str = "clarionlb.io/withdraw-at";
/// Node label, whatever its value: the Node takes no traffic from load balancers (KEP-1143).
pub const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// Label by which FRRConfigurations select Nodes, set by every kubelet to the node's host name.
pub const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";

/// Condition type on a Service: it has every address that it asks for.
pub const ADDRESS_ALLOCATED: &str = "clarionlb.io/AddressAllocated";
/// Condition type on a Service: its addresses are announced.
pub const ANNOUNCED: &str = "clarionlb.io/Announced";
/// Condition type on a Service: it shares addresses, which the message lists, with other Services.
pub const ADDRESS_SHARED: &str = "clarionlb.io/AddressShared";
/// Condition type on a Service: addresses, which the message lists, are taken from it when they leave their pool.
pub const RELEASE_ON_REMOVAL: &str = "clarionlb.io/ReleaseOnRemoval";
/// The types of conditions on a Service that are Clarion's.
pub const SERVICE_CONDITIONS: [&str; 4] = [ADDRESS_ALLOCATED, ANNOUNCED, ADDRESS_SHARED, RELEASE_ON_REMOVAL];
/// Condition type on Clarion's own kinds: the object is valid and in effect.
pub const READY: &str = "Ready";

/// Condition type on pools and advertisements: what is known of announcing their Services.
pub const ALL_ANNOUNCED: &str = "Announced";
/// Condition type on RouterPeers: the sessions with them are established.
pub const SESSIONS_ESTABLISHED: &str = "SessionsEstablished";

/// The prefixes of Service annotations that are read, Clarion's own first, then MetalLB's two.
pub const ANNOTATION_PREFIXES: [&str; 3] = ["clarionlb.io/", "metallb.io/", "metallb.universe.tf/"];

/// Annotation on a Service, after one of the prefixes: the addresses that it asks for, separated by commas.
pub const LOAD_BALANCER_IPS: &str = "loadBalancerIPs";
/// Annotation on a Service, after one of the prefixes: the pools that it asks for an address from each of.
pub const ADDRESS_POOL: &str = "address-pool";
/// Annotation on a Service, after one of the prefixes: it may share addresses with Services of the same value.
pub const ALLOW_SHARED_IP: &str = "allow-shared-ip";
/// Annotation on a Service, after one of the prefixes: namespaces of Services that it may share addresses with.
pub const SHARE_WITH_NAMESPACES: &str = "share-with-namespaces";
/// Annotation on a Service, after one of the prefixes: communities that its routes are to have, separated by commas.
pub const COMMUNITIES: &str = "communities";
/// Annotation on a Service: addresses that it gives up, separated by commas. `clarion release` writes it.
pub const RELEASE_ANNOTATION: &str = "clarionlb.io/release";

/// The namespace of FRR-K8s where nothing else tells which one it is.
pub const DEFAULT_FRR_K8S_NAMESPACE: &str = "frr-k8s-system";
/// Where OpenShift has it (OpenShift's documentation, "About BGP routing").
pub const OPENSHIFT_FRR_K8S_NAMESPACE: &str = "openshift-frr-k8s";
