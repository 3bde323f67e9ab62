//! One TCP connection: two directions of counted bytes with a window each, FIN and RST, and what each end's system
//! calls would answer. Bytes are counted, not stored: what they are follows from their position (`pattern`).
//!
//! Kept as Linux keeps it: bytes received before a reset are delivered first, then ECONNRESET once, then EOF and EPIPE;
//! a reset that follows a FIN is seen by sends alone, as EPIPE; closing with unread bytes resets.

use super::agenda::{Agenda, Happening};
use crate::ring::{Errno, Time};
use std::collections::VecDeque;
use std::task::Poll;
use std::time::Duration;

/// Which end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// The simulated client or backend.
    Actor,
    /// The program under test.
    Program,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Actor => Self::Program,
            Self::Program => Self::Actor,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Segment {
    Bytes(u64),
    Fin,
    Reset,
    /// Not a segment: the sender has been silent for so long that the receiver's kernel gives up.
    Silence,
}

/// How far a direction's FIN has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Fin {
    /// The sender may send more.
    Unsent,
    /// On its way.
    Sent,
    /// At the receiver, behind whatever bytes are unread.
    Arrived,
    /// The receiver has been told.
    Read,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Pipe {
    window: u64,
    /// Bytes that the sender's system call took.
    pub(super) written: u64,
    /// Bytes that reached the receiver's socket.
    pub(super) arrived: u64,
    /// Bytes that the receiver's system call gave out.
    pub(super) read: u64,
    /// Its end.
    pub(super) fin: Fin,
    transit: VecDeque<Segment>,
    last_arrival: Time,
}

impl Pipe {
    fn new(window: u64) -> Self {
        Self {
            window,
            written: 0,
            arrived: 0,
            read: 0,
            fin: Fin::Unsent,
            transit: VecDeque::new(),
            last_arrival: Time::default(),
        }
    }

    fn room(&self) -> u64 {
        self.window.saturating_sub(self.written - self.read)
    }

    fn unread(&self) -> u64 {
        self.arrived - self.read
    }
}

/// What an end's owner did to it, and what the network did.
#[derive(Debug, Default)]
struct End {
    shut_read: bool,
    closed: bool,
    /// A reset came or went: nothing moves any more.
    dead: bool,
    /// A receive was told the end of the stream.
    told_end: bool,
    /// To be reported once, by whichever call comes first.
    error: Option<Errno>,
}

/// Both directions and both ends.
#[derive(Debug)]
pub(super) struct Tcp {
    conn: usize,
    latency: Duration,
    to_program: Pipe,
    to_actor: Pipe,
    actor: End,
    program: End,
    /// Counts what may wake a poll of the program's end.
    pub(super) wakeups: u64,
}

impl Tcp {
    /// An established connection: `window` is what each direction holds between the two programs.
    pub(super) fn new(conn: usize, latency: Duration, window_up: u64, window_down: u64) -> Self {
        Self {
            conn,
            latency,
            to_program: Pipe::new(window_up),
            to_actor: Pipe::new(window_down),
            actor: End::default(),
            program: End::default(),
            wakeups: 0,
        }
    }

    fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Actor => &mut self.actor,
            Side::Program => &mut self.program,
        }
    }

    fn view(&self, side: Side) -> &End {
        match side {
            Side::Actor => &self.actor,
            Side::Program => &self.program,
        }
    }

    /// The direction that this end sends into.
    pub(super) fn outgoing(&self, side: Side) -> &Pipe {
        self.incoming(side.other())
    }

    /// The direction that this end receives from.
    pub(super) fn incoming(&self, side: Side) -> &Pipe {
        match side {
            Side::Actor => &self.to_actor,
            Side::Program => &self.to_program,
        }
    }

    fn pipe(&mut self, to: Side) -> &mut Pipe {
        match to {
            Side::Actor => &mut self.to_actor,
            Side::Program => &mut self.to_program,
        }
    }

    /// Whether a reset ended it, seen from this end.
    pub(super) fn is_dead(&self, side: Side) -> bool {
        self.view(side).dead
    }

    /// Whether a receive at this end was told that the stream is over: by a FIN, or after a send was told of a reset.
    pub(super) fn was_told_end(&self, side: Side) -> bool {
        self.view(side).told_end
    }

    /// Bytes waiting to be read at this end.
    pub(super) fn unread(&self, side: Side) -> u64 {
        self.incoming(side).unread()
    }

    /// Whether a send at this end would answer at once.
    pub(super) fn can_send(&self, side: Side) -> bool {
        let end = self.view(side);
        let pipe = self.outgoing(side);
        end.error.is_some() || end.dead || pipe.fin != Fin::Unsent || pipe.room() > 0
    }

    /// Whether a receive at this end would answer at once.
    pub(super) fn can_recv(&self, side: Side) -> bool {
        let end = self.view(side);
        let pipe = self.incoming(side);
        pipe.unread() > 0
            || pipe.fin >= Fin::Arrived
            || end.error.is_some()
            || end.dead
            || end.shut_read
    }

    /// How many of `want` bytes a send takes: send(2) on a non-blocking socket.
    pub(super) fn send(
        &mut self,
        side: Side,
        want: u64,
        agenda: &mut Agenda,
    ) -> Poll<Result<u64, Errno>> {
        if let Some(error) = self.end(side).error.take() {
            return Poll::Ready(Err(error));
        }
        if self.view(side).dead || self.outgoing(side).fin != Fin::Unsent {
            return Poll::Ready(Err(Errno::EPIPE));
        }
        let taken = want.min(self.outgoing(side).room());
        if taken == 0 {
            return Poll::Pending;
        }
        self.pipe(side.other()).written += taken;
        self.put(side, Segment::Bytes(taken), agenda);
        Poll::Ready(Ok(taken))
    }

    /// How many bytes a receive of at most `most` gives, 0 at the end: recv(2) on a non-blocking socket.
    pub(super) fn recv(&mut self, side: Side, most: u64) -> Poll<Result<u64, Errno>> {
        let pipe = self.pipe(side);
        let given = pipe.unread().min(most);
        if given > 0 {
            pipe.read += given;
            return Poll::Ready(Ok(given));
        }
        if pipe.fin >= Fin::Arrived {
            pipe.fin = Fin::Read;
            self.end(side).told_end = true;
            return Poll::Ready(Ok(0));
        }
        let end = self.end(side);
        if let Some(error) = end.error.take() {
            return Poll::Ready(Err(error));
        }
        if end.dead || end.shut_read {
            end.told_end = true;
            return Poll::Ready(Ok(0));
        }
        Poll::Pending
    }

    /// shutdown(2).
    pub(super) fn shutdown(&mut self, side: Side, both: bool, agenda: &mut Agenda) {
        if both {
            self.end(side).shut_read = true;
        }
        self.fin(side, agenda);
    }

    /// close(2), with SO_LINGER 0 when `reset`.
    pub(super) fn close(&mut self, side: Side, reset: bool, agenda: &mut Agenda) {
        assert!(!self.view(side).closed, "the simulator closes an end once");
        self.end(side).closed = true;
        if reset || self.unread(side) > 0 {
            self.reset(side, agenda);
        } else {
            self.fin(side, agenda);
        }
    }

    fn fin(&mut self, side: Side, agenda: &mut Agenda) {
        if !self.view(side).dead && self.outgoing(side).fin == Fin::Unsent {
            self.pipe(side.other()).fin = Fin::Sent;
            self.put(side, Segment::Fin, agenda);
        }
    }

    /// This end gives up: what the other has not got yet may never come, then a reset does.
    fn reset(&mut self, side: Side, agenda: &mut Agenda) {
        if self.view(side).dead {
            return;
        }
        self.end(side).dead = true;
        // Bytes beyond what one flight carries were still in the sender's queue: they are lost.
        self.pipe(side.other()).transit.truncate(2);
        self.put(side, Segment::Reset, agenda);
    }

    /// The host of this end is gone without a word: the other end finds out after `timeout` (TCP_USER_TIMEOUT, tcp(7)).
    pub(super) fn vanish(&mut self, side: Side, timeout: Duration, agenda: &mut Agenda) {
        if self.view(side).dead {
            return;
        }
        let end = self.end(side);
        (end.closed, end.dead) = (true, true);
        let pipe = self.pipe(side.other());
        pipe.last_arrival = pipe.last_arrival.max(agenda.now() + timeout);
        self.put(side, Segment::Silence, agenda);
    }

    fn put(&mut self, from: Side, segment: Segment, agenda: &mut Agenda) {
        let arrival = agenda.now() + self.latency;
        let pipe = self.pipe(from.other());
        pipe.last_arrival = pipe.last_arrival.max(arrival);
        pipe.transit.push_back(segment);
        let when = pipe.last_arrival;
        let to_actor = from == Side::Program;
        agenda.at(
            when,
            Happening::Segment {
                conn: self.conn,
                to_actor,
            },
        );
    }

    /// The next segment reaches this end.
    pub(super) fn arrive(&mut self, to: Side, agenda: &mut Agenda) {
        let Some(segment) = self.pipe(to).transit.pop_front() else {
            return; // its sender reset and took it back
        };
        if self.view(to).dead {
            return;
        }
        match segment {
            Segment::Bytes(_) if self.takes_no_more(to) => {
                self.end(to).error = Some(Errno::ECONNRESET);
                self.reset(to, agenda);
            }
            Segment::Bytes(count) => self.pipe(to).arrived += count,
            Segment::Fin => self.pipe(to).fin = Fin::Arrived,
            Segment::Reset => self.die(to),
            Segment::Silence => {
                self.die(to);
                self.end(to).error = Some(Errno::ETIMEDOUT);
            }
        }
        if to == Side::Program {
            self.wakeups += 1;
        }
    }

    /// Closed, or shut down both ways: Linux answers new bytes with a reset.
    fn takes_no_more(&self, side: Side) -> bool {
        let end = self.view(side);
        end.closed || (end.shut_read && self.outgoing(side).fin != Fin::Unsent)
    }

    fn die(&mut self, side: Side) {
        let after_fin = self.incoming(side).fin >= Fin::Arrived;
        self.pipe(side.other()).transit.clear();
        let end = self.end(side);
        end.dead = true;
        // tcp_reset(): in CLOSE_WAIT the error is EPIPE.
        end.error = Some(if after_fin {
            Errno::EPIPE
        } else {
            Errno::ECONNRESET
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Tcp, Agenda) {
        (
            Tcp::new(0, Duration::from_micros(10), 100, 100),
            Agenda::default(),
        )
    }

    fn settle(tcp: &mut Tcp, agenda: &mut Agenda) {
        while let Some(next) = agenda.next() {
            agenda.jump(next);
            while let Some(event) = agenda.due() {
                let Happening::Segment { to_actor, .. } = event else {
                    panic!("a connection alone plans nothing but segments, not {event:?}")
                };
                tcp.arrive(if to_actor { Side::Actor } else { Side::Program }, agenda);
            }
        }
    }

    #[test]
    fn a_window_holds_what_the_reader_has_not_read() {
        let (mut tcp, mut agenda) = pair();
        assert_eq!(
            tcp.send(Side::Actor, 150, &mut agenda),
            Poll::Ready(Ok(100))
        );
        assert_eq!(tcp.send(Side::Actor, 50, &mut agenda), Poll::Pending);
        assert_eq!(
            tcp.recv(Side::Program, 50),
            Poll::Pending,
            "nothing has arrived yet"
        );
        settle(&mut tcp, &mut agenda);
        assert_eq!(tcp.recv(Side::Program, 30), Poll::Ready(Ok(30)));
        assert_eq!(tcp.send(Side::Actor, 50, &mut agenda), Poll::Ready(Ok(30)));
    }

    #[test]
    fn bytes_before_a_reset_are_delivered_then_one_error_then_eof_and_epipe() {
        let (mut tcp, mut agenda) = pair();
        assert_eq!(tcp.send(Side::Actor, 10, &mut agenda), Poll::Ready(Ok(10)));
        tcp.close(Side::Actor, true, &mut agenda);
        settle(&mut tcp, &mut agenda);
        assert_eq!(tcp.recv(Side::Program, 99), Poll::Ready(Ok(10)));
        assert_eq!(
            tcp.recv(Side::Program, 99),
            Poll::Ready(Err(Errno::ECONNRESET))
        );
        assert_eq!(tcp.recv(Side::Program, 99), Poll::Ready(Ok(0)));
        assert_eq!(
            tcp.send(Side::Program, 1, &mut agenda),
            Poll::Ready(Err(Errno::EPIPE))
        );
    }

    #[test]
    fn a_fin_follows_its_bytes_and_leaves_the_other_direction_open() {
        let (mut tcp, mut agenda) = pair();
        assert_eq!(tcp.send(Side::Program, 5, &mut agenda), Poll::Ready(Ok(5)));
        tcp.shutdown(Side::Program, false, &mut agenda);
        settle(&mut tcp, &mut agenda);
        assert_eq!(tcp.recv(Side::Actor, 99), Poll::Ready(Ok(5)));
        assert_eq!(tcp.recv(Side::Actor, 99), Poll::Ready(Ok(0)));
        assert_eq!(tcp.send(Side::Actor, 7, &mut agenda), Poll::Ready(Ok(7)));
        settle(&mut tcp, &mut agenda);
        assert_eq!(tcp.recv(Side::Program, 99), Poll::Ready(Ok(7)));
    }

    #[test]
    fn closing_with_unread_bytes_resets() {
        let (mut tcp, mut agenda) = pair();
        assert_eq!(tcp.send(Side::Actor, 5, &mut agenda), Poll::Ready(Ok(5)));
        settle(&mut tcp, &mut agenda);
        tcp.close(Side::Program, false, &mut agenda);
        settle(&mut tcp, &mut agenda);
        assert_eq!(
            tcp.recv(Side::Actor, 9),
            Poll::Ready(Err(Errno::ECONNRESET))
        );
    }

    #[test]
    fn bytes_to_a_closed_end_come_back_as_a_reset_that_only_sends_see_after_a_fin() {
        let (mut tcp, mut agenda) = pair();
        tcp.close(Side::Actor, false, &mut agenda);
        settle(&mut tcp, &mut agenda);
        assert_eq!(tcp.send(Side::Program, 5, &mut agenda), Poll::Ready(Ok(5)));
        settle(&mut tcp, &mut agenda);
        assert_eq!(tcp.recv(Side::Program, 9), Poll::Ready(Ok(0)));
        assert_eq!(
            tcp.send(Side::Program, 5, &mut agenda),
            Poll::Ready(Err(Errno::EPIPE))
        );
    }

    #[test]
    fn a_host_that_vanishes_is_a_timeout_and_no_reset() {
        let (mut tcp, mut agenda) = pair();
        tcp.vanish(Side::Actor, Duration::from_secs(30), &mut agenda);
        assert_eq!(
            tcp.send(Side::Program, 1, &mut agenda),
            Poll::Ready(Ok(1)),
            "nobody knows yet"
        );
        settle(&mut tcp, &mut agenda);
        assert_eq!(agenda.now(), Time::default() + Duration::from_secs(30));
        assert_eq!(
            tcp.recv(Side::Program, 9),
            Poll::Ready(Err(Errno::ETIMEDOUT))
        );
    }

    #[test]
    fn shutting_both_ways_ends_the_receive_after_what_was_there() {
        let (mut tcp, mut agenda) = pair();
        assert_eq!(tcp.send(Side::Actor, 5, &mut agenda), Poll::Ready(Ok(5)));
        settle(&mut tcp, &mut agenda);
        tcp.shutdown(Side::Program, true, &mut agenda);
        assert_eq!(tcp.recv(Side::Program, 9), Poll::Ready(Ok(5)));
        assert_eq!(tcp.recv(Side::Program, 9), Poll::Ready(Ok(0)));
    }
}
