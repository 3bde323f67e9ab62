//! How connections end: FIN is relayed as FIN, RST as RST, each after the bytes before it.

use super::before;
use crate::support::{Backend, End, Peer, Proxy, procfs, wait};
use std::process::Command;
use std::time::Duration;

/// A client and its backend's end, relayed.
struct Relay {
    proxy: Proxy,
    client: Peer,
    backend: Peer,
    _listening: Backend,
}

impl Relay {
    fn new() -> Self {
        let listening = Backend::new();
        let proxy = before(&listening).start();
        let client = proxy.connect();
        let backend = listening.accept();
        Self {
            proxy,
            client,
            backend,
            _listening: listening,
        }
    }
}

#[test]
fn a_server_may_speak_first() {
    let relay = Relay::new();
    relay.backend.send(b"220 ready");
    relay.client.expect(b"220 ready");
    relay.client.send(b"EHLO");
    relay.backend.expect(b"EHLO");
}

#[test]
fn client_fin_reaches_backend_while_backend_still_sends() {
    let relay = Relay::new();
    relay.client.send(b"question");
    relay.client.fin();
    assert_eq!(relay.backend.drain(), (b"question".to_vec(), End::Fin));
    for _ in 0..20 {
        relay.backend.send(b"answer");
        relay.client.expect(b"answer");
    }
    relay.backend.fin();
    relay.client.expect_fin();
    let line = relay.proxy.await_first_access();
    assert_eq!(line.end(), ("client-fin/done", "--"));
    assert_eq!(
        (line.number("bytes_up"), line.number("bytes_down")),
        (8, 120)
    );
}

#[test]
fn backend_fin_reaches_client_while_client_still_sends() {
    let relay = Relay::new();
    relay.backend.send(b"last words");
    relay.backend.fin();
    assert_eq!(relay.client.drain(), (b"last words".to_vec(), End::Fin));
    for _ in 0..20 {
        relay.client.send(b"upload");
        relay.backend.expect(b"upload");
    }
    relay.client.fin();
    relay.backend.expect_fin();
    assert_eq!(
        relay.proxy.await_first_access().end(),
        ("backend-fin/done", "--")
    );
}

#[test]
fn a_half_closed_connection_still_moves_megabytes() {
    let relay = Relay::new();
    relay.client.fin();
    relay.backend.expect_fin();
    let backend = relay.backend.share();
    let sending = std::thread::spawn(move || {
        backend.send_pattern(10 << 20);
        backend.fin();
    });
    assert_eq!(relay.client.drain_pattern(0), (10 << 20, End::Fin));
    sending.join().unwrap();
    assert_eq!(
        relay.proxy.await_first_access().end(),
        ("client-fin/done", "--")
    );
}

#[test]
fn a_slow_reader_that_has_sent_fin_costs_no_processor_time() {
    let relay = Relay::new();
    relay.client.fin();
    relay.backend.expect_fin();
    relay.backend.send_until_full(64 << 20);
    let before = procfs::cpu_time(relay.proxy.pid());
    wait::holds_for(Duration::from_secs(2), "the proxy sleeps", || {
        procfs::cpu_time(relay.proxy.pid()) - before < Duration::from_millis(500)
    });
}

#[test]
fn a_fin_behind_bytes_that_a_slow_reader_leaves_comes_after_them() {
    let listening = Backend::new();
    let proxy = before(&listening).start();
    let client = Peer::connect_narrow(proxy.address(), 8 << 10);
    let backend = listening.accept();
    let sending = std::thread::spawn(move || {
        backend.send_pattern(8 << 20);
        backend.fin();
        backend.expect_fin();
    });
    wait::until("the first bytes wait for the reader", || {
        client.stream().peek(&mut [0]).unwrap() == 1
    });
    assert_eq!(client.drain_pattern(0), (8 << 20, End::Fin));
    client.fin();
    sending.join().unwrap();
}

#[test]
fn client_rst_reaches_backend_after_everything_sent_before() {
    let relay = Relay::new();
    relay.client.send_pattern(48 << 10);
    let client = relay.client.local();
    relay.client.reset();
    assert_eq!(relay.backend.drain_pattern(0), (48 << 10, End::Reset));
    let line = relay.proxy.await_access_of(client);
    assert_eq!(line.end(), ("client-reset/relaying", "CD"));
    assert_eq!(line.text("errno"), "ECONNRESET");
    assert_eq!(line.number("bytes_up"), 48 << 10);
}

#[test]
fn backend_rst_reaches_client_after_everything_sent_before() {
    let relay = Relay::new();
    relay.backend.send_pattern(48 << 10);
    relay.backend.reset();
    assert_eq!(relay.client.drain_pattern(0), (48 << 10, End::Reset));
    let line = relay.proxy.await_access_of(relay.client.local());
    assert_eq!(line.end(), ("backend-reset/relaying", "SD"));
    assert_eq!(line.text("errno"), "ECONNRESET");
    assert_eq!(line.number("bytes_down"), 48 << 10);
}

#[test]
fn client_rst_reaches_a_slow_backend_after_everything_sent_before() {
    let listening = Backend::narrow(4 << 10);
    let proxy = before(&listening).start();
    let client = proxy.connect();
    let backend = listening.accept();
    client.send_pattern(48 << 10);
    wait::until("the proxy has taken it", || unacknowledged(&client) == 0);
    client.reset();
    // A reader that is a round trip behind, as on any network.
    wait::holds_for(Duration::from_millis(100), "nobody reads", || true);
    assert_eq!(backend.drain_pattern(0), (48 << 10, End::Reset));
}

/// Bytes sent that the other kernel has not taken yet: the Send-Q of ss(8).
fn unacknowledged(client: &Peer) -> usize {
    let output = Command::new("ss")
        .args(["-tnH", &format!("sport = :{}", client.local().port())])
        .output()
        .expect("ss runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().nth(2).unwrap().parse().unwrap()
}

#[test]
fn a_rst_without_a_byte_before_it_is_relayed_both_ways() {
    let relay = Relay::new();
    relay.client.reset();
    relay.backend.expect_reset();
    let relay = Relay::new();
    relay.backend.reset();
    relay.client.expect_reset();
}

#[test]
fn a_backend_that_closes_without_reading_resets_the_client() {
    let relay = Relay::new();
    relay.client.send(b"never read");
    wait::until("the bytes arrive", || {
        relay.backend.stream().peek(&mut [0; 16]).unwrap() == 10
    });
    relay.backend.close();
    relay.client.expect_reset();
    assert_eq!(
        relay.proxy.await_first_access().end(),
        ("backend-reset/relaying", "SD")
    );
}

#[test]
fn a_client_that_resets_before_the_backend_answered_takes_no_backend_with_it() {
    let (silent, _queue) = Backend::silent();
    let proxy = before(&silent)
        .upstream("connect_timeout = \"300ms\"")
        .start();
    let before = proxy.sockets();
    let client = proxy.connect();
    let from = client.local();
    wait::until("it is accepted", || proxy.sockets() > before);
    client.reset();
    let line = proxy.await_access_of(from);
    // A proxy between the two answers for the backend.
    if proxy.dials(&silent) == silent.address() {
        assert_eq!(line.text("end").split('/').nth(1), Some("dialing"));
    }
    wait::until("its sockets are back", || proxy.sockets() == before);
}

#[test]
fn clients_that_reset_right_after_connect_leave_nothing_behind() {
    let backend = Backend::echo();
    let proxy = before(&backend).start();
    let before = proxy.sockets();
    for _ in 0..200 {
        proxy.connect().reset();
    }
    wait::until("its sockets are back", || proxy.sockets() == before);
    let client = proxy.connect();
    client.send(b"still there?");
    client.expect(b"still there?");
}

/// Fills both directions, with readers that stand still.
fn full(relay: &Relay) -> (usize, usize) {
    let backend = relay.backend.share();
    let down = std::thread::spawn(move || backend.send_until_full(64 << 20));
    let up = relay.client.send_until_full(64 << 20);
    (up, down.join().unwrap())
}

#[test]
fn a_client_rst_with_both_directions_full_reaches_the_backend() {
    let relay = Relay::new();
    let (up, _) = full(&relay);
    relay.client.reset();
    let (bytes, end) = relay.backend.drain_pattern(0);
    assert_eq!(end, End::Reset);
    assert!(bytes <= up, "{bytes} of {up}");
    assert_eq!(
        relay.proxy.await_first_access().end(),
        ("client-reset/relaying", "CD")
    );
}

#[test]
fn a_backend_rst_with_both_directions_full_reaches_the_client() {
    let relay = Relay::new();
    let (_, down) = full(&relay);
    relay.backend.reset();
    let (bytes, end) = relay.client.drain_pattern(0);
    assert_eq!(end, End::Reset);
    assert!(bytes <= down, "{bytes} of {down}");
    assert_eq!(
        relay.proxy.await_first_access().end(),
        ("backend-reset/relaying", "SD")
    );
}

#[test]
fn a_client_rst_after_its_fin_reaches_the_backend_that_sends() {
    let relay = Relay::new();
    relay.client.fin();
    relay.backend.expect_fin();
    relay.client.reset();
    wait::until("a send fails", || relay.backend.try_send(b"more").is_err());
    let line = relay.proxy.await_first_access();
    assert_eq!(line.end(), ("client-reset/half-closed", "CL"));
}

#[test]
fn a_client_rst_after_the_backends_fin_reaches_the_backend() {
    let relay = Relay::new();
    relay.backend.fin();
    relay.client.expect_fin();
    relay.client.send(b"bye");
    relay.client.reset();
    assert_eq!(relay.backend.drain(), (b"bye".to_vec(), End::Reset));
    assert_eq!(
        relay.proxy.await_first_access().end(),
        ("client-reset/half-closed", "CL")
    );
}

#[test]
fn a_backend_rst_after_the_clients_fin_reaches_the_client() {
    let relay = Relay::new();
    relay.client.fin();
    relay.backend.expect_fin();
    relay.backend.send(b"half an answ");
    relay.backend.reset();
    assert_eq!(relay.client.drain(), (b"half an answ".to_vec(), End::Reset));
    assert_eq!(
        relay.proxy.await_first_access().end(),
        ("backend-reset/half-closed", "SL")
    );
}
