//! What a process takes for the outcome of a write is what has become of it, whatever is lost or late.

use std::time::Duration;

use clarion_core::{
    Precondition, ServiceStatusWrite, World, Write,
    world::{Kind, ObjectName, ObjectRef},
};
use serde_json::json;
use smol_str::SmolStr;
use tokio::time::sleep;

use super::{
    Epoch,
    judge::Judge,
    link::{Link, Weather},
    store::{Key, Store},
};
use crate::{apply::Writer, clock::Clock};

/// Gives a Service an address in this weather; what the process knows of it then, and what is so in the end.
async fn give(seed: u64, weather: Weather) -> (Vec<String>, Vec<String>) {
    let epoch = Epoch::begin();
    let store = Store::new(epoch, Judge::new(epoch));
    let key = Key::new("services", "default", "web");
    let spec = json!({"type": "LoadBalancer", "loadBalancerClass": "clarionlb.io/bgp", "ports": [{"port": 80}]});
    store.apply("services", json!({"metadata": {"namespace": "default", "name": "web"}, "spec": spec}));
    let there = store.get(&key);
    let text = |field: &str| SmolStr::from(there["metadata"][field].as_str().unwrap());
    let link = Link::new("clarion", store.clone(), seed, weather);
    let writer = Writer::new(link.client(), Duration::from_secs(4), Clock::system());
    let name = ObjectName::new("default", "web");
    let write = ServiceStatusWrite {
        name: name.clone(),
        precondition: Precondition { uid: text("uid"), resource_version: text("resourceVersion") },
        addresses: Some(vec!["198.51.100.1".parse().unwrap()]),
        conditions: Vec::new(),
        remove_conditions: Vec::new(),
        event: None,
    };
    let outcome = writer.perform(Write::ServiceStatus(write)).await;
    assert_eq!(outcome.object, ObjectRef::new(Kind::Service, name.clone()));
    let mut world = World::default();
    (outcome.apply)(&mut world);
    let known = world.services.get(&name).into_iter().flat_map(|service| &service.value.addresses);
    let known = known.map(ToString::to_string).collect();
    sleep(Duration::from_secs(60)).await;
    let ingress = store.get(&key)["status"]["loadBalancer"]["ingress"].as_array().cloned().unwrap_or_default();
    (known, ingress.iter().map(|ingress| ingress["ip"].as_str().unwrap().to_owned()).collect())
}

#[rstest::rstest]
#[case::nothing_goes_wrong(Weather::FAIR)]
#[case::answers_are_lost(Weather { unanswered: 0.5, ..Weather::FAIR })]
#[case::requests_are_lost(Weather { lost: 0.5, ..Weather::FAIR })]
#[case::it_takes_longer_than_it_may(Weather { slow: 1.0, ..Weather::FAIR })]
#[case::it_takes_longer_than_it_may_and_answers_are_lost(Weather { slow: 1.0, unanswered: 0.5, ..Weather::FAIR })]
#[case::there_is_too_much_to_do(Weather { refused: 0.5, slow: 0.5, ..Weather::FAIR })]
fn an_outcome_is_what_has_become_of_the_write(#[case] weather: Weather) {
    for seed in 0..200 {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        let (known, so) = runtime.block_on(give(seed, weather));
        assert_eq!(known, so, "seed {seed}");
    }
}
