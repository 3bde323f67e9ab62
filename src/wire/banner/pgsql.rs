//! PostgreSQL (its manual, chapter "Frontend/Backend Protocol"): a startup packet, and the first message that comes back.
//!
//! An SSLRequest would be answered by a server that is still starting, that is shutting down, or that has no
//! connection left. A startup packet is not; and its role need not exist: who is asked for a password learns nothing
//! of that, and who is refused for its name was understood.

use super::{Reason, Verdict};
use crate::wire::reader::Reader;

const NOT: &str = "not pgsql";

/// Length, version 3.0, parameters, each a pair of strings that end with NUL.
pub(super) const STARTUP: &[u8] =
    b"\0\0\0\x41\0\x03\0\0user\0ringway\0database\0postgres\0application_name\0ringway\0\0";

const AUTHENTICATION: u8 = b'R';
const ERROR: u8 = b'E';

/// Longer than any first message: an error names a file and a line of the server's source, too.
const MESSAGE_MAX: u32 = 8192;

pub(super) fn judge<'a>(bytes: &[u8]) -> Verdict<'a> {
    let mut reader = Reader::new(bytes);
    let Some(kind) = reader.u8() else {
        return Verdict::More;
    };
    if kind != AUTHENTICATION && kind != ERROR {
        return Verdict::Failed(NOT.into());
    }
    let length = match reader.u32() {
        None => return Verdict::More,
        // It counts itself, and holds at least a number or an end.
        Some(length @ 5..MESSAGE_MAX) => length - 4,
        Some(_) => return Verdict::Failed(NOT.into()),
    };
    let Some(message) = reader.take(usize::try_from(length).expect("below MESSAGE_MAX")) else {
        return Verdict::More;
    };
    match kind {
        AUTHENTICATION => Verdict::Passed,
        _ => judge_error(message),
    }
}

fn judge_error<'a>(message: &[u8]) -> Verdict<'a> {
    let Some(state) = field(message, b'C').and_then(sqlstate) else {
        return Verdict::Failed(NOT.into());
    };
    // Classes of SQLSTATE: who is not to log in, and where to (appendix "PostgreSQL Error Codes").
    if state.starts_with("28") || state == "3D000" {
        return Verdict::Passed;
    }
    let what = format!("pgsql {state}");
    let reason = Reason::with_words(&what, field(message, b'M').unwrap_or_default());
    Verdict::Failed(reason)
}

/// Five letters and digits, which can be shown as they are.
fn sqlstate(field: &[u8]) -> Option<&str> {
    let is_one = field.len() == 5 && field.iter().all(u8::is_ascii_alphanumeric);
    std::str::from_utf8(field).ok().filter(|_| is_one)
}

/// The field of that type: each is a byte and a string that ends with NUL, and a NUL ends them all.
fn field(message: &[u8], kind: u8) -> Option<&[u8]> {
    let mut fields = message.split(|&byte| byte == 0);
    let found = fields.find(|field| field.first() == Some(&kind))?;
    Some(&found[1..])
}
