//! Tells the judge of every change that etcd stores, in its order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clarion_envtest::{Etcd, etcd::Seen};
use futures::StreamExt as _;
use tokio::{task::JoinHandle, time::sleep};

use crate::{judge::Judge, shared::Shared};

/// The time between two attempts while etcd is away.
const RETRY: Duration = Duration::from_millis(50);

/// A task that watches.
pub struct Watcher {
    seen: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Watcher {
    /// Watches from this revision on.
    pub fn start(etcd: Etcd, from: u64, judge: Shared<Judge>) -> Self {
        let seen = Arc::new(AtomicU64::new(from.saturating_sub(1)));
        let task = tokio::spawn(watch(etcd, Arc::clone(&seen), judge));
        Self { seen, task }
    }

    /// The revision up to which everything has been seen. What is before may be compacted.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Acquire)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(etcd: Etcd, seen: Arc<AtomicU64>, judge: Shared<Judge>) {
    loop {
        if let Ok(events) = etcd.watch(seen.load(Ordering::Acquire) + 1).await {
            let mut events = Box::pin(events);
            while let Some(Ok(event)) = events.next().await {
                judge.with(|judge| match event {
                    // A revision may have several changes, which come in one message.
                    Seen::Changes(changes) => changes.iter().for_each(|change| {
                        judge.sees(change);
                        seen.store(change.revision, Ordering::Release);
                    }),
                    Seen::Compacted => judge.breaks("changes have been missed: a fault of this program".to_owned()),
                });
            }
        }
        sleep(RETRY).await;
    }
}
