use std::{
    fs::{File, read_to_string},
    io::Write as _,
    path::PathBuf,
};

use clarion_envtest::target;
use serde::{Deserialize, Serialize};

use crate::Result;

/// What a figure is to reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Bound {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

/// A figure that was measured, beside what it is to reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What was measured, and of what.
    pub name: String,
    /// The unit of both numbers.
    pub unit: String,
    /// What it is to reach.
    pub bound: Bound,
    /// What it is.
    pub reached: f64,
}

impl Figure {
    /// Prints the figure, and keeps it for the table at the end of `make bench`.
    ///
    /// # Errors
    /// If it can't be kept.
    pub fn record(name: &str, unit: &str, bound: Bound, reached: f64) -> Result<()> {
        let this = Self { name: name.to_owned(), unit: unit.to_owned(), bound, reached };
        println!("{}", this.line());
        let path = path();
        std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
        let mut file = File::options().create(true).append(true).open(path)?;
        writeln!(file, "{}", serde_json::to_string(&this)?)?;
        Ok(())
    }

    /// Whether it is what it is to be.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        match self.bound {
            Bound::AtMost(bound) => self.reached <= bound,
            Bound::AtLeast(bound) => self.reached >= bound,
        }
    }

    /// The figure as a line of a table: name, bound, what it is, the ratio of both, the verdict.
    #[must_use]
    pub fn line(&self) -> String {
        let (sign, bound) = match self.bound {
            Bound::AtMost(bound) => ("≤", bound),
            Bound::AtLeast(bound) => ("≥", bound),
        };
        let text = |number: f64| format!("{} {}", rounded(number), self.unit).trim().to_owned();
        // Of nothing there is no share.
        let ratio = if bound == 0.0 { String::new() } else { format!("{:.2}", self.reached / bound) };
        let verdict = if self.is_reached() { "reached" } else { "MISSED" };
        let bound = format!("{sign} {}", text(bound));
        format!("{:<64} {bound:>16} {:>16} {ratio:>6}  {verdict}", self.name, text(self.reached))
    }
}

/// The size of a cluster, as the names of figures have it.
#[must_use]
pub fn size(services: usize, nodes: usize) -> String {
    format!("{} Services x {} nodes", rounded(services as f64), rounded(nodes as f64))
}

/// Three digits, or all of those before the point.
#[must_use]
pub fn rounded(number: f64) -> String {
    let decimals = if number.fract() == 0.0 || number >= 100.0 {
        0
    } else if number >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{number:.decimals$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if fraction.is_empty() { grouped } else { format!("{grouped}.{fraction}") }
}

fn path() -> PathBuf {
    target().join("figures.jsonl")
}

/// Takes what was recorded since the last call, and forgets it; the latest of each name.
///
/// # Errors
/// If it can't be read.
pub fn recorded() -> Result<Vec<Figure>> {
    let path = path();
    if !path.exists() {
        return Ok(Vec::new());
    }
    let mut figures: Vec<Figure> = Vec::new();
    for line in read_to_string(&path)?.lines() {
        let figure: Figure = serde_json::from_str(line)?;
        figures.retain(|known| known.name != figure.name);
        figures.push(figure);
    }
    std::fs::remove_file(path)?;
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::below(Bound::AtMost(25.0), 16.74, true, "≤ 25 ms          16.7 ms   0.67  reached")]
    #[case::above(Bound::AtMost(25.0), 2_533.2, false, "≤ 25 ms         2,533 ms 101.33  MISSED")]
    #[case::enough(Bound::AtLeast(80.0), 80.0, true, "≥ 80 ms            80 ms   1.00  reached")]
    #[case::too_little(Bound::AtLeast(80.0), 7.5, false, "≥ 80 ms          7.50 ms   0.09  MISSED")]
    #[case::none(Bound::AtMost(0.0), 0.0, true, "≤ 0 ms             0 ms         reached")]
    fn a_figure_shows_whether_it_is_reached(
        #[case] bound: Bound,
        #[case] reached: f64,
        #[case] is_reached: bool,
        #[case] end: &str,
    ) {
        let figure = Figure { name: "a plan".to_owned(), unit: "ms".to_owned(), bound, reached };
        assert_eq!(figure.is_reached(), is_reached);
        let line = figure.line();
        assert!(line.starts_with("a plan  ") && line.ends_with(end), "{line:?}");
    }
}
