//! One connection: its socket and what is in flight on it. Carries out what its [`Part`] decides, and ends as a join:
//! the socket is closed when the last op has come back.

use crate::fault::Fault;
use crate::job::Cx;
use crate::roles::{Outgoing, Part, Step};
use ringway_ring::{Errno, Lease, Op, OpKind, Sock, Time};

/// Whether the connection still needs its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Fate {
    Kept,
    Gone,
}

pub(crate) struct Link {
    state: State,
    part: Part,
}

enum State {
    Dialing {
        since: Time,
    },
    /// The dial was cancelled; its answer is awaited.
    GivenUp,
    Open(Wire),
    /// Shut down; what is in flight is awaited.
    Closing(Wire),
    Gone,
}

/// A socket and its ops.
struct Wire {
    sock: Sock,
    receiving: bool,
    /// The kernel said that more bytes wait.
    nonempty: bool,
    /// The peer has ended its stream.
    ended: bool,
    sending: bool,
    /// The socket took less than the last offer.
    full: bool,
    /// What it did not take.
    rest: Lease,
    /// In the list of those who wait for buffers.
    starved: bool,
}

impl Wire {
    fn new(sock: Sock) -> Self {
        Self {
            sock,
            receiving: false,
            nonempty: false,
            ended: false,
            sending: false,
            full: false,
            rest: Lease::EMPTY,
            starved: false,
        }
    }

    fn send(&mut self, lease: Lease, cx: &mut Cx) {
        self.sending = true;
        cx.ops.push(Op::Send {
            tag: cx.tag,
            sock: self.sock.as_ref(),
            lease,
            poll_first: self.full,
        });
    }

    fn starve(&mut self, cx: &mut Cx) {
        if !self.starved {
            self.starved = true;
            cx.job.starved.push(cx.tag);
        }
    }
}

impl Link {
    /// A connection that was dialed just now.
    pub(crate) fn dialing(part: Part, now: Time) -> Self {
        Self {
            state: State::Dialing { since: now },
            part,
        }
    }

    /// A connection that was accepted just now.
    pub(crate) fn accepted(part: Part, sock: Sock) -> Self {
        Self {
            state: State::Open(Wire::new(sock)),
            part,
        }
    }

    /// After [`accepted`](Self::accepted), when its place is known.
    pub(crate) fn on_open(&mut self, cx: &mut Cx) -> Fate {
        cx.stats.connections.opened += 1;
        let step = self.part.on_open(cx);
        self.follow(step, cx)
    }

    pub(crate) fn on_dialed(&mut self, result: Result<Sock, Errno>, cx: &mut Cx) -> Fate {
        cx.job.dialing -= 1;
        match (std::mem::replace(&mut self.state, State::Gone), result) {
            (State::Dialing { since }, Ok(sock)) => {
                cx.stats.connect.record(cx.now.since(since));
                self.state = State::Open(Wire::new(sock));
                self.on_open(cx)
            }
            (State::Dialing { .. }, Err(errno)) => {
                cx.stats.faults.add(Fault::of_dial(errno), 1);
                Fate::Gone
            }
            (State::GivenUp, Ok(sock)) => {
                cx.ops.push(Op::Close { sock, reset: false });
                Fate::Gone
            }
            (State::GivenUp, Err(_)) => Fate::Gone,
            (State::Open(_) | State::Closing(_) | State::Gone, _) => {
                unreachable!("a dial is answered once")
            }
        }
    }

    /// Ends a dial that takes too long.
    pub(crate) fn expire(&mut self, cx: &mut Cx) {
        if let State::Dialing { .. } = self.state {
            cx.stats.faults.add(Fault::ConnectTimeout, 1);
            self.give_up(cx);
        }
    }

    pub(crate) fn on_received(
        &mut self,
        result: Result<Lease, Errno>,
        more: bool,
        nonempty: bool,
        cx: &mut Cx,
    ) -> Fate {
        match &mut self.state {
            State::Open(wire) => {
                wire.receiving = more;
                wire.nonempty = nonempty;
                self.on_open_received(result, cx)
            }
            State::Closing(wire) => {
                wire.receiving = more;
                cx.buffers.release(result.unwrap_or(Lease::EMPTY));
                self.join(cx)
            }
            State::Dialing { .. } | State::GivenUp | State::Gone => {
                unreachable!("received without a socket")
            }
        }
    }

    fn on_open_received(&mut self, result: Result<Lease, Errno>, cx: &mut Cx) -> Fate {
        match result {
            Ok(lease) if lease.is_empty() => {
                if let State::Open(wire) = &mut self.state {
                    wire.ended = true;
                }
                let step = self.part.on_end(cx);
                self.follow(step, cx)
            }
            Ok(lease) => {
                cx.stats.counters.bytes_received += u64::from(lease.len());
                let step = self.part.on_bytes(lease, cx);
                self.follow(step, cx)
            }
            Err(Errno::ENOBUFS) => {
                if let State::Open(wire) = &mut self.state {
                    wire.nonempty = true;
                    wire.starve(cx);
                }
                Fate::Kept
            }
            Err(Errno::EAGAIN | Errno::EINTR) => self.pump(cx),
            Err(errno) => self.fail(errno, cx),
        }
    }

    pub(crate) fn on_sent(&mut self, result: Result<u32, Errno>, rest: Lease, cx: &mut Cx) -> Fate {
        match &mut self.state {
            State::Open(wire) => {
                wire.sending = false;
                wire.full = !rest.is_empty();
                wire.rest = if wire.full {
                    self.part.on_short(rest, cx)
                } else {
                    rest
                };
            }
            State::Closing(wire) => {
                wire.sending = false;
                cx.buffers.release(rest);
                return self.join(cx);
            }
            State::Dialing { .. } | State::GivenUp | State::Gone => {
                unreachable!("sent without a socket")
            }
        }
        match result {
            Ok(sent) => {
                cx.stats.counters.bytes_sent += u64::from(sent);
                self.pump(cx)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => self.pump(cx),
            Err(errno) => self.fail(errno, cx),
        }
    }

    /// Begins an exchange that was planned for `planned`.
    pub(crate) fn begin(&mut self, planned: Time, cx: &mut Cx) -> Fate {
        self.part.begin(planned);
        self.pump(cx)
    }

    pub(crate) fn is_dialing(&self) -> bool {
        matches!(self.state, State::Dialing { .. })
    }

    /// Whether an exchange can begin here.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Buffers may be free again.
    pub(crate) fn on_buffers(&mut self, cx: &mut Cx) -> Fate {
        if let State::Open(wire) = &mut self.state {
            wire.starved = false;
        }
        self.pump(cx)
    }

    /// The fleet's time is over.
    pub(crate) fn wind_down(&mut self, cx: &mut Cx) -> Fate {
        match self.state {
            State::Dialing { .. } => {
                if self.part.wind_down() == Step::Close {
                    self.give_up(cx);
                }
                Fate::Kept
            }
            State::Open(_) => {
                let step = self.part.wind_down();
                self.follow(step, cx)
            }
            State::GivenUp | State::Closing(_) | State::Gone => Fate::Kept,
        }
    }

    /// So is the time to finish: what is still open was never answered.
    pub(crate) fn abandon(&mut self, cx: &mut Cx) -> Fate {
        if self.is_open() || self.is_dialing() {
            cx.stats.faults.add(Fault::Unanswered, 1);
        }
        self.close(cx)
    }

    /// Sends and arms whatever can be. Sends first: what that takes from a queue makes room to receive.
    pub(crate) fn pump(&mut self, cx: &mut Cx) -> Fate {
        let fate = self.send_next(cx);
        self.arm(cx);
        fate
    }

    fn send_next(&mut self, cx: &mut Cx) -> Fate {
        let State::Open(wire) = &mut self.state else {
            return Fate::Kept;
        };
        if wire.sending {
            return Fate::Kept;
        }
        if !wire.rest.is_empty() {
            let rest = wire.rest.take();
            wire.send(rest, cx);
            return Fate::Kept;
        }
        match self.part.outgoing(wire.full, cx) {
            Outgoing::Nothing => {}
            Outgoing::Bytes(lease) => wire.send(lease, cx),
            Outgoing::Starved => wire.starve(cx),
            Outgoing::Fin => cx.ops.push(Op::Shutdown {
                sock: wire.sock.as_ref(),
                both: false,
            }),
            Outgoing::Done => return self.close(cx),
        }
        Fate::Kept
    }

    fn arm(&mut self, cx: &mut Cx) {
        let State::Open(wire) = &mut self.state else {
            return;
        };
        if wire.receiving || wire.ended || wire.starved || !self.part.reads() {
            return;
        }
        wire.receiving = true;
        cx.ops.push(Op::Recv {
            tag: cx.tag,
            sock: wire.sock.as_ref(),
            budget: self.part.budget(),
            poll_first: !wire.nonempty,
        });
    }

    fn follow(&mut self, step: Step, cx: &mut Cx) -> Fate {
        match step {
            Step::Continue => self.pump(cx),
            Step::Close => self.close(cx),
        }
    }

    fn fail(&mut self, errno: Errno, cx: &mut Cx) -> Fate {
        let fault = Fault::of_transfer(errno);
        if fault != Fault::Reset || self.part.is_client() && !cx.job.ending {
            cx.stats.faults.add(fault, 1);
        } else if !self.part.is_client() {
            cx.stats.connections.resets += 1;
        }
        self.close(cx)
    }

    fn give_up(&mut self, cx: &mut Cx) {
        self.state = State::GivenUp;
        cx.ops.push(Op::Cancel {
            tag: cx.tag,
            what: OpKind::Dial,
        });
    }

    /// Ends the connection, wherever it stands.
    pub(crate) fn close(&mut self, cx: &mut Cx) -> Fate {
        match std::mem::replace(&mut self.state, State::Gone) {
            State::Open(mut wire) => {
                cx.stats.connections.closed += 1;
                cx.buffers.release(wire.rest.take());
                self.part.release(cx.buffers);
                if wire.receiving || wire.sending {
                    cx.ops.push(Op::Shutdown {
                        sock: wire.sock.as_ref(),
                        both: true,
                    });
                }
                self.state = State::Closing(wire);
                self.join(cx)
            }
            State::Dialing { .. } => {
                self.give_up(cx);
                Fate::Kept
            }
            waiting @ (State::GivenUp | State::Closing(_)) => {
                self.state = waiting;
                Fate::Kept
            }
            State::Gone => Fate::Gone,
        }
    }

    fn join(&mut self, cx: &mut Cx) -> Fate {
        match std::mem::replace(&mut self.state, State::Gone) {
            State::Closing(wire) if wire.receiving || wire.sending => {
                self.state = State::Closing(wire);
                Fate::Kept
            }
            State::Closing(wire) => {
                cx.ops.push(Op::Close {
                    sock: wire.sock,
                    reset: false,
                });
                Fate::Gone
            }
            State::Dialing { .. } | State::GivenUp | State::Open(_) | State::Gone => {
                unreachable!("only a closing connection is joined")
            }
        }
    }
}
