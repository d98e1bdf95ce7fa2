//! The allocator alone: filling a pool, doing nothing, one more Service, and how the time grows with what users write.

use std::hint::black_box;

use clarion_api::{AddressReservationSpec, LoadBalancerPoolSpec, reservation::AddressReservationStatus};
use clarion_bench::worlds::{custom, from, object, services};
use clarion_core::{Findings, World, allocate::allocate, config, world::Custom};
use serde_json::json;

fn main() {
    divan::main();
}

/// Times the allocation of a world whose configuration is checked already, with everything announced that is held.
fn time(bencher: divan::Bencher, world: &World) {
    let config = config::check(world, &mut Findings::default());
    let announced = world.services.iter().flat_map(|service| service.value.addresses.clone()).collect();
    bencher.bench_local(|| {
        let allocation = allocate(world, &config, &announced, &mut Findings::default());
        black_box(allocation.seats().filter(|seated| !seated.kept().is_empty()).count())
    });
}

/// An empty /16, and 16,000 Services that wait.
#[divan::bench(sample_count = 20)]
fn fill_with_16_000(bencher: divan::Bencher) {
    let mut world = services(16_000, |_| false);
    let pool: LoadBalancerPoolSpec = from(json!({"addresses": ["10.0.0.0/16"]}));
    world.pools = [custom("pool", pool)].into_iter().collect();
    time(bencher, &world);
}

/// 100,000 Services that all have an address.
#[divan::bench(sample_count = 20)]
fn nothing_new_of_100_000(bencher: divan::Bencher) {
    time(bencher, &services(100_000, |_| true));
}

/// The same and a new one, which gets the address behind all others.
#[divan::bench(sample_count = 20)]
fn one_new_of_100_000(bencher: divan::Bencher) {
    time(bencher, &services(100_000, |n| n < 99_999));
}

/// 100,000 Services that all asked for the address that they have.
#[divan::bench(sample_count = 10)]
fn nothing_new_of_100_000_that_asked(bencher: divan::Bencher) {
    let mut world = services(100_000, |_| true);
    let addresses: Vec<String> =
        world.services.iter().flat_map(|service| service.value.addresses.iter().map(ToString::to_string)).collect();
    world.services = annotated(&world, |n| {
        let address = addresses.get(n).cloned().unwrap_or_default();
        vec![("metallb.io/loadBalancerIPs", address)]
    });
    time(bencher, &world);
}

/// 100,000 Services whose addresses are all reserved for them, as `clarion reserve -A` does.
#[divan::bench(sample_count = 10)]
fn nothing_new_of_100_000_reserved(bencher: divan::Bencher) {
    let mut world = services(100_000, |_| true);
    let reservations = world.services.iter().map(|service| {
        let addresses: Vec<String> = service.value.addresses.iter().map(ToString::to_string).collect();
        let name = &service.meta.name;
        let spec: AddressReservationSpec =
            from(json!({"poolName": "pool", "serviceName": name.name.as_str(), "addresses": addresses}));
        let status = AddressReservationStatus { addresses, ..AddressReservationStatus::default() };
        object(name.clone(), Custom { spec: Ok(spec), status: Some(status) })
    });
    world.reservations = reservations.collect();
    time(bencher, &world);
}

/// A thousand waiting Services, and pools that have nothing for them, then one that has.
#[divan::bench(args = [100, 1_000, 10_000], sample_count = 10)]
fn full_pools(bencher: divan::Bencher, pools: usize) {
    let mut world = services(1_000, |_| false);
    let spec = |n: usize| -> LoadBalancerPoolSpec {
        from(json!({
            "addresses": [if n == pools { "11.0.0.0/16".to_owned() } else { format!("10.{}.{}.0/32", n / 256, n % 256) }],
            "serviceAllocation": {"priority": n + 1, "namespaces": ["ns1", "ns2", "ns3"]},
        }))
    };
    world.pools = (0..=pools).map(|n| custom(&format!("p{n:05}"), spec(n))).collect();
    time(bencher, &world);
}

/// A thousand Services, each for one of as many pools by its label.
#[divan::bench(args = [100, 1_000, 10_000], sample_count = 10)]
fn labelled_pools(bencher: divan::Bencher, pools: usize) {
    let mut world = services(1_000, |_| false);
    let labelled = world.services.iter().enumerate().map(|(n, service)| {
        let mut service = service.clone();
        service.meta.labels.insert("app".to_owned(), format!("a{}", n % pools));
        service
    });
    world.services = labelled.collect();
    let spec = |n: usize| -> LoadBalancerPoolSpec {
        from(json!({
            "addresses": [format!("10.{}.{}.0/28", n / 256, n % 256)],
            "serviceAllocation": {"serviceSelectors": [{"matchLabels": {"app": format!("a{n}")}}]},
        }))
    };
    world.pools = (0..pools).map(|n| custom(&format!("p{n:05}"), spec(n))).collect();
    time(bencher, &world);
}

/// Checking pools with as many ranges as the CRD permits, each overlapping with the one before.
#[divan::bench(args = [10, 100, 1_000], sample_count = 10)]
fn check_overlapping_pools_of_512_ranges(bencher: divan::Bencher, pools: usize) {
    let spec = |n: usize| -> LoadBalancerPoolSpec {
        let ranges = (0..512).map(|range| {
            let first = range * 1024 + n;
            let address = |n: usize| format!("10.{}.{}.{}", n >> 16, (n >> 8) & 255, n & 255);
            format!("{}-{}", address(first), address(first + 1))
        });
        from(json!({"addresses": ranges.collect::<Vec<_>>()}))
    };
    let world = World { pools: (0..pools).map(|n| custom(&format!("p{n:05}"), spec(n))).collect(), ..World::default() };
    bencher.bench_local(|| black_box(config::check(&world, &mut Findings::default())));
}

/// Services of one sharing key that all have the same port, so that none can join another.
#[divan::bench(args = [100, 1_000, 10_000], sample_count = 10)]
fn sharers_that_clash(bencher: divan::Bencher, count: usize) {
    let mut world = services(count, |_| false);
    world.services = annotated(&world, |_| vec![("clarionlb.io/allow-shared-ip", "key".to_owned())]);
    time(bencher, &world);
}

/// Services that all share one address.
#[divan::bench(args = [100, 1_000, 10_000], sample_count = 10)]
fn sharers_of_one_address(bencher: divan::Bencher, count: usize) {
    let mut world = services(count, |_| false);
    world.services = annotated(&world, |_| vec![("metallb.io/allow-shared-ip", "key".to_owned())]);
    world.settings.metallb_shares_across_namespaces = true;
    let ports = world.services.iter().zip(1_u16..).map(|(service, number)| {
        let mut service = service.clone();
        service.value.ports.iter_mut().for_each(|port| port.number = number);
        service
    });
    world.services = ports.collect();
    time(bencher, &world);
}

/// Services with annotations of 256 KiB.
#[divan::bench(args = [10, 100], sample_count = 10)]
fn annotations_of_256_kib(bencher: divan::Bencher, count: usize) {
    let mut world = services(count, |_| false);
    world.services = annotated(&world, |n| {
        vec![
            ("clarionlb.io/allow-shared-ip", format!("{n}{}", "k".repeat(128 * 1024))),
            ("clarionlb.io/loadBalancerIPs", "10.0.0.1,".repeat(14 * 1024)),
        ]
    });
    time(bencher, &world);
}

fn annotated(
    world: &World,
    annotations: impl Fn(usize) -> Vec<(&'static str, String)>,
) -> clarion_core::world::Collection<clarion_core::world::Service> {
    let services = world.services.iter().enumerate().map(|(n, service)| {
        let mut service = service.clone();
        service.value.annotations = annotations(n).into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        service
    });
    services.collect()
}
