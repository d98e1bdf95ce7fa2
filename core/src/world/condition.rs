//! Conditions, in little memory.

use clarion_api::{self as api, Time, Timestamp};
use smol_str::SmolStr;

/// A condition of ours, as [`api::Condition`]. Nearly every Service has several: short texts take no memory of their own here, and
/// copies of long ones share it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the field of its name")]
pub struct Condition {
    pub type_: SmolStr,
    pub status: SmolStr,
    pub reason: SmolStr,
    pub message: SmolStr,
    pub last_transition_time: Timestamp,
    pub observed_generation: Option<i64>,
}

impl From<&api::Condition> for Condition {
    fn from(condition: &api::Condition) -> Self {
        let api::Condition { type_, status, reason, message, last_transition_time, observed_generation } = condition;
        Self {
            type_: type_.into(),
            status: status.into(),
            reason: reason.into(),
            message: message.into(),
            last_transition_time: last_transition_time.0,
            observed_generation: *observed_generation,
        }
    }
}

impl From<&Condition> for api::Condition {
    fn from(condition: &Condition) -> Self {
        let Condition { type_, status, reason, message, last_transition_time, observed_generation } = condition;
        Self {
            type_: type_.to_string(),
            status: status.to_string(),
            reason: reason.to_string(),
            message: message.to_string(),
            last_transition_time: Time(*last_transition_time),
            observed_generation: *observed_generation,
        }
    }
}
