//! MySQL and MariaDB: the first packet of the server (MySQL Internals, Connection Phase). A greeting and a refusal are
//! both packet number 0; the first byte of its payload tells them apart.

use super::{Reason, Verdict};

const NOT: &str = "not mysql";

/// Length in three bytes, packet number.
const HEADER: usize = 4;

/// Longer than any greeting or error: version and text are its only parts without a limit.
const PAYLOAD_MAX: usize = 2048;

/// The only protocol since MySQL 3.21.
const PROTOCOL: u8 = 10;
const ERROR: u8 = 0xFF;

pub(super) fn judge<'a>(bytes: &[u8]) -> Verdict<'a> {
    let Some((&[low, middle, high, number], rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Verdict::More;
    };
    let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
    if number != 0 || length == 0 || length > PAYLOAD_MAX {
        return Verdict::Failed(NOT.into());
    }
    match (rest.first(), rest.get(..length)) {
        (Some(&PROTOCOL | &ERROR) | None, None) => Verdict::More,
        (Some(&PROTOCOL), Some([_, greeting @ ..])) if greeting.contains(&0) => Verdict::Passed,
        (Some(&ERROR), Some([_, error @ ..])) => Verdict::Failed(refusal(error)),
        (Some(&other @ 1..PROTOCOL), _) => {
            Verdict::Failed(format!("mysql protocol {other}").into())
        }
        (Some(_) | None, _) => Verdict::Failed(NOT.into()),
    }
}

/// Of an error packet behind its first byte: code, from 4.1 on a marked SQLSTATE of five letters, text.
fn refusal(error: &[u8]) -> Reason {
    let Some((&code, text)) = error.split_first_chunk() else {
        return NOT.into();
    };
    let text = match text {
        [b'#', _, _, _, _, _, text @ ..] => text,
        text => text,
    };
    let what = format!("mysql error {}", u16::from_le_bytes(code));
    Reason::with_words(&what, text)
}
