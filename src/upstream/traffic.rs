//! Bytes to and from each backend. A worker writes to a row of its own, a message is an add; whoever reads adds the rows up.

use crate::base::{Counter, Tally};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Between one worker and one backend. On a cache line of its own: other workers write beside it.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Traffic {
    /// Bytes from clients.
    pub up: Counter,
    /// Bytes from the backend.
    pub down: Counter,
}

/// One backend's traffic, by the numbers of the workers. Locked when a connection begins and when somebody reads.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    rows: Mutex<Vec<Arc<Traffic>>>,
    /// What other processes counted before this one: up and down.
    before: [AtomicU64; 2],
}

impl Ledger {
    /// Where this worker counts.
    pub(super) fn of(&self, worker: u16) -> Arc<Traffic> {
        let (mut rows, at) = (self.lock(), usize::from(worker));
        if rows.len() <= at {
            rows.resize_with(at + 1, Arc::default);
        }
        Arc::clone(&rows[at])
    }

    /// Bytes up and down, of all workers.
    pub(super) fn total(&self) -> (u64, u64) {
        let rows = self.lock();
        let sum = |of: fn(&Traffic) -> u64| rows.iter().map(|row| of(row)).sum::<u64>();
        let [up, down] = self.before.each_ref().map(Tally::get);
        (
            up + sum(|row| row.up.get()),
            down + sum(|row| row.down.get()),
        )
    }

    /// Shows both directions: each stands at its total, and what is added to it was counted elsewhere.
    pub(super) fn each(&self, see: &mut dyn FnMut(&str, &dyn Tally)) {
        let (up, down) = self.total();
        let totals = [("bytes_up", up), ("bytes_down", down)];
        for ((name, total), before) in totals.into_iter().zip(&self.before) {
            see(name, &Sum { total, before });
        }
    }

    /// A panic ends the process; in tests, where it does not, the rows are whole all the same.
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Traffic>>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One direction of a ledger.
struct Sum<'a> {
    total: u64,
    before: &'a AtomicU64,
}

impl Tally for Sum<'_> {
    fn get(&self) -> u64 {
        self.total
    }

    fn add(&self, n: u64) {
        self.before.add(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_keeps_its_row_and_the_total_has_all() {
        let ledger = Ledger::default();
        ledger.of(3).up.add(5);
        ledger.of(0).down.add(7);
        ledger.of(3).up.add(2);
        assert_eq!(ledger.of(3).up.get(), 7);
        assert_eq!(ledger.total(), (7, 7));
    }

    #[test]
    fn what_was_counted_elsewhere_is_in_the_total() {
        let ledger = Ledger::default();
        ledger.of(0).up.add(5);
        ledger.each(&mut |_, total| total.add(10));
        assert_eq!(ledger.total(), (15, 10));
        let mut seen = Vec::new();
        ledger.each(&mut |name, total| seen.push((name.to_owned(), total.get())));
        assert_eq!(seen, [("bytes_up".into(), 15), ("bytes_down".into(), 10)]);
    }

    #[test]
    fn two_workers_never_share_a_cache_line() {
        assert_eq!(align_of::<Traffic>(), 64);
    }
}
