//! A ring that answers every op at once and in full: a dial connects, a send is taken whole, a receive brings what the
//! case has laid out in [`Scripted::arrivals`]. No chance, no faults, no search: what it does for an op depends on that
//! op alone, so that the worker walks the same path in every round.
//!
//! Its own instructions are left out of the count: see [`scripted_ring_turn`].

use ringway::ring::{
    Buffers, Completion, Event, Lane, Lease, Op, Ops, Ring, Sock, SockRef, Tag, Time, Until,
};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// What happens in the next turn.
#[derive(Clone, Debug)]
pub(crate) enum Arrival {
    /// A client connects.
    Client(SocketAddr),
    /// That many bytes, at most a buffer, come from this lane of this slot.
    Bytes(u32, Lane, u16),
    /// These bytes, at most a buffer, for a worker that reads what they say.
    Words(u32, Lane, Vec<u8>),
    /// The peer behind this lane of this slot sends FIN.
    Fin(u32, Lane),
}

/// How this ring receives; see `RecvMode` of the real one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Receive {
    /// Until the budget is spent.
    Multishot,
    /// Each completion is the last.
    Single,
}

/// Whether the turns are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Connections are made, tables and queues grow to their size.
    WarmUp,
    /// Within `counted_worker_turn`.
    Counted,
}

/// A receive in flight.
#[derive(Clone, Copy, Debug)]
struct Armed {
    tag: Tag,
    budget: u32,
}

/// A ring without a kernel and without surprises.
#[derive(Debug)]
pub(crate) struct Scripted {
    /// For the next turn, in order, after the answers to its ops.
    pub(crate) arrivals: Vec<Arrival>,
    /// Slots whose dial was answered since somebody last took them out.
    pub(crate) dialed: Vec<u32>,
    /// What clients were sent since somebody last took it out, if anybody wants to know.
    pub(crate) told: Option<Vec<(u32, Vec<u8>)>>,
    pub(crate) phase: Phase,
    now: Time,
    buffers: Buffers,
    receive: Receive,
    accept: Option<Tag>,
    /// By slot, then lane.
    armed: Vec<[Option<Armed>; 2]>,
    sockets: i32,
}

/// How much later each turn is: a busy worker's, with a thousand messages in it.
const TURN: Duration = Duration::from_millis(1);

/// As many buffers, as large, as a worker has.
const BUFFERS: (u16, u16) = (8192, 4096);

const ENOUGH_BUFFERS: &str = "far more buffers than messages in flight";

impl Scripted {
    pub(crate) fn new(receive: Receive) -> Self {
        Self {
            arrivals: Vec::new(),
            dialed: Vec::new(),
            told: None,
            phase: Phase::WarmUp,
            now: Time::from_nanos(0),
            buffers: Buffers::new(BUFFERS.0, BUFFERS.1),
            receive,
            accept: None,
            armed: Vec::new(),
            sockets: 0,
        }
    }

    /// A listening socket, or a bell.
    pub(crate) fn socket(&mut self) -> Sock {
        self.sockets += 1;
        Sock::simulated(self.sockets)
    }

    /// Slots whose client is being read.
    pub(crate) fn heard(&self) -> Vec<u32> {
        let slots = (0..).zip(&self.armed);
        let heard = slots.filter(|(_, [client, _])| client.is_some());
        heard.map(|(slot, _)| slot).collect()
    }

    fn play(&mut self, ops: &mut Ops, done: &mut Vec<Completion>) {
        self.now = self.now + TURN;
        for op in ops.drain() {
            self.answer(op, done);
        }
        for arrival in std::mem::take(&mut self.arrivals) {
            done.push(self.bring(arrival));
        }
    }

    fn answer(&mut self, op: Op, done: &mut Vec<Completion>) {
        match op {
            Op::Accept { tag, .. } => self.accept = Some(tag),
            Op::Dial { tag, .. } => {
                self.dialed.push(tag.slot);
                let result = Ok(self.socket());
                done.push(Completion {
                    tag,
                    event: Event::Dialed {
                        result,
                        local: None,
                    },
                });
            }
            Op::Recv { tag, budget, .. } => {
                *self.reader(tag.slot, tag.lane) = Some(Armed { tag, budget });
            }
            Op::Send { tag, lease, .. } => {
                let result = Ok(lease.len());
                if let (Lane::A, Some(told)) = (tag.lane, &mut self.told) {
                    let mut bytes = Vec::new();
                    self.buffers
                        .copy_front(&lease, lease.len() as usize, &mut bytes);
                    told.push((tag.slot, bytes));
                }
                self.buffers.release(lease);
                let rest = Lease::EMPTY;
                done.push(Completion {
                    tag,
                    event: Event::Sent { result, rest },
                });
            }
            Op::Close { sock, .. } => drop(sock.into_simulated()),
            // The bell never rings, a FIN that we send changes nothing here, and nothing is parked or left in a pipe.
            Op::Poll { .. }
            | Op::Shutdown { .. }
            | Op::Shed { .. }
            | Op::NotsentLowat { .. }
            | Op::Discard { .. } => {}
            Op::TurnAway { .. } | Op::Cancel { .. } | Op::Unsent { .. } | Op::Splice { .. } => {
                unreachable!("no case fails or splices: {op:?}")
            }
        }
    }

    fn bring(&mut self, arrival: Arrival) -> Completion {
        match arrival {
            Arrival::Client(peer) => Completion {
                tag: self.accept.expect("armed in the first turn"),
                event: Event::Accepted {
                    result: Ok((self.socket(), peer)),
                    more: true,
                },
            },
            Arrival::Bytes(slot, lane, bytes) => {
                let id = self.buffers.lend().expect(ENOUGH_BUFFERS);
                let lease = self.buffers.take_back(id, bytes.into());
                self.receive(slot, lane, lease)
            }
            Arrival::Words(slot, lane, words) => {
                let lease = self.buffers.write(&words).expect(ENOUGH_BUFFERS);
                self.receive(slot, lane, lease)
            }
            Arrival::Fin(slot, lane) => {
                let armed = self.reader(slot, lane).take();
                let tag = armed.expect("a case sends FIN to who reads").tag;
                received(tag, Lease::EMPTY, false)
            }
        }
    }

    fn receive(&mut self, slot: u32, lane: Lane, lease: Lease) -> Completion {
        let mut armed = self
            .reader(slot, lane)
            .take()
            .expect("a case sends to who reads");
        armed.budget = armed.budget.saturating_sub(lease.len());
        let more = self.receive == Receive::Multishot && armed.budget > 0;
        if more {
            *self.reader(slot, lane) = Some(armed);
        }
        received(armed.tag, lease, more)
    }

    fn reader(&mut self, slot: u32, lane: Lane) -> &mut Option<Armed> {
        let at = slot as usize;
        if at >= self.armed.len() {
            self.armed.resize(at + 1, [None; 2]);
        }
        match lane {
            Lane::A => &mut self.armed[at][0],
            Lane::B => &mut self.armed[at][1],
        }
    }
}

fn received(tag: Tag, lease: Lease, more: bool) -> Completion {
    Completion {
        tag,
        event: Event::Received {
            result: Ok(lease),
            more,
            nonempty: false,
        },
    }
}

/// callgrind stops counting when it comes here and goes on when this returns (`--toggle-collect`), so this is never
/// inlined, holds no closure whose name would contain its own, and is only entered while counting.
#[inline(never)]
fn scripted_ring_turn(ring: &mut Scripted, ops: &mut Ops, done: &mut Vec<Completion>) {
    ring.play(ops, done);
}

impl Ring for Scripted {
    fn now(&self) -> Time {
        self.now
    }

    fn turn(&mut self, ops: &mut Ops, _: Until, done: &mut Vec<Completion>) -> io::Result<()> {
        match self.phase {
            Phase::WarmUp => self.play(ops, done),
            Phase::Counted => scripted_ring_turn(self, ops, done),
        }
        Ok(())
    }

    fn buffers(&mut self) -> &mut Buffers {
        &mut self.buffers
    }

    fn overflows(&self) -> u64 {
        0
    }
}

/// The bell of a mailbox that nobody writes to.
pub(crate) fn bell() -> SockRef {
    SockRef::simulated(0)
}
