//! What users, machines and processes do: at random, by a seed.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clarion_core::{
    Brake,
    world::{Bounds, Settings},
};
use futures::FutureExt as _;
use serde_json::{Value, json};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    Epoch,
    judge::{AT_ODDS, Judge},
    link::{LAG, Link, Weather},
    store::Store,
};
use crate::{
    clock::Clock,
    lead::{Lost, Terms},
    process::Process,
    telemetry::{Health, Metrics},
};

/// The router.
const ROUTER: &str = "192.0.2.1";
/// The hold time of its session at first.
const HOLD_TIME: &str = "90s";
const NODES: usize = 4;
const SERVICES: usize = 8;
/// Replicas of the Deployment.
const REPLICAS: usize = 2;
/// How long a container that has ended stays away.
const RESTART: Duration = Duration::from_secs(1);
/// How long everything may take to be as it is wanted once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(300);
/// So many schedules, and it is looked whether anything is written where nothing happens.
const CALM_EVERY: u64 = 10;
const CALM: Duration = Duration::from_secs(60);

/// A replica, which is started again when it has ended.
struct Replica {
    link: Link,
    /// By how many seconds its clock is ahead.
    skew: Arc<AtomicU64>,
    task: JoinHandle<Result<(), Lost>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Replica {
    fn start(store: &Store, epoch: Epoch, identity: String, random: &mut fastrand::Rng, weather: Weather) -> Self {
        let link = Link::new(&identity, store.clone(), random.u64(..), weather);
        let (stop, stopped) = oneshot::channel::<()>();
        // The clocks of two machines differ.
        let skew = Arc::new(AtomicU64::new(random.u64(..120)));
        let ahead = Arc::clone(&skew);
        let process = Process {
            settings: Settings {
                // So that a few Services are as many as thousands.
                bounds: Bounds { cell_load: 8, shard_prefixes: 2, shard_bytes: 64 * 21, ..Bounds::default() },
                brake: Brake { share: 0, least: 1 },
                ..Settings::default()
            },
            reader: link.client(),
            writer: link.client(),
            terms: Terms {
                namespace: "clarion-system".to_owned(),
                name: "clarion".to_owned(),
                identity,
                duration: Duration::from_secs(15),
            },
            max_in_flight: 32,
            clock: Clock::new(move || epoch.now() + Duration::from_secs(ahead.load(Ordering::Relaxed))),
            health: Health::new(),
            metrics: Metrics::new(),
        };
        let stopped = stopped.map(|_| ()).boxed();
        Self { link, skew, task: tokio::spawn(process.run(stopped)), stop: Some(stop) }
    }
}

/// A cluster, and all who do something in it.
pub struct Cluster {
    epoch: Epoch,
    random: fastrand::Rng,
    store: Store,
    replicas: Vec<Replica>,
    started: u64,
    services: BTreeSet<usize>,
    nodes: BTreeSet<usize>,
    /// The name of the pool.
    pool: &'static str,
    /// Parameters of the session change; else users have objects with the session, which must agree on them.
    edits_peer: bool,
    /// Kinds of which somebody has deleted the only object.
    slips: BTreeSet<&'static str>,
    tally: Tally,
}

/// What has happened until now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub schedules: u64,
    pub kills: u64,
    pub outages: u64,
    pub leaders: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.kills += other.kills;
        self.outages += other.outages;
        self.leaders += other.leaders;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schedules, kills, outages, leaders } = self;
        write!(
            f,
            "{schedules} schedules, {kills} kills, {outages} outages of the API server, {leaders} changes of leaders"
        )
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Broken {
    /// What is wrong.
    pub what: String,
    /// What happened before.
    pub log: String,
}

impl Cluster {
    /// One in which everything is as it is wanted.
    pub async fn start(seed: u64) -> Result<Self, Broken> {
        let epoch = Epoch::begin();
        let store = Store::new(epoch, Judge::new(epoch));
        store.apply("namespaces", json!({"metadata": {"name": "default"}}));
        store.apply("loadbalancerpools", pool("first"));
        store.apply("loadbalanceradvertisements", advertisement());
        store.apply("routerpeers", peer(HOLD_TIME));
        let mut this = Self {
            epoch,
            random: fastrand::Rng::with_seed(seed),
            store,
            replicas: Vec::new(),
            started: 0,
            services: BTreeSet::new(),
            nodes: BTreeSet::new(),
            pool: "first",
            edits_peer: seed.is_multiple_of(2),
            slips: BTreeSet::new(),
            tally: Tally::default(),
        };
        (0..NODES).for_each(|node| this.add_node(node));
        (0..SERVICES / 2).for_each(|service| this.add_service(service));
        for _ in 0..REPLICAS {
            let replica = this.new_replica(Weather::FAIR);
            this.replicas.push(replica);
        }
        this.come_to_rest().await?;
        Ok(this)
    }

    /// One schedule.
    pub async fn schedule(&mut self) -> Result<(), Broken> {
        self.tally.schedules += 1;
        self.store.judge(Judge::is_steady);
        let fierce = self.random.f64() < 0.7;
        for _ in 0..self.random.usize(1..=8) {
            if fierce {
                let weather = self.weather();
                let replica = self.random.usize(..REPLICAS);
                self.replicas[replica].link.set(weather);
                self.note(&format!("replica {replica}: {weather:?}"));
            }
            self.happens().await;
            let longest = 10_u64.pow(self.random.u32(1..=4));
            let pause = Duration::from_millis(self.random.u64(..longest));
            self.pass(pause).await;
        }
        self.come_to_rest().await?;
        if self.tally.schedules.is_multiple_of(CALM_EVERY) {
            self.stays_calm().await?;
        }
        Ok(())
    }

    fn note(&self, text: &str) {
        self.store.judge(|judge| judge.note(text));
    }

    fn new_replica(&mut self, weather: Weather) -> Replica {
        self.started += 1;
        let identity = format!("replica-{}", self.started);
        Replica::start(&self.store, self.epoch, identity, &mut self.random, weather)
    }

    fn weather(&mut self) -> Weather {
        let random = &mut self.random;
        let mut sometimes = |most: f64| if random.bool() { 0.0 } else { random.f64() * most };
        Weather {
            lost: sometimes(0.3),
            unanswered: sometimes(0.3),
            late: sometimes(0.1),
            refused: sometimes(0.2),
            slow: sometimes(0.3),
            gone: sometimes(0.5),
            stale: sometimes(0.8),
            lag: LAG.mul_f64(sometimes(1.0)),
            cut: random.f64() < 0.1,
        }
    }

    /// Something happens.
    async fn happens(&mut self) {
        let service = self.random.usize(..SERVICES);
        let node = self.random.usize(..NODES);
        let replica = self.random.usize(..REPLICAS);
        match self.random.u32(..100) {
            0..15 if !self.services.contains(&service) => self.add_service(service),
            0..7 => self.remove_service(service),
            7..15 => {
                self.remove_service(service);
                self.add_service(service);
            }
            15..30 => self.move_endpoints(service),
            30..38 if !self.nodes.contains(&node) => self.add_node(node),
            30..34 => self.remove_node(node),
            34..50 => {
                self.note(&format!("replica {replica} is killed"));
                self.kill(replica);
            }
            50..57 => {
                self.note(&format!("replica {replica} is stopped"));
                self.replicas[replica].stop.take();
            }
            57..62 => {
                self.note(&format!("watches of replica {replica} end"));
                self.replicas[replica].link.end_watches();
            }
            62..67 => {
                self.note("history is compacted, and all watches end");
                self.store.compact();
                self.replicas.iter().for_each(|replica| replica.link.end_watches());
            }
            67..70 => self.store.remove("leases", "clarion-system", "clarion"),
            70..75 => {
                self.note("the API server is away");
                self.tally.outages += 1;
                self.replicas.iter().for_each(|replica| replica.link.set(Weather::CUT));
                let away = Duration::from_millis(self.random.u64(..20_000));
                self.pass(away).await;
                self.replicas.iter().for_each(|replica| replica.link.set(Weather::FAIR));
            }
            75..80 => {
                self.note(&format!("the clock of replica {replica} jumps"));
                self.replicas[replica].skew.store(self.random.u64(..200_000), Ordering::Relaxed);
            }
            80..84 => {
                let (old, new) = if self.pool == "first" { ("first", "second") } else { ("second", "first") };
                self.store.apply("loadbalancerpools", pool(new));
                self.store.remove("loadbalancerpools", "", old);
                self.pool = new;
            }
            84..90 if self.edits_peer => {
                self.store.apply("routerpeers", peer(if self.random.bool() { HOLD_TIME } else { "30s" }));
            }
            84..87 => self.store.apply("frrconfigurations", receiving()),
            87..90 => self.store.remove("frrconfigurations", "frr-k8s-system", "receiving"),
            // By a slip, which is undone in the end.
            90..92 => self.slip("loadbalanceradvertisements", "all"),
            92..93 if self.edits_peer => self.slip("routerpeers", "tor"),
            93..94 => self.undo_slips(),
            94..96 if self.edits_peer => self.store.apply("frrconfigurations", at_odds(node)),
            96..98 if self.edits_peer => self.store.remove("frrconfigurations", "frr-k8s-system", AT_ODDS),
            _ => {}
        }
    }

    fn kill(&mut self, replica: usize) {
        self.tally.kills += 1;
        let replica = &mut self.replicas[replica];
        replica.link.kill();
        replica.task.abort();
    }

    fn add_service(&mut self, number: usize) {
        self.services.insert(number);
        let name = format!("web-{number}");
        let policy = if self.random.f64() < 0.3 { "Local" } else { "Cluster" };
        self.store.apply(
            "services",
            json!({
                "metadata": {"namespace": "default", "name": name},
                "spec": {
                    "type": "LoadBalancer", "loadBalancerClass": "clarionlb.io/bgp", "ports": [{"port": 80}],
                    "externalTrafficPolicy": policy, "ipFamilies": ["IPv4"],
                },
            }),
        );
        self.move_endpoints(number);
    }

    fn remove_service(&mut self, number: usize) {
        self.services.remove(&number);
        let name = format!("web-{number}");
        self.store.remove("services", "default", &name);
        self.store.remove("endpointslices", "default", &name);
    }

    /// Endpoints of a Service are ready on other nodes, or on none.
    fn move_endpoints(&mut self, service: usize) {
        if !self.services.contains(&service) {
            return;
        }
        let nodes: Vec<usize> = (0..NODES).filter(|_| self.random.bool()).collect();
        let endpoints: Vec<Value> = nodes
            .iter()
            .map(|node| {
                json!({"addresses": ["10.0.0.1"], "nodeName": format!("node-{node}"), "conditions": {"ready": true}})
            })
            .collect();
        let name = format!("web-{service}");
        self.store.apply(
            "endpointslices",
            json!({
                "metadata": {"namespace": "default", "name": name, "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4", "endpoints": endpoints,
            }),
        );
    }

    fn add_node(&mut self, number: usize) {
        self.nodes.insert(number);
        let name = format!("node-{number}");
        self.store.apply(
            "nodes",
            json!({
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}, "spec": {}, "status": {},
            }),
        );
    }

    fn remove_node(&mut self, number: usize) {
        self.nodes.remove(&number);
        self.store.remove("nodes", "", &format!("node-{number}"));
    }

    /// Time passes. Replicas that have ended are started again.
    async fn pass(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            for number in 0..REPLICAS {
                if self.replicas[number].task.is_finished() {
                    self.replicas[number].link.kill();
                    self.note(&format!("replica {number} is started again"));
                    let replica = self.new_replica(Weather::FAIR);
                    self.replicas[number] = replica;
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            sleep(left.min(RESTART)).await;
        }
    }

    fn slip(&mut self, plural: &'static str, name: &str) {
        self.note(&format!("somebody deletes {name} by a slip"));
        self.store.remove(plural, "", name);
        self.slips.insert(plural);
    }

    fn undo_slips(&mut self) {
        for plural in std::mem::take(&mut self.slips) {
            self.store.apply(plural, if plural == "routerpeers" { peer(HOLD_TIME) } else { advertisement() });
        }
    }

    /// Nothing goes wrong any more, until everything is as it is wanted.
    async fn come_to_rest(&mut self) -> Result<(), Broken> {
        self.replicas.iter().for_each(|replica| replica.link.set(Weather::FAIR));
        self.note("nothing goes wrong any more");
        self.undo_slips();
        let until = Instant::now() + PATIENCE;
        // What was under way to somebody has arrived then.
        self.pass(LAG).await;
        loop {
            self.pass(RESTART).await;
            let (broken, settled) = self.store.judge(|judge| (judge.violations().first().cloned(), judge.settled()));
            let settled = settled.and(if self.store.has_writes_under_way() {
                Err("writes under way".to_owned())
            } else {
                Ok(())
            });
            match (broken, settled) {
                (Some(broken), _) => return Err(self.broken(broken)),
                (None, Ok(())) => return Ok(()),
                (None, Err(_)) if Instant::now() < until => {}
                (None, Err(missing)) => return Err(self.broken(format!("after {PATIENCE:?}: {missing}"))),
            }
        }
    }

    /// Where nothing happens, nothing is written, once what is left to be said is said.
    async fn stays_calm(&mut self) -> Result<(), Broken> {
        self.pass(CALM).await;
        let before = self.store.judge(|judge| judge.changes);
        self.pass(CALM).await;
        let (after, broken) = self.store.judge(|judge| (judge.changes, judge.violations().first().cloned()));
        match broken {
            Some(broken) => Err(self.broken(broken)),
            None if after != before => Err(self.broken(format!("{} writes where nothing happens", after - before))),
            None => Ok(()),
        }
    }

    fn broken(&self, what: String) -> Broken {
        Broken { what, log: self.store.judge(|judge| judge.log()) }
    }

    /// What has happened until now.
    pub fn tally(&self) -> Tally {
        Tally { leaders: self.store.judge(|judge| judge.leaders), ..self.tally }
    }

    /// What has happened last.
    pub fn log(&self) -> String {
        self.store.judge(|judge| judge.log())
    }
}

fn pool(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"addresses": ["198.51.100.0/28"]}})
}

fn advertisement() -> Value {
    json!({"metadata": {"name": "all"}, "spec": {}})
}

fn peer(hold_time: &str) -> Value {
    let spec =
        json!({"myASN": 64512, "peerASN": 64513, "peerAddress": ROUTER, "holdTime": hold_time, "keepaliveTime": "10s"});
    json!({"metadata": {"name": "tor"}, "spec": spec})
}

/// What a user has beside: on the same session, all that the router announces is accepted.
fn receiving() -> Value {
    let neighbor = json!({
        "address": ROUTER, "asn": 64513, "holdTime": HOLD_TIME, "keepaliveTime": "10s",
        "toReceive": {"allowed": {"mode": "all"}},
    });
    users("receiving", &json!({}), &neighbor)
}

/// What a user has beside on one node, and can't be merged with what Clarion has for that session.
fn at_odds(node: usize) -> Value {
    let selector = json!({"matchLabels": {"kubernetes.io/hostname": format!("node-{node}")}});
    users(AT_ODDS, &selector, &json!({"address": ROUTER, "asn": 64514}))
}

fn users(name: &str, selector: &Value, neighbor: &Value) -> Value {
    json!({
        "metadata": {"namespace": "frr-k8s-system", "name": name},
        "spec": {"nodeSelector": selector, "bgp": {"routers": [{"asn": 64512, "neighbors": [neighbor]}]}},
    })
}

#[cfg(test)]
mod tests {
    use std::{num::NonZero, ops::RangeInclusive, sync::Mutex};

    use super::*;

    /// So many schedules one after the other in one cluster.
    const IN_A_ROW: u64 = 20;

    /// A cluster of this seed and so many schedules in it.
    fn run(seed: u64, schedules: u64) -> Result<Outcome, Broken> {
        // What processes draw by themselves.
        fastrand::seed(seed);
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut cluster = Cluster::start(seed).await?;
            for _ in 0..schedules {
                cluster.schedule().await?;
            }
            Ok(Outcome { log: cluster.log(), tally: cluster.tally() })
        })
    }

    fn number(name: &str) -> Option<u64> {
        std::env::var(name).ok().map(|text| text.parse().expect("a number"))
    }

    /// What came of a run in which every rule held.
    struct Outcome {
        log: String,
        tally: Tally,
    }

    /// Runs clusters of these seeds until there are no more, or one breaks a rule here or elsewhere.
    fn run_all(seeds: &Mutex<RangeInclusive<u64>>) -> Tally {
        let mut tally = Tally::default();
        loop {
            let Some(seed) = seeds.lock().unwrap().next() else { return tally };
            match run(seed, IN_A_ROW) {
                Ok(outcome) => tally.add(outcome.tally),
                Err(Broken { what, log }) => {
                    seeds.lock().unwrap().by_ref().for_each(drop);
                    panic!("CLARION_SEED={seed}: {what}\n{log}");
                }
            }
        }
    }

    #[test]
    fn no_schedule_breaks_a_rule() {
        let (first, last) = match number("CLARION_SEED") {
            Some(seed) => (seed, seed),
            None => {
                let schedules = number("CLARION_SCHEDULES").unwrap_or(200);
                let first = fastrand::u64(..1 << 40);
                println!("{schedules} schedules from CLARION_SEED={first} on");
                (first, first + schedules.div_ceil(IN_A_ROW) - 1)
            }
        };
        let seeds = Mutex::new(first..=last);
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let mut tally = Tally::default();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| run_all(&seeds))).collect();
            threads.into_iter().for_each(|thread| tally.add(thread.join().expect("every rule holds")));
        });
        println!("{tally}");
    }

    #[test]
    fn all_follows_from_the_seed() {
        let [once, again] = [run(7, 10), run(7, 10)].map(|outcome| outcome.map_err(|broken| broken.what).unwrap().log);
        for (n, (once, again)) in once.lines().zip(again.lines()).enumerate() {
            assert_eq!(once, again, "line {n}");
        }
    }
}
