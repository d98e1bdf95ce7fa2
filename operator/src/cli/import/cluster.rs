//! MetalLB's objects in a cluster.

use std::collections::BTreeSet;

use clarion_api::{frr::FRRConfiguration, names::DEFAULT_FRR_K8S_NAMESPACE};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DynamicObject, ListParams},
    discovery,
};
use serde_json::Value;

use super::{
    Found,
    metallb::{GROUP, KINDS},
};
use crate::cli::{cluster, manifests::Manifest, program, progress};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    #[error("the cluster has no kinds of {GROUP}: MetalLB is not installed in it")]
    NotInstalled,
    #[error("the kinds of {GROUP} can't be found out: {0}")]
    Discover(kube::Error),
    #[error("{0} objects of namespace {1} can't be listed: {2}")]
    List(String, String, kube::Error),
    #[error("an object of the cluster can't be read: {0}; this is a fault of Clarion, please report it")]
    Object(#[from] serde_json::Error),
}

/// What a cluster has of MetalLB.
pub struct Read {
    pub found: Vec<Found>,
    pub frr_k8s_namespace: String,
}

/// Reads all of MetalLB's objects, and the Secrets that they refer to.
pub fn read(namespace: &str, frr_k8s_namespace: Option<String>) -> Result<Read, Error> {
    cluster::block_on(progress::during("reading the cluster", async {
        let client = cluster::client().await?;
        let mut found = objects(&client, namespace).await?;
        let frr_k8s_namespace = match frr_k8s_namespace {
            Some(namespace) => namespace,
            None => find_frr_k8s(&client).await.unwrap_or_else(|| DEFAULT_FRR_K8S_NAMESPACE.to_owned()),
        };
        let names: BTreeSet<String> = found.iter().filter_map(|found| secret_of(&found.manifest)).collect();
        for name in names {
            for namespace in BTreeSet::from([namespace, frr_k8s_namespace.as_str()]) {
                found.extend(secret(&client, namespace, &name).await?);
            }
        }
        Ok(Read { found, frr_k8s_namespace })
    }))?
}

/// The objects of each kind in the newest version that the cluster serves.
async fn objects(client: &Client, namespace: &str) -> Result<Vec<Found>, Error> {
    let group = match discovery::group(client, GROUP).await {
        Ok(group) => group,
        Err(kube::Error::Discovery(_)) => return Err(Error::NotInstalled),
        Err(error) => return Err(Error::Discover(error)),
    };
    let mut found = Vec::new();
    for (resource, _) in group.resources_by_stability() {
        if !KINDS.contains(&resource.kind.as_str()) {
            continue;
        }
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let list = api.list(&ListParams::default()).await;
        let list = list.map_err(|error| Error::List(resource.kind.clone(), namespace.to_owned(), error))?;
        for object in list.items {
            let mut manifest: Manifest = serde_json::from_value(serde_json::to_value(&object)?)?;
            // The items of a list don't say what they are.
            manifest.api_version.clone_from(&resource.api_version);
            manifest.kind.clone_from(&resource.kind);
            found.push(Found { origin: "cluster".to_owned(), manifest });
        }
    }
    Ok(found)
}

/// The namespace that MetalLB's speakers write FRRConfigurations to, if there are any and they are in one.
async fn find_frr_k8s(client: &Client) -> Option<String> {
    let api: Api<FRRConfiguration> = Api::all(client.clone());
    let list = api.list(&ListParams::default()).await.ok()?;
    let of_metallb = list.items.iter().filter(|object| object.name_any().starts_with("metallb-"));
    let namespaces: BTreeSet<String> = of_metallb.filter_map(|object| object.namespace()).collect();
    if namespaces.len() == 1 { namespaces.into_iter().next() } else { None }
}

fn secret_of(manifest: &Manifest) -> Option<String> {
    let name = manifest.rest.get("spec")?.pointer("/passwordSecret/name").and_then(Value::as_str)?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// A Secret, unless there is none or it may not be read: the report says what to do then.
async fn secret(client: &Client, namespace: &str, name: &str) -> Result<Option<Found>, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    match api.get_opt(name).await {
        Ok(None) => Ok(None),
        Ok(Some(secret)) => {
            let manifest = serde_json::from_value(serde_json::to_value(&secret)?)?;
            Ok(Some(Found { origin: "cluster".to_owned(), manifest }))
        }
        Err(error) => {
            program::tell(format!("Secret {namespace}/{name} can't be read: {error}"));
            Ok(None)
        }
    }
}
