//! The client's socket before it is relayed: what was read from it so far, and what it said of its end.
//!
//! Everything read here is part of the stream: it goes on to the backend, or back to the pool with the connection.

use super::Cx;
use crate::base::Key;
use crate::relay::{Begin, Source, tag};
use crate::ring::{Errno, Lane, Lease, Op, Sock, SockRef};

/// The client's side of a connection that has no backend yet.
#[derive(Debug)]
pub(super) struct Client {
    sock: Sock,
    seen: Lease,
    reading: Reading,
    /// Bytes of the client's own stream: all that came, less what was meant for us.
    given: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reading {
    /// No receive is in flight.
    Not,
    /// A receive is in flight.
    Armed,
    /// It sent FIN.
    Ended,
    /// It is gone.
    Failed,
}

/// What a completed receive brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// Bytes, or nothing: it may be read on.
    Bytes,
    /// There was no buffer for what waits.
    NoBuffer,
    /// It sent FIN.
    End,
    /// It is gone.
    Failed(Errno),
}

impl Client {
    pub(super) fn new(sock: Sock) -> Self {
        Self {
            sock,
            seen: Lease::EMPTY,
            reading: Reading::Not,
            given: 0,
        }
    }

    pub(super) fn sock(&self) -> SockRef {
        self.sock.as_ref()
    }

    pub(super) fn seen(&self) -> &Lease {
        &self.seen
    }

    /// Whether the kernel holds nothing of it.
    pub(super) fn is_quiet(&self) -> bool {
        self.reading != Reading::Armed
    }

    /// Whether more may come.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.reading, Reading::Not | Reading::Armed)
    }

    /// Sees to it that up to about `budget` bytes are being received.
    pub(super) fn read(&mut self, budget: u32, key: Key, cx: &mut Cx<'_>) {
        if self.reading != Reading::Not {
            return;
        }
        self.reading = Reading::Armed;
        cx.ops.push(Op::Recv {
            tag: tag(key, Lane::A),
            sock: self.sock.as_ref(),
            budget,
            // The first bytes are mostly there by the time that the client has been accepted.
            poll_first: !self.seen.is_empty(),
        });
    }

    /// A receive completed; what it brought is kept.
    pub(super) fn on_received(
        &mut self,
        result: Result<Lease, Errno>,
        more: bool,
        cx: &mut Cx<'_>,
    ) -> Heard {
        if !more {
            self.reading = Reading::Not;
        }
        match result {
            Ok(lease) if lease.is_empty() => {
                self.reading = Reading::Ended;
                Heard::End
            }
            Ok(lease) => {
                self.given += u64::from(lease.len());
                cx.buffers.append(&mut self.seen, lease);
                Heard::Bytes
            }
            Err(Errno::ENOBUFS) => Heard::NoBuffer,
            // A kernel that ends a receive early without a reason.
            Err(Errno::ECANCELED) => Heard::Bytes,
            Err(errno) => {
                self.reading = Reading::Failed;
                Heard::Failed(errno)
            }
        }
    }

    /// Takes the first `count` bytes off: they were meant for us.
    pub(super) fn consume(&mut self, count: usize, cx: &mut Cx<'_>) {
        let count = u32::try_from(count).expect("a header is at most 64 KiB");
        self.given -= u64::from(count);
        cx.buffers.consume(&mut self.seen, count);
    }

    /// Puts `head` in the place of the first `count` bytes. `false`, and nothing changed, when no buffer is free.
    pub(super) fn replace(&mut self, count: usize, head: &[u8], cx: &mut Cx<'_>) -> bool {
        let Some(mut head) = cx.buffers.write(head) else {
            return false;
        };
        let count = u32::try_from(count).expect("a head is at most 64 KiB");
        cx.buffers.consume(&mut self.seen, count);
        cx.buffers.append(&mut head, self.seen.take());
        self.seen = head;
        true
    }

    /// Puts `bytes` before what was read. `false`, and nothing changed, when no buffer is free.
    pub(super) fn prepend(&mut self, bytes: &[u8], cx: &mut Cx<'_>) -> bool {
        self.replace(0, bytes, cx)
    }

    /// Moves what was read out of the buffers, if there is room for it elsewhere.
    pub(super) fn shed(&mut self, cx: &mut Cx<'_>) {
        if !self.seen.is_empty() {
            cx.buffers.spill(&mut self.seen);
        }
    }

    /// Throws away what was read.
    pub(super) fn forget(&mut self, cx: &mut Cx<'_>) {
        cx.buffers.release(self.seen.take());
    }

    /// Hands over to a relay: the socket, and what its first half begins with.
    pub(super) fn into_relay(self) -> (Sock, Begin) {
        let source = match self.reading {
            Reading::Not => Source::Speaking,
            Reading::Armed => Source::Armed,
            Reading::Ended | Reading::Failed => Source::Ended,
        };
        let begin = Begin {
            seen: self.seen,
            given: self.given,
            source,
        };
        (self.sock, begin)
    }

    /// The socket alone, to be closed. What was read must have been forgotten.
    pub(super) fn into_sock(self) -> Sock {
        self.sock
    }
}
