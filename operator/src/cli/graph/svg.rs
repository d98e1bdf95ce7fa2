//! The picture.

use itertools::Itertools as _;
use maud::{Markup, PreEscaped, html};

use super::{
    model::{Graph, State, plain},
    place::{BOX_WIDTH, Drawn, LINE_HEIGHT, MARGIN, PADDING, Picture, Placed, SIDE, TITLE_HEIGHT, place, shortened},
};

/// How everything looks. Colours never tell anything alone: lines are solid, dashed, dotted too.
const STYLE: &str = "
text{font-family:ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:11px;fill:#3d4852}
.h1,.h2,.sub{font-family:system-ui,'Segoe UI',Helvetica,Arial,sans-serif}
.h1{font-size:20px;font-weight:600;fill:#16202a}.sub{font-size:13px}
.h2{font-size:14px;font-weight:600;fill:#16202a}
.under{font-weight:700;fill:#5f6b76}
.name{font-size:12px;font-weight:700;fill:#16202a}
.trouble{font-weight:700;fill:#a33f00}
.box{fill:#fff;stroke:#9aa5b1}.foreign .box{fill:#f1f3f5;stroke-dasharray:5 3}
.bar{stroke:none}
path{fill:none;stroke-width:1.8}
.plain{stroke:#9aa5b1;stroke-width:1.2}
.good{stroke:#0072b2}
.bad{stroke:#c44e00;stroke-width:2.6;stroke-dasharray:9 5}
.unknown{stroke:#5f6b76;stroke-width:2;stroke-dasharray:2 4}
.out{stroke:#9b4a86;stroke-width:2.2;stroke-dasharray:12 4 2 4}
path.edge:hover{stroke-width:4}
.lit .item,.lit .edge{opacity:.12}.lit .on{opacity:1}
";

/// The characters of headings that fit.
const TITLE_CHARACTERS: usize = 100;
const HEADING_CHARACTERS: usize = 40;

/// A picture of everything, with a text for who can't see it.
pub fn picture(graph: &Graph) -> Markup {
    let picture @ Picture { width, height, .. } = &place(graph);
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width} {height}")) width=(width) height=(height)
            role="img" aria-labelledby="title desc" {
            title id="title" { "Clarion: " (plain(&graph.title)) }
            desc id="desc" { (plain(&graph.summary.join(". "))) "." }
            style { (PreEscaped(STYLE)) }
            rect width=(width) height=(height) fill="#fff" {}
            text class="h1" x=(MARGIN) y="40" { "Clarion: " (shortened(&graph.title, TITLE_CHARACTERS)) }
            @for (number, line) in graph.summary.iter().enumerate() {
                text class="sub" x=(MARGIN) y=(62 + number * 19) { (plain(line)) }
            }
            @for curve in &picture.curves {
                "\n"
                @let (x, y) = curve.from;
                @let (to_x, to_y) = curve.to;
                @let bend = (to_x - x) / 2;
                path class=(format!("edge {}", curve.edge.state.class())) data-a=(curve.ends.0) data-b=(curve.ends.1)
                    d=(format!("M{x} {y}C{} {y} {} {to_y} {to_x} {to_y}", x + bend, to_x - bend)) {
                    title { (plain(&curve.edge.text)) }
                }
            }
            @for column in &picture.columns { (drawn_column(column)) }
            (legend(picture.legend))
        }
    }
}

fn drawn_column(column: &Placed) -> Markup {
    html! {
        "\n"
        text class="h2" x=(column.x) y="114" { (shortened(column.heading, HEADING_CHARACTERS)) }
        @for (y, under) in &column.unders {
            text class="under" x=(column.x) y=(y + 14) { (under) }
        }
        @for drawn in &column.boxes { (drawn_box(column.x, drawn)) }
    }
}

fn drawn_box(x: usize, drawn: &Drawn) -> Markup {
    let Drawn { item, id, y, height, title, lines } = drawn;
    let class = if item.foreign { "item foreign" } else { "item" };
    let mut words = [&item.title].into_iter().chain(item.lines.iter().map(|line| &line.text)).map(|text| plain(text));
    let first = y + PADDING + 13;
    html! {
        "\n"
        g id=(id) class=(class) {
            title { (words.join("\n")) }
            rect class="box" x=(x) y=(y) width=(BOX_WIDTH) height=(height) rx="4" {}
            @if item.state != State::Plain {
                rect class="bar" x=(x) y=(y) width="5" height=(height) rx="2" fill=(item.state.color()) {}
            }
            text class="name" x=(x + SIDE) y=(first) { (title) }
            @for (number, (line, trouble)) in lines.iter().enumerate() {
                text class=[trouble.then_some("trouble")] x=(x + SIDE) y=(first + TITLE_HEIGHT + number * LINE_HEIGHT - 1) { (line) }
            }
        }
    }
}

/// What lines and boxes mean.
fn legend(y: usize) -> Markup {
    let (sample, step) = (44, 300);
    html! {
        "\n"
        text class="h2" x=(MARGIN) y=(y + 14) { "Legend" }
        @for (number, state) in State::TOLD.into_iter().enumerate() {
            @let x = MARGIN + number * step;
            path class=(state.class()) d=(format!("M{x} {}h{sample}", y + 36)) {}
            text x=(x + sample + 10) y=(y + 40) { (state.meaning()) }
        }
        path class="plain" d=(format!("M{MARGIN} {}h{sample}", y + 62)) {}
        text x=(MARGIN + sample + 10) y=(y + 66) { "FRRConfiguration selects nodes" }
        rect class="box" x=(MARGIN + step) y=(y + 54) width=(sample) height="16" rx="3" {}
        text x=(MARGIN + step + sample + 10) y=(y + 66) { "Clarion's" }
        g class="foreign" { rect class="box" x=(MARGIN + 2 * step) y=(y + 54) width=(sample) height="16" rx="3" {} }
        text x=(MARGIN + 2 * step + sample + 10) y=(y + 66) { "of others" }
        rect class="bar" x=(MARGIN + 3 * step) y=(y + 54) width="5" height="16" fill=(State::Bad.color()) {}
        text class="trouble" x=(MARGIN + 3 * step + 16) y=(y + 66) { "what is wrong" }
    }
}
