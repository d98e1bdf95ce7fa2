//! What several FRRConfigurations say alike, once in memory.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Weak},
};

use crate::{
    hash::{hash_of, hash_of_prefix, mix},
    layer::{Content, Layer},
};

/// Contents and sets of hosts that some FRRConfiguration has.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    contents: Pool<Content>,
    hosts: Pool<BTreeSet<String>>,
}

/// It only remembers what stands elsewhere: a world is no other for it.
impl PartialEq for Shared {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Shared {
    /// The same layer, made of parts that others have too where there are such.
    pub fn share(&mut self, layer: Layer) -> Layer {
        let content = self.contents.share(digest(&layer.content), layer.content);
        let names = layer.hosts.iter().map(|host| hash_of(host));
        Layer { hosts: self.hosts.share(mix(0, names), layer.hosts), content }
    }
}

/// A number that equal contents have in common, and others mostly don't.
fn digest(content: &Content) -> u64 {
    let parts = content
        .sessions()
        .flat_map(|(_, key, session)| std::iter::once(hash_of(key)).chain(session.routes.keys().map(hash_of_prefix)));
    mix(0, parts)
}

/// Values by their digests, as long as somebody has them.
#[derive(Clone, Debug)]
struct Pool<T> {
    known: HashMap<u64, Vec<Weak<T>>>,
    /// How many there may be before those that nobody has are looked for.
    sweep_at: usize,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { known: HashMap::new(), sweep_at: 64 }
    }
}

impl<T: PartialEq> Pool<T> {
    fn share(&mut self, digest: u64, value: Arc<T>) -> Arc<T> {
        if self.known.len() >= self.sweep_at {
            self.known.retain(|_, alike| alike.iter().any(|known| known.strong_count() > 0));
            self.sweep_at = 64.max(2 * self.known.len());
        }
        let alike = self.known.entry(digest).or_default();
        alike.retain(|known| known.strong_count() > 0);
        if let Some(known) = alike.iter().filter_map(Weak::upgrade).find(|known| *known == value) {
            return known;
        }
        alike.push(Arc::downgrade(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clarion_api::frr::Neighbor;

    use super::*;
    use crate::layer::Attributes;

    fn layer(host: &str, local_pref: i64, prefix: &str) -> Layer {
        let neighbor = Neighbor { address: Some("192.0.2.1".to_owned()), ..Neighbor::default() };
        let attributes = Attributes { local_pref: Some(local_pref), ..Attributes::default() };
        let mut content = Content::default();
        content.add("", 1, &neighbor, BTreeMap::from([(prefix.parse().unwrap(), attributes.into())]));
        Layer::new(BTreeSet::from([host.to_owned()]), content)
    }

    #[test]
    fn what_is_equal_is_one_and_what_is_not_stays_apart() {
        let mut shared = Shared::default();
        let first = shared.share(layer("a", 1, "10.0.0.1/32"));
        let same_content = shared.share(layer("b", 1, "10.0.0.1/32"));
        assert!(Arc::ptr_eq(&first.content, &same_content.content));
        assert_ne!(first.hosts, same_content.hosts);
        let other = shared.share(layer("a", 2, "10.0.0.1/32"));
        assert!(Arc::ptr_eq(&first.hosts, &other.hosts));
        assert_eq!((*other.content).clone(), (*layer("a", 2, "10.0.0.1/32").content).clone());
        assert_ne!(first.content, other.content, "attributes are not in the digest, but they count");
    }

    #[test]
    fn what_nobody_has_any_more_is_forgotten() {
        let mut shared = Shared::default();
        for number in 0..10_000 {
            shared.share(layer(&format!("node-{number}"), 1, "10.0.0.1/32"));
            assert!(shared.hosts.known.len() <= 64 && shared.contents.known.len() <= 64);
        }
    }
}
