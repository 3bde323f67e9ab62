//! Connections that stay open for long are told of while they are: one record in each round, and a round takes
//! `log.still_open`. Spread evenly over it, so that a hundred thousand of them are no burst for the log, and in grains, so
//! that they do not keep an idle worker awake.

use super::drain::Pace;
use super::{Record, Worker};
use crate::base::Key;
use crate::ring::{Ring, Time};
use std::time::Duration;

/// The shortest pause between two looks at whose turn has come.
const GRAIN: Duration = Duration::from_millis(100);

/// Where the round is.
#[derive(Debug)]
pub(super) struct Round {
    pace: Pace,
    ends: Time,
    /// When to look again.
    next: Time,
}

impl Round {
    /// One that nobody is told of in: there are no connections yet that have been open for long.
    fn first(every: Duration, now: Time) -> Self {
        Self::of(Vec::new(), every, now)
    }

    fn of(keys: Vec<Key>, every: Duration, now: Time) -> Self {
        let mut this = Self {
            pace: Pace::new(keys, every, now),
            ends: now + every,
            next: now,
        };
        this.plan(now);
        this
    }

    /// When there is something to do.
    pub(super) fn next(&self) -> Time {
        self.next
    }

    fn plan(&mut self, now: Time) {
        let turn = self.pace.next().unwrap_or(self.ends);
        self.next = turn.min(self.ends).max(now + GRAIN);
    }
}

impl<R: Ring> Worker<R> {
    /// Tells of the connections whose turn has come.
    pub(super) fn tell_still_open(&mut self, now: Time) {
        let every = self.current.still_open;
        if every.is_zero() {
            self.round = None;
            return;
        }
        let round = self.round.take();
        let mut round = round.unwrap_or_else(|| Round::first(every, now));
        if round.next <= now {
            self.go_round(&mut round, every, now);
        }
        self.round = Some(round);
    }

    fn go_round(&mut self, round: &mut Round, every: Duration, now: Time) {
        while let Some(key) = round.pace.due(now) {
            self.tell_if_long_open(key, every, now);
        }
        if round.ends <= now {
            *round = Round::of(self.connections.keys().collect(), every, now);
        }
        round.plan(now);
    }

    fn tell_if_long_open(&self, key: Key, every: Duration, now: Time) {
        let connection = self.connections.get(key);
        let Some(connection) = connection.filter(|it| now - it.started >= every) else {
            return;
        };
        let record = Record::of_open(self.worker, connection, now);
        if record.is_some_and(|record| !self.journal.tell(record)) {
            self.stats.records_dropped.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(10);

    fn at(millis: u64) -> Time {
        Time::default() + Duration::from_millis(millis)
    }

    fn keys(count: u32) -> Vec<Key> {
        let key = |slot| Key {
            slot,
            generation: 0,
        };
        (0..count).map(key).collect()
    }

    #[test]
    fn a_round_of_many_is_looked_at_in_grains() {
        let mut round = Round::of(keys(100_000), EVERY, at(0));
        let (mut looks, mut told, mut now) = (0, 0, at(0));
        while now < at(10_000) {
            now = round.next();
            told += std::iter::from_fn(|| round.pace.due(now)).count();
            looks += 1;
            round.plan(now);
        }
        assert_eq!((looks, told), (100, 100_000));
    }

    #[test]
    fn a_round_of_few_is_looked_at_when_their_turn_comes_and_at_its_end() {
        let mut round = Round::of(keys(2), EVERY, at(0));
        let mut looks = Vec::new();
        for _ in 0..3 {
            let now = round.next();
            let told = std::iter::from_fn(|| round.pace.due(now)).count();
            looks.push((now, told));
            round.plan(now);
        }
        assert_eq!(looks, [(at(100), 1), (at(5_000), 1), (at(10_000), 0)]);
    }
}
