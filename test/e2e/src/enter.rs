use std::{
    env,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::Path,
    process::{Command, exit},
};

use clarion_envtest::{Operator, tools};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

use crate::{Error, traffic};

/// Set for the process that is inside, and for what it starts: the number that the process outside has there.
const INSIDE: &str = "CLARION_LAB";
/// Where everything of a network lies: in a file system of its own, in memory, which goes with its mount namespace.
pub(crate) const ROOT: &str = "/run/clarion";

/// What is done in the new namespaces before this program starts there anew. With a file system of its own in place of
/// /run, nothing is left behind, and FRR's sockets have a place.
const SETUP: &str = r#"
set -e
mount -t tmpfs -o mode=755 lab /run
mkdir -p /run/clarion /run/frr
ip link set lo up
exec "$0" "$@"
"#;

/// Goes on in namespaces of its own: the first thing that the main function of a program with a [`crate::Lab`] calls.
///
/// The program starts anew as the first process of a PID namespace. When it ends, or is killed, the kernel kills all
/// others there; with the last process of a network namespace its links go, and with that of a mount namespace its files.
///
/// # Errors
/// If the machine lacks something; what, is said in one line.
pub fn enter() -> Result<(), Error> {
    if env::var_os(INSIDE).is_some() {
        return traffic::helper();
    }
    check()?;
    // In there, nothing can be downloaded.
    for component in ["kubernetes", "frr-k8s"] {
        tools(component)?;
    }
    let clarion = Operator::binary()?;
    let failure = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "sh", "-c", SETUP])
        .arg(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env(INSIDE, std::process::id().to_string())
        .env("TMPDIR", ROOT)
        .env("CLARION_BIN", clarion)
        .exec();
    Err(failure.into())
}

/// How somebody outside, with root's rights, gets inside: a command, up to the program that is to run there.
#[must_use]
pub fn way_in() -> String {
    // That process has the other namespaces itself, but only its children are in the new PID namespace.
    let outside = env::var(INSIDE).unwrap_or_default();
    format!("nsenter --target {outside} --net --mount --pid=/proc/{outside}/ns/pid_for_children")
}

fn check() -> Result<(), Error> {
    let root = Path::new("/proc/self").metadata()?.uid() == 0;
    let missing: Vec<_> = [
        ("/usr/lib/frr/bgpd", "frr"),
        ("/usr/lib/frr/frr-reload.py", "frr-pythontools"),
        ("/etc/frr_reloader", "the folder /etc/frr_reloader"),
        ("/usr/bin/nsenter", "util-linux"),
    ]
    .into_iter()
    .filter(|(path, _)| !Path::new(path).exists())
    .map(|(_, what)| what)
    .collect();
    if root && missing.is_empty() {
        return Ok(());
    }
    let mut lacking = Vec::new();
    if !root {
        lacking.push("root is needed, for namespaces".to_owned());
    }
    if !missing.is_empty() {
        lacking.push(format!("install {}: as root, test/e2e/install does it on Debian", missing.join(", ")));
    }
    Err(Error::Missing(lacking.join("; ")))
}

/// A runtime on which Ctrl-C and SIGTERM end the process, which the kernel does not do for the first process of a namespace.
///
/// # Errors
/// If the machine has no threads to give.
pub fn runtime() -> Result<Runtime, Error> {
    let runtime = Runtime::new()?;
    runtime.spawn(async {
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        let code = tokio::select! { _ = interrupt.recv() => 130, _ = terminate.recv() => 143 };
        eprintln!("\nEnding; everything that was started ends with it.");
        exit(code);
    });
    Ok(runtime)
}
