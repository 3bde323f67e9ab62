//! Signals: a drain lets connections go in an order that their clients can stand, and the process ends with 0.

use super::before;
use crate::support::{Backend, End, Peer, Proxy, Setup, wait};
use nix::sys::signal::Signal;
use std::io::ErrorKind;
use std::time::Duration;

fn await_refusal(proxy: &Proxy) {
    wait::until("new connections are refused", || {
        let refused = Peer::try_connect(proxy.address());
        matches!(refused, Err(e) if e.kind() == ErrorKind::ConnectionRefused)
    });
}

#[test]
fn an_idle_proxy_exits_at_once() {
    let proxy = Setup::new(&[Backend::refusing()])
        .process("workers = 2")
        .process("drain_over = \"60s\"")
        .process("drain_deadline = \"90s\"")
        .start();
    let (exit, took) = wait::timed(|| proxy.terminate());
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(exit.stderr.contains("stopped"), "{}", exit.stderr);
}

#[test]
fn open_connections_are_ended_one_by_one_over_the_span() {
    let backend = Backend::echo();
    let proxy = before(&backend).process("drain_over = \"2s\"").start();
    let clients: Vec<_> = (0..10).map(|_| proxy.connect()).collect();
    for client in &clients {
        client.send(b"hello");
        client.expect(b"hello");
    }
    proxy.signal(Signal::SIGTERM);
    await_refusal(&proxy);
    let ended: Vec<_> = clients
        .into_iter()
        .map(|client| {
            std::thread::spawn(move || {
                client.expect_fin();
                wait::now()
            })
        })
        .collect();
    let mut ended: Vec<_> = ended.into_iter().map(|at| at.join().unwrap()).collect();
    ended.sort_unstable();
    let span = ended[9] - ended[0];
    assert!(span > Duration::from_millis(600), "all within {span:?}");
    let exit = proxy.await_exit();
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    assert_eq!(
        exit.stderr.matches("\"end\":\"drain/relaying\"").count(),
        10
    );
    assert_eq!(exit.stderr.matches("\"code\":\"dD\"").count(), 10);
}

#[test]
fn a_connection_goes_on_until_its_turn() {
    let backend = Backend::echo();
    let proxy = before(&backend).process("drain_over = \"3s\"").start();
    let clients: Vec<_> = (0..2).map(|_| proxy.connect()).collect();
    for client in &clients {
        client.send(b"hello");
        client.expect(b"hello");
    }
    proxy.signal(Signal::SIGTERM);
    await_refusal(&proxy);
    // The other one's turn is in a second and a half: slots are asked in their order.
    clients[0].expect_fin();
    clients[1].send(b"still here");
    clients[1].expect(b"still here");
    drop(clients);
    assert_eq!(proxy.await_exit().code, Some(0));
}

#[test]
fn what_is_left_at_the_deadline_is_cut() {
    let backend = Backend::new();
    let proxy = before(&backend)
        .process("drain_over = \"60s\"")
        .process("drain_deadline = \"500ms\"")
        .start();
    let relays: Vec<_> = (0..5)
        .map(|_| (proxy.connect(), backend.accept()))
        .collect();
    let (exit, took) = wait::timed(|| proxy.terminate());
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert_eq!(exit.stderr.matches("\"end\":\"drain/relaying\"").count(), 5);
    for (client, served) in relays {
        client.expect_fin();
        served.expect_fin();
    }
}

#[test]
fn a_stalled_reader_does_not_keep_a_drain_past_its_deadline() {
    let backend = Backend::new();
    let proxy = before(&backend)
        .process("drain_over = \"0s\"")
        .process("drain_deadline = \"500ms\"")
        .start();
    let _client = Peer::connect_narrow(proxy.address(), 8 << 10);
    backend.accept().send_until_full(64 << 20);
    let (exit, took) = wait::timed(|| proxy.terminate());
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[test]
fn bytes_received_before_a_drain_are_delivered_before_fin() {
    let backend = Backend::new();
    let proxy = before(&backend).process("drain_over = \"0s\"").start();
    let client = Peer::connect_narrow(proxy.address(), 8 << 10);
    let from = client.local();
    let served = backend.accept();
    let sent = served.send_until_full(64 << 20);
    proxy.signal(Signal::SIGTERM);
    await_refusal(&proxy);
    let (got, end) = client.drain_pattern(0);
    assert_eq!(end, End::Fin);
    client.fin();
    let line = proxy.await_access_of(from);
    assert_eq!(line.end(), ("drain/relaying", "dD"));
    assert_eq!(line.number("bytes_down"), got as u64);
    assert!(got <= sent && got > 64 << 10, "{got} of {sent}");
    drop(served);
    assert_eq!(proxy.await_exit().code, Some(0));
}

#[test]
fn listeners_stay_open_for_drain_delay() {
    let backend = Backend::echo();
    let proxy = before(&backend)
        .process("drain_delay = \"2s\"")
        .process("drain_over = \"0s\"")
        .start();
    let (exit, took) = wait::timed(|| {
        proxy.signal(Signal::SIGTERM);
        proxy.await_line("draining");
        let client = proxy.connect();
        client.send(b"late, but served");
        client.expect(b"late, but served");
        proxy.await_exit()
    });
    assert_eq!(exit.code, Some(0), "{}", exit.stderr);
    assert!(took >= Duration::from_millis(1900), "{took:?}");
}

#[test]
fn a_client_that_is_being_dialed_for_does_not_hold_up_a_drain() {
    let (silent, _queue) = Backend::silent();
    let proxy = before(&silent)
        .upstream("connect_timeout = \"60s\"")
        .process("drain_over = \"0s\"")
        .start();
    let before = proxy.descriptors();
    let client = proxy.connect();
    wait::until("it is accepted", || proxy.descriptors() > before);
    proxy.signal(Signal::SIGTERM);
    let (bytes, _) = client.drain();
    assert_eq!(bytes, b"");
    assert_eq!(proxy.await_exit().code, Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for second in [Signal::SIGTERM, Signal::SIGINT] {
        let backend = Backend::new();
        let proxy = before(&backend)
            .process("drain_over = \"60s\"")
            .process("drain_deadline = \"90s\"")
            .start();
        let relays: Vec<_> = (0..3)
            .map(|_| (proxy.connect(), backend.accept()))
            .collect();
        proxy.signal(Signal::SIGTERM);
        proxy.await_line("draining");
        proxy.signal(second);
        let (exit, took) = wait::timed(|| proxy.await_exit());
        assert_eq!(exit.code, Some(0), "{}", exit.stderr);
        assert!(took < Duration::from_secs(10), "{took:?}");
        drop(relays);
    }
}

#[test]
fn sigint_drains_as_sigterm_does() {
    let proxy = Setup::new(&[Backend::refusing()]).start();
    proxy.signal(Signal::SIGINT);
    assert_eq!(proxy.await_exit().code, Some(0));
}

#[test]
fn sighup_does_not_end_it() {
    let backend = Backend::echo();
    let proxy = before(&backend).start();
    let client = proxy.connect();
    proxy.signal(Signal::SIGHUP);
    proxy.await_line("reloaded");
    client.send(b"alive");
    client.expect(b"alive");
}
