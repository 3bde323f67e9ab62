//! Connections on which nothing moves any more.

use super::before;
use crate::support::{Backend, End, Peer, pattern, wait};
use std::time::Duration;

#[test]
fn an_idle_connection_is_closed_on_both_sides() {
    let backend = Backend::new();
    let proxy = before(&backend)
        .listener("idle_timeout = \"300ms\"")
        .start();
    let (client, served) = (proxy.connect(), backend.accept());
    let ((), took) = wait::timed(|| client.expect_fin());
    assert!(took >= Duration::from_millis(200), "{took:?}");
    served.expect_fin();
    let line = proxy.await_access_of(client.local());
    assert_eq!(line.end(), ("idle/relaying", "cD"));
    assert!(line.number("duration_ms") >= 290);
}

#[test]
fn bytes_in_one_direction_alone_keep_a_connection_from_being_idle() {
    let backend = Backend::new();
    let proxy = before(&backend).listener("idle_timeout = \"1s\"").start();
    let relays: Vec<_> = (0..2)
        .map(|_| (proxy.connect(), backend.accept()))
        .collect();
    let rounds = std::cell::Cell::new(0);
    wait::holds_for(Duration::from_secs(3), "it is open", || {
        let (client, served) = &relays[0];
        client.send(b"u");
        served.expect(b"u");
        let (client, served) = &relays[1];
        served.send(b"d");
        client.expect(b"d");
        rounds.set(rounds.get() + 1);
        proxy.access().is_empty()
    });
    assert!(rounds.get() > 10);
}

#[test]
fn a_backend_that_keeps_silent_after_the_clients_fin_is_closed() {
    let backend = Backend::new();
    let proxy = before(&backend)
        .listener("half_close_timeout = \"300ms\"")
        .start();
    let (client, served) = (proxy.connect(), backend.accept());
    client.fin();
    served.expect_fin();
    client.expect_fin();
    let line = proxy.await_access_of(client.local());
    assert_eq!(line.end(), ("backend-half-close/half-closed", "sL"));
}

#[test]
fn a_client_that_keeps_silent_after_the_backends_fin_is_closed() {
    let backend = Backend::new();
    let proxy = before(&backend)
        .listener("half_close_timeout = \"300ms\"")
        .start();
    let (client, served) = (proxy.connect(), backend.accept());
    served.fin();
    client.expect_fin();
    served.expect_fin();
    let line = proxy.await_access_of(client.local());
    assert_eq!(line.end(), ("client-half-close/half-closed", "cL"));
}

#[test]
fn half_close_timeout_runs_only_while_no_byte_comes() {
    let backend = Backend::new();
    let proxy = before(&backend)
        .listener("half_close_timeout = \"1s\"")
        .start();
    let (client, served) = (proxy.connect(), backend.accept());
    client.fin();
    served.expect_fin();
    wait::holds_for(Duration::from_secs(3), "it is open", || {
        served.send(b"x");
        client.expect(b"x");
        proxy.access().is_empty()
    });
    served.fin();
    client.expect_fin();
    assert_eq!(
        proxy.await_access_of(client.local()).end(),
        ("client-fin/done", "--")
    );
}

#[test]
fn a_connection_ends_at_its_age_on_both_sides() {
    let backend = Backend::new();
    let proxy = before(&backend).listener("max_age = \"2s\"").start();
    let (client, served) = (proxy.connect(), backend.accept());
    served.send(b"the last words");
    client.expect(b"the last words");
    client.expect_fin();
    served.expect_fin();
    let line = proxy.await_access_of(client.local());
    assert_eq!(line.end(), ("max-age/relaying", "dD"));
    assert!(line.number("duration_ms") >= 1_790, "{line:?}");
}

#[test]
fn a_client_that_leaves_too_much_unsent_is_reset_and_others_are_not() {
    let backend = Backend::new();
    let proxy = before(&backend)
        .listener("slow_client = { unsent = \"48KiB\", for = \"600ms\" }")
        .start();
    let (reads, reads_not) = (proxy.connect(), backend.accept());
    let stalls = Peer::connect_narrow(proxy.address(), 8 << 10);
    let sends = backend.accept();
    // More than all that may hold it: it ends when the proxy does it.
    let flood = move || {
        let mut parts = (0..64).map(|mib| pattern(mib << 20, 1 << 20));
        parts.try_for_each(|part| sends.try_send(part))
    };
    let flood = std::thread::spawn(flood);
    let line = proxy.await_access_of(stalls.local());
    assert_eq!(line.end(), ("slow-client/relaying", "cD"));
    assert!(line.number("duration_ms") >= 600, "{line:?}");
    assert_eq!(stalls.drain_pattern(0).1, End::Reset);
    assert!(flood.join().unwrap().is_err(), "it was told");
    // Less than would count, however slow this machine is.
    reads_not.send_pattern(32 << 10);
    reads.expect_pattern(32 << 10);
    reads.fin();
    reads_not.expect_fin();
}
