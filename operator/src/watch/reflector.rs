//! Lists a kind, and watches it from there on.
//!
//! kube's `watcher` does the same and keeps to itself what version a list has. That is what tells whether a list is older than what
//! is known already ([`Collection::list_ended`](clarion_core::world::Collection::list_ended)).

use std::{fmt::Debug, pin::pin, time::Duration};

use clarion_core::world::Kind;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{ListParams, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, warn};

use super::{Page, Watched, version as number};
use crate::backoff::pause;

/// The shortest and the longest time between two attempts after an error.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A watch that ends sooner and has told nothing is not followed by the next at once.
const SHORT: Duration = Duration::from_secs(1);
/// How long the API server keeps a watch open, in seconds.
const OPEN: u32 = 290;
/// A watch that has told nothing for longer than it may be open is one whose end got lost.
const SILENCE: Duration = Duration::from_secs(5 + OPEN as u64);
/// Objects of one page of a list: all of a page are in memory at once.
const PAGE: u32 = 1_000;

/// What is told of a kind.
#[derive(Debug)]
pub enum Event<K> {
    /// A list begins.
    ListBegins,
    /// A list has this object.
    Listed(K),
    /// A list was complete. It has this version: what follows is told from there on.
    ListEnded {
        /// The resourceVersion of the list.
        version: u64,
    },
    /// An object is there, or is another one now.
    Applied(K),
    /// An object was deleted; its resourceVersion is that of the deletion.
    Deleted(K),
}

/// Nobody listens any more.
#[derive(Debug)]
pub struct Closed;

/// Why a list or a watch ended before its time.
#[derive(Debug)]
enum Failed {
    Closed,
    Kube(kube::Error),
}

impl From<Closed> for Failed {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

impl From<kube::Error> for Failed {
    fn from(error: kube::Error) -> Self {
        Self::Kube(error)
    }
}

type List<K> = Box<dyn Fn(ListParams) -> BoxFuture<'static, Result<Page<K>, kube::Error>> + Send + Sync>;

/// Where the objects of a kind are, and which of them are looked at.
pub struct Reflector<K> {
    kind: Kind,
    api: Api<K>,
    fields: Option<String>,
    list: List<K>,
}

impl<K> Reflector<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// Looks at the objects that `fields` selects.
    pub fn new(kind: Kind, api: Api<K>, fields: Option<String>) -> Self {
        let source = api.clone();
        let list = move |parameters: ListParams| {
            let source = source.clone();
            async move { Ok(source.list(&parameters).await?.into()) }.boxed()
        };
        Self { kind, api, fields, list: Box::new(list) }
    }

    /// Looks at all objects of a kind, and lists them as the kind would have it.
    pub fn of<T: Watched<Source = K>>(client: &Client) -> Self
    where
        K: Resource<DynamicType = ()>,
    {
        let source = client.clone();
        let list = move |parameters: ListParams| {
            let source = source.clone();
            async move { T::page(&source, &parameters).await }.boxed()
        };
        Self { list: Box::new(list), ..Self::new(T::KIND, Api::all(client.clone()), super::fields::<T>()) }
    }

    /// Passes on all that happens, until an error ends it or nobody listens any more. After any other error it goes on.
    pub async fn follow<T>(
        &self,
        ends: impl Fn(&kube::Error) -> bool,
        sender: &mpsc::Sender<T>,
        take: impl FnMut(Event<K>) -> Option<T>,
    ) -> Result<(), Closed> {
        let mut teller = Teller { sender, take, failures: 0 };
        let mut version = None;
        loop {
            let began = Instant::now();
            let outcome = match &mut version {
                None => self.list(&mut teller).await.map(|listed| version = Some(listed)),
                Some(version) => self.watch(version, &mut teller).await,
            };
            let error = match outcome {
                Ok(()) => continue,
                Err(Failed::Closed) => return Err(Closed),
                Err(Failed::Kube(error)) if ends(&error) => return Ok(()),
                Err(Failed::Kube(error)) => error,
            };
            // A watch that was kept open, or whose version is too old, is one of an API server that is back.
            if version.is_some() && (is_outdated(&error) || began.elapsed() >= SHORT) {
                teller.failures = 0;
            }
            if is_outdated(&error) || is_unreadable(&error) {
                version = None;
            }
            let pause = pause(RETRY, teller.failures);
            teller.failures += 1;
            warn!(kind = %self.kind, %error, "the watch failed; it is tried again");
            sleep(pause).await;
        }
    }

    /// Tells all of a list; returns its version.
    async fn list<T>(&self, teller: &mut Teller<'_, T, impl FnMut(Event<K>) -> Option<T>>) -> Result<String, Failed> {
        teller.tell(Event::ListBegins).await?;
        let mut parameters = ListParams { field_selector: self.fields.clone(), ..ListParams::default().limit(PAGE) };
        loop {
            let Page { items, next, version } = (self.list)(parameters.clone()).await?;
            for item in items {
                teller.tell(Event::Listed(item)).await?;
            }
            // All pages are of one version.
            let Some(token) = next else {
                teller.tell(Event::ListEnded { version: number(Some(&version)) }).await?;
                return Ok(version);
            };
            parameters.continue_token = Some(token);
        }
    }

    /// Tells what happens after a version, which becomes that of the last event, for as long as the API server keeps the watch open.
    async fn watch<T>(
        &self,
        version: &mut String,
        teller: &mut Teller<'_, T, impl FnMut(Event<K>) -> Option<T>>,
    ) -> Result<(), Failed> {
        let (began, from) = (Instant::now(), version.clone());
        let parameters = WatchParams { field_selector: self.fields.clone(), ..WatchParams::default().timeout(OPEN) };
        let mut events = pin!(self.api.watch(&parameters, version).await?.into_stream());
        while let Some(event) = timeout(SILENCE, events.next()).await.ok().flatten() {
            let event = match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => Event::Applied(object),
                WatchEvent::Deleted(object) => Event::Deleted(object),
                WatchEvent::Bookmark(bookmark) => {
                    *version = bookmark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(status) => return Err(Failed::Kube(kube::Error::Api(status))),
            };
            if let Event::Applied(object) | Event::Deleted(object) = &event {
                *version = object.resource_version().unwrap_or_default();
            }
            teller.tell(event).await?;
        }
        debug!(kind = %self.kind, "the watch has ended; the next one begins where it was");
        if *version == from && began.elapsed() < SHORT {
            sleep(RETRY.0).await;
        }
        Ok(())
    }
}

/// Whether the API server has forgotten what happened after the version that a watch begins with, or a page of a list.
fn is_outdated(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 410)
}

/// Whether a watch told of something that can't be read. It would do so again; a list is younger. What is no event either is taken
/// for a `Status` by kube's client, and has no code then.
fn is_unreadable(error: &kube::Error) -> bool {
    match error {
        kube::Error::SerdeError(_) => true,
        kube::Error::Api(status) => status.code == 0,
        _ => false,
    }
}

/// Passes on what happens.
struct Teller<'s, T, F> {
    sender: &'s mpsc::Sender<T>,
    take: F,
    /// Since anything was told.
    failures: u32,
}

impl<T, F> Teller<'_, T, F> {
    async fn tell<K>(&mut self, event: Event<K>) -> Result<(), Closed>
    where
        F: FnMut(Event<K>) -> Option<T>,
    {
        // That a list begins is no success yet.
        if !matches!(event, Event::ListBegins) {
            self.failures = 0;
        }
        match (self.take)(event) {
            Some(told) => self.sender.send(told).await.map_err(|_| Closed),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        convert::Infallible,
        sync::{Arc, Mutex},
    };

    use bytes::Bytes;
    use futures::stream;
    use http::{Request, Response};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use k8s_openapi::api::core::v1::Namespace;
    use kube::client::Body;
    use rstest::rstest;
    use serde_json::{Value, json};
    use tokio::time::timeout;

    use super::*;

    /// An answer to a request that has this in its query.
    struct Answer {
        to: &'static str,
        status: u16,
        body: String,
        /// How long after the status the body comes.
        later: Duration,
    }

    impl Answer {
        fn new(to: &'static str, status: u16, body: String) -> Self {
            Self { to, status, body, later: Duration::ZERO }
        }

        fn response(self) -> Response<impl http_body::Body<Data = Bytes, Error = Infallible> + Send> {
            let Self { status, body, later, .. } = self;
            let body = stream::once(async move {
                sleep(later).await;
                Ok(Frame::data(Bytes::from(body)))
            });
            Response::builder().status(status).body(StreamBody::new(body)).unwrap()
        }
    }

    fn object(name: &str, version: u64) -> Value {
        let metadata = json!({"name": name, "resourceVersion": version.to_string()});
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    }

    fn list(to: &'static str, version: u64, next: &str, objects: &[Value]) -> Answer {
        let metadata = json!({"resourceVersion": version.to_string(), "continue": next});
        let list = json!({"apiVersion": "v1", "kind": "NamespaceList", "metadata": metadata, "items": objects});
        Answer::new(to, 200, list.to_string())
    }

    fn watch(to: &'static str, events: &[(&str, Value)]) -> Answer {
        let lines = events.iter().map(|(kind, object)| format!("{}\n", json!({"type": kind, "object": object})));
        Answer::new(to, 200, lines.collect())
    }

    fn failure(code: u16) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": "no", "code": code})
    }

    fn refusal(to: &'static str, code: u16) -> Answer {
        Answer::new(to, code, failure(code).to_string())
    }

    fn told(event: &Event<Namespace>) -> String {
        let object = |object: &Namespace| format!("{} {}", object.name_any(), object.resource_version().unwrap());
        match event {
            Event::ListBegins => "list".to_owned(),
            Event::Listed(listed) => format!("listed {}", object(listed)),
            Event::ListEnded { version } => format!("ended {version}"),
            Event::Applied(applied) => format!("applied {}", object(applied)),
            Event::Deleted(deleted) => format!("deleted {}", object(deleted)),
        }
    }

    /// What is told of such answers, until an answer of 403 ends it.
    async fn follow(answers: impl IntoIterator<Item = Answer>) -> Vec<String> {
        let answers: Arc<Mutex<VecDeque<Answer>>> = Arc::new(Mutex::new(answers.into_iter().collect()));
        let left = Arc::clone(&answers);
        let service = tower::service_fn(move |request: Request<Body>| {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let answer = answers.lock().unwrap().pop_front().unwrap();
            assert!(query.contains(answer.to), "{query} has no {}", answer.to);
            std::future::ready(Ok::<_, Infallible>(answer.response()))
        });
        let client = Client::new(service, "default");
        let reflector =
            Reflector::<Namespace>::new(Kind::Namespace, Api::all(client), Some("metadata.name=a".to_owned()));
        let (sender, mut events) = mpsc::channel(64);
        let ends = |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 403);
        let followed = reflector.follow(ends, &sender, |event| Some(told(&event)));
        timeout(Duration::from_secs(600), followed).await.unwrap().unwrap();
        assert!(left.lock().unwrap().is_empty(), "not all was asked for");
        drop(sender);
        let mut told = Vec::new();
        while let Some(event) = events.recv().await {
            told.push(event);
        }
        told
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_in_pages_is_one_and_the_watch_begins_with_its_version() {
        let told = follow([
            list("limit=1000", 7, "more", &[object("a", 3)]),
            list("continue=more", 7, "", &[object("b", 5)]),
            watch("resourceVersion=7", &[("ADDED", object("c", 8)), ("DELETED", object("a", 9))]),
            watch("resourceVersion=9", &[("MODIFIED", object("b", 11))]),
            refusal("resourceVersion=11", 403),
        ]);
        let expected = ["list", "listed a 3", "listed b 5", "ended 7", "applied c 8", "deleted a 9", "applied b 11"];
        assert_eq!(told.await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_looked_at_is_asked_for() {
        let fields = "fieldSelector=metadata.name%3Da";
        assert_eq!(follow([list(fields, 7, "", &[]), refusal(fields, 403)]).await, ["list", "ended 7"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bookmark_tells_where_the_next_watch_begins() {
        let told = follow([
            list("", 7, "", &[]),
            watch("allowWatchBookmarks=true", &[("BOOKMARK", object("", 20))]),
            refusal("resourceVersion=20", 403),
        ]);
        assert_eq!(told.await, ["list", "ended 7"]);
    }

    #[rstest]
    #[case::in_the_watch(watch("resourceVersion=7", &[("ADDED", object("a", 8)), ("ERROR", failure(410))]), true)]
    #[case::at_its_start(refusal("resourceVersion=7", 410), false)]
    #[case::what_cannot_be_read(watch("resourceVersion=7", &[("ADDED", object("a", 8)), ("ADDED", json!(5))]), true)]
    #[tokio::test(start_paused = true)]
    async fn where_a_watch_cannot_go_on_a_list_follows(#[case] broken: Answer, #[case] tells: bool) {
        let told =
            follow([list("", 7, "", &[]), broken, list("limit=1000", 9, "", &[]), refusal("resourceVersion=9", 403)]);
        let applied = tells.then_some("applied a 8");
        let expected: Vec<_> = ["list", "ended 7"].into_iter().chain(applied).chain(["list", "ended 9"]).collect();
        assert_eq!(told.await, expected);
    }

    #[rstest]
    #[case::refused(refusal("resourceVersion=7", 500))]
    #[case::told(watch("resourceVersion=7", &[("ERROR", failure(500))]))]
    #[case::nothing(watch("resourceVersion=7", &[]))]
    #[tokio::test(start_paused = true)]
    async fn after_another_error_and_after_a_silent_end_it_goes_on_where_it_was(#[case] broken: Answer) {
        let began = Instant::now();
        let told = follow([list("", 7, "", &[]), broken, refusal("resourceVersion=7", 403)]).await;
        assert_eq!(told, ["list", "ended 7"]);
        assert!(began.elapsed() >= RETRY.0, "not at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_breaks_off_begins_anew_after_ever_longer_pauses() {
        let broken = || [list("", 7, "more", &[]), refusal("continue=more", 500)];
        let began = Instant::now();
        let told = follow((0..10).flat_map(|_| broken()).chain([refusal("", 403)])).await;
        assert_eq!(told, ["list"; 11]);
        let pauses: u32 = [1, 2, 4, 8, 16, 32, 50, 50, 50, 50].iter().sum();
        assert_eq!(began.elapsed(), RETRY.0 * pauses);
    }

    /// So many watches in a row that fail, from version 7.
    fn outage(watches: usize) -> impl Iterator<Item = Answer> {
        (0..watches).map(|_| refusal("resourceVersion=7", 503))
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_outage_of_which_nothing_is_left_to_tell_a_list_follows_at_once() {
        let began = Instant::now();
        let back = [refusal("resourceVersion=7", 410), refusal("limit=1000", 403)];
        let told = follow([list("", 7, "", &[])].into_iter().chain(outage(6)).chain(back)).await;
        assert_eq!(told, ["list", "ended 7", "list"]);
        assert_eq!(began.elapsed(), RETRY.0 * (1 + 2 + 4 + 8 + 16 + 32) + RETRY.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_was_open_forgets_the_outage_before_it() {
        let began = Instant::now();
        let open = Answer { later: SHORT, ..watch("resourceVersion=7", &[("ERROR", failure(500))]) };
        let back = [open, refusal("resourceVersion=7", 403)];
        let told = follow([list("", 7, "", &[])].into_iter().chain(outage(3)).chain(back)).await;
        assert_eq!(told, ["list", "ended 7"]);
        assert_eq!(began.elapsed(), RETRY.0 * (1 + 2 + 4) + SHORT + RETRY.0);
    }
}
