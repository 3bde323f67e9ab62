//! Simulated clients and backends: a script of what to send and when to end, and an appetite for what comes back.

use super::agenda::{Agenda, Happening};
use super::chance::Chance;
use super::faults::Faults;
use super::tcp::{Side, Tcp};
use super::tunnel::Tunnel;
use crate::ring::Time;
use std::collections::VecDeque;
use std::task::Poll;
use std::time::Duration;

/// One thing an actor does before the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Send so many bytes of its stream.
    Send(u64),
    /// Do nothing for so long (it goes on reading).
    Pause(Duration),
    /// Wait until so many bytes in all have been read, or the other side has ended; at most so long.
    Await(u64, Duration),
    /// Wait for the other side's end; at most so long.
    AwaitEnd(Duration),
    /// Send as many bytes as were read, until the other side has ended.
    Answer,
    /// Send no more (FIN), read on.
    Fin,
    /// close(2), whatever is unread.
    Close,
    /// Reset the connection.
    Reset,
    /// Be gone without a word, as a host without power; the other end finds out after so long.
    Vanish(Duration),
}

/// How an actor reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Appetite {
    /// Everything, at once.
    Eager,
    /// At most so many bytes each time.
    Slow {
        /// Bytes a read takes.
        most: u64,
        /// From one read to the next.
        every: Duration,
    },
    /// Nothing for so long, then everything.
    Late(Duration),
}

/// What an actor will do. It ends by closing once its steps are done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Script {
    /// In this order.
    pub steps: Vec<Step>,
    /// Beside the steps.
    pub appetite: Appetite,
}

/// Longer than any answer takes: three silent dials are 381 s.
const PATIENCE: Duration = Duration::from_secs(1_000);

impl Script {
    /// Sends `up` bytes, ends, and waits for the other side to end.
    pub fn sends(up: u64) -> Self {
        Self {
            steps: vec![Step::Send(up), Step::Fin, Step::AwaitEnd(PATIENCE)],
            appetite: Appetite::Eager,
        }
    }

    /// Answers each byte with one of its own until the other side ends, then ends.
    pub fn answers() -> Self {
        Self {
            steps: vec![Step::Answer, Step::Fin],
            appetite: Appetite::Eager,
        }
    }

    /// A client of a world with these faults.
    pub fn draw_client(chance: &mut Chance, faults: &Faults) -> Self {
        let mut steps = Vec::new();
        for _ in 0..chance.below(4) {
            steps.push(Step::Pause(chance.pause(Duration::from_millis(200))));
            steps.push(Step::Send(draw_size(chance)));
        }
        if chance.below(2) == 0 {
            steps.push(Step::AwaitEnd(chance.pause(Duration::from_secs(2))));
        }
        steps.extend([Step::Fin, Step::AwaitEnd(PATIENCE)]);
        Self {
            steps,
            appetite: Appetite::Eager,
        }
        .spoil(chance, faults)
    }

    /// A backend of this world.
    pub(super) fn draw_backend(chance: &mut Chance, faults: &Faults) -> Self {
        let mut steps = Vec::new();
        if chance.below(3) == 0 {
            steps.push(Step::Send(draw_size(chance))); // speaks first
        }
        match chance.below(4) {
            0 => steps.extend([Step::Fin, Step::AwaitEnd(PATIENCE)]), // ends first
            1 => steps.extend([
                Step::AwaitEnd(PATIENCE),
                Step::Send(draw_size(chance)), // long after the client's end
                Step::Fin,
            ]),
            2 => steps.extend([
                Step::Send(draw_size(chance)),
                Step::Pause(chance.pause(Duration::from_millis(100))),
                Step::Answer,
                Step::Fin,
            ]),
            _ => steps.extend([Step::Answer, Step::Fin]),
        }
        Self {
            steps,
            appetite: Appetite::Eager,
        }
        .spoil(chance, faults)
    }

    /// What this world's faults make of it.
    fn spoil(mut self, chance: &mut Chance, faults: &Faults) -> Self {
        if chance.hit(faults.slow_reader) {
            self.appetite = match chance.below(2) {
                0 => Appetite::Slow {
                    most: 512 + draw_size(chance),
                    every: chance.pause(Duration::from_millis(50)),
                },
                _ => Appetite::Late(chance.pause(Duration::from_secs(20))),
            };
        }
        if chance.hit(faults.reset) {
            self.cut(Step::Reset, chance);
        } else if chance.hit(faults.abandon) {
            self.cut(Step::Close, chance);
        } else if chance.hit(faults.vanish) {
            let timeout = chance.pause(Duration::from_secs(30));
            self.cut(Step::Vanish(timeout), chance);
        }
        self
    }

    /// Ends the script early with `last`, after any byte sent or read.
    fn cut(&mut self, last: Step, chance: &mut Chance) {
        let keep = chance.index(self.steps.len() + 1);
        let next = self.steps.get(keep).copied();
        self.steps.truncate(keep);
        if let Some(Step::Send(size)) = next {
            self.steps.push(Step::Send(1 + chance.below(size)));
        } else if chance.below(2) == 0 {
            self.steps.push(Step::Await(
                draw_size(chance),
                chance.pause(Duration::from_secs(10)),
            ));
        }
        self.steps.push(last);
    }

    /// Whether it ends in order: sends all it means to, reads to the end.
    pub(super) fn is_orderly(&self) -> bool {
        !self
            .steps
            .iter()
            .any(|step| matches!(step, Step::Close | Step::Reset | Step::Vanish(_)))
    }

    /// Whether it reads whatever comes, as it comes.
    pub(super) fn is_eager(&self) -> bool {
        self.appetite == Appetite::Eager
    }
}

/// From one byte to 128 KiB; each order of magnitude as likely as another.
fn draw_size(chance: &mut Chance) -> u64 {
    let most = 1 << chance.below(18);
    1 + chance.below(most)
}

/// Whether the actor still reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reading {
    Open { next: Time },
    Ended,
}

/// A script being played.
#[derive(Debug)]
pub(super) struct Actor {
    steps: VecDeque<Step>,
    appetite: Appetite,
    reading: Reading,
    /// When the pause or the wait at the head of the steps ends.
    until: Option<Time>,
    /// Its FIN went out after the other side's had come.
    answered: bool,
    ended: bool,
}

impl Actor {
    pub(super) fn new(script: Script) -> Self {
        Self {
            steps: script.steps.into(),
            appetite: script.appetite,
            reading: Reading::Open {
                next: Time::default(),
            },
            until: None,
            answered: false,
            ended: false,
        }
    }

    /// Closed its end and does nothing any more.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn has_answered(&self) -> bool {
        self.answered
    }

    /// Never gets a connection.
    pub(super) fn give_up(&mut self) {
        self.ended = true;
    }

    /// The connection is there.
    pub(super) fn start(&mut self, conn: usize, agenda: &mut Agenda) {
        if let Appetite::Late(pause) = self.appetite {
            self.reading = Reading::Open {
                next: agenda.now() + pause,
            };
        }
        agenda.after(Duration::ZERO, Happening::Act { conn });
    }

    /// Does all it can do now, and plans when to look again.
    pub(super) fn act(
        &mut self,
        conn: usize,
        tcp: &mut Tcp,
        mut tunnel: Option<&mut Tunnel>,
        agenda: &mut Agenda,
    ) {
        if self.ended {
            return;
        }
        self.read(conn, tcp, agenda);
        if let Some(tunnel) = tunnel.as_deref_mut()
            && !self.shake(tcp, tunnel, agenda)
        {
            return;
        }
        while !self.ended {
            let Some(step) = self.steps.front().copied() else {
                self.close(tcp, false, agenda);
                return;
            };
            if !self.play(step, conn, tcp, tunnel.as_deref_mut(), agenda) {
                return;
            }
            self.steps.pop_front();
            self.until = None;
        }
    }

    /// Says what TLS has to say. Whether the script goes on.
    fn shake(&mut self, tcp: &mut Tcp, tunnel: &mut Tunnel, agenda: &mut Agenda) -> bool {
        if self.ended {
            return false;
        }
        let read = tcp.incoming(Side::Actor).read;
        tunnel.on_read(read);
        if let Poll::Ready(Err(_)) = tunnel.flush(tcp, agenda) {
            self.close(tcp, false, agenda);
        }
        if self.reading == Reading::Ended && !tunnel.is_ready(read) && !self.ended {
            self.close(tcp, false, agenda);
        }
        !self.ended && tunnel.is_ready(read)
    }

    fn close(&mut self, tcp: &mut Tcp, reset: bool, agenda: &mut Agenda) {
        tcp.close(Side::Actor, reset, agenda);
        self.ended = true;
    }

    fn read(&mut self, conn: usize, tcp: &mut Tcp, agenda: &mut Agenda) {
        while let Reading::Open { next } = self.reading {
            if next > agenda.now() {
                agenda.at(next, Happening::Act { conn });
                return;
            }
            let (most, every) = match self.appetite {
                Appetite::Eager | Appetite::Late(_) => (u64::MAX, Duration::ZERO),
                Appetite::Slow { most, every } => (most, every),
            };
            match tcp.recv(Side::Actor, most) {
                Poll::Pending => return,
                Poll::Ready(Ok(0)) => self.reading = Reading::Ended,
                Poll::Ready(Ok(_)) => {
                    self.reading = Reading::Open {
                        next: agenda.now() + every,
                    }
                }
                Poll::Ready(Err(_)) => self.close(tcp, false, agenda),
            }
            if self.ended {
                return;
            }
        }
    }

    /// Whether the step is done.
    fn play(
        &mut self,
        step: Step,
        conn: usize,
        tcp: &mut Tcp,
        tunnel: Option<&mut Tunnel>,
        agenda: &mut Agenda,
    ) -> bool {
        let read = tcp.incoming(Side::Actor).read;
        let got = tunnel.as_ref().map_or(read, |it| it.opened_at(read));
        let over = self.reading == Reading::Ended;
        match step {
            Step::Send(count) => self.send(count, conn, tcp, tunnel, agenda),
            Step::Pause(pause) => self.waited(pause, conn, agenda),
            Step::Await(count, most) => got >= count || over || self.waited(most, conn, agenda),
            Step::AwaitEnd(most) => over || self.waited(most, conn, agenda),
            Step::Answer => {
                let written = tcp.outgoing(Side::Actor).written;
                let written = tunnel.as_ref().map_or(written, |it| it.sealed());
                let owed = got.saturating_sub(written);
                (owed == 0 || self.send(owed, conn, tcp, tunnel, agenda)) && over
            }
            Step::Fin => match tunnel {
                Some(tunnel) => self.part(over, tcp, tunnel, agenda),
                None => {
                    self.answered = over;
                    tcp.shutdown(Side::Actor, false, agenda);
                    true
                }
            },
            Step::Vanish(timeout) => {
                tcp.vanish(Side::Actor, timeout, agenda);
                self.ended = true;
                true
            }
            Step::Close | Step::Reset => {
                self.close(tcp, step == Step::Reset, agenda);
                true
            }
        }
    }

    /// Ends its stream of TLS. Whether all of it is on its way.
    fn part(
        &mut self,
        over: bool,
        tcp: &mut Tcp,
        tunnel: &mut Tunnel,
        agenda: &mut Agenda,
    ) -> bool {
        if !tunnel.has_parted() {
            self.answered = over;
            tunnel.part();
        }
        match tunnel.flush(tcp, agenda) {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) if tunnel.lingers() => {}
            Poll::Ready(Ok(())) => tcp.shutdown(Side::Actor, false, agenda),
            Poll::Ready(Err(_)) => self.close(tcp, false, agenda),
        }
        true
    }

    /// Sends so many bytes of its stream. Whether it has, or never will.
    fn send(
        &mut self,
        count: u64,
        conn: usize,
        tcp: &mut Tcp,
        tunnel: Option<&mut Tunnel>,
        agenda: &mut Agenda,
    ) -> bool {
        match tunnel {
            Some(tunnel) => self.send_sealed(count, conn, tcp, tunnel, agenda),
            None => self.send_plain(count, tcp, agenda),
        }
    }

    /// Record by record, each when the one before has gone.
    fn send_sealed(
        &mut self,
        count: u64,
        conn: usize,
        tcp: &mut Tcp,
        tunnel: &mut Tunnel,
        agenda: &mut Agenda,
    ) -> bool {
        let mut left = count;
        loop {
            match tunnel.flush(tcp, agenda) {
                Poll::Pending => return false,
                Poll::Ready(Ok(())) if left == 0 => return true,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => {
                    self.close(tcp, false, agenda);
                    return true;
                }
            }
            left -= tunnel.seal(conn as u64, left);
            if let Some(Step::Send(rest)) = self.steps.front_mut() {
                *rest = left;
            }
        }
    }

    fn send_plain(&mut self, count: u64, tcp: &mut Tcp, agenda: &mut Agenda) -> bool {
        match tcp.send(Side::Actor, count, agenda) {
            Poll::Pending => false,
            Poll::Ready(Ok(taken)) => {
                if let Some(Step::Send(left)) = self.steps.front_mut() {
                    *left -= taken;
                }
                taken == count
            }
            Poll::Ready(Err(_)) => {
                self.close(tcp, false, agenda);
                true
            }
        }
    }

    fn waited(&mut self, pause: Duration, conn: usize, agenda: &mut Agenda) -> bool {
        let now = agenda.now();
        let until = *self.until.get_or_insert_with(|| {
            agenda.after(pause, Happening::Act { conn });
            now + pause
        });
        now >= until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_script_ends_in_the_cut_and_is_not_orderly() {
        for seed in 0..100 {
            let mut chance = Chance::new(seed);
            let mut script = Script::draw_client(&mut chance, &Faults::none());
            assert!(
                script.is_orderly(),
                "a calm world's clients are orderly: {script:?}"
            );
            script.cut(Step::Reset, &mut chance);
            assert_eq!(script.steps.last(), Some(&Step::Reset));
            assert!(!script.is_orderly());
        }
    }
}
