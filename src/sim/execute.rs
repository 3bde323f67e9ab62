//! What each op does when it happens, with everything that a kernel may make of it.

use super::inflight::{Dial, Flight, Wait};
use super::ring::SimRing;
use super::tcp::Side;
use super::world::{Fd, Stage, Verdict, World};
use crate::ring::{Errno, Event, Lease, Readiness, Sock, Stop, Tag};
use std::task::Poll;

/// Whether an op could answer now.
fn is_possible(wait: &Wait, no_buffers: bool, held: u32, world: &World) -> bool {
    match wait {
        Wait::Accept { listener } => {
            let listener = &world.listeners[*listener];
            listener.shut || !listener.queue.is_empty()
        }
        Wait::Dial(Dial::Refused(_)) => true,
        Wait::Dial(Dial::Going { conn, .. }) => {
            matches!(world.conns[*conn].stage, Stage::Dialing(Verdict::Given(_)))
        }
        // Without POLL_FIRST the kernel looks for a buffer before it looks for bytes.
        Wait::Recv {
            conn, poll_first, ..
        } => world.conns[*conn].tcp.can_recv(Side::Program) || (no_buffers && !poll_first),
        Wait::Send { conn, .. } => world.conns[*conn].tcp.can_send(Side::Program),
        Wait::Splice {
            from,
            to,
            budget,
            wait,
        } => {
            let readable = world.conns[*from].tcp.can_recv(Side::Program);
            let room = world.conns[*to].tcp.can_send(Side::Program);
            match wait {
                Some(Readiness::Readable) => readable,
                Some(Readiness::Room) => room,
                None if held > 0 => room,
                None => *budget == 0 || readable,
            }
        }
        Wait::Poll { fd, number, seen } => match seen {
            None => is_readable(*fd, *number, world),
            Some(seen) => wakeups(*fd, *number, world) > *seen,
        },
    }
}

fn is_readable(fd: Fd, number: i32, world: &World) -> bool {
    match fd {
        Fd::Conn(conn) => world.conns[conn].tcp.can_recv(Side::Program),
        Fd::Listener(listener) => !world.listeners[listener].queue.is_empty(),
        Fd::Bell { .. } => wakeups(fd, number, world) > 0,
    }
}

/// How often something happened that wakes a poll.
fn wakeups(fd: Fd, number: i32, world: &World) -> u64 {
    match fd {
        Fd::Conn(conn) => world.conns[conn].tcp.wakeups,
        Fd::Listener(listener) => world.listeners[listener].queue.len() as u64,
        Fd::Bell { .. } => match world.fd(number) {
            Some(Fd::Bell { rung }) => rung,
            Some(Fd::Conn(_) | Fd::Listener(_)) | None => 0,
        },
    }
}

impl SimRing {
    pub(super) fn is_possible(&self, flight: &Flight, world: &World) -> bool {
        let held = self.pipes.held(flight.tag);
        is_possible(&flight.wait, self.lent.is_empty(), held, world)
    }

    /// The op happens: what came of it, and whether that is its last completion. `None` when after all nothing did.
    pub(super) fn happen(
        &mut self,
        flight: &mut Flight,
        world: &mut World,
    ) -> Option<(Event, bool)> {
        let possible = self.is_possible(flight, world);
        // A cancel can lose only against something that can happen; otherwise nobody is faster than it.
        if flight.cancelled && !(possible && world.chance.hit(world.faults.cancel_loses)) {
            let held = self.pipes.held(flight.tag);
            return Some((cancelled(&mut flight.wait, held, world), true));
        }
        match &mut flight.wait {
            Wait::Accept { listener } => Some(self.accept(*listener, world)),
            Wait::Dial(dial) => Some((dialed(self.number, flight.tag, *dial, world), true)),
            Wait::Recv { conn, left, .. } => self.recv(*conn, left, world),
            Wait::Send { conn, lease } => self.send(*conn, lease, world).map(|event| (event, true)),
            Wait::Splice {
                from, to, budget, ..
            } => {
                let event = self.splice(flight.tag, (*from, *to), *budget, world);
                // It was woken for nothing: from now on it waits for whatever is missing.
                if let (Wait::Splice { wait, .. }, None) = (&mut flight.wait, &event) {
                    *wait = None;
                }
                event.map(|event| (event, true))
            }
            Wait::Poll { fd, number, seen } => {
                *seen = Some(wakeups(*fd, *number, world));
                let more = self.goes_on(world);
                Some((
                    Event::Polled {
                        result: Ok(()),
                        more,
                    },
                    !more,
                ))
            }
        }
    }

    /// Whether a multishot that could go on does.
    fn goes_on(&mut self, world: &mut World) -> bool {
        let overflow = world.chance.hit(world.faults.overflow);
        self.overflows += u64::from(overflow);
        !overflow
    }

    fn accept(&mut self, listener: usize, world: &mut World) -> (Event, bool) {
        if world.listeners[listener].shut {
            return (
                Event::Accepted {
                    result: Err(Errno::EINVAL),
                    more: false,
                },
                true,
            );
        }
        if world.chance.hit(world.faults.accept) {
            let error = world
                .chance
                .pick(&[Errno::EMFILE, Errno::ENFILE, Errno::ECONNABORTED]);
            if error == Errno::ECONNABORTED {
                world.drop_queued(listener);
            }
            return (
                Event::Accepted {
                    result: Err(error),
                    more: false,
                },
                true,
            );
        }
        let (number, address) = world.accept(listener).expect("a queue that is not empty");
        let more = self.goes_on(world);
        (
            Event::Accepted {
                result: Ok((Sock::simulated(number), address)),
                more,
            },
            !more,
        )
    }

    fn recv(&mut self, conn: usize, left: &mut u32, world: &mut World) -> Option<(Event, bool)> {
        if world.chance.hit(world.faults.no_buffers) {
            return Some((received(Err(Errno::ENOBUFS), false, false), true));
        }
        let Some(id) = self.lent.pop() else {
            return Some((received(Err(Errno::ENOBUFS), false, false), true));
        };
        let most = shorten(u64::from(self.buffers.size()), world);
        let answer = world.conns[conn].tcp.recv(Side::Program, most);
        let Poll::Ready(Ok(count @ 1..)) = answer else {
            self.lent.push(id);
            let Poll::Ready(end) = answer else {
                return None;
            };
            return Some((received(end.map(|_| Lease::EMPTY), false, false), true));
        };
        world.nudge(conn);
        let position = world.conns[conn].tcp.incoming(Side::Program).read - count;
        let len = usize::try_from(count).expect("at most a buffer");
        let bytes = &mut self.buffers.lent_mut(id)[..len];
        world.conns[conn].fill(conn as u64, position, bytes);
        let count = u32::try_from(count).expect("at most a buffer");
        let lease = self.buffers.take_back(id, count);
        world.check_held(conn);
        *left = left.saturating_sub(count);
        let more = self.mode.multishot && *left > 0 && self.goes_on(world);
        let nonempty = world.conns[conn].tcp.unread(Side::Program) > 0;
        Some((received(Ok(lease), more, nonempty), !more))
    }

    fn send(&mut self, conn: usize, lease: &mut Lease, world: &mut World) -> Option<Event> {
        let want = shorten(u64::from(lease.len()), world);
        let answer = world.conns[conn]
            .tcp
            .send(Side::Program, want, &mut world.agenda);
        let Poll::Ready(answer) = answer else {
            return None;
        };
        let mut rest = lease.take();
        let result = answer.map(|count| {
            let position = world.conns[conn].tcp.outgoing(Side::Program).written - count;
            self.check_pieces(conn, position, &rest, count, world);
            let count = u32::try_from(count).expect("at most the lease");
            self.buffers.consume(&mut rest, count);
            count
        });
        Some(Event::Sent { result, rest })
    }

    fn check_pieces(
        &self,
        conn: usize,
        mut position: u64,
        lease: &Lease,
        count: u64,
        world: &mut World,
    ) {
        let end = position + count;
        for bytes in self.buffers.segments(lease) {
            let left = usize::try_from(end - position).unwrap_or(usize::MAX);
            let bytes = &bytes[..bytes.len().min(left)];
            world.check_sent(conn, position, bytes);
            position += bytes.len() as u64;
        }
    }
}

pub(super) fn shorten(most: u64, world: &mut World) -> u64 {
    if world.chance.hit(world.faults.short) {
        world.chance.within(1, most)
    } else {
        most
    }
}

fn received(result: Result<Lease, Errno>, more: bool, nonempty: bool) -> Event {
    Event::Received {
        result,
        more,
        nonempty,
    }
}

fn dialed(ring: usize, tag: Tag, dial: Dial, world: &mut World) -> Event {
    let result = match dial {
        Dial::Refused(error) => Err(error),
        Dial::Going { conn, number, .. } => match world.conns[conn].stage {
            Stage::Dialing(Verdict::Given(Ok(()))) => {
                world.conns[conn].stage = Stage::Held;
                world.name(ring, tag, conn);
                Ok(Sock::simulated(number))
            }
            Stage::Dialing(Verdict::Given(Err(error))) => {
                world.close_fd(number);
                world.abandon_dial(conn, false);
                Err(error)
            }
            Stage::Dialing(Verdict::Pending(_))
            | Stage::Planned { .. }
            | Stage::Queued
            | Stage::Held
            | Stage::Gone => unreachable!("a dial happens when its verdict is in"),
        },
    };
    let local = match dial {
        Dial::Going { local, .. } => local,
        Dial::Refused(_) => None,
    };
    Event::Dialed { result, local }
}

fn cancelled(wait: &mut Wait, held: u32, world: &mut World) -> Event {
    let gone = Errno::ECANCELED;
    match wait {
        Wait::Accept { .. } => Event::Accepted {
            result: Err(gone),
            more: false,
        },
        Wait::Dial(dial) => {
            if let Dial::Going { conn, number, .. } = *dial {
                world.close_fd(number);
                world.abandon_dial(conn, false);
            }
            Event::Dialed {
                result: Err(gone),
                local: None,
            }
        }
        Wait::Recv { .. } => received(Err(gone), false, false),
        Wait::Send { lease, .. } => Event::Sent {
            result: Err(gone),
            rest: lease.take(),
        },
        Wait::Splice { .. } => Event::Spliced {
            taken: 0,
            given: 0,
            held,
            stop: Stop::Cancelled,
        },
        Wait::Poll { .. } => Event::Polled {
            result: Err(gone),
            more: false,
        },
    }
}
