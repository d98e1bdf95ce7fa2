//! How long a plan takes, by Services and nodes, with nothing to be done, with one thing and with everything to be done.

use std::hint::black_box;

use clarion_bench::worlds::{
    EDITS, add_cluster, backlog, change_hold_time, settled, world, world_of_racks, world_with_local,
};
use clarion_core::plan;

fn main() {
    divan::main();
}

const SIZES: [(usize, usize); 3] = [(1_000, 10), (10_000, 100), (100_000, 1_000)];

/// Everything is new: each Service waits for an address.
#[divan::bench(args = SIZES, sample_count = 10)]
fn all_new(bencher: divan::Bencher, (services, nodes): (usize, usize)) {
    let world = world(services, nodes);
    bencher.bench_local(|| black_box(plan(black_box(&world))));
}

/// Everything is done: each Service has an address, which is announced.
#[divan::bench(args = SIZES, sample_count = 10)]
fn nothing_new(bencher: divan::Bencher, (services, nodes): (usize, usize)) {
    let world = settled(world(services, nodes));
    bencher.bench_local(|| black_box(plan(black_box(&world))));
}

/// Everything is done but for one more Service of the policy Cluster, where nodes have routes of their own: by nodes, and
/// Services of the policies Cluster and Local.
#[divan::bench(args = [(100, 1_000, 100), (100, 9_000, 100), (1_000, 5_000, 0), (1_000, 10_000, 1_000)], sample_count = 10)]
fn one_more(bencher: divan::Bencher, (nodes, cluster, local): (usize, usize, usize)) {
    let mut world = settled(world_with_local(nodes, cluster, local));
    add_cluster(&mut world, "late", [10, 200, 0, 1].into());
    bencher.bench_local(|| black_box(plan(black_box(&world))));
}

/// Fifty Services come while everything else is done: by Services and nodes.
#[divan::bench(args = [(5_000, 1_000), (10_000, 1_000), (50_000, 100)], sample_count = 5)]
fn fifty_more(bencher: divan::Bencher, (services, nodes): (usize, usize)) {
    let mut world = settled(world(services, nodes));
    (0..50).for_each(|n| add_cluster(&mut world, &format!("late{n}"), [10, 200, 0, n].into()));
    bencher.bench_local(|| black_box(plan(black_box(&world))));
}

/// Services come and go faster than FRRConfigurations can be written, for as long as it takes to write each of them once.
#[divan::bench(args = [(5_000, 1_000), (10_000, 1_000)], sample_count = 10)]
fn behind(bencher: divan::Bencher, (services, nodes): (usize, usize)) {
    let world = backlog(settled(world(services, nodes)), 5, 16);
    bencher.bench_local(|| black_box(plan(black_box(&world))));
}

/// One Service more doubles the number of cells: the first of all the plans that it takes.
#[divan::bench(args = [(50_000, 100)], sample_count = 3)]
fn more_cells(bencher: divan::Bencher, (services, nodes): (usize, usize)) {
    let mut world = settled(world(services, nodes));
    add_cluster(&mut world, "late", [10, 200, 0, 1].into());
    bencher.bench_local(|| black_box(plan(black_box(&world))));
}

/// A hold time changes, which every object of the session has: the first of all the plans that it takes.
#[divan::bench(args = [(100, 5_000), (1_000, 5_000)], sample_count = 10)]
fn hold_time(bencher: divan::Bencher, (nodes, services): (usize, usize)) {
    let mut world = settled(world(services, nodes));
    change_hold_time(&mut world);
    bencher.bench_local(|| black_box(plan(black_box(&world))));
}

/// Nothing is new, in a cluster of 1,000 nodes in 20 classes with 5,000 Services: by FRRConfigurations of users.
#[divan::bench(args = [0, 200], sample_count = 20)]
fn beside_others(bencher: divan::Bencher, users: usize) {
    let world = settled(world_of_racks(5_000, 1_000, 20, users));
    bencher.bench_local(|| black_box(plan(black_box(&world))));
}

/// Edits of 10,000 Services on 1,000 nodes that concern all of them.
#[divan::bench(args = EDITS.map(|(name, _)| name), sample_count = 3)]
fn edits(bencher: divan::Bencher, name: &str) {
    let Some((_, world)) = EDITS.iter().find(|(known, _)| *known == name) else { return };
    let world = world(10_000, 1_000);
    bencher.bench_local(|| black_box(plan(black_box(&world))));
}
