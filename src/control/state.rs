//! What a running proxy goes by, and where it listens. Changes with each reload; nothing else here does.

use crate::config::Listener;
use crate::ring::{Sock, Time};
use crate::upstream::{Snapshot, Upstream};
use crate::worker::Ear;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What the control thread knows that changes while the process runs.
#[derive(Debug)]
pub(super) struct State {
    pub(super) snapshot: Snapshot,
    /// Every listening address, by its number, which workers know their sockets by.
    pub(super) doors: BTreeMap<usize, Door>,
    /// The number of the next one.
    pub(super) next_door: usize,
    /// Of what workers go by.
    pub(super) version: u64,
    /// When that came into force.
    pub(super) since: Time,
}

/// A listening address.
#[derive(Debug)]
pub(super) struct Door {
    /// The listener's number.
    pub(super) listener: u16,
    /// What the configuration says; port 0 is any.
    pub(super) wanted: SocketAddr,
    /// What it is.
    pub(super) bound: SocketAddr,
    /// Copies of the workers' sockets, each with its worker: for changing them, and for passing them on to another process.
    /// They must be gone before the workers close theirs: a socket that is open and not accepted from loses clients.
    pub(super) sockets: Vec<(usize, OwnedFd)>,
}

/// What one worker is to listen with, before it owns the sockets: the door, the listener's number, the socket.
pub(super) type Share = Vec<(usize, u16, OwnedFd)>;

/// The same when nothing can be refused any more.
pub(super) fn ears(share: Share) -> Vec<Ear> {
    let ear = |(door, listener, socket)| Ear {
        door,
        listener,
        sock: Sock::from(socket),
    };
    share.into_iter().map(ear).collect()
}

impl Door {
    /// Gives each worker its sockets, as those of this door.
    pub(super) fn share_out(&self, door: usize, ears: &mut [Share]) -> io::Result<()> {
        for (worker, socket) in &self.sockets {
            ears[*worker].push((door, self.listener, socket.try_clone()?));
        }
        Ok(())
    }
}

impl State {
    /// Doors are numbered as they are listed.
    pub(super) fn new(snapshot: Snapshot, doors: Vec<Door>, now: Time) -> Self {
        Self {
            snapshot,
            next_door: doors.len(),
            doors: doors.into_iter().enumerate().collect(),
            version: 0,
            since: now,
        }
    }

    /// Every bound address, with its listener's number.
    pub(super) fn bound(&self) -> impl Iterator<Item = (u16, SocketAddr)> {
        let open = self.doors.values();
        open.map(|door| (door.listener, door.bound))
    }

    /// Every bound address, with its listener's name.
    pub(super) fn addresses(&self) -> Vec<(String, SocketAddr)> {
        let name = |number: u16| self.snapshot.sites[usize::from(number)].rules.name.clone();
        self.bound()
            .map(|(number, address)| (name(number), address))
            .collect()
    }

    /// Keeps no listening socket open: the workers are about to close theirs.
    pub(super) fn let_go(&mut self) {
        for door in self.doors.values_mut() {
            door.sockets.clear();
        }
    }

    /// Listens again after [`let_go`](Self::let_go), at these doors in the order of [`bound`](Self::bound): what each worker is
    /// to listen with.
    pub(super) fn reopen(&mut self, opened: Vec<Door>, cpus: &[usize]) -> io::Result<Vec<Share>> {
        let mut ears: Vec<_> = cpus.iter().map(|_| Vec::new()).collect();
        for ((number, door), new) in self.doors.iter_mut().zip(opened) {
            door.sockets = new.sockets;
            door.share_out(*number, &mut ears)?;
        }
        Ok(ears)
    }

    /// What the listener of this number goes by.
    pub(super) fn rules(&self, number: u16) -> Arc<Listener> {
        Arc::clone(&self.snapshot.sites[usize::from(number)].rules)
    }

    pub(super) fn upstream(&self, name: &str) -> Option<&Upstream> {
        let mut all = self.snapshot.upstreams.iter();
        all.find(|upstream| &**upstream.name() == name)
    }
}
