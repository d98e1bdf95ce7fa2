//! How long to wait before what has failed is tried again.

use std::time::Duration;

/// The pause after a failure with so many before it in a row: the shortest at first, then twice as long each time, up to the longest.
pub fn pause((shortest, longest): (Duration, Duration), failures: u32) -> Duration {
    let times = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
    shortest.saturating_mul(times).min(longest)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, 50)]
    #[case(1, 100)]
    #[case(9, 25_600)]
    #[case(10, 30_000)]
    #[case(31, 30_000)]
    #[case(u32::MAX, 30_000)]
    fn pauses(#[case] failures: u32, #[case] milliseconds: u64) {
        let bounds = (Duration::from_millis(50), Duration::from_secs(30));
        assert_eq!(pause(bounds, failures), Duration::from_millis(milliseconds));
    }
}
