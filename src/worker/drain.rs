//! Connections that are open when a drain begins are ended evenly over a span, so that their clients do not all come back in
//! one second. What is left at the deadline is cut.

use super::mailbox::Ear;
use super::{Worker, listener_tag};
use crate::base::Key;
use crate::conn;
use crate::ring::{Ring, Time};
use std::time::Duration;

/// Connections that are asked to end, one after the other.
#[derive(Debug)]
pub(super) struct Pace {
    keys: Vec<Key>,
    asked: usize,
    began: Time,
    over: Duration,
}

/// All connections of a worker that takes no more.
#[derive(Debug)]
pub(super) struct Drain {
    pub(super) pace: Pace,
    /// When what is left is cut; `None` once it was.
    deadline: Option<Time>,
    after: After,
}

/// What a worker does that has taken no clients for long enough to have none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum After {
    /// It ends.
    End,
    /// It waits to be told to take clients again, or to end.
    Wait,
}

impl<R: Ring> Worker<R> {
    /// Takes no more clients, and ends those that it has. Of two drains the first one sets the pace.
    pub(super) fn begin_drain(
        &mut self,
        over: Duration,
        deadline: Duration,
        after: After,
        now: Time,
    ) {
        if let Some(drain) = &mut self.drain {
            return drain.then(after);
        }
        for (at, listener) in self.listeners.iter_mut().enumerate() {
            listener.stop(listener_tag(at), &mut self.ops);
        }
        self.spare_all();
        let all = self.without_a_turn(|_| true);
        self.drain = Some(Drain::new(all, over, deadline, after, now));
    }

    /// Takes clients again, from these listening sockets: those that it had are closed. Who was not yet asked to leave stays.
    /// Unless it is to end: then the sockets are closed.
    pub(super) fn resume(&mut self, ears: Vec<Ear>) {
        self.drain = self.drain.take().filter(Drain::ends);
        for ear in ears {
            self.listen_too(ear);
        }
    }

    pub(super) fn on_drain(&mut self, now: Time) {
        let Some(mut drain) = self.drain.take() else {
            return;
        };
        while let Some(key) = drain.pace.due(now) {
            self.with(key, now, |connection, cx| {
                connection.stop(conn::Cause::Drain, cx);
            });
        }
        if drain.is_overdue(now) {
            let left: Vec<_> = self.connections.keys().collect();
            for key in left {
                self.with(key, now, |connection, cx| {
                    connection.kill(conn::Cause::Drain, cx);
                });
            }
        }
        self.drain = Some(drain);
    }
}

impl Pace {
    pub(super) fn new(keys: Vec<Key>, over: Duration, now: Time) -> Self {
        Self {
            keys,
            asked: 0,
            began: now,
            over,
        }
    }

    /// The next connection whose turn has come.
    pub(super) fn due(&mut self, now: Time) -> Option<Key> {
        let key = *self.keys.get(self.asked)?;
        if self.turn_of(self.asked) > now {
            return None;
        }
        self.asked += 1;
        Some(key)
    }

    /// Those whose turn has not come.
    pub(super) fn waiting(&self) -> &[Key] {
        &self.keys[self.asked..]
    }

    /// When the next one's turn comes; `None` when all were asked.
    pub(super) fn next(&self) -> Option<Time> {
        (self.asked < self.keys.len()).then(|| self.turn_of(self.asked))
    }

    /// The first at once, the last just before the span ends.
    fn turn_of(&self, at: usize) -> Time {
        let share = u32::try_from(at).unwrap_or(u32::MAX);
        let of = u32::try_from(self.keys.len()).unwrap_or(u32::MAX).max(1);
        self.began
            + Duration::from_secs_f64(self.over.as_secs_f64() * f64::from(share) / f64::from(of))
    }
}

impl Drain {
    fn new(keys: Vec<Key>, over: Duration, deadline: Duration, after: After, now: Time) -> Self {
        Self {
            pace: Pace::new(keys, over, now),
            deadline: Some(now + deadline),
            after,
        }
    }

    /// What comes after: an end that was asked for is not taken back.
    fn then(&mut self, after: After) {
        if after == After::End {
            self.after = After::End;
        }
    }

    /// Whether the worker is to end.
    pub(super) fn ends(&self) -> bool {
        self.after == After::End
    }

    /// Whether the deadline is over; said once.
    fn is_overdue(&mut self, now: Time) -> bool {
        self.deadline.take_if(|deadline| *deadline <= now).is_some()
    }

    /// When something is to be done next.
    pub(super) fn next(&self) -> Option<Time> {
        self.pace.next().into_iter().chain(self.deadline).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_asked_evenly_over_the_span() {
        let keys: Vec<_> = (0..100)
            .map(|slot| Key {
                slot,
                generation: 0,
            })
            .collect();
        let mut drain = Drain::new(
            keys,
            Duration::from_secs(10),
            Duration::from_secs(30),
            After::End,
            Time::default(),
        );
        for second in 0..10 {
            let now = Time::default() + Duration::from_secs(second) + Duration::from_millis(999);
            let asked = std::iter::from_fn(|| drain.pace.due(now)).count();
            assert_eq!(asked, 10, "in second {second}");
        }
        let deadline = Time::default() + Duration::from_secs(30);
        assert_eq!(drain.next(), Some(deadline));
        assert!(!drain.is_overdue(Time::default() + Duration::from_secs(29)));
        assert!(drain.is_overdue(deadline));
        assert_eq!(drain.next(), None, "who waits does not spin");
    }

    #[test]
    fn a_worker_that_was_told_to_wait_ends_when_it_is_told_to() {
        let span = Duration::from_secs(1);
        let mut drain = Drain::new(Vec::new(), span, span, After::Wait, Time::default());
        drain.then(After::Wait);
        assert!(!drain.ends());
        drain.then(After::End);
        drain.then(After::Wait);
        assert!(drain.ends());
    }

    #[test]
    fn a_span_of_zero_asks_all_at_once() {
        let keys: Vec<_> = (0..7)
            .map(|slot| Key {
                slot,
                generation: 0,
            })
            .collect();
        let mut drain = Drain::new(
            keys,
            Duration::ZERO,
            Duration::from_secs(1),
            After::End,
            Time::default(),
        );
        assert_eq!(
            std::iter::from_fn(|| drain.pace.due(Time::default())).count(),
            7
        );
    }
}
