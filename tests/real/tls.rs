//! TLS that ringway knows nothing of: handshakes, sessions and data between openssl, curl and s_server.

use crate::certificate::Certificate;
use crate::content::{assert_same, content};
use crate::curl::curl;
use crate::programs::{Program, client, free_address, installed, output, server};
use crate::proxy_before;
use crate::support::Proxy;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;

/// `openssl s_server` with a certificate of our own.
struct Scene {
    folder: TempDir,
    certificate: Certificate,
    _server: Program,
    proxy: Proxy,
}

impl Scene {
    fn new(mode: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificate = Certificate::of("localhost", "IP:127.0.0.1");
        let address = free_address();
        let mut command = server("openssl");
        command.args(["s_server", "-quiet", mode, "-accept", &address.to_string()]);
        command.arg("-cert").arg(certificate.file());
        command.current_dir(folder.path()).stdin(Stdio::null());
        let server = Program::listening(&mut command, folder.path(), address);
        let proxy = proxy_before(address);
        Self {
            folder,
            certificate,
            _server: server,
            proxy,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn tls_of_both_versions_carries_a_file_unchanged() {
    if !installed(&["curl", "openssl"]) {
        return;
    }
    let scene = Scene::new("-WWW");
    let sent = content(0, 20_000_000);
    fs::write(scene.file("large"), &sent).unwrap();
    let url = format!("https://{}/large", scene.proxy.address());
    for version in ["1.2", "1.3"] {
        let mut command = curl();
        command.args(["--tls-max", version, "--cacert"]);
        // Verified: nobody stands in between.
        let got = output(command.arg(scene.certificate.file()).arg(&url));
        assert_same(&got, &sent);
    }
}

#[test]
fn a_tls_session_is_resumed_through_the_proxy() {
    if !installed(&["openssl"]) {
        return;
    }
    let scene = Scene::new("-rev");
    let session = scene.file("session");
    let first = reversed(&scene.proxy, "-sess_out", &session);
    assert!(first.contains("New, TLSv1.3"), "{first}");
    let second = reversed(&scene.proxy, "-sess_in", &session);
    assert!(second.contains("Reused, TLSv1.3"), "{second}");
}

/// One connection of `openssl s_client`, on which a line comes back reversed. What the client printed.
#[track_caller]
fn reversed(proxy: &Proxy, option: &str, session: &Path) -> String {
    let mut command = client("openssl");
    command.args([
        "s_client",
        "-ign_eof",
        "-tls1_3",
        "-connect",
        &proxy.address().to_string(),
    ]);
    command.arg(option).arg(session);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    // s_server -rev closes on the second line.
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"through ringway\nCLOSE\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("yawgnir hguorht"), "{said}");
    said
}
