//! What FRR-K8s's daemons say of their conversions, one after the other.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use clarion_api::frr::FRRNodeState;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::{
    Api, ResourceExt as _,
    runtime::watcher::{self, Event, watcher},
};

use crate::ControlPlane;

/// Every `lastConversionResult` that there was, of every node.
#[derive(Clone, Debug, Default)]
pub struct Conversions(Arc<Mutex<Vec<Conversion>>>);

#[derive(Clone, Debug)]
struct Conversion {
    at: Instant,
    node: String,
    result: String,
}

/// A time during which the daemon of a node could not convert what it was given.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The node.
    pub node: String,
    /// What the daemon said first.
    pub result: String,
    /// How long that was; `None` if it is still so.
    pub lasted: Option<Duration>,
}

impl Conversions {
    /// Begins to watch.
    #[must_use]
    pub fn of(control_plane: &ControlPlane) -> Self {
        let (this, api) = (Self::default(), Api::<FRRNodeState>::all(control_plane.client()));
        let conversions = this.clone();
        tokio::spawn(async move {
            let mut events = watcher(api, watcher::Config::default()).boxed();
            while let Ok(Some(event)) = events.try_next().await {
                if let Event::Apply(state) | Event::InitApply(state) = event {
                    let node = state.name_any();
                    let result = state.status.unwrap_or_default().last_conversion_result.unwrap_or_default();
                    conversions.add(Conversion { at: Instant::now(), node, result });
                }
            }
        });
        this
    }

    fn add(&self, conversion: Conversion) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(conversion);
    }

    /// Every failure since the last call, or that lasts still.
    #[must_use]
    pub fn take_failures(&self) -> Vec<Failure> {
        let mut conversions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut failures, mut failing) = (Vec::new(), BTreeMap::<String, Conversion>::new());
        // A daemon that has only started has no result yet.
        for conversion in conversions.drain(..).filter(|conversion| !conversion.result.is_empty()) {
            if conversion.result == "success" {
                let failed = failing.remove(&conversion.node);
                failures.extend(failed.map(|Conversion { at, node, result }| Failure {
                    node,
                    result,
                    lasted: Some(conversion.at - at),
                }));
            } else {
                failing.entry(conversion.node.clone()).or_insert(conversion);
            }
        }
        let lasting = failing.values().cloned();
        failures.extend(lasting.map(|Conversion { node, result, .. }| Failure { node, result, lasted: None }));
        conversions.extend(failing.into_values());
        failures
    }
}
