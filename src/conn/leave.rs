//! A client that is not served: told why, where its protocol has words for it, and let go.
//!
//! A close(2) with unread bytes in the socket sends RST, which takes back the reply that the client was about to read
//! (RFC 9112, section 9.6). So after the reply comes FIN, and what the client still sends is read and thrown away until
//! it closes too, for a second at most.

use super::client::{Client, Heard};
use super::{Cx, Summary};
use crate::base::Key;
use crate::relay::tag;
use crate::ring::{Errno, Event, Lane, Lease, Op, Sock};
use std::time::Duration;

/// How long a client that was told may take to close: many round trips, few enough not to keep those that never do.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes that one receive throws away at most.
const DISCARD: u32 = 64 << 10;

/// The state of a connection that is not served.
#[derive(Debug)]
pub(super) struct Leave {
    client: Client,
    stage: Stage,
    pub(super) summary: Summary,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The reply is on its way; a send is in flight.
    Telling,
    /// The reply and FIN are out: what still comes is thrown away.
    Lingering,
    /// It is closed as soon as the kernel lets go. A send may still be in flight.
    Closing { sending: bool },
}

impl Leave {
    /// Begins to let a client go, with a reply or, if that is empty, without a word.
    pub(super) fn new(
        mut client: Client,
        reply: Lease,
        summary: Summary,
        key: Key,
        cx: &mut Cx<'_>,
    ) -> Self {
        client.forget(cx);
        let mut this = Self {
            client,
            stage: Stage::Closing { sending: false },
            summary,
        };
        let sending = this.client.is_sending();
        if sending || reply.is_empty() {
            // Who does not take what is on its way already will not read this either.
            cx.buffers.release(reply);
            this.stage = Stage::Closing { sending };
            this.wake(cx);
            return this;
        }
        this.stage = Stage::Telling;
        this.send(reply, key, cx);
        this.client.read(DISCARD, key, cx);
        cx.wheel.set(key.slot, cx.now + LINGER);
        this
    }

    pub(super) fn on_event(&mut self, event: Event, key: Key, cx: &mut Cx<'_>) {
        match event {
            Event::Received { result, more, .. } => self.on_received(result, more, key, cx),
            Event::Sent { result, rest } => self.on_sent(result, rest, key, cx),
            Event::Accepted { .. }
            | Event::Dialed { .. }
            | Event::Spliced { .. }
            | Event::Unsent { .. }
            | Event::Polled { .. } => unreachable!("a client is only read and told"),
        }
    }

    /// Buffers are free again to read what is thrown away.
    pub(super) fn on_buffers(&mut self, key: Key, cx: &mut Cx<'_>) {
        match self.stage {
            Stage::Telling | Stage::Lingering => self.client.read(DISCARD, key, cx),
            Stage::Closing { .. } => {}
        }
    }

    /// It had its second, or is to go at once.
    pub(super) fn hurry(&mut self, cx: &mut Cx<'_>) {
        self.close(cx);
    }

    /// Whether the kernel holds nothing of it and there is nothing to wait for.
    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Closing { sending: false } && self.client.is_quiet()
    }

    pub(super) fn into_sock(self) -> Sock {
        self.client.into_sock()
    }

    fn on_received(&mut self, result: Result<Lease, Errno>, more: bool, key: Key, cx: &mut Cx<'_>) {
        let heard = self.client.on_received(result, more, cx);
        self.client.forget(cx);
        match (self.stage, heard) {
            (Stage::Telling | Stage::Lingering, Heard::Bytes) => self.client.read(DISCARD, key, cx),
            // To close now would leave bytes unread, and the reset would overtake the reply.
            (Stage::Telling | Stage::Lingering, Heard::NoBuffer) => {
                cx.starved.push_back((key, Lane::A));
            }
            (Stage::Lingering, Heard::End | Heard::Failed(_))
            | (Stage::Telling, Heard::Failed(_)) => self.close(cx),
            (Stage::Telling, Heard::End) | (Stage::Closing { .. }, _) => {}
        }
    }

    fn on_sent(&mut self, result: Result<u32, Errno>, rest: Lease, key: Key, cx: &mut Cx<'_>) {
        match (self.stage, result) {
            (Stage::Telling, Ok(_) | Err(Errno::EINTR)) if !rest.is_empty() => {
                self.send(rest, key, cx);
            }
            (Stage::Telling, Ok(_)) => {
                cx.ops.push(Op::Shutdown {
                    sock: self.client.sock(),
                    both: false,
                });
                self.stage = Stage::Lingering;
                if !self.client.is_open() {
                    self.close(cx);
                }
            }
            (Stage::Telling | Stage::Lingering | Stage::Closing { .. }, _) => {
                cx.buffers.release(rest);
                self.stage = Stage::Closing { sending: false };
                self.wake(cx);
            }
        }
    }

    fn send(&self, lease: Lease, key: Key, cx: &mut Cx<'_>) {
        cx.ops.push(Op::Send {
            tag: tag(key, Lane::A),
            sock: self.client.sock(),
            lease,
            poll_first: false,
        });
    }

    fn close(&mut self, cx: &mut Cx<'_>) {
        let sending = matches!(
            self.stage,
            Stage::Telling | Stage::Closing { sending: true }
        );
        self.stage = Stage::Closing { sending };
        self.wake(cx);
    }

    /// Ends what is in flight.
    fn wake(&self, cx: &mut Cx<'_>) {
        if !self.is_over() {
            cx.ops.push(Op::Shutdown {
                sock: self.client.sock(),
                both: true,
            });
        }
    }
}
