//! What the programs that measure have in common: figures beside what they are to reach, latencies, and what a watch sees.

mod figure;
mod latency;
mod seen;

pub use figure::{Bound, Figure, Recorded, recorded};
pub use latency::Latencies;
pub use seen::{Seen, first};

/// Whatever goes wrong ends the program.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// See [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
