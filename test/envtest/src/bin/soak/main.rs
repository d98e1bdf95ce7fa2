//! `make soak`: Clarion on a real etcd and kube-apiserver, while everything goes wrong that may, and users go on.
//!
//! What happens follows from a seed, but for when it happens: users and machines ([`users`]), faults of requests ([`weather`]) and of
//! processes ([`faults`]). A judge ([`judge`]) that reads etcd itself ([`watcher`]) asks after each change whether the rules hold.
//! Every round ends in rest: nothing goes wrong any more, until all is as it is to be, and then nothing is written.
//!
//! `MINUTES` says how long it goes on, `SEED` which sequence it is.

mod faults;
mod judge;
mod objects;
mod replicas;
mod shared;
mod tally;
mod users;
mod watcher;
mod weather;

use std::{
    convert::Infallible,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use clarion_envtest::{ControlPlane, repository, target};
use tokio::time::{Instant, sleep};

use crate::{
    faults::Machines,
    judge::Judge,
    shared::Shared,
    tally::{Progress, Table, Tally},
    users::Users,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// So many things users do and so many go wrong, in most of a minute, until everything may come to rest. Numbers rather than
/// times, so that what follows from the seed does not depend on how fast the machine is.
const ACTIONS: usize = 160;
const FAULTS: usize = 14;
/// How long everything may take to be as it is to be.
const PATIENCE: Duration = Duration::from_secs(180);
/// Nothing may be written for so long at some time within [`PATIENCE`].
const CALM: Duration = Duration::from_secs(10);
/// So many rounds, and it is looked whether anything is written where nothing happens.
const CALM_EVERY: u64 = 4;
const PROGRESS: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(200);
/// Lines of the timeline that are printed when a rule is broken; the file has more.
const SHOWN: usize = 60;

/// A rule that does not hold; told already.
#[derive(Debug, thiserror::Error)]
#[error("a rule is broken")]
struct Broken;

/// What `make soak` was told.
struct Options {
    time: Duration,
    seed: u64,
}

impl Options {
    fn from_environment() -> Result<Self> {
        let set = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let number = |name: &str, text: String| text.parse::<f64>().map_err(|_| format!("{name} is no number: {text}"));
        let minutes = set("MINUTES").map_or(Ok(2.0), |text| number("MINUTES", text))?;
        let seed = match set("SEED") {
            Some(text) => text.parse().map_err(|_| format!("SEED is no whole number: {text}"))?,
            None => fastrand::u64(..1 << 40),
        };
        Ok(Self { time: Duration::try_from_secs_f64(60.0 * minutes)?, seed })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let options = Options::from_environment()?;
    println!("MINUTES={:.1} SEED={}", options.time.as_secs_f64() / 60.0, options.seed);
    let library = faketime()?;
    let mut soak = Soak::start(options.seed, library.as_deref()).await?;
    let (judge, tally) = (soak.judge.clone(), soak.tally.clone());
    let outcome = tokio::select! {
        outcome = soak.all_rounds(options.time) => outcome,
        never = tells_progress(&judge, &tally) => match never {},
        signal = tokio::signal::ctrl_c() => signal.map_err(Into::into),
    };
    println!("\n{}", soak.table());
    let broken = judge.with(|judge| judge.broken().join("\n"));
    match outcome {
        Ok(()) if broken.is_empty() => return Ok(()),
        Err(error) if broken.is_empty() => soak.tell(&error.to_string(), options.seed)?,
        _ => soak.tell(&broken, options.seed)?,
    }
    Err(Broken.into())
}

/// Says how far it is, time and again.
async fn tells_progress(judge: &Shared<Judge>, tally: &Shared<Tally>) -> Infallible {
    let begun = Instant::now();
    loop {
        sleep(PROGRESS).await;
        let (tally, counts) = (tally.with(|tally| *tally), judge.with(|judge| judge.counts()));
        println!("{}", Progress { seconds: begun.elapsed().as_secs(), tally, counts });
    }
}

/// Waits until a rule is broken.
async fn breaks(judge: &Shared<Judge>) {
    while judge.with(|judge| judge.broken().is_empty()) {
        sleep(POLL).await;
    }
}

/// The library by which processes have a clock of their own, if it can be had.
fn faketime() -> Result<Option<PathBuf>> {
    let output = Command::new(repository().join("test/tools/faketime"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(Some(path).filter(|path| !path.is_empty()).map(PathBuf::from))
}

/// Everything that goes on.
struct Soak {
    judge: Shared<Judge>,
    tally: Shared<Tally>,
    users: Users,
    machines: Machines,
    rests: u64,
}

impl Soak {
    async fn start(seed: u64, library: Option<&Path>) -> Result<Self> {
        let control_plane = ControlPlane::storing_json().await?;
        control_plane.install_clarion().await?;
        control_plane.install_frr_k8s().await?;
        let (judge, tally) = (Shared::new(Judge::new()), Shared::new(Tally::default()));
        let mut seeds = fastrand::Rng::with_seed(seed);
        let mut users = Users::new(control_plane.client(), judge.clone(), tally.clone(), seeds.u64(..));
        let machines = Machines::start(control_plane, judge.clone(), tally.clone(), seeds.u64(..), library).await?;
        users.set_up().await?;
        Ok(Self { judge, tally, users, machines, rests: 0 })
    }

    async fn all_rounds(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        self.come_to_rest().await?;
        while Instant::now() < until {
            self.judge.with(Judge::is_steady);
            self.round().await?;
            self.come_to_rest().await?;
            if self.rests.is_multiple_of(CALM_EVERY) || Instant::now() >= until {
                self.stays_calm().await?;
            }
        }
        Ok(())
    }

    /// Users go on, and everything goes wrong.
    async fn round(&mut self) -> Result<()> {
        let (users, machines) = (&mut self.users, &mut self.machines);
        let both = async { tokio::join!(users.round(ACTIONS), machines.round(FAULTS)) };
        let (users, machines) = tokio::select! {
            outcomes = both => outcomes,
            () = breaks(&self.judge) => return Err(Broken.into()),
        };
        users?;
        machines?;
        Ok(())
    }

    /// Waits until everything is as it is to be.
    async fn come_to_rest(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while let Err(missing) = self.is_at_rest().await? {
            if Instant::now() >= until {
                return Err(format!("not as it is to be after {PATIENCE:?}: {missing}").into());
            }
            self.machines.pass(POLL).await?;
        }
        self.rests += 1;
        self.judge.with(|judge| judge.note("everything is as it is to be"));
        Ok(())
    }

    /// Whether all that has happened has been judged, and everything is as it is to be; if not, what is not.
    async fn is_at_rest(&self) -> Result<std::result::Result<(), String>> {
        let revision = match self.machines.etcd().revision().await {
            Ok(revision) => revision,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if self.machines.seen() < revision {
            return Ok(Err("the judge is behind".to_owned()));
        }
        self.judge.with(|judge| if judge.broken().is_empty() { Ok(judge.settled()) } else { Err(Broken.into()) })
    }

    /// Where nothing happens, nothing is written, once what is left to be said is said.
    async fn stays_calm(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let before = self.judge.with(|judge| judge.counts().changes);
            self.machines.pass(CALM).await?;
            let written = self.judge.with(|judge| judge.counts().changes) - before;
            if written == 0 {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(format!("{written} writes in {CALM:?} where nothing happens").into());
            }
        }
    }

    fn table(&self) -> Table {
        Table {
            tally: self.tally.with(|tally| *tally),
            counts: self.judge.with(|judge| judge.counts()),
            rests: self.rests,
            requests: self.machines.requests(),
            broken: self.judge.with(|judge| judge.broken().len()),
        }
    }

    /// Prints what is wrong and what happened before, and keeps all that there is.
    fn tell(&self, what: &str, seed: u64) -> io::Result<()> {
        let directory = target().join("soak").join(seed.to_string());
        fs::create_dir_all(&directory)?;
        let (timeline, objects) = self.judge.with(|judge| {
            (judge.timeline().cloned().collect::<Vec<_>>(), serde_json::to_string_pretty(judge.stored()))
        });
        fs::write(directory.join("timeline"), timeline.join("\n"))?;
        fs::write(directory.join("objects.json"), objects?)?;
        for (number, log) in self.machines.logs().into_iter().enumerate() {
            fs::write(directory.join(format!("replica-{number}.log")), log)?;
        }
        let last = timeline.get(timeline.len().saturating_sub(SHOWN)..).unwrap_or_default();
        println!(
            "{}\n\n{what}\n\nSEED={seed}; objects, logs and more of the timeline are in {}",
            last.join("\n"),
            directory.display()
        );
        Ok(())
    }
}
