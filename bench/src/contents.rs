use std::collections::{BTreeMap, BTreeSet};

use clarion_api::frr::FRRConfiguration;
use ipnet::IpNet;

/// Which prefixes are in which FRRConfigurations.
///
/// A prefix that moves from one object to another is in both for a while, or in the one before it leaves the other: what
/// counts is whether any object has it.
#[derive(Debug, Default)]
pub struct Contents {
    objects: BTreeMap<String, BTreeSet<IpNet>>,
    holders: BTreeMap<IpNet, usize>,
}

/// What is in an object now that was in none, and what is in none any more.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shift {
    /// In an object now.
    pub appeared: Vec<IpNet>,
    /// In none any more.
    pub gone: Vec<IpNet>,
}

impl Contents {
    /// Says what an object has from now on.
    pub fn set(&mut self, name: &str, prefixes: BTreeSet<IpNet>) -> Shift {
        let before = self.objects.remove(name).unwrap_or_default();
        let mut shift = Shift::default();
        for prefix in prefixes.difference(&before) {
            let holders = self.holders.entry(*prefix).or_default();
            *holders += 1;
            if *holders == 1 {
                shift.appeared.push(*prefix);
            }
        }
        for prefix in before.difference(&prefixes) {
            let holders = self.holders.get(prefix).copied().unwrap_or_default();
            if holders > 1 {
                self.holders.insert(*prefix, holders - 1);
            } else {
                self.holders.remove(prefix);
                shift.gone.push(*prefix);
            }
        }
        if !prefixes.is_empty() {
            self.objects.insert(name.to_owned(), prefixes);
        }
        shift
    }
}

/// The prefixes of all routers of an object.
#[must_use]
pub fn prefixes(object: &FRRConfiguration) -> BTreeSet<IpNet> {
    let routers = object.spec.bgp.iter().flat_map(|bgp| &bgp.routers);
    routers.flat_map(|router| &router.prefixes).filter_map(|prefix| prefix.parse().ok()).collect()
}
