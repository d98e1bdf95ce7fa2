//! What Clarion can do without, and sees in the namespace of FRR-K8s where it is permitted: the names of Secrets that may hold a
//! password, of which only the metadata is asked for, and whether Pods are ready.

use std::time::Duration;

use clarion_core::{
    World,
    world::{Collection, Pod, Secret},
};
use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource, api::ListParams};
use tokio::{
    select,
    sync::{mpsc, watch},
    time::sleep,
};
use tracing::info;

use super::{Change, Closed, Effect, Error, Event, Reflector, Watched, is_refused};

/// A kind that is watched in the namespace of FRR-K8s alone, where that is permitted.
pub trait Permitted: Watched<Source: Resource<Scope = NamespaceResourceScope>> {
    /// Those that are looked at, as a selector of fields.
    const FIELDS: Option<&str>;
    /// What is logged when the right is there.
    const KNOWN: &str;
    /// What is logged when it is not: what Clarion does without it, and how to give it.
    const UNKNOWN: &str;

    /// Where the world keeps this kind; nothing while the right is not there.
    fn known(world: &mut World) -> &mut Option<Collection<Self>>;
}

impl Permitted for Secret {
    // What FRR-K8s takes passwords from.
    const FIELDS: Option<&str> = Some("type=kubernetes.io/basic-auth");
    const KNOWN: &str = "the names of Secrets with passwords are known";
    const UNKNOWN: &str = "the names of Secrets are not known, so passwords are checked by their effect only; to permit it, \
                           add config/components/password-secrets";

    fn known(world: &mut World) -> &mut Option<Collection<Self>> {
        &mut world.secrets
    }
}

impl Permitted for Pod {
    const FIELDS: Option<&str> = None;
    const KNOWN: &str = "it is known whether the Pods of FRR-K8s are ready";
    const UNKNOWN: &str = "it is not known whether the Pods of FRR-K8s are ready, so what they reported of sessions counts, \
                           however old it is; to permit it, add config/components/frr-k8s-pods";

    fn known(world: &mut World) -> &mut Option<Collection<Self>> {
        &mut world.pods
    }
}

/// The time between two attempts while it is not permitted.
const FORBIDDEN: Duration = Duration::from_secs(60);

/// Takes one list into a world; nothing is known if that is not permitted.
pub async fn list<T: Permitted>(client: &Client, world: &mut World) -> Result<(), Error> {
    let objects: Api<T::Source> = Api::namespaced(client.clone(), world.frr_k8s_namespace());
    let parameters = ListParams { field_selector: T::FIELDS.map(str::to_owned), ..ListParams::default() };
    *T::known(world) = match objects.list(&parameters).await {
        Ok(objects) => Some(objects.items.into_iter().map(T::project).collect()),
        Err(error) if is_refused(&error) => None,
        Err(error) => return Err(Error::List(T::KIND, error)),
    };
    Ok(())
}

/// Watches a kind in FRR-K8s's namespace, as soon as that is known, for as long as anybody listens.
pub async fn run<T: Permitted>(
    client: Client,
    mut namespaces: watch::Receiver<Option<String>>,
    changes: mpsc::Sender<Change>,
) {
    // What was told last, in the namespace that is watched.
    let mut permitted = None;
    let mut watched = None;
    loop {
        let Some(namespace) = namespaces.borrow_and_update().clone() else {
            match namespaces.changed().await {
                Ok(()) => continue,
                Err(_) => return,
            }
        };
        if watched.replace(namespace.clone()).is_some_and(|before| before != namespace) {
            permitted = None;
        }
        let objects: Api<T::Source> = Api::namespaced(client.clone(), &namespace);
        let reflector = Reflector::new(T::KIND, objects, T::FIELDS.map(str::to_owned));
        let mut list = Collection::default();
        let take = |event| take::<T>(event, &namespace, &mut list, &mut permitted);
        select! {
            biased;
            ended = reflector.follow(is_refused, &changes, take) => match ended {
                Err(Closed) => return,
                Ok(()) => {
                    if permitted.replace(false) != Some(false) {
                        info!(namespace, "{}", T::UNKNOWN);
                    }
                    if changes.send(unknown::<T>()).await.is_err() {
                        return;
                    }
                }
            },
            changed = namespaces.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        }
        select! {
            biased;
            () = sleep(FORBIDDEN) => {}
            changed = namespaces.changed() => if changed.is_err() { return },
        }
    }
}

/// A list counts once it is complete.
fn take<T: Permitted>(
    event: Event<T::Source>,
    namespace: &str,
    list: &mut Collection<T>,
    permitted: &mut Option<bool>,
) -> Option<Change> {
    let namespace = namespace.to_owned();
    Some(match event {
        Event::ListBegins => {
            *list = Collection::default();
            list.list_begins();
            return None;
        }
        Event::Listed(object) => {
            list.watched(T::project(object));
            return None;
        }
        Event::ListEnded { version } => {
            list.list_ended(version);
            if permitted.replace(true) != Some(true) {
                info!(namespace, objects = list.len(), "{}", T::KNOWN);
            }
            let list = std::mem::take(list);
            change::<T>(namespace, |known| *known = Some(list))
        }
        Event::Applied(object) => {
            let object = T::project(object);
            change::<T>(namespace, |known| {
                known.as_mut().map(|known| known.watched(object));
            })
        }
        Event::Deleted(object) => {
            let meta = T::project(object).meta;
            change::<T>(namespace, move |known| {
                known.as_mut().map(|known| known.removed(&meta));
            })
        }
    })
}

/// A change to what is known of a namespace. That of FRR-K8s may be another one by now.
fn change<T: Permitted>(namespace: String, change: impl FnOnce(&mut Option<Collection<T>>) + Send + 'static) -> Change {
    let apply = move |world: &mut World| {
        let here = world.frr_k8s_namespace() == namespace;
        if here {
            change(T::known(world));
        }
        Effect { changed: here, ..Effect::default() }
    };
    Change { kind: T::KIND, apply: Box::new(apply) }
}

fn unknown<T: Permitted>() -> Change {
    let apply = |world: &mut World| Effect { changed: T::known(world).take().is_some(), ..Effect::default() };
    Change { kind: T::KIND, apply: Box::new(apply) }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use axum::{Router, body::Body, extract::Request, http::StatusCode, response::Response};
    use clarion_core::world::{ObjectName, Settings};
    use serde_json::{Value, json};

    use super::*;

    fn json(status: StatusCode, value: &Value) -> Response {
        let answer = Response::builder().status(status).header("Content-Type", "application/json");
        answer.body(Body::from(value.to_string())).unwrap()
    }

    /// An API server that permits to list the Secrets in `permitted`, and to watch them for a moment, and nothing else.
    async fn answer(request: Request, watches: &AtomicUsize) -> Response {
        let uri = request.uri().to_string();
        let is_watch = uri.contains("watch=true");
        if !uri.starts_with("/api/v1/namespaces/permitted/secrets?")
            || (is_watch && watches.fetch_add(1, Ordering::SeqCst) > 0)
        {
            let refusal = json!({"kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403});
            return json(StatusCode::FORBIDDEN, &refusal);
        }
        if is_watch {
            sleep(Duration::from_millis(100)).await;
            return Response::new(Body::empty());
        }
        let metadata = json!({"name": "tor", "namespace": "permitted", "uid": "u", "resourceVersion": "5"});
        let list = json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": "7"},
            "items": [{"metadata": metadata}],
        });
        json(StatusCode::OK, &list)
    }

    #[tokio::test]
    async fn metadata_is_all_that_is_ever_asked_for_and_a_refusal_is_no_knowledge() {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (recorded, watches) = (Arc::clone(&requests), Arc::new(AtomicUsize::new(0)));
        let router = Router::new().fallback(async move |request: Request| {
            let accept = request.headers().get("Accept").map(|accept| accept.to_str().unwrap().to_owned());
            recorded.lock().unwrap().push((request.uri().to_string(), accept.unwrap_or_default()));
            answer(request, &watches).await
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut config = kube::Config::new(url.parse().unwrap());
        config.default_retry = false;

        let (changes, mut changed) = mpsc::channel(16);
        let (namespace, namespaces) = watch::channel(None);
        tokio::spawn(run::<Secret>(Client::try_from(config).unwrap(), namespaces, changes));
        let mut world = World { secrets: Some(Collection::default()), ..World::default() };
        let mut settle = async |namespace: &str| {
            world.settings = Settings { frr_k8s_namespace: Some(namespace.to_owned()), ..Settings::default() };
            let effect = (changed.recv().await.unwrap().apply)(&mut world);
            assert!(effect.changed && !effect.synced);
            world.secrets.clone()
        };
        assert!(requests.lock().unwrap().is_empty(), "nothing is asked before the namespace is known");
        namespace.send_replace(Some("refused".to_owned()));
        assert_eq!(settle("refused").await, None);
        namespace.send_replace(Some("permitted".to_owned()));
        let secrets = settle("permitted").await.unwrap();
        assert!(secrets.get(&ObjectName::new("permitted", "tor")).is_some());
        assert_eq!(settle("permitted").await, None, "a right that is taken away again");
        for (uri, accept) in requests.lock().unwrap().iter() {
            assert!(accept.contains("as=PartialObjectMetadata"), "{uri}: {accept}");
            assert!(uri.contains("fieldSelector=type%3Dkubernetes.io%2Fbasic-auth"), "{uri}");
        }
    }
}
