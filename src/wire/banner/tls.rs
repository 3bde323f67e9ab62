//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446): the first record that answers a ClientHello. A HelloRetryRequest is a
//! ServerHello, too.

use super::{Reason, Verdict};
use crate::wire::reader::Reader;

const NOT: &str = "not tls";

/// An alert of level warning, `close_notify`: the client has seen enough.
pub(super) const CLOSE_NOTIFY: &[u8] = &[ALERT, 3, 3, 0, 2, 1, 0];

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;

/// What TLS 1.2 and 1.3 call themselves in a ServerHello.
const VERSION: u16 = 0x0303;

pub(super) fn judge<'a>(bytes: &[u8]) -> Verdict<'a> {
    let mut reader = Reader::new(bytes);
    match reader.u8() {
        None => return Verdict::More,
        Some(HANDSHAKE | ALERT) => {}
        Some(_) => return Verdict::Failed(NOT.into()),
    }
    match reader.u8() {
        None => return Verdict::More,
        Some(3) => {}
        Some(_) => return Verdict::Failed(NOT.into()),
    }
    // The minor version, which says nothing (RFC 8446, section 5.1), and the length.
    let Some([_, _, _]) = reader.array() else {
        return Verdict::More;
    };
    if bytes[0] == ALERT {
        judge_alert(&mut reader)
    } else {
        judge_handshake(&mut reader)
    }
}

fn judge_handshake<'a>(reader: &mut Reader<'_>) -> Verdict<'a> {
    match reader.u8() {
        None => return Verdict::More,
        Some(SERVER_HELLO) => {}
        Some(_) => return Verdict::Failed(NOT.into()),
    }
    let Some([_, _, _]) = reader.array() else {
        return Verdict::More;
    };
    match reader.u16() {
        None => Verdict::More,
        Some(VERSION) => Verdict::Passed,
        Some(0x0300) => Verdict::Failed("tls version ssl3".into()),
        Some(0x0301) => Verdict::Failed("tls version 1.0".into()),
        Some(0x0302) => Verdict::Failed("tls version 1.1".into()),
        Some(_) => Verdict::Failed(NOT.into()),
    }
}

fn judge_alert<'a>(reader: &mut Reader<'_>) -> Verdict<'a> {
    let Some([_level, description]) = reader.array() else {
        return Verdict::More;
    };
    Verdict::Failed(alert(description))
}

/// The words for an alert: its name, or its number.
pub fn alert(description: u8) -> Reason {
    match name(description) {
        Some(name) => format!("tls alert {name}").into(),
        None => format!("tls alert {description}").into(),
    }
}

/// RFC 8446, section 6; RFC 5246, section 7.2 for those that only TLS 1.2 has.
fn name(description: u8) -> Option<&'static str> {
    Some(match description {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        22 => "record_overflow",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => return None,
    })
}
