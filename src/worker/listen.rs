//! Listening sockets: one per worker and address, sharing the address by SO_REUSEPORT. What accepted sockets inherit
//! is set here, once, instead of per connection.

use crate::config::Listener;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Binds an address of a listener once for each of the workers' CPUs, of which there is at least one. With port 0 the
/// first socket finds a port and the others share it. The second value is the address in fact bound.
///
/// # Errors
/// What bind(2), listen(2) or setsockopt(2) refused; EADDRINUSE also when another program listens there with
/// SO_REUSEPORT, which would otherwise silently take a share of the clients. That is not asked where this process itself
/// may listen at the same port (`beside_us`).
pub fn bind(
    rules: &Listener,
    address: SocketAddr,
    cpus: &[usize],
    beside_us: bool,
) -> io::Result<(Vec<OwnedFd>, SocketAddr)> {
    if address.port() != 0 && !beside_us {
        open(rules, address, false)?;
    }
    let first = open(rules, address, true)?;
    let bound = first.local_addr()?.as_socket().unwrap_or(address);
    let mut sockets = vec![first];
    for _ in cpus.iter().skip(1) {
        sockets.push(open(rules, bound, true)?);
    }
    for (socket, &cpu) in sockets.iter().zip(cpus) {
        if rules.incoming_cpu {
            socket.set_cpu_affinity(cpu)?;
        }
        listen(rules, socket)?;
    }
    Ok((sockets.into_iter().map(OwnedFd::from).collect(), bound))
}

/// Makes listening sockets that others bound ready for a listener and shares them out: each with the number of its worker.
/// Of fewer sockets than workers, some workers get the same one: the kernel wakes one of them for each client. The
/// listener's `incoming_cpu` means nothing then, and SO_REUSEPORT is not needed.
///
/// # Errors
/// What setsockopt(2), listen(2) or fcntl(2) refused.
pub fn share(
    rules: &Listener,
    sockets: Vec<OwnedFd>,
    workers: usize,
) -> io::Result<Vec<(usize, OwnedFd)>> {
    let sockets: Vec<_> = sockets.into_iter().map(Socket::from).collect();
    for socket in &sockets {
        socket.set_nonblocking(true)?;
        dress(rules, socket)?;
        // Again, for the backlog.
        listen(rules, socket)?;
    }
    let shares = (0..workers.max(sockets.len())).zip(sockets.iter().cycle());
    shares
        .map(|(at, socket)| Ok((at % workers, socket.try_clone()?.into())))
        .collect()
}

/// A bound socket with everything that accepted ones inherit. Without sharing, it finds out who else is there.
fn open(rules: &Listener, address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.cloexec(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // "[::]:80" and "0.0.0.0:80" are two addresses, as in nginx since 1.3.4: neither takes the other's clients.
        socket.set_only_v6(true)?;
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    dress(rules, &socket)?;
    Ok(socket)
}

/// Sets what accepted sockets inherit.
fn dress(rules: &Listener, socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(rules.nodelay)?;
    // 0 is the system's own, of this and of the last one.
    socket.set_tcp_user_timeout(Some(rules.user_timeout))?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(rules.keepalive.idle)
            .with_interval(rules.keepalive.interval)
            .with_retries(rules.keepalive.count),
    )?;
    socket.set_tcp_notsent_lowat(rules.notsent_lowat)
}

fn listen(rules: &Listener, socket: &Socket) -> io::Result<()> {
    socket.listen(i32::try_from(rules.backlog).unwrap_or(i32::MAX))
}

/// Gives a listening socket what its listener's rules say now. Clients that were accepted before keep what they have.
///
/// # Errors
/// What setsockopt(2) or listen(2) refused.
pub fn dress_again(rules: &Listener, socket: BorrowedFd<'_>) -> io::Result<()> {
    let socket = SockRef::from(&socket);
    dress(rules, &socket)?;
    listen(rules, &socket)
}
