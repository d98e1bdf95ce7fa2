//! What the programs that measure have in common: figures beside what they are to reach, latencies, and what a watch sees.

mod chart;
mod churn;
mod contents;
mod figure;
mod fleet;
mod latency;
mod ledger;
mod machine;
mod objects;
mod outside;
mod seen;
mod wire;
pub mod worlds;
mod writes;

pub use chart::{Board, Chart, Growth, Line, Panel, Panels, Series};
pub use churn::{Action, Churn};
pub use contents::prefixes;
pub use figure::{Bound, Figure, recorded, rounded, size};
pub use fleet::{Change, Done, Fleet, Labels, Told};
pub use latency::{Latencies, milliseconds};
pub use ledger::{Absence, Gone, Ledger, Sightings, Times, Way};
pub use machine::Machine;
pub use objects::Objects;
pub use outside::Outside;
pub use seen::{Seen, first, with_address};
pub use wire::{Listed, Meter, News, Traffic, Wire};
pub use writes::{State, Write, Writes};

/// Whatever goes wrong ends the program.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// See [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What a panic elsewhere has left is as good as anything.
fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
