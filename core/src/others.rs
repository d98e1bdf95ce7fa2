//! FRRConfigurations of others: which of them select each host, and what they come to there.
//!
//! The daemons read the namespace of FRR-K8s alone. But FRR-K8s's webhook, asked about a write of ours, merges it with the
//! objects of all namespaces: what is at odds with an object elsewhere does no harm where it is, and can't be written anew.

use std::collections::HashMap;

use crate::{
    admit::{Digest, Merging, Named},
    hosts::{Host, Hosts},
    world::{Configuration, Kind, Object, World},
};

/// What others say to the hosts.
#[derive(Default)]
pub struct Others<'w> {
    sets: Vec<Set<'w>>,
    /// The set of each host.
    of_host: Vec<usize>,
    /// Why the daemons of all nodes stand still, if they do.
    stopped: Option<String>,
    /// The webhook refused a write: what it merges counts for what is there too.
    refused: bool,
}

/// The objects that select a host; most hosts have the same.
pub struct Set<'w> {
    /// Those that the daemon reads, in the order of their names.
    pub objects: Vec<&'w Object<Configuration>>,
    /// What these come to, or why they can't be merged even with each other.
    merged: Result<Merging<'w>, String>,
    /// The same with the objects of other namespaces, where there are any and they can be merged.
    everywhere: Option<Merging<'w>>,
}

impl<'w> Others<'w> {
    /// Sorts them by host.
    pub fn new(world: &'w World, hosts: &Hosts<'w>) -> Self {
        let here = world.frr_k8s_namespace();
        let mut all: Vec<(&Object<Configuration>, &Digest)> =
            world.configurations.iter().filter_map(|object| Some((object, object.value.digest.as_ref()?))).collect();
        // Those that the daemons read go before others.
        all.sort_by_key(|(object, _)| object.meta.name.namespace != here);
        let read = all.iter().filter(|(object, _)| object.meta.name.namespace == here);
        let stopped = read.into_iter().find(|(_, digest)| digest.stops_all()).map(|(object, digest)| {
            let why = match (&digest.selector, &digest.fault) {
                (Err(error), _) => {
                    format!("FRRConfiguration {} has a nodeSelector that can't be parsed: {error}", object.meta.name)
                }
                (Ok(_), fault) => fault.as_ref().map(ToString::to_string).unwrap_or_default(),
            };
            format!("{why}; FRR-K8s leaves every node as it is until that is mended")
        });
        let mut selecting: Vec<Vec<usize>> = vec![Vec::new(); hosts.list.len()];
        let candidates = Candidates::new(hosts);
        for (index, (_, digest)) in all.iter().enumerate() {
            for host in candidates.of(digest) {
                selecting.get_mut(host).into_iter().for_each(|list| list.push(index));
            }
        }
        let (mut sets, mut known) = (Vec::new(), HashMap::new());
        let of_host = selecting.into_iter().map(|list| {
            *known.entry(list).or_insert_with_key(|list| {
                sets.push(Set::new(here, list.iter().filter_map(|index| all.get(*index).copied())));
                sets.len() - 1
            })
        });
        let of_host = of_host.collect();
        let refused = world.refused.keys().any(|object| object.kind == Kind::FRRConfiguration);
        Self { sets, of_host, stopped, refused }
    }

    /// The set of a host, by the host's index; and the set's own index.
    #[must_use]
    pub fn of(&self, host: usize) -> Option<(usize, &Set<'w>)> {
        let index = *self.of_host.get(host)?;
        Some((index, self.sets.get(index)?))
    }

    /// Why the daemon of this host stands still whatever we write, if it does.
    #[must_use]
    pub fn fault(&self, host: usize) -> Option<&str> {
        self.stopped.as_deref().or_else(|| self.of(host)?.1.merged.as_ref().err().map(String::as_str))
    }

    /// What a host's objects come to beside something of ours, which may be there already; nothing if they can't be merged.
    #[must_use]
    pub fn beside(&self, host: usize, is_there: bool) -> Option<&Merging<'w>> {
        let (_, set) = self.of(host)?;
        let everywhere = set.everywhere.as_ref().filter(|_| self.refused || !is_there);
        everywhere.or(set.merged.as_ref().ok())
    }

    /// Whether it matters for a host what is there already.
    #[must_use]
    pub fn asks_what_is_there(&self, host: usize) -> bool {
        !self.refused && self.of(host).is_some_and(|(_, set)| set.everywhere.is_some())
    }
}

impl<'w> Set<'w> {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.everywhere.is_none()
    }

    fn new(here: &str, objects: impl Iterator<Item = (&'w Object<Configuration>, &'w Digest)>) -> Self {
        let (objects, elsewhere): (Vec<_>, Vec<_>) =
            objects.partition(|(object, _)| object.meta.name.namespace == here);
        let merged = merge(Merging::default(), &objects);
        let everywhere = match &merged {
            Ok(merging) if !elsewhere.is_empty() => merge(merging.clone(), &elsewhere).ok(),
            _ => None,
        };
        Self { objects: objects.into_iter().map(|(object, _)| object).collect(), merged, everywhere }
    }
}

fn merge<'w>(
    mut merging: Merging<'w>,
    objects: &[(&'w Object<Configuration>, &'w Digest)],
) -> Result<Merging<'w>, String> {
    for (object, digest) in objects {
        if let Some(fault) = &digest.fault {
            return Err(fault.to_string());
        }
        merging.add(Named { name: &object.meta.name, spec: &digest.says }).map_err(|refusal| refusal.to_string())?;
    }
    merging.clone().finish().map_err(|refusal| refusal.to_string())?;
    Ok(merging)
}

/// Finds the hosts that a selector is for without asking all of them.
struct Candidates<'h, 'w> {
    hosts: &'h [Host<'w>],
    by_label: HashMap<(&'w str, &'w str), Vec<usize>>,
}

impl<'h, 'w> Candidates<'h, 'w> {
    fn new(hosts: &'h Hosts<'w>) -> Self {
        let mut by_label: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
        for (index, host) in hosts.list.iter().enumerate() {
            for (key, value) in host.nodes.iter().flat_map(|node| &node.meta.labels) {
                by_label.entry((key, value)).or_default().push(index);
            }
        }
        Self { hosts: &hosts.list, by_label }
    }

    /// The hosts that have a node which the object selects, each once.
    fn of(&self, digest: &Digest) -> Vec<usize> {
        let Ok(selector) = &digest.selector else { return Vec::new() };
        let mut candidates: Vec<usize> = match selector.anchor() {
            None => (0..self.hosts.len()).collect(),
            Some((key, values)) => {
                let lists = values.iter().filter_map(|value| self.by_label.get(&(key, value.as_str())));
                lists.flatten().copied().collect()
            }
        };
        candidates.sort_unstable();
        candidates.dedup();
        let is_selected = |host: &Host<'w>| host.nodes.iter().any(|node| selector.matches(&node.meta.labels));
        candidates.retain(|index| self.hosts.get(*index).is_some_and(is_selected));
        candidates
    }
}
