//! Which hosts can announce by an advertisement at all: it selects them, they announce, and a session with one of its peers
//! carries the family.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use clarion_api::Timestamp;
use itertools::Itertools as _;

use super::Request;
use crate::{
    address_set::Family,
    config::{Config, selected},
    hosts::{Host, Hosts},
    session::Sessions,
};

/// How long something can be announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Until {
    /// Not at all.
    Never,
    /// All that announce it are being drained, the last of them until then.
    Time(Timestamp),
    /// Nothing ends it.
    Ever,
}

/// The hosts of every advertisement.
pub struct Reach<'w> {
    config: &'w Config,
    hosts: &'w Hosts<'w>,
    sessions: &'w Sessions,
    /// By advertisement, and IPv4 or IPv6: the hosts, and how long they announce.
    by_advertisement: Vec<[BTreeMap<usize, Until>; 2]>,
    /// By advertisement, and IPv4 or IPv6: hosts with sessions with its peers, none of which carries the family.
    without: Vec<[BTreeSet<usize>; 2]>,
    /// What holds for all hosts together, by IPv4 or IPv6 and advertisements. Most addresses are announced by the same ones.
    known: [HashMap<Vec<usize>, Everywhere>; 2],
    /// Why none of all hosts announces anything.
    all_silent: OnceCell<Option<String>>,
}

/// How long any host announces by some advertisements, and if none does, why.
struct Everywhere {
    until: Until,
    why_not: OnceCell<String>,
}

fn with_endpoint(hosts: Option<&BTreeSet<usize>>) -> &'static str {
    if hosts.is_some() { " with an endpoint of it" } else { "" }
}

fn place(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

impl<'w> Reach<'w> {
    /// Finds them out.
    pub fn new(now: Timestamp, config: &'w Config, hosts: &'w Hosts<'w>, sessions: &'w Sessions) -> Self {
        let count = config.advertisements.len();
        let mut by_advertisement = vec![[BTreeMap::new(), BTreeMap::new()]; count];
        let mut without = vec![[BTreeSet::new(), BTreeSet::new()]; count];
        for class in &sessions.classes {
            for index in &class.advertisements {
                let Some(advertisement) = config.advertisements.get(*index) else { continue };
                let told = class.sessions.iter().filter_map(|session| session.of(config, sessions));
                let told: Vec<_> = told.filter(|(peer, _)| advertisement.tells(&peer.name)).collect();
                for family in Family::ALL {
                    let until = |at: Option<Timestamp>| match at {
                        None => Until::Ever,
                        Some(at) if now < at => Until::Time(at),
                        Some(_) => Until::Never,
                    };
                    let carrying = || told.iter().filter(|(_, agreed)| agreed.terms.carries(family));
                    let sessions = carrying().map(|(peer, _)| until(peer.withdraw_at)).max();
                    let lists = (by_advertisement.get_mut(*index), without.get_mut(*index));
                    let (Some([v4, v6]), Some([none_v4, none_v6])) = lists else { continue };
                    let (reached, none) = if family == Family::V4 { (v4, none_v4) } else { (v6, none_v6) };
                    if sessions.is_none() && !told.is_empty() {
                        none.extend(&class.hosts);
                    }
                    let Some(sessions) = sessions.filter(|until| *until > Until::Never) else { continue };
                    reached.extend(class.hosts.iter().filter_map(|host| {
                        let standing = hosts.get(*host)?.standing;
                        Some((*host, sessions.min(standing.deadline().map_or(Until::Ever, Until::Time))))
                    }));
                }
            }
        }
        let known = [HashMap::new(), HashMap::new()];
        Self { config, hosts, sessions, by_advertisement, without, known, all_silent: OnceCell::new() }
    }

    /// The hosts that can announce by this advertisement.
    pub fn of(&self, advertisement: usize, family: Family) -> impl Iterator<Item = usize> {
        self.list(advertisement, family).into_iter().flatten().map(|(host, _)| *host)
    }

    fn list(&self, advertisement: usize, family: Family) -> Option<&BTreeMap<usize, Until>> {
        self.by_advertisement.get(advertisement)?.get(place(family))
    }

    /// Whether the host can announce what is asked for so.
    pub fn includes(&self, requests: &[Request], family: Family, host: usize) -> bool {
        let lists = requests.iter().filter_map(|request| self.list(request.advertisement, family));
        lists.into_iter().any(|list| list.contains_key(&host))
    }

    /// The hosts that have sessions with its peers, none of which carries the family.
    pub fn without(&self, advertisement: usize, family: Family) -> BTreeSet<usize> {
        self.without.get(advertisement).and_then(|lists| lists.get(place(family))).cloned().unwrap_or_default()
    }

    /// How long any of these hosts announces by one of these advertisements.
    pub fn until(&mut self, advertisements: &[usize], family: Family, hosts: Option<&BTreeSet<usize>>) -> Until {
        let lists = || advertisements.iter().filter_map(|index| self.list(*index, family));
        if let Some(hosts) = hosts {
            let of_hosts = lists().flat_map(|list| hosts.iter().filter_map(|host| list.get(host)));
            return of_hosts.copied().max().unwrap_or(Until::Never);
        }
        if let Some(known) = self.everywhere(advertisements, family) {
            return known.until;
        }
        let until = lists().flat_map(BTreeMap::values).copied().max().unwrap_or(Until::Never);
        if let Some(known) = self.known.get_mut(place(family)) {
            known.insert(advertisements.to_vec(), Everywhere { until, why_not: OnceCell::new() });
        }
        until
    }

    fn everywhere(&self, advertisements: &[usize], family: Family) -> Option<&Everywhere> {
        self.known.get(place(family))?.get(advertisements)
    }

    /// Why none of these hosts announces anything, in words, if that is so.
    pub fn all_silent(&self, hosts: Option<&BTreeSet<usize>>) -> Option<String> {
        match hosts {
            None => self.all_silent.get_or_init(|| self.silent(None)).clone(),
            hosts => self.silent(hosts),
        }
    }

    /// Why none of these hosts announces by one of these advertisements, in words.
    pub fn why_not(&self, advertisements: &[usize], family: Family, hosts: Option<&BTreeSet<usize>>) -> String {
        let why_not = || self.reason(advertisements, family, hosts);
        match self.everywhere(advertisements, family).filter(|_| hosts.is_none()) {
            Some(known) => known.why_not.get_or_init(why_not).clone(),
            None => why_not(),
        }
    }

    fn silent(&self, hosts: Option<&BTreeSet<usize>>) -> Option<String> {
        let these = self.these(hosts);
        let count = these.len();
        let with = with_endpoint(hosts);
        if count == 0 {
            return Some("there are no Nodes".to_owned());
        }
        let mut kept_off: BTreeMap<&str, usize> = BTreeMap::new();
        for host in these.iter().filter(|host| !host.standing.announces()) {
            *kept_off.entry(host.standing.about()).or_default() += 1;
        }
        if kept_off.values().sum::<usize>() < count {
            return None;
        }
        let parts: Vec<String> = match kept_off.len() {
            1 if count == 1 => kept_off.keys().map(|about| format!("the only node{with} is {about}")).collect(),
            1 => kept_off.keys().map(|about| format!("all {count} nodes{with} are {about}")).collect(),
            _ => kept_off.iter().map(|(about, number)| format!("of {count} nodes{with} {number}: {about}")).collect(),
        };
        Some(parts.join("; "))
    }

    fn these(&self, hosts: Option<&BTreeSet<usize>>) -> Vec<&Host<'w>> {
        match hosts {
            None => self.hosts.list.iter().collect(),
            Some(hosts) => hosts.iter().filter_map(|host| self.hosts.get(*host)).collect(),
        }
    }

    fn reason(&self, advertisements: &[usize], family: Family, hosts: Option<&BTreeSet<usize>>) -> String {
        if let Some(silent) = self.all_silent(hosts) {
            return silent;
        }
        let these = self.these(hosts);
        let whose = format!("nodes{}", with_endpoint(hosts));
        let aside = if these.iter().all(|host| host.standing.announces()) { "" } else { " that announces" };
        let advertisements: Vec<_> =
            advertisements.iter().filter_map(|index| self.config.advertisements.get(*index)).collect();
        let names = advertisements.iter().map(|advertisement| advertisement.name.as_str()).join(", ");
        let chosen: Vec<_> = these
            .iter()
            .filter(|host| host.standing.announces())
            .filter(|host| advertisements.iter().any(|a| host.all(|labels| selected(&a.nodes, labels))))
            .collect();
        if chosen.is_empty() {
            return format!("none of the {whose}{aside} is selected by the nodeSelectors of {names}");
        }
        let told = |name: &str| advertisements.iter().any(|advertisement| advertisement.tells(name));
        let draining = self.config.peers.iter().any(|peer| told(&peer.name) && peer.withdraw_at.is_some());
        let drained = if draining { ", and is not drained" } else { "" };
        let kept_out = self.sessions.kept_out.iter().filter_map(|index| self.config.peers.get(*index));
        let kept_out: Vec<&str> = kept_out.map(|peer| peer.name.as_str()).filter(|name| told(name)).collect();
        if !kept_out.is_empty() {
            return format!(
                "RouterPeer {} can have no session there: its condition Ready says why",
                kept_out.join(", ")
            );
        }
        format!(
            "no RouterPeer that LoadBalancerAdvertisement {names} tells has a session with one of the {whose}{aside} and carries {}{drained}",
            family.name()
        )
    }

    /// Whether nothing ends what the host announces by one of these advertisements.
    pub fn lasts(&self, advertisements: &[usize], family: Family, host: usize) -> bool {
        let lists = advertisements.iter().filter_map(|index| self.list(*index, family));
        lists.filter_map(|list| list.get(&host)).any(|until| *until == Until::Ever)
    }
}
