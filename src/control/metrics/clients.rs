//! Clients, by the listener that they came to.

use super::exposition::Samples;
use super::{Family, Kind};
use crate::conn::Cause;
use crate::control::view::View;
use crate::wire::{client_hello, http_head, proxy_protocol};
use crate::worker::{ListenerStats, TurnedAway};

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "ringway_connections_active",
        kind: Kind::Gauge,
        labels: &["listener"],
        help: "Client connections open now, over all workers.",
        samples: |view, out| {
            for (rules, seen) in view.listeners() {
                out.put([&rules.name], seen.connections);
            }
        },
    },
    Family {
        name: "ringway_connections_before",
        kind: Kind::Gauge,
        labels: &[],
        help: "Client connections that processes still have which this one took over from (SIGUSR2); in no other gauge.",
        samples: |view, out| out.put([], view.open_before),
    },
    Family {
        name: "ringway_connections_total",
        kind: Kind::Counter,
        labels: &["listener"],
        help: "Client connections that were let in.",
        samples: |view, out| by_listener(view, out, |it| it.accepted.get()),
    },
    Family {
        name: "ringway_connections_closed_total",
        kind: Kind::Counter,
        labels: &["listener", "reason"],
        help: "Client connections that ended, by the cause that the access log gives.",
        samples: |view, out| {
            for cause in Cause::ALL {
                by_reason(view, out, cause.word(), |it| it.closed(cause));
            }
        },
    },
    Family {
        name: "ringway_connections_rejected_total",
        kind: Kind::Counter,
        labels: &["listener", "reason"],
        help: "Clients that were turned away at accept, before they became connections.",
        samples: |view, out| {
            for why in TurnedAway::ALL {
                by_reason(view, out, why.word(), |it| it.turned_away(why));
            }
        },
    },
    Family {
        name: "ringway_connections_limit",
        kind: Kind::Gauge,
        labels: &[],
        help: "Client connections that this process can hold: max_connections, or what its descriptors allow.",
        samples: |view, out| out.put([], limit(view.open_max)),
    },
    Family {
        name: "ringway_connections_handed_over_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Clients that one worker accepted and a less loaded one took.",
        samples: |view, out| out.put([], view.total(|it| it.handed_over.get())),
    },
    Family {
        name: "ringway_accept_failures_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "Accepts that failed: for want of a descriptor (raise LimitNOFILE), or otherwise.",
        samples: |view, out| {
            let no_descriptor = view.total(|it| it.accept_no_descriptor.get());
            out.put(["no-descriptor"], no_descriptor);
            out.put(["other"], view.total(|it| it.accept_failed.get()));
        },
    },
    Family {
        name: "ringway_bytes_total",
        kind: Kind::Counter,
        labels: &["listener", "direction", "relay"],
        help: "Bytes received for the other side: up from clients, down from backends; copied by the process, spliced inside the kernel, or the plaintext of TLS.",
        samples: bytes,
    },
    Family {
        name: "ringway_peek_seconds",
        kind: Kind::Histogram,
        labels: &["listener"],
        help: "How long clients were listened to until it was known where they go: heads, ClientHellos, PROXY headers.",
        samples: |view, out| {
            for (at, name) in places(view) {
                let read = view
                    .counters()
                    .map(|stats| stats.listener(at).meter.peeks.read());
                out.distribution([name], &read.sum());
            }
        },
    },
    Family {
        name: "ringway_bad_heads_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "HTTP request heads that were refused, by what was wrong with them.",
        samples: |view, out| {
            for kind in http_head::Refusal::ALL {
                let count = view.total(|it| it.bad_heads[kind.index()].get());
                out.put([kind.word()], count);
            }
        },
    },
    Family {
        name: "ringway_bad_hellos_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "TLS ClientHellos that were refused, by what was wrong with them.",
        samples: |view, out| {
            for kind in client_hello::Refusal::ALL {
                let count = view.total(|it| it.bad_hellos[kind.index()].get());
                out.put([kind.word()], count);
            }
        },
    },
    Family {
        name: "ringway_bad_proxy_headers_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "PROXY protocol headers that were refused, by what was wrong with them.",
        samples: |view, out| {
            for kind in proxy_protocol::Refusal::ALL {
                let count = view.total(|it| it.bad_proxy_headers[kind.index()].get());
                out.put([kind.word()], count);
            }
        },
    },
    Family {
        name: "ringway_access_log_dropped_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Access log lines that were lost because their writer was slower than connections ended.",
        samples: |view, out| out.put([], view.total(|it| it.records_dropped.get())),
    },
];

/// One of a listener's numbers.
type Count = fn(&ListenerStats) -> u64;

fn bytes(view: &View, out: &mut Samples<'_>) {
    let ways: [(&str, &str, Count); 6] = [
        ("up", "copy", |it| it.meter.up.copied.get()),
        ("up", "splice", |it| it.meter.up.spliced.get()),
        ("up", "tls", |it| it.meter.up.sealed.get()),
        ("down", "copy", |it| it.meter.down.copied.get()),
        ("down", "splice", |it| it.meter.down.spliced.get()),
        ("down", "tls", |it| it.meter.down.sealed.get()),
    ];
    for (at, name) in places(view) {
        for (direction, relay, count) in ways {
            out.put([name, direction, relay], sum(view, at, count));
        }
    }
}

fn by_listener(view: &View, out: &mut Samples<'_>, count: impl Fn(&ListenerStats) -> u64) {
    for (at, name) in places(view) {
        out.put([name], sum(view, at, &count));
    }
}

fn by_reason(
    view: &View,
    out: &mut Samples<'_>,
    reason: &str,
    count: impl Fn(&ListenerStats) -> u64,
) {
    for (at, name) in places(view) {
        out.put([name, reason], sum(view, at, &count));
    }
}

/// The number and name of each listener.
fn places(view: &View) -> impl Iterator<Item = (u16, &str)> {
    let all = view.listeners();
    all.map(|(rules, seen)| (seen.number, rules.name.as_str()))
}

/// Of one listener, over all workers.
fn sum(view: &View, at: u16, count: impl Fn(&ListenerStats) -> u64) -> u64 {
    view.total(|stats| count(stats.listener(at)))
}

/// A limit that may be none.
#[expect(clippy::cast_precision_loss, reason = "a limit is not counted on")]
pub(super) fn limit(limit: u64) -> f64 {
    if limit == u64::MAX {
        f64::INFINITY
    } else {
        limit as f64
    }
}
