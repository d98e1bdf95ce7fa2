//! The Lease as the API server has it: how it is read and written, which others there are, and what it asks of its holder.

use std::{collections::BTreeMap, time::Duration};

use clarion_api::{LoadBalancerPool, Timestamp, frr::FRRConfiguration, names};
use clarion_core::world::DrainAll;
use http::{Method, Request};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, Resource as _,
    api::{ListParams, ObjectMeta},
    core::PartialObjectMeta,
};
use serde_json::Value;
use tokio::time::Instant;
use tracing::warn;

use super::Terms;

/// Who holds the Lease; nobody if it is empty.
pub fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// How long others keep off after a renewal.
pub fn duration(lease: &Lease) -> Option<Duration> {
    let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs)
}

/// A Lease that has not been renewed for so long, by whatever clock, is of a Clarion that is gone.
const ABANDONED_AFTER: Duration = Duration::from_secs(600);

/// Whether its holder is gone for good and did not free it.
pub fn is_abandoned(lease: &Lease, now: Timestamp) -> bool {
    let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
    let age = renewed.map(|renewed| now.duration_since(renewed.0));
    age.and_then(|age| Duration::try_from(age).ok()).is_some_and(|age| age > ABANDONED_AFTER)
}

/// Its namespace and name.
pub fn name(lease: &Lease) -> String {
    let metadata = &lease.metadata;
    format!("{}/{}", metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}

/// What people ask of its holder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// To withdraw everything ([`names::DRAIN_ALL_ANNOTATION`]).
    pub drain_all: Option<DrainAll>,
    /// To withdraw what this configuration takes away ([`names::APPROVED_ANNOTATION`]).
    pub approved: Option<String>,
}

/// What people ask of its holder.
pub fn asked(lease: &Lease) -> Asked {
    let annotations = lease.metadata.annotations.as_ref();
    let approved = annotations.and_then(|annotations| annotations.get(names::APPROVED_ANNOTATION)).cloned();
    Asked { drain_all: drain_all(lease), approved }
}

fn drain_all(lease: &Lease) -> Option<DrainAll> {
    let asked = lease.metadata.annotations.as_ref()?.get(names::DRAIN_ALL_ANNOTATION)?;
    match asked.as_str() {
        names::DRAIN_ROUTES => Some(DrainAll::Routes),
        names::DRAIN_ADDRESSES => Some(DrainAll::Addresses),
        other => {
            warn!(lease = name(lease), value = other, "the annotation {} has no meaning", names::DRAIN_ALL_ANNOTATION);
            None
        }
    }
}

/// The Leases of all Clarions of a cluster, as they are. There is one for every node beside them, so this is work for the API
/// server.
pub async fn all(client: &Client) -> Result<Vec<Lease>, kube::Error> {
    list(client, ListParams::default()).await
}

/// The same as they were a moment ago, from the API server's memory.
pub async fn all_cached(client: &Client) -> Result<Vec<Lease>, kube::Error> {
    list(client, ListParams::default().match_any()).await
}

async fn list(client: &Client, parameters: ListParams) -> Result<Vec<Lease>, kube::Error> {
    let parameters = parameters.labels(&names::managed_by_clarion());
    Ok(Api::<Lease>::all(client.clone()).list(&parameters).await?.items)
}

/// Whether there are traces of a Clarion, which may be at work by a Lease that nobody sees: FRRConfigurations, or what it has
/// said of a pool. Where that can't be found out, there may be.
pub async fn may_be_led(client: &Client) -> bool {
    let (configurations, pools) = tokio::join!(has_configurations(client), has_pools_in_use(client));
    [configurations, pools].into_iter().any(|found| {
        found.unwrap_or_else(|error| {
            warn!(%error, "whether Clarion has been here can't be found out, so this process waits as if it had");
            true
        })
    })
}

async fn has_configurations(client: &Client) -> Result<bool, kube::Error> {
    let parameters = ListParams::default().labels(&names::managed_by_clarion()).limit(1);
    let configurations = Api::<PartialObjectMeta<FRRConfiguration>>::all(client.clone());
    Ok(known(configurations.list(&parameters).await)?.is_some_and(|found| !found.items.is_empty()))
}

async fn has_pools_in_use(client: &Client) -> Result<bool, kube::Error> {
    let request =
        Request::get(LoadBalancerPool::url_path(&(), None)).body(Vec::new()).map_err(kube::Error::HttpError)?;
    let pools = known(client.request::<Value>(request).await)?;
    let items = pools.iter().filter_map(|pools| pools.get("items")?.as_array()).flatten();
    Ok(items.into_iter().any(|pool| pool.get("status").is_some()))
}

/// What was answered, if the API server knows the kind.
fn known<T>(answer: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// What was seen of Leases. Expiry is judged by this process's clock, from when it first saw a record as it is: clocks of two
/// machines may differ.
#[derive(Debug, Default)]
pub struct Seen(BTreeMap<String, (String, Instant)>);

impl Seen {
    /// How long the record of a Lease has been what it is, as far as is known.
    pub fn age(&mut self, lease: &Lease) -> Duration {
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let (known, since) = self.0.entry(name(lease)).or_insert_with(|| (version.clone(), Instant::now()));
        if *known != version {
            (*known, *since) = (version, Instant::now());
        }
        since.elapsed()
    }

    /// Whether somebody holds the Lease and has renewed it in time, as far as is known.
    pub fn is_held(&mut self, lease: &Lease, at_least: Duration) -> bool {
        let age = self.age(lease);
        !holder(lease).is_empty() && age < duration(lease).unwrap_or(at_least).max(at_least)
    }
}

/// The record with its times set, on top of the version that was read, and with the label by which [`all`] finds it.
fn record(terms: &Terms, before: Option<&Lease>, holder: Option<&str>, now: Timestamp) -> Lease {
    let now = MicroTime(now);
    let old = before.and_then(|lease| lease.spec.clone()).unwrap_or_default();
    let same_holder = old.holder_identity.as_deref() == holder;
    let transitions = old.lease_transitions.unwrap_or(0);
    let mut labels = before.and_then(|lease| lease.metadata.labels.clone()).unwrap_or_default();
    labels.insert(names::MANAGED_BY_LABEL.to_owned(), names::FIELD_MANAGER.to_owned());
    Lease {
        metadata: ObjectMeta {
            labels: Some(labels),
            name: Some(terms.name.clone()),
            namespace: Some(terms.namespace.clone()),
            ..before.map(|lease| lease.metadata.clone()).unwrap_or_default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.unwrap_or_default().to_owned()),
            lease_duration_seconds: i32::try_from(terms.duration.as_secs().max(1)).ok(),
            acquire_time: if same_holder { old.acquire_time } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(
                transitions.saturating_add(i32::from(before.is_some() && !same_holder && holder.is_some())),
            ),
            ..old
        }),
    }
}

/// Reads it, if it is there.
pub async fn get(client: &Client, terms: &Terms) -> Result<Option<Lease>, kube::Error> {
    let request = Request::get(path(terms)).body(Vec::new()).map_err(kube::Error::HttpError)?;
    known(client.request::<Lease>(request).await)
}

/// Writes it on top of the version that was read, or creates it where there was none.
pub async fn write(
    client: &Client,
    terms: &Terms,
    before: Option<&Lease>,
    holder: Option<&str>,
    now: Timestamp,
) -> Result<Lease, kube::Error> {
    let lease = record(terms, before, holder, now);
    let (method, path) = match before {
        Some(_) => (Method::PUT, path(terms)),
        None => (Method::POST, Lease::url_path(&(), Some(&terms.namespace))),
    };
    let uri = format!("{path}?fieldManager={}&timeout={}ms", names::FIELD_MANAGER, terms.last_write().as_millis());
    let body = serde_json::to_vec(&lease).map_err(kube::Error::SerdeError)?;
    let request = Request::builder().method(method).uri(uri).header(http::header::CONTENT_TYPE, "application/json");
    client.request(request.body(body).map_err(kube::Error::HttpError)?).await
}

fn path(terms: &Terms) -> String {
    format!("{}/{}", Lease::url_path(&(), Some(&terms.namespace)), terms.name)
}
