//! Make before break, where one prefix takes the place of another: an aggregate of its addresses, or the other way round.
//!
//! A prefix that is not wanted any more, and that announces an address which is to be announced, stays while one that covers
//! it, or that it covers, is still to come on the same session. Once that is there, the next plan drops the old one.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::{Composer, Draft, before::Routes};
use crate::{
    layer::{Attributes, Layer, Session},
    session::Class,
};

impl Composer<'_, '_> {
    /// Puts back into the draft what must stay for now.
    pub(super) fn linger(&self, class: &Class, addresses: &[IpAddr], draft: &mut Draft) {
        if !class.announces {
            return;
        }
        let shared = self.before.of_bases(&draft.base.hosts);
        for session in &class.sessions {
            let Some((peer, agreed)) = session.of(self.config, self.sessions) else { continue };
            let terms = &agreed.terms;
            if peer.withdraw_at.is_some_and(|at| at <= self.now) {
                continue;
            }
            let (vrf, key) = (terms.vrf.as_str(), terms.key());
            let known = Routes::of(&shared, vrf, &key);
            let mut arriving: BTreeSet<IpNet> = BTreeSet::new();
            let mut wanted_by_one: BTreeSet<IpNet> = BTreeSet::new();
            arriving.extend(new_on(draft.base.content.session(vrf, &key), &known));
            for (index, overlay) in &draft.overlays {
                let Some(host) = self.hosts.get(*index) else { continue };
                let own = overlay.content.session(vrf, &key);
                arriving.extend(new_on(own, &Routes::of(&self.before.of_host(host.name), vrf, &key)));
                wanted_by_one.extend(overlay.content.session(vrf, &key).iter().flat_map(|s| s.routes.keys()));
            }
            if arriving.is_empty() {
                continue;
            }
            if let Some(session) = draft.base.content.session_mut(vrf, &key) {
                let stays = |prefix: &IpNet| {
                    !wanted_by_one.contains(prefix) && is_replaced(*prefix, &arriving) && covers_any(prefix, addresses)
                };
                let stay = known.iter().filter(|(prefix, _)| stays(prefix));
                put_back(&mut session.routes, stay);
            }
            for index in &class.hosts {
                let Some(host) = self.hosts.get(*index) else { continue };
                let layers = self.before.of_overlay(host.name);
                let stays = |prefix: &IpNet| {
                    !draft.base.content.announces(vrf, &key, prefix)
                        && is_replaced(*prefix, &arriving)
                        && covers_any(prefix, addresses)
                };
                let stay: BTreeMap<IpNet, Attributes> = Routes::of(&layers, vrf, &key)
                    .iter()
                    .filter(|(prefix, _)| stays(prefix))
                    .map(|(prefix, attributes)| (*prefix, attributes.clone()))
                    .collect();
                if stay.is_empty() {
                    continue;
                }
                let hosts = BTreeSet::from([host.name.to_owned()]);
                let overlay = draft.overlays.entry(*index).or_insert_with(|| Layer { hosts, ..Layer::default() });
                overlay.content.add(vrf, terms.my_asn, &terms.neighbor, BTreeMap::new());
                if let Some(session) = overlay.content.session_mut(vrf, &key) {
                    put_back(&mut session.routes, stay.iter());
                }
            }
        }
    }
}

fn put_back<'r>(routes: &mut BTreeMap<IpNet, Attributes>, stay: impl Iterator<Item = (&'r IpNet, &'r Attributes)>) {
    for (prefix, attributes) in stay {
        routes.entry(*prefix).or_insert_with(|| attributes.clone());
    }
}

/// The prefixes that a session is to announce and that it does not announce now.
fn new_on(session: Option<&Session>, known: &Routes) -> Vec<IpNet> {
    let wanted = session.into_iter().flat_map(|session| session.routes.keys());
    wanted.filter(|prefix| known.get(prefix).is_none()).copied().collect()
}

/// Whether a prefix has one of the addresses, which ascend.
fn covers_any(prefix: &IpNet, addresses: &[IpAddr]) -> bool {
    let first = addresses.partition_point(|address| *address < prefix.network());
    addresses.get(first).is_some_and(|address| prefix.contains(address))
}

/// Whether a prefix that arrives covers this one, or is covered by it. The prefix itself does not count.
fn is_replaced(prefix: IpNet, arriving: &BTreeSet<IpNet>) -> bool {
    // Prefixes of a family are sorted by their first address: those that this one covers are side by side.
    let host = |address| IpNet::from(address);
    let (first, last) = (IpNet::new(prefix.network(), 0).unwrap_or(prefix), host(prefix.broadcast()));
    let covered = || arriving.range(first..=last).any(|other| *other != prefix && prefix.contains(other));
    let covers = || std::iter::successors(prefix.supernet(), IpNet::supernet).any(|wider| arriving.contains(&wider));
    covered() || covers()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10.0.0.1/32", "10.0.0.0/24", true)]
    #[case("10.0.0.0/24", "10.0.0.0/32", true)]
    #[case("10.0.0.0/24", "10.0.0.255/32", true)]
    #[case("10.0.0.0/32", "10.0.0.0/24", true)]
    #[case("10.0.0.1/32", "10.0.0.1/32", false)]
    #[case("10.0.0.1/32", "10.0.1.0/24", false)]
    #[case("10.0.1.0/24", "10.0.0.0/24", false)]
    #[case("2001:db8::/64", "2001:db8::ffff/128", true)]
    #[case("2001:db8::1/128", "2001:db8::/64", true)]
    #[case("0.0.0.1/32", "::/1", false)]
    fn replaced(#[case] prefix: &str, #[case] arriving: &str, #[case] expected: bool) {
        let arriving = BTreeSet::from([arriving.parse().unwrap()]);
        assert_eq!(is_replaced(prefix.parse().unwrap(), &arriving), expected);
    }
}
