//! A TOML document that is read key by key. Owns positions and key paths. Each [`Table`] remembers which keys were
//! asked for, so what is left over at [`Table::finish`] is a key that this version does not know: the code that reads
//! a table is its grammar, and there is no second list of keys to keep in step.

use super::error::{Errors, Report};
use super::value::{Parsed, listed, nearest, wrong_type};
use std::collections::HashMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Reads `text` with `read`, which takes the root table apart.
///
/// # Errors
/// Mistakes of TOML itself if there are any, else those that `read` found.
pub(super) fn read<T>(
    text: &str,
    file_name: &str,
    read: impl FnOnce(Table<'_>) -> T,
) -> Result<T, Errors> {
    let (root, mistakes) = DeTable::parse_recoverable(text);
    let report = Report::new(file_name, text);
    for mistake in &mistakes {
        let span = mistake.span().unwrap_or_default();
        report.add(
            span,
            "",
            format!("not TOML: {}", mistake.message().replace('\n', ", ")),
        );
    }
    // What was recovered from broken TOML has mistakes of its own that nobody made.
    report.finish(())?;

    let report = Report::new(file_name, text);
    let value = read(Table {
        report: &report,
        path: String::new(),
        schema: String::new(),
        span: root.span(),
        entries: root.get_ref(),
        known: Vec::new(),
    });
    report.finish(value)
}

/// One table of the document. Reading never stops at a mistake: it is reported, and the value is as if absent.
pub(super) struct Table<'a> {
    report: &'a Report<'a>,
    /// As a person would say it: `listener[0].keepalive`.
    path: String,
    /// Without positions in lists: `listener.keepalive`.
    schema: String,
    /// The table's header, for mistakes of the table as a whole.
    span: Range<usize>,
    entries: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    /// The value of a key that may be absent.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&DeValue) -> Parsed<T>,
    ) -> Option<T> {
        let value = self.take(key)?;
        self.parsed(&self.path_of(key), value, parse)
    }

    /// Puts the value of a key, if it is there, into the field that holds its default.
    pub(super) fn set<T>(
        &mut self,
        key: &'static str,
        field: &mut T,
        parse: impl FnOnce(&DeValue) -> Parsed<T>,
    ) {
        if let Some(value) = self.optional(key, parse) {
            *field = value;
        }
    }

    /// The value of a key that must be there; `None` after a mistake.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        parse: impl FnOnce(&DeValue) -> Parsed<T>,
    ) -> Option<T> {
        if !self.has(key) {
            self.fault(key, format!("is missing; write {example}"));
        }
        self.optional(key, parse)
    }

    /// The values of a key that takes one or a list of them, at least one; each with its path.
    pub(super) fn one_or_more<T>(
        &mut self,
        key: &'static str,
        example: &str,
        items_max: usize,
        parse: impl Fn(&DeValue) -> Parsed<T>,
    ) -> Vec<(Spot<'a>, T)> {
        let path = self.path_of(key);
        let Some(value) = self.take(key) else {
            self.fault(key, format!("is missing; write {example}"));
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            return self.located(path, value, &parse).into_iter().collect();
        };
        if items.is_empty() {
            self.fault(key, "is empty; write at least one".to_owned());
        }
        self.each(key, items, items_max, &parse)
    }

    /// The values of a key that takes a list, perhaps none; each with its path.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        items_max: usize,
        parse: impl Fn(&DeValue) -> Parsed<T>,
    ) -> Vec<(Spot<'a>, T)> {
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            let message = wrong_type(value.get_ref(), "a list of strings");
            self.fault(key, message);
            return Vec::new();
        };
        self.each(key, items, items_max, &parse)
    }

    /// A table that may be absent.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Self> {
        let value = self.take(key)?;
        self.inner(key, self.path_of(key), value)
    }

    /// A list of tables with at least one and at most `items_max` of them.
    pub(super) fn tables(&mut self, key: &'static str, items_max: usize) -> Vec<Self> {
        if !self.has(key) {
            let header = self.schema_of(key);
            self.fault(key, format!("is missing; write at least one [[{header}]]"));
        } else if !self.is_given(key) {
            self.fault(key, "is empty; write at least one".to_owned());
        }
        self.tables_if_any(key, items_max)
    }

    /// A list of at most `items_max` tables that may be absent.
    pub(super) fn tables_if_any(&mut self, key: &'static str, items_max: usize) -> Vec<Self> {
        let header = format!("[[{}]]", self.schema_of(key));
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value.get_ref() else {
            self.fault(
                key,
                wrong_type(value.get_ref(), &format!("one or more {header}")),
            );
            return Vec::new();
        };
        let items = self.counted(key, items, items_max).iter().enumerate();
        items
            .filter_map(|(i, item)| self.inner(key, format!("{}[{i}]", self.path_of(key)), item))
            .collect()
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self) {
        for key in self.entries.keys() {
            let name = key.get_ref().as_ref();
            if !self.known.contains(&name) {
                let path = self.path_of(name);
                self.report.add(key.span(), &path, self.unknown(name));
            }
        }
    }

    /// Reports a mistake of a key's value; of the table's header when the key is absent.
    pub(super) fn fault(&self, key: &str, message: String) {
        let span = self
            .entries
            .get(key)
            .map_or_else(|| self.span.clone(), Spanned::span);
        self.report.add(span, &self.path_of(key), message);
    }

    /// Reports a mistake of the table as a whole.
    pub(super) fn fault_here(&self, message: String) {
        self.report.add(self.span.clone(), &self.path, message);
    }

    /// Reports a mistake of something that a parser of values returned with its place.
    pub(super) fn fault_at(&self, spot: &Spot<'_>, message: String) {
        self.report.add(spot.value.span(), &spot.path, message);
    }

    /// Whether the key is there, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Whether the key asks for something: it is there, and neither the empty string nor the empty list.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| {
            let value = value.get_ref();
            let is_empty_list = value.as_array().is_some_and(|items| items.is_empty());
            value.as_str() != Some("") && !is_empty_list
        })
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        joined(&self.path, key)
    }

    fn schema_of(&self, key: &str) -> String {
        joined(&self.schema, key)
    }

    fn take(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.entries.get(key)
    }

    fn parsed<T>(
        &self,
        path: &str,
        value: &Spanned<DeValue>,
        parse: impl FnOnce(&DeValue) -> Parsed<T>,
    ) -> Option<T> {
        parse(value.get_ref())
            .map_err(|message| self.report.add(value.span(), path, message))
            .ok()
    }

    fn located<T>(
        &self,
        path: String,
        value: &'a Spanned<DeValue<'a>>,
        parse: &impl Fn(&DeValue) -> Parsed<T>,
    ) -> Option<(Spot<'a>, T)> {
        let parsed = self.parsed(&path, value, parse)?;
        Some((Spot { path, value }, parsed))
    }

    fn each<T>(
        &self,
        key: &str,
        items: &'a [Spanned<DeValue<'a>>],
        items_max: usize,
        parse: &impl Fn(&DeValue) -> Parsed<T>,
    ) -> Vec<(Spot<'a>, T)> {
        let items = self.counted(key, items, items_max).iter().enumerate();
        items
            .map(|(i, item)| (format!("{}[{i}]", self.path_of(key)), item))
            .filter_map(|(path, item)| self.located(path, item, parse))
            .collect()
    }

    /// `items`, or none of them when there are too many.
    fn counted<'i>(
        &self,
        key: &str,
        items: &'i [Spanned<DeValue<'a>>],
        items_max: usize,
    ) -> &'i [Spanned<DeValue<'a>>] {
        if items.len() > items_max {
            self.fault(
                key,
                format!("has {} entries; write at most {items_max}", items.len()),
            );
            return &[];
        }
        items
    }

    fn inner(&self, key: &str, path: String, value: &'a Spanned<DeValue<'a>>) -> Option<Self> {
        let DeValue::Table(entries) = value.get_ref() else {
            let message = wrong_type(value.get_ref(), "a table");
            self.report.add(value.span(), &path, message);
            return None;
        };
        let schema = self.schema_of(key);
        let (report, span) = (self.report, value.span());
        Some(Self {
            report,
            path,
            schema,
            span,
            entries,
            known: Vec::new(),
        })
    }

    fn unknown(&self, name: &str) -> String {
        let known = self.known.iter().copied();
        if let Some(key) = nearest(name, known) {
            return format!("unknown key; did you mean `{key}`?");
        }
        let mut known = self.known.clone();
        known.sort_unstable();
        format!(
            "unknown key; this table takes {}",
            listed(known.into_iter())
        )
    }
}

/// Where a value stands.
pub(super) struct Spot<'a> {
    path: String,
    value: &'a Spanned<DeValue<'a>>,
}

impl Spot<'_> {
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

/// What was met before, and where: for things that may be there only once.
pub(super) struct Once<T>(HashMap<T, String>);

impl<T: std::hash::Hash + Eq> Once<T> {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    /// The path where `thing` was met before, if it was; else remembers `path`.
    pub(super) fn repeats(&mut self, thing: T, path: &str) -> Option<String> {
        if let Some(first) = self.0.get(&thing) {
            return Some(first.clone());
        }
        self.0.insert(thing, path.to_owned());
        None
    }
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
