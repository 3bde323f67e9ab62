//! Another binary takes over without a client noticing (SIGUSR2), in the manner of nginx.
//!
//! The program is started anew from its path, with the same arguments, and gets every listening socket: the same
//! sockets, so that whoever waits in their queues stays there. When it serves it says so on a socket that this process
//! named to it; only then does this one stop accepting, and drain. If it does not come to that, this process goes on as if
//! nothing had been. On another socket, which the next process is born with, goes the [bequest](super::bequest).

use super::bequest::{self, Deed, Heir};
use super::passed::{BEQUEST, NAMES, WANTED};
use crate::ring::Time;
use command_fds::{CommandFdExt, FdMapping};
use std::env;
use std::ffi::OsString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;
use tokio::net;

/// The environment variable with the abstract name of the socket that waits for word.
const READY: &str = "RINGWAY_UPGRADE";

/// How long the new process may take to serve: to read its files and ask for the names of backends.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether the new process is still there.
const LOOK: Duration = Duration::from_millis(20);

/// How this process was started.
#[derive(Clone, Debug)]
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

/// A process that is to take over, while it starts.
#[derive(Debug)]
pub(super) struct Successor {
    child: Child,
    word: net::UnixDatagram,
    until: Time,
    heir: Heir,
}

impl Program {
    /// To be asked at the start: once its file is replaced, the kernel knows this program's path no more.
    ///
    /// # Errors
    /// What the system refused to tell.
    pub(super) fn this() -> io::Result<Self> {
        Ok(Self {
            path: env::current_exe()?,
            arguments: env::args_os().skip(1).collect(),
        })
    }

    /// Starts it with these listening sockets, each with its [`label`](super::passed::label), and tells it what it goes
    /// on from.
    ///
    /// # Errors
    /// What the system refused.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub(super) fn start(
        &self,
        mut sockets: Vec<(String, OwnedFd)>,
        deed: &Deed,
    ) -> io::Result<Successor> {
        let now = Time::read_clock();
        let name = format!("ringway-{}-{:016x}", std::process::id(), secret());
        let word = UnixDatagram::bind_addr(&UnixAddr::from_abstract_name(&name)?)?;
        word.set_nonblocking(true)?;
        let (heir, theirs) = bequest::pair()?;
        heir.tell(deed);
        sockets.push((BEQUEST.to_owned(), theirs.into()));
        let (labels, descriptors): (Vec<_>, Vec<_>) = sockets.into_iter().unzip();
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env(READY, &name)
            .env(WANTED, labels.join(","))
            .env("LISTEN_FDS", descriptors.len().to_string())
            // These name this process or what it was passed, and the next one would think that they are not meant for it.
            .env_remove("LISTEN_PID")
            .env_remove(NAMES)
            .env_remove("WATCHDOG_PID");
        let numbered = descriptors.into_iter().zip(3..);
        let mappings = numbered.map(|(parent_fd, child_fd)| FdMapping {
            parent_fd,
            child_fd,
        });
        let mapped = command.fd_mappings(mappings.collect());
        mapped.map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        Ok(Successor {
            child: command.spawn()?,
            word: net::UnixDatagram::from_std(word)?,
            until: now + PATIENCE,
            heir,
        })
    }
}

/// A number that nobody guesses: std seeds its hashes by the system's randomness.
fn secret() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Successor {
    /// Waits until it serves: its process. To be called again when it was interrupted.
    ///
    /// # Errors
    /// Why it never will; it is gone then.
    pub(super) async fn serves(&mut self) -> Result<u32, String> {
        let mut word = [0; 8];
        loop {
            tokio::select! {
                came = self.word.recv(&mut word) => match came {
                    Ok(_) => return Ok(self.child.id()),
                    Err(e) => return Err(self.give_up(&format!("nothing can be heard of it: {e}"))),
                },
                () = tokio::time::sleep(LOOK) => {}
            }
            match self.child.try_wait() {
                Ok(None) if Time::read_clock() < self.until => {}
                Ok(None) => {
                    return Err(self.give_up(&format!("it did not serve within {PATIENCE:?}")));
                }
                Ok(Some(status)) => {
                    return Err(format!("it ended with {status}; its log says why"));
                }
                Err(e) => return Err(self.give_up(&format!("it cannot be watched: {e}"))),
            }
        }
    }

    /// The way to tell it what this process still counts.
    pub(super) fn into_heir(self) -> Heir {
        self.heir
    }

    fn give_up(&mut self, why: &str) -> String {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        why.to_owned()
    }
}

/// Whether this process is to take over from another one, which still serves.
pub(super) fn takes_over() -> bool {
    env::var_os(READY).is_some()
}

/// Tells the process that started this one that it may go.
pub(super) fn tell_predecessor() {
    let Some(name) = env::var_os(READY) else {
        return;
    };
    let told = UnixAddr::from_abstract_name(name.as_encoded_bytes())
        .and_then(|to| UnixDatagram::unbound()?.send_to_addr(b"ready", &to));
    if let Err(e) = told {
        // Gone, most likely: then nobody else serves, which is what was to be told.
        tracing::warn!("the process that this one takes over from does not hear it: {e}");
    }
}
