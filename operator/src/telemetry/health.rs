//! What probes ask: alive, ready, started.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::get};
use clarion_core::world::Kind;
use tokio::time::Instant;

/// The loop turns at least this often; without, the process is taken for stuck.
const STUCK: Duration = Duration::from_secs(60);

/// What the process is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It waits for the Lease.
    Standby,
    /// Another Clarion leads, which has to be told of: it is not ready to take over.
    Barred(String),
    /// It leads, and learns what there is; these kinds are missing.
    Syncing(BTreeSet<Kind>),
    /// It leads.
    Leading,
}

/// The health of the process, shared with the probes.
#[derive(Clone)]
pub struct Health(Arc<Mutex<(Phase, Instant)>>);

impl Health {
    /// Of a process that starts.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new((Phase::Standby, Instant::now()))))
    }

    /// Tells what the process is doing, and that it does something.
    pub fn set(&self, phase: Phase) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (phase, Instant::now());
    }

    fn get(&self) -> (Phase, Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn live(&self) -> (StatusCode, String) {
        match self.get() {
            (Phase::Standby | Phase::Barred(_), _) => (StatusCode::OK, "standing by\n".to_owned()),
            (_, at) if at.elapsed() < STUCK => (StatusCode::OK, "ok\n".to_owned()),
            (_, at) => (StatusCode::INTERNAL_SERVER_ERROR, format!("the loop has not turned for {:?}\n", at.elapsed())),
        }
    }

    fn ready(&self) -> (StatusCode, String) {
        match self.get().0 {
            Phase::Standby => (StatusCode::OK, "standing by: another process leads, or may\n".to_owned()),
            Phase::Barred(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            Phase::Leading => (StatusCode::OK, "leading\n".to_owned()),
            Phase::Syncing(missing) => {
                let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
                (StatusCode::SERVICE_UNAVAILABLE, format!("not yet known: {}\n", missing.join(", ")))
            }
        }
    }

    /// The paths that probes ask for.
    pub fn routes(&self) -> Router {
        let (live, ready, started) = (self.clone(), self.clone(), self.clone());
        Router::new()
            .route("/livez", get(async move || live.live()))
            .route("/readyz", get(async move || ready.ready()))
            .route("/startupz", get(async move || started.live()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_tells_what_is_missing() {
        let health = Health::new();
        assert_eq!(health.ready().0, StatusCode::OK, "a replica that stands by takes part in a rollout");
        health.set(Phase::Syncing(BTreeSet::from([Kind::Node, Kind::Service])));
        assert_eq!(health.ready(), (StatusCode::SERVICE_UNAVAILABLE, "not yet known: Service, Node\n".to_owned()));
        health.set(Phase::Leading);
        assert_eq!(health.ready().0, StatusCode::OK);
        assert_eq!(health.live().0, StatusCode::OK);
    }
}
