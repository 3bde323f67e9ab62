//! Keys that take one word of a few: each word with the value it stands for, for the file, the flags and the
//! effective configuration alike.

use super::model::{
    AcceptProxy, AdminState, AllDown, Balance, Format, Forwarded, Mode, OnDown, Relay, SendProxy,
    TlsVersion,
};
use super::probe::{InitialHealth, ProbeType};
use super::value::{Parsed, listed, quoted, text};
use toml::de::DeValue;

/// The words that a key takes.
pub(super) struct Words<T: 'static>(&'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Words<T> {
    pub(super) fn parse(&self, word: &str) -> Parsed<T> {
        if let Some((_, value)) = self.0.iter().find(|(text, _)| *text == word) {
            return Ok(*value);
        }
        let wanted = listed(self.0.iter().map(|(text, _)| *text));
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
        let word = self.0.iter().find(|(_, v)| *v == value);
        word.expect("every value of the model has a word").0
    }
}

pub(super) const LEVELS: Words<tracing::Level> = Words(&[
    ("error", tracing::Level::ERROR),
    ("warn", tracing::Level::WARN),
    ("info", tracing::Level::INFO),
    ("debug", tracing::Level::DEBUG),
]);
pub(super) const FORMATS: Words<Format> = Words(&[("text", Format::Text), ("json", Format::Json)]);
pub(super) const MODES: Words<Mode> =
    Words(&[("tcp", Mode::Tcp), ("http", Mode::Http), ("tls", Mode::Tls)]);
pub(super) const ACCEPT_PROXY: Words<AcceptProxy> = Words(&[
    ("off", AcceptProxy::Off),
    ("optional", AcceptProxy::Optional),
    ("required", AcceptProxy::Required),
]);
pub(super) const FORWARDED: Words<Forwarded> =
    Words(&[("off", Forwarded::Off), ("append", Forwarded::Append)]);
pub(super) const TLS_VERSIONS: Words<TlsVersion> =
    Words(&[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)]);
pub(super) const RELAYS: Words<Relay> = Words(&[
    ("auto", Relay::Auto),
    ("copy", Relay::Copy),
    ("splice", Relay::Splice),
]);
pub(super) const BALANCES: Words<Balance> = Words(&[
    ("ip_hash", Balance::IpHash),
    ("round_robin", Balance::RoundRobin),
    ("least_conn", Balance::LeastConn),
    ("random_two", Balance::RandomTwo),
    ("hash", Balance::Hash),
]);
pub(super) const SEND_PROXY: Words<SendProxy> = Words(&[
    ("off", SendProxy::Off),
    ("v1", SendProxy::V1),
    ("v2", SendProxy::V2),
]);
pub(super) const ALL_DOWN: Words<AllDown> =
    Words(&[("try_all", AllDown::TryAll), ("refuse", AllDown::Refuse)]);
pub(super) const ON_DOWN: Words<OnDown> =
    Words(&[("keep", OnDown::Keep), ("close", OnDown::Close)]);
pub(super) const ADMIN_STATES: Words<AdminState> = Words(&[
    ("ready", AdminState::Ready),
    ("drain", AdminState::Drain),
    ("maint", AdminState::Maint),
]);
pub(super) const PROBE_TYPES: Words<ProbeType> = Words(&[
    ("tcp", ProbeType::Tcp),
    ("http", ProbeType::Http),
    ("ssl_hello", ProbeType::SslHello),
    ("smtp", ProbeType::Smtp),
    ("mysql", ProbeType::Mysql),
    ("pop3", ProbeType::Pop3),
    ("imap", ProbeType::Imap),
    ("pgsql", ProbeType::Pgsql),
    ("redis", ProbeType::Redis),
    ("websocket", ProbeType::Websocket),
    ("send_expect", ProbeType::SendExpect),
]);
pub(super) const INITIAL_HEALTHS: Words<InitialHealth> =
    Words(&[("up", InitialHealth::Up), ("down", InitialHealth::Down)]);

impl Balance {
    /// The word in the file.
    pub fn word(self) -> &'static str {
        BALANCES.name(self)
    }
}

impl AdminState {
    /// The word in the file.
    pub fn word(self) -> &'static str {
        ADMIN_STATES.name(self)
    }

    /// What a word says.
    ///
    /// # Errors
    /// Which words there are.
    pub fn parse(word: &str) -> Result<Self, String> {
        ADMIN_STATES.parse(word)
    }
}

impl ProbeType {
    /// The word in the file.
    pub fn word(self) -> &'static str {
        PROBE_TYPES.name(self)
    }
}
