//! What is done to processes: to the operator, the API server and etcd.

use std::{collections::BTreeMap, path::Path, time::Duration};

use clarion_envtest::{ControlPlane, Error, Etcd};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::DeleteParams};
use tokio::time::{Instant, sleep};

use crate::{
    judge::Judge,
    replicas::{End, LEASE, Replica},
    shared::Shared,
    tally::Tally,
    watcher::Watcher,
    weather::Weather,
};

const REPLICAS: usize = 2;
/// The time between two faults at most.
const PAUSE: Duration = Duration::from_secs(3);
/// How likely a round begins in bad weather, for each replica.
const STORMY: f64 = 0.7;
/// Processes are looked at so often.
const TEND: Duration = Duration::from_millis(100);
/// How old a stale list is.
const OLD: Duration = Duration::from_secs(3);
/// How far a clock jumps at most, in seconds.
const JUMP: i64 = 600;
/// A kill that waits for Clarion to write waits so long at most.
const WAIT: Duration = Duration::from_secs(1);

/// All processes.
pub struct Machines {
    judge: Shared<Judge>,
    tally: Shared<Tally>,
    random: fastrand::Rng,
    replicas: Vec<Replica>,
    watcher: Watcher,
    etcd: Etcd,
    /// Revisions of etcd's, with when they were the last.
    revisions: Vec<(Instant, u64)>,
    // After what needs it, so that it ends last.
    control_plane: ControlPlane,
}

impl Machines {
    /// Starts them; each with a clock of its own if there is a library for that.
    pub async fn start(
        control_plane: ControlPlane,
        judge: Shared<Judge>,
        tally: Shared<Tally>,
        seed: u64,
        library: Option<&Path>,
    ) -> Result<Self, Error> {
        let mut random = fastrand::Rng::with_seed(seed);
        let etcd = control_plane.etcd()?;
        let watcher = Watcher::start(etcd.clone(), etcd.revision().await? + 1, judge.clone());
        let mut replicas = Vec::new();
        for number in 0..REPLICAS {
            replicas.push(Replica::start(&control_plane, number, random.u64(..), library).await?);
        }
        let revisions = Vec::new();
        Ok(Self { judge, tally, random, replicas, watcher, etcd, revisions, control_plane })
    }

    fn note(&self, text: &str) {
        self.judge.with(|judge| judge.note(text));
    }

    /// The revision up to which everything has been judged.
    pub fn seen(&self) -> u64 {
        self.watcher.seen()
    }

    pub fn etcd(&self) -> &Etcd {
        &self.etcd
    }

    /// Requests by the fault that they met with.
    pub fn requests(&self) -> BTreeMap<&'static str, u64> {
        let mut all = BTreeMap::new();
        for (fault, count) in self.replicas.iter().flat_map(|replica| replica.sky.met()) {
            *all.entry(fault).or_default() += count;
        }
        all
    }

    /// The logs of the operator's processes.
    pub fn logs(&self) -> Vec<String> {
        self.replicas.iter().map(|replica| replica.operator.process.log()).collect()
    }

    /// So many things go wrong, one after the other; in the end all processes run, and nothing is wrong any more.
    pub async fn round(&mut self, faults: usize) -> Result<(), Error> {
        for number in 0..REPLICAS {
            if self.random.f64() < STORMY {
                self.change_weather(number);
            }
        }
        for _ in 0..faults {
            self.happens().await?;
            let pause = PAUSE.mul_f64(self.random.f64());
            self.pass(pause).await?;
        }
        self.note("nothing goes wrong any more");
        for replica in &mut self.replicas {
            replica.sky.set(Weather::FAIR);
            replica.wake();
        }
        Ok(())
    }

    /// Something goes wrong.
    async fn happens(&mut self) -> Result<(), Error> {
        let number = self.random.usize(..REPLICAS);
        match self.random.u8(..100) {
            0..42 => self.kill(number).await?,
            42..46 => {
                self.note(&format!("replica {number} is stopped in order"));
                self.tally.with(|tally| tally.stops += 1);
                self.replicas.get_mut(number).into_iter().for_each(Replica::stop);
            }
            46..54 => self.pause_leader(),
            54..70 => self.restart_api_server().await?,
            70..75 => self.restart_etcd().await?,
            75..82 => self.compact().await,
            82..91 => self.change_weather(number),
            91..97 => self.set_clock(number)?,
            _ => self.delete_lease().await,
        }
        Ok(())
    }

    fn change_weather(&mut self, number: usize) {
        let weather = Weather::random(&mut self.random);
        self.note(&format!("replica {number}: {weather:?}"));
        self.replicas.get(number).into_iter().for_each(|replica| replica.sky.set(weather));
    }

    /// Often between two writes.
    async fn kill(&mut self, number: usize) -> Result<(), Error> {
        if self.random.bool() {
            let (before, end) = (self.judge.with(|judge| judge.counts().changes), Instant::now() + WAIT);
            while self.judge.with(|judge| judge.counts().changes) == before && Instant::now() < end {
                sleep(Duration::from_millis(2)).await;
            }
            sleep(Duration::from_millis(self.random.u64(..60))).await;
        }
        self.note(&format!("replica {number} is killed"));
        self.tally.with(|tally| tally.kills += 1);
        self.replicas.get_mut(number).into_iter().for_each(Replica::kill);
        self.tend()
    }

    /// The leader wakes up when its Lease may be somebody else's.
    fn pause_leader(&mut self) {
        let holder = self.judge.with(|judge| judge.holder().to_owned());
        let time = LEASE + LEASE.mul_f64(self.random.f64());
        let Some(number) = self.replicas.iter().position(|replica| replica.is(&holder)) else { return };
        self.note(&format!("replica {number}, which leads, is paused for {time:?}"));
        self.tally.with(|tally| tally.pauses += 1);
        self.replicas.get_mut(number).into_iter().for_each(|replica| replica.pause(time));
    }

    async fn restart_api_server(&mut self) -> Result<(), Error> {
        self.note("the API server restarts");
        self.tally.with(|tally| tally.api_servers += 1);
        self.control_plane.stop_api_server();
        let away = Duration::from_millis(self.random.u64(..1_000));
        self.pass(away).await?;
        self.control_plane.start_api_server().await?;
        self.note("the API server is ready");
        Ok(())
    }

    async fn restart_etcd(&mut self) -> Result<(), Error> {
        self.note("etcd restarts");
        self.tally.with(|tally| tally.etcds += 1);
        self.control_plane.restart_etcd().await?;
        self.note("etcd answers");
        Ok(())
    }

    /// Watches that begin before that have to begin anew.
    async fn compact(&mut self) {
        let revision = self.watcher.seen();
        self.note(&format!("etcd forgets what was before revision {revision}"));
        self.tally.with(|tally| tally.compactions += 1);
        // It may have nothing to forget.
        let _ = self.etcd.compact(revision).await;
    }

    fn set_clock(&mut self, number: usize) -> Result<(), Error> {
        let seconds = self.random.i64(-JUMP..=JUMP);
        let Some(replica) = self.replicas.get(number).filter(|replica| replica.has_clock()) else { return Ok(()) };
        replica.set_clock(seconds)?;
        self.note(&format!("the clock of replica {number} jumps to {seconds} s"));
        self.tally.with(|tally| tally.clocks += 1);
        Ok(())
    }

    async fn delete_lease(&mut self) {
        self.note("the Lease is deleted");
        let leases = Api::<Lease>::namespaced(self.control_plane.client(), "clarion-system");
        let deleted = leases.delete("clarion", &DeleteParams::default()).await.is_ok();
        self.tally.with(|tally| tally.leases += u64::from(deleted));
    }

    /// Time passes. Replicas that have ended are started again.
    pub async fn pass(&mut self, time: Duration) -> Result<(), Error> {
        let until = Instant::now() + time;
        loop {
            self.tend()?;
            self.allow_old_lists().await;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            sleep(left.min(TEND)).await;
        }
    }

    fn tend(&mut self) -> Result<(), Error> {
        for number in 0..REPLICAS {
            let Some(replica) = self.replicas.get_mut(number) else { continue };
            replica.go_on();
            let Some(end) = replica.start_again(&self.control_plane)? else { continue };
            self.note(&format!("replica {number} is started again"));
            match end {
                End::Orderly => {}
                End::GivenUp => self.tally.with(|tally| tally.given_up += 1),
                End::Panic(text) => self.judge.with(|judge| judge.breaks(text)),
            }
        }
        Ok(())
    }

    /// Lists of a process that leads and has begun with new ones may be old from then on: it knows what it wrote itself.
    async fn allow_old_lists(&mut self) {
        let now = Instant::now();
        self.revisions.push((now, self.watcher.seen()));
        let old = self.revisions.iter().rposition(|(at, _)| now.duration_since(*at) >= OLD);
        let Some(old) = old else { return };
        self.revisions.drain(..old);
        let Some((_, revision)) = self.revisions.first().copied() else { return };
        for replica in &self.replicas {
            let leads = replica.leads().await;
            replica.sky.set_old(leads.then_some(revision));
        }
    }
}
