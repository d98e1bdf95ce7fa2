//! `clarion graph`

mod dot;
mod gather;
mod group;
mod html;
mod model;
mod place;
mod svg;

use std::io::{self, Write as _};

use clap::{Args, ValueEnum};

use super::{
    cluster::{self, Source},
    view::{self, Prospect},
};

/// Draw how Services, FRRConfigurations, nodes and routers hang together, and how sessions are
///
/// The picture is one file that needs no other: `clarion graph > graph.svg`. A line between a node and a router is a session.
/// A few of a kind are drawn one by one, many by what they have in common; Services in trouble come first and by name. Of a
/// cluster the picture has the time; of manifests it has none, so that the same manifests give the same picture.
#[derive(Debug, Args)]
pub struct Graph {
    /// A picture, Graphviz's language, or a page that tells the same in tables and shows what belongs together
    #[arg(short = 'o', long = "output", value_enum, default_value_t = Format::Svg)]
    format: Format,
    #[command(flatten)]
    source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A picture
    Svg,
    /// For Graphviz
    Dot,
    /// A page with the picture and tables
    Html,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    #[error(transparent)]
    View(#[from] view::Error),
    #[error("the picture can't be written: {0}")]
    Write(#[from] io::Error),
}

impl Graph {
    pub fn execute(self) -> Result<(), Error> {
        let offline = self.source.is_offline();
        let prospect = Prospect::of(self.source.world()?, offline)?;
        let when = if offline { String::new() } else { format!(", {}", prospect.world.now) };
        let graph = gather::graph(&prospect, format!("{}{when}", self.source.place()));
        let text = match self.format {
            Format::Svg => svg::picture(&graph).into_string() + "\n",
            Format::Dot => dot::text(&graph),
            Format::Html => html::page(&graph).into_string() + "\n",
        };
        Ok(io::stdout().write_all(text.as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        dot, html,
        model::{Column, Edge, Graph, Item, Line, State},
        svg,
    };

    fn graph(text: &str) -> Graph {
        let item = |state| Item {
            under: text.to_owned(),
            title: text.to_owned(),
            lines: vec![Line::new(text, 2), Line::trouble(text, 1)],
            state,
            foreign: state == State::Unknown,
        };
        let column = || Column { heading: text.to_owned(), items: vec![item(State::Bad), item(State::Unknown)] };
        let edge = || Edge { from: 1, to: 0, state: State::LeftOut, text: text.to_owned() };
        Graph {
            title: text.to_owned(),
            summary: vec![text.to_owned()],
            columns: [column(), column(), column(), column()],
            edges: [vec![edge()], vec![edge()], vec![edge()]],
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_a_file_that_parses(text in "(\\PC|[\\x00-\\x1f\"\\\\<>&']|[\u{202e}\u{fffe}]){0,60}") {
            let graph = graph(&text);
            for xml in [svg::picture(&graph).into_string(), html::page(&graph).into_string()] {
                let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
                let document = roxmltree::Document::parse_with_options(&xml, options).unwrap();
                let names = document.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "g")));
                prop_assert!(names.count() > 8, "{xml}");
            }
            let dot = layout::gv::DotParser::new(&dot::text(&graph)).process().unwrap();
            prop_assert_eq!(dot.list.list.len(), 14);
        }
    }
}
