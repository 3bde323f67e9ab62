//! Splices in flight: splice(2) from a socket into a pipe and from the pipe into another socket, on this thread.
//!
//! The ring's own splice op is punted to a kernel thread each time, so the calls are made here, between the entries
//! into the kernel: they never wait, because the sockets and the pipes are non-blocking (SPLICE_F_NONBLOCK alone does
//! not make a socket so). What has to be waited for is the [`Uring`](crate::Uring)'s business: it polls the source or
//! parks at the sink ([`crate::room`]) and tells [`Splices`] when to go on.
//!
//! A pipe is taken only for bytes and given back when they are out, so that what waits for a source owns none, and one
//! that waits for its sink owns what the sink did not take. splice(2) says EAGAIN for an empty source and for a full
//! pipe alike; here nothing is taken while anything is in the pipe, so it can only be the source.

use crate::pipes::{Pipe, Pipes};
use crate::{Errno, Event, Lane, Readiness, SockRef, Stop, Tag};
use ahash::AHashMap;
use nix::fcntl::{SpliceFFlags, splice};
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

/// One op in flight, or the bytes that the last one left in its pipe.
#[derive(Debug)]
struct Row {
    generation: u32,
    from: SockRef,
    to: SockRef,
    budget: u32,
    pipe: Option<Pipe>,
    held: u32,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// No op is in flight.
    Resting,
    /// In the queue.
    Queued,
    Waiting(Readiness),
}

/// What a try came to.
#[derive(Debug)]
pub(crate) enum Tried {
    /// The op's completion.
    Answered(Event),
    /// Nothing moved: what to wait for, and where.
    Stuck(Readiness, SockRef),
}

/// What an asked-for end came to.
#[derive(Debug)]
pub(crate) enum Cancelled {
    /// The op's completion.
    Answered(Event),
    /// The kernel holds a poll of it, which is to be cancelled.
    Polling,
    /// There was none.
    Nothing,
}

/// All of one ring.
#[derive(Debug, Default)]
pub(crate) struct Splices {
    rows: AHashMap<(u32, Lane), Row>,
    queue: VecDeque<Tag>,
    pipes: Pipes,
}

impl Splices {
    /// An op begins: to be tried, or to wait first; then the answer is where.
    pub(crate) fn begin(
        &mut self,
        tag: Tag,
        (from, to): (SockRef, SockRef),
        budget: u32,
        wait: Option<Readiness>,
    ) -> Option<SockRef> {
        let row = self.rows.entry((tag.slot, tag.lane)).or_insert(Row {
            generation: tag.generation,
            from,
            to,
            budget,
            pipe: None,
            held: 0,
            state: State::Resting,
        });
        assert!(
            row.state == State::Resting && row.generation == tag.generation,
            "a second splice in flight for {tag:?}"
        );
        row.budget = budget;
        match wait {
            None => {
                row.state = State::Queued;
                self.queue.push_back(tag);
                None
            }
            Some(readiness) => {
                row.state = State::Waiting(readiness);
                Some(row.place(readiness))
            }
        }
    }

    /// What an op waits for is there. Ignored when no op waits for it.
    pub(crate) fn on_ready(&mut self, tag: Tag, what: Readiness) {
        if let Some(row) = self.row(tag)
            && row.state == State::Waiting(what)
        {
            row.state = State::Queued;
            self.queue.push_back(tag);
        }
    }

    /// The next one to be tried.
    pub(crate) fn next(&mut self) -> Option<Tag> {
        while let Some(tag) = self.queue.pop_front() {
            if self.row(tag).is_some_and(|row| row.state == State::Queued) {
                return Some(tag);
            }
        }
        None
    }

    /// Whether any is to be tried.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Moves what can be moved without waiting.
    pub(crate) fn attempt(&mut self, tag: Tag) -> Tried {
        let Self { rows, pipes, .. } = self;
        let place = (tag.slot, tag.lane);
        let row = rows.get_mut(&place).expect("next() said so");
        let moved = row.advance(pipes);
        let Some(readiness) = moved.stuck() else {
            row.state = State::Resting;
            let event = moved.into_event(row.held);
            if row.held == 0 {
                rows.remove(&place);
            }
            return Tried::Answered(event);
        };
        row.state = State::Waiting(readiness);
        Tried::Stuck(readiness, row.place(readiness))
    }

    /// Ends an op early, where nobody else has it in hand.
    pub(crate) fn cancel(&mut self, tag: Tag) -> Cancelled {
        match self.row(tag).map(|row| row.state) {
            None | Some(State::Resting) => Cancelled::Nothing,
            Some(State::Waiting(Readiness::Readable)) => Cancelled::Polling,
            Some(State::Queued | State::Waiting(Readiness::Room)) => {
                Cancelled::Answered(self.end(tag).expect("it has a row"))
            }
        }
    }

    /// The poll of an op was cancelled. `None` when the op is not that one any more.
    pub(crate) fn end(&mut self, tag: Tag) -> Option<Event> {
        let row = self.row(tag)?;
        row.state = State::Resting;
        let held = row.held;
        if held == 0 {
            self.rows.remove(&(tag.slot, tag.lane));
        }
        let nothing = Moved {
            taken: 0,
            given: 0,
            stop: Stop::Cancelled,
        };
        Some(nothing.into_event(held))
    }

    /// Throws away what the last op left in its pipe.
    pub(crate) fn discard(&mut self, tag: Tag) {
        if self.row(tag).is_some_and(|row| row.state == State::Resting)
            && let Some(row) = self.rows.remove(&(tag.slot, tag.lane))
        {
            row.pipe
                .into_iter()
                .for_each(|pipe| self.pipes.discard(pipe));
        }
    }

    fn row(&mut self, tag: Tag) -> Option<&mut Row> {
        let row = self.rows.get_mut(&(tag.slot, tag.lane));
        row.filter(|row| row.generation == tag.generation)
    }
}

/// What one try moved.
#[derive(Clone, Copy, Debug)]
struct Moved {
    taken: u32,
    given: u32,
    stop: Stop,
}

impl Moved {
    /// What it has to wait for, when nothing moved.
    fn stuck(&self) -> Option<Readiness> {
        match self.stop {
            _ if self.taken + self.given > 0 => None,
            Stop::Empty => Some(Readiness::Readable),
            Stop::Full => Some(Readiness::Room),
            Stop::Budget
            | Stop::End
            | Stop::NoPipe
            | Stop::Cancelled
            | Stop::SourceFailed(_)
            | Stop::SinkFailed(_) => None,
        }
    }

    fn into_event(self, held: u32) -> Event {
        Event::Spliced {
            taken: self.taken,
            given: self.given,
            held,
            stop: self.stop,
        }
    }
}

impl Row {
    fn place(&self, readiness: Readiness) -> SockRef {
        match readiness {
            Readiness::Readable => self.from,
            Readiness::Room => self.to,
        }
    }

    /// Takes and gives by turns. Bounded by the budget: each round takes some of it or ends.
    fn advance(&mut self, pipes: &mut Pipes) -> Moved {
        let (mut taken, mut given) = (0, 0);
        let stop = loop {
            if let Err(stop) = self.give(pipes, &mut given) {
                break stop;
            }
            if taken >= self.budget {
                break Stop::Budget;
            }
            let want = self.budget - taken;
            match self.take(pipes, want) {
                Ok((count, whole)) => {
                    taken += count;
                    if !whole {
                        // The source had no more; asking again would only hear so.
                        break self.give(pipes, &mut given).err().unwrap_or(Stop::Empty);
                    }
                }
                Err(stop) => break stop,
            }
        };
        Moved { taken, given, stop }
    }

    /// From the source into a pipe: how much, and whether that was all it could take.
    fn take(&mut self, pipes: &mut Pipes, want: u32) -> Result<(u32, bool), Stop> {
        let Some(pipe) = pipes.lend() else {
            return Err(Stop::NoPipe);
        };
        let want = want.min(pipe.size);
        // SAFETY: borrowed for this call alone; the op's owner keeps the socket open until its completion.
        let from = unsafe { BorrowedFd::borrow_raw(self.from.number()) };
        let answer = splice(from, None, &pipe.writer, None, want as usize, FLAGS);
        match answer {
            Ok(count @ 1..) => {
                self.held = bounded(count);
                self.pipe = Some(pipe);
                Ok((self.held, self.held == want))
            }
            Ok(0) => {
                pipes.take_back(pipe);
                Err(Stop::End)
            }
            Err(errno) => {
                pipes.take_back(pipe);
                Err(why(errno))
            }
        }
    }

    /// From the pipe into the sink, all of it or why not.
    fn give(&mut self, pipes: &mut Pipes, given: &mut u32) -> Result<(), Stop> {
        while let Some(pipe) = &self.pipe {
            // SAFETY: as above.
            let to = unsafe { BorrowedFd::borrow_raw(self.to.number()) };
            match splice(&pipe.reader, None, to, None, self.held as usize, FLAGS) {
                Ok(0) | Err(Errno::EAGAIN) => return Err(Stop::Full),
                Ok(count) => {
                    let count = bounded(count);
                    self.held -= count;
                    *given += count;
                }
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    self.held = 0;
                    self.pipe
                        .take()
                        .into_iter()
                        .for_each(|pipe| pipes.discard(pipe));
                    return Err(Stop::SinkFailed(errno));
                }
            }
            if self.held == 0 {
                self.pipe
                    .take()
                    .into_iter()
                    .for_each(|pipe| pipes.take_back(pipe));
            }
        }
        Ok(())
    }
}

/// What an error of the source means.
fn why(errno: Errno) -> Stop {
    if matches!(errno, Errno::EAGAIN | Errno::EINTR) {
        Stop::Empty
    } else if errno == Errno::EINVAL {
        // Not a socket that can be spliced from: copying still works.
        Stop::NoPipe
    } else {
        Stop::SourceFailed(errno)
    }
}

/// Never SPLICE_F_MORE: the kernel would hold the last piece back for more, up to 200 ms (tcp(7), TCP_CORK).
const FLAGS: SpliceFFlags = SpliceFFlags::SPLICE_F_NONBLOCK.union(SpliceFFlags::SPLICE_F_MOVE);

fn bounded(count: usize) -> u32 {
    u32::try_from(count).expect("at most what was asked for")
}
