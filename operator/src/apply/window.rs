//! How many writes may be in flight: fewer when the API server is overloaded, and step by step more again when it is not.
//!
//! Additive increase, multiplicative decrease, as TCP does it (RFC 5681). The API server's priority and fairness rejects what
//! it has no place for with 429 and `Retry-After`.

use tokio::time::Instant;

/// The window. Time is handed in.
pub struct Window {
    max: f64,
    limit: f64,
    /// When it was made narrower; what was sent before tells nothing new.
    narrowed: Option<Instant>,
    /// The API server has asked to be left alone until then.
    closed_until: Option<Instant>,
}

impl Window {
    /// An open one.
    pub fn new(max: usize) -> Self {
        let max = u32::try_from(max.max(1)).map_or(f64::from(u32::MAX), f64::from);
        Self { max, limit: max, narrowed: None, closed_until: None }
    }

    /// Whether one more may be sent now; if time alone will make it so, when.
    pub fn admits(&mut self, in_flight: usize, now: Instant) -> Result<(), Option<Instant>> {
        self.closed_until = self.closed_until.filter(|until| *until > now);
        match self.closed_until {
            Some(until) => Err(Some(until)),
            None if in_flight < self.limit() => Ok(()),
            None => Err(None),
        }
    }

    /// An answer has come.
    pub fn widen(&mut self) {
        self.limit = (self.limit + 1.0 / self.limit).min(self.max);
    }

    /// The API server has said, or shown by its silence, that it has too much to do. The write was sent at `started`; nothing is
    /// sent before `until`.
    pub fn narrow(&mut self, started: Instant, now: Instant, until: Option<Instant>) {
        if self.narrowed.is_none_or(|at| started >= at) {
            self.limit = (self.limit / 2.0).max(1.0);
            self.narrowed = Some(now);
        }
        self.closed_until = self.closed_until.max(until);
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 1 and a small number")]
    fn limit(&self) -> usize {
        self.limit as usize
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn one_overload_halves_it_once_and_answers_open_it_again() {
        let start = Instant::now();
        let mut window = Window::new(32);
        // All that were in flight fail.
        for _ in 0..32 {
            window.narrow(start, start + MS, None);
        }
        assert_eq!(window.limit(), 16);
        window.narrow(start + MS, start + 2 * MS, None);
        assert_eq!(window.limit(), 8);
        for _ in 0..8 {
            window.widen();
        }
        assert_eq!(window.limit(), 8, "a whole round makes one more");
        window.widen();
        assert_eq!(window.limit(), 9);
        (0..1_000).for_each(|_| window.widen());
        assert_eq!(window.limit(), 32);
    }

    #[test]
    fn it_never_closes_by_itself() {
        let start = Instant::now();
        let mut window = Window::new(8);
        (0..20).for_each(|n| window.narrow(start + n * MS, start + n * MS, None));
        assert_eq!(window.admits(0, start), Ok(()));
        assert_eq!(window.admits(1, start), Err(None));
    }

    #[test]
    fn it_is_closed_as_long_as_the_api_server_asks() {
        let start = Instant::now();
        let mut window = Window::new(8);
        window.narrow(start, start, Some(start + 900 * MS));
        window.narrow(start, start, Some(start + 500 * MS));
        assert_eq!(window.admits(0, start + 899 * MS), Err(Some(start + 900 * MS)));
        assert_eq!(window.admits(0, start + 900 * MS), Ok(()));
    }
}
