//! When each Service was to be announced, as seen from outside, and on its way to the nodes when it got where.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ipnet::IpNet;
use tokio::time::Instant;

/// How much later one watch may tell than another of what was written before.
const SKEW: Duration = Duration::from_millis(250);

/// What has been asked for, Service by Service. No name is used twice, addresses are.
#[derive(Debug, Default)]
pub struct Ledger(BTreeMap<String, Life>);

#[derive(Debug, Default)]
struct Life {
    /// When the request was sent; none of a Service that was there from the beginning.
    created: Option<Instant>,
    /// When its address was seen.
    prefix: Option<(IpNet, Instant)>,
    /// From when until when it was not to be announced.
    pauses: Vec<(Instant, Option<Instant>)>,
}

impl Life {
    fn is_wanted(&self) -> bool {
        self.pauses.iter().all(|(_, end)| end.is_some())
    }

    /// What it means that its prefix, on a node where it was from one moment on, is gone at another.
    fn absence(&self, from: Instant, at: Instant) -> Absence {
        if self.prefix.is_none_or(|(_, addressed)| from + SKEW < addressed) {
            // It was there for an older Service with the same address.
            return Absence::Meant;
        }
        match self.pauses.iter().rfind(|(begin, _)| *begin <= at) {
            Some((_, Some(end))) if *end < from => Absence::Lost,
            Some((_, Some(end))) if *end < at => Absence::Late(at.duration_since(*end)),
            Some(_) => Absence::Meant,
            None => Absence::Lost,
        }
    }
}

/// A prefix that is gone from the node of a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The daemon's place in the fleet.
    pub daemon: usize,
    /// The prefix.
    pub prefix: IpNet,
    /// When the daemon had merged.
    pub at: Instant,
}

/// What it means that a prefix is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// It was asked for.
    Meant,
    /// It was asked for, but had been wanted again for so long.
    Late(Duration),
    /// It was wanted all the time that it was there.
    Lost,
}

impl Ledger {
    /// The request that creates a Service was sent. It may have been seen with its address before this is known.
    pub fn created(&mut self, name: String, at: Instant) {
        self.0.entry(name).or_default().created = Some(at);
    }

    /// A Service was seen with its address; only the first time counts.
    pub fn addressed(&mut self, name: String, prefix: IpNet, at: Instant) {
        self.0.entry(name).or_default().prefix.get_or_insert((prefix, at));
    }

    /// A Service is about to be deleted, or to have no endpoint that is ready.
    pub fn unwanted(&mut self, name: &str, at: Instant) {
        if let Some(life) = self.0.get_mut(name) {
            life.pauses.push((at, None));
        }
    }

    /// A Service has ready endpoints again.
    pub fn wanted(&mut self, name: &str, at: Instant) {
        if let Some((_, end)) = self.0.get_mut(name).and_then(|life| life.pauses.last_mut()) {
            *end = Some(at);
        }
    }

    /// What is to be announced now.
    #[must_use]
    pub fn prefixes(&self) -> BTreeSet<IpNet> {
        let wanted = self.0.values().filter(|life| life.is_wanted());
        wanted.filter_map(|life| life.prefix).map(|(prefix, _)| prefix).collect()
    }

    /// What each of these means, with the Service concerned.
    #[must_use]
    pub fn absences(&self, gone: &[Gone], sightings: &Sightings) -> Vec<(&str, Absence)> {
        let mut holders: BTreeMap<IpNet, Vec<(Instant, &str, &Life)>> = BTreeMap::new();
        for (name, life) in &self.0 {
            if let Some((prefix, addressed)) = life.prefix {
                holders.entry(prefix).or_default().push((addressed, name, life));
            }
        }
        let absences = gone.iter().filter_map(|Gone { daemon, prefix, at }| {
            let until_then = holders.get(prefix)?.iter().filter(|(addressed, ..)| addressed <= at);
            let (addressed, name, life) = until_then.max_by_key(|(addressed, ..)| addressed)?;
            let from = sightings.merged.get(*daemon).and_then(|times| times.last(prefix, *at));
            Some((*name, life.absence(from.unwrap_or(*addressed), *at)))
        });
        absences.collect()
    }

    /// The ways of those that were created and wanted ever since, as far as they have got everywhere; and how many have not.
    #[must_use]
    pub fn ways(&self, sightings: &Sightings) -> (Vec<Way>, usize) {
        let lives = self.0.values().filter(|life| life.created.is_some() && life.pauses.is_empty());
        let ways: Vec<Option<Way>> = lives.map(|life| Way::of(life, sightings)).collect();
        let lacking = ways.iter().filter(|way| way.is_none()).count();
        (ways.into_iter().flatten().collect(), lacking)
    }
}

/// When prefixes appeared where there were none of them.
#[derive(Debug, Default)]
pub struct Sightings {
    /// In any FRRConfiguration.
    pub written: Times,
    /// In the merged configuration of each daemon.
    pub merged: Vec<Times>,
}

/// When prefixes appeared in one place, in the order of time.
#[derive(Debug, Default)]
pub struct Times(BTreeMap<IpNet, Vec<Instant>>);

impl Times {
    /// These have appeared.
    pub fn add(&mut self, prefixes: impl IntoIterator<Item = IpNet>, at: Instant) {
        for prefix in prefixes {
            self.0.entry(prefix).or_default().push(at);
        }
    }

    fn last(&self, prefix: &IpNet, until: Instant) -> Option<Instant> {
        self.0.get(prefix)?.iter().copied().rfind(|at| *at < until)
    }

    fn first(&self, prefix: &IpNet, from: Instant) -> Option<Instant> {
        self.0.get(prefix)?.iter().copied().find(|at| *at >= from)
    }
}

/// When a Service got where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The request that creates it is sent.
    pub created: Instant,
    /// Its address is in its status.
    pub addressed: Instant,
    /// Its prefix is in an FRRConfiguration.
    pub written: Instant,
    /// It is in the merged configuration of the first daemon.
    pub first: Instant,
    /// It is in that of the last.
    pub last: Instant,
}

impl Way {
    fn of(life: &Life, sightings: &Sightings) -> Option<Self> {
        let (prefix, addressed) = life.prefix?;
        let from = addressed.checked_sub(SKEW)?;
        let written = sightings.written.first(&prefix, from)?;
        let merged: Option<Vec<Instant>> = sightings.merged.iter().map(|times| times.first(&prefix, from)).collect();
        let merged = merged?;
        Some(Self {
            created: life.created?,
            addressed,
            written,
            first: merged.iter().copied().min()?,
            last: merged.iter().copied().max()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const P: &str = "198.51.100.1/32";

    fn net() -> IpNet {
        P.parse().unwrap()
    }

    /// So many seconds after a moment that is the same for all.
    fn at(seconds: u64) -> Instant {
        static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *BEGIN.get_or_init(Instant::now) + Duration::from_secs(100 + seconds)
    }

    const fn late(seconds: u64) -> Absence {
        Absence::Late(Duration::from_secs(seconds))
    }

    #[rstest]
    #[case::always_wanted(&[], 50, Absence::Lost)]
    #[case::not_wanted(&[(30, None)], 50, Absence::Meant)]
    #[case::wanted_again_afterwards(&[(30, Some(60))], 50, Absence::Meant)]
    #[case::wanted_again_before(&[(30, Some(47))], 50, late(3))]
    #[case::unwanted_afterwards(&[(60, None)], 50, Absence::Lost)]
    #[case::unwanted_before_it_appeared(&[(13, Some(14))], 50, Absence::Lost)]
    fn what_is_gone_is_lost_if_it_was_wanted(
        #[case] pauses: &[(u64, Option<u64>)],
        #[case] gone: u64,
        #[case] expected: Absence,
    ) {
        let mut ledger = Ledger::default();
        ledger.created("a".to_owned(), at(9));
        ledger.addressed("a".to_owned(), net(), at(10));
        for (begin, end) in pauses {
            ledger.unwanted("a", at(*begin));
            end.iter().for_each(|end| ledger.wanted("a", at(*end)));
        }
        let mut sightings = Sightings { merged: vec![Times::default()], ..Sightings::default() };
        sightings.merged[0].add([net()], at(20));
        let absences = ledger.absences(&[Gone { daemon: 0, prefix: net(), at: at(gone) }], &sightings);
        assert_eq!(absences, [("a", expected)]);
        assert_eq!(ledger.prefixes().is_empty(), pauses.iter().any(|(_, end)| end.is_none()));
    }

    #[test]
    fn what_an_older_service_had_is_not_lost() {
        let mut ledger = Ledger::default();
        ledger.addressed("old".to_owned(), net(), at(1));
        ledger.unwanted("old", at(5));
        ledger.addressed("new".to_owned(), net(), at(7));
        let mut sightings = Sightings { merged: vec![Times::default()], ..Sightings::default() };
        sightings.merged[0].add([net()], at(2));
        // The daemon merges a little later than the address is seen.
        let absences = ledger.absences(&[Gone { daemon: 0, prefix: net(), at: at(8) }], &sightings);
        assert_eq!(absences, [("new", Absence::Meant)]);
    }

    #[test]
    fn a_way_begins_where_the_address_was_given_last() {
        let mut ledger = Ledger::default();
        ledger.addressed("old".to_owned(), net(), at(1));
        ledger.unwanted("old", at(5));
        ledger.created("new".to_owned(), at(6));
        ledger.created("waits".to_owned(), at(6));
        ledger.addressed("new".to_owned(), net(), at(7));
        let mut sightings = Sightings { merged: vec![Times::default(), Times::default()], ..Sightings::default() };
        for seconds in [2, 8] {
            sightings.written.add([net()], at(seconds));
            sightings.merged[0].add([net()], at(seconds + 1));
            sightings.merged[1].add([net()], at(seconds + 2));
        }
        let way = Way { created: at(6), addressed: at(7), written: at(8), first: at(9), last: at(10) };
        assert_eq!(ledger.ways(&sightings), (vec![way], 1));
    }
}
