//! What all values have in common, and the simple ones: TOML becomes a value that is right, or a sentence that says
//! what to write instead. Positions and key paths are the caller's.

use super::model::Access;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use toml::de::DeValue;

/// What a value's text was found to be, or what is wrong with it and how to mend it.
pub(super) type Parsed<T> = Result<T, String>;

/// How much one backend may count against another.
pub(super) const WEIGHTS: RangeInclusive<u16> = 1..=256;

/// A name is a metric's label, a word of the command line and part of a path; an IPv6 address with a zone fits.
pub(super) const NAME_CHARS_MAX: usize = 64;

/// `"a", "b" or "c"`
pub(super) fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut words: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    let last = words.pop().unwrap_or_default();
    if words.is_empty() {
        last
    } else {
        format!("{} or {last}", words.join(", "))
    }
}

/// A stranger's text inside a message: escaped and of bounded length.
pub(super) fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let short: String = text.chars().take(CHARS_MAX).collect();
    if short.len() < text.len() {
        format!("{:?}", short + "…")
    } else {
        format!("{short:?}")
    }
}

/// For values of the wrong TOML type.
pub(super) fn wrong_type(value: &DeValue, write: &str) -> String {
    let article = if matches!(value, DeValue::Integer(_) | DeValue::Array(_)) {
        "an"
    } else {
        "a"
    };
    format!("is {article} {}; write {write}", value.type_str())
}

pub(super) fn text<'a>(value: &'a DeValue) -> Parsed<&'a str> {
    value
        .as_str()
        .ok_or_else(|| wrong_type(value, "a string in quotes"))
}

pub(super) fn flag(value: &DeValue) -> Parsed<bool> {
    value
        .as_bool()
        .ok_or_else(|| wrong_type(value, "true or false, without quotes"))
}

/// An integer of `range`.
pub(super) fn integer<T>(value: &DeValue, range: RangeInclusive<T>) -> Parsed<T>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    let wanted = format!("an integer from {} to {}", range.start(), range.end());
    let integer = value
        .as_integer()
        .ok_or_else(|| wrong_type(value, &wanted))?;
    i64::from_str_radix(integer.as_str(), integer.radix())
        .ok()
        .and_then(|number| T::try_from(number).ok())
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("{integer} is out of range; write {wanted}"))
}

/// A number with or without a fraction, not negative.
pub(super) fn number(value: &DeValue) -> Parsed<f64> {
    let text = match value {
        DeValue::Integer(integer) => integer.to_string(),
        DeValue::Float(float) => float.as_str().to_owned(),
        DeValue::String(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => return Err(wrong_type(value, "a number, such as 1.25")),
    };
    text.parse()
        .ok()
        .filter(|number: &f64| number.is_finite() && *number >= 0.0)
        .ok_or_else(|| format!("{text} is out of range; write a number from 0 up"))
}

/// A number of connections; 0 is no limit.
pub(super) fn connections(value: &DeValue) -> Parsed<usize> {
    const CONNECTIONS_MAX: usize = 1_000_000_000;
    integer(value, 0..=CONNECTIONS_MAX)
}

/// The name of a listener, an upstream or a backend.
pub(super) fn name(value: &DeValue) -> Parsed<String> {
    let text = text(value)?;
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '/' | ',');
    if !text.is_empty() && text.chars().count() <= NAME_CHARS_MAX && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{} is not a name; write 1 to {NAME_CHARS_MAX} ASCII characters without spaces, quotes, commas and slashes",
        quoted(text)
    ))
}

/// A backend's name; `None` for the empty one, which stands for the address.
pub(super) fn backend_name(value: &DeValue) -> Parsed<Option<String>> {
    if text(value)?.is_empty() {
        Ok(None)
    } else {
        name(value).map(Some)
    }
}

/// What a name that is not among `known` was probably meant to be.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        // One slip in a short name, about a quarter of a long one, never all of it: further away it would be a guess.
        .filter(|(distance, known)| *distance <= known.len() / 4 + 1 && *distance < known.len())
        .min()
        .map(|(_, known)| known)
}

/// The path of a file.
pub(super) fn path(value: &DeValue) -> Parsed<PathBuf> {
    match text(value)? {
        path if !path.is_empty() && !path.contains('\0') => Ok(PathBuf::from(path)),
        other => Err(format!(
            "{} is not a path; write that of a file, such as \"/etc/ringway/a.pem\"",
            quoted(other)
        )),
    }
}

/// `log.access`: a word or a path. A path has a slash, so that a mistyped word does not become a file.
pub(super) fn access(value: &DeValue) -> Parsed<Access> {
    match text(value)? {
        "stderr" => Ok(Access::Stderr),
        "stdout" => Ok(Access::Stdout),
        "off" => Ok(Access::Off),
        path if path.contains('/') && !path.contains('\0') => Ok(Access::File(PathBuf::from(path))),
        other => Err(format!(
            "{} is neither a word nor a path; write \"stderr\", \"stdout\", \"off\", or a path with a slash in it",
            quoted(other)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggestion_is_near_or_not_made() {
        let known = ["idle_timeout", "nodelay", "x"];
        let nearest = |name| nearest(name, known.into_iter());
        assert_eq!(nearest("idel_timeout"), Some("idle_timeout"));
        assert_eq!(nearest("no_delay"), Some("nodelay"));
        assert_eq!(nearest("y"), None, "nothing of it is left");
        assert_eq!(nearest("colour"), None);
    }

    #[test]
    fn long_and_strange_text_is_shortened_and_escaped() {
        let message = quoted(&"\u{1b}x".repeat(1000));
        assert!(
            message.len() < 500 && !message.contains('\u{1b}'),
            "{message}"
        );
    }
}
