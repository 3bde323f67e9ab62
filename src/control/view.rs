//! A look at the running proxy: what metrics, the status page and the admin routes read. Made on the control thread for each
//! request from what workers count anyway, so that looking costs no worker anything; plain values, so that a test makes
//! one of any size. Those who show it decide nothing: whoever wants a change sends a command.

use super::by_admin::Change;
use super::probe::ProbeView;
use super::reload::Reloads;
use super::room::Room;
use crate::base::Distribution;
use crate::config::{self, AdminState, Config};
use crate::ring::Time;
use crate::tls::Expiry;
use crate::upstream::health::State;
use crate::upstream::{DialFailure, Standing};
use crate::worker::Stats;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Where the process stands between its start and its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It takes clients.
    Serving,
    /// It still takes clients, but says that it is about to stop (`process.drain_delay`).
    Leaving,
    /// It takes no clients; those that it has are ended one after the other.
    Draining,
}

impl Phase {
    /// The word for status.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Leaving => "leaving",
            Self::Draining => "draining",
        }
    }

    /// Whether an end was asked for.
    pub const fn is_draining(self) -> bool {
        match self {
            Self::Serving => false,
            Self::Leaving | Self::Draining => true,
        }
    }
}

/// Everything at one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// The configuration in force, whose order the lists below have.
    pub config: Arc<Config>,
    /// When this was looked at.
    pub now: Time,
    /// The same by the calendar.
    pub clock: SystemTime,
    /// When the process began.
    pub started: Time,
    /// When the configuration came into force.
    pub configured: Time,
    /// Where it stands.
    pub phase: Phase,
    /// Connections open on all workers.
    pub open: u64,
    /// The most of them that there can be.
    pub open_max: u64,
    /// Those of processes that this one took over from, which drain.
    pub open_before: u64,
    /// What those have counted.
    pub before: Arc<Stats>,
    /// One for each worker.
    pub workers: Vec<WorkerView>,
    /// One for each of the configuration's listeners.
    pub listeners: Vec<ListenerView>,
    /// One for each of the configuration's upstreams.
    pub upstreams: Vec<UpstreamView>,
    /// One for each certificate of a listener, in use now.
    pub certificates: Vec<Expiry>,
    /// How far the limits of the machine are.
    pub room: Room,
    /// What reloads came to.
    pub reloads: Reloads,
}

/// A worker.
#[derive(Clone, Debug)]
pub struct WorkerView {
    /// The CPU that it is pinned to.
    pub cpu: usize,
    /// Connections that it has, or has been handed.
    pub connections: u64,
    /// How much of the last second its thread was on its CPU, per mille.
    pub busy: u32,
    /// What it counts.
    pub stats: Arc<Stats>,
}

/// A listener.
#[derive(Clone, Debug)]
pub struct ListenerView {
    /// Its number, which workers count it by.
    pub number: u16,
    /// Where it really listens: a port 0 of the configuration is the system's choice here.
    pub addresses: Vec<SocketAddr>,
    /// Connections open, over all workers.
    pub connections: u64,
}

/// An upstream.
#[derive(Clone, Debug)]
pub struct UpstreamView {
    /// Boxes that choose alike have the same one; only where a hash decides.
    pub fingerprint: Option<u64>,
    /// Backends of the file that an admin has removed.
    pub removed_by_admin: Vec<String>,
    /// One for each of the configuration's backends.
    pub backends: Vec<BackendView>,
}

/// A backend.
#[derive(Clone, Debug)]
pub struct BackendView {
    /// What the operator wants, now; the configuration has what was wanted first.
    pub admin: AdminState,
    /// What of it is not as in the file, because an admin wanted it so.
    pub by_admin: Vec<Change>,
    /// Whether it may get a connection, and if not, why.
    pub standing: Standing,
    /// What probes and dials say, whatever the operator wants.
    pub health: State,
    /// Connections open to it, dials included.
    pub connections: u64,
    /// How far they are on their way out, if they are.
    pub leaving: Option<Leave>,
    /// Connections that were ever dialed to it.
    pub connections_total: u64,
    /// Dials that failed, for a reason that is the backend's.
    pub connect_failures_total: u64,
    /// Dials that failed by reason, in the order of [`DialFailure::ALL`]: those that are no backend's fault too.
    pub connect_failures: [u64; DialFailure::ALL.len()],
    /// How long the dials took that succeeded.
    pub connects: Distribution,
    /// How often failed dials took it out.
    pub ejections_total: u64,
    /// Bytes from clients.
    pub bytes_up: u64,
    /// Bytes from it.
    pub bytes_down: u64,
    /// What is known from probes, if it is probed.
    pub probe: Option<ProbeView>,
}

/// Connections of a backend that are asked to leave, one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leave {
    /// How many there were.
    pub from: u64,
    /// Over how long.
    pub over: Duration,
    /// How much of that is left.
    pub left: Duration,
}

impl View {
    /// How long the process has run.
    pub fn uptime(&self) -> Duration {
        self.now - self.started
    }

    /// When the process began, by the calendar.
    pub fn started_at(&self) -> SystemTime {
        let began = self.clock.checked_sub(self.uptime());
        began.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// How old the configuration in force is.
    pub fn config_age(&self) -> Duration {
        self.now - self.configured
    }

    /// Each listener's rules with what is seen of it.
    pub fn listeners(&self) -> impl Iterator<Item = (&config::Listener, &ListenerView)> {
        self.config.listeners.iter().zip(&self.listeners)
    }

    /// Each upstream's settings with what is seen of it.
    pub fn upstreams(&self) -> impl Iterator<Item = (&config::Upstream, &UpstreamView)> {
        self.config.upstreams.iter().zip(&self.upstreams)
    }

    /// Every backend, with the settings of its upstream and its own.
    pub fn backends(
        &self,
    ) -> impl Iterator<Item = (&config::Upstream, &config::Backend, &BackendView)> {
        self.upstreams().flat_map(|(upstream, seen)| {
            let backends = upstream.backends.iter().zip(&seen.backends);
            backends.map(move |(backend, seen)| (upstream, backend, seen))
        })
    }

    /// Each worker's counters, and those of the processes that this one took over from.
    pub fn counters(&self) -> impl Iterator<Item = &Stats> {
        let workers = self.workers.iter().map(|worker| &worker.stats);
        workers.chain([&self.before]).map(Arc::as_ref)
    }

    /// A sum over all of them.
    pub fn total(&self, counted: impl Fn(&Stats) -> u64) -> u64 {
        self.counters().map(counted).fold(0, u64::wrapping_add)
    }
}
