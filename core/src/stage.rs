//! The stages of a plan by their names, for who wants to know which of them takes the time. No clock is read here.

/// A stage of a plan, in the order of their first beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Specs are checked.
    Config,
    /// Services get their addresses.
    Allocate,
    /// Nodes, and what others have written for them.
    Hosts,
    /// Peers and hosts make sessions.
    Session,
    /// Addresses make routes.
    Announce,
    /// Routes and sessions make FRRConfigurations.
    Compose,
    /// What an edit would take away is looked at. If it is to stay, sessions, routes and FRRConfigurations are made once more.
    Brake,
    /// The writes are found that are safe now.
    Transition,
    /// Conditions, and what is told beside them.
    Report,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Config,
        Self::Allocate,
        Self::Hosts,
        Self::Session,
        Self::Announce,
        Self::Compose,
        Self::Brake,
        Self::Transition,
        Self::Report,
    ];

    /// Its name in metrics and traces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Allocate => "allocate",
            Self::Hosts => "hosts",
            Self::Session => "session",
            Self::Announce => "announce",
            Self::Compose => "compose",
            Self::Brake => "brake",
            Self::Transition => "transition",
            Self::Report => "report",
        }
    }
}
