//! When a target is probed: pure, time and chance are arguments.

use crate::ring::Time;
use crate::upstream::health::State;
use std::time::Duration;

/// Probes fall due at multiples of this, so that those which are close share one wake-up. Rounded down, because who
/// counts on an interval counts on it as the longest wait.
pub const GRAIN: Duration = Duration::from_millis(20);

/// The faster interval, while a state may be about to change: half of the interval, for a long one not more than a
/// second (who probes twice a minute wants to be sure within seconds), for a short one not much busier than it is.
pub(super) fn fast(interval: Duration) -> Duration {
    const MOST: Duration = Duration::from_secs(1);
    const LEAST: Duration = Duration::from_millis(100);
    (interval / 2).min(MOST).max(interval.min(LEAST))
}

/// The first probe: anywhere in the interval, by the target's `hash`, so that a restart probes in the same order. A target that
/// begins down serves nobody until it was probed, and is asked sooner.
pub(super) fn first(interval: Duration, initial: State, hash: u64, now: Time) -> Time {
    let span = match initial {
        State::Up => interval,
        State::Down => fast(interval),
    };
    let nanos = (span.as_nanos() * u128::from(hash)) >> 64;
    let ahead = u64::try_from(nanos).unwrap_or(u64::MAX);
    on_grain(now + Duration::from_nanos(ahead))
}

/// The probe after one that `began` then and is over `now`. `chance` is from 0 up to 1 and moves it by `jitter`
/// either way.
pub(super) fn next(gap: Duration, jitter: f64, chance: f64, began: Time, now: Time) -> Time {
    let factor = 1.0 + jitter.clamp(0.0, 1.0) * (2.0 * chance - 1.0);
    let due = on_grain(began + gap.mul_f64(factor));
    if due > now {
        due
    } else {
        // Never at once: whatever the interval, a target is probed once a grain at most.
        on_grain(now) + GRAIN
    }
}

/// The last grain that is not after `due`.
fn on_grain(due: Time) -> Time {
    let grain = u64::try_from(GRAIN.as_nanos()).expect("20 ms");
    Time::from_nanos(due.as_nanos() / grain * grain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(ms: u64) -> Time {
        Time::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn the_faster_interval_is_half_within_bounds() {
        let pairs = [
            (30_000, 1000),
            (3000, 1000),
            (1000, 500),
            (150, 100),
            (50, 50),
        ];
        for (interval, wanted) in pairs {
            assert_eq!(fast(ms(interval)), ms(wanted), "{interval} ms");
        }
    }

    #[test]
    fn first_probes_are_spread_evenly_over_the_interval() {
        let mut tenths = [0; 10];
        for n in 0..1000 {
            let hash = crate::base::stable_hash::of_u64(n);
            let due = first(10 * SECOND, State::Up, hash, at(0)) - at(0);
            let tenth = usize::try_from(due.as_millis() / 1000).unwrap();
            tenths[tenth] += 1;
        }
        assert!(
            tenths.iter().all(|&count| (60..140).contains(&count)),
            "{tenths:?}"
        );
    }

    #[test]
    fn a_target_that_begins_down_is_asked_within_the_faster_interval() {
        let up = first(10 * SECOND, State::Up, u64::MAX, at(0));
        let down = first(10 * SECOND, State::Down, u64::MAX, at(0));
        assert_eq!((up, down), (at(9980), at(980)));
    }

    #[test]
    fn jitter_moves_a_probe_either_way_and_no_farther() {
        let due = |chance| next(SECOND, 0.1, chance, at(5000), at(5002));
        assert_eq!([0.0, 0.5, 1.0].map(due), [at(5900), at(6000), at(6100)]);
    }

    #[test]
    fn no_interval_is_too_short_to_wait_for() {
        for gap in [Duration::ZERO, ms(1), ms(19)] {
            assert_eq!(next(gap, 1.0, 0.0, at(5001), at(5002)), at(5020));
        }
    }

    #[test]
    fn a_probe_that_took_longer_than_its_interval_is_followed_in_the_next_grain() {
        assert_eq!(next(SECOND, 0.0, 0.0, at(5000), at(7003)), at(7020));
    }
}
