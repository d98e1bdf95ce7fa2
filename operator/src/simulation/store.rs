//! What a simulated API server stores, and what it answers: preconditions, versions, generations, history.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use clarion_api::names;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{Epoch, judge::Judge};

/// A kind that the server knows, by the plural in its paths.
struct Known {
    plural: &'static str,
    api_version: &'static str,
    kind: &'static str,
}

const fn known(plural: &'static str, api_version: &'static str, kind: &'static str) -> Known {
    Known { plural, api_version, kind }
}

const OURS: &str = "clarionlb.io/v1beta1";
const FRR_K8S: &str = "frrk8s.metallb.io/v1beta1";

/// All kinds. For others there is no such path, as if their CRDs were not installed.
const KINDS: [Known; 14] = [
    known("services", "v1", "Service"),
    known("endpointslices", "discovery.k8s.io/v1", "EndpointSlice"),
    known("nodes", "v1", "Node"),
    known("namespaces", "v1", "Namespace"),
    known("servicecidrs", "networking.k8s.io/v1", "ServiceCIDR"),
    known("customresourcedefinitions", "apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    known("leases", "coordination.k8s.io/v1", "Lease"),
    known("loadbalancerpools", OURS, "LoadBalancerPool"),
    known("addressreservations", OURS, "AddressReservation"),
    known("loadbalanceradvertisements", OURS, "LoadBalancerAdvertisement"),
    known("routerpeers", OURS, "RouterPeer"),
    known("communityaliases", OURS, "CommunityAlias"),
    known("frrconfigurations", FRR_K8S, "FRRConfiguration"),
    known("bgpsessionstates", FRR_K8S, "BGPSessionState"),
];

/// Nobody may see these.
const FORBIDDEN: [&str; 2] = ["secrets", "pods"];

/// The key in a query by which a list is asked for as it was at a revision.
pub const EXACTLY: &str = "exactly";

/// An object of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The plural of the kind.
    pub plural: String,
    /// The namespace, or empty.
    pub namespace: String,
    /// The name, or empty where all are meant.
    pub name: String,
}

impl Key {
    pub fn new(plural: &str, namespace: &str, name: &str) -> Self {
        Self { plural: plural.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// A request, as it arrives.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is to be done.
    pub method: Method,
    /// To what.
    pub key: Key,
    /// What follows the `?`.
    pub query: BTreeMap<String, String>,
    /// The body.
    pub body: Value,
}

impl Call {
    /// Reads a request.
    pub fn new(method: Method, path: &str, query: &str, body: &[u8]) -> Self {
        let mut parts = path.trim_start_matches('/').split('/');
        let skipped = if parts.next() == Some("api") { 1 } else { 2 };
        let rest: Vec<&str> = parts.skip(skipped).collect();
        let (namespace, rest) = match rest.as_slice() {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest.to_vec()),
            rest => ("", rest.to_vec()),
        };
        let part = |n: usize| rest.get(n).copied().unwrap_or_default();
        let query = query.split('&').filter_map(|pair| pair.split_once('='));
        Self {
            method,
            key: Key::new(part(0), namespace, part(1)),
            query: query.map(|(key, value)| (key.to_owned(), value.replace("%2F", "/").replace("%3D", "="))).collect(),
            body: serde_json::from_slice(body).unwrap_or_default(),
        }
    }

    /// Whether it would change something.
    pub fn writes(&self) -> bool {
        self.method != Method::GET
    }

    /// Whether the answer goes on for ever.
    pub fn watches(&self) -> bool {
        self.query.get("watch").is_some_and(|watch| watch == "true" || watch == "1")
    }

    /// Whether it is for all objects of a kind, as they are now, to be watched from there on.
    pub fn lists_all(&self) -> bool {
        let Key { plural, namespace, name } = &self.key;
        let is_all = namespace.is_empty() && name.is_empty() && !self.query.contains_key("labelSelector");
        is_all && self.method == Method::GET && !plural.is_empty() && plural != "leases"
    }

    /// A number of milliseconds in the query.
    pub fn millis(&self, name: &str) -> Option<u64> {
        self.query.get(name)?.strip_suffix("ms")?.parse().ok()
    }
}

/// What is answered.
pub type Answer = (StatusCode, Value);

/// A failure as the API server tells of it.
pub fn failure(code: StatusCode, message: &str) -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": code.canonical_reason().unwrap_or_default(), "code": code.as_u16(),
    });
    (code, status)
}

/// Something that happened to an object.
#[derive(Clone)]
pub struct Event {
    /// The version of the whole store after it.
    pub revision: u64,
    /// What it was before.
    before: Option<Arc<Value>>,
    key: Key,
    /// The line by which watches tell of it.
    pub line: Arc<str>,
}

#[derive(Default)]
struct Table {
    objects: BTreeMap<Key, Arc<Value>>,
    events: Vec<Event>,
    /// Wakes who waits for events, in the order in which they came: a `tokio::sync::watch` would wake them in any.
    news: Arc<Notify>,
}

struct State {
    revision: u64,
    uids: u64,
    tables: BTreeMap<&'static str, Table>,
    /// Watches can't begin before it.
    compacted: u64,
    epoch: Epoch,
    judge: Judge,
    /// Writes that were sent and are not decided.
    under_way: usize,
}

/// The store, shared by all who ask.
#[derive(Clone)]
pub struct Store(Arc<Mutex<State>>);

impl Store {
    /// An empty one, of which a judge sees everything that happens.
    pub fn new(epoch: Epoch, judge: Judge) -> Self {
        let tables = KINDS.iter().map(|known| (known.plural, Table::default())).collect();
        Self(Arc::new(Mutex::new(State { revision: 1, uids: 0, tables, compacted: 0, epoch, judge, under_way: 0 })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Asks the judge something.
    pub fn judge<T>(&self, ask: impl FnOnce(&mut Judge) -> T) -> T {
        ask(&mut self.state().judge)
    }

    /// Whether a write may still take place.
    pub fn has_writes_under_way(&self) -> bool {
        self.state().under_way > 0
    }

    /// Counts a write until what is returned is dropped.
    pub fn under_way(&self) -> UnderWay {
        self.state().under_way += 1;
        UnderWay(self.clone())
    }

    /// Answers a request that no time passes in.
    pub fn answer(&self, call: &Call) -> Answer {
        let mut state = self.state();
        let plural = call.key.plural.as_str();
        match plural {
            "" => return (StatusCode::OK, json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []})),
            "events" => return (StatusCode::CREATED, call.body.clone()),
            _ if FORBIDDEN.contains(&plural) => return failure(StatusCode::FORBIDDEN, "forbidden"),
            _ if !state.tables.contains_key(plural) => return failure(StatusCode::NOT_FOUND, "no such path"),
            _ => {}
        }
        let outcome = match call.method {
            Method::GET if call.key.name.is_empty() => Ok(state.list(call)),
            Method::GET => state.get(&call.key),
            Method::POST => state.create(&call.key, call.body.clone()),
            Method::PUT => state.replace(&call.key, call.body.clone()),
            Method::PATCH => state.patch(call),
            Method::DELETE => state.delete(&call.key, &call.body),
            _ => Err(failure(StatusCode::METHOD_NOT_ALLOWED, "no such method")),
        };
        outcome.unwrap_or_else(|failure| failure)
    }

    /// An object that is there.
    pub fn get(&self, key: &Key) -> Arc<Value> {
        self.state().find(key).unwrap()
    }

    /// What has happened to a kind since a revision, or nothing if that is too long ago; and a way to learn of more.
    pub fn since(&self, plural: &str, revision: u64) -> Option<(Vec<Event>, Arc<Notify>)> {
        let state = self.state();
        let table = state.tables.get(plural)?;
        if revision < state.compacted {
            return None;
        }
        let first = table.events.partition_point(|event| event.revision <= revision);
        Some((table.events.get(first..)?.to_vec(), Arc::clone(&table.news)))
    }

    /// The revision before the last so many changes of a kind, or as many of them as are known.
    pub fn before(&self, plural: &str, changes: usize) -> Option<u64> {
        let state = self.state();
        let events = &state.tables.get(plural)?.events;
        Some(events.get(events.len().saturating_sub(changes))?.revision - 1)
    }

    /// Forgets what has happened until now.
    pub fn compact(&self) {
        let mut state = self.state();
        state.compacted = state.revision;
        for table in state.tables.values_mut() {
            table.events.clear();
        }
    }

    /// What a user does: an object is there as it is given, with the status that it has.
    pub fn apply(&self, plural: &str, object: Value) {
        self.take(plural, object, true);
    }

    /// An object is there as it is given, its status too.
    pub fn put(&self, plural: &str, object: Value) {
        self.take(plural, object, false);
    }

    fn take(&self, plural: &str, mut object: Value, keeps_status: bool) {
        let mut state = self.state();
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = Key::new(plural, &text("/metadata/namespace"), &text("/metadata/name"));
        let outcome = match state.find(&key) {
            Some(there) => {
                object["metadata"]["uid"] = there["metadata"]["uid"].clone();
                if let Some(status) = there.get("status").filter(|_| keeps_status) {
                    object["status"] = status.clone();
                }
                state.update(key, there, object)
            }
            None => state.create(&key, object),
        };
        assert!(outcome.is_ok(), "a user's object: {outcome:?}");
    }

    /// What a user does: an object goes.
    pub fn remove(&self, plural: &str, namespace: &str, name: &str) {
        let _ = self.state().delete(&Key::new(plural, namespace, name), &Value::Null);
    }
}

/// A write that is under way.
pub struct UnderWay(Store);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.state().under_way -= 1;
    }
}

impl State {
    fn table(&mut self, plural: &str) -> &mut Table {
        self.tables.get_mut(plural).unwrap()
    }

    fn find(&self, key: &Key) -> Option<Arc<Value>> {
        self.tables.get(key.plural.as_str())?.objects.get(key).cloned()
    }

    fn get(&self, key: &Key) -> Result<Answer, Answer> {
        let found = self.find(key).ok_or_else(|| failure(StatusCode::NOT_FOUND, "not found"))?;
        Ok((StatusCode::OK, (*found).clone()))
    }

    /// With `resourceVersion=0`, how things were a moment ago.
    fn list(&self, call: &Call) -> Answer {
        let known = KINDS.iter().find(|known| known.plural == call.key.plural).unwrap();
        let table = self.tables.get(known.plural).unwrap();
        let mut objects = table.objects.clone();
        let exactly = call.query.get(EXACTLY).map(|version| version.parse().unwrap());
        let is_cached = call.query.get("resourceVersion").is_some_and(|version| version == "0");
        let last = table.events.last().filter(|_| is_cached).map(|event| event.revision - 1);
        let revision: u64 = exactly.or(last).unwrap_or(self.revision);
        for event in table.events.iter().rev().take_while(|event| event.revision > revision) {
            match &event.before {
                Some(before) => objects.insert(event.key.clone(), Arc::clone(before)),
                None => objects.remove(&event.key),
            };
        }
        let ours = call.query.contains_key("labelSelector");
        objects
            .retain(|_, object| !ours || object["metadata"]["labels"][names::MANAGED_BY_LABEL] == names::FIELD_MANAGER);
        let is_meant = |key: &Key| call.key.namespace.is_empty() || key.namespace == call.key.namespace;
        let items: Vec<&Value> = objects.iter().filter(|(key, _)| is_meant(key)).map(|(_, object)| &**object).collect();
        let list = json!({
            "kind": format!("{}List", known.kind), "apiVersion": known.api_version,
            "metadata": {"resourceVersion": revision.to_string()}, "items": items,
        });
        (StatusCode::OK, list)
    }

    fn create(&mut self, key: &Key, mut object: Value) -> Result<Answer, Answer> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let key = Key { name, ..key.clone() };
        if self.find(&key).is_some() {
            return Err(failure(StatusCode::CONFLICT, "already exists"));
        }
        self.uids += 1;
        let meta = &mut object["metadata"];
        meta["uid"] = json!(format!("uid-{}", self.uids));
        meta["creationTimestamp"] = json!(self.epoch.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        meta["generation"] = json!(1);
        let (_, stored) = self.store(key, None, object)?;
        Ok((StatusCode::CREATED, stored))
    }

    /// Whether a write still means the object that is there.
    fn checked(&self, key: &Key, uid: &Value, version: &Value) -> Result<Arc<Value>, Answer> {
        let there = self.find(key).ok_or_else(|| failure(StatusCode::NOT_FOUND, "not found"))?;
        let meta = &there["metadata"];
        let is_met = |wanted: &Value, found: &Value| wanted.is_null() || wanted == found;
        if is_met(uid, &meta["uid"]) && is_met(version, &meta["resourceVersion"]) {
            Ok(there)
        } else {
            Err(failure(StatusCode::CONFLICT, "the object has been modified"))
        }
    }

    fn replace(&mut self, key: &Key, object: Value) -> Result<Answer, Answer> {
        let there = self.checked(key, &object["metadata"]["uid"], &object["metadata"]["resourceVersion"])?;
        self.update(key.clone(), there, object)
    }

    fn update(&mut self, key: Key, there: Arc<Value>, mut object: Value) -> Result<Answer, Answer> {
        let changed = u64::from(object["spec"] != there["spec"]);
        let (meta, old) = (&mut object["metadata"], &there["metadata"]);
        meta["creationTimestamp"] = old["creationTimestamp"].clone();
        meta["generation"] = json!(old["generation"].as_u64().unwrap_or(1) + changed);
        for field in ["apiVersion", "kind"] {
            object[field] = there[field].clone();
        }
        self.store(key, Some(there), object)
    }

    fn patch(&mut self, call: &Call) -> Result<Answer, Answer> {
        if let Some(operations) = call.body.as_array() {
            let value =
                |path: &str| operations.iter().find(|o| o["path"] == path).map_or(Value::Null, |o| o["value"].clone());
            let there = self.checked(&call.key, &value("/metadata/uid"), &value("/metadata/resourceVersion"))?;
            let mut object = (*there).clone();
            object["status"] = value("/status");
            return self.store(call.key.clone(), Some(there), object);
        }
        let meta = &call.body["metadata"];
        let there = self.checked(&call.key, &meta["uid"], &meta["resourceVersion"])?;
        let mut object = (*there).clone();
        let status = &call.body["status"];
        let mut conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        for patch in status["conditions"].as_array().into_iter().flatten() {
            conditions.retain(|condition| condition["type"] != patch["type"]);
            if patch["$patch"] != "delete" {
                conditions.push(patch.clone());
            }
        }
        conditions.sort_by_key(|condition| condition["type"].as_str().unwrap_or_default().to_owned());
        object["status"]["conditions"] = json!(conditions);
        if let Some(balancer) = status.get("loadBalancer") {
            object["status"]["loadBalancer"] = balancer.clone();
        }
        self.store(call.key.clone(), Some(there), object)
    }

    fn delete(&mut self, key: &Key, options: &Value) -> Result<Answer, Answer> {
        let wanted = &options["preconditions"];
        let there = self.checked(key, &wanted["uid"], &wanted["resourceVersion"])?;
        self.table(&key.plural).objects.remove(key);
        let uid = there["metadata"]["uid"].clone();
        self.happened(key.clone(), Some(there), None);
        Ok((
            StatusCode::OK,
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": {"uid": uid}}),
        ))
    }

    /// Stores an object. One that is as it was keeps its version.
    fn store(&mut self, key: Key, before: Option<Arc<Value>>, mut object: Value) -> Result<Answer, Answer> {
        if let Some(before) = &before {
            object["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            if **before == object {
                return Ok((StatusCode::OK, object));
            }
        }
        let known = KINDS.iter().find(|known| known.plural == key.plural).unwrap();
        object["apiVersion"] = json!(known.api_version);
        object["kind"] = json!(known.kind);
        object["metadata"]["resourceVersion"] = json!((self.revision + 1).to_string());
        let stored = Arc::new(object.clone());
        self.table(&key.plural).objects.insert(key.clone(), Arc::clone(&stored));
        self.happened(key, before, Some(stored));
        Ok((StatusCode::OK, object))
    }

    fn happened(&mut self, key: Key, before: Option<Arc<Value>>, after: Option<Arc<Value>>) {
        self.revision += 1;
        let revision = self.revision;
        let (type_, mut object) = match (&before, &after) {
            (None, Some(after)) => ("ADDED", (**after).clone()),
            (_, Some(after)) => ("MODIFIED", (**after).clone()),
            (Some(before), None) => ("DELETED", (**before).clone()),
            (None, None) => return,
        };
        object["metadata"]["resourceVersion"] = json!(revision.to_string());
        let line = format!("{}\n", json!({"type": type_, "object": object})).into();
        self.judge.sees(&key, before.as_deref(), after.as_deref());
        let table = self.table(&key.plural);
        table.events.push(Event { revision, before, key, line });
        table.news.notify_waiters();
    }
}
