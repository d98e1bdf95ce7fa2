//! What the allocator takes beside the World: see "max alloc", the most that was allocated at one time.

use std::hint::black_box;

use clarion_bench::worlds::services;
use clarion_core::{Findings, allocate::allocate, config};

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
