//! Texts of several parts, and texts within bounds.

use std::fmt::{Display, Write as _};

/// Clauses of a sentence, in one text.
#[derive(Clone, Debug)]
pub struct Clauses(String);

impl Default for Clauses {
    /// None yet; of most sentences there is a great number, so there is room for one.
    fn default() -> Self {
        Self(String::with_capacity(64))
    }
}

impl Clauses {
    /// Adds a clause, unless it is empty.
    pub fn add(&mut self, clause: impl Display) {
        let end = self.0.len();
        if end > 0 {
            self.0.push_str("; ");
        }
        let begin = self.0.len();
        // A String takes everything.
        let _ = write!(self.0, "{clause}");
        if self.0.len() == begin {
            self.0.truncate(end);
        }
    }

    /// The sentence.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }
}

/// The text, cut where it would have more bytes than that.
#[must_use]
pub fn bounded(mut text: String, bytes: usize) -> String {
    const CUT: char = '…';
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes.saturating_sub(CUT.len_utf8())));
        text.push(CUT);
    }
    text
}
