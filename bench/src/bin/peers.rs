//! Clarion beside MetalLB in FRR-K8s mode, which writes FRRConfigurations too: as many Services as the argument says (5,000 if there
//! is none), announced from three nodes to one peer.
//!
//! One after the other, each on a control plane of its own, measured by the same code: a burst of Services, single ones created
//! and deleted, and what becomes of the announcements when the processes that write FRRConfigurations are killed and started
//! again. Both run as they are shipped, MetalLB with its webhooks disabled.
//!
//! The results are written to `bench/results/peers.json`, the restart is drawn in `docs/images/peers-restart.svg`.

use std::{ops::Range, time::Duration};

use clarion_api::{frr::FRRConfiguration, names};
use clarion_bench::{
    Chart, Latencies, Machine, Result, Series, State, Write, Writes, milliseconds, rounded, with_address,
};
use clarion_envtest::{ControlPlane, MetalLb, Operator, Process, crowd, repository};
use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use kube::{Api, api::DeleteParams};
use serde::{Serialize, Serializer};
use tokio::time::{Instant, sleep, timeout};

const SERVICES: usize = 5_000;
/// Each has a speaker of MetalLB's. [`crowd::node`] names them so.
const NODES: [&str; 3] = ["node-0", "node-1", "node-2"];
/// Services that are created and deleted one at a time.
const SINGLES: usize = 20;
/// Of a large cluster, for which figures are computed.
const MANY_NODES: usize = 1_000;
/// After so long without a write there is none to come: MetalLB waits 3 s before it writes.
const QUIET: Duration = Duration::from_secs(10);
/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(1_200);
/// How long all of one system may take.
const LIMIT: Duration = Duration::from_secs(3_600);

#[tokio::main]
async fn main() -> Result<()> {
    let count = std::env::args().nth(1).map_or(Ok(SERVICES), |text| text.parse())?;
    let machine = Machine::this(&["kubernetes", "metallb"])?;
    let clarion = measure(Product::Clarion, count).await?;
    let metallb = measure(Product::MetalLb, count).await?;
    println!("\n{count} Services, {} nodes, one peer\n\n{}", NODES.len(), table(&clarion, &metallb));
    let large_cluster = LargeCluster::computed(&metallb);
    println!("{}", large_cluster.text());
    draw([&clarion, &metallb], count)?;
    Results { machine, services: count, nodes: NODES.len(), clarion, metallb, large_cluster }.keep()
}

#[derive(Clone, Copy, Debug)]
enum Product {
    Clarion,
    MetalLb,
}

impl Product {
    fn name(self) -> &'static str {
        match self {
            Self::Clarion => "Clarion",
            Self::MetalLb => "MetalLB",
        }
    }

    /// The class of the Services that it serves as it is shipped.
    fn class(self) -> Option<&'static str> {
        match self {
            Self::Clarion => Some(names::DEFAULT_CLASS),
            Self::MetalLb => None,
        }
    }
}

/// A product that runs.
enum System {
    Clarion(Operator),
    MetalLb(MetalLb),
}

impl System {
    async fn start(product: Product, control_plane: &ControlPlane) -> Result<Self> {
        match product {
            Product::Clarion => {
                crowd::configure(control_plane).await?;
                Ok(Self::Clarion(operator(control_plane).await?))
            }
            Product::MetalLb => {
                let metallb = MetalLb::start(control_plane, &NODES).await?;
                crowd::configure_metallb(control_plane).await?;
                Ok(Self::MetalLb(metallb))
            }
        }
    }

    fn processes(&self) -> Vec<(String, &Process)> {
        match self {
            Self::Clarion(operator) => vec![("operator".to_owned(), &operator.process)],
            Self::MetalLb(metallb) => metallb.processes().collect(),
        }
    }

    /// Kills what writes FRRConfigurations.
    async fn kill(&mut self) -> Result<()> {
        match self {
            Self::Clarion(operator) => {
                operator.process.signal("KILL")?;
                operator.ended().await?;
            }
            Self::MetalLb(metallb) => metallb.kill_speakers(),
        }
        Ok(())
    }

    /// Starts what was killed, until it says that it is up.
    async fn start_again(&mut self, control_plane: &ControlPlane) -> Result<()> {
        match self {
            Self::Clarion(stopped) => *stopped = operator(control_plane).await?,
            Self::MetalLb(metallb) => metallb.start_speakers(&NODES).await?,
        }
        Ok(())
    }

    fn usage(&self) -> Result<Vec<Usage>> {
        let usage = |(process, running): (String, &Process)| {
            let memory = running.memory()?;
            let processor_time = running.processor_time()?;
            Ok(Usage { process, processor_time, resident: memory.resident, peak: memory.peak })
        };
        self.processes().into_iter().map(usage).collect()
    }
}

/// The operator, once it leads.
async fn operator(control_plane: &ControlPlane) -> Result<Operator> {
    let mut operator = Operator::start_as_shipped(control_plane)?;
    operator.leading().await?;
    Ok(operator)
}

async fn measure(product: Product, count: usize) -> Result<Measured> {
    let name = product.name();
    let outcome = timeout(LIMIT, async {
        let mut trial = Trial::start(product, count).await?;
        let burst = trial.burst().await?;
        println!("{name}: a burst of {count} Services is announced after {:.1?}", burst.announced);
        let singles = trial.singles().await?;
        println!("{name}: {SINGLES} Services have come and gone");
        let restart = trial.restart().await?;
        println!("{name}: restarted, {} writes", restart.writes);
        let restart_with_change = trial.restart_with_change().await?;
        Ok(Measured { name, burst, singles, restart, restart_with_change })
    });
    let outcome: Result<Measured> =
        outcome.await.unwrap_or_else(|_| Err(format!("not at an end after {LIMIT:?}").into()));
    outcome.map_err(|error| format!("{name}: {error}").into())
}

/// A system on a control plane of its own, and what is watched of it.
struct Trial {
    system: System,
    control_plane: ControlPlane,
    product: Product,
    services: Api<Service>,
    writes: Writes,
    /// How many Services the burst has.
    count: usize,
}

impl Trial {
    /// Everything but the Services is there before the system starts.
    async fn start(product: Product, count: usize) -> Result<Self> {
        println!("{}: creating {} EndpointSlices", product.name(), count + SINGLES);
        let control_plane = ControlPlane::with_frr_k8s().await?;
        let client = control_plane.client();
        crowd::create(&Api::<Node>::all(client.clone()), (0..NODES.len()).map(crowd::node)).await?;
        let slices = Api::<EndpointSlice>::default_namespaced(client.clone());
        crowd::create(&slices, (0..count + SINGLES).map(|n| crowd::slice(n, NODES.len()))).await?;
        let configurations = Api::<FRRConfiguration>::namespaced(client.clone(), "frr-k8s-system");
        let mut writes = Writes::of(configurations, NODES.map(str::to_owned));
        let system = System::start(product, &control_plane).await?;
        // Sessions, which are there before the first Service is.
        writes.settled(0, QUIET, PATIENCE).await?;
        Ok(Self { system, control_plane, product, services: Api::default_namespaced(client), writes, count })
    }

    async fn burst(&mut self) -> Result<Burst> {
        let mut addressed = with_address(&self.services);
        let before = self.system.usage()?;
        let begin = Instant::now();
        self.create(0..self.count).await?;
        let created = begin.elapsed();
        let facts = addressed.take(self.count, PATIENCE).await;
        let facts = facts.map_err(|error| format!("Services that get no address: {error}"))?;
        let addressed = facts.last().map(|(_, at)| at.duration_since(begin)).unwrap_or_default();
        let writes = self.writes.settled(self.count, QUIET, PATIENCE).await?;
        let complete = writes.iter().find(|write| write.after.is_complete(self.count)).ok_or("nothing was written")?;
        self.calm().await?;
        let usage = self.system.usage()?.into_iter().zip(before).map(|(after, before)| after.since(&before)).collect();
        let State { objects, bytes, .. } = self.writes.state();
        Ok(Burst {
            services: self.count,
            created,
            addressed,
            announced: complete.at.duration_since(begin),
            objects,
            bytes,
            written: Written::by(&writes),
            usage,
        })
    }

    async fn singles(&mut self) -> Result<Singles> {
        let (mut announced, mut withdrawn, mut writes) = (Vec::new(), Vec::new(), Vec::new());
        for n in self.count..self.count + SINGLES {
            let begin = Instant::now();
            self.create(n..n + 1).await?;
            announced.push(self.becomes(self.count + 1, begin, &mut writes).await?);
            let begin = Instant::now();
            self.services.delete(&crowd::service_name(n), &DeleteParams::default()).await?;
            withdrawn.push(self.becomes(self.count, begin, &mut writes).await?);
        }
        writes.extend(self.writes.settled(self.count, QUIET, PATIENCE).await?);
        Ok(Singles {
            announced: Times::of(announced)?,
            withdrawn: Times::of(withdrawn)?,
            written: Written::by(&writes),
        })
    }

    /// How long it takes from then until all nodes announce so many prefixes.
    async fn becomes(&mut self, prefixes: usize, begin: Instant, writes: &mut Vec<Write>) -> Result<Duration> {
        let new = self.writes.until(prefixes, PATIENCE).await?;
        let at = new.last().map_or(begin, |write| write.at);
        writes.extend(new);
        Ok(at.duration_since(begin))
    }

    async fn restart(&mut self) -> Result<Restart> {
        let before = self.writes.state();
        let begin = Instant::now();
        self.system.kill().await?;
        self.system.start_again(&self.control_plane).await?;
        let up = begin.elapsed();
        let writes = self.writes.settled(self.count, QUIET, PATIENCE).await?;
        let moment =
            |after: Duration, state: State| Moment { after, everywhere: state.everywhere, anywhere: state.anywhere };
        let mut moments = vec![moment(Duration::ZERO, before)];
        moments.extend(writes.iter().map(|write| moment(write.at.duration_since(begin), write.after)));
        self.calm().await?;
        Ok(Restart {
            up,
            fewest_everywhere: moments.iter().map(|moment| moment.everywhere).min().unwrap_or_default(),
            fewest_anywhere: moments.iter().map(|moment| moment.anywhere).min().unwrap_or_default(),
            back: back(&moments, self.count),
            writes: writes.len(),
            moments,
        })
    }

    /// How long it takes from a kill until all nodes announce everything, one more Service included, which was created right
    /// after the kill.
    async fn restart_with_change(&mut self) -> Result<Duration> {
        let begin = Instant::now();
        self.system.kill().await?;
        self.create(self.count..self.count + 1).await?;
        self.system.start_again(&self.control_plane).await?;
        self.becomes(self.count + 1, begin, &mut Vec::new()).await
    }

    async fn create(&self, numbers: Range<usize>) -> Result<()> {
        Ok(crowd::create(&self.services, numbers.map(|n| crowd::service_of(n, self.product.class()))).await?)
    }

    /// Waits until the system does nothing any more: less than a fiftieth of a core.
    async fn calm(&self) -> Result<()> {
        let total =
            || Ok::<_, clarion_bench::Error>(self.system.usage()?.iter().map(|usage| usage.processor_time).sum());
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let before: Duration = total()?;
            sleep(QUIET).await;
            if total()?.saturating_sub(before) < QUIET / 50 {
                return Ok(());
            }
        }
        Err(format!("it is not calm after {PATIENCE:?}").into())
    }
}

/// What was measured of one product. Durations are seconds, sizes are bytes.
#[derive(Debug, Serialize)]
struct Measured {
    name: &'static str,
    burst: Burst,
    singles: Singles,
    restart: Restart,
    #[serde(serialize_with = "seconds")]
    restart_with_change: Duration,
}

/// From the first Service that is created.
#[derive(Debug, Serialize)]
struct Burst {
    services: usize,
    /// Until the last is created.
    #[serde(serialize_with = "seconds")]
    created: Duration,
    /// Until the last has its address.
    #[serde(serialize_with = "seconds")]
    addressed: Duration,
    /// Until all nodes announce all of them.
    #[serde(serialize_with = "seconds")]
    announced: Duration,
    /// The FRRConfigurations afterwards.
    objects: usize,
    bytes: usize,
    written: Written,
    /// Until the system was calm.
    usage: Vec<Usage>,
}

impl Burst {
    fn processor_time(&self) -> Duration {
        self.usage.iter().map(|usage| usage.processor_time).sum()
    }

    fn resident(&self) -> u64 {
        self.usage.iter().map(|usage| usage.resident).sum()
    }
}

/// From a Service that is created or deleted until all nodes announce it, or none does.
#[derive(Debug, Serialize)]
struct Singles {
    announced: Times,
    withdrawn: Times,
    written: Written,
}

impl Singles {
    /// So much of what was written is for one change.
    fn for_one(total: usize) -> f64 {
        total as f64 / (2 * SINGLES) as f64
    }
}

#[derive(Debug, Serialize)]
struct Times {
    #[serde(serialize_with = "seconds")]
    p50: Duration,
    #[serde(serialize_with = "seconds")]
    p99: Duration,
    #[serde(serialize_with = "all_seconds")]
    all: Vec<Duration>,
}

impl Times {
    fn of(all: Vec<Duration>) -> Result<Self> {
        let latencies = Latencies::of(all.iter().copied())?;
        Ok(Self { p50: latencies.percentile(50.0), p99: latencies.percentile(99.0), all })
    }
}

/// FRRConfigurations, deletions included.
#[derive(Debug, Serialize)]
struct Written {
    writes: usize,
    /// What each daemon receives.
    bytes: usize,
}

impl Written {
    fn by(writes: &[Write]) -> Self {
        Self { writes: writes.len(), bytes: writes.iter().map(|write| write.bytes).sum() }
    }
}

/// From the kill of the processes that write FRRConfigurations.
#[derive(Debug, Serialize)]
struct Restart {
    /// Until those that were started again say that they are up.
    #[serde(serialize_with = "seconds")]
    up: Duration,
    fewest_everywhere: usize,
    fewest_anywhere: usize,
    /// Until all prefixes are there and stay; nothing if none was ever missing.
    #[serde(serialize_with = "seconds")]
    back: Duration,
    writes: usize,
    moments: Vec<Moment>,
}

/// How many prefixes there are from then on.
#[derive(Clone, Copy, Debug, Serialize)]
struct Moment {
    #[serde(serialize_with = "seconds")]
    after: Duration,
    everywhere: usize,
    anywhere: usize,
}

/// When the last prefix that was missing is there.
fn back(moments: &[Moment], prefixes: usize) -> Duration {
    let lacking = moments.iter().rposition(|moment| moment.everywhere < prefixes);
    let complete = lacking.and_then(|place| moments.get(place + 1));
    complete.map(|moment| moment.after).unwrap_or_default()
}

/// What a process has taken.
#[derive(Debug, Serialize)]
struct Usage {
    process: String,
    #[serde(serialize_with = "seconds")]
    processor_time: Duration,
    resident: u64,
    peak: u64,
}

impl Usage {
    fn since(mut self, before: &Self) -> Self {
        self.processor_time = self.processor_time.saturating_sub(before.processor_time);
        self
    }
}

/// What MetalLB's one object for each node comes to when there are many nodes: computed, not measured.
#[derive(Debug, Serialize)]
struct LargeCluster {
    nodes: usize,
    /// Of all FRRConfigurations.
    bytes: usize,
    writes_for_a_change: f64,
    /// What each daemon receives, of which there are as many as nodes.
    bytes_for_a_change: f64,
}

impl LargeCluster {
    fn computed(metallb: &Measured) -> Self {
        let times = MANY_NODES as f64 / NODES.len() as f64;
        let written = &metallb.singles.written;
        Self {
            nodes: MANY_NODES,
            bytes: metallb.burst.bytes * MANY_NODES / NODES.len(),
            writes_for_a_change: Singles::for_one(written.writes) * times,
            bytes_for_a_change: Singles::for_one(written.bytes) * times,
        }
    }

    fn text(&self) -> String {
        format!(
            "MetalLB with {} nodes, computed from this: {} MB of FRRConfigurations; for one Service {} writes, {} MB to each node",
            self.nodes,
            rounded(self.bytes as f64 / 1e6),
            rounded(self.writes_for_a_change),
            rounded(self.bytes_for_a_change / 1e6),
        )
    }
}

/// A line of the table: what it is of, its unit, how it comes from what was measured.
type Line = (&'static str, &'static str, fn(&Measured) -> f64);

const LINES: &[Line] = &[
    ("burst: the last Service is created after", "s", |of| of.burst.created.as_secs_f64()),
    ("burst: the last has its address after", "s", |of| of.burst.addressed.as_secs_f64()),
    ("burst: addresses given", "/s", |of| of.burst.services as f64 / of.burst.addressed.as_secs_f64()),
    ("burst: all nodes announce all after", "s", |of| of.burst.announced.as_secs_f64()),
    ("burst: writes of FRRConfigurations", "", |of| of.burst.written.writes as f64),
    ("burst: what each daemon receives", "MB", |of| megabytes(of.burst.written.bytes)),
    ("burst: processor time of all processes", "s", |of| of.burst.processor_time().as_secs_f64()),
    ("burst: memory of all processes afterwards", "MB", |of| of.burst.resident() as f64 / 1e6),
    ("FRRConfigurations", "", |of| of.burst.objects as f64),
    ("FRRConfigurations, all together", "KB", |of| kilobytes(of.burst.bytes)),
    ("a Service created: all nodes announce it after, p50", "ms", |of| milliseconds(of.singles.announced.p50)),
    ("a Service created: all nodes announce it after, p99", "ms", |of| milliseconds(of.singles.announced.p99)),
    ("a Service deleted: no node announces it after, p50", "ms", |of| milliseconds(of.singles.withdrawn.p50)),
    ("a Service deleted: no node announces it after, p99", "ms", |of| milliseconds(of.singles.withdrawn.p99)),
    ("one of these changes: writes", "", |of| Singles::for_one(of.singles.written.writes)),
    ("one of these changes: what each daemon receives", "KB", |of| Singles::for_one(of.singles.written.bytes) / 1e3),
    ("restart: fewest prefixes that all nodes announce", "", |of| of.restart.fewest_everywhere as f64),
    ("restart: fewest prefixes that any node announces", "", |of| of.restart.fewest_anywhere as f64),
    ("restart: the last prefix that was missing is back after", "s", |of| of.restart.back.as_secs_f64()),
    ("restart: writes of FRRConfigurations", "", |of| of.restart.writes as f64),
    ("restart, a Service created meanwhile: all nodes announce all after", "s", |of| {
        of.restart_with_change.as_secs_f64()
    }),
];

fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

fn kilobytes(bytes: usize) -> f64 {
    bytes as f64 / 1e3
}

fn table(clarion: &Measured, metallb: &Measured) -> String {
    let mut text = format!("{:<66} {:>12} {:>12} {:>16}\n", "", clarion.name, metallb.name, "MetalLB/Clarion");
    for (name, unit, of) in LINES {
        let (ours, theirs) = (of(clarion), of(metallb));
        // Of nothing there is no share.
        let ratio = if ours == 0.0 { String::new() } else { rounded(theirs / ours) };
        let [ours, theirs] = [ours, theirs].map(|number| format!("{} {unit}", rounded(number)).trim().to_owned());
        text.push_str(&format!("{name:<66} {ours:>12} {theirs:>12} {ratio:>16}\n"));
    }
    text
}

/// The prefixes that all nodes announce, after the restarts.
fn draw(measured: [&Measured; 2], prefixes: usize) -> Result<()> {
    let end = measured.iter().flat_map(|of| of.restart.moments.last()).map(|moment| moment.after).max();
    // Some seconds more, for the end to be seen.
    let end = end.unwrap_or_default() + QUIET / 2;
    let series = measured.map(|of| {
        let points = of.restart.moments.iter().map(|moment| (moment.after.as_secs_f64(), moment.everywhere as f64));
        Series { name: of.name, points: points.collect() }
    });
    let chart = Chart {
        title: "Prefixes that all nodes are to announce, after the processes that write FRRConfigurations were killed",
        x: "seconds since the kill",
        y: "prefixes",
        end: (end.as_secs_f64(), prefixes as f64),
    };
    chart.draw(&repository().join("docs/images/peers-restart.svg"), &series)
}

/// What is kept of a run.
#[derive(Serialize)]
struct Results {
    machine: Machine,
    services: usize,
    nodes: usize,
    clarion: Measured,
    metallb: Measured,
    large_cluster: LargeCluster,
}

impl Results {
    fn keep(&self) -> Result<()> {
        let directory = repository().join("bench/results");
        std::fs::create_dir_all(&directory)?;
        Ok(std::fs::write(directory.join("peers.json"), serde_json::to_string_pretty(self)? + "\n")?)
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn all_seconds<S: Serializer>(durations: &[Duration], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(durations.iter().map(Duration::as_secs_f64))
}
