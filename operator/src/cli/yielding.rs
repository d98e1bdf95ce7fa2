//! `clarion yield`

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use clap::Args;
use clarion_api::{RouterPeer, RouterPeerSpec, names};
use clarion_core::{
    World,
    replay::{self, Unsettled},
    world::{Collection, Configuration, Object, ObjectName},
};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::{
    cluster, duration, frr,
    neighbor::{self, Neighbor},
    output::{count, few, table},
    program,
    view::{self, View},
};
use crate::watch::{Peer, Watched};

/// Let go of a peer's sessions, so that FRRConfigurations of others with the same neighbor can be changed
///
/// FRR-K8s refuses a change to a neighbor's parameters while FRRConfigurations of Clarion hold the old ones. This sets
/// spec.suspend of the RouterPeer, upon which nothing of Clarion's is announced to it, and waits until no FRRConfiguration of
/// Clarion's has the neighbor any more. --resume takes it back.
#[derive(Debug, Args)]
pub struct Yield {
    /// The RouterPeer
    #[arg(value_name = "PEER")]
    peer: String,
    /// Take the sessions up again
    #[arg(long)]
    resume: bool,
    /// Write nothing; print which FRRConfigurations have the neighbor
    #[arg(long)]
    dry_run: bool,
    /// How long to wait at most, in seconds (`30s`) or minutes
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration::timeout)]
    timeout: Duration,
    #[command(flatten)]
    view: View,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    View(#[from] view::Error),
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    #[error(transparent)]
    Unsettled(#[from] Unsettled),
    #[error("there is no RouterPeer {0:?}")]
    NoPeer(String),
    #[error("RouterPeer {0} can't be read: {1}; correct it first")]
    Unreadable(String, String),
    #[error("RouterPeer {0} can't be changed: {1}")]
    Write(String, kube::Error),
    #[error("the FRRConfigurations of Clarion can't be listed: {0}")]
    List(kube::Error),
    #[error(
        "RouterPeer {0} is suspended, but FRRConfigurations of Clarion still have its neighbor: {1}. Does the operator run? \
         `kubectl get lbpeer {0} -o wide` tells what it says"
    )]
    Slow(String, String),
    #[error("RouterPeer {1} has the same neighbor and would take the session over from {0}: yield {1} first")]
    Taken(String, String),
}

/// The field manager under which RouterPeers are changed.
const FIELD_MANAGER: &str = "clarion-yield";
/// The time between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// An FRRConfiguration of Clarion's that has the neighbor.
#[derive(Serialize, JsonSchema)]
pub struct Row {
    /// `NAMESPACE/NAME`.
    name: String,
    /// The neighbors of the peer that it has.
    neighbors: Vec<String>,
    /// How many prefixes it offers to them.
    routes: usize,
    /// How many nodes it selects.
    nodes: usize,
}

impl Yield {
    pub fn execute(self) -> Result<(), Error> {
        if !self.dry_run {
            self.view.must_be_a_cluster()?;
        }
        let prospect = self.view.prospect()?;
        let world = prospect.in_effect();
        let name = ObjectName::cluster(&self.peer);
        let object = world.peers.get(&name).ok_or_else(|| Error::NoPeer(self.peer.clone()))?;
        let spec = object.value.spec.as_ref();
        let spec = spec.map_err(|error| Error::Unreadable(self.peer.clone(), error.clone()))?;
        let wanted = sessions(world, spec);
        if !self.resume {
            self.must_end(world, object, &wanted)?;
        }
        if self.dry_run {
            let rows = rows(world, &wanted);
            return Ok(self.view.print(&rows, |rows| {
                let cells = rows.iter().map(|row| {
                    let [routes, nodes] = [row.routes, row.nodes].map(|number| number.to_string());
                    [row.name.clone(), row.neighbors.join(","), routes, nodes]
                });
                table(["FRRCONFIGURATION", "NEIGHBOR", "ROUTES", "NODES"], cells)
            })?);
        }
        cluster::block_on(self.change(spec, &wanted))?
    }

    /// Fails if another RouterPeer holds the neighbor as soon as this one is suspended.
    fn must_end(&self, world: &World, object: &Object<Peer>, wanted: &Wanted) -> Result<(), Error> {
        let mut without = world.clone();
        let mut suspended = object.clone();
        if let Ok(spec) = &mut suspended.value.spec {
            spec.suspend = true;
        }
        without.peers = without.peers.iter().cloned().chain([suspended]).collect::<Collection<Peer>>();
        replay::settle(&mut without)?;
        if rows(&without, wanted).is_empty() {
            return Ok(());
        }
        let heir = without.peers.iter().filter(|other| other.meta.name != object.meta.name).find(|other| {
            let Ok(spec) = &other.value.spec else { return false };
            !spec.suspend && !sessions(&without, spec).is_disjoint(wanted)
        });
        match heir {
            Some(heir) => Err(Error::Taken(self.peer.clone(), heir.meta.name.name.to_string())),
            None => Ok(()),
        }
    }

    async fn change(&self, spec: &RouterPeerSpec, wanted: &Wanted) -> Result<(), Error> {
        let (client, peer) = (cluster::client().await?, &self.peer);
        if spec.suspend == self.resume {
            let api: Api<RouterPeer> = Api::all(client.clone());
            let suspend = if self.resume { json!(null) } else { json!(true) };
            let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            let patch = Patch::Merge(json!({"spec": {"suspend": suspend}}));
            api.patch(peer, &parameters, &patch).await.map_err(|error| Error::Write(peer.clone(), error))?;
        }
        if self.resume {
            println!(
                "RouterPeer {peer} is resumed: Clarion takes its sessions up again. {} explain peer {peer}",
                program::name()
            );
            return Ok(());
        }
        self.wait(&client, wanted).await?;
        println!(
            "RouterPeer {peer} is suspended, and no FRRConfiguration of Clarion has its neighbor any more.\n\
             Change the FRRConfigurations of others now, then: {} yield {peer} --resume",
            program::name()
        );
        Ok(())
    }

    /// Waits until none of our FRRConfigurations has the neighbor.
    async fn wait(&self, client: &Client, wanted: &Wanted) -> Result<(), Error> {
        let end = Instant::now() + self.timeout;
        let mut told = None;
        loop {
            let rows = rows(&ours(client).await?, wanted);
            if rows.is_empty() {
                return Ok(());
            }
            let names = few(rows.iter().map(|row| row.name.as_str()));
            if told != Some(rows.len()) {
                told = Some(rows.len());
                let number = count(rows.len(), "FRRConfiguration of Clarion has", "FRRConfigurations of Clarion have");
                program::tell(format!("{number} its neighbor still: {names}"));
            }
            if Instant::now() >= end {
                return Err(Error::Slow(self.peer.clone(), names));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// A world with nothing in it but the FRRConfigurations of Clarion.
async fn ours(client: &Client) -> Result<World, Error> {
    let api = Api::<<Configuration as Watched>::Source>::all(client.clone());
    let list = api.list(&ListParams::default().labels(&names::managed_by_clarion())).await.map_err(Error::List)?;
    Ok(World { configurations: list.items.into_iter().map(Configuration::project).collect(), ..World::default() })
}

/// Sessions: the label by which FRRConfigurations select the node, and the neighbor.
type Wanted = BTreeSet<(String, Neighbor)>;

/// The sessions that a RouterPeer is for.
fn sessions(world: &World, spec: &RouterPeerSpec) -> Wanted {
    let nodes = neighbor::of_peer(world, spec).into_iter();
    nodes
        .filter_map(|(node, neighbor)| Some((node.meta.labels.get(names::HOSTNAME_LABEL)?.clone(), neighbor)))
        .collect()
}

/// The FRRConfigurations of Clarion that bring about one of these sessions.
fn rows(world: &World, wanted: &Wanted) -> Vec<Row> {
    let ours = world.configurations.iter().filter(|object| object.value.ours);
    let hosts = |object: &Object<Configuration>, neighbor: &Neighbor| -> BTreeSet<String> {
        let hosts = object.value.layer.hosts.iter();
        hosts.filter(|host| wanted.contains(&((*host).clone(), neighbor.clone()))).cloned().collect()
    };
    let rows = ours.filter_map(|object| {
        let found: Vec<_> =
            frr::neighbors(object).into_iter().filter(|(neighbor, _)| !hosts(object, neighbor).is_empty()).collect();
        (!found.is_empty()).then(|| Row {
            name: object.meta.name.to_string(),
            neighbors: found.iter().map(|(neighbor, _)| neighbor.to_string()).collect(),
            routes: found.iter().map(|(_, routes)| routes).sum(),
            nodes: found.iter().flat_map(|(neighbor, _)| hosts(object, neighbor)).collect::<BTreeSet<_>>().len(),
        })
    });
    rows.collect()
}
