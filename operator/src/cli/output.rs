//! What commands print: a table for people, JSON or YAML for programs.

use std::io::{self, Write as _};

use clap::{Args, ValueEnum};
use itertools::Itertools as _;
use schemars::JsonSchema;
use serde::Serialize;
use tabwriter::TabWriter;
use textwrap::{Options, WordSplitter};

#[derive(Clone, Copy, Debug, Args)]
pub struct Output {
    /// How the outcome is printed
    #[arg(short = 'o', long = "output", value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns
    Table,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the outcome can't be written: {0}")]
    Write(#[from] io::Error),
    #[error("the outcome can't be written as JSON: {0}; this is a fault of Clarion, please report it")]
    Json(#[from] serde_json::Error),
    #[error("the outcome can't be written as YAML: {0}; this is a fault of Clarion, please report it")]
    Yaml(#[from] serde_saphyr::SerializeError),
}

impl Output {
    /// Prints a table, or the value that it was made from, whose schema `clarion schema` prints.
    pub fn print<T: Serialize + JsonSchema>(self, value: &T, table: impl FnOnce(&T) -> String) -> Result<(), Error> {
        let text = match self.format {
            Format::Table => table(value),
            Format::Json => serde_json::to_string_pretty(value)? + "\n",
            Format::Yaml => serde_saphyr::to_string(value)?,
        };
        Ok(io::stdout().write_all(text.as_bytes())?)
    }
}

/// The columns of the narrowest terminal that output is meant for.
const WIDTH: usize = 100;
/// Rows that a table shows of a list that has no end.
pub const SHOWN_ROWS: usize = 10;

/// What follows the first [`SHOWN_ROWS`] of so many.
pub fn more(all: usize) -> String {
    match all.saturating_sub(SHOWN_ROWS) {
        0 => String::new(),
        hidden => format!("and {hidden} more; -o json has all\n"),
    }
}

/// Names that a sentence shows.
const SHOWN_NAMES: usize = 3;

/// A text in lines that fit, each after so many spaces.
pub fn paragraph(text: &str, indent: usize) -> String {
    let spaces = " ".repeat(indent);
    let options = Options::new(WIDTH)
        .initial_indent(&spaces)
        .subsequent_indent(&spaces)
        // Names and addresses stay in one piece, to be copied.
        .word_splitter(WordSplitter::NoHyphenation)
        .break_words(false);
    textwrap::fill(text, options) + "\n"
}

/// The first few of some names, and how many more there are.
pub fn few<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<S> = names.into_iter().collect();
    let shown = names.iter().take(SHOWN_NAMES).map(AsRef::as_ref).join(", ");
    match names.len().saturating_sub(SHOWN_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// As many of some texts as a column takes, at least one, and how many more there are.
pub fn within(texts: &[String], columns: usize) -> String {
    let mut width = 0;
    let fitting = texts.iter().take_while(|text| {
        width += text.len() + 2;
        width <= columns
    });
    let shown = fitting.count().max(1);
    let listed = texts.iter().take(shown).join(", ");
    match texts.len().saturating_sub(shown) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

/// A number of things, in words.
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Columns under their headings, as kubectl prints them.
pub fn table<const N: usize>(headings: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut text = headings.join("\t") + "\n";
    for row in rows {
        let cells = row.map(|cell| if cell.is_empty() { "-".to_owned() } else { cell });
        text.push_str(&cells.join("\t"));
        text.push('\n');
    }
    let mut writer = TabWriter::new(Vec::new()).padding(3);
    // Neither writing to memory nor text that was text before can fail.
    let aligned = writer.write_all(text.as_bytes()).ok().and_then(|()| writer.into_inner().ok());
    aligned.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or(text)
}
