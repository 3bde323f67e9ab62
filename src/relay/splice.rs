//! The splicing engine: bytes go from socket to socket inside the kernel, for streams that prove to be bulk.
//!
//! One [`Op::Splice`] in flight at most, which both reads and writes. What the sink does not take stays in the op's
//! pipe, and nothing is read while any is there; so an end or an error of the source is only seen when all its bytes
//! are out.

use super::{Cx, Failure, Step};
use crate::ring::{Errno, Op, OpKind, Readiness, Stop};

/// Bytes that one op takes at most: one pipe full, so that others have their turn.
const BUDGET: u32 = 256 << 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// A splice is in flight.
    Moving,
    /// The same, and it waits for the sink to take so much that is in its pipe.
    Held(u32),
    /// A splice is in flight; what is in its pipe still goes out, and nothing more (`stop`).
    Stopping,
    /// A splice is in flight on a source that is known to have failed; it moves the source's last bytes.
    Failing,
    /// The source ended and its bytes are out.
    Ended,
    /// The source failed: no FIN for the sink.
    Broken,
    /// The sink takes nothing more; a splice may still be in flight.
    Failed { busy: bool },
}

/// What is to become of the half.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// It goes on splicing, or is over.
    Stay(Step),
    /// The pipe is empty and nothing is in flight: it goes on by copying.
    Leave,
    /// It was asked to stop, and its last byte is out: FIN is due, and what still comes is to be thrown away.
    Drained,
}

/// What a splice came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spliced {
    pub(super) held: u32,
    pub(super) stop: Stop,
}

/// One direction, spliced.
#[derive(Debug)]
pub(super) struct Splice(State);

impl Splice {
    /// Begins to move bytes.
    pub(super) fn start(cx: &mut Cx<'_>) -> Self {
        ask(BUDGET, None, cx);
        Self(State::Moving)
    }

    pub(super) fn is_quiet(&self) -> bool {
        !self.is_moving() && self.0 != State::Failed { busy: true }
    }

    pub(super) fn is_shut(&self) -> bool {
        self.0 == State::Ended
    }

    /// Whether its source is known to have failed.
    pub(super) fn is_failing(&self) -> bool {
        self.0 == State::Failing
    }

    pub(super) fn is_flushed(&self) -> bool {
        !self.is_moving()
    }

    /// Whether the source is not read because the sink has not taken what came before.
    pub(super) fn waits_for_sink(&self) -> bool {
        matches!(self.0, State::Held(_))
    }

    /// Bytes that the sink has not taken.
    pub(super) fn waiting(&self) -> u32 {
        match self.0 {
            State::Held(bytes) => bytes,
            State::Moving
            | State::Stopping
            | State::Failing
            | State::Ended
            | State::Broken
            | State::Failed { .. } => 0,
        }
    }

    fn is_moving(&self) -> bool {
        matches!(
            self.0,
            State::Moving | State::Held(_) | State::Stopping | State::Failing
        )
    }

    /// A splice completed. `leave`: once its pipe is empty the half would rather copy.
    pub(super) fn on_spliced(&mut self, it: Spliced, leave: bool, cx: &mut Cx<'_>) -> Next {
        match (self.0, it.stop) {
            (State::Failed { .. }, _) => {
                self.fail();
                if it.held > 0 {
                    let tag = cx.source_tag();
                    cx.ops.push(Op::Discard { tag });
                }
                Next::Stay(Step::Going)
            }
            (_, Stop::SinkFailed(errno)) => {
                self.fail();
                Next::Stay(Step::SinkFailed(Failure::Socket(errno)))
            }
            (_, Stop::SourceFailed(errno)) => self.on_source_failed(errno),
            (State::Moving | State::Held(_), Stop::End) => {
                self.0 = State::Ended;
                Next::Stay(Step::Ended)
            }
            (State::Moving | State::Held(_), stop) => self.move_on(stop, it.held, leave, cx),
            (State::Stopping, _) => self.flush(it.held, cx),
            (State::Failing, stop) => take_last(&mut self.0, stop, cx),
            (State::Ended | State::Broken, _) => unreachable!("no splice is in flight"),
        }
    }

    /// See [`Half::stop`](super::Half::stop).
    pub(super) fn stop(&mut self, cx: &mut Cx<'_>) {
        if matches!(self.0, State::Moving | State::Held(_)) {
            self.0 = State::Stopping;
            cancel(cx);
        }
    }

    /// See [`Half::fail_source`](super::Half::fail_source).
    pub(super) fn fail_source(&mut self) {
        self.0 = match self.0 {
            State::Moving | State::Held(_) | State::Stopping | State::Failing => State::Failing,
            State::Ended | State::Broken => State::Broken,
            failed @ State::Failed { .. } => failed,
        };
    }

    /// See [`Half::abandon`](super::Half::abandon).
    pub(super) fn abandon(&mut self, by_cancel: bool, cx: &mut Cx<'_>) {
        let busy = !self.is_quiet();
        if busy && by_cancel {
            cancel(cx);
        }
        self.0 = State::Failed { busy };
    }

    fn fail(&mut self) {
        self.0 = State::Failed { busy: false };
    }

    fn on_source_failed(&mut self, errno: Errno) -> Next {
        self.0 = State::Broken;
        Next::Stay(Step::SourceFailed(Failure::Socket(errno)))
    }

    fn move_on(&mut self, stop: Stop, held: u32, leave: bool, cx: &mut Cx<'_>) -> Next {
        let wait = match stop {
            Stop::NoPipe => return Next::Leave,
            Stop::Empty | Stop::Budget if leave => return Next::Leave,
            Stop::Empty => Some(Readiness::Readable),
            Stop::Full => Some(Readiness::Room),
            Stop::Budget | Stop::Cancelled => None,
            Stop::End | Stop::SourceFailed(_) | Stop::SinkFailed(_) => {
                unreachable!("the caller's")
            }
        };
        self.0 = if stop == Stop::Full {
            State::Held(held)
        } else {
            State::Moving
        };
        ask(BUDGET, wait, cx);
        Next::Stay(Step::Going)
    }

    /// Only what is in the pipe still goes out.
    fn flush(&mut self, held: u32, cx: &mut Cx<'_>) -> Next {
        if held == 0 {
            return Next::Drained;
        }
        ask(0, Some(Readiness::Room), cx);
        Next::Stay(Step::Going)
    }
}

/// A dead source has no more than what it had: it soon says End or fails. The connection bounds how long.
fn take_last(state: &mut State, stop: Stop, cx: &mut Cx<'_>) -> Next {
    match stop {
        Stop::NoPipe => return Next::Leave,
        Stop::End => *state = State::Broken,
        Stop::Full => ask(BUDGET, Some(Readiness::Room), cx),
        Stop::Empty | Stop::Budget | Stop::Cancelled => ask(BUDGET, None, cx),
        Stop::SourceFailed(_) | Stop::SinkFailed(_) => unreachable!("the caller's"),
    }
    Next::Stay(Step::Going)
}

fn ask(budget: u32, wait: Option<Readiness>, cx: &mut Cx<'_>) {
    cx.ops.push(Op::Splice {
        tag: cx.source_tag(),
        from: cx.source.1,
        to: cx.sink.1,
        budget,
        wait,
    });
}

fn cancel(cx: &mut Cx<'_>) {
    cx.ops.push(Op::Cancel {
        tag: cx.source_tag(),
        what: OpKind::Splice,
    });
}
