//! `clarion render`

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::PathBuf,
};

use clap::Args;
use clarion_api::Timestamp;
use clarion_core::{replay, world::ObjectName};
use serde_json::{Value, json};

use super::{
    manifests::{self, Manifests, timeless},
    node,
    serving::Serving,
};

#[derive(Debug, Args)]
pub struct Render {
    /// A directory of YAML files, or a file: Services, Nodes, EndpointSlices, Namespaces, FRRConfigurations and Clarion's kinds
    #[arg(short = 'f', long = "filename", value_name = "DIR")]
    path: PathBuf,
    /// The time (RFC 3339) at which it is looked at, for nodes and peers that are being drained; now if not given
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Show instead what the daemon of this node makes of all FRRConfigurations that select it, users' own among them; fails
    /// if it would refuse them
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    #[command(flatten)]
    serving: Serving,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Manifests(#[from] manifests::Error),
    #[error(transparent)]
    Node(#[from] node::Error),
    #[error(transparent)]
    Unsettled(#[from] replay::Unsettled),
    #[error("the outcome can't be written: {0}")]
    Write(#[from] io::Error),
    #[error("an object can't be written as YAML: {0}; this is a fault of Clarion, please report it")]
    Serialize(#[from] serde_saphyr::SerializeError),
}

impl Render {
    pub fn execute(self) -> Result<(), Error> {
        let mut manifests = Manifests::of(&self.path)?;
        manifests.world.settings = self.serving.settings();
        manifests.world.now = self.at.unwrap_or_else(Timestamp::now);
        replay::settle(&mut manifests.world)?;
        let text = match &self.node {
            Some(node) => node::show(&manifests.world, node)?,
            None => manifests.render()?,
        };
        Ok(io::stdout().write_all(text.as_bytes())?)
    }
}

impl Manifests {
    /// Shows what there is.
    fn render(self) -> Result<String, Error> {
        let statuses = self.statuses();
        let mut text = String::new();
        for (key, object) in self.objects {
            let object = object.show(statuses.get(&key));
            text.push_str("---\n");
            text.push_str(&serde_saphyr::to_string(&object)?);
        }
        for configuration in self.world.configurations.iter().filter(|c| c.value.ours) {
            let object = manifests::configuration(configuration);
            text.push_str("---\n");
            text.push_str(&serde_saphyr::to_string(&object)?);
        }
        Ok(text)
    }

    fn statuses(&self) -> BTreeMap<(String, ObjectName), Value> {
        let world = &self.world;
        let mut statuses = BTreeMap::new();
        for service in world.services.iter() {
            let status = manifests::service_status(service);
            statuses.insert(("Service".to_owned(), service.meta.name.clone()), status);
        }
        let mut add = |kind: &str, name: &ObjectName, status: Value| {
            statuses.insert((kind.to_owned(), name.clone()), timeless(status));
        };
        world.pools.iter().for_each(|o| add("LoadBalancerPool", &o.meta.name, json!(o.value.status)));
        world.reservations.iter().for_each(|o| add("AddressReservation", &o.meta.name, json!(o.value.status)));
        world.advertisements.iter().for_each(|o| add("LoadBalancerAdvertisement", &o.meta.name, json!(o.value.status)));
        world.peers.iter().for_each(|o| add("RouterPeer", &o.meta.name, json!(o.value.status)));
        world.communities.iter().for_each(|o| add("CommunityAlias", &o.meta.name, json!(o.value.status)));
        statuses
    }
}
