//! The address that follows from a name: hierarchical rendezvous hashing.
//!
//! The pool is halved again and again; at each step the name decides for one half, in proportion to how many addresses of the
//! pool each has, unless nothing is free there. So a name gets the same address wherever that is free, and a range that is
//! added to the pool changes the choice of a part of the names that is about its share of the addresses.

use std::net::IpAddr;

use crate::{
    address_set::{AddressRange, AddressSet, Family},
    hash::{hash_of, mix},
};

/// A free address of the pool for this name; `None` if none of the family is free.
pub fn pick(pool: &AddressSet, free: &AddressSet, family: Family, name: &str) -> Option<IpAddr> {
    let (first, last) = (pool.ranges(family).next()?, pool.ranges(family).next_back()?);
    let mut block = AddressRange::new(first.first(), last.last())?.block();
    if !free.meets(block) {
        return None;
    }
    let name = hash_of(name);
    while let Some((low, high)) = block.halves() {
        block = match (free.meets(low), free.meets(high)) {
            (true, false) => low,
            (true, true) if prefers(name, low, pool.size_within(low), pool.size_within(high)) => low,
            _ => high,
        };
    }
    Some(block.first())
}

/// Whether the name decides for the lower of two halves.
fn prefers(name: u64, low: AddressRange, in_low: u128, in_high: u128) -> bool {
    // Small enough for the product below: 63 bits of the sum are precise enough.
    let excess = 65_u32.saturating_sub(in_low.saturating_add(in_high).leading_zeros());
    let (in_low, in_both) = (in_low >> excess, (in_low >> excess) + (in_high >> excess));
    let draw = u128::from(draw(name, low));
    (draw * in_both) >> 64 < in_low
}

/// A number for the name at the place of the decision.
fn draw(name: u64, place: AddressRange) -> u64 {
    let low_half = |number: u128| u64::try_from(number & u128::from(u64::MAX)).unwrap_or(0);
    mix(name, [low_half(place.first_number() >> 64), low_half(place.first_number()), low_half(place.span())])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn set(ranges: &[(&str, &str)]) -> AddressSet {
        let mut set = AddressSet::default();
        for (first, last) in ranges {
            set.insert(AddressRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap());
        }
        set
    }

    fn picks(pool: &AddressSet, family: Family) -> BTreeMap<String, IpAddr> {
        let names = (0..2000).map(|n| format!("ns/service-{n}"));
        names.map(|name| (name.clone(), pick(pool, pool, family, &name).unwrap())).collect()
    }

    #[test]
    fn names_spread_evenly_over_ranges_of_any_size() {
        let pool = set(&[("10.0.0.0", "10.0.0.255"), ("10.9.0.0", "10.9.2.255")]);
        let in_small = picks(&pool, Family::V4).values().filter(|a| a.to_string().starts_with("10.0.")).count();
        assert!((420..580).contains(&in_small), "a quarter of 2000: {in_small}");
        let distinct: std::collections::BTreeSet<_> = picks(&pool, Family::V4).into_values().collect();
        // 1024 addresses drawn 2000 times: 1 - 1/e^1.95 of them.
        assert!((840..920).contains(&distinct.len()), "{}", distinct.len());
    }

    #[test]
    fn a_range_that_is_added_changes_the_choice_of_about_its_share() {
        let before = picks(&set(&[("10.0.0.0", "10.0.2.255")]), Family::V4);
        let after = picks(&set(&[("10.0.0.0", "10.0.3.255")]), Family::V4);
        let moved = before.iter().filter(|(name, address)| after[*name] != **address).count();
        assert!((400..750).contains(&moved), "a quarter to a third of 2000: {moved}");
    }

    #[test]
    fn the_choice_is_free_or_there_is_none() {
        let pool = set(&[("2001:db8::", "2001:db8::ffff:ffff:ffff:ffff")]);
        let name = "ns/a";
        let first = pick(&pool, &pool, Family::V6, name).unwrap();
        let mut free = pool.clone();
        free.remove(first.into());
        let second = pick(&pool, &free, Family::V6, name).unwrap();
        assert!(second != first && free.contains(second));
        assert_eq!(pick(&pool, &AddressSet::default(), Family::V6, name), None);
        assert_eq!(pick(&pool, &pool, Family::V4, name), None);
        let one = set(&[("10.0.0.7", "10.0.0.7")]);
        assert_eq!(pick(&one, &one, Family::V4, name), Some("10.0.0.7".parse().unwrap()));
        let all = set(&[("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")]);
        assert!(pick(&all, &all, Family::V6, name).is_some());
    }
}
