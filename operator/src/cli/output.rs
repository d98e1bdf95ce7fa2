//! What commands print: a table for people, JSON or YAML for programs.

use std::{
    io::{self, Write as _},
    iter,
};

use anstyle::{AnsiColor, Style};
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
            // Takes colours away where nobody would see them.
            Format::Table => return Ok(anstream::stdout().write_all(table(value).as_bytes())?),
            Format::Json => serde_json::to_string_pretty(value)? + "\n",
            Format::Yaml => serde_saphyr::to_string(value)?,
        };
        Ok(io::stdout().write_all(text.as_bytes())?)
    }
}

const BAD: Style = AnsiColor::Red.on_default();
const DOUBTFUL: Style = AnsiColor::Yellow.on_default();

/// A text in which the state of a condition, and how much a finding matters, have a colour if that is not good.
///
/// No name of an object is taken for one of these words: names have no capitals and no spaces.
pub fn painted(text: &str) -> String {
    let words = [("   False ", BAD), ("   Unknown ", DOUBTFUL), ("error: ", BAD), ("warning: ", DOUBTFUL)];
    let line = |line: &str| {
        let found = words.iter().find_map(|(word, style)| {
            let (before, after) = line.split_once(word)?;
            // Between cells of a table, or at the beginning of a line.
            let is_meant = word.starts_with(' ') || before.is_empty();
            is_meant.then(|| format!("{before}{style}{word}{style:#}{after}"))
        });
        found.unwrap_or_else(|| line.to_owned())
    };
    text.split('\n').map(line).join("\n")
}

/// The columns of the narrowest terminal that output is meant for.
pub const WIDTH: usize = 100;
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
    textwrap::fill(text, lines_of(WIDTH).initial_indent(&spaces).subsequent_indent(&spaces)) + "\n"
}

/// Lines of so many columns. Names and addresses stay in one piece, to be copied.
fn lines_of<'a>(width: usize) -> Options<'a> {
    Options::new(width).word_splitter(WordSplitter::NoHyphenation).break_words(false)
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

/// Columns between two cells of a row.
const PADDING: usize = 3;
/// A last column is not made narrower than this, however long the names before it are.
const NARROWEST: usize = 24;

/// Columns under their headings, as kubectl prints them, but that what does not fit into the last one goes on below.
pub fn table<const N: usize>(headings: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let filled = |row: [String; N]| row.map(|cell| if cell.is_empty() { "-".to_owned() } else { cell });
    let rows: Vec<[String; N]> = iter::once(headings.map(str::to_owned)).chain(rows.into_iter().map(filled)).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| textwrap::core::display_width(cell) + PADDING).max().unwrap_or_default()
    };
    let before: usize = (0..N.saturating_sub(1)).map(width).sum();
    let room = WIDTH.saturating_sub(before).max(NARROWEST);
    let mut text = String::new();
    for row in &rows {
        let Some((last, cells)) = row.split_last() else { continue };
        for (index, part) in textwrap::wrap(last, lines_of(room)).iter().enumerate() {
            for cell in cells {
                text.push_str(if index == 0 { cell } else { "" });
                text.push('\t');
            }
            text.push_str(part);
            text.push('\n');
        }
    }
    let mut writer = TabWriter::new(Vec::new()).padding(PADDING);
    // Neither writing to memory nor text that was text before can fail.
    let aligned = writer.write_all(text.as_bytes()).ok().and_then(|()| writer.into_inner().ok());
    aligned.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or(text)
}
