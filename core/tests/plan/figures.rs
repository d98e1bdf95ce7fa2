//! What metrics are made of.

use std::collections::BTreeSet;

use clarion_core::{
    PeerFigures, Stage, World, plan, plan_in_stages,
    world::{Family, ObjectName},
};

use crate::cluster::*;

fn pools(world: &World) -> Vec<(String, Family, f64, f64, f64)> {
    let pools = plan(world).figures.pools.into_iter();
    pools.map(|pool| (pool.name.clone(), pool.family, pool.total, pool.assigned, pool.available())).collect()
}

#[test]
fn pools_are_counted_by_family_however_large_they_are() {
    let mut world = world();
    service(&mut world, "s", 1, &[Family::V4]);
    settle(&mut world);
    let of_main = |assigned: f64| {
        [("main".to_owned(), Family::V4, 8.0, assigned, 8.0 - assigned), ("main".to_owned(), Family::V6, 8.0, 0.0, 8.0)]
    };
    assert_eq!(pools(&world), of_main(1.0));
    pool(&mut world, "all", &["fc00::/7"]);
    let all = pools(&world).into_iter().find(|(name, ..)| name == "all").unwrap();
    assert_eq!((all.2, all.4), (2_f64.powi(121), 2_f64.powi(121)));
    remove(&mut world.pools, &ObjectName::cluster("all"));
    remove(&mut world.services, &ObjectName::new("ns", "s"));
    settle(&mut world);
    assert_eq!(pools(&world), of_main(0.0));
}

#[test]
fn peers_are_counted_with_their_sessions_and_prefixes() {
    let mut world = world();
    service(&mut world, "s", 1, &[Family::V4]);
    service(&mut world, "t", 1, &[Family::V4, Family::V6]);
    settle(&mut world);
    let tor = PeerFigures { name: "tor".to_owned(), established: 0, down: 0, unknown: 2, prefixes: 3 };
    assert_eq!(plan(&world).figures.peers, [tor]);
    remove(&mut world.peers, &ObjectName::cluster("tor"));
    assert!(plan(&world).figures.peers.is_empty());
}

#[test]
fn what_changes_next_hops_is_a_node_and_not_how_much_is_announced_nor_how_that_is_cut() {
    let mut world = world();
    for n in 0..4 {
        service(&mut world, &format!("s{n}"), 1, &[Family::V4]);
    }
    settle(&mut world);
    let before = plan(&world).next_hops;
    assert_eq!(plan(&world).next_hops.changed_since(&before), 0);

    service(&mut world, "another", 2, &[Family::V4]);
    settle(&mut world);
    let more = plan(&world).next_hops;
    assert_eq!((more.changed_since(&before), before.changed_since(&more)), (0, 0), "it comes and goes");

    let objects = world.configurations.iter().count();
    world.settings.bounds.cell_load = 1;
    world.settings.bounds.shard_prefixes = 1;
    settle(&mut world);
    assert!(world.configurations.iter().count() > objects);
    assert_eq!(plan(&world).next_hops.changed_since(&more), 0, "how it is cut makes no difference");

    node(&mut world, "c");
    settle(&mut world);
    assert_eq!(plan(&world).next_hops.changed_since(&more), 5);
}

#[test]
fn the_stages_begin_in_their_order() {
    let mut begun = Vec::new();
    let observed = plan_in_stages(&world(), &mut |stage| begun.push(stage));
    assert_eq!(begun, Stage::ALL);
    assert_eq!(observed, plan(&world()));
    assert_eq!(Stage::ALL.map(Stage::name).into_iter().collect::<BTreeSet<_>>().len(), Stage::ALL.len());
}
