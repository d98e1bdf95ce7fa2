//! What plans take beside the World: see "max alloc", the most that was allocated at one time.

use std::hint::black_box;

use clarion_bench::worlds::{backlog, services, settled, world};
use clarion_core::{Findings, allocate::allocate, config, plan};

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = [1_000, 10_000, 70_000, 100_000], sample_count = 3)]
fn held_addresses(bencher: divan::Bencher, count: usize) {
    let world = services(count, |_| true);
    let config = config::check(&world, &mut Findings::default());
    let announced = world.services.iter().flat_map(|service| service.value.addresses.clone()).collect();
    bencher.bench_local(|| {
        let allocation = allocate(&world, &config, &announced, &mut Findings::default());
        black_box(allocation.seats().count())
    });
}

/// No two FRRConfigurations are of the same time, so that none has anything in common with another: the whole plan.
#[divan::bench(args = [(10_000, 64), (100_000, 128)], sample_count = 1)]
fn behind(bencher: divan::Bencher, (count, written): (usize, usize)) {
    let world = backlog(settled(world(count, 1_000)), 64, written);
    bencher.bench_local(|| black_box(plan(&world)));
}
