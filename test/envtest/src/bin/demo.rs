//! `make demo`: a Service gets an address that a real FRR-K8s daemon announces, told step by step.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Instant,
};

use clarion_envtest::{ControlPlane, Daemon, Operator, manifests, repository, tools, wait};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let keep = std::env::var("KEEP").is_ok_and(|keep| !keep.is_empty() && keep != "0");
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("demo: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        tokio::select! {
            result = demo(keep) => result,
            _ = tokio::signal::ctrl_c() => {
                say("Interrupted; cleaning up.");
                Ok(())
            }
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe demonstration failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) {
    println!("{text}");
    let _ = io::stdout().flush();
}

fn step(number: u32, text: &str) {
    say(&format!("\n{number}. {text}"));
}

/// Shows a command and what it prints, indented.
fn show(control_plane: &ControlPlane, arguments: &[&str]) -> Result<()> {
    let shown: Vec<_> =
        arguments.iter().map(|a| if a.contains(['{', '*']) { format!("'{a}'") } else { (*a).to_owned() }).collect();
    say(&format!("\n   $ kubectl {}", shown.join(" ")));
    for line in control_plane.kubectl(arguments)?.lines() {
        say(&format!("   {line}"));
    }
    Ok(())
}

async fn demo(keep: bool) -> Result<()> {
    let started = Instant::now();
    say("Clarion gives Services of type LoadBalancer an address, and gets it announced over BGP by FRR-K8s.");
    say("This demonstration runs real parts on this machine: etcd, kube-apiserver, and FRR-K8s's controller for");
    say("two nodes. No router, no root, no container. On the first run these are downloaded and built, which");
    say("takes about 10 minutes on 2 cores; after that they are at hand.");

    step(1, "The control plane starts, and FRR-K8s is installed.");
    tools("kubernetes")?;
    tools("frr-k8s")?;
    Operator::binary()?;
    let control_plane = ControlPlane::with_frr_k8s().await?;
    control_plane.apply(&manifests(&repository().join("test/demo/cluster.yaml"))?).await?;
    let daemons = [Daemon::start(&control_plane, "node-a")?, Daemon::start(&control_plane, "node-b")?];
    show(&control_plane, &["get", "nodes", "-o", "name"])?;

    step(
        2,
        "Clarion is installed with kubectl apply -k config/; its operator runs as a process here, with just these rights.",
    );
    let mut operator = Operator::start(&control_plane)?;
    operator.leading().await?;
    show(&control_plane, &["api-resources", "--api-group=clarionlb.io"])?;

    step(3, "You say which addresses there are, who the router is, and what it is told; and you create two Services.");
    show(&control_plane, &["apply", "-f", "docs/examples/quickstart/"])?;

    step(4, "Clarion gives each Service the lowest free address of each IP family that it asks for.");
    wait::until("an EXTERNAL-IP for each Service", async || {
        let path = "jsonpath={.items[*].status.loadBalancer.ingress[*].ip}";
        let addresses = control_plane.kubectl(&["get", "services", "web", "dns", "-o", path]);
        let addresses = addresses.map_err(|error| error.to_string())?;
        if addresses.split_whitespace().count() == 3 { Ok(()) } else { Err(addresses) }
    })
    .await?;
    show(&control_plane, &["get", "services", "web", "dns"])?;
    wait::until("the count of the pool", async || {
        let table = control_plane.kubectl(&["get", "lbpool"]).map_err(|error| error.to_string())?;
        if table.contains("IPv4 2/16, IPv6 1/16") { Ok(()) } else { Err(table) }
    })
    .await?;
    show(&control_plane, &["get", "clarion"])?;
    say("\n   ESTABLISHED is 0: there is no router here to have a session with.");

    step(
        5,
        "It writes one FRRConfiguration for both nodes. FRR-K8s merges it with what others wrote for the same nodes.",
    );
    show(&control_plane, &["get", "frrconfigurations", "-A", "-L", "clarionlb.io/layer"])?;
    let path = "jsonpath={range .items[*]}{.metadata.annotations.clarionlb\\.io/summary}{\"\\n\"}{.spec.bgp.routers[*].prefixes}{\"\\n\"}{end}";
    show(&control_plane, &["get", "frrconfigurations", "-n", "frr-k8s-system", "-o", path])?;

    step(6, "The daemon of each node accepts it.");
    wait::until("a successful conversion on both nodes", async || {
        let path = "jsonpath={.items[*].status.lastConversionResult}";
        let results =
            control_plane.kubectl(&["get", "frrnodestates", "-o", path]).map_err(|error| error.to_string())?;
        if results == "success success" { Ok(()) } else { Err(results) }
    })
    .await?;
    let columns = "custom-columns=NODE:.metadata.name,CONVERSION:.status.lastConversionResult";
    show(&control_plane, &["get", "frrnodestates", "-o", columns])?;

    step(7, "And this is what FRR is told on node-a: a router that has a session with it would learn these routes.");
    wait::until("three networks in FRR's configuration", async || {
        let networks = daemons.iter().map(|daemon| daemon.networks().len()).collect::<Vec<_>>();
        if networks == [3, 3] { Ok(()) } else { Err(format!("{networks:?}")) }
    })
    .await?;
    let [daemon, _] = &daemons;
    let configuration = daemon.configuration();
    let lines = configuration.lines().filter(|line| {
        let line = line.trim();
        line.starts_with("router bgp") || line.starts_with("network ") || line.contains("remote-as")
    });
    say("\n   $ grep -E 'router bgp|remote-as|network' frr.conf");
    lines.for_each(|line| say(&format!("   {line}")));

    say(&format!("\nDone in {:.0} seconds.", started.elapsed().as_secs_f64()));
    if keep {
        say("\nEverything is left running. In another terminal:\n");
        say(&format!("   export KUBECONFIG={}", control_plane.kubeconfig().display()));
        say(&format!("   alias kubectl={}", control_plane.kubectl_path().display()));
        say("\nCtrl-C here ends it and cleans up.");
        std::future::pending::<()>().await;
    } else {
        say("Cleaning up. `make demo KEEP=1` leaves it running, to look around.");
    }
    Ok(())
}
