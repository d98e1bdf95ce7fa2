//! Events: what users are told beside conditions. They only tell, so what would be too many of them is left out, and counted.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use clarion_core::{Event, Reason, text::bounded, world::ObjectRef};
use smol_str::SmolStr;
use tokio::{task::JoinSet, time::Instant};
use tracing::{debug, warn};

use super::Writer;
use crate::{bucket::Bucket, telemetry::Metrics};

/// At most one Event of an object with the same reason in this time.
const SAME_REASON: Duration = Duration::from_secs(60);
/// At most so many Events of an object in this time.
const OF_OBJECT: (usize, Duration) = (5, Duration::from_secs(600));
/// Events of all objects a second, and at once.
const RATE: (u32, u32) = (5, 50);
/// Objects that are remembered. Of all that were told of in the time of [`OF_OBJECT`], [`RATE`] permits fewer.
const OBJECTS: usize = 10_000;
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

/// Decides which Events are written. Time is handed in.
struct Limiter {
    objects: BTreeMap<ObjectRef, Told>,
    tokens: Bucket,
}

/// What an object's users were told.
#[derive(Default)]
struct Told {
    /// In the time of [`OF_OBJECT`], the oldest first.
    written: VecDeque<(Instant, Reason)>,
    /// Since the last that was written.
    left_out: u32,
}

impl Limiter {
    fn new(now: Instant) -> Self {
        Self { objects: BTreeMap::new(), tokens: Bucket::full(RATE.0, RATE.1, now) }
    }

    /// Whether an Event of this object may be written now; if so, how many of it were left out since the last.
    fn admit(&mut self, object: &ObjectRef, reason: Reason, now: Instant) -> Option<u32> {
        if self.objects.len() >= OBJECTS && !self.objects.contains_key(object) {
            self.objects.retain(|_, told| told.recent(now) > 0);
        }
        let told = self.objects.entry(object.clone()).or_default();
        let too_many = told.recent(now) >= OF_OBJECT.0;
        let same = told.written.iter().any(|(at, told)| *told == reason && now < *at + SAME_REASON);
        // A token is taken last, so that one object's flood costs the others nothing.
        if too_many || same || self.tokens.take(now).is_err() {
            told.left_out = told.left_out.saturating_add(1);
            return None;
        }
        told.written.push_back((now, reason));
        Some(std::mem::take(&mut told.left_out))
    }
}

impl Told {
    /// How many were written in the time of [`OF_OBJECT`].
    fn recent(&mut self, now: Instant) -> usize {
        while self.written.pop_front_if(|(at, _)| *at + OF_OBJECT.1 <= now).is_some() {}
        self.written.len()
    }
}

#[cfg(test)]
mod tests {
    use clarion_core::world::{Kind, ObjectName};
    use proptest::prelude::*;

    use super::*;

    fn object(n: usize) -> ObjectRef {
        ObjectRef::new(Kind::Service, ObjectName::new("default", n.to_string()))
    }

    #[test]
    fn what_is_left_out_is_told_with_the_next() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        assert_eq!(limiter.admit(&object(1), Reason::Released, start), Some(0));
        for n in 1..60 {
            assert_eq!(limiter.admit(&object(1), Reason::Released, start + Duration::from_secs(n)), None);
        }
        assert_eq!(limiter.admit(&object(2), Reason::Released, start), Some(0), "another object");
        assert_eq!(limiter.admit(&object(1), Reason::Overlap, start + Duration::from_secs(59)), Some(59), "or reason");
        assert_eq!(limiter.admit(&object(1), Reason::Released, start + Duration::from_secs(60)), Some(0));
    }

    #[test]
    fn a_note_has_room_for_what_was_left_out() {
        assert_eq!(note("short".to_owned(), 0), "short");
        assert_eq!(note("short".to_owned(), 12), "short (12 like this left out)");
        let long = note("x".repeat(5000), 12);
        assert!(long.ends_with("x… (12 like this left out)") && long.len() == NOTE_MAX, "{long}");
    }

    #[test]
    fn however_many_objects_there_are_few_are_remembered() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        for n in 0..5 * OBJECTS {
            limiter.admit(&object(n), Reason::Released, start + Duration::from_millis(10) * u32::try_from(n).unwrap());
            assert!(limiter.objects.len() <= OBJECTS);
        }
    }

    proptest! {
        /// In whatever order Events come, the bounds hold in every stretch of time, and each Event is written or counted.
        #[test]
        fn the_bounds_hold(steps in prop::collection::vec((0_u64..4, 0_u64..20_000, 0_usize..80, 0_usize..4), 1..600)) {
            let start = Instant::now();
            let mut now = start;
            let mut limiter = Limiter::new(start);
            let mut written: Vec<(Instant, usize, Reason)> = Vec::new();
            let (mut told, mut left_out) = (0, 0);
            for (moves, millis, n, reason) in steps {
                // Most come at once.
                if moves == 0 {
                    now += Duration::from_millis(millis);
                }
                let reason = Reason::ALL[reason];
                match limiter.admit(&object(n % 70), reason, now) {
                    Some(count) => {
                        told += count;
                        written.push((now, n % 70, reason));
                    }
                    None => left_out += 1,
                }
            }
            let outstanding: u32 = limiter.objects.values().map(|told| told.left_out).sum();
            prop_assert_eq!(told + outstanding, left_out);
            for (index, (at, object, reason)) in written.iter().enumerate() {
                let later = &written[index..];
                let of_object = || later.iter().filter(|(_, other, _)| other == object);
                let in_ten_minutes = of_object().filter(|(then, _, _)| *then < *at + OF_OBJECT.1).count();
                prop_assert!(in_ten_minutes <= 5, "{} of one object", in_ten_minutes);
                let same = of_object().filter(|(then, _, r)| r == reason && *then < *at + SAME_REASON).count();
                prop_assert_eq!(same, 1);
                for (count, (then, _, _)) in later.iter().enumerate() {
                    let bound = 50.0 + 5.0 * (*then - *at).as_secs_f64();
                    prop_assert!(count as f64 <= bound, "{} in {:?}", count, *then - *at);
                }
            }
        }
    }
}
