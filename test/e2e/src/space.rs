use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use clarion_envtest::Process;
use tokio::time::{Instant, sleep};

use crate::Error;

/// What a machine of the network is made of: a network, a mount and a UTS namespace, and a folder for its files.
///
/// A process that sleeps holds the namespaces; they go with it.
#[derive(Debug)]
pub struct Space {
    name: String,
    holder: Process,
    directory: PathBuf,
}

/// FRR and FRR-K8s know their files by fixed paths, so each machine sees folders of its own there. The reloader also
/// writes to /tmp. IPv6 addresses are to be good at once, without asking whether somebody else has them.
const SETUP: &str = r#"
set -e
cd "$1"
mkdir -p run etc reloader tmp
chown frr:frr run etc tmp
mount --bind run /run/frr
mount --bind etc /etc/frr
mount --bind reloader /etc/frr_reloader
mount --bind tmp /tmp
mount --bind tmp /var/tmp
echo "$2" >/proc/sys/kernel/hostname
cd /proc/sys/net
for dad in ipv6/conf/all/accept_dad ipv6/conf/default/accept_dad; do echo 0 >$dad; done
for filter in ipv4/conf/all/rp_filter ipv4/conf/default/rp_filter; do echo 0 >$filter; done
ip link set lo up
touch "$1/ready"
exec sleep infinity
"#;

impl Space {
    /// Makes the namespaces; the folder is made in `parent`.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub async fn start(parent: &Path, name: &str) -> Result<Self, Error> {
        let directory = parent.join(name);
        std::fs::create_dir_all(&directory)?;
        let mut holder = Process::start(
            name,
            &directory.join("space.log"),
            "unshare",
            ["--net", "--mount", "--uts", "--", "sh", "-c", SETUP, "sh", &directory.display().to_string(), name],
            [("PATH", SYSTEM_PATH)],
        )?;
        let end = Instant::now() + clarion_envtest::wait::PATIENCE;
        while !directory.join("ready").exists() {
            if holder.exited()?.is_some() || Instant::now() >= end {
                return Err(holder.not_up("its namespaces").into());
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(Self { name: name.to_owned(), holder, directory })
    }

    /// The name of the machine.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder of its files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A process in its network namespace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.holder.pid()
    }

    /// Runs a command in it, and returns what it prints.
    ///
    /// # Errors
    /// With what the command complains of.
    pub fn run(&self, command: &[&str]) -> Result<String, Error> {
        run(self.entering(true).args(command), &format!("{} on {}", command.join(" "), self.name))
    }

    /// Starts a program in it.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn spawn(
        &self,
        name: &str,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        environment: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> Result<Process, Error> {
        self.spawn_in(true, name, program.as_ref(), arguments, environment)
    }

    /// Starts a program with its files, but in the network of the control plane, as if the machine had a network for
    /// management beside the one that is tried.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn spawn_managed(
        &self,
        name: &str,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        environment: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> Result<Process, Error> {
        self.spawn_in(false, name, program.as_ref(), arguments, environment)
    }

    fn spawn_in(
        &self,
        network: bool,
        name: &str,
        program: &OsStr,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        environment: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> Result<Process, Error> {
        let entering = self.entering(network);
        let mut all: Vec<_> = entering.get_args().map(OsStr::to_owned).collect();
        all.push(program.to_owned());
        all.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        let mut variables = vec![("PATH".into(), SYSTEM_PATH.into())];
        variables.extend(environment.into_iter().map(|(k, v)| (k.as_ref().to_owned(), v.as_ref().to_owned())));
        let log = self.directory.join(format!("{name}.log"));
        Ok(Process::start(&format!("{name} of {}", self.name), &log, "nsenter", all, variables)?)
    }

    fn entering(&self, network: bool) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.holder.pid())).args(["--mount", "--uts"]);
        if network {
            command.arg("--net");
        }
        command.arg("--").env("PATH", SYSTEM_PATH);
        command
    }
}

/// FRR's script for reloads wants the Python that it was installed with.
const SYSTEM_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// This program, to be run on a machine: by a path that is the same there, wherever it lies. Of /tmp for one, each machine has
/// another.
pub(crate) fn this_program() -> String {
    format!("/proc/{}/exe", std::process::id())
}

/// Runs a command outside of all machines, in the network of the control plane.
pub(crate) fn run_here(command: &[&str]) -> Result<String, Error> {
    let (program, arguments) = command.split_first().unwrap_or((&"true", &[]));
    run(Command::new(program).args(arguments), &command.join(" "))
}

fn run(command: &mut Command, what: &str) -> Result<String, Error> {
    let output = command.stdin(Stdio::null()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(Error::Command(what.to_owned(), format!("{}{}", text(&output.stdout), text(&output.stderr))))
}
