//! Waiting for SIGINT and SIGTERM with a time limit.

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::time::Duration;

/// The two signals, as a descriptor: blocked in this thread and in those it starts later.
pub(crate) struct Signals {
    fd: SignalFd,
    epoll: Epoll,
}

/// Why a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Woken {
    Signal,
    Timeout,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, Errno> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGINT);
        set.add(Signal::SIGTERM);
        set.thread_block()?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&fd, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        Ok(Self { fd, epoll })
    }

    /// Waits for one of them, at most for `limit`.
    pub(crate) fn wait(&self, limit: Duration) -> Result<Woken, Errno> {
        let timeout = EpollTimeout::try_from(limit).unwrap_or(EpollTimeout::MAX);
        match self.epoll.wait(&mut [EpollEvent::empty()], timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let signal = self.fd.read_signal()?;
        Ok(if signal.is_some() {
            Woken::Signal
        } else {
            Woken::Timeout
        })
    }
}
