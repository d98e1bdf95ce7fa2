//! A page: the picture, and the same in tables.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    model::{Edge, Graph, plain},
    svg,
};

/// Nothing is fetched from anywhere. Void elements are closed, so that the page is XML as well.
const HEAD: &str = r#"<meta charset="utf-8"/><meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"/>"#;

const STYLE: &str = "
body{margin:0 24px 40px;background:#fff;color:#16202a;font:14px/1.45 system-ui,'Segoe UI',Helvetica,Arial,sans-serif}
svg{display:block;max-width:100%;height:auto}
table{border-collapse:collapse;margin-bottom:24px}
th,td{text-align:left;vertical-align:top;padding:5px 14px 5px 0;border-bottom:1px solid #d8dee4;overflow-wrap:anywhere;max-width:44em}
h2{font-size:16px;margin:24px 0 6px}
";

/// What hangs together with the box under the pointer stays as it is, and all else fades. A click keeps it so.
const SCRIPT: &str = "
const svg = document.querySelector('svg');
const edges = [...svg.querySelectorAll('.edge')];
let kept = null;
function follow(id, here, there, on) {
  for (const edge of edges) {
    if (edge.dataset[here] !== id || on.has(edge)) continue;
    on.add(edge);
    follow(edge.dataset[there], here, there, on);
  }
  on.add(document.getElementById(id));
}
function light(target) {
  svg.querySelectorAll('.on').forEach(part => part.classList.remove('on'));
  svg.classList.toggle('lit', target !== null);
  if (target === null) return;
  const on = new Set([target]);
  follow(target.dataset.a || target.id, 'b', 'a', on);
  follow(target.dataset.b || target.id, 'a', 'b', on);
  on.forEach(part => part.classList.add('on'));
}
const part = event => event.target.closest('.item, .edge');
svg.addEventListener('pointerover', event => { if (kept === null) light(part(event)); });
svg.addEventListener('pointerleave', () => { if (kept === null) light(null); });
svg.addEventListener('click', event => { kept = part(event); light(kept); });
";

/// A page that can be read without its script.
pub fn page(graph: &Graph) -> Markup {
    html! {
        (DOCTYPE)
        html xmlns="http://www.w3.org/1999/xhtml" lang="en" {
            head {
                (PreEscaped(HEAD))
                title { "Clarion: " (plain(&graph.title)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (svg::picture(graph))
                @for (index, column) in graph.columns.iter().enumerate() {
                    h2 { (plain(&column.heading)) }
                    table {
                        thead { tr { th scope="col" { "Name" } th scope="col" { "About" } th scope="col" { "Leads to" } } }
                        tbody {
                            @for (number, item) in column.items.iter().enumerate() {
                                tr {
                                    th scope="row" { (plain(&item.title)) }
                                    td {
                                        @if !item.under.is_empty() { div { (plain(&item.under)) } }
                                        @for line in &item.lines { div { (plain(&line.text)) } }
                                    }
                                    td {
                                        @for edge in leaving(graph, index, number) { div { (plain(&edge.text)) } }
                                    }
                                }
                            }
                        }
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// The lines from an item to the next column.
fn leaving(graph: &Graph, column: usize, item: usize) -> impl Iterator<Item = &Edge> {
    graph.edges.get(column).into_iter().flatten().filter(move |edge| edge.from == item)
}
