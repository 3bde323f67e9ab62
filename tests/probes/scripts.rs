//! A backend that plays its part in each protocol is up; and each of them is told what it should be told.

use crate::support::probing::{Probed, Probing, target, with};
use crate::support::{Backend, Peer};
use ringway::control::probe::{ProxyHeader, client_hello};
use ringway::wire::banner::{Script, http_request};
use ringway::wire::client_hello::{Progress, parse};

/// A backend that plays this part in two probes, each to its end, is up.
#[track_caller]
fn comes_up(script: Script, play: impl Fn(Peer)) {
    let (backend, probing) = (Backend::new(), Probing::start());
    let probed = probing.add(target(script, backend.address()));
    play(backend.accept());
    play(backend.accept());
    probed.await_up();
}

#[test]
fn tcp_says_nothing_and_resets() {
    let (backend, probing) = (Backend::new(), Probing::start());
    let probed = probing.add(target(Script::Tcp, backend.address()));
    backend.accept().expect_reset();
    probed.await_up();
}

#[test]
fn http_sends_its_request_and_lets_the_server_close() {
    let request = http_request("/up", "a.example");
    let script = Script::Http {
        request: request.clone(),
        expect: vec!["204".parse().unwrap()],
    };
    comes_up(script, move |peer| {
        peer.expect(&request);
        peer.send(b"HTTP/1.0 204 No Content\r\n\r\n");
        peer.fin();
        peer.expect_fin();
    });
}

#[test]
fn ssl_hello_sends_a_hello_of_today_and_closes_in_order() {
    let hello = client_hello("a.example").unwrap();
    let Progress::Complete(read) = parse(&hello, 16 * 1024) else {
        panic!("no hello");
    };
    assert_eq!(read.sni.unwrap().to_string(), "a.example");
    comes_up(
        Script::SslHello {
            hello: hello.clone(),
        },
        move |peer| {
            peer.expect(&hello);
            peer.send(b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03");
            peer.expect(b"\x15\x03\x03\x00\x02\x01\x00");
            peer.expect_fin();
        },
    );
}

#[test]
fn smtp_waits_for_the_greeting_and_says_quit() {
    comes_up(Script::Smtp, |peer| {
        peer.send(b"220-mail.example ESMTP\r\n");
        peer.send(b"220 ready\r\n");
        peer.expect(b"EHLO localhost\r\n");
        peer.send(b"250-mail.example\r\n250 SIZE\r\n");
        peer.expect(b"QUIT\r\n");
        peer.send(b"221 bye\r\n");
        peer.fin();
        peer.expect_fin();
    });
}

#[test]
fn pop3_and_imap_log_out() {
    let greeted = |greeting: &'static [u8], farewell: &'static [u8]| {
        move |peer: Peer| {
            peer.send(greeting);
            peer.expect(farewell);
            peer.fin();
            peer.expect_fin();
        }
    };
    comes_up(Script::Pop3, greeted(b"+OK ready\r\n", b"QUIT\r\n"));
    comes_up(Script::Imap, greeted(b"* OK ready\r\n", b"a LOGOUT\r\n"));
}

#[test]
fn websocket_shakes_hands_awaits_a_message_and_closes() {
    let script = Script::WebSocket {
        path: "/feed".into(),
        host: "a.example".into(),
        expect: b"tick".to_vec(),
    };
    comes_up(script, |peer| {
        let request = String::from_utf8(peer.drain_some()).unwrap();
        assert!(
            request.starts_with("GET /feed HTTP/1.1\r\nHost: a.example\r\n"),
            "{request}"
        );
        let key = request
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let digest = sha1_smol::Sha1::from(format!(
            "{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
            key.unwrap()
        ));
        let accept = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            digest.digest().bytes(),
        );
        let reply = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        peer.send(reply.as_bytes());
        peer.send(b"\x81\x07a tick!");
        // A masked close frame.
        peer.expect(b"\x88\x82\0\0\0\0\x03\xe8");
        peer.fin();
        peer.expect_fin();
    });
}

#[test]
fn send_expect_sends_and_finds() {
    let script = Script::SendExpect {
        send: b"status\n".to_vec(),
        expect: b"READY".to_vec(),
    };
    comes_up(script, |peer| {
        peer.expect(b"status\n");
        peer.send(b"state: REA");
        peer.send(b"DY\n");
        peer.expect_fin();
    });
}

/// A tcp probe that tells this header first.
fn with_header(backend: &Backend, probing: &Probing, version: ProxyHeader) -> Probed {
    let target = target(Script::Tcp, backend.address());
    probing.add(with(target, |settings| settings.proxy_header = version))
}

#[test]
fn a_backend_that_expects_a_proxy_header_is_told_that_the_probe_is_our_own() {
    for (version, header) in [
        (ProxyHeader::V1, b"PROXY UNKNOWN\r\n".as_slice()),
        (ProxyHeader::V2, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"),
    ] {
        let (backend, probing) = (Backend::new(), Probing::start());
        let probed = with_header(&backend, &probing, version);
        let peer = backend.accept();
        peer.expect(header);
        // In order: a reset could overtake the header.
        peer.expect_fin();
        probed.await_up();
    }
}

#[test]
fn a_proxy_header_stands_before_what_the_protocol_says() {
    let (backend, probing) = (Backend::new(), Probing::start());
    let target = target(Script::Redis, backend.address());
    probing.add(with(target, |settings| {
        settings.proxy_header = ProxyHeader::V1;
    }));
    let peer = backend.accept();
    peer.expect(b"PROXY UNKNOWN\r\n*1\r\n$4\r\nPING\r\n");
}

#[test]
fn a_backend_on_ipv6_is_probed() {
    let any = "[::1]:0".parse().unwrap();
    let (backend, probing) = (Backend::on(any), Probing::start());
    probing
        .add(target(Script::Tcp, backend.address()))
        .await_up();
}
