//! The client's socket before it is relayed: what was read from it so far, and what it said of its end.
//!
//! Everything read here is part of the stream: it goes on to the backend, or back to the pool with the connection. From a
//! client that speaks TLS it is what was opened.

use super::Cx;
use crate::base::Key;
use crate::relay::{Begin, Failure, Opened, Session, Source, tag};
use crate::ring::{Errno, Lane, Lease, Op, Sock, SockRef};

/// The client's side of a connection that has no backend yet.
#[derive(Debug)]
pub(super) struct Client {
    sock: Sock,
    /// Its TLS, once that is agreed on.
    tls: Option<Box<Session>>,
    seen: Lease,
    reading: Reading,
    /// A send to it is in flight.
    sending: bool,
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
    Failed(Failure),
}

impl Client {
    pub(super) fn new(sock: Sock) -> Self {
        Self {
            sock,
            tls: None,
            seen: Lease::EMPTY,
            reading: Reading::Not,
            sending: false,
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
        let has_closed = self.tls.as_ref().is_some_and(|tls| tls.has_ended());
        matches!(self.reading, Reading::Not | Reading::Armed) && !has_closed
    }

    /// Its TLS, once that is agreed on.
    pub(super) fn tls(&self) -> Option<&Session> {
        self.tls.as_deref()
    }

    /// From now on what it sends is opened: its stream begins with `text`, and goes on with what was read last.
    pub(super) fn begin_tls(
        &mut self,
        tls: Box<Session>,
        text: Lease,
        cx: &mut Cx<'_>,
    ) -> Result<(), Failure> {
        self.tls = Some(tls);
        self.given = u64::from(text.len());
        let behind = std::mem::replace(&mut self.seen, text);
        let kept = self.keep(behind, cx);
        // Its FIN came while the handshake was still going on, behind what has only been opened now.
        if let (Reading::Ended, Some(tls)) = (self.reading, &mut self.tls) {
            tls.on_fin();
        }
        kept
    }

    /// Takes out what was read, which was not part of the stream.
    pub(super) fn take_seen(&mut self) -> Lease {
        self.given = 0;
        self.seen.take()
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
                if let Some(tls) = &mut self.tls {
                    tls.on_fin();
                }
                Heard::End
            }
            Ok(lease) => match self.keep(lease, cx) {
                Ok(()) => Heard::Bytes,
                Err(failure) => Heard::Failed(failure),
            },
            Err(Errno::ENOBUFS) => {
                cx.pressure.no_buffer.add(1);
                Heard::NoBuffer
            }
            // A kernel that ends a receive early without a reason.
            Err(Errno::ECANCELED) => Heard::Bytes,
            Err(errno) => {
                self.reading = Reading::Failed;
                Heard::Failed(Failure::Socket(errno))
            }
        }
    }

    fn keep(&mut self, came: Lease, cx: &mut Cx<'_>) -> Result<(), Failure> {
        let Some(tls) = &mut self.tls else {
            self.given += u64::from(came.len());
            cx.buffers.append(&mut self.seen, came);
            return Ok(());
        };
        let Opened { text, failure } = tls.open(came, cx.buffers, cx.desk);
        self.given += u64::from(text.len());
        cx.buffers.append(&mut self.seen, text);
        failure.map_or(Ok(()), |broken| Err(broken.into()))
    }

    /// Whether a send to it is in flight.
    pub(super) fn is_sending(&self) -> bool {
        self.sending
    }

    /// Sends it something.
    pub(super) fn send(&mut self, lease: Lease, poll_first: bool, key: Key, cx: &mut Cx<'_>) {
        self.sending = true;
        cx.ops.push(Op::Send {
            tag: tag(key, Lane::A),
            sock: self.sock.as_ref(),
            lease,
            poll_first,
        });
    }

    /// A send completed, and is repeated with what it did not take.
    ///
    /// # Errors
    /// Why it takes no more.
    pub(super) fn on_sent(
        &mut self,
        result: Result<u32, Errno>,
        rest: Lease,
        key: Key,
        cx: &mut Cx<'_>,
    ) -> Result<(), Errno> {
        self.sending = false;
        match result {
            Ok(_) | Err(Errno::EINTR) if !rest.is_empty() => self.send(rest, true, key, cx),
            Ok(_) => {}
            Err(errno) => {
                cx.buffers.release(rest);
                return Err(errno);
            }
        }
        Ok(())
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
        if let Some(tls) = &mut self.tls {
            tls.shed(cx.buffers);
        }
    }

    /// The last that it is told, and the end of its TLS: nothing it sends matters any more.
    pub(super) fn last_words(&mut self, reply: Option<&[u8]>, cx: &mut Cx<'_>) -> Lease {
        // Without a buffer for the reply it has to do without: there are others waiting for one.
        let reply = reply.and_then(|reply| cx.buffers.write(reply));
        let reply = reply.unwrap_or_default();
        let Some(mut tls) = self.tls.take() else {
            return reply;
        };
        let mut words = Lease::EMPTY;
        if tls.is_established() {
            words = tls.seal(reply, cx.buffers, cx.desk).unwrap_or_default();
        } else {
            cx.buffers.release(reply);
        }
        let farewell = tls.farewell(cx.buffers, cx.desk);
        cx.buffers.append(&mut words, farewell);
        tls.release(cx.buffers);
        words
    }

    /// Throws away what was read.
    pub(super) fn forget(&mut self, cx: &mut Cx<'_>) {
        cx.buffers.release(self.seen.take());
    }

    /// Hands over to a relay: the socket, its TLS, and what its first half begins with.
    pub(super) fn into_relay(self) -> (Sock, Option<Box<Session>>, Begin) {
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
        (self.sock, self.tls, begin)
    }

    /// The socket alone, to be closed. What was read must have been forgotten.
    pub(super) fn into_sock(self) -> Sock {
        self.sock
    }
}
