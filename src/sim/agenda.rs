//! The virtual clock and what will happen when. Time moves only by going to the next event.

use crate::ring::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// What an event is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Happening {
    /// The next segment of the connection reaches the actor's end (`true`) or the program's end.
    Segment { conn: usize, to_actor: bool },
    /// A backend's verdict about a dial.
    Dialed { conn: usize },
    /// The actor of this connection looks at what it can do.
    Act { conn: usize },
    /// Something that the ring holds back is due.
    Ring,
}

/// Events in order of time; those of one time in the order they were planned.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    now: Time,
    serial: u64,
    heap: BinaryHeap<Reverse<(Time, u64, Happening)>>,
}

impl Agenda {
    pub(super) fn now(&self) -> Time {
        self.now
    }

    pub(super) fn at(&mut self, when: Time, event: Happening) {
        self.serial += 1;
        self.heap
            .push(Reverse((when.max(self.now), self.serial, event)));
    }

    pub(super) fn after(&mut self, pause: Duration, event: Happening) {
        self.at(self.now + pause, event);
    }

    /// Moves the clock on, never past an event that is still to happen.
    pub(super) fn pass(&mut self, time: Duration) {
        let next = self.next().unwrap_or(self.now + time);
        self.now = (self.now + time).min(next.max(self.now));
    }

    /// When the next event is.
    pub(super) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((when, _, _))| *when)
    }

    /// The next event that is due now.
    pub(super) fn due(&mut self) -> Option<Happening> {
        if self.next()? > self.now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, _, event))| event)
    }

    /// Jumps to a time that is not before now.
    pub(super) fn jump(&mut self, to: Time) {
        self.now = self.now.max(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_passes_an_event_that_is_still_to_happen() {
        let mut agenda = Agenda::default();
        agenda.after(Duration::from_micros(5), Happening::Ring);
        agenda.pass(Duration::from_micros(3));
        assert_eq!(agenda.due(), None);
        agenda.pass(Duration::from_micros(3));
        assert_eq!(agenda.now(), Time::from_nanos(5_000));
        assert_eq!(agenda.due(), Some(Happening::Ring));
    }

    #[test]
    fn events_of_one_time_happen_in_the_order_they_were_planned() {
        let mut agenda = Agenda::default();
        agenda.at(Time::from_nanos(9), Happening::Act { conn: 2 });
        agenda.at(Time::from_nanos(9), Happening::Act { conn: 1 });
        agenda.jump(Time::from_nanos(9));
        assert_eq!(agenda.due(), Some(Happening::Act { conn: 2 }));
        assert_eq!(agenda.due(), Some(Happening::Act { conn: 1 }));
    }
}
