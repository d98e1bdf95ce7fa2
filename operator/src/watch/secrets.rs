//! The names of Secrets that may hold a password: an extra that has to be permitted. Only their metadata is asked for.

use std::time::Duration;

use clarion_core::{
    World,
    world::{Collection, Kind, Secret},
};
use k8s_openapi::api::core::v1 as core;
use kube::{
    Api, Client,
    core::PartialObjectMeta,
    runtime::watcher::{self, Config, Event, watcher},
};
use tokio::{
    select,
    sync::{mpsc, watch},
    time::sleep,
};
use tracing::info;

use super::{Change, Closed, Effect, follow, project};

/// What FRR-K8s takes passwords from.
pub const FIELDS: &str = "type=kubernetes.io/basic-auth";
/// The time between two attempts while it is not permitted.
const FORBIDDEN: Duration = Duration::from_secs(60);

/// Secrets, of which this client asks for the metadata alone.
pub type Metadata = Api<PartialObjectMeta<core::Secret>>;

/// Watches the Secrets of FRR-K8s's namespace, as soon as that is known, for as long as anybody listens.
pub async fn run(client: Client, mut namespaces: watch::Receiver<Option<String>>, changes: mpsc::Sender<Change>) {
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
        let secrets: Metadata = Api::namespaced(client.clone(), &namespace);
        let events = watcher(secrets, Config::default().fields(FIELDS));
        let mut list = Collection::default();
        let take = |event| take(event, &namespace, &mut list, &mut permitted);
        select! {
            ended = follow(Kind::Secret, events, is_forbidden, &changes, take) => match ended {
                Err(Closed) => return,
                Ok(()) => {
                    if permitted.replace(false) != Some(false) {
                        info!(
                            namespace,
                            "the names of Secrets are not known, so passwords are checked by their effect only; to permit \
                             it, add config/components/password-secrets"
                        );
                    }
                    if changes.send(unknown()).await.is_err() {
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
            () = sleep(FORBIDDEN) => {}
            changed = namespaces.changed() => if changed.is_err() { return },
        }
    }
}

/// A list counts once it is complete.
fn take(
    event: Event<PartialObjectMeta<core::Secret>>,
    namespace: &str,
    list: &mut Collection<Secret>,
    permitted: &mut Option<bool>,
) -> Option<Change> {
    let namespace = namespace.to_owned();
    Some(match event {
        Event::Init => {
            *list = Collection::default();
            return None;
        }
        Event::InitApply(secret) => {
            list.watched(project::secret(secret.metadata));
            return None;
        }
        Event::InitDone => {
            if permitted.replace(true) != Some(true) {
                info!(namespace, secrets = list.len(), "the names of Secrets with passwords are known");
            }
            let list = std::mem::take(list);
            change(namespace, |secrets| *secrets = Some(list))
        }
        Event::Apply(secret) => {
            let secret = project::secret(secret.metadata);
            change(namespace, |secrets| {
                secrets.as_mut().map(|secrets| secrets.watched(secret));
            })
        }
        Event::Delete(secret) => {
            let meta = project::secret(secret.metadata).meta;
            change(namespace, move |secrets| {
                secrets.as_mut().map(|secrets| secrets.removed(&meta.name, &meta.uid));
            })
        }
    })
}

/// A change to what is known of the Secrets of a namespace. That of FRR-K8s may be another one by now.
fn change(namespace: String, change: impl FnOnce(&mut Option<Collection<Secret>>) + Send + 'static) -> Change {
    let apply = move |world: &mut World| {
        let here = world.frr_k8s_namespace() == namespace;
        if here {
            change(&mut world.secrets);
        }
        Effect { changed: here, ..Effect::default() }
    };
    Change { kind: Kind::Secret, apply: Box::new(apply) }
}

fn unknown() -> Change {
    let apply = |world: &mut World| Effect { changed: world.secrets.take().is_some(), ..Effect::default() };
    Change { kind: Kind::Secret, apply: Box::new(apply) }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    use watcher::Error;
    match error {
        Error::InitialListFailed(error) | Error::WatchStartFailed(error) => super::is_refused(error),
        Error::WatchError(status) => status.code == 403,
        Error::WatchFailed(_) | Error::NoResourceVersion => false,
    }
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
        tokio::spawn(run(Client::try_from(config).unwrap(), namespaces, changes));
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
