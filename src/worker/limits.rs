//! Box-wide limits, shared by all workers: numbers per process and per listener, never per worker times the cores.

use crate::base::Shared;
use crate::conn::Households;

/// How many connections there are and may be.
#[derive(Debug)]
pub struct Limits {
    /// Those of each client address.
    households: Households,
    process: (Shared, u64),
    listeners: Vec<(Shared, u64)>,
}

impl Limits {
    /// `process` and each of `listeners` is a maximum; 0 means none.
    pub fn new(process: u64, listeners: impl IntoIterator<Item = u64>) -> Self {
        let unlimited = |max| if max == 0 { u64::MAX } else { max };
        Self {
            households: Households::default(),
            process: (Shared::default(), unlimited(process)),
            listeners: listeners
                .into_iter()
                .map(|max| (Shared::default(), unlimited(max)))
                .collect(),
        }
    }

    /// Takes a place for one connection of a listener, unless there is none.
    pub(super) fn acquire(&self, listener: u16) -> bool {
        let (all, max) = &self.process;
        if !all.try_acquire(*max) {
            return false;
        }
        let (own, max) = &self.listeners[usize::from(listener)];
        let taken = own.try_acquire(*max);
        if !taken {
            all.release();
        }
        taken
    }

    pub(super) fn release(&self, listener: u16) {
        self.process.0.release();
        self.listeners[usize::from(listener)].0.release();
    }

    /// The clients of all workers, by address.
    pub fn households(&self) -> &Households {
        &self.households
    }

    /// Connections open on all workers.
    pub fn open(&self) -> u64 {
        self.process.0.get()
    }

    /// The most that may be open; `u64::MAX` is no limit.
    pub fn open_max(&self) -> u64 {
        self.process.1
    }

    /// Connections of one listener open on all workers.
    pub fn open_of(&self, listener: u16) -> u64 {
        self.listeners[usize::from(listener)].0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_listener_leaves_the_others_their_places() {
        let limits = Limits::new(3, [1, 0]);
        assert!(limits.acquire(0));
        assert!(!limits.acquire(0));
        assert!(limits.acquire(1) && limits.acquire(1));
        assert!(!limits.acquire(1), "the process has three");
        limits.release(0);
        assert!(limits.acquire(1));
        assert_eq!((limits.open(), limits.open_max()), (3, 3));
        assert_eq!((limits.open_of(0), limits.open_of(1)), (0, 3));
    }
}
