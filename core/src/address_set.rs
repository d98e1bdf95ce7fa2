//! Sets of IP addresses of any size, kept as disjoint ranges.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Counts end here: the largest integer that every JSON reader keeps exact.
pub const COUNT_MAX: u64 = (1 << 53) - 1;

/// An IP family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, IPv4 first.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The name as Kubernetes writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// The addresses from the first to the last, both included; of one family, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    family: Family,
    first: u128,
    last: u128,
}

impl AddressRange {
    /// `None` if the ends are of different families or in the wrong order.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        let family = Family::of(first);
        let (first, last_value) = (number(first), number(last));
        (family == Family::of(last) && first <= last_value).then_some(Self { family, first, last: last_value })
    }
}

impl From<IpAddr> for AddressRange {
    fn from(address: IpAddr) -> Self {
        Self { family: Family::of(address), first: number(address), last: number(address) }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn address(family: Family, number: u128) -> IpAddr {
    match family {
        // An IPv4 range never holds a number above 2^32-1.
        Family::V4 => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX))),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

/// A set of addresses of both families. Every operation is logarithmic in the number of ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    v4: Ranges,
    v6: Ranges,
}

impl AddressSet {
    /// Adds all addresses of the range.
    pub fn insert(&mut self, range: AddressRange) {
        self.family_mut(range.family).insert(range.first, range.last);
    }

    /// Takes out all addresses of the range.
    pub fn remove(&mut self, range: AddressRange) {
        self.family_mut(range.family).remove(range.first, range.last);
    }

    /// Takes out all addresses of the other set; tells whether there were any.
    pub fn remove_all(&mut self, other: &Self) -> bool {
        let mut any = false;
        for family in Family::ALL {
            for (first, last) in &other.family(family).0 {
                any |= self.family_mut(family).remove(*first, *last);
            }
        }
        any
    }

    /// The ranges of the family, in order, by their first and last address.
    pub fn ranges(&self, family: Family) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        self.family(family).0.iter().map(move |(first, last)| (address(family, *first), address(family, *last)))
    }

    /// The lowest address of the family.
    #[must_use]
    pub fn first(&self, family: Family) -> Option<IpAddr> {
        self.family(family).0.first_key_value().map(|(first, _)| address(family, *first))
    }

    /// How many addresses of the family there are, at most [`COUNT_MAX`].
    #[must_use]
    pub fn count(&self, family: Family) -> u64 {
        let ranges = &self.family(family).0;
        let sum = ranges.iter().fold(0_u128, |sum, (first, last)| sum.saturating_add(last - first).saturating_add(1));
        u64::try_from(sum).unwrap_or(COUNT_MAX).min(COUNT_MAX)
    }

    /// Whether there is no address of either family.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.0.is_empty() && self.v6.0.is_empty()
    }

    /// Takes out the IPv4 addresses that end in .0 or .255. Costs one step for each /24 touched.
    pub fn remove_v4_network_and_broadcast(&mut self) {
        for (first, last) in self.v4.0.clone() {
            for network in (first >> 8)..=(last >> 8) {
                self.v4.remove(network << 8, network << 8);
                self.v4.remove((network << 8) | 0xff, (network << 8) | 0xff);
            }
        }
    }

    fn family(&self, family: Family) -> &Ranges {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    fn family_mut(&mut self, family: Family) -> &mut Ranges {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

/// First -> last, both included; disjoint and never adjacent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranges(BTreeMap<u128, u128>);

impl Ranges {
    fn insert(&mut self, mut first: u128, mut last: u128) {
        while let Some((&low, &high)) = self.0.range(..=last.saturating_add(1)).next_back()
            && high.saturating_add(1) >= first
        {
            self.0.remove(&low);
            first = first.min(low);
            last = last.max(high);
        }
        self.0.insert(first, last);
    }

    fn remove(&mut self, first: u128, last: u128) -> bool {
        let mut any = false;
        while let Some((&low, &high)) = self.0.range(..=last).next_back()
            && high >= first
        {
            self.0.remove(&low);
            if low < first {
                self.0.insert(low, first - 1);
            }
            if high > last {
                self.0.insert(last + 1, high);
            }
            any = true;
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ip(n: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, n))
    }

    fn addresses(set: &AddressSet) -> Vec<IpAddr> {
        let numbers = set.ranges(Family::V4).flat_map(|(first, last)| number(first)..=number(last));
        numbers.map(|n| address(Family::V4, n)).collect()
    }

    proptest! {
        #[test]
        fn behaves_as_a_plain_set_of_addresses(
            steps in prop::collection::vec((any::<bool>(), any::<u8>(), any::<u8>()), 0..40),
        ) {
            let (mut set, mut model) = (AddressSet::default(), BTreeSet::new());
            for (insert, a, b) in steps {
                let (low, high) = (a.min(b), a.max(b));
                let range = AddressRange::new(ip(low), ip(high)).unwrap();
                if insert {
                    set.insert(range);
                    model.extend(low..=high);
                } else {
                    set.remove(range);
                    model.retain(|n| !(low..=high).contains(n));
                }
                prop_assert_eq!(set.first(Family::V4), model.first().map(|n| ip(*n)));
                prop_assert_eq!(set.count(Family::V4), model.len() as u64);
                let members: Vec<_> = model.iter().map(|n| ip(*n)).collect();
                prop_assert_eq!(addresses(&set), members);
                prop_assert!(set.v4.0.iter().zip(set.v4.0.iter().skip(1)).all(|(a, b)| a.1 + 1 < *b.0), "not merged");
            }
        }
    }

    #[test]
    fn the_whole_of_ipv6_is_counted_up_to_the_limit_and_can_be_emptied() {
        let all = AddressRange::new("::".parse().unwrap(), IpAddr::V6(Ipv6Addr::from(u128::MAX))).unwrap();
        let mut set = AddressSet::default();
        set.insert(all);
        assert_eq!(set.count(Family::V6), COUNT_MAX);
        set.remove(IpAddr::V6(Ipv6Addr::from(u128::MAX)).into());
        assert_eq!(set.first(Family::V6), Some("::".parse().unwrap()));
        set.remove(all);
        assert!(set.is_empty());
    }

    #[test]
    fn buggy_addresses_leave() {
        let mut set = AddressSet::default();
        set.insert(AddressRange::new(ip(255), "10.0.1.1".parse().unwrap()).unwrap());
        set.remove_v4_network_and_broadcast();
        assert_eq!((set.count(Family::V4), set.first(Family::V4)), (1, Some("10.0.1.1".parse().unwrap())));
    }
}
