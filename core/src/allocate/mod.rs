//! Pools and Services to addresses.
//!
//! Who holds an address keeps it. Then come reservations, then those who ask for certain addresses, then all others, the oldest
//! first, and at last those whose pool is succeeded by another. The outcome does not depend on the order in which objects
//! were seen.

mod candidates;
mod explain;
mod hashed;
mod ledger;
mod request;
mod reserve;
mod sharing;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use clarion_api::{Timestamp, names};

use self::{
    candidates::Candidates,
    ledger::{Ledger, Loss, Standing, Terms},
    request::{Request, Want},
};
pub use self::{
    explain::{Held, How, Verdict, Weighed},
    ledger::Why,
    request::asks_for,
};
use crate::{
    address_set::Family,
    annotation::Refusal,
    config::{Config, OnRemoval, Pools},
    finding::{Findings, Reason},
    world::{Announced, Kind, Object, ObjectName, ObjectRef, Service, World},
};

/// Who gets which address.
pub struct Allocation<'w> {
    ledger: Ledger<'w>,
    /// In the order of the ledger's Services.
    seats: Vec<Seat>,
    /// The addresses that reservations hold, in the order of the reservations.
    pub reservations: Vec<Vec<IpAddr>>,
    pools: &'w Pools,
}

/// What one Service has.
#[derive(Default)]
struct Seat {
    /// Nothing of ours is left of it: our conditions go too. They tell that what the status holds was ours, so they go last.
    forgotten: bool,
    /// `None` if it has just what it asks for, and that is what its status holds.
    change: Option<Box<Change>>,
}

/// What a Service is to have, where that is not simply what its status holds.
#[derive(Debug, Default)]
struct Change {
    /// What its status is to hold now, in order.
    addresses: Vec<IpAddr>,
    /// Those that it is to have announced, as soon as they stand in the status.
    kept: Vec<IpAddr>,
    /// Those that it asks for.
    chosen: Vec<IpAddr>,
    /// Those that it keeps although it does not ask for them.
    surplus: Vec<IpAddr>,
    /// What it asks for and does not get.
    waits: Vec<Wait>,
    /// Those that others have too.
    shared: Vec<IpAddr>,
    /// What is taken from it, and why.
    lost: Vec<(IpAddr, Refusal)>,
}

/// Something that a Service does not get now.
#[derive(Debug)]
struct Wait {
    refusal: Refusal,
    /// The Service can do without.
    optional: bool,
}

/// What a Service has, with the Service.
#[derive(Clone, Copy)]
pub struct Seated<'a, 'w> {
    /// The Service.
    pub service: &'w Object<Service>,
    /// It is served, not only cleaned up after.
    pub served: bool,
    seat: &'a Seat,
    pools: &'w Pools,
}

impl<'a, 'w: 'a> Seated<'a, 'w> {
    fn change(&self) -> Option<&'a Change> {
        self.seat.change.as_deref()
    }

    /// What its status is to hold now, in order.
    pub fn addresses(&self) -> &'a [IpAddr] {
        self.change().map_or(&self.service.value.addresses, |change| &change.addresses)
    }

    /// The addresses that it is to have announced, as soon as they stand in the status.
    pub fn kept(&self) -> &'a [IpAddr] {
        self.change().map_or(&self.service.value.addresses, |change| &change.kept)
    }

    /// The addresses that it has as far as it decides: those in its status that it keeps, or that only a pool takes away.
    pub fn claimed(&self) -> impl Iterator<Item = IpAddr> {
        let lost = || self.change().into_iter().flat_map(|change| &change.lost);
        let taken =
            move |address: &IpAddr| lost().any(|(lost, refusal)| lost == address && refusal.reason == Reason::Released);
        let status = self.service.value.addresses.iter();
        status.filter(move |address| self.kept().contains(address) || taken(address)).copied()
    }

    /// The addresses that others have too.
    pub fn shared(&self) -> &'a [IpAddr] {
        self.change().map_or(&[], |change| &change.shared)
    }

    /// The addresses that are taken from it when they leave their pool.
    pub fn revocable(&self) -> Vec<IpAddr> {
        let revocable = |address: &&IpAddr| match self.pools.of(**address) {
            Some(pool) => pool.on_removal == OnRemoval::Release,
            // A pool that can't be read now may have it, or it is on its way out.
            None => self.service.value.is_marked(names::RELEASE_ON_REMOVAL, **address),
        };
        self.addresses().iter().filter(revocable).copied().collect()
    }

    /// It has no address yet, and gets one.
    pub fn is_newcomer(&self) -> bool {
        self.served && self.service.value.addresses.is_empty() && !self.addresses().is_empty()
    }

    /// Nothing of ours is left of it, so our conditions go.
    pub fn is_forgotten(&self) -> bool {
        self.seat.forgotten
    }

    /// Why addresses are taken from its status now.
    pub fn lost(&self) -> Option<(Reason, String)> {
        let (addresses, kept) = (self.addresses(), self.kept());
        let lost: Vec<_> = self.change()?.lost.iter().filter(|(address, _)| !addresses.contains(address)).collect();
        let (_, first) = lost.first()?;
        let messages: Vec<&str> = lost.iter().map(|(_, refusal)| refusal.message.as_str()).collect();
        let then = if kept.is_empty() {
            "there is no other for it now".to_owned()
        } else {
            format!("it has {} now", explain::list(kept))
        };
        Some((first.reason, format!("{}; {then}", messages.join("; "))))
    }
}

impl<'w> Allocation<'w> {
    /// All Services that are served or cleaned up after, in the order of their names.
    pub fn seats(&self) -> impl Iterator<Item = Seated<'_, 'w>> {
        let known = self.ledger.services().zip(&self.seats).filter(|((_, standing), _)| *standing != Standing::Foreign);
        known.map(|((service, standing), seat)| Seated {
            service,
            served: standing == Standing::Served,
            seat,
            pools: self.pools,
        })
    }

    /// When Services are given something again that another controller took away.
    pub fn deadlines(&self, now: Timestamp) -> impl Iterator<Item = Timestamp> {
        self.seats().filter(|seated| seated.served).filter_map(move |seated| seated.service.value.truce(now))
    }

    /// What the Service of this name has, if it is served or cleaned up after.
    pub fn seat(&self, name: &ObjectName) -> Option<Seated<'_, 'w>> {
        let index = self.ledger.index_of(name)?;
        let service = self.ledger.service(index)?;
        let served = self.ledger.is_served(index);
        Some(Seated { service, served, seat: self.seats.get(index)?, pools: self.pools })
    }

    /// How many addresses of a pool are not free: IPv4, IPv6. Those that are about to be given or taken count.
    pub fn taken(&self, pool: usize) -> [u64; 2] {
        self.ledger.taken(pool)
    }

    /// How many addresses of a pool with quotas a namespace has.
    pub fn used(&self, pool: usize, family: Family, namespace: &'w str) -> u64 {
        self.ledger.used(pool, family, namespace)
    }
}

/// A Service that lacks something.
struct Waiting {
    service: usize,
    wants: Vec<Want>,
    /// Not these.
    released: Vec<IpAddr>,
    /// What it holds and gives up for them.
    leaving: Vec<IpAddr>,
    /// It asks for certain addresses.
    explicit: bool,
}

/// A Service that is to have another address beside one whose pool is succeeded.
struct Succession {
    service: usize,
    pool: usize,
    family: Family,
    /// Not these.
    released: Vec<IpAddr>,
}

/// Gives addresses to Services. `announced` are the addresses that our objects announce by themselves.
pub fn allocate<'w>(
    world: &'w World,
    config: &'w Config,
    announced: &Announced,
    findings: &mut Findings,
) -> Allocation<'w> {
    let (mut ledger, losses) = Ledger::new(world, &config.pools, announced);
    let reservations = reserve::reserve(world, config, &mut ledger, findings);
    let mut hall = Hall {
        world,
        pools: &config.pools,
        announced,
        ledger,
        seats: Vec::new(),
        waiting: Vec::new(),
        successions: Vec::new(),
    };
    hall.hold(&losses, findings);
    hall.clear();
    hall.give();
    hall.mark_shared();
    Allocation { ledger: hall.ledger, seats: hall.seats, reservations, pools: &config.pools }
}

/// Where Services are seated.
struct Hall<'w, 'a> {
    world: &'w World,
    pools: &'w Pools,
    announced: &'a Announced,
    ledger: Ledger<'w>,
    seats: Vec<Seat>,
    waiting: Vec<Waiting>,
    successions: Vec<Succession>,
}

impl<'w> Hall<'w, '_> {
    /// Seats those who hold something, and finds out who waits.
    fn hold(&mut self, losses: &[Loss], findings: &mut Findings) {
        let count = self.ledger.services().len();
        self.seats = Vec::with_capacity(count);
        for index in 0..count {
            let Some((service, standing)) = self.ledger.entry(index) else { continue };
            let begin = losses.partition_point(|loss| loss.service < index);
            let end = losses.partition_point(|loss| loss.service <= index);
            let losses = losses.get(begin..end).unwrap_or_default();
            let seat = match standing {
                Standing::Foreign => Seat::default(),
                Standing::Left => Seat { forgotten: false, change: Some(Box::default()) },
                Standing::Served if self.is_content(service, losses) => Seat::default(),
                Standing::Served => self.seat(index, service, losses, findings),
            };
            self.seats.push(seat);
        }
    }

    /// The common case: a Service that asks for nothing particular, and has one address of each family from pools that are
    /// there to stay.
    fn is_content(&self, service: &Object<Service>, losses: &[Loss]) -> bool {
        let value = &service.value;
        let families = value.wanted_families();
        let has_one = |family: &Family| value.addresses.iter().filter(|a| Family::of(**a) == *family).count() == 1;
        let stays =
            |address: &IpAddr| self.pools.index_of(*address).is_some_and(|pool| self.pools.heir(pool).is_none());
        value.annotations.is_empty()
            && value.load_balancer_ip.is_none()
            && losses.is_empty()
            && value.addresses.len() == families.len()
            && families.iter().all(has_one)
            && value.addresses.iter().all(stays)
            && !self.ledger.has_more_reserved(service)
    }

    /// Decides what stays in the status of those who do not keep all that it holds: what is kept, and what is announced and must
    /// be withdrawn first. Of a Service that is not served any more our conditions go with the last address; what these
    /// conditions do not speak of is somebody else's and stays.
    fn clear(&mut self) {
        for index in 0..self.seats.len() {
            let Some((service, standing)) = self.ledger.entry(index) else { continue };
            let Some(change) = self.seats.get(index).and_then(|seat| seat.change.as_ref()) else { continue };
            let is_held = |address: &IpAddr| change.kept.contains(address) || self.must_stay(index, *address);
            let is_theirs = |address: &IpAddr| standing == Standing::Left && !service.value.speaks_of(*address);
            let status = service.value.addresses.iter();
            let addresses: Vec<IpAddr> = status.filter(|a| is_held(a) || is_theirs(a)).copied().collect();
            let forgotten = standing == Standing::Left && !addresses.iter().any(|a| is_held(a) && !is_theirs(a));
            if let Some(seat) = self.seats.get_mut(index) {
                seat.forgotten = forgotten;
                seat.change.get_or_insert_default().addresses = addresses;
            }
        }
    }

    /// Whether an address that a Service does not keep must stay in its status for now: it is announced, and not because of
    /// somebody else who keeps it.
    fn must_stay(&self, service: usize, address: IpAddr) -> bool {
        let keeps = |other: usize| {
            let change = self.seats.get(other).map(|seat| seat.change.as_ref());
            self.ledger.is_served(other)
                && change.is_some_and(|change| change.is_none_or(|change| change.kept.contains(&address)))
        };
        let by_others = || self.ledger.holders(address).any(|other| other != service && keeps(other));
        self.world.add_only || (self.announced.contains(&address) && !by_others())
    }

    /// Seats a Service whose case is not the common one.
    fn seat(&mut self, index: usize, service: &'w Object<Service>, losses: &[Loss], findings: &mut Findings) -> Seat {
        let families = service.value.wanted_families();
        let mut change = Change::default();
        let request = Request::of(service, self.pools);
        let released = request.as_ref().map(|request| request.released.clone()).unwrap_or_default();
        let mut held = Vec::new();
        for address in &service.value.addresses {
            if let Some(loss) = losses.iter().find(|loss| loss.address == *address) {
                change.lost.push((*address, self.loss(loss)));
            } else if self.is_revoked(service, *address) {
                let message = format!("{address} has left its pool, which has onRemoval: Release");
                change.lost.push((*address, Refusal::new(Reason::Released, message)));
            } else if families.contains(&Family::of(*address)) && !released.contains(address) {
                held.push(*address);
            }
        }
        match request {
            Ok(request) => self.compare(index, service, &request, held, &mut change),
            Err(refusal) => {
                let id = ObjectRef::new(Kind::Service, service.meta.name.clone());
                findings.error(id, refusal.reason, refusal.message.clone());
                change.chosen.clone_from(&held);
                change.kept = held;
                change.waits.push(Wait { refusal, optional: false });
            }
        }
        Seat { forgotten: false, change: Some(Box::new(change)) }
    }

    fn loss(&self, loss: &Loss) -> Refusal {
        let address = loss.address;
        let older = self.ledger.service(loss.to).map(|service| service.meta.name.to_string()).unwrap_or_default();
        let message = match loss.port {
            Some(port) => format!("{address} is shared with the older Service {older}, which has the port {port} too"),
            None => format!("{address} belongs to the older Service {older}"),
        };
        Refusal::new(Reason::AddressConflict, message)
    }

    /// Whether an address is taken from its holder because it left its pool.
    fn is_revoked(&self, service: &Object<Service>, address: IpAddr) -> bool {
        self.pools.is_complete()
            && self.pools.index_of(address).is_none()
            && service.value.is_marked(names::RELEASE_ON_REMOVAL, address)
    }

    /// Compares what a Service holds with what it asks for.
    fn compare(
        &mut self,
        index: usize,
        service: &'w Object<Service>,
        request: &Request,
        mut held: Vec<IpAddr>,
        change: &mut Change,
    ) {
        let mut reserved = self.ledger.reserved_for(&service.meta.name);
        reserved.retain(|address| !request.released.contains(address));
        // Certain addresses first, so that they are not taken for others.
        let wants = request.wants(service.value.wanted_families(), self.pools, &reserved, &held);
        let mut fits: Vec<(Want, Option<IpAddr>)> = wants.into_iter().map(|want| (want, None)).collect();
        for precise in [true, false] {
            for (want, filled) in fits.iter_mut().filter(|(want, _)| want.is_precise() == precise) {
                if let Some(place) = self.place(*want, &held) {
                    *filled = Some(held.remove(place));
                }
            }
        }
        change.chosen = fits.iter().filter_map(|(_, filled)| *filled).collect();
        let wants: Vec<Want> = fits.iter().filter(|(_, filled)| filled.is_none()).map(|(want, _)| *want).collect();
        self.keep_successors(index, request, &mut held, change);

        // What is asked for by name takes the place of all else, once it is there and announced. Without that nothing is taken.
        let is_awaited = |family: Family| wants.iter().any(|want| want.family() == family);
        let is_explicit = |family: Family| self.pools.is_complete() && request.is_explicit_for(family, self.pools);
        let is_there = |address: &IpAddr| {
            self.announced.contains(address) || self.pools.of(*address).is_some_and(|pool| !pool.announce)
        };
        let is_replaced = |family: Family| change.chosen.iter().filter(|a| Family::of(**a) == family).all(is_there);
        // What is in no pool can't be had again: a request for a pool takes it from nobody.
        let by_name = |family: Family| request.addresses.iter().any(|address| Family::of(*address) == family);
        let (leaving, surplus): (Vec<IpAddr>, Vec<IpAddr>) = held.into_iter().partition(|address| {
            let family = Family::of(*address);
            is_explicit(family) && (by_name(family) || self.pools.index_of(*address).is_some())
        });
        let stays = |address: &IpAddr| {
            let family = Family::of(*address);
            is_awaited(family) || (self.announced.contains(address) && !is_replaced(family))
        };
        let is_kept =
            |a: &&IpAddr| change.chosen.contains(a) || surplus.contains(a) || (leaving.contains(a) && stays(a));
        change.kept = service.value.addresses.iter().filter(is_kept).copied().collect();
        change.surplus = surplus;
        if !wants.is_empty() {
            let (released, explicit) = (request.released.clone(), !request.addresses.is_empty());
            self.waiting.push(Waiting { service: index, wants, released, leaving, explicit });
        }
    }

    /// Keeps, beside addresses whose pool is succeeded, those of the pools that come after it. For each there is to be one of the
    /// last.
    fn keep_successors(&mut self, index: usize, request: &Request, held: &mut Vec<IpAddr>, change: &mut Change) {
        let mut heirs = BTreeSet::new();
        for address in change.chosen.clone() {
            let Some(pool) = self.pools.index_of(address) else { continue };
            let Some(heir) = self.pools.heir(pool) else { continue };
            let family = Family::of(address);
            let comes_after = |other: &IpAddr| {
                let other_pool = self.pools.index_of(*other);
                Family::of(*other) == family && other_pool.is_some_and(|other| self.pools.succeeds(other, pool))
            };
            change.chosen.extend(held.extract_if(.., |other| comes_after(other)));
            heirs.insert((heir, family));
        }
        for (pool, family) in heirs {
            for _ in 0..change.shortage(self.pools, pool, family) {
                let released = request.released.clone();
                self.successions.push(Succession { service: index, pool, family, released });
            }
        }
    }

    /// Which of the held addresses is what is wanted.
    fn place(&self, want: Want, held: &[IpAddr]) -> Option<usize> {
        let pool_of = |address: &IpAddr| self.pools.index_of(*address);
        let find = |suits: &dyn Fn(&IpAddr) -> bool| held.iter().position(suits);
        match want {
            Want::Address(wanted) | Want::Reserved(wanted) => find(&|address| *address == wanted),
            Want::Pool(pool, family) => {
                let from = |address: &IpAddr| pool_of(address).filter(|_| Family::of(*address) == family);
                find(&|address| from(address) == Some(pool))
                    .or_else(|| find(&|address| from(address).is_some_and(|from| self.pools.will_do(from, pool))))
            }
            Want::Family(family) => find(&|address| Family::of(*address) == family && pool_of(address).is_some())
                .or_else(|| find(&|address| Family::of(*address) == family)),
        }
    }

    /// Serves those who wait: first those who ask for certain addresses, then the others, the oldest first, and at last those
    /// whose pool is succeeded.
    fn give(&mut self) {
        if self.waiting.is_empty() && self.successions.is_empty() {
            return;
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.sort_by_key(|waiting| {
            (!waiting.explicit, self.ledger.service(waiting.service).map(|service| service.meta.seniority()))
        });
        let mut candidates = Candidates::new(self.world, self.pools);
        for waiting in waiting {
            self.serve(&mut candidates, waiting);
        }
        self.succeed(&mut candidates);
    }

    fn serve(&mut self, candidates: &mut Candidates<'w>, waiting: Waiting) {
        let Some(service) = self.ledger.service(waiting.service) else { return };
        let (mut picked, unmet) = self.pick(candidates, service, &waiting);
        let Waiting { service: index, released, .. } = waiting;
        let Some(change) = self.seats.get_mut(index).and_then(|seat| seat.change.as_mut()) else { return };
        // What is reserved and can't be had, and the families of which it will be had.
        let (mut refused, mut coming) = (Vec::new(), Vec::new());
        for (want, refusal) in unmet {
            match want {
                Want::Reserved(_) if refusal.reason != Reason::Pending => refused.push((want.family(), refusal)),
                want => {
                    if let Want::Address(address) | Want::Reserved(address) = want
                        && refusal.reason == Reason::Pending
                    {
                        self.ledger.keep_place(index, address);
                    }
                    coming.push(want.family());
                    let optional = matches!(want, Want::Family(_));
                    change.waits.push(Wait { refusal, optional });
                }
            }
        }
        for (family, refusal) in refused {
            let has = change.chosen.iter().chain(&picked).any(|address| Family::of(*address) == family);
            if !has && !coming.contains(&family) {
                let terms = Terms { also: &picked, not: &released, leaving: &[] };
                match self.ledger.find(candidates, index, Want::Family(family), terms) {
                    Ok(address) => picked.push(address),
                    Err(refusal) => change.waits.push(Wait { refusal, optional: true }),
                }
            }
            change.waits.push(Wait { refusal, optional: true });
        }
        let families = service.value.wanted_families();
        let has = |family: &Family| change.chosen.iter().chain(&picked).any(|address| Family::of(*address) == *family);
        let (all, any) = (families.iter().all(has), families.iter().any(has));
        if service.value.requires_dual_stack && !all {
            picked.clear();
        }
        // With one family, and all that it asks for by name, a Service that only prefers two is content.
        let is_content = if service.value.requires_dual_stack { all } else { any };
        if !is_content {
            change.waits.iter_mut().for_each(|wait| wait.optional = false);
        }
        for address in picked {
            self.ledger.give(index, address);
            change.add(address);
        }
        change.sort(families);
    }

    /// Finds addresses for a Service that lacks something; returns them, and what can't be met.
    fn pick(
        &mut self,
        candidates: &mut Candidates<'w>,
        service: &Object<Service>,
        waiting: &Waiting,
    ) -> (Vec<IpAddr>, Vec<(Want, Refusal)>) {
        let blocked = self.blocked(service);
        let goes = |address: &IpAddr| !self.ledger.has_beside(waiting.service, *address);
        let mut leaving: Vec<IpAddr> = waiting.leaving.iter().copied().filter(goes).collect();
        loop {
            let (mut picked, mut unmet) = (Vec::new(), Vec::new());
            for want in &waiting.wants {
                let not = [waiting.released.as_slice(), &picked].concat();
                let terms = Terms { also: &picked, not: &not, leaving: &leaving };
                let found = match &blocked {
                    Some(refusal) => Err(refusal.clone()),
                    None => self.ledger.find(candidates, waiting.service, *want, terms),
                };
                match found {
                    Ok(address) => picked.push(address),
                    Err(refusal) => unmet.push((*want, refusal)),
                }
            }
            // It gives nothing up before it has all that it asks for of a family; nor does its quota count less until then.
            let known = leaving.len();
            leaving.retain(|address| !unmet.iter().any(|(want, _)| want.family() == Family::of(*address)));
            if leaving.len() == known {
                return (picked, unmet);
            }
        }
    }

    /// Why a Service gets nothing new now, whatever there is.
    fn blocked(&self, service: &Object<Service>) -> Option<Refusal> {
        if service.meta.deleting {
            return Some(Refusal::new(Reason::Deleting, "the Service is being deleted: it gets nothing new"));
        }
        if self.world.unsettled.contains_key(&ObjectRef::new(Kind::Service, service.meta.name.clone())) {
            return Some(Refusal::new(Reason::Pending, "its status is being written"));
        }
        let namespace = &service.meta.name.namespace;
        if self.world.namespaces.get(&ObjectName::cluster(namespace.clone())).is_none()
            && self.pools.iter().any(|pool| pool.allocation.asks_for_labels_of(namespace))
        {
            // Its watch may be behind that of the Services.
            return Some(Refusal::new(
                Reason::Pending,
                format!("the labels of namespace {namespace} are not known yet"),
            ));
        }
        if let Some(until) = service.value.truce(self.world.now) {
            let by = service.value.ingress_by.as_deref().map(|name| format!(" (field manager {name})"));
            let message = format!(
                "somebody else{} took away at once what Clarion gave: does another controller serve this Service? Give the Service a loadBalancerClass or stop that controller; it is tried again at {until}",
                by.unwrap_or_default()
            );
            return Some(Refusal::new(Reason::OtherController, message));
        }
        self.world
            .give_nothing
            .then(|| Refusal::new(Reason::Pending, "writes of an earlier leader may still be under way"))
    }

    /// Gives those whose pool is succeeded an address of the successor.
    fn succeed(&mut self, candidates: &mut Candidates<'w>) {
        let mut successions = std::mem::take(&mut self.successions);
        successions
            .sort_by_key(|succession| self.ledger.service(succession.service).map(|service| service.meta.seniority()));
        for Succession { service: index, pool, family, released } in successions {
            let Some(service) = self.ledger.service(index) else { continue };
            if self.blocked(service).is_some() {
                continue;
            }
            let Some(change) = self.seats.get_mut(index).and_then(|seat| seat.change.as_mut()) else { continue };
            // What it asked for may have come from there.
            if change.shortage(self.pools, pool, family) == 0 {
                continue;
            }
            let not = [change.kept.as_slice(), &released].concat();
            let terms = Terms { also: &[], not: &not, leaving: &[] };
            match self.ledger.find(candidates, index, Want::Pool(pool, family), terms) {
                Ok(address) => {
                    self.ledger.give(index, address);
                    change.add(address);
                }
                Err(refusal) => change.waits.push(Wait { refusal, optional: true }),
            }
            change.sort(service.value.wanted_families());
        }
    }

    /// Notes which addresses several Services have.
    fn mark_shared(&mut self) {
        let mut shared: BTreeMap<usize, Vec<IpAddr>> = BTreeMap::new();
        for (address, holders) in self.ledger.shared_addresses() {
            let served = holders.iter().filter(|holder| self.ledger.is_served(**holder));
            if served.clone().count() > 1 {
                served.for_each(|holder| shared.entry(*holder).or_default().push(address));
            }
        }
        for (index, addresses) in shared {
            let Some((service, seat)) = self.ledger.service(index).zip(self.seats.get_mut(index)) else { continue };
            let change = seat.change.get_or_insert_with(|| {
                let addresses = service.value.addresses.clone();
                Box::new(Change { kept: addresses.clone(), chosen: addresses.clone(), addresses, ..Change::default() })
            });
            change.shared = addresses.into_iter().filter(|address| change.addresses.contains(address)).collect();
        }
    }
}

impl Change {
    /// How many addresses of a pool are missing beside those of the pools that it succeeds.
    fn shortage(&self, pools: &Pools, heir: usize, family: Family) -> usize {
        let of_family = || self.chosen.iter().filter(|address| Family::of(**address) == family);
        let pools_of = || of_family().filter_map(|address| pools.index_of(*address));
        // Of several from one line, the first counts: the others are there because of it.
        let first = |pool: &usize| !pools_of().any(|other| pools.succeeds(*pool, other));
        let needed = pools_of().filter(|pool| pools.heir(*pool) == Some(heir)).filter(first).count();
        needed.saturating_sub(pools_of().filter(|pool| *pool == heir).count())
    }

    fn add(&mut self, address: IpAddr) {
        for list in [&mut self.addresses, &mut self.kept, &mut self.chosen] {
            if !list.contains(&address) {
                list.push(address);
            }
        }
    }

    /// Puts addresses into the order of the families.
    fn sort(&mut self, families: &[Family]) {
        let order = |address: &IpAddr| families.iter().position(|family| *family == Family::of(*address));
        for list in [&mut self.addresses, &mut self.kept, &mut self.chosen] {
            list.sort_by_key(order);
        }
    }
}
