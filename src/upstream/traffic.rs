//! Bytes to and from each backend. A worker writes to a row of its own, a message is an add; whoever reads adds the rows up.

use crate::base::Counter;
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
pub(super) struct Ledger(Mutex<Vec<Arc<Traffic>>>);

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
        let sum = |of: fn(&Traffic) -> u64| rows.iter().map(|row| of(row)).sum();
        (sum(|row| row.up.get()), sum(|row| row.down.get()))
    }

    /// A panic ends the process; in tests, where it does not, the rows are whole all the same.
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Traffic>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn two_workers_never_share_a_cache_line() {
        assert_eq!(align_of::<Traffic>(), 64);
    }
}
