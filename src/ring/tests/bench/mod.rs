//! What the tests on a kernel share: a ring, its ops and completions, sockets on loopback.
#![allow(dead_code, reason = "each test program uses its own part")]
#![expect(clippy::unwrap_used, reason = "a test's unwrap is its assertion")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "any other event is the failure"
)]

use ringway_ring::{
    Completion, Errno, Event, Lane, Lease, Op, Ops, RecvMode, Ring, Sock, Tag, Time, Until, Uring,
    UringConfig,
};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

pub(crate) const A: Tag = Tag {
    lane: Lane::A,
    slot: 5,
    generation: 9,
};
pub(crate) const B: Tag = Tag {
    lane: Lane::B,
    slot: 5,
    generation: 9,
};

pub(crate) struct Bench {
    pub(crate) ring: Uring,
    pub(crate) ops: Ops,
    pub(crate) done: Vec<Completion>,
}

impl Bench {
    pub(crate) fn new(recv: RecvMode) -> Self {
        Self::spinning(recv, Duration::ZERO)
    }

    pub(crate) fn spinning(recv: RecvMode, spin: Duration) -> Self {
        let config = UringConfig {
            spin,
            buffers: 16,
            buffer_size: 1024,
            recv: Some(recv),
            ..UringConfig::default()
        };
        let ring = Uring::new(config).expect("a kernel with io_uring");
        Self {
            ring,
            ops: Ops::default(),
            done: Vec::new(),
        }
    }

    /// Turns until the next completion, at most five seconds.
    pub(crate) fn next(&mut self) -> Completion {
        let deadline = Time::read_clock() + Duration::from_secs(5);
        while self.done.is_empty() {
            assert!(
                Time::read_clock() < deadline,
                "no completion within five seconds"
            );
            self.ring
                .turn(&mut self.ops, Until::Time(deadline), &mut self.done)
                .unwrap();
        }
        self.done.remove(0)
    }

    /// One turn that does not wait.
    pub(crate) fn poke(&mut self) {
        self.ring
            .turn(&mut self.ops, Until::Now, &mut self.done)
            .unwrap();
    }

    pub(crate) fn received(&mut self) -> (Result<Vec<u8>, Errno>, bool) {
        match self.next().event {
            Event::Received { result, more, .. } => (result.map(|lease| self.text(lease)), more),
            other => panic!("not a receive: {other:?}"),
        }
    }

    pub(crate) fn text(&mut self, lease: Lease) -> Vec<u8> {
        let bytes = self
            .ring
            .buffers()
            .segments(&lease)
            .flatten()
            .copied()
            .collect();
        self.ring.buffers().release(lease);
        bytes
    }

    pub(crate) fn receive_exactly(&mut self, sock: &Sock, want: usize) -> Vec<u8> {
        let mut all = Vec::new();
        let mut armed = false;
        while all.len() < want {
            if !armed {
                self.recv(sock, 65_536);
            }
            let (bytes, more) = self.received();
            all.extend(bytes.expect("bytes"));
            armed = more;
        }
        all
    }

    pub(crate) fn recv(&mut self, sock: &Sock, budget: u32) {
        self.ops.push(Op::Recv {
            tag: A,
            sock: sock.as_ref(),
            budget,
            poll_first: true,
        });
    }

    pub(crate) fn send(&mut self, sock: &Sock, lease: Lease, poll_first: bool) {
        self.ops.push(Op::Send {
            tag: A,
            sock: sock.as_ref(),
            lease,
            poll_first,
        });
    }

    pub(crate) fn sent(&mut self) -> (Result<u32, Errno>, Lease) {
        match self.next().event {
            Event::Sent { result, rest } => (result, rest),
            other => panic!("not a send: {other:?}"),
        }
    }

    /// Sends [`byte`]s, so many at a time, until a send waits for room; how many in all.
    pub(crate) fn fill(&mut self, sock: &Sock, each: usize) -> usize {
        let mut handed = 0;
        while handed < 64 << 20 {
            let bytes: Vec<u8> = (handed..handed + each).map(byte).collect();
            handed += each;
            let lease = self.ring.buffers().write(&bytes).unwrap();
            self.send(sock, lease, false);
            self.poke();
            if self.done.is_empty() {
                return handed;
            }
            let (result, rest) = self.sent();
            result.unwrap();
            if !rest.is_empty() {
                self.send(sock, rest, true);
                self.poke();
                assert!(self.done.is_empty(), "no room, yet sent: {:?}", self.done);
                return handed;
            }
        }
        panic!("a socket that never fills");
    }

    /// Lets the other end read all `bytes` bytes, and sends what still waits.
    pub(crate) fn drain(&mut self, sock: &Sock, mut near: TcpStream, bytes: usize) {
        let reader = std::thread::spawn(move || {
            let mut got = vec![0; bytes];
            near.read_exact(&mut got).unwrap();
            got
        });
        loop {
            let (result, rest) = self.sent();
            result.unwrap();
            if rest.is_empty() {
                break;
            }
            self.send(sock, rest, true);
        }
        let got = reader.join().unwrap();
        assert!(got == (0..bytes).map(byte).collect::<Vec<_>>());
    }

    pub(crate) fn close(&mut self, sock: Sock, reset: bool) {
        self.ops.push(Op::Close { sock, reset });
        self.poke();
    }
}

/// A connected pair: the test's end and the ring's end, which does not block, as one that the ring has accepted.
pub(crate) fn pair() -> (TcpStream, Sock) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    near.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (far, _) = listener.accept().unwrap();
    far.set_nonblocking(true).unwrap();
    (near, Sock::from(OwnedFd::from(far)))
}

/// What stands at this place of a stream: it repeats only after a prime number of bytes.
pub(crate) fn byte(at: usize) -> u8 {
    u8::try_from(at % 251).unwrap()
}
