//! From which nodes prefixes are announced: routers spread connections over these, and anew where they change, which may break
//! connections that there are.

use std::{collections::HashMap, sync::Arc};

use itertools::Itertools as _;

use super::daemons::alike;
use crate::{
    compose::Layout,
    hash::{hash_of, hash_of_prefix, mix},
};

/// From which nodes each prefix is to be announced, as two numbers: one tells prefixes apart, the other sets of nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NextHops(Vec<(u64, u64)>);

impl NextHops {
    /// What the objects of a layout say together. How it is cut into objects makes no difference.
    pub fn new(layout: &Layout) -> Self {
        let mut known = HashMap::new();
        let mut prefixes = Vec::new();
        for layers in alike(layout) {
            let Some(content) = layers.first().map(|layer| &layer.content) else { continue };
            let nodes = layers.iter().fold(0_u64, |sum, layer| {
                let names = || layer.hosts.iter().map(|name| mix(0, [hash_of(name)])).fold(0, u64::wrapping_add);
                sum.wrapping_add(*known.entry(Arc::as_ptr(&layer.hosts)).or_insert_with(names))
            });
            let announced = content.sessions().map(|(_, _, session)| session.routes.keys()).kmerge().dedup();
            prefixes.extend(announced.map(|prefix| (hash_of_prefix(prefix), nodes)));
        }
        prefixes.sort_unstable();
        prefixes.dedup_by(|(prefix, nodes), (last, sum)| {
            let same = prefix == last;
            *sum = sum.wrapping_add(if same { *nodes } else { 0 });
            same
        });
        // It is kept from one plan to the next.
        prefixes.shrink_to_fit();
        Self(prefixes)
    }

    /// How many prefixes are to be announced from other nodes than before. One that comes or goes is none of them.
    #[must_use]
    pub fn changed_since(&self, before: &Self) -> usize {
        let both = self.0.iter().merge_join_by(&before.0, |(now, _), (before, _)| now.cmp(before));
        both.filter(|pair| pair.as_ref().both().is_some_and(|(now, before)| now != before)).count()
    }
}
