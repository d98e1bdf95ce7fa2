//! Writes that wait for one another: which is next, and whether it may start. Time is handed in.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use clarion_core::{Deferred, Urgency, Write, world::ObjectRef};
use tokio::time::Instant;

use super::window::Window;
use crate::bucket::Bucket;

/// Writes of some kinds, which compete with each other and with no others.
pub struct Lane {
    window: Window,
    tokens: Option<Bucket>,
    in_flight: usize,
    /// The next first.
    waiting: VecDeque<Write>,
    /// Those that may not start before a time.
    aside: BTreeMap<Instant, Vec<Write>>,
    /// The objects to which there is something to be written.
    unwritten: HashMap<ObjectRef, Unwritten>,
}

/// What an object's turn depends on, beside how urgent the write is.
#[derive(Clone, Copy, Debug)]
struct Unwritten {
    /// When there came to be something to be written.
    since: Instant,
    /// What it can wait longer for an announcement, because others are to say the same.
    stagger: Duration,
}

impl Unwritten {
    fn new(since: Instant) -> Self {
        Self { since, stagger: Duration::ZERO }
    }
}

/// What the outcome of a write says of those who had to decide on it.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// They have decided, whatever it was.
    Decided,
    /// They have too much to do.
    Overloaded {
        /// Nothing is to be sent before.
        until: Option<Instant>,
    },
}

/// How much longer than the most urgent write another has waited when it goes first. So nothing waits for ever, whatever else
/// keeps changing.
fn handicap(urgency: Urgency) -> Duration {
    match urgency {
        Urgency::Address | Urgency::Withdrawal => Duration::ZERO,
        Urgency::Announcement => Duration::from_secs(2),
        Urgency::Report => Duration::from_secs(30),
    }
}

/// How much later than the one before it is the turn of each object that is to announce the same, as the next cell is to. Else all of
/// them would go before what is new elsewhere, and where everything changes all the time, it would stay so: a whole round through all
/// objects would pass until something new is announced from anywhere.
const STAGGER: Duration = Duration::from_secs(2);

/// How much longer, beyond the [`handicap`], something deferred has waited than what is more urgent when it keeps that from its nodes:
/// a few writes' time, where FRR-K8s's webhook takes seconds for each.
const AHEAD: Duration = Duration::from_secs(10);

impl Lane {
    /// An empty one with so many writes in flight at most, and, if there are tokens, one of them for each.
    pub fn new(max_in_flight: usize, tokens: Option<Bucket>) -> Self {
        Self {
            window: Window::new(max_in_flight),
            tokens,
            in_flight: 0,
            waiting: VecDeque::new(),
            aside: BTreeMap::new(),
            unwritten: HashMap::new(),
        }
    }

    /// Replaces what waits. Of two that are as urgent and have waited as long, the one that comes first stays first. What would keep
    /// nodes busy that something deferred waits for, and has waited for less time, is left out until that has had its turn; what is
    /// more urgent only where the other has waited for long.
    pub fn replace(&mut self, writes: Vec<Write>, deferred: &[Deferred], now: Instant) {
        let later = || deferred.iter().map(|write| write.object.clone());
        let objects: HashSet<ObjectRef> = writes.iter().map(Write::object).chain(later()).collect();
        self.unwritten.retain(|object, _| objects.contains(object));
        let mut alike: HashMap<_, u32> = HashMap::new();
        for write in &writes {
            let Entry::Vacant(entry) = self.unwritten.entry(write.object()) else { continue };
            let before = write.layer().map(|layer| alike.entry(Arc::as_ptr(&layer.content)).or_default());
            let stagger = before.as_ref().map_or(Duration::ZERO, |before| STAGGER * **before);
            before.into_iter().for_each(|before| *before += 1);
            entry.insert(Unwritten { since: now, stagger });
        }
        for object in later() {
            self.unwritten.entry(object).or_insert(Unwritten::new(now));
        }
        self.outdate();
        self.wait(writes, now);
        let mut reserved: HashMap<&str, BTreeMap<Urgency, Instant>> = HashMap::new();
        for before in deferred {
            let turn = self.turn(&before.object, before.urgency, now);
            for host in before.hosts.iter().flat_map(|hosts| hosts.iter()) {
                let first = reserved.entry(host).or_default().entry(before.urgency).or_insert(turn);
                *first = turn.min(*first);
            }
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|write| {
            let (urgency, turn) = (write.urgency(), self.turn(&write.object(), write.urgency(), now));
            let goes_first = |(other, first): (&Urgency, &Instant)| {
                let ahead = if urgency < *other { AHEAD } else { Duration::ZERO };
                *first + ahead < turn
            };
            let hosts = write.layer().into_iter().flat_map(|layer| layer.hosts.iter());
            !hosts.filter_map(|host| reserved.get(host.as_str())).flatten().any(goes_first)
        });
        self.waiting = waiting;
    }

    /// Puts writes in the order of their turns.
    fn wait(&mut self, mut writes: Vec<Write>, now: Instant) {
        writes.sort_by_cached_key(|write| self.turn(&write.object(), write.urgency(), now));
        self.waiting = writes.into();
    }

    /// The earlier it is, the earlier goes the object.
    fn turn(&self, object: &ObjectRef, urgency: Urgency, now: Instant) -> Instant {
        let Unwritten { since, stagger } = self.unwritten.get(object).copied().unwrap_or(Unwritten::new(now));
        since + handicap(urgency) + if urgency == Urgency::Announcement { stagger } else { Duration::ZERO }
    }

    /// Adds to what waits, each in its turn and in place of what waits for the same object.
    pub fn add(&mut self, writes: Vec<Write>, now: Instant) {
        let newer: BTreeSet<ObjectRef> = writes.iter().map(Write::object).collect();
        for object in &newer {
            self.unwritten.entry(object.clone()).or_insert(Unwritten::new(now));
        }
        let others = std::mem::take(&mut self.waiting).into_iter();
        let others = others.chain(std::mem::take(&mut self.aside).into_values().flatten());
        let others = others.filter(|write| !newer.contains(&write.object()));
        self.wait(others.chain(writes).collect(), now);
    }

    /// All that wait.
    pub fn iter(&self) -> impl Iterator<Item = &Write> {
        self.waiting.iter().chain(self.aside.values().flatten())
    }

    /// Drops what waits, but not since when.
    pub fn outdate(&mut self) {
        self.waiting = VecDeque::new();
        self.aside.clear();
    }

    /// Whether nothing waits that may be written.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// How many objects there is something to be written to, whether that may be written now or has to wait for others.
    pub fn backlog(&self) -> usize {
        self.unwritten.len()
    }

    /// Whether nothing is in flight, nor waits for anything but a pause to end.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight == 0
    }

    /// Whether something is to be written to this object.
    pub fn holds(&self, object: &ObjectRef) -> bool {
        self.unwritten.contains_key(object)
    }

    /// Takes the next write that may start; else tells when there will be one by the passing of time alone.
    pub fn next(
        &mut self,
        now: Instant,
        not_before: impl Fn(&ObjectRef) -> Option<Instant>,
    ) -> Result<Write, Option<Instant>> {
        while let Some(entry) = self.aside.first_entry().filter(|entry| *entry.key() <= now) {
            for write in entry.remove() {
                let turn = |write: &Write| self.turn(&write.object(), write.urgency(), now);
                let own = turn(&write);
                let place = self.waiting.partition_point(|other| turn(other) <= own);
                self.waiting.insert(place, write);
            }
        }
        self.window.admits(self.in_flight, now)?;
        while let Some(write) = self.waiting.pop_front() {
            let object = write.object();
            if let Some(until) = not_before(&object).filter(|until| *until > now) {
                self.aside.entry(until).or_default().push(write);
                continue;
            }
            if let Some(Err(at)) = self.tokens.as_mut().map(|tokens| tokens.take(now)) {
                self.waiting.push_front(write);
                return Err(Some(at));
            }
            self.unwritten.remove(&object);
            self.in_flight += 1;
            return Ok(write);
        }
        Err(self.aside.first_key_value().map(|(until, _)| *until))
    }

    /// A write that was sent at `started` has had its outcome at `ended`.
    pub fn settled(&mut self, answer: Answer, started: Instant, ended: Instant) {
        match answer {
            Answer::Decided => self.window.answered(self.in_flight, started, ended),
            Answer::Overloaded { until } => self.window.overloaded(started, ended, until),
        }
        self.in_flight = self.in_flight.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use clarion_core::{
        ConfigurationWrite, Precondition, ServiceStatusWrite,
        world::{Kind, ObjectName},
    };
    use rstest::rstest;
    use smol_str::SmolStr;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn precondition() -> Precondition {
        Precondition { uid: "u".into(), resource_version: "1".into() }
    }

    fn service(name: &str, address: bool) -> Write {
        Write::ServiceStatus(ServiceStatusWrite {
            name: ObjectName::new("shop", name),
            precondition: precondition(),
            addresses: address.then(Vec::new),
            conditions: Vec::new(),
            remove_conditions: Vec::new(),
            event: None,
        })
    }

    fn configuration_for(name: &str, hosts: &[usize], withdraws: bool) -> Write {
        let mut write = configuration(name, withdraws);
        if let Write::Configuration(ConfigurationWrite::Update { layer, .. }) = &mut write {
            layer.hosts = Arc::new(hosts.iter().map(ToString::to_string).collect());
        }
        write
    }

    fn configuration(name: &str, withdraws: bool) -> Write {
        Write::Configuration(ConfigurationWrite::Update {
            name: ObjectName::new("frr-k8s-system", name),
            precondition: precondition(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            layer: Default::default(),
            withdraws,
            event: None,
        })
    }

    fn deferred(write: &Write) -> Deferred {
        let hosts = write.layer().map(|layer| Arc::clone(&layer.hosts));
        Deferred { object: write.object(), urgency: write.urgency(), hosts: hosts.into_iter().collect() }
    }

    /// The names of the writes that start now, each settled at once.
    fn started(lane: &mut Lane, now: Instant) -> Vec<SmolStr> {
        let next = || {
            let write = lane.next(now, |_| None).ok()?;
            lane.settled(Answer::Decided, now, now);
            Some(write.object().name.name)
        };
        std::iter::from_fn(next).collect()
    }

    #[rstest]
    #[case::addresses_before_conditions(vec![service("a", false), service("b", true), service("c", true)], "b c a")]
    #[case::withdrawals_before_announcements(
        vec![configuration("a", false), configuration("b", true), configuration("c", false)], "b a c"
    )]
    fn the_most_urgent_goes_first(#[case] writes: Vec<Write>, #[case] order: &str) {
        let now = Instant::now();
        let mut lane = Lane::new(8, None);
        lane.replace(writes, &[], now);
        assert_eq!(started(&mut lane, now).join(" "), order);
    }

    /// All objects change all the time, as the shards of a cell do while Services come and go, and only some may be written at
    /// a time.
    #[rstest]
    #[case::as_urgent_as_each_other(|_| false)]
    #[case::some_of_them_more_urgent(|n| n < 10)]
    fn no_object_waits_for_ever(#[case] withdraws: fn(usize) -> bool) {
        let start = Instant::now();
        let mut lane = Lane::new(8, Some(Bucket::full(10, 10, start)));
        let mut written = BTreeMap::<SmolStr, usize>::new();
        for tick in 0..1_000 {
            let now = start + 20 * MS * tick;
            lane.replace((0..16).map(|n| configuration(&format!("c{n:02}"), withdraws(n))).collect(), &[], now);
            for name in started(&mut lane, now) {
                *written.entry(name).or_default() += 1;
            }
        }
        assert_eq!(written.len(), 16, "{written:?}");
        assert!(written.values().all(|times| *times >= 4), "{written:?}");
    }

    /// All shards of all cells change all the time, and one object a second can be written. What is new in a shard is not to wait until
    /// a round through all of them has passed.
    #[test]
    fn the_cells_of_a_shard_take_turns_with_those_of_others() {
        const CELLS: usize = 8;
        const SHARDS: usize = 8;
        let start = Instant::now();
        let mut lane = Lane::new(1, Some(Bucket::full(1, 1, start)));
        let mut last = [None; SHARDS];
        let mut gaps = Vec::new();
        for second in 0..400 {
            let now = start + 1_000 * MS * second;
            // At first they change one after the other.
            let changed = SHARDS.min(usize::try_from(second).unwrap() + 1);
            let mut writes = Vec::new();
            for shard in 0..changed {
                let content = Arc::default();
                for cell in 0..CELLS {
                    let mut write = configuration(&format!("c{cell}-s{shard}"), false);
                    if let Write::Configuration(ConfigurationWrite::Update { layer, .. }) = &mut write {
                        layer.content = Arc::clone(&content);
                    }
                    writes.push(write);
                }
            }
            lane.replace(writes, &[], now);
            for name in started(&mut lane, now) {
                let shard: usize = name.rsplit('s').next().unwrap().parse().unwrap();
                gaps.extend(last[shard].replace(second).map(|before: u32| second - before));
            }
        }
        let longest = gaps[gaps.len() / 2..].iter().max().copied().unwrap();
        assert!(longest < u32::try_from(CELLS * SHARDS / 2).unwrap(), "{longest} s: {gaps:?}");
    }

    /// Everything changes all the time, the webhook takes more than a second for each write, and a plan leaves out what shares a node
    /// with a write that is under way.
    #[rstest]
    #[case::the_shards_of_cells(128, |n| vec![n / 8], |_| false)]
    #[case::some_of_them_more_urgent(128, |n| vec![n / 8], |n| n % 8 > 0)]
    #[case::one_for_all_nodes_beside_one_for_each(21, |n| if n == 20 { (0..20).collect() } else { vec![n] }, |_| false)]
    #[case::one_for_all_nodes_beside_more_urgent_ones(21, |n| if n == 20 { (0..20).collect() } else { vec![n] }, |n| n < 20)]
    fn who_has_to_wait_for_others_to_be_settled_gets_a_turn(
        #[case] objects: usize,
        #[case] hosts: fn(usize) -> Vec<usize>,
        #[case] withdraws: fn(usize) -> bool,
    ) {
        let start = Instant::now();
        let mut lane = Lane::new(2, None);
        let mut under_way: Vec<(Instant, Write)> = Vec::new();
        let mut written = BTreeMap::<SmolStr, usize>::new();
        for tick in 0..5_000 {
            let now = start + 100 * MS * tick;
            for (sent, write) in under_way.extract_if(.., |(sent, _)| *sent + 1_200 * MS <= now) {
                lane.settled(Answer::Decided, sent, now);
                *written.entry(write.object().name.name).or_default() += 1;
            }
            let layer_of = |write: &Write| write.layer().unwrap().clone();
            let busy: BTreeSet<String> = under_way
                .iter()
                .flat_map(|(_, write)| layer_of(write).hosts.iter().cloned().collect::<Vec<_>>())
                .collect();
            let all = (0..objects).map(|n| configuration_for(&format!("o{n:03}"), &hosts(n), withdraws(n)));
            let (writes, later): (Vec<_>, Vec<_>) = all.partition(|write| layer_of(write).hosts.is_disjoint(&busy));
            let later: Vec<_> = later.iter().map(deferred).collect();
            lane.replace(writes, &later, now);
            while let Ok(write) = lane.next(now, |_| None) {
                under_way.push((now, write));
            }
        }
        let fair = written.values().sum::<usize>() / objects / 4;
        assert_eq!(written.len(), objects, "{written:?}");
        assert!(written.values().all(|times| *times >= fair.max(1)), "{written:?}");
    }

    #[test]
    fn what_is_paused_holds_nobody_up_and_goes_when_its_time_has_come() {
        let now = Instant::now();
        let mut lane = Lane::new(8, None);
        lane.replace(vec![service("a", true), service("b", true)], &[], now);
        let paused = |object: &ObjectRef| (object.name.name == "a").then_some(now + 50 * MS);
        assert_eq!(lane.next(now, paused).unwrap().object().name.name, "b");
        lane.settled(Answer::Decided, now, now);
        assert_eq!(lane.next(now, paused).unwrap_err(), Some(now + 50 * MS));
        assert_eq!(lane.iter().count(), 1);
        assert_eq!(lane.next(now + 50 * MS, paused).unwrap().object().name.name, "a");
        assert!(lane.is_empty());
    }

    #[test]
    fn what_has_to_wait_for_others_is_part_of_the_backlog() {
        let now = Instant::now();
        let mut lane = Lane::new(1, None);
        let write = configuration_for("b", &[1], false);
        let later = deferred(&write);
        lane.replace(Vec::new(), std::slice::from_ref(&later), now);
        lane.replace(vec![configuration_for("a", &[1], false)], &[later], now + MS);
        assert_eq!(lane.next(now + MS, |_| None).unwrap_err(), None, "it would keep the node busy");
        assert_eq!(lane.backlog(), 2);
        lane.replace(vec![write], &[], now + 2 * MS);
        assert_eq!(lane.backlog(), 1);
        assert_eq!(started(&mut lane, now + 2 * MS), ["b"]);
        assert_eq!(lane.backlog(), 0);
    }

    /// What has to wait for nodes keeps them from what is as urgent; from what is more urgent only when it has waited for long.
    #[rstest]
    #[case::as_urgent(false, 3_000, "")]
    #[case::more_urgent(true, 3_000, "new")]
    #[case::more_urgent_than_what_has_waited_for_long(true, 12_001, "")]
    fn what_waits_for_nodes_keeps_them(#[case] withdraws: bool, #[case] age: u32, #[case] expected: &str) {
        let now = Instant::now();
        let mut lane = Lane::new(8, None);
        let old = deferred(&configuration_for("old", &[1, 2], false));
        lane.replace(Vec::new(), std::slice::from_ref(&old), now);
        let later = now + age * MS;
        lane.replace(vec![configuration_for("new", &[2, 3], withdraws)], &[old], later);
        assert_eq!(started(&mut lane, later).join(" "), expected);
    }

    #[test]
    fn what_was_paused_goes_in_its_turn() {
        let now = Instant::now();
        let mut lane = Lane::new(1, None);
        lane.replace(["a", "b", "c", "d"].map(|name| service(name, name < "c")).into(), &[], now);
        let paused = |object: &ObjectRef| (object.name.name.as_str() < "c").then_some(now + 50 * MS);
        assert_eq!(lane.next(now, paused).unwrap().object().name.name, "c");
        lane.settled(Answer::Decided, now, now);
        assert_eq!(started(&mut lane, now + 50 * MS), ["a", "b", "d"]);
    }

    #[test]
    fn what_is_outdated_is_gone_but_has_waited_all_the_same() {
        let now = Instant::now();
        let mut lane = Lane::new(8, None);
        lane.replace(vec![service("a", false)], &[], now);
        lane.outdate();
        assert!(lane.is_empty());
        assert_eq!(started(&mut lane, now), Vec::<String>::new());
        let later = now + 31_000 * MS;
        lane.replace(vec![service("b", true), service("a", false)], &[], later);
        assert_eq!(started(&mut lane, later), ["a", "b"]);
    }

    #[test]
    fn what_is_added_waits_for_its_turn_in_place_of_what_waited_for_its_object() {
        let now = Instant::now();
        let mut lane = Lane::new(8, None);
        let paused = |object: &ObjectRef| (object.name.name == "a").then_some(now + 50 * MS);
        lane.replace(vec![service("a", false)], &[], now);
        assert_eq!(lane.next(now, paused).unwrap_err(), Some(now + 50 * MS));
        assert!(lane.is_idle() && !lane.is_empty());
        lane.add(vec![service("b", false), service("c", true)], now);
        lane.add(vec![service("b", true)], now + MS);
        assert!(!lane.is_idle());
        assert_eq!(started(&mut lane, now + MS), ["c", "b", "a"]);
    }

    #[test]
    fn a_newer_plan_replaces_what_waits() {
        let now = Instant::now();
        let mut lane = Lane::new(1, None);
        lane.replace(vec![service("a", true), service("b", true), service("c", true)], &[], now);
        assert_eq!(lane.next(now, |_| None).unwrap().object().name.name, "a");
        assert_eq!(lane.next(now, |_| None).unwrap_err(), None, "one at a time");
        lane.replace(vec![service("c", true)], &[], now + MS);
        lane.settled(Answer::Decided, now, now + MS);
        assert_eq!(started(&mut lane, now + MS), ["c"]);
        let object = |name: &str| ObjectRef::new(Kind::Service, ObjectName::new("shop", name));
        assert!(lane.is_empty() && !lane.holds(&object("b")) && !lane.holds(&object("c")));
    }
}
