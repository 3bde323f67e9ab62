//! Pipes that spliced bytes pass through: how many bytes of which stream are in whose, and that none outlives its
//! connection. Bytes are counted, never stored: what they are follows from where their stream stood when they were taken.

use super::execute::shorten;
use super::inflight::Inflight;
use super::ring::SimRing;
use super::tcp::Side;
use super::world::World;
use crate::ring::{Event, Lane, Stop, Tag};
use std::collections::HashMap;
use std::task::Poll;

/// What a pipe holds at most: small, so that small worlds fill it.
const SIZE: u32 = 16 << 10;

/// Pipes of one ring.
const MOST: usize = 4;

/// One pipe in use.
#[derive(Debug)]
struct Pipe {
    generation: u32,
    /// Where the bytes came from, and where they are to go.
    conns: (usize, usize),
    held: u32,
}

/// All of one ring that hold bytes.
#[derive(Debug, Default)]
pub(super) struct Pipes(HashMap<(u32, Lane), Pipe>);

impl Pipes {
    /// Bytes in the pipe of this tag.
    pub(super) fn held(&self, tag: Tag) -> u32 {
        let pipe = self.0.get(&(tag.slot, tag.lane));
        let own = pipe.filter(|pipe| pipe.generation == tag.generation);
        own.map_or(0, |pipe| pipe.held)
    }

    pub(super) fn discard(&mut self, tag: Tag, inflight: &Inflight, world: &World) {
        let spliced = |wait: &super::inflight::Wait| wait.kind() == crate::ring::OpKind::Splice;
        if inflight
            .flights
            .iter()
            .any(|f| f.tag == tag && spliced(&f.wait))
        {
            world.fail(format_args!("discard of {tag:?} with its splice in flight"));
        }
        if self.held(tag) > 0 {
            self.0.remove(&(tag.slot, tag.lane));
        }
    }

    /// A socket closes only when no pipe holds bytes from it or for it.
    pub(super) fn check_close(&self, number: i32, world: &World) {
        let Some(conn) = world.held(number) else {
            return;
        };
        for pipe in self.0.values() {
            if pipe.conns.0 == conn || pipe.conns.1 == conn {
                world.fail(format_args!(
                    "close of socket {number} with {} bytes of it in a pipe",
                    pipe.held
                ));
            }
        }
    }

    pub(super) fn check_end(&self, world: &World) {
        if let Some(pipe) = self.0.values().next() {
            world.fail(format_args!("a pipe outlives its connections: {pipe:?}"));
        }
    }

    fn set(&mut self, tag: Tag, conns: (usize, usize), held: u32) {
        let place = (tag.slot, tag.lane);
        if held == 0 {
            self.0.remove(&place);
        } else {
            let generation = tag.generation;
            self.0.insert(
                place,
                Pipe {
                    generation,
                    conns,
                    held,
                },
            );
        }
    }
}

/// A splice under way.
struct Splicing {
    from: usize,
    to: usize,
    budget: u32,
    taken: u32,
    given: u32,
    held: u32,
}

impl SimRing {
    /// A splice is tried: what it came to. `None` when nothing moved and it waits on.
    pub(super) fn splice(
        &mut self,
        tag: Tag,
        (from, to): (usize, usize),
        budget: u32,
        world: &mut World,
    ) -> Option<Event> {
        let mut it = Splicing {
            from,
            to,
            budget,
            taken: 0,
            given: 0,
            held: self.pipes.held(tag),
        };
        let pipes = self.pipes.0.len();
        let stop = it.run(pipes, world);
        self.pipes.set(tag, (from, to), it.held);
        let stuck = matches!(stop, Stop::Empty | Stop::Full) && it.taken + it.given == 0;
        (!stuck).then_some(Event::Spliced {
            taken: it.taken,
            given: it.given,
            held: it.held,
            stop,
        })
    }
}

impl Splicing {
    /// Gives and takes by turns; each round moves something or is the last.
    fn run(&mut self, pipes: usize, world: &mut World) -> Stop {
        loop {
            if let Err(stop) = self.give(world) {
                return stop;
            }
            if self.taken >= self.budget {
                return Stop::Budget;
            }
            if self.taken > 0 && world.chance.hit(world.faults.early) {
                return world.chance.pick(&[Stop::Budget, Stop::Empty]);
            }
            if pipes >= MOST || world.chance.hit(world.faults.no_pipe) {
                return Stop::NoPipe;
            }
            if let Err(stop) = self.take(world) {
                return stop;
            }
        }
    }

    fn take(&mut self, world: &mut World) -> Result<(), Stop> {
        let most = shorten(u64::from((self.budget - self.taken).min(SIZE)), world);
        match world.conns[self.from].tcp.recv(Side::Program, most) {
            Poll::Pending => Err(Stop::Empty),
            Poll::Ready(Ok(0)) => Err(Stop::End),
            Poll::Ready(Err(errno)) => Err(Stop::SourceFailed(errno)),
            Poll::Ready(Ok(count)) => {
                world.nudge(self.from);
                let count = u32::try_from(count).expect("at most a pipe");
                self.held = count;
                self.taken += count;
                world.check_held(self.from);
                Ok(())
            }
        }
    }

    fn give(&mut self, world: &mut World) -> Result<(), Stop> {
        while self.held > 0 {
            let want = shorten(u64::from(self.held), world);
            let tcp = &mut world.conns[self.to].tcp;
            match tcp.send(Side::Program, want, &mut world.agenda) {
                Poll::Pending => return Err(Stop::Full),
                Poll::Ready(Err(errno)) => {
                    self.held = 0;
                    return Err(Stop::SinkFailed(errno));
                }
                Poll::Ready(Ok(count)) => {
                    world.check_spliced((self.from, self.to), u64::from(self.held), count);
                    let count = u32::try_from(count).expect("at most what is held");
                    self.held -= count;
                    self.given += count;
                }
            }
        }
        Ok(())
    }
}
