//! The loop: changes into the world, a plan of the world, writes of the plan, answers into the world.

use std::{collections::BTreeSet, time::Duration};

use clarion_api::Timestamp;
use clarion_core::{
    NextHops, Plan, World,
    world::{DrainAll, Kind, Settings},
};
use futures::future::BoxFuture;
use tokio::{
    select,
    time::{Instant, sleep_until},
};
use tracing::{debug, info, warn};

use crate::{
    apply::{Queue, Writer},
    clock::Clock,
    lead::{Leadership, Lost, lease::Asked},
    telemetry::{self, FindingsLog, Health, Metrics, Phase},
    watch::{self, Change, Watches},
};

/// While statuses are written, or for reports of daemons, the pause after a plan is so many times as long as that took.
const PAUSE_PRESSED: u32 = 20;
/// While only FRRConfigurations wait for their turn, which may take minutes, it is as many times as long: new Services are not to wait
/// as long. Within a pause, new Services get their addresses without a plan, with pauses of their own.
const PAUSE: u32 = 4;
/// After a plan from which nothing followed it is as long: so changes that call for no write, however many, take half a core.
const PAUSE_IDLE: u32 = 1;
/// The loop turns at least this often, so that the probes see that it lives.
const TURN: Duration = Duration::from_secs(5);

/// So many changes are taken before anything else is looked at.
const AT_ONCE: usize = 4096;

/// Everything that the loop needs.
pub struct Loop {
    /// What the operator was told.
    pub settings: Settings,
    /// The cluster is OpenShift.
    pub is_openshift: bool,
    /// The right to write.
    pub leadership: Leadership,
    /// Nothing is taken away before that.
    pub add_only_until: Option<Instant>,
    /// Nor is any address given until then.
    pub give_nothing: bool,
    /// Sends writes.
    pub writer: Writer,
    /// Writes in flight at most.
    pub max_in_flight: usize,
    /// What the API server has.
    pub watches: Watches,
    /// The time of day.
    pub clock: Clock,
    /// For the probes.
    pub health: Health,
    /// For Prometheus.
    pub metrics: Metrics,
}

/// State of the loop.
struct State {
    world: World,
    missing: BTreeSet<Kind>,
    /// When the last kind came to be known, until it is told that the process is ready.
    all_known: Option<Instant>,
    /// The first change that no plan has seen.
    dirty_since: Option<Instant>,
    /// All that has changed since the last plan is what daemons report.
    only_reports: bool,
    /// Services, or their namespaces, have changed since anybody looked for such without address.
    services_changed: bool,
    /// When the last plan was made, and how long that took.
    last_plan: Option<(Instant, Duration)>,
    /// There was nothing to write in it.
    nothing_followed: bool,
    /// When first addresses were last planned alone, and how long that took.
    last_given: Option<(Instant, Duration)>,
    /// When time alone makes for another plan.
    due: Option<Timestamp>,
    /// The namespace of FRR-K8s that was last told.
    namespace: String,
    findings: FindingsLog,
    /// Those of the last plan.
    next_hops: Option<NextHops>,
}

impl Loop {
    /// Runs until `stop` is done, or the Lease is lost. Writes that are under way are waited for; nothing is withdrawn.
    pub async fn run(mut self, stop: BoxFuture<'_, ()>) -> Result<(), Lost> {
        let mut queue = Queue::new(self.writer.clone(), self.metrics.clone(), self.max_in_flight);
        let mut state = State {
            world: World {
                settings: self.settings.clone(),
                is_openshift: self.is_openshift,
                add_only: self.add_only_until.is_some(),
                give_nothing: self.give_nothing,
                ..World::default()
            },
            missing: watch::KINDS.into(),
            all_known: None,
            dirty_since: None,
            only_reports: true,
            services_changed: false,
            last_plan: None,
            nothing_followed: false,
            last_given: None,
            due: None,
            namespace: String::new(),
            findings: FindingsLog::new(Instant::now()),
            next_hops: None,
        };
        let leadership = self.leadership.clone();
        let mut asked = leadership.asked();
        state.asked(asked.borrow_and_update().clone());
        // A task of its own, so that no long plan delays it.
        let mut keep = tokio::spawn(async move { leadership.keep().await });
        let mut stop = stop;
        self.health.set(Phase::Syncing(state.missing.clone()));
        self.metrics.leading(true);
        loop {
            for _ in 0..AT_ONCE {
                let Ok(change) = self.watches.changes.try_recv() else { break };
                self.take(change, &mut state);
            }
            if state.world.add_only && self.add_only_until.is_none_or(|until| Instant::now() >= until) {
                (state.world.add_only, state.world.give_nothing) = (false, false);
                state.dirty();
            }
            let mut wake = Instant::now() + TURN;
            if let Some(due) = state.due {
                let remaining = Duration::try_from(due.duration_since(self.clock.now())).unwrap_or_default();
                if remaining.is_zero() {
                    state.due = None;
                    state.dirty();
                }
                wake = wake.min(Instant::now() + remaining);
            }
            if state.missing.is_empty() {
                wake = wake.min(self.plan(&mut state, &mut queue));
                // Checked last, right before requests are sent.
                if let Some(within) = self.leadership.write_within()
                    && let Some(at) = queue.start(&mut state.world, within)
                {
                    wake = wake.min(at);
                }
            }
            if let Some(until) = self.add_only_until.filter(|_| state.world.add_only) {
                wake = wake.min(until);
            }
            let phase = if state.missing.is_empty() { Phase::Leading } else { Phase::Syncing(state.missing.clone()) };
            self.health.set(phase);
            if let Some(at) = state.all_known.take() {
                info!(after_ms = at.elapsed().as_millis(), "ready: everything is known, and the first plan is made");
            }
            select! {
                biased;
                lost = &mut keep => return Err(lost.unwrap_or(Lost::Unwatched)),
                () = &mut stop => break,
                Ok(()) = asked.changed() => state.asked(asked.borrow_and_update().clone()),
                // Before changes, which may never end; each turn takes many of them.
                outcome = queue.settled() => {
                    queue.take(outcome, &mut state.world);
                    state.dirty();
                }
                Some(change) = self.watches.changes.recv() => self.take(change, &mut state),
                () = sleep_until(wake) => {}
            }
        }
        info!("stopping; waiting for writes under way");
        queue.replace(Vec::new(), Vec::new());
        while !queue.is_idle() {
            select! {
                biased;
                lost = &mut keep => return Err(lost.unwrap_or(Lost::Unwatched)),
                outcome = queue.settled() => queue.take(outcome, &mut state.world),
            }
        }
        queue.finish_telling().await;
        keep.abort();
        self.leadership.release().await;
        Ok(())
    }

    /// Makes a plan if there is something new and it is time; returns when to look again.
    fn plan(&self, state: &mut State, queue: &mut Queue) -> Instant {
        let now = Instant::now();
        let later = now + TURN;
        let Some(since) = state.dirty_since else { return later };
        let pause = if state.only_reports || queue.is_pressed() {
            PAUSE_PRESSED
        } else if !queue.is_empty() {
            PAUSE
        } else if state.nothing_followed {
            PAUSE_IDLE
        } else {
            0
        };
        if let Some(next) = not_before(state.last_plan, pause).filter(|next| now < *next) {
            return next.min(self.give_first_addresses(state, queue));
        }
        let namespace = state.world.frr_k8s_namespace().to_owned();
        if state.namespace != namespace {
            info!(namespace, "FRRConfigurations go to this namespace");
            // Of its Secrets and Pods nothing is known yet.
            (state.world.secrets, state.world.pods) = (None, None);
            self.watches.namespace.send_replace(Some(namespace.clone()));
            state.namespace = namespace;
        }
        state.world.now = self.clock.now();
        queue.outdate();
        let (plan, took) = telemetry::plan(&state.world, &self.metrics);
        let Plan { writes, deferred, fulfilled, findings, wake, look_at, skews, held, figures, next_hops } = plan;
        state.last_plan = Some((Instant::now(), took));
        state.nothing_followed = writes.is_empty();
        state.dirty_since = None;
        state.only_reports = true;
        state.services_changed = false;
        self.watches.look_at.send_if_modified(|known| {
            let differs = *known != look_at;
            *known = look_at;
            differs
        });
        self.metrics.reported(&state.world);
        self.metrics.spread(&skews);
        self.metrics.held(held.as_ref());
        self.metrics.figures(figures);
        let changed = state.next_hops.as_ref().map_or(0, |before| next_hops.changed_since(before));
        self.metrics.next_hops_changed(changed);
        state.next_hops = Some(next_hops);
        state.due = wake;
        debug!(writes = writes.len(), took_us = took.as_micros(), "planned");
        if !writes.is_empty() {
            self.metrics.reacted(since.elapsed());
        }
        // What is as it is to be is no longer refused.
        for object in fulfilled {
            if !state.world.unsettled.contains_key(&object) {
                state.world.refused.remove(&object);
                state.dirty();
            }
        }
        queue.replace(writes, deferred);
        state.findings.tell(&findings, Instant::now());
        later
    }

    /// Gives new Services their addresses while the next plan is put off; returns when to look again.
    fn give_first_addresses(&self, state: &mut State, queue: &mut Queue) -> Instant {
        let now = Instant::now();
        if !state.services_changed {
            return now + TURN;
        }
        if let Some(next) = not_before(state.last_given, PAUSE).filter(|next| now < *next) {
            return next;
        }
        if queue.has_addresses() {
            return now + TURN;
        }
        state.world.now = self.clock.now();
        let (writes, took) = telemetry::first_addresses(&state.world, &self.metrics);
        debug!(writes = writes.len(), took_us = took.as_micros(), "planned first addresses");
        state.last_given = Some((Instant::now(), took));
        state.services_changed = false;
        queue.give(writes);
        now + TURN
    }

    fn take(&self, change: Change, state: &mut State) {
        let installed = state.world.frr_k8s_installed;
        let effect = (change.apply)(&mut state.world);
        if effect.synced && state.missing.remove(&change.kind) {
            debug!(kind = %change.kind, "known");
            state.all_known = state.missing.is_empty().then(Instant::now);
        }
        if installed != state.world.frr_k8s_installed || (effect.synced && change.kind == Kind::FRRConfiguration) {
            if state.world.frr_k8s_installed {
                info!("FRR-K8s is installed");
            } else {
                warn!("FRR-K8s is not installed: addresses are allocated but not announced until its CRDs appear");
            }
        }
        if effect.changed && matches!(change.kind, Kind::FRRNodeState | Kind::Pod) {
            state.reported();
        } else if effect.changed {
            state.services_changed |= matches!(change.kind, Kind::Service | Kind::Namespace);
            state.dirty();
        }
    }
}

/// When the pause after the last plan ends, which is so many times as long as that took.
fn not_before(last: Option<(Instant, Duration)>, pause: u32) -> Option<Instant> {
    last.map(|(at, took)| at + took * pause)
}

impl State {
    fn asked(&mut self, Asked { drain_all, approved }: Asked) {
        if self.world.approved != approved {
            if let Some(plan) = &approved {
                info!(plan, "agreed: what this configuration takes away is withdrawn");
            }
            self.world.approved = approved;
            self.dirty();
        }
        match (self.world.drain_all, drain_all) {
            (_, Some(DrainAll::Routes)) => warn!("`clarion drain-all` was asked for: everything is withdrawn"),
            (_, Some(DrainAll::Addresses)) => {
                warn!("`clarion drain-all` was asked for: everything is withdrawn, and Services lose their addresses");
            }
            (Some(_), None) => info!("`clarion drain-all` is undone"),
            (None, None) => return,
        }
        self.world.drain_all = drain_all;
        self.dirty();
    }

    fn dirty(&mut self) {
        self.only_reports = false;
        self.reported();
    }

    /// What daemons report is never urgent, and after a change they all do.
    fn reported(&mut self) {
        self.dirty_since.get_or_insert_with(Instant::now);
    }
}
