//! Why a probe failed.

use std::borrow::Cow;
use std::fmt;

/// A short phrase for operators. It begins with words that stay the same (`status 503`, `mysql error 1129`); what a
/// backend says of itself comes last, cut short and without anything but printable ASCII.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Reason(Cow<'static, str>);

/// The most of a backend's own words, in bytes.
const WORDS_MAX: usize = 80;

impl Reason {
    /// The phrase.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `what`, and behind a colon the backend's own `words`, if it had any.
    pub fn with_words(what: &str, words: &[u8]) -> Self {
        let words = printable(words);
        Self(match words.as_str() {
            "" => what.to_owned().into(),
            words => format!("{what}: {words}").into(),
        })
    }
}

/// One line of printable ASCII: what comes from a backend ends in logs and terminals.
fn printable(words: &[u8]) -> String {
    let line = words.split(|byte| matches!(byte, b'\r' | b'\n' | 0)).next();
    let shown = line.unwrap_or_default().iter().take(WORDS_MAX);
    let letter = |&byte: &u8| match byte {
        b' '..=b'~' => char::from(byte),
        _ => '?',
    };
    shown.map(letter).collect::<String>().trim().to_owned()
}

impl From<&'static str> for Reason {
    fn from(phrase: &'static str) -> Self {
        Self(phrase.into())
    }
}

impl From<String> for Reason {
    fn from(phrase: String) -> Self {
        Self(phrase.into())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backends_words_are_one_short_printable_line() {
        let reason = |words: &[u8]| Reason::with_words("smtp 554", words).to_string();
        assert_eq!(reason(b" go away\r\nnow"), "smtp 554: go away");
        assert_eq!(reason(b"\x1b[31mred\xff"), "smtp 554: ?[31mred?");
        assert_eq!(reason(b" \r\n"), "smtp 554");
        assert_eq!(reason(&[b'x'; 500]).len(), "smtp 554: ".len() + WORDS_MAX);
    }
}
