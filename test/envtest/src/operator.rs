use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{ControlPlane, Error, Process, control_plane::free_port, repository, target};

/// The operator, as a process of its own.
#[derive(Debug)]
pub struct Operator {
    /// The process.
    pub process: Process,
    port: u16,
}

impl Operator {
    /// Starts the operator with a short Lease, as the ServiceAccount that `config/` sets up.
    ///
    /// # Errors
    /// If it can't be built or started.
    pub fn start(control_plane: &ControlPlane) -> Result<Self, Error> {
        Self::start_with(control_plane, &control_plane.operator_kubeconfig(), &[])
    }

    /// Starts the operator with the Lease that it has by default, as that ServiceAccount. For what lasts, or is measured.
    ///
    /// # Errors
    /// If it can't be built or started.
    pub fn start_as_shipped(control_plane: &ControlPlane) -> Result<Self, Error> {
        Self::start_with(control_plane, &control_plane.operator_kubeconfig(), &["--lease-duration", "15s"])
    }

    /// Starts the operator with another kubeconfig and further arguments.
    ///
    /// # Errors
    /// If it can't be built or started.
    pub fn start_with(control_plane: &ControlPlane, kubeconfig: &Path, arguments: &[&str]) -> Result<Self, Error> {
        Self::start_binary(&Self::binary()?, control_plane, kubeconfig, arguments)
    }

    /// Starts another build of the operator.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start_binary(
        binary: &Path,
        control_plane: &ControlPlane,
        kubeconfig: &Path,
        arguments: &[&str],
    ) -> Result<Self, Error> {
        Self::run(binary, control_plane, kubeconfig, arguments, &[])
    }

    /// Starts the operator with another kubeconfig, and further arguments and environment variables.
    ///
    /// # Errors
    /// If it can't be built or started.
    pub fn start_in(
        control_plane: &ControlPlane,
        kubeconfig: &Path,
        arguments: &[&str],
        variables: &[(&str, OsString)],
    ) -> Result<Self, Error> {
        Self::run(&Self::binary()?, control_plane, kubeconfig, arguments, variables)
    }

    fn run(
        binary: &Path,
        control_plane: &ControlPlane,
        kubeconfig: &Path,
        arguments: &[&str],
        variables: &[(&str, OsString)],
    ) -> Result<Self, Error> {
        let port = free_port()?;
        let address = format!("127.0.0.1:{port}");
        let mut all = vec!["run", "--health-addr", &address, "--metrics-addr", &address];
        all.extend(["--lease-namespace", "clarion-system"]);
        if !arguments.contains(&"--lease-duration") {
            all.extend(["--lease-duration", "2s"]);
        }
        all.extend(arguments);
        let log = control_plane.directory().join(format!("operator-{port}.log"));
        let level = std::env::var("RUST_LOG").unwrap_or_else(|_| "info,clarion=debug,kube_client=off".to_owned());
        let environment = [
            ("KUBECONFIG", kubeconfig.as_os_str()),
            ("RUST_LOG", level.as_ref()),
            ("NO_COLOR", "1".as_ref()),
            // As in `config/base/deployment.yaml`.
            ("MALLOC_ARENA_MAX", "1".as_ref()),
        ];
        let environment = environment.into_iter().chain(variables.iter().map(|(name, value)| (*name, value.as_ref())));
        Ok(Self { process: Process::start("clarion", &log, binary, all, environment)?, port })
    }

    /// The binary: `$CLARION_BIN`, or built now in the profile of the caller.
    ///
    /// # Errors
    /// If it can't be built.
    pub fn binary() -> Result<PathBuf, Error> {
        static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        if let Some(path) = std::env::var_os("CLARION_BIN") {
            return Ok(path.into());
        }
        let built = BUILT.get_or_init(|| {
            let release = !cfg!(debug_assertions);
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args(["build", "--quiet", "--package", "clarion", "--bin", "clarion"]).current_dir(repository());
            if release {
                cargo.arg("--release");
            }
            let output = cargo.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned());
            }
            Ok(target().join(if release { "release" } else { "debug" }).join("clarion"))
        });
        built.clone().map_err(|error| Error::Command("cargo build".to_owned(), error))
    }

    /// Where it answers probes and scrapes.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// What a probe or a scrape is answered: the status and the text.
    ///
    /// # Errors
    /// If nothing answers.
    pub async fn get(&self, path: &str) -> Result<(u16, String), Error> {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok((status, answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned()))
    }

    /// Waits until it leads and knows everything.
    ///
    /// # Errors
    /// If that takes too long; with the end of its log.
    pub async fn leading(&mut self) -> Result<(), Error> {
        let end = Instant::now() + crate::wait::PATIENCE;
        loop {
            if self.get("/readyz").await.is_ok_and(|(status, text)| status == 200 && text == "leading\n") {
                return Ok(());
            }
            if self.process.exited()?.is_some() || Instant::now() >= end {
                return Err(self.process.not_up("/readyz to answer: leading"));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for the process to end by itself, and returns its exit status.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ended(&mut self) -> Result<i32, Error> {
        let end = Instant::now() + crate::wait::PATIENCE;
        loop {
            if let Some(status) = self.process.exited()? {
                return Ok(status);
            }
            if Instant::now() >= end {
                return Err(self.process.not_up("its end"));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}
