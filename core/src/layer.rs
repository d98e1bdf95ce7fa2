//! What an FRRConfiguration of ours means, apart from how it is written.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::IpAddr,
    sync::Arc,
};

use clarion_api::{
    LabelSelector, LabelSelectorRequirement,
    frr::{
        self, Advertise, AllowedOut, AsPathPrependPrefixes, BfdProfile, Bgp, CommunityPrefixes, FrrConfigurationSpec,
        LocalPrefPrefixes, MODE_ALL, Neighbor, NextHop,
    },
    names,
};
use ipnet::IpNet;
use itertools::Itertools as _;

use crate::address_set::Family;

/// What one object says, and to which nodes. Objects that differ in one of the two share the other, so that what is looked at
/// once need not be looked at again.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    /// Values of the label `kubernetes.io/hostname`.
    pub hosts: Arc<BTreeSet<String>>,
    /// What is said.
    pub content: Arc<Content>,
}

impl PartialEq for Layer {
    fn eq(&self, other: &Self) -> bool {
        let same_content = Arc::ptr_eq(&self.content, &other.content) || self.content == other.content;
        self.hosts == other.hosts && same_content
    }
}

/// Routers, sessions and routes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    /// By VRF; the empty name is the default one.
    pub routers: BTreeMap<String, Router>,
    /// By name.
    pub bfd_profiles: BTreeMap<String, BfdProfile>,
}

/// The BGP router of a VRF.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Router {
    /// The AS number.
    pub asn: i64,
    /// The BGP identifier.
    pub id: Option<String>,
    /// By address or interface.
    pub sessions: BTreeMap<String, Session>,
}

/// Routes for advertisement to a peer (RFC 4271 §1.1), by prefix. Those with the same attributes share them: there are few of
/// these, and many routes.
pub type AdjRibOut = BTreeMap<IpNet, Arc<Attributes>>;

/// A BGP session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// The fields that FRR-K8s compares between objects, as they are written.
    pub neighbor: Neighbor,
    /// The BFD profile.
    pub bfd_profile: Option<String>,
    /// Next hops.
    pub next_hop: Option<NextHop>,
    /// What is announced.
    pub routes: AdjRibOut,
}

/// Path attributes of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attributes {
    /// LOCAL_PREF.
    pub local_pref: Option<i64>,
    /// How often the AS path is prepended.
    pub as_path_prepend: Option<i32>,
    /// COMMUNITIES and LARGE_COMMUNITIES, as FRR-K8s writes them.
    pub communities: BTreeSet<String>,
}

impl Router {
    /// A router without sessions.
    #[must_use]
    pub fn new(asn: i64) -> Self {
        Self { asn, ..Self::default() }
    }
}

/// GRACEFUL_SHUTDOWN (RFC 8326).
const GRACEFUL_SHUTDOWN: &str = "65535:0";

impl Attributes {
    /// The same for a route that is about to be withdrawn: GRACEFUL_SHUTDOWN and the least local preference, as RFC 8326 §4.1
    /// wants it.
    #[must_use]
    pub fn draining(mut self) -> Self {
        self.local_pref = Some(0);
        self.communities.insert(GRACEFUL_SHUTDOWN.to_owned());
        self
    }
}

impl Attributes {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::from(self.local_pref.is_some()) + usize::from(self.as_path_prepend.is_some()) + self.communities.len()
    }

    /// The same without what [`Attributes::draining`] adds. What local preference there was before is not known any more.
    #[must_use]
    pub fn lasting(mut self) -> Self {
        if self.is_draining() {
            self.communities.remove(GRACEFUL_SHUTDOWN);
            self.local_pref = None;
        }
        self
    }

    /// Whether this is what [`Attributes::draining`] makes.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.local_pref == Some(0) && self.communities.contains(GRACEFUL_SHUTDOWN)
    }
}

impl Session {
    /// A session without routes.
    #[must_use]
    pub fn new(neighbor: Neighbor) -> Self {
        Self { neighbor, ..Self::default() }
    }

    /// The key by which FRR-K8s merges sessions of a VRF.
    #[must_use]
    pub fn key(&self) -> String {
        key(&self.neighbor)
    }
}

impl Content {
    /// The session with this key.
    #[must_use]
    pub fn session(&self, vrf: &str, key: &str) -> Option<&Session> {
        self.routers.get(vrf)?.sessions.get(key)
    }

    /// The session with this key, to change it.
    pub fn session_mut(&mut self, vrf: &str, key: &str) -> Option<&mut Session> {
        self.routers.get_mut(vrf)?.sessions.get_mut(key)
    }

    /// Whether the prefix is announced on this session.
    #[must_use]
    pub fn announces(&self, vrf: &str, key: &str, prefix: &IpNet) -> bool {
        self.session(vrf, key).is_some_and(|session| session.routes.contains_key(prefix))
    }

    /// Adds routes to a session, which is made where there is none, with its router.
    pub fn add(&mut self, vrf: &str, asn: i64, neighbor: &Neighbor, routes: AdjRibOut) {
        let router = self.routers.entry(vrf.to_owned()).or_insert_with(|| Router::new(asn));
        let session = Session::new(neighbor.clone());
        router.sessions.entry(session.key()).or_insert(session).routes.extend(routes);
    }

    /// The sessions: VRF, and address or interface.
    pub fn sessions(&self) -> impl Iterator<Item = (&str, &str, &Session)> {
        let routers = self.routers.iter();
        routers.flat_map(|(vrf, router)| router.sessions.iter().map(move |(key, s)| (vrf.as_str(), key.as_str(), s)))
    }

    /// Whether the same sessions announce the same.
    #[must_use]
    pub fn has_same_routes(&self, other: &Self) -> bool {
        let mut both = self.sessions().zip_longest(other.sessions());
        both.all(|pair| {
            pair.both().is_some_and(|(one, two)| (one.0, one.1, &one.2.routes) == (two.0, two.1, &two.2.routes))
        })
    }

    /// Whether everything that the other announces is announced here, with whatever attributes.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let mut sessions =
            other.routers.iter().flat_map(|(vrf, r)| r.sessions.iter().map(move |(key, s)| (vrf, key, s)));
        sessions.all(|(vrf, key, theirs)| {
            let ours = self.session(vrf, key);
            ours.is_some_and(|ours| theirs.routes.keys().all(|prefix| ours.routes.contains_key(prefix)))
        })
    }

    /// What is announced to whom, in words.
    #[must_use]
    pub fn summary(&self) -> String {
        let prefixes = self.prefixes().collect::<BTreeSet<_>>().len();
        let sessions: Vec<_> = self.routers.values().flat_map(|r| r.sessions.keys().map(String::as_str)).collect();
        let plural = if prefixes == 1 { "" } else { "es" };
        format!("Announces {prefixes} prefix{plural} to {}", sessions.join(", "))
    }

    /// Every prefix that is announced to anybody.
    pub fn prefixes(&self) -> impl Iterator<Item = IpNet> {
        self.routers.values().flat_map(|r| r.sessions.values()).flat_map(|s| s.routes.keys().copied())
    }

    /// The addresses that are announced to anybody by themselves, as a /32 or /128.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.prefixes().filter(|prefix| prefix.prefix_len() == prefix.max_prefix_len()).map(|prefix| prefix.addr())
    }

    /// Leaves these sessions alone, told by VRF and key, with their routers. Each may be changed.
    pub fn retain_sessions(&mut self, mut keep: impl FnMut(&str, &str, &mut Session) -> bool) {
        for (vrf, router) in &mut self.routers {
            router.sessions.retain(|key, session| keep(vrf, key, session));
        }
        self.routers.retain(|_, router| !router.sessions.is_empty());
    }

    /// Leaves routes to these prefixes alone.
    pub fn retain_routes(&mut self, keep: impl Fn(&IpNet) -> bool) {
        for session in self.routers.values_mut().flat_map(|router| router.sessions.values_mut()) {
            session.routes.retain(|prefix, _| keep(prefix));
        }
    }
}

impl Layer {
    /// Says this to these hosts.
    #[must_use]
    pub fn new(hosts: BTreeSet<String>, content: Content) -> Self {
        Self { hosts: Arc::new(hosts), content: Arc::new(content) }
    }

    /// Of layers that say the same the first, told by where that stands.
    pub fn distinct<'l>(layers: impl Iterator<Item = &'l Self>) -> impl Iterator<Item = &'l Self> {
        let mut seen = HashSet::new();
        layers.filter(move |layer| seen.insert(Arc::as_ptr(&layer.content)))
    }

    /// Reads a spec. What Clarion never writes is passed over.
    #[must_use]
    pub fn of(spec: &FrrConfigurationSpec) -> Self {
        let hosts = spec.node_selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten());
        let hosts = hosts.filter(|e| e.key == names::HOSTNAME_LABEL).flat_map(|e| e.values.iter().flatten());
        let mut content = Content::default();
        for router in spec.bgp.iter().flat_map(|bgp| &bgp.routers) {
            let vrf = router.vrf.clone().unwrap_or_default();
            let sessions = router.neighbors.iter().map(|neighbor| session(neighbor, &router.prefixes));
            let sessions = sessions.map(|session| (session.key(), session)).collect();
            content.routers.insert(vrf, Router { asn: router.asn, id: router.id.clone(), sessions });
        }
        let used: BTreeSet<&String> =
            content.routers.values().flat_map(|r| r.sessions.values()).filter_map(|s| s.bfd_profile.as_ref()).collect();
        let profiles = spec.bgp.iter().flat_map(|bgp| &bgp.bfd_profiles);
        for profile in profiles.filter(|profile| used.contains(&profile.name)) {
            content.bfd_profiles.insert(profile.name.clone(), profile.clone());
        }
        Self::new(hosts.cloned().collect(), content)
    }

    /// The spec, in sorted lists. It must have hosts: a selector without values breaks every node (frr-k8s
    /// `configsForNode`).
    #[must_use]
    pub fn spec(&self) -> FrrConfigurationSpec {
        let routers = self.content.routers.iter().map(|(vrf, router)| {
            let prefixes: BTreeSet<IpNet> =
                router.sessions.values().flat_map(|session| session.routes.keys().copied()).collect();
            frr::Router {
                asn: router.asn,
                id: router.id.clone(),
                vrf: Some(vrf.clone()).filter(|vrf| !vrf.is_empty()),
                neighbors: router.sessions.values().map(|session| neighbor(session, &prefixes)).collect(),
                prefixes: prefixes.iter().map(ToString::to_string).collect(),
                ..frr::Router::default()
            }
        });
        FrrConfigurationSpec {
            bgp: Some(Bgp {
                routers: routers.collect(),
                bfd_profiles: self.content.bfd_profiles.values().cloned().collect(),
                ..Bgp::default()
            }),
            node_selector: Some(LabelSelector {
                match_expressions: Some(vec![LabelSelectorRequirement {
                    key: names::HOSTNAME_LABEL.to_owned(),
                    operator: "In".to_owned(),
                    values: Some(self.hosts.iter().cloned().collect()),
                }]),
                match_labels: None,
            }),
            ..FrrConfigurationSpec::default()
        }
    }

    /// The same without the routes that can't be at odds with those of another object: of local preference and prepend alone
    /// there can be one.
    #[must_use]
    pub fn disputable(&self) -> Self {
        self.with_routes(|route| route.local_pref.is_some() || route.as_path_prepend.is_some())
    }

    /// The same sessions, with nothing to announce.
    #[must_use]
    pub fn without_routes(&self) -> Self {
        self.with_routes(|_| false)
    }

    /// The same sessions, with the routes that have such attributes.
    fn with_routes(&self, keep: impl Fn(&Attributes) -> bool) -> Self {
        let session = |session: &Session| {
            let routes = session.routes.iter().filter(|(_, route)| keep(route));
            Session {
                neighbor: session.neighbor.clone(),
                bfd_profile: session.bfd_profile.clone(),
                next_hop: session.next_hop.clone(),
                routes: routes.map(|(prefix, route)| (*prefix, Arc::clone(route))).collect(),
            }
        };
        let routers = self.content.routers.iter().map(|(vrf, router)| {
            let sessions = router.sessions.iter().map(|(key, there)| (key.clone(), session(there))).collect();
            (vrf.clone(), Router { asn: router.asn, id: router.id.clone(), sessions })
        });
        let content = Content { routers: routers.collect(), bfd_profiles: self.content.bfd_profiles.clone() };
        Self { hosts: Arc::clone(&self.hosts), content: Arc::new(content) }
    }

    /// What the object is for, in words: this is what its content says, from so many nodes.
    #[must_use]
    pub fn summary(&self, content: &str) -> String {
        let nodes = self.hosts.len();
        format!("{content} from {nodes} node{}.", if nodes == 1 { "" } else { "s" })
    }
}

/// The key by which FRR-K8s merges neighbors of a VRF: the text of the address, or the interface.
#[must_use]
pub fn key(neighbor: &Neighbor) -> String {
    neighbor.address.clone().or_else(|| neighbor.interface.clone()).unwrap_or_default()
}

/// The families that a session carries. Unnumbered sessions carry both (frr-k8s `addressFamilyForNeighbor`).
#[must_use]
pub fn carries(neighbor: &Neighbor, family: Family) -> bool {
    let address = neighbor.address.as_deref().and_then(|address| address.parse().ok());
    neighbor.dual_stack_address_family == Some(true) || address.is_none_or(|address| Family::of(address) == family)
}

/// The prefixes of the router that a session can carry.
fn carried<'a>(prefixes: &'a BTreeSet<IpNet>, neighbor: &'a Neighbor) -> impl Iterator<Item = &'a IpNet> {
    prefixes.iter().filter(|prefix| carries(neighbor, Family::of(prefix.addr())))
}

fn neighbor(session: &Session, prefixes: &BTreeSet<IpNet>) -> Neighbor {
    let mut by_local_pref: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    let mut by_prepend: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    let mut by_community: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (prefix, attributes) in &session.routes {
        if let Some(local_pref) = attributes.local_pref {
            by_local_pref.entry(local_pref).or_default().push(prefix.to_string());
        }
        if let Some(prepend) = attributes.as_path_prepend {
            by_prepend.entry(prepend).or_default().push(prefix.to_string());
        }
        for community in &attributes.communities {
            by_community.entry(community).or_default().push(prefix.to_string());
        }
    }
    // Shorter to write and cheaper to check, with the same meaning where every prefix of the object is for this session.
    let all = carried(prefixes, &session.neighbor).eq(session.routes.keys()) && !session.routes.is_empty();
    let allowed = if all {
        AllowedOut { mode: Some(MODE_ALL.to_owned()), ..AllowedOut::default() }
    } else {
        AllowedOut { prefixes: session.routes.keys().map(ToString::to_string).collect(), ..AllowedOut::default() }
    };
    let advertise = Advertise {
        allowed: Some(allowed).filter(|_| !session.routes.is_empty()),
        next_hop: session.next_hop.clone(),
        with_local_pref: by_local_pref
            .into_iter()
            .map(|(local_pref, prefixes)| LocalPrefPrefixes {
                prefixes,
                local_pref: Some(local_pref),
                ..LocalPrefPrefixes::default()
            })
            .collect(),
        with_community: by_community
            .into_iter()
            .map(|(community, prefixes)| CommunityPrefixes {
                prefixes,
                community: Some(community.to_owned()),
                ..CommunityPrefixes::default()
            })
            .collect(),
        with_as_path_prepend: by_prepend
            .into_iter()
            .map(|(as_path_prepend, prefixes)| AsPathPrependPrefixes {
                as_path_prepend,
                prefixes,
                ..AsPathPrependPrefixes::default()
            })
            .collect(),
        ..Advertise::default()
    };
    Neighbor {
        bfd_profile: session.bfd_profile.clone(),
        to_advertise: Some(advertise).filter(|advertise| *advertise != Advertise::default()),
        ..session.neighbor.clone()
    }
}

fn session(neighbor: &Neighbor, prefixes: &[String]) -> Session {
    let mut compared = neighbor.clone();
    let advertise = compared.to_advertise.take().unwrap_or_default();
    let bfd_profile = compared.bfd_profile.take();
    // Never written by us, or written by the server's defaulting only.
    (compared.to_receive, compared.allow_as_in) = (None, None);
    (compared.disable_mp, compared.address_families) = (None, None);
    compared.dual_stack_address_family = compared.dual_stack_address_family.filter(|dual| *dual);
    let allowed = advertise.allowed.unwrap_or_default();
    let listed = if allowed.mode.as_deref() == Some(MODE_ALL) { prefixes } else { &allowed.prefixes };
    let listed: BTreeSet<IpNet> = listed.iter().filter_map(|prefix| prefix.parse().ok()).collect();
    let mut routes: BTreeMap<IpNet, Attributes> =
        carried(&listed, &compared).map(|prefix| (*prefix, Attributes::default())).collect();
    for entry in &advertise.with_local_pref {
        for prefix in entry.prefixes.iter().filter_map(|prefix| prefix.parse().ok()) {
            if let Some(route) = routes.get_mut(&prefix) {
                route.local_pref = entry.local_pref;
            }
        }
    }
    for entry in &advertise.with_as_path_prepend {
        for prefix in entry.prefixes.iter().filter_map(|prefix| prefix.parse().ok()) {
            if let Some(route) = routes.get_mut(&prefix) {
                route.as_path_prepend = Some(entry.as_path_prepend);
            }
        }
    }
    for entry in &advertise.with_community {
        for prefix in entry.prefixes.iter().filter_map(|prefix| prefix.parse().ok()) {
            if let Some(route) = routes.get_mut(&prefix) {
                route.communities.extend(entry.community.clone());
            }
        }
    }
    Session { neighbor: compared, bfd_profile, next_hop: advertise.next_hop, routes: with_shared_attributes(routes) }
}

fn with_shared_attributes(routes: BTreeMap<IpNet, Attributes>) -> AdjRibOut {
    let mut known: BTreeSet<Arc<Attributes>> = BTreeSet::new();
    let mut share = |attributes: Attributes| match known.get(&attributes) {
        Some(known) => Arc::clone(known),
        None => {
            let first = Arc::new(attributes);
            known.insert(Arc::clone(&first));
            first
        }
    };
    routes.into_iter().map(|(prefix, attributes)| (prefix, share(attributes))).collect()
}
