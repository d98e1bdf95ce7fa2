//! One writer at a time: a Lease, and the arithmetic that keeps writes of two leaders apart.
//!
//! With a Lease of duration D, a leader renews it every D/8 and stops writing when no renewal has succeeded for 2/3 D,
//! counted from the moment before the successful request was sent. Every write has a server-side timeout of D/4, so the last
//! one has been given up at 2/3 D + D/4 = 11/12 D, and nothing of it is left an [`OVERTIME`] later. Another process takes over no
//! earlier than D after it saw the last renewal, and only adds for another D/4 + D/12, or D/4 and an overtime where that is
//! longer. What remains is a process that was stopped between its look at the clock and its request: writes carry a
//! resourceVersion.
//!
//! One cluster has one Clarion, however many replicas it has. Installed twice, the two have a Lease each: whoever sees a Lease
//! of another that is held stands by.

pub mod lease;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, info, info_span, instrument, warn};

use self::lease::{Asked, Seen};
use crate::clock::Clock;

/// How long after its timeout a write may still take effect: the API server does not call back what it has sent to etcd.
pub const OVERTIME: Duration = Duration::from_secs(1);

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

    /// How long a write may take that is sent at the last moment: its server-side timeout. Writes of the Lease have it always.
    pub fn last_write(&self) -> Duration {
        self.duration / 4
    }

    /// How long a new leader only adds.
    pub fn add_only(&self) -> Duration {
        self.last_write() + OVERTIME.max(self.duration / 12)
    }

    /// The Lease, with its namespace.
    fn lease(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn retry_every(&self) -> Duration {
        self.duration / 8
    }
}

/// How a Lease was come by, the worse the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Takeover {
    /// Its last holder has freed it: no write of that process can be under way.
    HandedOver,
    /// There was none, nor a trace of Clarion.
    Created,
    /// Its last holder let it expire, or somebody deleted it: writes of that process may still arrive.
    Forced,
}

/// A Lease that is held.
#[derive(Clone)]
pub struct Leadership {
    client: Client,
    terms: Terms,
    clock: Clock,
    /// Up to when this process may write.
    until: Arc<Mutex<Instant>>,
    /// What the Lease asks of its holder.
    asked: Arc<watch::Sender<Asked>>,
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

/// Another Clarion that leads in the same cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "another Clarion leads in this cluster: its Lease is {lease}, held by {holder}. One cluster has one Clarion, so this one stands by: \
     uninstall one of the two. One serves several classes where --load-balancer-class is given several times"
)]
pub struct Rival {
    /// Its Lease, with the namespace.
    pub lease: String,
    /// Who holds that.
    pub holder: String,
}

/// Waits until the Lease can be had and no other Clarion leads, and takes it. `barred` is told while another does.
pub async fn acquire(
    client: Client,
    terms: Terms,
    clock: Clock,
    barred: impl Fn(Option<&Rival>),
) -> (Leadership, Takeover) {
    let mut candidate = Candidate {
        client,
        terms,
        clock,
        seen: Seen::default(),
        missing_since: None,
        owed: Takeover::HandedOver,
        blind: false,
    };
    let (mut told, limit) = (None, candidate.terms.renew_within());
    loop {
        let started = Instant::now();
        let attempt = timeout(limit, candidate.attempt());
        let found =
            attempt.await.unwrap_or_else(|_| Err(kube::Error::Service(format!("no answer within {limit:?}").into())));
        if !matches!(found, Ok(Attempt::Missing)) {
            candidate.missing_since = None;
        }
        let Candidate { client, terms, clock, .. } = &candidate;
        match found {
            Ok(Attempt::Got(lease, takeover)) => {
                info_span!("lease", change = "acquired", ?takeover).in_scope(|| {
                    info!(lease = terms.name, identity = terms.identity, ?takeover, "leading");
                });
                let until = Arc::new(Mutex::new(started + terms.renew_within()));
                let asked = Arc::new(watch::Sender::new(lease::asked(&lease)));
                let (client, terms, clock) = (client.clone(), terms.clone(), clock.clone());
                return (Leadership { client, terms, clock, until, asked }, takeover);
            }
            Ok(other) if told.as_ref() == Some(&other) => {}
            Ok(other) => {
                match &other {
                    Attempt::Barred(rival) => warn!("{rival}"),
                    Attempt::Held(holder) => info!(lease = terms.name, holder, "standing by"),
                    Attempt::Missing => info!(
                        lease = terms.name,
                        wait = ?terms.duration,
                        "there is no Lease, but Clarion has been here: a process whose Lease was deleted may still write"
                    ),
                    Attempt::Got(..) => {}
                }
                barred(match &other {
                    Attempt::Barred(rival) => Some(rival),
                    _ => None,
                });
                told = Some(other);
            }
            Err(error) => warn!(lease = terms.name, %error, "the Lease can't be read or written; trying again"),
        }
        sleep(candidate.terms.retry_every()).await;
    }
}

/// What came of an attempt to get the Lease.
#[derive(PartialEq)]
enum Attempt {
    Got(Box<Lease>, Takeover),
    /// Another process holds it.
    Held(String),
    /// There is none, but traces of Clarion, so somebody may have deleted it under its holder.
    Missing,
    /// Another Clarion leads, by a Lease of its own.
    Barred(Rival),
}

/// A process that waits for the Lease.
struct Candidate {
    client: Client,
    terms: Terms,
    clock: Clock,
    seen: Seen,
    /// Since when each look has found no Lease.
    missing_since: Option<Instant>,
    /// How the Lease was come by when it was given up for another Clarion, without anything done.
    owed: Takeover,
    /// It may not see the Leases of others, and has said so.
    blind: bool,
}

impl Candidate {
    /// Others are looked for before, so that nothing is taken from one that leads, and after: of two that come at once, at
    /// least one sees the other then.
    async fn attempt(&mut self) -> Result<Attempt, kube::Error> {
        let mut expired = false;
        let leases = lease::all_cached(&self.client).await;
        if let Some(rival) = self.rival(leases, &mut expired)? {
            return Ok(Attempt::Barred(rival));
        }
        let (lease, mut takeover) = match self.take().await? {
            Attempt::Got(lease, takeover) => (lease, takeover),
            other => return Ok(other),
        };
        takeover = takeover.max(self.owed).max(if expired { Takeover::Forced } else { Takeover::HandedOver });
        let leases = lease::all(&self.client).await;
        let Some(rival) = self.rival(leases, &mut expired)? else { return Ok(Attempt::Got(lease, takeover)) };
        self.owed = takeover;
        lease::write(&self.client, &self.terms, Some(&lease), None, self.clock.now()).await?;
        // Else two that yield to each other might go on doing so.
        sleep(self.terms.retry_every().mul_f64(fastrand::f64())).await;
        Ok(Attempt::Barred(rival))
    }

    async fn take(&mut self) -> Result<Attempt, kube::Error> {
        let Some(lease) = lease::get(&self.client, &self.terms).await? else { return self.take_missing().await };
        let takeover = if lease::holder(&lease).is_empty() {
            Takeover::HandedOver
        } else if self.seen.is_held(&lease, self.terms.duration) {
            return Ok(Attempt::Held(lease::holder(&lease).to_owned()));
        } else {
            Takeover::Forced
        };
        self.claim(Some(&lease), takeover).await
    }

    /// There is no Lease. Whoever held one that somebody deleted leads until it tries to renew it, so where there are traces
    /// of Clarion, this is like a Lease that has yet to expire.
    async fn take_missing(&mut self) -> Result<Attempt, kube::Error> {
        let since = *self.missing_since.get_or_insert_with(Instant::now);
        let takeover = if lease::may_be_led(&self.client).await { Takeover::Forced } else { Takeover::Created };
        if takeover == Takeover::Forced && since.elapsed() < self.terms.duration {
            return Ok(Attempt::Missing);
        }
        self.claim(None, takeover).await
    }

    async fn claim(&self, before: Option<&Lease>, takeover: Takeover) -> Result<Attempt, kube::Error> {
        let Self { client, terms, clock, .. } = self;
        match lease::write(client, terms, before, Some(&terms.identity), clock.now()).await {
            Ok(lease) => Ok(Attempt::Got(Box::new(lease), takeover)),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Attempt::Held("another process".to_owned())),
            Err(error) => Err(error),
        }
    }

    /// Another Clarion that leads, by all Leases. One whose Lease has `expired` does not, but writes of it may still arrive.
    fn rival(
        &mut self,
        leases: Result<Vec<Lease>, kube::Error>,
        expired: &mut bool,
    ) -> Result<Option<Rival>, kube::Error> {
        let leases = match leases {
            Ok(leases) => leases,
            Err(kube::Error::Api(status)) if status.code == 403 => {
                if !std::mem::replace(&mut self.blind, true) {
                    warn!(
                        "Leases can't be listed, so another Clarion in this cluster would not be seen: {}",
                        status.message
                    );
                }
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let (own, now) = (self.terms.lease(), self.clock.now());
        let others = leases.iter().filter(|lease| lease::name(lease) != own && !lease::holder(lease).is_empty());
        for lease in others.filter(|lease| !lease::is_abandoned(lease, now)) {
            if self.seen.is_held(lease, self.terms.duration) {
                return Ok(Some(Rival { lease: lease::name(lease), holder: lease::holder(lease).to_owned() }));
            }
            *expired = true;
        }
        Ok(None)
    }
}

impl Leadership {
    /// How long a write may take that is sent now, if any may be sent: it has been given up when another process may take over.
    pub fn write_within(&self) -> Option<Duration> {
        let left = self.until().saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| left + self.terms.last_write())
    }

    /// What the Lease asks of its holder, from now on.
    pub fn asked(&self) -> watch::Receiver<Asked> {
        self.asked.subscribe()
    }

    fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews the Lease for as long as that works; returns when it is lost.
    pub async fn keep(&self) -> Lost {
        let lost = self.renew_always().await;
        let _lost = info_span!("lease", change = "lost", why = %lost);
        lost
    }

    async fn renew_always(&self) -> Lost {
        let lease = self.terms.lease();
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
        let Some(lease) = lease::get(&self.client, &self.terms).await? else {
            return Ok(Some("nobody: the Lease was deleted".to_owned()));
        };
        let holder = lease::holder(&lease);
        if holder != self.terms.identity {
            return Ok(Some(holder.to_owned()));
        }
        lease::write(&self.client, &self.terms, Some(&lease), Some(holder), self.clock.now()).await?;
        let asked = lease::asked(&lease);
        self.asked.send_if_modified(|known| {
            let differs = *known != asked;
            *known = asked;
            differs
        });
        Ok(None)
    }

    /// Frees the Lease, so that another process need not wait. Only when no write of this process is under way.
    #[instrument(name = "lease", skip_all, fields(change = "released"))]
    pub async fn release(&self) {
        let release = async {
            if let Some(lease) = lease::get(&self.client, &self.terms).await?
                && lease::holder(&lease) == self.terms.identity
            {
                lease::write(&self.client, &self.terms, Some(&lease), None, self.clock.now()).await?;
            }
            Ok::<_, kube::Error>(())
        };
        match timeout(self.terms.last_write(), release).await {
            Ok(Ok(())) => info!(lease = self.terms.name, "released"),
            Ok(Err(error)) => warn!(lease = self.terms.name, %error, "the Lease could not be released; it will expire"),
            Err(_) => warn!(lease = self.terms.name, "the Lease could not be released in time; it will expire"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_write_of_a_leader_has_been_given_up_before_another_may_take_over() {
        for seconds in [2, 3, 15, 60] {
            let terms = Terms {
                namespace: String::new(),
                name: String::new(),
                identity: String::new(),
                duration: Duration::from_secs(seconds),
            };
            assert!(terms.renew_within() + terms.last_write() < terms.duration);
            assert!(terms.retry_every() * 4 < terms.renew_within(), "several attempts fit");
            assert!(terms.add_only() > terms.last_write());
            let last_effect = terms.renew_within() + terms.last_write() + OVERTIME;
            assert!(last_effect < terms.duration + terms.add_only(), "nothing is taken away before");
        }
    }
}
