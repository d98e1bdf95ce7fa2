//! What plans find, in the log: each once, when it comes up, and no more than a person can read.

use std::{collections::BTreeSet, time::Duration};

use clarion_core::{Findings, Severity};
use tokio::time::Instant;
use tracing::{error, warn};

use crate::limiter::Limiter;

/// What was left out is told once in this time.
const SUMMARY: Duration = Duration::from_secs(60);

/// Logs findings.
pub struct FindingsLog {
    /// What the last plan found.
    known: BTreeSet<String>,
    limiter: Limiter,
    left_out: u64,
    summary_at: Instant,
}

impl FindingsLog {
    /// Nothing is known yet.
    pub fn new(now: Instant) -> Self {
        Self { known: BTreeSet::new(), limiter: Limiter::new(now), left_out: 0, summary_at: now }
    }

    /// Logs what the plan before this one has not found. What is too much to be read is counted.
    pub fn tell(&mut self, findings: &Findings, now: Instant) {
        let mut found = BTreeSet::new();
        for (object, finding) in findings.iter() {
            let line = format!("{object}: {}: {}", finding.reason.name(), finding.message);
            if !self.known.contains(&line) {
                match self.limiter.admit(object, finding.reason, now) {
                    None => self.left_out += 1,
                    Some(_) if finding.severity == Severity::Error => error!("{line}"),
                    Some(_) => warn!("{line}"),
                }
            }
            found.insert(line);
        }
        self.known = found;
        if self.left_out > 0 && now >= self.summary_at {
            let more = std::mem::take(&mut self.left_out);
            warn!(more, "findings were too many to be logged: conditions and `clarion status` have all of them");
            self.summary_at = now + SUMMARY;
        }
    }
}
