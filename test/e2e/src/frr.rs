use std::{collections::BTreeMap, path::Path, time::Duration};

use clarion_envtest::{Process, wait::PATIENCE};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{Error, Space};

/// The daemons of FRR on one machine.
#[derive(Debug)]
pub struct Frr {
    listen: bool,
    daemons: BTreeMap<&'static str, Process>,
}

/// In the order in which they are to start.
const DAEMONS: [&str; 4] = ["zebra", "bgpd", "bfdd", "staticd"];

impl Frr {
    /// Starts FRR with the configuration that is in the machine's `etc/frr.conf`. With `listen`, others may open sessions.
    ///
    /// # Errors
    /// If a daemon does not come up.
    pub async fn start(space: &Space, listen: bool) -> Result<Self, Error> {
        std::fs::write(space.directory().join("etc/vtysh.conf"), "service integrated-vtysh-config\n")?;
        let mut this = Self { listen, daemons: BTreeMap::new() };
        for daemon in DAEMONS {
            this.launch(space, daemon).await?;
            if space.directory().join("etc/frr.conf").exists() {
                read_configuration(space, daemon)?;
            }
        }
        Ok(this)
    }

    /// Starts one daemon again, which then gets its part of `etc/frr.conf`.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn start_daemon(&mut self, space: &Space, daemon: &'static str) -> Result<(), Error> {
        self.launch(space, daemon).await?;
        // FRR writes lines that it complains of when it reads them, `graceful-restart` for one. Like FRR's own start, this
        // goes on with the next line then.
        let _ = read_configuration(space, daemon);
        Ok(())
    }

    async fn launch(&mut self, space: &Space, daemon: &'static str) -> Result<(), Error> {
        let mut arguments = vec!["-A", "127.0.0.1", "--log", "stdout"];
        if daemon == "zebra" {
            arguments.extend(["-s", "90000000"]);
        }
        if daemon == "bgpd" && !self.listen {
            // As FRR-K8s has it: others can't open sessions with a node.
            arguments.extend(["-p", "0"]);
        }
        let none: [(&str, &str); 0] = [];
        let mut process = space.spawn(daemon, Path::new("/usr/lib/frr").join(daemon), arguments, none)?;
        let end = Instant::now() + PATIENCE;
        while space.run(&["vtysh", "-d", daemon, "-c", "show version"]).is_err() {
            if process.exited()?.is_some() || Instant::now() >= end {
                return Err(process.not_up("an answer to vtysh").into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        self.daemons.insert(daemon, process);
        Ok(())
    }

    /// Ends one daemon with a signal, by its name without `SIG`, and waits for its end.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn stop_daemon(&mut self, daemon: &str, signal: &str) -> Result<(), Error> {
        let Some(mut process) = self.daemons.remove(daemon) else {
            return Err(Error::Topology(format!("{daemon} does not run")));
        };
        process.signal(signal)?;
        let end = Instant::now() + PATIENCE;
        while process.exited()?.is_none() && Instant::now() < end {
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// A daemon that runs.
    #[must_use]
    pub fn daemon(&self, name: &str) -> Option<&Process> {
        self.daemons.get(name)
    }
}

fn read_configuration(space: &Space, daemon: &str) -> Result<(), Error> {
    space.run(&["vtysh", "-b", "-d", daemon]).map(drop)
}

/// What FRR on a machine answers to a `show … json`.
pub(crate) fn json(space: &Space, command: &str) -> Result<Value, Error> {
    let text = space.run(&["vtysh", "-c", command])?;
    // Some commands print nothing where there is nothing to show.
    if text.trim().is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
}

/// A place in the log of a router.
#[derive(Debug, Clone, Copy)]
pub struct Mark(pub(crate) usize);

/// What a router has logged since a [`Mark`].
#[derive(Debug)]
pub struct Log(pub(crate) String);

impl Log {
    /// The lines in which a neighbour withdraws a prefix.
    #[must_use]
    pub fn withdrawn(&self) -> Vec<&str> {
        self.0.lines().filter(|line| line.contains("-- withdrawn")).collect()
    }

    /// The lines in which a session went down.
    #[must_use]
    pub fn went_down(&self) -> Vec<&str> {
        self.0.lines().filter(|line| line.contains("ADJCHANGE") && line.contains(" Down")).collect()
    }

    /// The lines that have all these words.
    #[must_use]
    pub fn with(&self, words: &[&str]) -> Vec<&str> {
        self.0.lines().filter(|line| words.iter().all(|word| line.contains(word))).collect()
    }
}
