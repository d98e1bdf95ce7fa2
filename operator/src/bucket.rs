//! A token bucket. Time is handed in.

use std::time::Duration;

use tokio::time::Instant;

/// Gives so many tokens at once, and then so many a second.
#[derive(Debug)]
pub struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn full(per_second: u32, burst: u32, now: Instant) -> Self {
        let burst = f64::from(burst);
        Self { per_second: f64::from(per_second), burst, tokens: burst, at: now }
    }

    /// Whether there is a token, or when there will be one.
    pub fn ready(&mut self, now: Instant) -> Result<(), Instant> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
        self.at = self.at.max(now);
        if self.tokens < 1.0 {
            let wait = Duration::from_secs_f64((1.0 - self.tokens) / self.per_second);
            return Err(now + wait.max(Duration::from_millis(1)));
        }
        Ok(())
    }

    /// Takes a token, or tells when there will be one.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        self.ready(now)?;
        self.spend();
        Ok(())
    }

    /// Takes a token that is [`Bucket::ready`].
    pub fn spend(&mut self) {
        self.tokens -= 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_a_burst_and_then_ten_a_second() {
        let start = Instant::now();
        let mut bucket = Bucket::full(10, 20, start);
        let burst = (0..100).take_while(|_| bucket.take(start).is_ok()).count();
        assert_eq!(burst, 20);
        let mut now = start;
        let mut taken = 0;
        while now < start + Duration::from_secs(10) {
            match bucket.take(now) {
                Ok(()) => taken += 1,
                Err(at) => now = at,
            }
        }
        assert!((99..=101).contains(&taken), "{taken} in ten seconds");
    }
}
