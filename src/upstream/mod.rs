//! A named set of backends and how one is chosen: the upstream by a listener's routes, the backend by the upstream's
//! policy among those that may get a connection. And the [`Snapshot`] that control hands to workers.

mod facts;
mod hashed;
pub mod health;
mod live;
mod pick;
mod snapshot;
mod tier;
mod traffic;

pub use facts::Facts;
pub use hashed::Hashed;
pub use live::{DialFailure, Live, Member, Standing, Terms};
pub use snapshot::{Current, Seats, Site, Snapshot};
pub use traffic::Traffic;

use crate::config::{Backend, Balance, HashKey, Upstream as Settings};
use crate::ring::Time;
use crate::tls::Client;
use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tier::Tier;

/// An upstream: its settings, its tables, and what is known of its backends.
#[derive(Clone, Debug)]
pub struct Upstream {
    name: Arc<str>,
    settings: Arc<Settings>,
    ordinary: Tier,
    /// Those that only get what no ordinary one may have, if there are any.
    backup: Option<Tier>,
    live: Arc<Live>,
    /// What is spoken to its backends with, if TLS is.
    tls: Option<Arc<Client>>,
    /// Which of `source_addresses` is next. Each copy goes round on its own.
    turn: Cell<usize>,
    /// Whose copy this is.
    worker: u16,
}

impl Upstream {
    fn new(settings: &Settings, tls: Option<Arc<Client>>) -> Self {
        let name = settings.name.as_str().into();
        let live = Live::new(&name, settings);
        Self::with(name, settings, Arc::new(live), tls)
    }

    fn with(
        name: Arc<str>,
        settings: &Settings,
        live: Arc<Live>,
        tls: Option<Arc<Client>>,
    ) -> Self {
        let places = |backup: bool| -> Box<[u16]> {
            let all = settings.backends.iter().zip(0..);
            // A name that nobody has resolved yet can be dialed by nobody.
            all.filter(|(backend, _)| backend.address.socket().is_some())
                .filter(|(backend, _)| backend.backup == backup)
                .map(|(_, at)| at)
                .collect()
        };
        let backups = places(true);
        Self {
            name,
            ordinary: Tier::new(settings, places(false)),
            backup: (!backups.is_empty()).then(|| Tier::new(settings, backups)),
            live,
            tls,
            turn: Cell::new(0),
            worker: 0,
            settings: Arc::new(settings.clone()),
        }
    }

    /// The same with other settings: itself if they are not. Backends that it still has keep what is known of them.
    fn next(&self, settings: &Settings, tls: Option<Arc<Client>>, now: Time) -> Self {
        if *self.settings == *settings {
            return self.clone();
        }
        let live = self.live.next(&self.name, (&self.settings, settings), now);
        Self::with(Arc::clone(&self.name), settings, Arc::new(live), tls)
    }

    /// Whether both are copies of one.
    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.live, &other.live)
    }

    fn start(&mut self, worker: u16) {
        self.worker = worker;
        self.turn.set(worker.into());
        self.ordinary.start(worker);
        if let Some(backup) = &mut self.backup {
            backup.start(worker);
        }
    }

    /// Unique among upstreams.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What the operator wrote.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A backend by its place.
    pub fn backend(&self, at: u16) -> &Backend {
        &self.settings().backends[usize::from(at)]
    }

    /// What is known of its backends, shared by all copies.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// What is spoken to its backends with, if TLS is.
    pub fn tls(&self) -> Option<&Arc<Client>> {
        self.tls.as_ref()
    }

    /// Where this copy's worker counts the bytes of a backend.
    pub fn traffic(&self, backend: &Member) -> Arc<Traffic> {
        backend.traffic(self.worker)
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

    /// The backend that a key belongs to as long as it may get connections; only where a hash decides.
    pub fn owner(&self, key: u64) -> Option<u16> {
        self.ordinary.owner(key)
    }

    /// The local address to dial a backend from: those of its family in turn, so that each of them lends its ports
    /// evenly. `None` leaves it to the system.
    pub fn source_for(&self, backend: SocketAddr) -> Option<SocketAddr> {
        let count = self.sources_for(backend);
        let turn = self.turn.replace(self.turn.get().wrapping_add(1));
        let ip = self.sources(backend).nth(turn.checked_rem(count)?)?;
        Some(SocketAddr::new(*ip, 0))
    }

    /// How many such addresses there are.
    pub fn sources_for(&self, backend: SocketAddr) -> usize {
        self.sources(backend).count()
    }

    fn sources(&self, backend: SocketAddr) -> impl Iterator<Item = &IpAddr> {
        let all = self.settings().source_addresses.iter();
        all.filter(move |ip| ip.is_ipv4() == backend.is_ipv4())
    }

    /// A dial of one of its backends failed.
    pub fn on_failed(&self, backend: &Member, failure: DialFailure, now: Time) {
        backend.on_failed(failure, self.terms(), now);
    }

    /// A number that two boxes share exactly when a hash decides and they choose alike.
    pub fn fingerprint(&self) -> Option<u64> {
        let ordinary = self.ordinary.fingerprint()?;
        let backup = self.backup.as_ref().and_then(Tier::fingerprint);
        Some(backup.map_or(ordinary, |backup| ordinary ^ backup.rotate_left(1)))
    }

    fn terms(&self) -> Terms {
        let settings = self.settings();
        Terms {
            max_fails: settings.max_fails,
            fail_timeout: settings.fail_timeout,
            slow_start: settings.slow_start,
        }
    }

    /// In the order in which they get connections.
    fn tiers(&self) -> impl Iterator<Item = &Tier> + Clone {
        std::iter::once(&self.ordinary).chain(&self.backup)
    }
}
