//! What happens in a world when its time comes: segments arrive, clients come, dials are answered, actors act.

use super::actor::Script;
use super::agenda::Happening;
use super::opening::Opening;
use super::tcp::Side;
use super::world::{Fd, Stage, Verdict, World};
use crate::ring::Errno;
use std::net::SocketAddr;
use std::time::Duration;

impl World {
    /// Lets everything happen that is due.
    pub(super) fn run_due(&mut self) {
        while let Some(event) = self.agenda.due() {
            match event {
                Happening::Ring => {}
                Happening::Act { conn } => self.act(conn),
                Happening::Dialed { conn } => self.on_verdict(conn),
                Happening::Segment { conn, to_actor } => {
                    let side = if to_actor { Side::Actor } else { Side::Program };
                    self.conns[conn].tcp.arrive(side, &mut self.agenda);
                    if to_actor {
                        self.check_let_go(conn);
                        self.act(conn);
                    }
                }
            }
        }
    }

    fn act(&mut self, conn: usize) {
        let it = &mut self.conns[conn];
        match it.stage {
            Stage::Planned { listener } => self.arrive_at(listener, conn),
            Stage::Dialing(Verdict::Pending(_) | Verdict::Given(Err(_))) => {}
            Stage::Dialing(Verdict::Given(Ok(()))) | Stage::Queued | Stage::Held | Stage::Gone => {
                let tunnel = it.tunnel.as_deref_mut();
                it.actor.act(conn, &mut it.tcp, tunnel, &mut self.agenda);
            }
        }
    }

    fn arrive_at(&mut self, listener: usize, conn: usize) {
        let it = &mut self.conns[conn];
        if self.listeners[listener].open {
            it.stage = Stage::Queued;
            it.actor.start(conn, &mut self.agenda);
            self.listeners[listener].queue.push_back(conn);
        } else {
            it.stage = Stage::Gone; // ECONNREFUSED
            it.actor.give_up();
        }
    }

    /// Takes a connection out of a listener's queue and gives it a descriptor.
    pub(super) fn accept(&mut self, listener: usize) -> Option<(i32, SocketAddr)> {
        let conn = self.listeners[listener].queue.pop_front()?;
        self.conns[conn].stage = Stage::Held;
        let number = self.open_fd(Fd::Conn(conn));
        Some((number, self.conns[conn].address))
    }

    /// A connection of the accept queue that the program never gets (ECONNABORTED, or the listener closed).
    pub(super) fn drop_queued(&mut self, listener: usize) {
        if let Some(conn) = self.listeners[listener].queue.pop_front() {
            self.leave(conn, true);
        }
    }

    /// The program's end closes.
    pub(super) fn leave(&mut self, conn: usize, reset: bool) {
        self.on_fin(conn);
        let it = &mut self.conns[conn];
        it.stage = Stage::Gone;
        it.closed = Some(self.agenda.now());
        it.tcp.close(Side::Program, reset, &mut self.agenda);
    }

    /// A connection to `peer` begins; its verdict comes later.
    pub(super) fn dial(&mut self, peer: SocketAddr) -> usize {
        let script = match self.backends.get(&peer) {
            Some(Some(script)) => script.clone(),
            Some(None) => Script::draw_backend(&mut self.chance, &self.faults),
            None => Script::answers(),
        };
        let (verdict, pause) = self.draw_verdict(self.backends.contains_key(&peer));
        let stage = Stage::Dialing(Verdict::Pending(verdict));
        let conn = self.add_conn(script, peer, stage, Opening::default());
        self.agenda.after(pause, Happening::Dialed { conn });
        conn
    }

    fn draw_verdict(&mut self, known: bool) -> (Result<(), Errno>, Duration) {
        let near = self.chance.pause(Duration::from_millis(40));
        if !known {
            (Err(Errno::ECONNREFUSED), near)
        } else if self.chance.hit(self.faults.refuse) {
            let no = [
                Errno::ECONNREFUSED,
                Errno::ECONNREFUSED,
                Errno::EHOSTUNREACH,
            ];
            (Err(self.chance.pick(&no)), near)
        } else if self.chance.hit(self.faults.silence) {
            // tcp_syn_retries 6 gives up after 127 s (tcp(7)).
            (Err(Errno::ETIMEDOUT), Duration::from_secs(127))
        } else if self.chance.hit(self.faults.slow_dial) {
            (
                Ok(()),
                Duration::from_millis(self.chance.within(1_000, 7_000)),
            )
        } else {
            (Ok(()), near)
        }
    }

    fn on_verdict(&mut self, conn: usize) {
        let it = &mut self.conns[conn];
        let Stage::Dialing(Verdict::Pending(verdict)) = it.stage else {
            return; // the dial was cancelled
        };
        it.stage = Stage::Dialing(Verdict::Given(verdict));
        match verdict {
            Ok(()) => it.actor.start(conn, &mut self.agenda),
            Err(_) => it.actor.give_up(),
        }
    }

    /// The program gave up a dial that had not been answered, or whose answer nobody will get.
    pub(super) fn abandon_dial(&mut self, conn: usize, reset: bool) {
        let it = &mut self.conns[conn];
        match it.stage {
            Stage::Dialing(Verdict::Given(Ok(()))) => self.leave(conn, reset),
            Stage::Dialing(Verdict::Pending(_) | Verdict::Given(Err(_))) => {
                it.stage = Stage::Gone;
                it.actor.give_up();
            }
            Stage::Planned { .. } | Stage::Queued | Stage::Held | Stage::Gone => {
                unreachable!("only a dialing connection has a dial to give up")
            }
        }
    }
}
