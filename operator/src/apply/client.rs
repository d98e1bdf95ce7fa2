//! Performs a write and does not rest before its outcome is known.

use std::time::Duration;

use clarion_core::{
    ConfigurationWrite, Event, ObjectStatus, Precondition, Write,
    world::{Configuration, Object, ObjectName, ObjectRef, Service},
};
use http::{Request, StatusCode, header::RETRY_AFTER};
use http_body_util::BodyExt as _;
use kube::{Client, client::Body, core::Status};
use serde_json::Value;
use smol_str::SmolStr;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::warn;

use super::{
    Apply, Cause, Failure, Outcome,
    request::{BadRequest, Builder},
};
use crate::{
    clock::Clock,
    lead::OVERTIME,
    watch::{Advertisement, Aliases, Peer, Pool, Reservation, Watched},
};

/// The shortest and the longest pause between two attempts to find out what became of a write.
const SETTLE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// Sends writes. Its client must not repeat requests by itself: an outcome that is unknown is looked up instead.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    requests: Builder,
    clock: Clock,
}

/// What the write relied on, and what it would leave.
enum Expected {
    /// The object is not there yet.
    Created,
    /// The object of this UID has another version than this afterwards.
    Changed(Precondition),
    /// The object of this UID is gone afterwards.
    Deleted { uid: SmolStr },
}

impl Writer {
    /// The API server gives each write up after the timeout.
    pub fn new(client: Client, timeout: Duration, clock: Clock) -> Self {
        Self { client, requests: Builder { timeout }, clock }
    }

    /// The same with another timeout.
    pub fn within(&self, timeout: Duration) -> Self {
        Self::new(self.client.clone(), timeout, self.clock.clone())
    }

    /// Performs a write. If it fails or its answer is lost, the object is read until it is certain whether it took place;
    /// that can last until the API server has given the request up, and nothing of it is left.
    pub async fn perform(&self, write: Write) -> Outcome {
        let object = write.object();
        let started = Instant::now();
        let (apply, error, event) = match write {
            Write::ServiceStatus(write) => {
                let expected = Expected::Changed(write.precondition.clone());
                let request = self.requests.service_status(&write);
                let (apply, error) = self.settle::<Service>(&object, request, expected).await;
                (apply, error, write.event.map(|event| (write.precondition.uid, event)))
            }
            Write::Configuration(write) => {
                let expected = match &write {
                    ConfigurationWrite::Create { .. } => Expected::Created,
                    ConfigurationWrite::Update { precondition, .. } => Expected::Changed(precondition.clone()),
                    ConfigurationWrite::Delete { precondition, .. } => {
                        Expected::Deleted { uid: precondition.uid.clone() }
                    }
                };
                let request = self.requests.configuration(&write);
                let (apply, error) = self.settle::<Configuration>(&object, request, expected).await;
                let event = match write {
                    ConfigurationWrite::Update { precondition, event: Some(event), .. } => {
                        Some((precondition.uid, event))
                    }
                    _ => None,
                };
                (apply, error, event)
            }
            Write::ObjectStatus(write) => {
                let request = self.requests.object_status(&write);
                let expected = Expected::Changed(write.precondition.clone());
                let (apply, error) = match write.status {
                    ObjectStatus::LoadBalancerPool(_) => self.settle::<Pool>(&object, request, expected).await,
                    ObjectStatus::AddressReservation(_) => self.settle::<Reservation>(&object, request, expected).await,
                    ObjectStatus::LoadBalancerAdvertisement(_) => {
                        self.settle::<Advertisement>(&object, request, expected).await
                    }
                    ObjectStatus::RouterPeer(_) => self.settle::<Peer>(&object, request, expected).await,
                    ObjectStatus::CommunityAlias(_) => self.settle::<Aliases>(&object, request, expected).await,
                };
                (apply, error, write.event.map(|event| (write.precondition.uid, event)))
            }
        };
        Outcome { object, apply, error, event, started, ended: Instant::now() }
    }

    /// Writes an Event about the object of this UID; returns why it could not be written.
    pub async fn tell(&self, object: &ObjectRef, uid: &str, event: &Event) -> Result<(), String> {
        let request = self.requests.event(object, uid, event, self.clock.now()).map_err(|error| error.to_string())?;
        self.send::<Value>(request).await.map_err(|failed| failed.failure.message)?;
        Ok(())
    }

    async fn settle<T: Watched>(
        &self,
        object: &ObjectRef,
        request: Result<Request<Vec<u8>>, BadRequest>,
        expected: Expected,
    ) -> (Apply, Option<Failure>) {
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                let failure = Failure::refused(error.to_string());
                return (Box::new(|_| {}), Some(failure));
            }
        };
        let given_up = Instant::now() + self.requests.timeout + OVERTIME;
        let failure = match &expected {
            Expected::Deleted { uid } => match self.send::<Value>(request).await {
                Ok(answer) => return (deleted::<T>(object.name.clone(), uid.clone(), answer), None),
                Err(failure) => failure,
            },
            _ => match self.send::<T::Source>(request).await {
                Ok(answer) => {
                    let answer = T::project(answer);
                    let failure = expected.missed_by(&answer).then(Failure::without_effect);
                    return (known(object.name.clone(), None, Some(answer)), failure);
                }
                Err(failure) => failure,
            },
        };
        let failure = failure.of(&expected);
        let mut pause = SETTLE.0;
        loop {
            // What is read was so no earlier than this.
            let asked = Instant::now();
            match self.read::<T>(&object.name).await {
                Ok(found) if failure.certain || expected.is_settled_by(found.as_ref()) || asked >= given_up => {
                    let uid = expected.uid().cloned();
                    return (known(object.name.clone(), uid, found), Some(failure.failure));
                }
                // The API server may still be at it.
                Ok(_) => sleep_until(given_up.min(Instant::now() + pause)).await,
                Err(failure) => {
                    warn!(%object, error = failure.message, "the outcome of a write is unknown, and the object can't be read");
                    sleep(pause).await;
                }
            }
            pause = (pause * 2).min(SETTLE.1);
        }
    }

    async fn read<T: Watched>(&self, object: &ObjectName) -> Result<Option<Object<T>>, Failure> {
        let request = self.requests.read::<T::Source>(object).map_err(|error| Failure::refused(error.to_string()))?;
        match self.send::<T::Source>(request).await {
            Ok(source) => Ok(Some(T::project(source))),
            Err(failed) if failed.code == Some(404) => Ok(None),
            Err(failed) => Err(failed.failure),
        }
    }

    async fn send<A: serde::de::DeserializeOwned>(&self, request: Request<Vec<u8>>) -> Result<A, Failed> {
        let longest = self.requests.timeout + OVERTIME;
        match timeout(longest, self.answer(request)).await {
            Ok(Ok((status, _, body))) if status.is_success() => serde_json::from_slice(body.as_ref())
                .map_err(|error| Failed::unknown(format!("the answer can't be read: {error}"))),
            Ok(Ok((status, retry_after, body))) => Err(Failed::told(status, retry_after, body.as_ref())),
            Ok(Err(error)) => Err(Failed::unknown(with_causes(&error))),
            Err(_) => Err(Failed::unknown(format!("no answer within {longest:?}"))),
        }
    }

    /// What the API server answers, and how long it asks to wait by the header that its priority and fairness sets.
    async fn answer(
        &self,
        request: Request<Vec<u8>>,
    ) -> Result<(StatusCode, Option<Duration>, impl AsRef<[u8]> + use<>), kube::Error> {
        let answer = self.client.send(request.map(Body::from)).await?;
        let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok((status, seconds.map(Duration::from_secs), body))
    }
}

/// What went wrong, and why: a server could not be reached, say, because nothing listens there.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let causes = std::iter::successors(error.source(), |cause| cause.source()).map(ToString::to_string);
    for cause in causes {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Whether a webhook that the API server has to ask could not be asked (`ErrCallingWebhook`), so that nothing was stored.
fn is_not_admitted(message: &str) -> bool {
    message.starts_with("Internal error occurred: failed calling webhook")
}

struct Failed {
    /// The write did not take place, and never will.
    certain: bool,
    code: Option<u16>,
    failure: Failure,
}

impl Failure {
    /// The API server has said yes and done nothing. Without a pause, that would go on for ever.
    fn without_effect() -> Self {
        let message = "the API server accepted the write but did not store all of it: its CRD does not know a field (is \
                       FRR-K8s too old?), or something changes the object on its way";
        Self::refused(message.to_owned())
    }

    fn refused(message: String) -> Self {
        Self { message, cause: Cause::Refused, retry_after: None }
    }
}

impl Failed {
    /// That an object to be created is not found means that its namespace is missing.
    fn of(mut self, expected: &Expected) -> Self {
        if self.code == Some(404) && matches!(expected, Expected::Created) {
            self.failure.cause = Cause::Refused;
        }
        self
    }

    /// A failure of which the API server tells.
    fn told(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Self {
        // What comes from priority and fairness, or from a proxy, is plain text.
        let told = serde_json::from_slice::<Status>(body)
            .unwrap_or_else(|_| Status::failure(String::from_utf8_lossy(body).trim(), "").with_code(status.as_u16()));
        let seconds = told.details.as_ref().map(|details| details.retry_after_seconds).filter(|seconds| *seconds > 0);
        Self {
            // Client errors are decided before anything is stored; server errors may come from after that.
            certain: status.is_client_error() || is_not_admitted(&told.message),
            code: Some(status.as_u16()),
            failure: Failure {
                cause: match status {
                    StatusCode::NOT_FOUND | StatusCode::CONFLICT => Cause::Conflict,
                    StatusCode::TOO_MANY_REQUESTS => Cause::Busy,
                    _ if status.is_client_error() => Cause::Refused,
                    _ => Cause::Busy,
                },
                message: told.message,
                retry_after: retry_after.or(seconds.map(|seconds| Duration::from_secs(u64::from(seconds)))),
            },
        }
    }

    fn unknown(message: String) -> Self {
        Self { certain: false, code: None, failure: Failure { message, cause: Cause::Busy, retry_after: None } }
    }
}

impl Expected {
    /// The UID of the object that there was.
    fn uid(&self) -> Option<&SmolStr> {
        match self {
            Self::Created => None,
            Self::Changed(Precondition { uid, .. }) | Self::Deleted { uid } => Some(uid),
        }
    }

    /// Whether a write was accepted and changed nothing: the API server gives such an object no new version.
    fn missed_by<T>(&self, answer: &Object<T>) -> bool {
        matches!(self, Self::Changed(from) if answer.meta.resource_version == from.resource_version)
    }

    /// Whether the write has landed, or can't land any more.
    fn is_settled_by<T>(&self, found: Option<&Object<T>>) -> bool {
        match (self, found) {
            (Self::Created, found) => found.is_some(),
            (Self::Changed(from), Some(found)) => found.meta.resource_version != from.resource_version,
            (Self::Deleted { uid }, Some(found)) => found.meta.uid != *uid,
            (_, None) => true,
        }
    }
}

/// Takes what was read of an object into the world: the object, or that the one of this UID is gone. A successor of the same
/// name is another object.
fn known<T: Watched>(name: ObjectName, uid: Option<SmolStr>, found: Option<Object<T>>) -> Apply {
    Box::new(move |world| match (found, uid) {
        (Some(object), _) => {
            let object = T::settle(world, object);
            T::collection(world).take(object);
        }
        (None, Some(uid)) => {
            T::collection(world).answered_gone(&name, &uid);
        }
        (None, None) => {}
    })
}

/// Takes the answer to a deletion into the world. An object that a finalizer holds is still there, and still counts.
fn deleted<T: Watched>(name: ObjectName, uid: SmolStr, answer: Value) -> Apply {
    let held = answer.pointer("/metadata/deletionTimestamp").is_some();
    match serde_json::from_value::<T::Source>(answer) {
        Ok(object) if held => known(name, None, Some(T::project(object))),
        _ => known::<T>(name, Some(uid), None),
    }
}
