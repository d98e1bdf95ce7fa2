//! Sets of IP addresses of any size, kept as disjoint ranges.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

/// Counts end here: the largest integer that every JSON reader keeps exact.
pub const COUNT_MAX: u64 = (1 << 53) - 1;

/// A count for people, who are told when it ends at [`COUNT_MAX`].
#[must_use]
pub fn count_text(count: u64) -> String {
    if count >= COUNT_MAX { "2^53+".to_owned() } else { count.to_string() }
}

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

impl AddressRange {
    /// The first address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        address(self.family, self.first)
    }

    /// The last address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        address(self.family, self.last)
    }

    /// What both have, if anything.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (self.family == other.family && first <= last).then_some(Self { family: self.family, first, last })
    }

    /// The lower and the upper half of a range of more than one address.
    #[must_use]
    pub fn halves(&self) -> Option<(Self, Self)> {
        let middle = self.first + (self.last - self.first) / 2;
        (self.first < self.last).then(|| (Self { last: middle, ..*self }, Self { first: middle + 1, ..*self }))
    }

    /// The block of 2^n addresses, aligned to its size, that is the smallest around both ends.
    #[must_use]
    pub fn block(&self) -> Self {
        let bits = 128 - (self.first ^ self.last).leading_zeros();
        let host = u128::MAX.checked_shr(128 - bits).unwrap_or(0);
        Self { family: self.family, first: self.first & !host, last: self.last | host }
    }

    /// The first address as a number.
    #[must_use]
    pub fn first_number(&self) -> u128 {
        self.first
    }

    /// How many addresses it has less one.
    #[must_use]
    pub fn span(&self) -> u128 {
        self.last - self.first
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return write!(f, "{}", self.first());
        }
        let block = self.block();
        let bits = (block.span().wrapping_add(1)).trailing_zeros();
        let width = if self.family == Family::V4 { 32 } else { 128 };
        if block == *self && bits <= width {
            write!(f, "{}/{}", self.first(), width - bits)
        } else {
            write!(f, "{}-{}", self.first(), self.last())
        }
    }
}

impl From<IpNet> for AddressRange {
    fn from(prefix: IpNet) -> Self {
        let (first, last) = (number(prefix.network()), number(prefix.broadcast()));
        Self { family: Family::of(prefix.addr()), first, last }
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

    /// Takes out all addresses of the range; tells whether there were any.
    pub fn remove(&mut self, range: AddressRange) -> bool {
        self.family_mut(range.family).remove(range.first, range.last)
    }

    /// The set without the addresses of these items, which are in ascending order, and how many of either family that
    /// took out. Costs a logarithm for each range and one step for each address.
    #[must_use]
    pub fn without<T>(&self, items: &[T], address_of: impl Fn(&T) -> IpAddr) -> (Self, [u64; 2]) {
        let mut taken = [0, 0];
        let [v4, v6] = &mut taken;
        let rest = |family: Family, taken: &mut u64| {
            let mut gaps = Vec::new();
            for range in self.ranges(family) {
                let begin = items.partition_point(|item| address_of(item) < range.first());
                let mut next = Some(range.first);
                for item in items.iter().skip(begin).map(&address_of).take_while(|address| *address <= range.last()) {
                    let Some(start) = next.filter(|start| *start <= number(item)) else { continue };
                    if start < number(item) {
                        gaps.push((start, number(item) - 1));
                    }
                    *taken += 1;
                    next = number(item).checked_add(1);
                }
                gaps.extend(next.filter(|start| *start <= range.last).map(|start| (start, range.last)));
            }
            Ranges(gaps.into_iter().collect())
        };
        let set = Self { v4: rest(Family::V4, v4), v6: rest(Family::V6, v6) };
        (set, taken)
    }

    /// The ranges of the family in ascending order.
    pub fn ranges(&self, family: Family) -> impl DoubleEndedIterator<Item = AddressRange> {
        self.family(family).0.iter().map(move |(first, last)| AddressRange { family, first: *first, last: *last })
    }

    /// Whether the address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.meets(address.into())
    }

    /// How many addresses of the range are in it.
    #[must_use]
    pub fn size_within(&self, range: AddressRange) -> u128 {
        let below =
            self.family(range.family).0.range(..=range.last).rev().take_while(|(_, last)| **last >= range.first);
        below.fold(0, |sum, (first, last)| {
            sum.saturating_add((*last).min(range.last) - (*first).max(range.first)).saturating_add(1)
        })
    }

    /// The parts of the range that are in it, descending.
    pub fn meeting(&self, range: AddressRange) -> impl Iterator<Item = AddressRange> {
        let below = self.family(range.family).0.range(..=range.last).rev();
        let family = range.family;
        below.map_while(move |(first, last)| AddressRange { family, first: *first, last: *last }.intersection(&range))
    }

    /// Whether any address of the range is in it.
    #[must_use]
    pub fn meets(&self, range: AddressRange) -> bool {
        let below = self.family(range.family).0.range(..=range.last).next_back();
        below.is_some_and(|(_, last)| *last >= range.first)
    }

    /// The lowest address of the family.
    #[must_use]
    pub fn first(&self, family: Family) -> Option<IpAddr> {
        self.family(family).0.first_key_value().map(|(first, _)| address(family, *first))
    }

    /// How many addresses of the family there are; one less of all IPv6 addresses.
    #[must_use]
    pub fn size(&self, family: Family) -> u128 {
        let ranges = &self.family(family).0;
        ranges.iter().fold(0_u128, |sum, (first, last)| sum.saturating_add(last - first).saturating_add(1))
    }

    /// The same, at most [`COUNT_MAX`].
    #[must_use]
    pub fn count(&self, family: Family) -> u64 {
        u64::try_from(self.size(family)).unwrap_or(COUNT_MAX).min(COUNT_MAX)
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
        let numbers = set.ranges(Family::V4).flat_map(|range| range.first..=range.last);
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

    proptest! {
        #[test]
        fn what_is_left_without_others_is_what_removing_each_leaves(
            ranges in prop::collection::vec((any::<u8>(), any::<u8>()), 0..5),
            mut taken in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut set = AddressSet::default();
            for (a, b) in ranges {
                set.insert(AddressRange::new(ip(a.min(b)), ip(a.max(b))).unwrap());
            }
            taken.sort_unstable();
            let (left, count) = set.without(&taken, |n| ip(*n));
            let before = set.count(Family::V4);
            taken.iter().for_each(|n| { set.remove(ip(*n).into()); });
            prop_assert_eq!(count, [before - set.count(Family::V4), 0]);
            prop_assert_eq!(left, set);
        }

        #[test]
        fn halves_and_blocks_cover_their_range(a in any::<u32>(), b in any::<u32>()) {
            let ip = |n: u32| IpAddr::V4(Ipv4Addr::from(n));
            let range = AddressRange::new(ip(a.min(b)), ip(a.max(b))).unwrap();
            let block = range.block();
            prop_assert!(block.intersection(&range) == Some(range));
            prop_assert!((block.span() + 1).is_power_of_two() && block.first.is_multiple_of(block.span() + 1));
            if let Some((low, high)) = block.halves() {
                prop_assert_eq!(low.span(), high.span());
                prop_assert!(range.intersection(&low).is_some() && range.intersection(&high).is_some(), "the smallest");
            }
        }
    }

    #[test]
    fn ranges_are_written_as_users_write_them() {
        let text = |first: &str, last: &str| {
            AddressRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap().to_string()
        };
        assert_eq!(text("10.0.0.0", "10.0.0.255"), "10.0.0.0/24");
        assert_eq!(text("10.0.0.1", "10.0.0.1"), "10.0.0.1");
        assert_eq!(text("10.0.0.1", "10.0.0.2"), "10.0.0.1-10.0.0.2");
        assert_eq!(text("2001:db8::", "2001:db8::ffff"), "2001:db8::/112");
        assert_eq!(text("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "::/0");
        assert_eq!(text("0.0.0.0", "255.255.255.255"), "0.0.0.0/0");
    }

    #[test]
    fn buggy_addresses_leave() {
        let mut set = AddressSet::default();
        set.insert(AddressRange::new(ip(255), "10.0.1.1".parse().unwrap()).unwrap());
        set.remove_v4_network_and_broadcast();
        assert_eq!((set.count(Family::V4), set.first(Family::V4)), (1, Some("10.0.1.1".parse().unwrap())));
    }
}
