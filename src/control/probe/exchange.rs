//! The traffic of one probe: connect, say and hear until there is a verdict, leave.

use super::view::Verdict;
use super::{ProxyHeader, Settings, Target};
use crate::wire::banner::{self, BYTES_MAX, Dialogue, Farewell, Reason};
use crate::wire::proxy_protocol::{Origin, Tlvs, write_v1, write_v2};
use nix::errno::Errno;
use socket2::SockRef;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

/// How long a backend may take to close after the verdict, before its connection is reset.
const LEAVE_MAX: Duration = Duration::from_millis(250);

/// How much is read at once.
const CHUNK: usize = 2048;

/// A probe of one target.
#[derive(Debug)]
pub(super) struct Exchange<'a> {
    target: &'a Target,
    /// Connected, and nothing went wrong with it.
    open: Option<TcpStream>,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(target: &'a Target) -> Self {
        let open = None;
        Self { target, open }
    }

    /// Everything up to the verdict, within the timeout.
    pub(super) async fn verdict(&mut self, nonce: [u8; 16]) -> Verdict {
        let deadline = Instant::now() + self.settings().timeout;
        let stream = match timeout_at(deadline, connect(self.target)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return unreachable(&error),
            Err(_) => return Verdict::Failed("connect timeout".into()),
        };
        let dialogue = self.settings().script.begin(nonce);
        match timeout_at(deadline, talk(&stream, self.settings(), dialogue)).await {
            Ok(Ok(())) => self.keep(stream, Verdict::Passed),
            Ok(Err(Failure::Said(reason))) => self.keep(stream, Verdict::Failed(reason)),
            Ok(Err(Failure::Broke(reason))) => give_up(&stream, reason),
            Err(_) => give_up(&stream, "reply timeout".into()),
        }
    }

    /// Leaves a backend as its protocol has it, if the connection still stands.
    pub(super) async fn leave(self) {
        let farewell = farewell(self.settings());
        let Some(stream) = self.open else {
            return;
        };
        let (last, fin) = match farewell {
            Farewell::Reset => return reset(&stream),
            Farewell::Fin(last) => (last, true),
            Farewell::Leave(last) => (last, false),
        };
        let parted = timeout(LEAVE_MAX, part(&stream, last, fin)).await;
        if !matches!(parted, Ok(Ok(()))) {
            reset(&stream);
        }
    }

    fn keep(&mut self, stream: TcpStream, verdict: Verdict) -> Verdict {
        self.open = Some(stream);
        verdict
    }

    fn settings(&self) -> &'a Settings {
        &self.target.settings
    }
}

/// Why a talk ended badly.
enum Failure {
    /// By what was said.
    Said(Reason),
    /// By what became of the connection.
    Broke(Reason),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Broke(phrase(&error))
    }
}

async fn connect(target: &Target) -> io::Result<TcpStream> {
    let socket = if target.address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    };
    let stream = socket?.connect(target.address).await?;
    if is_our_own(&stream, target.address) {
        return Err(Errno::ECONNREFUSED.into());
    }
    Ok(stream)
}

/// Whether this socket is connected to itself. Where nobody listens on a port of this machine, a connect from that same
/// port, which the kernel picks once in some 28,000 times, meets itself (simultaneous open, RFC 9293, section 3.5).
fn is_our_own(stream: &TcpStream, address: SocketAddr) -> bool {
    stream.local_addr().is_ok_and(|local| local == address)
}

async fn talk(
    stream: &TcpStream,
    settings: &Settings,
    mut dialogue: Dialogue<'_>,
) -> Result<(), Failure> {
    let first = dialogue.on_connected();
    let mut said = proxy_header(settings.proxy_header);
    if let banner::Verdict::Say(bytes) = &first {
        said.extend_from_slice(bytes);
    }
    say(stream, &said).await?;
    if first == banner::Verdict::Passed {
        return Ok(());
    }
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = hear(stream, &mut chunk).await?;
        if count == 0 {
            return Err(Failure::Broke(dialogue.on_end()));
        }
        match dialogue.feed(&chunk[..count]) {
            banner::Verdict::More => {}
            banner::Verdict::Say(bytes) => say(stream, &bytes).await?,
            banner::Verdict::Passed => return Ok(()),
            banner::Verdict::Failed(reason) => return Err(Failure::Said(reason)),
        }
    }
}

fn proxy_header(version: ProxyHeader) -> Vec<u8> {
    match version {
        ProxyHeader::Off => Vec::new(),
        ProxyHeader::V1 => write_v1(Origin::Local).to_vec(),
        ProxyHeader::V2 => write_v2(Origin::Local, &Tlvs::default()).expect("16 bytes fit"),
    }
}

async fn say(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// At least one byte; none is the end.
async fn hear(stream: &TcpStream, chunk: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(chunk) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            heard => return heard,
        }
    }
}

/// A reset would take back a header that was sent.
fn farewell(settings: &Settings) -> Farewell {
    match (settings.script.farewell(), settings.proxy_header) {
        (Farewell::Reset, ProxyHeader::V1 | ProxyHeader::V2) => Farewell::Fin(b""),
        (farewell, _) => farewell,
    }
}

/// Says the `last` words, with or without FIN, and reads until the backend closes.
async fn part(stream: &TcpStream, last: &[u8], fin: bool) -> io::Result<()> {
    say(stream, last).await?;
    if fin {
        SockRef::from(stream).shutdown(Shutdown::Write)?;
    }
    let mut chunk = vec![0; CHUNK];
    let mut heard = 0;
    while heard < BYTES_MAX {
        match hear(stream, &mut chunk).await? {
            0 => break,
            count => heard += count,
        }
    }
    Ok(())
}

fn give_up(stream: &TcpStream, reason: Reason) -> Verdict {
    reset(stream);
    Verdict::Failed(reason)
}

/// Has the close that follows send RST: nothing of the connection stays behind on either side (SO_LINGER of 0, socket(7)).
fn reset(stream: &TcpStream) {
    // Fails for no socket of ours; then the close is an ordinary one.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// What this machine lacks, or does not let us do.
const OUR_OWN: [Errno; 7] = [
    Errno::EMFILE,
    Errno::ENFILE,
    Errno::ENOBUFS,
    Errno::ENOMEM,
    Errno::EADDRNOTAVAIL,
    Errno::EPERM,
    Errno::EACCES,
];

/// The words for what operators meet.
const PHRASES: [(Errno, &str); 10] = [
    (Errno::ECONNREFUSED, "connection refused"),
    (Errno::ECONNRESET, "reset"),
    (Errno::ECONNABORTED, "reset"),
    (Errno::EPIPE, "reset"),
    (Errno::ETIMEDOUT, "connect timeout"),
    (Errno::EHOSTUNREACH, "host unreachable"),
    (Errno::ENETUNREACH, "network unreachable"),
    (Errno::EADDRNOTAVAIL, "no local port left"),
    (Errno::EMFILE, "no descriptor left"),
    (Errno::ENFILE, "no descriptor left"),
];

/// A connection that did not come about, by whose fault.
fn unreachable(error: &io::Error) -> Verdict {
    let reason = phrase(error);
    if OUR_OWN.contains(&errno(error)) {
        Verdict::NotMade(reason)
    } else {
        Verdict::Failed(reason)
    }
}

/// Those words, or the system's own.
fn phrase(error: &io::Error) -> Reason {
    let errno = errno(error);
    let known = PHRASES.iter().find(|(known, _)| *known == errno);
    known.map_or_else(
        || errno.desc().to_lowercase().into(),
        |(_, phrase)| (*phrase).into(),
    )
}

fn errno(error: &io::Error) -> Errno {
    error
        .raw_os_error()
        .map_or(Errno::UnknownErrno, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};

    #[test]
    fn a_socket_that_met_itself_is_nobody() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        let own = socket.local_addr().unwrap();
        socket.connect(&own).unwrap();
        socket.set_nonblocking(true).unwrap();
        tokio_uring::start(async {
            let stream = TcpStream::from_std(socket.into()).unwrap();
            assert!(is_our_own(&stream, own.as_socket().unwrap()));
            assert!(!is_our_own(&stream, any));
        });
    }

    #[test]
    fn what_this_machine_lacks_is_not_held_against_a_backend() {
        let verdict = |errno: Errno| unreachable(&errno.into());
        let not_made = Verdict::NotMade("no descriptor left".into());
        assert_eq!(verdict(Errno::EMFILE), not_made);
        let failed = Verdict::Failed("connection refused".into());
        assert_eq!(verdict(Errno::ECONNREFUSED), failed);
        let failed = Verdict::Failed("protocol error".into());
        assert_eq!(verdict(Errno::EPROTO), failed);
    }
}
