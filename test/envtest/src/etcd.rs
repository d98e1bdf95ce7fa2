//! etcd, as a process and through its JSON gateway: every change that the API server makes, in the order in which it makes them,
//! whether the API server is there to tell of them or not.

use std::path::{Path, PathBuf};

use futures::{AsyncBufReadExt as _, Stream, StreamExt as _};
use k8s_openapi::ByteString;
use kube::{Client, Config};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{Error, Process, control_plane::free_port, wait};

/// The process, which can end and come back with what it had.
pub(crate) struct Server {
    process: Option<Process>,
    program: PathBuf,
    directory: PathBuf,
    port: u16,
}

impl Server {
    /// Starts it, with its data and its log in this directory.
    ///
    /// # Errors
    /// If it can't be started.
    pub(crate) fn start(tools: &Path, directory: &Path) -> Result<Self, Error> {
        let port = free_port()?;
        let mut this = Self { process: None, program: tools.join("etcd"), directory: directory.to_owned(), port };
        this.run()?;
        Ok(this)
    }

    /// Where clients find it.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends it, the hard way.
    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it on the data that it had.
    ///
    /// # Errors
    /// If it can't be started.
    pub(crate) fn run(&mut self) -> Result<(), Error> {
        let client = self.url();
        let peer = format!("http://127.0.0.1:{}", free_port()?);
        let arguments = [
            format!("--data-dir={}", self.directory.join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--unsafe-no-fsync".to_owned(),
            // Of 100,000 Services a few versions each have more than the 2 GiB that are the default.
            "--quota-backend-bytes=8589934592".to_owned(),
            "--log-level=warn".to_owned(),
        ];
        let (log, no_environment): (_, [(&str, &str); 0]) = (self.directory.join("etcd.log"), []);
        self.process = Some(Process::start("etcd", &log, &self.program, arguments, no_environment)?);
        Ok(())
    }

    /// The error that tells that it did not come up.
    pub(crate) fn not_up(&self, why: &str) -> Error {
        self.process
            .as_ref()
            .map_or_else(|| Error::Command("etcd".to_owned(), why.to_owned()), |process| process.not_up(why))
    }
}

/// A client of etcd's.
#[derive(Clone)]
pub struct Etcd(Client);

/// A change of one object. Its value is JSON where the API server stores JSON: see
/// [`ControlPlane::storing_json`](crate::ControlPlane::storing_json).
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// When: of all changes the later ones have the greater revision.
    pub revision: u64,
    /// Where it is stored.
    pub key: String,
    /// The object, unless it is deleted now; null if it is not JSON.
    pub after: Option<Value>,
}

/// What a watch brings.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// Changes of one revision after the other.
    Changes(Vec<Change>),
    /// Nothing more: what comes next has been compacted.
    Compacted,
}

/// All that the API server stores lies below this key.
const FIRST: &str = "/registry/";
/// The first key that does not.
const END: &str = "/registry0";

impl Etcd {
    /// A client for this address.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn new(url: &str) -> Result<Self, Error> {
        let uri = url.parse().map_err(|_| Error::Manifest(url.to_owned(), "it is no address".to_owned()))?;
        let mut config = Config::new(uri);
        config.default_retry = false;
        Ok(Self(Client::try_from(config)?))
    }

    /// The revision of the last change.
    ///
    /// # Errors
    /// If etcd does not answer.
    pub async fn revision(&self) -> Result<u64, Error> {
        let answer: Answer = self.ask("/v3/kv/range", &json!({"key": key(FIRST), "count_only": true})).await?;
        Ok(answer.header.revision)
    }

    /// Forgets what was before this revision.
    ///
    /// # Errors
    /// If etcd does not answer, or has forgotten that already.
    pub async fn compact(&self, revision: u64) -> Result<(), Error> {
        self.ask::<Value>("/v3/kv/compaction", &json!({"revision": revision.to_string()})).await.map(drop)
    }

    /// Everything that changes, from this revision on, until the connection ends.
    ///
    /// # Errors
    /// If etcd does not answer.
    pub async fn watch(&self, from: u64) -> Result<impl Stream<Item = Result<Seen, Error>> + use<>, Error> {
        let create = json!({"key": key(FIRST), "range_end": key(END), "start_revision": from.to_string()});
        let lines = self.0.request_stream(request("/v3/watch", &json!({"create_request": create}))?).await?.lines();
        Ok(lines.map(|line| read(&line?)))
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Error> {
        Ok(self.0.request(request(path, body)?).await?)
    }

    /// Waits until etcd answers.
    pub(crate) async fn answers(&self) -> Result<(), String> {
        wait::until("an answer of etcd", async || self.revision().await.map(drop)).await
    }
}

fn request(path: &str, body: &Value) -> Result<http::Request<Vec<u8>>, Error> {
    let request = http::Request::post(path).header(http::header::CONTENT_TYPE, "application/json");
    Ok(request.body(body.to_string().into_bytes()).map_err(kube::Error::HttpError)?)
}

fn key(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}

#[derive(Deserialize)]
struct Answer {
    header: Header,
}

#[derive(Deserialize)]
struct Header {
    #[serde(deserialize_with = "number")]
    revision: u64,
}

/// One line of a watch.
#[derive(Deserialize)]
struct Line {
    result: Events,
}

#[derive(Deserialize)]
struct Events {
    #[serde(default)]
    canceled: bool,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type", default)]
    type_: String,
    kv: KeyValue,
}

#[derive(Deserialize)]
struct KeyValue {
    key: ByteString,
    #[serde(deserialize_with = "number")]
    mod_revision: u64,
    #[serde(default)]
    value: ByteString,
}

/// The gateway writes 64-bit numbers as texts.
fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

fn read(line: &str) -> Result<Seen, Error> {
    let line: Line =
        serde_json::from_str(line).map_err(|error| Error::Manifest("what etcd says".to_owned(), error.to_string()))?;
    if line.result.canceled {
        return Ok(Seen::Compacted);
    }
    Ok(Seen::Changes(line.result.events.into_iter().map(change).collect()))
}

fn change(Event { type_, kv }: Event) -> Change {
    let value = || serde_json::from_slice(&kv.value.0).unwrap_or(Value::Null);
    Change {
        revision: kv.mod_revision,
        key: String::from_utf8_lossy(&kv.key.0).into_owned(),
        after: (type_ != "DELETE").then(value),
    }
}
