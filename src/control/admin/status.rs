//! `/status.json`: everything that the status page, `ringway status` and `ringway top` show. Names are a contract: they may be
//! added to, never changed.

use super::connections::seconds;
use crate::config::{self, InitialHealth};
use crate::conn::Cause;
use crate::control::history::{self, History, Sample};
use crate::control::probe::ProbeView;
use crate::control::view::{BackendView, ListenerView, UpstreamView, View, WorkerView};
use crate::upstream::health::Streak;
use crate::wire::banner::Reason;
use crate::worker::{Stats, TurnedAway};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Serialize)]
pub(super) struct Status<'a> {
    version: &'static str,
    pid: u32,
    uptime_seconds: f64,
    started_at: String,
    config_age_seconds: f64,
    draining: bool,
    phase: &'static str,
    connections: u64,
    connections_before: u64,
    limits: Limits,
    closed: BTreeMap<&'static str, u64>,
    rejected: BTreeMap<&'static str, u64>,
    workers: Vec<Worker>,
    listeners: Vec<Listener<'a>>,
    upstreams: Vec<Upstream<'a>>,
}

/// What is used and what there is.
#[derive(Serialize)]
struct Used {
    used: u64,
    limit: Option<u64>,
}

#[derive(Serialize)]
struct Limits {
    connections: Used,
    descriptors: Used,
    source_ports: Used,
    buffers: Used,
    memlock_bytes: Option<u64>,
}

#[derive(Serialize)]
struct Worker {
    id: usize,
    cpu: usize,
    connections: u64,
    accepted_total: u64,
    busy_ratio: f64,
    relay: Relay,
    bytes_up: u64,
    bytes_down: u64,
    handed_over_total: u64,
    turns_total: u64,
    buffers: u64,
    buffers_free: u64,
}

/// Bytes, both ways together.
#[derive(Serialize)]
struct Relay {
    copy: u64,
    splice: u64,
}

#[derive(Serialize)]
struct Listener<'a> {
    name: &'a str,
    addresses: &'a [SocketAddr],
    connections: u64,
    max_connections: usize,
    accepted_total: u64,
    rejected_total: u64,
    bytes_up: u64,
    bytes_down: u64,
}

#[derive(Serialize)]
struct Upstream<'a> {
    name: &'a str,
    balance: &'static str,
    fingerprint: Option<String>,
    removed_by_admin: &'a [String],
    backends: Vec<Backend<'a>>,
}

#[derive(Serialize)]
struct Backend<'a> {
    name: &'a str,
    address: String,
    admin: &'static str,
    changed_by_admin: Vec<&'static str>,
    health: &'static str,
    standing: &'static str,
    weight: u16,
    backup: bool,
    max_connections: usize,
    connections: u64,
    /// Their way out, if they are asked to leave.
    leaving: Option<Leaving>,
    connections_total: u64,
    connect_failures_total: u64,
    ejections_total: u64,
    /// The median of all dials.
    connect_us: Option<u64>,
    bytes_up: u64,
    bytes_down: u64,
    probe: Option<Probe>,
}

#[derive(Serialize)]
struct Leaving {
    connections_at_first: u64,
    over_seconds: f64,
    seconds_left: f64,
}

#[derive(Serialize)]
struct Probe {
    #[serde(rename = "type")]
    probe_type: &'static str,
    /// Passes in a row, as nginx_upstream_check_module's page counts them.
    rise: u64,
    /// Failures in a row.
    fall: u64,
    rise_needed: u32,
    fall_needed: u32,
    interval_seconds: f64,
    initial: &'static str,
    last_result: Option<&'static str>,
    last_error: Option<String>,
    last_duration_us: Option<u64>,
    last_seconds_ago: Option<f64>,
    since_seconds: f64,
    passed_total: u64,
    failed_total: u64,
}

#[derive(Serialize)]
pub(super) struct Past {
    interval_seconds: u64,
    samples: Vec<Sample>,
}

/// The last quarter of an hour.
pub(super) fn history(history: &History) -> Past {
    Past {
        interval_seconds: history::interval_seconds(),
        samples: history.samples(),
    }
}

/// Everything now.
pub(super) fn of(view: &View) -> Status<'_> {
    Status {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        uptime_seconds: seconds(view.uptime()),
        started_at: humantime::format_rfc3339_seconds(view.started_at()).to_string(),
        config_age_seconds: seconds(view.config_age()),
        draining: view.phase.is_draining(),
        phase: view.phase.word(),
        connections: view.open,
        connections_before: view.open_before,
        limits: limits(view),
        closed: by_word(Cause::ALL, Cause::word, |cause| {
            view.total(|stats| stats.closed(cause))
        }),
        rejected: by_word(TurnedAway::ALL, TurnedAway::word, |why| {
            view.total(|stats| stats.turned_away(why))
        }),
        workers: view.workers.iter().enumerate().map(worker).collect(),
        listeners: view.listeners().map(|each| listener(view, each)).collect(),
        upstreams: view.upstreams().map(|each| upstream(view, each)).collect(),
    }
}

/// Counts that are not zero, by the words of the access log.
fn by_word<T: Copy, const N: usize>(
    all: [T; N],
    word: impl Fn(T) -> &'static str,
    count: impl Fn(T) -> u64,
) -> BTreeMap<&'static str, u64> {
    let counted = all.into_iter().map(|each| (word(each), count(each)));
    counted.filter(|(_, count)| *count > 0).collect()
}

fn limits(view: &View) -> Limits {
    let limited = |limit: u64| (limit != u64::MAX).then_some(limit);
    let room = &view.room;
    let buffers = view.total(|stats| stats.buffers.get());
    let free = view.total(|stats| stats.buffers_free.get());
    Limits {
        connections: Used {
            used: view.open,
            limit: limited(view.open_max),
        },
        descriptors: Used {
            used: room.descriptors_used,
            limit: limited(room.descriptors_limit),
        },
        source_ports: Used {
            used: room.ports.used,
            limit: limited(room.ports.limit),
        },
        buffers: Used {
            used: buffers.saturating_sub(free),
            limit: limited(buffers),
        },
        memlock_bytes: limited(room.memlock_limit),
    }
}

fn worker((id, seen): (usize, &WorkerView)) -> Worker {
    let stats = &seen.stats;
    Worker {
        id,
        cpu: seen.cpu,
        connections: seen.connections,
        accepted_total: stats.accepted.get(),
        busy_ratio: f64::from(seen.busy) / 1000.0,
        relay: Relay {
            copy: stats.sum(|of| of.meter.up.copied.get() + of.meter.down.copied.get()),
            splice: stats.sum(|of| of.meter.up.spliced.get() + of.meter.down.spliced.get()),
        },
        bytes_up: stats.bytes_up(),
        bytes_down: stats.bytes_down(),
        handed_over_total: stats.handed_over.get(),
        turns_total: stats.turns.get(),
        buffers: stats.buffers.get(),
        buffers_free: stats.buffers_free.get(),
    }
}

fn listener<'a>(
    view: &View,
    (rules, seen): (&'a config::Listener, &'a ListenerView),
) -> Listener<'a> {
    let total = |count: fn(&crate::worker::ListenerStats) -> u64| {
        view.total(|stats: &Stats| count(stats.listener(seen.number)))
    };
    Listener {
        name: &rules.name,
        addresses: &seen.addresses,
        connections: seen.connections,
        max_connections: rules.max_connections,
        accepted_total: total(|of| of.accepted.get()),
        rejected_total: total(crate::worker::ListenerStats::turned_away_total),
        bytes_up: total(|of| of.meter.up.total()),
        bytes_down: total(|of| of.meter.down.total()),
    }
}

fn upstream<'a>(
    view: &'a View,
    (settings, seen): (&'a config::Upstream, &'a UpstreamView),
) -> Upstream<'a> {
    let backends = settings.backends.iter().zip(&seen.backends);
    Upstream {
        name: &settings.name,
        balance: settings.balance.word(),
        fingerprint: seen.fingerprint.map(|print| format!("{print:016x}")),
        removed_by_admin: &seen.removed_by_admin,
        backends: backends
            .map(|(backend, seen)| self::backend(view, settings, backend, seen))
            .collect(),
    }
}

fn backend<'a>(
    view: &View,
    upstream: &config::Upstream,
    settings: &'a config::Backend,
    seen: &BackendView,
) -> Backend<'a> {
    let probed = upstream.probe.as_ref().zip(seen.probe.as_ref());
    Backend {
        name: &settings.name,
        address: settings.address.to_string(),
        admin: seen.admin.word(),
        changed_by_admin: seen.by_admin.iter().map(|it| it.word()).collect(),
        health: seen.health.word(),
        standing: seen.standing.word(),
        weight: settings.weight,
        backup: settings.backup,
        max_connections: settings.max_connections,
        connections: seen.connections,
        leaving: seen.leaving.map(|leave| Leaving {
            connections_at_first: leave.from,
            over_seconds: seconds(leave.over),
            seconds_left: seconds(leave.left),
        }),
        connections_total: seen.connections_total,
        connect_failures_total: seen.connect_failures_total,
        ejections_total: seen.ejections_total,
        connect_us: seen.connects.quantile(0.5).map(micros),
        bytes_up: seen.bytes_up,
        bytes_down: seen.bytes_down,
        probe: probed.map(|(settings, seen)| probe(view, settings, seen)),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn probe(view: &View, settings: &config::Probe, seen: &ProbeView) -> Probe {
    let (rise, fall) = match seen.streak {
        Streak::None => (0, 0),
        Streak::Passed(count) => (count, 0),
        Streak::Failed(count) => (0, count),
    };
    let last = seen.last.as_ref();
    Probe {
        probe_type: settings.exchange.probe_type().word(),
        rise,
        fall,
        rise_needed: settings.rise,
        fall_needed: settings.fall,
        interval_seconds: seconds(settings.interval),
        initial: match settings.initial {
            InitialHealth::Up => "up",
            InitialHealth::Down => "down",
        },
        last_result: last.map(|last| last.verdict.word()),
        last_error: seen.error().map(Reason::as_str).map(str::to_owned),
        last_duration_us: last.map(|last| micros(last.duration)),
        last_seconds_ago: last.map(|last| seconds(view.now - last.at)),
        since_seconds: seconds(view.now - seen.since),
        passed_total: seen.passed_total,
        failed_total: seen.failed_total,
    }
}
