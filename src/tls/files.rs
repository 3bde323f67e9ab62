//! Files of certificates, keys and staples: read with a bound, and told apart when they are not what was meant.

use super::MaterialError;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// No file of keys or certificates is larger; the list of all authorities that browsers trust has 200 KiB.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A file and the key of the configuration that names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) key: &'a str,
    pub(super) path: &'a Path,
}

impl Named<'_> {
    /// A mistake of this file.
    pub(super) fn fault(self, reason: impl Into<String>) -> MaterialError {
        MaterialError::new(self.key, self.path, reason)
    }

    /// Every certificate of a PEM file, at least one, in its order.
    pub(super) fn certificates(self) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
        let text = self.read()?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let found = found.map_err(|e| self.not_pem(&e))?;
        if found.is_empty() {
            return Err(self.fault(self.without_certificate(&text)));
        }
        Ok(found)
    }

    /// The first private key of a PEM file.
    pub(super) fn private_key(self) -> Result<PrivateKeyDer<'static>, MaterialError> {
        let text = self.read()?;
        if is_encrypted(&text) {
            let path = self.path.display();
            return Err(self.fault(format!(
                "is encrypted, and nobody could be asked for its passphrase at a reload; write it in the clear, \
                 readable by ringway alone: openssl pkey -in {path} -out {path}.clear"
            )));
        }
        match PrivateKeyDer::from_pem_slice(&text) {
            Ok(key) => Ok(key),
            Err(pem::Error::NoItemsFound) => Err(self.fault(without_key(&text))),
            Err(e) => Err(self.not_pem(&e)),
        }
    }

    /// All of it.
    pub(super) fn read(self) -> Result<Vec<u8>, MaterialError> {
        self.read_bounded().map_err(|e| {
            let fix = if e.kind() == io::ErrorKind::PermissionDenied {
                "let the user that ringway runs as read it, and enter the folders above it"
            } else {
                "check the path, which begins where ringway was started unless with a slash"
            };
            self.fault(format!("cannot be read: {e}; {fix}"))
        })
    }

    fn read_bounded(self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.path)?
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            let message = format!("larger than {} MiB", FILE_BYTES_MAX >> 20);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(bytes)
    }

    fn not_pem(self, error: &pem::Error) -> MaterialError {
        let what = if matches!(error, pem::Error::MissingSectionEnd { .. }) {
            "ends in the middle of a section"
        } else {
            "has a section that is not base64"
        };
        self.fault(format!(
            "{what}; it was cut short or damaged: copy it again"
        ))
    }

    fn without_certificate(self, bytes: &[u8]) -> String {
        if is_der(bytes) {
            let path = self.path.display();
            return format!(
                "is DER and not PEM; convert it: openssl x509 -inform DER -in {path} -out {path}.pem"
            );
        }
        "has no certificate; write the path of a PEM file, in which -----BEGIN CERTIFICATE----- stands"
            .to_owned()
    }
}

fn without_key(bytes: &[u8]) -> &'static str {
    if is_der(bytes) {
        "is DER and not PEM; convert it with openssl pkey -inform DER"
    } else {
        "has no private key; write the path of a PEM file, in which -----BEGIN PRIVATE KEY----- or the like stands"
    }
}

/// A SEQUENCE with a length of two bytes, which certificates and keys are.
fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x81 | 0x82, ..])
}

/// PKCS #8 says it in the section's name (RFC 7468, section 11), the older formats in a header (RFC 1421, section 4.6.1.1).
fn is_encrypted(text: &[u8]) -> bool {
    let marks: [&[u8]; 2] = [
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----",
        b"Proc-Type: 4,ENCRYPTED",
    ];
    marks
        .iter()
        .any(|mark| memchr::memmem::find(text, mark).is_some())
}
