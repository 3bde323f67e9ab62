//! Certificates as openssl's client sees them: which one it gets, what comes with it, who is let in, and what a change of
//! files does to sessions and connections.

use crate::programs::{client, described, installed};
use crate::support::{Authority, Backend, Pair, Proxy, Setup, wait};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A proxy that ends TLS before a backend that says everything back.
struct Scene {
    authority: Authority,
    proxy: Proxy,
    _backend: Backend,
}

impl Scene {
    /// With these certificates, and more keys in the table of TLS.
    fn new(authority: Authority, pairs: &[&Pair], keys: &str) -> Self {
        let certificates = pairs.iter().map(|Pair { cert, key }| {
            format!(
                "{{ cert = \"{}\", key = \"{}\" }}",
                cert.display(),
                key.display()
            )
        });
        let certificates = certificates.collect::<Vec<_>>().join(", ");
        let tls = format!("tls = {{ certificates = [{certificates}]{keys} }}");
        let backend = Backend::echo();
        let setup = Setup::before(&backend).process("workers = 2");
        let proxy = setup.listener(&tls).start();
        Self {
            authority,
            proxy,
            _backend: backend,
        }
    }

    /// One connection of openssl's client that believes the authority, says a line, and ends when it has come back. What
    /// it printed.
    #[track_caller]
    fn visit(&self, options: &[&str]) -> String {
        let mut visitor = Visitor::new(self, options);
        visitor.say_and_hear("through ringway");
        visitor.leave()
    }

    /// The same of one that is refused.
    #[track_caller]
    fn refuse(&self, options: &[&str]) -> String {
        let mut command = self.openssl(options);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = described(&output);
        assert!(!output.status.success(), "{said}");
        said
    }

    fn openssl(&self, options: &[&str]) -> Command {
        let mut command = client("openssl");
        command.args(["s_client", "-ign_eof", "-verify_return_error", "-CAfile"]);
        command.arg(self.authority.ca()).arg("-connect");
        command.arg(self.proxy.address().to_string()).args(options);
        command
    }
}

/// A connection of openssl's client.
struct Visitor {
    child: Child,
    heard: BufReader<ChildStdout>,
    said: String,
}

impl Visitor {
    fn new(scene: &Scene, options: &[&str]) -> Self {
        let mut command = scene.openssl(options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let heard = BufReader::new(child.stdout.take().unwrap());
        let said = String::new();
        Self { child, heard, said }
    }

    /// Says a line, and reads all that is printed until it has come back. What comes from the other end goes past the buffer of
    /// what openssl itself prints, and so may stand in the middle of one of its lines.
    #[track_caller]
    fn say_and_hear(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        let mut heard = String::new();
        while !heard.trim_end().ends_with(line) {
            heard.clear();
            let count = self.heard.read_line(&mut heard).unwrap();
            assert!(count > 0, "ended: {}", self.said);
            self.said.push_str(&heard);
        }
    }

    /// Ends it; all that it printed.
    fn leave(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::take(&mut self.said)
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        // Gone already, unless a test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether what a client printed has the certificate of that file.
fn shows(said: &str, pem: &Path) -> bool {
    let text = |text: &str| text.split_whitespace().collect::<String>();
    text(said).contains(&text(&fs::read_to_string(pem).unwrap()))
}

#[test]
fn openssl_gets_the_certificate_that_it_asks_for_of_the_kind_that_it_can_check() {
    if !installed(&["openssl"]) {
        return;
    }
    let authority = Authority::new();
    let rsa = authority.issue_rsa("rsa", &["a.example"]);
    let ecdsa = authority.issue("ecdsa", &["a.example"]);
    let wild = authority.issue("wild", &["*.b.example"]);
    let scene = Scene::new(authority, &[&rsa, &ecdsa, &wild], "");
    let rsa_only = "RSA-PSS+SHA256:RSA+SHA256";
    for version in ["-tls1_2", "-tls1_3"] {
        for (name, sigalgs, expected) in [
            ("a.example", "ECDSA+SHA256:RSA-PSS+SHA256", &ecdsa),
            ("a.example", rsa_only, &rsa),
            ("x.b.example", "ECDSA+SHA256", &wild),
            ("none.example", rsa_only, &rsa),
        ] {
            let said = scene.visit(&[version, "-servername", name, "-sigalgs", sigalgs]);
            assert!(
                shows(&said, &expected.cert),
                "{version} {name} {sigalgs}: {said}"
            );
        }
    }
}

#[test]
fn openssl_shows_a_certificate_or_stays_outside() {
    if !installed(&["openssl"]) {
        return;
    }
    let (authority, stranger) = (Authority::new(), Authority::new());
    let pair = authority.issue("a", &["a.example"]);
    let [own, strange] = [&authority, &stranger].map(|of| of.issue("own", &["client"]));
    let keys = format!(", client_ca = \"{}\"", authority.ca().display());
    let scene = Scene::new(authority, &[&pair], &keys);
    let with = |pair: &Pair| {
        let [cert, key] = [&pair.cert, &pair.key].map(|path| path.display().to_string());
        ["-cert".to_owned(), cert, "-key".to_owned(), key]
    };
    let own = with(&own);
    let strange = with(&strange);
    for version in ["-tls1_2", "-tls1_3"] {
        let options = |more: &[String]| -> Vec<String> { [&[version.to_owned()], more].concat() };
        let visit = |more: &[String]| {
            let options = options(more);
            scene.visit(&options.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let refuse = |more: &[String]| {
            let options = options(more);
            scene.refuse(&options.iter().map(String::as_str).collect::<Vec<_>>())
        };
        visit(&own);
        let said = refuse(&[]);
        assert!(said.contains("alert"), "{said}");
        let said = refuse(&strange);
        assert!(said.contains("alert"), "{said}");
    }
}

#[test]
fn a_session_and_a_connection_outlive_the_certificate_that_they_began_with() {
    if !installed(&["openssl"]) {
        return;
    }
    let authority = Authority::new();
    let pair = authority.issue("a", &["a.example"]);
    let old = authority.write("old.pem", &fs::read_to_string(&pair.cert).unwrap());
    let scene = Scene::new(authority, &[&pair], "");
    let session = scene.authority.folder().join("session");
    let session = session.to_str().unwrap();
    let mut visitor = Visitor::new(&scene, &["-sess_out", session]);
    visitor.say_and_hear("before");
    wait::until("the ticket is there", || {
        fs::metadata(session).is_ok_and(|file| file.len() > 0)
    });

    scene.authority.issue("a", &["a.example", "b.example"]);
    scene.proxy.await_line("files of TLS have changed");
    let said = scene.visit(&[]);
    assert!(shows(&said, &pair.cert) && !shows(&said, &old), "{said}");
    let said = scene.visit(&["-sess_in", session]);
    assert!(said.contains("Reused, TLSv1.3"), "{said}");
    visitor.say_and_hear("after");
    assert!(shows(&visitor.leave(), &old));
}

#[test]
fn openssl_gets_what_the_authority_says_of_the_certificate() {
    if !installed(&["openssl"]) {
        return;
    }
    let authority = Authority::new();
    let pair = authority.issue("a", &["a.example"]);
    let said = crate::ocsp::answer(&authority, &pair, 'V');
    let Pair { cert, key } = &pair;
    let backend = Backend::echo();
    let tls = format!(
        "tls = {{ certificates = [{{ cert = \"{}\", key = \"{}\", ocsp = \"{}\" }}] }}",
        cert.display(),
        key.display(),
        said.display()
    );
    let proxy = Setup::before(&backend).listener(&tls).start();
    let scene = Scene {
        authority,
        proxy,
        _backend: backend,
    };
    let said = scene.visit(&["-status"]);
    assert!(said.contains("OCSP Response Status: successful"), "{said}");
    assert!(said.contains("Cert Status: good"), "{said}");
}
