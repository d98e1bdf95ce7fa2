//! Whether what is to be announced is: for Services, and together for their pools and advertisements.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use clarion_api::names;
use ipnet::IpNet;
use itertools::Itertools as _;

use super::{
    daemons::{Prefixes, Progress},
    verdict::Verdict,
};
use crate::{
    allocate::Seated,
    announce::Announcement,
    config::Config,
    finding::Reason,
    world::{ObjectName, World},
};

/// The conditions about announcing of Services, one after the other.
pub struct Announced<'a> {
    world: &'a World,
    config: &'a Config,
    announcement: &'a Announcement,
    progress: &'a Prefixes,
    /// Prefixes that would make a condition True if a node showed them.
    pub unconfirmed: BTreeSet<IpNet>,
}

/// What is known of the prefixes of a pool or advertisement that are to be announced.
#[derive(Default)]
pub struct Tally {
    prefixes: usize,
    unknown: usize,
    not_announced: usize,
    /// The first few of these.
    first: Vec<IpNet>,
}

/// Counts by pool and by advertisement, in the order of [`Config`].
pub fn tallies(
    config: &Config,
    announcement: &Announcement,
    progress: &Prefixes,
) -> (BTreeMap<usize, Tally>, BTreeMap<usize, Tally>) {
    let (mut pools, mut advertisements): (BTreeMap<usize, Tally>, BTreeMap<usize, Tally>) = Default::default();
    for ((prefix, route), progress) in announcement.routes.iter().zip(progress.of_all(announcement.routes.keys())) {
        if let Some(pool) = config.pools.index_of(prefix.addr()) {
            pools.entry(pool).or_default().count(*prefix, progress);
        }
        for request in &route.requests {
            advertisements.entry(request.advertisement).or_default().count(*prefix, progress);
        }
    }
    (pools, advertisements)
}

impl Tally {
    const SHOWN: usize = 3;

    fn count(&mut self, prefix: IpNet, progress: Progress) {
        self.prefixes += 1;
        match progress {
            Progress::Up | Progress::Seen => {}
            Progress::Unknown | Progress::Stale => self.unknown += 1,
            Progress::Absent | Progress::Refused | Progress::Down => {
                self.not_announced += 1;
                if self.first.len() < Self::SHOWN {
                    self.first.push(prefix);
                }
            }
        }
    }

    /// The condition of the object that they have in common; none if nothing of it is to be announced.
    pub fn verdict(&self) -> Option<Verdict> {
        let Self { prefixes, unknown, not_announced, first } = self;
        let (status, reason, message) = match (not_announced, unknown) {
            _ if *prefixes == 0 => return None,
            (0, 0) => ("True", Reason::Announced, "an established session carries each of its prefixes".to_owned()),
            (0, _) => ("Unknown", Reason::Unconfirmed, "FRR-K8s has not reported every session yet".to_owned()),
            (count, _) => {
                let more = if *count > first.len() { ", …" } else { "" };
                let list = first.iter().join(", ");
                let message = format!("{count} of {prefixes} prefixes not announced: {list}{more}; see the Services");
                ("False", Reason::NotAnnounced, message)
            }
        };
        Some(Verdict::new(names::ALL_ANNOUNCED, status, reason, message))
    }
}

impl<'a> Announced<'a> {
    /// Nothing is unconfirmed yet.
    pub fn new(world: &'a World, config: &'a Config, announcement: &'a Announcement, progress: &'a Prefixes) -> Self {
        Self { world, config, announcement, progress, unconfirmed: BTreeSet::new() }
    }

    /// The condition of a Service. Which nodes and how many sessions is not part of it, so that a node's coming or going
    /// writes no Service.
    pub fn verdict(&mut self, seated: &Seated) -> Verdict {
        let no = |reason, message: &str| Verdict::new(names::ANNOUNCED, "False", reason, message.to_owned());
        let service = seated.service;
        if let Some((reason, message)) = self.announcement.silent.get(&service.meta.name) {
            return no(*reason, message);
        }
        if self.world.frr_k8s_serves_only().is_some() {
            return no(Reason::FRRK8sVersion, "FRR-K8s does not take what Clarion writes: see the RouterPeers");
        }
        if !self.world.frr_k8s_installed {
            return no(Reason::FRRK8sNotInstalled, "FRR-K8s is not installed: its CRD FRRConfiguration is missing");
        }
        let is_meant = |address: &&IpAddr| {
            service.value.addresses.contains(address)
                && self.config.pools.of(**address).is_none_or(|pool| pool.announce)
        };
        let meant = || seated.kept().iter().filter(is_meant).copied();
        // The address that is behind the others speaks for all.
        let Some((progress, address)) = meant().map(|address| (self.progress(address), address)).min() else {
            return self.unknown("FRRConfigurations announce it", &service.meta.name);
        };
        match progress {
            Progress::Absent => self.stranded(address),
            Progress::Refused => {
                let message = format!(
                    "FRR-K8s refuses the configuration of every node that announces {address}: RouterPeers say why"
                );
                no(Reason::NodeRefuses, &message)
            }
            Progress::Down => no(
                Reason::NoSession,
                &format!("no BGP session that carries {address} is established: see the RouterPeers"),
            ),
            Progress::Stale => self.unknown(
                "FRRConfigurations announce it; FRR-K8s's Pods are gone or not ready where it is announced, so what they reported of sessions may be old",
                &service.meta.name,
            ),
            Progress::Unknown => self.unknown(
                "FRRConfigurations announce it; FRR-K8s has not reported the sessions yet",
                &service.meta.name,
            ),
            Progress::Up | Progress::Seen => {
                let addresses: Vec<IpAddr> = meant().collect();
                self.confirmed(seated, &addresses)
            }
        }
    }

    /// Every address is carried by an established session. Once all have been seen in FRR, that holds.
    fn confirmed(&mut self, seated: &Seated, addresses: &[IpAddr]) -> Verdict {
        let service = seated.service;
        let list = addresses.iter().join(", ");
        let head = format!("announced: {list}");
        let known =
            service.value.conditions.iter().find(|known| known.type_ == names::ANNOUNCED && known.status == "True");
        let was_seen = known.is_some_and(|known| known.message.split("; ").next() == Some(&head));
        let mut unseen = Vec::new();
        if !was_seen {
            for address in addresses.iter().filter(|address| self.progress(**address) < Progress::Seen) {
                self.for_each_prefix(*address, |prefix| unseen.push(prefix));
            }
        }
        if !unseen.is_empty() {
            self.unconfirmed.extend(unseen);
            let so_far =
                "FRRConfigurations announce it, and a session is established; FRR-K8s reports what FRR runs every 30 s";
            return self.unknown(so_far, &service.meta.name);
        }
        match self.announcement.remarks.get(&service.meta.name) {
            Some((reason, remark)) => Verdict::new(names::ANNOUNCED, "True", *reason, format!("{head}; {remark}")),
            None => Verdict::new(names::ANNOUNCED, "True", Reason::Announced, head),
        }
    }

    fn unknown(&self, so_far: &'static str, service: &ObjectName) -> Verdict {
        match self.announcement.remarks.get(service) {
            Some((reason, remark)) => Verdict::new(names::ANNOUNCED, "Unknown", *reason, format!("{so_far}; {remark}")),
            None => Verdict::new(names::ANNOUNCED, "Unknown", Reason::Unconfirmed, so_far),
        }
    }

    /// No FRRConfiguration is to announce an address that somebody asks to be announced.
    fn stranded(&self, address: IpAddr) -> Verdict {
        let no = |reason, message| Verdict::new(names::ANNOUNCED, "False", reason, message);
        let route = self.announcement.routes.get(&IpNet::from(address));
        if route.is_some_and(|route| route.requests.is_empty()) {
            let message =
                format!("no valid LoadBalancerPool has {address}, and no LoadBalancerAdvertisement is for all pools");
            return no(Reason::NoAdvertisement, message);
        }
        let message = format!(
            "{address} is held back: its RouterPeers have as many prefixes as maxPrefixes lets them, or nodes can't be told apart; see their conditions"
        );
        no(Reason::HeldBack, message)
    }

    fn for_each_prefix(&self, address: IpAddr, mut each: impl FnMut(IpNet)) {
        match self.announcement.aggregates.get(&address) {
            Some(prefixes) => prefixes.iter().copied().for_each(each),
            None => each(IpNet::from(address)),
        }
    }

    fn progress(&self, address: IpAddr) -> Progress {
        let mut best = Progress::Absent;
        self.for_each_prefix(address, |prefix| best = best.max(self.progress.get(&prefix)));
        best
    }
}
