//! The copying engine: bytes go from a leased buffer of the source straight into a send to the sink.
//!
//! One receive and one send in flight at most. What one turn brings goes out in one op; what arrives while a send is
//! in flight is queued behind it and goes out in the next. Never touches the other direction.

use super::{Cx, Failure, HIGH_WATER, LOW_WATER, Source, Step};
use crate::ring::{Errno, Lease, Op, OpKind};

/// The source's side of a half.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reading {
    /// A receive is in flight.
    Armed,
    /// A receive is in flight; what it brings is thrown away until the source ends.
    Discarding,
    /// A receive is in flight on a source that is known to have failed; it brings the source's last bytes.
    Failing,
    /// Not reading until the queue is at low water.
    Paused,
    /// Not reading until a buffer is free; on the worker's starved list.
    Starved,
    /// A receive is in flight that nobody waits for: TLS with the source is broken, and nothing it brings can count.
    Deaf,
    /// The source sent FIN.
    Ended,
    /// The source failed: no FIN for the sink.
    Broken,
}

/// The sink's side of a half.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Writing {
    /// Nothing in flight; the queue is empty.
    Idle,
    /// A send of that many bytes is in flight.
    Busy(u32),
    /// Nothing will be sent any more: the half is over.
    Shut,
    /// The sink takes nothing more; a send may still be in flight.
    Failed { busy: bool },
}

/// One direction, copied.
#[derive(Debug)]
pub(super) struct Copy {
    queue: Lease,
    reading: Reading,
    writing: Writing,
    /// Reads no more once the receive in flight has ended, so that another engine can take over.
    leaving: bool,
    /// A send has completed since `shed` asked last.
    taking: bool,
}

impl Copy {
    /// A half that does nothing yet.
    pub(super) const fn new() -> Self {
        Self {
            queue: Lease::EMPTY,
            reading: Reading::Paused,
            writing: Writing::Idle,
            leaving: false,
            taking: false,
        }
    }

    /// A half that is over, but whose source may still talk.
    pub(super) fn discarding(cx: &mut Cx<'_>) -> Self {
        let mut this = Self::new();
        this.arm(false, cx);
        this.reading = Reading::Discarding;
        this.writing = Writing::Shut;
        this
    }

    /// Stops reading where that is natural.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
    }

    /// Whether it has nothing in hand and nothing in flight, though the source goes on.
    pub(super) fn has_left(&self) -> bool {
        self.leaving
            && self.reading == Reading::Paused
            && self.writing == Writing::Idle
            && self.queue.is_empty()
    }

    /// Whether what is received goes to the sink.
    pub(super) fn is_relaying(&self) -> bool {
        self.reading != Reading::Discarding
    }

    /// Whether nothing is on its way to the sink, and something may still go.
    pub(super) fn is_idle(&self) -> bool {
        self.writing == Writing::Idle && self.queue.is_empty()
    }

    /// Listens to the source no more, which broke TLS.
    pub(super) fn deafen(&mut self) {
        self.reading = if self.is_reading() {
            Reading::Deaf
        } else {
            Reading::Broken
        };
    }

    /// See [`Half::is_quiet`](super::Half::is_quiet).
    pub(super) fn is_quiet(&self) -> bool {
        !self.is_reading()
            && !matches!(
                self.writing,
                Writing::Busy(_) | Writing::Failed { busy: true }
            )
    }

    /// See [`Half::is_shut`](super::Half::is_shut).
    pub(super) fn is_shut(&self) -> bool {
        self.writing == Writing::Shut
    }

    /// See [`Half::is_flushed`](super::Half::is_flushed).
    pub(super) fn is_flushed(&self) -> bool {
        (!self.is_reading() || self.reading == Reading::Deaf)
            && !matches!(self.writing, Writing::Busy(_))
    }

    /// Whether the source is not read because the sink has not taken what came before.
    pub(super) fn waits_for_sink(&self) -> bool {
        self.reading == Reading::Paused && matches!(self.writing, Writing::Busy(_))
    }

    /// Bytes received and not yet sent.
    pub(super) fn queued(&self) -> u32 {
        let sending = match self.writing {
            Writing::Busy(bytes) => bytes,
            Writing::Idle | Writing::Shut | Writing::Failed { .. } => 0,
        };
        self.queue.len() + sending
    }

    /// See [`Half::start`](super::Half::start).
    pub(super) fn start(&mut self, seen: Lease, source: Source, cx: &mut Cx<'_>) -> Step {
        let sent = if seen.is_empty() {
            Ok(())
        } else {
            self.send(seen, cx)
        };
        match source {
            Source::Speaking => self.arm(false, cx),
            Source::Silent => self.arm(true, cx),
            Source::Armed => self.reading = Reading::Armed,
            Source::Ended => self.reading = Reading::Ended,
        }
        sent.map_or_else(Step::SinkFailed, |()| self.finish(cx))
    }

    /// A receive completed.
    #[inline]
    pub(super) fn on_received(
        &mut self,
        result: Result<Lease, Errno>,
        more: bool,
        nonempty: bool,
        cx: &mut Cx<'_>,
    ) -> Step {
        assert!(
            self.is_reading(),
            "no receive is in flight: {:?}",
            self.reading
        );
        match result {
            Ok(lease) if lease.is_empty() => self.on_fin(cx),
            Ok(lease) => self.on_text(lease, more, nonempty, cx),
            Err(Errno::ENOBUFS) => {
                self.on_no_buffer(cx);
                Step::Going
            }
            // Our own cancel (`abandon`), or a kernel that ends a receive early without a reason.
            Err(Errno::ECANCELED) => {
                self.on_disarmed(nonempty, cx);
                Step::Going
            }
            Err(errno) => {
                self.reading = Reading::Broken;
                Step::SourceFailed(Failure::Socket(errno))
            }
        }
    }

    /// Bytes came for the sink; none, if they are to be had only from those that come next.
    #[inline]
    pub(super) fn on_text(
        &mut self,
        lease: Lease,
        more: bool,
        nonempty: bool,
        cx: &mut Cx<'_>,
    ) -> Step {
        let sent = self.on_bytes(lease, cx);
        if !more {
            self.on_disarmed(nonempty, cx);
        }
        sent.map_or_else(Step::SinkFailed, |()| Step::Going)
    }

    /// A send completed; `rest` is what it did not take.
    #[inline]
    pub(super) fn on_sent(
        &mut self,
        result: Result<u32, Errno>,
        rest: Lease,
        cx: &mut Cx<'_>,
    ) -> Step {
        self.taking = true;
        match (self.writing, result) {
            (Writing::Failed { .. }, _) => {
                cx.buffers.release(rest);
                self.writing = Writing::Failed { busy: false };
                Step::Going
            }
            // Interrupted before the first byte: all of them are in `rest`, as after a short send.
            (Writing::Busy(_), Ok(_) | Err(Errno::EINTR)) => {
                self.writing = Writing::Idle;
                self.on_room(rest, cx)
            }
            (Writing::Busy(_), Err(errno)) => {
                cx.buffers.release(rest);
                cx.buffers.release(self.queue.take());
                self.writing = Writing::Failed { busy: false };
                Step::SinkFailed(Failure::Socket(errno))
            }
            (Writing::Idle | Writing::Shut, _) => unreachable!("no send is in flight"),
        }
    }

    /// Buffers are free again.
    pub(super) fn on_buffers(&mut self, cx: &mut Cx<'_>) {
        if self.reading == Reading::Starved {
            self.reading = Reading::Paused;
            self.resume(false, cx);
        }
    }

    /// See [`Half::shed`](super::Half::shed).
    pub(super) fn shed(&mut self, cx: &mut Cx<'_>) {
        if std::mem::take(&mut self.taking) || !matches!(self.writing, Writing::Busy(_)) {
            return;
        }
        // Beyond the bound it stays where it is, and others wait.
        cx.buffers.spill(&mut self.queue);
        cx.ops.push(Op::Shed { tag: cx.sink_tag() });
    }

    /// See [`Half::stop`](super::Half::stop).
    pub(super) fn stop(&mut self, cx: &mut Cx<'_>) -> Step {
        match self.reading {
            Reading::Armed => self.reading = Reading::Discarding,
            Reading::Paused | Reading::Starved => {
                self.arm(false, cx);
                self.reading = Reading::Discarding;
            }
            Reading::Discarding
            | Reading::Failing
            | Reading::Deaf
            | Reading::Ended
            | Reading::Broken => {}
        }
        self.finish(cx)
    }

    /// See [`Half::fail_source`](super::Half::fail_source).
    pub(super) fn fail_source(&mut self, cx: &mut Cx<'_>) {
        // Only for the change of engines it does not read: there may be bytes of a dead peer to be had.
        if self.leaving && self.reading == Reading::Paused && self.queued() <= LOW_WATER {
            self.arm(false, cx);
        }
        self.reading = match self.reading {
            Reading::Armed | Reading::Discarding | Reading::Failing => Reading::Failing,
            Reading::Deaf => Reading::Deaf,
            Reading::Paused | Reading::Starved | Reading::Ended | Reading::Broken => {
                Reading::Broken
            }
        };
    }

    /// See [`Half::abandon`](super::Half::abandon).
    pub(super) fn abandon(&mut self, cancel: bool, cx: &mut Cx<'_>) {
        cx.buffers.release(self.queue.take());
        if self.is_reading() {
            self.reading = Reading::Discarding;
            if cancel {
                cx.ops.push(Op::Cancel {
                    tag: cx.source_tag(),
                    what: OpKind::Recv,
                });
            }
        } else {
            self.reading = Reading::Broken;
        }
        let busy = matches!(
            self.writing,
            Writing::Busy(_) | Writing::Failed { busy: true }
        );
        if busy && cancel {
            cx.ops.push(Op::Cancel {
                tag: cx.sink_tag(),
                what: OpKind::Send,
            });
        }
        self.writing = Writing::Failed { busy };
    }

    fn is_reading(&self) -> bool {
        matches!(
            self.reading,
            Reading::Armed | Reading::Discarding | Reading::Failing | Reading::Deaf
        )
    }

    #[inline]
    fn on_bytes(&mut self, lease: Lease, cx: &mut Cx<'_>) -> Result<(), Failure> {
        if matches!(self.reading, Reading::Discarding | Reading::Deaf) || lease.is_empty() {
            cx.buffers.release(lease);
            return Ok(());
        }
        match self.writing {
            Writing::Idle => return self.send(lease, cx),
            Writing::Busy(bytes) => self.send_with(bytes, lease, cx),
            Writing::Shut | Writing::Failed { .. } => cx.buffers.release(lease),
        }
        Ok(())
    }

    /// The receive is no longer in flight, and the source has not ended.
    fn on_disarmed(&mut self, nonempty: bool, cx: &mut Cx<'_>) {
        match self.reading {
            Reading::Armed => {
                self.reading = Reading::Paused;
                self.resume(!nonempty, cx);
            }
            Reading::Discarding if matches!(self.writing, Writing::Failed { .. }) => {
                self.reading = Reading::Broken;
            }
            Reading::Discarding => {
                self.arm(!nonempty, cx);
                self.reading = Reading::Discarding;
            }
            // A dead socket answers at once; what lies above the low water mark is past a short chance.
            Reading::Failing if self.queued() <= LOW_WATER => {
                self.arm(false, cx);
                self.reading = Reading::Failing;
            }
            Reading::Failing | Reading::Deaf => self.reading = Reading::Broken,
            Reading::Paused | Reading::Starved | Reading::Ended | Reading::Broken => {
                unreachable!("no receive is in flight")
            }
        }
    }

    fn on_no_buffer(&mut self, cx: &mut Cx<'_>) {
        cx.pressure.no_buffer.add(1);
        match self.reading {
            Reading::Armed => {
                self.reading = Reading::Starved;
                cx.starved.push_back((cx.key, cx.source.0));
            }
            // Not worth waiting for: the bytes would be thrown away. What came before them still goes out, and FIN behind it.
            Reading::Discarding => self.reading = Reading::Ended,
            // Nor these, a dead peer's last.
            Reading::Failing | Reading::Deaf => self.reading = Reading::Broken,
            Reading::Paused | Reading::Starved | Reading::Ended | Reading::Broken => {
                unreachable!("no receive is in flight")
            }
        }
    }

    fn on_fin(&mut self, cx: &mut Cx<'_>) -> Step {
        self.reading = match self.reading {
            Reading::Failing | Reading::Deaf => Reading::Broken,
            Reading::Armed | Reading::Discarding => Reading::Ended,
            Reading::Paused | Reading::Starved | Reading::Ended | Reading::Broken => {
                unreachable!("no receive is in flight")
            }
        };
        self.finish(cx)
    }

    /// The sink took a send, perhaps not all of it.
    #[inline]
    fn on_room(&mut self, mut rest: Lease, cx: &mut Cx<'_>) -> Step {
        let full = !rest.is_empty();
        match cx.seal(self.queue.take()) {
            Ok(more) => cx.buffers.append(&mut rest, more),
            Err(failure) => {
                cx.buffers.release(rest);
                self.writing = Writing::Failed { busy: false };
                return Step::SinkFailed(failure);
            }
        }
        if !rest.is_empty() {
            self.push_send(rest, full, cx);
        }
        self.resume(false, cx);
        self.finish(cx)
    }

    /// Reads on if it was the queue that kept it from reading.
    #[inline]
    fn resume(&mut self, poll_first: bool, cx: &mut Cx<'_>) {
        let open = !self.leaving && !matches!(self.writing, Writing::Shut | Writing::Failed { .. });
        let low = if is_scarce(cx) { 0 } else { LOW_WATER };
        if self.reading == Reading::Paused && open && self.queued() <= low {
            self.arm(poll_first, cx);
        }
    }

    #[inline]
    fn arm(&mut self, poll_first: bool, cx: &mut Cx<'_>) {
        let (tag, sock) = (cx.source_tag(), cx.source.1);
        // Only what is thrown away is read above the low water mark (`stop`).
        let budget = if is_scarce(cx) {
            1
        } else {
            HIGH_WATER.saturating_sub(self.queued()).max(LOW_WATER)
        };
        cx.ops.push(Op::Recv {
            tag,
            sock,
            budget,
            poll_first,
        });
        self.reading = Reading::Armed;
    }

    #[inline]
    fn send(&mut self, lease: Lease, cx: &mut Cx<'_>) -> Result<(), Failure> {
        match cx.seal(lease) {
            Ok(lease) => self.push_send(lease, false, cx),
            Err(failure) => {
                self.writing = Writing::Failed { busy: false };
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Sends bytes as they are.
    #[inline]
    pub(super) fn push_send(&mut self, lease: Lease, poll_first: bool, cx: &mut Cx<'_>) {
        self.writing = Writing::Busy(lease.len());
        cx.ops.push(Op::Send {
            tag: cx.sink_tag(),
            sock: cx.sink.1,
            lease,
            poll_first,
        });
    }

    /// Bytes that come while a send of `bytes` is under way: into that one if it has not gone out yet, so that what one
    /// turn brings costs one op; else behind it. What was sealed has no room for more, and waits for as few records as can be.
    #[inline]
    fn send_with(&mut self, bytes: u32, lease: Lease, cx: &mut Cx<'_>) {
        let sink = cx.sink_tag();
        match cx.ops.last_mut() {
            Some(Op::Send {
                tag, lease: going, ..
            }) if *tag == sink && cx.sink_tls.is_none() => {
                self.writing = Writing::Busy(bytes + lease.len());
                cx.buffers.append(going, lease);
            }
            _ => cx.buffers.append(&mut self.queue, lease),
        }
    }

    /// Over once nothing more is to be sent and nothing is left to send, a farewell in TLS included.
    #[inline]
    fn finish(&mut self, cx: &mut Cx<'_>) -> Step {
        let over = matches!(self.reading, Reading::Ended | Reading::Discarding);
        if !over || self.writing != Writing::Idle {
            return Step::Going;
        }
        let farewell = cx.farewell();
        if !farewell.is_empty() {
            self.push_send(farewell, false, cx);
            return Step::Going;
        }
        self.writing = Writing::Shut;
        Step::Ended
    }
}

/// Whether buffers are short, or the room for what waits for stalled readers soon will be. From then on a half takes one
/// receive at a time and none while anything is queued, so that further stalled readers hold one buffer each, not
/// sixteen.
fn is_scarce(cx: &Cx<'_>) -> bool {
    cx.buffers.is_scarce()
}
