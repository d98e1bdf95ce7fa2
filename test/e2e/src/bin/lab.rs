//! `make lab`: a network to look around in, until Ctrl-C.

use std::{path::Path, process::ExitCode, time::Instant};

use clarion_e2e::{Error, Lab, Topology, service_with};
use serde_json::json;

fn main() -> ExitCode {
    let result = clarion_e2e::enter().and_then(|()| clarion_e2e::runtime()?.block_on(lab()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn lab() -> Result<(), Error> {
    let started = Instant::now();
    println!("Two routers, three nodes with FRR-K8s and FRR, a client, an API server and Clarion come up.");
    let mut lab = Topology::new()
        .nodes(&["node-a", "node-b", "node-c"])
        .router("tor-1", 64513)
        .router("tor-2", 64513)
        .client("client")
        .subnet("192.0.2.0/24", "2001:db8:1::/64", &["tor-1", "tor-2", "node-a", "node-b", "node-c"])
        .subnet("203.0.113.0/24", "2001:db8:2::/64", &["tor-1", "tor-2", "client"])
        .start()
        .await?;
    lab.reset().await?;
    let both = json!({"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"});
    lab.endpoints("web", &["node-a", "node-b"]).await?;
    lab.apply(&[service_with("web", &both)]).await?;
    lab.service("local", "Local", &["node-b"]).await?;
    let web = lab.addresses_of("web").await?;
    let (local, prefix) = lab.address_of("local").await?;
    let tor = lab.router("tor-1")?;
    tor.uses(&prefix, &[lab.node("node-b")?.v4.into()]).await?;
    let shown: Vec<_> = web.iter().map(ToString::to_string).collect();
    println!(
        "Up after {:.0} s. Service web has {}, local (from node-b alone) {local}.\n",
        started.elapsed().as_secs_f64(),
        shown.join(" and ")
    );
    print_commands(&lab, shown.first().map_or("", String::as_str))?;
    println!("\nCtrl-C ends it, and nothing of it stays.");
    std::future::pending().await
}

/// All that is needed to join in from another terminal.
fn print_commands(lab: &Lab, address: &str) -> Result<(), Error> {
    let clarion = clarion_envtest::Operator::binary()?;
    let bin = clarion.parent().unwrap_or(Path::new("/")).display();
    println!("In another terminal, as root, this enters the lab:\n");
    println!("  {} \\", clarion_e2e::way_in());
    println!("    env KUBECONFIG={} \\", lab.control_plane.kubeconfig().display());
    println!("    PATH={bin}:{}:$PATH bash\n", tools_path(lab));
    println!("There:\n");
    println!("  kubectl get clarion,services");
    println!("  kubectl get frrconfigurations -A -L clarionlb.io/layer");
    println!("  clarion status; clarion explain service default/web");
    println!("  clarion graph > graph.svg");
    for (name, space) in lab.spaces() {
        let command = match name {
            "client" => format!("sh -c 'for i in 1 2 3 4 5 6; do curl -s --http0.9 http://{address}; echo; done'"),
            node if node.starts_with("node") => "vtysh -c 'show running-config'".to_owned(),
            _ => "vtysh -c 'show bgp ipv4 unicast'".to_owned(),
        };
        println!("  nsenter -t {} -n -m -u {command}    # {name}", space.pid());
    }
    Ok(())
}

fn tools_path(lab: &Lab) -> String {
    lab.control_plane.kubectl_path().parent().map(|path| path.display().to_string()).unwrap_or_default()
}
