//! HTTP/1: the status line of the reply to a request. Neither the rest of the head nor a body is looked at.

use super::{Reason, Verdict};
use std::fmt;
use std::str::FromStr;

/// The longest status line, in bytes.
const LINE_MAX: usize = 1024;

/// One or a hundred statuses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Statuses {
    /// `2xx`: its first digit.
    Class(u16),
    /// `204`.
    Code(u16),
}

/// Neither a class from `1xx` to `5xx` nor a code from 100 to 599.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadStatuses;

impl fmt::Display for BadStatuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a class from \"1xx\" to \"5xx\" or a status from \"100\" to \"599\"")
    }
}

impl std::error::Error for BadStatuses {}

impl FromStr for Statuses {
    type Err = BadStatuses;

    fn from_str(text: &str) -> Result<Self, BadStatuses> {
        match *text.as_bytes() {
            [class @ b'1'..=b'5', b'x', b'x'] => Ok(Self::Class(u16::from(class - b'0'))),
            [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => {
                text.parse().map(Self::Code).map_err(|_| BadStatuses)
            }
            _ => Err(BadStatuses),
        }
    }
}

impl Statuses {
    /// Whether this status is among them.
    pub const fn contains(self, status: u16) -> bool {
        match self {
            Self::Class(class) => status / 100 == class,
            Self::Code(code) => status == code,
        }
    }
}

/// The request of a probe that has none of its own. HTTP/1.0, so that the server closes; with a Host, so that it finds
/// the site.
pub fn request(path: &str, host: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: ringway\r\n\r\n").into()
}

pub(super) fn judge<'a>(bytes: &[u8], expect: &[Statuses]) -> Verdict<'a> {
    match status(bytes) {
        Ok(None) => Verdict::More,
        Ok(Some(status)) if expect.iter().any(|these| these.contains(status)) => Verdict::Passed,
        Ok(Some(status)) => Verdict::Failed(failed(status)),
        Err(reason) => Verdict::Failed(reason),
    }
}

/// The reason that an unwanted status is.
pub(super) fn failed(status: u16) -> Reason {
    format!("status {status}").into()
}

/// The status of the reply that begins with these bytes, once its first line is there.
pub(super) fn status(bytes: &[u8]) -> Result<Option<u16>, Reason> {
    let bytes = &bytes[..bytes.len().min(LINE_MAX)];
    // httparse passes over empty lines.
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let line = &bytes[start.unwrap_or(bytes.len())..];
    let end = line.iter().position(|&byte| byte == b'\n');
    let line = end.map_or(line, |end| &line[..=end]);
    let mut reply = httparse::Response::new(&mut []);
    // Without a field behind it, a line is never the whole.
    let is_http = reply.parse(line).is_ok();
    match (is_http, end, reply.code) {
        (true, Some(_), Some(code)) => Ok(Some(code)),
        (true, None, _) if bytes.len() < LINE_MAX => Ok(None),
        (true, _, _) | (false, _, _) => Err("not http".into()),
    }
}
