//! Durations as flags have them.

use std::time::Duration;

/// Whole seconds of `15s` or `1m`; `None` if it is neither.
pub fn whole_seconds(text: &str) -> Option<u64> {
    let (number, factor) = match (text.strip_suffix('s'), text.strip_suffix('m')) {
        (Some(number), _) => (number, 1),
        (_, Some(number)) => (number, 60),
        _ => return None,
    };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<u64>().ok().filter(|_| digits)?.checked_mul(factor)
}

/// How long to wait: whole seconds, at most an hour.
pub fn timeout(text: &str) -> Result<Duration, String> {
    match whole_seconds(text) {
        Some(seconds @ 1..=3600) => Ok(Duration::from_secs(seconds)),
        _ => Err("whole seconds between 1s and 3600s, or minutes, are needed".to_owned()),
    }
}
