//! The counter by hand and against what its sentence says.

use super::*;
use proptest::prelude::*;

fn health(rise: u32, fall: u32, initial: State) -> Health {
    let count = |n| NonZeroU32::new(n).unwrap();
    let (rise, fall) = (count(rise), count(fall));
    Health::new(Terms { rise, fall }, initial)
}

/// The states after each of these probes: `+` passes, `-` fails.
fn states(mut health: Health, probes: &str) -> String {
    let letter = |probe| {
        health.on_probe(probe == '+');
        match (health.state(), health.in_transition()) {
            (State::Up, false) => 'U',
            (State::Up, true) => 'u',
            (State::Down, false) => 'D',
            (State::Down, true) => 'd',
        }
    };
    probes.chars().map(letter).collect()
}

#[test]
fn failures_in_a_row_take_a_backend_down_and_passes_in_a_row_bring_it_up() {
    let got = states(health(2, 3, State::Up), "+---+++");
    assert_eq!(got, "UuuDdUU");
}

#[test]
fn one_pass_makes_up_for_every_failure_before_the_last() {
    assert_eq!(states(health(2, 3, State::Up), "--+--+--"), "uuUuuUuu");
}

#[test]
fn one_failure_while_rising_starts_again() {
    assert_eq!(states(health(3, 2, State::Down), "++-++-+++"), "ddDddDddU");
}

#[test]
fn with_one_and_one_every_probe_decides_and_nothing_is_in_transition() {
    assert_eq!(states(health(1, 1, State::Down), "+-+"), "UDU");
}

#[test]
fn the_first_state_is_settled_either_way() {
    for state in [State::Up, State::Down] {
        let health = health(5, 5, state);
        assert_eq!((health.state(), health.in_transition()), (state, false));
        assert!(health.streak().is_empty());
    }
}

#[test]
fn a_change_names_both_states_and_comes_once() {
    let mut health = health(1, 2, State::Up);
    assert_eq!(health.on_probe(false), None);
    let (from, to) = (State::Up, State::Down);
    assert_eq!(health.on_probe(false), Some(Change { from, to }));
    assert_eq!(health.on_probe(false), None);
    let change = health.on_probe(true).unwrap();
    assert_eq!(format!("{} {}", change.from, change.to), "down up");
}

#[test]
fn streaks_count_on_when_the_state_is_settled() {
    let mut health = health(2, 2, State::Up);
    for _ in 0..39 {
        health.on_probe(true);
    }
    assert_eq!(health.streak(), Streak::Passed(39));
    health.on_probe(false);
    assert_eq!(health.streak(), Streak::Failed(1));
}

#[test]
fn the_largest_terms_do_not_overflow() {
    let mut health = health(u32::MAX, u32::MAX, State::Up);
    health.on_probe(false);
    assert_eq!((health.state(), health.in_transition()), (State::Up, true));
    health.on_probe(true);
    assert!(!health.in_transition());
}

proptest! {
    /// The same said in another way: a state changes exactly when as many probes in a row as it takes spoke against it.
    #[test]
    fn the_state_is_what_the_last_full_row_of_probes_said(
        rise in 1_u32..6,
        fall in 1_u32..6,
        up: bool,
        probes in prop::collection::vec(any::<bool>(), 0..60),
    ) {
        let mut state = if up { State::Up } else { State::Down };
        let mut health = health(rise, fall, state);
        let mut against = 0;
        for passed in probes {
            let speaks_against = passed != (state == State::Up);
            against = if speaks_against { against + 1 } else { 0 };
            let (needed, other) = match state {
                State::Up => (fall, State::Down),
                State::Down => (rise, State::Up),
            };
            let change = health.on_probe(passed);
            prop_assert_eq!(change.is_some(), against == needed);
            if against == needed {
                (state, against) = (other, 0);
            }
            prop_assert_eq!(health.state(), state);
            prop_assert_eq!(health.in_transition(), against > 0);
        }
    }
}
