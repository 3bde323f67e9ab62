//! Who is let in: networks, how many of one address, how fast; over all workers together.

use crate::support::{Backend, Peer, Proxy, Setup, wait};
use std::io::ErrorKind;

fn start(backend: &Backend, line: &str) -> Proxy {
    Setup::before(backend)
        .process("workers = 2")
        .listener(line)
        .start()
}

fn from(address: &str, proxy: &Proxy) -> Peer {
    Peer::connect_from(address.parse().unwrap(), proxy.address())
}

/// Whether a client of this address is let in: one that is not gets RST, at times before its connect has returned.
fn is_served(address: &str, proxy: &Proxy) -> bool {
    let ip = address.parse().unwrap();
    match Peer::try_connect_from(ip, proxy.address()) {
        Ok(client) => client.try_send(b"hello").is_ok() && client.drain_some() == b"hello",
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            false
        }
    }
}

#[test]
fn who_is_not_allowed_or_is_denied_is_closed_at_once() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend)
        .listener("allow = [\"127.0.0.0/24\"]")
        .listener("deny = [\"127.0.0.3\"]")
        .start();
    let welcome = from("127.0.0.2", &proxy);
    welcome.send(b"hello");
    welcome.expect(b"hello");
    assert!(!is_served("127.0.1.2", &proxy), "it is not allowed");
    assert!(!is_served("127.0.0.3", &proxy), "it is denied");
}

#[test]
fn an_address_has_so_many_connections_over_all_workers_and_another_has_its_own() {
    let backend = Backend::echo();
    let proxy = start(&backend, "max_connections_per_ip = 5");
    let mut held: Vec<_> = (0..5).map(|_| from("127.0.0.2", &proxy)).collect();
    for client in &held {
        client.send(b"hello");
        client.expect(b"hello");
    }
    assert!(!is_served("127.0.0.2", &proxy), "it has five");
    let other = from("127.0.0.3", &proxy);
    other.send(b"hello");
    other.expect(b"hello");
    held.pop().unwrap().close();
    wait::until("a place is free again", || is_served("127.0.0.2", &proxy));
}

#[test]
fn an_address_that_comes_too_fast_waits_its_turn() {
    let backend = Backend::echo();
    let proxy = start(&backend, "connect_rate_per_ip = \"10/1h\"");
    let served = (0..30).filter(|_| is_served("127.0.0.2", &proxy)).count();
    assert_eq!(served, 10);
    let other = from("127.0.0.3", &proxy);
    other.send(b"hello");
    other.expect(b"hello");
}
