//! How the time of a plan grows with Services and with nodes, as charts, and the figures for plans and the allocator.

use std::{
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

use clarion_api::LoadBalancerPoolSpec;
use clarion_bench::{
    Bound, Figure, Growth, Result, Series, milliseconds, size,
    worlds::{self, settled},
};
use clarion_core::{Findings, World, allocate::allocate, config, plan};
use clarion_envtest::repository;
use serde_json::json;

const ROUNDS: usize = 7;
const SERVICES: [usize; 7] = [1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000];
const NODES: [usize; 6] = [10, 30, 100, 300, 1_000, 3_000];
/// Nodes while Services grow, and Services while nodes do.
const FIXED: (usize, usize) = (100, 10_000);

fn main() -> Result<()> {
    let images = repository().join("docs/images");
    chart(&images.join("plan-services.svg"), "A plan with 100 nodes", "Services", SERVICES.map(|n| (n, FIXED.0, n)))?;
    chart(&images.join("plan-nodes.svg"), "A plan of 10,000 Services", "nodes", NODES.map(|n| (FIXED.1, n, n)))?;

    for (services, nodes, bound) in [(10_000, 100, 25.0), (100_000, 1_000, 1000.0)] {
        let size = size(services, nodes);
        let waiting = worlds::world(services, nodes);
        figure(&format!("a plan, {size}, all new"), bound, time_of_plan(&waiting))?;
        figure(&format!("a plan, {size}, nothing new"), bound, time_of_plan(&settled(waiting)))?;
    }

    let mut world = worlds::services(16_000, |_| false);
    let pool: LoadBalancerPoolSpec = worlds::from(json!({"addresses": ["10.0.0.0/16"]}));
    world.pools = [worlds::custom("pool", pool)].into_iter().collect();
    let config = config::check(&world, &mut Findings::default());
    let announced = Default::default();
    let fill = || drop(black_box(allocate(&world, &config, &announced, &mut Findings::default())));
    figure("16,000 Services into an empty /16, the allocator alone", 50.0, median(fill))
}

fn figure(name: &str, bound: f64, reached: Duration) -> Result<()> {
    Figure::record(name, "ms", Bound::AtMost(bound), milliseconds(reached))
}

/// Draws three lines: every Service is new, nothing is, and one is. Each size is the number of Services, of nodes, and which of
/// both is on the axis.
fn chart<const N: usize>(path: &Path, title: &str, x: &str, sizes: [(usize, usize, usize); N]) -> Result<()> {
    let mut series = ["every Service is new", "one Service is new", "nothing is new"]
        .map(|name| Series { name, points: Vec::with_capacity(N) });
    for (services, nodes, at) in sizes {
        let waiting = worlds::world(services, nodes);
        let all = time_of_plan(&waiting);
        let mut world = settled(waiting);
        let nothing = time_of_plan(&world);
        worlds::add_cluster(&mut world, "late", [10, 255, 255, 1].into());
        let one = time_of_plan(&world);
        println!(
            "{services:>7} Services x {nodes:>5} nodes: all new {all:>8.1?}, one new {one:>8.1?}, nothing new {nothing:>8.1?}"
        );
        let at = f64::from(u32::try_from(at)?);
        for (series, took) in series.iter_mut().zip([all, one, nothing]) {
            series.points.push((at, milliseconds(took)));
        }
    }
    Growth { title, x, y: "milliseconds" }.draw(path, &series)
}

fn time_of_plan(world: &World) -> Duration {
    median(|| drop(black_box(plan(world))))
}

/// The median of a few times; each world is the same as before.
fn median(mut action: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            action();
            started.elapsed()
        })
        .collect();
    times.sort();
    times.get(ROUNDS / 2).copied().unwrap_or_default()
}
