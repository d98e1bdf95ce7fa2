use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use clarion_envtest::{ControlPlane, Process, repository, tools, wait::PATIENCE};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{Error, Frr, Space, lab::object, space::this_program};

/// How fast the parts of FRR-K8s work.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long the daemon waits for more before it acts.
    pub debounce: Duration,
    /// How often the sessions are looked at when nothing else says that they changed.
    pub poll: Duration,
}

impl Pace {
    /// As FRR-K8s has it when nobody says otherwise.
    pub const SHIPPED: Self = Self { debounce: Duration::from_secs(3), poll: Duration::from_secs(120) };
    /// So that cases don't take minutes.
    pub const QUICK: Self = Self { debounce: Duration::from_millis(100), poll: Duration::from_secs(2) };
}

/// A node: FRR and all of FRR-K8s that a node runs.
#[derive(Debug)]
pub struct Node {
    // In the order in which they are to end.
    /// FRR-K8s's `status`, which writes BGPSessionStates.
    pub status: Process,
    /// FRR-K8s's daemon.
    pub daemon: Process,
    _listener: Option<Process>,
    reloader: Process,
    /// FRR.
    pub frr: Frr,
    /// The machine.
    pub space: Space,
    /// Its address in the first of its subnets.
    pub v4: Ipv4Addr,
    /// Its address in the first of its subnets.
    pub v6: Ipv6Addr,
}

impl Node {
    /// Starts everything on a machine that has its links, and makes the objects of the node and of the daemon's Pod.
    pub(crate) async fn start(
        control_plane: &ControlPlane,
        space: Space,
        pace: Pace,
        (v4, v6): (Ipv4Addr, Ipv6Addr),
    ) -> Result<Self, Error> {
        let name = space.name().to_owned();
        control_plane.apply(&[node(&name, &json!({}))?, daemon_pod(&name)?]).await?;
        report_pod(control_plane, &name, true)?;
        let frr = Frr::start(&space, false).await?;
        let none: [(&str, &str); 0] = [];
        // What the guard of a process ignores, the process ignores too, and bash can't trap.
        let script = reloader_script()?.display().to_string();
        let reloader = space.spawn("reloader", "env", ["--default-signal=HUP,INT,TERM", "bash", &script], none)?;
        let pid_file = space.directory().join("reloader/reloader.pid");
        let end = Instant::now() + PATIENCE;
        while !pid_file.exists() {
            if Instant::now() >= end {
                return Err(reloader.not_up("its file with its process id").into());
            }
            sleep(Duration::from_millis(10)).await;
        }
        let binaries = tools("frr-k8s")?;
        let daemon = space.spawn_managed(
            "frr-k8s-controller",
            binaries.join("frr-k8s-controller"),
            [
                format!("--node-name={name}"),
                "--namespace=frr-k8s-system".to_owned(),
                format!("--bgp-debounce-timeout={}", pace.debounce.as_millis()),
                "--metrics-bind-address=0".to_owned(),
                "--health-probe-bind-address=0".to_owned(),
            ],
            [
                ("KUBECONFIG", control_plane.kubeconfig()),
                ("FRR_RELOADER_PID_FILE", PathBuf::from("/etc/frr_reloader/reloader.pid")),
            ],
        )?;
        let status = space.spawn_managed(
            "status",
            binaries.join("status"),
            [
                format!("--node-name={name}"),
                "--namespace=frr-k8s-system".to_owned(),
                format!("--pod-name={}", pod_name(&name)),
                format!("--poll-interval={}s", pace.poll.as_secs()),
            ],
            [("KUBECONFIG", control_plane.kubeconfig())],
        )?;
        let listener = space.spawn("listener", this_program(), [crate::traffic::LISTEN, &name], none)?;
        Ok(Self { status, daemon, _listener: Some(listener), reloader, frr, space, v4, v6 })
    }

    /// What the reloader logged.
    #[must_use]
    pub fn reloader_log(&self) -> String {
        self.reloader.log()
    }

    /// Runs vtysh with one command.
    ///
    /// # Errors
    /// With what FRR complains of.
    pub fn vtysh(&self, command: &str) -> Result<String, Error> {
        self.space.run(&["vtysh", "-c", command])
    }
}

/// A Node, with further metadata.
pub(crate) fn node(name: &str, labels: &serde_json::Value) -> Result<kube::api::DynamicObject, Error> {
    let mut all = json!({"kubernetes.io/hostname": name});
    if let (Some(all), Some(labels)) = (all.as_object_mut(), labels.as_object()) {
        all.extend(labels.clone());
    }
    object(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": all}}))
}

fn pod_name(node: &str) -> String {
    format!("frr-k8s-{node}")
}

/// What a kubelet reports of FRR-K8s's Pod: whether the probes of all its containers succeed.
pub(crate) fn report_pod(control_plane: &ControlPlane, node: &str, ready: bool) -> Result<(), Error> {
    let ready = if ready { "True" } else { "False" };
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": ready}]}}).to_string();
    let pod = pod_name(node);
    let patch = ["-n", "frr-k8s-system", "patch", "pod", &pod, "--subresource=status", "--type=merge", "-p", &status];
    Ok(control_plane.kubectl(&patch).map(drop)?)
}

/// What `status` and the webhook's process look for.
fn daemon_pod(node: &str) -> Result<kube::api::DynamicObject, Error> {
    object(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": pod_name(node), "namespace": "frr-k8s-system", "labels": {"app.kubernetes.io/component": "frr-k8s"},
        },
        "spec": {"nodeName": node, "containers": [{"name": "controller", "image": "none"}]},
    }))
}

/// FRR-K8s's script, from its module.
fn reloader_script() -> Result<PathBuf, Error> {
    let output = Command::new("go")
        .args(["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", "github.com/metallb/frr-k8s"])
        .current_dir(repository().join("test/tools/frr-k8s"))
        .env("GOWORK", "off")
        .output()?;
    let directory = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let script = PathBuf::from(&directory).join("cmd/reloader/frr-reloader.sh");
    if directory.is_empty() || !script.exists() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::Command("looking for FRR-K8s's reloader with go list".to_owned(), why));
    }
    Ok(script)
}
