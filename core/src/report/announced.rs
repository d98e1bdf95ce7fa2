//! Whether what is to be announced is: for Services, and together for their pools and advertisements.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use clarion_api::names;
use ipnet::IpNet;

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

/// The conditions about announcing of all Services, one after the other, and what they come to.
pub struct Announced<'a> {
    world: &'a World,
    config: &'a Config,
    announcement: &'a Announcement,
    progress: &'a Prefixes,
    /// Prefixes that would make a condition True if a node showed them.
    pub unconfirmed: BTreeSet<IpNet>,
    /// By pool, in the order of [`Config`].
    pub pools: BTreeMap<usize, Tally>,
    /// By advertisement, in the order of [`Config`].
    pub advertisements: BTreeMap<usize, Tally>,
}

/// What is known of some Services.
#[derive(Default)]
pub struct Tally {
    services: usize,
    unknown: usize,
    not_announced: usize,
    /// The first few of these.
    names: Vec<String>,
}

impl Tally {
    const SHOWN: usize = 3;

    fn count(&mut self, name: &ObjectName, status: &str) {
        self.services += 1;
        match status {
            "True" => {}
            "False" => {
                self.not_announced += 1;
                if self.names.len() < Self::SHOWN {
                    self.names.push(name.to_string());
                }
            }
            _ => self.unknown += 1,
        }
    }

    /// The condition of the object that they have in common.
    pub fn verdict(&self) -> Option<Verdict<'static>> {
        let Self { services, unknown, not_announced, names } = self;
        let of = |count: usize| {
            if count == *services && count == 1 {
                "its Service".to_owned()
            } else {
                format!("{count} of {services} Services")
            }
        };
        let (status, reason, message) = match (not_announced, unknown) {
            _ if *services == 0 => return None,
            (0, 0) => ("True", Reason::Announced, "all of its Services are announced".to_owned()),
            (0, _) => ("Unknown", Reason::Unconfirmed, "of some of its Services it is not known yet".to_owned()),
            (count, _) => {
                let more = if *count > names.len() { ", …" } else { "" };
                let message = format!("{} not announced: {}{more}; see their conditions", of(*count), names.join(", "));
                ("False", Reason::NotAnnounced, message)
            }
        };
        Some(Verdict::new(names::ALL_ANNOUNCED, status, reason, message))
    }
}

impl<'a> Announced<'a> {
    /// Nothing is counted yet.
    pub fn new(world: &'a World, config: &'a Config, announcement: &'a Announcement, progress: &'a Prefixes) -> Self {
        let (pools, advertisements) = (BTreeMap::new(), BTreeMap::new());
        Self { world, config, announcement, progress, unconfirmed: BTreeSet::new(), pools, advertisements }
    }

    /// The condition of a Service. Which nodes and how many sessions is not part of it, so that a node's coming or going
    /// writes no Service.
    pub fn verdict(&mut self, seated: &Seated) -> Verdict<'static> {
        let verdict = self.judge(seated);
        let (mut pools, mut advertisements) = (Vec::new(), Vec::new());
        for address in seated.kept() {
            pools.extend(self.config.pools.index_of(*address));
            self.for_each_prefix(*address, |prefix| {
                let requests = self.announcement.routes.get(&prefix).into_iter().flat_map(|route| &route.requests);
                advertisements.extend(requests.map(|request| request.advertisement));
            });
        }
        let is_meant = |pool: &usize| self.config.pools.get(*pool).is_some_and(|pool| pool.announce);
        pools.retain(is_meant);
        for (list, tallies) in [(pools, &mut self.pools), (advertisements, &mut self.advertisements)] {
            for (place, index) in list.iter().enumerate() {
                if !list.iter().take(place).any(|earlier| earlier == index) {
                    tallies.entry(*index).or_default().count(&seated.service.meta.name, verdict.status());
                }
            }
        }
        verdict
    }

    fn judge(&mut self, seated: &Seated) -> Verdict<'static> {
        let no = |reason, message: &str| Verdict::new(names::ANNOUNCED, "False", reason, message.to_owned());
        let service = seated.service;
        if let Some((reason, message)) = self.announcement.silent.get(&service.meta.name) {
            return no(*reason, message);
        }
        if !self.world.frr_k8s_installed {
            return no(Reason::FRRK8sNotInstalled, "FRR-K8s is not installed: its CRD FRRConfiguration is missing");
        }
        let is_meant = |address: &&IpAddr| {
            service.value.addresses.contains(address)
                && self.config.pools.of(**address).is_none_or(|pool| pool.announce)
        };
        let meant: Vec<IpAddr> = seated.kept().iter().filter(is_meant).copied().collect();
        // The address that is behind the others speaks for all.
        let Some((progress, address)) = meant.iter().map(|address| (self.progress(*address), *address)).min() else {
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
            Progress::Unknown => self.unknown(
                "FRRConfigurations announce it; FRR-K8s has not reported the sessions yet",
                &service.meta.name,
            ),
            Progress::Up | Progress::Seen => self.confirmed(seated, &meant),
        }
    }

    /// Every address is carried by an established session. Once all have been seen in FRR, that holds.
    fn confirmed(&mut self, seated: &Seated, addresses: &[IpAddr]) -> Verdict<'static> {
        let service = seated.service;
        let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
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

    fn unknown(&self, so_far: &'static str, service: &ObjectName) -> Verdict<'static> {
        match self.announcement.remarks.get(service) {
            Some((reason, remark)) => Verdict::new(names::ANNOUNCED, "Unknown", *reason, format!("{so_far}; {remark}")),
            None => Verdict::new(names::ANNOUNCED, "Unknown", Reason::Unconfirmed, so_far),
        }
    }

    /// No FRRConfiguration is to announce an address that somebody asks to be announced.
    fn stranded(&self, address: IpAddr) -> Verdict<'static> {
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
