//! What is found, for people and programs.

use std::collections::{BTreeMap, BTreeSet};

use itertools::Itertools as _;
use schemars::JsonSchema;
use serde::Serialize;

use super::compare::{Difference, What};
use crate::cli::output::{paragraph, table};

/// What is found.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What MetalLB's configuration is compared with.
    pub compared_with: ComparedWith,
    /// Nodes for which MetalLB or Clarion has something.
    pub nodes: BTreeSet<String>,
    /// What is different, and on which nodes.
    pub differences: Vec<Row>,
    /// What FRR-K8s can't merge, and on which nodes.
    pub refusals: Vec<RefusalRow>,
    /// The Services that are concerned.
    pub services: Vec<ServiceRow>,
}

/// Where Clarion's objects are from.
#[derive(Clone, Copy, Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComparedWith {
    /// They are what an import makes of MetalLB's; else they were there.
    pub imported: bool,
    pub pools: usize,
    pub peers: usize,
    pub advertisements: usize,
}

/// What is different, on which nodes: a prefix that is announced, or a parameter of a session.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub nodes: BTreeSet<String>,
    /// The VRF, unless it is the default one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub vrf: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub peer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What MetalLB has there.
    pub metallb: String,
    /// What Clarion would have.
    pub clarion: String,
}

/// What FRR-K8s can't merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Refused {
    /// What there is without Clarion.
    Metallb,
    /// What there would be without MetalLB.
    Clarion,
    /// Both, while both are there.
    Together,
}

/// What FRR-K8s can't merge, on which nodes, and why.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusalRow {
    pub nodes: BTreeSet<String>,
    pub refused: Refused,
    pub why: String,
}

/// A Service with other addresses, or with an address that is announced by one of both alone.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRow {
    /// `NAMESPACE/NAME`.
    pub service: String,
    /// The addresses that it has.
    pub now: BTreeSet<String>,
    /// Those that Clarion would give it.
    pub clarion: BTreeSet<String>,
    pub why: String,
}

impl ServiceRow {
    pub fn has_other_addresses(&self) -> bool {
        self.now != self.clarion
    }
}

/// Something by the nodes that have it.
pub type ByNodes<T> = BTreeMap<T, BTreeSet<String>>;

impl Report {
    pub fn set_differences(&mut self, found: ByNodes<Difference>) {
        let rows = found.into_iter().map(|(Difference { vrf, peer, what, metallb, clarion }, nodes)| {
            let (prefix, parameter) = match what {
                What::Prefix(prefix) => (Some(prefix.to_string()), None),
                What::Parameter(parameter) => (None, Some(parameter)),
            };
            Row { nodes, vrf, peer, prefix, parameter, metallb, clarion }
        });
        self.differences = rows.collect();
    }

    pub fn set_refusals(&mut self, found: ByNodes<(Refused, String)>) {
        self.refusals = found.into_iter().map(|((refused, why), nodes)| RefusalRow { nodes, refused, why }).collect();
    }

    /// Whether nothing changes, and nothing has to be done before both can be there.
    pub fn is_same(&self) -> bool {
        let keep_addresses = !self.services.iter().any(ServiceRow::has_other_addresses);
        self.differences.is_empty() && self.refusals.is_empty() && keep_addresses
    }

    pub fn text(&self) -> String {
        let ComparedWith { imported, pools, peers, advertisements } = self.compared_with;
        let with = if imported { "what clarion import makes of its objects" } else { "Clarion's objects" };
        let counts = [
            count(pools, "LoadBalancerPool"),
            count(peers, "RouterPeer"),
            count(advertisements, "LoadBalancerAdvertisement"),
        ];
        let mut text = format!("MetalLB compared with {with}:\n{}\n", paragraph(&counts.join(", "), 2));
        if !self.differences.is_empty() {
            let rows = self.differences.iter().map(|row| {
                let Row { nodes, vrf, peer, prefix, parameter, metallb, clarion } = row;
                let vrf = if vrf.is_empty() { String::new() } else { format!("VRF {vrf}") };
                let peer = [peer.as_str(), &vrf].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
                let what = prefix.as_ref().or(parameter.as_ref()).cloned().unwrap_or_default();
                [self.nodes(nodes), peer.join(" "), what, metallb.clone(), clarion.clone()]
            });
            text.push_str(&table(["NODES", "PEER", "WHAT", "METALLB", "CLARION"], rows));
            text.push('\n');
        }
        if !self.refusals.is_empty() {
            let rows = self.refusals.iter().map(|RefusalRow { nodes, refused, why }| {
                let what = match refused {
                    Refused::Metallb => "what there is now",
                    Refused::Clarion => "what Clarion writes",
                    Refused::Together => "both together",
                };
                [self.nodes(nodes), what.to_owned(), why.clone()]
            });
            text.push_str(&table(["NODES", "FRR-K8S REFUSES", "WHY"], rows));
            if self.refusals.iter().any(|row| row.refused == Refused::Together) {
                text.push_str(
                    "Before Clarion runs beside MetalLB, make them equal: docs/migration.md, the cut-over, step 2.\n",
                );
            }
            text.push('\n');
        }
        if !self.services.is_empty() {
            let rows = self.services.iter().map(|ServiceRow { service, now, clarion, why }| {
                let list = |addresses: &BTreeSet<String>| addresses.iter().join(",");
                [service.clone(), list(now), list(clarion), why.clone()]
            });
            text.push_str(&table(["SERVICE", "NOW", "CLARION", "WHY"], rows));
            text.push('\n');
        }
        text.push_str(&self.summary());
        text
    }

    /// How many things change on how many nodes; if none does, on how many that is certain.
    fn summary(&self) -> String {
        let all = self.nodes.len();
        let refused = |which: &[Refused]| -> BTreeSet<&String> {
            let rows = self.refusals.iter().filter(|row| which.contains(&row.refused));
            rows.flat_map(|row| &row.nodes).collect()
        };
        let compared = all - refused(&[Refused::Metallb, Refused::Clarion]).len();
        let line = |[one, many]: [&str; 2], name: fn(&Row) -> Option<&String>| {
            let rows = || self.differences.iter().filter_map(|row| Some((row, name(row)?)));
            // A prefix is one and the same with all peers, a parameter is that of one.
            let peer = |row: &Row| if row.prefix.is_some() { String::new() } else { row.peer.clone() };
            let things: BTreeSet<_> = rows().map(|(row, name)| (&row.vrf, peer(row), name)).collect();
            let nodes: BTreeSet<&String> = rows().flat_map(|(row, _)| &row.nodes).collect();
            let on = if things.is_empty() { compared } else { nodes.len() };
            let (what, verb) = if things.len() == 1 { (one, "changes") } else { (many, "change") };
            format!("{} {what} {verb} on {on}/{all} nodes\n", things.len())
        };
        let mut text = line(["prefix", "prefixes"], |row| row.prefix.as_ref());
        text.push_str(&line(["session parameter", "session parameters"], |row| row.parameter.as_ref()));
        let together = all - refused(&[Refused::Metallb, Refused::Clarion, Refused::Together]).len();
        text.push_str(&format!("FRR-K8s takes both together on {together}/{all} nodes\n"));
        let moved = self.services.iter().filter(|service| service.has_other_addresses()).count();
        let (name, verb) = if moved == 1 { ("Service", "gets") } else { ("Services", "get") };
        text.push_str(&format!("{moved} {name} {verb} other addresses\n"));
        text
    }

    fn nodes(&self, nodes: &BTreeSet<String>) -> String {
        if self.nodes.len() > 1 && *nodes == self.nodes {
            return format!("all {}", nodes.len());
        }
        let mut text = nodes.iter().take(SHOWN).join(",");
        if nodes.len() > SHOWN {
            text.push_str(&format!(" and {} more", nodes.len() - SHOWN));
        }
        text
    }
}

/// As many names of nodes are shown in a table; `-o json` has all.
const SHOWN: usize = 3;

fn count(number: usize, kind: &str) -> String {
    format!("{number} {kind}{}", if number == 1 { "" } else { "s" })
}
