//! PROXY protocol headers.

use super::headers::{ADDRESSES, LOCAL, PROXY, SIGNATURE, TCP4, TCP6, tlv, v2, v2_with};
use super::{Fate, Row, Stage, expect_all_words, hellos};
use std::fmt::Write as _;

/// The address and port of [`ADDRESSES`] and of [`V1`].
const TOLD: &str = "192.0.2.7:56324";
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n";
const TOLD6: &str = "[2001:db8::7]:56324";

/// What follows a header, in its segment.
const PAYLOAD: &[u8] = b"hello";

/// A row, and the client that its line of the log has to name, if it was told of one.
type Told = (Row, Option<&'static str>);

/// A header that is believed; what follows goes to the backend.
fn taken(case: &str, client: Option<&'static str>, header: &[u8]) -> Told {
    let sent = [header, PAYLOAD].concat();
    (
        Row::new(case, "feed", &sent, Fate::Changed("feed", PAYLOAD.to_vec())),
        client,
    )
}

/// A header that is refused under this word.
fn bad(case: &str, word: &str, header: &[u8]) -> Told {
    let fate = Fate::Closed(format!("bad-proxy-header:{word}/greeting"));
    (Row::new(case, "feed", header, fate), None)
}

/// What is sent to another listener than the one that takes headers from everybody.
fn elsewhere(case: &str, to: &'static str, sent: &[u8], fate: Fate) -> Told {
    (Row::new(case, to, sent, fate), None)
}

/// The same, in pieces of so many bytes.
fn in_pieces(size: usize, (row, client): Told) -> Told {
    (row.in_pieces(size), client)
}

fn closed(end: &str) -> Fate {
    Fate::Closed(end.into())
}

/// `PROXY ` and what follows, as a line.
fn line(rest: &str) -> Vec<u8> {
    format!("PROXY {rest}\r\n").into_bytes()
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn version_1() -> Vec<Told> {
    // 107 bytes with CRLF is what the specification has receivers read.
    let longest = line(&format!("UNKNOWN {}", "f".repeat(91)));
    let too_long = line(&format!("UNKNOWN {}", "f".repeat(92)));
    assert_eq!(longest.len(), 107);
    vec![
        taken("TCP4", Some(TOLD), V1),
        taken(
            "TCP6",
            Some(TOLD6),
            &line("TCP6 2001:db8::7 2001:db8::1 56324 443"),
        ),
        taken("UNKNOWN", None, &line("UNKNOWN")),
        taken(
            "UNKNOWN with addresses",
            None,
            &line("UNKNOWN 2001:db8::7 2001:db8::1 56324 443"),
        ),
        taken("107 bytes", None, &longest),
        in_pieces(1, taken("a byte a segment", Some(TOLD), V1)),
        bad("108 bytes", "line-too-long", &too_long),
        bad("107 bytes without CRLF", "line-too-long", &too_long[..107]),
        bad(
            "a bare LF",
            "line-ending",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\n",
        ),
        bad("a bare CR", "line-ending", b"PROXY UNKNOWN\rX\r\n"),
        bad(
            "UDP",
            "protocol",
            &line("UDP4 192.0.2.7 192.0.2.1 56324 443"),
        ),
        bad(
            "lower case",
            "protocol",
            &line("tcp4 192.0.2.7 192.0.2.1 56324 443"),
        ),
        bad(
            "a space too many, first",
            "protocol",
            &line(" TCP4 192.0.2.7 192.0.2.1 56324 443"),
        ),
        bad(
            "a space too many, inside",
            "fields",
            &line("TCP4  192.0.2.7 192.0.2.1 56324 443"),
        ),
        bad(
            "a space too many, last",
            "fields",
            &line("TCP4 192.0.2.7 192.0.2.1 56324 443 "),
        ),
        bad(
            "a port too few",
            "fields",
            &line("TCP4 192.0.2.7 192.0.2.1 56324"),
        ),
        bad(
            "leading zeros in an address",
            "address",
            &line("TCP4 192.0.2.07 192.0.2.1 56324 443"),
        ),
        bad(
            "IPv6 in TCP4",
            "address",
            &line("TCP4 2001:db8::7 2001:db8::1 56324 443"),
        ),
        bad(
            "IPv4 in TCP6",
            "address",
            &line("TCP6 192.0.2.7 192.0.2.1 56324 443"),
        ),
        bad(
            "leading zeros in a port",
            "port",
            &line("TCP4 192.0.2.7 192.0.2.1 056324 443"),
        ),
        bad(
            "port 65536",
            "port",
            &line("TCP4 192.0.2.7 192.0.2.1 65536 443"),
        ),
    ]
}

fn version_2() -> Vec<Told> {
    let ip6 = |last: u8| [&[0x20, 1, 0x0d, 0xb8], [0; 11].as_slice(), &[last]].concat();
    let ports = &ADDRESSES[8..];
    let told = || taken("TCP4", Some(TOLD), &v2_with(&[]));
    vec![
        told(),
        in_pieces(1, told()),
        taken(
            "TCP6",
            Some(TOLD6),
            &v2(PROXY, TCP6, &[&ip6(7), &ip6(1), ports].concat()),
        ),
        taken("LOCAL", None, &v2(LOCAL, 0, &[])),
        taken(
            "LOCAL with a rest to skip",
            None,
            &v2(LOCAL, TCP4, &[0xff; 100]),
        ),
        taken("Unix", None, &v2(PROXY, 0x31, &[b'/'; 216])),
        taken("an unspecified family", None, &v2(PROXY, 0, ADDRESSES)),
        taken(
            "a TLV that nobody knows",
            Some(TOLD),
            &v2_with(&tlv(0xee, b"?")),
        ),
        taken(
            "4,096 bytes",
            Some(TOLD),
            &v2_with(&tlv(4, &[0; 4096 - 16 - 12 - 3])),
        ),
        taken("a good checksum", Some(TOLD), &checked()),
        bad("version 1", "version", &v2(0x11, TCP4, ADDRESSES)),
        bad("version 3", "version", &v2(0x31, TCP4, ADDRESSES)),
        bad("no such command", "command", &v2(0x22, TCP4, ADDRESSES)),
        bad("no such family", "family", &v2(PROXY, 0x41, ADDRESSES)),
        bad("UDP", "datagram", &v2(PROXY, 0x12, ADDRESSES)),
        bad(
            "shorter than its family",
            "addresses-cut-short",
            &v2(PROXY, TCP4, &ADDRESSES[..11]),
        ),
        bad(
            "IPv4's length in IPv6",
            "addresses-cut-short",
            &v2(PROXY, TCP6, ADDRESSES),
        ),
        bad(
            "65,535 bytes",
            "header-too-long",
            &[SIGNATURE, &[PROXY, TCP4, 0xff, 0xff]].concat(),
        ),
        bad(
            "a TLV beyond its end",
            "malformed-tlv",
            &v2_with(&[4, 0, 1]),
        ),
        bad(
            "a TLV twice",
            "duplicate-tlv",
            &v2_with(&[tlv(2, b"a"), tlv(2, b"b")].concat()),
        ),
        bad("a bad checksum", "checksum", &v2_with(&tlv(3, &[0; 4]))),
    ]
}

/// A header with its CRC32C.
fn checked() -> Vec<u8> {
    let mut header = v2_with(&tlv(3, &[0; 4]));
    let at = header.len() - 4;
    let sum = crc32c::crc32c(&header).to_be_bytes();
    header[at..].copy_from_slice(&sum);
    header
}

/// Who may send a header, who must, and who takes too long.
#[expect(clippy::too_many_lines, reason = "a table")]
fn manners() -> Vec<Told> {
    let passed = || Fate::Passed("feed");
    let none = "no-proxy-header/greeting";
    let untrusted = "untrusted-proxy/greeting";
    let late = || closed("peek-timeout/greeting");
    vec![
        elsewhere(
            "no header where one is required",
            "feed",
            b"GET / HTTP/1.1\r\n\r\n",
            closed(none),
        ),
        elsewhere(
            "TLS where a header is required",
            "feed",
            &hellos::hello(&[]),
            closed(none),
        ),
        elsewhere(
            "no header where one may be",
            "optional",
            b"PROXIMATE",
            passed(),
        ),
        elsewhere(
            "what begins like a header, and ends",
            "optional",
            b"PROXY",
            passed(),
        ),
        elsewhere(
            "a bad header where one may be",
            "optional",
            &line("TCP4"),
            closed("bad-proxy-header:fields/greeting"),
        ),
        elsewhere("a stranger's, required", "choosy", V1, closed(untrusted)),
        elsewhere(
            "a stranger's, version 2, required",
            "choosy",
            &v2_with(&[]),
            closed(untrusted),
        ),
        elsewhere(
            "a stranger's, LOCAL, required",
            "choosy",
            &v2(LOCAL, 0, &[]),
            closed(untrusted),
        ),
        elsewhere("a stranger's, optional", "lenient", V1, closed(untrusted)),
        elsewhere("a stranger without one", "lenient", b"hello", passed()),
        elsewhere(
            "a header that nobody asked for",
            "off",
            &[V1, PAYLOAD].concat(),
            passed(),
        ),
        elsewhere("half a line, then silence", "hasty", &V1[..20], late()),
        elsewhere(
            "half a signature, then silence",
            "hasty",
            &SIGNATURE[..6],
            late(),
        ),
        elsewhere(
            "a block that does not come",
            "hasty",
            &v2_with(&[])[..20],
            late(),
        ),
        elsewhere("silence", "hasty", b"", late()),
    ]
}

/// Listeners of these names, each with lines of its own.
fn listeners(rows: &[(&str, &str)]) -> String {
    rows.iter().fold(String::new(), |mut toml, (name, lines)| {
        write!(toml, "[[listener]]\nname = \"{name}\"\nlisten = \"127.0.0.1:0\"\nupstream = \"feed\"\n{lines}\n").unwrap();
        toml
    })
}

#[test]
fn headers_are_believed_or_closed_with_a_reason() {
    let rows = [version_1(), version_2(), manners()].concat();
    expect_all_words(
        rows.iter().map(|(row, _)| row),
        include_str!("../../../docs/proxy-protocol.md"),
    );
    let mut stage = Stage::new(&[], |setup| {
        setup
            .listener("proxy_protocol = \"required\"")
            .more(&listeners(&[
                ("optional", "proxy_protocol = \"optional\""),
                (
                    "choosy",
                    "proxy_protocol = \"required\"\nproxy_protocol_from = [\"10.0.0.0/8\"]",
                ),
                (
                    "lenient",
                    "proxy_protocol = \"optional\"\nproxy_protocol_from = [\"10.0.0.0/8\"]",
                ),
                ("off", ""),
                (
                    "hasty",
                    "proxy_protocol = \"required\"\npeek_timeout = \"300ms\"",
                ),
            ]))
    });
    for (row, client) in &rows {
        let line = stage.play(row);
        let said = line.text("client");
        match client {
            Some(told) => assert_eq!(said, *told),
            None => assert!(said.starts_with("127.0.0.1:"), "{said}"),
        }
    }
}
