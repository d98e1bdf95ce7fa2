use clarion_envtest::crowd;
use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::time::Instant;

use crate::{Action, Result};

/// The objects of a crowd, which change: Services, their endpoints, and Nodes.
#[derive(Clone, Debug)]
pub struct Objects {
    services: Api<Service>,
    slices: Api<EndpointSlice>,
    nodes: Api<Node>,
    /// How many Nodes there are.
    count: usize,
}

impl Objects {
    /// Those of a cluster with so many Nodes.
    #[must_use]
    pub fn of(client: Client, nodes: usize) -> Self {
        Self {
            services: Api::default_namespaced(client.clone()),
            slices: Api::default_namespaced(client.clone()),
            nodes: Api::all(client),
            count: nodes,
        }
    }

    /// Creates everything: the Nodes, and so many Services with their endpoints before them.
    ///
    /// # Errors
    /// If the API server refuses one.
    pub async fn create_all(&self, services: usize) -> Result<()> {
        crowd::create(&self.nodes, (0..self.count).map(crowd::node)).await?;
        crowd::create(&self.slices, (0..services).map(|n| crowd::slice(n, self.count))).await?;
        Ok(crowd::create(&self.services, (0..services).map(crowd::service)).await?)
    }

    /// Creates a Service, and its endpoints before it; when the request was sent.
    ///
    /// # Errors
    /// If the API server refuses one.
    pub async fn create(&self, n: usize) -> Result<Instant> {
        self.slices.create(&PostParams::default(), &crowd::slice(n, self.count)?).await?;
        let sent = Instant::now();
        self.services.create(&PostParams::default(), &crowd::service(n)?).await?;
        Ok(sent)
    }

    /// Does one thing.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn perform(&self, action: Action) -> Result<()> {
        match action {
            Action::Create(n) => self.create(n).await.map(drop),
            Action::Delete(n) => self.delete(n).await,
            Action::Unready(n) => self.turn(n, false).await,
            Action::Ready(n) => self.turn(n, true).await,
            Action::Label { node, value } => self.label(node, value).await,
            Action::RemoveNode(n) => {
                Ok(self.nodes.delete(&crowd::node_name(n), &DeleteParams::default()).await.map(drop)?)
            }
            Action::AddNode(n) => Ok(self.nodes.create(&PostParams::default(), &crowd::node(n)?).await.map(drop)?),
        }
    }

    async fn delete(&self, n: usize) -> Result<()> {
        self.services.delete(&crowd::service_name(n), &DeleteParams::default()).await?;
        self.slices.delete(&crowd::slice_name(n), &DeleteParams::default()).await?;
        Ok(())
    }

    /// All endpoints of a Service turn ready or unready.
    async fn turn(&self, n: usize, ready: bool) -> Result<()> {
        let patch = json!({"endpoints": crowd::endpoints(n, self.count, ready)});
        self.slices.patch(&crowd::slice_name(n), &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    async fn label(&self, node: usize, value: usize) -> Result<()> {
        let patch = json!({"metadata": {"labels": {"bench": value.to_string()}}});
        self.nodes.patch(&crowd::node_name(node), &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }
}
