//! Where requests come in: a TCP address, or a Unix socket whose file comes and goes with the process.

use super::access::Peer;
use crate::config::AdminAddress;
use crate::control::passed::{self, Passed};
use std::cell::RefCell;
use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use tokio::net;

/// Owner and group may connect, nobody else.
const SOCKET_MODE: u32 = 0o660;

/// A bound address.
#[derive(Debug)]
pub(super) enum Door {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, SocketFile),
}

/// Removed with its owner, unless it is somebody else's by then.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Where it is until it takes over, if another process has the path.
    aside: RefCell<Option<PathBuf>>,
    /// Device and inode: a process that took over has another one at this path.
    identity: (u64, u64),
}

impl Door {
    /// Binds the address, or takes it over from the process that has it.
    ///
    /// # Errors
    /// What was refused, and what to do about it.
    pub(super) fn open(
        address: &AdminAddress,
        given: &mut Passed,
        takes_over: bool,
    ) -> Result<Self, String> {
        let opened = match address {
            AdminAddress::Tcp(address) => match given.take(passed::ADMIN, *address).pop() {
                Some(socket) => inherited(socket.into()),
                None => tcp(*address),
            },
            AdminAddress::Unix(path) => unix(path, takes_over),
        };
        opened.map_err(|e| {
            let fix = fix(address, &e);
            format!("admin.listen: cannot listen on {address}: {e}; fix: {fix}")
        })
    }

    /// A copy of the socket, for another process, and what it is; none of a Unix socket.
    ///
    /// # Errors
    /// When no descriptor is free.
    pub(super) fn copy(&self, wanted: &AdminAddress) -> io::Result<Option<(String, OwnedFd)>> {
        match (self, wanted) {
            (Self::Tcp(listener, _), AdminAddress::Tcp(wanted)) => {
                let label = passed::label(passed::ADMIN, *wanted);
                Ok(Some((label, listener.try_clone()?.into())))
            }
            // Its file is replaced by the next process.
            (Self::Unix(..), _) | (Self::Tcp(..), AdminAddress::Unix(_)) => Ok(None),
        }
    }

    /// The same inside the runtime.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub(super) fn listen(&self) -> io::Result<Listening> {
        Ok(match self {
            Self::Tcp(listener, _) => {
                Listening::Tcp(net::TcpListener::from_std(listener.try_clone()?)?)
            }
            Self::Unix(listener, file) => {
                file.take_over()?;
                Listening::Unix(net::UnixListener::from_std(listener.try_clone()?)?)
            }
        })
    }
}

impl fmt::Display for Door {
    /// As the configuration would have it, with the port that the system chose.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(_, address) => write!(f, "{address}"),
            Self::Unix(_, file) => write!(f, "unix:{}", file.path.display()),
        }
    }
}

fn tcp(address: SocketAddr) -> io::Result<Door> {
    inherited(TcpListener::bind(address)?)
}

fn inherited(listener: TcpListener) -> io::Result<Door> {
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    Ok(Door::Tcp(listener, bound))
}

fn unix(path: &Path, takes_over: bool) -> io::Result<Door> {
    // Paths of sockets are short (unix(7)): this name is no longer than most.
    let aside = takes_over.then(|| path.with_file_name(format!(".{}", std::process::id())));
    let at = aside.as_deref().unwrap_or(path);
    clear(at)?;
    let listener = UnixListener::bind(at)?;
    listener.set_nonblocking(true)?;
    fs::set_permissions(at, Permissions::from_mode(SOCKET_MODE))?;
    let file = SocketFile {
        identity: identity(at)?,
        path: path.to_owned(),
        aside: RefCell::new(aside),
    };
    Ok(Door::Unix(listener, file))
}

impl SocketFile {
    /// Takes the path over from the process that had it, which knows its own file from the next one.
    fn take_over(&self) -> io::Result<()> {
        match self.aside.take() {
            Some(aside) => fs::rename(aside, &self.path),
            None => Ok(()),
        }
    }
}

/// Takes away a socket that nobody listens on any more. Anything else that is there stays, and binding says so.
fn clear(path: &Path) -> io::Result<()> {
    let is_socket = |meta: fs::Metadata| meta.file_type().is_socket();
    if !fs::symlink_metadata(path).is_ok_and(is_socket) {
        return Ok(());
    }
    match UnixStream::connect(path) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let meta = fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let at = self.aside.take().unwrap_or_else(|| self.path.clone());
        if identity(&at).is_ok_and(|now| now == self.identity) {
            // Nobody is harmed by a file that stays: the next process replaces it.
            let _ = fs::remove_file(&at);
        }
    }
}

fn fix(address: &AdminAddress, error: &io::Error) -> &'static str {
    match (address, error.kind()) {
        (AdminAddress::Tcp(_), io::ErrorKind::AddrInUse) => {
            "another program listens there; `ss -ltnp` names it"
        }
        (AdminAddress::Tcp(_), io::ErrorKind::AddrNotAvailable) => {
            "no interface has this address; check `ip address`"
        }
        (AdminAddress::Tcp(_), io::ErrorKind::PermissionDenied) => "choose a port from 1024 up",
        (AdminAddress::Unix(_), io::ErrorKind::AddrInUse) => {
            "another process answers there, or the path is no socket; `ss -lxp` names who listens"
        }
        (AdminAddress::Unix(_), io::ErrorKind::NotFound) => {
            "create its directory (RuntimeDirectory= in the unit)"
        }
        (AdminAddress::Unix(_), io::ErrorKind::PermissionDenied) => {
            "let this user write in its directory"
        }
        (AdminAddress::Tcp(_) | AdminAddress::Unix(_), _) => "see bind(2)",
    }
}

/// A bound address that is waited for.
pub(super) enum Listening {
    Tcp(net::TcpListener),
    Unix(net::UnixListener),
}

/// A client of it.
pub(super) enum Caller {
    Tcp(net::TcpStream, Peer),
    Unix(net::UnixStream),
}

impl Listening {
    /// Waits for the next client. Dropped half way, it loses none.
    pub(super) async fn accept(&self) -> io::Result<Caller> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Answers are one write each: nothing is gained by waiting for more.
                let _ = stream.set_nodelay(true);
                let is_ours = address.ip().to_canonical().is_loopback();
                let peer = if is_ours {
                    Peer::Loopback
                } else {
                    Peer::Remote
                };
                Ok(Caller::Tcp(stream, peer))
            }
            Self::Unix(listener) => Ok(Caller::Unix(listener.accept().await?.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path) -> Result<Door, String> {
        let address = AdminAddress::Unix(path.to_owned());
        Door::open(&address, &mut Passed::default(), false)
    }

    #[test]
    fn a_socket_is_for_owner_and_group_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let door = at(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
        assert_eq!(door.to_string(), format!("unix:{}", path.display()));
        drop(door);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_that_nobody_listens_on_is_replaced_and_one_that_answers_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the file");
        let first = at(&path).unwrap();
        let refused = at(&path).unwrap_err();
        assert!(refused.contains("another process answers"), "{refused}");
        drop(first);
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.txt");
        fs::write(&path, "precious").unwrap();
        assert!(at(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    /// A door, and the door of a process that is to take over.
    fn two(path: &Path) -> [Door; 2] {
        let address = AdminAddress::Unix(path.to_owned());
        let next = || Door::open(&address, &mut Passed::default(), true).unwrap();
        [at(path).unwrap(), next()]
    }

    #[test]
    fn a_process_that_took_the_path_over_keeps_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let [old, new] = two(&path);
        let Door::Unix(_, file) = &new else {
            unreachable!("its address is a path")
        };
        file.take_over().unwrap();
        drop(old);
        assert_eq!(identity(&path).unwrap(), file.identity);
        drop(new);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_process_that_does_not_come_to_take_over_leaves_the_path_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let [old, new] = two(&path);
        drop(new);
        UnixStream::connect(&path).unwrap();
        drop(old);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
