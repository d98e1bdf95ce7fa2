//! `clarion shadow`

mod compare;
mod passwords;
mod report;

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use clarion_api::names;
use clarion_core::{
    ServiceStatusWrite, World, Write,
    admit::{self, Named, NodeConfig, Password},
    plan, replay,
    world::{Condition, Configuration, Custom, Meta, Object, ObjectName, Service},
};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Secret;
use smol_str::ToSmolStr as _;

pub use self::report::Report;
use self::{
    compare::{What, differences},
    passwords::Passwords,
    report::{ByNodes, ComparedWith, Refused, ServiceRow},
};
use super::{
    cluster::{self, Source},
    import,
    manifests::{Manifest, Other},
    output::{self, Output},
};

/// Compare what MetalLB has FRR-K8s announce with what Clarion would, and write nothing
///
/// Looks at the cluster as it would be with Clarion in the place of MetalLB: with Clarion's pools, peers and advertisements if
/// there are any, else with those that `clarion import` makes of MetalLB's; what that can't carry over is said on standard
/// error. Tells for each node and peer which prefixes and which parameters of the session would change, where FRR-K8s could
/// not merge both while both are there, and which Services would get other addresses. Clarion may run already.
///
/// Services without a class are taken to be Clarion's, unless --class-less=ignore is given. BFD profiles and passwords are
/// compared by what they say. The exit status is 0 if nothing would change and nothing has to be done before, else 1.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Shadow {
    #[command(flatten)]
    source: Source,
    /// The namespace of MetalLB, to import from; in files, by default the one that all objects have, else metallb-system
    #[arg(short = 'n', long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    #[error(transparent)]
    Import(#[from] import::Error),
    #[error(transparent)]
    Unsettled(#[from] replay::Unsettled),
    #[error(transparent)]
    Output(#[from] output::Error),
    #[error(
        "there is no FRRConfiguration of MetalLB (metallb-NODE) in the namespace {0}: is MetalLB in its FRR-K8s mode, and do \
         its speakers run?"
    )]
    NoMetalLb(String),
    #[error(
        "the FRRConfigurations of MetalLB are in the namespace {0}, and Clarion would write to {1}: give it, and this \
         command, --frr-k8s-namespace={0}"
    )]
    Elsewhere(String, String),
}

/// Whether a cut-over would change anything.
pub enum Outcome {
    Same,
    Different,
}

impl Shadow {
    pub fn execute(self) -> Result<Outcome, Error> {
        let source = self.source.or_adopting();
        let (mut world, others) = source.world_and_others()?;
        let (others, foreign): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|other| import::is_of_interest(&other.manifest));
        foreign.iter().for_each(Other::pass_over);
        let namespace = find_metallb(&world)?;
        let mut passwords = Passwords::default();
        of_manifests(&others, &namespace).iter().for_each(|secret| passwords.add(secret));
        let imported = world.pools.is_empty() && world.peers.is_empty() && world.advertisements.is_empty();
        if imported {
            let imported = if source.is_offline() {
                import::of_manifests(others, self.namespace, namespace.clone())?
            } else {
                import::of_cluster(self.namespace, namespace.clone())?
            };
            imported.secrets.iter().for_each(|secret| passwords.add(secret));
            take(&mut world, imported);
        }
        let comparison = Comparison::new(world, namespace)?;
        if !source.is_offline() {
            passwords.read(&comparison.namespace, comparison.secrets())?;
        }
        let report = comparison.report(imported, &passwords);
        self.output.print(&report, Report::text)?;
        Ok(if report.is_same() { Outcome::Same } else { Outcome::Different })
    }
}

/// The Secrets of a namespace among the objects of manifests; those that can't be read are an import's to tell of.
fn of_manifests(others: &[Other], namespace: &str) -> Vec<Secret> {
    let is_there = |manifest: &&Manifest| {
        manifest.kind == "Secret" && manifest.metadata.get("namespace").is_some_and(|of| of == namespace)
    };
    let secrets = others.iter().map(|other| &other.manifest).filter(is_there);
    secrets.filter_map(|manifest| serde_json::from_value(serde_json::to_value(manifest).ok()?).ok()).collect()
}

/// Puts imported objects into the world, as if they were applied.
fn take(world: &mut World, imported: import::Imported) {
    fn object<Spec, Status>(
        name: Option<String>,
        labels: Option<BTreeMap<String, String>>,
        spec: Spec,
    ) -> Object<Custom<Spec, Status>> {
        let name = ObjectName::cluster(name.unwrap_or_default());
        let meta = Meta {
            uid: name.to_smolstr(),
            name,
            resource_version: "1".into(),
            labels: labels.unwrap_or_default(),
            ..Meta::default()
        };
        Object { meta, value: Custom { spec: Ok(spec), status: None } }
    }
    for alias in imported.aliases {
        world.communities.take(object(alias.metadata.name, alias.metadata.labels, alias.spec));
    }
    for pool in imported.pools {
        world.pools.take(object(pool.metadata.name, pool.metadata.labels, pool.spec));
    }
    for peer in imported.peers {
        world.peers.take(object(peer.metadata.name, peer.metadata.labels, peer.spec));
    }
    for advertisement in imported.advertisements {
        let meta = advertisement.metadata;
        world.advertisements.take(object(meta.name, meta.labels, advertisement.spec));
    }
}

/// Whether a speaker of MetalLB wrote this: `metallb-NODE`, for this node alone. Users may have names that begin so.
fn is_metallb(object: &Object<Configuration>) -> bool {
    let labels = object.value.spec().node_selector.as_ref().and_then(|selector| selector.match_labels.as_ref());
    let hostname = labels.and_then(|labels| labels.get(names::HOSTNAME_LABEL));
    hostname.is_some() && object.meta.name.name.strip_prefix("metallb-") == hostname.map(String::as_str)
}

/// The namespace of FRR-K8s, if MetalLB writes to it.
fn find_metallb(world: &World) -> Result<String, Error> {
    let found = world.configurations.iter().filter(|object| is_metallb(object));
    let namespaces: BTreeSet<&str> = found.map(|object| object.meta.name.namespace.as_str()).collect();
    let namespace = world.frr_k8s_namespace();
    if namespaces.contains(namespace) {
        return Ok(namespace.to_owned());
    }
    Err(match namespaces.first() {
        None => Error::NoMetalLb(namespace.to_owned()),
        Some(other) => Error::Elsewhere((*other).to_owned(), namespace.to_owned()),
    })
}

type Merged = Result<NodeConfig, String>;

/// A node for which MetalLB or Clarion has something.
struct Node {
    name: String,
    metallb: Merged,
    clarion: Merged,
    together: Option<String>,
}

/// The cluster as it is, and as it would be.
struct Comparison {
    namespace: String,
    world: World,
    /// What Clarion would say at first of the addresses of Services. Later it tells only what they are.
    first: BTreeMap<ObjectName, String>,
    then: World,
    nodes: Vec<Node>,
}

impl Comparison {
    fn new(world: World, namespace: String) -> Result<Self, Error> {
        let mut then = world.clone();
        // Without MetalLB's objects it might not be found.
        then.settings.frr_k8s_namespace = Some(namespace.clone());
        let theirs: Vec<_> = then.configurations.iter().filter(|object| is_metallb(object)).cloned().collect();
        for object in theirs {
            then.configurations.forget(&object.meta.name, &object.meta.uid);
        }
        let first = plan(&then).writes.into_iter().filter_map(|write| match write {
            Write::ServiceStatus(write) => Some((write.name.clone(), reason(&write)?)),
            Write::Configuration(_) | Write::ObjectStatus(_) => None,
        });
        let first = first.collect();
        replay::settle(&mut then)?;
        let nodes = nodes(&world, &then, &namespace);
        Ok(Self { namespace, world, first, then, nodes })
    }

    /// The Secrets of passwords that have to be known.
    fn secrets(&self) -> BTreeSet<String> {
        let passwords = |merged: &Merged| -> BTreeMap<(String, String), Password> {
            let routers = merged.iter().flat_map(|node| &node.routers);
            let sessions = routers.flat_map(|(vrf, router)| router.neighbors.iter().map(move |each| (vrf, each)));
            sessions.map(|(vrf, (key, n))| ((vrf.clone(), key.clone()), n.parameters.password.clone())).collect()
        };
        let mut names = BTreeSet::new();
        for node in &self.nodes {
            let (metallb, clarion) = (passwords(&node.metallb), passwords(&node.clarion));
            let pairs = metallb.iter().filter_map(|(key, password)| Some((password, clarion.get(key)?)));
            let both = pairs.filter(|(one, other)| one != other).flat_map(|(one, other)| [one, other]);
            names.extend(both.filter_map(|password| match password {
                Password::Secret(name) => Some(name.clone()),
                Password::None | Password::Clear(_) => None,
            }));
        }
        names
    }

    fn report(&self, imported: bool, passwords: &Passwords) -> Report {
        let (pools, peers, advertisements) =
            (self.world.pools.len(), self.world.peers.len(), self.world.advertisements.len());
        let mut report =
            Report { compared_with: ComparedWith { imported, pools, peers, advertisements }, ..Report::default() };
        let (mut found, mut refused) = (ByNodes::new(), ByNodes::new());
        let mut one_sided = BTreeSet::new();
        for node in &self.nodes {
            report.nodes.insert(node.name.clone());
            let mut refuse = |which: Refused, why: &String| {
                // Each node has one of its own.
                let why = why.replace(&format!("metallb-{}", node.name), "metallb-NODE");
                let nodes: &mut BTreeSet<String> = refused.entry((which, why)).or_default();
                nodes.insert(node.name.clone());
            };
            match (&node.metallb, &node.clarion) {
                (Ok(metallb), Ok(clarion)) => {
                    for difference in differences(metallb, clarion, passwords) {
                        if let What::Prefix(prefix) = difference.what
                            && difference.metallb.is_empty() != difference.clarion.is_empty()
                        {
                            one_sided.insert(prefix);
                        }
                        let nodes: &mut BTreeSet<String> = found.entry(difference).or_default();
                        nodes.insert(node.name.clone());
                    }
                    node.together.iter().for_each(|why| refuse(Refused::Together, why));
                }
                (metallb, clarion) => {
                    metallb.as_ref().err().into_iter().for_each(|why| refuse(Refused::Metallb, why));
                    clarion.as_ref().err().into_iter().for_each(|why| refuse(Refused::Clarion, why));
                }
            }
        }
        report.set_differences(found);
        report.set_refusals(refused);
        report.services = services(&self.world, &self.then, &self.first, &one_sided);
        report
    }
}

/// What comes of all FRRConfigurations for each node: without Clarion's, without MetalLB's, and of all of them.
fn nodes(world: &World, then: &World, namespace: &str) -> Vec<Node> {
    let here = |object: &&Object<Configuration>| object.meta.name.namespace == namespace;
    let now: Vec<_> = world.configurations.iter().filter(here).filter(|object| !object.value.ours).collect();
    let clarion: Vec<_> = then.configurations.iter().filter(here).collect();
    let ours = || clarion.iter().copied().filter(|object| object.value.ours);
    // Users' and MetalLB's first: where ours is at odds with one of them, ours is at fault.
    let together: Vec<_> = now.iter().copied().chain(ours()).collect();
    let mut nodes = Vec::new();
    for node in world.nodes.iter() {
        let labels = &node.meta.labels;
        let is_selected = |object: &Object<Configuration>| admit::selects(object.value.spec(), labels) == Ok(true);
        let mut concerned = now.iter().copied().filter(|object| is_metallb(object)).chain(ours());
        if !concerned.any(is_selected) {
            continue;
        }
        let (metallb, clarion, together) = (merge(&now, labels), merge(&clarion, labels), merge(&together, labels));
        nodes.push(Node { name: node.meta.name.name.to_string(), metallb, clarion, together: together.err() });
    }
    nodes
}

/// What the daemon of a node with these labels makes of FRRConfigurations.
fn merge(objects: &[&Object<Configuration>], labels: &BTreeMap<String, String>) -> Merged {
    let mut selected = Vec::new();
    for object in objects {
        match admit::selects(object.value.spec(), labels) {
            Ok(false) => {}
            Ok(true) => selected.push(Named { name: &object.meta.name, spec: object.value.spec() }),
            Err(error) => return Err(format!("FRRConfiguration {}: nodeSelector: {error}", object.meta.name)),
        }
    }
    admit::merge(selected).map_err(|refusal| refusal.to_string())
}

/// The Services that would have other addresses than now, or have one that is announced by one of both alone for a reason.
fn services(
    world: &World,
    then: &World,
    first: &BTreeMap<ObjectName, String>,
    one_sided: &BTreeSet<IpNet>,
) -> Vec<ServiceRow> {
    let mut rows = Vec::new();
    let texts = |service: &Service| service.addresses.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    for service in then.services.iter().filter(|service| service.value.is_load_balancer) {
        let name = &service.meta.name;
        let Some(before) = world.services.get(name) else { continue };
        let (now, clarion) = (texts(&before.value), texts(&service.value));
        let is_one_sided = service.value.addresses.iter().any(|address| one_sided.contains(&IpNet::from(*address)));
        let why = if now == clarion {
            let not_served = then.not_served(service).map(|(_, why)| why);
            not_served.or_else(|| fault(&service.value.conditions)).filter(|_| is_one_sided)
        } else {
            Some(first.get(name).cloned().unwrap_or_default())
        };
        rows.extend(why.map(|why| ServiceRow { service: name.to_string(), now, clarion, why }));
    }
    rows
}

/// Why a Service loses an address, or else how it comes by those that it gets.
fn reason(write: &ServiceStatusWrite) -> Option<String> {
    let event = write.event.as_ref().map(|event| format!("{}: {}", event.reason.name(), event.message));
    let allocated = || write.conditions.iter().find(|condition| condition.type_ == names::ADDRESS_ALLOCATED);
    event.or_else(|| allocated().map(told))
}

fn fault(conditions: &[Condition]) -> Option<String> {
    conditions.iter().find(|condition| condition.status == "False").map(told)
}

fn told(condition: &Condition) -> String {
    format!("{}: {}", condition.reason, condition.message)
}
