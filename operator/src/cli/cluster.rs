//! A cluster, or manifests in its place, for commands that look and do not stay.

use std::{future::Future, path::PathBuf};

use clap::Args;
use clarion_api::Timestamp;
use clarion_core::World;
use kube::{Client, config::Kubeconfig};

use super::{
    manifests::{self, Manifests, Other},
    progress,
    serving::Serving,
};
use crate::{
    lead::lease::{self, Asked},
    watch,
};

/// Where the objects are that a command looks at.
#[derive(Debug, Args)]
pub struct Source {
    /// Look at the YAML files of a directory, or at a file, instead of the cluster
    #[arg(short = 'f', long = "filename", value_name = "DIR")]
    path: Option<PathBuf>,
    #[command(flatten)]
    serving: Serving,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no cluster to talk to: {0}; set KUBECONFIG, or run in a Pod")]
    Config(String),
    #[error("the cluster can't be talked to: {0}")]
    Client(#[from] kube::Error),
    #[error(transparent)]
    Look(#[from] watch::Error),
    #[error(transparent)]
    Manifests(#[from] manifests::Error),
    #[error("the process can't be set up: {0}")]
    Process(#[from] std::io::Error),
}

impl Source {
    /// The same, but that Services without a class are served if nothing else is said.
    pub fn or_adopting(self) -> Self {
        Self { serving: self.serving.or_adopting(), ..self }
    }

    /// Whether manifests are looked at, and no cluster.
    pub fn is_offline(&self) -> bool {
        self.path.is_some()
    }

    /// Where it looks, in words.
    pub fn place(&self) -> String {
        match &self.path {
            Some(path) => format!("manifests in {}", path.display()),
            None if of_pod().is_some() => "the cluster of this Pod".to_owned(),
            None => {
                let context = Kubeconfig::read().ok().and_then(|found| found.current_context);
                context.map_or_else(|| "the cluster".to_owned(), |name| format!("context {name}"))
            }
        }
    }

    /// The manifests.
    pub fn manifests(&self) -> Result<Option<Manifests>, Error> {
        let Some(path) = &self.path else { return Ok(None) };
        let manifests = Manifests::with_others(path)?;
        manifests.others.iter().for_each(Other::pass_over);
        Ok(Some(manifests))
    }

    /// Everything that a plan looks at in the cluster, whether or not there are manifests.
    pub fn cluster(&self) -> Result<World, Error> {
        let world = block_on(progress::during("reading the cluster", async {
            let client = client().await?;
            // Who may not see the Lease does not see what it asks for either.
            let (world, leases) = tokio::join!(watch::snapshot(&client, self.serving.settings()), lease::all(&client));
            let asked = leases.unwrap_or_default().iter().map(lease::asked).find(|asked| *asked != Asked::default());
            let Asked { drain_all, approved } = asked.unwrap_or_default();
            Ok::<_, Error>(World { drain_all, approved, ..world? })
        }))??;
        Ok(self.set(world))
    }

    fn set(&self, mut world: World) -> World {
        world.settings = self.serving.settings();
        world.now = Timestamp::now();
        world
    }

    /// Everything that a plan looks at.
    pub fn world(&self) -> Result<World, Error> {
        let (world, others) = self.world_and_others()?;
        others.iter().for_each(Other::pass_over);
        Ok(world)
    }

    /// The same, and the objects in manifests that no plan looks at.
    pub fn world_and_others(&self) -> Result<(World, Vec<Other>), Error> {
        let Some(path) = &self.path else { return Ok((self.cluster()?, Vec::new())) };
        let Manifests { world, others, .. } = Manifests::with_others(path)?;
        Ok((self.set(world), others))
    }
}

/// Threads that read answers of the API server; reading is what takes time here.
const WORKERS: usize = 2;

/// Runs a future to its end.
pub fn block_on<F: Future>(future: F) -> Result<F::Output, Error> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?.block_on(future))
}

/// A client for the cluster that the environment names.
pub async fn client() -> Result<Client, Error> {
    Ok(Client::try_from(config().await?)?)
}

/// The cluster that the process runs in as a Pod, unless it is told of another.
fn of_pod() -> Option<kube::Config> {
    std::env::var_os("KUBECONFIG").is_none().then(kube::Config::incluster_env)?.ok()
}

/// In a Pod, the API server by its address, which needs no DNS; else what the kubeconfig says.
pub async fn config() -> Result<kube::Config, Error> {
    if let Some(config) = of_pod() {
        return Ok(config);
    }
    kube::Config::infer().await.map_err(|error| Error::Config(error.to_string()))
}
