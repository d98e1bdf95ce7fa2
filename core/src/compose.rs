//! Routes and sessions to FRRConfigurations: one base object for each class of nodes.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::{
    address_set::Family,
    announce::Route,
    config::{Config, Peer},
    finding::{Findings, Reason},
    hash::hash,
    layer::{Attributes, Content, Layer, Router, Session},
    session::Class,
    world::{Kind, ObjectName, ObjectRef, World},
};

/// What is to be, by the name of the FRRConfiguration.
pub type Layout = BTreeMap<String, Layer>;

/// Builds the objects for all classes.
pub fn compose(
    world: &World,
    config: &Config,
    classes: &[Class],
    routes: &BTreeMap<IpNet, Route>,
    findings: &mut Findings,
) -> Layout {
    let namespace = world.frr_k8s_namespace();
    let mut layout = Layout::new();
    for class in classes {
        let name = format!("clarion-base-{}", hash(&class.identity));
        // What exists for some of these hosts, whatever its name.
        let ours = world.configurations.iter().filter(|c| c.value.ours && c.meta.name.namespace == namespace);
        let current: Vec<&Layer> =
            ours.map(|c| &c.value.layer).filter(|layer| !layer.hosts.is_disjoint(&class.hosts)).collect();
        let mut content = Content::default();
        for index in &class.peers {
            let Some(peer) = config.peers.get(*index) else { continue };
            let router = content.routers.entry(peer.vrf.clone()).or_insert_with(|| Router::new(peer.my_asn));
            if router.id.is_none() {
                router.id.clone_from(&peer.router_id);
            }
            let mut session = Session::new(peer.neighbor.clone());
            if let Some(bfd) = &peer.bfd {
                session.bfd_profile = Some(bfd.name.clone());
                content.bfd_profiles.insert(bfd.name.clone(), bfd.clone());
            }
            session.next_hop.clone_from(&peer.next_hop);
            let key = session.key();
            let before: Vec<&Session> =
                current.iter().filter_map(|layer| layer.content.session(&peer.vrf, &key)).collect();
            session.routes = offers(config, class, peer, routes, &before, findings);
            router.sessions.insert(key, session);
        }
        layout.insert(name, Layer { hosts: class.hosts.clone(), content });
    }
    layout
}

/// What a class offers to a peer. A retained route that no advertisement fits stays as it is.
fn offers(
    config: &Config,
    class: &Class,
    peer: &Peer,
    routes: &BTreeMap<IpNet, Route>,
    before: &[&Session],
    findings: &mut Findings,
) -> BTreeMap<IpNet, Attributes> {
    let mut offers = BTreeMap::new();
    for (prefix, route) in routes.iter().filter(|(prefix, _)| peer.carries(Family::of(prefix.addr()))) {
        let telling: Vec<usize> = route
            .advertisements
            .iter()
            .copied()
            .filter(|index| class.advertisements.contains(index))
            .filter(|index| config.advertisements.get(*index).is_some_and(|a| a.tells(&peer.name)))
            .collect();
        if !telling.is_empty() {
            offers.insert(*prefix, attributes(config, &telling, peer, findings));
        } else if route.retained
            && let Some(attributes) = before.iter().find_map(|session| session.routes.get(prefix))
        {
            offers.insert(*prefix, attributes.clone());
        }
    }
    offers
}

/// What several advertisements say together: all communities, and the local preference of the oldest that has one.
fn attributes(config: &Config, telling: &[usize], peer: &Peer, findings: &mut Findings) -> Attributes {
    let mut attributes = Attributes::default();
    let mut from = None;
    for advertisement in telling.iter().filter_map(|index| config.advertisements.get(*index)) {
        attributes.communities.extend(advertisement.communities.iter().cloned());
        match (from, advertisement.local_pref) {
            (None, Some(value)) => {
                attributes.local_pref = Some(value);
                from = Some(&advertisement.name);
            }
            (Some(older), Some(value)) if attributes.local_pref != Some(value) => findings.error(
                ObjectRef::new(Kind::LoadBalancerAdvertisement, ObjectName::cluster(&advertisement.name)),
                Reason::SessionConflict,
                format!(
                    "localPref is {value}, but the older LoadBalancerAdvertisement {older} gives the same addresses another towards {}",
                    peer.name
                ),
            ),
            _ => {}
        }
    }
    attributes
}

/// All prefixes that the layout announces somewhere.
pub fn announced(layout: &Layout) -> BTreeSet<IpNet> {
    layout.values().flat_map(|layer| layer.content.prefixes()).collect()
}
