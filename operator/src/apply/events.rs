//! Events: what users are told beside conditions. They only tell, so what would be too many of them is left out, and counted.

use clarion_core::{Event, text::bounded, world::ObjectRef};
use smol_str::SmolStr;
use tokio::{task::JoinSet, time::Instant};
use tracing::{debug, warn};

use super::Writer;
use crate::{limiter::Limiter, telemetry::Metrics};

/// The longest note (`events.k8s.io/v1`).
const NOTE_MAX: usize = 1024;

/// Writes Events, within bounds.
pub struct Teller {
    writer: Writer,
    metrics: Metrics,
    limiter: Limiter,
    writing: JoinSet<()>,
}

impl Teller {
    pub fn new(writer: Writer, metrics: Metrics) -> Self {
        Self { writer, metrics, limiter: Limiter::new(Instant::now()), writing: JoinSet::new() }
    }

    /// Writes an Event about the object of this UID, if there are not too many. Does not wait for it.
    pub fn tell(&mut self, object: ObjectRef, uid: SmolStr, event: Event) {
        while self.writing.try_join_next().is_some() {}
        let Some(left_out) = self.limiter.admit(&object, event.reason, Instant::now()) else {
            debug!(%object, reason = event.reason.name(), event.message, "too many Events, this one is left out");
            self.metrics.told("left_out");
            return;
        };
        let event = Event { message: note(event.message, left_out), ..event };
        let (writer, metrics) = (self.writer.clone(), self.metrics.clone());
        self.writing.spawn(async move {
            match writer.tell(&object, &uid, &event).await {
                Ok(()) => metrics.told("written"),
                Err(error) => {
                    metrics.told("failed");
                    warn!(%object, reason = event.reason.name(), error, "an Event could not be written");
                }
            }
        });
    }

    /// Waits for what is under way.
    pub async fn finish(&mut self) {
        while self.writing.join_next().await.is_some() {}
    }
}

/// The message with what was left out before it.
fn note(message: String, left_out: u32) -> String {
    let told = match left_out {
        0 => String::new(),
        _ => format!(" ({left_out} like this left out)"),
    };
    bounded(message, NOTE_MAX - told.len()) + &told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_has_room_for_what_was_left_out() {
        assert_eq!(note("short".to_owned(), 0), "short");
        assert_eq!(note("short".to_owned(), 12), "short (12 like this left out)");
        let long = note("x".repeat(5000), 12);
        assert!(long.ends_with("x… (12 like this left out)") && long.len() == NOTE_MAX, "{long}");
    }
}
