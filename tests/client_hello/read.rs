//! What a hello says, however it comes.

use crate::build::*;
use crate::complete;
use crate::properties::{self, MAX};
use ringway::wire::client_hello::{Progress, RECORDS_MAX, Refusal, Version, parse};

/// Bytes, and the name, protocols and version they say.
type Case<'a> = (Vec<u8>, Option<&'a str>, &'a [&'a [u8]], u16);

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_a_hello_says_is_read() {
    let long = format!(
        "{}.{}.com",
        vec!["a".repeat(63); 3].join("."),
        "b".repeat(57)
    );
    let share = (
        51,
        block16(
            &[0x11, 0xec, 4, 0xc0]
                .into_iter()
                .chain([9; 1216])
                .collect::<Vec<_>>(),
        ),
    );
    let grease = |kind: u16| (kind, vec![0]);
    let cases: &[Case] = &[
        (hello(&[]), None, &[], 0x0303),
        (hello(&[name()]), Some(NAME), &[], 0x0303),
        (
            hello(&[named(b"Feed.Example.COM")]),
            Some("Feed.Example.COM"),
            &[],
            0x0303,
        ),
        (
            hello(&[named(b"feed.example.com.")]),
            Some(NAME),
            &[],
            0x0303,
        ),
        (
            hello(&[named(b"_dmarc.ex_ample.com")]),
            Some("_dmarc.ex_ample.com"),
            &[],
            0x0303,
        ),
        (hello(&[named(long.as_bytes())]), Some(&long), &[], 0x0303),
        (hello(&[named(b"192.0.2.1")]), None, &[], 0x0303),
        (hello(&[named(b"2001:db8::1")]), None, &[], 0x0303),
        (
            hello(&[name(), alpn(&[b"h2", b"http/1.1"])]),
            Some(NAME),
            &[b"h2", b"http/1.1"],
            0x0303,
        ),
        (
            hello(&[alpn(&[b"\x0a\x0a", b"h2"])]),
            None,
            &[b"\x0a\x0a", b"h2"],
            0x0303,
        ),
        (
            hello(&[versions(&[0x1a1a, 0x0304, 0x0303])]),
            None,
            &[],
            0x0304,
        ),
        (
            hello(&[versions(&[0x0302, 0x7f1c, 0xfefc])]),
            None,
            &[],
            0x0302,
        ),
        (hello(&[versions(&[0xfafa])]), None, &[], 0x0303),
        (
            hello(&[grease(0x0a0a), name(), grease(0xfafa), share.clone()]),
            Some(NAME),
            &[],
            0x0303,
        ),
        (hello(&[share, name()]), Some(NAME), &[], 0x0303),
        // Clients of TLS 1.0 may end before the extensions, and write 3.0 on the record.
        (
            with(record(&handshake(1, &message(&[])[4..52 - 5])), 1, &[3, 0]),
            None,
            &[],
            0x0303,
        ),
        (with(hello(&[name()]), 1, &[3, 0]), Some(NAME), &[], 0x0303),
        (
            with(hello(&[name()]), HELLO_VERSION, &[3, 0]),
            Some(NAME),
            &[],
            0x0300,
        ),
    ];
    for (bytes, sni, alpn, version) in cases {
        let hello = complete(bytes);
        assert_eq!(hello.sni.as_deref(), *sni);
        assert!(hello.alpn().eq(alpn.iter().copied()), "{bytes:02x?}");
        assert_eq!(hello.version, Version(*version));
        assert_eq!(hello.len, bytes.len());
        assert!(!hello.ech);
        properties::check(bytes);
    }
}

#[test]
fn the_outer_name_is_what_ech_leaves_to_see() {
    let bytes = hello(&[named(b"public.example"), (0xfe0d, vec![0; 200])]);
    let hello = complete(&bytes);
    assert_eq!(hello.sni.as_deref(), Some("public.example"));
    assert!(hello.ech);
}

#[test]
fn a_hello_in_any_number_of_records_up_to_the_limit_is_the_same_hello() {
    let message = message(&[name(), alpn(&[b"h2"]), (21, vec![0; 1500])]);
    let whole = record(&message);
    for size in message.len().div_ceil(RECORDS_MAX)..message.len() {
        let bytes = records(&message, size);
        let mut expected = complete(&whole);
        expected.len = bytes.len();
        assert_eq!(complete(&bytes), expected, "records of {size} bytes");
    }
    let size = message.len().div_ceil(RECORDS_MAX) - 1;
    assert_eq!(
        parse(&records(&message, size), MAX),
        Progress::Refused(Refusal::TooManyRecords)
    );
}

#[test]
fn a_hello_in_one_record_is_borrowed_and_in_two_gathered() {
    use std::borrow::Cow;
    let message = message(&[name()]);
    let (one, two) = (record(&message), records(&message, 70));
    assert!(matches!(complete(&one).sni, Some(Cow::Borrowed(NAME))));
    assert!(matches!(complete(&two).sni, Some(Cow::Owned(name)) if name == NAME));
}

#[test]
fn the_limit_counts_headers_of_records_and_bites_at_its_own_byte() {
    for bytes in [hello(&[name()]), records(&message(&[name()]), 30)] {
        let max = bytes.len();
        assert!(matches!(parse(&bytes, max), Progress::Complete(_)));
        assert_eq!(parse(&bytes, max - 1), Progress::Refused(Refusal::TooLong));
        assert_eq!(parse(&bytes[..max - 1], max), Progress::Partial);
    }
    assert_eq!(parse(b"\x16\x03", 2), Progress::Refused(Refusal::TooLong));
}

#[test]
fn what_follows_the_hello_is_not_part_of_it() {
    let hello = hello(&[name()]);
    let early = [
        hello.clone(),
        b"\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x01x".to_vec(),
    ]
    .concat();
    assert_eq!(complete(&early), complete(&hello));
    let crowded = record(&[message(&[name()]), vec![9; 9]].concat());
    assert_eq!(complete(&crowded).len, hello.len());
}

#[test]
fn versions_have_the_words_of_other_proxies() {
    let words =
        [0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x0305].map(|number| Version(number).to_string());
    assert_eq!(
        words,
        ["SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3", "0x0305"]
    );
    assert!(Version::TLS13 > Version::TLS12);
}
