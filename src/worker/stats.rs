//! What a worker counts. Each counter is written by its worker alone and read by anybody; sums are the reader's.

use crate::base::{Counted, Counter, Gauge, Histogram, Tally};
use crate::conn::{Cause, Meter, Rejection, Summary};
use crate::relay::Pressure;
use crate::ring::{Buffers, Errno};
use crate::wire::{client_hello, http_head, proxy_protocol};
use std::sync::{Arc, OnceLock};

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
    /// Accepts that failed because no descriptor was free (EMFILE, ENFILE).
    pub accept_no_descriptor: Counter,
    /// Accepts that failed otherwise.
    pub accept_failed: Counter,
    /// Request heads that were refused, by kind, in the order of [`http_head::Refusal::ALL`].
    pub bad_heads: [Counter; http_head::Refusal::ALL.len()],
    /// ClientHellos that were refused, by kind, in the order of [`client_hello::Refusal::ALL`].
    pub bad_hellos: [Counter; client_hello::Refusal::ALL.len()],
    /// PROXY protocol headers that were refused, by kind, in the order of [`proxy_protocol::Refusal::ALL`].
    pub bad_proxy_headers: [Counter; proxy_protocol::Refusal::ALL.len()],
    /// Changes between copying and splicing, of connections that have ended. Many for each connection: its traffic lies
    /// at the edge, and one way for its listener may be cheaper (`relay`).
    pub switches: Counter,
    /// Completions for a slot's earlier owner.
    pub stale: Counter,
    /// Records that the access log was too slow for.
    pub records_dropped: Counter,
    /// Listening sockets that are not closed yet.
    pub listening: Gauge,
    /// The version of what it goes by, from 0.
    pub version: Gauge,
    /// Turns of the loop.
    pub turns: Counter,
    /// Questions of control's that were answered, which is how it knows that the worker turns.
    pub pings: Counter,
    /// How long one turn in [`TIMED`](super::TIMED) took to handle what its wake-up had brought. The kernel's part, the
    /// sends among it, belongs to the next entry and is not in it.
    pub loops: Histogram,
    /// Overflows of the completion queue.
    pub overflows: Gauge,
    /// Bytes for stalled readers that were moved out of the buffers.
    pub spilled_bytes: Gauge,
    /// Buffers that it has.
    pub buffers: Gauge,
    /// Buffers of these that hold nothing.
    pub buffers_free: Gauge,
    /// Directions that wait for a slow reader, and what was short.
    pub pressure: Pressure,
    listeners: Rows,
}

/// One worker's counters of one listener.
#[derive(Debug, Default)]
pub struct ListenerStats {
    /// Connections that this worker took.
    pub accepted: Counter,
    /// What is counted while connections live.
    pub meter: Arc<Meter>,
    closed: Endings,
    turned_away: [Counter; TurnedAway::ALL.len()],
}

/// A counter for each cause, in the order of [`Cause::ALL`].
#[derive(Debug)]
struct Endings([Counter; Cause::ALL.len()]);

impl Default for Endings {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

/// Why a client was closed before it became a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TurnedAway {
    /// A `max_connections` is reached, of the process or the listener.
    Limit,
    /// `allow` or `deny` keep it out.
    Denied,
    /// Its address has `max_connections_per_ip` open.
    TooMany,
    /// Its address comes faster than `connect_rate_per_ip`.
    TooFast,
    /// The proxy is stopping.
    Draining,
}

impl TurnedAway {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 5] = [
        Self::Limit,
        Self::Denied,
        Self::TooMany,
        Self::TooFast,
        Self::Draining,
    ];

    /// The word in metrics; where a connection may end for the same reason, the access log's.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Denied => "denied",
            Self::TooMany => "too-many",
            Self::TooFast => "too-fast",
            Self::Draining => "draining",
        }
    }
}

impl From<Rejection> for TurnedAway {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Denied => Self::Denied,
            Rejection::TooMany => Self::TooMany,
            Rejection::TooFast => Self::TooFast,
        }
    }
}

impl ListenerStats {
    /// Connections that ended for this reason.
    pub fn closed(&self, cause: Cause) -> u64 {
        self.closed.0[cause.index()].get()
    }

    /// Connections that ended, for whatever reason.
    pub fn closed_total(&self) -> u64 {
        self.closed.0.iter().map(Counter::get).sum()
    }

    /// Clients that were turned away for this reason.
    pub fn turned_away(&self, why: TurnedAway) -> u64 {
        self.turned_away[why as usize].get()
    }

    /// Clients that were turned away, for whatever reason.
    pub fn turned_away_total(&self) -> u64 {
        self.turned_away.iter().map(Counter::get).sum()
    }

    pub(super) fn turn_away(&self, why: TurnedAway) {
        self.turned_away[why as usize].add(1);
    }
}

/// Listeners by their numbers, in blocks that are made when they are first asked for and never move: their number is
/// nobody's to know when a worker starts. Each block is twice as long as the one before.
#[derive(Debug, Default)]
struct Rows([OnceLock<Box<[ListenerStats]>>; BLOCKS]);

/// Rows of the first block.
const FIRST_BLOCK: usize = 16;

/// Enough for every `u16`: 16 · (2^13 − 1) rows.
const BLOCKS: usize = 13;

impl Rows {
    fn get(&self, at: u16) -> &ListenerStats {
        let place = usize::from(at) + FIRST_BLOCK;
        let block = (place.ilog2() - FIRST_BLOCK.ilog2()) as usize;
        let len = FIRST_BLOCK << block;
        let rows =
            self.0[block].get_or_init(|| (0..len).map(|_| ListenerStats::default()).collect());
        &rows[place - len]
    }

    fn iter(&self) -> impl Iterator<Item = &ListenerStats> {
        self.0.iter().filter_map(OnceLock::get).flatten()
    }
}

impl Stats {
    /// Its counters of the listener with this number.
    pub fn listener(&self, at: u16) -> &ListenerStats {
        self.listeners.get(at)
    }

    /// Connections that ended for this reason, at whichever listener.
    pub fn closed(&self, cause: Cause) -> u64 {
        self.sum(|listener| listener.closed(cause))
    }

    /// Connections that ended.
    pub fn closed_total(&self) -> u64 {
        self.sum(ListenerStats::closed_total)
    }

    /// Clients that were turned away for this reason, at whichever listener.
    pub fn turned_away(&self, why: TurnedAway) -> u64 {
        self.sum(|listener| listener.turned_away(why))
    }

    /// Bytes from clients.
    pub fn bytes_up(&self) -> u64 {
        self.sum(|it| it.meter.up.total())
    }

    /// Bytes from backends.
    pub fn bytes_down(&self) -> u64 {
        self.sum(|it| it.meter.down.total())
    }

    /// One of its numbers, of all listeners together.
    pub fn sum(&self, number: impl Fn(&ListenerStats) -> u64) -> u64 {
        self.listeners.iter().map(number).sum()
    }

    pub(super) fn on_over(&self, listener: u16, summary: &Summary) {
        let cause = summary.outcome.cause;
        self.listener(listener).closed.0[cause.index()].add(1);
        self.on_refused(cause);
        let switches = summary.up.switches + summary.down.switches;
        self.switches.add(u64::from(switches));
    }

    /// Counts what was wrong with what a client said first, if that is why it ended.
    fn on_refused(&self, cause: Cause) {
        if let Cause::BadHead(refusal) = cause {
            self.bad_heads[refusal.index()].add(1);
        } else if let Cause::BadHello(refusal) = cause {
            self.bad_hellos[refusal.index()].add(1);
        } else if let Cause::BadProxyHeader(refusal) = cause {
            self.bad_proxy_headers[refusal.index()].add(1);
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

/// Everything but what the worker's own thread has done (turns, answers) and what its listeners have.
impl Counted for Stats {
    fn each(&self, see: &mut dyn FnMut(&str, &dyn Tally)) {
        see("accepted", &self.accepted);
        see("handed_over", &self.handed_over);
        see("accept_no_descriptor", &self.accept_no_descriptor);
        see("accept_failed", &self.accept_failed);
        for kind in http_head::Refusal::ALL {
            let name = format!("bad_heads.{}", kind.word());
            see(&name, &self.bad_heads[kind.index()]);
        }
        for kind in client_hello::Refusal::ALL {
            let name = format!("bad_hellos.{}", kind.word());
            see(&name, &self.bad_hellos[kind.index()]);
        }
        for kind in proxy_protocol::Refusal::ALL {
            let name = format!("bad_proxy_headers.{}", kind.word());
            see(&name, &self.bad_proxy_headers[kind.index()]);
        }
        see("switches", &self.switches);
        see("stale", &self.stale);
        see("records_dropped", &self.records_dropped);
        see("overflows", &self.overflows);
        self.pressure.each(see);
    }
}

impl Counted for ListenerStats {
    fn each(&self, see: &mut dyn FnMut(&str, &dyn Tally)) {
        see("accepted", &self.accepted);
        see("copied_up", &self.meter.up.copied);
        see("copied_down", &self.meter.down.copied);
        see("spliced_up", &self.meter.up.spliced);
        see("spliced_down", &self.meter.down.spliced);
        see("tls_up", &self.meter.up.sealed);
        see("tls_down", &self.meter.down.sealed);
        self.meter.peeks.each("peeks", see);
        for cause in Cause::ALL {
            let name = format!("closed.{}", cause.word());
            see(&name, &self.closed.0[cause.index()]);
        }
        for why in TurnedAway::ALL {
            let name = format!("turned_away.{}", why.word());
            see(&name, &self.turned_away[why as usize]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::{Outcome, Phase};
    use crate::relay::Moved;
    use std::collections::HashSet;

    #[test]
    fn refused_heads_are_counted_by_kind() {
        let stats = Stats::default();
        for (times, refusal) in http_head::Refusal::ALL.into_iter().enumerate() {
            for _ in 0..times {
                stats.on_over(0, &ended(Cause::BadHead(refusal)));
            }
        }
        let counts = stats.bad_heads.each_ref().map(Counter::get);
        assert!(
            counts
                .into_iter()
                .eq(0..http_head::Refusal::ALL.len() as u64)
        );
        let closed = stats.closed(Cause::BadHead(http_head::Refusal::Nul));
        assert_eq!(closed, counts.iter().sum::<u64>());
    }

    #[test]
    fn refused_hellos_and_proxy_headers_are_counted_by_kind() {
        let stats = Stats::default();
        let alert = client_hello::Refusal::Alert;
        let checksum = proxy_protocol::Refusal::Checksum;
        stats.on_over(0, &ended(Cause::BadHello(alert)));
        stats.on_over(0, &ended(Cause::BadProxyHeader(checksum)));
        assert_eq!(stats.bad_hellos[alert.index()].get(), 1);
        assert_eq!(stats.bad_proxy_headers[checksum.index()].get(), 1);
    }

    #[test]
    fn every_listener_has_counters_of_its_own_and_the_worker_their_sum() {
        let stats = Stats::default();
        let numbers = [0, 15, 16, 47, 48, 1000, u16::MAX];
        for (at, times) in numbers.into_iter().zip(1..) {
            for _ in 0..times {
                stats.on_over(at, &ended(Cause::Idle));
                stats.listener(at).turn_away(TurnedAway::TooFast);
            }
        }
        for (at, times) in numbers.into_iter().zip(1..) {
            assert_eq!(stats.listener(at).closed(Cause::Idle), times, "{at}");
        }
        assert_eq!(stats.closed(Cause::Idle), 28);
        assert_eq!((stats.closed_total(), stats.closed(Cause::Drain)), (28, 0));
        assert_eq!(stats.turned_away(TurnedAway::TooFast), 28);
    }

    #[test]
    fn the_counters_of_refusals_are_in_the_order_of_their_kinds() {
        for (place, refusal) in client_hello::Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal.index(), place, "{}", refusal.word());
        }
        for (place, refusal) in proxy_protocol::Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal.index(), place, "{}", refusal.word());
        }
        for (place, why) in TurnedAway::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, place, "{}", why.word());
        }
    }

    #[test]
    fn no_two_counters_of_one_owner_have_the_same_name() {
        let owners: [&dyn Counted; 2] = [&Stats::default(), &ListenerStats::default()];
        for owner in owners {
            let (mut names, mut count) = (HashSet::new(), 0);
            owner.each(&mut |name, _| {
                count += 1;
                names.insert(name.to_owned());
            });
            assert_eq!(names.len(), count);
        }
    }

    fn ended(cause: Cause) -> Summary {
        Summary {
            outcome: Outcome {
                cause,
                phase: Phase::Peeking,
                errno: None,
            },
            tries: 0,
            connect: None,
            tls: false,
            up: Moved::default(),
            down: Moved::default(),
        }
    }
}
