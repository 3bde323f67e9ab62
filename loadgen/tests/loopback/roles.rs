//! Each role, both sides, on a kernel.

use crate::support::{backend, clients, feed, one_client, rate};
use ringway_loadgen::{
    BackendRole, ClientConfig, ClientRole, Direction, Fault, Handle, Stats, drive,
};
use std::net::TcpListener;

/// Runs to the end; the numbers of the clients and of the backend, which must all be clean.
fn run(backend: Handle, config: &ClientConfig) -> (Stats, Stats) {
    let seen = drive(config).unwrap().join().unwrap();
    let served = backend.stop().unwrap();
    for stats in [&seen, &served] {
        let faults: Vec<_> = stats.faults.happened().collect();
        assert_eq!(faults, []);
        assert_eq!(stats.connections.open(), 0);
    }
    (seen, served)
}

#[test]
fn a_closed_loop_echo_is_verified_and_timed() {
    let backend = backend(BackendRole::Echo);
    let config = clients(
        ClientRole::Echo {
            size: 200,
            rate: None,
        },
        backend.addrs()[0],
    );
    let (seen, served) = run(backend, &config);
    let exchanges = seen.measured().exchanges;
    assert!(exchanges > 10, "{exchanges} exchanges");
    assert!(seen.latency.count() >= exchanges);
    assert!(seen.latency.quantile_us(0.5) > 0.0);
    assert_eq!(seen.connections.opened, 4);
    assert_eq!(served.counters.bytes_received, served.counters.bytes_sent);
}

#[test]
fn an_echo_larger_than_any_buffer_comes_back_whole() {
    let backend = backend(BackendRole::Echo);
    let config = clients(
        ClientRole::Echo {
            size: 3_000_001,
            rate: None,
        },
        backend.addrs()[0],
    );
    let (seen, _) = run(backend, &config);
    assert!(seen.counters.exchanges > 0);
}

#[test]
fn no_echo_begins_before_the_last_connection_is_open() {
    let server = backend(BackendRole::Echo);
    let config = ClientConfig {
        connections: 8,
        ramp: Some(rate(40.0)),
        ..clients(
            ClientRole::Echo {
                size: 10,
                rate: None,
            },
            server.addrs()[0],
        )
    };
    let (seen, served) = run(server, &config);
    assert!(seen.counters.exchanges > 0);
    // What was exchanged before is forgotten by the clients, and not by the backend: the first request of each.
    let before = served.counters.bytes_received - seen.counters.bytes_sent;
    assert!(before <= 8 * 10, "{before} bytes");
}

#[test]
fn an_open_loop_echo_keeps_its_rate() {
    let backend = backend(BackendRole::Echo);
    let rate = Some(rate(500.0));
    let role = ClientRole::Echo { size: 64, rate };
    // Enough connections that a late turn of a busy machine finds one for each exchange that waits.
    let config = ClientConfig {
        connections: 150,
        ..clients(role, backend.addrs()[0])
    };
    let (seen, _) = run(backend, &config);
    let counters = seen.measured();
    assert!((148..=152).contains(&counters.planned), "{counters:?}");
    assert!(!seen.missed_schedule(), "{counters:?}");
    assert_eq!(seen.lag.count(), seen.latency.count());
}

#[test]
fn a_rate_that_cannot_be_kept_is_reported() {
    let backend = backend(BackendRole::Echo);
    let rate = Some(rate(10_000_000.0));
    let config = clients(ClientRole::Echo { size: 64, rate }, backend.addrs()[0]);
    let (seen, _) = run(backend, &config);
    assert!(seen.missed_schedule());
}

#[test]
fn a_feed_reaches_every_subscriber_in_order() {
    let backend = feed();
    let config = ClientConfig {
        connections: 20,
        threads: 2,
        sources: "127.1.0.0/29".parse().unwrap(),
        ..clients(ClientRole::Subscribe, backend.addrs()[0])
    };
    let (seen, served) = run(backend, &config);
    assert!(seen.measured().messages > 20, "{:?}", seen.measured());
    assert!(served.counters.messages >= seen.counters.messages);
    assert_eq!(seen.latency.count(), seen.latency_sent.count());
    assert!(seen.latency.mean_us() >= seen.latency_sent.mean_us());
}

#[test]
fn bulk_downwards_is_verified() {
    let backend = backend(BackendRole::Bulk {
        direction: Direction::Down,
    });
    let role = ClientRole::Bulk {
        direction: Direction::Down,
        bytes: None,
    };
    let config = clients(role, backend.addrs()[0]);
    let (seen, served) = run(backend, &config);
    assert!(seen.measured().bytes_received > 1_000_000);
    assert!(served.counters.bytes_sent >= seen.measured().bytes_received);
}

#[test]
fn bulk_upwards_ends_with_a_receipt_for_every_byte() {
    let backend = backend(BackendRole::Bulk {
        direction: Direction::Up,
    });
    let role = ClientRole::Bulk {
        direction: Direction::Up,
        bytes: Some(2_000_003),
    };
    let config = clients(role, backend.addrs()[0]);
    let (seen, served) = run(backend, &config);
    assert_eq!(seen.counters.exchanges, 4, "one receipt each");
    assert_eq!(served.counters.bytes_received, 4 * 2_000_003);
}

#[test]
fn bulk_upwards_until_the_time_is_over_has_its_receipts_too() {
    let backend = backend(BackendRole::Bulk {
        direction: Direction::Up,
    });
    let role = ClientRole::Bulk {
        direction: Direction::Up,
        bytes: None,
    };
    let config = clients(role, backend.addrs()[0]);
    let (seen, served) = run(backend, &config);
    assert_eq!(seen.counters.exchanges, 4);
    // Each receipt tells the exact number; what was sent before measuring began is not in ours.
    assert!(served.counters.bytes_received >= seen.counters.bytes_sent);
}

#[test]
fn churn_connects_exchanges_and_closes() {
    let backend = backend(BackendRole::Churn { size: 100 });
    let config = clients(
        ClientRole::Churn {
            size: 100,
            rate: None,
        },
        backend.addrs()[0],
    );
    let (seen, served) = run(backend, &config);
    assert!(seen.connections.opened > 4);
    assert!(seen.connect.count() >= seen.measured().exchanges);
    assert!(served.counters.exchanges >= seen.counters.exchanges);
}

#[test]
fn churn_at_a_rate_connects_as_often_as_planned() {
    let backend = backend(BackendRole::Churn { size: 100 });
    let role = ClientRole::Churn {
        size: 100,
        rate: Some(rate(200.0)),
    };
    let config = ClientConfig {
        connections: 64,
        ..clients(role, backend.addrs()[0])
    };
    let (seen, _) = run(backend, &config);
    let counters = seen.measured();
    assert!((59..=61).contains(&counters.planned), "{counters:?}");
    assert!(!seen.missed_schedule(), "{counters:?}");
    assert!(
        seen.connections.opened >= counters.issued,
        "each is a connection of its own"
    );
}

#[test]
fn held_connections_come_from_the_sources_and_stay() {
    let backend = backend(BackendRole::Hold);
    let config = ClientConfig {
        connections: 30,
        sources: "127.2.0.0/24".parse().unwrap(),
        ramp: Some(rate(500.0)),
        ..clients(ClientRole::Hold, backend.addrs()[0])
    };
    let (seen, served) = run(backend, &config);
    assert_eq!((seen.connections.opened, seen.open_at_end), (30, 30));
    assert_eq!(served.connections.opened, 30);
}

#[test]
fn stalled_readers_do_not_stop_the_others() {
    let backend = backend(BackendRole::Bulk {
        direction: Direction::Down,
    });
    let stall = one_client(ClientRole::Stall, backend.addrs()[0]);
    let stalled = drive(&ClientConfig {
        connections: 40,
        ..stall
    })
    .unwrap();
    let role = ClientRole::Bulk {
        direction: Direction::Down,
        bytes: Some(20_000_000),
    };
    let seen = drive(&clients(role, backend.addrs()[0]))
        .unwrap()
        .join()
        .unwrap();
    let stalled = stalled.stop().unwrap();
    assert_eq!(
        (stalled.counters.bytes_received, stalled.faults.total()),
        (0, 0)
    );
    assert_eq!(seen.faults.total(), 0);
    assert!(seen.counters.bytes_received > 1_000_000);
    backend.stop().unwrap();
}

#[test]
fn a_refused_fleet_ends_by_itself_and_says_so() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let seen = drive(&clients(ClientRole::Hold, nobody))
        .unwrap()
        .join()
        .unwrap();
    assert_eq!(seen.faults.count(Fault::Refused), 4);
    assert_eq!(seen.connections.opened, 0);
}

#[test]
fn a_backend_that_goes_away_cuts_what_is_held() {
    let backend = backend(BackendRole::Hold);
    let config = one_client(ClientRole::Hold, backend.addrs()[0]);
    let held = drive(&config).unwrap();
    while backend.stats().connections.opened == 0 {
        assert!(!held.is_finished(), "the client gave up");
        std::thread::yield_now();
    }
    backend.stop().unwrap();
    let seen = held.join().unwrap();
    assert_eq!(
        seen.faults.count(Fault::Cut) + seen.faults.count(Fault::Reset),
        1
    );
}

#[test]
fn the_numbers_can_be_read_while_it_runs() {
    let backend = feed();
    let config = one_client(ClientRole::Subscribe, backend.addrs()[0]);
    let running = drive(&config).unwrap();
    while running.stats().counters.messages == 0 {
        assert!(!running.is_finished(), "the run ended early");
        std::thread::yield_now();
    }
    let last = running.stop().unwrap();
    assert!(last.counters.messages > 0);
    backend.stop().unwrap();
}
