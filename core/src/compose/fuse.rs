//! `maxPrefixes`: a router is never offered more prefixes by us. What it has stays; what would be too much does not come.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{Composer, Draft, before};
use crate::{
    finding::Reason,
    layer::Attributes,
    session::Class,
    world::{Kind, Layer, ObjectName, ObjectRef},
};

impl Composer<'_, '_> {
    /// Takes out of the draft what would be too much.
    pub(super) fn fuse(&mut self, class: &Class, draft: &mut Draft) {
        let shared = self.before.of_class(&draft.base.hosts);
        for session in &class.sessions {
            let Some((peer, terms)) = session.of(self.config) else { continue };
            let Some(max) = peer.max_prefixes else { continue };
            let (vrf, key) = (terms.vrf.as_str(), terms.key());
            let mut held_back = BTreeSet::new();
            // Hosts share the base: what the one with the most of its own has leaves room for it on all.
            let own = draft.overlays.iter().filter_map(|(index, overlay)| {
                let before = self.before.of_host(self.hosts.get(*index)?.name);
                Some(count_known(overlay, &before, vrf, &key))
            });
            let reserved = own.max().unwrap_or(0);
            if let Some(session) = draft.base.content.session_mut(vrf, &key) {
                held_back.extend(cut(&mut session.routes, &shared, vrf, &key, max.saturating_sub(reserved)));
            }
            let used = draft.base.content.session(vrf, &key).map_or(0, |session| session.routes.len());
            for (index, overlay) in &mut draft.overlays {
                let Some(host) = self.hosts.get(*index) else { continue };
                let before = self.before.of_host(host.name);
                if let Some(session) = overlay.content.session_mut(vrf, &key) {
                    held_back.extend(cut(&mut session.routes, &before, vrf, &key, max.saturating_sub(used)));
                }
            }
            if let Some(first) = held_back.first() {
                let count = held_back.len();
                let message = format!(
                    "maxPrefixes is {max}: {count} more, {first} the first of them, would be too many for a session and are not announced there"
                );
                let id = ObjectRef::new(Kind::RouterPeer, ObjectName::cluster(&peer.name));
                self.findings.warning(id, Reason::MaxPrefixes, message);
            }
        }
        // An overlay that lost its last route would only carry sessions that the base has too.
        draft.overlays.retain(|_, overlay| overlay.content.prefixes().next().is_some());
    }
}

/// How many routes of a session are there already.
fn count_known(layer: &Layer, before: &[&Layer], vrf: &str, key: &str) -> usize {
    let routes = layer.content.session(vrf, key).into_iter().flat_map(|session| session.routes.keys());
    routes.filter(|prefix| before::route(before, vrf, key, prefix).is_some()).count()
}

/// Leaves the routes that are there already, and of the others as many as there is room for, the lowest prefixes first.
/// Returns those that it takes out.
fn cut(
    routes: &mut BTreeMap<IpNet, Attributes>,
    before: &[&Layer],
    vrf: &str,
    key: &str,
    room: usize,
) -> BTreeSet<IpNet> {
    if routes.len() <= room {
        return BTreeSet::new();
    }
    let new: Vec<IpNet> =
        routes.keys().filter(|prefix| before::route(before, vrf, key, prefix).is_none()).copied().collect();
    let known = routes.len() - new.len();
    let out: BTreeSet<IpNet> = new.into_iter().skip(room.saturating_sub(known)).collect();
    routes.retain(|prefix, _| !out.contains(prefix));
    out
}
