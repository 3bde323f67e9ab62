//! Backends that stand in for each other: the ordinary ones of an upstream, or its backups. Chooses among those that may
//! get a connection, by the upstream's policy.

use super::live::Demand;
use crate::balance::bounded::{self, Bound, LoadFactor};
use crate::balance::ip_hash::{Entry, Maglev};
use crate::balance::{LeastConn, RandomTwo, RoundRobin, View};
use crate::base::Dice;
use crate::config::{Backend, Balance, Upstream as Settings};
use crate::ring::Time;
use std::cell::{Cell, RefCell};

/// One tier. What its policy remembers belongs to one worker: each has a copy of its own.
#[derive(Clone, Debug)]
pub(super) struct Tier {
    /// Where its backends are in the configuration.
    places: Box<[u16]>,
    weights: Box<[u16]>,
    policy: Policy,
}

#[derive(Clone, Debug)]
enum Policy {
    Hash(Maglev),
    BoundedHash(Maglev, LoadFactor, Cell<Option<(Moment, Bound)>>),
    RoundRobin(RefCell<RoundRobin>),
    LeastConn(RefCell<LeastConn>),
    RandomTwo(RandomTwo, RefCell<Dice>),
}

/// A tier's backends, as its policy sees them.
struct Seen<'a, F> {
    tier: &'a Tier,
    facts: &'a F,
}

/// What a choice goes by, for places of the configuration.
pub(super) trait Facts {
    /// Connections that a backend has now.
    fn open(&self, at: u16) -> u64;
    /// Whether it may get one more.
    fn is_usable(&self, at: u16) -> bool;
    /// What choices have in common that find the same backends usable. `None` for one that passes some over.
    fn moment(&self) -> Option<Moment>;
}

/// When it was asked, once in a worker's turn, and for how much.
pub(super) type Moment = (Time, Demand);

impl Tier {
    /// Of the backends at these places.
    pub(super) fn new<'a>(settings: &'a Settings, places: Box<[u16]>) -> Self {
        let backends = || places.iter().map(|&at| &settings.backends[usize::from(at)]);
        let weights: Box<[u16]> = backends().map(|backend| backend.weight).collect();
        let table = || {
            let entry = |backend: &'a Backend| Entry {
                name: &backend.name,
                weight: backend.weight,
            };
            Maglev::build(&backends().map(entry).collect::<Vec<_>>())
        };
        let policy = match (settings.balance, settings.hash_load_factor) {
            (Balance::IpHash | Balance::Hash, None) => Policy::Hash(table()),
            (Balance::IpHash | Balance::Hash, Some(factor)) => {
                let factor = LoadFactor::of_1000(factor.thousandths());
                Policy::BoundedHash(table(), factor, Cell::default())
            }
            (Balance::RoundRobin, _) => Policy::RoundRobin(RoundRobin::new(0).into()),
            (Balance::LeastConn, _) => Policy::LeastConn(LeastConn::new(0).into()),
            (Balance::RandomTwo, _) => {
                Policy::RandomTwo(RandomTwo::build(&weights), Dice::new(0).into())
            }
        };
        Self {
            places,
            weights,
            policy,
        }
    }

    /// Begins what its policy remembers anew, at a point of this worker's own: they are not to march in step.
    pub(super) fn start(&mut self, worker: u16) {
        match &mut self.policy {
            Policy::Hash(_) | Policy::BoundedHash(..) => {}
            Policy::RoundRobin(state) => *state = RoundRobin::new(worker).into(),
            Policy::LeastConn(state) => *state = LeastConn::new(worker).into(),
            Policy::RandomTwo(_, dice) => *dice = Dice::new(worker.into()).into(),
        }
    }

    /// The place of the backend for a key, of those that are usable.
    pub(super) fn pick(&self, key: u64, facts: &impl Facts) -> Option<u16> {
        let seen = Seen { tier: self, facts };
        let chosen = match &self.policy {
            Policy::Hash(table) => self.walk(table, key).find(|&at| seen.is_usable(at)),
            Policy::BoundedHash(table, factor, last) => {
                bounded::pick(table, key, &seen, seen.bound(*factor, last))
            }
            Policy::RoundRobin(state) => state.borrow_mut().pick(&seen),
            Policy::LeastConn(state) => state.borrow_mut().pick(&seen),
            Policy::RandomTwo(table, dice) => table.pick(&seen, &mut dice.borrow_mut()),
        };
        chosen.map(|at| self.places[usize::from(at)])
    }

    /// The backend that a key belongs to as long as it is usable; only where a hash decides.
    pub(super) fn owner(&self, key: u64) -> Option<u16> {
        let at = self.walk(self.table()?, key).next()?;
        Some(self.places[usize::from(at)])
    }

    /// A number that two boxes share exactly when a hash decides and they choose alike.
    pub(super) fn fingerprint(&self) -> Option<u64> {
        self.table().map(Maglev::fingerprint)
    }

    fn table(&self) -> Option<&Maglev> {
        match &self.policy {
            Policy::Hash(table) | Policy::BoundedHash(table, ..) => Some(table),
            Policy::RoundRobin(_) | Policy::LeastConn(_) | Policy::RandomTwo(..) => None,
        }
    }

    fn walk<'a>(&self, table: &'a Maglev, key: u64) -> impl Iterator<Item = u16> + use<'a> {
        table.walk(key).filter_map(|at| u16::try_from(at).ok())
    }
}

impl<F: Facts> Seen<'_, F> {
    /// How many connections backends may have. All of them are gone through once in a turn, and not for each connection
    /// of a crowd that comes at once: what others close meanwhile counts from the next turn on.
    fn bound(&self, factor: LoadFactor, last: &Cell<Option<(Moment, Bound)>>) -> Bound {
        let Some(moment) = self.facts.moment() else {
            return Bound::new(factor, self);
        };
        let bound = match last.get() {
            Some((then, bound)) if then == moment => bound.with_one_more(factor),
            Some(_) | None => Bound::new(factor, self),
        };
        last.set(Some((moment, bound)));
        bound
    }
}

impl<F: Facts> View for Seen<'_, F> {
    fn backends(&self) -> u16 {
        u16::try_from(self.tier.places.len()).expect("the configuration has fewer")
    }

    fn weight(&self, at: u16) -> u16 {
        self.tier.weights[usize::from(at)]
    }

    fn open(&self, at: u16) -> u64 {
        self.facts.open(self.tier.places[usize::from(at)])
    }

    fn is_usable(&self, at: u16) -> bool {
        self.facts.is_usable(self.tier.places[usize::from(at)])
    }
}
