//! One thread, one ring, many connections. A turn submits what the connections asked for, waits, and tells each what
//! completed. Owns the slots, the timers and the listening sockets of its CPU.
//!
//! Never locks, allocates, formats or reads a clock per message. Generic over its ring, so that the same worker runs on
//! a kernel and in a simulated world. Control talks to it through [`Mailbox`] and reads its [`Stats`].

mod accept;
mod admit;
mod ask;
mod board;
mod drain;
mod evict;
mod follow;
mod handover;
mod journal;
mod limits;
mod listen;
mod mailbox;
mod shed;
mod stats;
mod still_open;

pub use ask::{Listed, Question, Wanted};
pub use board::Board;
pub use handover::{Arrival, Handover};
pub use journal::{Journal, Record};
pub use limits::Limits;
pub use listen::{bind, dress_again, share};
pub use mailbox::{Ear, Mailbox, Message, Order, Post};
pub use stats::{ListenerStats, Stats, TurnedAway};

use crate::base::{Key, Slots, Wheel};
use crate::conn::{self, Connection};
use crate::relay::Desk;
use crate::ring::{Completion, Event, Lane, Lease, Op, Ops, Ring, Tag, Time, Until};
use crate::upstream::{Current, Snapshot};
use accept::Accepting;
use ask::Listing;
use drain::{After, Drain};
use evict::Eviction;
use shed::Sweep;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use still_open::Round;

/// What a worker is made from.
#[derive(Debug)]
pub struct Setup {
    /// Its number, from 0; part of every connection's id.
    pub worker: u16,
    /// What it goes by at first.
    pub snapshot: Snapshot,
    /// Where it listens.
    pub listeners: Vec<Ear>,
    /// Box-wide limits.
    pub limits: Arc<Limits>,
    /// The most connections that this worker holds.
    pub connections_max: u32,
    /// What control and other workers post.
    pub mailbox: Mailbox,
    /// The way to the other workers.
    pub handover: Handover,
    /// Where it counts.
    pub stats: Arc<Stats>,
    /// Where it tells how connections ended.
    pub journal: Journal,
}

/// Whether a worker has more to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// Turn it again.
    Turning,
    /// Drained: no listener and no connection is left.
    Finished,
}

/// One data thread's whole state.
#[derive(Debug)]
pub struct Worker<R> {
    ring: R,
    ops: Ops,
    done: Vec<Completion>,
    connections: Slots<Connection>,
    wheel: Wheel,
    fired: Vec<u32>,
    starved: VecDeque<(Key, Lane)>,
    sweep: Sweep,
    version: u64,
    current: Rc<Current>,
    /// What it went by before: clients that others accepted then may still be on their way here.
    previous: Rc<Current>,
    /// Clients from a worker that goes by something newer already.
    early: Vec<Arrival>,
    listeners: Vec<Accepting>,
    limits: Arc<Limits>,
    mailbox: Mailbox,
    mail: Vec<Message>,
    scratch: Vec<u8>,
    desk: Desk,
    handover: Handover,
    stats: Arc<Stats>,
    journal: Journal,
    worker: u16,
    accepted: u64,
    /// When the last turn began to handle what it had brought.
    turned: Time,
    drain: Option<Drain>,
    /// Of backends that are to have none.
    evictions: Vec<Eviction>,
    /// Somebody wants to see what connections there are.
    listings: VecDeque<Listing>,
    /// Among the connections that are told of while they are open; none while nobody wants that.
    round: Option<Round>,
}

/// Generation of the tags of listeners and of the mailbox, which are never replaced.
const FIXED: u32 = 0;

/// One turn in so many is timed: the second reading of the clock that this takes, some 25 ns, is then nothing even to a
/// turn of a single message.
const TIMED: u64 = 16;

impl<R: Ring> Worker<R> {
    /// Makes a worker on its ring and arms its listeners. The first turn submits.
    pub fn new(ring: R, setup: Setup) -> Self {
        let now = ring.now();
        let current = Rc::new(Current::new(setup.snapshot));
        let mut this = Self {
            ring,
            ops: Ops::default(),
            done: Vec::new(),
            connections: Slots::with_capacity(setup.connections_max),
            wheel: Wheel::new(now),
            fired: Vec::new(),
            starved: VecDeque::new(),
            sweep: Sweep::default(),
            version: 0,
            previous: Rc::clone(&current),
            current,
            early: Vec::new(),
            listeners: setup.listeners.into_iter().map(Accepting::new).collect(),
            limits: setup.limits,
            mailbox: setup.mailbox,
            mail: Vec::new(),
            scratch: Vec::new(),
            desk: Desk::default(),
            handover: setup.handover,
            stats: setup.stats,
            journal: setup.journal,
            worker: setup.worker,
            accepted: 0,
            turned: now,
            drain: None,
            evictions: Vec::new(),
            listings: VecDeque::new(),
            round: None,
        };
        this.arm_mailbox();
        for (at, listener) in this.listeners.iter_mut().enumerate() {
            listener.arm(listener_tag(at), &mut this.ops);
        }
        this
    }

    /// Submits, waits for something to happen, and handles all of it.
    ///
    /// # Errors
    /// When the ring is beyond repair.
    pub fn turn(&mut self) -> io::Result<Life> {
        let until = self.until();
        self.ring.turn(&mut self.ops, until, &mut self.done)?;
        let now = self.ring.now();
        self.stats.pressure.on_turn(now - self.turned);
        self.turned = now;
        self.desk.begin(self.done.len());
        self.let_shake(now);
        let mut done = std::mem::take(&mut self.done);
        for completion in done.drain(..) {
            self.on_completion(completion, now);
        }
        self.done = done;
        self.on_timers(now);
        self.shed_stalled(now);
        self.feed_starved(now);
        self.resume_accepting(now);
        self.on_drain(now);
        self.evict(now);
        self.list_some(now);
        self.hand_over(now);
        self.tell_still_open(now);
        let (open, overflows) = (self.connections.len(), self.ring.overflows());
        self.stats.on_turn(open, overflows, self.ring.buffers());
        let closed = self.listeners.iter().filter(|it| it.is_closed()).count();
        let listening = self.listeners.len() - closed;
        self.stats.listening.set(listening as u64);
        self.time_turn(now);
        Ok(self.life(now))
    }

    fn time_turn(&self, now: Time) {
        if self.stats.turns.get().is_multiple_of(TIMED) {
            self.stats.loops.add(self.ring.read_clock() - now);
        }
    }

    /// The ring, for those who look at it from outside (tests, a simulated world).
    pub fn ring(&mut self) -> &mut R {
        &mut self.ring
    }

    /// How many connections it holds.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Finished only when the last ops went out too: among them are the closes of the last sockets.
    fn life(&mut self, now: Time) -> Life {
        if self.is_drained() && self.ops.is_empty() {
            self.close_mailbox(now);
        }
        if self.is_drained() && self.ops.is_empty() {
            Life::Finished
        } else {
            Life::Turning
        }
    }

    fn is_drained(&self) -> bool {
        self.drain.as_ref().is_some_and(Drain::ends)
            && self.connections.is_empty()
            && self.early.is_empty()
            && self.listeners.iter().all(Accepting::is_closed)
    }

    fn until(&mut self) -> Until {
        let sweep = self.next_sweep();
        let accepts = self.listeners.iter().filter_map(Accepting::resumes);
        let drain = self.drain.as_ref().and_then(Drain::next);
        let evictions = self.evictions.iter().filter_map(Eviction::next);
        let round = self.round.as_ref().map(Round::next);
        let paced = drain.into_iter().chain(evictions).chain(round);
        let timers = self.wheel.next().into_iter().chain(paced).chain(sweep);
        let first = accepts.chain(timers).min();
        let has_more = !self.listings.is_empty() || self.desk.is_awaited();
        if self.is_drained() || self.can_feed() || has_more {
            return Until::Now;
        }
        first.map_or(Until::Forever, Until::Time)
    }

    fn on_completion(&mut self, completion: Completion, now: Time) {
        let Completion { tag, event } = completion;
        match event {
            Event::Accepted { result, more } => self.on_accepted(tag.slot, result, more, now),
            Event::Polled { more, .. } => self.on_mail(more, now),
            event @ (Event::Dialed { .. }
            | Event::Received { .. }
            | Event::Sent { .. }
            | Event::Spliced { .. }
            | Event::Unsent { .. }) => {
                self.on_connection(tag, event, now);
            }
        }
    }

    fn on_connection(&mut self, tag: Tag, event: Event, now: Time) {
        let key = Key {
            slot: tag.slot,
            generation: tag.generation,
        };
        let Some(connection) = self.connections.get_mut(key) else {
            return self.on_stale(event);
        };
        let mut cx = conn::Cx {
            ops: &mut self.ops,
            buffers: self.ring.buffers(),
            starved: &mut self.starved,
            wheel: &mut self.wheel,
            scratch: &mut self.scratch,
            desk: &mut self.desk,
            households: self.limits.households(),
            pressure: &self.stats.pressure,
            now,
        };
        connection.on_event(tag.lane, event, &mut cx);
        if connection.is_over() {
            self.on_over(key, now);
        }
    }

    /// Lets a connection decide, and takes its slot back when it is over.
    fn with(&mut self, key: Key, now: Time, act: impl FnOnce(&mut Connection, &mut conn::Cx<'_>)) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let mut cx = conn::Cx {
            ops: &mut self.ops,
            buffers: self.ring.buffers(),
            starved: &mut self.starved,
            wheel: &mut self.wheel,
            scratch: &mut self.scratch,
            desk: &mut self.desk,
            households: self.limits.households(),
            pressure: &self.stats.pressure,
            now,
        };
        act(connection, &mut cx);
        if connection.is_over() {
            self.on_over(key, now);
        }
    }

    fn on_over(&mut self, key: Key, now: Time) {
        let Some(connection) = self.connections.remove(key) else {
            return;
        };
        let Some(summary) = connection.summary() else {
            unreachable!("asked before")
        };
        self.give_back(&connection.site.seats, connection.household(), now);
        self.stats.on_over(connection.site.number, &summary);
        let record = Record::new(self.worker, connection, summary, now);
        if !self.journal.tell(record) {
            self.stats.records_dropped.add(1);
        }
        for listener in &mut self.listeners {
            listener.on_descriptors_freed(now);
        }
    }

    /// A completion for a slot's earlier owner: what it carries goes back, nobody is told.
    fn on_stale(&mut self, event: Event) {
        self.stats.stale.add(1);
        match event {
            Event::Received {
                result: Ok(lease), ..
            } => self.release(lease),
            Event::Sent { rest, .. } => self.release(rest),
            Event::Dialed {
                result: Ok(sock), ..
            }
            | Event::Accepted {
                result: Ok((sock, _)),
                ..
            } => {
                self.ops.push(Op::Close { sock, reset: true });
            }
            Event::Received { result: Err(_), .. }
            | Event::Dialed { result: Err(_), .. }
            | Event::Accepted { result: Err(_), .. }
            | Event::Spliced { .. }
            | Event::Unsent { .. }
            | Event::Polled { .. } => {}
        }
    }

    fn release(&mut self, lease: Lease) {
        self.ring.buffers().release(lease);
    }

    fn on_timers(&mut self, now: Time) {
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.expire(now, &mut fired);
        for slot in fired.drain(..) {
            if let Some(key) = self.connections.key(slot) {
                self.with(key, now, Connection::on_timer);
            }
        }
        self.fired = fired;
    }

    /// Lets handshakes that had to wait make their steps, before those that come now.
    fn let_shake(&mut self, now: Time) {
        while let Some(key) = self.desk.next_waiting() {
            self.with(key, now, Connection::shake);
        }
    }

    /// Whether a starved half may read again. Sixteen free buffers, not one: re-arming with one ends in ENOBUFS a
    /// packet later; not a share of all either, or a few stalled readers that hold the rest would keep it deaf.
    fn can_feed(&mut self) -> bool {
        const FREE_MIN: usize = 16;
        !self.starved.is_empty()
            && self.ring.buffers().free() >= FREE_MIN.min(self.ring.buffers().count())
    }

    /// Lets starved halves read again, oldest first, no more of them than an eighth of the free buffers.
    fn feed_starved(&mut self, now: Time) {
        if !self.can_feed() {
            return;
        }
        let turns = self
            .ring
            .buffers()
            .free()
            .div_ceil(8)
            .min(self.starved.len());
        for _ in 0..turns {
            let Some((key, lane)) = self.starved.pop_front() else {
                return;
            };
            self.with(key, now, |connection, cx| connection.on_buffers(lane, cx));
        }
    }

    fn resume_accepting(&mut self, now: Time) {
        if self.drain.is_some() {
            return;
        }
        for (at, listener) in self.listeners.iter_mut().enumerate() {
            if listener.resumes().is_some_and(|at| at <= now) {
                listener.arm(listener_tag(at), &mut self.ops);
            }
        }
    }

    fn arm_mailbox(&mut self) {
        let tag = Tag {
            lane: Lane::A,
            slot: 0,
            generation: FIXED,
        };
        self.ops.push(Op::Poll {
            tag,
            sock: self.mailbox.bell(),
        });
    }

    fn on_mail(&mut self, more: bool, now: Time) {
        let mut mail = std::mem::take(&mut self.mail);
        self.mailbox.take(&mut mail);
        for message in mail.drain(..) {
            self.on_message(message, now);
        }
        self.mail = mail;
        if !more {
            self.arm_mailbox();
        }
    }

    fn on_message(&mut self, message: Message, now: Time) {
        match message {
            Message::Drain { over, deadline } => {
                self.begin_drain(over, deadline, After::End, now);
            }
            Message::Pause { over, deadline } => {
                self.begin_drain(over, deadline, After::Wait, now);
            }
            Message::Resume { ears } => self.resume(ears),
            Message::Ask(question) => self.on_question(question, now),
            Message::Adopt(arrival) => self.adopt(arrival, now),
            Message::Ping => self.stats.pings.add(1),
            Message::AcceptAgain => self.accept_again(),
            Message::Follow(order) => self.follow(*order, now),
            Message::Evict {
                backend,
                over,
                cause,
            } => self.begin_eviction(backend, cause, over, now),
            Message::Spare { backend } => self.spare(&backend),
        }
    }

    /// Nothing comes in any more. What came just before is turned away, as in the rest of the drain.
    fn close_mailbox(&mut self, now: Time) {
        for message in self.mailbox.close() {
            self.on_message(message, now);
        }
    }
}

fn listener_tag(at: usize) -> Tag {
    let slot = u32::try_from(at).expect("far fewer listeners than slots");
    Tag {
        lane: Lane::A,
        slot,
        generation: FIXED,
    }
}
