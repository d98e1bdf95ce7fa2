//! How much is told of what users can bring about as often as they like: by Events, and in the log.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use clarion_core::{Reason, world::ObjectRef};
use tokio::time::Instant;

use crate::bucket::Bucket;

/// An object is told of once with the same reason in this time at most.
const SAME_REASON: Duration = Duration::from_secs(60);
/// And so many times with any, in this time.
const OF_OBJECT: (usize, Duration) = (5, Duration::from_secs(600));
/// Of all objects a second, and at once.
const RATE: (u32, u32) = (5, 50);
/// Objects that are remembered. Of all that were told of in the time of [`OF_OBJECT`], [`RATE`] permits fewer.
const OBJECTS: usize = 10_000;

/// Decides what is told. Time is handed in.
pub struct Limiter {
    objects: BTreeMap<ObjectRef, Told>,
    tokens: Bucket,
}

/// What an object's users were told.
#[derive(Default)]
struct Told {
    /// In the time of [`OF_OBJECT`], the oldest first.
    told: VecDeque<(Instant, Reason)>,
    /// Since the last that was told.
    left_out: u32,
}

impl Limiter {
    /// Nothing was told yet.
    pub fn new(now: Instant) -> Self {
        Self { objects: BTreeMap::new(), tokens: Bucket::full(RATE.0, RATE.1, now) }
    }

    /// Whether something may be told of this object now; if so, how much of it was left out since the last.
    pub fn admit(&mut self, object: &ObjectRef, reason: Reason, now: Instant) -> Option<u32> {
        if self.objects.len() >= OBJECTS && !self.objects.contains_key(object) {
            self.objects.retain(|_, told| told.recent(now) > 0);
        }
        let told = self.objects.entry(object.clone()).or_default();
        let too_many = told.recent(now) >= OF_OBJECT.0;
        let same = told.told.iter().any(|(at, told)| *told == reason && now < *at + SAME_REASON);
        // A token is taken last, so that one object's flood costs the others nothing.
        if too_many || same || self.tokens.take(now).is_err() {
            told.left_out = told.left_out.saturating_add(1);
            return None;
        }
        told.told.push_back((now, reason));
        Some(std::mem::take(&mut told.left_out))
    }
}

impl Told {
    /// How often, in the time of [`OF_OBJECT`].
    fn recent(&mut self, now: Instant) -> usize {
        while self.told.pop_front_if(|(at, _)| *at + OF_OBJECT.1 <= now).is_some() {}
        self.told.len()
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
