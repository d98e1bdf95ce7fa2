//! The sessions that our objects carry on each host now.

use std::collections::BTreeMap;

use crate::{config::Terms, world::World};

/// By host, and by VRF and address or interface: the Secret with the password, if the session has one.
pub struct Carried<'w>(BTreeMap<&'w str, BTreeMap<(&'w str, &'w str), Option<&'w str>>>);

impl<'w> Carried<'w> {
    /// Looks at all of our objects.
    pub fn new(world: &'w World) -> Self {
        let mut carried: BTreeMap<&str, BTreeMap<(&str, &str), Option<&str>>> = BTreeMap::new();
        for object in world.our_configurations() {
            let layer = &object.value.layer;
            for (vrf, router) in &layer.content.routers {
                for (key, session) in &router.sessions {
                    let secret = session.neighbor.password_secret.as_ref().and_then(|secret| secret.name.as_deref());
                    for host in layer.hosts.iter() {
                        carried.entry(host).or_default().insert((vrf, key), secret);
                    }
                }
            }
        }
        Self(carried)
    }

    /// Nothing is carried, or it does not matter.
    pub fn nothing() -> Self {
        Self(BTreeMap::new())
    }

    /// The session of a host with these terms, if it is there: the Secret with its password, if it has one.
    pub fn get(&self, host: &str, terms: &Terms) -> Option<Option<&'w str>> {
        self.0.get(host)?.get(&(terms.vrf.as_str(), terms.key().as_str())).copied()
    }
}
