//! Where a key stands in a file, for mistakes that show only when what the file names is looked at.

use super::error::{Error, Errors, Report};
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

impl Errors {
    /// Mistakes of what the keys of a file name, each with its key's path (`listener[0].tls.client_ca`) and a message.
    /// A key that is no longer found stands at the beginning of its table, and if the file cannot be read again, they are
    /// mistakes of the file as a whole.
    ///
    /// # Panics
    /// When there are none.
    pub fn of_keys(path: &Path, mistakes: &[(String, String)]) -> Self {
        let name = path.display().to_string();
        let Ok(text) = super::read_bounded(path) else {
            return Self::of_file(&name, mistakes);
        };
        let (root, _) = DeTable::parse_recoverable(&text);
        let report = Report::new(&name, &text);
        for (key, message) in mistakes {
            report.add(span(root.get_ref(), key), key, message.clone());
        }
        let found = report.finish(());
        found.expect_err("at least one was added")
    }

    fn of_file(name: &str, mistakes: &[(String, String)]) -> Self {
        let whole = mistakes.iter().map(|(key, message)| Error {
            key: key.clone(),
            ..Error::in_file(name, message.clone())
        });
        Self::new(whole.collect())
    }
}

/// The place of the value at `path`, or of the innermost table that leads there.
fn span(root: &DeTable<'_>, path: &str) -> Range<usize> {
    let mut table = root;
    let mut found = 0..0;
    for step in path.split('.') {
        let (key, at) = match step.split_once('[') {
            Some((key, rest)) => (key, rest.trim_end_matches(']').parse::<usize>().ok()),
            None => (step, None),
        };
        let Some(value) = table.get(key).and_then(|value| entry(value, at)) else {
            break;
        };
        found = value.span();
        let Some(inner) = value.get_ref().as_table() else {
            break;
        };
        table = inner;
    }
    found
}

/// A value, or the one at a place of a list.
fn entry<'t, 'a>(
    value: &'t Spanned<DeValue<'a>>,
    at: Option<usize>,
) -> Option<&'t Spanned<DeValue<'a>>> {
    match at {
        None => Some(value),
        Some(at) => value.get_ref().as_array()?.get(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_of_named_files_stand_where_the_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        let text =
            "[[listener]]\n[listener.tls]\ncertificates = [{ cert = \"a\" }, { cert = \"b\" }]\n";
        std::fs::write(&path, text).unwrap();
        let said = |path: &Path, key: &str| {
            let mistakes = [(format!("listener[0].{key}"), "is bad".to_owned())];
            Errors::of_keys(path, &mistakes).to_string()
        };
        let file = path.display();
        assert_eq!(
            said(&path, "tls.certificates[1].cert"),
            format!("{file}:3:42: listener[0].tls.certificates[1].cert: is bad")
        );
        assert_eq!(
            said(&path, "tls.client_ca"),
            format!("{file}:2:1: listener[0].tls.client_ca: is bad")
        );
        assert_eq!(
            said(Path::new("/none"), "tls"),
            "/none: listener[0].tls: is bad"
        );
    }
}
