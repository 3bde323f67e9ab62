//! System calls on sockets that a ring makes by itself, because the ring's own op for them goes to a kernel thread or
//! does not exist: each is quick and none waits.

use crate::{DialOptions, Sock, SockRef};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{SockRef as SocketRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

/// A descriptor held in reserve, so that one client can be turned away when no other is left.
pub(crate) struct Spare(Option<OwnedFd>);

impl Spare {
    pub(crate) fn new() -> Self {
        Self(std::fs::File::open("/dev/null").ok().map(OwnedFd::from))
    }

    /// Gives the spare up for one accept, then takes a new one.
    pub(crate) fn turn_away(&mut self, listener: SockRef) {
        self.0 = None;
        // SAFETY: borrowed for these calls alone; the caller owns the listener and closes it by an op, not meanwhile.
        let listener = unsafe { BorrowedFd::borrow_raw(listener.number()) };
        // Readiness first: accept4(2) on a blocking listener with an empty queue would hold up every connection.
        let mut ready = [PollFd::new(listener, PollFlags::POLLIN)];
        if matches!(poll(&mut ready, PollTimeout::ZERO), Ok(1))
            && let Ok((client, _)) = SocketRef::from(&listener).accept()
        {
            close(OwnedFd::from(client).into(), true);
        }
        *self = Self::new();
    }
}

/// Bytes sent that the peer's kernel has not acknowledged (SIOCOUTQ, tcp(7)). None when the socket cannot say.
pub(crate) fn unsent(sock: SockRef) -> u32 {
    let mut count: libc::c_int = 0;
    // SAFETY: TIOCOUTQ, which is SIOCOUTQ, writes one int to where its argument points, which is `count`.
    let answer = unsafe { libc::ioctl(sock.number(), libc::TIOCOUTQ, &raw mut count) };
    if answer == 0 {
        u32::try_from(count).unwrap_or(0)
    } else {
        0
    }
}

/// Where the socket's peer connected to; `None` when it is no longer connected.
pub(crate) fn local_address(sock: SockRef) -> Option<SocketAddr> {
    // SAFETY: borrowed for this call alone; the asker keeps the socket open until the answer.
    let sock = unsafe { BorrowedFd::borrow_raw(sock.number()) };
    SocketRef::from(&sock).local_addr().ok()?.as_socket()
}

pub(crate) fn set_notsent_lowat(sock: SockRef, bytes: u32) {
    // SAFETY: borrowed for this call alone; the op's owner keeps the socket open.
    let sock = unsafe { BorrowedFd::borrow_raw(sock.number()) };
    // Fails only on a socket that is no TCP socket, which has no such limit.
    let _ = SocketRef::from(&sock).set_tcp_notsent_lowat(bytes);
}

pub(crate) fn open(peer: SocketAddr, options: &DialOptions) -> io::Result<Sock> {
    let kind = socket2::Type::STREAM.nonblocking().cloexec();
    let socket = socket2::Socket::new(socket2::Domain::for_address(peer), kind, None)?;
    if options.nodelay {
        socket.set_tcp_nodelay(true)?;
    }
    if let Some(timeout) = options.user_timeout {
        socket.set_tcp_user_timeout(Some(timeout))?;
    }
    if let Some(keepalive) = options.keepalive {
        socket.set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(keepalive.idle)
                .with_interval(keepalive.interval)
                .with_retries(keepalive.count),
        )?;
    }
    if let Some(source) = options.source {
        // The port is chosen at connect, for the whole 4-tuple: without this, one range serves all destinations.
        nix::sys::socket::setsockopt(
            &socket,
            nix::sys::socket::sockopt::IpBindAddressNoPort,
            &true,
        )?;
        socket.bind(&source.into())?;
    }
    Ok(OwnedFd::from(socket).into())
}

pub(crate) fn shutdown(sock: SockRef, both: bool) {
    let how = if both {
        nix::sys::socket::Shutdown::Both
    } else {
        nix::sys::socket::Shutdown::Write
    };
    // ENOTCONN: the peer was quicker; its end arrives as a completion of its own.
    let _ = nix::sys::socket::shutdown(sock.number(), how);
}

pub(crate) fn close(sock: Sock, reset: bool) {
    let fd = sock.into_fd();
    if reset {
        // Fails only on a socket that is already gone, which is what was wanted.
        let _ = SocketRef::from(&fd).set_linger(Some(Duration::ZERO));
    }
}
