//! Reflectors: watches that keep a [`World`] up to date, holding no more of each object than a plan needs.

mod node_states;
mod partial;
mod permitted;
mod project;
mod protobuf;
mod reflector;

use std::time::Duration;

use clarion_core::{
    World,
    world::{Collection, Kind, Object, Settings},
};
use futures::{FutureExt as _, future::BoxFuture};
use kube::{
    Api, Client,
    api::{ListParams, ObjectList},
};
pub use project::{Advertisement, Aliases, Peer, Pool, Reservation};
use reflector::{Closed, Event, Reflector};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::telemetry::Metrics;

/// A kind that is watched, as the [`World`] keeps it.
pub trait Watched: Clone + PartialEq + Send + Sized + 'static {
    /// The kind as the API server gives it.
    type Source: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static;

    /// Its name.
    const KIND: Kind;
    /// Clarion can do without: FRR-K8s may not be installed, or the API server too old.
    const OPTIONAL: bool = false;
    /// Only the object of this name is looked at.
    const ONLY: Option<&str> = None;
    /// Objects of one page of a list. The API server's work for a page hardly depends on its size: one is best.
    const PAGE: u32 = 10_000;

    /// Takes from an object what a plan needs.
    fn project(source: Self::Source) -> Object<Self>;
    /// Where the world keeps this kind.
    fn collection(world: &mut World) -> &mut Collection<Self>;

    /// Makes an object one of the world's, before it goes into its collection.
    fn settle(_world: &mut World, object: Object<Self>) -> Object<Self> {
        object
    }

    /// Asks for a page of a list.
    fn page<'a>(client: &'a Client, parameters: &'a ListParams) -> Listing<'a, Self> {
        let api = Api::<Self::Source>::all_with(client.clone(), &());
        async move { Ok(api.list(parameters).await?.into()) }.boxed()
    }
}

/// A page of a list.
pub struct Page<K> {
    /// The objects.
    pub items: Vec<K>,
    /// What the next page is asked for by, if there is one.
    pub next: Option<String>,
    /// The version of the list.
    pub version: String,
}

impl<K: Clone> From<ObjectList<K>> for Page<K> {
    fn from(list: ObjectList<K>) -> Self {
        let next = list.metadata.continue_.filter(|token| !token.is_empty());
        Self { items: list.items, next, version: list.metadata.resource_version.unwrap_or_default() }
    }
}

/// A page of a list, to come.
type Listing<'a, T> = BoxFuture<'a, Result<Page<<T as Watched>::Source>, kube::Error>>;

/// Something that a watch has to tell.
pub struct Change {
    /// The kind that it is about.
    pub kind: Kind,
    /// Takes it into the world.
    pub apply: Box<dyn FnOnce(&mut World) -> Effect + Send>,
}

/// What a change did.
#[derive(Debug, Default)]
pub struct Effect {
    /// The world is another one now.
    pub changed: bool,
    /// The kind is known completely, for the first time or again.
    pub synced: bool,
}

/// A cluster that can't be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A list was refused or not answered.
    #[error("{0}s can't be listed: {1}")]
    List(Kind, kube::Error),
    /// A task that lists has ended before its time.
    #[error("{0}s can't be listed: {1}; this is a fault of Clarion, please report it")]
    Task(Kind, tokio::task::JoinError),
}

/// The time between two looks for a CRD that is not installed.
const MISSING: Duration = Duration::from_secs(1);

/// Watches of every kind. They end with it.
pub struct Watches {
    /// What they tell.
    pub changes: mpsc::Receiver<Change>,
    /// Takes the nodes whose FRRNodeState is to be fetched first.
    pub look_at: watch::Sender<Vec<String>>,
    /// Takes the namespace of FRR-K8s, once it is known.
    pub namespace: watch::Sender<Option<String>>,
}

/// Starts to watch every kind.
pub fn start(client: &Client, metrics: &Metrics) -> Watches {
    use clarion_core::world as w;
    let (sender, changes) = mpsc::channel(1024);
    spawn::<w::Service>(client, &sender);
    spawn::<w::EndpointSlice>(client, &sender);
    spawn::<w::Node>(client, &sender);
    spawn::<w::Namespace>(client, &sender);
    spawn::<w::ServiceCidr>(client, &sender);
    spawn::<Pool>(client, &sender);
    spawn::<Reservation>(client, &sender);
    spawn::<Advertisement>(client, &sender);
    spawn::<Peer>(client, &sender);
    spawn::<Aliases>(client, &sender);
    spawn::<w::Configuration>(client, &sender);
    spawn::<w::Session>(client, &sender);
    spawn::<w::FrrSchema>(client, &sender);
    let (look_at, wanted) = watch::channel(Vec::new());
    node_states::start(client, metrics.clone(), wanted, sender.clone());
    let (namespace, namespaces) = watch::channel(None);
    tokio::spawn(permitted::run::<w::Secret>(client.clone(), namespaces.clone(), sender.clone()));
    tokio::spawn(permitted::run::<w::Pod>(client.clone(), namespaces, sender));
    Watches { changes, look_at, namespace }
}

/// The kinds that must be known completely before anything is written.
pub const KINDS: [Kind; 13] = [
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Node,
    Kind::Namespace,
    Kind::ServiceCIDR,
    Kind::LoadBalancerPool,
    Kind::AddressReservation,
    Kind::LoadBalancerAdvertisement,
    Kind::RouterPeer,
    Kind::CommunityAlias,
    Kind::FRRConfiguration,
    Kind::BGPSessionState,
    Kind::CustomResourceDefinition,
];

/// One list of every kind that a plan looks at. All are asked for at once: most of the time is the API server's.
pub async fn snapshot(client: &Client, settings: Settings) -> Result<World, Error> {
    use clarion_core::world as w;
    let mut world = World { settings, is_openshift: is_openshift(client).await, ..World::default() };
    let lists = [
        list::<w::Service>(client),
        list::<w::EndpointSlice>(client),
        list::<w::Node>(client),
        list::<w::Namespace>(client),
        list::<w::ServiceCidr>(client),
        list::<Pool>(client),
        list::<Reservation>(client),
        list::<Advertisement>(client),
        list::<Peer>(client),
        list::<Aliases>(client),
        list::<w::Configuration>(client),
        list::<w::Session>(client),
        list::<w::FrrSchema>(client),
    ];
    let states = list::<w::NodeState>(client);
    for list in lists {
        list.await?(&mut world);
    }
    match states.await {
        Ok(take) => take(&mut world),
        Err(Error::List(_, error)) if is_refused(&error) => {}
        Err(error) => return Err(error),
    }
    permitted::list::<w::Secret>(client, &mut world).await?;
    permitted::list::<w::Pod>(client, &mut world).await?;
    Ok(world)
}

/// The API group of the operator that runs OpenShift's network, FRR-K8s included.
const OPENSHIFT_GROUP: &str = "operator.openshift.io";

/// Whether the cluster is OpenShift. Without an answer it is taken for none.
pub async fn is_openshift(client: &Client) -> bool {
    match client.list_api_groups().await {
        Ok(found) => found.groups.iter().any(|group| group.name == OPENSHIFT_GROUP),
        Err(error) => {
            warn!(%error, "the API groups can't be listed; this is taken for a cluster that is not OpenShift");
            false
        }
    }
}

/// Takes a list into the world.
type Take = Box<dyn FnOnce(&mut World) + Send>;

/// Begins to list one kind, in a task of its own.
fn list<T: Watched>(client: &Client) -> BoxFuture<'static, Result<Take, Error>> {
    let task = tokio::spawn(pages::<T>(client.clone()));
    async move {
        let objects = task.await.map_err(|error| Error::Task(T::KIND, error))??;
        let take = move |world: &mut World| {
            // Without them the API server does not know the kind.
            let Some(objects) = objects else { return };
            let objects = objects.into_iter().map(|object| T::settle(world, object)).collect();
            *T::collection(world) = objects;
            if T::KIND == Kind::FRRConfiguration {
                world.frr_k8s_installed = true;
            }
        };
        Ok(Box::new(take) as Take)
    }
    .boxed()
}

/// All objects of a kind; `None` if the API server does not know it and Clarion can do without.
async fn pages<T: Watched>(client: Client) -> Result<Option<Vec<Object<T>>>, Error> {
    let mut parameters = ListParams { field_selector: fields::<T>(), ..ListParams::default().limit(T::PAGE) };
    let mut objects = Vec::new();
    loop {
        let page = match T::page(&client, &parameters).await {
            Ok(page) => page,
            Err(kube::Error::Api(status)) if status.code == 404 && T::OPTIONAL => return Ok(None),
            Err(error) => return Err(Error::List(T::KIND, error)),
        };
        objects.extend(page.items.into_iter().map(T::project));
        match page.next {
            Some(token) => parameters.continue_token = Some(token),
            None => return Ok(Some(objects)),
        }
    }
}

/// Versions are numbers that grow (KEP-5504).
fn version(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// What picks the one object that is looked at, if it is only one.
fn fields<T: Watched>() -> Option<String> {
    T::ONLY.map(|name| format!("metadata.name={name}"))
}

fn spawn<T: Watched>(client: &Client, sender: &mpsc::Sender<Change>) {
    let (reflector, sender) = (Reflector::of::<T>(client), sender.clone());
    tokio::spawn(async move {
        let take = |seen| match seen {
            Seen::Event(event) => change::<T>(event),
            Seen::Missing => gone::<T>(),
        };
        run(T::KIND, T::OPTIONAL, &reflector, &sender, take).await;
    });
}

/// What a watch brings.
#[derive(Debug)]
enum Seen<K> {
    Event(Event<K>),
    /// The API server does not know the kind, and Clarion can do without.
    Missing,
}

/// Watches one kind for as long as anybody listens. While its CRD is not installed, a fresh list is tried time and again.
async fn run<K, T>(
    kind: Kind,
    optional: bool,
    reflector: &Reflector<K>,
    sender: &mpsc::Sender<T>,
    mut take: impl FnMut(Seen<K>) -> T,
) where
    K: kube::Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let mut missing = false;
    loop {
        let events = reflector.follow(is_missing, sender, |event| {
            if matches!(event, Event::ListEnded { .. }) && std::mem::take(&mut missing) {
                info!(%kind, "the API server knows this kind now");
            }
            Some(take(Seen::Event(event)))
        });
        if events.await.is_err() {
            return;
        }
        if !std::mem::replace(&mut missing, true) {
            warn!(%kind, "the API server does not know this kind; looking for it now and then");
            if optional && sender.send(take(Seen::Missing)).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(MISSING).await;
    }
}

/// Whether the API server does not permit to look.
fn is_refused(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

/// Whether the API server does not know the kind.
fn is_missing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

fn change<T: Watched>(event: Event<T::Source>) -> Change {
    let apply: Box<dyn FnOnce(&mut World) -> Effect + Send> = match event {
        Event::ListBegins => Box::new(|world| {
            T::collection(world).list_begins();
            Effect::default()
        }),
        Event::Applied(source) | Event::Listed(source) => {
            let object = T::project(source);
            Box::new(move |world| {
                let object = T::settle(world, object);
                Effect { changed: T::collection(world).watched(object), ..Effect::default() }
            })
        }
        Event::Deleted(source) => {
            let meta = T::project(source).meta;
            Box::new(move |world| Effect { changed: T::collection(world).removed(&meta), ..Effect::default() })
        }
        Event::ListEnded { version } => Box::new(move |world| {
            T::collection(world).list_ended(version);
            if T::KIND == Kind::FRRConfiguration {
                world.frr_k8s_installed = true;
            }
            Effect { changed: true, synced: true }
        }),
    };
    Change { kind: T::KIND, apply }
}

/// The CRD is not installed: there is no object, and that is known.
fn gone<T: Watched>() -> Change {
    let apply = |world: &mut World| {
        *T::collection(world) = Collection::default();
        if T::KIND == Kind::FRRConfiguration {
            world.frr_k8s_installed = false;
        }
        Effect { changed: true, synced: true }
    };
    Change { kind: T::KIND, apply: Box::new(apply) }
}
