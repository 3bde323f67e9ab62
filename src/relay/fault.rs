//! How TLS with a peer can break, in words for the log and for counters.

use rustls::{AlertDescription, Error};

/// Why TLS with a peer is over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// The peer ended it with this alert.
    Alert(&'static str),
    /// What the peer sent is not to be accepted, or agrees with nothing that we offer: it was told so with an alert.
    Broke(&'static str),
}

impl Fault {
    /// What rustls says, in one word.
    pub(super) fn of(error: &Error) -> Self {
        if let Error::AlertReceived(alert) = error {
            return Self::Alert(alert_word(*alert));
        }
        Self::Broke(broken_word(error))
    }

    /// What follows the cause in the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Alert(word) | Self::Broke(word) => word,
        }
    }
}

/// The names of RFC 8446, section 6, and of the earlier versions that it lists as unused.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is open: whatever has no name here has none in the log"
)]
fn alert_word(alert: AlertDescription) -> &'static str {
    use AlertDescription as A;
    match alert {
        A::CloseNotify => "close-notify",
        A::UnexpectedMessage => "unexpected-message",
        A::BadRecordMac => "bad-record-mac",
        A::RecordOverflow => "record-overflow",
        A::HandshakeFailure => "handshake-failure",
        A::NoCertificate => "no-certificate",
        A::BadCertificate => "bad-certificate",
        A::UnsupportedCertificate => "unsupported-certificate",
        A::CertificateRevoked => "certificate-revoked",
        A::CertificateExpired => "certificate-expired",
        A::CertificateUnknown => "certificate-unknown",
        A::IllegalParameter => "illegal-parameter",
        A::UnknownCA => "unknown-ca",
        A::AccessDenied => "access-denied",
        A::DecodeError => "decode-error",
        A::DecryptError => "decrypt-error",
        A::ProtocolVersion => "protocol-version",
        A::InsufficientSecurity => "insufficient-security",
        A::InternalError => "internal-error",
        A::InappropriateFallback => "inappropriate-fallback",
        A::UserCanceled => "user-canceled",
        A::NoRenegotiation => "no-renegotiation",
        A::MissingExtension => "missing-extension",
        A::UnsupportedExtension => "unsupported-extension",
        A::UnrecognisedName => "unrecognized-name",
        A::BadCertificateStatusResponse => "bad-certificate-status-response",
        A::CertificateRequired => "certificate-required",
        A::NoApplicationProtocol => "no-application-protocol",
        _ => "other",
    }
}

/// What was wrong with what the peer sent.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is open, and what is left over is our own misuse, not the peer's"
)]
fn broken_word(error: &Error) -> &'static str {
    match error {
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord => "malformed",
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "unexpected-message"
        }
        Error::DecryptError => "bad-record-mac",
        Error::PeerIncompatible(_) => "nothing-in-common",
        Error::PeerMisbehaved(_) => "misbehaved",
        Error::NoApplicationProtocol => "no-application-protocol",
        Error::NoCertificatesPresented => "certificate-required",
        Error::InvalidCertificate(_) => "bad-certificate",
        Error::EncryptError => "keys-used-up",
        _ => "internal",
    }
}
