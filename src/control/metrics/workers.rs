//! Workers, their rings and their relays.

use super::exposition::{Number, Samples};
use super::{Family, Kind};
use crate::control::view::{View, WorkerView};
use crate::ring::Lane;
use std::time::Duration;

const WORKER: &[&str] = &["worker"];

/// The side that is held back under each direction's name.
const DIRECTIONS: [(&str, Lane); 2] = [("up", Lane::A), ("down", Lane::B)];

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "ringway_worker_connections",
        kind: Kind::Gauge,
        labels: WORKER,
        help: "Client connections that the worker has, or has been handed.",
        samples: |view, out| each(view, out, |worker| worker.connections),
    },
    Family {
        name: "ringway_worker_busy_ratio",
        kind: Kind::Gauge,
        labels: WORKER,
        help: "Share of the last second that the worker's thread was on its CPU; near 1 it is at its limit, or spins.",
        samples: |view, out| each(view, out, |worker| f64::from(worker.busy) / 1000.0),
    },
    Family {
        name: "ringway_worker_loop_seconds",
        kind: Kind::Histogram,
        labels: WORKER,
        help: "How long a turn of the worker's loop took to handle what its wake-up had brought; one turn in 16 is timed.",
        samples: |view, out| {
            for (number, worker) in view.workers.iter().enumerate() {
                out.distribution([&number.to_string()], &worker.stats.loops.read());
            }
        },
    },
    Family {
        name: "ringway_worker_turns_total",
        kind: Kind::Counter,
        labels: WORKER,
        help: "Turns of the worker's loop, each one entry into the kernel.",
        samples: |view, out| each(view, out, |worker| worker.stats.turns.get()),
    },
    Family {
        name: "ringway_backpressure_active",
        kind: Kind::Gauge,
        labels: &["direction"],
        help: "Directions that are not read now because the other side takes nothing: up waits for a backend, down for a client.",
        samples: |view, out| {
            for (direction, source) in DIRECTIONS {
                out.put([direction], view.total(|it| it.pressure.held(source)));
            }
        },
    },
    Family {
        name: "ringway_backpressure_seconds_total",
        kind: Kind::Counter,
        labels: &["direction"],
        help: "How long such directions were not read, added up over connections.",
        samples: |view, out| {
            for (direction, source) in DIRECTIONS {
                let nanos = view.total(|it| it.pressure.nanos(source));
                out.put([direction], Duration::from_nanos(nanos).as_secs_f64());
            }
        },
    },
    Family {
        name: "ringway_relay_switches_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Changes between copying and splicing, of connections that have ended.",
        samples: |view, out| out.put([], view.total(|it| it.switches.get())),
    },
    Family {
        name: "ringway_relay_no_pipe_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Splices that found no free pipe and were copied.",
        samples: |view, out| out.put([], view.total(|it| it.pressure.no_pipe.get())),
    },
    Family {
        name: "ringway_ring_buffers",
        kind: Kind::Gauge,
        labels: WORKER,
        help: "Receive buffers of the worker.",
        samples: |view, out| each(view, out, |worker| worker.stats.buffers.get()),
    },
    Family {
        name: "ringway_ring_buffers_free",
        kind: Kind::Gauge,
        labels: WORKER,
        help: "Receive buffers of the worker that hold nothing.",
        samples: |view, out| each(view, out, |worker| worker.stats.buffers_free.get()),
    },
    Family {
        name: "ringway_ring_spilled_bytes",
        kind: Kind::Gauge,
        labels: WORKER,
        help: "Bytes for readers that stall which were moved out of the worker's receive buffers.",
        samples: |view, out| each(view, out, |worker| worker.stats.spilled_bytes.get()),
    },
    Family {
        name: "ringway_ring_enobufs_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Receives that ended for want of a buffer; the bytes wait in the socket.",
        samples: |view, out| out.put([], view.total(|it| it.pressure.no_buffer.get())),
    },
    Family {
        name: "ringway_ring_cq_overflow_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Turns that found the completion queue overflown.",
        samples: |view, out| out.put([], view.total(|it| it.overflows.get())),
    },
    Family {
        name: "ringway_ring_stale_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Completions that came after the connection they were for had ended.",
        samples: |view, out| out.put([], view.total(|it| it.stale.get())),
    },
];

fn each<N: Into<Number>>(view: &View, out: &mut Samples<'_>, number: impl Fn(&WorkerView) -> N) {
    for (at, worker) in view.workers.iter().enumerate() {
        out.put([&at.to_string()], number(worker));
    }
}
