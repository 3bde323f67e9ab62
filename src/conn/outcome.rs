//! Why a connection ended: who ended it (cause) and where it stood (phase), in words and in HAProxy's two letters.

use crate::ring::Errno;
use std::fmt;

/// Who or what ended a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// The client sent FIN first, and both directions ended in order.
    ClientFin,
    /// The backend sent FIN first, and both directions ended in order.
    BackendFin,
    /// The client reset the connection, or closed it while bytes were on their way to it.
    ClientReset,
    /// The backend did.
    BackendReset,
    /// The client's host stopped answering (TCP_USER_TIMEOUT, keepalive, an unreachable network).
    ClientLost,
    /// The backend's host did.
    BackendLost,
    /// No byte moved either way for `idle_timeout`.
    Idle,
    /// The client sent nothing for `half_close_timeout` after the backend's FIN.
    ClientHalfClose,
    /// The backend sent nothing for `half_close_timeout` after the client's FIN.
    BackendHalfClose,
    /// There was no backend to try.
    NoBackend,
    /// The last backend tried refused the connection.
    ConnectRefused,
    /// The last backend tried did not answer within `connect_timeout`.
    ConnectTimeout,
    /// The last backend tried could not be reached for another reason; `errno` says which.
    ConnectFailed,
    /// This machine had no descriptor, port or memory left to dial with; `errno` says which.
    Resource,
    /// The proxy is stopping.
    Drain,
}

/// Where a connection stood when it ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// No backend was connected yet.
    Dialing,
    /// Both directions were open.
    Relaying,
    /// One side had sent FIN.
    HalfClosed,
    /// Nothing was left to do.
    Done,
}

/// Cause, phase, and the system's error number where there is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Who.
    pub cause: Cause,
    /// Where.
    pub phase: Phase,
    /// The error that said so.
    pub errno: Option<Errno>,
}

impl Cause {
    /// Every cause, in the order of the counters.
    pub const ALL: [Self; 15] = [
        Self::ClientFin,
        Self::BackendFin,
        Self::ClientReset,
        Self::BackendReset,
        Self::ClientLost,
        Self::BackendLost,
        Self::Idle,
        Self::ClientHalfClose,
        Self::BackendHalfClose,
        Self::NoBackend,
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::ConnectFailed,
        Self::Resource,
        Self::Drain,
    ];

    /// Its place in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word in the log and in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ClientFin => "client-fin",
            Self::BackendFin => "backend-fin",
            Self::ClientReset => "client-reset",
            Self::BackendReset => "backend-reset",
            Self::ClientLost => "client-lost",
            Self::BackendLost => "backend-lost",
            Self::Idle => "idle",
            Self::ClientHalfClose => "client-half-close",
            Self::BackendHalfClose => "backend-half-close",
            Self::NoBackend => "no-backend",
            Self::ConnectRefused => "connect-refused",
            Self::ConnectTimeout => "connect-timeout",
            Self::ConnectFailed => "connect-failed",
            Self::Resource => "resource",
            Self::Drain => "drain",
        }
    }

    /// HAProxy's first letter: who. `d` for a drain is ours.
    const fn letter(self) -> char {
        match self {
            Self::ClientFin | Self::BackendFin => '-',
            Self::ClientReset | Self::ClientLost => 'C',
            Self::BackendReset
            | Self::BackendLost
            | Self::NoBackend
            | Self::ConnectRefused
            | Self::ConnectFailed => 'S',
            Self::Idle | Self::ClientHalfClose => 'c',
            Self::BackendHalfClose | Self::ConnectTimeout => 's',
            Self::Resource => 'R',
            Self::Drain => 'd',
        }
    }
}

impl Phase {
    /// The word in the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Dialing => "dialing",
            Self::Relaying => "relaying",
            Self::HalfClosed => "half-closed",
            Self::Done => "done",
        }
    }

    /// HAProxy's second letter: when. A half-closed relay is its `L`, last data.
    const fn letter(self) -> char {
        match self {
            Self::Dialing => 'C',
            Self::Relaying => 'D',
            Self::HalfClosed => 'L',
            Self::Done => '-',
        }
    }
}

impl Outcome {
    /// HAProxy's termination state, such as `CD` or `--` (its configuration manual, section 8.5).
    pub fn code(self) -> String {
        [self.cause.letter(), self.phase.letter()].iter().collect()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cause.word(), self.phase.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_order_is_the_enums() {
        for (place, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause.index(), place, "{}", cause.word());
        }
    }

    #[test]
    fn the_documentation_has_every_cause_and_phase_with_its_letter() {
        let page = include_str!("../../docs/access-log.md");
        let has = |word: &str, letter: char| {
            let row = format!("| `{word}` | `{letter}` |");
            assert!(page.contains(&row), "no row {row}");
        };
        for cause in Cause::ALL {
            has(cause.word(), cause.letter());
        }
        for phase in [
            Phase::Dialing,
            Phase::Relaying,
            Phase::HalfClosed,
            Phase::Done,
        ] {
            has(phase.word(), phase.letter());
        }
    }

    #[test]
    fn words_and_letters_of_the_contract() {
        let rows = [
            (Cause::ClientFin, Phase::Done, "client-fin/done", "--"),
            (
                Cause::BackendReset,
                Phase::Relaying,
                "backend-reset/relaying",
                "SD",
            ),
            (Cause::Idle, Phase::Relaying, "idle/relaying", "cD"),
            (Cause::NoBackend, Phase::Dialing, "no-backend/dialing", "SC"),
            (
                Cause::ConnectTimeout,
                Phase::Dialing,
                "connect-timeout/dialing",
                "sC",
            ),
            (
                Cause::BackendHalfClose,
                Phase::HalfClosed,
                "backend-half-close/half-closed",
                "sL",
            ),
        ];
        for (cause, phase, words, code) in rows {
            let outcome = Outcome {
                cause,
                phase,
                errno: None,
            };
            assert_eq!(
                (outcome.to_string().as_str(), outcome.code().as_str()),
                (words, code)
            );
        }
    }
}
