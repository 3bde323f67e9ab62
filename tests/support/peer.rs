//! A TCP peer that does one thing a line: send, expect, fin, reset. Every step has a deadline and panics past it.

use super::wait::{self, PATIENCE};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// How a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// FIN after the last byte.
    Fin,
    /// RST (ECONNRESET).
    Reset,
}

/// One end of a TCP connection.
#[derive(Debug)]
pub(crate) struct Peer(TcpStream);

impl Peer {
    /// Takes a stream over and gives it deadlines.
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Connects.
    #[track_caller]
    pub(crate) fn connect(to: SocketAddr) -> Self {
        Self::new(TcpStream::connect_timeout(&to, PATIENCE).expect("connects"))
    }

    /// Connects, or says why not.
    pub(crate) fn try_connect(to: SocketAddr) -> io::Result<Self> {
        TcpStream::connect_timeout(&to, PATIENCE).map(Self::new)
    }

    /// Connects from an address of choice; on loopback every 127.x.y.z is ours.
    pub(crate) fn connect_from(from: IpAddr, to: SocketAddr) -> Self {
        Self::try_connect_from(from, to).expect("connects")
    }

    /// Connects from an address of choice, or says why not: who is not let in may be told so before it looks.
    pub(crate) fn try_connect_from(from: IpAddr, to: SocketAddr) -> io::Result<Self> {
        let socket = Self::socket(to);
        socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
        socket.connect_timeout(&to.into(), PATIENCE)?;
        Ok(Self::new(socket.into()))
    }

    /// Connects from an address and a port of choice, which was another connection's until it was reset.
    pub(crate) fn connect_bound(from: SocketAddr, to: SocketAddr) -> Self {
        let socket = Self::socket(to);
        socket.set_reuse_address(true).unwrap();
        socket.bind(&from.into()).expect("nobody else's");
        Self::finish(socket, to)
    }

    /// Connects with a receive buffer of this size, so that a stalled reader stalls its sender soon.
    pub(crate) fn connect_narrow(to: SocketAddr, receive_buffer: usize) -> Self {
        let socket = Self::socket(to);
        socket.set_recv_buffer_size(receive_buffer).unwrap();
        Self::finish(socket, to)
    }

    fn socket(to: SocketAddr) -> Socket {
        Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP)).unwrap()
    }

    fn finish(socket: Socket, to: SocketAddr) -> Self {
        socket
            .connect_timeout(&to.into(), PATIENCE)
            .expect("connects");
        Self::new(socket.into())
    }

    /// A second handle on the same socket, for another thread.
    pub(crate) fn share(&self) -> Self {
        Self(self.0.try_clone().unwrap())
    }

    /// The stream itself.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.0
    }

    /// Its own address.
    pub(crate) fn local(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// The other end's.
    pub(crate) fn remote(&self) -> SocketAddr {
        self.0.peer_addr().unwrap()
    }

    /// Sends all of it.
    #[track_caller]
    pub(crate) fn send(&self, bytes: &[u8]) {
        (&self.0).write_all(bytes).expect("sends");
    }

    /// Sends all of it, or says how far it came.
    pub(crate) fn try_send(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.0).write_all(bytes)
    }

    /// Sends as much as goes without waiting for the reader; how much that was. "Full" is half a second without room.
    pub(crate) fn send_until_full(&self, most: usize) -> usize {
        self.0
            .set_write_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let mut sent = 0;
        while sent < most {
            let chunk = pattern(sent, (most - sent).min(64 << 10));
            match (&self.0).write(chunk) {
                Ok(count) => sent += count,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => panic!("after {sent} bytes: {e}"),
            }
        }
        self.0.set_write_timeout(Some(PATIENCE)).unwrap();
        sent
    }

    /// Sends `bytes` bytes of the [`pattern`] from its beginning.
    #[track_caller]
    pub(crate) fn send_pattern(&self, bytes: usize) {
        self.send_pattern_from(0, bytes);
    }

    /// Sends bytes `from..to` of the [`pattern`].
    #[track_caller]
    pub(crate) fn send_pattern_from(&self, from: usize, to: usize) {
        let mut at = from;
        while at < to {
            let count = (to - at).min(64 << 10);
            self.send(pattern(at, count));
            at += count;
        }
    }

    /// The next bytes must be these.
    #[track_caller]
    pub(crate) fn expect(&self, bytes: &[u8]) {
        let mut got = vec![0; bytes.len()];
        (&self.0).read_exact(&mut got).expect("receives");
        assert!(
            got == bytes,
            "other bytes: {:?} instead of {:?}",
            String::from_utf8_lossy(&got[..got.len().min(200)]),
            String::from_utf8_lossy(&bytes[..bytes.len().min(200)])
        );
    }

    /// The next `bytes` bytes must be the [`pattern`] from its beginning.
    #[track_caller]
    pub(crate) fn expect_pattern(&self, bytes: usize) {
        let got = self.read_pattern(0, bytes);
        assert_eq!(got, (bytes, None), "(bytes, end)");
    }

    /// What is left must be the [`pattern`] from `at` on; how many bytes, and how it ended.
    #[track_caller]
    pub(crate) fn drain_pattern(&self, at: usize) -> (usize, End) {
        let (bytes, end) = self.read_pattern(at, usize::MAX);
        (bytes, end.expect("read to the end"))
    }

    #[track_caller]
    fn read_pattern(&self, at: usize, most: usize) -> (usize, Option<End>) {
        let mut buffer = vec![0; 256 << 10];
        let mut got = 0;
        while got < most {
            let room = buffer.len().min(most - got);
            match (&self.0).read(&mut buffer[..room]) {
                Ok(0) => return (got, Some(End::Fin)),
                Ok(count) => {
                    let right = &buffer[..count] == pattern(at + got, count);
                    assert!(right, "wrong bytes between {got} and {}", got + count);
                    got += count;
                }
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return (got, Some(End::Reset)),
                Err(e) => panic!("after {got} bytes: {e}"),
            }
        }
        (got, None)
    }

    /// Reads to the end: all bytes, and how it ended.
    #[track_caller]
    pub(crate) fn drain(&self) -> (Vec<u8>, End) {
        let mut got = Vec::new();
        match (&self.0).read_to_end(&mut got) {
            Ok(_) => (got, End::Fin),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => (got, End::Reset),
            Err(e) => panic!("after {} bytes: {e}", got.len()),
        }
    }

    /// The next bytes, however many there are; none when it has ended or was reset.
    pub(crate) fn drain_some(&self) -> Vec<u8> {
        let mut buffer = vec![0; 64 << 10];
        let count = (&self.0).read(&mut buffer).unwrap_or(0);
        buffer.truncate(count);
        buffer
    }

    /// FIN must come next.
    #[track_caller]
    pub(crate) fn expect_fin(&self) {
        assert_eq!(self.drain(), (Vec::new(), End::Fin));
    }

    /// RST must come next.
    #[track_caller]
    pub(crate) fn expect_reset(&self) {
        assert_eq!(self.drain(), (Vec::new(), End::Reset));
    }

    /// For so long, neither a byte nor an end may come.
    #[track_caller]
    pub(crate) fn expect_silence(&self, span: Duration) {
        self.0.set_read_timeout(Some(span)).unwrap();
        let got = self.0.peek(&mut [0]);
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        let silent = matches!(&got, Err(e) if e.kind() == ErrorKind::WouldBlock);
        assert!(silent, "not silent: {got:?}");
    }

    /// Sends FIN and goes on receiving.
    pub(crate) fn fin(&self) {
        self.0.shutdown(Shutdown::Write).expect("sends FIN");
    }

    /// Closes with RST (SO_LINGER of 0, socket(7)).
    pub(crate) fn reset(self) {
        SockRef::from(&self.0)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    /// Closes: FIN, or RST when something was not read.
    pub(crate) fn close(self) {
        drop(self);
    }
}

/// `count` bytes of an endless stream from `at` on, which repeats only after a prime number of bytes: a byte lost,
/// doubled or swapped anywhere shows.
pub(crate) fn pattern(at: usize, count: usize) -> &'static [u8] {
    /// The first prime above 2^20.
    const PERIOD: usize = 1_048_583;
    static TWICE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let word = |n: u64| (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        let once: Vec<u8> = (0..).flat_map(word).take(PERIOD).collect();
        once.repeat(2)
    });
    assert!(count <= PERIOD, "one period at a time");
    let start = at % PERIOD;
    &TWICE[start..start + count]
}

/// A listening socket whose connections the test takes one by one.
#[derive(Debug)]
pub(crate) struct Backend {
    listener: TcpListener,
    serving: Option<JoinHandle<()>>,
}

impl Backend {
    /// On 127.0.0.1.
    pub(crate) fn new() -> Self {
        Self::on("127.0.0.1:0".parse().unwrap())
    }

    /// On an address of choice; port 0 lets the system choose.
    pub(crate) fn on(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("listens");
        Self {
            listener,
            serving: None,
        }
    }

    /// Serves every connection with a thread of its own.
    pub(crate) fn serve(act: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        Self::new().serving(act)
    }

    /// From now on, serves every connection with a thread of its own.
    pub(crate) fn serving(mut self, act: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        let listener = self.listener.try_clone().unwrap();
        let act = Arc::new(act);
        self.serving = Some(std::thread::spawn(move || {
            for stream in listener.incoming() {
                let act = Arc::clone(&act);
                let Ok(stream) = stream else { return };
                std::thread::spawn(move || act(Peer::new(stream)));
            }
        }));
        self
    }

    /// Sends back what comes, FIN for FIN.
    pub(crate) fn echo() -> Self {
        Self::serve(echo)
    }

    /// One whose queue of connections is full: it neither accepts nor refuses (connections to it just wait). Loopback
    /// alone: the kernel drops what it cannot queue (listen(2), net.ipv4.tcp_abort_on_overflow = 0).
    pub(crate) fn silent() -> (Self, Vec<Peer>) {
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.bind(&address.into()).unwrap();
        // The queue holds one more than its length says.
        socket.listen(0).unwrap();
        let silent = Self {
            listener: socket.into(),
            serving: None,
        };
        let filler = Peer::connect(silent.address());
        (silent, vec![filler])
    }

    /// Takes at most this many bytes that nobody has read yet.
    pub(crate) fn narrow(receive_buffer: usize) -> Self {
        let backend = Self::new();
        SockRef::from(&backend.listener)
            .set_recv_buffer_size(receive_buffer)
            .unwrap();
        backend
    }

    /// Says its name to everyone who comes, then FIN.
    pub(crate) fn named(name: &str) -> Self {
        let name = name.to_owned();
        Self::serve(move |peer| {
            // A peer that has gone meanwhile is the test's business, not this thread's.
            let _ = peer.try_send(name.as_bytes());
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next connection.
    #[track_caller]
    pub(crate) fn accept(&self) -> Peer {
        self.listener.set_nonblocking(true).unwrap();
        let stream = wait::until_some("a connection arrives", || {
            self.listener.accept().ok().map(|(stream, _)| stream)
        });
        self.listener.set_nonblocking(false).unwrap();
        stream.set_nonblocking(false).unwrap();
        Peer::new(stream)
    }

    /// Nobody may be waiting to be accepted.
    #[track_caller]
    pub(crate) fn expect_nobody(&self) {
        self.listener.set_nonblocking(true).unwrap();
        let got = self.listener.accept();
        self.listener.set_nonblocking(false).unwrap();
        assert!(got.is_err(), "somebody connected: {got:?}");
    }

    /// Stops listening; the address refuses connections.
    pub(crate) fn close(self) -> SocketAddr {
        self.address()
    }

    /// An address that refuses connections: its port was ours a moment ago.
    pub(crate) fn refusing() -> SocketAddr {
        Self::new().close()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            // Ends the accept (EINVAL). A connection would, too, but there may be no port for one.
            SockRef::from(&self.listener)
                .shutdown(Shutdown::Both)
                .unwrap();
            let _ = serving.join();
        }
    }
}

/// Sends back what comes, FIN for FIN. A reset ends it quietly.
#[expect(
    clippy::needless_pass_by_value,
    reason = "serves the connection to its end and closes it"
)]
pub(crate) fn echo(peer: Peer) {
    let _ = io::copy(&mut peer.stream(), &mut peer.stream());
    let _ = peer.stream().shutdown(Shutdown::Write);
}
