//! Churn: connect, one exchange, close. The client closes first; the backend waits for that.

use super::echo::{self, Answer, Exchange};
use super::{Outgoing, Step};
use crate::fault::Fault;
use crate::job::Cx;
use ringway_ring::{Buffers, Lease, Time};

/// Answers one request with its own bytes.
pub(crate) struct Backend {
    echo: echo::Backend,
    missing: u32,
    size: u32,
}

impl Backend {
    pub(crate) fn new(size: u32) -> Self {
        Self {
            echo: echo::Backend::default(),
            missing: size,
            size,
        }
    }

    pub(super) fn on_bytes(&mut self, lease: Lease, cx: &mut Cx) -> Step {
        let Some(missing) = self.missing.checked_sub(lease.len()) else {
            cx.buffers.release(lease);
            cx.stats.faults.add(Fault::Surplus, 1);
            return Step::Close;
        };
        self.missing = missing;
        if missing == 0 {
            cx.stats.counters.exchanges += 1;
        }
        self.echo.on_bytes(lease, cx)
    }

    /// A connection without a byte is a health check's.
    pub(super) fn on_end(&mut self, cx: &mut Cx) -> Step {
        if (1..self.size).contains(&self.missing) && !cx.job.ending {
            cx.stats.faults.add(Fault::Truncated, 1);
        }
        self.echo.on_end()
    }

    pub(super) fn outgoing(&mut self) -> Outgoing {
        self.echo.outgoing()
    }

    pub(super) fn reads(&self) -> bool {
        self.echo.reads()
    }

    pub(super) fn release(&mut self, buffers: &mut Buffers) {
        self.echo.release(buffers);
    }
}

/// Asks once.
pub(crate) struct Client {
    exchange: Exchange,
    planned: Time,
}

impl Client {
    /// `planned` is when the schedule wanted the connection dialed.
    pub(crate) fn new(id: u64, size: u32, planned: Time) -> Self {
        let mut exchange = Exchange::new(id);
        exchange.extend(size);
        Self { exchange, planned }
    }

    pub(super) fn on_bytes(&mut self, lease: Lease, cx: &mut Cx) -> Step {
        match self.exchange.check(lease, cx) {
            Answer::Partial => Step::Continue,
            Answer::Bad => Step::Close,
            Answer::Whole => {
                cx.stats.exchanged(cx.now.since(self.planned));
                Step::Close
            }
        }
    }

    pub(super) fn outgoing(&mut self, cx: &mut Cx) -> Outgoing {
        self.exchange.outgoing(cx)
    }

    /// The answer and no more, so that no receive is left to be undone when it has come.
    pub(super) fn budget(&self) -> u32 {
        u32::try_from(self.exchange.missing())
            .unwrap_or(u32::MAX)
            .max(1)
    }
}
