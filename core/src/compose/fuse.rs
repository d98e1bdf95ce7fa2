//! `maxPrefixes`: a router is never offered more prefixes by us. What it has stays; what would be too much does not come.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use ipnet::IpNet;

use super::{Composer, Draft, before::Routes};
use crate::{
    config::{Peer, Terms},
    finding::Reason,
    session::Class,
    world::{Kind, ObjectName, ObjectRef},
};

/// What hosts announce on a session now, each of them the same, and for how many prefixes more there is room.
struct Offered {
    /// One alone, if it is to have an overlay.
    hosts: Vec<usize>,
    now: BTreeSet<IpNet>,
    room: usize,
}

impl Offered {
    /// Whether the prefix is there already, or there is room for it.
    fn can_have(&self, prefix: &IpNet) -> bool {
        self.room > 0 || self.now.contains(prefix)
    }

    fn take(&mut self, prefix: &IpNet) {
        if !self.now.contains(prefix) {
            self.room = self.room.saturating_sub(1);
        }
    }
}

impl Composer<'_, '_> {
    /// Takes out of the draft what would be too much.
    pub(super) fn fuse(&mut self, class: &Class, draft: &mut Draft) {
        for session in &class.sessions {
            let Some((peer, agreed)) = session.of(self.config, self.sessions) else { continue };
            let terms = &agreed.terms;
            let Some(max) = peer.max_prefixes else { continue };
            let mut offered = self.offered(class, terms, max, draft);
            let held_back = cut(draft, terms, &mut offered);
            if let Some(first) = held_back.first() {
                self.tell_of_fuse(peer, max, held_back.len(), first);
            }
        }
        // An overlay that lost its last route would only carry sessions that the base has too.
        draft.overlays.retain(|_, overlay| overlay.prefixes().next().is_some());
    }

    /// What the hosts of a class announce on a session now. What is about to be withdrawn counts: until it is, the router has
    /// it.
    fn offered(&self, class: &Class, terms: &Terms, max: usize, draft: &Draft) -> Vec<Offered> {
        let mut offered: Vec<Offered> = Vec::new();
        let mut known = HashMap::new();
        for index in &class.hosts {
            let Some(host) = self.hosts.get(*index) else { continue };
            let layers = self.before.of_host(host.name);
            let said: Vec<_> = layers.iter().map(|layer| Arc::as_ptr(&layer.content)).collect();
            let own = draft.overlays.contains_key(index).then_some(*index);
            let number = *known.entry((said, own)).or_insert(offered.len());
            if let Some(same) = offered.get_mut(number) {
                same.hosts.push(*index);
                continue;
            }
            let routes = Routes::of(&layers, &terms.vrf, &terms.key());
            let now: BTreeSet<IpNet> = routes.iter().map(|(prefix, _)| *prefix).collect();
            let room = max.saturating_sub(now.len());
            offered.push(Offered { hosts: vec![*index], now, room });
        }
        offered
    }

    fn tell_of_fuse(&mut self, peer: &Peer, max: usize, count: usize, first: &IpNet) {
        let message = format!(
            "maxPrefixes is {max}: {count} more, {first} the first of them, would be too many for a session and are not announced there"
        );
        let id = ObjectRef::new(Kind::RouterPeer, ObjectName::cluster(&peer.name));
        self.findings.warning(id, Reason::MaxPrefixes, message);
    }
}

/// Leaves in the draft what every host has or has room for, what is there already before what is new, and the lowest prefixes
/// first. What only some hosts have stays with these. Returns what some host does not get.
fn cut(draft: &mut Draft, terms: &Terms, offered: &mut [Offered]) -> BTreeSet<IpNet> {
    let (vrf, key) = (terms.vrf.as_str(), terms.key());
    let mut held_back = BTreeSet::new();
    let wanted = draft.base.session_mut(vrf, &key).map(|session| std::mem::take(&mut session.routes));
    let (mut shared, mut apart) = (BTreeMap::new(), Vec::new());
    let (known, new): (Vec<_>, Vec<_>) =
        wanted.into_iter().flatten().partition(|(prefix, _)| offered.iter().any(|host| host.now.contains(prefix)));
    for (prefix, attributes) in known.into_iter().chain(new) {
        if offered.iter().all(|host| host.can_have(&prefix)) {
            offered.iter_mut().for_each(|host| host.take(&prefix));
            shared.insert(prefix, attributes);
            continue;
        }
        held_back.insert(prefix);
        let holders = offered.iter().filter(|host| host.now.contains(&prefix)).flat_map(|host| &host.hosts);
        apart.extend(holders.map(|host| (*host, prefix, attributes.clone())));
    }
    if let Some(session) = draft.base.session_mut(vrf, &key) {
        session.routes = shared;
    }
    for host in offered {
        let [alone] = host.hosts.as_slice() else { continue };
        let Some(overlay) = draft.overlays.get_mut(alone) else { continue };
        let Some(session) = overlay.session_mut(vrf, &key) else { continue };
        session.routes.retain(|prefix, _| {
            let stays = host.can_have(prefix);
            if stays {
                host.take(prefix);
            } else {
                held_back.insert(*prefix);
            }
            stays
        });
    }
    for (index, prefix, attributes) in apart {
        let overlay = draft.overlays.entry(index).or_default();
        overlay.add(vrf, terms.my_asn, &terms.neighbor, BTreeMap::from([(prefix, attributes)]));
    }
    held_back
}
