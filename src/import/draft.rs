//! Lines of the file in the making. ringway itself says which of them it takes: what it refuses becomes a remark in its
//! words, so that the whole is accepted by construction.

use super::remarks::{Kind, Remark};
use super::syntax::Directive;
use crate::config::Config;

/// A line, or the lines of a table, and the directive that they come from.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    pub(super) text: String,
    pub(super) from: &'a Directive,
}

impl<'a> Item<'a> {
    pub(super) fn key(key: &str, value: impl std::fmt::Display, from: &'a Directive) -> Self {
        let text = format!("{key} = {value}");
        Self { text, from }
    }
}

/// Those of the items that ringway takes together, in order, a line each. `whole` makes a whole file around them.
pub(super) fn settle(
    items: &[Item<'_>],
    remarks: &mut Vec<Remark>,
    whole: impl Fn(&str) -> String,
) -> String {
    let mut text = String::new();
    for item in items {
        let longer = format!("{text}{}\n", item.text);
        match refusal(&whole(&longer)) {
            None => text = longer,
            Some(reason) => remarks.push(Remark::new(item.from, Kind::Lost, reason)),
        }
    }
    text
}

/// Why ringway does not take a file.
pub(super) fn refusal(toml: &str) -> Option<String> {
    let errors = Config::parse(toml, "").err()?;
    errors.iter().next().map(|error| error.message.clone())
}

/// A whole file around lines of a listener and its tables; `upstreams` are those that it may name.
pub(super) fn around_listener<'s>(
    listener: &str,
    upstreams: impl Iterator<Item = &'s str>,
) -> String {
    let mut whole = listener.to_owned();
    for name in upstreams {
        let name = super::values::string(name);
        let backend = "backend = [{ address = \"127.0.0.1:1\" }]";
        whole.push_str(&format!("[[upstream]]\nname = {name}\n{backend}\n"));
    }
    whole
}

/// A whole file around an upstream that is named `t`.
pub(super) fn around_upstream(upstream: &str) -> String {
    let listener = "[[listener]]\nname = \"t\"\nlisten = \"127.0.0.1:1\"\nupstream = \"t\"\n";
    format!("{listener}[[upstream]]\nname = \"t\"\n{upstream}")
}
