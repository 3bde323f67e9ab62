//! Nothing is assumed: whatever a proxy could do to a stream, the clients find and name.

use crate::support::{TICK, Tamper, backend, faithful, feed, flip, one_client, relay};
use ringway_loadgen::{BackendRole, ClientRole, Direction, Fault, Stats, drive};

/// Messages before the mischief, and in all before the relay hangs up.
const BEFORE: usize = 5;
const ALL: usize = 20;

/// What a subscriber behind `tamper` reports, apart from the relay's hanging up.
fn subscribe(
    mut tamper: impl FnMut(usize, Vec<u8>) -> Vec<u8> + Send + 'static,
) -> Vec<(Fault, u64)> {
    let publisher = feed();
    let mut number = 0;
    let down: Tamper = Box::new(move |tick| {
        number += 1;
        (number <= ALL).then(|| tamper(number, tick))
    });
    let through = relay(publisher.addrs()[0], TICK as usize, faithful(), down);
    let seen = drive(&one_client(ClientRole::Subscribe, through))
        .unwrap()
        .join()
        .unwrap();
    publisher.stop().unwrap();
    assert!(seen.counters.messages > 0 || seen.faults.count(Fault::Garbled) > 0);
    let ends = [Fault::Cut, Fault::Reset];
    seen.faults
        .happened()
        .filter(|(fault, _)| !ends.contains(fault))
        .collect()
}

#[test]
fn an_honest_relay_raises_no_suspicion() {
    assert_eq!(subscribe(|_, tick| tick), []);
}

#[test]
fn a_flipped_bit_is_corruption_and_leaves_a_hole() {
    let faults = subscribe(|number, mut tick| {
        if number == BEFORE {
            tick[50] ^= 1;
        }
        tick
    });
    assert_eq!(faults, [(Fault::Corrupt, 1), (Fault::Gap, 1)]);
}

#[test]
fn lost_messages_are_counted() {
    let faults = subscribe(|number, tick| {
        if (BEFORE..BEFORE + 3).contains(&number) {
            Vec::new()
        } else {
            tick
        }
    });
    assert_eq!(faults, [(Fault::Gap, 3)]);
}

#[test]
fn a_repeated_message_is_a_duplicate() {
    let faults = subscribe(|number, tick| {
        if number == BEFORE {
            tick.repeat(2)
        } else {
            tick
        }
    });
    assert_eq!(faults, [(Fault::Duplicate, 1)]);
}

#[test]
fn swapped_messages_are_found() {
    let mut kept = Vec::new();
    let faults = subscribe(move |number, tick| {
        if number == BEFORE {
            kept = tick;
            return Vec::new();
        }
        [tick, std::mem::take(&mut kept)].concat()
    });
    assert_eq!(faults, [(Fault::Gap, 1), (Fault::Reordered, 1)]);
}

#[test]
fn a_lost_byte_puts_the_stream_out_of_step() {
    let faults = subscribe(|number, mut tick| {
        if number == BEFORE {
            tick.remove(0);
        }
        tick
    });
    assert_eq!(faults, [(Fault::Garbled, 1)]);
}

#[test]
fn an_end_in_the_middle_of_a_message_is_named() {
    let faults = subscribe(|number, mut tick| {
        if number == ALL {
            tick.truncate(30);
        }
        tick
    });
    assert_eq!(faults, [(Fault::Truncated, 1)]);
}

/// What one client of `role` reports behind a relay to a backend, and what the backend does.
fn run(server: BackendRole, role: ClientRole, up: Tamper, down: Tamper) -> (Stats, Stats) {
    let server = backend(server);
    let through = relay(server.addrs()[0], 4096, up, down);
    let seen = drive(&one_client(role, through)).unwrap().join().unwrap();
    (seen, server.stop().unwrap())
}

const ECHO: ClientRole = ClientRole::Echo {
    size: 4096,
    rate: None,
};

#[test]
fn an_echo_with_a_flipped_bit_is_corrupt() {
    let (seen, _) = run(BackendRole::Echo, ECHO, faithful(), flip(3));
    let faults: Vec<_> = seen.faults.happened().collect();
    assert_eq!(faults, [(Fault::Corrupt, 1)]);
    assert_eq!(seen.counters.exchanges, 3);
}

#[test]
fn an_echo_with_bytes_to_spare_is_found() {
    let spare: Tamper = Box::new(|mut unit| {
        unit.push(0);
        Some(unit)
    });
    let (seen, _) = run(BackendRole::Echo, ECHO, faithful(), spare);
    assert_eq!(seen.faults.total(), 1, "{:?}", seen.faults);
}

#[test]
fn bulk_downwards_with_a_flipped_bit_is_corrupt() {
    let direction = Direction::Down;
    let role = ClientRole::Bulk {
        direction,
        bytes: None,
    };
    let (seen, _) = run(BackendRole::Bulk { direction }, role, faithful(), flip(100));
    assert_eq!(seen.faults.count(Fault::Corrupt), 1);
}

#[test]
fn bulk_upwards_with_a_flipped_bit_is_corrupt_on_both_sides() {
    let direction = Direction::Up;
    let role = ClientRole::Bulk {
        direction,
        bytes: Some(1 << 20),
    };
    let (seen, served) = run(BackendRole::Bulk { direction }, role, flip(100), faithful());
    assert_eq!(seen.faults.count(Fault::Corrupt), 1, "by the receipt");
    assert_eq!(served.faults.count(Fault::Corrupt), 1);
}

#[test]
fn bulk_upwards_with_lost_bytes_at_the_end_is_found_by_the_receipt() {
    let direction = Direction::Up;
    let role = ClientRole::Bulk {
        direction,
        bytes: Some(1 << 20),
    };
    let mut left = 1usize << 20;
    let short: Tamper = Box::new(move |unit| {
        left -= unit.len();
        Some(if left == 0 { Vec::new() } else { unit })
    });
    let (seen, served) = run(BackendRole::Bulk { direction }, role, short, faithful());
    assert_eq!(seen.faults.count(Fault::Corrupt), 1);
    assert_eq!(served.faults.total(), 0, "the backend cannot know");
}

#[test]
fn bytes_on_an_idle_connection_are_found() {
    let feed = feed();
    let config = one_client(ClientRole::Hold, feed.addrs()[0]);
    let seen = drive(&config).unwrap().join().unwrap();
    feed.stop().unwrap();
    assert_eq!(seen.faults.count(Fault::Surplus), 1);
}
