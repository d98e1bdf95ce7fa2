use std::path::PathBuf;

use crate::{ControlPlane, Error, Process, tools};

/// The FRR-K8s daemon of one node, without FRR: it converts, merges, reports, and writes FRR's configuration to a file.
#[derive(Debug)]
pub struct Daemon {
    /// The process.
    pub process: Process,
    configuration: PathBuf,
    // Ends last: its guard is what the daemon tells to reload.
    _reloader: Process,
}

impl Daemon {
    /// Starts the daemon of a node.
    ///
    /// # Errors
    /// If it can't be built or started.
    pub fn start(control_plane: &ControlPlane, node: &str) -> Result<Self, Error> {
        Self::start_of(control_plane, node, "frr-k8s")
    }

    /// Starts the daemon of a node, of this component of `test/tools/build`.
    ///
    /// # Errors
    /// If it can't be built or started.
    pub fn start_of(control_plane: &ControlPlane, node: &str, component: &str) -> Result<Self, Error> {
        let directory = control_plane.directory().join(format!("daemon-{node}"));
        std::fs::create_dir_all(&directory)?;
        let no_environment: [(&str, &str); 0] = [];
        let reloader =
            Process::start("reloader", &directory.join("reloader.log"), "sleep", ["infinity"], no_environment)?;
        let (configuration, pid) = (directory.join("frr.conf"), directory.join("reloader.pid"));
        std::fs::write(&pid, reloader.guard_pid().to_string())?;
        let process = Process::start(
            &format!("frr-k8s-controller of {node}"),
            &directory.join("log"),
            tools(component)?.join("frr-k8s-controller"),
            [
                format!("--node-name={node}"),
                "--namespace=frr-k8s-system".to_owned(),
                "--bgp-debounce-timeout=10".to_owned(),
                "--metrics-bind-address=0".to_owned(),
                "--health-probe-bind-address=0".to_owned(),
            ],
            [
                ("KUBECONFIG", control_plane.kubeconfig()),
                ("FRR_CONFIG_FILE", configuration.clone()),
                ("FRR_RELOADER_PID_FILE", pid),
            ],
        )?;
        Ok(Self { process, configuration, _reloader: reloader })
    }

    /// FRR's configuration, as the daemon last wrote it; empty before it has.
    #[must_use]
    pub fn configuration(&self) -> String {
        std::fs::read_to_string(&self.configuration).unwrap_or_default()
    }

    /// How often it could not convert what it was given, whether or not it came to report that.
    #[must_use]
    pub fn failed_conversions(&self) -> usize {
        self.process.log().matches("failed to convert the config").count()
    }

    /// The prefixes that FRR is told to originate.
    #[must_use]
    pub fn networks(&self) -> Vec<String> {
        let configuration = self.configuration();
        let networks = configuration.lines().filter_map(|line| line.trim().strip_prefix("network "));
        networks.map(|prefix| prefix.trim().to_owned()).collect()
    }
}
