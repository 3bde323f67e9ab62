//! The lines between the request line and the empty line. Kept as they came and walked anew for each question: there
//! are a few questions in a connection's life, and no table to fill, copy or bound.

use super::Refusal;

/// One field line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field<'a> {
    /// As it came, without its line end.
    pub line: &'a [u8],
    /// Before the colon.
    pub name: &'a [u8],
    /// Behind it, without the spaces and tabs around. Bytes above 127 stay, white space to some or not.
    pub value: &'a [u8],
}

/// The fields of a head, in order. Every line has a colon and ends in CRLF: `check` came first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fields<'a> {
    lines: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Takes whole lines, none of them empty.
    ///
    /// # Errors
    /// When one of them is folded, or is no name directly before a colon.
    pub(super) fn check(lines: &'a [u8]) -> Result<Self, Refusal> {
        let mut rest = lines;
        while !rest.is_empty() {
            let (line, behind) = first_line(rest);
            check_line(line)?;
            rest = behind;
        }
        Ok(Self { lines })
    }

    /// All of them, as they came.
    pub(super) fn lines(self) -> &'a [u8] {
        self.lines
    }

    /// The values of the fields of this name, in whatever case.
    pub(super) fn named(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.filter(move |field| field.name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|field| field.value)
    }

    /// Whether fields of this name, each a list, have `element` among their elements, in whatever case.
    pub(super) fn list(self, name: &str, element: &str) -> bool {
        self.named(name)
            .flat_map(elements)
            .any(|one| one.eq_ignore_ascii_case(element.as_bytes()))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        if self.lines.is_empty() {
            return None;
        }
        let (line, behind) = first_line(self.lines);
        self.lines = behind;
        let colon = position(line, b':')?;
        Some(Field {
            line,
            name: &line[..colon],
            value: trim(&line[colon + 1..]),
        })
    }
}

/// The elements of a comma-separated list (RFC 9110, section 5.6.1). Commas within quotes are not known to it, which
/// is right for lists of tokens.
pub(super) fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(trim)
}

/// The first line without its CRLF, and what is behind.
///
/// # Panics
/// When there is no carriage return: in a head each is part of a line's end, and each line ends in one.
pub(super) fn first_line(lines: &[u8]) -> (&[u8], &[u8]) {
    let end = position(lines, b'\r').expect("whole lines only");
    (&lines[..end], &lines[end + 2..])
}

/// Without the spaces and tabs around it. No other ASCII white space is in a head.
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

fn check_line(line: &[u8]) -> Result<(), Refusal> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    if line.first().is_some_and(is_space) {
        return Err(Refusal::ObsFold);
    }
    match position(line, b':') {
        None | Some(0) => Err(Refusal::FieldName),
        Some(colon) if is_space(&line[colon - 1]) => Err(Refusal::SpaceBeforeColon),
        Some(_) => Ok(()),
    }
}

fn position(bytes: &[u8], wanted: u8) -> Option<usize> {
    bytes.iter().position(|&byte| byte == wanted)
}
