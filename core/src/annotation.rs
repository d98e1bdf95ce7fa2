//! Annotations of Services: lists under several prefixes, and what is said of those that can't be read.

use std::net::IpAddr;

use clarion_api::names;

use crate::{config::address, finding::Reason, world::Service};

/// Why something is not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason from the catalogue.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Reason::InvalidRequest, message)
    }

    pub fn conflicting(message: impl Into<String>) -> Self {
        Self::new(Reason::ConflictingRequest, message)
    }
}

/// The most entries that a list in an annotation may have.
const ENTRIES_MAX: usize = 64;
/// The most characters of a text that a message quotes.
const QUOTED_MAX: usize = 64;

/// An annotation under one of the prefixes.
#[derive(Clone, Copy, Debug)]
pub struct Annotation<'w> {
    /// The key, with the prefix.
    pub key: &'w str,
    /// The value.
    pub value: &'w str,
}

/// The annotations of this name under all prefixes, ours first.
pub fn annotations<'w>(service: &'w Service, name: &str) -> impl Iterator<Item = Annotation<'w>> {
    let is_it = move |key: &str| names::ANNOTATION_PREFIXES.iter().any(|prefix| key.strip_prefix(prefix) == Some(name));
    let found = service.annotations.iter().filter(move |(key, _)| is_it(key));
    found.map(|(key, value)| Annotation { key, value })
}

pub fn differ(one: Annotation, other: Annotation) -> Refusal {
    Refusal::conflicting(format!("{} is {}, but {} is {}", one.key, quote(one.value), other.key, quote(other.value)))
}

/// Finds the annotation of this name. With several prefixes, the values must be the same but for white space.
pub fn annotation<'w>(service: &'w Service, name: &str) -> Result<Option<Annotation<'w>>, Refusal> {
    let mut found = annotations(service, name);
    let Some(first) = found.next() else { return Ok(None) };
    let bare = |value: &'w str| value.chars().filter(|c| !c.is_whitespace());
    match found.find(|other| !bare(first.value).eq(bare(other.value))) {
        Some(other) => Err(differ(first, other)),
        None => Ok(Some(first)),
    }
}

impl<'w> Annotation<'w> {
    /// The entries between commas. Empty ones are not counted.
    pub fn entries(self) -> Result<Vec<&'w str>, Refusal> {
        let entries = self.value.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let entries: Vec<_> = entries.take(ENTRIES_MAX + 1).collect();
        if entries.len() > ENTRIES_MAX {
            return Err(Refusal::invalid(format!("{} has more than {ENTRIES_MAX} entries", self.key)));
        }
        Ok(entries)
    }

    /// The entries as addresses, each once.
    pub fn addresses(self) -> Result<Vec<IpAddr>, Refusal> {
        let mut addresses = Vec::new();
        for entry in self.entries()? {
            let address = read(self.key, entry)?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }
}

fn read(field: &str, text: &str) -> Result<IpAddr, Refusal> {
    address(text).map_err(|error| Refusal::invalid(format!("{field}: {}: {error}", quote(text))))
}

/// A text as a message quotes it: escaped, and not longer than a reader wants.
pub fn quote(text: &str) -> String {
    match text.char_indices().nth(QUOTED_MAX) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
