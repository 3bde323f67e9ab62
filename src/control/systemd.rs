//! What systemd is told (sd_notify(3), "Description of the protocol"): that the proxy is ready, reloads, stops, still
//! turns. Datagrams of `KEY=VALUE` lines to the socket that NOTIFY_SOCKET names; without that variable nothing is sent.
//!
//! The crates for this lack abstract socket names, which container managers pass, and the whole is shorter than its
//! description.

use crate::ring::Time;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use std::env;
use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// How long a busy systemd may keep this thread from sending. It answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a stop may take beyond the drain's own deadline before systemd kills.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// Descriptors of one message (SCM_MAX_FD of unix(7)).
const DESCRIPTORS_MAX: usize = 253;

/// The way to systemd, or to whatever else speaks its protocol. Sending never fails the caller: who does not listen does
/// not need to know.
#[derive(Debug, Default)]
pub struct Systemd {
    to: Option<(UnixDatagram, UnixAddr)>,
    watchdog: Option<Duration>,
}

impl Systemd {
    /// What the environment names: NOTIFY_SOCKET, and WATCHDOG_USEC unless WATCHDOG_PID is somebody else's.
    pub fn from_env() -> Self {
        let var = |key: &str| env::var(key).ok();
        let watchdog = watchdog(
            var("WATCHDOG_USEC").as_deref(),
            var("WATCHDOG_PID").as_deref(),
            std::process::id(),
        );
        let name = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let to = name.and_then(|name| {
            let reached = reach(&name);
            reached
                .inspect_err(|e| tracing::warn!("NOTIFY_SOCKET={}: {e}", name.display()))
                .ok()
        });
        Self { to, watchdog }
    }

    /// How often to [`feed`](Self::feed) the watchdog, twice in the time that WatchdogSec= of the unit gives.
    pub fn watchdog(&self) -> Option<Duration> {
        self.to.as_ref().and(self.watchdog).map(|limit| limit / 2)
    }

    /// It serves, since the start or since a reload. The text is what `systemctl status` shows.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// It reads its configuration again, beginning at `now`; [`ready`](Self::ready) ends that, whatever came of it.
    /// Both Type=notify and Type=notify-reload (systemd 253) understand this.
    pub fn reloading(&self, now: Time) {
        let micros = now.as_nanos() / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It drains, which takes `within` at most: TimeoutStopSec= of the unit is extended to that.
    pub fn stopping(&self, within: Duration) {
        let micros = (within + STOP_MARGIN).as_micros();
        self.send(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={micros}"));
    }

    /// Another process of the service has taken over: from now on that is the one that is watched and heard.
    pub fn succeeded_by(&self, pid: u32) {
        self.send(&format!("MAINPID={pid}"));
    }

    /// Keeps copies of these for the next process of the service, under a name, as far as FileDescriptorStoreMax= of the
    /// unit goes. Of what it has already it keeps one.
    pub(super) fn keep(&self, name: &str, descriptors: &[BorrowedFd<'_>]) {
        for some in descriptors.chunks(DESCRIPTORS_MAX) {
            self.send_with(&format!("FDSTORE=1\nFDNAME={name}"), some);
        }
    }

    /// Closes what it has kept under this name.
    pub(super) fn forget(&self, name: &str) {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
    }

    /// What `systemctl status` shows from now on.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={status}"));
    }

    /// Every worker turns.
    pub fn feed(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        self.send_with(message, &[]);
    }

    fn send_with(&self, message: &str, descriptors: &[BorrowedFd<'_>]) {
        let Some((socket, to)) = &self.to else {
            return;
        };
        let numbers: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let rights = if numbers.is_empty() { &[][..] } else { &rights };
        let text = [IoSlice::new(message.as_bytes())];
        let (from, flags) = (socket.as_raw_fd(), MsgFlags::MSG_NOSIGNAL);
        if let Err(e) = sendmsg(from, &text, rights, flags, Some(to)) {
            tracing::debug!("systemd does not hear {message:?}: {e}");
        }
    }
}

fn reach(name: &OsStr) -> io::Result<(UnixDatagram, UnixAddr)> {
    let to = address(name)?;
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok((socket, to))
}

/// A path, or an abstract name after `@`.
fn address(name: &OsStr) -> io::Result<UnixAddr> {
    Ok(match name.as_bytes().strip_prefix(b"@") {
        Some(abstract_name) => UnixAddr::new_abstract(abstract_name)?,
        None => UnixAddr::new(name.as_bytes())?,
    })
}

/// The time within which the process `me` has to be heard of, as sd_watchdog_enabled(3) reads it.
fn watchdog(micros: Option<&str>, pid: Option<&str>, me: u32) -> Option<Duration> {
    let micros: u64 = micros?.parse().ok().filter(|micros| *micros > 0)?;
    let is_mine = pid.is_none_or(|pid| pid.parse() == Ok(me));
    is_mine.then(|| Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use tempfile::TempDir;

    /// A proxy's end and systemd's.
    fn heard(watchdog: Option<Duration>) -> (Systemd, UnixDatagram, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let to = reach(path.as_os_str()).unwrap();
        let systemd = Systemd {
            to: Some(to),
            watchdog,
        };
        (systemd, socket, dir)
    }

    fn next(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let len = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    }

    #[test]
    fn each_change_is_one_datagram_in_the_words_of_the_protocol() {
        let (systemd, socket, _dir) = heard(None);
        systemd.ready("2 listeners");
        systemd.reloading(Time::from_nanos(7_000_999));
        systemd.stopping(Duration::from_secs(30));
        systemd.status("draining");
        systemd.feed();
        assert_eq!(next(&socket), "READY=1\nSTATUS=2 listeners");
        assert_eq!(next(&socket), "RELOADING=1\nMONOTONIC_USEC=7000");
        assert_eq!(next(&socket), "STOPPING=1\nEXTEND_TIMEOUT_USEC=40000000");
        assert_eq!(next(&socket), "STATUS=draining");
        assert_eq!(next(&socket), "WATCHDOG=1");
    }

    #[test]
    fn the_watchdog_is_fed_twice_in_its_time_by_whom_it_watches() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(Some("1000000"), None, 7), second);
        assert_eq!(watchdog(Some("1000000"), Some("7"), 7), second);
        assert_eq!(watchdog(Some("1000000"), Some("8"), 7), None);
        assert_eq!(watchdog(Some("0"), None, 7), None);
        assert_eq!(watchdog(Some("soon"), None, 7), None);
        assert_eq!(watchdog(None, Some("7"), 7), None);
        let (systemd, ..) = heard(second);
        assert_eq!(systemd.watchdog(), Some(Duration::from_millis(500)));
    }

    #[test]
    fn without_systemd_nothing_is_sent_and_nothing_fed() {
        let systemd = Systemd {
            to: None,
            watchdog: Some(Duration::from_secs(1)),
        };
        systemd.ready("nobody listens");
        assert_eq!(systemd.watchdog(), None);
    }

    #[test]
    fn a_name_after_an_at_sign_is_abstract() {
        let name = address(OsStr::new("@ringway/notify")).unwrap();
        assert_eq!(name.as_abstract(), Some(&b"ringway/notify"[..]));
        let path = address(OsStr::new("/run/systemd/notify")).unwrap();
        assert_eq!(path.path(), Some(Path::new("/run/systemd/notify")));
    }
}
