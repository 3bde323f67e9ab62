//! What is written for a backend.

use crate::build::*;
use crate::{tcp, v4};
use ringway::wire::proxy_protocol::{
    AUTHORITY_MAX, Origin, Ssl, Tlvs, TooLong, UNIQUE_ID_MAX, V2_MAX, write_v1, write_v2,
};

#[test]
fn version_1_is_written_as_the_specification_shows_it() {
    let cases = [
        (v4(), "PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n"),
        (
            tcp("[2001:db8::7]:1", "[::1]:2"),
            "PROXY TCP6 2001:db8::7 ::1 1 2\r\n",
        ),
        // What a socket for both families reports of IPv4.
        (
            tcp("[::ffff:192.0.2.7]:1", "[::ffff:192.0.2.1]:2"),
            "PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
        ),
        (
            tcp("[::ffff:192.0.2.7]:1", "[2001:db8::1]:2"),
            "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1 2\r\n",
        ),
        (
            tcp("[2001:db8::7]:1", "192.0.2.1:2"),
            "PROXY TCP6 2001:db8::7 ::ffff:192.0.2.1 1 2\r\n",
        ),
        (Origin::Unknown, "PROXY UNKNOWN\r\n"),
        (Origin::Local, "PROXY UNKNOWN\r\n"),
    ];
    for (origin, line) in cases {
        assert_eq!(
            write_v1(origin).escape_ascii().to_string(),
            line.as_bytes().escape_ascii().to_string()
        );
    }
}

#[test]
fn version_2_is_written_as_the_specification_shows_it() {
    let none = Tlvs::default();
    assert_eq!(write_v2(v4(), &none), Ok(v2(PROXY, TCP4, ADDRESSES)));
    assert_eq!(write_v2(Origin::Local, &none), Ok(v2(LOCAL, 0, &[])));
    assert_eq!(write_v2(Origin::Unknown, &none), Ok(v2(PROXY, 0, &[])));
    let id = Tlvs {
        unique_id: Some(b"id"),
        ..none
    };
    assert_eq!(write_v2(v4(), &id), Ok(v2_with(&tlv(0x05, b"id"))));
    assert_eq!(write_v2(Origin::Local, &id), Ok(v2(LOCAL, 0, &[])));
}

#[test]
fn nothing_is_written_that_would_be_refused() {
    let long = "a".repeat(V2_MAX);
    let none = Tlvs::default();
    let cases = [
        Tlvs {
            unique_id: Some(&[0; UNIQUE_ID_MAX + 1]),
            ..none
        },
        Tlvs {
            authority: Some(&long[..AUTHORITY_MAX + 1]),
            ..none
        },
        Tlvs {
            alpn: Some(&[0; 1 << 16]),
            ..none
        },
        Tlvs {
            netns: Some(&long),
            ..none
        },
        Tlvs {
            ssl: Some(Ssl {
                common_name: Some(&long),
                ..Ssl::default()
            }),
            ..none
        },
    ];
    for tlvs in cases {
        assert_eq!(write_v2(v4(), &tlvs), Err(TooLong), "{tlvs:?}");
    }
    let fits = V2_MAX - 16 - ADDRESSES.len() - 3;
    assert!(
        write_v2(
            v4(),
            &Tlvs {
                netns: Some(&long[..fits]),
                ..none
            }
        )
        .is_ok()
    );
    assert_eq!(
        write_v2(
            v4(),
            &Tlvs {
                netns: Some(&long[..fits + 1]),
                ..none
            }
        ),
        Err(TooLong)
    );
}
