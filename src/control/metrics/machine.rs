//! The process as a whole: what it runs, and how far it is from the limits of its machine.

use super::clients::limit;
use super::{Family, Kind};
use crate::base::stable_hash;
use std::fs;
use std::time::{Duration, SystemTime};

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "ringway_build_info",
        kind: Kind::Gauge,
        labels: &["version"],
        help: "1, labelled with the version.",
        samples: |_, out| out.put([env!("CARGO_PKG_VERSION")], 1),
    },
    Family {
        name: "ringway_start_time_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the process began, in seconds since 1970.",
        samples: |view, out| out.put([], unix(view.started_at())),
    },
    Family {
        name: "ringway_config_fingerprint",
        kind: Kind::Gauge,
        labels: &["fingerprint"],
        help: "1, labelled with a hash of the effective configuration: boxes that run the same have the same one.",
        samples: |view, out| {
            let fingerprint = stable_hash::of_name(&view.config.to_toml());
            out.put([&format!("{fingerprint:016x}")], 1);
        },
    },
    Family {
        name: "ringway_config_applied_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the configuration came into force, in seconds since 1970.",
        samples: |view, out| {
            let applied = view.clock.checked_sub(view.config_age());
            out.put([], unix(applied.unwrap_or(SystemTime::UNIX_EPOCH)));
        },
    },
    Family {
        name: "ringway_reloads_total",
        kind: Kind::Counter,
        labels: &["result"],
        help: "Reloads: done, whether or not there was a change, or refused, after which nothing has changed.",
        samples: |view, out| {
            out.put(["done"], view.reloads.done);
            out.put(["refused"], view.reloads.refused);
        },
    },
    Family {
        name: "ringway_draining",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 from when an end was asked for, 0 before.",
        samples: |view, out| out.put([], view.phase.is_draining()),
    },
    Family {
        name: "ringway_fds_used",
        kind: Kind::Gauge,
        labels: &[],
        help: "Open descriptors; two for each connection. 0 where the kernel does not tell (before Linux 6.2).",
        samples: |view, out| out.put([], view.room.descriptors_used),
    },
    Family {
        name: "ringway_fds_limit",
        kind: Kind::Gauge,
        labels: &[],
        help: "Descriptors that there may be (RLIMIT_NOFILE).",
        samples: |view, out| out.put([], limit(view.room.descriptors_limit)),
    },
    Family {
        name: "ringway_memlock_limit_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Memory that may be locked (RLIMIT_MEMLOCK), which rings are charged to; +Inf if nothing bounds it.",
        samples: |view, out| out.put([], limit(view.room.memlock_limit)),
    },
    Family {
        name: "ringway_ring_io_workers",
        kind: Kind::Gauge,
        labels: &[],
        help: "Kernel threads that io_uring made for requests it could not do at once. Must stay 0.",
        samples: |_, out| out.put([], io_workers()),
    },
];

fn unix(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs_f64()
}

/// The kernel names them `iou-wrk-` and the number of their ring's thread (io_uring/io-wq.c).
fn io_workers() -> u64 {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return 0;
    };
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("iou-wrk-")).count() as u64
}
