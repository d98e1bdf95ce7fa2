//! A line on standard error while something takes long, for people who wait at a terminal.

use std::{
    future::Future,
    io::{self, IsTerminal as _, Write as _},
    pin::pin,
    time::Duration,
};

use tokio::time::{Instant, interval_at};

/// What is done sooner needs no line; the line is renewed as often.
const PATIENCE: Duration = Duration::from_secs(1);

/// Waits for something, and tells meanwhile what it is and for how long. In the end nothing of that is left.
pub async fn during<F: Future>(what: &str, future: F) -> F::Output {
    if !io::stderr().is_terminal() {
        return future.await;
    }
    let started = Instant::now();
    let mut ticks = interval_at(started + PATIENCE, PATIENCE);
    let mut future = pin!(future);
    let mut width = 0;
    loop {
        tokio::select! {
            outcome = &mut future => {
                rewrite("", width);
                return outcome;
            }
            _ = ticks.tick() => {
                let line = format!("{what}: {} s", started.elapsed().as_secs());
                rewrite(&line, width);
                width = line.len();
            }
        }
    }
}

/// Puts a line in the place of another one that has so many columns, and leaves the cursor at its beginning.
fn rewrite(line: &str, width: usize) {
    if width > 0 || !line.is_empty() {
        // Nobody misses what can't be written there.
        let _ = write!(io::stderr(), "\r{line:width$}\r");
    }
}
