//! What a certificate says of itself, as far as it matters here: names and dates.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A server's own certificate, the first of its chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// The host names that it is for (subjectAltName), in lower case; a first label of `*` stands for any one.
    pub names: Vec<String>,
    /// From when it is good, in seconds since 1970.
    pub not_before: i64,
    /// Until when it is good, in seconds since 1970.
    pub not_after: i64,
    /// Until when its OCSP response is good, in seconds since 1970; none: there is none, or it stays good.
    pub staple_until: Option<i64>,
    /// As it is written in the certificate.
    pub(super) serial: Vec<u8>,
}

impl Leaf {
    /// Reads a certificate; in words what is wrong with it.
    pub(super) fn read(der: &CertificateDer<'_>) -> Result<Self, String> {
        let broken = |e: &dyn std::fmt::Display| {
            format!("has a certificate that cannot be read: {e}; issue it again")
        };
        let (_, certificate) = X509Certificate::from_der(der).map_err(|e| broken(&e))?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|e| broken(&e))?;
        let names = names.map_or(&[][..], |names| &names.value.general_names);
        let hosts = names.iter().filter_map(|name| {
            let GeneralName::DNSName(host) = name else {
                return None;
            };
            Some(host.to_ascii_lowercase())
        });
        let validity = certificate.validity();
        Ok(Self {
            names: hosts.collect(),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            staple_until: None,
            serial: certificate.raw_serial().to_vec(),
        })
    }
}
