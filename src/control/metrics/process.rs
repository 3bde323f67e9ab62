//! The metrics that every exporter has of its own process, under their usual names.

use super::clients::limit;
use super::exposition::{Number, Samples};
use super::{Family, Kind};
use crate::control::view::View;
use nix::unistd::{SysconfVar, sysconf};
use std::fs;
use std::time::{Duration, SystemTime};

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "process_cpu_seconds_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Processor time of all threads, in user space and in the kernel.",
        samples: |_, out| alone(out, Stat::read().and_then(|stat| stat.cpu_seconds())),
    },
    Family {
        name: "process_threads",
        kind: Kind::Gauge,
        labels: &[],
        help: "Threads.",
        samples: |_, out| alone(out, Stat::read().and_then(|stat| stat.number(20))),
    },
    Family {
        name: "process_virtual_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Address space.",
        samples: |_, out| alone(out, Stat::read().and_then(|stat| stat.number(23))),
    },
    Family {
        name: "process_resident_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Memory in use. What the kernel holds for sockets is not in it.",
        samples: |_, out| alone(out, Stat::read().and_then(|stat| stat.resident_bytes())),
    },
    Family {
        name: "process_open_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Open descriptors.",
        samples: |view, out| out.put([], view.room.descriptors_used),
    },
    Family {
        name: "process_max_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Descriptors that there may be.",
        samples: |view, out| out.put([], limit(view.room.descriptors_limit)),
    },
    Family {
        name: "process_start_time_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the process began, in seconds since 1970.",
        samples: started,
    },
];

fn started(view: &View, out: &mut Samples<'_>) {
    let since = view.started_at().duration_since(SystemTime::UNIX_EPOCH);
    out.put([], since.unwrap_or_default().as_secs_f64());
}

/// A number that the system may not tell.
fn alone(out: &mut Samples<'_>, number: Option<impl Into<Number>>) {
    if let Some(number) = number {
        out.put([], number);
    }
}

/// `/proc/self/stat` (proc_pid_stat(5)).
struct Stat(String);

impl Stat {
    fn read() -> Option<Self> {
        fs::read_to_string("/proc/self/stat").ok().map(Self)
    }

    /// The field of that number in the manual. The second is a name in parentheses that may hold anything; what is read
    /// here comes behind it.
    fn number(&self, field: usize) -> Option<u64> {
        let (_, behind) = self.0.rsplit_once(") ")?;
        behind.split_whitespace().nth(field - 3)?.parse().ok()
    }

    fn cpu_seconds(&self) -> Option<f64> {
        let ticks = self.number(14)? + self.number(15)?;
        let per_second = sysconf(SysconfVar::CLK_TCK).ok()??;
        let per_second = u64::try_from(per_second).ok().filter(|it| *it > 0)?;
        let millis = ticks.checked_mul(1000)? / per_second;
        Some(Duration::from_millis(millis).as_secs_f64())
    }

    fn resident_bytes(&self) -> Option<u64> {
        let page = sysconf(SysconfVar::PAGE_SIZE).ok()??;
        Some(self.number(24)? * u64::try_from(page).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_shifts_no_field() {
        let stat = |name: &str| {
            let fields: Vec<_> = (3..=24).map(|n| n.to_string()).collect();
            Stat(format!("1 ({name}) {}", fields.join(" ")))
        };
        for name in ["ringway", ") R 1 (", "a b) c"] {
            assert_eq!(stat(name).number(14), Some(14), "{name}");
            assert_eq!(stat(name).number(24), Some(24), "{name}");
        }
    }

    #[test]
    fn this_process_has_threads_and_memory() {
        let stat = Stat::read().unwrap();
        assert!(stat.number(20).unwrap() >= 1);
        assert!(stat.resident_bytes().unwrap() > 1 << 20);
        assert!(stat.resident_bytes() < stat.number(23));
        assert!(stat.cpu_seconds().unwrap() < 3600.0);
    }
}
