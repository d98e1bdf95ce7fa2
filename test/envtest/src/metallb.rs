use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use futures::future::try_join_all;
use tokio::time::{Instant, sleep};

use crate::{
    ControlPlane, Error, Process,
    control_plane::{free_port, manifests, object},
    tools, wait,
};

/// MetalLB in FRR-K8s mode: its controller, and the speaker of each node, without webhooks.
#[derive(Debug)]
pub struct MetalLb {
    tools: PathBuf,
    kubeconfig: PathBuf,
    directory: PathBuf,
    controller: Option<Process>,
    speakers: BTreeMap<String, Process>,
}

impl MetalLb {
    /// The namespace of MetalLB and of all of its objects.
    pub const NAMESPACE: &str = "metallb-system";

    /// Installs MetalLB's CRDs, its namespace, and the Pods that its processes take themselves for.
    ///
    /// # Errors
    /// If they can't be had or are refused.
    pub async fn install(control_plane: &ControlPlane, nodes: &[&str]) -> Result<(), Error> {
        let namespace = serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": Self::NAMESPACE},
        });
        let mut objects = vec![object(namespace)?];
        objects.extend(manifests(&tools("metallb")?.join("crds"))?);
        let speakers = nodes.iter().map(|node| speaker_pod(node));
        for name in std::iter::once("controller".to_owned()).chain(speakers) {
            objects.push(object(serde_json::json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": Self::NAMESPACE},
                "spec": {"containers": [{"name": "metallb", "image": "metallb"}]},
            }))?);
        }
        control_plane.apply(&objects).await
    }

    /// Installs MetalLB, and starts its controller and the speakers of these nodes.
    ///
    /// # Errors
    /// If a component can't be built or does not come up.
    pub async fn start(control_plane: &ControlPlane, nodes: &[&str]) -> Result<Self, Error> {
        Self::install(control_plane, nodes).await?;
        let mut this = Self {
            tools: tools("metallb")?,
            kubeconfig: control_plane.kubeconfig(),
            directory: control_plane.directory().to_owned(),
            controller: None,
            speakers: BTreeMap::new(),
        };
        this.start_controller().await?;
        this.start_speakers(nodes).await?;
        Ok(this)
    }

    /// Starts the controller, which gives addresses to Services.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn start_controller(&mut self) -> Result<(), Error> {
        let arguments = ["--webhook-mode=disabled"];
        self.controller = Some(self.start_process("controller", "controller", &arguments, &[]).await?);
        Ok(())
    }

    /// Starts the speakers of these nodes at the same time; each writes the FRRConfiguration of its node.
    ///
    /// # Errors
    /// If one does not come up.
    pub async fn start_speakers(&mut self, nodes: &[&str]) -> Result<(), Error> {
        let starting = nodes.iter().map(async |node| {
            let environment = [("FRRK8S_NAMESPACE", "frr-k8s-system"), ("METALLB_NODE_NAME", node)];
            let process = self.start_process("speaker", &speaker_pod(node), &[], &environment).await?;
            Ok::<_, Error>(((*node).to_owned(), process))
        });
        let started = try_join_all(starting).await?;
        self.speakers.extend(started);
        Ok(())
    }

    /// Ends the controller, as the deletion of its Pod does.
    ///
    /// # Errors
    /// If it can't be told to.
    pub async fn stop_controller(&mut self) -> Result<(), Error> {
        end(self.controller.take(), Duration::ZERO).await
    }

    /// Ends the speaker of a node, as the deletion of its Pod does. What it wrote stays.
    ///
    /// # Errors
    /// If it can't be told to.
    pub async fn stop_speaker(&mut self, node: &str) -> Result<(), Error> {
        end(self.speakers.remove(node), SPEAKER_GRACE).await
    }

    /// Ends all speakers.
    ///
    /// # Errors
    /// If one can't be told to.
    pub async fn stop_speakers(&mut self) -> Result<(), Error> {
        while let Some((_, process)) = self.speakers.pop_first() {
            end(Some(process), SPEAKER_GRACE).await?;
        }
        Ok(())
    }

    /// Kills all speakers, as a crash does. What they wrote stays.
    pub fn kill_speakers(&mut self) {
        self.speakers.clear();
    }

    /// The processes that run, each with the name of its Pod.
    pub fn processes(&self) -> impl Iterator<Item = (String, &Process)> {
        let controller = self.controller.iter().map(|process| ("controller".to_owned(), process));
        controller.chain(self.speakers.iter().map(|(node, process)| (speaker_pod(node), process)))
    }

    /// The name of the FRRConfiguration that the speaker of a node writes.
    #[must_use]
    pub fn configuration(node: &str) -> String {
        format!("metallb-{node}")
    }

    async fn start_process(
        &self,
        binary: &str,
        pod: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Process, Error> {
        let port = free_port()?;
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig.display());
        let health = format!("--health-probe-port={port}");
        // Metrics go to any free port.
        let mut all = vec![kubeconfig.as_str(), "--port=0", &health];
        all.extend(arguments);
        let mut variables =
            vec![("METALLB_NAMESPACE", Self::NAMESPACE), ("METALLB_POD_NAME", pod), ("METALLB_BGP_TYPE", "frr-k8s")];
        variables.extend(environment);
        let log = self.directory.join(format!("metallb-{pod}.log"));
        let name = format!("MetalLB's {pod}");
        let mut process = Process::start(&name, &log, self.tools.join(binary), all, variables)?;
        let end = Instant::now() + wait::PATIENCE;
        while !is_healthy(port).await {
            if process.exited()?.is_some() || Instant::now() >= end {
                return Err(process.not_up("/healthz"));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(process)
    }
}

fn speaker_pod(node: &str) -> String {
    format!("speaker-{node}")
}

async fn is_healthy(port: u16) -> bool {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else { return false };
    let mut answer = String::new();
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await.is_ok()
        && stream.read_to_string(&mut answer).await.is_ok()
        && answer.contains(" 200 ")
}

/// How long a speaker may take to end, by MetalLB's own manifests; its controller has no time at all. Without an end to that
/// either takes half a minute.
const SPEAKER_GRACE: Duration = Duration::from_secs(2);

/// Tells a process to end, and kills it if it has not by then.
async fn end(process: Option<Process>, grace: Duration) -> Result<(), Error> {
    let Some(mut process) = process else { return Ok(()) };
    process.signal("TERM")?;
    let end = Instant::now() + grace;
    while process.exited()?.is_none() && Instant::now() < end {
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
