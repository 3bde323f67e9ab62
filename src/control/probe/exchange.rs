//! The traffic of one probe: connect, agree on TLS if there is any, say and hear until there is a verdict, leave.

use super::stream::Stream;
use super::view::Verdict;
use super::{ProxyHeader, Settings, Target, tls};
use crate::wire::banner::{self, BYTES_MAX, Dialogue, Farewell, Reason};
use crate::wire::proxy_protocol::{Origin, Tlvs, write_v1, write_v2};
use nix::errno::Errno;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
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
    open: Option<Stream>,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(target: &'a Target) -> Self {
        let open = None;
        Self { target, open }
    }

    /// Everything up to the verdict, within the timeout.
    pub(super) async fn verdict(&mut self, nonce: [u8; 16]) -> Verdict {
        let deadline = Instant::now() + self.settings().timeout;
        let plain = match timeout_at(deadline, connect(self.target)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return unreachable(&error),
            Err(_) => return Verdict::Failed("connect timeout".into()),
        };
        let mut stream = match timeout_at(deadline, secure(plain, self.target)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(reason)) => return Verdict::Failed(reason),
            Err(_) => return Verdict::Failed("tls timeout".into()),
        };
        let dialogue = self.settings().script.begin(nonce);
        match timeout_at(deadline, talk(&mut stream, self.settings(), dialogue)).await {
            Ok(Ok(())) => self.keep(stream, Verdict::Passed),
            Ok(Err(Failure::Said(reason))) => self.keep(stream, Verdict::Failed(reason)),
            Ok(Err(Failure::Broke(reason))) => give_up(&stream, reason),
            Err(_) => give_up(&stream, "reply timeout".into()),
        }
    }

    /// Leaves a backend as its protocol has it, if the connection still stands.
    pub(super) async fn leave(self) {
        let farewell = farewell(self.settings());
        let Some(mut stream) = self.open else {
            return;
        };
        let (last, fin) = match farewell {
            Farewell::Reset => return stream.reset(),
            Farewell::Fin(last) => (last, true),
            Farewell::Leave(last) => (last, false),
        };
        let parted = timeout(LEAVE_MAX, part(&mut stream, last, fin)).await;
        if !matches!(parted, Ok(Ok(()))) {
            stream.reset();
        }
    }

    fn keep(&mut self, stream: Stream, verdict: Verdict) -> Verdict {
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
        Self::Broke(tls::reason(&error))
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

/// What comes before the dialogue: the header, which is not part of TLS, and TLS.
async fn secure(mut plain: TcpStream, target: &Target) -> Result<Stream, Reason> {
    let header = proxy_header(target.settings.proxy_header);
    if target.settings.tls.is_some() {
        let sent = plain.write_all(&header).await;
        sent.map_err(|error| phrase(&error))?;
    }
    Stream::agree(plain, target).await
}

async fn talk(
    stream: &mut Stream,
    settings: &Settings,
    mut dialogue: Dialogue<'_>,
) -> Result<(), Failure> {
    let first = dialogue.on_connected();
    // Without TLS, in one packet with what is said first.
    let mut said = match stream {
        Stream::Plain(_) => proxy_header(settings.proxy_header),
        Stream::Tls(_) => Vec::new(),
    };
    if let banner::Verdict::Say(bytes) = &first {
        said.extend_from_slice(bytes);
    }
    stream.say(&said).await?;
    if first == banner::Verdict::Passed {
        return Ok(());
    }
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = stream.hear(&mut chunk).await?;
        if count == 0 {
            return Err(Failure::Broke(dialogue.on_end()));
        }
        match dialogue.feed(&chunk[..count]) {
            banner::Verdict::More => {}
            banner::Verdict::Say(bytes) => stream.say(&bytes).await?,
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

/// A reset would take back a header that was sent, and the end of a handshake.
fn farewell(settings: &Settings) -> Farewell {
    let was_silent = settings.proxy_header == ProxyHeader::Off && settings.tls.is_none();
    match settings.script.farewell() {
        Farewell::Reset if !was_silent => Farewell::Fin(b""),
        farewell @ (Farewell::Reset | Farewell::Fin(_) | Farewell::Leave(_)) => farewell,
    }
}

/// Says the `last` words, with or without FIN, and reads until the backend closes.
async fn part(stream: &mut Stream, last: &[u8], fin: bool) -> io::Result<()> {
    stream.say(last).await?;
    if fin {
        stream.finish().await?;
    }
    let mut chunk = vec![0; CHUNK];
    let mut heard = 0;
    while heard < BYTES_MAX {
        match stream.hear(&mut chunk).await? {
            0 => break,
            count => heard += count,
        }
    }
    Ok(())
}

fn give_up(stream: &Stream, reason: Reason) -> Verdict {
    stream.reset();
    Verdict::Failed(reason)
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
pub(super) fn phrase(error: &io::Error) -> Reason {
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
