//! Looks after a client that may not take what it gets (`slow_client`): now and then, how much it leaves unsent. Between two
//! looks nothing is counted, so that it costs nothing where bytes move, and nobody is asked while none has come.

use crate::config::SlowClient;
use crate::ring::Time;
use std::time::Duration;

/// Looks in the time that a client is given: it is closed after a quarter more of it at most.
const LOOKS: u32 = 4;

/// What is known of a client, of the last look.
#[derive(Debug)]
pub(super) struct Slow {
    unsent_max: u64,
    patience: Duration,
    /// When to look again.
    next: Time,
    /// An answer is on its way.
    asked: bool,
    seen: Seen,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    /// It left little; so many bytes had been meant for it by then.
    Fast(u64),
    /// It has left too much at each look from then on.
    Slow(Time),
}

impl Slow {
    /// One to look after a new client, if anybody wants that.
    pub(super) fn watch(rules: &SlowClient, now: Time) -> Option<Box<Self>> {
        (rules.unsent > 0).then(|| {
            Box::new(Self {
                unsent_max: rules.unsent.into(),
                patience: rules.patience,
                next: now + rules.patience / LOOKS,
                asked: false,
                seen: Seen::Fast(0),
            })
        })
    }

    /// When to look again.
    pub(super) fn next(&self) -> Time {
        self.next
    }

    /// Whether the next answer is for us.
    pub(super) fn is_asked(&self) -> bool {
        self.asked
    }

    /// Whether the kernel is to be asked now, when so many bytes have been meant for the client. Who left little and got
    /// nothing since still leaves little.
    pub(super) fn is_to_be_asked(&mut self, given: u64, now: Time) -> bool {
        if self.next > now {
            return false;
        }
        self.next = now + self.patience / LOOKS;
        let is_new = !self.asked && self.seen != Seen::Fast(given);
        self.asked |= is_new;
        is_new
    }

    /// The answer: so many bytes are unsent, of so many that have been meant for the client. Whether its time is over.
    pub(super) fn on_answer(&mut self, unsent: u64, given: u64, now: Time) -> bool {
        self.asked = false;
        if unsent < self.unsent_max {
            self.seen = Seen::Fast(given);
            return false;
        }
        let since = match self.seen {
            Seen::Fast(_) => now,
            Seen::Slow(since) => since,
        };
        self.seen = Seen::Slow(since);
        self.next = self.next.min(since + self.patience);
        since + self.patience <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: SlowClient = SlowClient {
        unsent: 1000,
        patience: Duration::from_secs(20),
    };

    fn at(seconds: u64) -> Time {
        Time::default() + Duration::from_secs(seconds)
    }

    /// Looks at each time that it wants to, when so many bytes are unsent then: when it had enough.
    fn look(unsent: impl Fn(u64) -> u64, until: u64) -> Option<u64> {
        let mut slow = Slow::watch(&RULES, at(0)).expect("it is wanted");
        for second in 0..until {
            let now = at(second);
            if slow.is_to_be_asked(10_000 + second, now)
                && slow.on_answer(unsent(second), 10_000 + second, now)
            {
                return Some(second);
            }
        }
        None
    }

    #[test]
    fn a_client_that_takes_nothing_is_closed_when_its_time_is_over() {
        assert_eq!(look(|_| 1000, 1000), Some(25), "seen at 5, closed 20 later");
        let from_31 = |second| if second > 30 { 5000 } else { 0 };
        assert_eq!(look(from_31, 1000), Some(55), "seen at 35");
    }

    #[test]
    fn a_client_that_takes_what_it_gets_in_time_stays() {
        assert_eq!(look(|_| 999, 1000), None);
        let at_times = |second| if second % 20 == 0 { 0 } else { 5000 };
        assert_eq!(look(at_times, 1000), None);
    }

    #[test]
    fn who_got_nothing_since_the_last_look_is_not_asked_about() {
        let mut slow = Slow::watch(&RULES, at(0)).expect("it is wanted");
        assert!(!slow.is_to_be_asked(0, at(5)), "it got nothing at all");
        assert!(slow.is_to_be_asked(10, at(10)));
        assert!(!slow.on_answer(10, 10, at(10)));
        assert!(!slow.is_to_be_asked(10, at(15)));
        assert!(slow.is_to_be_asked(11, at(20)));
        assert!(!slow.on_answer(1000, 11, at(20)));
        assert!(slow.is_to_be_asked(11, at(25)), "it left too much");
    }

    #[test]
    fn nobody_is_looked_after_where_nobody_wants_it() {
        let rules = SlowClient { unsent: 0, ..RULES };
        assert!(Slow::watch(&rules, at(0)).is_none());
    }
}
