//! FRRNodeStates hold a node's whole running configuration and change often: only their metadata is watched. Bodies are
//! fetched at a bounded rate, and little of them is kept.

mod schedule;
#[cfg(test)]
mod tests;

use std::{future::Future, time::Duration};

use clarion_api::frr::FRRNodeState;
use clarion_core::{
    World,
    world::{Collection, Kind, NodeState},
};
use kube::{Api, Client, core::PartialObjectMeta};
use tokio::{
    select,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, warn};

use self::schedule::{Answer, News, Next, Schedule};
use super::{Change, Effect, Reflector, Seen, Watched, partial::Lenient};
use crate::telemetry::Metrics;

/// A body that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts to watch. `look_at` names the nodes to be fetched first.
pub fn start(client: &Client, metrics: Metrics, look_at: watch::Receiver<Vec<String>>, changes: mpsc::Sender<Change>) {
    let metadata: Api<PartialObjectMeta<FRRNodeState>> = Api::all(client.clone());
    let bodies: Api<Lenient<FRRNodeState>> = Api::all(client.clone());
    let (sender, events) = mpsc::channel(64);
    tokio::spawn(async move {
        let reflector = Reflector::new(Kind::FRRNodeState, metadata, None);
        super::run(Kind::FRRNodeState, true, &reflector, &sender, |seen| seen).await;
    });
    tokio::spawn(run(events, look_at, changes, metrics, move |name| fetch(bodies.clone(), name)));
}

async fn fetch(bodies: Api<Lenient<FRRNodeState>>, name: String) -> Answer {
    match timeout(PATIENCE, bodies.get_opt(&name)).await {
        Ok(Ok(Some(state))) => Answer::State(Box::new(NodeState::project(state))),
        Ok(Ok(None)) => Answer::Gone,
        Ok(Err(error)) => Answer::Failed(error.to_string()),
        Err(_) => Answer::Failed(format!("no answer within {PATIENCE:?}")),
    }
}

/// Fetches what has changed for as long as anybody listens.
async fn run<F: Future<Output = Answer> + Send + 'static>(
    mut events: mpsc::Receiver<Seen<PartialObjectMeta<FRRNodeState>>>,
    mut look_at: watch::Receiver<Vec<String>>,
    changes: mpsc::Sender<Change>,
    metrics: Metrics,
    fetch: impl Fn(String) -> F,
) {
    let mut schedule = Schedule::new(Instant::now());
    let mut fetches = JoinSet::new();
    let mut failing = false;
    loop {
        let wake = loop {
            match schedule.next(Instant::now()) {
                Next::Fetch(name) => {
                    let answer = fetch(name.clone());
                    fetches.spawn(async move { (name, answer.await) });
                }
                Next::Wait(until) => break until,
            }
        };
        let news = select! {
            biased;
            Some(seen) = events.recv() => schedule.seen(seen, Instant::now()),
            Some(Ok((name, answer))) = fetches.join_next() => {
                metrics.fetched(answer.outcome());
                match &answer {
                    Answer::Failed(error) if !std::mem::replace(&mut failing, true) => {
                        warn!(name, error, "an FRRNodeState can't be read; it is tried again");
                    }
                    Answer::Failed(error) => debug!(name, error, "an FRRNodeState can't be read"),
                    Answer::State(_) | Answer::Gone => failing = false,
                }
                schedule.answered(&name, answer, Instant::now()).into_iter().collect()
            }
            Ok(()) = look_at.changed() => {
                schedule.want(look_at.borrow_and_update().clone(), Instant::now());
                Vec::new()
            }
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => Vec::new(),
            else => return,
        };
        if !news.is_empty() && changes.send(change(news)).await.is_err() {
            return;
        }
    }
}

fn change(news: Vec<News>) -> Change {
    let apply = |world: &mut World| {
        let mut effect = Effect::default();
        for news in news {
            effect.changed |= learn(&mut world.node_states, news);
        }
        effect
    };
    Change { kind: Kind::FRRNodeState, apply: Box::new(apply) }
}

/// Takes news into the world; tells whether there is something new to act on, which to forget is not.
fn learn(states: &mut Collection<NodeState>, news: News) -> bool {
    match news {
        News::Fetched(object) => {
            let (name, running) = (object.meta.name.clone(), object.value.running.clone());
            let mut changed = states.take(*object);
            // The same version, of which less was kept.
            if let Some(state) = states.get_mut(&name).filter(|state| state.running != running) {
                state.running = running;
                changed = true;
            }
            changed
        }
        News::Forgotten(name) => {
            if let Some(state) = states.get_mut(&name) {
                state.running = None;
            }
            false
        }
        News::Gone(name, uid) => states.forget(&name, &uid),
        News::NoneLeft => {
            let changed = !states.is_empty();
            *states = Collection::default();
            changed
        }
    }
}
