//! How many connections this process can hold: RLIMIT_NOFILE, raised as far as it may be, shared out.

use super::admin::VISITORS_MAX;
use super::probe::IN_FLIGHT_MAX;
use crate::config::Config;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors of a connection: client and backend.
const PER_CONNECTION: u64 = 2;

/// Kept for the rings, listeners, logs and the spare of each worker.
const RESERVE: u64 = 64;

/// Raises the soft limit of open files to the hard one; the limit that then holds.
pub(super) fn raise_descriptors() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 1024;
    };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        return hard;
    }
    soft
}

/// The most connections: what was configured, or with 0 what the descriptors allow.
pub(crate) fn connections_max(configured: u64, descriptors: u64, sockets: u64) -> u64 {
    if configured != 0 {
        return configured;
    }
    (descriptors.saturating_sub(RESERVE + sockets) / PER_CONNECTION).max(1)
}

/// Descriptors of everything that is no connection: each worker's listening sockets, of which control keeps copies, its
/// own, probes, and who asks the admin address.
pub(crate) fn sockets(config: &Config, workers: usize) -> u64 {
    let addresses: usize = config.listeners.iter().map(|l| l.listen.len()).sum();
    let probed = config.upstreams.iter().filter(|it| it.probe.is_some());
    let probes: usize = probed.map(|it| it.backends.len()).sum();
    let visitors = config.admin.as_ref().map_or(0, |_| VISITORS_MAX);
    (workers * (2 * addresses + 4) + probes.min(IN_FLIGHT_MAX) + visitors) as u64
}

/// Descriptors that so many connections need.
pub(crate) fn descriptors(connections: u64, sockets: u64) -> u64 {
    connections * PER_CONNECTION + RESERVE + sockets
}

/// A warning when the configured number cannot be reached.
pub(super) fn shortage(configured: u64, limit: u64, sockets: u64) -> Option<String> {
    let needed = descriptors(configured, sockets);
    (configured != 0 && needed > limit).then(|| {
        format!(
            "process.max_connections = {configured} needs {needed} descriptors, but RLIMIT_NOFILE is {limit}: \
             accepting will pause when they run out; raise LimitNOFILE (`ulimit -n`) to {needed}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_number_the_descriptors_decide() {
        assert_eq!(connections_max(0, 20_000, 36), 9950);
        assert_eq!(connections_max(500, 20_000, 36), 500);
        assert_eq!(connections_max(0, 10, 0), 1);
    }

    #[test]
    fn a_number_out_of_reach_is_warned_about() {
        assert!(shortage(0, 1024, 4).is_none());
        assert!(shortage(400, 1024, 4).is_none());
        let warning = shortage(10_000, 1024, 4).unwrap();
        assert!(warning.contains("20068 descriptors"), "{warning}");
    }
}
