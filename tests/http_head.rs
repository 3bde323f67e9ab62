//! The reader of request heads keeps its properties (`tests/properties/http_head.rs`) on what real programs send, on the
//! fuzzer's corpus, and on heads put together and broken by chance.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use ringway::wire::http_head::{Head, Progress, parse};
use std::fs;
use std::path::{Path, PathBuf};

#[path = "properties/http_head.rs"]
mod properties;

/// As a listener's `peek_max_bytes`.
const MAX: usize = 16 * 1024;

/// The corpus of the fuzz target.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/http_head")
}

/// Its files, by the program or the trouble that each is named after.
fn seed(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).expect("a seed is in the repository")
}

/// The head that a real program sent.
fn sent_by(program: &str, check: impl Fn(&Head<'_>)) {
    let bytes = seed(program);
    let Progress::Complete(head) = parse(&bytes, MAX) else {
        panic!("{program}: no head");
    };
    check(&head);
}

#[test]
fn the_corpus_has_the_properties() {
    let mut seeds = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        properties::check(&fs::read(&path).unwrap());
        seeds += 1;
    }
    assert!(seeds > 10, "{seeds}: where are they?");
}

#[test]
fn websocket_clients_are_seen_to_ask_for_an_upgrade() {
    for program in [
        "python-websockets",
        "node-ws",
        "node-undici",
        "curl-upgrade",
        "chromium",
    ] {
        sent_by(program, |head| {
            assert!(
                head.upgrade("websocket") && !head.upgrade("h2c"),
                "{program}"
            );
            assert_eq!(
                (head.path, head.query_argument("room")),
                ("/chat", Some("7")),
                "{program}"
            );
            let host = head.host.unwrap();
            assert_eq!(
                (host.name, host.port),
                ("feed.example.com", Some(9000)),
                "{program}"
            );
        });
    }
}

#[test]
fn requests_that_are_no_websockets_pass_too() {
    sent_by("curl-post", |head| {
        assert_eq!((head.method, head.path), ("POST", "/form"));
        assert_eq!(head.header("content-length"), Some(b"10".as_slice()));
        assert!(!head.upgrade("websocket"));
    });
    sent_by("curl-proxy-get", |head| {
        assert_eq!((head.path, head.query), ("/a", Some("b=c")));
        assert_eq!(head.target, "http://example.com/a?b=c");
        assert!(head.host.unwrap().is("EXAMPLE.com"));
    });
    sent_by("curl-http2-upgrade", |head| assert!(head.upgrade("h2c")));
}

#[test]
fn http2_without_an_upgrade_is_told_from_a_head() {
    let bytes = seed("curl-http2-prior-knowledge");
    assert_eq!(parse(&bytes, MAX), Progress::Preface);
}

/// Pieces that heads are made of, good and bad, so that chance gets past the request line.
const PIECES: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\n",
    b"GET /chat?room=7&user=a%20b HTTP/1.1\r\n",
    b"POST http://a.example:80/x?y HTTP/1.0\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"Host: a.example\r\n",
    b"Host: [2001:db8::1]:9000\r\n",
    b"Connection: keep-alive, Upgrade\r\n",
    b"Connection: X-Real-IP\r\n",
    b"Upgrade: websocket\r\n",
    b"Cookie: session=\"a b\"; theme=dark\r\n",
    b"X-Forwarded-For: 192.0.2.1\r\n",
    b"x-forwarded-for:\r\n",
    b"X_Forwarded_For: 192.0.2.2 \r\n",
    b"X-Real-Ip: 192.0.2.3\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Name: \x80\xff\r\n",
    b"Name : value\r\n",
    b" folded\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b":",
    b"HTTP/1.1",
];

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    vec(prop::sample::select(PIECES), 0..12).prop_map(|pieces| pieces.concat())
}

/// A good head with a few of its fields, and bytes behind it.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let fields = vec(prop::sample::select(&PIECES[6..17]), 0..9);
    (0..3_usize, fields, vec(any::<u8>(), 0..8)).prop_map(|(request, fields, behind)| {
        [
            PIECES[request],
            b"Host: a.example\r\n",
            &fields.concat(),
            b"\r\n",
            &behind,
        ]
        .concat()
    })
}

/// Properties that hold of nothing but refusals would be cheap: most of what [`heads`] makes are heads.
#[test]
fn most_heads_by_chance_are_accepted() {
    let mut runner = TestRunner::deterministic();
    let is_head = |bytes: &[u8]| matches!(parse(bytes, MAX), Progress::Complete(_));
    let tries = 0..200;
    let accepted = tries.filter(|_| is_head(&heads().new_tree(&mut runner).unwrap().current()));
    let count = accepted.count();
    assert!(count > 50, "{count} of 200");
}

proptest! {
    #[test]
    fn any_bytes_have_the_properties(bytes in vec(any::<u8>(), 0..200)) {
        properties::check(&bytes);
    }

    #[test]
    fn pieces_of_heads_in_any_order_have_the_properties(bytes in pieces()) {
        properties::check(&bytes);
    }

    #[test]
    fn heads_have_the_properties(bytes in heads()) {
        properties::check(&bytes);
    }

    #[test]
    fn heads_with_one_byte_changed_have_the_properties(
        mut bytes in heads(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        *at.get_mut(&mut bytes) = byte;
        properties::check(&bytes);
    }
}
