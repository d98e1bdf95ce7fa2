//! A large cluster on a real control plane, with daemons of FRR-K8s that are simulated (`clarion_bench::Fleet`): first at rest,
//! then under load, then at rest again.
//!
//! At rest: how many FRRConfigurations there are and how large, what one Service more changes of them, whether a restart writes
//! anything, what the operator takes of memory and, in a minute in which nothing happens, of a core. Under load
//! (`clarion_bench::Churn`): how long a new Service takes to get from one stage to the next, what each daemon receives, and
//! whether anything goes missing on its node that was wanted all the time, which ends the program with an error.

use std::{collections::BTreeMap, pin::pin, time::Duration};

use clap::Parser;
use clarion_api::frr::FRRConfiguration;
use clarion_bench::{
    Absence, Action, Bound, Churn, Done, Figure, Fleet, Gone, Labels, Latencies, Listed, Objects, Outside, Result,
    Sightings, Times, Told, Traffic, Way, rounded, size,
};
use clarion_envtest::{ControlPlane, Operator, Webhook, crowd, wait};
use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use kube::Api;
use tokio::time::{Instant, sleep, timeout};

/// So long without a write, and nothing is still to come: longer than a write can be on its way through a webhook.
const QUIET: Duration = Duration::from_secs(12);
const CALM: Duration = Duration::from_secs(60);
/// How long after a start the operator does what it does of itself: it takes nothing away for the first five seconds.
const AFTER_RESTART: Duration = Duration::from_secs(20);
/// How often the program says how far it is.
const PROGRESS: Duration = Duration::from_secs(10);
/// In MB.
const GIBIBYTE: f64 = 1_073.741_824;
const POLL: Duration = Duration::from_millis(250);

/// Measures Clarion on a large cluster, at rest and under load.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// Nodes of the cluster; more than daemons.
    #[arg(long, default_value_t = 1_000)]
    nodes: usize,
    /// Services, each announced from all nodes to one peer.
    #[arg(long, default_value_t = 5_000)]
    services: usize,
    /// Simulated daemons of FRR-K8s, on the first nodes.
    #[arg(long, default_value_t = 20)]
    daemons: usize,
    /// What happens under load, in actions a second.
    #[arg(long, default_value_t = 20)]
    rate: u32,
    /// How long there is load, in seconds; 0 for none.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// How long after a change a daemon merges, in milliseconds.
    #[arg(long, default_value_t = 100)]
    debounce: u64,
    /// FRR-K8s's own webhook checks each write of an FRRConfiguration.
    #[arg(long)]
    webhook: bool,
    /// How long the operator may take to come to an end, in seconds.
    #[arg(long, default_value_t = 900)]
    patience: u64,
}

impl Options {
    fn checked() -> Result<Self> {
        let this = Self::parse();
        if this.daemons == 0 || this.nodes <= this.daemons {
            return Err("there have to be daemons, and more nodes than daemons".into());
        }
        Ok(this)
    }

    fn size(&self) -> String {
        size(self.services, self.nodes)
    }

    /// Records a figure that is to be reached at any size.
    fn record(&self, name: &str, bound: Bound, unit: &str, reached: f64) -> Result<()> {
        Figure::record(&format!("{name}, {}", self.size()), unit, bound, reached)
    }

    /// Shows a figure, and records it if this is the size for which the bound holds.
    fn record_at(&self, size: (usize, usize), name: &str, bound: f64, unit: &str, reached: f64) -> Result<()> {
        if size == (self.services, self.nodes) {
            return self.record(name, Bound::AtMost(bound), unit, reached);
        }
        println!("{}", format!("{name}: {} {unit}", rounded(reached)).trim_end());
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::checked()?;
    println!("{}, {} daemons", options.size(), options.daemons);
    let control_plane = ControlPlane::with_frr_k8s().await?;
    populate(&control_plane, &options).await?;
    let _webhook = match options.webhook {
        true => Some(Webhook::start(&control_plane).await?),
        false => None,
    };
    let mut trial = Trial::start(control_plane, options).await?;
    trial.announced().await?;
    trial.size().await?;
    trial.one_more().await?;
    trial.restart().await?;
    trial.calm("before the load").await?;
    if trial.options.seconds > 0 {
        trial.load().await?;
        trial.calm("after the load").await?;
    }
    trial.end().await
}

async fn populate(control_plane: &ControlPlane, options: &Options) -> Result<()> {
    let (client, nodes, services) = (control_plane.client(), options.nodes, options.services);
    crowd::configure(control_plane).await?;
    let begin = Instant::now();
    let all_nodes = Api::<Node>::all(client.clone());
    let work = crowd::create(&all_nodes, (0..nodes).map(crowd::node));
    while_saying(|| format!("creating {nodes} Nodes"), work).await?;
    let slices = Api::<EndpointSlice>::default_namespaced(client.clone());
    let work = crowd::create(&slices, (0..services).map(|n| crowd::slice(n, nodes)));
    while_saying(|| format!("creating {services} EndpointSlices"), work).await?;
    let all_services = Api::<Service>::default_namespaced(client);
    let work = crowd::create(&all_services, (0..services).map(crowd::service));
    while_saying(|| format!("creating {services} Services"), work).await?;
    println!("created everything in {:.1?}", begin.elapsed());
    Ok(())
}

/// Says what is going on, at the beginning and then again and again, until it is done.
async fn while_saying<T>(what: impl Fn() -> String, work: impl Future<Output = T>) -> T {
    let begin = Instant::now();
    let mut work = pin!(work);
    println!("  {}", what());
    loop {
        match timeout(PROGRESS, work.as_mut()).await {
            Ok(outcome) => return outcome,
            Err(_) => println!("  {}, since {:.0?}", what(), begin.elapsed()),
        }
    }
}

async fn started(control_plane: &ControlPlane) -> Result<Operator> {
    let mut operator = Operator::start_as_shipped(control_plane)?;
    while_saying(|| "the operator starts".to_owned(), operator.leading()).await?;
    Ok(operator)
}

/// What the operator has done since it started.
struct Effort {
    processor_time: Duration,
    plans: f64,
    planning: Duration,
    /// Seconds of that, by the stage of plans.
    stages: BTreeMap<String, f64>,
    /// Writes that were refused or not answered.
    failed: f64,
}

impl Effort {
    async fn of(operator: &Operator) -> Result<Self> {
        let (_, metrics) = operator.get("/metrics").await?;
        let number = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|number| number.parse::<f64>().ok()).ok_or_else(|| format!("no {name} in the metrics"))
        };
        let writes = metrics.lines().filter(|line| line.starts_with("clarion_writes_total{"));
        let failed = writes.filter(|line| line.contains(r#"outcome="failed""#));
        let failed = failed.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum();
        let stages = metrics.lines().filter_map(|line| {
            let (stage, seconds) =
                line.strip_prefix("clarion_plan_stage_seconds_total{stage=\"")?.split_once("\"} ")?;
            Some((stage.to_owned(), seconds.parse().ok()?))
        });
        Ok(Self {
            stages: stages.collect(),
            processor_time: operator.process.processor_time()?,
            plans: number("clarion_plan_seconds_count")?,
            planning: Duration::try_from_secs_f64(number("clarion_plan_seconds_sum")?)?,
            failed,
        })
    }

    /// What it comes to since an earlier moment, so long ago.
    fn since(&self, earlier: &Self, took: Duration) -> String {
        let processor_time = self.processor_time.saturating_sub(earlier.processor_time);
        let (plans, planning) = (self.plans - earlier.plans, self.planning.saturating_sub(earlier.planning));
        let each = |seconds: f64| rounded(1e3 * seconds / plans.max(1.0));
        let stages = self.stages.iter().map(|(stage, seconds)| {
            format!("{stage} {}", each(seconds - earlier.stages.get(stage).copied().unwrap_or_default()))
        });
        format!(
            "{} % of a core, {} plans of {} ms: {}",
            rounded(100.0 * processor_time.as_secs_f64() / took.as_secs_f64()),
            rounded(plans),
            each(planning.as_secs_f64()),
            stages.collect::<Vec<_>>().join(", "),
        )
    }
}

/// What is measured.
struct Trial {
    options: Options,
    objects: Objects,
    outside: Outside,
    fleet: Fleet,
    /// When prefixes appeared in FRRConfigurations, and on the node of each daemon.
    sightings: Sightings,
    /// What was gone from a node.
    gone: Vec<Gone>,
    /// The most memory that any process of the operator has had, in bytes.
    peak: u64,
    /// Writes that failed, of all operators.
    failed: f64,
    operator: Operator,
    // After what needs it, so that it ends last.
    control_plane: ControlPlane,
}

impl Trial {
    /// Everything is watched before the operator starts.
    async fn start(control_plane: ControlPlane, options: Options) -> Result<Self> {
        let client = control_plane.client();
        // A CRD is served only a moment after the first request for its objects.
        let configurations = Api::<FRRConfiguration>::namespaced(client.clone(), "frr-k8s-system");
        wait::until("a list of FRRConfigurations", async || Listed::of(&configurations).await).await?;
        let labels: Result<Vec<Labels>> =
            (0..options.daemons).map(|n| Ok(crowd::node(n)?.metadata.labels.unwrap_or_default())).collect();
        let fleet = Fleet::start(&client, labels?, Duration::from_millis(options.debounce));
        let merged = std::iter::repeat_with(Times::default).take(options.daemons).collect();
        let sightings = Sightings { merged, ..Sightings::default() };
        let outside = Outside::watch(&client);
        let objects = Objects::of(client, options.nodes);
        let operator = started(&control_plane).await?;
        Ok(Self {
            options,
            objects,
            outside,
            fleet,
            sightings,
            gone: Vec::new(),
            peak: 0,
            failed: 0.0,
            operator,
            control_plane,
        })
    }

    /// Waits for something, and says again and again how far things are; how long it took.
    async fn wait(&mut self, what: &str, mut is_there: impl FnMut(&Self) -> bool) -> Result<Duration> {
        let (begin, mut said) = (Instant::now(), Instant::now());
        while !is_there(self) {
            let is_over = begin.elapsed() > Duration::from_secs(self.options.patience);
            if is_over || self.operator.process.exited()?.is_some() {
                println!("  {}", self.progress()?);
                return Err(self.operator.process.not_up(what).into());
            }
            if said.elapsed() > PROGRESS {
                said = Instant::now();
                println!("  waiting for {what} since {:.0?}: {}", begin.elapsed(), self.progress()?);
            }
            sleep(POLL).await;
        }
        Ok(begin.elapsed())
    }

    fn progress(&mut self) -> Result<String> {
        let percent = 100 * self.outside.pairs() / (self.options.nodes * self.options.services);
        let (services, configurations) = (self.outside.services().writes, self.outside.configurations().writes);
        let (fewest, memory) = (self.fleet.fewest(), self.memory()?);
        Ok(format!(
            "{percent} % of all prefixes on all nodes, at least {fewest} on each daemon's, writes: {services} of Services and {configurations} of FRRConfigurations, the operator has {memory}"
        ))
    }

    /// Waits until nothing is written any more.
    async fn quiet(&mut self) -> Result<()> {
        let (mut last, mut since) = (self.writes(), Instant::now());
        let is_quiet = |this: &Self| {
            let now = this.writes();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            since.elapsed() > QUIET
        };
        self.wait("an end of all writes", is_quiet).await?;
        self.listen();
        Ok(())
    }

    /// Writes of Services and FRRConfigurations up to now.
    fn writes(&self) -> u64 {
        self.outside.services().writes + self.outside.configurations().writes
    }

    /// Takes what the daemons have told.
    fn listen(&mut self) {
        for told in self.fleet.told() {
            let Told { daemon, at, change } = told;
            if let Some(times) = self.sightings.merged.get_mut(daemon) {
                times.add(change.appeared, at);
            }
            self.gone.extend(change.gone.into_iter().map(|prefix| Gone { daemon, prefix, at }));
        }
    }

    async fn announced(&mut self) -> Result<()> {
        let (services, pairs) = (self.options.services, self.options.nodes * self.options.services);
        let is_there = |this: &Self| this.outside.pairs() >= pairs && this.fleet.fewest() >= services;
        let took = self.wait("everything to be announced", is_there).await?;
        println!("announced everywhere after {took:.1?}");
        self.quiet().await?;
        if self.outside.pairs() != pairs {
            return Err(format!("{} pairs of a node and a prefix, not {pairs}", self.outside.pairs()).into());
        }
        let Traffic { writes, bytes } = self.outside.configurations();
        println!("until then: {writes} writes of FRRConfigurations, {} MB to each daemon", megabytes(bytes));
        println!("memory of the operator: {}", self.memory()?);
        Ok(())
    }

    async fn size(&self) -> Result<()> {
        let api = Api::<FRRConfiguration>::namespaced(self.control_plane.client(), "frr-k8s-system");
        let listed = Listed::of(&api).await?;
        println!("FRRConfigurations: {}", listed.objects.len());
        let bytes = listed.bytes as f64 / 1e6;
        self.options.record_at((5_000, 1_000), "FRRConfigurations", 2.5, "MB", bytes)
    }

    async fn one_more(&mut self) -> Result<()> {
        let before = self.outside.configurations();
        self.objects.create(self.options.services).await?;
        self.quiet().await?;
        let Traffic { writes, bytes } = self.outside.configurations().since(before);
        self.options.record_at((5_000, 1_000), "one Service more: writes", 16.0, "", writes as f64)?;
        self.options.record_at((5_000, 1_000), "one Service more: to each daemon", 250.0, "KB", bytes as f64 / 1e3)
    }

    async fn restart(&mut self) -> Result<()> {
        self.listen();
        let (before, gone) = (self.writes(), self.gone.len());
        self.add_failed().await?;
        self.operator.process.signal("KILL")?;
        self.operator.ended().await?;
        self.operator = started(&self.control_plane).await?;
        while_saying(|| "after a restart".to_owned(), sleep(AFTER_RESTART)).await;
        self.quiet().await?;
        let writes = self.writes() - before;
        self.options.record("restart: writes", Bound::AtMost(0.0), "", writes as f64)?;
        let missing = self.fleet.compare(&self.outside.ledger().prefixes()).0 + self.gone.len() - gone;
        self.options.record("restart: prefixes missing", Bound::AtMost(0.0), "", missing as f64)
    }

    async fn calm(&mut self, when: &str) -> Result<()> {
        self.quiet().await?;
        let (before, effort) = (self.writes(), Effort::of(&self.operator).await?);
        while_saying(|| format!("a calm minute {when}"), sleep(CALM)).await;
        let writes = self.writes() - before;
        self.options.record(&format!("a calm minute {when}: writes"), Bound::AtMost(0.0), "", writes as f64)?;
        println!("the operator in this minute: {}", Effort::of(&self.operator).await?.since(&effort, CALM));
        println!("memory of the operator: {}", self.memory()?);
        Ok(())
    }

    /// Counts what has failed since the operator started.
    async fn add_failed(&mut self) -> Result<()> {
        self.failed += Effort::of(&self.operator).await?.failed;
        Ok(())
    }

    fn memory(&mut self) -> Result<String> {
        let memory = self.operator.process.memory()?;
        self.peak = self.peak.max(memory.peak);
        Ok(format!("{} MB, at most {} MB", megabytes(memory.resident), megabytes(memory.peak)))
    }

    async fn load(&mut self) -> Result<()> {
        let Options { rate, seconds, nodes, daemons, services, .. } = self.options;
        self.listen();
        let (before, done) = (self.outside.configurations(), self.fleet.done());
        let effort = Effort::of(&self.operator).await?;
        let begin = Instant::now();
        // `one_more` has added one.
        let mut churn = Churn::of(services + 1, daemons..nodes);
        let count = usize::try_from(u64::from(rate) * u64::from(seconds))?;
        let work = crowd::paced(rate, churn.by_ref().take(count), async |action| self.act(action).await);
        let progress = || {
            let writes = self.outside.configurations().since(before).writes;
            format!("load of {rate} actions a second for {seconds} s, {writes} FRRConfigurations written")
        };
        while_saying(progress, work).await?;
        self.during("load", before, begin.elapsed());
        println!("the operator: {}", Effort::of(&self.operator).await?.since(&effort, begin.elapsed()));
        crowd::each(churn.healed().into_iter(), async |action| self.act(action).await).await?;
        self.settled().await?;
        self.during("load and what is left to do after it", before, begin.elapsed());
        self.daemons(&done);
        self.stages()
    }

    /// Does one thing, and says so in the ledger: of what can take a prefix away before it is asked for, of what brings it back
    /// afterwards.
    async fn act(&self, action: Action) -> Result<()> {
        match action {
            Action::Create(n) => {
                let sent = self.objects.create(n).await?;
                self.outside.ledger().created(crowd::service_name(n), sent);
                Ok(())
            }
            Action::Delete(n) | Action::Unready(n) => {
                self.outside.ledger().unwanted(&crowd::service_name(n), Instant::now());
                self.objects.perform(action).await
            }
            Action::Ready(n) => {
                self.objects.perform(action).await?;
                self.outside.ledger().wanted(&crowd::service_name(n), Instant::now());
                Ok(())
            }
            Action::Label { .. } | Action::RemoveNode(_) | Action::AddNode(_) => self.objects.perform(action).await,
        }
    }

    /// Waits until every daemon has exactly what is wanted, and nothing is written any more.
    async fn settled(&mut self) -> Result<()> {
        let is_settled = |this: &Self| this.fleet.compare(&this.outside.ledger().prefixes()) == (0, 0);
        let took = self.wait("all daemons to have what is wanted", is_settled).await?;
        println!("everything is announced as it is to be {took:.1?} after the load");
        self.quiet().await
    }

    fn during(&self, what: &str, before: Traffic, took: Duration) {
        let Traffic { writes, bytes } = self.outside.configurations().since(before);
        let rate = rounded(writes as f64 / took.as_secs_f64());
        println!("{what}, {took:.1?}: {writes} writes of FRRConfigurations ({rate}/s)");
        println!(
            "  to each daemon {} MB, {} KB a write",
            megabytes(bytes),
            rounded(bytes as f64 / 1e3 / writes.max(1) as f64)
        );
    }

    /// Prints what the daemons have done since a moment.
    fn daemons(&self, before: &[Done]) {
        let done = self.fleet.done();
        let range = |count: fn(&Done) -> u64| {
            let counts = || done.iter().zip(before).map(|(now, then)| count(now).saturating_sub(count(then)));
            let end = |of: Option<u64>| rounded(of.unwrap_or_default() as f64);
            format!("{} to {}", end(counts().min()), end(counts().max()))
        };
        println!(
            "each daemon: {} writes received, {} bytes, {} merges",
            range(|done| done.traffic.writes),
            range(|done| done.traffic.bytes),
            range(|done| done.merges),
        );
    }

    fn stages(&mut self) -> Result<()> {
        self.listen();
        self.sightings.written = self.outside.take_times();
        let (ways, lacking) = self.outside.ledger().ways(&self.sightings);
        let stage = |name: &str, from: fn(&Way) -> Instant, to: fn(&Way) -> Instant| {
            let latencies = Latencies::of(ways.iter().map(|way| to(way).saturating_duration_since(from(way))))?;
            println!("{name:<58} {latencies}");
            Result::Ok(())
        };
        stage("created -> address in status", |way| way.created, |way| way.addressed)?;
        stage("address in status -> in an FRRConfiguration", |way| way.addressed, |way| way.written)?;
        stage("in an FRRConfiguration -> merged by the first daemon", |way| way.written, |way| way.first)?;
        stage("in an FRRConfiguration -> merged by the last daemon", |way| way.written, |way| way.last)?;
        stage("created -> merged by the last daemon", |way| way.created, |way| way.last)?;
        if lacking > 0 {
            return Err(format!("{lacking} of the new Services were never seen everywhere").into());
        }
        Ok(())
    }

    /// What holds for all of it.
    async fn end(mut self) -> Result<()> {
        self.listen();
        self.add_failed().await?;
        self.options.record("writes that failed", Bound::AtMost(0.0), "", self.failed)?;
        let peak = self.peak as f64 / 1e6;
        for (size, bound) in [((10_000, 1_000), 100.0), ((100_000, 1_000), GIBIBYTE)] {
            if size == (self.options.services, self.options.nodes) {
                self.options.record("the operator's memory, at most", Bound::AtMost(bound), "MB", peak)?;
            }
        }
        let done = self.fleet.done();
        if let Some(refusal) = done.iter().find_map(|done| done.refusal.as_ref()) {
            println!("a merge was refused: {refusal}");
        }
        let refused: u64 = done.iter().map(|done| done.refused).sum();
        self.options.record("merges that were refused", Bound::AtMost(0.0), "", refused as f64)?;
        let ledger = self.outside.ledger();
        let absences = ledger.absences(&self.gone, &self.sightings);
        let late = Latencies::of(absences.iter().filter_map(|(_, absence)| match absence {
            Absence::Late(late) => Some(*late),
            Absence::Meant | Absence::Lost => None,
        }))?;
        if late.count() > 0 {
            println!("withdrawn from a node although ready again, so long after that: {late}");
        }
        let lost: Vec<&str> = absences.iter().filter(|(_, is)| *is == Absence::Lost).map(|(name, _)| *name).collect();
        self.options.record("prefixes lost that were wanted", Bound::AtMost(0.0), "", lost.len() as f64)?;
        let (missing, further) = self.fleet.compare(&ledger.prefixes());
        match (lost.first(), missing + further) {
            (None, 0) => Ok(()),
            (Some(service), _) => {
                Err(format!("{} prefixes went missing on nodes, that of {service} first", lost.len()).into())
            }
            (None, _) => Err(format!("prefixes missing at the end: {missing}, that are not wanted: {further}").into()),
        }
    }
}

fn megabytes(bytes: u64) -> String {
    rounded(bytes as f64 / 1e6)
}
