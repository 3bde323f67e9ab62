//! The keys that the file format has and this version does not act on: one row each. A key that is present is an
//! error, so that nobody believes in a limit that is not there; only a value that asks for nothing is let through.
//!
//! To support a key, delete its row, read it in `check`, print it in `print`, describe it in docs/configuration.md.

use super::quantity;
use super::value::{self, Parsed};
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
    /// A table, whose keys have rows of their own.
    Table,
}

/// One such key.
pub(super) struct Later {
    path: &'static str,
    kind: Kind,
}

const fn later(path: &'static str, kind: Kind) -> Later {
    Later { path, kind }
}

const LATER: &[Later] = &[
    later("listener.max_age", Kind::Duration),
    later("listener.slow_client", Kind::Table),
    later("listener.slow_client.unsent", Kind::Size),
    later("listener.slow_client.for", Kind::Timeout),
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
            Self::Table if value.is_table() => Ok(false),
            Self::Table => Err(value::wrong_type(value, "a table")),
        }
    }
}
