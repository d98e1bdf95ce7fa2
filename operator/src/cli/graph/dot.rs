//! Graphviz's language.

use itertools::Itertools as _;

use super::model::{Graph, Item, State, plain};

/// The graph, with a cluster for each column.
pub fn text(graph: &Graph) -> String {
    let title = format!("Clarion: {}\n{}", plain(&graph.title), graph.summary.join("\n"));
    let mut lines = vec![
        "digraph clarion {".to_owned(),
        format!("  label={}; labelloc=\"t\"; rankdir=\"LR\"; ranksep=\"2\"; nodesep=\"0.15\";", label(&title)),
        "  node [shape=\"box\", fontname=\"monospace\", fontsize=\"10\"];".to_owned(),
        "  edge [arrowhead=\"none\"];".to_owned(),
    ];
    for (index, column) in graph.columns.iter().enumerate() {
        lines.push(format!("  subgraph cluster_{index} {{ label={}; color=\"white\";", label(&column.heading)));
        lines.extend(column.items.iter().enumerate().map(|(number, item)| node(index, number, item)));
        lines.push("  }".to_owned());
    }
    for (index, edges) in graph.edges.iter().enumerate() {
        lines.extend(edges.iter().map(|edge| {
            let (style, width) = style(edge.state);
            format!(
                "  b{index}_{} -> b{}_{} [color=\"{}\", style=\"{style}\", penwidth=\"{width}\", tooltip={}];",
                edge.from,
                index + 1,
                edge.to,
                edge.state.color(),
                label(&edge.text)
            )
        }));
    }
    lines.push("}\n".to_owned());
    lines.join("\n")
}

fn node(column: usize, number: usize, item: &Item) -> String {
    let texts = [item.under.as_str(), &item.title].into_iter().chain(item.lines.iter().map(|line| line.text.as_str()));
    let texts: Vec<&str> = texts.filter(|text| !text.is_empty()).collect();
    let style = if item.foreign { "dashed" } else { "solid" };
    let (color, width) = (item.state.color(), if item.state == State::Plain { "1" } else { "2" });
    format!(
        "    b{column}_{number} [label={}, style=\"{style}\", color=\"{color}\", penwidth=\"{width}\"];",
        label(&texts.join("\n"))
    )
}

/// The kind of a line, and its width: what colour tells is told by these too.
fn style(state: State) -> (&'static str, &'static str) {
    match state {
        State::Bad => ("dashed", "2.5"),
        State::LeftOut => ("dashed", "1"),
        State::Unknown => ("dotted", "1.5"),
        State::Good => ("solid", "1.5"),
        State::Plain => ("solid", "0.5"),
    }
}

/// A text in quotes, with lines that are centred; nothing in it is a character reference, nor an escape of Graphviz's.
fn label(text: &str) -> String {
    let mut lines =
        text.split('\n').map(|line| plain(line).replace('&', "&amp;").replace('\\', "\\\\").replace('"', "\\\""));
    format!("\"{}\"", lines.join("\\n"))
}
