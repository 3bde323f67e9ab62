//! The smallest relay that keeps every rule: what the simulator is tested with, apart from the worker.
//!
//! Dials the one backend for each client, then moves bytes both ways; FIN follows its bytes; any error resets both.

use ringway::ring::{
    Completion, DialOptions, Errno, Event, Lane, Lease, Op, OpKind, Ops, Ring, Sock, Tag, Until,
};
use std::net::SocketAddr;
use std::time::Duration;

const HIGH: u32 = 32 * 1024;
const LISTENER: Tag = Tag {
    lane: Lane::A,
    slot: 0,
    generation: 0,
};

/// One socket of a connection, and what is to be sent to it.
#[derive(Default)]
struct End {
    sock: Option<Sock>,
    queue: Lease,
    receiving: bool,
    /// Bytes of the send in flight; 0 without one.
    sending: u32,
    /// Its FIN was received.
    ended: bool,
    /// Our FIN was sent to it.
    shut: bool,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    ends: [End; 2],
    used: bool,
    dialing: bool,
    /// How to close once nothing is in flight.
    closing: Option<bool>,
}

/// The program under test.
pub(crate) struct Relay<R: Ring> {
    pub(crate) ring: R,
    listener: Option<Sock>,
    accepting: bool,
    backend: SocketAddr,
    slots: Vec<Slot>,
    ops: Ops,
    done: Vec<Completion>,
}

fn index(lane: Lane) -> usize {
    match lane {
        Lane::A => 0,
        Lane::B => 1,
    }
}

const LANES: [Lane; 2] = [Lane::A, Lane::B];

impl<R: Ring> Relay<R> {
    pub(crate) fn new(ring: R, listener: Sock, backend: SocketAddr) -> Self {
        Self {
            ring,
            listener: Some(listener),
            accepting: false,
            backend,
            slots: vec![Slot::default()], // slot 0 is the listener's
            ops: Ops::default(),
            done: Vec::new(),
        }
    }

    /// Whether it has no connection and nothing left to ask for.
    pub(crate) fn is_idle(&self) -> bool {
        self.ops.is_empty() && self.slots.iter().all(|slot| !slot.used)
    }

    /// The listener outlives the world's connections; the test is done with it.
    pub(crate) fn finish(mut self) -> R {
        if let Some(listener) = self.listener.take() {
            listener.into_simulated();
        }
        self.ring
    }

    pub(crate) fn turn(&mut self) {
        if !self.accepting {
            self.accepting = true;
            let listener = self.listener.as_ref().expect("open until finish").as_ref();
            self.ops.push(Op::Accept {
                tag: LISTENER,
                listener,
            });
        }
        let starved = self.rearm();
        let until = if starved {
            Until::Time(self.ring.now() + Duration::from_millis(1))
        } else {
            Until::Forever
        };
        let mut done = std::mem::take(&mut self.done);
        self.ring
            .turn(&mut self.ops, until, &mut done)
            .expect("a simulated ring");
        for completion in done.drain(..) {
            self.on(completion);
        }
        self.done = done;
    }

    fn on(&mut self, Completion { tag, event }: Completion) {
        match event {
            Event::Accepted { result, more } => self.on_accepted(tag, result, more),
            Event::Dialed { result, .. } => self.on_dialed(tag, result),
            Event::Received { result, more, .. } => self.on_received(tag, result, more),
            Event::Sent { result, rest } => self.on_sent(tag, result, rest),
            Event::Spliced { .. } | Event::Unsent { .. } | Event::Polled { .. } => {
                panic!("this relay asks for none")
            }
        }
    }

    fn is_stale(&self, tag: Tag) -> bool {
        let slot = &self.slots[tag.slot as usize];
        !slot.used || slot.generation != tag.generation
    }

    fn on_accepted(&mut self, tag: Tag, result: Result<(Sock, SocketAddr), Errno>, more: bool) {
        if tag.generation == LISTENER.generation {
            self.accepting = more;
        }
        let Ok((sock, _)) = result else { return };
        let free = self.slots[1..]
            .iter()
            .position(|slot| !slot.used)
            .unwrap_or_else(|| {
                self.slots.push(Slot::default());
                self.slots.len() - 2
            });
        let slot = &mut self.slots[free + 1];
        *slot = Slot {
            generation: slot.generation + 1,
            used: true,
            dialing: true,
            ..Slot::default()
        };
        slot.ends[0].sock = Some(sock);
        let tag = Tag {
            lane: Lane::B,
            slot: u32::try_from(free + 1).expect("few slots"),
            generation: slot.generation,
        };
        self.ops.push(Op::Dial {
            tag,
            peer: self.backend,
            options: DialOptions::default(),
            asking: None,
        });
    }

    fn on_dialed(&mut self, tag: Tag, result: Result<Sock, Errno>) {
        if self.is_stale(tag) {
            if let Ok(sock) = result {
                self.ops.push(Op::Close { sock, reset: true });
            }
            return;
        }
        let slot = &mut self.slots[tag.slot as usize];
        slot.dialing = false;
        match result {
            Ok(sock) => slot.ends[1].sock = Some(sock),
            Err(_) => slot.closing = Some(true),
        }
        self.advance(tag);
    }

    fn on_received(&mut self, tag: Tag, result: Result<Lease, Errno>, more: bool) {
        if self.is_stale(tag) {
            if let Ok(lease) = result {
                self.ring.buffers().release(lease);
            }
            return;
        }
        let slot = &mut self.slots[tag.slot as usize];
        let from = index(tag.lane);
        slot.ends[from].receiving = more;
        match result {
            Ok(lease) if lease.is_empty() => slot.ends[from].ended = true,
            Ok(lease) => self
                .ring
                .buffers()
                .append(&mut slot.ends[1 - from].queue, lease),
            Err(Errno::ENOBUFS | Errno::ECANCELED) => {}
            Err(_) => slot.closing = Some(true),
        }
        self.advance(tag);
    }

    fn on_sent(&mut self, tag: Tag, result: Result<u32, Errno>, mut rest: Lease) {
        let slot = &mut self.slots[tag.slot as usize];
        let end = &mut slot.ends[index(tag.lane)];
        end.sending = 0;
        self.ring.buffers().append(&mut rest, end.queue.take());
        end.queue = rest;
        if result.is_err() {
            slot.closing = Some(true);
        }
        self.advance(tag);
    }

    /// Sends what waits, passes on ends, closes what is done.
    fn advance(&mut self, tag: Tag) {
        for lane in LANES {
            let slot = &mut self.slots[tag.slot as usize];
            let source_ended = slot.ends[1 - index(lane)].ended;
            let live = slot.closing.is_none();
            let end = &mut slot.ends[index(lane)];
            let Some(sock) = end.sock.as_ref().map(Sock::as_ref) else {
                continue;
            };
            if live && end.sending == 0 && !end.queue.is_empty() {
                let lease = end.queue.take();
                end.sending = lease.len();
                self.ops.push(Op::Send {
                    tag: Tag { lane, ..tag },
                    sock,
                    lease,
                    poll_first: false,
                });
            } else if live && source_ended && end.sending == 0 && !end.shut {
                end.shut = true;
                self.ops.push(Op::Shutdown { sock, both: false });
            }
        }
        let slot = &mut self.slots[tag.slot as usize];
        if slot.closing.is_none() && slot.ends.iter().all(|end| end.ended && end.shut) {
            slot.closing = Some(false);
        }
        if slot.closing.is_some() {
            self.close(tag);
        }
    }

    fn close(&mut self, tag: Tag) {
        let slot = &mut self.slots[tag.slot as usize];
        let reset = slot.closing == Some(true);
        let mut in_flight = slot.dialing;
        for lane in LANES {
            let end = &slot.ends[index(lane)];
            let tag = Tag { lane, ..tag };
            if end.receiving {
                self.ops.push(Op::Cancel {
                    tag,
                    what: OpKind::Recv,
                });
            }
            if end.sending > 0 {
                self.ops.push(Op::Cancel {
                    tag,
                    what: OpKind::Send,
                });
            }
            in_flight |= end.receiving || end.sending > 0;
        }
        if in_flight {
            return;
        }
        slot.used = false;
        for end in &mut slot.ends {
            self.ring.buffers().release(end.queue.take());
            if let Some(sock) = end.sock.take() {
                self.ops.push(Op::Close { sock, reset });
            }
        }
    }

    /// Arms receives where there is room for what they bring; whether some had to wait for buffers.
    fn rearm(&mut self) -> bool {
        let mut starved = false;
        for number in 1..self.slots.len() {
            let slot = &mut self.slots[number];
            if !slot.used || slot.closing.is_some() || slot.dialing {
                continue;
            }
            for lane in LANES {
                let target = &slot.ends[1 - index(lane)];
                let queued = target.queue.len() + target.sending;
                let end = &mut slot.ends[index(lane)];
                if end.receiving || end.ended || queued >= HIGH {
                    continue;
                }
                if self.ring.buffers().free() == 0 {
                    starved = true;
                    continue;
                }
                let Some(sock) = end.sock.as_ref().map(Sock::as_ref) else {
                    continue;
                };
                let slot_number = u32::try_from(number).expect("few slots");
                let tag = Tag {
                    lane,
                    slot: slot_number,
                    generation: slot.generation,
                };
                end.receiving = true;
                self.ops.push(Op::Recv {
                    tag,
                    sock,
                    budget: HIGH,
                    poll_first: true,
                });
            }
        }
        starved
    }
}
