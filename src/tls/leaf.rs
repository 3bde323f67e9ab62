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

/// Bytes of a common name that is passed on: RFC 5280 gives it 64 characters (ub-common-name), UTF-8 each of them four bytes
/// at most.
const COMMON_NAME_MAX: usize = 256;

/// The common name of whom a certificate is for; of several the first, as HAProxy has it. `None` where it has none, or one
/// that is no text or longer than it may be.
pub fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?;
    let name = name.as_str().ok()?;
    (name.len() <= COMMON_NAME_MAX).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    fn named(name: Option<&str>) -> Option<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        let key = KeyPair::generate().expect("entropy");
        let certificate = params.self_signed(&key).expect("a name of any length");
        common_name(certificate.der())
    }

    #[test]
    fn a_common_name_of_up_to_256_bytes_is_told_and_no_longer_one() {
        assert_eq!(named(Some("J\u{f6}rg")).as_deref(), Some("J\u{f6}rg"));
        let longest = "\u{f6}".repeat(128);
        assert_eq!(named(Some(&longest)), Some(longest));
        assert_eq!(named(Some(&"a".repeat(257))), None);
        assert_eq!(named(None), None);
    }
}
