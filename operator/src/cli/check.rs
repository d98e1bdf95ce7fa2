//! `clarion check`

use std::collections::BTreeSet;

use clap::Args;
use clarion_api::names;
use clarion_core::{
    Reason, World,
    world::{Condition, Kind, ObjectName, ObjectRef},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Outcome,
    conflicts::{self, Conflict},
    findings::{self, Level, Row},
    output::count,
    view::{self, Against, Error, Overlaid, Prospect, View},
};

/// Tell what is wrong with manifests before they are applied
///
/// With -f alone no cluster is looked at, and the manifests are taken for everything that there is. With --against cluster
/// they are looked at as if they were applied to it: what is told is what they bring about, and which of their
/// FRRConfigurations FRR-K8s could not merge with those that are there. Without -f, the cluster itself is checked.
///
/// The exit status is 0 if nothing is in error, warnings or not; 1 if something is; 2 if that can't be found out.
#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    against: Against,
    #[command(flatten)]
    view: View,
}

/// What manifests bring about.
#[derive(Serialize, JsonSchema)]
pub struct Report {
    /// What is wrong, or worth knowing, of any object; errors first.
    findings: BTreeSet<Row>,
    /// FRRConfigurations of the manifests that FRR-K8s would refuse.
    conflicts: Vec<Conflict>,
}

impl Check {
    pub fn execute(self) -> Result<Outcome, Error> {
        let report = match self.against.against {
            Some(view::What::Cluster) => Report::overlaid(&self.view.overlaid()?),
            None => Report::of(&self.view.prospect()?),
        };
        self.view.print(&report, Report::text)?;
        Ok(if report.errors() == 0 { Outcome::Fine } else { Outcome::Amiss })
    }
}

impl Report {
    fn of(prospect: &Prospect) -> Self {
        let world = prospect.in_effect();
        let given = users(world.configurations.iter().map(|object| &object.meta.name), world);
        Self { findings: rows(prospect, &given), conflicts: conflicts::find(world, &given) }
    }

    fn overlaid(overlaid: &Overlaid) -> Self {
        let Overlaid { live, applied, given } = overlaid;
        let world = &applied.world;
        let configurations = given.iter().filter(|object| object.kind == Kind::FRRConfiguration);
        let configurations = users(configurations.map(|object| &object.name), world);
        let known = rows(live, &BTreeSet::new());
        let mut findings = rows(applied, &configurations);
        findings.retain(|row| given.contains(&row.object) || !known.contains(row));
        // The objects of Clarion are those that are there: FRR-K8s's webhook compares with them.
        Self { findings, conflicts: conflicts::find(world, &configurations) }
    }

    fn errors(&self) -> usize {
        self.findings.iter().filter(|row| row.is_error()).count() + self.conflicts.len()
    }

    fn text(&self) -> String {
        let conflicts: String = self.conflicts.iter().map(Conflict::text).collect();
        let (errors, warnings) = (self.errors(), self.findings.iter().filter(|row| !row.is_error()).count());
        let [errors, warnings] =
            [(errors, "error"), (warnings, "warning")].map(|(number, one)| count(number, one, &format!("{one}s")));
        format!("{}{conflicts}{errors}, {warnings}\n", findings::text(&self.findings))
    }
}

/// The FRRConfigurations that are not Clarion's.
fn users<'n>(names: impl Iterator<Item = &'n ObjectName>, world: &World) -> BTreeSet<ObjectName> {
    let is_users = |name: &&ObjectName| world.configurations.get(name).is_some_and(|object| !object.value.ours);
    names.filter(is_users).cloned().collect()
}

/// Everything that there is to tell.
fn rows(prospect: &Prospect, configurations: &BTreeSet<ObjectName>) -> BTreeSet<Row> {
    let next = &prospect.next;
    let mut rows = findings::rows(&prospect.findings);
    let without_nodes = next.nodes.is_empty();
    if without_nodes {
        // Manifests need not have Nodes; then nobody knows what selects one.
        rows.retain(|row| row.reason != Reason::SelectsNothing.name());
    }
    for service in next.services.iter().filter(|service| next.serves(service)) {
        let told = service.value.conditions.iter().filter_map(|condition| level(condition, without_nodes));
        rows.extend(told.map(|(severity, condition)| Row {
            severity,
            object: ObjectRef::new(Kind::Service, service.meta.name.clone()),
            reason: condition.reason.to_string(),
            message: condition.message.to_string(),
        }));
    }
    let here = next.frr_k8s_namespace();
    let elsewhere = configurations.iter().filter(|name| name.namespace != here);
    rows.extend(elsewhere.map(|name| Row {
        severity: Level::Warning,
        object: ObjectRef::new(Kind::FRRConfiguration, name.clone()),
        reason: Reason::OtherNamespace.name().to_owned(),
        message: format!("FRR-K8s reads FRRConfigurations of its own namespace only, which is {here}"),
    }));
    rows
}

/// How much it matters that a Service lacks something, if it does.
fn level(condition: &Condition, without_nodes: bool) -> Option<(Level, &Condition)> {
    let is_expected = [Reason::NotToBeAnnounced, Reason::NoAddress].map(Reason::name).contains(&&*condition.reason);
    match condition.type_.as_str() {
        _ if condition.status != "False" => None,
        names::ADDRESS_ALLOCATED => Some((Level::Error, condition)),
        names::ANNOUNCED if !without_nodes && !is_expected => Some((Level::Warning, condition)),
        _ => None,
    }
}
