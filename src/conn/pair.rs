//! A client and its backend, relayed: two halves, and who ended what.

mod ending;

use super::slow::Slow;
use super::{Cx, Glance, Meter, Outcome, Side, Summary};
use crate::base::{Counter, Key};
use crate::config::Listener;
use crate::relay::{self, Begin, Half, Session, Step};
use crate::ring::{Event, Lane, Op, Sock, SockRef, Time};
use crate::upstream::Traffic;
use std::sync::Arc;
use std::time::Duration;

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

    fn end(&self, side: Side) -> &End {
        match side {
            Side::Client => &self.client,
            Side::Backend => &self.backend,
        }
    }

    fn sock(&self, side: Side) -> SockRef {
        self.end(side).sock.as_ref()
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
