//! What passwords are, wherever they stand. None is ever shown.

use std::collections::{BTreeMap, BTreeSet};

use clarion_core::admit::Password;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use crate::cli::{cluster, import::password_of, program};

/// The passwords in the Secrets of FRR-K8s's namespace, by the names of these.
#[derive(Debug, Default)]
pub struct Passwords(BTreeMap<String, Vec<u8>>);

impl Passwords {
    /// Takes a Secret in.
    pub fn add(&mut self, secret: &Secret) {
        let name = secret.metadata.name.clone().unwrap_or_default();
        self.0.extend(password_of(secret).map(|password| (name, password)));
    }

    /// Reads those Secrets of the cluster that are not known yet. Tells which can't be read: their passwords are taken to
    /// differ from others.
    pub fn read(&mut self, namespace: &str, names: BTreeSet<String>) -> Result<(), cluster::Error> {
        let unknown: Vec<String> = names.into_iter().filter(|name| !self.0.contains_key(name)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        cluster::block_on(async {
            let api: Api<Secret> = Api::namespaced(cluster::client().await?, namespace);
            for name in unknown {
                match api.get_opt(&name).await {
                    Ok(Some(secret)) => self.add(&secret),
                    Ok(None) => program::tell(format!("there is no Secret {namespace}/{name}")),
                    Err(error) => program::tell(format!("Secret {namespace}/{name} can't be read: {error}")),
                }
            }
            Ok(())
        })?
    }

    /// Whether both are the same, as far as is known.
    pub fn are_same(&self, one: &Password, other: &Password) -> bool {
        one == other || self.text(one).is_some_and(|text| Some(text) == self.text(other))
    }

    fn text<'a>(&'a self, password: &'a Password) -> Option<&'a [u8]> {
        match password {
            Password::None => None,
            Password::Clear(text) => Some(text.as_bytes()),
            Password::Secret(name) => self.0.get(name).map(Vec::as_slice),
        }
    }
}
