//! Who gets the next connection: by policy, and by what is known of the backends.

use crate::support::{Backend, Peer, Proxy, Setup, wait};
use std::collections::HashMap;
use std::net::SocketAddr;

/// Backends that each say their address to everyone who comes, and stay.
fn named(count: usize) -> Vec<Backend> {
    (0..count)
        .map(|_| on(SocketAddr::from(([127, 0, 0, 1], 0))))
        .collect()
}

/// One at this address.
fn on(address: SocketAddr) -> Backend {
    let backend = Backend::on(address);
    let name = backend.address().to_string();
    backend.serving(move |peer| {
        let _ = peer.try_send(name.as_bytes());
        peer.drain_some();
    })
}

fn addresses(backends: &[Backend]) -> Vec<SocketAddr> {
    backends.iter().map(Backend::address).collect()
}

/// A client that stays, and where it got to; `None` when it was turned away.
fn client(proxy: &Proxy) -> Option<(Peer, String)> {
    let client = proxy.connect();
    let name = String::from_utf8(client.drain_some()).unwrap();
    (!name.is_empty()).then_some((client, name))
}

/// How many of so many clients, who all stay, get to each backend.
fn spread(proxy: &Proxy, clients: usize) -> (Vec<(Peer, String)>, HashMap<String, usize>) {
    let all = (0..clients).map(|_| client(proxy).expect("there is a backend"));
    let all: Vec<_> = all.collect();
    let mut counts = HashMap::new();
    for (_, name) in &all {
        *counts.entry(name.clone()).or_default() += 1;
    }
    (all, counts)
}

fn shares(backends: &[Backend], counts: &HashMap<String, usize>) -> Vec<usize> {
    let of = |backend: &Backend| counts.get(&backend.address().to_string()).copied();
    backends
        .iter()
        .map(|backend| of(backend).unwrap_or(0))
        .collect()
}

#[test]
fn round_robin_takes_turns_by_weight() {
    let backends = named(3);
    let tables: String = backends
        .iter()
        .zip([1, 2, 3])
        .map(|(it, weight)| {
            format!(
                "[[upstream.backend]]\naddress = \"{}\"\nweight = {weight}\n",
                it.address()
            )
        })
        .collect();
    let proxy = Setup::new(&[])
        .process("workers = 1")
        .upstream("balance = \"round_robin\"")
        .more(&tables)
        .start();
    let (_peers, counts) = spread(&proxy, 12);
    assert_eq!(shares(&backends, &counts), [2, 4, 6]);
}

#[test]
fn least_conn_evens_out_what_is_open_over_all_workers() {
    let backends = named(3);
    let proxy = Setup::new(&addresses(&backends))
        .process("workers = 2")
        .upstream("balance = \"least_conn\"")
        .start();
    let (peers, counts) = spread(&proxy, 60);
    assert_eq!(shares(&backends, &counts), [20, 20, 20]);
    let emptied = backends[1].address().to_string();
    let (leaving, _staying): (Vec<_>, Vec<_>) =
        peers.into_iter().partition(|(_, name)| *name == emptied);
    drop(leaving);
    proxy.await_access(20);
    let (_peers, counts) = spread(&proxy, 20);
    assert_eq!(shares(&backends, &counts), [0, 20, 0]);
}

#[test]
fn two_choices_keep_the_fullest_near_the_others() {
    let backends = named(4);
    let proxy = Setup::new(&addresses(&backends))
        .process("workers = 2")
        .upstream("balance = \"random_two\"")
        .start();
    let (_peers, counts) = spread(&proxy, 200);
    let shares = shares(&backends, &counts);
    assert!(
        shares.iter().all(|share| (44..=56).contains(share)),
        "{shares:?}"
    );
}

#[test]
fn a_load_factor_bounds_what_one_client_address_brings_to_one_backend() {
    let backends = named(4);
    let proxy = Setup::new(&addresses(&backends))
        .upstream("hash_load_factor = 1.25")
        .start();
    let (_peers, counts) = spread(&proxy, 100);
    let shares = shares(&backends, &counts);
    assert!(shares.iter().all(|share| *share <= 32), "{shares:?}");
}

#[test]
fn nobody_gets_to_a_backend_in_drain_or_maint_or_to_a_backup_while_another_serves() {
    let backends = named(4);
    let lines = [
        "",
        "state = \"drain\"",
        "state = \"maint\"",
        "backup = true",
    ];
    let tables: String = backends
        .iter()
        .zip(lines)
        .map(|(it, line)| {
            format!(
                "[[upstream.backend]]\naddress = \"{}\"\n{line}\n",
                it.address()
            )
        })
        .collect();
    let mut backends = backends;
    let proxy = Setup::new(&[])
        .upstream("balance = \"round_robin\"")
        .more(&tables)
        .start();
    let (_peers, counts) = spread(&proxy, 10);
    assert_eq!(shares(&backends, &counts), [10, 0, 0, 0]);
    backends.remove(0).close();
    let (_peers, counts) = spread(&proxy, 10);
    assert_eq!(shares(&backends, &counts), [0, 0, 10], "the backup");
}

#[test]
fn a_full_backend_gets_no_more_and_a_full_upstream_turns_clients_away() {
    let backends = named(2);
    let tables: String = backends
        .iter()
        .map(|it| {
            format!(
                "[[upstream.backend]]\naddress = \"{}\"\nmax_connections = 3\n",
                it.address()
            )
        })
        .collect();
    let proxy = Setup::new(&[]).process("workers = 2").more(&tables).start();
    // All are of one address, and so of one backend, while that has room.
    let (mut peers, counts) = spread(&proxy, 6);
    assert_eq!(shares(&backends, &counts), [3, 3]);
    assert!(client(&proxy).is_none(), "both are full");
    let line = proxy.await_first_access();
    assert_eq!(line.end(), ("no-backend/dialing", "SC"));
    drop(peers.pop());
    proxy.await_access(2);
    assert!(client(&proxy).is_some(), "one has left");
}

#[test]
fn the_third_failed_dial_takes_a_backend_out_and_one_that_succeeds_brings_it_back() {
    let mut backends = named(2);
    let proxy = Setup::new(&addresses(&backends))
        .process("workers = 1")
        .upstream("balance = \"round_robin\"")
        .upstream("fail_timeout = \"500ms\"")
        .start();
    let lost = backends.remove(1).close();
    let (_peers, counts) = spread(&proxy, 10);
    assert_eq!(shares(&backends, &counts), [10]);
    let line = proxy.await_line("dials fail: out");
    assert!(line.contains("\"failed_in_a_row\":3"), "{line}");
    let again = on(lost);
    wait::until("it is tried again", || {
        client(&proxy).expect("one of both").1 == again.address().to_string()
    });
    proxy.await_line("dials succeed: in again");
}

#[test]
fn when_all_are_out_clients_are_turned_away_or_all_are_tried() {
    let (refused, tried) = ("refuse", "try_all");
    for (all_down, tries) in [(refused, 0), (tried, 1)] {
        let gone = Backend::refusing();
        let proxy = Setup::new(&[gone])
            .process("workers = 1")
            .upstream(&format!("all_down = \"{all_down}\"\nmax_fails = 1"))
            .start();
        assert!(client(&proxy).is_none());
        proxy.await_line("dials fail: out");
        assert!(client(&proxy).is_none());
        let lines = proxy.await_access(2);
        assert_eq!(lines[1].number("tries"), tries, "{all_down}");
    }
}

const PROBE: &str = "probe = { interval = \"100ms\", timeout = \"100ms\", rise = 1, fall = 2 }";

#[test]
fn a_backend_whose_probes_fail_gets_nobody_until_they_pass() {
    let mut backends = named(2);
    let proxy = Setup::new(&addresses(&backends))
        .upstream(PROBE)
        .upstream("balance = \"round_robin\"\nmax_fails = 0")
        .start();
    let lost = backends.remove(1).close();
    let line = proxy.await_line("\"to\":\"down\"");
    assert!(line.contains("WARN") && line.contains("refused"), "{line}");
    let clients: Vec<_> = (0..10)
        .map(|_| client(&proxy).expect("one is up"))
        .collect();
    drop(clients);
    let lines = proxy.await_access(10);
    assert!(lines.iter().all(|line| line.number("tries") == 1));
    let again = on(lost);
    proxy.await_line("\"to\":\"up\"");
    let (_peers, counts) = spread(&proxy, 10);
    assert_eq!(shares(&backends, &counts), [5]);
    assert_eq!(shares(&[again], &counts), [5]);
}

#[test]
fn connections_of_a_backend_that_goes_down_stay_or_are_closed_as_on_down_says() {
    for on_down in ["keep", "close"] {
        let backend = Backend::new();
        let proxy = Setup::before(&backend)
            .process("drain_over = \"100ms\"")
            .upstream(PROBE)
            .upstream(&format!("on_down = \"{on_down}\""))
            .start();
        let client = proxy.connect();
        client.send(b"hello");
        // Probes come too, and say nothing.
        let served = std::iter::repeat_with(|| backend.accept())
            .take(100)
            .find(|peer| peer.drain_some() == b"hello")
            .expect("the client's");
        backend.close();
        proxy.await_line("\"to\":\"down\"");
        if on_down == "close" {
            client.expect_fin();
            served.expect_fin();
            client.fin();
            served.fin();
            let line = proxy.await_first_access();
            assert_eq!(line.end(), ("backend-down/relaying", "DD"));
        } else {
            served.send(b"still here");
            client.expect(b"still here");
        }
    }
}

#[test]
fn a_backend_that_starts_down_gets_nobody_before_its_first_probe_passed() {
    let backend = Backend::new();
    let proxy = Setup::before(&backend)
        .upstream("all_down = \"refuse\"")
        .upstream("probe = { interval = \"1h\", initial = \"down\" }")
        .start();
    assert!(client(&proxy).is_none());
    assert_eq!(
        proxy.await_first_access().end(),
        ("no-backend/dialing", "SC")
    );
}

#[test]
fn source_addresses_are_used_in_turn() {
    let backend = Backend::new();
    let proxy = Setup::before(&backend)
        .process("workers = 1")
        .upstream("source_addresses = [\"127.0.0.11\", \"127.0.0.12\"]")
        .start();
    let clients: Vec<_> = (0..6).map(|_| proxy.connect()).collect();
    let mut sources: Vec<_> = clients
        .iter()
        .map(|_| backend.accept().remote().ip().to_string())
        .collect();
    sources.sort_unstable();
    let (one, other) = (["127.0.0.11"; 3], ["127.0.0.12"; 3]);
    assert_eq!(sources, [one, other].concat());
}

#[test]
fn a_source_address_that_is_not_there_costs_a_try_and_no_client() {
    let backend = Backend::echo();
    let proxy = Setup::before(&backend)
        .process("workers = 1")
        .upstream("source_addresses = [\"192.0.2.1\", \"127.0.0.12\"]")
        .start();
    for _ in 0..4 {
        let client = proxy.connect();
        client.send(b"hello");
        client.expect(b"hello");
    }
    let lines = proxy.await_access(4);
    let tries: Vec<_> = lines.iter().map(|line| line.number("tries")).collect();
    assert!(tries.contains(&2), "{tries:?}");
    proxy.await_line("local ports run out");
}

#[test]
fn probes_can_be_asked_for_on_the_command_line() {
    let backend = Backend::refusing();
    let probe = "interval=100 rise=2 fall=2 timeout=100 type=tcp";
    let proxy = Proxy::with_arguments(&[
        "run",
        "--listen",
        "127.0.0.1:0",
        "--backend",
        &backend.to_string(),
        "--probe",
        probe,
    ]);
    proxy.await_line("to=\"down\"");
}
