//! What is wrong with an object, or worth knowing: the catalogue of reasons, and the findings of a plan.

use std::collections::BTreeMap;

use itertools::Itertools as _;

use crate::world::ObjectRef;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The object is in effect, but not quite as written.
    Warning,
    /// The object, or what it asks for, is not in effect.
    Error,
}

macro_rules! reasons {
    ($($reason:ident: $about:literal),+ $(,)?) => {
        /// Why a condition has its status. The names are stable: scripts and alerts may rely on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = $about] $reason,)+
        }

        impl Reason {
            /// All reasons, in the order of the catalogue.
            pub const ALL: &[Self] = &[$(Self::$reason,)+];

            /// The name as it stands in a condition.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$reason => stringify!($reason),)+ }
            }

            /// What it means, for the catalogue.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $(Self::$reason => $about,)+ }
            }
        }
    };
}

reasons! {
    Valid: "The object is valid and in effect.",
    Unreadable: "The object does not have the form that its CRD prescribes. Was the CRD changed, or is it of another version?",
    InvalidAddresses: "An entry of `addresses` or `excludeAddresses` can't be read; the message quotes it. The pool gives no address until it is corrected.",
    NoAddresses: "The pool has no address: none is listed, or every one is excluded.",
    Overlap: "The pool shares addresses with an older pool, which serves them; or an alias has the name of an older one.",
    OverlapsCluster: "The pool has addresses of Nodes, Pods, cluster IPs or peers. They are given to Services all the same; `excludeAddresses` leaves them out.",
    InvalidSelector: "A label selector can't be evaluated; the message quotes it.",
    SelectsNothing: "A list of names or selectors fits no object.",
    InvalidValue: "A field has a value that can't be used; the message names both.",
    UnknownName: "A name refers to an object or alias that does not exist.",
    NotInFRRK8s: "The object asks for something that the installed version of FRR-K8s has no field for. The message names both. The rest is in effect, if a session is possible without.",
    TimersIgnored: "FRR-K8s does not pass on timers with these values, so that FRR uses others. The message says which.",
    NotAggregated: "An aggregate would have addresses that are not of the pool: the addresses are announced by themselves.",
    NotPermitted: "The Service asks for a community that no advertisement of it permits by `allowedCommunities`, or that is none. The rest is in effect.",
    NotEverywhere: "An address is shared by Services with `externalTrafficPolicy: Local` that have no node in common: it is announced from the nodes of the oldest, and this Service has endpoints on some of them only.",
    NotCarried: "No session of a node carries the IP family of some prefixes, which are not announced there.",
    AttributeConflict: "An older LoadBalancerAdvertisement gives the same prefix another local preference or prepend towards the same peer, and that counts.",
    MaxPrefixes: "More prefixes would be announced to the peer than its `maxPrefixes`. Those that it has stay; the others are held back.",
    WithdrawalHeld: "The configuration has changed so that much of what a router is told of would be withdrawn. That waits: undo the change, or agree to it with `clarion approve`. The message lists what would go.",
    ChangeTooLarge: "A change of a session waits: it needs one FRRConfiguration with everything that a node announces, and that would be more than etcd takes. Undo it, or set `suspend: true` until no FRRConfiguration has the session, which withdraws what is announced on it.",
    Draining: "The peer is being drained or is drained; or all that announce an address of the Service are being drained. The message says until when.",
    SessionConflict: "An older RouterPeer needs something else of the same session or router on a node.",
    ForeignConflict: "Something can't be merged with an FRRConfiguration of somebody else, which goes before; the message names that, the field and both values. It is left out on the nodes named, and comes back by itself when the two agree. Make them agree, set `adoptSession`, or suspend one of them.",
    ForeignFault: "FRRConfigurations of others have a fault, or can't be merged with each other. FRR-K8s leaves the nodes named as they are until somebody mends that, and so does Clarion.",
    NothingToAdopt: "`adoptSession` is set, and on some nodes no FRRConfiguration of others has a session with this router that could be adopted.",
    HostnameLabel: "A Node lacks the label `kubernetes.io/hostname`, or shares its value with another Node.",
    OtherNamespace: "FRR-K8s, or FRRConfigurations that Clarion wrote before, are in another namespace than the one that is written to.",
    Suspended: "The peer is suspended: its sessions carry nothing of Clarion's.",
    AllDrained: "`clarion drain-all` was asked for: nothing is announced, until `clarion drain-all --undo`.",
    FRRK8sNotInstalled: "The CRDs of FRR-K8s are not installed, so nothing can be announced. Clarion goes on when they appear.",
    FRRK8sVersion: "The CRD of FRRConfigurations is there, but not in the version that Clarion writes. The message names those that are.",
    WriteRefused: "The API server refused a write; the message quotes it. It is tried again.",
    Allocated: "The Service has every address that it asks for.",
    PartlyAllocated: "The Service has an address of one family; the other that it prefers is not available.",
    Retained: "The Service keeps an address that no pool holds any more.",
    Succession: "The pool of an address is succeeded by another: the Service gets an address of that beside its own, until `clarion release` gives the old one up.",
    Shared: "The Service shares the addresses that the message lists with others.",
    ReleaseOnRemoval: "The addresses that the message lists are taken from the Service when they leave their pool.",
    Released: "The address left its pool, which has `onRemoval: Release`, and was taken from the Service.",
    AddressConflict: "Another, older Service holds the address in this Service's status; this one gets another.",
    OtherController: "Somebody took away the Service's address as soon as Clarion had given it: another controller serves the Service too. Clarion leaves the Service alone and tries again after ten minutes. Give the Service a `loadBalancerClass`, or stop the other controller.",
    InvalidRequest: "An annotation or `spec.loadBalancerIP` of the Service can't be read; the message quotes it. The Service keeps what it has.",
    ConflictingRequest: "What the Service asks for contradicts itself; the message names both sides. The Service keeps what it has.",
    AddressNotAvailable: "The address that the Service or the reservation asks for can't be had now; the message says why. It is given as soon as it can be.",
    NoPool: "No pool can give the Service or the reservation an address; the message says why of each.",
    Undone: "Somebody changed an FRRConfiguration that Clarion wrote. That was undone: write an FRRConfiguration of your own, which FRR-K8s merges with it.",
    Reserved: "The reservation holds every address that it asks for.",
    NotServed: "The Service is not of type LoadBalancer, or of no class that Clarion serves, so Clarion leaves it alone and writes nothing to it. Make it anew with `loadBalancerClass: clarionlb.io/bgp`, or have Clarion serve Services without a class: with the label `clarionlb.io/class-less: adopt` on their namespace, or everywhere with `--class-less=adopt`.",
    Deleting: "The Service is being deleted: it gets nothing new.",
    NoAdvertisement: "No LoadBalancerAdvertisement fits the Service.",
    NotToBeAnnounced: "The Service's pools are not meant to be announced.",
    NoReadyEndpoints: "No endpoint of the Service is ready, so its addresses are not announced.",
    NoNode: "No node can announce the Service: none is selected by both an advertisement and a peer that carries the address's family.",
    HeldBack: "The peers have as many prefixes as `maxPrefixes` lets them, or the nodes that would announce the address can't be told apart.",
    NoAddress: "The Service has no address to announce.",
    Announced: "A node that announces the addresses runs them in FRR, and has an established session that carries them.",
    Unconfirmed: "The addresses are in FRRConfigurations; FRR-K8s has not reported yet that they are announced. It reports sessions within 2 min, and what FRR runs every 30 s.",
    NoSession: "No BGP session that carries the address is established; on a RouterPeer: some of its sessions are not. Ask the router, and on the node `vtysh -c 'show bgp neighbors'`.",
    Established: "All sessions with the peer are established.",
    NotAnnounced: "Some prefixes of the object that are to be announced are not; the message names the first of them, and the conditions of their Services say why.",
    NodeRefuses: "FRR-K8s does not take what it is given on the nodes named: the message has its own words. These nodes go on with what they had before.",
    SecretOnTrial: "The Secret with the session's password is new to the peer: one node uses it first, and the others follow in a few seconds if FRR-K8s has nothing to say against it.",
    PasswordSecret: "The Secret with the session's password is missing or FRR-K8s can't use it, so the session is left out where that was seen. It is tried again on one node after a minute, or as soon as the Secret or the peer changes.",
    Pending: "The address is about to be given or announced.",
}

/// What is told while everything is drained.
pub const ALL_DRAINED: &str =
    "`clarion drain-all` was asked for: nothing is announced until `clarion drain-all --undo`";

/// Something to tell about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The reason from the catalogue.
    pub reason: Reason,
    /// What exactly, in one sentence, with the offending text.
    pub message: String,
}

/// All findings of a plan, by the object that they are about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings(BTreeMap<ObjectRef, Vec<Finding>>);

impl Findings {
    /// The object, or what it asks for, is not in effect.
    pub fn error(&mut self, object: ObjectRef, reason: Reason, message: impl Into<String>) {
        self.add(object, Finding { severity: Severity::Error, reason, message: message.into() });
    }

    /// The object is in effect, but not quite as written.
    pub fn warning(&mut self, object: ObjectRef, reason: Reason, message: impl Into<String>) {
        self.add(object, Finding { severity: Severity::Warning, reason, message: message.into() });
    }

    fn add(&mut self, object: ObjectRef, finding: Finding) {
        let findings = self.0.entry(object).or_default();
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }

    /// Adds what was found elsewhere.
    pub fn append(&mut self, other: Self) {
        for (object, findings) in other.0 {
            findings.into_iter().for_each(|finding| self.add(object.clone(), finding));
        }
    }

    /// The findings about one object, the gravest first.
    #[must_use]
    pub fn of(&self, object: &ObjectRef) -> Vec<&Finding> {
        let mut findings: Vec<_> = self.0.get(object).into_iter().flatten().collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        findings
    }

    /// All findings with their objects.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectRef, &Finding)> {
        self.0.iter().flat_map(|(object, findings)| findings.iter().map(move |finding| (object, finding)))
    }
}

/// The first few of some nodes, and how many more there are.
pub fn list_of_nodes(names: &[impl AsRef<str>]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).map(AsRef::as_ref).join(", ");
    let word = if names.len() == 1 { "node" } else { "nodes" };
    match names.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        Some(more) => format!("{word} {shown} and {more} more"),
        None => format!("{word} {shown}"),
    }
}
