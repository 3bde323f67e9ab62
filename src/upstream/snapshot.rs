//! What control hands to workers: everything that they go by. A worker swaps it between turns; what began under an
//! earlier one goes on by that.
//!
//! What is the same as before stays the same object, so that counts, positions and tables outlive a change of something
//! else: a listener's places and number, what is known of a backend, a whole upstream.

use super::Upstream;
use crate::base::Shared;
use crate::config::{Config, Listener, Upstream as Settings};
use crate::ring::Time;
use crate::tls::{Material, Server};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Everything that workers go by, as control makes it. Each worker gets a copy of its own, which only what is
/// [`Live`](super::Live) changes under.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What the operator wrote.
    pub config: Arc<Config>,
    /// Listeners by their numbers, those that were taken away included.
    pub sites: Vec<Site>,
    /// In the order of the configuration.
    pub upstreams: Vec<Upstream>,
    /// What listeners and upstreams speak TLS with.
    pub tls: Material,
}

/// A listener while the process runs.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its own from the first snapshot that has its name to the end of the process.
    pub number: u16,
    /// What the operator wrote of it, perhaps the last that was.
    pub rules: Arc<Listener>,
    /// How many connections it has and may have.
    pub seats: Arc<Seats>,
    /// Where TLS of its clients ends, if it does.
    pub tls: Option<Arc<Server>>,
    /// Whether the configuration still has it. If not, no upstream of its rules means anything any more.
    pub is_open: bool,
}

/// How many connections a listener has on all workers, and may have.
#[derive(Debug)]
pub struct Seats {
    taken: Shared,
    /// 0 is any number.
    most: AtomicU64,
}

/// A worker's own copy, made of what it shares with its connections.
#[derive(Debug)]
pub struct Current {
    /// By their numbers.
    pub sites: Vec<Rc<Site>>,
    /// In the order of the configuration.
    pub upstreams: Vec<Rc<Upstream>>,
    /// How often connections are told of while they are open; zero is never.
    pub still_open: Duration,
}

impl Snapshot {
    /// Builds the tables; nobody has connections yet, and nobody speaks TLS.
    pub fn new(config: Arc<Config>) -> Self {
        Self::with_tls(config, Material::default())
    }

    /// The same, where listeners and upstreams may speak TLS.
    pub fn with_tls(config: Arc<Config>, tls: Material) -> Self {
        let sites = config.listeners.iter().zip(0..);
        let sites = sites.map(|(rules, number)| Site::new(number, rules, &tls));
        let upstreams = config.upstreams.iter();
        let upstreams = upstreams.map(|it| Upstream::new(it, tls.client(&it.name).cloned()));
        Self {
            sites: sites.collect(),
            upstreams: upstreams.collect(),
            config,
            tls,
        }
    }

    /// What comes after this one when the operator has written something else. Backends that are new begin as their
    /// upstream's probe and slow start want new ones to.
    #[must_use = "it is to be handed to the workers"]
    pub fn next(&self, config: Arc<Config>, tls: Material, now: Time) -> Self {
        let upstream = |settings: &Settings| {
            let client = tls.client(&settings.name).cloned();
            let mut all = self.upstreams.iter();
            match all.find(|it| it.settings().name == settings.name) {
                Some(before) => before.next(settings, client, now),
                None => Upstream::new(settings, client),
            }
        };
        Self {
            sites: self.next_sites(&config, &tls),
            upstreams: config.upstreams.iter().map(upstream).collect(),
            config,
            tls,
        }
    }

    fn next_sites(&self, config: &Config, tls: &Material) -> Vec<Site> {
        let mut sites = self.sites.clone();
        sites.iter_mut().for_each(|site| site.is_open = false);
        for rules in &config.listeners {
            let known = sites.iter_mut().find(|site| site.rules.name == rules.name);
            if let Some(site) = known {
                site.reopen(rules, tls);
            } else {
                let number = u16::try_from(sites.len()).expect("far fewer names of listeners");
                sites.push(Site::new(number, rules, tls));
            }
        }
        sites
    }

    /// The number of the listener at a place of the configuration.
    ///
    /// # Panics
    /// When it has no such place.
    pub fn number_of(&self, place: usize) -> u16 {
        let name = &self.config.listeners[place].name;
        let site = self.sites.iter().find(|site| &site.rules.name == name);
        site.expect("every listener has a site").number
    }

    /// A copy for one worker: the same tables and the same live state, and a start of its own where policies remember.
    pub fn for_worker(&self, worker: u16) -> Self {
        let mut copy = self.clone();
        for upstream in &mut copy.upstreams {
            upstream.start(worker);
        }
        copy
    }
}

impl Site {
    fn new(number: u16, rules: &Listener, tls: &Material) -> Self {
        Self {
            number,
            rules: Arc::new(rules.clone()),
            seats: Arc::new(Seats::new(rules.max_connections as u64)),
            tls: tls.server(&rules.name).cloned(),
            is_open: true,
        }
    }

    fn reopen(&mut self, rules: &Listener, tls: &Material) {
        self.is_open = true;
        self.tls = tls.server(&rules.name).cloned();
        self.seats.most.store(rules.max_connections as u64, Relaxed);
        if *self.rules != *rules {
            self.rules = Arc::new(rules.clone());
        }
    }
}

impl Seats {
    /// So many; 0 is any number.
    pub fn new(most: u64) -> Self {
        Self {
            taken: Shared::default(),
            most: AtomicU64::new(most),
        }
    }

    /// Takes one, unless there is none.
    #[must_use = "one that was taken must be released"]
    pub fn acquire(&self) -> bool {
        self.taken.try_acquire(unlimited(self.most.load(Relaxed)))
    }

    /// Gives one back.
    ///
    /// # Panics
    /// When none is taken.
    pub fn release(&self) {
        self.taken.release();
    }

    /// How many are taken.
    pub fn taken(&self) -> u64 {
        self.taken.get()
    }
}

/// A maximum of which 0 means none.
const fn unlimited(most: u64) -> u64 {
    if most == 0 { u64::MAX } else { most }
}

impl Current {
    /// Of a worker that has none yet.
    pub fn new(snapshot: Snapshot) -> Self {
        let sites = snapshot.sites.into_iter().map(Rc::new);
        let upstreams = snapshot.upstreams.into_iter().map(Rc::new);
        Self {
            sites: sites.collect(),
            upstreams: upstreams.collect(),
            still_open: snapshot.config.log.still_open,
        }
    }

    /// What a worker goes by from now on. An upstream that is what it was keeps its tables, and its policy goes on where
    /// it stands.
    #[must_use = "it is to be gone by"]
    pub fn next(&self, snapshot: Snapshot) -> Self {
        let kept = |new: Upstream| {
            let same = |old: &&Rc<Upstream>| old.is_same(&new);
            let old = self.upstreams.iter().find(same).map(Rc::clone);
            old.unwrap_or_else(|| Rc::new(new))
        };
        let sites = snapshot.sites.into_iter().map(Rc::new);
        Self {
            sites: sites.collect(),
            upstreams: snapshot.upstreams.into_iter().map(kept).collect(),
            still_open: snapshot.config.log.still_open,
        }
    }
}

#[cfg(test)]
mod tests;
