//! The seam: operations that go to a kernel and completions that come back, as plain data.

use crate::{Errno, Lease, Time};
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Which of the two sockets that a slot may own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Lane {
    /// The first: a proxied connection's client, a load client's only socket.
    A,
    /// The second: a proxied connection's backend.
    B,
}

/// Names the owner of an op; comes back in its completions. Never a pointer, never a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tag {
    /// Which socket of the slot.
    pub lane: Lane,
    /// The owner's slot, below 2^24.
    pub slot: u32,
    /// The slot's generation: a completion for an earlier owner of the slot does not match.
    pub generation: u32,
}

/// Which kind of op, to name one that is to be cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OpKind {
    /// [`Op::Accept`]
    Accept,
    /// [`Op::Dial`]
    Dial,
    /// [`Op::Recv`]
    Recv,
    /// [`Op::Send`]
    Send,
    /// [`Op::Poll`]
    Poll,
    /// [`Op::Splice`]
    Splice,
}

/// What an op can wait for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Readiness {
    /// Bytes, an end or an error at the source.
    Readable,
    /// Room, or an error, at the sink.
    Room,
}

/// An owned socket. Given back with [`Op::Close`]; dropping it elsewhere is a leak that debug builds catch.
#[derive(PartialEq, Eq, Hash)]
pub struct Sock(RawFd);

/// The number of a [`Sock`] that somebody else owns.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct SockRef(RawFd);

impl Sock {
    /// A socket of a simulated world, where numbers are all there is.
    pub fn simulated(number: i32) -> Self {
        Self(number)
    }

    /// What ops name it by.
    pub fn as_ref(&self) -> SockRef {
        SockRef(self.0)
    }

    /// Takes the descriptor out, for code that closes it by dropping it.
    pub fn into_fd(self) -> OwnedFd {
        let fd = self.0;
        std::mem::forget(self);
        // SAFETY: `self` owned `fd` alone and is forgotten: nobody else closes it. Simulated socks have no
        // descriptor, and nothing in the simulator calls this.
        unsafe { OwnedFd::from_raw_fd(fd) }
    }

    /// Gives up ownership of a simulated socket; its number.
    pub fn into_simulated(self) -> i32 {
        let number = self.0;
        std::mem::forget(self);
        number
    }
}

impl From<OwnedFd> for Sock {
    fn from(fd: OwnedFd) -> Self {
        Self(fd.into_raw_fd())
    }
}

impl Drop for Sock {
    fn drop(&mut self) {
        debug_assert!(
            std::thread::panicking(),
            "socket {} dropped without Op::Close",
            self.0
        );
    }
}

impl fmt::Debug for Sock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sock({})", self.0)
    }
}

impl SockRef {
    /// A descriptor that somebody else owns, and keeps open for as long as ops name it.
    pub fn of(fd: &impl AsFd) -> Self {
        Self(fd.as_fd().as_raw_fd())
    }

    /// A descriptor of a simulated world.
    pub const fn simulated(number: i32) -> Self {
        Self(number)
    }

    /// The number, for system calls and logs.
    pub fn number(self) -> RawFd {
        self.0
    }
}

/// tcp(7) keepalive: probing after `idle`, every `interval`, dead after `count` unanswered probes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keepalive {
    /// TCP_KEEPIDLE, whole seconds.
    pub idle: Duration,
    /// TCP_KEEPINTVL, whole seconds.
    pub interval: Duration,
    /// TCP_KEEPCNT.
    pub count: u32,
}

/// What a dialed socket is given before it connects; each one set costs a system call per connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DialOptions {
    /// TCP_NODELAY.
    pub nodelay: bool,
    /// TCP_USER_TIMEOUT (tcp(7)); `None` leaves the system's.
    pub user_timeout: Option<Duration>,
    /// SO_KEEPALIVE and its three times; `None` leaves it off.
    pub keepalive: Option<Keepalive>,
    /// The local address to bind, with IP_BIND_ADDRESS_NO_PORT when its port is 0.
    pub source: Option<SocketAddr>,
}

/// What we ask of a kernel.
#[derive(Debug)]
pub enum Op {
    /// Accept connections on a listening socket until a completion says `more == false`.
    /// Answered by [`Event::Accepted`].
    Accept {
        /// Who asks.
        tag: Tag,
        /// A listening socket.
        listener: SockRef,
    },
    /// Out of descriptors: accept one connection with the ring's spare descriptor and reset it, so that this client
    /// learns at once instead of waiting in the queue. Harmless when none waits; no completion.
    TurnAway {
        /// A listening socket.
        listener: SockRef,
    },
    /// Open a socket and connect it. Answered by one [`Event::Dialed`]; on failure the ring has closed the socket.
    Dial {
        /// Who asks.
        tag: Tag,
        /// Where to.
        peer: SocketAddr,
        /// Set before connecting.
        options: DialOptions,
        /// Tell the local address of this socket with the answer (getsockname(2)): what its peer connected to.
        asking: Option<SockRef>,
    },
    /// Receive up to about `budget` bytes (at least one receive, at most one receive more), in as many completions
    /// as the kernel likes. Answered by [`Event::Received`] until `more == false`.
    Recv {
        /// Who asks.
        tag: Tag,
        /// From where.
        sock: SockRef,
        /// Bytes after which the kernel stops by itself. Where the kernel cannot count, each completion is the last.
        budget: u32,
        /// Nothing is expected to be there yet: wait for readiness first instead of trying (a fresh or idle socket),
        /// where that loses nothing.
        poll_first: bool,
    },
    /// Send the whole chain, or as much as the socket takes. Answered by one [`Event::Sent`].
    Send {
        /// Who asks.
        tag: Tag,
        /// Where to.
        sock: SockRef,
        /// The bytes; owned by the ring until the completion.
        lease: Lease,
        /// The socket is known to be full: wait for room first instead of trying. Waiting costs the same when the
        /// peer has sent FIN.
        poll_first: bool,
    },
    /// Move bytes from one socket to another inside the kernel (splice(2), through a pipe of the ring's pool), until the
    /// source has no more, the sink takes no more or the budget is used up. Waits only when nothing at all can be
    /// moved. What the sink did not take stays in the pipe: the next splice of this tag gives it first, and takes
    /// nothing while any is left. One at a time per `(slot, lane)`, beside the sends of the same socket but not its
    /// receives. Answered by one [`Event::Spliced`].
    Splice {
        /// Who asks: the source's lane.
        tag: Tag,
        /// From where.
        from: SockRef,
        /// To where.
        to: SockRef,
        /// Bytes to take at most. 0: only give what is in the pipe.
        budget: u32,
        /// What is known to be missing: wait for that first instead of trying.
        wait: Option<Readiness>,
    },
    /// Throw away what the last splice of this tag left in its pipe. Harmless when it left nothing; no completion.
    Discard {
        /// Whose.
        tag: Tag,
    },
    /// Set how many bytes the kernel takes for a socket beyond what it could send (TCP_NOTSENT_LOWAT, tcp(7)); 0 is the
    /// system's own limit. Never fails in a way that matters; no completion.
    NotsentLowat {
        /// Which socket.
        sock: SockRef,
        /// The limit.
        bytes: u32,
    },
    /// Report each time the descriptor becomes readable. Answered by [`Event::Polled`] until `more == false`.
    Poll {
        /// Who asks.
        tag: Tag,
        /// What to watch.
        sock: SockRef,
    },
    /// Ask an op to end early. Has no completion of its own: the op's own one says how it ended, which may be as if
    /// nobody had asked (it lost the race). Harmless when there is no such op.
    Cancel {
        /// Whose op.
        tag: Tag,
        /// Which of its ops.
        what: OpKind,
    },
    /// Others need buffers: move what a send of this tag holds, if it waits for room, out of them
    /// ([`crate::Buffers::spill`]). No completion; harmless when there is no such send, or no room outside.
    Shed {
        /// Whose send.
        tag: Tag,
    },
    /// shutdown(2). Ends an armed receive (`Both`) with EOF. Never fails in a way that matters; no completion.
    Shutdown {
        /// Which socket.
        sock: SockRef,
        /// `true`: both directions. `false`: sending only (FIN after what is queued).
        both: bool,
    },
    /// Ask how many bytes the peer's kernel has not acknowledged (SIOCOUTQ, tcp(7)): what a reset would take back.
    /// Answered by one [`Event::Unsent`].
    Unsent {
        /// Who asks.
        tag: Tag,
        /// Which socket.
        sock: SockRef,
    },
    /// close(2). Only when nothing is in flight on the socket. No completion.
    Close {
        /// The socket itself.
        sock: Sock,
        /// `true`: reset the connection (SO_LINGER 0) instead of an orderly end.
        reset: bool,
    },
}

/// One answer.
#[derive(Debug)]
pub struct Completion {
    /// Whose op it was.
    pub tag: Tag,
    /// What happened.
    pub event: Event,
}

/// What came back.
#[derive(Debug)]
pub enum Event {
    /// To [`Op::Accept`].
    Accepted {
        /// The new socket and its peer's address, or why there is none (EMFILE, ENFILE, ECONNABORTED, ECANCELED …).
        result: Result<(Sock, SocketAddr), Errno>,
        /// The accept is still armed.
        more: bool,
    },
    /// To [`Op::Dial`].
    Dialed {
        /// The connected socket, or why there is none (ECONNREFUSED, ECANCELED, EMFILE, EADDRNOTAVAIL …).
        result: Result<Sock, Errno>,
        /// What was asked for, if it could be told.
        local: Option<SocketAddr>,
    },
    /// To [`Op::Recv`].
    Received {
        /// Bytes; an empty lease is EOF (then `more` is false). ENOBUFS: no buffer was free, nothing was lost.
        result: Result<Lease, Errno>,
        /// The receive is still armed.
        more: bool,
        /// The kernel knows that more bytes wait in the socket (IORING_CQE_F_SOCK_NONEMPTY).
        nonempty: bool,
    },
    /// To [`Op::Send`].
    Sent {
        /// Bytes that went out (may be fewer than asked), or why none did.
        result: Result<u32, Errno>,
        /// What did not go out, in order; empty when all did. Released buffers are already back.
        rest: Lease,
    },
    /// To [`Op::Splice`].
    Spliced {
        /// Bytes that the source gave.
        taken: u32,
        /// Bytes that the sink took.
        given: u32,
        /// Bytes in the pipe.
        held: u32,
        /// Why it went no further.
        stop: Stop,
    },
    /// To [`Op::Unsent`].
    Unsent {
        /// How many.
        bytes: u32,
    },
    /// To [`Op::Poll`].
    Polled {
        /// Readable, or why the poll ended.
        result: Result<(), Errno>,
        /// The poll is still armed.
        more: bool,
    },
}

/// Why a splice went no further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The source has no more for now.
    Empty,
    /// The sink takes no more for now; the rest is in the pipe.
    Full,
    /// The budget is used up.
    Budget,
    /// The source sent FIN; nothing is in the pipe.
    End,
    /// No pipe is free, or this source cannot be spliced from; nothing is in the pipe.
    NoPipe,
    /// [`Op::Cancel`].
    Cancelled,
    /// The source failed; nothing is in the pipe.
    SourceFailed(Errno),
    /// The sink failed; what was in the pipe is gone.
    SinkFailed(Errno),
}

/// How long a turn may wait for its first completion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// Not at all: submit, take what is there.
    Now,
    /// Until this time.
    Time(Time),
    /// For as long as it takes.
    Forever,
}

/// The ops of one turn, in order.
#[derive(Debug, Default)]
pub struct Ops(Vec<Op>);

impl Ops {
    /// Adds an op.
    pub fn push(&mut self, op: Op) {
        self.0.push(op);
    }

    /// The op added last, if it has not gone out yet.
    pub fn last_mut(&mut self) -> Option<&mut Op> {
        self.0.last_mut()
    }

    /// Takes every op out, in order. For rings.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Op> {
        self.0.drain(..)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
