//! The network between a process and the API server, and what goes wrong on it: requests that never arrive, or late; answers
//! that are lost; watches that lag, and that end.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    hash::{Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, channel::mpsc, future::BoxFuture};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::{
    select,
    sync::{Notify, oneshot},
    time::{Instant, sleep, sleep_until},
};

use super::store::{Answer, Call, EXACTLY, Event, Store, UnderWay, failure};

/// What may go wrong, each with the probability with which it does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// A request does not arrive.
    pub lost: f64,
    /// A request arrives, and its answer does not.
    pub unanswered: f64,
    /// A request is on its way for long.
    pub late: f64,
    /// The API server says 429, 500 or 503; of these, 500 may come when all is done.
    pub refused: f64,
    /// A write takes long: up to the time that it may take, and beyond it.
    pub slow: f64,
    /// A watch can't begin where the one before it has ended.
    pub gone: f64,
    /// A list, unless it is the first of its kind, is as it was some changes ago.
    pub stale: f64,
    /// Watches tell late, by up to this.
    pub lag: Duration,
    /// Nothing gets through.
    pub cut: bool,
}

impl Weather {
    /// Nothing goes wrong.
    pub const FAIR: Self = Self {
        lost: 0.0,
        unanswered: 0.0,
        late: 0.0,
        refused: 0.0,
        slow: 0.0,
        gone: 0.0,
        stale: 0.0,
        lag: Duration::ZERO,
        cut: false,
    };
    /// Nothing gets through.
    pub const CUT: Self = Self { cut: true, ..Self::FAIR };
}

/// By how many changes a list is stale at most.
const STALE: usize = 8;
/// How late watches are at most.
pub const LAG: Duration = Duration::from_secs(5);
/// How much longer than it may the API server works on a request at most: what it has sent to etcd it can't call back.
const OVERRUN: Duration = Duration::from_millis(500);
/// How long the way is, both ways.
const WAY: Duration = Duration::from_millis(4);
/// How long it is at most where a request is late. With [`OVERRUN`], it takes effect within a second of the time that it may take,
/// which is what the operator relies on (`apply/client.rs`): its client has closed the stream then. What comes later yet, a
/// version fences off only where the object has changed, and nothing where it is a creation.
const LATE: Duration = Duration::from_millis(400);
/// How long it takes until a connection is seen to be broken.
const BROKEN: Duration = Duration::from_millis(200);

/// A piece of what a watch tells.
type Piece = Result<Frame<Bytes>, Infallible>;
/// The body of an answer: all of it, or piece by piece.
type Told = Either<Full<Bytes>, StreamBody<mpsc::UnboundedReceiver<Piece>>>;

/// What has become of a connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection is broken")]
pub struct Broken;

struct State {
    seed: u64,
    /// How often each thing was asked for. What becomes of a request follows from what it is and its number, so that it does not
    /// depend on the order in which requests of one moment are made.
    counts: BTreeMap<String, u64>,
    /// The kinds of which the process has a list.
    listed: BTreeSet<String>,
    weather: Weather,
    /// The process is no more: nothing is answered, whoever is left to ask.
    dead: bool,
}

/// The way of one process to the API server.
#[derive(Clone)]
pub struct Link {
    /// Of whom.
    name: Arc<str>,
    store: Store,
    state: Arc<Mutex<State>>,
    /// Ends all watches.
    ends: Arc<Notify>,
}

impl Link {
    pub fn new(name: &str, store: Store, seed: u64, weather: Weather) -> Self {
        let state = State { seed, counts: BTreeMap::new(), listed: BTreeSet::new(), weather, dead: false };
        Self { name: name.into(), store, state: Arc::new(Mutex::new(state)), ends: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Changes what goes wrong from now on. What is cut off has no watches.
    pub fn set(&self, weather: Weather) {
        self.state().weather = weather;
        if weather.cut {
            self.end_watches();
        }
    }

    /// Ends all watches.
    pub fn end_watches(&self) {
        self.ends.notify_waiters();
    }

    /// The process is killed. What it has sent still arrives.
    pub fn kill(&self) {
        self.state().dead = true;
        self.end_watches();
    }

    /// A client of the process.
    pub fn client(&self) -> kube::Client {
        let link = self.clone();
        let service = tower::service_fn(move |request| link.clone().exchange(request));
        kube::Client::new(service, "clarion")
    }

    fn exchange(self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Told>, Broken>> {
        async move {
            if self.state().dead {
                return std::future::pending().await;
            }
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
            let call = Call::new(head.method, head.uri.path(), head.uri.query().unwrap_or_default(), &body);
            if call.watches() { self.watch(&call).await } else { self.ask(call).await }
        }
        .boxed()
    }

    /// What becomes of a request.
    fn fate(&self, call: &Call) -> Fate {
        let mut random = self.random(&format!("{} {:?} {}", call.method, call.key, call.watches()));
        let State { weather, dead, .. } = *self.state();
        let mut happens = |probability: f64| random.f64() < probability;
        let (lost, answered) = (happens(weather.lost), !happens(weather.unanswered));
        let (refused, late) = (happens(weather.refused), happens(weather.late));
        let (slow, is_done) = (call.writes() && happens(weather.slow), happens(0.5));
        let gone = happens(weather.gone);
        let may_take = Duration::from_millis(call.millis("timeout").unwrap_or(10_000));
        let takes = if slow { (may_take + OVERRUN).mul_f64(random.f64()) } else { Duration::from_millis(1) };
        Fate {
            arrives: !(dead || weather.cut || lost),
            way: (if late { LATE } else { WAY }).mul_f64(random.f64()),
            refused: refused.then(|| *random.choice(&[429_u16, 500, 503]).unwrap()),
            is_done,
            takes,
            may_take,
            gone,
            answered,
        }
    }

    async fn ask(self, mut call: Call) -> Result<Response<Told>, Broken> {
        let fate = self.fate(&call);
        let list = call.lists_all().then(|| call.key.plural.clone());
        if let Some(plural) = list.as_ref().filter(|plural| self.state().listed.contains(*plural)) {
            self.date_back(&mut call, plural);
        }
        if call.writes() && !fate.is_fair() {
            let Call { method, key, .. } = &call;
            let text = format!("{}: {method} {} {}: {fate:?}", self.name, key.plural, key.name);
            self.store.judge(|judge| judge.note(&text));
        }
        if !fate.arrives {
            sleep(BROKEN).await;
            return Err(Broken);
        }
        let (sender, answer) = oneshot::channel();
        let (this, answered) = (self.clone(), fate.answered);
        let under_way = call.writes().then(|| self.store.under_way());
        // What was sent arrives, whether or not its sender still waits.
        tokio::spawn(async move {
            sleep(fate.way).await;
            let _ = sender.send(fate.befall(&this.store, &call, under_way).await);
        });
        let answer = answer.await.map_err(|_| Broken)?;
        sleep(WAY).await;
        let cut = self.state().weather.cut;
        if !answered || cut {
            sleep(BROKEN).await;
            return Err(Broken);
        }
        if self.state().dead {
            return std::future::pending().await;
        }
        if let Some(plural) = list.filter(|_| answer.0.is_success()) {
            self.state().listed.insert(plural);
        }
        Ok(response(answer))
    }

    /// Has a list be as it was some changes ago, where the weather is like that.
    fn date_back(&self, call: &mut Call, plural: &str) {
        let mut random = self.random(&format!("stale {plural}"));
        if random.f64() < self.state().weather.stale
            && let Some(revision) = self.store.before(plural, random.usize(1..=STALE))
        {
            self.store.judge(|judge| judge.note(&format!("{}: {plural} are listed as of {revision}", self.name)));
            call.query.insert(EXACTLY.to_owned(), revision.to_string());
        }
    }

    async fn watch(self, call: &Call) -> Result<Response<Told>, Broken> {
        let fate = self.fate(call);
        sleep(fate.way).await;
        if !fate.arrives {
            return Err(Broken);
        }
        if let Some(code) = fate.refused {
            return Ok(response(failure(status(code), "not now")));
        }
        let revision = call.query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
        let known = self.store.answer(&Call { query: Default::default(), ..call.clone() });
        if !known.0.is_success() {
            return Ok(response(known));
        }
        if fate.gone {
            return Ok(response(failure(StatusCode::GONE, "too old resource version")));
        }
        let (sender, lines) = mpsc::unbounded();
        let plural = call.key.plural.clone();
        tokio::spawn(self.tell(plural, revision, sender));
        Ok(Response::new(Either::Right(StreamBody::new(lines))))
    }

    /// Tells a watch what happens, as late as the weather has it, until it ends.
    async fn tell(self, plural: String, mut revision: u64, sender: mpsc::UnboundedSender<Piece>) {
        let send = |line: &str| sender.unbounded_send(Ok(Frame::data(Bytes::copy_from_slice(line.as_bytes())))).is_ok();
        let until = Instant::now() + Duration::from_secs(290);
        loop {
            let ends = self.ends.notified();
            let Some((events, news)) = self.store.since(&plural, revision) else {
                let (_, gone) = failure(StatusCode::GONE, "too old resource version");
                send(&format!("{}\n", json!({"type": "ERROR", "object": gone})));
                return;
            };
            if events.is_empty() {
                select! {
                    biased;
                    () = ends => return,
                    () = news.notified() => {}
                    () = sleep_until(until) => return,
                }
                continue;
            }
            let part = self.random(&plural).f64();
            let lag = self.state().weather.lag.mul_f64(part);
            select! {
                biased;
                () = ends => return,
                () = sleep(WAY + lag) => {}
            }
            for Event { revision: of, line, .. } in events {
                if !send(&line) {
                    return;
                }
                revision = of;
            }
        }
    }

    /// What decides on something that happens again and again.
    fn random(&self, what: &str) -> fastrand::Rng {
        let State { seed, counts, .. } = &mut *self.state();
        let count = counts.entry(what.to_owned()).or_default();
        *count += 1;
        let mut hasher = std::hash::DefaultHasher::new();
        (*seed, what, *count).hash(&mut hasher);
        fastrand::Rng::with_seed(hasher.finish())
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
struct Fate {
    arrives: bool,
    way: Duration,
    refused: Option<u16>,
    /// It is done all the same.
    is_done: bool,
    takes: Duration,
    may_take: Duration,
    /// Where it would begin has been forgotten.
    gone: bool,
    answered: bool,
}

impl Fate {
    fn is_fair(&self) -> bool {
        self.arrives && self.answered && self.refused.is_none() && self.way <= WAY && self.takes < BROKEN
    }

    /// What the API server does and answers. A write that takes too long is given up, which does not call back what etcd has.
    async fn befall(&self, store: &Store, call: &Call, under_way: Option<UnderWay>) -> Answer {
        if let Some(code) = self.refused {
            if code == 500 && self.is_done {
                store.answer(call);
            }
            return failure(status(code), "not now");
        }
        if self.takes <= self.may_take {
            sleep(self.takes).await;
            return store.answer(call);
        }
        let (store, call, later) = (store.clone(), call.clone(), self.takes - self.may_take);
        sleep(self.may_take).await;
        tokio::spawn(async move {
            sleep(later).await;
            store.answer(&call);
            drop(under_way);
        });
        failure(StatusCode::GATEWAY_TIMEOUT, "Timeout: request did not complete within the allotted timeout")
    }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap()
}

fn response((status, body): (StatusCode, Value)) -> Response<Told> {
    let mut response = Response::new(Either::Left(Full::from(body.to_string())));
    *response.status_mut() = status;
    response
}
