use std::{fmt, time::Duration};

use hdrhistogram::Histogram;

use crate::Result;

/// A duration in milliseconds.
#[must_use]
pub fn milliseconds(duration: Duration) -> f64 {
    1000.0 * duration.as_secs_f64()
}

/// Many durations, as a histogram that keeps three digits of each.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// Of these durations.
    ///
    /// # Errors
    /// If one is longer than any that can be kept.
    pub fn of(durations: impl IntoIterator<Item = Duration>) -> Result<Self> {
        let mut histogram = Histogram::new(3)?;
        for duration in durations {
            histogram.record(u64::try_from(duration.as_micros())?)?;
        }
        Ok(Self(histogram))
    }

    /// The duration that so many per cent do not exceed.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.0.value_at_percentile(percent))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |percent| self.percentile(percent);
        let max = Duration::from_micros(self.0.max());
        write!(
            f,
            "{} times: p50 {:.1?}, p90 {:.1?}, p99 {:.1?}, max {max:.1?}",
            self.count(),
            at(50.0),
            at(90.0),
            at(99.0)
        )
    }
}
