//! Texts within bounds.

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
