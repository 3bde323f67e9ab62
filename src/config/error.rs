//! What is wrong with a configuration, where, and how to mend it. Everything that was found is reported together.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

/// Where a mistake stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// The file as a whole.
    File {
        /// As given on the command line.
        file: String,
    },
    /// A position in a file.
    Position {
        /// As given on the command line.
        file: String,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
    },
}

/// One mistake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// Where it stands.
    pub place: Place,
    /// The key's path, such as `listener[0].idle_timeout`; empty when the mistake is no key's.
    pub key: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Every mistake that was found, in the order of the file. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Errors(Vec<Error>);

impl Error {
    /// A mistake of the file as a whole.
    pub(super) fn in_file(file: &str, message: String) -> Self {
        let place = Place::File {
            file: file.to_owned(),
        };
        Self {
            place,
            key: String::new(),
            message,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File { file } => write!(f, "{file}: ")?,
            Place::Position { file, line, column } => write!(f, "{file}:{line}:{column}: ")?,
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl Errors {
    /// These mistakes, at least one.
    pub(super) fn new(found: Vec<Error>) -> Self {
        assert!(!found.is_empty(), "no mistake is no error");
        Self(found)
    }

    /// One by one, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Error> {
        self.0.iter()
    }
}

impl From<Error> for Errors {
    fn from(error: Error) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for Errors {
    /// One line an error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            write!(f, "{newline}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// Collects the mistakes of one text; shared by all who read it.
pub(super) struct Report<'a> {
    file: &'a str,
    text: &'a str,
    found: RefCell<Vec<(Range<usize>, Error)>>,
}

impl<'a> Report<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            found: RefCell::default(),
        }
    }

    /// Notes a mistake of the bytes `span`.
    pub(super) fn add(&self, span: Range<usize>, key: &str, message: String) {
        let (line, column) = position(self.text, span.start);
        let place = Place::Position {
            file: self.file.to_owned(),
            line,
            column,
        };
        self.found.borrow_mut().push((
            span,
            Error {
                place,
                key: key.to_owned(),
                message,
            },
        ));
    }

    /// `value` when nothing was found.
    pub(super) fn finish<T>(self, value: T) -> Result<T, Errors> {
        let mut found = self.found.into_inner();
        if found.is_empty() {
            return Ok(value);
        }
        found.sort_by_key(|(span, _)| span.start);
        Err(Errors(found.into_iter().map(|(_, error)| error).collect()))
    }
}

/// Line and column, both from 1, of a byte. Past the end (a file that stops too early) it is the end.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(byte)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::position;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "a = 1\nö = \"x\"\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 4), (1, 5));
        assert_eq!(position(text, 6), (2, 1));
        assert_eq!(
            position(text, 11),
            (2, 5),
            "ö is one character and two bytes"
        );
        assert_eq!(position(text, 999), (3, 1), "past the end is the end");
    }
}
