//! What commands print: a table for people, JSON or YAML for programs.

use std::io::{self, Write as _};

use clap::{Args, ValueEnum};
use serde::Serialize;
use tabwriter::TabWriter;

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
    /// Prints a table, or the value that it was made from.
    pub fn print<T: Serialize>(self, value: &T, table: impl FnOnce(&T) -> String) -> Result<(), Error> {
        let text = match self.format {
            Format::Table => table(value),
            Format::Json => serde_json::to_string_pretty(value)? + "\n",
            Format::Yaml => serde_saphyr::to_string(value)?,
        };
        Ok(io::stdout().write_all(text.as_bytes())?)
    }
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
