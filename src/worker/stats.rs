//! What a worker counts. Each counter is written by its worker alone and read by anybody; sums are the reader's.

use crate::base::{Counter, Gauge};
use crate::conn::{Cause, Rejection, Side, Summary};
use crate::ring::{Buffers, Errno, Event, Lease, Stop};
use crate::wire::http_head::Refusal;

/// One worker's counters. Aligned, so that two workers' never share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Stats {
    /// Connections that this worker took, whichever accepted them.
    pub accepted: Counter,
    /// Clients that it accepted and another worker took.
    pub handed_over: Counter,
    /// Connections open now.
    pub open: Gauge,
    /// Connections closed at once because a limit was reached.
    pub rejected_limit: Counter,
    /// Connections closed at once because `allow` or `deny` keep them out.
    pub rejected_denied: Counter,
    /// Connections closed at once because their address had too many.
    pub rejected_too_many: Counter,
    /// Connections closed at once because their address came too fast.
    pub rejected_too_fast: Counter,
    /// Connections closed at once because the proxy was stopping.
    pub rejected_draining: Counter,
    /// Accepts that failed because no descriptor was free (EMFILE, ENFILE).
    pub accept_no_descriptor: Counter,
    /// Accepts that failed otherwise.
    pub accept_failed: Counter,
    /// Connections that ended, by cause, in the order of [`Cause::ALL`].
    pub ended: [Counter; Cause::ALL.len()],
    /// Request heads that were refused, by kind, in the order of [`Refusal::ALL`].
    pub bad_heads: [Counter; Refusal::ALL.len()],
    /// Bytes received from clients and copied.
    pub copied_up: Counter,
    /// Bytes received from backends and copied.
    pub copied_down: Counter,
    /// Bytes spliced from clients.
    pub spliced_up: Counter,
    /// Bytes spliced from backends.
    pub spliced_down: Counter,
    /// Changes between copying and splicing, of connections that have ended. Many for each connection: its traffic lies
    /// at the edge, and one way for its listener may be cheaper (`relay`).
    pub switches: Counter,
    /// Splices that found no free pipe.
    pub no_pipe: Counter,
    /// Receives that ended for want of a buffer.
    pub enobufs: Counter,
    /// Completions for a slot's earlier owner.
    pub stale: Counter,
    /// Records that the access log was too slow for.
    pub records_dropped: Counter,
    /// The version of what it goes by, from 0.
    pub version: Gauge,
    /// Turns of the loop.
    pub turns: Counter,
    /// Questions of control's that were answered, which is how it knows that the worker turns.
    pub pings: Counter,
    /// Overflows of the completion queue.
    pub overflows: Gauge,
    /// Bytes for stalled readers that were moved out of the buffers.
    pub spilled_bytes: Gauge,
    /// Buffers that it has.
    pub buffers: Gauge,
    /// Buffers of these that hold nothing.
    pub buffers_free: Gauge,
}

impl Stats {
    /// Bytes from clients.
    pub fn bytes_up(&self) -> u64 {
        self.copied_up.get() + self.spliced_up.get()
    }

    /// Bytes from backends.
    pub fn bytes_down(&self) -> u64 {
        self.copied_down.get() + self.spliced_down.get()
    }

    pub(super) fn on_event(&self, side: Side, event: &Event) {
        match event {
            Event::Received { result, .. } => self.on_received(side, result),
            Event::Spliced { taken, stop, .. } => {
                let spliced = match side {
                    Side::Client => &self.spliced_up,
                    Side::Backend => &self.spliced_down,
                };
                spliced.add(u64::from(*taken));
                self.no_pipe.add(u64::from(*stop == Stop::NoPipe));
            }
            Event::Accepted { .. }
            | Event::Dialed { .. }
            | Event::Sent { .. }
            | Event::Unsent { .. }
            | Event::Polled { .. } => {}
        }
    }

    fn on_received(&self, side: Side, result: &Result<Lease, Errno>) {
        match (side, result) {
            (Side::Client, Ok(lease)) => self.copied_up.add(u64::from(lease.len())),
            (Side::Backend, Ok(lease)) => self.copied_down.add(u64::from(lease.len())),
            (_, Err(Errno::ENOBUFS)) => self.enobufs.add(1),
            (_, Err(_)) => {}
        }
    }

    pub(super) fn on_over(&self, summary: &Summary) {
        let cause = summary.outcome.cause;
        self.ended[cause.index()].add(1);
        if let Cause::BadHead(refusal) = cause {
            self.bad_heads[refusal.index()].add(1);
        }
        let switches = summary.up.switches + summary.down.switches;
        self.switches.add(u64::from(switches));
    }

    /// A client was not let in at accept.
    pub(super) fn on_rejected(&self, rejection: Rejection) {
        match rejection {
            Rejection::Denied => self.rejected_denied.add(1),
            Rejection::TooMany => self.rejected_too_many.add(1),
            Rejection::TooFast => self.rejected_too_fast.add(1),
        }
    }

    pub(super) fn on_accept_error(&self, errno: Errno) {
        if matches!(errno, Errno::EMFILE | Errno::ENFILE) {
            self.accept_no_descriptor.add(1);
        } else if errno != Errno::ECANCELED {
            // A cancel is our own, when the listener stops.
            self.accept_failed.add(1);
        }
    }

    pub(super) fn on_turn(&self, open: usize, overflows: u64, buffers: &Buffers) {
        self.turns.add(1);
        self.open.set(open as u64);
        self.overflows.set(overflows);
        self.spilled_bytes.set(buffers.spilled() as u64);
        self.buffers.set(buffers.count() as u64);
        self.buffers_free.set(buffers.free() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::{Outcome, Phase};
    use crate::relay::Moved;

    #[test]
    fn refused_heads_are_counted_by_kind() {
        let stats = Stats::default();
        for (times, refusal) in Refusal::ALL.into_iter().enumerate() {
            for _ in 0..times {
                stats.on_over(&refused(refusal));
            }
        }
        let counts = stats.bad_heads.each_ref().map(Counter::get);
        assert!(counts.into_iter().eq(0..Refusal::ALL.len() as u64));
        let ended = &stats.ended[Cause::BadHead(Refusal::Nul).index()];
        assert_eq!(ended.get(), counts.iter().sum::<u64>());
    }

    fn refused(refusal: Refusal) -> Summary {
        Summary {
            outcome: Outcome {
                cause: Cause::BadHead(refusal),
                phase: Phase::Peeking,
                errno: None,
            },
            tries: 0,
            connect: None,
            up: Moved::default(),
            down: Moved::default(),
        }
    }
}
