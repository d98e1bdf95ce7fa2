//! One process of the operator: it waits for the Lease, then it watches and reconciles until it is stopped or the Lease is lost.

use clarion_core::world::Settings;
use futures::future::BoxFuture;
use kube::Client;
use tokio::{select, time::Instant};

use crate::{
    apply::Writer,
    clock::Clock,
    lead::{self, Lost, Rival, Takeover, Terms},
    reconcile::Loop,
    telemetry::{Health, Metrics, Phase},
    watch,
};

/// What a process needs.
pub struct Process {
    /// What it was told.
    pub settings: Settings,
    /// Lists and watches.
    pub reader: Client,
    /// Writes, and holds the Lease. It must not repeat requests by itself.
    pub writer: Client,
    /// The Lease.
    pub terms: Terms,
    /// Statuses in flight at most.
    pub max_in_flight: usize,
    /// The time of day.
    pub clock: Clock,
    /// For the probes.
    pub health: Health,
    /// For Prometheus.
    pub metrics: Metrics,
}

impl Process {
    /// Runs until `stop` is done, or the Lease is lost.
    pub async fn run(self, mut stop: BoxFuture<'_, ()>) -> Result<(), Lost> {
        let Self { settings, reader, writer, terms, max_in_flight, clock, health, metrics } = self;
        let barred = |rival: Option<&Rival>| {
            health.set(rival.map_or(Phase::Standby, |rival| Phase::Barred(rival.to_string())));
        };
        let (leadership, takeover) = select! {
            biased;
            () = &mut stop => return Ok(()),
            acquired = lead::acquire(writer.clone(), terms.clone(), clock.clone(), barred) => acquired,
        };
        // Lists made after the Lease was acquired show everything that earlier leaders have written.
        let watches = watch::start(&reader, &metrics);
        let add_only_until = (takeover != Takeover::HandedOver).then(|| Instant::now() + terms.add_only());
        let run = Loop {
            settings,
            is_openshift: watch::is_openshift(&reader).await,
            leadership,
            add_only_until,
            // A new installation gives at once, though it takes nothing away yet.
            give_nothing: takeover == Takeover::Forced,
            writer: Writer::new(writer, terms.last_write(), clock.clone()),
            max_in_flight,
            watches,
            clock,
            health,
            metrics,
        };
        run.run(stop).await
    }
}
