//! Local ports towards backends. A connection to a backend needs a port of ours that no other connection from the same
//! local address to the same backend has, and there are 28,232 unless the machine says otherwise. Without a free one a
//! dial fails with EADDRNOTAVAIL: here it is seen coming.
//!
//! What counts is the address that is dialed, in however many upstreams it is.

use super::Proxy;
use super::view::{BackendView, View};
use crate::config::{Backend, Upstream};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How often it is looked how many are left.
const LOOK: Duration = Duration::from_secs(1);

/// Per cent of the ports that are used when the operator is warned, and below which all is well again: apart, lest a
/// number that sways about one limit fill the log.
const WARNED_FROM: u64 = 80;
const WELL_BELOW: u64 = 75;

/// Local ports towards one backend.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ports {
    /// Connections open to its address, dials included.
    pub used: u64,
    /// The most that there can be, from all the addresses that they are made from.
    pub limit: u64,
}

/// A backend, as far as local ports count.
#[derive(Clone, Debug)]
pub(super) struct Towards {
    address: SocketAddr,
    /// The addresses that it is dialed from; `None` is the one that the system chooses.
    sources: Vec<Option<IpAddr>>,
    open: u64,
    /// Dials that found none.
    lacked: u64,
}

impl Towards {
    /// `None` for a name that is not resolved. `open`: connections that it has, `lacked`: dials that found no port.
    pub(super) fn new(
        upstream: &Upstream,
        backend: &Backend,
        (open, lacked): (u64, u64),
    ) -> Option<Self> {
        let address = backend.address.socket()?;
        let own = upstream.source_addresses.iter();
        let own = own.filter(|source| source.is_ipv4() == address.is_ipv4());
        let mut sources: Vec<_> = own.map(|source| Some(*source)).collect();
        if sources.is_empty() {
            sources.push(None);
        }
        Some(Self {
            address,
            sources,
            open,
            lacked,
        })
    }
}

impl View {
    /// The local ports towards each backend, in the order of [`backends`](View::backends). A name that is not resolved
    /// has none.
    pub fn ports(&self) -> Vec<Ports> {
        let towards = |(upstream, backend, seen): (&Upstream, &Backend, &BackendView)| {
            Towards::new(upstream, backend, (seen.connections, 0))
        };
        let all: Vec<_> = self.backends().map(towards).collect();
        let known = by_address(all.iter().flatten(), of_one_address());
        let ports = |it: &Towards| known[&it.address];
        all.iter()
            .map(|it| it.as_ref().map(ports).unwrap_or_default())
            .collect()
    }
}

impl Ports {
    /// Greater is closer to the limit; of two that use nothing, the one that has less.
    fn compare(&self, other: &Self) -> Ordering {
        let cross = |a: &Self, b: &Self| u128::from(a.used) * u128::from(b.limit);
        let used = cross(self, other).cmp(&cross(other, self));
        used.then(other.limit.cmp(&self.limit))
    }

    fn is_above(self, per_cent: u64) -> bool {
        self.used * 100 >= self.limit * per_cent
    }
}

/// Those of the backend where they are closest to running out.
pub(super) fn tightest(backends: &[Towards]) -> Ports {
    let all = by_address(backends, of_one_address());
    all.into_values().max_by(Ports::compare).unwrap_or_default()
}

/// What several backends use that are at one address, and what there is for all of them together.
fn by_address<'a>(
    backends: impl IntoIterator<Item = &'a Towards>,
    of_one: u64,
) -> HashMap<SocketAddr, Ports> {
    let mut all: HashMap<SocketAddr, (u64, HashSet<Option<IpAddr>>)> = HashMap::new();
    for backend in backends {
        let (used, sources) = all.entry(backend.address).or_default();
        *used += backend.open;
        sources.extend(&backend.sources);
    }
    let ports = |(used, sources): (u64, HashSet<_>)| Ports {
        used,
        limit: of_one * sources.len() as u64,
    };
    all.into_iter().map(|(at, it)| (at, ports(it))).collect()
}

impl Proxy {
    /// Warns of local ports that run out, for ever: once for each backend, and again when that was over and comes back.
    pub async fn watch_ports(&self) -> Infallible {
        let mut warned = Warned::default();
        loop {
            tokio::time::sleep(LOOK).await;
            warned.look(&self.towards());
        }
    }
}

/// What the operator was told of each backend's ports.
#[derive(Default, Debug)]
struct Warned(HashMap<SocketAddr, Told>);

#[derive(Clone, Copy, Default, Debug)]
struct Told {
    is_warned: bool,
    /// Dials that had found no port by then.
    lacked: u64,
}

impl Warned {
    /// Says in the log what has changed.
    fn look(&mut self, backends: &[Towards]) {
        let all = by_address(backends, of_one_address());
        let mut lacked: HashMap<SocketAddr, u64> = HashMap::new();
        for backend in backends {
            *lacked.entry(backend.address).or_default() += backend.lacked;
        }
        self.0.retain(|at, _| all.contains_key(at));
        for (backend, ports) in all {
            self.tell(backend, ports, lacked[&backend]);
        }
    }

    fn tell(&mut self, backend: SocketAddr, ports: Ports, lacked: u64) {
        let told = self.0.entry(backend).or_default();
        // Other programs use ports too, and connections that have ended keep theirs for a minute: then dials find none
        // before we use them all.
        let failed = lacked.saturating_sub(std::mem::replace(&mut told.lacked, lacked));
        let Ports { used, limit } = ports;
        if !told.is_warned && (ports.is_above(WARNED_FROM) || failed > 0) {
            told.is_warned = true;
            tracing::warn!(
                %backend,
                used,
                limit,
                dials_without_port = failed,
                "local ports run out: give the upstream source_addresses, or widen net.ipv4.ip_local_port_range"
            );
        } else if told.is_warned && !ports.is_above(WELL_BELOW) && failed == 0 {
            told.is_warned = false;
            tracing::info!(%backend, used, limit, "local ports suffice again");
        }
    }
}

/// Linux's own range, 32768 to 60999.
const DEFAULT: u64 = 28_232;

/// How many ports an address of ours has for one backend (ip(7): ip_local_port_range without ip_local_reserved_ports).
fn of_one_address() -> u64 {
    let read = |name| fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"));
    let range = read("ip_local_port_range").ok();
    let Some((low, high)) = range.and_then(|text| parse_range(&text)) else {
        return DEFAULT;
    };
    let reserved = read("ip_local_reserved_ports").unwrap_or_default();
    let all = u64::from(high.saturating_sub(low)) + 1;
    all.saturating_sub(count_reserved(&reserved, low, high))
}

/// `LOW HIGH`, both included.
fn parse_range(text: &str) -> Option<(u16, u16)> {
    let mut bounds = text.split_whitespace();
    let low = bounds.next()?.parse().ok()?;
    Some((low, bounds.next()?.parse().ok()?))
}

/// How many of `8080,9148-9200` are from `low` to `high`. The kernel writes them in order and apart.
fn count_reserved(text: &str, low: u16, high: u16) -> u64 {
    let count = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let from: u16 = from.parse().ok()?;
        let to: u16 = to.parse().ok()?;
        let inside = (from.max(low), to.min(high));
        (inside.0 <= inside.1).then(|| u64::from(inside.1 - inside.0) + 1)
    };
    text.trim().split(',').filter_map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A backend that is dialed from these addresses, with so many connections.
    fn towards(address: &str, sources: &[&str], open: u64) -> Towards {
        let backend = Backend::new(address.parse().unwrap());
        let mut upstream = Upstream::new("u".to_owned(), Vec::new());
        upstream.source_addresses = sources.iter().map(|ip| ip.parse().unwrap()).collect();
        Towards::new(&upstream, &backend, (open, 0)).unwrap()
    }

    const BOTH: [&str; 2] = ["10.0.0.1", "10.0.0.2"];

    #[test]
    fn both_ends_of_the_range_are_ports_and_reserved_ones_are_none() {
        assert_eq!(parse_range("32768\t60999\n"), Some((32_768, 60_999)));
        assert_eq!(parse_range("1024"), None);
        assert_eq!(count_reserved("\n", 1_024, 2_000), 0);
        assert_eq!(count_reserved("80,1500,1990-2010\n", 1_024, 2_000), 12);
    }

    #[test]
    fn each_source_address_of_the_backends_family_has_all_ports() {
        let limit = |address, sources: &[&str]| {
            let all = by_address(&[towards(address, sources, 3)], 100);
            all.into_values().next().unwrap().limit
        };
        let mixed = [BOTH[0], BOTH[1], "fd00::1"];
        assert_eq!(limit("10.0.0.7:80", &mixed), 200);
        assert_eq!(limit("[fd00::7]:80", &mixed), 100);
        assert_eq!(limit("[fd00::7]:80", &BOTH), 100, "the system chooses one");
        assert_eq!(limit("10.0.0.7:80", &[]), 100);
    }

    #[test]
    fn upstreams_that_share_an_address_share_its_ports() {
        let backends = [
            towards("10.0.0.7:80", &BOTH[..1], 3),
            towards("10.0.0.7:80", &BOTH, 5),
            towards("10.0.0.7:81", &BOTH, 7),
        ];
        let all = by_address(&backends, 100);
        let shared = Ports {
            used: 8,
            limit: 200,
        };
        assert_eq!(all[&backends[0].address], shared);
        assert_eq!(all[&backends[2].address].used, 7);
    }

    #[test]
    fn the_backend_closest_to_its_limit_counts() {
        let backends = [
            towards("10.0.0.7:80", &[], 10),
            towards("10.0.0.8:80", &BOTH, 15),
        ];
        assert_eq!(tightest(&backends).used, 10, "15 of two are less");
        let idle = [
            towards("10.0.0.7:80", &BOTH, 0),
            towards("10.0.0.8:80", &[], 0),
        ];
        assert_eq!(tightest(&idle).limit, of_one_address());
        assert_eq!(tightest(&[]), Ports::default());
    }

    #[test]
    fn a_warning_is_given_once_until_all_is_well_again() {
        let mut warned = Warned::default();
        let backend = "10.0.0.7:80".parse().unwrap();
        let mut is_warned = |used| {
            warned.tell(backend, Ports { used, limit: 100 }, 0);
            warned.0[&backend].is_warned
        };
        assert!(!is_warned(79) && is_warned(80));
        assert!(is_warned(100) && is_warned(75), "not well yet");
        assert!(!is_warned(74) && !is_warned(79) && is_warned(80));
    }

    #[test]
    fn a_dial_that_found_no_port_is_reason_enough() {
        let mut warned = Warned::default();
        let backend = "10.0.0.7:80".parse().unwrap();
        let mut is_warned = |lacked| {
            let ports = Ports {
                used: 1,
                limit: 100,
            };
            warned.tell(backend, ports, lacked);
            warned.0[&backend].is_warned
        };
        assert!(!is_warned(0) && is_warned(3) && !is_warned(3));
    }
}
