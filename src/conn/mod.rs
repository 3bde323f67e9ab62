//! One proxied connection: dialing, relaying, closing. Decides, never acts: an event and a [`Cx`] go in, ops come out.
//!
//! ```text
//! Dialing ─► Relaying ─► Closing ─► Over
//! (retries)  (two halves) (join)
//! ```
//!
//! FIN is relayed as FIN after the bytes before it; RST as RST, after what was already received has had a short chance
//! to go out. Closing is a join: sockets are closed when the kernel holds nothing of them. Called by the worker alone,
//! which takes the slot back once [`Connection::summary`] says that it is over.

mod dial;
mod outcome;
mod pair;

pub use outcome::{Cause, Outcome, Phase};

use crate::base::{Key, Wheel};
use crate::config::{Listener, Upstream as Settings};
use crate::relay::Moved;
use crate::ring::{Buffers, Event, Lane, Op, Ops, Sock, Time};
use crate::upstream::{Snapshot, Upstream};
use dial::{Dial, Dialed};
use pair::{Close, Ending, Pair, Verdict};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// What a connection may use while it decides.
pub struct Cx<'a> {
    /// Ops to fill.
    pub ops: &'a mut Ops,
    /// The worker's buffers.
    pub buffers: &'a mut Buffers,
    /// Halves that found no free buffer.
    pub starved: &'a mut VecDeque<(Key, Lane)>,
    /// The worker's timers, one per slot.
    pub wheel: &'a mut Wheel,
    /// The time of this turn.
    pub now: Time,
}

/// Which end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The one that connected to us.
    Client,
    /// The one that we connected to.
    Backend,
}

impl Side {
    /// The lane that its ops carry.
    pub const fn lane(self) -> Lane {
        match self {
            Self::Client => Lane::A,
            Self::Backend => Lane::B,
        }
    }

    /// The side whose ops carry this lane.
    pub const fn of(lane: Lane) -> Self {
        match lane {
            Lane::A => Self::Client,
            Lane::B => Self::Backend,
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Client => Self::Backend,
            Self::Backend => Self::Client,
        }
    }
}

/// One accepted client and, once dialed, its backend.
#[derive(Debug)]
pub struct Connection {
    /// Unique in this process.
    pub id: u64,
    /// Its place in the configuration's listeners.
    pub listener: u16,
    /// Where the client connects from.
    pub client: SocketAddr,
    /// When it was accepted.
    pub started: Time,
    /// The rules it began with.
    pub snapshot: Rc<Snapshot>,
    key: Key,
    state: State,
}

#[derive(Debug)]
enum State {
    Dialing(Dial),
    Relaying(Pair),
    Closing(Close),
    Over(Summary),
}

/// What is left to tell of a connection that is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Why it ended.
    pub outcome: Outcome,
    /// The backend it was relayed to; for one that never was, the last one tried.
    pub backend: Option<u16>,
    /// How many backends were tried.
    pub tries: u8,
    /// From accept to connected; `None` if never.
    pub connect: Option<Duration>,
    /// Bytes from client to backend.
    pub up: Moved,
    /// Bytes from backend to client.
    pub down: Moved,
}

/// What the worker knows of a client that it has just accepted.
#[derive(Debug)]
pub struct Accepted {
    /// Unique in this process.
    pub id: u64,
    /// Its slot.
    pub key: Key,
    /// Its place in the configuration's listeners.
    pub listener: u16,
    /// The socket.
    pub sock: Sock,
    /// Where it connects from.
    pub peer: SocketAddr,
}

impl Connection {
    /// Begins with an accepted client. [`start`](Self::start) makes the first move.
    pub fn new(accepted: Accepted, snapshot: Rc<Snapshot>, now: Time) -> Self {
        let Accepted {
            id,
            key,
            listener,
            sock,
            peer,
        } = accepted;
        let state = State::Dialing(Dial::new(sock, now));
        Self {
            id,
            listener,
            client: peer,
            started: now,
            snapshot,
            key,
            state,
        }
    }

    /// Dials the first backend.
    pub fn start(&mut self, cx: &mut Cx<'_>) {
        self.dial_next(cx);
    }

    /// One of this connection's ops completed.
    #[inline]
    pub fn on_event(&mut self, lane: Lane, event: Event, cx: &mut Cx<'_>) {
        match &mut self.state {
            State::Dialing(_) => self.on_dialed(event, cx),
            State::Relaying(pair) => {
                let verdict = pair.on_event(self.key, lane, event, cx);
                self.on_verdict(verdict, cx);
            }
            State::Closing(close) => {
                close.pair.on_event_while_closing(self.key, lane, event, cx);
                self.join(cx);
            }
            State::Over(_) => unreachable!("nothing is in flight when a connection is over"),
        }
    }

    /// Its timer fired.
    pub fn on_timer(&mut self, cx: &mut Cx<'_>) {
        let (listener, upstream) = (self.listener_rules(), self.upstream_rules());
        let (idle, half) = (listener.idle_timeout, listener.half_close_timeout);
        let connect = upstream.connect_timeout;
        match &mut self.state {
            State::Dialing(dial) => dial.on_timer(connect, self.key, cx),
            State::Relaying(pair) => {
                let verdict = pair.on_timer((idle, half), self.key, cx);
                self.on_verdict(verdict, cx);
            }
            State::Closing(_) | State::Over(_) => {}
        }
    }

    /// Buffers are free again for the half that reads this lane.
    pub fn on_buffers(&mut self, lane: Lane, cx: &mut Cx<'_>) {
        if let State::Relaying(pair) = &mut self.state {
            pair.on_buffers(self.key, lane, cx);
        }
    }

    /// Others need buffers: moves what waits for a side that has taken nothing since it was asked last out of them.
    pub fn shed(&mut self, cx: &mut Cx<'_>) {
        if let State::Relaying(pair) = &mut self.state {
            pair.shed(self.key, cx);
        }
    }

    /// Ends it in order: what was received goes out, then FIN both ways.
    pub fn stop(&mut self, cause: Cause, cx: &mut Cx<'_>) {
        match &mut self.state {
            State::Dialing(dial) => dial.give_up(cause, self.key, cx),
            State::Relaying(pair) => {
                let verdict = pair.stop(cause, self.key, cx);
                self.on_verdict(verdict, cx);
            }
            State::Closing(_) | State::Over(_) => {}
        }
    }

    /// Ends it now: what is queued is lost.
    pub fn kill(&mut self, cause: Cause, cx: &mut Cx<'_>) {
        match &mut self.state {
            State::Dialing(dial) => dial.give_up(cause, self.key, cx),
            State::Relaying(pair) => {
                let verdict = pair.kill(cause);
                self.on_verdict(verdict, cx);
            }
            State::Closing(_) | State::Over(_) => {}
        }
    }

    /// Whether it is over: its [`summary`](Self::summary) is due, and its slot may be reused.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over(_))
    }

    /// How it went, once it is over and its slot may be reused.
    pub fn summary(&self) -> Option<Summary> {
        match self.state {
            State::Over(summary) => Some(summary),
            State::Dialing(_) | State::Relaying(_) | State::Closing(_) => None,
        }
    }

    #[inline]
    fn on_verdict(&mut self, verdict: Verdict, cx: &mut Cx<'_>) {
        match verdict {
            Verdict::Going => {}
            Verdict::Staged => self.set_timer(cx),
            Verdict::End(outcome, ending) => self.close(outcome, ending, cx),
        }
    }

    fn dial_next(&mut self, cx: &mut Cx<'_>) {
        let snapshot = Rc::clone(&self.snapshot);
        let upstream = self.upstream(&snapshot);
        let nodelay = self.listener_rules().nodelay;
        let State::Dialing(dial) = &mut self.state else {
            unreachable!("only a dial goes on")
        };
        if let Err(outcome) = dial.next(upstream, self.client.ip(), nodelay, self.key, cx) {
            self.end_dialing(outcome, cx);
        }
    }

    fn on_dialed(&mut self, event: Event, cx: &mut Cx<'_>) {
        let Event::Dialed { result } = event else {
            unreachable!("a dial is all that is in flight")
        };
        let State::Dialing(dial) = &mut self.state else {
            unreachable!("only a dial is answered")
        };
        match dial.on_dialed(result) {
            Dialed::Connected(backend) => self.relay(backend, cx),
            Dialed::Failed => self.dial_next(cx),
            Dialed::GivenUp(outcome, backend) => {
                if let Some(sock) = backend {
                    cx.ops.push(Op::Close { sock, reset: false });
                }
                self.end_dialing(outcome, cx);
            }
        }
    }

    fn relay(&mut self, backend: Sock, cx: &mut Cx<'_>) {
        let placeholder = State::Over(Summary::nothing());
        let State::Dialing(dial) = std::mem::replace(&mut self.state, placeholder) else {
            unreachable!("a connected dial was a dial")
        };
        let connect = cx.now.since(self.started);
        let mut pair = Pair::new(dial, backend, self.listener_rules(), connect, cx.now);
        pair.start(self.key, cx);
        self.state = State::Relaying(pair);
        self.set_timer(cx);
    }

    fn end_dialing(&mut self, outcome: Outcome, cx: &mut Cx<'_>) {
        let placeholder = State::Over(Summary::nothing());
        let State::Dialing(dial) = std::mem::replace(&mut self.state, placeholder) else {
            unreachable!("only a dial ends so")
        };
        let (backend, tries) = (dial.last_tried(), dial.tries());
        cx.ops.push(Op::Close {
            sock: dial.into_client(),
            reset: false,
        });
        let summary = Summary {
            outcome,
            backend,
            tries,
            ..Summary::nothing()
        };
        self.over(summary, cx);
    }

    #[cold]
    fn close(&mut self, outcome: Outcome, ending: Ending, cx: &mut Cx<'_>) {
        let placeholder = State::Over(Summary::nothing());
        let State::Relaying(mut pair) = std::mem::replace(&mut self.state, placeholder) else {
            unreachable!("only a relay closes so")
        };
        pair.abandon(ending, self.key, cx);
        cx.wheel.cancel(self.key.slot);
        self.state = State::Closing(Close {
            pair,
            outcome,
            ending,
        });
        self.join(cx);
    }

    /// Closes both sockets once the kernel holds nothing of them.
    fn join(&mut self, cx: &mut Cx<'_>) {
        let State::Closing(close) = &self.state else {
            unreachable!("only a close is joined")
        };
        if !close.pair.is_quiet() {
            return;
        }
        let summary = close.pair.summary(close.outcome);
        let State::Closing(close) = std::mem::replace(&mut self.state, State::Over(summary)) else {
            unreachable!("it was one above")
        };
        close.pair.close(close.ending, cx);
        self.over(summary, cx);
    }

    fn over(&mut self, summary: Summary, cx: &mut Cx<'_>) {
        cx.wheel.cancel(self.key.slot);
        self.state = State::Over(summary);
    }

    fn set_timer(&mut self, cx: &mut Cx<'_>) {
        let rules = self.listener_rules();
        if let State::Relaying(pair) = &self.state {
            cx.wheel.set(
                self.key.slot,
                pair.deadline(rules.idle_timeout, rules.half_close_timeout),
            );
        }
    }

    fn listener_rules(&self) -> &Listener {
        &self.snapshot.config.listeners[usize::from(self.listener)]
    }

    fn upstream_rules(&self) -> &Settings {
        self.upstream(&self.snapshot).settings()
    }

    fn upstream<'a>(&self, snapshot: &'a Snapshot) -> &'a Upstream {
        &snapshot.upstreams[self.listener_rules().upstream]
    }
}

impl Summary {
    fn nothing() -> Self {
        let outcome = Outcome {
            cause: Cause::NoBackend,
            phase: Phase::Dialing,
            errno: None,
        };
        Self {
            outcome,
            backend: None,
            tries: 0,
            connect: None,
            up: Moved::default(),
            down: Moved::default(),
        }
    }
}
