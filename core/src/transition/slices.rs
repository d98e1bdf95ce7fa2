//! What a host has, in slices: where that does not fit into one object and no session changes, several objects park it together, each
//! with some of the routes.

use ipnet::IpNet;

use crate::{
    compose::{SHARDS_MAX, part},
    hash::hash_of_prefix,
};

/// The routes whose prefixes have a hash with this remainder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slice {
    /// Of how many it is one. A power of two.
    count: usize,
    remainder: usize,
}

impl Slice {
    /// All routes.
    pub const WHOLE: Self = Self { count: 1, remainder: 0 };

    /// Both halves, if it can be cut.
    fn halves(self) -> Option<[Self; 2]> {
        let half = |remainder| Self { count: 2 * self.count, remainder };
        (self.count < SHARDS_MAX).then(|| [half(self.remainder), half(self.remainder + self.count)])
    }

    /// Cuts it as often as is necessary for each slice to fit, and leaves out what is there already.
    pub fn cut(self, there: &[Self], fits: &impl Fn(Self) -> bool) -> Vec<Self> {
        let others: Vec<Self> = there.iter().copied().filter(|other| self.meets(*other)).collect();
        if others.iter().any(|other| other.count <= self.count) {
            return Vec::new();
        }
        match self.halves() {
            Some(halves) if !others.is_empty() || !fits(self) => {
                halves.into_iter().flat_map(|half| half.cut(&others, fits)).collect()
            }
            _ => vec![self],
        }
    }

    /// The end of a parking object's name that tells the slice.
    pub fn suffix(self) -> String {
        if self.is_whole() { String::new() } else { format!("-p{}of{}", self.remainder, self.count) }
    }

    /// The slice that the name of a parking object tells.
    pub fn of_name(name: &str) -> Self {
        let slice = || {
            let (_, suffix) = name.rsplit_once("-p")?;
            let (remainder, count) = suffix.split_once("of")?;
            let (remainder, count): (usize, usize) = (remainder.parse().ok()?, count.parse().ok()?);
            (count.is_power_of_two() && count <= SHARDS_MAX && remainder < count).then_some(Self { count, remainder })
        };
        slice().unwrap_or(Self::WHOLE)
    }

    /// Whether it is all there is.
    pub fn is_whole(self) -> bool {
        self == Self::WHOLE
    }

    /// Whether a route belongs to it.
    pub fn has(self, prefix: &IpNet) -> bool {
        part(hash_of_prefix(prefix), self.count) == self.remainder
    }

    /// Whether a route may belong to both.
    pub fn meets(self, other: Self) -> bool {
        let count = self.count.min(other.count);
        self.remainder % count == other.remainder % count
    }

    /// Whether slices that do not meet are all there is together.
    pub fn are_all(slices: &[Self]) -> bool {
        slices.iter().map(|slice| SHARDS_MAX / slice.count).sum::<usize>() == SHARDS_MAX
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("clarion-park-00c1a5f00d00c2d3", 1, 0)]
    #[case("clarion-park-00c1a5f00d00c2d3-p0of2", 2, 0)]
    #[case("clarion-park-00c1a5f00d00c2d3-p7of8", 8, 7)]
    #[case("clarion-park-00c1a5f00d00c2d3-p8of8", 1, 0)]
    #[case("clarion-park-00c1a5f00d00c2d3-p1of3", 1, 0)]
    #[case("clarion-park-00c1a5f00d00c2d3-p1of0", 1, 0)]
    #[case("clarion-park-00c1a5f00d00c2d3-p1of2048", 1, 0)]
    #[case("clarion-park-p-pofof", 1, 0)]
    #[case("", 1, 0)]
    fn names_tell_slices(#[case] name: &str, #[case] count: usize, #[case] remainder: usize) {
        let slice = Slice::of_name(name);
        assert_eq!(slice, Slice { count, remainder });
        assert_eq!(Slice::of_name(&format!("clarion-park-1{}", slice.suffix())), slice);
    }

    #[rstest]
    #[case::it_fits(1, &[], &[(1, 0)])]
    #[case::halves_fit(2, &[], &[(2, 0), (2, 1)])]
    #[case::quarters_fit(4, &[], &[(4, 0), (4, 2), (4, 1), (4, 3)])]
    #[case::it_is_there(2, &[(1, 0)], &[])]
    #[case::one_half_is_there(2, &[(2, 0)], &[(2, 1)])]
    #[case::one_half_is_there_and_the_other_does_not_fit(4, &[(2, 0)], &[(4, 1), (4, 3)])]
    #[case::a_quarter_is_there(1, &[(4, 1)], &[(2, 0), (4, 3)])]
    fn a_slice_is_cut_until_it_fits(
        #[case] count: usize,
        #[case] there: &[(usize, usize)],
        #[case] expected: &[(usize, usize)],
    ) {
        let slices = |slices: &[(usize, usize)]| -> Vec<Slice> {
            slices.iter().map(|(count, remainder)| Slice { count: *count, remainder: *remainder }).collect()
        };
        assert_eq!(Slice::WHOLE.cut(&slices(there), &|slice| slice.count >= count), slices(expected));
    }

    #[test]
    fn what_never_fits_is_cut_to_the_end() {
        assert_eq!(Slice::WHOLE.cut(&[], &|_| false).len(), SHARDS_MAX);
    }

    #[rstest]
    #[case(&[], false)]
    #[case(&[(1, 0)], true)]
    #[case(&[(2, 0)], false)]
    #[case(&[(2, 0), (2, 1)], true)]
    #[case(&[(2, 0), (4, 1)], false)]
    #[case(&[(2, 0), (4, 1), (4, 3)], true)]
    fn slices_are_all_when_none_is_left(#[case] slices: &[(usize, usize)], #[case] expected: bool) {
        let slices: Vec<_> =
            slices.iter().map(|(count, remainder)| Slice { count: *count, remainder: *remainder }).collect();
        assert_eq!(Slice::are_all(&slices), expected);
        let prefixes = || (0..64).map(|n| IpNet::from(std::net::IpAddr::from([10, 0, 0, n])));
        assert_eq!(prefixes().all(|prefix| slices.iter().any(|slice| slice.has(&prefix))), expected);
        assert!(
            slices.iter().enumerate().all(|(n, slice)| slices.iter().skip(n + 1).all(|other| !slice.meets(*other)))
        );
    }
}
