//! ClientHellos.

use super::hellos::{self, alpn, hello, host, message, named, record, records, versions, with};
use super::{Fate, Row, Stage, expect_all_words, headers};
use std::time::Duration;

/// The name that a route takes to `other`.
const NAME: &str = hellos::NAME;

/// Refused under this word.
fn bad(case: &str, word: &str, sent: &[u8]) -> Row {
    Row::new(
        case,
        "feed",
        sent,
        Fate::Closed(format!("bad-hello:{word}/peeking")),
    )
}

/// Passed on by its name, which is [`NAME`].
fn known(case: &str, sent: &[u8]) -> Row {
    Row::new(case, "feed", sent, Fate::Passed("other"))
}

/// Passed on without a name that a route knows.
fn nameless(case: &str, sent: &[u8]) -> Row {
    Row::new(case, "feed", sent, Fate::Passed("feed"))
}

fn name() -> (u16, Vec<u8>) {
    named(NAME.as_bytes())
}

/// A key share of X25519MLKEM768, which no segment of 1,500 bytes holds.
fn post_quantum() -> (u16, Vec<u8>) {
    (
        51,
        hellos::block16(&[&[0x11, 0xec, 4, 0xc0], [9; 1216].as_slice(), &[9; 400]].concat()),
    )
}

/// Where the name is, plus a few bytes.
fn inside_the_name(hello: &[u8]) -> usize {
    let start = hello
        .windows(NAME.len())
        .position(|at| at == NAME.as_bytes());
    start.expect("it has the name") + 4
}

/// Hellos that are passed on, however they come.
fn good() -> Vec<Row> {
    let plain = hello(&[name()]);
    let large = hello(&[name(), post_quantum()]);
    let behind = [plain.as_slice(), b"\x14\x03\x03\x00\x01\x01early data"].concat();
    vec![
        known("a byte a segment", &plain).in_pieces(1),
        known("cut inside the name", &plain).cut(inside_the_name(&plain)),
        known("in records of 7 bytes", &records(&message(&[name()]), 7)),
        known(
            "in records of 7 bytes, a byte a segment",
            &records(&message(&[name()]), 7),
        )
        .in_pieces(1),
        known("larger than a segment", &large),
        known("larger than a segment, in two", &large).cut(1460),
        known("early data behind it", &behind),
        known(
            "upper case",
            &hello(&[named(NAME.to_ascii_uppercase().as_bytes())]),
        ),
        known(
            "a trailing dot",
            &hello(&[named(format!("{NAME}.").as_bytes())]),
        ),
        known(
            "grease",
            &hello(&[
                (0x0a0a, vec![]),
                name(),
                alpn(&[b"\x0a\x0a", b"h2"]),
                (0xfafa, vec![0]),
            ]),
        ),
        known("ECH", &hello(&[name(), (0xfe0d, vec![0; 200])])),
        known(
            "TLS 1.3 and drafts",
            &hello(&[name(), versions(&[0x7f1c, 0x0304])]),
        ),
        nameless("no name", &hello(&[alpn(&[b"h2"])])),
        nameless("a name of nobody", &hello(&[named(b"nobody.example")])),
        nameless("an IPv4 address for a name", &hello(&[named(b"192.0.2.1")])),
        nameless(
            "an IPv6 address for a name",
            &hello(&[named(b"2001:db8::1")]),
        ),
    ]
}

/// What is no TLS, and records that hold no hello.
#[expect(clippy::too_many_lines, reason = "a table")]
fn strangers() -> Vec<Row> {
    let began = record(&message(&[name()])[..9]);
    let v1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n";
    vec![
        bad(
            "HTTP",
            "plain-http",
            b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        ),
        bad("HTTP/2", "plain-http", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        bad("SSH", "not-tls", b"SSH-2.0-OpenSSH_9.2\r\n"),
        bad("NUL", "not-tls", b"\0"),
        bad("a PROXY header", "proxy-header", v1),
        bad(
            "a PROXY header of version 2",
            "proxy-header",
            &headers::v2(headers::LOCAL, 0, &[]),
        ),
        bad(
            "SSL 2.0",
            "sslv2",
            b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
        ),
        bad(
            "SSL 2.0 that offers TLS 1.0",
            "sslv2",
            b"\x80\x67\x01\x03\x01\x00\x4e\x00\x00\x00\x10",
        ),
        bad("an alert", "tls-alert", b"\x15\x03\x01\x00\x02\x02\x28"),
        bad(
            "an alert in the middle",
            "tls-alert",
            &[began.as_slice(), b"\x15\x03\x01\x00\x02\x01\x00"].concat(),
        ),
        bad("data", "not-handshake", b"\x17\x03\x03\x00\x05hello"),
        bad(
            "a heartbeat",
            "not-handshake",
            b"\x18\x03\x02\x00\x03\x01\x40\x00",
        ),
        bad(
            "data in the middle",
            "not-handshake",
            &[began.as_slice(), b"\x17\x03\x03\x00\x01x"].concat(),
        ),
        bad("DTLS", "record-version", b"\x16\xfe\xfd"),
        bad(
            "a record of 0 bytes",
            "empty-record",
            b"\x16\x03\x01\x00\x00",
        ),
        bad(
            "a record of 16,385 bytes",
            "record-length",
            b"\x16\x03\x01\x40\x01",
        ),
        bad(
            "a record of 65,535 bytes",
            "record-length",
            b"\x16\x03\x01\xff\xff",
        ),
        bad(
            "a byte a record",
            "too-many-records",
            &records(&[[1, 0, 1, 0].as_slice(), &[7; 256]].concat(), 1),
        ),
        bad(
            "the server's hello",
            "not-hello",
            &record(&hellos::handshake(2, &[0; 40])),
        ),
        bad(
            "a hello of 16 MiB",
            "hello-too-long",
            &record(b"\x01\xff\xff\xff"),
        ),
    ]
}

/// Hellos that contradict themselves.
#[expect(clippy::too_many_lines, reason = "a table")]
fn liars() -> Vec<Row> {
    let one = hello(&[name()]);
    let extensions = hellos::EXTENSIONS_LENGTH;
    vec![
        bad(
            "a version of DTLS",
            "hello-version",
            &with(one.clone(), hellos::HELLO_VERSION, &[0xfe, 0xfd]),
        ),
        bad(
            "a session of 33 bytes",
            "malformed-hello",
            &with(one.clone(), hellos::SESSION_LENGTH, &[33]),
        ),
        bad(
            "half a cipher",
            "malformed-hello",
            &with(one.clone(), hellos::CIPHERS_LENGTH, &[0, 3]),
        ),
        bad(
            "no compression",
            "malformed-hello",
            &with(one.clone(), hellos::COMPRESSION_LENGTH, &[0]),
        ),
        bad(
            "bytes behind the extensions",
            "malformed-hello",
            &with(one.clone(), extensions, &[0, 0]),
        ),
        bad(
            "extensions beyond the message",
            "malformed-hello",
            &with(one.clone(), extensions, &[0xff, 0xff]),
        ),
        bad(
            "an extension beyond the others",
            "malformed-hello",
            &with(one, extensions + 4, &[0xff, 0xff]),
        ),
        bad(
            "an extension twice",
            "duplicate-extension",
            &hello(&[name(), name()]),
        ),
        bad(
            "two names",
            "duplicate-name",
            &hello(&[(0, hellos::block16(&[host(b"a"), host(b"b")].concat()))]),
        ),
        bad(
            "a name of another type",
            "malformed-extension",
            &hello(&[(0, hellos::block16(&[1, 0, 1, b'a']))]),
        ),
        bad(
            "an empty list of names",
            "malformed-extension",
            &hello(&[(0, vec![0, 0])]),
        ),
        bad(
            "a name beyond its list",
            "malformed-extension",
            &hello(&[(0, hellos::block16(&[0, 0, 9, b'a']))]),
        ),
        bad(
            "no protocols in ALPN",
            "malformed-extension",
            &hello(&[name(), alpn(&[])]),
        ),
        bad(
            "an empty protocol in ALPN",
            "malformed-extension",
            &hello(&[name(), alpn(&[b"h2", b""])]),
        ),
        bad("an empty name", "bad-name", &hello(&[named(b"")])),
        bad(
            "a name of 255 bytes",
            "bad-name",
            &hello(&[named(&[b"a.".repeat(127), b"b".to_vec()].concat())]),
        ),
        bad(
            "a name of 300 bytes",
            "bad-name",
            &hello(&[named(&[b'a'; 300])]),
        ),
        bad(
            "NUL in the name",
            "bad-name",
            &hello(&[named(format!("{NAME}\0.evil.example").as_bytes())]),
        ),
        bad(
            "a name that is not ASCII",
            "bad-name",
            &hello(&[named("m\u{fc}nchen.example".as_bytes())]),
        ),
    ]
}

/// Clients that leave us waiting.
fn idlers() -> Vec<Row> {
    let late = || Fate::Closed("peek-timeout/peeking".into());
    let plain = hello(&[name()]);
    vec![
        Row::new(
            "half a hello, then silence",
            "hasty",
            &plain[..plain.len() / 2],
            late(),
        ),
        Row::new("silence", "hasty", b"", late()),
    ]
}

/// With a listener `feed`, and one that is soon out of patience.
fn stage() -> Stage {
    let route = format!("route = [{{ sni = \"{NAME}\", upstream = \"other\" }}]");
    Stage::new(&["other"], |setup| {
        setup.listener("mode = \"tls\"").listener(&route).more(
            "[[listener]]\nname = \"hasty\"\nlisten = \"127.0.0.1:0\"\nupstream = \"feed\"\nmode = \"tls\"\n\
             peek_timeout = \"300ms\"\n",
        )
    })
}

#[test]
fn hellos_arrive_as_they_were_sent_or_are_closed_with_a_reason() {
    let rows = [good(), strangers(), liars(), idlers()].concat();
    expect_all_words(&rows, include_str!("../../../docs/tls-peek.md"));
    let mut stage = stage();
    for row in &rows {
        stage.play(row);
    }
}

#[test]
fn a_client_that_is_silent_after_its_hello_has_all_the_time_it_wants() {
    let stage = stage();
    let client = crate::support::Peer::connect(stage.proxy.address_of("hasty"));
    let hello = hello(&[name()]);
    client.send(&hello);
    let at_backend = stage.upstreams[0].1.accept();
    at_backend.expect(&hello);
    client.expect_silence(Duration::from_millis(600));
    at_backend.send(b"server hello");
    client.expect(b"server hello");
}
