//! A cluster in which users go on for a long time and nothing goes wrong: whether the operator takes more and more of anything.
//!
//! Every few seconds it is looked how much memory the operator has, how many files it has open and tasks it has alive, and how many writes
//! wait. What it has in the last tenth of the time is compared with what it had in the second, when all that it keeps has
//! been used once. All of it is drawn in `docs/images/long-run.svg` and kept in `bench/results/long.json`.

use std::time::Duration;

use clap::Parser;
use clarion_bench::{Bound, Churn, Figure, Machine, Objects, Panels, Result, Series, rounded, size};
use clarion_envtest::{ControlPlane, Operator, crowd, repository};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// How often it is looked.
const SAMPLE: Duration = Duration::from_secs(5);
/// Samples between two lines that say how far it is.
const SAID_EVERY: usize = 12;
/// How long the operator may take for what is left at the end.
const PATIENCE: Duration = Duration::from_secs(600);
/// How much more it may have at the end, as a factor.
const GROWTH: f64 = 1.1;

/// Looks whether the operator takes more and more of anything while users go on.
#[derive(Clone, Copy, Debug, Parser)]
struct Options {
    /// How long users go on.
    #[arg(long, default_value_t = 30)]
    minutes: u32,
    /// What they do, in actions a second.
    #[arg(long, default_value_t = 20)]
    rate: u32,
    /// Services that are there at any time.
    #[arg(long, default_value_t = 5_000)]
    services: usize,
    /// Nodes of the cluster.
    #[arg(long, default_value_t = 50)]
    nodes: usize,
}

/// What the operator has at one moment.
#[derive(Clone, Copy, Debug, Serialize)]
struct Sample {
    /// Since users began.
    seconds: f64,
    /// Resident memory.
    megabytes: f64,
    open_files: f64,
    tasks: f64,
    writes_waiting: f64,
}

/// What is kept.
#[derive(Serialize)]
struct Results {
    machine: Machine,
    services: usize,
    nodes: usize,
    actions_per_second: u32,
    samples: Vec<Sample>,
}

impl Sample {
    async fn of(operator: &Operator, begun: Instant) -> Result<Self> {
        let (_, metrics) = operator.get("/metrics").await?;
        let numbers = |name: &str| {
            let lines = metrics.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
        };
        Ok(Self {
            seconds: begun.elapsed().as_secs_f64(),
            megabytes: operator.process.memory()?.resident as f64 / 1e6,
            open_files: operator.process.open_files()? as f64,
            tasks: numbers("clarion_tasks "),
            writes_waiting: numbers("clarion_writes_waiting{"),
        })
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let Options { minutes, rate, services, nodes } = Options::parse();
    let machine = Machine::this(&["kubernetes"])?;
    let control_plane = ControlPlane::with_frr_k8s().await?;
    crowd::configure(&control_plane).await?;
    let objects = Objects::of(control_plane.client(), nodes);
    println!("creating {}", size(services, nodes));
    objects.create_all(services).await?;
    let mut operator = Operator::start_as_shipped(&control_plane)?;
    operator.leading().await?;
    rest(&operator).await?;

    println!("{rate} actions a second for {minutes} minutes");
    let count = usize::try_from(u64::from(rate) * 60 * u64::from(minutes))?;
    let mut churn = Churn::of(services, 0..nodes);
    let mut samples = Vec::new();
    let work = crowd::paced(rate, churn.by_ref().take(count), async |action| objects.perform(action).await);
    tokio::select! {
        done = work => done?,
        looked = look(&operator, &mut samples) => looked?,
    }
    crowd::each(churn.healed().into_iter(), async |action| objects.perform(action).await).await?;
    rest(&operator).await?;
    if operator.process.exited()?.is_some() {
        return Err(operator.process.not_up("to be there to the end").into());
    }

    compare(&samples)?;
    draw(&samples, &format!("{}, {rate} actions a second", size(services, nodes)))?;
    keep(&Results { machine, services, nodes, actions_per_second: rate, samples })
}

/// Waits until no write waits.
async fn rest(operator: &Operator) -> Result<()> {
    let begun = Instant::now();
    loop {
        sleep(SAMPLE).await;
        let Sample { writes_waiting, .. } = Sample::of(operator, begun).await?;
        if writes_waiting == 0.0 {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("{writes_waiting} writes wait after {PATIENCE:?}").into());
        }
    }
}

/// Looks again and again.
async fn look(operator: &Operator, samples: &mut Vec<Sample>) -> Result<()> {
    let begun = Instant::now();
    let mut ticks = interval(SAMPLE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let sample = Sample::of(operator, begun).await?;
        if samples.len().is_multiple_of(SAID_EVERY) {
            let Sample { seconds, megabytes, open_files, tasks, writes_waiting } = sample;
            println!(
                "  {seconds:>5.0} s: {megabytes:.1} MB, {open_files} open files, {tasks} tasks, {writes_waiting} writes wait"
            );
        }
        samples.push(sample);
    }
}

/// What it has in the last tenth of the time, beside the second tenth.
fn compare(samples: &[Sample]) -> Result<()> {
    let tenth = samples.len() / 10;
    let mean = |from: usize, of: fn(&Sample) -> f64| {
        let part = samples.iter().skip(from).take(tenth.max(1));
        part.clone().map(of).sum::<f64>() / part.count().max(1) as f64
    };
    let has_grown = |name: &str, of: fn(&Sample) -> f64| {
        let (then, now) = (mean(tenth, of), mean(samples.len().saturating_sub(tenth.max(1)), of));
        println!("{name}: {} in the second tenth, {} in the last", rounded(then), rounded(now));
        Figure::record(&format!("a long run: {name} at the end"), "times", Bound::AtMost(GROWTH), now / then.max(1.0))
    };
    has_grown("resident memory", |sample| sample.megabytes)?;
    has_grown("open files", |sample| sample.open_files)?;
    has_grown("tasks", |sample| sample.tasks)
}

fn draw(samples: &[Sample], what: &str) -> Result<()> {
    let series = |name, of: fn(&Sample) -> f64| Series {
        name,
        points: samples.iter().map(|sample| (sample.seconds / 60.0, of(sample))).collect(),
    };
    let memory = format!("{what}: resident memory, MB");
    let all = [
        series(&memory, |sample| sample.megabytes),
        series("open files", |sample| sample.open_files),
        series("tasks", |sample| sample.tasks),
        series("writes waiting", |sample| sample.writes_waiting),
    ];
    let end = samples.last().map_or(1.0, |sample| sample.seconds / 60.0);
    Panels { x: "minutes", end }.draw(&repository().join("docs/images/long-run.svg"), &all)
}

fn keep(results: &Results) -> Result<()> {
    let path = repository().join("bench/results/long.json");
    Ok(std::fs::write(path, format!("{}\n", serde_json::to_string_pretty(results)?))?)
}
