//! A backend that is connected, and with which TLS is being agreed on. Until it is, nothing of the client's is sent, and another backend
//! can be tried.

use super::{Cause, Cx, Side};
use crate::base::Key;
use crate::relay::{Begin, Opened, Session, Source, tag};
use crate::ring::{Errno, Event, Lane, Lease, Op, Sock};

/// Bytes of a flight that are received at once: certificates are a few KiB.
const FLIGHT: u32 = 16 << 10;

/// The backend's side of a dial that has been answered.
#[derive(Debug)]
pub(super) struct Secure {
    sock: Sock,
    session: Box<Session>,
    /// What came and waits for its step.
    came: Lease,
    /// What came behind the last message of the handshake, opened.
    text: Lease,
    reading: Reading,
    sending: bool,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reading {
    /// No receive is in flight.
    Not,
    /// A receive is in flight.
    Armed,
    /// It sent FIN, perhaps behind all that it has to say.
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Each says what is its turn to say.
    Shaking,
    /// Bytes of the backend wait for their step.
    InLine,
    /// It came to nothing, and what is in flight is to end.
    Ending(Cause, Option<Errno>),
}

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Secured {
    /// Bytes are needed, or time.
    Waiting,
    /// There are keys, and all that was to be said has been.
    Agreed,
    /// There never will be. The kernel holds nothing of it.
    Failed(Cause, Option<Errno>),
}

impl Secure {
    /// Begins, with bytes that go out as they are before anything else.
    pub(super) fn start(
        sock: Sock,
        session: Session,
        before: &[u8],
        key: Key,
        cx: &mut Cx<'_>,
    ) -> (Self, Secured) {
        let mut this = Self {
            sock,
            session: Box::new(session),
            came: Lease::EMPTY,
            text: Lease::EMPTY,
            reading: Reading::Not,
            sending: false,
            stage: Stage::Shaking,
        };
        let mut flight = Lease::EMPTY;
        let room = cx.buffers.extend(&mut flight, before);
        let Opened { text, failure } = this.session.open(Lease::EMPTY, cx.buffers, cx.desk);
        cx.buffers.release(text);
        cx.buffers.append(&mut flight, this.session.take_pending());
        if failure.is_some() || !room {
            cx.buffers.release(flight);
            let secured = this.fail(Cause::Resource, Some(Errno::ENOBUFS), cx);
            return (this, secured);
        }
        this.send(flight, false, key, cx);
        this.read(key, cx);
        (this, Secured::Waiting)
    }

    pub(super) fn on_event(&mut self, event: Event, key: Key, cx: &mut Cx<'_>) -> Secured {
        match event {
            Event::Received { result, more, .. } => {
                self.reading = match more {
                    true => Reading::Armed,
                    false => Reading::Not,
                };
                self.on_received(result, key, cx)
            }
            Event::Sent { result, rest } => self.on_sent(result, rest, key, cx),
            Event::Accepted { .. }
            | Event::Dialed { .. }
            | Event::Spliced { .. }
            | Event::Unsent { .. }
            | Event::Polled { .. } => unreachable!("a backend is only read and told"),
        }
    }

    /// It is its turn.
    pub(super) fn on_turn(&mut self, key: Key, cx: &mut Cx<'_>) -> Secured {
        if self.stage == Stage::InLine {
            self.stage = Stage::Shaking;
        }
        self.advance(key, cx)
    }

    /// Buffers are free again.
    pub(super) fn on_buffers(&mut self, key: Key, cx: &mut Cx<'_>) {
        self.read(key, cx);
    }

    /// Gives up. It has failed as soon as the kernel lets go of it.
    pub(super) fn fail(&mut self, cause: Cause, errno: Option<Errno>, cx: &mut Cx<'_>) -> Secured {
        if !matches!(self.stage, Stage::Ending(..)) {
            self.stage = Stage::Ending(cause, errno);
        }
        self.wake(cx);
        self.ended()
    }

    /// Closes the socket and gives back what was received.
    pub(super) fn close(mut self, cx: &mut Cx<'_>) {
        cx.buffers.release(self.came);
        cx.buffers.release(self.text);
        self.session.release(cx.buffers);
        cx.ops.push(Op::Close {
            sock: self.sock,
            reset: true,
        });
    }

    /// Hands over to a relay: the socket, its TLS, and what its first half begins with.
    pub(super) fn into_relay(self) -> (Sock, Box<Session>, Begin) {
        let given = u64::from(self.text.len());
        let source = match self.reading {
            Reading::Not => Source::Silent,
            Reading::Armed => Source::Armed,
            Reading::Ended => Source::Ended,
        };
        let begin = Begin {
            seen: self.text,
            given,
            source,
        };
        (self.sock, self.session, begin)
    }

    fn on_received(&mut self, result: Result<Lease, Errno>, key: Key, cx: &mut Cx<'_>) -> Secured {
        match result {
            // What came before it waits for its turn.
            Ok(lease) if lease.is_empty() => {
                self.reading = Reading::Ended;
                self.advance(key, cx)
            }
            Ok(lease) => {
                cx.buffers.append(&mut self.came, lease);
                self.advance(key, cx)
            }
            Err(Errno::ENOBUFS) => {
                cx.pressure.no_buffer.add(1);
                cx.starved.push_back((key, Lane::B));
                self.ended()
            }
            // A kernel that ends a receive early without a reason.
            Err(Errno::ECANCELED) => self.advance(key, cx),
            Err(errno) => {
                let cause = Cause::of_failure(Side::Backend, errno);
                self.fail(cause, Some(errno), cx)
            }
        }
    }

    fn on_sent(
        &mut self,
        result: Result<u32, Errno>,
        rest: Lease,
        key: Key,
        cx: &mut Cx<'_>,
    ) -> Secured {
        self.sending = false;
        match result {
            Ok(_) | Err(Errno::EINTR) if self.stage == Stage::Shaking && !rest.is_empty() => {
                self.send(rest, true, key, cx);
                Secured::Waiting
            }
            Err(errno) if errno != Errno::EINTR => {
                cx.buffers.release(rest);
                let cause = Cause::of_failure(Side::Backend, errno);
                self.fail(cause, Some(errno), cx)
            }
            Ok(_) | Err(_) => {
                cx.buffers.release(rest);
                self.advance(key, cx)
            }
        }
    }

    fn advance(&mut self, key: Key, cx: &mut Cx<'_>) -> Secured {
        match self.stage {
            Stage::Ending(..) => {
                self.wake(cx);
                self.ended()
            }
            Stage::InLine => Secured::Waiting,
            Stage::Shaking if self.sending => Secured::Waiting,
            Stage::Shaking if self.session.is_established() => self.agree(key, cx),
            Stage::Shaking if self.came.is_empty() => self.read_on(key, cx),
            Stage::Shaking if !cx.desk.take_step(key) => {
                self.stage = Stage::InLine;
                Secured::Waiting
            }
            Stage::Shaking => self.step(key, cx),
        }
    }

    /// One step of the handshake with what the backend has said.
    fn step(&mut self, key: Key, cx: &mut Cx<'_>) -> Secured {
        if let Some(failed) = self.open(key, cx) {
            return failed;
        }
        let flight = self.session.take_pending();
        if !flight.is_empty() {
            self.send(flight, false, key, cx);
            return Secured::Waiting;
        }
        if self.session.is_established() {
            return self.agree(key, cx);
        }
        self.read_on(key, cx)
    }

    /// More is to come, or nothing ever will.
    fn read_on(&mut self, key: Key, cx: &mut Cx<'_>) -> Secured {
        if self.reading == Reading::Ended {
            return self.fail(Cause::BackendTruncated, None, cx);
        }
        self.read(key, cx);
        Secured::Waiting
    }

    /// All that has come while the last flight went out is part of the stream.
    fn agree(&mut self, key: Key, cx: &mut Cx<'_>) -> Secured {
        let failed = self.open(key, cx);
        if self.reading == Reading::Ended {
            self.session.on_fin();
        }
        failed.unwrap_or(Secured::Agreed)
    }

    fn open(&mut self, key: Key, cx: &mut Cx<'_>) -> Option<Secured> {
        let came = self.came.take();
        let Opened { text, failure } = self.session.open(came, cx.buffers, cx.desk);
        cx.buffers.append(&mut self.text, text);
        let broken = failure?;
        let (cause, errno) = Cause::of(Side::Backend, broken.into());
        let alert = self.session.take_pending();
        if alert.is_empty() {
            return Some(self.fail(cause, errno, cx));
        }
        // Nothing is on its way when bytes are opened. The socket is shut down once the alert is out.
        self.send(alert, false, key, cx);
        self.stage = Stage::Ending(cause, errno);
        Some(Secured::Waiting)
    }

    fn ended(&self) -> Secured {
        match self.stage {
            Stage::Ending(cause, errno) if self.reading != Reading::Armed && !self.sending => {
                Secured::Failed(cause, errno)
            }
            Stage::Ending(..) | Stage::Shaking | Stage::InLine => Secured::Waiting,
        }
    }

    /// Ends what is in flight.
    fn wake(&self, cx: &mut Cx<'_>) {
        cx.ops.push(Op::Shutdown {
            sock: self.sock.as_ref(),
            both: true,
        });
    }

    fn read(&mut self, key: Key, cx: &mut Cx<'_>) {
        if self.reading != Reading::Not || matches!(self.stage, Stage::Ending(..)) {
            return;
        }
        self.reading = Reading::Armed;
        cx.ops.push(Op::Recv {
            tag: tag(key, Lane::B),
            sock: self.sock.as_ref(),
            budget: FLIGHT,
            poll_first: true,
        });
    }

    fn send(&mut self, lease: Lease, poll_first: bool, key: Key, cx: &mut Cx<'_>) {
        self.sending = true;
        cx.ops.push(Op::Send {
            tag: tag(key, Lane::B),
            sock: self.sock.as_ref(),
            lease,
            poll_first,
        });
    }
}
