//! How a [`View`] of a proxy is made.

use super::Proxy;
use crate::config::{Backend, Config};
use crate::control::access_log::wall_clock;
use crate::control::room::{self, Ports, Room};
use crate::control::view::{BackendView, ListenerView, UpstreamView, View, WorkerView};
use crate::ring::Time;
use crate::upstream::Upstream;
use crate::worker::Stats;
use std::sync::Arc;

impl Proxy {
    /// Everything that can be seen, now.
    pub fn view(&self) -> View {
        let now = Time::read_clock();
        let upstreams: Vec<_> = self
            .snapshot
            .upstreams
            .iter()
            .map(|upstream| self.upstream_view(upstream, now))
            .collect();
        View {
            config: Arc::clone(&self.config),
            now,
            clock: wall_clock(now),
            started: self.began,
            configured: self.configured,
            phase: self.phase.get(),
            open: self.limits.open(),
            open_max: self.limits.open_max(),
            workers: self.worker_views(),
            listeners: self.listener_views(),
            room: Room::read(tightest(&self.config, &upstreams)),
            upstreams,
        }
    }

    fn worker_views(&self) -> Vec<WorkerView> {
        let workers = self.stats.iter().zip(&self.cpus).enumerate();
        let view = |(at, (stats, cpu)): (usize, (&Arc<Stats>, &usize))| WorkerView {
            cpu: *cpu,
            connections: self.board.connections(at),
            busy: self.board.busy(at),
            stats: Arc::clone(stats),
        };
        workers.map(view).collect()
    }

    fn listener_views(&self) -> Vec<ListenerView> {
        let addresses = |at: u16| {
            let bound = self.bound.iter().filter(move |(of, _)| *of == at);
            bound.map(|(_, address)| *address).collect()
        };
        let view = |at| ListenerView {
            addresses: addresses(at),
            connections: self.limits.open_of(at),
        };
        let places = self.config.listeners.iter().zip(0..);
        places.map(|(_, at)| view(at)).collect()
    }

    fn upstream_view(&self, upstream: &Upstream, now: Time) -> UpstreamView {
        let (settings, live) = (upstream.settings(), upstream.live());
        let view = |(backend, at): (&Backend, u16)| BackendView {
            admin: live.admin(at),
            standing: live.standing(at, now),
            health: live.health(at, now),
            connections: live.open(at),
            connections_total: live.opened(at),
            connect_failures_total: live.failed(at),
            ejections_total: live.ejections(at),
            probe: self.watches.view(&settings.name, &backend.name),
        };
        UpstreamView {
            fingerprint: upstream.fingerprint(),
            backends: settings.backends.iter().zip(0..).map(view).collect(),
        }
    }
}

/// The backend for which local ports are closest to running out.
fn tightest(config: &Config, upstreams: &[UpstreamView]) -> Ports {
    let each = config.upstreams.iter().zip(upstreams);
    room::tightest(each.flat_map(|(settings, seen)| {
        let sources = settings.source_addresses.len();
        let backends = seen.backends.iter();
        backends.map(move |backend| (backend.connections, sources))
    }))
}
