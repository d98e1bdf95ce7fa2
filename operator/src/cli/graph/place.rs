//! Where everything stands in a picture, in pixels.

use std::{cmp::Reverse, collections::BTreeMap};

use textwrap::{Options, WordSplitter, core::display_width};

use super::model::{Edge, Graph, Item, plain};

/// What a column takes.
pub const BOX_WIDTH: usize = 242;
/// What lines have between two columns.
const LANE: usize = 132;
/// What is around everything.
pub const MARGIN: usize = 28;
/// Where the columns begin.
const TOP: usize = 130;
/// The height of a title in a box, and of each line below it.
pub const TITLE_HEIGHT: usize = 18;
pub const LINE_HEIGHT: usize = 15;
/// What a box has above and below its text, and on its sides.
pub const PADDING: usize = 8;
pub const SIDE: usize = 12;
/// What is between two boxes.
const GAP: usize = 12;
/// The height of what boxes stand under.
const UNDER_HEIGHT: usize = 24;
/// What the legend takes.
const LEGEND_HEIGHT: usize = 96;
/// The characters that fit a box, of a title and of a line: fonts of fixed width have 0.6 of their height.
const TITLE_CHARACTERS: usize = 30;
const LINE_CHARACTERS: usize = 33;
/// The least distance between the ends of two lines.
const PORT: usize = 7;

/// A picture with every place known.
pub struct Picture<'g> {
    pub width: usize,
    pub height: usize,
    /// Where the legend begins.
    pub legend: usize,
    pub columns: Vec<Placed<'g>>,
    pub curves: Vec<Curve<'g>>,
}

/// A column.
pub struct Placed<'g> {
    pub x: usize,
    pub heading: &'g str,
    /// What boxes stand under, and where that is.
    pub unders: Vec<(usize, String)>,
    pub boxes: Vec<Drawn<'g>>,
}

/// An item as a box.
pub struct Drawn<'g> {
    pub item: &'g Item,
    /// Unlike all others.
    pub id: String,
    pub y: usize,
    pub height: usize,
    pub title: String,
    /// Each with whether it tells of trouble.
    pub lines: Vec<(String, bool)>,
}

/// An edge as a line.
pub struct Curve<'g> {
    pub edge: &'g Edge,
    pub from: (usize, usize),
    pub to: (usize, usize),
    /// The boxes at its ends.
    pub ends: (String, String),
}

/// Places everything: boxes that have to do with each other are near each other, as far as that can be had.
pub fn place(graph: &Graph) -> Picture<'_> {
    let order = order(graph);
    let mut columns: Vec<Placed> = graph
        .columns
        .iter()
        .zip(&order)
        .enumerate()
        .map(|(index, (column, order))| {
            let items = order.iter().filter_map(|item| Some((*item, column.items.get(*item)?)));
            let x = MARGIN + index * (BOX_WIDTH + LANE);
            stack(x, index, &column.heading, items, &ends(graph, index))
        })
        .collect();
    let height = |column: &Placed| column.boxes.last().map_or(0, |last| last.y + last.height);
    let tallest = columns.iter().map(height).max().unwrap_or(0);
    for column in &mut columns {
        let down = TOP + tallest.saturating_sub(height(column)) / 2;
        column.unders.iter_mut().for_each(|(y, _)| *y += down);
        column.boxes.iter_mut().for_each(|drawn| drawn.y += down);
    }
    let curves = curves(graph, &columns);
    let legend = TOP + tallest + 2 * GAP;
    let width = 2 * MARGIN + graph.columns.len() * (BOX_WIDTH + LANE) - LANE;
    Picture { width, height: legend + LEGEND_HEIGHT, legend, columns, curves }
}

fn id(column: usize, item: usize) -> String {
    format!("b{column}-{item}")
}

/// How many lines end at each item of a column, on its busier side.
fn ends(graph: &Graph, column: usize) -> BTreeMap<usize, usize> {
    let (mut left, mut right) = (BTreeMap::new(), BTreeMap::new());
    let before = column.checked_sub(1).and_then(|index| graph.edges.get(index));
    before.into_iter().flatten().for_each(|edge| *left.entry(edge.to).or_insert(0) += 1);
    let after = graph.edges.get(column);
    after.into_iter().flatten().for_each(|edge| *right.entry(edge.from).or_insert(0) += 1);
    for (item, number) in left {
        let most = right.entry(item).or_insert(0);
        *most = number.max(*most);
    }
    right
}

/// One box below the other.
fn stack<'g>(
    x: usize,
    column: usize,
    heading: &'g str,
    items: impl Iterator<Item = (usize, &'g Item)>,
    ends: &BTreeMap<usize, usize>,
) -> Placed<'g> {
    let (mut y, mut under) = (0, "");
    let mut placed = Placed { x, heading, unders: Vec::new(), boxes: Vec::new() };
    for (index, item) in items {
        if item.under != under {
            under = &item.under;
            placed.unders.push((y, shortened(under, LINE_CHARACTERS)));
            y += UNDER_HEIGHT;
        }
        let lines: Vec<(String, bool)> = item
            .lines
            .iter()
            .flat_map(|line| wrapped(&line.text, line.most).into_iter().map(|text| (text, line.trouble)))
            .collect();
        let text = 2 * PADDING + TITLE_HEIGHT + lines.len() * LINE_HEIGHT;
        let height = text.max((ends.get(&index).copied().unwrap_or(0) + 1) * PORT);
        let title = shortened(&item.title, TITLE_CHARACTERS);
        placed.boxes.push(Drawn { item, id: id(column, index), y, height, title, lines });
        y += height + GAP;
    }
    placed
}

/// A text in lines, no more than these.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let options = Options::new(LINE_CHARACTERS).word_splitter(WordSplitter::NoHyphenation);
    let mut lines: Vec<String> = textwrap::wrap(&plain(text), options).into_iter().map(String::from).collect();
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            *last = shortened(&format!("{last} …"), LINE_CHARACTERS);
        }
    }
    lines
}

/// A text that fits.
pub fn shortened(text: &str, characters: usize) -> String {
    let text = plain(text);
    if display_width(&text) <= characters {
        return text;
    }
    let mut short = String::new();
    for character in text.chars() {
        if display_width(&short) + 2 > characters {
            break;
        }
        short.push(character);
    }
    short + "…"
}

/// How often the order of columns is made better.
const SWEEPS: usize = 3;

/// The items of each column, by index, from above: each near the middle of those that it has to do with. Services stay with
/// those of their pool, and those in trouble stay before others.
fn order(graph: &Graph) -> Vec<Vec<usize>> {
    let mut order: Vec<Vec<usize>> = graph.columns.iter().map(|column| (0..column.items.len()).collect()).collect();
    let edges = |index: usize| graph.edges.get(index).into_iter().flatten();
    for _ in 0..SWEEPS {
        for column in 1..order.len() {
            let ends = edges(column - 1).map(|edge| (edge.to, edge.from));
            sort(graph, &mut order, (column, column - 1), ends);
        }
        for column in (0..order.len().saturating_sub(1)).rev() {
            let ends = edges(column).map(|edge| (edge.from, edge.to));
            sort(graph, &mut order, (column, column + 1), ends);
        }
    }
    order
}

/// Sorts a column by the middle of those in another that each has an edge with.
fn sort(
    graph: &Graph,
    order: &mut [Vec<usize>],
    (column, other): (usize, usize),
    edges: impl Iterator<Item = (usize, usize)>,
) {
    /// Positions are whole numbers, which are the same everywhere.
    const SCALE: usize = 10_000;
    let positions: BTreeMap<usize, usize> =
        order.get(other).into_iter().flatten().enumerate().map(|(position, item)| (*item, position)).collect();
    let mut sums: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for (item, end) in edges {
        let (sum, number) = sums.entry(item).or_default();
        *sum += positions.get(&end).copied().unwrap_or(0);
        *number += 1;
    }
    let blocks = blocks(graph, column);
    if let Some(items) = order.get_mut(column) {
        items.sort_by_key(|item| {
            let middle = sums.get(item).map_or(usize::MAX, |(sum, number)| sum * SCALE / number);
            (blocks.get(*item).copied(), middle)
        });
    }
}

/// The items of a column that stay together, by the number of each one's block.
fn blocks(graph: &Graph, column: usize) -> Vec<usize> {
    let Some(column) = graph.columns.get(column) else { return Vec::new() };
    let (mut number, mut last) = (0, None);
    let block = |item: &Item| {
        let this = (!item.under.is_empty()).then(|| (item.under.clone(), item.state));
        number += usize::from(this != last);
        last = this;
        number
    };
    column.items.iter().map(block).collect()
}

/// The lines, each from a place of its own to one of its own; those that matter most are drawn last, above all others.
fn curves<'g>(graph: &'g Graph, columns: &[Placed<'g>]) -> Vec<Curve<'g>> {
    let mut curves = Vec::new();
    for ((index, edges), pair) in graph.edges.iter().enumerate().zip(columns.windows(2)) {
        let [left, right] = pair else { continue };
        let [from, to] = [(left, index), (right, index + 1)].map(|(column, number)| {
            let boxes = column.boxes.iter().map(move |drawn| (drawn.id.as_str(), drawn));
            (boxes.collect::<BTreeMap<_, _>>(), number)
        });
        let found = |(boxes, number): &(BTreeMap<&str, &Drawn<'g>>, usize), item: usize| {
            boxes.get(id(*number, item).as_str()).map(|drawn| (drawn.y, drawn.height))
        };
        let mut starts = ports(edges.iter().map(|edge| (edge.from, found(&to, edge.to))), |item| found(&from, item));
        let mut stops = ports(edges.iter().map(|edge| (edge.to, found(&from, edge.from))), |item| found(&to, item));
        for (number, edge) in edges.iter().enumerate() {
            let (Some(start), Some(stop)) = (starts.remove(&number), stops.remove(&number)) else { continue };
            curves.push(Curve {
                edge,
                from: (left.x + BOX_WIDTH, start),
                to: (right.x, stop),
                ends: (id(index, edge.from), id(index + 1, edge.to)),
            });
        }
    }
    curves.sort_by_key(|curve| Reverse(curve.edge.state));
    curves
}

/// From where on a box stands, and its height.
type Span = (usize, usize);

/// Where each line ends at its item: the ends are as far apart as the box lets them be, in the order of the other ends.
fn ports(
    edges: impl Iterator<Item = (usize, Option<Span>)>,
    place: impl Fn(usize) -> Option<Span>,
) -> BTreeMap<usize, usize> {
    let mut of_item: BTreeMap<usize, Vec<(Option<Span>, usize)>> = BTreeMap::new();
    for (number, (item, other)) in edges.enumerate() {
        of_item.entry(item).or_default().push((other, number));
    }
    let mut ports = BTreeMap::new();
    for (item, mut ends) in of_item {
        let Some((y, height)) = place(item) else { continue };
        ends.sort_unstable();
        let share = ends.len() + 1;
        ports.extend(ends.into_iter().zip(1..).map(|((_, number), position)| (number, y + height * position / share)));
    }
    ports
}
