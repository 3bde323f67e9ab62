//! Echo: a backend that sends back what it gets, and a client that asks, waits for the whole answer, and compares.

use super::{Outgoing, Step};
use crate::fault::Fault;
use crate::job::Cx;
use crate::pattern::{Origin, SLICE_MAX};
use ringway_ring::{Buffers, Lease, Time};

/// Stop reading when so much waits to be sent: the client's window does the rest.
const QUEUE_MAX: u32 = 64 * 1024;

/// Sends back what it gets, straight from the buffers it came in.
#[derive(Default)]
pub(crate) struct Backend {
    queue: Lease,
    ended: bool,
}

impl Backend {
    pub(super) fn on_bytes(&mut self, lease: Lease, cx: &mut Cx) -> Step {
        cx.buffers.append(&mut self.queue, lease);
        Step::Continue
    }

    pub(super) fn on_end(&mut self) -> Step {
        self.ended = true;
        Step::Continue
    }

    pub(super) fn outgoing(&mut self) -> Outgoing {
        if !self.queue.is_empty() {
            return Outgoing::Bytes(self.queue.take());
        }
        if self.ended {
            Outgoing::Done
        } else {
            Outgoing::Nothing
        }
    }

    pub(super) fn reads(&self) -> bool {
        !self.ended && self.queue.len() < QUEUE_MAX
    }

    pub(super) fn release(&mut self, buffers: &mut Buffers) {
        buffers.release(self.queue.take());
    }
}

/// What came back so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// More is to come.
    Partial,
    /// All of it, as it was sent.
    Whole,
    /// Not what was sent.
    Bad,
}

/// One connection's requests as one long stream, and its answer, which must be the same stream.
pub(super) struct Exchange {
    origin: Origin,
    sent: u64,
    received: u64,
    goal: u64,
}

impl Exchange {
    pub(super) fn new(id: u64) -> Self {
        Self {
            origin: Origin::of(id),
            sent: 0,
            received: 0,
            goal: 0,
        }
    }

    /// Asks for `size` bytes more.
    pub(super) fn extend(&mut self, size: u32) {
        self.goal += u64::from(size);
    }

    pub(super) fn outgoing(&mut self, cx: &mut Cx) -> Outgoing {
        let len =
            usize::try_from(self.goal - self.sent).map_or(SLICE_MAX, |left| left.min(SLICE_MAX));
        if len == 0 {
            return Outgoing::Nothing;
        }
        let out = Outgoing::copy(cx.job.pattern.at(self.origin, self.sent, len), cx.buffers);
        if let Outgoing::Bytes(lease) = &out {
            self.sent += u64::from(lease.len());
        }
        out
    }

    /// Compares, notes what is wrong, and gives the lease back.
    pub(super) fn check(&mut self, lease: Lease, cx: &mut Cx) -> Answer {
        let mut fault = None;
        for bytes in cx.buffers.segments(&lease) {
            if !cx.job.pattern.matches(self.origin, self.received, bytes) {
                fault = Some(Fault::Corrupt);
            }
            self.received += bytes.len() as u64;
        }
        cx.buffers.release(lease);
        if self.received > self.goal {
            fault = Some(Fault::Surplus);
        }
        match fault {
            Some(fault) => {
                cx.stats.faults.add(fault, 1);
                Answer::Bad
            }
            None if self.received == self.goal => Answer::Whole,
            None => Answer::Partial,
        }
    }

    /// Bytes that have not come back.
    pub(super) fn missing(&self) -> u64 {
        self.goal - self.received
    }
}

/// Asks again and again.
pub(crate) struct Client {
    exchange: Exchange,
    size: u32,
    /// When the exchange under way was planned.
    planned: Option<Time>,
}

impl Client {
    pub(crate) fn new(id: u64, size: u32) -> Self {
        Self {
            exchange: Exchange::new(id),
            size,
            planned: None,
        }
    }

    pub(super) fn on_open(&mut self, cx: &mut Cx) -> Step {
        self.next(cx)
    }

    pub(super) fn begin(&mut self, planned: Time) {
        self.planned = Some(planned);
        self.exchange.extend(self.size);
    }

    pub(super) fn on_bytes(&mut self, lease: Lease, cx: &mut Cx) -> Step {
        match self.exchange.check(lease, cx) {
            Answer::Partial => Step::Continue,
            Answer::Bad => Step::Close,
            Answer::Whole => {
                if let Some(planned) = self.planned.take() {
                    cx.stats.exchanged(cx.now.since(planned));
                }
                self.next(cx)
            }
        }
    }

    pub(super) fn outgoing(&mut self, cx: &mut Cx) -> Outgoing {
        self.exchange.outgoing(cx)
    }

    pub(super) fn wind_down(&self) -> Step {
        if self.planned.is_some() {
            Step::Continue
        } else {
            Step::Close
        }
    }

    fn next(&mut self, cx: &mut Cx) -> Step {
        if cx.job.ending {
            return Step::Close;
        }
        match cx.job.pace.take(cx.now, cx.stats) {
            Some(planned) => self.begin(planned),
            None => cx.job.pace.push_idle(cx.tag),
        }
        Step::Continue
    }
}
