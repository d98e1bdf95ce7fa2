//! What is drawn, whatever it is drawn with.

use clarion_core::text::bounded;

/// Four columns, and the lines between neighboring ones.
#[derive(Debug, Default)]
pub struct Graph {
    /// What it is a picture of.
    pub title: String,
    /// What it comes to, in words.
    pub summary: Vec<String>,
    /// Services, FRRConfigurations, nodes, routers.
    pub columns: [Column; 4],
    /// From each column to the next.
    pub edges: [Vec<Edge>; 3],
}

/// Things of one kind.
#[derive(Debug, Default)]
pub struct Column {
    pub heading: String,
    pub items: Vec<Item>,
}

/// A thing, or several that are alike.
#[derive(Debug)]
pub struct Item {
    /// What it stands under; the same for items that follow one another.
    pub under: String,
    pub title: String,
    pub lines: Vec<Line>,
    pub state: State,
    /// It is not Clarion's.
    pub foreign: bool,
}

/// Something to tell of an item.
#[derive(Debug)]
pub struct Line {
    pub text: String,
    /// How many lines of the picture it may take.
    pub most: usize,
    /// It tells of the trouble that the item's state stands for.
    pub trouble: bool,
}

impl Line {
    pub fn new(text: impl Into<String>, most: usize) -> Self {
        Self { text: text.into(), most, trouble: false }
    }

    pub fn trouble(text: impl Into<String>, most: usize) -> Self {
        Self { trouble: true, ..Self::new(text, most) }
    }
}

/// What two items have to do with each other.
#[derive(Debug)]
pub struct Edge {
    /// The item in the left column, by index.
    pub from: usize,
    /// The item in the right column, by index.
    pub to: usize,
    pub state: State,
    pub text: String,
}

/// How something is; what matters most comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Bad,
    LeftOut,
    Unknown,
    Good,
    /// There is nothing to tell.
    Plain,
}

impl State {
    /// Those that a legend explains.
    pub const TOLD: [Self; 4] = [Self::Good, Self::Bad, Self::Unknown, Self::LeftOut];

    /// The name of its class in style sheets.
    pub fn class(self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::LeftOut => "out",
            Self::Unknown => "unknown",
            Self::Good => "good",
            Self::Plain => "plain",
        }
    }

    /// What it means of a session, and of a Service.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Bad => "session down; in error",
            Self::LeftOut => "session left out; not announcing",
            Self::Unknown => "session not reported; not confirmed",
            Self::Good => "session established; announced",
            Self::Plain => "selects",
        }
    }

    /// A session's state in a word.
    pub fn session(self) -> &'static str {
        match self {
            Self::Bad => "down",
            Self::LeftOut => "left out",
            Self::Unknown => "not reported",
            Self::Good => "established",
            Self::Plain => "none",
        }
    }

    /// Colours that people tell apart who see few of them (Okabe and Ito), dark enough on white.
    pub fn color(self) -> &'static str {
        match self {
            Self::Bad => "#c44e00",
            Self::LeftOut => "#9b4a86",
            Self::Unknown => "#5f6b76",
            Self::Good => "#0072b2",
            Self::Plain => "#9aa5b1",
        }
    }
}

/// What a text of others may take of a picture.
const TEXT_BYTES: usize = 1_200;

/// A text that stays where it is put: without control characters, which XML can't hold, and marks that change the direction
/// of what follows; and within bounds.
pub fn plain(text: &str) -> String {
    let tame = |character: char| match character {
        '\n' | '\t' => ' ',
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fffe}' | '\u{ffff}' => {
            '\u{fffd}'
        }
        other if other.is_control() => '\u{fffd}',
        other => other,
    };
    bounded(text.chars().map(tame).collect(), TEXT_BYTES)
}
