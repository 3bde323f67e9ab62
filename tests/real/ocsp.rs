//! OCSP responses as openssl makes them, read as its authority meant them.

use crate::programs::{client, installed, output, text};
use crate::support::{Authority, Pair};
use ringway::config::{Certificate, ListenerTls};
use ringway::tls::{MaterialError, Server};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// What the authority says of a certificate for a week: `V` is valid, `R` revoked.
pub(crate) fn answer(authority: &Authority, pair: &Pair, state: char) -> PathBuf {
    let folder = authority.folder();
    let mut show = client("openssl");
    show.args(["x509", "-noout", "-serial", "-in"])
        .arg(&pair.cert);
    let serial = text(&mut show).trim().replace("serial=", "");
    let revoked = if state == 'R' { "260101000000Z" } else { "" };
    let row = format!("{state}\t401231000000Z\t{revoked}\t{serial}\tunknown\t/CN=a\n");
    let index = authority.write("index", &row);
    let said = folder.join("said.ocsp");
    let mut command = client("openssl");
    command
        .args(["ocsp", "-ndays", "7", "-noverify", "-index"])
        .arg(index);
    for option in ["-CA", "-rsigner", "-issuer"] {
        command.arg(option).arg(authority.ca());
    }
    command.arg("-rkey").arg(folder.join("ca.key"));
    command
        .arg("-cert")
        .arg(&pair.cert)
        .arg("-respout")
        .arg(&said);
    output(&mut command);
    said
}

fn load(Pair { cert, key }: &Pair, ocsp: PathBuf) -> Result<Server, MaterialError> {
    let (cert, key, ocsp) = (cert.clone(), key.clone(), Some(ocsp));
    Server::load(&ListenerTls::new(vec![Certificate { cert, key, ocsp }]))
}

#[test]
fn a_response_of_openssls_is_good_for_as_long_as_it_says() {
    if !installed(&["openssl"]) {
        return;
    }
    let authority = Authority::new();
    let pair = authority.issue("a", &["a.example"]);
    let server = load(&pair, answer(&authority, &pair, 'V')).unwrap();
    let until = server.leaves()[0].staple_until.unwrap();
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(until.try_into().unwrap());
    #[expect(clippy::disallowed_methods, reason = "openssl goes by the calendar")]
    let now = SystemTime::now();
    let days = until.duration_since(now).unwrap().as_secs_f64() / 86_400.0;
    assert!((6.9..7.1).contains(&days), "{days}");
}

#[test]
fn a_response_about_a_revoked_or_another_certificate_is_refused() {
    if !installed(&["openssl"]) {
        return;
    }
    let authority = Authority::new();
    let [pair, other] = ["a", "b"].map(|name| authority.issue(name, &["a.example"]));
    let refused = |ocsp| load(&pair, ocsp).map(drop).unwrap_err().reason;
    let revoked = refused(answer(&authority, &pair, 'R'));
    assert!(
        revoked.starts_with("says that the certificate is revoked"),
        "{revoked}"
    );
    let of_other = refused(answer(&authority, &other, 'V'));
    assert!(
        of_other.starts_with("is about another certificate"),
        "{of_other}"
    );
}
