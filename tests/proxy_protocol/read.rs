//! What a header says.

use crate::build::*;
use crate::properties;
use crate::{complete, tcp, v4};
use ringway::wire::proxy_protocol::{
    Origin, Progress, Ssl, Tlvs, UNIQUE_ID_MAX, V1_MAX, V2_MAX, parse, write_v2,
};

#[test]
fn whose_connection_it_is_is_read() {
    let full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let longest = format!("PROXY UNKNOWN {full} {full} 65535 65535\r\n");
    assert_eq!(longest.len(), V1_MAX);
    let six = format!("PROXY TCP6 {full} {full} 65535 65535\r\n");
    let all_ones = format!("[{full}]:65535");
    let ip6 = [
        [0x20, 1, 0xd, 0xb8].as_slice(),
        &[0; 11],
        &[7],
        &[0; 15],
        &[1],
        &[0xdc, 4, 1, 0xbb],
    ]
    .concat();
    let cases: &[(Vec<u8>, Origin)] = &[
        (
            b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n".to_vec(),
            v4(),
        ),
        (
            b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n".to_vec(),
            tcp("0.0.0.0:0", "255.255.255.255:65535"),
        ),
        (
            b"PROXY TCP6 2001:DB8::7 ::1 56324 443\r\n".to_vec(),
            tcp("[2001:db8::7]:56324", "[::1]:443"),
        ),
        (
            b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n".to_vec(),
            tcp("[::ffff:192.0.2.7]:1", "[::1]:2"),
        ),
        (six.into_bytes(), tcp(&all_ones, &all_ones)),
        (b"PROXY UNKNOWN\r\n".to_vec(), Origin::Unknown),
        (
            b"PROXY UNKNOWN \xff\0 anything  at all\r\n".to_vec(),
            Origin::Unknown,
        ),
        (longest.into_bytes(), Origin::Unknown),
        (v2(PROXY, TCP4, ADDRESSES), v4()),
        (
            v2(PROXY, TCP6, &ip6),
            tcp("[2001:db8::7]:56324", "[::1]:443"),
        ),
        (v2(PROXY, 0x31, &[b'/'; 216]), Origin::Unknown),
        (v2(PROXY, 0x00, &[]), Origin::Unknown),
        // Where TLVs would begin behind addresses of no known length, nobody can tell.
        (v2(PROXY, 0x00, &[0xff; 9]), Origin::Unknown),
        (v2(PROXY, 0x01, &[0xff; 2]), Origin::Unknown),
        (v2(PROXY, 0x10, ADDRESSES), Origin::Unknown),
        (v2(PROXY, 0x20, &[]), Origin::Unknown),
        (v2(LOCAL, 0x00, &[]), Origin::Local),
        (v2(LOCAL, TCP4, ADDRESSES), Origin::Local),
        (v2(LOCAL, TCP4, &[0xff; 3]), Origin::Local),
        (v2(LOCAL, 0xff, &[0xff; V2_MAX - 16]), Origin::Local),
    ];
    for (bytes, origin) in cases {
        let header = complete(bytes);
        assert_eq!(header.origin, *origin, "{}", bytes.escape_ascii());
        assert_eq!(header.len, bytes.len());
        assert_eq!(header.tlvs, Tlvs::default());
        assert_eq!(
            complete(&[bytes.as_slice(), b"GET / HTTP/1.1"].concat()).len,
            bytes.len()
        );
        properties::check(bytes);
    }
}

#[test]
fn only_the_start_of_a_signature_may_become_a_header() {
    for bytes in [
        b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n".as_slice(),
        &v2(PROXY, TCP4, ADDRESSES),
    ] {
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Progress::Partial, "{end}");
        }
    }
    for bytes in [
        b"GET / HTTP/1.1\r\n".as_slice(),
        b"POST",
        b"PROXY\t",
        b"PROXYTCP4",
        b"proxy ",
        b"\r\n\r\nGET",
        b"\r\n\r\n\0\r\nQUIT\r",
        b"\n",
        b"\0",
        b"\x16\x03\x01",
    ] {
        assert_eq!(parse(bytes), Progress::Absent, "{}", bytes.escape_ascii());
        properties::check(bytes);
    }
}

#[test]
fn tlvs_are_read_and_strange_ones_passed_over() {
    let inside = [
        tlv(0x21, b"TLSv1.3"),
        tlv(0x22, "J\u{f6}rg".as_bytes()),
        tlv(0x23, b"TLS_AES_128_GCM_SHA256"),
        tlv(0x24, b"RSA-SHA256"),
        tlv(0x25, b"RSA2048"),
        tlv(0x26, b"X25519MLKEM768"),
    ];
    let bytes = v2_with(
        &[
            tlv(0x04, &[0; 5]),
            tlv(0x01, b"h2"),
            tlv(0x02, b"feed.example.com"),
            tlv(0x05, &[0xff; UNIQUE_ID_MAX]),
            tlv(0xea, b"\x01vpce-1"),
            tlv(0xea, b""),
            ssl(&inside.concat()),
            tlv(0x30, b"blue"),
            tlv(0x04, b""),
        ]
        .concat(),
    );
    let header = complete(&bytes);
    let ssl = Ssl {
        client: Ssl::TLS | Ssl::CERTIFICATE_NOW | Ssl::CERTIFICATE_IN_SESSION,
        verify: 0,
        version: Some("TLSv1.3"),
        common_name: Some("J\u{f6}rg"),
        cipher: Some("TLS_AES_128_GCM_SHA256"),
        signature_algorithm: Some("RSA-SHA256"),
        key_algorithm: Some("RSA2048"),
    };
    let tlvs = Tlvs {
        alpn: Some(b"h2"),
        authority: Some("feed.example.com"),
        unique_id: Some(&[0xff; UNIQUE_ID_MAX]),
        ssl: Some(ssl),
        netns: Some("blue"),
    };
    assert_eq!(header.tlvs, tlvs);
    assert_eq!(
        write_v2(header.origin, &tlvs).map(|bytes| complete(&bytes).tlvs == tlvs),
        Ok(true)
    );
    properties::check(&bytes);
}

#[test]
fn tlvs_follow_unix_addresses_too() {
    let bytes = v2(PROXY, 0x31, &[vec![0; 216], tlv(0x05, b"id")].concat());
    assert_eq!(complete(&bytes).tlvs.unique_id, Some(b"id".as_slice()));
}

#[test]
fn a_certificate_counts_if_it_was_given_and_verified() {
    let of = |client, verify| {
        Ssl {
            client,
            verify,
            ..Ssl::default()
        }
        .client_is_verified()
    };
    assert!(of(Ssl::TLS | Ssl::CERTIFICATE_NOW, 0));
    assert!(of(Ssl::TLS | Ssl::CERTIFICATE_IN_SESSION, 0));
    assert!(!of(Ssl::TLS, 0));
    assert!(!of(Ssl::TLS | Ssl::CERTIFICATE_NOW, 18));
}
