//! Why a connection ended: who ended it (cause) and where it stood (phase), in words and in HAProxy's two letters.

use super::Side;
use crate::relay::{Failure, Fault};
use crate::ring::Errno;
use crate::upstream::DialFailure;
use crate::wire::http_head::Status;
use crate::wire::{client_hello, http_head, proxy_protocol};
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
    /// The client said too little in `peek_timeout`.
    PeekTimeout,
    /// The request head is not to be passed on; what is wrong with it.
    BadHead(http_head::Refusal),
    /// The ClientHello is not to be passed on; what is wrong with it.
    BadHello(client_hello::Refusal),
    /// The PROXY protocol header is not to be believed; what is wrong with it.
    BadProxyHeader(proxy_protocol::Refusal),
    /// There is no PROXY protocol header where one is required.
    NoProxyHeader,
    /// A PROXY protocol header from an address that is not in `proxy_protocol_from`.
    UntrustedProxy,
    /// No route leads anywhere, and the listener has no upstream of its own.
    NoRoute,
    /// `allow` or `deny` keep the client out.
    Denied,
    /// The client's address has `max_connections_per_ip` open.
    TooMany,
    /// The client's address comes faster than `connect_rate_per_ip`.
    TooFast,
    /// Probes found the backend down, and `on_down` says to close.
    BackendDown,
    /// An operator closed it.
    Killed,
    /// The client ended first, and its socket without close_notify: what it sent may be less than it meant to.
    ClientTruncated,
    /// The backend did.
    BackendTruncated,
    /// The client ended TLS with a fatal alert; which.
    ClientAlert(&'static str),
    /// The backend did.
    BackendAlert(&'static str),
    /// TLS with the client broke, or never came to be; what was wrong.
    ClientTls(&'static str),
    /// TLS with the backend did.
    BackendTls(&'static str),
    /// A request in plain HTTP where TLS is spoken.
    PlainHttp,
    /// The client's handshake was not over in `handshake_timeout`.
    HandshakeTimeout,
    /// It had reached its `max_age`.
    MaxAge,
    /// The client left too much of what it got unsent, for too long (`slow_client`).
    SlowClient,
    /// An operator wants its backend to have none.
    BackendDrain,
}

/// Where a connection stood when it ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// The PROXY protocol header was awaited.
    Greeting,
    /// The first bytes were awaited, or looked at.
    Peeking,
    /// TLS with the client was being agreed on.
    Handshaking,
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
    /// Every cause, in the order of the counters; of those that say what is wrong, one for all.
    pub const ALL: [Self; 38] = [
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
        Self::PeekTimeout,
        Self::BadHead(http_head::Refusal::RequestLine),
        Self::BadHello(client_hello::Refusal::NotTls),
        Self::BadProxyHeader(proxy_protocol::Refusal::Fields),
        Self::NoProxyHeader,
        Self::UntrustedProxy,
        Self::NoRoute,
        Self::Denied,
        Self::TooMany,
        Self::TooFast,
        Self::BackendDown,
        Self::Killed,
        Self::ClientTruncated,
        Self::BackendTruncated,
        Self::ClientAlert("close-notify"),
        Self::BackendAlert("close-notify"),
        Self::ClientTls("malformed"),
        Self::BackendTls("malformed"),
        Self::PlainHttp,
        Self::HandshakeTimeout,
        Self::MaxAge,
        Self::SlowClient,
        Self::BackendDrain,
    ];

    /// Of a side whose socket reports this error.
    pub(super) fn of_failure(failed: Side, errno: Errno) -> Self {
        // tcp(7): these are a host or a path that no longer answers; everything else is the peer's own word.
        let lost = matches!(
            errno,
            Errno::ETIMEDOUT | Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::EHOSTDOWN
        );
        match (failed, lost) {
            (Side::Client, false) => Self::ClientReset,
            (Side::Client, true) => Self::ClientLost,
            (Side::Backend, false) => Self::BackendReset,
            (Side::Backend, true) => Self::BackendLost,
        }
    }

    /// Of a side that is lost, and the error that said so.
    pub(super) fn of(failed: Side, failure: Failure) -> (Self, Option<Errno>) {
        let cause = match (failed, failure) {
            (side, Failure::Socket(errno)) => return (Self::of_failure(side, errno), Some(errno)),
            (_, Failure::NoRoom) => return (Self::Resource, Some(Errno::ENOBUFS)),
            (Side::Client, Failure::Tls(Fault::Alert(word))) => Self::ClientAlert(word),
            (Side::Client, Failure::Tls(Fault::Broke(word))) => Self::ClientTls(word),
            (Side::Backend, Failure::Tls(Fault::Alert(word))) => Self::BackendAlert(word),
            (Side::Backend, Failure::Tls(Fault::Broke(word))) => Self::BackendTls(word),
        };
        (cause, None)
    }

    /// Its place in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        match self {
            Self::ClientFin => 0,
            Self::BackendFin => 1,
            Self::ClientReset => 2,
            Self::BackendReset => 3,
            Self::ClientLost => 4,
            Self::BackendLost => 5,
            Self::Idle => 6,
            Self::ClientHalfClose => 7,
            Self::BackendHalfClose => 8,
            Self::NoBackend => 9,
            Self::ConnectRefused => 10,
            Self::ConnectTimeout => 11,
            Self::ConnectFailed => 12,
            Self::Resource => 13,
            Self::Drain => 14,
            Self::PeekTimeout => 15,
            Self::BadHead(_) => 16,
            Self::BadHello(_) => 17,
            Self::BadProxyHeader(_) => 18,
            Self::NoProxyHeader => 19,
            Self::UntrustedProxy => 20,
            Self::NoRoute => 21,
            Self::Denied => 22,
            Self::TooMany => 23,
            Self::TooFast => 24,
            Self::BackendDown => 25,
            Self::Killed => 26,
            Self::ClientTruncated => 27,
            Self::BackendTruncated => 28,
            Self::ClientAlert(_) => 29,
            Self::BackendAlert(_) => 30,
            Self::ClientTls(_) => 31,
            Self::BackendTls(_) => 32,
            Self::PlainHttp => 33,
            Self::HandshakeTimeout => 34,
            Self::MaxAge => 35,
            Self::SlowClient => 36,
            Self::BackendDrain => 37,
        }
    }

    /// What was wrong with what the client sent, where that is the cause.
    pub fn detail(self) -> Option<&'static str> {
        match self {
            Self::BadHead(refusal) => Some(refusal.word()),
            Self::BadHello(refusal) => Some(refusal.word()),
            Self::BadProxyHeader(refusal) => Some(refusal.word()),
            Self::ClientAlert(word)
            | Self::BackendAlert(word)
            | Self::ClientTls(word)
            | Self::BackendTls(word) => Some(word),
            Self::ClientFin
            | Self::BackendFin
            | Self::ClientReset
            | Self::BackendReset
            | Self::ClientLost
            | Self::BackendLost
            | Self::Idle
            | Self::ClientHalfClose
            | Self::BackendHalfClose
            | Self::NoBackend
            | Self::ConnectRefused
            | Self::ConnectTimeout
            | Self::ConnectFailed
            | Self::Resource
            | Self::Drain
            | Self::PeekTimeout
            | Self::NoProxyHeader
            | Self::UntrustedProxy
            | Self::NoRoute
            | Self::Denied
            | Self::TooMany
            | Self::TooFast
            | Self::BackendDown
            | Self::Killed
            | Self::ClientTruncated
            | Self::BackendTruncated
            | Self::PlainHttp
            | Self::HandshakeTimeout
            | Self::MaxAge
            | Self::SlowClient
            | Self::BackendDrain => None,
        }
    }

    /// What a client that speaks HTTP is told, when it is there to hear it.
    pub(super) fn status(self) -> Option<Status> {
        match self {
            Self::BadHead(refusal) => Some(refusal.status()),
            Self::PlainHttp => Some(Status::BadRequest),
            Self::NoRoute => Some(Status::NotFound),
            Self::PeekTimeout => Some(Status::RequestTimeout),
            Self::NoBackend
            | Self::ConnectRefused
            | Self::ConnectTimeout
            | Self::ConnectFailed
            | Self::BackendReset
            | Self::BackendLost
            | Self::BackendTruncated
            | Self::BackendAlert(_)
            | Self::BackendTls(_)
            | Self::Resource => Some(Status::ServiceUnavailable),
            Self::ClientFin
            | Self::BackendFin
            | Self::ClientReset
            | Self::ClientLost
            | Self::Idle
            | Self::ClientHalfClose
            | Self::BackendHalfClose
            | Self::Drain
            | Self::BadHello(_)
            | Self::BadProxyHeader(_)
            | Self::NoProxyHeader
            | Self::UntrustedProxy
            | Self::Denied
            | Self::TooMany
            | Self::TooFast
            | Self::BackendDown
            | Self::Killed
            | Self::ClientTruncated
            | Self::ClientAlert(_)
            | Self::ClientTls(_)
            | Self::HandshakeTimeout
            | Self::MaxAge
            | Self::SlowClient
            | Self::BackendDrain => None,
        }
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
            Self::PeekTimeout => "peek-timeout",
            Self::BadHead(_) => "bad-head",
            Self::BadHello(_) => "bad-hello",
            Self::BadProxyHeader(_) => "bad-proxy-header",
            Self::NoProxyHeader => "no-proxy-header",
            Self::UntrustedProxy => "untrusted-proxy",
            Self::NoRoute => "no-route",
            Self::Denied => "denied",
            Self::TooMany => "too-many",
            Self::TooFast => "too-fast",
            Self::BackendDown => "backend-down",
            Self::Killed => "killed",
            Self::ClientTruncated => "client-truncated",
            Self::BackendTruncated => "backend-truncated",
            Self::ClientAlert(_) => "client-alert",
            Self::BackendAlert(_) => "backend-alert",
            Self::ClientTls(_) => "client-tls",
            Self::BackendTls(_) => "backend-tls",
            Self::PlainHttp => "plain-http",
            Self::HandshakeTimeout => "handshake-timeout",
            Self::MaxAge => "max-age",
            Self::SlowClient => "slow-client",
            Self::BackendDrain => "backend-drain",
        }
    }

    /// HAProxy's first letter: who. `d` for an end that was ours to choose is our own.
    const fn letter(self) -> char {
        match self {
            Self::ClientFin | Self::BackendFin => '-',
            Self::ClientReset | Self::ClientLost | Self::ClientTruncated | Self::ClientAlert(_) => {
                'C'
            }
            Self::BackendReset
            | Self::BackendLost
            | Self::NoBackend
            | Self::ConnectRefused
            | Self::ConnectFailed
            | Self::BackendTruncated
            | Self::BackendAlert(_)
            | Self::BackendTls(_) => 'S',
            Self::Idle
            | Self::ClientHalfClose
            | Self::PeekTimeout
            | Self::HandshakeTimeout
            | Self::SlowClient => 'c',
            Self::BackendHalfClose | Self::ConnectTimeout => 's',
            Self::Resource => 'R',
            Self::Drain | Self::MaxAge | Self::BackendDrain => 'd',
            Self::BackendDown => 'D',
            Self::Killed => 'K',
            Self::BadHead(_)
            | Self::BadHello(_)
            | Self::BadProxyHeader(_)
            | Self::NoProxyHeader
            | Self::UntrustedProxy
            | Self::NoRoute
            | Self::Denied
            | Self::TooMany
            | Self::TooFast
            | Self::ClientTls(_)
            | Self::PlainHttp => 'P',
        }
    }
}

impl From<DialFailure> for Cause {
    fn from(failure: DialFailure) -> Self {
        match failure {
            DialFailure::Refused => Self::ConnectRefused,
            DialFailure::Timeout => Self::ConnectTimeout,
            DialFailure::Other => Self::ConnectFailed,
            DialFailure::Port | DialFailure::Resource => Self::Resource,
        }
    }
}

impl Phase {
    /// The word in the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Peeking => "peeking",
            Self::Handshaking => "handshaking",
            Self::Dialing => "dialing",
            Self::Relaying => "relaying",
            Self::HalfClosed => "half-closed",
            Self::Done => "done",
        }
    }

    /// HAProxy's second letter: when. What is read before a backend is chosen is its `R`, the request; a half-closed relay its
    /// `L`, last data.
    const fn letter(self) -> char {
        match self {
            Self::Greeting | Self::Peeking | Self::Handshaking => 'R',
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
        f.write_str(self.cause.word())?;
        if let Some(detail) = self.cause.detail() {
            write!(f, ":{detail}")?;
        }
        write!(f, "/{}", self.phase.word())
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
            Phase::Greeting,
            Phase::Peeking,
            Phase::Handshaking,
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
                Cause::BadHead(http_head::Refusal::BareLf),
                Phase::Peeking,
                "bad-head:bare-lf/peeking",
                "PR",
            ),
            (
                Cause::PeekTimeout,
                Phase::Greeting,
                "peek-timeout/greeting",
                "cR",
            ),
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
