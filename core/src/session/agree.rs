//! The terms of a session as they can stand beside what others have written for the same node.
//!
//! One FRRConfiguration that can't be merged leaves a whole node as it is, for everybody. So what others have written goes
//! before: what of ours is at odds with it is left out, as little as possible, and told of.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::{
    admit::{Fault, Merging, Named, Refusal, Seen},
    config::Terms,
    finding::Reason,
    layer::{Attributes, Content, Layer, Router, Session},
    world::ObjectName,
};

/// The terms of a session on some hosts.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreed {
    /// The terms.
    pub terms: Terms,
    /// What others give to prefixes on this session, where there can be one value.
    pub given: BTreeMap<IpNet, Given>,
    /// The FRRConfigurations of others without which this would be something else.
    pub beside: BTreeSet<ObjectName>,
}

/// Attributes that somebody else gives to a prefix, each with the object that does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// LOCAL_PREF.
    pub local_pref: Option<(i64, ObjectName)>,
    /// How often the AS path is prepended.
    pub as_path_prepend: Option<(i32, ObjectName)>,
}

impl Given {
    /// The objects that give something.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectName> {
        let local_pref = self.local_pref.iter().map(|(_, by)| by);
        local_pref.chain(self.as_path_prepend.iter().map(|(_, by)| by))
    }
}

/// Something to tell of a peer on some nodes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// Why.
    pub reason: Reason,
    /// What, without the nodes.
    pub message: String,
}

impl Agreed {
    /// Terms that nobody else has a say in.
    pub fn alone(terms: Terms) -> Self {
        Self { terms, given: BTreeMap::new(), beside: BTreeSet::new() }
    }

    /// Leaves out of a route's attributes what somebody else gives another value. Returns what was left out: the field, our
    /// value, the other one, and the object that has it.
    pub fn yield_attributes(&self, prefix: &IpNet, attributes: &mut Attributes) -> Vec<Yielded<'_>> {
        let Some(given) = self.given.get(prefix) else { return Vec::new() };
        let mut yielded = Vec::new();
        if let (Some(ours), Some((theirs, by))) = (attributes.local_pref, &given.local_pref)
            && ours != *theirs
        {
            attributes.local_pref = None;
            yielded.push(Yielded { field: "localPref", ours, theirs: *theirs, by });
        }
        if let (Some(ours), Some((theirs, by))) = (attributes.as_path_prepend, &given.as_path_prepend)
            && ours != *theirs
        {
            attributes.as_path_prepend = None;
            yielded.push(Yielded { field: "asPathPrepend", ours: ours.into(), theirs: (*theirs).into(), by });
        }
        yielded
    }
}

/// An attribute of a route that is left out for another.
pub struct Yielded<'a> {
    /// The field of the advertisement.
    pub field: &'static str,
    /// Its value.
    pub ours: i64,
    /// The value that counts.
    pub theirs: i64,
    /// The object that has it.
    pub by: &'a ObjectName,
}

/// What becomes of terms beside what others have merged to; `Err` if there can be no session.
pub fn agree(terms: &Terms, others: &Merging, notes: &mut Vec<Note>) -> Result<Agreed, Note> {
    let mut agreed = Agreed::alone(terms.clone());
    let key = terms.key();
    let seen = same_end(others, &terms.vrf, &key);
    if let Some(seen) = &seen {
        agreed.take_spelling(seen);
        agreed.take_graceful_restart(seen, notes);
        if !seen.is_unicast() {
            let message = format!(
                "FRRConfiguration {} has a session with {key} that carries EVPN alone: unicast routes are kept off it",
                seen.by()
            );
            return Err(Note { reason: Reason::ForeignConflict, message });
        }
    }
    agreed.try_out(others, notes)?;
    agreed.given = seen
        .iter()
        .flat_map(Seen::routes)
        .map(|route| {
            let given = Given {
                local_pref: route.local_pref.map(|(value, by)| (value.into(), by.clone())),
                // It was an i32 before.
                as_path_prepend: route
                    .as_path_prepend
                    .and_then(|(value, by)| Some((value.try_into().ok()?, by.clone()))),
            };
            (route.prefix, given)
        })
        .collect();
    agreed.given.retain(|_, given| *given != Given::default());
    Ok(agreed)
}

/// The session of others with the same router: by preference one that spells it the same.
fn same_end<'m>(others: &'m Merging, vrf: &str, key: &str) -> Option<Seen<'m>> {
    others.sessions().filter(|seen| seen.vrf == vrf && seen.is_with(key)).min_by_key(|seen| seen.key != key)
}

impl Agreed {
    /// FRR-K8s tells sessions apart by the text of the address; FRR does not.
    fn take_spelling(&mut self, seen: &Seen) {
        if let Some(address) = self.terms.neighbor.address.as_mut().filter(|address| *address != seen.key) {
            seen.key.clone_into(address);
            self.beside.insert(seen.by().clone());
        }
    }

    /// FRR-K8s takes graceful restart from whichever object comes first, and which does is not defined.
    fn take_graceful_restart(&mut self, seen: &Seen, notes: &mut Vec<Note>) {
        let ours = self.terms.neighbor.enable_graceful_restart;
        let Some(theirs) = seen.graceful_restart().filter(|theirs| *theirs != ours.unwrap_or_default()) else { return };
        if ours.is_some() {
            let message = format!(
                "enableGracefulRestart is {theirs} in FRRConfiguration {}, which counts: FRR-K8s would take either",
                seen.by()
            );
            notes.push(Note { reason: Reason::ForeignConflict, message });
        }
        self.terms.neighbor.enable_graceful_restart = Some(theirs);
        self.beside.insert(seen.by().clone());
    }

    /// Merges the session with what others have, leaving out what it can do without until that succeeds.
    fn try_out(&mut self, others: &Merging, notes: &mut Vec<Note>) -> Result<(), Note> {
        let name = ObjectName::default();
        loop {
            let spec = self.bare_layer().spec();
            let mut merging = others.clone();
            let outcome = merging.add(Named { name: &name, spec: &spec }).and_then(|()| merging.finish().map(drop));
            let Err(refusal) = outcome else { return Ok(()) };
            let message = message(&refusal, &name);
            self.beside.extend(refusal.objects().filter(|object| **object != name).cloned());
            // FRR-K8s lets one of two objects leave these out; then the other's value is in effect.
            let (field, left_out) = match refusal.field {
                "id" if refusal.neighbor.is_none() => ("routerID", self.terms.router_id.take().is_some()),
                "bfdProfile" | "bfdProfiles" => ("bfd", self.terms.bfd.take().is_some()),
                _ => ("", false),
            };
            if !left_out {
                let message = format!("no session with {}: {message}", self.terms.key());
                return Err(Note { reason: Reason::ForeignConflict, message });
            }
            notes.push(Note { reason: Reason::ForeignConflict, message: format!("{field} is left out: {message}") });
        }
    }

    /// An object with the session and without routes.
    fn bare_layer(&self) -> Layer {
        let terms = &self.terms;
        let mut content = Content::default();
        let mut session = Session::new(terms.neighbor.clone());
        if let Some(bfd) = &terms.bfd {
            session.bfd_profile = Some(bfd.name.clone());
            content.bfd_profiles.insert(bfd.name.clone(), bfd.clone());
        }
        session.next_hop.clone_from(&terms.next_hop);
        let sessions = BTreeMap::from([(session.key(), session)]);
        let router = Router { asn: terms.my_asn, id: terms.router_id.clone(), sessions };
        content.routers.insert(terms.vrf.clone(), router);
        Layer::new(BTreeSet::new(), content)
    }
}

/// What a refusal of our own object says to those who have the other one before them.
fn message(refusal: &Refusal, ours: &ObjectName) -> String {
    let Refusal { object, other, vrf, neighbor, field, fault } = refusal;
    match (fault, other) {
        (Fault::Conflict { of, values: (theirs, mine) }, Some(other)) if object == ours => {
            let of = of.as_ref().map(|of| format!(" for {of}")).unwrap_or_default();
            let whose = if neighbor.is_none() && vrf.is_some() { "the router's " } else { "" };
            format!("{whose}{field}{of} is {theirs} in FRRConfiguration {other}, and {mine} here")
        }
        _ if object == ours => format!("FRR-K8s would not take {field}: {fault}"),
        _ => format!("FRRConfiguration {object} has {field}: {fault}"),
    }
}
