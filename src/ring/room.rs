//! Waiting for room in a socket's send queue, by epoll(7).
//!
//! io_uring adds EPOLLRDHUP to every poll that it makes, also to the one inside a send that waits. On a socket whose
//! peer has sent FIN such a poll is always ready: the send is tried again at once, 128 times, and is then handed to a
//! kernel thread that blocks in it (APOLL_MAX_RETRY in io_uring/poll.c; seen on Linux 6.18). Epoll reports RDHUP only
//! to those who ask. So sends never wait in the ring: one that finds no room is parked here, and tried again when its
//! socket has some.

use crate::{Errno, SockRef};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::os::fd::BorrowedFd;

/// The sockets of one ring that sends wait for.
pub(crate) struct Room {
    epoll: Epoll,
}

impl Room {
    pub(crate) fn new() -> nix::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
        })
    }

    /// What becomes readable when a socket has room.
    pub(crate) fn as_sock(&self) -> SockRef {
        SockRef::of(&self.epoll.0)
    }

    /// Reports this socket, by this number, once when it has room or has failed. Closing the socket forgets it.
    pub(crate) fn await_room(&self, sock: SockRef, number: u64) -> Result<(), Errno> {
        // SAFETY: borrowed for these calls alone; the send's owner keeps the socket open until the send has ended.
        let sock = unsafe { BorrowedFd::borrow_raw(sock.number()) };
        let mut event = EpollEvent::new(EpollFlags::EPOLLOUT | EpollFlags::EPOLLONESHOT, number);
        // A socket that was full once will be again: it is known already, more often than not.
        match self.epoll.modify(sock, &mut event) {
            Err(Errno::ENOENT) => self.epoll.add(sock, event),
            answer => answer,
        }
    }

    /// Appends the numbers of those that have room now.
    pub(crate) fn take_ready(&self, ready: &mut Vec<u64>) {
        const BATCH: usize = 64;
        let mut events = [EpollEvent::empty(); BATCH];
        // Bounded: each is reported once, and there are no more than there are sends in flight.
        while let Ok(count) = self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            ready.extend(events[..count].iter().map(EpollEvent::data));
            if count < BATCH {
                return;
            }
        }
    }
}
