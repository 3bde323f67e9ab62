//! What is refused, and under which word.

use crate::build::*;
use crate::properties;
use ringway::wire::proxy_protocol::{
    AUTHORITY_MAX, Progress, UNIQUE_ID_MAX, V1_MAX, V2_MAX, parse,
};
use std::collections::BTreeSet;

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_breaks_the_rules_is_refused_under_its_word() {
    let line = |rest: &str| format!("PROXY {rest}").into_bytes();
    let fill = |count| line(&format!("UNKNOWN {}", "x".repeat(count)));
    let cases: &[(&str, Vec<u8>)] = &[
        // Version 1.
        ("line-too-long", fill(V1_MAX)),
        (
            "line-too-long",
            [fill(V1_MAX - 14 - 1), b"\r\n".to_vec()].concat(),
        ),
        (
            "line-ending",
            line("TCP4 192.0.2.7 192.0.2.1 56324 443\nhello"),
        ),
        (
            "line-ending",
            line("TCP4 192.0.2.7 192.0.2.1 56324 443\r\r\n"),
        ),
        ("line-ending", line("UNKNOWN\rX\r\n")),
        ("line-ending", line("\n")),
        ("protocol", line("\r\n")),
        ("protocol", line("tcp4 192.0.2.7 192.0.2.1 56324 443\r\n")),
        ("protocol", line("TCP5 192.0.2.7 192.0.2.1 56324 443\r\n")),
        ("protocol", line("UDP4 192.0.2.7 192.0.2.1 56324 443\r\n")),
        ("protocol", line(" TCP4 192.0.2.7 192.0.2.1 56324 443\r\n")),
        ("protocol", line("UNKNOWN1 x\r\n")),
        ("fields", line("TCP4\r\n")),
        ("fields", line("TCP4 \r\n")),
        ("fields", line("TCP4 192.0.2.7 192.0.2.1 56324\r\n")),
        ("fields", line("TCP4 192.0.2.7 192.0.2.1 56324 443 \r\n")),
        ("fields", line("TCP4 192.0.2.7 192.0.2.1 56324 443 1\r\n")),
        ("fields", line("TCP4  192.0.2.7 192.0.2.1 56324 443\r\n")),
        ("fields", line("TCP4 192.0.2.7 192.0.2.1  443\r\n")),
        (
            "fields",
            b"PROXY TCP4 \xff 192.0.2.1 56324 443\r\n".to_vec(),
        ),
        ("address", line("TCP4 192.0.2.07 192.0.2.1 56324 443\r\n")),
        ("address", line("TCP4 192.0.2.256 192.0.2.1 56324 443\r\n")),
        ("address", line("TCP4 192.0.2 192.0.2.1 56324 443\r\n")),
        ("address", line("TCP4 0xc0.0.2.7 192.0.2.1 56324 443\r\n")),
        ("address", line("TCP4 2001:db8::7 192.0.2.1 56324 443\r\n")),
        ("address", line("TCP4 192.0.2.7 2001:db8::1 56324 443\r\n")),
        ("address", line("TCP4 192.0.2.7\t192.0.2.1 56324 443 1\r\n")),
        ("address", line("TCP6 192.0.2.7 192.0.2.1 56324 443\r\n")),
        (
            "address",
            line("TCP6 2001:db8::7%eth0 2001:db8::1 56324 443\r\n"),
        ),
        (
            "address",
            line("TCP6 [2001:db8::7] 2001:db8::1 56324 443\r\n"),
        ),
        (
            "address",
            line("TCP6 2001::db8::7 2001:db8::1 56324 443\r\n"),
        ),
        ("port", line("TCP4 192.0.2.7 192.0.2.1 056324 443\r\n")),
        ("port", line("TCP4 192.0.2.7 192.0.2.1 56324 00\r\n")),
        ("port", line("TCP4 192.0.2.7 192.0.2.1 65536 443\r\n")),
        ("port", line("TCP4 192.0.2.7 192.0.2.1 +56324 443\r\n")),
        ("port", line("TCP4 192.0.2.7 192.0.2.1 -1 443\r\n")),
        ("port", line("TCP4 192.0.2.7 192.0.2.1 56324 4a3\r\n")),
        (
            "port",
            line("TCP4 192.0.2.7 192.0.2.1 56324 99999999999\r\n"),
        ),
        // Version 2.
        ("version", v2(0x11, TCP4, ADDRESSES)),
        ("version", v2(0x31, TCP4, ADDRESSES)),
        ("version", [SIGNATURE, &[0x01]].concat()),
        ("command", v2(0x22, TCP4, ADDRESSES)),
        ("command", v2(0x2f, TCP4, ADDRESSES)),
        ("family", v2(PROXY, 0x41, ADDRESSES)),
        ("family", v2(PROXY, 0xf2, ADDRESSES)),
        ("family", v2(PROXY, 0x13, ADDRESSES)),
        ("family", v2(PROXY, 0x0f, &[])),
        ("datagram", v2(PROXY, 0x12, ADDRESSES)),
        ("datagram", v2(PROXY, 0x22, &[0; 36])),
        ("datagram", v2(PROXY, 0x32, &[0; 216])),
        ("header-too-long", v2(PROXY, TCP4, &[0; V2_MAX - 15])),
        (
            "header-too-long",
            [SIGNATURE, &[PROXY, TCP4, 0xff, 0xff]].concat(),
        ),
        (
            "header-too-long",
            [SIGNATURE, &[LOCAL, 0, 0xff, 0xff]].concat(),
        ),
        ("addresses-cut-short", v2(PROXY, TCP4, &ADDRESSES[..11])),
        ("addresses-cut-short", v2(PROXY, TCP4, &[])),
        ("addresses-cut-short", v2(PROXY, TCP6, ADDRESSES)),
        ("addresses-cut-short", v2(PROXY, 0x31, &[0; 215])),
        ("malformed-tlv", v2_with(&[4])),
        ("malformed-tlv", v2_with(&[4, 0])),
        ("malformed-tlv", v2_with(&[4, 0, 1])),
        ("malformed-tlv", v2_with(&[1, 0xff, 0xff, b'h', b'2'])),
        ("malformed-tlv", v2_with(&tlv(0x02, b"feed\xff.example"))),
        (
            "malformed-tlv",
            v2_with(&tlv(0x02, &[b'a'; AUTHORITY_MAX + 1])),
        ),
        ("malformed-tlv", v2_with(&tlv(0x03, &[0; 3]))),
        ("malformed-tlv", v2_with(&tlv(0x03, &[0; 5]))),
        (
            "malformed-tlv",
            v2_with(&tlv(0x05, &[0; UNIQUE_ID_MAX + 1])),
        ),
        ("malformed-tlv", v2_with(&tlv(0x20, &[1, 0, 0, 0]))),
        ("malformed-tlv", v2_with(&ssl(&[0x21, 0, 8]))),
        ("malformed-tlv", v2_with(&ssl(&tlv(0x22, b"\xff")))),
        ("malformed-tlv", v2_with(&tlv(0x30, b"\xff"))),
        (
            "duplicate-tlv",
            v2_with(&[tlv(0x01, b"h2"), tlv(0x01, b"h2")].concat()),
        ),
        (
            "duplicate-tlv",
            v2_with(&[tlv(0x02, b"a"), tlv(0x02, b"b")].concat()),
        ),
        (
            "duplicate-tlv",
            v2_with(&[tlv(0x05, b"a"), tlv(0x04, b""), tlv(0x05, b"a")].concat()),
        ),
        ("duplicate-tlv", v2_with(&[ssl(b""), ssl(b"")].concat())),
        (
            "duplicate-tlv",
            v2_with(&ssl(&[tlv(0x22, b"a"), tlv(0x22, b"b")].concat())),
        ),
        ("checksum", v2_with(&tlv(0x03, &[0; 4]))),
    ];
    for (word, bytes) in cases {
        let Progress::Refused(refusal) = parse(bytes) else {
            panic!(
                "{:?} instead of {word}: {}",
                parse(bytes),
                bytes.escape_ascii()
            );
        };
        assert_eq!(refusal.word(), *word, "{}", bytes.escape_ascii());
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
    include_str!("../../docs/proxy-protocol.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(word, _)| word)
        .collect()
}
