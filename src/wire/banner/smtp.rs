//! SMTP (RFC 5321): greeting, EHLO, and HELO for who does not know EHLO. Nothing is said before the greeting: servers
//! take that for a spammer's haste.

use super::lines::{Line, first};
use super::{Reason, Verdict};
use std::borrow::Cow;

const NOT: &str = "not smtp";

/// The longest reply with all its lines, in bytes. It is read again from its start as more of it comes, so that it has to
/// be short for who sends it a byte at a time.
const REPLY_MAX: usize = 8 * 1024;

/// Which reply comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Greeting,
    Ehlo,
    Helo,
}

/// A whole reply: its code, the text of its last line, and its length with every line's end.
struct Reply<'a> {
    code: u16,
    text: &'a [u8],
    len: usize,
}

impl Stage {
    /// Takes whole replies off `received`.
    pub(super) fn judge<'a>(&mut self, received: &mut Vec<u8>) -> Verdict<'a> {
        let reply = match reply(received) {
            Ok(Some(reply)) => reply,
            Ok(None) => return Verdict::More,
            Err(reason) => return Verdict::Failed(reason),
        };
        let (next, hello): (_, &'static [u8]) = match (&self, reply.code) {
            (Self::Greeting, 220) => (Self::Ehlo, b"EHLO localhost\r\n"),
            // Unknown, not implemented, or not like this (section 3.2).
            (Self::Ehlo, 500 | 501 | 502 | 504) => (Self::Helo, b"HELO localhost\r\n"),
            (Self::Ehlo | Self::Helo, 200..300) => return Verdict::Passed,
            (Self::Greeting | Self::Ehlo | Self::Helo, code) => {
                let what = format!("smtp {code}");
                return Verdict::Failed(Reason::with_words(&what, reply.text));
            }
        };
        let len = reply.len;
        received.drain(..len);
        *self = next;
        Verdict::Say(Cow::Borrowed(hello))
    }

    /// Why it is a failure when the server closes here.
    pub(super) fn closed(self) -> Reason {
        match self {
            Self::Greeting => "closed without a greeting",
            Self::Ehlo | Self::Helo => "closed after its greeting",
        }
        .into()
    }
}

/// The first reply, once it is there: lines with one code, of which all but the last have a hyphen behind it.
fn reply(bytes: &[u8]) -> Result<Option<Reply<'_>>, Reason> {
    let mut len = 0;
    loop {
        let rest = &bytes[len..];
        if !rest.iter().take(3).all(u8::is_ascii_digit) {
            return Err(NOT.into());
        }
        let Some(line) = first(rest, NOT)? else {
            return Ok(None);
        };
        len += line.len;
        if len > REPLY_MAX {
            return Err(NOT.into());
        }
        let (code, is_last, text) = parts(line)?;
        if is_last {
            return Ok(Some(Reply { code, text, len }));
        }
    }
}

/// Code, whether no line follows, text.
fn parts(line: Line<'_>) -> Result<(u16, bool, &[u8]), Reason> {
    let (code, rest) = line.text.split_at_checked(3).ok_or(NOT)?;
    let code = std::str::from_utf8(code)
        .ok()
        .and_then(|code| code.parse().ok());
    let code = code.ok_or(NOT)?;
    match rest {
        [] => Ok((code, true, rest)),
        [b' ', text @ ..] => Ok((code, true, text)),
        [b'-', text @ ..] => Ok((code, false, text)),
        [_, ..] => Err(NOT.into()),
    }
}
