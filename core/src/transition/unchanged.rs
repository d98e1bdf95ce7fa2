//! What is wanted, but for what can't be changed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use clarion_api::frr::Neighbor;

use super::TooLarge;
use crate::{
    compose::Layout,
    layer::{Content, Layer},
};

/// By VRF and session: the router's AS number, and what FRR-K8s compares of the session.
type Terms<'l> = BTreeMap<(&'l str, &'l str), (i64, &'l Neighbor)>;

/// The layout with the sessions of hosts that a change is too large for as these have them, so that all else goes on.
pub fn unchanged(current: &Layout, target: &Layout, too_large: &[TooLarge]) -> Layout {
    let waiting: BTreeSet<&String> = too_large.iter().flat_map(|change| &change.hosts).collect();
    let mut terms: BTreeMap<&String, Terms> = BTreeMap::new();
    for layer in current.values() {
        for host in layer.hosts.iter().filter(|host| waiting.contains(host)) {
            let terms = terms.entry(host).or_default();
            for (vrf, router) in &layer.content.routers {
                let sessions = router.sessions.iter();
                terms.extend(sessions.map(|(key, session)| ((&**vrf, &**key), (router.asn, &session.neighbor))));
            }
        }
    }
    // Most objects say the same to hosts that have the same.
    let mut known: HashMap<*const Content, Vec<(&Terms, Arc<Content>)>> = HashMap::new();
    let mut of = |layer: &Layer| {
        let Some(terms) = layer.hosts.iter().find_map(|host| terms.get(host)) else { return layer.clone() };
        let known = known.entry(Arc::as_ptr(&layer.content)).or_default();
        let content = known.iter().find(|(of, _)| *of == terms).map(|(_, content)| Arc::clone(content));
        let content = content.unwrap_or_else(|| {
            let content = Arc::new(with_terms(&layer.content, terms));
            known.push((terms, Arc::clone(&content)));
            content
        });
        Layer { hosts: Arc::clone(&layer.hosts), content }
    };
    target.iter().map(|(name, layer)| (name.clone(), of(layer))).collect()
}

fn with_terms(content: &Content, terms: &Terms) -> Content {
    let mut content = content.clone();
    for ((vrf, key), (asn, neighbor)) in terms {
        let Some(router) = content.routers.get_mut(*vrf) else { continue };
        router.asn = *asn;
        let session = router.sessions.get_mut(*key);
        session.into_iter().for_each(|session| session.neighbor.clone_from(neighbor));
    }
    content
}
