//! What is wanted of the machine.

use super::settings::{EDGE_1M, EDGE_100K, Profile};
use crate::config::{Config, Relay, Upstream, Workers};
use crate::control::{cpus, limits};

/// A kernel with its defaults holds about so many connections well.
const UNTUNED: u64 = 10_000;

/// From here on the profile for a hundred thousand is too small.
const HUNDREDS_OF_THOUSANDS: u64 = 200_000;

/// The wanted load.
#[derive(Clone, Debug)]
pub(super) struct Load {
    /// Open at the same time, if anybody has said.
    pub(super) connections: Option<u64>,
    pub(super) workers: usize,
    /// Descriptors that are no connection's.
    pub(super) sockets: u64,
    /// Whether bytes may be spliced.
    pub(super) splices: bool,
    pub(super) upstreams: Vec<Backends>,
}

/// Where connections of an upstream go.
#[derive(Clone, Debug)]
pub(super) struct Backends {
    pub(super) upstream: String,
    /// Those that are no backup.
    pub(super) count: u64,
    /// Addresses of ours to connect from.
    pub(super) sources: u64,
}

impl Load {
    /// What the configuration wants on a machine of so many CPUs; `connections` goes before its own number.
    pub(super) fn of(config: Option<&Config>, connections: Option<u64>, cpus: usize) -> Self {
        let configured = config.map_or(0, |it| it.process.max_connections as u64);
        let workers = config.map_or(cpus, |config| match &config.process.workers {
            // Fewer where this process may not use all; what it may use is asked only here.
            Workers::Auto => cpus::choose(&Workers::Auto).map_or(cpus, |it| it.len()),
            Workers::Count(count) => count.get(),
            Workers::Cpus(list) => list.len(),
        });
        Self {
            connections: connections.or_else(|| (configured != 0).then_some(configured)),
            workers,
            sockets: config.map_or(0, |config| limits::sockets(config, workers)),
            splices: config.is_none_or(|it| it.listeners.iter().any(|it| it.relay != Relay::Copy)),
            upstreams: config.map_or_else(Vec::new, |it| {
                it.upstreams.iter().map(Backends::of).collect()
            }),
        }
    }

    /// The profile of kernel settings that fits; none where the kernel's own do.
    pub(super) fn profile(&self) -> Option<&'static Profile> {
        match self.connections? {
            ..UNTUNED => None,
            UNTUNED..=HUNDREDS_OF_THOUSANDS => Some(&EDGE_100K),
            _ => Some(&EDGE_1M),
        }
    }

    /// How to raise a kernel setting to `value`.
    pub(super) fn fix(&self, key: &str, value: &str) -> String {
        self.profile().map_or_else(
            || format!("sysctl -w {key}=\"{value}\", and the same in /etc/sysctl.d"),
            |profile| format!("ringway-tune apply --profile {}", profile.name),
        )
    }
}

impl Backends {
    fn of(upstream: &Upstream) -> Self {
        let ordinary = upstream.backends.iter().filter(|it| !it.backup).count();
        Self {
            upstream: upstream.name.clone(),
            count: ordinary.max(1) as u64,
            sources: upstream.source_addresses.len().max(1) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_goes_by_the_number_of_connections() {
        let name = |connections| {
            let load = Load::of(None, connections, 1);
            load.profile().map(|profile| profile.name)
        };
        assert_eq!(name(None), None);
        assert_eq!(name(Some(9_999)), None);
        assert_eq!(name(Some(10_000)), Some("edge-100k"));
        assert_eq!(name(Some(200_000)), Some("edge-100k"));
        assert_eq!(name(Some(200_001)), Some("edge-1m"));
    }
}
