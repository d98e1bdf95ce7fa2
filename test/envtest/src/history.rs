//! What becomes of the FRRConfigurations of a cluster, write by write.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use clarion_api::frr::FRRConfiguration;
use clarion_core::{
    admit::{self, Named, NodeConfig},
    world::ObjectName,
};
use futures::{StreamExt as _, TryStreamExt as _};
use ipnet::IpNet;
use kube::{
    Api, ResourceExt as _,
    runtime::watcher::{self, Event, watcher},
};

use crate::{ControlPlane, Error};

/// All FRRConfigurations at one moment, by name.
pub type Moment = BTreeMap<String, FRRConfiguration>;

/// Every state that the FRRConfigurations of a cluster have gone through, one for each write.
#[derive(Clone, Debug, Default)]
pub struct History {
    moments: Arc<Mutex<Vec<Moment>>>,
}

impl History {
    /// Begins to watch.
    ///
    /// # Errors
    /// If what there is can't be listed.
    pub async fn of(control_plane: &ControlPlane) -> Result<Self, Error> {
        let this = Self::default();
        let api = Api::<FRRConfiguration>::all(control_plane.client());
        let there = api.list(&Default::default()).await?;
        this.add(there.items.into_iter().map(|object| (object.name_any(), object)).collect());
        let (history, mut now) = (this.clone(), this.latest());
        tokio::spawn(async move {
            let mut events = watcher(api, watcher::Config::default()).boxed();
            // A watch that ends shows in the tests as a history that goes no further.
            while let Ok(Some(event)) = events.try_next().await {
                match event {
                    Event::Init => now.clear(),
                    Event::InitApply(object) => drop(now.insert(object.name_any(), object)),
                    Event::InitDone => history.add(now.clone()),
                    Event::Apply(object) => {
                        now.insert(object.name_any(), object);
                        history.add(now.clone());
                    }
                    Event::Delete(object) => {
                        now.remove(&object.name_any());
                        history.add(now.clone());
                    }
                }
            }
        });
        Ok(this)
    }

    fn add(&self, moment: Moment) {
        self.moments.lock().unwrap_or_else(PoisonError::into_inner).push(moment);
    }

    /// How many moments there are since the last [`History::take`], with the one then.
    #[must_use]
    pub fn count(&self) -> usize {
        self.moments.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How things are, as far as the watch has told.
    #[must_use]
    pub fn latest(&self) -> Moment {
        self.moments.lock().unwrap_or_else(PoisonError::into_inner).last().cloned().unwrap_or_default()
    }

    /// What has happened since the last call, with how things were then and how they are now.
    #[must_use]
    pub fn take(&self) -> Vec<Moment> {
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let last = moments.last().cloned();
        std::mem::replace(&mut *moments, last.into_iter().collect())
    }
}

/// What the daemon of a node with these labels makes of all objects.
///
/// # Errors
/// With its refusal.
pub fn merged(moment: &Moment, labels: &BTreeMap<String, String>) -> Result<NodeConfig, String> {
    let mut selected = Vec::new();
    for (name, object) in moment {
        if admit::selects(&object.spec, labels).map_err(|error| format!("{name}: {error}"))? {
            selected.push((ObjectName::new("frr-k8s-system", name), &object.spec));
        }
    }
    let named = selected.iter().map(|(name, spec)| Named { name, spec });
    admit::merge(named).map_err(|refusal| refusal.to_string())
}

/// The prefixes that are announced on each session of a node, by VRF and neighbor.
#[must_use]
pub fn sessions(node: &NodeConfig) -> BTreeMap<String, BTreeSet<IpNet>> {
    let neighbors = node.routers.iter().flat_map(|(vrf, r)| r.neighbors.iter().map(move |(key, n)| (vrf, key, n)));
    neighbors
        .map(|(vrf, key, n)| (format!("{vrf} {key}"), n.announced().map(|(prefix, _)| *prefix).collect()))
        .collect()
}

/// Fails if, in any of the moments, a node can't be merged, lacks a session that it has in the first and in the last, or does
/// not carry, on such a session, one of the addresses, that it carries in the first and in the last.
///
/// # Errors
/// With the first such case.
pub fn unbroken(moments: &[Moment], nodes: &[BTreeMap<String, String>], addresses: &[IpAddr]) -> Result<(), String> {
    let (Some(first), Some(last)) = (moments.first(), moments.last()) else { return Ok(()) };
    for labels in nodes {
        let (start, end) = (sessions(&merged(first, labels)?), sessions(&merged(last, labels)?));
        for (number, moment) in moments.iter().enumerate() {
            let now = merged(moment, labels).map_err(|refusal| format!("moment {number}, {labels:?}: {refusal}"))?;
            let now = sessions(&now);
            for (session, before) in &start {
                let Some(after) = end.get(session) else { continue };
                let Some(present) = now.get(session) else {
                    return Err(format!("moment {number}, {labels:?}: no session {session}: {:?}", moment.keys()));
                };
                let covers =
                    |prefixes: &BTreeSet<IpNet>, address: &IpAddr| prefixes.iter().any(|p| p.contains(address));
                let stays = |address: &&IpAddr| covers(before, address) && covers(after, address);
                if let Some(lost) = addresses.iter().filter(stays).find(|address| !covers(present, address)) {
                    return Err(format!("moment {number}, {labels:?}: {session} lost {lost}: {:?}", moment.keys()));
                }
            }
        }
    }
    Ok(())
}
