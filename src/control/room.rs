//! How far the limits of the machine are: descriptors, local ports, locked memory. Read when somebody looks.

use nix::sys::resource::{Resource, getrlimit};
use std::cmp::Ordering;
use std::fs;

/// What is used and what there is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Room {
    /// Open descriptors of this process; 0 where the kernel does not tell (before Linux 6.2).
    pub descriptors_used: u64,
    /// RLIMIT_NOFILE.
    pub descriptors_limit: u64,
    /// RLIMIT_MEMLOCK, bytes; `u64::MAX` is none.
    pub memlock_limit: u64,
    /// Local ports, where they are closest to running out.
    pub ports: Ports,
}

/// Local ports towards one backend: each of our addresses has as many for every backend as `ip_local_port_range` says.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ports {
    /// Connections open to it.
    pub used: u64,
    /// The most that there can be.
    pub limit: u64,
}

impl Room {
    /// Asks the system.
    pub(super) fn read(ports: Ports) -> Self {
        let limit = |of| getrlimit(of).map_or(0, |(soft, _)| soft);
        Self {
            descriptors_used: descriptors(),
            descriptors_limit: limit(Resource::RLIMIT_NOFILE),
            memlock_limit: limit(Resource::RLIMIT_MEMLOCK),
            ports,
        }
    }
}

/// The kernel tells the number as the directory's size (since Linux 6.2): to list a million would take a second.
fn descriptors() -> u64 {
    fs::metadata("/proc/self/fd").map_or(0, |directory| directory.len())
}

/// The least room of several backends: `(connections open, source addresses configured)` of each.
pub(super) fn tightest(backends: impl Iterator<Item = (u64, usize)>) -> Ports {
    let range = port_range().unwrap_or(DEFAULT_RANGE);
    let ports = backends.map(|(used, sources)| Ports {
        used,
        limit: range * sources.max(1) as u64,
    });
    ports.max_by(Ports::compare).unwrap_or_default()
}

impl Ports {
    /// Greater is closer to the limit; of two that use nothing, the one that has less.
    fn compare(&self, other: &Self) -> Ordering {
        let cross = |a: &Self, b: &Self| u128::from(a.used) * u128::from(b.limit);
        let used = cross(self, other).cmp(&cross(other, self));
        used.then(other.limit.cmp(&self.limit))
    }
}

/// Linux's own, 32768 to 60999.
const DEFAULT_RANGE: u64 = 28_232;

/// How many local ports a connection may be given one of.
fn port_range() -> Option<u64> {
    parse(&fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?)
}

/// `LOW HIGH`, both included.
fn parse(range: &str) -> Option<u64> {
    let mut bounds = range.split_whitespace();
    let low: u64 = bounds.next()?.parse().ok()?;
    let high: u64 = bounds.next()?.parse().ok()?;
    Some((high + 1).saturating_sub(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_the_range_are_ports() {
        assert_eq!(parse("32768\t60999\n"), Some(DEFAULT_RANGE));
        assert_eq!(parse("1024 1024"), Some(1));
        assert_eq!(parse("1024"), None);
    }

    #[test]
    fn the_backend_closest_to_its_limit_counts() {
        let ports = tightest([(10, 0), (15, 2), (9, 1)].into_iter());
        assert_eq!(ports.used, 10, "15 of two addresses' ports are less");
        let idle = tightest([(0, 3), (0, 1)].into_iter());
        assert_eq!(idle, tightest([(0, 0)].into_iter()));
        assert_eq!(tightest(std::iter::empty()), Ports::default());
    }

    #[test]
    fn the_kernel_counts_descriptors_and_knows_the_limit() {
        let before = Room::read(Ports::default());
        let files: Vec<_> = (0..10).map(|_| fs::File::open("/dev/null")).collect();
        let after = Room::read(Ports::default());
        assert!(files.iter().all(Result::is_ok));
        assert!(after.descriptors_limit >= after.descriptors_used);
        if before.descriptors_used == 0 {
            return eprintln!("SKIP: this kernel does not tell");
        }
        assert!(after.descriptors_used >= 10);
    }
}
