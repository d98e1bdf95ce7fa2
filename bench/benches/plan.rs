//! How long a plan takes, by Services and nodes, with nothing to be done and with everything to be done.

mod worlds;

use std::hint::black_box;

use clarion_core::{plan, replay};
use worlds::world;

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
    let mut world = world(services, nodes);
    loop {
        let writes = plan(&world).writes;
        if writes.is_empty() {
            break;
        }
        writes.iter().for_each(|write| replay::land(&mut world, write));
    }
    bencher.bench_local(|| black_box(plan(black_box(&world))));
}
