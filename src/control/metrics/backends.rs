//! Backends, by upstream and name.

use super::exposition::{Number, Samples};
use super::{Family, Kind};
use crate::config::AdminState;
use crate::control::ports::Ports;
use crate::control::view::{BackendView, View};
use crate::upstream::DialFailure;
use crate::upstream::health::State;

const LABELS: &[&str] = &["upstream", "backend"];

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "ringway_backend_up",
        kind: Kind::Gauge,
        labels: LABELS,
        help: "1 if probes and dials find the backend well, 0 if not; whatever the operator wants of it.",
        samples: |view, out| each(view, out, |it| it.health == State::Up),
    },
    Family {
        name: "ringway_backend_state",
        kind: Kind::Gauge,
        labels: &["upstream", "backend", "state"],
        help: "1 for what the operator wants of the backend, 0 for what not: ready, drain, maint.",
        samples: |view, out| {
            let words = [
                (AdminState::Ready, "ready"),
                (AdminState::Drain, "drain"),
                (AdminState::Maint, "maint"),
            ];
            for (upstream, backend, seen) in view.backends() {
                for (state, word) in words {
                    out.put([&upstream.name, &backend.name, word], seen.admin == state);
                }
            }
        },
    },
    Family {
        name: "ringway_backend_weight",
        kind: Kind::Gauge,
        labels: LABELS,
        help: "The backend's share relative to the others of its upstream.",
        samples: |view, out| {
            for (upstream, backend, _) in view.backends() {
                out.put([&upstream.name, &backend.name], u64::from(backend.weight));
            }
        },
    },
    Family {
        name: "ringway_backend_connections_active",
        kind: Kind::Gauge,
        labels: LABELS,
        help: "Connections open to the backend, dials in flight included.",
        samples: |view, out| each(view, out, |it| it.connections),
    },
    Family {
        name: "ringway_backend_connections_total",
        kind: Kind::Counter,
        labels: LABELS,
        help: "Connections that were dialed to the backend, whatever came of them.",
        samples: |view, out| each(view, out, |it| it.connections_total),
    },
    Family {
        name: "ringway_backend_connect_seconds",
        kind: Kind::Histogram,
        labels: LABELS,
        help: "How long dials of the backend took that succeeded.",
        samples: |view, out| {
            for (upstream, backend, seen) in view.backends() {
                out.distribution([&upstream.name, &backend.name], &seen.connects);
            }
        },
    },
    Family {
        name: "ringway_backend_connect_failures_total",
        kind: Kind::Counter,
        labels: &["upstream", "backend", "reason"],
        help: "Dials of the backend that failed; with reason port or resource for want of something on this machine.",
        samples: |view, out| {
            for (upstream, backend, seen) in view.backends() {
                for (failure, count) in DialFailure::ALL.into_iter().zip(seen.connect_failures) {
                    out.put([&upstream.name, &backend.name, failure.word()], count);
                }
            }
        },
    },
    Family {
        name: "ringway_source_ports_used",
        kind: Kind::Gauge,
        labels: LABELS,
        help: "Local ports in use towards the backend's address, by all upstreams that have it.",
        samples: |view, out| ports(view, out, |it| it.used),
    },
    Family {
        name: "ringway_source_ports_limit",
        kind: Kind::Gauge,
        labels: LABELS,
        help: "Local ports that there are towards the backend: ip_local_port_range, times source_addresses of its family.",
        samples: |view, out| ports(view, out, |it| it.limit),
    },
    Family {
        name: "ringway_backend_ejections_total",
        kind: Kind::Counter,
        labels: LABELS,
        help: "How often dials that failed in a row (max_fails) took the backend out.",
        samples: |view, out| each(view, out, |it| it.ejections_total),
    },
    Family {
        name: "ringway_backend_probes_total",
        kind: Kind::Counter,
        labels: &["upstream", "backend", "result"],
        help: "Probes of the backend that were made.",
        samples: |view, out| {
            for (upstream, backend, seen) in view.backends() {
                let Some(probe) = &seen.probe else { continue };
                let (upstream, backend) = (&upstream.name, &backend.name);
                out.put([upstream, backend, "passed"], probe.passed_total);
                out.put([upstream, backend, "failed"], probe.failed_total);
            }
        },
    },
    Family {
        name: "ringway_backend_probe_seconds",
        kind: Kind::Gauge,
        labels: LABELS,
        help: "How long the last probe of the backend took.",
        samples: |view, out| {
            for (upstream, backend, seen) in view.backends() {
                let Some(last) = seen.probe.as_ref().and_then(|it| it.last.as_ref()) else {
                    continue;
                };
                let seconds = last.duration.as_secs_f64();
                out.put([&upstream.name, &backend.name], seconds);
            }
        },
    },
    Family {
        name: "ringway_hash_fingerprint",
        kind: Kind::Gauge,
        labels: &["upstream", "fingerprint"],
        help: "1, labelled with the hash table's fingerprint: boxes that send a client to the same backend have the same one.",
        samples: |view, out| {
            for (upstream, seen) in view.upstreams() {
                if let Some(fingerprint) = seen.fingerprint {
                    out.put([&upstream.name, &format!("{fingerprint:016x}")], 1);
                }
            }
        },
    },
];

fn ports(view: &View, out: &mut Samples<'_>, number: impl Fn(&Ports) -> u64) {
    for ((upstream, backend, _), ports) in view.backends().zip(view.ports()) {
        out.put([&upstream.name, &backend.name], number(&ports));
    }
}

fn each<N: Into<Number>>(view: &View, out: &mut Samples<'_>, number: impl Fn(&BackendView) -> N) {
    for (upstream, backend, seen) in view.backends() {
        out.put([&upstream.name, &backend.name], number(seen));
    }
}
