//! `nodeLimit`: few of the nodes that could announce a prefix do.

use std::collections::{BTreeMap, BTreeSet};

use clarion_api::advertisement::NodeLimit;
use ipnet::IpNet;

use super::{Route, Stage};
use crate::{
    address_set::Family,
    hash::{hash_of, mix},
};

impl Stage<'_, '_> {
    /// Chooses the hosts of routes that have a limit. Of several limits the smallest counts, of equal ones the oldest.
    pub(super) fn limit(&mut self) {
        let limits = |route: &Route| {
            let advertisements =
                route.requests.iter().filter_map(|request| self.config.advertisements.get(request.advertisement));
            advertisements.filter_map(|advertisement| advertisement.node_limit.as_ref()).min_by_key(|limit| limit.max)
        };
        if self.config.advertisements.iter().all(|advertisement| advertisement.node_limit.is_none()) {
            return;
        }
        let chosen: Vec<(IpNet, BTreeSet<usize>)> = self
            .announcement
            .routes
            .iter()
            .filter_map(|(prefix, route)| Some((*prefix, self.choose(*prefix, route, limits(route)?))))
            .collect();
        for (prefix, hosts) in chosen {
            if let Some(route) = self.announcement.routes.get_mut(&prefix) {
                route.hosts = Some(hosts);
            }
        }
    }

    /// Rendezvous hashing (Thaler, Ravishankar 1998): every host draws a number for the prefix, and the highest of each
    /// domain win. So a host that comes or goes changes no more than its own share.
    ///
    /// A host that is being drained, or whose peers are, stays for as long as it announces, beside the one that takes its
    /// place.
    fn choose(&self, prefix: IpNet, route: &Route, limit: &NodeLimit) -> BTreeSet<usize> {
        let family = Family::of(prefix.addr());
        let advertisements: Vec<usize> = route.requests.iter().map(|request| request.advertisement).collect();
        let able = route.requests.iter().flat_map(|request| self.reach.of(request.advertisement, family));
        let able: BTreeSet<usize> = able
            .filter(|host| route.hosts.as_ref().is_none_or(|hosts| hosts.contains(host)))
            .filter(|host| self.hosts.get(*host).is_some_and(crate::hosts::Host::is_single))
            .collect();
        let key = hash_of(&prefix.to_string());
        let mut domains: BTreeMap<Option<&str>, Vec<(u64, usize)>> = BTreeMap::new();
        for index in able {
            let Some(host) = self.hosts.get(index) else { continue };
            let domain = limit.topology_key.as_ref().and_then(|key| host.label(key));
            domains.entry(domain).or_default().push((mix(key, [hash_of(host.name)]), index));
        }
        let max = usize::try_from(limit.max).unwrap_or(0);
        let mut chosen = BTreeSet::new();
        for mut drawn in domains.into_values() {
            drawn.sort_unstable_by(|a, b| b.cmp(a));
            chosen.extend(drawn.iter().take(max).map(|(_, host)| *host));
            let lasting = drawn.iter().filter(|(_, host)| self.reach.lasts(&advertisements, family, *host));
            chosen.extend(lasting.take(max).map(|(_, host)| *host));
        }
        chosen
    }
}
