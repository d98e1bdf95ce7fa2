use std::path::Path;

use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::{
        Cartesian2d, ChartBuilder, ChartContext, Circle, Color as _, DrawingArea, IntoDrawingArea as _,
        IntoLogRange as _, LineSeries, PathElement, RGBColor, Ranged, SVGBackend, SeriesLabelPosition, WHITE,
    },
};

use crate::Result;

/// The colours of the series, in their order.
const COLOURS: [RGBColor; 9] = [
    RGBColor(0x11, 0x55, 0xcc),
    RGBColor(0xcc, 0x55, 0x00),
    RGBColor(0x22, 0x88, 0x44),
    RGBColor(0x99, 0x33, 0xaa),
    RGBColor(0xbb, 0x22, 0x33),
    RGBColor(0x00, 0x88, 0x99),
    RGBColor(0x88, 0x77, 0x00),
    RGBColor(0x55, 0x55, 0x55),
    RGBColor(0xdd, 0x66, 0xaa),
];
const SIZE: (u32, u32) = (840, 400);
/// How high each of several panels is.
const PANEL: u32 = 200;

/// Numbers that stay as they are until the next point, drawn over time.
#[derive(Clone, Copy, Debug)]
pub struct Chart<'a> {
    /// What it shows.
    pub title: &'a str,
    /// What is told from left to right.
    pub x: &'a str,
    /// What is told upwards.
    pub y: &'a str,
    /// Where both axes end; they begin at nothing.
    pub end: (f64, f64),
}

/// What one line of a [`Chart`] shows.
#[derive(Clone, Debug)]
pub struct Series<'a> {
    /// Its name in the legend.
    pub name: &'a str,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

impl Chart<'_> {
    /// Writes it as SVG.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn draw(&self, path: &Path, series: &[Series<'_>; 2]) -> Result<()> {
        let area = empty(path, SIZE)?;
        let (right, top) = self.end;
        let mut chart = framed(&area, self.title)
            // What is at its most is to be told from the frame.
            .build_cartesian_2d(0.0..right, 0.0..1.08 * top)?;
        let whole = |number: &f64| format!("{number:.0}");
        chart
            .configure_mesh()
            .disable_x_mesh()
            .max_light_lines(0)
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&whole)
            .y_label_formatter(&whole)
            .draw()?;
        draw_lines(&mut chart, series.iter().map(|series| (series.name, steps(&series.points, right))))?;
        Ok(area.present()?)
    }
}

/// How something grows with something else, both axes logarithmic: what is proportional is a straight line at 45°.
#[derive(Clone, Copy, Debug)]
pub struct Growth<'a> {
    /// What it shows.
    pub title: &'a str,
    /// What is told from left to right.
    pub x: &'a str,
    /// What is told upwards.
    pub y: &'a str,
}

impl Growth<'_> {
    /// Writes it as SVG.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn draw(&self, path: &Path, series: &[Series<'_>]) -> Result<()> {
        let area = empty(path, SIZE)?;
        let points = || series.iter().flat_map(|series| &series.points);
        let decades = |values: Vec<f64>| {
            let least = values.iter().copied().fold(f64::INFINITY, f64::min).log10().floor();
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max).log10().ceil();
            10_f64.powf(least)..10_f64.powf(most)
        };
        let x = decades(points().map(|(x, _)| *x).collect());
        let y = decades(points().map(|(_, y)| *y).collect());
        let mut chart = framed(&area, self.title).build_cartesian_2d(x.log_scale(), y.log_scale())?;
        let plain = |number: &f64| format!("{number}");
        chart
            .configure_mesh()
            .max_light_lines(0)
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&plain)
            .y_label_formatter(&plain)
            .draw()?;
        draw_lines(&mut chart, series.iter().map(|series| (series.name, series.points.clone())))?;
        for (series, colour) in series.iter().zip(COLOURS) {
            chart.draw_series(series.points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
        }
        Ok(area.present()?)
    }
}

/// Numbers of different units over the same time, one below the other.
#[derive(Clone, Copy, Debug)]
pub struct Panels<'a> {
    /// What is told from left to right.
    pub x: &'a str,
    /// Where it ends; it begins at nothing.
    pub end: f64,
}

impl Panels<'_> {
    /// Writes it as SVG; the name of each series is the title of its panel.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn draw(&self, path: &Path, series: &[Series<'_>]) -> Result<()> {
        let height = PANEL * u32::try_from(series.len())?;
        let area = empty(path, (SIZE.0, height))?;
        for ((panel, series), colour) in
            area.split_evenly((series.len(), 1)).iter().zip(series).zip(COLOURS.iter().cycle())
        {
            let top = series.points.iter().map(|(_, y)| *y).fold(1.0, f64::max);
            let mut chart = framed(panel, series.name).build_cartesian_2d(0.0..self.end, 0.0..1.08 * top)?;
            lines_across(&mut chart, self.x, &|number| format!("{number:.0}"))?;
            chart.draw_series(LineSeries::new(series.points.iter().copied(), colour.stroke_width(2)))?;
        }
        Ok(area.present()?)
    }
}

/// Many panels of the same time, in rows, as a dashboard has them.
#[derive(Clone, Copy, Debug)]
pub struct Board<'a> {
    /// What is told from left to right.
    pub x: &'a str,
    /// Where it ends; it begins at nothing.
    pub end: f64,
}

/// A panel of a [`Board`].
#[derive(Clone, Debug)]
pub struct Panel {
    /// What it shows.
    pub title: String,
    /// What its lines show.
    pub lines: Vec<Line>,
}

/// A line of a [`Panel`].
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// How many panels of a [`Board`] are side by side, and how large each is.
const COLUMNS: usize = 3;
const TILE: (u32, u32) = (440, 260);

impl Board<'_> {
    /// Writes it as SVG.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn draw(&self, path: &Path, panels: &[Panel]) -> Result<()> {
        let rows = panels.len().div_ceil(COLUMNS);
        let area = empty(path, (TILE.0 * u32::try_from(COLUMNS)?, TILE.1 * u32::try_from(rows)?))?;
        for (tile, panel) in area.split_evenly((rows, COLUMNS)).iter().zip(panels) {
            let points = || panel.lines.iter().flat_map(|line| &line.points);
            let top = points().map(|(_, y)| *y).fold(0.0, f64::max);
            let top = if top > 0.0 { 1.08 * top } else { 1.0 };
            let mut chart = framed(tile, &panel.title).build_cartesian_2d(0.0..self.end, 0.0..top)?;
            lines_across(&mut chart, self.x, &|number| two_digits(*number))?;
            draw_lines(&mut chart, panel.lines.iter().map(|line| (line.name.as_str(), line.points.clone())))?;
        }
        Ok(area.present()?)
    }
}

/// A number that is not negative, with two digits that count.
fn two_digits(number: f64) -> String {
    let decimals = if number > 0.0 { (1.0 - number.log10().floor()).clamp(0.0, 6.0) as usize } else { 0 };
    let text = format!("{number:.decimals$}");
    if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

type Area<'p> = DrawingArea<SVGBackend<'p>, Shift>;

/// An empty picture in a file.
fn empty(path: &Path, size: (u32, u32)) -> Result<Area<'_>> {
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE)?;
    Ok(area)
}

/// What all charts have around them.
fn framed<'a, 'p>(area: &'a Area<'p>, title: &str) -> ChartBuilder<'a, 'p, SVGBackend<'p>> {
    let mut builder = ChartBuilder::on(area);
    builder.caption(title, ("sans-serif", 18)).margin(12).x_label_area_size(44).y_label_area_size(64);
    builder
}

/// Draws the lines across a panel, with numbers before them and below.
fn lines_across<'p>(
    chart: &mut ChartContext<'p, SVGBackend<'p>, Cartesian2d<RangedCoordf64, RangedCoordf64>>,
    x: &str,
    number: &dyn Fn(&f64) -> String,
) -> Result<()> {
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(0)
        .y_labels(5)
        .x_desc(x)
        .x_label_formatter(&|number| format!("{number:.0}"))
        .y_label_formatter(number)
        .draw()?;
    Ok(())
}

/// Draws lines, each in a colour of its own, and a legend with their names.
fn draw_lines<'s, 'p, X, Y>(
    chart: &mut ChartContext<'p, SVGBackend<'p>, Cartesian2d<X, Y>>,
    lines: impl Iterator<Item = (&'s str, Vec<(f64, f64)>)>,
) -> Result<()>
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    for ((name, points), colour) in lines.zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(points, style))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        // Lines below the names can be seen.
        .background_style(WHITE.mix(0.6).filled())
        .draw()?;
    Ok(())
}

/// The points of a line that goes up and down only where something changes, and on to the end.
fn steps(points: &[(f64, f64)], end: f64) -> Vec<(f64, f64)> {
    let changes = points.iter().map(|(x, _)| *x).skip(1).chain([end]);
    points.iter().zip(changes).flat_map(|((x, y), next)| [(*x, *y), (next, *y)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_have_digits_too() {
        let shown = [0.0, 0.0004, 0.025, 0.5, 1.0, 7.25, 40.0, 1_500.0].map(two_digits);
        assert_eq!(shown, ["0", "0.0004", "0.025", "0.5", "1", "7.2", "40", "1500"]);
    }

    #[test]
    fn a_number_stays_until_the_next_one() {
        let steps = steps(&[(0.0, 5.0), (1.0, 0.0), (3.0, 5.0)], 4.0);
        assert_eq!(steps, [(0.0, 5.0), (1.0, 5.0), (1.0, 0.0), (3.0, 0.0), (3.0, 5.0), (4.0, 5.0)]);
    }
}
