//! What is learned from first bytes: request heads and ClientHellos choose the upstream, and reach the backend as they came.

use crate::support::{Access, Backend, End, Peer, Proxy, Setup, wait};
use std::io::Read as _;
use std::time::Duration;

/// A WebSocket opening, as clients send it.
const UPGRADE: &str = "GET /chat?userId=42 HTTP/1.1\r\nHost: ws.example.com:8080\r\nConnection: keep-alive, Upgrade\r\n\
     Upgrade: WebSocket\r\nCookie: theme=dark; session_id=abc123\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Two upstreams: `feed`, where everything goes that no route takes, and `other`.
struct Routed {
    proxy: Proxy,
    feed: Backend,
    other: Backend,
}

impl Routed {
    fn new(mode: &str, route: &str) -> Self {
        Self::with(|setup| setup.listener(&format!("mode = \"{mode}\"")), route)
    }

    fn with(more: impl FnOnce(Setup) -> Setup, route: &str) -> Self {
        let (feed, other) = (Backend::new(), Backend::new());
        let upstream = format!(
            "[[upstream]]\nname = \"other\"\n[[upstream.backend]]\naddress = \"{}\"\n",
            other.address()
        );
        let setup = more(Setup::before(&feed))
            .listener(&format!("route = [{{ {route}, upstream = \"other\" }}]"))
            .more(&upstream);
        Self {
            proxy: setup.start(),
            feed,
            other,
        }
    }

    /// A client that has sent this, all at once.
    fn client(&self, bytes: &[u8]) -> Peer {
        let client = self.proxy.connect();
        client.send(bytes);
        client
    }
}

/// A proxy in mode http before one backend.
fn http(more: impl FnOnce(Setup) -> Setup) -> (Proxy, Backend) {
    let backend = Backend::new();
    let proxy = more(Setup::before(&backend).listener("mode = \"http\"")).start();
    (proxy, backend)
}

/// The whole reply, up to its FIN.
#[track_caller]
fn reply(client: &Peer) -> String {
    let (bytes, end) = client.drain();
    assert_eq!(end, End::Fin, "{}", String::from_utf8_lossy(&bytes));
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_route_takes_what_it_describes_and_the_rest_goes_to_the_listeners_upstream() {
    let routed = Routed::new("http", "host = \"ws.example.com\", upgrade = \"websocket\"");
    let chat = routed.client(UPGRADE.as_bytes());
    let at_other = routed.other.accept();
    at_other.expect(UPGRADE.as_bytes());
    let plain = routed.client(b"GET / HTTP/1.0\r\n\r\n");
    let at_feed = routed.feed.accept();
    at_feed.expect(b"GET / HTTP/1.0\r\n\r\n");
    at_other.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x05hello");
    chat.expect(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x05hello");
    drop(plain);
}

#[test]
fn bytes_that_come_with_the_head_follow_it() {
    let (proxy, backend) = http(|setup| setup);
    let client = proxy.connect();
    let sent = [UPGRADE.as_bytes(), b"\x81\x02hi", b"GET /second HTTP/1.1"].concat();
    client.send(&sent);
    let at_backend = backend.accept();
    at_backend.expect(&sent);
    client.send(b"more");
    at_backend.expect(b"more");
}

#[test]
fn a_client_that_ends_after_its_request_still_gets_the_answer() {
    let (proxy, backend) = http(|setup| setup);
    let client = proxy.connect();
    client.send(b"GET / HTTP/1.0\r\n\r\n");
    client.fin();
    let at_backend = backend.accept();
    assert_eq!(
        at_backend.drain(),
        (b"GET / HTTP/1.0\r\n\r\n".to_vec(), End::Fin)
    );
    at_backend.send(b"answer");
    at_backend.fin();
    assert_eq!(client.drain(), (b"answer".to_vec(), End::Fin));
    assert_eq!(proxy.await_first_access().end(), ("client-fin/done", "--"));
}

#[test]
fn nothing_to_route_to_gets_404_and_no_backend_gets_503() {
    let proxy = Setup::new(&[Backend::refusing()])
        .listener("mode = \"http\"")
        .listener("route = [{ host = \"a.example\", upstream = \"feed\" }]")
        .routes_only()
        .start();
    let ask = |host: &str| {
        let client = proxy.connect();
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        reply(&client)
    };
    let reply = ask("b.example");
    assert!(reply.starts_with("HTTP/1.1 404 "), "{reply}");
    let reply = ask("a.example");
    assert!(reply.starts_with("HTTP/1.1 503 "), "{reply}");
}

#[test]
fn a_client_that_leaves_before_its_head_is_whole_is_no_riddle() {
    let (proxy, _backend) = http(|setup| setup);
    let client = proxy.connect();
    client.send(b"GET / HTT");
    client.fin();
    assert_eq!(
        proxy.await_first_access().end(),
        ("client-fin/peeking", "-R")
    );
    let client = proxy.connect();
    let from = client.local();
    client.send(b"GET / HTT");
    wait::tick();
    client.reset();
    let line = proxy.await_access_of(from);
    assert_eq!(line.end(), ("client-reset/peeking", "CR"));
}

#[test]
fn the_log_says_what_was_asked_for() {
    let (proxy, backend) = http(|setup| setup);
    let client = proxy.connect();
    client.send(UPGRADE.as_bytes());
    backend.accept().close();
    client.close();
    let line: Access = proxy.await_first_access();
    assert_eq!(line.text("host"), "ws.example.com");
    assert_eq!(line.text("path"), "/chat");
    assert!(line.number("peek_us") < 5_000_000);
}

#[test]
fn the_same_cookie_reaches_the_same_backend_across_processes() {
    let named = |name: &'static str| {
        Backend::serve(move |peer| {
            let read = peer.stream().read(&mut [0; 1024]);
            assert!(read.is_ok_and(|count| count > 0), "a request");
            peer.send(name.as_bytes());
        })
    };
    let backends = ["a", "b", "c", "d"].map(named);
    let addresses: Vec<_> = backends.iter().map(Backend::address).collect();
    let setup = Setup::new(&addresses)
        .listener("mode = \"http\"")
        .upstream("balance = \"hash\"\nhash_key = [\"cookie:session_id\", \"query:userId\"]");
    let ask = |proxy: &Proxy, request: &str| {
        let client = proxy.connect();
        client.send(request.as_bytes());
        let (name, _) = client.drain();
        String::from_utf8(name).unwrap()
    };
    let by_cookie =
        |id: u32| format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: session_id={id}\r\n\r\n");
    let by_query = |id: u32| format!("GET /?userId={id} HTTP/1.1\r\nHost: a\r\n\r\n");
    let first = setup.start();
    let answers: Vec<_> = (0..40).map(|id| ask(&first, &by_cookie(id))).collect();
    assert_eq!(first.terminate().code, Some(0));
    let second = setup.start();
    for (id, answer) in (0..40).zip(&answers) {
        assert_eq!(&ask(&second, &by_cookie(id)), answer, "cookie {id}");
        assert_eq!(&ask(&second, &by_query(id)), answer, "query {id}");
    }
    let mut reached = answers.clone();
    reached.sort();
    reached.dedup();
    assert_eq!(reached.len(), 4, "{answers:?}");
}

#[test]
fn forwarded_headers_are_ours_and_the_rest_of_the_head_is_the_clients() {
    let (proxy, backend) = http(|setup| setup.listener("forwarded = \"append\""));
    let client = proxy.connect();
    client.send(
        b"GET /x HTTP/1.1\r\nHost: a\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.9\r\nAccept: */*\r\n\r\nbody",
    );
    client.fin();
    let (got, _) = backend.accept().drain();
    let got = String::from_utf8(got).unwrap();
    assert!(got.ends_with("\r\n\r\nbody"), "{got}");
    assert!(got.starts_with("GET /x HTTP/1.1\r\nHost: a\r\n"), "{got}");
    assert!(
        got.contains("X-Forwarded-For: 203.0.113.9, 127.0.0.1\r\n"),
        "{got}"
    );
    assert!(
        got.contains("X-Real-IP: 127.0.0.1\r\n") && !got.contains("6.6.6.6"),
        "{got}"
    );
    assert!(got.contains("X-Forwarded-Proto: http\r\n"), "{got}");
    assert!(got.contains("\r\nAccept: */*\r\n"), "{got}");
}

#[test]
fn a_server_name_chooses_the_upstream_and_the_hello_arrives_whole() {
    // In one record and in three, with and without a name.
    let named: [&[u8]; 2] = [
        include_bytes!("../../fuzz/corpus/client_hello/chrome-150.bin"),
        include_bytes!("../../fuzz/corpus/client_hello/openssl-fragments.bin"),
    ];
    let nameless = include_bytes!("../../fuzz/corpus/client_hello/openssl-noname.bin");
    let routed = Routed::new("tls", "sni = \"*.example.com\"");
    for hello in named {
        let client = routed.proxy.connect();
        for piece in hello.chunks(100) {
            client.send(piece);
        }
        routed.other.accept().expect(hello);
    }
    let _client = routed.client(nameless);
    routed.feed.accept().expect(nameless);
}

#[test]
fn clients_that_wait_do_not_keep_others_waiting() {
    let (proxy, backend) = http(|setup| setup.listener("peek_timeout = \"30s\""));
    let slow: Vec<_> = (0..500).map(|_| proxy.connect()).collect();
    for client in &slow {
        client.send(b"GET / HTTP/1.1\r\nX: ");
    }
    let (_, took) = wait::timed(|| {
        let client = proxy.connect();
        client.send(b"GET / HTTP/1.0\r\n\r\n");
        backend.accept().expect(b"GET / HTTP/1.0\r\n\r\n");
    });
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn unfinished_heads_leave_buffers_to_others() {
    let (proxy, backend) = http(|setup| {
        setup
            .process("workers = 1")
            .listener("peek_timeout = \"1m\"")
    });
    // Together they are longer than all of a worker's buffers, 32 MiB, and shorter than what may lie elsewhere.
    let head = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(12 << 10));
    let slow: Vec<_> = (0..3_500)
        .map(|_| {
            let client = proxy.connect();
            client.send(head.as_bytes());
            client
        })
        .collect();
    for _ in 0..50 {
        let client = proxy.connect();
        client.send(b"GET / HTTP/1.0\r\n\r\n");
        backend.accept().expect(b"GET / HTTP/1.0\r\n\r\n");
    }
    // Nothing of what was put elsewhere is lost.
    let client = &slow[0];
    client.send(b"\r\nHost: a\r\n\r\n");
    let whole = format!("{head}\r\nHost: a\r\n\r\n");
    backend.accept().expect(whole.as_bytes());
}
