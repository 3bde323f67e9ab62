//! How a pair ends, and what it goes through until then: whoever is first with FIN, a failure, a deadline or an order.

use super::super::span::Span;
use super::super::{Cause, Cx, Outcome, Phase, Side};
use super::{Ending, Pair, Stage, Verdict};
use crate::base::Key;
use crate::relay::{self, Failure, Step};
use crate::ring::{Lane, Op, Time};
use std::time::Duration;

/// How long the last bytes of a side that failed may take to reach the other before that is reset too. Long enough
/// for a reader that is merely a round trip behind, short enough not to keep a dead relay.
const FLUSH: Duration = Duration::from_secs(1);

/// How often to ask whether the other host has taken the last bytes: a few times in a long round trip.
const SETTLE: Duration = Duration::from_millis(20);

/// How long a side that was told FIN by us alone may take to answer with its own.
const LINGER: Duration = Duration::from_secs(1);

impl Pair {
    pub(in crate::conn) fn on_timer(&mut self, span: &Span, key: Key, cx: &mut Cx<'_>) -> Verdict {
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
    pub(in crate::conn) fn deadline(&self, span: &Span) -> Time {
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

    pub(in crate::conn) fn stop(&mut self, cause: Cause, key: Key, cx: &mut Cx<'_>) -> Verdict {
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

    pub(in crate::conn) fn kill(&self, cause: Cause) -> Verdict {
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

    /// Looks whether what a last stage waits for has happened.
    #[inline]
    pub(super) fn on_progress(&mut self, key: Key, cx: &mut Cx<'_>) -> Verdict {
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

    pub(super) fn on_unsent(&mut self, lane: Lane, bytes: u32, now: Time) -> Verdict {
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

    pub(super) fn on_ended(&mut self, source: Side, key: Key, cx: &mut Cx<'_>) -> Verdict {
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

    pub(super) fn on_failed(
        &mut self,
        failed: Side,
        failure: Failure,
        key: Key,
        cx: &mut Cx<'_>,
    ) -> Verdict {
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

    pub(in crate::conn) fn phase(&self) -> Phase {
        match self.stage {
            Stage::Open => Phase::Relaying,
            Stage::HalfClosed(_) => Phase::HalfClosed,
            Stage::Flushing(_, outcome)
            | Stage::Settling(_, outcome, _)
            | Stage::Stopping(outcome) => outcome.phase,
        }
    }
}
