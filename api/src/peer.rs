//! RouterPeer: the BGP sessions that nodes have with a router.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// A router, and the parameters of the BGP sessions that nodes have with it. Fields left unset are left unset in what
/// FRR-K8s is told, so that FRRConfigurations of others for the same session have the say.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "clarionlb.io",
    version = "v1beta1",
    kind = "RouterPeer",
    plural = "routerpeers",
    shortname = "lbpeer",
    category = "clarion",
    status = "RouterPeerStatus",
    derive = "PartialEq",
    doc = "A router that nodes have BGP sessions with.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.peerAddress"),
    printcolumn(name = "Interface", type_ = "string", json_path = ".spec.interface", priority = "1"),
    printcolumn(name = "ASN", type_ = "integer", format = "int64", json_path = ".spec.peerASN"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodes"),
    printcolumn(name = "Established", type_ = "integer", json_path = ".status.established"),
    printcolumn(name = "VRF", type_ = "string", json_path = ".spec.vrf", priority = "1"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = Rule::new("has(self.peerAddress) != has(self.interface)").message("exactly one of peerAddress and interface is needed"),
    validation = Rule::new("!(has(self.peerASN) && has(self.dynamicASN))").message("peerASN and dynamicASN exclude each other"),
    validation = Rule::new("has(self.adoptSession) || (has(self.myASN) && (has(self.peerASN) || has(self.dynamicASN)))").message("myASN, and peerASN or dynamicASN, are needed unless adoptSession is set"),
    validation = Rule::new("!has(self.localASN) || !has(self.myASN) || self.localASN != self.myASN").message("localASN must differ from myASN"),
    validation = Rule::new("!has(self.localASN) || !has(self.myASN) || !has(self.peerASN) || self.peerASN != self.myASN").message("localASN is for eBGP sessions: peerASN must differ from myASN"),
    validation = Rule::new("!has(self.localASN) || !has(self.dynamicASN) || self.dynamicASN == 'External'").message("localASN is for eBGP sessions: dynamicASN must be External"),
    validation = Rule::new("has(self.holdTime) == has(self.keepaliveTime)").message("holdTime and keepaliveTime go together"),
    validation = Rule::new("!has(self.holdTime) || !has(self.keepaliveTime) || !self.holdTime.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$') || !self.keepaliveTime.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$') || self.holdTime == '' || self.keepaliveTime == '' || duration(self.keepaliveTime) <= duration(self.holdTime)").message("keepaliveTime must not be longer than holdTime"),
    validation = Rule::new("!has(self.interface) || !has(self.peerPort)").message("a session over an interface has no port"),
    validation = Rule::new("!has(self.nextHop) || has(self.interface) || !has(self.peerAddress) || (has(self.dualStackAddressFamily) && self.dualStackAddressFamily) || (self.peerAddress.contains(':') ? !has(self.nextHop.ipv4) : !has(self.nextHop.ipv6))").message("nextHop is for the families that the session carries: that of peerAddress, or both with dualStackAddressFamily"),
    validation = Rule::new("!has(self.drain) || self.drain.withdrawAt < timestamp('9000-01-01T00:00:00Z')").message("drain.withdrawAt must be before the year 9000"),
    validation = Rule::new("!has(self.bfd) || !has(self.bfd.echoMode) || !self.bfd.echoMode || !has(self.ebgpMultiHop) || !self.ebgpMultiHop").message("BFD's echo mode doesn't work over several hops")
)]
#[serde(rename_all = "camelCase")]
pub struct RouterPeerSpec {
    /// The AS number of the nodes.
    #[serde(default, rename = "myASN", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::asn")]
    pub my_asn: Option<i64>,
    /// The AS number of the router.
    #[serde(default, rename = "peerASN", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::asn")]
    pub peer_asn: Option<i64>,
    /// Accept whatever AS number the router has, as long as it is the same as ours or another than ours.
    #[serde(default, rename = "dynamicASN", skip_serializing_if = "Option::is_none")]
    pub dynamic_asn: Option<DynamicAsn>,
    /// The router's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::ip")]
    pub peer_address: Option<String>,
    /// The nodes' interface towards the router, for an unnumbered session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::interface")]
    pub interface: Option<String>,
    /// The TCP port to dial; 179 if unset. FRR-K8s takes no port above 16384.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16_384))]
    pub peer_port: Option<i32>,
    /// The address, or the interface whose address, the nodes dial from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::source")]
    pub source_address: Option<String>,
    /// The AS number that the nodes show to this router instead of `myASN`, on an eBGP session.
    #[serde(default, rename = "localASN", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::asn")]
    pub local_asn: Option<i64>,
    /// The hold time to propose; together with `keepaliveTime`. 0s means no keepalives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::hold_time")]
    pub hold_time: Option<String>,
    /// The time between two keepalives; together with `holdTime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::keepalive_time")]
    pub keepalive_time: Option<String>,
    /// The time between two attempts to connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::connect_time")]
    pub connect_time: Option<String>,
    /// The BGP identifier of the nodes; FRR chooses one if unset. Equal for all nodes that this peer selects, so of
    /// use with one node, or in `nodeOverrides`.
    #[serde(default, rename = "routerID", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::ipv4")]
    pub router_id: Option<String>,
    /// The nodes that have a session; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Selector>", length(max = 32))]
    pub node_selectors: Vec<LabelSelector>,
    /// The session's password (RFC 2385).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<PasswordSecret>,
    /// Bidirectional forwarding detection for the session (RFC 5880); none if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd: Option<Bfd>,
    /// Offer graceful restart (RFC 4724). Takes effect when the session is next set up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_graceful_restart: Option<bool>,
    /// The router is more than one hop away, on an eBGP session.
    #[serde(default, rename = "ebgpMultiHop", skip_serializing_if = "Option::is_none")]
    pub ebgp_multi_hop: Option<bool>,
    /// The VRF of the nodes in which the session is set up; the default one if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::interface")]
    pub vrf: Option<String>,
    /// Carry both IP families on the session (RFC 4760), not only that of its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dual_stack_address_family: Option<bool>,
    /// The next hop to announce instead of the node's own address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<NextHop>,
    /// A fuse: the router is never offered more prefixes. Beyond it nothing new is announced there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_prefixes: Option<i32>,
    /// Withdraw what Clarion announces on this session, and its part of the session.
    #[serde(default)]
    pub suspend: bool,
    /// Take traffic off this router before maintenance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// Take the session's parameters from whichever FRRConfiguration of others has this neighbor on a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt_session: Option<AdoptSession>,
    /// Parameters that differ between nodes, racks for example. The first that selects a node wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub node_overrides: Vec<NodeOverride>,
}

/// How the router's AS number relates to ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DynamicAsn {
    /// The same (iBGP).
    Internal,
    /// Another (eBGP).
    External,
}

/// Where the password of a session is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PasswordSecret {
    /// The name of a Secret of type `kubernetes.io/basic-auth` in the namespace of FRR-K8s.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

/// BFD timers and modes. What is unset is left to FRR: 300 ms, 300 ms, 3 times, 50 ms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Bfd {
    /// The shortest interval at which control packets can be received, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60_000))]
    pub receive_interval: Option<i32>,
    /// The shortest interval at which control packets are to be sent, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60_000))]
    pub transmit_interval: Option<i32>,
    /// After how many missing packets the session is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 255))]
    pub detect_multiplier: Option<i32>,
    /// The shortest interval at which echo packets can be received, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60_000))]
    pub echo_interval: Option<i32>,
    /// Send echo packets; not over several hops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo_mode: Option<bool>,
    /// Wait for the router's packets before sending any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passive_mode: Option<bool>,
    /// The lowest TTL that a control packet may arrive with, over several hops.
    #[serde(rename = "minimumTTL", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 254))]
    pub minimum_ttl: Option<i32>,
}

/// Next hops by family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NextHop {
    /// For IPv4 prefixes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::ipv4")]
    pub ipv4: Option<String>,
    /// For IPv6 prefixes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::ipv6")]
    pub ipv6: Option<String>,
}

/// When to take traffic off a router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// Until then prefixes are announced with GRACEFUL_SHUTDOWN (RFC 8326), from then on not at all.
    #[schemars(schema_with = "schema::time")]
    pub withdraw_at: Time,
}

/// Which FRRConfigurations a session may be adopted from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AdoptSession {
    /// FRRConfigurations by label; any if unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub selector: Option<LabelSelector>,
}

/// Parameters for the nodes that a selector picks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("!(has(self.peerAddress) && has(self.interface))").message("peerAddress and interface exclude each other"),
    validation = Rule::new("!has(self.localASN) || !has(self.myASN) || self.localASN != self.myASN").message("localASN must differ from myASN")
)]
#[serde(rename_all = "camelCase")]
pub struct NodeOverride {
    /// The nodes.
    #[schemars(schema_with = "schema::label_selector")]
    pub node_selector: LabelSelector,
    /// Instead of the peer's `myASN`.
    #[serde(default, rename = "myASN", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::asn")]
    pub my_asn: Option<i64>,
    /// Instead of the peer's `peerASN`.
    #[serde(default, rename = "peerASN", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::asn")]
    pub peer_asn: Option<i64>,
    /// Instead of the peer's `peerAddress` or `interface`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::ip")]
    pub peer_address: Option<String>,
    /// Instead of the peer's `sourceAddress`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::source")]
    pub source_address: Option<String>,
    /// Instead of the peer's `localASN`.
    #[serde(default, rename = "localASN", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::asn")]
    pub local_asn: Option<i64>,
    /// Instead of the peer's `peerAddress` or `interface`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::interface")]
    pub interface: Option<String>,
    /// Instead of the peer's `nextHop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<NextHop>,
    /// Instead of the peer's `routerID`.
    #[serde(default, rename = "routerID", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::ipv4")]
    pub router_id: Option<String>,
}

/// What Clarion observed of a peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RouterPeerStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Nodes that the peer selects.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    pub nodes: Option<i64>,
    /// Sessions with it that FRR-K8s reports as established.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    pub established: Option<i64>,
    /// The Secret with the password, as far as its use is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<PasswordSecretStatus>,
    /// What is known of the peer.
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// What is known of a Secret with a password by its use: what is in it is never read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordSecretStatus {
    /// Its name.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// Whether FRR-K8s can use it.
    pub state: SecretState,
    /// Since when it is tried, or was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub since: Option<Time>,
    /// The version of the Secret that this is about, where Clarion may know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
}

/// What is known of a Secret with a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SecretState {
    /// One node uses it; the others follow if that node's daemon does not complain.
    Trial,
    /// All nodes use it.
    Verified,
    /// FRR-K8s can't use it.
    Refused,
}
