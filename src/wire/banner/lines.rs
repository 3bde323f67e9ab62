//! Protocols whose servers speak in lines: POP3 (RFC 1939), IMAP (RFC 3501), Redis (RESP).

use super::{Reason, Verdict};

/// The longest line, in bytes: twice what SMTP allows (RFC 5321, section 4.5.3.1.5).
const LINE_MAX: usize = 1024;

/// As a client library sends it: servers that speak only RESP, not the inline form, take it too.
pub(super) const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// A line without its end, and how many bytes it takes with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Line<'a> {
    pub(super) text: &'a [u8],
    pub(super) len: usize,
}

/// The first line, once it is there. A line that is too long is not of this protocol.
pub(super) fn first<'a>(bytes: &'a [u8], not: &'static str) -> Result<Option<Line<'a>>, Reason> {
    let within = &bytes[..bytes.len().min(LINE_MAX)];
    match within.iter().position(|&byte| byte == b'\n') {
        Some(end) => {
            let text = &within[..end];
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            Ok(Some(Line { text, len: end + 1 }))
        }
        None if within.len() < LINE_MAX => Ok(None),
        None => Err(not.into()),
    }
}

/// Whether `bytes` begin with `start`, or end too early to tell.
pub(super) fn may_start_with(bytes: &[u8], start: &[u8]) -> bool {
    let length = bytes.len().min(start.len());
    bytes[..length].eq_ignore_ascii_case(&start[..length])
}

/// What stands behind `word`, in whatever case, if the line begins with it as a whole word.
fn behind<'a>(line: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(word.len())?;
    let ends = matches!(rest, [] | [b' ', ..]);
    (ends && start.eq_ignore_ascii_case(word)).then_some(rest)
}

pub(super) fn judge_pop3<'a>(bytes: &[u8]) -> Verdict<'a> {
    const WORDS: [&[u8]; 2] = [b"+OK", b"-ERR"];
    judge_line(bytes, "not pop3", &WORDS, |line| {
        if behind(line, b"+OK").is_some() {
            return Some(Verdict::Passed);
        }
        behind(line, b"-ERR").map(|words| failed("pop3 error", words))
    })
}

pub(super) fn judge_imap<'a>(bytes: &[u8]) -> Verdict<'a> {
    const WORDS: [&[u8]; 3] = [b"* OK", b"* PREAUTH", b"* BYE"];
    judge_line(bytes, "not imap", &WORDS, |line| {
        if behind(line, b"* OK").is_some() || behind(line, b"* PREAUTH").is_some() {
            return Some(Verdict::Passed);
        }
        behind(line, b"* BYE").map(|words| failed("imap bye", words))
    })
}

/// A server that wants a password before anything else is well: a probe has none to give.
pub(super) fn judge_redis<'a>(bytes: &[u8]) -> Verdict<'a> {
    const WORDS: [&[u8]; 2] = [b"+PONG", b"-"];
    judge_line(bytes, "not redis", &WORDS, |line| {
        let well: [&[u8]; 3] = [b"+PONG", b"-NOAUTH", b"-NOPERM"];
        if well.iter().any(|word| behind(line, word).is_some()) {
            return Some(Verdict::Passed);
        }
        let words = line.strip_prefix(b"-")?;
        Some(failed("redis error", words))
    })
}

/// Judges the first line, which begins with one of the `words`; as soon as it cannot, it is `not` of this protocol.
fn judge_line<'a>(
    bytes: &[u8],
    not: &'static str,
    words: &[&[u8]],
    judge: impl FnOnce(&[u8]) -> Option<Verdict<'a>>,
) -> Verdict<'a> {
    if !words.iter().any(|word| may_start_with(bytes, word)) {
        return Verdict::Failed(not.into());
    }
    match first(bytes, not) {
        Ok(None) => Verdict::More,
        Ok(Some(line)) => judge(line.text).unwrap_or_else(|| Verdict::Failed(not.into())),
        Err(reason) => Verdict::Failed(reason),
    }
}

fn failed<'a>(what: &str, words: &[u8]) -> Verdict<'a> {
    Verdict::Failed(Reason::with_words(what, words))
}
