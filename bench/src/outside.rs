use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use clarion_api::frr::FRRConfiguration;
use clarion_envtest::crowd::addresses;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client, ResourceExt as _};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    contents::{Contents, prefixes},
    ledger::{Ledger, Times},
    locked,
    wire::{Meter, News, Traffic, Wire},
};

/// What anybody can see of the operator's work: Services with their addresses, and FRRConfigurations.
#[derive(Debug)]
pub struct Outside {
    services: Meter,
    configurations: Meter,
    ledger: Arc<Mutex<Ledger>>,
    written: Arc<Mutex<Written>>,
    /// End with this.
    _tasks: JoinSet<()>,
}

/// What the FRRConfigurations come to.
#[derive(Debug, Default)]
struct Written {
    contents: Contents,
    /// For how many pairs of a node and a prefix each object is.
    pairs: BTreeMap<String, usize>,
    times: Times,
}

impl Outside {
    /// Begins to watch the Services of the default namespace and the FRRConfigurations of FRR-K8s's.
    #[must_use]
    pub fn watch(client: &Client) -> Self {
        let services = Wire::watch(Api::default_namespaced(client.clone()));
        let configurations = Wire::watch(Api::namespaced(client.clone(), "frr-k8s-system"));
        let (ledger, written) = (Arc::<Mutex<Ledger>>::default(), Arc::<Mutex<Written>>::default());
        let meters = (services.meter(), configurations.meter());
        let mut tasks = JoinSet::new();
        tasks.spawn(watch_services(services, Arc::clone(&ledger)));
        tasks.spawn(watch_configurations(configurations, Arc::clone(&written)));
        Self { services: meters.0, configurations: meters.1, ledger, written, _tasks: tasks }
    }

    /// Writes of Services up to now, whoever did them.
    #[must_use]
    pub fn services(&self) -> Traffic {
        self.services.traffic()
    }

    /// Writes of FRRConfigurations up to now.
    #[must_use]
    pub fn configurations(&self) -> Traffic {
        self.configurations.traffic()
    }

    /// What is known of Services. Their addresses are entered as they are seen.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        locked(&self.ledger)
    }

    /// For how many pairs of a node and a prefix there is an FRRConfiguration; one that is in two objects at the moment counts
    /// twice.
    #[must_use]
    pub fn pairs(&self) -> usize {
        locked(&self.written).pairs.values().sum()
    }

    /// When prefixes appeared in any FRRConfiguration, since the last call.
    #[must_use]
    pub fn take_times(&self) -> Times {
        std::mem::take(&mut locked(&self.written).times)
    }
}

async fn watch_services(mut wire: Wire<Service>, ledger: Arc<Mutex<Ledger>>) {
    while let Some((news, at)) = wire.next().await {
        let services = match news {
            News::All(services) => services,
            News::Is(service) => vec![service],
            // What is deleted here was asked for here.
            News::Gone(_) => continue,
        };
        for service in services {
            if let Some(prefix) = prefix(&service) {
                locked(&ledger).addressed(service.name_any(), prefix, at);
            }
        }
    }
}

/// The prefix that the first address of a Service is announced as.
fn prefix(service: &Service) -> Option<IpNet> {
    addresses(service).first().copied().map(IpNet::from)
}

async fn watch_configurations(mut wire: Wire<FRRConfiguration>, written: Arc<Mutex<Written>>) {
    while let Some((news, at)) = wire.next().await {
        locked(&written).take(news, at);
    }
}

impl Written {
    fn take(&mut self, news: News<FRRConfiguration>, at: Instant) {
        for (name, object) in news.by_name(self.pairs.keys().cloned()) {
            let prefixes = object.as_ref().map(prefixes).unwrap_or_default();
            match object.map(|object| hosts(&object) * prefixes.len()) {
                Some(pairs) => self.pairs.insert(name.clone(), pairs),
                None => self.pairs.remove(&name),
            };
            self.times.add(self.contents.set(&name, prefixes).appeared, at);
        }
    }
}

/// How many hosts an object of Clarion's selects: it names each.
fn hosts(object: &FRRConfiguration) -> usize {
    let selectors = object.spec.node_selector.iter();
    let expressions = selectors.flat_map(|selector| selector.match_expressions.iter().flatten());
    expressions.map(|expression| expression.values.iter().flatten().count()).sum()
}
