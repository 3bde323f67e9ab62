//! A backend that has just come back is not flooded: new connections are let through at a rate that begins low and doubles,
//! until `slow_start` is over and any number may come.
//!
//! Weights cannot do this. Connections live long, and all that a backend had come again within seconds: a sixteenth
//! of a storm is a storm. And nobody knows what rate a backend bears, so the rate has to pass through all magnitudes in
//! the time there is: 16 a second in the first tenth of it, twice as many in each that follows, 8,192 a second in the
//! last. Over ten seconds that is 496 connections in the first half and 16,368 in all.
//!
//! It is a leaky bucket in the form that needs one number (the generic cell rate algorithm, ITU-T I.371, annex A): the
//! time from which on the next one may come. All workers share it.

use crate::ring::Time;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How often the rate changes; each time it doubles.
const STEPS: u128 = 10;

/// Between two connections at the lowest rate, 16 a second.
const INTERVAL: Duration = Duration::from_nanos(62_500_000);

/// What was not used is lost after so long, lest a backend that nobody wanted for a while gets a burst. Longer than the
/// turn of a busy worker, whose clock stands still within one.
const MEMORY: Duration = Duration::from_millis(20);

/// No backend has come back then.
const NEVER: u64 = u64::MAX;

/// What one backend lets through. Atomics that order nothing else: of two workers that come at once, one is let through
/// first, and which one does not matter.
#[derive(Debug)]
pub struct SlowStart {
    /// When it came back, in nanoseconds.
    since: AtomicU64,
    /// When the next connection may come, in nanoseconds.
    next: AtomicU64,
}

impl Default for SlowStart {
    /// Of a backend that was always there: anything may come.
    fn default() -> Self {
        Self {
            since: AtomicU64::new(NEVER),
            next: AtomicU64::new(0),
        }
    }
}

impl SlowStart {
    /// The backend has come back: from now on it is started slowly.
    pub fn begin(&self, now: Time) {
        self.since.store(now.as_nanos(), Relaxed);
    }

    /// Whether a connection may come, when starting takes `over`; zero is no slow start. Changes nothing: for looking for a
    /// backend. Whoever then chooses this one [takes](Self::take).
    pub fn may(&self, now: Time, over: Duration) -> bool {
        let next = Time::from_nanos(self.next.load(Relaxed));
        self.interval(now, over).is_none() || next <= now
    }

    /// Lets a connection through, if one may come. `false` when another worker was faster: another backend, then.
    pub fn take(&self, now: Time, over: Duration) -> bool {
        let Some(interval) = self.interval(now, over) else {
            return true;
        };
        let oldest = now.as_nanos().saturating_sub(nanos(MEMORY));
        let after = |next: u64| {
            let next = Time::from_nanos(next.max(oldest));
            (next <= now).then(|| (next + interval).as_nanos())
        };
        self.next.fetch_update(Relaxed, Relaxed, after).is_ok()
    }

    /// The least time between two connections, while there is one.
    fn interval(&self, now: Time, over: Duration) -> Option<Duration> {
        let since = self.since.load(Relaxed);
        if since == NEVER {
            return None;
        }
        // Zero when this worker read its clock just before the one that began.
        let age = now.since(Time::from_nanos(since));
        if age >= over {
            return None;
        }
        let step = age.as_nanos() * STEPS / over.as_nanos();
        Some(INTERVAL / (1 << step))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    const OVER: Duration = Duration::from_secs(10);
    const BEGUN: u64 = 1_000_000_000_000;

    /// So many milliseconds after it came back.
    fn at(millis: u64) -> Time {
        Time::from_nanos(BEGUN + millis * 1_000_000)
    }

    fn begun() -> SlowStart {
        let start = SlowStart::default();
        start.begin(at(0));
        start
    }

    /// How many of a storm get through from one moment to another; it asks a hundred times at each millisecond.
    fn storm(start: &SlowStart, from: u64, to: u64) -> u32 {
        let asked = (from..to).flat_map(|millis| [millis; 100]);
        let through = asked.filter(|&millis| start.take(at(millis), OVER));
        u32::try_from(through.count()).unwrap()
    }

    #[test]
    fn a_backend_that_was_always_there_takes_any_number() {
        let start = SlowStart::default();
        assert!((0..10_000).all(|_| start.may(at(0), OVER) && start.take(at(0), OVER)));
    }

    #[test]
    fn the_rate_doubles_with_each_tenth_of_the_time() {
        let start = begun();
        for tenth in 0..10 {
            let through = storm(&start, tenth * 1_000, (tenth + 1) * 1_000);
            // The last one of the step before is followed by that step's pause, twice as long; and 20 ms are remembered.
            let rate = 16 << tenth;
            let within = rate - 2..=rate + 1 + rate / 50;
            assert!(within.contains(&through), "{tenth}: {through}");
        }
    }

    #[test]
    fn when_the_time_is_over_any_number_may_come() {
        let start = begun();
        assert_eq!(storm(&start, 0, 1), 1);
        assert!(!start.may(at(1), OVER));
        assert!((0..10_000).all(|_| start.may(at(10_000), OVER) && start.take(at(10_000), OVER)));
    }

    #[test]
    fn without_a_slow_start_any_number_may_come() {
        let start = begun();
        assert!(
            (0..10_000)
                .all(|_| start.may(at(0), Duration::ZERO) && start.take(at(0), Duration::ZERO))
        );
    }

    #[test]
    fn who_only_looks_takes_nothing() {
        let start = begun();
        assert!((0..100).all(|_| start.may(at(0), OVER)));
        assert!(start.take(at(0), OVER));
        assert!(!start.may(at(0), OVER) && !start.take(at(0), OVER));
    }

    #[test]
    fn time_that_nobody_used_makes_no_burst() {
        let start = begun();
        // 4,096 a second by now: 82 in 20 ms, and the one that was due.
        let through = (0..10_000).filter(|_| start.take(at(8_500), OVER)).count();
        assert_eq!(through, 82);
    }

    #[test]
    fn who_fails_again_and_comes_back_begins_anew() {
        let start = begun();
        assert!(storm(&start, 0, 9_000) > 8_000);
        start.begin(at(9_000));
        assert!(storm(&start, 9_000, 10_000) <= 17);
    }

    #[test]
    fn a_worker_whose_clock_is_behind_is_held_back_like_the_others() {
        let start = begun();
        let early = Time::from_nanos(BEGUN - 1);
        assert!(start.take(early, OVER));
        assert!(!start.take(early, OVER) && !start.take(at(0), OVER));
    }

    #[test]
    fn the_rate_is_one_for_all_workers_together() {
        let start = begun();
        let through = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| through.fetch_add(storm(&start, 9_500, 9_600), Relaxed));
            }
        });
        // 8,192 a second for 100 ms, and the memory of 20. Threads are at different milliseconds: whoever is ahead has the
        // rest of the time to itself, and nobody gets any of it twice.
        assert!((810..=985).contains(&through.into_inner()));
    }
}
