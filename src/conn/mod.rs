//! One proxied connection: dialing, relaying, closing. Decides, never acts: an event and a [`Cx`] go in, ops come out.
//!
//! ```text
//! Greeting ─► Dialing ─► Relaying ─► Closing ─► Over
//! (first bytes) (retries) (two halves) (join)
//!   │  ▲ │       │
//!   │  │ └───────┴────► Leaving ──────────────────┘
//!   ▼  │        ▲       (a reply, no backend)
//! Handshaking ──┘
//! (TLS)
//! ```
//!
//! FIN is relayed as FIN after the bytes before it; RST as RST, after what was already received has had a short chance
//! to go out. Closing is a join: sockets are closed when the kernel holds nothing of them. Called by the worker alone,
//! which takes the slot back once [`Connection::summary`] says that it is over.

mod admission;
mod before;
mod client;
mod dial;
mod glance;
mod greet;
mod introduce;
mod leave;
mod meter;
mod outcome;
mod pair;
mod secure;
mod shake;
mod slow;
mod span;

pub use admission::{Household, Households, Rejection, admit};
pub use glance::Glance;
pub use greet::Peeked;
pub use meter::{Meter, Ways};
pub use outcome::{Cause, Outcome, Phase};

use crate::base::{Key, Wheel};
use crate::config::Listener;
use crate::relay::{Desk, Moved, Pressure};
use crate::ring::{Buffers, Event, Lane, Ops, Sock, Time};
use crate::upstream::{Current, Member, Site, Upstream};
use client::Client;
use dial::Dial;
use greet::Greet;
use leave::Leave;
use pair::{Close, Ending, Pair, Verdict};
use shake::Shake;
use span::Span;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
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
    /// Room to read first bytes in one piece.
    pub scratch: &'a mut Vec<u8>,
    /// Where TLS is done.
    pub desk: &'a mut Desk,
    /// The clients of all workers, by address.
    pub households: &'a Households,
    /// The worker's account of back-pressure.
    pub pressure: &'a Pressure,
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
    /// Its listener, with the rules it began with.
    pub site: Rc<Site>,
    /// Where the client connects from.
    pub client: SocketAddr,
    /// When it was accepted.
    pub started: Time,
    /// What it said before it was relayed, if anything was listened to.
    pub told: Option<Box<Told>>,
    key: Key,
    /// Whether it is counted among its household.
    counted: bool,
    target: Target,
    /// Whether it is counted at its backend: dialed, or relayed to.
    seated: bool,
    /// Where its worker counts for its listener.
    meter: Arc<Meter>,
    state: State,
}

/// Where a connection goes, as far as is known. One that is relayed for weeks keeps no tables: there is a new set of them
/// whenever an upstream changes.
#[derive(Debug)]
enum Target {
    /// It has not said enough yet.
    Unknown,
    /// A backend is chosen, and others if it fails.
    Upstream(Rc<Upstream>, Option<Arc<Member>>),
    /// This backend, for as long as it lives.
    Backend(Arc<Member>),
}

/// What a client, or the proxy before it, said before it was relayed. Boxed: most connections have none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// What it asked for.
    pub peeked: Peeked,
    /// From accept to the choice of its upstream.
    pub took: Duration,
    /// Who connected to us, when a PROXY protocol header says that the client is another.
    pub proxy: Option<SocketAddr>,
    /// Where the client connected to, as that header has it.
    destination: Option<SocketAddr>,
}

#[derive(Debug)]
enum State {
    Greeting(Greet),
    Handshaking(Shake),
    Dialing(Dial),
    Relaying(Pair),
    Closing(Close),
    Leaving(Leave),
    Over(Summary),
}

/// What is left to tell of a connection that is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Why it ended.
    pub outcome: Outcome,
    /// How many backends were tried.
    pub tries: u8,
    /// From accept to connected; `None` if never.
    pub connect: Option<Duration>,
    /// Whether either side spoke TLS with us.
    pub tls: bool,
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
    /// Its listener, as it is now.
    pub site: Rc<Site>,
    /// The socket.
    pub sock: Sock,
    /// Where it connects from.
    pub peer: SocketAddr,
    /// Whether it is counted among its household.
    pub counted: bool,
    /// Where its worker counts for its listener.
    pub meter: Arc<Meter>,
}

impl Connection {
    /// Begins with an accepted client. [`start`](Self::start) makes the first move.
    pub fn new(accepted: Accepted, current: &Rc<Current>, now: Time) -> Self {
        let Accepted {
            id,
            key,
            site,
            sock,
            peer,
            counted,
            meter,
        } = accepted;
        let client = Client::new(sock);
        let (state, target) = match site.rules.upstream {
            Some(upstream) if site.tls.is_none() && !Greet::is_needed(&site.rules) => {
                let upstream = Rc::clone(&current.upstreams[upstream]);
                let hash = upstream.key(peer.ip());
                let dial = Dial::new(client, hash, now);
                (State::Dialing(dial), Target::Upstream(upstream, None))
            }
            Some(_) | None => {
                let greet = Greet::new(client, &site.rules, Rc::clone(current), now);
                (State::Greeting(greet), Target::Unknown)
            }
        };
        Self {
            id,
            site,
            client: peer,
            started: now,
            told: None,
            key,
            counted,
            target,
            seated: false,
            meter,
            state,
        }
    }

    /// Makes the first move.
    pub fn start(&mut self, cx: &mut Cx<'_>) {
        if let State::Greeting(greet) = &self.state {
            if self.site.tls.is_some() && !greet.awaits_header() {
                self.begin_handshake(cx);
            } else {
                self.greet(cx);
            }
        } else {
            self.dial_next(cx);
        }
    }

    /// Its household, if it is counted there.
    pub fn household(&self) -> Option<Household> {
        self.counted
            .then(|| Household::of(self.site.number, self.client.ip()))
    }

    /// Whether its bytes go to this backend.
    pub fn is_relayed_to(&self, backend: &Arc<Member>) -> bool {
        let is_relayed = matches!(self.state, State::Relaying(_));
        is_relayed && matches!(&self.target, Target::Backend(it) if Arc::ptr_eq(it, backend))
    }

    /// Whether this backend is dialed for it.
    pub fn is_dialed_to(&self, backend: &Arc<Member>) -> bool {
        let is_dialing = matches!(self.state, State::Dialing(_));
        is_dialing
            && matches!(&self.target, Target::Upstream(_, Some(it)) if Arc::ptr_eq(it, backend))
    }

    /// The name of the upstream that it goes to, once that is known.
    pub fn upstream(&self) -> Option<&Arc<str>> {
        match &self.target {
            Target::Unknown => None,
            Target::Upstream(upstream, _) => Some(upstream.name()),
            Target::Backend(backend) => Some(backend.upstream()),
        }
    }

    /// The backend it is or was relayed to; for one that never was, the last one tried.
    pub fn backend(&self) -> Option<&Arc<Member>> {
        match &self.target {
            Target::Unknown => None,
            Target::Upstream(_, tried) => tried.as_ref(),
            Target::Backend(backend) => Some(backend),
        }
    }

    /// One of this connection's ops completed.
    #[inline]
    pub fn on_event(&mut self, lane: Lane, event: Event, cx: &mut Cx<'_>) {
        if let State::Relaying(pair) = &mut self.state {
            let verdict = pair.on_event(self.key, lane, event, &self.meter, cx);
            self.on_verdict(verdict, cx);
        } else {
            self.on_rare_event(lane, event, cx);
        }
    }

    /// An op completed before or after the relay: a few of each connection.
    #[cold]
    fn on_rare_event(&mut self, lane: Lane, event: Event, cx: &mut Cx<'_>) {
        match &mut self.state {
            State::Greeting(_) | State::Handshaking(_) | State::Dialing(_) | State::Leaving(_) => {
                self.on_event_before(lane, event, cx);
            }
            State::Closing(close) => {
                let pair = &mut close.pair;
                pair.on_event_while_closing(self.key, lane, event, &self.meter, cx);
                self.join(cx);
            }
            State::Relaying(_) => unreachable!("the caller's"),
            State::Over(_) => unreachable!("nothing is in flight when a connection is over"),
        }
    }

    /// Its timer fired.
    pub fn on_timer(&mut self, cx: &mut Cx<'_>) {
        let span = self.span();
        match &mut self.state {
            State::Relaying(pair) => {
                let verdict = pair.on_timer(&span, self.key, cx);
                self.on_verdict(verdict, cx);
            }
            State::Greeting(_) | State::Handshaking(_) | State::Dialing(_) | State::Leaving(_) => {
                self.on_timer_before(cx);
            }
            State::Closing(_) | State::Over(_) => {}
        }
    }

    /// Buffers are free again for whoever reads this lane.
    pub fn on_buffers(&mut self, lane: Lane, cx: &mut Cx<'_>) {
        match &mut self.state {
            State::Greeting(_) => self.look(cx),
            State::Handshaking(shake) => shake.on_buffers(self.key, cx),
            State::Relaying(pair) => pair.on_buffers(self.key, lane, cx),
            State::Leaving(leave) => leave.on_buffers(self.key, cx),
            State::Dialing(dial) if lane == Lane::B => {
                if let Some(secure) = dial.secure_mut() {
                    secure.on_buffers(self.key, cx);
                }
            }
            State::Dialing(_) | State::Closing(_) | State::Over(_) => {}
        }
    }

    /// Others need buffers: moves what waits for a side that has taken nothing since it was asked last, or for the rest of
    /// a client's first bytes, out of them.
    pub fn shed(&mut self, cx: &mut Cx<'_>) {
        match &mut self.state {
            State::Relaying(pair) => pair.shed(self.key, cx),
            State::Greeting(greet) => greet.client_mut().shed(cx),
            State::Handshaking(shake) => shake.shed(cx),
            State::Dialing(dial) => dial.client_mut().shed(cx),
            State::Closing(_) | State::Leaving(_) | State::Over(_) => {}
        }
    }

    /// Ends it in order: what was received goes out, then FIN both ways. One that is leaving is about to do so.
    pub fn stop(&mut self, cause: Cause, cx: &mut Cx<'_>) {
        match &mut self.state {
            State::Greeting(_) | State::Handshaking(_) | State::Dialing(_) => {
                self.give_up(cause, cx);
            }
            State::Relaying(pair) => {
                let verdict = pair.stop(cause, self.key, cx);
                self.on_verdict(verdict, cx);
            }
            State::Leaving(_) | State::Closing(_) | State::Over(_) => {}
        }
    }

    /// Ends it now: what is queued is lost.
    pub fn kill(&mut self, cause: Cause, cx: &mut Cx<'_>) {
        match &mut self.state {
            State::Greeting(_) | State::Handshaking(_) | State::Dialing(_) | State::Leaving(_) => {
                self.give_up(cause, cx);
            }
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
            State::Greeting(_)
            | State::Handshaking(_)
            | State::Dialing(_)
            | State::Relaying(_)
            | State::Closing(_)
            | State::Leaving(_) => None,
        }
    }

    /// Where it stands and what it has come to, while it is relayed. The outcome of that says nothing yet.
    pub fn so_far(&self) -> Option<(Phase, Summary)> {
        match &self.state {
            State::Relaying(pair) => {
                let nothing = Summary::nothing().outcome;
                Some((pair.phase(), pair.summary(nothing)))
            }
            State::Greeting(_)
            | State::Handshaking(_)
            | State::Dialing(_)
            | State::Closing(_)
            | State::Leaving(_)
            | State::Over(_) => None,
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
        if std::mem::take(&mut self.seated)
            && let Some(backend) = self.backend()
        {
            backend.leave();
        }
        self.state = State::Over(summary);
    }

    fn set_timer(&mut self, cx: &mut Cx<'_>) {
        if let State::Relaying(pair) = &self.state {
            cx.wheel.set(self.key.slot, pair.deadline(&self.span()));
        }
    }

    fn span(&self) -> Span {
        Span::new(self.listener_rules(), self.id, self.started)
    }

    fn listener_rules(&self) -> &Listener {
        &self.site.rules
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
            tries: 0,
            connect: None,
            tls: false,
            up: Moved::default(),
            down: Moved::default(),
        }
    }
}
