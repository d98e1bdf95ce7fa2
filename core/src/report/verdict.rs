//! Conditions before they are compared with those that are there.

use std::borrow::Cow;

use clarion_api::Timestamp;
use smol_str::SmolStr;

use crate::{finding::Reason, text::bounded, world::Condition, write::Event};

/// The longest message that a condition may hold (`metav1.Condition`).
const MESSAGE_MAX: usize = 32_768;
/// The longest note of an Event (`events.k8s.io/v1`).
pub const EVENT_MAX: usize = 1024;

/// A condition before it is compared with what is there.
pub struct Verdict {
    pub type_: &'static str,
    status: &'static str,
    reason: Reason,
    message: Cow<'static, str>,
}

impl Verdict {
    /// A condition that is to be.
    pub fn new(
        type_: &'static str,
        status: &'static str,
        reason: Reason,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_MAX {
            message = bounded(message.into_owned(), MESSAGE_MAX).into();
        }
        Self { type_, status, reason, message }
    }

    /// The condition, if it differs from the one that is there. The time is that of the last change of status.
    pub fn changed(&self, now: Timestamp, generation: Option<i64>, before: Option<&Condition>) -> Option<Condition> {
        // A Service's conditions have none of ours; one that somebody else left there is no difference.
        let generation = generation.or(before.and_then(|before| before.observed_generation));
        if before.is_some_and(|before| self.is_said_by(before) && before.observed_generation == generation) {
            return None;
        }
        let since = before.filter(|before| before.status == self.status).map(|before| before.last_transition_time);
        Some(Condition {
            type_: SmolStr::new_static(self.type_),
            status: SmolStr::new_static(self.status),
            reason: SmolStr::new_static(self.reason.name()),
            message: match &self.message {
                Cow::Borrowed(text) => SmolStr::new_static(text),
                Cow::Owned(text) => text.into(),
            },
            last_transition_time: since.unwrap_or(now),
            observed_generation: generation,
        })
    }

    /// What to tell if this takes the place of another condition: that something known to be right is wrong now, or right
    /// again; and what others did, or FRR-K8s refuses, as soon as it is known.
    pub fn event(&self, before: Option<&Condition>) -> Option<Event> {
        let before = before.filter(|before| !self.is_said_by(before))?;
        let turned = matches!((before.status.as_str(), self.status), ("True", "False") | ("False", "True"));
        let news = [Reason::NodeRefuses, Reason::ForeignConflict, Reason::ForeignFault, Reason::PasswordSecret];
        let is_news = news.contains(&self.reason) && before.reason != self.reason.name();
        (turned || is_news).then(|| Event {
            warning: self.status == "False" || is_news,
            reason: self.reason,
            message: bounded(self.message.clone().into_owned(), EVENT_MAX),
        })
    }

    fn is_said_by(&self, condition: &Condition) -> bool {
        (condition.type_.as_str(), condition.status.as_str()) == (self.type_, self.status)
            && condition.reason == self.reason.name()
            && condition.message.as_str() == self.message
    }
}
