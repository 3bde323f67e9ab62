//! Listening sockets that the service manager keeps a copy of (FileDescriptorStoreMax= of the unit, FDSTORE=1 of
//! sd_pid_notify_with_fds(3)): when the process crashes, clients wait in their queues for the next one, instead of being
//! refused. A drain takes them out of the store: who drains wants new clients to go elsewhere.

use super::state::State;
use super::systemd::Systemd;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::AsFd;

/// What our names begin with.
const PREFIX: &str = "listen-";

/// The names that the manager has sockets for.
#[derive(Debug)]
pub(super) struct Store(RefCell<BTreeSet<String>>);

impl Store {
    /// One that has sockets of these addresses: those that this process was born with are somebody's already.
    pub(super) fn with(addresses: impl Iterator<Item = SocketAddr>) -> Self {
        Self(RefCell::new(addresses.filter_map(name).collect()))
    }

    /// Has the manager keep what listens now, and nothing else.
    pub(super) fn follow(&self, state: &State, systemd: &Systemd) {
        let mut kept = self.0.borrow_mut();
        let doors = state.doors.values();
        let open = doors.filter(|door| !door.sockets.is_empty());
        let open: BTreeMap<_, _> = open.filter_map(|it| Some((name(it.wanted)?, it))).collect();
        for gone in kept.iter().filter(|name| !open.contains_key(*name)) {
            systemd.forget(gone);
        }
        for (name, door) in open.iter().filter(|(name, _)| !kept.contains(*name)) {
            let sockets = door.sockets.iter().map(|(_, socket)| socket.as_fd());
            systemd.keep(name, &sockets.collect::<Vec<_>>());
        }
        *kept = open.into_keys().collect();
    }

    /// Has it keep nothing: what listens is about to be closed.
    pub(super) fn clear(&self, systemd: &Systemd) {
        for gone in std::mem::take(&mut *self.0.borrow_mut()) {
            systemd.forget(&gone);
        }
    }
}

/// What a socket of this address is called there: names have no colons (sd_pid_notify_with_fds(3)), addresses no dashes.
/// Port 0 has no name: the next process is to have another one.
fn name(wanted: SocketAddr) -> Option<String> {
    (wanted.port() != 0).then(|| format!("{PREFIX}{wanted}").replace(':', "-"))
}

/// The address of a socket of this name, if the name is one of ours.
pub(super) fn address(name: &str) -> Option<SocketAddr> {
    name.strip_prefix(PREFIX)?.replace('-', ":").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_which_address_the_configuration_has() {
        for at in ["0.0.0.0:9000", "[::1]:443", "[fe80::1%2]:80"] {
            let wanted: SocketAddr = at.parse().unwrap();
            let name = name(wanted).unwrap();
            assert!(!name.contains(':'), "{name}");
            assert_eq!(address(&name), Some(wanted));
        }
        assert_eq!(name("0.0.0.0:0".parse().unwrap()), None);
        assert_eq!(address("ringway.socket"), None);
        assert_eq!(address("listen-nowhere"), None);
    }
}
