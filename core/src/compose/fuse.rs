//! `maxPrefixes`: a router is never offered more prefixes by us. What it has stays; what would be too much does not come.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ipnet::IpNet;

use super::{
    Composer, Draft,
    before::{Alike, Routes, contents},
};
use crate::{
    config::{Peer, Terms},
    finding::Reason,
    layer::Layer,
    session::Class,
    world::{Kind, ObjectName, ObjectRef},
};

/// Hosts that have the same from objects for several hosts, as most have.
#[derive(Default)]
struct Group {
    /// What they announce on a session now, all of them.
    now: BTreeSet<IpNet>,
    /// Hosts that have the same otherwise too.
    members: Vec<Member>,
    /// What some of them announce now beside that, or all of them alone.
    alone: BTreeSet<IpNet>,
}

/// For how many prefixes more hosts have room.
struct Member {
    /// One alone, if it is to have an overlay.
    hosts: Vec<usize>,
    /// What they announce now that no object for several hosts has.
    alone: BTreeSet<IpNet>,
    room: usize,
}

impl Group {
    fn announces(&self, prefix: &IpNet) -> bool {
        self.now.contains(prefix) || self.alone.contains(prefix)
    }

    /// Whether every host has the prefix already, or has room for it.
    fn can_have(&self, prefix: &IpNet) -> bool {
        self.now.contains(prefix) || self.members.iter().all(|member| member.can_have(prefix))
    }

    fn take(&mut self, prefix: &IpNet) {
        if !self.now.contains(prefix) {
            self.members.iter_mut().for_each(|member| member.take(prefix));
        }
    }

    /// The hosts that have the prefix.
    fn holders(&self, prefix: &IpNet) -> impl Iterator<Item = usize> {
        let all = self.now.contains(prefix);
        let members = self.members.iter().filter(move |member| all || member.alone.contains(prefix));
        members.flat_map(|member| member.hosts.iter().copied())
    }
}

impl Member {
    fn can_have(&self, prefix: &IpNet) -> bool {
        self.room > 0 || self.alone.contains(prefix)
    }

    fn take(&mut self, prefix: &IpNet) {
        if !self.alone.contains(prefix) {
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
    fn offered(&self, class: &Class, terms: &Terms, max: usize, draft: &Draft) -> Vec<Group> {
        let routes = |layers: &[&Layer]| -> BTreeSet<IpNet> {
            Routes::of(layers, &terms.vrf, &terms.key()).iter().map(|(prefix, _)| *prefix).collect()
        };
        let group = |alike: Alike| {
            let now = routes(&alike.layers);
            let mut group = Group { now, ..Group::default() };
            let mut known = HashMap::new();
            for (index, host) in alike.hosts.iter().filter_map(|index| Some((*index, self.hosts.get(*index)?))) {
                let overlay = self.before.of_overlay(host.name);
                let own = draft.overlays.contains_key(&index).then_some(index);
                let place = *known.entry((contents(&overlay), own)).or_insert_with(|| {
                    let mut alone = routes(&overlay);
                    alone.retain(|prefix| !group.now.contains(prefix));
                    let room = max.saturating_sub(group.now.len() + alone.len());
                    group.alone.extend(&alone);
                    group.members.push(Member { hosts: Vec::new(), alone, room });
                    group.members.len() - 1
                });
                group.members.get_mut(place).into_iter().for_each(|member| member.hosts.push(index));
            }
            group
        };
        self.before.alike(self.names(class)).into_iter().map(group).collect()
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
fn cut(draft: &mut Draft, terms: &Terms, offered: &mut [Group]) -> BTreeSet<IpNet> {
    let (vrf, key) = (terms.vrf.as_str(), terms.key());
    let mut held_back = BTreeSet::new();
    let wanted = draft.base.session_mut(vrf, &key).map(|session| std::mem::take(&mut session.routes));
    let (mut shared, mut apart) = (BTreeMap::new(), Vec::new());
    let (known, new): (Vec<_>, Vec<_>) =
        wanted.into_iter().flatten().partition(|(prefix, _)| offered.iter().any(|group| group.announces(prefix)));
    for (prefix, attributes) in known.into_iter().chain(new) {
        if offered.iter().all(|group| group.can_have(&prefix)) {
            offered.iter_mut().for_each(|group| group.take(&prefix));
            shared.insert(prefix, attributes);
            continue;
        }
        held_back.insert(prefix);
        let holders = offered.iter().flat_map(|group| group.holders(&prefix));
        apart.extend(holders.map(|host| (host, prefix, attributes.clone())));
    }
    if let Some(session) = draft.base.session_mut(vrf, &key) {
        session.routes = shared;
    }
    for group in offered {
        for member in &mut group.members {
            let [host] = member.hosts.as_slice() else { continue };
            let Some(overlay) = draft.overlays.get_mut(host) else { continue };
            let Some(session) = overlay.session_mut(vrf, &key) else { continue };
            session.routes.retain(|prefix, _| {
                if group.now.contains(prefix) {
                    return true;
                }
                let stays = member.can_have(prefix);
                if stays {
                    member.take(prefix);
                } else {
                    held_back.insert(*prefix);
                }
                stays
            });
        }
    }
    for (index, prefix, attributes) in apart {
        let overlay = draft.overlays.entry(index).or_default();
        overlay.add(vrf, terms.my_asn, &terms.neighbor, BTreeMap::from([(prefix, attributes)]));
    }
    held_back
}
