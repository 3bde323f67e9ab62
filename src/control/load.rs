//! How busy the workers are: the share of the last second that each one's thread was on its CPU, by the kernel's own
//! account. A worker that counted for itself would see neither its time in the kernel nor what others take of its CPU.

use crate::ring::Time;
use crate::worker::Board;
use nix::unistd::{Pid, gettid};
use std::fs;
use std::time::Duration;

/// A worker's thread, as the kernel knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thread {
    worker: usize,
    id: Pid,
}

impl Thread {
    /// The calling one, which is this worker's.
    pub(super) fn this(worker: usize) -> Self {
        Self {
            worker,
            id: gettid(),
        }
    }

    /// How long it has been on a CPU in all. `None` when it has ended, or on a kernel without CONFIG_SCHED_INFO.
    fn on_cpu(self) -> Option<Duration> {
        parse(&fs::read_to_string(format!("/proc/self/task/{}/schedstat", self.id)).ok()?)
    }
}

/// The first number of schedstat (Documentation/scheduler/sched-stats.rst): nanoseconds on a CPU.
fn parse(schedstat: &str) -> Option<Duration> {
    let nanos = schedstat.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

/// Remembers the last reading of each thread.
#[derive(Debug)]
pub(super) struct Meter(Vec<(Thread, Reading)>);

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Time,
    on_cpu: Duration,
}

impl Reading {
    fn of(thread: Thread) -> Option<Self> {
        let on_cpu = thread.on_cpu()?;
        let at = Time::read_clock();
        Some(Self { at, on_cpu })
    }

    /// Per mille of the time since the earlier one.
    fn busy_since(self, earlier: Self) -> u32 {
        let (spent, passed) = (
            self.on_cpu.saturating_sub(earlier.on_cpu),
            self.at - earlier.at,
        );
        let per_mille = spent.as_nanos() * 1000 / passed.as_nanos().max(1);
        u32::try_from(per_mille.min(1000)).expect("at most 1000")
    }
}

impl Meter {
    /// Begins now. Threads of which the kernel tells nothing are left out: they count as idle, all alike.
    pub(super) fn new(threads: &[Thread]) -> Self {
        let read = |&thread| Some((thread, Reading::of(thread)?));
        Self(threads.iter().filter_map(read).collect())
    }

    /// Writes on the board how busy each thread was since the last reading.
    pub(super) fn read(&mut self, board: &Board) {
        for (thread, last) in &mut self.0 {
            let Some(now) = Reading::of(*thread) else {
                continue;
            };
            board.set_busy(thread.worker, now.busy_since(*last));
            *last = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_is_the_time_on_a_cpu() {
        assert_eq!(parse("2500000 77 3\n"), Some(Duration::from_micros(2500)));
        assert_eq!(parse(""), None);
    }

    #[test]
    fn busy_is_the_share_of_the_time_that_passed() {
        let reading = |at, on_cpu| Reading {
            at: Time::from_nanos(at),
            on_cpu: Duration::from_nanos(on_cpu),
        };
        assert_eq!(reading(3000, 700).busy_since(reading(1000, 200)), 250);
        assert_eq!(reading(3000, 9000).busy_since(reading(1000, 200)), 1000);
        assert_eq!(reading(1000, 200).busy_since(reading(1000, 200)), 0);
    }

    #[test]
    fn a_thread_that_works_is_seen_to_be_busy_and_one_that_waits_is_not() {
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                tell.send(Thread::this(1)).unwrap();
                let _ = stopped.recv();
            });
            let threads = [Thread::this(0), told.recv().unwrap()];
            let mut meter = Meter::new(&threads);
            if meter.0.is_empty() {
                eprintln!("SKIP: this kernel has no schedstat");
                return drop(stop);
            }
            let end = Time::read_clock() + Duration::from_millis(50);
            while Time::read_clock() < end {}
            let board = Board::new(2);
            meter.read(&board);
            drop(stop);
            assert!(board.busy(0) > 50, "{} ‰", board.busy(0));
            assert!(board.busy(1) < board.busy(0), "{} ‰", board.busy(1));
        });
    }
}
