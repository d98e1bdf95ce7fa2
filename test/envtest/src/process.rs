use std::{
    ffi::OsStr,
    fs::File,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::Error;

/// A process that never outlives the one that started it.
///
/// A shell stands between: it holds one end of a pipe, and kills the process when the other end is closed, which the kernel
/// does however this process ends.
#[derive(Debug)]
pub struct Process {
    name: String,
    guard: Child,
    pid: u32,
    log: PathBuf,
}

/// Resident memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Now.
    pub resident: u64,
    /// The most that it has been.
    pub peak: u64,
}

/// `$@` is the command, file descriptor 3 the pipe. The shell ends with the command, and with its status.
const GUARD: &str = r#"
trap '' HUP INT TERM
exec 3<&0
"$@" 3<&- </dev/null >>"$LOG" 2>&1 &
child=$!
echo "$child"
exec >/dev/null
{ read -r _ <&3; kill -KILL "$child"; } 2>/dev/null &
reader=$!
wait "$child"
status=$?
kill -KILL "$reader" 2>/dev/null
exit "$status"
"#;

impl Process {
    /// Starts a command that logs to a file.
    ///
    /// # Errors
    /// If the shell can't be started.
    pub fn start(
        name: &str,
        log: &Path,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        environment: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> Result<Self, Error> {
        File::options().create(true).append(true).open(log)?;
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(program)
            .args(arguments)
            .envs(environment)
            .env("LOG", log)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal reaches the tests, not what they started: that goes in order.
            .process_group(0)
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = guard.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let pid = line.trim().parse().map_err(|_| Error::Command(name.to_owned(), "it has no process".to_owned()))?;
        Ok(Self { name: name.to_owned(), guard, pid, log: log.to_owned() })
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The id of the shell that watches over it, which ignores hangups.
    #[must_use]
    pub fn guard_pid(&self) -> u32 {
        self.guard.id()
    }

    /// Sends a signal, by its name without `SIG`.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn signal(&self, signal: &str) -> Result<(), Error> {
        let status =
            Command::new("kill").args([format!("-{signal}"), self.pid.to_string()]).stderr(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(self.gone()) }
    }

    /// The exit status if the process has ended; that of a process killed by signal n is 128 + n.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn exited(&mut self) -> Result<Option<i32>, Error> {
        Ok(self.guard.try_wait()?.map(|status| status.code().unwrap_or(-1)))
    }

    /// What the kernel says of the process's memory.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn memory(&self) -> Result<Memory, Error> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kibibytes = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
            kibibytes.map(|kibibytes| kibibytes * 1024).ok_or_else(|| self.gone())
        };
        Ok(Memory { resident: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
    }

    /// How many file descriptors the process has open.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn open_files(&self) -> Result<usize, Error> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.pid))?.count())
    }

    /// The processor time that the process has taken, in the kernel's ticks of 10 ms.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn processor_time(&self) -> Result<Duration, Error> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The name, in parentheses, may have spaces.
        let (_, fields) = stat.rsplit_once(')').ok_or_else(|| self.gone())?;
        let ticks: Option<u64> =
            fields.split_ascii_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(10 * ticks.ok_or_else(|| self.gone())?))
    }

    fn gone(&self) -> Error {
        Error::Command(self.name.clone(), "it is not running".to_owned())
    }

    /// Everything that the process has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// The file that it logs to.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// The error that tells that the process did not come up.
    #[must_use]
    pub fn not_up(&self, why: &str) -> Error {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let tail = lines.iter().skip(lines.len().saturating_sub(40)).copied().collect::<Vec<_>>().join("\n");
        Error::NotUp { name: self.name.clone(), why: why.to_owned(), log: tail }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // It ends at once: the shell kills what it guards.
        let _ = self.guard.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn runs(pid: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    }

    fn ends(pid: u32) -> bool {
        let end = Instant::now() + Duration::from_secs(10);
        while runs(pid) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        !runs(pid)
    }

    fn sleeper(log: &Path) -> Process {
        Process::start("sleep", log, "sleep", ["1000"], [("A", "b")]).unwrap()
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let process = sleeper(&dir.path().join("log"));
        let (pid, guard) = (process.pid(), process.guard_pid());
        assert!(runs(pid));
        drop(process);
        assert!(ends(pid) && ends(guard));
    }

    #[test]
    fn a_panic_leaves_no_process() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let (sender, receiver) = std::sync::mpsc::channel();
        let result = std::thread::spawn(move || {
            let process = sleeper(&log);
            sender.send(process.pid()).unwrap();
            panic!("on purpose");
        })
        .join();
        assert!(result.is_err());
        assert!(ends(receiver.recv().unwrap()));
    }

    #[test]
    fn an_interrupt_or_a_kill_leaves_no_process() {
        // This test binary runs itself as the process that is interrupted.
        if std::env::var_os("ENVTEST_VICTIM").is_some() {
            let dir = std::env::temp_dir().join(format!("envtest-victim-{}", std::process::id()));
            let process = sleeper(&dir);
            println!("pid={}", process.pid());
            std::thread::sleep(Duration::from_secs(1000));
            return;
        }
        for signal in ["INT", "KILL"] {
            // Whoever runs the tests in the background may have had interrupts ignored, which is inherited.
            let mut victim = Command::new("env")
                .arg("--default-signal=INT")
                .arg(std::env::current_exe().unwrap())
                .args(["process::tests::an_interrupt_or_a_kill_leaves_no_process", "--exact", "--nocapture"])
                .env("ENVTEST_VICTIM", "1")
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
            let pid =
                lines.find_map(|line| line.unwrap().split_once("pid=").map(|(_, pid)| pid.parse().unwrap())).unwrap();
            assert!(runs(pid));
            Command::new("kill").args([format!("-{signal}"), victim.id().to_string()]).status().unwrap();
            victim.wait().unwrap();
            assert!(ends(pid), "after SIG{signal}");
            let _ = std::fs::remove_file(std::env::temp_dir().join(format!("envtest-victim-{}", victim.id())));
        }
    }

    #[test]
    fn a_component_that_fails_to_start_shows_the_end_of_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let command = ["-c", "echo first; echo the reason >&2; exit 3"];
        let mut process = Process::start("broken", &dir.path().join("log"), "sh", command, [("A", "b")]).unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while process.exited().unwrap().is_none() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(process.exited().unwrap(), Some(3));
        let text = process.not_up("an answer").to_string();
        assert!(text.contains("broken did not come up: an answer") && text.contains("first\nthe reason"), "{text}");
    }
}
