//! WebSocket sessions: as they should be, behind what no proxy may do, and with clients that are not ours.

use crate::support::{Tamper, backend, clients, faithful, flip, rate, relay};
use ringway_loadgen::{
    BackendRole, ClientConfig, ClientRole, CookieName, Fault, Rate, RequestPath, drive,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Of the backend's reply.
const REPLY: usize = 129;

/// Of a frame's head that tells 128 bytes.
const FRAME_HEAD: usize = 4;

/// Of a mask.
const MASK: usize = 4;

fn sessions(size: u32, rate: Option<Rate>) -> ClientRole {
    ClientRole::WebSocket {
        path: RequestPath::default(),
        cookie: CookieName::default(),
        size,
        rate,
    }
}

/// One session in a run: the second would be planned for after its end.
fn one_session(target: SocketAddr) -> ClientConfig {
    ClientConfig {
        connections: 1,
        ..clients(sessions(128, Some(rate(0.5))), target)
    }
}

/// How many exchanges one session through a relay had, and what its client reports.
fn through(up: Tamper, down: Tamper) -> (u64, Vec<(Fault, u64)>) {
    let server = backend(BackendRole::WebSocket);
    let addr = relay(server.addrs()[0], 1, up, down);
    let seen = drive(&one_session(addr)).unwrap().join().unwrap();
    server.stop().unwrap();
    assert_eq!(seen.connections.opened, 1);
    (seen.counters.exchanges, seen.faults.happened().collect())
}

#[test]
fn sessions_follow_one_another_and_every_message_comes_back() {
    for size in [1, 125, 126, 65_535] {
        let server = backend(BackendRole::WebSocket);
        let config = clients(sessions(size, None), server.addrs()[0]);
        let seen = drive(&config).unwrap().join().unwrap();
        let served = server.stop().unwrap();
        assert_eq!((seen.faults.total(), served.faults.total()), (0, 0));
        assert!(seen.connections.opened > 4, "{:?}", seen.connections);
        assert_eq!(seen.connections.opened, seen.counters.exchanges);
        assert_eq!(served.counters.exchanges, seen.counters.exchanges);
    }
}

#[test]
fn sessions_at_a_rate_are_opened_as_often_as_planned() {
    let server = backend(BackendRole::WebSocket);
    let config = ClientConfig {
        connections: 64,
        ..clients(sessions(128, Some(rate(200.0))), server.addrs()[0])
    };
    let seen = drive(&config).unwrap().join().unwrap();
    server.stop().unwrap();
    let counters = seen.measured();
    assert!((59..=61).contains(&counters.planned), "{counters:?}");
    assert_eq!(seen.faults.total(), 0);
}

#[test]
fn a_session_in_single_bytes_is_as_good_as_any() {
    assert_eq!(through(faithful(), faithful()), (1, vec![]));
}

#[test]
fn another_status_is_no_handshake() {
    let in_status = flip("HTTP/1.1 ".len());
    assert_eq!(
        through(faithful(), in_status),
        (0, vec![(Fault::Handshake, 1)])
    );
}

#[test]
fn the_answer_to_another_key_is_no_handshake() {
    let in_key = flip(REPLY - "x\r\n\r\n".len());
    assert_eq!(
        through(faithful(), in_key),
        (0, vec![(Fault::Handshake, 1)])
    );
}

#[test]
fn an_echo_with_a_flipped_bit_is_corrupt() {
    for at in [REPLY, REPLY + 3, REPLY + FRAME_HEAD + 127] {
        let faults = through(faithful(), flip(at));
        assert_eq!(faults, (0, vec![(Fault::Corrupt, 1)]), "byte {at}");
    }
}

#[test]
fn a_message_with_a_flipped_bit_comes_back_corrupt() {
    let mut head = Vec::new();
    let mut behind = 0;
    let in_payload: Tamper = Box::new(move |mut byte| {
        if !head.ends_with(b"\r\n\r\n") {
            head.extend_from_slice(&byte);
            return Some(byte);
        }
        if behind == FRAME_HEAD + MASK {
            byte[0] ^= 1;
        }
        behind += 1;
        Some(byte)
    });
    assert_eq!(
        through(in_payload, faithful()),
        (0, vec![(Fault::Corrupt, 1)])
    );
}

#[test]
fn bytes_that_nobody_asked_for_are_found() {
    let mut count = 0;
    let spare: Tamper = Box::new(move |mut byte| {
        count += 1;
        if count == REPLY + FRAME_HEAD + 128 {
            byte.push(b'x');
        }
        Some(byte)
    });
    assert_eq!(through(faithful(), spare), (0, vec![(Fault::Surplus, 1)]));
}

#[test]
fn an_end_before_the_answer_is_a_cut() {
    let mut count = 0;
    let hang_up: Tamper = Box::new(move |byte| {
        count += 1;
        (count < REPLY).then_some(byte)
    });
    let (exchanges, faults) = through(faithful(), hang_up);
    assert_eq!(exchanges, 0);
    assert!(
        matches!(faults[..], [(Fault::Cut | Fault::Reset, 1)]),
        "{faults:?}"
    );
}

/// What a client that says `bytes` hears until the end, and what the backend has to report.
fn said_to_backend(bytes: &[u8]) -> (Vec<u8>, Vec<(Fault, u64)>) {
    let server = backend(BackendRole::WebSocket);
    let mut client = TcpStream::connect(server.addrs()[0]).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    client.write_all(bytes).unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    let faults = server.stop().unwrap().faults;
    (heard, faults.happened().collect())
}

/// The request of RFC 6455, section 1.2.
const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\
    Origin: http://example.com\r\n\r\n";

#[test]
fn a_backend_answers_pings_and_takes_leave_of_who_closes() {
    let ping_and_close = b"\x89\x82\0\0\0\0hi\x88\x82\0\0\0\0\x03\xe8";
    let (heard, faults) = said_to_backend(&[REQUEST.as_bytes(), ping_and_close].concat());
    assert!(heard.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
    let text = String::from_utf8_lossy(&heard);
    assert!(text.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert!(heard.ends_with(b"\r\n\r\n\x8a\x02hi\x88\x02\x03\xe8"));
    assert_eq!(faults, []);
}

#[test]
fn a_backend_reports_who_opens_no_websocket_or_sends_no_frames() {
    let (heard, faults) = said_to_backend(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((heard, faults), (vec![], vec![(Fault::Handshake, 1)]));
    let unmasked = b"\x81\x02hi";
    let (_, faults) = said_to_backend(&[REQUEST.as_bytes(), unmasked].concat());
    assert_eq!(faults, [(Fault::Garbled, 1)]);
}

#[test]
fn each_session_asks_for_its_path_with_a_cookie_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let heads = thread::spawn(move || [head(&listener), head(&listener)]);
    let role = ClientRole::WebSocket {
        path: "/chat?room=1".parse().unwrap(),
        cookie: "sid".parse().unwrap(),
        size: 1,
        rate: None,
    };
    let config = ClientConfig {
        connections: 2,
        ..clients(role, addr)
    };
    let driven = drive(&config).unwrap();
    let heads = heads.join().unwrap();
    driven.stop().unwrap();
    for head in &heads {
        let first = format!("GET /chat?room=1 HTTP/1.1\r\nHost: {addr}\r\n");
        assert!(head.starts_with(&first), "{head}");
    }
    let cookies = heads.each_ref().map(|head| {
        let mut lines = head.lines();
        lines.find(|line| line.starts_with("Cookie: sid=")).unwrap()
    });
    assert_ne!(cookies[0], cookies[1]);
}

/// The head of the next connection, which is then closed.
fn head(listener: &TcpListener) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}
