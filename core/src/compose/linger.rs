//! Make before break, where one prefix takes the place of another: an aggregate of its addresses, or the other way round.
//!
//! A prefix that is not wanted any more, and that announces an address which is to be announced, stays while one that covers
//! it, or that it covers, is still to come on the same session. Once that is there, the next plan drops the old one.

use std::{
    cell::LazyCell,
    collections::{BTreeMap, BTreeSet},
    iter,
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;

use super::{
    Composer, Draft,
    before::{Alike, Routes, relatives},
};
use crate::{
    layer::{AdjRibOut, Attributes, Session},
    session::Class,
};

/// Routes as they are now.
type Known<'w> = BTreeMap<IpNet, &'w Arc<Attributes>>;

/// What stays for now on one session of a class.
#[derive(Default)]
struct Stay<'w> {
    /// On every host.
    shared: Known<'w>,
    /// By host, where not all have it.
    apart: BTreeMap<usize, Known<'w>>,
}

impl<'w> Composer<'w, '_> {
    /// Puts back into the draft what must stay for now.
    pub(super) fn linger(&self, class: &Class, addresses: &[IpAddr], draft: &mut Draft) {
        if !class.announces {
            return;
        }
        let told = self.before.of_hosts(self.names(class).map(|(name, _)| name));
        let groups = LazyCell::new(|| self.before.alike(self.names(class)));
        for session in &class.sessions {
            let Some((peer, agreed)) = session.of(self.config, self.sessions) else { continue };
            let terms = &agreed.terms;
            if peer.withdraw_at.is_some_and(|at| at <= self.now) {
                continue;
            }
            let (vrf, key) = (terms.vrf.as_str(), terms.key());
            if !are_related(&Routes::of(&told, vrf, &key), draft, vrf, &key) {
                continue;
            }
            let stay = self.stay(&groups, draft, vrf, &key, addresses);
            if let Some(session) = draft.base.session_mut(vrf, &key) {
                put_back(&mut session.routes, &stay.shared);
            }
            for (index, routes) in stay.apart {
                let overlay = draft.overlays.entry(index).or_default();
                overlay.add(vrf, terms.my_asn, &terms.neighbor, BTreeMap::new());
                if let Some(session) = overlay.session_mut(vrf, &key) {
                    put_back(&mut session.routes, &routes);
                }
            }
        }
    }

    fn stay(&self, groups: &[Alike<'w>], draft: &Draft, vrf: &str, key: &str, addresses: &[IpAddr]) -> Stay<'w> {
        let base = draft.base.session(vrf, key);
        let is_lost = |prefix: &IpNet| !announces(base, prefix) && covers_any(prefix, addresses);
        let mut stay = Stay::default();
        let mut by_group = Vec::with_capacity(groups.len());
        for group in groups {
            let known = Routes::of(&group.layers, vrf, key);
            let arriving = new_on(base, |prefix| known.get(prefix).is_some());
            // Mostly nothing arrives. What stays is soon known; relatives are looked for at every length.
            let is_replaced = |prefix: &IpNet| is_lost(prefix) && has_relative(*prefix, &arriving);
            let lost = known.iter().filter(|(prefix, _)| !arriving.is_empty() && is_replaced(prefix));
            by_group.push((group, lost.map(|(prefix, attributes)| (*prefix, attributes)).collect::<Known>()));
            for index in &group.hosts {
                let Some(host) = self.hosts.get(*index) else { continue };
                let layers = self.before.of_overlay(host.name);
                let own = Routes::of(&layers, vrf, key);
                let overlay = draft.overlays.get(index).and_then(|overlay| overlay.session(vrf, key));
                let own_arriving = new_on(overlay, |prefix| own.get(prefix).or(known.get(prefix)).is_some());
                let replaced = own
                    .iter()
                    .filter(|(prefix, _)| has_relative(**prefix, &arriving) || has_relative(**prefix, &own_arriving));
                let replaced = replaced.chain(own_arriving.keys().flat_map(|prefix| known.relatives(*prefix)));
                let lost = replaced.filter(|(prefix, _)| !announces(overlay, prefix) && is_lost(prefix));
                let lost: Known = lost.map(|(prefix, attributes)| (*prefix, attributes)).collect();
                if !lost.is_empty() {
                    stay.apart.insert(*index, lost);
                }
            }
        }
        let wanted_apart: BTreeSet<&IpNet> =
            draft.overlays.values().filter_map(|o| o.session(vrf, key)).flat_map(|s| s.routes.keys()).collect();
        let everywhere = |prefix: &IpNet| {
            !wanted_apart.contains(prefix) && by_group.iter().all(|(_, lost)| lost.contains_key(prefix))
        };
        for (group, lost) in &by_group {
            let (shared, apart): (Known, Known) = lost.iter().partition(|(prefix, _)| everywhere(prefix));
            for (prefix, attributes) in shared {
                // Where hosts differ because some are being drained, the others go on as they were.
                stay.shared
                    .entry(prefix)
                    .and_modify(|known| {
                        if known.is_draining() {
                            *known = attributes;
                        }
                    })
                    .or_insert(attributes);
            }
            for index in group.hosts.iter().filter(|_| !apart.is_empty()) {
                stay.apart.entry(*index).or_default().extend(apart.iter());
            }
        }
        stay
    }
}

/// Whether a session can have prefixes of which one covers another, now and to come: not if all of a family are as long.
fn are_related(known: &Routes, draft: &Draft, vrf: &str, key: &str) -> bool {
    let drafted = iter::once(&draft.base).chain(draft.overlays.values());
    let wanted = drafted.filter_map(|content| content.session(vrf, key)).flat_map(|session| session.routes.keys());
    let (mut v4, mut v6) = (None, None);
    known.iter().map(|(prefix, _)| prefix).chain(wanted).any(|prefix| {
        let length = if prefix.addr().is_ipv4() { &mut v4 } else { &mut v6 };
        *length.get_or_insert(prefix.prefix_len()) != prefix.prefix_len()
    })
}

fn put_back(routes: &mut AdjRibOut, stay: &Known) {
    for (prefix, attributes) in stay {
        routes.entry(*prefix).or_insert_with(|| Arc::clone(attributes));
    }
}

/// Whether a session is to announce a prefix.
fn announces(session: Option<&Session>, prefix: &IpNet) -> bool {
    session.is_some_and(|session| session.routes.contains_key(prefix))
}

/// The routes that a session is to announce and that are not known yet.
fn new_on(session: Option<&Session>, is_known: impl Fn(&IpNet) -> bool) -> BTreeMap<IpNet, &Arc<Attributes>> {
    let wanted = session.into_iter().flat_map(|session| &session.routes);
    wanted.filter(|(prefix, _)| !is_known(prefix)).map(|(prefix, attributes)| (*prefix, attributes)).collect()
}

/// Whether a prefix has one of the addresses, which ascend.
fn covers_any(prefix: &IpNet, addresses: &[IpAddr]) -> bool {
    let first = addresses.partition_point(|address| *address < prefix.network());
    addresses.get(first).is_some_and(|address| prefix.contains(address))
}

/// Whether one of the routes covers this prefix, or is covered by it. The prefix itself does not count.
fn has_relative(prefix: IpNet, routes: &BTreeMap<IpNet, &Arc<Attributes>>) -> bool {
    !routes.is_empty() && relatives(prefix, routes).next().is_some()
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
        let attributes = Arc::default();
        let arriving = BTreeMap::from([(arriving.parse().unwrap(), &attributes)]);
        assert_eq!(has_relative(prefix.parse().unwrap(), &arriving), expected);
    }
}
