//! What each metric is, in words.

use super::catalogue::About;

const OUTCOME: &str = "outcome";

pub const PLANS: About =
    About { name: "plan", in_seconds: true, labels: &[], series: "1", help: "Time to make a plan" };
pub const STAGES: About = About {
    name: "plan_stage",
    in_seconds: true,
    labels: &[(
        "stage",
        "`config`, `allocate`, `hosts`, `session`, `announce`, `compose`, `brake`, `transition`, `report`",
    )],
    series: "9",
    help: "Time that stages of plans took, all plans together",
};
pub const WRITES: About = About {
    name: "writes",
    in_seconds: false,
    labels: &[("kind", "of 7 kinds"), (OUTCOME, "`ok`, `conflict`, `failed`")],
    series: "21",
    help: "Writes to the API server by kind and outcome; after a conflict, the next plan has seen what others wrote",
};
pub const WAITING: About = About {
    name: "writes_waiting",
    in_seconds: false,
    labels: &[("lane", "`configurations` (FRRConfigurations), `statuses` (all others)")],
    series: "2",
    help: "Objects that are to be written as soon as it is their turn, by lane",
};
pub const WRITE_SECONDS: About = About {
    name: "write",
    in_seconds: true,
    labels: &[("kind", "of 7 kinds")],
    series: "7",
    help: "Time until the outcome of a write was known, by kind",
};
pub const EDGE_SECONDS: About = About {
    name: "edge_to_write",
    in_seconds: true,
    labels: &[],
    series: "1",
    help: "Time from the first change that a plan took up to its first write",
};
pub const LEADING: About =
    About { name: "leading", in_seconds: false, labels: &[], series: "1", help: "1 if this process has the Lease" };
pub const TASKS: About = About {
    name: "tasks",
    in_seconds: false,
    labels: &[],
    series: "1",
    help: "Tasks of the process that have not ended: watches, requests under way, and those that it always has. They follow the \
           work, and do not grow without it",
};
pub const CONVERSIONS_FAILED: About = About {
    name: "nodes_conversion_failed",
    in_seconds: false,
    labels: &[],
    series: "1",
    help: "Nodes where FRR-K8s could not convert the FRRConfigurations, so that none of them is in effect",
};
pub const RELOADS_FAILED: About = About {
    name: "nodes_reload_failed",
    in_seconds: false,
    labels: &[],
    series: "1",
    help: "Nodes where FRR did not take its new configuration",
};
pub const FETCHES: About = About {
    name: "node_state_fetches",
    in_seconds: false,
    labels: &[(OUTCOME, "`ok`, `gone`, `failed`")],
    series: "3",
    help: "FRRNodeStates fetched, by outcome",
};
pub const EVENTS: About = About {
    name: "events",
    in_seconds: false,
    labels: &[(OUTCOME, "`written`, `left_out`, `failed`")],
    series: "3",
    help: "Events by outcome: written, failed, or left out to bound their rate",
};
pub const LOCAL_SERVICES: About = About {
    name: "local_services",
    in_seconds: false,
    labels: &[("skew", "`even` (below 1.25), `below_2`, `below_4`, `4_or_more`")],
    series: "4",
    help: "Announced Services with externalTrafficPolicy Local, by how many times its even share of the connections the busiest \
           endpoint gets",
};
pub const GREATEST_SKEW: About = About {
    name: "local_services_greatest_skew",
    in_seconds: false,
    labels: &[],
    series: "1",
    help: "How many times its even share of the connections the busiest endpoint of any Service gets; 0 without such Services",
};
pub const HELD: About = About {
    name: "withdrawals_held",
    in_seconds: false,
    labels: &[],
    series: "1",
    help: "Prefixes that would be withdrawn from routers, each counted once a router, and wait for somebody to agree",
};
pub const NEXT_HOP_CHANGES: About = About {
    name: "next_hop_changes",
    in_seconds: false,
    labels: &[],
    series: "1",
    help: "Times that a prefix came to be announced from other nodes than before, each prefix counted: routers may spread its \
           connections anew, and break some",
};
pub const OTLP_RECORDS: About = About {
    name: "otlp_records",
    in_seconds: false,
    labels: &[("signal", "`traces`, `logs`"), (OUTCOME, "`sent`, `failed`, `dropped`")],
    series: "6",
    help: "Spans and lines of the log for the OTLP endpoint: it took them, did not, or was too slow for so many",
};
