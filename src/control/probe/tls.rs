//! How a probe speaks TLS, and why it could not.

use crate::tls::Client;
use crate::wire::banner::{self, Reason};
use rustls::pki_types::ServerName;
use rustls::{CertificateError, Error};
use std::io;
use std::sync::Arc;

/// TLS of an upstream, for one of its backends.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Asked at every probe for what is current.
    pub client: Arc<Client>,
    /// Whom to ask for, and whose certificate to expect.
    pub name: ServerName<'static>,
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.client, &other.client) && self.name == other.name
    }
}

/// The words for a handshake that failed, and for TLS that broke afterwards.
pub(super) fn reason(error: &io::Error) -> Reason {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(error) => of_rustls(error),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "closed in mid-handshake".into(),
        None => super::exchange::phrase(error),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "rustls has fifty errors, and says that more may come; these are what backends do"
)]
fn of_rustls(error: &Error) -> Reason {
    match error {
        Error::AlertReceived(alert) => banner::alert((*alert).into()),
        Error::InvalidMessage(_) => "not tls".into(),
        Error::InvalidCertificate(error) => certificate(error),
        Error::PeerIncompatible(_) => "tls version or cipher not supported".into(),
        other => Reason::with_words("tls error", other.to_string().as_bytes()),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "rustls has thirty errors, and says that more may come; these are what operators meet"
)]
fn certificate(error: &CertificateError) -> Reason {
    use CertificateError as Of;
    match error {
        Of::Expired | Of::ExpiredContext { .. } => "tls certificate expired".into(),
        Of::NotValidYet | Of::NotValidYetContext { .. } => "tls certificate not valid yet".into(),
        // An authority of the same name with another key has signed it.
        Of::UnknownIssuer | Of::BadSignature => "tls certificate of an unknown authority".into(),
        Of::NotValidForName | Of::NotValidForNameContext { .. } => {
            "tls certificate for another name".into()
        }
        other => Reason::with_words("tls certificate refused", other.to_string().as_bytes()),
    }
}
