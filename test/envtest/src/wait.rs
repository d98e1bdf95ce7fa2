//! Waiting for something to become true.

use std::{fmt::Display, time::Duration};

use tokio::time::{Instant, sleep};

/// How long anything may take on a loaded machine before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Tries until `check` returns a value.
///
/// # Errors
/// With what it last complained of, when [`PATIENCE`] is at an end.
pub async fn until<T, E: Display>(what: &str, check: impl AsyncFnMut() -> Result<T, E>) -> Result<T, String> {
    until_within(PATIENCE, what, check).await
}

/// Tries for so long until `check` returns a value.
///
/// # Errors
/// With what it last complained of, when the time is at an end.
pub async fn until_within<T, E: Display>(
    patience: Duration,
    what: &str,
    mut check: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, String> {
    let end = Instant::now() + patience;
    loop {
        match check().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= end => return Err(format!("{what} did not come to be: {error}")),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}
