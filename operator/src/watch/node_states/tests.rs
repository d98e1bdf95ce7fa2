use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use clarion_api::ObjectMeta;
use clarion_core::world::{Meta, Object, ObjectName, Outcome};
use ipnet::IpNet;
use smol_str::ToSmolStr as _;
use tokio::time::sleep;

use super::{
    super::Event,
    schedule::{IN_FLIGHT, KEPT},
    *,
};

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
        test.see(applied(name, name, 5));
        test.next();
        test.answer(name, state(name, name, 5));
    }
    test.see(Seen::Event(Event::ListBegins));
    test.see(Seen::Event(Event::Listed(metadata("b", "b", 5))));
    assert_eq!(test.world.node_states.len(), 2);
    test.see(Seen::Event(Event::ListEnded { version: 6 }));
    assert_eq!(test.world.node_states.len(), 1);
    test.see(Seen::Missing);
    assert!(test.world.node_states.is_empty());
    test.see(applied("b", "b", 5));
    assert_eq!(test.next().as_deref(), Some("b"));
}

#[test]
fn a_list_that_is_older_than_what_is_known_takes_nothing_away_and_brings_nothing_back() {
    let mut test = Test::new();
    for (name, uid, version) in [("kept", "u", 8), ("new", "u", 9), ("replaced", "v", 10)] {
        test.see(applied(name, uid, version));
        assert_eq!(test.next().as_deref(), Some(name));
        assert!(test.answer(name, state(name, uid, version)));
    }
    test.see(Seen::Event(Event::ListBegins));
    for (name, version) in [("kept", 5), ("replaced", 6)] {
        test.see(Seen::Event(Event::Listed(metadata(name, "u", version))));
    }
    test.see(Seen::Event(Event::ListEnded { version: 7 }));
    let known: Vec<&str> = test.world.node_states.iter().map(|state| state.meta.uid.as_str()).collect();
    assert_eq!(known, ["u", "u", "v"]);
    assert_eq!(test.next(), None, "all are known as they are");
    test.see(deleted("replaced", "v", 11));
    assert_eq!(test.world.node_states.len(), 2);
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
