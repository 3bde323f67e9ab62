//! Waiting without sleeping: how long, how often the clock is read, and when the kernel is asked without a sign.
//!
//! With DEFER_TASKRUN completions are posted inside `io_uring_enter` alone, so there is no use in watching the
//! completion queue itself: what is watched is the kernel's flag that an enter would have something to do.

use crate::{Time, Until};
use std::time::Duration;

/// Looks between two readings of the clock: a look is a load and a pause, together some 20 ns, a reading about as much.
const LOOKS: u32 = 32;

/// The kernel is asked this often without a sign. An enter runs a part of much work, twenty pieces, and takes the flag
/// down although the rest is left (IO_LOCAL_TW_DEFAULT_MAX in io_uring/io_uring.c): as long as the pieces complete
/// something the next turn asks anyway, and if not, this does.
const ASK_EVERY: Duration = Duration::from_micros(20);

/// One wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spin {
    end: Time,
}

/// Why looking ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// The kernel has work to do, or has not been asked for a while: enter, without waiting.
    Work,
    /// The time is over, now.
    Nothing(Time),
}

impl Spin {
    /// From `now` on for `window`, and not beyond what the caller waits for.
    pub(crate) fn new(window: Duration, until: Until, now: Time) -> Self {
        let end = now + window;
        Self {
            end: match until {
                Until::Now => now,
                Until::Forever => end,
                Until::Time(at) => at.min(end),
            },
        }
    }

    /// Looks again and again, at most for [`ASK_EVERY`] and a few looks.
    pub(crate) fn look(
        &self,
        is_work: impl Fn() -> bool,
        mut clock: impl FnMut() -> Time,
    ) -> Found {
        let mut ask = None;
        loop {
            for _ in 0..LOOKS {
                if is_work() {
                    return Found::Work;
                }
                std::hint::spin_loop();
            }
            let now = clock();
            if now >= self.end {
                return Found::Nothing(now);
            }
            if now >= *ask.get_or_insert(now + ASK_EVERY) {
                return Found::Work;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const WINDOW: Duration = Duration::from_micros(100);

    fn micros(micros: u64) -> Time {
        Time::from_nanos(micros * 1_000)
    }

    /// A clock that goes on by a microsecond with each reading.
    fn ticking() -> impl FnMut() -> Time {
        let mut at = 0;
        move || {
            at += 1;
            micros(at)
        }
    }

    /// Looks until nothing is found, as a ring does whose enters bring nothing; how often it asked, and when it ended.
    fn in_vain(spin: Spin) -> (u32, Time) {
        let (mut asked, mut clock) = (0, ticking());
        loop {
            match spin.look(|| false, &mut clock) {
                Found::Work => asked += 1,
                Found::Nothing(now) => return (asked, now),
            }
        }
    }

    #[test]
    fn a_sign_is_found_without_reading_the_clock() {
        let spin = Spin::new(WINDOW, Until::Forever, micros(0));
        let looks = Cell::new(0);
        let third = || {
            looks.set(looks.get() + 1);
            looks.get() == 3
        };
        let found = spin.look(third, || panic!("three looks are too few for a reading"));
        assert_eq!((found, looks.get()), (Found::Work, 3));
    }

    #[test]
    fn a_window_ends_when_it_is_over() {
        let (_, end) = in_vain(Spin::new(WINDOW, Until::Forever, micros(0)));
        assert_eq!(end, micros(100));
    }

    #[test]
    fn a_timer_that_is_due_within_the_window_ends_it() {
        let (_, end) = in_vain(Spin::new(WINDOW, Until::Time(micros(30)), micros(0)));
        assert_eq!(end, micros(30));
    }

    #[test]
    fn a_timer_beyond_the_window_does_not_lengthen_it() {
        let (_, end) = in_vain(Spin::new(WINDOW, Until::Time(micros(500)), micros(0)));
        assert_eq!(end, micros(100));
    }

    #[test]
    fn without_a_sign_the_kernel_is_asked_every_twenty_microseconds() {
        let (asked, _) = in_vain(Spin::new(WINDOW, Until::Forever, micros(0)));
        assert_eq!(asked, 4);
    }

    #[test]
    fn the_clock_is_read_once_in_many_looks() {
        let spin = Spin::new(Duration::from_micros(5), Until::Forever, micros(0));
        let looks = Cell::new(0);
        let count = || {
            looks.set(looks.get() + 1);
            false
        };
        assert_eq!(spin.look(count, ticking()), Found::Nothing(micros(5)));
        assert_eq!(looks.get(), 5 * LOOKS);
    }
}
