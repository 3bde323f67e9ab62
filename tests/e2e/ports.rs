//! Local ports towards a backend: how many there are, and what happens when there are no more. In a network of the test's
//! own, where there are few.

use crate::support::{Backend, Peer, Proxy, Setup, skip, wait};
use nix::sched::{CloneFlags, unshare};
use std::process::Command;

/// Ports from here on are nobody's but those who connect: listeners have theirs from the system's own range.
const FIRST: u16 = 20_000;

/// So many.
const PORTS: u16 = 100;

/// The calling thread and what it starts from now on are alone in a network. False, loudly, where that is not allowed.
fn is_alone(test: &str) -> bool {
    if let Err(e) = unshare(CloneFlags::CLONE_NEWNET) {
        skip(test, &format!("no network namespace: {e}"));
        return false;
    }
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    assert!(up.expect("iproute2 is installed").success());
    true
}

fn narrow() {
    let range = format!("{FIRST} {}", FIRST + PORTS - 1);
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", range).unwrap();
}

/// Says hello to everyone who comes, and stays.
fn greeting() -> Backend {
    Backend::serve(|peer| {
        let _ = peer.try_send(b"hello");
        peer.drain_some();
    })
}

/// In front of it, on so many addresses that clients have ports enough, and with ports as few as said.
fn narrowed(backend: &Backend, upstream: &str) -> Proxy {
    let listen: Vec<_> = (1..=4)
        .map(|last| format!("\"127.0.1.{last}:0\""))
        .collect();
    let proxy = Setup::before(backend)
        .listener(&format!("listen = [{}]", listen.join(", ")))
        .upstream(upstream)
        .start();
    narrow();
    proxy
}

/// So many clients who stay, of whom each is served.
fn served(proxy: &Proxy, count: u16) -> Vec<Peer> {
    let addresses = proxy.listeners().iter().map(|(_, at)| *at).cycle();
    let clients = addresses.take(count.into()).map(|at| {
        let client = Peer::connect(at);
        client.expect(b"hello");
        client
    });
    clients.collect()
}

#[test]
fn a_client_for_whom_there_is_no_local_port_is_turned_away_and_told_of_in_advance() {
    if !is_alone("ports") {
        return;
    }
    let backend = greeting();
    let proxy = narrowed(&backend, "");
    let mut clients = served(&proxy, PORTS);
    let warning = proxy.await_line("local ports run out");
    assert!(warning.contains("source_addresses") && warning.contains("ip_local_port_range"));
    let (one_more, _) = Peer::connect(proxy.address()).drain();
    assert_eq!(one_more, b"");
    let ended = proxy.await_first_access();
    assert_eq!(ended.end(), ("resource/dialing", "RC"));
    assert_eq!(ended.text("errno"), "EADDRNOTAVAIL");
    clients.truncate(usize::from(PORTS / 2));
    proxy.await_line("local ports suffice again");
    wait::until("there is a port again", || {
        let client = Peer::connect(proxy.address());
        client.drain_some() == b"hello"
    });
}

#[test]
fn each_source_address_has_all_ports() {
    if !is_alone("source addresses") {
        return;
    }
    let backend = greeting();
    let proxy = narrowed(
        &backend,
        "source_addresses = [\"127.0.0.11\", \"127.0.0.12\"]",
    );
    let clients = served(&proxy, 2 * PORTS);
    assert_eq!(clients.len(), 2 * usize::from(PORTS));
    let warning = proxy.await_line("local ports run out");
    assert!(warning.contains("\"limit\":200"), "{warning}");
    let (one_more, _) = Peer::connect(proxy.address()).drain();
    assert_eq!(one_more, b"");
}
