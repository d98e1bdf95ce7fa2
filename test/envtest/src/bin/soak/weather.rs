//! What becomes of the requests of one replica, at random.

use std::{collections::BTreeMap, time::Duration};

use clarion_envtest::Action;
use http::{Method, Uri};

use crate::shared::Shared;

/// How long a request may be under way before it is passed on: what Clarion's writes are given beyond their timeout is a second.
const LATEST: Duration = Duration::from_millis(500);
/// How long a watch tells nothing at most.
const STALL: Duration = Duration::from_secs(5);
/// A watch is held back, or ended, within so long.
const WATCHED: Duration = Duration::from_secs(20);

/// How likely a request meets with each fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// The connection is closed before the request is passed on.
    pub dropped: f64,
    /// It is passed on, and its answer is lost.
    pub unanswered: f64,
    /// Its answer ends in the middle.
    pub cut: f64,
    /// It is late.
    pub late: f64,
    /// A write is sent twice.
    pub repeated: f64,
    /// It is refused.
    pub refused: f64,
    /// A watch is held back, ends, or lags.
    pub watches: f64,
    /// A list is of some time ago.
    pub stale: f64,
}

impl Weather {
    /// Nothing goes wrong.
    pub const FAIR: Self = Self {
        dropped: 0.0,
        unanswered: 0.0,
        cut: 0.0,
        late: 0.0,
        repeated: 0.0,
        refused: 0.0,
        watches: 0.0,
        stale: 0.0,
    };

    pub fn random(random: &mut fastrand::Rng) -> Self {
        let mut sometimes = |most: f64| if random.bool() { 0.0 } else { random.f64() * most };
        Self {
            dropped: sometimes(0.2),
            unanswered: sometimes(0.2),
            cut: sometimes(0.1),
            late: sometimes(0.4),
            repeated: sometimes(0.3),
            refused: sometimes(0.2),
            watches: sometimes(0.8),
            stale: sometimes(0.8),
        }
    }
}

/// The sky over one replica: what the weather is, and what came of it.
#[derive(Clone)]
pub struct Sky(Shared<State>);

struct State {
    weather: Weather,
    random: fastrand::Rng,
    /// Lists as they were at this revision may take the place of newer ones: the process leads, and knows everything.
    old: Option<u64>,
    /// Requests by the fault that they met with.
    met: BTreeMap<&'static str, u64>,
}

impl Sky {
    pub fn new(seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self(Shared::new(State { weather: Weather::FAIR, random, old: None, met: BTreeMap::new() }))
    }

    pub fn set(&self, weather: Weather) {
        self.0.with(|state| state.weather = weather);
    }

    /// Lists may be as they were at this revision, or may not be old.
    pub fn set_old(&self, revision: Option<u64>) {
        self.0.with(|state| state.old = revision);
    }

    /// Requests by the fault that they met with.
    pub fn met(&self) -> BTreeMap<&'static str, u64> {
        self.0.with(|state| state.met.clone())
    }

    /// What becomes of a request.
    pub fn decide(&self, method: &Method, uri: &Uri) -> Action {
        self.0.with(|state| {
            let (fault, action) = state.decide(method, uri);
            *state.met.entry(fault).or_default() += 1;
            action
        })
    }
}

impl State {
    fn decide(&mut self, method: &Method, uri: &Uri) -> (&'static str, Action) {
        let Weather { dropped, unanswered, cut, late, repeated, refused, watches, stale } = self.weather;
        let asks = |parameter: &str| uri.query().is_some_and(|query| query.contains(parameter));
        let is_write = *method != Method::GET;
        let is_watch = !is_write && asks("watch=true");
        let is_list = !is_write && !is_watch && asks("limit=") && !asks("continue=");
        let random = &mut self.random;
        if random.f64() < dropped {
            return ("dropped", Action::Drop);
        }
        if random.f64() < refused {
            return match random.u8(..4) {
                0 if is_write => ("answered with 409", Action::Refuse(409)),
                0 | 1 => ("answered with 429", Action::Reject(random.u64(1..=2))),
                2 => ("answered with 500", Action::Refuse(500)),
                _ => ("answered with 503", Action::Refuse(503)),
            };
        }
        if is_watch {
            let after = WATCHED.mul_f64(random.f64());
            return match random.u8(..4) {
                _ if random.f64() >= watches => ("passed on", Action::Pass),
                0 => ("watches that stall", Action::Stall(after, STALL.mul_f64(random.f64()))),
                1 => ("watches that end with 410", Action::Expire(after)),
                2 => ("watches that are cut", Action::Cut),
                _ => ("watches that lag", Action::Delay(LATEST.mul_f64(random.f64()))),
            };
        }
        if let Some(revision) = self.old.filter(|_| is_list && random.f64() < stale) {
            return ("stale lists", Action::Stale(revision));
        }
        if random.f64() < unanswered {
            let action = if random.bool() { Action::HangUp } else { Action::LoseAnswer };
            return ("without an answer", action);
        }
        if random.f64() < cut {
            return ("with an answer cut in the middle", Action::Cut);
        }
        if is_write && random.f64() < repeated {
            return ("sent twice", Action::Repeat);
        }
        if random.f64() < late {
            return ("late", Action::Late(LATEST.mul_f64(random.f64())));
        }
        ("passed on", Action::Pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_requests_follows_from_the_seed() {
        let decisions = || {
            let sky = Sky::new(7);
            sky.set(Weather::random(&mut fastrand::Rng::with_seed(1)));
            let uri: Uri = "/api/v1/services?watch=true".parse().unwrap();
            (0..100).map(|_| sky.decide(&Method::GET, &uri)).collect::<Vec<_>>()
        };
        assert_eq!(decisions(), decisions());
    }

    #[test]
    fn in_fair_weather_all_requests_are_passed_on() {
        let sky = Sky::new(7);
        let uri: Uri = "/api/v1/services?limit=500".parse().unwrap();
        for method in [Method::GET, Method::PATCH, Method::DELETE] {
            assert_eq!(sky.decide(&method, &uri), Action::Pass);
        }
    }
}
