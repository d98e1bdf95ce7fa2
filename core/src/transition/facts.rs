//! What an object says, in single statements that objects can share.

use std::collections::BTreeMap;

use clarion_api::frr::{BfdProfile, Neighbor, NextHop};
use ipnet::IpNet;

use crate::layer::{Attributes, Content, Router, Session};

/// What a statement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key<'a> {
    /// The AS number of a VRF's router.
    Asn(&'a str),
    /// The BGP identifier of a VRF's router.
    RouterId(&'a str),
    /// The compared fields of a session.
    Neighbor(&'a str, &'a str),
    /// The BFD profile of a session. FRR-K8s wants its content in the same object, so the two are one statement.
    Profile(&'a str, &'a str),
    /// The next hops of a session.
    NextHop(&'a str, &'a str),
    /// A route on a session.
    Route(&'a str, &'a str, IpNet),
}

/// What is said about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// An AS number.
    Asn(i64),
    /// An identifier.
    Text(&'a str),
    /// Fields of a session.
    Neighbor(&'a Neighbor),
    /// Next hops.
    NextHop(&'a NextHop),
    /// Path attributes.
    Attributes(&'a Attributes),
    /// A BFD profile: its name, and its content where that is known.
    Profile(&'a str, Option<&'a BfdProfile>),
}

/// Statements by what they are about.
pub type Facts<'a> = BTreeMap<Key<'a>, Value<'a>>;

/// Takes a content apart.
pub fn facts_of(content: &Content) -> Facts<'_> {
    let mut facts = Facts::new();
    for (vrf, router) in &content.routers {
        facts.insert(Key::Asn(vrf), Value::Asn(router.asn));
        if let Some(id) = &router.id {
            facts.insert(Key::RouterId(vrf), Value::Text(id));
        }
        for (key, session) in &router.sessions {
            facts.insert(Key::Neighbor(vrf, key), Value::Neighbor(&session.neighbor));
            if let Some(profile) = &session.bfd_profile {
                let content = content.bfd_profiles.get(profile);
                facts.insert(Key::Profile(vrf, key), Value::Profile(profile, content));
            }
            if let Some(next_hop) = &session.next_hop {
                facts.insert(Key::NextHop(vrf, key), Value::NextHop(next_hop));
            }
            let routes = session.routes.iter();
            facts.extend(routes.map(|(prefix, a)| (Key::Route(vrf, key, *prefix), Value::Attributes(a))));
        }
    }
    facts
}

/// Puts a content together. A statement about a session that has no [`Key::Neighbor`] is dropped: it can't be written.
pub fn content_of(facts: &Facts) -> Content {
    let mut content = Content::default();
    // The keys' order brings routers before their sessions, and sessions before what belongs to them.
    for (key, value) in facts {
        match (*key, *value) {
            (Key::Asn(vrf), Value::Asn(asn)) => {
                content.routers.insert(vrf.to_owned(), Router::new(asn));
            }
            (Key::RouterId(vrf), Value::Text(id)) => {
                if let Some(router) = content.routers.get_mut(vrf) {
                    router.id = Some(id.to_owned());
                }
            }
            (Key::Neighbor(vrf, key), Value::Neighbor(neighbor)) => {
                if let Some(router) = content.routers.get_mut(vrf) {
                    router.sessions.insert(key.to_owned(), Session::new(neighbor.clone()));
                }
            }
            (Key::Profile(vrf, key), Value::Profile(name, profile)) => {
                if let Some(session) = session(&mut content, vrf, key) {
                    session.bfd_profile = Some(name.to_owned());
                    content.bfd_profiles.extend(profile.map(|profile| (name.to_owned(), profile.clone())));
                }
            }
            (Key::NextHop(vrf, key), Value::NextHop(next_hop)) => {
                if let Some(session) = session(&mut content, vrf, key) {
                    session.next_hop = Some(next_hop.clone());
                }
            }
            (Key::Route(vrf, key, prefix), Value::Attributes(attributes)) => {
                if let Some(session) = session(&mut content, vrf, key) {
                    session.routes.insert(prefix, attributes.clone());
                }
            }
            _ => {}
        }
    }
    content
}

fn session<'c>(content: &'c mut Content, vrf: &str, key: &str) -> Option<&'c mut Session> {
    content.routers.get_mut(vrf)?.sessions.get_mut(key)
}
