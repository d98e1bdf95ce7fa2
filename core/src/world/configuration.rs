//! FRRConfigurations, with no more of them in memory than somebody asks for.

use std::{collections::BTreeMap, sync::OnceLock};

use clarion_api::{frr::FrrConfigurationSpec, names};

use super::{Layer, ObjectName};
use crate::admit::{Digest, Named};

/// An FRRConfiguration.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    /// Written by Clarion.
    pub ours: bool,
    /// All annotations.
    pub annotations: BTreeMap<String, String>,
    spec: Spec,
    /// What the spec means, for our own objects.
    pub layer: Layer,
    /// What of the spec matters beside ours, for the objects of others.
    pub digest: Option<Digest>,
    /// Who else has a hand in the spec of one of ours: the name of a field manager.
    pub edited_by: Option<String>,
}

impl Configuration {
    /// Reads an FRRConfiguration of this name, with these labels and annotations.
    #[must_use]
    pub fn new(
        name: &ObjectName,
        labels: &BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
        mut spec: FrrConfigurationSpec,
    ) -> Self {
        let ours = labels.get(names::MANAGED_BY_LABEL).is_some_and(|by| by == names::FIELD_MANAGER);
        spec.set_defaults();
        if !ours {
            let digest = Some(Digest::new(Named { name, spec: &spec }));
            let spec = Spec::kept(spec);
            return Self { ours, annotations, spec, layer: Layer::default(), digest, edited_by: None };
        }
        spec.forget_unknown();
        let layer = Layer::of(&spec);
        let spec = if defaulted(&layer) == spec { Spec::default() } else { Spec::kept(spec) };
        Self { ours, annotations, spec, layer, digest: None, edited_by: None }
    }

    /// The spec, with the server's defaults.
    #[must_use]
    pub fn spec(&self) -> &FrrConfigurationSpec {
        self.spec.kept.as_deref().unwrap_or_else(|| self.spec.made.get_or_init(|| Box::new(defaulted(&self.layer))))
    }

    /// Whether the spec is what Clarion writes for this layer.
    #[must_use]
    pub fn is_as_written(&self, layer: &Layer) -> bool {
        if let Some(spec) = &self.spec.kept {
            return **spec == defaulted(layer);
        }
        // Specs are large, and routes are most of them. What is left may differ and mean the same, by the server's defaults.
        let bare = |layer: &Layer| defaulted(&layer.without_routes());
        self.layer == *layer
            || (self.layer.hosts == layer.hosts
                && self.layer.content.has_same_routes(&layer.content)
                && bare(&self.layer) == bare(layer))
    }
}

/// A spec with the server's defaults. One that is just what Clarion writes for a layer takes many times the layer's memory: it
/// is made when somebody asks for it.
#[derive(Clone, Debug, Default)]
struct Spec {
    kept: Option<Box<FrrConfigurationSpec>>,
    made: OnceLock<Box<FrrConfigurationSpec>>,
}

impl Spec {
    fn kept(spec: FrrConfigurationSpec) -> Self {
        Self { kept: Some(Box::new(spec)), ..Self::default() }
    }
}

impl PartialEq for Spec {
    fn eq(&self, other: &Self) -> bool {
        self.kept == other.kept
    }
}

/// What Clarion writes for a layer, with the server's defaults.
fn defaulted(layer: &Layer) -> FrrConfigurationSpec {
    let mut spec = layer.spec();
    spec.set_defaults();
    spec
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clarion_api::frr::Neighbor;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        layer::{Attributes, Content, Router, Session as BgpSession},
        world::Family,
    };

    /// A session over IPv4 or IPv6, which may leave to the server what is its default, and routes of both families.
    fn session() -> impl Strategy<Value = BgpSession> {
        let route = (any::<bool>(), 0..3_u8, prop::option::of(0..2_i64), any::<bool>());
        let fields = (any::<bool>(), prop::option::of(any::<bool>()), prop::option::of(1790..1792));
        (fields, prop::collection::vec(route, 0..4)).prop_map(|((is_v4, dual, port), routes)| {
            let address = if is_v4 { "192.0.2.1" } else { "2001:db8::1" };
            let mut session = BgpSession::new(Neighbor {
                address: Some(address.to_owned()),
                asn: Some(64513),
                dual_stack_address_family: dual,
                port,
                ..Neighbor::default()
            });
            for (is_v4, n, local_pref, has_community) in routes {
                let prefix = if is_v4 { format!("10.0.0.{n}/32") } else { format!("2001:db8:1::{n}/128") };
                let communities = has_community.then(|| "64512:1".to_owned()).into_iter().collect();
                let attributes = Attributes { local_pref, communities, ..Attributes::default() };
                session.routes.insert(prefix.parse().unwrap(), attributes.into());
            }
            session.routes.retain(|prefix, _| crate::layer::carries(&session.neighbor, Family::of(prefix.addr())));
            session
        })
    }

    fn layer() -> impl Strategy<Value = Layer> {
        (prop::collection::btree_set("[ab]", 1..3), prop::collection::vec(session(), 0..3)).prop_map(
            |(hosts, sessions)| {
                let sessions = sessions.into_iter().map(|session| (session.key(), session)).collect();
                let router = Router { sessions, ..Router::new(64512) };
                let routers = BTreeMap::from([(String::new(), router)]);
                Layer::new(hosts, Content { routers, ..Content::default() })
            },
        )
    }

    fn written(layer: &Layer) -> Configuration {
        let labels = BTreeMap::from([(names::MANAGED_BY_LABEL.to_owned(), names::FIELD_MANAGER.to_owned())]);
        Configuration::new(&ObjectName::new("ns", "c"), &labels, BTreeMap::new(), layer.spec())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        /// Whether an object is as Clarion writes it is told without its spec, and is the same as by its spec.
        #[test]
        fn what_is_as_written_has_the_same_spec(one in layer(), other in layer()) {
            let (there, wanted) = (written(&one), written(&other));
            prop_assert!(there.is_as_written(&one));
            prop_assert_eq!(there.is_as_written(&other), there.spec() == wanted.spec());
        }

        #[test]
        fn what_the_server_adds_is_no_difference(layer in layer()) {
            let mut content = Content::clone(&layer.content);
            for session in content.routers.values_mut().flat_map(|router| router.sessions.values_mut()) {
                session.neighbor.dual_stack_address_family.get_or_insert(false);
            }
            let other = Layer { hosts: Arc::clone(&layer.hosts), content: Arc::new(content) };
            prop_assert!(written(&layer).is_as_written(&other));
        }
    }
}
