//! The checkers of backends bite: in each, workers are told something else than what the checks go by, and so break a rule.

use super::watch::Lie;
use super::{Haste, play_with};

/// Not every rule can be seen broken in every world.
fn lie(lie: Lie) {
    for seed in 0..100 {
        play_with(lie, seed, Haste::Patient, 1);
    }
}

#[test]
#[should_panic(expected = "was dialed in drain or maintenance")]
fn a_dial_of_a_backend_in_maintenance_is_caught() {
    lie(Lie::Admin);
}

#[test]
#[should_panic(expected = "was dialed while it was away")]
fn a_dial_of_a_backend_that_is_down_is_caught() {
    lie(Lie::Down);
}

#[test]
#[should_panic(expected = "it outlived the end of its backend")]
fn a_connection_that_outlives_its_backend_is_caught() {
    lie(Lie::Evict);
}

#[test]
#[should_panic(expected = "were not given back")]
fn a_seat_that_is_not_given_back_is_caught() {
    lie(Lie::Seat);
}
