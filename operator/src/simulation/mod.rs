//! The whole operator on an API server, a network and a time that are simulated, so that all that happens follows from a seed.
//!
//! Real are [`Process`](crate::process::Process) and everything in it, down to the bytes of its requests. Simulated are the API
//! server ([`store`]), the way to it ([`link`]), time, which passes where nothing is left to do (`tokio::time::pause`), and users
//! and machines ([`schedule`]). After each change of what is stored, [`judge`] asks whether the rules hold.
//!
//! A schedule is what happens from one moment at which everything is as users want it to the next: changes, kills, changes of
//! leaders, lost requests and answers, slow ones, watches that lag and end. `CLARION_SEED` runs one seed again,
//! `CLARION_SCHEDULES` says how many schedules to run (`make simulate`).
//!
//! That all follows from the seed needs care: what wakes several waiters must wake them in an order of its own
//! (`tokio::sync::watch` draws lots), `select!` must be `biased`, and what becomes of a request must not depend on which of two
//! at one moment is the first.

mod judge;
mod link;
mod outcomes;
mod schedule;
mod store;

use std::time::Duration;

use clarion_api::Timestamp;
use tokio::time::Instant;

/// When a simulation began.
#[derive(Clone, Copy, Debug)]
pub struct Epoch(Instant);

impl Epoch {
    /// Now.
    pub fn begin() -> Self {
        Self(Instant::now())
    }

    /// How long ago that was.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// The time of day.
    pub fn now(self) -> Timestamp {
        Timestamp::UNIX_EPOCH + Duration::from_secs(1_767_225_600) + self.elapsed()
    }
}
