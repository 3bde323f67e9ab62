//! [`SimRing`]: takes ops, lets the world go on, and gives completions in any order that a kernel could.
//!
//! An op is *in flight* from its submission until its last completion is delivered. In between it *happens*
//! (`execute`) and its completion waits, perhaps for long; so a cancel may find an op that has already happened.

use super::agenda::Happening;
use super::inflight::{Flight, Inflight, NO_SOCKET};
use super::pipes::Pipes;
use super::world::World;
use crate::ring::{Buffers, Completion, Event, Lane, OpKind, Ops, Ring, SPILL_MAX, Time, Until};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// A completion that has happened and is not delivered yet.
#[derive(Debug)]
pub(super) struct Posted {
    /// Whose; `None` for one that belongs to nobody any more.
    pub(super) flight: Option<u64>,
    pub(super) completion: Completion,
    pub(super) due: Time,
    pub(super) last: bool,
}

/// How this world's kernel receives; drawn once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    /// Receives go on until their budget is spent; else each completion is the last.
    pub(super) multishot: bool,
    /// Buffers lent to the kernel at most; the rest stay in the reserve.
    lent_max: usize,
}

/// A ring without a kernel.
#[derive(Debug)]
pub struct SimRing {
    world: Rc<RefCell<World>>,
    pub(super) number: usize,
    pub(super) buffers: Buffers,
    pub(super) lent: Vec<u16>,
    pub(super) mode: Mode,
    pub(super) inflight: Inflight,
    pub(super) posted: Vec<Posted>,
    pub(super) pipes: Pipes,
    pub(super) overflows: u64,
    turns: u64,
    /// The generation that each lane last used a kind of op with, to make completions for an earlier one.
    pub(super) earlier: HashMap<(u32, Lane, OpKind), u32>,
}

/// A turn in a world of several rings waits no longer than that, nor for more than one event: the others must have
/// their turns, for which they may have work already. A program turned so and stuck runs into `turns_max`.
const STEP: Duration = Duration::from_millis(10);

/// More completions than that wait for the next turn.
const BATCH_MAX: usize = 256;

impl SimRing {
    /// A ring in this world, which others may be in too, with `count` buffers of `size` bytes.
    pub fn new(world: Rc<RefCell<World>>, count: u16, size: u16) -> Self {
        let mut it = world.borrow_mut();
        let multishot = it.chance.below(2) == 0;
        let lent_max = (usize::from(count) * it.chance.pick(&[1, 2, 3]) / 4).max(1);
        // Often less than there would be to spill, sometimes nothing.
        let spill = it
            .chance
            .pick(&[0, 4 << 10, 64 << 10, SPILL_MAX, SPILL_MAX]);
        let number = it.join();
        drop(it);
        let mut buffers = Buffers::new(count, size);
        buffers.limit_spill(spill);
        Self {
            world,
            number,
            buffers,
            lent: Vec::new(),
            mode: Mode {
                multishot,
                lent_max,
            },
            inflight: Inflight::default(),
            posted: Vec::new(),
            pipes: Pipes::default(),
            overflows: 0,
            turns: 0,
            earlier: HashMap::new(),
        }
    }

    /// The world that this ring is in.
    pub fn world(&self) -> Rc<RefCell<World>> {
        Rc::clone(&self.world)
    }

    /// Whether nothing is in flight but what waits for new connections and messages.
    pub fn is_idle(&self) -> bool {
        self.posted.is_empty()
            && self
                .inflight
                .flights
                .iter()
                .all(|flight| Inflight::is_lasting(&flight.wait))
    }

    /// At the end of a world, when the program has closed all but `fds` descriptors (listeners, bells): nothing may
    /// be left of any connection, and whoever behaved must have got everything.
    ///
    /// # Panics
    /// When something is left, with the line that replays the world.
    pub fn check_end(&self, fds: usize) {
        let world = self.world.borrow();
        if !self.is_idle() {
            world.fail(format_args!(
                "ops outlive their connections: {:?}, {:?}",
                self.inflight.flights, self.posted
            ));
        }
        let free = self.buffers.free();
        if free != self.buffers.count() {
            let held = self.buffers.count() - free;
            world.fail(format_args!("{held} buffers outlive their connections"));
        }
        if self.buffers.spilled() > 0 {
            let spilled = self.buffers.spilled();
            world.fail(format_args!(
                "{spilled} spilled bytes outlive their connections"
            ));
        }
        self.pipes.check_end(&world);
        if world.open_fds() != fds {
            world.fail(format_args!(
                "{} descriptors are open, {fds} should be",
                world.open_fds()
            ));
        }
        if !world.is_over() {
            world.fail(format_args!("actors still wait for their end"));
        }
        world.check_deliveries();
    }

    /// The clock goes on a little in each turn, so that a program that spins spends time like any other.
    fn begin_turn(&mut self, world: &mut World) {
        let spent = Duration::from_nanos(world.chance.within(100, 20_000));
        world.agenda.pass(spent);
        world.run_due();
        while self.lent.len() < self.mode.lent_max {
            let Some(id) = self.buffers.lend() else { break };
            self.lent.push(id);
        }
        self.turns += 1;
        if self.turns > world.demands.turns_max {
            world.fail(format_args!("no end after {} turns", self.turns));
        }
    }

    fn is_ready(&self, flight: &Flight, world: &World) -> bool {
        if flight.finished || flight.begin > world.now() {
            return false;
        }
        flight.cancelled || self.is_possible(flight, world)
    }

    /// Lets ops that can happen do so, in any order, each perhaps several times.
    fn execute(&mut self, world: &mut World) {
        for _ in 0..BATCH_MAX {
            let mut ready: Vec<usize> = (0..self.inflight.flights.len())
                .filter(|i| self.is_ready(&self.inflight.flights[*i], world))
                .collect();
            if ready.is_empty() {
                return;
            }
            world.chance.shuffle(&mut ready);
            for index in ready {
                // Another op may have taken what this one was ready for (an error is reported once).
                if self.is_ready(&self.inflight.flights[index], world) {
                    self.execute_one(index, world);
                }
            }
            if self.posted.len() >= BATCH_MAX {
                return;
            }
        }
    }

    fn execute_one(&mut self, index: usize, world: &mut World) {
        let mut flight =
            std::mem::replace(&mut self.inflight.flights[index], Flight::placeholder());
        if let Some((event, last)) = self.happen(&mut flight, world) {
            flight.finished = last;
            if let Event::Dialed { result: Err(_), .. } = event {
                flight.number = NO_SOCKET; // the ring has closed it: the number may come again
            }
            let due = self.draw_due(flight.id, world);
            let completion = Completion {
                tag: flight.tag,
                event,
            };
            self.posted.push(Posted {
                flight: Some(flight.id),
                completion,
                due,
                last,
            });
        }
        self.inflight.flights[index] = flight;
    }

    /// Completions of one op stay in order.
    fn draw_due(&self, flight: u64, world: &mut World) -> Time {
        let mut due = world.now();
        if world.chance.hit(world.faults.late_completion) {
            due = due + world.chance.pause(Duration::from_millis(20));
            world.agenda.at(due, Happening::Ring);
        }
        let earlier = self
            .posted
            .iter()
            .filter(|posted| posted.flight == Some(flight));
        earlier
            .map(|posted| posted.due)
            .max()
            .map_or(due, |before| due.max(before))
    }

    /// Hands out what is due, in any order that keeps each op's own.
    fn deliver(&mut self, world: &mut World, done: &mut Vec<Completion>) -> bool {
        let now = world.now();
        let mut any = false;
        for _ in 0..BATCH_MAX {
            let firsts: Vec<usize> = (0..self.posted.len())
                .filter(|i| self.posted[*i].due <= now && self.is_first(*i))
                .collect();
            if firsts.is_empty() || (any && !world.faults.is_none() && world.chance.below(16) == 0)
            {
                break;
            }
            let Posted {
                flight,
                completion,
                last,
                ..
            } = self.posted.remove(world.chance.pick(&firsts));
            if let Some(id) = flight {
                world.hear(self.number, &completion);
                if last {
                    self.inflight.remove(id);
                }
            }
            world.trace.completion(now, &completion);
            done.push(completion);
            any = true;
        }
        any
    }

    fn is_first(&self, index: usize) -> bool {
        let flight = self.posted[index].flight;
        flight.is_none()
            || !self.posted[..index]
                .iter()
                .any(|posted| posted.flight == flight)
    }

    /// Goes to the next event, but not past `until`. Whether to look again.
    fn wait(&self, until: Until, world: &mut World) -> bool {
        let limit = match until {
            Until::Now => return false,
            Until::Time(time) => Some(time),
            Until::Forever => None,
        };
        let limit = if world.is_shared() {
            let step = world.now() + STEP;
            Some(limit.map_or(step, |limit| limit.min(step)))
        } else {
            limit
        };
        match (world.agenda.next(), limit) {
            (Some(next), Some(limit)) if next > limit => {
                world.agenda.jump(limit);
                false
            }
            (Some(next), _) => {
                world.agenda.jump(next);
                world.run_due();
                true
            }
            (None, Some(limit)) => {
                world.agenda.jump(limit);
                false
            }
            (None, None) => {
                if !world.is_over() {
                    world.fail(format_args!(
                        "stuck: the program waits for ever, and so do the actors of {:?}",
                        world.waiting()
                    ));
                }
                false
            }
        }
    }
}

impl Ring for SimRing {
    fn now(&self) -> Time {
        self.world.borrow().now()
    }

    fn turn(&mut self, ops: &mut Ops, until: Until, done: &mut Vec<Completion>) -> io::Result<()> {
        let world = Rc::clone(&self.world);
        let world = &mut *world.borrow_mut();
        self.begin_turn(world);
        for op in ops.drain() {
            self.submit(op, world);
        }
        if world.chance.hit(world.faults.spurious) {
            return Ok(());
        }
        loop {
            self.execute(world);
            if self.deliver(world, done) || !self.wait(until, world) || world.is_shared() {
                return Ok(());
            }
        }
    }

    fn buffers(&mut self) -> &mut Buffers {
        &mut self.buffers
    }

    fn overflows(&self) -> u64 {
        self.overflows
    }
}
