//! What of an FRRConfiguration can be at odds with another one.

use clarion_api::frr::{Advertise, AllowedOut, FrrConfigurationSpec, Neighbor, Router};

use super::{Fault, Merging, Named, Refusal, SelectorError, select};
use crate::config::Selector;

/// An FRRConfiguration of somebody else, reduced to what matters beside others: however many prefixes it has, few of them can
/// be at odds with anything.
#[derive(Clone, Debug, PartialEq)]
pub struct Digest {
    /// Which nodes it is for; one that can't be parsed fails **every** node.
    pub selector: Result<Selector, SelectorError>,
    /// What can be at odds with another object.
    pub says: FrrConfigurationSpec,
    /// What is wrong with it by itself.
    pub fault: Option<Box<Refusal>>,
}

impl Digest {
    /// Reduces an FRRConfiguration.
    #[must_use]
    pub fn new(object: Named) -> Self {
        let selector = match &object.spec.node_selector {
            Some(selector) => select::parse(selector),
            None => Ok(Selector::default()),
        };
        let bgp = object.spec.bgp.clone().map(|mut bgp| {
            bgp.routers.iter_mut().for_each(reduce_router);
            bgp
        });
        let says = FrrConfigurationSpec { bgp, ..FrrConfigurationSpec::default() };
        Self { selector, says, fault: Merging::default().add(object).err() }
    }

    /// Whether the object stops the daemons of all nodes, selected or not.
    #[must_use]
    pub fn stops_all(&self) -> bool {
        let is_undecodable = |fault: &Refusal| matches!(fault.fault, Fault::Undecodable(_));
        self.selector.is_err() || self.fault.as_deref().is_some_and(is_undecodable)
    }
}

fn reduce_router(router: &mut Router) {
    router.imports.clear();
    router.prefixes.clear();
    for neighbor in &mut router.neighbors {
        reduce_neighbor(neighbor);
        let advertise = neighbor.to_advertise.iter().filter_map(|advertise| advertise.allowed.as_ref());
        router.prefixes.extend(advertise.flat_map(|allowed| allowed.prefixes.iter().cloned()));
    }
}

/// Of a prefix there can be one local preference and one prepend; everything else about prefixes is united.
fn reduce_neighbor(neighbor: &mut Neighbor) {
    neighbor.to_receive = None;
    let Some(advertise) = &mut neighbor.to_advertise else { return };
    let with_local_pref = std::mem::take(&mut advertise.with_local_pref);
    let with_as_path_prepend = std::mem::take(&mut advertise.with_as_path_prepend);
    let prefixes = with_local_pref.iter().flat_map(|entry| &entry.prefixes);
    let mut prefixes: Vec<String> =
        prefixes.chain(with_as_path_prepend.iter().flat_map(|entry| &entry.prefixes)).cloned().collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    *advertise = Advertise {
        allowed: Some(AllowedOut { prefixes, ..AllowedOut::default() }),
        next_hop: advertise.next_hop.take(),
        with_local_pref,
        with_as_path_prepend,
        ..Advertise::default()
    };
}
