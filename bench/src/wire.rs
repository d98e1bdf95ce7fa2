use std::{
    collections::BTreeSet,
    fmt::Debug,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::{AsyncBufRead, AsyncBufReadExt as _};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{ListParams, WatchEvent, WatchParams},
    core::{ObjectList, Request},
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::Result;

/// How long after a broken watch the next one begins.
const PAUSE: Duration = Duration::from_millis(500);

/// What a watch has received after its list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Versions and deletions of objects: one for each write.
    pub writes: u64,
    /// Bytes of the answer's body, bookmarks included; what HTTP and TLS add is not counted.
    pub bytes: u64,
}

impl Traffic {
    /// What has come since an earlier moment.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self { writes: self.writes.saturating_sub(earlier.writes), bytes: self.bytes.saturating_sub(earlier.bytes) }
    }
}

/// Counts what a watch receives; clones count the same.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    writes: AtomicU64,
    bytes: AtomicU64,
}

impl Meter {
    /// What the watch has received up to now.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic { writes: self.0.writes.load(Relaxed), bytes: self.0.bytes.load(Relaxed) }
    }

    fn received(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes as u64, Relaxed);
    }

    fn written(&self) {
        self.0.writes.fetch_add(1, Relaxed);
    }
}

/// What a watch tells.
#[derive(Debug)]
pub enum News<K> {
    /// All objects that there are: at the beginning, and whenever the watch has to begin anew.
    All(Vec<K>),
    /// An object that is new or has changed.
    Is(K),
    /// An object that is no longer there.
    Gone(K),
}

impl<K: Resource> News<K> {
    /// Each object that this concerns by its name, with what it is now; of all those that were known before, these are the
    /// names.
    pub fn by_name(self, known: impl IntoIterator<Item = String>) -> Vec<(String, Option<K>)> {
        match self {
            Self::Is(object) => vec![(object.name_any(), Some(object))],
            Self::Gone(object) => vec![(object.name_any(), None)],
            Self::All(objects) => {
                let there: BTreeSet<String> = objects.iter().map(kube::ResourceExt::name_any).collect();
                let gone = known.into_iter().filter(|name| !there.contains(name)).map(|name| (name, None));
                gone.chain(objects.into_iter().map(|object| (object.name_any(), Some(object)))).collect()
            }
        }
    }
}

/// A list and a watch as a client has them whose bytes are counted as they come in.
#[derive(Debug)]
pub struct Wire<K> {
    news: mpsc::UnboundedReceiver<(News<K>, Instant)>,
    meter: Meter,
    /// Ends with this.
    _task: JoinSet<()>,
}

impl<K: Resource + Clone + Debug + DeserializeOwned + Send + 'static> Wire<K> {
    /// Begins to watch.
    #[must_use]
    pub fn watch(api: Api<K>) -> Self {
        let (sender, news) = mpsc::unbounded_channel();
        let (meter, mut task) = (Meter::default(), JoinSet::new());
        task.spawn(follow(api, meter.clone(), sender));
        Self { news, meter, _task: task }
    }

    /// What counts what it receives.
    #[must_use]
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// What comes next, and when it came. Nothing is lost if this is not waited for to its end.
    pub async fn next(&mut self) -> Option<(News<K>, Instant)> {
        self.news.recv().await
    }
}

/// All objects, as a client lists them.
#[derive(Debug)]
pub struct Listed<K: Clone> {
    /// The objects.
    pub objects: Vec<K>,
    /// The version that a watch goes on from.
    pub version: String,
    /// Bytes of the answer's body.
    pub bytes: usize,
}

impl<K: Resource + Clone + DeserializeOwned> Listed<K> {
    /// Asks the API server.
    ///
    /// # Errors
    /// If it does not answer, or with something else.
    pub async fn of(api: &Api<K>) -> Result<Self> {
        let request = Request::new(api.resource_url()).list(&ListParams::default())?;
        let text = api.clone().into_client().request_text(request).await?;
        let list: ObjectList<K> = serde_json::from_str(&text)?;
        let version = list.metadata.resource_version.unwrap_or_default();
        Ok(Self { objects: list.items, version, bytes: text.len() })
    }
}

type Sender<K> = mpsc::UnboundedSender<(News<K>, Instant)>;

async fn follow<K>(api: Api<K>, meter: Meter, sender: Sender<K>)
where
    K: Resource + Clone + Debug + DeserializeOwned + Send,
{
    while !sender.is_closed() {
        // A version that is too old for the server, or a connection that broke.
        if let Err(error) = list_and_watch(&api, &meter, &sender).await {
            eprintln!("a watch begins anew: {error}");
            sleep(PAUSE).await;
        }
    }
}

/// Ends without an error once nobody listens any more.
async fn list_and_watch<K>(api: &Api<K>, meter: &Meter, sender: &Sender<K>) -> Result<()>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let listed = Listed::of(api).await?;
    let mut version = listed.version;
    let mut is_heard = sender.send((News::All(listed.objects), Instant::now())).is_ok();
    while is_heard {
        let request = Request::new(api.resource_url()).watch(&WatchParams::default(), &version)?;
        let body = api.clone().into_client().request_stream(request).await?;
        // The server ends each watch after some minutes.
        version = read(body, version, meter, |news| is_heard = sender.send((news, Instant::now())).is_ok()).await?;
    }
    Ok(())
}

/// Reads the body of a watch to its end, one event a line; returns the version that the next watch goes on from.
async fn read<K>(body: impl AsyncBufRead, from: String, meter: &Meter, mut tell: impl FnMut(News<K>)) -> Result<String>
where
    K: Resource + DeserializeOwned,
{
    let mut body = pin!(body);
    let mut version = from;
    let mut line = Vec::new();
    loop {
        line.clear();
        let bytes = body.read_until(b'\n', &mut line).await?;
        if bytes == 0 {
            return Ok(version);
        }
        meter.received(bytes);
        let (news, object) = match serde_json::from_slice::<WatchEvent<K>>(&line)? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (News::Is as fn(K) -> News<K>, object),
            WatchEvent::Deleted(object) => (News::Gone as fn(K) -> News<K>, object),
            WatchEvent::Bookmark(bookmark) => {
                version = bookmark.metadata.resource_version;
                continue;
            }
            WatchEvent::Error(status) => return Err(status.message.into()),
        };
        version = object.resource_version().unwrap_or(version);
        meter.written();
        tell(news(object));
    }
}

#[cfg(test)]
mod tests {
    use futures::{TryStreamExt as _, executor::block_on, stream};
    use k8s_openapi::api::core::v1::ConfigMap;
    use rstest::rstest;

    use super::*;

    fn line(kind: &str, name: &str, version: u32) -> String {
        let metadata = serde_json::json!({"name": name, "resourceVersion": version.to_string()});
        let object = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
        format!("{}\n", serde_json::json!({"type": kind, "object": object}))
    }

    /// Reads a body that comes in parts of so many bytes.
    fn read_in_parts(body: &str, size: usize) -> (Result<String>, Vec<String>, Traffic) {
        let parts: Vec<std::io::Result<Vec<u8>>> = body.as_bytes().chunks(size).map(|part| Ok(part.to_vec())).collect();
        let (meter, mut told) = (Meter::default(), Vec::new());
        let version = block_on(read(stream::iter(parts).into_async_read(), "1".to_owned(), &meter, |news| {
            told.push(match news {
                News::<ConfigMap>::Is(object) => format!("is {}", object.name_any()),
                News::Gone(object) => format!("gone {}", object.name_any()),
                News::All(_) => "all".to_owned(),
            });
        }));
        (version, told, meter.traffic())
    }

    #[rstest]
    fn events_are_lines_however_they_are_cut(#[values(1, 7, 100, 10_000)] size: usize) {
        let body = [line("ADDED", "a", 2), line("MODIFIED", "b", 3), line("BOOKMARK", "", 9), line("DELETED", "a", 4)];
        let body = body.concat();
        let (version, told, traffic) = read_in_parts(&body, size);
        assert_eq!(version.unwrap(), "4");
        assert_eq!(told, ["is a", "is b", "gone a"]);
        assert_eq!(traffic, Traffic { writes: 3, bytes: body.len() as u64 });
    }

    #[test]
    fn the_next_watch_goes_on_from_a_bookmark() {
        let (version, told, _) = read_in_parts(&(line("ADDED", "a", 2) + &line("BOOKMARK", "", 9)), 64);
        assert_eq!((version.unwrap().as_str(), told.len()), ("9", 1));
    }

    #[rstest]
    #[case::by_the_server("{\"type\":\"ERROR\",\"object\":{\"message\":\"too old\",\"code\":410}}\n", "too old")]
    #[case::in_the_middle_of_a_line("{\"type\":\"ADD", "EOF while parsing")]
    fn a_watch_can_break(#[case] body: &str, #[case] expected: &str) {
        let (version, ..) = read_in_parts(body, 64);
        let error = version.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_new_list_tells_what_is_gone() {
        let object = |name: &str| ConfigMap {
            metadata: kube::api::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
            ..Default::default()
        };
        let news = News::All(vec![object("b"), object("c")]).by_name(["a".to_owned(), "b".to_owned()]);
        let news: Vec<(String, bool)> = news.into_iter().map(|(name, object)| (name, object.is_some())).collect();
        assert_eq!(news, [("a".to_owned(), false), ("b".to_owned(), true), ("c".to_owned(), true)]);
    }
}
