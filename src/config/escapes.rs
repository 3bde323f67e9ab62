//! Bytes that a file has as text, with the escapes of C: TOML's own strings can hold any character and not any byte.

use super::value::{Parsed, quoted, text};
use std::fmt::Write;
use toml::de::DeValue;

/// Nothing longer is sent to see whether a server lives, nor looked for in its answer.
const BYTES_MAX: usize = 4096;

const KNOWN: &str = "\\r, \\n, \\t, \\0, \\xHH, \\\\ or \\\"";

/// The bytes of a text with `\r \n \t \0 \xHH \\ \"`. In TOML such a text is best put between single quotes, where a
/// backslash is a backslash; the characters that TOML's own escapes stand for pass as they are.
pub(super) fn bytes(value: &DeValue) -> Parsed<Vec<u8>> {
    let text = text(value)?;
    let bytes = unescape(text)?;
    if bytes.len() > BYTES_MAX {
        let len = bytes.len();
        return Err(format!("is {len} bytes long; write at most {BYTES_MAX}"));
    }
    Ok(bytes)
}

fn unescape(text: &str) -> Parsed<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, after) = match (first, tail) {
            (b'\\', tail) => escape(tail).ok_or_else(|| wrong(text, tail))?,
            (byte, tail) => (*byte, tail),
        };
        bytes.push(byte);
        rest = after;
    }
    Ok(bytes)
}

/// The byte that the text after a backslash begins with, and what follows.
fn escape(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'r', rest @ ..] => Some((b'\r', rest)),
        [b'n', rest @ ..] => Some((b'\n', rest)),
        [b't', rest @ ..] => Some((b'\t', rest)),
        [b'0', rest @ ..] => Some((0, rest)),
        [same @ (b'\\' | b'"'), rest @ ..] => Some((*same, rest)),
        [b'x', high, low, rest @ ..] => {
            let byte = digit(*high)? << 4 | digit(*low)?;
            Some((byte, rest))
        }
        _ => None,
    }
}

fn digit(ascii: u8) -> Option<u8> {
    let digit = char::from(ascii).to_digit(16)?;
    u8::try_from(digit).ok()
}

fn wrong(text: &str, after_backslash: &[u8]) -> String {
    let at = text.len() - after_backslash.len();
    let escape: String = text[at..].chars().take(1).collect();
    let what = match escape.as_str() {
        "" => "ends in a backslash".to_owned(),
        "x" => "has \\x without two hexadecimal digits".to_owned(),
        escape => format!("has a backslash before {}", quoted(escape)),
    };
    format!("{what}; write {KNOWN}")
}

/// The text that [`bytes`] reads as the same.
pub(super) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            0 => text.push_str("\\0"),
            b'\\' | b'"' => text.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => write!(text, "\\x{byte:02x}").expect("a String takes all"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_escape_of_the_reference_stands_for_its_byte() {
        assert_eq!(
            unescape(r#"a\r\n\t\0\x7F\xff\\\"é"#).unwrap(),
            b"a\r\n\t\0\x7f\xff\\\"\xc3\xa9"
        );
        assert_eq!(
            unescape(r"\0001").unwrap(),
            b"\x00001",
            "one digit, not octal"
        );
    }

    #[test]
    fn what_is_no_escape_is_told_apart() {
        for (text, hint) in [
            (r"\q", "a backslash before \"q\""),
            (r"abc\é", "a backslash before \"é\""),
            (r"a\", "ends in a backslash"),
            (r"\x", "\\x without two"),
            (r"\x1", "\\x without two"),
            (r"\xg0", "\\x without two"),
            (r"\x+1", "\\x without two"),
        ] {
            let message = unescape(text).unwrap_err();
            assert!(message.contains(hint), "{text}: {message}");
        }
    }

    proptest! {
        #[test]
        fn bytes_read_back_as_they_were_written(bytes: Vec<u8>) {
            prop_assert_eq!(unescape(&escaped(&bytes)), Ok(bytes));
        }
    }
}
