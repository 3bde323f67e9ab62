//! A named set of backends and how one is chosen: the upstream by a listener's routes, the backend by a hash of what is
//! known of the connection. And the snapshot that control hands to workers.

mod facts;
mod hashed;
pub mod health;
mod live;
mod pick;
mod tier;

pub use facts::Facts;
pub use hashed::Hashed;

use crate::balance::ip_hash::{Entry, Maglev};
use crate::config::{Backend, Balance, Config, HashKey, Upstream as Settings};
use std::net::IpAddr;
use std::sync::Arc;

/// Everything a worker needs to know, immutable. Each worker has a copy of its own; a connection keeps the one it
/// began with.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What the operator wrote.
    pub config: Arc<Config>,
    /// In the order of the configuration.
    pub upstreams: Vec<Upstream>,
}

impl Snapshot {
    /// Builds the tables.
    pub fn new(config: Arc<Config>) -> Self {
        let upstreams = (0..config.upstreams.len())
            .map(|at| Upstream::new(&config, at))
            .collect();
        Self { config, upstreams }
    }
}

/// An upstream: its settings and its table.
#[derive(Clone, Debug)]
pub struct Upstream {
    config: Arc<Config>,
    at: usize,
    table: Maglev,
}

impl Upstream {
    fn new(config: &Arc<Config>, at: usize) -> Self {
        let backends = &config.upstreams[at].backends;
        let entries: Vec<_> = backends
            .iter()
            .map(|b| Entry {
                name: &b.name,
                weight: b.weight,
            })
            .collect();
        Self {
            config: Arc::clone(config),
            at,
            table: Maglev::build(&entries),
        }
    }

    /// What the operator wrote.
    pub fn settings(&self) -> &Settings {
        &self.config.upstreams[self.at]
    }

    /// A backend by its place.
    pub fn backend(&self, at: u16) -> &Backend {
        &self.settings().backends[usize::from(at)]
    }

    /// The key of a client none of whose bytes were looked at.
    pub fn key(&self, client: IpAddr) -> u64 {
        self.key_of(&Facts::of_client(client))
    }

    /// The key of a connection, as its policy has it.
    pub fn key_of(&self, facts: &Facts<'_>) -> u64 {
        Hashed::first(self.hash_keys(), facts).hash(self.settings().hash_prefix)
    }

    /// What its policy hashes: the first of these that a connection has. Policies that hash nothing have none.
    pub fn hash_keys(&self) -> &[HashKey] {
        match self.settings().balance {
            Balance::IpHash => &[HashKey::ClientIp],
            Balance::Hash => &self.settings().hash_key,
            Balance::RoundRobin | Balance::LeastConn | Balance::RandomTwo => &[],
        }
    }

    /// The backend for a key, leaving out those already tried.
    pub fn pick(&self, key: u64, tried: &[u16]) -> Option<u16> {
        let mut places = self.table.walk(key).filter_map(|at| u16::try_from(at).ok());
        places.find(|at| !tried.contains(at))
    }

    /// A number that two boxes share exactly when they choose alike.
    pub fn fingerprint(&self) -> u64 {
        self.table.fingerprint()
    }
}
