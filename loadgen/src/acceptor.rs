//! The listening side of an engine: accepts, and publishes when that is its role.

use crate::config::{BackendRole, Direction};
use crate::engine::Engine;
use crate::fault::Fault;
use crate::link::Link;
use crate::roles::{Part, bulk, churn, echo, publish, websocket};
use ringway_ring::{Completion, Errno, Event, Lane, Op, OpKind, Ring, Sock, Tag, Time};
use std::time::Duration;

/// How long accepting rests when descriptors have run out: peers close in the meantime.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Acceptor {
    role: BackendRole,
    listeners: Vec<Listener>,
    /// Makes connections' ids differ, between threads too.
    next_id: u64,
}

struct Listener {
    sock: Sock,
    accepting: Accepting,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Accepting {
    Armed,
    /// Not armed; may be from this time on.
    From(Time),
}

impl Acceptor {
    pub(crate) fn new(role: BackendRole, listeners: Vec<Sock>, first_id: u64) -> Self {
        let listeners = listeners.into_iter().map(|sock| Listener {
            sock,
            accepting: Accepting::From(Time::default()),
        });
        Self {
            role,
            listeners: listeners.collect(),
            next_id: first_id,
        }
    }

    /// What happens between turns.
    pub(crate) fn on_turn<R: Ring>(&mut self, engine: &mut Engine<R>) {
        let now = engine.now();
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            if let Accepting::From(time) = listener.accepting
                && time <= now
            {
                listener.accepting = Accepting::Armed;
                let listener = listener.sock.as_ref();
                engine.ops.push(Op::Accept {
                    tag: listener_tag(index),
                    listener,
                });
            }
        }
        self.publish(engine, now);
    }

    fn publish<R: Ring>(&self, engine: &mut Engine<R>, now: Time) {
        let Some(feed) = &mut engine.job.feed else {
            return;
        };
        let ticks = feed.advance(now, &mut engine.stats);
        if ticks > 0 {
            engine.stats.counters.planned += ticks * engine.stats.connections.open();
            engine.with_all(Link::pump);
        }
    }

    /// When the next turn must come at the latest.
    pub(crate) fn wake<R: Ring>(&self, engine: &Engine<R>) -> Option<Time> {
        let paused = self
            .listeners
            .iter()
            .filter_map(|listener| match listener.accepting {
                Accepting::Armed => None,
                Accepting::From(time) => Some(time),
            });
        paused
            .chain(engine.job.feed.as_ref().map(publish::Feed::next))
            .min()
    }

    pub(crate) fn on_accepted<R: Ring>(&mut self, engine: &mut Engine<R>, completion: Completion) {
        let Event::Accepted { result, more } = completion.event else {
            return;
        };
        if !more && let Some(listener) = self.listeners.get_mut(completion.tag.slot as usize) {
            let pause = match result {
                Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => ACCEPT_PAUSE,
                Ok(_) | Err(_) => Duration::ZERO,
            };
            listener.accepting = Accepting::From(engine.now() + pause);
        }
        match result {
            // It won the race against the cancel.
            Ok((sock, _)) if engine.job.ending => engine.ops.push(Op::Close { sock, reset: false }),
            Ok((sock, _)) => {
                let part = self.part();
                let tag = engine.add(Link::accepted(part, sock));
                engine.with(tag, Link::on_open);
            }
            Err(Errno::EMFILE | Errno::ENFILE) => engine.stats.faults.add(Fault::NoDescriptor, 1),
            // The client was gone before it was accepted, or we stop accepting.
            Err(Errno::ECONNABORTED | Errno::ECANCELED) => {}
            Err(_) => engine.stats.faults.add(Fault::Socket, 1),
        }
    }

    fn part(&mut self) -> Part {
        self.next_id += 1;
        match self.role {
            BackendRole::Echo => Part::EchoBackend(echo::Backend::default()),
            BackendRole::Publish { .. } => Part::Publish(publish::Subscription::default()),
            BackendRole::Bulk {
                direction: Direction::Down,
            } => Part::BulkSend(bulk::Sender::backend(self.next_id)),
            BackendRole::Bulk {
                direction: Direction::Up,
            } => Part::BulkReceive(bulk::Receiver::backend()),
            BackendRole::Churn { size } => Part::ChurnBackend(churn::Backend::new(size)),
            BackendRole::WebSocket => Part::WebSocketBackend(websocket::Backend::default()),
            BackendRole::Hold => Part::HoldBackend,
        }
    }

    /// Stops accepting and closes every connection; turns are needed until the engine is empty and this is quiet.
    pub(crate) fn close<R: Ring>(&mut self, engine: &mut Engine<R>) {
        engine.job.ending = true;
        engine.job.feed = None;
        for (index, listener) in self.listeners.iter().enumerate() {
            if listener.accepting == Accepting::Armed {
                engine.ops.push(Op::Cancel {
                    tag: listener_tag(index),
                    what: OpKind::Accept,
                });
            }
        }
        engine.with_all(Link::close);
    }

    /// Whether no accept is armed any more.
    pub(crate) fn is_quiet(&self) -> bool {
        self.listeners
            .iter()
            .all(|listener| listener.accepting != Accepting::Armed)
    }

    /// Closes the listeners; at the very end.
    pub(crate) fn release<R: Ring>(self, engine: &mut Engine<R>) {
        for listener in self.listeners {
            engine.ops.push(Op::Close {
                sock: listener.sock,
                reset: false,
            });
        }
    }
}

/// Lane B, apart from the connections, which live in lane A.
fn listener_tag(index: usize) -> Tag {
    let slot = u32::try_from(index).expect("a handful of listeners");
    Tag {
        lane: Lane::B,
        slot,
        generation: 0,
    }
}
