//! Request heads.

use super::{Fate, Row, Stage, expect_all_words, hellos};

/// What becomes of a head, short enough for a table.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// The upstream that gets it, as it was sent.
    To(&'static str),
    /// The word under which it is refused with 400.
    Bad(&'static str),
}
use Then::{Bad, To};

type Rows = &'static [(&'static [u8], Then)];

/// Before `\r\nHost: a.example\r\n\r\n`.
const REQUEST_LINES: Rows = &[
    (b"BREW /pot HTTP/1.1", To("feed")),
    (b"get / HTTP/1.1", To("feed")),
    (b"GET / HTTP/1.0", To("feed")),
    (b"OPTIONS / HTTP/1.1", To("feed")),
    (b"\r\nGET / HTTP/1.1", To("feed")),
    (b"GET /", Bad("version")),
    (b"GET / HTTP/0.9", Bad("version")),
    (b"GET / HTTP/1.32", Bad("version")),
    (b"GET / HTTP/2.0", Bad("version")),
    (b"GET / http/1.1", Bad("version")),
    (b"PRI * HTTP/2.0", Bad("version")),
    (b"G\xc3\x89T / HTTP/1.1", Bad("method")),
    (b" GET / HTTP/1.1", Bad("request-line")),
    (b"GET  / HTTP/1.1", Bad("request-line")),
    (b"GET\t/\tHTTP/1.1", Bad("request-line")),
    (b"\r\n\r\nGET / HTTP/1.1", Bad("request-line")),
    (b"GET /\0 HTTP/1.1", Bad("nul")),
    (b"G\0ET / HTTP/1.1", Bad("nul")),
    (b"GET /\r HTTP/1.1", Bad("bare-cr")),
    (b"GET / HTTP/1.1\r", Bad("bare-cr")),
    (b"GET /\n HTTP/1.1", Bad("bare-lf")),
    (b"\nGET / HTTP/1.1", Bad("bare-lf")),
    (b"GET / HTTP/1.1\nX: y", Bad("bare-lf")),
    (b"GET /\x7f HTTP/1.1", Bad("control-character")),
    (b"GET /caf\xc3\xa9 HTTP/1.1", Bad("target")),
    (b"GET /a#b HTTP/1.1", Bad("target")),
    (b"GET ftp://a.example/ HTTP/1.1", Bad("target")),
    (b"GET http://a.example/ HTTP/1.1", To("feed")),
    (b"GET http://b.example/ HTTP/1.1", Bad("host-mismatch")),
    (b"GET http://a.example:81/ HTTP/1.1", Bad("host-mismatch")),
    (b"GET http://user@a.example/ HTTP/1.1", Bad("host-syntax")),
    (b"CONNECT a.example:443 HTTP/1.1", Bad("connect")),
    (b"OPTIONS * HTTP/1.1", Bad("asterisk")),
];

/// Among the fields of a request whose Host is in order.
const FIELDS: Rows = &[
    (b"X:", To("feed")),
    (b"X:\t y \t", To("feed")),
    (b"X: \x80\xa0\x85\xff", To("feed")),
    (b"X: a\rb", Bad("bare-cr")),
    (b"X: a\r\r\nY: b", Bad("bare-cr")),
    (b"X: a\nY: b", Bad("bare-lf")),
    (b"X: a\n\nY: b", Bad("bare-lf")),
    (b"N\0me: a", Bad("nul")),
    (b"X: a\0b", Bad("nul")),
    (b"X: a\x01b", Bad("control-character")),
    (b"X: a\r\n folded", Bad("obs-fold")),
    (b"X: a\r\n\tfolded: twice", Bad("obs-fold")),
    (b"X : a", Bad("space-before-colon")),
    (b"X\t: a", Bad("space-before-colon")),
    (b"Host : b.example", Bad("space-before-colon")),
    (b": a", Bad("field-name")),
    (b"no colon", Bad("field-name")),
    (b"X\xa0: a", Bad("field-name")),
    (b"X\x85: a", Bad("field-name")),
    (b"N\xe9me: a", Bad("field-name")),
    // Where the body ends.
    (b"Content-Length: 0", To("feed")),
    (b"Content-Length:", Bad("content-length")),
    (b"Content-Length: +1", Bad("content-length")),
    (b"Content-Length: -1", Bad("content-length")),
    (b"Content-Length: 0x10", Bad("content-length")),
    (b"Content-Length: 1_0", Bad("content-length")),
    (b"Content-Length: 1 0", Bad("content-length")),
    (b"Content-Length: \xa05", Bad("content-length")),
    (
        b"Content-Length: 18446744073709551616",
        Bad("content-length"),
    ),
    (
        b"Content-Length: 5\r\nContent-Length: 6",
        Bad("content-length-repeated"),
    ),
    (
        b"Content-Length: 5\r\ncontent-length: 5",
        Bad("content-length-repeated"),
    ),
    (b"Content-Length: 5, 6", Bad("content-length-repeated")),
    (
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        Bad("length-and-encoding"),
    ),
    (
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        Bad("length-and-encoding"),
    ),
    (b"Transfer-Encoding: chunked", To("feed")),
    (b"Transfer-Encoding: gzip, chunked", To("feed")),
    (
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        Bad("transfer-encoding"),
    ),
    (b"Transfer-Encoding: ,chunked", Bad("transfer-encoding")),
    (
        b"Transfer-Encoding: chunked, gzip",
        Bad("transfer-encoding"),
    ),
    (b"Transfer-Encoding: xchunked", Bad("transfer-encoding")),
    (b"Transfer-Encoding: \xa0chunked", Bad("transfer-encoding")),
    (b"Transfer-Encoding: \x0bchunked", Bad("control-character")),
    // Who upgrades, and how well, is for the backend to say; the route asks for both fields.
    (b"Upgrade: websocket", To("feed")),
    (b"Connection: upgrade", To("feed")),
    (b"Connection: keep-alive\r\nUpgrade: websocket", To("feed")),
    (
        b"Connection: keep-alive, UPGRADE\r\nUpgrade: WebSocket",
        To("chat"),
    ),
    (
        b"Connection: upgrade\r\nUpgrade: h2c, websocket",
        To("chat"),
    ),
    (
        b"Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket",
        To("chat"),
    ),
    (
        b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: short",
        To("chat"),
    ),
    (
        b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 7",
        To("chat"),
    ),
    // What others forwarded, or say so: not ours to judge where nothing is forwarded.
    (
        b"X-Forwarded-For: 6.6.6.6, 127.0.0.1\r\nForwarded: for=6.6.6.6",
        To("feed"),
    ),
];

/// All the fields of a request.
const HOSTS: Rows = &[
    (b"Host: other.example:65535", To("other")),
    (b"hOsT:OTHER.example.", To("other")),
    (b"Host: [2001:db8::1]:80", To("feed")),
    (b"X: y", Bad("host-missing")),
    (
        b"Host: a.example\r\nHost: other.example",
        Bad("host-repeated"),
    ),
    (b"Host: a.example\r\nhost: a.example", Bad("host-repeated")),
    (b"Host:", Bad("host-syntax")),
    (b"Host: a.example:0", Bad("host-syntax")),
    (b"Host: a.example:65536", Bad("host-syntax")),
    (b"Host: user@a.example", Bad("host-syntax")),
    (b"Host: 2001:db8::1", Bad("host-syntax")),
    (b"Host: [2001:db8::1", Bad("host-syntax")),
    (b"Host: a.example, other.example", Bad("host-syntax")),
    (b" Host: a.example", Bad("obs-fold")),
    (b"\tHost: a.example\r\nX: y", Bad("obs-fold")),
];

const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// What a route takes to `other`.
const OTHER: &[u8] = b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n";

/// The default of `peek_max_bytes`.
const MAX: usize = 16_384;

fn bad(word: &str) -> Fate {
    Fate::Told(400, format!("bad-head:{word}/peeking"))
}

fn too_large(word: &str) -> Fate {
    Fate::Told(431, format!("bad-head:{word}/peeking"))
}

fn table(rows: Rows, whole: impl Fn(&[u8]) -> Vec<u8>) -> impl Iterator<Item = Row> {
    rows.iter().map(move |(part, then)| {
        let fate = match then {
            To(upstream) => Fate::Passed(upstream),
            Bad(word) => bad(word),
        };
        Row::new(part.escape_ascii().to_string(), "feed", &whole(part), fate)
    })
}

/// A request of exactly so many bytes.
fn head_of(len: usize) -> Vec<u8> {
    let rest = b"\r\n\r\n";
    let mut head = b"GET / HTTP/1.1\r\nHost: a.example\r\nX: ".to_vec();
    head.resize(len - rest.len(), b'x');
    [head.as_slice(), rest].concat()
}

/// A request with so many fields.
fn fields(count: usize) -> Vec<u8> {
    let more = b"X: y\r\n".repeat(count - 1);
    [
        b"GET / HTTP/1.1\r\nHost: a.example\r\n",
        more.as_slice(),
        b"\r\n",
    ]
    .concat()
}

/// Heads whose size or whose segments are the case.
fn sizes() -> Vec<Row> {
    let endless = [&head_of(MAX)[..MAX - 4], &[b'x'; 3 * MAX]].concat();
    let row = |case: &str, sent: &[u8], fate| Row::new(case, "feed", sent, fate);
    let passed = Fate::Passed;
    vec![
        row("a byte a segment", OTHER, passed("other")).in_pieces(1),
        row(
            "a byte a segment, and bad",
            b"GET / HTTP/1.1\r\nX: \0\r\n\r\n",
            bad("nul"),
        )
        .in_pieces(1),
        row("cut inside its last line end", HEAD, passed("feed")).cut(HEAD.len() - 1),
        row("one below the limit", &head_of(MAX - 1), passed("feed")),
        row("at the limit", &head_of(MAX), passed("feed")),
        row(
            "one above the limit",
            &head_of(MAX + 1),
            too_large("too-large"),
        ),
        row("without end", &endless, too_large("too-large")),
        row("100 fields", &fields(100), passed("feed")),
        row("101 fields", &fields(101), too_large("too-many-fields")),
        row("10,000 fields", &fields(10_000), too_large("too-large")),
    ]
}

/// Other protocols, and what comes with a head.
fn streams() -> Vec<Row> {
    let row = |case: &str, sent: &[u8], fate| Row::new(case, "feed", sent, fate);
    let smuggling = b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    vec![
        row(
            "a body behind GET",
            &[HEAD, b"not asked for"].concat(),
            Fate::Passed("feed"),
        ),
        row(
            "a second request for somebody else",
            &[HEAD, OTHER].concat(),
            Fate::Passed("feed"),
        ),
        row(
            "a second request that is refused alone",
            &[HEAD, b"\0 : \n"].concat(),
            Fate::Passed("feed"),
        ),
        // More than the reply waits for: what nobody read must not turn its end into a reset.
        row(
            "a refused head, and more",
            &[smuggling, [b'x'; 3000].as_slice()].concat(),
            bad("length-and-encoding"),
        ),
        row("HTTP/2", preface, Fate::Passed("feed")),
        row("HTTP/2, a byte a segment", preface, Fate::Passed("feed")).in_pieces(1),
        row(
            "TLS",
            &hellos::hello(&[hellos::name()]),
            bad("control-character"),
        ),
        row("SSH", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", bad("request-line")),
        Row::new(
            "half a head, then silence",
            "hasty",
            &HEAD[..20],
            Fate::Told(408, "peek-timeout/peeking".into()),
        ),
        Row::new(
            "silence",
            "hasty",
            b"",
            Fate::Told(408, "peek-timeout/peeking".into()),
        ),
    ]
}

/// Heads that say already who the client is, where we are to say it.
fn forwarded() -> Vec<Row> {
    let request =
        |fields: &str| format!("GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n").into_bytes();
    let row = |case: &str, said: &str, fate| Row::new(case, "forwarding", &request(said), fate);
    let ours = "X-Real-IP: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n";
    let becomes = |fields: &str| Fate::Changed("feed", request(&format!("{fields}{ours}")));
    vec![
        row(
            "a list that somebody began",
            "X-Forwarded-For: 6.6.6.6\r\n",
            becomes("X-Forwarded-For: 6.6.6.6, 127.0.0.1\r\n"),
        ),
        row(
            "a spoofed address",
            "X-Real-IP: 6.6.6.6\r\nx-real-ip: 7.7.7.7\r\nX_Real_IP: 8.8.8.8\r\n",
            becomes("X-Forwarded-For: 127.0.0.1\r\n"),
        ),
        row(
            "a field that has ours taken off again",
            "Connection: X-Real-IP\r\n",
            bad("connection-names"),
        ),
    ]
}

/// A listener of that name in mode http, with a line of its own.
fn listener(name: &str, line: &str) -> String {
    format!(
        "[[listener]]\nname = \"{name}\"\nlisten = \"127.0.0.1:0\"\nupstream = \"feed\"\nmode = \"http\"\n{line}\n"
    )
}

#[test]
fn heads_arrive_as_they_were_sent_or_are_refused_with_a_reply_and_a_reason() {
    let rows: Vec<Row> = table(REQUEST_LINES, |line| {
        [line, b"\r\nHost: a.example\r\n\r\n"].concat()
    })
    .chain(table(FIELDS, |field| {
        [b"GET / HTTP/1.1\r\nHost: a.example\r\n", field, b"\r\n\r\n"].concat()
    }))
    .chain(table(HOSTS, |host| {
        [b"GET / HTTP/1.1\r\n", host, b"\r\n\r\n"].concat()
    }))
    .chain(sizes())
    .chain(streams())
    .chain(forwarded())
    .collect();
    expect_all_words(&rows, include_str!("../../../docs/http-peek.md"));
    let mut stage = Stage::new(&["chat", "other"], |setup| {
        setup
            .listener("mode = \"http\"")
            .listener(
                "route = [{ upgrade = \"websocket\", upstream = \"chat\" }, \
                 { host = \"other.example\", upstream = \"other\" }]",
            )
            .more(&listener("hasty", "peek_timeout = \"300ms\""))
            .more(&listener("forwarding", "forwarded = \"append\""))
    });
    for row in &rows {
        stage.play(row);
    }
}
