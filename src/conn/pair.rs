//! A client and its backend, relayed: two halves, and who ended what.

use super::slow::Slow;
use super::span::Span;
use super::{Cause, Cx, Glance, Meter, Outcome, Phase, Side, Summary};
use crate::base::{Counter, Key};
use crate::config::Listener;
use crate::relay::{self, Begin, Failure, Half, Session, Step};
use crate::ring::{Event, Lane, Op, Sock, SockRef, Time};
use crate::upstream::Traffic;
use std::sync::Arc;
use std::time::Duration;

/// How long the last bytes of a side that failed may take to reach the other before that is reset too. Long enough
/// for a reader that is merely a round trip behind, short enough not to keep a dead relay.
const FLUSH: Duration = Duration::from_secs(1);

/// How often to ask whether the other host has taken the last bytes: a few times in a long round trip.
const SETTLE: Duration = Duration::from_millis(20);

/// How long a side that was told FIN by us alone may take to answer with its own.
const LINGER: Duration = Duration::from_secs(1);

/// The state of a connection that has both sockets.
#[derive(Debug)]
pub(super) struct Pair {
    client: End,
    backend: End,
    /// How many backends were tried.
    tries: u8,
    connect: Duration,
    /// When the last byte moved, or the stage began.
    last: Time,
    up: Half,
    down: Half,
    /// Where bytes are counted for the backend.
    traffic: Arc<Traffic>,
    stage: Stage,
    /// Where the client is looked after (`slow_client`).
    slow: Option<Box<Slow>>,
}

/// One side: its socket, and TLS if it speaks that with us.
#[derive(Debug)]
pub(super) struct End {
    sock: Sock,
    tls: Option<Box<Session>>,
}

impl End {
    pub(super) fn new(sock: Sock, tls: Option<Box<Session>>) -> Self {
        Self { sock, tls }
    }

    /// Ended, and not as TLS wants it.
    fn is_truncated(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_truncated())
    }
}

/// How far a relay is from its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Open,
    /// That side sent FIN first, and the other was told.
    HalfClosed(Side),
    /// That side failed; its last bytes are on their way into the other's socket.
    Flushing(Side, Outcome),
    /// That side failed; its last bytes are in the other's socket, but not all with its host, and a reset would take
    /// the rest back. Asked again at the time given.
    Settling(Side, Outcome, Time),
    /// We end it: what was received goes out, then FIN both ways.
    Stopping(Outcome),
}

/// What an event means to the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Nothing.
    Going,
    /// Another deadline holds from now on.
    Staged,
    /// It is over.
    End(Outcome, Ending),
}

/// How the sockets are closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// FIN.
    Orderly,
    /// RST to this side; the other one has failed.
    Reset(Side),
}

/// The state of a connection that waits for the kernel to let go.
#[derive(Debug)]
pub(super) struct Close {
    pub(super) pair: Pair,
    pub(super) outcome: Outcome,
    pub(super) ending: Ending,
}

impl Pair {
    /// `tries` is how many backends were tried.
    pub(super) fn new(
        (client, backend): (End, End),
        tries: u8,
        rules: &Listener,
        connect: Duration,
        traffic: Arc<Traffic>,
        now: Time,
    ) -> Self {
        Self {
            tries,
            client,
            backend,
            connect,
            last: now,
            up: Half::new(rules.relay, 0),
            down: Half::new(rules.relay, rules.notsent_lowat),
            traffic,
            stage: Stage::Open,
            slow: Slow::watch(&rules.slow_client, now),
        }
    }

    /// Begins to relay, upwards with what is known of the client. A backend mostly waits for it.
    pub(super) fn start(
        &mut self,
        up: Begin,
        down: Begin,
        key: Key,
        meter: &Meter,
        cx: &mut Cx<'_>,
    ) -> Verdict {
        self.count(Side::Client, up.given, meter);
        self.count(Side::Backend, down.given, meter);
        let (half, mut relay) = self.half(Side::Client, key, cx);
        let from_client = half.start(up, &mut relay);
        let (half, mut relay) = self.half(Side::Backend, key, cx);
        let from_backend = half.start(down, &mut relay);
        if self.is_tls() {
            self.flush(Side::Client, key, cx);
            self.flush(Side::Backend, key, cx);
        }
        match self.on_step(Side::Client, from_client, key, cx) {
            Verdict::Going | Verdict::Staged => {}
            end @ Verdict::End(..) => return end,
        }
        match self.on_step(Side::Backend, from_backend, key, cx) {
            Verdict::Going | Verdict::Staged => Verdict::Staged,
            end @ Verdict::End(..) => end,
        }
    }

    #[inline]
    pub(super) fn on_event(
        &mut self,
        key: Key,
        lane: Lane,
        event: Event,
        meter: &Meter,
        cx: &mut Cx<'_>,
    ) -> Verdict {
        if let Event::Unsent { bytes } = event {
            return self.on_unsent(lane, bytes, cx.now);
        }
        let (source, step) = self.step(key, lane, event, meter, cx);
        if self.is_tls() {
            self.flush(source, key, cx);
        }
        self.on_step(source, step, key, cx)
    }

    /// What became of the half that reads a source.
    #[inline]
    fn on_step(&mut self, source: Side, step: Step, key: Key, cx: &mut Cx<'_>) -> Verdict {
        match step {
            Step::Going => self.on_progress(key, cx),
            Step::Ended => self.on_ended(source, key, cx),
            Step::SourceFailed(failure) => self.on_failed(source, failure, key, cx),
            Step::SinkFailed(failure) => self.on_failed(source.other(), failure, key, cx),
        }
    }

    #[inline]
    fn is_tls(&self) -> bool {
        self.client.tls.is_some() || self.backend.tls.is_some()
    }

    /// TLS may answer what came from a side by itself: an alert goes back whatever becomes of the stream.
    fn flush(&mut self, source: Side, key: Key, cx: &mut Cx<'_>) {
        if self
            .end(source)
            .tls
            .as_ref()
            .is_some_and(|tls| tls.has_pending())
        {
            let (half, mut relay) = self.half(source.other(), key, cx);
            half.flush(&mut relay);
        }
    }

    /// Gives back what completions carry; nothing is decided any more.
    pub(super) fn on_event_while_closing(
        &mut self,
        key: Key,
        lane: Lane,
        event: Event,
        meter: &Meter,
        cx: &mut Cx<'_>,
    ) {
        if !matches!(event, Event::Unsent { .. }) {
            self.step(key, lane, event, meter, cx);
        }
    }

    pub(super) fn on_buffers(&mut self, key: Key, lane: Lane, cx: &mut Cx<'_>) {
        let (half, mut relay) = self.half(Side::of(lane), key, cx);
        half.on_buffers(&mut relay);
    }

    pub(super) fn shed(&mut self, key: Key, cx: &mut Cx<'_>) {
        for side in [Side::Client, Side::Backend] {
            let (half, mut relay) = self.half(side, key, cx);
            half.shed(&mut relay);
        }
    }

    pub(super) fn on_timer(&mut self, span: &Span, key: Key, cx: &mut Cx<'_>) -> Verdict {
        self.look_after_client(key, cx);
        if self.deadline(span) > cx.now {
            return Verdict::Staged;
        }
        // Who speaks TLS is told, lest it takes the end for an attack.
        let outcome = |cause, phase| Outcome {
            cause,
            phase,
            errno: None,
        };
        match self.stage {
            Stage::Open | Stage::HalfClosed(_) if span.is_over(cx.now) => {
                self.stop(Cause::MaxAge, key, cx)
            }
            Stage::Open if self.is_tls() => self.stop(Cause::Idle, key, cx),
            Stage::HalfClosed(Side::Client) if self.is_tls() => {
                self.stop(Cause::BackendHalfClose, key, cx)
            }
            Stage::HalfClosed(Side::Backend) if self.is_tls() => {
                self.stop(Cause::ClientHalfClose, key, cx)
            }
            Stage::Open => Verdict::End(outcome(Cause::Idle, Phase::Relaying), Ending::Orderly),
            Stage::HalfClosed(Side::Client) => Verdict::End(
                outcome(Cause::BackendHalfClose, Phase::HalfClosed),
                Ending::Orderly,
            ),
            Stage::HalfClosed(Side::Backend) => Verdict::End(
                outcome(Cause::ClientHalfClose, Phase::HalfClosed),
                Ending::Orderly,
            ),
            Stage::Settling(failed, outcome, _) if self.last + FLUSH > cx.now => {
                self.settle(failed, outcome, key, cx);
                Verdict::Staged
            }
            Stage::Flushing(failed, outcome) | Stage::Settling(failed, outcome, _) => {
                Verdict::End(outcome, Ending::Reset(failed.other()))
            }
            Stage::Stopping(outcome) => Verdict::End(outcome, Ending::Orderly),
        }
    }

    /// When the timer should next look.
    pub(super) fn deadline(&self, span: &Span) -> Time {
        match self.stage {
            Stage::Open => self.earlier(span.earlier(self.last + span.idle)),
            Stage::HalfClosed(_) => self.earlier(span.earlier(self.last + span.half_close)),
            Stage::Flushing(..) => self.last + FLUSH,
            Stage::Settling(_, _, ask) => ask.min(self.last + FLUSH),
            Stage::Stopping(_) => self.last + LINGER,
        }
    }

    /// The time given, or when the client is looked at, whichever comes first.
    fn earlier(&self, time: Time) -> Time {
        let look = self.slow.as_ref().map(|slow| slow.next());
        look.map_or(time, |look| time.min(look))
    }

    /// Asks how much the client leaves unsent, when it is time to.
    fn look_after_client(&mut self, key: Key, cx: &mut Cx<'_>) {
        let given = self.down.moved().total();
        if let Some(slow) = &mut self.slow
            && slow.is_to_be_asked(given, cx.now)
        {
            cx.ops.push(Op::Unsent {
                tag: relay::tag(key, Lane::A),
                sock: self.sock(Side::Client),
            });
        }
    }

    pub(super) fn stop(&mut self, cause: Cause, key: Key, cx: &mut Cx<'_>) -> Verdict {
        if matches!(
            self.stage,
            Stage::Flushing(..) | Stage::Settling(..) | Stage::Stopping(_)
        ) {
            return Verdict::Going;
        }
        self.stage = Stage::Stopping(Outcome {
            cause,
            phase: self.phase(),
            errno: None,
        });
        self.last = cx.now;
        for side in [Side::Client, Side::Backend] {
            let (half, mut relay) = self.half(side, key, cx);
            if half.stop(&mut relay) == Step::Ended {
                self.send_fin(side.other(), cx);
            }
        }
        match self.on_progress(key, cx) {
            Verdict::Going => Verdict::Staged,
            end @ (Verdict::Staged | Verdict::End(..)) => end,
        }
    }

    pub(super) fn kill(&self, cause: Cause) -> Verdict {
        let outcome = match self.stage {
            Stage::Open | Stage::HalfClosed(_) => Outcome {
                cause,
                phase: self.phase(),
                errno: None,
            },
            Stage::Flushing(_, outcome)
            | Stage::Settling(_, outcome, _)
            | Stage::Stopping(outcome) => outcome,
        };
        Verdict::End(outcome, Ending::Orderly)
    }

    /// Lets go of everything: what is in flight ends soon after.
    pub(super) fn abandon(&mut self, ending: Ending, key: Key, cx: &mut Cx<'_>) {
        if self.is_quiet() {
            return;
        }
        // shutdown(2) wakes what is armed and costs a third of a cancel, but it sends FIN: not before a reset.
        let cancel = ending != Ending::Orderly;
        if !cancel {
            for sock in [self.sock(Side::Client), self.sock(Side::Backend)] {
                cx.ops.push(Op::Shutdown { sock, both: true });
            }
        }
        for side in [Side::Client, Side::Backend] {
            let (half, mut relay) = self.half(side, key, cx);
            half.abandon(cancel, &mut relay);
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.up.is_quiet() && self.down.is_quiet()
    }

    pub(super) fn close(mut self, ending: Ending, cx: &mut Cx<'_>) {
        for end in [&mut self.client, &mut self.backend] {
            if let Some(tls) = &mut end.tls {
                tls.release(cx.buffers);
            }
        }
        let resets = |side| ending == Ending::Reset(side);
        cx.ops.push(Op::Close {
            sock: self.backend.sock,
            reset: resets(Side::Backend),
        });
        cx.ops.push(Op::Close {
            sock: self.client.sock,
            reset: resets(Side::Client),
        });
    }

    pub(super) fn summary(&self, outcome: Outcome) -> Summary {
        Summary {
            outcome,
            tries: self.tries,
            connect: Some(self.connect),
            tls: self.is_tls(),
            up: self.up.moved(),
            down: self.down.moved(),
        }
    }

    pub(super) fn glance(&self, now: Time) -> Glance {
        Glance {
            phase: self.phase(),
            idle: now - self.last,
            up: self.up.moved(),
            down: self.down.moved(),
            tls: self.is_tls(),
            spliced: [self.up.is_spliced(), self.down.is_spliced()],
        }
    }

    /// Hands an event to its half: which source that half reads, and what became of it.
    #[inline]
    fn step(
        &mut self,
        key: Key,
        lane: Lane,
        event: Event,
        meter: &Meter,
        cx: &mut Cx<'_>,
    ) -> (Side, Step) {
        let side = Side::of(lane);
        match event {
            Event::Received {
                result,
                more,
                nonempty,
            } => {
                if matches!(&result, Ok(lease) if !lease.is_empty()) {
                    self.touch(cx.now);
                }
                let (half, mut relay) = self.half(side, key, cx);
                let before = half.read();
                let step = half.on_received(result, more, nonempty, &mut relay);
                let read = half.read() - before;
                self.count(side, read, meter);
                (side, step)
            }
            Event::Sent { result, rest } => {
                if matches!(result, Ok(count) if count > 0) {
                    self.touch(cx.now);
                }
                let source = side.other();
                let (half, mut relay) = self.half(source, key, cx);
                (source, half.on_sent(result, rest, &mut relay))
            }
            Event::Spliced {
                taken,
                given,
                held,
                stop,
            } => {
                if taken + given > 0 {
                    self.touch(cx.now);
                }
                meter.of(side).spliced.add(taken.into());
                self.traffic(side).add(taken.into());
                let (half, mut relay) = self.half(side, key, cx);
                (side, half.on_spliced(taken, held, stop, &mut relay))
            }
            Event::Accepted { .. }
            | Event::Dialed { .. }
            | Event::Unsent { .. }
            | Event::Polled { .. } => {
                unreachable!("not a half's")
            }
        }
    }

    /// Counts bytes that a source gave to the worker.
    #[inline]
    fn count(&self, source: Side, bytes: u64, meter: &Meter) {
        let ways = meter.of(source);
        if self.is_tls() {
            ways.sealed.add(bytes);
        } else {
            ways.copied.add(bytes);
        }
        self.traffic(source).add(bytes);
    }

    #[inline]
    fn traffic(&self, source: Side) -> &Counter {
        match source {
            Side::Client => &self.traffic.up,
            Side::Backend => &self.traffic.down,
        }
    }

    /// A byte moved. The clocks of the last stages run from their beginning.
    fn touch(&mut self, now: Time) {
        if matches!(self.stage, Stage::Open | Stage::HalfClosed(_)) {
            self.last = now;
        }
    }

    /// Looks whether what a last stage waits for has happened.
    #[inline]
    fn on_progress(&mut self, key: Key, cx: &mut Cx<'_>) -> Verdict {
        if matches!(self.stage, Stage::Open | Stage::HalfClosed(_)) {
            return Verdict::Going;
        }
        self.on_last_progress(key, cx)
    }

    #[cold]
    fn on_last_progress(&mut self, key: Key, cx: &mut Cx<'_>) -> Verdict {
        match self.stage {
            Stage::Flushing(failed, outcome) => {
                let half = match failed {
                    Side::Client => &self.up,
                    Side::Backend => &self.down,
                };
                if !half.is_flushed() {
                    return Verdict::Going;
                }
                self.settle(failed, outcome, key, cx);
                Verdict::Staged
            }
            Stage::Stopping(outcome)
                if self.up.is_shut() && self.down.is_shut() && self.is_quiet() =>
            {
                Verdict::End(outcome, Ending::Orderly)
            }
            Stage::Open | Stage::HalfClosed(_) | Stage::Settling(..) | Stage::Stopping(_) => {
                Verdict::Going
            }
        }
    }

    /// Asks how much of a failed side's last bytes the other host has not taken.
    fn settle(&mut self, failed: Side, outcome: Outcome, key: Key, cx: &mut Cx<'_>) {
        self.stage = Stage::Settling(failed, outcome, cx.now + SETTLE);
        let to = failed.other();
        cx.ops.push(Op::Unsent {
            tag: relay::tag(key, to.lane()),
            sock: self.sock(to),
        });
    }

    fn on_unsent(&mut self, lane: Lane, bytes: u32, now: Time) -> Verdict {
        if let Some(slow) = &mut self.slow
            && lane == Lane::A
            && slow.is_asked()
        {
            let unsent = u64::from(bytes) + u64::from(self.down.waiting());
            let is_over = slow.on_answer(unsent, self.down.moved().total(), now);
            return self.on_looked_after(is_over);
        }
        match self.stage {
            Stage::Settling(failed, outcome, _) if bytes == 0 => {
                Verdict::End(outcome, Ending::Reset(failed.other()))
            }
            Stage::Open
            | Stage::HalfClosed(_)
            | Stage::Flushing(..)
            | Stage::Settling(..)
            | Stage::Stopping(_) => Verdict::Going,
        }
    }

    /// What a client does not take is not waited for: a reset gives its memory back at once.
    fn on_looked_after(&self, is_over: bool) -> Verdict {
        match self.stage {
            Stage::Open | Stage::HalfClosed(_) if is_over => {
                let outcome = Outcome {
                    cause: Cause::SlowClient,
                    phase: self.phase(),
                    errno: None,
                };
                Verdict::End(outcome, Ending::Reset(Side::Client))
            }
            Stage::Open
            | Stage::HalfClosed(_)
            | Stage::Flushing(..)
            | Stage::Settling(..)
            | Stage::Stopping(_) => Verdict::Staged,
        }
    }

    fn on_ended(&mut self, source: Side, key: Key, cx: &mut Cx<'_>) -> Verdict {
        match self.stage {
            Stage::Open => {
                self.send_fin(source.other(), cx);
                self.stage = Stage::HalfClosed(source);
                self.last = cx.now;
                Verdict::Staged
            }
            // Both sockets are closed now, which sends the second FIN.
            Stage::HalfClosed(first) => {
                let cause = match (first, self.end(first).is_truncated()) {
                    (Side::Client, false) => Cause::ClientFin,
                    (Side::Backend, false) => Cause::BackendFin,
                    (Side::Client, true) => Cause::ClientTruncated,
                    (Side::Backend, true) => Cause::BackendTruncated,
                };
                let outcome = Outcome {
                    cause,
                    phase: Phase::Done,
                    errno: None,
                };
                Verdict::End(outcome, Ending::Orderly)
            }
            Stage::Stopping(_) => {
                self.send_fin(source.other(), cx);
                self.on_progress(key, cx)
            }
            Stage::Flushing(..) | Stage::Settling(..) => self.on_progress(key, cx),
        }
    }

    fn send_fin(&self, to: Side, cx: &mut Cx<'_>) {
        let sock = self.sock(to);
        cx.ops.push(Op::Shutdown { sock, both: false });
    }

    fn end(&self, side: Side) -> &End {
        match side {
            Side::Client => &self.client,
            Side::Backend => &self.backend,
        }
    }

    fn sock(&self, side: Side) -> SockRef {
        self.end(side).sock.as_ref()
    }

    fn on_failed(&mut self, failed: Side, failure: Failure, key: Key, cx: &mut Cx<'_>) -> Verdict {
        match self.stage {
            Stage::Open | Stage::HalfClosed(_) => {
                let outcome = self.failure(failed, failure);
                self.stage = Stage::Flushing(failed, outcome);
                self.last = cx.now;
                let (half, mut relay) = self.half(failed, key, cx);
                half.fail_source(&mut relay);
                let (half, mut relay) = self.half(failed.other(), key, cx);
                half.abandon(true, &mut relay);
                match self.on_progress(key, cx) {
                    Verdict::Going => Verdict::Staged,
                    end @ (Verdict::Staged | Verdict::End(..)) => end,
                }
            }
            // The same failure, told by the other direction; or what we flush to has failed as well.
            Stage::Flushing(first, _) | Stage::Settling(first, ..) if first == failed => {
                self.on_progress(key, cx)
            }
            Stage::Flushing(first, outcome) | Stage::Settling(first, outcome, _) => {
                Verdict::End(outcome, Ending::Reset(first.other()))
            }
            Stage::Stopping(outcome) => Verdict::End(outcome, Ending::Orderly),
        }
    }

    fn failure(&self, failed: Side, failure: Failure) -> Outcome {
        let (cause, errno) = Cause::of(failed, failure);
        Outcome {
            cause,
            phase: self.phase(),
            errno,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.stage {
            Stage::Open => Phase::Relaying,
            Stage::HalfClosed(_) => Phase::HalfClosed,
            Stage::Flushing(_, outcome)
            | Stage::Settling(_, outcome, _)
            | Stage::Stopping(outcome) => outcome.phase,
        }
    }

    /// The half that reads from a side, and what it needs.
    fn half<'a>(
        &'a mut self,
        source: Side,
        key: Key,
        cx: &'a mut Cx<'_>,
    ) -> (&'a mut Half, relay::Cx<'a>) {
        let client = (Lane::A, self.client.sock.as_ref());
        let backend = (Lane::B, self.backend.sock.as_ref());
        let client_tls = self.client.tls.as_deref_mut();
        let backend_tls = self.backend.tls.as_deref_mut();
        let (half, source, sink, source_tls, sink_tls) = match source {
            Side::Client => (&mut self.up, client, backend, client_tls, backend_tls),
            Side::Backend => (&mut self.down, backend, client, backend_tls, client_tls),
        };
        let cx = relay::Cx {
            ops: cx.ops,
            buffers: cx.buffers,
            starved: cx.starved,
            pressure: cx.pressure,
            now: cx.now,
            key,
            source,
            sink,
            source_tls,
            sink_tls,
            desk: cx.desk,
        };
        (half, cx)
    }
}
