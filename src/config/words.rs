//! Keys that take one word of a few: each word with the value it stands for, for the file, the flags and the
//! effective configuration alike.

use super::model::{AcceptProxy, Balance, Format, Forwarded, Mode, Relay, SendProxy};
use super::value::{Parsed, listed, quoted, text};
use toml::de::DeValue;

/// The words that a key takes. Those of `later` are understood and refused.
pub(super) struct Words<T: 'static> {
    now: &'static [(&'static str, T)],
    later: &'static [&'static str],
}

impl<T> Words<T> {
    pub(super) const fn new(now: &'static [(&'static str, T)]) -> Self {
        Self { now, later: &[] }
    }
}

impl<T: Copy + PartialEq> Words<T> {
    pub(super) fn parse(&self, word: &str) -> Parsed<T> {
        if let Some((_, value)) = self.now.iter().find(|(text, _)| *text == word) {
            return Ok(*value);
        }
        let wanted = listed(self.now.iter().map(|(text, _)| *text));
        if self.later.contains(&word) {
            return Err(format!("\"{word}\" is not supported yet; write {wanted}"));
        }
        Err(format!(
            "{} is not one of its words; write {wanted}",
            quoted(word)
        ))
    }

    pub(super) fn of(&self, value: &DeValue) -> Parsed<T> {
        self.parse(text(value)?)
    }

    /// The word for `value`.
    pub(super) fn name(&self, value: T) -> &'static str {
        let word = self.now.iter().find(|(_, v)| *v == value);
        word.expect("every value of the model has a word").0
    }
}

pub(super) const LEVELS: Words<tracing::Level> = Words {
    now: &[
        ("error", tracing::Level::ERROR),
        ("warn", tracing::Level::WARN),
        ("info", tracing::Level::INFO),
        ("debug", tracing::Level::DEBUG),
    ],
    later: &[],
};
pub(super) const FORMATS: Words<Format> = Words {
    now: &[("text", Format::Text), ("json", Format::Json)],
    later: &[],
};
pub(super) const MODES: Words<Mode> = Words {
    now: &[("tcp", Mode::Tcp), ("http", Mode::Http), ("tls", Mode::Tls)],
    later: &[],
};
pub(super) const ACCEPT_PROXY: Words<AcceptProxy> = Words {
    now: &[
        ("off", AcceptProxy::Off),
        ("optional", AcceptProxy::Optional),
        ("required", AcceptProxy::Required),
    ],
    later: &[],
};
pub(super) const FORWARDED: Words<Forwarded> = Words {
    now: &[("off", Forwarded::Off), ("append", Forwarded::Append)],
    later: &[],
};
pub(super) const RELAYS: Words<Relay> = Words {
    now: &[
        ("auto", Relay::Auto),
        ("copy", Relay::Copy),
        ("splice", Relay::Splice),
    ],
    later: &[],
};
pub(super) const BALANCES: Words<Balance> = Words {
    now: &[("ip_hash", Balance::IpHash), ("hash", Balance::Hash)],
    later: &["round_robin", "least_conn", "random_two"],
};
pub(super) const SEND_PROXY: Words<SendProxy> = Words {
    now: &[
        ("off", SendProxy::Off),
        ("v1", SendProxy::V1),
        ("v2", SendProxy::V2),
    ],
    later: &[],
};
