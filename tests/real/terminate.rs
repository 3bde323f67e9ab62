//! TLS that ends in ringway, spoken by openssl and curl: what other implementations make of ours.

use crate::content::{assert_same, content};
use crate::curl::curl;
use crate::nginx::Nginx;
use crate::programs::{client, installed, output};
use crate::support::{Authority, Backend, Proxy, Setup};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

/// A proxy that ends TLS before a server, and whose certificate is for this machine.
struct Scene {
    authority: Authority,
    proxy: Proxy,
}

impl Scene {
    fn before(setup: Setup) -> Self {
        let authority = Authority::new();
        let pair = authority.issue("here", &["127.0.0.1"]);
        Self {
            proxy: setup.process("workers = 2").terminating(&pair).start(),
            authority,
        }
    }

    /// What `openssl s_client` prints with these arguments and this input.
    #[track_caller]
    fn openssl(&self, arguments: &[&str], input: &str) -> String {
        let mut command = client("openssl");
        let address = self.proxy.address().to_string();
        command.args(["s_client", "-connect", &address, "-verify_return_error"]);
        command.arg("-CAfile").arg(self.authority.ca());
        command.args(arguments).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).into_owned()
    }
}

fn file(path: &Path) -> String {
    path.display().to_string()
}

/// Echoes, and ends once it has echoed `CLOSE`: so that a client reads all before it has to end.
fn closing_echo() -> Backend {
    Backend::serve(|peer| {
        let mut last = Vec::new();
        while !last.ends_with(b"CLOSE\n") {
            let bytes = peer.drain_some();
            if bytes.is_empty() {
                return;
            }
            peer.send(&bytes);
            last.extend(bytes);
        }
    })
}

#[test]
fn openssl_verifies_us_in_both_versions_and_in_small_fragments() {
    if !installed(&["openssl"]) {
        return;
    }
    let backend = closing_echo();
    let scene = Scene::before(Setup::before(&backend));
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        for more in [
            &[][..],
            &["-max_send_frag", "512", "-split_send_frag", "512"],
        ] {
            let arguments = [&["-ign_eof", version][..], more].concat();
            let said = scene.openssl(&arguments, "through ringway\nCLOSE\n");
            assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
            assert!(said.contains(&format!("New, {name}")), "{said}");
            assert!(said.contains("through ringway\nCLOSE"), "{said}");
        }
    }
    for line in scene.proxy.await_access(4) {
        assert_eq!(line.text("relay"), "tls");
        assert_eq!(line.number("bytes_up"), 22);
    }
}

#[test]
fn openssl_resumes_a_session_with_either_worker_and_its_early_data_is_refused() {
    if !installed(&["openssl"]) {
        return;
    }
    let backend = closing_echo();
    let scene = Scene::before(Setup::before(&backend));
    let session = file(&scene.authority.folder().join("session"));
    let early = file(&scene.authority.write("early", "before its time\n"));
    let lines = "through ringway\nCLOSE\n";
    let said = scene.openssl(&["-ign_eof", "-sess_out", &session], lines);
    assert!(said.contains("New, TLSv1.3"), "{said}");
    let said = scene.openssl(
        &["-ign_eof", "-sess_in", &session, "-sess_out", &session],
        lines,
    );
    assert!(said.contains("Reused, TLSv1.3"), "{said}");
    let arguments = ["-ign_eof", "-sess_in", &session, "-early_data", &early];
    let said = scene.openssl(&arguments, lines);
    assert!(said.contains("Early data was not sent"), "{said}");
    assert!(said.contains("through ringway"), "{said}");
}

#[test]
fn openssl_may_not_renegotiate() {
    if !installed(&["openssl"]) {
        return;
    }
    let backend = closing_echo();
    let scene = Scene::before(Setup::before(&backend));
    let said = scene.openssl(&["-tls1_2"], "R\n");
    assert!(said.contains("RENEGOTIATING"), "{said}");
    assert!(said.contains("no renegotiation"), "{said}");
}

#[test]
fn curl_downloads_and_uploads_whole_files() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let nginx = Nginx::start("files");
    let sent = content(0, 20_000_000);
    nginx.publish("large", &sent);
    let setup = Setup::new(&[nginx.address()]).listener("mode = \"http\"");
    let scene = Scene::before(setup);
    let url = format!("https://{}/large", scene.proxy.address());
    for version in ["1.2", "1.3"] {
        let mut command = curl();
        command.args(["--tls-max", version, "--cacert"]);
        command.arg(scene.authority.ca()).arg(&url);
        assert_same(&output(&mut command), &sent);
    }
    let upload = scene.authority.folder().join("upload");
    std::fs::write(&upload, &sent).unwrap();
    let mut command = curl();
    command.arg("--cacert").arg(scene.authority.ca());
    command.arg("--upload-file").arg(&upload);
    output(command.arg(format!("https://{}/sent", scene.proxy.address())));
    assert_same(&std::fs::read(nginx.file("sent")).unwrap(), &sent);
    for line in scene.proxy.await_access(3) {
        assert_eq!(line.text("relay"), "tls");
    }
}
