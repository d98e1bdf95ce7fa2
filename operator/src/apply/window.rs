//! How many writes may be in flight: fewer when their answers take long or don't come, and step by step more when they come soon.
//!
//! Slow start, additive increase and multiplicative decrease, as TCP does it (RFC 5681), with the time that an answer takes as the
//! signal. So Clarion has no more in flight than FRR-K8s's webhook can work on, and comes to no timeout to find that out: the API server
//! gives a webhook ten seconds. What the API server's priority and fairness has no place for is rejected with 429 and
//! `Retry-After`.

use std::time::Duration;

use tokio::time::Instant;

/// An answer that takes longer has waited for others. A quarter of what a webhook has, so that users' own writes, which wait
/// behind Clarion's, have the rest.
const PATIENCE: Duration = Duration::from_millis(2_500);

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
    /// One that begins with a single write and never has more than `max`.
    pub fn new(max: usize) -> Self {
        let max = u32::try_from(max.max(1)).map_or(f64::from(u32::MAX), f64::from);
        Self { max, limit: 1.0, narrowed: None, closed_until: None }
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

    /// An answer has come to a write that was sent at `started`, as one of so many in flight.
    pub fn answered(&mut self, in_flight: usize, started: Instant, now: Instant) {
        if now.saturating_duration_since(started) > PATIENCE {
            self.narrow(started, now);
        // A window that is not full has not been tried.
        } else if in_flight >= self.limit() {
            let more = if self.narrowed.is_none() { 1.0 } else { 1.0 / self.limit };
            self.limit = (self.limit + more).min(self.max);
        }
    }

    /// The API server has said, or shown by its silence, that it has too much to do. The write was sent at `started`; nothing is
    /// sent before `until`.
    pub fn overloaded(&mut self, started: Instant, now: Instant, until: Option<Instant>) {
        self.narrow(started, now);
        self.closed_until = self.closed_until.max(until);
    }

    fn narrow(&mut self, started: Instant, now: Instant) {
        if self.narrowed.is_none_or(|at| started >= at) {
            self.limit = (self.limit / 2.0).max(1.0);
            self.narrowed = Some(now);
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 1 and a small number")]
    fn limit(&self) -> usize {
        self.limit as usize
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// So many answers that come at once, to a window that is full.
    fn widen(window: &mut Window, answers: usize) {
        let now = Instant::now();
        (0..answers).for_each(|_| window.answered(window.limit(), now, now));
    }

    fn open(max: usize) -> Window {
        let mut window = Window::new(max);
        widen(&mut window, max);
        assert_eq!(window.limit(), max);
        window
    }

    #[test]
    fn it_begins_with_one_write_and_doubles_until_something_is_slow() {
        let mut window = Window::new(8);
        let mut limits = Vec::new();
        for _ in 0..4 {
            limits.push(window.limit());
            let round = window.limit();
            widen(&mut window, round);
        }
        assert_eq!(limits, [1, 2, 4, 8]);
    }

    #[test]
    fn what_was_not_tried_is_not_taken_for_granted() {
        let now = Instant::now();
        let mut window = Window::new(8);
        (0..100).for_each(|_| window.answered(1, now, now));
        assert_eq!(window.limit(), 2);
    }

    #[test]
    fn one_overload_halves_it_once_and_answers_open_it_again() {
        let start = Instant::now();
        let mut window = open(32);
        // All that were in flight fail.
        for _ in 0..32 {
            window.overloaded(start, start + MS, None);
        }
        assert_eq!(window.limit(), 16);
        window.overloaded(start + MS, start + 2 * MS, None);
        assert_eq!(window.limit(), 8);
        widen(&mut window, 8);
        assert_eq!(window.limit(), 8, "a whole round makes one more");
        widen(&mut window, 1);
        assert_eq!(window.limit(), 9);
        widen(&mut window, 1_000);
        assert_eq!(window.limit(), 32);
    }

    /// A webhook that works on two writes at a time, each of which takes so long, and serves all that are in flight alike.
    #[rstest]
    #[case::small_cluster(10 * MS, 8)]
    #[case::large(1_000 * MS, 6)]
    #[case::larger(2_000 * MS, 3)]
    #[case::so_large_that_each_is_slow(2_800 * MS, 1)]
    fn no_more_are_in_flight_than_are_answered_in_time(#[case] alone: Duration, #[case] most: usize) {
        let mut now = Instant::now();
        let mut window = Window::new(8);
        let mut seen = Vec::new();
        for _ in 0..100 {
            let round = window.limit();
            let took = alone * u32::try_from(round.max(2)).unwrap() / 2;
            assert!(took < Duration::from_secs(5), "{round} at a time take {took:?}");
            seen.push(round);
            let started = now;
            now += took;
            (0..round).for_each(|_| window.answered(round, started, now));
        }
        assert!(seen.iter().all(|round| *round <= most) && seen.contains(&most), "{seen:?}");
    }

    #[test]
    fn it_never_closes_by_itself() {
        let start = Instant::now();
        let mut window = Window::new(8);
        (0..20).for_each(|n| window.overloaded(start + n * MS, start + n * MS, None));
        assert_eq!(window.admits(0, start), Ok(()));
        assert_eq!(window.admits(1, start), Err(None));
    }

    #[test]
    fn it_is_closed_as_long_as_the_api_server_asks() {
        let start = Instant::now();
        let mut window = Window::new(8);
        window.overloaded(start, start, Some(start + 900 * MS));
        window.overloaded(start, start, Some(start + 500 * MS));
        assert_eq!(window.admits(0, start + 899 * MS), Err(Some(start + 900 * MS)));
        assert_eq!(window.admits(0, start + 900 * MS), Ok(()));
    }
}
