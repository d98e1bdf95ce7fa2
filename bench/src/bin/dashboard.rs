//! The dashboard with data of a real operator: users go on for some minutes, Prometheus scrapes, and each expression of the dashboard is
//! asked of it. Drawn in `docs/images/dashboard.svg`.

use std::{
    process::Command,
    time::{Duration, SystemTime},
};

use clap::Parser;
use clarion_bench::{Board, Churn, Line, Objects, Panel, Result, size};
use clarion_envtest::{ControlPlane, Operator, Process, crowd, free_port, repository, tools, wait};
use serde::Deserialize;
use serde_json::json;

/// How often it is scraped. Prometheus looks back over [`WINDOW`] for rates.
const SCRAPE: &str = "5s";
const WINDOW: &str = "1m";

/// Draws the dashboard with data of a real operator.
#[derive(Clone, Copy, Debug, Parser)]
struct Options {
    /// How long users go on.
    #[arg(long, default_value_t = 6)]
    minutes: u32,
    /// What they do, in actions a second.
    #[arg(long, default_value_t = 20)]
    rate: u32,
    /// Services that are there at any time.
    #[arg(long, default_value_t = 2_000)]
    services: usize,
    /// Nodes of the cluster.
    #[arg(long, default_value_t = 20)]
    nodes: usize,
}

/// The dashboard, as Grafana reads it.
#[derive(Deserialize)]
struct Dashboard {
    panels: Vec<Shown>,
}

#[derive(Deserialize)]
struct Shown {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    #[serde(default)]
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    expr: String,
    #[serde(default, rename = "legendFormat")]
    legend: String,
}

/// What Prometheus answers: labels, and numbers by time.
#[derive(Deserialize)]
struct Answer {
    metric: std::collections::BTreeMap<String, String>,
    values: Vec<(f64, String)>,
}

/// Prometheus, which scrapes one address.
struct Prometheus {
    server: String,
    _process: Process,
}

impl Prometheus {
    async fn start(control_plane: &ControlPlane, target: &str) -> Result<Self> {
        let directory = control_plane.directory();
        let configuration = json!({
            "global": {"scrape_interval": SCRAPE},
            "scrape_configs": [{"job_name": "clarion", "static_configs": [{"targets": [target]}]}],
        });
        let file = directory.join("prometheus.yaml");
        std::fs::write(&file, configuration.to_string())?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", directory.join("prometheus").display()),
            format!("--web.listen-address={address}"),
        ];
        let program = tools("prometheus")?.join("prometheus");
        let environment: [(&str, &str); 0] = [];
        let process = Process::start("prometheus", &directory.join("prometheus.log"), program, arguments, environment)?;
        let this = Self { server: format!("http://{address}"), _process: process };
        let now = seconds()?;
        wait::until("Prometheus to have scraped", async || {
            let found = this.query("up", (now, now + 60.0)).map_err(|error| error.to_string())?;
            if found.is_empty() { Err("nothing was scraped yet".to_owned()) } else { Ok(()) }
        })
        .await?;
        Ok(this)
    }

    /// What an expression has been over a time.
    fn query(&self, expression: &str, (start, end): (f64, f64)) -> Result<Vec<Answer>> {
        let output = Command::new(tools("prometheus")?.join("promtool"))
            .args(["query", "range", "--format", "json", "--step", SCRAPE])
            .args(["--start", &start.to_string(), "--end", &end.to_string(), &self.server, expression])
            .output()?;
        if !output.status.success() {
            return Err(format!("{expression}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

impl Target {
    /// The lines of the panel, with minutes from the beginning.
    fn lines(&self, prometheus: &Prometheus, (start, end): (f64, f64)) -> Result<Vec<Line>> {
        let expression = self.expr.replace("$__rate_interval", WINDOW);
        let lines = prometheus.query(&expression, (start, end))?.into_iter().map(|answer| {
            let name = answer
                .metric
                .iter()
                .fold(self.legend.clone(), |legend, (label, value)| legend.replace(&format!("{{{{{label}}}}}"), value));
            let points = answer.values.iter().filter_map(|(time, value)| {
                let value: f64 = value.parse().ok()?;
                value.is_finite().then_some(((time - start) / 60.0, value))
            });
            Line { name, points: points.collect() }
        });
        Ok(lines.collect())
    }
}

/// Since 1970.
fn seconds() -> Result<f64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64().floor())
}

#[tokio::main]
async fn main() -> Result<()> {
    let Options { minutes, rate, services, nodes } = Options::parse();
    let control_plane = ControlPlane::with_frr_k8s().await?;
    crowd::configure(&control_plane).await?;
    let objects = Objects::of(control_plane.client(), nodes);
    println!("creating {}", size(services, nodes));
    objects.create_all(services).await?;
    let mut operator = Operator::start_as_shipped(&control_plane)?;
    let prometheus = Prometheus::start(&control_plane, &operator.address().to_string()).await?;
    operator.leading().await?;

    println!("{rate} actions a second for {minutes} minutes");
    let start = seconds()?;
    let count = usize::try_from(u64::from(rate) * 60 * u64::from(minutes))?;
    let mut churn = Churn::of(services, 0..nodes);
    crowd::paced(rate, churn.by_ref().take(count), async |action| objects.perform(action).await).await?;
    // What was scraped last is there.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let end = seconds()?;

    let path = repository().join("charts/clarion/files/dashboard.json");
    let dashboard: Dashboard = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let mut panels = Vec::new();
    for shown in dashboard.panels.iter().filter(|shown| shown.kind == "timeseries") {
        let mut lines = Vec::new();
        for target in &shown.targets {
            lines.extend(target.lines(&prometheus, (start, end))?);
        }
        if lines.is_empty() {
            println!("{}: no data", shown.title);
        }
        panels.push(Panel { title: shown.title.clone(), lines });
    }
    let board = Board { x: "minutes", end: (end - start) / 60.0 };
    board.draw(&repository().join("docs/images/dashboard.svg"), &panels)
}
