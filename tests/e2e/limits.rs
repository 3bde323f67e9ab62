//! Limits of connections and of descriptors: what is over them is turned away, what is below goes on.

use crate::support::{Backend, Peer, Proxy, Setup, procfs, wait};
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::time::Duration;

fn exchange(client: &Peer, text: &str) {
    client.send(text.as_bytes());
    client.expect(text.as_bytes());
}

/// A client that must not be served: it is reset, perhaps before its connect returned.
pub(crate) fn expect_turned_away(at: SocketAddr) {
    match Peer::try_connect(at) {
        Ok(client) => client.expect_reset(),
        Err(e) => assert_eq!(e.kind(), ErrorKind::ConnectionReset),
    }
}

/// A client that was really served.
fn served(at: SocketAddr) -> Option<Peer> {
    let client = Peer::try_connect(at).ok()?;
    client.try_send(b"?").ok()?;
    let mut got = [0];
    client.stream().read_exact(&mut got).ok()?;
    Some(client)
}

#[test]
fn clients_over_the_process_limit_are_reset_and_places_come_back() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend)
        .process("max_connections = 3")
        .start();
    let mut clients: Vec<_> = (0..3).map(|_| proxy.connect()).collect();
    clients.iter().for_each(|client| exchange(client, "mine"));
    for _ in 0..20 {
        expect_turned_away(proxy.address());
    }
    clients
        .iter()
        .for_each(|client| exchange(client, "still mine"));
    clients.pop().unwrap().close();
    clients.push(wait::until_some("its place is free again", || {
        served(proxy.address())
    }));
    expect_turned_away(proxy.address());
    clients.iter().for_each(|client| exchange(client, "ours"));
}

#[test]
fn clients_over_a_listeners_limit_leave_other_listeners_alone() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend)
        .process("workers = 2")
        .listener("max_connections = 4")
        .more("[[listener]]\nname = \"other\"\nlisten = \"127.0.0.1:0\"\nupstream = \"feed\"\n")
        .start();
    let clients: Vec<_> = (0..4).map(|_| proxy.connect()).collect();
    clients.iter().for_each(|client| exchange(client, "mine"));
    for _ in 0..10 {
        expect_turned_away(proxy.address());
        exchange(&Peer::connect(proxy.address_of("other")), "free here");
    }
    clients
        .iter()
        .for_each(|client| exchange(client, "still mine"));
}

/// A proxy with 64 descriptors, clients that use nearly all of them, and twice as many that ask for more.
fn crowded(backend: &Backend) -> (Proxy, Vec<Peer>, Vec<std::io::Result<Peer>>) {
    let proxy = Setup::before(backend)
        .descriptors(64)
        .process("max_connections = 1000")
        .start();
    proxy.await_line("RLIMIT_NOFILE is 64");
    let room = (64 - proxy.descriptors()) / 2 - 1;
    let inside: Vec<_> = (0..room)
        .map(|_| served(proxy.address()).expect("there is room"))
        .collect();
    let outside = (0..2 * room)
        .map(|_| Peer::try_connect(proxy.address()))
        .collect();
    (proxy, inside, outside)
}

#[test]
fn a_process_out_of_descriptors_goes_on_and_recovers() {
    let backend = Backend::echo();
    let (proxy, inside, outside) = crowded(&backend);
    wait::holds_for(Duration::from_secs(2), "those inside go on", || {
        inside
            .iter()
            .for_each(|client| exchange(client, "still here"));
        true
    });
    drop((inside, outside));
    let client = wait::until_some("a new client is served", || served(proxy.address()));
    exchange(&client, "welcome");
}

#[test]
fn a_process_out_of_descriptors_does_not_spin() {
    let backend = Backend::echo();
    let (proxy, inside, outside) = crowded(&backend);
    let before = procfs::cpu_time(proxy.pid());
    wait::holds_for(Duration::from_secs(3), "it waits", || {
        procfs::cpu_time(proxy.pid()) - before < Duration::from_secs(1)
    });
    drop((inside, outside));
}
