//! Box-wide limits, shared by all workers: numbers per process and per listener, never per worker times the cores.

use crate::base::Shared;
use crate::conn::Households;
use crate::upstream::Seats;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many connections there are and may be. What a listener may have is its own [`Seats`].
#[derive(Debug)]
pub struct Limits {
    /// Those of each client address.
    households: Households,
    taken: Shared,
    most: AtomicU64,
}

impl Limits {
    /// At most this many connections; 0 means any number.
    pub fn new(most: u64) -> Self {
        let limits = Self {
            households: Households::default(),
            taken: Shared::default(),
            most: AtomicU64::default(),
        };
        limits.set_most(most);
        limits
    }

    /// From now on at most this many; 0 means any number. Those that are too many stay.
    pub fn set_most(&self, most: u64) {
        let most = if most == 0 { u64::MAX } else { most };
        self.most.store(most, Relaxed);
    }

    /// The most that may be open; `u64::MAX` is no limit.
    pub fn open_max(&self) -> u64 {
        self.most.load(Relaxed)
    }

    /// Takes a place for one connection of a listener, unless there is none.
    pub(super) fn acquire(&self, listener: &Seats) -> bool {
        if !self.taken.try_acquire(self.open_max()) {
            return false;
        }
        let taken = listener.acquire();
        if !taken {
            self.taken.release();
        }
        taken
    }

    pub(super) fn release(&self, listener: &Seats) {
        self.taken.release();
        listener.release();
    }

    /// The clients of all workers, by address.
    pub fn households(&self) -> &Households {
        &self.households
    }

    /// Connections open on all workers.
    pub fn open(&self) -> u64 {
        self.taken.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_listener_leaves_the_others_their_places() {
        let limits = Limits::new(3);
        let (one, any) = (Seats::new(1), Seats::new(0));
        assert!(limits.acquire(&one));
        assert!(!limits.acquire(&one));
        assert!(limits.acquire(&any) && limits.acquire(&any));
        assert!(!limits.acquire(&any), "the process has three");
        limits.release(&one);
        assert!(limits.acquire(&any));
        assert_eq!((limits.open(), one.taken(), any.taken()), (3, 0, 3));
    }

    #[test]
    fn a_lower_limit_keeps_others_out_until_enough_have_left() {
        let (limits, any) = (Limits::new(0), Seats::new(0));
        assert!((0..3).all(|_| limits.acquire(&any)));
        limits.set_most(2);
        limits.release(&any);
        assert!(!limits.acquire(&any));
        limits.release(&any);
        assert!(limits.acquire(&any));
    }
}
