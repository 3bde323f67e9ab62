//! Bytes arrive as they were sent: all of them, in order, both ways, on every kind of address.

use super::before;
use crate::support::{Backend, End, Peer, Proxy};
use std::net::SocketAddr;

/// Sends that many bytes through an echo and checks what comes back.
fn round_trip(client: &Peer, bytes: usize) {
    let sender = client.share();
    let sending = std::thread::spawn(move || sender.send_pattern(bytes));
    client.expect_pattern(bytes);
    sending.join().unwrap();
    client.fin();
    client.expect_fin();
}

#[test]
fn bytes_of_every_size_come_back_as_they_were_sent() {
    let backend = Backend::echo();
    let proxy = before(&backend).start();
    for bytes in [
        1,
        2,
        127,
        4095,
        4096,
        4097,
        65_535,
        65_537,
        1 << 20,
        20 << 20,
    ] {
        let client = proxy.connect();
        round_trip(&client, bytes);
        let line = proxy.await_access_of(client.local());
        assert_eq!(line.end(), ("client-fin/done", "--"));
        let counted = (line.number("bytes_up"), line.number("bytes_down"));
        assert_eq!(counted, (bytes as u64, bytes as u64));
    }
}

#[test]
fn three_hundred_connections_at_once_never_see_each_others_bytes() {
    let backend = Backend::echo();
    let proxy = before(&backend).process("workers = 2").start();
    let clients: Vec<_> = (0..300).map(|_| proxy.connect()).collect();
    for round in 0..5 {
        for (number, client) in clients.iter().enumerate() {
            client.send(format!("round {round} of client {number:03}").as_bytes());
        }
        for (number, client) in clients.iter().enumerate() {
            client.expect(format!("round {round} of client {number:03}").as_bytes());
        }
    }
}

#[test]
fn sixteen_bulk_streams_at_once_arrive_whole() {
    let backend = Backend::echo();
    let proxy = before(&backend).process("workers = 2").start();
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let client = proxy.connect();
            std::thread::spawn(move || round_trip(&client, 4 << 20))
        })
        .collect();
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());
}

#[test]
fn many_small_writes_arrive_in_order() {
    let backend = Backend::echo();
    let proxy = before(&backend).start();
    let client = proxy.connect();
    let sender = client.share();
    let sending = std::thread::spawn(move || {
        for at in 0..20_000 {
            sender.send_pattern_from(at * 7, at * 7 + 7);
        }
    });
    client.expect_pattern(140_000);
    sending.join().unwrap();
}

#[test]
fn every_pair_of_address_families_is_relayed() {
    let addresses: [SocketAddr; 2] = ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
    for backend_on in addresses {
        let backend = Backend::on(backend_on).serving(crate::support::echo);
        let proxy = before(&backend)
            .listener("listen = [\"127.0.0.1:0\", \"[::1]:0\"]")
            .start();
        assert_eq!(proxy.listeners().len(), 2);
        for (_, address) in proxy.listeners() {
            let client = Peer::connect(*address);
            round_trip(&client, 10_000);
            let line = proxy.await_access_of(client.local());
            assert_eq!(line.text("backend"), proxy.dials(&backend).to_string());
        }
    }
}

#[test]
fn each_listener_of_a_file_has_its_own_upstream_and_its_own_port() {
    let (feed, chat) = (Backend::named("feed"), Backend::named("chat"));
    let more = format!(
        "[[listener]]\nname = \"chat\"\nlisten = \"127.0.0.1:0\"\nupstream = \"chat\"\n\
         [[upstream]]\nname = \"chat\"\n[[upstream.backend]]\naddress = \"{}\"\n",
        chat.address()
    );
    let proxy = before(&feed).more(&more).start();
    assert_ne!(proxy.address_of("feed"), proxy.address_of("chat"));
    for name in ["feed", "chat"] {
        let client = Peer::connect(proxy.address_of(name));
        assert_eq!(client.drain(), (name.as_bytes().to_vec(), End::Fin));
        client.fin();
        let line = proxy.await_access_of(client.local());
        assert_eq!((line.text("listener"), line.text("upstream")), (name, name));
    }
}

#[test]
fn flags_alone_run_a_proxy_that_shows_its_real_port() {
    let backend = Backend::echo();
    let to = backend.address().to_string();
    let proxy =
        Proxy::with_arguments(&["run", "--listen", "127.0.0.1:0", "--backend", to.as_str()]);
    assert_ne!(proxy.address().port(), 0);
    round_trip(&proxy.connect(), 5_000);
}
