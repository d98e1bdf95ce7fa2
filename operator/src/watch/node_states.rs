//! FRRNodeStates hold a node's whole running configuration and change often: only their metadata is watched. Bodies are
//! fetched at a bounded rate, and little of them is kept.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::Future,
    time::Duration,
};

use clarion_api::{ObjectMeta, frr::FRRNodeState};
use clarion_core::{
    World,
    world::{Collection, Kind, NodeState, Object, ObjectName},
};
use kube::{Api, Client, core::PartialObjectMeta};
use tokio::{
    select,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, warn};

use super::{Change, Effect, Event, Reflector, Seen, Watched, partial::Lenient, version};
use crate::{bucket::Bucket, telemetry::Metrics};

/// Bodies fetched a second, and at once.
const RATE: (u32, u32) = (20, 50);
/// Bodies fetched at the same time: each is up to 1.5 MB.
const IN_FLIGHT: usize = 4;
/// Nodes whose running configuration is kept.
const KEPT: usize = 64;
/// The shortest and the longest time between two attempts after an error.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A body that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of a fetch.
#[derive(Debug)]
pub enum Answer {
    /// The body, or what is kept of it.
    State(Box<Object<NodeState>>),
    /// There is none any more.
    Gone,
    /// Why it could not be had.
    Failed(String),
}

impl Answer {
    /// As metrics name it.
    fn outcome(&self) -> &'static str {
        match self {
            Self::State(_) => "ok",
            Self::Gone => "gone",
            Self::Failed(_) => "failed",
        }
    }
}

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

/// What the world is to learn.
#[derive(Debug)]
enum News {
    /// An object was fetched.
    Fetched(Box<Object<NodeState>>),
    /// The running configuration of a node is not kept any longer.
    Forgotten(ObjectName),
    /// The object of this UID is gone.
    Gone(ObjectName, String),
    /// There is none of the kind.
    NoneLeft,
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

/// What is to be fetched, and when.
#[derive(Debug)]
struct Schedule {
    /// By node, whose name the object has.
    states: BTreeMap<String, State>,
    /// What a list that is under way has shown so far.
    listed: Option<BTreeSet<String>>,
    /// The nodes that tell most, the most telling first.
    wanted: Vec<String>,
    /// The nodes whose running configuration the world has, the one fetched longest ago first.
    kept: VecDeque<String>,
    /// What is being fetched, each with the newest version known when that began.
    in_flight: BTreeMap<String, u64>,
    tokens: Bucket,
    turns: u64,
}

#[derive(Debug)]
struct State {
    uid: String,
    /// The newest version that the watch has shown.
    version: u64,
    /// The version that was fetched last.
    fetched: u64,
    due: Option<Due>,
    failures: u32,
}

/// When a body is to be fetched.
#[derive(Clone, Copy, Debug)]
struct Due {
    /// First come, first served.
    turn: u64,
    /// Not before.
    at: Instant,
}

/// What to do next.
#[derive(Debug)]
enum Next {
    /// Fetch the body of this name now.
    Fetch(String),
    /// Nothing before then, or before something happens.
    Wait(Option<Instant>),
}

impl Schedule {
    fn new(now: Instant) -> Self {
        Self {
            states: BTreeMap::new(),
            listed: None,
            wanted: Vec::new(),
            kept: VecDeque::new(),
            in_flight: BTreeMap::new(),
            tokens: Bucket::full(RATE.0, RATE.1, now),
            turns: 0,
        }
    }

    /// Takes what the watch brings.
    fn seen(&mut self, seen: Seen<PartialObjectMeta<FRRNodeState>>, now: Instant) -> Vec<News> {
        match seen {
            Seen::Event(Event::ListBegins) => self.listed = Some(BTreeSet::new()),
            Seen::Event(Event::Listed(object)) => {
                let name = object.metadata.name.clone().unwrap_or_default();
                self.listed.get_or_insert_default().insert(name);
                return self.changed(object.metadata, now);
            }
            Seen::Event(Event::Applied(object)) => return self.changed(object.metadata, now),
            Seen::Event(Event::Deleted(object)) => {
                let ObjectMeta { name, uid, .. } = object.metadata;
                let (name, uid) = (name.unwrap_or_default(), uid.unwrap_or_default());
                if self.states.get(&name).is_some_and(|state| state.uid == uid) {
                    return self.forget(&name).into_iter().collect();
                }
            }
            Seen::Event(Event::ListEnded { .. }) => {
                let listed = self.listed.take().unwrap_or_default();
                let gone: Vec<_> = self.states.keys().filter(|name| !listed.contains(*name)).cloned().collect();
                return gone.iter().filter_map(|name| self.forget(name)).collect();
            }
            Seen::Missing => {
                self.states.clear();
                self.kept.clear();
                return vec![News::NoneLeft];
            }
        }
        Vec::new()
    }

    fn changed(&mut self, meta: ObjectMeta, now: Instant) -> Vec<News> {
        let (name, uid) = (meta.name.unwrap_or_default(), meta.uid.unwrap_or_default());
        let replaced = self.states.get(&name).is_some_and(|state| state.uid != uid);
        let news = if replaced { self.forget(&name) } else { None };
        let fresh = State { uid, version: 0, fetched: 0, due: None, failures: 0 };
        let state = self.states.entry(name.clone()).or_insert(fresh);
        state.version = version(meta.resource_version.as_deref());
        // A fetch that is under way may have come too early; its answer tells.
        if state.fetched != state.version && !self.in_flight.contains_key(&name) {
            self.is_due(&name, now);
        }
        news.into_iter().collect()
    }

    fn is_due(&mut self, name: &str, at: Instant) {
        if let Some(state) = self.states.get_mut(name) {
            self.turns += 1;
            state.due.get_or_insert(Due { turn: self.turns, at });
        }
    }

    fn forget(&mut self, name: &str) -> Option<News> {
        self.kept.retain(|kept| kept != name);
        let state = self.states.remove(name)?;
        Some(News::Gone(ObjectName::cluster(name), state.uid))
    }

    /// Takes the nodes that tell most. More of them than are kept would drive each other out for ever.
    fn want(&mut self, mut nodes: Vec<String>, now: Instant) {
        nodes.truncate(KEPT);
        for name in &nodes {
            if !self.kept.contains(name) && !self.in_flight.contains_key(name) {
                self.is_due(name, now);
            }
        }
        self.wanted = nodes;
    }

    fn next(&mut self, now: Instant) -> Next {
        if self.in_flight.len() >= IN_FLIGHT {
            return Next::Wait(None);
        }
        if let Err(at) = self.tokens.ready(now) {
            return Next::Wait(Some(at));
        }
        let rank = |name: &String| self.wanted.iter().position(|wanted| wanted == name).unwrap_or(usize::MAX);
        let free = self.states.iter_mut().filter(|(name, _)| !self.in_flight.contains_key(*name));
        let (ready, later): (Vec<_>, Vec<_>) = free
            .filter_map(|(name, state)| state.due.map(|due| (name, state, due)))
            .partition(|(_, _, due)| due.at <= now);
        match ready.into_iter().min_by_key(|(name, _, due)| (rank(name), due.turn)) {
            Some((name, state, _)) => {
                self.tokens.spend();
                state.due = None;
                self.in_flight.insert(name.clone(), state.version);
                Next::Fetch(name.clone())
            }
            None => Next::Wait(later.into_iter().map(|(_, _, due)| due.at).min()),
        }
    }

    /// Takes the answer to a fetch.
    fn answered(&mut self, name: &str, answer: Answer, now: Instant) -> Vec<News> {
        let began = self.in_flight.remove(name).unwrap_or_default();
        let Some(state) = self.states.get_mut(name) else { return Vec::new() };
        match answer {
            Answer::State(object) if object.meta.uid == state.uid => {
                state.failures = 0;
                state.fetched = version(Some(&object.meta.resource_version));
                if state.fetched < state.version {
                    self.is_due(name, now);
                }
                let forgotten = self.keep(name).map(|name| News::Forgotten(ObjectName::cluster(name)));
                [News::Fetched(object)].into_iter().chain(forgotten).collect()
            }
            // Another object of the same name: the watch has told of it since the fetch began, or will.
            Answer::State(_) | Answer::Gone if state.version != began => {
                self.is_due(name, now);
                Vec::new()
            }
            Answer::State(_) | Answer::Gone => self.forget(name).into_iter().collect(),
            Answer::Failed(_) => {
                let pause = RETRY.0.saturating_mul(1 << state.failures.min(6)).min(RETRY.1);
                state.failures += 1;
                self.is_due(name, now + pause);
                Vec::new()
            }
        }
    }

    /// Keeps the running configuration of a node; returns the one to be forgotten for it, of those that are not wanted.
    fn keep(&mut self, name: &str) -> Option<String> {
        self.kept.retain(|kept| kept != name);
        self.kept.push_back(name.to_owned());
        if self.kept.len() <= KEPT {
            return None;
        }
        let index = self.kept.iter().position(|kept| !self.wanted.contains(kept))?;
        self.kept.remove(index)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use clarion_core::world::{Meta, Outcome};
    use ipnet::IpNet;
    use smol_str::ToSmolStr as _;
    use tokio::time::sleep;

    use super::*;

    fn name(n: usize) -> String {
        format!("node-{n}")
    }

    fn metadata(name: &str, uid: &str, version: u64) -> PartialObjectMeta<FRRNodeState> {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            uid: Some(uid.to_owned()),
            resource_version: Some(version.to_string()),
            ..ObjectMeta::default()
        };
        PartialObjectMeta { metadata, ..PartialObjectMeta::default() }
    }

    fn applied(name: &str, uid: &str, version: u64) -> Seen<PartialObjectMeta<FRRNodeState>> {
        Seen::Event(Event::Applied(metadata(name, uid, version)))
    }

    fn deleted(name: &str, uid: &str, version: u64) -> Seen<PartialObjectMeta<FRRNodeState>> {
        Seen::Event(Event::Deleted(metadata(name, uid, version)))
    }

    fn state(name: &str, uid: &str, version: u64) -> Answer {
        let meta = Meta {
            name: ObjectName::cluster(name),
            uid: uid.into(),
            resource_version: version.to_smolstr(),
            ..Meta::default()
        };
        let running: Vec<IpNet> = vec!["198.51.100.1/32".parse().unwrap()];
        let value = NodeState { conversion: Outcome::Success, reload: Outcome::Success, running: Some(running.into()) };
        Answer::State(Box::new(Object { meta, value }))
    }

    /// A schedule and the world that learns from it.
    struct Test {
        schedule: Schedule,
        world: World,
        now: Instant,
    }

    impl Test {
        fn new() -> Self {
            let now = Instant::now();
            Self { schedule: Schedule::new(now), world: World::default(), now }
        }

        fn learn(&mut self, news: Vec<News>) -> bool {
            (change(news).apply)(&mut self.world).changed
        }

        fn see(&mut self, seen: Seen<PartialObjectMeta<FRRNodeState>>) {
            let news = self.schedule.seen(seen, self.now);
            self.learn(news);
        }

        /// What is fetched next, at once.
        fn next(&mut self) -> Option<String> {
            match self.schedule.next(self.now) {
                Next::Fetch(name) => Some(name),
                Next::Wait(_) => None,
            }
        }

        fn answer(&mut self, name: &str, answer: Answer) -> bool {
            let news = self.schedule.answered(name, answer, self.now);
            self.learn(news)
        }

        /// The nodes of which the running configuration is kept.
        fn running(&self) -> Vec<&str> {
            let states = self.world.node_states.iter().filter(|state| state.value.running.is_some());
            states.map(|state| state.meta.name.name.as_str()).collect()
        }
    }

    #[test]
    fn a_change_is_fetched_once_and_the_same_version_not_again() {
        let mut test = Test::new();
        test.see(applied("a", "u", 5));
        assert_eq!(test.next().as_deref(), Some("a"));
        assert_eq!(test.next(), None);
        assert!(test.answer("a", state("a", "u", 5)));
        test.see(applied("a", "u", 5));
        assert_eq!(test.next(), None, "a watch that begins anew shows what is known");
        test.see(applied("a", "u", 6));
        assert_eq!(test.next().as_deref(), Some("a"));
        assert!(!test.answer("a", state("a", "u", 6)), "nothing that is kept has changed");
    }

    #[test]
    fn a_fetch_that_came_too_early_is_repeated_and_one_that_came_late_serves_for_both() {
        let mut test = Test::new();
        test.see(applied("a", "u", 5));
        test.next();
        test.see(applied("a", "u", 8));
        assert_eq!(test.next(), None, "one at a time");
        test.answer("a", state("a", "u", 5));
        assert_eq!(test.next().as_deref(), Some("a"));
        test.see(applied("a", "u", 9));
        test.answer("a", state("a", "u", 9));
        assert_eq!(test.next(), None);
    }

    #[test]
    fn what_is_deleted_goes_and_no_late_answer_brings_it_back() {
        let mut test = Test::new();
        for name in ["a", "b"] {
            test.see(applied(name, "u", 5));
            test.next();
        }
        test.answer("a", state("a", "u", 5));
        test.see(deleted("a", "u", 6));
        test.see(deleted("b", "u", 6));
        assert!(!test.answer("b", state("b", "u", 5)));
        assert!(test.world.node_states.is_empty());

        test.see(applied("a", "v", 7));
        assert_eq!(test.next().as_deref(), Some("a"), "its successor is another object");
        test.see(deleted("a", "u", 6));
        assert!(test.answer("a", state("a", "v", 7)));
    }

    #[test]
    fn an_object_that_is_not_found_is_gone_unless_the_watch_has_shown_its_successor() {
        let mut test = Test::new();
        test.see(applied("a", "u", 5));
        test.next();
        test.answer("a", state("a", "u", 5));
        test.see(applied("a", "u", 6));
        test.next();
        assert!(test.answer("a", Answer::Gone));
        assert!(test.world.node_states.is_empty());
        test.see(applied("b", "u", 5));
        test.next();
        test.see(deleted("b", "u", 6));
        test.see(applied("b", "v", 7));
        test.answer("b", Answer::Gone);
        assert_eq!(test.next().as_deref(), Some("b"));
    }

    #[test]
    fn what_a_list_does_not_show_and_what_has_no_crd_is_gone() {
        let mut test = Test::new();
        for name in ["a", "b"] {
            test.see(applied(name, "u", 5));
            test.next();
            test.answer(name, state(name, "u", 5));
        }
        test.see(Seen::Event(Event::ListBegins));
        test.see(Seen::Event(Event::Listed(metadata("b", "u", 5))));
        assert_eq!(test.world.node_states.len(), 2);
        test.see(Seen::Event(Event::ListEnded { version: 6 }));
        assert_eq!(test.world.node_states.len(), 1);
        test.see(Seen::Missing);
        assert!(test.world.node_states.is_empty());
        test.see(applied("b", "u", 5));
        assert_eq!(test.next().as_deref(), Some("b"));
    }

    #[test]
    fn an_error_is_followed_by_ever_longer_pauses() {
        let mut test = Test::new();
        test.see(applied("a", "u", 5));
        let mut pauses = Vec::new();
        for version in 6..14 {
            test.next().unwrap();
            test.answer("a", Answer::Failed("no".to_owned()));
            test.see(applied("a", "u", version));
            let Next::Wait(Some(at)) = test.schedule.next(test.now) else { panic!("it waits") };
            pauses.push((at - test.now).as_secs());
            test.now = at;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        test.next().unwrap();
        test.answer("a", state("a", "u", 13));
        test.see(applied("a", "u", 14));
        assert_eq!(test.next().as_deref(), Some("a"), "success ends them");
    }

    #[test]
    fn the_most_telling_are_fetched_first_and_their_running_configuration_is_kept() {
        let mut test = Test::new();
        for n in 0..200 {
            test.see(applied(&name(n), "u", 5));
        }
        test.schedule.want(vec![name(150), name(120), name(999)], test.now);
        let mut order = Vec::new();
        for _ in 0..200 {
            test.now += Duration::from_secs(1);
            let next = test.next().unwrap();
            test.answer(&next, state(&next, "u", 5));
            order.push(next);
            assert!(test.running().len() <= KEPT);
        }
        assert_eq!(order[..4], [name(150), name(120), name(0), name(1)]);
        assert_eq!(test.next(), None);
        assert_eq!(test.running().len(), KEPT);
        assert!(test.running().contains(&"node-150"), "the first that was fetched, but it is wanted");

        // What was forgotten and is wanted is fetched again, though it has not changed.
        assert!(!test.running().contains(&"node-0"));
        test.schedule.want((0..100).map(name).collect(), test.now);
        for _ in 0..KEPT {
            test.now += Duration::from_secs(1);
            let next = test.next().unwrap();
            assert!(test.answer(&next, state(&next, "u", 5)));
        }
        assert_eq!(test.next(), None, "more than can be kept would drive each other out for ever");
        let mut kept: Vec<_> = (0..KEPT).map(name).collect();
        kept.sort_unstable();
        assert_eq!(test.running(), kept);
        assert_eq!(test.world.node_states.len(), 200);

        test.see(applied("node-199", "u", 6));
        test.next().unwrap();
        test.answer("node-199", state("node-199", "u", 6));
        assert_eq!(test.running(), kept, "one that is not wanted drives none out");
    }

    /// A small generator of numbers that look random.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % bound
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_nodes_that_change_all_the_time_are_fetched_at_a_bounded_rate_and_all_are_in_the_end() {
        const NODES: usize = 1000;
        let start = Instant::now();
        let versions = Arc::new(Mutex::new(vec![1_u64; NODES]));
        let (began, at_once) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let random = Arc::new(Mutex::new(Random(7)));
        let fetch = {
            let (versions, began, at_once, random) =
                (Arc::clone(&versions), Arc::clone(&began), Arc::clone(&at_once), Arc::clone(&random));
            move |name: String| {
                let (versions, at_once, random) = (Arc::clone(&versions), Arc::clone(&at_once), Arc::clone(&random));
                began.lock().unwrap().push(Instant::now());
                async move {
                    assert!(at_once.fetch_add(1, Ordering::SeqCst) < IN_FLIGHT);
                    let n: usize = name.strip_prefix("node-").unwrap().parse().unwrap();
                    let pause = |most: u64| Duration::from_millis(random.lock().unwrap().below(most));
                    let (before, after) = (pause(50), pause(100));
                    sleep(before).await;
                    let version = versions.lock().unwrap()[n];
                    sleep(after).await;
                    at_once.fetch_sub(1, Ordering::SeqCst);
                    // For a minute, every third fails.
                    if start.elapsed() < Duration::from_secs(60) && random.lock().unwrap().below(3) == 0 {
                        return Answer::Failed("overloaded".to_owned());
                    }
                    state(&name, "u", version)
                }
            }
        };

        let (events, seen) = mpsc::channel(64);
        let (wanted, look_at) = watch::channel(Vec::new());
        let (changes, mut changed) = mpsc::channel(1024);
        let fetcher = tokio::spawn(run(seen, look_at, changes, Metrics::new(), fetch));
        let learner = tokio::spawn(async move {
            let mut world = World::default();
            while let Some(change) = changed.recv().await {
                (change.apply)(&mut world);
                let running = world.node_states.iter().filter(|state| state.value.running.is_some());
                assert!(running.count() <= KEPT);
            }
            world
        });

        events.send(Seen::Event(Event::ListBegins)).await.unwrap();
        for n in 0..NODES {
            events.send(Seen::Event(Event::Listed(metadata(&name(n), "u", 1)))).await.unwrap();
        }
        events.send(Seen::Event(Event::ListEnded { version: 1 })).await.unwrap();
        while start.elapsed() < Duration::from_secs(120) {
            let n = usize::try_from(random.lock().unwrap().below(NODES as u64)).unwrap();
            let version = {
                let mut versions = versions.lock().unwrap();
                versions[n] += 1;
                versions[n]
            };
            events.send(applied(&name(n), "u", version)).await.unwrap();
            if version % 8 == 0 {
                wanted.send_replace((n..n + 100).map(|n| name(n % NODES)).collect());
            }
            sleep(Duration::from_millis(4)).await;
        }
        let changes_end = Instant::now();
        sleep(Duration::from_secs(180)).await;
        assert!(began.lock().unwrap().last().unwrap().duration_since(changes_end) < Duration::from_secs(90));
        drop((events, wanted));
        fetcher.await.unwrap();

        let world = learner.await.unwrap();
        for (n, version) in versions.lock().unwrap().iter().enumerate() {
            let known = world.node_states.get(&ObjectName::cluster(name(n))).unwrap();
            assert_eq!(known.meta.resource_version, version.to_string(), "the newest state of {n}");
        }
        let began = began.lock().unwrap();
        for (index, from) in began.iter().enumerate() {
            for (count, to) in began[index..].iter().enumerate() {
                let bound = 50.0 + 20.0 * (*to - *from).as_secs_f64();
                assert!(count as f64 <= bound, "{count} in {:?}", *to - *from);
            }
        }
        println!("{} changes, {} fetches", versions.lock().unwrap().iter().sum::<u64>(), began.len());
    }
}
