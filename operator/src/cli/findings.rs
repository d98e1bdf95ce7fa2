//! What is wrong, or worth knowing, as rows.

use std::collections::BTreeSet;

use clarion_core::{Finding, Findings, Severity, world::ObjectRef};
use schemars::JsonSchema;
use serde::Serialize;

use super::output::paragraph;

/// How much a finding matters; what matters most comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    Error,
    Warning,
}

/// Something to tell of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Row {
    pub severity: Level,
    /// `KIND NAME`, or `KIND NAMESPACE/NAME`.
    #[serde(serialize_with = "object_text")]
    #[schemars(with = "String")]
    pub object: ObjectRef,
    /// One of the catalogue that `clarion reasons` prints.
    pub reason: String,
    /// What exactly is meant, for people.
    pub message: String,
}

fn object_text<S: serde::Serializer>(object: &ObjectRef, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(object)
}

impl Row {
    fn of(object: &ObjectRef, finding: &Finding) -> Self {
        let severity = match finding.severity {
            Severity::Error => Level::Error,
            Severity::Warning => Level::Warning,
        };
        let (reason, message) = (finding.reason.name().to_owned(), finding.message.clone());
        Self { severity, object: object.clone(), reason, message }
    }

    pub fn is_error(&self) -> bool {
        self.severity == Level::Error
    }
}

/// All findings, the errors first.
pub fn rows(findings: &Findings) -> BTreeSet<Row> {
    findings.iter().map(|(object, finding)| Row::of(object, finding)).collect()
}

/// Each finding in two parts: what it is about, and what it says.
pub fn text<'r>(rows: impl IntoIterator<Item = &'r Row>) -> String {
    let word = |level| if level == Level::Error { "error" } else { "warning" };
    let of = |row: &Row| {
        let Row { severity, object, reason, message } = row;
        format!("{}: {object}: {reason}\n{}", word(*severity), paragraph(message, 2))
    };
    rows.into_iter().map(of).collect()
}
