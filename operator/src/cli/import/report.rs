//! What an import has to say beside the objects.

use std::fmt;

use super::metallb::Id;

/// What becomes of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It can't be read, or MetalLB itself refuses it: nothing is imported until it is corrected.
    Error,
    /// It is not carried over.
    LeftOut,
    /// It is carried over, but has to be dealt with before Clarion runs beside MetalLB.
    CutOver,
    /// It is carried over in another form.
    Changed,
    /// It is carried over as it is, and refers to something that is not among the objects.
    Kept,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::LeftOut => "left out",
            Self::CutOver => "cut-over",
            Self::Changed => "changed",
            Self::Kept => "kept",
        })
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    pub effect: Effect,
    pub object: Id,
    /// Empty where it is about the whole object.
    pub field: String,
    pub message: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { effect, object, field, message } = self;
        let dot = if field.is_empty() { "" } else { ": spec." };
        write!(f, "{effect}: {object}{dot}{field}: {message}")
    }
}

/// Why an object is not carried over, by field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub effect: Effect,
    pub field: String,
    pub message: String,
}

impl Refusal {
    /// MetalLB refuses this too.
    pub fn error(field: &str, message: impl Into<String>) -> Self {
        Self { effect: Effect::Error, field: field.to_owned(), message: message.into() }
    }

    /// The object would mean something else without this, and Clarion can't have it.
    pub fn left_out(field: &str, message: impl fmt::Display) -> Self {
        let message = format!("{message}; the object is left out");
        Self { effect: Effect::LeftOut, field: field.to_owned(), message }
    }
}
