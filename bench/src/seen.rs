use std::{collections::BTreeSet, pin::pin, time::Duration};

use clarion_envtest::crowd;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::Result;

/// What a watch from outside has seen for the first time, and when.
#[derive(Debug)]
pub struct Seen(mpsc::UnboundedReceiver<(String, Instant)>);

/// Watches objects; `facts` are what an object tells.
pub fn first<K>(api: Api<K>, facts: impl Fn(&K) -> Vec<String> + Send + 'static) -> Seen
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut events = pin!(watcher(api, watcher::Config::default()).applied_objects());
        let mut known = BTreeSet::new();
        while let Some(event) = events.next().await {
            let now = Instant::now();
            // A watch that breaks is begun again by itself.
            let Ok(object) = event else { continue };
            for fact in facts(&object) {
                if known.insert(fact.clone()) && sender.send((fact, now)).is_err() {
                    return;
                }
            }
        }
    });
    Seen(receiver)
}

/// Watches Services; each that has an address is a fact.
pub fn with_address(services: &Api<Service>) -> Seen {
    first(services.clone(), |service: &Service| {
        let has = !crowd::addresses(service).is_empty();
        has.then(|| service.name_any()).into_iter().collect()
    })
}

impl Seen {
    /// The next fact.
    ///
    /// # Errors
    /// If none comes for so long.
    pub async fn next(&mut self, patience: Duration) -> Result<(String, Instant)> {
        Ok(timeout(patience, self.0.recv()).await?.ok_or("the watch has ended")?)
    }

    /// So many facts, in the order in which they were seen.
    ///
    /// # Errors
    /// If none comes for so long.
    pub async fn take(&mut self, count: usize, patience: Duration) -> Result<Vec<(String, Instant)>> {
        let mut facts = Vec::with_capacity(count);
        while facts.len() < count {
            facts.push(self.next(patience).await?);
        }
        Ok(facts)
    }
}
