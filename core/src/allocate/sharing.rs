//! Who may have an address together with whom: those of one sharing key whose ports do not clash; across namespaces only if
//! both sides name the other.

use std::collections::HashMap;

use clarion_api::names;

use crate::annotation::{Annotation, Refusal, annotation, quote};
use crate::{
    finding::Reason,
    world::{Object, Port, Service, Settings},
};

/// What a Service says about sharing. Two that say the same are treated the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharing<'w> {
    /// The key that sharers have in common.
    pub key: &'w str,
    /// The Service's namespace.
    pub namespace: &'w str,
    /// The other namespaces that it shares with.
    pub with: Vec<&'w str>,
    /// It shares with all namespaces, as MetalLB does.
    pub everywhere: bool,
}

impl<'w> Sharing<'w> {
    /// What the Service says, if it may share at all.
    pub fn of(service: &'w Object<Service>, settings: &Settings) -> Option<Self> {
        if service.value.annotations.is_empty() {
            return None;
        }
        let Annotation { key, value } = annotation(&service.value, names::ALLOW_SHARED_IP).ok()??;
        let with = annotation(&service.value, names::SHARE_WITH_NAMESPACES).ok()?;
        let theirs = names::ANNOTATION_PREFIXES.iter().skip(1).any(|prefix| key.starts_with(prefix));
        Some(Self {
            key: Some(value.trim()).filter(|value| !value.is_empty())?,
            namespace: &service.meta.name.namespace,
            with: with.map(Annotation::entries).transpose().ok()?.unwrap_or_default(),
            everywhere: settings.metallb_shares_across_namespaces && theirs,
        })
    }

    /// Whether both agree to have one address.
    pub fn consents(&self, other: &Self) -> bool {
        self.key == other.key
            && (self.namespace == other.namespace || (self.admits(other.namespace) && other.admits(self.namespace)))
    }

    /// Whether it shares with Services of this namespace.
    pub fn admits(&self, namespace: &str) -> bool {
        self.everywhere || self.with.contains(&namespace)
    }
}

/// Whether what a Service says about sharing can be read.
pub fn check(service: &Service) -> Result<(), Refusal> {
    annotation(service, names::ALLOW_SHARED_IP)?;
    let Some(with) = annotation(service, names::SHARE_WITH_NAMESPACES)? else { return Ok(()) };
    let is_label = |name: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        name.len() <= 63
            && name.chars().all(|c| inner(c) || c == '-')
            && name.starts_with(inner)
            && name.ends_with(inner)
    };
    match with.entries()?.into_iter().find(|name| !is_label(name)) {
        Some(name) => {
            let message = format!("{}: {} is not the name of a namespace", with.key, quote(name));
            Err(Refusal::new(Reason::InvalidRequest, message))
        }
        None => Ok(()),
    }
}

/// Those who have an address now, as far as a newcomer must agree with them.
#[derive(Clone, Debug, Default)]
pub struct Sharers<'w> {
    /// By port: who has it, by index.
    ports: HashMap<Port, u32>,
    /// What they say, each once.
    sayings: Vec<Option<Sharing<'w>>>,
}

/// Why a Service can't have an address together with those who have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clash {
    /// One of them, or the Service, does not agree.
    Consent,
    /// This port is taken, by the Service of this index.
    Port(Port, u32),
}

impl<'w> Sharers<'w> {
    /// Adds one, with its index.
    pub fn add(&mut self, index: u32, service: &Service, sharing: Option<Sharing<'w>>) {
        for port in &service.ports {
            self.ports.entry(*port).or_insert(index);
        }
        if !self.sayings.contains(&sharing) {
            self.sayings.push(sharing);
        }
    }

    /// Whether a Service can join them.
    pub fn admit(&self, service: &Service, sharing: Option<&Sharing>) -> Result<(), Clash> {
        let agreed =
            |saying: &Option<Sharing>| saying.as_ref().zip(sharing).is_some_and(|(theirs, own)| theirs.consents(own));
        if !self.sayings.iter().all(agreed) {
            return Err(Clash::Consent);
        }
        self.clash(service).map_or(Ok(()), |(port, holder)| Err(Clash::Port(port, holder)))
    }

    /// The first port that is taken, and by whom.
    pub fn clash(&self, service: &Service) -> Option<(Port, u32)> {
        service.ports.iter().find_map(|port| Some((*port, *self.ports.get(port)?)))
    }
}
