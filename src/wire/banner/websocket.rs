//! WebSocket (RFC 6455): the opening handshake from the client's side, and frames as far as it takes to see a message.

use super::http;
use super::{Reason, Verdict};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1_smol::Sha1;

/// The longest head of a reply, in bytes, and the most fields in it. It is read again from its start as more of it comes.
const HEAD_MAX: usize = 8 * 1024;
const FIELDS_MAX: usize = 64;

/// Section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A close frame with 1000, "normal", as a client sends it: masked, though with zeros, which hide nothing; there is
/// nothing in it that a cache in between could take for something else.
pub(super) const CLOSE: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8];

/// The reason of whatever is no WebSocket.
const NOT: &str = "not websocket";

/// Sec-WebSocket-Key, 16 random bytes in base64.
pub(super) type Key = String;

pub(super) fn key(nonce: [u8; 16]) -> Key {
    STANDARD.encode(nonce)
}

pub(super) fn request(path: &str, host: &str, key: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ringway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into()
}

/// The length of the head with which the server takes the upgrade, once it is there.
pub(super) fn accepted(bytes: &[u8], key: &str) -> Result<Option<usize>, Reason> {
    match http::status(bytes)? {
        None => return Ok(None),
        Some(101) => {}
        Some(status) => return Err(http::failed(status)),
    }
    let within = &bytes[..bytes.len().min(HEAD_MAX)];
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut reply = httparse::Response::new(&mut fields);
    match reply.parse(within) {
        Ok(httparse::Status::Complete(head)) => {
            judge_head(reply.headers, key)?;
            Ok(Some(head))
        }
        Ok(httparse::Status::Partial) if within.len() < HEAD_MAX => Ok(None),
        Ok(httparse::Status::Partial) | Err(_) => Err(NOT.into()),
    }
}

/// Section 4.1, what the client checks.
fn judge_head(fields: &[httparse::Header<'_>], key: &str) -> Result<(), Reason> {
    let values = |name: &'static str| {
        let fields = fields.iter();
        let named = fields.filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value.trim_ascii())
    };
    let names = |list: &[u8], word: &[u8]| {
        let mut words = list.split(|&byte| byte == b',');
        words.any(|entry| entry.trim_ascii().eq_ignore_ascii_case(word))
    };
    if !values("Upgrade").any(|value| value.eq_ignore_ascii_case(b"websocket"))
        || !values("Connection").any(|value| names(value, b"upgrade"))
    {
        return Err(NOT.into());
    }
    if !values("Sec-WebSocket-Accept").eq([accept(key).as_bytes()]) {
        return Err("websocket accept mismatch".into());
    }
    Ok(())
}

/// What the server has to make of the key.
fn accept(key: &str) -> String {
    let mut hash = Sha1::from(key);
    hash.update(GUID);
    STANDARD.encode(hash.digest().bytes())
}

/// Waits for a message with what is expected, which is not empty. Pings and pongs are passed over and taken off; that a ping goes unanswered is
/// no harm in the time that a probe takes.
pub(super) fn judge_frames<'a>(received: &mut Vec<u8>, expect: &[u8]) -> Verdict<'a> {
    const CONTROL_MAX: usize = 125;
    loop {
        let &[first, second, ref rest @ ..] = received.as_slice() else {
            return Verdict::More;
        };
        // Without extensions the reserved bits are 0; a server's frames are never masked, its control frames short.
        let (opcode, length) = (first & 0x0F, usize::from(second));
        match (first & 0x70, opcode) {
            (0, 1 | 2) if second & 0x80 == 0 => {
                // A server's frames are not masked, and so the bytes are there as they are.
                let is_there = rest.windows(expect.len()).any(|at| at == expect);
                return if is_there {
                    Verdict::Passed
                } else {
                    Verdict::More
                };
            }
            (0, 8..=10) if length <= CONTROL_MAX => {}
            (_, _) => return Verdict::Failed(NOT.into()),
        }
        let Some(payload) = rest.get(..length) else {
            return Verdict::More;
        };
        if opcode == 8 {
            return Verdict::Failed(closed(payload));
        }
        received.drain(..2 + length);
    }
}

/// The status of a close frame, which may be left out (section 5.5.1).
fn closed(payload: &[u8]) -> Reason {
    match payload.split_first_chunk() {
        Some((&code, words)) => {
            let what = format!("websocket close {}", u16::from_be_bytes(code));
            Reason::with_words(&what, words)
        }
        None => "websocket close".into(),
    }
}
