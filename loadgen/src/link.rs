//! One connection: its socket and what is in flight on it. Carries out what its [`Part`] decides, and ends as a join:
//! the socket is closed when the last op has come back.

use crate::fault::Fault;
use crate::job::Cx;
use crate::roles::{BUDGET, Outgoing, Part, Step};
use crate::tls::{Opened, Session};
use ringway_ring::{Errno, Lease, Op, OpKind, Sock, Time};
use rustls::HandshakeKind;

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
        tls: Option<Session>,
    },
    /// The dial was cancelled; its answer is awaited.
    GivenUp,
    /// Connected; TLS is being agreed on.
    Shaking {
        since: Time,
        wire: Wire,
    },
    Open(Wire),
    /// close_notify is being sent.
    Leaving(Wire),
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
    /// A FIN follows what is being sent.
    ending: bool,
    /// Bytes of the part's in what TLS has sealed and is being sent.
    text: u32,
    tls: Option<Session>,
}

impl Wire {
    fn new(sock: Sock, tls: Option<Session>) -> Self {
        Self {
            sock,
            tls,
            ending: false,
            text: 0,
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

    /// What goes over the socket so that the peer gets this.
    fn seal(&mut self, out: Outgoing, cx: &mut Cx) -> Outgoing {
        let Some(tls) = &mut self.tls else {
            return out;
        };
        let without_bytes = match out {
            Outgoing::Nothing | Outgoing::Starved => out,
            Outgoing::Bytes(text) => {
                self.text = text.len();
                tls.seal(text, cx.buffers);
                Outgoing::Nothing
            }
            Outgoing::Fin => {
                self.ending = true;
                tls.say_farewell();
                Outgoing::Nothing
            }
            Outgoing::Done => return out,
        };
        match tls.take(cx.buffers) {
            None => Outgoing::Starved,
            Some(sealed) if sealed.is_empty() => without_bytes,
            Some(sealed) => Outgoing::Bytes(sealed),
        }
    }

    /// All that was offered last is with the kernel.
    fn on_all_sent(&mut self, cx: &mut Cx) {
        cx.stats.counters.bytes_sent += u64::from(std::mem::take(&mut self.text));
        if std::mem::take(&mut self.ending) {
            self.shut(false, cx);
        }
    }

    fn shut(&self, both: bool, cx: &mut Cx) {
        cx.ops.push(Op::Shutdown {
            sock: self.sock.as_ref(),
            both,
        });
    }

    /// Whether the server's stream ended, and not in order.
    fn is_truncated(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.is_closed())
    }
}

impl Link {
    /// A connection that was dialed just now.
    pub(crate) fn dialing(part: Part, tls: Option<Session>, now: Time) -> Self {
        Self {
            state: State::Dialing { since: now, tls },
            part,
        }
    }

    /// A connection that was accepted just now.
    pub(crate) fn accepted(part: Part, sock: Sock) -> Self {
        Self {
            state: State::Open(Wire::new(sock, None)),
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
        match (std::mem::replace(&mut self.state, State::Gone), result) {
            (State::Dialing { since, tls }, Ok(sock)) => {
                cx.stats.connect.record(cx.now.since(since));
                self.on_connected(Wire::new(sock, tls), cx)
            }
            (State::Dialing { .. }, Err(errno)) => {
                cx.job.dialing -= 1;
                cx.stats.faults.add(Fault::of_dial(errno), 1);
                Fate::Gone
            }
            (State::GivenUp, Ok(sock)) => {
                cx.job.dialing -= 1;
                cx.ops.push(Op::Close { sock, reset: false });
                Fate::Gone
            }
            (State::GivenUp, Err(_)) => {
                cx.job.dialing -= 1;
                Fate::Gone
            }
            (
                State::Shaking { .. }
                | State::Open(_)
                | State::Leaving(_)
                | State::Closing(_)
                | State::Gone,
                _,
            ) => unreachable!("a dial is answered once"),
        }
    }

    fn on_connected(&mut self, wire: Wire, cx: &mut Cx) -> Fate {
        if wire.tls.is_some() {
            let since = cx.now;
            self.state = State::Shaking { since, wire };
            return self.pump(cx);
        }
        cx.job.dialing -= 1;
        self.state = State::Open(wire);
        self.on_open(cx)
    }

    /// Ends a dial or a handshake that takes too long.
    pub(crate) fn expire(&mut self, cx: &mut Cx) -> Fate {
        if !self.is_dialing() {
            return Fate::Kept;
        }
        cx.stats.faults.add(Fault::ConnectTimeout, 1);
        self.close(cx)
    }

    pub(crate) fn on_received(
        &mut self,
        result: Result<Lease, Errno>,
        more: bool,
        nonempty: bool,
        cx: &mut Cx,
    ) -> Fate {
        match &mut self.state {
            State::Open(wire) | State::Shaking { wire, .. } => {
                wire.receiving = more;
                wire.nonempty = nonempty;
                self.on_open_received(result, cx)
            }
            State::Leaving(wire) => {
                wire.receiving = more;
                cx.buffers.release(result.unwrap_or(Lease::EMPTY));
                Fate::Kept
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
            Ok(lease) if lease.is_empty() => self.on_end(cx),
            Ok(lease) => {
                let Some(tls) = self.wire().and_then(|wire| wire.tls.as_mut()) else {
                    return self.on_text(lease, cx);
                };
                let opened = tls.open(lease, cx.buffers);
                self.on_opened(opened, cx)
            }
            Err(Errno::ENOBUFS) => {
                if let Some(wire) = self.wire() {
                    wire.nonempty = true;
                    wire.starve(cx);
                }
                Fate::Kept
            }
            Err(Errno::EAGAIN | Errno::EINTR) => self.pump(cx),
            Err(errno) => self.fail(errno, cx),
        }
    }

    fn on_end(&mut self, cx: &mut Cx) -> Fate {
        let is_shaking = matches!(self.state, State::Shaking { .. });
        let mut truncated = false;
        if let Some(wire) = self.wire() {
            wire.ended = true;
            truncated = wire.is_truncated();
        }
        if is_shaking || truncated && !cx.job.ending {
            let fault = if is_shaking {
                Fault::Tls
            } else {
                Fault::Truncated
            };
            cx.stats.faults.add(fault, 1);
            return self.close(cx);
        }
        let step = self.part.on_end(cx);
        self.follow(step, cx)
    }

    fn on_text(&mut self, text: Lease, cx: &mut Cx) -> Fate {
        cx.stats.counters.bytes_received += u64::from(text.len());
        let step = self.part.on_bytes(text, cx);
        self.follow(step, cx)
    }

    fn on_opened(&mut self, Opened { text, fault }: Opened, cx: &mut Cx) -> Fate {
        if let Some(fault) = fault {
            cx.buffers.release(text);
            cx.stats.faults.add(fault, 1);
            return self.close(cx);
        }
        let fate = self.on_agreed(cx);
        if text.is_empty() {
            return if fate == Fate::Gone {
                fate
            } else {
                self.pump(cx)
            };
        }
        if !self.is_open() {
            cx.buffers.release(text);
            return fate;
        }
        self.on_text(text, cx)
    }

    /// The connection is open as soon as there are keys.
    fn on_agreed(&mut self, cx: &mut Cx) -> Fate {
        let State::Shaking { since, wire } = &self.state else {
            return Fate::Kept;
        };
        let Some(kind) = wire.tls.as_ref().and_then(Session::agreed) else {
            return Fate::Kept;
        };
        cx.stats
            .agreed(cx.now.since(*since), kind == HandshakeKind::Resumed);
        cx.job.dialing -= 1;
        if let State::Shaking { wire, .. } = std::mem::replace(&mut self.state, State::Gone) {
            self.state = State::Open(wire);
        }
        self.on_open(cx)
    }

    /// The socket, while the peer is talked with.
    fn wire(&mut self) -> Option<&mut Wire> {
        match &mut self.state {
            State::Shaking { wire, .. } | State::Open(wire) => Some(wire),
            State::Dialing { .. }
            | State::GivenUp
            | State::Leaving(_)
            | State::Closing(_)
            | State::Gone => None,
        }
    }

    pub(crate) fn on_sent(&mut self, result: Result<u32, Errno>, rest: Lease, cx: &mut Cx) -> Fate {
        match &mut self.state {
            State::Open(wire) | State::Shaking { wire, .. } => {
                wire.sending = false;
                wire.full = !rest.is_empty();
                wire.rest = if wire.full && wire.tls.is_none() {
                    self.part.on_short(rest, cx)
                } else {
                    rest
                };
                if !wire.full && result.is_ok() {
                    wire.on_all_sent(cx);
                }
            }
            State::Leaving(wire) => {
                wire.sending = false;
                cx.buffers.release(rest);
                return self.finish(cx);
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
                // What TLS adds is not counted, and so text when all of it is out.
                if self.wire().is_some_and(|wire| wire.tls.is_none()) {
                    cx.stats.counters.bytes_sent += u64::from(sent);
                }
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

    /// Whether it is not open yet.
    pub(crate) fn is_dialing(&self) -> bool {
        matches!(self.state, State::Dialing { .. } | State::Shaking { .. })
    }

    /// Whether an exchange can begin here.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Buffers may be free again.
    pub(crate) fn on_buffers(&mut self, cx: &mut Cx) -> Fate {
        if let Some(wire) = self.wire() {
            wire.starved = false;
        }
        self.pump(cx)
    }

    /// The fleet's time is over.
    pub(crate) fn wind_down(&mut self, cx: &mut Cx) -> Fate {
        match self.state {
            State::Dialing { .. } | State::Shaking { .. } | State::Open(_) => {
                let step = self.part.wind_down();
                self.follow(step, cx)
            }
            State::GivenUp | State::Leaving(_) | State::Closing(_) | State::Gone => Fate::Kept,
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
        let (wire, may_ask) = match &mut self.state {
            State::Open(wire) => (wire, true),
            State::Shaking { wire, .. } => (wire, false),
            State::Dialing { .. }
            | State::GivenUp
            | State::Leaving(_)
            | State::Closing(_)
            | State::Gone => return Fate::Kept,
        };
        if wire.sending {
            return Fate::Kept;
        }
        if !wire.rest.is_empty() {
            let rest = wire.rest.take();
            wire.send(rest, cx);
            return Fate::Kept;
        }
        let is_backed_up = wire.tls.as_ref().is_some_and(Session::is_backed_up);
        let out = if may_ask && !is_backed_up {
            self.part.outgoing(wire.full, cx)
        } else {
            Outgoing::Nothing
        };
        match wire.seal(out, cx) {
            Outgoing::Nothing => {}
            Outgoing::Bytes(lease) => wire.send(lease, cx),
            Outgoing::Starved => wire.starve(cx),
            Outgoing::Fin => wire.shut(false, cx),
            Outgoing::Done => return self.close(cx),
        }
        Fate::Kept
    }

    fn arm(&mut self, cx: &mut Cx) {
        let (wire, reads, budget) = match &mut self.state {
            State::Open(wire) => (wire, self.part.reads(), self.part.budget()),
            State::Shaking { wire, .. } => (wire, true, BUDGET),
            State::Dialing { .. }
            | State::GivenUp
            | State::Leaving(_)
            | State::Closing(_)
            | State::Gone => return,
        };
        if wire.receiving || wire.ended || wire.starved || !reads {
            return;
        }
        wire.receiving = true;
        // How many bytes TLS makes of an answer, nobody knows.
        let budget = if wire.tls.is_some() { BUDGET } else { budget };
        cx.ops.push(Op::Recv {
            tag: cx.tag,
            sock: wire.sock.as_ref(),
            budget,
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
            State::Open(wire) => {
                cx.stats.connections.closed += 1;
                self.leave(wire, cx)
            }
            State::Shaking { wire, .. } => {
                cx.job.dialing -= 1;
                self.state = State::Closing(wire);
                self.finish(cx)
            }
            State::Leaving(wire) => {
                self.state = State::Closing(wire);
                self.finish(cx)
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

    /// Gives up what it holds. Whoever speaks TLS says so first, unless something is still on its way or TLS is broken.
    fn leave(&mut self, mut wire: Wire, cx: &mut Cx) -> Fate {
        cx.buffers.release(wire.rest.take());
        self.part.release(cx.buffers);
        if let Some(tls) = &mut wire.tls
            && !wire.sending
        {
            tls.say_farewell();
            if let Some(farewell) = tls.take(cx.buffers)
                && !farewell.is_empty()
            {
                wire.send(farewell, cx);
                self.state = State::Leaving(wire);
                return Fate::Kept;
            }
        }
        self.state = State::Closing(wire);
        self.finish(cx)
    }

    /// Ends what is in flight.
    fn finish(&mut self, cx: &mut Cx) -> Fate {
        if let State::Leaving(wire) | State::Closing(wire) =
            std::mem::replace(&mut self.state, State::Gone)
        {
            if wire.receiving || wire.sending {
                wire.shut(true, cx);
            }
            self.state = State::Closing(wire);
        }
        self.join(cx)
    }

    fn join(&mut self, cx: &mut Cx) -> Fate {
        match std::mem::replace(&mut self.state, State::Gone) {
            State::Closing(wire) if wire.receiving || wire.sending => {
                self.state = State::Closing(wire);
                Fate::Kept
            }
            State::Closing(mut wire) => {
                cx.buffers.release(wire.rest.take());
                cx.ops.push(Op::Close {
                    sock: wire.sock,
                    reset: false,
                });
                Fate::Gone
            }
            State::Dialing { .. }
            | State::GivenUp
            | State::Shaking { .. }
            | State::Open(_)
            | State::Leaving(_)
            | State::Gone => unreachable!("only a closing connection is joined"),
        }
    }
}
