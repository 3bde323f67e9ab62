//! The lines between the request line and the empty line. Kept as they came and walked anew for each question: there
//! are a few questions in a connection's life, and no table to fill, copy or bound.

use super::Refusal;
use memchr::memchr;

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
        let fields = Self { lines };
        fields.each_line().try_for_each(check_line)?;
        Ok(fields)
    }

    /// All of them, as they came.
    pub(super) fn lines(self) -> &'a [u8] {
        self.lines
    }

    /// The values of the fields of this name, in whatever case.
    pub(super) fn named(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.each_line()
            .filter_map(move |line| value_of(line, name.as_bytes()))
    }

    fn each_line(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.lines;
        std::iter::from_fn(move || {
            let (line, behind) = (!rest.is_empty()).then(|| first_line(rest))?;
            rest = behind;
            Some(line)
        })
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
        let colon = memchr(b':', line)?;
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
    let end = memchr(b'\r', lines).expect("whole lines only");
    (&lines[..end], &lines[end + 2..])
}

/// The value of the field if it is of this name, in whatever case. Every question looks at every field, and most are of
/// another name: their colon is not searched for.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (its_name, behind) = line.split_at_checked(name.len())?;
    let value = behind.strip_prefix(b":")?;
    its_name.eq_ignore_ascii_case(name).then(|| trim(value))
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
    match memchr(b':', line) {
        None | Some(0) => Err(Refusal::FieldName),
        Some(colon) if is_space(&line[colon - 1]) => Err(Refusal::SpaceBeforeColon),
        Some(_) => Ok(()),
    }
}
