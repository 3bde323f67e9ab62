//! One direction of a relay: copies until the stream proves to be bulk, then splices, and back.
//!
//! Changes the engine only where nothing is in flight and nothing is queued: a receive ends by itself when its budget is
//! used up, which for a bulk stream is soon, and a splice ends with its pipe empty. So nothing is cancelled for it, and
//! no byte can overtake another.

use super::copy::Copy;
use super::pace::Pace;
use super::splice::{Next, Splice, Spliced};
use super::{Begin, Cx, Source, Step};
use crate::config::Relay;
use crate::ring::{Errno, Lease, Op, Stop};

#[derive(Debug)]
pub(super) enum Engine {
    Copy(Copy),
    Splice(Splice),
}

/// Bytes that a source gave, by how they went on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moved {
    /// Through the worker's buffers.
    pub copied: u64,
    /// Inside the kernel.
    pub spliced: u64,
    /// Through the worker's buffers, and with either side in TLS: without what TLS adds.
    pub sealed: u64,
    /// How often the way changed.
    pub switches: u32,
}

impl Moved {
    /// Bytes, both ways together.
    pub fn total(self) -> u64 {
        self.copied + self.spliced + self.sealed
    }
}

/// One direction of a relay.
#[derive(Debug)]
pub struct Half {
    relay: Relay,
    /// TCP_NOTSENT_LOWAT of the sink while messages are copied to it; 0 when none was set.
    notsent_lowat: u32,
    pub(super) engine: Engine,
    pace: Pace,
    pub(super) moved: Moved,
    /// Its source is held back, and the worker's account says so.
    held: bool,
}

impl Half {
    /// A half that does nothing yet, with the sink's `notsent_lowat`.
    pub fn new(relay: Relay, notsent_lowat: u32) -> Self {
        Self {
            relay,
            notsent_lowat,
            engine: Engine::Copy(Copy::new()),
            pace: Pace::default(),
            moved: Moved::default(),
            held: false,
        }
    }

    /// Bytes that the source gave.
    pub fn moved(&self) -> Moved {
        self.moved
    }

    /// Bytes that went through the worker.
    #[inline]
    pub fn read(&self) -> u64 {
        self.moved.copied + self.moved.sealed
    }

    /// Whether it splices now.
    pub fn is_spliced(&self) -> bool {
        matches!(self.engine, Engine::Splice(_))
    }

    /// Whether the kernel holds nothing of this half.
    pub fn is_quiet(&self) -> bool {
        match &self.engine {
            Engine::Copy(copy) => copy.is_quiet(),
            Engine::Splice(splice) => splice.is_quiet(),
        }
    }

    /// Whether it ended: FIN is due, or was sent.
    pub fn is_shut(&self) -> bool {
        match &self.engine {
            Engine::Copy(copy) => copy.is_shut(),
            Engine::Splice(splice) => splice.is_shut(),
        }
    }

    /// Whether a failed source's last byte went to the sink, or never will.
    pub fn is_flushed(&self) -> bool {
        match &self.engine {
            Engine::Copy(copy) => copy.is_flushed(),
            Engine::Splice(splice) => splice.is_flushed(),
        }
    }

    /// Bytes that the source gave and the sink's socket has not taken.
    pub fn waiting(&self) -> u32 {
        match &self.engine {
            Engine::Copy(copy) => copy.queued(),
            Engine::Splice(splice) => splice.waiting(),
        }
    }

    /// Begins to move bytes. [`Step::Ended`] when there is nothing to move.
    pub fn start(&mut self, begin: Begin, cx: &mut Cx<'_>) -> Step {
        if cx.is_tls() {
            self.moved.sealed = begin.given;
            let step = self.engine.copy().start(begin.seen, begin.source, cx);
            return self.end_if_closed(step, cx);
        }
        self.moved.copied = begin.given;
        let is_fresh = matches!(begin.source, Source::Speaking | Source::Silent);
        if self.relay == Relay::Splice && is_fresh && begin.seen.is_empty() {
            self.splice(cx);
            return Step::Going;
        }
        let copy = self.engine.copy();
        if self.relay == Relay::Splice {
            copy.leave();
        }
        copy.start(begin.seen, begin.source, cx)
    }

    /// A receive completed.
    #[inline]
    pub fn on_received(
        &mut self,
        result: Result<Lease, Errno>,
        more: bool,
        nonempty: bool,
        cx: &mut Cx<'_>,
    ) -> Step {
        if cx.is_tls() {
            return self.on_received_tls(result, more, nonempty, cx);
        }
        let copy = self.engine.copy();
        if let Ok(lease) = &result
            && copy.is_relaying()
        {
            self.moved.copied += u64::from(lease.len());
            self.pace.on_copied(lease.len(), nonempty && !more, cx.now);
            if may_splice(self.relay, &self.pace) {
                copy.leave();
            }
        }
        let step = copy.on_received(result, more, nonempty, cx);
        self.splice_if_left(cx);
        self.account(cx);
        step
    }

    /// A send completed; `rest` is what it did not take.
    #[inline]
    pub fn on_sent(&mut self, result: Result<u32, Errno>, rest: Lease, cx: &mut Cx<'_>) -> Step {
        let step = self.engine.copy().on_sent(result, rest, cx);
        self.splice_if_left(cx);
        self.account(cx);
        step
    }

    /// A splice completed.
    pub fn on_spliced(&mut self, taken: u32, held: u32, stop: Stop, cx: &mut Cx<'_>) -> Step {
        self.moved.spliced += u64::from(taken);
        cx.pressure.no_pipe.add(u64::from(stop == Stop::NoPipe));
        let leave = self.judge(taken, stop, cx);
        let Engine::Splice(splice) = &mut self.engine else {
            unreachable!("no splice is in flight while copying")
        };
        let failing = splice.is_failing();
        let step = match splice.on_spliced(Spliced { held, stop }, leave, cx) {
            Next::Stay(step) => step,
            Next::Leave => {
                self.moved.switches += 1;
                self.copy(stop == Stop::Empty, failing, cx);
                Step::Going
            }
            Next::Drained => {
                self.engine = Engine::Copy(Copy::discarding(cx));
                Step::Ended
            }
        };
        self.account(cx);
        step
    }

    /// Buffers are free again.
    pub fn on_buffers(&mut self, cx: &mut Cx<'_>) {
        if let Engine::Copy(copy) = &mut self.engine {
            copy.on_buffers(cx);
            self.splice_if_left(cx);
        }
        self.account(cx);
    }

    /// Others need buffers: if the sink has taken nothing since it was asked last, what waits for it moves out of them.
    /// It counts as queued as before. A splice holds none.
    pub fn shed(&mut self, cx: &mut Cx<'_>) {
        if let Engine::Copy(copy) = &mut self.engine {
            copy.shed(cx);
        }
        if let Some(tls) = &mut cx.source_tls {
            tls.shed(cx.buffers);
        }
    }

    /// Sends on nothing that comes from now on; what was received still goes out, then FIN. Goes on reading, so that
    /// a close later does not answer bytes of a talkative source with a reset that overtakes the last bytes to it.
    pub fn stop(&mut self, cx: &mut Cx<'_>) -> Step {
        let step = match &mut self.engine {
            Engine::Copy(copy) => copy.stop(cx),
            Engine::Splice(splice) => {
                splice.stop(cx);
                Step::Going
            }
        };
        self.account(cx);
        step
    }

    /// The source is known to have failed: takes its last bytes, flushes them, sends no FIN.
    pub fn fail_source(&mut self, cx: &mut Cx<'_>) {
        match &mut self.engine {
            Engine::Copy(copy) => copy.fail_source(cx),
            Engine::Splice(splice) => splice.fail_source(),
        }
        self.account(cx);
    }

    /// Gives up: throws away what comes and what is queued, sends no FIN. `cancel` asks what is in flight to end;
    /// without it, the caller has shut the sockets down, which ends it too, and cheaper.
    pub fn abandon(&mut self, cancel: bool, cx: &mut Cx<'_>) {
        match &mut self.engine {
            Engine::Copy(copy) => copy.abandon(cancel, cx),
            Engine::Splice(splice) => splice.abandon(cancel, cx),
        }
        self.account(cx);
    }

    /// Whether the stream that was just spliced had better be copied.
    fn judge(&mut self, taken: u32, stop: Stop, cx: &Cx<'_>) -> bool {
        let small = if stop == Stop::Empty {
            self.pace.on_spliced_dry(taken, cx.now)
        } else {
            self.pace.on_spliced(cx.now);
            false
        };
        small && self.relay == Relay::Auto
    }

    /// Keeps the worker's account of back-pressure true; called after everything that may change it.
    #[inline]
    fn account(&mut self, cx: &Cx<'_>) {
        let held = match &self.engine {
            Engine::Copy(copy) => copy.waits_for_sink(),
            Engine::Splice(splice) => splice.waits_for_sink(),
        };
        if held != self.held {
            self.hold(held, cx);
        }
    }

    #[cold]
    fn hold(&mut self, held: bool, cx: &Cx<'_>) {
        self.held = held;
        if held {
            cx.pressure.begin(cx.source.0);
        } else {
            cx.pressure.end(cx.source.0);
        }
    }

    #[inline]
    fn splice_if_left(&mut self, cx: &mut Cx<'_>) {
        if matches!(&self.engine, Engine::Copy(copy) if copy.has_left()) {
            self.moved.switches += 1;
            self.splice(cx);
        }
    }

    #[cold]
    fn splice(&mut self, cx: &mut Cx<'_>) {
        self.pace.restart(cx.now);
        self.set_notsent_lowat(0, cx);
        self.engine = Engine::Splice(Splice::start(cx));
    }

    /// A bound on what the sink's kernel takes keeps messages fresh and stands in the way of bulk: woken at every 64 KiB, the
    /// worker pays for all sending itself, twice the CPU per gigabyte (docs/benchmarks.md, "Splice").
    fn set_notsent_lowat(&self, bytes: u32, cx: &mut Cx<'_>) {
        if self.notsent_lowat != 0 {
            let sock = cx.sink.1;
            cx.ops.push(Op::NotsentLowat { sock, bytes });
        }
    }

    /// Copies from now on. A stream that is to be spliced gets there again as soon as a receive has ended.
    fn copy(&mut self, poll_first: bool, failing: bool, cx: &mut Cx<'_>) {
        self.pace.restart(cx.now);
        self.set_notsent_lowat(self.notsent_lowat, cx);
        let mut copy = Copy::new();
        let source = if poll_first {
            Source::Silent
        } else {
            Source::Speaking
        };
        copy.start(Lease::EMPTY, source, cx);
        if failing {
            copy.fail_source(cx);
        }
        self.engine = Engine::Copy(copy);
    }
}

impl Engine {
    pub(super) fn copy(&mut self) -> &mut Copy {
        match self {
            Self::Copy(copy) => copy,
            Self::Splice(_) => unreachable!("no receive and no send is in flight while splicing"),
        }
    }
}

fn may_splice(relay: Relay, pace: &Pace) -> bool {
    match relay {
        Relay::Auto => pace.is_bulk(),
        Relay::Splice => true,
        Relay::Copy => false,
    }
}
