//! One writer at a time: a Lease, and the arithmetic that keeps writes of two leaders apart.
//!
//! With a Lease of duration D, a leader renews it every D/8 and stops writing when no renewal has succeeded for 2/3 D,
//! counted from the moment before the successful request was sent. Every write has a server-side timeout of D/4, so the last
//! one has ended at 2/3 D + D/4 = 11/12 D. Another process takes over no earlier than D after it saw the last renewal.
//! What remains is a process that was stopped between its look at the clock and its request: writes carry a
//! resourceVersion, and a new leader only adds for another D/4 + D/12.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use clarion_api::Timestamp;
use http::{Method, Request};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Client, Resource as _, api::ObjectMeta};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

/// Which Lease, held how long, by whom.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What this process calls itself in it; no other process may.
    pub identity: String,
    /// How long others keep off after a renewal.
    pub duration: Duration,
}

impl Terms {
    /// How long a leader goes on without a successful renewal.
    pub fn renew_within(&self) -> Duration {
        self.duration * 2 / 3
    }

    /// The server-side timeout of writes.
    pub fn write_timeout(&self) -> Duration {
        self.duration / 4
    }

    /// How long a new leader only adds.
    pub fn add_only(&self) -> Duration {
        self.write_timeout() + self.duration / 12
    }

    fn retry_every(&self) -> Duration {
        self.duration / 8
    }
}

/// How a Lease was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// Its last holder has freed it: no write of that process can be under way.
    HandedOver,
    /// There was none. If somebody deleted it, writes of another process may still arrive.
    Created,
    /// Its last holder let it expire: writes of that process may still arrive.
    Forced,
}

/// A Lease that is held.
#[derive(Clone)]
pub struct Leadership {
    client: Client,
    terms: Terms,
    /// Up to when this process may write.
    until: Arc<Mutex<Instant>>,
}

/// The Lease is lost.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Another process has it.
    #[error("the Lease {lease} has been taken by {holder}; this process ends, so that only one writes")]
    Taken {
        /// The Lease.
        lease: String,
        /// Its holder now.
        holder: String,
    },
    /// It could not be renewed in time.
    #[error("the Lease {lease} could not be renewed for {within:?}; this process ends, so that only one writes")]
    Expired {
        /// The Lease.
        lease: String,
        /// How long was tried.
        within: Duration,
    },
    /// The task that renews it has ended.
    #[error("the Lease is no longer renewed; this process ends, so that only one writes")]
    Unwatched,
}

/// Waits until the Lease can be had, and takes it.
pub async fn acquire(client: Client, terms: Terms) -> (Leadership, Takeover) {
    let mut seen: Option<(String, Instant)> = None;
    let mut told = String::new();
    loop {
        let started = Instant::now();
        let limit = terms.renew_within();
        let attempt = timeout(limit, attempt(&client, &terms, &mut seen));
        match attempt.await.unwrap_or_else(|_| Err(kube::Error::Service(format!("no answer within {limit:?}").into())))
        {
            Ok(Attempt::Got(takeover)) => {
                info!(lease = terms.name, identity = terms.identity, ?takeover, "leading");
                let until = Arc::new(Mutex::new(started + terms.renew_within()));
                return (Leadership { client, terms, until }, takeover);
            }
            Ok(Attempt::Held(holder)) => {
                if told != holder {
                    info!(lease = terms.name, holder, "standing by");
                    told = holder;
                }
            }
            Err(error) => warn!(lease = terms.name, %error, "the Lease can't be read or written; trying again"),
        }
        sleep(terms.retry_every()).await;
    }
}

enum Attempt {
    Got(Takeover),
    Held(String),
}

/// Expiry is judged by this process's clock, from when it first saw the record as it is: clocks of two machines may
/// differ.
async fn attempt(client: &Client, terms: &Terms, seen: &mut Option<(String, Instant)>) -> Result<Attempt, kube::Error> {
    let Some(lease) = get(client, terms).await? else {
        let lease = record(terms, None, Some(&terms.identity));
        send(client, terms, Method::POST, &lease).await?;
        return Ok(Attempt::Got(Takeover::Created));
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.clone().unwrap_or_default();
    let version = lease.metadata.resource_version.clone().unwrap_or_default();
    let since = match seen {
        Some((known, since)) if *known == version => *since,
        _ => seen.insert((version, Instant::now())).1,
    };
    let duration = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    let takeover = if holder.is_empty() {
        Takeover::HandedOver
    } else if since.elapsed() >= duration.unwrap_or(terms.duration).max(terms.duration) {
        Takeover::Forced
    } else {
        return Ok(Attempt::Held(holder));
    };
    match send(client, terms, Method::PUT, &record(terms, Some(&lease), Some(&terms.identity))).await {
        Ok(_) => Ok(Attempt::Got(takeover)),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Attempt::Held("another process".to_owned())),
        Err(error) => Err(error),
    }
}

impl Leadership {
    /// Whether this process may write now.
    pub fn may_write(&self) -> bool {
        Instant::now() < self.until()
    }

    fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews the Lease for as long as that works; returns when it is lost.
    pub async fn keep(&self) -> Lost {
        let lease = format!("{}/{}", self.terms.namespace, self.terms.name);
        loop {
            sleep(self.terms.retry_every()).await;
            loop {
                let started = Instant::now();
                let left = self.until().saturating_duration_since(started);
                if left.is_zero() {
                    return Lost::Expired { lease, within: self.terms.renew_within() };
                }
                // One request that hangs must not use up the time for others.
                match timeout(left.min(self.terms.retry_every()), self.renew()).await {
                    Ok(Ok(None)) => {
                        *self.until.lock().unwrap_or_else(PoisonError::into_inner) =
                            started + self.terms.renew_within();
                        break;
                    }
                    Ok(Ok(Some(holder))) => return Lost::Taken { lease, holder },
                    Ok(Err(error)) => {
                        debug!(lease, %error, "the Lease was not renewed; trying again");
                        sleep(self.terms.retry_every() / 4).await;
                    }
                    Err(_) => {}
                }
            }
        }
    }

    /// Renews once; returns the holder if that is somebody else.
    async fn renew(&self) -> Result<Option<String>, kube::Error> {
        let Some(lease) = get(&self.client, &self.terms).await? else {
            return Ok(Some("nobody: the Lease was deleted".to_owned()));
        };
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
        if holder != self.terms.identity {
            return Ok(Some(holder));
        }
        send(&self.client, &self.terms, Method::PUT, &record(&self.terms, Some(&lease), Some(&holder))).await?;
        Ok(None)
    }

    /// Frees the Lease, so that another process need not wait. Only when no write of this process is under way.
    pub async fn release(&self) {
        let release = async {
            if let Some(lease) = get(&self.client, &self.terms).await?
                && lease.spec.as_ref().and_then(|s| s.holder_identity.as_ref()) == Some(&self.terms.identity)
            {
                send(&self.client, &self.terms, Method::PUT, &record(&self.terms, Some(&lease), None)).await?;
            }
            Ok::<_, kube::Error>(())
        };
        match timeout(self.terms.write_timeout(), release).await {
            Ok(Ok(())) => info!(lease = self.terms.name, "released"),
            Ok(Err(error)) => warn!(lease = self.terms.name, %error, "the Lease could not be released; it will expire"),
            Err(_) => warn!(lease = self.terms.name, "the Lease could not be released in time; it will expire"),
        }
    }
}

/// The record with its times set, on top of the version that was read.
fn record(terms: &Terms, before: Option<&Lease>, holder: Option<&str>) -> Lease {
    let now = MicroTime(Timestamp::now());
    let old = before.and_then(|lease| lease.spec.clone()).unwrap_or_default();
    let same_holder = old.holder_identity.as_deref() == holder;
    let transitions = old.lease_transitions.unwrap_or(0);
    Lease {
        metadata: ObjectMeta {
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

async fn get(client: &Client, terms: &Terms) -> Result<Option<Lease>, kube::Error> {
    let request = Request::get(path(terms)).body(Vec::new()).map_err(kube::Error::HttpError)?;
    match client.request::<Lease>(request).await {
        Ok(lease) => Ok(Some(lease)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

async fn send(client: &Client, terms: &Terms, method: Method, lease: &Lease) -> Result<Lease, kube::Error> {
    let path = if method == Method::POST { Lease::url_path(&(), Some(&terms.namespace)) } else { path(terms) };
    let uri = format!(
        "{path}?fieldManager={}&timeout={}ms",
        clarion_api::names::FIELD_MANAGER,
        terms.write_timeout().as_millis()
    );
    let body = serde_json::to_vec(lease).map_err(kube::Error::SerdeError)?;
    let request = Request::builder().method(method).uri(uri).header(http::header::CONTENT_TYPE, "application/json");
    client.request(request.body(body).map_err(kube::Error::HttpError)?).await
}

fn path(terms: &Terms) -> String {
    format!("{}/{}", Lease::url_path(&(), Some(&terms.namespace)), terms.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_write_of_a_leader_has_ended_before_another_may_take_over() {
        for seconds in [2, 3, 15, 60] {
            let terms = Terms {
                namespace: String::new(),
                name: String::new(),
                identity: String::new(),
                duration: Duration::from_secs(seconds),
            };
            assert!(terms.renew_within() + terms.write_timeout() < terms.duration);
            assert!(terms.retry_every() * 4 < terms.renew_within(), "several attempts fit");
            assert!(terms.add_only() > terms.write_timeout());
        }
    }
}
