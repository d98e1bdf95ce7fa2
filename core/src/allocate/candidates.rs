//! Which pools a Service is offered, in which order: those that are pinned to it first, by priority, then the others. Found by
//! namespace and label, so that thousands of pools cost no more than the few that fit.

use std::collections::HashMap;

use crate::{
    address_set::{AddressSet, Family},
    config::{Pools, Selector, selected},
    world::{Object, ObjectName, Service, World},
};

/// Pools by whom they are for.
pub struct Candidates<'w> {
    world: &'w World,
    pools: &'w Pools,
    /// Pools, by index, in the order in which they are tried.
    order: Vec<usize>,
    /// Where pools stand in that order that are for namespaces by name,
    named: HashMap<&'w str, Vec<usize>>,
    /// with a certain label,
    belonging: HashMap<(&'w str, &'w str), Vec<usize>>,
    /// by label, but not by a certain one,
    selecting: Vec<usize>,
    /// for Services with a certain label in all namespaces,
    labelled: HashMap<(&'w str, &'w str), List>,
    /// for Services by label, but not by a certain one,
    unlabelled: List,
    /// and for all.
    everyone: List,
    /// Those for all that give nothing to who does not ask for them.
    closed: List,
    /// Found so far: those for a namespace.
    namespaces: HashMap<&'w str, List>,
}

/// Places in the order, ascending.
#[derive(Clone, Debug, Default)]
struct List {
    places: Vec<usize>,
    /// How many pools at its beginning have nothing free any more, of either family.
    exhausted: [usize; 2],
}

/// The free addresses of all pools, of which those of one family are looked for.
pub type Open<'a> = (Family, &'a [AddressSet]);

impl List {
    /// The places, without those at the beginning whose pool has nothing free: nothing becomes free while addresses are
    /// given.
    fn from(&mut self, open: Option<Open>, order: &[usize]) -> &[usize] {
        if let Some((family, free)) = open {
            let is_full = |place: &usize| {
                let pool = order.get(*place).and_then(|index| free.get(*index));
                pool.is_none_or(|free| free.first(family).is_none())
            };
            let [v4, v6] = &mut self.exhausted;
            let exhausted = if family == Family::V4 { v4 } else { v6 };
            while self.places.get(*exhausted).is_some_and(is_full) {
                *exhausted += 1;
            }
        }
        self.rest(open)
    }

    /// The same, as far as was found before.
    fn rest(&self, open: Option<Open>) -> &[usize] {
        let [v4, v6] = self.exhausted;
        let exhausted = open.map_or(0, |(family, _)| if family == Family::V4 { v4 } else { v6 });
        self.places.get(exhausted..).unwrap_or_default()
    }
}

impl<'w> Candidates<'w> {
    /// Sorts and indexes the pools.
    pub fn new(world: &'w World, pools: &'w Pools) -> Self {
        let mut order: Vec<usize> = (0..pools.count()).collect();
        order.sort_by_key(|index| {
            pools.get(*index).map(|pool| (!pool.allocation.is_pinned(), pool.allocation.priority, &pool.name))
        });
        let mut this = Self {
            world,
            pools,
            order,
            named: HashMap::new(),
            belonging: HashMap::new(),
            selecting: Vec::new(),
            labelled: HashMap::new(),
            unlabelled: List::default(),
            everyone: List::default(),
            closed: List::default(),
            namespaces: HashMap::new(),
        };
        for (place, index) in this.order.iter().copied().enumerate() {
            let Some(pool) = pools.get(index) else { continue };
            let allocation = &pool.allocation;
            for namespace in &allocation.namespaces {
                this.named.entry(namespace).or_default().push(place);
            }
            match certain_labels(&allocation.namespace_selectors) {
                Some(labels) => labels.for_each(|label| this.belonging.entry(label).or_default().push(place)),
                None => this.selecting.push(place),
            }
            if !allocation.any_namespace() {
                continue;
            }
            if allocation.service_selectors.is_empty() {
                let gives = pool.auto_assign && !pool.disabled && pools.heir(index).is_none();
                if gives { &mut this.everyone } else { &mut this.closed }.places.push(place);
                continue;
            }
            match certain_labels(&allocation.service_selectors) {
                Some(labels) => {
                    labels.for_each(|label| this.labelled.entry(label).or_default().places.push(place));
                }
                None => this.unlabelled.places.push(place),
            }
        }
        this
    }

    /// All pools, by index, in the order in which they are tried.
    pub fn order(&self) -> impl Iterator<Item = usize> {
        self.order.iter().copied()
    }

    /// Offers the pools that are for this Service, by index, until `choose` takes one. With `open`, pools without a free
    /// address of the family may be left out.
    pub fn find<T>(
        &mut self,
        service: &'w Object<Service>,
        open: Option<Open>,
        mut choose: impl FnMut(usize) -> Option<T>,
    ) -> Option<T> {
        let Self {
            world,
            pools,
            order,
            named,
            belonging,
            selecting,
            labelled,
            unlabelled,
            everyone,
            closed,
            namespaces,
        } = self;
        let pool_at = |place: usize| pools.get(*order.get(place)?);
        let namespace = service.meta.name.namespace.as_str();
        let for_namespace = namespaces.entry(namespace).or_insert_with(|| {
            let labels = world.namespaces.get(&ObjectName::cluster(namespace)).into_iter().flat_map(|n| &n.meta.labels);
            let belonging = labels.filter_map(|(key, value)| belonging.get(&(key.as_str(), value.as_str()))).flatten();
            let fits = |place: &&usize| pool_at(**place).is_some_and(|p| p.allocation.fits_namespace(world, namespace));
            let selecting = belonging.chain(selecting.iter()).filter(fits);
            let named = named.get(namespace).into_iter().flatten();
            List { places: ascending(named.chain(selecting).copied().collect()), exhausted: [0, 0] }
        });
        let mut pinned = Merged::default();
        pinned.add(for_namespace.from(open, order));
        pinned.add(unlabelled.from(open, order));
        for label in &service.meta.labels {
            if let Some(list) = labelled.get_mut(&(label.0.as_str(), label.1.as_str())) {
                list.from(open, order);
            }
        }
        for label in &service.meta.labels {
            if let Some(list) = labelled.get(&(label.0.as_str(), label.1.as_str())) {
                pinned.add(list.rest(open));
            }
        }
        let mut others = Merged::default();
        others.add(everyone.from(open, order));
        if open.is_none() {
            others.add(&closed.places);
        }
        let selects = |place: &usize| {
            let pool = pool_at(*place);
            pool.is_some_and(|pool| selected(&pool.allocation.service_selectors, &service.meta.labels))
        };
        pinned.filter(selects).chain(others).find_map(|place| choose(*order.get(place)?))
    }
}

/// The labels of which whatever one of these selects has one, if each names such.
fn certain_labels(selectors: &[Selector]) -> Option<impl Iterator<Item = (&str, &str)>> {
    let anchors: Vec<_> = selectors.iter().map(Selector::anchor).collect::<Option<_>>()?;
    Some(anchors.into_iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value.as_str()))))
}

/// Several ascending lists as one, each place once.
#[derive(Default)]
struct Merged<'a>(Vec<&'a [usize]>);

impl<'a> Merged<'a> {
    fn add(&mut self, places: &'a [usize]) {
        if !places.is_empty() {
            self.0.push(places);
        }
    }
}

impl Iterator for Merged<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let least = self.0.iter().filter_map(|list| list.first()).min().copied()?;
        for list in &mut self.0 {
            if let Some((first, rest)) = list.split_first()
                && *first == least
            {
                *list = rest;
            }
        }
        Some(least)
    }
}

fn ascending(mut places: Vec<usize>) -> Vec<usize> {
    places.sort_unstable();
    places.dedup();
    places
}
