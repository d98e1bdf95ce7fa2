//! The replicas of the operator, each behind a proxy of its own, and started again when it has ended.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clarion_envtest::{ControlPlane, Error, Operator, Proxy};
use tokio::time::{Instant, timeout};

use crate::weather::Sky;

/// Short, so that leaders change often, and long enough for the API server to restart within it now and then.
pub const LEASE: Duration = Duration::from_secs(4);
/// The same, as the flag has it.
const LEASE_FLAG: &str = "4s";

/// How long an answer of the operator is waited for.
const ANSWER: Duration = Duration::from_millis(100);

/// The library that gives a process a clock of its own, and where that clock's setting stands.
#[derive(Clone, Debug)]
struct Clock {
    library: PathBuf,
    setting: PathBuf,
}

/// What became of a process.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// It was killed, or stopped in order.
    Orderly,
    /// It has lost its Lease.
    GivenUp,
    /// It ended as none may; with the end of its log.
    Panic(String),
}

/// One of the replicas.
pub struct Replica {
    pub sky: Sky,
    pub operator: Operator,
    proxy: Proxy,
    clock: Option<Clock>,
    /// It is paused until then.
    paused: Option<Instant>,
}

impl Replica {
    /// Starts one; with a clock of its own if there is a library for that.
    pub async fn start(
        control_plane: &ControlPlane,
        number: usize,
        seed: u64,
        library: Option<&Path>,
    ) -> Result<Self, Error> {
        let sky = Sky::new(seed);
        let decides = sky.clone();
        let proxy = Proxy::start(control_plane, move |method, uri| decides.decide(method, uri)).await?;
        let clock = library.map(|library| Clock {
            library: library.to_owned(),
            setting: control_plane.directory().join(format!("clock-{number}")),
        });
        set(clock.as_ref(), 0)?;
        let operator = run(control_plane, &proxy, clock.as_ref())?;
        Ok(Self { sky, operator, proxy, clock, paused: None })
    }

    /// Its clock is so many seconds ahead from now on, or behind. Nothing if it has no clock of its own.
    pub fn set_clock(&self, seconds: i64) -> Result<(), Error> {
        set(self.clock.as_ref(), seconds)
    }

    pub fn has_clock(&self) -> bool {
        self.clock.is_some()
    }

    /// Kills it.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.operator.process.signal("KILL");
    }

    /// Asks it to end.
    pub fn stop(&mut self) {
        let _ = self.operator.process.signal("TERM");
    }

    /// Pauses it for so long.
    pub fn pause(&mut self, time: Duration) {
        let _ = self.operator.process.signal("STOP");
        self.paused = Some(Instant::now() + time);
    }

    /// Lets it go on when its pause is over.
    pub fn go_on(&mut self) {
        if self.paused.is_some_and(|until| Instant::now() >= until) {
            self.paused = None;
            let _ = self.operator.process.signal("CONT");
        }
    }

    /// Lets it go on, whenever its pause would be over.
    pub fn wake(&mut self) {
        self.paused = self.paused.map(|_| Instant::now());
        self.go_on();
    }

    /// Whether it leads and knows everything. One that is paused says nothing.
    pub async fn leads(&self) -> bool {
        let answer = timeout(ANSWER, self.operator.get("/readyz")).await;
        answer.is_ok_and(|answer| answer.is_ok_and(|(_, text)| text == "leading\n"))
    }

    /// Whether the process is the one that calls itself so in a Lease.
    pub fn is(&self, holder: &str) -> bool {
        holder.split('_').any(|part| part == self.operator.process.pid().to_string())
    }

    /// How it ended, if it has, and starts it again.
    pub fn start_again(&mut self, control_plane: &ControlPlane) -> Result<Option<End>, Error> {
        let Some(status) = self.operator.process.exited()? else { return Ok(None) };
        let log = self.operator.process.log();
        let end = judged(status, &log);
        if !matches!(end, End::Panic(_)) {
            let _ = fs::remove_file(self.operator.process.log_file());
        }
        self.sky.set_old(None);
        self.paused = None;
        self.operator = run(control_plane, &self.proxy, self.clock.as_ref())?;
        Ok(Some(end))
    }
}

/// Killed, stopped in order, or without its Lease: 1 is what a process ends with that has lost it.
fn judged(status: i32, log: &str) -> End {
    if log.contains("panicked at") || ![0, 1, 128 + 9, 128 + 15].contains(&status) {
        let lines: Vec<_> = log.lines().collect();
        let last = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n");
        return End::Panic(format!("a process of the operator has ended with {status}:\n{last}"));
    }
    if status == 1 { End::GivenUp } else { End::Orderly }
}

fn run(control_plane: &ControlPlane, proxy: &Proxy, clock: Option<&Clock>) -> Result<Operator, Error> {
    let variables: Vec<(&str, OsString)> = clock.map_or_else(Vec::new, |Clock { library, setting }| {
        vec![
            ("LD_PRELOAD", library.into()),
            ("FAKETIME_TIMESTAMP_FILE", setting.into()),
            // Only the time of day jumps, and soon after it is set.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("FAKETIME_CACHE_DURATION", "1".into()),
            // What is killed leaves nothing behind.
            ("FAKETIME_DISABLE_SHM", "1".into()),
        ]
    });
    Operator::start_in(control_plane, proxy.kubeconfig(), &["--lease-duration", LEASE_FLAG], &variables)
}

fn set(clock: Option<&Clock>, seconds: i64) -> Result<(), Error> {
    if let Some(clock) = clock {
        // In one step: it may be read at any time.
        let new = clock.setting.with_extension("new");
        fs::write(&new, format!("{seconds:+}\n"))?;
        fs::rename(new, &clock.setting)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_may_not_be_is_told_of() {
        assert_eq!(judged(1, "the Lease was lost"), End::GivenUp);
        assert_eq!(judged(137, ""), End::Orderly);
        assert!(matches!(judged(101, "x"), End::Panic(_)));
        assert!(
            matches!(judged(137, "thread 'main' panicked at src/x.rs"), End::Panic(text) if text.contains("panicked"))
        );
    }
}
