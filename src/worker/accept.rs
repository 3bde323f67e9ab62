//! A listening socket of one worker: armed, pausing after an error, or on its way out. Never spins, never goes deaf.

use super::mailbox::Ear;
use crate::ring::{Errno, Op, OpKind, Ops, Sock, Tag, Time};
use std::time::Duration;

/// The first pause when descriptors run out; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The longest pause: what a client then waits at worst once descriptors are free.
const PAUSE_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Accepting {
    /// Which address this is.
    pub(super) door: usize,
    /// Its listener's number.
    pub(super) listener: u16,
    state: State,
    pause: Duration,
}

#[derive(Debug)]
enum State {
    /// An accept is in flight, or is armed again as soon as it is not.
    Open(Sock),
    /// Out of descriptors until then; no accept is in flight.
    Pausing(Sock, Time),
    /// Out of descriptors, but the last accept is still in flight.
    Tiring(Sock, Time),
    /// Asked to end; an accept is in flight.
    Stopping(Sock),
    Closed,
}

impl Accepting {
    pub(super) fn new(ear: Ear) -> Self {
        let Ear {
            door,
            listener,
            sock,
        } = ear;
        Self {
            door,
            listener,
            state: State::Open(sock),
            pause: PAUSE_MIN,
        }
    }

    /// Accepts from now on.
    pub(super) fn arm(&mut self, tag: Tag, ops: &mut Ops) {
        self.state = match std::mem::replace(&mut self.state, State::Closed) {
            State::Open(sock) | State::Pausing(sock, _) => {
                ops.push(Op::Accept {
                    tag,
                    listener: sock.as_ref(),
                });
                State::Open(sock)
            }
            other @ (State::Tiring(..) | State::Stopping(_) | State::Closed) => other,
        };
    }

    /// When a pause ends.
    pub(super) fn resumes(&self) -> Option<Time> {
        match &self.state {
            State::Pausing(_, at) => Some(*at),
            State::Open(_) | State::Tiring(..) | State::Stopping(_) | State::Closed => None,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// An accept failed. Running out of descriptors or memory calls for a pause; everything else was one client's.
    pub(super) fn on_error(&mut self, errno: Errno, now: Time, ops: &mut Ops) {
        if !matches!(
            errno,
            Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM
        ) {
            return;
        }
        self.state = match std::mem::replace(&mut self.state, State::Closed) {
            State::Open(sock) => {
                ops.push(Op::TurnAway {
                    listener: sock.as_ref(),
                });
                State::Tiring(sock, now + self.pause)
            }
            other @ (State::Pausing(..)
            | State::Tiring(..)
            | State::Stopping(_)
            | State::Closed) => other,
        };
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// The accept is no longer in flight.
    pub(super) fn on_disarmed(&mut self, tag: Tag, ops: &mut Ops) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Open(sock) => {
                self.state = State::Open(sock);
                self.arm(tag, ops);
            }
            State::Tiring(sock, until) => self.state = State::Pausing(sock, until),
            State::Stopping(sock) => ops.push(Op::Close { sock, reset: false }),
            State::Pausing(..) | State::Closed => unreachable!("no accept was in flight"),
        }
    }

    /// A client was taken: descriptors are not that scarce.
    pub(super) fn on_success(&mut self) {
        self.pause = PAUSE_MIN;
    }

    /// A connection gave two descriptors back: no reason to wait longer.
    pub(super) fn on_descriptors_freed(&mut self, now: Time) {
        if let State::Pausing(_, until) = &mut self.state {
            *until = now;
        }
    }

    /// Has an accept end that is in flight: it is [armed again](Self::on_disarmed) then. One that pauses looks later anyway.
    pub(super) fn disarm(&self, tag: Tag, ops: &mut Ops) {
        match &self.state {
            State::Open(_) => ops.push(Op::Cancel {
                tag,
                what: OpKind::Accept,
            }),
            State::Pausing(..) | State::Tiring(..) | State::Stopping(_) | State::Closed => {}
        }
    }

    /// Takes no more clients and closes.
    pub(super) fn stop(&mut self, tag: Tag, ops: &mut Ops) {
        self.state = match std::mem::replace(&mut self.state, State::Closed) {
            State::Open(sock) | State::Tiring(sock, _) => {
                ops.push(Op::Cancel {
                    tag,
                    what: OpKind::Accept,
                });
                State::Stopping(sock)
            }
            State::Pausing(sock, _) => {
                ops.push(Op::Close { sock, reset: false });
                State::Closed
            }
            other @ (State::Stopping(_) | State::Closed) => other,
        };
    }
}
