//! What is refused, and under which word.

use crate::build::*;
use crate::properties::{self, MAX};
use ringway::wire::client_hello::{Progress, parse};
use std::collections::BTreeSet;

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_is_no_hello_is_refused_under_its_word() {
    let none: &[(u16, Vec<u8>)] = &[];
    let overlong = named(format!("{}.com", ["a"; 126].join(".")).as_bytes());
    let cases: &[(&str, Vec<u8>)] = &[
        // Not TLS at all.
        ("not-tls", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("not-tls", b"\x00".to_vec()),
        ("not-tls", b"EHLO there\r\n".to_vec()),
        ("not-tls", b"GETAWAY".to_vec()),
        ("not-tls", b"\x80\x2e\x02\x00\x02".to_vec()),
        ("not-tls", b"\x80\x2e\x01\x07".to_vec()),
        ("plain-http", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("plain-http", b"POST ".to_vec()),
        ("plain-http", b"CONNECT a:443 HTTP/1.1\r\n".to_vec()),
        ("plain-http", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        (
            "proxy-header",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
        ),
        (
            "proxy-header",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec(),
        ),
        (
            "sslv2",
            b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10".to_vec(),
        ),
        (
            "sslv2",
            b"\x80\x67\x01\x03\x01\x00\x4e\x00\x00\x00\x10".to_vec(),
        ),
        // Records.
        ("tls-alert", b"\x15\x03\x01\x00\x02\x02\x28".to_vec()),
        ("not-handshake", b"\x17\x03\x03\x00\x05hello".to_vec()),
        ("not-handshake", b"\x14\x03\x03\x00\x01\x01".to_vec()),
        (
            "not-handshake",
            b"\x18\x03\x02\x00\x03\x01\x40\x00".to_vec(),
        ),
        ("record-version", b"\x16\x02\x00".to_vec()),
        ("record-version", b"\x16\xfe\xfd".to_vec()),
        ("empty-record", b"\x16\x03\x01\x00\x00".to_vec()),
        (
            "empty-record",
            [record(&[1, 0]), b"\x16\x03\x01\x00\x00".to_vec()].concat(),
        ),
        ("record-length", b"\x16\x03\x01\x40\x01".to_vec()),
        ("record-length", b"\x16\x03\x01\xff\xff".to_vec()),
        (
            "tls-alert",
            [
                record(&message(none)[..9]),
                b"\x15\x03\x01\x00\x02\x01\x00".to_vec(),
            ]
            .concat(),
        ),
        (
            "not-handshake",
            [
                record(&message(none)[..9]),
                b"\x17\x03\x03\x00\x01x".to_vec(),
            ]
            .concat(),
        ),
        (
            "too-many-records",
            records(&[[1, 0, 1, 0].as_slice(), &[7; 256]].concat(), 1),
        ),
        // The message.
        ("not-hello", record(&handshake(2, &[0; 40]))),
        ("not-hello", record(&handshake(0, &[]))),
        ("hello-too-long", record(b"\x01\xff\xff\xff")),
        ("hello-too-long", record(&[1, 0, 0x3f, 0xf8])),
        ("hello-version", with(hello(none), HELLO_VERSION, &[2, 0])),
        (
            "hello-version",
            with(hello(none), HELLO_VERSION, &[0xfe, 0xfd]),
        ),
        ("malformed-hello", record(&handshake(1, &[]))),
        ("malformed-hello", record(&handshake(1, &[3, 3, 0]))),
        ("malformed-hello", with(hello(none), SESSION_LENGTH, &[33])),
        (
            "malformed-hello",
            with(hello(none), CIPHERS_LENGTH, &[0, 3]),
        ),
        (
            "malformed-hello",
            with(hello(none), CIPHERS_LENGTH, &[0, 0]),
        ),
        (
            "malformed-hello",
            with(hello(none), CIPHERS_LENGTH, &[0xff, 0xfe]),
        ),
        (
            "malformed-hello",
            with(hello(none), COMPRESSION_LENGTH, &[0]),
        ),
        (
            "malformed-hello",
            with(hello(&[name()]), EXTENSIONS_LENGTH, &[0, 0]),
        ),
        (
            "malformed-hello",
            with(hello(&[name()]), EXTENSIONS_LENGTH, &[0, 24]),
        ),
        (
            "malformed-hello",
            with(hello(&[name()]), EXTENSIONS_LENGTH, &[0, 26]),
        ),
        // An extension that reaches beyond the block, one that is cut in its header.
        (
            "malformed-hello",
            with(hello(&[name()]), EXTENSIONS_LENGTH + 4, &[0, 22]),
        ),
        (
            "malformed-hello",
            with(
                hello(&[(5, vec![]), (6, vec![])]),
                EXTENSIONS_LENGTH + 4,
                &[0, 1],
            ),
        ),
        ("duplicate-extension", hello(&[name(), name()])),
        (
            "duplicate-extension",
            hello(&[(0x0a0a, vec![]), name(), (0x0a0a, vec![0])]),
        ),
        // Server name.
        ("malformed-extension", hello(&[(0, vec![])])),
        ("malformed-extension", hello(&[(0, vec![0, 0])])),
        ("malformed-extension", hello(&[(0, vec![0, 1, 0])])),
        (
            "malformed-extension",
            hello(&[(0, [block16(&host(b"a")), vec![0]].concat())]),
        ),
        (
            "malformed-extension",
            hello(&[(0, block16(&[0, 0, 9, b'a']))]),
        ),
        (
            "malformed-extension",
            hello(&[(0, block16(&[host(b"a"), vec![0]].concat()))]),
        ),
        (
            "malformed-extension",
            hello(&[(0, block16(&[1, 0, 1, b'a']))]),
        ),
        (
            "malformed-extension",
            hello(&[(0, block16(&[host(b"a"), vec![1, 0, 1, b'b']].concat()))]),
        ),
        (
            "duplicate-name",
            hello(&[(0, block16(&[host(b"a"), host(b"b")].concat()))]),
        ),
        ("bad-name", hello(&[named(b"")])),
        (
            "bad-name",
            hello(&[named(b"feed.example.com\0.evil.example")]),
        ),
        ("bad-name", hello(&[named(b"feed..example.com")])),
        ("bad-name", hello(&[named(b"*.example.com")])),
        ("bad-name", hello(&[named("m\u{fc}nchen.de".as_bytes())])),
        ("bad-name", hello(&[named(b"feed\xff")])),
        ("bad-name", hello(&[named(&[b'a'; 64])])),
        ("bad-name", hello(&[named(&[b'a'; 300])])),
        ("bad-name", hello(&[overlong])),
        // ALPN and versions.
        ("malformed-extension", hello(&[alpn(&[])])),
        ("malformed-extension", hello(&[alpn(&[b"h2", b""])])),
        ("malformed-extension", hello(&[(16, vec![])])),
        (
            "malformed-extension",
            hello(&[(16, block16(&[3, b'h', b'2']))]),
        ),
        (
            "malformed-extension",
            hello(&[(16, [alpn(&[b"h2"]).1, vec![0]].concat())]),
        ),
        ("malformed-extension", hello(&[(43, vec![0])])),
        ("malformed-extension", hello(&[(43, vec![3, 3, 4, 3])])),
        ("malformed-extension", hello(&[(43, vec![2, 3, 4, 3])])),
    ];
    for (word, bytes) in cases {
        let Progress::Refused(refusal) = parse(bytes, MAX) else {
            panic!("{:?} instead of {word}: {bytes:02x?}", parse(bytes, MAX));
        };
        assert_eq!(refusal.word(), *word, "{bytes:02x?}");
        properties::check(bytes);
    }
    let words: BTreeSet<&str> = cases.iter().map(|(word, _)| *word).collect();
    assert_eq!(
        words,
        documented(),
        "each word has a case and a row in the manual"
    );
}

/// The words in the first column of the manual's table.
fn documented() -> BTreeSet<&'static str> {
    include_str!("../../docs/tls-peek.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(word, _)| word)
        .collect()
}
