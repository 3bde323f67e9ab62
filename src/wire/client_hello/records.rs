//! From a stream's first bytes to its first handshake message: records (RFC 8446, section 5.1), and what is none.
//! Strictly front to back, so that a byte still to come never changes what was said about those before it.

use super::{RECORDS_MAX, Refusal, Stop};
use arrayvec::ArrayVec;
use std::borrow::Cow;

// Content types of records; 24, heartbeat, is the last that was given out.
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const HEARTBEAT: u8 = 24;

const RECORD_HEADER: usize = 5;
const FRAGMENT_MAX: usize = 1 << 14;

/// Type and length of a handshake message.
const MESSAGE_HEADER: usize = 4;
const CLIENT_HELLO: u8 = 1;

/// The body of the client hello in `bytes`, and how many of these hold it. Copied only if it is in several records.
pub(super) fn first_message(bytes: &[u8], max: usize) -> Result<(Cow<'_, [u8]>, usize), Stop> {
    if let Some(first) = bytes.first()
        && !(CHANGE_CIPHER_SPEC..=HEARTBEAT).contains(first)
    {
        return Err(stranger(bytes));
    }
    let mut records = Records::new(bytes);
    let mut header = ArrayVec::<u8, MESSAGE_HEADER>::new();
    let mut seen = 0;
    loop {
        let fragment = records.next()?;
        seen += fragment.len();
        header.extend(fragment.iter().copied().take(header.remaining_capacity()));
        let Some(whole) = message_length(&header, max)? else {
            continue;
        };
        if seen >= whole {
            let len = records.at - (seen - whole);
            return Ok((body(bytes, fragment, whole, seen), len));
        }
    }
}

/// The message without its header: out of the one fragment that holds it, or gathered.
fn body<'a>(bytes: &'a [u8], last: &'a [u8], whole: usize, seen: usize) -> Cow<'a, [u8]> {
    if last.len() == seen {
        return Cow::Borrowed(&last[MESSAGE_HEADER..whole]);
    }
    let mut message = Vec::with_capacity(seen);
    let mut records = Records::new(bytes);
    while message.len() < whole {
        message.extend_from_slice(records.next().expect("they were all read once"));
    }
    message.truncate(whole);
    message.drain(..MESSAGE_HEADER);
    Cow::Owned(message)
}

/// Length of the message with its header, once that is there.
fn message_length(header: &[u8], max: usize) -> Result<Option<usize>, Refusal> {
    if header[0] != CLIENT_HELLO {
        return Err(Refusal::NotHello);
    }
    let &[_, high, middle, low] = header else {
        return Ok(None);
    };
    let body = u32::from_be_bytes([0, high, middle, low]) as usize;
    let whole = MESSAGE_HEADER + body;
    if RECORD_HEADER + whole > max {
        return Err(Refusal::TooLong);
    }
    Ok(Some(whole))
}

/// Handshake records one after the other.
struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    count: usize,
}

impl<'a> Records<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            count: 0,
        }
    }

    /// What is there of the next record's fragment: a byte at least.
    fn next(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        if !rest.is_empty() && self.count == RECORDS_MAX {
            return Err(Refusal::TooManyRecords.into());
        }
        let length = fragment_length(rest)?;
        let fragment = &rest[RECORD_HEADER..];
        let fragment = &fragment[..fragment.len().min(length)];
        if fragment.is_empty() {
            return Err(Stop::Partial);
        }
        self.at += RECORD_HEADER + fragment.len();
        self.count += 1;
        Ok(fragment)
    }
}

/// From the header of a record, refused at the first byte that is wrong. The minor version is not looked at, as
/// RFC 8446 asks: clients write what old servers like to see.
fn fragment_length(record: &[u8]) -> Result<usize, Stop> {
    match record.first() {
        None => return Err(Stop::Partial),
        Some(&HANDSHAKE) => {}
        Some(&ALERT) => return Err(Refusal::Alert.into()),
        Some(_) => return Err(Refusal::NotHandshake.into()),
    }
    if record.get(1).is_some_and(|major| *major != 3) {
        return Err(Refusal::RecordVersion.into());
    }
    let Some(&[high, low]) = record.get(3..RECORD_HEADER) else {
        return Err(Stop::Partial);
    };
    match usize::from(u16::from_be_bytes([high, low])) {
        0 => Err(Refusal::EmptyRecord.into()),
        length if length > FRAGMENT_MAX => Err(Refusal::RecordLength.into()),
        length => Ok(length),
    }
}

/// What people send to a TLS port by mistake.
const STRANGERS: &[(&[u8], Refusal)] = &[
    (b"GET ", Refusal::PlainHttp),
    (b"HEAD ", Refusal::PlainHttp),
    (b"POST ", Refusal::PlainHttp),
    (b"PUT ", Refusal::PlainHttp),
    (b"PATCH ", Refusal::PlainHttp),
    (b"DELETE ", Refusal::PlainHttp),
    (b"OPTIONS ", Refusal::PlainHttp),
    (b"CONNECT ", Refusal::PlainHttp),
    (b"TRACE ", Refusal::PlainHttp),
    (b"PRI * HTTP/2.0\r\n", Refusal::PlainHttp),
    (b"PROXY ", Refusal::ProxyHeader),
    (b"\r\n\r\n\0\r\nQUIT\n", Refusal::ProxyHeader),
];

/// Which of the things that are not TLS this is. May wait for a few bytes more to find the word for it.
fn stranger(bytes: &[u8]) -> Stop {
    let known = STRANGERS
        .iter()
        .find(|(start, _)| bytes.starts_with(start) || start.starts_with(bytes));
    match known {
        Some((start, refusal)) if bytes.len() >= start.len() => Stop::Refused(*refusal),
        Some(_) => Stop::Partial,
        None => sslv2(bytes),
    }
}

/// An SSL 2.0 hello has no record header but a length with the top bit set, then its type, 1, and a version: 0.2 or 3.x
/// (RFC 5246, appendix E.2).
fn sslv2(bytes: &[u8]) -> Stop {
    let could_be = bytes[0] & 0x80 != 0
        && bytes.get(2).is_none_or(|kind| *kind == CLIENT_HELLO)
        && bytes.get(3).is_none_or(|major| matches!(major, 0 | 3));
    match could_be {
        true if bytes.len() >= 4 => Stop::Refused(Refusal::Sslv2),
        true => Stop::Partial,
        false => Stop::Refused(Refusal::NotTls),
    }
}
