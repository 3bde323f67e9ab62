//! How a [`View`] of a proxy is made.

use super::Proxy;
use crate::config::Backend;
use crate::control::access_log::wall_clock;
use crate::control::by_admin::{self, Changed};
use crate::control::ports::{self, Towards};
use crate::control::room::Room;
use crate::control::state::State;
use crate::control::view::{BackendView, ListenerView, UpstreamView, View, WorkerView};
use crate::ring::Time;
use crate::upstream::{DialFailure, Member, Upstream};
use crate::worker::Stats;
use std::sync::Arc;

impl Proxy {
    /// Everything that can be seen, now.
    pub fn view(&self) -> View {
        let now = Time::read_clock();
        let state = self.shared.state.borrow();
        let config = Arc::clone(&state.snapshot.config);
        let upstreams: Vec<_> = state
            .snapshot
            .upstreams
            .iter()
            .map(|upstream| self.upstream_view(upstream, now))
            .collect();
        View {
            now,
            clock: wall_clock(now),
            started: self.began,
            configured: state.since,
            phase: self.phase.get(),
            open: self.limits.open(),
            open_max: self.limits.open_max(),
            open_before: self.open_before(),
            before: Arc::clone(&self.inherited.counted),
            workers: self.worker_views(),
            listeners: listener_views(&state),
            certificates: state.snapshot.tls.expiries(),
            room: Room::read(ports::tightest(&towards(&state))),
            upstreams,
            config,
            reloads: self.reloads.get(),
        }
    }

    /// What an admin has changed that the file does not say.
    pub(in crate::control) fn changed_by_admin(&self) -> Vec<Changed> {
        let state = self.shared.state.borrow();
        by_admin::all(&self.file.borrow(), &state.snapshot.upstreams)
    }

    /// Every backend, as far as local ports count.
    pub(in crate::control) fn towards(&self) -> Vec<Towards> {
        towards(&self.shared.state.borrow())
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

    fn upstream_view(&self, upstream: &Upstream, now: Time) -> UpstreamView {
        let settings = upstream.settings();
        let file = self.file.borrow();
        let written = by_admin::written_of(&file, &settings.name);
        let view = |(its, backend): (&Backend, &Arc<Member>)| BackendView {
            by_admin: by_admin::of(written, its, backend.admin()),
            bytes_up: backend.bytes().0,
            bytes_down: backend.bytes().1,
            admin: backend.admin(),
            standing: backend.standing(now),
            health: backend.health(now),
            connections: backend.open(),
            leaving: self.leaving.view(backend, now),
            connections_total: backend.opened(),
            connect_failures_total: backend.failed(),
            connect_failures: DialFailure::ALL.map(|failure| backend.failed_by(failure)),
            connects: backend.connects(),
            ejections_total: backend.ejections(),
            probe: self.shared.watches.view(&settings.name, backend.name()),
        };
        let backends = settings.backends.iter().zip(upstream.live().members());
        UpstreamView {
            fingerprint: upstream.fingerprint(),
            removed_by_admin: by_admin::removed(written, &settings.backends),
            backends: backends.map(view).collect(),
        }
    }
}

fn listener_views(state: &State) -> Vec<ListenerView> {
    let view = |place| {
        let number = state.snapshot.number_of(place);
        let its = state.bound().filter(|(of, _)| *of == number);
        let site = &state.snapshot.sites[usize::from(number)];
        ListenerView {
            number,
            addresses: its.map(|(_, address)| address).collect(),
            connections: site.seats.taken(),
        }
    };
    let places = 0..state.snapshot.config.listeners.len();
    places.map(view).collect()
}

/// Every backend, as far as local ports count.
fn towards(state: &State) -> Vec<Towards> {
    let each = state.snapshot.upstreams.iter().flat_map(|upstream| {
        let settings = upstream.settings();
        let backends = settings.backends.iter().zip(upstream.live().members());
        backends.filter_map(|(backend, live)| {
            Towards::new(
                settings,
                backend,
                (live.open(), live.failed_by(DialFailure::Port)),
            )
        })
    });
    each.collect()
}
