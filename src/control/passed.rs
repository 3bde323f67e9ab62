//! Listening sockets that systemd opened (sd_listen_fds(3)), or a process that is [upgraded](super::upgrade): a listener whose address one of them has takes it instead
//! of binding. Clients that come while the proxy restarts then wait in its queue, and ports below 1024 need no capability.

use listenfd::ListenFd;
use std::env;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// The environment variable with what the configuration says in place of each passed socket's address, where a process
/// of this program passed them: port 0 may have become any.
pub(super) const WANTED: &str = "RINGWAY_WANTED";

/// What was passed and is not yet taken.
#[derive(Debug, Default)]
pub(super) struct Passed(Vec<(SocketAddr, OwnedFd)>);

impl Passed {
    /// What the environment announces (LISTEN_FDS, LISTEN_PID), which is then taken out of it: to be called before there
    /// is a second thread. What is no TCP socket is left alone, with a warning.
    pub(super) fn from_env() -> Self {
        let mut passed = ListenFd::from_env();
        let wanted = env::var(WANTED).unwrap_or_default();
        let mut wanted = wanted.split(',').map(|address| address.parse().ok());
        let sockets = (0..passed.len()).filter_map(|at| {
            let wanted = wanted.next().flatten();
            socket(&mut passed, at)
                .inspect_err(|e| tracing::warn!("systemd passed what no listener can use: {e}"))
                .map(|(address, socket)| (wanted.unwrap_or(address), socket))
                .ok()
        });
        Self(sockets.collect())
    }

    /// Every socket of this address.
    pub(super) fn take(&mut self, address: SocketAddr) -> Vec<OwnedFd> {
        let of_address = |passed: &mut (SocketAddr, OwnedFd)| passed.0 == address;
        let taken = self.0.extract_if(.., of_address);
        taken.map(|(_, socket)| socket).collect()
    }

    /// Says which sockets no listener has taken. Their clients wait: systemd keeps the sockets open, and nobody accepts.
    pub(super) fn warn_of_the_rest(&self) {
        for (address, _) in &self.0 {
            tracing::warn!(
                "systemd listens on {address}, but no listener does: clients connect there and wait in vain; \
                 give a listener this address, or take ListenStream={address} out of the socket unit"
            );
        }
    }
}

fn socket(passed: &mut ListenFd, at: usize) -> io::Result<(SocketAddr, OwnedFd)> {
    let taken = passed.take_tcp_listener(at)?;
    let socket = taken.expect("each descriptor is taken once");
    Ok((socket.local_addr()?, socket.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    fn sockets_are_matched_by_address_and_taken_once() {
        let bound = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (one, other) = (bound(), bound());
        let [first, second] = [&one, &other].map(|socket| socket.local_addr().unwrap());
        let again = one.try_clone().unwrap();
        let passed = [
            (first, one.into()),
            (second, other.into()),
            (first, again.into()),
        ];
        let mut passed = Passed(passed.into());
        assert_eq!(passed.take(first).len(), 2);
        assert!(passed.take(first).is_empty());
        assert_eq!(passed.0.len(), 1);
        assert_eq!(passed.0[0].0, second);
    }
}
