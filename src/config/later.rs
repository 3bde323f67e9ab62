//! The keys that the file format has and this version does not act on: one row each. A key that is present is an
//! error, so that nobody believes in a limit that is not there; only a value that asks for nothing is let through.
//!
//! To support a key, delete its row, read it in `check`, print it in `print`, describe it in docs/configuration.md.

use super::quantity;
use super::value::{self, Parsed};
use super::words::Words;
use std::time::Duration;
use toml::de::DeValue;

/// What a key's value must look like.
enum Kind {
    /// A duration; none asks for nothing.
    Duration,
    /// A duration that cannot be none.
    Timeout,
    /// Bytes; none asks for nothing.
    Size,
    /// A string; the empty one asks for nothing.
    Text,
    /// `true` or `false`; this one asks for nothing.
    Flag(bool),
    /// One of these; the first asks for nothing.
    Words(Words<bool>),
    /// A list of strings; the empty one asks for nothing.
    Texts,
    /// A table, whose keys have rows of their own.
    Table,
    /// A list of tables, whose keys have rows of their own.
    Tables,
}

/// One such key.
pub(super) struct Later {
    path: &'static str,
    kind: Kind,
}

const fn words(now: &'static [(&'static str, bool)]) -> Kind {
    Kind::Words(Words::new(now))
}

const fn later(path: &'static str, kind: Kind) -> Later {
    Later { path, kind }
}

const LATER: &[Later] = &[
    later("admin", Kind::Table),
    later("admin.listen", Kind::Text),
    later("admin.token_file", Kind::Text),
    later("listener.max_age", Kind::Duration),
    later("listener.slow_client", Kind::Table),
    later("listener.slow_client.unsent", Kind::Size),
    later("listener.slow_client.for", Kind::Timeout),
    later("listener.tls", Kind::Table),
    later("listener.tls.certificates", Kind::Tables),
    later("listener.tls.certificates.cert", Kind::Text),
    later("listener.tls.certificates.key", Kind::Text),
    later("listener.tls.client_ca", Kind::Text),
    later(
        "listener.tls.min_version",
        words(&[("1.2", true), ("1.3", false)]),
    ),
    later("listener.tls.alpn", Kind::Texts),
    later("listener.tls.handshake_timeout", Kind::Timeout),
    later("upstream.tls", Kind::Table),
    later("upstream.tls.server_name", Kind::Text),
    later("upstream.tls.ca", Kind::Text),
    later("upstream.tls.verify", Kind::Flag(true)),
];

/// The paths of those keys, without positions in lists: `upstream.probe.type`.
pub fn keys_not_supported_yet() -> impl Iterator<Item = &'static str> {
    LATER.iter().map(|later| later.path)
}

/// The row of a key.
pub(super) fn find(path: &str) -> Option<&'static Later> {
    LATER.iter().find(|later| later.path == path)
}

/// The names of those keys directly in the table `path`.
pub(super) fn inside(path: &str) -> impl Iterator<Item = &'static str> {
    LATER.iter().filter_map(move |later| {
        let (table, name) = later.path.rsplit_once('.').unwrap_or(("", later.path));
        (table == path).then_some(name)
    })
}

impl Later {
    /// Whether the value, which must have the right form, asks for nothing.
    pub(super) fn asks_for_nothing(&self, value: &DeValue) -> Parsed<bool> {
        self.kind.asks_for_nothing(value)
    }
}

impl Kind {
    fn asks_for_nothing(&self, value: &DeValue) -> Parsed<bool> {
        match self {
            Self::Duration => quantity::duration_or_zero(value).map(|d| d == Duration::ZERO),
            Self::Timeout => quantity::timeout(value).map(|_| false),
            Self::Size => quantity::size(value, 0..=1 << 30).map(|bytes| bytes == 0),
            Self::Text => value::text(value).map(str::is_empty),
            Self::Flag(harmless) => value::flag(value).map(|flag| flag == *harmless),
            Self::Words(words) => words.of(value),
            Self::Texts => texts(value),
            Self::Table if value.is_table() => Ok(false),
            Self::Table => Err(value::wrong_type(value, "a table")),
            Self::Tables => match value.as_array() {
                Some(items) if items.iter().all(|item| item.get_ref().is_table()) => Ok(false),
                Some(_) => Err("has entries that are not tables; write tables".to_owned()),
                None => Err(value::wrong_type(value, "a list of tables")),
            },
        }
    }
}

fn texts(value: &DeValue) -> Parsed<bool> {
    let items = value
        .as_array()
        .ok_or_else(|| value::wrong_type(value, "a list of strings"))?;
    items
        .iter()
        .try_for_each(|item| value::text(item.get_ref()).map(drop))?;
    Ok(items.is_empty())
}
