//! What commands have in common that look at addresses: where they look, and how they print.

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};
use clarion_core::{
    Findings, World,
    allocate::{Allocation, allocate},
    config::{self, Config},
    plan,
    replay::{self, Unsettled},
    world::ObjectRef,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    cluster::{self, Source},
    output::{self, Format, Output},
    overlay,
};

#[derive(Debug, Args)]
pub struct View {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    #[error(transparent)]
    Output(#[from] output::Error),
    #[error(transparent)]
    Unsettled(#[from] Unsettled),
    #[error("--against needs the manifests: add -f DIR")]
    NoManifests,
    #[error("manifests can't be written to: add --dry-run, or leave out -f")]
    NotACluster,
}

impl View {
    /// Everything that a plan looks at.
    pub fn world(&self) -> Result<World, Error> {
        Ok(self.source.world()?)
    }

    /// Everything that a plan looks at, and what comes of it.
    pub fn prospect(&self) -> Result<Prospect, Error> {
        Prospect::of(self.world()?, self.source.is_offline())
    }

    /// The same for a cluster as it is, and as it would be if the manifests were applied; the objects of these.
    pub fn overlaid(&self) -> Result<Overlaid, Error> {
        let manifests = self.source.manifests()?.ok_or(Error::NoManifests)?;
        let live = self.source.cluster()?;
        let mut world = live.clone();
        let given = overlay::put(&mut world, manifests.world);
        Ok(Overlaid { live: Prospect::of(live, false)?, applied: Prospect::of(world, false)?, given })
    }

    /// Fails if there is no cluster to write to.
    pub fn must_be_a_cluster(&self) -> Result<(), Error> {
        if self.source.is_offline() { Err(Error::NotACluster) } else { Ok(()) }
    }

    /// Prints a table, or the value that it was made from.
    pub fn print<T: Serialize + JsonSchema>(&self, value: &T, table: impl FnOnce(&T) -> String) -> Result<(), Error> {
        Ok(self.output.print(value, table)?)
    }

    /// How the outcome is to be printed.
    pub fn format(&self) -> Format {
        self.output.format
    }
}

/// What manifests are compared with.
#[derive(Clone, Copy, Debug, Args)]
pub struct Against {
    /// Look at the cluster as it would be with the manifests applied, which are given by -f
    #[arg(long, value_enum, value_name = "WHAT", requires = "path")]
    pub against: Option<What>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// The cluster that the environment names
    Cluster,
}

/// A world, and what comes of it when all is written that Clarion would write.
pub struct Prospect {
    pub world: World,
    pub next: World,
    /// What is found then.
    pub findings: Findings,
    /// The world is made of manifests.
    pub offline: bool,
}

impl Prospect {
    /// What comes of a world.
    pub fn of(world: World, offline: bool) -> Result<Self, Error> {
        let mut next = world.clone();
        replay::settle(&mut next)?;
        let findings = plan(&next).findings;
        Ok(Self { world, next, findings, offline })
    }

    /// Where the FRRConfigurations are that are in effect: nobody writes those of manifests.
    pub fn in_effect(&self) -> &World {
        if self.offline { &self.next } else { &self.world }
    }
}

/// A cluster, and what it would be with manifests applied.
pub struct Overlaid {
    pub live: Prospect,
    pub applied: Prospect,
    /// The objects of the manifests.
    pub given: BTreeSet<ObjectRef>,
}

/// Shows what the operator would decide about addresses.
pub fn look<T>(world: &World, show: impl FnOnce(&Config, &Allocation) -> T) -> T {
    let mut findings = Findings::default();
    let config = config::check(world, &mut findings);
    let allocation = allocate(world, &config, &world.announced(), &mut findings);
    show(&config, &allocation)
}
