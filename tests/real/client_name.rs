//! A client's certificate as backends are told of it: the same by HAProxy and by ringway.

use crate::haproxy::Haproxy;
use crate::programs::{client, free_address, installed};
use crate::support::{Authority, Backend, Setup};
use ringway::wire::proxy_protocol::{Progress, Ssl, parse};
use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;

/// What a backend is told of TLS when openssl's client comes to that address with these words.
#[track_caller]
fn told(backend: &Backend, at: SocketAddr, words: &[&str], check: impl FnOnce(Ssl<'_>)) {
    let mut command = client("openssl");
    command.args(["s_client", "-quiet", "-connect", &at.to_string()]);
    command.args(words).stdin(Stdio::piped());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let at_backend = backend.accept();
    let mut bytes = Vec::new();
    loop {
        bytes.extend(at_backend.drain_some());
        match parse(&bytes) {
            Progress::Complete(header) => {
                check(header.tlvs.ssl.expect("TLS has ended before it"));
                break;
            }
            Progress::Partial => {}
            other @ (Progress::Absent | Progress::Refused(_)) => panic!("{other:?}"),
        }
    }
    drop(child.stdin.take());
    drop(at_backend);
    child.wait().unwrap();
}

#[test]
fn a_clients_common_name_is_told_as_haproxy_tells_it() {
    if !installed(&["haproxy", "openssl"]) {
        return;
    }
    let authority = Authority::new();
    let server = authority.issue("here", &["here.test"]);
    let own = authority.issue("client of the tests", &["client.test"]);
    let (cert, key) = (own.cert.display(), own.key.display());
    let (cert, key) = (cert.to_string(), key.to_string());
    let backend = Backend::new();
    let whole = [&server.cert, &server.key].map(|file| fs::read_to_string(file).unwrap());
    let bind = format!(
        "ssl crt {} ca-file {} verify required",
        authority.write("whole.pem", &whole.concat()).display(),
        authority.ca().display()
    );
    let lines = format!(
        "mode tcp\n server next {} send-proxy-v2-ssl-cn proxy-v2-options ssl-cipher",
        backend.address()
    );
    let haproxy = Haproxy::on(free_address(), &bind, &lines);
    // What found out whether it listens came to nothing: without a handshake nobody is dialed.
    let proxy = Setup::before(&backend)
        .terminating_with(&server, &format!(", client_ca = {:?}", authority.ca()))
        .upstream("proxy_protocol = \"v2\"")
        .start();
    for version in ["-tls1_2", "-tls1_3"] {
        let cipher = match version {
            "-tls1_2" => ["-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
            _ => ["-ciphersuites", "TLS_AES_128_GCM_SHA256"],
        };
        let words = [&[version, "-cert", &cert, "-key", &key][..], &cipher].concat();
        let describe = |ssl: Ssl<'_>| format!("{ssl:?}");
        let (mut theirs, mut ours) = (String::new(), String::new());
        told(&backend, haproxy.address(), &words, |ssl| {
            assert_eq!(ssl.common_name, Some("client of the tests"));
            theirs = describe(ssl);
        });
        told(&backend, proxy.address(), &words, |ssl| {
            ours = describe(ssl);
        });
        assert_eq!(ours, theirs, "{version}");
    }
}
