//! Listening sockets that this process was born with (sd_listen_fds(3)): systemd opened them, or kept them for a process
//! that crashed ([`store`](super::store)), or the process that is [upgraded](super::upgrade) hands them on. A listener whose
//! address one of them has takes it instead of binding. Clients that come while the proxy restarts then wait in its queue, and
//! ports below 1024 need no capability.

use super::store;
use listenfd::ListenFd;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::env;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// The environment variable with what each passed socket is, where a process of this program passed them: the
/// [`label`] of a listening one.
pub(super) const WANTED: &str = "RINGWAY_WANTED";

/// In the place of a label there: the socket on which that process tells what it leaves.
pub(super) const BEQUEST: &str = "bequest";

/// systemd's names for the sockets, with colons between them.
pub(super) const NAMES: &str = "LISTEN_FDNAMES";

/// What was passed and is not yet taken.
#[derive(Debug, Default)]
pub(super) struct Passed {
    sockets: Vec<Socket>,
    predecessor: Option<UnixStream>,
}

#[derive(Debug)]
struct Socket {
    /// As the configuration has it, as far as that is known.
    at: SocketAddr,
    /// Whose it was, where that is known.
    owner: Option<String>,
    socket: OwnedFd,
    giver: Giver,
}

/// The owner of the admin address; listeners have their names.
pub(super) const ADMIN: &str = "";

/// A socket's owner and what the configuration says in place of its address: port 0 may have become any.
pub(super) fn label(owner: &str, wanted: SocketAddr) -> String {
    format!("{}@{wanted}", utf8_percent_encode(owner, NON_ALPHANUMERIC))
}

/// The reverse of [`label`].
fn read_label(label: &str) -> Option<(String, SocketAddr)> {
    let (owner, at) = label.split_once('@')?;
    let owner = percent_decode_str(owner).decode_utf8().ok()?;
    Some((owner.into_owned(), at.parse().ok()?))
}

/// Who passed a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Giver {
    /// A socket unit of systemd's, which keeps it open.
    Unit,
    /// systemd's store, where an earlier process of this service left it.
    Store,
    /// The process that is upgraded.
    Process,
}

impl Passed {
    /// What the environment announces (LISTEN_FDS, LISTEN_PID), which is then taken out of it: to be called before there
    /// is a second thread. What is no TCP socket is left alone, with a warning.
    pub(super) fn from_env() -> Self {
        let mut given = ListenFd::from_env();
        let (wanted, names) = (env::var(WANTED), env::var(NAMES).unwrap_or_default());
        let mut names = names.split(':');
        let (mut passed, by_process) = (Self::default(), wanted.is_ok());
        let wanted = wanted.unwrap_or_default();
        let mut wanted = wanted.split(',');
        for at in 0..given.len() {
            let (wanted, name) = (wanted.next(), names.next());
            let taken = if wanted == Some(BEQUEST) {
                stream(&mut given, at).map(|it| passed.predecessor = Some(it))
            } else {
                let stored = name.and_then(store::address).filter(|_| !by_process);
                let giver = match (by_process, stored) {
                    (true, _) => Giver::Process,
                    (false, Some(_)) => Giver::Store,
                    (false, None) => Giver::Unit,
                };
                let (owner, labelled) = wanted.and_then(read_label).unzip();
                let taken = socket(&mut given, at, labelled.or(stored), giver);
                taken.map(|it| passed.sockets.push(Socket { owner, ..it }))
            };
            if let Err(e) = taken {
                tracing::warn!("a descriptor was passed that no listener can use: {e}");
            }
        }
        passed
    }

    /// Every socket of this address; of port 0, which is any, this owner's alone.
    pub(super) fn take(&mut self, owner: &str, address: SocketAddr) -> Vec<OwnedFd> {
        let is_it = |it: &mut Socket| {
            it.at == address && (address.port() != 0 || it.owner.as_deref() == Some(owner))
        };
        let taken = self.sockets.extract_if(.., is_it);
        taken.map(|it| it.socket).collect()
    }

    /// The way on which the process before tells what it leaves, once.
    pub(super) fn take_predecessor(&mut self) -> Option<UnixStream> {
        self.predecessor.take()
    }

    /// Every address that there is a socket of.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().map(|it| it.at)
    }

    /// Says which sockets no listener has taken, and what becomes of who connects there.
    pub(super) fn warn_of_the_rest(&self) {
        for Socket { at, giver, .. } in &self.sockets {
            match giver {
                Giver::Unit => tracing::warn!(
                    "systemd listens on {at}, but no listener does: clients connect there and wait in vain; \
                     give a listener this address, or take ListenStream={at} out of the socket unit"
                ),
                Giver::Store => tracing::warn!(
                    "an earlier process listened on {at} and systemd has kept the socket, but no listener has this \
                     address any more: it is closed, and clients that waited there are reset"
                ),
                Giver::Process => tracing::warn!(
                    "the process before listens on {at}, but no listener here does: it is closed when that one goes, \
                     and clients are refused from then on"
                ),
            }
        }
    }
}

fn socket(
    given: &mut ListenFd,
    at: usize,
    known: Option<SocketAddr>,
    giver: Giver,
) -> io::Result<Socket> {
    let taken = given.take_tcp_listener(at)?;
    let socket = taken.expect("each descriptor is taken once");
    let at = known.map_or_else(|| socket.local_addr(), Ok)?;
    Ok(Socket {
        at,
        owner: None,
        socket: socket.into(),
        giver,
    })
}

/// A connected socket, which is told from a listening one by nothing that is asked here.
fn stream(given: &mut ListenFd, at: usize) -> io::Result<UnixStream> {
    let taken = given.take_unix_listener(at)?;
    let socket = taken.expect("each descriptor is taken once");
    Ok(OwnedFd::from(socket).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    fn bound() -> Socket {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Socket {
            at: socket.local_addr().unwrap(),
            owner: None,
            socket: socket.into(),
            giver: Giver::Unit,
        }
    }

    fn at(address: SocketAddr, owner: Option<&str>) -> Socket {
        Socket {
            at: address,
            owner: owner.map(str::to_owned),
            ..bound()
        }
    }

    fn passed(sockets: impl Into<Vec<Socket>>) -> Passed {
        Passed {
            sockets: sockets.into(),
            predecessor: None,
        }
    }

    #[test]
    fn sockets_are_matched_by_address_and_taken_once() {
        let (one, other) = (bound(), bound());
        let [first, second] = [one.at, other.at];
        let again = at(first, Some("feed"));
        let mut passed = passed([one, other, again]);
        assert_eq!(passed.take("web", first).len(), 2);
        assert!(passed.take("web", first).is_empty());
        assert_eq!(passed.addresses().collect::<Vec<_>>(), [second]);
    }

    #[test]
    fn sockets_of_any_port_are_their_owners_alone() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut passed = passed([ADMIN, "feed", "feed"].map(|owner| at(any, Some(owner))));
        assert_eq!(passed.take("web", any).len(), 0);
        assert_eq!(passed.take("feed", any).len(), 2);
        assert_eq!(passed.take(ADMIN, any).len(), 1);
    }

    #[test]
    fn a_label_may_have_any_name() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        for name in [ADMIN, "feed", "a,b@c: %2C\u{e9}"] {
            let label = label(name, any);
            assert!(!label.contains(','), "{label}");
            assert_eq!(read_label(&label), Some((name.to_owned(), any)));
        }
        assert_eq!(read_label(BEQUEST), None);
    }
}
