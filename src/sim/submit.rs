//! Ops on their way in: the rules that callers promised to keep, then into the table of what is in flight.

use super::agenda::Happening;
use super::inflight::{Dial, NO_SOCKET, Wait};
use super::ring::{Posted, SimRing};
use super::tcp::Side;
use super::world::{Fd, World};
use crate::ring::{Completion, Errno, Event, Op, OpKind, Readiness, Sock, SockRef, Tag};
use std::net::SocketAddr;
use std::time::Duration;

impl SimRing {
    pub(super) fn submit(&mut self, op: Op, world: &mut World) {
        let now = world.now();
        world.trace.op(now, &op);
        match op {
            Op::Accept { tag, listener } => self.submit_accept(tag, listener, world),
            Op::TurnAway { listener } => {
                let listener = open_listener(listener, world);
                world.drop_queued(listener);
            }
            Op::Dial {
                tag, peer, asking, ..
            } => {
                self.inflight.check_lane(world, tag, OpKind::Dial);
                world.check_dial(self.number, tag);
                let dial = begin_dial((self.number, tag), peer, asking, world);
                let number = match dial {
                    Dial::Going { number, .. } => number,
                    Dial::Refused(_) => NO_SOCKET,
                };
                self.launch(tag, number, Wait::Dial(dial), world);
            }
            Op::Recv {
                tag,
                sock,
                budget,
                poll_first,
            } => {
                let conn = self.take_off(tag, sock, OpKind::Recv, world);
                let wait = Wait::Recv {
                    conn,
                    left: budget,
                    poll_first: poll_first && !self.mode.multishot,
                };
                self.launch(tag, sock.number(), wait, world);
            }
            Op::Send {
                tag, sock, lease, ..
            } => {
                let conn = self.take_off(tag, sock, OpKind::Send, world);
                if lease.is_empty() {
                    world.fail(format_args!("send of nothing on socket {}", sock.number()));
                }
                world.on_send(conn);
                self.launch(tag, sock.number(), Wait::Send { conn, lease }, world);
                if self.buffers.is_scarce() && !world.conns[conn].tcp.can_send(Side::Program) {
                    self.shed(tag);
                }
            }
            Op::Splice {
                tag,
                from,
                to,
                budget,
                wait,
            } => self.submit_splice(tag, (from, to), budget, wait, world),
            Op::NotsentLowat { sock, .. } => {
                if world.held(sock.number()).is_none() {
                    world.fail(format_args!(
                        "limit for {}, which is not open",
                        sock.number()
                    ));
                }
            }
            Op::Discard { tag } => self.pipes.discard(tag, &self.inflight, world),
            Op::Poll { tag, sock } => self.submit_poll(tag, sock, world),
            Op::Cancel { tag, what } => self.inflight.cancel(tag, what),
            Op::Unsent { tag, sock } => self.answer_unsent(tag, sock, world),
            Op::Shed { tag } => self.shed(tag),
            Op::Shutdown { sock, both } => shutdown(sock, both, world),
            Op::Close { sock, reset } => self.close(sock, reset, world),
        }
    }

    /// A send that has not happened yet waits, as if it were parked.
    fn shed(&mut self, tag: Tag) {
        if let Some(lease) = self.inflight.waiting_send(tag) {
            self.buffers.spill(lease);
        }
    }

    fn submit_accept(&mut self, tag: Tag, listener: SockRef, world: &mut World) {
        self.check_rules(tag, listener, OpKind::Accept, world);
        let index = open_listener(listener, world);
        let wait = Wait::Accept { listener: index };
        self.launch(tag, listener.number(), wait, world);
    }

    fn submit_poll(&mut self, tag: Tag, sock: SockRef, world: &mut World) {
        self.check_rules(tag, sock, OpKind::Poll, world);
        let number = sock.number();
        let Some(fd) = world.fd(number) else {
            world.fail(format_args!("poll of {number}, which is not open"));
        };
        let seen = None;
        self.launch(tag, number, Wait::Poll { fd, number, seen }, world);
    }

    fn submit_splice(
        &mut self,
        tag: Tag,
        (from, to): (SockRef, SockRef),
        budget: u32,
        wait: Option<Readiness>,
        world: &mut World,
    ) {
        let source = self.take_off(tag, from, OpKind::Splice, world);
        let Some(sink) = world.held(to.number()) else {
            world.fail(format_args!(
                "splice into {}, which is not open",
                to.number()
            ));
        };
        if world.conns[source].partner != Some(sink) {
            world.fail(format_args!(
                "splice from connection {source} into {sink}, a stranger"
            ));
        }
        let wait = Wait::Splice {
            from: source,
            to: sink,
            budget,
            wait,
        };
        self.launch_between(tag, (from.number(), to.number()), wait, world);
    }

    fn check_rules(&self, tag: Tag, sock: SockRef, kind: OpKind, world: &World) {
        self.inflight.check_lane(world, tag, kind);
        self.inflight.check_socket(world, sock.number(), kind);
    }

    /// The rules of a receive or send; the connection it is on.
    fn take_off(&self, tag: Tag, sock: SockRef, kind: OpKind, world: &mut World) -> usize {
        self.check_rules(tag, sock, kind, world);
        let number = sock.number();
        let Some(conn) = world.held(number) else {
            world.fail(format_args!(
                "{kind:?} on socket {number}, which is not open"
            ));
        };
        world.name(self.number, tag, conn);
        conn
    }

    fn launch(&mut self, tag: Tag, number: i32, wait: Wait, world: &mut World) {
        self.launch_between(tag, (number, NO_SOCKET), wait, world);
    }

    fn launch_between(&mut self, tag: Tag, numbers: (i32, i32), wait: Wait, world: &mut World) {
        self.haunt(tag, wait.kind(), world);
        let mut begin = world.now();
        if world.chance.hit(world.faults.late_start) {
            begin = begin + world.chance.pause(Duration::from_millis(5));
            world.agenda.at(begin, Happening::Ring);
        }
        self.inflight.add(tag, numbers, wait, begin);
    }

    fn close(&mut self, sock: Sock, reset: bool, world: &mut World) {
        let number = sock.into_simulated();
        self.inflight.check_close(world, number);
        self.pipes.check_close(number, world);
        match world.fd(number) {
            Some(Fd::Conn(conn)) => {
                if !reset {
                    world.check_fin(conn);
                }
                world.leave(conn, reset);
            }
            Some(Fd::Listener(listener)) => {
                world.listeners[listener].open = false;
                while !world.listeners[listener].queue.is_empty() {
                    world.drop_queued(listener);
                }
            }
            Some(Fd::Bell { .. }) => {}
            None => world.fail(format_args!(
                "close of socket {number}, which is not open: closed twice?"
            )),
        }
        world.close_fd(number);
    }

    fn answer_unsent(&mut self, tag: Tag, sock: SockRef, world: &mut World) {
        let number = sock.number();
        let Some(Fd::Conn(conn)) = world.fd(number) else {
            world.fail(format_args!(
                "asked about socket {number}, which is no connection"
            ));
        };
        let bytes = u32::try_from(world.unarrived(conn)).unwrap_or(u32::MAX);
        let due = world.now();
        world.agenda.at(due, Happening::Ring);
        self.posted.push(Posted {
            flight: None,
            completion: Completion {
                tag,
                event: Event::Unsent { bytes },
            },
            due,
            last: false,
        });
    }

    /// Now and then, something arrives for whoever had this slot before.
    fn haunt(&mut self, tag: Tag, kind: OpKind, world: &mut World) {
        let before = self
            .earlier
            .insert((tag.slot, tag.lane, kind), tag.generation);
        let Some(generation) = before.filter(|generation| *generation != tag.generation) else {
            return;
        };
        if !world.chance.hit(world.faults.stale) {
            return;
        }
        let stale = Tag { generation, ..tag };
        let nobody = SocketAddr::from(([192, 0, 2, 1], 1));
        let event = match kind {
            OpKind::Accept => {
                let result = Ok((world.ghost(nobody), nobody));
                Event::Accepted {
                    result,
                    more: false,
                }
            }
            OpKind::Dial => Event::Dialed {
                result: Ok(world.ghost(nobody)),
                local: None,
            },
            OpKind::Recv => {
                let Some(id) = self.lent.pop() else { return };
                self.buffers.lent_mut(id)[0] = b'?';
                let result = Ok(self.buffers.take_back(id, 1));
                Event::Received {
                    result,
                    more: false,
                    nonempty: false,
                }
            }
            // The ring itself knows whose send or splice it was; a poll carries nothing.
            OpKind::Send | OpKind::Splice | OpKind::Poll => return,
        };
        let due = world.now() + world.chance.pause(Duration::from_millis(20));
        world.agenda.at(due, Happening::Ring);
        let completion = Completion { tag: stale, event };
        self.posted.push(Posted {
            flight: None,
            completion,
            due,
            last: false,
        });
    }
}

fn begin_dial(
    (ring, tag): (usize, Tag),
    peer: SocketAddr,
    asking: Option<SockRef>,
    world: &mut World,
) -> Dial {
    world.on_dial(ring, tag, peer);
    let local = asking.map(|sock| match world.held(sock.number()) {
        Some(client) => world.conns[client].local,
        None => world.fail(format_args!("asked about {sock:?}, which is not open")),
    });
    if world.chance.hit(world.faults.dial) {
        return Dial::Refused(world.chance.pick(&[Errno::EMFILE, Errno::EADDRNOTAVAIL]));
    }
    let conn = world.dial(peer);
    let number = world.open_fd(Fd::Conn(conn));
    Dial::Going {
        conn,
        number,
        local,
    }
}

fn open_listener(sock: SockRef, world: &World) -> usize {
    let number = sock.number();
    let Some(Fd::Listener(listener)) = world.fd(number) else {
        world.fail(format_args!(
            "accept on {number}, which is no open listener"
        ));
    };
    listener
}

fn shutdown(sock: SockRef, both: bool, world: &mut World) {
    let number = sock.number();
    match world.fd(number) {
        Some(Fd::Conn(conn)) => {
            world.check_fin(conn);
            world.shutdown(conn, both);
        }
        Some(Fd::Listener(listener)) => world.listeners[listener].shut = true,
        Some(Fd::Bell { .. }) => {}
        None => world.fail(format_args!(
            "shutdown of socket {number}, which is not open"
        )),
    }
}
